//! A stored message as clients of the API see it: its fields, first text and HTML, the tree of its parts, and the octets of one of them.
//! Called for `MessageGet`, `MessagePartGet` and for what is told of incoming mail. The message is untrusted: nothing fails, and whatever
//! it says costs us no more than the bounds at the end of this file beside one pass over its octets.
//! RFC 5322, 2045-2047, 2183, 3834 (Auto-Submitted). Parts are those of `protocols/message`; an embedded message is a part without parts.
//! Not here: what is known of a message besides its octets ([`MessageMeta`](crate::MessageMeta)).
//!
//! ```
//! use ringmail_webapi::TakenApart;
//! let octets = b"Subject: =?utf-8?q?caf=C3=A9?=\r\nMessage-ID: <1@x>\r\n\r\nHi\r\n";
//! let taken = TakenApart::new(octets);
//! let message = taken.message();
//! assert_eq!((message.subject.as_str(), message.text.as_str()), ("café", "Hi\n"));
//! assert_eq!(taken.part(&[]).as_deref(), Some(b"Hi\r\n".as_slice()));
//! ```

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;

use message::address::{AddressItem, MailboxAddress, parse_list};
use message::{Content, Decoder, Header, MessageDate, Part, TransferEncoding, charset};

use crate::time::Time;
use crate::types::{Message, NameAddress, Structure};

/// A message whose parts are found.
#[derive(Debug)]
pub struct TakenApart<'m> {
    octets: &'m [u8],
    found: message::Structure,
    /// Octets of texts that may still be said.
    left: Cell<usize>,
}

/// Where the octets of a part are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPlace {
    /// In the message.
    pub range: Range<u64>,
    /// To be undone.
    pub encoding: TransferEncoding,
    /// Octets once it is.
    pub size: u64,
}

impl<'m> TakenApart<'m> {
    /// Looks for the parts, in one pass.
    pub fn new(octets: &'m [u8]) -> TakenApart<'m> {
        TakenApart {
            octets,
            found: message::Structure::of_message(octets),
            left: Cell::new(TEXTS_MAX),
        }
    }

    /// Its fields, with the first text and HTML.
    pub fn message(&self) -> Message {
        let (text, html) = self.texts();
        let mut references = self.references();
        let answered = self.in_reply_to();
        if !answered.is_empty() && !references.contains(&answered) {
            references.insert(0, answered);
        }
        Message {
            from: self.addresses("From"),
            to: self.addresses("To"),
            cc: self.addresses("Cc"),
            bcc: self.addresses("Bcc"),
            reply_to: self.addresses("Reply-To"),
            message_id: self.message_id(),
            references,
            date: self.date(),
            subject: self.subject(),
            text,
            html,
        }
    }

    /// Its parts.
    pub fn structure(&self) -> Structure {
        self.described(&self.found.root, 0)
    }

    /// The mailboxes of a field, those in groups like others, names decoded.
    pub fn addresses(&self, name: &str) -> Vec<NameAddress> {
        let mut all = Vec::new();
        for field in self.header().all(name) {
            for item in parse_list(field.value) {
                if let AddressItem::Mailbox(mailbox) = item
                    && !(mailbox.localpart.is_empty() && mailbox.domain.is_none())
                    && all.len() < ADDRESSES_MAX
                {
                    all.push(NameAddress {
                        name: self.said(decoded(mailbox.name.as_deref())),
                        address: self.said(address(&mailbox)),
                    });
                }
            }
        }
        all
    }

    /// Decoded.
    pub fn subject(&self) -> String {
        let field = self.header().first("Subject");
        self.said(field.map(|field| field.text()).unwrap_or_default())
    }

    /// With its angle brackets; empty: it has none.
    pub fn message_id(&self) -> String {
        self.id("Message-ID")
    }

    /// The first message that it answers by In-Reply-To, with angle brackets; empty: none.
    pub fn in_reply_to(&self) -> String {
        self.id("In-Reply-To")
    }

    /// The words of the References field, the oldest first.
    pub fn references(&self) -> Vec<String> {
        let Some(field) = self.header().first("References") else {
            return Vec::new();
        };
        let value = field.unfolded();
        let words = value.split(u8::is_ascii_whitespace);
        words
            .filter(|word| !word.is_empty())
            .take(REFERENCES_MAX)
            .map(|word| self.said(charset::unlabelled(word).into_owned()))
            .filter(|word| !word.is_empty())
            .collect()
    }

    /// The Date field, in its zone. None: there is none that can be read.
    pub fn date(&self) -> Option<Time> {
        let date = MessageDate::of_header(self.header())?;
        Time::of_unix_at(date.unix_secs, date.offset_minutes)
    }

    /// The first text and the first HTML: UTF-8, lines ended by LF, [`TEXT_MAX`] octets each at most.
    pub fn texts(&self) -> (String, String) {
        let found = texts(&self.found.root);
        let read = |part: Option<&Part>| part.map(|part| self.text_of(part)).unwrap_or_default();
        (read(found.plain), read(found.html))
    }

    /// Whether a program sent it, by what it says itself. Besides that mail with an empty reverse-path is.
    pub fn is_automated(&self) -> bool {
        let header = self.header();
        let submitted = header.first("Auto-Submitted").is_some_and(|field| {
            // RFC 3834 5: a keyword, then perhaps parameters and comments.
            let value = field.unfolded();
            let ends = |octet: &u8| matches!(octet, b';' | b'(') || octet.is_ascii_whitespace();
            let word = value.split(ends).next().unwrap_or_default();
            !word.eq_ignore_ascii_case(b"no")
        });
        let lists = [
            "List-Id",
            "List-Unsubscribe",
            "List-Unsubscribe-Post",
            "Precedence",
        ];
        submitted
            || header
                .fields()
                .any(|field| lists.iter().any(|name| field.is(name)))
            || self.found.root.content_type.is("MULTIPART", "REPORT")
    }

    /// Whether it is a delivery status notification.
    pub fn is_delivery_report(&self) -> bool {
        self.found.is_delivery_report()
    }

    /// What a part carries, its transfer encoding undone. `path` leads there through [`Structure::parts`], counted from 0; an empty one is
    /// the outermost part. None: there is no such part.
    pub fn part(&self, path: &[i64]) -> Option<Cow<'m, [u8]>> {
        let part = self.part_at(path)?;
        Some(encoding(part).decode(part.body_octets(self.octets)))
    }

