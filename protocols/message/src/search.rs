//! Text search in one message: the HEADER, BODY and TEXT keys of IMAP SEARCH.
//! Lazy: a header section or body part is decoded when a key first needs it, once for all keys, and the search stops at the first hit.
//! Comparison without case, by simple lower-casing of each character (RFC 5051 in spirit; no normal forms).
//! RFC 9051 6.4.4: encoded words and transfer encodings are undone before comparing; bodies are text/* parts, also of embedded messages.
//! Not here: keys about flags, sizes and dates of the store (`src/store/search.rs`).

use std::borrow::Cow;

use memchr::memmem;

use crate::address::{AddressItem, MailboxAddress, parse_list};
use crate::charset;
use crate::date::SentDate;
use crate::decode::TransferEncoding;
use crate::header::Header;
use crate::limits;
use crate::structure::{Content, Part, Structure};

/// A string to look for, prepared once for many messages.
#[derive(Clone, Debug)]
pub struct SearchString {
    finder: memmem::Finder<'static>,
}

impl SearchString {
    /// Prepares a string of the client, already UTF-8.
    pub fn new(text: &str) -> Self {
        Self {
            finder: memmem::Finder::new(fold(Cow::Borrowed(text)).as_bytes()).into_owned(),
        }
    }

    /// True for the empty string, which everything contains.
    pub fn is_empty(&self) -> bool {
        self.finder.needle().is_empty()
    }

    fn is_in(&self, folded: &str) -> bool {
        self.finder.find(folded.as_bytes()).is_some()
    }
}

/// A message as SEARCH sees it. Holds what it has decoded, at most about the size of the message, until dropped.
#[derive(Debug)]
pub struct SearchedMessage<'m> {
    message: &'m [u8],
    structure: &'m Structure,
    haystacks: Vec<Haystack<'m>>,
}

#[derive(Debug)]
struct Haystack<'m> {
    part: &'m Part,
    source: Source,
    folded: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Header,
    Body,
    /// Headers, or bodies, of a message that is itself transfer-encoded.
    EncodedHeaders,
    EncodedBodies,
}

impl<'m> SearchedMessage<'m> {
    /// Decodes nothing yet. `structure` must be that of `message`; of another one the result is meaningless, nothing worse.
    pub fn new(message: &'m [u8], structure: &'m Structure) -> Self {
        let mut haystacks = Vec::new();
        collect(&structure.root, &mut haystacks);
        Self {
            message,
            structure,
            haystacks,
        }
    }

    /// `HEADER name string`, and SUBJECT. The empty string asks whether the field exists.
    pub fn header_contains(&self, name: &str, string: &SearchString) -> bool {
        let header = Header::of_section(self.structure.root.header_octets(self.message));
        header
            .all(name)
            .any(|field| string.is_empty() || string.is_in(&fold(Cow::Owned(field.text()))))
    }

    /// BCC, CC, FROM, TO: RFC 9051 6.4.4 looks into the field of the envelope, where an address has lost its comments, quotes and
    /// line ends. What the field itself shows is looked into as well.
    pub fn address_contains(&self, name: &str, string: &SearchString) -> bool {
        let header = Header::of_section(self.structure.root.header_octets(self.message));
        self.header_contains(name, string)
            || header.all(name).any(|field| {
                parse_list(field.value).iter().any(
                |item| matches!(item, AddressItem::Mailbox(mailbox) if is_address(mailbox, string)),
            )
            })
    }

    /// `BODY string`.
    pub fn body_contains(&mut self, string: &SearchString) -> bool {
        string.is_empty()
            || self.any(string, |source| {
                matches!(source, Source::Body | Source::EncodedBodies)
            })
    }

    /// `TEXT string`: header sections of all parts, and what BODY looks at.
    pub fn text_contains(&mut self, string: &SearchString) -> bool {
        string.is_empty() || self.any(string, |_| true)
    }

    /// The day of the Date field, for the SENT keys.
    pub fn sent_date(&self) -> Option<SentDate> {
        SentDate::of_header(Header::of_section(
            self.structure.root.header_octets(self.message),
        ))
    }

    fn any(&mut self, string: &SearchString, looked_at: impl Fn(Source) -> bool) -> bool {
        let message = self.message;
        let mut haystacks = self
            .haystacks
            .iter_mut()
            .filter(|haystack| looked_at(haystack.source));
        haystacks.any(|haystack| {
            let folded = haystack
                .folded
                .get_or_insert_with(|| haystack.source.read(haystack.part, message, 0));
            string.is_in(folded)
        })
    }
}

fn is_address(mailbox: &MailboxAddress, string: &SearchString) -> bool {
    let domain = mailbox.domain.as_deref().unwrap_or_default();
    let address = [mailbox.localpart.as_slice(), domain].join(&b'@');
    string.is_in(&fold(String::from_utf8_lossy(&address)))
}

fn collect<'m>(part: &'m Part, haystacks: &mut Vec<Haystack<'m>>) {
    let mut add = |source| {
        haystacks.push(Haystack {
            part,
            source,
            folded: None,
        })
    };
    if !part.header.is_empty() {
        add(Source::Header);
    }
    match &part.content {
        Content::Leaf if part.content_type.is_media("TEXT") => add(Source::Body),
        Content::Message(_) if is_encoded(part) => {
            add(Source::EncodedHeaders);
            add(Source::EncodedBodies);
        }
        _ => part
            .children()
            .iter()
            .for_each(|child| collect(child, haystacks)),
    }
}

fn is_encoded(part: &Part) -> bool {
    matches!(
        part.decoder(),
        Ok(TransferEncoding::Base64 | TransferEncoding::QuotedPrintable)
    )
}

