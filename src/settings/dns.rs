//! `[dns]` of the static file: whom names are asked of, and whether they are believed. Takes effect at reload.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::units::{Bytes, Secs};

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Resolvers. `None`: those of /etc/resolv.conf.
    pub servers: Option<Vec<DnsServer>>,
    /// Whether what they say about DNSSEC is believed. `None`: if resolv.conf says `trust-ad`, or if all of them are on this host.
    pub trusted: Option<bool>,
    /// How long a server has for an answer.
    pub try_timeout_secs: Secs,
    /// How often each server is asked.
    pub tries: u32,
    /// Questions that a core has under way; the others wait.
    pub questions_per_core_max: u32,
    /// Answers that each core remembers.
    pub cache_entries_max: u32,
    /// Octets of them.
    pub cache_bytes_max: Bytes,
    /// An answer holds at least so long.
    pub ttl_min_secs: Secs,
    /// And at most.
    pub ttl_max_secs: Secs,
    /// That there is nothing holds at most so long.
    pub negative_ttl_max_secs: Secs,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: None,
            trusted: None,
            try_timeout_secs: Secs::new(5),
            tries: 2,
            questions_per_core_max: 256,
            cache_entries_max: 10_000,
            cache_bytes_max: Bytes::mib(8),
            ttl_min_secs: Secs::new(0),
            ttl_max_secs: Secs::minutes(24 * 60),
            // RFC 2308 5: one to three hours work well.
            negative_ttl_max_secs: Secs::minutes(60),
        }
    }
}

/// A resolver: an address with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(pub SocketAddr);

impl FromStr for DnsServer {
    type Err = String;

    fn from_str(text: &str) -> Result<DnsServer, String> {
        let with_port = text.parse::<SocketAddr>().ok();
        let bare = || {
            let address: IpAddr = text.parse().ok()?;
            Some(SocketAddr::new(address, DNS_PORT))
        };
        match with_port.or_else(bare) {
            Some(server) if server.port() != 0 && !server.ip().is_unspecified() => {
                Ok(DnsServer(server))
            }
            _ => Err(format!(
                "{text:?} is no DNS server: an address as in \"192.0.2.53\", \"[2001:db8::53]:53\" or \"127.0.0.1:5353\"; names are not looked up"
            )),
        }
    }
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for DnsServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DnsServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Servers beyond these would never come to their turn in time.
pub const DNS_SERVERS_MAX: usize = 8;
/// RFC 1035 4.2.
pub const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses() {
        let read = |text: &str| text.parse::<DnsServer>().map(|s| s.to_string());
        assert_eq!(read("192.0.2.53").unwrap(), "192.0.2.53:53");
        assert_eq!(read("2001:db8::53").unwrap(), "[2001:db8::53]:53");
        assert_eq!(read("[::1]:5353").unwrap(), "[::1]:5353");
        for wrong in [
            "localhost",
            "",
            "0.0.0.0",
            "[::]:53",
            "127.0.0.1:0",
            "127.0.0.1:x",
        ] {
            assert!(read(wrong).unwrap_err().contains("names are not looked up"));
        }
    }
}
