//! The provider, as far as it was asked: its keys, or where it answers about tokens, and what it answered lately. What it says is bounded,
//! and believed as far as its certificate goes; a redirect is not followed.
//! Everything here blocks. It runs on the threads of `oauth.rs`, never on an executor.
//! OpenID Connect Discovery 4, RFC 8414, RFC 7517 (keys), RFC 7662 (introspection), RFC 6749 2.3.1 (who we are).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use sasl::Secret;
use serde_json::{Map, Value};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration as UreqDuration;
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};

use super::Refusal;
use super::claims::{Holder, holder};
use super::jwt::{Jwt, KeySet, NOT_ALLOWED, Signature};
use super::requests::{Failed, Kind, Outcome, counted};
use crate::settings::{Oauth, ProviderUrl, TokenCheck};

/// A provider and what is known of it.
pub(super) struct Provider {
    rules: Oauth,
    secret: Option<Secret>,
    agent: Agent,
    // Shared by the threads that check and the one that asks; no executor waits for them.
    known: Mutex<Known>,
    answers: Mutex<Answers>,
    /// Somebody has sent for the keys before they are too old. An atomic: cores and the thread that fetches tell each other.
    pub(super) refreshing: AtomicBool,
}

/// What a look at a token gave.
#[derive(Debug)]
pub(super) enum Look {
    /// The result, and whether the keys are to be fetched again meanwhile.
    Done(Result<Holder, Refusal>, Stale),
    /// The provider must be asked first. If that was done just now, this is the result.
    NeedsProvider(Refusal),
}

/// Whether what is known is older than it should be.
pub(super) type Stale = bool;

#[derive(Default)]
struct Known {
    what: Option<(Arc<Learned>, Instant)>,
    /// When an attempt to learn it ended last, and whether it failed.
    tried: Option<(Instant, bool)>,
}

/// What the provider said of itself.
enum Learned {
    Keys(KeySet),
    Introspection(String),
}

/// Answers about good tokens, by the token's digest.
#[derive(Default)]
struct Answers {
    good: HashMap<[u8; 32], (Holder, Instant)>,
    warned: Option<Instant>,
}

impl Answers {
    fn remembered(&self, key: &[u8; 32], now: i64) -> Option<Holder> {
        let (holder, forget) = self.good.get(key)?;
        let is_good = *forget > Instant::now() && holder.until.is_none_or(|until| now < until);
        is_good.then(|| holder.clone())
    }
}

