//! Bounds of this crate, with the reason for each number. Beyond them a record or certificate is not looked at, so what is published or
//! shown beyond them does not help a server.

/// Records of one name that are looked at. Those in use have fewer than 10.
pub const RECORDS_MAX: usize = 64;
/// Octets of the association data: a certificate in full. rustls and webpki take certificates up to this size.
pub const DATA_MAX: usize = 65_535;
/// Certificates of a server's chain that are looked at, its own among them. Those in use have fewer than 6.
pub const CHAIN_MAX: usize = 16;
/// Names one of which a certificate must have under usage DANE-TA: TLSA base domain as found and expanded, next-hop domain as given and
/// expanded (RFC 7672 3.2.2).
pub const NAMES_MAX: usize = 4;
/// Trust anchors of one verification: each record may match several certificates, or be a key that signed any of them.
pub const ANCHORS_MAX: usize = 256;
