//! Delivery status notifications: what a sender asked for, when a report is due, and why mail did not arrive.
//!
//! [`Bounce`] says why mail did not arrive and what follows, of an SMTP reply or whatever is known. Input is untrusted: parameters of a client,
//! a server's text. Nothing panics, and every cost is bounded (`limits.rs`). No clock, no randomness, no network.
//! RFC 3461 (envelope), 3463 (status), 6533 (UTF-8).
//! Not here: the queue and its schedule, the list of suppressed addresses, sending, signatures.
//!
//! ```
//! use ringmail_dsn::{Bounce, BounceClass};
//! let bounce = Bounce::of_reply(&smtp::Reply::new(550, (5, 1, 1), "no such user"));
//! assert_eq!(bounce.class, BounceClass::InvalidMailbox);
//! ```

mod action;
mod class;
mod encoding;
mod envelope;
pub mod limits;

pub use action::{Action, UnknownAction};
pub use class::{Bounce, BounceClass, Hardness, Suppression};
pub use envelope::{EnvelopeId, Notify, OriginalRecipient, ParameterError, Return, is_report_due};
