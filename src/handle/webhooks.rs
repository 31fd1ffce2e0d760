//! Webhooks of this core's accounts: their endpoints, what waits and what was. The calls are made in `hooks`.

use std::rc::Rc;

use shards::rt;
use shards::storage::Shard;
use webapi::hook::HookEvent;

use super::ROOM;
use crate::calls::ControlAnswer;
use crate::login;
use crate::percore::PerCore;
use crate::queue::hooks::{self, Enabled, EndpointRow, HookAnswer, HookAsk, Redelivered, Told};
use crate::settings::AccountName;
use crate::store::StoreError;

impl PerCore {
    pub(super) async fn webhooks(
        self: &Rc<Self>,
        account: AccountName,
        ask: HookAsk,
    ) -> Result<ControlAnswer, StoreError> {
        let answer = self.ask_webhooks(account, ask).await?;
        Ok(ControlAnswer::Webhooks(Box::new(answer)))
    }

    async fn ask_webhooks(
        self: &Rc<Self>,
        account: AccountName,
        ask: HookAsk,
    ) -> Result<HookAnswer, StoreError> {
        let shard = self.shard_of_account(account)?.clone();
        let name = account.as_str();
        let turn = self.queue.hooks.turn(name).await;
        // Behind the turn: whoever removes an account takes it once.
        let interest = self.interest_in(account)?;
        let now = self.wall_clock();
        let changed = match ask {
            HookAsk::List => {
                let (endpoints, dropped, _) = hooks::endpoints(&shard, name).await?;
                return Ok(HookAnswer::List { endpoints, dropped });
            }
            HookAsk::Pending {
                filter,
                after,
                most,
            } => {
                let page = hooks::pending(&shard, &turn, &filter, after, most).await?;
                let pauses = self.queue.hooks.conduct.pauses(name, now);
                return Ok(HookAnswer::Pending(page, pauses));
            }
            HookAsk::Retired {
                filter,
                after,
                most,
            } => {
                let page = hooks::retired(&shard, &turn, &filter, after, most).await?;
                return Ok(HookAnswer::Retired(page));
            }
            HookAsk::Payload { id } => {
                return Ok(HookAnswer::Payload(hooks::payload(&shard, name, id).await?));
            }
            HookAsk::Redeliver { id } => {
                let done = hooks::redeliver(&shard, &turn, interest, id, now).await?;
                if let Redelivered::For(endpoint) = done {
                    self.queue.hooks.wake(name, endpoint);
                }
                return Ok(HookAnswer::Redelivered(done));
            }
            HookAsk::Cancel { hooks: all } => {
                let canceled = hooks::cancel(&shard, &turn, interest, &all, now).await?;
                let (endpoints, ..) = hooks::endpoints(&shard, name).await?;
                self.queue
                    .hooks
                    .waiting(name, endpoints.iter().map(|(_, count)| count).sum());
                return Ok(HookAnswer::Canceled(canceled));
            }
            HookAsk::Test { .. } => return Err(StoreError::NotAllowed("no call is made here")),
            HookAsk::Put {
                id,
                mut spec,
                keeps_authorization,
            } => {
                // Doors say what is wrong, in words.
                let is_fine = {
                    let live = self.live();
                    spec.check(&live.settings.server.webhooks).is_ok()
                };
                if !is_fine {
                    return Err(StoreError::NotAllowed("it is no endpoint"));
                }
                let before = match id {
                    Some(id) => hooks::endpoint(&shard, name, id).await?,
                    None => None,
                };
                let is_elsewhere = before.as_ref().is_some_and(|before| before.url != spec.url);
                if id.is_some() && keeps_authorization {
                    let before = before.filter(|before| spec.is_same_server(&before.url));
                    spec.authorization = before.and_then(|endpoint| endpoint.authorization);
                }
                let put = hooks::put(&shard, &turn, (id, &spec), secret()?, now).await?;
                if let Some(id) = id.filter(|_| is_elsewhere) {
                    self.queue.hooks.conduct.end_pause(name, id);
                }
                put
            }
            HookAsk::Remove { id } => {
                let removed = hooks::remove(&shard, &turn, id, now).await?;
                self.queue.hooks.conduct.end_pause(name, id);
                self.purge_later(account);
                removed
            }
            HookAsk::Enable { id, enabled } => {
                let set = hooks::set_enabled(&shard, &turn, id, &enabled, now).await?;
                if enabled == Enabled::Yes {
                    // It begins anew.
                    self.queue.hooks.conduct.end_pause(name, id);
                }
                set
            }
            HookAsk::Rotate { id, overlap_secs } => {
                let until = now.saturating_add_unsigned(overlap_secs);
                hooks::rotate(&shard, &turn, id, (secret()?, until), now).await?
            }
        };
        let (endpoint, told): (Option<EndpointRow>, Told) = changed;
        let silent = match &endpoint {
            Some(endpoint) => {
                // What is off stays so, what is gone is erased, what is on again goes on.
                self.queue.hooks.wake(name, endpoint.id);
                self.tell_hooks(account, told).await
            }
            None => 0,
        };
        Ok(HookAnswer::Endpoint(endpoint.map(Box::new), silent))
    }

