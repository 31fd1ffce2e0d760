//! Recipients whose time was changed by hand: an entry that stood in line for them before says nothing any more. It is passed over when it is
//! taken, and all such go when they are many; so what operators do takes no more memory than the queue does. Pure.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::waiting::{Entry, Waiting};

/// A recipient: shard, body, position.
pub type Key = (u16, u64, u32);

/// Which entries still count.
#[derive(Default)]
pub struct Moved {
    known: Known,
    /// While a sweep is under way: what was known when it began, and was not changed since. That is forgotten with its end.
    swept: Known,
}

#[derive(Default)]
struct Known {
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
    /// The sweep has found one that fits: others are the same once more.
    is_found: bool,
}

impl Known {
    /// One that says nothing any more is out of line.
    fn is_out(&mut self, key: Key) {
        if let Slot::Occupied(mut slot) = self.now.entry(key) {
            let now = slot.get_mut();
            now.stale = now.stale.saturating_sub(1);
            if now.stale == 0 {
                slot.remove();
            }
            self.stale = self.stale.saturating_sub(1);
        }
    }
}

impl Moved {
    /// A recipient that stands in line is due at another time; none: it is over.
    pub fn set(&mut self, key: Key, due: Option<u32>) {
        self.is_changed(key);
        let now = self.known.now.entry(key).or_default();
        now.due = due;
        now.stale += 1;
        self.known.stale += 1;
    }

    /// A recipient that was taken stands in line again.
    pub fn again(&mut self, key: Key, due: u32) {
        self.is_changed(key);
        if let Slot::Occupied(mut slot) = self.known.now.entry(key) {
            slot.get_mut().due = Some(due);
        }
    }

    /// Whether an entry that was taken says nothing any more. It is counted out then. Of a few that a sweep has passed over it is not known: their rows say so.
    pub fn passes(&mut self, entry: &Entry) -> bool {
        let key = entry.key();
        for known in [&mut self.known, &mut self.swept] {
            if let Some(now) = known.now.get(&key) {
                let passes = now.due != Some(entry.due());
                if passes {
                    known.is_out(key);
                }
                return passes;
            }
        }
        false
    }

    /// Entries in line that say nothing any more, about.
    pub fn stale(&self) -> usize {
        self.known.stale + self.swept.stale
    }

    /// Whether they are many.
    pub fn is_to_be_swept(&self, waiting: &Waiting) -> bool {
        self.stale() > STALE_MIN && self.stale() > waiting.count() / 2
    }

    /// Takes them out of line, a slice at a time; false: that was the last one.
    pub fn sweep(&mut self, waiting: &mut Waiting) -> bool {
        if !waiting.is_swept() {
            self.swept = std::mem::take(&mut self.known);
        }
        let goes_on = waiting.sweep(|entry| self.is_kept(entry));
        if !goes_on {
            self.swept = Known::default();
        }
        goes_on
    }

    fn is_kept(&mut self, entry: &Entry) -> bool {
        let key = entry.key();
        let Some(now) = self.swept.now.get_mut(&key) else {
            return !self.passes(entry);
        };
        let is_it = now.due == Some(entry.due()) && !now.is_found;
        now.is_found |= is_it;
        if !is_it {
            self.swept.is_out(key);
        }
        is_it
    }

    /// What a sweep knows of a recipient does not hold for its next entry.
    fn is_changed(&mut self, key: Key) {
        if let Some(now) = self.swept.now.remove(&key) {
            self.swept.stale = self.swept.stale.saturating_sub(now.stale as usize);
            self.known.stale += now.stale as usize;
            let is_found = false;
            self.known.now.insert(key, Now { is_found, ..now });
        }
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
        assert_eq!((moved.stale(), moved.known.now.len()), (0, 0));
        // It was tried, and stands in line again.
        add(&mut waiting, 1, 300);
        moved.again((1, 1, 0), 300);
        waiting.advance(300);
        let entry = take(&mut waiting).unwrap();
        assert!(!moved.passes(&entry));
    }

    #[test]
    fn nobody_is_lost_who_is_changed_or_taken_during_a_sweep() {
        const COUNT: u64 = 10_000;
        let (mut waiting, mut moved) = (Waiting::default(), Moved::default());
        let mut due: Vec<u32> = vec![100; COUNT as usize];
        (0..COUNT).for_each(|body| add(&mut waiting, body, 100));
        let mut random = 1u64;
        let mut below = |most: u64| {
            random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            (random >> 33) % most
        };
        let (mut slices, mut sweeps) = (0, 0);
        for round in 0..200_000 {
            let body = below(COUNT);
            let next = 50 + below(3) as u32 * 50;
            if next != due[body as usize] {
                due[body as usize] = next;
                add(&mut waiting, body, next.into());
                moved.again((1, body, 0), next);
                moved.set((1, body, 0), Some(next));
            }
            if round % 16 == 0 {
                waiting.advance(100);
                let taken = take(&mut waiting).filter(|entry| !moved.passes(entry));
                // Tried, if its row says so, and in line again.
                if let Some(entry) = taken
                    && due[entry.body as usize] <= 100
                {
                    due[entry.body as usize] = 150;
                    moved.again(entry.key(), 150);
                    add(&mut waiting, entry.body, 150);
                }
            }
            if round % 64 == 0 && (waiting.is_swept() || moved.is_to_be_swept(&waiting)) {
                slices += 1;
                sweeps += usize::from(!moved.sweep(&mut waiting));
            }
        }
        assert!(sweeps > 5 && slices > 4 * sweeps, "{slices} {sweeps}");
        while moved.sweep(&mut waiting) {}
        while waiting.next_due().is_some() {
            waiting.advance(1_000);
        }
        let mut left = Vec::new();
        while let Some(entry) = take(&mut waiting) {
            if !moved.passes(&entry) {
                left.push((entry.body, entry.due()));
            }
        }
        left.sort_unstable();
        left.dedup();
        let valid = (0..COUNT).zip(due);
        let mut others = left.len();
        for valid in valid {
            assert!(left.binary_search(&valid).is_ok(), "{valid:?}");
            others -= 1;
        }
        // Passed over by a sweep.
        assert!(others < slices, "{others} {slices}");
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
                while moved.is_to_be_swept(&waiting) || waiting.is_swept() {
                    moved.sweep(&mut waiting);
                }
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
