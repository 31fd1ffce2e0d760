//! `ringmail batch`.

use serde_json::Value;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, date, print};
use crate::control::protocol::{PAGE_MAX, Request};
use crate::queue::QueueId;

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let mut open = Which::of(arguments)?.open_to_read()?;
    let request = |after| Request::BatchList {
        account: arguments.rest[0].clone(),
        after,
        limit: PAGE_MAX,
    };
    let count = open.pages(request, |item| line(item, arguments.json))?;
    match count == 0 && !arguments.json {
        true => print("There are none.\n"),
        false => Ok(()),
    }
}

pub(super) fn show(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::BatchShow {
        account: arguments.rest[0].clone(),
        id: id(arguments)?,
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let found = open.request(&request, &mut |_| Ok(()))?;
    print(&line(&found, arguments.json))
}

pub(super) fn cancel(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::BatchCancel {
        account: arguments.rest[0].clone(),
        id: id(arguments)?,
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let done = open.request(&request, &mut |_| Ok(()))?;
    if arguments.json {
        return print(&format!("{done}\n"));
    }
    let mut said = match done["dropped"].as_u64() {
        Some(1) => "1 recipient was dropped".to_owned(),
        _ => format!("{} recipients were dropped", done["dropped"]),
    };
    match done["under_way"].as_u64() {
        Some(0) | None => (),
        Some(1) => said.push_str("; 1 is being sent to and may have its message still"),
        Some(more) => {
            said.push_str(&format!(
                "; {more} are being sent to and may have their messages still"
            ));
        }
    }
    print(&format!("{said}.\n"))
}

fn id(arguments: &Arguments) -> Result<u64, Failure> {
    let id: Result<QueueId, _> = arguments.rest[1].parse();
    Ok(id.map_err(Failure::Usage)?.get())
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let mut line = format!(
        "{:<10} {}  {} recipients: {} waiting, {} delivered, {} failed, {} suppressed, {} dropped",
        item["id"],
        date(&item["accepted"]),
        item["recipients"],
        item["waiting"],
        item["delivered"],
        item["failed"],
        item["suppressed"],
        item["dropped"],
    );
    let name = item["name"].as_str().unwrap_or_default();
    if !name.is_empty() {
        line.push_str(&format!(", {name:?}"));
    }
    if item["not_before"].as_i64() > item["accepted"].as_i64() {
        line.push_str(&format!(", not before {}", date(&item["not_before"])));
    }
    for (field, word) in [("cancelled", "cancelled"), ("ended", "over since")] {
        if !item[field].is_null() {
            line.push_str(&format!(", {word} {}", date(&item[field])));
        }
    }
    line.push('\n');
    line
}
