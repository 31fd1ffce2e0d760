//! The index of one shard: rows, locations of bodies, live bytes of segments. The only file that names fjall.
//!
//! Blocking, and sometimes for long (back-pressure, compaction): commit threads, the worker pool and commands only.
//!
//! What reads several rows reads a snapshot: a batch is applied row by row, and a keyspace's own `range` and `iter` show what is applied.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};

use crate::ShardId;
use crate::segments::{BodyId, Location};

/// The index could not do what was asked; the text is for operators.
#[derive(Debug, thiserror::Error, Clone)]
#[error("index: {0}")]
pub struct IndexError(pub String);

impl From<fjall::Error> for IndexError {
    fn from(error: fjall::Error) -> IndexError {
        IndexError(error.to_string())
    }
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// One change of the rows. Puts are absolute.
#[derive(Clone, Debug)]
pub enum RowChange {
    /// Writes a row. The key has 1 to [`KEY_MAX`] octets.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a row; removing what is not there is no error.
    Delete(Vec<u8>),
}

impl RowChange {
    /// The row's key.
    pub fn key(&self) -> &[u8] {
        match self {
            RowChange::Put(key, _) | RowChange::Delete(key) => key,
        }
    }
}

/// Whose index it is: one of another shard would name bodies that are not there, and call garbage those that are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The directory's seed.
    pub seed: u32,
    /// The shard.
    pub shard: ShardId,
}

/// What the index remembers of the shard as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last group whose rows are in the index.
    pub last_group: u64,
    /// The next body number to give out.
    pub next_body: u64,
}

/// Live and written bytes of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentUse {
    /// Bytes of records that a location names.
    pub live: u64,
    /// Bytes of all records ever appended to it.
    pub written: u64,
}

/// Live bytes by segment.
pub type LiveBytes = BTreeMap<u32, u64>;

/// Locations read at a time.
const LOCATIONS: usize = 1024;

/// A handle to the open index; cheap to clone, may be used from any thread.
#[derive(Clone)]
pub struct Index {
    database: Database,
    rows: Keyspace,
    bodies: Keyspace,
    segments: Keyspace,
    shard: Keyspace,
}

/// All changes of one group; durable together.
pub struct IndexBatch {
    batch: fjall::OwnedWriteBatch,
}

