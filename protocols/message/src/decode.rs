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
        let mut decoder = Decoder::new(self);
        decoder.push(body, &mut sink);
        decoder.finish(&mut sink);
    }
}

/// Decodes a body that comes in pieces; where it is cut makes no difference (but see `HELD_MAX`).
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug)]
enum State {
    Identity,
    /// The end of what came: it depends on what follows.
    QuotedPrintable(Vec<u8>),
    Base64(Group),
}

/// The digits of an unfinished group.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    bits: u32,
    digits: u32,
}

impl Decoder {
    /// At the start of a body.
    pub fn new(encoding: TransferEncoding) -> Self {
        Self(match encoding {
            TransferEncoding::Identity => State::Identity,
            TransferEncoding::QuotedPrintable => State::QuotedPrintable(Vec::new()),
            TransferEncoding::Base64 => State::Base64(Group::default()),
        })
    }

    /// Takes the next piece and hands what is decided to `sink`.
    pub fn push(&mut self, piece: &[u8], sink: &mut impl FnMut(&[u8])) {
        match &mut self.0 {
            State::Identity => sink(piece),
            State::QuotedPrintable(held) => quoted_printable(held, piece, sink),
            State::Base64(group) => base64(group, piece, sink),
        }
    }

    /// The body is complete.
    pub fn finish(self, sink: &mut impl FnMut(&[u8])) {
        match self.0 {
            State::Identity => {}
            State::QuotedPrintable(held) => quoted_printable_end(&held, sink),
            State::Base64(group) => {
                let mut buffer = [0; 3];
                let octets = flush_group(group.bits, group.digits, &mut buffer);
                sink(&buffer[..octets]);
            }
        }
    }
}

/// Decodes what can be decided; `held` keeps the rest: blanks and escapes at the end.
fn quoted_printable(held: &mut Vec<u8>, mut piece: &[u8], sink: &mut impl FnMut(&[u8])) {
    if !held.is_empty() {
        let (line, after) = piece.split_at(crate::header::line_len(piece));
        held.extend_from_slice(line);
        piece = after;
        let joined = std::mem::take(held);
        *held = quoted_printable_lines(&joined, sink).to_vec();
    }
    if !piece.is_empty() {
        // A whole line came before, so nothing is held.
        *held = quoted_printable_lines(piece, sink).to_vec();
    }
    if held.len() > HELD_MAX {
        quoted_printable_line(&std::mem::take(held), sink);
    }
}

/// Decodes whole lines and what is certain of the last one; returns what is not.
// RFC 2045 6.7: rule 3, white space at the end of a line was added on the way and goes; rule 5, "=" at the end of a line joins it to the next.
fn quoted_printable_lines<'a>(mut rest: &'a [u8], sink: &mut impl FnMut(&[u8])) -> &'a [u8] {
    loop {
        let (line, after) = rest.split_at(crate::header::line_len(rest));
        if !line.ends_with(b"\n") {
            break;
        }
        quoted_printable_end(line, sink);
        rest = after;
    }
    let certain = trim_blanks_end(rest.strip_suffix(b"\r").unwrap_or(rest));
    let tail = certain.len().saturating_sub(2);
    let escape = memchr(b'=', &certain[tail..]).map(|at| tail + at);
    let (certain, uncertain) = rest.split_at(escape.unwrap_or(certain.len()));
    quoted_printable_line(certain, sink);
    uncertain
}

/// The end of a line, or of the body.
fn quoted_printable_end(line: &[u8], sink: &mut impl FnMut(&[u8])) {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let line_end = &line[text.len()..];
    let text = trim_blanks_end(text);
    match text.strip_suffix(b"=") {
        Some(text) => quoted_printable_line(text, sink),
        None => {
            quoted_printable_line(text, sink);
            sink(line_end);
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
fn base64(unfinished: &mut Group, piece: &[u8], sink: &mut impl FnMut(&[u8])) {
    let mut buffer = [0u8; 3 * 256];
    let mut filled = 0;
    let Group {
        bits: mut group,
        mut digits,
    } = *unfinished;
    for octet in piece {
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
    sink(&buffer[..filled]);
    *unfinished = Group {
        bits: group,
        digits,
    };
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

/// Blanks at the end of a line that may wait for what follows; of more, which nobody writes, they are content.
const HELD_MAX: usize = 64 << 10;

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
        let whole = encoding.decode(body).into_owned();
        for size in [1, 2, 3, 5, 64] {
            let mut decoder = Decoder::new(encoding);
            let mut pieces = Vec::new();
            for piece in body.chunks(size) {
                decoder.push(piece, &mut |octets| pieces.extend_from_slice(octets));
            }
            decoder.finish(&mut |octets| pieces.extend_from_slice(octets));
            assert_eq!(pieces, whole, "in pieces of {size}");
        }
        whole
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

    #[test]
    fn quoted_printable_in_pieces() {
        // All texts of up to six of what matters, whole and cut everywhere.
        for length in 0..=6u32 {
            for number in 0..7u32.pow(length) {
                let text: Vec<u8> = (0..length)
                    .map(|at| b"=4 \t\r\nx"[(number / 7u32.pow(at) % 7) as usize])
                    .collect();
                decoded(b"quoted-printable", &text);
            }
        }
        let blanks = [b"a".as_slice(), &b" \t".repeat(HELD_MAX), b"\r\nb"].concat();
        let mut decoder = Decoder::new(TransferEncoding::QuotedPrintable);
        let mut octets = 0;
        for piece in blanks.chunks(1000) {
            decoder.push(piece, &mut |decoded| octets += decoded.len());
            let State::QuotedPrintable(held) = &decoder.0 else {
                unreachable!("not changed")
            };
            assert!(held.len() <= HELD_MAX);
        }
        assert!(octets >= HELD_MAX);
    }
}
