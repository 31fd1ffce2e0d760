//! SMTP without I/O: addresses, commands, replies, and both sides of a session.
//!
//! Who uses it: the SMTP door, delivery to other servers, tests, fuzzers, the load tester. All of them move bytes; this
//! crate knows no socket, no clock and no policy. Every bound is in [`limits`].
//!
//! RFC 5321 (SMTP), 1870 (SIZE), 2034 (ENHANCEDSTATUSCODES), 2920 (PIPELINING), 3030 (CHUNKING, BINARYMIME),
//! 3207 (STARTTLS), 3339 (times), 3461 (DSN), 3463 (status codes), 3848 (transmission types), 4865 (FUTURERELEASE), 4954 (AUTH),
//! 6152 (8BITMIME), 6531 (SMTPUTF8), 6533 (UTF-8 in ORCPT), 8689 (REQUIRETLS), 9422 (LIMITS).
//!
//! The verbs are the same on both sides: `receive` bytes, look at the event, `decide` (the server) or command (the
//! client), `transmit` bytes. See [`server::Session`] for the loop.

mod address;
pub mod client;
mod command;
mod future_release;
mod grammar;
pub mod limits;
mod notification;
mod parameters;
mod reply;
mod reply_table;
pub mod server;
pub mod timestamp;
pub mod xtext;

pub use address::{
    Address, AddressLiteral, Domain, ForwardPath, Host, Localpart, PathError, ReversePath,
};
pub use command::{Command, CommandError, Grammar, HelloKind, HelloName};
pub use future_release::{FutureRelease, Hold};
pub use notification::{EnvelopeId, Notify, OriginalRecipient, ParameterError, Return};
pub use parameters::{BodyKind, MailParameters, RecipientParameters};
pub use reply::{Code, EnhancedStatus, Reply};
