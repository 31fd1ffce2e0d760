//! What the sink says on one connection. No socket, no clock: octets in, octets out, and what follows.
//! RFC 5321; RFC 2920 (PIPELINING), RFC 3030 (CHUNKING), RFC 3207 (STARTTLS), RFC 4954 (AUTH).
//! It takes any sender and recipient, but counts it as a mistake where a sender breaks the order of commands or uses what was not
//! offered. Not here: pauses, `serve.rs`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use super::data::DataEnd;
use super::offers;
use super::script::{Fault, Place, Rules, Tls};
use super::tally::{Tally, Used};
use crate::messages::BodyCheck;

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More octets are needed.
    More,
    /// One reply was written; more of the input may be used.
    Reply,
    /// The same, then the handshake.
    StartTls,
    /// Goodbye, after what was written.
    Close,
    /// The connection is reset.
    Drop,
    /// Nothing more, after what was written.
    Stall,
    /// Octets without end.
    Endless,
}

/// What a step reads and writes beside its own state.
pub struct Scene<'a> {
    /// Of the destination.
    pub rules: &'a Rules,
    /// Of the destination.
    pub tally: &'a mut Tally,
    /// Replies.
    pub output: &'a mut Vec<u8>,
    /// Now.
    pub now: Instant,
}

/// One connection.
pub struct Dialog {
    state: State,
    faulty: bool,
    secure: bool,
    greeted: bool,
    mail: bool,
    turned_down: bool,
    recipients: Vec<u64>,
    messages: u64,
    used: Used,
    octets: u64,
    check: BodyCheck,
}

enum State {
    Command,
    Password,
    Data(DataEnd),
    Chunk { left: u64, last: bool },
    NoHandshake,
}

impl Dialog {
    /// The banner. The tally knows of the connection already.
    pub fn open(scene: &mut Scene<'_>) -> (Self, Step) {
        let (rules, tally) = (scene.rules, &*scene.tally);
        let dialog = Self {
            state: State::Command,
            faulty: rules.first.is_none_or(|first| tally.connections <= first),
            secure: false,
            greeted: false,
            mail: false,
            turned_down: false,
            recipients: Vec::new(),
            messages: 0,
            used: Used::default(),
            octets: 0,
            check: BodyCheck::default(),
        };
        let above = |max: Option<u64>, count: u64| max.is_some_and(|max| count > max);
        if above(rules.connections_total_max, tally.connections)
            || above(rules.connections_open_max, tally.open)
        {
            scene.reply(421, "4.7.0 sink.invalid too many connections");
            return (dialog, Step::Close);
        }
        if let Some((step, _)) = dialog.fault(Place::Banner, scene) {
            return (dialog, step);
        }
        scene.reply(220, "sink.invalid ESMTP");
        (dialog, Step::Reply)
    }

    /// TLS has begun. RFC 3207 4.2: what was said before is forgotten.
    pub fn secured(&mut self) {
        self.secure = true;
        self.greeted = false;
        self.reset();
    }

    /// Uses a part of the input.
    pub fn step(&mut self, input: &[u8], scene: &mut Scene<'_>) -> (usize, Step) {
        match &mut self.state {
            State::Command => self.line(input, scene, Self::command),
            State::Password => self.line(input, scene, |dialog, _, scene| {
                dialog.state = State::Command;
                scene.reply(235, "2.7.0 welcome");
                Step::Reply
            }),
            State::Data(end) => {
                if self.faulty && scene.rules.fault.is_some_and(|it| it.0 == Place::Middle) {
                    return (input.len(), self.middle(scene));
                }
                let (check, octets) = (&mut self.check, &mut self.octets);
                let used = end.receive(input, |content| {
                    check.receive(content);
                    *octets += content.len() as u64;
                });
                match used {
                    None => (input.len(), Step::More),
                    Some(used) => (used, self.finish(scene)),
                }
            }
            State::Chunk { .. } => self.chunk(input, scene),
            State::NoHandshake => {
                scene.output.extend_from_slice(GARBAGE);
                (input.len(), Step::Close)
            }
        }
    }

