//! From a domain to the hosts that take its mail. RFC 5321 5.1, RFC 7505 (null MX), RFC 7672 2.2.1 (what must be authentic for DANE).
//! Not here: addresses of the hosts (`host.rs`), MTA-STS, connecting.

use std::collections::HashSet;

use crate::Name;
use crate::error::{Cause, LookupError};
use crate::limits::DOMAIN_ALIASES_MAX;
use crate::lookup::{Lookup, Outcome, Resolved};
use crate::record::{Data, Mx, RecordType};

/// Where mail for a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MxOutcome {
    /// To these hosts.
    Hosts(MxHosts),
    /// RFC 7505: nowhere; the domain takes no mail. Permanent.
    NullMx {
        /// Whether DNSSEC proves it.
        authentic: bool,
    },
    /// There is no such domain. Permanent (RFC 5321 5.1).
    NoDomain {
        /// The name that is missing: the domain, or what it is an alias of.
        name: Name,
        /// Whether DNSSEC proves it.
        authentic: bool,
    },
    /// Nobody can say now; try again later.
    Temporary(LookupError),
}

/// Hosts that take a domain's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxHosts {
    /// In the order in which they are to be tried; at least one, each with at least one host.
    pub groups: Vec<MxGroup>,
    /// What the domain is an alias of in the end; else the domain.
    pub expanded: Name,
    /// Whether DNSSEC proves what the domain itself has: its MX records, that it has none, or what it is an alias of.
    pub original_authentic: bool,
    /// Whether DNSSEC proves all: each alias and the MX records, or that there are none.
    pub expanded_authentic: bool,
    /// RFC 5321 5.1: there are no MX records, so the one host is the (expanded) domain itself.
    pub implicit: bool,
    /// Seconds it holds.
    pub ttl: u32,
}

/// Hosts of one preference, in random order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxGroup {
    /// The lower, the sooner.
    pub preference: u16,
    /// Each host stands once, at its lowest preference.
    pub hosts: Vec<Name>,
}

impl MxHosts {
    /// All hosts in the order in which they are to be tried.
    pub fn hosts(&self) -> impl Iterator<Item = &Name> {
        self.groups.iter().flat_map(|group| &group.hosts)
    }
}

/// Finds the hosts of a domain. `random` gives numbers for the order within a preference (RFC 5321 5.1: to spread the load).
pub async fn mx_hosts(
    lookup: &impl Lookup,
    domain: &Name,
    random: &mut impl FnMut() -> u64,
) -> MxOutcome {
    match find(lookup, domain, random).await {
        Ok(outcome) => outcome,
        Err(error) => MxOutcome::Temporary(error),
    }
}

async fn find(
    lookup: &impl Lookup,
    domain: &Name,
    random: &mut impl FnMut() -> u64,
) -> Result<MxOutcome, LookupError> {
    let resolved = lookup.resolve(domain, RecordType::Mx).await?;
    bounded(domain, RecordType::Mx, &resolved, DOMAIN_ALIASES_MAX)?;
    let authentic = resolved.authentic;
    let expanded = resolved.expanded(domain).clone();
    let records: Vec<Mx> = match &resolved.outcome {
        Outcome::NxDomain => {
            return Ok(MxOutcome::NoDomain {
                name: expanded,
                authentic,
            });
        }
        Outcome::NoData => Vec::new(),
        Outcome::Records(records) => records.iter().filter_map(Mx::of).collect(),
    };
    let implicit = records.is_empty();
    let groups = match implicit {
        true => vec![MxGroup {
            preference: 0,
            hosts: vec![expanded.clone()],
        }],
        false => groups(records, random),
    };
    if groups.is_empty() {
        return Ok(MxOutcome::NullMx { authentic });
    }
    Ok(MxOutcome::Hosts(MxHosts {
        groups,
        original_authentic: initial_authentic(lookup, domain, &resolved).await?,
        expanded,
        expanded_authentic: authentic,
        implicit,
        ttl: resolved.ttl,
    }))
}

