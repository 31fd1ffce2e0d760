//! A connection to one of a destination's hosts: addresses in turn, greeting, TLS, login. RFC 5321 5.1 (all addresses), RFC 3207 (STARTTLS),
//! RFC 7435 (TLS where it can be had). Called by `carry.rs`. Not here: MX records (`destination.rs`), transactions.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use dane::tls::{Policy, VerdictCell, Verifier};
use dns::host_addresses;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shards::net::{Connection, tls_error};
use smtp::client::Event;
use smtp::{HelloKind, Reply};

use super::destination::{Destination, Host};
use super::link::{Link, Lost, Times, remote, said, words};
use super::login::{Refused, log_in};
use super::transaction::Result1;
use crate::client_tls;
use crate::percore::PerCore;
use crate::queue::retry::Verdict;
use crate::settings::{SmarthostTls, Transport};

/// Why there is no connection.
pub(super) struct Unconnected {
    pub verdict: Verdict,
    pub code: u16,
    pub enhanced: Option<(u8, u16, u16)>,
    pub text: String,
    /// The server that said so; empty if none did.
    pub remote: String,
    /// It answered, and says that there is too much for it.
    pub overload: bool,
}

impl Unconnected {
    fn ours(enhanced: (u8, u16, u16), text: String, remote: String) -> Unconnected {
        Unconnected {
            verdict: Verdict::Temporary,
            code: 0,
            enhanced: Some(enhanced),
            text,
            remote,
            overload: false,
        }
    }

    fn said(what: &str, reply: &Reply, remote: String) -> Unconnected {
        let result = Result1::of(0, reply);
        Unconnected {
            // RFC 7504: 521, it takes no mail at all. What else it refuses, another host or time may change.
            verdict: match result.code {
                521 => Verdict::Permanent,
                _ => Verdict::Temporary,
            },
            code: result.code,
            enhanced: result.enhanced,
            text: format!("{what}{}", result.text),
            remote,
            overload: reply.code.is_transient(),
        }
    }

    fn lost(lost: &Lost, remote: String) -> Unconnected {
        match lost {
            Lost::Closing(reply) => Unconnected::said("", reply, remote),
            lost => {
                let mut ours = Unconnected::ours((4, 4, 2), lost.words(), remote);
                ours.overload = lost.is_overload();
                ours
            }
        }
    }
}

/// Connects to the first address that lets it.
pub(super) async fn connect(
    core: &Rc<PerCore>,
    destination: &Destination,
) -> Result<Link, Unconnected> {
    let live = core.live();
    let server = &live.settings.server;
    let transport = destination.transport.as_ref();
    let transport = transport.and_then(|name| server.transport.get(name));
    let smarthost = transport.filter(|t| !t.is_by_domain());
    let port = smarthost.map_or(server.outbound.port, Transport::port);
    let mut tries = server.outbound.addresses_per_attempt_max;
    let mut failed = None;
    for host in &destination.hosts {
        let addresses = match addresses(core, host).await {
            Ok(addresses) => addresses,
            Err(text) => {
                failed = Some(Unconnected::ours((4, 4, 4), text, String::new()));
                continue;
            }
        };
        for address in addresses {
            let allowed = transport.is_none_or(|t| match address {
                IpAddr::V4(_) => t.ipv4,
                IpAddr::V6(_) => t.ipv6,
            });
            if !allowed {
                continue;
            }
            if tries == 0 {
                break;
            }
            tries -= 1;
            let to = SocketAddr::new(address, port);
            let call = Call {
                core,
                destination,
                transport,
                host,
                to,
            };
            match call.all().await {
                Ok(link) => return Ok(link),
                Err(error) => {
                    tracing::debug!(
                        remote = remote(&host.words(), to),
                        error = error.text,
                        "no connection"
                    );
                    failed = Some(error);
                }
            }
        }
    }
    Err(failed.unwrap_or_else(|| {
        let text = "no host has an address that may be used".to_owned();
        Unconnected::ours((4, 4, 4), text, String::new())
    }))
}

