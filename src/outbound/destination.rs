//! From the name of a line to the next hop: the hosts that take the mail, and the site they are. RFC 5321 5.1 (MX), RFC 7505 (null MX).
//! Called by `dispatch`; the line's name is ours, what DNS says is bounded by `dns`. Not here: addresses of hosts, connecting (`connect.rs`).

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns::{MxOutcome, Name, mx_hosts};
use ring::rand::{SecureRandom, SystemRandom};
use shards::faults::point;

use crate::client_tls::Files;
use crate::percore::{PerCore, monotonic};
use crate::queue::retry::Verdict;
use crate::queue::route::{LOCALSERVE, OWN, parts};
use crate::settings::TransportKind;
use crate::settings::names::canonical_domain;

/// Where the mail of a line goes.
#[derive(Clone)]
pub(super) enum Hop {
    /// Accounts of ours; in `localserve` the sender's own INBOX.
    Local,
    /// To a server.
    Server(Rc<Destination>),
    /// Nowhere: this came of it.
    End(Ended),
}

/// What comes of all that take a way.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub verdict: Verdict,
    pub code: u16,
    pub enhanced: (u8, u16, u16),
    pub text: String,
}

/// Hosts that take the mail of a line.
pub(super) struct Destination {
    /// The name of the site: all destinations with the same hosts, reached the same way.
    pub site: Rc<str>,
    /// The recipients' domain, if it led here.
    pub domain: Option<Name>,
    /// The transport, if one is named.
    pub transport: Option<String>,
    /// It, as it was then.
    pub way: Option<Arc<Files>>,
    /// In the order in which they are tried.
    pub hosts: Vec<Host>,
    /// Of each of them; empty: there is one host.
    pub preferences: Vec<u16>,
    /// Whether DNSSEC proves the way from the domain to the names of the hosts. RFC 7672 2.2.
    pub authentic: bool,
    /// There are no MX records: the one host is the domain itself.
    pub implicit: bool,
    /// What the domain is an alias of, or the domain.
    pub expanded: Option<Name>,
    /// When that was found out, and how long it is good.
    pub found: Instant,
    pub good_for: Duration,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(Name),
    /// An address literal; port of its own.
    Address(IpAddr),
}

impl Host {
    /// As it is shown.
    pub fn words(&self) -> String {
        match self {
            Host::Name(name) => name.to_string().trim_end_matches('.').to_owned(),
            Host::Address(address) => format!("[{address}]"),
        }
    }
}

impl Destination {
    pub fn is_fresh(&self) -> bool {
        point("outbound.fresh").is_ok() && self.found.elapsed() < self.good_for
    }

    /// Whether a connection to a host that has been there for so long takes one more message. RFC 5321 5.1 has the hosts tried in the order of their preference
    /// for each message; a connection behind which the first ones may be there again spares that for a while, and no longer.
    pub fn takes_more(&self, host: &str, age: Duration) -> bool {
        let mut each = self.hosts.iter().zip(&self.preferences);
        let found = each.find(|(known, _)| known.words() == host);
        let is_first = found.is_none_or(|(_, own)| self.preferences.iter().all(|p| own <= p));
        is_first || age < BEHIND_FOR
    }

    /// Whether the settings still say so.
    pub fn is_in_force(&self, core: &PerCore) -> bool {
        let Some(name) = &self.transport else {
            return true;
        };
        let live = core.live();
        let now = live.transports.get(name);
        match (now, &self.way) {
            (Some(now), Some(way)) => Arc::ptr_eq(now, way),
            _ => false,
        }
    }
}

