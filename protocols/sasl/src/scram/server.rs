//! The server's steps of SCRAM, as values that become each other: [`First`] after the client's first message, [`Offer`] once the salt
//! is known, [`ScramProof`] after the final message. `crate::server` holds them between messages. Input is untrusted.

use std::num::NonZeroU32;

use crate::gs2::Flag;
use crate::scram::keys::{ScramHash, ServerSignature, proof_holds};
use crate::scram::{NONCE_MIN, message};
use crate::server::Context;
use crate::{SaslError, Secret, base64, prepare_name};

/// After the client's first message: who it is, and what it will have to repeat.
#[derive(Debug)]
pub(crate) struct First {
    hash: ScramHash,
    /// client-first-message-bare.
    bare: String,
    /// What `c=` must decode to.
    binding: Vec<u8>,
    username: String,
    nonce: String,
}

impl First {
    /// Takes the client's first message under the name of a mechanism with (`plus`) or without channel binding.
    pub(crate) fn new(
        hash: ScramHash,
        plus: bool,
        context: &Context,
        message: &[u8],
    ) -> Result<First, SaslError> {
        let first = message::client_first(message)?;
        let data = match (first.header.flag, plus) {
            // RFC 5802 6: what the client asks for must be what the mechanism's name says.
            (Flag::Unable | Flag::Able, true) => return Err(SaslError::BindingMissing),
            (Flag::Bound(_), false) => return Err(SaslError::BindingUnasked),
            // RFC 5802 6: it "must have believed that the server did not support channel binding". Without TLS it was right.
            (Flag::Able, false) if context.offers_plus => return Err(SaslError::Downgrade),
            (Flag::Unable | Flag::Able, false) => &[],
            (Flag::Bound(name), true) => context
                .bindings
                .data(name)
                .ok_or(SaslError::BindingUnsupported)?,
        };
        if first.nonce.len() < NONCE_MIN {
            return Err(SaslError::Malformed);
        }
        let username = prepare_name(&first.username)?;
        if let Some(authzid) = &first.header.authzid
            && prepare_name(authzid)? != username
        {
            return Err(SaslError::NotAuthorized);
        }
        Ok(First {
            hash,
            bare: first.bare.to_owned(),
            binding: [first.header.text.as_bytes(), data].concat(),
            username,
            // 18 octets are 24 characters, none of them a comma.
            nonce: format!("{}{}", first.nonce, base64::encode(&context.random[..18])),
        })
    }

    pub(crate) fn username(&self) -> &str {
        &self.username
    }

    /// The server's first message.
    pub(crate) fn offer(self, salt: &[u8], iterations: NonZeroU32) -> Offer {
        let message = format!("r={},s={},i={iterations}", self.nonce, base64::encode(salt));
        Offer {
            first: self,
            message,
        }
    }
}

/// The server's first message, sent.
#[derive(Debug)]
pub(crate) struct Offer {
    first: First,
    message: String,
}

impl Offer {
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Takes the client's final message. RFC 5802 6: `c=` is always checked.
    pub(crate) fn proof(self, message: &[u8]) -> Result<ScramProof, SaslError> {
        let last = message::client_final(message)?;
        if *last.binding != *self.first.binding {
            return Err(SaslError::BindingMismatch);
        }
        if last.nonce != self.first.nonce {
            return Err(SaslError::WrongNonce);
        }
        if last.proof.len() != self.first.hash.length() {
            return Err(SaslError::Malformed);
        }
        Ok(ScramProof {
            username: self.first.username,
            hash: self.first.hash,
            auth_message: format!(
                "{},{},{}",
                self.first.bare, self.message, last.without_proof
            ),
            proof: last.proof,
        })
    }
}

/// A client's proof that it knows the password, to be checked against stored keys: several, if the account has several passwords
/// with the same salt and iteration count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramProof {
    /// Whose password, prepared.
    pub username: String,
    /// For which hash.
    pub hash: ScramHash,
    auth_message: String,
    proof: Secret,
}

impl ScramProof {
    /// Whether these keys belong to the password that the client knows: then the signature to answer with. Two HMACs; what differs is not
    /// to be seen from the time it takes. Keys of another length are those of another hash, and wrong.
    pub fn verify(&self, stored_key: &[u8], server_key: &[u8]) -> Option<ServerSignature> {
        let auth_message = self.auth_message.as_bytes();
        let signature = ServerSignature::new(self.hash, server_key, auth_message);
        proof_holds(self.hash, stored_key, auth_message, &self.proof).then_some(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScramKeys;

    /// Runs a published exchange, with the server's part of the nonce as published.
    fn published(hash: ScramHash, [c1, s1, c2, s2]: [&str; 4], salt: &str) {
        let context = Context::default();
        let mut first = First::new(hash, false, &context, c1.as_bytes()).unwrap();
        assert_eq!(first.username(), "user");
        first.nonce = s1[2..].split(',').next().unwrap().to_owned();
        let iterations = NonZeroU32::new(4096).unwrap();
        let salt = base64::decode(salt.as_bytes()).unwrap();
        let offer = first.offer(&salt, iterations);
        assert_eq!(offer.message(), s1);
        let proof = offer.proof(c2.as_bytes()).unwrap();
        let keys = ScramKeys::derive(hash, b"pencil", &salt, iterations);
        let signature = proof.verify(&keys.stored_key, &keys.server_key).unwrap();
        assert_eq!(format!("v={}", base64::encode(signature.octets())), s2);
        let other = ScramKeys::derive(hash, b"pencils", &salt, iterations);
        assert_eq!(proof.verify(&other.stored_key, &keys.server_key), None);
        assert_eq!(proof.verify(&[], &[]), None);
        assert_eq!(proof.verify(&keys.stored_key[1..], &keys.server_key), None);
    }

    #[test]
    fn rfc5802() {
        published(
            ScramHash::Sha1,
            [
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ],
            "QSXCR+Q6sek8bf92",
        );
    }

    #[test]
    fn rfc7677() {
        published(
            ScramHash::Sha256,
            [
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ],
            "W22ZaJ0SNY7soEsUEjb6gQ==",
        );
    }
}
