//! HTTP/2 with those who mean harm, or break down: what one of them does ends with it, and others are served. RFC 9113 10.5.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringmail::settings::Door;

use crate::http2::{
    BAD_REQUEST, DATA, END_STREAM, GOAWAY, HEADERS, OK, Peer, RST_STREAM, SETTINGS, frame, get,
    number, send_head, with_https,
};
use crate::program::Localserve;
use crate::server::TestServer;

const ANNA: &str = "anna@example.test:anna-password";
const PRIORITY: u8 = 2;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// RFC 9113 6.5.2.
const INITIAL_WINDOW_SIZE: u16 = 4;
/// RFC 9113 7.
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Somebody else is served.
fn others_go_on(server: &TestServer) {
    let mut other = Peer::new(server.connect(Door::Https));
    other.write(&get(1, &[]));
    assert_eq!(other.status(1), OK);
}

#[test]
fn a_panic_ends_its_stream_alone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::with_faults(dir.path(), &[], "http.request=panic@3");
    let mut peer = Peer::new(server.connect(443));
    peer.write(&send_head(1, "ringmail@localhost:ringmailringmail"));
    peer.write(&frame(DATA, 0, 1, b"request="));
    // It is there before the one that ends so.
    peer.write(&get(3, &[]));
    assert_eq!(peer.status(3), OK);
    peer.write(&get(5, &[]));
    peer.until(RST_STREAM, 5);
    let form = br#"{"To":[{"Address":"a@a.example"}],"Subject":"well","Text":"Hi"}"#;
    peer.write(&frame(DATA, END_STREAM, 1, form));
    assert_eq!(peer.status(1), OK);
    crate::queue::wait_for_inbox(&server, &["well"]);
}

#[test]
fn streams_beyond_the_bound_are_refused_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "");
    let mut peer = Peer::new(server.connect(Door::Https));
    // From here on the login is known, and takes no time.
    peer.write(&send_head(1, ANNA));
    peer.write(&frame(DATA, END_STREAM, 1, b"request={}"));
    assert_eq!(peer.status(1), BAD_REQUEST);
    let waiting: Vec<u32> = (0..100).map(|n| 2 * n + 3).collect();
    let all: Vec<u8> = waiting.iter().flat_map(|n| send_head(*n, ANNA)).collect();
    peer.write(&all);
    peer.write(&get(203, &[]));
    assert_eq!(number(&peer.until(RST_STREAM, 203).payload), REFUSED_STREAM);
    others_go_on(&server);
    // Where one ends, the next has its place.
    for stream in waiting {
        peer.write(&frame(DATA, END_STREAM, stream, b"request={}"));
        assert_eq!(peer.status(stream), BAD_REQUEST);
        while peer.until(DATA, stream).flags & END_STREAM == 0 {}
        let next = stream + 300;
        peer.write(&get(next, &[]));
        assert_eq!(peer.status(next), OK);
    }
}

#[test]
fn a_response_goes_out_through_a_window_of_one_octet() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "");
    let settings = [(INITIAL_WINDOW_SIZE, 1)];
    let mut peer = Peer::with(server.connect(Door::Https), &settings);
    peer.write(&get(1, &[]));
    let mut said = Vec::new();
    loop {
        let piece = peer.until(DATA, 1);
        assert!(piece.payload.len() <= 1);
        said.extend(piece.payload);
        if piece.flags & END_STREAM != 0 {
            break;
        }
        peer.write(&frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()));
    }
    assert_eq!(said, b"alive\n");
}

