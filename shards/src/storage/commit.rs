//! The commit thread of one shard: takes what waits, makes it durable as one group, answers in order; compacts when there is
//! nothing else to do. The only writer of the shard's files.
//!
//! One group: link external content and sync its directory; append bodies and sync the segment; apply one index batch with
//! all rows and the progress row, synced; answer. Any failure after the first write poisons the shard: nothing is retried over.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use crossbeam_queue::ArrayQueue;
use std::sync::OnceLock;

use super::batch::{Batch, Committed};
use super::directory::StorageOptions;
use crate::ShardId;
use crate::faults::shard_point;
use crate::index::{Index, IndexError, Progress, SegmentUse};
use crate::rt::sync_directory;
use crate::segments::{
    BodyId, Location, NewRecord, Scanned, SegmentScan, SegmentWriter, external_name, segment_name,
};

/// What the owner core and whoever scrapes metrics see of a commit thread. Written by the thread alone, once a group.
#[derive(Default)]
pub(crate) struct Shared {
    pub poison: OnceLock<Arc<str>>,
    pub low_space: AtomicBool,
    pub groups: AtomicU64,
    pub batches: AtomicU64,
    pub syncs: AtomicU64,
    pub bytes: AtomicU64,
    pub compacted: AtomicU64,
    pub done: Done,
}

/// Answers of whole groups on their way to the owner core.
pub(crate) struct Done {
    pub queue: ArrayQueue<GroupDone>,
    pub waker: AtomicWaker,
}

impl Default for Done {
    fn default() -> Self {
        // One entry a group, and a group has at least one of the batches under way, which are fewer than this.
        Done {
            queue: ArrayQueue::new(QUEUE_MAX),
            waker: AtomicWaker::new(),
        }
    }
}

/// The answers to consecutive batches.
pub(crate) struct GroupDone {
    pub answers: Result<Vec<Committed>, Arc<str>>,
    pub batches: usize,
}

pub(crate) enum Work {
    Batch(Batch),
    Stop,
}

pub(crate) struct CommitThread {
    pub shard: ShardId,
    pub path: PathBuf,
    pub options: StorageOptions,
    pub seed: u32,
    pub index: Index,
    pub writer: SegmentWriter,
    pub progress: Progress,
    pub uses: HashMap<u32, SegmentUse>,
    pub work: Receiver<Work>,
    pub shared: Arc<Shared>,
    pub compaction: Option<Compaction>,
    pub space_checked: Instant,
    pub marked: Instant,
}

pub(crate) struct Compaction {
    number: u32,
    scan: SegmentScan,
}

#[derive(Debug, thiserror::Error)]
enum GroupError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Index(#[from] IndexError),
}

impl CommitThread {
    pub fn run(mut self) {
        self.check_space();
        let mut group = Vec::new();
        loop {
            let stop = self.take_group(&mut group);
            if !group.is_empty() {
                self.run_group(&mut group);
            }
            if stop {
                break;
            }
        }
        self.write_mark(true);
    }

    /// Waits for work, compacting meanwhile; takes all that waits, up to the group's limits. Answers whether to stop after it.
    fn take_group(&mut self, group: &mut Vec<Batch>) -> bool {
        let mut bytes = 0;
        let first = loop {
            match self.work.recv_timeout(self.idle_wait()) {
                Ok(work) => break work,
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => self.idle(),
            }
        };
        let mut next = Some(first);
        while let Some(work) = next {
            match work {
                Work::Stop => return true,
                Work::Batch(batch) => {
                    bytes += batch.bytes();
                    group.push(batch);
                }
            }
            if group.len() >= self.options.group_batches_max
                || bytes >= self.options.group_bytes_max
            {
                break;
            }
            next = self.work.try_recv().ok();
        }
        false
    }

    fn idle_wait(&self) -> Duration {
        if self.shared.poison.get().is_some() {
            IDLE_CHECK
        } else if self.compaction.is_some() {
            // The pause between slices is the rate limit.
            Duration::from_secs_f64(
                COMPACTION_SLICE as f64 / self.options.compaction_bytes_per_sec.max(1) as f64,
            )
        } else {
            IDLE_CHECK
        }
    }

    fn idle(&mut self) {
        if self.shared.poison.get().is_some() {
            return;
        }
        self.check_space();
        self.write_mark(false);
        if let Err(error) = self.compact_slice() {
            self.poison(&format!("compaction: {error}"));
        }
    }

