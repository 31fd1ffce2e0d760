//! Bounds of this crate, with the reason for each number.

/// Octets of a policy. RFC 8461 3.3 suggests 64 kilobytes; the largest in use are below 4.
pub const POLICY_SIZE_MAX: usize = 64 * 1024;
/// Patterns of one policy. Those in use have fewer than 100.
pub const MX_PATTERNS_MAX: usize = 1000;
/// Longest life of a policy, in seconds: a year and six hours. RFC 8461 3.2.
pub const MAX_AGE_SECS_MAX: u64 = 31_557_600;
/// Octets of a record that are read; the fields we know take less than 50.
pub const RECORD_SIZE_MAX: usize = 4096;
/// Letters and digits of a record's id. RFC 8461 3.1.
pub const RECORD_ID_MAX: usize = 32;
/// Octets of the name of a field, in records and policies. RFC 8461 3.1, 3.2.
pub const FIELD_NAME_MAX: usize = 32;
/// Octets of a domain's name as text. RFC 1035 2.3.4 allows 255 on the wire.
pub const NAME_MAX: usize = 253;
/// Octets of a label. RFC 1035 2.3.4.
pub const LABEL_MAX: usize = 63;
/// A fetch of a policy takes no longer, in seconds. RFC 8461 3.3 suggests a minute.
pub const FETCH_TIMEOUT_SECS: u64 = 60;
/// After a failed fetch the same version is not asked for again, in seconds. RFC 8461 3.3: five minutes or longer.
pub const FETCH_RETRY_SECS: u64 = 300;
/// A policy in force is fetched again after this time, in seconds, so that it never expires while its host answers now and then.
/// RFC 8461 3.3 suggests once a day.
pub const REFRESH_SECS: u64 = 86_400;
/// How long a record that was looked at counts as the present one, in seconds. A domain that changes its policy while mail flows is
/// noticed within this time; in between nobody asks its name servers.
pub const RECORD_FRESH_SECS: u64 = 300;
/// So long what was found then may still be used while it is looked at again, in seconds.
pub const RECORD_STALE_SECS: u64 = 3600;
/// After a lookup of the record that failed none is made for so long, in seconds.
pub const LOOKUP_RETRY_SECS: u64 = 60;
/// What no message used for this time is forgotten, in seconds (180 days), though its policy may live for a year.
pub const UNUSED_SECS: u64 = 180 * 86_400;
