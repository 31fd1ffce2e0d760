//! Heavy jobs of one executor that go to the pool several at a time: while some are being done the next ones gather. The executor wakes once for
//! several results, and what follows from them goes on together, so that it shares syncs and wake-ups; a job that comes alone goes at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_channel::oneshot;

use super::{Pool, PoolError, ROOM};
use crate::rt;

/// Hands a result to whoever waits for it.
type Deliver = Box<dyn FnOnce() + Send>;
type Job = Box<dyn FnOnce() -> Deliver + Send>;

/// The line of one executor.
pub struct Gather {
    pool: Pool,
    /// Jobs that go together.
    together_max: usize,
    waiting_max: usize,
    waiting: RefCell<VecDeque<Job>>,
    /// In the pool now: at most as many as it has threads, for more would only wait there.
    groups: Cell<usize>,
}

impl Gather {
    /// So many jobs go together; so many may wait, and more are answered "full".
    pub fn new(pool: Pool, together_max: usize, waiting_max: usize) -> Rc<Gather> {
        Rc::new(Gather {
            pool,
            together_max: together_max.max(1),
            waiting_max,
            waiting: RefCell::default(),
            groups: Cell::new(0),
        })
    }

    /// Runs `job` on a worker and waits for its result without blocking the executor.
    pub async fn run<T: Send + 'static>(
        self: &Rc<Self>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (sender, receiver) = oneshot::channel();
        // For the log: whose work it is.
        let label = rt::with_task_label(|label| label.map(Box::<str>::from));
        let boxed: Job = Box::new(move || {
            let result = rt::labelled(label.as_deref(), || ROOM.guard(job));
            Box::new(move || {
                // What panicked is lost.
                if let Some(result) = result {
                    let _ = sender.send(result);
                }
            })
        });
        if self.waiting.borrow().len() >= self.waiting_max {
            return Err(PoolError::Full);
        }
        self.waiting.borrow_mut().push_back(boxed);
        self.send();
        receiver.await.map_err(|_| PoolError::Lost)
    }

    /// Sends groups to the pool, as many as it works on.
    fn send(self: &Rc<Self>) {
        while self.groups.get() < self.pool.threads() {
            let mut waiting = self.waiting.borrow_mut();
            let count = waiting.len().min(self.together_max);
            if count == 0 {
                return;
            }
            let group: Vec<Job> = waiting.drain(..count).collect();
            drop(waiting);
            self.groups.set(self.groups.get() + 1);
            let line = self.clone();
            rt::spawn(&ROOM, async move {
                let results = line.pool.run(move || {
                    let results = group.into_iter().map(|job| job());
                    results.collect::<Vec<Deliver>>()
                });
                let results = results.await;
                line.groups.set(line.groups.get() - 1);
                // The next ones first: their thread waits for nobody.
                line.send();
                // Of a group that was lost nobody hears anything, and each is told that.
                results.into_iter().flatten().for_each(|deliver| deliver());
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_meanwhile_goes_together_and_all_are_answered() {
        rt::block_on(async {
            let pool = Pool::start("test", 1, 4).unwrap();
            let line = Gather::new(pool, 3, 100);
            let (go, wait) = crossbeam_channel::bounded::<()>(2);
            let answered = Rc::new(RefCell::new(Vec::new()));
            for n in 0..8 {
                let (line, wait, answered) = (line.clone(), wait.clone(), answered.clone());
                rt::spawn(&ROOM, async move {
                    let job = move || {
                        // The first group is held up, and the third.
                        if n == 0 || n == 6 {
                            let _ = wait.recv();
                        }
                        n
                    };
                    assert_eq!(line.run(job).await, Ok(n));
                    answered.borrow_mut().push(n);
                });
            }
            let until = async |count: usize| {
                while answered.borrow().len() < count {
                    rt::yield_now().await;
                }
                let mut answered = answered.borrow().clone();
                answered.sort_unstable();
                answered
            };
            while line.waiting.borrow().len() < 7 {
                rt::yield_now().await;
            }
            go.send(()).unwrap();
            // One alone, then three; the next three have one among them that is not done.
            assert_eq!(until(4).await, [0, 1, 2, 3]);
            rt::sleep(std::time::Duration::from_millis(20)).await;
            assert_eq!(until(4).await, [0, 1, 2, 3]);
            go.send(()).unwrap();
            assert_eq!(until(8).await, [0, 1, 2, 3, 4, 5, 6, 7]);
        })
        .unwrap();
    }

    #[test]
    fn a_panic_is_one_jobs_and_a_full_line_says_so() {
        rt::block_on(async {
            let pool = Pool::start("test", 1, 4).unwrap();
            let line = Gather::new(pool.clone(), 3, 100);
            let panics = line.run(|| -> u8 { panic!("on purpose") });
            assert_eq!(panics.await, Err(PoolError::Lost));
            assert_eq!(line.run(|| 7).await, Ok(7));
            let full = Gather::new(pool, 3, 0);
            assert_eq!(full.run(|| 7).await, Err(PoolError::Full));
        })
        .unwrap();
    }
}
