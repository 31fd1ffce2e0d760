//! Building a new index from what the segments hold, when the old one has lost rows or cannot be read. Blocking; the directory is
//! stopped and its [`super::Lock`] held by the caller.
//!
//! The layer above reads the segments with [`super::scan_places`], decides which bodies live and which rows say so, and puts both
//! here. The new index is built in `rows.new`; only [`IndexBuilder::finish`] puts it in the old one's place, so a crash before that
//! leaves the directory as it was. Nothing is deleted: the old index stays as `rows.damaged.N`, large content that no body names
//! goes to `large.unnamed`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::directory::{DirectoryError, at, set_index_aside, shard_path};
use crate::ShardId;
use crate::index::{Index, IndexBatch, IndexError, Progress, RowChange, SegmentUse};
use crate::rt::sync_directory;
use crate::segments::{BodyId, Location, RecordHeader, external_name, list_segments};

/// Builds the index of one shard.
pub struct IndexBuilder {
    directory: PathBuf,
    shard: ShardId,
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
}

impl IndexBuilder {
    /// Starts anew; an earlier unfinished try is removed.
    pub fn start(directory: &Path, shard: ShardId) -> Result<IndexBuilder, DirectoryError> {
        let path = shard_path(directory, shard).join("rows.new");
        if path.exists() {
            fs::remove_dir_all(&path).map_err(at(&path))?;
        }
        let index = Index::open(&path, CACHE).map_err(|source| DirectoryError::Index {
            shard,
            source,
            directory: directory.to_path_buf(),
        })?;
        Ok(IndexBuilder {
            directory: directory.to_path_buf(),
            shard,
            path,
            batch: index.batch_unsynced(),
            index,
            progress: Progress::default(),
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
        self.index.commit(batch).map_err(|e| self.error(e))
    }

    fn error(&self, source: IndexError) -> DirectoryError {
        DirectoryError::Index {
            shard: self.shard,
            source,
            directory: self.directory.clone(),
        }
    }

    /// Completes the index and puts it in place; the old one is kept as `rows.damaged.<suffix>`.
    pub fn finish(mut self, suffix: u64) -> Result<Rebuilt, DirectoryError> {
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
        self.index.commit(batch).map_err(|e| self.error(e))?;
        rebuilt.unnamed = self.put_unnamed_aside(&path)?;
        let (directory, shard, new) = (self.directory, self.shard, self.path);
        drop((self.batch, self.index));
        let keyspaces = new.join("keyspaces");
        sync_directory(&keyspaces).map_err(at(&keyspaces))?;
        set_index_aside(&directory, shard, suffix)?;
        fs::rename(&new, path.join("rows")).map_err(at(&new))?;
        sync_directory(&path).map_err(at(&path))?;
        Ok(rebuilt)
    }

    fn segment_uses(&self, path: &Path) -> Result<HashMap<u32, SegmentUse>, DirectoryError> {
        let segments = path.join("segments");
        let mut uses = HashMap::new();
        for number in list_segments(&segments).map_err(at(&segments))? {
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

const CACHE: u64 = 8 << 20;
const SLICE: usize = 4096;
