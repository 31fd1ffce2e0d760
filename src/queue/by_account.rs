//! Which messages of a core's queue are whose, and how many of their recipients still wait: in memory, beside the lines. So an account finds its own without
//! a walk over everybody's, and no account fills the queue alone. It is whole once all that was stored at the start stands in line.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use shards::segments::BodyId;

/// A message: its shard, and its body's number.
type Key = (u16, u64);

/// How much of a shard's queue is an account's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfAccount {
    /// Recipients that wait or are held.
    pub waiting: u64,
    /// Messages that somebody works on, or of which the account has still to hear.
    pub in_hand: u64,
}

/// Messages by account.
#[derive(Default)]
pub(super) struct ByAccount {
    accounts: HashMap<Rc<str>, Own>,
    /// Messages that ended while others were still being found: whoever finds their rows late does not bring them back.
    ended: Vec<(Rc<str>, Key)>,
}

#[derive(Default)]
struct Own {
    /// With how many of its recipients are left.
    messages: BTreeMap<Key, u32>,
    recipients: usize,
}

impl ByAccount {
    /// So many recipients of a message are left; with the last one it goes. `are_found`: all stored ones are known.
    pub(super) fn set(&mut self, account: &str, key: Key, left: u32, are_found: bool) {
        if account.is_empty() {
            return;
        }
        let name: Rc<str> = match self.accounts.get_key_value(account) {
            Some((name, _)) => name.clone(),
            None if left == 0 && are_found => return,
            None => account.into(),
        };
        let own = self.accounts.entry(name.clone()).or_default();
        let before = match left == 0 && are_found {
            true => own.messages.remove(&key),
            false => own.messages.insert(key, left),
        };
        own.recipients = own.recipients + left as usize - before.unwrap_or(0) as usize;
        if left == 0 && !are_found {
            self.ended.push((name, key));
        } else if own.messages.is_empty() {
            self.accounts.remove(account);
        }
    }

    /// A stored message was found: what is known of it already is newer.
    pub(super) fn found(&mut self, account: &str, key: Key, left: u32) {
        let own = self.accounts.get(account);
        if own.is_none_or(|own| !own.messages.contains_key(&key)) {
            self.set(account, key, left, left > 0);
        }
    }

    /// All stored messages are known now.
    pub(super) fn all_found(&mut self) {
        for (account, key) in std::mem::take(&mut self.ended) {
            self.set(&account, key, 0, true);
        }
    }

    /// Recipients of an account that are left.
    pub(super) fn recipients(&self, account: &str) -> usize {
        self.accounts.get(account).map_or(0, |own| own.recipients)
    }

    /// Those of them in a shard.
    pub(super) fn recipients_in(&self, account: &str, shard: u16) -> u64 {
        let own = self.accounts.get(account);
        let left = own.map(|own| own.messages.range((shard, 0)..=(shard, u64::MAX)));
        left.into_iter()
            .flatten()
            .map(|(_, left)| u64::from(*left))
            .sum()
    }

    /// Messages of an account in a shard, from one on, at most so many.
    pub(super) fn messages(
        &self,
        account: &str,
        shard: u16,
        from: BodyId,
        most: usize,
    ) -> Vec<BodyId> {
        let own = self.accounts.get(account);
        let messages = own.map(|own| own.messages.range((shard, from.0)..=(shard, u64::MAX)));
        let messages = messages
            .into_iter()
            .flatten()
            .filter(|(_, left)| **left > 0);
        messages.take(most).map(|(key, _)| BodyId(key.1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: &ByAccount, account: &str, shard: u16, from: u64) -> Vec<u64> {
        let found = own.messages(account, shard, BodyId(from), 2);
        found.into_iter().map(|body| body.0).collect()
    }

    #[test]
    fn each_account_has_its_own_until_they_end() {
        let mut own = ByAccount::default();
        for (account, key, left) in [
            ("anna", (0, 5), 3),
            ("anna", (0, 7), 1),
            ("anna", (0, 9), 1),
            ("anna", (1, 2), 10),
            ("ben", (0, 6), 2),
            ("", (0, 8), 2),
        ] {
            own.set(account, key, left, true);
        }
        assert_eq!((own.recipients("anna"), own.recipients("ben")), (15, 2));
        assert_eq!(own.recipients(""), 0);
        assert_eq!(
            (own.recipients_in("anna", 0), own.recipients_in("anna", 1)),
            (5, 10)
        );
        assert_eq!(of(&own, "anna", 0, 0), [5, 7]);
        assert_eq!(of(&own, "anna", 0, 8), [9]);
        assert_eq!(of(&own, "anna", 1, 0), [2]);
        own.set("anna", (0, 5), 1, true);
        own.set("ben", (0, 6), 0, true);
        own.set("ben", (0, 6), 0, true);
        assert_eq!((own.recipients("anna"), own.recipients("ben")), (13, 0));
        assert!(of(&own, "ben", 0, 0).is_empty());
        // Nothing is kept of who has nothing.
        assert_eq!(own.accounts.len(), 1);
    }

    #[test]
    fn what_ended_while_others_were_found_does_not_come_back() {
        let mut own = ByAccount::default();
        own.set("anna", (0, 5), 0, false);
        own.set("anna", (0, 7), 2, false);
        own.found("anna", (0, 5), 1);
        own.found("anna", (0, 7), 3);
        own.found("anna", (0, 9), 4);
        own.found("anna", (0, 11), 0);
        assert_eq!(own.recipients("anna"), 6);
        assert_eq!(of(&own, "anna", 0, 0), [7, 9]);
        own.all_found();
        assert_eq!(of(&own, "anna", 0, 0), [7, 9]);
        own.set("anna", (0, 7), 0, true);
        own.set("anna", (0, 9), 0, true);
        assert!(own.accounts.is_empty() && own.ended.is_empty());
    }
}
