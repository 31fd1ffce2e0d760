//! The server session: bytes in, events out, decisions in, bytes out.
//!
//! Called by the connection (`smtp_server/connection.rs`), by tests and fuzzers. Input is not trusted.
//! RFC 5321, 2920 (pipelining), 3030 (BDAT), 3207 (STARTTLS), 4954 (AUTH), 3848 (keywords for Received).
//! Not here: policy, time, sockets, SASL mechanisms; single commands are in `commands.rs`.

use std::sync::Arc;

use memchr::memchr;
use sasl::Secret;

use super::body::Decoder;
use super::config::{Config, Kind, Link};
use super::event::{AuthAbort, CloseReason, Deadline, Event};
use super::hello;
use super::state::{Chunk, Fate, Question, Stage, State};
use crate::command::HelloKind;
use crate::future_release::FutureRelease;
use crate::limits::{AUTH_START_MAX, OUTPUT_MAX, PASSED_OVER_MAX};
use crate::reply::{Code, Reply};

/// One SMTP session, seen from the server.
///
/// ```
/// use std::sync::Arc;
/// use ringmail_smtp::server::{Config, Event, Kind, Link, Session};
///
/// let config = Arc::new(Config::new("mx.example", Kind::Delivery));
/// let mut session = Session::new(config, Link::Plain, "id1");
/// let mut output = Vec::new();
/// session.greet();
///
/// let input = b"HELO client.example\r\n";
/// let mut at = 0;
/// loop {
///     let (used, event) = session.receive(&input[at..]);
///     at += used;
///     match event {
///         Some(Event::Body(_content)) => {}
///         Some(event) if event.needs_decision() => session.accept(),
///         Some(_) => {}
///         None => {
///             // Write what there is, then carry on with what is left, or read.
///             session.transmit(&mut output);
///             if at == input.len() || session.is_closed() || session.is_starting_tls() {
///                 break;
///             }
///         }
///     }
/// }
/// assert_eq!(output, b"220 mx.example ESMTP ringmail\r\n250 mx.example\r\n");
/// ```
#[derive(Debug)]
pub struct Session {
    // Arc: one configuration for the sessions of all cores, never changed.
    pub(super) config: Arc<Config>,
    connection_id: Box<str>,
    pub(super) state: State,
    pub(super) link: Link,
    pub(super) authenticated: bool,
    /// Known by a TLS client certificate: what needs authentication works, and AUTH may still name another address.
    pub(super) identified: bool,
    /// What AUTH takes now, in the order of announcement.
    pub(super) mechanisms: Vec<&'static str>,
    /// What HOLDFOR and HOLDUNTIL may ask for.
    pub(super) future_release: Option<FutureRelease>,
    /// A valid command was seen: the peer speaks SMTP.
    pub(super) speaks_smtp: bool,
    pub(super) errors: u32,
    draining: bool,
    /// Beginning of a line whose end is not there yet.
    line: Vec<u8>,
    /// What was passed over so far of a line that is too long, and whose end is not there yet.
    passed_over: Option<usize>,
    pub(super) output: Vec<u8>,
    last_code: Option<Code>,
}

/// What a part of the input led to.
pub(super) enum Flow<'i> {
    Event(Event<'i>),
    Again,
    Wait,
}

impl<'i> From<Option<Event<'i>>> for Flow<'i> {
    fn from(event: Option<Event<'i>>) -> Self {
        event.map_or(Flow::Again, Flow::Event)
    }
}

impl Session {
    /// A session before its banner. `connection_id` ends each error reply in parentheses, unless it is empty.
    pub fn new(config: Arc<Config>, link: Link, connection_id: &str) -> Self {
        Session {
            config,
            connection_id: connection_id.into(),
            state: State::Banner,
            link,
            authenticated: false,
            identified: false,
            mechanisms: Vec::new(),
            future_release: None,
            speaks_smtp: false,
            errors: 0,
            draining: false,
            line: Vec::new(),
            passed_over: None,
            output: Vec::new(),
            last_code: None,
        }
    }

    /// Writes the banner; commands are read from now on. To turn a peer away, call [`Session::close`] instead.
    pub fn greet(&mut self) {
        if let State::Banner = self.state {
            self.say(&Reply::banner(&self.config.hostname));
            self.state = State::Command(Stage::Start);
        }
    }

