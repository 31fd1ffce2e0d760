//! Content-Transfer-Encoding: undoing it, for BINARY[..], search and previews.
//! Lenient like every reader of mail: octets outside the alphabet are skipped, broken escapes stay as they are. Linear in the input.
//! RFC 2045 6.1, 6.7, 6.8; RFC 3516 (BINARY). Not here: charsets (`charset.rs`), encoded words (`encoded_word.rs`).

use std::borrow::Cow;

use memchr::memchr;

/// A transfer encoding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferEncoding {
    /// 7bit, 8bit, binary: the octets are the content.
    Identity,
    /// RFC 2045 6.7.
    QuotedPrintable,
    /// RFC 2045 6.8.
    Base64,
}

/// The Content-Transfer-Encoding is not one of RFC 2045; IMAP answers `NO [UNKNOWN-CTE]` (RFC 3516 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown content-transfer-encoding")]
pub struct UnknownTransferEncoding;

impl TransferEncoding {
    /// Reads the token of the header field, without case; empty means 7bit (RFC 2045 6.1).
    pub fn parse(token: &[u8]) -> Result<Self, UnknownTransferEncoding> {
        const NAMES: [(&str, TransferEncoding); 6] = [
            ("", TransferEncoding::Identity),
            ("7BIT", TransferEncoding::Identity),
            ("8BIT", TransferEncoding::Identity),
            ("BINARY", TransferEncoding::Identity),
            ("QUOTED-PRINTABLE", TransferEncoding::QuotedPrintable),
            ("BASE64", TransferEncoding::Base64),
        ];
        let found = NAMES
            .iter()
            .find(|(name, _)| token.eq_ignore_ascii_case(name.as_bytes()));
        found
            .map(|(_, encoding)| *encoding)
            .ok_or(UnknownTransferEncoding)
    }

    /// The decoded content; borrowed when there is nothing to undo.
    pub fn decode<'a>(self, body: &'a [u8]) -> Cow<'a, [u8]> {
        if self == Self::Identity {
            return Cow::Borrowed(body);
        }
        let mut content = Vec::with_capacity(if self == Self::Base64 {
            body.len() / 4 * 3 + 3
        } else {
            body.len()
        });
        self.decode_to(body, |octets| content.extend_from_slice(octets));
        Cow::Owned(content)
    }

    /// Size of the decoded content in octets, for BINARY.SIZE; allocates nothing.
    pub fn decoded_size(self, body: &[u8]) -> u64 {
        let mut size = 0;
        self.decode_to(body, |octets| size += octets.len() as u64);
        size
    }

    /// Hands the decoded content to `sink` in pieces.
    pub fn decode_to(self, body: &[u8], mut sink: impl FnMut(&[u8])) {
        match self {
            Self::Identity => sink(body),
            Self::QuotedPrintable => quoted_printable(body, &mut sink),
            Self::Base64 => base64(body, &mut sink),
        }
    }
}

// RFC 2045 6.7: rule 3, white space at the end of a line was added on the way and goes; rule 5, "=" at the end of a line joins it to the next.
fn quoted_printable(body: &[u8], sink: &mut impl FnMut(&[u8])) {
    let mut rest = body;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(crate::header::line_len(rest));
        rest = after;
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let line_end = &line[text
            .strip_suffix(b"\r")
            .unwrap_or(text)
            .len()
            .min(text.len())..];
        let text = trim_blanks_end(&line[..line.len() - line_end.len()]);
        match text.strip_suffix(b"=") {
            Some(text) => quoted_printable_line(text, sink),
            None => {
                quoted_printable_line(text, sink);
                sink(line_end);
            }
        }
    }
}

fn quoted_printable_line(mut text: &[u8], sink: &mut impl FnMut(&[u8])) {
    while let Some(equals) = memchr(b'=', text) {
        sink(&text[..equals]);
        match hex_pair(&text[equals + 1..]) {
            Some(octet) => {
                sink(&[octet]);
                text = &text[equals + 3..];
            }
            None => {
                sink(b"="); // rule 1 of RFC 2045 6.7: a broken escape is shown as it is
                text = &text[equals + 1..];
            }
        }
    }
    sink(text);
}

