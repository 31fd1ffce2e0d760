//! Memory for requests of the API: who holds much of it and says no more keeps nobody else from sending, and not for long.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringmail::settings::Door;

use crate::http2::{
    BAD_REQUEST, DATA, END_HEADERS, END_STREAM, HEADERS, OK, Peer, RST_STREAM, api_head, frame,
    head, number, with_https,
};
use crate::patience::{PATIENCE, found};
use crate::ports;
use crate::server::TestServer;
use crate::stall::get;

const KIB: usize = 1 << 10;

/// A request of `length` octets of which `sent` come: spaces, then what fits of the JSON.
fn begin(port: u16, name: &str, length: usize, sent: usize) -> TcpStream {
    let login = STANDARD.encode(format!("{name}@example.test:{name}-password"));
    let json = json(name);
    let mut request = format!(
        "POST /webapi/v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let body = format!("{}{json}", " ".repeat(length - json.len()));
    request.push_str(&body[..sent]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn json(name: &str) -> String {
    format!(
        r#"{{"from":{{"address":"{name}@example.test"}},"to":[{{"address":"a@a.example"}}],"text":"Hi"}}"#
    )
}

/// The head of what is said.
fn said(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut octet).is_ok() {
        head.push(octet[0]);
    }
    String::from_utf8(head).unwrap()
}

pub fn status(port: u16, name: &str, length: usize) -> String {
    let head = said(&mut begin(port, name, length, length));
    head.get(9..12).unwrap_or_default().to_string()
}

/// Whether a request is put off.
fn is_put_off(port: u16, name: &str, length: usize) -> bool {
    status(port, name, length) == "503"
}

#[test]
fn who_holds_what_it_may_and_says_no_more_keeps_nobody_else_from_sending() {
    let directory = tempfile::tempdir().unwrap();
    let port = ports::port();
    // Enough for bodies of 4 MiB. A quarter was all that an account could have; four had all.
    let limits = "[limits.http]\nrequest_max_bytes = \"1MiB\"\nrequests_memory_max_bytes = \"12MiB\"\nbody_timeout_secs = \"1h\"\nrequest_timeout_secs = \"1h\"\n";
    let server = TestServer::with_api(directory.path(), port, (limits, &["erik", "fred"]));
    // Octets of bodies: what is counted is what they come to, and some hundred for each head.
    let held = || -> usize {
        let text = get(server.address(Door::Http), "/metrics");
        let mut lines = text.lines();
        let value = lines.find_map(|l| l.strip_prefix("ringmail_http_requests_memory_bytes "));
        let octets: usize = value.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
        octets / 3
    };
    let is_there = |octets| move |held: &usize| (octets..octets + 2 * KIB).contains(held);
    let whole = 1024 * KIB;
    assert_eq!(status(port, "fred", whole), "200");
    let mut stalled = Vec::new();
    let mut all = 0;
    // 3.5 MiB are for large ones: 1.5 MiB, 1 MiB and 512 KiB are left.
    for (name, octets) in [
        ("anna", whole - 1),
        ("bert", whole - 1),
        ("dora", 700 * KIB),
        ("erik", 350 * KIB),
    ] {
        // More than is left after it.
        if octets < whole - 1 {
            assert!(is_put_off(port, name, whole), "{name}");
        }
        found(&held, is_there(all));
        stalled.push(begin(port, name, whole, octets));
        all += octets;
        found(&held, is_there(all));
        for length in [KIB, 64 * KIB, 128 * KIB] {
            assert_eq!(status(port, "fred", length), "200", "{name}, {length}");
        }
    }
    assert!(is_put_off(port, "fred", whole));
    drop(stalled);
    found(&held, |octets| *octets == 0);
    assert_eq!(status(port, "fred", whole), "200");
}

#[test]
fn a_body_that_comes_too_slowly_is_told_so_and_gives_its_memory_back() {
    let directory = tempfile::tempdir().unwrap();
    let port = ports::port();
    let limits = "[limits.http]\nbody_timeout_secs = \"1s\"\nrequest_timeout_secs = \"1h\"\n";
    let server = TestServer::with_api(directory.path(), port, (limits, &[]));
    let mut stream = begin(port, "anna", 200 * KIB, 150 * KIB);
    let head = said(&mut stream);
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("too-slow"), "{rest}");
    let text = get(server.address(Door::Http), "/metrics");
    assert!(
        text.contains("\nringmail_http_requests_memory_bytes 0\n"),
        "{text}"
    );
}

/// Neither its pieces nor what comes of it has less time for it.
#[test]
fn a_body_that_keeps_the_pace_takes_longer_than_a_request_may() {
    let directory = tempfile::tempdir().unwrap();
    let port = ports::port();
    let limits = "[limits.http]\nrequest_timeout_secs = \"4s\"\n";
    let _server = TestServer::with_api(directory.path(), port, (limits, &[]));
    let (piece, pieces) = (140 * KIB, 9);
    let mut stream = begin(port, "anna", pieces * piece, piece);
    for left in (0..pieces - 1).rev() {
        std::thread::sleep(std::time::Duration::from_secs(1));
        let mut octets = vec![b' '; piece];
        if left == 0 {
            let json = json("anna");
            octets[piece - json.len()..].copy_from_slice(json.as_bytes());
        }
        stream.write_all(&octets).unwrap();
    }
    let head = said(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[test]
fn an_answer_reaches_who_sends_on() {
    let directory = tempfile::tempdir().unwrap();
    let port = ports::port();
    let _server = TestServer::with_api(directory.path(), port, ("", &[]));
    let ask = |stream: &mut TcpStream, (path, fields): (&str, &str), body: &[u8]| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
    };
    // More than any buffer between us holds.
    let body = vec![b'x'; 32 << 20];
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for (path, status) in [
        ("/webapi/v1/messages", "401"),
        ("/webapi/v0/Send", "401"),
        ("/webapi/v0/Nothing", "404"),
        ("/", "405"),
    ] {
        // One after the other: what was thrown away is no request.
        ask(&mut stream, (path, &length), &body);
        let head = said(&mut stream);
        assert_eq!(head.get(9..12), Some(status), "{path}: {head}");
        skip_body(&mut stream, &head);
    }
    // Too large: it is not asked for at all (RFC 9110 10.1.1), and the connection is closed.
    let login = STANDARD.encode("anna@example.test:anna-password");
    let large = format!(
        "Authorization: Basic {login}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n",
        65 << 20
    );
    ask(&mut stream, ("/webapi/v1/messages", &large), b"");
    let head = said(&mut stream);
    assert_eq!(head.get(9..12), Some("413"), "{head}");
    stream.read_to_end(&mut Vec::new()).unwrap();
    // Who says no more has not all the time of the world.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(&mut stream, ("/webapi/v1/messages", &length), b"x");
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.starts_with("HTTP/1.1 401 "), "{all}");
}

fn skip_body(stream: &mut TcpStream, head: &str) {
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).unwrap();
}