impl Index {
    /// Opens or makes the index in `path`. Opening repairs (cuts) a torn end of fjall's journal; a journal with batches out of order
    /// is refused before that.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Index, IndexError> {
        let disorder = crate::journal::out_of_order(path).map_err(|e| IndexError(e.to_string()))?;
        if let Some((journal, offset)) = disorder {
            return Err(IndexError(format!(
                "{}: batches out of order at byte {offset}: it is damaged",
                journal.display()
            )));
        }
        Index::open_damaged(path, cache_bytes)
    }

    /// Opens what fjall itself can open of an index: for salvage, which reads what is left and trusts none of it.
    pub fn open_damaged(path: &Path, cache_bytes: u64) -> Result<Index, IndexError> {
        // fjall asserts here and there on what it reads.
        catch_unwind(AssertUnwindSafe(|| Index::open_fjall(path, cache_bytes))).unwrap_or_else(
            |_| {
                Err(IndexError(
                    "it is damaged: fjall panicked opening it".into(),
                ))
            },
        )
    }

    fn open_fjall(path: &Path, cache_bytes: u64) -> Result<Index, IndexError> {
        let database = Database::builder(path)
            .worker_threads(1)
            .cache_size(cache_bytes)
            .max_cached_files(Some(64))
            // Each batch asks for its own sync; without this fjall would also write the journal out before it.
            .manual_journal_persist(true)
            .max_journaling_size(JOURNALS_MAX)
            .open()?;
        let keyspace = |name: &str, memtable: u64| {
            database.keyspace(name, || {
                KeyspaceCreateOptions::default().max_memtable_size(memtable)
            })
        };
        Ok(Index {
            rows: keyspace("rows", ROWS_MEMTABLE)?,
            bodies: keyspace("bodies", BODIES_MEMTABLE)?,
            segments: keyspace("segments", SMALL_MEMTABLE)?,
            shard: keyspace("shard", SMALL_MEMTABLE)?,
            database,
        })
    }

    /// Starts the changes of one group.
    pub fn batch(&self) -> IndexBatch {
        IndexBatch {
            batch: self
                .database
                .batch()
                .durability(Some(PersistMode::SyncData)),
        }
    }

    /// Changes that a later synced batch makes durable.
    pub(crate) fn batch_unsynced(&self) -> IndexBatch {
        IndexBatch {
            batch: self.database.batch().durability(Some(PersistMode::Buffer)),
        }
    }

    /// Applies a group and syncs it.
    pub fn commit(&self, batch: IndexBatch) -> Result<(), IndexError> {
        Ok(batch.batch.commit()?)
    }

    /// Whether fjall still works: an error says that a flush or a sync of its failed.
    pub fn healthy(&self) -> Result<(), IndexError> {
        // Nothing is buffered between groups, so this only asks for fjall's own poison flag.
        Ok(self.database.persist(PersistMode::Buffer)?)
    }

    /// One row.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.rows.get(key)?.map(|v| v.to_vec()))
    }

    /// One row as the last whole change left it. `get` may see a row of a change whose others are not there yet, so what compares it with
    /// other rows reads this.
    pub fn get_whole(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let found = self.database.snapshot().get(&self.rows, key)?;
        Ok(found.map(|v| v.to_vec()))
    }

    /// Rows with `prefix` from key `from` on, at most `limit` of them.
    pub fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Row>, IndexError> {
        Ok(self.scan_within(prefix, from, (limit, usize::MAX))?.0)
    }

    /// The same, and no more once they come to so many octets; whether a bound ended it.
    pub fn scan_within(
        &self,
        prefix: &[u8],
        from: &[u8],
        (limit, octets_max): (usize, usize),
    ) -> Result<(Vec<Row>, bool), IndexError> {
        let start = from.max(prefix);
        // Without an end it would go on over removed rows, which are there until fjall has merged them away: each scan that finds
        // nothing over all of them.
        let end = after(prefix);
        let end = match &end {
            Some(end) if start >= end.as_slice() => return Ok((Vec::new(), limit == 0)),
            Some(end) => Bound::Excluded(end.as_slice()),
            None => Bound::Unbounded,
        };
        let (mut rows, mut octets) = (Vec::new(), 0);
        let range = (Bound::Included(start), end);
        for guard in self
            .database
            .snapshot()
            .range::<&[u8], _>(&self.rows, range)
            .take(limit)
        {
            let (key, value) = guard.into_inner()?;
            octets += value.len();
            rows.push((key.to_vec(), value.to_vec()));
            if octets >= octets_max {
                return Ok((rows, true));
            }
        }
        let is_cut = rows.len() >= limit;
        Ok((rows, is_cut))
    }

    /// Where a body lies.
    pub fn location(&self, body: BodyId) -> Result<Option<Location>, IndexError> {
        match self.bodies.get(body.0.to_be_bytes())? {
            None => Ok(None),
            Some(bytes) => Location::from_bytes(&bytes)
                .map(Some)
                .ok_or_else(|| IndexError(format!("location of body {} has an unknown format; use the version of ringmail that wrote it", body.0))),
        }
    }

    /// Locations of bodies from number `from` on, at most `limit`.
    pub fn locations(
        &self,
        from: BodyId,
        limit: usize,
    ) -> Result<Vec<(BodyId, Location)>, IndexError> {
        self.locations_at(&self.database.snapshot(), from, limit)
    }

    fn locations_at(
        &self,
        at: &Snapshot,
        from: BodyId,
        limit: usize,
    ) -> Result<Vec<(BodyId, Location)>, IndexError> {
        let mut found = Vec::new();
        for guard in at.range(&self.bodies, from.0.to_be_bytes()..).take(limit) {
            let (key, value) = guard.into_inner()?;
            let body =
                BodyId(u64::from_be_bytes(key[..].try_into().map_err(|_| {
                    IndexError("a body number has the wrong length".into())
                })?));
            let location = Location::from_bytes(&value).ok_or_else(|| {
                IndexError(format!("location of body {} has an unknown format", body.0))
            })?;
            found.push((body, location));
        }
        Ok(found)
    }

    /// Use of every segment.
    pub fn segment_uses(&self) -> Result<Vec<(u32, SegmentUse)>, IndexError> {
        self.segment_uses_at(&self.database.snapshot())
    }

    /// The live bytes of each segment as they are counted, and as the locations name them, at one moment.
    pub fn live_bytes(&self) -> Result<(LiveBytes, LiveBytes), IndexError> {
        let at = self.database.snapshot();
        let uses = self.segment_uses_at(&at)?;
        let counted = uses.into_iter().map(|(n, used)| (n, used.live)).collect();
        let mut named = LiveBytes::new();
        let mut from = BodyId(0);
        loop {
            let some = self.locations_at(&at, from, LOCATIONS)?;
            for (_, location) in &some {
                *named.entry(location.segment).or_default() += location.record_length();
            }
            match some.last() {
                Some((last, _)) if some.len() == LOCATIONS => from = BodyId(last.0 + 1),
                _ => return Ok((counted, named)),
            }
        }
    }

    fn segment_uses_at(&self, at: &Snapshot) -> Result<Vec<(u32, SegmentUse)>, IndexError> {
        let mut found = Vec::new();
        for guard in at.iter(&self.segments) {
            let (key, value) = guard.into_inner()?;
            if key.len() != 4 || value.len() != 16 {
                return Err(IndexError("a segment's row has the wrong length".into()));
            }
            let number = u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
            found.push((
                number,
                SegmentUse {
                    live: crate::segments::u64_at(&value, 0),
                    written: crate::segments::u64_at(&value, 8),
                },
            ));
        }
        Ok(found)
    }

    /// How far the index has come.
    pub fn progress(&self) -> Result<Progress, IndexError> {
        Ok(match self.shard.get(PROGRESS)? {
            Some(bytes) if bytes.len() == 16 => Progress {
                last_group: crate::segments::u64_at(&bytes, 0),
                next_body: crate::segments::u64_at(&bytes, 8),
            },
            Some(_) => {
                return Err(IndexError(
                    "the shard's progress row has the wrong length".into(),
                ));
            }
            None => Progress::default(),
        })
    }

    /// Whose index it is; none in one that was made before indexes said so, or just now.
    pub fn identity(&self) -> Result<Option<Identity>, IndexError> {
        let Some(bytes) = self.shard.get(IDENTITY)? else {
            return Ok(None);
        };
        if bytes.len() != IDENTITY_BYTES || bytes[0] != IDENTITY_VERSION {
            return Err(IndexError(
                "its identity row has an unknown format; use the version of ringmail that wrote it"
                    .into(),
            ));
        }
        Ok(Some(Identity {
            seed: crate::segments::u32_at(&bytes, 1),
            shard: ShardId(crate::segments::u16_at(&bytes, 5)),
        }))
    }
}

