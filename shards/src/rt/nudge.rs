//! Nudges: a signal to each thread that runs an executor, four times a second. It ends the wait of one that sleeps although it has something to do.
//!
//! glommio 0.9.0 sets a timer of 100 ms, after which tasks are to make room, and then runs what is runnable. If the thread is held up in
//! between until that timer has gone off, as it is where more threads want the core than it has time for, the executor runs nothing, takes
//! that for nothing to do, and parks. Until something happens: a timer that is set still, a socket. What other cores ask is no such thing
//! any more: the task that is to see to it was woken already; and right after the start there is nothing at all that could happen. So a
//! core may hang for good. A signal always happens: io_uring_enter(2) returns EINTR, whatever it waits for.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

/// Runs a future to its end on the executor of this thread.
pub(super) fn run<T>(executor: &glommio::LocalExecutor, main: impl Future<Output = T>) -> T {
    let _nudged = Nudged::new();
    executor.run(main)
}

/// The calling thread is nudged until this is dropped, which has to be before it ends.
struct Nudged(libc::pthread_t);

impl Nudged {
    fn new() -> Nudged {
        STARTED.call_once(|| {
            let begun = handle_nudges().and_then(|()| {
                let thread = std::thread::Builder::new().name("nudge".into());
                thread.spawn(nudge).map(drop)
            });
            if let Err(error) = begun {
                tracing::error!(%error, "cores can't be nudged: on a machine with too much to do one may hang");
            }
        });
        // Safe because it has no conditions.
        let thread = unsafe { libc::pthread_self() };
        threads().push(thread);
        Nudged(thread)
    }
}

impl Drop for Nudged {
    fn drop(&mut self) {
        threads().retain(|thread| *thread != self.0);
    }
}

fn nudge() {
    loop {
        std::thread::sleep(EVERY);
        for thread in threads().iter() {
            // Safe because the thread lives: it is taken out before it ends, and waits for that while this holds the list.
            unsafe { libc::pthread_kill(*thread, SIGNAL) };
        }
    }
}

/// By default the signal would be ignored, and what is ignored interrupts nothing.
fn handle_nudges() -> std::io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // Safe because zeros are a valid one, and the handler does nothing.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        // Calls that can go on by themselves do; io_uring_enter is not one of them.
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(SIGNAL, &action, std::ptr::null_mut()) != 0
    };
    match failed {
        true => Err(std::io::Error::last_os_error()),
        false => Ok(()),
    }
}

/// Locked by threads that run no executor: those that are about to, or did.
fn threads() -> MutexGuard<'static, Vec<libc::pthread_t>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

static STARTED: Once = Once::new();
static THREADS: Mutex<Vec<libc::pthread_t>> = Mutex::new(Vec::new());
/// Nobody sends it but the kernel to who asks for news of urgent data, which nothing here does.
const SIGNAL: libc::c_int = libc::SIGURG;
/// Between two of them. A wake-up costs 0.1 ms of CPU.
const EVERY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_nothing_is_woken() {
        let nudged = Nudged::new();
        let long = libc::timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        // Safe because both are right; 0 if no signal comes.
        assert_eq!(unsafe { libc::nanosleep(&long, std::ptr::null_mut()) }, -1);
        drop(nudged);
        let own = unsafe { libc::pthread_self() };
        assert!(!threads().contains(&own));
    }
}
