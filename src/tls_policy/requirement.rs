//! What a connection to a mail host must hold to, from all that is known: DANE before MTA-STS before neither (RFC 8461 2), and what the
//! message itself asks for (RFC 8689). Pure.
//!
//! RFC 7672 2.1, 2.2 (DANE), RFC 8461 4, 5 (MTA-STS), RFC 8689 4.2 (REQUIRETLS, TLS-Required), RFC 8460 4 (what is reported of it).
//! Not here: finding out what is known (`percore/tls_policy.rs`), connecting, sending reports.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use dane::tls::{Policy, Verdict, VerdictCell, Verifier};
use dane::{NoneUsable, UsableRecords, Usages};
use dns::{HostAddresses, LookupError, MxHosts, Name, TlsaRecords};
use mta_sts::{Decision, MX_MISMATCH, Mode};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, DnsName, UnixTime};
use tls_rpt::{FailureDetail, PolicyResult, ResultType};

use super::sts::StsAnswer;

/// A way to a mail host: whose mail goes there, and what is known of the names.
#[derive(Clone, Debug)]
pub struct Target {
    /// The domain of the recipients.
    pub domain: Name,
    /// What it is an alias of, or the domain.
    pub expanded: Name,
    /// Whether DNSSEC proves the way from the domain to the host's name.
    pub way_is_authentic: bool,
    /// The domain has no MX, so the host is the (expanded) domain itself.
    pub is_implicit: bool,
    /// The host and its addresses.
    pub host: HostAddresses,
    /// 25, but in tests.
    pub port: u16,
    /// What the message asks for. RFC 8689: REQUIRETLS, `TLS-Required: No`, or neither.
    pub require_tls: Option<bool>,
}

impl Target {
    /// For one of the hosts of a domain.
    pub fn new(
        domain: &Name,
        mx: &MxHosts,
        host: HostAddresses,
        require_tls: Option<bool>,
    ) -> Target {
        Target {
            domain: domain.clone(),
            expanded: mx.expanded.clone(),
            way_is_authentic: mx.original_authentic && mx.expanded_authentic,
            is_implicit: mx.implicit,
            host,
            port: SMTP_PORT,
            require_tls,
        }
    }

    fn is_strict(&self) -> bool {
        self.require_tls == Some(true)
    }

    /// RFC 8689 4.2.2: policies are followed, but failing them fails nothing.
    fn is_lenient(&self) -> bool {
        self.require_tls == Some(false)
    }
}

/// What a connection must hold to.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// What the certificate is judged by.
    pub policy: Policy,
    /// Whether it must hold; else the judgement is only reported.
    pub is_enforced: bool,
    /// Whether mail may go only over TLS. Else plain text will do where the host offers none or the handshake fails.
    pub is_tls_mandatory: bool,
    /// The name for SNI (RFC 7672 8.1: the base of the TLSA records). None for what can be no name of a host.
    pub server_name: Option<DnsName<'static>>,
    /// Why, for logs and operators.
    pub ground: Ground,
    host: String,
    applied: Vec<Applied>,
}

/// What demands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Nothing: TLS as it comes. RFC 7435.
    Opportunistic,
    /// TLSA records.
    Dane,
    /// TLSA records, none of which can be used: TLS with anybody.
    DaneUnusable,
    /// A policy of MTA-STS.
    StsEnforce,
    /// One that is only tried.
    StsTesting,
    /// The message.
    RequireTls,
}

impl Ground {
    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Ground::Opportunistic => "opportunistic",
            Ground::Dane => "dane",
            Ground::DaneUnusable => "dane-unusable",
            Ground::StsEnforce => "mta-sts",
            Ground::StsTesting => "mta-sts-testing",
            Ground::RequireTls => "requiretls",
        }
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ground::Opportunistic => "TLS if it is offered, with any certificate",
            Ground::Dane => "DANE: TLS, with a certificate by the TLSA records",
            Ground::DaneUnusable => {
                "DANE: TLS, with any certificate, for none of the TLSA records is usable"
            }
            Ground::StsEnforce => "MTA-STS: TLS, with a valid certificate for the host",
            Ground::StsTesting => {
                "MTA-STS in testing: TLS if it is offered, and what is wrong is reported"
            }
            Ground::RequireTls => "REQUIRETLS: TLS, with a valid certificate for the host",
        })
    }
}

