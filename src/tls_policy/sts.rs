//! Policies of MTA-STS, on the core that owns the domain's hash: found, kept, refreshed, forgotten. What to do when is `mta_sts::Entry`'s to
//! say; here it is done. RFC 8461 3, 5.1.
//! Not here: asking the owner from another core (`percore/tls_policy.rs`), what follows from a policy (`requirement.rs`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use dns::{Lookup, Name};
use mta_sts::{Entry, FetchError, Mode, Policy, Problem, Record, RecordError, Step, record_name};
use rustls::RootCertStore;
use serde::Serialize;
use shards::rt::{self, FairTurns, Turns};
use shards::storage::Shard;

use super::fetch::Way;
use super::flights::Flights;
use super::sts_rows;
use crate::lookup::Resolver;
use crate::metrics::{Durations, Metrics, NONE, label};
use crate::settings::TlsPolicy;
use crate::store::StoreError;

/// What a domain says by MTA-STS.
#[derive(Clone, Debug)]
pub enum StsAnswer {
    /// Nothing that binds. If something is wrong there, reports say it.
    None(Option<Problem>),
    /// This policy, in mode enforce or testing; if the newest could not be had, reports say it.
    Policy(Arc<Policy>, Option<Problem>),
    /// None is in force, and whether there is one cannot be found out now, in words; reports say it. RFC 8461 10.2: nothing binds, but a message that
    /// needs a policy waits.
    Unknown(String, Option<Problem>),
    /// One may be in force, and nobody can say now: mail must wait. In words.
    Wait(String),
}

/// Why the owner is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A message is about to go.
    Use,
    /// The same, and the record is looked at again whatever is known: before mail is failed for good because of a policy (RFC 8461 5.1).
    Anew,
    /// Nobody waits: the policy gets older.
    Refresh,
}

/// What the owner works with, as it is in force now.
#[derive(Clone)]
pub struct Ways {
    /// Looks names up.
    pub resolver: Resolver,
    /// Authorities of policy hosts.
    pub roots: Arc<RootCertStore>,
    /// `[tls_policy]`.
    pub settings: TlsPolicy,
    /// Where the domain's row is.
    pub shard: Rc<Shard>,
    /// Seconds since 1970.
    pub now: fn() -> i64,
    /// For whose mail; empty: nobody's.
    pub account: String,
}

/// What is known of the domains of one core.
#[derive(Clone, Default)]
pub struct StsOwner(Rc<Inner>);

#[derive(Default)]
struct Inner {
    known: RefCell<HashMap<Name, Known>>,
    /// Octets of `known`, about.
    known_bytes: Cell<usize>,
    flights: Rc<Flights<StsAnswer>>,
    /// How many of them are for an account's mail.
    of_account: RefCell<HashMap<String, usize>>,
    /// Accounts share them, so that hosts that say nothing hold up only the mail for them.
    fetches: Rc<FairTurns<String>>,
    refreshes: Rc<Turns>,
    /// Rows by shard, as far as they were counted.
    stored: RefCell<HashMap<u16, u64>>,
    metrics: Metrics,
    durations: Durations,
}

#[derive(Clone, Default)]
struct Known {
    entry: Entry,
    /// That of the entry, for other cores.
    policy: Option<Arc<Policy>>,
    problem: Option<Problem>,
    /// What the row has of `used_secs`; none: there is no row.
    stored_used_secs: Option<u64>,
}

impl Known {
    fn of(entry: Option<Entry>) -> Known {
        Known {
            stored_used_secs: entry.as_ref().map(|entry| entry.used_secs),
            policy: entry
                .as_ref()
                .and_then(|e| Some(Arc::new(e.fetched.as_ref()?.policy.clone()))),
            entry: entry.unwrap_or_default(),
            problem: None,
        }
    }

    fn answer(&self, step: &Step, domain: &Name) -> StsAnswer {
        match (step, &self.policy) {
            (Step::Apply { .. }, Some(policy)) => {
                StsAnswer::Policy(policy.clone(), self.problem.clone())
            }
            (Step::NoPolicy, _) => StsAnswer::None(self.problem.clone()),
            _ => {
                let words =
                    format!("whether {domain} has a policy of MTA-STS cannot be found out now");
                StsAnswer::Unknown(words, self.problem.clone())
            }
        }
    }

