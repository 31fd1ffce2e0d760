//! How addresses and ids are written where only some characters may stand: xtext, and the 7-bit forms of UTF-8 addresses.
//! Called by `notification.rs`, and by who writes and reads reports. Input is untrusted.
//! RFC 3461 4 (xtext), RFC 6533 3 (utf-8-addr-xtext, utf-8-addr-unitext).
//! Not here: which parameter or field uses which (`notification.rs`, `dsn`).
//!
//! ```text
//! xtext   = *( xchar / hexchar )     ; RFC 3461 4
//! xchar   = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
//! hexchar = ASCII "+" immediately followed by two upper case hexadecimal digits
//! EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"     ; RFC 6533 3: "\x{"
//! ```

use std::fmt::Write;

/// Octets as xtext.
pub fn xtext(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for octet in octets {
        match octet {
            b'+' | b'=' | ..=32 | 127.. => {
                // Writing to a String cannot fail.
                let _ = write!(text, "+{octet:02X}");
            }
            _ => text.push(char::from(*octet)),
        }
    }
    text
}

/// What an xtext stands for. `None` if it is none; digits in lower case are let pass.
pub fn from_xtext(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => {
                let ([high, low], after) = rest.split_first_chunk::<2>().map(|(d, r)| (*d, r))?;
                octets.push(hex(high)? << 4 | hex(low)?);
                rest = after;
            }
            b'=' | ..=32 | 127.. => return None,
            _ => octets.push(*first),
        }
    }
    Some(octets)
}

/// An address with every character outside ASCII, and those that an ORCPT cannot hold, as `\x{..}`: utf-8-addr-xtext.
pub fn unitext(address: &str) -> String {
    let mut text = String::with_capacity(address.len());
    for letter in address.chars() {
        match letter {
            '\\' | '+' | '=' | '\0'..=' ' | '\u{7f}'.. => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\x{{{:02X}}}", u32::from(letter));
            }
            _ => text.push(letter),
        }
    }
    text
}

/// Undoes `\x{..}`; what is no such escape stays as it is.
pub fn from_unitext(text: &str) -> String {
    let mut address = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\x{") {
        let (before, escape) = rest.split_at(at);
        address.push_str(before);
        let inner = &escape[3..];
        let end = inner.as_bytes().iter().take(7).position(|b| *b == b'}');
        let letter = end
            .and_then(|end| u32::from_str_radix(&inner[..end], 16).ok())
            .and_then(char::from_u32);
        match (letter, end) {
            (Some(letter), Some(end)) => {
                address.push(letter);
                rest = &inner[end + 1..];
            }
            _ => {
                address.push_str("\\x{");
                rest = inner;
            }
        }
    }
    address.push_str(rest);
    address
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_both_ways() {
        assert_eq!(xtext(b"a+b=c d"), "a+2Bb+3Dc+20d");
        assert_eq!(
            from_xtext("a+2Bb+3Dc+20d").as_deref(),
            Some(&b"a+b=c d"[..])
        );
        for bad in ["+", "+2", "+G0", "a b", "a=b", "\u{e9}"] {
            assert_eq!(from_xtext(bad), None, "{bad}");
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_xtext(&xtext(&all)), Some(all));
    }

    #[test]
    fn unitext_both_ways() {
        // RFC 6533 3: HEXPOINT has two to six digits.
        assert_eq!(unitext("j\u{f8}rn@x"), "j\\x{F8}rn@x");
        assert_eq!(unitext("a+b\\"), "a\\x{2B}b\\x{5C}");
        assert_eq!(from_unitext("\\x{2603}@x\\x{2E}jp"), "\u{2603}@x.jp");
        let odd = "a\u{10ffff}\u{e9} +=\\x{41}\n";
        assert_eq!(from_unitext(&unitext(odd)), odd);
        for kept in [
            "\\x{",
            "\\x{}",
            "\\x{D800}",
            "\\x{1234567}",
            "\\x{zz}",
            "\\x{\u{e9}\u{e9}}",
        ] {
            assert_eq!(from_unitext(kept), kept);
        }
    }
}
