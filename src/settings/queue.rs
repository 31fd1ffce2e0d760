//! The table `[queue]` of the static file: how long mail on its way out is tried. Takes effect at reload, for messages that are accepted and
//! attempts that are made from then on.

use serde::{Deserialize, Serialize};

use super::units::Secs;

/// How mail on its way out is kept and tried. RFC 5321 4.5.4.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// How long to wait after the first attempt, the second and so on; the last one repeats.
    pub retry_secs: Vec<Secs>,
    /// When to give up, from the acceptance on.
    pub give_up_after_secs: Secs,
    /// When the sender is told that his message is delayed.
    pub delay_notice_after_secs: Secs,
    /// For how long a message may be held at its sender's wish (FUTURERELEASE, RFC 4865); 0: not at all.
    pub hold_max_secs: Secs,
    /// Recipients that wait, on a core; more are refused for the time being.
    pub recipients_per_core_max: u32,
    /// Those of one account, on a core.
    pub account_recipients_per_core_max: u32,
    /// Octets of messages of one account that wait, on a core.
    pub account_messages_per_core_max_bytes: super::units::Bytes,
    /// Octets of messages a core keeps in memory from their acceptance to their first attempt; others are read again.
    pub fresh_memory_bytes: super::units::Bytes,
    /// Whether addresses that fail for good are put on the suppression list of the account that wrote to them.
    pub suppress_on_failure: bool,
    /// How long recipients that are over are kept with their results; 0: they are not.
    pub keep_retired_secs: Secs,
}

impl Queue {
    /// How many recipients may wait on a core.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            all: self.recipients_per_core_max as usize,
            of_account: self.account_recipients_per_core_max as usize,
            octets_of_account: self.account_messages_per_core_max_bytes.0,
        }
    }
}

/// Recipients that may wait on a core.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of all together.
    pub all: usize,
    /// Of one account.
    pub of_account: usize,
    /// Octets of the messages of one account.
    pub octets_of_account: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            retry_secs: [5, 10, 20, 40, 80, 160, 240].map(Secs::minutes).to_vec(),
            give_up_after_secs: Secs::minutes(5 * 24 * 60),
            delay_notice_after_secs: Secs::minutes(4 * 60),
            hold_max_secs: Secs::minutes(60 * 24 * 60),
            recipients_per_core_max: 2_000_000,
            account_recipients_per_core_max: 1_000_000,
            account_messages_per_core_max_bytes: super::units::Bytes::mib(16 << 10),
            fresh_memory_bytes: super::units::Bytes::mib(32),
            suppress_on_failure: true,
            keep_retired_secs: Secs::new(0),
        }
    }
}
