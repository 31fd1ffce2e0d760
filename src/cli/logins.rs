//! `ringmail account logins`: the record of login attempts.

use serde_json::Value;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, print};
use crate::control::protocol::Request;

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::AccountLogins {
        account: arguments.rest.first().cloned(),
        failed: arguments.failed,
        limit: arguments.limit.unwrap_or(DEFAULT) as usize,
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    open.request(&request, &mut |item| print(&line(&item, arguments.json)))?;
    Ok(())
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    // What others wrote is told apart from what we say by quotes; it has no control characters.
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let account = match text("account") {
        "" => "-",
        account => account,
    };
    let mut line = format!(
        "{}  {account:<16} {:?} from {}  {} {}: {}",
        super::date(&item["last"]),
        text("login"),
        text("peer"),
        text("protocol"),
        text("mechanism"),
        text("result"),
    );
    if item["count"].as_u64().unwrap_or(1) > 1 {
        line.push_str(&format!(
            "  {} times since {}",
            item["count"],
            super::date(&item["first"])
        ));
    }
    if !text("client").is_empty() {
        line.push_str(&format!("  client {:?}", text("client")));
    }
    match text("tls") {
        "" => line.push_str("  no TLS"),
        tls => line.push_str(&format!("  {tls}")),
    }
    if let Some(key) = item["key"].as_str() {
        line.push_str(&format!("  key {key}"));
    }
    line.push('\n');
    line
}

/// Records shown unless another number is asked for.
const DEFAULT: u32 = 100;
