//! Memory that tasks of one executor share: each takes a share before it fills it, and waits its turn if there is too little. Not here:
//! anything between cores.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_channel::oneshot;

/// How much is taken, and who waits for how much, in the order they came: a large share is not passed over for small ones. The number
/// that wait is bounded by the tasks there are.
#[derive(Default)]
pub struct Budget {
    taken: Cell<usize>,
    most: Cell<usize>,
    waiting: RefCell<VecDeque<(usize, oneshot::Sender<Share>)>>,
}

/// So many octets of a budget; dropped, they go to the next in line. Who waits for a second share while holding one may wait for
/// itself: drop the first before.
pub struct Share {
    budget: Rc<Budget>,
    octets: usize,
}

impl Budget {
    /// Waits for `octets` of `most` in all. None if they can never fit.
    pub async fn take(self: &Rc<Self>, octets: usize, most: usize) -> Option<Share> {
        self.most.set(most);
        // Those in front may have given up, or there may be more now.
        self.serve();
        if octets > most {
            return None;
        }
        if self.waiting.borrow().is_empty() && self.fits(octets) {
            return Some(self.share(octets));
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back((octets, sender));
        let share = receiver.await;
        Some(share.expect("a sender in the line is dropped only after it has sent"))
    }

    /// Octets that are taken now.
    pub fn taken(&self) -> usize {
        self.taken.get()
    }

    /// What was asked before the budget became smaller gets its turn alone.
    fn fits(&self, octets: usize) -> bool {
        self.taken.get() == 0 || self.taken.get().saturating_add(octets) <= self.most.get()
    }

    fn share(self: &Rc<Self>, octets: usize) -> Share {
        self.taken.set(self.taken.get() + octets);
        Share {
            budget: self.clone(),
            octets,
        }
    }

    /// Gives those in front what fits.
    fn serve(self: &Rc<Self>) {
        while let Some((octets, sender)) = self.next() {
            // A waiter that ends before it looks drops the share it was sent, and so hands it on.
            drop(sender.send(self.share(octets)));
        }
    }

    fn next(&self) -> Option<(usize, oneshot::Sender<Share>)> {
        let mut waiting = self.waiting.borrow_mut();
        while waiting.front().is_some_and(|(_, s)| s.is_canceled()) {
            waiting.pop_front();
        }
        let fits = waiting
            .front()
            .is_some_and(|(octets, _)| self.fits(*octets));
        if fits { waiting.pop_front() } else { None }
    }
}

impl Share {
    /// Gives back what is beyond `octets`.
    pub fn shrink_to(&mut self, octets: usize) {
        let left = self.octets.min(octets);
        let given_back = self.octets - left;
        self.octets = left;
        self.budget.taken.set(self.budget.taken.get() - given_back);
        self.budget.serve();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rt;

    static ROOM: rt::Room = rt::Room::new("test");

    #[test]
    fn in_order_and_never_more_than_there_is() {
        rt::block_on(async {
            let budget = Rc::new(Budget::default());
            let (most, order) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
            for n in 0..20usize {
                let (budget, most, order) = (budget.clone(), most.clone(), order.clone());
                rt::spawn(&ROOM, async move {
                    // Every third takes nearly all.
                    let octets = if n % 3 == 2 { 90 } else { 30 };
                    let share = budget.take(octets, 100).await.unwrap();
                    most.set(most.get().max(budget.taken()));
                    order.borrow_mut().push(n);
                    rt::yield_now().await;
                    drop(share);
                });
            }
            while order.borrow().len() < 20 {
                rt::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(*order.borrow(), (0..20).collect::<Vec<_>>());
            assert_eq!((most.get(), budget.taken()), (90, 0));
        })
        .unwrap();
    }

    #[test]
    fn too_much_is_refused_and_who_gives_up_keeps_nobody_waiting() {
        rt::block_on(async {
            let budget = Rc::new(Budget::default());
            assert!(budget.take(101, 100).await.is_none());
            let mut first = budget.take(100, 100).await.unwrap();
            let mut gives_up = Box::pin(budget.take(100, 100));
            let mut small = Box::pin(budget.take(10, 100));
            for waiting in [&mut gives_up, &mut small] {
                assert!(futures_lite::future::poll_once(waiting).await.is_none());
            }
            drop(gives_up);
            first.shrink_to(80);
            let small = small.await.unwrap();
            assert_eq!(budget.taken(), 90);
            // Sent its share, but ended before it looked.
            let mut ended = Box::pin(budget.take(100, 100));
            assert!(futures_lite::future::poll_once(&mut ended).await.is_none());
            drop((first, small));
            assert_eq!(budget.taken(), 100);
            drop(ended);
            assert_eq!(budget.taken(), 0);
        })
        .unwrap();
    }
}
