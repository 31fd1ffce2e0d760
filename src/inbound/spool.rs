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
        self.core
            .body_memory
            .set(self.core.body_memory.get() - self.counted);
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

    /// The complete message, synced if it went to a file, and the file, for [`remove_unused`] after the commit.
    pub async fn finish(mut self) -> Result<(NewContent, Option<External>), SpoolError> {
        if self.file.is_none() {
            return Ok((
                NewContent {
                    bytes: Arc::new(std::mem::take(&mut self.memory)),
                    external: None,
                },
                None,
            ));
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
        Ok((
            NewContent {
                bytes: Arc::default(),
                external: Some(external.clone()),
            },
            Some(external),
        ))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.core
            .body_memory
            .set(self.core.body_memory.get() - self.counted);
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