    /// Takes input up to the next event; says how much of it is used up.
    ///
    /// `None` means: transmit, then call again with what is left, if anything, or with new input. While a decision is
    /// due, before the banner, and during the TLS handshake nothing is used. A closed session uses up everything.
    pub fn receive<'i>(&mut self, input: &'i [u8]) -> (usize, Option<Event<'i>>) {
        let mut used = 0;
        while self.output.len() < OUTPUT_MAX {
            let rest = &input[used..];
            let (step, flow) = match self.state {
                State::Command(_) if self.passed_over.is_some() => self.pass_over(rest),
                State::Command(_) | State::AuthResponse => self.line(rest),
                State::Data(hello, decoder) => self.data(hello, decoder, rest),
                State::Chunk(chunk) => self.chunk(chunk, rest),
                State::Closed => (rest.len(), Flow::Wait),
                State::Banner | State::Asked(_) | State::Handshake => (0, Flow::Wait),
            };
            used += step;
            match flow {
                Flow::Event(event) => return (used, Some(event)),
                Flow::Again => {}
                Flow::Wait => break,
            }
        }
        (used, None)
    }

    /// Answers the event that needs a decision; says what the peer gets, and moves on accordingly. 421 closes.
    pub fn decide(&mut self, reply: Reply) {
        let State::Asked(question) = self.state else {
            debug_assert!(false, "decide() without an event that needs a decision");
            return;
        };
        let reply = match question {
            // A defective message is never accepted, whatever the caller says.
            Question::EndOfMessage { decoder, .. } if reply.is_positive() => {
                decoder.defect().map_or(reply, |defect| defect.reply())
            }
            _ => reply,
        };
        self.state = self.after(question, &reply);
        self.last_code = Some(reply.code);
        match question {
            Question::Hello { kind, .. } if reply.is_positive() => {
                hello::write(
                    &self.config,
                    kind,
                    self.link,
                    &self.mechanisms,
                    self.future_release,
                    &mut self.output,
                );
            }
            _ => self.say(&reply),
        }
        // RFC 5321 3.8: 421 announces that the channel closes.
        if reply.code.number() == 421 {
            self.state = State::Closed;
        }
    }

    /// Answers the event with its usual positive reply. AUTH has none: it is refused.
    pub fn accept(&mut self) {
        let State::Asked(question) = self.state else {
            debug_assert!(false, "accept() without an event that needs a decision");
            return;
        };
        self.decide(match question {
            Question::Hello { .. } => Reply::hello_accepted(),
            Question::StartTls { .. } => Reply::ready_to_start_tls(),
            Question::Auth => Reply::authentication_failed(),
            Question::Mail(_) => Reply::sender_ok(),
            Question::Recipient(_) => Reply::recipient_ok(),
            Question::DataStart(_) => Reply::start_mail_input(),
            Question::EndOfMessage { .. } => Reply::message_accepted(),
        });
    }

    fn after(&mut self, question: Question, reply: &Reply) -> State {
        let positive = reply.is_positive();
        let stage = match question {
            Question::Hello { kind, .. } if positive => Stage::Ready(kind),
            Question::StartTls { .. } if positive => return State::Handshake,
            // RFC 5321 4.1.4: after a refused EHLO the state is as before.
            Question::Hello { before, .. } | Question::StartTls { before } => before,
            Question::Auth if reply.code.is_intermediate() => return State::AuthResponse,
            Question::Auth => {
                self.authenticated |= positive;
                Stage::Ready(HelloKind::Extended)
            }
            Question::Mail(transaction) if positive => Stage::Transaction(transaction),
            Question::Mail(transaction) => Stage::Ready(transaction.hello),
            Question::Recipient(mut transaction) => {
                transaction.recipients += u32::from(positive);
                Stage::Transaction(transaction)
            }
            Question::DataStart(transaction) if reply.code.is_intermediate() => {
                return State::Data(transaction.hello, Decoder::data(&self.config));
            }
            Question::DataStart(transaction) => Stage::Ready(transaction.hello),
            // RFC 5321 4.1.1.4: the buffers are cleared, whatever the answer.
            Question::EndOfMessage { hello, .. } => {
                if positive {
                    self.errors = 0;
                }
                Stage::Ready(hello)
            }
        };
        State::Command(stage)
    }

    /// Moves what is to be written to the end of `output`.
    pub fn transmit(&mut self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.output);
        self.output.clear();
        // An idle session keeps no large buffer.
        self.output.shrink_to(KEPT_MAX);
    }

    /// Whether there is something to write.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether all is said: transmit, then close the connection.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether STARTTLS was accepted and the handshake is due. Nothing may be left of the input: the session has refused
    /// STARTTLS if something was.
    pub fn is_starting_tls(&self) -> bool {
        matches!(self.state, State::Handshake)
    }

    /// The handshake is done. RFC 3207 4.2: all that was learned before is forgotten.
    pub fn tls_started(&mut self) {
        debug_assert!(self.is_starting_tls(), "tls_started() without STARTTLS");
        self.link = Link::Tls;
        self.authenticated = false;
        self.identified = false;
        self.mechanisms.clear();
        self.future_release = None;
        self.state = State::Command(Stage::Start);
    }

    /// The mechanisms that AUTH takes and EHLO announces from now on: said again after STARTTLS, which takes all offers back.
    pub fn offer_mechanisms(&mut self, mechanisms: Vec<&'static str>) {
        self.mechanisms = mechanisms;
    }

    /// What EHLO announces of messages that are held, and MAIL takes (RFC 4865): said before each EHLO is decided, for it names a time. Submission
    /// only (section 4.2).
    pub fn offer_future_release(&mut self, offer: FutureRelease) {
        self.future_release = Some(offer);
    }

    /// The peer is authenticated by other means (a TLS client certificate): MAIL works without AUTH, which may follow all the same.
    pub fn set_identified(&mut self) {
        self.identified = true;
    }

    /// Whether AUTH succeeded, or [`Session::set_identified`] spared it.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated || self.identified
    }

    /// The code of the last reply, for logs and metrics.
    pub fn last_code(&self) -> Option<Code> {
        self.last_code
    }

    /// Whether the bytes come through TLS.
    pub fn link(&self) -> Link {
        self.link
    }

    /// What the session waits for.
    pub fn deadline(&self) -> Deadline {
        match self.state {
            State::Banner | State::Asked(_) => Deadline::Caller,
            State::Command(_) => Deadline::Command,
            State::AuthResponse => Deadline::AuthResponse,
            State::Data(..) | State::Chunk(_) => Deadline::DataBlock,
            State::Handshake => Deadline::Handshake,
            State::Closed => Deadline::Closed,
        }
    }

    /// Whether a transaction is open, its data included. A session that is not in one may be closed without loss.
    pub fn in_transaction(&self) -> bool {
        match self.state {
            State::Command(stage) => matches!(stage, Stage::Transaction(_)),
            State::Asked(question) => !matches!(question, Question::Hello { .. } | Question::Auth),
            State::Data(..) | State::Chunk(_) => true,
            State::Banner | State::AuthResponse | State::Handshake | State::Closed => false,
        }
    }

    /// From now on the next command is answered with 421 4.3.2. A message under way is received to its end.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Writes `reply` (421 for a timeout, a full server, ...) and closes, whatever the state.
    pub fn close(&mut self, reply: Reply) {
        if !self.is_closed() {
            self.say(&reply);
            self.state = State::Closed;
        }
    }

    /// The word after `with` in a Received field: RFC 3848, and RFC 6531 4.3 for messages that need SMTPUTF8.
    pub fn transmission_type(&self, hello: HelloKind, smtputf8: bool) -> &'static str {
        match (hello, smtputf8, self.link, self.is_authenticated()) {
            (HelloKind::Plain, ..) => "SMTP",
            (_, false, Link::Plain, false) => "ESMTP",
            (_, false, Link::Plain, true) => "ESMTPA",
            (_, false, Link::Tls, false) => "ESMTPS",
            (_, false, Link::Tls, true) => "ESMTPSA",
            (_, true, Link::Plain, false) => "UTF8SMTP",
            (_, true, Link::Plain, true) => "UTF8SMTPA",
            (_, true, Link::Tls, false) => "UTF8SMTPS",
            (_, true, Link::Tls, true) => "UTF8SMTPSA",
        }
    }

    pub(super) fn say(&mut self, reply: &Reply) {
        self.last_code = Some(reply.code);
        reply.write_to(&self.connection_id, &mut self.output);
    }

    pub(super) fn close_because(
        &mut self,
        reply: &Reply,
        reason: CloseReason,
    ) -> Option<Event<'static>> {
        self.say(reply);
        self.state = State::Closed;
        Some(Event::Closed(reason))
    }

    /// Reads up to the end of a line, keeping its beginning if the end is not there.
    fn line(&mut self, rest: &[u8]) -> (usize, Flow<'static>) {
        if rest.is_empty() {
            return (0, Flow::Wait);
        }
        let used = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let complete = rest[used - 1] == b'\n';
        if self.line.len() + used > self.line_max(rest) {
            self.passed_over = (!complete).then_some(0);
            return (used, self.line_too_long(rest).into());
        }
        if complete && self.line.is_empty() {
            return (
                used,
                self.complete_line(&rest[..used], used < rest.len()).into(),
            );
        }
        self.line.extend_from_slice(&rest[..used]);
        if !complete {
            return (used, Flow::Wait);
        }
        // It may hold a password: wiped when dropped.
        let line = Secret::new(std::mem::take(&mut self.line));
        (used, self.complete_line(&line, used < rest.len()).into())
    }

    fn line_max(&self, rest: &[u8]) -> usize {
        let mut head = self
            .line
            .iter()
            .chain(rest)
            .take(5)
            .map(u8::to_ascii_uppercase);
        let is_auth = matches!(self.state, State::AuthResponse) || head.by_ref().eq(*b"AUTH ");
        if is_auth {
            self.config.auth_line_max
        } else {
            self.config.command_line_max
        }
    }

    /// RFC 4954 4: a login that is too long is a failed one, with a code of its own, and the session goes on. After any other line it
    /// closes, and does not wait for the line's end.
    fn line_too_long(&mut self, rest: &[u8]) -> Option<Event<'static>> {
        let line = Secret::new(std::mem::take(&mut self.line));
        let reply = Reply::authentication_line_too_long();
        match self.state {
            State::AuthResponse => {
                self.state = State::Command(Stage::Ready(HelloKind::Extended));
                let aborted = Event::AuthAborted(AuthAbort::Malformed);
                self.refuse(reply).or(Some(aborted))
            }
            State::Command(stage) => match self.mechanism_at_start(stage, &line, rest) {
                Some(mechanism) => self.refuse_authentication(mechanism, reply),
                None => self.close_because(&Reply::line_too_long(), CloseReason::LineTooLong),
            },
            _ => self.close_because(&Reply::line_too_long(), CloseReason::LineTooLong),
        }
    }

    /// The mechanism of a line that begins with an AUTH that may be given now.
    fn mechanism_at_start(&self, stage: Stage, line: &[u8], rest: &[u8]) -> Option<&'static str> {
        let start: Vec<u8> = line
            .iter()
            .chain(rest)
            .copied()
            .take(AUTH_START_MAX)
            .collect();
        let mut words = start.split(|&octet| octet == b' ');
        let is_auth = words.next()?.eq_ignore_ascii_case(b"AUTH");
        let mechanism = std::str::from_utf8(words.next()?).ok()?;
        self.may_authenticate(stage, mechanism)
            .ok()
            .filter(|_| is_auth)
    }

    /// Passes over the rest of a line that is too long, up to a limit.
    fn pass_over(&mut self, rest: &[u8]) -> (usize, Flow<'static>) {
        if rest.is_empty() {
            return (0, Flow::Wait);
        }
        let end = memchr(b'\n', rest).map(|at| at + 1);
        let used = end.unwrap_or(rest.len());
        let passed = self.passed_over.unwrap_or(0) + used;
        self.passed_over = end.is_none().then_some(passed);
        if passed > PASSED_OVER_MAX {
            let reply = Reply::line_too_long();
            return (
                used,
                self.close_because(&reply, CloseReason::LineTooLong).into(),
            );
        }
        (used, Flow::Again)
    }

    /// `line` ends in LF; `more` says whether input follows.
    fn complete_line(&mut self, line: &[u8], more: bool) -> Option<Event<'static>> {
        let content = line.strip_suffix(b"\r\n");
        match self.state {
            State::AuthResponse => self.auth_response(content),
            State::Command(_) if self.draining => {
                self.close_because(&Reply::shutting_down(), CloseReason::Draining)
            }
            State::Command(stage) => self.command(stage, content, more),
            _ => None,
        }
    }

    fn auth_response(&mut self, content: Option<&[u8]>) -> Option<Event<'static>> {
        let (abort, reply) = match content {
            Some(b"*") => (AuthAbort::Cancelled, Reply::authentication_cancelled()),
            Some(line) => match sasl::base64::decode(line) {
                Ok(response) => {
                    self.state = State::Asked(Question::Auth);
                    return Some(Event::AuthResponse(response));
                }
                Err(_) => (AuthAbort::Malformed, Reply::bad_base64("not valid base64")),
            },
            None => (AuthAbort::Malformed, Reply::bare_line_feed()),
        };
        self.state = State::Command(Stage::Ready(HelloKind::Extended));
        // Too many of them close the session, which ends the exchange as well.
        self.refuse(reply).or(Some(Event::AuthAborted(abort)))
    }

    fn data<'i>(
        &mut self,
        hello: HelloKind,
        mut decoder: Decoder,
        rest: &'i [u8],
    ) -> (usize, Flow<'i>) {
        if rest.is_empty() {
            return (0, Flow::Wait);
        }
        let step = decoder.step(rest);
        if step.end {
            return (step.used, self.end_of_message(hello, decoder).into());
        }
        self.state = State::Data(hello, decoder);
        (step.used, body(step.content))
    }

    fn chunk<'i>(&mut self, mut chunk: Chunk, rest: &'i [u8]) -> (usize, Flow<'i>) {
        if chunk.remaining == 0 {
            return (0, self.end_of_chunk(chunk).into());
        }
        if rest.is_empty() {
            return (0, Flow::Wait);
        }
        let length = usize::try_from(chunk.remaining)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        let (used, flow) = match &mut chunk.fate {
            Fate::Deliver(_, decoder) => {
                let step = decoder.step(&rest[..length]);
                (step.used, body(step.content))
            }
            Fate::Refuse(..) => (length, Flow::Again),
        };
        chunk.remaining -= used as u64;
        self.state = State::Chunk(chunk);
        (used, flow)
    }

    fn end_of_chunk(&mut self, chunk: Chunk) -> Option<Event<'static>> {
        let (mut transaction, mut decoder) = match chunk.fate {
            Fate::Refuse(stage, reply) => {
                self.say(&reply());
                self.state = State::Command(stage);
                return None;
            }
            Fate::Deliver(transaction, decoder) => (transaction, decoder),
        };
        if chunk.last {
            decoder.finish_chunks();
            return self.end_of_message(transaction.hello, decoder);
        }
        // RFC 3030 2: once a chunk has failed, the transaction has; further chunks get 503.
        if let Some(defect) = decoder.defect() {
            self.say(&defect.reply());
            self.state = State::Command(Stage::Ready(transaction.hello));
            return Some(Event::Reset);
        }
        transaction.chunks = Some(decoder);
        self.say(&Reply::chunk_received());
        self.state = State::Command(Stage::Transaction(transaction));
        None
    }

    fn end_of_message(&mut self, hello: HelloKind, decoder: Decoder) -> Option<Event<'static>> {
        self.state = State::Asked(Question::EndOfMessage { hello, decoder });
        Some(Event::EndOfMessage {
            octets: decoder.octets(),
            defect: decoder.defect(),
        })
    }

    pub(super) fn is_submission(&self) -> bool {
        self.config.kind == Kind::Submission
    }
}

fn body(content: &[u8]) -> Flow<'_> {
    if content.is_empty() {
        Flow::Again
    } else {
        Flow::Event(Event::Body(content))
    }
}

/// Most octets of the output buffer that a session keeps between replies.
const KEPT_MAX: usize = 512;
