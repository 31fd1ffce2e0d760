//! Strict base64 for SASL lines: RFC 4954 4 and RFC 4648 4.
//! A character outside the alphabet, padding that is missing or misplaced, and stray bits at the end are errors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Secret;

/// Longest base64 line accepted, in octets. RFC 4954 4: 12288 is considered to be sufficient.
pub const LINE_MAX: usize = 12288;

/// Why a line could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Base64Error {
    /// RFC 4954 4: refused with 501 5.5.2.
    #[error("not valid base64")]
    Malformed,
    /// RFC 4954 4: refused with 500 5.5.6.
    #[error("base64 line longer than {LINE_MAX} octets")]
    TooLong,
}

/// Decodes a line without its CRLF.
pub fn decode(line: &[u8]) -> Result<Secret, Base64Error> {
    if line.len() > LINE_MAX {
        return Err(Base64Error::TooLong);
    }
    // One allocation of the final size, so that no copy of a password stays behind.
    let mut octets = vec![0; line.len() / 4 * 3 + 3];
    match STANDARD.decode_slice(line, &mut octets) {
        Ok(length) => {
            octets.truncate(length);
            Ok(Secret::new(octets))
        }
        Err(_) => {
            drop(Secret::new(octets));
            Err(Base64Error::Malformed)
        }
    }
}

/// Encodes with padding, without line breaks.
pub fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// Appends the encoding of `octets` to `output`.
pub fn encode_to(octets: &[u8], output: &mut Vec<u8>) {
    let start = output.len();
    output.resize(start + octets.len().div_ceil(3) * 4, b'=');
    STANDARD
        .encode_slice(octets, &mut output[start..])
        .expect("the slice has exactly the encoded length");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict() {
        assert_eq!(&*decode(b"").unwrap(), b"");
        assert_eq!(
            &*decode(b"dGVzdAB0ZXN0ADEyMzQ=").unwrap(),
            b"test\0test\x001234"
        );
        // RFC 4954 4 names these two.
        for bad in [
            "=AAA", "AAA=BBB", "A", "AA", "AAA", "AA==AAAA", "AB==", "AAA A", "AAAA\r", "AA-_", "=",
        ] {
            assert_eq!(
                decode(bad.as_bytes()),
                Err(Base64Error::Malformed),
                "{bad:?}"
            );
        }
        assert!(decode(&[b'A'; LINE_MAX]).is_ok());
        assert_eq!(decode(&[b'A'; LINE_MAX + 4]), Err(Base64Error::TooLong));
    }

    #[test]
    fn round_trip() {
        for length in 0..50u8 {
            let octets: Vec<u8> = (0..length).collect();
            let mut line = b"334 ".to_vec();
            encode_to(&octets, &mut line);
            assert_eq!(&*decode(&line[4..]).unwrap(), &octets[..]);
            assert_eq!(encode(&octets).as_bytes(), &line[4..]);
        }
    }
}
