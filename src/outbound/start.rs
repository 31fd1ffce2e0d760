//! Where a connection begins: an address of ours, or a proxy that connects for us. RFC 1928, 1929.
//! Called by `connect.rs`. What a proxy says is not trusted (`socks`). Addresses of hosts are looked up by us with a proxy too, so that what DANE
//! and MTA-STS ask holds as ever. Not here: which addresses are tried, what is spoken then.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sasl::Secret;
use shards::net::Connection;
use shards::rt;
use socks::{Handshake, Login, SocksError};

use super::link::words;
use crate::settings::{PoolMember, Transport};

/// Where connections of a transport begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// Of ours, one of each family at most. Empty: the system chooses.
    addresses: Vec<IpAddr>,
    proxy: Option<SocketAddr>,
    /// What EHLO says, if it is not what the server calls itself.
    pub ehlo_name: Option<String>,
}

/// Why none was opened.
#[derive(Debug)]
pub(super) struct Unopened {
    /// In words.
    pub text: String,
    /// It is an address of ours that is wanting: nothing was asked of anybody.
    pub is_ours: bool,
}

impl From<String> for Unopened {
    fn from(text: String) -> Unopened {
        let is_ours = false;
        Unopened { text, is_ours }
    }
}

/// A connection that was opened.
pub(super) struct Opened {
    pub connection: Connection,
    /// Where it comes from, as the server sees it; none: a proxy does not say.
    pub from: Option<IpAddr>,
    /// What the server has said already.
    pub ahead: Vec<u8>,
}

impl Start {
    pub fn of(transport: Option<&Transport>) -> Start {
        transport.map_or_else(Start::default, |transport| Start {
            addresses: transport.source_addresses.clone(),
            proxy: transport.proxy,
            ehlo_name: transport.ehlo_name.as_ref().map(ToString::to_string),
        })
    }

    /// The same from the addresses of a member of a pool.
    pub fn of_member(&self, member: &PoolMember) -> Start {
        let ehlo_name = member.ehlo_name.as_ref().map(ToString::to_string);
        Start {
            addresses: member.addresses.clone(),
            proxy: self.proxy,
            ehlo_name: ehlo_name.or_else(|| self.ehlo_name.clone()),
        }
    }

    /// Whether an address can be reached from here. Who names an address of one family alone sends from no other: receivers would judge the mail
    /// by an address that nobody has chosen.
    pub fn reaches(&self, to: IpAddr) -> bool {
        self.proxy.is_some() || self.addresses.is_empty() || self.address_for(to).is_some()
    }

    fn address_for(&self, to: IpAddr) -> Option<IpAddr> {
        let is_v6 = to.to_canonical().is_ipv6();
        self.addresses
            .iter()
            .copied()
            .find(|a| a.is_ipv6() == is_v6)
    }

    /// Opens a connection within the time, proxy and all.
    pub async fn open(
        &self,
        to: SocketAddr,
        login: Option<(&str, &Secret)>,
        limit: Duration,
    ) -> Result<Opened, Unopened> {
        let next = self.proxy.unwrap_or(to);
        let from = self.address_for(next.ip());
        if from.is_none() && !self.addresses.is_empty() {
            let text = "none of the source addresses is of the family of the proxy";
            return Err(text.to_owned().into());
        }
        let connected = Connection::connect_from(next, from, limit).await;
        let connection = connected.map_err(|error| match (from, self.proxy) {
            (Some(from), _) if error.kind() == std::io::ErrorKind::AddrNotAvailable => Unopened {
                text: format!("this machine does not have the address {from} to send from"),
                is_ours: true,
            },
            (_, None) => words(&error).into(),
            (_, Some(proxy)) => format!("the proxy {proxy}: {}", words(&error)).into(),
        })?;
        let Some(proxy) = self.proxy else {
            return Ok(Opened {
                from: Some(connection.local().ip().to_canonical()),
                connection,
                ahead: Vec::new(),
            });
        };
        let asked = rt::timeout(limit, ask(connection, to, login)).await;
        let asked = asked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        asked.map_err(|text| format!("the proxy {proxy}: {text}").into())
    }
}

/// Has the proxy connect us to an address.
async fn ask(
    mut connection: Connection,
    to: SocketAddr,
    login: Option<(&str, &Secret)>,
) -> Result<Opened, String> {
    let login = login.map(|(user, password)| Login {
        user: user.as_bytes(),
        password: password.as_str().unwrap_or_default().as_bytes(),
    });
    let mut handshake = Handshake::new(to, login);
    let mut input: Vec<u8> = Vec::new();
    loop {
        let mut output = Vec::new();
        handshake.transmit(&mut output);
        if !output.is_empty() {
            let written = connection.write_all(&output).await;
            written.map_err(|error| words(&error))?;
        }
        let take = |octets: &[u8]| input.extend_from_slice(octets);
        let read = connection.read_with(take).await;
        read.map_err(|error| words(&error))?;
        if input.is_empty() {
            return Err("it closes the connection".to_owned());
        }
        let heard = handshake.receive(&input);
        let (used, bound) = heard.map_err(|error| in_words(&error, to))?;
        input.drain(..used);
        if let Some(bound) = bound {
            return Ok(Opened {
                connection,
                from: bound.map(|bound| bound.ip().to_canonical()),
                ahead: input,
            });
        }
    }
}

fn in_words(error: &SocksError, to: SocketAddr) -> String {
    match error.is_of_the_host() {
        true => format!("{error} ({to})"),
        false => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_family_without_an_address_of_its_own_is_left_out() {
        let any = Start::of(None);
        assert!(any.reaches(ip("192.0.2.1")) && any.reaches(ip("2001:db8::1")));
        let mut transport = Transport {
            source_addresses: vec![ip("192.0.2.25")],
            ..Transport::default()
        };
        let start = Start::of(Some(&transport));
        assert!(start.reaches(ip("198.51.100.1")));
        assert!(start.reaches(ip("::ffff:198.51.100.1")));
        assert!(!start.reaches(ip("2001:db8::1")));
        assert_eq!(start.address_for(ip("2001:db8::1")), None);
        transport.source_addresses.push(ip("2001:db8::25"));
        let start = Start::of(Some(&transport));
        assert_eq!(
            start.address_for(ip("2001:db8::1")),
            Some(ip("2001:db8::25"))
        );
        assert_eq!(start.address_for(ip("192.0.2.1")), Some(ip("192.0.2.25")));
        // A proxy reaches what it reaches; the addresses are for the way to it.
        transport.source_addresses.truncate(1);
        transport.proxy = Some("192.0.2.3:1080".parse().unwrap());
        assert!(Start::of(Some(&transport)).reaches(ip("2001:db8::1")));
    }
}
