//! A data directory: lock, epoch, opening of its shards. Blocking; runs before the executors start.
//!
//! ```text
//! DIR/lock             flock: one process at a time
//! DIR/format           version, shards, seed, epoch; replaced as a whole at each opening
//! DIR/spool/           content on its way to a shard; emptied at opening
//! DIR/shard-NNN/rows/      the index (fjall)
//! DIR/shard-NNN/segments/  bodies
//! DIR/shard-NNN/large/     content over 1 MiB
//! DIR/shard-NNN/format     a copy of DIR/format, from when it was made
//! DIR/shard-NNN/mark       the last group known durable, written every few seconds
//! ```

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::names_others;
use super::commit::{CommitThread, QUEUE_MAX, Shared, read_mark};
use super::external::Links;
use super::format::{
    Format, begun, has_used_shards, keep_copies, lost_format, missing, missing_shards, read_format,
    write_format,
};
use super::shard::{ShardParts, Watch};
use super::work::{WorkQueue, WorkSender};
use crate::ShardId;
use crate::faults::{point, shard_point};
use crate::index::{Identity, Index, IndexError, Progress, SegmentUse};
use crate::rt::sync_directory;
use crate::segments::{
    BodyId, Location, RecordHeader, Scanned, SegmentScan, SegmentSizes, SegmentWriter,
    list_segments, segment_name,
};

/// Numbers of the store. The defaults are those of design and measurement; each can be set.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Shards of a directory that is made now; an existing one keeps its number.
    pub shards: u16,
    /// Size of a segment file, in bytes (1 MiB to 2 GiB).
    pub segment_size: u64,
    /// How far ahead a segment file is zeroed, in bytes.
    pub zero_ahead: u64,
    /// Memory for fjall's cache, in bytes, for each shard.
    pub cache_bytes: u64,
    /// Batches in one group, at most.
    pub group_batches_max: usize,
    /// Bytes in one group, about.
    pub group_bytes_max: usize,
    /// Bytes of batches under way for each shard, at most.
    pub under_way_bytes_max: usize,
    /// Below this much free space new bodies are refused.
    pub disk_reserve_bytes: u64,
    /// A segment is compacted when this percentage of it is dead.
    pub compaction_dead_percent: u64,
    /// Bytes compaction reads each second, about.
    pub compaction_bytes_per_sec: u64,
}

impl Default for StorageOptions {
    fn default() -> Self {
        StorageOptions {
            shards: 4,
            segment_size: 256 << 20,
            zero_ahead: 4 << 20,
            cache_bytes: 32 << 20,
            group_batches_max: 256,
            group_bytes_max: 1 << 20,
            under_way_bytes_max: 64 << 20,
            disk_reserve_bytes: 256 << 20,
            compaction_dead_percent: 50,
            compaction_bytes_per_sec: 16 << 20,
        }
    }
}

/// Why a directory was not opened; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A file call failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "{0} is in use by another ringmail process; stop that one, or use its control socket (--config or --dir)"
    )]
    Locked(PathBuf),
    /// Not a directory of ours, or its format file is damaged.
    #[error("{path}: {what}")]
    Format {
        /// The format file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// The index is of another shard or directory.
    #[error(
        "{path}: {what}; if that can't be, run `ringmail salvage {directory}`, which sets it aside and rebuilds the index from the stored bodies"
    )]
    Foreign {
        /// The index.
        path: PathBuf,
        /// Whose it is, and to put it back.
        what: String,
        /// The data directory.
        directory: PathBuf,
    },
    /// The index lost rows that were acknowledged.
    #[error(
        "{shard}: {what}; the stored bodies were not touched. Run `ringmail salvage {directory}` to rebuild the index from the stored bodies"
    )]
    Lost {
        /// Which shard.
        shard: ShardId,
        /// How it shows.
        what: String,
        /// The data directory.
        directory: PathBuf,
    },
    /// The index could not be opened.
    #[error(
        "{shard}: {source}; run `ringmail salvage {directory}` to rebuild the index from the stored bodies"
    )]
    Index {
        /// Which shard.
        shard: ShardId,
        /// What fjall said.
        source: IndexError,
        /// The data directory.
        directory: PathBuf,
    },
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError + '_ {
    move |source| DirectoryError::Io {
        path: path.to_path_buf(),
        source,
    }
}

