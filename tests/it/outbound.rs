//! Mail to other servers: by MX records, over connections that are used again, with what their answers come to.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmail::calls::{Answer, Call, ControlAnswer, ControlCall};
use ringmail::queue::Deed;
use ringmail::queue::rows::{RecipientRow, State, Stored};
use ringmail::settings::Door;
use shards::tls::{ClientKey, OldestTls, load_tls};

use crate::crash::{command, reply};
use crate::dns::{mx, serve_zone};
use crate::patience::{patiently, until};
use crate::receiver::Receiver;
use crate::server::TestServer;
use crate::smtp::{numbers, talk};
use crate::tls::certificate;

/// A port that nobody has; receivers take it on their addresses.
pub use crate::ports::port as free_port;

/// `one.test`, `two.test`: mx.shared.test; `gone.test`: none; `null.test`; `closed.test`: nobody listens; `own.test`: ourselves.
fn zone(name: &str, number: u8) -> Vec<Vec<u8>> {
    match (name, number) {
        ("one.test." | "two.test.", 15) => vec![mx(10, "mx.shared.test")],
        ("three.test.", 15) => vec![mx(10, "mx.closed.test"), mx(20, "mx.third.test")],
        ("closed.test.", 15) => vec![mx(10, "mx.closed.test")],
        ("own.test.", 15) => vec![mx(10, "mail.example.test")],
        ("null.test.", 15) => vec![vec![0, 0, 0]],
        ("mx.shared.test.", 1) => vec![vec![127, 0, 0, 11]],
        ("mx.third.test.", 1) => vec![vec![127, 0, 0, 12]],
        ("mx.closed.test.", 1) => vec![vec![127, 0, 0, 13]],
        ("mail.example.test.", 1) => vec![vec![127, 0, 0, 1]],
        ("alone.test.", 1) => vec![vec![127, 0, 0, 12]],
        _ => vec![],
    }
}

/// A certificate, as DER, and a server's side of TLS with it.
fn with_certificate(directory: &Path) -> (Vec<u8>, Arc<rustls::ServerConfig>) {
    let der = certificate(directory);
    let pair = (directory.join("cert.pem"), directory.join("key.pem"));
    let tls = load_tls(&[pair], OldestTls::V1_2).unwrap();
    (der, tls.anonymous)
}

pub fn server(directory: &Path, port: u16, more: &str) -> TestServer {
    server_with(directory, port, more, zone)
}

pub fn server_with(
    directory: &Path,
    port: u16,
    more: &str,
    zone: impl Fn(&str, u8) -> Vec<Vec<u8>> + Send + 'static,
) -> TestServer {
    let dns = serve_zone(zone);
    let extra = format!(
        "[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[outbound]\nrefuse_networks = []\nport = {port}\nreply_timeout_secs = \"60s\"\nfinal_reply_timeout_secs = \"60s\"\n{more}"
    );
    TestServer::on(directory, &extra)
}

/// Submits as anna; the reply to the end of the message.
pub fn submit(server: &TestServer, recipients: &[&str], subject: &str) -> String {
    submit_on(server.connect(Door::Submission), recipients, subject)
}

/// The same on a connection to the door for it.
pub fn submit_on(stream: TcpStream, recipients: &[&str], subject: &str) -> String {
    let mut talk = BufReader::new(stream);
    reply(&mut talk).unwrap();
    command(&mut talk, "EHLO client.example\r\n").unwrap();
    // RFC 4616: anna@example.test, anna-password.
    let plain = "AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n";
    let said = command(&mut talk, plain).unwrap();
    assert!(said.starts_with("235"), "{said}");
    command(&mut talk, "MAIL FROM:<anna@example.test>\r\n").unwrap();
    for recipient in recipients {
        let said = command(&mut talk, &format!("RCPT TO:<{recipient}>\r\n")).unwrap();
        assert!(said.starts_with("250"), "{said}");
    }
    command(&mut talk, "DATA\r\n").unwrap();
    let text = format!("From: anna@example.test\r\nSubject: {subject}\r\n\r\n.hello\r\n\r\n.\r\n")
        .replace("\r\n.hello", "\r\n..hello");
    talk.get_mut().write_all(text.as_bytes()).unwrap();
    reply(&mut talk).unwrap()
}

/// All messages in the queue of a shard.
pub fn messages(server: &TestServer, shard: u16) -> Vec<Stored> {
    let owner = server.server().owner_of_shard(shard);
    let call = ControlCall::Queue {
        shard,
        filter: Box::default(),
        after: None,
        most: ringmail::queue::Most::entries(1000),
    };
    let answer = server.server().call(owner, Call::Control(Box::new(call)));
    let Ok(Answer::Control(Ok(ControlAnswer::Queue(messages, _)))) = answer else {
        panic!("no queue");
    };
    messages.into_iter().map(|(message, _)| message).collect()
}

