//! A connection to one of a destination's hosts: addresses in turn, greeting, TLS as it is demanded, login. RFC 5321 5.1 (all addresses),
//! RFC 3207 (STARTTLS), RFC 7435 (TLS where it can be had), RFC 8460 (what came of TLS is noted). Called by `carry.rs`. Not here: MX records
//! (`destination.rs`), what is demanded (`tls_policy`), transactions.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dane::tls::{Policy, VerdictCell, Verifier, handshake_failure};
use dns::{HostAddresses, host_addresses};
use rustls::ClientConfig;
use rustls::pki_types::{ServerName, UnixTime};
use shards::net::tls_error;
use smtp::client::Event;
use smtp::{HelloKind, Reply};
use tls_rpt::ResultType;

use super::destination::{Destination, Host, is_own_name};
use super::lack::{Lack, Wanted};
use super::link::{Link, Lost, Times, remote, said, words};
use super::login::{Refused, log_in};
use super::remembered::{self, Answered};
use super::start::{Start, Unopened};
use super::transaction::RecipientResult;
use crate::client_tls;
use crate::lookup::is_own;
use crate::percore::{PerCore, monotonic};
use crate::queue::Phase;
use crate::queue::retry::Verdict;
use crate::settings::{ReplyStage, SmarthostTls, Transport};
use crate::tls_policy::{Held, RefusalCause, Requirement, SessionFacts, Target};

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
    /// What the recipients' domain or the message demands of TLS is not met: another's mail may go.
    pub is_demanded: bool,
    /// It is a policy that has to be looked at again first.
    pub is_policy_old: bool,
    /// The message asks for more than some host offers: another's mail may go there.
    pub is_messages: bool,
    /// For want of an address of ours: no server was asked.
    pub is_ours: bool,
    /// To what it was said.
    pub stage: ReplyStage,
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
            is_policy_old: false,
            is_demanded: false,
            is_messages: false,
            is_ours: false,
            stage: ReplyStage::Connect,
        }
    }

    fn said(what: &str, reply: &Reply, remote: String) -> Unconnected {
        let result = RecipientResult::of(0, ReplyStage::Connect, reply);
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
            is_policy_old: false,
            is_demanded: false,
            is_messages: false,
            is_ours: false,
            stage: ReplyStage::Connect,
        }
    }

    fn make_temporary(&mut self) {
        self.verdict = Verdict::Temporary;
        if let Some((class, ..)) = &mut self.enhanced {
            *class = 4;
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

/// For whom a connection is made.
pub(super) struct For<'a> {
    pub line: &'a Rc<str>,
    /// Whose mail it is.
    pub account: &'a str,
    pub require_tls: Option<bool>,
    /// What the server has to offer.
    pub wanted: &'a Wanted<'a>,
    /// Servers that answered earlier attempts.
    pub before: &'a [Answered],
    /// How far that is.
    pub phase: &'a Phase,
}

/// Connects to the first address that lets it.
pub(super) async fn connect(
    core: &Rc<PerCore>,
    destination: &Destination,
    wanted: &For<'_>,
    start: &Start,
) -> Result<Link, Unconnected> {
    let For {
        line,
        account,
        require_tls,
        wanted,
        before,
        phase,
    } = *wanted;
    // If there is one host alone, it is told as it is of a connection that there is.
    let wanted = Some(wanted).filter(|_| destination.hosts.len() > 1);
    let (mut is_messages, mut is_policy_old) = (false, false);
    let live = core.live();
    let server = &live.settings.server;
    let transport = destination.way.as_ref().map(|files| &files.transport);
    let smarthost = transport.filter(|t| !t.is_by_domain());
    let port = smarthost.map_or(server.outbound.port, Transport::port);
    let needs_tls = needs_tls(core, destination);
    let mut tries = server.outbound.addresses_per_attempt_max;
    let (mut failed, mut is_left) = (None, false);
    let mut lookups = LOOKUPS_MAX;
    // Whether all that was tried failed before it was on its way.
    let mut is_ours = true;
    for host in remembered::hosts(&destination.hosts, &destination.preferences, before) {
        if tries == 0 || lookups == 0 {
            is_left = true;
            break;
        }
        phase.comes_to("looks up the addresses of", &host.words());
        let found = match addresses(core, host).await {
            Ok(found) => found,
            Err(NoAddress { is_none, text }) => {
                lookups -= 1;
                let mut error = Unconnected::ours((4, 4, 4), text, String::new());
                // RFC 5321 5.1: MX records of which none is usable are an error. What the settings name is the operator's.
                if is_none && smarthost.is_none() {
                    error.verdict = Verdict::Permanent;
                    error.enhanced = Some((5, 4, 4));
                }
                failed = worse(failed, error);
                continue;
            }
        };
        let addresses = remembered::addresses(host, &found.addresses, before);
        let mut refused = None;
        let mut addresses = addresses;
        addresses.retain(|address| {
            let why = match smarthost {
                Some(_) => None,
                None => server.outbound.refuses(address.to_canonical(), is_own),
            };
            refused = why.map(|why| (*address, why)).or(refused);
            why.is_none()
        });
        if let (Some((address, why)), true) = (refused, addresses.is_empty()) {
            let text = format!("{} has the address {address}, {why}", host.words());
            let mut error = Unconnected::ours((5, 4, 4), text, String::new());
            error.verdict = Verdict::Permanent;
            failed = worse(failed, error);
            continue;
        }
        phase.goes_on("finds out what is demanded of TLS with");
        let requirement = match demand(core, destination, found, (port, require_tls), account).await
        {
            Ok(requirement) => requirement,
            Err(refused) => {
                is_messages |= refused.is_messages;
                is_policy_old |= refused.is_policy_old;
                failed = worse(failed, refused);
                continue;
            }
        };
        for address in addresses {
            let allowed = transport.is_none_or(|t| match address {
                IpAddr::V4(_) => t.ipv4,
                IpAddr::V6(_) => t.ipv6,
            });
            if !allowed || !start.reaches(address) {
                continue;
            }
            if tries == 0 {
                is_left = true;
                break;
            }
            tries -= 1;
            let to = SocketAddr::new(address, port);
            let call = Call {
                core,
                destination,
                transport,
                start,
                host,
                to,
                requirement: requirement.as_ref(),
                require_tls,
                wanted,
                needs_tls,
                stage: Cell::new(ReplyStage::Connect),
                phase,
            };
            match call.all().await {
                Ok(mut link) => {
                    link.cleared.push((line.clone(), require_tls, monotonic()));
                    link.way = destination.way.clone();
                    link.is_smarthost = smarthost.is_some();
                    return Ok(link);
                }
                Err(error) => {
                    tracing::debug!(
                        remote = remote(&host.words(), to),
                        error = error.text,
                        "no connection"
                    );
                    is_ours &= error.is_ours;
                    is_messages |= error.is_messages;
                    let error = Unconnected {
                        stage: call.stage.get(),
                        ..error
                    };
                    failed = worse(failed, error);
                }
            }
        }
    }
    let mut failed = failed.unwrap_or_else(|| {
        let text = "no host has an address that may be used".to_owned();
        Unconnected::ours((4, 4, 4), text, String::new())
    });
    failed.is_ours &= is_ours;
    failed.is_messages = is_messages;
    failed.is_policy_old = is_policy_old;
    if is_left {
        // Nothing is known of the others.
        failed.make_temporary();
    }
    Err(failed)
}

/// What is told of hosts that failed: the last, but a refusal for good only if all of them refuse (RFC 5321 5.1, RFC 8689 4.2.1: one that
/// could not be had now may take it later), and first of all what is demanded of one that may be there for other mail.
fn worse(before: Option<Unconnected>, last: Unconnected) -> Option<Unconnected> {
    let weight = |failed: &Unconnected| match failed.verdict {
        Verdict::Temporary => 1 + u8::from(failed.is_demanded),
        _ => 0,
    };
    Some(match before {
        Some(before) if weight(&before) > weight(&last) => before,
        _ => last,
    })
}

/// Whether a rule of traffic shaping says that nothing goes there without TLS. What goes to a smarthost its transport says.
fn needs_tls(core: &PerCore, destination: &Destination) -> bool {
    let live = core.live();
    let name = destination.transport.as_deref();
    let transport = name.and_then(|name| live.settings.server.transport.get(name));
    transport.is_none_or(Transport::is_by_domain)
        && core.shape(&destination.site, name).requires_tls()
}

/// What a connection to a host must hold to; none: it is not found by a domain's records, the settings say it.
async fn demand(
    core: &Rc<PerCore>,
    destination: &Destination,
    host: HostAddresses,
    (port, require_tls): (u16, Option<bool>),
    account: &str,
) -> Result<Option<Requirement>, Unconnected> {
    let (Some(domain), Some(expanded)) = (&destination.domain, &destination.expanded) else {
        return Ok(None);
    };
    let name = host.host.clone();
    let target = Target {
        domain: domain.clone(),
        expanded: expanded.clone(),
        way_is_authentic: destination.authentic,
        is_implicit: destination.implicit,
        host,
        port,
        require_tls,
    };
    let refusal = match core.requirement(&target, account).await {
        Ok(requirement) => return Ok(Some(requirement)),
        Err(refusal) => refusal,
    };
    // RFC 8461 5.1: a policy may have changed with the hosts.
    let may_have_changed = refusal.cause == RefusalCause::StsMismatch && !core.is_sts_anew(domain);
    if !may_have_changed {
        for result in refusal.results {
            core.note_tls(result);
        }
    }
    let text = format!("{} is not used: {}", name.as_str(), refusal.words);
    let mut refused = Unconnected::ours((4, 7, 5), text, String::new());
    refused.is_demanded = true;
    refused.is_policy_old = may_have_changed;
    refused.is_messages = refusal.cause.is_messages();
    if !refusal.cause.is_temporary() {
        refused.verdict = Verdict::Permanent;
        refused.enhanced = Some((5, 7, 30));
    }
    Err(refused)
}

/// Whether a connection that there is will do.
pub(super) enum Fit {
    Does,
    /// Another may.
    Other,
    /// Nor would another: none of the hosts may be used. This one is good for others still.
    Never(Unconnected),
}

/// Whether a connection that there is will do for messages of another line, or that ask for something else.
pub(super) async fn fit(
    core: &Rc<PerCore>,
    link: &mut Link,
    destination: &Destination,
    (line, account): (&Rc<str>, &str),
    require_tls: Option<bool>,
) -> Fit {
    let is_same = match (&link.way, &destination.way) {
        (None, None) => true,
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        _ => false,
    };
    if !is_same || !destination.takes_more(&link.host, link.made.elapsed()) {
        return Fit::Other;
    }
    if link.tls.is_empty() && needs_tls(core, destination) {
        // A rule that came since.
        return Fit::Other;
    }
    let is_known = |(known, asked, at): &(Rc<str>, Option<bool>, Instant)| {
        known == line && *asked == require_tls && at.elapsed() < CLEARED_FOR
    };
    if link.cleared.iter().any(is_known) {
        return Fit::Does;
    }
    // No domain demands anything of one that the settings name, or of an address.
    if destination.domain.is_none() && require_tls != Some(true) {
        return Fit::Does;
    }
    let live = core.live();
    let port = live.settings.server.outbound.port;
    let is_its = |host: &&Host| host.words() == link.host;
    let (its, others): (Vec<&Host>, Vec<&Host>) = destination.hosts.iter().partition(is_its);
    let (mut requirement, mut refused) = (None, None);
    let (mut is_messages, mut is_policy_old) = (false, false);
    for host in its.into_iter().chain(others) {
        let Ok(found) = addresses(core, host).await else {
            return Fit::Other;
        };
        match demand(core, destination, found, (port, require_tls), account).await {
            Ok(found) if is_its(&host) => {
                requirement = Some(found);
                break;
            }
            Ok(_) => return Fit::Other,
            Err(error) => {
                is_messages |= error.is_messages;
                is_policy_old |= error.is_policy_old;
                refused = worse(refused, error);
            }
        }
    }
    let requirement = match (requirement, refused) {
        (Some(Some(requirement)), _) => requirement,
        (Some(None), _) if require_tls != Some(true) => return Fit::Does,
        (None, Some(refused)) => {
            return Fit::Never(Unconnected {
                is_messages,
                is_policy_old,
                ..refused
            });
        }
        _ => return Fit::Other,
    };
    let chain = link.connection.server_certificates().unwrap_or_default();
    let held = link.verdict.as_ref().map(|(verdict, name)| Held {
        verdict,
        name,
        chain,
    });
    let now = UnixTime::now();
    let does = requirement.satisfied_by(held.as_ref(), now);
    if does {
        let verdict = held.as_ref().map(|held| requirement.verdict(held, now));
        for result in requirement.results(&facts(link, verdict)) {
            core.note_tls(result);
        }
        link.cleared.retain(|(.., at)| at.elapsed() < CLEARED_FOR);
        link.cleared.push((line.clone(), require_tls, monotonic()));
        return Fit::Does;
    }
    Fit::Other
}

fn facts(link: &Link, verdict: Option<dane::tls::Verdict>) -> SessionFacts {
    SessionFacts {
        failure: verdict.is_none().then(|| {
            let what = "the server offers no STARTTLS".to_owned();
            (ResultType::StarttlsNotSupported, what)
        }),
        verdict,
        sending_ip: link.from,
        receiving_ip: Some(link.peer.ip().to_canonical()),
        helo: Some(link.helo.clone()).filter(|helo| !helo.is_empty()),
    }
}

/// Why there is no address of a host.
struct NoAddress {
    /// It has none; else nobody can say now.
    is_none: bool,
    text: String,
}

async fn addresses(core: &Rc<PerCore>, host: &Host) -> Result<HostAddresses, NoAddress> {
    let literal = |address| {
        let name = dns::Name::of_address(address);
        Ok(HostAddresses::literal(name, address))
    };
    match host {
        Host::Address(address) => literal(*address),
        Host::Name(name) if name.as_str() == "localhost" => literal(IpAddr::from([127, 0, 0, 1])),
        Host::Name(name) => match host_addresses(&core.resolver, name).await {
            Ok(found) => Ok(found),
            Err(error) => Err(NoAddress {
                is_none: error.is_not_found(),
                text: error.to_string(),
            }),
        },
    }
}

/// One address.
struct Call<'a> {
    core: &'a Rc<PerCore>,
    destination: &'a Destination,
    transport: Option<&'a Transport>,
    start: &'a Start,
    host: &'a Host,
    to: SocketAddr,
    requirement: Option<&'a Requirement>,
    require_tls: Option<bool>,
    wanted: Option<&'a Wanted<'a>>,
    /// A rule says so, whoever the server is.
    needs_tls: bool,
    /// How far it came.
    stage: Cell<ReplyStage>,
    phase: &'a Phase,
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
        let must = self.requirement.is_some_and(|r| r.is_tls_mandatory);
        let security = match smarthost.map(|t| t.tls) {
            None if must || self.needs_tls => Security::Must,
            None | Some(SmarthostTls::Opportunistic) => Security::May,
            Some(SmarthostTls::Implicit) => Security::Implicit,
            Some(SmarthostTls::Starttls) => Security::Must,
            Some(SmarthostTls::None) => Security::None,
        };
        if self.require_tls == Some(true)
            && self.requirement.is_none()
            && !matches!(security, Security::Must | Security::Implicit)
        {
            return Err(self.unconnected(Trouble::Unproved));
        }
        let cell = VerdictCell::default();
        let opened = self.open(security, &cell).await;
        self.note(&opened, &cell);
        let mut link = match opened {
            // RFC 7435: rather in clear than not at all, where nothing was promised.
            Err(Trouble::Tls(text, _)) if security == Security::May => {
                tracing::debug!(
                    remote = self.remote(),
                    error = text,
                    "TLS does not come about, once more without"
                );
                let mut opened = self.open(Security::None, &cell).await;
                if let Ok(link) = &mut opened {
                    link.without_tls = Some(text);
                }
                opened
            }
            other => other,
        }
        .map_err(|trouble| self.unconnected(trouble))?;
        if let Some(transport) = smarthost {
            let Some(files) = &self.destination.way else {
                return Err(self.unconnected(Trouble::Login("the transport is gone".to_owned())));
            };
            let is_verified = matches!(security, Security::Implicit | Security::Must);
            self.phase.goes_on("logs in to");
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
        if let Some(wanted) = self.wanted
            && let Some(lack) = wanted.lack(link.session.extensions()).await
        {
            // Nothing is kept in memory for it while others are asked.
            wanted.octets.let_go();
            link.quit().await;
            return Err(self.judge(Trouble::Lacks(lack)));
        }
        Ok(link)
    }

    fn remote(&self) -> String {
        remote(&self.host.words(), self.to)
    }

    fn unconnected(&self, trouble: Trouble) -> Unconnected {
        let mut unconnected = self.judge(trouble);
        // What is said before TLS that must be, anybody on the way may have said; and a smarthost is the operator's choice: no mail is given up
        // for what is wrong with it.
        let must = self.requirement.is_some_and(|r| r.is_tls_mandatory);
        if self.transport.is_some_and(|t| !t.is_by_domain())
            || must && self.require_tls != Some(true)
        {
            unconnected.make_temporary();
        }
        unconnected
    }

    fn judge(&self, trouble: Trouble) -> Unconnected {
        let remote = self.remote();
        match trouble {
            Trouble::Unopened(Unopened { text, is_ours }) => Unconnected {
                is_ours,
                ..Unconnected::ours((4, 4, 1), text, remote)
            },
            Trouble::Refused(what, reply) => Unconnected::said(what, &reply, remote),
            Trouble::Lost(lost) => Unconnected::lost(&lost, remote),
            Trouble::Tls(text, _) => {
                let text = match self.requirement.filter(|r| r.is_tls_mandatory) {
                    Some(requirement) => format!("{text} ({})", requirement.ground),
                    None => text,
                };
                if self.require_tls == Some(true) {
                    // RFC 8689 4.2.1: the sender hears of it. What the message demands says nothing of other mail to its domain.
                    let mut ours = Unconnected::ours((5, 7, 10), text, remote);
                    ours.verdict = Verdict::Permanent;
                    ours.is_messages = true;
                    return ours;
                }
                let mut ours = Unconnected::ours((4, 7, 5), text, remote);
                ours.is_demanded = self.requirement.is_some();
                ours
            }
            // RFC 3463 3.4: it is our settings that are wrong.
            Trouble::Login(text) => Unconnected::ours((4, 3, 5), text, remote),
            Trouble::Unproved => {
                let text = "nothing proves who the server is, and the message must go to nobody else (REQUIRETLS)";
                let mut ours = Unconnected::ours((5, 7, 30), text.to_owned(), remote);
                ours.verdict = Verdict::Permanent;
                ours.is_messages = true;
                ours
            }
            Trouble::Lacks(lack) => {
                let mut ours = Unconnected::ours(lack.status, lack.text, remote);
                ours.verdict = Verdict::Permanent;
                ours.is_messages = true;
                ours
            }
            Trouble::Loop => {
                let text = "this is our own server: the mail would run in a circle".to_owned();
                let mut ours = Unconnected::ours((5, 4, 6), text, remote);
                ours.verdict = Verdict::Permanent;
                ours
            }
        }
    }

    /// Notes for reports how TLS went.
    fn note(&self, opened: &Result<Link, Trouble>, cell: &VerdictCell) {
        let Some(requirement) = self.requirement else {
            return;
        };
        let verdict = cell.verdict().cloned();
        let facts = match opened {
            Ok(link) => facts(link, verdict),
            Err(Trouble::Tls(_, failure)) => SessionFacts {
                verdict,
                failure: Some(failure.clone()),
                receiving_ip: Some(self.to.ip().to_canonical()),
                ..SessionFacts::default()
            },
            // It did not come to TLS.
            Err(_) => return,
        };
        for result in requirement.results(&facts) {
            self.core.note_tls(result);
        }
    }

    async fn open(&self, security: Security, cell: &VerdictCell) -> Result<Link, Trouble> {
        self.stage.set(ReplyStage::Connect);
        let live = self.core.live();
        let outbound = &live.settings.server.outbound;
        let times = Times::of(outbound);
        let password = self.destination.way.as_ref();
        let password = password.and_then(|files| files.proxy_password.as_ref());
        let user = self.transport.and_then(|t| t.proxy_user.as_deref());
        self.phase.comes_to("connects to", &self.remote());
        let opened = self.start.open(self.to, user.zip(password), times.connect);
        let opened = opened.await.map_err(Trouble::Unopened)?;
        let own = outbound.ehlo_name.as_ref();
        let own = own.map_or(live.settings.server.hostname(), |name| name.as_str());
        let own = self.start.ehlo_name.as_deref().unwrap_or(own);
        let mut link = Link::new(opened, (&self.host.words(), self.to), own, times);
        if security == Security::Implicit {
            if !link.is_silent() {
                let text = "speaks before TLS".to_owned();
                return Err(Trouble::Lost(Lost::Protocol(text)));
            }
            self.shake_hands(&mut link, times, cell).await?;
        }
        self.phase.goes_on("waits for the greeting of");
        match link.next().await? {
            Event::Banner(reply) if reply.is_positive() => self.stage.set(ReplyStage::Hello),
            Event::Banner(reply) => {
                link.quit().await;
                return Err(Trouble::Refused("", reply));
            }
            other => return Err(out_of_turn(&other)),
        }
        self.hello(&mut link).await?;
        let offered = link.session.extensions().starttls;
        match security {
            Security::Must if !offered => {
                link.quit().await;
                let text = "offers no STARTTLS, or somebody on the way removes it";
                return Err(no_starttls(text.to_owned()));
            }
            Security::Must | Security::May if offered => {
                link.session.start_tls();
                self.phase.goes_on("waits for the reply to STARTTLS of");
                match link.next().await? {
                    Event::StartTls(reply) if reply.is_positive() => (),
                    Event::StartTls(reply) => {
                        let text = format!("refuses STARTTLS: {}", said(&reply));
                        link.quit().await;
                        return Err(no_starttls(text));
                    }
                    other => return Err(out_of_turn(&other)),
                }
                // RFC 3207 4.2: what was said ahead, without protection, counts for nothing.
                if !link.is_silent() {
                    let text = "speaks on in the clear after its answer to STARTTLS";
                    return Err(failed_tls(text.to_owned()));
                }
                self.shake_hands(&mut link, times, cell).await?;
                link.session.tls_started();
                self.hello(&mut link).await?;
            }
            _ => (),
        }
        Ok(link)
    }

    async fn hello(&self, link: &mut Link) -> Result<(), Trouble> {
        self.phase.goes_on("waits for the reply to EHLO of");
        for kind in [HelloKind::Extended, HelloKind::Plain] {
            link.session.hello(kind);
            match link.next().await? {
                Event::Hello(reply) if reply.is_positive() => {
                    let name = reply.text.split_ascii_whitespace().next();
                    link.helo = name.unwrap_or_default().to_owned();
                    if is_own_name(self.core, &link.helo) {
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

    async fn shake_hands(
        &self,
        link: &mut Link,
        times: Times,
        cell: &VerdictCell,
    ) -> Result<(), Trouble> {
        self.phase.goes_on("begins TLS with");
        let (config, name) = self.tls(cell)?;
        let looked_for = name.to_str().into_owned();
        let shaken = link
            .connection
            .start_client_tls(config, name, times.reply)
            .await;
        shaken.map_err(|error| match tls_error(&error) {
            Some(error) => {
                let (result, reason) = handshake_failure(error);
                let failure = (ResultType::from_word(result), reason);
                let demanded = self.requirement.zip(cell.verdict());
                let objection = demanded.and_then(|(demand, verdict)| demand.objection(verdict));
                let text = objection.unwrap_or_else(|| client_tls::explain(error));
                Trouble::Tls(text, failure)
            }
            None => failed_tls(format!("TLS: {}", words(&error))),
        })?;
        link.verdict = cell.verdict().map(|verdict| (verdict.clone(), looked_for));
        link.tls = link.connection.tls().map_or("", |facts| facts.version);
        Ok(())
    }

    fn tls(&self, cell: &VerdictCell) -> Result<(Arc<ClientConfig>, ServerName<'static>), Trouble> {
        let name = match self.host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned())
                .map_err(|_| failed_tls("TLS: the host's name cannot be used".to_owned()))?,
        };
        let live = self.core.live();
        if self.transport.is_some_and(|t| !t.is_by_domain()) {
            let files = self.destination.way.as_ref();
            let config = files.and_then(|files| files.tls.clone());
            let config = config.ok_or_else(|| failed_tls("the transport is gone".to_owned()))?;
            return Ok((config, name));
        }
        let roots = live.authorities.clone();
        let (verifier, name) = match self.requirement {
            None => (
                Verifier::new(Policy::Opportunistic, roots, cell.clone()),
                name,
            ),
            Some(requirement) => {
                let sni = requirement.server_name.clone();
                let verifier = requirement.verifier(roots, cell.clone());
                (verifier, sni.map_or(name, ServerName::DnsName))
            }
        };
        let config = verifier
            .into_config()
            .map_err(|e| failed_tls(format!("TLS: {e}")))?;
        Ok((Arc::new(config), name))
    }
}

enum Trouble {
    Unopened(Unopened),
    Refused(&'static str, Reply),
    Lost(Lost),
    /// In words, and as reports have it.
    Tls(String, (ResultType, String)),
    /// REQUIRETLS, and the host's name is not proved.
    Unproved,
    Lacks(Lack),
    Login(String),
    Loop,
}

impl From<Lost> for Trouble {
    fn from(lost: Lost) -> Trouble {
        Trouble::Lost(lost)
    }
}

fn failed_tls(text: String) -> Trouble {
    Trouble::Tls(text.clone(), (ResultType::ValidationFailure, text))
}

fn no_starttls(text: String) -> Trouble {
    Trouble::Tls(text.clone(), (ResultType::StarttlsNotSupported, text))
}

/// How long a connection is known to do for a line.
const CLEARED_FOR: Duration = Duration::from_secs(60);

fn out_of_turn(event: &Event) -> Trouble {
    Trouble::Lost(Lost::Protocol(format!("out of turn: {event:?}")))
}

/// Hosts of an attempt whose addresses could not be found: each may take as long as DNS does.
const LOOKUPS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_is_given_up_only_if_no_host_may_take_it_later() {
        let permanent = || Unconnected {
            verdict: Verdict::Permanent,
            ..Unconnected::ours((5, 3, 2), "521".to_owned(), String::new())
        };
        let temporary = || Unconnected::ours((4, 4, 1), "refused".to_owned(), String::new());
        let told = |hosts: Vec<Unconnected>| {
            let told = hosts.into_iter().fold(None, worse).unwrap();
            (told.verdict, told.text)
        };
        let (refused, taken_later) = (
            (Verdict::Permanent, "521".to_owned()),
            (Verdict::Temporary, "refused".to_owned()),
        );
        assert_eq!(told(vec![permanent(), permanent()]), refused);
        assert_eq!(told(vec![temporary(), permanent()]), taken_later);
        assert_eq!(told(vec![permanent(), temporary()]), taken_later);
        let demanded = || Unconnected {
            is_demanded: true,
            ..Unconnected::ours((4, 7, 5), "no TLS".to_owned(), String::new())
        };
        let not_met = (Verdict::Temporary, "no TLS".to_owned());
        assert_eq!(told(vec![demanded(), temporary(), permanent()]), not_met);
        assert_eq!(told(vec![permanent(), temporary(), demanded()]), not_met);
    }
}