/// The path of a shard's directory.
pub fn shard_path(directory: &Path, shard: ShardId) -> PathBuf {
    directory.join(shard.to_string())
}

/// Holds the directory's lock while it lives.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Whether another process has the directory, and keeps it for longer than a moment. Makes nothing.
    pub fn is_taken(directory: &Path) -> Result<bool, DirectoryError> {
        if !directory.join("lock").exists() {
            return Ok(false);
        }
        match Lock::take(directory) {
            Ok(_) => Ok(false),
            Err(DirectoryError::Locked(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock, waiting for it at most a second. The directory is made if it is not there.
    pub fn take(directory: &Path) -> Result<Lock, DirectoryError> {
        fs::create_dir_all(directory).map_err(at(directory))?;
        let path = directory.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(at(&path))?;
        let until = Instant::now() + LOCK_WAIT;
        loop {
            match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock { _file: file }),
                // Holders that are about to end: a server that was just killed, or a process between its fork and its exec, which
                // has a copy of all descriptors of the process it came from.
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                    std::thread::sleep(LOCK_RETRY);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(DirectoryError::Locked(directory.to_path_buf()));
                }
                Err(e) => return Err(at(&path)(e.into())),
            }
        }
    }
}

/// An open directory: commit threads run; the owner cores take their shards from it.
pub struct Opened {
    /// Its format.
    pub format: Format,
    /// Where content is written before it is committed.
    pub spool: PathBuf,
    pub(crate) shards: Vec<Option<ShardParts>>,
    threads: Vec<(WorkSender<super::commit::Work>, std::thread::JoinHandle<()>)>,
    watches: Vec<Watch>,
    _lock: Lock,
}

impl Opened {
    /// A view of each shard for metrics and health.
    pub fn watches(&self) -> Vec<Watch> {
        self.watches.clone()
    }

    /// Lets the commit threads finish what was submitted, and waits for them. The lock is free afterwards.
    pub fn close(self) {
        for (work, thread) in self.threads {
            // Full only while a stalled disk holds the thread: it must end all the same.
            while work.try_send(super::commit::Work::Stop).is_err() && !thread.is_finished() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let _ = thread.join();
        }
    }
}

/// Opens a directory, making it if it is empty: lock, format, a new epoch, each shard's index and a new segment.
/// `seed` is a random number for a directory that is made now.
pub fn open(
    directory: &Path,
    options: &StorageOptions,
    seed: u32,
) -> Result<Opened, DirectoryError> {
    let lock = Lock::take(directory)?;
    let format = match read_format(directory)? {
        Some(format) => Format {
            epoch: format.epoch + 1,
            ..format
        },
        None => make_shards(directory, options.shards.max(1), seed)?,
    };
    refuse_missing(directory, format)?;
    // Before the epoch, so that a shard without a copy is none of ours from the second opening on.
    keep_copies(directory, format)?;
    let spool = directory.join("spool");
    fs::create_dir_all(&spool).map_err(at(&spool))?;
    empty_directory(&spool).map_err(at(&spool))?;
    // The epoch is durable before anything is written in it.
    write_format(directory, &format)?;
    let mut opened = Opened {
        format,
        spool,
        shards: Vec::new(),
        threads: Vec::new(),
        watches: Vec::new(),
        _lock: lock,
    };
    for number in 0..format.shards {
        if let Err(error) = open_shard(directory, ShardId(number), format, options, &mut opened) {
            // The lock goes only after the threads of the shards before.
            opened.close();
            return Err(error);
        }
    }
    Ok(opened)
}

