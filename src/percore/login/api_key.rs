//! Logins by a key of the API. One that was found right is remembered, as a password is, until it is removed; a wrong one counts like a wrong
//! password.

use std::rc::Rc;
use std::time::Duration;

use shards::{CoreId, rt, shard_of};

use super::super::attempts::Who;
use super::{Attempt, Login, PerCore};
use crate::calls::{Answer, Call};
use crate::login::api_key::{self, ApiKey, KeyId, SecretDigest};
use crate::login::limiter::May;
use crate::percore::{monotonic, wall_clock};
use crate::store::ApiKeyRow;

impl PerCore {
    /// A key that is remembered, and still holds.
    pub fn known_api_key(self: &Rc<Self>, text: &str) -> Option<Rc<ApiKey>> {
        let (id, digest) = api_key::parse(text)?;
        let (_, kept) = self.api_key_patience();
        let found = self.api_keys.borrow().find(&id, monotonic(), kept);
        let (key, since) = found?;
        let holds = key.is_right(&digest)
            && !key.is_over(wall_clock())
            && self.live().settings.accounts.contains_key(&key.account)
            && self.session_end(key.account, since).is_none();
        holds.then(|| {
            self.api_key_is_used(&id);
            key
        })
    }

    /// Looks a key up.
    pub async fn login_by_api_key(
        self: &Rc<Self>,
        text: &str,
        attempt: Attempt<'_>,
    ) -> Result<Rc<ApiKey>, Login> {
        let networks = attempt.networks;
        let turn = rt::timeout(self.call_limit(), self.logins.take(self.logins_max)).await;
        // Asked at each attempt, as for a password.
        let may = match turn {
            Ok(_) => self.may_log_in(networks).await,
            Err(rt::Elapsed) => May::Wait,
        };
        let parsed = api_key::parse(text);
        let seen = match (may, parsed) {
            (May::Wait, _) => Err(Login::Unavailable),
            (May::Refused, _) => Err(Login::Limited),
            (May::Try, None) => Err(Login::Failed),
            (May::Try, Some((id, digest))) => self.look_up_api_key(id, digest).await,
        };
        drop(turn);
        let login = match &seen {
            Ok(key) => Login::Ok(key.account),
            Err(login) => login.clone(),
        };
        let named = parsed.map_or_else(String::new, |(id, _)| {
            format!("rmk_{}", api_key::written(&id))
        });
        self.api_key_seen(&named, attempt, may, &login);
        self.keep_pace(login.is_refusal()).await;
        if let Ok(key) = &seen {
            self.api_key_is_used(&key.id);
        }
        seen
    }

    async fn look_up_api_key(
        self: &Rc<Self>,
        id: KeyId,
        digest: SecretDigest,
    ) -> Result<Rc<ApiKey>, Login> {
        let asked = monotonic();
        let changes = self.api_keys.borrow().changes();
        let owner = self.owner_of_shard(shard_of(&id, self.shard_count).0);
        let row = match self.call(owner, Call::ApiKey { id }).await {
            Ok(Answer::ApiKey(Ok(row))) => row.ok_or(Login::Failed)?,
            _ => return Err(Login::Unavailable),
        };
        let noted = row.last_used.unwrap_or(0);
        let key = Rc::new(key_of(id, *row).ok_or(Login::Failed)?);
        if !key.is_right(&digest) || key.is_over(wall_clock()) {
            return Err(Login::Failed);
        }
        let live = self.live();
        let configured = live.settings.accounts.get(&key.account);
        let configured = configured.ok_or(Login::Failed)?;
        if let Some(text) = &configured.login_disabled {
            return Err(Login::Disabled(text.as_str().to_string()));
        }
        let patience = self.api_key_patience();
        let keys = &mut *self.api_keys.borrow_mut();
        keys.add(key.clone(), (asked, noted), patience, changes);
        Ok(key)
    }

    fn api_key_seen(self: &Rc<Self>, named: &str, attempt: Attempt<'_>, may: May, login: &Login) {
        if !matches!(login, Login::Ok(_) | Login::Unavailable) {
            // The line of `check`. The secret is not in it.
            tracing::info!(
                target: LOG_TARGET,
                peer = %attempt.socket.peer().ip(),
                protocol = attempt.service.as_str(),
                mechanism = MECHANISM,
                result = login.word(),
                login = named,
                connection = attempt.connection,
                "login failed"
            );
        }
        self.count_login(attempt, MECHANISM, login.word());
        if *login != Login::Limited {
            let account = match login {
                Login::Ok(account) => Some(*account),
                _ => None,
            };
            let who = Who {
                login: named,
                account,
                holder: None,
            };
            self.note(attempt, MECHANISM, who, login.word());
        }
        if may != May::Try {
            return;
        }
        let succeeded = match login {
            Login::Ok(_) => Some(true),
            Login::Failed => Some(false),
            _ => None,
        };
        let networks = attempt.networks;
        let call = Call::LoginResult {
            networks,
            succeeded,
        };
        self.tell(self.owner_of_network(&networks), call);
    }

    fn api_key_is_used(self: &Rc<Self>, id: &KeyId) {
        let is_to_be_noted = self.api_keys.borrow_mut().is_to_be_noted(id, wall_clock());
        if is_to_be_noted {
            let owner = self.owner_of_shard(shard_of(id, self.shard_count).0);
            self.tell(owner, Call::ApiKeyUsed { id: *id });
        }
    }

    fn api_key_patience(&self) -> (usize, Duration) {
        let live = self.live.borrow();
        let auth = &live.settings.server.limits.auth;
        (auth.cache_entries_max as usize, auth.cache_secs.duration())
    }

    /// Has all cores forget what they know of a key; answers how many gave no answer: they may know it until they look it up again.
    pub(crate) async fn forget_api_key(&self, id: KeyId) -> u16 {
        let mut silent = 0;
        for core in 0..=self.shard_cores {
            let answer = self.call(CoreId(core), Call::ApiKeyChanged { id }).await;
            silent += u16::from(answer.is_err());
        }
        silent
    }
}

/// None: its account has no name that could be one.
fn key_of(id: KeyId, row: ApiKeyRow) -> Option<ApiKey> {
    Some(ApiKey {
        id,
        account: row.account.parse().ok()?,
        scopes: row.scopes,
        from: row.from,
        per_minute: row.per_minute,
        expires: row.expires,
        digest: row.digest,
    })
}

const MECHANISM: &str = "apikey";
/// The module that tools know these lines by.
const LOG_TARGET: &str = "ringmail::percore::login";
