//! One command in the session's state: what needs policy becomes an event, the rest is answered here.
//! Called by `session.rs` with a line. RFC 5321 4.1.4 (order), 4.3.2 (codes), and the RFC of each extension.

use super::body::Decoder;
use super::config::Link;
use super::event::{CloseReason, Event};
use super::session::Session;
use super::state::{Chunk, Fate, Question, Stage, State, Transaction};
use crate::address::{ForwardPath, ReversePath};
use crate::command::{Command, CommandError, HelloKind};
use crate::parameters::{BodyKind, MailParameters, RecipientParameters};
use crate::reply::Reply;

type Outcome = Option<Event<'static>>;

impl Session {
    /// `line` is the line without CRLF, or `None` if it ended in a bare LF. `more` says whether input follows.
    pub(super) fn command(&mut self, stage: Stage, line: Option<&[u8]>, more: bool) -> Outcome {
        let Some(line) = line else {
            return self.refuse_line(Reply::bare_line_feed());
        };
        let command = match Command::parse(line, self.config.grammar()) {
            Ok(command) => command,
            Err(CommandError::ChunkSize) => {
                return self
                    .close_because(&CommandError::ChunkSize.reply(), CloseReason::ChunkSize);
            }
            Err(error) => {
                self.speaks_smtp |= error != CommandError::Unknown;
                return self.refuse_line(error.reply());
            }
        };
        self.speaks_smtp = true;
        if more && self.must_be_last(&command) {
            return self.close_because(&Reply::synchronization_error(), CloseReason::EarlyInput);
        }
        self.dispatch(stage, command)
    }

    /// RFC 2920 3.1: EHLO and DATA come last in a group. RFC 3207 4.2: what follows STARTTLS unencrypted was injected.
    fn must_be_last(&self, command: &Command<'_>) -> bool {
        match command {
            Command::StartTls => true,
            Command::Hello(..) | Command::Data => self.config.refuse_early_input,
            _ => false,
        }
    }

    fn dispatch(&mut self, stage: Stage, command: Command<'_>) -> Outcome {
        match command {
            Command::Hello(kind, name) => self.ask(
                Question::Hello {
                    kind,
                    before: stage,
                },
                Event::Hello { kind, name },
            ),
            Command::Mail(reverse_path, parameters) => self.mail(stage, reverse_path, parameters),
            Command::Recipient(forward_path, parameters) => {
                self.recipient(stage, forward_path, parameters)
            }
            Command::Data => self.data_command(stage),
            Command::Chunk { size, last } => self.chunk_command(stage, size, last),
            Command::MalformedChunk { size } => {
                self.chunk_refused(stage, size, || Reply::bad_arguments("malformed arguments"))
            }
            Command::Reset => self.reset(stage),
            Command::Noop => self.answer(Reply::ok()),
            Command::Verify | Command::Expand => self.answer(Reply::cannot_verify()),
            Command::Help => self.answer(Reply::help()),
            Command::Quit => self.close_because(&Reply::closing(), CloseReason::Quit),
            Command::StartTls => self.start_tls(stage),
            Command::Auth { mechanism, initial } => self.auth(stage, mechanism, initial),
        }
    }

    fn mail(
        &mut self,
        stage: Stage,
        reverse_path: ReversePath,
        parameters: MailParameters,
    ) -> Outcome {
        let hello = match stage {
            Stage::Start => return self.refuse(say_hello_first()),
            Stage::Ready(hello) => hello,
            Stage::Transaction(_) => {
                return self.refuse(Reply::bad_sequence("transaction already open"));
            }
        };
        // RFC 4954 6, RFC 6409 4.3.
        if self.config.auth_required && !self.is_authenticated() {
            return self.refuse(Reply::authentication_required());
        }
        let binary = parameters.body == Some(BodyKind::BinaryMime);
        if binary && !self.config.binarymime() || parameters.smtputf8 && !self.config.offer_smtputf8
        {
            return self.refuse(CommandError::ParameterUnsupported.reply());
        }
        if let Err(reply) = self.may_ask(&parameters) {
            return self.refuse(reply);
        }
        if !parameters.smtputf8
            && reverse_path
                .address()
                .is_some_and(|address| address.needs_smtputf8())
        {
            return self.refuse(Reply::sender_needs_smtputf8());
        }
        // RFC 1870 6.1: refused before the client sends it all.
        if parameters
            .size
            .is_some_and(|size| size > self.config.size_max)
        {
            return self.answer(Reply::message_too_big());
        }
        let transaction = Transaction {
            hello,
            null_reverse_path: reverse_path == ReversePath::Null,
            body: parameters.body,
            smtputf8: parameters.smtputf8,
            recipients: 0,
            chunks: None,
        };
        self.ask(
            Question::Mail(transaction),
            Event::Mail {
                reverse_path,
                parameters,
            },
        )
    }

