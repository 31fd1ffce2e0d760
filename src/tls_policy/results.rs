//! How TLS went, for reports (RFC 8460): gathered on each core, a minute at most, then merged into rows of the shard of the policy domain's
//! hash. Key `T`, the day (four octets), the domain; the value is the report's own JSON behind one octet of version.
//! Bounded: what there is no room for is counted as lost. A crash loses the last minute.
//! Not here: what a session says of a policy (`requirement.rs`), sending reports.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use shards::rt::{self, Turns};
use shards::storage::{Batch, Shard};
use tls_rpt::{Day, Policy, PolicyResult, Report, Tally};

use crate::store::StoreError;
use crate::store::rows::TLS_RESULTS;

/// What a core has gathered and not handed over yet.
#[derive(Default)]
pub struct Gathered {
    tallies: HashMap<(String, Day), Tally>,
    details: usize,
    /// Octets of the policies, about: a domain writes as much into its own as it likes.
    octets: usize,
}

impl Gathered {
    /// Adds what a session says of a policy; false if there is no room for it.
    pub fn add(&mut self, policy_domain: &str, day: Day, mut result: PolicyResult) -> bool {
        let key = (policy_domain.to_string(), day);
        let is_full = self.tallies.len() >= GATHERED_MAX || self.octets >= OCTETS_MAX;
        if is_full && !self.tallies.contains_key(&key) {
            return false;
        }
        self.details += result.failure_details.len();
        if self.details > DETAILS_MAX {
            result.failure_details.clear();
        }
        let tally = self.tallies.entry(key);
        let tally = tally.or_insert_with(|| Tally::new(policy_domain, day));
        let (before, octets) = (tally.policies().len(), octets(&result.policy));
        let is_added = tally.add(result).is_ok();
        if tally.policies().len() > before {
            self.octets += octets;
        }
        is_added
    }

    /// Takes all, by the shard of their domains.
    pub fn take(&mut self, shard_of: impl Fn(&str) -> u16) -> BTreeMap<u16, Vec<Tally>> {
        (self.details, self.octets) = (0, 0);
        let mut by_shard: BTreeMap<u16, Vec<Tally>> = BTreeMap::new();
        for ((domain, _), tally) in std::mem::take(&mut self.tallies) {
            by_shard.entry(shard_of(&domain)).or_default().push(tally);
        }
        by_shard
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.tallies.is_empty()
    }
}

/// A batch of results on its way to its shard. Each core numbers those of a shard, and sends the next one only after this: so a repeat is known.
#[derive(Clone, Debug)]
pub struct ResultBatch {
    /// Which shard.
    pub shard: u16,
    /// Who gathered it.
    pub core: u16,
    /// Its number.
    pub number: u64,
    /// At most [`BATCH_MAX`].
    pub tallies: Vec<Tally>,
}

/// What the owner of shards remembers of batches, and how many domains each day has.
#[derive(Default)]
pub struct ResultOwner {
    taken: RefCell<HashMap<(u16, u16), u64>>,
    domains: RefCell<HashMap<(u16, Day), u64>>,
    lost: Cell<u64>,
    changes: Rc<Turns>,
}

