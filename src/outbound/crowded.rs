//! Recipients of batches whose messages could not be made because their account has as many in line as it may: they come again, spread over time, so
//! that a long batch does not ask in vain for all of its recipients at once, again and again. Pure: the time is an argument, seconds since 1970.

use std::collections::HashMap;

/// When accounts come again.
#[derive(Default)]
pub(super) struct Crowded {
    /// Of each the last second that was given out, and how often.
    given: HashMap<Box<str>, (i64, u32)>,
}

impl Crowded {
    /// In how many seconds another one of an account comes again.
    pub fn later(&mut self, account: &str, now: i64) -> i64 {
        let first = now + FIRST;
        let (mut second, mut count) = match self.given.get(account) {
            Some(given) if given.0 >= first => *given,
            _ => (first, 0),
        };
        if count == EACH_SECOND {
            (second, count) = (second + 1, 0);
        }
        if self.given.len() >= ACCOUNTS_MAX {
            self.given.retain(|_, (second, _)| *second >= first);
        }
        self.given.insert(account.into(), (second, count + 1));
        second - now
    }
}

/// Seconds until the first ones come again.
const FIRST: i64 = 2;
/// Of one account in a second: about what a thread makes of those that are just too much for the core. Those that ask in vain cost little.
const EACH_SECOND: u32 = 400;
/// Accounts that are remembered, about.
const ACCOUNTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_an_account_come_one_after_the_other() {
        let mut crowded = Crowded::default();
        let mut later = |account: &str, now| crowded.later(account, now);
        let many: Vec<i64> = (0..1_000).map(|_| later("many", 1_000)).collect();
        let count = |secs: i64| many.iter().filter(|later| **later == secs).count();
        assert_eq!([count(2), count(3), count(4)], [400, 400, 200]);
        assert_eq!(later("other", 1_000), 2);
        // Those behind them come after them, and nobody waits for those who are over.
        assert_eq!(later("many", 1_001), 3);
        assert_eq!(later("many", 1_010), 2);
    }
}
