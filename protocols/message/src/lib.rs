//! Messages: what is in the octets that SMTP delivers and IMAP shows.
//! Reading: [`Structure`] (parts, sections, envelope), [`Header`], [`TransferEncoding`], [`SearchedMessage`], [`ThreadFields`],
//! [`from_addresses`]. Writing: [`compose`], [`normalise_crlf`]. All input is untrusted: nothing
//! here panics or fails on a strange message, and every cost is bounded (`limits.rs`). No clock, no disk, no network.
//! RFC 5322, 2045-2047, 2183, 2231, 6532; the numbering of sections is that of RFC 9051 and 3501.
//! Not here: IMAP syntax (`imap`), SMTP (`smtp`), signatures and reports (their own crates).
//!
//! ```
//! use ringmail_message::{SectionText, Structure};
//! let octets = b"Subject: hello\r\nContent-Type: text/plain\r\n\r\nHi\r\n";
//! let structure = Structure::of_message(octets);
//! assert_eq!(structure.section(octets, &[1], None).as_deref(), Some(b"Hi\r\n".as_slice()));
//! assert_eq!(structure.section(octets, &[], Some(SectionText::Text)).as_deref(), Some(b"Hi\r\n".as_slice()));
//! ```

pub mod address;
pub mod binary;
pub mod charset;
pub mod compose;
pub mod content_type;
pub mod date;
pub mod decode;
pub mod encoded_word;
pub mod envelope;
pub mod from_addresses;
pub mod header;
pub mod limits;
pub mod line_endings;
pub mod search;
pub mod section;
pub mod structure;
pub mod threading;

pub use binary::{BinaryError, BinaryPlace};
pub use compose::{Received, ReceivedFrom};
pub use content_type::{ContentType, Disposition, Parameter};
pub use date::{MessageDate, SentDate};
pub use decode::{Decoder, TransferEncoding, UnknownTransferEncoding};
pub use envelope::{EnvelopeAddress, EnvelopeFields};
pub use from_addresses::{FromAddress, FromError, from_addresses, single_from_address};
pub use header::{Header, HeaderField};
pub use line_endings::{BareCr, CrlfNormaliser, normalise_crlf};
pub use search::{SearchString, SearchedMessage};
pub use section::{NumberedPart, SectionPlace, SectionText};
pub use structure::{Content, Part, Structure};
pub use threading::ThreadFields;
