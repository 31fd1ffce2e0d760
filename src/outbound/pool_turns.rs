//! Whose turn it is where connections of a pool's addresses are not enough: of the accounts that wait the one that has least, then the one that had
//! its turn longest ago, and of its sites the one that had. Called by `pool`; one for each core. Pure. Not here: how many connections an address may have.

use std::collections::HashMap;
use std::rc::Rc;

/// Who waits, and who has how many.
#[derive(Default)]
pub(super) struct PoolTurns {
    waiting: Vec<Waiter>,
    accounts: HashMap<u32, Account>,
    /// When a site had its turn.
    sites: HashMap<Rc<str>, u64>,
    /// Counts all that happens.
    count: u64,
    members: u32,
}

struct Waiter {
    place: u64,
    account: u32,
    site: Rc<str>,
    /// The addresses that will do.
    members: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Account {
    has: u32,
    had: u64,
}

impl PoolTurns {
    /// A number for an address.
    pub fn number(&mut self) -> u32 {
        self.members = self.members.wrapping_add(1);
        self.members
    }

    /// Somebody waits for one of these. Answers his place.
    pub fn wait(&mut self, (account, site): (u32, &Rc<str>), members: Vec<u32>) -> u64 {
        self.count += 1;
        self.waiting.push(Waiter {
            place: self.count,
            account,
            site: site.clone(),
            members,
        });
        self.count
    }

    /// He waits no more.
    pub fn leave(&mut self, place: u64) {
        self.waiting.retain(|waiter| waiter.place != place);
    }

    /// Whether an account has somebody who waits.
    pub fn waits(&self, account: u32) -> bool {
        self.waiting.iter().any(|waiter| waiter.account == account)
    }

    /// Whether somebody waits for an address for another site.
    pub fn others_wait(&self, member: u32, site: &str) -> bool {
        let others = |w: &Waiter| *w.site != *site && w.members.contains(&member);
        self.waiting.iter().any(others)
    }

    /// Whether one who waits at a place, or comes just now, is the next for a connection of an address.
    pub fn is_next(&self, member: u32, who: (u32, &str), place: Option<u64>) -> bool {
        let weight = |(account, site): (u32, &str), place: u64| {
            let account = self.accounts.get(&account).copied().unwrap_or_default();
            let site = self.sites.get(site).copied().unwrap_or_default();
            (account.has, account.had, site, place)
        };
        let others = self.waiting.iter().filter(|w| w.members.contains(&member));
        let first = others.map(|w| weight((w.account, &w.site), w.place)).min();
        first.is_none_or(|first| weight(who, place.unwrap_or(u64::MAX)) <= first)
    }

    /// An account has one more.
    pub fn take(&mut self, account: u32, site: &Rc<str>) {
        self.count += 1;
        if self.sites.len() >= ACCOUNTS_MAX {
            self.sites.clear();
        }
        self.sites.insert(site.clone(), self.count);
        if self.accounts.len() >= ACCOUNTS_MAX {
            self.accounts.retain(|_, account| account.has > 0);
        }
        let had = self.count;
        let account = self.accounts.entry(account).or_default();
        *account = Account {
            has: account.has + 1,
            had,
        };
    }

    /// One fewer.
    pub fn give_back(&mut self, account: u32) {
        if let Some(account) = self.accounts.get_mut(&account) {
            account.has = account.has.saturating_sub(1);
        }
    }
}

/// Accounts, and sites, of which it is remembered when they had their turn, about.
const ACCOUNTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_least_is_next_and_then_who_had_his_turn_longest_ago() {
        let mut turns = PoolTurns::default();
        let (one, two) = (turns.number(), turns.number());
        let a: Rc<str> = "a".into();
        let (bulk_at, ben_at) = ((1, "a"), (2, "a"));
        assert!(turns.is_next(one, bulk_at, None));
        turns.take(1, &a);
        let bulk: Vec<u64> = (0..3).map(|_| turns.wait((1, &a), vec![one])).collect();
        // Another account comes, and is before all of them.
        assert!(turns.is_next(one, ben_at, None));
        let other = turns.wait((2, &a), vec![one, two]);
        assert!(
            turns.is_next(one, ben_at, Some(other)) && !turns.is_next(one, bulk_at, Some(bulk[0]))
        );
        // Nobody of the first waits for this address.
        assert!(turns.is_next(two, ben_at, Some(other)));
        assert!(turns.waits(2));
        turns.leave(other);
        turns.take(2, &a);
        assert!(!turns.waits(2));
        turns.give_back(1);
        // In the order in which they came, and nobody comes in between.
        assert!(
            turns.is_next(one, bulk_at, Some(bulk[0]))
                && !turns.is_next(one, bulk_at, Some(bulk[1]))
        );
        assert!(!turns.is_next(one, bulk_at, None));
        turns.give_back(2);
        let again = turns.wait((2, &a), vec![one]);
        // Both have none: the second had its turn later.
        assert!(
            turns.is_next(one, bulk_at, Some(bulk[0])) && !turns.is_next(one, ben_at, Some(again))
        );
        turns.take(1, &a);
        turns.leave(bulk[0]);
        turns.give_back(1);
        assert!(
            turns.is_next(one, ben_at, Some(again)) && !turns.is_next(one, bulk_at, Some(bulk[1]))
        );
    }

    #[test]
    fn of_the_sites_of_an_account_the_one_is_next_that_had_its_turn_longest_ago() {
        let mut turns = PoolTurns::default();
        let one = turns.number();
        let (busy, other): (Rc<str>, Rc<str>) = ("busy".into(), "other".into());
        turns.take(1, &busy);
        let many: Vec<u64> = (0..3).map(|_| turns.wait((1, &busy), vec![one])).collect();
        assert!(!turns.others_wait(one, "busy"));
        let last = turns.wait((1, &other), vec![one]);
        assert!(turns.others_wait(one, "busy") && !turns.others_wait(one + 1, "busy"));
        turns.give_back(1);
        assert!(turns.is_next(one, (1, "other"), Some(last)));
        assert!(!turns.is_next(one, (1, "busy"), Some(many[0])));
        turns.leave(last);
        turns.take(1, &other);
        turns.give_back(1);
        assert!(turns.is_next(one, (1, "busy"), Some(many[0])));
    }
}
