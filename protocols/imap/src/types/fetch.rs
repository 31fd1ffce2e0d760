//! FETCH, RFC 9051 6.4.5, with BINARY (RFC 3516), MODSEQ (RFC 7162) and SAVEDATE (RFC 8514).

use super::{ModSeq, Numbering, SequenceSet};

/// A FETCH or UID FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// What the numbers are.
    pub numbering: Numbering,
    /// The messages.
    pub set: SequenceSet,
    /// What to send of each; macros are spelled out, nothing occurs twice.
    pub items: Vec<FetchItem>,
    /// RFC 7162 3.1.4.1: only messages that changed after this. 0 is taken (Quirk: iOS sends it).
    pub changed_since: Option<ModSeq>,
    /// RFC 7162 3.2.6: also name what is gone. Only in UID FETCH with CHANGEDSINCE.
    pub vanished: bool,
}

/// One data item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// ENVELOPE
    Envelope,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Rfc822Size,
    /// RFC 3501: RFC822, like `BODY[]`. Sets `\Seen`.
    Rfc822,
    /// RFC 3501: RFC822.HEADER, like `BODY.PEEK[HEADER]`.
    Rfc822Header,
    /// RFC 3501: RFC822.TEXT, like `BODY[TEXT]`. Sets `\Seen`.
    Rfc822Text,
    /// BODY: the structure without extension data.
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// UID
    Uid,
    /// MODSEQ
    ModSeq,
    /// SAVEDATE
    SaveDate,
    /// BODY[..] and BODY.PEEK[..]
    BodySection {
        /// Which part.
        section: Section,
        /// Which octets of it.
        partial: Option<Partial>,
        /// Whether `\Seen` stays as it is.
        peek: bool,
    },
    /// BINARY[..] and BINARY.PEEK[..]: decoded content.
    Binary {
        /// Part number; empty for the whole message.
        part: Vec<u32>,
        /// Which octets of the decoded content.
        partial: Option<Partial>,
        /// Whether `\Seen` stays as it is.
        peek: bool,
    },
    /// BINARY.SIZE[..]
    BinarySize {
        /// Part number; empty for the whole message.
        part: Vec<u32>,
    },
}

impl FetchItem {
    /// Whether fetching it sets `\Seen` (RFC 9051 6.4.5, BODY[..]).
    pub const fn sets_seen(&self) -> bool {
        match self {
            Self::Rfc822 | Self::Rfc822Text => true,
            Self::BodySection { peek, .. } | Self::Binary { peek, .. } => !*peek,
            _ => false,
        }
    }
}

/// `partial`: the octets from `offset`, at most `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Partial {
    /// First octet, from 0.
    pub offset: u64,
    /// How many, 1 or more.
    pub count: u64,
}

impl Partial {
    /// The range of these octets in content of so many octets. RFC 9051 6.4.5: beyond the end the string is empty.
    pub fn clip(self, octets: u64) -> std::ops::Range<u64> {
        let start = self.offset.min(octets);
        start..start.saturating_add(self.count).min(octets)
    }
}

/// `section`: what is between the brackets of BODY[..].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Section {
    /// Part number; empty for the message itself.
    pub part: Vec<u32>,
    /// What of that part; `None` for its content.
    pub text: Option<SectionText>,
}

/// `section-text`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SectionText {
    /// HEADER
    Header,
    /// HEADER.FIELDS
    HeaderFields(Vec<String>),
    /// HEADER.FIELDS.NOT
    HeaderFieldsNot(Vec<String>),
    /// TEXT
    Text,
    /// MIME, only after a part number.
    Mime,
}
