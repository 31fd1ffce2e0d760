//! Failed logins of one name, from wherever: who guesses from many networks is slowed too. An address from which somebody has logged in
//! lately goes on as before, so that nobody can shut an account's owner out by guessing.

use std::collections::{HashMap, VecDeque};

use super::limiter::Networks;

/// Counts on the core that owns the account, or the hash of a name that nobody has: both alike.
#[derive(Default)]
pub struct AccountLimiter {
    names: HashMap<String, Entry>,
}

#[derive(Default)]
struct Entry {
    /// Hour since 1970 that `failures` belong to.
    hour: u64,
    failures: u32,
    /// Addresses that logged in, the latest last.
    known: VecDeque<Address>,
}

type Address = (u8, u128);

impl AccountLimiter {
    /// What a name that nobody has is counted under. No account is called that, as one may be called what was given; and it is not longer
    /// than an address can be, however long that is.
    pub fn name_of_nobody(given: &str) -> String {
        format!("?{}", &given[..given.floor_char_boundary(ADDRESS_MAX)])
    }

    /// Whether a login of this name may be looked at.
    pub fn may_try(&self, name: &str, networks: &Networks, now_secs: u64, most: u32) -> bool {
        self.names.get(name).is_none_or(|entry| {
            entry.hour != now_secs / HOUR
                || entry.failures < most
                || entry.known.contains(&networks.narrowest())
        })
    }

    /// It failed.
    pub fn failed(&mut self, name: &str, now_secs: u64) {
        let entry = self.entry(name, now_secs);
        entry.failures = entry.failures.saturating_add(1);
    }

    /// It was no failure after all.
    pub fn forgive(&mut self, name: &str) {
        if let Some(entry) = self.names.get_mut(name) {
            entry.failures = entry.failures.saturating_sub(1);
        }
    }

    /// It succeeded.
    pub fn succeeded(&mut self, name: &str, networks: &Networks, now_secs: u64) {
        self.forgive(name);
        let address = networks.narrowest();
        if self
            .names
            .get(name)
            .is_some_and(|e| e.known.back() == Some(&address))
        {
            return;
        }
        let entry = self.entry(name, now_secs);
        entry.known.retain(|known| *known != address);
        if entry.known.len() >= KNOWN_MAX {
            entry.known.pop_front();
        }
        entry.known.push_back(address);
    }

    fn entry(&mut self, name: &str, now_secs: u64) -> &mut Entry {
        if self.names.len() >= NAMES_MAX && !self.names.contains_key(name) {
            // Names that nobody has come without end; what is known of accounts goes last.
            self.names.retain(|_, e| !e.known.is_empty());
            if self.names.len() >= NAMES_MAX {
                self.names.clear();
            }
        }
        let entry = self.names.entry(name.to_string()).or_default();
        let hour = now_secs / HOUR;
        if entry.hour != hour {
            entry.hour = hour;
            entry.failures = 0;
        }
        entry
    }
}

const HOUR: u64 = 3600;
/// Addresses remembered of a name.
const KNOWN_MAX: usize = 8;
/// Octets of an address. RFC 5321 4.5.3.1: 64 before the "@" and 255 after it.
const ADDRESS_MAX: usize = 320;
/// Names a core remembers.
const NAMES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_limited_but_not_for_who_logged_in_before() {
        let at = |text: &str| Networks::of(text.parse().unwrap());
        let (home, other) = (at("192.0.2.1"), at("198.51.100.1"));
        let mut limiter = AccountLimiter::default();
        limiter.succeeded("anna", &home, 0);
        for n in 0..5 {
            assert!(limiter.may_try("anna", &other, 10, 5), "{n}");
            limiter.failed("anna", 10);
        }
        assert!(!limiter.may_try("anna", &other, 20, 5));
        assert!(!limiter.may_try("anna", &at("192.0.2.2"), 20, 5));
        assert!(limiter.may_try("anna", &home, 20, 5));
        assert!(limiter.may_try("ben", &other, 20, 5));
        assert!(limiter.may_try("anna", &other, HOUR, 5));
        for n in 1..=8 {
            limiter.succeeded("anna", &at(&format!("203.0.113.{n}")), HOUR);
        }
        (0..5).for_each(|_| limiter.failed("anna", HOUR));
        assert!(!limiter.may_try("anna", &home, HOUR, 5));
        assert!(limiter.may_try("anna", &at("203.0.113.1"), HOUR, 5));
    }

    #[test]
    fn names_of_nobody_are_no_accounts_and_fill_no_memory() {
        assert!(
            AccountLimiter::name_of_nobody("anna")
                .parse::<crate::settings::AccountName>()
                .is_err()
        );
        let (long, longer) = ("ä".repeat(400), "ä".repeat(8000));
        let name = AccountLimiter::name_of_nobody(&longer);
        assert!(name.len() <= ADDRESS_MAX + 1);
        assert_eq!(AccountLimiter::name_of_nobody(&long), name);
    }

    #[test]
    fn names_without_end_fill_no_memory() {
        let mut limiter = AccountLimiter::default();
        for n in 0..NAMES_MAX * 2 + 10 {
            limiter.failed(&format!("name{n}"), 0);
        }
        assert!(limiter.names.len() <= NAMES_MAX);
    }
}
