//! The pieces of a report, taken from the message: texts for people, the status, the complaint, the header that came back.
//! RFC 6522 3 (multipart/report), RFC 3464 2 and RFC 6533 4 (media types), RFC 5965 2. Also parts of the wrong type in the wrong place.
//! Not here: what they say.

use std::borrow::Cow;
use std::ops::Range;

use message::header::header_end;
use message::{Content, Header, Part, charset};

use crate::limits;

/// What was found; the first of each kind.
#[derive(Default)]
pub(super) struct Parts {
    /// `report-type` of a multipart/report, in lower case.
    pub report_type: Option<String>,
    /// The texts for people, lines ending in LF.
    pub text: String,
    /// message/delivery-status.
    pub status: Option<Vec<u8>>,
    /// message/feedback-report.
    pub feedback: Option<Vec<u8>>,
    /// The header of the original.
    pub returned: Option<Vec<u8>>,
    /// Where an embedded message is.
    pub embedded: Option<Range<usize>>,
    /// Texts in HTML, for when there is no other.
    html: String,
}

impl Parts {
    pub fn of(message: &[u8], root: &Part) -> Self {
        let mut parts = Self::default();
        if root.content_type.is("MULTIPART", "REPORT") {
            let report_type = root.content_type.parameter("REPORT-TYPE");
            parts.report_type =
                report_type.map(|t| String::from_utf8_lossy(t).to_ascii_lowercase());
        }
        parts.add(message, root, true);
        if parts.text.trim().is_empty() {
            parts.text = without_tags(&parts.html);
        }
        if parts.text.trim().is_empty() && parts.status.is_none() && parts.feedback.is_none() {
            // Boundaries that do not fit: everything is one text.
            push_text(&mut parts.text, message, root);
        }
        parts
    }

    fn add(&mut self, message: &[u8], part: &Part, is_root: bool) {
        let header = part.header_octets(message);
        if !is_root && looks_like_original(header) {
            // A gateway that puts the original where a part should be, without a header of its own.
            self.returned.get_or_insert_with(|| header.to_vec());
            return;
        }
        match &part.content {
            Content::Multipart(children) => {
                children
                    .iter()
                    .for_each(|child| self.add(message, child, false));
            }
            Content::Message(embedded) => {
                let place = embedded.header.start..embedded.body.end;
                self.embedded.get_or_insert(place);
                let returned = embedded_header(message, part, embedded);
                self.returned.get_or_insert(returned);
            }
            Content::Leaf => self.add_leaf(message, part),
        }
    }

    fn add_leaf(&mut self, message: &[u8], part: &Part) {
        let kind = &part.content_type;
        let subtype = kind.subtype.to_ascii_lowercase();
        match subtype.as_slice() {
            b"delivery-status" | b"global-delivery-status" => {
                self.status.get_or_insert_with(|| decoded(message, part));
            }
            b"feedback-report" => {
                self.feedback.get_or_insert_with(|| decoded(message, part));
            }
            // RFC 6533 4.4, RFC 6522 4, and what some servers make of it.
            b"rfc822-headers" | b"rfc822-header" | b"global-headers" | b"rfc822" | b"global" => {
                let octets = decoded(message, part);
                let end = header_end(&octets);
                self.returned.get_or_insert_with(|| octets[..end].to_vec());
            }
            b"html" => push_text(&mut self.html, message, part),
            _ if kind.is_media("TEXT") || kind.is_media("MULTIPART") => {
                push_text(&mut self.text, message, part);
            }
            _ => {}
        }
    }
}

/// The header of an embedded message. RFC 6532 3.7: message/global may be encoded; others are though they may not.
fn embedded_header(message: &[u8], part: &Part, embedded: &Part) -> Vec<u8> {
    let header = embedded.header_octets(message);
    if !header.is_empty() {
        return header.to_vec();
    }
    let mut octets = decoded(message, part);
    octets.truncate(header_end(&octets));
    octets
}

fn decoded(message: &[u8], part: &Part) -> Vec<u8> {
    let body = part.body_octets(message);
    match part.decoder() {
        Ok(decoder) => decoder.decode(body).into_owned(),
        Err(_) => body.to_vec(),
    }
}

fn push_text(text: &mut String, message: &[u8], part: &Part) {
    let room = limits::TEXT_MAX.saturating_sub(text.len());
    if room == 0 {
        return;
    }
    let octets = decoded(message, part);
    let octets = &octets[..octets.len().min(limits::TEXT_MAX)];
    let label = part.content_type.parameter("CHARSET").unwrap_or_default();
    // RFC 1468: ISO-2022-JP is known by its escapes; many bounces do not label it.
    let is_japanese = memchr::memmem::find(octets, b"\x1b$B").is_some();
    let decoded: Cow<'_, str> = if is_japanese {
        charset::to_utf8(b"iso-2022-jp", octets)
    } else if octets.is_ascii() {
        charset::to_utf8(label, octets)
    } else {
        // Text that is UTF-8 is nothing else, whatever its label.
        let utf8 = std::str::from_utf8(octets).ok().map(Cow::Borrowed);
        utf8.unwrap_or_else(|| charset::to_utf8(label, octets))
    };
    if !text.is_empty() {
        text.push('\n');
    }
    text.extend(decoded.chars().filter(|c| *c != '\r').take(room));
}

/// The header of a message rather than of a part: it says who wrote it and when or how it came.
fn looks_like_original(header: &[u8]) -> bool {
    let header = Header::of_section(header);
    let has = |name: &str| header.first(name).is_some();
    has("From") && (has("Message-ID") || has("Received")) && has("Subject")
}

/// Text between tags. Not a reader of HTML; enough to find an address and a reply in it.
fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        let end = after.find('>').map_or(after.len(), |end| end + 1);
        let tag = after[..end].trim_start_matches('/').as_bytes();
        let breaks = [&b"br"[..], b"p", b"div", b"tr", b"li", b"h", b"td"];
        if breaks
            .iter()
            .any(|name| tag.len() >= name.len() && tag[..name.len()].eq_ignore_ascii_case(name))
        {
            text.push('\n');
        }
        rest = &after[end..];
    }
    text.push_str(rest);
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&nbsp;", " "),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    entities
        .iter()
        .fold(text, |text, (entity, letter)| text.replace(entity, letter))
}