/// All recipients in the queue, with what became of them.
pub fn queue(server: &TestServer) -> Vec<(String, RecipientRow)> {
    let mut all = Vec::new();
    for shard in 0..server.server().shards() {
        for message in messages(server, shard) {
            for (index, recipient) in message.message.recipients.iter().enumerate() {
                let row = message.recipient(index as u32);
                all.push((recipient.address.clone(), row));
            }
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Waits until nothing is left in the queue.
#[track_caller]
pub fn until_sent(server: &TestServer) {
    patiently(
        || queue(server).is_empty(),
        || format!("{:?}", reasons(server)),
    );
}

/// Has those of them tried now that their sender asked to be sent later.
pub fn let_go(server: &TestServer) {
    change_all(server, &Deed::Schedule { at: 1 });
}

/// Has all others of them tried now.
pub fn kick_all(server: &TestServer) {
    change_all(server, &Deed::Kick {});
}

pub fn change_all(server: &TestServer, deed: &Deed) {
    for shard in 0..server.server().shards() {
        let owner = server.server().owner_of_shard(shard);
        let call = ControlCall::QueueChange {
            shard,
            filter: Box::default(),
            deed: Box::new(deed.clone()),
            after: None,
        };
        let answer = server.server().call(owner, Call::Control(Box::new(call)));
        assert!(matches!(answer, Ok(Answer::Control(Ok(_)))));
    }
}

/// Why recipients are where they are, in words.
pub fn reasons(server: &TestServer) -> Vec<String> {
    let mut all = Vec::new();
    for shard in 0..server.server().shards() {
        let owner = server.server().owner_of_shard(shard);
        let call = ControlCall::Queue {
            shard,
            filter: Box::default(),
            after: None,
            most: ringmail::queue::Most::entries(1000),
        };
        let answer = server.server().call(owner, Call::Control(Box::new(call)));
        let Ok(Answer::Control(Ok(ControlAnswer::Queue(messages, _)))) = answer else {
            panic!("no queue");
        };
        let words = messages.into_iter().flat_map(|(_, why)| why);
        all.extend(words.map(|(_, standing)| standing.why));
    }
    all
}

#[test]
fn mail_goes_where_mx_records_say_over_one_connection() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    // Says nothing before all of them are in the queue: what comes one by one goes over a connection each.
    let (held, begins) = hold();
    let says = move |_: &str| {
        begins();
        None
    };
    let shared = Receiver::start([127, 0, 0, 11], port, None, says);
    let third = Receiver::start([127, 0, 0, 12], port, None, |_| None);
    let server = server(
        directory.path(),
        port,
        "connections_at_first = 1\nconnections_per_site_max = 1\n",
    );
    for n in 0..20 {
        let said = submit(
            &server,
            &["a@one.test", "b@one.test", "c@Two.test"],
            &format!("s{n}"),
        );
        assert!(said.starts_with("250"), "{said}");
    }
    submit(
        &server,
        &["x@three.test", "y@[127.0.0.12]", "z@alone.test"],
        "third",
    );
    drop(held);
    until_sent(&server);
    // a and b in one transaction, c in another: another domain.
    assert_eq!(shared.messages().len(), 40);
    let rcpt = shared
        .commands()
        .iter()
        .filter(|c| c.starts_with("RCPT"))
        .count();
    assert_eq!(rcpt, 60);
    // Both domains are one site; the cores take turns at its one connection.
    assert!(shared.connections() <= 20, "{}", shared.connections());
    assert!(shared.messages()[0].contains("\r\n..hello\r\n"));
    // mx.closed.test does not answer, the next one does; a host without MX; a literal.
    assert_eq!(third.messages().len(), 3);
    let commands = third.commands();
    assert!(commands.iter().any(|c| c == "EHLO mail.example.test"));
    assert!(
        commands
            .iter()
            .any(|c| c.starts_with("MAIL FROM:<anna@example.test> SIZE="))
    );
    until(|| commands_end_with_quit(&shared) && commands_end_with_quit(&third));
}

/// Who calls the second waits until the first is dropped.
pub fn hold() -> (Sender<()>, impl Fn() + Send + Sync) {
    let (sender, receiver) = channel();
    let receiver = Mutex::new(receiver);
    (sender, move || {
        assert!(receiver.lock().unwrap().recv().is_err())
    })
}

fn commands_end_with_quit(receiver: &Receiver) -> bool {
    let heard = receiver.heard.lock().unwrap();
    heard
        .iter()
        .all(|h| h.commands.last().is_some_and(|c| c == "QUIT"))
}

#[test]
fn answers_decide_what_becomes_of_each_recipient() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |line| {
        let starts = |text: &str| line.starts_with(text);
        if starts("RCPT TO:<never@") {
            return Some("550 5.1.1 no such user".into());
        }
        if starts("RCPT TO:<later@") {
            return Some("450 4.2.0 come\r\n back".replace("\r\n back", " back"));
        }
        (starts("...") || starts(".") && line.contains("Subject: refused"))
            .then(|| "554 5.7.1 spam".into())
    });
    let server = server(directory.path(), port, "");
    let to = ["fine@one.test", "never@one.test", "later@one.test"];
    assert!(submit(&server, &to, "mixed").starts_with("250"));
    assert!(submit(&server, &["some@one.test", "body@one.test"], "refused").starts_with("250"));
    for gone in ["a@null.test", "b@own.test"] {
        assert!(submit(&server, &[gone], "nowhere").starts_with("250"));
    }
    // A report for each of the messages of which something failed.
    until(|| numbers(&server, "anna").0 == 4);
    let left = queue(&server);
    let waiting: Vec<_> = left
        .iter()
        .filter(|(_, r)| r.state == State::Waiting)
        .collect();
    assert_eq!(waiting.len(), 1, "{left:?}");
    let (who, row) = waiting[0];
    assert_eq!(who, "later@one.test");
    let attempt = &row.history[0];
    assert_eq!((attempt.code, attempt.enhanced), (450, Some((4, 2, 0))));
    assert_eq!(attempt.text, "come back");
    assert!(
        attempt.remote.starts_with("mx.shared.test [127.0.0.11]:"),
        "{}",
        attempt.remote
    );
    assert_eq!(receiver.messages().len(), 1);
}

