//! The pace of a core's refusals: whoever guesses on many connections at once, from wherever, takes a small part of the core and no more. The
//! answer waits, by a timer; logins that succeed never do.

use std::time::{Duration, Instant};

/// When the next refusal may be said.
pub struct Pace {
    next: Instant,
}

impl Pace {
    /// Nothing was refused yet.
    pub fn new(now: Instant) -> Pace {
        Pace { next: now }
    }

    /// How long a refusal has to wait, of which a core says so many a second. At most [`WAIT_MAX`], however many wait: a person who
    /// mistyped a password during a storm of guesses gets an answer.
    pub fn wait(&mut self, now: Instant, per_second: u32) -> Duration {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let earliest = now.checked_sub(interval * AT_ONCE).unwrap_or(now);
        let turn = self.next.max(earliest).min(now + WAIT_MAX);
        self.next = turn + interval;
        turn.saturating_duration_since(now)
    }
}

/// Refusals that nobody waits for, after a time without any.
const AT_ONCE: u32 = 20;
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_wait_for_nothing_and_many_for_their_turn() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start);
        let later = at(10_000);
        for n in 0..=AT_ONCE {
            assert_eq!(pace.wait(later, 100), Duration::ZERO, "{n}");
        }
        for n in 1..=500 {
            assert_eq!(pace.wait(later, 100), Duration::from_millis(10 * n));
        }
        for _ in 0..1_000 {
            assert_eq!(pace.wait(later, 100), WAIT_MAX);
        }
        assert_eq!(pace.wait(at(14_000), 100), Duration::from_millis(1_010));
        assert_eq!(pace.wait(at(20_000), 100), Duration::ZERO);
    }
}
