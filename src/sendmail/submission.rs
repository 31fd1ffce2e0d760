//! One connection to the submission server: greeting, TLS, login, transactions. The protocol is `smtp::client::Session`'s; this moves its bytes.
//! The server is verified (`tls.rs`), but what it says is not trusted: replies are bounded and shown without control characters.
//! RFC 5321 3 and 4.5.3, RFC 6409, RFC 3207 4 (STARTTLS), RFC 4954 4 (AUTH), RFC 6152, RFC 6531 3.
//! Not here: what the message is (`message.rs`), where what was not sent goes (`kept.rs`).

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use sasl::client::{Action, Client, ClientError, Context};
use sasl::{ChannelBindings, Credentials, Mechanism, Secret};
use smtp::client::{Envelope, Event, Extensions, Session, Transfer};
use smtp::{Address, BodyKind, HelloKind, Reply};

use super::exit::{Exit, Failure};
use super::message::Message;
use super::socket::{Socket, words};
use super::tls::{Tls, TlsStream, bindings};
use crate::settings::Sendmail;
use crate::settings::names::canonical_domain;
use crate::settings::sendmail::SubmissionTls;

/// A recipient that the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Who.
    pub recipient: String,
    /// What a caller gets for it.
    pub exit: Exit,
    /// Why, in the server's words.
    pub text: String,
}

/// How it went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For these the server said 250.
    pub delivered: Vec<Address>,
    /// These it refused.
    pub refused: Vec<Refused>,
    /// Why the others are left.
    pub failure: Option<Failure>,
}

/// Sends a message to all of these. `delivered` is told of each transaction the server said 250 to.
pub fn submit(
    settings: &Sendmail,
    password: Option<&Secret>,
    message: &Message,
    recipients: &[Address],
    delivered: &mut dyn FnMut(&[Address]),
) -> Outcome {
    let mut outcome = Outcome::default();
    let begun = Talk::begin(settings).and_then(|mut talk| {
        talk.log_in(settings, password)?;
        Ok(talk)
    });
    let result = begun.and_then(|mut talk| {
        talk.needs(message, recipients)?;
        let mut waiting = recipients.to_vec();
        while !waiting.is_empty() {
            // RFC 9422 3.2: RCPTMAX.
            let most = talk.session.extensions().recipients_max;
            let most = most.map_or(RECIPIENTS_AT_ONCE, |max| {
                RECIPIENTS_AT_ONCE.min(max as usize)
            });
            let rest = waiting.split_off(most.min(waiting.len()));
            let transaction = talk.transaction(message, waiting)?;
            delivered(&transaction.delivered);
            let progress = !transaction.delivered.is_empty();
            outcome.delivered.extend(transaction.delivered);
            waiting = rest;
            for (recipient, reply) in transaction.refused {
                // RFC 5321 4.5.3.1.10: too many at once; those who were refused for it have their turn now.
                if progress && reply.code.number() == 452 && is_too_many(&reply) {
                    waiting.push(recipient);
                } else {
                    outcome.refused.push(refused(&recipient, &reply));
                }
            }
        }
        talk.quit();
        Ok(())
    });
    outcome.failure = result.err();
    outcome
}

/// RFC 3463 3.6: X.5.3.
fn is_too_many(reply: &Reply) -> bool {
    reply
        .enhanced
        .is_some_and(|e| (e.subject, e.detail) == (5, 3))
}

fn refused(recipient: &Address, reply: &Reply) -> Refused {
    let exit = match reply.code.is_transient() {
        true => Exit::TempFail,
        // RFC 3463 3.2: X.1.Y is about the address, and so is a bare 550 or 553 to RCPT.
        false if reply.enhanced.is_none_or(|e| e.subject == 1) => Exit::NoUser,
        false => Exit::Unavailable,
    };
    Refused {
        recipient: recipient.to_string(),
        exit,
        text: said(reply),
    }
}

/// A reply in one line, fit for a terminal.
fn said(reply: &Reply) -> String {
    let mut text = reply.code.to_string();
    if let Some(enhanced) = reply.enhanced {
        text.push_str(&format!(" {enhanced}"));
    }
    text.push(' ');
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.extend(reply.text.chars().take(SHOWN_MAX).map(clean));
    text
}

