//! One connection of the SMTP door: bytes to the session, its events to whoever decides. Timeouts, drain.
//! `authenticate` goes through AUTH and slows who guesses, `write` gets replies out, at their pace, `feed` is the way of input to the session.

mod authenticate;
mod feed;
mod write;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future;
use shards::net::Connection;
use shards::rt;
use smtp::server::{CloseReason, Config, Deadline, Event, Kind, Link, Session};
use smtp::{HelloKind, Reply};

use super::Endpoint;
use super::recipients;
use super::replies;
use super::simulated;
use super::transaction::{Facts, Transaction, spool_reply};
use crate::calls::LimitedDoor;
use crate::login::limiter::Networks;
use crate::metrics::{label, labels};
use crate::percore::{KeyHolder, LoginFlow, PerCore, monotonic};
use crate::settings::{AccountName, SmtpLimits, StartTls};
use feed::{command_word, feed};

/// Serves a connection to its end.
pub async fn serve(core: Rc<PerCore>, mut connection: Connection, endpoint: Endpoint) {
    let networks = Networks::of(connection.peer().ip());
    let door = if endpoint.delivery {
        LimitedDoor::Smtp
    } else {
        LimitedDoor::Submission
    };
    let id = core.connection_id();
    rt::label_task(&id);
    let admitted = core.admit(networks, door).await;
    let _counted = admitted
        .is_ok()
        .then(|| Admitted(core.clone(), networks, door));
    if endpoint.implicit_tls {
        let started = start_tls(&core, &endpoint, &mut connection, admitted.is_err());
        if started.await.is_err() {
            core.count("ringmail_tls_handshakes_failed_total", "submissions");
            return;
        }
    }
    core.count(
        "ringmail_smtp_connections_total",
        if endpoint.delivery {
            "smtp"
        } else {
            "submission"
        },
    );
    tracing::debug!(connection = id, peer = %connection.peer(), "smtp connection");
    let mut door_state = Door::new(&core, connection, endpoint, id, networks);
    let result = match admitted {
        Ok(()) if core.draining.get() => door_state.turn_away(Reply::shutting_down()).await,
        Ok(()) => Box::pin(door_state.run()).await,
        Err(refused) => {
            core.count("ringmail_smtp_connections_refused_total", "limit");
            door_state.turn_away(replies::turned_away(refused)).await
        }
    };
    door_state.end_authentication();
    if let Err(error) = result {
        tracing::debug!(connection = door_state.id, %error, "smtp connection ended early");
    }
    door_state.connection.close().await;
}

/// The limiter has counted a connection in; dropping this counts it out, after a panic too.
struct Admitted(Rc<PerCore>, Networks, LimitedDoor);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.release(self.1, self.2);
    }
}

async fn start_tls(
    core: &PerCore,
    endpoint: &Endpoint,
    connection: &mut Connection,
    is_refused: bool,
) -> io::Result<()> {
    let config = match endpoint.delivery {
        true => core.live().tls_for_servers(endpoint.listener),
        false => core.live().tls_for_users(endpoint.listener),
    };
    let config = config.ok_or_else(|| io::Error::other("no certificate for this listener"))?;
    core.start_tls(connection, config, is_refused).await
}

struct Door<'c> {
    core: &'c Rc<PerCore>,
    connection: Connection,
    endpoint: Endpoint,
    session: Session,
    id: String,
    networks: Networks,
    pending: Vec<u8>,
    hello: (HelloKind, String),
    submitter: Option<AccountName>,
    /// The address with which the submitter logged in.
    login: String,
    authentication: Option<LoginFlow>,
    /// Whose client certificate TLS has.
    holder: Option<KeyHolder>,
    /// When the latest login was about to be looked at.
    checked: Instant,
    transaction: Option<Box<Transaction>>,
    data_deadline: Option<Instant>,
    failed_logins: u32,
    unknown_recipients: u32,
    bad_transactions: u32,
    good_transactions: u32,
    slow: bool,
}

