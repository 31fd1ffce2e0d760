//! The tables `[outbound]`, `[transport]` and `[[route]]` of the static file: how mail leaves. Take effect at reload.
//! RFC 5321 4.5.3.2 (timeouts), RFC 8314 3.3 (submission to a smarthost), RFC 1928 (SOCKS5).
//! Not here: when a recipient is tried (`queue.rs`), whether the files that are named can be read (`machine.rs`).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use sasl::Mechanism;
use serde::{Deserialize, Serialize};

use super::names::{DomainName, canonical_domain};
use super::network::IpNetwork;
use super::remote::{CertificateFingerprint, HostName, MechanismName};
use super::units::{Bytes, Secs};

/// How mail goes to other servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// The port of the servers that a domain's MX records name.
    pub port: u16,
    /// What EHLO says. `None`: the hostname.
    pub ehlo_name: Option<DomainName>,
    /// How long a connection to one address may take to come about.
    pub connect_timeout_secs: Secs,
    /// How long a reply may take.
    pub reply_timeout_secs: Secs,
    /// How long the reply to a whole message may take.
    pub final_reply_timeout_secs: Secs,
    /// How long a part of a message may take to be taken.
    pub write_timeout_secs: Secs,
    /// How long a connection is kept for the next message.
    pub idle_secs: Secs,
    /// Connections of a core.
    pub connections_per_core_max: u32,
    /// Connections to a site, from all cores.
    pub connections_per_site_max: u32,
    /// Connections to a site that nothing is known of.
    pub connections_at_first: u32,
    /// Messages on one connection.
    pub messages_per_connection_max: u32,
    /// Recipients of one transaction.
    pub recipients_per_transaction_max: u32,
    /// Addresses of a site's hosts that are tried in one attempt.
    pub addresses_per_attempt_max: u32,
    /// How long a site is left alone that could not be reached: at first, and in the end.
    pub pause_first_secs: Secs,
    /// See there.
    pub pause_max_secs: Secs,
    /// Octets of messages that a core has in memory while it sends them.
    pub memory_max_bytes: Bytes,
    /// No mail goes to addresses of these networks that a domain's records or a recipient names. Those of `[transport]` are the operator's own.
    pub refuse_networks: Vec<IpNetwork>,
    /// Nor to an address of this machine's own interfaces, loopback aside: what listens there may trust whoever comes from there, too.
    pub refuse_own_addresses: bool,
    /// Rules by host and by reply, before the built-in ones. `None`: those alone.
    pub shaping_file: Option<PathBuf>,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            port: 25,
            ehlo_name: None,
            connect_timeout_secs: Secs::new(30),
            reply_timeout_secs: Secs::minutes(5),
            final_reply_timeout_secs: Secs::minutes(10),
            write_timeout_secs: Secs::minutes(3),
            idle_secs: Secs::new(5),
            connections_per_core_max: 2_000,
            connections_per_site_max: 20,
            connections_at_first: 4,
            messages_per_connection_max: 1_000,
            recipients_per_transaction_max: 100,
            addresses_per_attempt_max: 8,
            pause_first_secs: Secs::new(30),
            pause_max_secs: Secs::minutes(15),
            memory_max_bytes: Bytes::mib(64),
            refuse_networks: NOWHERE.iter().filter_map(|n| network(n)).collect(),
            refuse_own_addresses: true,
            shaping_file: None,
        }
    }
}

fn network(text: &str) -> Option<IpNetwork> {
    text.to_owned().try_into().ok()
}

/// This machine itself (RFC 1122 3.2.1.3, RFC 4291 2.5), and groups (RFC 5771, RFC 4291 2.7). What listens there may trust whoever comes from there.
const NOWHERE: [&str; 7] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::1/128",
    "ff00::/8",
];

impl Outbound {
    /// Why nothing is sent to an address that somebody else has named: the setting, and what it means. `is_own`: whether it is one of this machine's.
    pub fn refuses(
        &self,
        address: IpAddr,
        is_own: impl Fn(IpAddr) -> bool,
    ) -> Option<&'static str> {
        if self.refuse_networks.iter().any(|n| n.0.has(address)) {
            return Some("where nothing is sent (outbound.refuse_networks)");
        }
        let is_refused = self.refuse_own_addresses && !address.is_loopback() && is_own(address);
        is_refused.then_some("which is this machine's own (outbound.refuse_own_addresses)")
    }
}

