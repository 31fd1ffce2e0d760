//! Requests to the provider, by what came of them. Counted once for the process: the threads that make them belong to no core, and who
//! waited for an answer may have gone when it comes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{Samples, labels};

/// What it is asked for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// What it tells of itself.
    Configuration,
    /// Its keys.
    Keys,
    /// What it knows of a token.
    Introspection,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Ok,
    /// No answer in time.
    Timeout,
    /// No connection, no trust in its certificate, or an answer that breaks off.
    Unreachable,
    /// Another status than 200.
    Status,
    /// An answer that can't be used.
    Malformed,
}

/// Why a request gave nothing.
#[derive(Debug)]
pub(super) struct Failed {
    outcome: Outcome,
    /// For the log.
    pub text: String,
}

impl Failed {
    pub(super) fn new(outcome: Outcome, text: String) -> Failed {
        Failed { outcome, text }
    }

    /// It does not say what it should.
    pub(super) fn malformed(text: String) -> Failed {
        Failed::new(Outcome::Malformed, text)
    }
}

/// Counts a request by its result.
pub(super) fn counted<T>(kind: Kind, result: Result<T, Failed>) -> Result<T, Failed> {
    let outcome = result.as_ref().err().map_or(Outcome::Ok, |f| f.outcome);
    COUNTS[kind as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    result
}

/// All of them, also those that never happened: an alert on an increase sees the first.
pub fn counts() -> Samples {
    let mut samples = Samples::new();
    for (kind, counts) in KINDS.iter().zip(&COUNTS) {
        for (result, count) in OUTCOMES.iter().zip(counts) {
            let labels = labels(("kind", kind), ("result", result));
            let count = count.load(Ordering::Relaxed) as i64;
            samples.push((("ringmail_oauth_requests_total", labels), count));
        }
    }
    samples
}

/// In the order of [`Kind`].
const KINDS: [&str; 3] = ["configuration", "keys", "introspection"];
/// In the order of [`Outcome`].
const OUTCOMES: [&str; 5] = ["ok", "timeout", "unreachable", "status", "malformed"];

// A request takes milliseconds; what an atomic takes is nothing beside it.
static COUNTS: [[AtomicU64; OUTCOMES.len()]; KINDS.len()] =
    [const { [const { AtomicU64::new(0) }; OUTCOMES.len()] }; KINDS.len()];