/// A new directory: the shards' directories, each with its copy, are durable before the format file says that they are there.
fn make_shards(directory: &Path, shards: u16, seed: u32) -> Result<Format, DirectoryError> {
    // Without a format file there must be no mail: else the file was lost, and a new one would hide it.
    if has_used_shards(directory) {
        return Err(lost_format(directory));
    }
    // A making that was cut off is gone on with, for its copies are there.
    let format = begun(directory).unwrap_or(Format {
        shards,
        seed,
        epoch: 1,
    });
    for number in 0..format.shards {
        let path = shard_path(directory, ShardId(number));
        fs::create_dir_all(&path).map_err(at(&path))?;
    }
    keep_copies(directory, format)?;
    sync_directory(directory).map_err(at(directory))?;
    point("open.shards").map_err(at(directory))?;
    // The directory's own name, for it may just have been made.
    let parent = directory.canonicalize().map_err(at(directory))?;
    if let Some(parent) = parent.parent() {
        // A parent we may not read was not made by us.
        let _ = sync_directory(parent);
    }
    Ok(format)
}

/// A shard's directory that is gone (not mounted, moved away) must not be replaced by an empty one.
fn refuse_missing(directory: &Path, format: Format) -> Result<(), DirectoryError> {
    match missing_shards(directory, format).first() {
        None => Ok(()),
        Some(shard) => Err(DirectoryError::Format {
            path: shard_path(directory, *shard),
            what: missing(directory),
        }),
    }
}

fn open_shard(
    directory: &Path,
    shard: ShardId,
    format: Format,
    options: &StorageOptions,
    opened: &mut Opened,
) -> Result<(), DirectoryError> {
    let path = shard_path(directory, shard);
    let segments = path.join("segments");
    for needed in [&segments, &path.join("large")] {
        fs::create_dir_all(needed).map_err(at(needed))?;
    }
    sync_directory(&path)
        .and_then(|()| sync_directory(directory))
        .map_err(at(&path))?;
    let numbers = list_segments(&segments).map_err(at(&segments))?;
    let rows = path.join("rows");
    let index_is_new = !rows.exists();
    let index_error = |source| DirectoryError::Index {
        shard,
        source,
        directory: directory.to_path_buf(),
    };
    let lost = |what| DirectoryError::Lost {
        shard,
        what,
        directory: directory.to_path_buf(),
    };
    if index_is_new && !numbers.is_empty() {
        // A segment is made after the index.
        return Err(lost(
            "the index is missing, though the shard was in use".into(),
        ));
    }
    if index_is_new {
        let begun = path.join(ROWS_BEGUN);
        remove_begun_index(&begun).map_err(at(&begun))?;
        drop(Index::open(&begun, options.cache_bytes).map_err(index_error)?);
        // fjall syncs what is in it and in each keyspace, not the names of the keyspaces.
        sync_directory(&begun.join("keyspaces")).map_err(at(&begun))?;
        shard_point(shard, "open.index_begun").map_err(at(&begun))?;
        fs::rename(&begun, &rows).map_err(at(&rows))?;
        sync_directory(&path).map_err(at(&path))?;
    }
    let index = Index::open(&rows, options.cache_bytes).map_err(index_error)?;
    shard_point(shard, "open.index").map_err(at(&path))?;
    let ours = Identity {
        seed: format.seed,
        shard,
    };
    if let Some(what) = foreign_index(&path, &index, ours).map_err(index_error)? {
        return Err(DirectoryError::Foreign {
            path: path.join("rows"),
            what,
            directory: directory.to_path_buf(),
        });
    }
    let progress = index.progress().map_err(index_error)?;
    check_progress(&path, shard, format.seed, progress, &numbers)
        .map_err(at(&path))?
        .map_or(Ok(()), |what| Err(lost(what)))?;
    if index.identity().map_err(index_error)?.is_some() {
        sweep_large(&path, &index)
            .map_err(at(&path))?
            .map_err(index_error)?;
    } else {
        // New, or of a version that wrote none. That its progress fits proves less than a row does: what it does not name is
        // removed at the next opening only.
        let mut batch = index.batch();
        batch.put_identity(&index, ours);
        index.commit(batch).map_err(index_error)?;
        shard_point(shard, "open.identity").map_err(at(&path))?;
    }
    shard_point(shard, "open.swept").map_err(at(&path))?;
    let uses = segment_uses(&index, &segments, &numbers)
        .map_err(at(&segments))?
        .map_err(index_error)?;
    let number = uses.keys().chain(&numbers).max().copied().unwrap_or(0) + 1;
    let (least, most) = crate::segments::SEGMENT_SIZE_RANGE;
    let sizes = SegmentSizes {
        segment: options.segment_size.clamp(least, most),
        zero_ahead: options.zero_ahead.min(most),
    };
    let writer = SegmentWriter::start(&segments, shard, number, format.seed, format.epoch, sizes)
        .map_err(at(&segments))?;
    start_commit_thread(
        path, shard, format, options, index, progress, uses, writer, opened,
    )
}

