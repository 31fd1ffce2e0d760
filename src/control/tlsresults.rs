//! How TLS went with other domains, as operators see it.

use dns::Name;
use serde_json::{Value, json};
use shards::{CoreId, shard_of};

use super::commands::{Control, OTHER_ANSWER};
use super::lookup::parse_name;
use super::protocol::PAGE_MAX;
use crate::calls::{ControlAnswer, ControlCall};
use crate::tls_policy::{Wanted, as_report};
use tls_rpt::{Day, Tally};

/// Results of a domain or all, of a day or all, day after day within each shard.
pub(super) fn list(
    control: &Control,
    domain: Option<&str>,
    day: Option<u32>,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let domain = domain.map(parse_name).transpose()?;
    let wanted = Wanted {
        day: day.map(Day),
        domain: domain.as_ref().map(Name::to_string),
    };
    for core in 0..control.server.cores() {
        // What was found out just now is there.
        control.ask(CoreId(core), ControlCall::WriteTlsResults)?;
    }
    for shard in shards_of(control, domain.as_ref()) {
        let mut after = None;
        loop {
            if control.is_stopping() {
                return Err("the server is stopping".into());
            }
            let call = ControlCall::TlsResults {
                shard,
                wanted: wanted.clone(),
                after,
                limit: PAGE_MAX,
            };
            let owner = control.server.owner_of_shard(shard);
            let ControlAnswer::TlsResults(tallies, next) = control.ask(owner, call)? else {
                return Err(OTHER_ANSWER.into());
            };
            for tally in &tallies {
                item(describe(tally))?;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(json!({}))
}

fn shards_of(control: &Control, domain: Option<&Name>) -> Vec<u16> {
    let count = control.server.shards();
    match domain {
        Some(domain) => vec![shard_of(domain.as_str().as_bytes(), count).0],
        None => (0..count).collect(),
    }
}

/// The policies are in the words of a report. RFC 8460 4.
fn describe(tally: &Tally) -> Value {
    let report = serde_json::from_slice::<Value>(&as_report(tally).to_json());
    let policies = report.map(|report| report["policies"].clone());
    json!({
        "day": tally.day().to_string(),
        "domain": tally.policy_domain(),
        "policies": policies.unwrap_or_default(),
    })
}