    /// Whether what MAIL asks for is offered, here and now.
    fn may_ask(&self, parameters: &MailParameters) -> Result<(), Reply> {
        let unknown = || Err(CommandError::ParameterUnknown.reply());
        if parameters.uses_dsn() && !self.config.offer_dsn {
            return unknown();
        }
        if parameters.require_tls {
            match self.link {
                _ if !self.config.offer_require_tls => return unknown(),
                Link::Plain => return Err(Reply::require_tls_needs_tls()),
                Link::Tls => {}
            }
        }
        match (parameters.hold, self.future_release) {
            (None, _) => Ok(()),
            (Some(_), None) => unknown(),
            (Some(hold), Some(offer)) if offer.allows(hold) => Ok(()),
            (Some(_), Some(_)) => Err(Reply::hold_not_offered()),
        }
    }

    fn recipient(
        &mut self,
        stage: Stage,
        forward_path: ForwardPath,
        parameters: RecipientParameters,
    ) -> Outcome {
        let transaction = match stage {
            Stage::Transaction(transaction) if transaction.chunks.is_none() => transaction,
            Stage::Transaction(_) => {
                return self.refuse(Reply::bad_sequence("message already begun"));
            }
            Stage::Start | Stage::Ready(_) => return self.refuse(say_mail_first()),
        };
        if let ForwardPath::Address(address) = &forward_path
            && address.needs_smtputf8()
            && !transaction.smtputf8
        {
            return self.refuse(Reply::recipient_needs_smtputf8());
        }
        if parameters.uses_dsn() && !self.config.offer_dsn {
            return self.refuse(CommandError::ParameterUnknown.reply());
        }
        // RFC 6533 3: in 7 bits, unless SMTPUTF8 was asked for.
        if !transaction.smtputf8
            && parameters
                .orcpt
                .as_ref()
                .is_some_and(|orcpt| orcpt.needs_smtputf8())
        {
            return self.refuse(CommandError::ParameterSyntax.reply());
        }
        if transaction.recipients >= self.config.recipients_max {
            return self.answer(Reply::too_many_recipients());
        }
        // A notification answers one message, so it has one recipient; the peer may repeat it for the others.
        if transaction.null_reverse_path && transaction.recipients > 0 && !self.is_submission() {
            return self.answer(Reply::one_recipient_for_notification());
        }
        self.ask(
            Question::Recipient(transaction),
            Event::Recipient {
                forward_path,
                parameters,
            },
        )
    }

    fn data_command(&mut self, stage: Stage) -> Outcome {
        match stage {
            Stage::Start | Stage::Ready(_) => self.refuse(say_mail_first()),
            // RFC 3030 2 and 3: no DATA after BDAT, none for binary messages.
            Stage::Transaction(transaction) if transaction.chunks.is_some() => {
                self.refuse(Reply::bad_sequence("message already begun with BDAT"))
            }
            Stage::Transaction(transaction) if transaction.body == Some(BodyKind::BinaryMime) => {
                self.refuse(Reply::bad_sequence("BINARYMIME needs BDAT"))
            }
            Stage::Transaction(transaction) if transaction.recipients == 0 => {
                self.answer(Reply::no_valid_recipients())
            }
            Stage::Transaction(transaction) => {
                self.ask(Question::DataStart(transaction), Event::DataStart)
            }
        }
    }

    fn chunk_command(&mut self, stage: Stage, size: u64, last: bool) -> Outcome {
        let transaction = match stage {
            Stage::Transaction(transaction) if self.config.offer_chunking => transaction,
            _ if !self.config.offer_chunking => {
                return self.chunk_refused(stage, size, Reply::command_not_implemented);
            }
            Stage::Start => return self.chunk_refused(stage, size, say_hello_first),
            _ => return self.chunk_refused(stage, size, say_mail_first),
        };
        if transaction.recipients == 0 {
            return self.chunk_refused(stage, size, Reply::no_valid_recipients);
        }
        let decoder = transaction
            .chunks
            .unwrap_or_else(|| Decoder::chunks(&self.config, transaction.body));
        let fate = Fate::Deliver(transaction, decoder);
        self.state = State::Chunk(Chunk {
            remaining: size,
            last,
            fate,
        });
        None
    }

