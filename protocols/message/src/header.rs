//! Header sections: where one ends, its fields, unfolding.
//! Used by every other file here. Input is untrusted; nothing fails, a line that is no field is skipped.
//! RFC 5322 2.2 and 3.6, RFC 6532 (UTF-8 in values, kept as octets).
//! Not here: the meaning of a field (`address.rs`, `content_type.rs`, `date.rs`), encoded words (`encoded_word.rs`).

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2, memchr3};

/// A header section, with or without its final empty line.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a>(&'a [u8]);

/// One field of a header section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderField<'a> {
    /// The name as written, without the colon.
    pub name: &'a [u8],
    /// The whole field with name, folds and final line end.
    pub raw: &'a [u8],
    /// What stands after the colon, still folded, without the final line end.
    pub value: &'a [u8],
    /// Where `raw` begins, counted from the start of the section.
    pub offset: usize,
}

impl<'a> Header<'a> {
    /// The header section of a message: all octets up to and with the first empty line.
    pub fn of_message(message: &'a [u8]) -> Self {
        Self(&message[..header_end(message)])
    }

    /// A section already cut out, e.g. by [`crate::Part::header`].
    pub fn of_section(section: &'a [u8]) -> Self {
        Self(section)
    }

    /// The octets of the section.
    pub fn octets(&self) -> &'a [u8] {
        self.0
    }

    /// All fields in order; lines that are no field are left out.
    pub fn fields(&self) -> HeaderFields<'a> {
        HeaderFields {
            section: self.0,
            position: 0,
        }
    }

    /// The first field of that name, compared without case.
    pub fn first(&self, name: &str) -> Option<HeaderField<'a>> {
        self.fields().find(|field| field.is(name))
    }

    /// All fields of that name, compared without case.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = HeaderField<'a>> + use<'a, 'n> {
        self.fields().filter(move |field| field.is(name))
    }

    /// True if any octet is outside ASCII: such a message needs SMTPUTF8 (RFC 6532 3.2).
    pub fn is_internationalized(&self) -> bool {
        !self.0.is_ascii()
    }
}

impl<'a> HeaderField<'a> {
    /// Compares the name without case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value in one line, trimmed; octets else as they are. See [`unfold`].
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        unfold(self.value)
    }

    /// The value as text: unfolded, encoded words decoded (RFC 2047), other octets read as UTF-8 or else windows-1252.
    pub fn text(&self) -> String {
        crate::encoded_word::decode_text(&self.unfolded())
    }

    /// The octets the field takes in its section.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.raw.len()
    }
}

/// Iterator over the fields of a section, see [`Header::fields`].
#[derive(Clone, Debug)]
pub struct HeaderFields<'a> {
    section: &'a [u8],
    position: usize,
}

impl<'a> Iterator for HeaderFields<'a> {
    type Item = HeaderField<'a>;

    fn next(&mut self) -> Option<HeaderField<'a>> {
        loop {
            let rest = self.section.get(self.position..)?;
            if rest.is_empty() || empty_line_len(rest) > 0 {
                return None;
            }
            let raw = &rest[..field_len(rest)];
            let offset = self.position;
            self.position += raw.len();
            if let Some(field) = split_field(raw, offset) {
                return Some(field);
            }
        }
    }
}

/// Where the body of a message begins: after the first empty line, or the length if there is none.
/// Bare LF is taken as a line end, because older stores hold such messages.
pub fn header_end(message: &[u8]) -> usize {
    let first = empty_line_len(message);
    if first > 0 {
        return first;
    }
    for newline in memchr_iter(b'\n', message) {
        let empty = empty_line_len(&message[newline + 1..]);
        if empty > 0 {
            return newline + 1 + empty;
        }
    }
    message.len()
}

/// True if an empty line separates header from body; submission refuses messages without it.
pub fn has_separator(message: &[u8]) -> bool {
    let end = header_end(message);
    empty_line_len(&message[..end]) == end && end > 0
        || message[..end].ends_with(b"\n\r\n")
        || message[..end].ends_with(b"\n\n")
}

