//! Which bodies of removed messages may go: none that a session can still see, be it as this message or as another one with the same body
//! (one that was moved, or a copy).
//!
//! Each removal holds its message's body from its planning until no session sees the message any more. An erase row waits while one of
//! its bodies is held. Every step looks at one body, or once at the bodies of one row: a removal of very many messages must not cost a
//! look at all of them for each slice of it. Not here: carrying a row out (`expunge.rs`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use shards::segments::BodyId;

use super::rows::EraseRow;

/// The erase rows of an account, and what they wait for.
#[derive(Default)]
pub(super) struct Burials {
    rows: HashMap<u64, Rc<EraseRow>>,
    /// How many removed messages hold a body. Not hashed: a table of very many, when it is full, is moved in one go.
    held: BTreeMap<BodyId, u32>,
    /// Rows that look again once this body is free.
    waiting: HashMap<BodyId, Vec<u64>>,
    /// Rows whose bodies are free, and which nobody carries out yet.
    ready: BTreeSet<u64>,
    /// Rows that could not be carried out.
    failed: Vec<u64>,
    /// A task carries rows out, one after the other.
    pub under_way: bool,
}

impl Burials {
    /// The removal of a message with this body is planned.
    pub fn hold(&mut self, body: BodyId) {
        *self.held.entry(body).or_default() += 1;
    }

    /// No session sees a removed message with this body any more.
    pub fn release(&mut self, body: BodyId) {
        let Some(count) = self.held.get_mut(&body) else {
            debug_assert!(false, "{body:?} is released and was not held");
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.held.remove(&body);
            for number in self.waiting.remove(&body).unwrap_or_default() {
                if self.is_free(number) {
                    self.ready.insert(number);
                }
            }
        }
    }

    /// Whether a removed message that some session may still see has this body.
    pub fn is_held(&self, body: BodyId) -> bool {
        self.held.contains_key(&body)
    }

    /// An erase row became durable. Those that failed are tried again with it.
    pub fn add(&mut self, number: u64, row: EraseRow) {
        self.rows.insert(number, Rc::new(row));
        if self.is_free(number) {
            self.ready.insert(number);
        }
        self.ready.extend(self.failed.drain(..));
    }

    /// Whether all bodies of a row are free. If not, it will be ready when they are.
    pub fn is_free(&mut self, number: u64) -> bool {
        let Some(row) = self.rows.get(&number) else {
            return false;
        };
        // The last first: sessions are told of removals in the order they were made, so it is free when the others are.
        let mut bodies = row.bodies.iter().rev().map(|(body, ..)| BodyId(*body));
        match bodies.find(|body| self.held.contains_key(body)) {
            Some(body) => {
                self.waiting.entry(body).or_default().push(number);
                false
            }
            None => true,
        }
    }

    /// A row to carry out now; each is given once.
    pub fn next_ready(&mut self) -> Option<u64> {
        self.ready.pop_first()
    }

    /// Whether there is one.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A row that was taken could not be carried out.
    pub fn failed(&mut self, number: u64) {
        self.failed.push(number);
    }

    /// A row that has not been carried out.
    pub fn row(&self, number: u64) -> Option<Rc<EraseRow>> {
        self.rows.get(&number).cloned()
    }

    /// A row was carried out, durably.
    pub fn buried(&mut self, number: u64) {
        self.rows.remove(&number);
    }

    /// Whether no row is left.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many removals hold a body.
    pub fn holds(&self) -> usize {
        self.held.values().map(|count| *count as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bodies: &[u64]) -> EraseRow {
        EraseRow {
            bodies: bodies.iter().map(|body| (*body, 1, true)).collect(),
        }
    }

    fn ready(burials: &mut Burials) -> Vec<u64> {
        std::iter::from_fn(|| burials.next_ready()).collect()
    }

    #[test]
    fn a_row_waits_until_the_last_of_its_bodies_is_free() {
        let mut burials = Burials::default();
        (1..=3).for_each(|body| burials.hold(BodyId(body)));
        burials.add(7, row(&[1, 2, 3]));
        for body in [3, 1] {
            burials.release(BodyId(body));
            assert!(ready(&mut burials).is_empty());
        }
        burials.release(BodyId(2));
        assert_eq!(ready(&mut burials), [7]);
        assert!(ready(&mut burials).is_empty());
        burials.buried(7);
        assert!(burials.is_empty() && burials.holds() == 0);
    }

    #[test]
    fn a_body_is_free_when_all_messages_that_had_it_are_out_of_sight() {
        let mut burials = Burials::default();
        burials.hold(BodyId(1));
        burials.hold(BodyId(1));
        burials.add(7, row(&[1]));
        burials.add(8, row(&[1, 2]));
        burials.release(BodyId(1));
        assert!(ready(&mut burials).is_empty());
        burials.release(BodyId(1));
        assert_eq!(ready(&mut burials), [7, 8]);
    }

    #[test]
    fn a_row_waits_again_if_a_body_is_held_while_it_is_carried_out() {
        let mut burials = Burials::default();
        burials.add(7, row(&[1, 2]));
        assert_eq!(ready(&mut burials), [7]);
        burials.hold(BodyId(1));
        assert!(!burials.is_free(7));
        burials.release(BodyId(1));
        assert_eq!(ready(&mut burials), [7]);
        assert!(burials.is_free(7));
    }

    #[test]
    fn a_row_that_failed_is_tried_again_with_the_next() {
        let mut burials = Burials::default();
        burials.add(7, row(&[1]));
        assert_eq!(ready(&mut burials), [7]);
        burials.failed(7);
        burials.hold(BodyId(3));
        burials.release(BodyId(3));
        assert!(ready(&mut burials).is_empty());
        burials.add(8, row(&[2]));
        assert_eq!(ready(&mut burials), [7, 8]);
    }
}
