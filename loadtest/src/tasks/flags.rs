//! FETCH of all flags; every message must be told once. An operation is a message.

use std::time::Instant;

use imap::client::{Client, Response};
use imap::types::Tag;

use super::{Seen, Task};

#[derive(Default)]
pub struct Flags {
    seen: Seen,
}

impl Task for Flags {
    fn name(&self) -> String {
        COMMAND.to_owned()
    }

    fn begin(&mut self, client: &mut Client, _literal_plus: bool, _output: &mut Vec<u8>) -> Tag {
        client.command(COMMAND)
    }

    fn response(&mut self, response: &Response, _: &mut Vec<u8>, _: Instant) -> Result<(), String> {
        if let Response::Fetch(fetch) = response {
            if fetch.flags.is_none() || fetch.uid.is_none() {
                return Err(format!("FETCH {}: UID or FLAGS is missing", fetch.number));
            }
            self.seen.add(fetch.number);
        }
        Ok(())
    }

    fn end(&mut self, exists: u32) -> Result<u64, String> {
        self.seen.all_of(exists)
    }
}

const COMMAND: &str = "FETCH 1:* (UID FLAGS)";
