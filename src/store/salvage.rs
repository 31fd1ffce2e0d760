//! Rebuilding the rows of a shard from its stored bodies, when its index lost rows or can't be read. Called by a command, on a
//! stopped directory; blocking. Bodies are not copied: the new index names them where they lie.
//!
//! What comes back: each sound body as the message it was when it came, in its mailbox under its UID and UIDVALIDITY; entries of the
//! queue and of fan-out. What does not: later flags and moves, expunges (those not yet compacted come back), threads. From an old index
//! that still opens, passwords, the names and numbers of mailboxes and subscriptions are taken; else passwords must be set anew.
//! A crash leaves each shard with its old index or the new one; salvage may be repeated.

mod account;
mod old;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use shards::ShardId;
use shards::index::RowChange;
use shards::segments::{BodyId, Location, external_name};
use shards::storage::{
    DirectoryError, Findings, IndexBuilder, Lock, check_locked, put_right, read_format,
    scan_places, shard_path,
};

use super::check::check_rows;
use super::keys;
use super::rows::{AccountId, BODY_FAN_OUT, BODY_MESSAGE, BODY_QUEUE, BodyMeta, decode, encode};
use account::Found;
use old::OldIndex;

/// Which shards are rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those whose rows were lost or contradict themselves; the others keep flags and expunges.
    Damaged,
    /// All.
    All,
}

/// How far it has come.
pub enum Progress<'a> {
    /// Looking for damage: bodies looked at.
    Checked(u64),
    /// Rebuilding this shard: records read.
    Read(ShardId, u64),
    /// This shard's new index is in place.
    Rebuilt(ShardId, &'a Salvaged),
}

/// What was brought back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Shards rebuilt.
    pub shards: u64,
    /// Accounts.
    pub accounts: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages.
    pub messages: u64,
    /// Octets of them.
    pub octets: u64,
    /// Entries of the queue and of fan-out: what of them had been delivered is delivered again.
    pub entries: u64,
    /// Messages given a new UID, as theirs was taken or its mailbox was made anew since.
    pub renumbered: u64,
    /// Accounts whose passwords must be set anew.
    pub without_password: Vec<String>,
    /// Where the old indexes are kept.
    pub kept: Vec<PathBuf>,
    /// What could not be brought back, in words; the first 1,000.
    pub lost: Vec<String>,
    /// Of how many that is.
    pub lost_total: u64,
}

impl Salvaged {
    fn lose(&mut self, shard: ShardId, what: String) {
        self.lost_total += 1;
        if self.lost.len() < LOST_MAX {
            self.lost.push(format!("{shard}: {what}"));
        }
    }

    /// Adds what was brought back of another shard.
    fn add(&mut self, other: Salvaged) {
        self.shards += other.shards;
        self.accounts += other.accounts;
        self.mailboxes += other.mailboxes;
        self.messages += other.messages;
        self.octets += other.octets;
        self.entries += other.entries;
        self.renumbered += other.renumbered;
        self.without_password.extend(other.without_password);
        self.kept.extend(other.kept);
        self.lost.extend(other.lost);
        self.lost.truncate(LOST_MAX);
        self.lost_total += other.lost_total;
    }
}

