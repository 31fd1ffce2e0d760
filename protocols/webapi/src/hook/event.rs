//! What receivers can be told of.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "WebhookEvent")]
pub enum HookEvent {
    /// The next hop has taken the message.
    Delivered,
    /// It was given up: the address is on the suppression list.
    Suppressed,
    /// An attempt failed; another one follows.
    Delayed,
    /// It was given up.
    Failed,
    /// By a report: it went on to where no reports are made.
    Relayed,
    /// By a report: it went to the members of a list.
    Expanded,
    /// It was taken out of the queue by hand.
    Canceled,
    /// Something came to the address that it was sent from that is no report.
    Unrecognized,
    /// The recipient, or their provider, calls it spam.
    Complaint,
    /// The recipient wants no more.
    Unsubscribed,
    /// A message came for the account.
    Incoming,
}

impl HookEvent {
    /// All of them. The first eight are those that receivers of the first version know.
    pub const ALL: [HookEvent; 11] = [
        HookEvent::Delivered,
        HookEvent::Suppressed,
        HookEvent::Delayed,
        HookEvent::Failed,
        HookEvent::Relayed,
        HookEvent::Expanded,
        HookEvent::Canceled,
        HookEvent::Unrecognized,
        HookEvent::Complaint,
        HookEvent::Unsubscribed,
        HookEvent::Incoming,
    ];

    /// As payloads and settings have it.
    pub fn word(self) -> &'static str {
        match self {
            HookEvent::Delivered => "delivered",
            HookEvent::Suppressed => "suppressed",
            HookEvent::Delayed => "delayed",
            HookEvent::Failed => "failed",
            HookEvent::Relayed => "relayed",
            HookEvent::Expanded => "expanded",
            HookEvent::Canceled => "canceled",
            HookEvent::Unrecognized => "unrecognized",
            HookEvent::Complaint => "complaint",
            HookEvent::Unsubscribed => "unsubscribed",
            HookEvent::Incoming => "incoming",
        }
    }

    /// Whether a newer event of the same recipient makes it needless, and it makes an older one so.
    pub fn supersedes(self) -> bool {
        !matches!(
            self,
            HookEvent::Complaint | HookEvent::Unsubscribed | HookEvent::Incoming
        )
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for HookEvent {
    type Err = String;

    fn from_str(text: &str) -> Result<HookEvent, String> {
        let all = HookEvent::ALL;
        all.into_iter()
            .find(|event| event.word() == text)
            .ok_or_else(|| {
                let words = all.map(HookEvent::word).join(", ");
                format!("{text:?} is no event; there are {words}")
            })
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HookEvents(u16);

impl HookEvents {
    /// None.
    pub const NONE: HookEvents = HookEvents(0);
    /// What receivers of the first version know, without incoming mail.
    pub const FIRST: HookEvents = HookEvents(0xff);

    /// With another one.
    pub fn with(self, event: HookEvent) -> HookEvents {
        HookEvents(self.0 | event.bit())
    }

    /// Whether it is among them.
    pub fn has(self, event: HookEvent) -> bool {
        self.0 & event.bit() != 0
    }

    /// Those of both.
    pub fn and(self, other: HookEvents) -> HookEvents {
        HookEvents(self.0 | other.0)
    }

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its events.
    pub fn iter(self) -> impl Iterator<Item = HookEvent> {
        HookEvent::ALL
            .into_iter()
            .filter(move |event| self.has(*event))
    }

    /// As a number, for rows.
    pub fn to_bits(self) -> u16 {
        self.0
    }

    /// From a row; bits that are no event are left out.
    pub fn from_bits(bits: u16) -> HookEvents {
        HookEvent::ALL
            .into_iter()
            .filter(|event| bits & event.bit() != 0)
            .collect()
    }
}

impl FromIterator<HookEvent> for HookEvents {
    fn from_iter<I: IntoIterator<Item = HookEvent>>(events: I) -> HookEvents {
        events.into_iter().fold(HookEvents::NONE, HookEvents::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for event in HookEvent::ALL {
            assert_eq!(event.word().parse(), Ok(event));
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(json, format!("{:?}", event.word()));
        }
        let error = "bounced".parse::<HookEvent>().unwrap_err();
        assert!(error.contains("delivered") && error.contains("incoming"));
    }

    #[test]
    fn the_first_receivers_never_see_later_words() {
        let first: Vec<&str> = HookEvents::FIRST.iter().map(HookEvent::word).collect();
        assert_eq!(
            first,
            [
                "delivered",
                "suppressed",
                "delayed",
                "failed",
                "relayed",
                "expanded",
                "canceled",
                "unrecognized"
            ]
        );
        let more = HookEvents::FIRST.with(HookEvent::Incoming);
        assert!(more.has(HookEvent::Incoming) && !more.has(HookEvent::Complaint));
        assert_eq!(HookEvents::from_bits(more.to_bits() | 1 << 15), more);
    }
}
