//! DANE and the verifier against chains of certificates made here: the rules one by one, the judgement of openssl on the same chains and
//! records, handshakes with its server, and hostile input.

mod chains;
mod handshake;
mod hostile;
mod openssl;
mod rules;