    /// What this core's accounts want of events, beside the hashes of a suppression list.
    pub(super) async fn hooks_told(&self, account: AccountName) -> Result<Told, StoreError> {
        let shard = self.shard_of_account(account)?;
        let (.., told) = hooks::endpoints(shard, account.as_str()).await?;
        Ok(told)
    }

    /// Webhooks of accounts whose files were away go on. Does not wait.
    pub(super) fn accounts_are_back(self: &Rc<Self>, accounts: Vec<AccountName>) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            for account in accounts {
                if let Err(error) = core.account_is_back(account).await {
                    tracing::warn!(%account, %error, "webhooks of an account that is back wait for new events");
                }
            }
        });
    }

    async fn account_is_back(&self, account: AccountName) -> Result<(), StoreError> {
        let shard = self.shard_of_account(account)?;
        let name = account.as_str();
        let turn = self.queue.hooks.turn(name).await;
        hooks::resume(shard, &turn, self.wall_clock()).await?;
        drop(turn);
        for (endpoint, line) in hooks::lines(shard, name).await? {
            if let Some(until) = line.paused_until {
                self.queue.hooks.conduct.pause(name, endpoint.id, until);
            }
            if line.count > 0 || endpoint.removed {
                self.queue.hooks.wake(name, endpoint.id);
            }
        }
        self.queue.hooks.untold.came(name, 0);
        Ok(())
    }

    /// Whether webhooks tell of mail that comes for an account of this core, or that can't be known now: no mail waits for that.
    pub(super) async fn tells_incoming(&self, account: AccountName) -> bool {
        let (name, event) = (account.as_str(), HookEvent::Incoming);
        if self.queue.hooks.wants(name, event).is_none() {
            match self.hooks_told(account).await {
                Ok((version, events)) => self.queue.hooks.know(name, version, events),
                Err(error) => {
                    tracing::warn!(%account, %error, "endpoints of webhooks can't be read: mail that comes is told later");
                }
            }
        }
        self.queue.hooks.may_want(name, event)
    }

    /// Ends what is over for long, now and every hour.
    pub(super) fn prune_hooks(self: &Rc<Self>) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            loop {
                for shard in &core.shards {
                    if let Err(error) = core.prune_hooks_of(shard).await {
                        tracing::warn!(shard = %shard.id(), %error, "old webhooks stay for another hour");
                    }
                }
                rt::sleep(super::events::PRUNE_EVERY).await;
            }
        });
    }

    async fn prune_hooks_of(self: &Rc<Self>, shard: &Rc<Shard>) -> Result<(), StoreError> {
        hooks::each_account(shard, async |account| {
            // The rows of one that is gone go with it.
            let Some(interest) = self.queue.interest(account) else {
                return Ok(());
            };
            let now = self.wall_clock();
            let keeps = i64::try_from(interest.keeps_webhooks_secs).unwrap_or(i64::MAX);
            let end = match keeps {
                0 => i64::MAX,
                keeps => now.saturating_sub(keeps),
            };
            let mut goes_on = true;
            while goes_on {
                let turn = self.queue.hooks.turn(account).await;
                if self.queue.interest(account).is_none() {
                    break;
                }
                let what = (end, hooks::RETIRED_MAX);
                goes_on = hooks::prune(shard, &turn, what, now).await?;
            }
            self.purge(shard, account).await
        })
        .await
    }

    /// What waits for an endpoint that is removed goes now, in slices; if that fails, within the hour.
    fn purge_later(self: &Rc<Self>, account: AccountName) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            let purge = async {
                let shard = core.shard_of_account(account)?;
                core.purge(shard, account.as_str()).await
            };
            if let Err(error) = purge.await {
                tracing::warn!(%account, %error, "webhooks of an endpoint that is removed stay for an hour");
            }
        });
    }

    /// Ends what waits for endpoints of an account that are removed, and what has waited too long for those that are off.
    async fn purge(&self, shard: &Rc<Shard>, account: &str) -> Result<(), StoreError> {
        let give_up = {
            let live = self.live();
            let webhooks = &live.settings.server.webhooks;
            webhooks.give_up_after_secs.duration().as_secs()
        };
        let now = self.wall_clock();
        let before = now.saturating_sub_unsigned(give_up);
        for (endpoint, _) in hooks::lines(shard, account).await? {
            let mut goes_on = endpoint.removed || endpoint.disabled.is_some();
            while goes_on {
                let turn = self.queue.hooks.turn(account).await;
                let Some(interest) = self.queue.interest(account) else {
                    return Ok(());
                };
                let what = (before, interest);
                goes_on = hooks::purge(shard, &turn, &endpoint, what, now).await?;
            }
        }
        Ok(())
    }
}

fn secret() -> Result<Vec<u8>, StoreError> {
    let mut octets = vec![0; SECRET_OCTETS];
    login::random(&mut octets).map_err(|_| StoreError::Limit("no randomness"))?;
    Ok(octets)
}

/// Octets of a new secret: as many as the hash that signs has.
const SECRET_OCTETS: usize = 32;
