//! What becomes of a message at each of its recipients.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::read::short;
use super::schema;
use crate::time::Time;

/// A recipient of a message, on its way or over.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Recipient {
    /// Its number.
    pub id: u64,
    /// As it was named.
    pub address: String,
    /// Of the message, with its angle brackets; empty: it has none.
    pub message_id: String,
    /// The reverse-path: whom failures are told.
    pub sender: String,
    /// Where it stands.
    pub state: State,
    /// Why it waits or is held, or why it was not delivered, in words.
    pub reason: String,
    /// When the message was accepted.
    pub accepted: Option<Time>,
    /// When it is tried next; `null`: it is held, or over.
    pub next_attempt: Option<Time>,
    /// When it is given up; `null`: it is over.
    pub expires: Option<Time>,
    /// When it was over; `null`: it is on its way.
    pub ended: Option<Time>,
    /// Octets of the message.
    pub size: u64,
    /// Attempts that were made.
    pub attempts: u32,
    /// All of them up to 12; of more the first and the latest 11.
    pub history: Vec<Attempt>,
    /// Why it failed, in one word of docs/bounces.md; `null`: it did not.
    pub class: Option<String>,
    /// What came back about it.
    pub reports: Vec<Report>,
    /// What was said of the message for whoever sent it.
    pub metadata: BTreeMap<String, String>,
}

/// Where a recipient stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is tried when it is due.
    Waiting,
    /// Nothing is tried until somebody releases it.
    Held,
    /// The next hop has taken it.
    Delivered,
    /// The next hop has taken it, and does not know of reports.
    Relayed,
    /// It was given up.
    Failed,
    /// It was taken out of the queue.
    Dropped,
    /// It was not tried, for its address is on the suppression list.
    Suppressed,
}

/// An attempt.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Attempt {
    /// When it began.
    pub at: Option<Time>,
    /// Milliseconds it took.
    pub took_ms: u32,
    /// The server that answered; `null`: none did.
    pub remote: Option<String>,
    /// Its reply code; `null`: none answered.
    pub code: Option<u16>,
    /// Its enhanced status code (RFC 3463).
    pub enhanced: Option<String>,
    /// Its words, or ours.
    pub text: String,
    /// To what it said so: `connect`, `hello` (EHLO, STARTTLS, AUTH), `mail`, `recipient`, `data` (DATA or the message); `line`: nobody was asked; `null`: it said nothing, or
    /// that was not noted.
    pub stage: Option<String>,
}

/// A report that came back.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// Which of all that came back about the recipient, from 1 on. Of more than 8 the first and the latest are kept.
    pub number: u32,
    /// When.
    pub at: Option<Time>,
    /// What it says: `delivered`, `relayed`, `delayed`, `failed`, `expanded`, `complaint`; `unrecognized`: it is no report that can be read.
    pub kind: String,
    /// The reply code it tells; `null`: none.
    pub code: Option<u16>,
    /// The enhanced status code it tells.
    pub enhanced: Option<String>,
    /// The server's words.
    pub text: String,
    /// Why it failed, in one word of docs/bounces.md.
    pub class: Option<String>,
}

/// Something that happened to a message at one of its recipients.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Happening {
    /// When.
    pub at: Option<Time>,
    /// What: `accepted`, `attempt`, `report` (one came back), or how it ended: `delivered`, `relayed`, `failed`, `dropped`, `suppressed`.
    pub event: String,
    /// Which attempt, from 1 on.
    pub attempt: Option<u32>,
    /// How many attempts before this one, or reports before this one, were not told, for they are not kept: of more than 12 attempts the first and the latest 11 are, of
    /// more than 8 reports the first and the latest.
    pub not_kept: u32,
    /// What a report says; `null`: it is none.
    pub report: Option<String>,
    /// The server that answered; `null`: none did.
    pub remote: Option<String>,
    /// Its reply code, or that which a report tells; `null`: none.
    pub code: Option<u16>,
    /// The enhanced status code of either (RFC 3463).
    pub enhanced: Option<String>,
    /// The server's words, or ours.
    pub text: String,
}

