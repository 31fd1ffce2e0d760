//! Messages that a site may be sent now: as many as its rate has let through, and no more than those of a second are saved up.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Bucket {
    messages: f64,
    filled: Instant,
    per_second: f64,
}

impl Bucket {
    pub fn new(now: Instant) -> Bucket {
        Bucket {
            messages: 1.0,
            filled: now,
            per_second: 1.0,
        }
    }

    /// Messages that can be handed out now, at so many in a second.
    pub fn fill(&mut self, per_second: f64, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.per_second = per_second;
        self.messages = (self.messages + passed * per_second).min(per_second.max(1.0));
        self.messages as u32
    }

    /// How long it is until there is another one.
    pub fn next(&self) -> Duration {
        let missing = (1.0 - self.messages).max(0.0);
        Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX)
    }

    pub fn take(&mut self, messages: u32) {
        self.messages -= f64::from(messages);
    }

    /// Some that were handed out and not used.
    pub fn put_back(&mut self, messages: u32) {
        self.messages += f64::from(messages);
    }
}
