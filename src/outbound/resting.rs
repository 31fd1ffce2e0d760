//! Sites that nobody looks after until a time: they are left alone, and have no connections. However many there are, they ask nobody and cost no
//! task each. Called by `staffing`. Not here: why (`site`).

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use shards::rt::Event;

/// The sites of a core that rest.
#[derive(Default)]
pub(super) struct Resting {
    until: RefCell<BinaryHeap<Reverse<Rest>>>,
    /// One has come that may be the first.
    pub changed: Event,
}

/// Until when which site rests.
type Rest = (Instant, Rc<str>);

impl Resting {
    /// A site rests until then.
    pub fn add(&self, until: Instant, site: Rc<str>) {
        self.until.borrow_mut().push(Reverse((until, site)));
        self.changed.notify();
    }

    /// One whose time has come; and when the next one's does.
    pub fn next(&self, now: Instant) -> Result<Rc<str>, Option<Duration>> {
        let mut all = self.until.borrow_mut();
        match all.peek() {
            Some(Reverse((until, _))) if *until > now => Err(Some(*until - now)),
            _ => all.pop().map(|Reverse((_, site))| site).ok_or(None),
        }
    }

    /// All of them, whose time is over.
    pub fn take(&self) -> Vec<Rc<str>> {
        let all = self.until.take().into_vec();
        all.into_iter().map(|Reverse((_, site))| site).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back_in_the_order_of_their_times() {
        let (resting, now) = (Resting::default(), Instant::now());
        let secs = Duration::from_secs;
        assert_eq!(resting.next(now), Err(None));
        for (name, after) in [("b", 2), ("a", 1), ("c", 3)] {
            resting.add(now + secs(after), name.into());
        }
        assert_eq!(resting.changed.count(), 3);
        assert_eq!(resting.next(now), Err(Some(secs(1))));
        assert_eq!(resting.next(now + secs(1)), Ok("a".into()));
        assert_eq!(resting.next(now + secs(1)), Err(Some(secs(1))));
        let mut left = resting.take();
        left.sort();
        assert_eq!(left, ["b", "c"].map(Rc::from));
        assert_eq!(resting.next(now + secs(9)), Err(None));
    }
}
