//! Events of the mail of this core's accounts, and their suppression lists.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use shards::faults::point;
use shards::rt;
use shards::shard_of;
use shards::storage::Shard;

use super::ROOM;
use crate::calls::ControlAnswer;
use crate::metrics::labels;
use crate::percore::PerCore;
use crate::queue::batch;
use crate::queue::events::{self, Consequences, Interest, Told as ToldEvents};
use crate::queue::hooks::{HooksTurn, Told};
use crate::queue::retired;
use crate::queue::returned::{self, FoundBy, RETURNED_MAX, Returned, TakenReturned};
use crate::queue::suppression::{self, Suppressed};
use crate::queue::unsubscribe::{self, Link};
use crate::queue::warm_up::{Counts, WarmUpAsk, WarmUpKey, day_of};
use crate::settings::AccountName;
use crate::store::{self, StoreError};

impl PerCore {
    /// The shard of an account of this core.
    pub(super) fn shard_of_account(&self, account: AccountName) -> Result<&Rc<Shard>, StoreError> {
        let shard = shard_of(account.as_str().as_bytes(), self.shard_count);
        self.own_shard(shard.0)
    }

    /// Takes events, each once; durable, and known to all cores, when it returns.
    pub(super) async fn take_events(
        self: &Rc<Self>,
        account: AccountName,
        told: &ToldEvents,
    ) -> Result<(), StoreError> {
        let shard = self.shard_of_account(account)?.clone();
        // Of an account that is gone nothing is kept.
        let (hooks, interest) = self.turn_of(account).await?;
        let now = self.wall_clock();
        let (done, taken) = events::take(&shard, &hooks, interest, told, now).await;
        self.tell_consequences(account, done).await;
        taken
    }

    /// Takes what came back about an account's mail; durable, and known to all cores, when it returns.
    pub(super) async fn take_returned(
        self: &Rc<Self>,
        account: AccountName,
        all: &[Returned],
    ) -> Result<Vec<TakenReturned>, StoreError> {
        if all.len() > RETURNED_MAX {
            return Err(StoreError::Limit("too much came back at once"));
        }
        let shard = self.shard_of_account(account)?.clone();
        let (hooks, interest) = match self.turn_of(account).await {
            // Of an account that is gone nothing is kept, and nobody waits for its mail.
            Err(StoreError::AccountGone) => return Ok(vec![TakenReturned::Nothing; all.len()]),
            turn => turn?,
        };
        let now = self.wall_clock();
        let taken = returned::take(&shard, &hooks, interest, all, now).await?;
        let _ = point("queue.returned");
        for (one, found) in all.iter().zip(&taken.found) {
            if found.is_new {
                let kind = ("kind", one.kind.word());
                let matched = ("matched", found.by.map_or("nothing", FoundBy::word));
                self.metrics
                    .count("ringmail_queue_returned_total", labels(kind, matched));
            }
        }
        self.tell_consequences(account, taken.done).await;
        Ok(taken.found.iter().map(|found| found.taken).collect())
    }

    /// Tells others of what is durable. A complaint that is told once and lost on the way is one less in a day's count.
    async fn tell_consequences(self: &Rc<Self>, account: AccountName, done: Consequences) {
        for endpoint in &done.hooked {
            self.queue.hooks.wake(account.as_str(), *endpoint);
        }
        self.tell_suppressions(account, done.listed).await;
        let day = day_of(self.wall_clock());
        let mut complaints: BTreeMap<WarmUpKey, u32> = BTreeMap::new();
        for key in done.complaints {
            *complaints.entry(key).or_default() += 1;
        }
        for (key, complaints) in complaints {
            let counts = Counts {
                complaints,
                ..Counts::default()
            };
            self.warm_up(WarmUpAsk {
                key,
                wanted: 0,
                unused: 0,
                day,
                counts,
            })
            .await;
        }
    }

    /// The right to change what is kept of an account, and what its settings want of it, but for what would make a list too long. The settings are looked
    /// at behind the turn: whoever removes an account takes it once, and nothing is written afterwards.
    async fn turn_of(&self, account: AccountName) -> Result<(HooksTurn, Interest), StoreError> {
        let interest = self.interest_in(account)?;
        if interest.suppresses {
            self.know_suppressions(account).await?;
        }
        let turn = self.queue.hooks.turn(account.as_str()).await;
        let mut interest = self.interest_in(account)?;
        if interest.suppresses && self.list_is_full(account) {
            tracing::warn!(%account, "the suppression list is full: nothing is added to it; remove some addresses");
            interest.suppresses = false;
        }
        Ok((turn, interest))
    }

    pub(super) fn interest_in(&self, account: AccountName) -> Result<Interest, StoreError> {
        let interest = self.queue.interest(account.as_str());
        interest.ok_or(StoreError::AccountGone)
    }

    fn list_is_full(&self, account: AccountName) -> bool {
        let count = self.queue.lists.count(account.as_str());
        count.is_some_and(|count| count >= suppression::ADDRESSES_MAX)
    }

    pub(super) async fn suppression_hashes(
        &self,
        account: AccountName,
    ) -> Result<(Vec<u64>, Told), StoreError> {
        // First what may be changed without a turn of ours: whoever changes it tells it with a version.
        let told = self.hooks_told(account).await?;
        let hashes = suppression::hashes(self.shard_of_account(account)?, account.as_str()).await?;
        Ok((hashes, told))
    }

    /// Why nothing is sent to these addresses.
    pub(super) async fn suppressed(
        &self,
        account: AccountName,
        addresses: &[String],
    ) -> Result<Vec<Option<String>>, StoreError> {
        let shard = self.shard_of_account(account)?;
        let now = self.wall_clock();
        let mut reasons = Vec::with_capacity(addresses.len());
        for address in addresses {
            let row = suppression::find(shard, account.as_str(), address).await?;
            let in_force = row.as_ref().and_then(|row| row.in_force(now));
            reasons.push(in_force.map(|suppressed| suppressed.reason.clone()));
        }
        Ok(reasons)
    }

