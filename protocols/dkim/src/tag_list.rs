//! Tag lists, the syntax of DKIM-Signature fields and of key records.
//! Used by `signature` and `record`. Input is untrusted and taken strictly: RFC 6376 6.1.1 warns of being liberal here. RFC 6376 3.2, 2.11;
//! RFC 8616 5 (UTF-8 in values). Not here: the meaning of a tag.

use std::ops::Range;

use crate::limits::TAGS_MAX;

/// Why a text is no tag list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagListError {
    /// A part that is not `name = value`.
    #[error("not a list of tags")]
    Malformed,
    /// RFC 6376 3.2: a name must not occur twice.
    #[error("a tag occurs twice")]
    Duplicate,
    /// Over a bound of `limits`.
    #[error("too many tags")]
    TooMany,
}

/// The tags of a list, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagList<'a> {
    tags: Vec<Tag<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag<'a> {
    name: &'a str,
    value: &'a str,
    /// All between "=" and ";" or the end, white space included.
    range: Range<usize>,
}

impl<'a> TagList<'a> {
    // tag-list  =  tag-spec *( ";" tag-spec ) [ ";" ]
    pub(crate) fn parse(text: &'a str) -> Result<Self, TagListError> {
        let mut tags: Vec<Tag<'a>> = Vec::new();
        let mut position = 0;
        for part in text.split(';') {
            let offset = position;
            position += part.len() + 1;
            if position > text.len() && trim(part).is_empty() && !tags.is_empty() {
                break;
            }
            let tag = Tag::parse(part, offset)?;
            if tags.iter().any(|other| other.name == tag.name) {
                return Err(TagListError::Duplicate);
            }
            if tags.len() == TAGS_MAX {
                return Err(TagListError::TooMany);
            }
            tags.push(tag);
        }
        Ok(Self { tags })
    }

    /// The value without white space at its ends.
    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        self.tag(name).map(|tag| tag.value)
    }

    /// Where the value stands in the text, with all white space around it.
    pub(crate) fn range(&self, name: &str) -> Option<Range<usize>> {
        self.tag(name).map(|tag| tag.range.clone())
    }

    pub(crate) fn first_name(&self) -> &'a str {
        self.tags.first().map_or("", |tag| tag.name)
    }

    fn tag(&self, name: &str) -> Option<&Tag<'a>> {
        self.tags.iter().find(|tag| tag.name == name)
    }
}

impl<'a> Tag<'a> {
    // tag-spec  =  [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
    // tag-name  =  ALPHA *ALNUMPUNC
    // tag-value =  [ tval *( 1*(WSP / FWS) tval ) ], tval = 1*VALCHAR, VALCHAR = %x21-3A / %x3C-7E
    fn parse(part: &'a str, offset: usize) -> Result<Self, TagListError> {
        let (name, value) = part.split_once('=').ok_or(TagListError::Malformed)?;
        let start = offset + name.len() + 1;
        let range = start..start + value.len();
        let (name, value) = (trim(name), trim(value));
        let mut letters = name.bytes();
        let named = letters
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
        // RFC 8616 5: values may have UTF-8.
        let valued = value
            .bytes()
            .all(|octet| octet >= 0x21 && octet != 0x7F || is_white(octet));
        if !named || !valued || !folds(part) {
            return Err(TagListError::Malformed);
        }
        Ok(Self { name, value, range })
    }
}

/// Without white space at the ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|character: char| character.is_ascii() && is_white(character as u8))
}

/// Without any white space. RFC 6376 3.5: it is ignored in base64.
pub(crate) fn without_white(text: &str) -> String {
    let kept = |character: &char| !matches!(character, ' ' | '\t' | '\r' | '\n');
    text.chars().filter(kept).collect()
}

/// The members of a list with colons.
pub(crate) fn members(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(trim)
}

fn is_white(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

// FWS = [*WSP CRLF] 1*WSP: a CRLF has white space behind it, and CR and LF occur together alone.
fn folds(text: &str) -> bool {
    let octets = text.as_bytes();
    memchr::memchr2_iter(b'\r', b'\n', octets).all(|at| match octets[at] {
        b'\r' => octets.get(at + 1) == Some(&b'\n'),
        _ => at > 0 && octets[at - 1] == b'\r' && matches!(octets.get(at + 1), Some(b' ' | b'\t')),
    })
}

/// Decodes dkim-quoted-printable. RFC 6376 2.11.
// dkim-quoted-printable = *(FWS / hex-octet / dkim-safe-char), hex-octet = "=" 2HEXDIG in upper case
pub(crate) fn decode_quoted_printable(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes().filter(|octet| !is_white(*octet));
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'=' => hex(octets.next()?)? << 4 | hex(octets.next()?)?,
            _ => octet,
        });
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Encodes as dkim-quoted-printable; octets outside ASCII stay if `internationalized` (RFC 8616 5).
// dkim-safe-char = %x21-3A / %x3C / %x3E-7E
pub(crate) fn encode_quoted_printable(text: &str, internationalized: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '!'..=':' | '<' | '>'..='~' => encoded.push(character),
            _ if internationalized && !character.is_ascii() => encoded.push(character),
            _ => {
                let mut octets = [0; 4];
                for octet in character.encode_utf8(&mut octets).bytes() {
                    encoded.push_str(&format!("={octet:02X}"));
                }
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_values_and_white_space() {
        let list = TagList::parse(" v = 1;a=b c\r\n\td ; x_1=;\t").unwrap();
        assert_eq!(list.first_name(), "v");
        assert_eq!(list.value("v"), Some("1"));
        assert_eq!(list.value("a"), Some("b c\r\n\td"));
        assert_eq!(list.value("x_1"), Some(""));
        assert_eq!(list.value("V"), None, "names have a case, RFC 6376 3.2");
        assert_eq!(list.range("v"), Some(4..6));
        assert_eq!(list.range("x_1"), Some(23..23));
    }

    #[test]
    fn what_is_no_list() {
        for text in [
            "",
            ";",
            "a",
            "a=1;;",
            "a=1;;b=2",
            "=1",
            "1a=1",
            "a b=1",
            "a=\u{1}",
            "a=1\r\n",
            "a=1\n b",
            "a=\r 1",
            "a=1; \u{e4}=2",
        ] {
            assert_eq!(
                TagList::parse(text),
                Err(TagListError::Malformed),
                "{text:?}"
            );
        }
        assert_eq!(TagList::parse("a=1;b=2;a=1"), Err(TagListError::Duplicate));
        let many: String = (0..=TAGS_MAX).map(|n| format!("a{n}=1;")).collect();
        assert_eq!(TagList::parse(&many), Err(TagListError::TooMany));
    }

    #[test]
    fn quoted_printable_there_and_back() {
        let text = "J\u{f6}rg; =@x y";
        assert_eq!(
            encode_quoted_printable(text, false),
            "J=C3=B6rg=3B=20=3D@x=20y"
        );
        assert_eq!(
            encode_quoted_printable(text, true),
            "J\u{f6}rg=3B=20=3D@x=20y"
        );
        for internationalized in [false, true] {
            let encoded = encode_quoted_printable(text, internationalized);
            assert_eq!(
                decode_quoted_printable(&encoded).as_deref(),
                Some(text.as_bytes())
            );
        }
        assert_eq!(decode_quoted_printable("a\r\n b"), Some(b"ab".to_vec()));
        for wrong in ["=", "=4", "=4g", "=4a"] {
            assert_eq!(decode_quoted_printable(wrong), None, "{wrong}");
        }
    }
}
