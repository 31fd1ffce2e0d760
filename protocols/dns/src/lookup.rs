//! What resolving means to those who ask: a trait, and what comes of it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use crate::Name;
use crate::error::{Cause, LookupError};
use crate::limits::DOMAIN_ALIASES_MAX;
use crate::record::{Data, Mx, Record, RecordType, Text, Tlsa};

/// Somebody who resolves names: the server's resolver, or a [`crate::mock::Mock`]. On one core, so its futures are not `Send`.
#[allow(async_fn_in_trait)] // No `Send` is wanted: nothing of a core leaves it.
pub trait Lookup {
    /// Resolves, following aliases (unless aliases are asked for). An error is one of the way there; that there are no such records is an
    /// answer.
    async fn resolve(&self, name: &Name, record_type: RecordType) -> Result<Resolved, LookupError>;

    /// Records of one type. That there are none is an error here.
    async fn records<D: Data>(&self, name: &Name) -> Result<Answer<D>, LookupError> {
        self.resolve(name, D::TYPE).await?.answer(name)
    }

    /// IPv4 addresses.
    async fn a(&self, name: &Name) -> Result<Answer<Ipv4Addr>, LookupError> {
        self.records(name).await
    }

    /// IPv6 addresses.
    async fn aaaa(&self, name: &Name) -> Result<Answer<Ipv6Addr>, LookupError> {
        self.records(name).await
    }

    /// Mail hosts as they stand there; see [`crate::mx_hosts`].
    async fn mx(&self, name: &Name) -> Result<Answer<Mx>, LookupError> {
        self.records(name).await
    }

    /// Texts.
    async fn txt(&self, name: &Name) -> Result<Answer<Text>, LookupError> {
        self.records(name).await
    }

    /// Certificates; see [`crate::tlsa_records`].
    async fn tlsa(&self, name: &Name) -> Result<Answer<Tlsa>, LookupError> {
        self.records(name).await
    }
}

/// An answer, as it is kept in a cache. A clone is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What there is.
    pub outcome: Outcome,
    /// The names the question led to, each an alias of the one before; the last has the records, or has none.
    pub aliases: Rc<[Name]>,
    /// Whether DNSSEC proves all of it, according to a resolver that is trusted with saying so.
    pub authentic: bool,
    /// Seconds it holds.
    pub ttl: u32,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Records of the type, at least one.
    Records(Rc<[Record]>),
    /// The name has other records.
    NoData,
    /// There is no such name.
    NxDomain,
}

impl Resolved {
    /// The records of a type, or that there are none as an error.
    pub fn answer<D: Data>(&self, name: &Name) -> Result<Answer<D>, LookupError> {
        let authentic = self.authentic;
        let cause = match &self.outcome {
            Outcome::Records(records) => {
                return Ok(Answer {
                    records: records.iter().filter_map(D::of).collect(),
                    authentic,
                    ttl: self.ttl,
                });
            }
            Outcome::NoData => Cause::NoData { authentic },
            Outcome::NxDomain => Cause::NxDomain { authentic },
        };
        Err(LookupError {
            name: name.clone(),
            record_type: D::TYPE,
            cause,
        })
    }

    /// The name that has the records, or has none.
    pub fn expanded<'a>(&'a self, name: &'a Name) -> &'a Name {
        self.aliases.last().unwrap_or(name)
    }

    /// The alias a server stopped at: it says neither what that has nor, by a SOA, that it has nothing (RFC 2308 2.1).
    pub fn unfinished(&self) -> Option<&Name> {
        let stopped = self.outcome == Outcome::NoData && self.ttl == 0;
        self.aliases.last().filter(|_| stopped)
    }

    /// What there is in all, if `rest` is what the alias it stopped at has. `name` is what was asked for.
    pub fn continued(self, name: &Name, rest: Resolved) -> Result<Resolved, Cause> {
        let aliases: Rc<[Name]> = self.aliases.iter().chain(&*rest.aliases).cloned().collect();
        for (at, alias) in aliases.iter().enumerate() {
            if alias == name || aliases[..at].contains(alias) {
                return Err(Cause::AliasLoop(alias.clone()));
            }
        }
        if let Some(alias) = aliases.get(DOMAIN_ALIASES_MAX) {
            return Err(Cause::TooManyAliases(alias.clone()));
        }
        Ok(Resolved {
            outcome: rest.outcome,
            aliases,
            authentic: self.authentic && rest.authentic,
            // Of the aliases it is not known how long they hold.
            ttl: 0,
        })
    }

    /// Octets it holds, about.
    pub(crate) fn size(&self) -> usize {
        let records: usize = match &self.outcome {
            Outcome::Records(records) => records.iter().map(Record::size).sum(),
            _ => 0,
        };
        let of_name = |name: &Name| name.as_str().len() + size_of::<Name>();
        records + self.aliases.iter().map(of_name).sum::<usize>()
    }
}

/// Records of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// At least one.
    pub records: Vec<T>,
    /// Whether DNSSEC proves them and all aliases on the way, according to a resolver that is trusted with saying so.
    pub authentic: bool,
    /// Seconds they hold.
    pub ttl: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(names: &[&str], outcome: Outcome) -> Resolved {
        Resolved {
            outcome,
            aliases: names.iter().map(|n| Name::parse(n).unwrap()).collect(),
            authentic: true,
            ttl: 0,
        }
    }

    #[test]
    fn parts_of_a_chain_join_within_the_bounds() {
        let name = Name::parse("a").unwrap();
        let first = part(&["b", "c"], Outcome::NoData);
        assert_eq!(first.unfinished().unwrap().as_str(), "c");
        let rest = part(
            &["d"],
            Outcome::Records([Record::Cname(name.clone())].into()),
        );
        assert_eq!(rest.unfinished(), None);
        let all = first.clone().continued(&name, rest).unwrap();
        assert_eq!((all.aliases.len(), all.expanded(&name).as_str()), (3, "d"));
        let circle = part(&["b"], Outcome::NoData);
        let error = first.clone().continued(&name, circle).unwrap_err();
        assert_eq!(error, Cause::AliasLoop(Name::parse("b").unwrap()));
        let long: Vec<String> = (0..DOMAIN_ALIASES_MAX).map(|n| format!("n{n}")).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        let error = first.continued(&name, part(&long, Outcome::NoData));
        assert!(matches!(error, Err(Cause::TooManyAliases(_))));
        // A SOA said that there is nothing.
        let mut none = part(&["b"], Outcome::NoData);
        none.ttl = 1;
        assert_eq!(none.unfinished(), None);
    }
}