    fn bytes(&self) -> usize {
        // Twice: in the entry, and for other cores. And its patterns.
        let policy = self.policy.as_ref();
        400 + policy.map_or(0, |p| 4 * p.text().len() + 128 * p.mx().len())
    }
}

impl StsOwner {
    /// What a domain says, as far as it must be known for the purpose.
    pub async fn ask(&self, ways: Ways, domain: &Name, purpose: Purpose) -> StsAnswer {
        if purpose == Purpose::Use
            && let Some(answer) = self.at_hand(domain, now(&ways))
        {
            self.0
                .metrics
                .count("ringmail_mta_sts_remembered_total", NONE);
            return answer;
        }
        if purpose == Purpose::Use
            && let Some(answer) = self.lately(&ways, domain)
        {
            return answer;
        }
        let has_room = self.0.flights.has(domain) || self.has_room(&ways.account);
        let most = if has_room { FLIGHTS_MAX } else { 0 };
        let work = || {
            let (owner, domain) = (self.clone(), domain.clone());
            let counted = Counted::new(self, &ways.account);
            async move {
                let answer = owner.look(ways, domain, purpose).await;
                drop(counted);
                answer
            }
        };
        let landed = self.0.flights.join(domain, most, work).await;
        landed.unwrap_or_else(|| {
            StsAnswer::Wait("too many policies of MTA-STS are being looked for".into())
        })
    }

    /// Whether one more domain may be looked at for an account's mail: it may have as many as are left to others, alone half.
    fn has_room(&self, account: &str) -> bool {
        let free = FLIGHTS_MAX.saturating_sub(self.0.flights.count());
        let own = self.0.of_account.borrow().get(account).copied();
        own.unwrap_or(0) < free
    }

    fn at_hand(&self, domain: &Name, now_secs: u64) -> Option<StsAnswer> {
        let mut known = self.0.known.borrow_mut();
        let known = known.get_mut(domain)?;
        match known.entry.begin(now_secs) {
            step @ (Step::Apply { .. } | Step::NoPolicy | Step::Unknown) => {
                Some(known.answer(&step, domain))
            }
            _ => None,
        }
    }

    /// What was there lately; it is looked at again, and nobody waits for that.
    fn lately(&self, ways: &Ways, domain: &Name) -> Option<StsAnswer> {
        let step = {
            let known = self.0.known.borrow();
            let known = known.get(domain)?;
            known.answer(&known.entry.lately(now(ways))?, domain)
        };
        if !self.0.flights.has(domain) {
            self.refresh_later(ways.clone(), domain.clone());
        }
        Some(step)
    }

    async fn look(&self, ways: Ways, domain: Name, purpose: Purpose) -> StsAnswer {
        let known = self.0.known.borrow().get(&domain).cloned();
        let mut known = match known {
            Some(known) => known,
            None => match sts_rows::load(&ways.shard, &domain).await {
                Ok(entry) => Known::of(entry),
                // Not "none": there may be one in force.
                Err(error) => {
                    return StsAnswer::Wait(format!(
                        "the policy of MTA-STS of {domain} cannot be read now: {error}"
                    ));
                }
            },
        };
        if purpose != Purpose::Refresh {
            known.entry.begin(now(&ways));
        }
        let before = known.entry.fetched.clone();
        let (found, why) = look_up(&ways.resolver, &domain).await;
        let mut answer = known.entry.record(found, now(&ways));
        let is_refresh = matches!(answer.step, Step::Apply { refresh: true });
        let version = match &answer.step {
            Step::Fetch(version) => Some(version.clone()),
            // Who waits gets what is there; it is fetched for its own sake below.
            Step::Apply { refresh: true } if purpose != Purpose::Use => {
                before.as_ref().map(|f| f.record_id.clone())
            }
            _ => None,
        };
        let has_fetched = version.is_some();
        if let Some(version) = version {
            let fetched = self.fetch(&ways, &domain).await;
            answer = known.entry.fetch(version, fetched, now(&ways));
        }
        known.problem = answer.problem;
        let changed = known.entry.fetched != before;
        if changed {
            let fetched = known.entry.fetched.as_ref();
            known.policy = fetched.map(|f| Arc::new(f.policy.clone()));
        }
        self.save(&ways, &domain, &mut known, changed).await;
        let told = match (known.answer(&answer.step, &domain), why) {
            (StsAnswer::Unknown(words, problem), Some(why)) => {
                StsAnswer::Unknown(format!("{words}: {why}"), problem)
            }
            (answer, _) => answer,
        };
        self.remember(domain.clone(), known);
        if is_refresh && !has_fetched {
            self.refresh_later(ways, domain);
        }
        told
    }

