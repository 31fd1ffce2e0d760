//! Message flags, RFC 9051 2.3.2: five system flags as bits, and keywords.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::grammar::chars;
use crate::limits::KEYWORD_MAX;

/// A system flag that a client may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SystemFlag {
    /// `\Seen`
    Seen = 1,
    /// `\Answered`
    Answered = 2,
    /// `\Flagged`
    Flagged = 4,
    /// `\Deleted`
    Deleted = 8,
    /// `\Draft`
    Draft = 16,
}

impl SystemFlag {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 5] = [
        Self::Seen,
        Self::Answered,
        Self::Flagged,
        Self::Deleted,
        Self::Draft,
    ];

    /// The flag with its backslash.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
        }
    }

    /// The flag whose name (without the backslash, in any case) this is. `\Recent` is none: only a server sets it.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|flag| flag.as_str().as_bytes()[1..].eq_ignore_ascii_case(name))
    }
}

/// A set of system flags. The bits are stable: they may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SystemFlags(u8);

impl SystemFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// All five flags.
    pub const EVERY: Self = Self(31);

    /// The set with these bits (the values of [`SystemFlag`]); other bits are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::EVERY.0)
    }

    /// The bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with one more flag.
    #[must_use]
    pub const fn with(self, flag: SystemFlag) -> Self {
        Self(self.0 | flag as u8)
    }

    /// Adds a flag.
    pub fn insert(&mut self, flag: SystemFlag) {
        self.0 |= flag as u8;
    }

    /// Removes a flag.
    pub fn remove(&mut self, flag: SystemFlag) {
        self.0 &= !(flag as u8);
    }

    /// Whether the flag is in the set.
    pub const fn contains(self, flag: SystemFlag) -> bool {
        self.0 & flag as u8 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Flags of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Flags of this set that the other lacks.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The flags one by one.
    pub fn iter(self) -> impl Iterator<Item = SystemFlag> {
        SystemFlag::ALL
            .into_iter()
            .filter(move |&flag| self.contains(flag))
    }
}

/// A keyword: RFC 9051 flag-keyword. Keywords are equal whatever their case. The spelling is the registered one for those that every
/// client knows (`$Forwarded`), the client's for all others.
#[derive(Debug, Clone)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// Keywords with a registered spelling.
    pub const REGISTERED: [&'static str; 7] = [
        "$Forwarded",
        "$MDNSent",
        "$Junk",
        "$NotJunk",
        "$Phishing",
        "$Important",
        "$SubmitPending",
    ];

    /// The keyword, if the octets are an atom of at most [`KEYWORD_MAX`] octets.
    pub fn new(octets: &[u8]) -> Option<Self> {
        if octets.is_empty()
            || octets.len() > KEYWORD_MAX
            || !octets.iter().all(|&octet| chars::is_atom(octet))
        {
            return None;
        }
        if let Some(known) = Self::REGISTERED
            .iter()
            .find(|known| known.as_bytes().eq_ignore_ascii_case(octets))
        {
            return Some(Self((*known).into()));
        }
        std::str::from_utf8(octets)
            .ok()
            .map(|text| Self(text.into()))
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|octet| octet.to_ascii_lowercase())
    }

    /// The spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for Keyword {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|octet| octet.hash(state));
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The flags of a STORE, an APPEND or a message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Flags {
    /// System flags.
    pub system: SystemFlags,
    /// Keywords, each once, in the client's order.
    pub keywords: Vec<Keyword>,
}

impl Flags {
    /// Adds a keyword once.
    pub fn insert(&mut self, keyword: Keyword) {
        if !self.keywords.contains(&keyword) {
            self.keywords.push(keyword);
        }
    }

    /// Whether there is no flag at all.
    pub fn is_empty(&self) -> bool {
        self.system.is_empty() && self.keywords.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_have_one_spelling() {
        assert_eq!(Keyword::new(b"$FORWARDED").unwrap().as_str(), "$Forwarded");
        assert_eq!(
            Keyword::new(b"ToDo").unwrap(),
            Keyword::new(b"todo").unwrap()
        );
        for bad in [
            "", "a b", "a]", "\\x", "a\"", "(", "a%", "a*", "a{", "\u{e9}", "a\x1b",
        ] {
            assert!(Keyword::new(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn system_flags_by_name() {
        assert_eq!(SystemFlag::from_name(b"sEEN"), Some(SystemFlag::Seen));
        assert_eq!(SystemFlag::from_name(b"Recent"), None);
        let flags = SystemFlags::NONE
            .with(SystemFlag::Draft)
            .with(SystemFlag::Seen);
        assert_eq!(
            flags.iter().map(SystemFlag::as_str).collect::<Vec<_>>(),
            ["\\Seen", "\\Draft"]
        );
        assert_eq!(SystemFlags::from_bits(255), SystemFlags::EVERY);
    }
}
