//! Bounds of this crate: what a hostile report or a talkative server may cost us, with the reason for each number.
//! What lies beyond a bound is not looked at; nothing fails because of it.
//! Not here: the size of messages and of what is returned of them (the caller's settings).

/// Octets of a message that are looked at. Reports come first and what is returned comes last; 1 MiB holds thousands of recipients.
pub const LOOKED_AT_MAX: usize = 1024 * 1024;
/// Recipients of one report, composed or read. RFC 5321 4.5.3.1.8 asks for 100 recipients in a transaction; some lists send to more.
pub const RECIPIENTS_MAX: usize = 1000;
/// Octets of the texts for people that are searched. The longest in the corpus are below 20 KiB, with the returned message inside.
pub const TEXT_MAX: usize = 64 * 1024;
/// Lines of such a text.
pub const TEXT_LINES_MAX: usize = 2000;
/// Octets of a returned header that are kept or sent along.
pub const RETURNED_HEADER_MAX: usize = 64 * 1024;
/// Octets of what one server said. RFC 5321 4.5.3.1.5 allows 512 for one line of a reply; replies of four lines are common.
pub const DIAGNOSTIC_MAX: usize = 2048;
/// Octets of any other value of a field: addresses, names, ids. RFC 5321 4.5.3.1.3 allows 256 for a path; UTF-8 and encodings take more.
pub const VALUE_MAX: usize = 1024;
/// Characters of one word in a composed field; longer ones are cut in pieces, so that no line passes 998 octets (RFC 5322 2.1.1).
pub const WORD_MAX: usize = 200;
/// Columns of the text for people (RFC 5322 2.1.1 recommends at most 78).
pub const TEXT_COLUMNS_MAX: usize = 76;
/// Octets of a line in mail. RFC 5322 2.1.1.
pub const LINE_MAX: usize = 998;
/// Octets of a Message-ID of the original that is referred to.
pub const MESSAGE_ID_MAX: usize = 900;
