//! How far a check has come, as octets that the caller hands back; and how much of each kind was told already.

use serde::{Deserialize, Serialize};

use super::super::rows::{AccountId, MailboxCounts, MailboxId};
use super::super::{StoreError, keys};
use super::Seen;

#[derive(Serialize, Deserialize)]
pub(super) struct Position {
    pub stage: Stage,
    /// Accounts that a name leads to, by number.
    pub named: Vec<u8>,
    /// Accounts from this number on were made after the check began.
    pub next_account: u64,
    /// Bodies that are damaged: told of with the message they belong to, once the walk comes there.
    pub damaged: Vec<Damaged>,
    found: [u32; KINDS.len()],
}

#[derive(Serialize, Deserialize)]
pub(super) struct Damaged {
    pub body: u64,
    pub what: String,
    /// A message was found that has it.
    pub named: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Stage {
    /// Stored bodies from this number on.
    Bodies(u64),
    /// Name rows from this key on.
    Names(Vec<u8>),
    Account(Step),
    /// Damaged bodies that no message has.
    Damaged,
    /// Which bodies of a range are named.
    Naming(Naming),
    /// Those that were not, looked for once more.
    Unnamed(Unnamed),
    End,
}

impl Stage {
    pub fn names() -> Stage {
        Stage::Names(keys::account_name(""))
    }
}

/// Where within the accounts.
#[derive(Serialize, Deserialize)]
pub(super) enum Step {
    /// The next account from this number on.
    Start(AccountId),
    /// The next mailbox from this number on.
    Mailbox(AccountId, MailboxId),
    Messages(Messages),
    /// Rows that lead to messages: kind, key.
    Others(AccountId, u8, Vec<u8>),
}

/// Within the messages of a mailbox.
#[derive(Serialize, Deserialize)]
pub(super) struct Messages {
    pub account: AccountId,
    pub mailbox: MailboxId,
    /// The mailbox's row when its count was begun.
    pub row: Vec<u8>,
    pub from: Vec<u8>,
    pub counts: MailboxCounts,
    /// A message could not be read, so that its count means nothing.
    pub unreadable: bool,
    /// How often the count was begun anew, for the mailbox changed under it.
    pub tries: u8,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Naming {
    /// The first body of the range.
    pub base: u64,
    /// Bodies from here on were made after the stage began.
    pub end: u64,
    /// One bit for each body that a row names.
    pub bits: Vec<u8>,
    pub from: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Unnamed {
    pub base: u64,
    pub end: u64,
    pub bodies: Vec<u64>,
    pub from: Vec<u8>,
}

/// Kinds of findings, each told [`TOLD_MAX`] times.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Body,
    Row,
    Name,
    Orphan,
    Mailbox,
    Message,
    Counts,
    Used,
    Link,
    Dangling,
    /// A message with a damaged body.
    Unreadable,
}

const KINDS: [&str; 11] = [
    "damaged bodies",
    "rows that can't be read",
    "names",
    "accounts without a name",
    "mailboxes",
    "messages",
    "counts",
    "sums",
    "rows that lead to messages",
    "bodies without a row",
    "messages with damaged bodies",
];

impl Position {
    pub fn at(stage: Stage) -> Position {
        Position {
            stage,
            named: Vec::new(),
            next_account: u64::MAX,
            damaged: Vec::new(),
            found: [0; KINDS.len()],
        }
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Position, StoreError> {
        if bytes.is_empty() {
            return Ok(Position::at(Stage::Bodies(0)));
        }
        postcard::from_bytes(bytes)
            .map_err(|_| StoreError::NotAllowed("this is no position of a check"))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        // Only a serializer of ours could fail here; empty would begin anew.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    pub fn tell(&mut self, kind: Kind, text: impl FnOnce() -> String, report: &mut Seen) {
        let found = &mut self.found[kind as usize];
        *found += 1;
        if *found <= TOLD_MAX {
            report.findings.push(text());
        }
    }

    /// Keeps a damaged body in mind.
    pub fn damage(&mut self, body: u64, what: String) {
        let found = &mut self.found[Kind::Body as usize];
        *found += 1;
        if *found <= TOLD_MAX {
            let named = false;
            self.damaged.push(Damaged { body, what, named });
        }
    }

    /// At the end: how many more there were.
    pub fn tell_rest(&self, report: &mut Seen) {
        for (name, found) in KINDS.iter().zip(self.found) {
            if found > TOLD_MAX {
                let more = found - TOLD_MAX;
                report
                    .findings
                    .push(format!("{name}: {more} more like those above"));
            }
        }
    }

    pub fn name(&mut self, account: AccountId) {
        let at = (account.0 / 8) as usize;
        if at < NAMED_MAX {
            if self.named.len() <= at {
                self.named.resize(at + 1, 0);
            }
            self.named[at] |= 1 << (account.0 % 8);
        }
    }

    /// Whether a name leads to it, as far as can be told.
    pub fn is_named(&self, account: AccountId) -> bool {
        let at = (account.0 / 8) as usize;
        account.0 >= self.next_account
            || at >= NAMED_MAX
            || self
                .named
                .get(at)
                .is_some_and(|b| b & (1 << (account.0 % 8)) != 0)
    }
}

/// Findings of one kind that are spelled out.
pub(super) const TOLD_MAX: u32 = 20;
/// Octets for the accounts of one shard: 2 million of them.
const NAMED_MAX: usize = 256 << 10;
