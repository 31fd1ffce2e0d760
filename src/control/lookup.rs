//! Names looked up for operators, by the resolver of a running server.

use std::net::IpAddr;

use dns::{LookupError, Name, RecordType};
use serde_json::{Value, json};
use shards::CoreId;

use super::commands::{Control, OTHER_ANSWER};
use crate::calls::{ControlAnswer, ControlCall};
use crate::lookup::{Found, MailHosts};

pub(super) fn lookup(control: &Control, record_type: &str, name: &str) -> Result<Value, String> {
    let (name, record_type) = parse(record_type, name)?;
    let call = ControlCall::Lookup {
        name: name.clone(),
        record_type,
    };
    match control.ask(CoreId(0), call)? {
        ControlAnswer::Lookup(found) => Ok(describe(&name, record_type, found)),
        _ => Err(OTHER_ANSWER.into()),
    }
}

pub(super) fn mail_hosts(control: &Control, domain: &str) -> Result<Value, String> {
    let domain = parse_name(domain)?;
    match control.ask(CoreId(0), ControlCall::MailHosts { domain })? {
        ControlAnswer::MailHosts(found) => Ok(describe_hosts(found.map(|found| *found))),
        _ => Err(OTHER_ANSWER.into()),
    }
}

pub(super) fn demands(control: &Control, domain: &str) -> Result<Value, String> {
    let domain = parse_name(domain)?;
    match control.ask(CoreId(0), ControlCall::TlsDemands { domain })? {
        ControlAnswer::TlsDemands(found) => Ok(json!(found)),
        _ => Err(OTHER_ANSWER.into()),
    }
}

/// A domain of a command line.
pub fn parse_name(name: &str) -> Result<Name, String> {
    Name::parse(name).map_err(|e| format!("{name:?} cannot be looked up: {e}"))
}

/// What a command line asks for. PTR may be asked for by an address.
pub fn parse(record_type: &str, name: &str) -> Result<(Name, RecordType), String> {
    let record_type: RecordType = record_type
        .parse()
        .map_err(|e| format!("{record_type:?} is {e}"))?;
    if let (RecordType::Ptr, Ok(address)) = (record_type, name.parse::<IpAddr>()) {
        return Ok((Name::of_address(address), record_type));
    }
    Ok((parse_name(name)?, record_type))
}

/// An answer as it is told. An error has its words in `error`.
pub fn describe(name: &Name, record_type: RecordType, found: Result<Found, LookupError>) -> Value {
    let mut told = json!({"name": name.as_str(), "type": record_type.as_str()});
    match found {
        Ok(found) => {
            let result = match (found.is_missing, found.records.is_empty()) {
                (true, _) => "nxdomain",
                (_, true) => "nodata",
                _ => "ok",
            };
            told["result"] = result.into();
            told["records"] = found.records.into();
            told["aliases"] = found.aliases.into();
            told["authentic"] = found.authentic.into();
            told["ttl"] = found.ttl.into();
        }
        Err(error) => {
            told["result"] = "error".into();
            told["error"] = error.cause.to_string().into();
        }
    }
    told
}

/// Where mail would go, as it is told. An error has its words in `error`.
pub fn describe_hosts(found: Result<MailHosts, LookupError>) -> Value {
    match found {
        Ok(found) => json!(found),
        Err(error) => json!({"result": "error", "error": error.to_string()}),
    }
}
