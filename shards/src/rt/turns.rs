//! A bounded number of tasks of one executor at something heavy; the others wait in the order they came. Not here: anything
//! between cores.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_channel::oneshot;

/// Who is at it, and who waits. The number that wait is bounded by the tasks there are, and each waits with a deadline of its own.
#[derive(Default)]
pub struct Turns {
    taken: Cell<usize>,
    waiting: RefCell<VecDeque<oneshot::Sender<Turn>>>,
}

/// The right to be at it; dropped, it goes to the next in line.
pub struct Turn(Rc<Turns>);

impl Turns {
    /// Waits until fewer than `most` are at it.
    pub async fn take(self: &Rc<Self>, most: usize) -> Turn {
        if self.taken.get() < most.max(1) {
            self.taken.set(self.taken.get() + 1);
            return Turn(self.clone());
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back(sender);
        let turn = receiver.await;
        turn.expect("a sender in the line is dropped only after it has sent")
    }

    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut waiting = self.waiting.borrow_mut();
        // Those that gave up are passed over here, not by handing them the turn.
        while let Some(next) = waiting.pop_front() {
            if !next.is_canceled() {
                return Some(next);
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match self.0.next() {
            // A waiter that ends before it looks drops the turn it was sent, and so hands it on.
            Some(next) => drop(next.send(Turn(self.0.clone()))),
            None => self.0.taken.set(self.0.taken.get() - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rt;

    static ROOM: rt::Room = rt::Room::new("test");

    #[test]
    fn no_more_than_allowed_and_in_order() {
        rt::block_on(async {
            let turns = Rc::new(Turns::default());
            let (now, most, order) = (
                Rc::new(Cell::new(0)),
                Rc::new(Cell::new(0)),
                Rc::new(RefCell::new(Vec::new())),
            );
            for n in 0..10 {
                let (turns, now, most, order) =
                    (turns.clone(), now.clone(), most.clone(), order.clone());
                rt::spawn(&ROOM, async move {
                    let _turn = turns.take(2).await;
                    now.set(now.get() + 1);
                    most.set(most.get().max(now.get()));
                    order.borrow_mut().push(n);
                    rt::sleep(Duration::from_millis(1)).await;
                    now.set(now.get() - 1);
                });
            }
            while order.borrow().len() < 10 || now.get() > 0 {
                rt::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(*order.borrow(), (0..10).collect::<Vec<_>>());
            assert_eq!((most.get(), turns.taken.get()), (2, 0));
        })
        .unwrap();
    }

    #[test]
    fn who_gives_up_keeps_nobody_waiting() {
        rt::block_on(async {
            let turns = Rc::new(Turns::default());
            let first = turns.take(1).await;
            let short = Duration::from_millis(1);
            assert!(rt::timeout(short, turns.take(1)).await.is_err());
            // Sent its turn, but ended before it looked.
            let mut ended = Box::pin(turns.take(1));
            assert!(futures_lite::future::poll_once(&mut ended).await.is_none());
            drop(first);
            assert_eq!(turns.taken.get(), 1);
            drop(ended);
            assert_eq!(turns.taken.get(), 0);
            drop(turns.take(1).await);
        })
        .unwrap();
    }
}
