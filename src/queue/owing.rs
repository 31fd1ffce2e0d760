//! Messages whose senders have still to be told something, and whose they are: one is told at a time for each account, so that whoever can't be told now, or
//! slowly, holds up nobody else; and not too many of one shard, which may be slow for all of its accounts. Who could not be told rests with all that he is owed until [`Owing::again`]; then what comes behind the message that failed is
//! first. Pure. Not here: telling (`outbound::tellers`, `outbound::notice`).

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::rc::Rc;

/// A message: its shard, and its body's number.
type Key = (u16, u64);

/// Those of a core.
#[derive(Default)]
pub(super) struct Owing {
    accounts: HashMap<Rc<str>, Own>,
    /// Accounts whom nobody tells, in turn; those that rest since are passed over.
    turns: VecDeque<Rc<str>>,
    shards: HashMap<u16, OfShard>,
    told: usize,
    resting: usize,
}

/// Accounts of a shard.
#[derive(Default)]
struct OfShard {
    told: usize,
    /// Those whose turn came when as many were told as may be at once.
    waiting: VecDeque<Rc<str>>,
}

#[derive(Default)]
struct Own {
    now: BTreeSet<Key>,
    /// Those that wait for [`Owing::again`].
    later: BTreeSet<Key>,
    /// The one that was taken last.
    last: Option<Key>,
    is_told: bool,
    /// It is in `turns`, or waits for its shard.
    has_turn: bool,
    /// The shard that it was taken for.
    shard: u16,
}

impl Owing {
    /// A message has something to be told.
    pub fn add(&mut self, account: &str, key: Key) {
        let name = self.name(account);
        let own = self.accounts.entry(name.clone()).or_default();
        own.now.insert(key);
        own.stand(&name, &mut self.turns);
    }

    /// A message could not be told of: its account rests.
    pub fn rest(&mut self, account: &str, key: Key) {
        let name = self.name(account);
        let own = self.accounts.entry(name).or_default();
        self.resting += usize::from(own.later.is_empty());
        let now = std::mem::take(&mut own.now);
        join(&mut own.later, now);
        own.later.insert(key);
    }

    /// Whether a message waits for [`Owing::again`].
    pub fn rests(&self, account: &str, key: Key) -> bool {
        let own = self.accounts.get(account);
        own.is_some_and(|own| own.later.contains(&key))
    }

    /// Whether any does.
    pub fn is_any_resting(&self) -> bool {
        self.resting > 0
    }

    /// All that rest have their turn again.
    pub fn again(&mut self) {
        self.resting = 0;
        for (name, own) in &mut self.accounts {
            let later = std::mem::take(&mut own.later);
            join(&mut own.now, later);
            own.stand(name, &mut self.turns);
        }
    }

    /// The next account's next message: nobody else gets one of it until [`Owing::is_over`], and of accounts of one shard there are so many at most.
    pub fn take(
        &mut self,
        most_of_shard: usize,
        shard_of: impl Fn(&str, Key) -> u16,
    ) -> Option<(Rc<str>, Key)> {
        while let Some(name) = self.turns.pop_front() {
            let Some(own) = self.accounts.get_mut(&name) else {
                continue;
            };
            let Some(first) = own.now.first() else {
                own.has_turn = false;
                // If it has waited for its shard, the next one that does has its turn.
                let waiting = self.shards.get_mut(&own.shard).map(|s| &mut s.waiting);
                if let Some(next) = waiting.and_then(VecDeque::pop_front) {
                    self.turns.push_front(next);
                }
                continue;
            };
            own.shard = shard_of(&name, *first);
            let of_shard = self.shards.entry(own.shard).or_default();
            if of_shard.told >= most_of_shard {
                of_shard.waiting.push_back(name);
                continue;
            }
            own.has_turn = false;
            if let Some(key) = own.next() {
                own.is_told = true;
                of_shard.told += 1;
                self.told += 1;
                return Some((name, key));
            }
        }
        None
    }

    /// Nobody tells an account any more.
    pub fn is_over(&mut self, account: &Rc<str>) {
        self.told -= 1;
        let Some(own) = self.accounts.get_mut(account) else {
            return;
        };
        own.is_told = false;
        if let Entry::Occupied(mut slot) = self.shards.entry(own.shard) {
            let of_shard = slot.get_mut();
            of_shard.told -= 1;
            if let Some(next) = of_shard.waiting.pop_front() {
                self.turns.push_front(next);
            } else if of_shard.told == 0 {
                slot.remove();
            }
        }
        own.stand(account, &mut self.turns);
        if own.now.is_empty() && own.later.is_empty() {
            self.accounts.remove(account);
        }
    }

    /// Accounts that are being told something.
    pub fn told(&self) -> usize {
        self.told
    }

    fn name(&self, account: &str) -> Rc<str> {
        let known = self.accounts.get_key_value(account);
        known.map_or_else(|| account.into(), |(name, _)| name.clone())
    }
}

impl Own {
    /// Comes in turn, if there is something to be told, and nobody is at it.
    fn stand(&mut self, name: &Rc<str>, turns: &mut VecDeque<Rc<str>>) {
        if !self.now.is_empty() && !self.is_told && !self.has_turn {
            self.has_turn = true;
            turns.push_back(name.clone());
        }
    }

    fn next(&mut self) -> Option<Key> {
        let behind = |last| self.now.range((Bound::Excluded(last), Bound::Unbounded));
        let behind = self.last.and_then(|last| behind(last).next().copied());
        let key = behind.or_else(|| self.now.first().copied())?;
        self.now.remove(&key);
        self.last = Some(key);
        Some(key)
    }
}

