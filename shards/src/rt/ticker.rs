//! Timers that wake an executor which sleeps although it has something to do.
//!
//! glommio 0.9.0 sets a timer of 100 ms, after which tasks are to make room, and then runs what is runnable. If the thread is held up in
//! between until that timer has gone off, as it is where more threads want the core than it has time for, the executor runs nothing, takes
//! that for nothing to do, and parks. Until something happens: a timer that is set still, a socket. What other cores ask is no such thing
//! any more: the task that is to see to it was woken already. So a core may hang for good, if the timers that it had have gone off and
//! their tasks are among those that were not run.
//!
//! Each of these timers is set again by a task of its own, so it takes as many such hold-ups, one right after the other, to be without.

use std::future::Future;
use std::time::{Duration, Instant};

/// Runs a future beside the timers.
pub(super) async fn beside<T>(main: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let timers = (1..=TIMERS).map(|number| glommio::spawn_local(go_off(number, begun)));
    let timers: Vec<_> = timers.collect();
    let value = main.await;
    for timer in timers {
        timer.cancel().await;
    }
    value
}

async fn go_off(number: u32, begun: Instant) {
    loop {
        glommio::timer::sleep(until_next(number, begun.elapsed())).await;
    }
}

/// How long until a timer goes off. They take turns, one each [`TICK`], however late any of them was.
fn until_next(number: u32, elapsed: Duration) -> Duration {
    let round = (TICK * TIMERS).as_nanos();
    let since = elapsed.as_nanos() + round - (TICK * number).as_nanos();
    Duration::from_nanos((round - since % round) as u64)
}

/// Between two of them. A wake-up costs 0.1 ms of CPU.
const TICK: Duration = Duration::from_millis(250);
const TIMERS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_them_goes_off_each_tick() {
        let in_ticks = |numbers: &[u32], elapsed: Duration| -> Vec<Duration> {
            let mut all: Vec<_> = numbers.iter().map(|n| until_next(*n, elapsed)).collect();
            all.sort();
            all
        };
        let all: Vec<u32> = (1..=TIMERS).collect();
        let expected: Vec<Duration> = all.iter().map(|n| TICK * *n).collect();
        for late in [0, 1, TIMERS, 1000 * TIMERS + 3] {
            assert_eq!(in_ticks(&all, TICK * late), expected, "{late}");
        }
        // One that is late by more than a round comes at its turn, as before.
        assert_eq!(until_next(3, TICK * 3), TICK * TIMERS);
        let later = TICK * (3 + 2 * TIMERS) + Duration::from_millis(1);
        assert_eq!(
            until_next(3, later),
            TICK * TIMERS - Duration::from_millis(1)
        );
    }
}
