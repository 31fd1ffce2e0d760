//! atom, astring, string, nstring, literals and base64, RFC 9051 4.3 and 9.

use std::borrow::Cow;

use crate::grammar::{PResult, Parser, chars};

impl<'a> Parser<'a> {
    /// atom = 1*ATOM-CHAR
    pub(crate) fn atom(&mut self, expected: &'static str) -> PResult<&'a str> {
        let octets = self.take_while(chars::is_atom);
        match std::str::from_utf8(octets) {
            Ok(atom) if !atom.is_empty() => Ok(atom),
            _ => self.expected(expected),
        }
    }

    /// astring = 1*ASTRING-CHAR / string
    pub(crate) fn astring(&mut self, expected: &'static str) -> PResult<Cow<'a, [u8]>> {
        self.chars_or_string(chars::is_astring, expected)
    }

    /// list-mailbox = 1*list-char / string
    pub(crate) fn list_mailbox(&mut self) -> PResult<Cow<'a, [u8]>> {
        self.chars_or_string(chars::is_list, "a mailbox name or pattern")
    }

    fn chars_or_string(
        &mut self,
        class: fn(u8) -> bool,
        expected: &'static str,
    ) -> PResult<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(expected),
            _ => {
                let octets = self.take_while(class);
                if octets.is_empty() {
                    self.expected(expected)
                } else {
                    Ok(Cow::Borrowed(octets))
                }
            }
        }
    }

    /// string = quoted / literal
    pub(crate) fn string(&mut self, expected: &'static str) -> PResult<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => self.expected(expected),
        }
    }

    /// nstring = string / nil
    pub(crate) fn nstring(&mut self, expected: &'static str) -> PResult<Option<Cow<'a, [u8]>>> {
        if self.eat_word("NIL") {
            Ok(None)
        } else {
            self.string(expected).map(Some)
        }
    }

    /// An astring that is text. Quirk: UTF-8 between quotes is taken without ENABLE too, as clients send passwords
    /// and SEARCH words that way; RFC 9051 allows it, RFC 3501 4.3 does not.
    pub(crate) fn text(&mut self, expected: &'static str) -> PResult<String> {
        match String::from_utf8(self.astring(expected)?.into_owned()) {
            Ok(text) => Ok(text),
            Err(_) => self.expected("text in UTF-8"),
        }
    }

    /// quoted = DQUOTE *QUOTED-CHAR DQUOTE; QUOTED-CHAR = TEXT-CHAR except quoted-specials / "\" quoted-specials / UTF8-2..4
    fn quoted(&mut self) -> PResult<Cow<'a, [u8]>> {
        self.expect(b'"', "a quoted string")?;
        let rest = self.rest();
        let Some(end) = memchr::memchr2(b'"', b'\\', rest) else {
            return self.expected("a closing quote");
        };
        if rest[end] == b'"' {
            let octets = self.advance(end);
            self.advance(1);
            return if is_text(octets) {
                Ok(Cow::Borrowed(octets))
            } else {
                self.expected("text in a quoted string")
            };
        }
        self.quoted_with_escapes()
    }

    fn quoted_with_escapes(&mut self) -> PResult<Cow<'a, [u8]>> {
        let mut unescaped = Vec::new();
        loop {
            let rest = self.rest();
            let Some(end) = memchr::memchr2(b'"', b'\\', rest) else {
                return self.expected("a closing quote");
            };
            let octets = self.advance(end);
            if !is_text(octets) {
                return self.expected("text in a quoted string");
            }
            unescaped.extend_from_slice(octets);
            if self.eat(b'"') {
                return Ok(Cow::Owned(unescaped));
            }
            self.advance(1);
            match self.peek() {
                Some(special @ (b'"' | b'\\')) => unescaped.push(special),
                _ => return self.expected("\" or \\ after a backslash"),
            }
            self.advance(1);
        }
    }

    /// literal = "{" number64 ["+"] "}" CRLF *CHAR8. A literal of a string never holds NUL.
    fn literal(&mut self) -> PResult<&'a [u8]> {
        self.expect(b'{', "a literal")?;
        let length = self.number64()?;
        self.eat(b'+');
        self.expect(b'}', "} after the length of a literal")?;
        if !self.rest().starts_with(b"\r\n") {
            return self.expected("the end of the line after a literal's length");
        }
        self.advance(2);
        let rest = self.rest();
        match usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length))
        {
            Some(octets) if memchr::memchr(0, octets).is_none() => Ok(self.advance(octets.len())),
            Some(_) => self.expected("a literal without NUL"),
            None => self.expected("a whole literal"),
        }
    }
}

/// TEXT-CHAR is any CHAR except CR and LF, and CHAR has no NUL. What is not ASCII must be UTF-8.
fn is_text(octets: &[u8]) -> bool {
    memchr::memchr3(0, b'\r', b'\n', octets).is_none() && std::str::from_utf8(octets).is_ok()
}

/// base64 = *(4base64-char) [base64-terminal]. `None` for anything else.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text
        .iter()
        .rev()
        .take_while(|&&octet| octet == b'=')
        .count();
    let digits = &text[..text.len() - padding.min(text.len())];
    if padding > 2 {
        return None;
    }
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for &octet in group {
            bits = (bits << 6) | base64_value(octet)?;
        }
        bits <<= 6 * (4 - group.len());
        let whole = bits.to_be_bytes();
        if whole[group.len()..].iter().any(|&octet| octet != 0) {
            return None; // bits in the padding: another spelling of the same octets
        }
        octets.extend_from_slice(&whole[1..group.len()]);
    }
    Some(octets)
}

fn base64_value(octet: u8) -> Option<u32> {
    let value = match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NameSyntax;

    fn astring(text: &str) -> Option<String> {
        let mut parser = Parser::new(text.as_bytes(), NameSyntax::Utf8);
        let octets = parser.astring("x").ok()?.into_owned();
        parser.at_end().then(|| String::from_utf8(octets).unwrap())
    }

    #[test]
    fn strings() {
        assert_eq!(astring("abc]"), Some("abc]".into()));
        assert_eq!(astring("\"\""), Some(String::new()));
        assert_eq!(astring(r#""a\\b\"c""#), Some(r#"a\b"c"#.into()));
        assert_eq!(astring("\"\\\\\""), Some("\\".into()));
        assert_eq!(astring("{3}\r\na\r\n"), Some("a\r\n".into()));
        assert_eq!(astring("{0+}\r\n"), Some(String::new()));
        for bad in [
            "",
            "\"",
            "\"\\a\"",
            "\"a\nb\"",
            "\"a\0b\"",
            "{3}\r\nab",
            "{3}ab",
            "{1}\r\n\0",
            "{}\r\n",
            "{-1}\r\n",
            "(",
            "\"\\",
        ] {
            assert_eq!(astring(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64() {
        assert_eq!(decode_base64(b"").unwrap(), b"");
        assert_eq!(decode_base64(b"AHRlc3QAdGVzdA==").unwrap(), b"\0test\0test");
        assert_eq!(decode_base64(b"Zm9v").unwrap(), b"foo");
        for bad in [
            "=",
            "====",
            "A===",
            "Zm9",
            "Zm9v=",
            "Zh==",
            "Zm=v",
            "Zm9v\n",
            "Zm9v Zm9v",
            "*",
        ] {
            assert_eq!(decode_base64(bad.as_bytes()), None, "{bad}");
        }
    }
}
