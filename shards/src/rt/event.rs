//! A flag on one executor that tasks can wait for. Not here: anything between cores (`lanes`).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// A count of happenings; a waiter is woken when it has grown past what the waiter has seen.
#[derive(Default)]
pub struct Event {
    count: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl Event {
    /// Nothing has happened yet.
    pub fn new() -> Event {
        Event::default()
    }

    /// How often it happened.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// It happened: wakes all who wait.
    pub fn notify(&self) {
        self.count.set(self.count.get() + 1);
        for waker in self.wakers.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    /// Waits until it has happened more than `seen` times; answers the new count.
    pub async fn wait(&self, seen: u64) -> u64 {
        poll_fn(|cx| {
            if self.count.get() > seen {
                return Poll::Ready(self.count.get());
            }
            let mut wakers = self.wakers.borrow_mut();
            // A task that polls again replaces its own entry, so the list is bounded by the number of tasks.
            if !wakers.iter().any(|w| w.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}
