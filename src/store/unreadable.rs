//! Rows that can't be read, met by whoever walks over all rows of a kind, at the start or to erase what is old: he leaves such a row out, and it is told of
//! once in a run of the server. Not here: rows that somebody asks for, who is told by the error.

use std::cell::RefCell;
use std::collections::HashSet;

use shards::storage::Shard;

use super::StoreError;

/// What was made of a row, or of several; none: one can't be read. Other errors are the caller's.
pub fn readable<T>(
    shard: &Shard,
    key: &[u8],
    made: Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    match made {
        Ok(made) => Ok(Some(made)),
        Err(error @ StoreError::Row(_)) => {
            tell(shard, key, &error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// How many this core has told of.
pub fn unreadable_rows() -> usize {
    TOLD.with_borrow(HashSet::len)
}

fn tell(shard: &Shard, key: &[u8], error: &StoreError) {
    let is_new = TOLD
        .with_borrow_mut(|told| told.len() < TOLD_MAX && told.insert((shard.id().0, key.to_vec())));
    if is_new {
        let key = key.escape_ascii();
        tracing::error!(shard = %shard.id(), %key, %error, "a row can't be read: it is left out, and the others go on");
    }
}

thread_local! {
    /// Shard and key of those that were told of on this core.
    static TOLD: RefCell<HashSet<(u16, Vec<u8>)>> = RefCell::default();
}

/// Rows that a core tells of.
const TOLD_MAX: usize = 1_000;
