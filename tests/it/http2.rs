//! HTTP/2 beside HTTP/1.1 over TLS: as curl speaks it, and as nobody ought to. RFC 9113.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringmail::settings::Door;

use crate::program::Localserve;
use crate::queue::wait_for_inbox;
use crate::server::TestServer;
use crate::tls::{Client, certificate};

const LOGIN: &str = "ringmail@localhost:ringmailringmail";

/// What curl says of the last response, and all that came.
fn curl(port: u16, path: &str, arguments: &[&str]) -> (String, String) {
    let url = format!("https://localhost:{port}{path}");
    let ran = Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--include"])
        // Long for a loaded machine; a server that hangs ends the test.
        .args(["--max-time", "120"])
        .args(["--write-out", "\n%{http_version} %{http_code}"])
        .args(arguments)
        .arg(&url)
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{url}: {complaint}{said}");
    let (said, last) = said.rsplit_once('\n').unwrap();
    (last.to_string(), said.to_string())
}

#[test]
fn the_client_chooses_the_version() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let port = server.offset + 443;
    for (arguments, version) in [
        (&["--http2"][..], "2"),
        (&["--http2", "--tls-max", "1.2"], "2"),
        (&["--http1.1"], "1.1"),
        (&["--http2", "--no-alpn"], "1.1"),
    ] {
        let (last, said) = curl(port, "/healthz", arguments);
        assert_eq!(last, format!("{version} 200"), "{arguments:?}: {said}");
        assert!(said.ends_with("\r\n\r\nalive\n"), "{said}");
        assert!(said.contains("\r\nringmail-request-id: "), "{said}");
    }
    // RFC 7301 3.2: it is told.
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let Err(error) = Client::shake(server.connect(443), versions, None, &["h3"]) else {
            panic!("nobody speaks h3 here");
        };
        let told = error.get_ref().and_then(|e| e.downcast_ref());
        let alert = rustls::AlertDescription::NoApplicationProtocol;
        assert_eq!(told, Some(&rustls::Error::AlertReceived(alert)), "{error}");
    }
    // Mail has no such names, and takes no notice of them.
    let client = Client::speaking(server.connect(465), &["h2"]).unwrap();
    assert_eq!(client.talk.get_ref().conn.alpn_protocol(), None);
}

#[test]
fn the_api_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let port = server.offset + 443;
    let request = r#"request={"To":[{"Address":"a@a.example"}],"Subject":"form","Text":"Hi"}"#;
    let form = ["--http2", "--user", LOGIN, "--data-urlencode", request];
    let (last, said) = curl(port, "/webapi/v0/Send", &form);
    assert_eq!(last, "2 200", "{said}");
    let json = r#"{"from":{"address":"ringmail@localhost"},"to":[{"address":"a@a.example"}],"subject":"json","text":"Hi"}"#;
    let resource = ["--http2", "--user", LOGIN, "--json", json];
    let (last, said) = curl(port, "/webapi/v1/messages", &resource);
    assert!(last.starts_with("2 20"), "{last} {said}");
    // Much longer than both windows.
    let file = dir.path().join("large");
    std::fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
    let attached = format!("attachedfile=@{}", file.to_str().unwrap());
    let request = request.replace("form", "large");
    let multipart = ["--http2", "--user", LOGIN, "-F", &request, "-F", &attached];
    let (last, said) = curl(port, "/webapi/v0/Send", &multipart);
    assert_eq!(last, "2 200", "{said}");
    wait_for_inbox(&server, &["form", "json", "large"]);
    // And a response that is.
    let (last, said) = curl(port, "/webapi/v1/openapi.json", &["--http2"]);
    assert_eq!(last, "2 200");
    assert!(said.ends_with('}') || said.ends_with("}\n"), "not whole");
}