/// A way to send, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transport {
    /// Which; it must be written.
    pub kind: Option<TransportKind>,
    /// Of a smarthost.
    pub host: Option<HostName>,
    /// Its port; see [`Transport::port`].
    pub port: Option<u16>,
    /// How the connection to it is protected.
    pub tls: SmarthostTls,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The one certificate to trust, whoever signed it.
    pub fingerprint: Option<CertificateFingerprint>,
    /// The name to log in with. `None`: no login by password.
    pub user: Option<String>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Mechanisms that may be used, the best first.
    pub mechanisms: Vec<MechanismName>,
    /// A certificate (PEM) to show it.
    pub client_cert: Option<PathBuf>,
    /// Its private key (PEM); without a certificate, one is made of it.
    pub client_key: Option<PathBuf>,
    /// A SOCKS5 server that connects for us.
    pub proxy: Option<SocketAddr>,
    /// The name to log in with there, RFC 1929. `None`: no login.
    pub proxy_user: Option<String>,
    /// A file whose first line is the password for it.
    pub proxy_password_file: Option<PathBuf>,
    /// What EHLO says. `None`: as in `[outbound]`.
    pub ehlo_name: Option<DomainName>,
    /// Addresses of this machine to connect from, one of each family at most; a family without one is not used. Empty: the system chooses.
    pub source_addresses: Vec<IpAddr>,
    /// The pool whose addresses they are, in place of `source_addresses`.
    pub pool: Option<String>,
    /// Whether IPv4 is used.
    pub ipv4: bool,
    /// Whether IPv6 is.
    pub ipv6: bool,
    /// Connections to a site by this way, from all cores. `None`: as in `[outbound]`.
    pub connections_max: Option<u32>,
    /// What `fail` says.
    pub code: u16,
    /// The same in words.
    pub text: String,
}

/// What a transport does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportKind {
    /// To the hosts of the recipient's domain.
    #[default]
    Direct,
    /// To one server that sends it on.
    Smarthost,
    /// Nowhere: fails with a code.
    Fail,
    /// Nowhere: as if it were delivered.
    Discard,
}

/// How the connection to a smarthost is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmarthostTls {
    /// TLS from the first octet, RFC 8314 3.3.
    Implicit,
    /// RFC 3207; never without it.
    #[default]
    Starttls,
    /// RFC 3207 if it is offered, whoever that is; never with a password in clear.
    Opportunistic,
    /// Not at all.
    None,
}

impl Default for Transport {
    fn default() -> Self {
        let mechanisms = [
            Mechanism::External,
            Mechanism::ScramSha256Plus,
            Mechanism::ScramSha256,
            Mechanism::ScramSha1Plus,
            Mechanism::ScramSha1,
            Mechanism::Plain,
        ];
        Self {
            kind: None,
            host: None,
            port: None,
            tls: SmarthostTls::default(),
            ca_file: None,
            fingerprint: None,
            user: None,
            password_file: None,
            mechanisms: mechanisms.map(MechanismName).to_vec(),
            client_cert: None,
            client_key: None,
            proxy: None,
            proxy_user: None,
            proxy_password_file: None,
            ehlo_name: None,
            source_addresses: Vec::new(),
            pool: None,
            ipv4: true,
            ipv6: true,
            connections_max: None,
            code: 554,
            text: "not sent from here".to_owned(),
        }
    }
}

impl Transport {
    /// RFC 8314 3.3 (465), RFC 6409 3.1 (587).
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            SmarthostTls::Implicit => 465,
            SmarthostTls::Starttls => 587,
            SmarthostTls::Opportunistic | SmarthostTls::None => 25,
        })
    }

    /// The name to log in with; empty without one.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }

    /// What it does.
    pub fn kind(&self) -> TransportKind {
        self.kind.unwrap_or_default()
    }

    /// Whether the smarthost is this machine, with nobody on the way to it. A proxy's idea of a loopback address is another machine's.
    pub fn is_on_this_machine(&self) -> bool {
        self.proxy.is_none() && self.host.as_ref().is_some_and(HostName::is_loopback)
    }

    /// Whether the next hop depends on the recipient's domain.
    pub fn is_by_domain(&self) -> bool {
        self.kind() == TransportKind::Direct
    }

    /// Paths of files.
    pub(super) fn paths(&mut self) -> [&mut Option<PathBuf>; 5] {
        [
            &mut self.ca_file,
            &mut self.password_file,
            &mut self.client_cert,
            &mut self.client_key,
            &mut self.proxy_password_file,
        ]
    }
}

/// The transport of `ringmail localserve`.
pub const LOCALSERVE: &str = "localserve";
/// The transport of mail for accounts of ours.
pub const OWN: &str = "own";

