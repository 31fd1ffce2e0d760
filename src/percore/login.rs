//! Logins, one flow for all doors: what a client says goes through its SASL mechanism, and what that asks is asked of the core that owns
//! the account. Nothing heavy is done here: passwords are hashed by threads of their own, there.
//!
//! An unknown name takes the same way as a known one: to the core of its hash, with the same reads and the same work.

mod api_key;
mod token;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use sasl::{ChannelBindings, Context, Exchange, Mechanism, Question, SaslError, Secret, Step};
use sasl::{ScramHash, Verdict};
use shards::net::Connection;
use shards::rt;
use shards::shard_of;

use super::attempts::Who;
use super::{PerCore, monotonic, wall_clock};
use crate::calls::{Answer, Call, Claim, Verified, Verify};
use crate::login::limiter::{May, Networks};
use crate::login::{Attempted, Service};
use crate::settings::AccountName;
use crate::store::Fingerprint;

/// Where a login comes from: for limits, counters and the log.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The number of the connection.
    pub connection: &'a str,
    /// Its ends.
    pub socket: &'a dyn Ends,
    /// The client's networks.
    pub networks: Networks,
    /// What it wants.
    pub service: Service,
    /// What the client says it is; empty if nothing.
    pub client: &'a str,
    /// Where a login that succeeds waits to be recorded, if the client has yet to say what it is. None: it is recorded at once.
    pub later: Option<&'a Later>,
}

/// The ends of a client's connection, as logins are recorded.
pub trait Ends {
    /// The client's.
    fn peer(&self) -> SocketAddr;
    /// Ours.
    fn local(&self) -> SocketAddr;
    /// Its TLS; empty if it has none.
    fn tls_in_words(&self) -> String;
}

impl Ends for Connection {
    fn peer(&self) -> SocketAddr {
        self.peer()
    }

    fn local(&self) -> SocketAddr {
        self.local()
    }

    fn tls_in_words(&self) -> String {
        self.tls_in_words()
    }
}

/// A login that is to be recorded.
pub type Later = RefCell<Option<Box<Attempted>>>;

/// What came of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// The client is who it says.
    Ok(AccountName),
    /// Unknown name or wrong password: nobody can tell which.
    Failed,
    /// Nobody may act for another.
    NotAuthorized,
    /// All is right, but the connection's client certificate is another account's.
    OtherKey,
    /// All is right, but the account may not log in; the operator's text.
    Disabled(String),
    /// Too many failures from this network; nothing was checked.
    Limited,
    /// Can't be checked now.
    Unavailable,
}

impl Login {
    /// Whether the client has to try something else.
    fn is_refusal(&self) -> bool {
        matches!(self, Login::Failed | Login::NotAuthorized | Login::OtherKey)
    }

    /// For the log and metrics.
    fn word(&self) -> &'static str {
        match self {
            Login::Ok(_) => "ok",
            Login::Failed | Login::NotAuthorized | Login::OtherKey => "badcreds",
            Login::Disabled(_) => "logindisabled",
            Login::Limited => "limited",
            Login::Unavailable => "error",
        }
    }
}

/// Who holds the key of the client certificate that the connection was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    /// Whom it logs in.
    pub account: AccountName,
    /// Under which address.
    pub address: String,
    /// Of the key.
    pub fingerprint: Fingerprint,
    /// IMAP is greeted as always.
    pub no_imap_preauth: bool,
    /// Why the account may not log in.
    pub disabled: Option<String>,
}

/// What a connection has to offer.
pub struct Offer {
    /// Whose client certificate it has, if it is a registered one.
    pub holder: Option<KeyHolder>,
    /// Whether passwords may be sent as they are.
    pub passwords: bool,
    /// What ties a login to the TLS connection; empty without TLS.
    pub bindings: ChannelBindings,
}

impl Offer {
    /// Of a connection.
    pub fn of(connection: &Connection, holder: Option<&KeyHolder>, passwords: bool) -> Offer {
        let certificate = connection.own_certificate();
        Offer {
            holder: holder.cloned(),
            passwords,
            bindings: ChannelBindings {
                exporter: connection.exported_key(),
                server_end_point: certificate.and_then(sasl::server_end_point),
            },
        }
    }
}

/// An exchange under way.
pub struct LoginFlow {
    mechanism: Mechanism,
    exchange: Exchange,
    holder: Option<KeyHolder>,
    /// As the client gave it, once it has.
    name: String,
    /// Of the question that decided.
    result: Option<Login>,
}

