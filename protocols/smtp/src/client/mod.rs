//! The client's side of SMTP, without I/O.
//!
//! `session.rs` is the door to use; `replies.rs` reads replies; `extensions.rs` what the server offers; `envelope.rs` the lines of a transaction; `stuffing.rs`
//! writes message data. Used by the load tester, by outbound, by tests.

mod envelope;
mod extensions;
mod replies;
mod session;
mod stuffing;

pub use envelope::{Envelope, Recipient};
pub use extensions::Extensions;
pub use replies::ReplyError;
pub use session::{ClientError, Event, Session, Transfer};
pub use stuffing::BareCrOrLf;

#[cfg(test)]
mod tests;
