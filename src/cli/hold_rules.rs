//! `ringmail queue holdrules`.

use super::arguments::Arguments;
use super::options::Opt;
use super::which::Which;
use super::{Failure, print};
use crate::control::protocol::Request;

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let mut open = Which::of(arguments)?.open_to_read()?;
    let mut text = String::new();
    open.request(&Request::HoldRuleList {}, &mut |rule| {
        if arguments.json {
            text.push_str(&format!("{rule}\n"));
            return Ok(());
        }
        let any = |field: &str| match rule[field].as_str() {
            Some("") | None => "any".to_string(),
            Some(value) => value.to_string(),
        };
        text.push_str(&format!(
            "{:<5} account {}, from {}, to {}; added {}\n",
            rule["id"].as_u64().unwrap_or_default(),
            any("account"),
            any("sender_domain"),
            any("recipient_domain"),
            super::date(&rule["added"]),
        ));
        Ok(())
    })?;
    if text.is_empty() && !arguments.json {
        text.push_str("There are no hold rules.\n");
    }
    print(&text)
}

pub(super) fn add(arguments: &Arguments) -> Result<(), Failure> {
    let field = |option: Opt| arguments.text(option).unwrap_or_default().to_string();
    let fields = [Opt::Account, Opt::SenderDomain, Opt::Domain];
    let is_for_all = fields
        .iter()
        .all(|option| arguments.text(*option).is_none());
    match (is_for_all, arguments.all) {
        (true, false) => {
            return Err(Failure::Usage(
                "say what is to be held: --account, --sender-domain, --domain, or --all".into(),
            ));
        }
        (false, true) => {
            return Err(Failure::Usage(
                "--all holds everything, and a field less; give one of them".into(),
            ));
        }
        _ => (),
    }
    let request = Request::HoldRuleAdd {
        account: field(Opt::Account),
        sender_domain: field(Opt::SenderDomain),
        recipient_domain: field(Opt::Domain),
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let done = open.request(&request, &mut |_| Ok(()))?;
    if arguments.json {
        return print(&format!("{done}\n"));
    }
    print(&format!(
        "Hold rule {} is in force; recipients that waited already and are held by it: {}.\n",
        done["rule"]["id"], done["held"]
    ))
}

pub(super) fn remove(arguments: &Arguments) -> Result<(), Failure> {
    let text = &arguments.rest[0];
    let id = text.parse().map_err(|_| {
        Failure::Usage(format!(
            "{text:?} is no number of a hold rule, as ringmail queue holdrules list shows them"
        ))
    })?;
    let which = Which::of(arguments)?;
    let mut open = which.open_to_read()?;
    open.request(&Request::HoldRuleRemove { id }, &mut |_| Ok(()))?;
    print(&format!(
        "Hold rule {id} is removed. What it holds stays so; to release that: ringmail queue release --rule {id} {}\n",
        which.named
    ))
}
