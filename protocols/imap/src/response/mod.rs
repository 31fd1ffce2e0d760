//! What a server answers, written straight into the output. RFC 9051 7.
//! `encoder.rs` has the responses of one line, `fetch.rs` FETCH, `envelope.rs` and `body_structure.rs` its two large items,
//! `code.rs` the response codes, `strings.rs` the choice between atom, quoted string and literal.
//! Not here: which response a command deserves.

mod body_structure;
mod code;
mod encoder;
mod envelope;
mod fetch;
mod list;
mod search;
mod status;
mod strings;
#[cfg(test)]
mod tests;

pub use body_structure::{BodyFields, BodyParameters, BodyStructure, Disposition, PartExtension};
pub use code::Code;
pub use encoder::{Encoder, NamespaceEntry};
pub use envelope::{Address, EnvelopeFields};
pub use fetch::FetchWriter;
pub use list::{ListItem, MailboxAttribute};
pub use search::SearchResult;
pub use status::{Condition, challenge, continuation, refusal, tagged, untagged};
pub use strings::{push_astring, push_nstring, push_number, push_quoted, push_string};