/// curl 7.88 gives up on a stream that is reset while it sends.
#[test]
fn who_is_refused_with_a_long_body_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let port = server.offset + 443;
    let file = dir.path().join("large");
    std::fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
    let data = format!("@{}", file.to_str().unwrap());
    for (login, path, status) in [
        ("a@b.example:wrong", "/webapi/v1/messages", 401),
        (LOGIN, "/webapi/v1/messages", 415),
        (LOGIN, "/webapi/v1/nowhere", 404),
        (LOGIN, "/webapi/v0/Nothing", 404),
        (LOGIN, "/healthz", 405),
    ] {
        let arguments = ["--http2", "--user", login, "--data-binary", &data];
        let (last, said) = curl(port, path, &arguments);
        assert_eq!(last, format!("2 {status}"), "{path}: {said}");
    }
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "[limits.http]\nheader_max_bytes = \"8KiB\"\n");
    let port = server.address(Door::Https).port();
    let long = format!("X-Long: {}", "x".repeat(9_000));
    let (last, said) = curl(port, "/healthz", &["--http2", "--header", &long]);
    assert_eq!(last, "2 431", "{said}");
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "");
    let port = server.address(Door::Https).port();
    let fields = std::iter::repeat_n(["--header", "X: y"], 1001).flatten();
    let many: Vec<&str> = ["--http2"].into_iter().chain(fields).collect();
    let (last, said) = curl(port, "/healthz", &many);
    assert_eq!(last, "2 431", "{said}");
    // RFC 9113 8.2.2.
    assert!(!said.to_lowercase().contains("\r\nconnection:"), "{said}");
}

/// RFC 9113 4.1.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
const PADDED: u8 = 8;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// RFC 7541 A: the field `:status`, indexed.
pub const OK: u8 = 0x88;
pub const BAD_REQUEST: u8 = 0x8c;

/// A client that says what it is told to.
pub struct Peer(pub Client);

impl Peer {
    pub fn new(stream: std::net::TcpStream) -> Peer {
        Peer::with(stream, &[])
    }

    /// With these settings. RFC 9113 6.5.1.
    pub fn with(stream: std::net::TcpStream, settings: &[(u16, u32)]) -> Peer {
        let client = Client::speaking(stream, &["h2"]).unwrap();
        assert_eq!(client.talk.get_ref().conn.alpn_protocol(), Some(&b"h2"[..]));
        let mut peer = Peer(client);
        peer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let settings = settings.iter();
        let settings = settings.flat_map(|(name, value)| {
            let name = name.to_be_bytes().into_iter();
            name.chain(value.to_be_bytes())
        });
        let settings: Vec<u8> = settings.collect();
        peer.write(&frame(SETTINGS, 0, 0, &settings));
        peer
    }

    pub fn write(&mut self, octets: &[u8]) {
        self.0.talk.get_mut().write_all(octets).unwrap();
    }

    /// The next frame; None: closed.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.talk.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.talk.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: number(&head[5..]),
            payload,
        })
    }

    pub fn until(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.next().expect("the server is there");
            if frame.kind == kind && frame.stream == stream {
                return frame;
            }
        }
    }

    /// The first octet of a response's head.
    pub fn status(&mut self, stream: u32) -> u8 {
        self.until(HEADERS, stream).payload[0]
    }
}

pub fn number(octets: &[u8]) -> u32 {
    u32::from_be_bytes(octets[..4].try_into().unwrap())
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let mut octets = length.to_be_bytes()[1..].to_vec();
    octets.extend([kind, flags]);
    octets.extend(stream.to_be_bytes());
    octets.extend(payload);
    octets
}

/// RFC 7541 6.2.2: literal fields, not indexed; all are short.
pub fn head(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

pub fn get(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/healthz"),
        (":authority", "mail.example.test"),
    ];
    fields.extend(more);
    head(stream, END_STREAM, &fields)
}

