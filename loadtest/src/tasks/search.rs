//! SEARCH with one query, which must find the same every time (the mailbox is quiet).

use std::time::Instant;

use imap::client::{Client, Response};
use imap::types::Tag;

use super::Task;

pub struct Search {
    command: String,
    found: Option<u64>,
    before: Option<u64>,
}

impl Search {
    pub fn new(query: &str) -> Self {
        Self {
            command: format!("SEARCH {query}"),
            found: None,
            before: None,
        }
    }
}

impl Task for Search {
    fn name(&self) -> String {
        self.command.clone()
    }

    fn begin(&mut self, client: &mut Client, _literal_plus: bool, _output: &mut Vec<u8>) -> Tag {
        self.found = None;
        client.command(&self.command)
    }

    fn response(&mut self, response: &Response, _: &mut Vec<u8>, _: Instant) -> Result<(), String> {
        if let Response::Search(data) = response {
            self.found = Some(data.all.count());
        }
        Ok(())
    }

    fn end(&mut self, exists: u32) -> Result<u64, String> {
        let name = &self.command;
        let found = self
            .found
            .ok_or_else(|| format!("{name}: no SEARCH response"))?;
        if found > u64::from(exists) {
            return Err(format!("{name}: {found} of {exists} messages"));
        }
        let before = *self.before.get_or_insert(found);
        if before != found {
            return Err(format!("{name}: found {found}, the time before {before}"));
        }
        Ok(1)
    }
}
