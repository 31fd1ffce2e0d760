//! Building a new index from what the segments hold, when the old one has lost rows or cannot be read. Blocking; the directory is
//! stopped and its [`super::Lock`] held by the caller.
//!
//! The layer above reads the segments with [`super::scan_places`], decides which bodies live and which rows say so, and puts both
//! here. The new index is built in `rows.new`; only [`IndexBuilder::finish`] puts it in the old one's place, so a crash before that
//! leaves the directory as it was, and what a crash within it leaves [`put_right`] mends. Nothing is deleted: the old index stays as
//! `rows.damaged.N`, large content that no body names goes to `large.unnamed`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::commit::read_mark;
use super::directory::{DirectoryError, at, shard_path};
use crate::ShardId;
use crate::faults::shard_point;
use crate::index::{Identity, Index, IndexBatch, IndexError, Progress, RowChange, SegmentUse};
use crate::rt::sync_directory;
use crate::segments::{BodyId, Location, RecordHeader, external_name, list_segments};

/// Builds the index of one shard.
pub struct IndexBuilder {
    directory: PathBuf,
    shard: ShardId,
    seed: u32,
    path: PathBuf,
    index: Index,
    batch: IndexBatch,
    progress: Progress,
}

/// What was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Bodies that have a location now.
    pub bodies: u64,
    /// Files of large content that no body names, put aside.
    pub unnamed: u64,
    /// The number of the `rows.damaged.N` that is the old index; none if there was none.
    pub old: Option<u64>,
}

