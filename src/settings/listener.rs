//! Where the server listens: addresses, ports, TLS, and what each port may be used for.
//! RFC 8314 3.3 (implicit TLS for submission and access), RFC 3207 and RFC 9051 6.2.1 (STARTTLS).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::names::DomainName;
use super::units::Secs;

/// A named group of addresses and the services on each of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// Name in logs and metrics.
    pub name: String,
    /// Addresses to bind.
    pub addresses: Vec<IpAddr>,
    /// Name in greetings, instead of the server's.
    pub hostname: Option<DomainName>,
    /// Certificates; without them there is neither STARTTLS nor a port with TLS from the start.
    pub tls: Option<Tls>,
    /// Mail from other servers.
    pub smtp: Option<SmtpService>,
    /// Mail from our users.
    pub submission: Option<StartTlsService>,
    /// Mail from our users, TLS from the start.
    pub submissions: Option<ImplicitTlsService>,
    /// Reading mail.
    pub imap: Option<StartTlsService>,
    /// Reading mail, TLS from the start.
    pub imaps: Option<ImplicitTlsService>,
    /// HTTP: health, metrics, the sending API.
    pub http: Option<HttpService>,
    /// The same, TLS from the start.
    pub https: Option<HttpService>,
}

/// Certificates of a listener, and how they are used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Chain and key, one pair or several: the client's SNI picks, the first is for all others.
    pub certificates: Vec<Certificate>,
    /// Oldest version of TLS.
    pub min_version: TlsVersion,
    /// Whether clients of submission and IMAP are asked for a certificate, whose key may log them in. None is required.
    pub client_certificates: bool,
    /// How often the files are looked at for a change.
    pub reread_secs: Secs,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            min_version: TlsVersion::V1_2,
            client_certificates: true,
            reread_secs: Secs::minutes(1),
        }
    }
}

/// A certificate chain and its key, both in PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Certificate {
    /// The chain, our own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246. RFC 8996 forbids all before it.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Whether a port without TLS from the start lets clients switch to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartTls {
    /// Never announced.
    Off,
    /// Announced when the listener has certificates.
    #[default]
    Offer,
    /// Nothing of use happens before it.
    Required,
}

/// Port 25.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmtpService {
    /// Off when false, as if the table were absent.
    pub enabled: bool,
    /// TCP port; `None`: the standard one.
    pub port: Option<u16>,
    /// STARTTLS.
    pub starttls: StartTls,
    /// Whether DSN is offered (RFC 3461): then senders whom nobody has verified get the reports of success that they ask for.
    pub dsn: bool,
}

impl Default for SmtpService {
    fn default() -> Self {
        Self {
            enabled: true,
            port: None,
            starttls: StartTls::Offer,
            dsn: false,
        }
    }
}

/// A service for our users that begins without TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StartTlsService {
    /// Off when false, as if the table were absent.
    pub enabled: bool,
    /// TCP port; `None`: the standard one.
    pub port: Option<u16>,
    /// STARTTLS.
    pub starttls: StartTls,
    /// Whether passwords may travel without TLS.
    pub allow_plain_auth: bool,
}

impl Default for StartTlsService {
    fn default() -> Self {
        Self {
            enabled: true,
            port: None,
            starttls: StartTls::Offer,
            allow_plain_auth: false,
        }
    }
}

/// A service with TLS from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImplicitTlsService {
    /// Off when false, as if the table were absent.
    pub enabled: bool,
    /// TCP port; `None`: the standard one.
    pub port: Option<u16>,
}

impl Default for ImplicitTlsService {
    fn default() -> Self {
        Self {
            enabled: true,
            port: None,
        }
    }
}

/// HTTP, with TLS or without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpService {
    /// Off when false, as if the table were absent.
    pub enabled: bool,
    /// TCP port; `None`: the standard one.
    pub port: Option<u16>,
    /// Whether `/metrics` answers here.
    pub metrics: bool,
    /// Whether `/healthz` and `/readyz` answer here.
    pub health: bool,
    /// Whether the sending API answers here, below `/webapi/`.
    pub webapi: bool,
    /// Whether passwords may travel without TLS.
    pub allow_plain_auth: bool,
    /// Whether a proxy in front says by X-Forwarded-For who the client is.
    pub forwarded: bool,
}

