//! What outgoing connections must hold to, for whoever sends: asked of the core that owns a domain, and remembered here for a moment.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns::{Name, tlsa_records};
use futures_lite::future;
use shards::rt::{self, FairTurns};
use shards::{ShardId, shard_of};

use super::{PerCore, ROOM, monotonic, wall_clock};
use crate::calls::{Answer, Call};
use crate::metrics::label;
use crate::settings::Secs;
use crate::store::StoreError;
use crate::tls_policy::{
    Demands, Flights, Purpose, Refusal, Requirement, Shown, StoredPolicy, StsAnswer, StsOwner,
    Target, Ways, decide, demands, show, stored_policies,
};

/// Policies of other domains on one core: what it owns, and what it has asked of others.
#[derive(Default)]
pub struct TlsPolicies {
    owner: StsOwner,
    near: RefCell<HashMap<Name, (StsAnswer, Instant)>>,
    /// Octets of what was put there since it was last emptied, about.
    near_bytes: Cell<usize>,
    asked: Rc<Flights<StsAnswer>>,
    /// Apart, for an answer that is remembered somewhere would not do.
    asked_anew: Rc<Flights<StsAnswer>>,
    /// Accounts share them: an answer may wait for a policy host.
    calls: Rc<FairTurns<String>>,
    /// When a policy was looked at again since it would fail mail.
    looked_anew: RefCell<HashMap<Name, Instant>>,
}

impl TlsPolicies {
    fn remember(&self, domain: &Name, answer: &StsAnswer) {
        let mut near = self.near.borrow_mut();
        let octets = match answer {
            // It keeps the policy, whose owner may have forgotten it.
            StsAnswer::Policy(policy, _) => 4 * policy.text().len() + 128 * policy.mx().len(),
            StsAnswer::None(_) | StsAnswer::Unknown(..) => 0,
            StsAnswer::Wait(_) => return drop(near.remove(domain)),
        };
        let bytes = self.near_bytes.get() + octets;
        let is_full = near.len() >= NEAR_MAX || bytes > NEAR_BYTES_MAX;
        if is_full {
            near.clear();
        }
        self.near_bytes.set(if is_full { octets } else { bytes });
        near.insert(domain.clone(), (answer.clone(), monotonic() + NEAR));
    }
}

impl PerCore {
    /// What a domain says by MTA-STS about connections to its mail hosts, for an account's mail. The domain is that of the recipient, not what it is an alias of
    /// (RFC 8461 3.4).
    pub async fn sts(self: &Rc<Self>, domain: &Name, account: &str) -> StsAnswer {
        let policies = &self.tls_policies;
        let near = policies.near.borrow().get(domain).cloned();
        match near {
            Some((answer, until)) if monotonic() < until => answer,
            _ => self.ask_sts(domain, account, Purpose::Use).await,
        }
    }

    /// The same, and its record is looked at again whatever is known: RFC 8461 5.1 has this done before mail is failed for good because of a
    /// policy.
    pub async fn sts_anew(self: &Rc<Self>, domain: &Name, account: &str) -> StsAnswer {
        let answer = self.ask_sts(domain, account, Purpose::Anew).await;
        let mut looked = self.tls_policies.looked_anew.borrow_mut();
        if looked.len() >= NEAR_MAX {
            looked.clear();
        }
        looked.insert(domain.clone(), monotonic());
        answer
    }

    /// Whether that was done just now.
    pub fn is_sts_anew(&self, domain: &Name) -> bool {
        let looked = self.tls_policies.looked_anew.borrow();
        looked.get(domain).is_some_and(|at| at.elapsed() < NEAR)
    }

