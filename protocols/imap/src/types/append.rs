//! One message of an APPEND, as announced before its octets. RFC 9051 6.3.12, RFC 3502, RFC 3516 4.4, RFC 6855 4.

use super::{DateTime, Flags};

/// How the message's octets are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageForm {
    /// `{n}`: text without NUL.
    Literal,
    /// `~{n}`: any octets, RFC 3516.
    Literal8,
    /// `UTF8 (~{n})`: the header may hold UTF-8, RFC 6855 4.
    Utf8,
}

/// What precedes the octets of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendMessage {
    /// Flags to set.
    pub flags: Flags,
    /// Internal date, when the client gave one.
    pub date: Option<DateTime>,
    /// How many octets follow, at least 1.
    pub size: u64,
    /// How they are announced.
    pub form: MessageForm,
}
