//! SASL (RFC 4422) without I/O: server and client sides of the mechanisms that mail needs.
//!
//! Called by the doors (SMTP submission, IMAP) with the bytes that the protocol carried; the protocols themselves know no
//! mechanism. Input of both sides is untrusted. What is stored of passwords is not known here: an [`Exchange`] asks a
//! [`Question`], the caller looks up and gives its [`Verdict`]; the cryptography of both is here.
//!
//! RFC 5802, 7677 (SCRAM), RFC 5929, 9266 (channel binding), RFC 2195 (CRAM-MD5), RFC 4616 (PLAIN), draft-murchison-sasl-login
//! (LOGIN), RFC 4422 A (EXTERNAL), RFC 7628 (OAUTHBEARER) and XOAUTH2, RFC 8265 (names and passwords), RFC 4954 4 (strict base64,
//! 12288 octets).
//!
//! Not here: accounts, rate limits, argon2, the framing of challenges in SMTP or IMAP, a clock, randomness.
//!
//! ```
//! use ringmail_sasl::{Context, Exchange, Mechanism, Question, Step, Verdict};
//!
//! let mut exchange = Exchange::new(Mechanism::Plain, Context::default());
//! let Step::Ask(Question::Password(credentials)) = exchange.step(Some(b"\0tim\0tanstaaftanstaaf")).unwrap() else {
//!     unreachable!()
//! };
//! assert_eq!(credentials.authcid, "tim");
//! assert_eq!(exchange.resume(Verdict::Accepted), Ok(Step::Success));
//! ```

pub mod base64;
mod binding;
pub mod client;
mod cram;
mod end_point;
mod error;
mod external;
#[cfg(test)]
mod fuzz_tests;
mod gs2;
mod login;
mod mechanism;
mod oauth;
mod plain;
mod precis;
mod question;
mod scram;
mod secret;
mod server;

pub use binding::{
    ChannelBindings, EXPORTER_LABEL, EXPORTER_LENGTH, TLS_EXPORTER, TLS_SERVER_END_POINT,
};
pub use cram::{CramDigest, CramState};
pub use end_point::server_end_point;
pub use error::{Failure, SaslError};
pub use mechanism::Mechanism;
pub use oauth::{BearerToken, TokenError};
pub use precis::{PasswordError, prepare_name, prepare_password};
pub use question::{Question, Verdict};
pub use scram::{ClientKeys, ScramHash, ScramKeys, ScramProof, ServerSignature};
pub use secret::{Credentials, Secret};
pub use server::{Context, Exchange, Step};

/// Longest authzid, authcid, password or nonce accepted, in octets. RFC 4616 2: at least 255 each must be accepted.
pub const FIELD_MAX: usize = 1024;
