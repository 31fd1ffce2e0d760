//! Which addresses are this machine's own: whoever connects to one is inside, behind what keeps others out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Whether an address is one of this machine's interfaces. The kernel is asked anew each time, for addresses come and go; nothing is sent, and nothing waits.
/// Not known are an address that a router in front translates to one of ours, and those of a whole network that the kernel takes for its own.
pub fn is_own(address: IpAddr) -> bool {
    let from: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // To one of its own it speaks from that one.
    let source = UdpSocket::bind(SocketAddr::new(from, 0)).and_then(|socket| {
        socket.connect(SocketAddr::new(address, ANY_PORT))?;
        socket.local_addr()
    });
    // Without a route there, none of ours has it.
    source.is_ok_and(|source| source.ip() == address)
}

/// That of discard (RFC 863), to which nothing is sent either.
const ANY_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_told_from_others() {
        for (address, is_ours) in [
            ("127.0.0.1", true),
            ("8.8.8.8", false),
            ("2001:4860:4860::8888", false),
        ] {
            assert_eq!(is_own(address.parse().unwrap()), is_ours, "{address}");
        }
    }
}
