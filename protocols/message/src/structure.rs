//! The parts of a message as byte ranges: what BODYSTRUCTURE shows and BODY[..] cuts out.
//! Any octets have a structure; nothing fails. The walker is our own (`structure/walk.rs`): IMAP needs exact ranges and line counts, also of
//! broken messages. The result names positions only, so it can be stored (`structure/cache.rs`) and used without the message.
//! RFC 2045, RFC 2046, RFC 9051 7.5.2 (BODYSTRUCTURE). Not here: section numbers (`section.rs`), contents (`decode.rs`).

mod cache;
#[cfg(test)]
mod tests;
mod walk;

use std::ops::Range;

use crate::content_type::{ContentType, Disposition, Parameter};
use crate::decode::{TransferEncoding, UnknownTransferEncoding};
use crate::envelope::EnvelopeFields;

/// A message as a tree of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// The message itself: `header` and `body` together are the whole message.
    pub root: Part,
}

/// An entity (RFC 2045 2.4): a header, a body, and what is inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The header section with its final empty line. For a part of a multipart these are its MIME fields.
    pub header: Range<usize>,
    /// The body, without the line end that belongs to the next boundary.
    pub body: Range<usize>,
    /// Line ends in the body.
    pub body_lines: u64,
    /// Content-Type, or the default where it is absent or unreadable.
    pub content_type: ContentType,
    /// Content-Transfer-Encoding in upper case; `7BIT` where absent.
    pub transfer_encoding: Vec<u8>,
    /// Content-Disposition.
    pub disposition: Option<Disposition>,
    /// Content-Language.
    pub languages: Vec<Vec<u8>>,
    /// Content-ID with its brackets.
    pub content_id: Option<Vec<u8>>,
    /// Content-Description, undecoded.
    pub description: Option<Vec<u8>>,
    /// Content-MD5.
    pub md5: Option<Vec<u8>>,
    /// Content-Location.
    pub location: Option<Vec<u8>>,
    /// Set for the root and for embedded messages.
    pub envelope: Option<Box<EnvelopeFields>>,
    /// What is inside.
    pub content: Content,
}

/// The inside of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing that IMAP looks into.
    Leaf,
    /// At least one part.
    Multipart(Vec<Part>),
    /// message/rfc822 or message/global: the embedded message, itself a root. If the part is base64 or quoted-printable encoded (RFC 2046
    /// 5.2.1 forbids it) the embedded message has an empty header and the encoded octets as its body.
    Message(Box<Part>),
}

impl Structure {
    /// Walks a message once. Never fails; see [`crate::limits`] for where it stops looking closer.
    pub fn of_message(message: &[u8]) -> Self {
        Self {
            root: walk::walk(message),
        }
    }

    /// About how many octets of memory it takes.
    pub fn weight(&self) -> usize {
        self.root.weight()
    }

    /// True for a report about delivery: multipart/report with a delivery-status part (RFC 3461, RFC 6522, RFC 6533).
    pub fn is_delivery_report(&self) -> bool {
        let Content::Multipart(parts) = &self.root.content else {
            return false;
        };
        let status = parts.get(1).map(|part| &part.content_type);
        self.root.content_type.is("MULTIPART", "REPORT")
            && status.is_some_and(|status| {
                status.is("MESSAGE", "DELIVERY-STATUS")
                    || status.is("MESSAGE", "GLOBAL-DELIVERY-STATUS")
            })
    }

    /// True if the header of any part has octets outside ASCII: sending the message on then needs SMTPUTF8 (RFC 6531 3.2, RFC 6532 3.2).
    pub fn needs_smtputf8(&self, message: &[u8]) -> bool {
        fn is_internationalized(part: &Part, message: &[u8]) -> bool {
            !part.header_octets(message).is_ascii()
                || part
                    .children()
                    .iter()
                    .any(|child| is_internationalized(child, message))
        }
        is_internationalized(&self.root, message)
    }
}

impl Part {
    /// The octets of the header section.
    pub fn header_octets<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        message.get(self.header.clone()).unwrap_or_default()
    }

    /// The octets of the body, still transfer-encoded.
    pub fn body_octets<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        message.get(self.body.clone()).unwrap_or_default()
    }

    fn weight(&self) -> usize {
        let parameters = |list: &[Parameter]| {
            let one = |p: &Parameter| size_of::<Parameter>() + p.name.len() + p.value.len();
            list.iter().map(one).sum::<usize>()
        };
        let texts = [
            &self.content_id,
            &self.description,
            &self.md5,
            &self.location,
        ];
        let texts: usize = texts.into_iter().flatten().map(Vec::len).sum();
        let languages = self.languages.iter().map(|l| size_of_val(l) + l.len());
        let disposition = self.disposition.as_ref().map(|d| parameters(&d.parameters));
        let inside = self.children().iter().map(Part::weight).sum::<usize>();
        size_of::<Part>()
            + texts
            + languages.sum::<usize>()
            + parameters(&self.content_type.parameters)
            + disposition.unwrap_or(0)
            + self.envelope.as_ref().map_or(0, |e| e.weight())
            + inside
    }

    /// How the body is encoded.
    pub fn decoder(&self) -> Result<TransferEncoding, UnknownTransferEncoding> {
        TransferEncoding::parse(&self.transfer_encoding)
    }

    /// Parts directly inside: of a multipart its parts, of a message part the embedded message.
    pub fn children(&self) -> &[Part] {
        match &self.content {
            Content::Leaf => &[],
            Content::Multipart(parts) => parts,
            Content::Message(message) => std::slice::from_ref(message),
        }
    }

    /// Name of a file: Content-Disposition `filename`, else Content-Type `name`; encoded words, though not allowed there, are decoded.
    pub fn filename(&self) -> Option<String> {
        let given = self
            .disposition
            .as_ref()
            .and_then(|disposition| disposition.parameter("FILENAME"));
        let name = given.or_else(|| self.content_type.parameter("NAME"))?;
        Some(crate::encoded_word::decode_text(name))
    }
}
