//! What a session is told about its connection, and the states it can be in.

use crate::limits::{LINE_MAX, LITERAL_MAX, LITERALS_MAX, LITERALS_TOTAL_MAX, SWALLOW_MAX};

/// What a session must know about its connection and about what the server announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Whether STARTTLS is for this connection.
    pub starttls: StartTls,
    /// Which capability of RFC 7888 is announced.
    pub non_synchronizing: NonSynchronizing,
    /// [`State::Authenticated`] after a PREAUTH greeting, else [`State::NotAuthenticated`].
    pub state: State,
    /// Longest line of a command without its literals, in octets.
    pub line_max: u32,
    /// Largest literal that stands for a string, in octets.
    pub literal_max: u32,
    /// All string literals of one command together, in octets; strangers get
    /// [`LITERALS_BEFORE_LOGIN_MAX`](crate::limits::LITERALS_BEFORE_LOGIN_MAX) if that is less.
    pub literals_total_max: u32,
    /// Number of string literals in one command.
    pub literals_max: u32,
    /// Octets of refused non-synchronizing literals, or of a line of AUTHENTICATE that is too long, that are read and thrown away, per
    /// command; for more there is BYE.
    pub discard_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            starttls: StartTls::NotOffered,
            non_synchronizing: NonSynchronizing::Plus,
            state: State::NotAuthenticated,
            line_max: LINE_MAX as u32,
            literal_max: LITERAL_MAX,
            literals_total_max: LITERALS_TOTAL_MAX,
            literals_max: LITERALS_MAX,
            discard_max: SWALLOW_MAX,
        }
    }
}

/// Whether STARTTLS can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTls {
    /// The connection is not encrypted and TLS is configured.
    Offered,
    /// It is encrypted already, or there is no TLS: STARTTLS is BAD.
    NotOffered,
}

/// RFC 7888: which non-synchronizing literals are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonSynchronizing {
    /// LITERAL+: of any size.
    Plus,
    /// LITERAL-: up to 4096 octets.
    Minus,
}

/// States of a connection, RFC 9051 3. Logout is not one of them: see [`Session::close`](super::Session::close).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody has logged in.
    NotAuthenticated,
    /// Logged in, no mailbox selected.
    Authenticated,
    /// A mailbox is selected.
    Selected {
        /// By EXAMINE, or because it cannot be written.
        read_only: bool,
    },
}

/// What a session waits for, so that its owner can choose a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// A new command; nothing of it has come yet.
    Command,
    /// The rest of a command, a literal or a line of AUTHENTICATE.
    Rest,
    /// The octets of a message.
    Message,
    /// DONE.
    Done,
    /// The owner: an answer or a decision. Nothing is read.
    Owner,
    /// Nothing any more.
    Closed,
}