/// One who has asked for a long answer so often and takes no octet of any; and how many of them there are.
fn who_reads_nothing(server: &TestServer, asks: u32) -> (Peer, Vec<u32>) {
    // RFC 9113 6.5.2: INITIAL_WINDOW_SIZE.
    let mut peer = Peer::with(server.connect(Door::Https), &[(4, 0)]);
    let template = format!(r#"{{"subject":"a","text":"{}"}}"#, "a".repeat(60 * KIB));
    peer.write(&api_head(1, ("PUT", "/webapi/v1/templates/long"), 0));
    for piece in template.as_bytes().chunks(16 * KIB) {
        peer.write(&frame(DATA, 0, 1, piece));
    }
    peer.write(&frame(DATA, END_STREAM, 1, b""));
    peer.status(1);
    let streams: Vec<u32> = (1..=asks).map(|n| 2 * n + 1).collect();
    for stream in &streams {
        let of = ("GET", "/webapi/v1/templates/long");
        peer.write(&api_head(*stream, of, END_STREAM));
    }
    let mut there = Vec::new();
    for stream in streams {
        if peer.status(stream) == OK {
            there.push(stream);
        }
    }
    (peer, there)
}

fn memory(server: &TestServer) -> usize {
    let text = get(server.address(Door::Http), "/metrics");
    let mut lines = text.lines();
    let value = lines.find_map(|l| l.strip_prefix("ringmail_http_requests_memory_bytes "));
    value.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[test]
fn answers_that_nobody_takes_count_and_have_a_bound() {
    let directory = tempfile::tempdir().unwrap();
    // 3 MiB, and an eighth: half of it for one account.
    let limits = "[limits.http]\nrequest_max_bytes = \"1MiB\"\nrequests_memory_max_bytes = \"1MiB\"\nresponse_timeout_secs = \"1h\"\n";
    let server = with_https(directory.path(), limits);
    let (peer, there) = who_reads_nothing(&server, 60);
    assert!((15..=30).contains(&there.len()), "{there:?}");
    let held = memory(&server);
    assert!(held >= there.len() * 60 * KIB, "{held}");
    drop(peer);
    found(|| memory(&server), |octets| *octets == 0);
}

#[test]
fn who_takes_nothing_of_an_answer_is_cut_off_and_its_memory_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let limits = "[limits.http]\nresponse_timeout_secs = \"1s\"\n";
    let server = with_https(directory.path(), limits);
    let (mut peer, there) = who_reads_nothing(&server, 1);
    assert_eq!(there, [3]);
    // CANCEL.
    assert_eq!(number(&peer.until(RST_STREAM, 3).payload), 8);
    found(|| memory(&server), |octets| *octets == 0);
}

/// RFC 7541 6.2.2, 5.1: a head of a call to come, with a field of 15,000 octets.
fn long_head(stream: u32) -> Vec<u8> {
    let mut all = api_head(stream, ("POST", "/webapi/v1/messages"), 0);
    let mut block = all.split_off(9);
    block.extend([0, 1, b'x', 127]);
    let more = 15_000 - 127;
    block.extend([(more % 128 + 128) as u8, (more / 128) as u8]);
    block.extend([b'a'; 15_000]);
    frame(HEADERS, END_HEADERS, stream, &block)
}

#[test]
fn heads_of_requests_count_and_have_a_bound() {
    let directory = tempfile::tempdir().unwrap();
    let limits = "[limits.http]\nbody_timeout_secs = \"1h\"\nheader_timeout_secs = \"1h\"\n";
    let server = with_https(directory.path(), limits);
    let mut peer = Peer::new(server.connect(Door::Https));
    let streams: Vec<u32> = (0..60).map(|n| 2 * n + 1).collect();
    for stream in &streams {
        peer.write(&long_head(*stream));
    }
    // 512 KiB are 34 of them; more are refused at once, the others wait for their bodies.
    let mut refused = 0;
    while refused < 60 - 34 {
        let frame = peer.next().expect("the connection is kept");
        if frame.kind == HEADERS {
            assert!(frame.stream > 67 && frame.payload[0] != OK);
            refused += 1;
        }
    }
    let held = memory(&server);
    assert!((2 * 34 * 15_000..=1 << 20).contains(&held), "{held}");
    peer.write(&frame(DATA, END_STREAM, 1, b"{"));
    assert_eq!(peer.status(1), BAD_REQUEST);
    let held = found(|| memory(&server), |now| *now < held);
    // There is room for one again.
    peer.write(&long_head(121));
    found(|| memory(&server), |now| *now > held);
    drop(peer);
    found(|| memory(&server), |octets| *octets == 0);
}

#[test]
fn an_answer_that_is_longer_than_its_message_counts_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let limits = "[limits.http]\nresponse_timeout_secs = \"1h\"\n";
    let server = with_https(directory.path(), limits);
    // Each octet is six of JSON.
    let line = "\u{1}".repeat(900);
    let text = format!("{line}\r\n").repeat(100);
    let body = format!("From: x@example.net\r\nSubject: long\r\n\r\n{text}");
    assert!(crate::smtp::send(&server, &["anna@example.test"], &body).starts_with("250 "));
    let mut peer = Peer::with(server.connect(Door::Https), &[(4, 0)]);
    let basic = format!(
        "Basic {}",
        STANDARD.encode("anna@example.test:anna-password")
    );
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/webapi/v0/MessageGet"),
        (":authority", "mail.example.test"),
        ("authorization", basic.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let is_there = (1..30).any(|id| {
        let stream = 2 * id - 1;
        peer.write(&head(stream, 0, &fields));
        let form = format!("request=%7B%22MsgID%22%3A{id}%7D");
        peer.write(&frame(DATA, END_STREAM, stream, form.as_bytes()));
        peer.status(stream) == OK
    });
    assert!(is_there);
    let held = memory(&server);
    assert!(held > 6 * 90_000, "{held}");
    drop(peer);
    found(|| memory(&server), |octets| *octets == 0);
}