#[test]
fn who_opens_no_window_has_the_time_for_a_response_and_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[limits.http]\nresponse_timeout_secs = \"5s\"\nidle_timeout_secs = \"5s\"\n";
    let server = with_https(dir.path(), limits);
    let settings = [(INITIAL_WINDOW_SIZE, 0)];
    let mut peer = Peer::with(server.connect(Door::Https), &settings);
    let streams: Vec<u32> = (0..20).map(|n| 2 * n + 1).collect();
    let all: Vec<u8> = streams.iter().flat_map(|n| get(*n, &[])).collect();
    peer.write(&all);
    others_go_on(&server);
    let mut cancelled = Vec::new();
    let mut is_told = false;
    while let Some(frame) = peer.next() {
        match frame.kind {
            // What has an end has one octet at least before.
            DATA => panic!("{frame:?}"),
            RST_STREAM => {
                assert_eq!(number(&frame.payload), CANCEL);
                cancelled.push(frame.stream);
            }
            GOAWAY => is_told = true,
            _ => (),
        }
    }
    cancelled.sort_unstable();
    assert_eq!(cancelled, streams);
    assert!(is_told);
}

/// Frames that say next to nothing, of which each is to be answered or looked at.
fn floods() -> [(&'static str, Vec<u8>); 3] {
    let many = |one: Vec<u8>| one.repeat(16_000 / one.len());
    [
        ("PING", many(frame(PING, 0, 0, &[7; 8]))),
        ("SETTINGS", many(frame(SETTINGS, 0, 0, &[]))),
        ("PRIORITY", many(frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]))),
    ]
}

#[test]
fn floods_are_answered_and_hold_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "");
    for (name, flood) in floods() {
        let mut peer = Peer::new(server.connect(Door::Https));
        peer.write(&flood);
        peer.write(&get(3, &[]));
        assert_eq!(peer.status(3), OK, "{name}");
    }
}

#[test]
fn who_floods_and_does_not_read_is_not_read_either_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[limits.http]\nheader_timeout_secs = \"5s\"\nidle_timeout_secs = \"5s\"\n";
    let server = with_https(dir.path(), limits);
    let mut flooding = Vec::new();
    for (name, flood) in &floods()[..2] {
        let stream = server.connect(Door::Https);
        let socket = socket2::SockRef::from(&stream);
        socket.set_recv_buffer_size(4096).unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        let mut peer = Peer::new(stream);
        let raw = &peer.0.talk.get_ref().sock.0;
        raw.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        // All that may wait between the two of us, and much more.
        let rounds = (64 << 20) / flood.len();
        let is_blocked = (0..rounds).any(|_| {
            let written = peer.0.talk.get_mut().write_all(flood);
            written.is_err()
        });
        assert!(is_blocked, "the server takes all of {name}");
        flooding.push((*name, peer));
    }
    others_go_on(&server);
    for (name, peer) in flooding {
        let stream = &peer.0.talk.get_ref().sock.0;
        // What other settings would take is longer.
        stream
            .set_read_timeout(Some(Duration::from_secs(25)))
            .unwrap();
        assert!(is_closed(stream), "{name}");
    }
}

/// Whether the server ends the connection, whatever else it says before.
fn is_closed(mut stream: &TcpStream) -> bool {
    let mut octets = [0; 4096];
    loop {
        match stream.read(&mut octets) {
            Ok(0) => return true,
            Ok(_) => (),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => (),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return false,
                _ => return true,
            },
        }
    }
}

#[test]
fn heads_that_do_not_end_are_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_https(dir.path(), "");
    // RFC 7541 6.2.2: a field of no more than a name.
    let field = b"\0\x01x\0";
    for piece in [&[][..], field] {
        let mut peer = Peer::new(server.connect(Door::Https));
        let mut all = frame(HEADERS, END_STREAM, 1, field);
        for _ in 0..500 {
            all.extend(frame(CONTINUATION, 0, 1, piece));
        }
        // In one record: what is read is answered before it ends.
        assert!(all.len() < 16_384);
        peer.write(&all);
        let last = peer.until(GOAWAY, 0);
        assert_eq!(number(&last.payload[4..]), ENHANCE_YOUR_CALM);
        assert!(peer.next().is_none());
    }
    others_go_on(&server);
}
