//! The queue, page by page, shard after shard: what is in it, and what operators do to it.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::commands::{Control, OTHER_ANSWER};
use super::protocol::{PAGE_MAX, QueuePosition};
use crate::calls::{ControlAnswer, ControlCall};
use crate::queue::id::QueueId;
use crate::queue::rows::{Attempt, AttemptStage, Stored};
use crate::queue::{Deed, Done, Filter, Most, Place, Standing};

type Item<'a> = &'a mut dyn FnMut(Value) -> Result<(), String>;

/// One item for each recipient that fits. Shards that can't be looked at keep none from being told that are in others.
pub(super) fn list(
    control: &Control,
    after: Option<QueuePosition>,
    limit: usize,
    filter: &Filter,
    item: Item<'_>,
) -> Result<Value, String> {
    let limit = limit.clamp(1, PAGE_MAX);
    let mut position = after.unwrap_or_default();
    let mut told = 0;
    let mut missing = Vec::new();
    while position.shard < control.server.shards() {
        control.goes_on()?;
        let call = ControlCall::Queue {
            shard: position.shard,
            filter: Box::new(filter.clone()),
            after: position.place(),
            most: Most::entries(limit - told),
        };
        let owner = control.server.owner_of_shard(position.shard);
        let (found, next) = match control.ask(owner, call) {
            Ok(ControlAnswer::Queue(found, next)) => (found, next),
            Ok(_) => return Err(OTHER_ANSWER.into()),
            Err(why) => {
                missing.push(why);
                (Vec::new(), None)
            }
        };
        for (stored, recipients) in &found {
            told += recipients.len();
            for (index, standing) in recipients {
                let which = (*index, standing);
                item(describe(control, position.shard, stored, which))?;
            }
        }
        position = position.next(next);
        if told >= limit {
            return Ok(json!({"next": position, "missing": missing}));
        }
    }
    Ok(json!({"next": null, "missing": missing}))
}

/// Does something to all recipients that fit, as far as their shards can do it. Items tell how far it is, now and then.
pub(super) fn change(
    control: &Control,
    filter: &Filter,
    deed: &Deed,
    item: Item<'_>,
) -> Result<Value, String> {
    deed.check()?;
    if let Deed::Transport { name } = deed {
        must_be_there(name, &control.server.transports())?;
    }
    let mut position = QueuePosition::default();
    let mut all = Done::default();
    let mut missing = Vec::new();
    let mut told = Instant::now();
    while position.shard < control.server.shards() {
        let done = page(control, filter, deed, position).unwrap_or_else(|why| {
            missing.push(why);
            Done::default()
        });
        all.looked_at += done.looked_at;
        all.fit += done.fit;
        all.changed += done.changed;
        position = position.next(done.next);
        let heard = match told.elapsed() >= PROGRESS_EVERY {
            true => {
                told = Instant::now();
                item(numbers(&all))
            }
            false => Ok(()),
        };
        if let Err(why) = control.goes_on().and(heard) {
            missing.push(why);
            break;
        }
    }
    tracing::info!(
        ?deed,
        %filter,
        changed = all.changed,
        "an operator changed the queue"
    );
    match missing[..] {
        [] => Ok(numbers(&all)),
        _ => Err(format!(
            "{}; {} recipients were changed elsewhere",
            missing.join("; "),
            all.changed
        )),
    }
}

/// Mail for a transport that nobody has configured would only wait. An empty name is none.
fn must_be_there(name: &str, transports: &[String]) -> Result<(), String> {
    if name.is_empty() || transports.iter().any(|there| there == name) {
        return Ok(());
    }
    Err(match transports {
        [] => format!("there is no transport {name:?}; the settings in force have none"),
        some => format!(
            "there is no transport {name:?}; the settings in force have {}",
            some.join(", ")
        ),
    })
}

