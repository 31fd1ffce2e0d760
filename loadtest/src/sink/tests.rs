//! The sink over plain sockets: each rule does what it says, and the counts tell it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::*;
use crate::deliveries::{Came, Deliveries, Sent};
use crate::engine::Engine;
use crate::messages::Messages;
use crate::smtp_traffic::{Plan, Sender, SmtpTraffic};
use crate::target::Security;
use crate::tls;

/// Each test has its own addresses.
fn sink(network: u8, rules: &str) -> (Sink, SocketAddr) {
    let address = Ipv4Addr::new(127, 0, 2, network);
    let mut script = Script::default();
    script.add(rules).unwrap();
    let sink = Sink::start(&[address], 0, &script, 1).unwrap();
    let port = sink.port();
    (sink, SocketAddr::from((address, port)))
}

struct Peer {
    reader: BufReader<TcpStream>,
}

impl Peer {
    fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    /// After banner and EHLO.
    fn greeted(to: SocketAddr) -> Self {
        let mut peer = Self::connect(to);
        assert!(peer.line().starts_with("220 "));
        assert!(peer.say("EHLO me.example\r\n").starts_with("250-"));
        while peer.line().starts_with("250-") {}
        peer
    }

    fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).unwrap();
        String::from_utf8_lossy(&line).into_owned()
    }

    fn say(&mut self, text: &str) -> String {
        self.send(text);
        self.line()
    }

    /// Sends message `number` in one go, and reads the four replies' codes.
    fn message(&mut self, messages: &Messages, number: u64) -> Vec<String> {
        let content = messages.header(number) + std::str::from_utf8(messages.body()).unwrap();
        self.send(&format!("{ENVELOPE}DATA\r\n"));
        let mut codes: Vec<String> = (0..3).map(|_| self.line()[..3].to_owned()).collect();
        if codes[2] == "354" {
            codes.push(self.say(&format!("{content}.\r\n"))[..3].to_owned());
        }
        codes
    }

    /// Whether the sink has ended the connection.
    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Whether nothing comes. It can fail to notice, never to be right.
    fn is_silent(&mut self) -> bool {
        let stream = self.reader.get_ref();
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let read = self.reader.read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

fn messages() -> Messages {
    Messages::new(2000, "run")
}

#[test]
fn messages_are_accepted_and_counted_by_number() {
    let (sink, to) = sink(1, "");
    let mut peer = Peer::greeted(to);
    for number in [4, 5, 7, 5] {
        assert_eq!(
            peer.message(&messages(), number),
            ["250", "250", "354", "250"]
        );
    }
    let mut second = Peer::greeted(to);
    assert!(second.say("QUIT\r\n").starts_with("221 ") && second.is_closed());
    assert_eq!(sink.messages("run"), 4);
    let json = sink.json();
    let of = &json["destinations"][0];
    assert_eq!((&of["messages"], &of["octets"]), (&json!(4), &json!(8000)));
    assert_eq!((&of["damaged"], &of["mistakes"]), (&json!(0), &json!(0)));
    assert_eq!(
        (&of["connections"], &of["connections_open_most"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(of["messages_per_connection_most"], 4);
    let run = &json["runs"]["run"];
    assert_eq!(
        (&run["messages"], &run["doubled"], &run["missing"]),
        (&json!(3), &json!(1), &json!(1))
    );
}

#[test]
fn chunks_and_parameters_are_taken() {
    let (sink, to) = sink(2, "");
    let mut peer = Peer::greeted(to);
    let content = messages().header(1) + std::str::from_utf8(messages().body()).unwrap();
    let (first, second) = content.split_at(700);
    peer.send(
        "MAIL FROM:<> SIZE=2000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x\r\nRCPT TO:<a@b> NOTIFY=NEVER\r\n",
    );
    peer.send(&format!(
        "BDAT 700\r\n{first}BDAT {} LAST\r\n{second}",
        second.len()
    ));
    for _ in 0..4 {
        assert!(peer.line().starts_with("250 "));
    }
    assert_eq!(sink.messages("run"), 1);
    let tally = sink.destinations()[0].tally();
    assert_eq!((tally.octets, tally.damaged), (2000, 0));
}

#[test]
fn what_is_not_offered_is_a_mistake() {
    let (sink, to) = sink(3, "* without=CHUNKING+8BITMIME+DSN");
    let mut peer = Peer::connect(to);
    peer.line();
    assert!(peer.say("MAIL FROM:<a@b>\r\n").starts_with("503 "));
    peer.send("EHLO me\r\n");
    let mut offered = String::new();
    while !offered.contains("\n250 ") {
        offered += &peer.line();
    }
    assert!(offered.contains("PIPELINING") && offered.contains("SIZE"));
    for absent in ["CHUNKING", "8BITMIME", "DSN", "STARTTLS", "AUTH"] {
        assert!(!offered.contains(absent), "{absent}");
    }
    assert!(
        peer.say("MAIL FROM:<a@b> BODY=8BITMIME\r\n")
            .starts_with("555 ")
    );
    assert!(
        peer.say("MAIL FROM:<a@b> SIZE=999999999999\r\n")
            .starts_with("552 ")
    );
    assert!(peer.say("MAIL FROM:<a@b>\r\n").starts_with("250 "));
    assert!(peer.say("MAIL FROM:<a@b>\r\n").starts_with("503 "));
    assert!(
        peer.say("RCPT TO:<a@b> NOTIFY=NEVER\r\n")
            .starts_with("555 ")
    );
    assert!(peer.say("DATA\r\n").starts_with("503 "));
    assert!(peer.say("BDAT 3\r\nabc").starts_with("501 ") && peer.is_closed());
    assert_eq!(sink.destinations()[0].tally().mistakes, 6);
}

#[test]
fn limits_of_connections_and_messages_are_kept() {
    let (sink, to) = sink(4, "* connections-max=2 messages-max=1");
    let mut first = Peer::greeted(to);
    let _second = Peer::greeted(to);
    let mut third = Peer::connect(to);
    assert!(third.line().starts_with("421 ") && third.is_closed());
    assert_eq!(first.message(&messages(), 1)[3], "250");
    assert!(first.say("MAIL FROM:<a@b>\r\n").starts_with("421 ") && first.is_closed());
    assert_eq!(sink.destinations()[0].tally().deferred, 2);
    drop(sink);
    let (_sink, to) = self::sink(4, "* connections-total-max=1");
    assert!(Peer::connect(to).line().starts_with("220 "));
    assert!(Peer::connect(to).line().starts_with("421 "));
}

#[test]
fn a_share_of_recipients_is_deferred() {
    let (sink, to) = sink(5, "* rcpt=450/25%");
    let mut peer = Peer::greeted(to);
    peer.say("MAIL FROM:<a@b>\r\n");
    let codes: Vec<String> = (0..8)
        .map(|number| peer.say(&format!("RCPT TO:<{number}@b>\r\n"))[..3].to_owned())
        .collect();
    assert_eq!(codes.iter().filter(|code| *code == "450").count(), 2);
    assert_eq!(codes.iter().filter(|code| *code == "250").count(), 6);
    drop(sink);
    let (sink, to) = self::sink(5, "* rcpt=550");
    // Pipelined DATA after a recipient that was turned down is no mistake.
    assert_eq!(
        Peer::greeted(to).message(&messages(), 1),
        ["250", "550", "554"]
    );
    assert_eq!(sink.destinations()[0].tally().mistakes, 0);
}

#[test]
fn greylisting_lets_the_second_attempt_pass() {
    let (_sink, to) = sink(6, "127.0.2.6 greylist");
    for (recipient, code) in [
        ("x@b", "451"),
        ("X@b", "250"),
        ("y@b", "451"),
        ("y@b", "250"),
    ] {
        let mut peer = Peer::greeted(to);
        peer.say("MAIL FROM:<a@b>\r\n");
        assert_eq!(&peer.say(&format!("RCPT TO:<{recipient}>\r\n"))[..3], code);
    }
    let (_sink, to) = sink(7, "* greylist=1000s");
    for _ in 0..2 {
        let mut peer = Peer::greeted(to);
        peer.say("MAIL FROM:<a@b>\r\n");
        assert!(peer.say("RCPT TO:<x@b>\r\n").starts_with("451 "));
    }
}

#[test]
fn a_stall_says_nothing_more() {
    let (sink, to) = sink(8, "* stall=banner");
    assert!(Peer::connect(to).is_silent());
    drop(sink);
    let (sink, to) = self::sink(8, "* stall=rcpt");
    let mut peer = Peer::greeted(to);
    assert!(peer.say("MAIL FROM:<a@b>\r\n").starts_with("250 "));
    peer.send("RCPT TO:<a@b>\r\nRSET\r\n");
    assert!(peer.is_silent());
    drop(sink);
    let (sink, to) = self::sink(8, "* stall=dot");
    let mut peer = Peer::greeted(to);
    peer.send(&format!("{ENVELOPE}DATA\r\nx\r\n.\r\n"));
    let replies: Vec<String> = (0..3).map(|_| peer.line()).collect();
    assert!(replies[2].starts_with("354 ") && peer.is_silent());
    let tally = sink.destinations()[0].tally();
    assert_eq!((tally.messages, tally.unanswered, tally.faults), (0, 1, 1));
}

#[test]
fn connections_are_dropped_in_the_middle_and_at_the_end() {
    let (sink, to) = sink(9, "* drop=middle first=1");
    let mut peer = Peer::greeted(to);
    peer.send(&format!("{ENVELOPE}DATA\r\n"));
    (0..3).for_each(|_| drop(peer.line()));
    peer.send("Subject: half\r\n");
    assert!(peer.is_closed());
    assert_eq!(sink.destinations()[0].tally().unanswered, 0);
    // Later connections are served.
    assert_eq!(Peer::greeted(to).message(&messages(), 1)[3], "250");
    drop(sink);
    let (sink, to) = self::sink(9, "* drop=dot");
    let mut peer = Peer::greeted(to);
    peer.send(&format!("{ENVELOPE}DATA\r\n"));
    (0..3).for_each(|_| drop(peer.line()));
    peer.send("Subject: whole\r\n\r\n.\r\n");
    assert!(peer.is_closed());
    let tally = sink.destinations()[0].tally();
    assert_eq!((tally.messages, tally.unanswered), (0, 1));
}

#[test]
fn wrong_answers_are_wrong() {
    let (sink, to) = sink(10, "* garbage=mail");
    let line = Peer::greeted(to).say("MAIL FROM:<a@b>\r\n");
    assert!(line.ends_with("this is no reply\r\n"));
    drop(sink);
    let (sink, to) = self::sink(10, "* unfinished=ehlo");
    let mut peer = Peer::connect(to);
    peer.line();
    assert!(peer.say("EHLO me\r\n").starts_with("250-") && peer.is_silent());
    drop(sink);
    let (sink, to) = self::sink(10, "* code=data/250");
    assert_eq!(
        Peer::greeted(to).message(&messages(), 1),
        ["250", "250", "250"]
    );
    drop(sink);
    let (sink, to) = self::sink(10, "* code=mail/451");
    let codes = Peer::greeted(to).message(&messages(), 1);
    assert_eq!(codes, ["451", "503", "554"]);
    assert_eq!(sink.destinations()[0].tally().mistakes, 0);
    drop(sink);
    let (sink, to) = self::sink(10, "* code=dot/554");
    assert_eq!(Peer::greeted(to).message(&messages(), 1)[3], "554");
    assert_eq!(sink.messages("run"), 0);
    drop(sink);
    let (_sink, to) = self::sink(10, "* endless=banner");
    let mut peer = Peer::connect(to);
    let mut octets = vec![0; 3 << 20];
    peer.reader.read_exact(&mut octets).unwrap();
    assert!(octets.iter().all(|octet| *octet == b'2'));
}

#[test]
fn slow_replies_come_late_and_in_order() {
    let (_sink, to) = sink(11, "* slow=60ms");
    let start = Instant::now();
    let mut peer = Peer::greeted(to);
    assert_eq!(peer.message(&messages(), 1), ["250", "250", "354", "250"]);
    // Banner, EHLO, MAIL, RCPT, DATA, message.
    assert!(start.elapsed() >= Duration::from_millis(360));
}

#[test]
fn nobody_listens_where_connections_are_refused() {
    let (sink, to) = sink(12, "127.0.2.13 refuse");
    let other = SocketAddr::from((Ipv4Addr::new(127, 0, 2, 13), to.port()));
    let error = TcpStream::connect(other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(sink.destinations().len(), 2);
}

#[test]
fn tls_and_auth_are_done_or_refused() {
    let (sink, to) = sink(14, "* tls auth");
    let mut peer = Peer::greeted(to);
    // What follows STARTTLS in clear is forgotten.
    assert!(peer.say("STARTTLS\r\nRSET\r\n").starts_with("220 "));
    let connection = tls::connection(&tls::config().unwrap()).unwrap();
    let stream = peer.reader.into_inner();
    let mut secure = BufReader::new(rustls::StreamOwned::new(connection, stream));
    let mut say = |text: &str| {
        secure.get_mut().write_all(text.as_bytes()).unwrap();
        let mut lines = String::new();
        while !lines.lines().any(|line| line.as_bytes()[3] == b' ') {
            secure.read_line(&mut lines).unwrap();
        }
        lines
    };
    assert!(say("MAIL FROM:<a@b>\r\n").starts_with("503 "));
    let offered = say("EHLO me\r\n");
    assert!(offered.contains("AUTH PLAIN") && !offered.contains("STARTTLS"));
    assert!(say("AUTH PLAIN AGEAYg==\r\n").starts_with("235 "));
    assert!(say("AUTH PLAIN\r\n").starts_with("334 "));
    assert!(say("AGEAYg==\r\n").starts_with("235 "));
    assert!(say("QUIT\r\n").starts_with("221 "));
    assert_eq!(sink.destinations()[0].tally().handshakes, 1);
    drop(sink);
    let (sink, to) = self::sink(14, "* tls=refuse");
    assert!(Peer::greeted(to).say("STARTTLS\r\n").starts_with("454 "));
    drop(sink);
    let (_sink, to) = self::sink(14, "* tls=break");
    let mut peer = Peer::greeted(to);
    assert!(peer.say("STARTTLS\r\n").starts_with("220 "));
    let connection = tls::connection(&tls::config().unwrap()).unwrap();
    let stream = peer.reader.into_inner();
    let mut secure = rustls::StreamOwned::new(connection, stream);
    assert!(
        secure
            .write_all(b"EHLO me\r\n")
            .and_then(|()| secure.flush())
            .is_err()
    );
}

#[test]
fn counts_begin_anew_and_numbers_stay() {
    let (sink, to) = sink(15, "");
    let mut peer = Peer::greeted(to);
    peer.message(&messages(), 1);
    sink.destinations()[0].tally().reset();
    peer.message(&messages(), 2);
    let tally = sink.destinations()[0].tally();
    assert_eq!(
        (tally.messages, tally.connections, tally.open_most),
        (1, 0, 1)
    );
    assert_eq!(tally.arrivals("run").len(), 2);
}

#[test]
fn traffic_of_many_connections_with_tls_arrives_once() {
    let (sink, to) = sink(16, "* tls auth messages-max=10");
    let accounts = ["u1@localhost", "u2@localhost"].map(|name| {
        let login = (name.to_owned(), "secret".to_owned());
        Sender::account(login).unwrap()
    });
    let mut traffic = SmtpTraffic::new(Plan {
        to,
        security: Security::StartTls,
        senders: accounts.into(),
        recipients: Plan::recipients(&["a@d0.test".to_owned()]).unwrap(),
        rcpts_per_message: 1,
        messages: 200,
        until: None,
        per_connection: 10,
        content: Messages::new(10_240, "run"),
    });
    let mut engine = Engine::new("sink", PATIENCE).unwrap();
    for _ in 0..8 {
        engine.add(&mut traffic).unwrap();
    }
    engine.run(&mut traffic, |_| false).unwrap();
    let tally = sink.destinations()[0].tally();
    let sent = traffic.accepted.iter().map(|it| Sent {
        number: it.message,
        destination: 0,
        at: it.at,
    });
    let sent: Vec<Sent> = sent.collect();
    let came = tally.arrivals("run").iter().map(|it| Came {
        number: it.number,
        destination: 0,
        at: it.at,
    });
    let came: Vec<Came> = came.collect();
    assert_eq!(sent.len(), 200);
    assert!(Deliveries::compare(&sent, &came).check().is_ok());
    assert_eq!((tally.damaged, tally.mistakes, tally.deferred), (0, 0, 0));
    assert_eq!(
        (tally.messages_most, tally.handshakes),
        (10, tally.connections)
    );
}

#[test]
fn addresses_are_all_different_loopback_addresses() {
    assert_eq!(address_of(0), Ipv4Addr::new(127, 0, 1, 1));
    assert_eq!(address_of(250), Ipv4Addr::new(127, 0, 2, 1));
    assert_eq!(address_of(DESTINATIONS_MAX - 1).octets()[0], 127);
    assert!(address_of(DESTINATIONS_MAX - 1) < stalled_address_of(0));
    let all: std::collections::HashSet<Ipv4Addr> = (0..70_000).map(address_of).collect();
    assert_eq!(all.len(), 70_000);
}

const ENVELOPE: &str = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";
const PATIENCE: Duration = Duration::from_secs(30);