    fn line(
        &mut self,
        input: &[u8],
        scene: &mut Scene<'_>,
        take: impl FnOnce(&mut Self, &[u8], &mut Scene<'_>) -> Step,
    ) -> (usize, Step) {
        match memchr::memchr(b'\n', input) {
            Some(at) => {
                let line = input[..at].trim_ascii_end();
                (at + 1, take(self, line, scene))
            }
            None if input.len() > LINE_MAX => {
                scene.mistake(500, "5.5.6 line too long");
                (input.len(), Step::Close)
            }
            None => (0, Step::More),
        }
    }

    fn command(&mut self, line: &[u8], scene: &mut Scene<'_>) -> Step {
        let line = String::from_utf8_lossy(line);
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => return self.hello(true, scene),
            "HELO" => return self.hello(false, scene),
            "MAIL" => return self.mail(rest, scene),
            "RCPT" => return self.rcpt(rest, scene),
            "DATA" => return self.data(scene),
            "BDAT" => return self.bdat(rest, scene),
            "STARTTLS" => return self.start_tls(scene),
            "AUTH" => self.auth(rest, scene),
            "RSET" => {
                self.reset();
                scene.reply(250, "2.0.0 forgotten");
            }
            "NOOP" => scene.reply(250, "2.0.0 here"),
            "VRFY" => scene.reply(252, "2.5.0 try it"),
            "QUIT" => {
                scene.reply(221, "2.0.0 bye");
                return Step::Close;
            }
            _ => scene.mistake(500, "5.5.1 what is that?"),
        }
        Step::Reply
    }

    fn hello(&mut self, extended: bool, scene: &mut Scene<'_>) -> Step {
        if let Some((step, done)) = self.fault(Place::Hello, scene) {
            self.greeted |= done;
            return step;
        }
        self.reset();
        self.greeted = true;
        if !extended {
            scene.reply(250, "sink.invalid");
            return Step::Reply;
        }
        let lines = offers::lines(scene.rules, self.secure);
        for (index, line) in lines.iter().enumerate() {
            let mark = if index + 1 < lines.len() { '-' } else { ' ' };
            let line = format!("250{mark}{line}\r\n");
            scene.output.extend_from_slice(line.as_bytes());
        }
        Step::Reply
    }

    fn mail(&mut self, rest: &str, scene: &mut Scene<'_>) -> Step {
        // Until one is taken: what was sent along with it is no mistake of the sender's.
        self.turned_down |= !self.mail;
        if let Some((step, done)) = self.fault(Place::Mail, scene) {
            self.mail |= done;
            return step;
        }
        let max = scene.rules.messages_max;
        if max.is_some_and(|max| self.messages >= max) {
            scene.reply(421, "4.7.0 sink.invalid enough on this connection");
            return Step::Close;
        }
        if !self.greeted || self.mail {
            scene.mistake(503, "5.5.1 not now");
            return Step::Reply;
        }
        let Some((_, parameters)) = path(rest, "FROM:<") else {
            scene.mistake(501, "5.5.4 MAIL FROM:<path>");
            return Step::Reply;
        };
        if !offers::allows(scene.rules, parameters, offers::MAIL) {
            scene.mistake(555, "5.5.4 this was not offered");
            return Step::Reply;
        }
        let sizes = parameters
            .split(' ')
            .filter_map(|it| it.strip_prefix("SIZE="));
        let mut sizes = sizes.filter_map(|size| size.parse::<u64>().ok());
        if sizes.any(|size| size > scene.rules.size) {
            scene.refuse(552, "5.3.4 too large");
            return Step::Reply;
        }
        self.mail = true;
        self.turned_down = false;
        scene.reply(250, "2.1.0 sender ok");
        Step::Reply
    }

    fn rcpt(&mut self, rest: &str, scene: &mut Scene<'_>) -> Step {
        let address = path(rest, "TO:<").filter(|it| !it.0.is_empty());
        let hash = address.map_or(0, |(address, _)| hash(address));
        if let Some((step, done)) = self.fault(Place::Rcpt, scene) {
            self.recipients.extend(done.then_some(hash));
            self.turned_down |= !done;
            return step;
        }
        if !self.mail && self.turned_down {
            scene.refuse(503, "5.5.1 MAIL was turned down");
        } else if !self.mail {
            scene.mistake(503, "5.5.1 MAIL first");
        } else if address.is_none() {
            scene.mistake(501, "5.5.4 RCPT TO:<path>");
        } else if address.is_some_and(|it| !offers::allows(scene.rules, it.1, offers::RCPT)) {
            scene.mistake(555, "5.5.4 this was not offered");
        } else if let Some((code, text)) = self.turn_down(hash, scene) {
            self.turned_down = true;
            scene.refuse(code, text);
        } else {
            self.recipients.push(hash);
            scene.reply(250, "2.1.5 recipient ok");
        }
        Step::Reply
    }

