//! Flags of IMAP and of the store, one as the other. The store has bits for the system flags and for keywords with a meaning.

use imap::types::{Flags, Keyword, SystemFlag, SystemFlags};

use crate::store::{Entry, system};

/// Bits and keywords of the store for flags of a client.
pub(super) fn to_store(flags: &Flags) -> (u16, Vec<String>) {
    let mut bits = SYSTEM
        .iter()
        .filter(|(flag, _)| flags.system.contains(*flag))
        .fold(0, |bits, (_, bit)| bits | bit);
    let mut keywords = Vec::new();
    for keyword in &flags.keywords {
        match keyword_bit(keyword) {
            Some(bit) => bits |= bit,
            None => keywords.push(keyword.as_str().to_string()),
        }
    }
    (bits, keywords)
}

/// The store's bit of a system flag.
pub(super) fn system_bit(flag: SystemFlag) -> u16 {
    SYSTEM
        .iter()
        .find(|(f, _)| *f == flag)
        .map_or(0, |(_, bit)| *bit)
}

/// The store's bit of a keyword that has one.
pub(super) fn keyword_bit(keyword: &Keyword) -> Option<u16> {
    system::WORDS
        .iter()
        .find(|(_, word)| word.eq_ignore_ascii_case(keyword.as_str()))
        .map(|(bit, _)| *bit)
}

/// System flags of a message.
pub(super) fn system_flags(bits: u16) -> SystemFlags {
    SYSTEM
        .iter()
        .filter(|(_, bit)| bits & bit != 0)
        .fold(SystemFlags::NONE, |flags, (flag, _)| flags.with(*flag))
}

/// Keywords of a message; `known` are the mailbox's. `\Recent` comes along as one: nothing but the server can set it.
pub(super) fn keywords<'k>(
    entry: &Entry,
    known: &'k [String],
    recent: bool,
) -> impl Iterator<Item = &'k str> + use<'k> {
    let (bits, own) = (entry.flags, entry.keywords);
    let meaningful = system::WORDS
        .iter()
        .filter(move |(bit, word)| bits & bit != 0 && !word.starts_with('\\'))
        .map(|(_, word)| *word);
    let others = known
        .iter()
        .enumerate()
        .filter(move |(n, _)| own & (1 << n) != 0)
        .map(|(_, word)| word.as_str());
    recent
        .then_some("\\Recent")
        .into_iter()
        .chain(meaningful)
        .chain(others)
}

/// Keywords that every mailbox has, then those of this one.
pub(super) fn all_keywords(known: &[String]) -> Vec<&str> {
    system::WORDS
        .iter()
        .map(|(_, word)| *word)
        .filter(|word| !word.starts_with('\\'))
        .chain(known.iter().map(String::as_str))
        .collect()
}

const SYSTEM: [(SystemFlag, u16); 5] = [
    (SystemFlag::Seen, system::SEEN),
    (SystemFlag::Answered, system::ANSWERED),
    (SystemFlag::Flagged, system::FLAGGED),
    (SystemFlag::Deleted, system::DELETED),
    (SystemFlag::Draft, system::DRAFT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_with_a_meaning_have_bits() {
        let mut flags = Flags {
            system: SystemFlags::NONE.with(SystemFlag::Draft),
            keywords: Vec::new(),
        };
        flags.insert(Keyword::new(b"$JUNK").unwrap());
        flags.insert(Keyword::new(b"Blue").unwrap());
        assert_eq!(
            to_store(&flags),
            (system::DRAFT | system::JUNK, vec!["Blue".to_string()])
        );
        assert_eq!(system_flags(system::DRAFT | system::JUNK), flags.system);
    }
}
