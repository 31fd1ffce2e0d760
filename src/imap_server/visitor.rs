//! A connection before login: handshake, limits, greeting, STARTTLS, LOGIN and AUTHENTICATE; then it is handed to the account's core.
//! RFC 9051 6.1 and 6.2, RFC 4959. Wrong passwords cost time: spec A1.3.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use imap::command::Command;
use imap::response::{Code, Condition, Encoder, refusal, tagged, untagged};
use imap::server::{AuthenticateResponse, Awaits, Config, Event, Session};
use imap::types::{NameSyntax, Tag};
use sasl::{Mechanism, SaslError, Secret};
use shards::net::Connection;
use shards::rt;

use super::Endpoint;
use super::admitted::Admitted;
use super::capabilities::Announced;
use super::talk::{End, RefusalsCounted, Talk};
use crate::calls::{Answer, Call, ConnectionFacts, LimitedDoor, MovedConnection};
use crate::login::Service;
use crate::login::limiter::{Networks, Refused};
use crate::percore::{
    Attempt, KeyHolder, Later, Login, LoginFlow, Next, Offer, PerCore, monotonic,
};
use crate::settings::{AccountName, Bytes, ImapLimits, StartTls};

/// A connection that has not logged in.
struct Visitor {
    core: Rc<PerCore>,
    talk: Talk,
    endpoint: Endpoint,
    facts: ConnectionFacts,
    /// TLS is active.
    tls: bool,
    /// Whose client certificate it has.
    holder: Option<KeyHolder>,
    /// What the client says it is.
    client: String,
    /// Its login, to be recorded when it says what it is.
    unrecorded: Later,
    /// When the latest login was about to be looked at.
    checked: Instant,
    /// Failed logins.
    failures: u32,
    /// AUTHENTICATE under way.
    exchange: Option<(Tag, LoginFlow)>,
    /// The command that is worked on, and since when.
    command: &'static str,
    began: Instant,
    refusals: RefusalsCounted,
}

/// Serves a connection from its start until it has logged in or ended.
pub(super) async fn serve(core: Rc<PerCore>, connection: Connection, endpoint: Endpoint) {
    let networks = Networks::of(connection.peer().ip());
    let facts = ConnectionFacts {
        id: core.connection_id(),
        peer: connection.peer().ip(),
        networks,
        listener: endpoint.listener,
    };
    shards::rt::label_task(&facts.id);
    tracing::debug!(connection = facts.id, peer = %connection.peer(), "connected");
    let service = if endpoint.implicit_tls {
        "imaps"
    } else {
        "imap"
    };
    core.metrics.count(
        "ringmail_imap_connections_total",
        crate::metrics::label("service", service),
    );
    let bye_limit = limits(&core, |l| l.bye_timeout_secs.duration());
    let mut visitor = Visitor::new(core, connection, endpoint, facts);
    let mut admitted = None;
    let end = match visitor.enter(networks).await {
        Ok((pass, account)) => {
            admitted = Some(pass);
            match account {
                Some(account) => Ok(account),
                None => visitor.converse().await,
            }
        }
        Err(end) => Err(end),
    };
    visitor
        .refusals
        .count_new(&visitor.core, &visitor.talk.session);
    match (end, admitted) {
        (Ok(account), Some(admitted)) => visitor.hand_over(account, admitted).await,
        (Ok(_), None) => (),
        (Err(end), _admitted) => {
            visitor.abandon();
            tracing::debug!(connection = visitor.facts.id, ?end, "ended before login");
            visitor.talk.end(end, bye_limit).await;
        }
    }
}

fn limits<T>(core: &PerCore, pick: impl FnOnce(&ImapLimits) -> T) -> T {
    pick(&core.live().settings.server.limits.imap)
}

impl Visitor {
    fn new(
        core: Rc<PerCore>,
        connection: Connection,
        endpoint: Endpoint,
        facts: ConnectionFacts,
    ) -> Visitor {
        let starttls = match offers_starttls(&core, &endpoint) {
            true => imap::server::StartTls::Offered,
            false => imap::server::StartTls::NotOffered,
        };
        let (write_limit, config) = limits(&core, |l| {
            (
                l.login_write_timeout_secs.duration(),
                session_config(l, starttls),
            )
        });
        let session = Session::new(config).with_connection_id(&facts.id);
        Visitor {
            talk: Talk::new(connection, session, write_limit),
            core,
            endpoint,
            facts,
            tls: false,
            holder: None,
            client: String::new(),
            unrecorded: Later::default(),
            checked: monotonic(),
            failures: 0,
            exchange: None,
            command: "(greeting)",
            began: monotonic(),
            refusals: RefusalsCounted::default(),
        }
    }

