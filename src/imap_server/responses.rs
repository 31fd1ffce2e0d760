//! Errors of the store as responses, and the outcome of a command. What the client reads never names paths or internals.
//! RFC 9051 7.1 (codes), RFC 5530.

use std::borrow::Cow;
use std::time::Instant;

use imap::response::{Code, Condition, refusal, tagged};
use imap::types::{ModSeq, NumberSet, Tag, UidValidity};
use shards::storage::StorageError;

use super::talk::End;
use crate::percore::PerCore;
use crate::settings::AccountName;
use crate::store::{Account, StoreError};

/// What a command came to.
#[derive(Debug)]
pub(super) struct Done {
    pub code: DoneCode,
    pub text: &'static str,
}

/// Response codes of an OK.
#[derive(Debug)]
pub(super) enum DoneCode {
    None,
    ReadOnly,
    ReadWrite,
    AppendUid(UidValidity, NumberSet),
    CopyUid(UidValidity, NumberSet, NumberSet),
    Modified(NumberSet),
    HighestModSeq(ModSeq),
}

/// A command that did not do what it was asked.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Say so.
    Refused(Refusal),
    /// The connection is over.
    End(End),
}

/// NO or BAD.
#[derive(Debug)]
pub(super) struct Refusal {
    pub condition: Condition,
    pub code: Option<Code<'static>>,
    pub text: Cow<'static, str>,
}

impl Done {
    /// OK.
    pub fn ok(text: &'static str) -> Done {
        Done {
            code: DoneCode::None,
            text,
        }
    }

    /// OK with a code.
    pub fn with(code: DoneCode, text: &'static str) -> Done {
        Done { code, text }
    }

    /// Writes the tagged OK.
    pub fn write_to(&self, out: &mut Vec<u8>, tag: &Tag) {
        let code = match &self.code {
            DoneCode::None => None,
            DoneCode::ReadOnly => Some(Code::ReadOnly),
            DoneCode::ReadWrite => Some(Code::ReadWrite),
            DoneCode::AppendUid(validity, uids) => Some(Code::AppendUid(*validity, uids)),
            DoneCode::CopyUid(validity, from, to) => Some(Code::CopyUid(*validity, from, to)),
            DoneCode::Modified(set) => Some(Code::Modified(set)),
            DoneCode::HighestModSeq(mod_seq) => Some(Code::HighestModSeq(*mod_seq)),
        };
        tagged(out, tag, Condition::Ok, code.as_ref(), self.text);
    }
}

impl Refusal {
    /// NO.
    pub fn no(code: Option<Code<'static>>, text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            condition: Condition::No,
            code,
            text: text.into(),
        }
    }

    /// BAD.
    pub fn bad(text: &'static str) -> Refusal {
        Refusal {
            condition: Condition::Bad,
            code: None,
            text: Cow::Borrowed(text),
        }
    }

    /// Writes the tagged response. `connection` helps the operator to find the lines of the log that belong to it.
    pub fn write_to(&self, out: &mut Vec<u8>, tag: &Tag, connection: &str) {
        let code = self.code.as_ref();
        refusal(out, Some(tag), self.condition, code, &self.text, connection);
    }

    /// Whether the server is at fault, not the client.
    pub fn is_ours(&self) -> bool {
        matches!(
            self.code,
            Some(Code::Unavailable | Code::ServerBug | Code::Corruption | Code::ContactAdmin)
        )
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Trouble::Refused(refusal)
    }
}

impl From<End> for Trouble {
    fn from(end: End) -> Self {
        Trouble::End(end)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        let (code, text): (Option<Code<'static>>, Cow<'static, str>) = match error {
            StoreError::AccountGone => return Trouble::End(account_gone()),
            StoreError::NoMailbox => (Some(Code::NonExistent), "no such mailbox".into()),
            StoreError::MailboxExists => {
                (Some(Code::AlreadyExists), "mailbox exists already".into())
            }
            StoreError::NotAllowed(text) => (Some(Code::Cannot), text.into()),
            StoreError::BadName(text) => (
                Some(Code::Cannot),
                format!("mailbox name is not valid: {text}").into(),
            ),
            StoreError::OverQuota => (Some(Code::OverQuota), "over quota".into()),
            StoreError::Limit(text) => (Some(Code::Limit), text.into()),
            StoreError::QueueFull => (Some(Code::Limit), "the queue is full".into()),
            StoreError::MessageGone | StoreError::Storage(StorageError::Gone(..)) => {
                (Some(Code::ExpungeIssued), "some messages are gone".into())
            }
            StoreError::Row(row) => {
                tracing::error!(row, "a row has an unknown format");
                (
                    Some(Code::ContactAdmin),
                    "stored data can not be read by this version".into(),
                )
            }
            StoreError::Open(text) => (Some(Code::Unavailable), text.into()),
            StoreError::Storage(error) => storage(&error),
        };
        Trouble::Refused(Refusal::no(code, text))
    }
}

/// What is below the store: the log has the details, the client learns what it may do.
fn storage(error: &StorageError) -> (Option<Code<'static>>, Cow<'static, str>) {
    match error {
        StorageError::DiskFull => (
            Some(Code::OverQuota),
            "the server has too little space on its disk; deleting still works".into(),
        ),
        StorageError::Busy => (Some(Code::Unavailable), "server busy, try again".into()),
        StorageError::Damaged { .. } => {
            tracing::error!(%error, "a message is damaged");
            (Some(Code::Corruption), "the message is damaged".into())
        }
        StorageError::Gone(..) => (Some(Code::ExpungeIssued), "the message is gone".into()),
        StorageError::Poisoned(..) | StorageError::OutOfService(..) | StorageError::Index(..) => {
            tracing::debug!(%error, "storage does not answer");
            (
                Some(Code::Unavailable),
                "mail storage is out of service, try again later".into(),
            )
        }
    }
}

/// The account was removed while in use.
pub(super) fn account_gone() -> End {
    End::bye("the account was removed")
}

/// Who is logged in.
#[derive(Clone, Copy)]
pub(super) struct LoggedIn {
    pub account: AccountName,
    /// Before that the password was looked at.
    pub checked: Instant,
}

/// Why a session must end, if it must.
pub(super) fn ended(core: &PerCore, account: &Account, who: LoggedIn) -> Option<End> {
    if account.is_gone() {
        return Some(account_gone());
    }
    let text = core.session_end(who.account, who.checked)?;
    Some(End::bye(text))
}