/// The value in one line: line ends gone (RFC 5322 2.2.3), white space at both ends gone. NUL, which no IMAP string may hold, is
/// dropped as well; every other octet stays.
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memchr3(b'\r', b'\n', 0, value).is_none() {
        return Cow::Borrowed(value);
    }
    Cow::Owned(
        value
            .iter()
            .copied()
            .filter(|octet| !matches!(octet, b'\r' | b'\n' | 0))
            .collect(),
    )
}

/// The header fields that `wanted` accepts, as they stand, and an empty line: IMAP's HEADER.FIELDS and HEADER.FIELDS.NOT.
// RFC 9051 6.4.5: the delimiting empty line is always included.
pub fn subset(header: Header<'_>, mut wanted: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut subset = Vec::new();
    for field in header.fields().filter(|field| wanted(field.name)) {
        subset.extend_from_slice(field.raw);
        if !field.raw.ends_with(b"\n") {
            subset.extend_from_slice(b"\r\n");
        }
    }
    subset.extend_from_slice(b"\r\n");
    subset
}

/// Length of the line end if the octets begin with an empty line, else 0.
pub(crate) fn empty_line_len(octets: &[u8]) -> usize {
    match octets {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

/// Length of the first line with its line end.
pub(crate) fn line_len(octets: &[u8]) -> usize {
    memchr(b'\n', octets).map_or(octets.len(), |newline| newline + 1)
}

/// Length of the field at the front: its line and all that begin with white space.
fn field_len(octets: &[u8]) -> usize {
    let mut len = line_len(octets);
    while let Some(b' ' | b'\t') = octets.get(len) {
        len += line_len(&octets[len..]);
    }
    len
}

// RFC 5322 2.2: field = field-name ":" field-body CRLF; RFC 5322 4.5 allows white space before the colon.
fn split_field(raw: &[u8], offset: usize) -> Option<HeaderField<'_>> {
    let colon = memchr2(b':', b'\n', raw).filter(|at| raw[*at] == b':')?;
    let name = raw[..colon].trim_ascii_end();
    if name.is_empty() || !name.iter().all(|octet| (33..=126).contains(octet)) {
        return None;
    }
    let value = &raw[colon + 1..];
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    Some(HeaderField {
        name,
        raw,
        value,
        offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_folds_and_rubbish() {
        let message =
            b"Subject: a\r\n  b\r\nno field here\r\nX-Empty:\r\nFrom : me@x\r\n\r\nBody: no\r\n";
        let header = Header::of_message(message);
        let names: Vec<_> = header.fields().map(|field| field.name).collect();
        assert_eq!(names, [b"Subject".as_slice(), b"X-Empty", b"From"]);
        assert_eq!(&*header.first("SUBJECT").unwrap().unfolded(), b"a  b");
        let from = header.first("from").unwrap();
        assert_eq!(&message[from.range()], b"From : me@x\r\n");
        assert_eq!(&message[header_end(message)..], b"Body: no\r\n");
    }

    #[test]
    fn ends() {
        assert_eq!(header_end(b""), 0);
        assert_eq!(header_end(b"\r\nbody"), 2);
        assert_eq!(header_end(b"A: b"), 4);
        assert_eq!(header_end(b"A: b\n\nc"), 6);
        assert!(
            has_separator(b"\r\nx") && has_separator(b"A: b\r\n\r\n") && has_separator(b"A: b\n\n")
        );
        assert!(!has_separator(b"A: b\r\n") && !has_separator(b"") && !has_separator(b"\r"));
    }

    #[test]
    fn subset_ends_with_an_empty_line() {
        let header = Header::of_message(b"A: 1\r\nB: 2\r\n\t3\r\nA: 4");
        assert_eq!(subset(header, |name| name == b"A"), b"A: 1\r\nA: 4\r\n\r\n");
        assert_eq!(subset(header, |name| name != b"A"), b"B: 2\r\n\t3\r\n\r\n");
        assert_eq!(subset(header, |_| false), b"\r\n");
    }

    #[test]
    fn unfolding_keeps_octets() {
        assert_eq!(&*unfold(b" caf\xe9 \r\n\tau lait\0 "), b"caf\xe9 \tau lait");
    }
}
