//! How much an account has sent, and whether it may send more (docs/QUEUE.md). Counted by hours, so that little is kept. Pure, but for
//! `tallies`: times are arguments.
//! Asked by `tallies` for one message after the other; `percore/sending.rs` asks that. Not here: who asks, words of a protocol.
//!
//! | key, behind `L` account NUL | row |
//! |---|---|
//! | `c` | [`Counts`] |
//! | `r` hash | a recipient that it has written to: the day, since 1970 |
//!
//! An hour counts until 24 more have begun and ended. So in no 24 hours more goes out than may, and what was sent counts for 24 to 25 hours.

mod tallies;
#[cfg(test)]
mod tests;

use std::fmt;

use message::MessageDate;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::suppression::base;
use crate::settings::Sending;
pub use tallies::SendingTallies;

/// What a message counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// One for each recipient.
    pub messages: u32,
    /// The hashes of its recipients, each once; none where nobody asks whether they are new.
    pub recipients: Vec<u64>,
}

impl Wanted {
    /// Of a message to these; none if there is no limit.
    pub fn of<A: AsRef<str>>(
        limits: Sending,
        addresses: impl Iterator<Item = A>,
    ) -> Option<Wanted> {
        if !limits.is_limited() {
            return None;
        }
        let mut wanted = Wanted::default();
        for address in addresses {
            wanted.messages = wanted.messages.saturating_add(1);
            if limits.new_recipients_per_day.is_some() {
                wanted.recipients.push(hash_of(address.as_ref()));
            }
        }
        wanted.recipients.sort_unstable();
        wanted.recipients.dedup();
        Some(wanted)
    }
}

/// An address, in the form that suppression lists have: whoever is written to with another detail behind "+" is no new one.
fn hash_of(address: &str) -> u64 {
    let digest = digest(&SHA256, base(address).as_bytes());
    let first = digest.as_ref().first_chunk();
    first.map_or(0, |first| u64::from_be_bytes(*first))
}

/// What was counted of a message, so that it can be given back. Its new recipients are remembered, so they count no second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// In which hour.
    hour: u32,
    /// Messages.
    messages: u32,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Of messages.
    Messages,
    /// Of recipients that are new.
    NewRecipients,
}

impl Limit {
    /// For metrics and the log.
    pub fn word(self) -> &'static str {
        match self {
            Limit::Messages => "messages",
            Limit::NewRecipients => "new_recipients",
        }
    }

    fn of(self, limits: Sending) -> Option<u32> {
        match self {
            Limit::Messages => limits.messages_per_day,
            Limit::NewRecipients => limits.new_recipients_per_day,
        }
    }
}

/// Why an account may not send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// By which limit.
    pub limit: Limit,
    /// What may be sent in 24 hours.
    pub most: u32,
    /// What was.
    pub used: u64,
    /// What is wanted.
    pub wanted: u32,
    /// When there is room for that, seconds since 1970; none: it is more than may be sent at all.
    pub room_at: Option<i64>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal {
            most, used, wanted, ..
        } = self;
        let (what, may, has) = match self.limit {
            Limit::Messages => ("messages", "send", "sent"),
            Limit::NewRecipients => ("new recipients", "write to", "written to"),
        };
        write!(f, "the account may {may} {most} {what} in 24 hours")?;
        match self.room_at {
            None => write!(f, ", and here are {wanted}"),
            Some(at) => {
                let at = MessageDate::utc(at);
                write!(
                    f,
                    " and has {has} {used}; there is room for {wanted} more from {at} on"
                )
            }
        }
    }
}

/// How much of its limits an account has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendingUse {
    /// What may be sent.
    pub limits: Sending,
    /// Messages that count.
    pub messages: u64,
    /// New recipients that count.
    pub new_recipients: u64,
    /// When there is room for a message; none: there is, or no limit.
    pub messages_at: Option<i64>,
    /// The same of a new recipient.
    pub new_recipients_at: Option<i64>,
    /// Recipients that it has written to and that are remembered.
    pub remembered: u32,
}

/// What is kept of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Those that count, the oldest first.
    hours: Vec<Hour>,
    /// Rows of recipients.
    pub remembered: u32,
}

/// What was sent in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    /// Since 1970.
    hour: u32,
    messages: u32,
    new_recipients: u32,
}

