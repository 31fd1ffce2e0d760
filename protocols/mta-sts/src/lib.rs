//! MTA-STS (RFC 8461) without I/O: a domain says, over HTTPS, which hosts receive its mail and that they speak TLS with a valid certificate.
//!
//! Called by whoever sends mail, before it chooses a host, and by who serves a policy of its own. Records and policies are of strangers and
//! untrusted: nothing panics, every cost is bounded (`limits.rs`). [`Entry`] says what to do next, the caller does it; time is an argument.
//! RFC 8461, with errata 6253 and 6285; RFC 8460 4.3.2.2 (words of reports).
//! Not here: DNS, HTTPS, certificates (`protocols/dane` has the verifier), where entries are kept, reports.
//!
//! ```
//! use ringmail_mta_sts::{Decision, Entry, FetchRequest, Record, Response, Step};
//!
//! let (mut entry, now_secs) = (Entry::default(), 1_767_225_600);
//! assert_eq!(entry.begin(now_secs), Step::LookUp);
//! let answer = entry.record(Record::select(["v=STSv1; id=20260101;"]), now_secs);
//! let Step::Fetch(record_id) = answer.step else { unreachable!() };
//! let request = FetchRequest::for_domain("example.com").unwrap();
//! assert_eq!(request.url(), "https://mta-sts.example.com/.well-known/mta-sts.txt");
//! let response = Response {
//!     status: 200,
//!     content_type: Some("text/plain"),
//!     body: b"version: STSv1\r\nmode: enforce\r\nmx: *.example.net\r\nmax_age: 604800\r\n",
//! };
//! let answer = entry.fetch(record_id, response.policy(), now_secs);
//! assert_eq!(answer.step, Step::Apply { refresh: false });
//! let policy = entry.in_force(now_secs).unwrap();
//! assert_eq!(policy.decide("mx1.example.net"), Decision::Allowed);
//! assert_eq!(policy.decide("mx1.example.org"), Decision::Skipped);
//! ```

mod cache;
mod error;
mod fetch;
#[cfg(test)]
mod fuzz_tests;
pub mod limits;
mod name;
mod policy;
mod record;

pub use cache::{Answer, Entry, Failed, Fetched, Step};
pub use error::Problem;
pub use fetch::{FetchError, FetchRequest, Response, record_name};
pub use name::MxPattern;
pub use policy::{CertificateRule, Decision, MX_MISMATCH, Mode, Policy, PolicyError, policy_lines};
pub use record::{Record, RecordError, RecordId};
