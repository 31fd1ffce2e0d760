//! What is submitted to a shard and what comes back.

use std::path::Path;
use std::sync::Arc;

use crate::index::RowChange;
use crate::segments::{BodyId, Location};

/// Rows and bodies that become durable together. Rows are absolute: the owner core computed them from its own state.
#[derive(Default)]
pub struct Batch {
    /// Row changes; of two changes of one key the later one counts.
    pub changes: Vec<RowChange>,
    /// New bodies. A row that names one never exists without it.
    pub bodies: Vec<NewBody>,
    /// Bodies that no row names any more and no session can still ask for.
    pub dead: Vec<BodyId>,
}

impl Batch {
    /// Adds a row.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push(RowChange::Put(key, value));
    }

    /// Removes a row.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.changes.push(RowChange::Delete(key));
    }

    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.bodies.is_empty() && self.dead.is_empty()
    }

    /// Octets it holds in memory, for the budgets.
    pub fn bytes(&self) -> usize {
        let rows: usize = self
            .changes
            .iter()
            .map(|c| match c {
                RowChange::Put(key, value) => key.len() + value.len(),
                RowChange::Delete(key) => key.len(),
            })
            .sum();
        rows + self.bodies.iter().map(NewBody::bytes).sum::<usize>()
    }
}

/// A body to be stored.
pub struct NewBody {
    /// From [`super::Shard::next_body`].
    pub id: BodyId,
    /// Which kind, for salvage by the layer above.
    pub kind: u8,
    /// Enough to rebuild the rows about it, at most 64 KiB.
    pub meta: Vec<u8>,
    /// The content, in parts; at most [`super::shard::BODY_MAX`] in all.
    pub parts: Vec<Arc<Vec<u8>>>,
    /// Content that follows the parts and already lies in a synced file.
    pub external: Option<External>,
}

impl NewBody {
    fn bytes(&self) -> usize {
        self.meta.len() + self.parts.iter().map(|p| p.len()).sum::<usize>()
    }
}

/// A file written by [`super::ExternalWriter`], synced, in the same directory tree.
#[derive(Clone, Debug)]
pub struct External {
    /// Where it lies; the commit links it into the shard, its maker removes this name when [`External::is_the_last`] says so.
    pub path: Arc<Path>,
    /// Octets of content in it, without the checksums.
    pub length: u64,
    /// Which content it is: see [`crate::segments::Location::external_id`].
    pub id: u32,
}

impl External {
    /// No other copy of this is left, so no batch that waits will link the name. A batch whose name is gone would poison its shard.
    pub fn is_the_last(&self) -> bool {
        Arc::strong_count(&self.path) == 1
    }
}

/// The durable batch.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Where its bodies lie, in their order.
    pub locations: Vec<Location>,
}

/// Why storage did not do what was asked.
#[derive(Debug, thiserror::Error, Clone)]
pub enum StorageError {
    /// The shard failed while the commit thread had the batch. Whether it is durable the next start finds out.
    #[error("{0} is out of service until the next start: {1}")]
    Poisoned(crate::ShardId, Arc<str>),
    /// The shard failed earlier and answers nothing until the next start. The commit thread was given nothing.
    #[error("{0} is out of service until the next start: {1}")]
    OutOfService(crate::ShardId, Arc<str>),
    /// Little space is left on the disk: bodies are refused, rows (and so deleting) still work.
    #[error("the disk is nearly full: free some space or lower storage.disk_reserve_bytes")]
    DiskFull,
    /// Too much is under way; try again later.
    #[error("storage is busy")]
    Busy,
    /// The index could not be read.
    #[error("{0}: {1}")]
    Index(crate::ShardId, crate::index::IndexError),
    /// A body could not be read as it was written. It costs this body alone.
    #[error("{shard}: body {body} is damaged ({what}); `ringmail check` lists all damage")]
    Damaged {
        /// Where.
        shard: crate::ShardId,
        /// Which.
        body: u64,
        /// What is wrong.
        what: Arc<str>,
    },
    /// No location row names the body.
    #[error("{0}: body {1} is not there")]
    Gone(crate::ShardId, u64),
}

impl StorageError {
    /// Whether the shard does nothing more until the next start.
    pub fn is_out_of_service(&self) -> bool {
        matches!(
            self,
            StorageError::Poisoned(..) | StorageError::OutOfService(..)
        )
    }
}
