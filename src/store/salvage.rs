//! Rebuilding the rows of a shard from its stored bodies, when its index lost rows or can't be read. Called by a command, on a
//! stopped directory; blocking. Bodies are not copied: the new index names them where they lie.
//!
//! What comes back: each sound body as the message it was when it came, in its mailbox under its UID and UIDVALIDITY; entries of the
//! queue and of fan-out, these for the recipients of whom no body says that it was delivered, those as the caller says where no old index
//! tells what became of them ([`Unknown`]). What does not: later flags and moves, expunges (those not yet compacted come back), threads. From an old index
//! that still opens, passwords, the names and numbers of mailboxes and subscriptions are taken; else passwords must be set anew.
//! A crash leaves each shard with its old index or the new one; salvage may be repeated.

mod account;
mod old;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use shards::ShardId;
use shards::index::{Identity, Index, Progress as IndexProgress, Row, RowChange};
use shards::segments::{BodyId, Location, RecordHeader, external_name, segment_name};
use shards::storage::{
    DirectoryError, Findings, Format, IndexBuilder, Lock, check_locked, is_data_directory,
    make_missing, missing_shards, put_right, refuse_misplaced, restore_format, scan_places,
    shard_path,
};

use super::check::{check_rows, fan_out_entries};
use super::keys;
use super::rows::{
    self, AccountId, BODY_FAN_OUT, BODY_MESSAGE, BODY_QUEUE, FanOutRow, TRANSACTION,
    decode_body_meta, encode,
};
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

/// What is done about shards whose directories are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// They are named, and left to be restored or mounted.
    Leave,
    /// They are made anew, empty.
    Make,
}

/// How far it has come.
pub enum Progress<'a> {
    /// The format file was made anew.
    Format(Format),
    /// Looking for damage: bodies looked at.
    Checked(u64),
    /// Rebuilding this shard: records read.
    Read(ShardId, u64),
    /// This shard was missing, and is made anew, empty.
    Made(ShardId),
    /// This shard's new index is in place.
    Rebuilt(ShardId, &'a Salvaged),
}

/// What was brought back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// The format file was made anew from a copy.
    pub format_anew: bool,
    /// Shards rebuilt.
    pub shards: u64,
    /// Shards whose directories are missing.
    pub missing: Vec<ShardId>,
    /// Shards that were missing and are made anew, empty.
    pub made: Vec<ShardId>,
    /// Accounts.
    pub accounts: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages.
    pub messages: u64,
    /// Octets of them.
    pub octets: u64,
    /// Entries of the queue and of fan-out.
    pub entries: u64,
    /// Recipients in the queue of whom nobody knows whether they had their message.
    pub unknown: u64,
    /// Shards whose old index could not be read: what no body tells is lost.
    pub without_index: u64,
    /// Large messages and entries whose content is not there: they were expunged or over, as far as can be told.
    pub without_content: u64,
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
    /// What is wrong in shards that were left alone, and stays so: no index can mend a damaged body.
    pub left: u64,
}

impl Salvaged {
    fn lose(&mut self, shard: ShardId, what: String) {
        self.lost_total += 1;
        if self.lost.len() < LOST_MAX {
            self.lost.push(format!("{shard}: {what}"));
        }
    }

    fn lose_content(&mut self, shard: ShardId, body: BodyId) {
        self.lose(
            shard,
            format!("body {}: its large content is missing", body.0),
        );
    }

    /// Adds what was brought back of another shard.
    fn add(&mut self, other: Salvaged) {
        self.shards += other.shards;
        self.accounts += other.accounts;
        self.mailboxes += other.mailboxes;
        self.messages += other.messages;
        self.octets += other.octets;
        self.entries += other.entries;
        self.unknown += other.unknown;
        self.without_index += other.without_index;
        self.without_content += other.without_content;
        self.renumbered += other.renumbered;
        self.without_password.extend(other.without_password);
        self.kept.extend(other.kept);
        self.lost.extend(other.lost);
        self.lost.truncate(LOST_MAX);
        self.lost_total += other.lost_total;
    }
}

