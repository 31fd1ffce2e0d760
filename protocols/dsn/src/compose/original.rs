//! The third part of a report: the original, or its header.
//! RFC 6522 3 and 4 (text/rfc822-headers), RFC 3461 4.3 (RET), RFC 6533 4.4 and 4.5 (message/global, message/global-headers, their encoding).
//! Not here: the body of the original; it never comes into memory for this.

use smtp::Return;

use super::{Piece, Way};
use crate::limits;

/// The message a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// Its header section, with or without the empty line.
    pub header: &'a [u8],
    /// Octets of its body.
    pub body_size: u64,
    /// What is in its body.
    pub body: BodyKind,
    /// Octets of a message that is returned whole; of a larger one the header alone.
    pub returned_size_max: u64,
}

/// What is in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// ASCII in lines.
    SevenBit,
    /// Octets above 127, in lines (RFC 6152).
    EightBit,
    /// Lines beyond 998 octets, NUL, or bare CR or LF: it cannot be part of a message of lines.
    Binary,
}

/// What follows a report's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The body of the original.
    Body,
    /// Nothing but the tail.
    Nothing,
}

/// The part, without the body.
pub(super) fn part(
    original: &Original<'_>,
    returning: Option<Return>,
    has_failed: bool,
    way: Way,
) -> Piece {
    let header = Section::of(original.header);
    // RFC 3461 4.3: RET=FULL is for failures; any other report has the header alone.
    let is_asked = has_failed && returning != Some(Return::Headers);
    let size = original
        .body_size
        .saturating_add(header.octets.len() as u64);
    let fits_way = match original.body {
        BodyKind::SevenBit => true,
        BodyKind::EightBit => way != Way::SevenBit,
        BodyKind::Binary => false,
    };
    let fits_header = header.is_ascii() || header.is_utf8 && way == Way::Utf8;
    let is_whole = is_asked
        && size <= original.returned_size_max
        && fits_way
        && fits_header
        && !header.is_cut
        && !header.has_long_line;
    if is_whole {
        whole(header, original.body)
    } else {
        alone(header, way)
    }
}

/// The original from its header on.
fn whole(header: Section, body: BodyKind) -> Piece {
    let is_internationalized = !header.is_ascii();
    let is_eight_bit = is_internationalized || body == BodyKind::EightBit;
    // RFC 6533 4.4: message/global is message/rfc822 with UTF-8 in the header.
    let kind = if is_internationalized {
        "message/global"
    } else {
        "message/rfc822"
    };
    let mut piece = Piece::new(
        fields(kind, "", if is_eight_bit { "8bit" } else { "7bit" }),
        header.octets,
    );
    piece.body.extend_from_slice(b"\r\n");
    piece.is_eight_bit = is_eight_bit;
    piece.is_internationalized = is_internationalized;
    piece.wanted = Wanted::Body;
    piece
}

/// The header alone.
fn alone(header: Section, way: Way) -> Piece {
    let is_plain = header.is_ascii() && !header.has_long_line;
    if is_plain {
        return Piece::new(fields("text/rfc822-headers", "", "7bit"), header.octets);
    }
    if header.is_ascii() {
        return Piece::new(
            fields("text/rfc822-headers", "", "base64"),
            base64(&header.octets),
        );
    }
    if !header.is_utf8 {
        // RFC 1428 3: octets of a charset that nobody knows.
        let charset = "; charset=unknown-8bit";
        return Piece::new(
            fields("text/rfc822-headers", charset, "base64"),
            base64(&header.octets),
        );
    }
    if way == Way::Utf8 && !header.has_long_line {
        let mut piece = Piece::new(fields("message/global-headers", "", "8bit"), header.octets);
        piece.is_internationalized = true;
        return piece;
    }
    // RFC 6533 4.5: where the way carries no UTF-8, a 7-bit encoding must be used.
    Piece::new(
        fields("message/global-headers", "", "base64"),
        base64(&header.octets),
    )
}

fn fields(kind: &str, parameters: &str, encoding: &str) -> String {
    let encoding = format!("Content-Transfer-Encoding: {encoding}\r\n");
    format!("Content-Type: {kind}{parameters}\r\nContent-Description: The message\r\n{encoding}")
}

/// A header section as it may stand in a part.
struct Section {
    /// Lines with CRLF, without the empty line.
    octets: Vec<u8>,
    is_utf8: bool,
    is_cut: bool,
    has_long_line: bool,
}

impl Section {
    fn of(header: &[u8]) -> Self {
        let mut section = Self {
            octets: Vec::with_capacity(header.len().min(limits::RETURNED_HEADER_MAX)),
            is_utf8: true,
            is_cut: false,
            has_long_line: false,
        };
        for line in header.split(|octet| *octet == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                break;
            }
            if section.octets.len() + line.len() > limits::RETURNED_HEADER_MAX {
                section.is_cut = true;
                break;
            }
            section.has_long_line |= line.len() > limits::LINE_MAX;
            // RFC 5322 2.2: no bare CR; and no NUL in a part of 7 or 8 bits.
            section.octets.extend(
                line.iter()
                    .map(|b| if matches!(b, b'\r' | 0) { b' ' } else { *b }),
            );
            section.octets.extend_from_slice(b"\r\n");
        }
        section.is_utf8 = std::str::from_utf8(&section.octets).is_ok();
        section
    }

    fn is_ascii(&self) -> bool {
        self.octets.is_ascii()
    }
}

/// RFC 2045 6.8: lines of 76 characters.
pub(super) fn base64(octets: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(octets.len() / 57 * 78 + 80);
    for line in octets.chunks(57) {
        for group in line.chunks(3) {
            let number =
                group.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - group.len()));
            for place in 0..4 {
                let digit = (number >> (18 - 6 * place)) & 63;
                text.push(if place > group.len() {
                    b'='
                } else {
                    ALPHABET[digit as usize]
                });
            }
        }
        text.extend_from_slice(b"\r\n");
    }
    text
}