    /// Limits, handshake, greeting. Spec A1.3 has refusals after the handshake, so that a BYE can be read.
    async fn enter(&mut self, networks: Networks) -> Result<(Admitted, Option<AccountName>), End> {
        let door = self.core.admit(networks, LimitedDoor::Imap).await;
        let admitted = door.map(|()| Admitted::new(self.core.clone(), networks));
        if self.endpoint.implicit_tls {
            self.start_tls(admitted.is_err()).await?;
        }
        if self.core.draining.get() {
            return Err(shutting_down());
        }
        let admitted = admitted.map_err(|refused| {
            self.core.metrics.count(
                "ringmail_imap_refused_total",
                crate::metrics::label("reason", refused_word(refused)),
            );
            End::bye(refused_text(refused))
        })?;
        // RFC 9051 7.1.4: only on a connection that has had TLS from the start.
        let holder = self.holder.as_ref().filter(|h| !h.no_imap_preauth);
        let account = holder.and_then(|h| self.core.enter_by_key(h, self.attempt()));
        let condition = match account {
            Some(_) => {
                self.talk.session.authenticated();
                Condition::PreAuth
            }
            None => Condition::Ok,
        };
        let words = self.announced(account.is_none()).words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = format!(
            "{} ringmail ready, connection {}",
            self.endpoint.hostname, self.facts.id
        );
        untagged(
            &mut self.talk.wire.out,
            condition,
            Some(&Code::Capability(&words)),
            &text,
        );
        Ok((admitted, account))
    }

    async fn start_tls(&mut self, is_refused: bool) -> Result<(), End> {
        let config = self.core.live().tls_for_users(self.endpoint.listener);
        let config = config.ok_or(End::Gone)?;
        Box::pin(self.talk.wire.start_tls(&self.core, config, is_refused)).await?;
        self.tls = true;
        self.checked = monotonic();
        self.holder = self.core.key_holder(self.talk.wire.connection()).await;
        Ok(())
    }

    fn announced(&self, before_login: bool) -> Announced {
        Announced {
            before_login,
            starttls: !self.tls && offers_starttls(&self.core, &self.endpoint),
            mechanisms: match self.must_start_tls() {
                true => Vec::new(),
                false => self.core.mechanisms(&self.offer()),
            },
            passwords: self.may_send_password(),
            append_limit: limits(&self.core, |l| l.message_size_max_bytes.get()),
        }
    }

    fn offer(&self) -> Offer {
        let holder = self.holder.as_ref();
        self.talk.wire.offer(holder, self.may_send_password())
    }

    fn may_send_password(&self) -> bool {
        self.tls || (self.endpoint.allow_plain_auth && !self.must_start_tls())
    }

    /// Nobody logs in before TLS, not even in a way that shows no password.
    fn must_start_tls(&self) -> bool {
        !self.tls && self.endpoint.starttls == StartTls::Required
    }

    /// Commands, until a login succeeds.
    async fn converse(&mut self) -> Result<AccountName, End> {
        loop {
            while let Some(event) = self.talk.next_event(&mut None) {
                if let Some(account) = Box::pin(self.handle(event)).await? {
                    return Ok(account);
                }
            }
            self.talk.wire.flush().await?;
            self.refusals.count_new(&self.core, &self.talk.session);
            if self.talk.session.awaits() == Awaits::Closed {
                return Err(End::Said);
            }
            if self.talk.session.refusals() > limits(&self.core, |l| l.bad_commands_max) {
                return Err(End::bye("too many bad commands"));
            }
            self.wait().await?;
        }
    }

    async fn wait(&mut self) -> Result<(), End> {
        let limit = limits(&self.core, |l| self.talk.patience(l, false));
        let core = self.core.clone();
        let drained = async {
            core.drained().await;
            Err(shutting_down())
        };
        let mut nothing = None;
        let read = self.talk.read(&mut nothing).or(drained);
        match rt::timeout(limit, read).await {
            Ok(result) => result,
            Err(rt::Elapsed) => Err(End::bye("inactive")),
        }
    }

