//! What a client asks, as types. RFC 9051 6; the grammar that reads them is in `grammar/`.
//! Not here: whether a command is allowed now (`server/`), and the octets of messages, which are never part of a command.

use std::fmt;

use crate::types::{
    Fetch, ListCommand, ListPattern, MailboxName, ModSeq, Numbering, Search, SequenceSet,
    SpecialUse, StatusItem, Store, Tag, UidValidity,
};

/// A command that is complete once parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// ID: what the client says of itself (RFC 2971); `None` values are NIL. Empty for `ID NIL` and `ID ()`.
    Id(Vec<(String, Option<String>)>),
    /// LOGIN
    Login {
        /// User name.
        user: String,
        /// Password.
        password: Password,
    },
    /// ENABLE: the capabilities in the client's spelling (RFC 5161).
    Enable(Vec<String>),
    /// SELECT or EXAMINE
    Select(Select),
    /// CREATE, with the special uses of RFC 6154 3.
    Create {
        /// Name; delimiters at its end are still there, see [`MailboxName::without_trailing`].
        mailbox: MailboxName,
        /// USE (..)
        special_use: Vec<SpecialUse>,
    },
    /// DELETE
    Delete(MailboxName),
    /// RENAME
    Rename {
        /// Old name.
        mailbox: MailboxName,
        /// New name.
        new_name: MailboxName,
    },
    /// SUBSCRIBE
    Subscribe(MailboxName),
    /// UNSUBSCRIBE
    Unsubscribe(MailboxName),
    /// LIST
    List(ListCommand),
    /// LSUB, RFC 3501 6.3.9
    Lsub {
        /// Reference name, decoded.
        reference: String,
        /// Pattern.
        pattern: ListPattern,
    },
    /// NAMESPACE
    Namespace,
    /// STATUS
    Status {
        /// Which mailbox.
        mailbox: MailboxName,
        /// What of it, each once.
        items: Vec<StatusItem>,
    },
    /// CHECK, RFC 3501 6.4.1
    Check,
    /// CLOSE
    Close,
    /// UNSELECT
    Unselect,
    /// EXPUNGE; with a set UID EXPUNGE (RFC 4315 2.1).
    Expunge(Option<SequenceSet>),
    /// SEARCH, UID SEARCH
    Search(Search),
    /// FETCH, UID FETCH
    Fetch(Fetch),
    /// STORE, UID STORE
    Store(Store),
    /// COPY, UID COPY
    Copy(Transfer),
    /// MOVE, UID MOVE (RFC 6851)
    Move(Transfer),
}

/// SELECT or EXAMINE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// Which mailbox.
    pub mailbox: MailboxName,
    /// EXAMINE: nothing may change.
    pub read_only: bool,
    /// (CONDSTORE), RFC 7162 3.1.8
    pub condstore: bool,
    /// (QRESYNC (..)), RFC 7162 3.2.5
    pub qresync: Option<Qresync>,
}

/// What a client that resynchronises knows already, RFC 7162 3.2.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qresync {
    /// The mailbox's UIDVALIDITY as the client knows it.
    pub uid_validity: UidValidity,
    /// Highest mod-sequence the client has seen.
    pub mod_seq: ModSeq,
    /// The UIDs it knows; never with `*`.
    pub known_uids: Option<SequenceSet>,
    /// Some message numbers and their UIDs, each never with `*`.
    pub sequence_match: Option<(SequenceSet, SequenceSet)>,
}

/// COPY or MOVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What the numbers are.
    pub numbering: Numbering,
    /// The messages.
    pub set: SequenceSet,
    /// Where to.
    pub mailbox: MailboxName,
}

/// A password. Its `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The password itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A parsed command line: a [`Command`], or one that changes how the following octets are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Nothing more to read.
    Command(Command),
    /// STARTTLS: TLS follows.
    StartTls,
    /// AUTHENTICATE: lines of base64 may follow.
    Authenticate {
        /// Mechanism, upper case.
        mechanism: String,
        /// RFC 4959: initial response. `=` is an empty one.
        initial_response: Option<InitialResponse>,
    },
    /// IDLE: a line DONE follows.
    Idle,
}