/// A refusal that concerns all: 4yz is for later.
fn refusal(what: &str, reply: &Reply, permanent: Exit) -> Failure {
    let exit = match reply.code.is_permanent() {
        true => permanent,
        false => Exit::TempFail,
    };
    Failure::new(exit, format!("{what}: {}", said(reply)))
}

enum Link {
    Plain(Socket),
    Tls(Box<TlsStream>),
    /// Between the two.
    None,
}

struct Transacted {
    delivered: Vec<Address>,
    refused: Vec<(Address, Reply)>,
}

struct Talk {
    session: Session,
    link: Link,
    /// For messages: `host:port`.
    server: String,
    input: Vec<u8>,
    used: usize,
    bindings: ChannelBindings,
    /// The whole message is sent and its answer is not there.
    in_doubt: bool,
}

impl Talk {
    /// Up to the answer to the EHLO that counts.
    fn begin(settings: &Sendmail) -> Result<Talk, Failure> {
        let tls = match settings.tls {
            SubmissionTls::None => None,
            _ => Some(Tls::new(settings)?),
        };
        let deadline = Instant::now() + settings.timeout_secs.duration();
        let (host, port) = (settings.host.as_str(), settings.port());
        let each = settings.connect_timeout_secs.duration();
        let socket = Socket::connect(host, port, each, deadline)?;
        let name = ehlo_name(settings, &socket);
        let mut talk = Talk {
            session: Session::new(name),
            link: Link::Plain(socket),
            server: format!("{host}:{port}"),
            input: Vec::new(),
            used: 0,
            bindings: ChannelBindings::default(),
            in_doubt: false,
        };
        match tls {
            Some(tls) if settings.tls == SubmissionTls::Implicit => {
                talk.secure(&tls)?;
                talk.greet()?;
                talk.hello()?;
            }
            tls => {
                talk.greet()?;
                talk.hello()?;
                if let Some(tls) = tls {
                    talk.start_tls(&tls)?;
                    talk.hello()?;
                }
            }
        }
        Ok(talk)
    }

    fn greet(&mut self) -> Result<(), Failure> {
        match self.next()? {
            Event::Banner(reply) if reply.is_positive() => Ok(()),
            Event::Banner(reply) => Err(self.refusal("refuses us", &reply, Exit::Unavailable)),
            other => Err(self.out_of_turn(&other)),
        }
    }

    fn hello(&mut self) -> Result<(), Failure> {
        self.session.hello(HelloKind::Extended);
        match self.next()? {
            Event::Hello(reply) if reply.is_positive() => Ok(()),
            Event::Hello(reply) => Err(self.refusal("refuses EHLO", &reply, Exit::Unavailable)),
            other => Err(self.out_of_turn(&other)),
        }
    }

    fn start_tls(&mut self, tls: &Tls) -> Result<(), Failure> {
        if !self.session.extensions().starttls {
            let text = "offers no STARTTLS, or somebody on the way removes it; nothing is sent without TLS";
            return Err(self.failure(Exit::TempFail, text));
        }
        self.session.start_tls();
        match self.next()? {
            Event::StartTls(reply) if reply.is_positive() => (),
            Event::StartTls(reply) => {
                return Err(self.refusal("refuses STARTTLS", &reply, Exit::TempFail));
            }
            other => return Err(self.out_of_turn(&other)),
        }
        // RFC 3207 4.2: what was said without protection counts for nothing, all the less what was said ahead of its turn.
        if self.used < self.input.len() {
            return Err(self.failure(
                Exit::Protocol,
                "speaks on after its answer to STARTTLS, in the clear",
            ));
        }
        self.secure(tls)?;
        self.session.tls_started();
        Ok(())
    }

    fn secure(&mut self, tls: &Tls) -> Result<(), Failure> {
        let Link::Plain(socket) = std::mem::replace(&mut self.link, Link::None) else {
            return Ok(());
        };
        let stream = tls
            .connect(socket)
            .map_err(|failure| self.failure(failure.exit, &failure.text))?;
        self.bindings = bindings(&stream);
        self.link = Link::Tls(stream);
        Ok(())
    }

    fn is_protected(&self) -> bool {
        matches!(self.link, Link::Tls(_))
    }

