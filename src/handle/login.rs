//! What the owner of an account or a network is asked about logins: secrets, salts, whether a claim holds, how many may still fail.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use sasl::{Mechanism, ScramHash, Secret};
use shards::rt::{self, Event};
use shards::shard_of;
use shards::storage::Shard;

use super::ROOM;
use crate::calls::{Claim, ControlAnswer, Verified, Verify};
use crate::login::limiter::{May, Networks};
use crate::login::{
    AccountLimiter, Check, LoginRecord, Password, Patience, SaltRow, Scheme, Secrets,
};
use crate::percore::{PerCore, monotonic};
use crate::settings::AccountName;
use crate::store::{self, Fingerprint, StoreError};

impl PerCore {
    /// Takes out of the stored secrets, in the background, what is kept for mechanisms that are off.
    pub(super) fn drop_unused_secrets(self: &Rc<Self>) {
        let core = self.clone();
        shards::rt::spawn(&ROOM, async move {
            let live = core.live();
            let scheme = core.scheme();
            for shard in &core.shards {
                let in_force = || Arc::ptr_eq(&live, &core.live.borrow());
                match store::drop_unused_secrets(shard, &scheme, in_force).await {
                    Ok(0) => (),
                    Ok(accounts) => {
                        tracing::info!(shard = %shard.id(), accounts, "what was stored for mechanisms that are off is gone");
                    }
                    Err(error) => {
                        tracing::warn!(shard = %shard.id(), %error, "what is stored for mechanisms that are off stays until the next start");
                    }
                }
            }
        });
    }

    /// How secrets are made now.
    pub(super) fn scheme(&self) -> Scheme {
        let live = self.live.borrow();
        Scheme::new(&live.settings.server.limits.auth, self.unknown.iterations)
    }

    pub(super) fn shard_of_key(&self, fingerprint: &Fingerprint) -> Result<&Rc<Shard>, StoreError> {
        self.own_shard(shard_of(fingerprint, self.shard_count).0)
    }

    /// What is stored of a name's secrets; for a name that nobody has, none after the same steps.
    pub(super) async fn secrets(&self, name: &str) -> Result<Option<Secrets>, StoreError> {
        let shard = shard_of(name.as_bytes(), self.shard_count);
        store::secrets(self.own_shard(shard.0)?, name).await
    }

    pub(super) async fn salt(
        &self,
        account: Option<AccountName>,
        name: &str,
        hash: ScramHash,
    ) -> Result<SaltRow, StoreError> {
        let stored = self
            .secrets(account.as_ref().map_or(name, |a| a.as_str()))
            .await?;
        let made_up = self.unknown.salt(name, hash);
        // Without an account the row could only be one that is being removed.
        let stored = stored.filter(|_| account.is_some());
        let own = stored.as_ref().and_then(|s| s.salt(hash)).cloned();
        Ok(own.unwrap_or(made_up))
    }

    pub(super) async fn verify(self: &Rc<Self>, verify: Verify) -> Result<Verified, StoreError> {
        let name = match &verify.account {
            Some(account) => account.as_str().to_string(),
            None => AccountLimiter::name_of_nobody(&verify.name),
        };
        let networks = verify.networks;
        let now = self.wall_clock().max(0) as u64;
        let most = {
            let live = self.live.borrow();
            live.settings
                .server
                .limits
                .auth
                .account_failures_per_hour_max
        };
        {
            let accounts = &mut self.limiters.borrow_mut().accounts;
            if !accounts.may_try(&name, &networks, now, most) {
                return Ok(Verified::Later);
            }
            // Until it is known: many at once are no more guesses than one after the other.
            accounts.failed(&name, now);
        }
        let verified = self.look_at(verify).await;
        let accounts = &mut self.limiters.borrow_mut().accounts;
        match verified {
            Ok(Verified::No) => (),
            Ok(Verified::NoKeys) => accounts.forgive(&name),
            Ok(_) => accounts.succeeded(&name, &networks, now),
            Err(_) => accounts.forgive(&name),
        }
        verified
    }

