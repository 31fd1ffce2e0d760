//! Our private keys: read from a file, and used. The only file that signs; another library would change this one alone.
//! Used by `signing`; the caller may keep a key in many threads. RFC 6376 3.3, RFC 8301 3, RFC 8463 3, RFC 5958 (PKCS#8), RFC 7468 (PEM).
//! Not here: making keys (`generate.rs`), reading files, the record for DNS (`record.rs`).

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::der::{self, Reader};
use crate::limits::{KEY_FILE_MAX, RSA_SIGNING_BITS};

/// What signs and hashes. RFC 8301 3.1: nothing with SHA-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 6376 3.3.2.
    RsaSha256,
    /// RFC 8463.
    Ed25519Sha256,
}

impl Algorithm {
    /// Its word in a=.
    pub fn word(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// Its word in k= of a key record.
    pub fn key_type(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa",
            Self::Ed25519Sha256 => "ed25519",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// Why a text is no key that signs. All are the operator's mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM block, or one that is cut or over [`KEY_FILE_MAX`].
    #[error("not a private key in PEM")]
    NotPem,
    /// A key with a passphrase.
    #[error("the private key is encrypted")]
    Encrypted,
    /// Neither RSA nor Ed25519.
    #[error("the private key is neither RSA nor Ed25519")]
    UnknownType,
    /// [`RSA_SIGNING_BITS`]
    #[error("an RSA key must have 2048, 3072 or 4096 bits, this has {0}")]
    RsaKeySize(usize),
    /// It was cut, changed, or made in an odd way.
    #[error("the private key is damaged")]
    Damaged,
}

/// A private key.
pub struct SigningKey {
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

/// The key could not sign; only a damaged key does that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key could not sign")]
pub struct SigningFailed;

impl SigningKey {
    /// Reads PKCS#8 in PEM; text around the block is ignored. RSA keys may be PKCS#1 too, as `opendkim-genkey` writes them.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (label, octets) = pem_block(text)?;
        match label {
            "PRIVATE KEY" => Self::from_pkcs8(&octets),
            "RSA PRIVATE KEY" => Self::rsa(RsaKeyPair::from_der(&octets), &octets),
            "ENCRYPTED PRIVATE KEY" => Err(KeyError::Encrypted),
            _ => Err(KeyError::UnknownType),
        }
    }

    /// Reads PKCS#8.
    pub fn from_pkcs8(octets: &[u8]) -> Result<Self, KeyError> {
        let (identifier, private_key) = private_key_info(octets).ok_or(KeyError::Damaged)?;
        match identifier {
            der::RSA_ENCRYPTION => Self::rsa(RsaKeyPair::from_pkcs8(octets), private_key),
            der::ED25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(octets);
                let pair = Pair::Ed25519(pair.map_err(|_| KeyError::Damaged)?);
                Ok(Self { pair })
            }
            _ => Err(KeyError::UnknownType),
        }
    }

    fn rsa(
        pair: Result<RsaKeyPair, aws_lc_rs::error::KeyRejected>,
        rsa_private_key: &[u8],
    ) -> Result<Self, KeyError> {
        let bits = rsa_bits(rsa_private_key).ok_or(KeyError::Damaged)?;
        if !RSA_SIGNING_BITS.contains(&bits) {
            return Err(KeyError::RsaKeySize(bits));
        }
        let pair = Pair::Rsa(Box::new(pair.map_err(|_| KeyError::Damaged)?));
        Ok(Self { pair })
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa(_) => Algorithm::RsaSha256,
            Pair::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// Whether a signature takes so long (half a millisecond and more) that it should be made on a worker thread.
    pub fn is_heavy(&self) -> bool {
        matches!(self.pair, Pair::Rsa(_))
    }

    /// Bits of the RSA modulus, or 256.
    pub fn bits(&self) -> usize {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_modulus_len() * 8,
            Pair::Ed25519(_) => 256,
        }
    }

    /// The public half as p= of a key record has it, before base64.
    pub fn public_key(&self) -> Vec<u8> {
        match &self.pair {
            // SubjectPublicKeyInfo, as in the examples of RFC 6376 and RFC 8463.
            Pair::Rsa(pair) => {
                let identifier = der::value(der::OBJECT_IDENTIFIER, &[der::RSA_ENCRYPTION]);
                let algorithm = der::value(der::SEQUENCE, &[&identifier, &[0x05, 0x00]]);
                let bits = der::value(der::BIT_STRING, &[&[0], pair.public_key().as_ref()]);
                der::value(der::SEQUENCE, &[&algorithm, &bits])
            }
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// Signs the canonical header.
    pub(crate) fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                // PKCS#1 v1.5 has no randomness; the parameter is there for PSS.
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    input,
                    &mut signature,
                )
                .map_err(|_| SigningFailed)?;
                Ok(signature)
            }
            // RFC 8463 3: the hash is what is signed.
            Pair::Ed25519(pair) => {
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, input);
                Ok(pair.sign(hash.as_ref()).as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "SigningKey({}, {} bits)",
            self.algorithm(),
            self.bits()
        )
    }
}

/// Label and content of the first private key.
fn pem_block(text: &str) -> Result<(&str, Zeroizing<Vec<u8>>), KeyError> {
    let mut rest = text
        .get(..KEY_FILE_MAX.min(text.len()))
        .ok_or(KeyError::NotPem)?;
    loop {
        let (_, after) = rest.split_once("-----BEGIN ").ok_or(KeyError::NotPem)?;
        let (label, after) = after.split_once("-----").ok_or(KeyError::NotPem)?;
        if !label.ends_with("PRIVATE KEY") {
            rest = after;
            continue;
        }
        let end = format!("-----END {label}-----");
        let (content, _) = after.split_once(&end).ok_or(KeyError::NotPem)?;
        // Headers, as in "Proc-Type: 4,ENCRYPTED".
        if content.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let mut compact = Zeroizing::new(String::with_capacity(content.len()));
        compact.extend(
            content
                .chars()
                .filter(|character| !character.is_ascii_whitespace()),
        );
        let octets = STANDARD
            .decode(compact.as_bytes())
            .map_err(|_| KeyError::NotPem)?;
        return Ok((label, Zeroizing::new(octets)));
    }
}

// PrivateKeyInfo ::= SEQUENCE { version INTEGER, privateKeyAlgorithm SEQUENCE { OBJECT IDENTIFIER, .. }, privateKey OCTET STRING, .. }
fn private_key_info(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut content = Reader::new(Reader::new(octets).next(der::SEQUENCE)?);
    content.next(der::INTEGER)?;
    let algorithm = content.next(der::SEQUENCE)?;
    let identifier = Reader::new(algorithm).next(der::OBJECT_IDENTIFIER)?;
    Some((identifier, content.next(OCTET_STRING)?))
}

// RSAPrivateKey ::= SEQUENCE { version INTEGER, modulus INTEGER, .. }
fn rsa_bits(rsa_private_key: &[u8]) -> Option<usize> {
    let mut content = Reader::new(Reader::new(rsa_private_key).next(der::SEQUENCE)?);
    content.next(der::INTEGER)?;
    let modulus = content.next(der::INTEGER)?;
    let start = modulus.iter().position(|octet| *octet != 0)?;
    Some((modulus.len() - start) * 8 - modulus[start].leading_zeros() as usize)
}

const OCTET_STRING: u8 = 0x04;

#[cfg(test)]
mod tests;