/// A call whose form comes later.
pub fn send_head(stream: u32, login: &str) -> Vec<u8> {
    let basic = format!("Basic {}", STANDARD.encode(login));
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/webapi/v0/Send"),
        (":authority", "mail.example.test"),
        ("authorization", basic.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    head(stream, 0, &fields)
}

/// A request of anna's to the API.
pub fn api_head(stream: u32, (method, path): (&str, &str), flags: u8) -> Vec<u8> {
    let login = STANDARD.encode("anna@example.test:anna-password");
    let basic = format!("Basic {login}");
    let fields = [
        (":method", method),
        (":scheme", "https"),
        (":path", path),
        (":authority", "mail.example.test"),
        ("authorization", basic.as_str()),
        ("content-type", "application/json"),
    ];
    head(stream, flags, &fields)
}

pub fn with_https(directory: &Path, extra: &str) -> TestServer {
    certificate(directory);
    TestServer::with_https(directory, extra)
}

#[test]
fn many_requests_of_one_connection_are_answered_and_wrong_ones_end_alone() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "");
    let mut peer = Peer::new(server.connect(Door::Https));
    let settings = peer.until(SETTINGS, 0).payload;
    let settings: Vec<(u8, u32)> = settings
        .chunks(6)
        .map(|setting| (setting[1], number(&setting[2..])))
        .collect();
    // RFC 9113 6.5.2: streams at once, the window of each, the size of a head.
    for bound in [(3, 100), (4, 65_535), (6, 65_536)] {
        assert!(settings.contains(&bound), "{settings:?}");
    }
    // A request that waits, and others behind it.
    peer.write(&send_head(1, "anna@example.test:anna-password"));
    let all: Vec<u8> = (1..=50).flat_map(|n| get(2 * n + 1, &[])).collect();
    peer.write(&all);
    let mut alive = 0;
    while alive < 50 {
        let frame = peer.next().unwrap();
        assert_ne!(frame.stream, 1);
        if frame.kind == DATA && frame.payload == b"alive\n" {
            alive += 1;
        }
    }
    // Malformed (RFC 9113 8.2.2): the stream ends with PROTOCOL_ERROR.
    for (stream, field) in [(201, "connection"), (203, "transfer-encoding")] {
        peer.write(&get(stream, &[(field, "chunked")]));
        assert_eq!(number(&peer.until(RST_STREAM, stream).payload), 1);
    }
    // RFC 9113 8.3.1.
    peer.write(&get(205, &[("host", "other.example.test")]));
    assert_eq!(peer.status(205), BAD_REQUEST);
    peer.write(&get(207, &[("host", "mail.example.test")]));
    assert_eq!(peer.status(207), OK);
    peer.write(&frame(DATA, END_STREAM, 1, b"request={}"));
    assert_eq!(peer.status(1), BAD_REQUEST);
}

#[test]
fn a_body_in_small_pieces_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "");
    let json = format!(
        r#"{{"from":{{"address":"anna@example.test"}},"to":[{{"address":"bert@example.test"}}],"text":"{}"}}"#,
        "a".repeat(30_000)
    );
    let pieces = |stream, size| -> Vec<u8> {
        let mut pieces = api_head(stream, ("POST", "/webapi/v1/messages"), 0);
        for piece in json.as_bytes().chunks(size) {
            pieces.extend(frame(DATA, 0, stream, piece));
        }
        pieces.extend(frame(DATA, END_STREAM, stream, b""));
        pieces
    };
    let mut peer = Peer::new(server.connect(Door::Https));
    // They wait while the login is looked at; all of them are within the windows.
    peer.write(&[pieces(1, 50), pieces(3, 20)].concat());
    // Whichever is answered first.
    let mut answered = 0;
    while answered < 2 {
        let frame = peer.next().expect("the connection is kept");
        if frame.kind == HEADERS {
            assert_eq!(frame.payload[0], OK);
            answered += 1;
        }
    }
    peer.write(&pieces(5, 1));
    assert_eq!(peer.status(5), OK);
}

/// Those of several requests in turn, all of which began before anybody could read any.
#[test]
fn bodies_in_small_pieces_side_by_side_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "");
    let json = format!(
        r#"{{"from":{{"address":"anna@example.test"}},"to":[{{"address":"bert@example.test"}}],"text":"{}"}}"#,
        "a".repeat(1_000)
    );
    // All of them are within the windows, with octets of padding in each piece.
    for (requests, size, padding) in [(90, 50, 0), (40, 5, 0), (10, 20, 100)] {
        let streams = (0..requests).map(|n| 2 * n + 1);
        let head = |stream| api_head(stream, ("POST", "/webapi/v1/messages"), 0);
        let mut octets: Vec<u8> = streams.clone().flat_map(head).collect();
        let piece = |stream, piece: &[u8]| match padding {
            0 => frame(DATA, 0, stream, piece),
            _ => {
                let padded = [&[padding][..], piece, &vec![0; padding.into()]].concat();
                frame(DATA, PADDED, stream, &padded)
            }
        };
        for some in json.as_bytes().chunks(size) {
            octets.extend(streams.clone().flat_map(|stream| piece(stream, some)));
        }
        octets.extend(streams.flat_map(|stream| frame(DATA, END_STREAM, stream, b"")));
        let mut peer = Peer::new(server.connect(Door::Https));
        peer.write(&octets);
        let mut answered = 0;
        while answered < requests {
            let frame = peer.next().expect("the connection is kept");
            let said = String::from_utf8_lossy(&frame.payload);
            assert_ne!(
                frame.kind, GOAWAY,
                "{requests} of {size}, {answered}: {said}"
            );
            if frame.kind == HEADERS {
                assert_eq!(frame.payload[0], OK);
                answered += 1;
            }
        }
    }
}

