//! The walk over a message that finds its parts: one pass, from boundary to boundary.
//! Leniencies: a missing closing boundary ends with what encloses it; bare LF ends a line; a boundary line inside a header ends the part.
//! Cost: linear in the message, times the number of boundaries open at once (at most `DEPTH_MAX`) for lines that begin with `--`.
//! RFC 2046 5.1 (multipart), 5.2.1 (message/rfc822), RFC 6532 3.7 (message/global).

use memchr::{memchr_iter, memmem};

use super::{Content, Part};
use crate::content_type::{ContentType, Disposition, first_token};
use crate::decode::TransferEncoding;
use crate::envelope::{EnvelopeFields, bounded_text};
use crate::header::{Header, empty_line_len, line_len};
use crate::limits;

pub(super) fn walk(message: &[u8]) -> Part {
    let lines = LineCounter {
        message,
        position: 0,
        lines: 0,
    };
    let mut walker = Walker {
        message,
        boundaries: Vec::new(),
        parts: 0,
        lines,
        newline_dashes: memmem::Finder::new(b"\n--"),
    };
    let whole = Entity {
        start: 0,
        depth: 0,
        is_message: true,
        in_digest: false,
    };
    walker.entity(whole).0
}

struct Walker<'m> {
    message: &'m [u8],
    /// Of the multiparts around the current position, outermost first.
    boundaries: Vec<Vec<u8>>,
    parts: usize,
    lines: LineCounter<'m>,
    newline_dashes: memmem::Finder<'static>,
}

/// Where an entity begins and what is around it.
#[derive(Clone, Copy)]
struct Entity {
    start: usize,
    depth: usize,
    is_message: bool,
    in_digest: bool,
}

/// Why a body ended.
#[derive(Clone, Copy)]
enum End {
    Message,
    Delimiter(Delimiter),
}

/// A boundary line.
#[derive(Clone, Copy)]
struct Delimiter {
    line_start: usize,
    next_line: usize,
    /// Index of its boundary in `Walker::boundaries`.
    level: usize,
    closing: bool,
}

impl<'m> Walker<'m> {
    fn entity(&mut self, entity: Entity) -> (Part, End) {
        self.parts += 1;
        let (header_end, cut) = self.header_end(entity.start);
        let mut part = read_header(&self.message[entity.start..header_end], entity);
        part.header = entity.start..header_end;
        let lines_before = self.lines.up_to(header_end);
        let end = match cut {
            Some(delimiter) => self.empty_body(&mut part, delimiter),
            None => self.content(&mut part, header_end, entity.depth),
        };
        let (mut body_end, mut stripped) = self.body_end(header_end, end);
        // The last line end before the boundary may be the one that ends the header of an empty part inside.
        if let Some(inside) = part
            .children()
            .last()
            .filter(|inside| inside.body.end > body_end)
        {
            (body_end, stripped) = (inside.body.end, 0);
        }
        part.body = header_end..body_end;
        part.body_lines =
            self.lines.up_to(body_end + stripped) - lines_before - u64::from(stripped > 0);
        (part, end)
    }

    /// The end of the header section at `start`, and the boundary line if that cut it off.
    fn header_end(&self, start: usize) -> (usize, Option<Delimiter>) {
        let mut at = start;
        while at < self.message.len() {
            let empty = empty_line_len(&self.message[at..]);
            if empty > 0 {
                return (at + empty, None);
            }
            if let Some(delimiter) = self.delimiter_at(at) {
                return (at, Some(delimiter));
            }
            at += line_len(&self.message[at..]);
        }
        (at, None)
    }

    fn empty_body(&mut self, part: &mut Part, delimiter: Delimiter) -> End {
        if is_embedded_message(&part.content_type) {
            part.content = Content::Message(Box::new(opaque_message(delimiter.line_start)));
        } else if part.content_type.is_media("MULTIPART") {
            part.content_type = ContentType::without_parameters("APPLICATION", "OCTET-STREAM");
        }
        End::Delimiter(delimiter)
    }

