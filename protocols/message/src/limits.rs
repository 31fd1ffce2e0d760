//! Bounds of this crate: what a hostile message may cost us, with the reason for each number.
//! A message beyond a bound is still accepted and readable; it is only understood less finely.
//! Not here: the size of a message (`settings` of the server).

/// Nesting of multiparts and embedded messages that is followed; deeper entities are leaves. Mail in the wild stays below 20.
pub const DEPTH_MAX: usize = 100;
/// Parts of one message; what comes after belongs to the last part.
pub const PARTS_MAX: usize = 10_000;
/// Octets of a boundary. RFC 2046 5.1.1 allows 70; broken software writes whole lines.
pub const BOUNDARY_MAX: usize = 4096;
/// Parameters of one Content-Type or Content-Disposition field.
pub const PARAMETERS_MAX: usize = 100;
/// Addresses of one header field that ENVELOPE shows.
pub const ADDRESSES_MAX: usize = 10_000;
/// Octets of one string in ENVELOPE or BODYSTRUCTURE, e.g. of a Subject.
pub const STRING_MAX: usize = 64 * 1024;
/// Message-IDs taken from one References field; RFC 5322 sets no bound, threads beyond this only lose their oldest links.
pub const REFERENCES_MAX: usize = 100;
/// Octets of one Message-ID. RFC 5322 2.1.1 limits a line to 998.
pub const MESSAGE_ID_MAX: usize = 998;
/// Octets of a Subject looked at for its base subject.
pub const SUBJECT_MAX: usize = 4096;
/// Octets of a Date field that are looked at.
pub const DATE_MAX: usize = 256;
/// Column at which composed header fields are folded (RFC 5322 2.1.1 recommends 78).
pub const FOLD_COLUMN_MAX: usize = 76;
/// Base64 or quoted-printable encoded messages inside one another that a search opens.
pub const ENCODED_MESSAGE_DEPTH_MAX: usize = 3;
