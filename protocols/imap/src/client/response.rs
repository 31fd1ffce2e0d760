//! Responses as a client sees them. What a tester does not look at stays a [`Value`] or text.

use super::Value;
use crate::response::Condition;
use crate::types::{DateTime, Flags, ModSeq, NumberSet, Tag, Uid, UidValidity};

/// One response, RFC 9051 7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The end of a command.
    Tagged(Tag, Status),
    /// `* OK`, `* NO`, `* BAD`, `* BYE`, `* PREAUTH`
    Status(Status),
    /// `+ ..` that no literal was waiting for: a challenge of AUTHENTICATE, the start of IDLE, a message awaited.
    Continuation(String),
    /// CAPABILITY
    Capability(Vec<String>),
    /// ENABLED
    Enabled(Vec<String>),
    /// FLAGS
    Flags(Vec<String>),
    /// EXISTS
    Exists(u32),
    /// RECENT
    Recent(u32),
    /// EXPUNGE
    Expunge(u32),
    /// VANISHED, and whether it says EARLIER.
    Vanished(NumberSet, bool),
    /// FETCH
    Fetch(FetchData),
    /// SEARCH or ESEARCH
    Search(SearchData),
    /// LIST
    List(ListData),
    /// LSUB
    Lsub(ListData),
    /// STATUS: mailbox as on the wire, and items by name. NIL values are left out.
    MailboxStatus(String, Vec<(String, u64)>),
    /// Anything else, such as NAMESPACE and ID: its name and the rest.
    Other(String, Vec<Value>),
}

/// resp-cond-state
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// OK, NO, BAD, BYE or PREAUTH
    pub condition: Condition,
    /// Code between brackets.
    pub code: Option<ResponseCode>,
    /// Text for people.
    pub text: String,
}

impl Status {
    /// Whether it says OK.
    pub fn is_ok(&self) -> bool {
        self.condition == Condition::Ok
    }
}

/// Response codes with something in them; the others by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseCode {
    /// APPENDUID
    AppendUid(UidValidity, NumberSet),
    /// COPYUID
    CopyUid(UidValidity, NumberSet, NumberSet),
    /// CAPABILITY
    Capability(Vec<String>),
    /// UIDVALIDITY
    UidValidity(UidValidity),
    /// UIDNEXT
    UidNext(Uid),
    /// HIGHESTMODSEQ
    HighestModSeq(ModSeq),
    /// MODIFIED
    Modified(NumberSet),
    /// Any other: name in upper case, and the rest as it came.
    Other(String, String),
}

/// One FETCH response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchData {
    /// Message sequence number.
    pub number: u32,
    /// UID
    pub uid: Option<u32>,
    /// FLAGS without `\Recent` and flag extensions.
    pub flags: Option<Flags>,
    /// Whether FLAGS had `\Recent`.
    pub recent: bool,
    /// MODSEQ
    pub mod_seq: Option<ModSeq>,
    /// RFC822.SIZE
    pub rfc822_size: Option<u64>,
    /// INTERNALDATE
    pub internal_date: Option<DateTime>,
    /// Everything else under its name in upper case: `BODY[]`, `BODY[TEXT]<0>`, `ENVELOPE` ..
    pub items: Vec<(String, Value)>,
}

impl FetchData {
    /// The item of that name.
    pub fn item(&self, name: &str) -> Option<&Value> {
        self.items
            .iter()
            .find(|item| item.0 == name)
            .map(|item| &item.1)
    }
}

/// SEARCH, or what ESEARCH says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchData {
    /// TAG of an ESEARCH.
    pub tag: Option<String>,
    /// Whether ESEARCH says UID.
    pub uid: bool,
    /// MIN
    pub min: Option<u32>,
    /// MAX
    pub max: Option<u32>,
    /// COUNT
    pub count: Option<u32>,
    /// ALL, or the numbers of SEARCH.
    pub all: NumberSet,
    /// MODSEQ
    pub mod_seq: Option<ModSeq>,
}

/// LIST or LSUB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListData {
    /// Attributes with their backslash.
    pub attributes: Vec<String>,
    /// Hierarchy delimiter.
    pub delimiter: Option<u8>,
    /// Name as on the wire (see [`crate::types::decode_utf7`]).
    pub name: String,
    /// Extended data, RFC 5258.
    pub extended: Vec<Value>,
}