    fn run_group(&mut self, group: &mut Vec<Batch>) {
        let batches = group.len();
        let answers = match self.shared.poison.get() {
            Some(reason) => Err(reason.clone()),
            None => self
                .commit_group(group)
                .map_err(|error| self.poison(&error.to_string())),
        };
        group.clear();
        // Full only if more batches were under way than may be: a bug, and then the owner's deadline tells.
        let _ = self.shared.done.queue.push(GroupDone { answers, batches });
        self.shared.done.waker.wake();
        self.check_space();
        self.write_mark(false);
    }

    fn commit_group(&mut self, group: &mut [Batch]) -> Result<Vec<Committed>, GroupError> {
        let shard = self.shard;
        shard_point(shard, "group.taken")?;
        self.link_external(group)?;
        let number = self.progress.last_group + 1;
        let locations = self.append_bodies(number, group)?;
        shard_point(shard, "body.appended")?;
        let mut syncs = u64::from(self.writer.sync()?);
        shard_point(shard, "body.synced")?;
        let bytes: usize = group.iter().map(Batch::bytes).sum();
        let answers = self.commit_rows(number, group, &locations)?;
        shard_point(shard, "rows.committed")?;
        syncs += 1;
        self.shared.groups.fetch_add(1, Ordering::Relaxed);
        self.shared
            .batches
            .fetch_add(group.len() as u64, Ordering::Relaxed);
        self.shared.syncs.fetch_add(syncs, Ordering::Relaxed);
        self.shared.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(answers)
    }

    fn link_external(&mut self, group: &[Batch]) -> io::Result<()> {
        let directory = self.path.join("large");
        let mut linked = false;
        for body in group.iter().flat_map(|b| &b.bodies) {
            if let Some(external) = &body.external {
                std::fs::hard_link(&external.path, directory.join(external_name(body.id)))?;
                linked = true;
            }
        }
        if linked {
            shard_point(self.shard, "large.linked")?;
            sync_directory(&directory)?;
            shard_point(self.shard, "large.synced")?;
        }
        Ok(())
    }

    fn append_bodies(&mut self, number: u64, group: &[Batch]) -> io::Result<Vec<Location>> {
        let records: Vec<NewRecord<'_>> = group
            .iter()
            .flat_map(|b| &b.bodies)
            .map(|body| NewRecord {
                body: body.id,
                kind: body.kind,
                meta: &body.meta,
                parts: body.parts.iter().map(|p| p.as_slice()).collect(),
                external_length: body.external.as_ref().map_or(0, |e| e.length),
            })
            .collect();
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.append(number, &records)
    }

    fn commit_rows(
        &mut self,
        number: u64,
        group: &mut [Batch],
        locations: &[Location],
    ) -> Result<Vec<Committed>, GroupError> {
        shard_point(self.shard, "rows.commit")?;
        let mut index_batch = self.index.batch();
        let mut progress = Progress {
            last_group: number,
            ..self.progress
        };
        let mut touched = Vec::new();
        let mut answers = Vec::with_capacity(group.len());
        let mut next_location = locations.iter();
        for batch in group.iter() {
            let mut committed = Committed::default();
            for (body, location) in batch.bodies.iter().zip(next_location.by_ref()) {
                index_batch.put_location(&self.index, body.id, *location);
                progress.next_body = progress.next_body.max(body.id.0 + 1);
                let used = self.uses.entry(location.segment).or_default();
                used.live += location.record_length();
                used.written += location.record_length();
                touched.push(location.segment);
                committed.locations.push(*location);
            }
            answers.push(committed);
        }
        let dead = self.bury(group, locations, &mut index_batch, &mut touched)?;
        touched.sort_unstable();
        touched.dedup();
        for segment in touched {
            index_batch.put_segment(
                &self.index,
                segment,
                self.uses.get(&segment).copied().unwrap_or_default(),
            );
        }
        for change in last_changes(group) {
            index_batch.row(&self.index, change);
        }
        index_batch.put_progress(&self.index, progress);
        self.index.commit(index_batch)?;
        self.progress = progress;
        self.remove_external(&dead);
        Ok(answers)
    }

