//! `ringmail account`: add, remove, list, password.

use std::io::Write;

use serde_json::Value;

use super::arguments::Arguments;
use super::which::{Open, Which};
use super::{Failure, notes, password, print};
use crate::control::accounts::{add_to, describe, remove_from};
use crate::control::protocol::{PAGE_MAX, Request};
use crate::settings::{Problem, Problems, Settings};

pub(super) fn add(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of(arguments)?;
    let (name, addresses) = (arguments.rest[0].clone(), arguments.rest[1..].to_vec());
    let runs = which.running()?.is_some();
    let done = if runs || which.has_data() {
        let request = Request::AccountAdd {
            name: name.clone(),
            addresses,
            keep: arguments.keep,
        };
        which.open()?.request(&request, &mut |_| Ok(()))?
    } else {
        // The data directory is not made yet: the file is all there is to it.
        add_to(&which.unfinished()?.settings, &name, &addresses)?;
        Value::Null
    };
    let mut text = format!(
        "Account {name} is there. Give it a password: ringmail account password {} {name}\n",
        which.named
    );
    text.push_str(&notes(&done));
    print(&text)?;
    if !runs {
        say_missing(&which.unfinished()?.missing);
    }
    Ok(())
}

/// What keeps a server from starting still. On standard error: the command did what it was to do.
fn say_missing(missing: &[Problem]) {
    if !missing.is_empty() {
        // Nobody may read it any more.
        let _ = writeln!(
            std::io::stderr(),
            "{}\nThe server starts when that is put right",
            Problems(missing.to_vec())
        );
    }
}

pub(super) fn remove(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of(arguments)?;
    let name = arguments.rest[0].clone();
    if which.running()?.is_none() && !which.has_data() {
        // The file is all there is to it.
        remove_from(&which.unfinished()?.settings, &name)?;
        return print(&format!("Account {name} is gone.\n"));
    }
    let request = Request::AccountRemove {
        name: name.clone(),
        drop_queued: arguments.drop_queued,
    };
    let done = which.open()?.request(&request, &mut |_| Ok(()))?;
    let dropped = match done["dropped"].as_u64() {
        Some(dropped) if dropped > 0 => {
            format!(" Recipients in the queue that get nothing: {dropped}.")
        }
        _ => String::new(),
    };
    print(&format!("Account {name} and its mail are gone.{dropped}\n"))
}

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of(arguments)?;
    let mut open = match which.running()? {
        Some(client) => Open::Running(client),
        None if arguments.numbers => which.open_to_read()?,
        None => {
            let unfinished = which.unfinished()?;
            list_settings(&unfinished.settings, arguments.json)?;
            say_missing(&unfinished.missing);
            return Ok(());
        }
    };
    let request = |after| Request::AccountList {
        after,
        limit: PAGE_MAX,
        numbers: arguments.numbers,
    };
    open.pages(request, |item| line(item, arguments.json))
        .map(|_| ())
}

/// Without a server the files say it all.
fn list_settings(settings: &Settings, json: bool) -> Result<(), Failure> {
    let accounts = settings.accounts.iter();
    let lines = accounts.map(|(name, account)| line(&describe(name, account), json));
    print(&lines.collect::<String>())
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let addresses = item["addresses"].as_array().into_iter().flatten().map(text);
    let mut line = format!(
        "{:<24} {}",
        text(&item["name"]),
        addresses.collect::<Vec<_>>().join(" ")
    );
    if let Some(messages) = item["messages"].as_u64() {
        line.push_str(&format!(
            "  {} mailboxes, {messages} messages, {} octets",
            item["mailboxes"], item["octets"]
        ));
    }
    if let Some(disabled) = item["login_disabled"].as_str() {
        line.push_str(&format!("  (no login: {disabled})"));
    }
    line.push('\n');
    line
}

pub(super) fn password(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of(arguments)?;
    let name = arguments.rest[0].clone();
    // Before it is asked for: a wrong name or a server of another user should not cost typing.
    which.must_name_an_account(&name)?;
    let mut open = which.open()?;
    let password = if arguments.generate {
        password::generate()?
    } else {
        password::ask(&name)?
    };
    let request = Request::AccountPassword {
        name: name.clone(),
        password: password.clone(),
    };
    let done = open.request(&request, &mut |_| Ok(()))?;
    // Not on standard output: the password is alone there.
    let _ = std::io::stderr().write_all(notes(&done).as_bytes());
    if arguments.generate {
        print(&format!("{password}\n"))
    } else {
        print(&format!("The password of {name} is set.\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_there_is() {
        let mut item = serde_json::json!({"name": "anna", "addresses": ["a@x", "b@x"], "login_disabled": null});
        assert_eq!(line(&item, false), "anna                     a@x b@x\n");
        item["mailboxes"] = 6.into();
        item["messages"] = 2.into();
        item["octets"] = 99.into();
        item["login_disabled"] = "on leave".into();
        assert!(
            line(&item, false)
                .ends_with("b@x  6 mailboxes, 2 messages, 99 octets  (no login: on leave)\n")
        );
        let back: Value = serde_json::from_str(&line(&item, true)).unwrap();
        assert_eq!(back, item);
    }
}