/// The host must not be used (now) for this mail.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What is in the way.
    pub cause: RefusalCause,
    /// In words for operators and senders.
    pub words: String,
    /// What reports say of it.
    pub results: Vec<PolicyResult>,
}

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// Whether there are TLSA records cannot be known now. RFC 7672 2.1.2. Temporary.
    TlsaUnknown,
    /// Whether there is a policy of MTA-STS cannot be known now. Of the domain, so of all its hosts. Temporary.
    StsUnknown,
    /// REQUIRETLS, and whether a policy proves the host's name cannot be known now. Temporary.
    ProofUnknown,
    /// The policy does not list the host. RFC 8461 5: temporary, and the policy is looked for anew (`sts_anew`) before it is not.
    StsMismatch,
    /// REQUIRETLS, and nothing proves the host's name. RFC 8689 4.2.1. Permanent, unless another host will do.
    NotProved,
}

impl RefusalCause {
    /// Whether a later attempt may go better.
    pub fn is_temporary(self) -> bool {
        self != RefusalCause::NotProved
    }

    /// Whether the message asks for it: other mail may go there.
    pub fn is_messages(self) -> bool {
        matches!(self, RefusalCause::ProofUnknown | RefusalCause::NotProved)
    }

    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusalCause::TlsaUnknown => "tlsa-unknown",
            RefusalCause::StsUnknown => "sts-unknown",
            RefusalCause::ProofUnknown => "proof-unknown",
            RefusalCause::StsMismatch => "sts-mismatch",
            RefusalCause::NotProved => "not-proved",
        }
    }
}