fn page(
    control: &Control,
    filter: &Filter,
    deed: &Deed,
    position: QueuePosition,
) -> Result<Done, String> {
    let call = ControlCall::QueueChange {
        shard: position.shard,
        filter: Box::new(filter.clone()),
        deed: Box::new(deed.clone()),
        after: position.place(),
    };
    let owner = control.server.owner_of_shard(position.shard);
    match control.ask(owner, call)? {
        ControlAnswer::QueueDone(done) => Ok(done),
        _ => Err(OTHER_ANSWER.into()),
    }
}

fn numbers(done: &Done) -> Value {
    json!({"looked_at": done.looked_at, "fit": done.fit, "changed": done.changed})
}

/// The octets of a message, piece by piece, as the next hop gets them.
pub(super) fn dump(control: &Control, id: u64, item: Item<'_>) -> Result<Value, String> {
    let gone =
        || format!("there is no recipient {id} in the queue; ringmail queue list shows them");
    let number = QueueId::from_u64(id).ok_or_else(gone)?;
    if number.shard() >= control.server.shards() {
        return Err(gone());
    }
    let owner = control.server.owner_of_shard(number.shard());
    let mut from = 0;
    loop {
        control.goes_on()?;
        let call = ControlCall::QueueOctets {
            shard: number.shard(),
            number: number.number(),
            from,
        };
        let ControlAnswer::Octets(octets) = control.ask(owner, call)? else {
            return Err(OTHER_ANSWER.into());
        };
        let octets = octets.ok_or_else(gone)?;
        if octets.is_empty() {
            return Ok(json!({"octets": from}));
        }
        from += octets.len() as u64;
        item(json!({"octets": STANDARD.encode(octets)}))?;
    }
}

impl QueuePosition {
    fn place(self) -> Option<Place> {
        self.message.map(|body| Place {
            body,
            index: self.index.unwrap_or(u32::MAX),
        })
    }

    /// After a page of its shard.
    fn next(self, place: Option<Place>) -> QueuePosition {
        match place {
            Some(place) => QueuePosition {
                shard: self.shard,
                message: Some(place.body),
                index: Some(place.index),
            },
            None => QueuePosition {
                shard: self.shard + 1,
                message: None,
                index: None,
            },
        }
    }
}

fn describe(
    control: &Control,
    shard: u16,
    stored: &Stored,
    (index, standing): (u32, &Standing),
) -> Value {
    let message = &stored.message;
    let row = stored.recipient(index);
    let recipient = &message.recipients[index as usize];
    let id = stored.id(shard, index);
    json!({
        "id": id.map(|id| id.get()),
        "account": message.account,
        "reverse_path": message.reverse_path,
        "mail_from": message.mail_from(control.server.from_ids(), id),
        "extra": message.extra,
        "recipient": recipient.address,
        "message_id": message.message_id_of(id.map_or(0, QueueId::get)),
        "batch": message.batch.as_ref().and_then(|_| stored.id(shard, 0)).map(QueueId::get),
        "size": message.size,
        "smtputf8": message.smtputf8,
        "accepted": message.accepted,
        "expires": row.expires(message),
        "state": row.state.word(),
        "reason": standing.why,
        "rule": row.held_by.as_ref().and_then(|by| by.rule),
        "attempts": row.attempts,
        "next": standing.next,
        "transport": row.transport,
        "require_tls": row.requires_tls(message),
        "attempts_max": row.retries.attempts_max,
        "schedule": row.retries.waits,
        "history": row.history.iter().map(attempt).collect::<Vec<_>>(),
    })
}

pub(super) fn attempt(attempt: &Attempt) -> Value {
    json!({
        "at": attempt.at,
        "took_ms": attempt.took_ms,
        "remote": attempt.remote,
        "code": attempt.code,
        "enhanced": attempt.enhanced.map(|(a, b, c)| format!("{a}.{b}.{c}")),
        "text": attempt.text,
        "stage": attempt.stage.map(AttemptStage::word),
    })
}

/// Between two words on how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
