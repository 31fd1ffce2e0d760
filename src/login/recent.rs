//! Logins that were found right lately, for doors that get name and password with each request. Kept is no password but a keyed digest
//! (HMAC-SHA-256 under a key of this core) of name and password. Whoever asks says whether the login still holds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ring::hmac;

use crate::settings::AccountName;

/// Of one core.
pub struct Recent {
    key: hmac::Key,
    known: HashMap<[u8; 32], (AccountName, Instant)>,
}

impl Recent {
    /// Without randomness nothing is remembered.
    pub fn new() -> Option<Recent> {
        let mut octets = [0; 32];
        super::random(&mut octets).ok()?;
        Some(Recent {
            key: hmac::Key::new(hmac::HMAC_SHA256, &octets),
            known: HashMap::new(),
        })
    }

    /// Whose name and password these are, and when that was found out, no longer ago than `most`.
    pub fn find(
        &self,
        name: &str,
        password: &[u8],
        now: Instant,
        most: Duration,
    ) -> Option<(AccountName, Instant)> {
        let (account, at) = self.known.get(&self.digest(name, password))?;
        (now.saturating_duration_since(*at) < most).then_some((*account, *at))
    }

    /// Remembers one, at most so many in all.
    pub fn add(
        &mut self,
        (name, password): (&str, &[u8]),
        (account, at): (AccountName, Instant),
        (entries_max, kept): (usize, Duration),
    ) {
        if self.known.len() >= entries_max {
            self.known
                .retain(|_, (_, since)| at.saturating_duration_since(*since) < kept);
        }
        if self.known.len() < entries_max {
            self.known
                .insert(self.digest(name, password), (account, at));
        }
    }

    /// The account's do not hold any more.
    pub fn forget(&mut self, account: AccountName) {
        self.known.retain(|_, (of, _)| *of != account);
    }

    fn digest(&self, name: &str, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // The length first: no name and password run into each other.
        context.update(&(name.len() as u64).to_be_bytes());
        context.update(name.as_bytes());
        context.update(password);
        let tag = context.sign();
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_right_is_known_for_a_while() {
        let mut recent = Recent::new().unwrap();
        let account: AccountName = "a".parse().unwrap();
        let (start, minute) = (Instant::now(), Duration::from_secs(60));
        recent.add(("a@x", b"pw"), (account, start), (2, minute));
        let find = |recent: &Recent, name: &str, password: &[u8], after: u64| {
            recent.find(name, password, start + Duration::from_secs(after), minute)
        };
        assert_eq!(find(&recent, "a@x", b"pw", 59), Some((account, start)));
        assert_eq!(find(&recent, "a@x", b"pw", 60), None);
        assert_eq!(find(&recent, "a@x", b"pW", 1), None);
        assert_eq!(find(&recent, "a@", b"xpw", 1), None);
        // No more than there may be; what is over makes room.
        let later = start + Duration::from_secs(30);
        recent.add(("b@x", b"pw"), (account, later), (2, minute));
        recent.add(("c@x", b"pw"), (account, later), (2, minute));
        assert_eq!(find(&recent, "c@x", b"pw", 31), None);
        let last = start + Duration::from_secs(61);
        recent.add(("c@x", b"pw"), (account, last), (2, minute));
        assert!(find(&recent, "c@x", b"pw", 62).is_some());
        recent.forget(account);
        assert_eq!(find(&recent, "c@x", b"pw", 62), None);
    }
}
