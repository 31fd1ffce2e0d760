//! FETCH of all bodies; every message once, and those made here octet for octet (by count and CRC-32). An operation is a
//! message. With PEEK: \Seen stays as it is.

use std::time::Instant;

use imap::client::{Client, Response, Value};
use imap::types::Tag;

use super::{Seen, Task};
use crate::messages::BodyCheck;

#[derive(Default)]
pub struct Bodies {
    seen: Seen,
    check: BodyCheck,
}

impl Task for Bodies {
    fn name(&self) -> String {
        COMMAND.to_owned()
    }

    fn begin(&mut self, client: &mut Client, _literal_plus: bool, _output: &mut Vec<u8>) -> Tag {
        client.command(COMMAND)
    }

    fn literal(&mut self, octets: &[u8]) {
        self.check.receive(octets);
    }

    fn response(&mut self, response: &Response, _: &mut Vec<u8>, _: Instant) -> Result<(), String> {
        let Response::Fetch(fetch) = response else {
            return Ok(());
        };
        match fetch.item("BODY[]") {
            Some(Value::Streamed(_)) => {}
            Some(value) => self.check.receive(value.octets().unwrap_or_default()),
            None => return Err(format!("FETCH {}: BODY[] is missing", fetch.number)),
        }
        self.seen.add(fetch.number);
        let wrong = |error| format!("FETCH {}: {error}", fetch.number);
        self.check.finish().map_err(wrong)
    }

    fn end(&mut self, exists: u32) -> Result<u64, String> {
        self.seen.all_of(exists)
    }
}

const COMMAND: &str = "FETCH 1:* BODY.PEEK[]";
