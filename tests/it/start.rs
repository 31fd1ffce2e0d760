//! What clients see of a server that is about to serve, and of one that is about to end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringmail::settings::Door;

use crate::patience::PATIENCE;
use crate::server::TestServer;

/// Reads until this is there, or the end.
fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut got = String::new();
    let mut buffer = [0; 4096];
    while !got.contains(text) {
        match stream.read(&mut buffer) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Ok(0) => break,
            read => got += &String::from_utf8_lossy(&buffer[..read.unwrap()]),
        }
    }
    got
}

fn ready(server: &TestServer) -> String {
    let mut stream = server.connect(Door::Http);
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    until(&mut stream, "never")
}

#[test]
fn a_login_waits_until_the_passwords_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::starting(dir.path());
    let mut imap = server.connect(Door::Imap);
    imap.write_all(b"a LOGIN anna@example.test anna-password\r\n")
        .unwrap();
    let mut submission = server.connect(Door::Submission);
    // RFC 4616: anna@example.test with her password.
    submission
        .write_all(b"EHLO c\r\nAUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n")
        .unwrap();
    let answer = ready(&server);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("starting"), "{answer}");
    // Nothing is said to either, however long they wait.
    for stream in [&mut imap, &mut submission] {
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let early = stream.read(&mut [0]).map_err(|e| e.kind());
        assert!(
            matches!(early, Err(ErrorKind::WouldBlock | ErrorKind::Interrupted)),
            "{early:?}"
        );
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    server.prepare();
    let answer = until(&mut imap, "a OK");
    assert!(answer.contains("a OK"), "{answer}");
    let answer = until(&mut submission, "235 ");
    assert!(answer.contains("235 "), "{answer}");
    assert!(ready(&server).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_transaction_that_outlasts_a_stop_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::on(dir.path(), "");
    let mut settings = server.server().live().settings.clone();
    settings.server.shutdown_grace_secs = "8s".parse().unwrap();
    server.server().reload(settings).unwrap();
    let [mut finishing, mut stuck] = [(), ()].map(|()| {
        let mut stream = server.connect(Door::Smtp);
        until(&mut stream, "220 ");
        for (line, code) in [
            ("EHLO c\r\n", "250 "),
            ("MAIL FROM:<a@example.org>\r\n", "250 "),
            ("RCPT TO:<anna@example.test>\r\n", "250 "),
            ("DATA\r\n", "354 "),
        ] {
            stream.write_all(line.as_bytes()).unwrap();
            until(&mut stream, code);
        }
        stream
    });
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| server.server().stop());
        // Until the stop has begun there is no telling what comes first: a new connection sees it.
        loop {
            let connected = TcpStream::connect(server.address(Door::Smtp));
            let Ok(mut stream) = connected else { break };
            stream
                .set_read_timeout(Some(Duration::from_secs(1)))
                .unwrap();
            let mut start = [0; 3];
            if stream.read_exact(&mut start).is_err() || start == *b"421" {
                break;
            }
        }
        finishing.write_all(b"Subject: x\r\n\r\n.\r\n").unwrap();
        // RFC 5321 3.8.
        let answers = until(&mut finishing, "421 4.3.2");
        assert!(answers.starts_with("250 "), "{answers}");
        let answer = until(&mut stuck, "421 ");
        assert!(answer.starts_with("421 4.3.2"), "{answer}");
        stop.join().unwrap();
    });
}

#[test]
fn too_little_locked_memory_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_ringmail");
    let offset = crate::program::port_offset();
    let began = std::time::Instant::now();
    let ended = std::process::Command::new("sh")
        .args(["-c", "ulimit -l 64; exec \"$@\"", "sh", program])
        .args(["localserve", "--port-offset", &offset.to_string(), "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(text.contains("raise LimitMEMLOCK (ulimit -l)"), "{text}");
    // It would be a minute for cores that only do not answer.
    assert!(began.elapsed() < Duration::from_secs(50));
}
