//! The tables `[pool]` and `[warm_up]` of the static file: addresses of ours that direct mail leaves from, and how many messages a new one may send.
//! Take effect at reload. Not here: who is next (`outbound/pool.rs`), what is made of a day (`queue/warm_up.rs`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::names::DomainName;

/// Addresses that connections are spread over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// By name.
    #[serde(deserialize_with = "super::parse::unique_map")]
    pub member: BTreeMap<String, PoolMember>,
}

/// One of them: what other servers see as one sender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolMember {
    /// Addresses of this machine, one of each family at most; a family without one is not used.
    pub addresses: Vec<IpAddr>,
    /// Its share of the connections, beside those of the others; with 0 it makes none.
    pub weight: u32,
    /// What EHLO says. `None`: as the transport says it.
    pub ehlo_name: Option<DomainName>,
    /// Connections at once, from all cores, to all sites. `None`: no bound.
    pub connections_max: Option<u32>,
    /// Whether it may send only so much a day to a site: see [`WarmUp`].
    pub warm_up: bool,
}

impl Default for PoolMember {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            weight: 1,
            ehlo_name: None,
            connections_max: None,
            warm_up: false,
        }
    }
}

/// How many recipients a day a new address may send to at a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarmUp {
    /// On the first day.
    pub first_per_day: u32,
    /// What is allowed after a good day, in percent of the day before.
    pub growth_percent: u32,
    /// Never more than that.
    pub per_day_max: u32,
    /// Recipients whose fate says something of a day; fewer say nothing.
    pub judged_from: u32,
    /// Deferred ones, in percent, up to which a day was good; beyond twice as many, less is allowed.
    pub deferrals_max_percent: u32,
    /// Complaints, of a thousand that were delivered, up to which a day was good; beyond, less is allowed.
    pub complaints_max_per_mille: u32,
}

impl Default for WarmUp {
    fn default() -> Self {
        Self {
            first_per_day: 50,
            growth_percent: 200,
            per_day_max: 100_000,
            judged_from: 20,
            deferrals_max_percent: 5,
            complaints_max_per_mille: 1,
        }
    }
}
