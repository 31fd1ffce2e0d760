//! Messages over SMTP: what each connection says, and what counts as accepted.
//! RFC 5321 4.1.1.4: only the 250 after the data takes responsibility, so only that is counted.
//! Not here: sockets (`engine.rs`), rounds and figures (`scenarios/`).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use hdrhistogram::Histogram;
use smtp::client::{Envelope, Event, Recipient, Session, Transfer};
use smtp::{Address, HelloKind, Reply, ReversePath};

use crate::engine::{Opening, Traffic, Turn};
use crate::error::Failure;
use crate::messages::{AUTHOR, Messages};
use crate::report::latencies;
use crate::target::Security;

/// What is to be sent.
pub struct Plan {
    /// The server.
    pub to: SocketAddr,
    /// TLS.
    pub security: Security,
    /// Who sends, in turn over the slots.
    pub senders: Vec<Sender>,
    /// RCPT, in turn.
    pub recipients: Vec<Address>,
    /// RCPT per message.
    pub rcpts_per_message: usize,
    /// Messages in all.
    pub messages: u64,
    /// No message is begun after that.
    pub until: Option<Instant>,
    /// Messages of one connection.
    pub per_connection: u64,
    /// The messages.
    pub content: Messages,
}

impl Plan {
    /// Parses addresses as RCPT wants them.
    pub fn recipients(addresses: &[String]) -> Result<Vec<Address>, Failure> {
        addresses.iter().map(|text| address(text)).collect()
    }
}

/// Who sends.
pub struct Sender {
    /// MAIL.
    pub reverse_path: ReversePath,
    /// From.
    pub author: String,
    /// AUTH PLAIN, if any.
    pub auth: Option<(String, String)>,
}

impl Sender {
    /// With an address for MAIL; the author is nobody in particular.
    pub fn new(from: &str, auth: Option<(String, String)>) -> Result<Self, Failure> {
        Ok(Self {
            reverse_path: ReversePath::Address(address(from)?),
            author: AUTHOR.to_owned(),
            auth,
        })
    }

    /// An account that sends as itself.
    pub fn account(login: (String, String)) -> Result<Self, Failure> {
        Ok(Self {
            reverse_path: ReversePath::Address(address(&login.0)?),
            author: login.0.clone(),
            auth: Some(login),
        })
    }
}

fn address(text: &str) -> Result<Address, Failure> {
    let wrong = |error| Failure::Usage(format!("{text}: {error}"));
    text.parse().map_err(wrong)
}

/// A message that the server has taken responsibility for.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    /// Its number.
    pub message: u64,
    /// Its first recipient; the others follow in turn.
    pub recipient: u32,
    /// When the 250 was read.
    pub at: Instant,
}

/// When the last message to each recipient was sent.
pub type SentTimes = Rc<RefCell<Vec<Option<Instant>>>>;

/// State over all connections.
pub struct SmtpTraffic {
    plan: Plan,
    begun: u64,
    /// Accepted messages.
    pub accepted: Vec<Accepted>,
    /// From MAIL to the answer to the data.
    pub latency: Histogram<u64>,
    /// Set by who wants to know, before the data's last octet is written.
    pub sent: Option<SentTimes>,
}

/// One connection.
pub struct SmtpDialog {
    session: Session,
    sender: usize,
    envelope: Envelope,
    message: u64,
    recipient: usize,
    left: u64,
    begun: Instant,
    secure: bool,
    authenticated: bool,
    waits_for: &'static str,
}

