//! Webhooks: where an account has events sent, and what was sent there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::{list, whole};
use super::schema;
use crate::hook::{HookEvent, HookEvents};
use crate::time::Time;

/// What a webhook is to be.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutWebhook {
    /// Where calls go: `https://` or `http://`.
    #[schemars(length(min = 8, max = 2000), regex(pattern = schema::URL), extend("format" = "uri"))]
    pub url: String,
    /// Of what it is told; left out: the first eight of them.
    #[serde(default = "first", deserialize_with = "list::<20, _, _>")]
    #[schemars(length(min = 1, max = 20))]
    pub events: Vec<HookEvent>,
    /// The value of the header field Authorization of each call, in ASCII; empty: there is none. It is never shown. Left out or `null`: as it was,
    /// if the webhook was called at the same server before; else there is none.
    #[serde(default)]
    #[schemars(length(max = 1000), regex(pattern = schema::ASCII))]
    pub authorization: Option<String>,
    /// Calls at once: 1 to 32. With 1 they come in the order of events.
    #[serde(default = "one", deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 32))]
    pub concurrency: u8,
}

/// Without what it authorizes with.
impl std::fmt::Debug for PutWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutWebhook")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

fn first() -> Vec<HookEvent> {
    HookEvents::FIRST.iter().collect()
}

fn one() -> u8 {
    1
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Webhook {
    /// Its number.
    pub id: u32,
    /// Where calls go.
    pub url: String,
    /// Of what it is told.
    pub events: Vec<HookEvent>,
    /// Whether calls have a header field Authorization; its value is not shown.
    pub has_authorization: bool,
    /// Calls at once.
    pub concurrency: u8,
    /// Since when it is there.
    pub created: Option<Time>,
    /// Whether it is told of new events, and called.
    pub enabled: bool,
    /// Why it is switched off; `null`: it is on.
    pub disabled_reason: Option<String>,
    /// Since when all calls have failed; `null`: the latest did not.
    pub failing_since: Option<Time>,
    /// Until when the secret before the last rotation signs, too; `null`: one secret signs.
    pub previous_secret_until: Option<Time>,
    /// Deliveries that wait.
    pub waiting: u64,
}

/// A webhook with its secret.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct WebhookWithSecret {
    /// What calls are signed with, as Standard Webhooks has it, for the only time.
    pub secret: String,
    /// The webhook.
    pub webhook: Webhook,
}

/// The webhooks of an account.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Webhooks {
    /// At most 20.
    pub webhooks: Vec<Webhook>,
    /// Events that were told to nobody, for too many deliveries were waiting.
    pub dropped: u64,
}

/// How a secret is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// For how many seconds the secret before signs, too, at most a year; left out: for a day.
    #[serde(default = "day", deserialize_with = "whole")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub overlap_secs: u32,
}

impl RotateSecret {
    /// Seconds for which two secrets may sign.
    pub const OVERLAP_MAX_SECS: u32 = 31_536_000;
}

fn day() -> u32 {
    86_400
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is sent when it is due.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// It was given up.
    Failed,
    /// A newer event of the same recipient made it needless.
    Superseded,
}

/// An event, for one webhook.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Delivery {
    /// Its number: `webhook-id` without `msg_`.
    pub id: u64,
    /// The number of the webhook.
    pub webhook: u32,
    /// Where it stands.
    pub state: DeliveryState,
    /// What happened.
    pub event: String,
    /// To which recipient of a message; `null`: it is about none.
    pub recipient: Option<u64>,
    /// The Message-ID, with its angle brackets; empty: there is none.
    pub message_id: String,
    /// Of the message.
    pub subject: String,
    /// Octets of the payload.
    pub size: u32,
    /// When it was made.
    pub created: Option<Time>,
    /// When it is sent next; `null`: it is over.
    pub next_attempt: Option<Time>,
    /// The webhook has asked for a pause (`Retry-After`) until then, of all its deliveries; `null`: it has not.
    pub paused_until: Option<Time>,
    /// When it was over; `null`: it waits.
    pub ended: Option<Time>,
    /// The newer delivery that made it needless.
    pub superseded_by: Option<u64>,
    /// Attempts that were begun.
    pub attempts: u32,
    /// What came of the first attempt and the latest.
    pub results: Vec<CallResult>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CallResult {
    /// When it began.
    pub at: Option<Time>,
    /// Milliseconds it took.
    pub took_ms: u32,
    /// Where it went; empty: there was no call.
    pub url: String,
    /// Whether the receiver has it.
    pub success: bool,
    /// The status of the answer; `null`: there was none.
    pub code: Option<u16>,
    /// Why it was no success.
    pub error: String,
    /// The beginning of the answer: 512 octets at most.
    pub response: String,
}

/// A delivery with what is sent.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DeliveryWithPayload {
    /// The delivery.
    pub delivery: Delivery,
    /// The body of each call, as it is signed: JSON, in a text.
    pub payload: String,
}

/// A page of deliveries.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Deliveries {
    /// Those that fit. There may be few, and none, before the last page.
    pub deliveries: Vec<Delivery>,
    /// For the next page; `null`: this was the last.
    pub next_cursor: Option<String>,
}

/// Which deliveries: all that is said must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverySelection {
    /// Where they stand.
    #[serde(default)]
    pub state: Option<DeliveryState>,
    /// For the webhook of this number.
    #[serde(default)]
    pub webhook: Option<u32>,
    /// About this event.
    #[serde(default)]
    pub event: Option<HookEvent>,
    /// About the recipient of this number.
    #[serde(default)]
    pub recipient: Option<u64>,
    /// Made then or later.
    #[serde(default)]
    pub created_after: Option<Time>,
    /// Made before then.
    #[serde(default)]
    pub created_before: Option<Time>,
    /// `next_cursor` of the page before; left out: the first.
    #[serde(default)]
    #[schemars(length(max = 2000), regex(pattern = schema::CURSOR))]
    pub cursor: Option<String>,
    /// How many at most: 1 to 1000; 100 if it is left out. Fewer where they are long.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::read;

    #[test]
    fn what_is_left_out_of_a_webhook_is_as_documented() {
        let read: PutWebhook = read::body(br#"{"url": "https://a.example/"}"#).unwrap();
        assert_eq!(read.events.len(), 8);
        assert_eq!((read.concurrency, read.authorization), (1, None));
    }

    #[test]
    fn wrong_fields_of_a_webhook_are_named() {
        for (json, pointer) in [
            (r#"{"events": ["failed"]}"#, "/url"),
            (
                r#"{"url": "x", "events": ["failed", "bounced"]}"#,
                "/events/1",
            ),
            (r#"{"url": "x", "concurrency": 256}"#, "/concurrency"),
            (r#"{"url": "x", "secret": "y"}"#, "/secret"),
        ] {
            let problem = read::body::<PutWebhook>(json.as_bytes()).unwrap_err();
            let named = problem.errors[0].pointer.as_deref().unwrap_or_default();
            assert_eq!(named, pointer, "{problem:?}");
        }
    }

    #[test]
    fn a_selection_is_read_from_a_query() {
        let query = "state=failed&webhook=2&event=delayed&created_after=2026-01-01T00:00:00Z";
        let read: DeliverySelection = read::query(query).unwrap();
        assert_eq!(read.state, Some(DeliveryState::Failed));
        assert_eq!(
            (read.webhook, read.event),
            (Some(2), Some(HookEvent::Delayed))
        );
        assert!(read.created_after.is_some());
    }
}
