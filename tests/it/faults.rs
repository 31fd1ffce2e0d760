//! What goes wrong below, seen from outside: a shard that fails, an account that is removed while it is in use.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ringmail::settings::Door;

use crate::crash::{self, start};
use crate::patience::patiently;
use crate::server::TestServer;

fn deliver(smtp: SocketAddr, recipients: &[&str]) -> String {
    let stream = TcpStream::connect(smtp).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let message = "Subject: x\r\n\r\nhello\r\n";
    crash::deliver(stream, (recipients, "example.test"), message).unwrap()
}

/// Two accounts that live in different shards of a directory with four.
pub fn apart() -> (&'static str, &'static str, u16) {
    let shard = |name: &str| shards::shard_of(name.as_bytes(), 4).0;
    let names = ["anna", "bert", "dora"];
    let other = names
        .iter()
        .find(|n| shard(n) != shard("anna"))
        .expect("three names are not all in one shard");
    ("anna", other, shard("anna"))
}

#[test]
fn a_failed_shard_answers_451_while_others_serve_and_is_sound_after_a_restart() {
    let (failing, serving, shard) = apart();
    for point in ["rows.commit", "segment.sync", "body.appended"] {
        let directory = tempfile::tempdir().unwrap();
        let server = start(directory.path(), "").unwrap();
        assert!(deliver(server.smtp, &[failing]).starts_with("250"));
        server.kill();
        // The first groups after a start are the test's own: setting passwords.
        let server = start(
            directory.path(),
            &format!("shard-{shard:03}/{point}=fail@8"),
        )
        .unwrap();
        let mut accepted = 1;
        let mut refused = String::new();
        for _ in 0..20 {
            let answer = deliver(server.smtp, &[failing]);
            if !answer.starts_with("250") {
                refused = answer;
                break;
            }
            accepted += 1;
        }
        assert!(refused.starts_with("451 4.3.0"), "{point}: {refused}");
        assert!(
            deliver(server.smtp, &[failing]).starts_with("451"),
            "{point}: never retried over"
        );
        assert!(
            deliver(server.smtp, &[serving]).starts_with("250"),
            "{point}: others serve"
        );
        server.kill();
        let server = start(directory.path(), "").unwrap();
        let there = count(server.imap, failing);
        // The refused one may be there as well: its fate was unknown when 451 was sent.
        assert!(
            (accepted..=accepted + 1).contains(&there),
            "{point}: {there} of {accepted}"
        );
        assert!(deliver(server.smtp, &[failing]).starts_with("250"));
        server.kill();
    }
}

#[test]
fn a_failed_shard_holds_up_no_other_recipient_of_a_message() {
    let (failing, serving, shard) = apart();
    let directory = tempfile::tempdir().unwrap();
    start(directory.path(), "").unwrap().kill();
    let server = start(
        directory.path(),
        &format!("shard-{shard:03}/rows.commit=fail@8"),
    )
    .unwrap();
    while deliver(server.smtp, &[failing]).starts_with("250") {}
    let before = count(server.imap, serving);
    for _ in 0..8 {
        // Entries go round the shards of the core; those of the failed one must not be chosen.
        let answer = deliver(server.smtp, &[failing, serving]);
        assert!(
            answer.starts_with("250") || answer.starts_with("451"),
            "{answer}"
        );
    }
    patiently(
        || count(server.imap, serving) > before,
        || "the healthy recipient waits for the failed one".into(),
    );
    server.kill();
    let server = start(directory.path(), "").unwrap();
    let all = count(server.imap, serving) - before;
    patiently(
        || count(server.imap, failing) >= all,
        || "it is delivered after the restart".into(),
    );
    server.kill();
}

fn count(imap: SocketAddr, name: &str) -> usize {
    let mut stream = BufReader::new(TcpStream::connect(imap).unwrap());
    let commands =
        format!("a LOGIN {name}@example.test {name}-password\r\nb EXAMINE INBOX\r\nc LOGOUT\r\n");
    stream.get_mut().write_all(commands.as_bytes()).unwrap();
    let exists = stream
        .lines()
        .map_while(Result::ok)
        .find_map(|l| l.strip_suffix(" EXISTS")?.strip_prefix("* ")?.parse().ok());
    exists.expect("EXISTS is told")
}

#[test]
fn sessions_of_a_removed_account_end_and_others_go_on() {
    let server = TestServer::start();
    let mut sessions: Vec<BufReader<TcpStream>> = Vec::new();
    for name in ["dora", "anna"] {
        let mut stream = BufReader::new(server.connect(Door::Imap));
        let commands = format!("a LOGIN {name}@example.test {name}-password\r\nb SELECT INBOX\r\n");
        stream.get_mut().write_all(commands.as_bytes()).unwrap();
        until(&mut stream, "b OK").unwrap();
        sessions.push(stream);
    }
    sessions[0].get_mut().write_all(b"c IDLE\r\n").unwrap();
    until(&mut sessions[0], "+ ").unwrap();
    let mut settings = server.server().live().settings.clone();
    settings.accounts.retain(|name, _| name.as_str() != "dora");
    server.server().reload(settings).unwrap();
    assert!(
        until(&mut sessions[0], "* BYE").is_some(),
        "the removed account's session is told"
    );
    sessions[1].get_mut().write_all(b"c NOOP\r\n").unwrap();
    assert!(until(&mut sessions[1], "c OK").is_some(), "others go on");
    assert!(deliver(server.address(Door::Smtp), &["anna"]).starts_with("250"));
}

fn until(stream: &mut BufReader<TcpStream>, start: &str) -> Option<String> {
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line.starts_with(start) => return Some(line),
            Ok(_) => (),
        }
    }
}
