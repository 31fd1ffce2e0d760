//! Whose turn it is where connections of a pool's addresses are not enough: of the accounts that wait the one that has least, then the one that had
//! its turn longest ago. Called by `pool`; one for each core. Pure. Not here: how many connections an address may have.

use std::collections::HashMap;

/// Who waits, and who has how many.
#[derive(Default)]
pub(super) struct PoolTurns {
    waiting: Vec<Waiter>,
    accounts: HashMap<u32, Account>,
    /// Counts all that happens.
    count: u64,
    members: u32,
}

struct Waiter {
    place: u64,
    account: u32,
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
    pub fn wait(&mut self, account: u32, members: Vec<u32>) -> u64 {
        self.count += 1;
        self.waiting.push(Waiter {
            place: self.count,
            account,
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

    /// Whether one who waits at a place, or comes just now, is the next for a connection of an address.
    pub fn is_next(&self, member: u32, account: u32, place: Option<u64>) -> bool {
        let weight = |account: u32, place: u64| {
            let account = self.accounts.get(&account).copied().unwrap_or_default();
            (account.has, account.had, place)
        };
        let others = self.waiting.iter().filter(|w| w.members.contains(&member));
        let first = others.map(|w| weight(w.account, w.place)).min();
        first.is_none_or(|first| weight(account, place.unwrap_or(u64::MAX)) <= first)
    }

    /// An account has one more.
    pub fn take(&mut self, account: u32) {
        self.count += 1;
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

/// Accounts of which it is remembered when they had their turn, about.
const ACCOUNTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_least_is_next_and_then_who_had_his_turn_longest_ago() {
        let mut turns = PoolTurns::default();
        let (one, two) = (turns.number(), turns.number());
        assert!(turns.is_next(one, 1, None));
        turns.take(1);
        let bulk: Vec<u64> = (0..3).map(|_| turns.wait(1, vec![one])).collect();
        // Another account comes, and is before all of them.
        assert!(turns.is_next(one, 2, None));
        let other = turns.wait(2, vec![one, two]);
        assert!(turns.is_next(one, 2, Some(other)) && !turns.is_next(one, 1, Some(bulk[0])));
        // Nobody of the first waits for this address.
        assert!(turns.is_next(two, 2, Some(other)));
        assert!(turns.waits(2));
        turns.leave(other);
        turns.take(2);
        assert!(!turns.waits(2));
        turns.give_back(1);
        // In the order in which they came, and nobody comes in between.
        assert!(turns.is_next(one, 1, Some(bulk[0])) && !turns.is_next(one, 1, Some(bulk[1])));
        assert!(!turns.is_next(one, 1, None));
        turns.give_back(2);
        let again = turns.wait(2, vec![one]);
        // Both have none: the second had its turn later.
        assert!(turns.is_next(one, 1, Some(bulk[0])) && !turns.is_next(one, 2, Some(again)));
        turns.take(1);
        turns.leave(bulk[0]);
        turns.give_back(1);
        assert!(turns.is_next(one, 2, Some(again)) && !turns.is_next(one, 1, Some(bulk[1])));
    }
}
