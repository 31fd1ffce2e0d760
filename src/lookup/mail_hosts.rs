//! Where mail for a domain would go, for operators to look at: hosts, addresses, and what DANE would find there. Sending goes the same way
//! (`dns::mx_hosts`, `dns::host_addresses`, `dns::tlsa_records`), one host after the other.

use dns::{
    Cause, LookupError, MxOutcome, Name, Record, RecordType, host_addresses, mx_hosts, tlsa_records,
};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use shards::rt;

use super::{LOOKUP_LIMIT, Resolver};

/// Where mail for a domain would go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MailHosts {
    /// `ok`, `null-mx` or `nxdomain`.
    pub result: &'static str,
    /// What the domain is an alias of, or the domain.
    pub expanded: String,
    /// Whether DNSSEC proves all of it up to the hosts' names.
    pub authentic: bool,
    /// There are no MX records.
    pub implicit: bool,
    /// In the order in which they would be tried; the first [`HOSTS_SHOWN`].
    pub hosts: Vec<MailHost>,
}

/// A host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MailHost {
    /// The lower, the sooner.
    pub preference: u16,
    /// Its name.
    pub name: String,
    /// What it is an alias of, or its name.
    pub expanded: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Whether DNSSEC proves them.
    pub authentic: bool,
    /// Why it has none.
    pub error: Option<String>,
    /// Records of its certificates that are proved, and that the way to it is proved for.
    pub tlsa: Vec<String>,
    /// The name they belong to.
    pub tlsa_base: Option<String>,
    /// Why nobody knows whether there are any; then it must not be used (RFC 7672 2.1.2).
    pub tlsa_error: Option<String>,
}

/// Finds them, within the time of one lookup.
pub async fn mail_hosts(resolver: &Resolver, domain: &Name) -> Result<MailHosts, LookupError> {
    let found = rt::timeout(LOOKUP_LIMIT, find(resolver, domain)).await;
    found.unwrap_or_else(|_| {
        Err(LookupError {
            name: domain.clone(),
            record_type: RecordType::Mx,
            cause: Cause::Timeout(format!("{} s with all hosts", LOOKUP_LIMIT.as_secs())),
        })
    })
}

async fn find(resolver: &Resolver, domain: &Name) -> Result<MailHosts, LookupError> {
    let random = SystemRandom::new();
    let mut number = || {
        let mut octets = [0; 8];
        // Without randomness the order is that of the names.
        let _ = random.fill(&mut octets);
        u64::from_le_bytes(octets)
    };
    let found = match mx_hosts(resolver, domain, &mut number).await {
        MxOutcome::Hosts(found) => found,
        MxOutcome::NullMx { authentic } => {
            return Ok(MailHosts {
                result: "null-mx",
                expanded: domain.to_string(),
                authentic,
                ..MailHosts::default()
            });
        }
        MxOutcome::NoDomain { name, authentic } => {
            return Ok(MailHosts {
                result: "nxdomain",
                expanded: name.to_string(),
                authentic,
                ..MailHosts::default()
            });
        }
        MxOutcome::Temporary(error) => return Err(error),
    };
    let authentic = found.original_authentic && found.expanded_authentic;
    let mut hosts = Vec::new();
    let all = found.groups.iter();
    let all = all.flat_map(|group| group.hosts.iter().map(|host| (group.preference, host)));
    for (preference, host) in all.take(HOSTS_SHOWN) {
        hosts.push(mail_host(resolver, preference, host, authentic).await);
    }
    Ok(MailHosts {
        result: "ok",
        expanded: found.expanded.to_string(),
        authentic,
        implicit: found.implicit,
        hosts,
    })
}

async fn mail_host(
    resolver: &Resolver,
    preference: u16,
    host: &Name,
    way_is_authentic: bool,
) -> MailHost {
    let mut told = MailHost {
        preference,
        name: host.to_string(),
        ..MailHost::default()
    };
    let found = match host_addresses(resolver, host).await {
        Ok(found) => found,
        Err(error) => {
            told.error = Some(error.to_string());
            return told;
        }
    };
    told.expanded = found.expanded.to_string();
    told.addresses = found.addresses.iter().map(ToString::to_string).collect();
    told.authentic = found.expanded_authentic;
    // RFC 7672 2.2.1: a host that anybody could have named needs no proof of its certificate.
    if way_is_authentic {
        match tlsa_records(resolver, &found, SMTP_PORT).await {
            Ok(None) => (),
            Ok(Some(tlsa)) => {
                let records = tlsa.records.into_iter().map(Record::Tlsa);
                told.tlsa = records.map(|record| record.to_string()).collect();
                told.tlsa_base = Some(tlsa.base.to_string());
            }
            Err(error) => told.tlsa_error = Some(error.to_string()),
        }
    }
    told
}

/// A domain has a handful.
const HOSTS_SHOWN: usize = 20;
const SMTP_PORT: u16 = 25;