impl ResultOwner {
    /// Merges a batch into the rows; a repeat changes nothing. A day has at most `domains_max` domains.
    pub async fn merge(
        &self,
        shard: &Rc<Shard>,
        batch: ResultBatch,
        domains_max: u64,
    ) -> Result<(), StoreError> {
        let _turn = self.changes.take(1).await;
        let sender = (batch.shard, batch.core);
        if self
            .taken
            .borrow()
            .get(&sender)
            .is_some_and(|taken| *taken >= batch.number)
        {
            return Ok(());
        }
        let keys: Vec<Vec<u8>> = batch
            .tallies
            .iter()
            .map(|t| key(t.day(), t.policy_domain()))
            .collect();
        let found: Vec<Option<Vec<u8>>> = shard
            .read(move |index| keys.iter().map(|key| index.get(key)).collect())
            .await?;
        let mut rows = Batch::default();
        let (mut bytes, mut lost) = (0, 0);
        let mut new: HashMap<Day, u64> = HashMap::new();
        for (tally, found) in batch.tallies.into_iter().zip(found) {
            let (day, domain) = (tally.day(), tally.policy_domain().to_string());
            let earlier = found.as_deref().and_then(|row| decode(day, &domain, row));
            if found.is_none() {
                let more = new.get(&day).copied().unwrap_or_default();
                if self.domains(shard, day).await? + more >= domains_max {
                    lost += 1;
                    continue;
                }
                *new.entry(day).or_default() += 1;
            }
            let merged = match earlier {
                Some(mut earlier) => {
                    lost += u64::from(earlier.merge(tally).is_err());
                    earlier
                }
                None => tally,
            };
            let value = encode(merged);
            if value.len() > ROW_MAX {
                lost += 1;
                continue;
            }
            let key = key(day, &domain);
            bytes += key.len() + value.len();
            rows.put(key, value);
            // A row may have as much as a megabyte.
            rt::yield_if_needed().await;
        }
        let permit = shard.permit(bytes, false, PATIENCE).await?;
        shard.commit(permit, rows).await?;
        self.taken.borrow_mut().insert(sender, batch.number);
        self.lost.set(self.lost.get() + lost);
        let mut domains = self.domains.borrow_mut();
        for (day, more) in new {
            *domains.entry((shard.id().0, day)).or_default() += more;
        }
        Ok(())
    }

    /// Results that there was no room for.
    pub fn lost(&self) -> u64 {
        self.lost.get()
    }

    /// How many domains a day has, counted once.
    async fn domains(&self, shard: &Rc<Shard>, day: Day) -> Result<u64, StoreError> {
        let known = self.domains.borrow().get(&(shard.id().0, day)).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let prefix = key(day, "");
        let (mut count, mut from) = (0, prefix.clone());
        loop {
            let rows = shard.scan(prefix.clone(), from, SLICE).await?;
            count += rows.len() as u64;
            match rows.last() {
                Some((last, _)) if rows.len() == SLICE => from = [last.as_slice(), &[0]].concat(),
                _ => break,
            }
        }
        self.domains.borrow_mut().insert((shard.id().0, day), count);
        Ok(count)
    }

    /// Removes the results of days before one.
    pub async fn prune(&self, shard: &Rc<Shard>, first: Day) -> Result<(), StoreError> {
        let _turn = self.changes.take(1).await;
        self.domains
            .borrow_mut()
            .retain(|(_, day), _| *day >= first);
        loop {
            let rows = shard
                .scan(TLS_RESULTS.to_vec(), TLS_RESULTS.to_vec(), SLICE)
                .await?;
            let old: Vec<Vec<u8>> = rows
                .into_iter()
                .map(|(key, _)| key)
                .take_while(|key| parse_key(key).is_none_or(|(day, _)| day < first))
                .collect();
            if old.is_empty() {
                return Ok(());
            }
            let permit = shard.permit(old.len() * 300, false, PATIENCE).await?;
            let mut batch = Batch::default();
            old.into_iter().for_each(|key| batch.delete(key));
            shard.commit(permit, batch).await?;
        }
    }
}

/// Which results are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this day; else of all.
    pub day: Option<Day>,
    /// Of this domain; else of all.
    pub domain: Option<String>,
}