    /// What the rules have against a recipient.
    fn turn_down(&self, hash: u64, scene: &mut Scene<'_>) -> Option<(u16, &'static str)> {
        if self.recipients.len() >= RECIPIENTS_MAX {
            return Some((452, "4.5.3 too many recipients"));
        }
        let tally = &mut *scene.tally;
        if let Some(wait) = scene.rules.greylist {
            let new = !tally.seen.contains_key(&hash);
            let first = *tally.seen.entry(hash).or_insert(scene.now);
            if new || scene.now.duration_since(first) < wait {
                return Some((451, "4.7.1 greylisted, come again"));
            }
        }
        let (code, percent) = scene.rules.rcpt.filter(|_| self.faulty)?;
        tally.share += percent;
        if tally.share < 100 {
            return None;
        }
        tally.share -= 100;
        Some(if code < 500 {
            (code, "4.2.0 not this one, not now")
        } else {
            (code, "5.1.1 not this one")
        })
    }

    fn data(&mut self, scene: &mut Scene<'_>) -> Step {
        if self.is_without_recipients(scene) {
            return Step::Reply;
        }
        if let Some((step, _)) = self.fault(Place::Data, scene) {
            return step;
        }
        self.state = State::Data(DataEnd::new());
        scene.reply(354, "go ahead");
        Step::Reply
    }

    fn bdat(&mut self, rest: &str, scene: &mut Scene<'_>) -> Step {
        let mut words = rest.split_ascii_whitespace();
        let left = words.next().and_then(|it| it.parse().ok());
        let last = words.next().map(|it| it.eq_ignore_ascii_case("LAST"));
        let Some(left) =
            left.filter(|_| last != Some(false) && offers::has(scene.rules, "CHUNKING"))
        else {
            // What follows can not be told from commands.
            scene.mistake(501, "5.5.4 BDAT size [LAST]");
            return Step::Close;
        };
        self.state = State::Chunk {
            left,
            last: last.is_some(),
        };
        match left {
            0 => self.chunk(b"", scene).1,
            _ => Step::More,
        }
    }

    fn chunk(&mut self, input: &[u8], scene: &mut Scene<'_>) -> (usize, Step) {
        let State::Chunk { left, last } = &mut self.state else {
            return (0, Step::More);
        };
        let (first, last) = (self.octets == 0, *last);
        let used = input
            .len()
            .min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= used as u64;
        let over = *left == 0;
        if self.faulty && scene.rules.fault.is_some_and(|it| it.0 == Place::Middle) {
            return (used, self.middle(scene));
        }
        self.check.receive(&input[..used]);
        self.octets += used as u64;
        if !over {
            return (used, Step::More);
        }
        self.state = State::Command;
        if self.is_without_recipients(scene) {
            return (used, Step::Reply);
        }
        let fault = first.then(|| self.fault(Place::Data, scene)).flatten();
        let step = match fault {
            Some((step, _)) => step,
            None if last => self.finish(scene),
            None => {
                scene.reply(250, "2.0.0 more");
                Step::Reply
            }
        };
        (used, step)
    }

    /// The message is whole.
    fn finish(&mut self, scene: &mut Scene<'_>) -> Step {
        self.state = State::Command;
        let fault = self.fault(Place::Dot, scene);
        if fault.is_some_and(|(_, done)| !done) {
            scene.tally.unanswered += 1;
        } else {
            let token = self.check.token();
            scene.tally.remember(token, &self.recipients, scene.now);
            scene.tally.accepted(&mut self.used, self.octets);
            scene.tally.damaged += u64::from(self.check.finish().is_err());
            self.messages += 1;
        }
        self.reset();
        match fault {
            Some((step, _)) => step,
            None => {
                scene.reply(250, "2.0.0 message ok");
                Step::Reply
            }
        }
    }

