//! Encoded words in header texts: `=?utf-8?q?caf=C3=A9?=`.
//! For search and display; ENVELOPE shows them undecoded. Nothing fails: what is no encoded word stays as it is. Linear in the input.
//! RFC 2047, RFC 2231 5 (language after `*`). Not here: RFC 2231 parameters (`content_type.rs`).

use memchr::{memchr, memmem};

use crate::charset;
use crate::decode::{TransferEncoding, hex_pair};

/// Decodes an unfolded value: encoded words to their text, other octets as UTF-8 or else windows-1252.
pub fn decode_text(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let mut words = Words::default();
    let mut rest = value;
    let mut searched = 0;
    while let Some(found) = memmem::find(&rest[searched..], b"=?") {
        let start = searched + found;
        let Some((word, len)) = EncodedWord::parse(&rest[start..]) else {
            searched = start + 2;
            continue;
        };
        let between = &rest[..start];
        // RFC 2047 6.2: white space between two encoded words is not shown.
        if !(words.is_open() && between.iter().all(u8::is_ascii_whitespace)) {
            words.close(&mut text);
            text.push_str(&charset::unlabelled(between));
        }
        words.add(&word, &mut text);
        rest = &rest[start + len..];
        searched = 0;
    }
    words.close(&mut text);
    text.push_str(&charset::unlabelled(rest));
    text
}

/// `"=?" charset ["*" language] "?" encoding "?" encoded-text "?="`
struct EncodedWord<'a> {
    charset: &'a [u8],
    base64: bool,
    text: &'a [u8],
}

impl<'a> EncodedWord<'a> {
    /// Reads a word at the front and its length.
    fn parse(octets: &'a [u8]) -> Option<(Self, usize)> {
        const CHARSET_MAX: usize = 80;
        let window = &octets[2..octets.len().min(2 + CHARSET_MAX)];
        let question = memchr(b'?', window)?;
        let label = &window[..question];
        if label.is_empty() || !label.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let charset = label.split(|octet| *octet == b'*').next().unwrap_or(label);
        let after = &octets[2 + question + 1..];
        let base64 = match after {
            [b'b' | b'B', b'?', ..] => true,
            [b'q' | b'Q', b'?', ..] => false,
            _ => return None,
        };
        // Neither encoding writes a question mark, so the first one must be the end. RFC 2047 2 forbids spaces; some senders write them.
        let text_len = memchr(b'?', &after[2..])?;
        if after.get(2 + text_len + 1) != Some(&b'=') {
            return None;
        }
        let text = &after[2..2 + text_len];
        Some((
            Self {
                charset,
                base64,
                text,
            },
            2 + question + 1 + 2 + text_len + 2,
        ))
    }

    fn decode_to(&self, octets: &mut Vec<u8>) {
        if self.base64 {
            TransferEncoding::Base64.decode_to(self.text, |part| octets.extend_from_slice(part));
            return;
        }
        let mut rest = self.text;
        while let [first, after @ ..] = rest {
            let escaped = if *first == b'=' {
                hex_pair(after)
            } else {
                None
            };
            octets.push(escaped.unwrap_or(if *first == b'_' { b' ' } else { *first }));
            rest = if escaped.is_some() {
                &after[2..]
            } else {
                after
            };
        }
    }
}

/// Neighbouring words of one charset are decoded together: many senders cut inside a character.
#[derive(Default)]
struct Words {
    charset: Vec<u8>,
    octets: Vec<u8>,
    open: bool,
}

impl Words {
    fn is_open(&self) -> bool {
        self.open
    }

    fn add(&mut self, word: &EncodedWord<'_>, text: &mut String) {
        // RFC 2047 3: with ISO-2022 each word begins and ends in ASCII; joined they would not decode.
        let joins =
            self.charset.eq_ignore_ascii_case(word.charset) && !charset::is_stateful(word.charset);
        if self.open && !joins {
            self.close(text);
        }
        self.open = true;
        self.charset.clear();
        self.charset.extend_from_slice(word.charset);
        word.decode_to(&mut self.octets);
    }

    fn close(&mut self, text: &mut String) {
        text.push_str(&charset::to_utf8(&self.charset, &self.octets));
        self.octets.clear();
        self.open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_2047_8() {
        for (value, text) in [
            ("(=?ISO-8859-1?Q?a?=)", "(a)"),
            ("(=?ISO-8859-1?Q?a?= b)", "(a b)"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a?=  \t =?ISO-8859-2?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
            (
                "=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?= <paf@nada.kth.se>",
                "Patrik Fältström <paf@nada.kth.se>",
            ),
            ("=?utf-8?B?ww==?= =?utf-8?B?qQ==?=", "é"),
            (
                "=?iso-2022-jp?B?GyRCJU8bKEI=?= =?iso-2022-jp?B?GyRCJW0bKEI=?=",
                "ハロ",
            ),
            ("=?utf-8*de?q?=C3=A9?=", "é"),
            (
                "=? =?a =?utf-8?x?y?= =?utf-8?q?open",
                "=? =?a =?utf-8?x?y?= =?utf-8?q?open",
            ),
            ("=?", "=?"),
        ] {
            assert_eq!(decode_text(value.as_bytes()), text, "{value}");
        }
        assert_eq!(decode_text(b"caf\xe9"), "café");
    }

    #[test]
    fn hostile_input_is_linear() {
        for piece in [
            "=?a?q?",
            "=?",
            "=?utf-8?b?",
            "=?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            decode_text(piece.repeat((1 << 20) / piece.len()).as_bytes());
        }
    }
}
