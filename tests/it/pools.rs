//! Pools: connections spread over addresses of ours by weight, no more of each than is allowed, and no more mail than a new one may send.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringmail::calls::{Answer, Call, ControlAnswer, ControlCall};
use ringmail::queue::sites::Kind;
use ringmail::queue::warm_up::{State, WarmUpKey};
use ringmail::settings::Door;
use shards::CoreId;

use crate::outbound::{free_port, hold, queue, reasons, server, submit, submit_on, until_sent};
use crate::patience::{early_in_the_hour, patiently};
use crate::receiver::Receiver;
use crate::server::TestServer;

/// All mail leaves from the addresses of this pool.
fn pool(members: &str) -> String {
    format!(
        "messages_per_connection_max = 1\n[transport.way]\nkind = \"direct\"\npool = \"p\"\n[[route]]\ntransport = \"way\"\n{members}"
    )
}

fn member(name: &str, last: u8, more: &str) -> String {
    format!("[pool.p.member.{name}]\naddresses = [\"127.0.0.{last}\"]\n{more}\n")
}

/// Messages that came from an address; one on each connection.
fn from(receiver: &Receiver, last: u8) -> usize {
    let heard = receiver.heard.lock().unwrap();
    let is_it = Some(IpAddr::from([127, 0, 0, last]));
    let of = heard.iter().filter(|h| h.peer == is_it);
    of.map(|h| h.messages.len()).sum()
}

fn warm_ups(server: &TestServer) -> Vec<(WarmUpKey, State)> {
    let mut all = Vec::new();
    for shard in 0..server.server().shards() {
        let owner = server.server().owner_of_shard(shard);
        let call = ControlCall::WarmUps {
            shard,
            after: None,
            limit: 100,
        };
        let answer = server.server().call(owner, Call::Control(Box::new(call)));
        let Ok(Answer::Control(Ok(ControlAnswer::WarmUps((found, None))))) = answer else {
            panic!("no warm-ups");
        };
        all.extend(found);
    }
    all
}

#[test]
fn addresses_take_turns_by_weight() {
    // Whoever says that a connection takes one message.
    take_turns(|members, _| pool(members));
    take_turns(|members, directory| {
        let rules = "[[site]]\nhosts = [\"mx.shared.test\"]\nmessages_per_connection_max = 1\n";
        std::fs::write(directory.join("shaping.toml"), rules).unwrap();
        pool(members).replace(
            "messages_per_connection_max = 1",
            "shaping_file = \"shaping.toml\"",
        )
    });
}

fn take_turns(settings: impl Fn(&str, &Path) -> String) {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let members = [
        member("often", 41, "weight = 3"),
        member(
            "seldom",
            42,
            "weight = 1\nehlo_name = \"seldom.example.test\"",
        ),
        member("never", 43, "weight = 0"),
    ];
    let settings = settings(&members.concat(), directory.path());
    let server = server(directory.path(), port, &settings);
    for n in 0..40 {
        assert!(submit(&server, &["a@one.test"], &format!("s{n}")).starts_with("250"));
    }
    until_sent(&server);
    let (often, seldom) = (from(&receiver, 41), from(&receiver, 42));
    assert_eq!(often + seldom, 40);
    // Each core takes turns of its own, and one may be in the middle of its own.
    let off = 2 * usize::from(server.server().cores());
    assert!(seldom.abs_diff(10) <= off, "{often} {seldom}");
    let commands = receiver.commands();
    let as_seldom = commands.iter().filter(|c| *c == "EHLO seldom.example.test");
    assert_eq!(as_seldom.count(), seldom);
}

#[test]
fn a_site_that_has_much_mail_does_not_keep_the_only_connection_of_an_address() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    // It takes its time from when all of its mail is in the queue.
    let (held, begins) = hold();
    let slow = Receiver::start([127, 0, 0, 11], port, None, move |line| {
        if line.starts_with("MAIL") {
            begins();
            std::thread::sleep(Duration::from_millis(500));
        }
        None
    });
    let other = Receiver::start([127, 0, 0, 12], port, None, |_| None);
    let settings = pool(&member("only", 41, "connections_max = 1"));
    let settings = settings.replace("messages_per_connection_max = 1\n", "");
    let server = server(directory.path(), port, &settings);
    for n in 0..60 {
        assert!(submit(&server, &["a@one.test"], &format!("s{n}")).starts_with("250"));
    }
    drop(held);
    patiently(|| slow.messages().len() > 1, || "nothing came".into());
    assert!(submit(&server, &["a@alone.test"], "x").starts_with("250"));
    let why = || format!("{:?}", reasons(&server));
    patiently(|| other.messages().len() == 1, why);
    assert!(slow.messages().len() < 60);
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let members = member("one", 41, "connections_max = 1");
    let server = server(directory.path(), port, &pool(&members));
    for n in 0..20 {
        assert!(submit(&server, &["a@one.test"], &format!("s{n}")).starts_with("250"));
    }
    until_sent(&server);
    assert_eq!(from(&receiver, 41), 20);
    assert_eq!(receiver.most_open(), 1);
}

/// Sites and addresses of ours that are left alone, and why.
fn left_alone(server: &TestServer) -> Vec<(String, Kind, String)> {
    let mut all = Vec::new();
    for core in 0..server.server().cores() {
        let call = ControlCall::Sites {
            wanted: None,
            restrained: true,
            after: None,
            limit: 100,
        };
        let answer = server
            .server()
            .call(CoreId(core), Call::Control(Box::new(call)));
        let Ok(Answer::Control(Ok(ControlAnswer::Sites(found, None)))) = answer else {
            panic!("no sites");
        };
        for site in found {
            let last = site.actions.last().unwrap();
            all.push((site.site, last.kind, last.cause.clone()));
        }
    }
    all
}

