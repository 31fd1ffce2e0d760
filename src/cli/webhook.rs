//! `ringmail webhook`.

use serde_json::Value;

use super::arguments::Arguments;
use super::options::Opt;
use super::selection::{moment, span};
use super::table::Command;
use super::which::Which;
use super::{Failure, date, notes, print};
use crate::control::protocol::{Request, WebhookDeed};
use crate::percore::wall_clock;
use crate::queue::hooks::HookFilter;

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let account = arguments.rest[0].clone();
    let mut open = Which::of(arguments)?.open_to_read()?;
    let mut lines = String::new();
    let done = open.request(&Request::WebhookList { account }, &mut |item| {
        lines.push_str(&endpoint(&item, arguments.json));
        Ok(())
    })?;
    if lines.is_empty() && !arguments.json {
        lines.push_str("There is no endpoint.\n");
    }
    if done["dropped"].as_u64().unwrap_or_default() > 0 && !arguments.json {
        lines.push_str(&format!(
            "{} webhooks were not made, for too many waited, or too much.\n",
            done["dropped"]
        ));
    }
    print(&lines)
}

/// `add` and `set`.
pub(super) fn put(arguments: &Arguments, is_new: bool) -> Result<(), Failure> {
    let events = arguments
        .text(Opt::Events)
        .map(|text| text.split(',').map(str::to_string).collect());
    let concurrency = arguments.text(Opt::Concurrency).map(|text| {
        text.parse().map_err(|_| {
            Failure::Usage(format!(
                "--concurrency N: {text:?} is no number from 1 to 32"
            ))
        })
    });
    let url = match is_new {
        true => Some(arguments.rest[1].clone()),
        false => arguments.text(Opt::Url).map(str::to_string),
    };
    let request = Request::WebhookPut {
        account: arguments.rest[0].clone(),
        id: match is_new {
            true => None,
            false => Some(number(&arguments.rest[1])?),
        },
        url,
        authorization: arguments.text(Opt::Authorization).map(str::to_string),
        events,
        concurrency: concurrency.transpose()?,
    };
    changed(arguments, &request)
}

pub(super) fn change(command: Command, arguments: &Arguments) -> Result<(), Failure> {
    let deed = match command {
        Command::WebhookRemove => WebhookDeed::Remove {},
        Command::WebhookEnable => WebhookDeed::Enable {},
        Command::WebhookDisable => WebhookDeed::Disable {
            why: arguments.text(Opt::Why).unwrap_or_default().to_string(),
        },
        _ => {
            let text = arguments.text(Opt::For).unwrap_or("1d");
            WebhookDeed::Rotate {
                overlap_secs: span(text).map(u64::from).ok_or_else(|| {
                    Failure::Usage(format!(
                        "--for LENGTH: {text:?} is none; write 30m, 12h or 2d"
                    ))
                })?,
            }
        }
    };
    let request = Request::WebhookChange {
        account: arguments.rest[0].clone(),
        id: number(&arguments.rest[1])?,
        deed,
    };
    changed(arguments, &request)
}

fn changed(arguments: &Arguments, request: &Request) -> Result<(), Failure> {
    let mut open = Which::of(arguments)?.open()?;
    let done = open.request(request, &mut |_| Ok(()))?;
    if arguments.json {
        return print(&format!("{done}\n"));
    }
    let mut text = endpoint(&done, false);
    if let Some(secret) = done["secret"].as_str() {
        text.push_str(&format!("Its secret, which is not shown again: {secret}\n"));
    }
    print(&(text + &notes(&done)))
}

pub(super) fn test(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::WebhookTest {
        account: arguments.rest[0].clone(),
        id: number(&arguments.rest[1])?,
    };
    let mut open = Which::of(arguments)?.open()?;
    let done = open.request(&request, &mut |_| Ok(()))?;
    match arguments.json {
        true => print(&format!("{done}\n")),
        false => print(&result(&done)),
    }
}

/// `queue` and `history`.
pub(super) fn page(command: Command, arguments: &Arguments) -> Result<(), Failure> {
    let account = arguments.rest[0].clone();
    let filter = filter(arguments)?;
    let mut open = Which::of(arguments)?.open_to_read()?;
    let request = |after| match command {
        Command::WebhookHistory => Request::WebhookHistory {
            account: account.clone(),
            after,
            filter: Box::new(filter.clone()),
        },
        _ => Request::WebhookQueue {
            account: account.clone(),
            after,
            filter: Box::new(filter.clone()),
        },
    };
    let count = open.pages(request, |item| hook(item, arguments.json))?;
    match (count, arguments.json, command) {
        (0, false, Command::WebhookHistory) => print("None is kept that fits.\n"),
        (0, false, _) => print("None waits that fits.\n"),
        _ => Ok(()),
    }
}

