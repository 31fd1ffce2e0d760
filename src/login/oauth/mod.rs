//! Tokens of a provider (OAuth 2, OpenID Connect) as logins: is one good, and for which address?
//!
//! Called by the flow of a login, on any core. Tokens are untrusted; so is what the provider says, up to its bounds. Nothing here blocks a
//! core: signatures and questions about tokens have threads of their own, and one more asks the provider for its keys, so that tokens
//! whose keys are known do not wait for it. RFC 6750, 7519, 7662, 9068.
//!
//! `jwt` takes a token apart and verifies its signature, `claims` says whether what is in it is enough, `provider` knows the provider, `requests`
//! counts what it is asked.
//! Not here: the mechanisms' grammar (`protocols/sasl`), which account has the address, what a failure costs (`percore/login`).

mod claims;
mod jwt;
mod provider;
mod requests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use sasl::{Secret, TokenError};
use shards::pool::Pool;
use shards::rt;

pub use claims::Holder;
use provider::{Look, Provider, token_digest};
pub use requests::counts;

use crate::settings::machine::{read_authorities, read_client_secret};
use crate::settings::{Oauth, TokenCheck};

/// Why a token logs nobody in. The words are for the operator, and nothing of the token is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not good.
    Invalid(&'static str),
    /// It is good, but not for this.
    Scope,
    /// That can't be found out now.
    Unavailable,
}

/// The provider of the settings and the threads that work with it. What it knows lasts until the settings change.
pub struct Tokens {
    settings: Oauth,
    secret: Option<Secret>,
    authorities: Vec<CertificateDer<'static>>,
    // Shared by all cores and the threads of the pools.
    provider: Arc<Provider>,
    checks: Pool,
    asks: Pool,
}

impl Tokens {
    /// Reads the files that the settings name (blocking) and starts the threads; `before` goes on if nothing changed.
    pub fn new(settings: &Oauth, before: Option<&Arc<Tokens>>) -> Result<Arc<Tokens>, String> {
        let secret = settings.client_secret_file.as_deref();
        let secret = secret.map(read_client_secret).transpose()?;
        let authorities = read_authorities(settings.ca_file.as_deref())?;
        let is_same = |before: &&Arc<Tokens>| {
            before.settings == *settings
                && before.secret == secret
                && before.authorities == authorities
        };
        if let Some(before) = before.filter(is_same) {
            return Ok(before.clone());
        }
        let waiting = settings.checks_waiting_max as usize;
        let start = |name, threads| {
            Pool::start(name, threads, waiting).map_err(|e| format!("threads for tokens: {e}"))
        };
        Ok(Arc::new(Tokens {
            provider: Arc::new(Provider::new(settings, secret.clone(), &authorities)),
            settings: settings.clone(),
            secret,
            authorities,
            checks: start("token", settings.threads as usize)?,
            asks: start("token-keys", 1)?,
        }))
    }

    /// Whom a token logs in, by the clock's `now` (seconds since 1970).
    pub async fn check(self: &Arc<Self>, token: &Secret, now: i64) -> Result<Holder, Refusal> {
        if let Some(holder) = self.remembered(token, now).await {
            return Ok(holder);
        }
        let begun = Instant::now();
        let mut look = self.look(token.clone(), now, begun).await?;
        if let Look::NeedsProvider(_) = look {
            let provider = self.provider.clone();
            let asked = self.asks.run(move || provider.learn()).await;
            asked.map_err(|_| Refusal::Unavailable)?;
            look = self.look(token.clone(), now, begun).await?;
        }
        match look {
            Look::Done(result, stale) => {
                if stale {
                    self.refresh();
                }
                result
            }
            Look::NeedsProvider(refusal) => Err(refusal),
        }
    }

    /// Whom a token logs in that the provider has called good before: he does not wait behind the tokens of others.
    async fn remembered(&self, token: &Secret, now: i64) -> Option<Holder> {
        if self.settings.check != TokenCheck::Introspection {
            return None;
        }
        let key = token_digest(token);
        for _ in 0..MEMORY_TRIES {
            match self.provider.try_remembered(&key, now) {
                Some(found) => return found,
                // A thread has it for a moment, and no core waits for a thread.
                None => rt::sleep(MEMORY_PAUSE).await,
            }
        }
        None
    }

    async fn look(&self, token: Secret, now: i64, begun: Instant) -> Result<Look, Refusal> {
        let provider = self.provider.clone();
        let job = move || provider.look(&token, now, begun);
        let look = self.checks.run(job).await;
        look.map_err(|_| Refusal::Unavailable)
    }

    /// Sends for what is known before it is too old; nobody waits for it.
    fn refresh(self: &Arc<Self>) {
        if self.provider.refreshing.swap(true, Ordering::Relaxed) {
            return;
        }
        let tokens = self.clone();
        shards::rt::spawn(&ROOM, async move {
            let provider = tokens.provider.clone();
            let _ = tokens.asks.run(move || provider.learn()).await;
            tokens.provider.refreshing.store(false, Ordering::Relaxed);
        });
    }

    /// What a client is told. RFC 7628 3.2.2.
    pub fn error(&self, status: &'static str) -> TokenError {
        TokenError {
            status,
            scope: self.settings.scope(),
            openid_configuration: self.settings.configuration(),
        }
    }
}

const MEMORY_TRIES: u32 = 100;
const MEMORY_PAUSE: Duration = Duration::from_millis(1);

/// Panics of tasks that send for keys.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("login");
