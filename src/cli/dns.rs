//! `ringmail dns`: what the server gets to know of a name, and where it would send mail.

use dns::Lookup as _;
use serde_json::{Value, json};

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, print};
use crate::control::lookup::{describe, describe_hosts, parse, parse_name};
use crate::control::protocol::Request;
use crate::live::authorities;
use crate::lookup::{Resolver, ResolverOptions, mail_hosts};
use crate::tls_policy::{StsAnswer, demands, fresh};

pub(super) fn lookup(arguments: &Arguments) -> Result<(), Failure> {
    let [record_type, name] = arguments.rest.as_slice() else {
        return Err(Failure::Usage("TYPE and NAME are needed".into()));
    };
    let answer = look_up(arguments, record_type, name)?;
    end(arguments, &answer, told)
}

/// What `describe` tells of a name.
pub(super) fn look_up(
    arguments: &Arguments,
    record_type: &str,
    name: &str,
) -> Result<Value, Failure> {
    // Before anybody is asked: a slip of the pen is no failure of the server's.
    let (parsed, of_type) = parse(record_type, name).map_err(Failure::Usage)?;
    let request = Request::DnsLookup {
        record_type: record_type.to_owned(),
        name: name.to_owned(),
    };
    ask(arguments, &request, async |resolver| {
        let found = resolver.resolve(&parsed, of_type).await;
        describe(&parsed, of_type, found.map(Into::into))
    })
}

pub(super) fn mx(arguments: &Arguments) -> Result<(), Failure> {
    let domain = arguments.rest.first().cloned().unwrap_or_default();
    let parsed = parse_name(&domain).map_err(Failure::Usage)?;
    let request = Request::DnsMx {
        domain: domain.clone(),
    };
    let answer = ask(arguments, &request, async |resolver| {
        describe_hosts(mail_hosts(&resolver, &parsed).await)
    })?;
    end(arguments, &answer, |answer| told_hosts(&domain, answer))
}

pub(super) fn tls(arguments: &Arguments) -> Result<(), Failure> {
    let domain = arguments.rest.first().cloned().unwrap_or_default();
    let parsed = parse_name(&domain).map_err(Failure::Usage)?;
    let which = Which::of(arguments)?;
    let answer = match which.running()? {
        Some(mut client) => {
            let domain = domain.clone();
            client.request(&Request::DnsTls { domain }, &mut |_| Ok(()))?
        }
        None => {
            let server = which.unfinished()?.settings.server;
            let settings = &server.tls_policy;
            let roots = authorities(settings)?;
            let options = ResolverOptions::of(&server.dns);
            let asked = async {
                let resolver = Resolver::new(options);
                let sts = async {
                    match settings.mta_sts {
                        true => fresh(&resolver, &roots, settings, &parsed).await,
                        false => StsAnswer::None(None),
                    }
                };
                demands(&resolver, settings, &parsed, sts).await
            };
            json!(shards::rt::block_on(asked)?)
        }
    };
    let text = match arguments.json {
        true => format!("{answer}\n"),
        false => told_demands(parsed.as_str(), &answer),
    };
    print(&text)?;
    let mut hosts = answer["hosts"].as_array().into_iter().flatten();
    match hosts.any(|host| host["is_usable"] == true) {
        true => Ok(()),
        false => Err(Failure::Found),
    }
}

fn told_demands(domain: &str, answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let list = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.map(text).collect()
    };
    match text(&answer["result"]).as_str() {
        "error" => return format!("{domain}: nobody can say: {}\n", text(&answer["error"])),
        "null-mx" => return format!("{domain} takes no mail: it has a null MX\n"),
        "nxdomain" => return format!("{domain} takes no mail: there is no such name\n"),
        _ => (),
    }
    let proved = match answer["authentic"].as_bool() {
        Some(true) => "DNSSEC proves its hosts",
        _ => "its hosts are not proved by DNSSEC",
    };
    let mut told = format!("{domain}: {proved}; MTA-STS: {}", text(&answer["mta_sts"]));
    let mx = list(&answer["mta_sts_mx"]);
    if !mx.is_empty() {
        told.push_str(&format!(" ({})", mx.join(" ")));
    }
    if let Some(problem) = answer["mta_sts_problem"].as_str() {
        told.push_str(&format!(" ({problem})"));
    }
    told.push('\n');
    for host in answer["hosts"].as_array().into_iter().flatten() {
        let addresses = list(&host["addresses"]).join(" ");
        let line = format!(
            "  {} {}  {addresses}",
            host["preference"],
            text(&host["name"])
        );
        told.push_str(line.trim_end());
        let must_not = match host["is_usable"].as_bool() {
            Some(true) => "",
            _ => "must not be used now: ",
        };
        told.push_str(&format!("\n      {must_not}{}\n", text(&host["words"])));
    }
    told
}

