//! What an old index still tells, if fjall opens it: taken only where bodies say nothing, and never against them.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use shards::index::{Identity, Index, Progress, Row};
use shards::segments::BodyId;

use super::super::keys;
use super::super::rows::{AccountId, AccountRow, MailboxRow, decode};

pub(super) struct OldIndex {
    index: Index,
    pub progress: Progress,
    pub accounts: HashMap<String, OldAccount>,
    /// Rows of removed accounts' names.
    pub removed: Vec<Row>,
    /// Keys of client certificates, and what else the shard keeps that no body tells.
    pub others: Vec<Row>,
    /// Entries of queue and fan-out.
    pub entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub(super) struct OldAccount {
    pub row: Option<AccountRow>,
    pub mailboxes: Vec<MailboxRow>,
    pub subscriptions: Vec<Vec<u8>>,
    pub credentials: Option<Vec<u8>>,
}

impl OldIndex {
    /// Reads what can be read; nothing here is trusted to be complete.
    pub fn read(path: &Path, ours: Identity) -> Option<OldIndex> {
        // The database was not finished, or set aside by an earlier try.
        if !path.join("version").exists() {
            return None;
        }
        // fjall asserts here and there on what it reads.
        let read = || {
            let index = Index::open_damaged(path, CACHE).ok()?;
            // Another shard's accounts and numbers are none of ours. One from before indexes said whose they are may be.
            if index.identity().ok()?.is_some_and(|whose| whose != ours) {
                return None;
            }
            let names = scan(&index, &keys::account_name(""));
            let account = |(key, value): Row| {
                let name = String::from_utf8(key[1..].to_vec()).ok()?;
                let id = decode::<AccountId>(&value, String::new).ok()?;
                Some((name, OldAccount::read(&index, id)))
            };
            Some(OldIndex {
                progress: index.progress().ok()?,
                accounts: names.into_iter().filter_map(account).collect(),
                removed: scan(&index, &keys::removed("")),
                others: [
                    keys::CLIENT_KEYS,
                    keys::API_KEYS,
                    keys::ANSWERED,
                    keys::TEMPLATES,
                    keys::MECHANISMS,
                    keys::HOLD_RULES,
                    keys::STS_POLICIES,
                    keys::SUPPRESSIONS,
                    keys::LIVES,
                    keys::WEBHOOKS,
                    keys::BATCHES,
                    keys::SENDING,
                ]
                .into_iter()
                .flat_map(|prefix| scan(&index, prefix))
                .collect(),
                entries: [keys::FAN_OUT, keys::QUEUE]
                    .into_iter()
                    .flat_map(|prefix| scan(&index, prefix))
                    .collect(),
                index,
            })
        };
        catch_unwind(AssertUnwindSafe(read)).ok().flatten()
    }
}

impl OldIndex {
    /// Rows of entries below another's.
    pub fn below(&self, key: &[u8]) -> Vec<Row> {
        let from = self.entries.range(key.to_vec()..);
        let rows = from.take_while(|(k, _)| k.starts_with(key));
        let below = rows.filter(|(k, _)| k.len() > key.len());
        below.map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// Whether it says where the body is.
    pub fn names(&self, body: BodyId) -> bool {
        let look = || self.index.location(body).ok().flatten().is_some();
        catch_unwind(AssertUnwindSafe(look)).unwrap_or(false)
    }

    /// Segments with living bodies, and the octets of these.
    pub fn segments(&self) -> Vec<(u32, u64)> {
        let look = || self.index.segment_uses().unwrap_or_default();
        let uses = catch_unwind(AssertUnwindSafe(look)).unwrap_or_default();
        let live = uses.into_iter().map(|(number, used)| (number, used.live));
        live.filter(|(_, live)| *live > 0).collect()
    }

    /// Whether it knew the body and took its place out. Only where it can be read: a place that can't be is no burial.
    pub fn has_buried(&self, body: BodyId) -> bool {
        let look = || matches!(self.index.location(body), Ok(None));
        body.0 < self.progress.next_body && catch_unwind(AssertUnwindSafe(look)).unwrap_or(false)
    }
}

impl OldAccount {
    fn read(index: &Index, id: AccountId) -> OldAccount {
        let get = |key: Vec<u8>| index.get(&key).ok().flatten();
        let rows = |kind| scan(index, &keys::kind_prefix(id, kind));
        let subscription = |(key, _): Row| key[keys::kind_prefix(id, b's').len()..].to_vec();
        OldAccount {
            row: get(keys::account(id)).and_then(|b| decode(&b, String::new).ok()),
            mailboxes: rows(b'm')
                .iter()
                .filter_map(|(_, value)| decode(value, String::new).ok())
                .collect(),
            subscriptions: rows(b's').into_iter().map(subscription).collect(),
            credentials: get(keys::credentials(id)),
        }
    }
}

/// All rows of a prefix, up to the first that can't be read.
fn scan(index: &Index, prefix: &[u8]) -> Vec<Row> {
    let mut all = Vec::new();
    let mut from = prefix.to_vec();
    while let Ok(rows) = index.scan(prefix, &from, SLICE) {
        let more = rows.len() == SLICE;
        if let Some((key, _)) = rows.last() {
            from = [key.as_slice(), &[0]].concat();
        }
        all.extend(rows);
        if !more {
            break;
        }
    }
    all
}

const CACHE: u64 = 8 << 20;
const SLICE: usize = 4_096;
