//! What the session tells its caller, and what it asks.

use sasl::Secret;

use super::body::Defect;
use crate::address::{ForwardPath, ReversePath};
use crate::command::{HelloKind, HelloName};
use crate::parameters::{MailParameters, RecipientParameters};

/// One thing that happened. Those marked *decide* stop the session until [`super::Session::decide`] or
/// [`super::Session::accept`]; the others need no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// *decide*: EHLO or HELO. 250 ends a transaction that was open, as RSET does (RFC 5321 4.1.4).
    Hello {
        /// Which of the two.
        kind: HelloKind,
        /// Its argument.
        name: HelloName,
    },
    /// *decide*: AUTH. 334 asks on, 235 authenticates, anything else ends the exchange.
    Auth {
        /// One of the configured names, in their spelling.
        mechanism: &'static str,
        /// Decoded initial response; empty if the client sent `=`.
        initial: Option<Secret>,
    },
    /// *decide*: the client's answer to a 334, decoded. As for `Auth`.
    AuthResponse(Secret),
    /// The exchange is over without a decision; the session has answered. Drop what belongs to it.
    AuthAborted(AuthAbort),
    /// AUTH with an initial response that is none: no base64, or too long. Answered already.
    AuthMalformed {
        /// As it is offered.
        mechanism: &'static str,
    },
    /// *decide*: STARTTLS. After 220: transmit, do the handshake with the socket alone, then
    /// [`super::Session::tls_started`].
    StartTls,
    /// *decide*: MAIL. 2yz opens the transaction.
    Mail {
        /// Where notifications go.
        reverse_path: ReversePath,
        /// Size, body kind, SMTPUTF8, and what is asked for about reports, times and TLS. A time of HOLDUNTIL may have passed.
        parameters: MailParameters,
    },
    /// *decide*: RCPT. 2yz adds the recipient.
    Recipient {
        /// Who.
        forward_path: ForwardPath,
        /// What its sender wants to hear of it.
        parameters: RecipientParameters,
    },
    /// *decide*: DATA with at least one recipient. 354 lets the message come, anything else ends the transaction.
    /// BDAT has no such event: its `Body` comes at once.
    DataStart,
    /// A piece of the message, dots unstuffed, never empty. Nothing comes after a defect.
    Body(&'i [u8]),
    /// *decide*: the message is complete. Any answer ends the transaction; 2yz takes responsibility. A message with a
    /// defect cannot be accepted: the session then answers with the defect's own reply.
    EndOfMessage {
        /// Octets of the message, as delivered by `Body` (without a defect).
        octets: u64,
        /// Why it must be refused, if so.
        defect: Option<Defect>,
    },
    /// The transaction is gone (RSET, or a chunk with a defect); the session has answered.
    Reset,
    /// The session has said its last word: transmit, then close. `is_closed` holds from now on.
    Closed(CloseReason),
}

impl Event<'_> {
    /// Whether the session waits for a decision.
    pub fn needs_decision(&self) -> bool {
        !matches!(
            self,
            Event::AuthAborted(_)
                | Event::AuthMalformed { .. }
                | Event::Body(_)
                | Event::Reset
                | Event::Closed(_)
        )
    }
}

/// Why an authentication exchange ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthAbort {
    /// The client sent `*`.
    Cancelled,
    /// Not base64.
    Malformed,
}

/// Why the session closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// QUIT.
    Quit,
    /// The first line was no SMTP.
    NotSmtp,
    /// A line over the limit.
    LineTooLong,
    /// BDAT with a size nobody understands: the place of the next command is lost.
    ChunkSize,
    /// More bad commands than configured.
    TooManyErrors,
    /// Input where the client had to wait for a reply.
    EarlyInput,
    /// [`super::Session::drain`] was called.
    Draining,
}

/// What the session waits for, so that the caller can choose a timeout (RFC 5321 4.5.3.2). No clock here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// The caller has to greet or to decide: no timeout of the peer.
    Caller,
    /// A command. RFC 5321 4.5.3.2.7: at least 5 minutes.
    Command,
    /// A response to a challenge.
    AuthResponse,
    /// The next block of message data. RFC 5321 4.5.3.2.5: 3 minutes.
    DataBlock,
    /// The TLS handshake.
    Handshake,
    /// Nothing: the session is closed.
    Closed,
}
