//! Bounds of this crate, with the reason for each number. Of a report by others, what lies beyond a number of items is left out, and texts are
//! cut; a report beyond the size is refused.

/// Octets of a record that are read; those in use are below 300.
pub const RECORD_SIZE_MAX: usize = 4096;
/// Destinations of one record that count. Those in use have one or two.
pub const DESTINATIONS_MAX: usize = 10;
/// Octets of a destination. RFC 5321 4.5.3.1.3 allows 256 for a path; URLs are as long as somebody likes.
pub const DESTINATION_SIZE_MAX: usize = 1024;
/// Octets of a report, unpacked. RFC 8460 5.2 speaks of receivers' limits of ten megabytes.
pub const REPORT_SIZE_MAX: usize = 15 * 1024 * 1024;
/// Policies of one report that are read. Large senders put one or two into a report.
pub const POLICIES_MAX: usize = 100;
/// Failure details of one policy that are read. They differ by addresses and hosts.
pub const DETAILS_MAX: usize = 1000;
/// Lines of a policy, or its records.
pub const POLICY_LINES_MAX: usize = 128;
/// Octets of such a line: a TLSA record may hold a certificate in full, as hexadecimal text.
pub const POLICY_LINE_SIZE_MAX: usize = 8192;
/// Octets of any other text that is read. Names, ids and reasons are far shorter.
pub const TEXT_MAX: usize = 1024;
/// Policies of one domain and day that are collected. Each change of a policy and each host with records of its own is one more.
pub const COLLECTED_POLICIES_MAX: usize = 20;
/// Failure details of one policy that are collected; what is more is told apart by its type alone. A hostile domain can make each different.
pub const COLLECTED_DETAILS_MAX: usize = 200;
/// Octets of a text that is collected. RFC 1035 2.3.4 allows 255 for a name.
pub const COLLECTED_TEXT_MAX: usize = 256;
