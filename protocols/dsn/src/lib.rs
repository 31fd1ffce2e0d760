//! Delivery status notifications: when they are due, how they are written, and how all that comes back is read.
//!
//! Writing: [`is_report_due`], [`Report`]. Reading: [`parse`], which knows the standards and, by phrases, bounces without any. Both share
//! [`Bounce`], which says why mail did not arrive and what follows, also of a bare SMTP reply. Input of both is untrusted: a server's text,
//! a message that anybody may have sent. Nothing panics, and every cost is bounded (`limits.rs`). No clock, no randomness, no network.
//! RFC 3461 (envelope), 3463 (status), 3464 (the report), 3834 (automatic replies), 5965 (complaints), 6522 (multipart/report),
//! 6533 (UTF-8).
//! Not here: the queue and its schedule, the list of suppressed addresses, sending, signatures.
//!
//! ```
//! use ringmail_dsn::{BounceClass, Kind, parse};
//! let message = b"From: MAILER-DAEMON@example.net\r\nSubject: failure notice\r\n\r\n\
//!     I wasn't able to deliver your message to the following addresses.\r\n\r\n\
//!     <bob@example.org>:\r\nRemote host said: 550 5.1.1 no such user\r\n";
//! let report = parse(message);
//! assert_eq!(report.kind, Kind::Failed);
//! assert_eq!(report.recipients[0].address, "bob@example.org");
//! assert_eq!(report.recipients[0].bounce.unwrap().class, BounceClass::InvalidMailbox);
//! ```

mod action;
mod class;
mod compose;
mod envelope;
pub mod limits;
mod parse;

pub use action::{Action, UnknownAction};
pub use class::{Bounce, BounceClass, Hardness, Suppression};
pub use compose::{
    BodyKind, ComposeError, Composed, Diagnostic, Original, Outcome, RemoteMta, Report, Wanted, Way,
};
pub use envelope::is_report_due;
pub use parse::{Complaint, Form, Incoming, Kind, ReportedRecipient, Returned, parse};
// What a report needs of the envelope.
pub use smtp::{EnvelopeId, Notify, OriginalRecipient, ParameterError, Return};