/// Finds it.
pub(super) async fn find(core: &Rc<PerCore>, line: &str) -> Result<Hop, Ended> {
    let (transport, domain) = parts(line);
    if transport == Some(LOCALSERVE) || transport == Some(OWN) {
        return Ok(Hop::Local);
    }
    let live = core.live();
    let named = match transport {
        None => None,
        Some(name) => match live.transports.get(name) {
            Some(found) => Some((name, found)),
            None => {
                let text = format!("there is no transport {name:?} in the settings");
                return Err(later((4, 3, 5), text));
            }
        },
    };
    let way = named.map(|(_, files)| files.clone());
    if let Some((name, files)) = named {
        let transport = &files.transport;
        match transport.kind() {
            TransportKind::Direct => (),
            TransportKind::Smarthost => {
                let Some(host) = &transport.host else {
                    return Err(later((4, 3, 5), "the transport has no host".to_owned()));
                };
                let host = match host.as_str().parse::<IpAddr>() {
                    Ok(address) => Host::Address(address),
                    Err(_) => Host::Name(name_of(host.as_str())?),
                };
                return Ok(Hop::Server(Rc::new(Destination {
                    site: format!("{name}>").into(),
                    domain: None,
                    transport: Some(name.to_owned()),
                    way,
                    hosts: vec![host],
                    preferences: Vec::new(),
                    authentic: false,
                    implicit: false,
                    expanded: None,
                    found: monotonic(),
                    good_for: GOOD_MIN,
                })));
            }
            TransportKind::Fail => {
                let code = transport.code;
                return Ok(Hop::End(Ended {
                    verdict: match code {
                        500.. => Verdict::Permanent,
                        _ => Verdict::Temporary,
                    },
                    code,
                    enhanced: ((code / 100) as u8, 7, 0),
                    text: transport.text.clone(),
                }));
            }
            TransportKind::Discard => {
                return Ok(Hop::End(Ended {
                    // Nobody is told that it arrived.
                    verdict: Verdict::HandedOver,
                    code: 250,
                    enhanced: (2, 0, 0),
                    text: "discarded".to_owned(),
                }));
            }
        }
    }
    let domain = domain.unwrap_or_default();
    let prefix = transport.map_or(String::new(), |t| format!("{t}>"));
    if let Some(literal) = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
        // RFC 5321 4.1.3.
        let text = literal
            .strip_prefix("ipv6:")
            .or(literal.strip_prefix("IPv6:"));
        let address: IpAddr = text.unwrap_or(literal).parse().map_err(|_| Ended {
            verdict: Verdict::Permanent,
            code: 0,
            enhanced: (5, 1, 2),
            text: format!("{domain} is no address"),
        })?;
        return Ok(Hop::Server(Rc::new(Destination {
            site: format!("{prefix}[{address}]").into(),
            domain: None,
            transport: transport.map(str::to_owned),
            way,
            hosts: vec![Host::Address(address)],
            preferences: Vec::new(),
            authentic: false,
            implicit: false,
            expanded: None,
            found: monotonic(),
            good_for: GOOD_MIN,
        })));
    }
    let name = name_of(domain)?;
    let random = SystemRandom::new();
    let mut number = || {
        let mut octets = [0; 8];
        // Without randomness the order is that of the names.
        let _ = random.fill(&mut octets);
        u64::from_le_bytes(octets)
    };
    match mx_hosts(&core.resolver, &name, &mut number).await {
        MxOutcome::Hosts(found) => {
            let is_own = |host: &Name| is_own_name(core, host.as_str());
            let ours = found
                .groups
                .iter()
                .find(|group| group.hosts.iter().any(&is_own));
            let least = ours.map(|group| group.preference);
            // RFC 5321 5.1: only those that are nearer than we are.
            let groups = found.groups.iter();
            let groups = groups.filter(|g| least.is_none_or(|least| g.preference < least));
            let each = groups.flat_map(|g| g.hosts.iter().map(|host| (host, g.preference)));
            let (hosts, preferences): (Vec<Host>, Vec<u16>) = each
                .map(|(host, preference)| (Host::Name(host.clone()), preference))
                .unzip();
            if hosts.is_empty() {
                return Err(Ended {
                    verdict: Verdict::Permanent,
                    code: 0,
                    enhanced: (5, 4, 6),
                    text: format!(
                        "the MX records of {domain} name this server, which does not have the domain"
                    ),
                });
            }
            let mut names: Vec<String> = hosts.iter().map(Host::words).collect();
            names.sort_unstable();
            names.truncate(SITE_NAMES_MAX);
            Ok(Hop::Server(Rc::new(Destination {
                site: format!("{prefix}{}", names.join(",")).into(),
                domain: Some(name),
                transport: transport.map(str::to_owned),
                way,
                hosts,
                preferences,
                authentic: found.original_authentic && found.expanded_authentic,
                implicit: found.implicit,
                expanded: Some(found.expanded),
                found: monotonic(),
                good_for: Duration::from_secs(u64::from(found.ttl)).clamp(GOOD_MIN, GOOD_MAX),
            })))
        }
        MxOutcome::NullMx { .. } => Err(Ended {
            verdict: Verdict::Permanent,
            code: 0,
            enhanced: (5, 1, 10),
            text: format!("{domain} takes no mail (null MX)"),
        }),
        MxOutcome::NoDomain { name, .. } => Err(Ended {
            verdict: Verdict::Permanent,
            code: 0,
            enhanced: (5, 1, 2),
            text: format!("there is no domain {}", name.as_str()),
        }),
        MxOutcome::Temporary(error) => Err(later((4, 4, 3), error.to_string())),
    }
}