impl IndexBatch {
    pub(crate) fn row(&mut self, index: &Index, change: RowChange) {
        match change {
            RowChange::Put(key, value) => self.batch.insert(&index.rows, key, value),
            RowChange::Delete(key) => self.batch.remove(&index.rows, key),
        }
    }

    pub(crate) fn put_location(&mut self, index: &Index, body: BodyId, location: Location) {
        self.batch
            .insert(&index.bodies, body.0.to_be_bytes(), location.to_bytes());
    }

    pub(crate) fn delete_location(&mut self, index: &Index, body: BodyId) {
        self.batch.remove(&index.bodies, body.0.to_be_bytes());
    }

    pub(crate) fn put_segment(&mut self, index: &Index, number: u32, used: SegmentUse) {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&used.live.to_le_bytes());
        value[8..].copy_from_slice(&used.written.to_le_bytes());
        self.batch
            .insert(&index.segments, number.to_be_bytes(), value);
    }

    pub(crate) fn delete_segment(&mut self, index: &Index, number: u32) {
        self.batch.remove(&index.segments, number.to_be_bytes());
    }

    pub(crate) fn put_progress(&mut self, index: &Index, progress: Progress) {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&progress.last_group.to_le_bytes());
        value[8..].copy_from_slice(&progress.next_body.to_le_bytes());
        self.batch.insert(&index.shard, PROGRESS, value);
    }

    pub(crate) fn put_identity(&mut self, index: &Index, identity: Identity) {
        let mut value = [IDENTITY_VERSION; IDENTITY_BYTES];
        value[1..5].copy_from_slice(&identity.seed.to_le_bytes());
        value[5..].copy_from_slice(&identity.shard.0.to_le_bytes());
        self.batch.insert(&index.shard, IDENTITY, value);
    }
}

