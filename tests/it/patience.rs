//! Waiting for what comes by itself: on a machine that has much to do it takes its time. One deadline for all of it.

use std::cell::RefCell;
use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Waits until it is so. If it never is, the test fails with what there is instead.
#[track_caller]
pub fn patiently(mut done: impl FnMut() -> bool, state: impl FnOnce() -> String) {
    let end = Instant::now() + PATIENCE;
    let mut pause = PAUSE_FIRST;
    while !done() {
        if Instant::now() > end {
            panic!("waited {PATIENCE:?} in vain: {}", state());
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

/// The same, where there is nothing to add.
#[track_caller]
pub fn until(done: impl FnMut() -> bool) {
    patiently(done, || "it is not so".into());
}

/// Looks until what is there will do, and answers that.
#[track_caller]
pub fn found<T: Debug>(mut look: impl FnMut() -> T, fits: impl Fn(&T) -> bool) -> T {
    let there = RefCell::new(look());
    let done = || {
        if !fits(&there.borrow()) {
            there.replace(look());
        }
        fits(&there.borrow())
    };
    patiently(done, || format!("{:?}", there.borrow()));
    there.into_inner()
}

/// Waits for the next hour if this one (UTC) is nearly over, for counts of an hour or a day begin anew with it.
pub fn early_in_the_hour() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let left = 3_600 - now.as_secs() % 3_600;
    if left <= PATIENCE.as_secs() {
        std::thread::sleep(Duration::from_secs(left));
    }
}

/// For what a machine with nothing else to do has in a moment.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks. Some are requests, of which there may be a thousand in a minute, and connections, three hundred.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(200);
