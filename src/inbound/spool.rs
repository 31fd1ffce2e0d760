//! A message while it is received: in memory up to a limit, then in a file. Counts against the core's budget.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

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
}

/// A complete message.
pub struct Finished {
    /// Its octets.
    pub content: NewContent,
    /// The file they are in, for [`remove_unused`] after the commit.
    pub file: Option<External>,
    /// To be kept until the message is on disk, or refused.
    pub memory: BodyMemory,
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
        core.body_memory.set(core.body_memory.get() + bytes.len());
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
        if self.bytes.is_empty() {
            return;
        }
        if Arc::strong_count(&self.bytes) == 1 {
            give_back(&self.core, self.bytes.len());
            return;
        }
        let (core, bytes) = (self.core.clone(), self.bytes.clone());
        shards::rt::spawn(&super::ROOM, async move {
            let mut pause = FIRST_LOOK;
            while Arc::strong_count(&bytes) > 1 {
                shards::rt::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_LOOK);
            }
            give_back(&core, bytes.len());
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
    /// Octets of `memory` counted in the core's budget.
    counted: usize,
    file: Option<File>,
    memory_max: usize,
}

struct File {
    /// None only while a worker has it.
    writer: Option<ExternalWriter>,
    /// The first octets, for looking at the header.
    head: Vec<u8>,
    path: std::path::PathBuf,
}

impl Spool {
    /// An empty message of about `expected` octets, as the client announced (it may lie).
    pub fn new(core: &Rc<PerCore>, expected: u64) -> Spool {
        let live = core.live();
        let memory_max = live
            .settings
            .server
            .storage
            .body_in_memory_max_bytes
            .as_usize()
            .min(shards::storage::BODY_MAX);
        // More than a segment's record is never reserved on a client's word alone.
        let reserved = (expected as usize + 1).min(RESERVE_MAX).min(memory_max);
        let memory = Vec::with_capacity(reserved);
        Spool {
            core: core.clone(),
            memory,
            counted: 0,
            file: None,
            memory_max,
        }
    }

    /// Takes a piece; never waits. [`Spool::settle`] must follow before much more comes.
    pub fn push(&mut self, piece: &[u8]) {
        self.memory.extend_from_slice(piece);
        self.count();
    }

    /// Like [`Spool::push`], for what is changed on its way: `fill` appends to the octets.
    pub fn push_with<T>(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let result = fill(&mut self.memory);
        self.count();
        result
    }

    fn count(&mut self) {
        let now = self.memory.len();
        if let Some(file) = &mut self.file {
            let new = &self.memory[self.counted..];
            let room = HEAD_MAX.saturating_sub(file.head.len());
            file.head.extend_from_slice(&new[..new.len().min(room)]);
        }
        self.core
            .body_memory
            .set(self.core.body_memory.get() + now - self.counted);
        self.counted = now;
    }

    /// Whether [`Spool::settle`] has something to do.
    pub fn needs_settling(&self) -> bool {
        self.memory.len() > self.limit()
    }

    fn limit(&self) -> usize {
        if self.file.is_some() {
            return FILE_PIECE;
        }
        // Over the core's budget, anything but small messages goes to disk at once.
        let budget = self
            .core
            .live()
            .settings
            .server
            .storage
            .body_memory_budget_bytes
            .as_usize();
        if self.core.body_memory.get() > budget {
            FILE_PIECE
        } else {
            self.memory_max
        }
    }

    /// Writes to the file what is too much for memory.
    pub async fn settle(&mut self) -> Result<(), SpoolError> {
        if self.needs_settling() {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<(), SpoolError> {
        // The reserve is for what was accepted: messages on their way in must not use it up before they are refused at their ends.
        if self.core.watches.iter().any(Watch::is_disk_low) {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        }
        let piece = std::mem::take(&mut self.memory);
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let number = self.core.connection_number.get() + 1;
                self.core.connection_number.set(number);
                let path = self
                    .core
                    .spool
                    .join(format!("{}-{}-{number}", self.core.epoch, self.core.id.0));
                let head = piece[..piece.len().min(HEAD_MAX)].to_vec();
                none.insert(File {
                    writer: None,
                    head,
                    path,
                })
            }
        };
        let (path, writer) = (file.path.clone(), file.writer.take());
        let writer = self
            .core
            .pool
            .run(move || -> std::io::Result<ExternalWriter> {
                let mut writer = match writer {
                    Some(writer) => writer,
                    None => ExternalWriter::create(path)?,
                };
                writer.write(&piece)?;
                Ok(writer)
            });
        let writer = writer.await??;
        file.writer = Some(writer);
        give_back(&self.core, self.counted);
        self.counted = 0;
        Ok(())
    }

    /// The message's first octets: all of them while it is in memory, else at least [`HEAD_MAX`] if there are so many.
    pub fn head(&self) -> &[u8] {
        self.file.as_ref().map_or(&self.memory, |f| &f.head)
    }

    /// Whether [`Spool::head`] is the whole message.
    pub fn is_in_memory(&self) -> bool {
        self.file.is_none()
    }

    /// The complete message, synced if it went to a file.
    pub async fn finish(mut self) -> Result<Finished, SpoolError> {
        if self.file.is_none() {
            let bytes = Arc::new(std::mem::take(&mut self.memory));
            let memory = BodyMemory::new(&self.core, bytes.clone());
            return Ok(Finished {
                content: NewContent {
                    bytes,
                    external: None,
                },
                file: None,
                memory,
            });
        }
        if !self.memory.is_empty() {
            self.flush().await?;
        }
        let file = self.file.take();
        let Some(File {
            writer: Some(writer),
            ..
        }) = file
        else {
            return Err(SpoolError::Pool(PoolError::Lost));
        };
        let external = self.core.pool.run(move || writer.finish()).await??;
        let bytes = Arc::default();
        let memory = BodyMemory::new(&self.core, Arc::clone(&bytes));
        Ok(Finished {
            content: NewContent {
                bytes,
                external: Some(external.clone()),
            },
            file: Some(external),
            memory,
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
    let pool = core.pool.clone();
    shards::rt::spawn(&super::ROOM, async move {
        let _ = pool.run(move || std::fs::remove_file(path)).await;
    });
}

const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// Octets reserved on the client's announcement, at most.
const RESERVE_MAX: usize = 256 << 10;
/// Octets gathered before they are written to an open file.
const FILE_PIECE: usize = 256 << 10;
/// Octets kept for looking at the header of a message that is in a file.
pub const HEAD_MAX: usize = 256 << 10;