#[test]
fn what_cannot_be_reached_waits_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(directory.path(), free_port(), "");
    for n in 0..10 {
        assert!(submit(&server, &["a@closed.test"], &format!("s{n}")).starts_with("250"));
    }
    until(|| queue(&server).iter().any(|(_, r)| r.attempts > 0));
    let left = queue(&server);
    assert_eq!(left.len(), 10);
    let tried = left.iter().find(|(_, r)| r.attempts > 0).unwrap();
    assert_eq!(tried.1.history[0].text, "connection refused");
    // The others wait in line for the site, and are not all tried in vain.
    std::thread::sleep(Duration::from_millis(500));
    let tried = queue(&server)
        .iter()
        .filter(|(_, r)| r.attempts > 0)
        .count();
    assert!((1..10).contains(&tried), "{tried}");
}

#[test]
fn a_kick_ends_the_pause_of_a_domain_that_dns_said_nothing_of() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let is_well = Arc::new(AtomicBool::new(false));
    let dns = is_well.clone();
    // Of the line; it does not end by itself while the test runs.
    let pause = "pause_first_secs = \"1h\"\n";
    let server = server_with(directory.path(), port, pause, move |name, number| {
        match (name, number, dns.load(Ordering::SeqCst)) {
            // No MX record: too short.
            ("one.test.", 15, false) => vec![vec![0]],
            _ => zone(name, number),
        }
    });
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    assert!(submit(&server, &["a@one.test"], "late").starts_with("250"));
    until(|| queue(&server).iter().any(|(_, r)| r.attempts > 0));
    is_well.store(true, Ordering::SeqCst);
    // A failure of DNS is remembered for 5 s.
    std::thread::sleep(Duration::from_secs(6));
    kick_all(&server);
    until(|| receiver.messages().len() == 1);
}

#[test]
fn a_host_that_takes_no_mail_at_all_ends_nothing_that_another_may_take_later() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let no_mail = |line: &str| line.is_empty().then(|| "521 no mail here".to_owned());
    let _receiver = Receiver::start([127, 0, 0, 12], port, None, no_mail);
    let server = server(directory.path(), port, "");
    // The first of its hosts is not there now.
    assert!(submit(&server, &["a@three.test"], "waits").starts_with("250"));
    assert!(submit(&server, &["a@alone.test"], "ends").starts_with("250"));
    until(|| matches!(&queue(&server)[..], [(_, row)] if row.attempts > 0));
    let (address, row) = queue(&server).remove(0);
    assert_eq!(address, "a@three.test");
    assert_eq!(row.history[0].text, "connection refused");
}

/// A transport `relay` that all mail takes.
fn relay(more: &str) -> String {
    format!(
        "ehlo_name = \"first.test\"\n[transport.relay]\nkind = \"smarthost\"\nhost = \"mail.example.test\"\n{more}[[route]]\ntransport = \"relay\"\n"
    )
}

#[test]
fn a_smarthost_is_logged_in_to_with_a_key_or_a_password() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path());
    // RFC 8410 7: a private key as openssl genpkey writes it; the one of 10.3.
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    std::fs::write(directory.path().join("client.key"), key).unwrap();
    std::fs::write(directory.path().join("password"), "secret\n").unwrap();
    let pair = (
        directory.path().join("cert.pem"),
        directory.path().join("key.pem"),
    );
    let tls = load_tls(&[pair], OldestTls::V1_2).unwrap().asking;
    for (offered, more, expected) in [
        // Known by the key alone, without AUTH.
        ("PIPELINING", "client_key = \"client.key\"\n", None),
        (
            "AUTH EXTERNAL PLAIN",
            "client_key = \"client.key\"\nuser = \"anna\"\n",
            Some("AUTH EXTERNAL YW5uYQ=="),
        ),
        (
            "AUTH PLAIN LOGIN",
            "password_file = \"password\"\nuser = \"anna\"\n",
            Some("AUTH PLAIN AGFubmEAc2VjcmV0"),
        ),
    ] {
        let port = free_port();
        let smarthost =
            Receiver::start(
                [127, 0, 0, 1],
                port,
                Some(tls.clone()),
                move |line| match line.split(' ').next() {
                    Some("EHLO") => {
                        Some(format!("250-smart.test\r\n250-STARTTLS\r\n250 {offered}"))
                    }
                    Some("AUTH") => Some("235 2.7.0 welcome".into()),
                    _ => None,
                },
            );
        let data = tempfile::tempdir_in(directory.path()).unwrap();
        for name in ["cert.pem", "client.key", "password"] {
            std::fs::copy(directory.path().join(name), data.path().join(name)).unwrap();
        }
        let more = relay(&format!("port = {port}\nca_file = \"cert.pem\"\n{more}"));
        let server = server(data.path(), 1, &more);
        assert!(
            submit(&server, &["a@one.test", "b@two.test", "c@[192.0.2.1]"], "x").starts_with("250")
        );
        until_sent(&server);
        // One line, one transaction, whatever the domains.
        assert_eq!(smarthost.messages().len(), 1);
        let heard = smarthost.heard.lock().unwrap()[0].clone();
        assert!(heard.tls);
        let key = heard
            .certificate
            .map(|der| ClientKey::of(&der).unwrap().kind);
        assert_eq!(
            key.as_deref(),
            more.contains("client_key").then_some("ed25519")
        );
        let login = heard.commands.iter().find(|c| c.starts_with("AUTH"));
        assert_eq!(login.map(String::as_str), expected);
    }
}