    /// Some: logged in.
    async fn handle(&mut self, event: Event) -> Result<Option<AccountName>, End> {
        self.began = monotonic();
        self.command = match &event {
            Event::Command { command, .. } => command.name(),
            Event::StartTls { .. } => "STARTTLS",
            _ => "AUTHENTICATE",
        };
        match event {
            Event::Command { tag, command } => return self.command(tag, command).await,
            Event::StartTls { tag } => self.upgrade(tag).await?,
            Event::Authenticate {
                tag,
                mechanism,
                initial_response,
            } => return self.authenticate(tag, &mechanism, initial_response).await,
            Event::AuthenticateResponse(response) => return self.respond(response).await,
            Event::Close => return Err(End::Said),
            // The session lets nothing else through before login.
            _ => (),
        }
        Ok(None)
    }

    async fn command(&mut self, tag: Tag, command: Command) -> Result<Option<AccountName>, End> {
        let syntax = NameSyntax::ModifiedUtf7;
        let words = self.announced(true).words();
        let mut encoder = Encoder::new(&mut self.talk.wire.out, syntax);
        match command {
            Command::Login { user, password } => {
                if !self.may_send_password() {
                    self.privacy_required(&tag);
                    return Ok(None);
                }
                let secret = Secret::from(password.as_str().as_bytes());
                self.wait_for_turn().await;
                self.checked = monotonic();
                let core = self.core.clone();
                let holder = self.holder.as_ref();
                let login = core
                    .login(&user, secret, "login-command", holder, self.attempt())
                    .await;
                return self.logged_in(tag, login);
            }
            Command::Capability => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                encoder.capability(&words);
            }
            // Before login the name alone: whoever looks for old versions gets no help.
            Command::Id(pairs) => {
                encoder.id(&[("name", Some("ringmail"))]);
                self.client = client_in_words(&pairs);
            }
            Command::Logout => {
                encoder.untagged(Condition::Bye, None, "until next time");
                encoder.tagged(&tag, Condition::Ok, None, "LOGOUT done");
                return Err(End::Said);
            }
            _ => (),
        }
        self.answer(&tag, Condition::Ok, None, "done");
        Ok(None)
    }

    fn answer(&mut self, tag: &Tag, condition: Condition, code: Option<Code<'_>>, text: &str) {
        let out = &mut self.talk.wire.out;
        match condition {
            Condition::Ok => tagged(out, tag, condition, code.as_ref(), text),
            _ => refusal(
                out,
                Some(tag),
                condition,
                code.as_ref(),
                text,
                &self.facts.id,
            ),
        }
        let result = match condition {
            Condition::Ok => "ok",
            _ => "usererror",
        };
        self.core.imap_command(self.command, result, self.began);
        self.talk.session.answered();
    }

    fn privacy_required(&mut self, tag: &Tag) {
        self.answer(
            tag,
            Condition::No,
            Some(Code::PrivacyRequired),
            "TLS is required for login",
        );
    }

    async fn upgrade(&mut self, tag: Tag) -> Result<(), End> {
        // RFC 9051 6.2.1, 11.3: what came ahead in plain text may be someone else's words.
        if self.talk.has_unread() {
            return Err(End::bye("octets after STARTTLS before TLS"));
        }
        let text = format!("begin TLS, connection {}", self.facts.id);
        tagged(&mut self.talk.wire.out, &tag, Condition::Ok, None, &text);
        self.talk.wire.flush().await?;
        self.start_tls(false).await?;
        self.talk.session.tls_started();
        Ok(())
    }

    async fn authenticate(
        &mut self,
        tag: Tag,
        mechanism: &str,
        initial: Option<AuthenticateResponse>,
    ) -> Result<Option<AccountName>, End> {
        if self.must_start_tls() {
            self.privacy_required(&tag);
            return Ok(None);
        }
        let Some(mechanism) = Mechanism::parse(mechanism) else {
            self.answer(&tag, Condition::No, None, "mechanism is not supported");
            return Ok(None);
        };
        let hostname = self.endpoint.hostname.clone();
        match self.core.begin_exchange(mechanism, self.offer(), &hostname) {
            Some(flow) => self.exchange = Some((tag, flow)),
            None if self.core.has_mechanism(mechanism) && !self.tls => {
                self.privacy_required(&tag);
                return Ok(None);
            }
            None => {
                self.answer(&tag, Condition::No, None, "mechanism is not supported");
                return Ok(None);
            }
        }
        self.wait_for_turn().await;
        match initial {
            None => self.step(None).await,
            Some(response) => self.respond(response).await,
        }
    }

    async fn respond(
        &mut self,
        response: AuthenticateResponse,
    ) -> Result<Option<AccountName>, End> {
        let (cause, text) = match response {
            AuthenticateResponse::Octets(octets) => return self.step(Some(&octets)).await,
            AuthenticateResponse::Cancelled => (SaslError::Cancelled, "authentication cancelled"),
            AuthenticateResponse::BadBase64 => (SaslError::Malformed, "not base64"),
            AuthenticateResponse::TooLong => (SaslError::Malformed, "line too long"),
        };
        if let Some((tag, flow)) = self.exchange.take() {
            self.core.abandon(flow, self.attempt(), cause);
            self.malformed(&tag, text)?;
        }
        Ok(None)
    }

    /// The connection ends in the middle of an exchange.
    fn abandon(&mut self) {
        if let Some((_, flow)) = self.exchange.take() {
            self.core
                .abandon(flow, self.attempt(), SaslError::Cancelled);
        }
    }

    async fn step(&mut self, response: Option<&[u8]>) -> Result<Option<AccountName>, End> {
        let Some((tag, mut flow)) = self.exchange.take() else {
            return Ok(None);
        };
        self.checked = monotonic();
        let core = self.core.clone();
        match core.advance(&mut flow, self.attempt(), response).await {
            Next::Challenge(challenge) => {
                self.talk.session.challenge(&challenge);
                self.exchange = Some((tag, flow));
                Ok(None)
            }
            Next::Done(login) => self.logged_in(tag, login),
            Next::Malformed(error) => {
                self.malformed(&tag, &error.to_string())?;
                Ok(None)
            }
        }
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt {
            connection: &self.facts.id,
            socket: self.talk.wire.connection(),
            networks: self.facts.networks,
            service: Service::Imap,
            client: &self.client,
            later: self.client.is_empty().then_some(&self.unrecorded),
        }
    }

    /// Spec A1.3: from the fifth attempt on the check itself waits.
    async fn wait_for_turn(&self) {
        let earlier = self
            .failures
            .saturating_sub(limits(&self.core, |l| l.auth_failures_slow_after));
        if earlier > 0 {
            rt::sleep(Duration::from_secs(u64::from(earlier))).await;
        }
    }

    fn logged_in(&mut self, tag: Tag, login: Login) -> Result<Option<AccountName>, End> {
        match login {
            Login::Ok(account) => {
                self.talk.wire.slow = None;
                self.welcome(&tag);
                return Ok(Some(account));
            }
            Login::Failed => {
                let code = Code::AuthenticationFailed;
                self.answer(&tag, Condition::No, Some(code), "login failed");
                self.count_failure()?;
            }
            Login::NotAuthorized => {
                let code = Code::AuthorizationFailed;
                self.answer(
                    &tag,
                    Condition::No,
                    Some(code),
                    "nobody may act for another",
                );
                self.count_failure()?;
            }
            Login::OtherKey => {
                let text = "the key of the TLS client certificate belongs to another account";
                let code = Code::AuthenticationFailed;
                self.answer(&tag, Condition::No, Some(code), text);
                self.count_failure()?;
            }
            // No code: with AUTHENTICATIONFAILED the client would ask for another password.
            Login::Disabled(text) => {
                self.answer(&tag, Condition::No, None, &text);
                self.count_failure()?;
            }
            Login::Limited => return Err(End::bye(refused_text(Refused::Failures))),
            Login::Unavailable => {
                let code = Code::Unavailable;
                let text = "logins can not be checked now, try again later";
                self.answer(&tag, Condition::No, Some(code), text);
                // Nobody's failure, but a line of the log, perhaps: not without end.
                self.count_failure()?;
            }
        }
        Ok(None)
    }

    fn malformed(&mut self, tag: &Tag, text: &str) -> Result<(), End> {
        self.answer(tag, Condition::Bad, None, text);
        self.count_failure()
    }

    fn count_failure(&mut self) -> Result<(), End> {
        self.failures += 1;
        let (slow_after, most, delay) = limits(&self.core, |l| {
            (
                l.auth_failures_slow_after,
                l.auth_failures_max,
                l.slow_delay_secs.duration(),
            )
        });
        if self.failures >= most {
            return Err(End::bye("too many failed logins"));
        }
        if self.failures >= slow_after {
            self.talk.wire.slow = Some(delay);
        }
        Ok(())
    }

    /// The OK of the login; it is written by the account's core.
    fn welcome(&mut self, tag: &Tag) {
        let words = self.announced(false).words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.talk.session.authenticated();
        self.answer(
            tag,
            Condition::Ok,
            Some(Code::Capability(&words)),
            "logged in",
        );
    }

    /// To the core that owns the account, which may be this one: the way is the same.
    async fn hand_over(mut self, account: AccountName, admitted: Admitted) {
        let bye_limit = limits(&self.core, |l| l.bye_timeout_secs.duration());
        let owner = self.core.owner_of(account.as_str());
        let unwritten = std::mem::take(&mut self.talk.wire.out);
        let (connection, session, unread) = self.talk.into_parts();
        let Ok(detached) = connection.detach() else {
            return;
        };
        let moved = MovedConnection {
            detached,
            session,
            unread,
            unwritten,
            account,
            checked: self.checked,
            unrecorded: self.unrecorded.into_inner(),
            facts: self.facts,
        };
        let limit = self
            .core
            .live()
            .settings
            .server
            .cores
            .call_timeout_secs
            .duration();
        let call = Call::Connection(Box::new(moved));
        match self.core.lanes.offer(owner, call, limit).await {
            Err((_, Some(Call::Connection(moved)))) => {
                let MovedConnection {
                    detached,
                    session,
                    unrecorded,
                    ..
                } = *moved;
                if let Some(attempted) = unrecorded {
                    self.core.record(*attempted);
                }
                if let Ok(connection) = detached.attach().await {
                    let busy = End::Bye(Some(Code::Unavailable), "server busy, try again".into());
                    Talk::new(connection, session, bye_limit)
                        .end(busy, bye_limit)
                        .await;
                }
            }
            Ok(Answer::Done(_)) | Ok(_) | Err(_) => admitted.moved(),
        }
    }
}

