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
