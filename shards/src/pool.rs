//! Worker threads for what blocks or is heavy: hashing passwords, reading the index, opening files. Bounded; a full pool is an
//! answer ("busy"), never a wait without end.

mod gather;
mod shares;

use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError, bounded};
use futures_channel::oneshot;

use crate::rt::{self, Room};
pub use gather::Gather;
pub use shares::{Bounds, Shares};

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

/// How urgent a worker is, and where it runs. What the system refuses stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// 1 to 19, the larger the less urgent.
    pub nice: i32,
    /// Gets only what everybody else leaves; whoever wakes on its CPU interrupts it at once. On a machine that is busy without a pause it gets
    /// next to nothing.
    pub leftovers: bool,
    /// The CPUs it may run on; empty for all.
    pub cpus: Vec<usize>,
}

impl Default for Place {
    /// Below the executors.
    fn default() -> Self {
        Place {
            nice: NICE,
            leftovers: false,
            cpus: Vec::new(),
        }
    }
}

impl Place {
    /// Runs `job` on a thread of its own there. Blocks the caller until it is done: never on an executor.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> Result<T, PoolError> {
        std::thread::scope(|scope| {
            let there = || {
                self.take();
                ROOM.guard(job)
            };
            let thread = std::thread::Builder::new().name("placed".into());
            let thread = thread.spawn_scoped(scope, there);
            let done = thread.map_err(|_| PoolError::Full)?.join();
            done.ok().flatten().ok_or(PoolError::Lost)
        })
    }

    /// Takes the calling thread there.
    fn take(&self) {
        // On Linux this changes the calling thread alone.
        let _ = rustix::process::nice(self.nice);
        if self.leftovers {
            let parameters = libc::sched_param { sched_priority: 0 };
            // Safe because it reads the parameters and changes the calling thread alone.
            unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) };
        }
        if self.cpus.is_empty() {
            return;
        }
        // Safe because a set of CPUs is plain bits, of which none is set, and the call reads it and changes the calling thread alone. The
        // ranges keep within it.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let known = self.cpus.iter().filter(|n| **n < CPUS_MAX);
            known.for_each(|n| libc::CPU_SET(*n, &mut set));
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
        }
    }
}

/// A handle to the pool; cheap to clone. The threads end when the last handle is gone.
#[derive(Clone)]
pub struct Pool {
    jobs: Arc<Sender<Job>>,
    threads: usize,
}

impl Pool {
    /// Starts `threads` threads named `name`, at lower priority (`nice` 5), with room for `capacity` waiting jobs.
    pub fn start(name: &str, threads: usize, capacity: usize) -> std::io::Result<Pool> {
        Pool::start_each(name, vec![Place::default(); threads.max(1)], capacity)
    }

    /// Like [`Pool::start`], with a thread at each of these places.
    pub fn start_each(name: &str, places: Vec<Place>, capacity: usize) -> std::io::Result<Pool> {
        let (sender, receiver) = bounded::<Job>(capacity);
        let threads = places.len();
        for (n, place) in places.into_iter().enumerate() {
            let receiver = receiver.clone();
            std::thread::Builder::new()
                .name(format!("{name}-{n}"))
                .spawn(move || {
                    place.take();
                    for job in receiver {
                        job();
                    }
                })?;
        }
        Ok(Pool {
            jobs: Arc::new(sender),
            threads,
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

    /// Its threads.
    pub fn threads(&self) -> usize {
        self.threads
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
/// CPUs in a set of the kernel's old calls.
const CPUS_MAX: usize = libc::CPU_SETSIZE as usize;

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

    #[test]
    fn workers_take_their_places() {
        let first = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let allowed = |status: &str| {
            let line = status
                .lines()
                .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
            line.unwrap().trim().to_string()
        };
        let cpu = allowed(&first)
            .split(['-', ','])
            .next()
            .unwrap()
            .to_string();
        let place = Place {
            nice: 7,
            leftovers: true,
            cpus: vec![cpu.parse().unwrap(), usize::MAX],
        };
        let pool = Pool::start_each("test", vec![place.clone()], 4).unwrap();
        let read = || {
            let read = |file| std::fs::read_to_string(format!("/proc/thread-self/{file}")).unwrap();
            (read("status"), read("stat"))
        };
        let pooled = crate::rt::block_on(async { pool.run(read).await.unwrap() }).unwrap();
        for (status, stat) in [pooled, place.run(read).unwrap()] {
            assert_eq!(allowed(&status), cpu);
            // proc(5): nice is field 19, policy 41; SCHED_IDLE is 5.
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap()
                .split_whitespace()
                .collect();
            assert_eq!((fields[19 - 3], fields[41 - 3]), ("7", "5"));
        }
        let panics = place.run(|| -> u8 { panic!("on purpose") });
        assert_eq!(panics, Err(PoolError::Lost));
        // The caller stays where it is.
        let after = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert_eq!(allowed(&after), allowed(&first));
    }
}
