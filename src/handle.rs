//! Serving the calls of other cores: the counterpart of `percore`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures_channel::oneshot;
use sasl::ScramHash;
use shards::lanes::Incoming;
use shards::rt::{self, Event};
use shards::shard_of;
use shards::storage::Shard;

use crate::calls::{
    Answer, Call, Claim, ControlAnswer, ControlCall, Deliver, LimitedDoor, Room, Verified, Verify,
};
use crate::login::limiter::{May, Networks, Refused};
use crate::login::{Check, Patience, SaltRow, Scheme, Secrets};
use crate::percore::{PerCore, monotonic};
use crate::settings::AccountName;
use crate::store::{self, Account, Fingerprint, StoreError};

impl PerCore {
    /// Serves one call; what takes time goes into a task. `Connection` is the doors' and never comes here.
    pub fn handle(self: &Rc<Self>, incoming: Incoming<Call, Answer>) {
        let Incoming { call, responder } = incoming;
        match call {
            Call::Admit { networks, door } => {
                responder.answer(Answer::Admitted(self.limit_connection(&networks, door)))
            }
            Call::Release { networks, door } => {
                if let Some(limiter) = self.limiters.borrow_mut().connections.get_mut(&door) {
                    limiter.release(&networks);
                }
                responder.answer(Answer::Done(Ok(())));
            }
            Call::MayLogIn { networks } => match self.begin_login(&networks) {
                May::Wait => {
                    let core = self.clone();
                    shards::rt::spawn(&ROOM, async move {
                        responder.answer(Answer::MayLogIn(core.login_turn(networks).await))
                    });
                }
                may => responder.answer(Answer::MayLogIn(may)),
            },
            Call::LoginResult {
                networks,
                succeeded,
            } => {
                self.login_ended(&networks, succeeded);
                responder.answer(Answer::Done(Ok(())));
            }
            Call::EndSessions(account) => {
                *self.sessions_ended.borrow_mut().entry(account).or_default() += 1;
                let open = self.accounts.open_accounts();
                if let Some(open) = open.iter().find(|a| a.name == account.as_str()) {
                    open.end_sessions();
                }
                responder.answer(Answer::Done(Ok(())));
            }
            Call::Live(live) => {
                *self.live.borrow_mut() = live;
                self.end_removed_accounts();
                self.drop_unused_secrets();
                responder.answer(Answer::Done(Ok(())));
            }
            Call::Serving => {
                self.serving.set(true);
                self.prepared.notify();
                self.drop_unused_secrets();
                responder.answer(Answer::Done(Ok(())));
            }
            Call::Scrape => {
                responder.answer(Answer::Samples(self.samples(), self.durations.samples()))
            }
            Call::Connection(_) => (),
            waiting => {
                let core = self.clone();
                shards::rt::spawn(
                    &ROOM,
                    async move { responder.answer(core.serve(waiting).await) },
                );
            }
        }
    }

