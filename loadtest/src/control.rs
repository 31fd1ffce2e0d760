//! One IMAP connection that waits for each answer: to look after mailboxes before and after a run, never within it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use imap::client::{Client, Event, Part, Response, Status};
use rustls::StreamOwned;

use crate::error::Failure;
use crate::target::{Security, Target};
use crate::tls;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A logged-in connection.
pub struct Control {
    stream: Box<dyn Stream>,
    client: Client,
    name: String,
}

impl Control {
    /// Connects and logs in.
    pub fn open(target: &Target, login: &(String, String)) -> Result<Self, Failure> {
        let socket = TcpStream::connect(target.address).map_err(Failure::io(&target.name))?;
        let patience = Some(PATIENCE);
        socket
            .set_read_timeout(patience)
            .map_err(Failure::io(&target.name))?;
        let stream: Box<dyn Stream> = match target.security {
            Security::Plain => Box::new(socket),
            Security::Tls => {
                let wrong = |error: rustls::Error| Failure::Usage(error.to_string());
                let config = tls::config().map_err(wrong)?;
                let connection = tls::connection(&config).map_err(wrong)?;
                Box::new(StreamOwned::new(connection, socket))
            }
            Security::StartTls => {
                return Err(Failure::Usage(
                    "imap: STARTTLS is not for load, use --tls".into(),
                ));
            }
        };
        let mut control = Self {
            stream,
            // Large enough for a header: nothing is streamed here.
            client: Client::with_inline_max(1 << 20),
            name: target.name.clone(),
        };
        let (user, password) = login;
        control.run_ok(
            &[
                Part::Text("LOGIN "),
                Part::String(user.as_bytes()),
                Part::Text(" "),
                Part::String(password.as_bytes()),
            ],
            |_| {},
        )?;
        Ok(control)
    }

    /// Runs a command, hands on all responses before its end, and returns that.
    pub fn run(
        &mut self,
        parts: &[Part<'_>],
        mut each: impl FnMut(&Response),
    ) -> Result<Status, Failure> {
        let tag = self.client.send(parts);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let mut output = Vec::new();
            self.client.transmit(&mut output);
            let what = self.name.clone();
            self.stream.write_all(&output).map_err(Failure::io(&what))?;
            let count = self.stream.read(&mut buffer).map_err(Failure::io(&what))?;
            if count == 0 {
                return Err(self.failure("closed by the server"));
            }
            let mut input = &buffer[..count];
            while !input.is_empty() {
                let used = self.client.receive(input);
                match self.client.event() {
                    Some(Event::Response(Response::Tagged(answered, status)))
                        if answered == tag =>
                    {
                        return Ok(status);
                    }
                    Some(Event::Response(response)) => each(&response),
                    Some(Event::Malformed(text)) => return Err(self.failure(&text)),
                    Some(Event::Literal(_)) | None => {}
                }
                input = &input[used..];
            }
        }
    }

    /// Like [`Control::run`]; anything but OK fails.
    pub fn run_ok(
        &mut self,
        parts: &[Part<'_>],
        each: impl FnMut(&Response),
    ) -> Result<(), Failure> {
        let status = self.run(parts, each)?;
        if status.is_ok() {
            return Ok(());
        }
        Err(self.failure(&format!("{:?} {}", status.condition, status.text)))
    }

    /// Messages in a mailbox, which is made if it is not there.
    pub fn messages(&mut self, mailbox: &str) -> Result<u32, Failure> {
        let name = Part::String(mailbox.as_bytes());
        let mut messages = None;
        let status = [Part::Text("STATUS "), name, Part::Text(" (MESSAGES)")];
        let answer = self.run(&status, |response| {
            if let Response::MailboxStatus(_, items) = response {
                let found = items
                    .iter()
                    .find(|(item, _)| item.eq_ignore_ascii_case("MESSAGES"));
                messages = found.map(|(_, count)| *count as u32);
            }
        })?;
        match messages {
            Some(count) if answer.is_ok() => Ok(count),
            _ => {
                self.run_ok(&[Part::Text("CREATE "), name], |_| {})?;
                Ok(0)
            }
        }
    }

    /// Removes a mailbox.
    pub fn delete(&mut self, mailbox: &str) -> Result<(), Failure> {
        let name = Part::String(mailbox.as_bytes());
        self.run_ok(&[Part::Text("DELETE "), name], |_| {})
    }

    fn failure(&self, answer: &str) -> Failure {
        Failure::Answer {
            target: self.name.clone(),
            connection: 0,
            answer: answer.to_owned(),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
