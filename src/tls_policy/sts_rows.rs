//! Rows of the policies of MTA-STS that hold, in the shard of the domain's hash: key `P` and the domain. A domain without a policy has none.
//! Whoever can suppress answers of DNS must not get rid of a policy that is in force (RFC 8461 5.1), so they survive a restart.

use std::rc::Rc;
use std::time::Duration;

use dns::Name;
use mta_sts::{Entry, Fetched, Policy, RecordId};
use serde::{Deserialize, Serialize};
use shards::storage::{Batch, Shard};

use crate::store::StoreError;
use crate::store::rows::{STS_POLICIES, decode, encode};

#[derive(Serialize, Deserialize)]
struct StsRow {
    text: String,
    record_id: String,
    fetched_secs: u64,
    used_secs: u64,
}

/// What is stored of a domain: the policy, and when a message last asked, a day late at most.
pub(super) async fn load(shard: &Rc<Shard>, domain: &Name) -> Result<Option<Entry>, StoreError> {
    Ok(shard
        .get(key(domain))
        .await?
        .and_then(|row| read(domain, &row)))
}

/// Stores what an entry has of a policy; without one nothing is left.
pub(super) async fn save(
    shard: &Rc<Shard>,
    domain: &Name,
    entry: &Entry,
) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    let mut bytes = 300;
    match &entry.fetched {
        Some(fetched) => {
            let row = encode(&StsRow {
                text: fetched.policy.text().to_string(),
                record_id: fetched.record_id.as_str().to_string(),
                fetched_secs: fetched.fetched_secs,
                used_secs: entry.used_secs,
            });
            bytes += row.len();
            batch.put(key(domain), row);
        }
        None => batch.delete(key(domain)),
    }
    let permit = shard.permit(bytes, false, PATIENCE).await?;
    shard.commit(permit, batch).await?;
    Ok(())
}

/// Entries of a shard after a domain, at most so many, and whether there may be more.
pub(super) async fn page(
    shard: &Rc<Shard>,
    after: Option<&Name>,
    limit: usize,
) -> Result<(Vec<(Name, Entry)>, Option<Name>), StoreError> {
    let from = after.map_or(STS_POLICIES.to_vec(), |after| {
        [&key(after)[..], &[0]].concat()
    });
    let rows = shard.scan(STS_POLICIES.to_vec(), from, limit).await?;
    let is_full = rows.len() == limit;
    let mut last = None;
    let mut found = Vec::new();
    for (key, row) in rows {
        let name = std::str::from_utf8(&key[STS_POLICIES.len()..]).ok();
        let Some(domain) = name.and_then(|name| Name::parse(name).ok()) else {
            continue;
        };
        last = Some(domain.clone());
        if let Some(entry) = read(&domain, &row) {
            found.push((domain, entry));
        }
    }
    Ok((found, last.filter(|_| is_full)))
}

/// One that cannot be read is as good as none: the policy is fetched anew.
fn read(domain: &Name, row: &[u8]) -> Option<Entry> {
    let row = decode::<StsRow>(row, || format!("the policy of {domain}"));
    let row = row.inspect_err(|error| tracing::warn!(%error, "a policy of MTA-STS is forgotten"));
    let row = row.ok()?;
    Some(Entry {
        fetched: Some(Fetched {
            policy: Policy::parse(row.text.as_bytes()).ok()?,
            record_id: RecordId::new(&row.record_id)?,
            fetched_secs: row.fetched_secs,
        }),
        used_secs: row.used_secs,
        ..Entry::default()
    })
}

fn key(domain: &Name) -> Vec<u8> {
    [STS_POLICIES, domain.as_str().as_bytes()].concat()
}

const PATIENCE: Duration = Duration::from_secs(30);
