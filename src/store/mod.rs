//! An account's mail: mailboxes, messages, flags, changes. Everything here runs on the core that owns the account's shard.
//!
//! Called by the IMAP door for its selected mailboxes, by `calls` for what other cores ask, by commands for check and salvage.
//! Its input is trusted as far as types go: names and flags were parsed below. No protocol text, no DNS, no sockets.
//!
//! Two views. *Pending*: what the rows will be once everything submitted is durable; UIDs, MODSEQs and counts are given out from it, in
//! the order of submission. *Committed*: what is durable; sessions see only this, advanced in the same order as commits answer.
//! A failed commit poisons the shard, so the pending view is never rolled back. Rows are absolute.

mod account;
mod accounts;
mod add;
mod answered;
mod api_keys;
mod body;
mod burials;
mod change;
mod check;
mod clear;
mod client_keys;
mod consistency;
mod copy;
mod expunge;
mod flags;
mod forget;
mod incoming;
mod keys;
mod left_over;
mod load;
mod login_records;
mod mailboxes;
mod numbers;
pub mod rows;
mod salvage;
mod secrets;
mod selected;
mod table;
mod templates;
#[cfg(test)]
pub(crate) mod tests;
mod unreadable;

pub use account::{Account, MailboxInfo};
pub use accounts::{Accounts, ROOM, StoreOptions, remove_prefix};
pub use add::{Added, NewContent, NewMessage, thread_row};
pub use answered::{
    AnsweredRow, RequestHash, answered, forget_answered, note_answered, prune_answered,
};
pub use api_keys::{
    API_KEYS_MAX, ApiKeyRow, api_key, api_key_used, disown_api_key, own_api_key, own_api_keys,
    put_api_key,
};
pub use body::{BodyKey, MessageBody, Structures};
pub use change::Update;
pub use check::{CheckSlice, Notes, Report, check_slice, check_stopped};
pub use client_keys::{
    ClientKeyRow, Fingerprint, add_client_key, client_key, client_key_used, client_keys,
    remove_client_key,
};
pub use copy::Copied;
pub use flags::{FlagAction, FlagsStored, KEYWORDS_MAX, system};
pub use incoming::{
    IncomingRow, first_incoming, incoming_key, mailbox_name, remote_ip, stored_octets,
};
pub use left_over::{Delivered, ENTRY_KEYS, delivered, exist, forget};
pub use login_records::{login_records, prune_logins, record_logins};
pub use mailboxes::{INBOX, SENT_COPY, check_name};
pub use numbers::{MessagePlace, Numbered};
pub use rows::{AccountId, MailboxCounts, MailboxId, ModSeq, SpecialUse, ThreadRow};
pub use salvage::{Missing, Progress, Salvaged, Scope, Unknown, salvage};
pub use secrets::{drop_unused_secrets, secrets};
pub use selected::Selected;
pub use table::Entry;
pub use templates::{TemplateRow, put_template, template, templates};
pub use unreadable::{readable, unreadable_rows};

use shards::lanes::CallError;
use shards::storage::StorageError;

impl StoreError {
    /// Whether what was asked for was not done, and will not have been. Others leave that open: an answer was lost, or a commit failed, and the next
    /// start may find it durable.
    pub fn is_certain(&self) -> bool {
        !matches!(
            self,
            StoreError::Open(_) | StoreError::Storage(StorageError::Poisoned(..))
        )
    }

    /// Of something whose first part is done: that no more is certain.
    pub fn in_part(self) -> StoreError {
        match self.is_certain() {
            true => StoreError::Open(self.to_string()),
            false => self,
        }
    }
}

/// Who asks a core and gets no answer does not know whether it was done, unless the question was never sent.
impl From<CallError> for StoreError {
    fn from(error: CallError) -> StoreError {
        match error {
            CallError::Full => StoreError::Storage(StorageError::Busy),
            error => StoreError::Open(error.to_string()),
        }
    }
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error, Clone)]
pub enum StoreError {
    /// The mailbox does not exist (any more).
    #[error("no such mailbox")]
    NoMailbox,
    /// A mailbox of that name exists.
    #[error("mailbox exists already")]
    MailboxExists,
    /// The mailbox has children, or is INBOX, or may not be changed so.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The name is no good.
    #[error("mailbox name is not valid: {0}")]
    BadName(&'static str),
    /// The account is full.
    #[error("over quota")]
    OverQuota,
    /// A limit of the account or mailbox is reached.
    #[error("{0}")]
    Limit(&'static str),
    /// As many recipients of the account wait as may.
    #[error("the queue has no room for more of this account")]
    QueueFull,
    /// The account was removed.
    #[error("the account was removed")]
    AccountGone,
    /// A row can't be read by this version.
    #[error(
        "row {0} has an unknown format; use the version of ringmail that wrote it, or run `ringmail check`"
    )]
    Row(String),
    /// The message is no longer there.
    #[error("the message is gone")]
    MessageGone,
    /// Whether it was done, or how much of it, is open.
    #[error("{0}")]
    Open(String),
    /// Below the store.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

#[cfg(test)]
mod certainty {
    use shards::ShardId;

    use super::*;

    #[test]
    fn only_what_was_begun_leaves_the_outcome_open() {
        let shard = |error: fn(ShardId, std::sync::Arc<str>) -> StorageError| {
            StoreError::Storage(error(ShardId(1), "full".into()))
        };
        let busy = || StoreError::Storage(StorageError::Busy);
        for certain in [
            busy(),
            shard(StorageError::OutOfService),
            StoreError::QueueFull,
            CallError::Full.into(),
        ] {
            assert!(certain.is_certain(), "{certain}");
            assert!(!certain.in_part().is_certain());
        }
        for open in [
            shard(StorageError::Poisoned),
            CallError::TimedOut.into(),
            CallError::Dropped.into(),
        ] {
            assert!(!open.is_certain(), "{open}");
        }
    }
}
