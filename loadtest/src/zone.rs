//! A DNS server for the sink's destinations: `d0.test`, `d1.test`, .. and, for the stalled ones, `s0.test`, ..; each has one MX,
//! `mx.` below it, with the destination's address. All else below `test` does not exist. RFC 1034, RFC 1035, RFC 2308, RFC 6891.
//!
//! UDP and TCP on one loopback port. It answers as a resolver would (RA), so that a server under test can be told to ask it.
//! Queries come from the server under test: what is no query gets no answer.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::Failure;
use crate::sink::{address_of, stalled_address_of};

/// The running server.
pub struct Zone {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    #[cfg(test)]
    address: std::net::SocketAddr,
}

struct Shared {
    destinations: usize,
    stalled: usize,
    stop: AtomicBool,
    queries: AtomicU64,
}

impl Zone {
    /// Listens on 127.0.0.1.
    pub fn start(port: u16, destinations: usize, stalled: usize) -> Result<Self, Failure> {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let failed = |error| Failure::io(format!("DNS at {address}"))(error);
        let mut sockets = sockets(address);
        for _ in 1..TRIES {
            // Any port was asked for, and the one for UDP is another's for TCP.
            if port == 0 && sockets.is_err() {
                sockets = self::sockets(address);
            }
        }
        let (udp, tcp) = sockets.map_err(failed)?;
        udp.set_read_timeout(Some(ROUND_MAX)).map_err(failed)?;
        tcp.set_nonblocking(true).map_err(failed)?;
        #[cfg(test)]
        let bound = udp.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            destinations,
            stalled,
            stop: AtomicBool::new(false),
            queries: AtomicU64::new(0),
        });
        let (of_udp, of_tcp) = (Arc::clone(&shared), Arc::clone(&shared));
        let start = |run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name("dns".into()).spawn(run);
            thread.map_err(Failure::io("thread"))
        };
        let threads = vec![
            start(Box::new(move || of_udp.datagrams(&udp)))?,
            start(Box::new(move || of_tcp.streams(&tcp)))?,
        ];
        Ok(Self {
            shared,
            threads,
            #[cfg(test)]
            address: bound,
        })
    }

    /// Queries so far.
    #[cfg(test)]
    pub fn queries(&self) -> u64 {
        self.shared.queries.load(Ordering::Relaxed)
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn sockets(address: SocketAddrV4) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind(address)?;
    let tcp = TcpListener::bind(udp.local_addr()?)?;
    Ok((udp, tcp))
}

impl Shared {
    fn datagrams(&self, socket: &UdpSocket) {
        let mut buffer = [0; QUERY_MAX];
        while !self.stop.load(Ordering::Relaxed) {
            if let Ok((count, from)) = socket.recv_from(&mut buffer)
                && let Some(answer) = self.answer(&buffer[..count])
            {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    /// One connection after the other, each with little patience: queries over TCP are rare here.
    fn streams(&self, listener: &TcpListener) {
        while !self.stop.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => drop(self.stream(stream)),
                Err(_) => thread::sleep(ROUND_MAX),
            }
        }
    }

    /// RFC 1035 4.2.2: each message after its length.
    fn stream(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        while !self.stop.load(Ordering::Relaxed) {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut query)?;
            let Some(answer) = self.answer(&query) else {
                break;
            };
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())?;
        }
        Ok(())
    }

    /// The answer to a query of one question.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let [id_high, id_low, flags, _, 0, 1, ..] = *query else {
            return None;
        };
        if flags & QR != 0 {
            return None;
        }
        self.queries.fetch_add(1, Ordering::Relaxed);
        let (name, end) = name(query)?;
        let [type_high, type_low, class_high, class_low] = *query.get(end..end + 4)? else {
            return None;
        };
        let kind = u16::from_be_bytes([type_high, type_low]);
        let found = match u16::from_be_bytes([class_high, class_low]) {
            IN if flags & OPCODE == 0 => self.find(&name),
            _ => Found::Refused,
        };
        let records = found.records(kind);
        let rcode = match found {
            Found::Refused => REFUSED,
            Found::Nothing => NXDOMAIN,
            Found::Domain | Found::Host(_) | Found::Empty => 0,
        };
        let refused = rcode == REFUSED;
        let (answers, authorities) = match records.is_empty() {
            false => (1, 0),
            true => (0, u8::from(!refused)),
        };
        // RFC 6891 6.1.1: who sent OPT gets one.
        let opt = u8::from(query[11] > 0);
        let flags = [QR | AA | (flags & RD), RA | rcode];
        let mut answer = vec![id_high, id_low, flags[0], flags[1]];
        answer.extend_from_slice(&[0, 1, 0, answers, 0, authorities, 0, opt]);
        answer.extend_from_slice(&query[HEADER..end + 4]);
        answer.extend_from_slice(&records);
        if authorities > 0 {
            answer.extend_from_slice(SOA);
        }
        if opt > 0 {
            answer.extend_from_slice(OPT);
        }
        Some(answer)
    }

    fn find(&self, name: &[String]) -> Found {
        let labels: Vec<&str> = name.iter().map(String::as_str).collect();
        match labels.as_slice() {
            ["test"] => Found::Empty,
            [domain, "test"] if self.address(domain).is_some() => Found::Domain,
            ["mx", domain, "test"] => self.address(domain).map_or(Found::Nothing, Found::Host),
            [.., "test"] => Found::Nothing,
            _ => Found::Refused,
        }
    }

    fn address(&self, domain: &str) -> Option<Ipv4Addr> {
        let number = |digits: &str| digits.parse::<usize>().ok();
        if let Some(digits) = domain.strip_prefix('d') {
            let index = number(digits).filter(|index| *index < self.destinations);
            return index.map(address_of);
        }
        let index = number(domain.strip_prefix('s')?).filter(|index| *index < self.stalled);
        index.map(stalled_address_of)
    }
}

