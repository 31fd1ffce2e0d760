//! The settings as a whole: what every room above is given.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::account::Account;
use super::account_name::AccountName;
use super::domains::Domains;
use super::server::Server;
use super::shaping::Shaping;
use super::text::Fingerprints;

/// Everything the operator decided. Immutable: it lives in an `Arc` that is swapped as a whole at reload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The static file.
    pub server: Server,
    /// The domains file.
    pub domains: Domains,
    /// The accounts, by name. An `Arc` each, so that a reload which changes one account shares all others: they are read on every core.
    pub accounts: BTreeMap<AccountName, Arc<Account>>,
    /// The rules of traffic shaping.
    pub shaping: Arc<Shaping>,
    /// Account that receives whatever has no account of its own, at any domain. Only `localserve` sets it; no file can.
    pub everything_to: Option<AccountName>,
    /// What each file held when it was read, so that an edit by hand is noticed and never overwritten.
    pub fingerprints: Fingerprints,
}
