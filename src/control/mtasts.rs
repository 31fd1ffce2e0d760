//! Policies of MTA-STS, as operators see them: what a domain says now, and what is kept.

use dns::Name;
use serde_json::{Value, json};
use shards::{CoreId, shard_of};

use super::commands::{Control, OTHER_ANSWER};
use super::lookup::parse_name;
use super::protocol::{PAGE_MAX, PolicyPosition};
use crate::calls::{ControlAnswer, ControlCall};

pub(super) fn show(control: &Control, domain: &str) -> Result<Value, String> {
    let domain = parse_name(domain)?;
    match control.ask(CoreId(0), ControlCall::ShowSts { domain })? {
        ControlAnswer::ShowSts(shown) => Ok(json!(shown)),
        _ => Err(OTHER_ANSWER.into()),
    }
}

/// A page of what is kept, shard after shard.
pub(super) fn list(
    control: &Control,
    after: Option<PolicyPosition>,
    limit: usize,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let limit = limit.clamp(1, PAGE_MAX);
    let mut position = after.unwrap_or_default();
    let mut told = 0;
    while position.shard < control.server.shards() {
        let after = position.domain.as_deref();
        let call = ControlCall::StoredSts {
            shard: position.shard,
            after: after.map(parse_name).transpose()?,
            limit: limit - told,
        };
        let owner = control.server.owner_of_shard(position.shard);
        let ControlAnswer::StoredSts(policies, next) = control.ask(owner, call)? else {
            return Err(OTHER_ANSWER.into());
        };
        told += policies.len();
        for policy in policies {
            item(json!(policy))?;
        }
        position = match next {
            Some(next) => PolicyPosition {
                domain: Some(next.to_string()),
                ..position
            },
            None => PolicyPosition {
                shard: position.shard + 1,
                domain: None,
            },
        };
        if told >= limit {
            return Ok(json!({"next": position}));
        }
    }
    Ok(json!({"next": null}))
}

pub(super) fn remove(control: &Control, domain: &str) -> Result<Value, String> {
    let domain = parse_name(domain)?;
    let owner = owner_of(control, &domain);
    match control.ask(
        owner,
        ControlCall::RemoveSts {
            domain: domain.clone(),
        },
    )? {
        ControlAnswer::Found(true) => Ok(json!({})),
        ControlAnswer::Found(false) => Err(format!("no policy of {domain} is kept")),
        _ => Err(OTHER_ANSWER.into()),
    }
}

fn owner_of(control: &Control, domain: &Name) -> CoreId {
    let shard = shard_of(domain.as_str().as_bytes(), control.server.shards());
    control.server.owner_of_shard(shard.0)
}
