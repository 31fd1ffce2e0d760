//! SELECT of the same mailbox again: RFC 9051 6.3.2, which closes what was selected.

use std::time::Instant;

use imap::client::{Client, Part, Response};
use imap::types::Tag;

use super::Task;

pub struct Select {
    mailbox: String,
    told: bool,
}

impl Select {
    pub fn new(mailbox: &str) -> Self {
        Self {
            mailbox: mailbox.to_owned(),
            told: false,
        }
    }
}

impl Task for Select {
    fn name(&self) -> String {
        format!("SELECT {}", self.mailbox)
    }

    fn begin(&mut self, client: &mut Client, _literal_plus: bool, _output: &mut Vec<u8>) -> Tag {
        self.told = false;
        client.send(&[Part::Text("SELECT "), Part::String(self.mailbox.as_bytes())])
    }

    fn response(&mut self, response: &Response, _: &mut Vec<u8>, _: Instant) -> Result<(), String> {
        self.told |= matches!(response, Response::Exists(_));
        Ok(())
    }

    fn end(&mut self, _exists: u32) -> Result<u64, String> {
        if self.told {
            Ok(1)
        } else {
            Err("SELECT: no EXISTS".into())
        }
    }
}
