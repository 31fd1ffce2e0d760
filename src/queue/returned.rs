//! What comes back about mail that went out: reports of other servers and complaints of readers. The shard of the account whose message it is
//! finds the recipient it speaks of. Called by whoever receives mail (`Call::Returned`). Not here: how a message that came in is read.

use dsn::BounceClass;

/// What a message that came in says of one recipient of a message that went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// How it names its message, best first. The first that finds one counts.
    pub clues: Vec<Clue>,
    /// The recipient it speaks of, and the one the sender had named (RFC 3461 4.2), as addresses.
    pub recipients: Vec<String>,
    /// What it says.
    pub kind: ReturnedKind,
    /// The code of the server's reply; 0: it is not known.
    pub code: u16,
    /// RFC 3463.
    pub enhanced: Option<(u8, u16, u16)>,
    /// The words of the server.
    pub text: String,
    /// Of a failure or a delay: why.
    pub class: Option<BounceClass>,
    /// The host that reports; empty: it does not say.
    pub reporting_mta: String,
    /// SHA-256 of the message that came in, the first 16 octets.
    pub digest: [u8; 16],
    /// The position of the recipient in it. What has the same digest and position is taken once.
    pub index: u32,
    /// When it came, seconds since 1970.
    pub at: i64,
}

/// How what came back names the message it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clue {
    /// The number of the recipient, which only who has seen the message can know: it came to an address that holds it.
    Number(u64),
    /// The address that it came to, as a whole: a reverse-path to which the client itself gave an id.
    OwnId(String),
    /// RFC 3461 4.4, decoded.
    Envid(String),
    /// With its angle brackets.
    MessageId(String),
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReturnedKind {
    /// It was not delivered.
    Failed,
    /// It is late.
    Delayed,
    /// It is in its mailbox.
    Delivered,
    /// A server has it that knows of no reports.
    Relayed,
    /// It went to the members of a list or an alias.
    Expanded,
    /// The recipient, or their provider, calls it spam. RFC 5965.
    Complaint,
    /// It came to the address of a message that went out, and is no report that can be read.
    Unrecognized,
}

/// What was found for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenReturned {
    /// The recipient with this number: it is kept there.
    Found {
        /// The recipient's number.
        id: u64,
    },
    /// The message is on its way out, or its end is not told yet: it is kept until then, for an hour.
    Waiting,
    /// No message that is kept.
    Nothing,
}

/// How many may come with one call: a report of more recipients takes several.
pub const RETURNED_MAX: usize = 100;