/// Whether a name is one of this server's: that with which its listeners greet, and those under which it sends.
pub(super) fn is_own_name(core: &PerCore, name: &str) -> bool {
    let live = core.live();
    let server = &live.settings.server;
    let members = server.pool.values().flat_map(|pool| pool.member.values());
    let sends_as = [server.outbound.ehlo_name.as_ref()]
        .into_iter()
        .chain(server.transport.values().map(|t| t.ehlo_name.as_ref()))
        .chain(members.map(|member| member.ehlo_name.as_ref()));
    let sends_as = sends_as.flatten().map(|name| name.as_str());
    let mut own = [server.hostname()].into_iter().chain(sends_as);
    name != "localhost" && own.any(|own| own.eq_ignore_ascii_case(name))
}

fn name_of(domain: &str) -> Result<Name, Ended> {
    // RFC 5891 4.4: what is looked up is the A-label.
    let ascii = canonical_domain(domain);
    Name::parse(ascii.as_deref().unwrap_or(domain)).map_err(|error| Ended {
        verdict: Verdict::Permanent,
        code: 0,
        enhanced: (5, 1, 2),
        text: format!("{domain:?} is no domain: {error}"),
    })
}

fn later(enhanced: (u8, u16, u16), text: String) -> Ended {
    Ended {
        verdict: Verdict::Temporary,
        code: 0,
        enhanced,
        text,
    }
}

/// How long a destination is good at least, whatever DNS says, and at most.
const GOOD_MIN: Duration = Duration::from_secs(60);
const GOOD_MAX: Duration = Duration::from_secs(3600);
/// Hosts that make the name of a site.
const SITE_NAMES_MAX: usize = 20;
/// How long a connection takes messages while hosts that come before its own may be there again.
const BEHIND_FOR: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(hosts: &[(&str, u16)]) -> Destination {
        let name = |(host, _): &(&str, u16)| Host::Name(Name::parse(host).unwrap());
        Destination {
            site: "site".into(),
            domain: None,
            transport: None,
            way: None,
            hosts: hosts.iter().map(name).collect(),
            preferences: hosts.iter().map(|(_, preference)| *preference).collect(),
            authentic: false,
            implicit: false,
            expanded: None,
            found: monotonic(),
            good_for: GOOD_MIN,
        }
    }

    #[test]
    fn a_host_behind_others_takes_mail_for_a_while_and_those_before_it_always() {
        let mail = destination(&[("a.example", 10), ("b.example", 10), ("c.example", 20)]);
        let age = |secs: u64| Duration::from_secs(secs);
        for first in ["a.example", "b.example"] {
            assert!(mail.takes_more(first, age(86_400)), "{first}");
        }
        assert!(mail.takes_more("c.example", age(299)));
        assert!(!mail.takes_more("c.example", age(300)));
        // For another domain of its site it comes first.
        let other = destination(&[("c.example", 10), ("a.example", 20), ("b.example", 20)]);
        assert!(other.takes_more("c.example", age(86_400)));
        assert!(!other.takes_more("a.example", age(86_400)));
        // One host has no preference, and one that is not known here is another's to judge.
        let mut alone = destination(&[("a.example", 0)]);
        alone.preferences.clear();
        for host in ["a.example", "x.example"] {
            assert!(
                alone.takes_more(host, age(86_400)) && mail.takes_more("x.example", age(86_400))
            );
        }
    }
}