/// By preference, without what names no host. RFC 7505 3: a null MX beside others makes no sense, and the others count.
fn groups(mut records: Vec<Mx>, random: &mut impl FnMut() -> u64) -> Vec<MxGroup> {
    records.retain(|mx| !mx.exchange.is_root());
    records.sort();
    let mut groups: Vec<MxGroup> = Vec::new();
    let mut seen = HashSet::new();
    for Mx {
        preference,
        exchange,
    } in records
    {
        if !seen.insert(exchange.clone()) {
            continue;
        }
        match groups.last_mut() {
            Some(group) if group.preference == preference => group.hosts.push(exchange),
            _ => groups.push(MxGroup {
                preference,
                hosts: vec![exchange],
            }),
        }
    }
    for group in &mut groups {
        // Fisher and Yates. The bias of the remainder is one in 2^48 at most.
        for at in (1..group.hosts.len()).rev() {
            group.hosts.swap(at, (random() % (at as u64 + 1)) as usize);
        }
    }
    groups
}

/// Whether DNSSEC proves the first step of a lookup. Where all of it is proved or there is no alias the answer itself says so; else the first
/// alias is asked for alone, for one of a later zone may be what is not signed.
pub(crate) async fn initial_authentic(
    lookup: &impl Lookup,
    name: &Name,
    resolved: &Resolved,
) -> Result<bool, LookupError> {
    if resolved.authentic || resolved.aliases.is_empty() {
        return Ok(resolved.authentic);
    }
    let first = lookup.resolve(name, RecordType::Cname).await?;
    Ok(first.authentic && matches!(first.outcome, Outcome::Records(_)))
}