impl Counts {
    /// Forgets hours that are over for so long that they don't count. What a clock that was set back has left in the future counts for a day from now.
    pub fn advance(&mut self, now: i64) {
        let now = hour_of(now);
        for mut one in std::mem::take(&mut self.hours) {
            if one.hour.saturating_add(COUNTS_FOR) >= now {
                one.hour = one.hour.min(now.saturating_add(COUNTS_FOR));
                self.add(one);
            }
        }
    }

    fn add(&mut self, more: Hour) {
        match self.hours.iter_mut().find(|one| one.hour == more.hour) {
            Some(one) => {
                one.messages = one.messages.saturating_add(more.messages);
                one.new_recipients = one.new_recipients.saturating_add(more.new_recipients);
            }
            None => {
                self.hours.push(more);
                self.hours.sort_by_key(|one| one.hour);
            }
        }
    }

    /// Whether a message may be sent. [`Counts::advance`] goes before.
    pub fn check(
        &self,
        limits: Sending,
        messages: u32,
        new_recipients: u32,
    ) -> Result<(), Refusal> {
        for (limit, wanted) in [
            (Limit::Messages, messages),
            (Limit::NewRecipients, new_recipients),
        ] {
            let used = self.used(limit);
            if let Some(most) = limit.of(limits)
                && used.saturating_add(wanted.into()) > most.into()
                && wanted > 0
            {
                return Err(Refusal {
                    limit,
                    most,
                    used,
                    wanted,
                    room_at: self.room_at(limit, most, wanted),
                });
            }
        }
        Ok(())
    }

    /// Counts it.
    pub fn take(&mut self, now: i64, messages: u32, new_recipients: u32) -> Taken {
        let hour = hour_of(now);
        self.add(Hour {
            hour,
            messages,
            new_recipients,
        });
        Taken { hour, messages }
    }

    /// Whether rows of so many more recipients may be written; they are counted then.
    fn remember(&mut self, more: usize) -> bool {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let remembered = self.remembered.saturating_add(more);
        let has_room = remembered <= REMEMBERED_MAX;
        if has_room {
            self.remembered = remembered;
        }
        has_room
    }

    /// It was not sent after all.
    pub fn give_back(&mut self, taken: Taken) {
        if let Some(one) = self.hours.iter_mut().find(|one| one.hour == taken.hour) {
            one.messages = one.messages.saturating_sub(taken.messages);
        }
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.hours.is_empty() && self.remembered == 0
    }

    /// How much is used. [`Counts::advance`] goes before.
    pub fn show(&self, limits: Sending) -> SendingUse {
        let at = |limit: Limit| {
            let most = limit.of(limits)?;
            let is_full = self.used(limit) >= most.into();
            is_full.then(|| self.room_at(limit, most, 1)).flatten()
        };
        SendingUse {
            limits,
            messages: self.used(Limit::Messages),
            new_recipients: self.used(Limit::NewRecipients),
            messages_at: at(Limit::Messages),
            new_recipients_at: at(Limit::NewRecipients),
            remembered: self.remembered,
        }
    }

    fn used(&self, limit: Limit) -> u64 {
        let of = |one: &Hour| u64::from(one.of(limit));
        self.hours.iter().map(of).sum()
    }

    /// When so much more fits, if nothing else is sent meanwhile.
    fn room_at(&self, limit: Limit, most: u32, wanted: u32) -> Option<i64> {
        let room = most.checked_sub(wanted)?;
        let mut used = self.used(limit);
        for one in &self.hours {
            used -= u64::from(one.of(limit));
            if used <= room.into() {
                let end = i64::from(one.hour) + i64::from(COUNTS_FOR) + 1;
                return Some(end * HOUR);
            }
        }
        None
    }
}

impl Hour {
    fn of(&self, limit: Limit) -> u32 {
        match limit {
            Limit::Messages => self.messages,
            Limit::NewRecipients => self.new_recipients,
        }
    }
}

/// Whether a recipient that was written to last on a day is remembered.
pub fn is_remembered(day: u32, today: u32) -> bool {
    day.saturating_add(REMEMBERED_DAYS) >= today
}

/// The hour of a time.
fn hour_of(secs: i64) -> u32 {
    u32::try_from(secs.max(0) / HOUR).unwrap_or(u32::MAX)
}

/// Recipients of an account that are remembered; those beyond are new each time.
pub const REMEMBERED_MAX: u32 = 1_000_000;
/// For so long, at least.
pub const REMEMBERED_DAYS: u32 = 90;
/// Hours for which one counts after its own.
const COUNTS_FOR: u32 = 24;
const HOUR: i64 = 3_600;
