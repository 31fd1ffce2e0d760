//! Keys of the API, each in the shard of its own hash: it is looked for before anybody knows whose it is. The account's shard has a row for each
//! key of the account, written before the key and removed after it: one that leads nowhere is no key.
//!
//! | key, behind `K` | row |
//! |---|---|
//! | `i` id | the key, in the shard of its hash |
//! | `a` account NUL id | that the account has it, in the account's shard |

use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shards::rt::Turns;
use shards::storage::{Batch, Shard};

use super::rows::{decode, encode};
use super::{StoreError, keys};
use crate::login::api_key::{KeyId, NOTED_EVERY, SecretDigest};

/// A key, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyRow {
    /// Whose.
    pub account: String,
    /// The owner's word for it.
    pub name: String,
    /// SHA-256 of its secret.
    pub digest: SecretDigest,
    /// Bits of `webapi::v1::Scopes`.
    pub scopes: u8,
    /// Addresses and domains that it may write as; none: all that the account may.
    pub from: Vec<String>,
    /// Requests in a minute; 0: no bound.
    pub per_minute: u32,
    /// Seconds since 1970.
    pub created: i64,
    /// Seconds since 1970.
    pub expires: Option<i64>,
    /// Seconds since 1970, at most [`NOTED_EVERY`] late.
    pub last_used: Option<i64>,
}

/// A key, in its shard.
pub async fn api_key(shard: &Rc<Shard>, id: &KeyId) -> Result<Option<ApiKeyRow>, StoreError> {
    let row = shard.get(keys::api_key(id)).await?;
    row.map(|row| decode(&row, what)).transpose()
}

/// Stores or removes one.
pub async fn put_api_key(
    shard: &Rc<Shard>,
    id: &KeyId,
    row: Option<&ApiKeyRow>,
) -> Result<(), StoreError> {
    let _turn = CHANGES.with(Rc::clone).take(1).await;
    put(shard, id, row).await
}

/// Notes that it was used now, unless that was noted lately.
pub async fn api_key_used(shard: &Rc<Shard>, id: &KeyId, now: i64) -> Result<(), StoreError> {
    let _turn = CHANGES.with(Rc::clone).take(1).await;
    match api_key(shard, id).await? {
        Some(row) if row.last_used.is_none_or(|used| now - used >= NOTED_EVERY) => {
            let last_used = Some(now);
            put(shard, id, Some(&ApiKeyRow { last_used, ..row })).await
        }
        _ => Ok(()),
    }
}

async fn put(shard: &Rc<Shard>, id: &KeyId, row: Option<&ApiKeyRow>) -> Result<(), StoreError> {
    change(shard, keys::api_key(id), row.map(encode)).await
}

/// The account has a key from now on; false: it has as many as it may.
pub async fn own_api_key(shard: &Rc<Shard>, account: &str, id: &KeyId) -> Result<bool, StoreError> {
    let _turn = CHANGES.with(Rc::clone).take(1).await;
    if own_api_keys(shard, account).await?.len() >= API_KEYS_MAX {
        return Ok(false);
    }
    change(shard, keys::own_api_key(account, id), Some(encode(&()))).await?;
    Ok(true)
}

/// It has it no longer.
pub async fn disown_api_key(
    shard: &Rc<Shard>,
    account: &str,
    id: &KeyId,
) -> Result<(), StoreError> {
    let _turn = CHANGES.with(Rc::clone).take(1).await;
    change(shard, keys::own_api_key(account, id), None).await
}

/// All that an account has.
pub async fn own_api_keys(shard: &Rc<Shard>, account: &str) -> Result<Vec<KeyId>, StoreError> {
    let prefix = keys::own_api_keys(account);
    let rows = shard.scan(prefix.clone(), Vec::new(), API_KEYS_MAX).await?;
    let id = |(key, _): (Vec<u8>, Vec<u8>)| {
        let id = key[prefix.len()..].try_into();
        id.map_err(|_| StoreError::Row(what()))
    };
    rows.into_iter().map(id).collect()
}

async fn change(shard: &Rc<Shard>, key: Vec<u8>, row: Option<Vec<u8>>) -> Result<(), StoreError> {
    let octets = row.as_ref().map_or(0, Vec::len) + 128;
    let permit = shard.permit(octets, false, PATIENCE).await?;
    let mut batch = Batch::default();
    match row {
        Some(row) => batch.put(key, row),
        None => batch.delete(key),
    }
    Ok(shard.commit(permit, batch).await.map(|_| ())?)
}

fn what() -> String {
    "a key of the API".into()
}

thread_local! {
    /// Changes on this core: one at a time, for each is made from what was read before.
    static CHANGES: Rc<Turns> = Rc::default();
}

/// Keys of an account.
pub const API_KEYS_MAX: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);
