//! `ringmail apikey`.

use serde_json::Value;

use super::arguments::Arguments;
use super::options::Opt;
use super::selection::moment;
use super::which::Which;
use super::{Failure, date, notes, print};
use crate::control::protocol::Request;
use crate::percore::wall_clock;

pub(super) fn add(arguments: &Arguments) -> Result<(), Failure> {
    let expires = arguments.text(Opt::Expires).map(|text| {
        moment(text, wall_clock()).ok_or_else(|| {
            Failure::Usage(format!(
                "--expires TIME: {text:?} is no time; write 30d, 12h, or 2026-01-31T08:00:00Z"
            ))
        })
    });
    let per_minute = arguments.text(Opt::Rate).map(|text| {
        let wrong = |_| Failure::Usage(format!("--rate NUMBER: {text:?} is no number"));
        text.parse().map_err(wrong)
    });
    let list = |text: &str| text.split(',').map(|one| one.trim().to_string()).collect();
    let request = Request::ApiKeyAdd {
        account: arguments.rest[0].clone(),
        name: arguments.rest[1].clone(),
        scopes: arguments
            .text(Opt::Scope)
            .map_or_else(|| vec!["send".into()], list),
        from: arguments.text(Opt::From).map_or_else(Vec::new, list),
        per_minute: per_minute.transpose()?,
        expires: expires.transpose()?,
    };
    let mut open = Which::of(arguments)?.open()?;
    let added = open.request(&request, &mut |_| Ok(()))?;
    if arguments.json {
        return print(&format!("{added}\n"));
    }
    let secret = added["secret"].as_str().unwrap_or_default();
    print(&format!(
        "{secret}\nThis is shown once. Programs send it as: Authorization: Bearer KEY\n"
    ))
}

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::ApiKeyList {
        account: arguments.rest[0].clone(),
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let mut text = String::new();
    open.request(&request, &mut |item| {
        text.push_str(&line(&item, arguments.json));
        Ok(())
    })?;
    match text.is_empty() && !arguments.json {
        true => print("There is no key.\n"),
        false => print(&text),
    }
}

pub(super) fn remove(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::ApiKeyRemove {
        account: arguments.rest[0].clone(),
        id: arguments.rest[1].clone(),
    };
    let mut open = Which::of(arguments)?.open()?;
    let removed = open.request(&request, &mut |_| Ok(()))?;
    let name = removed["name"].as_str().unwrap_or_default();
    print(&format!("The key {name:?} is gone.\n{}", notes(&removed)))
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let all = |field: &str| {
        let list = item[field].as_array().into_iter().flatten();
        let words: Vec<&str> = list.filter_map(Value::as_str).collect();
        words.join(",")
    };
    let used = match item["last_used"].is_null() {
        true => "never used".to_string(),
        false => format!("used {}", date(&item["last_used"])),
    };
    let until = match item["expires"].is_null() {
        true => String::new(),
        false => format!(", until {}", date(&item["expires"])),
    };
    let from = match all("from").as_str() {
        "" => String::new(),
        from => format!("  from {from}"),
    };
    let rate = match item["per_minute"].as_u64() {
        Some(rate) => format!("  {rate} requests a minute"),
        None => String::new(),
    };
    format!(
        "{}  {:?}  {}{from}{rate}  since {}{until}, {used}\n",
        text("id"),
        text("name"),
        all("scopes"),
        date(&item["created"]),
    )
}