    /// Logs in by the first mechanism that both sides know.
    fn log_in(&mut self, settings: &Sendmail, password: Option<&Secret>) -> Result<(), Failure> {
        let protected = self.is_protected();
        let usable = Usable {
            offered: self.session.extensions(),
            protected,
            bound: !self.bindings.is_empty(),
            key: settings.client_key.is_some(),
            password: password.is_some(),
        };
        let mechanisms: Vec<Mechanism> = settings
            .mechanisms
            .iter()
            .map(|name| name.0)
            .filter(|mechanism| usable.can_use(*mechanism))
            .collect();
        // Who has no password is known by the key alone, or by the address.
        if mechanisms.is_empty() && password.is_none() {
            return Ok(());
        }
        let mut last = None;
        for mechanism in mechanisms {
            let reply = self.exchange(settings, password, mechanism)?;
            if reply.is_positive() {
                return Ok(());
            }
            // RFC 4954 6: 504, not this mechanism after all. A key that is not known leaves the password.
            let another = reply.code.number() == 504 || mechanism == Mechanism::External;
            let failure = self.refusal(
                &format!("refuses the login by {mechanism}"),
                &reply,
                Exit::NoPerm,
            );
            if !another || reply.code.is_transient() {
                return Err(explained(failure, &reply));
            }
            last = Some(failure);
        }
        Err(last.unwrap_or_else(|| {
            let offered = self.session.extensions().auth.join(", ");
            let hidden = if protected {
                ""
            } else {
                " (without TLS, PLAIN and LOGIN are not used)"
            };
            let text = format!(
                "offers no mechanism that the settings allow{hidden}; it offers: {offered}"
            );
            self.failure(Exit::NoPerm, &text)
        }))
    }

    fn exchange(
        &mut self,
        settings: &Sendmail,
        password: Option<&Secret>,
        mechanism: Mechanism,
    ) -> Result<Reply, Failure> {
        let offers = |plus: Mechanism| {
            self.session
                .extensions()
                .auth
                .iter()
                .any(|n| n == plus.name())
        };
        // RFC 5802 5.1: a nonce of its own for each exchange.
        let mut random = [0; 32];
        let filled = SystemRandom::new().fill(&mut random);
        filled.map_err(|_| self.failure(Exit::TempFail, "no randomness for a login"))?;
        let plus = [Mechanism::ScramSha256Plus, Mechanism::ScramSha1Plus];
        let context = Context {
            bindings: self.bindings.clone(),
            server_offers_plus: plus
                .into_iter()
                .any(|p| p.scram_hash() == mechanism.scram_hash() && offers(p)),
            random,
            ..Context::default()
        };
        let external = mechanism == Mechanism::External;
        let credentials = Credentials {
            authzid: if external {
                settings.user.clone()
            } else {
                String::new()
            },
            authcid: settings.user.clone(),
            password: password.cloned().unwrap_or_default(),
        };
        let mut client = Client::new(mechanism, credentials, context)
            .map_err(|error| self.broken_off(mechanism, &error))?;
        let initial = client.initial();
        self.session.auth(mechanism.name(), initial.as_deref());
        loop {
            match self.next()? {
                Event::Challenge(challenge) => {
                    let response = match client.respond(&challenge) {
                        Ok(Action::Respond(response)) => Ok(response),
                        Ok(Action::Derive(derivation)) => client.derived(&derivation.run()),
                        Err(error) => Err(error),
                    };
                    match response {
                        Ok(response) => self.session.auth_response(Some(&response)),
                        Err(error) => {
                            self.session.auth_response(None);
                            // How the server takes that does not matter any more.
                            let _ = self.next();
                            return Err(self.broken_off(mechanism, &error));
                        }
                    }
                }
                Event::Authenticated(reply) if reply.is_positive() => {
                    return match client.finish() {
                        Ok(()) => Ok(reply),
                        Err(error) => Err(self.broken_off(mechanism, &error)),
                    };
                }
                Event::Authenticated(reply) => return Ok(reply),
                other => return Err(self.out_of_turn(&other)),
            }
        }
    }

    /// We end a login: it is the server's words, or it did not prove who it is, or breaks the rules.
    fn broken_off(&self, mechanism: Mechanism, error: &ClientError) -> Failure {
        match error {
            ClientError::Refused(_) => {
                let text = format!(
                    "login by {mechanism}: {error}; check user and password in the settings"
                );
                self.failure(Exit::NoPerm, &text)
            }
            ClientError::Name(_) | ClientError::Password(_) | ClientError::Unsayable => {
                self.failure(Exit::Config, &format!("login by {mechanism}: {error}"))
            }
            _ => self.failure(Exit::Protocol, &format!("login by {mechanism}: {error}")),
        }
    }

