//! The state machine of one connection and its interface.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::appending::{Append, Skip};
use super::event::{AuthenticateResponse, Event};
use super::state::{Awaits, Config, NonSynchronizing, StartTls, State};
use crate::command::{AllowedIn, Request};
use crate::framing::{LiteralHeader, append_arguments, strip_line_end};
use crate::grammar::{decode_base64, parse_command};
use crate::limits::{COMMAND_START_MAX, LITERAL_MINUS_MAX, LITERALS_BEFORE_LOGIN_MAX};
use crate::response::{self, Code, Condition};
use crate::types::{NameSyntax, Tag};

/// What the next octets are.
#[derive(Debug)]
pub(super) enum Phase {
    /// A command line, or the rest of one.
    Line,
    /// So many octets of a literal that stands for a string.
    Literal(usize),
    /// Nothing is read: the owner has a command to answer.
    Busy,
    /// A line of base64.
    AuthenticateResponse,
    /// DONE.
    Idle(Tag),
    /// Nothing is read: the owner decides about a message.
    AppendDecision(Box<Append>),
    /// Octets of a message.
    AppendData(Box<Append>),
    /// The line between messages, or the end of the command.
    AppendBetween(Box<Append>),
    /// The rest of a command that has been refused.
    Skip(Box<Skip>),
    /// Nothing counts any more.
    Closed,
}

/// One connection as the server sees it. No buffer is kept between commands: an idle session is this struct and nothing else.
/// It is `Send` and may move to another core whenever it awaits a command.
///
/// The owner's loop:
/// 1. `receive` the input; it may use only a part, and nothing while [`Awaits::Owner`];
/// 2. `transmit` into the output;
/// 3. for each `event`: do it, writing responses to the same output, then tell the session; `transmit` again;
/// 4. from 1 with the unused input.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Config,
    state: State,
    syntax: NameSyntax,
    /// Whether a valid command has been seen.
    introduced: bool,
    connection_id: Box<str>,
    refusals: u32,
    literals: u32,
    pub(super) phase: Phase,
    /// The command so far: lines with CRLF, and literals in place.
    buffer: Vec<u8>,
    /// Where the line that is being read begins in `buffer`.
    line_start: usize,
    /// What was passed over so far of a line that is too long, and whose end is not there yet.
    passed_over: Option<u32>,
    pub(super) output: Vec<u8>,
    events: VecDeque<Event>,
}

impl Session {
    /// A session before its first command. The greeting is the owner's to write.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            state: config.state,
            syntax: NameSyntax::ModifiedUtf7,
            introduced: false,
            connection_id: Box::default(),
            refusals: 0,
            literals: 0,
            phase: Phase::Line,
            buffer: Vec::new(),
            line_start: 0,
            passed_over: None,
            output: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// From now on `connection_id` ends each NO, BAD and BYE in parentheses, unless it is empty.
    pub fn with_connection_id(mut self, connection_id: &str) -> Self {
        self.connection_id = connection_id.into();
        self
    }

    /// What ends each NO, BAD and BYE.
    pub fn connection_id(&self) -> &str {
        &self.connection_id
    }

    /// NO, BAD or BYE, as the session writes it.
    pub(super) fn refusal(
        &self,
        tag: Option<&Tag>,
        condition: Condition,
        code: Option<&Code<'_>>,
        words: &str,
    ) -> Vec<u8> {
        let mut reply = Vec::new();
        response::refusal(&mut reply, tag, condition, code, words, &self.connection_id);
        reply
    }

    /// Reads input and says how many octets it used. Unused octets are to be given again, once the events are dealt with.
    pub fn receive(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        while used < input.len() && self.reads() {
            used += self.step(&input[used..], used);
        }
        used
    }

