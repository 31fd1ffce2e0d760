//! When endpoints are looked at next.

use std::collections::{BTreeSet, HashMap};

use super::dispatch::Key;

/// Endpoints by the time at which they are looked at.
#[derive(Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(i64, Key)>,
    by_key: HashMap<Key, i64>,
}

impl Timers {
    pub fn set(&mut self, key: &Key, at: i64) {
        self.remove(key);
        self.by_time.insert((at, key.clone()));
        self.by_key.insert(key.clone(), at);
    }

    /// Not later than then.
    pub fn set_earliest(&mut self, key: &Key, at: i64) {
        let before = self.by_key.get(key).copied();
        self.set(key, before.map_or(at, |before| before.min(at)));
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    pub fn first(&self) -> Option<i64> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub fn take_due(&mut self, now: i64) -> Option<Key> {
        let (at, key) = self.by_time.pop_first()?;
        if at > now {
            self.by_time.insert((at, key));
            return None;
        }
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_look_stays() {
        let mut timers = Timers::default();
        let key = |endpoint| ("anna".to_string(), endpoint);
        timers.set_earliest(&key(1), 20);
        timers.set_earliest(&key(1), 30);
        timers.set_earliest(&key(2), 25);
        timers.set_earliest(&key(2), 10);
        assert_eq!(timers.first(), Some(10));
        assert_eq!(timers.take_due(9), None);
        assert_eq!(timers.take_due(20), Some(key(2)));
        assert_eq!(timers.take_due(20), Some(key(1)));
        timers.set(&key(1), 5);
        timers.set(&key(1), 40);
        timers.remove(&key(2));
        assert_eq!((timers.first(), timers.take_due(39)), (Some(40), None));
    }
}