/// By the running server, else as it would do it.
fn ask(
    arguments: &Arguments,
    request: &Request,
    directly: impl AsyncFnOnce(Resolver) -> Value,
) -> Result<Value, Failure> {
    let which = Which::of(arguments)?;
    if let Some(mut client) = which.running()? {
        return client.request(request, &mut |_| Ok(()));
    }
    let settings = which.unfinished()?.settings;
    let options = ResolverOptions::of(&settings.server.dns);
    let asked = async { directly(Resolver::new(options)).await };
    Ok(shards::rt::block_on(asked)?)
}

fn end(
    arguments: &Arguments,
    answer: &Value,
    told: impl FnOnce(&Value) -> String,
) -> Result<(), Failure> {
    let text = match arguments.json {
        true => format!("{answer}\n"),
        false => told(answer),
    };
    print(&text)?;
    match answer["result"].as_str() {
        Some("ok") => Ok(()),
        _ => Err(Failure::Found),
    }
}

fn told(answer: &Value) -> String {
    let text = |field: &str| answer[field].as_str().unwrap_or_default();
    let list = |field: &str| -> Vec<&str> {
        let all = answer[field].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).collect()
    };
    let (records, aliases) = (list("records"), list("aliases"));
    let mut told = format!("{} of {}: ", text("type"), text("name"));
    match (text("result"), records.len()) {
        ("error", _) => return format!("{told}{}\n", text("error")),
        ("nxdomain", _) => told.push_str("there is no such name"),
        ("nodata", _) => told.push_str("the name has no such records"),
        (_, 1) => told.push_str("1 record"),
        (_, n) => told.push_str(&format!("{n} records")),
    }
    let proved = match answer["authentic"].as_bool() {
        Some(true) => "DNSSEC proves it",
        _ => "not proved by DNSSEC",
    };
    told.push_str(&format!(" ({proved}; holds {} s)\n", answer["ttl"]));
    for alias in aliases {
        told.push_str(&format!("  alias of {alias}\n"));
    }
    for record in records {
        told.push_str(&format!("  {record}\n"));
    }
    told
}

fn told_hosts(domain: &str, answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let list = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.map(text).collect()
    };
    let proved = |value: &Value| match value.as_bool() {
        Some(true) => "DNSSEC proves it",
        _ => "not proved by DNSSEC",
    };
    let by = proved(&answer["authentic"]);
    match text(&answer["result"]).as_str() {
        "error" => return format!("{domain}: nobody can say: {}\n", text(&answer["error"])),
        "null-mx" => return format!("{domain} takes no mail: it has a null MX ({by})\n"),
        "nxdomain" => {
            return format!(
                "{domain} takes no mail: there is no such name as {} ({by})\n",
                text(&answer["expanded"])
            );
        }
        _ => (),
    }
    let mut told = match answer["implicit"].as_bool() {
        Some(true) => {
            format!("Mail for {domain} goes to the domain itself, which has no MX ({by}):\n")
        }
        _ => format!("Mail for {domain} goes to ({by}):\n"),
    };
    for host in answer["hosts"].as_array().into_iter().flatten() {
        let name = text(&host["name"]);
        told.push_str(&format!("  {} {name}", host["preference"]));
        match host["error"].as_str() {
            Some(error) => told.push_str(&format!("  cannot be used: {error}\n")),
            None => {
                told.push_str(&format!("  {}", list(&host["addresses"]).join(" ")));
                if text(&host["expanded"]) != name {
                    told.push_str(&format!("  alias of {}", text(&host["expanded"])));
                }
                let tlsa = list(&host["tlsa"]);
                match (tlsa.len(), host["tlsa_error"].as_str()) {
                    (_, Some(error)) => told.push_str(&format!("  DANE: must wait: {error}\n")),
                    (0, None) => told.push_str("  no DANE\n"),
                    _ => {
                        told.push_str(&format!("  DANE as {}:\n", text(&host["tlsa_base"])));
                        tlsa.iter()
                            .for_each(|record| told.push_str(&format!("      {record}\n")));
                    }
                }
            }
        }
    }
    told
}
