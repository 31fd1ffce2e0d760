//! `ringmail tlsresults`: how TLS went with other domains.

use serde_json::Value;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, print};
use crate::control::lookup::parse_name;
use crate::control::protocol::Request;

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let domain = arguments.rest.first().cloned();
    if let Some(domain) = &domain {
        parse_name(domain).map_err(Failure::Usage)?;
    }
    let request = Request::TlsResults {
        domain,
        day: arguments.day.map(|day| day.0),
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    open.request(&request, &mut |item| {
        print(&match arguments.json {
            true => format!("{item}\n"),
            false => told(&item),
        })
    })?;
    Ok(())
}

fn told(item: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let mut told = format!("{} {}\n", text(&item["day"]), text(&item["domain"]));
    for result in item["policies"].as_array().into_iter().flatten() {
        let (policy, summary) = (&result["policy"], &result["summary"]);
        let kind = text(&policy["policy-type"]);
        let of = match text(&policy["policy-domain"]) {
            domain if domain == text(&item["domain"]) => String::new(),
            domain => format!(" of {domain}"),
        };
        told.push_str(&format!(
            "  {kind}{of}: {} sessions went well, {} failed\n",
            summary["total-successful-session-count"], summary["total-failure-session-count"],
        ));
        for detail in result["failure-details"].as_array().into_iter().flatten() {
            told.push_str(&format!("    {}", text(&detail["result-type"])));
            // What others wrote: without control characters, and in quotes.
            for (field, before) in [
                ("failure-reason-code", ": "),
                ("receiving-mx-hostname", ", host "),
                ("receiving-ip", ", "),
            ] {
                if let Some(value) = detail[field].as_str() {
                    told.push_str(&format!("{before}{value}"));
                }
            }
            if let Some(helo) = detail["receiving-mx-helo"].as_str() {
                told.push_str(&format!(", called itself {helo:?}"));
            }
            match detail["failed-session-count"].as_u64() {
                Some(1) => told.push('\n'),
                count => told.push_str(&format!(", {} times\n", count.unwrap_or_default())),
            }
        }
    }
    told
}
