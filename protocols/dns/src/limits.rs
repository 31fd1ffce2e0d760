//! Bounds, with their reasons.

/// Octets of a name, as text without the last dot (RFC 1035 2.3.4: 255 on the wire).
pub const NAME_MAX: usize = 253;
/// Octets of a label (RFC 1035 2.3.4).
pub const LABEL_MAX: usize = 63;
/// Octets a server may answer with by UDP: what passes everywhere without fragments (RFC 9715 3.1 says 1400 at most; DNS flag day 2020).
pub const UDP_PAYLOAD_MAX: u16 = 1232;
/// Octets of a message by TCP (RFC 1035 4.2.2).
pub const MESSAGE_MAX: usize = 65_535;
/// Records in a section of a message. A domain with more than a few dozen of one type cannot use them.
pub const RECORDS_MAX: usize = 1024;
/// Aliases from a mail domain to where its MX records are.
pub const DOMAIN_ALIASES_MAX: usize = 16;
/// Aliases from a host, or from the name of its TLSA records, to the records.
pub const HOST_ALIASES_MAX: usize = 10;
/// Octets of a server's words about a failure that are kept.
pub const EXTENDED_TEXT_MAX: usize = 200;
