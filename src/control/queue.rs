//! The queue, page by page, core after core.

use serde_json::{Value, json};
use shards::CoreId;

use super::commands::{Control, OTHER_ANSWER};
use super::protocol::{PAGE_MAX, QueuePosition};
use crate::calls::{ControlAnswer, ControlCall};
use crate::queue::QueueItem;

pub(super) fn list(
    control: &Control,
    after: Option<QueuePosition>,
    limit: usize,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let limit = limit.clamp(1, PAGE_MAX);
    // The last executor is the one for HTTP and has no shards.
    let cores = control.server.cores() - 1;
    let mut position = after.unwrap_or(QueuePosition {
        core: 0,
        entry: None,
    });
    let mut told = 0;
    while position.core < cores {
        let call = ControlCall::Queue {
            after: position.entry,
            limit: limit - told,
        };
        let ControlAnswer::Queue(entries) = control.ask(CoreId(position.core), call)? else {
            return Err(OTHER_ANSWER.into());
        };
        told += entries.len();
        for entry in &entries {
            item(describe(entry))?;
        }
        if told >= limit {
            position.entry = entries.last().map(|e| (e.shard, e.number));
            return Ok(json!({"next": position}));
        }
        position = QueuePosition {
            core: position.core + 1,
            entry: None,
        };
    }
    Ok(json!({"next": null}))
}

fn describe(entry: &QueueItem) -> Value {
    let row = &entry.row;
    json!({
        "id": format!("{}-{}", entry.shard, entry.number),
        "account": row.account,
        "reverse_path": row.reverse_path,
        "recipients": row.recipients,
        "size": row.size,
        "smtputf8": row.smtputf8,
        "accepted": row.accepted,
    })
}
