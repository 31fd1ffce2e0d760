//! States of a server session. Each variant holds what that state has and nothing else.

use super::body::Decoder;
use crate::command::HelloKind;
use crate::parameters::BodyKind;
use crate::reply::Reply;

/// What the session does with the next octet.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    /// The banner is not sent: nothing is read.
    Banner,
    /// A command line comes.
    Command(Stage),
    /// The caller has to decide: nothing is read.
    Asked(Question),
    /// A response to a challenge comes.
    AuthResponse,
    /// Message data after 354.
    Data(HelloKind, Decoder),
    /// Octets of a BDAT chunk.
    Chunk(Chunk),
    /// 220 to STARTTLS is sent: what comes is not for us.
    Handshake,
    /// All is said: input is dropped.
    Closed,
}

/// How far the dialogue has come. RFC 5321 4.1.4.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// No greeting of the client yet.
    Start,
    /// Greeted, no transaction.
    Ready(HelloKind),
    /// MAIL was accepted.
    Transaction(Transaction),
}

/// A mail transaction before its data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transaction {
    pub hello: HelloKind,
    pub null_reverse_path: bool,
    pub body: Option<BodyKind>,
    pub smtputf8: bool,
    pub recipients: u32,
    /// Set from the first BDAT on.
    pub chunks: Option<Decoder>,
}

/// What was asked, and where the answer leads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    Hello { kind: HelloKind, before: Stage },
    StartTls { before: Stage },
    Auth,
    Mail(Transaction),
    Recipient(Transaction),
    DataStart(Transaction),
    EndOfMessage { hello: HelloKind, decoder: Decoder },
}

/// A chunk that is being received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub remaining: u64,
    pub last: bool,
    pub fate: Fate,
}

/// What becomes of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// Its octets belong to the message.
    Deliver(Transaction, Decoder),
    /// Its octets are dropped, then this is said (RFC 3030 2).
    Refuse(Stage, fn() -> Reply),
}
