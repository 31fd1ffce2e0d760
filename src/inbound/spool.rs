//! A message while it is received: in memory up to a limit, then in a file. Counts against the core's budget.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dkim::MessageHasher;
use shards::pool::PoolError;
use shards::storage::{External, ExternalWriter, Watch};

use crate::percore::PerCore;
use crate::store::NewContent;

/// Why a message can't be taken now. The door answers 451 or 452; the sender comes again.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The worker pool is full or lost the job.
    #[error("{0}")]
    Pool(#[from] PoolError),
    /// The core holds more octets than its budget, by far.
    #[error(
        "the disk is too slow for the messages that come: twice storage.body_memory_budget_bytes are in memory"
    )]
    Memory,
}

/// Whether a message that begins now can be taken.
pub fn may_begin(core: &PerCore) -> Result<(), SpoolError> {
    look_at_disk(core)?;
    match Pressure::of(core) {
        Pressure::Closed | Pressure::Full => Err(SpoolError::Memory),
        _ => Ok(()),
    }
}

fn look_at_disk(core: &PerCore) -> std::io::Result<()> {
    if core.watches.iter().any(Watch::is_disk_low) {
        return Err(std::io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// How much of the budget for bodies in memory is used. A disk that keeps up never leaves `None` but with many large messages at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pressure {
    /// Less than the budget: messages stay in memory up to their limit.
    None,
    /// More: all but small ones go to files.
    Over,
    /// By a quarter: all go to files, as they come.
    High,
    /// By half: no message may begin.
    Closed,
    /// Twice as much: not one octet is taken.
    Full,
}

impl Pressure {
    fn of(core: &PerCore) -> Pressure {
        let live = core.live.borrow();
        let storage = &live.settings.server.storage;
        let budget = storage.body_memory_budget_bytes.as_usize();
        match core.body_memory.get() {
            used if used <= budget => Pressure::None,
            used if used <= budget + budget / 4 => Pressure::Over,
            used if used <= budget + budget / 2 => Pressure::High,
            used if used <= budget * 2 => Pressure::Closed,
            _ => Pressure::Full,
        }
    }
}

/// A complete message.
pub struct Finished {
    /// Its octets.
    pub content: NewContent,
    /// The file they are in, for [`remove_unused`] after the commit.
    pub file: Option<External>,
    /// To be kept until the message is on disk, or refused.
    pub memory: BodyMemory,
    /// Has seen all of it, if it is in a file and was to be hashed.
    pub hasher: Option<Box<MessageHasher>>,
    /// It has octets beyond ASCII.
    pub is_eight_bit: bool,
}

/// A complete message's octets in memory. They count in the core's budget as long as anybody holds them: this, or a delivery on its
/// way to the disk, also one whose caller has given up. Kept to the end it frees them on the core that took them, where the memory is at
/// hand for the next message; freed by the commit thread, it made the core's allocator look for fresh pages (3.5 % of a profile under
/// load, 1.5 % since).
pub struct BodyMemory {
    core: Rc<PerCore>,
    bytes: Arc<Vec<u8>>,
}

impl BodyMemory {
    /// Counts them.
    pub(super) fn new(core: &Rc<PerCore>, bytes: Arc<Vec<u8>>) -> BodyMemory {
        core.body_memory
            .set(core.body_memory.get() + bytes.capacity());
        BodyMemory {
            core: core.clone(),
            bytes,
        }
    }

    /// Octets.
    pub fn octets(&self) -> usize {
        self.bytes.len()
    }
}

impl Drop for BodyMemory {
    fn drop(&mut self) {
        if self.bytes.capacity() == 0 {
            return;
        }
        if Arc::strong_count(&self.bytes) == 1 {
            give_back(&self.core, self.bytes.capacity());
            return;
        }
        let (core, bytes) = (self.core.clone(), self.bytes.clone());
        shards::rt::spawn(&super::ROOM, async move {
            let mut pause = FIRST_LOOK;
            while Arc::strong_count(&bytes) > 1 {
                shards::rt::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_LOOK);
            }
            give_back(&core, bytes.capacity());
        });
    }
}

fn give_back(core: &PerCore, octets: usize) {
    core.body_memory.set(core.body_memory.get() - octets);
}

/// Collects one message's octets.
pub struct Spool {
    core: Rc<PerCore>,
    memory: Vec<u8>,
    /// Octets of `memory` that were looked at for the head.
    seen: usize,
    /// Octets of the piece that a worker writes now.
    in_flight: usize,
    /// What the core's budget counts of all this: memory that is taken, used or not.
    counted: usize,
    file: Option<File>,
    /// None while a worker has it, too.
    hasher: Option<Box<MessageHasher>>,
    memory_max: usize,
    reserve: u64,
    is_eight_bit: bool,
}

struct File {
    /// None only while a worker has it.
    writer: Option<ExternalWriter>,
    /// The first octets: the header, or as much of it as is looked at.
    head: Vec<u8>,
    head_ended: bool,
    path: std::path::PathBuf,
}

impl File {
    /// Takes what belongs to the head.
    fn look_at(&mut self, piece: &[u8]) {
        if self.head_ended {
            return;
        }
        let room = HEAD_MAX.saturating_sub(self.head.len());
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
        let end = message::header::header_end(&self.head);
        self.head_ended = piece.len() >= room || message::header::has_separator(&self.head);
        if end < self.head.len() {
            self.head.truncate(end);
            self.head.shrink_to_fit();
        }
    }
}

impl Spool {
    /// An empty message of about `expected` octets, as the client announced (it may lie).
    pub fn new(core: &Rc<PerCore>, expected: u64) -> Spool {
        let live = core.live();
        let storage = &live.settings.server.storage;
        let memory_max = storage
            .body_in_memory_max_bytes
            .as_usize()
            .min(shards::storage::BODY_MAX);
        // More than a segment's record is never reserved on a client's word alone, and nothing if it goes to a file anyway.
        let reserved = match Pressure::of(core) {
            Pressure::None => (expected as usize + 1).min(RESERVE_MAX).min(memory_max),
            _ => 0,
        };
        let mut spool = Spool {
            core: core.clone(),
            memory: Vec::with_capacity(reserved),
            seen: 0,
            in_flight: 0,
            counted: 0,
            file: None,
            hasher: None,
            memory_max,
            reserve: storage.disk_reserve_bytes.get(),
            is_eight_bit: false,
        };
        spool.count();
        spool
    }

    /// Has the message hashed where it goes to a file, by the thread that writes. Before its first octet.
    pub fn hash_with(&mut self, hasher: MessageHasher) {
        self.hasher = Some(Box::new(hasher));
    }

    /// Takes a piece; never waits. [`Spool::settle`] must follow before more comes if [`Spool::needs_settling`].
    pub fn push(&mut self, piece: &[u8]) {
        self.is_eight_bit |= !piece.is_ascii();
        self.memory.extend_from_slice(piece);
        self.count();
    }

    /// Like [`Spool::push`], for what is changed on its way: `fill` appends to the octets.
    pub fn push_with<T>(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let before = self.memory.len();
        let result = fill(&mut self.memory);
        self.is_eight_bit |= self.memory.get(before..).is_some_and(|new| !new.is_ascii());
        self.count();
        result
    }

    fn count(&mut self) {
        if let Some(file) = &mut self.file {
            file.look_at(&self.memory[self.seen..]);
            self.seen = self.memory.len();
        }
        let head = self.file.as_ref().map_or(0, |f| f.head.capacity());
        let hashed = self.hasher.as_ref().map_or(0, |h| h.held());
        let now = self.memory.capacity() + self.in_flight + head + hashed;
        let others = self.core.body_memory.get() - self.counted;
        self.core.body_memory.set(others + now);
        self.counted = now;
    }

    /// Whether [`Spool::settle`] has something to do.
    pub fn needs_settling(&self) -> bool {
        match (Pressure::of(&self.core), &self.file) {
            (Pressure::Full, _) => true,
            (Pressure::High | Pressure::Closed, _) | (Pressure::Over, Some(_)) => {
                !self.memory.is_empty()
            }
            (Pressure::Over, None) => self.memory.len() > SMALL_MAX,
            (Pressure::None, Some(_)) => self.memory.len() > FILE_PIECE,
            (Pressure::None, None) => self.memory.len() > self.memory_max,
        }
    }

    /// Writes to the file what is too much for memory. After an error the message can't be taken.
    pub async fn settle(&mut self) -> Result<(), SpoolError> {
        if !self.needs_settling() {
            return Ok(());
        }
        if Pressure::of(&self.core) == Pressure::Full {
            return Err(SpoolError::Memory);
        }
        look_at_disk(&self.core)?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), SpoolError> {
        if self.file.is_none() {
            let number = self.core.connection_number.get() + 1;
            self.core.connection_number.set(number);
            let name = format!("{}-{}-{number}", self.core.epoch, self.core.id.0);
            self.file = Some(File {
                writer: None,
                head: Vec::new(),
                head_ended: false,
                path: self.core.spool.join(name),
            });
        }
        self.count();
        let piece = std::mem::take(&mut self.memory);
        self.seen = 0;
        let Some(file) = &mut self.file else {
            return Err(SpoolError::Pool(PoolError::Lost));
        };
        let (path, writer) = (file.path.clone(), file.writer.take());
        let mut hasher = self.hasher.take();
        self.in_flight = piece.capacity() + hasher.as_ref().map_or(0, |h| h.held());
        self.count();
        let reserve = self.reserve;
        let written = self
            .core
            .spooling
            .run(move || -> std::io::Result<_> {
                let mut writer = match writer {
                    Some(writer) => writer,
                    None => ExternalWriter::create(path, reserve)?,
                };
                writer.write(&piece)?;
                if let Some(hasher) = &mut hasher {
                    hasher.update(&piece);
                }
                Ok((writer, hasher))
            })
            .await;
        self.in_flight = 0;
        self.count();
        let (writer, hasher) = written??;
        self.hasher = hasher;
        if let Some(file) = &mut self.file {
            file.writer = Some(writer);
        }
        Ok(())
    }

    /// The message's first octets: all of them while it is in memory, else its header, of which [`HEAD_MAX`] at most.
    pub fn head(&self) -> &[u8] {
        self.file.as_ref().map_or(&self.memory, |f| &f.head)
    }

    /// The complete message, synced if it went to a file.
    pub async fn finish(mut self) -> Result<Finished, SpoolError> {
        if self.file.is_none() {
            let bytes = Arc::new(std::mem::take(&mut self.memory));
            self.count();
            let memory = BodyMemory::new(&self.core, bytes.clone());
            return Ok(Finished {
                content: NewContent {
                    bytes,
                    external: None,
                },
                file: None,
                memory,
                hasher: None,
                is_eight_bit: self.is_eight_bit,
            });
        }
        if !self.memory.is_empty() {
            self.flush().await?;
        }
        let file = self.file.take();
        let Some(File {
            writer: Some(writer),
            path,
            ..
        }) = file
        else {
            return Err(SpoolError::Pool(PoolError::Lost));
        };
        let finished = self.core.spooling.run(move || writer.finish()).await;
        let external = match finished.map_err(SpoolError::Pool).and_then(|r| Ok(r?)) {
            Ok(external) => external,
            Err(error) => {
                remove_later(&self.core, path);
                return Err(error);
            }
        };
        let bytes = Arc::default();
        let memory = BodyMemory::new(&self.core, Arc::clone(&bytes));
        Ok(Finished {
            content: NewContent {
                bytes,
                external: Some(external.clone()),
            },
            file: Some(external),
            memory,
            hasher: self.hasher.take(),
            is_eight_bit: self.is_eight_bit,
        })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        give_back(&self.core, self.counted);
        if let Some(file) = self.file.take() {
            remove_later(&self.core, file.path);
        }
    }
}

/// Removes a finished spool file once no delivery holds it: one that was given up, its answer late, may still be committed.
pub fn remove_unused(core: &Rc<PerCore>, external: External) {
    let core = core.clone();
    shards::rt::spawn(&super::ROOM, async move {
        until_last(&external).await;
        remove_later(&core, external.path.to_path_buf());
    });
}

/// Waits until no delivery holds a copy.
pub(super) async fn until_last(external: &External) {
    let mut pause = FIRST_LOOK;
    while !external.is_the_last() {
        shards::rt::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}

/// Removes a spool file by the pool. What is left over by a crash is swept at the next start.
fn remove_later(core: &Rc<PerCore>, path: std::path::PathBuf) {
    let pool = core.spooling.clone();
    shards::rt::spawn(&super::ROOM, async move {
        let mut pause = FIRST_LOOK;
        loop {
            let path = path.clone();
            let removed = pool.run(move || std::fs::remove_file(path)).await;
            if !matches!(removed, Err(PoolError::Full)) {
                return;
            }
            shards::rt::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    });
}

const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// Octets reserved on the client's announcement, at most.
const RESERVE_MAX: usize = 256 << 10;
/// Octets gathered before they are written to an open file.
const FILE_PIECE: usize = 256 << 10;
/// Octets of a message that stays in memory also when the budget is used up.
const SMALL_MAX: usize = 64 << 10;
/// Octets kept for looking at the header of a message that is in a file.
pub const HEAD_MAX: usize = 256 << 10;
