//! Numbers and strings as responses have them, RFC 9051 4.

use crate::grammar::chars;
use crate::limits::QUOTED_MAX;
use crate::types::NameSyntax;

/// Appends a number in decimal.
pub fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// string = quoted / literal, whichever the octets allow: quoted when they are short text (ASCII, or UTF-8 in that syntax).
/// A literal cannot hold NUL (RFC 9051 4.3): it is left out.
pub fn push_string(out: &mut Vec<u8>, octets: &[u8], syntax: NameSyntax) {
    if quotable(octets, syntax) {
        push_quoted(out, octets);
    } else if memchr::memchr(0, octets).is_none() {
        push_literal_header(out, octets.len() as u64);
        out.extend_from_slice(octets);
    } else {
        let octets: Vec<u8> = octets.iter().copied().filter(|&octet| octet != 0).collect();
        push_string(out, &octets, syntax);
    }
}

/// nstring = string / nil
pub fn push_nstring(out: &mut Vec<u8>, octets: Option<&[u8]>, syntax: NameSyntax) {
    match octets {
        Some(octets) => push_string(out, octets, syntax),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// astring = 1*ASTRING-CHAR / string. NIL is quoted, for readers who take it for nil.
pub fn push_astring(out: &mut Vec<u8>, octets: &[u8], syntax: NameSyntax) {
    let plain = !octets.is_empty()
        && octets.iter().all(|&octet| chars::is_astring(octet))
        && !octets.eq_ignore_ascii_case(b"NIL");
    if plain {
        out.extend_from_slice(octets);
    } else {
        push_string(out, octets, syntax);
    }
}

/// quoted; the caller knows that there is no CR, LF or NUL.
pub fn push_quoted(out: &mut Vec<u8>, octets: &[u8]) {
    out.push(b'"');
    let mut rest = octets;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// `"{" number64 "}" CRLF`; as many octets must follow.
pub(crate) fn push_literal_header(out: &mut Vec<u8>, size: u64) {
    out.push(b'{');
    push_number(out, size);
    out.extend_from_slice(b"}\r\n");
}

fn quotable(octets: &[u8], syntax: NameSyntax) -> bool {
    octets.len() <= QUOTED_MAX
        && memchr::memchr3(0, b'\r', b'\n', octets).is_none()
        && (octets.is_ascii()
            || (syntax == NameSyntax::Utf8 && std::str::from_utf8(octets).is_ok()))
}

/// A mailbox name as astring in the syntax of the connection.
pub(crate) fn push_mailbox(out: &mut Vec<u8>, name: &str, syntax: NameSyntax) {
    if name.is_ascii()
        && memchr::memchr(b'&', name.as_bytes()).is_none()
        && !name.bytes().any(|octet| octet < b' ')
    {
        push_astring(out, name.as_bytes(), syntax);
        return;
    }
    let mut encoded = Vec::with_capacity(name.len() * 2);
    crate::types::encode_name_text(name, syntax, &mut encoded);
    push_astring(out, &encoded, syntax);
}

/// base64 with padding.
pub(crate) fn push_base64(out: &mut Vec<u8>, octets: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in octets.chunks(3) {
        let bits = group
            .iter()
            .enumerate()
            .fold(0u32, |bits, (index, &octet)| {
                bits | u32::from(octet) << (16 - 8 * index)
            });
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index)) as usize & 63];
            out.push(if index <= group.len() { digit } else { b'=' });
        }
    }
}