impl<'c> Door<'c> {
    fn new(
        core: &'c Rc<PerCore>,
        connection: Connection,
        endpoint: Endpoint,
        id: String,
        networks: Networks,
    ) -> Door<'c> {
        let live = core.live();
        let limits = &live.settings.server.limits.smtp;
        let link = if connection.tls().is_some() {
            Link::Tls
        } else {
            Link::Plain
        };
        let config = session_config(
            core,
            &endpoint,
            limits,
            live.tls.contains_key(&endpoint.listener),
        );
        Door {
            core,
            session: Session::new(Arc::new(config), link, &id),
            connection,
            endpoint,
            id,
            networks,
            pending: Vec::new(),
            hello: (HelloKind::Plain, String::new()),
            submitter: None,
            login: String::new(),
            authentication: None,
            checked: monotonic(),
            holder: None,
            transaction: None,
            data_deadline: None,
            failed_logins: 0,
            unknown_recipients: 0,
            bad_transactions: 0,
            good_transactions: 0,
            slow: false,
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        self.look_at_key().await;
        self.offer_mechanisms();
        self.session.greet();
        loop {
            let (rest, event) = self.feed_pending();
            match event {
                Some(event) => self.handle(event).await,
                None => {
                    self.settle().await;
                    self.flush().await?;
                    if self.session.is_closed() {
                        return Ok(());
                    }
                    if self.session.is_starting_tls() {
                        self.upgrade().await?;
                    } else if rest == 0 && !self.read().await? {
                        return Ok(());
                    }
                }
            }
            rt::yield_if_needed().await;
        }
    }

    /// Gives the session what is left of the input; answers how much is still left, and an event if there is one.
    fn feed_pending(&mut self) -> (usize, Option<Event<'static>>) {
        let mut input = std::mem::take(&mut self.pending);
        let (used, event) = feed(self.core, &mut self.session, &mut self.transaction, &input);
        if used == input.len() {
            // An idle connection keeps no buffer.
            return (0, event);
        }
        input.drain(..used);
        self.pending = input;
        (self.pending.len(), event)
    }

