//! Every bound of this crate, with its reason. Sizes are octets unless the name says otherwise.

/// Longest line of a command, without its literals. RFC 7162 4 asks for at least 8192; 16 KiB leaves room for
/// the long UID sets that synchronising clients send.
pub const LINE_MAX: usize = 16 * 1024;

/// Largest literal that stands for a string (everything but the messages of APPEND).
pub const LITERAL_MAX: u32 = 100 * 1024;

/// All string literals of one command together.
pub const LITERALS_TOTAL_MAX: u32 = 1000 * 1024;

/// All string literals of one command before login: a stranger may not make us hold a megabyte.
pub const LITERALS_BEFORE_LOGIN_MAX: u32 = 16 * 1024;

/// Number of literals in one command.
pub const LITERALS_MAX: u32 = 1000;

/// RFC 7888 5: with LITERAL- a non-synchronizing literal is at most this large.
pub const LITERAL_MINUS_MAX: u64 = 4096;

/// How much of a refused non-synchronizing literal, or of a line of AUTHENTICATE that is too long, is read and thrown away, per command,
/// before we rather say BYE.
pub const SWALLOW_MAX: u32 = 1_000_000;

/// RFC 9051 9: number64 is a 63-bit integer.
pub const NUMBER64_MAX: u64 = i64::MAX as u64;

/// Longest tag. RFC 9051 names no bound; clients use 4 to 20 octets.
pub const TAG_MAX: usize = 255;

/// So much of a command that is too long is enough to tell which it is: a tag, AUTHENTICATE, and a mechanism of at most 20 octets.
pub const COMMAND_START_MAX: usize = TAG_MAX + 64;

/// Longest flag keyword.
pub const KEYWORD_MAX: usize = 255;

/// Flags in one list.
pub const FLAGS_MAX: usize = 512;

/// Ranges in one sequence set.
pub const SEQUENCE_RANGES_MAX: usize = 16 * 1024;

/// Longest mailbox name, decoded, in octets of UTF-8.
pub const MAILBOX_NAME_MAX: usize = 1024;

/// Parentheses, NOT and OR within each other in a SEARCH. The parser and whoever evaluates the tree recurse this deep.
pub const SEARCH_DEPTH_MAX: usize = 32;

/// Keys in one SEARCH program, all levels together.
pub const SEARCH_KEYS_MAX: usize = 4096;

/// Data items in one FETCH.
pub const FETCH_ITEMS_MAX: usize = 256;

/// Depth of a part number such as `1.2.3`.
pub const SECTION_DEPTH_MAX: usize = 128;

/// Field names in one HEADER.FIELDS.
pub const HEADER_FIELDS_MAX: usize = 1024;

/// Patterns in one LIST.
pub const LIST_PATTERNS_MAX: usize = 128;

/// Capabilities named by one ENABLE.
pub const ENABLE_MAX: usize = 64;

/// RFC 2971 3.3: an ID list holds at most 30 pairs, a name 30 octets, a value 1024.
pub const ID_PAIRS_MAX: usize = 30;
/// Longest field name of an ID pair.
pub const ID_NAME_MAX: usize = 30;
/// Longest value of an ID pair.
pub const ID_VALUE_MAX: usize = 1024;

/// Messages in one APPEND (RFC 3502).
pub const APPEND_MESSAGES_MAX: u32 = 1000;

/// Longest part of the client's own text that an error after login repeats.
pub const ECHO_MAX: usize = 48;

/// Longest string written between quotes; longer ones go as a literal.
pub const QUOTED_MAX: usize = 1024;

/// Depth of a BODYSTRUCTURE that the encoder writes; deeper parts are left out by whoever builds the structure.
pub const BODY_STRUCTURE_DEPTH_MAX: usize = 128;

/// Longest response line the client reads, without its literals.
pub const CLIENT_LINE_MAX: usize = 1024 * 1024;

/// Depth of parentheses the client follows in a response.
pub const CLIENT_DEPTH_MAX: usize = 64;