/// A policy that reports are about.
#[derive(Clone, Debug)]
struct Applied {
    policy: tls_rpt::Policy,
    by: JudgedBy,
    /// What was wrong before any connection, and whether the session counts as failed for it.
    details: Vec<(FailureDetail, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JudgedBy {
    Records,
    Authorities,
    /// Only whether there was TLS.
    Nothing,
}

/// Says what a connection must hold to. `tlsa` is what `dns::tlsa_records` found, if the way to the host is authentic.
pub fn decide(
    target: &Target,
    tlsa: &Result<Option<TlsaRecords>, LookupError>,
    sts: &StsAnswer,
) -> Result<Requirement, Refusal> {
    let dane = Dane::of(target, tlsa);
    let sts = Sts::of(target, sts);
    let applied = applied(target, &dane, &sts);
    let refuse = |cause, words| {
        Err(Refusal {
            cause,
            words,
            results: refused(target, &applied),
        })
    };
    let host = &target.host.host;
    let lenient = target.is_lenient();
    if let (Dane::Unknown(error), false) = (&dane, lenient) {
        let words =
            format!("whether {host} has TLSA records (DANE) cannot be found out now: {error}");
        return refuse(RefusalCause::TlsaUnknown, words);
    }
    if let Dane::Usable { records, names, .. } = &dane {
        let policy = Policy::Dane {
            records: records.clone(),
            names: names.clone(),
        };
        let server_name = names.first().cloned();
        return Ok(Requirement {
            server_name,
            ..requirement(target, policy, !lenient, Ground::Dane, &applied)
        });
    }
    match &sts {
        Sts::Unknown(words) if !lenient => return refuse(RefusalCause::StsUnknown, words.clone()),
        Sts::Unproved(words) => return refuse(RefusalCause::ProofUnknown, words.clone()),
        _ => (),
    }
    let is_unusable = matches!(dane, Dane::Unusable(_));
    let (name, ground, must_hold) = match &sts {
        Sts::Policy(policy)
            if policy.mode == Mode::Enforce && policy.name.is_none() && !lenient =>
        {
            let words = format!(
                "the policy of MTA-STS of {} does not list {host}",
                target.domain
            );
            return refuse(RefusalCause::StsMismatch, words);
        }
        Sts::Policy(policy) => match (policy.mode, &policy.name) {
            (Mode::Enforce, name) => (name.clone(), Ground::StsEnforce, !lenient),
            // RFC 8689 4.2.1 step 2: its name is validated by the policy, whatever would follow from a failure.
            (_, Some(name)) if target.is_strict() => (Some(name.clone()), Ground::RequireTls, true),
            (_, name) if !target.is_strict() => (name.clone(), Ground::StsTesting, false),
            _ => (proved(target), Ground::RequireTls, true),
        },
        _ if target.is_strict() => (proved(target), Ground::RequireTls, true),
        _ => (None, Ground::Opportunistic, false),
    };
    let name = name.as_ref().and_then(dns_name);
    match name {
        None if must_hold && ground != Ground::RequireTls => {
            let words = format!("{host} is no name that certificates have");
            refuse(RefusalCause::StsMismatch, words)
        }
        None if must_hold => {
            let words = format!(
                "REQUIRETLS: neither DNSSEC nor a policy of MTA-STS proves that {host} takes the mail of {}",
                target.domain
            );
            refuse(RefusalCause::NotProved, words)
        }
        None => {
            let ground = if is_unusable {
                Ground::DaneUnusable
            } else {
                ground
            };
            Ok(Requirement {
                is_tls_mandatory: is_unusable && !lenient,
                ..requirement(target, Policy::Opportunistic, !lenient, ground, &applied)
            })
        }
        Some(name) => {
            let policy = Policy::Pkix { name };
            let ground = match is_unusable && !must_hold {
                true => Ground::DaneUnusable,
                false => ground,
            };
            Ok(Requirement {
                is_tls_mandatory: must_hold || is_unusable && !lenient,
                ..requirement(target, policy, must_hold, ground, &applied)
            })
        }
    }
}

fn requirement(
    target: &Target,
    policy: Policy,
    is_enforced: bool,
    ground: Ground,
    applied: &[Applied],
) -> Requirement {
    let server_name = match &policy {
        Policy::Pkix { name } => Some(name.clone()),
        _ => dns_name(&target.host.host),
    };
    Requirement {
        policy,
        is_enforced,
        is_tls_mandatory: is_enforced,
        server_name,
        ground,
        host: target.host.host.to_string(),
        applied: applied.to_vec(),
    }
}

/// The name that a valid certificate proves to be the right one, where no policy says so. RFC 8689 4.2.1 step 2 and 4: the host's, if DNSSEC
/// proves that; without any MX it is the domain itself, which needs no proof.
fn proved(target: &Target) -> Option<Name> {
    match (target.way_is_authentic, target.is_implicit) {
        (true, _) => Some(target.host.host.clone()),
        (false, true) => Some(target.domain.clone()),
        (false, false) => None,
    }
}

/// What is known by DNSSEC.
enum Dane {
    None,
    Unknown(LookupError),
    Unusable(tls_rpt::Policy),
    Usable {
        records: UsableRecords,
        names: Vec<DnsName<'static>>,
        policy: tls_rpt::Policy,
    },
}

impl Dane {
    fn of(target: &Target, tlsa: &Result<Option<TlsaRecords>, LookupError>) -> Dane {
        let found = match tlsa {
            // RFC 7672 2.2.1: a host that anybody could have named needs no proof of its certificate.
            _ if !target.way_is_authentic => return Dane::None,
            Ok(None) => return Dane::None,
            Err(error) => return Dane::Unknown(error.clone()),
            Ok(Some(found)) => found,
        };
        let records: Vec<dane::Record> = found.records.iter().filter_map(record).collect();
        let texts = records.iter().map(ToString::to_string).collect();
        let policy = tls_rpt::Policy::tlsa(found.base.as_str(), texts);
        match UsableRecords::select(&records, Usages::Smtp) {
            Ok(records) => Dane::Usable {
                records,
                names: names(target, &found.base),
                policy,
            },
            Err(NoneUsable) => Dane::Unusable(policy),
        }
    }
}

fn record(tlsa: &dns::Tlsa) -> Option<dane::Record> {
    let rdata = [&[tlsa.usage, tlsa.selector, tlsa.matching], &tlsa.data[..]].concat();
    dane::Record::parse(&rdata).ok()
}

/// RFC 7672 3.2.2: names of which the certificate must have one, where a record means an authority: the base, then the domain and what it is
/// an alias of.
fn names(target: &Target, base: &Name) -> Vec<DnsName<'static>> {
    let mut names: Vec<DnsName<'static>> = Vec::new();
    for name in [base, &target.host.host, &target.domain, &target.expanded] {
        if let Some(name) = dns_name(name)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

fn dns_name(name: &Name) -> Option<DnsName<'static>> {
    DnsName::try_from(name.as_str().to_string()).ok()
}

/// What is known by MTA-STS.
enum Sts {
    None(Option<FailureDetail>),
    Unknown(String),
    /// Nothing binds, but for a message that needs its proof.
    Unproved(String),
    Policy(StsPolicy),
}

struct StsPolicy {
    mode: Mode,
    /// The name that the policy lists and the certificate must have.
    name: Option<Name>,
    policy: tls_rpt::Policy,
    problem: Option<FailureDetail>,
}

impl Sts {
    fn of(target: &Target, answer: &StsAnswer) -> Sts {
        let detail = |problem: &Option<mta_sts::Problem>| {
            let problem = problem.as_ref()?;
            Some(
                FailureDetail::new(ResultType::from_word(problem.result_type))
                    .reason(&problem.reason),
            )
        };
        let (policy, problem) = match answer {
            StsAnswer::Unknown(words, _) if target.is_strict() && proved(target).is_none() => {
                return Sts::Unproved(words.clone());
            }
            StsAnswer::None(problem) | StsAnswer::Unknown(_, problem) => {
                return Sts::None(detail(problem));
            }
            StsAnswer::Wait(words) => return Sts::Unknown(words.clone()),
            StsAnswer::Policy(policy, problem) => (policy, problem),
        };
        // RFC 8461 4.1: the name in the MX record. Without one it is the domain's, whatever that is an alias of.
        let implicit = target.is_implicit.then_some(&target.domain);
        let mut candidates = std::iter::once(&target.host.host).chain(implicit);
        let name = candidates.find(|name| policy.decide(name.as_str()) == Decision::Allowed);
        let lines = policy.lines().map(str::to_string).collect();
        let mx = policy.mx().iter().map(ToString::to_string).collect();
        Sts::Policy(StsPolicy {
            mode: policy.mode(),
            name: name.cloned(),
            policy: tls_rpt::Policy::sts(target.domain.as_str(), lines, mx),
            problem: detail(problem),
        })
    }
}

/// The policies that reports are about. RFC 8460 4.4: those of both kinds, or that there is none.
fn applied(target: &Target, dane: &Dane, sts: &Sts) -> Vec<Applied> {
    let mut all = Vec::new();
    match sts {
        Sts::Policy(sts) => {
            let mismatch = sts.name.is_none().then(|| {
                let (result, reason) = MX_MISMATCH;
                (
                    FailureDetail::new(ResultType::from_word(result)).reason(reason),
                    true,
                )
            });
            let problem = sts.problem.clone().map(|detail| (detail, false));
            all.push(Applied {
                policy: sts.policy.clone(),
                by: JudgedBy::Authorities,
                details: mismatch.into_iter().chain(problem).collect(),
            });
        }
        Sts::None(Some(problem)) => all.push(Applied {
            policy: tls_rpt::Policy::sts(target.domain.as_str(), Vec::new(), Vec::new()),
            by: JudgedBy::Nothing,
            details: vec![(problem.clone(), true)],
        }),
        Sts::None(None) | Sts::Unknown(_) | Sts::Unproved(_) => (),
    }
    match dane {
        Dane::Usable { policy, .. } => all.push(Applied {
            policy: policy.clone(),
            by: JudgedBy::Records,
            details: Vec::new(),
        }),
        Dane::Unusable(policy) => {
            let detail = FailureDetail::new(ResultType::from_word(NoneUsable.result_type()));
            all.push(Applied {
                policy: policy.clone(),
                by: JudgedBy::Nothing,
                details: vec![(detail.reason(NoneUsable.reason()), true)],
            });
        }
        Dane::Unknown(_) => all.push(Applied {
            // RFC 8460 4.3.2.1.
            policy: tls_rpt::Policy::tlsa(target.host.host.as_str(), Vec::new()),
            by: JudgedBy::Nothing,
            details: vec![(
                FailureDetail::new(ResultType::DnssecInvalid).reason("tlsa-lookup-failed"),
                true,
            )],
        }),
        Dane::None => (),
    }
    if all.is_empty() {
        all.push(Applied {
            policy: tls_rpt::Policy::none(target.domain.as_str()),
            by: JudgedBy::Nothing,
            details: Vec::new(),
        });
    }
    all
}

/// Of a host that is not connected to: those policies that say so.
fn refused(target: &Target, applied: &[Applied]) -> Vec<PolicyResult> {
    let told = applied
        .iter()
        .filter(|applied| applied.details.iter().any(|(_, fails)| *fails));
    let result = |applied: &Applied| {
        let details = applied.details.iter().map(|(detail, _)| FailureDetail {
            receiving_mx_hostname: Some(target.host.host.to_string()),
            ..detail.clone()
        });
        PolicyResult::failure(applied.policy.clone(), details.collect())
    };
    told.map(result).collect()
}

/// A connection that there is already, with TLS.
pub struct Held<'a> {
    /// What was found out about the certificate in the handshake.
    pub verdict: &'a Verdict,
    /// The name it was looked for there: that of the policy, or for SNI.
    pub name: &'a str,
    /// The certificates that the server showed.
    pub chain: &'a [CertificateDer<'static>],
}

