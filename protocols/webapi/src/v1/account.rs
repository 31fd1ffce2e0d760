//! Who asks.

use schemars::JsonSchema;
use serde::Serialize;

use super::scope::Scope;
use crate::Time;

/// Who asks, and what that login may do.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Account {
    /// The account.
    pub account: String,
    /// The address that logged in; of a key: none.
    pub address: Option<String>,
    /// The id of the key; of a password: none.
    pub key: Option<String>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// How much the account may send in 24 hours, whoever asks.
    pub sending: Sending,
}

/// How much an account may send in 24 hours, and what it has sent.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct Sending {
    /// Messages, one for each recipient. Null: no limit.
    pub messages: Option<SendingLimit>,
    /// Recipients that it has not written to in the 90 days before. Null: no limit.
    pub new_recipients: Option<SendingLimit>,
}

/// A limit, and how much of it is used.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct SendingLimit {
    /// What may be sent.
    pub per_day: u32,
    /// What was sent and still counts: for 24 to 25 hours.
    pub used: u64,
    /// What may be sent now.
    pub left: u64,
    /// When there is room for one. Null: now.
    pub more_at: Option<Time>,
}