/// Which mail goes by which transport: all that is said must fit. The first that fits counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Who sends. Empty: anybody.
    pub accounts: Vec<String>,
    /// Domains of the reverse-path. Empty: any.
    pub from_domains: Vec<DomainPattern>,
    /// Domains of the recipient. Empty: any.
    pub to_domains: Vec<DomainPattern>,
    /// Attempts that were made before.
    pub attempts_min: u32,
    /// The transport. Empty: to the hosts of the domain.
    pub transport: String,
}

impl Route {
    /// Whether a recipient goes this way.
    pub fn fits(&self, account: &str, from: &str, to: &str, attempts: u32) -> bool {
        let is_of = |patterns: &[DomainPattern], domain: &str| {
            patterns.is_empty() || patterns.iter().any(|p| p.fits(domain))
        };
        attempts >= self.attempts_min
            && (self.accounts.is_empty() || self.accounts.iter().any(|a| a == account))
            && is_of(&self.from_domains, from)
            && is_of(&self.to_domains, to)
    }
}

/// A domain; with a dot in front, the domain and all below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DomainPattern(Box<str>);

impl DomainPattern {
    /// Whether a domain is meant.
    pub fn fits(&self, domain: &str) -> bool {
        let domain = canonical_domain(domain);
        let Some(domain) = domain.as_deref() else {
            return false;
        };
        match self.0.strip_prefix('.') {
            None => *self.0 == *domain,
            Some(base) => domain == base || domain.ends_with(&*self.0),
        }
    }
}

impl TryFrom<String> for DomainPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (dot, name) = match text.strip_prefix('.') {
            Some(name) => (".", name),
            None => ("", text.as_str()),
        };
        match canonical_domain(name) {
            Some(name) => Ok(Self(format!("{dot}{name}").into())),
            None => Err(format!(
                "{text:?} is no domain: expected example.org, or .example.org with all below it"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> DomainPattern {
        DomainPattern::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn this_machine_is_nowhere_to_send_to() {
        let outbound = Outbound::default();
        assert_eq!(outbound.refuse_networks.len(), NOWHERE.len());
        for (address, is_refused) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("::1", true),
            ("0.0.0.0", true),
            ("239.1.1.1", true),
            ("ff02::1", true),
            ("192.168.1.1", false),
            ("2001:db8::1", false),
        ] {
            let refused = outbound.refuses(address.parse().unwrap(), |_| false);
            assert_eq!(refused.is_some(), is_refused, "{address}");
        }
        let own = |outbound: &Outbound, address: &str| {
            let refused = outbound.refuses(address.parse().unwrap(), |_| true);
            refused.is_some()
        };
        assert!(own(&outbound, "192.168.1.1"));
        let anywhere = Outbound {
            refuse_networks: Vec::new(),
            ..Outbound::default()
        };
        assert!(own(&anywhere, "192.168.1.1") && !own(&anywhere, "127.0.0.1"));
        let all = Outbound {
            refuse_own_addresses: false,
            ..anywhere
        };
        assert!(!own(&all, "192.168.1.1"));
    }

    #[test]
    fn a_dot_stands_for_all_below() {
        assert!(pattern("Example.org").fits("example.org"));
        assert!(pattern("b\u{fc}cher.example").fits("xn--bcher-kva.example"));
        assert!(!pattern("example.org").fits("a.example.org"));
        assert!(pattern(".example.org").fits("a.example.org"));
        assert!(pattern(".example.org").fits("example.org"));
        assert!(!pattern(".example.org").fits("anexample.org"));
        assert!(!pattern("example.org").fits("[127.0.0.1]"));
        assert!(DomainPattern::try_from(".".to_owned()).is_err());
    }

    #[test]
    fn all_that_a_route_says_must_fit() {
        let route = Route {
            accounts: vec!["anna".into()],
            from_domains: vec![pattern("a.example")],
            to_domains: vec![pattern(".b.example"), pattern("c.example")],
            attempts_min: 2,
            transport: "x".into(),
        };
        assert!(route.fits("anna", "a.example", "x.b.example", 2));
        assert!(route.fits("anna", "a.example", "c.example", 7));
        assert!(!route.fits("ben", "a.example", "c.example", 7));
        assert!(!route.fits("anna", "b.example", "c.example", 7));
        assert!(!route.fits("anna", "a.example", "d.example", 7));
        assert!(!route.fits("anna", "a.example", "c.example", 1));
        assert!(Route::default().fits("", "", "x.example", 0));
    }
}
