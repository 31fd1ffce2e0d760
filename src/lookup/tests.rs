//! Against a DNS server of the test's own, on a thread.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use dns::Lookup;
use futures_lite::future::poll_once;

use super::*;
use crate::settings::{DnsServer, Secs};

/// Flags, records of the answer and of the authority section.
type Parts = (u16, Vec<Vec<u8>>, Vec<Vec<u8>>);

/// What a server answers to a question. None: nothing.
type Says = fn(name: &str) -> Option<Parts>;

struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(delay: Duration, says: Says) -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        thread::spawn(move || {
            let mut buffer = [0; 600];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                counted.fetch_add(1, Ordering::SeqCst);
                thread::sleep(delay);
                if let Some(answer) = answer(&buffer[..length], says) {
                    socket.send_to(&answer, peer).unwrap();
                }
            }
        });
        Server { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(query: &[u8], says: Says) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let (flags, answers, authorities) = says(&labels.join("."))?;
    let mut message = query[..2].to_vec();
    let counts = [1, answers.len() as u16, authorities.len() as u16, 0];
    for word in [flags].into_iter().chain(counts) {
        message.extend(word.to_be_bytes());
    }
    message.extend(&query[12..at + 5]);
    message.extend(answers.concat());
    message.extend(authorities.concat());
    Some(message)
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.');
    let mut octets: Vec<u8> = labels
        .flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat())
        .collect();
    octets.push(0);
    octets
}

fn record(name: &str, number: u8, ttl: u8, data: &[u8]) -> Vec<u8> {
    let fixed = [0, number, 0, 1, 0, 0, 0, ttl, 0, data.len() as u8];
    [&wire(name), &fixed[..], data].concat()
}

fn soa(ttl: u8) -> Vec<u8> {
    let data = [
        wire("ns.example"),
        wire("root.example"),
        vec![0; 19],
        vec![ttl],
    ]
    .concat();
    record("example", 6, ttl, &data)
}

const OK: u16 = 0x8180;
const AD: u16 = 0x0020;

fn settings(servers: &[&Server]) -> Dns {
    Dns {
        servers: Some(servers.iter().map(|s| DnsServer(s.address)).collect()),
        try_timeout_secs: Secs::new(60),
        tries: 1,
        ..Dns::default()
    }
}

