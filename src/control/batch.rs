//! Batches of the sending API: an account's, the latest first; one; the end of one.

use serde_json::{Value, json};

use super::commands::{Control, OTHER_ANSWER};
use super::protocol::PAGE_MAX;
use super::secrets::configured;
use crate::calls::{ControlAnswer, ControlCall};
use crate::queue::batch::{BatchPlace, BatchRow, Cancelled, merge};
use crate::queue::id::QueueId;

/// One item for each batch of a page.
pub(super) fn list(
    control: &Control,
    account: &str,
    after: Option<BatchPlace>,
    limit: usize,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let account = configured(control, account)?;
    let limit = limit.clamp(1, PAGE_MAX);
    let mut pages = Vec::new();
    for shard in 0..control.server.shards() {
        control.goes_on()?;
        let call = ControlCall::Batches {
            shard,
            account,
            after,
            limit,
        };
        let owner = control.server.owner_of_shard(shard);
        match control.ask(owner, call)? {
            ControlAnswer::Batches(page) => pages.push(page),
            _ => return Err(OTHER_ANSWER.into()),
        }
    }
    let (found, next) = merge(pages, limit);
    for (id, row) in &found {
        item(describe(*id, row))?;
    }
    Ok(json!({"next": next}))
}

/// How far one is.
pub(super) fn show(control: &Control, account: &str, id: u64) -> Result<Value, String> {
    let name = configured(control, account)?;
    let place = place(control, account, id)?;
    let call = ControlCall::Batch {
        shard: place.shard(),
        account: name,
        number: place.number(),
    };
    let owner = control.server.owner_of_shard(place.shard());
    match control.ask(owner, call)? {
        ControlAnswer::Batch(Some(row)) => Ok(describe(id, &row)),
        ControlAnswer::Batch(None) => Err(none(account, id)),
        _ => Err(OTHER_ANSWER.into()),
    }
}

/// Drops all of it that still waits.
pub(super) fn cancel(control: &Control, account: &str, id: u64) -> Result<Value, String> {
    let name = configured(control, account)?;
    let place = place(control, account, id)?;
    let call = ControlCall::CancelBatch {
        shard: place.shard(),
        account: name,
        number: place.number(),
    };
    let owner = control.server.owner_of_shard(place.shard());
    match control.ask(owner, call)? {
        ControlAnswer::BatchCancelled(Some(Cancelled { dropped, under_way })) => {
            tracing::info!(
                account,
                batch = id,
                dropped,
                under_way,
                "an operator cancelled a batch"
            );
            Ok(json!({"dropped": dropped, "under_way": under_way}))
        }
        ControlAnswer::BatchCancelled(None) => Err(none(account, id)),
        _ => Err(OTHER_ANSWER.into()),
    }
}

fn place(control: &Control, account: &str, id: u64) -> Result<QueueId, String> {
    let place = QueueId::from_u64(id).filter(|id| id.shard() < control.server.shards());
    place.ok_or_else(|| none(account, id))
}

fn none(account: &str, id: u64) -> String {
    format!("{account} has no batch {id}; ringmail batch list {account} shows them")
}

fn describe(id: u64, row: &BatchRow) -> Value {
    json!({
        "id": id,
        "name": row.name,
        "accepted": row.accepted,
        "not_before": row.not_before,
        "recipients": row.recipients,
        "waiting": row.waiting(),
        "delivered": row.delivered,
        "failed": row.failed,
        "suppressed": row.suppressed,
        "dropped": row.dropped,
        "cancelled": row.cancelled,
        "ended": row.ended,
    })
}