    /// Where that is, for who reads it bit by bit.
    pub fn part_place(&self, path: &[i64]) -> Option<PartPlace> {
        let part = self.part_at(path)?;
        let encoding = encoding(part);
        Some(PartPlace {
            range: part.body.start as u64..part.body.end as u64,
            encoding,
            size: encoding.decoded_size(part.body_octets(self.octets)),
        })
    }

    fn part_at(&self, path: &[i64]) -> Option<&Part> {
        let mut part = &self.found.root;
        for index in path {
            let Content::Multipart(parts) = &part.content else {
                return None;
            };
            part = parts.get(usize::try_from(*index).ok()?)?;
        }
        Some(part)
    }

    fn header(&self) -> Header<'m> {
        Header::of_section(self.found.root.header_octets(self.octets))
    }

    fn id(&self, name: &str) -> String {
        let Some(field) = self.header().first(name) else {
            return String::new();
        };
        let value = field.unfolded();
        let text = charset::unlabelled(&value);
        let bracketed = text
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'))
            .map(|(id, _)| id);
        let id = bracketed.or_else(|| text.split_ascii_whitespace().next());
        match id.map(|id| id.trim()).filter(|id| !id.is_empty()) {
            Some(id) => self.said(format!("<{id}>")),
            None => String::new(),
        }
    }

    fn described(&self, part: &Part, depth: usize) -> Structure {
        let mut params = BTreeMap::new();
        for parameter in &part.content_type.parameters {
            let name = lower(&parameter.name);
            // What a small entry takes beside its octets.
            if self.is_room_for(name.len() + parameter.value.len() + ENTRY) {
                let value = charset::unlabelled(&parameter.value).into_owned();
                params.insert(self.said(name), self.said(value));
            }
        }
        let content_type = [
            &part.content_type.media[..],
            b"/",
            &part.content_type.subtype[..],
        ];
        let disposition = part.disposition.as_ref();
        let is_container = matches!(part.content, Content::Multipart(_));
        Structure {
            content_type: self.said(lower(&content_type.concat())),
            content_type_params: params,
            content_id: self.said(decoded(part.content_id.as_deref())),
            content_disposition: self.said(disposition.map_or(String::new(), |d| lower(&d.kind))),
            filename: self.said(part.filename().unwrap_or_default()),
            decoded_size: match is_container {
                true => 0,
                false => encoding(part).decoded_size(part.body_octets(self.octets)) as i64,
            },
            parts: match &part.content {
                // Readers of JSON, which may follow two levels for each of ours, have bounds too.
                Content::Multipart(parts) if depth < DEPTH_MAX => parts
                    .iter()
                    .map(|part| self.described(part, depth + 1))
                    .collect(),
                _ => Vec::new(),
            },
        }
    }

    fn text_of(&self, part: &Part) -> String {
        let mut content = Vec::new();
        let mut decoder = Decoder::new(encoding(part));
        for piece in part.body_octets(self.octets).chunks(PIECE) {
            decoder.push(piece, &mut |octets| content.extend_from_slice(octets));
            if content.len() >= LOOKED_AT {
                break;
            }
        }
        decoder.finish(&mut |octets| content.extend_from_slice(octets));
        content.truncate(LOOKED_AT);
        let label = part.content_type.parameter("CHARSET").unwrap_or_default();
        // Much that is called ASCII is UTF-8.
        let text = match label.is_empty() || label.eq_ignore_ascii_case(b"us-ascii") {
            true => charset::unlabelled(&content),
            false => charset::to_utf8(label, &content),
        };
        let mut text = text.replace("\r\n", "\n");
        cut(&mut text, TEXT_MAX);
        text
    }

    fn is_room_for(&self, octets: usize) -> bool {
        self.left.get() >= octets
    }

    /// A text that goes into the answer, cut where there is no room for all of it.
    fn said(&self, mut text: String) -> String {
        cut(&mut text, self.left.get());
        self.left.set(self.left.get() - text.len());
        text
    }
}