fn trim_blanks_end(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .rposition(|octet| !matches!(octet, b' ' | b'\t'));
    &text[..end.map_or(0, |last| last + 1)]
}

/// The octet that two hexadecimal digits at the front stand for.
pub(crate) fn hex_pair(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    let digit = |octet: &u8| (*octet as char).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

// RFC 2045 6.8: octets outside the alphabet are ignored. "=" ends a group; another may follow where encoded texts were joined.
fn base64(body: &[u8], sink: &mut impl FnMut(&[u8])) {
    let mut buffer = [0u8; 3 * 256];
    let mut filled = 0;
    let (mut group, mut digits) = (0u32, 0);
    for octet in body {
        let value = BASE64[*octet as usize];
        if value < 64 {
            group = group << 6 | u32::from(value);
            digits += 1;
            if digits == 4 {
                buffer[filled..filled + 3].copy_from_slice(&group.to_be_bytes()[1..]);
                filled += 3;
                (group, digits) = (0, 0);
            }
        } else if *octet == b'=' {
            filled += flush_group(group, digits, &mut buffer[filled..]);
            (group, digits) = (0, 0);
        }
        if filled > buffer.len() - 3 {
            sink(&buffer[..filled]);
            filled = 0;
        }
    }
    filled += flush_group(group, digits, &mut buffer[filled..]);
    sink(&buffer[..filled]);
}

/// Writes the octets of an unfinished group of 2 or 3 digits.
fn flush_group(group: u32, digits: u32, buffer: &mut [u8]) -> usize {
    let octets = match digits {
        2 => 1,
        3 => 2,
        _ => return 0,
    };
    let aligned = (group << (6 * (4 - digits))).to_be_bytes();
    buffer[..octets].copy_from_slice(&aligned[1..1 + octets]);
    octets
}

const BASE64: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [255; 256];
    let mut value = 0;
    while value < 64 {
        table[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: &[u8], body: &[u8]) -> Vec<u8> {
        let encoding = TransferEncoding::parse(encoding).unwrap();
        assert_eq!(
            encoding.decoded_size(body),
            encoding.decode(body).len() as u64
        );
        encoding.decode(body).into_owned()
    }

    #[test]
    fn tokens() {
        assert_eq!(
            TransferEncoding::parse(b"8bit"),
            Ok(TransferEncoding::Identity)
        );
        assert_eq!(
            TransferEncoding::parse(b"x-gzip64"),
            Err(UnknownTransferEncoding)
        );
    }

    #[test]
    fn base64_lenient() {
        assert_eq!(decoded(b"base64", b"aGVs\r\nbG8="), b"hello");
        assert_eq!(decoded(b"base64", b"aGVsbG8"), b"hello");
        assert_eq!(decoded(b"base64", b"aGVsbG8=aGVsbG8="), b"hellohello");
        assert_eq!(decoded(b"base64", b"!a*G"), b"h");
        assert_eq!(decoded(b"base64", b"===="), b"");
        let long = "QUJD".repeat(5000);
        assert_eq!(
            decoded(b"base64", long.as_bytes()),
            "ABC".repeat(5000).as_bytes()
        );
        assert_eq!(
            decoded(b"base64", "QQ==".repeat(5000).as_bytes()),
            "A".repeat(5000).as_bytes()
        );
    }

    #[test]
    fn quoted_printable_rules() {
        assert_eq!(
            decoded(b"quoted-printable", b"caf=E9 =\r\nau=20lait  \r\n=3D=ZZ="),
            b"caf\xe9 au lait\r\n==ZZ"
        );
        assert_eq!(decoded(b"Quoted-Printable", b"a\nb = \nc"), b"a\nb c");
        assert_eq!(decoded(b"quoted-printable", b"a\r"), b"a\r");
        assert_eq!(decoded(b"quoted-printable", b"\r\n\r\n"), b"\r\n\r\n");
    }
}