impl Provider {
    pub(super) fn new(
        rules: &Oauth,
        secret: Option<Secret>,
        authorities: &[CertificateDer<'_>],
    ) -> Provider {
        let certificates: Vec<_> = authorities
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&certificates))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(rules.timeout_secs.duration()))
            .max_response_header_size(HEADER_MAX)
            .max_idle_connections(rules.threads as usize)
            // Below what servers keep a connection, so that they do not close it while we write.
            .max_idle_age(IDLE_MAX)
            .user_agent("ringmail")
            .build();
        Provider {
            rules: rules.clone(),
            secret,
            agent: Agent::with_parts(config, DefaultConnector::default(), HereResolver),
            known: Mutex::default(),
            answers: Mutex::default(),
            refreshing: AtomicBool::new(false),
        }
    }

    /// Looks at a token with what is known; the login by it began at `begun`.
    pub(super) fn look(&self, token: &Secret, now: i64, begun: Instant) -> Look {
        let refused = |why| Look::Done(Err(Refusal::Invalid(why)), false);
        let Some(text) = token.as_str() else {
            return refused("not text");
        };
        match self.rules.check {
            TokenCheck::Jwks => self.look_at_jwt(text, now, begun),
            TokenCheck::Introspection => self.introspect(text, now),
        }
    }

    fn look_at_jwt(&self, token: &str, now: i64, begun: Instant) -> Look {
        let jwt = match Jwt::parse(token) {
            Ok(jwt) if self.rules.algorithms.contains(&jwt.algorithm) => jwt,
            Ok(_) => return Look::Done(Err(NOT_ALLOWED), false),
            Err(refusal) => return Look::Done(Err(refusal), false),
        };
        // Said first, so that for a token that can't be good nobody is asked for keys.
        let holder = match holder(&jwt.claims, &self.rules, now) {
            Ok(holder) => holder,
            Err(refusal) => return Look::Done(Err(refusal), false),
        };
        let (known, stale) = self.known();
        let signature = match known.as_deref() {
            Some(Learned::Keys(keys)) => keys.verify(&jwt),
            _ => return Look::NeedsProvider(Refusal::Unavailable),
        };
        let wrong = Refusal::Invalid("its signature is wrong");
        match signature {
            Signature::Good => Look::Done(Ok(holder), stale),
            Signature::Wrong => Look::Done(Err(wrong), stale),
            // The provider may have changed its keys since it was asked.
            Signature::UnknownKey if !self.has_learned_since(begun) => {
                Look::NeedsProvider(Refusal::Unavailable)
            }
            Signature::UnknownKey => Look::NeedsProvider(Refusal::Invalid(
                "signed by a key that the provider has not",
            )),
        }
    }

    /// What is known, unless that is too long ago.
    fn known(&self) -> (Option<Arc<Learned>>, Stale) {
        let known = lock(&self.known);
        let Some((what, since)) = &known.what else {
            return (None, false);
        };
        let age = since.elapsed();
        if age > self.rules.keys_keep_secs.duration() {
            return (None, false);
        }
        let stale = age > self.rules.keys_refresh_secs.duration();
        (Some(what.clone()), stale)
    }

    /// Whether it has told of itself, asked after this moment.
    fn has_learned_since(&self, moment: Instant) -> bool {
        let known = lock(&self.known);
        let what = known.what.as_ref();
        what.is_some_and(|(_, asked)| *asked >= moment)
    }

    /// Asks the provider for its keys, or where it is asked about tokens; not if that was tried a moment ago. One thread does this, so
    /// who waits for it finds that it was just done.
    pub(super) fn learn(&self) {
        let pause = self.rules.refetch_secs.duration();
        let tried = lock(&self.known).tried;
        if tried.is_some_and(|(at, _)| at.elapsed() < pause) {
            return;
        }
        let asked = Instant::now();
        let learned = self.ask();
        let now = Instant::now();
        let mut known = lock(&self.known);
        let before = known.tried.replace((now, learned.is_err()));
        match learned {
            Ok(learned) => {
                if before.is_some_and(|(_, failed)| failed) {
                    tracing::info!("the provider of tokens tells of itself again");
                }
                if let Learned::Keys(keys) = &learned {
                    tracing::debug!(keys = keys.count(), "the keys for tokens were fetched");
                }
                known.what = Some((Arc::new(learned), asked));
            }
            Err(error) => {
                let error = error.text;
                tracing::warn!(
                    error,
                    kept = known.what.is_some(),
                    "the provider of tokens does not tell of itself"
                );
            }
        }
    }

    fn ask(&self) -> Result<Learned, Failed> {
        let (given, name) = match self.rules.check {
            TokenCheck::Jwks => (&self.rules.jwks_uri, "jwks_uri"),
            TokenCheck::Introspection => {
                (&self.rules.introspection_endpoint, "introspection_endpoint")
            }
        };
        let url = match given {
            Some(url) => url.as_str().to_owned(),
            None => counted(Kind::Configuration, self.discover(name))?,
        };
        if self.rules.check == TokenCheck::Introspection {
            return Ok(Learned::Introspection(url));
        }
        counted(Kind::Keys, self.keys(&url)).map(Learned::Keys)
    }

    fn keys(&self, url: &str) -> Result<KeySet, Failed> {
        let json = self.get(url)?;
        KeySet::parse(&json, self.rules.keys_max as usize).map_err(Failed::malformed)
    }

    /// OpenID Connect Discovery 4.3: the issuer in it must be the one that was asked for.
    fn discover(&self, name: &str) -> Result<String, Failed> {
        let wrong = Failed::malformed;
        let no_issuer = || wrong("no issuer".to_owned());
        let url = self.rules.configuration().ok_or_else(no_issuer)?;
        let found = object(&url, &self.get(&url)?)?;
        let text = |name: &str| found.get(name).and_then(Value::as_str);
        if text("issuer") != self.rules.issuer.as_ref().map(|i| i.as_str()) {
            let theirs = shown(text("issuer").unwrap_or_default());
            let text = format!("{url}: it is of the issuer {theirs:?}");
            return Err(wrong(text));
        }
        let found = text(name);
        let found = found.ok_or_else(|| wrong(format!("{url}: there is no {name} in it")))?;
        let Ok(there) = ProviderUrl::try_from(found.to_owned()) else {
            let found = shown(found);
            let text = format!("{url}: its {name} is no URL for us: {found:?}");
            return Err(wrong(text));
        };
        // Nobody out there says what is asked for on this machine.
        match url.starts_with("https://") && !there.as_str().starts_with("https://") {
            true => Err(wrong(format!("{url}: its {name} is not https"))),
            false => Ok(there.as_str().to_owned()),
        }
    }

    fn get(&self, url: &str) -> Result<Vec<u8>, Failed> {
        let answer = self
            .agent
            .get(url)
            .header("accept", "application/json")
            .call();
        let mut answer = answer.map_err(|e| failed(url, &e))?;
        match answer.status().as_u16() {
            200 => self.body(url, answer.body_mut()),
            status => {
                let text = format!("{url}: it answers {status}");
                Err(Failed::new(Outcome::Status, text))
            }
        }
    }

    fn body(&self, url: &str, body: &mut Body) -> Result<Vec<u8>, Failed> {
        let most = self.rules.response_max_bytes.get();
        let read = body.with_config().limit(most).read_to_vec();
        read.map_err(|e| failed(url, &e))
    }

    fn introspect(&self, token: &str, now: i64) -> Look {
        let key = token_digest(token.as_bytes());
        if let Some(holder) = self.remembered(&key, now) {
            return Look::Done(Ok(holder), false);
        }
        let (known, stale) = match &self.rules.introspection_endpoint {
            Some(url) => (Some(url.as_str().to_owned()), false),
            None => match self.known() {
                (Some(known), stale) => match &*known {
                    Learned::Introspection(url) => (Some(url.clone()), stale),
                    Learned::Keys(_) => (None, false),
                },
                (None, _) => (None, false),
            },
        };
        let Some(url) = known else {
            return Look::NeedsProvider(Refusal::Unavailable);
        };
        let claims = match counted(Kind::Introspection, self.ask_about(&url, token)) {
            Ok(claims) => claims,
            Err(Failed { text: error, .. }) => {
                let mut answers = lock(&self.answers);
                let lately = |at: Instant| at.elapsed() < self.rules.refetch_secs.duration();
                if !answers.warned.is_some_and(lately) {
                    answers.warned = Some(Instant::now());
                    tracing::warn!(error, "the provider does not answer about tokens");
                }
                return Look::Done(Err(Refusal::Unavailable), stale);
            }
        };
        // RFC 7662 2.2: everything else is optional.
        let result = match claims.get("active") {
            Some(Value::Bool(true)) => holder(&claims, &self.rules, now),
            _ => Err(Refusal::Invalid("not active")),
        };
        if let Ok(holder) = &result {
            self.remember(key, holder);
        }
        Look::Done(result, stale)
    }

    /// RFC 7662 2.1.
    fn ask_about(&self, url: &str, token: &str) -> Result<Map<String, Value>, Failed> {
        let id = encoded(self.rules.client_id.as_deref().unwrap_or_default());
        let secret = self.secret.as_ref().and_then(Secret::as_str);
        let secret = encoded(secret.unwrap_or_default());
        let basic = STANDARD.encode(format!("{id}:{secret}"));
        let form = format!("token={}&token_type_hint=access_token", encoded(token));
        let form = Secret::new(form.into_bytes());
        let answer = self
            .agent
            .post(url)
            .header("accept", "application/json")
            .header("authorization", format!("Basic {basic}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .send(&form[..]);
        let mut answer = answer.map_err(|e| failed(url, &e))?;
        let status = answer.status().as_u16();
        if status != 200 {
            let hint = match status {
                401 | 403 => "; client_id or the secret is not what it expects",
                _ => "",
            };
            let text = format!("{url}: it answers {status}{hint}");
            return Err(Failed::new(Outcome::Status, text));
        }
        object(url, &self.body(url, answer.body_mut())?)
    }

    fn remembered(&self, key: &[u8; 32], now: i64) -> Option<Holder> {
        lock(&self.answers).remembered(key, now)
    }

    /// The same for an executor; none if a thread is at it just now.
    pub(super) fn try_remembered(&self, key: &[u8; 32], now: i64) -> Option<Option<Holder>> {
        match self.answers.try_lock() {
            Ok(answers) => Some(answers.remembered(key, now)),
            Err(TryLockError::Poisoned(answers)) => Some(answers.get_ref().remembered(key, now)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn remember(&self, key: [u8; 32], holder: &Holder) {
        let keep = self.rules.introspection_cache_secs.duration();
        if keep.is_zero() {
            return;
        }
        let now = Instant::now();
        let good = &mut lock(&self.answers).good;
        if good.len() >= self.rules.introspection_cache_entries_max as usize {
            good.retain(|_, (_, forget)| *forget > now);
            if good.len() >= self.rules.introspection_cache_entries_max as usize {
                good.clear();
            }
        }
        good.insert(key, (holder.clone(), now + keep));
    }
}

/// Addresses as the system finds them, on the thread that asks: ureq's own starts one for each question, and leaves it behind when
/// the time is up. http reaches this machine alone, whatever its names lead to.
#[derive(Debug)]
struct HereResolver;

impl Resolver for HereResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let without_end = NextTimeout {
            after: UreqDuration::NotHappening,
            ..timeout
        };
        let found = DefaultResolver::default().resolve(uri, config, without_end)?;
        let is_here = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        match uri.scheme_str() != Some("https") && !found.iter().all(is_here) {
            true => Err(ureq::Error::HostNotFound),
            false => Ok(found),
        }
    }
}

/// A token's name in what is remembered.
pub(super) fn token_digest(token: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, token).as_ref());
    key
}

