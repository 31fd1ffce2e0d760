//! The account's secrets and delivery marks: rows that are read when needed, not kept.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use sasl::{CramState, ScramHash};
use serde::Deserialize;
use shards::rt::Turns;
use shards::storage::{Batch, Shard};

use super::account::{Account, Changes};
use super::rows::{AccountId, TRANSACTION, decode, decode_version, encode, encode_version};
use super::{StoreError, keys};
use crate::login::{KeyPair, Keys, Password, SaltRow, Scheme, Secrets};

/// The secrets of the account of a name; none if there is no such account, or it has none. The same is read for both and decoded, in one
/// job of the pool: each login comes here, and a second trip to another thread and back costs more than what is read.
pub async fn secrets(shard: &Rc<Shard>, name: &str) -> Result<Option<Secrets>, StoreError> {
    let name = name.to_string();
    let read = shard.read(move |index| {
        let id = match index.get(&keys::account_name(&name))? {
            Some(bytes) => decode(&bytes, || format!("number of account {name}")),
            // Never given out.
            None => Ok(AccountId(0)),
        };
        let id = match id {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        };
        Ok(match index.get(&keys::credentials(id))? {
            Some(bytes) => decode_secrets(&bytes, &name).map(Some),
            None => {
                // Without it an answer for an unknown name came earlier by a tenth.
                ANYBODY.with(|row| drop(black_box(decode_secrets(row, &name))));
                Ok(None)
            }
        })
    });
    read.await?
}

thread_local! {
    /// A row as most accounts have it.
    static ANYBODY: Vec<u8> = encode_version(VERSION, &anybody());
}

fn anybody() -> Secrets {
    let salt = SaltRow {
        salt: vec![0; 16],
        iterations: const { NonZeroU32::new(600_000).unwrap() },
    };
    let pair = |hash: ScramHash| KeyPair {
        stored: vec![0; hash.length()],
        server: vec![0; hash.length()],
    };
    Secrets {
        sha256: Some(salt.clone()),
        sha1: Some(salt),
        password: Some(Password {
            argon2id: "-".repeat(97),
            keys: Keys {
                sha256: Some(pair(ScramHash::Sha256)),
                sha1: Some(pair(ScramHash::Sha1)),
                cram_md5: Some(vec![0; CramState::LENGTH]),
            },
        }),
        app_passwords: Vec::new(),
    }
}

/// The row's second version. The first, of a time without SCRAM, had the argon2id hash alone.
const VERSION: u8 = 2;

fn decode_secrets(bytes: &[u8], name: &str) -> Result<Secrets, StoreError> {
    #[derive(Deserialize)]
    struct First {
        argon2id: String,
    }
    let what = || format!("secrets of account {name}");
    if bytes.first() == Some(&VERSION) {
        return decode_version(VERSION, bytes, what);
    }
    let first: First = decode(bytes, what)?;
    Ok(Secrets {
        password: Some(Password {
            argon2id: first.argon2id,
            ..Password::default()
        }),
        ..Secrets::default()
    })
}

/// Takes out of all accounts of a shard what is kept for mechanisms that are off; answers how many accounts had some. Done once, until
/// another mechanism is switched off. Ends without having done it all once `scheme` is no longer the one in force: then somebody else does it.
pub async fn drop_unused_secrets(
    shard: &Rc<Shard>,
    scheme: &Scheme,
    is_in_force: impl Fn() -> bool,
) -> Result<u64, StoreError> {
    let wanted = (scheme.sha1, scheme.cram_md5);
    let (sha1, cram_md5) = {
        let _turn = CHANGES.with(Rc::clone).take(1).await;
        stored_mechanisms(shard).await?
    };
    if (!sha1 || scheme.sha1) && (!cram_md5 || scheme.cram_md5) {
        return Ok(0);
    }
    let mut from = Vec::new();
    let mut dropped = 0;
    loop {
        let names = shard
            .scan(keys::ACCOUNT_NAMES.to_vec(), from, SLICE)
            .await?;
        let _turn = CHANGES.with(Rc::clone).take(1).await;
        // Whatever a change has stored since the last turn was good for the scheme in force.
        if !is_in_force() {
            return Ok(dropped);
        }
        let Some((last, _)) = names.last() else {
            let permit = shard.permit(64, false, PATIENCE).await?;
            let mut batch = Batch::default();
            batch.put(keys::MECHANISMS.to_vec(), encode(&wanted));
            shard.commit(permit, batch).await?;
            return Ok(dropped);
        };
        from = [last.as_slice(), &[0]].concat();
        let mut batch = Batch::default();
        for (key, id) in &names {
            let name = String::from_utf8_lossy(&key[1..]).into_owned();
            let id = decode(id, || format!("number of account {name}"))?;
            let Some(row) = shard.get(keys::credentials(id)).await? else {
                continue;
            };
            let mut secrets = decode_secrets(&row, &name)?;
            if secrets.drop_unused(scheme) {
                dropped += 1;
                batch.put(keys::credentials(id), encode_version(VERSION, &secrets));
            }
        }
        let permit = shard.permit(names.len() * 512, false, PATIENCE).await?;
        shard.commit(permit, batch).await?;
    }
}

