//! `ringmail queue warmup`.

use serde_json::Value;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, print};
use crate::control::protocol::Request;

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::QueueWarmUp {
        member: arguments.rest.first().cloned(),
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let mut is_empty = true;
    open.request(&request, &mut |item| {
        is_empty = false;
        print(&match arguments.json {
            true => format!("{item}\n"),
            false => told(&item),
        })
    })?;
    match is_empty && !arguments.json {
        true => print("No address has been warmed up.\n"),
        false => Ok(()),
    }
}

fn told(item: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let mut told = format!(
        "{} of pool {} at {}\n  {}: {} of {} a day given out; {}\n",
        text(&item["member"]),
        text(&item["pool"]),
        text(&item["site"]),
        text(&item["day"]),
        item["given"],
        item["cap"],
        counts(&item["counts"]),
    );
    let judgements = item["judgements"].as_array();
    // The latest first.
    for judged in judgements.into_iter().flatten().rev() {
        told.push_str(&format!(
            "  {}: {}; {} -> {} a day, {}\n",
            text(&judged["day"]),
            counts(&judged["counts"]),
            judged["before"],
            judged["after"],
            text(&judged["verdict"]),
        ));
    }
    told
}

fn counts(counts: &Value) -> String {
    format!(
        "{} delivered, {} deferred, {} refused, {} complaints",
        counts["accepted"], counts["deferred"], counts["refused"], counts["complaints"],
    )
}
