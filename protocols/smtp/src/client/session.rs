//! The client session: commands asked for by the caller, replies of the server as events.
//!
//! Called by outbound and the load tester. Input (the server's) is not trusted. One thing at a time: wait for the event of
//! what was asked before asking the next. MAIL, RCPT and DATA go out as one group when PIPELINING is offered.
//! RFC 5321 4.1.4, 2920 3.1, 3030, 3207, 4954.
//! Not here: which server, TLS policy, retries, SASL mechanisms (`sasl::client` makes the bytes).

use std::collections::VecDeque;

use super::envelope::Envelope;
use super::extensions::Extensions;
use super::replies::{ReplyError, ReplyReader};
use super::stuffing::{BareCrOrLf, Stuffing};
use crate::command::HelloKind;
use crate::reply::Reply;

/// How the message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// DATA.
    Data,
    /// BDAT; the server must have offered CHUNKING.
    Chunks,
}

/// What the server said to what was asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The banner.
    Banner(Reply),
    /// Answer to EHLO or HELO; see [`Session::extensions`].
    Hello(Reply),
    /// Answer to STARTTLS. After 220: do the handshake, then [`Session::tls_started`].
    StartTls(Reply),
    /// A challenge, decoded; answer with [`Session::auth_response`].
    Challenge(sasl::Secret),
    /// The exchange is over; 235 is success.
    Authenticated(Reply),
    /// Answer to MAIL.
    Sender(Reply),
    /// Answer to RCPT number `index`.
    Recipient {
        /// Place in [`Envelope::recipients`].
        index: usize,
        /// Accepted if 2yz.
        reply: Reply,
    },
    /// At least one recipient was accepted and the message may be sent now.
    Ready,
    /// The transaction is over before its message: MAIL, all recipients, or DATA were refused. The session has cleaned up.
    Refused(Reply),
    /// Answer to a chunk that was not the last. Unless 2yz, send no more and [`Session::reset`].
    Chunk(Reply),
    /// Answer to the whole message.
    Done(Reply),
    /// Answer to RSET, NOOP.
    Answer(Reply),
    /// Answer to QUIT: close the connection.
    Quit(Reply),
    /// The server closes by itself (421), or speaks out of turn.
    Closing(Reply),
}

/// Why a session cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Peer: no SMTP.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// Peer: a challenge that is not base64.
    #[error("challenge is not base64")]
    Challenge,
    /// Peer: a reply that the command can't have, so that replies and commands do not belong together any more. RFC 5321 4.3.2.
    #[error("{code} in answer to {command}")]
    OutOfStep {
        /// The reply's code.
        code: u16,
        /// The command, or what it was about.
        command: &'static str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Banner,
    Hello(HelloKind),
    StartTls,
    Auth,
    Mail,
    Recipient(usize),
    Data,
    /// 354 was not wanted any more: the reply to the empty message that ends it.
    EmptyMessage,
    Chunk,
    Done,
    Answer,
    /// RSET of our own, not reported.
    SilentReset,
    Quit,
}

#[derive(Debug, Default)]
struct Progress {
    accepted: usize,
    /// The message may be sent in chunks; told once all replies are there.
    ready: bool,
    /// Reply that decided the fate of the transaction, once it is lost.
    refused: Option<Reply>,
}

/// One SMTP session, seen from the client.
#[derive(Debug)]
pub struct Session {
    name: String,
    reader: ReplyReader,
    expected: VecDeque<Expect>,
    extensions: Extensions,
    progress: Progress,
    transfer: Transfer,
    stuffing: Stuffing,
    /// Commands of a transaction that wait for replies because there is no PIPELINING.
    held: VecDeque<(Expect, String)>,
    output: Vec<u8>,
}

impl Session {
    /// A session that waits for the banner. `name` is what EHLO says: a domain or an address literal.
    pub fn new(name: impl Into<String>) -> Self {
        Session {
            name: name.into(),
            reader: ReplyReader::default(),
            expected: VecDeque::from([Expect::Banner]),
            extensions: Extensions::default(),
            progress: Progress::default(),
            transfer: Transfer::Data,
            stuffing: Stuffing::LineStart,
            held: VecDeque::new(),
            output: Vec::new(),
        }
    }