/// The mechanisms for which something may be stored in a shard, of those that can be switched: SCRAM-SHA-1, CRAM-MD5.
async fn stored_mechanisms(shard: &Rc<Shard>) -> Result<(bool, bool), StoreError> {
    match shard.get(keys::MECHANISMS.to_vec()).await? {
        Some(row) => decode(&row, || "mechanisms".to_string()),
        None => Ok((true, true)),
    }
}

thread_local! {
    /// Changes of secrets on this core: one at a time, for each is made from what was read before.
    static CHANGES: Rc<Turns> = Rc::default();
}

const SLICE: usize = 200;
const PATIENCE: Duration = Duration::from_secs(30);

impl Account {
    /// Replaces the secrets if they are those that the change was made from; false if not. Durable when it returns. The change may have
    /// taken its time: what it made for mechanisms that are off in `scheme`, which is asked last, is not stored.
    pub async fn change_secrets(
        self: &Rc<Self>,
        from: Option<&Secrets>,
        to: &Secrets,
        scheme: impl FnOnce() -> Scheme,
    ) -> Result<bool, StoreError> {
        let _turn = CHANGES.with(Rc::clone).take(1).await;
        if secrets(&self.shard, &self.name).await?.as_ref() != from {
            return Ok(false);
        }
        let marked = stored_mechanisms(&self.shard).await?;
        let mut to = to.clone();
        let permit = self
            .permit(encode_version(VERSION, &to).len(), false)
            .await?;
        to.drop_unused(&scheme());
        let mut changes = Changes::default();
        let row = encode_version(VERSION, &to);
        changes.batch.put(keys::credentials(self.id), row);
        let has = to.switchable();
        let both = (marked.0 | has.0, marked.1 | has.1);
        if both != marked {
            let mark = encode(&both);
            changes.batch.put(keys::MECHANISMS.to_vec(), mark);
        }
        self.commit(permit, changes).await?;
        Ok(true)
    }

    /// Forgets that fan-out transactions were delivered: their entries are gone, so nobody repeats them.
    pub async fn forget_delivered(
        self: &Rc<Self>,
        transactions: &[[u8; TRANSACTION]],
    ) -> Result<(), StoreError> {
        let permit = self.permit(transactions.len() * 32, false).await?;
        let mut changes = Changes::default();
        for transaction in transactions {
            changes.batch.delete(keys::delivered(self.id, transaction));
        }
        self.commit(permit, changes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::Iterations;
    use crate::settings::AuthLimits;

    #[test]
    fn what_is_decoded_for_an_unknown_name_is_like_a_known_ones() {
        let row = ANYBODY.with(Clone::clone);
        assert_eq!(decode_secrets(&row, "nobody").unwrap(), anybody());
        let auth = AuthLimits {
            cram_md5: true,
            ..AuthLimits::default()
        };
        let few = NonZeroU32::new(20_000).unwrap();
        let iterations = Iterations {
            sha256: few,
            sha1: few,
        };
        let mut secrets = Secrets::default();
        let scheme = Scheme::new(&auth, iterations);
        secrets.set_password(b"a password", &scheme).unwrap();
        assert_eq!(row.len(), encode_version(VERSION, &secrets).len());
    }
}