/// RFC 5737: nobody has it.
const GONE: &str = "[pool.p.member.gone]\naddresses = [\"192.0.2.25\"]\n";
const WHY: &str = "this machine does not have the address 192.0.2.25 to send from";

#[test]
fn an_address_that_is_not_there_rests_and_the_others_carry_on() {
    for (limit, others) in [("", true), ("connections_max = 2\n", false), ("", false)] {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
        let mut members = format!("{GONE}weight = 100\n{limit}");
        if others {
            members += &member("there", 42, "");
        }
        let server = server(directory.path(), port, &pool(&members));
        for n in 0..10 {
            assert!(submit(&server, &["a@one.test"], &format!("s{n}")).starts_with("250"));
        }
        let gone = ("pool>p>gone".to_owned(), Kind::NoAddress, WHY.to_owned());
        patiently(
            || left_alone(&server) == [gone.clone()],
            || format!("{:?}", left_alone(&server)),
        );
        if others {
            until_sent(&server);
            assert_eq!(from(&receiver, 42), 10);
        } else {
            // They wait, and none was tried.
            patiently(
                || reasons(&server).iter().all(|reason| reason == WHY),
                || format!("{:?}", reasons(&server)),
            );
            let waiting = queue(&server);
            assert_eq!(waiting.len(), 10);
            assert!(waiting.iter().all(|(_, row)| row.attempts == 0));
            assert_eq!(receiver.connections(), 0);
        }
    }
}

const TWO_A_DAY: &str = "[warm_up]\nfirst_per_day = 2\n";

#[test]
fn a_new_address_sends_what_it_may_and_the_others_the_rest() {
    early_in_the_hour();
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let members = [
        member("new", 41, "warm_up = true\nweight = 100"),
        member("old", 42, ""),
        TWO_A_DAY.to_owned(),
    ];
    // Two ways to the same receiver.
    let other = "[transport.other]\nkind = \"direct\"\npool = \"p\"\n[[route]]\nto_domains = [\"two.test\"]\ntransport = \"other\"\n[[route]]\n";
    let more = pool(&members.concat()).replacen("[[route]]\n", other, 1);
    let server = server(directory.path(), port, &more);
    for n in 0..10 {
        let to = ["a@one.test", "b@two.test"][n % 2];
        assert!(submit(&server, &[to], &format!("s{n}")).starts_with("250"));
    }
    until_sent(&server);
    assert_eq!((from(&receiver, 41), from(&receiver, 42)), (2, 8));
    patiently(
        || matches!(&warm_ups(&server)[..], [(_, state)] if state.counts.accepted == 2),
        || format!("{:?}", warm_ups(&server)),
    );
    let (key, state) = warm_ups(&server).remove(0);
    assert_eq!((state.cap, state.given), (2, 2));
    let expected = ("p", "new", "mx.shared.test");
    assert_eq!((&*key.pool, &*key.member, &*key.site), expected);
}

/// Not a test of its own: the server that is killed below.
#[test]
fn warm_up_child() {
    let Ok(directory) = std::env::var("RINGMAIL_WARM_UP_CHILD") else {
        return;
    };
    let directory = Path::new(&directory);
    let more = std::fs::read_to_string(directory.join("more")).unwrap();
    let (port, more) = more.split_once('\n').unwrap();
    let server = server(directory, port.parse().unwrap(), more);
    println!("\nready {}", server.address(Door::Submission));
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

#[test]
fn what_was_given_out_is_used_up_after_a_kill() {
    early_in_the_hour();
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let more = pool(&[member("new", 41, "warm_up = true"), TWO_A_DAY.to_owned()].concat());
    std::fs::write(directory.path().join("more"), format!("{port}\n{more}")).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pools::warm_up_child", "--nocapture"])
        .env("RINGMAIL_WARM_UP_CHILD", directory.path())
        .env("RINGMAIL_FAULTS", "queue.warmed_up=kill@1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines().map_while(Result::ok);
    let address: SocketAddr = lines
        .find_map(|line| line.strip_prefix("ready ").map(|a| a.parse().unwrap()))
        .unwrap();
    let stream = TcpStream::connect(address).unwrap();
    assert!(submit_on(stream, &["a@one.test"], "first").starts_with("250"));
    // It dies once the lot is on disk, and before anything is sent.
    assert!(!child.wait().unwrap().success());
    assert_eq!(from(&receiver, 41), 0);
    let server = server(directory.path(), port, &more);
    // The message that waited may have been given the other one already.
    assert!((1..=2).contains(&warm_ups(&server)[0].1.given));
    for n in 0..2 {
        assert!(submit(&server, &["a@one.test"], &format!("s{n}")).starts_with("250"));
    }
    let spent = "have sent to this receiver what they may today";
    patiently(
        || {
            let reasons = reasons(&server);
            reasons.len() == 2 && reasons.iter().all(|reason| reason.contains(spent))
        },
        || format!("{:?}", reasons(&server)),
    );
    assert_eq!(from(&receiver, 41), 1);
    let (_, state) = warm_ups(&server).remove(0);
    assert_eq!((state.cap, state.given), (2, 2));
}
