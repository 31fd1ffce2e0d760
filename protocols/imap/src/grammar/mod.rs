//! The grammar of commands, RFC 9051 9 and its extensions: octets to [`crate::command`] types, in one pass.
//! Input comes from anyone. Each file holds the rules of one family of commands with their ABNF above them.
//!
//! A command is one slice: its lines with CRLF between them, literals in place, without the CRLF at the end. The session
//! has counted literals and checked that they are whole.

pub(crate) mod append;
pub(crate) mod chars;
mod commands;
mod fetch;
mod list;
mod mailbox;
mod parser;
mod search;
mod select;
mod sequence;
mod store;
mod strings;
#[cfg(test)]
mod tests;

pub(crate) use parser::{PResult, Parser};
#[cfg(test)]
pub(crate) use sequence::parse_sequence_set;
pub(crate) use strings::decode_base64;

use crate::command::{CommandError, Rejected, Request};
use crate::types::{NameSyntax, Tag};

/// Parses one command: its lines and literals as the client sent them, without the last CRLF.
pub fn parse_command(octets: &[u8], syntax: NameSyntax) -> Result<(Tag, Request), Rejected> {
    let mut parser = Parser::new(octets, syntax);
    let tag = parser.tag().map_err(|_| Rejected {
        tag: None,
        error: CommandError::Tag,
    })?;
    match commands::command(&mut parser) {
        Ok(request) => Ok((tag, request)),
        Err(error) => Err(Rejected {
            tag: Some(tag),
            error,
        }),
    }
}
