//! Durable storage of one shard: batches go in, are grouped, synced and answered in order; rows and bodies are read back.
//!
//! The owner core holds a [`Shard`]; a commit thread of its own ([`commit`]) does everything that blocks. docs/STORAGE.md lists each
//! step of a group, of compaction and of opening, and what a crash there leaves. Nothing here knows what rows or bodies mean.

mod batch;
mod check;
mod commit;
mod compaction;
mod directory;
mod external;
mod format;
mod rebuild;
mod shard;
mod work;

pub use batch::{Batch, Committed, External, NewBody, StorageError};
pub use check::{
    FINDINGS_MAX, Finding, Findings, SLICE_BODIES, check_index, check_locked, check_slice,
    check_stopped, check_stopped_with,
};
pub use directory::{
    DirectoryError, Lock, Opened, StorageOptions, open, scan_places, scan_shard, shard_path,
};
pub use external::{CHUNK, ExternalWriter, read_external_file};
pub use format::{
    Format, is_data_directory, make_missing, missing_shards, read_format, refuse_misplaced,
    restore_format,
};
pub use rebuild::{IndexBuilder, Rebuilt, put_right};
pub use shard::{BODY_MAX, Body, Permit, ROOM, Shard, ShardStatus, Watch};
