//! Logins in the words of IMAP: AUTHENTICATE and LOGOUT. RFC 9051 6.2.2, RFC 4959 (initial response), RFC 5530 (codes).

use imap::client::{Client, Event, Part, Response, ResponseCode, Status};
use imap::response::Condition;
use imap::types::Tag;
use sasl::Mechanism;

use super::{Heard, Wire};

/// One connection.
pub(super) struct ImapWire {
    client: Client,
    stage: Stage,
    initial_response: bool,
    /// Waits for the challenge that asks for it.
    held: Option<Vec<u8>>,
}

enum Stage {
    Greeting,
    Capability(Tag),
    Ready,
    Authenticate(Tag),
    Logout(Tag),
}

impl ImapWire {
    pub(super) fn new() -> Self {
        Self {
            client: Client::new(),
            stage: Stage::Greeting,
            initial_response: false,
            held: None,
        }
    }

    fn response(&mut self, response: Response) -> Result<Option<Heard>, String> {
        match response {
            Response::Status(status) => self.status(status),
            Response::Tagged(tag, status) => self.tagged(&tag, &status).map(Some),
            Response::Continuation(text) => self.challenge(&text),
            Response::Capability(names) => {
                self.capabilities(&names);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn status(&mut self, status: Status) -> Result<Option<Heard>, String> {
        let leaving = matches!(self.stage, Stage::Logout(_));
        match status.condition {
            Condition::Bye if leaving => return Ok(None),
            Condition::Bye => return Ok(Some(Heard::TurnedAway)),
            Condition::Ok => {}
            _ => return Err(line("*", &status)),
        }
        if !matches!(self.stage, Stage::Greeting) {
            return Ok(None);
        }
        if let Some(ResponseCode::Capability(names)) = &status.code {
            self.capabilities(names);
            self.stage = Stage::Ready;
            return Ok(Some(Heard::Greeted));
        }
        self.stage = Stage::Capability(self.client.command("CAPABILITY"));
        Ok(None)
    }

    fn tagged(&mut self, tag: &Tag, status: &Status) -> Result<Heard, String> {
        let (Stage::Capability(expected) | Stage::Authenticate(expected) | Stage::Logout(expected)) =
            &self.stage
        else {
            return Err(line("an answer nobody waits for", status));
        };
        if tag != expected {
            return Err(line("a tag nobody used", status));
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Ready);
        if status.is_ok() {
            return Ok(match stage {
                Stage::Capability(_) => Heard::Greeted,
                Stage::Logout(_) => Heard::Goodbye,
                _ => Heard::Accepted,
            });
        }
        match (&stage, &status.code) {
            (Stage::Authenticate(_), Some(ResponseCode::Other(code, _)))
                if status.condition == Condition::No =>
            {
                match code.as_str() {
                    "AUTHENTICATIONFAILED" => Ok(Heard::Refused),
                    "UNAVAILABLE" => Ok(Heard::Unavailable),
                    _ => Err(line("AUTHENTICATE", status)),
                }
            }
            _ => Err(line("tagged", status)),
        }
    }

    fn challenge(&mut self, text: &str) -> Result<Option<Heard>, String> {
        if let Some(initial) = self.held.take() {
            self.respond(&initial);
            return Ok(None);
        }
        let challenge = sasl::base64::decode(text.as_bytes());
        let challenge = challenge.map_err(|_| format!("a challenge that is not base64: {text}"))?;
        Ok(Some(Heard::Challenge(challenge.to_vec())))
    }

    fn capabilities(&mut self, names: &[String]) {
        self.initial_response = names
            .iter()
            .any(|name| name.eq_ignore_ascii_case("SASL-IR"));
    }
}

impl Wire for ImapWire {
    fn receive(&mut self, input: &[u8]) -> Result<(usize, Option<Heard>), String> {
        let mut used = 0;
        while used < input.len() {
            used += self.client.receive(&input[used..]);
            let heard = match self.client.event() {
                Some(Event::Response(response)) => self.response(response)?,
                Some(Event::Malformed(text)) => return Err(format!("cannot be read: {text}")),
                Some(Event::Literal(_)) | None => None,
            };
            if heard.is_some() {
                return Ok((used, heard));
            }
        }
        Ok((used, None))
    }

    fn secured(&mut self) {}

    fn authenticate(&mut self, mechanism: Mechanism, initial: Option<&[u8]>) {
        let mut command = format!("AUTHENTICATE {mechanism}");
        match initial {
            Some(initial) if self.initial_response => {
                command += " ";
                command += &sasl::base64::encode(initial);
            }
            other => self.held = other.map(<[u8]>::to_vec),
        }
        let tag = self.client.send(&[Part::Text(&command)]);
        self.stage = Stage::Authenticate(tag);
    }

    fn respond(&mut self, response: &[u8]) {
        self.client.line(&sasl::base64::encode(response));
    }

    fn leave(&mut self) {
        self.stage = Stage::Logout(self.client.command("LOGOUT"));
    }

    fn transmit(&mut self, output: &mut Vec<u8>) {
        self.client.transmit(output);
    }
}

fn line(what: &str, status: &Status) -> String {
    format!("{what}: {} {}", status.condition.as_str(), status.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_response_waits_where_there_is_no_room_for_it() {
        for (capabilities, sent) in [
            ("IMAP4rev1 SASL-IR", "c1 AUTHENTICATE PLAIN YWJj\r\n"),
            ("IMAP4rev1", "c1 AUTHENTICATE PLAIN\r\n"),
        ] {
            let mut wire = ImapWire::new();
            let greeting = format!("* OK [CAPABILITY {capabilities}] hello\r\n");
            let (used, heard) = wire.receive(greeting.as_bytes()).unwrap();
            assert_eq!(used, greeting.len());
            assert!(matches!(heard, Some(Heard::Greeted)));
            wire.authenticate(Mechanism::Plain, Some(b"abc"));
            let mut output = Vec::new();
            wire.transmit(&mut output);
            assert_eq!(output, sent.as_bytes());
            if wire.held.is_some() {
                assert!(wire.receive(b"+ \r\n").unwrap().1.is_none());
                output.clear();
                wire.transmit(&mut output);
                assert_eq!(output, b"YWJj\r\n");
            }
            let (_, heard) = wire
                .receive(b"c1 NO [AUTHENTICATIONFAILED] no\r\n")
                .unwrap();
            assert!(matches!(heard, Some(Heard::Refused)));
        }
    }
}