#[test]
fn a_smarthost_that_is_not_the_right_one_gets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_der, tls) = with_certificate(directory.path());
    let port = free_port();
    let smarthost = Receiver::start([127, 0, 0, 1], port, Some(tls), |_| None);
    std::fs::write(directory.path().join("password"), "secret\n").unwrap();
    let more = format!("port = {port}\nuser = \"anna\"\npassword_file = \"password\"\n");
    let server = server(directory.path(), 1, &relay(&more));
    assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
    until(|| queue(&server)[0].1.attempts == 1);
    let text = queue(&server)[0].1.history[0].text.clone();
    assert!(
        text.contains("not trusted") && text.contains("fingerprint = \""),
        "{text}"
    );
    let commands = smarthost.commands();
    assert!(
        !commands
            .iter()
            .any(|c| c.starts_with("AUTH") || c.starts_with("MAIL")),
        "{commands:?}"
    );
}

/// A server that sends by another one of ours, which has this name, one message on each connection.
pub fn by_our_own(first: &Path, second: &Path, hostname: &str) -> (TestServer, TestServer) {
    certificate(second);
    let smarthost = TestServer::with_tls_as(second, hostname);
    let port = smarthost.address(Door::Submissions).port();
    std::fs::write(first.join("password"), "anna-password\n").unwrap();
    std::fs::copy(second.join("cert.pem"), first.join("cert.pem")).unwrap();
    let more = relay(&format!(
        "port = {port}\ntls = \"implicit\"\nca_file = \"cert.pem\"\nuser = \"anna@example.test\"\npassword_file = \"password\"\nmechanisms = [\"SCRAM-SHA-256-PLUS\"]\n"
    ));
    let more = format!("messages_per_connection_max = 1\n{more}");
    (server(first, 1, &more), smarthost)
}

#[test]
fn a_smarthost_of_our_own_takes_scram() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _smarthost) = by_our_own(first.path(), second.path(), "smart.example.test");
    assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
    until_sent(&server);
    // Taken, not given up: that would be told before the entry goes.
    assert_eq!(numbers(&server, "anna").0, 0);
}

/// Thousands of rounds of a hash; RFC 5802 5.1 lets a client keep what comes of them.
#[test]
fn the_keys_of_a_login_at_a_smarthost_are_derived_once_for_each_reload() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _smarthost) = by_our_own(first.path(), second.path(), "smart.example.test");
    let count = |name: &str| -> u64 {
        let metrics = crate::logins::metrics(&server);
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.map_or(0, |value| value.trim().parse().unwrap())
    };
    let mut before = 0;
    for round in 1..=2 {
        for _ in 0..4 {
            assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
            until_sent(&server);
        }
        let connections = count("ringmail_outbound_connections_total{kind=\"ok\"}");
        assert_eq!(connections, 4 * round);
        // By each of the two cores, if both had something to send.
        let derived = count("ringmail_outbound_login_keys_derived_total");
        assert!((1..=2).contains(&(derived - before)), "{before} {derived}");
        before = derived;
        server.server().reload_certificates().unwrap();
    }
    assert_eq!(numbers(&server, "anna").0, 0);
}

#[test]
fn what_dane_demands_is_held_to() {
    let directory = tempfile::tempdir().unwrap();
    let (der, tls) = with_certificate(directory.path());
    let port = free_port();
    let with_tls = Receiver::start([127, 0, 0, 14], port, Some(tls.clone()), |_| None);
    let other = Receiver::start([127, 0, 0, 15], port, Some(tls), |_| None);
    let without = Receiver::start([127, 0, 0, 16], port, None, |_| None);
    // RFC 6698 2.1: DANE-EE, the whole certificate, SHA-256.
    let digest = ring::digest::digest(&ring::digest::SHA256, &der);
    let right = [&[3, 0, 1], digest.as_ref()].concat();
    let zone = move |name: &str, number: u8| {
        let host = ["right", "wrong", "plain"]
            .into_iter()
            .find(|h| name.contains(*h));
        match (host, number) {
            (Some(host), 15) if !name.contains("mx") => vec![mx(10, &format!("mx.{host}.test"))],
            (Some("right"), 1) => vec![vec![127, 0, 0, 14]],
            (Some("wrong"), 1) => vec![vec![127, 0, 0, 15]],
            (Some("plain"), 1) => vec![vec![127, 0, 0, 16]],
            (Some("right" | "plain"), 52) => vec![right.clone()],
            (Some("wrong"), 52) => vec![[&[3, 0, 1][..], &[7; 32]].concat()],
            _ => vec![],
        }
    };
    let server = server_with(directory.path(), port, "", zone);
    for to in ["a@right.test", "a@wrong.test", "a@plain.test"] {
        assert!(submit(&server, &[to], "x").starts_with("250"));
    }
    until(|| queue(&server).len() == 2 && queue(&server).iter().all(|(_, r)| r.attempts == 1));
    assert_eq!(with_tls.messages().len(), 1);
    assert!(with_tls.heard.lock().unwrap()[0].tls);
    assert_eq!((other.messages().len(), without.messages().len()), (0, 0));
    let left = queue(&server);
    let said = |n: usize| left[n].1.history[0].text.clone();
    assert!(said(0).contains("STARTTLS"), "{}", said(0));
    assert_eq!(left[1].1.history[0].enhanced, Some((4, 7, 5)));
    // Others may use the same hosts: the domain waits, not the site.
    assert!(!without.commands().iter().any(|c| c.starts_with("MAIL")));
}

