//! Keys of TLS client certificates, each in the shard of its own hash: it is looked for before anybody knows whose it is.

use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shards::rt::Turns;
use shards::storage::{Batch, Shard};

use super::rows::{decode, encode};
use super::{StoreError, keys};

/// SHA-256 of a DER SubjectPublicKeyInfo.
pub type Fingerprint = [u8; 32];

/// A registered key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientKeyRow {
    /// Whom it logs in.
    pub account: String,
    /// Under which address.
    pub address: String,
    /// The owner's word for the device.
    pub name: String,
    /// `ed25519`, `rsa-2048` and so on.
    pub kind: String,
    /// IMAP is greeted as always, and logs in with EXTERNAL: for programs that do not know PREAUTH.
    pub no_imap_preauth: bool,
    /// Seconds since 1970.
    pub added: i64,
    /// Seconds since 1970, at most [`USED_EVERY`] late.
    pub last_used: Option<i64>,
    /// The certificate it came in, DER; only its key counts.
    pub certificate: Vec<u8>,
}

/// The key of a fingerprint, in its shard.
pub async fn client_key(
    shard: &Rc<Shard>,
    fingerprint: &Fingerprint,
) -> Result<Option<ClientKeyRow>, StoreError> {
    match shard.get(keys::client_key(fingerprint)).await? {
        Some(row) => decode(&row, || "a client's key".to_string()).map(Some),
        None => Ok(None),
    }
}

/// Registers a key; false if it is registered already, whoever's it is.
pub async fn add_client_key(
    shard: &Rc<Shard>,
    fingerprint: &Fingerprint,
    row: &ClientKeyRow,
) -> Result<bool, StoreError> {
    let _turn = CHANGES.with(Rc::clone).take(1).await;
    if client_key(shard, fingerprint).await?.is_some() {
        return Ok(false);
    }
    put(shard, fingerprint, row).await?;
    Ok(true)
}

/// Removes a key; answers what it was.
pub async fn remove_client_key(
    shard: &Rc<Shard>,
    fingerprint: &Fingerprint,
) -> Result<Option<ClientKeyRow>, StoreError> {
    let _turn = CHANGES.with(Rc::clone).take(1).await;
    let row = client_key(shard, fingerprint).await?;
    if row.is_some() {
        let permit = shard.permit(64, false, PATIENCE).await?;
        let mut batch = Batch::default();
        batch.delete(keys::client_key(fingerprint));
        shard.commit(permit, batch).await?;
    }
    Ok(row)
}

/// Notes that a key was used now, unless that was noted lately.
pub async fn client_key_used(
    shard: &Rc<Shard>,
    fingerprint: &Fingerprint,
    now: i64,
) -> Result<(), StoreError> {
    let _turn = CHANGES.with(Rc::clone).take(1).await;
    match client_key(shard, fingerprint).await? {
        Some(row) if row.last_used.is_none_or(|used| now - used >= USED_EVERY) => {
            let last_used = Some(now);
            put(shard, fingerprint, &ClientKeyRow { last_used, ..row }).await
        }
        _ => Ok(()),
    }
}

/// Keys of a shard after one, at most so many.
pub async fn client_keys(
    shard: &Rc<Shard>,
    after: Option<&Fingerprint>,
    limit: usize,
) -> Result<Vec<(Fingerprint, ClientKeyRow)>, StoreError> {
    let from = match after {
        Some(after) => [keys::client_key(after), vec![0]].concat(),
        None => Vec::new(),
    };
    let rows = shard.scan(keys::CLIENT_KEYS.to_vec(), from, limit).await?;
    rows.into_iter()
        .map(|(key, row)| {
            let name = || "a client's key".to_string();
            let fingerprint = key[1..].try_into().map_err(|_| StoreError::Row(name()))?;
            Ok((fingerprint, decode(&row, name)?))
        })
        .collect()
}

async fn put(
    shard: &Rc<Shard>,
    fingerprint: &Fingerprint,
    row: &ClientKeyRow,
) -> Result<(), StoreError> {
    let row = encode(row);
    let permit = shard.permit(row.len() + 64, false, PATIENCE).await?;
    let mut batch = Batch::default();
    batch.put(keys::client_key(fingerprint), row);
    Ok(shard.commit(permit, batch).await.map(|_| ())?)
}

thread_local! {
    /// Changes on this core: one at a time, for each is made from what was read before.
    static CHANGES: Rc<Turns> = Rc::default();
}

/// Seconds between two notes that a key was used.
const USED_EVERY: i64 = 3600;
const PATIENCE: Duration = Duration::from_secs(30);
