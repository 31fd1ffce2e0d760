//! TLS reports (RFC 8460) without I/O: where a domain wants them, what is collected for them, and their JSON, written and read.
//!
//! Called by whoever sends mail and reports how TLS went, and by whoever gets such reports. Records and reports are of strangers and
//! untrusted: nothing panics, every cost is bounded (`limits.rs`). Time is an argument.
//! RFC 8460, RFC 3339 (times), RFC 6068 (mailto).
//! Not here: DNS, the message around a report and its signature, packing, where results are kept, when reports are sent.
//!
//! ```
//! use ringmail_tls_rpt::{
//!     Day, Destination, FailureDetail, Policy, PolicyResult, Record, Report, ResultType, Tally,
//! };
//!
//! let mut tally = Tally::new("example.com", Day::of(1_767_225_600));
//! let policy = Policy::none("example.com");
//! tally.add(PolicyResult::success(policy.clone()))?;
//! let detail = FailureDetail::new(ResultType::StarttlsNotSupported);
//! tally.add(PolicyResult::failure(policy, vec![detail]))?;
//! let report = tally.into_report("Example Inc.", "postmaster@example.net");
//! assert_eq!(report.report_id, "20260101.example.com@example.net");
//! assert_eq!(Report::parse(&report.to_json())?, report);
//!
//! let record = Record::select(["v=TLSRPTv1;rua=mailto:reports@example.com"])?;
//! assert_eq!(record.destinations, [Destination::Mailto("reports@example.com".into())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod day;
mod json;
pub mod limits;
mod record;
mod report;
mod result_type;
mod tally;
mod text;

pub use day::{Day, NoDay};
pub use json::ReportError;
pub use record::{Destination, Record, RecordError, record_name};
pub use report::{FailureDetail, Policy, PolicyResult, Report};
pub use result_type::{PolicyType, ResultType};
pub use tally::{Full, Tally};
