//! Which addresses anybody may have us connect to: those of the public internet. RFC 6890 and IANA's registries that it made: an address counts
//! as public unless an entry says that it is not globally reachable, or it leads to an IPv4 address inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Whether a connection to the address leaves the machine and the networks around it.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !V4.iter().any(|(net, bits)| within_v4(address, *net, *bits)),
        IpAddr::V6(address) => {
            // Only this part is given out (RFC 4291 2.4); all else is special, mapped and compatible addresses included.
            within_v6(address, &Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)
                && !V6.iter().any(|(net, bits)| within_v6(address, net, *bits))
                || inner_v4(address).is_some_and(|inner| is_public(inner.into()))
        }
    }
}

/// The IPv4 address that translation leads to: RFC 6052 2.1. What it leads to is what counts.
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
    within_v6(address, &nat64, 96).then(|| {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    })
}

fn within_v4(address: Ipv4Addr, net: [u8; 4], bits: u32) -> bool {
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    u32::from(address) & mask == u32::from_be_bytes(net) & mask
}

fn within_v6(address: Ipv6Addr, net: &Ipv6Addr, bits: u32) -> bool {
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    u128::from(address) & mask == u128::from(*net) & mask
}

/// A network that an operator allows: an address, and how many bits of it count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether it has the address. An IPv4 address counts the same in its mapped form.
    pub fn has(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                within_v4(address, net.octets(), self.bits.into())
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => within_v6(address, &net, self.bits.into()),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is no network: write 10.0.0.0/8 or fd00::/8");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match bits <= most {
            true => Ok(Network { address, bits }),
            false => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// RFC 6890 2.2.2, and what was registered since.
const V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),       // this network: RFC 791 3.2
    ([10, 0, 0, 0], 8),      // private: RFC 1918
    ([100, 64, 0, 0], 10),   // shared between carriers: RFC 6598
    ([127, 0, 0, 0], 8),     // loopback: RFC 1122 3.2.1.3
    ([169, 254, 0, 0], 16),  // link-local: RFC 3927
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocols: RFC 6890 2.1
    ([192, 0, 2, 0], 24),    // documentation: RFC 5737
    ([192, 88, 99, 0], 24),  // relays of 6to4: RFC 7526
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks: RFC 2544
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast: RFC 5771
    ([240, 0, 0, 0], 4),     // reserved: RFC 1112 4
    ([255, 255, 255, 255], 32),
];

/// RFC 6890 2.2.3, and what was registered since, within 2000::/3.
const V6: [(Ipv6Addr, u32); 4] = [
    // Protocols: Teredo, benchmarks, ORCHID. RFC 2928.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation: RFC 3849.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4, which leads to any IPv4 address: RFC 7526.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    // Documentation: RFC 9637.
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_is_outside_is() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_operator_names_networks() {
        let net: Network = "127.0.0.0/8".parse().unwrap();
        assert_eq!(net.to_string(), "127.0.0.0/8");
        assert!(net.has("127.9.9.9".parse().unwrap()));
        assert!(net.has("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!net.has("128.0.0.1".parse().unwrap()) && !net.has("::1".parse().unwrap()));
        let all: Network = "::/0".parse().unwrap();
        assert!(all.has("fd00::1".parse().unwrap()) && !all.has("10.0.0.1".parse().unwrap()));
        let one: Network = "fd00::5/128".parse().unwrap();
        assert!(one.has("fd00::5".parse().unwrap()) && !one.has("fd00::6".parse().unwrap()));
        for wrong in ["127.0.0.1", "10.0.0.0/33", "x/8", "::/129", "10.0.0.0/"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