/// Results of a shard after a key, about so many, each with its key; and where to go on.
pub async fn stored_results(
    shard: &Rc<Shard>,
    wanted: &Wanted,
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<(Vec<Tally>, Option<Vec<u8>>), StoreError> {
    let prefix = wanted.day.map_or(TLS_RESULTS.to_vec(), |day| key(day, ""));
    let from = after.map_or(prefix.clone(), |after| [after.as_slice(), &[0]].concat());
    let rows = shard.scan(prefix, from, limit).await?;
    let next = rows
        .last()
        .filter(|_| rows.len() == limit)
        .map(|(key, _)| key.clone());
    let tallies = rows.into_iter().filter_map(|(key, row)| {
        let (day, domain) = parse_key(&key)?;
        if wanted
            .domain
            .as_ref()
            .is_some_and(|wanted| wanted != domain)
        {
            return None;
        }
        decode(day, domain, &row)
    });
    Ok((tallies.collect(), next))
}

/// As in a report, but without who reports.
pub fn as_report(tally: &Tally) -> Report {
    Report::of_day(tally.day(), tally.policies().to_vec())
}

fn octets(policy: &Policy) -> usize {
    let lines = policy.policy_string.iter().chain(&policy.mx_host);
    lines.map(String::len).sum()
}

fn encode(tally: Tally) -> Vec<u8> {
    let mut row = vec![VERSION];
    row.extend(as_report(&tally).to_json());
    row
}

/// One that cannot be read is as good as none.
fn decode(day: Day, domain: &str, row: &[u8]) -> Option<Tally> {
    let (VERSION, json) = row.split_first().map(|(version, json)| (*version, json))? else {
        return None;
    };
    let report = Report::parse(json);
    let report =
        report.inspect_err(|error| tracing::warn!(domain, %error, "results of TLS cannot be read"));
    let mut tally = Tally::new(domain, day);
    // They were in one before.
    report
        .ok()?
        .policies
        .into_iter()
        .try_for_each(|result| tally.add(result))
        .ok()?;
    Some(tally)
}

fn key(day: Day, domain: &str) -> Vec<u8> {
    [TLS_RESULTS, &day.0.to_be_bytes(), domain.as_bytes()].concat()
}

fn parse_key(key: &[u8]) -> Option<(Day, &str)> {
    let (day, domain) = key.strip_prefix(TLS_RESULTS)?.split_first_chunk()?;
    Some((
        Day(u32::from_be_bytes(*day)),
        std::str::from_utf8(domain).ok()?,
    ))
}

/// Domains and days that a core gathers at once.
const GATHERED_MAX: usize = 10_000;
/// Details that it gathers at once, about; of what is more only numbers count.
const DETAILS_MAX: usize = 50_000;
/// Octets of policies that it gathers at once; a domain's own has up to 64 KiB.
const OCTETS_MAX: usize = 32 << 20;
/// Domains in one batch.
pub const BATCH_MAX: usize = 200;
/// Octets of a row. A day of a large domain has some thousands.
const ROW_MAX: usize = 1 << 20;
const SLICE: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use tls_rpt::{FailureDetail, ResultType};

    use super::*;

    fn failed(reason: &str) -> PolicyResult {
        let detail = FailureDetail {
            sending_mta_ip: "192.0.2.9".parse().ok(),
            receiving_ip: "2001:db8::1".parse().ok(),
            receiving_mx_hostname: Some("mx.mail.example".into()),
            receiving_mx_helo: Some("mx \u{e9} \"x\"".into()),
            ..FailureDetail::new(ResultType::CertificateExpired).reason(reason)
        };
        let policy = Policy::sts(
            "mail.example",
            vec!["version: STSv1".into()],
            vec!["*.mail.example".into()],
        );
        PolicyResult::failure(policy, vec![detail])
    }

    #[test]
    fn rows_survive_the_way() {
        let mut tally = Tally::new("mail.example", Day(20_454));
        tally.add(failed("expired")).unwrap();
        tally.add(failed("expired")).unwrap();
        tally
            .add(PolicyResult::success(Policy::none("mail.example")))
            .unwrap();
        let row = encode(tally.clone());
        assert_eq!(decode(Day(20_454), "mail.example", &row), Some(tally));
        assert_eq!(decode(Day(1), "mail.example", &[2, b'{', b'}']), None);
        assert_eq!(decode(Day(1), "mail.example", b""), None);
        let key = key(Day(0x0102), "mail.example");
        assert_eq!(key, b"T\0\0\x01\x02mail.example");
        assert_eq!(parse_key(&key), Some((Day(0x0102), "mail.example")));
    }

    #[test]
    fn what_is_gathered_is_bounded() {
        let mut gathered = Gathered::default();
        let success = |n: usize| PolicyResult::success(Policy::none(&format!("d{n}.example")));
        for n in 0..GATHERED_MAX {
            assert!(gathered.add(&format!("d{n}.example"), Day(1), success(n)));
        }
        assert!(!gathered.add("more.example", Day(1), success(0)));
        assert!(gathered.add("d0.example", Day(1), success(0)));
        let taken = gathered.take(|domain| (domain.len() % 2) as u16);
        assert_eq!(taken.values().map(Vec::len).sum::<usize>(), GATHERED_MAX);
        assert!(gathered.is_empty());
        for n in 0..=DETAILS_MAX {
            gathered.add("mail.example", Day(1), failed(&n.to_string()));
        }
        let taken = gathered.take(|_| 0);
        let result = &taken[&0][0].policies()[0];
        let details: u64 = result
            .failure_details
            .iter()
            .map(|d| d.failed_sessions)
            .sum();
        assert_eq!(
            (result.failed_sessions, details),
            (DETAILS_MAX as u64 + 1, DETAILS_MAX as u64)
        );
        // Long policies are fewer.
        let long = |n: usize| {
            let lines = vec!["x".repeat(8_000); 8];
            PolicyResult::success(Policy::sts(&format!("d{n}.example"), lines, Vec::new()))
        };
        let added =
            (0..1_000).take_while(|n| gathered.add(&format!("d{n}.example"), Day(1), long(*n)));
        assert_eq!(added.count(), OCTETS_MAX.div_ceil(64_000));
        assert!(gathered.add("d0.example", Day(1), long(0)));
        gathered.take(|_| 0);
        assert!(gathered.add("more.example", Day(1), success(0)));
    }

    /// Domain, sessions that went well and that failed, of all that is stored.
    async fn stored(shard: &Rc<Shard>, wanted: Wanted) -> Vec<(String, u32, u64, u64)> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (tallies, next) = stored_results(shard, &wanted, after, 3).await.unwrap();
            found.extend(tallies.iter().map(|tally| {
                let sum =
                    |count: fn(&PolicyResult) -> u64| tally.policies().iter().map(count).sum();
                let (day, domain) = (tally.day().0, tally.policy_domain().to_string());
                (
                    domain,
                    day,
                    sum(|p| p.successful_sessions),
                    sum(|p| p.failed_sessions),
                )
            }));
            after = next;
            if after.is_none() {
                return found;
            }
        }
    }

    #[test]
    fn batches_are_merged_once_and_days_end() {
        let (_directory, store) = crate::store::tests::store();
        store.run(|context| async move {
            let shard = &context.shards[0];
            let owner = ResultOwner::default();
            let batch = |core, number, domains: std::ops::Range<u32>, day| ResultBatch {
                shard: shard.id().0,
                core,
                number,
                tallies: domains
                    .map(|n| {
                        let mut tally = Tally::new(&format!("d{n}.example"), Day(day));
                        tally.add(failed("expired")).unwrap();
                        tally
                    })
                    .collect(),
            };
            for repeated in [
                batch(0, 1, 0..4, 7),
                batch(0, 2, 0..2, 7),
                batch(1, 1, 0..1, 8),
                batch(0, 2, 0..2, 7),
                batch(0, 1, 0..4, 7),
            ] {
                owner.merge(shard, repeated, 5).await.unwrap();
            }
            let of = |domain: &str, day, failed| (format!("{domain}.example"), day, 0, failed);
            let first = [
                of("d0", 7, 2),
                of("d1", 7, 2),
                of("d2", 7, 1),
                of("d3", 7, 1),
                of("d0", 8, 1),
            ];
            assert_eq!(stored(shard, Wanted::default()).await, first);
            // A day has so many domains; others are counted as lost. Another owner (after a restart) counts what there is.
            let owner = ResultOwner::default();
            owner.merge(shard, batch(0, 1, 3..9, 7), 5).await.unwrap();
            assert_eq!(owner.lost(), 4);
            let day = Wanted {
                day: Some(Day(7)),
                ..Wanted::default()
            };
            let of_day = [
                of("d0", 7, 2),
                of("d1", 7, 2),
                of("d2", 7, 1),
                of("d3", 7, 2),
                of("d4", 7, 1),
            ];
            assert_eq!(stored(shard, day).await, of_day);
            let domain = Wanted {
                domain: Some("d0.example".into()),
                ..Wanted::default()
            };
            assert_eq!(
                stored(shard, domain).await,
                [of("d0", 7, 2), of("d0", 8, 1)]
            );
            owner.prune(shard, Day(8)).await.unwrap();
            assert_eq!(stored(shard, Wanted::default()).await, [of("d0", 8, 1)]);
        });
        store.close();
    }
}