    async fn settle(&mut self) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        if transaction.needs_settling() {
            transaction.settle().await;
        }
        // BDAT has no event at its start, but the same time for all of the message.
        if transaction.is_receiving() && self.data_deadline.is_none() {
            self.begin_data();
        }
    }

    /// Reads once. False: the peer has gone, or was told to.
    async fn read(&mut self) -> io::Result<bool> {
        if self.slow {
            rt::sleep(self.limits(|l| l.slow_delay_secs.duration())).await;
        }
        let wait = self.read_timeout();
        let Door {
            core,
            connection,
            session,
            transaction,
            pending,
            ..
        } = self;
        let idle = !session.in_transaction();
        let read = async {
            let result = connection
                .read_with(|input| {
                    if input.is_empty() {
                        return (true, None);
                    }
                    // Straight from the socket's buffer: message data is copied once, to where it stays.
                    let (used, event) = feed(core, session, transaction, input);
                    pending.extend_from_slice(&input[used..]);
                    (false, event)
                })
                .await;
            Some(result)
        };
        let drained = async {
            if idle {
                core.drained().await;
            } else {
                // RFC 5321 3.8: whoever has not finished by then is told before the connection goes.
                core.drain_ends().await;
            }
            None
        };
        let result = rt::timeout(wait, future::or(read, drained)).await;
        match result {
            Ok(Some(Ok((true, _)))) => Ok(false),
            Ok(Some(Ok((false, event)))) => {
                if let Some(event) = event {
                    self.handle(event).await;
                }
                Ok(true)
            }
            Ok(Some(Err(error))) => Err(error),
            Ok(None) => {
                self.session.close(Reply::shutting_down());
                Ok(true)
            }
            Err(rt::Elapsed) => {
                self.session.close(Reply::timeout());
                Ok(true)
            }
        }
    }

    fn limits<T>(&self, pick: impl FnOnce(&SmtpLimits) -> T) -> T {
        pick(&self.core.live().settings.server.limits.smtp)
    }

    fn read_timeout(&self) -> Duration {
        let wait = self.limits(|l| match self.session.deadline() {
            Deadline::DataBlock => l.data_block_timeout_secs.duration(),
            _ => l.command_timeout_secs.duration(),
        });
        match self.data_deadline {
            Some(end) => wait.min(end.saturating_duration_since(monotonic())),
            None => wait,
        }
    }

    async fn upgrade(&mut self) -> io::Result<()> {
        let result = start_tls(self.core, &self.endpoint, &mut self.connection, false).await;
        if result.is_err() {
            self.core
                .count("ringmail_tls_handshakes_failed_total", "starttls");
        }
        result?;
        self.session.tls_started();
        // RFC 3207 4.2: all that was learned before is forgotten.
        self.submitter = None;
        self.transaction = None;
        self.authentication = None;
        self.look_at_key().await;
        self.offer_mechanisms();
        Ok(())
    }

    async fn handle(&mut self, event: Event<'static>) {
        let (began, command) = (monotonic(), command_word(&event));
        self.decide(event).await;
        if let Some(command) = command {
            self.observe(command, began);
        }
    }

    /// How long a command took, without the peer's share; those the session answers by itself take no time worth measuring.
    fn observe(&self, command: &'static str, began: Instant) {
        let kind = if self.endpoint.delivery {
            "smtp"
        } else {
            "submission"
        };
        let code = self.session.last_code().map_or(0, |code| code.number());
        let labels = [
            ("kind", kind),
            ("cmd", command),
            ("code", replies::code_word(code)),
        ];
        let key = ("ringmail_smtp_command_duration_seconds", labels);
        self.core.durations.observe(key, began.elapsed());
    }

    async fn decide(&mut self, event: Event<'static>) {
        match event {
            Event::Hello { kind, name } => {
                self.hello = (kind, name.to_string());
                self.transaction = None;
                self.offer_future_release();
                self.session.accept();
            }
            Event::Auth { mechanism, initial } => {
                self.begin_authentication(mechanism, initial).await;
            }
            Event::AuthResponse(response) => match self.authentication.take() {
                Some(flow) => self.authenticate(flow, Some(response)).await,
                None => self.session.decide(Reply::bad_authentication_response()),
            },
            Event::AuthAborted(why) => self.abandon_authentication(why),
            Event::AuthMalformed { mechanism } => self.malformed_authentication(mechanism),
            Event::StartTls => self.session.accept(),
            Event::Mail {
                reverse_path,
                parameters,
            } => self.mail(reverse_path, parameters).await,
            Event::Recipient {
                forward_path,
                parameters,
            } => self.recipient(&forward_path, parameters).await,
            Event::DataStart => {
                self.session.accept();
                self.begin_data();
            }
            Event::Body(_) => (),
            Event::EndOfMessage { defect, .. } => self.end_of_message(defect).await,
            Event::Reset => {
                self.transaction = None;
                self.data_deadline = None;
            }
            Event::Closed(reason) => {
                self.transaction = None;
                if reason != CloseReason::Quit {
                    tracing::debug!(connection = self.id, ?reason, "smtp session closed");
                }
            }
        }
    }

    /// RFC 4865 4.2: on submission alone.
    fn offer_future_release(&mut self) {
        let live = self.core.live();
        let most = live
            .settings
            .server
            .queue
            .hold_max_secs
            .duration()
            .as_secs();
        if self.endpoint.delivery || most == 0 {
            return;
        }
        self.session.offer_future_release(smtp::FutureRelease {
            seconds_max: u32::try_from(most).unwrap_or(u32::MAX),
            until_max: self.core.wall_clock().saturating_add_unsigned(most),
        });
    }

    async fn mail(&mut self, reverse_path: smtp::ReversePath, parameters: smtp::MailParameters) {
        let most = self.limits(|l| l.bad_transactions_max);
        if self.bad_transactions > most && self.good_transactions == 0 {
            self.session.close(Reply::too_many_failures());
            return;
        }
        if self.endpoint.starttls == StartTls::Required && self.session.link() == Link::Plain {
            self.session.decide(Reply::start_tls_required());
            return;
        }
        if let Some(reply) = self.login_ended() {
            self.session.close(reply);
            return;
        }
        if let Some(account) = self.submitter
            && let Err(reply) =
                recipients::check_reverse_path(&self.core.live(), account, &reverse_path)
        {
            self.session.decide(reply);
            return;
        }
        // RFC 4865 4.2: HOLDUNTIL names a time to come.
        if let Some(smtp::Hold::Until(time)) = parameters.hold
            && time <= self.core.wall_clock()
        {
            self.session.decide(Reply::hold_is_over());
            return;
        }
        let played = simulated::at_mail(&self.core.live(), &reverse_path);
        if let Some(failure) = played {
            let reply = simulated::play(failure).await;
            self.session.decide(reply);
            return;
        }
        // Told before the octets are sent in vain.
        if let Err(error) = crate::inbound::may_begin(self.core) {
            self.session.decide(spool_reply(&error));
            return;
        }
        self.transaction = Some(Box::new(Transaction::new(
            reverse_path,
            parameters,
            self.submitter.is_some(),
        )));
        self.session.accept();
    }

    async fn recipient(
        &mut self,
        forward_path: &smtp::ForwardPath,
        parameters: smtp::RecipientParameters,
    ) {
        let Some(transaction) = &mut self.transaction else {
            self.session.decide(Reply::bad_sequence("MAIL first"));
            return;
        };
        if !transaction.has_room(self.submitter.is_some()) {
            self.session.decide(Reply::one_recipient_for_notification());
            return;
        }
        let live = self.core.live();
        if let Some(failure) = simulated::at_recipient(&live, forward_path) {
            let reply = simulated::play(failure).await;
            self.session.decide(reply);
            return;
        }
        match recipients::resolve(&live, forward_path, self.submitter) {
            Ok(target) if !transaction.has_place(self.core, &target).await => {
                self.session.decide(Reply::mailbox_full());
            }
            Ok(target) => {
                let hostname = live.settings.server.hostname();
                transaction.add(target, forward_path, parameters, hostname);
                transaction.play(simulated::at_message(&live, forward_path));
                self.session.accept();
            }
            Err(reply) => {
                if reply.code.number() == 550 {
                    self.unknown_recipient().await;
                }
                // Unless that was one too many, and all is said.
                if !self.session.is_closed() {
                    self.session.decide(reply);
                }
            }
        }
    }

    /// Guessing addresses is slow, and ends.
    async fn unknown_recipient(&mut self) {
        self.core.metrics.count(
            "ringmail_smtp_recipients_refused_total",
            label("kind", "unknown"),
        );
        self.unknown_recipients += 1;
        let (most, slow_after, delay) = self.limits(|l| {
            (
                l.unknown_recipients_max,
                l.unknown_recipients_slow_after,
                l.unknown_recipient_delay_secs.duration(),
            )
        });
        if self.unknown_recipients > slow_after && !delay.is_zero() {
            rt::sleep(delay).await;
        }
        if self.unknown_recipients > most {
            self.session.close(Reply::too_many_errors());
        }
    }

    fn begin_data(&mut self) {
        self.bad_transactions += 1;
        self.data_deadline = Some(monotonic() + self.limits(|l| l.data_timeout_secs.duration()));
    }

    async fn end_of_message(&mut self, defect: Option<smtp::server::Defect>) {
        let Some(transaction) = self.transaction.take() else {
            self.session.decide(Reply::bad_sequence("no transaction"));
            return;
        };
        if self.data_deadline.take().is_none() {
            // BDAT has no event at its start.
            self.bad_transactions += 1;
        }
        let (peer, local): (SocketAddr, SocketAddr) =
            (self.connection.peer(), self.connection.local());
        let facts = Facts {
            hostname: &self.endpoint.hostname,
            id: &self.id,
            hello: (self.hello.0, &self.hello.1),
            peer,
            local,
            tls: self.connection.tls(),
            submitter: self.submitter,
            login: &self.login,
        };
        let reply = match self.login_ended() {
            // Again: the login may have gone since MAIL.
            Some(reply) => reply,
            None => Box::pin(transaction.finish(self.core, facts, defect)).await,
        };
        let accepted = reply.is_positive();
        if accepted {
            self.bad_transactions = self.bad_transactions.saturating_sub(1);
            self.good_transactions += 1;
        }
        let door = if self.endpoint.delivery {
            "delivery"
        } else {
            "submission"
        };
        let result = if accepted { "accepted" } else { "refused" };
        self.core.metrics.count(
            "ringmail_smtp_messages_total",
            labels(("door", door), ("result", result)),
        );
        self.session.decide(reply);
    }
}

fn session_config(
    core: &PerCore,
    endpoint: &Endpoint,
    limits: &SmtpLimits,
    has_certificate: bool,
) -> Config {
    let kind = if endpoint.delivery {
        Kind::Delivery
    } else {
        Kind::Submission
    };
    let mut config = Config::new(&*endpoint.hostname, kind);
    config.offer_starttls = endpoint.starttls != StartTls::Off && has_certificate;
    if !endpoint.delivery {
        let mechanisms = sasl::Mechanism::ALL.into_iter();
        let mechanisms = mechanisms
            .filter(|m| core.has_mechanism(*m))
            .map(|m| m.name());
        config.auth_mechanisms = mechanisms.collect();
    }
    // RFC 3461 5.2.3 (a): who offers it must report a delivery to whom asks, and nobody has verified the reverse-path of a stranger.
    config.offer_dsn = endpoint.dsn;
    config.size_max = limits.message_size_max_bytes.get();
    config.recipients_max = limits.recipients_max;
    config.command_line_max = limits.command_line_max_bytes.as_usize();
    config.auth_line_max = limits.auth_line_max_bytes.as_usize();
    config.errors_max = limits.bad_commands_max;
    config
}
