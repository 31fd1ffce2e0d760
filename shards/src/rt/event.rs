//! A flag on one executor that tasks can wait for. Not here: anything between cores (`lanes`).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// A count of happenings; a waiter is woken when it has grown past what the waiter has seen.
#[derive(Default)]
pub struct Event {
    count: Cell<u64>,
    waiting: RefCell<Waiting>,
}

/// A place for each waiter. It gives its place up when it ends, or ten thousand connections that come and go would each leave a
/// waker behind, and with it their task.
#[derive(Default)]
struct Waiting {
    places: Vec<Option<Waker>>,
    free: Vec<u32>,
}

struct Waiter<'a> {
    event: &'a Event,
    place: Option<u32>,
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
        for waker in self.waiting.borrow_mut().places.iter_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }

    /// Waits until it has happened more than `seen` times; answers the new count.
    pub async fn wait(&self, seen: u64) -> u64 {
        let mut waiter = Waiter {
            event: self,
            place: None,
        };
        poll_fn(|cx| waiter.poll(seen, cx)).await
    }

    #[cfg(test)]
    fn waiters(&self) -> usize {
        let waiting = self.waiting.borrow();
        waiting.places.len() - waiting.free.len()
    }
}

impl Waiter<'_> {
    fn poll(&mut self, seen: u64, cx: &mut Context<'_>) -> Poll<u64> {
        if self.event.count.get() > seen {
            return Poll::Ready(self.event.count.get());
        }
        let mut waiting = self.event.waiting.borrow_mut();
        let place = *self.place.get_or_insert_with(|| waiting.take_place());
        let waker = &mut waiting.places[place as usize];
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.event.waiting.borrow_mut().give_back(place);
        }
    }
}

impl Waiting {
    fn take_place(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as u32
        })
    }

    fn give_back(&mut self, place: u32) {
        self.places[place as usize] = None;
        self.free.push(place);
        if self.free.len() == self.places.len() {
            *self = Waiting::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::rt;

    static ROOM: rt::Room = rt::Room::new("test");

    #[test]
    fn all_waiters_are_woken_and_those_that_gave_up_leave_nothing() {
        rt::block_on(async {
            let event = Rc::new(Event::new());
            let woken = Rc::new(Cell::new(0));
            for _ in 0..3 {
                let (event, woken) = (event.clone(), woken.clone());
                rt::spawn(&ROOM, async move {
                    event.wait(0).await;
                    woken.set(woken.get() + 1);
                });
            }
            assert!(
                rt::timeout(Duration::from_millis(1), event.wait(0))
                    .await
                    .is_err()
            );
            assert_eq!(event.waiters(), 3);
            event.notify();
            rt::sleep(Duration::from_millis(1)).await;
            assert_eq!((woken.get(), event.waiters()), (3, 0));
            assert_eq!(event.wait(0).await, 1);
        })
        .unwrap();
    }
}
