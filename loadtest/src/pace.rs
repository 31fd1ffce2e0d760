//! NOOP at a steady pace on a logged-in IMAP connection: how long anybody waits for the server. On a thread of its own, so that what
//! the others have to do in this process delays no NOOP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use imap::client::Part;

use crate::control::Control;
use crate::error::Failure;
use crate::report::latencies;
use crate::target::Target;

/// What the NOOPs of a time count for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    Between,
    /// The server has nothing else to do.
    Quiet,
    /// The storm is on.
    Storm,
    /// The end.
    Over,
}

/// Latencies of NOOP in microseconds.
pub struct Latencies {
    /// In quiet windows.
    pub quiet: Histogram<u64>,
    /// In the storm.
    pub storm: Histogram<u64>,
}

/// The connection at work.
pub struct Pace {
    phase: Arc<AtomicU8>,
    thread: JoinHandle<Result<Latencies, Failure>>,
}

impl Pace {
    /// Logs in and begins.
    pub fn start(
        target: &Target,
        login: (String, String),
        pause: Duration,
    ) -> Result<Self, Failure> {
        let phase = Arc::new(AtomicU8::new(Phase::Between as u8));
        let (target, read) = (target.clone(), Arc::clone(&phase));
        let run = move || run(&target, &login, pause, &read);
        let thread = thread::Builder::new().name("pace".into()).spawn(run);
        Ok(Self {
            phase,
            thread: thread.map_err(Failure::io("thread"))?,
        })
    }

    /// What NOOPs from here on count for.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Ends it.
    pub fn finish(self) -> Result<Latencies, Failure> {
        self.enter(Phase::Over);
        let panicked = |_| Failure::Verify("the thread of NOOPs panicked".into());
        self.thread.join().map_err(panicked)?
    }
}

fn run(
    target: &Target,
    login: &(String, String),
    pause: Duration,
    phase: &AtomicU8,
) -> Result<Latencies, Failure> {
    let mut control = Control::open(target, login)?;
    let mut latencies = Latencies {
        quiet: latencies(),
        storm: latencies(),
    };
    let mut due = Instant::now();
    loop {
        let before = phase.load(Ordering::Relaxed);
        let now = Instant::now();
        // Those that could not be sent in time, as the one before was not answered, have waited since they were due.
        let begun = match due.checked_duration_since(now) {
            Some(left) => {
                thread::sleep(left);
                Instant::now()
            }
            None => due,
        };
        control.run_ok(&[Part::Text("NOOP")], |_| {})?;
        due += pause;
        let micros = (begun.elapsed().as_micros() as u64).max(1);
        match phase.load(Ordering::Relaxed) {
            over if over == Phase::Over as u8 => return Ok(latencies),
            after if after != before => {}
            quiet if quiet == Phase::Quiet as u8 => latencies.quiet.saturating_record(micros),
            storm if storm == Phase::Storm as u8 => latencies.storm.saturating_record(micros),
            _ => {}
        }
    }
}
