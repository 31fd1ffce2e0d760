//! `status-att`: what STATUS and LIST RETURN (STATUS ..) ask. RFC 9051 6.3.11.

/// One STATUS data item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusItem {
    /// Number of messages.
    Messages,
    /// RFC 3501 only: messages with `\Recent`.
    Recent,
    /// Next unique identifier.
    UidNext,
    /// Validity of the unique identifiers.
    UidValidity,
    /// Messages without `\Seen`.
    Unseen,
    /// Messages with `\Deleted`.
    Deleted,
    /// Sum of RFC822.SIZE, RFC 8438.
    Size,
    /// RFC 7162 3.1.7.
    HighestModSeq,
    /// Largest APPEND, RFC 7889.
    AppendLimit,
}

impl StatusItem {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Deleted,
        Self::Size,
        Self::HighestModSeq,
        Self::AppendLimit,
    ];

    /// The item's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Deleted => "DELETED",
            Self::Size => "SIZE",
            Self::HighestModSeq => "HIGHESTMODSEQ",
            Self::AppendLimit => "APPENDLIMIT",
        }
    }

    /// The item of that name, upper case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|item| item.as_str() == name)
    }
}
