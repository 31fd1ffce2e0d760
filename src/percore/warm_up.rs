//! What an address of a pool may still send to a site today: asked of the owner of the hash of both, who keeps it in a row of that shard.
//! A lot is durable as given out before anything of it is sent, so that a stop leads to less than is allowed, never to more.
//! Called by `outbound`, `handle`. Not here: how much, and what is made of a day (`queue::warm_up`).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use shards::faults::point;
use shards::rt::{self, Turn, Turns};
use shards::storage::{Batch, Shard};
use shards::{ShardId, shard_of};

use super::{PerCore, ROOM, wall_clock};
use crate::calls::{Answer, Call};
use crate::queue::sites::{SiteLimits, member_of_key};
use crate::queue::warm_up::{State, WarmUpAsk, WarmUpKey, WarmUpPage, day_of};
use crate::store::rows::{WARM_UPS, decode, encode};
use crate::store::{StoreError, readable};

/// The rows of this core's shards: of each one change after the other, of many together, for they share syncs.
pub struct WarmUps {
    /// By the hash of a row's key.
    changes: [Rc<Turns>; CHANGES],
}

impl Default for WarmUps {
    fn default() -> Self {
        WarmUps {
            changes: std::array::from_fn(|_| Rc::default()),
        }
    }
}

impl WarmUps {
    async fn changing(&self, key: &WarmUpKey) -> Turn {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.changes[hasher.finish() as usize % CHANGES]
            .take(1)
            .await
    }
}

impl PerCore {
    /// Bounds of the connections of an address, if a site's name is that of one.
    pub(crate) fn member_limits(&self, name: &str) -> Option<SiteLimits> {
        let (pool, member) = member_of_key(name)?;
        let live = self.live();
        let pool = live.settings.server.pool.get(pool);
        let most = pool
            .and_then(|pool| pool.member.get(member))
            .and_then(|member| member.connections_max)
            .unwrap_or(1);
        Some(SiteLimits {
            at_first: most,
            most,
            pause_first: Duration::ZERO,
            pause_max: Duration::ZERO,
            rate: None,
        })
    }

    /// Recipients that may be sent to now; none if nobody can say so now.
    pub async fn warm_up(&self, ask: WarmUpAsk) -> Option<u32> {
        let ShardId(shard) = shard_of(&ask.key.to_bytes(), self.shard_count);
        let call = Call::WarmUp {
            shard,
            ask: Box::new(ask),
        };
        match self.call(self.owner_of_shard(shard), call).await {
            Ok(Answer::Given(Ok(given))) => Some(given),
            _ => None,
        }
    }

    /// Serves `Call::WarmUp`.
    pub(crate) async fn own_warm_up(&self, shard: u16, ask: WarmUpAsk) -> Result<u32, StoreError> {
        let shard = self.warm_up_shard(shard)?;
        let rules = self.live().settings.server.warm_up.clone();
        let _turn = self.warm_ups.changing(&ask.key).await;
        let today = day_of(wall_clock());
        let stored = read(&shard, &ask.key).await?;
        let mut state = match &stored {
            Some(stored) => stored.clone(),
            None => State::new(&rules, today),
        };
        let before = state.judgements.last().copied();
        state.advance(&rules, today);
        state.settle(ask.unused, ask.day, ask.counts);
        let given = state.give(ask.wanted);
        if stored.as_ref() != Some(&state) {
            write(&shard, &ask.key, Some(&state)).await?;
        }
        let _ = point("queue.warmed_up");
        if let Some(judged) = state.judgements.last().filter(|j| Some(**j) != before) {
            let WarmUpKey { pool, member, site } = &ask.key;
            tracing::info!(
                pool,
                member,
                site,
                sent = judged.counts.sent(),
                deferred = judged.counts.deferred,
                complaints = judged.counts.complaints,
                before = judged.before,
                after = judged.after,
                verdict = %judged.verdict,
                "a day of an address was judged"
            );
        }
        Ok(given)
    }

    /// What is kept in a shard of this core.
    pub(crate) async fn stored_warm_ups(
        &self,
        shard: u16,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<WarmUpPage, StoreError> {
        let shard = self.warm_up_shard(shard)?;
        let from = after.map_or(WARM_UPS.to_vec(), |after| [&after[..], &[0]].concat());
        let rows = shard.scan(WARM_UPS.to_vec(), from, limit).await?;
        let next = (rows.len() == limit).then(|| rows.last().map(|(key, _)| key.clone()));
        let found = rows.into_iter().filter_map(|(key, row)| {
            let of = WarmUpKey::of_bytes(&key[WARM_UPS.len()..])?;
            let state = decode::<State>(&row, || "a warm-up".to_owned());
            Some((of, readable(&shard, &key, state).ok()??))
        });
        Ok((found.collect(), next.flatten()))
    }

    /// Removes what says nothing any more, now and every day: the address would begin again there.
    pub(crate) fn prune_warm_ups(self: &Rc<Self>) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            loop {
                for shard in core.shards.clone() {
                    if let Err(error) = core.prune_warm_ups_of(&shard).await {
                        tracing::warn!(shard = %shard.id(), %error, "old warm-ups stay for now");
                    }
                }
                rt::sleep(PRUNE_EVERY).await;
            }
        });
    }

    async fn prune_warm_ups_of(&self, shard: &Rc<Shard>) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let (page, next) = self
                .stored_warm_ups(shard.id().0, after, PRUNE_PAGE)
                .await?;
            for (key, state) in page {
                if !state.is_forgotten(day_of(wall_clock())) {
                    continue;
                }
                let _turn = self.warm_ups.changing(&key).await;
                // It may have been used meanwhile.
                let now = readable(shard, &row_key(&key), read(shard, &key).await)?.flatten();
                if now.is_some_and(|now| now.is_forgotten(day_of(wall_clock()))) {
                    write(shard, &key, None).await?;
                }
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn warm_up_shard(&self, number: u16) -> Result<Rc<Shard>, StoreError> {
        let found = self.shards.iter().find(|s| s.id().0 == number).cloned();
        found.ok_or(StoreError::NotAllowed("this core does not own the shard"))
    }
}

async fn read(shard: &Rc<Shard>, key: &WarmUpKey) -> Result<Option<State>, StoreError> {
    let row = shard.get(row_key(key)).await?;
    let state = row.map(|row| decode(&row, || format!("the warm-up of {key}")));
    state.transpose()
}

/// Durable when it returns; without a state, the row goes.
async fn write(
    shard: &Rc<Shard>,
    key: &WarmUpKey,
    state: Option<&State>,
) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    let row = state.map(encode);
    let permit = shard
        .permit(row.as_ref().map_or(0, Vec::len) + 2_000, false, PATIENCE)
        .await?;
    match row {
        Some(row) => batch.put(row_key(key), row),
        None => batch.delete(row_key(key)),
    }
    shard.commit(permit, batch).await?;
    Ok(())
}

fn row_key(key: &WarmUpKey) -> Vec<u8> {
    [WARM_UPS, &key.to_bytes()].concat()
}

/// Rows that are changed at once.
const CHANGES: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);
const PRUNE_PAGE: usize = 500;