    /// Takes the dead bodies' locations out; answers those with external content.
    fn bury(
        &mut self,
        group: &[Batch],
        fresh: &[Location],
        batch: &mut crate::index::IndexBatch,
        touched: &mut Vec<u32>,
    ) -> Result<Vec<BodyId>, GroupError> {
        let mut external = Vec::new();
        let born: Vec<BodyId> = group.iter().flat_map(|b| &b.bodies).map(|b| b.id).collect();
        let mut dead: Vec<&BodyId> = group.iter().flat_map(|b| &b.dead).collect();
        dead.sort_unstable();
        dead.dedup();
        for body in dead {
            let location = match born.iter().position(|b| b == body) {
                Some(at) => fresh.get(at).copied(),
                None => self.index.location(*body)?,
            };
            let Some(location) = location else { continue };
            batch.delete_location(&self.index, *body);
            let used = self.uses.entry(location.segment).or_default();
            used.live = used.live.saturating_sub(location.record_length());
            touched.push(location.segment);
            if location.external_length > 0 {
                external.push(*body);
            }
        }
        Ok(external)
    }

    fn remove_external(&self, dead: &[BodyId]) {
        for body in dead {
            // Left over after a crash here: the sweep at opening removes what no location names.
            let _ = std::fs::remove_file(self.path.join("large").join(external_name(*body)));
        }
    }

    fn poison(&mut self, reason: &str) -> Arc<str> {
        let reason: Arc<str> = reason.into();
        tracing::error!(shard = %self.shard, %reason, "a write failed: the shard is out of service until the next start; check the disk, then restart");
        self.shared.poison.get_or_init(|| reason).clone()
    }

    fn check_space(&mut self) {
        let now = Instant::now();
        if now < self.space_checked {
            return;
        }
        self.space_checked = now + SPACE_CHECK;
        let free = match rustix::fs::statvfs(&self.path) {
            Ok(stat) => stat.f_bavail * stat.f_frsize,
            Err(_) => return,
        };
        let low = free < self.options.disk_reserve_bytes
            || self.index.flush_backlog() > FLUSH_BACKLOG_MAX;
        if low != self.shared.low_space.swap(low, Ordering::Relaxed) {
            if low {
                tracing::error!(shard = %self.shard, free, reserve = self.options.disk_reserve_bytes, "the disk is nearly full: new mail is refused with 452 until space is freed");
            } else {
                tracing::info!(shard = %self.shard, free, "the disk has space again: new mail is accepted");
            }
        }
    }

    /// The mark says which group was durable a few seconds ago, outside the index: an index that is behind it has lost rows.
    fn write_mark(&mut self, now: bool) {
        if now || self.marked.elapsed() > MARK_EVERY {
            self.marked = Instant::now();
            let mut bytes = self.progress.last_group.to_le_bytes().to_vec();
            bytes.extend(crc32c::crc32c_append(self.seed, &bytes).to_le_bytes());
            let _ = std::fs::write(self.path.join("mark"), bytes);
        }
    }

    fn compact_slice(&mut self) -> Result<(), GroupError> {
        let Some(mut compaction) = self.compaction.take().or_else(|| self.begin_compaction())
        else {
            return Ok(());
        };
        let mut moved = Vec::new();
        let mut bytes = 0;
        let mut ended = false;
        while bytes < COMPACTION_SLICE {
            match compaction.scan.next_record()? {
                None => {
                    ended = true;
                    break;
                }
                Some(Scanned::Damaged { offset, damage }) => {
                    tracing::warn!(shard = %self.shard, segment = compaction.number, offset, %damage, "compaction passes over a damaged place");
                    self.compaction_keep(compaction.number);
                    return Ok(());
                }
                Some(Scanned::Record {
                    header,
                    offset,
                    meta,
                    body,
                }) => {
                    let here = self.index.location(header.body)?;
                    bytes += header.record_length();
                    if here.is_some_and(|l| {
                        l.segment == compaction.number && u64::from(l.offset) == offset
                    }) {
                        moved.push((header, meta, body));
                    }
                }
            }
        }
        self.move_bodies(compaction.number, &moved)?;
        if ended {
            self.remove_segment(compaction.number)?;
        } else {
            self.compaction = Some(compaction);
        }
        Ok(())
    }

    fn begin_compaction(&mut self) -> Option<Compaction> {
        let current = self.writer.number();
        let threshold = self.options.compaction_dead_percent.clamp(1, 100);
        let (number, _) = self.uses.iter().find(|(number, used)| {
            **number != current
                && used.written != u64::MAX
                && (used.written - used.live.min(used.written)) * 100 >= used.written * threshold
        })?;
        let number = *number;
        match SegmentScan::open(&self.path.join("segments"), number, self.shard, self.seed) {
            Ok((scan, None)) => Some(Compaction { number, scan }),
            _ => {
                self.compaction_keep(number);
                None
            }
        }
    }

