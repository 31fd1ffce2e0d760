//! Signatures as Standard Webhooks 1.0 has them: HMAC-SHA256 (RFC 2104) over the id, the time and the body.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::hmac;

/// What a secret in text begins with.
pub const SECRET_PREFIX: &str = "whsec_";

/// What we and a receiver know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why a text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not written as one.
    #[error("a secret is whsec_ and base64")]
    Text,
    /// Too easily guessed, or longer than the algorithm uses.
    #[error("a secret has {OCTETS_MIN} to {OCTETS_MAX} octets")]
    Length,
}

impl Secret {
    /// Of octets.
    pub fn of(octets: Vec<u8>) -> Result<Secret, SecretError> {
        match (OCTETS_MIN..=OCTETS_MAX).contains(&octets.len()) {
            true => Ok(Secret(octets)),
            false => Err(SecretError::Length),
        }
    }

    /// As receivers are told it.
    pub fn parse(text: &str) -> Result<Secret, SecretError> {
        let letters = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError::Text)?;
        let octets = STANDARD_NO_PAD.decode(letters.trim_end_matches('='));
        Secret::of(octets.map_err(|_| SecretError::Text)?)
    }

    /// The same, written.
    pub fn to_text(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    fn sign(&self, signed: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, signed);
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }
}

/// Never shown.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The value of `webhook-signature`: one signature for each secret that is valid, so that a receiver can change from one to the other.
pub fn signatures(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    let each = secrets.iter().map(|secret| secret.sign(&signed));
    each.collect::<Vec<_>>().join(" ")
}

const OCTETS_MIN: usize = 24;
const OCTETS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the libraries of Standard Webhooks are tested with.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = signatures(std::slice::from_ref(&secret), id, 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = Secret::of(vec![7; 32]).unwrap();
        let both = signatures(&[other, secret], id, 1_614_265_330, body);
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!(second, signed);
        assert_ne!(first, signed);
    }

    #[test]
    fn secrets_are_read_as_they_are_written_and_never_shown() {
        for length in [24, 32, 64] {
            let secret = Secret::of(vec![length as u8; length]).unwrap();
            assert_eq!(Secret::parse(&secret.to_text()), Ok(secret.clone()));
            assert_eq!(format!("{secret:?}"), "Secret");
        }
        assert_eq!(Secret::of(vec![0; 23]), Err(SecretError::Length));
        assert_eq!(Secret::of(vec![0; 65]), Err(SecretError::Length));
        assert_eq!(
            Secret::parse("MfKQ9r8GKYqrTwjUPD8I"),
            Err(SecretError::Text)
        );
        assert_eq!(Secret::parse("whsec_%%"), Err(SecretError::Text));
    }
}
