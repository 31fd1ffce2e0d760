//! SASL (RFC 4422) without I/O: server and client sides of the mechanisms that mail needs.
//!
//! Called by the doors (SMTP submission, IMAP) with the bytes that the protocol carried; the protocols themselves know no
//! mechanism. Input of the server side is untrusted. Checking a password is not done here: a finished [`Exchange`] hands
//! out [`Credentials`], and the caller decides.
//!
//! RFC 4616 (PLAIN), draft-murchison-sasl-login (LOGIN), RFC 4954 4 (strict base64, 12288 octets).
//!
//! Not here: accounts, hashes, rate limits, the framing of challenges in SMTP or IMAP.
//!
//! ```
//! use ringmail_sasl::{Exchange, Mechanism, Step};
//!
//! let mut exchange = Exchange::new(Mechanism::Plain);
//! match exchange.step(Some(b"\0tim\0tanstaaftanstaaf")).unwrap() {
//!     Step::Credentials(credentials) => assert_eq!(credentials.authcid, "tim"),
//!     Step::Challenge(_) => unreachable!(),
//! }
//! ```

pub mod base64;
pub mod client;
mod login;
mod mechanism;
mod plain;
mod secret;
mod server;

pub use mechanism::Mechanism;
pub use secret::{Credentials, Secret};
pub use server::{Exchange, SaslError, Step};

/// Longest authzid, authcid or password accepted, in octets. RFC 4616 2: at least 255 each must be accepted.
pub const FIELD_MAX: usize = 1024;
