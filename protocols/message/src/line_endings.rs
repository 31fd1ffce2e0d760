//! Line ends of messages from our own users (IMAP APPEND, submission): a bare LF becomes CRLF, a bare CR is refused.
//! Streaming: a chunk may end between CR and LF. RFC 5322 2.3 (CR and LF only together), RFC 9051 6.3.12.
//! Not here: the door for strangers, which refuses both (`protocols/smtp`).

use memchr::{memchr2, memchr2_iter};

/// A CR without LF after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bare CR in message")]
pub struct BareCr;

/// Turns a stream of octets into one where every line ends with CRLF.
#[derive(Clone, Debug, Default)]
pub struct CrlfNormaliser {
    after_cr: bool,
    eight_bit: bool,
    nul: bool,
}

impl CrlfNormaliser {
    /// At the start of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the octets of `chunk` to `output`, at most twice as many. After an error the state is of no more use.
    pub fn push(&mut self, chunk: &[u8], output: &mut Vec<u8>) -> Result<(), BareCr> {
        self.eight_bit |= !chunk.is_ascii();
        self.nul |= memchr::memchr(0, chunk).is_some();
        output.reserve(chunk.len());
        let mut copied = 0;
        if self.after_cr && !chunk.is_empty() {
            if chunk[0] != b'\n' {
                return Err(BareCr);
            }
            output.push(b'\n');
            copied = 1;
            self.after_cr = false;
        }
        let mut skip_to = copied;
        for at in memchr2_iter(b'\r', b'\n', chunk) {
            if at < skip_to {
                continue;
            }
            if chunk[at] == b'\n' {
                output.extend_from_slice(&chunk[copied..at]);
                output.extend_from_slice(b"\r\n");
                copied = at + 1;
                continue;
            }
            match chunk.get(at + 1) {
                Some(b'\n') => skip_to = at + 2,
                Some(_) => return Err(BareCr),
                None => self.after_cr = true,
            }
        }
        output.extend_from_slice(&chunk[copied..]);
        Ok(())
    }

    /// At the end of the message: a CR may not be the last octet.
    pub fn finish(&self) -> Result<(), BareCr> {
        if self.after_cr { Err(BareCr) } else { Ok(()) }
    }

    /// True if an octet above 127 has passed: the message needs 8BITMIME (RFC 6152).
    pub fn has_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// True if NUL has passed: the message needs BINARYMIME and, in IMAP, literal8 (RFC 3030, RFC 3516).
    pub fn has_nul(&self) -> bool {
        self.nul
    }
}

/// A whole message with CRLF at every line end; borrowed if it has them already.
pub fn normalise_crlf(message: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, BareCr> {
    if is_crlf_only(message) {
        return Ok(message.into());
    }
    let mut normaliser = CrlfNormaliser::new();
    let mut output = Vec::with_capacity(message.len() + message.len() / 32);
    normaliser.push(message, &mut output)?;
    normaliser.finish()?;
    Ok(output.into())
}

/// True if CR and LF only stand together.
pub fn is_crlf_only(octets: &[u8]) -> bool {
    let mut rest = octets;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        if !rest[at..].starts_with(b"\r\n") {
            return false;
        }
        rest = &rest[at + 2..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same() {
        let message = b"a\nb\r\n\n\r\nc\xe9\r\n\n";
        for first in 0..=message.len() {
            for second in first..=message.len() {
                let mut normaliser = CrlfNormaliser::new();
                let mut output = Vec::new();
                for chunk in [
                    &message[..first],
                    &message[first..second],
                    &message[second..],
                ] {
                    normaliser.push(chunk, &mut output).unwrap();
                }
                normaliser.finish().unwrap();
                assert_eq!(output, b"a\r\nb\r\n\r\n\r\nc\xe9\r\n\r\n");
                assert!(normaliser.has_eight_bit() && !normaliser.has_nul());
            }
        }
    }

    #[test]
    fn bare_cr() {
        assert_eq!(normalise_crlf(b"a\rb"), Err(BareCr));
        assert_eq!(normalise_crlf(b"a\r\r\n"), Err(BareCr));
        assert_eq!(normalise_crlf(b"a\r"), Err(BareCr));
        let mut normaliser = CrlfNormaliser::new();
        normaliser.push(b"a\r", &mut Vec::new()).unwrap();
        assert_eq!(normaliser.push(b"b", &mut Vec::new()), Err(BareCr));
    }

    #[test]
    fn whole() {
        assert!(matches!(
            normalise_crlf(b"a\r\nb"),
            Ok(std::borrow::Cow::Borrowed(_))
        ));
        assert_eq!(&*normalise_crlf(b"\na").unwrap(), b"\r\na");
        assert!(is_crlf_only(b"") && !is_crlf_only(b"a\n") && !is_crlf_only(b"\r"));
    }
}
