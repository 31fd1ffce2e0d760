//! How much an address of ours may send to a site in a day, and what is made of a day that is over. Pure: days are arguments.
//! Asked by the owner of the row (`percore/warm_up.rs`), once for each lot of recipients. Not here: who asks, rows on disk.
//!
//! | a day | the next day |
//! |---|---|
//! | complaints beyond `complaints_max_per_mille` of what was accepted on the best of this and the three days before | half |
//! | deferrals beyond twice `deferrals_max_percent` | half |
//! | deferrals beyond `deferrals_max_percent` | the same |
//! | too little was sent to tell: below `judged_from`, or half of what was allowed | the same |
//! | else | `growth_percent` of it, up to `per_day_max` |
//!
//! Half is never below the first day's. After 30 days without mail all begins again: receivers have forgotten the address.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::settings::WarmUp;

/// An address of ours and a site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WarmUpKey {
    /// The pool.
    pub pool: String,
    /// The address, by its name there.
    pub member: String,
    /// The site.
    pub site: String,
}

impl WarmUpKey {
    /// As the key of a row. Names of the settings hold no zero octet, nor do those of hosts.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts = [&self.pool, &self.member, &self.site].map(|part| part.as_bytes());
        parts.join(&0)
    }

    /// Back again.
    pub fn of_bytes(bytes: &[u8]) -> Option<WarmUpKey> {
        let mut parts = bytes.splitn(3, |b| *b == 0);
        let mut part = || Some(std::str::from_utf8(parts.next()?).ok()?.to_owned());
        Some(WarmUpKey {
            pool: part()?,
            member: part()?,
            site: part()?,
        })
    }
}

/// What a core reports of an address and a site, and wants to have.
#[derive(Clone, Debug)]
pub struct WarmUpAsk {
    /// Which.
    pub key: WarmUpKey,
    /// Recipients it has a use for.
    pub wanted: u32,
    /// Those it was given and has not used.
    pub unused: u32,
    /// The day it was given them on, as it believes: no later than it was.
    pub day: u32,
    /// What came of those it has used.
    pub counts: Counts,
}

/// A page of what is kept in a shard, and where to go on.
pub type WarmUpPage = (Vec<(WarmUpKey, State)>, Option<Vec<u8>>);

impl fmt::Display for WarmUpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WarmUpKey { pool, member, site } = self;
        write!(f, "{member} of pool {pool} at {site}")
    }
}

/// What became of recipients at a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Delivered.
    pub accepted: u32,
    /// Refused for now.
    pub deferred: u32,
    /// Refused.
    pub refused: u32,
    /// Those whose readers have complained.
    pub complaints: u32,
}

impl Counts {
    /// Those that the site had to do with.
    pub fn sent(&self) -> u32 {
        self.accepted
            .saturating_add(self.deferred)
            .saturating_add(self.refused)
    }

    /// With more.
    pub fn add(&mut self, more: Counts) {
        self.accepted = self.accepted.saturating_add(more.accepted);
        self.deferred = self.deferred.saturating_add(more.deferred);
        self.refused = self.refused.saturating_add(more.refused);
        self.complaints = self.complaints.saturating_add(more.complaints);
    }
}

/// What was made of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It was good: more is allowed.
    Grown,
    /// It was good, and all is allowed that may be.
    AtMost,
    /// Too little was sent to tell.
    HeldTooLittle,
    /// Too much was deferred.
    HeldDeferrals,
    /// Far too much was deferred.
    LoweredDeferrals,
    /// Too many have complained.
    LoweredComplaints,
    /// Nothing was sent for so long that it begins again.
    BegunAgain,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Grown => "grown",
            Verdict::AtMost => "as much as may be",
            Verdict::HeldTooLittle => "held: too little was sent to tell",
            Verdict::HeldDeferrals => "held: too much was deferred",
            Verdict::LoweredDeferrals => "lowered: far too much was deferred",
            Verdict::LoweredComplaints => "lowered: too many complaints",
            Verdict::BegunAgain => "begun again: nothing was sent for long",
        })
    }
}

