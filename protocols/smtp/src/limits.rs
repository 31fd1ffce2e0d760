//! Every bound of the crate, each with its reason. Those that an operator may want to change are defaults of
//! `server::Config`; the others are fixed.

/// Longest command line accepted by default, in octets with CRLF. RFC 5321 4.5.3.1.4 asks for 512; extensions add up to
/// 500 for AUTH=, 26 for SIZE, 16 for BODY; long addresses with SMTPUTF8 need more.
pub const COMMAND_LINE_MAX: usize = 2048;

/// Longest AUTH command or response, in octets with CRLF. RFC 4954 4: 12288 octets of base64 are considered to be
/// sufficient; the rest is room for `AUTH mechanism`.
pub const AUTH_LINE_MAX: usize = 12288 + 32;

/// How much of a line of AUTH that is too long is read and thrown away before we rather close.
pub const PASSED_OVER_MAX: usize = 1_000_000;

/// So much of a line that is too long is enough to find `AUTH mechanism` in it; RFC 4422 3.1: at most 20 octets, and so are ours.
pub const AUTH_START_MAX: usize = 32;

/// Longest local-part, in octets without quoting. RFC 5321 4.5.3.1.1 has 64; longer ones are seen in the wild
/// (bounce addresses), so twice that is let through unless pedantic.
pub const LOCALPART_MAX: usize = 128;

/// Longest local-part in pedantic mode. RFC 5321 4.5.3.1.1.
pub const LOCALPART_PEDANTIC_MAX: usize = 64;

/// Longest domain, in octets. RFC 5321 4.5.3.1.2.
pub const DOMAIN_MAX: usize = 255;

/// Longest label of an ASCII domain, in octets. RFC 1035 2.3.4.
pub const LABEL_MAX: usize = 63;

/// Longest path with its punctuation, without a source route, in octets. RFC 5321 4.5.3.1.3.
pub const PATH_MAX: usize = 256;

/// Characters of an ENVID parameter, encoded. RFC 3461 4.4.
pub const ENVELOPE_ID_MAX: usize = 100;

/// Characters of an ORCPT parameter, encoded. RFC 3461 4.2.
pub const ORIGINAL_RECIPIENT_MAX: usize = 500;

/// Longest reply line written or split, in octets without CRLF. RFC 5321 4.5.3.1.5: 512 with it.
pub const REPLY_LINE_MAX: usize = 510;

/// Column after which a reply line that is too long is split at a space.
pub const REPLY_SPLIT_COLUMN: usize = 400;

/// Longest reply line read by the client, in octets with CRLF. Peers exceed RFC 5321's 512.
pub const REPLY_LINE_READ_MAX: usize = 4096;

/// Most octets of text kept of one reply by the client; what comes after is read and dropped.
pub const REPLY_TEXT_READ_MAX: usize = 16 * 1024;

/// Most lines of one reply read by the client; more is a protocol error.
pub const REPLY_LINES_READ_MAX: usize = 1024;

/// Recipients per transaction by default. RFC 5321 4.5.3.1.8 asks for 100 at least. Announced with LIMITS (RFC 9422).
pub const RECIPIENTS_MAX: u32 = 1000;

/// Largest message by default, in octets. Announced with SIZE (RFC 1870).
pub const MESSAGE_SIZE_MAX: u64 = 100 * 1024 * 1024;

/// Bad commands (syntax, sequence) in a row, since the last accepted message, before 421 by default.
pub const ERRORS_MAX: u32 = 10;

/// Replies gathered for pipelined commands before the caller has to transmit, in octets.
pub const OUTPUT_MAX: usize = 16 * 1024;

/// Most octets of an unparsable EHLO argument that are kept.
pub const HELLO_TEXT_MAX: usize = 255;
