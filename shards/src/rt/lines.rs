//! Who waits for something heavy on one executor: in a line for each of those for whom it is done (accounts, networks), served in turn, so that the many
//! of one are ahead of nobody else's. Not here: anything between cores.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::rc::Rc;

use futures_channel::oneshot;

/// The lines.
pub struct Lines<K: Clone + Eq + Hash> {
    taken: Cell<usize>,
    waiting: RefCell<Waiting<K>>,
}

struct Waiting<K: Clone + Eq + Hash> {
    /// None of them is empty.
    lines: HashMap<K, VecDeque<oneshot::Sender<Place<K>>>>,
    /// Those who have a line, in the order of their turns.
    order: VecDeque<K>,
    /// In all lines, those that gave up since included.
    count: usize,
}

/// The right to be at it; dropped, it goes to the first of the next line.
pub struct Place<K: Clone + Eq + Hash>(Rc<Lines<K>>);

impl<K: Clone + Eq + Hash> Default for Lines<K> {
    fn default() -> Self {
        Lines {
            taken: Cell::new(0),
            waiting: RefCell::new(Waiting {
                lines: HashMap::new(),
                order: VecDeque::new(),
                count: 0,
            }),
        }
    }
}

impl<K: Clone + Eq + Hash> Lines<K> {
    /// Waits until fewer than `most` are at it and it is this one's turn. Who waits no longer gives the place up by dropping this.
    pub async fn take(self: &Rc<Self>, key: &K, most: usize) -> Place<K> {
        if self.taken.get() < most.max(1) {
            self.taken.set(self.taken.get() + 1);
            return Place(self.clone());
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push(key.clone(), sender);
        let place = receiver.await;
        place.expect("a sender in a line is dropped only after it has sent")
    }

    /// Whether fewer than `each_max` wait in this one's line, and fewer than `all_max` in all.
    pub fn has_room(&self, key: &K, each_max: usize, all_max: usize) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.has_room(key, each_max, all_max) {
            return true;
        }
        waiting.forget_gone();
        waiting.has_room(key, each_max, all_max)
    }
}

impl<K: Clone + Eq + Hash> Waiting<K> {
    fn push(&mut self, key: K, sender: oneshot::Sender<Place<K>>) {
        let line = self.lines.entry(key.clone()).or_default();
        if line.is_empty() {
            self.order.push_back(key);
        }
        line.push_back(sender);
        self.count += 1;
    }

    fn next(&mut self) -> Option<oneshot::Sender<Place<K>>> {
        while let Some(key) = self.order.pop_front() {
            let line = self.lines.get_mut(&key)?;
            let before = line.len();
            // Those that gave up are passed over.
            let next = std::iter::from_fn(|| line.pop_front()).find(|s| !s.is_canceled());
            self.count -= before - line.len();
            if line.is_empty() {
                self.lines.remove(&key);
            } else {
                self.order.push_back(key);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    fn has_room(&self, key: &K, each_max: usize, all_max: usize) -> bool {
        let own = self.lines.get(key).map_or(0, VecDeque::len);
        own < each_max && self.count < all_max
    }

    fn forget_gone(&mut self) {
        self.lines.retain(|_, line| {
            line.retain(|sender| !sender.is_canceled());
            !line.is_empty()
        });
        let lines = &self.lines;
        self.order.retain(|key| lines.contains_key(key));
        self.count = lines.values().map(VecDeque::len).sum();
    }
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let next = self.0.waiting.borrow_mut().next();
        match next {
            // A waiter that ends before it looks drops the place it was sent, and so hands it on.
            Some(next) => drop(next.send(Place(self.0.clone()))),
            None => self.0.taken.set(self.0.taken.get() - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::poll_once;

    #[test]
    fn they_take_turns_and_who_gives_up_is_passed_over() {
        super::super::block_on(async {
            let lines = Rc::new(Lines::default());
            let first = lines.take(&"many", 1).await;
            let mut second = Box::pin(lines.take(&"many", 1));
            let mut gone = Box::pin(lines.take(&"many", 1));
            let mut last = Box::pin(lines.take(&"many", 1));
            let mut other = Box::pin(lines.take(&"one", 1));
            for waiting in [&mut second, &mut gone, &mut last, &mut other] {
                assert!(poll_once(waiting).await.is_none());
            }
            drop(gone);
            drop(first);
            let place = poll_once(&mut second).await.expect("the first in line");
            assert!(poll_once(&mut other).await.is_none());
            drop(place);
            let place = poll_once(&mut other).await;
            let place = place.expect("another's line, though it came later");
            assert!(poll_once(&mut last).await.is_none());
            drop(place);
            drop(poll_once(&mut last).await.expect("the last"));
            assert_eq!(lines.taken.get(), 0);
            let waiting = lines.waiting.borrow();
            assert!(waiting.lines.is_empty());
            assert_eq!(waiting.count, 0);
        })
        .unwrap();
    }

    #[test]
    fn lines_are_full_each_and_together_and_who_gave_up_is_not_counted() {
        super::super::block_on(async {
            let lines = Rc::new(Lines::default());
            let at_it = lines.take(&"a", 1).await;
            let mut waiting = Vec::new();
            for key in [&"a", &"a", &"b"] {
                let mut place = Box::pin(lines.take(key, 1));
                assert!(poll_once(&mut place).await.is_none());
                waiting.push(place);
            }
            assert!(!lines.has_room(&"a", 2, 100));
            assert!(lines.has_room(&"b", 2, 100));
            assert!(lines.has_room(&"c", 2, 4));
            assert!(!lines.has_room(&"c", 2, 3));
            drop(waiting.remove(2));
            assert!(lines.has_room(&"c", 2, 3));
            drop(waiting.remove(0));
            assert!(lines.has_room(&"a", 2, 2));
            // The turn of those who are left is one turn.
            drop(at_it);
            let place = poll_once(&mut waiting[0])
                .await
                .expect("the one that is left");
            drop(place);
            assert_eq!(lines.taken.get(), 0);
            assert!(lines.waiting.borrow().order.is_empty());
        })
        .unwrap();
    }
}
