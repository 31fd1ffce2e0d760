//! Commands as the RFCs show them, and as they must not be.

use super::parse_command;
use crate::command::{Command, CommandError, Request};
use crate::types::*;

fn request(text: &str) -> Result<Request, CommandError> {
    parse_command(format!("a {text}").as_bytes(), NameSyntax::ModifiedUtf7)
        .map(|parsed| parsed.1)
        .map_err(|rejected| rejected.error)
}

fn command(text: &str) -> Command {
    match request(text) {
        Ok(Request::Command(command)) => command,
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(texts: &[&str]) {
    for text in texts {
        assert!(request(text).is_err(), "{text}: {:?}", request(text));
    }
}

fn mailbox(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

fn set(text: &str) -> SequenceSet {
    super::parse_sequence_set(text.as_bytes()).unwrap()
}

mod connection;
mod messages;
