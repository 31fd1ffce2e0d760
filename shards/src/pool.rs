//! Worker threads for what blocks or is heavy: hashing passwords, reading the index, opening files. Bounded; a full pool is an
//! answer ("busy"), never a wait without end.

use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError, bounded};
use futures_channel::oneshot;

use crate::rt::{self, Room};

/// Why a job has no result.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum PoolError {
    /// The queue of jobs is full.
    #[error("the worker pool is full")]
    Full,
    /// The job panicked, or the pool has stopped.
    #[error("the job was lost")]
    Lost,
}

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the pool; cheap to clone. The threads end when the last handle is gone.
#[derive(Clone)]
pub struct Pool {
    jobs: Arc<Sender<Job>>,
}

impl Pool {
    /// Starts `threads` threads named `name`, at lower priority (`nice` 5), with room for `capacity` waiting jobs.
    pub fn start(name: &str, threads: usize, capacity: usize) -> std::io::Result<Pool> {
        Pool::start_at(NICE, name, threads, capacity)
    }

    /// Like [`Pool::start`], at a priority of its own: `nice` 1 to 19, the larger the less urgent.
    pub fn start_at(
        nice: i32,
        name: &str,
        threads: usize,
        capacity: usize,
    ) -> std::io::Result<Pool> {
        let (sender, receiver) = bounded::<Job>(capacity);
        for n in 0..threads.max(1) {
            let receiver = receiver.clone();
            std::thread::Builder::new()
                .name(format!("{name}-{n}"))
                .spawn(move || {
                    // On Linux this changes the calling thread alone.
                    let _ = rustix::process::nice(nice);
                    for job in receiver {
                        job();
                    }
                })?;
        }
        Ok(Pool {
            jobs: Arc::new(sender),
        })
    }

    /// Runs `job` on a worker and waits for its result without blocking the executor.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (sender, receiver) = oneshot::channel();
        // For the log: whose work it is.
        let label = rt::with_task_label(|label| label.map(Box::<str>::from));
        let boxed: Job = Box::new(move || {
            rt::labelled(label.as_deref(), || {
                // What panics within is told under the label.
                if let Some(result) = ROOM.guard(job) {
                    let _ = sender.send(result);
                }
            });
        });
        self.jobs.try_send(boxed).map_err(|e| match e {
            TrySendError::Full(_) => PoolError::Full,
            TrySendError::Disconnected(_) => PoolError::Lost,
        })?;
        receiver.await.map_err(|_| PoolError::Lost)
    }

    /// Jobs that wait for a thread.
    pub fn backlog(&self) -> usize {
        self.jobs.len()
    }
}

/// Panics of jobs. One reaches its caller as `Lost`; the thread lives on.
pub static ROOM: Room = Room::new("pool");

/// Priority of workers: below the executors'.
const NICE: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_job_is_lost_and_the_pool_lives() {
        let pool = Pool::start("test", 1, 4).unwrap();
        crate::rt::block_on(async {
            assert_eq!(
                pool.run(|| -> u8 { panic!("on purpose") }).await,
                Err(PoolError::Lost)
            );
            assert_eq!(pool.run(|| 7).await, Ok(7));
        })
        .unwrap();
    }
}
