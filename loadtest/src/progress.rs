//! One line on stderr that tells how far a long phase has come, twice a second.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Progress of one phase. The line is erased when it is dropped.
pub struct Progress {
    what: String,
    total: u64,
    next: Instant,
    shown: bool,
    pause: Duration,
}

impl Progress {
    /// A phase of so many steps.
    pub fn new(what: impl Into<String>, total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            what: what.into(),
            total,
            next: Instant::now() + Duration::from_secs(1),
            shown: false,
            // A log is not to be filled.
            pause: Duration::from_millis(if terminal { 500 } else { 10_000 }),
        }
    }

    /// So many steps are done.
    pub fn at(&mut self, done: u64) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + self.pause;
        self.shown = true;
        eprint!("\r\x1b[K{}: {done} of {}", self.what, self.total);
        let _ = std::io::stderr().flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