/// A page of what happened, in its order: acceptance, attempts, end, reports.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Happenings {
    /// What happened.
    pub events: Vec<Happening>,
    /// For what comes after these, also if that has not happened yet: a page without events is no last one.
    pub next_cursor: String,
    /// Whether nothing follows these any more, but reports.
    pub is_over: bool,
}

/// A page of recipients.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Recipients {
    /// Those that fit. There may be few, and none, before the last page.
    pub recipients: Vec<Recipient>,
    /// For the next page; `null`: this was the last.
    pub next_cursor: Option<String>,
}

/// Which recipients: all that is said must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Where they stand.
    #[serde(default)]
    pub state: Option<State>,
    /// A part of the recipient's address; with `@` and a domain, that domain.
    #[serde(default, deserialize_with = "short::<320, _>")]
    #[schemars(length(max = 320))]
    pub to: Option<String>,
    /// A part of the sender's address; with `@` and a domain, that domain.
    #[serde(default, deserialize_with = "short::<320, _>")]
    #[schemars(length(max = 320))]
    pub from: Option<String>,
    /// The recipient's domain.
    #[serde(default, deserialize_with = "short::<255, _>")]
    #[schemars(length(max = 255))]
    pub domain: Option<String>,
    /// `next_cursor` of the page before; left out: the first.
    #[serde(default)]
    #[schemars(length(max = 2000), regex(pattern = schema::CURSOR))]
    pub cursor: Option<String>,
    /// How many at most: 1 to 1000; 100 if it is left out. Fewer where they are long.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u16>,
}

/// What is done to recipients in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing is tried until they are released.
    Hold,
    /// Those that were held are tried again.
    Release,
    /// Those that wait are tried now; those with a `send_at` that is still to come only if they are named in `ids`.
    Kick,
    /// They are taken out. No report is sent; webhooks are told `canceled`.
    Drop,
}

/// A list that has come out empty by mistake does not mean all.
fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u64>>, D::Error> {
    #[derive(Deserialize)]
    struct List(#[serde(deserialize_with = "super::read::list::<1_000, _, _>")] Vec<u64>);
    match Option::deserialize(from)? {
        Some(List(list)) if list.is_empty() => Err(serde::de::Error::custom(
            "there is none in it; leave it out to mean all",
        )),
        other => Ok(other.map(|List(list)| list)),
    }
}

/// Something done to all recipients that fit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueAction {
    /// What.
    pub action: Action,
    /// Only those with these numbers, at least one and at most 1000; left out: all.
    #[serde(default, deserialize_with = "numbers")]
    #[schemars(length(min = 1, max = 1_000))]
    pub ids: Option<Vec<u64>>,
    /// Only those that wait, or that are held.
    #[serde(default)]
    #[schemars(schema_with = "schema::queue_state")]
    pub state: Option<State>,
    /// A part of the recipient's address; with `@` and a domain, that domain.
    #[serde(default, deserialize_with = "short::<320, _>")]
    #[schemars(length(max = 320))]
    pub to: Option<String>,
    /// A part of the sender's address; with `@` and a domain, that domain.
    #[serde(default, deserialize_with = "short::<320, _>")]
    #[schemars(length(max = 320))]
    pub from: Option<String>,
    /// The recipient's domain.
    #[serde(default, deserialize_with = "short::<255, _>")]
    #[schemars(length(max = 255))]
    pub domain: Option<String>,
    /// `next_cursor` of the answer before, to go on; left out: from the beginning.
    #[serde(default)]
    #[schemars(length(max = 2000), regex(pattern = schema::CURSOR))]
    pub cursor: Option<String>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ActionDone {
    /// Recipients that were looked at.
    pub looked_at: u64,
    /// Of these, those that were changed.
    pub changed: u64,
    /// There is more: ask again with it; `null`: it is done.
    pub next_cursor: Option<String>,
}
