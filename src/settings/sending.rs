//! The table `[sending]` of the static file and of account files: how much an account may send. Takes effect at reload. docs/QUEUE.md.

use serde::{Deserialize, Serialize};

/// How much an account may send in 24 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sending {
    /// Messages, one for each recipient. `None`: nothing is said; 0: no limit.
    pub messages_per_day: Option<u32>,
    /// Recipients that it has not written to before. `None`: nothing is said; 0: no limit.
    pub new_recipients_per_day: Option<u32>,
}

impl Sending {
    /// What is in force where `all` holds for what this says nothing of. A limit that is there is none of 0.
    pub fn or(self, all: Sending) -> Sending {
        let limit = |own: Option<u32>, all: Option<u32>| own.or(all).filter(|most| *most > 0);
        Sending {
            messages_per_day: limit(self.messages_per_day, all.messages_per_day),
            new_recipients_per_day: limit(self.new_recipients_per_day, all.new_recipients_per_day),
        }
    }

    /// Whether there is any limit.
    pub fn is_limited(self) -> bool {
        self != Sending::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_says_more_than_the_server_and_0_lifts_a_limit() {
        let says = |messages_per_day, new_recipients_per_day| Sending {
            messages_per_day,
            new_recipients_per_day,
        };
        let nothing = Sending::default();
        let all = says(Some(100), Some(10));
        assert_eq!(nothing.or(nothing), nothing);
        assert_eq!(nothing.or(all), all);
        assert_eq!(says(Some(5), None).or(all), says(Some(5), Some(10)));
        assert_eq!(says(Some(0), Some(0)).or(all), nothing);
        assert_eq!(says(Some(0), None).or(all), says(None, Some(10)));
        assert!(!says(Some(0), None).or(nothing).is_limited());
        assert!(says(None, Some(1)).or(nothing).is_limited());
    }
}
