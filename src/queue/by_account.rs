//! Which messages of a core's queue are whose, how large they are, and how many of their recipients still wait: in memory, beside the lines. So an account finds its own without
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
    messages: BTreeMap<Key, Left>,
    recipients: usize,
    octets: u64,
}

/// What is left of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub recipients: u32,
    /// Of its content, which is stored once, as long as a recipient is left.
    pub octets: u64,
}

impl Left {
    pub fn new(recipients: u32, octets: u64) -> Left {
        match recipients {
            0 => Left::default(),
            recipients => Left { recipients, octets },
        }
    }
}

impl ByAccount {
    /// So much of a message is left; with the last recipient it goes. `are_found`: all stored ones are known.
    pub(super) fn set(&mut self, account: &str, key: Key, left: Left, are_found: bool) {
        if account.is_empty() {
            return;
        }
        let name: Rc<str> = match self.accounts.get_key_value(account) {
            Some((name, _)) => name.clone(),
            None if left.recipients == 0 && are_found => return,
            None => account.into(),
        };
        let own = self.accounts.entry(name.clone()).or_default();
        let before = match left.recipients == 0 && are_found {
            true => own.messages.remove(&key),
            false => own.messages.insert(key, left),
        };
        let before = before.unwrap_or_default();
        own.recipients = own.recipients + left.recipients as usize - before.recipients as usize;
        own.octets = own.octets + left.octets - before.octets;
        if left.recipients == 0 && !are_found {
            self.ended.push((name, key));
        } else if own.messages.is_empty() {
            self.accounts.remove(account);
        }
    }

    /// A stored message was found: what is known of it already is newer.
    pub(super) fn found(&mut self, account: &str, key: Key, left: Left) {
        let own = self.accounts.get(account);
        if own.is_none_or(|own| !own.messages.contains_key(&key)) {
            self.set(account, key, left, left.recipients > 0);
        }
    }

    /// All stored messages are known now.
    pub(super) fn all_found(&mut self) {
        for (account, key) in std::mem::take(&mut self.ended) {
            self.set(&account, key, Left::default(), true);
        }
    }

    /// Recipients of an account that are left.
    pub(super) fn recipients(&self, account: &str) -> usize {
        self.accounts.get(account).map_or(0, |own| own.recipients)
    }

    /// Octets of the messages that they are of.
    pub(super) fn octets(&self, account: &str) -> u64 {
        self.accounts.get(account).map_or(0, |own| own.octets)
    }

    /// Those of them in a shard.
    pub(super) fn recipients_in(&self, account: &str, shard: u16) -> u64 {
        let own = self.accounts.get(account);
        let left = own.map(|own| own.messages.range((shard, 0)..=(shard, u64::MAX)));
        left.into_iter()
            .flatten()
            .map(|(_, left)| u64::from(left.recipients))
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
            .filter(|(_, left)| left.recipients > 0);
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
            own.set(account, key, Left::new(left, 10), true);
        }
        assert_eq!((own.recipients("anna"), own.recipients("ben")), (15, 2));
        assert_eq!((own.octets("anna"), own.octets("ben")), (40, 10));
        assert_eq!(own.recipients(""), 0);
        assert_eq!(
            (own.recipients_in("anna", 0), own.recipients_in("anna", 1)),
            (5, 10)
        );
        assert_eq!(of(&own, "anna", 0, 0), [5, 7]);
        assert_eq!(of(&own, "anna", 0, 8), [9]);
        assert_eq!(of(&own, "anna", 1, 0), [2]);
        own.set("anna", (0, 5), Left::new(1, 10), true);
        own.set("ben", (0, 6), Left::new(0, 10), true);
        own.set("ben", (0, 6), Left::new(0, 10), true);
        assert_eq!((own.recipients("anna"), own.recipients("ben")), (13, 0));
        assert_eq!((own.octets("anna"), own.octets("ben")), (40, 0));
        assert!(of(&own, "ben", 0, 0).is_empty());
        // Nothing is kept of who has nothing.
        assert_eq!(own.accounts.len(), 1);
    }

    #[test]
    fn what_ended_while_others_were_found_does_not_come_back() {
        let mut own = ByAccount::default();
        own.set("anna", (0, 5), Left::new(0, 10), false);
        own.set("anna", (0, 7), Left::new(2, 10), false);
        own.found("anna", (0, 5), Left::new(1, 10));
        own.found("anna", (0, 7), Left::new(3, 10));
        own.found("anna", (0, 9), Left::new(4, 10));
        own.found("anna", (0, 11), Left::new(0, 10));
        assert_eq!(own.recipients("anna"), 6);
        assert_eq!(of(&own, "anna", 0, 0), [7, 9]);
        own.all_found();
        assert_eq!(of(&own, "anna", 0, 0), [7, 9]);
        own.set("anna", (0, 7), Left::new(0, 10), true);
        own.set("anna", (0, 9), Left::new(0, 10), true);
        assert!(own.accounts.is_empty() && own.ended.is_empty());
    }
}
