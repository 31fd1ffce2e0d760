//! Rows of the record of login attempts, in the shard of the account, or of the hash of a name that nobody has.
//!
//! They are kept until some days after the last attempt, and at most so many of an account of each kind (logins, wrong secrets, without keys, others): the
//! oldest of the kind go. So what anybody can make without end, guessing at no secret, pushes out nothing that tells of guesses. Written in the background: a
//! crash loses the attempts of the last seconds, and salvage brings none back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use shards::rt::Turns;
use shards::storage::{Batch, Shard};

use super::rows::{decode, encode};
use super::{StoreError, keys, readable};
use crate::login::{AttemptKind, LoginRecord};

/// Adds attempts; then an account has at most `most` records of each kind.
pub async fn record_logins(
    shard: &Rc<Shard>,
    records: Vec<LoginRecord>,
    most: u32,
) -> Result<(), StoreError> {
    let _turn = CHANGES.with(Rc::clone).take(1).await;
    let rows: Vec<Vec<u8>> = records.iter().map(key).collect();
    let read = shard.read({
        let rows = rows.clone();
        move |index| rows.iter().map(|row| index.get(row)).collect()
    });
    let found: Vec<Option<Vec<u8>>> = read.await?;
    let mut batch = Batch::default();
    let mut new: HashMap<Kind, u32> = HashMap::new();
    let mut bytes = 0;
    for ((mut record, row), found) in records.into_iter().zip(rows).zip(found) {
        match found.map(|row| decode::<LoginRecord>(&row, what)) {
            Some(Ok(earlier)) => record.times.add(earlier.times),
            // Another version's: it is written anew.
            Some(Err(_)) => (),
            None => *new.entry(Kind::of(shard, &record)).or_default() += 1,
        }
        let value = encode(&record);
        bytes += row.len() + value.len();
        batch.put(row, value);
    }
    let permit = shard.permit(bytes, false, PATIENCE).await?;
    shard.commit(permit, batch).await?;
    for (kind, new) in new {
        let known = COUNTS.with_borrow_mut(|counts| {
            let count = counts.get_mut(&kind)?;
            *count = count.saturating_add(new);
            Some(*count)
        });
        if known.is_none_or(|count| count > most) {
            let left = drop_oldest(shard, &kind, most).await?;
            COUNTS.with_borrow_mut(|counts| {
                if counts.len() >= COUNTS_MAX {
                    counts.clear();
                }
                counts.insert(kind, left);
            });
        }
    }
    Ok(())
}

/// Records of an account, or of all, after a key; at most so many. Each with its key.
pub async fn login_records(
    shard: &Rc<Shard>,
    account: Option<&str>,
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, LoginRecord)>, StoreError> {
    let prefix = account.map_or(keys::LOGINS.to_vec(), keys::logins);
    let from = after.map_or(prefix.clone(), |after| [after.as_slice(), &[0]].concat());
    let rows = shard.scan(prefix, from, limit).await?;
    rows.into_iter()
        .map(|(key, row)| Ok((key, decode(&row, what)?)))
        .collect()
}

/// Removes what was last seen before a time, seconds since 1970; answers how many records that were.
pub async fn prune_logins(shard: &Rc<Shard>, before: i64) -> Result<u64, StoreError> {
    let (mut from, mut pruned) = (keys::LOGINS.to_vec(), 0);
    loop {
        let _turn = CHANGES.with(Rc::clone).take(1).await;
        let found = shard.scan(keys::LOGINS.to_vec(), from, SLICE).await?;
        let Some((last, _)) = found.last() else {
            return Ok(pruned);
        };
        from = [last.as_slice(), &[0]].concat();
        let mut old = Vec::new();
        for (key, row) in found {
            let record = readable(shard, &key, decode::<LoginRecord>(&row, what))?;
            if let Some(record) = record.filter(|record| record.times.last < before) {
                COUNTS.with_borrow_mut(|counts| counts.remove(&Kind::of(shard, &record)));
                old.push(key);
            }
        }
        pruned += old.len() as u64;
        delete(shard, old).await?;
    }
}

/// Removes the records of an account that goes.
pub(super) async fn forget_logins(shard: &Rc<Shard>, account: &str) -> Result<(), StoreError> {
    let prefix = keys::logins(account);
    let mut from = prefix.clone();
    loop {
        let rows = shard.scan(prefix.clone(), from, SLICE).await?;
        let Some((last, _)) = rows.last() else {
            break;
        };
        from = [last.as_slice(), &[0]].concat();
        delete(shard, rows.into_iter().map(|(key, _)| key).collect()).await?;
    }
    COUNTS.with_borrow_mut(|counts| counts.retain(|kind, _| kind.account != account));
    Ok(())
}

/// Removes the oldest of a kind if there are more than `most`, and some more, so that it is not done for each new one; answers how many
/// are left.
async fn drop_oldest(shard: &Rc<Shard>, kind: &Kind, most: u32) -> Result<u32, StoreError> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let records = login_records(shard, Some(&kind.account), after, SLICE).await?;
        let Some((last, _)) = records.last() else {
            break;
        };
        after = Some(last.clone());
        let ours = records
            .into_iter()
            .filter(|(_, record)| record.attempted.kind() == kind.kind);
        all.extend(ours.map(|(key, record)| (record.times.last, key)));
    }
    let most = most as usize;
    if all.len() > most {
        all.sort_unstable();
        let excess = all.len() - (most - most / 20);
        let oldest = all.drain(..excess).map(|(_, key)| key);
        delete(shard, oldest.collect()).await?;
    }
    Ok(u32::try_from(all.len()).unwrap_or(u32::MAX))
}

async fn delete(shard: &Rc<Shard>, keys: Vec<Vec<u8>>) -> Result<(), StoreError> {
    for slice in keys.chunks(SLICE) {
        let permit = shard.permit(slice.len() * 64, false, PATIENCE).await?;
        let mut batch = Batch::default();
        for key in slice {
            batch.delete(key.clone());
        }
        shard.commit(permit, batch).await?;
    }
    Ok(())
}

fn key(record: &LoginRecord) -> Vec<u8> {
    let hash = digest(&SHA256, &encode(&record.attempted));
    [
        keys::logins(&record.attempted.account).as_slice(),
        &hash.as_ref()[..16],
    ]
    .concat()
}

fn what() -> String {
    "a record of logins".to_string()
}

/// Records that are counted together.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    shard: u16,
    account: String,
    kind: AttemptKind,
}

impl Kind {
    fn of(shard: &Shard, record: &LoginRecord) -> Kind {
        Kind {
            shard: shard.id().0,
            account: record.attempted.account.clone(),
            kind: record.attempted.kind(),
        }
    }
}

thread_local! {
    /// Changes on this core: one at a time, for each is made from what was read before.
    static CHANGES: Rc<Turns> = Rc::default();
    /// How many records there are, where that is known.
    static COUNTS: RefCell<HashMap<Kind, u32>> = RefCell::default();
}

const COUNTS_MAX: usize = 100_000;
const SLICE: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);
