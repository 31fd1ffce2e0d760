//! One search key against one message. First with the mailbox's table alone; where that leaves it open, with the message's octets.
//! RFC 9051 6.4.4, RFC 5032 (OLDER, YOUNGER), RFC 7162 3.1.5 (MODSEQ), RFC 8514 4.3 (saved dates). Pure: time is an argument.

use imap::types::{Date, NumberSet, Numbering, SearchKey};
use message::{ContentType, Header, Part, SearchString, SearchedMessage, SentDate, Structure};

use super::flags;
use super::targets::Targets;
use crate::store::{Entry, Selected, system};

/// A search program, made ready once for all messages.
pub(super) enum Key {
    All,
    Nothing,
    /// All of these bits set, none of those.
    Flags {
        set: u16,
        unset: u16,
    },
    /// Bit of a keyword of the mailbox.
    Keyword(u64),
    Recent(bool),
    Header(String, SearchString),
    /// BCC, CC, FROM, TO.
    Addresses(&'static str, SearchString),
    Body(SearchString),
    Text(SearchString),
    Received(Days),
    Saved(Days),
    Sent(Days),
    Larger(u64),
    Smaller(u64),
    /// Received at or before, seconds since 1970.
    ReceivedUntil(i64),
    ReceivedFrom(i64),
    ModSeq(u64),
    /// UIDs.
    Uids(NumberSet),
    Not(Box<Key>),
    Or(Box<(Key, Key)>),
    And(Vec<Key>),
}

/// A span of days since 1970: from the first on, before the second.
#[derive(Clone, Copy)]
pub(super) struct Days {
    from: i32,
    before: i32,
}

/// What a program is made ready against.
pub(super) struct Mailbox<'a> {
    pub selected: &'a Selected,
    pub saved: &'a NumberSet,
    pub keywords: &'a [String],
    /// Seconds since 1970.
    pub now: i64,
}

/// What the table knows of a message, as far as keys ask.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    uid: u32,
    modseq: u64,
    flags: u16,
    keywords: u64,
    size: u64,
    received: i64,
    saved: i64,
    recent: bool,
}

impl Facts {
    pub fn of(entry: &Entry, recent: bool) -> Facts {
        Facts {
            uid: entry.uid,
            modseq: entry.modseq,
            flags: entry.flags,
            keywords: entry.keywords,
            size: entry.size,
            received: entry.received,
            saved: entry.saved,
            recent,
        }
    }
}

impl Key {
    /// Makes a program ready. Sequence numbers become UIDs; those that do not exist match nothing.
    pub fn of(key: &SearchKey, mailbox: &Mailbox<'_>) -> Key {
        match key {
            SearchKey::All | SearchKey::SaveDateSupported => Key::All,
            SearchKey::Flag(flag) => Key::Flags {
                set: flags::system_bit(*flag),
                unset: 0,
            },
            SearchKey::NotFlag(flag) => Key::Flags {
                set: 0,
                unset: flags::system_bit(*flag),
            },
            SearchKey::Keyword(word) => keyword(word, mailbox),
            SearchKey::NotKeyword(word) => Key::Not(Box::new(keyword(word, mailbox))),
            SearchKey::New => Key::And(vec![
                Key::Recent(true),
                Key::Flags {
                    set: 0,
                    unset: system::SEEN,
                },
            ]),
            SearchKey::Old => Key::Recent(false),
            SearchKey::Recent => Key::Recent(true),
            SearchKey::Bcc(text) => addresses("Bcc", text),
            SearchKey::Cc(text) => addresses("Cc", text),
            SearchKey::From(text) => addresses("From", text),
            SearchKey::To(text) => addresses("To", text),
            SearchKey::Subject(text) => header("Subject", text),
            SearchKey::Header(name, text) => header(name, text),
            SearchKey::Body(text) => Key::Body(SearchString::new(text)),
            SearchKey::Text(text) => Key::Text(SearchString::new(text)),
            SearchKey::Before(date) => Key::Received(Days::before(*date)),
            SearchKey::On(date) => Key::Received(Days::on(*date)),
            SearchKey::Since(date) => Key::Received(Days::since(*date)),
            SearchKey::SentBefore(date) => Key::Sent(Days::before(*date)),
            SearchKey::SentOn(date) => Key::Sent(Days::on(*date)),
            SearchKey::SentSince(date) => Key::Sent(Days::since(*date)),
            SearchKey::SavedBefore(date) => Key::Saved(Days::before(*date)),
            SearchKey::SavedOn(date) => Key::Saved(Days::on(*date)),
            SearchKey::SavedSince(date) => Key::Saved(Days::since(*date)),
            SearchKey::Larger(octets) => Key::Larger(*octets),
            SearchKey::Smaller(octets) => Key::Smaller(*octets),
            SearchKey::Older(secs) => Key::ReceivedUntil(mailbox.now - i64::from(*secs)),
            SearchKey::Younger(secs) => Key::ReceivedFrom(mailbox.now - i64::from(*secs)),
            SearchKey::ModSeq(mod_seq) => Key::ModSeq(mod_seq.value()),
            SearchKey::Sequence(set) => uids(Numbering::Sequence, set, mailbox),
            SearchKey::Uid(set) => uids(Numbering::Uid, set, mailbox),
            SearchKey::Not(key) => Key::Not(Box::new(Key::of(key, mailbox))),
            SearchKey::Or(keys) => Key::Or(Box::new((
                Key::of(&keys.0, mailbox),
                Key::of(&keys.1, mailbox),
            ))),
            SearchKey::And(keys) => {
                Key::And(keys.iter().map(|key| Key::of(key, mailbox)).collect())
            }
        }
    }

