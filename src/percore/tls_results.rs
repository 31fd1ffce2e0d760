//! How TLS went, on its way from whoever sends to the rows of reports: gathered for a minute, then handed to the owners of the domains.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use shards::rt::{self, Turns};
use shards::{ShardId, shard_of};
use tls_rpt::{Day, PolicyResult, Tally};

use super::{PerCore, ROOM, wall_clock};
use crate::calls::{Answer, Call};
use crate::metrics::NONE;
use crate::store::StoreError;
use crate::tls_policy::{BATCH_MAX, Gathered, ResultBatch, ResultOwner, Wanted, stored_results};

/// Results on one core: what it has gathered, and what it keeps for the domains of its shards.
#[derive(Default)]
pub struct TlsResults {
    gathered: RefCell<Gathered>,
    /// Batches that were not taken yet, by shard.
    outgoing: RefCell<BTreeMap<u16, VecDeque<ResultBatch>>>,
    number: Cell<u64>,
    is_writing: Cell<bool>,
    writes: Rc<Turns>,
    owner: ResultOwner,
}

impl PerCore {
    /// Notes what a session says of a policy, for the report of the domain that has it.
    pub fn note_tls(self: &Rc<Self>, result: PolicyResult) {
        let domain = result.policy.policy_domain.clone();
        self.note_tls_for(&domain, result);
    }

    /// The same, for another domain's report.
    pub fn note_tls_for(self: &Rc<Self>, policy_domain: &str, result: PolicyResult) {
        let results = &self.tls_results;
        let day = Day::of(wall_clock().max(0) as u64);
        if !results
            .gathered
            .borrow_mut()
            .add(policy_domain, day, result)
        {
            self.metrics.count(LOST, NONE);
        }
        if results.is_writing.replace(true) {
            return;
        }
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            while core.tls_results.is_writing.get() {
                rt::sleep(EVERY).await;
                core.write_tls_results().await;
                let results = &core.tls_results;
                let is_done =
                    results.gathered.borrow().is_empty() && results.outgoing.borrow().is_empty();
                results.is_writing.set(!is_done);
            }
        });
    }

    /// Hands over what was gathered.
    pub async fn write_tls_results(&self) {
        let results = &self.tls_results;
        let _turn = results.writes.take(1).await;
        let shard_count = self.shard_count;
        let taken = results.gathered.borrow_mut().take(|domain| {
            let ShardId(shard) = shard_of(domain.as_bytes(), shard_count);
            shard
        });
        for (shard, tallies) in taken {
            self.queue_tls_results(shard, tallies);
        }
        let shards: Vec<u16> = results.outgoing.borrow().keys().copied().collect();
        for shard in shards {
            self.hand_over(shard).await;
        }
    }

    fn queue_tls_results(&self, shard: u16, mut tallies: Vec<Tally>) {
        let results = &self.tls_results;
        let mut outgoing = results.outgoing.borrow_mut();
        let line = outgoing.entry(shard).or_default();
        while !tallies.is_empty() {
            let rest = tallies.split_off(tallies.len().min(BATCH_MAX));
            results.number.set(results.number.get() + 1);
            if line.len() >= OUTGOING_MAX {
                self.metrics.add(LOST, NONE, tallies.len() as i64);
            } else {
                line.push_back(ResultBatch {
                    shard,
                    core: self.id.0,
                    number: results.number.get(),
                    tallies,
                });
            }
            tallies = rest;
        }
    }

    /// One batch after the other; one that was not taken for certain is repeated with the next.
    async fn hand_over(&self, shard: u16) {
        loop {
            let next = {
                let mut outgoing = self.tls_results.outgoing.borrow_mut();
                let next = outgoing.get(&shard).and_then(|line| line.front().cloned());
                if next.is_none() {
                    outgoing.remove(&shard);
                }
                next
            };
            let Some(batch) = next else { return };
            let owner = self.owner_of_shard(shard);
            match self.call(owner, Call::TlsResults(Box::new(batch))).await {
                Ok(Answer::Done(Ok(()))) => (),
                _ => return,
            }
            let mut outgoing = self.tls_results.outgoing.borrow_mut();
            outgoing.get_mut(&shard).map(VecDeque::pop_front);
        }
    }

    /// Serves `Call::TlsResults`.
    pub(crate) async fn keep_tls_results(&self, batch: ResultBatch) -> Result<(), StoreError> {
        let most = self
            .live()
            .settings
            .server
            .tls_policy
            .results_domains_per_day_max;
        let shard = self.results_shard(batch.shard)?;
        self.tls_results
            .owner
            .merge(&shard, batch, most.into())
            .await
    }

    /// Results kept in a shard of this core.
    pub(crate) async fn stored_tls_results(
        &self,
        shard: u16,
        wanted: &Wanted,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<(Vec<Tally>, Option<Vec<u8>>), StoreError> {
        stored_results(&self.results_shard(shard)?, wanted, after, limit).await
    }

    /// Removes what is too old, now and every hour.
    pub(crate) fn prune_tls_results(self: &Rc<Self>) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            loop {
                let days = core.live().settings.server.tls_policy.results_kept_days;
                let today = Day::of(wall_clock().max(0) as u64);
                let first = Day(today.0.saturating_sub(days));
                for shard in &core.shards {
                    if let Err(error) = core.tls_results.owner.prune(shard, first).await {
                        tracing::warn!(shard = %shard.id(), %error, "old results of TLS stay for now");
                    }
                }
                rt::sleep(PRUNE_EVERY).await;
            }
        });
    }

    /// Results that there was no room for at their owner, for whoever scrapes.
    pub(crate) fn tls_results_lost(&self) -> u64 {
        self.tls_results.owner.lost()
    }

    fn results_shard(&self, number: u16) -> Result<Rc<shards::storage::Shard>, StoreError> {
        let found = self.shards.iter().find(|s| s.id().0 == number).cloned();
        found.ok_or(StoreError::NotAllowed("this core does not own the shard"))
    }
}

/// Results that are in no report.
pub(crate) const LOST: &str = "ringmail_tls_results_lost_total";
/// How long results are gathered.
const EVERY: Duration = Duration::from_secs(60);
/// Batches of a shard that wait while it takes none.
const OUTGOING_MAX: usize = 100;
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
