//! `ringmail queue`: what is in it, and what operators do to it.

use std::io::{self, IsTerminal, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::arguments::Arguments;
use super::options::Opt;
use super::selection::{filter, filter_or_all, moment, signed, span};
use super::table::Command;
use super::which::Which;
use super::{Failure, print};
use crate::control::protocol::{PAGE_MAX, Request};
use crate::percore::wall_clock;
use crate::queue::id::QueueId;
use crate::queue::{Deed, Filter, Said};
use crate::settings::Secs;

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let filter = filter(arguments, &arguments.rest)?;
    let which = Which::of(arguments)?;
    let mut open = which.open_to_read()?;
    let request = |after| Request::QueueList {
        after,
        limit: PAGE_MAX,
        filter: Box::new(filter.clone()),
    };
    let count = open.pages(request, |item| line(item, arguments.json))?;
    if arguments.json {
        return Ok(());
    }
    match count {
        0 if filter.is_empty() => print("The queue is empty.\n"),
        0 => print("No recipient fits.\n"),
        1 => print("1 recipient.\n"),
        n => print(&format!("{n} recipients.\n")),
    }
}

/// Commands that change recipients.
pub(super) fn change(command: Command, arguments: &Arguments) -> Result<(), Failure> {
    let why = || arguments.text(Opt::Why).unwrap_or_default().to_string();
    let (first, others) = match arguments.rest.split_first() {
        Some((first, others)) => (first.as_str(), others),
        None => ("", &[][..]),
    };
    let (deed, ids, what) = match command {
        Command::QueueHold => (Deed::Hold { why: why() }, None, "held"),
        Command::QueueRelease => (Deed::Release {}, None, "released"),
        Command::QueueKick => (Deed::Kick {}, None, "put to now"),
        Command::QueueDrop => (Deed::Drop {}, None, "dropped"),
        Command::QueueFail => (Deed::Fail { why: why() }, None, "given up"),
        Command::QueueSchedule => (
            time(first, arguments.shift)?,
            Some(others),
            "put to another time",
        ),
        Command::QueueTransport => {
            let name = first.to_string();
            (
                Deed::Transport { name },
                Some(others),
                "given this transport",
            )
        }
        Command::QueueRequireTls => (require_tls(first)?, Some(others), "changed"),
        Command::QueueRetries => (retries(arguments)?, None, "changed"),
        _ => return Err(Failure::Usage("no command that changes the queue".into())),
    };
    let filter = filter_or_all(arguments, ids.unwrap_or(&arguments.rest))?;
    carry_out(arguments, filter, deed, what)
}