impl Source {
    /// The decoded text of this source, in lower case.
    fn read(self, part: &Part, message: &[u8], encoded_depth: usize) -> String {
        match self {
            Self::Header => header_text(part.header_octets(message)),
            Self::Body => {
                let decoder = part.decoder().unwrap_or(TransferEncoding::Identity);
                let content = decoder.decode(part.body_octets(message));
                fold(charset::to_utf8(
                    part.content_type.parameter("CHARSET").unwrap_or_default(),
                    &content,
                ))
            }
            Self::EncodedHeaders | Self::EncodedBodies => {
                self.read_encoded(part, message, encoded_depth + 1)
            }
        }
    }

    fn read_encoded(self, part: &Part, message: &[u8], encoded_depth: usize) -> String {
        if encoded_depth > limits::ENCODED_MESSAGE_DEPTH_MAX {
            return String::new();
        }
        let decoder = part.decoder().unwrap_or(TransferEncoding::Identity);
        let embedded = decoder.decode(part.body_octets(message));
        let structure = Structure::of_message(&embedded);
        let mut haystacks = Vec::new();
        collect(&structure.root, &mut haystacks);
        let wanted = match self {
            Self::EncodedHeaders => [Self::Header, Self::EncodedHeaders],
            _ => [Self::Body, Self::EncodedBodies],
        };
        let mut text = String::new();
        for haystack in haystacks
            .iter()
            .filter(|haystack| wanted.contains(&haystack.source))
        {
            text.push_str(
                &haystack
                    .source
                    .read(haystack.part, &embedded, encoded_depth),
            );
            text.push('\n');
        }
        text
    }
}

/// The fields of a section, each decoded and on a line of its own, in lower case.
fn header_text(section: &[u8]) -> String {
    let mut text = String::with_capacity(section.len());
    for field in Header::of_section(section).fields() {
        text.push_str(&String::from_utf8_lossy(field.name));
        text.push_str(": ");
        text.push_str(&field.text());
        text.push('\n');
    }
    fold(Cow::Owned(text))
}

/// Lower case, character by character. Both small sigmas count as one, since capitals do not tell them apart.
fn fold(text: Cow<'_, str>) -> String {
    if text.is_ascii() {
        let mut text = text.into_owned();
        text.make_ascii_lowercase();
        return text;
    }
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|letter| if letter == 'ς' { 'σ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = concat!(
        "Subject: =?iso-8859-1?q?Stra=DFe?=\r\n =?utf-8?b?w4lURQ==?=\r\nX-Empty:\r\nDate: Fri, 1 Mar 2024 23:00:00 -1200\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\nhidden preamble\r\n",
        "--b\r\nContent-Type: text/plain; charset=iso-8859-7\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=CF=C4=CF=D3 so=\r\nft\r\n",
        "--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\nX-Inner: header\r\n\r\nPGI+Qm9sZDwvYj4=\r\n",
        "--b\r\nContent-Type: image/gif\r\n\r\npicture\r\n",
        "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogYnVyaWVkDQoNCnRyZWFzdXJl\r\n",
        "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: embedded\r\n\r\nletter\r\n--b--\r\n",
    );

    fn check(key: impl Fn(&mut SearchedMessage<'_>, &SearchString) -> bool, text: &str) -> bool {
        let structure = Structure::of_message(MESSAGE.as_bytes());
        key(
            &mut SearchedMessage::new(MESSAGE.as_bytes(), &structure),
            &SearchString::new(text),
        )
    }

    #[test]
    fn header_keys() {
        let subject = |text: &str| {
            check(
                |message, string| message.header_contains("subject", string),
                text,
            )
        };
        assert!(subject("STRAßEé") && subject("") && !subject("iso-8859") && !subject("embedded"));
        assert!(check(
            |message, string| message.header_contains("x-empty", string),
            ""
        ));
        assert!(!check(
            |message, string| message.header_contains("x-none", string),
            ""
        ));
    }

    #[test]
    fn address_keys_see_the_envelope_too() {
        let message =
            b"From: <ann (at home)@ (the) example.org>, Bob <\"b b\"@example.org>\r\n\r\n";
        let structure = Structure::of_message(message);
        let searched = SearchedMessage::new(message, &structure);
        let from = |text: &str| searched.address_contains("From", &SearchString::new(text));
        for found in ["ANN@example", "b b@example.org", "at home", "bob", ""] {
            assert!(from(found), "{found}");
        }
        assert!(!from("ann@b") && !searched.address_contains("To", &SearchString::new("")));
        assert!(!searched.header_contains("From", &SearchString::new("ann@example")));
    }

    #[test]
    fn body_key() {
        let body = |text: &str| check(|message, string| message.body_contains(string), text);
        for found in ["", "οδοσ SOFT", "ΔΟς", "<B>bold", "treasure", "LETTER"] {
            assert!(body(found), "{found}");
        }
        for missing in [
            "picture", "preamble", "subject", "buried", "embedded", "x-inner",
        ] {
            assert!(!body(missing), "{missing}");
        }
    }

    #[test]
    fn text_key() {
        let text = |text: &str| check(|message, string| message.text_contains(string), text);
        for found in [
            "",
            "straßeéte",
            "x-inner: HEADER",
            "buried",
            "embedded",
            "treasure",
            "bold",
        ] {
            assert!(text(found), "{found}");
        }
        assert!(!text("picture") && !text("preamble"));
    }

    #[test]
    fn sent_date_is_the_senders_day() {
        let structure = Structure::of_message(MESSAGE.as_bytes());
        let sent = SearchedMessage::new(MESSAGE.as_bytes(), &structure).sent_date();
        assert_eq!(
            sent,
            Some(SentDate {
                year: 2024,
                month: 3,
                day: 1
            })
        );
    }
}