    /// What a connection to a mail host must hold to, or why the host must not be used now.
    pub async fn requirement(
        self: &Rc<Self>,
        target: &Target,
        account: &str,
    ) -> Result<Requirement, Refusal> {
        let looks_for_tlsa = target.way_is_authentic && self.live().settings.server.tls_policy.dane;
        let tlsa = async {
            match looks_for_tlsa {
                true => tlsa_records(&self.resolver, &target.host, target.port).await,
                false => Ok(None),
            }
        };
        // Where there are TLSA records the policy is for reports alone, and is looked for all the same.
        let (tlsa, sts) = future::zip(tlsa, self.sts(&target.domain, account)).await;
        let decided = decide(target, &tlsa, &sts);
        let word = match &decided {
            Ok(requirement) => requirement.ground.as_str(),
            Err(refusal) => refusal.cause.as_str(),
        };
        self.metrics
            .count("ringmail_tls_requirements_total", label("ground", word));
        decided
    }

    /// What would be demanded of the hosts of a domain.
    pub(crate) async fn tls_demands(self: &Rc<Self>, domain: &Name) -> Demands {
        let live = self.live();
        let settings = &live.settings.server.tls_policy;
        let found = demands(&self.resolver, settings, domain, self.sts(domain, ""));
        let found = rt::timeout(SHOWN_LIMIT, found).await;
        found.unwrap_or_else(|_| Demands {
            result: "error",
            error: Some(format!("not within {} s", SHOWN_LIMIT.as_secs())),
            ..Demands::default()
        })
    }

    async fn ask_sts(self: &Rc<Self>, domain: &Name, account: &str, purpose: Purpose) -> StsAnswer {
        if !self.live().settings.server.tls_policy.mta_sts {
            return StsAnswer::None(None);
        }
        let policies = &self.tls_policies;
        let work = || {
            let (core, domain, account) = (self.clone(), domain.clone(), account.to_owned());
            async move {
                let most = core.live().settings.server.cores.lane_calls_max as usize / CALLS_SHARE;
                let turn = core.tls_policies.calls.take(&account, most);
                let Ok(_turn) = rt::timeout(core.call_limit(), turn).await else {
                    return StsAnswer::Wait(BUSY.into());
                };
                let owner = core.owner_of_shard(core.shard_of_domain(&domain));
                let call = Call::Sts {
                    domain: domain.clone(),
                    account: account.clone(),
                    anew: purpose == Purpose::Anew,
                };
                match core.call(owner, call).await {
                    Ok(Answer::Sts(answer)) => answer,
                    // The fetch goes on, and the next attempt finds what came of it.
                    _ => StsAnswer::Wait(format!(
                        "the policy of MTA-STS of {domain} is being looked for"
                    )),
                }
            }
        };
        let asked = match purpose {
            Purpose::Anew => &policies.asked_anew,
            _ => &policies.asked,
        };
        let answer = asked.join(domain, ASKED_MAX, work).await;
        let answer = answer.unwrap_or_else(|| StsAnswer::Wait(BUSY.into()));
        policies.remember(domain, &answer);
        answer
    }

    /// The shard with what is kept of a domain that is not ours.
    pub fn shard_of_domain(&self, domain: &Name) -> u16 {
        let ShardId(shard) = shard_of(domain.as_str().as_bytes(), self.shard_count);
        shard
    }

    /// Serves `Call::Sts`.
    pub(crate) async fn own_sts(&self, domain: &Name, account: String, anew: bool) -> StsAnswer {
        let purpose = if anew { Purpose::Anew } else { Purpose::Use };
        match self.sts_ways(self.shard_of_domain(domain), account) {
            Some(ways) => self.tls_policies.owner.ask(ways, domain, purpose).await,
            None => StsAnswer::Wait("this core does not own the domain".into()),
        }
    }

    fn sts_ways(&self, shard: u16, account: String) -> Option<Ways> {
        let live = self.live();
        Some(Ways {
            resolver: self.resolver.clone(),
            roots: live.authorities.clone(),
            settings: live.settings.server.tls_policy.clone(),
            shard: self.shards.iter().find(|s| s.id().0 == shard)?.clone(),
            now: wall_clock,
            account,
        })
    }