impl Default for HttpService {
    fn default() -> Self {
        Self {
            enabled: true,
            port: None,
            metrics: false,
            health: true,
            webapi: false,
            allow_plain_auth: false,
            forwarded: false,
        }
    }
}

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// Mail from other servers.
    Smtp,
    /// Mail from our users.
    Submission,
    /// Mail from our users, TLS from the start.
    Submissions,
    /// Reading mail.
    Imap,
    /// Reading mail, TLS from the start.
    Imaps,
    /// Health, metrics, the sending API.
    Http,
    /// The same, TLS from the start.
    Https,
}

impl Door {
    /// The field of [`Listener`] that opens it; also its word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is assigned to it.
    pub fn standard_port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Submission => 587,
            Self::Submissions => 465,
            Self::Imap => 143,
            Self::Imaps => 993,
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Whether TLS begins before the first octet of the protocol.
    pub fn implicit_tls(self) -> bool {
        matches!(self, Self::Submissions | Self::Imaps | Self::Https)
    }
}

/// One socket to listen on, with the rules of its door.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'s> {
    /// The listener it belongs to.
    pub listener: &'s Listener,
    /// What it is for.
    pub door: Door,
    /// Address and port.
    pub address: SocketAddr,
    /// STARTTLS here: [`StartTls::Off`] also where there is no certificate or TLS is implicit.
    pub starttls: StartTls,
    /// Whether passwords may travel without TLS here.
    pub allow_plain_auth: bool,
}

impl Listener {
    /// Every socket of this listener, door by door.
    pub fn endpoints(&self) -> Vec<Endpoint<'_>> {
        let mut endpoints = Vec::new();
        for service in self.services() {
            let starttls = if self.has_certificates() {
                service.starttls
            } else {
                StartTls::Off
            };
            endpoints.extend(self.addresses.iter().map(|address| Endpoint {
                listener: self,
                door: service.door,
                address: SocketAddr::new(*address, service.port),
                starttls,
                allow_plain_auth: service.allow_plain_auth,
            }));
        }
        endpoints
    }

    /// Whether TLS is possible here.
    pub fn has_certificates(&self) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|tls| !tls.certificates.is_empty())
    }

    /// The enabled services as written.
    pub(super) fn services(&self) -> Vec<Service> {
        let with_starttls = |door, service: &Option<StartTlsService>| {
            let service = service.as_ref().filter(|s| s.enabled)?;
            Some(Service::new(
                door,
                service.port,
                service.starttls,
                service.allow_plain_auth,
            ))
        };
        let with_tls = |door, service: &Option<ImplicitTlsService>| {
            let service = service.as_ref().filter(|s| s.enabled)?;
            Some(Service::new(door, service.port, StartTls::Off, false))
        };
        let smtp = self.smtp.as_ref().filter(|s| s.enabled);
        let http = |door, service: &Option<HttpService>| {
            let service = service.as_ref().filter(|s| s.enabled)?;
            Some(Service::new(door, service.port, StartTls::Off, false))
        };
        let services = [
            smtp.map(|s| Service::new(Door::Smtp, s.port, s.starttls, false)),
            with_starttls(Door::Submission, &self.submission),
            with_tls(Door::Submissions, &self.submissions),
            with_starttls(Door::Imap, &self.imap),
            with_tls(Door::Imaps, &self.imaps),
            http(Door::Http, &self.http),
            http(Door::Https, &self.https),
        ];
        services.into_iter().flatten().collect()
    }
}

/// An enabled service of a listener, before it is multiplied by the addresses.
#[derive(Clone, Copy)]
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) port: u16,
    pub(super) starttls: StartTls,
    pub(super) allow_plain_auth: bool,
}

impl Service {
    fn new(door: Door, port: Option<u16>, starttls: StartTls, allow_plain_auth: bool) -> Self {
        Self {
            door,
            port: port.unwrap_or(door.standard_port()),
            starttls,
            allow_plain_auth,
        }
    }
}
