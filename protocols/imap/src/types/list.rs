//! LIST with its options: RFC 9051 6.3.9, RFC 5258, RFC 5819 (STATUS), RFC 6154 (SPECIAL-USE).

use super::{ListPattern, StatusItem};

/// A LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCommand {
    /// Which mailboxes.
    pub selection: ListSelection,
    /// Reference name, decoded; often empty.
    pub reference: String,
    /// One pattern, or several in parentheses.
    pub patterns: Vec<ListPattern>,
    /// What to say about each.
    pub returns: ListReturn,
    /// Whether any part of the extended syntax was used. RFC 9051 6.3.9: an empty pattern asks for the hierarchy delimiter
    /// only in the plain form.
    pub extended: bool,
}

/// `list-select-opts`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ListSelection {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// REMOTE
    pub remote: bool,
    /// RECURSIVEMATCH; the parser has checked that a base option is there too.
    pub recursive_match: bool,
    /// SPECIAL-USE
    pub special_use: bool,
}

/// `list-return-opts`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListReturn {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// CHILDREN
    pub children: bool,
    /// SPECIAL-USE
    pub special_use: bool,
    /// STATUS (..); empty when not asked.
    pub status: Vec<StatusItem>,
}

/// Special-use attribute of a mailbox, RFC 6154 2 and RFC 8457.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Important`
    Important,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// All of them.
    pub const EVERY: [Self; 8] = [
        Self::All,
        Self::Archive,
        Self::Drafts,
        Self::Flagged,
        Self::Important,
        Self::Junk,
        Self::Sent,
        Self::Trash,
    ];

    /// The attribute with its backslash.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "\\All",
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Flagged => "\\Flagged",
            Self::Important => "\\Important",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }

    /// The attribute whose name (without the backslash, in any case) this is.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::EVERY
            .into_iter()
            .find(|special_use| special_use.as_str().as_bytes()[1..].eq_ignore_ascii_case(name))
    }
}