/// Mends what a crash in the middle of an earlier rebuild left: an index that was on its way aside comes back if the new one was not
/// yet in its place, else it goes its way to the end; an unfinished new one is removed.
pub fn put_right(directory: &Path, shard: ShardId) -> Result<(), DirectoryError> {
    let path = shard_path(directory, shard);
    let new = path.join(NEW);
    if new.exists() {
        fs::remove_dir_all(&new).map_err(at(&new))?;
    }
    let (rows, aside) = (path.join("rows"), path.join(ASIDE));
    if aside.exists() {
        if rows.exists() {
            keep_old(&path)?;
        } else {
            fs::rename(&aside, &rows).map_err(at(&aside))?;
            sync_directory(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

/// Gives an index on its way aside its last name.
fn keep_old(path: &Path) -> Result<Option<u64>, DirectoryError> {
    let aside = path.join(ASIDE);
    if !aside.exists() {
        return Ok(None);
    }
    let name = |n: &u64| path.join(format!("rows.damaged.{n}"));
    let number = (1..).find(|n| !name(n).exists()).unwrap_or(u64::MAX);
    fs::rename(&aside, name(&number)).map_err(at(&aside))?;
    sync_directory(path).map_err(at(path))?;
    Ok(Some(number))
}

impl IndexBuilder {
    /// Starts anew, after [`put_right`].
    pub fn start(
        directory: &Path,
        (shard, seed): (ShardId, u32),
    ) -> Result<IndexBuilder, DirectoryError> {
        put_right(directory, shard)?;
        let path = shard_path(directory, shard).join(NEW);
        // Groups without bodies leave no trace but the mark: an index behind it would not be opened.
        let last_group = read_mark(&shard_path(directory, shard), seed).unwrap_or(0);
        let index = Index::open(&path, CACHE).map_err(|source| DirectoryError::Index {
            shard,
            source,
            directory: directory.to_path_buf(),
        })?;
        Ok(IndexBuilder {
            directory: directory.to_path_buf(),
            shard,
            seed,
            path,
            batch: index.batch_unsynced(),
            index,
            progress: Progress {
                last_group,
                ..Progress::default()
            },
        })
    }

    /// Every sound record must pass here, whether its body lives or not: its numbers must never be given out again.
    pub fn saw(&mut self, header: &RecordHeader) {
        self.progress.last_group = self.progress.last_group.max(header.group);
        self.progress.next_body = self.progress.next_body.max(header.body.0 + 1);
    }

    /// Starts the numbers no lower than an old index did, if it could be read: its last groups may have had no bodies.
    pub fn continue_after(&mut self, progress: Progress) {
        self.progress.last_group = self.progress.last_group.max(progress.last_group);
        self.progress.next_body = self.progress.next_body.max(progress.next_body);
    }

    /// Names a body's place. Of several records of one body (copies by compaction, a write that was never acknowledged) the last counts.
    pub fn put_body(&mut self, body: BodyId, location: Location) -> Result<(), DirectoryError> {
        // Not two changes of one key in one batch: they would have no order.
        self.batch_of_its_own(|batch, index| batch.put_location(index, body, location))
    }

    /// Forgets a body put before.
    pub fn drop_body(&mut self, body: BodyId) -> Result<(), DirectoryError> {
        self.batch_of_its_own(|batch, index| batch.delete_location(index, body))
    }

    /// Writes or removes a row.
    pub fn row(&mut self, change: RowChange) -> Result<(), DirectoryError> {
        self.batch_of_its_own(|batch, index| batch.row(index, change))
    }

    fn batch_of_its_own(
        &mut self,
        change: impl FnOnce(&mut IndexBatch, &Index),
    ) -> Result<(), DirectoryError> {
        change(&mut self.batch, &self.index);
        // Unsynced until the end: a crash before `finish` throws the whole try away.
        let batch = std::mem::replace(&mut self.batch, self.index.batch_unsynced());
        self.index.commit(batch).map_err(|e| self.error(e))?;
        self.point("salvage.row")
    }

    fn point(&self, name: &'static str) -> Result<(), DirectoryError> {
        shard_point(self.shard, name).map_err(at(&self.path))
    }

    fn error(&self, source: IndexError) -> DirectoryError {
        DirectoryError::Index {
            shard: self.shard,
            source,
            directory: self.directory.clone(),
        }
    }

    /// Completes the index and puts it in place; the old one is kept as `rows.damaged.N`.
    pub fn finish(mut self) -> Result<Rebuilt, DirectoryError> {
        let mut rebuilt = Rebuilt::default();
        let path = shard_path(&self.directory, self.shard);
        let mut uses = self.segment_uses(&path)?;
        let mut from = BodyId(0);
        loop {
            let found = self
                .index
                .locations(from, SLICE)
                .map_err(|e| self.error(e))?;
            for (body, location) in &found {
                uses.entry(location.segment).or_default().live += location.record_length();
                from = BodyId(body.0 + 1);
            }
            rebuilt.bodies += found.len() as u64;
            if found.len() < SLICE {
                break;
            }
        }
        self.progress.last_group += 1;
        let mut batch = self.index.batch();
        for (number, used) in uses {
            batch.put_segment(&self.index, number, used);
        }
        batch.put_progress(&self.index, self.progress);
        let (shard, seed) = (self.shard, self.seed);
        batch.put_identity(&self.index, Identity { seed, shard });
        self.index.commit(batch).map_err(|e| self.error(e))?;
        self.point("salvage.built")?;
        rebuilt.unnamed = self.put_unnamed_aside(&path)?;
        self.point("salvage.unnamed")?;
        let new = self.path;
        drop((self.batch, self.index));
        let keyspaces = new.join("keyspaces");
        sync_directory(&keyspaces).map_err(at(&keyspaces))?;
        let (rows, aside) = (path.join("rows"), path.join(ASIDE));
        if rows.exists() {
            fs::rename(&rows, &aside).map_err(at(&rows))?;
            sync_directory(&path).map_err(at(&path))?;
        }
        shard_point(shard, "salvage.aside").map_err(at(&path))?;
        fs::rename(&new, &rows).map_err(at(&new))?;
        sync_directory(&path).map_err(at(&path))?;
        shard_point(shard, "salvage.placed").map_err(at(&path))?;
        rebuilt.old = keep_old(&path)?;
        shard_point(shard, "salvage.kept").map_err(at(&path))?;
        Ok(rebuilt)
    }

    fn segment_uses(&self, path: &Path) -> Result<HashMap<u32, SegmentUse>, DirectoryError> {
        let segments = path.join("segments");
        let mut uses = HashMap::new();
        // A shard that is made anew has none yet.
        let numbers = match list_segments(&segments) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(at(&segments))?,
        };
        for number in numbers {
            let file = segments.join(crate::segments::segment_name(number));
            let written = fs::metadata(&file).map_err(at(&file))?.len();
            uses.insert(number, SegmentUse { live: 0, written });
        }
        Ok(uses)
    }

    /// Opening would sweep them; after damage they may be all that is left of a message.
    fn put_unnamed_aside(&self, path: &Path) -> Result<u64, DirectoryError> {
        let (large, aside) = (path.join("large"), path.join("large.unnamed"));
        let entries = match fs::read_dir(&large) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(at(&large)(e)),
        };
        let mut moved = 0;
        for entry in entries {
            let entry = entry.map_err(at(&large))?;
            let name = entry.file_name();
            let body = name
                .to_str()
                .and_then(|n| n.strip_suffix(".large"))
                .and_then(|n| u64::from_str_radix(n, 16).ok())
                .map(BodyId);
            let Some(body) = body else { continue };
            let named = self.index.location(body).map_err(|e| self.error(e))?;
            if named.is_none_or(|l| l.external_length == 0) {
                fs::create_dir_all(&aside).map_err(at(&aside))?;
                fs::rename(entry.path(), aside.join(external_name(body))).map_err(at(&aside))?;
                moved += 1;
            }
        }
        if moved > 0 {
            sync_directory(&aside).map_err(at(&aside))?;
            sync_directory(&large).map_err(at(&large))?;
        }
        Ok(moved)
    }
}

/// An index being built.
const NEW: &str = "rows.new";
/// The old index between the two renames that put the new one in its place.
const ASIDE: &str = "rows.old";
const CACHE: u64 = 8 << 20;
const SLICE: usize = 4096;
