//! IDLE, RFC 2177, without end: tells who idles, and when a delivery was told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use hdrhistogram::Histogram;
use imap::client::{Client, Response};
use imap::types::Tag;

use super::Task;
use crate::smtp_traffic::SentTimes;

/// What all idling connections share.
pub struct Notices {
    /// How many idle.
    pub idling: Cell<usize>,
    /// How many were told of a delivery.
    pub told: Cell<usize>,
    /// When the message to each login's mailbox was sent.
    pub sent: SentTimes,
    /// From the message's sending to the EXISTS, microseconds.
    pub latency: RefCell<Histogram<u64>>,
}

pub struct Idle {
    notices: Rc<Notices>,
    login: usize,
}

impl Idle {
    pub fn new(notices: Rc<Notices>, login: usize) -> Self {
        Self { notices, login }
    }
}

impl Task for Idle {
    fn name(&self) -> String {
        "IDLE".to_owned()
    }

    fn begin(&mut self, client: &mut Client, _literal_plus: bool, _output: &mut Vec<u8>) -> Tag {
        client.command("IDLE")
    }

    fn response(
        &mut self,
        response: &Response,
        _: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), String> {
        let notices = &self.notices;
        match response {
            Response::Continuation(_) => notices.idling.set(notices.idling.get() + 1),
            Response::Exists(_) => {
                let Some(sent) = notices.sent.borrow()[self.login] else {
                    return Err("IDLE: EXISTS without a delivery".into());
                };
                let micros = now.saturating_duration_since(sent).as_micros() as u64;
                notices
                    .latency
                    .borrow_mut()
                    .saturating_record(micros.max(1));
                notices.told.set(notices.told.get() + 1);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _exists: u32) -> Result<u64, String> {
        Err("IDLE: ended by the server".into())
    }
}
