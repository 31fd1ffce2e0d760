//! Messages read from their shards: all of them at the start, a page for whoever looks.

use std::rc::Rc;

use shards::rt;
use shards::segments::BodyId;
use shards::storage::Shard;

use super::messages::Queue;
use super::rows::{Stored, decode_message, decode_recipient, parse_key, recipient_key};
use super::select::index_of;
use crate::store::{StoreError, rows};

/// Messages of a shard after one, at most so many (fewer where they have very many recipients), and whether there are more. One that can't be read is told in the log and left out.
pub async fn page(
    shard: &Rc<Shard>,
    after: Option<BodyId>,
    most: usize,
) -> Result<(Vec<Stored>, bool), StoreError> {
    let from = after.map_or_else(
        || b"q".to_vec(),
        |body| [recipient_key(body, u32::MAX), vec![0]].concat(),
    );
    read(shard, from, most.max(1)).await
}

/// A message.
pub async fn find(shard: &Rc<Shard>, body: BodyId) -> Result<Option<Stored>, StoreError> {
    let (found, _) = read(shard, rows::queue_key(body.0), 1).await?;
    Ok(found.into_iter().find(|stored| stored.body == body))
}

/// The message of a recipient's number, and which of its recipients that is. The recipients of a message have the numbers up to its own.
pub async fn find_recipient(
    shard: &Rc<Shard>,
    number: u64,
) -> Result<Option<(Stored, u32)>, StoreError> {
    let (found, _) = read(shard, rows::queue_key(number), 1).await?;
    let found = found.into_iter().next();
    Ok(found.and_then(|stored| {
        let index = index_of(&stored, number)?;
        Some((stored, index))
    }))
}

/// Whole messages from a key on: the rows of one are never torn apart.
async fn read(
    shard: &Rc<Shard>,
    mut from: Vec<u8>,
    most: usize,
) -> Result<(Vec<Stored>, bool), StoreError> {
    let mut found: Vec<Stored> = Vec::new();
    let mut weight = 0;
    loop {
        // One more than asked for: the row after the last message's tells that it is whole.
        let slice = (most - found.len().min(most) + 1).max(SLICE_MIN);
        let page = shard.scan(b"q".to_vec(), from, slice).await?;
        let ended = page.len() < slice;
        let Some((last, _)) = page.last() else {
            return Ok((found, false));
        };
        from = [last.as_slice(), &[0]].concat();
        for (key, value) in page {
            match parse_key(&key) {
                Some((_, None)) if found.len() == most || weight > WEIGHT_MAX => {
                    return Ok((found, true));
                }
                Some((body, None)) => {
                    let name = || format!("queue entry {} of {}", body.0, shard.id());
                    match decode_message(&value, name) {
                        Ok(message) => {
                            weight += message.recipients.len();
                            found.push(Stored {
                                body,
                                message,
                                changed: Vec::new(),
                            });
                        }
                        Err(error) => {
                            tracing::error!(shard = %shard.id(), %error, "a queued message can't be read; it stays, the others go on");
                        }
                    }
                }
                Some((body, Some(index))) => {
                    // Of a message that was left out, or of the one before `from`: nobody's.
                    let Some(message) = found.last_mut().filter(|m| m.body == body) else {
                        continue;
                    };
                    let name = || format!("recipient {index} of queue entry {}", body.0);
                    match decode_recipient(&value, name) {
                        Ok(row) => message.changed.push((index, row)),
                        Err(error) => {
                            tracing::error!(shard = %shard.id(), %error, "what became of a recipient can't be read; it is tried as if it were new");
                        }
                    }
                }
                None => (),
            }
        }
        if ended {
            return Ok((found, false));
        }
        rt::yield_if_needed().await;
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
/// Recipients of messages that are in memory at once, but for those of the last one: a message may have ten thousand.
pub(super) const WEIGHT_MAX: usize = 10_000;
/// Rows read at once, at least.
const SLICE_MIN: usize = 50;
