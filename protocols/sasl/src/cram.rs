//! CRAM-MD5, RFC 2195: the server sends `<random.time@host>`, the client answers with its name and HMAC-MD5(password, challenge).
//! RFC 2195 2: what a server stores are the two MD5 states after the key's block ("contexts"); they are as good as the password.

use std::fmt;

use md5::block_api::compress;
use md5::{Digest, Md5};
use zeroize::Zeroize;

use crate::secret::same;
use crate::server::Context;
use crate::{SaslError, Secret, prepare_name};

/// The challenge: RFC 2195 2 wants a msg-id that is different each time.
pub(crate) fn challenge(context: &Context) -> Vec<u8> {
    let (random, _) = context
        .random
        .split_first_chunk()
        .expect("32 octets are more than 16");
    let random = u128::from_be_bytes(*random);
    format!("<{random:032x}.{}@{}>", context.now_secs, context.hostname).into_bytes()
}

/// A client's answer, to be checked against stored states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CramDigest {
    /// Whose password, prepared.
    pub username: String,
    challenge: Vec<u8>,
    /// 32 lower-case hexadecimal digits. No log gets it, for passwords can be tried against it.
    digest: Secret,
}

impl CramDigest {
    /// `name SP 32 lower-case hexadecimal digits`; the name may have spaces.
    pub(crate) fn parse(challenge: Vec<u8>, response: &[u8]) -> Result<Self, SaslError> {
        let response = std::str::from_utf8(response).map_err(|_| SaslError::NotUtf8)?;
        let (name, digest) = response.rsplit_once(' ').ok_or(SaslError::Malformed)?;
        let is_hexadecimal = |octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f');
        if digest.len() != 32 || !digest.bytes().all(is_hexadecimal) {
            return Err(SaslError::Malformed);
        }
        Ok(CramDigest {
            username: prepare_name(name)?,
            challenge,
            digest: Secret::from(digest.as_bytes()),
        })
    }

    /// Whether the client knows the password behind `state`. Takes constant time.
    pub fn verify(&self, state: &CramState) -> bool {
        same(&hexadecimal(state.digest(&self.challenge)), &self.digest)
    }
}

/// What a server stores of a password for CRAM-MD5: the inner and the outer MD5 state after the key's block.
#[derive(Clone)]
pub struct CramState {
    inner: State,
    outer: State,
}

impl CramState {
    /// Octets of the stored form.
    pub const LENGTH: usize = 32;

    /// Derives both states; the password is already prepared. Fast: two rounds of MD5.
    pub fn derive(password: &[u8]) -> CramState {
        let mut key = [0; BLOCK];
        // RFC 2195 2: a longer secret is hashed first.
        if password.len() > BLOCK {
            key[..16].copy_from_slice(&Md5::digest(password));
        } else {
            key[..password.len()].copy_from_slice(password);
        }
        let state = CramState {
            inner: after_block(&key, 0x36),
            outer: after_block(&key, 0x5c),
        };
        key.zeroize();
        state
    }

    /// The form to store.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut octets = [0; Self::LENGTH];
        let words = self.inner.iter().chain(&self.outer);
        for (octets, word) in octets.chunks_exact_mut(4).zip(words) {
            octets.copy_from_slice(&word.to_le_bytes());
        }
        octets
    }

    /// Reads the stored form.
    pub fn from_bytes(octets: &[u8; Self::LENGTH]) -> CramState {
        let (inner, outer) = octets.split_at(16);
        CramState {
            inner: words(inner),
            outer: words(outer),
        }
    }

    /// HMAC-MD5 of `message` under the password. RFC 2104.
    pub(crate) fn digest(&self, message: &[u8]) -> [u8; 16] {
        finish(self.outer, &finish(self.inner, message))
    }
}

impl Drop for CramState {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

impl fmt::Debug for CramState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CramState")
    }
}

pub(crate) fn hexadecimal(digest: [u8; 16]) -> [u8; 32] {
    let mut text = [0; 32];
    for (pair, octet) in text.chunks_exact_mut(2).zip(digest) {
        pair[0] = HEXADECIMAL[usize::from(octet >> 4)];
        pair[1] = HEXADECIMAL[usize::from(octet & 15)];
    }
    text
}

