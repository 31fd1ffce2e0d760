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
        1 => print("1 recipient.\n"),
        n => print(&format!("{n} recipients.\n")),
    }
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let mut line = format!(
        "{:<10} {:<16} {:>10} octets  <{}> to <{}>\n           {}",
        item["id"].as_u64().unwrap_or_default(),
        text("account"),
        item["size"],
        text("reverse_path"),
        text("recipient"),
        text("state"),
    );
    let attempts = item["attempts"].as_u64().unwrap_or_default();
    if text("state") == "waiting" && attempts > 0 {
        line.push_str(&format!(
            ", next attempt {}, given up {}",
            super::date(&item["next"]),
            super::date(&item["expires"])
        ));
    }
    if let Some(last) = item["history"].as_array().and_then(|h| h.last()) {
        // What a server said: without control characters when it was stored.
        let words = [&last["code"], &last["enhanced"], &last["text"]];
        let words = words.into_iter().filter_map(|word| match word {
            Value::Number(n) if n.as_u64() != Some(0) => Some(n.to_string()),
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        });
        let words: Vec<String> = words.collect();
        line.push_str(&format!(
            ", {attempts} attempt{}, the last {}: {} {}",
            if attempts == 1 { "" } else { "s" },
            super::date(&last["at"]),
            last["remote"].as_str().unwrap_or_default(),
            words.join(" "),
        ));
    }
    line.push('\n');
    line
}
