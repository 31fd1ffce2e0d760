//! `ringmail suppression`.

use serde_json::Value;

use super::arguments::Arguments;
use super::options::Opt;
use super::selection::moment;
use super::which::Which;
use super::{Failure, date, notes, print};
use crate::control::protocol::{PAGE_MAX, Request};
use crate::percore::wall_clock;

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let mut open = Which::of(arguments)?.open_to_read()?;
    let request = |after| Request::SuppressionList {
        account: arguments.text(Opt::Account).map(str::to_string),
        after,
        limit: PAGE_MAX,
    };
    let count = open.pages(request, |item| line(item, arguments.json))?;
    match count == 0 && !arguments.json {
        true => print("No address is suppressed.\n"),
        false => Ok(()),
    }
}

pub(super) fn add(arguments: &Arguments) -> Result<(), Failure> {
    let expires = arguments.text(Opt::Expires).map(|text| {
        moment(text, wall_clock()).ok_or_else(|| {
            Failure::Usage(format!(
                "--expires TIME: {text:?} is no time; write 30d, 12h, or 2026-01-31T08:00:00Z"
            ))
        })
    });
    let request = Request::SuppressionAdd {
        account: account(arguments)?,
        address: arguments.rest[0].clone(),
        reason: arguments.text(Opt::Why).unwrap_or_default().to_string(),
        expires: expires.transpose()?,
    };
    changed(arguments, &request, "is suppressed")
}

pub(super) fn remove(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::SuppressionRemove {
        account: account(arguments)?,
        address: arguments.rest[0].clone(),
    };
    changed(arguments, &request, "may be written to again")
}

pub(super) fn look_up(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::SuppressionLookup {
        account: account(arguments)?,
        address: arguments.rest[0].clone(),
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let found = open.request(&request, &mut |_| Ok(()))?;
    print(&line(&found, arguments.json))
}

fn account(arguments: &Arguments) -> Result<String, Failure> {
    let account = arguments.text(Opt::Account).map(str::to_string);
    account.ok_or_else(|| Failure::Usage("say whose list: --account NAME".into()))
}

fn changed(arguments: &Arguments, request: &Request, what: &str) -> Result<(), Failure> {
    let mut open = Which::of(arguments)?.open_to_read()?;
    let done = open.request(request, &mut |_| Ok(()))?;
    if arguments.json {
        return print(&format!("{done}\n"));
    }
    let address = done["address"].as_str().unwrap_or_default();
    print(&format!("{address} {what}.\n{}", notes(&done)))
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let what = match (
        item["suppressed"].as_bool(),
        item["failures"].as_u64().unwrap_or_default(),
    ) {
        (Some(true), _) => {
            let by = match item["manual"].as_bool() {
                Some(true) => "by hand",
                _ => "automatically",
            };
            let until = match item["expires"].is_null() {
                true => String::new(),
                false => format!(", until {}", date(&item["expires"])),
            };
            let since = date(&item["created"]);
            // Others' words: without control characters, in quotes.
            format!("suppressed {by} since {since}{until}: {:?}", text("reason"))
        }
        (_, 0) => "not suppressed".into(),
        (_, count) => format!("not suppressed; failed {count} times, one after the other"),
    };
    format!("{:<16} {}  {what}\n", text("account"), text("address"))
}