/// RFC 8689 4.2.1.
#[test]
fn who_demands_tls_in_vain_hears_so_and_holds_up_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 16], port, None, |_| None);
    let server = server_with(directory.path(), port, "", |name, number| {
        match (name, number) {
            ("plain.test.", 15) => vec![mx(10, "plain.test")],
            ("plain.test.", 1) => vec![vec![127, 0, 0, 16]],
            _ => vec![],
        }
    });
    let strict = ["<strict@plain.test>"];
    send(
        &server,
        Door::Submission,
        "<anna@example.test> HOLDFOR=3600",
        &strict,
    );
    change_all(
        &server,
        &Deed::RequireTls {
            require: Some(true),
        },
    );
    let_go(&server);
    // Only its report is left, if that is not delivered yet.
    until(|| {
        !queue(&server)
            .iter()
            .any(|(to, _)| to == "strict@plain.test")
    });
    for number in 0..8 {
        let to = format!("<r{number}@plain.test>");
        send(&server, Door::Submission, "<anna@example.test>", &[&to]);
    }
    until(|| receiver.messages().len() == 8);
    until_sent(&server);
    assert!(!receiver.commands().iter().any(|c| c.contains("strict")));
}

/// RFC 8689 4.2.1: each host is asked, whatever connections there are.
#[test]
fn who_demands_tls_all_the_way_is_sent_by_the_host_that_promises_it() {
    let directory = tempfile::tempdir().unwrap();
    let (der, tls) = with_certificate(directory.path());
    let port = free_port();
    let first = Receiver::start([127, 0, 0, 14], port, Some(tls.clone()), |_| None);
    let offers = "250-receiver.test\r\n250-STARTTLS\r\n250 REQUIRETLS";
    let second = Receiver::start([127, 0, 0, 15], port, Some(tls), |command| {
        command.starts_with("EHLO").then(|| offers.to_owned())
    });
    let digest = ring::digest::digest(&ring::digest::SHA256, &der);
    let tlsa = [&[3, 0, 1], digest.as_ref()].concat();
    let zone = move |name: &str, number: u8| match (name, number) {
        ("right.test.", 15) => vec![mx(10, "mx1.right.test"), mx(20, "mx2.right.test")],
        ("mx1.right.test.", 1) => vec![vec![127, 0, 0, 14]],
        ("mx2.right.test.", 1) => vec![vec![127, 0, 0, 15]],
        (_, 52) => vec![tlsa.clone()],
        _ => vec![],
    };
    let server = server_with(directory.path(), port, "", zone);
    let strict = "<anna@example.test> HOLDFOR=3600";
    for n in 0..4 {
        let to = format!("<strict{n}@right.test>");
        send(&server, Door::Submission, strict, &[&to]);
    }
    let must = Deed::RequireTls {
        require: Some(true),
    };
    change_all(&server, &must);
    // There are connections now.
    for n in 0..4 {
        let to = format!("<any{n}@right.test>");
        send(&server, Door::Submission, "<anna@example.test>", &[&to]);
    }
    until(|| first.messages().len() == 4);
    let_go(&server);
    until(|| second.messages().len() == 4);
    until_sent(&server);
    assert_eq!(first.messages().len(), 4);
    let mut mails = second.commands().into_iter();
    assert!(mails.any(|c| c.starts_with("MAIL") && c.ends_with(" REQUIRETLS")));
    assert_eq!(numbers(&server, "anna").0, 0);
}

/// RFC 1870: what the host of a lower preference takes, and what the one that is down may take later.
#[test]
fn what_one_host_cannot_take_another_may() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let small = |command: &str| {
        let offers = "250-receiver.test\r\n250 SIZE 100";
        command.starts_with("EHLO").then(|| offers.to_owned())
    };
    let first = Receiver::start([127, 0, 0, 14], port, None, small);
    let second = Receiver::start([127, 0, 0, 15], port, None, |_| None);
    let server = server_with(directory.path(), port, "", |name, number| {
        match (name, number) {
            ("mixed.test.", 15) => vec![mx(10, "mx1.test"), mx(20, "mx2.test")],
            ("small.test.", 15) => vec![mx(10, "mx1.test")],
            ("down.test.", 15) => vec![mx(10, "mx3.test"), mx(20, "mx1.test")],
            ("mx1.test.", 1) => vec![vec![127, 0, 0, 14]],
            ("mx2.test.", 1) => vec![vec![127, 0, 0, 15]],
            ("mx3.test.", 1) => vec![vec![127, 0, 0, 16]],
            _ => vec![],
        }
    });
    submit(&server, &["a@mixed.test"], "more than a hundred octets");
    until_sent(&server);
    assert_eq!((first.messages().len(), second.messages().len()), (0, 1));
    assert_eq!(numbers(&server, "anna").0, 0);
    submit(&server, &["a@small.test"], "more than a hundred octets");
    until_sent(&server);
    assert_eq!(numbers(&server, "anna").0, 1);
    submit(&server, &["a@down.test"], "more than a hundred octets");
    until(|| queue(&server).iter().all(|(_, row)| row.attempts == 1));
    let left = queue(&server);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].1.history[0].code, 0);
    assert!(first.messages().is_empty());
    let _third = Receiver::start([127, 0, 0, 16], port, None, |_| None);
    kick_all(&server);
    until_sent(&server);
    assert_eq!(numbers(&server, "anna").0, 1);
}

