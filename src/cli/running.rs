//! Commands to a running server: `reload`, `stop`, `status`.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, notes, print};
use crate::control::protocol::Request;

pub(super) fn reload(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = Which::of(arguments)?.must_run()?;
    let done = client.request(&Request::Reload {}, &mut |_| Ok(()))?;
    let mut text = String::from("The settings are in force.\n");
    text.push_str(&notes(&done));
    let failed = done["failed"].as_array().into_iter().flatten();
    let failed: Vec<&str> = failed.filter_map(Value::as_str).collect();
    for message in &failed {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Failed: {message}");
    }
    print(&text)?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::Found)
}

pub(super) fn stop(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = Which::of(arguments)?.must_run()?;
    let done = client.request(&Request::Stop {}, &mut |_| Ok(()))?;
    if client.wait_for_end(STOP_LIMIT) {
        return print("The server has stopped.\n");
    }
    Err(Failure::Failed(format!(
        "the server (process {}) is still stopping after {} s; its log says what it waits for",
        done["pid"],
        STOP_LIMIT.as_secs()
    )))
}

pub(super) fn status(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = Which::of(arguments)?.must_run()?;
    let status = client.request(&Request::Status {}, &mut |_| Ok(()))?;
    if arguments.json {
        print(&format!("{status}\n"))?;
    } else {
        print(&told(&status))?;
    }
    match status["troubles"].as_array() {
        Some(troubles) if !troubles.is_empty() => Err(Failure::Found),
        _ => Ok(()),
    }
}

fn told(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let mut out = format!(
        "ringmail {} runs as process {} since {} s{}\n",
        text(&status["version"]),
        status["pid"],
        status["uptime_secs"],
        if status["stopping"] == true {
            " and is stopping"
        } else {
            ""
        }
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{} in {} shards on {} cores; {} accounts, {} connections",
        text(&status["data_dir"]),
        status["shards"],
        status["cores"],
        status["accounts"],
        status["connections"]
    );
    for listening in status["listening"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "  {:<12} {}",
            text(&listening["door"]),
            text(&listening["address"])
        );
    }
    for trouble in status["troubles"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "Trouble: {}", text(trouble));
    }
    out
}

/// Longer than any sensible shutdown_grace_secs.
const STOP_LIMIT: Duration = Duration::from_secs(120);
