//! The commit thread of one shard: takes what waits, makes it durable as one group, answers in order; compacts when there is
//! nothing else to do (`compaction`). The only writer of the shard's files.
//!
//! One group: link external content and sync its directory; append bodies and sync the segment; apply one index batch with
//! all rows and the progress row, synced; answer. Any failure after the first write poisons the shard: nothing is retried over.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;
use std::sync::OnceLock;

use super::batch::{Batch, Committed};
use super::compaction::{COMPACTION_SLICE, Compaction};
use super::directory::StorageOptions;
use super::external::Links;
use super::work::WorkReceiver;
use crate::ShardId;
use crate::faults::shard_point;
use crate::index::{Index, IndexError, KEY_MAX, Progress, SegmentUse};
use crate::rt::sync_directory;
use crate::segments::{BodyId, Location, NewRecord, SegmentWriter, external_name};

/// What the owner core and whoever scrapes metrics see of a commit thread. Written by the thread alone, once a group.
#[derive(Default)]
pub(crate) struct Shared {
    pub poison: OnceLock<Arc<str>>,
    pub low_space: AtomicBool,
    /// Most of the reserve is gone, too.
    pub no_space: AtomicBool,
    pub groups: AtomicU64,
    pub batches: AtomicU64,
    pub syncs: AtomicU64,
    pub bytes: AtomicU64,
    pub compacted: AtomicU64,
    /// A group is under way; when it is done the owner core is woken. See [`super::Watch::is_committing`].
    pub committing: AtomicBool,
    /// When it began.
    pub began: Began,
    pub done: Done,
}

/// A moment that other threads may read.
pub(crate) struct Began {
    base: Instant,
    millis: AtomicU64,
}

impl Default for Began {
    fn default() -> Self {
        Began {
            base: Instant::now(),
            millis: AtomicU64::new(0),
        }
    }
}

impl Began {
    fn now(&self) {
        let millis = self.base.elapsed().as_millis() as u64;
        self.millis.store(millis, Ordering::Relaxed);
    }

    pub fn elapsed(&self) -> Duration {
        let began = Duration::from_millis(self.millis.load(Ordering::Relaxed));
        self.base.elapsed().saturating_sub(began)
    }
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
    pub work: WorkReceiver<Work>,
    pub shared: Arc<Shared>,
    pub compaction: Option<Compaction>,
    /// Segments, damaged or unreadable, that compaction leaves alone.
    pub kept: HashSet<u32>,
    /// Free bytes of the disk at the last look.
    pub free: u64,
    pub space_checked: Instant,
    /// Octets written since.
    pub unseen: u64,
    pub marked: Instant,
    pub compact_at: Instant,
    pub links: Links,
}