/// Rows for the recipients of a message of the queue (its body, its row) of whom no index tells what became of them, and how many these are.
pub type Unknown<'a> = &'a dyn Fn(BodyId, &[u8]) -> (Vec<Row>, u64);

/// Rebuilds the shards of a stopped directory; mends what a salvage that was killed left.
pub fn salvage(
    directory: &Path,
    (scope, about_missing): (Scope, Missing),
    unknown: Unknown<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Salvaged, DirectoryError> {
    if !is_data_directory(directory) {
        return Ok(Salvaged::default());
    }
    let lock = Lock::take(directory)?;
    // All else is read by what it says.
    let (format, format_anew) = restore_format(directory, &lock)?;
    if format_anew {
        progress(Progress::Format(format));
    }
    let missing: BTreeSet<ShardId> = missing_shards(directory, format).into_iter().collect();
    let there: BTreeSet<ShardId> = (0..format.shards)
        .map(ShardId)
        .filter(|shard| !missing.contains(shard))
        .collect();
    for shard in &there {
        refuse_misplaced(directory, format, *shard)?;
    }
    for shard in &there {
        put_right(directory, *shard)?;
    }
    let mut all = Shards {
        directory,
        format,
        chosen: there.clone(),
        missing,
        entries: HashSet::new(),
        delivered: None,
        given_out: HashMap::new(),
        unknown,
    };
    let makes = about_missing == Missing::Make && !all.missing.is_empty();
    let mut salvaged = Salvaged {
        format_anew,
        ..Salvaged::default()
    };
    if scope == Scope::Damaged || makes {
        salvaged.left = all.choose_damaged(&lock, progress)?;
    }
    if makes {
        salvaged.made = all.make_missing(&lock, progress)?;
    } else {
        salvaged.missing = all.missing.iter().copied().collect();
    }
    if scope == Scope::All {
        salvaged.left = 0;
        all.chosen = there;
        all.entries.clear();
    }
    for shard in all.chosen.clone() {
        let rebuilt = all.rebuild(shard, progress)?;
        progress(Progress::Rebuilt(shard, &rebuilt));
        salvaged.add(rebuilt);
    }
    Ok(salvaged)
}

/// What must be known of all shards to rebuild one.
struct Shards<'a> {
    directory: &'a Path,
    format: Format,
    /// Those that are rebuilt.
    chosen: BTreeSet<ShardId>,
    /// Those whose directories are missing: not read, not rebuilt.
    missing: BTreeSet<ShardId>,
    /// Fan-out entries of the others, as shard and number: they go on where they were.
    entries: HashSet<(ShardId, u64)>,
    /// What fan-out entries of those that are rebuilt have delivered; read when it is first needed.
    delivered: Option<HashSet<[u8; TRANSACTION]>>,
    /// The highest entry of each shard that rows of deliveries in other shards tell of.
    given_out: HashMap<ShardId, u64>,
    unknown: Unknown<'a>,
}