    /// RFC 3030 2: the octets are accepted and discarded before the answer.
    fn chunk_refused(&mut self, stage: Stage, size: u64, reply: fn() -> Reply) -> Outcome {
        self.state = State::Chunk(Chunk {
            remaining: size,
            last: false,
            fate: Fate::Refuse(stage, reply),
        });
        None
    }

    fn reset(&mut self, stage: Stage) -> Outcome {
        self.say(&Reply::ok());
        let Stage::Transaction(transaction) = stage else {
            return None;
        };
        self.state = State::Command(Stage::Ready(transaction.hello));
        Some(Event::Reset)
    }

    /// RFC 3207 4. It needs no EHLO before: gsasl sends none, and all that was said is forgotten anyway.
    fn start_tls(&mut self, stage: Stage) -> Outcome {
        if self.link == Link::Tls {
            return self.refuse(Reply::bad_sequence("TLS already active"));
        }
        if self.authenticated || !self.config.offer_starttls {
            return self.refuse(Reply::bad_sequence("STARTTLS not offered"));
        }
        self.ask(Question::StartTls { before: stage }, Event::StartTls)
    }

    /// RFC 4954 4.
    fn auth(&mut self, stage: Stage, mechanism: &str, initial: Option<&str>) -> Outcome {
        let mechanism = match self.may_authenticate(stage, mechanism) {
            Ok(mechanism) => mechanism,
            Err(reply) => return self.refuse(reply),
        };
        let initial = match initial {
            None => None,
            Some("=") => Some(sasl::Secret::default()),
            Some(line) => match sasl::base64::decode(line.as_bytes()) {
                Ok(response) => Some(response),
                Err(_) => {
                    let reply = Reply::bad_base64("not valid base64");
                    return self.refuse_authentication(mechanism, reply);
                }
            },
        };
        self.ask(Question::Auth, Event::Auth { mechanism, initial })
    }

    /// Answers AUTH with a bad initial response. Too many bad commands close the session, which says it all.
    pub(super) fn refuse_authentication(
        &mut self,
        mechanism: &'static str,
        reply: Reply,
    ) -> Outcome {
        self.refuse(reply)
            .or(Some(Event::AuthMalformed { mechanism }))
    }

    /// Whether AUTH may be given now; the mechanism as it is offered.
    pub(super) fn may_authenticate(
        &self,
        stage: Stage,
        mechanism: &str,
    ) -> Result<&'static str, Reply> {
        if self.config.auth_mechanisms.is_empty() {
            return Err(Reply::bad_sequence("AUTH not offered"));
        }
        match stage {
            // AUTH is an extension: it needs EHLO.
            Stage::Start | Stage::Ready(HelloKind::Plain) => return Err(say_hello_first()),
            Stage::Ready(HelloKind::Extended) => {}
            Stage::Transaction(_) => {
                return Err(Reply::bad_sequence("AUTH not allowed during a transaction"));
            }
        }
        if self.authenticated {
            return Err(Reply::bad_sequence("already authenticated"));
        }
        let known = self
            .config
            .auth_mechanisms
            .iter()
            .find(|name| name.eq_ignore_ascii_case(mechanism));
        let Some(&mechanism) = known else {
            return Err(Reply::mechanism_unknown());
        };
        match self.link {
            _ if self.mechanisms.contains(&mechanism) => Ok(mechanism),
            Link::Plain => Err(Reply::encryption_needed_for_mechanism()),
            Link::Tls => Err(Reply::mechanism_unknown()),
        }
    }

    fn ask(&mut self, question: Question, event: Event<'static>) -> Outcome {
        self.state = State::Asked(question);
        Some(event)
    }

    fn answer(&mut self, reply: Reply) -> Outcome {
        self.say(&reply);
        None
    }

    /// Answers a bad command and counts it.
    pub(super) fn refuse(&mut self, reply: Reply) -> Outcome {
        self.errors += 1;
        if self.errors > self.config.errors_max {
            return self.close_because(&Reply::too_many_errors(), CloseReason::TooManyErrors);
        }
        self.answer(reply)
    }

    /// Answers a line that is no command. If it is the first, the peer is no SMTP client: an HTTP request, for example,
    /// must not go on to its body (RFC 5321 7.8 lets us close).
    fn refuse_line(&mut self, reply: Reply) -> Outcome {
        if !self.speaks_smtp {
            return self.close_because(&Reply::not_smtp(), CloseReason::NotSmtp);
        }
        self.refuse(reply)
    }
}

fn say_hello_first() -> Reply {
    Reply::bad_sequence("send EHLO first")
}

fn say_mail_first() -> Reply {
    Reply::bad_sequence("send MAIL first")
}
