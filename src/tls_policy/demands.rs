//! What would be demanded of connections to the hosts of a domain, for operators to look at. Sending goes the same way, one host after the
//! other.

use std::future::Future;

use dns::{MxOutcome, Name, host_addresses, mx_hosts, tlsa_records};
use serde::Serialize;

use super::requirement::{Target, decide};
use super::sts::StsAnswer;
use crate::lookup::Resolver;
use crate::settings::TlsPolicy;

/// What is demanded for a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Demands {
    /// `ok`, `null-mx`, `nxdomain` or `error`.
    pub result: &'static str,
    /// Why nobody can say.
    pub error: Option<String>,
    /// Whether DNSSEC proves the hosts' names.
    pub authentic: bool,
    /// What it says by MTA-STS: `none`, `enforce`, `testing`, or `unknown`.
    pub mta_sts: &'static str,
    /// What is wrong with that.
    pub mta_sts_problem: Option<String>,
    /// Hosts that its policy lists.
    pub mta_sts_mx: Vec<String>,
    /// In the order in which they would be tried; the first [`HOSTS_SHOWN`].
    pub hosts: Vec<Demanded>,
}

/// What is demanded of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Demanded {
    /// The lower, the sooner.
    pub preference: u16,
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// The word for what demands it, or for what is in the way.
    pub ground: &'static str,
    /// The same in words.
    pub words: String,
    /// Whether there is nothing without TLS.
    pub is_tls_mandatory: bool,
    /// Whether mail may go there.
    pub is_usable: bool,
}

/// Finds them. `sts` says what the domain says.
pub async fn demands(
    resolver: &Resolver,
    settings: &TlsPolicy,
    domain: &Name,
    sts: impl Future<Output = StsAnswer>,
) -> Demands {
    let mut told = Demands::default();
    let found = match mx_hosts(resolver, domain, &mut || 0).await {
        MxOutcome::Hosts(found) => found,
        MxOutcome::NullMx { authentic } => {
            (told.result, told.authentic) = ("null-mx", authentic);
            return told;
        }
        MxOutcome::NoDomain { authentic, .. } => {
            (told.result, told.authentic) = ("nxdomain", authentic);
            return told;
        }
        MxOutcome::Temporary(error) => {
            (told.result, told.error) = ("error", Some(error.to_string()));
            return told;
        }
    };
    let sts = sts.await;
    told.result = "ok";
    told.authentic = found.original_authentic && found.expanded_authentic;
    let problem =
        |problem: &mta_sts::Problem| format!("{}: {}", problem.result_type, problem.reason);
    match &sts {
        StsAnswer::None(wrong) => {
            (told.mta_sts, told.mta_sts_problem) = ("none", wrong.as_ref().map(problem));
        }
        StsAnswer::Policy(policy, wrong) => {
            (told.mta_sts, told.mta_sts_problem) =
                (policy.mode().as_str(), wrong.as_ref().map(problem));
            told.mta_sts_mx = policy.mx().iter().map(ToString::to_string).collect();
        }
        StsAnswer::Unknown(_, wrong) => {
            (told.mta_sts, told.mta_sts_problem) = ("unknown", wrong.as_ref().map(problem));
        }
        StsAnswer::Wait(words) => {
            (told.mta_sts, told.mta_sts_problem) = ("unknown", Some(words.clone()))
        }
    }
    let all = found.groups.iter();
    let all = all.flat_map(|group| group.hosts.iter().map(|host| (group.preference, host)));
    for (preference, host) in all.take(HOSTS_SHOWN) {
        let mut one = Demanded {
            preference,
            name: host.to_string(),
            ..Demanded::default()
        };
        match host_addresses(resolver, host).await {
            Ok(host) => {
                one.addresses = host.addresses.iter().map(ToString::to_string).collect();
                let target = Target::new(domain, &found, host, None);
                demanded(&mut one, resolver, settings, &target, &sts).await;
            }
            Err(error) => (one.ground, one.words) = ("no-address", error.to_string()),
        }
        told.hosts.push(one);
    }
    told
}

async fn demanded(
    one: &mut Demanded,
    resolver: &Resolver,
    settings: &TlsPolicy,
    target: &Target,
    sts: &StsAnswer,
) {
    let tlsa = match settings.dane && target.way_is_authentic {
        true => tlsa_records(resolver, &target.host, target.port).await,
        false => Ok(None),
    };
    match decide(target, &tlsa, sts) {
        Ok(requirement) => {
            one.ground = requirement.ground.as_str();
            one.words = requirement.ground.to_string();
            one.is_tls_mandatory = requirement.is_tls_mandatory;
            one.is_usable = true;
        }
        Err(refusal) => (one.ground, one.words) = (refusal.cause.as_str(), refusal.words),
    }
}

/// A domain has a handful.
const HOSTS_SHOWN: usize = 20;