/// The first key after all that begin with `prefix`; none if there is no such key.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|octet| *octet < 0xff)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}

// Memory of one shard: up to four sealed memtables of a keyspace may wait beside the active one before fjall holds writers back,
// so these bound a stuck flush to about 120 MiB and a working one to about 40. fjall's own default is 64 MiB for each of the four.
// They are fixed when the index is made. The small ones hold one key or a few, rewritten with every group.
const ROWS_MEMTABLE: u64 = 16 << 20;
const BODIES_MEMTABLE: u64 = 4 << 20;
const SMALL_MEMTABLE: u64 = 2 << 20;
/// A journal is 64 MB; beyond two, the memtables that keep the oldest alive are flushed. Bounds disk and the time of opening.
const JOURNALS_MAX: u64 = 128 << 20;
/// Octets of a row's key, at most: fjall's journal has 16 bits for it and checks nothing.
pub const KEY_MAX: usize = u16::MAX as usize;
const PROGRESS: &[u8] = b"progress";
const IDENTITY: &[u8] = b"identity";
const IDENTITY_VERSION: u8 = 1;
const IDENTITY_BYTES: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_gives_the_rows_of_its_prefix_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let index = Index::open(directory.path(), 1 << 20).unwrap();
        let keys: [&[u8]; 8] = [
            &[1],
            &[1, 0xff],
            &[1, 0xff, 0xff],
            &[1, 0xff, 0xff, 7],
            &[2],
            &[2, 0],
            &[0xff, 0xff],
            &[0xff, 0xff, 1],
        ];
        let mut batch = index.batch_unsynced();
        for key in keys {
            batch.row(&index, RowChange::Put(key.to_vec(), key.to_vec()));
        }
        index.commit(batch).unwrap();
        for prefix in keys.into_iter().chain([&[][..], &[3], &[1, 0], &[0xff; 3]]) {
            for from in keys.into_iter().chain([&[][..], &[3], &[0xff; 3]]) {
                let expected = keys
                    .into_iter()
                    .filter(|key| key.starts_with(prefix) && *key >= from);
                for limit in [1, 100] {
                    let rows = index.scan(prefix, from, limit).unwrap();
                    let found = rows.iter().map(|(key, _)| key.as_slice());
                    assert!(
                        found.eq(expected.clone().take(limit)),
                        "{prefix:?} {from:?}"
                    );
                }
                // The values are the keys.
                for (limit, octets) in [(100, 1), (100, 4), (2, 100), (100, 100)] {
                    let mut sum = 0;
                    let expected = expected.clone().take(limit).take_while(|key| {
                        let fits = sum < octets;
                        sum += key.len();
                        fits
                    });
                    let expected: Vec<&[u8]> = expected.collect();
                    let (rows, is_cut) = index.scan_within(prefix, from, (limit, octets)).unwrap();
                    let found: Vec<&[u8]> = rows.iter().map(|(key, _)| key.as_slice()).collect();
                    assert_eq!(found, expected);
                    let came: usize = found.iter().map(|key| key.len()).sum();
                    assert_eq!(is_cut, found.len() == limit || came >= octets);
                }
            }
        }
    }
}