/// A day and what was made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Days since 1970, UTC.
    pub day: u32,
    /// What came of it.
    pub counts: Counts,
    /// What was allowed.
    pub before: u32,
    /// What is allowed from then on.
    pub after: u32,
    /// Why.
    pub verdict: Verdict,
}

/// What is kept of an address of ours and a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The day that the counts are of.
    pub day: u32,
    /// Recipients that may be sent to on a day.
    pub cap: u32,
    /// Those that were given out on this one.
    pub given: u32,
    /// What came of them.
    pub counts: Counts,
    /// Days before, the latest last.
    pub judgements: Vec<Judgement>,
}

impl State {
    /// Of a site that the address has never sent to.
    pub fn new(rules: &WarmUp, day: u32) -> State {
        State {
            day,
            cap: rules.first_per_day,
            given: 0,
            counts: Counts::default(),
            judgements: Vec::new(),
        }
    }

    /// Judges the day that is over, if it is; true: something has changed. A clock that was set back changes nothing.
    pub fn advance(&mut self, rules: &WarmUp, today: u32) -> bool {
        if today <= self.day {
            return false;
        }
        let (after, verdict) = match self.is_forgotten(today) {
            true => (rules.first_per_day, Verdict::BegunAgain),
            false => judge(self.cap, &self.counts, self.accepted_lately(), rules),
        };
        self.judgements.push(Judgement {
            day: self.day,
            counts: self.counts,
            before: self.cap,
            after,
            verdict,
        });
        let surplus = self.judgements.len().saturating_sub(JUDGEMENTS_MAX);
        self.judgements.drain(..surplus);
        self.day = today;
        self.cap = after;
        self.given = 0;
        self.counts = Counts::default();
        true
    }

    /// Whether nothing was sent for so long that it begins again.
    pub fn is_forgotten(&self, today: u32) -> bool {
        today.saturating_sub(self.day) >= FORGOTTEN_AFTER
    }

    /// The most that was accepted on a day of those that complaints of today may be about.
    fn accepted_lately(&self) -> u32 {
        let mut lately = self.judgements.iter().rev();
        let lately = lately
            .by_ref()
            .take_while(|j| j.day + COMPLAINED_WITHIN >= self.day);
        lately.fold(self.counts.accepted, |most, j| most.max(j.counts.accepted))
    }

    /// Gives out recipients of today: so many at most, fewer when few are left, so that cores share what there is.
    pub fn give(&mut self, wanted: u32) -> u32 {
        let left = self.cap.saturating_sub(self.given);
        let lot = (self.cap / LOTS).clamp(1, LOT_MAX);
        let given = wanted.min(lot).min(left);
        self.given += given;
        given
    }

    /// Takes back what was not used of a lot of that day, and counts what was. What came of a lot of yesterday counts today; what is left of it
    /// was none of today's.
    pub fn settle(&mut self, unused: u32, day: u32, counts: Counts) {
        if day == self.day {
            self.given = self.given.saturating_sub(unused);
        }
        self.counts.add(counts);
    }
}

/// What is allowed after a day. Complaints come for mail of days before, too: they are held against what was accepted `lately`.
fn judge(cap: u32, counts: &Counts, lately: u32, rules: &WarmUp) -> (u32, Verdict) {
    let lowered = (cap / 2).max(rules.first_per_day.min(cap));
    let sent = counts.sent();
    let is_enough = sent >= rules.judged_from;
    let complaints = u64::from(counts.complaints) * 1_000;
    let bearable = u64::from(lately) * u64::from(rules.complaints_max_per_mille);
    // One complaint of a few messages says nothing.
    if counts.complaints > 1 && complaints > bearable {
        return (lowered, Verdict::LoweredComplaints);
    }
    let most = u64::from(rules.deferrals_max_percent);
    let deferred = u64::from(counts.deferred) * 100;
    if is_enough && deferred > u64::from(sent) * most * 2 {
        return (lowered, Verdict::LoweredDeferrals);
    }
    if is_enough && deferred > u64::from(sent) * most {
        return (cap, Verdict::HeldDeferrals);
    }
    if !is_enough || u64::from(sent) * 2 < u64::from(cap) {
        return (cap, Verdict::HeldTooLittle);
    }
    if cap >= rules.per_day_max {
        return (rules.per_day_max, Verdict::AtMost);
    }
    let grown = u64::from(cap) * u64::from(rules.growth_percent) / 100;
    let grown = u32::try_from(grown).unwrap_or(u32::MAX);
    // A growth of less than one is one.
    (grown.max(cap + 1).min(rules.per_day_max), Verdict::Grown)
}

