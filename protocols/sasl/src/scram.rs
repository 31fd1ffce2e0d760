//! SCRAM: RFC 5802 (SHA-1), RFC 7677 (SHA-256), both with channel binding as -PLUS.
//! `keys` has the cryptography, `message` the grammar of both directions, `server` the server's three steps; the client's are in
//! `crate::client`. Not here: where salts and keys are stored.

pub(crate) mod keys;
pub(crate) mod message;
pub(crate) mod server;

pub use keys::{ClientKeys, ScramHash, ScramKeys, ServerSignature};
pub use server::ScramProof;

/// RFC 5802 does not say how long a nonce is; under 8 octets it is no nonce.
pub const NONCE_MIN: usize = 8;