fn filter(arguments: &Arguments) -> Result<HookFilter, Failure> {
    let now = wall_clock();
    let time = |option: Opt| {
        let text = arguments.text(option);
        let read = text.map(|text| {
            moment(text, now)
                .ok_or_else(|| Failure::Usage(format!("{}: {text:?} is no time", option.written())))
        });
        read.transpose()
    };
    let text = |option: Opt| arguments.text(option).map(str::to_string);
    let success = match arguments.text(Opt::Result) {
        None => None,
        Some("delivered") => Some(true),
        Some("failed") => Some(false),
        Some(other) => {
            return Err(Failure::Usage(format!(
                "--result RESULT: {other:?} is none of delivered, failed"
            )));
        }
    };
    Ok(HookFilter {
        id: None,
        endpoint: text(Opt::Endpoint).map(|n| number(&n)).transpose()?,
        event: text(Opt::Event),
        recipient: text(Opt::Recipient).map(|n| number(&n)).transpose()?,
        success,
        created_before: time(Opt::CreatedBefore)?,
        created_after: time(Opt::CreatedAfter)?,
    })
}

pub(super) fn payload(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::WebhookPayload {
        account: arguments.rest[0].clone(),
        id: number(&arguments.rest[1])?,
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let done = open.request(&request, &mut |_| Ok(()))?;
    // JSON, in which control characters are escaped.
    print(&format!(
        "{}\n",
        done["payload"].as_str().unwrap_or_default()
    ))
}

/// `redeliver` and `cancel`.
pub(super) fn each(command: Command, arguments: &Arguments) -> Result<(), Failure> {
    let account = arguments.rest[0].clone();
    let ids: Result<Vec<u64>, Failure> = arguments.rest[1..].iter().map(|n| number(n)).collect();
    let (request, what) = match command {
        Command::WebhookCancel => (Request::WebhookCancel { account, ids: ids? }, "given up"),
        _ => (
            Request::WebhookRedeliver { account, ids: ids? },
            "in line again",
        ),
    };
    let mut open = Which::of(arguments)?.open()?;
    let done = open.request(&request, &mut |_| Ok(()))?;
    match arguments.json {
        true => print(&format!("{done}\n")),
        false => print(&format!("{} {what}.\n", done["count"])),
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, Failure> {
    text.parse()
        .map_err(|_| Failure::Usage(format!("{text:?} is no number")))
}

fn endpoint(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let words = item["events"].as_array().into_iter().flatten();
    let words: Vec<&str> = words.filter_map(Value::as_str).collect();
    let mut line = format!("{}  {}  {}", item["id"], text("url"), words.join(","));
    if item["concurrency"] != 1 {
        line.push_str(&format!(", {} calls at once", item["concurrency"]));
    }
    if item["authorization"] == true {
        line.push_str(", with Authorization");
    }
    if item["pending"].as_u64().unwrap_or_default() > 0 {
        line.push_str(&format!(", {} wait", item["pending"]));
    }
    if !item["second_secret_until"].is_null() {
        let until = date(&item["second_secret_until"]);
        line.push_str(&format!(", two secrets until {until}"));
    }
    if !item["failing_since"].is_null() {
        line.push_str(&format!(", failing since {}", date(&item["failing_since"])));
    }
    if let Some(why) = item["disabled"].as_str() {
        line.push_str(&format!(", switched off: {why:?}"));
    }
    line.push('\n');
    line
}

fn hook(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let mut line = format!(
        "{}  {}  to {}: {}",
        item["id"],
        date(&item["created"]),
        item["endpoint"],
        text("event")
    );
    if item["recipient"] != 0 {
        line.push_str(&format!(" of {}", item["recipient"]));
    }
    let plural = if item["attempts"] == 1 { "" } else { "s" };
    line.push_str(&format!(", {} attempt{plural}", item["attempts"]));
    match (item["success"].as_bool(), item["superseded_by"].as_u64()) {
        (None, _) => line.push_str(&format!(", next {}", date(&item["due"]))),
        (Some(true), _) => line.push_str(&format!(", delivered {}", date(&item["at"]))),
        (_, Some(by)) => line.push_str(&format!(", superseded by {by}")),
        (Some(false), _) => line.push_str(&format!(", given up {}", date(&item["at"]))),
    }
    if !item["paused_until"].is_null() {
        let until = date(&item["paused_until"]);
        line.push_str(&format!(
            ", for its endpoint asked for a pause until {until}"
        ));
    }
    line.push('\n');
    for one in item["results"].as_array().into_iter().flatten() {
        line.push_str(&format!("    {}", result(one)));
    }
    line
}

fn result(item: &Value) -> String {
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let mut line = format!("{}  {}", date(&item["at"]), text("url"));
    if item["code"] != 0 {
        line.push_str(&format!(", {}", item["code"]));
    }
    line.push_str(&format!(", {} ms", item["took_ms"]));
    // Others' words: without control characters, in quotes.
    for words in [text("error"), text("response")] {
        if !words.is_empty() {
            line.push_str(&format!(": {words:?}"));
        }
    }
    line.push('\n');
    line
}