    /// Whether a message matches, by the table alone; none if its octets must be looked at.
    pub fn by_table(&self, facts: &Facts) -> Option<bool> {
        Some(match self {
            Key::All => true,
            Key::Nothing => false,
            Key::Flags { set, unset } => facts.flags & set == *set && facts.flags & unset == 0,
            Key::Keyword(bit) => facts.keywords & bit != 0,
            Key::Recent(wanted) => facts.recent == *wanted,
            Key::Header(..) | Key::Addresses(..) | Key::Body(_) | Key::Text(_) | Key::Sent(_) => {
                return None;
            }
            Key::Received(days) => days.contain(day_of(facts.received)),
            Key::Saved(days) => days.contain(day_of(facts.saved)),
            Key::Larger(octets) => facts.size > *octets,
            Key::Smaller(octets) => facts.size < *octets,
            Key::ReceivedUntil(secs) => facts.received <= *secs,
            Key::ReceivedFrom(secs) => facts.received >= *secs,
            Key::ModSeq(mod_seq) => facts.modseq >= *mod_seq,
            Key::Uids(uids) => uids.contains(facts.uid),
            Key::Not(key) => !key.by_table(facts)?,
            Key::Or(keys) => match (keys.0.by_table(facts), keys.1.by_table(facts)) {
                (Some(true), _) | (_, Some(true)) => true,
                (Some(false), Some(false)) => false,
                _ => return None,
            },
            Key::And(keys) => {
                let mut open = false;
                for key in keys {
                    match key.by_table(facts) {
                        Some(false) => return Some(false),
                        Some(true) => (),
                        None => open = true,
                    }
                }
                if open {
                    return None;
                }
                true
            }
        })
    }

    /// Whether a message matches, with its octets at hand.
    pub fn by_message(&self, facts: &Facts, message: &mut Message<'_>) -> bool {
        match self {
            Key::Header(name, text) => message.header_contains(name, text),
            Key::Addresses(name, text) => message.searched().address_contains(name, text),
            Key::Body(text) => message.searched().body_contains(text),
            Key::Text(text) => message.searched().text_contains(text),
            Key::Sent(days) => message.sent_day().is_some_and(|day| days.contain(day)),
            Key::Not(key) => !key.by_message(facts, message),
            Key::Or(keys) => keys.0.by_message(facts, message) || keys.1.by_message(facts, message),
            // What is cheap goes first.
            Key::And(keys) => {
                keys.iter().all(|key| key.by_table(facts) != Some(false))
                    && keys.iter().all(|key| key.by_message(facts, message))
            }
            key => key.by_table(facts) == Some(true),
        }
    }