    /// Keeps what is stored of policies in order from now on.
    pub(crate) fn tend_tls_policies(self: &Rc<Self>) {
        let core = self.clone();
        rt::spawn(&ROOM, async move {
            loop {
                for shard in &core.shards {
                    let id = shard.id();
                    let ways = || {
                        core.sts_ways(id.0, String::new())
                            .expect("a shard of this core")
                    };
                    if let Err(error) = core.tls_policies.owner.sweep(ways).await {
                        tracing::warn!(shard = %id, %error, "policies of MTA-STS are not refreshed for now");
                    }
                }
                rt::sleep(SWEEP_EVERY).await;
            }
        });
    }

    /// What a domain says now, whatever is remembered.
    pub(crate) async fn show_sts(&self, domain: &Name) -> Shown {
        let live = self.live();
        let mut settings = live.settings.server.tls_policy.clone();
        // Who asks waits for this core no longer.
        settings.fetch_timeout_secs = settings.fetch_timeout_secs.min(Secs(SHOWN_LIMIT));
        show(&self.resolver, &live.authorities, &settings, domain).await
    }

    /// Policies kept in a shard of this core.
    pub(crate) async fn stored_sts(
        &self,
        shard: u16,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<(Vec<StoredPolicy>, Option<Name>), StoreError> {
        stored_policies(&self.sts_shard(shard)?, after, limit).await
    }

    /// Forgets a policy; whether there was one.
    pub(crate) async fn remove_sts(&self, domain: &Name) -> Result<bool, StoreError> {
        let shard = self.sts_shard(self.shard_of_domain(domain))?;
        self.tls_policies.near.borrow_mut().remove(domain);
        self.tls_policies.owner.remove(&shard, domain).await
    }

    fn sts_shard(&self, number: u16) -> Result<Rc<shards::storage::Shard>, StoreError> {
        let found = self.shards.iter().find(|s| s.id().0 == number).cloned();
        found.ok_or(StoreError::NotAllowed("this core does not own the shard"))
    }

    /// Counters, to be scraped.
    pub(crate) fn tls_policy_samples(&self) -> crate::metrics::Samples {
        self.tls_policies.owner.metrics().samples()
    }

    /// How long fetches of policies took.
    pub(crate) fn tls_policy_durations(&self) -> crate::metrics::DurationSamples {
        self.tls_policies.owner.durations().samples()
    }

    /// The authorities that other servers' certificates are verified by.
    pub fn authorities(&self) -> Arc<rustls::RootCertStore> {
        self.live().authorities.clone()
    }
}

const BUSY: &str = "too many policies of MTA-STS are being looked for";
/// How long whoever looks waits, less than for a call from outside.
const SHOWN_LIMIT: Duration = Duration::from_secs(25);
/// How long a core remembers what another said; a policy that was changed or removed holds so much longer.
const NEAR: Duration = Duration::from_secs(60);
/// Domains it remembers that of.
const NEAR_MAX: usize = 10_000;
const NEAR_BYTES_MAX: usize = 16 << 20;
/// Domains that are being asked about.
const ASKED_MAX: usize = 4096;
/// One in so many of a core's calls may be about policies: they may wait for a policy host.
const CALLS_SHARE: usize = 4;
const SWEEP_EVERY: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_others_is_bounded() {
        let policies = TlsPolicies::default();
        let name = |n: usize| Name::parse(&format!("d{n}.example")).unwrap();
        let kept = || policies.near.borrow().len();
        for n in 0..2 * NEAR_MAX {
            policies.remember(&name(n), &StsAnswer::None(None));
            assert!(kept() <= NEAR_MAX && kept() > 0);
        }
        let long = format!(
            "version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 9\nx: {}\n",
            "x".repeat(60_000)
        );
        let policy = Arc::new(mta_sts::Policy::parse(long.as_bytes()).unwrap());
        for n in 0..200 {
            policies.remember(&name(n), &StsAnswer::Policy(policy.clone(), None));
            assert!(policies.near_bytes.get() <= NEAR_BYTES_MAX);
        }
        assert!(
            Arc::strong_count(&policy) < 100,
            "{}",
            Arc::strong_count(&policy)
        );
        policies.remember(&name(199), &StsAnswer::Wait("x".into()));
        assert!(!policies.near.borrow().contains_key(&name(199)));
    }
}
