//! The client's side of SMTP, without I/O.
//!
//! `session.rs` is the door to use; `replies.rs` reads replies; `extensions.rs` what the server offers; `stuffing.rs`
//! writes message data. Used by the load tester, by outbound, by tests.

mod extensions;
mod replies;
mod session;
mod stuffing;

pub use extensions::Extensions;
pub use replies::ReplyError;
pub use session::{ClientError, Envelope, Event, Session, Transfer};
pub use stuffing::BareCrOrLf;

#[cfg(test)]
mod tests;