    /// Walks the body and fills `part.content`.
    fn content(&mut self, part: &mut Part, body_start: usize, depth: usize) -> End {
        let deep = depth >= limits::DEPTH_MAX;
        if part.content_type.is_media("MULTIPART") {
            let boundary = part
                .content_type
                .parameter("BOUNDARY")
                .map(<[u8]>::trim_ascii_end);
            let boundary = boundary.filter(|boundary| {
                !boundary.is_empty() && boundary.len() <= limits::BOUNDARY_MAX && !deep
            });
            if let Some(boundary) = boundary.map(<[u8]>::to_vec) {
                return self.multipart(part, boundary, body_start, depth);
            }
            // RFC 2046 5.1.1 requires a boundary; without one there is nothing to take apart.
            part.content_type = ContentType::without_parameters("APPLICATION", "OCTET-STREAM");
        } else if is_embedded_message(&part.content_type) {
            if !deep && part.decoder() == Ok(TransferEncoding::Identity) {
                let inner = Entity {
                    start: body_start,
                    depth: depth + 1,
                    is_message: true,
                    in_digest: false,
                };
                let (message, end) = self.entity(inner);
                part.content = Content::Message(Box::new(message));
                return end;
            }
            let end = self.next_delimiter(body_start);
            let mut message = opaque_message(body_start);
            let (body_end, stripped) = self.body_end(body_start, end);
            let lines_before = self.lines.up_to(body_start);
            message.body.end = body_end;
            message.body_lines =
                self.lines.up_to(body_end + stripped) - lines_before - u64::from(stripped > 0);
            part.content = Content::Message(Box::new(message));
            return end;
        }
        self.next_delimiter(body_start)
    }

    // RFC 2046 5.1.1: multipart-body := [preamble CRLF] dash-boundary transport-padding CRLF body-part *encapsulation close-delimiter
    //                                   transport-padding [CRLF epilogue]
    fn multipart(
        &mut self,
        part: &mut Part,
        boundary: Vec<u8>,
        body_start: usize,
        depth: usize,
    ) -> End {
        let level = self.boundaries.len();
        self.boundaries.push(boundary);
        let in_digest = part.content_type.is("MULTIPART", "DIGEST");
        let mut parts = Vec::new();
        let mut end = self.next_delimiter(body_start);
        let mut epilogue = None;
        while let End::Delimiter(delimiter) = end {
            if delimiter.level != level {
                break;
            }
            if delimiter.closing {
                epilogue = Some(delimiter.next_line);
                break;
            }
            let inner = Entity {
                start: delimiter.next_line,
                depth: depth + 1,
                is_message: false,
                in_digest,
            };
            let (child, child_end) = self.entity(inner);
            parts.push(child);
            end = child_end;
        }
        self.boundaries.truncate(level);
        if parts.is_empty() {
            // IMAP has no multipart without parts (RFC 9051 9, body-type-mpart).
            part.content_type = ContentType::without_parameters("APPLICATION", "OCTET-STREAM");
        } else {
            part.content = Content::Multipart(parts);
        }
        match epilogue {
            Some(start) => self.next_delimiter(start),
            None => end,
        }
    }

    /// The next boundary line at or after `start`, which is the start of a line.
    fn next_delimiter(&self, start: usize) -> End {
        if self.boundaries.is_empty() || self.parts >= limits::PARTS_MAX {
            return End::Message;
        }
        if let Some(delimiter) = self.delimiter_at(start) {
            return End::Delimiter(delimiter);
        }
        let mut at = start;
        while let Some(found) = self
            .newline_dashes
            .find(self.message.get(at..).unwrap_or_default())
        {
            let line_start = at + found + 1;
            if let Some(delimiter) = self.delimiter_at(line_start) {
                return End::Delimiter(delimiter);
            }
            at = line_start;
        }
        End::Message
    }

    /// Reads the line at `line_start` as the boundary line of the innermost multipart it fits.
    fn delimiter_at(&self, line_start: usize) -> Option<Delimiter> {
        let line = self.message.get(line_start..)?.strip_prefix(b"--")?;
        if self.parts >= limits::PARTS_MAX {
            return None;
        }
        for (level, boundary) in self.boundaries.iter().enumerate().rev() {
            let Some(rest) = line.strip_prefix(boundary.as_slice()) else {
                continue;
            };
            let (rest, closing) = match rest.strip_prefix(b"--") {
                Some(rest) => (rest, true),
                None => (rest, false),
            };
            // RFC 2046 5.1.1: what follows after white space does not count; text right behind makes it another, longer boundary.
            if matches!(
                rest,
                [] | [b'\n' | b' ' | b'\t', ..] | [b'\r'] | [b'\r', b'\n', ..]
            ) {
                let next_line = self.message.len() - rest.len();
                let next_line = next_line + line_len(&self.message[next_line..]);
                return Some(Delimiter {
                    line_start,
                    next_line,
                    level,
                    closing,
                });
            }
        }
        None
    }

