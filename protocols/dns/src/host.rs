//! From a host to its addresses, and to the TLSA records of its port. RFC 5321 5.1 (A and AAAA), RFC 7672 2.2.2 and 2.2.3.
//! Not here: the order in which addresses are tried, and what the records mean for a certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_lite::future;

use crate::Name;
use crate::error::LookupError;
use crate::limits::HOST_ALIASES_MAX;
use crate::lookup::{Lookup, Outcome, Resolved};
use crate::mx::{bounded, initial_authentic};
use crate::record::{Data, RecordType, Tlsa};

/// Addresses of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddresses {
    /// At least one; IPv6 first, each family in the order of the answer.
    pub addresses: Vec<IpAddr>,
    /// The host that was asked for.
    pub host: Name,
    /// What it is an alias of in the end; else the host.
    pub expanded: Name,
    /// Whether DNSSEC proves what the host itself has: addresses, or what it is an alias of.
    pub host_authentic: bool,
    /// Whether DNSSEC proves all: each alias and the addresses.
    pub expanded_authentic: bool,
    /// What became of the other family, if that could not be found out. RFC 7672 2.2.2: DANE must wait then.
    pub failed: Option<LookupError>,
    /// Seconds it holds.
    pub ttl: u32,
}

/// Finds the addresses of a host, of both families. The error says that there are none (see [`LookupError::is_not_found`]), or that
/// nobody can say now.
pub async fn host_addresses(
    lookup: &impl Lookup,
    host: &Name,
) -> Result<HostAddresses, LookupError> {
    let (v6, v4) = future::zip(
        family::<Ipv6Addr>(lookup, host),
        family::<Ipv4Addr>(lookup, host),
    )
    .await;
    let mut found: Vec<(Resolved, Vec<IpAddr>)> = Vec::new();
    let (mut failed, mut missing) = (None, None);
    for family in [v6, v4] {
        match family {
            Ok((resolved, addresses)) => found.push((resolved, addresses)),
            Err(error) if error.is_not_found() => missing = Some(error),
            Err(error) => failed = Some(error),
        }
    }
    let Some((first, _)) = found.first() else {
        let none = failed.or(missing);
        return Err(none.expect("without addresses each family has an error"));
    };
    let expanded = first.expanded(host).clone();
    let mut host_authentic = true;
    for (resolved, _) in &found {
        host_authentic &= initial_authentic(lookup, host, resolved).await?;
    }
    Ok(HostAddresses {
        host: host.clone(),
        host_authentic,
        // Both lead to the same name, or one of them may be forged.
        expanded_authentic: found
            .iter()
            .all(|(r, _)| r.authentic && *r.expanded(host) == expanded),
        expanded,
        ttl: found.iter().map(|(r, _)| r.ttl).min().unwrap_or(0),
        addresses: found.into_iter().flat_map(|(_, all)| all).collect(),
        failed,
    })
}

async fn family<D: Data + Into<IpAddr>>(
    lookup: &impl Lookup,
    host: &Name,
) -> Result<(Resolved, Vec<IpAddr>), LookupError> {
    let resolved = lookup.resolve(host, D::TYPE).await?;
    bounded(host, D::TYPE, &resolved, HOST_ALIASES_MAX)?;
    let answer = resolved.answer::<D>(host)?;
    let addresses = answer.records.into_iter().map(Into::into).collect();
    Ok((resolved, addresses))
}

/// What DANE knows of a host's port: at least one record, all authentic. Whether any can be used is for DANE to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsaRecords {
    /// The name whose certificate they are about: the expanded host or the host (RFC 7672 2.2.3). For SNI and for matching names.
    pub base: Name,
    /// The records.
    pub records: Vec<Tlsa>,
    /// Seconds they hold.
    pub ttl: u32,
}

