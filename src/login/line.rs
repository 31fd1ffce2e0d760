//! Who waits for a password check on one core: in a line for each network, served in turn, so that the many of one network are ahead of
//! nobody else's.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use futures_channel::oneshot;

use super::limiter::Networks;

type Key = [u8; 16];

/// The lines.
#[derive(Default)]
pub(super) struct Lines {
    taken: Cell<usize>,
    waiting: RefCell<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// None of them is empty.
    lines: HashMap<Key, VecDeque<oneshot::Sender<Place>>>,
    /// Networks in the order of their turns.
    order: VecDeque<Key>,
}

/// The right to have a password checked; dropped, it goes to the next network.
pub(super) struct Place(Rc<Lines>);

impl Lines {
    /// Waits until fewer than `most` are at it and it is this network's turn. Who waits no longer gives the place up by dropping this.
    pub async fn take(self: &Rc<Self>, networks: &Networks, most: usize) -> Place {
        if self.taken.get() < most.max(1) {
            self.taken.set(self.taken.get() + 1);
            return Place(self.clone());
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push(networks.widest(), sender);
        let place = receiver.await;
        place.expect("a sender in a line is dropped only after it has sent")
    }
}

impl Waiting {
    fn push(&mut self, key: Key, sender: oneshot::Sender<Place>) {
        let line = self.lines.entry(key).or_default();
        if line.is_empty() {
            self.order.push_back(key);
        }
        line.push_back(sender);
    }

    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        while let Some(key) = self.order.pop_front() {
            let line = self.lines.get_mut(&key)?;
            // Those that gave up are passed over.
            let next = std::iter::from_fn(|| line.pop_front()).find(|s| !s.is_canceled());
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
}

impl Drop for Place {
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

    fn networks(text: &str) -> Networks {
        Networks::of(text.parse().unwrap())
    }

    #[test]
    fn networks_take_turns_and_who_gives_up_is_passed_over() {
        shards::rt::block_on(async {
            let lines = Rc::new(Lines::default());
            let (many, one) = (networks("192.0.2.1"), networks("198.51.100.1"));
            let first = lines.take(&many, 1).await;
            let mut second = Box::pin(lines.take(&many, 1));
            let mut gone = Box::pin(lines.take(&many, 1));
            let mut last = Box::pin(lines.take(&many, 1));
            let mut other = Box::pin(lines.take(&one, 1));
            for waiting in [&mut second, &mut gone, &mut last, &mut other] {
                assert!(poll_once(waiting).await.is_none());
            }
            drop(gone);
            drop(first);
            let place = poll_once(&mut second).await.expect("the first in line");
            assert!(poll_once(&mut other).await.is_none());
            drop(place);
            let place = poll_once(&mut other).await;
            let place = place.expect("another network, though it came later");
            assert!(poll_once(&mut last).await.is_none());
            drop(place);
            drop(poll_once(&mut last).await.expect("the last"));
            assert_eq!(lines.taken.get(), 0);
            assert!(lines.waiting.borrow().lines.is_empty());
        })
        .unwrap();
    }
}
