//! Conversations with a session: octets in, events and octets out.

use super::*;
use crate::command::Command;
use crate::response::{Code, Condition, tagged};
use crate::types::{AppendMessage, NameSyntax};

/// A server that answers everything, and notes what it saw.
pub(super) struct Owner {
    pub session: Session,
    pub output: Vec<u8>,
    pub seen: Vec<String>,
    message: Vec<u8>,
    tag: Option<crate::types::Tag>,
    refuse: Option<Code<'static>>,
}

impl Owner {
    pub fn new(state: State) -> Self {
        let session = Session::new(Config {
            state,
            starttls: StartTls::Offered,
            ..Config::default()
        });
        Self {
            session,
            output: Vec::new(),
            seen: Vec::new(),
            message: Vec::new(),
            tag: None,
            refuse: None,
        }
    }

    pub fn selected() -> Self {
        let mut owner = Self::new(State::Selected { read_only: false });
        owner.give("t NOOP\r\n");
        owner.seen.clear();
        owner.output.clear();
        owner
    }

    /// Gives the input in pieces of the given size, as a connection would: unused octets are given again.
    pub fn give_in_pieces(&mut self, input: &[u8], piece: usize) -> usize {
        let (mut start, mut end) = (0, 0);
        let mut stuck = false;
        while start < input.len() && !stuck {
            if end < input.len() {
                end = (end + piece).min(input.len());
            } else if start == end {
                break;
            }
            loop {
                let used = self.session.receive(&input[start..end]);
                self.session.transmit(&mut self.output);
                let mut events = false;
                while let Some(event) = self.session.event() {
                    events = true;
                    self.handle(event, &input[start..end]);
                    self.session.transmit(&mut self.output);
                }
                start += used;
                if used == 0 && !events {
                    stuck = end == input.len();
                    break;
                }
            }
        }
        start
    }

    pub fn give(&mut self, input: &str) -> String {
        self.output.clear();
        self.give_in_pieces(input.as_bytes(), usize::MAX / 2);
        String::from_utf8_lossy(&self.output).into_owned()
    }

    fn ok(&mut self, tag: &crate::types::Tag, text: &str) {
        tagged(&mut self.output, tag, Condition::Ok, None, text);
        self.session.answered();
    }

    fn finish(&mut self, text: &str) {
        if let Some(tag) = self.tag.take() {
            self.ok(&tag, text);
        }
    }

    fn handle(&mut self, event: Event, input: &[u8]) {
        match event {
            Event::Command { tag, command } => {
                self.seen.push(format!("{tag} {command:?}"));
                match &command {
                    Command::Login { .. } => self.session.authenticated(),
                    Command::Select(select) => self.session.selected(select.read_only),
                    Command::Close | Command::Unselect => self.session.unselected(),
                    Command::Enable(_) => self.session.enable(NameSyntax::Utf8),
                    Command::Logout => {
                        tagged(&mut self.output, &tag, Condition::Ok, None, "bye");
                        return self.session.close();
                    }
                    _ => {}
                }
                self.ok(&tag, command.name());
            }
            Event::StartTls { tag } => {
                self.seen.push("starttls".into());
                tagged(&mut self.output, &tag, Condition::Ok, None, "go");
                self.session.tls_started();
            }
            Event::Authenticate {
                tag,
                mechanism,
                initial_response,
            } => {
                self.seen.push(format!("authenticate {mechanism}"));
                self.tag = Some(tag);
                match initial_response {
                    Some(AuthenticateResponse::Octets(octets)) => {
                        self.finish(&String::from_utf8_lossy(&octets));
                    }
                    Some(response) => self.finish(&format!("{response:?}")),
                    None => self.session.challenge(b""),
                }
            }
            Event::AuthenticateResponse(AuthenticateResponse::Octets(octets)) => {
                self.finish(&String::from_utf8_lossy(&octets));
            }
            Event::AuthenticateResponse(response) => self.finish(&format!("{response:?}")),
            Event::Idle { tag } => {
                self.seen.push("idle".into());
                self.tag = Some(tag);
            }
            Event::IdleDone => self.finish("idle done"),
            Event::IdleBroken => self.seen.push("idle broken".into()),
            Event::AppendBegin { tag, mailbox } => {
                self.seen.push(format!("append to {mailbox}"));
                self.tag = Some(tag);
            }
            Event::AppendMessage(AppendMessage {
                size,
                form,
                flags,
                date,
            }) => {
                self.seen.push(format!(
                    "message {size} {form:?} {:?} {}",
                    flags.system,
                    date.is_some()
                ));
                self.message.clear();
                match self.refuse.take() {
                    Some(code) => self
                        .session
                        .refuse_message(Condition::No, Some(&code), "no"),
                    None => self.session.accept_message(),
                }
            }
            Event::AppendData(range) => self.message.extend_from_slice(&input[range]),
            Event::AppendMessageEnd => {
                self.seen
                    .push(String::from_utf8_lossy(&self.message).into_owned());
            }
            Event::AppendEnd => self.finish("appended"),
            Event::AppendAbort => self.seen.push("abort".into()),
            Event::SavedResultLost => self.seen.push("saved result lost".into()),
            Event::Close => self.seen.push("close".into()),
        }
    }
}

mod append;
mod commands;
mod fuzz;
mod literals;