impl LoginFlow {
    /// Which mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Which address logs in, as the client gave it; of one that came by its key, that key's.
    pub fn address(&self) -> &str {
        &self.name
    }
}

/// What to do after a step.
#[derive(Debug)]
pub enum Next {
    /// Send this challenge (not base64 yet) and wait for the client.
    Challenge(Vec<u8>),
    /// Over.
    Done(Login),
    /// Over: the client does not speak the mechanism.
    Malformed(SaslError),
}

impl PerCore {
    /// The mechanisms that work on a connection, in the order of announcement.
    pub fn mechanisms(&self, offer: &Offer) -> Vec<Mechanism> {
        let all = Mechanism::ALL.into_iter();
        all.filter(|m| self.offers(*m, offer)).collect()
    }

    /// Whether a mechanism is switched on at all.
    pub fn has_mechanism(&self, mechanism: Mechanism) -> bool {
        let live = self.live.borrow();
        let auth = &live.settings.server.limits.auth;
        match mechanism {
            Mechanism::CramMd5 => auth.cram_md5,
            Mechanism::OauthBearer | Mechanism::Xoauth2 => live.tokens.is_some(),
            other => other.scram_hash() != Some(ScramHash::Sha1) || auth.scram_sha1,
        }
    }

    fn offers(&self, mechanism: Mechanism, offer: &Offer) -> bool {
        self.has_mechanism(mechanism)
            && (mechanism != Mechanism::External || offer.holder.is_some())
            && (offer.passwords || !mechanism.reveals_password())
            && (!mechanism.needs_channel_binding() || !offer.bindings.is_empty())
    }

    /// Begins an exchange; none if the connection does not offer the mechanism.
    pub fn begin_exchange(
        &self,
        mechanism: Mechanism,
        offer: Offer,
        hostname: &str,
    ) -> Option<LoginFlow> {
        if !self.offers(mechanism, &offer) {
            return None;
        }
        let mut random = [0; 32];
        // Without randomness no exchange is safe.
        crate::login::random(&mut random).ok()?;
        let context = Context {
            // Announced together with the names without it.
            offers_plus: !offer.bindings.is_empty(),
            bindings: offer.bindings,
            random,
            hostname: hostname.to_string(),
            now_secs: wall_clock() as u64,
        };
        Some(LoginFlow {
            mechanism,
            holder: offer.holder,
            exchange: Exchange::new(mechanism, context),
            name: String::new(),
            result: None,
        })
    }

    /// Takes what the client said; none for no initial response.
    pub async fn advance(
        self: &Rc<Self>,
        flow: &mut LoginFlow,
        attempt: Attempt<'_>,
        response: Option<&[u8]>,
    ) -> Next {
        let mut step = flow.exchange.step(response);
        loop {
            match step {
                Ok(Step::Challenge(challenge)) => return Next::Challenge(challenge),
                Ok(Step::Success) => {
                    return Next::Done(flow.result.take().unwrap_or(Login::Failed));
                }
                Ok(Step::Ask(question)) => {
                    let verdict = self.answer(flow, attempt, question).await;
                    // Here, not at the end: SCRAM tells a wrong proof before that, by `e=`.
                    let refused = flow.result.as_ref().is_some_and(Login::is_refusal);
                    self.keep_pace(refused).await;
                    // Who is told that a proof or a token is wrong (RFC 5802 7, RFC 7628 3.2.2) throws the password or the token away: not
                    // where nobody looked at it, or it was right. RFC 5802 5.1: no server-final-message is needed then.
                    let is_scram = flow.mechanism.scram_hash().is_some();
                    let is_not_wrong = |l: &mut Login| match l {
                        Login::Unavailable | Login::Limited => true,
                        Login::Disabled(_) => is_scram,
                        _ => false,
                    };
                    if let Some(login) = flow.result.take_if(is_not_wrong) {
                        return Next::Done(login);
                    }
                    step = flow.exchange.resume(verdict);
                }
                Err(error) => {
                    self.keep_pace(flow.result.is_none()).await;
                    return self.failed(flow, attempt, error);
                }
            }
        }
    }