    /// A damaged segment stays as it is, for salvage; it is not looked at again before the next start.
    fn compaction_keep(&mut self, number: u32) {
        self.uses.insert(
            number,
            SegmentUse {
                live: u64::MAX,
                written: u64::MAX,
            },
        );
    }

    fn move_bodies(
        &mut self,
        from: u32,
        moved: &[(crate::segments::RecordHeader, Vec<u8>, Vec<u8>)],
    ) -> Result<(), GroupError> {
        if moved.is_empty() {
            return Ok(());
        }
        let records: Vec<NewRecord<'_>> = moved
            .iter()
            .map(|(header, meta, body)| NewRecord {
                body: header.body,
                kind: header.kind,
                meta,
                parts: vec![body],
                external_length: header.external_length,
            })
            .collect();
        let group = self.progress.last_group + 1;
        let locations = self.writer.append(group, &records)?;
        self.writer.sync()?;
        shard_point(self.shard, "compaction.copied")?;
        let mut batch = self.index.batch();
        for ((header, _, _), location) in moved.iter().zip(&locations) {
            batch.put_location(&self.index, header.body, *location);
            let used = self.uses.entry(location.segment).or_default();
            used.live += location.record_length();
            used.written += location.record_length();
            let old = self.uses.entry(from).or_default();
            old.live = old.live.saturating_sub(location.record_length());
        }
        let mut touched: Vec<u32> = locations.iter().map(|l| l.segment).collect();
        touched.dedup();
        touched.push(from);
        for number in touched {
            batch.put_segment(
                &self.index,
                number,
                self.uses.get(&number).copied().unwrap_or_default(),
            );
        }
        let progress = Progress {
            last_group: group,
            ..self.progress
        };
        batch.put_progress(&self.index, progress);
        self.index.commit(batch)?;
        self.progress = progress;
        self.shared
            .compacted
            .fetch_add(records.len() as u64, Ordering::Relaxed);
        shard_point(self.shard, "compaction.moved")?;
        Ok(())
    }

    fn remove_segment(&mut self, number: u32) -> Result<(), GroupError> {
        let mut batch = self.index.batch();
        batch.delete_segment(&self.index, number);
        self.index.commit(batch)?;
        shard_point(self.shard, "compaction.forgotten")?;
        self.uses.remove(&number);
        std::fs::remove_file(self.path.join("segments").join(segment_name(number)))?;
        sync_directory(&self.path.join("segments"))?;
        shard_point(self.shard, "compaction.removed")?;
        tracing::info!(shard = %self.shard, segment = number, "compacted");
        Ok(())
    }
}

/// The group's row changes with only the last one of each key: within one index batch two changes of a key have no order.
fn last_changes(group: &mut [Batch]) -> Vec<crate::index::RowChange> {
    let mut changes: Vec<crate::index::RowChange> = group
        .iter_mut()
        .flat_map(|b| std::mem::take(&mut b.changes))
        .collect();
    // Stable, so that of equal keys the last one submitted is the last one here.
    changes.sort_by(|a, b| a.key().cmp(b.key()));
    let mut kept: Vec<crate::index::RowChange> = Vec::with_capacity(changes.len());
    for change in changes {
        match kept.last_mut() {
            Some(last) if last.key() == change.key() => *last = change,
            _ => kept.push(change),
        }
    }
    kept
}

/// The group number of the mark file, if it is whole.
pub(crate) fn read_mark(path: &Path, seed: u32) -> Option<u64> {
    let bytes = std::fs::read(path.join("mark")).ok()?;
    let sound = bytes.len() == 12
        && crate::segments::u32_at(&bytes, 8) == crc32c::crc32c_append(seed, &bytes[..8]);
    sound.then(|| crate::segments::u64_at(&bytes, 0))
}

/// Batches under way for one shard, at most.
pub(crate) const QUEUE_MAX: usize = 4096;
const COMPACTION_SLICE: u64 = 256 << 10;
const IDLE_CHECK: Duration = Duration::from_millis(500);
const SPACE_CHECK: Duration = Duration::from_millis(500);
const MARK_EVERY: Duration = Duration::from_secs(2);
/// Memtables waiting for their flush: fjall stalls writers at more than this.
const FLUSH_BACKLOG_MAX: usize = 8;
