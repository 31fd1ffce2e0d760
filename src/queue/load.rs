//! Messages read from their shards: all of them at the start, a page for whoever looks.

use std::rc::Rc;

use shards::ShardId;
use shards::index::Index;
use shards::rt;
use shards::segments::BodyId;
use shards::storage::Shard;

use super::messages::Queue;
use super::rows::{Stored, decode_message, decode_recipient, parse_key, recipient_key};
use super::select::index_of;
use crate::store::{StoreError, rows};

/// Messages of a shard after one, at most so many (fewer where their rows are long), and whether there are more. One that can't be read is told in the log and left out.
pub async fn page(
    shard: &Rc<Shard>,
    after: Option<BodyId>,
    most: usize,
) -> Result<(Vec<Stored>, bool), StoreError> {
    let from = after.map_or_else(
        || QUEUE.to_vec(),
        |body| [recipient_key(body, u32::MAX), vec![0]].concat(),
    );
    read(shard, QUEUE, from, most.max(1)).await
}

/// A message.
pub async fn find(shard: &Rc<Shard>, body: BodyId) -> Result<Option<Stored>, StoreError> {
    let key = rows::queue_key(body.0);
    let (found, _) = read(shard, &key, key.clone(), 1).await?;
    Ok(found.into_iter().find(|stored| stored.body == body))
}

/// Of messages the first ones, at least one, all in one read: each in its place, none where it is not there any more; and what their rows come to, about.
pub async fn find_first(
    shard: &Rc<Shard>,
    bodies: &[BodyId],
) -> Result<(Vec<Option<Stored>>, usize), StoreError> {
    let keys = bodies.iter().take(FIND_MAX);
    let keys: Vec<Vec<u8>> = keys.map(|body| rows::queue_key(body.0)).collect();
    let read = move |index: &Index| {
        let (mut pages, mut octets) = (Vec::new(), 0);
        for key in &keys {
            let page = index.scan(key, key, SLICE_MIN)?;
            octets += page.iter().map(|(_, row)| row.len()).sum::<usize>();
            pages.push(page);
            if octets > OCTETS_MAX {
                break;
            }
        }
        Ok((pages, octets))
    };
    let mut all = Vec::new();
    let (pages, mut octets) = shard.read(read).await?;
    for (body, page) in bodies.iter().zip(pages) {
        if page.len() == SLICE_MIN {
            // It has more rows than that: how many octets they are nobody asks.
            all.push(find(shard, *body).await?);
            octets += OCTETS_MAX;
            continue;
        }
        let mut found = Vec::new();
        for (key, row) in page {
            add(shard.id(), &mut found, &key, &row);
        }
        all.push(found.into_iter().find(|stored| stored.body == *body));
        rt::yield_if_needed().await;
    }
    Ok((all, octets))
}

/// The message of a recipient's number, and which of its recipients that is: with what became of that one alone, for it may have ten thousand. The recipients
/// of a message have the numbers up to its own.
pub async fn find_recipient(
    shard: &Rc<Shard>,
    number: u64,
) -> Result<Option<(Stored, u32)>, StoreError> {
    let (from, id) = (rows::queue_key(number), shard.id());
    let found = shard.read(move |index| {
        let mut found = Vec::new();
        if let Some((key, row)) = index.scan(QUEUE, &from, 1)?.first() {
            add(id, &mut found, key, row);
        }
        let at = found.first().and_then(|stored| index_of(stored, number));
        let (Some(body), Some(at)) = (found.first().map(|stored| stored.body), at) else {
            return Ok(None);
        };
        let key = recipient_key(body, at);
        if let Some(row) = index.get(&key)? {
            add(id, &mut found, &key, &row);
        }
        Ok(found.pop().map(|stored| (stored, at)))
    });
    Ok(found.await?)
}

/// Whole messages with a prefix, from a key on: the rows of one are never torn apart.
async fn read(
    shard: &Rc<Shard>,
    prefix: &[u8],
    mut from: Vec<u8>,
    most: usize,
) -> Result<(Vec<Stored>, bool), StoreError> {
    let mut found: Vec<Stored> = Vec::new();
    let mut octets = 0;
    loop {
        // One more than asked for: the row after the last message's tells that it is whole.
        let slice = (most - found.len().min(most) + 1).max(SLICE_MIN);
        let page = shard.scan(prefix.to_vec(), from, slice).await?;
        let ended = page.len() < slice;
        let Some((last, _)) = page.last() else {
            return Ok((found, false));
        };
        from = [last.as_slice(), &[0]].concat();
        for (key, row) in page {
            let is_new = matches!(parse_key(&key), Some((_, None)));
            if is_new && (found.len() == most || octets > OCTETS_MAX) {
                return Ok((found, true));
            }
            octets += row.len();
            add(shard.id(), &mut found, &key, &row);
        }
        if ended {
            return Ok((found, false));
        }
        rt::yield_if_needed().await;
    }
}

/// Adds what a row says to the messages.
fn add(shard: ShardId, found: &mut Vec<Stored>, key: &[u8], row: &[u8]) {
    match parse_key(key) {
        Some((body, None)) => {
            let name = || format!("queue entry {} of {shard}", body.0);
            match decode_message(row, name) {
                Ok(message) => found.push(Stored {
                    body,
                    message,
                    changed: Vec::new(),
                }),
                Err(error) => {
                    tracing::error!(%shard, %error, "a queued message can't be read; it stays, the others go on");
                }
            }
        }
        Some((body, Some(index))) => {
            // Of a message that was left out, or of the one before `from`: nobody's.
            let Some(message) = found.last_mut().filter(|m| m.body == body) else {
                return;
            };
            let name = || format!("recipient {index} of queue entry {}", body.0);
            match decode_recipient(row, name) {
                Ok(row) => message.changed.push((index, row)),
                Err(error) => {
                    tracing::error!(%shard, %error, "what became of a recipient can't be read; it is tried as if it were new");
                }
            }
        }
        None => (),
    }
}

/// Puts all that is stored in a shard in line.
pub async fn resume(queue: &Rc<Queue>, shard: &Rc<Shard>) -> Result<u64, StoreError> {
    let _resuming = queue.resuming();
    let mut after = None;
    let mut count = 0;
    loop {
        let (messages, more) = page(shard, after, SLICE).await?;
        after = messages.last().map(|m| m.body);
        for message in messages {
            count += message.message.recipients.len() as u64;
            queue.add_stored(shard, &message).await;
            rt::yield_if_needed().await;
        }
        if !more {
            return Ok(count);
        }
    }
}

/// Messages read at once at the start.
const SLICE: usize = 500;
/// Octets of rows that are in memory at once, but for those of the last message: one may have ten thousand recipients.
pub(super) const OCTETS_MAX: usize = 1 << 20;
/// Rows read at once, at least.
const SLICE_MIN: usize = 50;
/// Messages that are looked for in one read.
const FIND_MAX: usize = 64;
/// What keys of the queue begin with.
const QUEUE: &[u8] = b"q";
