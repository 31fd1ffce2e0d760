//! Recipients that are over, as they are kept for their accounts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::commands::{Control, OTHER_ANSWER};
use super::protocol::{PAGE_MAX, RowPosition};
use super::queue::attempt;
use super::secrets::configured;
use crate::calls::{ControlAnswer, ControlCall};
use crate::queue::Most;
use crate::queue::retired::{RetiredFilter, RetiredRow};
use crate::queue::returned::ReturnedResult;

/// One item for each recipient that fits. A page ends after so many were looked at.
pub(super) fn list(
    control: &Control,
    after: Option<RowPosition>,
    limit: usize,
    filter: &RetiredFilter,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let shards = match &filter.account {
        Some(name) => {
            let name = configured(control, name)?;
            let shard = shards::shard_of(name.as_str().as_bytes(), control.server.shards()).0;
            shard..shard + 1
        }
        None => 0..control.server.shards(),
    };
    let mut position = after.unwrap_or_default();
    position.shard = position.shard.max(shards.start);
    if position.shard >= shards.end {
        return Ok(json!({"next": null}));
    }
    control.goes_on()?;
    let key = position.key.as_ref().map(|key| STANDARD.decode(key));
    let after = key.transpose().map_err(|_| "no position of a page")?;
    let call = ControlCall::Retired {
        shard: position.shard,
        filter: Box::new(filter.clone()),
        after,
        most: Most::entries(limit.clamp(1, PAGE_MAX)),
    };
    let owner = control.server.owner_of_shard(position.shard);
    let ControlAnswer::Retired(rows, next) = control.ask(owner, call)? else {
        return Err(OTHER_ANSWER.into());
    };
    for (account, row) in &rows {
        item(describe(account, row))?;
    }
    let next = match next {
        Some(key) => RowPosition {
            shard: position.shard,
            key: Some(STANDARD.encode(key)),
        },
        None if position.shard + 1 < shards.end => RowPosition {
            shard: position.shard + 1,
            key: None,
        },
        None => return Ok(json!({"next": null})),
    };
    Ok(json!({"next": next}))
}

fn describe(account: &str, row: &RetiredRow) -> Value {
    json!({
        "id": row.id,
        "account": account,
        "reverse_path": row.reverse_path,
        "recipient": row.recipient,
        "orcpt": row.orcpt,
        "message_id": row.message_id,
        "envid": row.envid,
        "size": row.size,
        "accepted": row.accepted,
        "result": row.result,
        "at": row.at,
        "attempts": row.attempts,
        "text": row.text,
        "class": row.class,
        "history": row.history.iter().map(attempt).collect::<Vec<_>>(),
        "extra": row.extra,
        "returned": row.returned.iter().map(returned).collect::<Vec<_>>(),
    })
}

fn returned(result: &ReturnedResult) -> Value {
    json!({
        "at": result.at,
        "kind": result.kind,
        "by": result.by,
        "code": result.code,
        "enhanced": result.enhanced.map(|(a, b, c)| format!("{a}.{b}.{c}")),
        "text": result.text,
        "class": result.class,
        "reporting_mta": result.reporting_mta,
    })
}