/// Rebuilds the shards of a stopped directory; mends what a salvage that was killed left.
pub fn salvage(
    directory: &Path,
    scope: Scope,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Salvaged, DirectoryError> {
    let Some(format) = read_format(directory)? else {
        return Ok(Salvaged::default());
    };
    let lock = Lock::take(directory)?;
    for shard in (0..format.shards).map(ShardId) {
        put_right(directory, shard)?;
    }
    let chosen = match scope {
        Scope::All => (0..format.shards).map(ShardId).collect(),
        Scope::Damaged => damaged_shards(directory, &lock, progress)?,
    };
    let mut salvaged = Salvaged::default();
    for shard in chosen {
        let mut records = 0;
        let mut count = || {
            records += 1;
            progress(Progress::Read(shard, records));
        };
        let rebuilt = rebuild(directory, (shard, format.seed), &mut count)?;
        progress(Progress::Rebuilt(shard, &rebuilt));
        salvaged.add(rebuilt);
    }
    Ok(salvaged)
}

/// Shards with findings that a rebuilt index would not have.
fn damaged_shards(
    directory: &Path,
    lock: &Lock,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<BTreeSet<ShardId>, DirectoryError> {
    let mut damaged = BTreeSet::new();
    let (mut shard_now, mut before, mut bodies) = (ShardId(0), 0, 0);
    let mut told = |shard, findings: &Findings| {
        if shard != shard_now {
            (shard_now, before) = (shard, before + bodies);
        }
        bodies = findings.bodies;
        progress(Progress::Checked(before + bodies));
    };
    let found = check_locked(directory, lock, &mut told, &mut |shard, index| {
        let sound = check_rows(index).is_ok_and(|r| !r.findings.iter().any(|f| names_us(f)));
        if !sound {
            damaged.insert(shard);
        }
    })?;
    for (shard, findings) in found {
        if findings.list.iter().any(|f| names_us(&f.what)) {
            damaged.insert(shard);
        }
    }
    Ok(damaged)
}

fn names_us(finding: &str) -> bool {
    finding.contains("ringmail salvage")
}

struct Record {
    location: Location,
    kind: u8,
    meta: Vec<u8>,
}

fn rebuild(
    directory: &Path,
    (shard, seed): (ShardId, u32),
    count: &mut dyn FnMut(),
) -> Result<Salvaged, DirectoryError> {
    let mut salvaged = Salvaged {
        shards: 1,
        ..Salvaged::default()
    };
    let mut builder = IndexBuilder::start(directory, (shard, seed))?;
    let mut records: BTreeMap<BodyId, (u64, Record)> = BTreeMap::new();
    let (mut order, mut last_group) = (0, 0);
    let mut damage = Vec::new();
    scan_places(
        directory,
        shard,
        seed,
        |location, header, meta, _| {
            count();
            builder.saw(&header);
            order += 1;
            last_group = last_group.max(header.group);
            let kind = header.kind;
            // The last one counts: of a number that was never durable and used again, or of copies by compaction.
            let record = Record {
                location,
                kind,
                meta,
            };
            records.insert(header.body, (order, record));
        },
        |segment, at, what| damage.push(format!("segment {segment} at {at}: {what}")),
    )?;
    damage
        .into_iter()
        .for_each(|what| salvaged.lose(shard, what));
    let old = OldIndex::read(&shard_path(directory, shard).join("rows"));
    if let Some(old) = &old {
        builder.continue_after(old.progress);
        last_group = last_group.max(old.progress.last_group);
    }
    let groups = last_group + GROUPS_UNSEEN;
    let mut accounts: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    let large = shard_path(directory, shard).join("large");
    for (body, (order, record)) in records {
        let Record {
            location,
            kind,
            meta,
        } = record;
        if location.external_length > 0 && !large.join(external_name(body)).exists() {
            salvaged.lose(
                shard,
                format!("body {}: its large content is missing", body.0),
            );
            continue;
        }
        match kind {
            BODY_MESSAGE => match decode::<BodyMeta>(&meta, String::new) {
                Ok(meta) => {
                    let name = meta.account.clone();
                    let found = Found {
                        order,
                        body,
                        location,
                        meta,
                    };
                    accounts.entry(name).or_default().push(found);
                }
                Err(_) => salvaged.lose(
                    shard,
                    format!("body {}: it does not say whose message it is", body.0),
                ),
            },
            BODY_QUEUE | BODY_FAN_OUT if !meta.is_empty() => {
                builder.put_body(body, location)?;
                let key = if kind == BODY_QUEUE {
                    keys::queue(body.0)
                } else {
                    keys::fan_out(body.0)
                };
                builder.row(RowChange::Put(key, meta))?;
                salvaged.entries += 1;
            }
            _ => salvaged.lose(
                shard,
                format!(
                    "body {}: of kind {kind}, it does not say to whom it goes",
                    body.0
                ),
            ),
        }
    }
    // Accounts without a single message are in the old index only.
    let empty: HashMap<String, old::OldAccount> = HashMap::new();
    let known = old.as_ref().map_or(&empty, |o| &o.accounts);
    for name in known.keys() {
        accounts.entry(name.clone()).or_default();
    }
    let mut next = 1;
    for (name, found) in accounts {
        let id = AccountId(next);
        next += 1;
        let rows = account::rebuild(id, &name, found, known.get(&name), groups, &mut salvaged);
        for (body, location) in rows.bodies {
            builder.put_body(body, location)?;
        }
        for (key, value) in rows.rows {
            builder.row(RowChange::Put(key, value))?;
        }
    }
    for (key, value) in old.iter().flat_map(|o| &o.removed) {
        builder.row(RowChange::Put(key.clone(), value.clone()))?;
    }
    builder.row(RowChange::Put(keys::NEXT_ACCOUNT.to_vec(), encode(&next)))?;
    drop(old);
    let rebuilt = builder.finish()?;
    let aside = |n| shard_path(directory, shard).join(format!("rows.damaged.{n}"));
    salvaged.kept.extend(rebuilt.old.map(aside));
    Ok(salvaged)
}

const LOST_MAX: usize = 1_000;
/// Groups without bodies leave no trace in segments; this many are assumed beside those seen.
const GROUPS_UNSEEN: u64 = 1 << 32;
