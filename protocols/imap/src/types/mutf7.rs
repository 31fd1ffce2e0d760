//! Modified UTF-7, the form of mailbox names before UTF-8: RFC 3501 5.1.3.

/// Why a name is not modified UTF-7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Utf7Error {
    /// Octets outside printable ASCII.
    #[error("mailbox name holds octets outside printable ASCII")]
    NotPrintable,
    /// `&` without its `-`.
    #[error("shift sequence in mailbox name does not end")]
    Unfinished,
    /// Something else than modified base64 after `&`.
    #[error("bad base64 in mailbox name")]
    BadBase64,
    /// Base64 that is not whole UTF-16, or has bits left over.
    #[error("shift sequence in mailbox name is not UTF-16")]
    BadUtf16,
    /// A shift for characters that stand for themselves, or two shifts in a row: RFC 3501 5.1.3 allows one form of each name.
    #[error("superfluous shift in mailbox name")]
    Superfluous,
}

/// The name as UTF-8.
pub fn decode(name: &[u8]) -> Result<String, Utf7Error> {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    let mut after_shift = false;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        match octet {
            b'&' => {
                let end = memchr::memchr(b'-', rest).ok_or(Utf7Error::Unfinished)?;
                let shifted = &rest[..end];
                rest = &rest[end + 1..];
                if shifted.is_empty() {
                    text.push('&');
                    after_shift = false;
                } else if after_shift {
                    return Err(Utf7Error::Superfluous);
                } else {
                    decode_shifted(shifted, &mut text)?;
                    after_shift = true;
                }
            }
            0x20..=0x7e => {
                text.push(char::from(octet));
                after_shift = false;
            }
            _ => return Err(Utf7Error::NotPrintable),
        }
    }
    Ok(text)
}

fn decode_shifted(shifted: &[u8], text: &mut String) -> Result<(), Utf7Error> {
    let mut units = Vec::with_capacity(shifted.len() * 6 / 16);
    let (mut bits, mut bit_count) = (0u32, 0u32);
    for &octet in shifted {
        bits = (bits << 6) | u32::from(base64_value(octet).ok_or(Utf7Error::BadBase64)?);
        bit_count += 6;
        if bit_count >= 16 {
            bit_count -= 16;
            units.push((bits >> bit_count) as u16);
            bits &= (1 << bit_count) - 1;
        }
    }
    // At most 5 bits of padding, all zero: otherwise an octet is missing or another spelling was used.
    if bit_count >= 6 || bits != 0 {
        return Err(Utf7Error::BadUtf16);
    }
    for character in char::decode_utf16(units) {
        let character = character.map_err(|_| Utf7Error::BadUtf16)?;
        if matches!(character, ' '..='~') {
            return Err(Utf7Error::Superfluous);
        }
        text.push(character);
    }
    Ok(())
}

/// Appends the name in modified UTF-7.
pub fn encode(name: &str, out: &mut Vec<u8>) {
    let (mut bits, mut bit_count, mut shifted) = (0u32, 0u32, false);
    for character in name.chars() {
        if matches!(character, ' '..='~') {
            if shifted {
                end_shift(out, bits, bit_count);
                (bits, bit_count, shifted) = (0, 0, false);
            }
            out.push(character as u8);
            if character == '&' {
                out.push(b'-');
            }
            continue;
        }
        if !shifted {
            out.push(b'&');
            shifted = true;
        }
        for &mut unit in character.encode_utf16(&mut [0; 2]) {
            bits = (bits << 16) | u32::from(unit);
            bit_count += 16;
            while bit_count >= 6 {
                bit_count -= 6;
                out.push(BASE64[(bits >> bit_count) as usize & 63]);
            }
            bits &= (1 << bit_count) - 1;
        }
    }
    if shifted {
        end_shift(out, bits, bit_count);
    }
}

fn end_shift(out: &mut Vec<u8>, bits: u32, bit_count: u32) {
    if bit_count > 0 {
        out.push(BASE64[(bits << (6 - bit_count)) as usize & 63]);
    }
    out.push(b'-');
}

fn base64_value(octet: u8) -> Option<u8> {
    match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' => Some(62),
        b',' => Some(63),
        _ => None,
    }
}

/// RFC 3501 5.1.3: base64 with a comma in place of the slash.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_both_ways() {
        for (coded, plain) in [
            (
                "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
                "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}",
            ), // RFC 3501 5.1.3
            ("&Jjo-!", "\u{263a}!"),
            ("&U,BTFw-", "\u{53f0}\u{5317}"),
            ("a&-b", "a&b"),
            ("&-", "&"),
            ("&AOk-", "\u{e9}"),
            ("&AOnYPd4A-", "\u{e9}\u{1f600}"), // a letter right before a surrogate pair
            ("&2D3eAA-", "\u{1f600}"),
            ("&AAE-", "\u{1}"),
            ("&AOk-&-&AOk-", "\u{e9}&\u{e9}"),
            ("Entw&APw-rfe", "Entw\u{fc}rfe"),
            ("", ""),
        ] {
            assert_eq!(decode(coded.as_bytes()).as_deref(), Ok(plain), "{coded}");
            let mut out = Vec::new();
            encode(plain, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), coded);
        }
    }

    #[test]
    fn malformed() {
        assert_eq!(decode(b"&Jjo!"), Err(Utf7Error::Unfinished)); // RFC 3501 5.1.3: not shifted back
        assert_eq!(decode(b"&U,BTFw-&ZeVnLIqe-"), Err(Utf7Error::Superfluous)); // same place
        assert_eq!(decode(b"&AGE-"), Err(Utf7Error::Superfluous)); // "a"
        assert_eq!(decode(b"&AOk=-"), Err(Utf7Error::BadBase64));
        assert_eq!(decode(b"&A-"), Err(Utf7Error::BadUtf16));
        assert_eq!(decode(b"&AOl-"), Err(Utf7Error::BadUtf16)); // padding bits set
        assert_eq!(decode(b"&2D0-"), Err(Utf7Error::BadUtf16)); // lone surrogate
        assert_eq!(decode(b"&AOkA-"), Err(Utf7Error::BadUtf16));
        assert_eq!(decode(b"caf\xc3\xa9"), Err(Utf7Error::NotPrintable));
    }

    #[test]
    fn every_character_comes_back() {
        for start in (0..=0x10_ffffu32).step_by(61) {
            let Some(character) = char::from_u32(start) else {
                continue;
            };
            let name = format!("x{character}{character}y");
            let mut out = Vec::new();
            encode(&name, &mut out);
            assert_eq!(decode(&out).as_deref(), Ok(name.as_str()));
        }
    }
}
