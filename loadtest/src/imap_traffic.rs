//! IMAP connections: login and SELECT, then a task's commands one after the other.
//! RFC 9051; answers that a task does not expect end the run. Not here: the commands (`tasks/`), figures (`scenarios/`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use hdrhistogram::Histogram;
use imap::client::{Client, Event, Part, Response, ResponseCode, Status};
use imap::types::Tag;

use crate::engine::{Opening, Traffic, Turn};
use crate::report::latencies;
use crate::target::{Security, Target};
use crate::tasks::{Task, Work};

/// State over all connections.
pub struct ImapTraffic {
    to: SocketAddr,
    tls: bool,
    logins: Vec<(String, String)>,
    mailbox: Option<String>,
    source: Option<Ipv4Addr>,
    work: Work,
    /// Commands that may still begin.
    left: u64,
    /// Whether connections begin commands as soon as they are ready.
    armed: bool,
    /// Connections that are ready and wait.
    pub ready: usize,
    /// Messages, or commands, that were done.
    pub operations: u64,
    /// Of each command; of login, from the connect on.
    pub latency: Histogram<u64>,
}

/// One connection.
pub struct ImapDialog {
    client: Client,
    stage: Stage,
    task: Box<dyn Task>,
    login: usize,
    literal_plus: bool,
    exists: u32,
    begun: Instant,
    /// Whether the next octet begins a response.
    at_response: bool,
}

/// What is awaited.
#[derive(Debug)]
enum Stage {
    Greeting,
    Login(Tag),
    Capability(Tag),
    Select(Tag),
    /// Ready and told to wait.
    Pause,
    Command(Tag),
    Logout(Tag),
}

/// How IMAP connections of a run are.
pub struct Plan<'a> {
    /// The server.
    pub target: &'a Target,
    /// Who logs in, in turn over the slots.
    pub logins: Vec<(String, String)>,
    /// What is selected.
    pub mailbox: Option<String>,
    /// Network to connect from.
    pub source: Option<Ipv4Addr>,
    /// What is done.
    pub work: Work,
    /// How many commands in all.
    pub count: u64,
}

impl ImapTraffic {
    /// Connections pause when they are ready; [`ImapTraffic::arm`] and `Engine::resume` let them go on.
    pub fn new(plan: Plan<'_>) -> Self {
        Self {
            to: plan.target.address,
            tls: plan.target.security == Security::Tls,
            logins: plan.logins,
            mailbox: plan.mailbox,
            source: plan.source,
            work: plan.work,
            left: plan.count,
            armed: false,
            ready: 0,
            operations: 0,
            latency: latencies(),
        }
    }

    /// No more pauses.
    pub fn arm(&mut self) {
        self.armed = true;
    }

