//! Charsets to UTF-8, for search and display texts.
//! encoding_rs knows the WHATWG labels; mail-parser adds UTF-7 and code page 850. Nothing fails: an unknown label is read as UTF-8 or,
//! where that does not fit, as windows-1252, the charset of unlabelled western mail.
//! Not here: transfer encodings (`decode.rs`).

use std::borrow::Cow;

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, WINDOWS_1252};
use mail_parser::decoders::charsets::map::charset_decoder;

/// Decodes octets of the named charset; octets that do not fit become U+FFFD.
pub fn to_utf8<'a>(label: &[u8], octets: &'a [u8]) -> Cow<'a, str> {
    if octets.is_ascii() && !is_stateful(label) {
        return String::from_utf8_lossy(octets); // borrows: ASCII is UTF-8
    }
    match Encoding::for_label(label) {
        Some(encoding) if encoding == REPLACEMENT || encoding == UTF_8 => unlabelled(octets),
        Some(encoding) => encoding.decode_without_bom_handling(octets).0,
        None => match charset_decoder(label) {
            Some(decoder) => Cow::Owned(decoder(octets)),
            None => unlabelled(octets),
        },
    }
}

/// Octets without a charset: UTF-8 where they are, else windows-1252.
pub fn unlabelled(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(octets).0,
    }
}

/// Charsets in which ASCII octets are not ASCII characters.
pub(crate) fn is_stateful(label: &[u8]) -> bool {
    let label = label.to_ascii_lowercase();
    [
        b"utf-7".as_slice(),
        b"utf7",
        b"utf-16",
        b"utf16",
        b"iso-2022",
        b"csiso2022",
        b"unicode",
        b"ucs-2",
        b"iso-10646",
        b"csunicode",
        b"hz-",
    ]
    .iter()
    .any(|prefix| label.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        assert_eq!(to_utf8(b"ISO-8859-1", b"caf\xe9"), "café");
        assert_eq!(to_utf8(b"utf-8", "é".as_bytes()), "é");
        assert_eq!(to_utf8(b"utf-8", b"caf\xe9"), "café"); // labelled wrongly, as much spam is
        assert_eq!(to_utf8(b"x-none-such", b"caf\xe9"), "café");
        assert_eq!(to_utf8(b"iso-2022-jp", b"\x1b$B%O%m!<\x1b(B"), "ハロー");
        assert_eq!(to_utf8(b"gb2312", b"\xc4\xe3"), "你");
        assert_eq!(to_utf8(b"utf-7", b"a+AOk-"), "aé");
        assert_eq!(to_utf8(b"", b"plain"), "plain");
        assert_eq!(to_utf8(b"\xff\xfe", b"plain\x80"), "plain€");
    }

    #[test]
    fn any_octets_with_any_label() {
        let mut state = 1u64;
        let labels = [
            b"utf-7".as_slice(),
            b"cp850",
            b"ibm850",
            b"utf-16",
            b"utf-16be",
            b"iso-2022-jp",
            b"hz-gb-2312",
            b"macintosh",
            b"x",
        ];
        for round in 0..2000 {
            let octets: Vec<u8> = (0..round % 60)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    // Half of them from the alphabet of UTF-7.
                    if state >> 63 == 0 {
                        (state >> 40) as u8
                    } else {
                        b"+-AOk/&,\x1b$B(~{"[(state >> 40) as usize % 14]
                    }
                })
                .collect();
            labels
                .iter()
                .for_each(|label| drop(to_utf8(label, &octets)));
        }
        to_utf8(&[b'a'; 1000], b"\xff");
    }
}