/// The day of a time.
pub fn day_of(secs: i64) -> u32 {
    u32::try_from(secs.max(0) / 86_400).unwrap_or(u32::MAX)
}

/// Days that are remembered.
const JUDGEMENTS_MAX: usize = 30;
/// Days within which most readers complain that do.
const COMPLAINED_WITHIN: u32 = 3;
/// Days without mail after which receivers know nothing of an address.
const FORGOTTEN_AFTER: u32 = 30;
/// Lots that a day is given out in, at least; and recipients of one at most.
const LOTS: u32 = 20;
const LOT_MAX: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(accepted: u32, deferred: u32, refused: u32, complaints: u32) -> Counts {
        Counts {
            accepted,
            deferred,
            refused,
            complaints,
        }
    }

    #[test]
    fn a_day_decides_on_the_next() {
        let rules = WarmUp::default();
        for (cap, counts, after, verdict) in [
            // Good days: twice as much.
            (50, counts(50, 0, 0, 0), 100, Verdict::Grown),
            (100, counts(96, 4, 0, 0), 200, Verdict::Grown),
            (100, counts(95, 5, 0, 0), 200, Verdict::Grown),
            // Refusals for good are of recipients, not of the address.
            (100, counts(50, 0, 50, 0), 200, Verdict::Grown),
            (50, counts(25, 0, 0, 0), 100, Verdict::Grown),
            (60_000, counts(60_000, 0, 0, 0), 100_000, Verdict::Grown),
            (100_000, counts(90_000, 0, 0, 0), 100_000, Verdict::AtMost),
            // The settings allow less than before.
            (200_000, counts(190_000, 0, 0, 0), 100_000, Verdict::AtMost),
            // Too little.
            (50, counts(0, 0, 0, 0), 50, Verdict::HeldTooLittle),
            (50, counts(24, 0, 0, 0), 50, Verdict::HeldTooLittle),
            (800, counts(399, 0, 0, 0), 800, Verdict::HeldTooLittle),
            (50, counts(0, 19, 0, 0), 50, Verdict::HeldTooLittle),
            // Deferrals.
            (100, counts(94, 6, 0, 0), 100, Verdict::HeldDeferrals),
            (100, counts(90, 10, 0, 0), 100, Verdict::HeldDeferrals),
            (200, counts(178, 22, 0, 0), 100, Verdict::LoweredDeferrals),
            (400, counts(0, 20, 0, 0), 200, Verdict::LoweredDeferrals),
            (60, counts(0, 60, 0, 0), 50, Verdict::LoweredDeferrals),
            (50, counts(0, 50, 0, 0), 50, Verdict::LoweredDeferrals),
            // Complaints, however good the rest was.
            (800, counts(800, 0, 0, 1), 1_600, Verdict::Grown),
            (2_000, counts(2_000, 0, 0, 2), 4_000, Verdict::Grown),
            (
                2_000,
                counts(2_000, 0, 0, 3),
                1_000,
                Verdict::LoweredComplaints,
            ),
            (800, counts(800, 0, 0, 2), 400, Verdict::LoweredComplaints),
            (800, counts(0, 0, 0, 2), 400, Verdict::LoweredComplaints),
        ] {
            let judged = judge(cap, &counts, counts.accepted, &rules);
            assert_eq!(judged, (after, verdict), "{cap} {counts:?}");
        }
    }

    #[test]
    fn the_schedule_is_what_the_settings_say() {
        let rules = WarmUp {
            first_per_day: 10,
            growth_percent: 150,
            per_day_max: 40,
            judged_from: 1,
            ..WarmUp::default()
        };
        let mut state = State::new(&rules, 7);
        let mut caps = Vec::new();
        for day in 8..14 {
            caps.push(state.cap);
            while state.give(u32::MAX) > 0 {}
            assert_eq!(state.given, state.cap);
            state.settle(0, day - 1, counts(state.cap, 0, 0, 0));
            assert!(state.advance(&rules, day));
            assert!(!state.advance(&rules, day));
        }
        assert_eq!(caps, [10, 15, 22, 33, 40, 40]);
        let last = state.judgements.last().unwrap();
        assert_eq!((last.day, last.before, last.after), (12, 40, 40));
        assert_eq!(last.verdict, Verdict::AtMost);
        // A growth that is none is one at least.
        let slow = WarmUp {
            growth_percent: 101,
            ..rules
        };
        assert_eq!(
            judge(10, &counts(10, 0, 0, 0), 10, &slow),
            (11, Verdict::Grown)
        );
    }

    #[test]
    fn complaints_of_a_quiet_day_are_about_days_before() {
        let rules = WarmUp::default();
        for (quiet_days, verdict) in [
            (0, Verdict::HeldTooLittle),
            (2, Verdict::HeldTooLittle),
            (3, Verdict::LoweredComplaints),
        ] {
            let mut state = State::new(&rules, 7);
            state.cap = 4_000;
            state.settle(0, 7, counts(4_000, 0, 0, 0));
            let mut day = 8;
            state.advance(&rules, day);
            for _ in 0..quiet_days {
                day += 1;
                state.advance(&rules, day);
            }
            state.settle(0, day, counts(10, 0, 0, 4));
            state.advance(&rules, day + 1);
            let last = state.judgements.last().unwrap();
            assert_eq!(last.verdict, verdict, "{quiet_days}");
        }
    }

    #[test]
    fn no_more_is_given_out_than_is_allowed() {
        let rules = WarmUp::default();
        let mut state = State::new(&rules, 7);
        assert_eq!(state.give(1), 1);
        // Lots, so that another core gets some too.
        assert_eq!(state.give(100), 2);
        state.settle(1, 7, counts(2, 0, 0, 0));
        let mut given = 2;
        loop {
            match state.give(100) {
                0 => break,
                more => given += more,
            }
        }
        assert_eq!(given, 50);
        assert_eq!(state.give(1), 0);
        // A day before is no new day.
        assert!(!state.advance(&rules, 6));
        assert_eq!(state.give(1), 0);
        assert!(state.advance(&rules, 8));
        assert_eq!(state.give(1), 1);
        // What is left of yesterday's adds nothing to what is left of today's.
        state.settle(2, 7, Counts::default());
        assert_eq!(state.given, 1);
        state.settle(1, 8, Counts::default());
        assert_eq!(state.given, 0);
    }

    #[test]
    fn an_address_that_is_silent_for_long_begins_again() {
        let rules = WarmUp::default();
        let mut state = State::new(&rules, 7);
        state.cap = 800;
        state.settle(0, 7, counts(800, 0, 0, 0));
        assert!(state.advance(&rules, 36));
        assert_eq!(state.cap, 1_600);
        assert!(state.advance(&rules, 66));
        assert_eq!(state.cap, 50);
        let last = state.judgements.last().unwrap();
        assert_eq!(last.verdict, Verdict::BegunAgain);
    }

    #[test]
    fn keys_can_be_read_back() {
        let key = WarmUpKey {
            pool: "bulk".into(),
            member: "one".into(),
            site: "bulk>mx.example,mx2.example".into(),
        };
        assert_eq!(WarmUpKey::of_bytes(&key.to_bytes()), Some(key));
        assert_eq!(WarmUpKey::of_bytes(b"a\0b"), None);
    }

    #[test]
    fn a_month_is_remembered() {
        let rules = WarmUp::default();
        let mut state = State::new(&rules, 0);
        for day in 1..100 {
            state.advance(&rules, day);
        }
        assert_eq!(state.judgements.len(), 30);
        assert_eq!(state.judgements[0].day, 69);
        assert_eq!(day_of(86_400 * 3 + 5), 3);
        assert_eq!(day_of(-1), 0);
    }
}
