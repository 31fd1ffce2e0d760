//! APPEND of one message after the other; with LITERAL+ (RFC 7888) in one go, else after the continuation.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use imap::client::{Client, Response};
use imap::types::Tag;

use super::Task;
use crate::messages::Messages;

/// What all connections append.
pub struct AppendPlan {
    /// Where to; a name that needs no more than quotes.
    pub mailbox: String,
    /// The messages.
    pub content: Messages,
    /// Number of the next.
    pub next: Cell<u64>,
}

pub struct Append {
    plan: Rc<AppendPlan>,
    message: u64,
}

impl Append {
    pub fn new(plan: Rc<AppendPlan>) -> Self {
        Self { plan, message: 0 }
    }

    fn write(&self, header: &str, output: &mut Vec<u8>) {
        output.extend_from_slice(header.as_bytes());
        output.extend_from_slice(self.plan.content.body());
        output.extend_from_slice(b"\r\n");
    }
}

impl Task for Append {
    fn name(&self) -> String {
        format!("APPEND {}", self.plan.mailbox)
    }

    fn begin(&mut self, client: &mut Client, literal_plus: bool, output: &mut Vec<u8>) -> Tag {
        self.message = self.plan.next.replace(self.plan.next.get() + 1);
        let header = self.plan.content.header(self.message);
        let octets = header.len() + self.plan.content.body().len();
        let text = format!("APPEND \"{}\" (\\Seen) ", self.plan.mailbox);
        let tag = client.begin(&text, octets as u64);
        client.transmit(output);
        if literal_plus {
            self.write(&header, output);
        }
        tag
    }

    fn response(
        &mut self,
        response: &Response,
        output: &mut Vec<u8>,
        _: Instant,
    ) -> Result<(), String> {
        if let Response::Continuation(_) = response {
            self.write(&self.plan.content.header(self.message), output);
        }
        Ok(())
    }

    fn end(&mut self, _exists: u32) -> Result<u64, String> {
        Ok(1)
    }
}
