//! The seam to the runtime: the only code that names glommio. Executors, tasks, timers, sockets and files, in the words of ringmail.
//!
//! Everything here belongs to one executor and is neither `Send` nor `Sync` unless it says so. What may block (opening a
//! database, hashing) is not here: it goes to [`crate::pool`].
//!
//! Traps of the runtime handled here: a panicking task would kill its executor's thread ([`spawn`] catches and counts it); an
//! executor may park while tasks are runnable, for good if nothing happens then (`nudge` makes something happen); the first sleep in a process is
//! late (a throw-away executor runs first, [`warm_up`]); a task's reference count has 16 bits (one task for each connection, no wide
//! select).

mod budget;
mod event;
mod file;
mod lines;
mod memory;
mod net;
mod nudge;
mod shares;
mod task;
mod turns;

pub use budget::{Budget, Share};
pub use event::Event;
pub use file::File;
pub(crate) use file::sync_directory;
pub use lines::{Lines, Place};
pub use memory::{FairMemory, FairShare};
pub use net::{BindError, Datagram, Listener, Stream, detach_stream, listen, with_scratch};
pub use shares::{FairTurn, FairTurns, Shares};
pub(crate) use task::labelled;
pub use task::{label_task, with_task_label};
pub use turns::{Turn, Turns};

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_lite::FutureExt;

/// How one executor is set up. The defaults are those measured in docs/ARCHITECTURE.md.
#[derive(Clone, Debug)]
pub struct ExecutorOptions {
    /// Name of the thread, as seen in `top -H`.
    pub name: String,
    /// The CPU to pin to, or none to let the kernel choose.
    pub cpu: Option<usize>,
    /// Entries of the io_uring; 1024 or more, or idle connections become expensive.
    pub ring_depth: usize,
    /// Registered memory for file reads, in bytes. It is locked: see `LimitMEMLOCK` of the unit.
    pub io_memory: usize,
    /// How long to spin before parking. Zero on shared cores, 20 to 50 us on dedicated ones.
    pub spin_before_park: Duration,
}

/// The time was up before the future was ready.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("timed out")]
pub struct Elapsed;

/// A running executor; joined when it stops.
pub struct ExecutorHandle(JoinHandle<Result<(), String>>);

impl ExecutorHandle {
    /// Waits for the executor's main future to end. An error names why the executor could not start or how it died.
    pub fn join(self) -> Result<(), String> {
        let ended = self.0.join();
        ended.unwrap_or_else(|panic| Err(task::panic_text(&*panic).to_string())).map_err(|e| {
            format!("executor failed: {e}; when memory could not be locked, raise LimitMEMLOCK (ulimit -l)")
        })
    }
}

/// Starts an executor on a thread of its own, running `main` until it ends.
pub fn run<G, F>(options: &ExecutorOptions, main: G) -> Result<ExecutorHandle, String>
where
    G: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let placement = match options.cpu {
        Some(cpu) => glommio::Placement::Fixed(cpu),
        None => glommio::Placement::Unbound,
    };
    // Who spins has its core for itself.
    let batch = options.spin_before_park.is_zero();
    let builder = glommio::LocalExecutorBuilder::new(placement)
        .ring_depth(options.ring_depth)
        .io_memory(options.io_memory)
        .spin_before_park(options.spin_before_park);
    let thread = std::thread::Builder::new().name(options.name.clone());
    thread
        .spawn(move || {
            let executor = builder.make().map_err(|e| e.to_string())?;
            // Not the threads that the executor has for itself: they have their scheduling from this one.
            if batch {
                schedule_as_batch();
            }
            nudge::run(&executor, async move { main().await });
            Ok(())
        })
        .map(ExecutorHandle)
        .map_err(|e| e.to_string())
}

