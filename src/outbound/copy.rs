//! What a recipient of a batch gets, for a mailbox of ours: nobody else has these octets, so if they are too many for memory, or end in the queue's
//! own file, they become a file of their own before they are delivered. Not here: making them (`recipes`), whose mailbox it is (`own`, `local`).

use std::rc::Rc;
use std::time::Duration;

use shards::pool::PoolError;
use shards::rt;
use shards::storage::{External, ExternalWriter, StorageError};

use super::ROOM;
use super::transaction::PIECE;
use crate::percore::PerCore;
use crate::queue::{Content, Message};
use crate::store::{NewContent, StoreError};

/// Octets that can be delivered; their file goes when nobody delivers them any more.
pub(super) struct Copy {
    pub content: NewContent,
    _file: Option<OwnFile>,
}

/// As they are, or in a file of their own.
pub(super) async fn of(
    core: &Rc<PerCore>,
    message: &Message,
    content: &Content,
) -> Result<Copy, StoreError> {
    let in_memory_max = {
        let live = core.live();
        let storage = &live.settings.server.storage;
        storage.body_in_memory_max_bytes.as_usize()
    };
    let is_small = content.files.is_none() && content.bytes.len() <= in_memory_max;
    if message.row.batch.is_none() || is_small {
        let content = NewContent {
            bytes: content.bytes.clone(),
            external: content.external.clone(),
        };
        let _file = None;
        return Ok(Copy { content, _file });
    }
    let file = write(core, message, content).await?;
    Ok(Copy {
        content: NewContent {
            bytes: Default::default(),
            external: Some(file.external.clone()),
        },
        _file: Some(file),
    })
}

async fn write(
    core: &Rc<PerCore>,
    message: &Message,
    content: &Content,
) -> Result<OwnFile, StoreError> {
    let number = core.connection_number.get() + 1;
    core.connection_number.set(number);
    let path = core
        .spool
        .join(format!("{}-{}-{number}", core.epoch, core.id.0));
    let reserve = {
        let live = core.live();
        live.settings.server.storage.disk_reserve_bytes.get()
    };
    // Given up in between it is swept at the next start, as those of messages that come.
    let of_path = path.clone();
    let writer = core
        .spooling
        .run(move || ExternalWriter::create(of_path, reserve));
    let mut writer = writer.await.map_err(pool)?.map_err(disk)?;
    let removed = Removed(core.clone(), path);
    let bytes = content.bytes.clone();
    let first = core
        .spooling
        .run(move || writer.write(&bytes).map(|()| writer));
    writer = first.await.map_err(pool)?.map_err(disk)?;
    if let Some(files) = &content.files {
        let mut at = files.place.start;
        while at < files.place.end {
            let now = (files.place.end - at).min(PIECE as u64) as usize;
            let shard = message.shard();
            let read = shard.read_external(message.body, files.location, at, now);
            let piece = read.await?;
            at += piece.len() as u64;
            let next = core
                .spooling
                .run(move || writer.write(&piece).map(|()| writer));
            writer = next.await.map_err(pool)?.map_err(disk)?;
        }
    }
    let external = core.spooling.run(move || writer.finish());
    let external = external.await.map_err(pool)?.map_err(disk)?;
    Ok(OwnFile {
        external,
        removed: Some(removed),
    })
}

fn pool(_: PoolError) -> StoreError {
    StoreError::Storage(StorageError::Busy)
}

fn disk(error: std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::StorageFull => StoreError::Storage(StorageError::DiskFull),
        _ => {
            tracing::error!(%error, "what a recipient of a batch gets could not be written to the spool");
            StoreError::Storage(StorageError::Busy)
        }
    }
}

/// A file of the spool.
struct OwnFile {
    external: External,
    removed: Option<Removed>,
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        let (external, removed) = (self.external.clone(), self.removed.take());
        // A delivery that was given up, its answer late, may still be committed.
        rt::spawn(&ROOM, async move {
            let mut pause = FIRST_LOOK;
            while !external.is_the_last() {
                rt::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_LOOK);
            }
            drop(removed);
        });
    }
}

/// Removes it once dropped. What a full pool does not take is swept at the next start.
struct Removed(Rc<PerCore>, std::path::PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let (pool, path) = (self.0.spooling.clone(), std::mem::take(&mut self.1));
        rt::spawn(&ROOM, async move {
            let _ = pool.run(move || std::fs::remove_file(path)).await;
        });
    }
}

const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_secs(1);
