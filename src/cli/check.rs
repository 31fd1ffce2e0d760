//! `ringmail check`: a running server through its socket, a stopped directory by reading it.

use std::io::{IsTerminal, Write};

use serde_json::{Value, json};

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, print};
use crate::control::protocol::Request;
use crate::store::check_stopped;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of(arguments)?;
    let mut report = Report {
        json: arguments.json,
        live: std::io::stderr().is_terminal(),
    };
    let done = match which.running()? {
        Some(mut client) => client.request(&Request::Check {}, &mut |item| report.item(&item))?,
        None => {
            which.must_have_data()?;
            which.must_be_free()?;
            stopped(&which, &mut report)?
        }
    };
    report.end(&done)
}

/// Of a stopped directory; the caller sees the same lines as from a server.
fn stopped(which: &Which, report: &mut Report) -> Result<Value, Failure> {
    let settings = which.unfinished().ok().map(|u| u.settings);
    let configured = |name: &str| match &settings {
        Some(settings) => settings.accounts.contains_key(name),
        // A data directory does not say which accounts are configured.
        None => true,
    };
    let found = check_stopped(&which.data_dir, &configured, &mut |checked| {
        report.progress(&format!("{checked} checked"));
    })?;
    for finding in &found.findings {
        report.item(&json!({"finding": finding}))?;
    }
    for note in &found.notes {
        report.item(&json!({"note": note}))?;
    }
    Ok(json!({"checked": found.checked, "findings": found.findings.len()}))
}

struct Report {
    json: bool,
    /// Standard error is a terminal: progress overwrites itself.
    live: bool,
}

impl Report {
    fn item(&mut self, item: &Value) -> Result<(), Failure> {
        for (kind, before) in [("finding", ""), ("note", "note: ")] {
            if let Some(text) = item[kind].as_str() {
                return if self.json {
                    print(&format!("{item}\n"))
                } else {
                    print(&format!("{before}{text}\n"))
                };
            }
        }
        self.progress(&format!(
            "shard {}: {} checked",
            item["shard"], item["checked"]
        ));
        Ok(())
    }

    fn progress(&self, text: &str) {
        let end = if self.live { "   \r" } else { "\n" };
        // Progress nobody sees is no error.
        let _ = write!(std::io::stderr(), "{text}{end}");
    }

    fn end(&self, done: &Value) -> Result<(), Failure> {
        if self.live {
            let _ = writeln!(std::io::stderr());
        }
        let found = done["findings"].as_u64().unwrap_or(0);
        let checked = &done["checked"];
        match (self.json, found) {
            (true, _) => print(&format!("{done}\n"))?,
            (false, 0) => print(&format!("{checked} checked, nothing is wrong.\n"))?,
            (false, 1) => print(&format!("{checked} checked, 1 thing is wrong.\n"))?,
            (false, n) => print(&format!("{checked} checked, {n} things are wrong.\n"))?,
        }
        if found > 0 {
            Err(Failure::Found)
        } else {
            Ok(())
        }
    }
}
