//! Octets of messages for several accounts that were accepted and are not delivered yet: they count in each account's quota on its core, so
//! that messages which come at once do not all find the same room.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::settings::AccountName;

/// Promises of one core. They live in memory: what a restart resumes is delivered within seconds, and adds to no quota's check before.
pub struct Promised {
    now: HashMap<AccountName, u64>,
    before: HashMap<AccountName, u64>,
    turned: Instant,
}

impl Promised {
    /// None yet.
    pub fn new(now: Instant) -> Promised {
        Promised {
            now: HashMap::new(),
            before: HashMap::new(),
            turned: now,
        }
    }

    /// Counts a promise. One that nobody keeps or takes back, as its account was removed or a call was lost, goes after one to two
    /// minutes: better too much in an account than mail refused for nothing.
    pub fn add(&mut self, now: Instant, account: AccountName, octets: u64) {
        self.turn(now);
        *self.now.entry(account).or_default() += octets;
    }

    /// It was kept, or taken back.
    pub fn remove(&mut self, account: AccountName, octets: u64) {
        let mut left = octets;
        for generation in [&mut self.before, &mut self.now] {
            if let Some(promised) = generation.get_mut(&account) {
                let part = left.min(*promised);
                left -= part;
                *promised -= part;
                if *promised == 0 {
                    generation.remove(&account);
                }
            }
        }
    }

    /// Octets promised to an account.
    pub fn of(&mut self, now: Instant, account: AccountName) -> u64 {
        self.turn(now);
        let of = |generation: &HashMap<_, u64>| generation.get(&account).copied().unwrap_or(0);
        of(&self.now).saturating_add(of(&self.before))
    }

    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.turned);
        if age < GENERATION {
            return;
        }
        self.before = std::mem::take(&mut self.now);
        if age >= GENERATION * 2 {
            self.before.clear();
        }
        self.turned = now;
    }
}

const GENERATION: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_kept_taken_back_or_forgotten() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let (anna, ben) = ("anna".parse().unwrap(), "ben".parse().unwrap());
        let mut promised = Promised::new(start);
        promised.add(at(0), anna, 10);
        promised.add(at(0), anna, 20);
        promised.add(at(0), ben, 5);
        assert_eq!(promised.of(at(59), anna), 30);
        promised.add(at(61), anna, 7);
        assert_eq!(promised.of(at(61), anna), 37);
        promised.remove(anna, 32);
        assert_eq!(promised.of(at(61), anna), 5);
        assert_eq!(promised.of(at(61), ben), 5);
        assert_eq!(promised.of(at(122), anna), 5);
        assert_eq!(promised.of(at(122), ben), 0);
        assert_eq!(promised.of(at(300), anna), 0);
        // Never more than there is.
        promised.remove(anna, 1000);
        assert_eq!(promised.of(at(300), anna), 0);
    }
}
