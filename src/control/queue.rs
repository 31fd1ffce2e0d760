//! The queue, page by page, shard after shard.

use serde_json::{Value, json};

use super::commands::{Control, OTHER_ANSWER};
use super::protocol::{PAGE_MAX, QueuePosition};
use crate::calls::{ControlAnswer, ControlCall};
use crate::queue::rows::{Attempt, Stored};

/// One item for each recipient; a page has whole messages.
pub(super) fn list(
    control: &Control,
    after: Option<QueuePosition>,
    limit: usize,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let limit = limit.clamp(1, PAGE_MAX);
    let mut position = after.unwrap_or_default();
    let mut told = 0;
    while position.shard < control.server.shards() {
        let call = ControlCall::Queue {
            shard: position.shard,
            after: position.message,
            limit: limit - told,
        };
        let owner = control.server.owner_of_shard(position.shard);
        let ControlAnswer::Queue(messages, more) = control.ask(owner, call)? else {
            return Err(OTHER_ANSWER.into());
        };
        told += messages.len();
        for message in &messages {
            for index in 0..message.message.recipients.len() as u32 {
                item(describe(position.shard, message, index))?;
            }
        }
        if more {
            position.message = messages.last().map(|m| m.body.0);
            if told >= limit {
                return Ok(json!({"next": position}));
            }
        } else {
            position = QueuePosition {
                shard: position.shard + 1,
                message: None,
            };
        }
    }
    Ok(json!({"next": null}))
}

fn describe(shard: u16, stored: &Stored, index: u32) -> Value {
    let message = &stored.message;
    let row = stored.recipient(index);
    let recipient = &message.recipients[index as usize];
    json!({
        "id": stored.id(shard, index).map(|id| id.get()),
        "account": message.account,
        "reverse_path": message.reverse_path,
        "recipient": recipient.address,
        "message_id": message.message_id,
        "size": message.size,
        "smtputf8": message.smtputf8,
        "accepted": message.accepted,
        "expires": message.expires,
        "state": row.state.word(),
        "attempts": row.attempts,
        "next": row.next,
        "history": row.history.iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn attempt(attempt: &Attempt) -> Value {
    json!({
        "at": attempt.at,
        "took_ms": attempt.took_ms,
        "remote": attempt.remote,
        "code": attempt.code,
        "enhanced": attempt.enhanced.map(|(a, b, c)| format!("{a}.{b}.{c}")),
        "text": attempt.text,
    })
}