async fn addresses(core: &Rc<PerCore>, host: &Host) -> Result<Vec<IpAddr>, String> {
    match host {
        Host::Address(address) => Ok(vec![*address]),
        Host::Name(name) if name.as_str() == "localhost" => Ok(vec![
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ]),
        Host::Name(name) => match host_addresses(&core.resolver, name).await {
            Ok(found) => Ok(found.addresses),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// One address.
struct Call<'a> {
    core: &'a Rc<PerCore>,
    destination: &'a Destination,
    transport: Option<&'a Transport>,
    host: &'a Host,
    to: SocketAddr,
}

/// How TLS is to be had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Security {
    /// From the first octet.
    Implicit,
    /// By STARTTLS, or not at all.
    Must,
    /// If it is offered.
    May,
    None,
}

impl Call<'_> {
    async fn all(&self) -> Result<Link, Unconnected> {
        let smarthost = self.transport.filter(|t| !t.is_by_domain());
        let security = match smarthost.map(|t| t.tls) {
            None | Some(SmarthostTls::Opportunistic) => Security::May,
            Some(SmarthostTls::Implicit) => Security::Implicit,
            Some(SmarthostTls::Starttls) => Security::Must,
            Some(SmarthostTls::None) => Security::None,
        };
        let mut link = match self.open(security).await {
            // RFC 7435: rather in clear than not at all, where nothing was promised.
            Err(Trouble::Tls(text)) if security == Security::May => {
                tracing::debug!(
                    remote = self.remote(),
                    error = text,
                    "TLS does not come about, once more without"
                );
                self.open(Security::None).await
            }
            other => other,
        }
        .map_err(|trouble| self.unconnected(trouble))?;
        if let Some(transport) = smarthost {
            let name = self.destination.transport.as_deref().unwrap_or_default();
            let live = self.core.live();
            let Some(files) = live.transports.get(name) else {
                return Err(self.unconnected(Trouble::Login("the transport is gone".to_owned())));
            };
            let is_verified = matches!(security, Security::Implicit | Security::Must);
            let result = log_in(self.core, &mut link, transport, files, is_verified).await;
            match result {
                Ok(()) => (),
                Err(Refused::Lost(lost)) => return Err(Unconnected::lost(&lost, self.remote())),
                Err(Refused::No(text)) => {
                    link.quit().await;
                    return Err(self.unconnected(Trouble::Login(text)));
                }
            }
        }
        Ok(link)
    }

    fn remote(&self) -> String {
        remote(&self.host.words(), self.to)
    }

    fn unconnected(&self, trouble: Trouble) -> Unconnected {
        let remote = self.remote();
        match trouble {
            Trouble::Unreachable(text) => Unconnected::ours((4, 4, 1), text, remote),
            Trouble::Refused(what, reply) => Unconnected::said(what, &reply, remote),
            Trouble::Lost(lost) => Unconnected::lost(&lost, remote),
            Trouble::Tls(text) => Unconnected::ours((4, 7, 5), text, remote),
            Trouble::Login(text) => Unconnected::ours((4, 7, 8), text, remote),
            Trouble::Loop => {
                let text = "this is our own server: the mail would run in a circle".to_owned();
                let mut ours = Unconnected::ours((5, 4, 6), text, remote);
                ours.verdict = Verdict::Permanent;
                ours
            }
        }
    }

    async fn open(&self, security: Security) -> Result<Link, Trouble> {
        let live = self.core.live();
        let outbound = &live.settings.server.outbound;
        let times = Times::of(outbound);
        let connection = Connection::connect(self.to, times.connect)
            .await
            .map_err(|e| Trouble::Unreachable(words(&e)))?;
        let own = self.transport.and_then(|t| t.ehlo_name.as_ref());
        let own = own.or(outbound.ehlo_name.as_ref());
        let own = own.map_or(live.settings.server.hostname(), |name| name.as_str());
        let mut link = Link::new(connection, &self.host.words(), own, times);
        if security == Security::Implicit {
            self.shake_hands(&mut link, times).await?;
        }
        match link.next().await? {
            Event::Banner(reply) if reply.is_positive() => (),
            Event::Banner(reply) => {
                link.quit().await;
                return Err(Trouble::Refused("", reply));
            }
            other => return Err(out_of_turn(&other)),
        }
        self.hello(&mut link, own).await?;
        let offered = link.session.extensions().starttls;
        match security {
            Security::Must if !offered => {
                link.quit().await;
                let text = "offers no STARTTLS, or somebody on the way removes it";
                return Err(Trouble::Tls(text.to_owned()));
            }
            Security::Must | Security::May if offered => {
                link.session.start_tls();
                match link.next().await? {
                    Event::StartTls(reply) if reply.is_positive() => (),
                    Event::StartTls(reply) => {
                        let text = format!("refuses STARTTLS: {}", said(&reply));
                        link.quit().await;
                        return Err(Trouble::Tls(text));
                    }
                    other => return Err(out_of_turn(&other)),
                }
                // RFC 3207 4.2: what was said ahead, without protection, counts for nothing.
                if !link.is_silent() {
                    let text = "speaks on in the clear after its answer to STARTTLS";
                    return Err(Trouble::Tls(text.to_owned()));
                }
                self.shake_hands(&mut link, times).await?;
                link.session.tls_started();
                self.hello(&mut link, own).await?;
            }
            _ => (),
        }
        Ok(link)
    }

    async fn hello(&self, link: &mut Link, own: &str) -> Result<(), Trouble> {
        for kind in [HelloKind::Extended, HelloKind::Plain] {
            link.session.hello(kind);
            match link.next().await? {
                Event::Hello(reply) if reply.is_positive() => {
                    let name = reply.text.split_ascii_whitespace().next();
                    let is_ours = name.is_some_and(|name| name.eq_ignore_ascii_case(own));
                    if is_ours && own != "localhost" {
                        return Err(Trouble::Loop);
                    }
                    return Ok(());
                }
                // RFC 5321 3.2: an old server.
                Event::Hello(reply)
                    if kind == HelloKind::Extended
                        && (500..=504).contains(&reply.code.number()) => {}
                Event::Hello(reply) => return Err(Trouble::Refused("", reply)),
                other => return Err(out_of_turn(&other)),
            }
        }
        Ok(())
    }

    async fn shake_hands(&self, link: &mut Link, times: Times) -> Result<(), Trouble> {
        let (config, name) = self.tls()?;
        let shaken = link
            .connection
            .start_client_tls(config, name, times.reply)
            .await;
        shaken.map_err(|error| {
            let text = match tls_error(&error) {
                Some(error) => client_tls::explain(error),
                None => format!("TLS: {}", words(&error)),
            };
            Trouble::Tls(text)
        })?;
        link.tls = link.connection.tls().map_or("", |facts| facts.version);
        Ok(())
    }

    fn tls(&self) -> Result<(Arc<ClientConfig>, ServerName<'static>), Trouble> {
        let name = match self.host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned())
                .map_err(|_| Trouble::Tls("TLS: the host's name cannot be used".to_owned()))?,
        };
        let live = self.core.live();
        if self.transport.is_some_and(|t| !t.is_by_domain()) {
            let transport = self.destination.transport.as_deref().unwrap_or_default();
            let files = live.transports.get(transport);
            let config = files.and_then(|files| files.tls.clone());
            let config = config.ok_or_else(|| Trouble::Tls("the transport is gone".to_owned()))?;
            return Ok((config, name));
        }
        let verifier = Verifier::new(
            Policy::Opportunistic,
            live.authorities.clone(),
            VerdictCell::default(),
        );
        let config = verifier
            .into_config()
            .map_err(|e| Trouble::Tls(format!("TLS: {e}")))?;
        Ok((Arc::new(config), name))
    }
}

enum Trouble {
    Unreachable(String),
    Refused(&'static str, Reply),
    Lost(Lost),
    Tls(String),
    Login(String),
    Loop,
}

impl From<Lost> for Trouble {
    fn from(lost: Lost) -> Trouble {
        Trouble::Lost(lost)
    }
}

fn out_of_turn(event: &Event) -> Trouble {
    Trouble::Lost(Lost::Protocol(format!("out of turn: {event:?}")))
}