    /// The policy of a domain's host.
    async fn fetch(&self, ways: &Ways, domain: &Name) -> Result<Policy, FetchError> {
        let _turn = self
            .0
            .fetches
            .take(&ways.account, ways.settings.fetches_per_core_max as usize)
            .await;
        let begun = Instant::now();
        let fetched = way(ways).fetch(domain).await;
        let result = match &fetched {
            Ok(_) => "ok",
            Err(failed) => word(&failed.error),
        };
        let key = (
            "ringmail_mta_sts_fetch_duration_seconds",
            label("result", result),
        );
        self.0.durations.observe(key, begun.elapsed());
        fetched.map_err(|failed| {
            tracing::info!(
                domain = domain.as_str(),
                error = failed.words,
                "a policy of MTA-STS cannot be fetched"
            );
            failed.error
        })
    }

    /// Writes what changed, and now and then that it is used. Without the row the policy holds until the next start.
    async fn save(&self, ways: &Ways, domain: &Name, known: &mut Known, changed: bool) {
        let used_secs = known.entry.used_secs;
        let is_old = known
            .stored_used_secs
            .is_none_or(|stored| used_secs.saturating_sub(stored) >= USED_EVERY_SECS);
        let has_policy = known.entry.fetched.is_some();
        let is_wanted = match (has_policy, known.stored_used_secs) {
            (true, _) => changed || is_old,
            (false, stored) => stored.is_some(),
        };
        if !is_wanted {
            return;
        }
        let shard = ways.shard.id().0;
        let is_new = has_policy && known.stored_used_secs.is_none();
        let most = u64::from(ways.settings.policies_per_shard_max);
        if is_new
            && self
                .0
                .stored
                .borrow()
                .get(&shard)
                .is_some_and(|stored| *stored >= most)
        {
            self.0
                .metrics
                .count("ringmail_mta_sts_policies_not_kept_total", NONE);
            return;
        }
        match sts_rows::save(&ways.shard, domain, &known.entry).await {
            Ok(()) => {
                if let Some(stored) = self.0.stored.borrow_mut().get_mut(&shard) {
                    match (is_new, has_policy) {
                        (true, _) => *stored += 1,
                        (false, false) => *stored = stored.saturating_sub(1),
                        _ => (),
                    }
                }
                known.stored_used_secs = has_policy.then_some(used_secs);
            }
            Err(error) => {
                tracing::warn!(domain = domain.as_str(), %error, "a policy of MTA-STS is not kept");
            }
        }
    }

    fn remember(&self, domain: Name, mut new: Known) {
        let mut known = self.0.known.borrow_mut();
        // Messages may have asked meanwhile.
        if let Some(old) = known.remove(&domain) {
            new.entry.used_secs = new.entry.used_secs.max(old.entry.used_secs);
            self.0
                .known_bytes
                .set(self.0.known_bytes.get() - old.bytes());
        }
        let bytes = new.bytes();
        if self.0.known_bytes.get() + bytes > KNOWN_BYTES_MAX {
            // The rows have what must not be forgotten.
            known.clear();
            self.0.known_bytes.set(0);
        }
        self.0.known_bytes.set(self.0.known_bytes.get() + bytes);
        known.insert(domain, new);
    }

    fn refresh_later(&self, mut ways: Ways, domain: Name) {
        let owner = self.clone();
        ways.account.clear();
        rt::spawn(&super::ROOM, async move {
            owner.ask(ways, &domain, Purpose::Refresh).await;
        });
    }