fn after_block(key: &[u8; BLOCK], pad: u8) -> State {
    let mut block = key.map(|octet| octet ^ pad);
    let mut state = INITIAL;
    compress(&mut state, &[block]);
    block.zeroize();
    state
}

/// MD5 from `state` on, which has seen one block. RFC 1321 3.1, 3.2: a one bit, zeros, and the length in bits.
fn finish(mut state: State, message: &[u8]) -> [u8; 16] {
    let bits = ((BLOCK + message.len()) as u64).wrapping_mul(8);
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % BLOCK != BLOCK - 8 {
        padded.push(0);
    }
    padded.extend_from_slice(&bits.to_le_bytes());
    compress(&mut state, padded.as_chunks().0);
    let mut digest = [0; 16];
    for (octets, word) in digest.chunks_exact_mut(4).zip(state) {
        octets.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

fn words(octets: &[u8]) -> State {
    let mut state = [0; 4];
    for (word, octets) in state.iter_mut().zip(octets.as_chunks().0) {
        *word = u32::from_le_bytes(*octets);
    }
    state
}

type State = [u32; 4];

const BLOCK: usize = 64;
/// RFC 1321 3.3.
const INITIAL: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &[u8] = b"<1896.697170952@postoffice.reston.mci.net>";

    fn parse(response: &[u8]) -> Result<CramDigest, SaslError> {
        CramDigest::parse(CHALLENGE.to_vec(), response)
    }

    #[test]
    fn rfc2195() {
        let digest = parse(b"tim b913a602c7eda7a495b4e6e7334d3890").unwrap();
        assert_eq!(digest.username, "tim");
        let state = CramState::derive(b"tanstaaftanstaaf");
        assert!(digest.verify(&state));
        assert!(digest.verify(&CramState::from_bytes(&state.to_bytes())));
        assert!(!digest.verify(&CramState::derive(b"tanstaaftanstaag")));
        assert_eq!(format!("{state:?}"), "CramState");
    }

    #[test]
    fn rfc2202_hmac_md5() {
        let cases: [(&[u8], &[u8], &str); 4] = [
            (&[0x0b; 16], b"Hi There", "9294727a3638bb1c13f48ef8158bfc9d"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "750c783e6ab0b503eaa86e310a5db738",
            ),
            (&[0xaa; 16], &[0xdd; 50], "56be34521d144c88dbb8c733f0e8b3f6"),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
                "6f630fad67cda0ee1fb1f562db3aa53e",
            ),
        ];
        for (key, message, digest) in cases {
            assert_eq!(
                hexadecimal(CramState::derive(key).digest(message)),
                digest.as_bytes()
            );
        }
    }

    #[test]
    fn responses() {
        let hex = "b913a602c7eda7a495b4e6e7334d3890";
        assert_eq!(
            parse(format!("tim t\u{fc}r {hex}").as_bytes())
                .unwrap()
                .username,
            "tim t\u{fc}r"
        );
        for (bad, error) in [
            (String::new(), SaslError::Malformed),
            (hex.to_owned(), SaslError::Malformed),
            (format!(" {hex}"), SaslError::EmptyField),
            (format!("tim {}", hex.to_uppercase()), SaslError::Malformed),
            (format!("tim {hex}0"), SaslError::Malformed),
            (format!("tim {}", &hex[1..]), SaslError::Malformed),
            (format!("tim {hex} "), SaslError::Malformed),
            (format!("tim  {}", &hex[..31]), SaslError::Malformed),
            (format!("t\0m {hex}"), SaslError::BadName),
            (
                format!("{} {hex}", "x".repeat(crate::FIELD_MAX + 1)),
                SaslError::FieldTooLong,
            ),
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(error), "{bad:?}");
        }
        assert_eq!(
            parse(&[b"\xff ", hex.as_bytes()].concat()),
            Err(SaslError::NotUtf8)
        );
    }
}