/// That a name is not an alias too many times over.
pub(crate) fn bounded(
    name: &Name,
    record_type: RecordType,
    resolved: &Resolved,
    most: usize,
) -> Result<(), LookupError> {
    match resolved.aliases.get(most) {
        None => Ok(()),
        Some(alias) => Err(LookupError {
            name: name.clone(),
            record_type,
            cause: Cause::TooManyAliases(alias.clone()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;
    use crate::mock::Mock;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn find(zone: &Mock, domain: &str) -> MxOutcome {
        block_on(mx_hosts(zone, &name(domain), &mut || 0))
    }

    fn hosts(zone: &Mock, domain: &str) -> MxHosts {
        match find(zone, domain) {
            MxOutcome::Hosts(hosts) => hosts,
            other => panic!("{other:?}"),
        }
    }

    fn written(hosts: &MxHosts) -> Vec<String> {
        let group = |g: &MxGroup| format!("{} {:?}", g.preference, g.hosts);
        hosts.groups.iter().map(group).collect()
    }

    #[test]
    fn hosts_come_by_preference_each_once() {
        let zone = Mock::new()
            .with_mx("example.org", 20, "backup.example.net")
            .with_mx("example.org", 10, "a.example.org")
            .with_mx("example.org", 10, "b.example.org")
            .with_mx("example.org", 20, "a.example.org")
            .authentic("example.org");
        let found = hosts(&zone, "example.org");
        // With zeros the order within a group turns round.
        assert_eq!(
            written(&found),
            [
                "10 [\"b.example.org\", \"a.example.org\"]",
                "20 [\"backup.example.net\"]"
            ]
        );
        assert!(found.original_authentic && found.expanded_authentic && !found.implicit);
        assert_eq!(found.expanded, name("example.org"));
        // No alias, so no second question.
        assert_eq!(zone.asked(), 1);
    }

    #[test]
    fn every_order_within_a_preference_comes_up() {
        let mut zone = Mock::new();
        for host in ["a.example", "b.example", "c.example"] {
            zone = zone.with_mx("example", 5, host);
        }
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            state >> 33
        };
        let mut orders = std::collections::HashMap::new();
        for _ in 0..600 {
            let MxOutcome::Hosts(found) = block_on(mx_hosts(&zone, &name("example"), &mut random))
            else {
                panic!("hosts");
            };
            let order: Vec<_> = found.hosts().cloned().collect();
            *orders.entry(order).or_insert(0) += 1;
        }
        assert_eq!(orders.len(), 6);
        assert!(orders.values().all(|n| *n > 60), "{orders:?}");
    }

    #[test]
    fn without_mx_the_domain_itself_is_the_host() {
        let zone = Mock::new()
            .with_a("example.org", "192.0.2.1")
            .authentic("example.org");
        let found = hosts(&zone, "example.org");
        assert_eq!(written(&found), ["0 [\"example.org\"]"]);
        assert!(found.implicit && found.original_authentic && found.expanded_authentic);
        // RFC 5321 5.1: what it is an alias of is processed as if it were the initial name.
        let zone = zone.with_cname("alias.example", "example.org");
        let found = hosts(&zone, "alias.example");
        assert_eq!(written(&found), ["0 [\"example.org\"]"]);
        assert!(!found.original_authentic && !found.expanded_authentic);
    }

    #[test]
    fn a_null_mx_takes_no_mail() {
        let zone = Mock::new()
            .with_mx("example.org", 0, ".")
            .authentic("example.org");
        assert_eq!(
            find(&zone, "example.org"),
            MxOutcome::NullMx { authentic: true }
        );
        // RFC 7505 3: there must be no other.
        let zone = zone.with_mx("example.org", 10, "mx.example.org");
        assert_eq!(
            written(&hosts(&zone, "example.org")),
            ["10 [\"mx.example.org\"]"]
        );
    }

    #[test]
    fn a_domain_that_is_not_there() {
        let zone = Mock::new()
            .with_cname("alias.example", "gone.example")
            .authentic("nothing.example");
        let missing = |domain: &str, at: &str, authentic| {
            let expected = MxOutcome::NoDomain {
                name: name(at),
                authentic,
            };
            assert_eq!(find(&zone, domain), expected);
        };
        missing("nothing.example", "nothing.example", true);
        missing("alias.example", "gone.example", false);
    }

    #[test]
    fn failures_are_temporary() {
        let zone = Mock::new().fails("example.org", RecordType::Mx, Cause::ServFail(None));
        assert!(matches!(
            find(&zone, "example.org"),
            MxOutcome::Temporary(LookupError {
                cause: Cause::ServFail(None),
                ..
            })
        ));
        let zone = Mock::new()
            .with_cname("a.example", "b.example")
            .with_cname("b.example", "a.example");
        assert!(matches!(
            find(&zone, "a.example"),
            MxOutcome::Temporary(LookupError {
                cause: Cause::AliasLoop(_),
                ..
            })
        ));
    }

    #[test]
    fn sixteen_aliases_are_followed_and_no_more() {
        let mut zone = Mock::new().with_mx("n0.example", 10, "mx.example");
        for n in 1..=17 {
            zone = zone.with_cname(&format!("n{n}.example"), &format!("n{}.example", n - 1));
        }
        assert_eq!(hosts(&zone, "n16.example").expanded, name("n0.example"));
        assert!(matches!(
            find(&zone, "n17.example"),
            MxOutcome::Temporary(LookupError {
                cause: Cause::TooManyAliases(_),
                ..
            })
        ));
    }

    #[test]
    fn what_is_authentic_of_an_alias() {
        let zone = |signed: &[&str]| {
            let zone = Mock::new()
                .with_cname("alias.example", "example.org")
                .with_mx("example.org", 10, "mx.example.org");
            signed.iter().fold(zone, |zone, name| zone.authentic(name))
        };
        let flags = |signed: &[&str]| {
            let found = hosts(&zone(signed), "alias.example");
            assert_eq!(found.expanded, name("example.org"));
            (found.original_authentic, found.expanded_authentic)
        };
        assert_eq!(flags(&["alias.example", "example.org"]), (true, true));
        assert_eq!(flags(&["alias.example"]), (true, false));
        // RFC 7672 2.1.3: what an alias that is not proved leads to is not proved either.
        assert_eq!(flags(&["example.org"]), (false, false));
    }
}