fn resolver(settings: &Dns) -> Resolver {
    Resolver::new(ResolverOptions::of(settings))
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn addresses(name: &str) -> Option<Parts> {
    match name {
        "a.example" => Some((OK | AD, vec![record(name, 1, 60, &[192, 0, 2, 1])], vec![])),
        "gone.example" => Some((OK | AD | 3, vec![], vec![soa(60)])),
        "none.example" => Some((OK, vec![], vec![soa(60)])),
        "fails.example" => Some((OK | 2, vec![], vec![])),
        // Stops at the alias, without a word on what that has.
        "alias.example" => Some((
            OK | AD,
            vec![record(name, 5, 60, &wire("a.example"))],
            vec![],
        )),
        "turns.example" => Some((
            OK,
            vec![record(name, 5, 60, &wire("turns2.example"))],
            vec![],
        )),
        "turns2.example" => Some((
            OK,
            vec![record(name, 5, 60, &wire("turns.example"))],
            vec![],
        )),
        _ => None,
    }
}

#[test]
fn answers_are_remembered_also_those_that_say_no() {
    let server = Server::start(Duration::ZERO, addresses);
    let resolver = resolver(&settings(&[&server]));
    rt::block_on(async {
        for _ in 0..3 {
            let answer = resolver.a(&name("A.example.")).await.unwrap();
            assert_eq!(
                answer.records,
                ["192.0.2.1".parse::<std::net::Ipv4Addr>().unwrap()]
            );
            assert!(answer.authentic && answer.ttl <= 60);
            let gone = resolver.a(&name("gone.example")).await.unwrap_err();
            assert_eq!(gone.cause, Cause::NxDomain { authentic: true });
            let none = resolver.a(&name("none.example")).await.unwrap_err();
            assert_eq!(none.cause, Cause::NoData { authentic: false });
            let failed = resolver.a(&name("fails.example")).await.unwrap_err();
            assert_eq!(failed.cause, Cause::ServFail(None));
        }
    })
    .unwrap();
    assert_eq!(server.asked(), 4);
    assert_eq!(resolver.remembered().0, 4);
    let samples = resolver.durations().samples();
    let mut results: Vec<_> = samples.iter().map(|((_, labels), _)| labels[1].1).collect();
    results.sort_unstable();
    assert_eq!(results, ["nodata", "nxdomain", "ok", "servfail"]);
    let hits: i64 = resolver.metrics().samples().iter().map(|(_, n)| n).sum();
    assert_eq!(hits, 8);
}

#[test]
fn who_asks_the_same_at_once_shares_the_answer() {
    let server = Server::start(Duration::from_millis(200), addresses);
    let resolver = resolver(&settings(&[&server]));
    rt::block_on(async {
        let answered = Rc::new(Cell::new(0));
        for n in 0..50 {
            let (resolver, answered) = (resolver.clone(), answered.clone());
            rt::spawn(&ROOM, async move {
                // The first one gives up; the others get the answer all the same.
                let limit = Duration::from_secs(if n == 0 { 0 } else { 60 });
                let asked = resolver.a(&name("a.example")).await;
                if rt::timeout(limit, async { asked })
                    .await
                    .is_ok_and(|a| a.is_ok())
                {
                    answered.set(answered.get() + 1);
                }
            });
        }
        let given_up = poll_once(resolver.a(&name("a.example"))).await;
        assert!(given_up.is_none());
        while answered.get() < 49 {
            rt::sleep(Duration::from_millis(5)).await;
        }
    })
    .unwrap();
    assert_eq!(server.asked(), 1);
    assert!(resolver.0.flights.borrow().is_empty());
}

#[test]
fn so_many_are_under_way_and_the_others_wait() {
    let silent = Server::start(Duration::ZERO, |_| None);
    let server = Server::start(Duration::ZERO, |n| {
        Some((OK, vec![record(n, 1, 60, &[192, 0, 2, 1])], vec![]))
    });
    let two = |server| {
        resolver(&Dns {
            questions_per_core_max: 2,
            ..settings(&[server])
        })
    };
    let (stuck, flowing) = (two(&silent), two(&server));
    rt::block_on(async {
        let answered = Rc::new(Cell::new(0));
        for resolver in [stuck, flowing] {
            for n in 0..20 {
                let (resolver, answered) = (resolver.clone(), answered.clone());
                rt::spawn(&ROOM, async move {
                    let found = resolver.a(&name(&format!("n{n}.example"))).await;
                    answered.set(answered.get() + usize::from(found.is_ok()));
                });
            }
        }
        while answered.get() < 20 || silent.asked() < 2 {
            rt::sleep(Duration::from_millis(5)).await;
        }
        rt::sleep(Duration::from_millis(50)).await;
        assert_eq!((silent.asked(), server.asked()), (2, 20));
    })
    .unwrap();
}

#[test]
fn an_alias_that_was_left_is_followed() {
    let server = Server::start(Duration::ZERO, addresses);
    let resolver = resolver(&settings(&[&server]));
    rt::block_on(async {
        let found = resolver
            .resolve(&name("alias.example"), RecordType::A)
            .await
            .unwrap();
        assert!(matches!(found.outcome, Outcome::Records(_)) && found.authentic);
        assert_eq!(*found.aliases, [name("a.example")]);
        let circle = resolver.a(&name("turns.example")).await.unwrap_err();
        assert_eq!(circle.cause, Cause::AliasLoop(name("turns.example")));
    })
    .unwrap();
}

#[test]
fn another_server_is_asked_when_one_cannot_say() {
    let failing = Server::start(Duration::ZERO, |_| Some((OK | 2, vec![], vec![])));
    let good = Server::start(Duration::ZERO, addresses);
    let both = resolver(&settings(&[&failing, &good]));
    let alone = resolver(&settings(&[&failing]));
    rt::block_on(async {
        assert!(both.a(&name("a.example")).await.is_ok());
        let failed = alone.a(&name("a.example")).await.unwrap_err();
        assert_eq!(failed.cause, Cause::ServFail(None));
    })
    .unwrap();
}

#[test]
fn what_is_wrong_for_one_is_wrong_for_all() {
    // An OPT record with an extended error: 6, bogus. Counted among the authorities, where nobody minds where it stands, it would not be
    // seen; so it is put where it belongs by hand.
    let bogus = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = bogus.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 600];
        while let Ok((length, peer)) = bogus.recv_from(&mut buffer) {
            let mut message =
                answer(&buffer[..length], |_| Some((OK | 2, vec![], vec![]))).unwrap();
            message[11] = 1;
            message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, 6]);
            bogus.send_to(&message, peer).unwrap();
        }
    });
    let careless = Server::start(Duration::ZERO, addresses);
    let mut settings = settings(&[&careless]);
    settings
        .servers
        .as_mut()
        .unwrap()
        .insert(0, DnsServer(address));
    let resolver = resolver(&settings);
    let failed = rt::block_on(async { resolver.a(&name("a.example")).await.unwrap_err() }).unwrap();
    assert!(matches!(failed.cause, Cause::Bogus(_)), "{failed}");
    assert_eq!(careless.asked(), 0);
}

