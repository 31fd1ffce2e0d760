//! The durable queue: messages on their way out. docs/QUEUE.md has the states of an entry, who moves it, and what a restart does at each.
//!
//! A message is committed with its body on the shard of the core that accepted it, and stays that core's. Rows are the truth (`rows`);
//! who waits stands in lines in memory (`waiting`); when, `retry` says. `outbound` takes what is due and records what came of it. Its input is
//! trusted: the submission flow has checked the sender. No sockets and no DNS here, and nobody above is called.

pub mod batch;
mod by_account;
pub mod events;
pub mod from_id;
mod hold_rules;
pub mod hooks;
pub mod id;
mod load;
mod messages;
mod most;
mod moved;
mod operate;
mod owing;
mod phase;
mod reason;
pub mod recipe;
pub mod report;
pub mod retired;
pub mod retry;
pub mod returned;
pub mod route;
pub mod rows;
pub mod salvaged;
mod select;
pub mod sending;
pub mod sites;
pub mod suppression;
#[cfg(test)]
pub(crate) mod tests;
pub mod unsubscribe;
mod waiting;
pub mod warm_up;

pub use by_account::OfAccount;
pub use hold_rules::{HoldRule, HoldRules};
pub use id::{QueueId, first_of};
pub use load::{find_recipient, resume};
pub use messages::{Content, Message, Queue, Telling, Work};
pub use most::Most;
pub use operate::{Deed, Done, Operation, Said, all};
pub use phase::Phase;
pub use reason::{Beside, Pause, Standing, next, reason};
pub use select::{Filter, Page, Place, same_domain, select};

use std::rc::Rc;

use shards::segments::BodyId;
use shards::storage::{Batch, NewBody, Shard};

use crate::store::{NewContent, rows as stored};
use rows::MessageRow;

/// The number of a message that is about to be added, with so many recipients.
pub fn next_id(shard: &Rc<Shard>, recipients: usize) -> BodyId {
    // The recipients have the numbers up to this one: see `id`.
    let count = recipients.max(1);
    let mut id = shard.next_bodies(count as u64);
    // The number 0 is nobody's: programs take it for none.
    if id::first_of(id, count) == 0 {
        id = shard.next_bodies(count as u64);
    }
    id
}

/// Adds a message to a batch; it is accepted once the batch is durable. The row has its size then.
pub fn plan(
    batch: &mut Batch,
    id: BodyId,
    row: &mut MessageRow,
    prefix: Vec<u8>,
    content: &NewContent,
) {
    row.prefix_length = prefix.len() as u32;
    // Of a batch it is what its first recipient gets.
    if row.batch.is_none() {
        row.size = prefix.len() as u64 + content.length();
    }
    let encoded = rows::encode_message(row);
    batch.bodies.push(NewBody {
        id,
        kind: stored::BODY_QUEUE,
        // Salvage rebuilds the entry from it; an entry with very many recipients keeps them in its row alone.
        meta: if encoded.len() <= META_MAX {
            encoded.clone()
        } else {
            Vec::new()
        },
        parts: vec![prefix.into(), content.bytes.clone()],
        external: content.external.clone(),
    });
    batch.put(rows::message_key(id), encoded);
}

/// Panics of tasks that look after the queue.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("queue");

const META_MAX: usize = 60_000;