    /// A refusal waits for its turn.
    async fn keep_pace(&self, refused: bool) {
        if !refused {
            return;
        }
        let most = {
            let live = self.live.borrow();
            live.settings.server.limits.auth.refusals_per_second_max
        };
        let wait = self.refusals.borrow_mut().wait(monotonic(), most);
        if !wait.is_zero() {
            rt::sleep(wait).await;
        }
    }

    /// The client gave up or sent what is not base64; the door has answered, or will.
    pub fn abandon(self: &Rc<Self>, flow: LoginFlow, attempt: Attempt<'_>, cause: SaslError) {
        // What was counted already, as a wrong proof that the client heard of, stays what it was.
        if flow.result.is_none() {
            let error = flow.exchange.end(cause);
            let mechanism = flow.mechanism.name();
            tracing::debug!(connection = attempt.connection, mechanism, %error, "login failed");
            let who = self.known(&flow.name, flow.holder.as_ref());
            self.over(attempt, mechanism, who, error.failure().word());
        }
    }

    fn failed(
        self: &Rc<Self>,
        flow: &mut LoginFlow,
        attempt: Attempt<'_>,
        error: SaslError,
    ) -> Next {
        if let Some(login) = flow.result.take().filter(|l| !matches!(l, Login::Ok(_))) {
            return Next::Done(login);
        }
        // The client's mistake: nobody but who looks for it needs to hear of it.
        tracing::debug!(connection = attempt.connection, mechanism = flow.mechanism.name(), %error, "login failed");
        let who = self.known(&flow.name, flow.holder.as_ref());
        self.over(attempt, flow.mechanism.name(), who, error.failure().word());
        match error {
            SaslError::NotAuthorized => Next::Done(Login::NotAuthorized),
            error if error.is_malformed() => Next::Malformed(error),
            _ => Next::Done(Login::Failed),
        }
    }

    async fn answer(
        self: &Rc<Self>,
        flow: &mut LoginFlow,
        attempt: Attempt<'_>,
        question: Question,
    ) -> Verdict {
        let (name, claim) = match question {
            Question::Salt { username, hash } => {
                flow.name.clone_from(&username);
                let verdict = self.ask_salt(username, hash).await;
                if verdict == Verdict::Refused {
                    flow.result = Some(Login::Unavailable);
                }
                return verdict;
            }
            Question::Password(credentials) if !credentials.acts_as_itself() => {
                let login = Login::NotAuthorized;
                let who = self.known(&credentials.authcid, flow.holder.as_ref());
                self.over(attempt, flow.mechanism.name(), who, login.word());
                flow.result = Some(login);
                return Verdict::Refused;
            }
            Question::Password(credentials) => {
                let password = prepared(credentials.password);
                (credentials.authcid, Claim::Password(password))
            }
            Question::Proof(proof) => (proof.username.clone(), Claim::Proof(proof)),
            Question::Digest(digest) => (digest.username.clone(), Claim::Digest(digest)),
            Question::Certificate { authzid } => {
                // Again: the connection may be older than the key's removal.
                let holder = match &flow.holder {
                    Some(holder) => self.holder_of(holder.fingerprint).await,
                    None => None,
                };
                let login = self.by_key(holder.as_ref(), authzid.as_deref());
                flow.name = holder
                    .as_ref()
                    .map_or_else(String::new, |h| h.address.clone());
                let is_ok = matches!(login, Login::Ok(_));
                let mechanism = flow.mechanism.name();
                self.over_by_key(holder.as_ref(), attempt, &login, mechanism);
                flow.result = Some(login);
                return if is_ok {
                    Verdict::Accepted
                } else {
                    Verdict::Refused
                };
            }
            Question::Token(token) => return self.answer_token(flow, attempt, token).await,
        };
        flow.name.clone_from(&name);
        let (login, verified) = self
            .check(
                name,
                claim,
                flow.holder.as_ref(),
                attempt,
                flow.mechanism.name(),
            )
            .await;
        let is_ok = matches!(login, Login::Ok(_));
        flow.result = Some(login);
        match verified {
            Verified::Signed(signature) if is_ok => Verdict::Signed(signature),
            _ if is_ok => Verdict::Accepted,
            _ => Verdict::Refused,
        }
    }

    /// Whose key the client has shown. Nobody's if it is not registered, its address is no longer the account's, or that can't be found
    /// out now: it may log in otherwise.
    pub async fn key_holder(&self, connection: &Connection) -> Option<KeyHolder> {
        self.holder_of(connection.client_key()?.fingerprint).await
    }