/// Finds the TLSA records of a host's port. None: DANE does not apply, certainly. An error: nobody can say, and the host must not be used
/// now (RFC 7672 2.1.2). That the way to the host was authentic (MX) is for the caller to have made sure of.
pub async fn tlsa_records(
    lookup: &impl Lookup,
    host: &HostAddresses,
    port: u16,
) -> Result<Option<TlsaRecords>, LookupError> {
    if let Some(failed) = &host.failed
        && (host.host_authentic || host.expanded_authentic)
    {
        return Err(failed.clone());
    }
    // RFC 7672 2.2.2: those whose zones are not signed are not asked, for some answer such questions with errors.
    let mut bases = Vec::new();
    if host.expanded_authentic {
        bases.push(&host.expanded);
    }
    if host.host_authentic && !bases.contains(&&host.host) {
        bases.push(&host.host);
    }
    for base in bases {
        // A name that has no room for more labels has no such records.
        let Ok(name) = base.below(&format!("_{port}._tcp")) else {
            continue;
        };
        let resolved = lookup.resolve(&name, RecordType::Tlsa).await?;
        bounded(&name, RecordType::Tlsa, &resolved, HOST_ALIASES_MAX)?;
        if resolved.authentic && matches!(resolved.outcome, Outcome::Records(_)) {
            let answer = resolved.answer(&name)?;
            return Ok(Some(TlsaRecords {
                base: base.clone(),
                records: answer.records,
                ttl: answer.ttl,
            }));
        }
    }
    Ok(None)
}