    /// The next thing to do.
    pub fn event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() && self.events.capacity() > 0 {
            self.events = VecDeque::new();
        }
        event
    }

    /// Appends what the session itself has to say: continuations, and answers to what cannot be taken.
    pub fn transmit(&mut self, output: &mut Vec<u8>) {
        if !self.output.is_empty() {
            output.append(&mut self.output);
            self.output = Vec::new();
        }
    }

    /// The tagged response of the current command has been written: the next one may be read.
    pub fn answered(&mut self) {
        if matches!(self.phase, Phase::Busy) {
            self.phase = Phase::Line;
        }
    }

    /// Someone has logged in. To be called before `answered`.
    pub fn authenticated(&mut self) {
        self.state = State::Authenticated;
    }

    /// A mailbox is selected now.
    pub fn selected(&mut self, read_only: bool) {
        self.state = State::Selected { read_only };
    }

    /// No mailbox is selected any more (CLOSE, UNSELECT, a failed SELECT).
    pub fn unselected(&mut self) {
        if matches!(self.state, State::Selected { .. }) {
            self.state = State::Authenticated;
        }
    }

    /// The syntax of names has changed: [`NameSyntax::Utf8`] after ENABLE IMAP4rev2 or UTF8=ACCEPT.
    pub fn enable(&mut self, syntax: NameSyntax) {
        self.syntax = syntax;
    }

    /// TLS is up: STARTTLS is answered and not offered again. RFC 9051 6.2.1: all that came before is forgotten.
    pub fn tls_started(&mut self) {
        self.config.starttls = StartTls::NotOffered;
        self.buffer = Vec::new();
        self.line_start = 0;
        self.answered();
    }

    /// Sends a challenge of AUTHENTICATE; [`Event::AuthenticateResponse`] follows.
    pub fn challenge(&mut self, octets: &[u8]) {
        if matches!(self.phase, Phase::Busy) {
            response::challenge(&mut self.output, octets);
            self.phase = Phase::AuthenticateResponse;
        }
    }

    /// Nothing more will be read: after the BYE of LOGOUT, of a timeout, of a shutdown.
    pub fn close(&mut self) {
        self.phase = Phase::Closed;
        self.passed_over = None;
        self.buffer = Vec::new();
        self.line_start = 0;
    }

    /// The state of RFC 9051 3.
    pub fn state(&self) -> State {
        self.state
    }

    /// How names are written on this connection.
    pub fn syntax(&self) -> NameSyntax {
        self.syntax
    }

    /// How many commands the session has refused by itself: malformed, too large, or not allowed in its state.
    pub fn refusals(&self) -> u32 {
        self.refusals
    }

    /// What the session waits for.
    pub fn awaits(&self) -> Awaits {
        match self.phase {
            _ if !self.events.is_empty() => Awaits::Owner,
            Phase::Line if self.passed_over.is_some() => Awaits::Rest,
            Phase::Line if self.buffer.is_empty() => Awaits::Command,
            Phase::Line
            | Phase::Literal(_)
            | Phase::AuthenticateResponse
            | Phase::Skip(_)
            | Phase::AppendBetween(_) => Awaits::Rest,
            Phase::AppendData(_) => Awaits::Message,
            Phase::Idle(_) => Awaits::Done,
            Phase::Busy | Phase::AppendDecision(_) => Awaits::Owner,
            Phase::Closed => Awaits::Closed,
        }
    }

    /// Octets held in memory besides the struct itself.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity() + self.output.capacity() + self.events.capacity()
    }

    /// Whether more input may be used now: not before the events of what came before are taken, so that decisions come in time.
    fn reads(&self) -> bool {
        self.events.is_empty() && !matches!(self.phase, Phase::Busy | Phase::AppendDecision(_))
    }

    /// Uses a part of the input that begins at `offset`.
    fn step(&mut self, input: &[u8], offset: usize) -> usize {
        if let Some(before) = self.passed_over {
            return self.pass_over(input, before);
        }
        match &mut self.phase {
            Phase::Literal(remaining) => {
                let taken = (*remaining).min(input.len());
                *remaining -= taken;
                let done = *remaining == 0;
                self.buffer.extend_from_slice(&input[..taken]);
                if done {
                    self.line_start = self.buffer.len();
                    self.phase = Phase::Line;
                }
                taken
            }
            Phase::AppendData(append) if append.remaining > 0 => {
                let taken = usize::try_from(append.remaining)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                append.remaining -= taken as u64;
                let done = append.remaining == 0;
                self.push(Event::AppendData(offset..offset + taken));
                if done {
                    self.message_complete();
                }
                taken
            }
            Phase::Skip(skip) if skip.remaining > 0 => {
                let taken = usize::try_from(skip.remaining)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                skip.remaining -= taken as u64;
                taken
            }
            Phase::Closed => input.len(),
            _ => self.line(input),
        }
    }

    /// Collects one line and acts on it once it is whole. A line that is whole in the input is not copied.
    fn line(&mut self, input: &[u8]) -> usize {
        let taken = memchr::memchr(b'\n', input).map(|at| at + 1);
        let length = taken.unwrap_or(input.len());
        if self.buffer.len() - self.line_start + length > self.config.line_max as usize {
            if !self.login_too_long(input) {
                self.bye(&Code::TooBig, "line too long");
                return input.len();
            }
            self.passed_over = taken.is_none().then_some(0);
            return length;
        }
        match taken {
            None => {
                self.buffer.extend_from_slice(input);
            }
            Some(taken) if self.buffer.is_empty() => {
                let line = strip_line_end(&input[..taken]);
                self.line_complete(Cow::Borrowed(line), 0);
            }
            Some(taken) => {
                let mut text = std::mem::take(&mut self.buffer);
                text.extend_from_slice(&input[..taken]);
                let whole = strip_line_end(&text).len().max(self.line_start);
                text.truncate(whole);
                let line_start = std::mem::take(&mut self.line_start);
                self.line_complete(Cow::Owned(text), line_start);
            }
        }
        length
    }

    /// A line over the limit. Within AUTHENTICATE that is a failed attempt to log in, and the connection goes on.
    fn login_too_long(&mut self, input: &[u8]) -> bool {
        let event = match &self.phase {
            Phase::AuthenticateResponse => {
                Event::AuthenticateResponse(AuthenticateResponse::TooLong)
            }
            Phase::Line if self.state == State::NotAuthenticated => {
                let start: Vec<u8> = self
                    .buffer
                    .iter()
                    .chain(input)
                    .copied()
                    .take(COMMAND_START_MAX)
                    .collect();
                match parse_command(&start, self.syntax) {
                    Ok((tag, Request::Authenticate { mechanism, .. })) => Event::Authenticate {
                        tag,
                        mechanism,
                        initial_response: Some(AuthenticateResponse::TooLong),
                    },
                    _ => return false,
                }
            }
            _ => return false,
        };
        self.introduced = true;
        self.literals = 0;
        self.buffer = Vec::new();
        self.line_start = 0;
        self.phase = Phase::Busy;
        self.push(event);
        true
    }

    /// Passes over the rest of a line that is too long, up to a limit.
    fn pass_over(&mut self, input: &[u8], before: u32) -> usize {
        let end = memchr::memchr(b'\n', input).map(|at| at + 1);
        let length = end.unwrap_or(input.len());
        let passed = before.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        self.passed_over = end.is_none().then_some(passed);
        if passed > self.config.discard_max {
            self.bye(&Code::TooBig, "line too long");
        }
        length
    }

    /// A line is whole: `text` is the command so far, of which the line is what follows `line_start`.
    fn line_complete(&mut self, text: Cow<'_, [u8]>, line_start: usize) {
        let header = LiteralHeader::at_end_of(&text[line_start..]).map(|header| LiteralHeader {
            start: header.start + line_start,
            ..header
        });
        match std::mem::replace(&mut self.phase, Phase::Line) {
            Phase::AuthenticateResponse => self.authenticate_response(&text),
            Phase::Idle(tag) => self.idle_line(&tag, &text),
            Phase::AppendBetween(append) => self.append_line(*append, &text, header),
            Phase::Skip(skip) => self.skipped_line(*skip, header),
            _ => match header {
                Some(header) => self.literal(text, header),
                None => self.command(&text),
            },
        }
    }

    fn authenticate_response(&mut self, line: &[u8]) {
        let response = match (line, decode_base64(line)) {
            (b"*", _) => AuthenticateResponse::Cancelled, // RFC 9051 6.2.2
            (_, Some(octets)) => AuthenticateResponse::Octets(octets),
            (_, None) => AuthenticateResponse::BadBase64,
        };
        self.phase = Phase::Busy;
        self.push(Event::AuthenticateResponse(response));
    }

    fn idle_line(&mut self, tag: &Tag, line: &[u8]) {
        if line.eq_ignore_ascii_case(b"DONE") {
            self.phase = Phase::Busy;
            self.push(Event::IdleDone);
        } else {
            self.count_refusal();
            let reply = self.refusal(Some(tag), Condition::Bad, None, "expected DONE");
            self.output.extend_from_slice(&reply);
            self.push(Event::IdleBroken);
        }
    }

    /// A line of a command ends in a literal.
    fn literal(&mut self, text: Cow<'_, [u8]>, header: LiteralHeader) {
        let authenticated = self.state != State::NotAuthenticated;
        if append_arguments(&text).is_some_and(|arguments| arguments < header.start) {
            if authenticated {
                self.append_command(&text, header);
            } else {
                self.refuse_literal(&text, header, None, "not allowed in this connection state");
            }
            return;
        }
        let literals_max = if authenticated {
            self.config.literals_total_max
        } else {
            LITERALS_BEFORE_LOGIN_MAX.min(self.config.literals_total_max)
        };
        let total = header.size.saturating_add(text.len() as u64);
        let minus = self.config.non_synchronizing == NonSynchronizing::Minus;
        if header.eight_bit {
            self.refuse_literal(&text, header, None, "no literal8 allowed here");
        } else if header.size > u64::from(self.config.literal_max)
            || total > u64::from(literals_max)
            || self.literals >= self.config.literals_max
        {
            self.refuse_literal(
                &text,
                header,
                Some(&Code::TooBig),
                "literals too large or too many",
            );
        } else if minus && !header.synchronizing && header.size > LITERAL_MINUS_MAX {
            self.refuse_literal(
                &text,
                header,
                Some(&Code::TooBig),
                "non-synchronizing literal above 4096 octets",
            );
        } else {
            self.take_literal(text, header);
        }
    }

    fn take_literal(&mut self, text: Cow<'_, [u8]>, header: LiteralHeader) {
        if header.synchronizing {
            response::continuation(&mut self.output, "ready for literal");
        }
        self.literals += 1;
        self.buffer = text.into_owned();
        self.buffer.extend_from_slice(b"\r\n");
        self.line_start = self.buffer.len();
        // At most `literal_max`, which fits.
        self.phase = if header.size == 0 {
            Phase::Line
        } else {
            Phase::Literal(header.size as usize)
        };
    }

    /// A command is whole.
    fn command(&mut self, text: &[u8]) {
        self.literals = 0;
        // Quirk: empty lines between commands are passed over; some clients end a literal with one CRLF too many.
        if text.is_empty() && self.introduced {
            return;
        }
        match parse_command(text, self.syntax) {
            Ok((tag, request)) if self.allows(request.allowed_in()) => {
                self.introduced = true;
                self.request(tag, request);
            }
            Ok((tag, _)) => {
                self.introduced = true;
                self.count_refusal();
                // RFC 9051 3: BAD or NO, as the server likes.
                let words = "not allowed in this connection state";
                let reply = self.refusal(Some(&tag), Condition::No, None, words);
                self.output.extend_from_slice(&reply);
            }
            Err(rejected) => self.reject(text, &rejected),
        }
    }

    fn request(&mut self, tag: Tag, request: Request) {
        self.phase = Phase::Busy;
        match request {
            Request::Command(command) => self.push(Event::Command { tag, command }),
            Request::Authenticate {
                mechanism,
                initial_response,
            } => {
                self.push(Event::Authenticate {
                    tag,
                    mechanism,
                    initial_response: initial_response.map(Into::into),
                });
            }
            Request::StartTls if self.config.starttls == StartTls::Offered => {
                self.push(Event::StartTls { tag })
            }
            Request::StartTls => {
                self.phase = Phase::Line;
                self.count_refusal();
                let words = "STARTTLS is not offered";
                let reply = self.refusal(Some(&tag), Condition::Bad, None, words);
                self.output.extend_from_slice(&reply);
            }
            Request::Idle => {
                response::continuation(&mut self.output, "idling");
                self.phase = Phase::Idle(tag.clone());
                self.push(Event::Idle { tag });
            }
        }
    }

    fn allows(&self, allowed_in: AllowedIn) -> bool {
        match allowed_in {
            AllowedIn::Any => true,
            AllowedIn::NotAuthenticated => self.state == State::NotAuthenticated,
            AllowedIn::Authenticated => self.state != State::NotAuthenticated,
            AllowedIn::Selected => matches!(self.state, State::Selected { .. }),
        }
    }

    pub(super) fn forget_events(&mut self) {
        self.events = VecDeque::new();
    }

    pub(super) fn push(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Whether a valid command has been seen on this connection.
    pub(super) fn introduced(&self) -> bool {
        self.introduced
    }

    pub(super) fn count_refusal(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
    }

    pub(super) fn introduce(&mut self) {
        self.introduced = true;
    }

    pub(super) fn forget_literals(&mut self) {
        self.literals = 0;
    }
}
