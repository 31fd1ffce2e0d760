//! The stored form of a structure, so that BODYSTRUCTURE and ENVELOPE need no look at the message.
//! First octet: version. Then the root part: numbers as LEB128, octet strings with their length, options as a count of 0 or 1.
//! A stored form that does not read back (another version, damage) is `None`: the caller parses the message again.

use super::{Content, Part, Structure};
use crate::content_type::{ContentType, Disposition, Parameter};
use crate::envelope::{EnvelopeAddress, EnvelopeFields};
use crate::limits;

/// Changes with every change of the layout or of what the walker finds.
const VERSION: u8 = 1;

impl Structure {
    /// The stored form, some 200 octets for a plain message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer(vec![VERSION]);
        writer.part(&self.root);
        writer.0
    }

    /// Reads a stored form back. `None` if it is of another version or damaged.
    pub fn from_bytes(stored: &[u8]) -> Option<Self> {
        let (version, rest) = stored.split_first()?;
        let mut reader = Reader { rest, parts: 0 };
        let root = (*version == VERSION).then(|| reader.part(0))??;
        reader.rest.is_empty().then_some(Self { root })
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn octets(&mut self, octets: &[u8]) {
        self.number(octets.len() as u64);
        self.0.extend_from_slice(octets);
    }

    /// A count and that many items.
    fn list<'a, T: 'a>(
        &mut self,
        items: impl ExactSizeIterator<Item = &'a T>,
        mut write: impl FnMut(&mut Self, &'a T),
    ) {
        self.number(items.len() as u64);
        items.for_each(|item| write(self, item));
    }

    fn optional(&mut self, octets: &Option<Vec<u8>>) {
        self.list(octets.as_ref().into_iter(), |writer, octets| {
            writer.octets(octets)
        });
    }

    fn part(&mut self, part: &Part) {
        self.number(part.header.start as u64);
        self.number((part.header.end - part.header.start) as u64);
        self.number((part.body.end - part.body.start) as u64);
        self.number(part.body_lines);
        self.octets(&part.content_type.media);
        self.octets(&part.content_type.subtype);
        self.parameters(&part.content_type.parameters);
        self.octets(&part.transfer_encoding);
        self.list(
            part.disposition.as_ref().into_iter(),
            |writer, disposition| {
                writer.octets(&disposition.kind);
                writer.parameters(&disposition.parameters);
            },
        );
        self.list(part.languages.iter(), |writer, language| {
            writer.octets(language)
        });
        for text in [
            &part.content_id,
            &part.description,
            &part.md5,
            &part.location,
        ] {
            self.optional(text);
        }
        self.list(part.envelope.as_deref().into_iter(), Self::envelope);
        self.number(match part.content {
            Content::Leaf => 0,
            Content::Multipart(_) => 1,
            Content::Message(_) => 2,
        });
        if !matches!(part.content, Content::Leaf) {
            self.list(part.children().iter(), Self::part);
        }
    }

    fn parameters(&mut self, parameters: &[Parameter]) {
        self.list(parameters.iter(), |writer, parameter| {
            writer.octets(&parameter.name);
            writer.octets(&parameter.value);
        });
    }

    fn envelope(&mut self, envelope: &EnvelopeFields) {
        for text in [
            &envelope.date,
            &envelope.subject,
            &envelope.in_reply_to,
            &envelope.message_id,
        ] {
            self.optional(text);
        }
        self.addresses(&envelope.from_header);
        for defaulted in [&envelope.sender, &envelope.reply_to] {
            // Mostly the same as From; then only said so.
            self.number(u64::from(*defaulted != envelope.from_header));
            if *defaulted != envelope.from_header {
                self.addresses(defaulted);
            }
        }
        for addresses in [&envelope.to_header, &envelope.cc, &envelope.bcc] {
            self.addresses(addresses);
        }
    }

    fn addresses(&mut self, addresses: &[EnvelopeAddress]) {
        self.list(addresses.iter(), |writer, address| {
            for text in [
                &address.name,
                &address.route,
                &address.mailbox,
                &address.host,
            ] {
                writer.optional(text);
            }
        });
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    parts: usize,
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..63).step_by(7) {
            let (octet, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(octet & 0x7f) << shift;
            if *octet < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn octets(&mut self) -> Option<Vec<u8>> {
        let len = self.size()?;
        let (octets, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(octets.to_vec())
    }

    /// A list; each item takes at least one octet, so damage cannot ask for more memory than a multiple of the stored size.
    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.size()?;
        (count <= self.rest.len()).then(|| (0..count).map(|_| read(self)).collect())?
    }

    fn one<T>(&mut self, read: impl FnMut(&mut Self) -> Option<T>) -> Option<Option<T>> {
        let mut items = self.list(read)?;
        (items.len() <= 1).then(|| items.pop())
    }

    fn optional(&mut self) -> Option<Option<Vec<u8>>> {
        self.one(Self::octets)
    }

    fn part(&mut self, depth: usize) -> Option<Part> {
        self.parts += 1;
        // The walker counts no undecoded messages and, at its bound, still follows a chain of embedded ones.
        if depth > limits::DEPTH_MAX + 1 || self.parts > 3 * limits::PARTS_MAX {
            return None;
        }
        let start = self.size()?;
        let body_start = start.checked_add(self.size()?)?;
        let body_end = body_start.checked_add(self.size()?)?;
        Some(Part {
            header: start..body_start,
            body: body_start..body_end,
            body_lines: self.number()?,
            content_type: ContentType {
                media: self.octets()?,
                subtype: self.octets()?,
                parameters: self.parameters()?,
            },
            transfer_encoding: self.octets()?,
            disposition: self.one(|reader| {
                Some(Disposition {
                    kind: reader.octets()?,
                    parameters: reader.parameters()?,
                })
            })?,
            languages: self.list(Self::octets)?,
            content_id: self.optional()?,
            description: self.optional()?,
            md5: self.optional()?,
            location: self.optional()?,
            envelope: self.one(Self::envelope)?.map(Box::new),
            content: match self.number()? {
                0 => Content::Leaf,
                1 => Content::Multipart(self.list(|reader| reader.part(depth + 1))?),
                2 => Content::Message(Box::new(self.one(|reader| reader.part(depth + 1))??)),
                _ => return None,
            },
        })
    }

    fn parameters(&mut self) -> Option<Vec<Parameter>> {
        self.list(|reader| {
            Some(Parameter {
                name: reader.octets()?,
                value: reader.octets()?,
            })
        })
    }

    fn envelope(&mut self) -> Option<EnvelopeFields> {
        let (date, subject) = (self.optional()?, self.optional()?);
        let (in_reply_to, message_id) = (self.optional()?, self.optional()?);
        let from_header = self.addresses()?;
        let mut defaulted = || match self.number()? {
            0 => Some(from_header.clone()),
            _ => self.addresses(),
        };
        let (sender, reply_to) = (defaulted()?, defaulted()?);
        let (to_header, cc, bcc) = (self.addresses()?, self.addresses()?, self.addresses()?);
        Some(EnvelopeFields {
            date,
            subject,
            from_header,
            sender,
            reply_to,
            to_header,
            cc,
            bcc,
            in_reply_to,
            message_id,
        })
    }

    fn addresses(&mut self) -> Option<Vec<EnvelopeAddress>> {
        self.list(|reader| {
            let (name, route) = (reader.optional()?, reader.optional()?);
            Some(EnvelopeAddress {
                name,
                route,
                mailbox: reader.optional()?,
                host: reader.optional()?,
            })
        })
    }
}
