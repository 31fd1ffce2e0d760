//! STORE, RFC 9051 6.4.6 and RFC 7162 3.1.3.

use super::{Flags, ModSeq, Numbering, SequenceSet};

/// What STORE does with the flags it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreAction {
    /// `FLAGS`: these and no others.
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// A STORE or UID STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// What the numbers are.
    pub numbering: Numbering,
    /// The messages.
    pub set: SequenceSet,
    /// Replace, add or remove.
    pub action: StoreAction,
    /// `.SILENT`: the client wants no FETCH with the new flags.
    pub silent: bool,
    /// RFC 7162: leave messages alone that changed after this.
    pub unchanged_since: Option<ModSeq>,
    /// The flags.
    pub flags: Flags,
}