#[allow(clippy::too_many_arguments)] // One caller; everything is handed on to the thread.
fn start_commit_thread(
    path: PathBuf,
    shard: ShardId,
    format: Format,
    options: &StorageOptions,
    index: Index,
    progress: Progress,
    uses: HashMap<u32, SegmentUse>,
    writer: SegmentWriter,
    opened: &mut Opened,
) -> Result<(), DirectoryError> {
    let shared = Arc::new(Shared::default());
    let queue = WorkQueue::new(QUEUE_MAX + 1);
    let thread = CommitThread {
        shard,
        path: path.clone(),
        options: options.clone(),
        seed: format.seed,
        index: index.clone(),
        writer,
        progress,
        uses,
        work: queue.receiver(),
        shared: shared.clone(),
        compaction: None,
        kept: HashSet::new(),
        free: u64::MAX,
        space_checked: Instant::now(),
        unseen: 0,
        marked: Instant::now(),
        compact_at: Instant::now(),
        links: Links::default(),
    };
    let handle = std::thread::Builder::new()
        .name(format!("commit-{}", shard.0))
        .spawn(move || thread.run())
        .map_err(at(&path))?;
    let sender = queue.sender(handle.thread().clone());
    opened.threads.push((sender.clone(), handle));
    opened.watches.push(Watch {
        id: shard,
        shared: shared.clone(),
    });
    opened.shards.push(Some(ShardParts {
        id: shard,
        path,
        seed: format.seed,
        index,
        work: sender,
        shared,
        // From 1 on: clients that see numbers take 0 for none.
        next_body: progress.next_body.max(1),
        bytes_max: options.under_way_bytes_max,
    }));
    Ok(())
}

/// Whose the index of a shard is, if it is not its own: by its identity, or, where it has none, by the bodies it names.
pub(super) fn foreign_index(
    path: &Path,
    index: &Index,
    ours: Identity,
) -> Result<Option<String>, IndexError> {
    let whose = match index.identity()? {
        Some(identity) if identity == ours => return Ok(None),
        Some(Identity { seed, shard }) => format!("{shard} of the directory with seed {seed}"),
        None if names_others(index, path, ours.seed)? => {
            "another shard (most of the first bodies it names are not here)".into()
        }
        None => return Ok(None),
    };
    Ok(Some(format!(
        "this is the index of {whose}, not of {} of the directory with seed {}: were the `rows` of two shards exchanged, or taken from another backup? Put each in its place",
        ours.shard, ours.seed
    )))
}

/// fjall opens a journal with corrupted bytes in its middle without an error and drops the rest. So its last group is compared with
/// what the segments and the mark file say was made durable. A segment may be one group ahead: a crash between its sync and the index's.
pub(super) fn check_progress(
    path: &Path,
    shard: ShardId,
    seed: u32,
    progress: Progress,
    numbers: &[u32],
) -> io::Result<Option<String>> {
    if let Some(mark) = read_mark(path, seed)
        && mark > progress.last_group
    {
        return Ok(Some(format!(
            "the index ends at group {}, but group {mark} was durable",
            progress.last_group
        )));
    }
    let written = last_group_written(path, shard, seed, numbers, progress.last_group)?;
    if written > progress.last_group + 1 {
        return Ok(Some(format!(
            "the index ends at group {}, but bodies of group {written} were stored",
            progress.last_group
        )));
    }
    Ok(None)
}

/// An index is made under this name and renamed when it is whole: what fjall has left of one when it is stopped in the middle (an empty
/// `version`, a keyspace without its files) opens never again.
const ROWS_BEGUN: &str = "rows.begun";

