//! The tables `[pool]` and `[warm_up]` of the static file. A part of `check.rs`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Check;
use super::outbound::wrong_addresses;
use crate::settings::parse::nearest;
use crate::settings::{Pool, PoolMember, Transport};

impl Check<'_> {
    pub(super) fn pools(&mut self) {
        let server = &self.settings.server;
        let warm_up = &server.warm_up;
        self.in_ranges(&[
            (
                "warm_up.first_per_day",
                warm_up.first_per_day.into(),
                1,
                MANY,
            ),
            (
                "warm_up.growth_percent",
                warm_up.growth_percent.into(),
                101,
                1_000,
            ),
            (
                "warm_up.per_day_max",
                warm_up.per_day_max.into(),
                warm_up.first_per_day.into(),
                1_000 * MANY,
            ),
            ("warm_up.judged_from", warm_up.judged_from.into(), 1, MANY),
            (
                "warm_up.deferrals_max_percent",
                warm_up.deferrals_max_percent.into(),
                0,
                50,
            ),
            (
                "warm_up.complaints_max_per_mille",
                warm_up.complaints_max_per_mille.into(),
                0,
                1_000,
            ),
        ]);
        let mut known = BTreeMap::new();
        for (name, pool) in &server.pool {
            self.pool(name, pool, &mut known);
        }
    }

    fn pool(&mut self, name: &str, pool: &Pool, known: &mut BTreeMap<IpAddr, String>) {
        if !is_name(name) {
            let message = format!("{name:?} cannot be the name of a pool");
            self.of_pool(&[name], message, NAME_HINT);
        }
        if pool.member.values().all(|member| member.weight == 0) {
            let message = "no address that mail could leave from".to_owned();
            let hint =
                format!("a table [pool.{name}.member.one] with addresses, and a weight above 0");
            self.of_pool(&[name], message, &hint);
        }
        for (member, settings) in &pool.member {
            self.member((name, member), settings);
            for address in &settings.addresses {
                let Some(other) = known.insert(*address, format!("{name}.member.{member}")) else {
                    continue;
                };
                if other != format!("{name}.member.{member}") {
                    let message = format!("{address} is an address of [pool.{other}] too");
                    let hint =
                        "what is counted of an address is counted once: give it to one of them";
                    self.of_pool(&[name, "member", member, "addresses"], message, hint);
                }
            }
        }
    }

    fn member(&mut self, (pool, name): (&str, &str), member: &PoolMember) {
        let at = |field| [pool, "member", name, field];
        if !is_name(name) {
            let message = format!("{name:?} cannot be the name of an address of a pool");
            self.of_pool(&[pool, "member", name], message, NAME_HINT);
        }
        if member.addresses.is_empty() {
            let message = "no address".to_owned();
            let hint = "addresses of this machine, as in addresses = [\"192.0.2.31\"]";
            self.of_pool(&at("addresses"), message, hint);
        } else if let Some((message, hint)) = wrong_addresses(&member.addresses) {
            self.of_pool(&at("addresses"), message, hint);
        }
        if member.weight > WEIGHT_MAX {
            let message = "weight is out of bounds".to_owned();
            self.of_pool(&at("weight"), message, "from 0 to 1000");
        }
        if let Some(0 | 10_001..) = member.connections_max {
            let message = "connections_max is out of bounds".to_owned();
            self.of_pool(&at("connections_max"), message, "from 1 to 10000");
        }
    }

    /// What a transport says of its pool.
    pub(super) fn pool_of(&mut self, name: &str, transport: &Transport) {
        let Some(pool) = &transport.pool else { return };
        let known = &self.settings.server.pool;
        if !known.contains_key(pool) {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            let hint = match nearest(pool, &names) {
                Some(name) => format!("did you mean {name}?"),
                None => format!("add a table [pool.{pool}.member.one]"),
            };
            let message = format!("there is no pool {pool:?}");
            self.of_transport(name, Some("pool"), message, &hint);
        }
        for (field, written) in [
            ("source_addresses", !transport.source_addresses.is_empty()),
            ("proxy", transport.proxy.is_some()),
        ] {
            if written {
                let message = format!("pool and {field} at once");
                let hint = "both say from where mail leaves; remove one of the two";
                self.of_transport(name, Some(field), message, hint);
            }
        }
    }

    fn of_pool(&mut self, path: &[&str], message: String, hint: &str) {
        let path = [&["pool"], path].concat();
        self.report(&self.texts.server, &path, message, hint);
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(is_part)
}

const NAME_MAX: usize = 64;
const NAME_HINT: &str = "letters from a to z, digits, - and _";
const WEIGHT_MAX: u32 = 1_000;
const MANY: u64 = 1_000_000;