    async fn look_at(self: &Rc<Self>, verify: Verify) -> Result<Verified, StoreError> {
        let Verify {
            account,
            name,
            claim,
            service,
            networks,
        } = verify;
        let of = account.as_ref().map_or(&*name, |a| a.as_str());
        let stored = self.secrets(of).await?.filter(|_| account.is_some());
        let hash = match &claim {
            Claim::Password(_) => None,
            Claim::Proof(proof) => Some(Some(proof.hash)),
            Claim::Digest(_) => Some(None),
        };
        // As long as for anybody: what is checked then is what nobody has.
        let lacks = |secrets: &Secrets| hash.is_some_and(|h| secrets.lacks_keys(h, service));
        let has_none = stored.as_ref().is_some_and(lacks);
        let checked = stored.as_ref().filter(|_| !has_none);
        let secrets = checked.unwrap_or(&self.nobody);
        let password = match claim {
            Claim::Proof(proof) => {
                return Ok(match secrets.check_proof(&proof, service) {
                    Some(signature) if checked.is_some() => Verified::Signed(signature),
                    _ if has_none => self.without_keys(account, hash.flatten()),
                    _ => Verified::No,
                });
            }
            Claim::Digest(digest) => {
                return Ok(match secrets.check_digest(&digest, service) {
                    true if checked.is_some() => Verified::Yes,
                    _ if has_none => self.without_keys(account, hash.flatten()),
                    _ => Verified::No,
                });
            }
            Claim::Password(password) => password,
        };
        if stored
            .as_ref()
            .is_some_and(|s| s.is_app_password(&password, service))
        {
            return Ok(Verified::Yes);
        }
        let main = stored.as_ref().and_then(|s| s.password.as_ref());
        let busy = |_| StoreError::Storage(shards::storage::StorageError::Busy);
        let check = Check {
            address: &name,
            account: account.as_ref().map_or("", |a| a.as_str()),
            stored: main.map(|p| p.argon2id.as_str()),
            password: &password,
            networks,
        };
        let waiting_max = self.live().settings.server.limits.auth.checks_waiting_max;
        let patience = Patience {
            waiting_max: waiting_max as usize,
            // Nothing is hashed for who has been answered already.
            limit: self.call_limit() / 8 * 7,
        };
        let right = self.verifier.verify(check, monotonic(), patience).await;
        if !right.map_err(busy)? {
            return Ok(Verified::No);
        }
        if let (Some(account), Some(stored)) = (account, stored) {
            self.hash_anew(account, stored, password, networks);
        }
        Ok(Verified::Yes)
    }