enum Found {
    /// Has an MX.
    Domain,
    /// Has an A.
    Host(Ipv4Addr),
    /// Is there and has nothing.
    Empty,
    Nothing,
    Refused,
}

impl Found {
    /// The record of a type, if there is one.
    fn records(&self, kind: u16) -> Vec<u8> {
        match (self, kind) {
            (Self::Domain, MX) => record(MX, MX_DATA),
            (Self::Host(address), A) => record(A, &address.octets()),
            _ => Vec::new(),
        }
    }
}

/// The labels of the question's name, in lower case, and where it ends.
fn name(query: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels, at));
        }
        // RFC 1035 2.3.4. A pointer has nothing before it to point to.
        if length > 63 {
            return None;
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

/// A record of the question's name.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = QUESTION.to_vec();
    record.extend_from_slice(&kind.to_be_bytes());
    record.extend_from_slice(&IN.to_be_bytes());
    record.extend_from_slice(&TTL_SECS.to_be_bytes());
    record.extend_from_slice(&(data.len() as u16).to_be_bytes());
    record.extend_from_slice(data);
    record
}

const HEADER: usize = 12;
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const AA: u8 = 0x04;
const RD: u8 = 0x01;
const RA: u8 = 0x80;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;
const IN: u16 = 1;
const A: u16 = 1;
const MX: u16 = 15;
/// A pointer to the question's name.
const QUESTION: &[u8] = &[0xC0, HEADER as u8];
/// Preference 10, `mx.` below the question's name.
const MX_DATA: &[u8] = &[0, 10, 2, b'm', b'x', 0xC0, HEADER as u8];
const TTL_SECS: u32 = 300;
/// `test. 300 SOA . . 1 3600 600 86400 300`: RFC 2308 3, for how long nothing is remembered.
const SOA: &[u8] = b"\x04test\0\0\x06\0\x01\0\0\x01\x2c\0\x16\0\0\0\0\0\x01\0\0\x0e\x10\0\0\x02\x58\0\x01\x51\x80\0\0\x01\x2c";
/// RFC 6891 6.1.2: answers of up to 1232 octets.
const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
const TRIES: usize = 10;
const QUERY_MAX: usize = 4096;
const ROUND_MAX: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// A query with OPT, its header first.
    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![0xAB, 0xCD, RD, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend_from_slice(label.as_bytes());
        }
        query.push(0);
        query.extend_from_slice(&kind.to_be_bytes());
        query.extend_from_slice(&IN.to_be_bytes());
        query.extend_from_slice(OPT);
        query
    }

    fn ask(zone: &Zone, name: &str, kind: u16) -> Vec<u8> {
        zone.shared.answer(&query(name, kind)).unwrap()
    }

    /// Code, counts of answers, authorities and additional records.
    fn summary(answer: &[u8]) -> (u8, u8, u8, u8) {
        (answer[3] & 0x0f, answer[7], answer[9], answer[11])
    }

    #[test]
    fn destinations_have_a_host_with_their_address() {
        let zone = Zone::start(0, 3, 1).unwrap();
        let answer = ask(&zone, "D2.Test", MX);
        assert_eq!(
            (&answer[..2], summary(&answer)),
            (&[0xAB, 0xCD][..], (0, 1, 0, 1))
        );
        assert_eq!(answer[2], QR | AA | RD);
        let record = &answer[answer.len() - OPT.len() - MX_DATA.len()..];
        assert!(record.starts_with(MX_DATA) && record.ends_with(OPT));
        for (name, address) in [
            ("mx.d2.test", address_of(2)),
            ("mx.s0.test", stalled_address_of(0)),
        ] {
            let answer = ask(&zone, name, A);
            let data = &answer[answer.len() - OPT.len() - 4..][..4];
            assert_eq!(
                (summary(&answer), data),
                ((0, 1, 0, 1), &address.octets()[..])
            );
        }
        assert_eq!(zone.queries(), 3);
    }

    #[test]
    fn a_resolver_reads_the_answers() {
        let zone = Zone::start(0, 300, 1).unwrap();
        let resolve = |name: &str, kind| {
            let name = dns::Name::parse(name).unwrap();
            let answer = zone.shared.answer(&dns::query(7, &name, kind)).unwrap();
            match dns::read(&answer, 7, &name, kind) {
                dns::Reading::Answered(resolved) => (resolved.outcome, resolved.ttl),
                other => panic!("{name}: {other:?}"),
            }
        };
        let mx = dns::Record::Mx(dns::Mx {
            preference: 10,
            exchange: dns::Name::parse("mx.d299.test").unwrap(),
        });
        let records = |record| dns::Outcome::Records([record].into());
        let found = resolve("d299.test", dns::RecordType::Mx);
        assert_eq!(found, (records(mx), TTL_SECS));
        let address = dns::Record::A(address_of(299));
        let found = resolve("mx.d299.test", dns::RecordType::A);
        assert_eq!(found, (records(address), TTL_SECS));
        let found = resolve("mx.d299.test", dns::RecordType::Aaaa);
        assert_eq!(found, (dns::Outcome::NoData, TTL_SECS));
        let found = resolve("d300.test", dns::RecordType::Mx);
        assert_eq!(found, (dns::Outcome::NxDomain, TTL_SECS));
    }

    #[test]
    fn what_is_not_there_is_told() {
        let zone = Zone::start(0, 3, 1).unwrap();
        for (name, kind, code) in [
            ("d3.test", MX, NXDOMAIN),
            ("s1.test", MX, NXDOMAIN),
            ("_mta-sts.d0.test", 16, NXDOMAIN),
            ("d0.test", A, 0),
            ("mx.d0.test", 28, 0),
            ("test", MX, 0),
        ] {
            assert_eq!(summary(&ask(&zone, name, kind)), (code, 0, 1, 1), "{name}");
        }
        assert_eq!(summary(&ask(&zone, "d0.example", MX)), (REFUSED, 0, 0, 1));
        let mut response = query("d0.test", MX);
        response[2] |= QR;
        assert_eq!(zone.shared.answer(&response), None);
        let whole = query("d0.test", MX);
        for cut in 0..whole.len() - OPT.len() {
            assert_eq!(zone.shared.answer(&whole[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn datagrams_and_streams_get_the_same_answer() {
        let zone = Zone::start(0, 1, 0).unwrap();
        let asked = query("d0.test", MX);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        socket.send_to(&asked, zone.address).unwrap();
        let mut datagram = [0; 512];
        let count = socket.recv(&mut datagram).unwrap();
        let mut stream = TcpStream::connect(zone.address).unwrap();
        for _ in 0..2 {
            let length = (asked.len() as u16).to_be_bytes();
            stream.write_all(&[&length[..], &asked].concat()).unwrap();
            let mut answer = vec![0; count + 2];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer[2..], datagram[..count]);
            assert_eq!(
                usize::from(u16::from_be_bytes([answer[0], answer[1]])),
                count
            );
        }
    }
}