#[test]
fn a_server_without_edns_is_asked_without() {
    let old = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = old.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 600];
        while let Ok((length, peer)) = old.recv_from(&mut buffer) {
            let query = &buffer[..length];
            let has_edns = query[11] == 1;
            let mut message = answer(query, addresses).unwrap();
            if has_edns {
                // FORMERR, with nothing but the header.
                message.truncate(12);
                message[2..12].copy_from_slice(&[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
            }
            old.send_to(&message, peer).unwrap();
        }
    });
    let mut settings = settings(&[]);
    settings.servers = Some(vec![DnsServer(address)]);
    let found = rt::block_on(async { resolver(&settings).a(&name("a.example")).await }).unwrap();
    assert!(found.is_ok(), "{found:?}");
}

#[test]
fn nobody_answers() {
    let silent = Server::start(Duration::ZERO, |_| None);
    let resolver = resolver(&Dns {
        try_timeout_secs: Secs(Duration::from_millis(30)),
        tries: 2,
        ..settings(&[&silent])
    });
    let failed = rt::block_on(async { resolver.a(&name("x.example")).await.unwrap_err() }).unwrap();
    let text = format!(
        "A of x.example: no server answered in time: {}: no answer in time",
        silent.address
    );
    assert_eq!(failed.to_string(), text);
    assert_eq!(silent.asked(), 2);
}

#[test]
fn who_is_believed() {
    let trusted = |servers: Option<&[&str]>, set, text: &str| {
        let settings = Dns {
            servers: servers.map(|all| all.iter().map(|s| s.parse().unwrap()).collect()),
            trusted: set,
            ..Dns::default()
        };
        ResolverOptions::with(&settings, || text.to_string()).trusted
    };
    assert!(trusted(None, None, ""));
    assert!(!trusted(None, None, "nameserver 192.0.2.1"));
    assert!(trusted(
        None,
        None,
        "nameserver 192.0.2.1\noptions trust-ad"
    ));
    assert!(trusted(Some(&["127.0.0.1", "::1"]), None, ""));
    // The other's word would count for nothing, or for too much.
    assert!(!trusted(
        Some(&["127.0.0.1", "192.0.2.1"]),
        None,
        "options trust-ad"
    ));
    assert!(trusted(Some(&["192.0.2.1"]), Some(true), ""));
    assert!(!trusted(None, Some(false), ""));
}

#[test]
fn other_servers_are_other_answers() {
    let first = Server::start(Duration::ZERO, addresses);
    let second = Server::start(Duration::ZERO, |_| Some((OK | 3, vec![], vec![soa(60)])));
    let resolver = resolver(&settings(&[&first]));
    rt::block_on(async {
        assert!(resolver.a(&name("a.example")).await.unwrap().authentic);
        // The same again changes nothing.
        resolver.configure(&ResolverOptions::of(&settings(&[&first])));
        assert_eq!(resolver.remembered().0, 1);
        let untrusted = Dns {
            trusted: Some(false),
            ..settings(&[&first])
        };
        resolver.configure(&ResolverOptions::of(&untrusted));
        assert!(!resolver.a(&name("a.example")).await.unwrap().authentic);
        resolver.configure(&ResolverOptions::of(&settings(&[&second])));
        let gone = resolver.a(&name("a.example")).await.unwrap_err();
        assert_eq!(gone.cause, Cause::NxDomain { authentic: false });
    })
    .unwrap();
}