#[test]
fn who_resets_what_it_asks_for_is_sent_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "");
    let mut peer = Peer::new(server.connect(Door::Https));
    let cancel = 8_u32.to_be_bytes();
    // In one record, so that all of them are read at once.
    let all: Vec<u8> = (0..50)
        .map(|n| 2 * n + 1)
        .flat_map(|stream| [get(stream, &[]), frame(RST_STREAM, 0, stream, &cancel)])
        .flatten()
        .collect();
    assert!(all.len() < 16_384);
    peer.write(&all);
    // ENHANCE_YOUR_CALM.
    let last = peer.until(GOAWAY, 0);
    assert_eq!(number(&last.payload[4..]), 11);
    assert!(peer.next().is_none());
}

#[test]
fn a_request_whose_body_does_not_come_is_told_so_and_ends_alone() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[limits.http]\nbody_timeout_secs = \"1s\"\n";
    let server = with_https(dir.path(), limits);
    let mut peer = Peer::new(server.connect(Door::Https));
    peer.write(&send_head(1, "anna@example.test:anna-password"));
    assert_eq!(peer.status(1), BAD_REQUEST);
    let said = peer.until(DATA, 1).payload;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("of the body 0 octets came in 1 s"), "{said}");
    // NO_ERROR.
    assert_eq!(number(&peer.until(RST_STREAM, 1).payload), 0);
    peer.write(&get(3, &[]));
    assert_eq!(peer.status(3), OK);
}

#[test]
fn what_is_under_way_when_the_server_stops_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "");
    let mut peer = Peer::new(server.connect(Door::Https));
    peer.write(&send_head(1, "anna@example.test:anna-password"));
    peer.write(&frame(DATA, 0, 1, b"request="));
    // It was taken before this one.
    peer.write(&get(3, &[]));
    assert_eq!(peer.status(3), OK);
    let stop = std::thread::spawn(move || drop(server));
    // RFC 9113 6.8: first that it ends, then, once the client knows, with which request.
    let goaway = peer.until(GOAWAY, 0);
    assert_eq!(number(&goaway.payload), u32::MAX >> 1);
    let ping = peer.until(PING, 0);
    peer.write(&frame(PING, ACK, 0, &ping.payload));
    let goaway = peer.until(GOAWAY, 0);
    assert_eq!(number(&goaway.payload), 3);
    assert_eq!(number(&goaway.payload[4..]), 0);
    let form = br#"{"To":[{"Address":"bert@example.test"}],"Subject":"late","Text":"Hi"}"#;
    peer.write(&frame(DATA, END_STREAM, 1, form));
    assert_eq!(peer.status(1), OK);
    let said = peer.until(DATA, 1).payload;
    assert!(String::from_utf8_lossy(&said).contains("\"MessageID\""));
    while peer.next().is_some() {}
    stop.join().unwrap();
}

#[test]
fn a_request_that_never_ends_does_not_hold_up_the_end_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let server = TestServer::with_https_and_grace(dir.path(), "", "3s");
    let mut peer = Peer::new(server.connect(Door::Https));
    peer.write(&send_head(1, "anna@example.test:anna-password"));
    peer.write(&get(3, &[]));
    assert_eq!(peer.status(3), OK);
    let stop = std::thread::spawn(move || drop(server));
    let goaway = peer.until(GOAWAY, 0);
    assert_eq!(number(&goaway.payload), u32::MAX >> 1);
    // It says nothing, and has not even seen ours.
    while peer.next().is_some() {}
    stop.join().unwrap();
}