    pub(super) async fn suppression(
        &self,
        account: AccountName,
        address: &str,
    ) -> Result<ControlAnswer, StoreError> {
        let shard = self.shard_of_account(account)?;
        let row = suppression::find(shard, account.as_str(), address).await?;
        Ok(ControlAnswer::Suppression(row))
    }

    /// What an operator does to a list: durable, and known to all cores that answer, when it returns.
    pub(super) async fn change_suppression(
        self: &Rc<Self>,
        account: AccountName,
        address: &str,
        (to, replaces): (Option<Suppressed>, bool),
    ) -> Result<ControlAnswer, StoreError> {
        let shard = self.shard_of_account(account)?.clone();
        if to.is_some() {
            self.know_suppressions(account).await?;
        }
        let hooks = self.queue.hooks.turn(account.as_str()).await;
        self.interest_in(account)?;
        if to.is_some() && self.list_is_full(account) {
            return Err(StoreError::Limit("the suppression list is full"));
        }
        let now = self.wall_clock();
        let (was, changes) =
            suppression::change(&shard, &hooks, address, (to, replaces), now).await?;
        let silent = self.tell_suppressions(account, changes).await;
        Ok(ControlAnswer::SuppressionChanged(was, silent))
    }

    /// The mark of an account's life; made if there is none.
    pub(super) async fn own_life(&self, account: AccountName) -> Result<u64, StoreError> {
        let shard = self.shard_of_account(account)?.clone();
        self.interest_in(account)?;
        if let Some(life) = unsubscribe::life(&shard, account.as_str()).await? {
            return Ok(life);
        }
        let turn = self.queue.hooks.turn(account.as_str()).await;
        // Behind the turn: whoever removes an account takes it once.
        self.interest_in(account)?;
        unsubscribe::begin_life(&shard, &turn).await
    }

    /// Whose a link to unsubscribe is, unless that account is gone; another one of its name is not meant.
    pub(super) async fn link_holds(&self, link: &Link) -> Result<AccountName, StoreError> {
        let account: AccountName = link.account.parse().map_err(|_| StoreError::AccountGone)?;
        self.interest_in(account)?;
        let shard = self.shard_of_account(account)?;
        if link.life.is_some() && unsubscribe::life(shard, account.as_str()).await? != link.life {
            return Err(StoreError::AccountGone);
        }
        Ok(account)
    }

    /// A reader wants no more mail from an account: durable, and known to all cores, when it returns.
    pub(super) async fn unsubscribe(self: &Rc<Self>, link: &Link) -> Result<(), StoreError> {
        let account = self.link_holds(link).await?;
        self.know_suppressions(account).await?;
        let shard = self.shard_of_account(account)?.clone();
        let hooks = self.queue.hooks.turn(account.as_str()).await;
        let interest = self.interest_in(account)?;
        // Once more: it may have been removed before the turn came, and another one added.
        self.link_holds(link).await?;
        if self.list_is_full(account) {
            return Err(StoreError::Limit("the suppression list is full"));
        }
        let now = self.wall_clock();
        let (was, done) = suppression::unsubscribe(&shard, &hooks, interest, link, now).await?;
        self.tell_consequences(account, done).await;
        drop(hooks);
        self.count(
            "ringmail_unsubscribed_total",
            if was { "again" } else { "new" },
        );
        Ok(())
    }

    /// Removes what is old, now and every hour.
    pub(super) fn prune_events(self: &Rc<Self>) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            loop {
                let (now, hooks) = (core.wall_clock(), &core.queue.hooks);
                for shard in &core.shards {
                    let pruned = async {
                        events::prune(shard, now - events::REMEMBERED).await?;
                        let kept = |account: &str| {
                            let interest = core.queue.interest(account);
                            interest.map_or(0, |interest| interest.keeps_retired_secs)
                        };
                        retired::prune(shard, hooks, (now, retired::RETIRED_MAX), kept).await?;
                        let kept = |account: &str| {
                            let interest = core.queue.interest(account)?;
                            let secs = i64::try_from(interest.keeps_retired_secs);
                            Some(secs.unwrap_or(i64::MAX).max(batch::REMEMBERED))
                        };
                        batch::prune(shard, now, kept).await?;
                        suppression::prune(shard, hooks, now).await
                    };
                    if let Err(error) = pruned.await {
                        tracing::warn!(shard = %shard.id(), %error, "old rows of events stay for another hour");
                    }
                }
                rt::sleep(PRUNE_EVERY).await;
            }
        });
    }
}

impl PerCore {
    /// Removes what was answered long enough ago, now and every ten minutes.
    pub(super) fn prune_answered(self: &Rc<Self>) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            let mut ends = vec![Vec::new(); core.shards.len()];
            loop {
                let kept = {
                    let live = core.live();
                    live.settings.server.limits.http.idempotency_secs.duration()
                };
                let before = core.wall_clock().saturating_sub_unsigned(kept.as_secs());
                for (shard, end) in core.shards.iter().zip(&mut ends) {
                    if let Err(error) = store::prune_answered(shard, before, end).await {
                        tracing::warn!(shard = %shard.id(), %error, "old requests of the API stay for a while");
                    }
                }
                rt::sleep(PRUNE_ANSWERED_EVERY).await;
            }
        });
    }
}

const PRUNE_ANSWERED_EVERY: Duration = Duration::from_secs(600);
pub(super) const PRUNE_EVERY: Duration = Duration::from_secs(3600);
