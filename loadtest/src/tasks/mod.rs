//! What an IMAP connection does once it is ready: one file per task. Each begins a command, checks every answer to it,
//! and says at its end how many operations that was.

mod append;
mod bodies;
mod flags;
mod idle;
mod search;
mod select;

use std::rc::Rc;
use std::time::Instant;

use imap::client::{Client, Response};
use imap::types::Tag;

pub use append::AppendPlan;
pub use idle::Notices;

/// The commands of one connection.
pub trait Task {
    /// For errors.
    fn name(&self) -> String;

    /// Sends the next command; what does not go through the client is written to `output`.
    fn begin(&mut self, client: &mut Client, literal_plus: bool, output: &mut Vec<u8>) -> Tag;

    /// At the start of a response: takes whole responses that it can check by itself, and says how many octets they have.
    /// For bulk answers, where the client's parser would cost more than the server's work; the rest goes to the client.
    fn skim(&mut self, _input: &[u8]) -> usize {
        0
    }

    /// Octets of a large literal.
    fn literal(&mut self, _octets: &[u8]) {}

    /// A response before the command's end.
    fn response(
        &mut self,
        response: &Response,
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), String>;

    /// The command has ended with OK in a mailbox of so many messages: how many operations was it?
    fn end(&mut self, exists: u32) -> Result<u64, String>;
}

/// Which task.
#[derive(Clone)]
pub enum Work {
    /// Login and logout, no task.
    Login,
    /// SELECT again and again.
    Select(String),
    /// FETCH of all flags.
    Flags,
    /// FETCH of all bodies.
    Bodies,
    /// APPEND.
    Append(Rc<AppendPlan>),
    /// SEARCH.
    Search(String),
    /// IDLE without end.
    Idle(Rc<Notices>),
}

impl Work {
    /// Whether the connection itself is what is measured.
    pub fn is_login(&self) -> bool {
        matches!(self, Work::Login)
    }

    /// The task for a connection of that login.
    pub fn task(&self, login: usize) -> Box<dyn Task> {
        match self {
            Work::Login => Box::new(select::Select::new("INBOX")),
            Work::Select(mailbox) => Box::new(select::Select::new(mailbox)),
            Work::Flags => Box::new(flags::Flags::default()),
            Work::Bodies => Box::new(bodies::Bodies::default()),
            Work::Append(plan) => Box::new(append::Append::new(Rc::clone(plan))),
            Work::Search(query) => Box::new(search::Search::new(query)),
            Work::Idle(notices) => Box::new(idle::Idle::new(Rc::clone(notices), login)),
        }
    }
}

/// Counts FETCH responses: each number from 1 on once, in any order.
#[derive(Default)]
struct Seen {
    count: u32,
    sum: u64,
}

impl Seen {
    fn add(&mut self, number: u32) {
        self.count += 1;
        self.sum += u64::from(number);
    }

    /// Compares with a mailbox of so many messages, and is ready for the next command.
    fn all_of(&mut self, exists: u32) -> Result<u64, String> {
        let seen = std::mem::take(self);
        let sum = u64::from(exists) * (u64::from(exists) + 1) / 2;
        if seen.count == exists && seen.sum == sum {
            return Ok(u64::from(exists));
        }
        Err(format!(
            "FETCH: {} messages told of, the mailbox has {exists}",
            seen.count
        ))
    }
}
