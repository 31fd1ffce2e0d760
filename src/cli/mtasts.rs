//! `ringmail mtasts`: policies of MTA-STS of other domains, as they are now and as they are kept.

use serde_json::{Value, json};

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, print};
use crate::control::lookup::parse_name;
use crate::control::protocol::{PAGE_MAX, Request};
use crate::live::authorities;
use crate::lookup::{Resolver, ResolverOptions};

pub(super) fn show(arguments: &Arguments) -> Result<(), Failure> {
    let domain = arguments.rest.first().cloned().unwrap_or_default();
    let parsed = parse_name(&domain).map_err(Failure::Usage)?;
    let which = Which::of(arguments)?;
    let answer = match which.running()? {
        Some(mut client) => {
            let domain = domain.clone();
            client.request(&Request::MtaStsShow { domain }, &mut |_| Ok(()))?
        }
        None => {
            let server = which.unfinished()?.settings.server;
            let roots = authorities(&server.tls_policy)?;
            let resolver = ResolverOptions::of(&server.dns);
            let asked = async {
                let resolver = Resolver::new(resolver);
                crate::tls_policy::show(&resolver, &roots, &server.tls_policy, &parsed).await
            };
            json!(shards::rt::block_on(asked)?)
        }
    };
    let text = match arguments.json {
        true => format!("{answer}\n"),
        false => told(parsed.as_str(), &answer),
    };
    print(&text)?;
    match answer["result"].as_str() {
        Some("error" | "no-record") | None => Err(Failure::Found),
        Some(_) => Ok(()),
    }
}

fn told(domain: &str, answer: &Value) -> String {
    let text = |field: &str| answer[field].as_str().unwrap_or_default();
    match text("result") {
        "no-record" => return format!("{domain} has no MTA-STS: there is no record\n"),
        "error" => {
            let what = match text("id") {
                "" => "nobody can say whether there is a policy",
                _ => "it announces a policy that cannot be had",
            };
            return format!("{domain}: {what}: {}\n", text("error"));
        }
        _ => (),
    }
    let mut told = format!("{domain}: version {}\n", text("id"));
    for line in answer["policy"].as_array().into_iter().flatten() {
        // What others wrote: without control characters, for it was read as a policy.
        told.push_str(&format!("  {}\n", line.as_str().unwrap_or_default()));
    }
    told
}

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let mut open = Which::of(arguments)?.open_to_read()?;
    let request = |after| Request::MtaStsList {
        after,
        limit: PAGE_MAX,
    };
    open.pages(request, |item| line(item, arguments.json))
        .map(|_| ())
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let mx = item["mx"].as_array().into_iter().flatten();
    let mx: Vec<&str> = mx.filter_map(Value::as_str).collect();
    format!(
        "{}  {}  {}  version {}, fetched {}, holds until {}, last used {}\n",
        text("domain"),
        text("mode"),
        mx.join(" "),
        text("id"),
        super::date(&item["fetched"]),
        super::date(&item["valid_until"]),
        super::date(&item["used"]),
    )
}

pub(super) fn remove(arguments: &Arguments) -> Result<(), Failure> {
    let domain = arguments.rest.first().cloned().unwrap_or_default();
    parse_name(&domain).map_err(Failure::Usage)?;
    let mut open = Which::of(arguments)?.open_to_read()?;
    open.request(&Request::MtaStsRemove { domain }, &mut |_| Ok(()))?;
    Ok(())
}