    async fn serve(self: &Rc<Self>, call: Call) -> Answer {
        match call {
            Call::Verify(verify) => Answer::Verified(self.verify(*verify).await),
            Call::Salt {
                account,
                name,
                hash,
            } => Answer::Salt(self.salt(account, &name, hash).await),
            Call::ClientKey { fingerprint } => Answer::ClientKey(
                async {
                    let shard = self.shard_of_key(&fingerprint)?;
                    let row = store::client_key(shard, &fingerprint).await?;
                    Ok(row.map(Box::new))
                }
                .await,
            ),
            Call::ClientKeyUsed { fingerprint } => Answer::Done(
                async {
                    let shard = self.shard_of_key(&fingerprint)?;
                    store::client_key_used(shard, &fingerprint, self.wall_clock()).await
                }
                .await,
            ),
            Call::Secrets { account } => Answer::Secrets(
                self.secrets(account.as_str())
                    .await
                    .map(|secrets| secrets.map(Box::new)),
            ),
            Call::ChangeSecrets {
                account,
                from,
                to,
                ends_sessions,
            } => Answer::Changed(
                async {
                    let stored = self.account(account).await?;
                    let changed = stored.change_secrets(from.as_deref(), &to).await?;
                    if changed && ends_sessions {
                        self.end_sessions(account).await;
                    }
                    Ok(changed)
                }
                .await,
            ),
            Call::HasRoom { wanted } => Answer::HasRoom(self.have_room(wanted, false).await),
            Call::Promise { wanted } => Answer::HasRoom(self.have_room(wanted, true).await),
            Call::TakeBack { promised } => {
                let all = &mut *self.promised.borrow_mut();
                for (account, octets) in promised {
                    all.remove(account, octets);
                }
                Answer::Done(Ok(()))
            }
            Call::Deliver(deliver) => Answer::Delivered(self.add_delivery(*deliver).await),
            Call::ForgetDelivered {
                account,
                transactions,
            } => Answer::Done(
                async {
                    let keys: Vec<_> = transactions.iter().map(|t| t.to_bytes()).collect();
                    self.account(account).await?.forget_delivered(&keys).await
                }
                .await,
            ),
            Call::RowsExist { shard, keys } => {
                Answer::Exist(match self.shards.iter().find(|s| s.id().0 == shard) {
                    Some(shard) => store::exist(shard, keys).await,
                    None => Err(StoreError::NotAllowed("this core does not own the shard")),
                })
            }
            Call::Control(call) => Answer::Control(self.control(*call).await),
            _ => Answer::Done(Ok(())),
        }
    }

    /// An account of this core, with its configured limits.
    pub async fn account(&self, name: AccountName) -> Result<Rc<Account>, StoreError> {
        let live = self.live();
        if !live.settings.accounts.contains_key(&name) {
            return Err(StoreError::AccountGone);
        }
        let account = self.accounts.open(name.as_str()).await?;
        account.set_quota(live.quota(name));
        Ok(account)
    }

    /// An account that can't be asked has room: what is wrong with it is told when the message is delivered.
    async fn have_room(&self, wanted: Vec<(AccountName, u64)>, promise: bool) -> Vec<Room> {
        let mut rooms = Vec::with_capacity(wanted.len());
        for (name, octets) in wanted {
            rooms.push(match self.account(name).await {
                Ok(account) if self.fits(&account, name, octets) => Room::Enough,
                Ok(account) if self.fits(&account, name, 1) => Room::Little,
                Ok(_) => Room::None,
                Err(_) => Room::Enough,
            });
            if promise {
                let promised = &mut *self.promised.borrow_mut();
                promised.add(monotonic(), name, octets);
            }
        }
        rooms
    }

    fn fits(&self, account: &Account, name: AccountName, octets: u64) -> bool {
        let (used, Some(quota)) = account.quota() else {
            return true;
        };
        let promised = self.promised.borrow_mut().of(monotonic(), name);
        used.saturating_add(promised).saturating_add(octets) <= quota
    }