/// Where the texts are.
#[derive(Default)]
struct Texts<'p> {
    plain: Option<&'p Part>,
    html: Option<&'p Part>,
}

/// The first text in the order of the parts; of alternatives the first of each kind. What is attached is no text of the message, but for the
/// message itself.
fn texts(part: &Part) -> Texts<'_> {
    let mut found = Texts::default();
    match &part.content {
        Content::Leaf if part.content_type.is("TEXT", "PLAIN") => found.plain = Some(part),
        Content::Leaf if part.content_type.is("TEXT", "HTML") => found.html = Some(part),
        Content::Leaf | Content::Message(_) => (),
        Content::Multipart(parts) => {
            let is_choice = part.content_type.is("MULTIPART", "ALTERNATIVE");
            for part in parts.iter().filter(|part| !is_attached(part)) {
                let inside = texts(part);
                found.plain = found.plain.or(inside.plain);
                found.html = found.html.or(inside.html);
                let is_over = match is_choice {
                    true => found.plain.is_some() && found.html.is_some(),
                    false => found.plain.is_some() || found.html.is_some(),
                };
                if is_over {
                    break;
                }
            }
        }
    }
    found
}

fn is_attached(part: &Part) -> bool {
    let disposition = part.disposition.as_ref();
    disposition.is_some_and(|d| d.kind.eq_ignore_ascii_case(b"ATTACHMENT"))
}

/// Of a multipart there is none (RFC 2045 6.4); what can't be undone stays as it is.
fn encoding(part: &Part) -> TransferEncoding {
    match part.content {
        Content::Multipart(_) => TransferEncoding::Identity,
        _ => part.decoder().unwrap_or(TransferEncoding::Identity),
    }
}

fn decoded(text: Option<&[u8]>) -> String {
    text.map(message::encoded_word::decode_text)
        .unwrap_or_default()
}

/// `local-part "@" domain`, quoted where RFC 5322 3.4.1 asks for it.
fn address(mailbox: &MailboxAddress) -> String {
    let localpart = charset::unlabelled(&mailbox.localpart);
    let is_atext =
        |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let is_dot_atom = localpart
        .split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext));
    let mut text = match is_dot_atom {
        true => localpart.into_owned(),
        false => {
            let escaped = localpart.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{escaped}\"")
        }
    };
    if let Some(domain) = &mailbox.domain {
        text.push('@');
        text.push_str(&charset::unlabelled(domain));
    }
    text
}

fn lower(octets: &[u8]) -> String {
    charset::unlabelled(octets).to_ascii_lowercase()
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
}

/// Octets of the text, and of the HTML.
pub const TEXT_MAX: usize = 1 << 20;
/// Decoded octets that a text is made from: some charsets take more octets than UTF-8 does.
const LOOKED_AT: usize = 4 * TEXT_MAX;
/// Encoded octets that are decoded before there is a look at how many there are.
const PIECE: usize = 64 << 10;
/// Octets of all that is said of a message beside text and HTML. In the wild it is some KiB.
const TEXTS_MAX: usize = 4 << 20;
/// What an entry of a map takes beside its octets.
const ENTRY: usize = 64;
/// Addresses of a field.
const ADDRESSES_MAX: usize = 10_000;
/// Entries of References: a field of 1 MiB has more than anybody follows.
const REFERENCES_MAX: usize = 1000;
/// Multiparts in one another that are shown; mail in the wild stays below 20.
const DEPTH_MAX: usize = 50;

#[cfg(test)]
#[path = "structure_tests.rs"]
mod tests;