impl Shards<'_> {
    /// Shards with findings that a rebuilt index would not have. Answers how many findings the other shards have.
    fn choose_damaged(
        &mut self,
        lock: &Lock,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<u64, DirectoryError> {
        let mut damaged = BTreeSet::new();
        let mut wrong: BTreeMap<ShardId, u64> = BTreeMap::new();
        let (mut shard_now, mut before, mut bodies) = (ShardId(0), 0, 0);
        let mut told = |shard, findings: &Findings| {
            if shard != shard_now {
                (shard_now, before) = (shard, before + bodies);
            }
            bodies = findings.bodies;
            progress(Progress::Checked(before + bodies));
        };
        let (entries, given_out) = (&mut self.entries, &mut self.given_out);
        let mut rows = |shard, index: &Index, _: &Findings| {
            let seen = check_rows(index);
            for row in seen.iter().flat_map(|seen| &seen.delivered) {
                let highest = given_out.entry(ShardId(row.shard)).or_default();
                *highest = row.entry.max(*highest);
            }
            match seen {
                Ok(seen) if !seen.findings.iter().any(|f| names_us(f)) => {
                    wrong.insert(shard, seen.findings.len() as u64);
                }
                _ => {
                    damaged.insert(shard);
                }
            }
            let numbers = fan_out_entries(index).unwrap_or_default();
            entries.extend(numbers.into_iter().map(|number| (shard, number)));
        };
        let found = check_locked(self.directory, lock, &mut told, &mut rows)?;
        for (shard, findings) in found {
            if self.missing.contains(&shard) {
                continue;
            }
            if findings.list.iter().any(|f| names_us(&f.what)) {
                damaged.insert(shard);
            }
            *wrong.entry(shard).or_default() += findings.total;
        }
        entries.retain(|(shard, _)| !damaged.contains(shard));
        wrong.retain(|shard, _| !damaged.contains(shard));
        self.chosen = damaged;
        Ok(wrong.values().sum())
    }

    /// Makes the missing shards anew, empty. Their numbers go on above those that deliveries of their entries tell of: a new entry with
    /// the number of an old one would count as delivered.
    fn make_missing(
        &mut self,
        lock: &Lock,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<ShardId>, DirectoryError> {
        let mut given_out = std::mem::take(&mut self.given_out);
        self.transactions(progress, |transaction| {
            let (shard, entry) = entry_of(&transaction);
            let highest = given_out.entry(shard).or_default();
            *highest = entry.max(*highest);
        })?;
        self.given_out = given_out;
        let made: Vec<ShardId> = self.missing.iter().copied().collect();
        for shard in &made {
            let next_body = self.given_out.get(shard).map_or(0, |highest| highest + 1);
            make_missing(self.directory, lock, self.format, *shard, || {
                let mut builder = IndexBuilder::start(self.directory, (*shard, self.format.seed))?;
                builder.continue_after(IndexProgress {
                    next_body,
                    ..IndexProgress::default()
                });
                builder.finish().map(drop)
            })?;
            progress(Progress::Made(*shard));
        }
        Ok(made)
    }

    fn rebuild(
        &mut self,
        shard: ShardId,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Salvaged, DirectoryError> {
        let mut salvaged = Salvaged {
            shards: 1,
            ..Salvaged::default()
        };
        let path = shard_path(self.directory, shard);
        let mut builder = IndexBuilder::start(self.directory, (shard, self.format.seed))?;
        let (records, mut last_group) =
            self.records(shard, &mut builder, &mut salvaged, progress)?;
        let seed = self.format.seed;
        let old = OldIndex::read(&path.join("rows"), Identity { seed, shard });
        salvaged.without_index = u64::from(old.is_none());
        if let Some(old) = &old {
            builder.continue_after(old.progress);
            last_group = last_group.max(old.progress.last_group);
            for (number, live) in old.segments() {
                let name = segment_name(number);
                if !path.join("segments").join(&name).exists() {
                    salvaged.lose(
                        shard,
                        format!("{name} is missing, with {live} octets of messages"),
                    );
                }
            }
        }
        let mut accounts: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for (body, (order, record)) in records {
            let missing = record.location.external_length > 0
                && !path.join("large").join(external_name(body)).exists();
            if record.kind != BODY_MESSAGE {
                let entry = self.entry(shard, body, &record, old.as_ref(), progress)?;
                match entry {
                    Entry::Over => (),
                    // Its content goes with it: gone alone only if the index says that it was not over.
                    Entry::Row(..) if missing => match &old {
                        Some(old) if old.names(body) => salvaged.lose_content(shard, body),
                        _ => salvaged.without_content += 1,
                    },
                    Entry::Row(key, value) => {
                        builder.put_body(body, record.location)?;
                        // What became of a queued message's recipients no body tells.
                        let is_known = |old: &OldIndex| old.entries.contains_key(&key);
                        let below = match &old {
                            Some(old) if is_known(old) => old.below(&key),
                            _ if record.kind == BODY_QUEUE => {
                                let (rows, recipients) = (self.unknown)(body, &value);
                                salvaged.unknown += recipients;
                                rows
                            }
                            _ => Vec::new(),
                        };
                        for (key, value) in below {
                            builder.row(RowChange::Put(key, value))?;
                        }
                        builder.row(RowChange::Put(key, value))?;
                        salvaged.entries += 1;
                    }
                    Entry::Unknown => salvaged.lose(
                        shard,
                        format!(
                            "body {}: of kind {}, it does not say to whom it goes",
                            body.0, record.kind
                        ),
                    ),
                }
            } else if missing {
                match &old {
                    Some(old) if old.names(body) => salvaged.lose_content(shard, body),
                    _ => salvaged.without_content += 1,
                }
            } else if let Some((meta, transaction)) = decode_body_meta(&record.meta) {
                // Those of a missing shard may come back with it.
                let goes_on = |t: &[u8; TRANSACTION]| {
                    let entry = entry_of(t);
                    self.entries.contains(&entry) || self.missing.contains(&entry.0)
                };
                let name = meta.account.clone();
                let found = Found {
                    order,
                    body,
                    location: record.location,
                    meta,
                    delivered: transaction.filter(goes_on),
                };
                accounts.entry(name).or_default().push(found);
            } else {
                let what = format!("body {}: it does not say whose message it is", body.0);
                salvaged.lose(shard, what);
            }
        }
        let groups = last_group + GROUPS_UNSEEN;
        put_accounts(accounts, old.as_ref(), groups, &mut builder, &mut salvaged)?;
        // Closed before it is renamed.
        drop(old);
        let rebuilt = builder.finish()?;
        let aside = |n| path.join(format!("rows.damaged.{n}"));
        salvaged.kept.extend(rebuilt.old.map(aside));
        Ok(salvaged)
    }

    /// All sound records of a shard, each body's last one, with their order; and the last group that wrote one.
    fn records(
        &self,
        shard: ShardId,
        builder: &mut IndexBuilder,
        salvaged: &mut Salvaged,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Records, u64), DirectoryError> {
        let mut records = Records::new();
        let (mut order, mut last_group) = (0, 0);
        scan_places(
            self.directory,
            shard,
            self.format.seed,
            |location, header, meta, _| {
                builder.saw(&header);
                order += 1;
                progress(Progress::Read(shard, order));
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
            |segment, at, what| {
                salvaged.lose(shard, format!("segment {segment} at {at}: {what}"));
            },
        )?;
        Ok((records, last_group))
    }

    /// The row of an entry of the queue or of fan-out.
    fn entry(
        &mut self,
        shard: ShardId,
        body: BodyId,
        record: &Record,
        old: Option<&OldIndex>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Entry, DirectoryError> {
        let key = match record.kind {
            BODY_QUEUE => keys::queue(body.0),
            BODY_FAN_OUT => keys::fan_out(body.0),
            _ => return Ok(Entry::Unknown),
        };
        let value = match old.and_then(|old| old.entries.get(&key)) {
            // With very many recipients they are in the row alone.
            Some(row) if record.meta.is_empty() => row.clone(),
            _ if record.meta.is_empty() => {
                return Ok(match old {
                    Some(old) if old.has_buried(body) => Entry::Over,
                    _ => Entry::Unknown,
                });
            }
            _ => record.meta.clone(),
        };
        if record.kind == BODY_QUEUE {
            return Ok(Entry::Row(key, value));
        }
        let Ok(mut row) = FanOutRow::decode(&value, String::new) else {
            return Ok(Entry::Row(key, value));
        };
        let delivered = self.delivered(progress)?;
        for (position, recipient) in (0u32..).zip(&mut row.recipients) {
            if delivered.contains(&rows::transaction(shard.0, body.0, position)) {
                recipient.account.clear();
            }
        }
        let over = row.recipients.iter().all(|r| r.account.is_empty());
        Ok(if over {
            Entry::Over
        } else {
            Entry::Row(key, row.encode())
        })
    }

    fn delivered(
        &mut self,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<&HashSet<[u8; TRANSACTION]>, DirectoryError> {
        if self.delivered.is_none() {
            let mut delivered = HashSet::new();
            self.transactions(progress, |transaction| {
                if self.chosen.contains(&entry_of(&transaction).0) {
                    delivered.insert(transaction);
                }
            })?;
            self.delivered = Some(delivered);
        }
        Ok(self.delivered.get_or_insert_default())
    }

    /// Calls `each` with the fan-out transactions that sound bodies tell of. Recipients in shards that are missing may get a message
    /// again.
    fn transactions(
        &self,
        progress: &mut dyn FnMut(Progress<'_>),
        mut each: impl FnMut([u8; TRANSACTION]),
    ) -> Result<(), DirectoryError> {
        let shards = (0..self.format.shards).map(ShardId);
        for shard in shards.filter(|shard| !self.missing.contains(shard)) {
            let mut records = 0;
            let record = |_, header: RecordHeader, meta: Vec<u8>, _| {
                records += 1;
                progress(Progress::Read(shard, records));
                if header.kind == BODY_MESSAGE
                    && let Some((_, Some(transaction))) = decode_body_meta(&meta)
                {
                    each(transaction);
                }
            };
            scan_places(
                self.directory,
                shard,
                self.format.seed,
                record,
                |_, _, _| (),
            )?;
        }
        Ok(())
    }
}

/// An entry of the queue or of fan-out.
enum Entry {
    Row(Vec<u8>, Vec<u8>),
    /// All recipients have it.
    Over,
    /// It does not say to whom it goes.
    Unknown,
}

fn entry_of(transaction: &[u8; TRANSACTION]) -> (ShardId, u64) {
    let (shard, entry, _) = rows::parts_of_transaction(transaction);
    (ShardId(shard), entry)
}

fn names_us(finding: &str) -> bool {
    finding.contains("ringmail salvage")
}

/// By body, with the place among all.
type Records = BTreeMap<BodyId, (u64, Record)>;

struct Record {
    location: Location,
    kind: u8,
    meta: Vec<u8>,
}

fn put_accounts(
    mut accounts: BTreeMap<String, Vec<Found>>,
    old: Option<&OldIndex>,
    groups: u64,
    builder: &mut IndexBuilder,
    salvaged: &mut Salvaged,
) -> Result<(), DirectoryError> {
    // Accounts without a single message are in the old index only.
    let empty: HashMap<String, old::OldAccount> = HashMap::new();
    let known = old.map_or(&empty, |o| &o.accounts);
    for name in known.keys() {
        accounts.entry(name.clone()).or_default();
    }
    let mut next = 1;
    for (name, found) in accounts {
        let id = AccountId(next);
        next += 1;
        let rows = account::rebuild(id, &name, found, known.get(&name), groups, salvaged);
        for (body, location) in rows.bodies {
            builder.put_body(body, location)?;
        }
        for (key, value) in rows.rows {
            builder.row(RowChange::Put(key, value))?;
        }
    }
    for (key, value) in old.iter().flat_map(|o| o.removed.iter().chain(&o.others)) {
        builder.row(RowChange::Put(key.clone(), value.clone()))?;
    }
    builder.row(RowChange::Put(keys::NEXT_ACCOUNT.to_vec(), encode(&next)))
}

const LOST_MAX: usize = 1_000;
/// Groups without bodies leave no trace in segments; this many are assumed beside those seen.
const GROUPS_UNSEEN: u64 = 1 << 32;
