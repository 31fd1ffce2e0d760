//! Addresses that get nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::time::Time;

/// An address that gets nothing from the account.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Suppression")]
pub struct Suppression {
    /// What stands for all addresses that lead to the same person: in lower case, without `+` and what follows it.
    pub address: String,
    /// As it was added.
    pub named: String,
    /// Why.
    pub reason: String,
    /// Whether a person added it.
    pub manual: bool,
    /// Since when.
    pub created: Option<Time>,
    /// Until when; `null`: until somebody removes it.
    pub expires: Option<Time>,
}

/// Why an address gets nothing, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSuppression {
    /// In words, for whoever looks at the list. At most 200 octets, without control characters.
    #[serde(default)]
    #[schemars(length(max = 200), regex(pattern = schema::ONE_LINE))]
    pub reason: String,
    /// Whether a person asks for it.
    #[serde(default)]
    pub manual: bool,
    /// Until when; left out or `null`: until somebody removes it.
    #[serde(default)]
    pub expires: Option<Time>,
}

/// A page of the list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Suppressions {
    /// In the order of addresses. There may be none before the last page.
    pub suppressions: Vec<Suppression>,
    /// For the next page; `null`: this was the last.
    pub next_cursor: Option<String>,
}

/// Which page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// `next_cursor` of the page before; left out: the first.
    #[serde(default)]
    #[schemars(length(max = 2000), regex(pattern = schema::CURSOR))]
    pub cursor: Option<String>,
    /// How many entries at most: 1 to 1000; 100 if it is left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u16>,
}