    /// Where a body that begins at `start` stops, and the length of the line end that belongs to the boundary line.
    // RFC 2046 5.1.1: delimiter := CRLF "--" boundary.
    fn body_end(&self, start: usize, end: End) -> (usize, usize) {
        let End::Delimiter(delimiter) = end else {
            return (self.message.len(), 0);
        };
        let body = &self.message[start..delimiter.line_start.max(start)];
        let stripped = match body {
            [.., b'\r', b'\n'] => 2,
            [.., b'\n'] => 1,
            _ => 0,
        };
        (start + body.len() - stripped, stripped)
    }
}

/// Counts line ends up to positions that mostly grow; what lies between two calls is looked at once.
struct LineCounter<'m> {
    message: &'m [u8],
    position: usize,
    lines: u64,
}

impl LineCounter<'_> {
    fn up_to(&mut self, position: usize) -> u64 {
        if position >= self.position {
            self.lines += memchr_iter(b'\n', &self.message[self.position..position]).count() as u64;
        } else {
            self.lines -= memchr_iter(b'\n', &self.message[position..self.position]).count() as u64;
        }
        self.position = position;
        self.lines
    }
}

fn is_embedded_message(content_type: &ContentType) -> bool {
    content_type.is("MESSAGE", "RFC822") || content_type.is("MESSAGE", "GLOBAL")
}

/// An embedded message that is not taken apart: empty header, all octets body.
fn opaque_message(start: usize) -> Part {
    let entity = Entity {
        start,
        depth: 0,
        is_message: true,
        in_digest: false,
    };
    let mut message = read_header(b"", entity);
    (message.header, message.body) = (start..start, start..start);
    message
}

/// A part with what its header says; ranges and content are still to be filled in.
fn read_header(section: &[u8], entity: Entity) -> Part {
    let header = Header::of_section(section);
    let mut part = Part {
        header: 0..0,
        body: 0..0,
        body_lines: 0,
        content_type: default_type(entity),
        transfer_encoding: b"7BIT".to_vec(),
        disposition: None,
        languages: Vec::new(),
        content_id: None,
        description: None,
        md5: None,
        location: None,
        envelope: entity
            .is_message
            .then(|| Box::new(EnvelopeFields::of_header(header))),
        content: Content::Leaf,
    };
    // Of a field given twice the first counts.
    let mut seen = [false; 4];
    for field in header.fields() {
        let Some((prefix, name)) = field.name.split_at_checked(b"Content-".len()) else {
            continue;
        };
        if !prefix.eq_ignore_ascii_case(b"Content-") {
            continue;
        }
        let mut is_first = |index: usize| !std::mem::replace(&mut seen[index], true);
        match name.to_ascii_lowercase().as_slice() {
            // RFC 2045 5.2: an unreadable Content-Type is text/plain.
            b"type" if is_first(0) => {
                part.content_type = ContentType::parse(&bounded_text(field))
                    .unwrap_or_else(ContentType::text_plain);
            }
            b"transfer-encoding" if is_first(1) => {
                let value = field.unfolded();
                let token = first_token(&value);
                if !token.is_empty() {
                    part.transfer_encoding = token.to_ascii_uppercase();
                }
            }
            b"disposition" if is_first(2) => {
                part.disposition = Disposition::parse(&bounded_text(field))
            }
            b"language" if is_first(3) => {
                let value = bounded_text(field);
                let tags = value
                    .split(|octet| *octet == b',')
                    .map(<[u8]>::trim_ascii)
                    .filter(|tag| !tag.is_empty());
                part.languages = tags
                    .take(limits::PARAMETERS_MAX)
                    .map(<[u8]>::to_vec)
                    .collect();
            }
            b"id" => set_once(&mut part.content_id, bounded_text(field)),
            b"description" => set_once(&mut part.description, bounded_text(field)),
            b"md5" => set_once(&mut part.md5, bounded_text(field)),
            b"location" => set_once(&mut part.location, bounded_text(field)),
            _ => {}
        }
    }
    part
}

fn set_once(slot: &mut Option<Vec<u8>>, value: Vec<u8>) {
    if slot.is_none() && !value.is_empty() {
        *slot = Some(value);
    }
}

// RFC 2046 5.1.5: in a multipart/digest the default is message/rfc822; RFC 2045 5.2: elsewhere text/plain.
fn default_type(entity: Entity) -> ContentType {
    if entity.in_digest {
        ContentType::without_parameters("MESSAGE", "RFC822")
    } else {
        ContentType::text_plain()
    }
}