fn object(url: &str, json: &[u8]) -> Result<Map<String, Value>, Failed> {
    serde_json::from_slice(json).map_err(|_| Failed::malformed(format!("{url}: not a JSON object")))
}

/// Why it could not be asked.
fn failed(url: &str, error: &ureq::Error) -> Failed {
    let outcome = match error {
        ureq::Error::Timeout(_) => Outcome::Timeout,
        ureq::Error::BodyExceedsLimit(_)
        | ureq::Error::LargeResponseHeader(..)
        | ureq::Error::Protocol(_)
        | ureq::Error::Http(_) => Outcome::Malformed,
        _ => Outcome::Unreachable,
    };
    let error = error.to_string();
    let hint = match error.contains("CaUsedAsEndEntity") {
        true => {
            "; ca_file has the server's own certificate, which says that it is an authority: make one that does not (openssl req -x509 -addext basicConstraints=critical,CA:FALSE), or name the authority that signed it"
        }
        false => "",
    };
    Failed::new(outcome, format!("{url}: {error}{hint}"))
}

/// What the provider wrote, for the log.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_MAX)]
}

/// application/x-www-form-urlencoded. RFC 6749 B.
fn encoded(text: &str) -> String {
    let mut form = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'-' | b'.' | b'_' => form.push(char::from(octet)),
            _ if octet.is_ascii_alphanumeric() => form.push(char::from(octet)),
            _ => form.push_str(&format!("%{octet:02X}")),
        }
    }
    form
}

/// Nothing in there is half changed when a thread panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Octets of the provider's words in the log.
const SHOWN_MAX: usize = 200;
/// Octets of the head of an answer.
const HEADER_MAX: usize = 32 << 10;
/// How long a connection to the provider is kept for the next question.
const IDLE_MAX: Duration = Duration::from_secs(3);
