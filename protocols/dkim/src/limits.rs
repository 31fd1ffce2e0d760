//! Bounds of this crate: what a hostile message or key record may cost us, with the reason for each number.
//! Not here: the size of a message (`settings` of the server).

/// Octets of a header section that is signed or checked. The server refuses above 256 KiB; its own fields come on top.
pub const HEADER_SIZE_MAX: usize = 320 * 1024;
/// DKIM-Signature fields of one message that are checked, from the top; each costs a DNS query and a hash over the header.
pub const SIGNATURES_MAX: usize = 8;
/// Octets of one DKIM-Signature field. With an RSA key of 4096 bits and thirty names it has some 1500; z= makes it long.
pub const SIGNATURE_FIELD_MAX: usize = 16 * 1024;
/// Tags of one list. Fourteen are defined.
pub const TAGS_MAX: usize = 64;
/// Names in h=, repeated ones counted.
pub const SIGNED_NAMES_MAX: usize = 500;
/// Key records of one name that are tried. RFC 6376 3.6.2.2 asks for one.
pub const KEY_RECORDS_MAX: usize = 3;
/// Octets of a key record, its strings joined. An RSA key of 4096 bits takes 740.
pub const KEY_RECORD_MAX: usize = 4 * 1024;
/// Shortest RSA key that verifies. RFC 8301 3.2.
pub const RSA_BITS_MIN: usize = 1024;
/// Longest RSA key that verifies. RFC 8301 3.2: up to 4096 must be.
pub const RSA_BITS_MAX: usize = 4096;
/// Sizes of RSA keys that sign. RFC 8301 3.2: 2048 bits at least; the library takes primes of whole 512 bits alone.
pub const RSA_SIGNING_BITS: [usize; 3] = [2048, 3072, 4096];
/// Signatures made for one message; each recipient's server checks them.
pub const SELECTORS_MAX: usize = 8;
/// Octets of a domain name. RFC 1035 2.3.4 allows 255 on the wire, which are 253 as text.
pub const DOMAIN_MAX: usize = 253;
/// Octets of one label, RFC 1035 2.3.4.
pub const LABEL_MAX: usize = 63;
/// Octets of one string of a TXT record, RFC 1035 3.3.
pub const TXT_STRING_MAX: usize = 255;
/// Column at which our field is folded (RFC 5322 2.1.1 recommends 78).
pub const FOLD_COLUMN_MAX: usize = 76;
/// Octets of a key file that is read.
pub const KEY_FILE_MAX: usize = 64 * 1024;
