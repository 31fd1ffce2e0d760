//! `ringmail queue list`.

use serde_json::Value;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, print};
use crate::control::protocol::{PAGE_MAX, QueuePosition, Request};

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of(arguments)?;
    let mut open = which.open_to_read()?;
    let mut after: Option<QueuePosition> = None;
    let mut count = 0;
    loop {
        let request = Request::QueueList {
            after,
            limit: PAGE_MAX,
        };
        let mut page = String::new();
        let done = open.request(&request, &mut |item| {
            count += 1;
            page.push_str(&line(&item, arguments.json));
            Ok(())
        })?;
        print(&page)?;
        // The position is the server's: handed back as it came.
        after = serde_json::from_value(done["next"].clone()).unwrap_or(None);
        if after.is_none() {
            break;
        }
    }
    if arguments.json {
        return Ok(());
    }
    match count {
        0 => print("The queue is empty.\n"),
        1 => print("1 message.\n"),
        n => print(&format!("{n} messages.\n")),
    }
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let recipients = item["recipients"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text);
    let recipients: Vec<String> = recipients.collect();
    let shown = recipients.iter().take(RECIPIENTS_SHOWN);
    let mut to = shown.cloned().collect::<Vec<_>>().join(" ");
    if recipients.len() > RECIPIENTS_SHOWN {
        to.push_str(&format!(
            " and {} more",
            recipients.len() - RECIPIENTS_SHOWN
        ));
    }
    format!(
        "{:<12} {:<16} {:>10} octets  <{}> to {to}\n",
        text(&item["id"]),
        text(&item["account"]),
        item["size"],
        text(&item["reverse_path"]),
    )
}

/// `--json` shows them all.
const RECIPIENTS_SHOWN: usize = 5;
