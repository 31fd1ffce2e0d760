//! New keys, as PKCS#8 in PEM. For commands: an RSA key takes from a few hundredths of a second to seconds.
//! Randomness is the caller's, who gives a function that fills a slice with octets nobody can guess. RFC 5958, RFC 8410, RFC 8301 3.2.
//! Not here: reading and using keys (`key.rs`). The crate `rsa` is used here alone, for `ring` makes no RSA keys.

use std::convert::Infallible;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::limits::RSA_SIGNING_BITS;

/// A key that cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// [`RSA_SIGNING_BITS`]
    #[error("an RSA key must have 2048, 3072 or 4096 bits")]
    RsaKeySize,
    /// No primes were found.
    #[error("no RSA key was found")]
    NotFound,
}

/// Makes an RSA key; 2048 bits are usual.
pub fn rsa_key(
    bits: usize,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<Zeroizing<String>, GenerateError> {
    if !RSA_SIGNING_BITS.contains(&bits) {
        return Err(GenerateError::RsaKeySize);
    }
    let key = rsa::PrivateKey::new(&mut Random(fill), bits).map_err(|_| GenerateError::NotFound)?;
    key.to_pkcs8_pem(LineEnding::LF)
        .map_err(|_| GenerateError::NotFound)
}

/// Makes an Ed25519 key.
pub fn ed25519_key(fill: &mut dyn FnMut(&mut [u8])) -> Zeroizing<String> {
    // RFC 8410 10.3: version 0, 1.3.101.112, the seed in two octet strings.
    const HEAD: [u8; 16] = [
        0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    let mut octets = Zeroizing::new([0; 48]);
    octets[..16].copy_from_slice(&HEAD);
    fill(&mut octets[16..]);
    let text = Zeroizing::new(STANDARD.encode(&octets[..]));
    Zeroizing::new(format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        *text
    ))
}

struct Random<'a>(&'a mut dyn FnMut(&mut [u8]));

impl TryRng for Random<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut octets = [0; 4];
        (self.0)(&mut octets);
        Ok(u32::from_le_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut octets = [0; 8];
        (self.0)(&mut octets);
        Ok(u64::from_le_bytes(octets))
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Infallible> {
        (self.0)(octets);
        Ok(())
    }
}

impl TryCryptoRng for Random<'_> {}