/// Initial response of AUTHENTICATE. Its `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub enum InitialResponse {
    /// Octets for the mechanism.
    Octets(Vec<u8>),
    /// What follows the mechanism is no base64.
    BadBase64,
}

impl fmt::Debug for InitialResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Octets(_) => "Octets(..)",
            Self::BadBase64 => "BadBase64",
        })
    }
}

/// States in which a command may be given, RFC 9051 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AllowedIn {
    /// Any state.
    Any,
    /// Not authenticated only.
    NotAuthenticated,
    /// Authenticated or selected.
    Authenticated,
    /// Selected only.
    Selected,
}

impl Command {
    /// The command's name, for logs and metrics; UID forms by their plain name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Capability => "CAPABILITY",
            Self::Noop => "NOOP",
            Self::Logout => "LOGOUT",
            Self::Id(_) => "ID",
            Self::Login { .. } => "LOGIN",
            Self::Enable(_) => "ENABLE",
            Self::Select(Select {
                read_only: false, ..
            }) => "SELECT",
            Self::Select(_) => "EXAMINE",
            Self::Create { .. } => "CREATE",
            Self::Delete(_) => "DELETE",
            Self::Rename { .. } => "RENAME",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
            Self::List(_) => "LIST",
            Self::Lsub { .. } => "LSUB",
            Self::Namespace => "NAMESPACE",
            Self::Status { .. } => "STATUS",
            Self::Check => "CHECK",
            Self::Close => "CLOSE",
            Self::Unselect => "UNSELECT",
            Self::Expunge(_) => "EXPUNGE",
            Self::Search(_) => "SEARCH",
            Self::Fetch(_) => "FETCH",
            Self::Store(_) => "STORE",
            Self::Copy(_) => "COPY",
            Self::Move(_) => "MOVE",
        }
    }

    /// Where the command may be given.
    pub const fn allowed_in(&self) -> AllowedIn {
        match self {
            Self::Capability | Self::Noop | Self::Logout | Self::Id(_) => AllowedIn::Any,
            Self::Login { .. } => AllowedIn::NotAuthenticated,
            Self::Check
            | Self::Close
            | Self::Unselect
            | Self::Expunge(_)
            | Self::Search(_)
            | Self::Fetch(_)
            | Self::Store(_)
            | Self::Copy(_)
            | Self::Move(_) => AllowedIn::Selected,
            _ => AllowedIn::Authenticated,
        }
    }
}

impl Request {
    /// Where the command may be given.
    pub const fn allowed_in(&self) -> AllowedIn {
        match self {
            Self::Command(command) => command.allowed_in(),
            Self::StartTls | Self::Authenticate { .. } => AllowedIn::NotAuthenticated,
            Self::Idle => AllowedIn::Authenticated,
        }
    }
}

/// A command line that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The tag, if at least that was one.
    pub tag: Option<Tag>,
    /// What is wrong.
    pub error: CommandError,
}

/// What is wrong with a command line. All of it is the peer's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No tag.
    #[error("expected a tag")]
    Tag,
    /// No command of ours.
    #[error("unknown command")]
    Unknown,
    /// The grammar wants something else.
    #[error("expected {expected}")]
    Syntax {
        /// What should stand there.
        expected: &'static str,
        /// Where, in octets from the start of the command.
        at: usize,
    },
    /// More of something than `limits.rs` allows.
    #[error("too many or too long: {0}")]
    Limit(&'static str),
    /// RFC 9051 6.4.4: a CHARSET other than US-ASCII and UTF-8; the answer is `NO [BADCHARSET]`.
    #[error("charset not supported")]
    Charset {
        /// RFC 5182 2.1: it was to be saved, so that the saved result is empty now.
        save: bool,
    },
    /// RFC 6154 3: a special use we do not know; the answer is `NO [USEATTR]`.
    #[error("special use not supported")]
    SpecialUse,
}