    async fn holder_of(&self, fingerprint: Fingerprint) -> Option<KeyHolder> {
        let shard = shard_of(&fingerprint, self.shard_count);
        let call = Call::ClientKey { fingerprint };
        let answer = self.call(self.owner_of_shard(shard.0), call).await;
        let Ok(Answer::ClientKey(Ok(Some(row)))) = answer else {
            return None;
        };
        let live = self.live();
        let account: AccountName = row.account.parse().ok()?;
        if live.directory.login(&row.address) != Some(account) {
            return None;
        }
        let configured = live.settings.accounts.get(&account)?;
        let disabled = configured.login_disabled.as_ref();
        Some(KeyHolder {
            account,
            address: row.address,
            fingerprint,
            no_imap_preauth: row.no_imap_preauth,
            disabled: disabled.map(|text| text.as_str().to_string()),
        })
    }

    /// Who is in by the key alone, without AUTH: nobody whose account may not log in, who is told when he tries.
    pub fn enter_by_key(
        self: &Rc<Self>,
        holder: &KeyHolder,
        attempt: Attempt<'_>,
    ) -> Option<AccountName> {
        let login = self.by_key(Some(holder), None);
        let Login::Ok(account) = login else {
            return None;
        };
        self.over_by_key(Some(holder), attempt, &login, "tls-client-key");
        Some(account)
    }

    fn by_key(&self, holder: Option<&KeyHolder>, authzid: Option<&str>) -> Login {
        let Some(holder) = holder else {
            return Login::Failed;
        };
        // RFC 4422 A: an identity to act as, here another address of the same account.
        let other = authzid.is_some_and(|a| self.live().directory.login(a) != Some(holder.account));
        match &holder.disabled {
            _ if other => Login::NotAuthorized,
            Some(text) => Login::Disabled(text.clone()),
            None => Login::Ok(holder.account),
        }
    }

    fn over_by_key(
        self: &Rc<Self>,
        holder: Option<&KeyHolder>,
        attempt: Attempt<'_>,
        login: &Login,
        mechanism: &'static str,
    ) {
        let who = Who {
            login: holder.map_or("", |h| &h.address),
            account: holder.map(|h| h.account),
            holder,
        };
        self.over(attempt, mechanism, who, login.word());
        if let (Some(holder), Login::Ok(_)) = (holder, login) {
            let fingerprint = holder.fingerprint;
            let owner = self.owner_of_shard(shard_of(&fingerprint, self.shard_count).0);
            self.tell(owner, Call::ClientKeyUsed { fingerprint });
        }
    }

    async fn ask_salt(&self, name: String, hash: ScramHash) -> Verdict {
        let live = self.live();
        let account = live.directory.login(&name);
        let name = live.directory.login_name(&name);
        let owner = self.owner_of(account.as_ref().map_or(&name, |a| a.as_str()));
        let call = Call::Salt {
            account,
            name,
            hash,
        };
        match self.call(owner, call).await {
            Ok(Answer::Salt(Ok(row))) => Verdict::Salt {
                salt: row.salt,
                iterations: row.iterations,
            },
            _ => Verdict::Refused,
        }
    }

    /// Checks a name (a login address) and password: IMAP's LOGIN, HTTP's Basic.
    pub async fn login(
        self: &Rc<Self>,
        name: &str,
        password: Secret,
        mechanism: &'static str,
        holder: Option<&KeyHolder>,
        attempt: Attempt<'_>,
    ) -> Login {
        let name = sasl::prepare_name(name).unwrap_or_else(|_| name.to_string());
        let password = prepared(password);
        let claim = Claim::Password(password);
        let (login, _) = self.check(name, claim, holder, attempt, mechanism).await;
        self.keep_pace(login.is_refusal()).await;
        login
    }

