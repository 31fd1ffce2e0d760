//! Sections: what `BODY[1.2.HEADER]` and its kin stand for.
//! RFC 9051 6.4.5.1 and RFC 3501 6.4.5: numbering of parts, the part specifiers. Works on a stored [`Structure`]; the answer is a byte range
//! wherever the octets stand in the message as asked for, so that the caller may read just those.
//! Not here: partial ranges `<0.100>`, literals (`protocols/imap`), decoding for BINARY (`decode.rs`).

use std::borrow::Cow;
use std::ops::Range;

use crate::header::{Header, subset};
use crate::structure::{Content, Part, Structure};

/// The words after the part numbers of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionText<'a> {
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS (names)`
    HeaderFields(&'a [String]),
    /// `HEADER.FIELDS.NOT (names)`
    HeaderFieldsNot(&'a [String]),
    /// `TEXT`
    Text,
    /// `MIME`
    Mime,
}

/// A part found by its numbers.
#[derive(Clone, Copy, Debug)]
pub struct NumberedPart<'s> {
    /// The part.
    pub part: &'s Part,
    /// True if it is the sole part 1 of a message that is no multipart: its header is that of the message.
    pub is_whole_message: bool,
}

/// Where the octets of a section are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionPlace {
    /// They stand in the message.
    Range(Range<usize>),
    /// They are picked from the header section in this range, see [`SectionPlace::pick`].
    Fields(Range<usize>),
}

impl Structure {
    /// The part with these numbers, counted from 1. `None` if there is none, also for no numbers.
    // RFC 9051 6.4.5.1: every message has at least part 1; part 1 of a message that is no multipart is its body. The parts of an embedded
    // message are numbered through the part that holds it.
    pub fn part(&self, numbers: &[u32]) -> Option<NumberedPart<'_>> {
        let mut found: Option<NumberedPart<'_>> = None;
        for number in numbers {
            let container = match found {
                None => &self.root,
                Some(NumberedPart { part, .. }) => match &part.content {
                    Content::Leaf => return None,
                    Content::Multipart(_) => part,
                    Content::Message(message) => message,
                },
            };
            found = match &container.content {
                Content::Multipart(parts) => {
                    let part = parts.get((*number as usize).checked_sub(1)?)?;
                    Some(NumberedPart {
                        part,
                        is_whole_message: false,
                    })
                }
                _ if *number == 1 => Some(NumberedPart {
                    part: container,
                    is_whole_message: true,
                }),
                _ => return None,
            };
        }
        found
    }

    /// Where the octets of `BODY[numbers.text]` are. `None` if the part does not exist or has no such section.
    pub fn section_place(
        &self,
        numbers: &[u32],
        text: Option<SectionText<'_>>,
    ) -> Option<SectionPlace> {
        if numbers.is_empty() {
            return match text {
                None => Some(SectionPlace::Range(
                    self.root.header.start..self.root.body.end,
                )),
                Some(text) => message_section(&self.root, text),
            };
        }
        let found = self.part(numbers)?;
        match (text, &found.part.content) {
            (None, _) => Some(SectionPlace::Range(found.part.body.clone())),
            // The header of a whole message holds more than the MIME fields, so they are picked.
            (Some(SectionText::Mime), _) if found.is_whole_message => {
                Some(SectionPlace::Fields(found.part.header.clone()))
            }
            (Some(SectionText::Mime), _) => Some(SectionPlace::Range(found.part.header.clone())),
            // RFC 9051 6.4.5.1: HEADER, HEADER.FIELDS and TEXT need an embedded message.
            (Some(text), Content::Message(message)) => message_section(message, text),
            (Some(_), _) => None,
        }
    }

    /// The octets of `BODY[numbers.text]`.
    pub fn section<'m>(
        &self,
        message: &'m [u8],
        numbers: &[u32],
        text: Option<SectionText<'_>>,
    ) -> Option<Cow<'m, [u8]>> {
        let place = self.section_place(numbers, text)?;
        let octets = message.get(place.range()).unwrap_or_default();
        Some(match place {
            SectionPlace::Range(_) => Cow::Borrowed(octets),
            SectionPlace::Fields(_) => Cow::Owned(SectionPlace::pick(octets, text)),
        })
    }
}

impl SectionPlace {
    /// The octets of the message to read.
    pub fn range(&self) -> Range<usize> {
        match self {
            Self::Range(range) | Self::Fields(range) => range.clone(),
        }
    }

    /// Picks the fields that `text` asks for from a header section. MIME picks `Content-*` and `MIME-Version` (RFC 2045 3).
    pub fn pick(header: &[u8], text: Option<SectionText<'_>>) -> Vec<u8> {
        let is_listed = |names: &[String], name: &[u8]| {
            names
                .iter()
                .any(|listed| name.eq_ignore_ascii_case(listed.as_bytes()))
        };
        let header = Header::of_section(header);
        match text {
            Some(SectionText::HeaderFields(names)) => subset(header, |name| is_listed(names, name)),
            Some(SectionText::HeaderFieldsNot(names)) => {
                subset(header, |name| !is_listed(names, name))
            }
            Some(SectionText::Mime) => subset(header, is_mime_field),
            Some(SectionText::Header | SectionText::Text) | None => header.octets().to_vec(),
        }
    }
}

fn is_mime_field(name: &[u8]) -> bool {
    let prefix = name.get(..b"Content-".len()).unwrap_or_default();
    prefix.eq_ignore_ascii_case(b"Content-") || name.eq_ignore_ascii_case(b"MIME-Version")
}

fn message_section(message: &Part, text: SectionText<'_>) -> Option<SectionPlace> {
    match text {
        SectionText::Header => Some(SectionPlace::Range(message.header.clone())),
        SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_) => {
            Some(SectionPlace::Fields(message.header.clone()))
        }
        SectionText::Text => Some(SectionPlace::Range(message.body.clone())),
        SectionText::Mime => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 9051 6.4.5.1, shortened to two levels.
    const NESTED: &str = concat!(
        "Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\npreamble\r\n",
        "--o\r\n\r\none\r\n",
        "--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n",
        "--i\r\nX: y\r\nContent-Type: text/html\r\n\r\n<p>\r\n--i--\r\n",
        "--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: single\r\nMIME-Version: 1.0\r\n\r\ntext\r\n",
        "--o--\r\n",
    );

    fn section(numbers: &[u32], text: Option<SectionText<'_>>) -> Option<String> {
        let structure = Structure::of_message(NESTED.as_bytes());
        let octets = structure.section(NESTED.as_bytes(), numbers, text)?;
        Some(String::from_utf8(octets.into_owned()).unwrap())
    }

    #[test]
    fn numbers() {
        assert_eq!(section(&[], None).as_deref(), Some(NESTED));
        assert_eq!(section(&[1], None).as_deref(), Some("one"));
        assert_eq!(section(&[2, 1], None).as_deref(), Some("<p>"));
        assert_eq!(section(&[3, 1], None).as_deref(), Some("text"));
        assert_eq!(
            section(&[3], None).as_deref(),
            Some("Subject: single\r\nMIME-Version: 1.0\r\n\r\ntext")
        );
        for missing in [
            &[0][..],
            &[4],
            &[1, 1],
            &[2, 2],
            &[2, 1, 1],
            &[3, 2],
            &[3, 1, 1],
            &[u32::MAX],
        ] {
            assert_eq!(section(missing, None), None, "{missing:?}");
        }
    }

    #[test]
    fn specifiers() {
        let names = ["SUBJECT".to_string()];
        assert_eq!(
            section(&[2], Some(SectionText::HeaderFields(&names))).as_deref(),
            Some("Subject: inner\r\n\r\n")
        );
        assert_eq!(
            section(&[3], Some(SectionText::HeaderFieldsNot(&names))).as_deref(),
            Some("MIME-Version: 1.0\r\n\r\n")
        );
        assert_eq!(
            section(&[3], Some(SectionText::Text)).as_deref(),
            Some("text")
        );
        assert_eq!(
            section(&[2, 1], Some(SectionText::Mime)).as_deref(),
            Some("X: y\r\nContent-Type: text/html\r\n\r\n")
        );
        assert_eq!(
            section(&[3, 1], Some(SectionText::Mime)).as_deref(),
            Some("MIME-Version: 1.0\r\n\r\n")
        );
        assert_eq!(
            section(&[1], Some(SectionText::Mime)).as_deref(),
            Some("\r\n")
        );
        assert_eq!(section(&[1], Some(SectionText::Header)), None);
        assert_eq!(section(&[], Some(SectionText::Mime)), None);
        assert!(
            section(&[], Some(SectionText::Text))
                .unwrap()
                .starts_with("preamble\r\n--o")
        );
        assert!(
            section(&[], Some(SectionText::Header))
                .unwrap()
                .ends_with("boundary=o\r\n\r\n")
        );
    }

    #[test]
    fn sole_part_of_a_plain_message() {
        let message = b"From: a@b\r\nContent-Type: text/plain\r\n\r\nhello\r\n";
        let structure = Structure::of_message(message);
        assert_eq!(
            structure.section(message, &[1], None).as_deref(),
            Some(b"hello\r\n".as_slice())
        );
        let mime = structure.section(message, &[1], Some(SectionText::Mime));
        assert_eq!(
            mime.as_deref(),
            Some(b"Content-Type: text/plain\r\n\r\n".as_slice())
        );
    }
}
