//! /etc/resolv.conf, as far as it concerns us: resolv.conf(5). Pure. Search domains are not used: names of mail are whole.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::settings::dns::DNS_PORT;

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<SocketAddr>,
    /// `options trust-ad`: the way to the servers is safe, and they may be believed.
    pub(super) trust_ad: bool,
}

impl ResolvConf {
    /// Reads its text; the empty text is that of a file that is not there. What is not understood is passed over, as others do.
    pub(super) fn parse(text: &str) -> ResolvConf {
        let (mut servers, mut trust_ad) = (Vec::new(), false);
        for line in text.lines() {
            // A comment begins at the line's start; some write one behind, too.
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    servers.extend(address.map(|a| SocketAddr::new(a, DNS_PORT)));
                }
                Some("options") => trust_ad |= words.any(|word| word == "trust-ad"),
                _ => (),
            }
        }
        servers.truncate(SERVERS_MAX);
        if servers.is_empty() {
            servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT));
        }
        ResolvConf { servers, trust_ad }
    }
}

/// resolv.conf(5): MAXNS.
const SERVERS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (String, bool) {
        let ResolvConf { servers, trust_ad } = ResolvConf::parse(text);
        (servers.iter().map(|s| format!("{s} ")).collect(), trust_ad)
    }

    #[test]
    fn what_the_manual_says() {
        assert_eq!(parse(""), ("127.0.0.1:53 ".into(), false));
        let text = "# made by hand\nsearch example.org\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # second\noptions edns0 trust-ad\n";
        assert_eq!(parse(text), ("192.0.2.1:53 [2001:db8::1]:53 ".into(), true));
        let text = "nameserver 1.1.1.1\nnameserver x\nnameserver fe80::1%eth0\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4\n;options trust-ad\n";
        assert_eq!(
            parse(text),
            ("1.1.1.1:53 1.1.1.2:53 1.1.1.3:53 ".into(), false)
        );
    }
}