impl SmtpTraffic {
    /// Nothing sent yet.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            begun: 0,
            accepted: Vec::new(),
            latency: latencies(),
            sent: None,
        }
    }

    /// What is sent.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The recipients of an accepted message.
    pub fn recipients_of(&self, first: u32) -> impl Iterator<Item = &Address> {
        let count = self.plan.rcpts_per_message;
        (0..count).map(move |next| self.recipient(first as usize + next))
    }

    fn recipient(&self, index: usize) -> &Address {
        &self.plan.recipients[index % self.plan.recipients.len()]
    }

    fn event(
        &mut self,
        dialog: &mut SmtpDialog,
        event: Event,
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Turn, String> {
        match event {
            Event::Banner(reply) => {
                positive(&reply, "banner")?;
                dialog.hello();
            }
            Event::Hello(reply) => {
                positive(&reply, "EHLO")?;
                self.greeted(dialog, now)?;
            }
            Event::StartTls(reply) => {
                positive(&reply, "STARTTLS")?;
                return Ok(Turn::StartTls);
            }
            Event::Authenticated(reply) => {
                positive(&reply, "AUTH")?;
                dialog.authenticated = true;
                self.next_message(dialog, now);
            }
            Event::Sender(reply) => positive(&reply, "MAIL")?,
            Event::Recipient { index, reply } => {
                let what = format!("RCPT {}", dialog.envelope.recipients[index].address);
                positive(&reply, &what)?;
            }
            Event::Ready => self.data(dialog, output, now)?,
            Event::Done(reply) => {
                positive(&reply, "message")?;
                self.done(dialog, now);
            }
            Event::Quit(reply) => {
                positive(&reply, "QUIT")?;
                return Ok(Turn::Close);
            }
            Event::Refused(reply) => return Err(line("DATA", &reply)),
            Event::Closing(reply) | Event::Answer(reply) | Event::Chunk(reply) => {
                return Err(line("out of turn", &reply));
            }
            Event::Challenge(_) => return Err("AUTH: a challenge nobody asked for".into()),
        }
        Ok(Turn::Stay)
    }

    /// After EHLO: TLS and AUTH where asked for, then the first message.
    fn greeted(&mut self, dialog: &mut SmtpDialog, now: Instant) -> Result<(), String> {
        let offers = dialog.session.extensions();
        if self.plan.security == Security::StartTls && !dialog.secure {
            if !offers.starttls {
                return Err("EHLO: STARTTLS is not offered".into());
            }
            dialog.waits_for = "an answer to STARTTLS";
            dialog.session.start_tls();
            return Ok(());
        }
        match &self.plan.senders[dialog.sender].auth {
            Some((user, password)) if !dialog.authenticated => {
                // RFC 4616 2: no authorization identity.
                let response = format!("\0{user}\0{password}");
                dialog.waits_for = "an answer to AUTH";
                dialog.session.auth("PLAIN", Some(response.as_bytes()));
            }
            _ => self.next_message(dialog, now),
        }
        Ok(())
    }

    fn is_over(&self, now: Instant) -> bool {
        self.begun == self.plan.messages || self.plan.until.is_some_and(|until| now >= until)
    }

    fn next_message(&mut self, dialog: &mut SmtpDialog, now: Instant) {
        if dialog.left == 0 || self.is_over(now) {
            dialog.waits_for = "an answer to QUIT";
            dialog.session.quit();
            return;
        }
        let count = self.plan.rcpts_per_message;
        dialog.left -= 1;
        dialog.message = self.begun;
        dialog.recipient = (self.begun as usize * count) % self.plan.recipients.len();
        dialog.begun = now;
        dialog.waits_for = "an answer to MAIL, RCPT or DATA";
        self.begun += 1;
        let recipients =
            (0..count).map(|next| self.recipient(dialog.recipient + next).clone().into());
        dialog.envelope.recipients.clear();
        dialog.envelope.recipients.extend(recipients);
        dialog.session.begin(&dialog.envelope, Transfer::Data);
    }

    /// The header goes through the session, which keeps count of lines; the body, made to need no stuffing, is copied
    /// straight to the output.
    fn data(
        &mut self,
        dialog: &mut SmtpDialog,
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), String> {
        let author = &self.plan.senders[dialog.sender].author;
        let header = self.plan.content.header_by(dialog.message, author);
        let wrong = |_| "the message has a bare CR or LF".to_owned();
        dialog.session.body(header.as_bytes()).map_err(wrong)?;
        dialog.session.transmit(output);
        output.extend_from_slice(self.plan.content.body());
        dialog.session.finish().map_err(wrong)?;
        dialog.waits_for = "an answer to the message";
        if let Some(sent) = &self.sent {
            let mut sent = sent.borrow_mut();
            for next in 0..self.plan.rcpts_per_message {
                let recipients = sent.len();
                sent[(dialog.recipient + next) % recipients] = Some(now);
            }
        }
        Ok(())
    }

    fn done(&mut self, dialog: &mut SmtpDialog, now: Instant) {
        let micros = now.duration_since(dialog.begun).as_micros() as u64;
        self.latency.saturating_record(micros.max(1));
        self.accepted.push(Accepted {
            message: dialog.message,
            recipient: dialog.recipient as u32,
            at: now,
        });
        self.next_message(dialog, now);
    }
}

impl SmtpDialog {
    fn hello(&mut self) {
        self.waits_for = "an answer to EHLO";
        self.session.hello(HelloKind::Extended);
    }
}

impl Traffic for SmtpTraffic {
    type Dialog = SmtpDialog;

    fn open(&mut self, slot: usize, now: Instant) -> Option<Opening<SmtpDialog>> {
        if self.is_over(now) {
            return None;
        }
        let sender = slot % self.plan.senders.len();
        let (content, by) = (&self.plan.content, &self.plan.senders[sender]);
        let size = content.header_by(0, &by.author).len() + content.body().len();
        let dialog = SmtpDialog {
            session: Session::new("loadtest.invalid"),
            sender,
            envelope: Envelope {
                size: Some(size as u64),
                ..Envelope::new(by.reverse_path.clone(), Vec::<Recipient>::new())
            },
            message: 0,
            recipient: 0,
            left: self.plan.per_connection,
            begun: now,
            secure: false,
            authenticated: false,
            waits_for: "the banner",
        };
        Some(Opening {
            dialog,
            to: self.plan.to,
            source: None,
            tls: self.plan.security == Security::Tls,
        })
    }

    fn receive(
        &mut self,
        dialog: &mut SmtpDialog,
        mut input: &[u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Turn, String> {
        loop {
            let (used, event) = dialog.session.receive(input);
            input = &input[used..];
            let event = event.map_err(|error| error.to_string())?;
            let turn = match event {
                None => None,
                Some(event) => Some(self.event(dialog, event, output, now)?),
            };
            dialog.session.transmit(output);
            match turn {
                None => return Ok(Turn::Stay),
                Some(Turn::Stay) => {}
                Some(turn) => return Ok(turn),
            }
        }
    }

    fn secured(&mut self, dialog: &mut SmtpDialog, output: &mut Vec<u8>) {
        dialog.secure = true;
        dialog.session.tls_started();
        dialog.hello();
        dialog.session.transmit(output);
    }

    fn waits_for(&self, dialog: &SmtpDialog) -> String {
        dialog.waits_for.to_owned()
    }
}

fn positive(reply: &Reply, what: &str) -> Result<(), String> {
    if reply.is_positive() {
        Ok(())
    } else {
        Err(line(what, reply))
    }
}

/// The server's line as it came, nearly.
fn line(what: &str, reply: &Reply) -> String {
    let code = reply.code.number();
    let enhanced = reply.enhanced.map_or(String::new(), |it| {
        format!("{}.{}.{} ", it.class, it.subject, it.detail)
    });
    format!("{what}: {code} {enhanced}{}", reply.text)
}
