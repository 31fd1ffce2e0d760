//! Who asks.

use schemars::JsonSchema;
use serde::Serialize;

use super::scope::Scope;

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
}