/// RFC 2971 3.3: what a client says of itself, in a line: its name and version, without those all it says.
pub(super) fn client_in_words(pairs: &[(String, Option<String>)]) -> String {
    let value = |field: &str| {
        let mut found = pairs
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(field));
        found.find_map(|(_, value)| value.as_deref())
    };
    let words: Vec<String> = match value("name") {
        Some(name) => [Some(name), value("version")]
            .into_iter()
            .flatten()
            .map(str::to_string)
            .collect(),
        None => pairs
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value.as_deref()?)))
            .collect(),
    };
    words.join(" ")
}

fn session_config(limits: &ImapLimits, starttls: imap::server::StartTls) -> Config {
    let octets = |bytes: Bytes| u32::try_from(bytes.get()).unwrap_or(u32::MAX);
    Config {
        starttls,
        line_max: octets(limits.line_max_bytes),
        literal_max: octets(limits.literal_max_bytes),
        literals_total_max: octets(limits.literals_max_bytes),
        literals_max: limits.literals_max,
        discard_max: octets(limits.discard_max_bytes),
        ..Config::default()
    }
}

/// Whether a connection that comes in here can get TLS later.
fn offers_starttls(core: &PerCore, endpoint: &Endpoint) -> bool {
    !endpoint.implicit_tls
        && endpoint.starttls != StartTls::Off
        && core.live().tls.contains_key(&endpoint.listener)
}

/// BYE of a server that stops.
pub(super) fn shutting_down() -> End {
    End::Bye(
        Some(Code::Unavailable),
        "the server is shutting down".into(),
    )
}

fn refused_word(refused: Refused) -> &'static str {
    match refused {
        Refused::Rate => "rate",
        Refused::Open => "open",
        Refused::Failures => "failures",
    }
}

fn refused_text(refused: Refused) -> &'static str {
    match refused {
        Refused::Rate => "connection rate from your network too high",
        Refused::Open => "too many open connections from your network",
        Refused::Failures => "too many authentication failures from your network",
    }
}
