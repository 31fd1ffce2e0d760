//! Serving the calls of other cores: the counterpart of `percore`. Those about logins are in `login`.

mod api_keys;
mod batch;
mod events;
mod login;
mod messages;
mod queue;
mod sites;
mod webhooks;

use std::rc::Rc;

use dns::Lookup;
use shards::faults::point;
use shards::lanes::Incoming;
use shards::storage::Shard;

use crate::calls::{Answer, Call, ControlAnswer, ControlCall, Deliver, LimitedDoor, Room};
use crate::login::limiter::{May, Networks, Refused};
use crate::lookup::mail_hosts;
use crate::percore::{PerCore, TLS_RESULTS_LOST, monotonic};
use crate::queue::HoldRules;
use crate::queue::route::Routes;
use crate::queue::{batch as batches, retired, suppression};
use crate::settings::AccountName;
use crate::store::{self, Account, StoreError};

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
                if let Some(recent) = &mut *self.recent.borrow_mut() {
                    recent.forget(account);
                }
                self.sessions_ended
                    .borrow_mut()
                    .insert(account, monotonic());
                let open = self.accounts.open_accounts();
                if let Some(open) = open.iter().find(|a| a.name == account.as_str()) {
                    open.wake_sessions();
                }
                responder.answer(Answer::Done(Ok(())));
            }
            Call::Borrow {
                site,
                transport,
                core,
                report,
            } => {
                let limits = self.member_limits(&site);
                let limits =
                    limits.unwrap_or_else(|| self.site_limits(&site, transport.as_deref()));
                let mut sites = self.sites.borrow_mut();
                let lent = sites.lend(&site, core, report, limits, monotonic());
                drop(sites);
                self.tell_of_sites();
                responder.answer(Answer::Lent(lent));
            }
            Call::Live(live) => {
                self.resolver.configure(&live.resolver);
                self.queue.configure(Routes::of(&live.settings));
                self.use_interests(&live);
                let before = self.live.replace(live);
                self.transports_changed(&before);
                self.shapes.borrow_mut().clear();
                self.smarthost_keys.forget();
                self.end_barred_sessions();
                self.drop_unused_secrets();
                responder.answer(Answer::Done(Ok(())));
            }
            Call::Serving => {
                self.serving.set(true);
                self.prepared.notify();
                self.drop_unused_secrets();
                self.prune_logins();
                self.tend_tls_policies();
                self.prune_tls_results();
                self.prune_warm_ups();
                self.prune_sending();
                self.prune_events();
                self.prune_answered();
                self.prune_hooks();
                responder.answer(Answer::Done(Ok(())));
            }
            Call::ApiKeyChanged { id } => {
                self.api_keys.borrow_mut().forget(&id);
                responder.answer(Answer::Done(Ok(())));
            }
            Call::SuppressionChanged { account, changes } => {
                self.queue.lists.changed(account.as_str(), &changes);
                responder.answer(Answer::Done(Ok(())));
            }
            Call::HooksChanged { account, told } => {
                self.queue.hooks.know(account.as_str(), told.0, told.1);
                responder.answer(Answer::Done(Ok(())));
            }
            Call::Scrape => {
                let mut durations = self.durations.samples();
                durations.extend(self.resolver.durations().samples());
                durations.extend(self.tls_policy_durations());
                responder.answer(Answer::Samples(self.samples(), durations))
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
            Call::Life { account } => Answer::Life(self.own_life(account).await),
            Call::LinkHolds(link) => Answer::Done(self.link_holds(&link).await.map(drop)),
            Call::Unsubscribe(link) => Answer::Done(self.unsubscribe(&link).await),
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
            Call::ApiKey { id } => Answer::ApiKey(
                async {
                    let row = store::api_key(self.shard_of_api_key(&id)?, &id).await?;
                    Ok(row.map(Box::new))
                }
                .await,
            ),
            Call::PutApiKey { id, row } => Answer::Done(
                async {
                    let shard = self.shard_of_api_key(&id)?;
                    store::put_api_key(shard, &id, row.as_deref()).await
                }
                .await,
            ),
            Call::ApiKeyUsed { id } => Answer::Done(
                async {
                    let shard = self.shard_of_api_key(&id)?;
                    store::api_key_used(shard, &id, self.wall_clock()).await
                }
                .await,
            ),
            Call::RecordLogins { shard, records } => {
                Answer::Done(self.record_logins(shard, records).await)
            }
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
                    let scheme = || self.scheme();
                    let changed = stored.change_secrets(from.as_deref(), &to, scheme).await?;
                    Ok(match changed {
                        true if ends_sessions => Some(self.end_sessions(account).await),
                        true => Some(0),
                        false => None,
                    })
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
            Call::RowsExist { shard, keys } => Answer::Exist(match self.own_shard(shard) {
                Ok(shard) => store::exist(shard, keys).await,
                Err(error) => Err(error),
            }),
            Call::Sts {
                domain,
                account,
                anew,
            } => Answer::Sts(self.own_sts(&domain, account, anew).await),
            Call::WarmUp { shard, ask } => Answer::Given(self.own_warm_up(shard, *ask).await),
            Call::Reserve { account, wanted } => {
                Answer::Reserved(self.own_reserve(account, *wanted).await)
            }
            Call::GiveBack { account, taken } => {
                Answer::Done(self.own_give_back(account, taken).await)
            }
            Call::Events { account, told } => Answer::Done(self.take_events(account, &told).await),
            Call::Returned { account, returned } => {
                Answer::Returned(self.take_returned(account, &returned).await)
            }
            Call::SuppressionHashes { account } => {
                Answer::Hashes(self.suppression_hashes(account).await)
            }
            Call::Suppressed { account, addresses } => {
                Answer::Suppressed(self.suppressed(account, &addresses).await)
            }
            Call::TlsResults(batch) => Answer::Done(self.keep_tls_results(*batch).await),
            Call::Message(call) => Answer::Message(self.message(*call).await),
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

    async fn add_delivery(&self, mut deliver: Deliver) -> Result<bool, StoreError> {
        // RFC 9051 5.1: INBOX in any case is the one mailbox; the configuration may spell it as it likes.
        if deliver.mailbox.eq_ignore_ascii_case(store::INBOX) {
            deliver.mailbox = store::INBOX.to_string();
        }
        let account = self.account(deliver.account).await?;
        if deliver.mailbox == store::SENT_COPY && deliver.message.recipient.is_empty() {
            match account.mailbox_for_sent() {
                Some(name) => deliver.mailbox = name,
                // Who has none wants no copies.
                None => return Ok(false),
            }
        }
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
        deliver.message.is_incoming =
            deliver.message.is_incoming && self.tells_incoming(deliver.account).await;
        let added = account
            .add(&deliver.mailbox, vec![deliver.message], transaction)
            .await?;
        // Once: a repeat adds nothing.
        if transaction.is_some() && added.is_some() {
            let promised = &mut *self.promised.borrow_mut();
            promised.remove(deliver.account, octets);
        }
        if let Some(first) = added.as_ref().and_then(|added| added.first_incoming) {
            let _ = point("hooks.incoming");
            let untold = &self.queue.hooks.untold;
            untold.came(deliver.account.as_str(), first);
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

    /// Sessions of accounts that are no longer configured end, and of those that may no longer log in.
    fn end_barred_sessions(&self) {
        let live = self.live();
        for account in self.accounts.open_accounts() {
            match live.settings.accounts.get(&*account.name) {
                None => account.set_gone(),
                // `session_end` has the reason.
                Some(configured) if configured.login_disabled.is_some() => account.wake_sessions(),
                Some(_) => (),
            }
        }
    }

    fn samples(&self) -> crate::metrics::Samples {
        let mut samples = self.metrics.samples();
        let none = crate::metrics::NONE;
        samples.extend(self.resolver.metrics().samples());
        samples.extend(self.tls_policy_samples());
        samples.push(((TLS_RESULTS_LOST, none), self.tls_results_lost() as i64));
        let (answers, octets) = self.resolver.remembered();
        samples.push((("ringmail_dns_cache_entries", none), answers as i64));
        samples.push((("ringmail_dns_cache_bytes", none), octets as i64));
        samples.push((
            ("ringmail_storage_rows_unreadable", none),
            store::unreadable_rows() as i64,
        ));
        samples.push((
            ("ringmail_connections_open", none),
            self.connections.get() as i64,
        ));
        samples.push((
            ("ringmail_bodies_in_memory_bytes", none),
            self.body_memory.get() as i64,
        ));
        let requests = self.request_memory.borrow().taken();
        samples.push((
            ("ringmail_http_requests_memory_bytes", none),
            requests as i64,
        ));
        let (waiting, held) = (self.queue.count(), self.queue.held());
        for (state, count) in [("waiting", waiting.saturating_sub(held)), ("held", held)] {
            let labels = crate::metrics::label("state", state);
            samples.push((("ringmail_queue_recipients", labels), count as i64));
        }
        for (what, count) in self.queue.paused() {
            let labels = crate::metrics::label("what", what);
            samples.push((("ringmail_queue_paused", labels), count as i64));
        }
        let hooks = self.queue.hooks.all_waiting();
        samples.push((("ringmail_webhook_pending", none), hooks as i64));
        let (paused, slowed, resting) = self.sites.borrow().restrained(monotonic());
        let name = "ringmail_outbound_addresses_resting";
        samples.push(((name, none), resting as i64));
        for (state, count) in [("paused", paused), ("slowed", slowed)] {
            let labels = crate::metrics::label("state", state);
            samples.push((("ringmail_outbound_sites", labels), count as i64));
        }
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

    async fn control(self: &Rc<Self>, call: ControlCall) -> Result<ControlAnswer, StoreError> {
        match call {
            ControlCall::RemoveAccount(name) => {
                // What began before is written; what comes later finds that it is gone.
                let _turn = self.queue.hooks.turn(name.as_str()).await;
                self.sending_tallies.end(name).await;
                let found = self.accounts.remove(name.as_str()).await?;
                self.queue.hooks.conduct.forget(name.as_str());
                Ok(ControlAnswer::Found(found))
            }
            ControlCall::AccountsAreBack(accounts) => {
                self.accounts_are_back(accounts);
                Ok(ControlAnswer::Done)
            }
            ControlCall::FinishRemoval(name) => {
                self.accounts.finish_removal(name.as_str()).await?;
                Ok(ControlAnswer::Done)
            }
            ControlCall::QueueOfAccount { shard, account } => {
                let shard = self.own_shard(shard)?.id().0;
                let of = self.queue.held_of_account(shard, account.as_str()).await;
                Ok(ControlAnswer::QueueOfAccount(of))
            }
            ControlCall::ForgetAccount { shard, account } => {
                let shard = self.own_shard(shard)?;
                store::forget_answered(shard, account.as_str()).await?;
                batches::forget(shard, account.as_str()).await?;
                self.queue.lives.forget(account);
                Ok(ControlAnswer::Done)
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
            ControlCall::SendingUse(name) => {
                let used = self.own_sending_use(name).await?;
                Ok(ControlAnswer::SendingUse(Box::new(used)))
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
                let shard = self.own_shard(shard)?;
                let keys = store::client_keys(shard, after.as_ref(), limit).await?;
                Ok(ControlAnswer::ClientKeys(keys))
            }
            ControlCall::Templates { account } => {
                let shard = self.shard_of_account(account)?;
                let all = store::templates(shard, account.as_str()).await?;
                Ok(ControlAnswer::Templates(all))
            }
            ControlCall::Template { account, name } => {
                let shard = self.shard_of_account(account)?;
                let row = store::template(shard, account.as_str(), &name).await?;
                let found = row.map(|row| (name, row));
                Ok(ControlAnswer::Templates(found.into_iter().collect()))
            }
            ControlCall::PutTemplate { account, name, row } => {
                let shard = self.shard_of_account(account)?;
                let _turn = self.queue.hooks.turn(account.as_str()).await;
                self.interest_in(account)?;
                let row = row.as_deref();
                let was = store::put_template(shard, account.as_str(), &name, row).await?;
                Ok(ControlAnswer::Found(was))
            }
            ControlCall::AddApiKey { account, id, row } => self.add_api_key(account, id, row).await,
            ControlCall::ApiKeys { account } => self.api_keys_of(account).await,
            ControlCall::RemoveApiKey { account, id } => self.remove_api_key(account, id).await,
            ControlCall::WriteLogins => {
                self.write_attempts(true).await;
                Ok(ControlAnswer::Done)
            }
            ControlCall::Logins {
                shard,
                account,
                after,
                limit,
            } => {
                let shard = self.own_shard(shard)?;
                let found = store::login_records(shard, account.as_deref(), after, limit).await?;
                Ok(ControlAnswer::Logins(found))
            }
            ControlCall::Lookup { name, record_type } => {
                let resolved = self.resolver.resolve(&name, record_type).await;
                Ok(ControlAnswer::Lookup(resolved.map(Into::into)))
            }
            ControlCall::MailHosts { domain } => {
                let found = mail_hosts(&self.resolver, &domain).await;
                Ok(ControlAnswer::MailHosts(found.map(Box::new)))
            }
            ControlCall::ShowSts { domain } => {
                let shown = self.show_sts(&domain).await;
                Ok(ControlAnswer::ShowSts(Box::new(shown)))
            }
            ControlCall::TlsDemands { domain } => {
                let found = self.tls_demands(&domain).await;
                Ok(ControlAnswer::TlsDemands(Box::new(found)))
            }
            ControlCall::WriteTlsResults => {
                self.write_tls_results().await;
                Ok(ControlAnswer::Done)
            }
            ControlCall::TlsResults {
                shard,
                wanted,
                after,
                limit,
            } => {
                let (found, next) = self
                    .stored_tls_results(shard, &wanted, after, limit)
                    .await?;
                Ok(ControlAnswer::TlsResults(found, next))
            }
            ControlCall::StoredSts {
                shard,
                after,
                limit,
            } => {
                let (found, next) = self.stored_sts(shard, after.as_ref(), limit).await?;
                Ok(ControlAnswer::StoredSts(found, next))
            }
            ControlCall::RemoveSts { domain } => {
                let found = self.remove_sts(&domain).await?;
                Ok(ControlAnswer::Found(found))
            }
            ControlCall::Queue {
                shard,
                filter,
                after,
                most,
            } => self.queue_page(shard, &filter, after, most).await,
            ControlCall::QueueChange {
                shard,
                filter,
                deed,
                after,
            } => self.queue_change(shard, *filter, *deed, after).await,
            ControlCall::QueueOctets {
                shard,
                number,
                from,
            } => self.queue_octets(shard, number, from).await,
            ControlCall::Sites {
                wanted,
                restrained,
                after,
                limit,
            } => {
                let which = (wanted.as_deref(), restrained);
                let sites = self.sites.borrow();
                let (found, next) = sites.states(which, after.as_deref(), limit, monotonic());
                Ok(ControlAnswer::Sites(found, next))
            }
            ControlCall::ChangeSites { wanted, deed } => {
                Ok(self.change_sites(wanted.as_deref(), &deed))
            }
            ControlCall::SitesChanged => {
                self.sites_changed.notify();
                Ok(ControlAnswer::Done)
            }
            ControlCall::HoldRules { shard } => {
                let rules = HoldRules::read(self.own_shard(shard)?).await?;
                Ok(ControlAnswer::HoldRules(Box::new(rules)))
            }
            ControlCall::WriteHoldRules { shard, rules } => {
                rules.write(self.own_shard(shard)?).await?;
                Ok(ControlAnswer::Done)
            }
            ControlCall::UseHoldRules { rules, settle } => {
                self.queue.use_hold_rules(*rules);
                if settle {
                    self.queue.settled().await;
                }
                Ok(ControlAnswer::Done)
            }
            ControlCall::WarmUps {
                shard,
                after,
                limit,
            } => {
                let page = self.stored_warm_ups(shard, after, limit).await?;
                Ok(ControlAnswer::WarmUps(page))
            }
            ControlCall::Suppressions {
                shard,
                account,
                after,
                limit,
            } => {
                let shard = self.own_shard(shard)?;
                let found = suppression::page(shard, account.as_deref(), after, limit).await?;
                Ok(ControlAnswer::Suppressions(found))
            }
            ControlCall::Retired {
                shard,
                filter,
                after,
                most,
            } => {
                let shard = self.own_shard(shard)?;
                let (found, next) = retired::page(shard, &filter, after, most).await?;
                Ok(ControlAnswer::Retired(found, next))
            }
            ControlCall::RetiredOne { account, id } => {
                let shard = self.shard_of_account(account)?;
                let row = retired::find(shard, account.as_str(), id).await?;
                let found = row.map(|row| (account.to_string(), row));
                Ok(ControlAnswer::Retired(found.into_iter().collect(), None))
            }
            ControlCall::RetiredAmong { account, ids } => {
                let shard = self.shard_of_account(account)?;
                let among = retired::among(shard, account.as_str(), &ids).await?;
                Ok(ControlAnswer::RetiredAmong(among))
            }
            ControlCall::Batch {
                shard,
                account,
                number,
            } => self.batch(shard, account, number).await,
            ControlCall::Batches {
                shard,
                account,
                after,
                limit,
            } => self.batches(shard, account, after, limit).await,
            ControlCall::CancelBatch {
                shard,
                account,
                number,
            } => self.cancel_batch(shard, account, number).await,
            ControlCall::Suppression { account, address } => {
                self.suppression(account, &address).await
            }
            ControlCall::ChangeSuppression {
                account,
                address,
                to,
                replaces,
            } => {
                self.change_suppression(account, &address, (to, replaces))
                    .await
            }
            ControlCall::Webhooks { account, ask } => self.webhooks(account, *ask).await,
            ControlCall::Check { shard, from } => {
                let slice = store::check_slice(self.own_shard(shard)?, from).await?;
                Ok(ControlAnswer::Check(slice))
            }
        }
    }

    /// A shard of this core.
    fn own_shard(&self, number: u16) -> Result<&Rc<Shard>, StoreError> {
        let found = self.shards.iter().find(|s| s.id().0 == number);
        found.ok_or(StoreError::NotAllowed("this core does not own the shard"))
    }
}

/// Octets of a message in one answer: two thirds of a line of the control socket, for it is base64 there.
const MESSAGE_PIECE: usize = 512 << 10;

/// Panics of tasks that serve calls.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("handle");