    /// Refreshes and forgets what is stored in a shard, and counts it. `ways` gives what is in force at each step.
    pub async fn sweep(&self, ways: impl Fn() -> Ways) -> Result<(), StoreError> {
        let shard = ways().shard;
        let (mut after, mut count) = (None, 0);
        loop {
            let (page, next) = sts_rows::page(&shard, after.as_ref(), PAGE).await?;
            for (domain, mut entry) in page {
                let ways = ways();
                if let Some(known) = self.0.known.borrow().get(&domain) {
                    entry.used_secs = entry.used_secs.max(known.entry.used_secs);
                    entry.failed.clone_from(&known.entry.failed);
                }
                if entry.is_removable(now(&ways)) && !self.0.flights.has(&domain) {
                    self.remove(&ways.shard, &domain).await?;
                    continue;
                }
                count += 1;
                if entry.is_refresh_due(now(&ways)) && ways.settings.mta_sts {
                    let turn = self.0.refreshes.take(REFRESHES_MAX).await;
                    let owner = self.clone();
                    rt::spawn(&super::ROOM, async move {
                        owner.ask(ways, &domain, Purpose::Refresh).await;
                        drop(turn);
                    });
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.0.stored.borrow_mut().insert(shard.id().0, count);
        Ok(())
    }

    /// Forgets a policy, in force or not; whether there was one.
    pub async fn remove(&self, shard: &Rc<Shard>, domain: &Name) -> Result<bool, StoreError> {
        let known = self.0.known.borrow_mut().remove(domain);
        if let Some(known) = &known {
            self.0
                .known_bytes
                .set(self.0.known_bytes.get() - known.bytes());
        }
        let stored = sts_rows::load(shard, domain).await?;
        if stored.is_some() {
            sts_rows::save(shard, domain, &Entry::default()).await?;
            if let Some(count) = self.0.stored.borrow_mut().get_mut(&shard.id().0) {
                *count = count.saturating_sub(1);
            }
        }
        Ok(stored.is_some() || known.is_some_and(|known| known.entry.fetched.is_some()))
    }

    /// Counters, to be scraped.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// How long fetches took.
    pub fn durations(&self) -> &Durations {
        &self.0.durations
    }
}

/// A domain that is looked at for an account's mail.
struct Counted(StsOwner, String);

impl Counted {
    fn new(owner: &StsOwner, account: &str) -> Counted {
        let mut counts = owner.0.of_account.borrow_mut();
        *counts.entry(account.to_owned()).or_default() += 1;
        drop(counts);
        Counted(owner.clone(), account.to_owned())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.0.0.of_account.borrow_mut();
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

/// A policy that is stored, for operators.
#[derive(Clone, Debug, Serialize)]
pub struct StoredPolicy {
    /// Whose.
    pub domain: String,
    /// `enforce`, `testing` or `none`.
    pub mode: &'static str,
    /// Hosts that may take its mail.
    pub mx: Vec<String>,
    /// The version that the record named.
    pub id: String,
    /// Seconds since 1970.
    pub fetched: u64,
    /// The last second at which it holds.
    pub valid_until: u64,
    /// When a message last asked, a day late at most.
    pub used: u64,
}

/// Policies of a shard after a domain, about so many; and where to go on.
pub async fn stored_policies(
    shard: &Rc<Shard>,
    after: Option<&Name>,
    limit: usize,
) -> Result<(Vec<StoredPolicy>, Option<Name>), StoreError> {
    let (page, next) = sts_rows::page(shard, after, limit).await?;
    let shown = page.into_iter().filter_map(|(domain, entry)| {
        let fetched = entry.fetched?;
        Some(StoredPolicy {
            domain: domain.to_string(),
            mode: fetched.policy.mode().as_str(),
            mx: fetched
                .policy
                .mx()
                .iter()
                .map(ToString::to_string)
                .collect(),
            id: fetched.record_id.as_str().to_string(),
            fetched: fetched.fetched_secs,
            valid_until: fetched.valid_until_secs(),
            used: entry.used_secs,
        })
    });
    Ok((shown.collect(), next))
}

/// What a domain says now, whatever is remembered; for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// `enforce`, `testing` or `none`; `no-record`; or `error`.
    pub result: &'static str,
    /// What is wrong, in words.
    pub error: Option<String>,
    /// The version that the record names.
    pub id: Option<String>,
    /// The policy's lines.
    pub policy: Vec<String>,
    /// Hosts that may take its mail.
    pub mx: Vec<String>,
    /// How long it holds.
    pub max_age_secs: Option<u64>,
}

/// Looks up the record and fetches the policy.
pub async fn show(
    resolver: &Resolver,
    roots: &Arc<RootCertStore>,
    settings: &TlsPolicy,
    domain: &Name,
) -> Shown {
    let mut shown = Shown::default();
    let (record, why) = look_up(resolver, domain).await;
    let record = match record {
        Ok(record) => record,
        Err(RecordError::NotFound) => {
            shown.result = "no-record";
            return shown;
        }
        Err(error) => {
            shown.result = "error";
            shown.error = Some(why.unwrap_or_else(|| error.to_string()));
            return shown;
        }
    };
    shown.id = Some(record.id.as_str().to_string());
    let way = Way {
        resolver,
        roots,
        port: settings.mta_sts_port,
        limit: settings.fetch_timeout_secs.duration(),
    };
    match way.fetch(domain).await {
        Ok(policy) => {
            shown.result = policy.mode().as_str();
            shown.policy = policy.lines().map(str::to_string).collect();
            shown.mx = policy.mx().iter().map(ToString::to_string).collect();
            shown.max_age_secs = Some(policy.max_age_secs());
        }
        Err(failed) => {
            shown.result = "error";
            shown.error = Some(failed.words);
        }
    }
    shown
}

/// The same as an answer for mail, where no server runs that has one.
pub async fn fresh(
    resolver: &Resolver,
    roots: &Arc<RootCertStore>,
    settings: &TlsPolicy,
    domain: &Name,
) -> StsAnswer {
    match look_up(resolver, domain).await {
        (Ok(_), _) => (),
        (Err(RecordError::NotFound), _) => return StsAnswer::None(None),
        (Err(error @ RecordError::Lookup), why) => {
            let problem = Some(Problem::from(error));
            return StsAnswer::Unknown(why.unwrap_or_default(), problem);
        }
        (Err(error), _) => return StsAnswer::None(Some(Problem::from(error))),
    }
    let way = Way {
        resolver,
        roots,
        port: settings.mta_sts_port,
        limit: settings.fetch_timeout_secs.duration(),
    };
    match way.fetch(domain).await {
        Ok(policy) if policy.mode() == Mode::None => StsAnswer::None(None),
        Ok(policy) => StsAnswer::Policy(Arc::new(policy), None),
        Err(failed) => StsAnswer::None(Some(Problem::from(&failed.error))),
    }
}

/// The record, and why there is none in words where that is not certain.
async fn look_up(
    resolver: &Resolver,
    domain: &Name,
) -> (Result<Record, RecordError>, Option<String>) {
    let Some(name) = record_name(domain.as_str()).and_then(|name| Name::parse(&name).ok()) else {
        return (Err(RecordError::NotFound), None);
    };
    match resolver.txt(&name).await {
        Ok(found) => (
            Record::select(found.records.iter().map(|text| &text.0)),
            None,
        ),
        Err(error) if error.is_not_found() => (Err(RecordError::NotFound), None),
        Err(error) => (Err(RecordError::Lookup), Some(error.to_string())),
    }
}

fn way(ways: &Ways) -> Way<'_> {
    Way {
        resolver: &ways.resolver,
        roots: &ways.roots,
        port: ways.settings.mta_sts_port,
        limit: ways.settings.fetch_timeout_secs.duration(),
    }
}

fn word(error: &FetchError) -> &'static str {
    match error {
        FetchError::Unreachable => "unreachable",
        FetchError::Timeout => "timeout",
        FetchError::Certificate => "certificate",
        FetchError::Redirect(_) | FetchError::Status(_) | FetchError::MediaType => "answer",
        FetchError::Policy(_) => "policy",
    }
}

fn now(ways: &Ways) -> u64 {
    (ways.now)().max(0) as u64
}

/// Domains that are being looked at on a core; more wait for another attempt.
const FLIGHTS_MAX: usize = 4096;
/// Octets of what a core remembers, about.
const KNOWN_BYTES_MAX: usize = 16 << 20;
/// That a policy is used is written once a day.
const USED_EVERY_SECS: u64 = 86_400;
/// Policies that a core refreshes at once; nobody waits for them.
const REFRESHES_MAX: usize = 4;
/// Rows read at once.
const PAGE: usize = 200;

#[cfg(test)]
#[path = "sts_tests.rs"]
mod tests;
