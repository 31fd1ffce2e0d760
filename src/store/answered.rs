//! Requests that named a key of their own (Idempotency-Key) and were answered: each is in the same commit as what it did, so that a repeat finds
//! either both or neither. Kept for a day or so.
//!
//! | key, behind `I` | row |
//! |---|---|
//! | `k` account NUL hash | what was asked and answered, by the hash of the request's key |
//! | `t` time account NUL hash | that it is there: the oldest first, as they go |

use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shards::storage::{Batch, Shard};

use super::rows::{decode, encode};
use super::{StoreError, keys};

/// Of an account and a request's key.
pub type RequestHash = [u8; 32];

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredRow {
    /// Of all that was asked.
    pub fingerprint: [u8; 32],
    /// When, seconds since 1970.
    pub at: i64,
    /// Of the message that was made, with its angle brackets.
    pub message_id: String,
    /// The number of its first recipient in the queue; those of the others follow.
    pub first: u64,
    /// Whether each recipient has a MAIL FROM of its own.
    pub has_from_ids: bool,
}

/// What was answered to a request with that key.
pub async fn answered(
    shard: &Rc<Shard>,
    account: &str,
    hash: &RequestHash,
) -> Result<Option<AnsweredRow>, StoreError> {
    let row = shard.get(keys::answered(account, hash)).await?;
    row.map(|row| decode(&row, what)).transpose()
}

/// Notes it beside what it did.
pub fn note_answered(batch: &mut Batch, account: &str, hash: &RequestHash, row: &AnsweredRow) {
    batch.put(keys::answered(account, hash), encode(row));
    batch.put(keys::answered_at(row.at, account, hash), encode(&()));
}

/// Erases those that were answered before a time. `from` is where the last call ended: rows that were erased are walked over until fjall has merged
/// them away.
pub async fn prune_answered(
    shard: &Rc<Shard>,
    before: i64,
    from: &mut Vec<u8>,
) -> Result<u64, StoreError> {
    let end = keys::answered_before(before);
    let mut pruned = 0;
    loop {
        let prefix = keys::ANSWERED_TIMES.to_vec();
        let mut found = shard.scan(prefix, from.clone(), SLICE).await?;
        found.retain(|(key, _)| *key < end);
        let Some((last, _)) = found.last() else {
            return Ok(pruned);
        };
        let next = [last.as_slice(), &[0]].concat();
        let octets = found.iter().map(|(key, _)| 2 * key.len()).sum();
        let permit = shard.permit(octets, false, PATIENCE).await?;
        let mut batch = Batch::default();
        for (key, _) in found {
            batch.delete(keys::answered_of_time(&key));
            batch.delete(key);
            pruned += 1;
        }
        shard.commit(permit, batch).await?;
        *from = next;
    }
}

/// Erases those of an account that goes: whoever gets its name is somebody else.
pub async fn forget_answered(shard: &Rc<Shard>, account: &str) -> Result<(), StoreError> {
    let mut from = Vec::new();
    loop {
        let found = shard.scan(keys::answered_of(account), from, SLICE).await?;
        let Some((last, _)) = found.last() else {
            return Ok(());
        };
        from = [last.as_slice(), &[0]].concat();
        let octets = found.iter().map(|(key, _)| 2 * key.len()).sum();
        let permit = shard.permit(octets, false, PATIENCE).await?;
        let mut batch = Batch::default();
        for (key, row) in found {
            // Of one that can't be read the time goes when it has come.
            if let (Ok(row), Some(hash)) = (decode::<AnsweredRow>(&row, what), key.last_chunk()) {
                batch.delete(keys::answered_at(row.at, account, hash));
            }
            batch.delete(key);
        }
        shard.commit(permit, batch).await?;
    }
}

fn what() -> String {
    "a request that was answered".into()
}

/// Rows that are erased at a time.
const SLICE: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);
