//! /etc/hosts, as far as it concerns us: hosts(5), RFC 6761 6.3 (localhost). Only for whom the operator lets call inside: names of mail are those of
//! the DNS.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of this machine's own names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    /// Reads the file (blocking); one that can't be read is as good as none, as for other programs.
    pub fn read() -> Hosts {
        let mut text = Vec::new();
        let read = File::open(HOSTS).and_then(|file| file.take(SIZE_MAX).read_to_end(&mut text));
        match read {
            Ok(_) => Hosts::parse(&String::from_utf8_lossy(&text)),
            Err(_) => Hosts::default(),
        }
    }

    /// Lines of an address and its names; what is not understood is passed over.
    fn parse(text: &str) -> Hosts {
        let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
                continue;
            };
            for name in words {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                let addresses = hosts.entry(name).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        Hosts(hosts)
    }

    /// The addresses of a name in lower case.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        let name = name.trim_end_matches('.');
        match is_localhost(name) {
            // Whatever the file says.
            true => &LOCALHOST,
            false => self.0.get(name).map_or(&[], Vec::as_slice),
        }
    }
}

/// RFC 6761 6.3: localhost and all names below it are the loopback addresses, and no DNS server is asked.
pub fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

const HOSTS: &str = "/etc/hosts";
/// What localhost and all names below it are.
pub const LOCALHOST: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
/// Octets of the file that are read.
const SIZE_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_manual_says() {
        let text = "127.0.0.1 localhost elsewhere\n# 192.0.2.9 no\n192.0.2.1\tHook.Example hook # alias\n::1 hook.example\nnonsense x\n";
        let hosts = Hosts::parse(text);
        let of = |name: &str| {
            let addresses = hosts.addresses(name).iter().map(IpAddr::to_string);
            addresses.collect::<Vec<_>>()
        };
        assert_eq!(of("hook.example"), ["192.0.2.1", "::1"]);
        assert_eq!(of("hook."), ["192.0.2.1"]);
        assert!(of("x").is_empty() && of("no").is_empty());
        for local in ["localhost", "a.localhost", "localhost."] {
            assert_eq!(of(local), ["127.0.0.1", "::1"]);
        }
        assert!(!is_localhost("notlocalhost"));
    }
}