    fn start_tls(&mut self, scene: &mut Scene<'_>) -> Step {
        match scene.rules.tls {
            Tls::Yes if !self.secure => {
                scene.reply(220, "2.0.0 begin");
                return Step::StartTls;
            }
            Tls::Break if !self.secure => {
                scene.tally.faults += 1;
                self.state = State::NoHandshake;
                scene.reply(220, "2.0.0 begin");
            }
            Tls::Refuse => scene.refuse(454, "4.7.0 no TLS for now"),
            _ => scene.mistake(503, "5.5.1 not offered"),
        }
        Step::Reply
    }

    /// Any password will do. RFC 4954 4: the response comes with the command, or in a line of its own.
    fn auth(&mut self, rest: &str, scene: &mut Scene<'_>) {
        let mut words = rest.split(' ');
        let plain = words
            .next()
            .is_some_and(|it| it.eq_ignore_ascii_case("PLAIN"));
        if !scene.rules.auth || !plain {
            scene.mistake(504, "5.5.4 not offered");
        } else if words.next().is_some() {
            scene.reply(235, "2.7.0 welcome");
        } else {
            self.state = State::Password;
            scene.output.extend_from_slice(b"334 \r\n");
        }
    }

    /// Whether a message has nobody to go to, which is answered. RFC 2920 3.1: DATA may have been sent before the recipients' replies.
    fn is_without_recipients(&mut self, scene: &mut Scene<'_>) -> bool {
        if !self.recipients.is_empty() {
            return false;
        }
        if self.turned_down {
            scene.refuse(554, "5.5.1 no recipients");
        } else {
            scene.mistake(503, "5.5.1 no recipients");
        }
        self.check = BodyCheck::default();
        self.octets = 0;
        true
    }

    fn middle(&mut self, scene: &mut Scene<'_>) -> Step {
        let fault = self.fault(Place::Middle, scene);
        fault.map_or(Step::More, |(step, _)| step)
    }

    /// Plays the fault of a place: what follows, and whether the command counts as done.
    fn fault(&self, at: Place, scene: &mut Scene<'_>) -> Option<(Step, bool)> {
        let fault = scene.rules.fault.filter(|it| self.faulty && it.0 == at);
        let (_, fault) = fault?;
        scene.tally.faults += 1;
        let step = match fault {
            Fault::Stall => Step::Stall,
            Fault::Drop => Step::Drop,
            Fault::Garbage => {
                scene.output.extend_from_slice(GARBAGE);
                Step::Reply
            }
            Fault::Unfinished => {
                scene.output.extend_from_slice(b"250-and there is more\r\n");
                Step::Stall
            }
            Fault::Endless => Step::Endless,
            Fault::Code(code) => {
                scene.refuse(code, "sink.invalid as the script says");
                let step = if code == 421 {
                    Step::Close
                } else {
                    Step::Reply
                };
                return Some((step, code / 100 == 2));
            }
        };
        Some((step, false))
    }

    fn reset(&mut self) {
        self.mail = false;
        self.turned_down = false;
        self.recipients.clear();
        self.octets = 0;
        self.check = BodyCheck::default();
    }
}

impl Scene<'_> {
    fn reply(&mut self, code: u16, text: &str) {
        self.tally.deferred += u64::from(code / 100 == 4);
        let line = format!("{code} {text}\r\n");
        self.output.extend_from_slice(line.as_bytes());
    }

    fn refuse(&mut self, code: u16, text: &str) {
        self.tally.refused += u64::from(code / 100 == 5);
        self.reply(code, text);
    }

    fn mistake(&mut self, code: u16, text: &str) {
        self.tally.mistakes += 1;
        self.reply(code, text);
    }
}

/// The address of `FROM:<address> parameters`, and what follows.
fn path<'a>(text: &'a str, begin: &str) -> Option<(&'a str, &'a str)> {
    let head = text.get(..begin.len())?;
    let path = &text[begin.len()..];
    let (address, parameters) = path.split_once('>')?;
    head.eq_ignore_ascii_case(begin)
        .then_some((address, parameters))
}

fn hash(address: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    address.to_ascii_lowercase().hash(&mut hasher);
    hasher.finish()
}

const GARBAGE: &[u8] = b"\x00\xff\xfe this is no reply\r\n";
/// More than any command may have: RFC 5321 4.5.3.1.4, RFC 4954 4 (12288).
const LINE_MAX: usize = 16 * 1024;
const RECIPIENTS_MAX: usize = 1000;