    /// RFC 6152 3, RFC 6531 3.5: what the server does not announce it is not sent.
    fn needs(&self, message: &Message, recipients: &[Address]) -> Result<(), Failure> {
        let extensions = self.session.extensions();
        let sender = message.reverse_path.address();
        let utf8 = recipients.iter().chain(sender).any(Address::needs_smtputf8);
        let lacks = |what: &str, has: &str| {
            let text = format!("does not announce {what}, which this message needs ({has})");
            Err(self.failure(Exit::Unavailable, &text))
        };
        if (utf8 || message.utf8_header) && !extensions.smtputf8 {
            return lacks("SMTPUTF8", "addresses or header fields have UTF-8");
        }
        if message.eight_bit && !extensions.eight_bit_mime {
            return lacks("8BITMIME", "it has octets outside ASCII");
        }
        Ok(())
    }

    fn transaction(
        &mut self,
        message: &Message,
        recipients: Vec<Address>,
    ) -> Result<Transacted, Failure> {
        let sender = message.reverse_path.address();
        let utf8 = recipients.iter().chain(sender).any(Address::needs_smtputf8);
        let envelope = Envelope {
            size: Some(message.octets.len() as u64),
            body: message.eight_bit.then_some(BodyKind::EightBitMime),
            smtputf8: utf8 || message.utf8_header,
            ..Envelope::new(message.reverse_path.clone(), recipients)
        };
        self.session.begin(&envelope, Transfer::Data);
        let mut refused: Vec<Option<Reply>> = vec![None; envelope.recipients.len()];
        let mut sender_refused = false;
        let accepted = loop {
            match self.next()? {
                Event::Sender(reply) => sender_refused = !reply.is_positive(),
                Event::Recipient { index, reply } if !reply.is_positive() => {
                    refused[index] = Some(reply)
                }
                Event::Recipient { .. } => (),
                Event::Ready => {
                    self.send(&message.octets)?;
                }
                Event::Done(reply) if reply.is_positive() => {
                    self.in_doubt = false;
                    break true;
                }
                Event::Done(reply) => {
                    self.in_doubt = false;
                    return Err(self.refusal("refuses the message", &reply, Exit::Unavailable));
                }
                Event::Refused(_) if !sender_refused && refused.iter().all(Option::is_some) => {
                    break false;
                }
                Event::Refused(reply) => return Err(self.sender_refusal(&envelope, &reply)),
                other => return Err(self.out_of_turn(&other)),
            }
        };
        let mut transacted = Transacted {
            delivered: Vec::new(),
            refused: Vec::new(),
        };
        for (recipient, reply) in envelope.recipients.into_iter().zip(refused) {
            match reply {
                Some(reply) => transacted.refused.push((recipient.address, reply)),
                None if accepted => transacted.delivered.push(recipient.address),
                None => (),
            }
        }
        Ok(transacted)
    }

    fn sender_refusal(&self, envelope: &Envelope, reply: &Reply) -> Failure {
        // RFC 4954 6: 530, log in first.
        let permanent = match (reply.code.number(), reply.enhanced) {
            (530, _) => Exit::NoPerm,
            (_, Some(enhanced)) if enhanced.subject == 7 => Exit::NoPerm,
            _ => Exit::Unavailable,
        };
        self.refusal(
            &format!("refuses mail from {}", envelope.reverse_path),
            reply,
            permanent,
        )
    }

    fn send(&mut self, octets: &[u8]) -> Result<(), Failure> {
        let broken = "a bare CR or LF in the message";
        for piece in octets.chunks(PIECE) {
            let stuffed = self.session.body(piece);
            stuffed.map_err(|_| Failure::new(Exit::DataErr, broken))?;
            self.flush()?;
        }
        let ended = self.session.finish();
        ended.map_err(|_| Failure::new(Exit::DataErr, broken))?;
        // From the dot on the server may have the message.
        self.in_doubt = true;
        Ok(())
    }

    /// Everything is done; how the server takes leave changes nothing.
    fn quit(&mut self) {
        match &mut self.link {
            Link::Plain(socket) => socket.hurry(QUIT_TIME),
            Link::Tls(stream) => stream.sock.hurry(QUIT_TIME),
            Link::None => (),
        }
        self.session.quit();
        let _ = self.next();
    }