    /// Takes out of the stored secrets, in the background, what is kept for mechanisms that are off.
    fn drop_unused_secrets(self: &Rc<Self>) {
        let core = self.clone();
        shards::rt::spawn(&ROOM, async move {
            let scheme = core.scheme();
            for shard in &core.shards {
                match store::drop_unused_secrets(shard, &scheme).await {
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
    fn scheme(&self) -> Scheme {
        let live = self.live.borrow();
        Scheme::new(&live.settings.server.limits.auth, self.unknown.iterations)
    }

    fn shard_of_key(&self, fingerprint: &Fingerprint) -> Result<&Rc<Shard>, StoreError> {
        let shard = shard_of(fingerprint, self.shard_count);
        let found = self.shards.iter().find(|s| s.id() == shard);
        found.ok_or(StoreError::NotAllowed("this core does not own the key"))
    }

    /// What is stored of a name's secrets; for a name that nobody has, none after the same steps.
    async fn secrets(&self, name: &str) -> Result<Option<Secrets>, StoreError> {
        let shard = shard_of(name.as_bytes(), self.shard_count);
        let shard = self.shards.iter().find(|s| s.id() == shard);
        let shard = shard.ok_or(StoreError::NotAllowed("this core does not own the account"))?;
        store::secrets(shard, name).await
    }

    async fn salt(
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

    async fn verify(&self, verify: Verify) -> Result<Verified, StoreError> {
        let account = verify.account.as_ref().map(|a| a.as_str().to_string());
        let (name, networks) = (
            account.unwrap_or_else(|| verify.name.clone()),
            verify.networks,
        );
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
            Ok(_) => accounts.succeeded(&name, &networks, now),
            Err(_) => accounts.forgive(&name),
        }
        verified
    }

    async fn look_at(&self, verify: Verify) -> Result<Verified, StoreError> {
        let Verify {
            account,
            name,
            claim,
            service,
            networks,
        } = verify;
        let of = account.as_ref().map_or(&*name, |a| a.as_str());
        let stored = self.secrets(of).await?.filter(|_| account.is_some());
        let password = match claim {
            Claim::Proof(proof) => {
                let secrets = stored.as_ref().unwrap_or(&self.nobody);
                return Ok(match secrets.check_proof(&proof, service) {
                    Some(signature) if stored.is_some() => Verified::Signed(signature),
                    _ => Verified::No,
                });
            }
            Claim::Digest(digest) => {
                let secrets = stored.as_ref().unwrap_or(&self.nobody);
                let right = secrets.check_digest(&digest, service) && stored.is_some();
                return Ok(if right { Verified::Yes } else { Verified::No });
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
        Ok(match right.map_err(busy)? {
            true => Verified::Yes,
            false => Verified::No,
        })
    }

    async fn add_delivery(&self, mut deliver: Deliver) -> Result<bool, StoreError> {
        // RFC 9051 5.1: INBOX in any case is the one mailbox; the configuration may spell it as it likes.
        if deliver.mailbox.eq_ignore_ascii_case(store::INBOX) {
            deliver.mailbox = store::INBOX.to_string();
        }
        let account = self.account(deliver.account).await?;
        let octets = deliver.message.length();
        if deliver.transaction.is_none() && !self.fits(&account, deliver.account, octets) {
            return Err(StoreError::OverQuota);
        }
        let transaction = deliver.transaction.map(|t| t.to_bytes());
        let transaction = transaction.as_ref().map(|t| t.as_slice());
        // Before the message is handed over; a mailbox that goes in between is an error, and the sender comes again.
        if !account.has_mailbox(&deliver.mailbox) {
            account.ensure(&deliver.mailbox).await?;
        }
        let added = account
            .add(&deliver.mailbox, vec![deliver.message], transaction)
            .await?;
        // Once: a repeat adds nothing.
        if transaction.is_some() && added.is_some() {
            let promised = &mut *self.promised.borrow_mut();
            promised.remove(deliver.account, octets);
        }
        Ok(added.is_some())
    }

    fn limit_connection(&self, networks: &Networks, door: LimitedDoor) -> Result<(), Refused> {
        let live = self.live();
        let limits = &live.settings.server.limits;
        let now = self.wall_clock().max(0) as u64;
        if door != LimitedDoor::Smtp && !self.has_login_room(networks) {
            return Err(Refused::Failures);
        }
        let (rate, open) = match door {
            LimitedDoor::Imap => (
                &limits.imap.connections_per_minute_max,
                &limits.imap.connections_open_max,
            ),
            _ => (
                &limits.smtp.connections_per_minute_max,
                &limits.smtp.connections_open_max,
            ),
        };
        self.limiters
            .borrow_mut()
            .connections
            .entry(door)
            .or_default()
            .admit(networks, now, rate, open)
    }

    /// Whether a login may be tried now; it is under way then.
    fn begin_login(&self, networks: &Networks) -> May {
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
    async fn login_turn(&self, networks: Networks) -> May {
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
    fn login_ended(&self, networks: &Networks, succeeded: Option<bool>) {
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
    fn has_login_room(&self, networks: &Networks) -> bool {
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

    /// Sessions of accounts that are no longer configured end.
    fn end_removed_accounts(&self) {
        let live = self.live();
        for account in self.accounts.open_accounts() {
            if !live
                .settings
                .accounts
                .keys()
                .any(|name| name.as_str() == account.name)
            {
                account.set_gone();
            }
        }
    }

    fn samples(&self) -> crate::metrics::Samples {
        let mut samples = self.metrics.samples();
        let none = crate::metrics::NONE;
        samples.push((
            ("ringmail_connections_open", none),
            self.connections.get() as i64,
        ));
        samples.push((
            ("ringmail_bodies_in_memory_bytes", none),
            self.body_memory.get() as i64,
        ));
        for shard in &self.shards {
            let status = shard.status();
            samples.push((
                ("ringmail_storage_shards_stalled", none),
                i64::from(status.stalled().is_some()),
            ));
            samples.push((
                ("ringmail_storage_groups_total", none),
                status.groups as i64,
            ));
            samples.push((
                ("ringmail_storage_batches_total", none),
                status.batches as i64,
            ));
            samples.push((("ringmail_storage_syncs_total", none), status.syncs as i64));
            samples.push((("ringmail_storage_bytes_total", none), status.bytes as i64));
            samples.push((
                ("ringmail_storage_bodies_compacted_total", none),
                status.compacted as i64,
            ));
            samples.push((
                ("ringmail_storage_shards_poisoned", none),
                i64::from(status.poisoned.is_some()),
            ));
            samples.push((
                ("ringmail_storage_shards_disk_low", none),
                i64::from(status.disk_low),
            ));
        }
        samples
    }

    /// All at once, so that their commits share syncs.
    async fn set_missing(
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
                    account.change_secrets(None, &secrets).await.map(|_| ())
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

    async fn control(self: &Rc<Self>, call: ControlCall) -> Result<ControlAnswer, StoreError> {
        match call {
            ControlCall::RemoveAccount(name) => {
                let found = self.accounts.remove(name.as_str()).await?;
                Ok(ControlAnswer::Found(found))
            }
            ControlCall::AccountIsStored(name) => {
                let found = self.accounts.is_stored(name.as_str()).await?;
                Ok(ControlAnswer::Found(found))
            }
            ControlCall::AccountNumbers(name) => {
                let account = self.account(name).await?;
                let all = account.mailboxes();
                Ok(ControlAnswer::Numbers {
                    mailboxes: all.len() as u64,
                    messages: all.iter().map(|m| u64::from(m.counts.messages)).sum(),
                    octets: all.iter().map(|m| m.counts.size).sum(),
                })
            }
            ControlCall::SetMissingSecrets { accounts, secrets } => {
                self.set_missing(accounts, &secrets).await
            }
            ControlCall::AddClientKey { fingerprint, row } => {
                let shard = self.shard_of_key(&fingerprint)?;
                let added = store::add_client_key(shard, &fingerprint, &row).await?;
                Ok(ControlAnswer::Found(!added))
            }
            ControlCall::RemoveClientKey { fingerprint } => {
                let shard = self.shard_of_key(&fingerprint)?;
                let row = store::remove_client_key(shard, &fingerprint).await?;
                let row = row.map(|row| (fingerprint, row));
                Ok(ControlAnswer::ClientKeys(row.into_iter().collect()))
            }
            ControlCall::ClientKeys {
                shard,
                after,
                limit,
            } => {
                let shard = self.shards.iter().find(|s| s.id().0 == shard);
                let shard =
                    shard.ok_or(StoreError::NotAllowed("this core does not own the shard"))?;
                let keys = store::client_keys(shard, after.as_ref(), limit).await?;
                Ok(ControlAnswer::ClientKeys(keys))
            }
            ControlCall::Queue { after, limit } => {
                let mut items = Vec::new();
                for shard in self
                    .shards
                    .iter()
                    .filter(|s| after.is_none_or(|(number, _)| s.id().0 >= number))
                {
                    let from = after
                        .filter(|(number, _)| *number == shard.id().0)
                        .map_or(0, |(_, number)| number + 1);
                    items.extend(crate::queue::list(shard, from, limit - items.len()).await?);
                    if items.len() >= limit {
                        break;
                    }
                }
                Ok(ControlAnswer::Queue(items))
            }
            ControlCall::Check { shard, from } => {
                match self.shards.iter().find(|s| s.id().0 == shard) {
                    Some(shard) => store::check_slice(shard, from)
                        .await
                        .map(ControlAnswer::Check),
                    None => Err(StoreError::NotAllowed("this core does not own the shard")),
                }
            }
        }
    }
}

/// Panics of tasks that serve calls.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("handle");