impl HostAddresses {
    /// An address that stands for itself, such as one the operator wrote down: no DNS, so nothing of DANE.
    pub fn literal(host: Name, address: IpAddr) -> HostAddresses {
        HostAddresses {
            addresses: vec![address],
            expanded: host.clone(),
            host,
            host_authentic: false,
            expanded_authentic: false,
            failed: None,
            ttl: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;
    use crate::error::Cause;
    use crate::mock::Mock;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn addresses(zone: &Mock, host: &str) -> Result<HostAddresses, LookupError> {
        block_on(host_addresses(zone, &name(host)))
    }

    fn tlsa(zone: &Mock, host: &str) -> Result<Option<String>, LookupError> {
        let found = addresses(zone, host).unwrap();
        let records = block_on(tlsa_records(zone, &found, 25))?;
        Ok(records.map(|r| r.base.to_string()))
    }

    #[test]
    fn addresses_of_both_families() {
        let zone = Mock::new()
            .with_a("mx.example", "192.0.2.1")
            .with_a("mx.example", "192.0.2.2")
            .with_aaaa("mx.example", "2001:db8::1")
            .with_a("four.example", "192.0.2.4")
            .authentic("mx.example");
        let found = addresses(&zone, "mx.example").unwrap();
        let texts: Vec<_> = found.addresses.iter().map(|a| a.to_string()).collect();
        assert_eq!(texts, ["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
        assert!(found.host_authentic && found.expanded_authentic);
        let found = addresses(&zone, "four.example").unwrap();
        assert!(!found.host_authentic && !found.expanded_authentic && found.failed.is_none());
    }

    #[test]
    fn one_family_that_fails_keeps_nobody_from_the_other() {
        let zone = Mock::new()
            .with_a("mx.example", "192.0.2.1")
            .fails("mx.example", RecordType::Aaaa, Cause::ServFail(None))
            .fails("none.example", RecordType::Aaaa, Cause::ServFail(None))
            .with_mx("mailonly.example", 10, "mx.example");
        let found = addresses(&zone, "mx.example").unwrap();
        assert!(found.failed.is_some());
        // Not signed, so DANE is not the matter.
        assert_eq!(tlsa(&zone, "mx.example"), Ok(None));
        assert!(tlsa(&zone.authentic("mx.example"), "mx.example").is_err());
        let zone = Mock::new()
            .fails("none.example", RecordType::Aaaa, Cause::ServFail(None))
            .with_mx("mailonly.example", 10, "mx.example");
        assert!(!addresses(&zone, "none.example").unwrap_err().is_not_found());
        let none = addresses(&zone, "mailonly.example").unwrap_err();
        assert_eq!(none.cause, Cause::NoData { authentic: false });
        let none = addresses(&zone, "nobody.example").unwrap_err();
        assert_eq!(none.cause, Cause::NxDomain { authentic: false });
    }

    #[test]
    fn aliases_of_a_host_are_bounded() {
        let mut zone = Mock::new().with_a("h0.example", "192.0.2.1");
        for n in 1..=11 {
            zone = zone.with_cname(&format!("h{n}.example"), &format!("h{}.example", n - 1));
        }
        assert_eq!(
            addresses(&zone, "h10.example").unwrap().expanded,
            name("h0.example")
        );
        let error = addresses(&zone, "h11.example").unwrap_err();
        assert!(matches!(error.cause, Cause::TooManyAliases(_)));
    }

    /// RFC 7672 2.2.2 and 2.2.3, case by case.
    #[test]
    fn the_base_of_tlsa_records() {
        let zone = |signed: &[&str], at: &[&str]| {
            let mut zone = Mock::new()
                .with_cname("alias.example", "host.example")
                .with_a("host.example", "192.0.2.1");
            for host in at {
                zone = zone.with_tlsa(&format!("_25._tcp.{host}"), 3, 1, 1, &[7; 32]);
            }
            signed.iter().fold(zone, |zone, name| {
                zone.authentic(name).authentic(&format!("_25._tcp.{name}"))
            })
        };
        let both = ["alias.example", "host.example"];
        let base = |zone: &Mock, host| tlsa(zone, host).unwrap();
        // No alias.
        assert_eq!(
            base(&zone(&both, &both), "host.example").as_deref(),
            Some("host.example")
        );
        assert_eq!(base(&zone(&[], &both), "host.example"), None);
        // All proved: the expanded name first, then the host.
        assert_eq!(
            base(&zone(&both, &both), "alias.example").as_deref(),
            Some("host.example")
        );
        assert_eq!(
            base(&zone(&both, &["alias.example"]), "alias.example").as_deref(),
            Some("alias.example")
        );
        assert_eq!(base(&zone(&both, &[]), "alias.example"), None);
        // Only the alias is proved: the host alone.
        assert_eq!(
            base(&zone(&["alias.example"], &both), "alias.example").as_deref(),
            Some("alias.example")
        );
        // The alias is not proved: nothing is.
        let unsigned = zone(&["host.example"], &both);
        let asked = unsigned.asked();
        assert_eq!(base(&unsigned, "alias.example"), None);
        // And nobody was asked for TLSA records.
        assert_eq!(unsigned.asked() - asked, 3);
    }

    #[test]
    fn a_tlsa_lookup_that_fails_is_no_permission() {
        let zone = Mock::new()
            .with_a("mx.example", "192.0.2.1")
            .authentic("mx.example")
            .fails(
                "_25._tcp.mx.example",
                RecordType::Tlsa,
                Cause::ServFail(None),
            );
        assert!(tlsa(&zone, "mx.example").is_err());
        // Records that are not proved do not count.
        let zone = Mock::new()
            .with_a("mx.example", "192.0.2.1")
            .authentic("mx.example")
            .with_tlsa("_25._tcp.mx.example", 3, 1, 1, &[7; 32]);
        assert_eq!(tlsa(&zone, "mx.example"), Ok(None));
        // They may be an alias of others.
        let zone = Mock::new()
            .with_a("mx.example", "192.0.2.1")
            .with_cname("_25._tcp.mx.example", "tlsa.example")
            .with_tlsa("tlsa.example", 2, 0, 1, &[7; 32])
            .authentic("mx.example")
            .authentic("_25._tcp.mx.example")
            .authentic("tlsa.example");
        assert_eq!(tlsa(&zone, "mx.example"), Ok(Some("mx.example".into())));
    }
}