/// How a session went, for reports.
#[derive(Clone, Debug, Default)]
pub struct SessionFacts {
    /// What was found out about the certificate; none: no certificate was seen.
    pub verdict: Option<Verdict>,
    /// Why there is no TLS, in the words of RFC 8460 4.3: `starttls-not-supported`, or what `dane::tls::handshake_failure` says.
    pub failure: Option<(ResultType, String)>,
    /// Our address.
    pub sending_ip: Option<IpAddr>,
    /// The host's address.
    pub receiving_ip: Option<IpAddr>,
    /// What the host called itself.
    pub helo: Option<String>,
}

impl Requirement {
    /// For one connection: what is found out will be in `cell`.
    pub fn verifier(&self, roots: Arc<RootCertStore>, cell: VerdictCell) -> Verifier {
        let verifier = Verifier::new(self.policy.clone(), roots, cell);
        match self.is_enforced {
            true => verifier,
            false => verifier.reporting_only(),
        }
    }

    /// Whether a connection that there is will do, though it was made for others' mail. None: one without TLS.
    pub fn satisfied_by(&self, held: Option<&Held<'_>>, now: UnixTime) -> bool {
        let Some(held) = held else {
            return !self.is_tls_mandatory;
        };
        match &self.policy {
            _ if !self.is_enforced => true,
            Policy::Opportunistic => true,
            Policy::Pkix { name } => {
                held.verdict.pkix.is_ok() && held.name.eq_ignore_ascii_case(name.as_ref())
            }
            Policy::Dane { records, names } => {
                dane::verify(records, held.chain, names, now).is_ok()
            }
        }
    }