    async fn check(
        self: &Rc<Self>,
        name: String,
        claim: Claim,
        holder: Option<&KeyHolder>,
        attempt: Attempt<'_>,
        mechanism: &'static str,
    ) -> (Login, Verified) {
        let is_password = matches!(claim, Claim::Password(_));
        let networks = attempt.networks;
        // Asked at each attempt: connections that are open already must not go on guessing.
        let turn = rt::timeout(self.call_limit(), self.logins.take(self.logins_max)).await;
        let may = match turn {
            Ok(_) => self.may_log_in(networks).await,
            Err(rt::Elapsed) => May::Wait,
        };
        let (login, verified) = match may {
            May::Try => self.ask_owner(&name, claim, attempt).await,
            May::Wait => (Login::Unavailable, Verified::No),
            May::Refused => (Login::Limited, Verified::No),
        };
        drop(turn);
        let succeeded = match (&login, may) {
            (Login::Ok(_), May::Try) => Some(true),
            // Also without keys for the mechanism: names that nobody has must not be told from others.
            (Login::Failed, May::Try) => Some(false),
            _ => None,
        };
        let login = of_holder(login, holder);
        // By the account's limit: the client is told that it can't be checked now, for he may be the owner.
        let is_limited = verified == Verified::Later || login == Login::Limited;
        let word = if is_limited { "limited" } else { login.word() };
        let is_failure = matches!(login, Login::Failed | Login::OtherKey | Login::Disabled(_));
        if is_limited || is_failure {
            // docs/OPERATING.md shows this line for fail2ban: its words and fields stay. The password is not in it; the name is what the
            // client wrote, quoted by the log.
            tracing::info!(
                peer = %attempt.socket.peer().ip(),
                protocol = attempt.service.as_str(),
                mechanism,
                result = word,
                login = name.get(..name.floor_char_boundary(LOGGED_NAME_MAX)).unwrap_or_default(),
                connection = attempt.connection,
                "login failed"
            );
        }
        let who = self.known(&name, holder);
        let result = match login {
            Login::Failed if who.account.is_none() => "baduser",
            Login::Failed if verified == Verified::NoKeys => "nokeys",
            Login::Failed if is_password => "badpassword",
            ref other => other.word(),
        };
        self.count_login(attempt, mechanism, word);
        if !is_limited {
            self.note(attempt, mechanism, who, result);
        }
        if may == May::Try {
            self.tell(
                self.owner_of_network(&networks),
                Call::LoginResult {
                    networks,
                    succeeded,
                },
            );
        }
        (login, verified)
    }

    /// Whether the networks' failed logins leave room for a try. A limiter that does not answer lets it be made.
    async fn may_log_in(&self, networks: Networks) -> May {
        let owner = self.owner_of_network(&networks);
        match self.call(owner, Call::MayLogIn { networks }).await {
            Ok(Answer::MayLogIn(may)) => may,
            _ => May::Try,
        }
    }

    async fn ask_owner(
        self: &Rc<Self>,
        name: &str,
        claim: Claim,
        attempt: Attempt<'_>,
    ) -> (Login, Verified) {
        let live = self.live();
        let account = live.directory.login(name);
        let canonical = live.directory.login_name(name);
        let owner = self.owner_of(account.as_ref().map_or(&canonical, |a| a.as_str()));
        let call = Call::Verify(Box::new(Verify {
            account,
            name: canonical,
            claim,
            service: attempt.service,
            networks: attempt.networks,
        }));
        let verified = match self.call(owner, call).await {
            Ok(Answer::Verified(Ok(Verified::Later))) => {
                return (Login::Unavailable, Verified::Later);
            }
            Ok(Answer::Verified(Ok(verified))) => verified,
            _ => return (Login::Unavailable, Verified::No),
        };
        if verified == Verified::NoKeys {
            return (Login::Failed, verified);
        }
        let Some(account) = account.filter(|_| verified != Verified::No) else {
            return (Login::Failed, Verified::No);
        };
        let configured = live.settings.accounts.get(&account);
        let disabled = configured.and_then(|a| a.login_disabled.as_ref());
        let login = match disabled {
            Some(text) => Login::Disabled(text.as_str().to_string()),
            None => Login::Ok(account),
        };
        (login, verified)
    }
}

/// A connection with a registered certificate is for its account alone.
fn of_holder(login: Login, holder: Option<&KeyHolder>) -> Login {
    match login {
        Login::Ok(account) if holder.is_some_and(|h| h.account != account) => Login::OtherKey,
        login => login,
    }
}

/// RFC 8265 4.2. What can't be a password stays as it is: none that was ever set looks like it.
fn prepared(password: Secret) -> Secret {
    let prepared = password.as_str().map(sasl::prepare_password);
    match prepared {
        Some(Ok(prepared)) => prepared,
        _ => password,
    }
}

/// Octets of a name in the log. RFC 5321 4.5.3.1.3: a path has at most 256.
const LOGGED_NAME_MAX: usize = 256;
