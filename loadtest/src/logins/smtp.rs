//! Logins in the words of submission: AUTH and QUIT. RFC 4954, RFC 6409.

use sasl::Mechanism;
use smtp::client::{Event, Session};
use smtp::{HelloKind, Reply};

use super::{Heard, Wire};

/// One connection.
pub(super) struct SmtpWire {
    session: Session,
    /// STARTTLS comes first.
    start_tls: bool,
}

impl SmtpWire {
    pub(super) fn new(start_tls: bool) -> Self {
        Self {
            session: Session::new("loadtest.invalid"),
            start_tls,
        }
    }

    fn event(&mut self, event: Event) -> Result<Option<Heard>, String> {
        Ok(match event {
            Event::Banner(reply) if reply.is_positive() => {
                self.session.hello(HelloKind::Extended);
                None
            }
            Event::Hello(reply) if reply.is_positive() && self.start_tls => {
                self.session.start_tls();
                None
            }
            Event::Hello(reply) if reply.is_positive() => Some(Heard::Greeted),
            Event::StartTls(reply) if reply.is_positive() => Some(Heard::StartTls),
            Event::Challenge(challenge) => Some(Heard::Challenge(challenge.to_vec())),
            Event::Authenticated(reply) => Some(match reply.code.number() {
                235 => Heard::Accepted,
                535 => Heard::Refused,
                454 => Heard::Unavailable,
                421 => Heard::TurnedAway,
                _ => return Err(line("AUTH", &reply)),
            }),
            Event::Banner(reply) | Event::Closing(reply) if reply.code.number() == 421 => {
                Some(Heard::TurnedAway)
            }
            Event::Quit(_) => Some(Heard::Goodbye),
            other => return Err(format!("not expected: {other:?}")),
        })
    }
}

impl Wire for SmtpWire {
    fn receive(&mut self, input: &[u8]) -> Result<(usize, Option<Heard>), String> {
        let mut used = 0;
        loop {
            let (step, event) = self.session.receive(&input[used..]);
            used += step;
            let Some(event) = event.map_err(|error| error.to_string())? else {
                return Ok((used, None));
            };
            if let Some(heard) = self.event(event)? {
                return Ok((used, Some(heard)));
            }
        }
    }

    fn secured(&mut self) {
        self.start_tls = false;
        self.session.tls_started();
        self.session.hello(HelloKind::Extended);
    }

    fn authenticate(&mut self, mechanism: Mechanism, initial: Option<&[u8]>) {
        self.session.auth(mechanism.name(), initial);
    }

    fn respond(&mut self, response: &[u8]) {
        self.session.auth_response(Some(response));
    }

    fn leave(&mut self) {
        self.session.quit();
    }

    fn transmit(&mut self, output: &mut Vec<u8>) {
        self.session.transmit(output);
    }
}

fn line(what: &str, reply: &Reply) -> String {
    format!("{what}: {} {}", reply.code.number(), reply.text)
}