    /// Why a certificate will not do, in words. None where any does.
    pub fn objection(&self, verdict: &Verdict) -> Option<String> {
        match (&self.policy, &verdict.dane, &verdict.pkix) {
            _ if !self.is_enforced => None,
            (Policy::Dane { .. }, Some(Err(error)), _) => Some(error.to_string()),
            (Policy::Pkix { .. }, _, Err(failure)) => Some(failure.to_string()),
            _ => None,
        }
    }

    /// What would have been found out about the certificate of a connection that there is, had it been made for this.
    pub fn verdict(&self, held: &Held<'_>, now: UnixTime) -> Verdict {
        let dane = match &self.policy {
            Policy::Dane { records, names } => Some(dane::verify(records, held.chain, names, now)),
            _ => None,
        };
        Verdict {
            pkix: held.verdict.pkix.clone(),
            dane,
        }
    }

    /// What reports say of a session, policy by policy.
    pub fn results(&self, session: &SessionFacts) -> Vec<PolicyResult> {
        self.applied
            .iter()
            .map(|applied| self.result(applied, session))
            .collect()
    }

    fn result(&self, applied: &Applied, session: &SessionFacts) -> PolicyResult {
        let mut details: Vec<(FailureDetail, bool)> = applied.details.clone();
        let verdict = session.verdict.as_ref();
        let judged = match applied.by {
            JudgedBy::Records => verdict.and_then(|v| {
                v.dane
                    .as_ref()?
                    .as_ref()
                    .err()
                    .map(|e| (e.result_type(), e.reason()))
            }),
            JudgedBy::Authorities => {
                verdict.and_then(|v| v.pkix.as_ref().err().map(|e| (e.result_type(), e.reason())))
            }
            JudgedBy::Nothing => None,
        };
        let failure = match judged {
            Some((result, reason)) => Some((ResultType::from_word(result), reason)),
            None => session.failure.clone(),
        };
        details.extend(
            failure.map(|(result, reason)| (FailureDetail::new(result).reason(&reason), true)),
        );
        let has_failed = details.iter().any(|(_, fails)| *fails);
        let full = |(detail, _): (FailureDetail, bool)| FailureDetail {
            sending_mta_ip: session.sending_ip,
            receiving_mx_hostname: Some(self.host.clone()),
            receiving_mx_helo: session.helo.clone(),
            receiving_ip: session.receiving_ip,
            ..detail
        };
        let details = details.into_iter().map(full).collect();
        match has_failed {
            true => PolicyResult::failure(applied.policy.clone(), details),
            false => PolicyResult {
                failure_details: details,
                ..PolicyResult::success(applied.policy.clone())
            },
        }
    }
}

const SMTP_PORT: u16 = 25;

#[cfg(test)]
#[path = "requirement_tests.rs"]
mod tests;
