//! `ringmail queue sites`: the sites that mail goes to, and what is done about them.

use serde_json::Value;

use super::arguments::Arguments;
use super::options::Opt;
use super::which::Which;
use super::{Failure, date, print};
use crate::control::protocol::Request;
use crate::settings::Secs;

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::SiteList {
        site: arguments.rest.first().cloned(),
        restrained: arguments.paused,
    };
    let mut any = false;
    let mut client = Which::of(arguments)?.must_run()?;
    client.request(&request, &mut |item| {
        any = true;
        print(&match arguments.json {
            true => format!("{item}\n"),
            false => told(&item),
        })
    })?;
    if any || arguments.json {
        return Ok(());
    }
    print(match (&arguments.rest[..], arguments.paused) {
        ([_, ..], _) => "There is no such site; those are known that mail went to.\n",
        ([], true) => "No site is held back.\n",
        ([], false) => "No site is known: no mail has gone out of late.\n",
    })
}

pub(super) fn pause(arguments: &Arguments) -> Result<(), Failure> {
    let length = arguments.text(Opt::For);
    let length = length.ok_or_else(|| Failure::Usage("say for how long: --for 1h".into()))?;
    let secs: Secs = length.parse().map_err(|_| {
        Failure::Usage(format!(
            "--for: {length:?} is no duration; write 30m, 1h, 2d"
        ))
    })?;
    let request = Request::SitePause {
        site: arguments.rest[0].clone(),
        secs: secs.duration().as_secs(),
        why: arguments.text(Opt::Why).unwrap_or_default().to_owned(),
    };
    change(arguments, &request, "paused")
}

pub(super) fn resume(arguments: &Arguments) -> Result<(), Failure> {
    let site = arguments.rest.first().cloned();
    match (&site, arguments.all) {
        (None, false) => {
            return Err(Failure::Usage("say which site, or --all".into()));
        }
        (Some(_), true) => {
            return Err(Failure::Usage(
                "--all means every site; give that or one of them".into(),
            ));
        }
        _ => (),
    }
    change(arguments, &Request::SiteResume { site }, "resumed")
}

fn change(arguments: &Arguments, request: &Request, what: &str) -> Result<(), Failure> {
    let mut client = Which::of(arguments)?.must_run()?;
    let done = client.request(request, &mut |_| Ok(()))?;
    let count = done["changed"].as_u64().unwrap_or_default();
    if count == 0 && !arguments.all {
        let site = arguments.rest.first().map_or("", String::as_str);
        return Err(Failure::Failed(format!(
            "nothing is {what}: {site:?} is no site or host that mail goes to now; ringmail queue sites shows those there are, and a rule in outbound.shaping_file holds for one before its first mail"
        )));
    }
    if arguments.json {
        return print(&format!("{done}\n"));
    }
    print(&match count {
        1 => format!("1 site is {what}.\n"),
        n => format!("{n} sites are {what}.\n"),
    })
}

fn told(item: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let (Some(pool), Some(member)) = (item["pool"].as_str(), item["member"].as_str()) {
        let pause = &item["pause"];
        let (until, reason) = (date(&pause["until"]), text(&pause["reason"]));
        return format!(
            "{member} of pool {pool}, an address of ours\n  rests until {until}: {reason}\n"
        );
    }
    let mut told = format!(
        "{}\n  {} of {} connections",
        text(&item["site"]),
        item["lent"],
        item["window"],
    );
    if let Some(rate) = item["rate"]["words"].as_str() {
        told.push_str(&format!(", {rate}"));
        let part = item["rate"]["part"].as_f64().unwrap_or(1.0);
        if part < 1.0 {
            told.push_str(&format!(", 1/{} of that now", (1.0 / part).round()));
        }
    }
    if let Some(failures) = item["failures"].as_u64().filter(|failures| *failures > 0) {
        told.push_str(&format!(", could not be reached {failures} times in a row"));
    }
    told.push('\n');
    for (field, what) in [("pause", "paused"), ("slow", "slowed down")] {
        let measure = &item[field];
        if !measure.is_null() {
            let (until, reason) = (date(&measure["until"]), text(&measure["reason"]));
            told.push_str(&format!("  {what} until {until}: {reason}\n"));
        }
    }
    for done in item["actions"].as_array().into_iter().flatten() {
        told.push_str(&format!("  {} {}", date(&done["at"]), text(&done["kind"])));
        if !done["until"].is_null() {
            told.push_str(&format!(" until {}", date(&done["until"])));
        }
        if !done["ended"].is_null() {
            told.push_str(&format!(", ended {}", date(&done["ended"])));
        }
        match text(&done["cause"]) {
            cause if cause.is_empty() => told.push('\n'),
            cause => told.push_str(&format!(": {cause}\n")),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_of_ours_is_told_while_it_rests() {
        let item = json!({
            "site": "pool>bulk>one", "pool": "bulk", "member": "one",
            "pause": {"until": 3600, "reason": "it is not there"},
        });
        assert_eq!(
            told(&item),
            "one of pool bulk, an address of ours\n  rests until Thu, 1 Jan 1970 01:00:00 +0000: it is not there\n"
        );
    }

    #[test]
    fn a_site_is_told_with_what_was_done_about_it() {
        let item = json!({
            "site": "mx.example", "window": 2, "lent": 1, "failures": 3,
            "rate": {"messages": 10, "per_secs": 60, "part": 0.25, "words": "10 messages per minute"},
            "pause": {"until": 3600, "reason": "connection refused"},
            "slow": null,
            "actions": [
                {"kind": "reply-slow", "at": 60, "until": 120, "ended": 90, "cause": "421 x"},
                {"kind": "by-hand", "at": 100, "until": null, "ended": null, "cause": ""},
            ],
        });
        assert_eq!(
            told(&item),
            "mx.example\n  1 of 2 connections, 10 messages per minute, 1/4 of that now, could not be reached 3 times in a row
  paused until Thu, 1 Jan 1970 01:00:00 +0000: connection refused
  Thu, 1 Jan 1970 00:01:00 +0000 reply-slow until Thu, 1 Jan 1970 00:02:00 +0000, ended Thu, 1 Jan 1970 00:01:30 +0000: 421 x
  Thu, 1 Jan 1970 00:01:40 +0000 by-hand\n"
        );
    }
}
