//! The table `[webhooks]` of the static file: how receivers of webhooks are called. Takes effect at reload. docs/WEBHOOKS.md.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use webapi::hook;

use super::network::IpNetwork;
use super::units::{Bytes, Secs};

/// How receivers are called, and what is kept of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// How long to wait after the first attempt, the second and so on; after the last one it is given up.
    pub retry_secs: Vec<Secs>,
    /// How long a call may take, from the look at the name to the end of the answer.
    pub timeout_secs: Secs,
    /// How long a connection to one address may take to come about.
    pub connect_timeout_secs: Secs,
    /// Calls that a core has under way; the others wait.
    pub calls_per_core_max: u32,
    /// Those of one account among them.
    pub calls_per_account_max: u32,
    /// Octets that calls of a core hold of what they say; an account has as much as is left beside it at most, and endpoints that fail half.
    pub payload_memory_max_bytes: Bytes,
    /// Webhooks of an account that wait; what is more is not made.
    pub pending_per_account_max: u64,
    /// Octets of what these say, each counted by itself; what is more is not made.
    pub pending_per_account_max_bytes: Bytes,
    /// How long those that are over are kept; 0: they are not.
    pub keep_webhooks_secs: Secs,
    /// An endpoint that fails for so long without any success is switched off.
    pub disable_after_secs: Secs,
    /// How long those of an endpoint that is switched off wait for it.
    pub give_up_after_secs: Secs,
    /// Networks that may be called beside the public ones, and of this machine's own addresses.
    pub allow_networks: Vec<IpNetwork>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            retry_secs: hook::WAITS_SECS.map(Secs::new).to_vec(),
            timeout_secs: Secs::new(60),
            connect_timeout_secs: Secs::new(15),
            calls_per_core_max: 256,
            calls_per_account_max: 32,
            payload_memory_max_bytes: Bytes::mib(64),
            pending_per_account_max: 1_000_000,
            pending_per_account_max_bytes: Bytes::gib(1),
            keep_webhooks_secs: Secs::new(0),
            disable_after_secs: Secs::minutes(5 * 24 * 60),
            give_up_after_secs: Secs::minutes(14 * 24 * 60),
            allow_networks: Vec::new(),
        }
    }
}

impl Webhooks {
    /// Whether an address may be called: of the public internet and not this machine's own, or of a network that the operator allows. It is asked of
    /// the very address that is connected to, so what a name says a moment later does not matter.
    pub fn may_be_called(&self, address: IpAddr, is_own: impl FnOnce(IpAddr) -> bool) -> bool {
        self.is_opened(address) || hook::is_public(address) && !is_own(address)
    }

    /// Whether it is of a network that the operator allows.
    pub fn is_opened(&self, address: IpAddr) -> bool {
        let mut networks = self.allow_networks.iter();
        networks.any(|network| network.0.has(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_is_closed_unless_it_is_opened() {
        let mut settings = Webhooks::default();
        let loopback = "127.0.0.1".parse().unwrap();
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        let metadata = "169.254.169.254".parse().unwrap();
        for address in [loopback, mapped, metadata] {
            assert!(!settings.may_be_called(address, |_| false), "{address}");
        }
        let public = "8.8.8.8".parse().unwrap();
        assert!(settings.may_be_called(public, |_| false));
        assert!(!settings.may_be_called(public, |address| address == public));
        let network = "127.0.0.0/8".to_string().try_into().unwrap();
        settings.allow_networks.push(network);
        assert!(settings.may_be_called(loopback, |_| true));
        assert!(settings.may_be_called(mapped, |_| true));
        assert!(!settings.may_be_called(metadata, |_| false));
        settings
            .allow_networks
            .push("8.8.8.8/32".to_string().try_into().unwrap());
        assert!(settings.may_be_called(public, |_| true));
    }
}