    /// Whether a message matches, of which these are the octets: all, or its header if no key needs more.
    pub fn looks_at(&self, facts: &Facts, octets: &[u8]) -> bool {
        let structure = match self.needs_structure() {
            true => Structure::of_message(octets),
            false => header_only(octets),
        };
        self.by_message(facts, &mut Message::new(octets, &structure))
    }

    /// Whether some message may need all of its octets, not only its header.
    pub fn needs_structure(&self) -> bool {
        match self {
            Key::Body(_) | Key::Text(_) => true,
            Key::Not(key) => key.needs_structure(),
            Key::Or(keys) => keys.0.needs_structure() || keys.1.needs_structure(),
            Key::And(keys) => keys.iter().any(Key::needs_structure),
            _ => false,
        }
    }
}

/// A message that keys look into.
pub(super) struct Message<'m> {
    searched: SearchedMessage<'m>,
}

impl<'m> Message<'m> {
    /// `structure` is that of `octets`, or [`header_only`] if no key needs more.
    pub fn new(octets: &'m [u8], structure: &'m Structure) -> Message<'m> {
        Message {
            searched: SearchedMessage::new(octets, structure),
        }
    }

    fn searched(&mut self) -> &mut SearchedMessage<'m> {
        &mut self.searched
    }

    fn header_contains(&self, name: &str, text: &SearchString) -> bool {
        self.searched.header_contains(name, text)
    }

    fn sent_day(&self) -> Option<i32> {
        let SentDate { year, month, day } = self.searched.sent_date()?;
        Date::new(year, month, day).map(Date::to_days)
    }
}

/// A structure that knows where the header ends and nothing else: enough for keys about fields.
pub(super) fn header_only(octets: &[u8]) -> Structure {
    let end = Header::of_message(octets).octets().len();
    Structure {
        root: Part {
            header: 0..end,
            body: end..octets.len(),
            body_lines: 0,
            content_type: ContentType::text_plain(),
            transfer_encoding: b"7BIT".to_vec(),
            disposition: None,
            languages: Vec::new(),
            content_id: None,
            description: None,
            md5: None,
            location: None,
            envelope: None,
            content: message::Content::Leaf,
        },
    }
}

fn keyword(word: &imap::types::Keyword, mailbox: &Mailbox<'_>) -> Key {
    if let Some(bit) = flags::keyword_bit(word) {
        return Key::Flags { set: bit, unset: 0 };
    }
    let known = mailbox
        .keywords
        .iter()
        .position(|k| k.eq_ignore_ascii_case(word.as_str()));
    known.map_or(Key::Nothing, |bit| Key::Keyword(1 << bit))
}

fn header(name: &str, text: &str) -> Key {
    Key::Header(name.to_string(), SearchString::new(text))
}

fn addresses(name: &'static str, text: &str) -> Key {
    Key::Addresses(name, SearchString::new(text))
}

fn uids(numbering: Numbering, set: &imap::types::SequenceSet, mailbox: &Mailbox<'_>) -> Key {
    match Targets::of(mailbox.selected.uids(), numbering, set, mailbox.saved) {
        Ok(targets) => Key::Uids(targets.uids().into_iter().collect()),
        Err(_) => Key::Nothing,
    }
}

impl Days {
    fn before(date: Date) -> Days {
        Days {
            from: i32::MIN,
            before: date.to_days(),
        }
    }

    fn on(date: Date) -> Days {
        Days {
            from: date.to_days(),
            before: date.to_days().saturating_add(1),
        }
    }

    /// The day itself included.
    fn since(date: Date) -> Days {
        Days {
            from: date.to_days(),
            before: i32::MAX,
        }
    }

    fn contain(self, day: i32) -> bool {
        (self.from..self.before).contains(&day)
    }
}

/// Internal dates are shown in UTC, so their day is that of UTC.
fn day_of(secs: i64) -> i32 {
    i32::try_from(secs.div_euclid(86_400)).unwrap_or(i32::MAX)
}