    /// Stores the password, just found right, as the settings want it now. In the background: nobody waits for it, and whoever comes in
    /// between with another change wins.
    fn hash_anew(
        self: &Rc<Self>,
        account: AccountName,
        stored: Secrets,
        password: Secret,
        networks: Networks,
    ) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            let Some(old) = &stored.password else { return };
            let anew = core
                .verifier
                .hash_anew(&old.argon2id, &password, &networks)
                .await;
            let Some(argon2id) = anew else { return };
            let mut to = stored.clone();
            to.password = to.password.map(|old| Password { argon2id, ..old });
            let change = async {
                let of = core.account(account).await?;
                of.change_secrets(Some(&stored), &to, || core.scheme())
                    .await
            };
            if let Err(error) = change.await {
                tracing::warn!(account = account.as_str(), %error, "a password's hash stays at its old cost for now");
            }
        });
    }

    /// The operator is told once of each account and mechanism.
    fn without_keys(&self, account: Option<AccountName>, hash: Option<ScramHash>) -> Verified {
        let mechanism = match hash {
            Some(ScramHash::Sha256) => Mechanism::ScramSha256,
            Some(ScramHash::Sha1) => Mechanism::ScramSha1,
            None => Mechanism::CramMd5,
        };
        let told = &mut self.limiters.borrow_mut().told_without_keys;
        if let Some(account) = account
            && told.insert((account, mechanism.name()))
        {
            tracing::warn!(
                account = account.as_str(),
                mechanism = mechanism.name(),
                "nothing is stored for this mechanism, which was off when the password was set: logins by it fail until the password is set again (ringmail account password)"
            );
        }
        Verified::NoKeys
    }

    /// Whether a login may be tried now; it is under way then.
    pub(super) fn begin_login(&self, networks: &Networks) -> May {
        let live = self.live();
        let auth = &live.settings.server.limits.auth;
        self.limiters.borrow_mut().failures.begin(
            networks,
            self.wall_clock().max(0) as u64,
            &auth.failures_per_minute_max,
            &auth.failures_per_day_max,
        )
    }

    /// Waits until enough of its networks' logins have ended. As many may wait as for a check.
    pub(super) async fn login_turn(&self, networks: Networks) -> May {
        let most = self.live().settings.server.limits.auth.checks_waiting_max;
        let receiver = {
            let waiting = &mut self.limiters.borrow_mut().waiting_logins;
            if waiting.values().map(VecDeque::len).sum::<usize>() >= most as usize {
                return May::Wait;
            }
            let (sender, receiver) = oneshot::channel();
            waiting.entry(networks).or_default().push_back(sender);
            receiver
        };
        if let Ok(Ok(may)) = rt::timeout(self.call_limit() / 8 * 7, receiver).await {
            return may;
        }
        let waiting = &mut self.limiters.borrow_mut().waiting_logins;
        if let Some(line) = waiting.get_mut(&networks) {
            line.retain(|sender| !sender.is_canceled());
            if line.is_empty() {
                waiting.remove(&networks);
            }
        }
        May::Wait
    }

    /// Counts a login that is over, and lets those begin that waited for it.
    pub(super) fn login_ended(&self, networks: &Networks, succeeded: Option<bool>) {
        let live = self.live();
        let auth = &live.settings.server.limits.auth;
        let now = self.wall_clock().max(0) as u64;
        let limiters = &mut *self.limiters.borrow_mut();
        let failures = &mut limiters.failures;
        failures.ended(networks);
        match succeeded {
            Some(true) => failures.succeeded(networks),
            Some(false) => failures.failed(networks, now),
            None => (),
        }
        let (minute, day) = (&auth.failures_per_minute_max, &auth.failures_per_day_max);
        limiters.waiting_logins.retain(|networks, line| {
            while let Some(next) = line.pop_front() {
                if next.is_canceled() {
                    continue;
                }
                match failures.begin(networks, now, minute, day) {
                    May::Wait => {
                        line.push_front(next);
                        break;
                    }
                    may => {
                        if next.send(may).is_err() && may == May::Try {
                            failures.ended(networks);
                        }
                    }
                }
            }
            !line.is_empty()
        });
    }

    /// Whether few enough logins of these networks have failed.
    pub(super) fn has_login_room(&self, networks: &Networks) -> bool {
        let live = self.live();
        let auth = &live.settings.server.limits.auth;
        let now = self.wall_clock().max(0) as u64;
        self.limiters.borrow_mut().failures.has_room(
            networks,
            now,
            &auth.failures_per_minute_max,
            &auth.failures_per_day_max,
        )
    }

    pub(super) async fn record_logins(
        &self,
        shard: u16,
        records: Vec<LoginRecord>,
    ) -> Result<(), StoreError> {
        let most = self.live().settings.server.limits.auth.records_max;
        store::record_logins(self.own_shard(shard)?, records, most).await
    }

    /// Removes old records of logins, now and every day.
    pub(super) fn prune_logins(self: &Rc<Self>) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            loop {
                let days = core.live().settings.server.limits.auth.records_kept_days;
                let before = core.wall_clock() - i64::from(days) * DAY_SECS;
                for shard in &core.shards {
                    if let Err(error) = store::prune_logins(shard, before).await {
                        tracing::warn!(shard = %shard.id(), %error, "old records of logins stay until tomorrow");
                    }
                }
                rt::sleep(Duration::from_secs(DAY_SECS as u64)).await;
            }
        });
    }

    /// All at once, so that their commits share syncs.
    pub(super) async fn set_missing(
        self: &Rc<Self>,
        accounts: Vec<AccountName>,
        secrets: &Secrets,
    ) -> Result<ControlAnswer, StoreError> {
        let (done, failed) = (Rc::new(Event::new()), Rc::new(RefCell::new(None)));
        let count = accounts.len() as u64;
        for name in accounts {
            let (core, done, failed) = (self.clone(), done.clone(), failed.clone());
            let secrets = secrets.clone();
            shards::rt::spawn(&ROOM, async move {
                let set = async {
                    let account = core.account(name).await?;
                    // Not changed if there are any.
                    let scheme = || core.scheme();
                    let set = account.change_secrets(None, &secrets, scheme).await;
                    set.map(|_| ())
                };
                if let Err(error) = set.await {
                    *failed.borrow_mut() = Some(error);
                }
                done.notify();
            });
        }
        while done.count() < count {
            done.wait(done.count()).await;
        }
        let failed = failed.borrow_mut().take();
        failed.map_or(Ok(ControlAnswer::Done), Err)
    }
}

const DAY_SECS: i64 = 86_400;
