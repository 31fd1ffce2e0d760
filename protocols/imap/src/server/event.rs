//! What a session asks its owner to do.

use std::fmt;
use std::ops::Range;

use crate::command::{Command, InitialResponse};
use crate::types::{AppendMessage, MailboxName, Tag};

/// Something to do, to decide or to answer. Where an event says so, the session reads nothing more until it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Carry out the command, write its tagged response, call [`answered`](super::Session::answered).
    Command {
        /// Tag to answer with.
        tag: Tag,
        /// The command; it is allowed in this state.
        command: Command,
    },
    /// STARTTLS. When `receive` left octets unread, they came before TLS and must be refused, not kept (RFC 9051 6.2.1).
    /// Write the tagged response, then call [`tls_started`](super::Session::tls_started) or `answered`.
    StartTls {
        /// Tag to answer with.
        tag: Tag,
    },
    /// AUTHENTICATE. Call [`challenge`](super::Session::challenge), or write the tagged response and call `answered`
    /// (after [`authenticated`](super::Session::authenticated) if so).
    Authenticate {
        /// Tag to answer with, at the end.
        tag: Tag,
        /// Mechanism, upper case.
        mechanism: String,
        /// RFC 4959 initial response; never [`AuthenticateResponse::Cancelled`].
        initial_response: Option<AuthenticateResponse>,
    },
    /// The answer to a challenge. To be followed up like [`Event::Authenticate`].
    AuthenticateResponse(AuthenticateResponse),
    /// IDLE has begun: the session has written `+ idling`. The owner may write untagged responses at any time until
    /// `IdleDone` or `IdleBroken`.
    Idle {
        /// Tag to answer with once it is done.
        tag: Tag,
    },
    /// The client wrote DONE: write the tagged OK, call `answered`.
    IdleDone,
    /// The client wrote something else, and has got its BAD: stop pushing. Nothing to answer.
    IdleBroken,
    /// An APPEND begins; [`Event::AppendMessage`] follows at once.
    AppendBegin {
        /// Tag to answer with at `AppendEnd`.
        tag: Tag,
        /// Where to.
        mailbox: MailboxName,
    },
    /// The next message of the APPEND is announced. Call [`accept_message`](super::Session::accept_message) or
    /// [`refuse_message`](super::Session::refuse_message).
    AppendMessage(AppendMessage),
    /// The next octets of the message: this range of the input last given to `receive`.
    AppendData(Range<usize>),
    /// The message has all its octets.
    AppendMessageEnd,
    /// That was all of the APPEND: write the tagged response, call `answered`.
    AppendEnd,
    /// The APPEND is malformed or was cancelled, and has got its tagged response: forget its messages. Nothing to answer.
    AppendAbort,
    /// A SEARCH whose result was to be saved has got its NO: the saved result is empty (RFC 5182 2.1). Nothing to answer.
    SavedResultLost,
    /// The session has said BYE: write what `transmit` gives and close the connection.
    Close,
}

/// What came back on a challenge, RFC 9051 6.2.2.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthenticateResponse {
    /// Octets for the mechanism.
    Octets(Vec<u8>),
    /// `*`: the client gives up. The answer is a tagged BAD.
    Cancelled,
    /// A line that is no base64. The answer is a tagged BAD.
    BadBase64,
    /// A line over the limit; its rest is passed over. The answer is a tagged BAD.
    TooLong,
}

impl From<InitialResponse> for AuthenticateResponse {
    fn from(initial: InitialResponse) -> Self {
        match initial {
            InitialResponse::Octets(octets) => Self::Octets(octets),
            InitialResponse::BadBase64 => Self::BadBase64,
        }
    }
}

impl fmt::Debug for AuthenticateResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Octets(_) => "Octets(..)",
            Self::Cancelled => "Cancelled",
            Self::BadBase64 => "BadBase64",
            Self::TooLong => "TooLong",
        })
    }
}
