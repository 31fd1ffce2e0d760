//! Rows that say a delivery of a fan-out entry was made, looked at apart from their accounts. A stop between the end of an entry and the
//! forgetting of its transactions leaves them; `inbound` removes them after the next start, the check names them.

use std::rc::Rc;
use std::time::Duration;

use shards::index::{Index, IndexError};
use shards::storage::{Batch, Shard};

use super::rows::{AccountId, parts_of_transaction};
use super::{StoreError, keys};

/// A row that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its key.
    pub key: Vec<u8>,
    /// The shard of the entry.
    pub shard: u16,
    /// The entry.
    pub entry: u64,
}

impl Delivered {
    /// What the key says; none if it is no number of a transaction.
    pub(super) fn of(key: Vec<u8>) -> Option<Delivered> {
        let (shard, entry, _) = parts_of_transaction(key.last_chunk()?);
        Some(Delivered { key, shard, entry })
    }

    /// The keys of what the entry's row may be, in its shard: one of fan-out, or a queued message.
    pub fn entry_keys(&self) -> [Vec<u8>; ENTRY_KEYS] {
        [keys::fan_out(self.entry), keys::queue(self.entry)]
    }
}

/// Such rows of a shard from a key on (empty: from the start), some at a time; and where to go on.
pub async fn delivered(
    shard: &Rc<Shard>,
    from: Vec<u8>,
) -> Result<(Vec<Delivered>, Option<Vec<u8>>), StoreError> {
    Ok(shard.read(move |index| slice(index, from)).await?)
}

fn slice(
    index: &Index,
    mut from: Vec<u8>,
) -> Result<(Vec<Delivered>, Option<Vec<u8>>), IndexError> {
    let mut found = Vec::new();
    for _ in 0..ACCOUNTS {
        let next = index.scan(keys::ACCOUNTS, &from, 1)?;
        let id = next
            .first()
            .and_then(|(key, _)| key.get(1..9)?.try_into().ok());
        let Some(id) = id.map(u64::from_be_bytes) else {
            return Ok((found, None));
        };
        let prefix = keys::kind_prefix(AccountId(id), b'd');
        let rows = index.scan(&prefix, &from, ROWS)?;
        let full = rows.len() == ROWS;
        let last = rows.last().map(|(key, _)| [key.as_slice(), &[0]].concat());
        found.extend(rows.into_iter().filter_map(|(key, _)| Delivered::of(key)));
        from = match last.filter(|_| full) {
            Some(last) => last,
            None => keys::account_prefix(AccountId(id + 1)),
        };
        if found.len() >= ROWS {
            break;
        }
    }
    Ok((found, Some(from)))
}

/// Removes such rows.
pub async fn forget(shard: &Rc<Shard>, rows: Vec<Delivered>) -> Result<(), StoreError> {
    let permit = shard.permit(rows.len() * 40, false, PERMIT_LIMIT).await?;
    let mut batch = Batch::default();
    for row in rows {
        batch.delete(row.key);
    }
    shard.commit(permit, batch).await?;
    Ok(())
}

/// Which of these rows a shard has.
pub async fn exist(shard: &Rc<Shard>, keys: Vec<Vec<u8>>) -> Result<Vec<bool>, StoreError> {
    let look = move |index: &Index| {
        keys.iter()
            .map(|key| Ok(index.get(key)?.is_some()))
            .collect()
    };
    Ok(shard.read(look).await?)
}

/// Keys of [`Delivered::entry_keys`].
pub const ENTRY_KEYS: usize = 2;
/// Accounts looked at by one job of the pool.
const ACCOUNTS: usize = 200;
/// Rows in one answer, about.
const ROWS: usize = 500;
const PERMIT_LIMIT: Duration = Duration::from_secs(30);