/// RFC 5321 5.1.
#[test]
fn mx_records_of_hosts_without_an_address_are_an_error_and_one_that_is_silent_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |_| None);
    let server = server_with(directory.path(), port, "", |name, number| {
        match (name, number) {
            ("dead.test.", 15) => vec![mx(10, "gone.test")],
            ("half.test.", 15) => vec![mx(10, "gone.test"), mx(20, "mx.test")],
            ("down.test.", 15) => vec![mx(10, "gone.test"), mx(20, "closed.test")],
            ("mx.test.", 1) => vec![vec![127, 0, 0, 14]],
            ("closed.test.", 1) => vec![vec![127, 0, 0, 13]],
            _ => vec![],
        }
    });
    for to in ["a@half.test", "a@dead.test", "a@down.test"] {
        submit(&server, &[to], "x");
    }
    until(|| receiver.messages().len() == 1 && numbers(&server, "anna").0 == 1);
    until(|| queue(&server).len() == 1 && queue(&server)[0].1.attempts == 1);
    assert_eq!(queue(&server)[0].0, "a@down.test");
}

/// Who has his domain's mail go to this machine would have it taken from here by whatever trusts this machine.
#[test]
fn nothing_goes_to_this_machine_because_a_strangers_domain_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |_| None);
    // One beside loopback, if this machine has any: nothing is sent there, it is what it would speak from.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = match socket.connect("192.0.2.1:9").map(|()| socket.local_addr()) {
        Ok(Ok(SocketAddr::V4(own))) => own.ip().octets().to_vec(),
        _ => vec![127, 0, 0, 14],
    };
    let dns = serve_zone(move |name, number| match (name, number) {
        ("inside.test.", 15) => vec![mx(10, "mx.inside.test")],
        ("mx.inside.test.", 1) => vec![vec![127, 0, 0, 14]],
        ("own.test.", 1) => vec![own.clone()],
        _ => vec![],
    });
    let extra = format!("[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[outbound]\nport = {port}\n");
    let server = TestServer::on(directory.path(), &extra);
    submit(&server, &["a@inside.test"], "x");
    submit(&server, &["a@[127.0.0.14]"], "y");
    submit(&server, &["a@own.test"], "z");
    until(|| numbers(&server, "anna").0 == 3);
    until_sent(&server);
    assert_eq!(receiver.connections(), 0);
}

/// RFC 3207 4: 454, TLS is not to be had now.
#[test]
fn a_server_that_insists_on_tls_and_has_none_now_gets_its_mail_later() {
    let directory = tempfile::tempdir().unwrap();
    let (_der, tls) = with_certificate(directory.path());
    let port = free_port();
    let fails = Arc::new(AtomicBool::new(true));
    let is_failing = fails.clone();
    let receiver = Receiver::start([127, 0, 0, 14], port, Some(tls), move |command| {
        let is_failing = is_failing.load(Ordering::SeqCst);
        let refused = match command {
            _ if !is_failing => return None,
            "STARTTLS" => "454 4.7.0 TLS not available due to temporary reason",
            command
                if ["MAIL", "RCPT", "DATA"]
                    .iter()
                    .any(|v| command.starts_with(v)) =>
            {
                "530 5.7.0 Must issue a STARTTLS command first"
            }
            _ => return None,
        };
        Some(refused.to_owned())
    });
    let server = server_with(directory.path(), port, "", |name, number| {
        match (name, number) {
            ("strict.test.", 1) => vec![vec![127, 0, 0, 14]],
            _ => vec![],
        }
    });
    submit(&server, &["a@strict.test"], "x");
    until(|| queue(&server).iter().all(|(_, row)| row.attempts == 1));
    let left = queue(&server);
    assert_eq!(
        (left.len(), left[0].1.history[0].code),
        (1, 530),
        "{left:?}"
    );
    fails.store(false, Ordering::SeqCst);
    kick_all(&server);
    until_sent(&server);
    assert_eq!(receiver.messages().len(), 1);
    assert_eq!(numbers(&server, "anna").0, 0);
}

/// A transaction with parameters, by port 25 or as anna.
pub fn send(server: &TestServer, door: Door, mail: &str, recipients: &[&str]) {
    let mut talk = BufReader::new(server.connect(door));
    reply(&mut talk).unwrap();
    command(&mut talk, "EHLO client.example\r\n").unwrap();
    if door == Door::Submission {
        let plain = "AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n";
        command(&mut talk, plain).unwrap();
    }
    let said = command(&mut talk, &format!("MAIL FROM:{mail}\r\n")).unwrap();
    assert!(said.starts_with("250"), "{said}");
    for recipient in recipients {
        let said = command(&mut talk, &format!("RCPT TO:{recipient}\r\n")).unwrap();
        assert!(said.starts_with("250"), "{said}");
    }
    command(&mut talk, "DATA\r\n").unwrap();
    let text = b"From: anna@example.test\r\nSubject: x\r\n\r\nhello\r\n.\r\n";
    talk.get_mut().write_all(text).unwrap();
    assert!(reply(&mut talk).unwrap().starts_with("250"));
}

fn offers_dsn(command: &str) -> Option<String> {
    let offers = "250-receiver.test\r\n250-PIPELINING\r\n250 DSN";
    command.starts_with("EHLO").then(|| offers.to_owned())
}

