//! The record of login attempts, as `ringmail account logins` shows it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;

use crate::filled::answer;
use crate::patience::found;
use crate::program::{Localserve, Ran, ringmail};

fn logins(dir: &Path, more: &[&str]) -> Ran {
    let dir = dir.to_str().unwrap();
    ringmail(&[&["account", "logins", "--dir", dir], more].concat())
}

/// Account, login, protocol, mechanism, result, client and number of each record.
fn records(dir: &Path, more: &[&str]) -> Vec<[String; 7]> {
    let ran = logins(dir, &[&["--json"], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let record = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["peer"], "127.0.0.1");
        assert_eq!(record["local"], "127.0.0.1");
        assert!(record["first"].as_i64() <= record["last"].as_i64());
        [
            "account",
            "login",
            "protocol",
            "mechanism",
            "result",
            "client",
            "count",
        ]
        .map(|field| match &record[field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let mut all: Vec<_> = ran.out.lines().map(record).collect();
    all.sort();
    all
}

fn imap(server: &Localserve, commands: &[&str]) -> BufReader<TcpStream> {
    let mut talk = BufReader::new(server.connect(143));
    for (number, command) in commands.iter().enumerate() {
        let tag = format!("t{number} ");
        talk.get_mut()
            .write_all(format!("{tag}{command}\r\n").as_bytes())
            .unwrap();
        if command.starts_with("AUTHENTICATE") {
            let mut line = String::new();
            while !line.starts_with('+') {
                line.clear();
                assert!(talk.read_line(&mut line).unwrap() > 0);
            }
            break;
        }
        answer(&mut talk, &tag);
    }
    talk
}

fn submission(server: &Localserve, lines: &[&str]) {
    let mut talk = BufReader::new(server.connect(587));
    let mut reply = String::new();
    talk.read_line(&mut reply).unwrap();
    for line in lines {
        talk.get_mut()
            .write_all(format!("{line}\r\n").as_bytes())
            .unwrap();
        loop {
            reply.clear();
            assert!(talk.read_line(&mut reply).unwrap() > 0);
            if reply.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
    }
}

const OK: &str = "LOGIN u1@localhost ringmailringmail";
const ID: &str = r#"ID ("version" "7.1" "name" "Mail")"#;

#[test]
fn attempts_are_recorded_with_their_clients_and_counted_if_they_differ_in_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &["--accounts", "2"]);
    // ID after the login, as most clients send it; before; never. Twice, so that two are one record.
    for _ in 0..2 {
        imap(&server, &[OK, ID]);
        imap(&server, &[ID, OK]);
    }
    imap(&server, &[OK, "NOOP"]);
    imap(
        &server,
        &["LOGIN u1@localhost wrong", "LOGIN \"no\tone\" x"],
    );
    imap(
        &server,
        &[r#"ID ("os" "Plan 9")"#, "LOGIN u2@localhost wrong"],
    );
    // n,,n=u1@localhost,r=rOprNGfwEbeRWgbNEkqO, and then nothing: the client goes. RFC 5802 7.
    let first =
        "AUTHENTICATE SCRAM-SHA-256 biwsbj11MUBsb2NhbGhvc3Qscj1yT3ByTkdmd0ViZVJXZ2JORWtxTw==";
    drop(imap(&server, &[first]));
    // RFC 4616: u1@localhost and its password; then what is not PLAIN's grammar.
    submission(
        &server,
        &[
            "EHLO client.example",
            "AUTH PLAIN AHUxQGxvY2FsaG9zdAByaW5nbWFpbHJpbmdtYWls",
        ],
    );
    submission(&server, &["EHLO client.example", "AUTH PLAIN AHUx"]);
    let rows = |expected: &[&str]| -> Vec<[String; 7]> {
        let words = |row: &&str| {
            let words: Vec<String> = row.split('|').map(|w| w.trim().replace('_', " ")).collect();
            words.try_into().unwrap()
        };
        let mut rows: Vec<_> = expected.iter().map(words).collect();
        rows.sort();
        rows
    };
    let aborted = "u1 | u1@localhost | imap | SCRAM-SHA-256 | aborted |  | 1";
    let u1_failed = [
        "u1 | u1@localhost | imap | login-command | badpassword |  | 1",
        aborted,
    ];
    let u1_ok = [
        "u1 | u1@localhost | imap | login-command | ok | Mail_7.1 | 4",
        "u1 | u1@localhost | imap | login-command | ok |  | 1",
        "u1 | u1@localhost | submission | PLAIN | ok | client.example | 1",
    ];
    let u2 = ["u2 | u2@localhost | imap | login-command | badpassword | os=Plan_9 | 1"];
    let nobody = [
        " | no_one | imap | login-command | baduser |  | 1",
        " |  | submission | PLAIN | badprotocol | client.example | 1",
    ];
    let all = [&u1_failed[..], &u1_ok, &u2, &nobody].concat();
    // The end of a connection is noticed a moment later.
    let all = rows(&all);
    found(|| records(dir.path(), &[]), |records| *records == all);
    assert_eq!(
        records(dir.path(), &["u1"]),
        rows(&[&u1_failed[..], &u1_ok].concat())
    );
    assert_eq!(records(dir.path(), &["u1", "--failed"]), rows(&u1_failed));
    assert_eq!(records(dir.path(), &["-"]), rows(&nobody));
    assert_eq!(records(dir.path(), &["--limit", "3"]).len(), 3);
    let text = logins(dir.path(), &["u2"]).out;
    assert!(
        text.contains("u2               \"u2@localhost\" from 127.0.0.1  imap login-command: badpassword  client \"os=Plan 9\"  no TLS"),
        "{text}"
    );
    let unknown = logins(dir.path(), &["nobody"]);
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("there is no account nobody"),
        "{}",
        unknown.err
    );

    // A stop writes what was not written; a directory without a server tells as much; and an account takes its record along.
    imap(&server, &[OK, ID]);
    crate::filled::stop(server);
    let u1_ok = [
        &["u1 | u1@localhost | imap | login-command | ok | Mail_7.1 | 5"],
        &u1_ok[1..],
    ]
    .concat();
    let all = [&u1_failed[..], &u1_ok, &u2, &nobody].concat();
    assert_eq!(records(dir.path(), &[]), rows(&all));
    let path = dir.path().to_str().unwrap();
    let removed = ringmail(&["account", "remove", "--dir", path, "u1"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert_eq!(records(dir.path(), &[]), rows(&[&u2[..], &nobody].concat()));
    crate::filled::assert_checked(dir.path());
}