fn remove_begun_index(begun: &Path) -> io::Result<()> {
    match fs::remove_dir_all(begun) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The highest group in the newest segments; only sound records count.
fn last_group_written(
    path: &Path,
    shard: ShardId,
    seed: u32,
    numbers: &[u32],
    indexed: u64,
) -> io::Result<u64> {
    let mut highest = 0;
    for number in numbers.iter().rev() {
        let (mut scan, _) = SegmentScan::open(&path.join("segments"), *number, shard, seed)?;
        // Groups ascend through the segments, so the newest sound record decides.
        while let Some((group, sound)) = scan.next_group(indexed)? {
            if sound {
                highest = highest.max(group);
            }
        }
        if highest > 0 {
            break;
        }
    }
    Ok(highest)
}

/// Removes large content that no location names: left by a crash before its group was durable, or after its body's death.
fn sweep_large(path: &Path, index: &Index) -> io::Result<Result<(), IndexError>> {
    for entry in fs::read_dir(path.join("large"))? {
        let entry = entry?;
        let name = entry.file_name();
        let body = name
            .to_str()
            .and_then(|n| n.strip_suffix(".large"))
            .and_then(|n| u64::from_str_radix(n, 16).ok());
        let Some(body) = body else { continue };
        match index.location(BodyId(body)) {
            Ok(Some(location)) if location.external_length > 0 => (),
            Ok(_) => fs::remove_file(entry.path())?,
            Err(e) => return Ok(Err(e)),
        }
    }
    Ok(Ok(()))
}

/// Segments without a row hold garbage only, by what the index says; compaction looks at each of their records before it removes them.
fn segment_uses(
    index: &Index,
    segments: &Path,
    numbers: &[u32],
) -> io::Result<Result<HashMap<u32, SegmentUse>, IndexError>> {
    let mut uses: HashMap<u32, SegmentUse> = match index.segment_uses() {
        Ok(rows) => rows.into_iter().collect(),
        Err(e) => return Ok(Err(e)),
    };
    let present: HashSet<u32> = numbers.iter().copied().collect();
    for (number, used) in &uses {
        // The row goes before the file does, so this is no crash of ours. Its bodies answer as damaged; the others live.
        if !present.contains(number) && used.live > 0 {
            tracing::error!(segment = %segments.join(segment_name(*number)).display(), bytes = used.live, "a segment file with live bodies is missing; restore it from a backup with the server stopped. `ringmail check` lists the bodies");
        }
    }
    for number in numbers {
        if !uses.contains_key(number) {
            let length = fs::metadata(segments.join(segment_name(*number)))?.len();
            uses.insert(
                *number,
                SegmentUse {
                    live: 0,
                    written: length,
                },
            );
        }
    }
    Ok(Ok(uses))
}

fn empty_directory(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// Calls `each` for all sound records of a shard's segments, in the order they were written, and `damaged` for damaged places.
pub fn scan_shard(
    directory: &Path,
    shard: ShardId,
    seed: u32,
    mut each: impl FnMut(RecordHeader, Vec<u8>, Vec<u8>),
    damaged: impl FnMut(u32, u64, String),
) -> Result<(), DirectoryError> {
    scan_places(
        directory,
        shard,
        seed,
        |_, header, meta, body| each(header, meta, body),
        damaged,
    )
}

/// [`scan_shard`] that also tells where each record lies, for [`super::IndexBuilder::put_body`].
pub fn scan_places(
    directory: &Path,
    shard: ShardId,
    seed: u32,
    mut each: impl FnMut(Location, RecordHeader, Vec<u8>, Vec<u8>),
    mut damaged: impl FnMut(u32, u64, String),
) -> Result<(), DirectoryError> {
    let segments = shard_path(directory, shard).join("segments");
    for number in list_segments(&segments).map_err(at(&segments))? {
        let (mut scan, damage) =
            SegmentScan::open(&segments, number, shard, seed).map_err(at(&segments))?;
        if let Some(damage) = damage {
            damaged(number, 0, damage.to_string());
        }
        while let Some(step) = scan.next_record().map_err(at(&segments))? {
            match step {
                Scanned::Record {
                    header,
                    offset,
                    meta,
                    body,
                } => each(header.location(number, offset as u32), header, meta, body),
                Scanned::Damaged { offset, damage } => damaged(number, offset, damage.to_string()),
            }
        }
    }
    Ok(())
}

const LOCK_WAIT: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(5);