/// RFC 3461 5.2.1 to 5.2.3.
#[test]
fn what_senders_want_to_hear_goes_on_to_who_reports_it() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let reports = Receiver::start([127, 0, 0, 11], port, None, offers_dsn);
    let silent = Receiver::start([127, 0, 0, 12], port, None, |_| None);
    let server = server(directory.path(), port, "");
    let recipients = [
        "<a@one.test> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;Old+2Bname@one.test",
        "<b@one.test> NOTIFY=NEVER",
        "<z@alone.test> NOTIFY=SUCCESS",
        "<bert@example.test>",
    ];
    let mail = "<anna@example.test> RET=HDRS ENVID=QQ+2B1";
    send(&server, Door::Submission, mail, &recipients);
    until_sent(&server);
    let said = reports.commands();
    for command in [
        "RCPT TO:<a@one.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Old+2Bname@one.test",
        "RCPT TO:<b@one.test> NOTIFY=NEVER",
    ] {
        assert!(said.iter().any(|c| c == command), "{command}: {said:?}");
    }
    let mail = said.iter().find(|c| c.starts_with("MAIL")).unwrap();
    assert!(mail.ends_with(" RET=HDRS ENVID=QQ+2B1"), "{mail}");
    let said = silent.commands();
    assert!(
        said.iter().any(|c| c == "RCPT TO:<z@alone.test>"),
        "{said:?}"
    );
    assert!(
        !said
            .iter()
            .any(|c| c.contains("ENVID") || c.contains("RET="))
    );
    // He is here, so his copy goes past the queue.
    until(|| numbers(&server, "bert").0 == 1);
    // One report: of the one who will not be reported by another server.
    assert_eq!(numbers(&server, "anna").0, 1);
    let mut imap = server.connect(Door::Imap);
    talk(
        &mut imap,
        b"a LOGIN anna@example.test anna-password\r\n",
        "a OK",
    );
    talk(&mut imap, b"b SELECT INBOX\r\n", "b OK");
    let report = talk(&mut imap, b"c FETCH 1 BODY.PEEK[]\r\n", "c OK");
    for line in [
        "Original-Envelope-Id: QQ+1",
        "Final-Recipient: rfc822; z@alone.test",
        "Action: relayed",
        "Remote-MTA: dns; alone.test (127.0.0.12)",
    ] {
        assert!(report.lines().any(|l| l == line), "{line}: {report}");
    }
}

/// RFC 3461 6: from the null path, and not to be reported itself.
#[test]
fn a_report_goes_to_a_sender_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let sender = Receiver::start([127, 0, 0, 11], port, None, offers_dsn);
    let server = server(directory.path(), port, "");
    let recipient = ["<bert@example.test> NOTIFY=SUCCESS ORCPT=rfc822;b@old.test"];
    send(&server, Door::Smtp, "<x@one.test> ENVID=1", &recipient);
    until(|| sender.messages().len() == 1 && queue(&server).is_empty());
    let said = sender.commands();
    assert!(
        said.iter().any(|c| c.starts_with("MAIL FROM:<>")),
        "{said:?}"
    );
    assert!(
        said.iter()
            .any(|c| c == "RCPT TO:<x@one.test> NOTIFY=NEVER")
    );
    let report = &sender.messages()[0];
    for line in [
        "To: <x@one.test>",
        "Original-Envelope-Id: 1",
        "Original-Recipient: rfc822; b@old.test",
        "Action: delivered",
    ] {
        assert!(report.lines().any(|l| l == line), "{line}: {report}");
    }
    assert_eq!(numbers(&server, "bert").0, 1);
    // To nobody's address here, and to who is nobody, none.
    send(&server, Door::Smtp, "<nobody@example.test>", &recipient);
    send(&server, Door::Smtp, "<>", &recipient);
    until(|| numbers(&server, "bert").0 == 3 && queue(&server).is_empty());
    assert_eq!(sender.messages().len(), 1);
}

#[test]
fn what_a_smarthost_says_of_our_login_is_for_the_operator() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("password"), "secret-word\n").unwrap();
    let port = free_port();
    // Says back what it was sent; then wants a login after all.
    let replies = std::sync::atomic::AtomicUsize::new(0);
    let _smarthost = Receiver::start([127, 0, 0, 1], port, None, move |line| {
        let count = || replies.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match line.split(' ').next() {
            Some("EHLO") => Some("250-smart.test\r\n250 AUTH PLAIN".into()),
            Some("AUTH") if count() == 0 => Some(format!("535 5.7.8 {line}, secret-word")),
            Some("AUTH") => Some("235 2.7.0 welcome".into()),
            Some("MAIL") => Some("530 5.7.0 log in first".into()),
            _ => None,
        }
    });
    let more =
        format!("port = {port}\ntls = \"none\"\nuser = \"anna\"\npassword_file = \"password\"\n");
    let more = relay(&more).replace("mail.example.test", "localhost");
    let more = format!("pause_first_secs = \"1s\"\n{more}");
    let server = server(directory.path(), 1, &more);
    for _ in 0..2 {
        assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
    }
    until(|| queue(&server).iter().all(|(_, r)| r.attempts == 1));
    let mut said: Vec<String> = queue(&server)
        .iter()
        .map(|(_, r)| r.history[0].text.clone())
        .collect();
    said.sort();
    assert_eq!(
        said[0],
        "refuses the login by PLAIN: 535 5.7.8 AUTH PLAIN ...=, ..."
    );
    assert!(
        said[1].contains("without a login: 530 5.7.0"),
        "{}",
        said[1]
    );
    assert!(
        queue(&server)
            .iter()
            .all(|(_, r)| r.state == State::Waiting)
    );
}