/// Why a group or a step of compaction failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum GroupError {
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
                Some(work) => break work,
                None => self.upkeep(),
            }
        };
        let mut next = Some(first);
        let mut yields = 0;
        loop {
            match next {
                Some(Work::Stop) => return true,
                Some(Work::Batch(batch)) => {
                    bytes += batch.bytes();
                    group.push(batch);
                    if group.len() >= self.options.group_batches_max
                        || bytes >= self.options.group_bytes_max
                    {
                        return false;
                    }
                }
                // Not a delay: if another thread of this core has something to do, which may be to submit more, it goes first. Measured:
                // a quarter fewer syncs and a tenth less CPU for each message under load, nothing lost with a single sender.
                None if yields < YIELDS => {
                    yields += 1;
                    std::thread::yield_now();
                }
                None => return false,
            }
            next = self.work.try_recv();
        }
    }

    fn idle_wait(&self) -> Duration {
        if self.shared.poison.get().is_some() {
            return IDLE_CHECK;
        }
        self.compact_at
            .saturating_duration_since(Instant::now())
            .min(IDLE_CHECK)
    }

    /// What is due beside groups; runs when idle and between groups, so that load cannot starve it.
    fn upkeep(&mut self) {
        if self.shared.poison.get().is_some() {
            return;
        }
        self.check_space();
        self.write_mark(false);
        let now = Instant::now();
        if now < self.compact_at {
            return;
        }
        let result = super::ROOM.guard(|| {
            // A flush that failed in the background is learnt here, not at the next mail.
            self.index.healthy()?;
            self.compact_slice()
        });
        match result {
            Some(Ok(())) => (),
            Some(Err(error)) => drop(self.poison(&format!("compaction: {error}"))),
            None => drop(self.poison("compaction panicked; this is a bug")),
        }
        // The pause between slices is the rate limit.
        let pause = if self.compaction.is_some() {
            let rate = self.options.compaction_bytes_per_sec.max(1);
            Duration::from_secs_f64(COMPACTION_SLICE as f64 / rate as f64)
        } else {
            IDLE_CHECK
        };
        self.compact_at = Instant::now() + pause;
    }

    fn run_group(&mut self, group: &mut Vec<Batch>) {
        let batches = group.len();
        // First, so that who sees it set never sees the time of a group before.
        self.shared.began.now();
        self.shared.committing.store(true, Ordering::SeqCst);
        let answers = match self.shared.poison.get() {
            Some(reason) => Err(reason.clone()),
            // A panic must not end the thread: its owner would wait for ever.
            None => match super::ROOM.guard(|| self.commit_group(group)) {
                Some(done) => done.map_err(|error| self.poison(&error.to_string())),
                None => Err(self.poison("the commit thread panicked; this is a bug")),
            },
        };
        group.clear();
        // Before the answers can be taken: who still saw it set has left his call in the owner's lane, and the owner looks there after it
        // has taken these answers.
        self.shared.committing.store(false, Ordering::SeqCst);
        // Full only if more batches were under way than may be: a bug, and then the owner's deadline tells.
        let _ = self.shared.done.queue.push(GroupDone { answers, batches });
        self.shared.done.waker.wake();
        self.upkeep();
    }

    fn commit_group(&mut self, group: &mut [Batch]) -> Result<Vec<Committed>, GroupError> {
        let shard = self.shard;
        shard_point(shard, "group.taken")?;
        let keys = group.iter().flat_map(|b| &b.changes).map(|c| c.key().len());
        if keys.clone().any(|length| length == 0 || length > KEY_MAX) {
            return Err(
                IndexError("a row's key is empty or too long; this is a bug".into()).into(),
            );
        }
        self.link_external(group)?;
        let number = self.progress.last_group + 1;
        let locations = self.append_bodies(number, group)?;
        shard_point(shard, "body.appended")?;
        let mut syncs = u64::from(self.writer.sync()?);
        shard_point(shard, "body.synced")?;
        let bytes: usize = group.iter().map(Batch::bytes).sum();
        self.unseen += bytes as u64;
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
                let name = directory.join(external_name(body.id));
                self.links.link(&external.path, &name)?;
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
                external_id: body.external.as_ref().map_or(0, |e| e.id),
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
        let dead: HashSet<BodyId> = group.iter().flat_map(|b| &b.dead).copied().collect();
        for batch in group.iter() {
            let mut committed = Committed::default();
            for (body, location) in batch.bodies.iter().zip(next_location.by_ref()) {
                progress.next_body = progress.next_body.max(body.id.0 + 1);
                let used = self.uses.entry(location.segment).or_default();
                // Born and dead in one group: never in the index, for two changes of a key have no order within one index batch.
                if !dead.contains(&body.id) {
                    index_batch.put_location(&self.index, body.id, *location);
                    used.live += location.record_length();
                }
                used.written += location.record_length();
                touched.push(location.segment);
                committed.locations.push(*location);
            }
            answers.push(committed);
        }
        let dead = self.bury(group, dead, &mut index_batch, &mut touched)?;
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
        shard_point(self.shard, "rows.synced")?;
        self.remove_external(&dead);
        Ok(answers)
    }

    /// Takes the dead bodies' locations out; answers those with external content.
    fn bury(
        &mut self,
        group: &[Batch],
        dead: HashSet<BodyId>,
        batch: &mut crate::index::IndexBatch,
        touched: &mut Vec<u32>,
    ) -> Result<Vec<BodyId>, GroupError> {
        let mut external = Vec::new();
        let born: HashMap<BodyId, bool> = group
            .iter()
            .flat_map(|b| &b.bodies)
            .map(|b| (b.id, b.external.is_some()))
            .collect();
        for body in dead {
            if let Some(has_external) = born.get(&body) {
                external.extend(has_external.then_some(body));
                continue;
            }
            let Some(location) = self.index.location(body)? else {
                continue;
            };
            batch.delete_location(&self.index, body);
            let used = self.uses.entry(location.segment).or_default();
            used.live = used.live.saturating_sub(location.record_length());
            touched.push(location.segment);
            if location.external_length > 0 {
                external.push(body);
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

    /// Looks at the free space every half a second, and after a part of the reserve was written.
    fn check_space(&mut self) {
        let now = Instant::now();
        if now < self.space_checked && self.unseen < self.options.disk_reserve_bytes / LOOKS {
            return;
        }
        self.unseen = 0;
        self.space_checked = now + SPACE_CHECK;
        let free = match rustix::fs::statvfs(&self.path) {
            Ok(stat) => stat.f_bavail * stat.f_frsize,
            Err(_) => return,
        };
        self.free = free;
        let none = free < self.options.disk_reserve_bytes / 4;
        self.shared.no_space.store(none, Ordering::Relaxed);
        let low = free < self.options.disk_reserve_bytes;
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
            // In place and in one call, so that a kill leaves the old mark or the new one. Not synced: a mark may lag, never lead.
            let written = std::fs::File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(self.path.join("mark"))
                .and_then(|file| file.write_all_at(&bytes, 0));
            if let Err(error) = written {
                tracing::warn!(shard = %self.shard, %error, "the mark file could not be written: loss of the last rows would go unnoticed");
            }
        }
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
/// How often a thread with a group to commit lets others run first.
const YIELDS: u32 = 3;
const IDLE_CHECK: Duration = Duration::from_millis(500);
const SPACE_CHECK: Duration = Duration::from_millis(500);
/// Looks while as much is written as the reserve has.
const LOOKS: u64 = 64;
const MARK_EVERY: Duration = Duration::from_secs(2);