    /// The next event, reading and writing as the session wants.
    fn next(&mut self) -> Result<Event, Failure> {
        loop {
            self.flush()?;
            let (used, event) = self.session.receive(&self.input[self.used..]);
            self.used += used;
            match event {
                Ok(Some(Event::Closing(reply))) => {
                    return Err(self.refusal("ends the connection", &reply, Exit::TempFail));
                }
                Ok(Some(event)) => return Ok(event),
                // Reading may have made it say more.
                Ok(None) => {
                    self.flush()?;
                    self.read()?;
                }
                Err(error) => return Err(self.failure(Exit::Protocol, &error.to_string())),
            }
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let mut output = Vec::new();
        self.session.transmit(&mut output);
        if output.is_empty() {
            return Ok(());
        }
        let written = match &mut self.link {
            Link::Plain(socket) => socket.write_all(&output),
            Link::Tls(stream) => stream.write_all(&output).and_then(|()| stream.flush()),
            Link::None => Ok(()),
        };
        written.map_err(|error| self.lost(&error))
    }

    fn read(&mut self) -> Result<(), Failure> {
        self.input.resize(READ_SIZE, 0);
        let result = match &mut self.link {
            Link::Plain(socket) => socket.read(&mut self.input),
            Link::Tls(stream) => stream.read(&mut self.input),
            Link::None => Ok(0),
        };
        let length = result.and_then(|length| match length {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => Ok(length),
        });
        self.used = 0;
        self.input.truncate(*length.as_ref().unwrap_or(&0));
        length.map(drop).map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &std::io::Error) -> Failure {
        self.failure(Exit::TempFail, &words(error))
    }

    fn out_of_turn(&self, event: &Event) -> Failure {
        self.failure(Exit::Protocol, &format!("speaks out of turn: {event:?}"))
    }

    fn refusal(&self, what: &str, reply: &Reply, permanent: Exit) -> Failure {
        let failure = refusal(what, reply, permanent);
        self.failure(failure.exit, &failure.text)
    }

    fn failure(&self, exit: Exit, text: &str) -> Failure {
        let doubt = match self.in_doubt {
            true => " after the whole message was sent: it may have been delivered all the same",
            false => "",
        };
        Failure::new(exit, format!("{}: {text}{doubt}", self.server))
    }
}

/// What is said of a login that failed, beyond the reply.
fn explained(mut failure: Failure, reply: &Reply) -> Failure {
    if reply.code.number() == 535 {
        failure
            .text
            .push_str("; check user and password in the settings");
    }
    failure
}

/// What a connection lets one log in with.
struct Usable<'a> {
    offered: &'a Extensions,
    protected: bool,
    bound: bool,
    key: bool,
    password: bool,
}

impl Usable<'_> {
    fn can_use(&self, mechanism: Mechanism) -> bool {
        let has = match mechanism {
            Mechanism::External => self.key && self.protected,
            _ => self.password,
        };
        has && self
            .offered
            .auth
            .iter()
            .any(|name| name == mechanism.name())
            && (self.protected || !mechanism.reveals_password())
            && (self.bound || !mechanism.needs_channel_binding())
    }
}

/// RFC 5321 4.1.4: the machine's full name, or its address if it has none.
fn ehlo_name(settings: &Sendmail, socket: &Socket) -> String {
    if let Some(name) = &settings.ehlo_name {
        return name.to_string();
    }
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match canonical_domain(own.trim()) {
        Some(name) if name.contains('.') => name.into_owned(),
        _ => match socket
            .local_addr()
            .map(|address| address.ip().to_canonical())
        {
            Ok(std::net::IpAddr::V4(address)) => format!("[{address}]"),
            Ok(std::net::IpAddr::V6(address)) => format!("[IPv6:{address}]"),
            Err(_) => "localhost".to_owned(),
        },
    }
}

/// RFC 5321 4.5.3.1.8: as many must be accepted at once.
const RECIPIENTS_AT_ONCE: usize = 100;
/// How long we wait for the answer to QUIT: the message is sent.
const QUIT_TIME: Duration = Duration::from_secs(3);
/// Octets given to the connection at once.
const PIECE: usize = 64 * 1024;
const READ_SIZE: usize = 16 * 1024;
/// Characters of a reply that are shown.
const SHOWN_MAX: usize = 500;
