//! The nouns of IMAP: what a command carries and a response shows. One file each; no grammar and no state here.
//! All are `Send`, so that a command can be answered on another core than the one that read it.

mod append;
mod date;
mod fetch;
mod flag;
mod list;
mod list_pattern;
mod mailbox_name;
mod mutf7;
mod number_set;
mod numbers;
mod search;
mod sequence_set;
mod status;
mod store;
mod tag;

pub use append::{AppendMessage, MessageForm};
pub use date::{Date, DateTime};
pub use fetch::{Fetch, FetchItem, Partial, Section, SectionText};
pub use flag::{Flags, Keyword, SystemFlag, SystemFlags};
pub use list::{ListCommand, ListReturn, ListSelection, SpecialUse};
pub use list_pattern::ListPattern;
pub use mailbox_name::{MailboxName, NameFault, NameSyntax};
pub(crate) use mailbox_name::{decode_text as decode_name_text, encode_text as encode_name_text};
pub use mutf7::{Utf7Error, decode as decode_utf7, encode as encode_utf7};
pub use number_set::NumberSet;
pub use numbers::{ModSeq, SequenceNumber, Uid, UidValidity};
pub use search::{Search, SearchKey, SearchReturn};
pub use sequence_set::{SequenceRange, SequenceSet};
pub use status::StatusItem;
pub use store::{Store, StoreAction};
pub use tag::Tag;

/// Whether the numbers of a command, and of its answer, are message sequence numbers or unique identifiers
/// (the `UID` forms of RFC 9051 6.4.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Numbering {
    /// Message sequence numbers.
    Sequence,
    /// Unique identifiers.
    Uid,
}
