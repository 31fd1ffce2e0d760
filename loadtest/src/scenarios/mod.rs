//! One file per scenario: from options to traffic, from traffic to figures.

pub mod idle;
pub mod imap;
pub mod login_storm;
pub mod logins;
pub mod relay;
mod relay_bars;
pub mod sink;
pub mod smtp_accept;
pub mod verify;
pub mod webapi_send;
pub mod webhooks;

use std::time::{SystemTime, UNIX_EPOCH};

/// A name no other run has.
fn run_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    format!("{:x}", now.map_or(0, |since| since.as_nanos()))
}