    fn response(
        &mut self,
        dialog: &mut ImapDialog,
        response: Response,
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Turn, String> {
        match &response {
            Response::Status(status) => return self.greeting_or_notice(dialog, status),
            Response::Capability(names) => dialog.capabilities(names),
            Response::Exists(count) => dialog.exists = *count,
            _ => {}
        }
        let Response::Tagged(tag, status) = &response else {
            return match &dialog.stage {
                Stage::Command(_) => dialog.task.response(&response, output, now),
                _ => Ok(()),
            }
            .map(|()| Turn::Stay);
        };
        if let Some(ResponseCode::Capability(names)) = &status.code {
            dialog.capabilities(names);
        }
        self.tagged(dialog, tag, status, output, now)
    }

    fn greeting_or_notice(
        &mut self,
        dialog: &mut ImapDialog,
        status: &Status,
    ) -> Result<Turn, String> {
        let goodbye = matches!(dialog.stage, Stage::Logout(_));
        if !status.is_ok() && !goodbye {
            return Err(line("*", status));
        }
        if matches!(dialog.stage, Stage::Greeting) {
            let (user, password) = &self.logins[dialog.login];
            let tag = dialog.client.send(&[
                Part::Text("LOGIN "),
                Part::String(user.as_bytes()),
                Part::Text(" "),
                Part::String(password.as_bytes()),
            ]);
            dialog.stage = Stage::Login(tag);
        }
        Ok(Turn::Stay)
    }

    fn tagged(
        &mut self,
        dialog: &mut ImapDialog,
        tag: &Tag,
        status: &Status,
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Turn, String> {
        let (what, expected) = dialog.awaited();
        if expected != Some(tag) {
            return Err(line("a tag nobody used", status));
        }
        if !status.is_ok() {
            return Err(line(&what, status));
        }
        match &dialog.stage {
            Stage::Login(_) if self.work.is_login() => {
                self.record(dialog, 1, now);
                let tag = dialog.client.command("LOGOUT");
                dialog.stage = Stage::Logout(tag);
            }
            Stage::Login(_) => {
                let tag = dialog.client.command("CAPABILITY");
                dialog.stage = Stage::Capability(tag);
            }
            Stage::Capability(_) => match &self.mailbox {
                Some(mailbox) => {
                    let name = Part::String(mailbox.as_bytes());
                    let tag = dialog.client.send(&[Part::Text("SELECT "), name]);
                    dialog.stage = Stage::Select(tag);
                }
                None => self.prepared(dialog, output, now),
            },
            Stage::Select(_) => self.prepared(dialog, output, now),
            Stage::Command(_) => {
                let operations = dialog.task.end(dialog.exists)?;
                self.record(dialog, operations, now);
                self.next_command(dialog, output, now);
            }
            Stage::Logout(_) => return Ok(Turn::Close),
            Stage::Greeting | Stage::Pause => {}
        }
        Ok(Turn::Stay)
    }

    fn prepared(&mut self, dialog: &mut ImapDialog, output: &mut Vec<u8>, now: Instant) {
        if self.armed {
            self.next_command(dialog, output, now);
        } else {
            self.ready += 1;
            dialog.stage = Stage::Pause;
        }
    }

    fn next_command(&mut self, dialog: &mut ImapDialog, output: &mut Vec<u8>, now: Instant) {
        if self.left == 0 {
            // No LOGOUT: while the connection is there, so is the process that serves it, and its figures can be read.
            dialog.stage = Stage::Pause;
            return;
        }
        self.left -= 1;
        dialog.begun = now;
        dialog.client.literal_plus(dialog.literal_plus);
        let tag = dialog
            .task
            .begin(&mut dialog.client, dialog.literal_plus, output);
        dialog.stage = Stage::Command(tag);
    }

    fn record(&mut self, dialog: &ImapDialog, operations: u64, now: Instant) {
        let micros = now.duration_since(dialog.begun).as_micros() as u64;
        self.latency.saturating_record(micros.max(1));
        self.operations += operations;
    }
}

impl ImapDialog {
    fn capabilities(&mut self, names: &[String]) {
        // RFC 7888: LITERAL- allows only small ones, so it counts as none.
        self.literal_plus = names
            .iter()
            .any(|name| name.eq_ignore_ascii_case("LITERAL+"));
    }

    /// What is awaited, in words and by tag.
    fn awaited(&self) -> (String, Option<&Tag>) {
        match &self.stage {
            Stage::Greeting => ("the greeting".into(), None),
            Stage::Login(tag) => ("LOGIN".into(), Some(tag)),
            Stage::Capability(tag) => ("CAPABILITY".into(), Some(tag)),
            Stage::Select(tag) => ("SELECT".into(), Some(tag)),
            Stage::Pause => ("the others".into(), None),
            Stage::Command(tag) => (self.task.name(), Some(tag)),
            Stage::Logout(tag) => ("LOGOUT".into(), Some(tag)),
        }
    }
}

impl Traffic for ImapTraffic {
    type Dialog = ImapDialog;

    fn open(&mut self, slot: usize, now: Instant) -> Option<Opening<ImapDialog>> {
        let login = slot % self.logins.len();
        if self.left == 0 {
            return None;
        }
        if self.work.is_login() {
            self.left -= 1;
        }
        // Addresses .1 to .254 of the network in turn.
        let source = self.source.map(|network| {
            let [a, b, c, _] = network.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, (slot % 254) as u8 + 1))
        });
        Some(Opening {
            dialog: ImapDialog {
                client: Client::new(),
                stage: Stage::Greeting,
                task: self.work.task(login),
                login,
                literal_plus: false,
                exists: 0,
                begun: now,
                at_response: true,
            },
            to: self.to,
            source,
            tls: self.tls,
        })
    }

    fn receive(
        &mut self,
        dialog: &mut ImapDialog,
        mut input: &[u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Turn, String> {
        while !input.is_empty() {
            if dialog.at_response && matches!(dialog.stage, Stage::Command(_)) {
                let skimmed = dialog.task.skim(input);
                input = &input[skimmed..];
                if input.is_empty() {
                    break;
                }
            }
            let used = dialog.client.receive(input);
            dialog.at_response = false;
            match dialog.client.event() {
                Some(Event::Literal(range)) => dialog.task.literal(&input[range]),
                Some(Event::Response(response)) => {
                    dialog.at_response = true;
                    let turn = self.response(dialog, response, output, now)?;
                    if turn != Turn::Stay {
                        return Ok(turn);
                    }
                }
                Some(Event::Malformed(text)) => return Err(format!("cannot be read: {text}")),
                None => {}
            }
            dialog.client.transmit(output);
            input = &input[used..];
        }
        Ok(Turn::Stay)
    }

    fn resume(&mut self, dialog: &mut ImapDialog, output: &mut Vec<u8>, now: Instant) {
        if matches!(dialog.stage, Stage::Pause) {
            self.next_command(dialog, output, now);
            dialog.client.transmit(output);
        }
    }

    fn waits_for(&self, dialog: &ImapDialog) -> String {
        dialog.awaited().0
    }
}

fn line(what: &str, status: &Status) -> String {
    format!("{what}: {} {}", status.condition.as_str(), status.text)
}
