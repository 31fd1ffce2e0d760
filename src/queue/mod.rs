//! The durable queue: messages of our own users on their way out. So far it accepts and lists; nothing is sent from it yet.
//!
//! An entry is committed with its body on the shard whose turn it is; its number carries that shard. Its input is trusted: the
//! submission flow has checked the sender. No sockets here.

pub mod id;
pub mod retry;
pub mod rows;
pub mod waiting;

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use shards::segments::BodyId;
use shards::storage::{Batch, NewBody, Shard};

use crate::store::{NewContent, StoreError, rows as store_rows};

/// A queued message. One row for all its recipients until it is sent for the first time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueueRow {
    /// Its body.
    pub body: u64,
    /// Octets.
    pub size: u64,
    /// Octets of header fields we added in front.
    pub prefix_length: u32,
    /// Who submitted it.
    pub account: String,
    /// Where notifications go; empty for the null path.
    pub reverse_path: String,
    /// To whom.
    pub recipients: Vec<String>,
    /// SMTPUTF8 is needed (RFC 6531).
    pub smtputf8: bool,
    /// When it was accepted, seconds since 1970.
    pub accepted: i64,
}

/// A queued message as it is listed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueueItem {
    /// Its shard.
    pub shard: u16,
    /// Its number within the shard.
    pub number: u64,
    /// What is stored.
    pub row: QueueRow,
}

/// Adds an entry to a batch; it is accepted once the batch is durable. Its number is that of its body.
pub fn plan(
    shard: &Rc<Shard>,
    batch: &mut Batch,
    mut row: QueueRow,
    prefix: Vec<u8>,
    content: &NewContent,
) -> BodyId {
    let id = shard.next_body();
    row.body = id.0;
    row.prefix_length = prefix.len() as u32;
    row.size = prefix.len() as u64 + content.length();
    let encoded = store_rows::encode(&row);
    batch.bodies.push(NewBody {
        id,
        kind: store_rows::BODY_QUEUE,
        // Salvage rebuilds the entry from it; an entry with very many recipients keeps them in its row alone.
        meta: if encoded.len() <= META_MAX {
            encoded.clone()
        } else {
            Vec::new()
        },
        parts: vec![prefix.into(), content.bytes.clone()],
        external: content.external.clone(),
    });
    batch.put(store_rows::queue_key(id.0), encoded);
    id
}

/// Entries of a shard from `from` on, at most `limit`.
pub async fn list(
    shard: &Rc<Shard>,
    from: u64,
    limit: usize,
) -> Result<Vec<QueueItem>, StoreError> {
    let rows = shard
        .scan(b"q".to_vec(), store_rows::queue_key(from), limit)
        .await?;
    let item = |(key, value): (Vec<u8>, Vec<u8>)| {
        let number = key
            .get(1..9)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u64::from_be_bytes);
        let row = store_rows::decode(&value, || format!("queue entry {number} of {}", shard.id()))?;
        Ok(QueueItem {
            shard: shard.id().0,
            number,
            row,
        })
    };
    rows.into_iter().map(item).collect()
}

const META_MAX: usize = 60_000;
