//! DANE (RFC 6698, 7671, 7672) without I/O: TLSA records say which certificates a server may show. And the certificate verifier of outgoing
//! mail, which knows DANE, the roots of the client, and mail to whoever it may be.
//!
//! Called by whoever opens TLS connections to servers of mail, and by tools. Records are authentic by DNSSEC, which the caller has checked;
//! what they say is untrusted, as are certificates: nothing panics, every cost is bounded (`limits.rs`). Time is an argument.
//! RFC 6698 (records), 7218 (names), 7671 (rules), 7672 (SMTP), 8460 4.3 (words of reports).
//! Not here: DNS, at which name to look and whether the answers are secure (RFC 7672 2), MTA-STS, STARTTLS, reports.
//!
//! ```
//! use ringmail_dane::{NoneUsable, Record, UsableRecords, Usages};
//!
//! let record: Record = "3 1 1 3FE246A848798236DD2AB78D39F0651D6B6E7CA8E2984012EB0A2E1AC8A87B72".parse()?;
//! assert!(UsableRecords::select(&[record], Usages::Smtp).is_ok());
//! // RFC 7672 3.1.3: not in SMTP.
//! let record: Record = "1 1 1 3FE246A848798236DD2AB78D39F0651D6B6E7CA8E2984012EB0A2E1AC8A87B72".parse()?;
//! assert_eq!(UsableRecords::select(&[record], Usages::Smtp), Err(NoneUsable));
//! # Ok::<(), ringmail_dane::RecordError>(())
//! ```

mod certificate;
pub mod limits;
mod path;
mod record;
pub mod tls;
mod verify;

pub use path::CertificateFailure;
pub use record::{Matching, Record, RecordError, Selector, Usage, record_name};
pub use verify::{
    DaneError, Matched, NoneUsable, UsableRecords, Usages, verify, verify_with_roots,
};
