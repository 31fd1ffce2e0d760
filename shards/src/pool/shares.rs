//! A pool in shares: in front of it, on each executor, stands a line for each of those for whom jobs are done, and these are served in turn. So the many
//! jobs of one hold up his own: anybody else's waits for what each thread is at, and no more than a job for each thread of each other executor.

use std::rc::Rc;

use futures_channel::oneshot;

use super::{Pool, PoolError, ROOM};
use crate::rt::{self, Lines};

/// The lines of one executor.
pub struct Shares {
    pool: Pool,
    lines: Rc<Lines<Box<str>>>,
    bounds: Bounds,
}

/// How many jobs may wait on an executor; the next is answered "full".
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In one line.
    pub each_max: usize,
    /// In all lines.
    pub all_max: usize,
}

impl Shares {
    /// In front of a pool that may have other users, too.
    pub fn new(pool: Pool, bounds: Bounds) -> Rc<Shares> {
        Rc::new(Shares {
            pool,
            lines: Rc::default(),
            bounds,
        })
    }

    /// Runs `job` on a worker in the turn of `who`, and waits for its result without blocking the executor. It is not begun once whoever asked for it has
    /// gone; what was begun keeps its place to its end.
    pub async fn run<T: Send + 'static>(
        &self,
        who: &str,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (who, Bounds { each_max, all_max }) = (Box::from(who), self.bounds);
        if !self.lines.has_room(&who, each_max, all_max) {
            return Err(PoolError::Full);
        }
        let place = self.lines.take(&who, self.pool.threads()).await;
        let (sender, receiver) = oneshot::channel();
        let (pool, label) = (
            self.pool.clone(),
            rt::with_task_label(|l| l.map(Box::<str>::from)),
        );
        rt::spawn(&ROOM, async move {
            // For the log: whose work it is.
            if let Some(label) = label {
                rt::label_task(&label);
            }
            let result = pool.run(job).await;
            // The next one first: its thread waits for nobody.
            drop(place);
            let _ = sender.send(result);
        });
        receiver.await.unwrap_or(Err(PoolError::Lost))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures_lite::future::poll_once;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        each_max: 1_000,
        all_max: 1_001,
    };

    /// Whether somebody waits in a line.
    fn waits(shares: &Shares, who: &str) -> bool {
        !shares.lines.has_room(&who.into(), 1, usize::MAX)
    }

    async fn until(is_so: impl Fn() -> bool) {
        while !is_so() {
            rt::sleep(STEP).await;
        }
    }

    const STEP: Duration = Duration::from_millis(1);

    #[test]
    fn one_job_waits_for_one_of_a_thousand_others() {
        for threads in [1, 3] {
            rt::block_on(async {
                let pool = Pool::start("test", threads, 4).unwrap();
                let shares = Shares::new(pool, BOUNDS);
                let begun: Arc<Mutex<Vec<&str>>> = Arc::default();
                let count = || begun.lock().unwrap().len();
                let (go, wait) = crossbeam_channel::unbounded::<()>();
                let start = |who: &'static str| {
                    let (shares, begun, wait) = (shares.clone(), begun.clone(), wait.clone());
                    let job = move || {
                        begun.lock().unwrap().push(who);
                        let _ = wait.recv();
                    };
                    rt::spawn(&ROOM, async move { shares.run(who, job).await.unwrap() });
                };
                (0..threads).for_each(|_| start("many"));
                until(|| count() == threads).await;
                (0..1_000).for_each(|_| start("many"));
                until(|| !shares.lines.has_room(&"many".into(), 1_000, usize::MAX)).await;
                assert_eq!(shares.run("many", || ()).await, Err(PoolError::Full));
                // That line is full; with one more they are so together.
                start("one");
                until(|| waits(&shares, "one")).await;
                assert_eq!(shares.run("two", || ()).await, Err(PoolError::Full));
                for over in 1..=2 {
                    go.send(()).unwrap();
                    until(|| count() == threads + over).await;
                }
                let mut expected = vec!["many"; threads + 1];
                expected.push("one");
                assert_eq!(*begun.lock().unwrap(), expected);
                drop(go);
                until(|| count() == threads + 1_001).await;
                assert_eq!(shares.run("many", || 7).await, Ok(7));
            })
            .unwrap();
        }
    }

    #[test]
    fn who_goes_leaves_nothing_to_do_and_a_panic_is_one_jobs() {
        rt::block_on(async {
            let pool = Pool::start("test", 1, 4).unwrap();
            let shares = Shares::new(pool, BOUNDS);
            let (go, wait) = crossbeam_channel::bounded::<()>(1);
            let mut begun = Box::pin(shares.run("a", move || wait.recv()));
            let ran = Arc::new(AtomicBool::new(false));
            let runs = ran.clone();
            let mut unwanted = Box::pin(shares.run("a", move || runs.store(true, Relaxed)));
            assert!(poll_once(&mut begun).await.is_none());
            assert!(poll_once(&mut unwanted).await.is_none());
            drop((begun, unwanted));
            let mut other = Box::pin(shares.run("b", || 7));
            for _ in 0..5 {
                assert!(poll_once(&mut other).await.is_none());
                // What was begun has its place still, though nobody waits for it.
                assert!(waits(&shares, "b"));
                rt::sleep(STEP).await;
            }
            go.send(()).unwrap();
            assert_eq!(other.await, Ok(7));
            assert!(!ran.load(Relaxed), "nobody wanted it");
            let panics = shares.run("a", || -> u8 { panic!("on purpose") });
            assert_eq!(panics.await, Err(PoolError::Lost));
            assert_eq!(shares.run("a", || 7).await, Ok(7));
        })
        .unwrap();
    }
}
