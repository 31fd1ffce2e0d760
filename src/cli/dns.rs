//! `ringmail dns lookup`: what the server gets to know of a name.

use dns::Lookup as _;
use serde_json::Value;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, print};
use crate::control::lookup::{describe, parse};
use crate::control::protocol::Request;
use crate::lookup::{Resolver, ResolverOptions};

pub(super) fn lookup(arguments: &Arguments) -> Result<(), Failure> {
    let (record_type, name) = (&arguments.rest[0], &arguments.rest[1]);
    // Before anybody is asked: a slip of the pen is no failure of the server's.
    let parsed = parse(record_type, name).map_err(Failure::Usage)?;
    let which = Which::of(arguments)?;
    let answer = match which.running()? {
        Some(mut client) => {
            let request = Request::DnsLookup {
                record_type: record_type.clone(),
                name: name.clone(),
            };
            client.request(&request, &mut |_| Ok(()))?
        }
        None => {
            let settings = which.unfinished()?.settings;
            let options = ResolverOptions::of(&settings.server.dns);
            let (name, record_type) = parsed;
            let found = shards::rt::block_on(async {
                Resolver::new(options).resolve(&name, record_type).await
            })?;
            describe(&name, record_type, found.map(Into::into))
        }
    };
    let text = match arguments.json {
        true => format!("{answer}\n"),
        false => told(&answer),
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
