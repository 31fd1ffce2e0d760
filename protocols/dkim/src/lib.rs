//! DKIM signatures without I/O: making them ([`prepare`]) and checking them ([`Verifier`]).
//!
//! Signing is for mail of our own users, verification for mail of strangers; there all input is untrusted, nothing panics, and every cost
//! is bounded ([`limits`]). Messages come in chunks and are read once, whatever the number of signatures. What a key needs of a CPU is a
//! step of its own, that may run on another thread; what must be asked of DNS is a question to the caller.
//!
//! RFC 6376 (DKIM), RFC 8301 (no SHA-1, sizes of RSA keys), RFC 8463 (Ed25519), RFC 8616 (internationalized mail), RFC 8601 2.7.1 (results).
//! Lines end with CRLF (`message::normalise_crlf`), and nothing is dot-stuffed.
//!
//! Not here: DNS, the clock, public suffixes, files of keys, DMARC, Authentication-Results, ARC.
//!
//! ```
//! use std::sync::Arc;
//! use ringmail_dkim::{KeyAnswer, KeyRecord, MessageHasher, Name, Occasion, Rules, Selector, SigningKey, Status, Verifier, Check};
//! use ringmail_dkim::{generate, prepare};
//!
//! # fn fill(octets: &mut [u8]) { octets.fill(7) }
//! let key = Arc::new(SigningKey::from_pem(&generate::ed25519_key(&mut fill)).unwrap());
//! let name = |text| Name::parse(text).unwrap();
//! let selectors = [Selector::new(name("example.org"), name("2026a"), key.clone())];
//! let message = b"From: A <a@example.org>\r\nSubject: hello\r\n\r\nHi\r\n";
//!
//! let mut hasher = MessageHasher::new(&selectors);
//! message.chunks(10).for_each(|chunk| hasher.update(chunk));
//! let (header, body) = hasher.finish().unwrap();
//! let occasion = Occasion { now_secs: 1_800_000_000, localpart: Some("a"), ..Occasion::default() };
//! let mut sent = Vec::new();
//! for unsigned in prepare(&selectors, &header, &body, &occasion).unwrap() {
//!     sent.extend(unsigned.sign().unwrap().into_bytes());
//! }
//! sent.extend(message);
//!
//! let mut verifier = Verifier::new(Rules {
//!     received_at_secs: 1_800_000_100,
//!     is_public_suffix: Box::new(|domain| !domain.contains('.')),
//!     service: "email",
//! });
//! sent.chunks(10).for_each(|chunk| verifier.update(chunk));
//! let Some(Check::Open(question)) = verifier.finish().pop() else { unreachable!() };
//! assert_eq!(question.query(), "2026a._domainkey.example.org");
//! let record = KeyRecord::of_key(&key).to_string().into_bytes();
//! assert_eq!(question.evaluate(&KeyAnswer::Records(vec![record])).status, Status::Pass);
//! ```

mod body;
mod canonical;
mod der;
mod domain;
mod field_text;
mod fields;
#[cfg(test)]
mod fuzz_tests;
pub mod generate;
mod header_end;
mod key;
pub mod limits;
mod public_key;
mod reason;
mod record;
mod signature;
mod signed_fields;
mod signing;
mod tag_list;
mod verification;

pub use body::{BodyHash, BodyHasher};
pub use canonical::{Canonicalization, Canonicalizations};
pub use domain::{Name, NameError};
pub use key::{Algorithm, KeyError, SigningFailed, SigningKey};
pub use reason::{Reason, Status};
pub use record::{KeyRecord, RecordError, query_name};
pub use signature::Signature;
pub use signed_fields::{SignedFields, SignedFieldsError};
pub use signing::{BodyHashes, MessageHasher, Occasion, Selector, SignError, Unsigned, prepare};
pub use tag_list::TagListError;
pub use verification::{Check, Evaluation, KeyAnswer, Question, Rules, Verifier};