/// Asks the kernel not to interrupt the thread that runs on this core when this one wakes. On a core shared with the commit threads and
/// with clients of this machine, each of them then ends what it does, and the executor finds more to do at once: a loop of it costs
/// some 15 us of CPU, however much it finds. A core with nothing else to run wakes it at once as before.
fn schedule_as_batch() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // Safe because it reads the parameters and changes the calling thread alone. Refused, things are as they were.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &parameters) };
}

/// Whether the process may get huge pages. Not while executors start: memory that is registered with the kernel counts as locked by the
/// page, and 64 KiB in a huge page are 2 MiB then, more than users without privileges may lock in all.
pub fn allow_huge_pages(allowed: bool) {
    // Safe because it changes how later memory of this process is mapped, and nothing else. Refused, things are as they were.
    unsafe {
        libc::prctl(
            libc::PR_SET_THP_DISABLE,
            libc::c_ulong::from(!allowed),
            0,
            0,
            0,
        )
    };
}

/// Runs a throw-away executor once, so that the first sleep of the real ones is not 30 ms late.
pub fn warm_up() {
    if let Ok(executor) = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .io_memory(64 << 10)
        .make()
    {
        nudge::run(&executor, glommio::timer::sleep(Duration::from_millis(1)));
    }
}

/// Runs a future to its end on a private executor of the calling thread: for commands and tests, never inside an executor.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .io_memory(64 << 10)
        .make()
        .map_err(|e| e.to_string())?;
    Ok(nudge::run(&executor, future))
}

/// Starts a task on this executor that nobody waits for. A panic inside is caught and counted under `room`; it harms this task alone.
pub fn spawn(room: &'static Room, future: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task::Task::new(room, future)).detach();
}

/// A part of the program whose panics are counted apart. Declared `static`, listed where metrics are scraped.
#[derive(Debug)]
pub struct Room {
    /// The label in metrics.
    pub name: &'static str,
    // Atomic: read by whoever scrapes; written only when a task panics.
    panics: AtomicU64,
}

impl Room {
    /// A room with no panics yet.
    pub const fn new(name: &'static str) -> Room {
        Room {
            name,
            panics: AtomicU64::new(0),
        }
    }

    /// How many tasks of this room panicked since the start.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Runs work of this room; a panic in it is counted and told, and ends it alone.
    pub fn guard<T>(&'static self, work: impl FnOnce() -> T) -> Option<T> {
        catch_unwind(AssertUnwindSafe(work))
            .inspect_err(|panic| {
                self.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    room = self.name,
                    panic = task::panic_text(&**panic),
                    "a task panicked; this is a bug of ours"
                );
            })
            .ok()
    }
}

/// Waits on the monotonic clock.
pub async fn sleep(wait: Duration) {
    glommio::timer::sleep(wait).await;
}

/// The future's value, or [`Elapsed`] after `limit`; the future is dropped then.
pub async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    async { Ok(future.await) }
        .or(async {
            glommio::timer::sleep(limit).await;
            Err(Elapsed)
        })
        .await
}

/// Lets other tasks run if this one has used up its slice. Call it in every loop whose length a peer decides.
pub async fn yield_if_needed() {
    if task::slice_is_over() {
        // glommio's own yield goes on with the other tasks, and looks at timers and sockets only when its preempt timer of 100 ms has
        // gone off. A shorter one is no way out: when it goes off before a round begins, glommio parks although tasks could run. What
        // waits for a timer ends its round.
        glommio::timer::sleep(ROUND_END).await;
    } else {
        glommio::yield_if_needed().await;
    }
}

/// Lets other tasks run now.
pub async fn yield_now() {
    glommio::executor().yield_now().await;
}

/// Longer than it takes from setting a timer to looking at it, or there would be no wait.
const ROUND_END: Duration = Duration::from_micros(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_ends_a_future_that_never_does() {
        block_on(async {
            let result = timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
            assert_eq!(result, Err(Elapsed));
            assert_eq!(timeout(Duration::from_secs(5), async { 7 }).await, Ok(7));
        })
        .unwrap();
    }
}
