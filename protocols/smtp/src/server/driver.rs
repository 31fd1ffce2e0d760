//! Drives a session in tests: answers its events from a closure and keeps what came out.

use std::sync::Arc;

use super::{Config, Event, Kind, Link, Session};
use crate::reply::Reply;

/// A session with a log of events, message data joined.
pub(super) struct Driver {
    pub session: Session,
    pub output: Vec<u8>,
    pub log: Vec<String>,
    pub body: Vec<u8>,
}

pub(super) fn delivery() -> Config {
    Config {
        refuse_early_input: false,
        ..Config::new("mx.example", Kind::Delivery)
    }
}

pub(super) fn submission() -> Config {
    let auth_mechanisms = vec!["PLAIN", "LOGIN"];
    Config {
        auth_mechanisms,
        offer_starttls: true,
        ..Config::new("mx.example", Kind::Submission)
    }
}

impl Driver {
    pub fn new(config: Config, link: Link) -> Self {
        let mechanisms = config.auth_mechanisms.clone();
        let mut session = Session::new(Arc::new(config), link, "");
        if link == Link::Tls {
            session.offer_mechanisms(mechanisms);
        }
        session.greet();
        let mut output = Vec::new();
        session.transmit(&mut output);
        Driver {
            session,
            output: Vec::new(),
            log: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Feeds one read. `decide` gets each event that needs a decision; `None` accepts.
    pub fn feed(
        &mut self,
        input: &[u8],
        decide: &mut dyn FnMut(&Event<'_>) -> Option<Reply>,
    ) -> usize {
        let mut at = 0;
        loop {
            let (used, event) = self.session.receive(&input[at..]);
            at += used;
            assert!(at <= input.len());
            match event {
                Some(Event::Body(content)) => {
                    assert!(!content.is_empty());
                    self.body.extend_from_slice(content);
                }
                Some(event) => {
                    self.log.push(format!("{event:?}"));
                    if event.needs_decision() {
                        match decide(&event) {
                            Some(reply) => self.session.decide(reply),
                            None => self.session.accept(),
                        }
                    }
                }
                None => {
                    self.session.transmit(&mut self.output);
                    if at == input.len() || self.session.is_starting_tls() {
                        return at;
                    }
                }
            }
        }
    }

    /// Feeds with everything accepted; returns what the peer gets for it.
    pub fn say(&mut self, input: &str) -> String {
        self.say_with(input, &mut |_| None)
    }

    pub fn say_with(
        &mut self,
        input: &str,
        decide: &mut dyn FnMut(&Event<'_>) -> Option<Reply>,
    ) -> String {
        self.feed(input.as_bytes(), decide);
        String::from_utf8(std::mem::take(&mut self.output)).unwrap()
    }

    /// The codes of the replies alone, enhanced ones with them.
    pub fn codes(&mut self, input: &str) -> String {
        let text = self.say(input);
        let line = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
        text.lines()
            .filter(last)
            .map(line)
            .collect::<Vec<_>>()
            .join(", ")
    }
}
