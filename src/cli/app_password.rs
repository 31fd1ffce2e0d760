//! `ringmail account app-password`: add, remove, list.

use serde_json::Value;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, notes, print};
use crate::control::protocol::Request;

pub(super) fn add(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::AppPasswordAdd {
        account: arguments.rest[0].clone(),
        name: arguments.rest[1].clone(),
        services: arguments.rest[2..].to_vec(),
    };
    let mut open = Which::of(arguments)?.open()?;
    let done = open.request(&request, &mut |_| Ok(()))?;
    // Alone on its line, for scripts.
    print(&format!(
        "{}\n",
        done["password"].as_str().unwrap_or_default()
    ))
}

pub(super) fn remove(arguments: &Arguments) -> Result<(), Failure> {
    let (account, name) = (arguments.rest[0].clone(), arguments.rest[1].clone());
    let text = format!("The app password {name} of {account} is gone.\n");
    let request = Request::AppPasswordRemove { account, name };
    let mut open = Which::of(arguments)?.open()?;
    let done = open.request(&request, &mut |_| Ok(()))?;
    print(&(text + &notes(&done)))
}

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::AppPasswordList {
        account: arguments.rest[0].clone(),
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let mut text = String::new();
    open.request(&request, &mut |item| {
        text.push_str(&line(&item, arguments.json));
        Ok(())
    })?;
    print(&text)
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let services = item["services"].as_array().into_iter().flatten();
    let services: Vec<&str> = services.filter_map(Value::as_str).collect();
    format!(
        "{:<24} {:<17} since {}\n",
        item["name"].as_str().unwrap_or_default(),
        services.join(" "),
        super::date(&item["created"]),
    )
}