    /// What the last EHLO offered.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Whether a reply is awaited.
    pub fn is_waiting(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Whether a part of a reply was received, whose end is not there yet.
    pub fn has_begun_reply(&self) -> bool {
        self.reader.has_begun()
    }

    /// Takes input up to the next event; says how much of it is used up. Without an event: transmit, then read.
    pub fn receive(&mut self, input: &[u8]) -> (usize, Result<Option<Event>, ClientError>) {
        let mut used = 0;
        loop {
            // A transaction that is lost or ready is told once all its replies are there.
            if let Some(event) = self.turn() {
                return (used, Ok(Some(event)));
            }
            let (step, reply) = self.reader.receive(&input[used..]);
            used += step;
            match reply {
                Err(error) => return (used, Err(error.into())),
                Ok(None) => return (used, Ok(None)),
                Ok(Some(reply)) => match self.event(reply) {
                    Ok(None) => {}
                    event => return (used, event),
                },
            }
        }
    }

    /// Sends EHLO, or HELO.
    pub fn hello(&mut self, kind: HelloKind) {
        let verb = if kind == HelloKind::Extended {
            "EHLO"
        } else {
            "HELO"
        };
        let line = format!("{verb} {}\r\n", self.name);
        self.ask(Expect::Hello(kind), &line);
    }

    /// Sends STARTTLS.
    pub fn start_tls(&mut self) {
        self.ask(Expect::StartTls, "STARTTLS\r\n");
    }

    /// The handshake is done. RFC 3207 4.2: what was offered before is forgotten; say EHLO again.
    pub fn tls_started(&mut self) {
        self.extensions = Extensions::default();
        self.reader = ReplyReader::default();
    }

    /// Sends AUTH with an initial response, if there is one.
    pub fn auth(&mut self, mechanism: &str, initial: Option<&[u8]>) {
        self.output.extend_from_slice(b"AUTH ");
        self.output.extend_from_slice(mechanism.as_bytes());
        match initial {
            None => {}
            // RFC 4954 4: an empty one is written "=".
            Some(b"") => self.output.extend_from_slice(b" ="),
            Some(response) => {
                self.output.push(b' ');
                sasl::base64::encode_to(response, &mut self.output);
            }
        }
        self.ask(Expect::Auth, "\r\n");
    }

    /// Answers a challenge; `None` cancels.
    pub fn auth_response(&mut self, response: Option<&[u8]>) {
        match response {
            Some(response) => sasl::base64::encode_to(response, &mut self.output),
            None => self.output.push(b'*'),
        }
        self.ask(Expect::Auth, "\r\n");
    }

    /// Sends MAIL, RCPT for each recipient, and DATA; events follow until `Ready` or `Refused`.
    pub fn begin(&mut self, envelope: &Envelope, transfer: Transfer) {
        self.progress = Progress::default();
        self.transfer = transfer;
        self.stuffing = Stuffing::LineStart;
        let extensions = &self.extensions;
        self.held
            .push_back((Expect::Mail, envelope.mail_line(extensions)));
        for (index, recipient) in envelope.recipients.iter().enumerate() {
            self.held
                .push_back((Expect::Recipient(index), recipient.line(extensions)));
        }
        if transfer == Transfer::Data {
            self.held.push_back((Expect::Data, "DATA\r\n".to_owned()));
        }
        self.release();
    }

    /// After `Ready` with [`Transfer::Data`]: a piece of the message with CRLF line ends; dots are stuffed here. On an
    /// error drop the connection: the data must not be ended.
    pub fn body(&mut self, content: &[u8]) -> Result<(), BareCrOrLf> {
        self.stuffing.write(content, &mut self.output)
    }

    /// Ends the message begun with [`Session::body`]; `Done` follows.
    pub fn finish(&mut self) -> Result<(), BareCrOrLf> {
        self.stuffing.end(&mut self.output)?;
        self.expected.push_back(Expect::Done);
        Ok(())
    }

    /// After `Ready` with [`Transfer::Chunks`]: sends a chunk as it is. `Chunk` or, for the last, `Done` follows.
    pub fn chunk(&mut self, octets: &[u8], last: bool) {
        let marker = if last { " LAST" } else { "" };
        let line = format!("BDAT {}{marker}\r\n", octets.len());
        self.ask(if last { Expect::Done } else { Expect::Chunk }, &line);
        self.output.extend_from_slice(octets);
    }

    /// Sends RSET.
    pub fn reset(&mut self) {
        self.ask(Expect::Answer, "RSET\r\n");
    }

    /// Sends NOOP.
    pub fn noop(&mut self) {
        self.ask(Expect::Answer, "NOOP\r\n");
    }

    /// Sends QUIT.
    pub fn quit(&mut self) {
        self.ask(Expect::Quit, "QUIT\r\n");
    }

    /// Moves what is to be written to the end of `output`; an empty `output` is swapped, not copied to.
    pub fn transmit(&mut self, output: &mut Vec<u8>) {
        if output.is_empty() {
            std::mem::swap(output, &mut self.output);
        } else {
            output.append(&mut self.output);
        }
    }

    fn ask(&mut self, expect: Expect, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.expected.push_back(expect);
    }

    /// Sends commands that are held: all of them with PIPELINING, else the next.
    fn release(&mut self) {
        while self.extensions.pipelining || self.expected.is_empty() {
            let Some((expect, line)) = self.held.pop_front() else {
                return;
            };
            // Without PIPELINING it is known by now whether the rest makes sense.
            let lost = self.progress.refused.is_some();
            let pointless = expect == Expect::Data
                && self.progress.accepted == 0
                && !self.extensions.pipelining;
            if !lost && !pointless {
                self.ask(expect, &line);
            }
        }
    }

    /// Between replies of a transaction: goes on, or tells how it ended.
    fn turn(&mut self) -> Option<Event> {
        if !self.expected.is_empty() {
            return None;
        }
        self.release();
        if !self.expected.is_empty() {
            return None;
        }
        if std::mem::take(&mut self.progress.ready) {
            return Some(Event::Ready);
        }
        self.progress.refused.take().map(Event::Refused)
    }

    fn event(&mut self, reply: Reply) -> Result<Option<Event>, ClientError> {
        let Some(expect) = self.expected.pop_front() else {
            return Ok(Some(Event::Closing(reply)));
        };
        // RFC 5321 3.8: 421 to whatever was asked; nothing more will be answered.
        if reply.code.number() == 421 && !matches!(expect, Expect::Banner | Expect::Quit) {
            self.expected.clear();
            self.held.clear();
            self.progress = Progress::default();
            return Ok(Some(Event::Closing(reply)));
        }
        Ok(match expect {
            Expect::Banner => Some(Event::Banner(reply)),
            Expect::Hello(kind) => {
                let extended = kind == HelloKind::Extended && reply.is_positive();
                self.extensions = if extended {
                    Extensions::parse(&reply.text)
                } else {
                    Extensions::default()
                };
                Some(Event::Hello(reply))
            }
            Expect::StartTls => Some(Event::StartTls(reply)),
            Expect::Auth if reply.code.is_intermediate() => {
                let challenge = sasl::base64::decode(reply.text.as_bytes())
                    .map_err(|_| ClientError::Challenge)?;
                Some(Event::Challenge(challenge))
            }
            Expect::Auth => Some(Event::Authenticated(reply)),
            Expect::Mail if reply.code.is_intermediate() => return out_of_step(&reply, "MAIL"),
            Expect::Mail => {
                if !reply.is_positive() {
                    self.progress.refused = Some(reply.clone());
                }
                Some(Event::Sender(reply))
            }
            // After a refusal of MAIL it can only be one more reply than was asked for.
            Expect::Recipient(_)
                if reply.code.is_intermediate()
                    || reply.is_positive() && self.progress.refused.is_some() =>
            {
                return out_of_step(&reply, "RCPT");
            }
            Expect::Recipient(index) => self.recipient(index, reply),
            Expect::Data if reply.is_positive() => return out_of_step(&reply, "DATA"),
            Expect::Data => self.data(reply),
            Expect::Chunk | Expect::Done if reply.code.is_intermediate() => {
                return out_of_step(&reply, "the message");
            }
            Expect::EmptyMessage | Expect::SilentReset => None,
            Expect::Chunk => Some(Event::Chunk(reply)),
            Expect::Done => Some(Event::Done(reply)),
            Expect::Answer => Some(Event::Answer(reply)),
            Expect::Quit => Some(Event::Quit(reply)),
        })
    }

    fn recipient(&mut self, index: usize, reply: Reply) -> Option<Event> {
        self.progress.accepted += usize::from(reply.is_positive());
        let last = !self
            .expected
            .iter()
            .any(|expect| matches!(expect, Expect::Recipient(_)))
            && !self
                .held
                .iter()
                .any(|(expect, _)| matches!(expect, Expect::Recipient(_)));
        if last && self.progress.accepted == 0 && self.progress.refused.is_none() {
            self.progress.refused = Some(reply.clone());
        }
        // BDAT needs no leave: there is no reply to wait for.
        self.progress.ready =
            last && self.transfer == Transfer::Chunks && self.progress.refused.is_none();
        if last && self.progress.refused.is_some() && !self.expected.contains(&Expect::Data) {
            // No DATA is under way that would end the transaction: RFC 5321 4.1.1.5.
            self.held.clear();
            self.ask(Expect::SilentReset, "RSET\r\n");
        }
        Some(Event::Recipient { index, reply })
    }

    fn data(&mut self, reply: Reply) -> Option<Event> {
        let go_on = reply.code.is_intermediate();
        match (go_on, self.progress.refused.is_some()) {
            (true, false) => return Some(Event::Ready),
            // RFC 2920 3.1: the server wants a message although nobody is to get it: send an empty one.
            (true, true) => self.ask(Expect::EmptyMessage, ".\r\n"),
            (false, lost) => {
                if !lost {
                    self.progress.refused = Some(reply);
                }
                self.ask(Expect::SilentReset, "RSET\r\n");
            }
        }
        None
    }
}

/// The reply can't be one to what was asked.
fn out_of_step(reply: &Reply, command: &'static str) -> Result<Option<Event>, ClientError> {
    Err(ClientError::OutOfStep {
        code: reply.code.number(),
        command,
    })
}
