//! Recipients whose time was changed by hand: an entry that stood in line for them before says nothing any more. It is passed over when it is
//! taken, and all such go at once when they are many; so what operators do takes no more memory than the queue does. Pure.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::waiting::{Entry, Waiting};

/// A recipient: shard, body, position.
pub type Key = (u16, u64, u32);

/// Which entries still count.
#[derive(Default)]
pub struct Moved {
    now: HashMap<Key, Now>,
    /// Entries that say nothing any more, about.
    stale: usize,
}

/// Of a recipient.
#[derive(Clone, Copy, Default)]
struct Now {
    /// When it is due now; none: never, it is over.
    due: Option<u32>,
    /// Its entries that say nothing any more. Once these were taken, nothing has to be known of it.
    stale: u32,
}

impl Moved {
    /// A recipient that stands in line is due at another time; none: it is over.
    pub fn set(&mut self, key: Key, due: Option<u32>) {
        let now = self.now.entry(key).or_default();
        now.due = due;
        now.stale += 1;
        self.stale += 1;
    }

    /// A recipient that was taken stands in line again.
    pub fn again(&mut self, key: Key, due: u32) {
        if let Slot::Occupied(mut slot) = self.now.entry(key) {
            slot.get_mut().due = Some(due);
        }
    }

    /// Whether an entry that was taken says nothing any more. It is counted out then.
    pub fn passes(&mut self, entry: &Entry) -> bool {
        let Slot::Occupied(mut slot) = self.now.entry(entry.key()) else {
            return false;
        };
        let now = slot.get_mut();
        if now.due == Some(entry.due()) {
            return false;
        }
        now.stale = now.stale.saturating_sub(1);
        if now.stale == 0 {
            slot.remove();
        }
        self.stale = self.stale.saturating_sub(1);
        true
    }

    /// Entries in line that say nothing any more, about.
    pub fn stale(&self) -> usize {
        self.stale
    }

    /// Takes them out of line if they are many.
    pub fn sweep(&mut self, waiting: &mut Waiting) {
        if self.stale <= STALE_MIN || self.stale <= waiting.count() / 2 {
            return;
        }
        waiting.retain(|entry| match self.now.entry(entry.key()) {
            // The first that fits stays, others are the same once more.
            Slot::Occupied(mut slot) if slot.get().due == Some(entry.due()) => {
                slot.get_mut().due = None;
                true
            }
            Slot::Occupied(_) => false,
            Slot::Vacant(_) => true,
        });
        *self = Moved::default();
    }
}

/// Fewer are left where they are.
const STALE_MIN: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::waiting::New;

    fn add(waiting: &mut Waiting, body: u64, due: i64) {
        let new = New {
            line: "one.example",
            account: "anna",
            shard: 1,
            body,
            index: 0,
            due,
            expires: 10_000,
            alone: false,
        };
        waiting.add(new, 0);
    }

    fn take(waiting: &mut Waiting) -> Option<Entry> {
        Some(waiting.take_line("one.example", 1)?[0])
    }

    #[test]
    fn an_entry_from_before_is_passed_over() {
        let (mut waiting, mut moved) = (Waiting::default(), Moved::default());
        add(&mut waiting, 1, 100);
        add(&mut waiting, 1, 50);
        moved.set((1, 1, 0), Some(50));
        add(&mut waiting, 2, 100);
        moved.set((1, 2, 0), None);
        add(&mut waiting, 3, 100);
        assert_eq!(moved.stale(), 2);
        waiting.advance(100);
        let mut taken = Vec::new();
        while let Some(entry) = take(&mut waiting) {
            taken.push((entry.body, moved.passes(&entry)));
        }
        taken.sort();
        assert_eq!(taken, [(1, false), (1, true), (2, true), (3, false)]);
        assert_eq!((moved.stale(), moved.now.len()), (0, 0));
        // It was tried, and stands in line again.
        add(&mut waiting, 1, 300);
        moved.again((1, 1, 0), 300);
        waiting.advance(300);
        let entry = take(&mut waiting).unwrap();
        assert!(!moved.passes(&entry));
    }

    #[test]
    fn changes_without_end_take_no_memory_without_end() {
        let (mut waiting, mut moved) = (Waiting::default(), Moved::default());
        for body in 0..1_000 {
            add(&mut waiting, body, 100);
        }
        for round in 1..100u32 {
            for body in 0..1_000 {
                // There and back: two entries for the same time are one too many.
                let due = 100 + (round % 3) * 1_000;
                add(&mut waiting, body, due.into());
                moved.set((1, body, 0), Some(due));
                moved.sweep(&mut waiting);
            }
            assert!(waiting.count() <= 5_000, "{}", waiting.count());
        }
        waiting.advance(10_000);
        let mut valid = Vec::new();
        while let Some(entry) = take(&mut waiting) {
            if !moved.passes(&entry) {
                valid.push((entry.body, entry.due()));
            }
        }
        valid.sort();
        valid.dedup();
        assert_eq!(
            valid,
            (0..1_000).map(|body| (body, 100)).collect::<Vec<_>>()
        );
    }
}