fn carry_out(arguments: &Arguments, filter: Filter, deed: Deed, what: &str) -> Result<(), Failure> {
    let names_some = !filter.ids.is_empty();
    let request = Request::QueueChange {
        filter: Box::new(filter),
        deed,
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let done = open.request(&request, &mut |progress| {
        // When standard error is gone nobody looks.
        let _ = writeln!(
            io::stderr(),
            "{} recipients looked at, {} {what}",
            progress["looked_at"],
            progress["changed"]
        );
        Ok(())
    })?;
    if names_some && done["fit"] == 0 {
        let gone = "no recipient in the queue has such a number; ringmail queue list shows them, ringmail queue retired those that are over";
        return Err(Failure::Failed(gone.into()));
    }
    if arguments.json {
        return print(&format!("{done}\n"));
    }
    match done["changed"].as_u64() {
        Some(0) => print("No recipient was changed.\n"),
        Some(1) => print(&format!("1 recipient was {what}.\n")),
        _ => print(&format!("{} recipients were {what}.\n", done["changed"])),
    }
}

fn time(text: &str, shift: bool) -> Result<Deed, Failure> {
    let deed = match shift {
        true => signed(text).map(|by| Deed::PutOff { by }),
        false => moment(text, wall_clock()).map(|at| Deed::Schedule { at }),
    };
    deed.ok_or_else(|| {
        let what = match shift {
            true => "no duration; write 30m, or -2h for sooner",
            false => "no time; write now, 30m, 2026-01-31T08:00:00Z, or a date as ringmail queue list shows it",
        };
        Failure::Usage(format!("TIME: {text:?} is {what}"))
    })
}

fn retries(arguments: &Arguments) -> Result<Deed, Failure> {
    let number = |text: &str| text.parse::<u32>().ok();
    let attempts_max = said(arguments, Opt::MaxAttempts, "no number", number)?;
    let what = "no time; write 12h, or 2026-01-31T08:00:00Z";
    let now = wall_clock();
    let expires = said(arguments, Opt::Expires, what, |text| moment(text, now))?;
    let what = "no schedule; write 1m,5m,1h: the last one repeats";
    let waits = said(arguments, Opt::Schedule, what, |text| {
        text.split(',').map(|wait| span(wait.trim())).collect()
    })?;
    if attempts_max.is_none() && expires.is_none() && waits.is_none() {
        return Err(Failure::Usage(
            "say what is changed: --max-attempts, --expires, --schedule".into(),
        ));
    }
    Ok(Deed::Retries {
        attempts_max,
        expires,
        waits,
    })
}

/// The value of an option; `default` gives it back to the settings and the message.
fn said<T>(
    arguments: &Arguments,
    option: Opt,
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<Said<T>>, Failure> {
    let said = match arguments.text(option) {
        None => return Ok(None),
        Some("default") => Some(Said::Default),
        Some(text) => read(text).map(Said::Own),
    };
    said.map(Some).ok_or_else(|| {
        let text = arguments.text(option).unwrap_or_default();
        Failure::Usage(format!("{}: {text:?} is {what}", option.written()))
    })
}

fn require_tls(word: &str) -> Result<Deed, Failure> {
    let require = match word {
        "yes" => Some(true),
        "no" => Some(false),
        "default" => None,
        _ => {
            let text = format!("HOW: {word:?} is none of yes, no, default");
            return Err(Failure::Usage(text));
        }
    };
    Ok(Deed::RequireTls { require })
}

pub(super) fn dump(arguments: &Arguments) -> Result<(), Failure> {
    let id: QueueId = arguments.rest[0].parse().map_err(Failure::Usage)?;
    let mut open = Which::of(arguments)?.open_to_read()?;
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        return Err(Failure::Failed(
            "the message goes to standard output as it is; send that to a file or a program".into(),
        ));
    }
    open.request(&Request::QueueDump { id: id.get() }, &mut |item| {
        let octets = item["octets"].as_str().map(|text| STANDARD.decode(text));
        let octets = octets.and_then(Result::ok).ok_or_else(|| {
            Failure::Failed("the server sent something that is no message; this is a bug".into())
        })?;
        Ok(out.write_all(&octets)?)
    })?;
    Ok(out.flush()?)
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let mut line = format!(
        "{:<10} {:<16} {:>10} octets  <{}> to <{}>\n           ",
        item["id"].as_u64().unwrap_or_default(),
        text("account"),
        item["size"],
        text("reverse_path"),
        text("recipient"),
    );
    if text("state") == "waiting" {
        line.push_str("waiting: ");
    }
    line.push_str(text("reason"));
    if matches!(text("state"), "waiting" | "held") {
        let attempts = item["attempts"].as_u64().unwrap_or_default();
        line.push_str(&format!(
            "\n           {attempts} attempt{} so far, given up {}",
            if attempts == 1 { "" } else { "s" },
            super::date(&item["expires"])
        ));
    }
    if let Some(most) = item["attempts_max"].as_u64() {
        line.push_str(&format!(", at most {most} of them"));
    }
    if let Some(waits) = item["schedule"].as_array() {
        let secs = waits.iter().filter_map(Value::as_u64);
        let words: Vec<String> = secs.map(|secs| Secs::new(secs).to_string()).collect();
        line.push_str(&format!(", tried again after {}", words.join(",")));
    }
    if let Some(transport) = item["transport"].as_str() {
        line.push_str(&format!(", goes by {transport}"));
    }
    match item["require_tls"].as_bool() {
        Some(true) => line.push_str(", TLS is required"),
        Some(false) => line.push_str(", TLS does not matter"),
        None => (),
    }
    line.push('\n');
    line
}