/// All in one, in as many steps as the smaller one has.
fn join(all: &mut BTreeSet<Key>, mut more: BTreeSet<Key>) {
    if all.len() < more.len() {
        std::mem::swap(all, &mut more);
    }
    all.extend(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(owing: &mut Owing) -> Option<(Rc<str>, Key)> {
        owing.take(9, |_, _| 0)
    }

    fn taken(owing: &mut Owing) -> Vec<(String, u64)> {
        let taken = std::iter::from_fn(|| take(owing));
        taken
            .map(|(name, (_, body))| (name.to_string(), body))
            .collect()
    }

    #[test]
    fn each_account_has_one_at_a_time_in_turn() {
        let mut owing = Owing::default();
        for (account, body) in [("a", 1), ("a", 2), ("a", 2), ("b", 3), ("a", 4)] {
            owing.add(account, (0, body));
        }
        assert_eq!(taken(&mut owing), [("a".into(), 1), ("b".into(), 3)]);
        assert_eq!(owing.told(), 2);
        owing.is_over(&"b".into());
        owing.add("c", (0, 5));
        owing.is_over(&"a".into());
        assert_eq!(taken(&mut owing), [("c".into(), 5), ("a".into(), 2)]);
        // One that is told meanwhile comes once more.
        owing.add("a", (0, 2));
        owing.is_over(&"a".into());
        owing.is_over(&"c".into());
        assert_eq!(taken(&mut owing), [("a".into(), 4)]);
        owing.is_over(&"a".into());
        assert_eq!(taken(&mut owing), [("a".into(), 2)]);
        owing.is_over(&"a".into());
        assert!(owing.accounts.is_empty() && owing.turns.is_empty() && owing.told() == 0);
    }

    #[test]
    fn an_account_that_could_not_be_told_rests_and_one_message_starves_no_other() {
        let mut owing = Owing::default();
        for body in 1..=4 {
            owing.add("a", (0, body));
        }
        owing.add("b", (0, 9));
        // The second one fails whenever it is tried.
        let mut tried = Vec::new();
        while tried.len() < 8 {
            while let Some((name, key)) = take(&mut owing) {
                tried.push(key.1);
                if key.1 == 2 {
                    owing.rest(&name, key);
                    owing.rest(&name, key);
                }
                owing.is_over(&name);
            }
            assert!(owing.is_any_resting() && owing.rests("a", (0, 2)));
            assert!(!owing.rests("a", (0, 1)) && !owing.rests("b", (0, 9)));
            owing.again();
            assert!(!owing.is_any_resting() && !owing.rests("a", (0, 2)));
        }
        assert_eq!(tried, [1, 9, 2, 3, 4, 2, 2, 2]);
    }

    #[test]
    fn accounts_of_one_shard_leave_room_for_others() {
        let mut owing = Owing::default();
        for account in ["a1", "a2", "a3", "a4", "b1", "a5"] {
            owing.add(account, (0, 1));
        }
        let shard_of = |name: &str, _| u16::from(name.as_bytes()[0]);
        let taken = |owing: &mut Owing| {
            let taken = std::iter::from_fn(|| owing.take(2, shard_of));
            taken.map(|(name, _)| name).collect::<Vec<_>>()
        };
        let first = taken(&mut owing);
        assert_eq!(first, ["a1", "a2", "b1"].map(Rc::from));
        // In their order, each once one of their shard is over.
        owing.add("b1", (0, 2));
        owing.is_over(&first[2]);
        assert_eq!(taken(&mut owing), ["b1".into()]);
        owing.is_over(&first[1]);
        assert_eq!(taken(&mut owing), ["a3".into()]);
        owing.add("a6", (0, 1));
        for (over, next) in [("a1", &["a4"][..]), ("a3", &["a5"]), ("a4", &["a6"])] {
            owing.is_over(&over.into());
            let next: Vec<Rc<str>> = next.iter().map(|name| (*name).into()).collect();
            assert_eq!(taken(&mut owing), next);
        }
        // One that rests meanwhile takes the turn of nobody.
        for account in ["a7", "a8"] {
            owing.add(account, (0, 1));
        }
        assert_eq!(taken(&mut owing), []);
        owing.rest("a7", (0, 1));
        owing.is_over(&"a5".into());
        assert_eq!(taken(&mut owing), ["a8".into()]);
        owing.again();
        owing.is_over(&"a6".into());
        assert_eq!(taken(&mut owing), ["a7".into()]);
        for last in ["a7", "a8", "b1"] {
            owing.is_over(&last.into());
            assert_eq!(taken(&mut owing), []);
        }
        assert!(owing.accounts.is_empty() && owing.shards.is_empty() && owing.told() == 0);
    }

    #[test]
    fn what_fails_beside_the_turns_rests_too() {
        let mut owing = Owing::default();
        owing.add("a", (0, 1));
        owing.rest("a", (0, 7));
        assert_eq!((take(&mut owing), owing.told()), (None, 0));
        assert!(owing.rests("a", (0, 1)) && owing.rests("a", (0, 7)));
        // What comes new has its turn.
        owing.add("a", (0, 8));
        let (name, key) = take(&mut owing).unwrap();
        assert_eq!(key, (0, 8));
        owing.again();
        assert_eq!(take(&mut owing), None);
        owing.is_over(&name);
        assert_eq!(taken(&mut owing), [("a".into(), 1)]);
    }
}
