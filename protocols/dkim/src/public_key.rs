//! Public keys out of key records: their form, their size, and the check of a signature.
//! Used by `verification`; keys and signatures are a stranger's. RFC 6376 3.3 and 3.6.1 (p=), RFC 8301 3.2 (sizes), RFC 8463 4.
//! Not here: the record around the key (`record.rs`), our own keys (`key.rs`).

use aws_lc_rs::signature::{
    ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
};

use crate::der::{self, Reader};
use crate::key::Algorithm;
use crate::limits::{RSA_BITS_MAX, RSA_BITS_MIN};
use crate::reason::Reason;

/// A key of acceptable form and size.
pub(crate) struct PublicKey<'a> {
    algorithm: Algorithm,
    /// RSAPublicKey, or the 32 octets of Ed25519.
    octets: &'a [u8],
    pub(crate) bits: usize,
}

impl<'a> PublicKey<'a> {
    /// Reads what p= holds.
    pub(crate) fn parse(algorithm: Algorithm, octets: &'a [u8]) -> Result<Self, Reason> {
        let (octets, bits) = match algorithm {
            Algorithm::RsaSha256 => {
                let octets = rsa_public_key(octets).ok_or(Reason::PublicKeySyntax)?;
                let bits = modulus_bits(octets).ok_or(Reason::PublicKeySyntax)?;
                if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                    return Err(Reason::RsaKeySize(bits));
                }
                (octets, bits)
            }
            // RFC 8463 4: the key is not inside another structure.
            Algorithm::Ed25519Sha256 if octets.len() == 32 => (octets, 256),
            Algorithm::Ed25519Sha256 => return Err(Reason::PublicKeySyntax),
        };
        Ok(Self {
            algorithm,
            octets,
            bits,
        })
    }

    /// Whether the signature is this key's over the input.
    pub(crate) fn verifies(&self, input: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::RsaSha256 => {
                let key = UnparsedPublicKey::new(
                    &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                    self.octets,
                );
                key.verify(input, signature).is_ok()
            }
            // RFC 8463 3: the hash is what is signed.
            Algorithm::Ed25519Sha256 => {
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, input);
                let key = UnparsedPublicKey::new(&ED25519, self.octets);
                key.verify(hash.as_ref(), signature).is_ok()
            }
        }
    }
}

// RFC 6376 3.6.1 asks for RSAPublicKey, its own example has SubjectPublicKeyInfo as everybody does; RFC 8463 and errata know both.
fn rsa_public_key(octets: &[u8]) -> Option<&[u8]> {
    let mut outer = Reader::new(octets);
    let mut content = Reader::new(outer.next(der::SEQUENCE)?);
    if !outer.is_empty() {
        return None;
    }
    let mut inside = content;
    let Some(algorithm) = inside.next(der::SEQUENCE) else {
        let numbers = content.next(der::INTEGER).and(content.next(der::INTEGER));
        return numbers.filter(|_| content.is_empty()).map(|_| octets);
    };
    let identifier = Reader::new(algorithm).next(der::OBJECT_IDENTIFIER)?;
    let bits = inside.next(der::BIT_STRING)?;
    let (unused, key) = bits.split_first()?;
    (identifier == der::RSA_ENCRYPTION && *unused == 0 && inside.is_empty()).then_some(key)
}

fn modulus_bits(rsa_public_key: &[u8]) -> Option<usize> {
    let mut content = Reader::new(Reader::new(rsa_public_key).next(der::SEQUENCE)?);
    let modulus = content.next(der::INTEGER)?;
    let start = modulus.iter().position(|octet| *octet != 0)?;
    Some((modulus.len() - start) * 8 - modulus[start].leading_zeros() as usize)
}
