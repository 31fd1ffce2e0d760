//! What a session is told about its connection, and the states it can be in.

use crate::limits::LINE_MAX;

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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            starttls: StartTls::NotOffered,
            non_synchronizing: NonSynchronizing::Plus,
            state: State::NotAuthenticated,
            line_max: LINE_MAX as u32,
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