#[test]
fn after_a_reload_the_old_smarthost_gets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for (name, word) in [("one", "first-word"), ("two", "second-word")] {
        std::fs::write(directory.path().join(name), format!("{word}\n")).unwrap();
    }
    let offers = |line: &str| match line.split(' ').next() {
        Some("EHLO") => Some("250-smart.test\r\n250 AUTH PLAIN".to_owned()),
        Some("AUTH") => Some("235 2.7.0 welcome".to_owned()),
        _ => None,
    };
    let (first, second) = (free_port(), free_port());
    let old = Receiver::start([127, 0, 0, 1], first, None, offers);
    let new = Receiver::start([127, 0, 0, 1], second, None, offers);
    let more = format!("port = {first}\ntls = \"none\"\nuser = \"one\"\npassword_file = \"one\"\n");
    let more = relay(&more).replace("mail.example.test", "localhost");
    let server = server(directory.path(), 1, &more);
    assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
    until(|| old.messages().len() == 1);
    // The connection is open still, and where the line leads is known.
    let mut settings = server.server().live().settings.clone();
    let transport = settings.server.transport.get_mut("relay").unwrap();
    transport.port = Some(second);
    transport.user = Some("two".into());
    transport.password_file = Some(directory.path().join("two"));
    server.server().reload(settings).unwrap();
    assert!(submit(&server, &["b@one.test"], "y").starts_with("250"));
    until(|| new.messages().len() == 1);
    assert_eq!(old.messages().len(), 1);
    // RFC 4616: two, second-word.
    let said = new.commands();
    assert!(
        said.iter()
            .any(|c| c == "AUTH PLAIN AHR3bwBzZWNvbmQtd29yZA=="),
        "{said:?}"
    );
}

/// RFC 5321 3.8: 421 instead of a greeting, while two others are served.
#[test]
fn a_connection_too_many_puts_no_message_off() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    // Open connections, and refused ones that have not ended yet.
    let counts = Mutex::new((0u32, 0u32));
    let (held, has_refused) = hold();
    let held = Mutex::new(Some(held));
    let receiver = Receiver::start([127, 0, 0, 11], port, None, move |line| {
        let mut counts = counts.lock().unwrap();
        match line.split([' ', '\r', '\n']).next() {
            Some("") if counts.0 == 2 => {
                counts.1 += 1;
                *held.lock().unwrap() = None;
                Some("421 4.7.0 too many connections".into())
            }
            Some("") => {
                counts.0 += 1;
                None
            }
            Some("QUIT") if counts.1 > 0 => {
                counts.1 -= 1;
                None
            }
            Some("QUIT") => {
                counts.0 -= 1;
                None
            }
            // Until another was tried meanwhile, and refused.
            Some("MAIL") => {
                drop(counts);
                has_refused();
                None
            }
            _ => None,
        }
    });
    let server = server(directory.path(), port, "");
    for n in 0..12 {
        assert!(submit(&server, &["a@one.test"], &format!("s{n}")).starts_with("250"));
    }
    until_sent(&server);
    assert_eq!(receiver.messages().len(), 12);
}

/// RFC 5321 3.8: 421 to the second message of a connection, and to the next connection too, for it counts the one before still.
#[test]
fn a_connection_that_is_ended_and_not_replaced_at_once_puts_no_message_off() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let counts = std::sync::Mutex::new((0, 0));
    let receiver = Receiver::start([127, 0, 0, 11], port, None, move |line| {
        let mut counts = counts.lock().unwrap();
        match line.split([' ', '\r', '\n']).next() {
            Some("") => {
                counts.0 += 1;
                (counts.0 == 2).then(|| "421 4.7.0 too many connections".into())
            }
            Some("MAIL") => {
                counts.1 += 1;
                (counts.1 == 2).then(|| "421 4.7.0 too many messages in this connection".into())
            }
            _ => None,
        }
    });
    // Two transactions, one right after the other.
    let more = "pause_first_secs = \"1s\"\nconnections_per_site_max = 1\nconnections_at_first = 1\nrecipients_per_transaction_max = 1\n";
    let server = server(directory.path(), port, more);
    assert!(submit(&server, &["a@one.test", "b@one.test"], "x").starts_with("250"));
    let is_sent = || {
        let left = queue(&server);
        let is_fine = |row: &RecipientRow| row.attempts == 0 || row.state != State::Waiting;
        assert!(left.iter().all(|(_, row)| is_fine(row)), "{left:?}");
        left.is_empty()
    };
    patiently(is_sent, || format!("{:?}", reasons(&server)));
    assert_eq!((receiver.messages().len(), receiver.connections()), (2, 3));
}

/// RFC 9422.
#[test]
fn the_limits_that_a_server_names_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let smarthost = Receiver::start([127, 0, 0, 1], port, None, |line| {
        let offers =
            "250-smart.test\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=2 RCPTMAX=3 RCPTDOMAINMAX=2";
        line.starts_with("EHLO").then(|| offers.to_owned())
    });
    let more = relay(&format!(
        "port = {port}\ntls = \"none\"\nconnections_max = 1\n"
    ));
    let more = more.replace("mail.example.test", "localhost");
    let server = server(directory.path(), 1, &more);
    let to = [
        "a@one.test",
        "b@one.test",
        "c@two.test",
        "d@two.test",
        "e@three.test",
        "f@four.test",
    ];
    assert!(submit(&server, &to, "x").starts_with("250"));
    until_sent(&server);
    let heard = smarthost.heard.lock().unwrap();
    let mut recipients = 0;
    for connection in heard.iter() {
        let of_each = connection.commands.split(|c| c.starts_with("MAIL")).skip(1);
        assert!(of_each.clone().count() <= 2);
        for transaction in of_each {
            let to = transaction
                .iter()
                .filter_map(|c| c.strip_prefix("RCPT TO:<"));
            let domains: std::collections::HashSet<&str> = to
                .clone()
                .filter_map(|a| a.split_once('@'))
                .map(|(_, d)| d)
                .collect();
            assert!(to.clone().count() <= 3 && domains.len() <= 2);
            recipients += to.count();
        }
    }
    assert_eq!(recipients, 6);
}
