//! The log line of a failed login, which operators' tools match (docs/OPERATING.md).

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ringmail::settings::{Door, PerNetwork};

use crate::patience::{early_in_the_hour, found, until};
use crate::program::{Localserve, ringmail_with_input};
use crate::server::TestServer;
use crate::tls::{Client, ClientCertificate, pem};

fn say(port: u16, server: &Localserve, lines: &[&str]) {
    let mut talk = BufReader::new(server.connect(port));
    let mut answer = String::new();
    talk.read_line(&mut answer).unwrap();
    for line in lines {
        talk.get_mut().write_all(line.as_bytes()).unwrap();
        loop {
            answer.clear();
            assert!(talk.read_line(&mut answer).unwrap() > 0);
            // The last line of a reply, tagged or not.
            if !answer.starts_with("* ") && answer.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
    }
}

#[test]
fn each_failed_login_is_one_line_with_the_address_and_without_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Localserve::logging_to(&dir.path().join("data"), &[], &log);
    say(
        143,
        &server,
        &[
            "a LOGIN ringmail@localhost secret-one\r\n",
            "b LOGIN \"no such\" secret-two\r\n",
            "c LOGIN ringmail@localhost ringmailringmail\r\n",
        ],
    );
    // RFC 4616: nobody@localhost with "secret-three".
    let plain = "AUTH PLAIN AG5vYm9keUBsb2NhbGhvc3QAc2VjcmV0LXRocmVl\r\n";
    say(587, &server, &["EHLO client.example\r\n", plain]);
    let text = found(
        || std::fs::read_to_string(&log).unwrap(),
        |text| text.matches("login failed").count() == 3,
    );
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|l| Some(l.split_once("msg=\"login failed\" ")?.1))
        .collect();
    let expected = [
        "peer=127.0.0.1 protocol=imap mechanism=login-command result=badcreds login=ringmail@localhost connection=",
        "peer=127.0.0.1 protocol=imap mechanism=login-command result=badcreds login=\"no such\" connection=",
        "peer=127.0.0.1 protocol=submission mechanism=PLAIN result=badcreds login=nobody@localhost connection=",
    ];
    assert_eq!(lines.len(), 3, "{text}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(!text.contains("secret-"), "{text}");
}

/// The password may be right, and whoever showed the certificate knows it now.
#[test]
fn a_login_refused_for_the_connections_certificate_is_a_line_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let home = dir.path().join("data");
    let server = Localserve::logging_to(&home, &["--accounts", "1"], &log);
    let key = ClientCertificate::new(&rcgen::PKCS_ED25519);
    let words = ["config", "tlspubkey", "add", "u1@localhost", "x", "--dir"];
    let words = [&words[..], &[server.dir()]].concat();
    let added = ringmail_with_input(&words, &pem("CERTIFICATE", &key.certificate));
    assert_eq!((added.code, added.err.as_str()), (0, ""));
    let stream = server.connect(465);
    let mut talk = Client::with_key(stream, rustls::ALL_VERSIONS, Some(&key)).unwrap();
    talk.say("EHLO client.example\r\n", "250 ");
    // RFC 4616: ringmail@localhost with its own password.
    let plain = "AUTH PLAIN AHJpbmdtYWlsQGxvY2FsaG9zdAByaW5nbWFpbHJpbmdtYWls\r\n";
    talk.say(plain, "535 5.7.8 the key of the TLS client certificate");
    let expected =
        "protocol=submission mechanism=PLAIN result=badcreds login=ringmail@localhost connection=";
    until(|| std::fs::read_to_string(&log).unwrap().contains(expected));
}

/// Logs in on so many connections at once; answers the last line of each.
fn at_once(server: &TestServer, count: usize, password: impl Fn(usize) -> String) -> Vec<String> {
    at_once_as(server, "anna@example.test", count, password)
}

fn at_once_as(
    server: &TestServer,
    name: &str,
    count: usize,
    password: impl Fn(usize) -> String,
) -> Vec<String> {
    let mut talks = connections(server, count);
    for (number, talk) in talks.iter_mut().enumerate() {
        let login = format!("a LOGIN {name} {}\r\n", password(number));
        talk.get_mut().write_all(login.as_bytes()).unwrap();
    }
    talks.iter_mut().map(last).collect()
}

/// So many, greeted.
fn connections(server: &TestServer, count: usize) -> Vec<BufReader<TcpStream>> {
    let mut talks: Vec<_> = (0..count)
        .map(|_| BufReader::new(server.connect(Door::Imap)))
        .collect();
    let mut line = String::new();
    for talk in &mut talks {
        talk.read_line(&mut line).unwrap();
    }
    talks
}

/// The tagged response, or the end.
fn last(talk: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    while !line.starts_with("a ") && !line.starts_with("* BYE") {
        line.clear();
        assert!(talk.read_line(&mut line).unwrap() > 0);
    }
    line
}

#[test]
fn attempts_at_once_are_no_more_guesses_than_one_after_the_other() {
    early_in_the_hour();
    let server = TestServer::start();
    let mut settings = server.server().live().settings.clone();
    // Of 24 hours, so that no turn of the minute gets in the way.
    settings.server.limits.auth.failures_per_day_max = PerNetwork::new(3, 9, 9);
    server.server().reload(settings).unwrap();
    let right = at_once(&server, 20, |_| "anna-password".into());
    assert!(right.iter().all(|l| l.starts_with("a OK")), "{right:?}");
    let wrong = at_once(&server, 20, |n| format!("wrong{n}"));
    let failed = |l: &&String| l.contains("[AUTHENTICATIONFAILED]");
    assert_eq!(wrong.iter().filter(failed).count(), 3, "{wrong:?}");
    let refused = |l: &&String| l.contains("too many authentication failures");
    assert_eq!(wrong.iter().filter(refused).count(), 17, "{wrong:?}");
}

#[test]
fn a_connection_that_is_open_already_may_not_go_on_guessing() {
    early_in_the_hour();
    let server = TestServer::start();
    let mut settings = server.server().live().settings.clone();
    settings.server.limits.auth.failures_per_minute_max = PerNetwork::new(3, 9, 9);
    // A limit of 24 hours, so that no turn of the minute gets in the way.
    settings.server.limits.auth.failures_per_day_max = PerNetwork::new(3, 9, 9);
    server.server().reload(settings).unwrap();
    let mut imap = BufReader::new(server.connect(Door::Imap));
    let mut submission = BufReader::new(server.connect(Door::Submission));
    let ask = |talk: &mut BufReader<TcpStream>, line: &str| {
        talk.get_mut().write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        while !answer.lines().any(|l| {
            l.starts_with("* BYE") || !l.starts_with("* ") && l.as_bytes().get(3) != Some(&b'-')
        }) {
            assert!(talk.read_line(&mut answer).unwrap() > 0, "{answer}");
        }
        answer
    };
    ask(&mut submission, "");
    ask(&mut submission, "EHLO client.example\r\n");
    for number in 0..3 {
        let answer = ask(
            &mut imap,
            &format!("a{number} LOGIN anna@example.test wrong{number}\r\n"),
        );
        assert!(answer.contains("NO [AUTHENTICATIONFAILED]"), "{answer}");
    }
    // What failed is counted by a call that nobody waits for. Then nobody comes in any more.
    until(|| {
        let mut greeting = String::new();
        let mut talk = BufReader::new(server.connect(Door::Imap));
        talk.read_line(&mut greeting).unwrap();
        greeting.starts_with("* BYE")
    });
    // RFC 4616: anna@example.test with anna-password, which is right.
    let right = "AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n";
    let answer = ask(&mut submission, right);
    assert!(
        answer.starts_with("421 4.7.0 too many failed logins"),
        "{answer}"
    );
    let answer = ask(&mut imap, "b LOGIN anna@example.test anna-password\r\n");
    assert!(
        answer.contains("* BYE too many authentication failures"),
        "{answer}"
    );
}

#[test]
fn an_account_is_not_guessed_at_without_end() {
    early_in_the_hour();
    let server = TestServer::start();
    let mut settings = server.server().live().settings.clone();
    settings.server.limits.auth.account_failures_per_hour_max = 5;
    settings.server.limits.imap.auth_failures_max = 100;
    settings.server.limits.imap.auth_failures_slow_after = 100;
    server.server().reload(settings).unwrap();
    let wrong = |n: usize| format!("wrong-{n}");
    let answers = at_once(&server, 12, wrong);
    let count = |what: &str| answers.iter().filter(|a| a.starts_with(what)).count();
    assert_eq!(count("a NO [AUTHENTICATIONFAILED]"), 5, "{answers:?}");
    assert_eq!(count("a NO [UNAVAILABLE]"), 7, "{answers:?}");
    let right = at_once(&server, 1, |_| "anna-password".to_string());
    assert!(right[0].starts_with("a NO [UNAVAILABLE]"), "{right:?}");
    // Told apart from what could not be checked for want of something.
    let limited = "mechanism=\"login-command\",result=\"limited\"} 8";
    let metrics = crate::stall::get(server.address(Door::Http), "/metrics");
    assert!(metrics.contains(limited), "{metrics}");
}

/// Each is a line of the log, and costs more than nothing.
#[test]
fn a_connection_does_not_go_on_for_ever_that_is_told_to_come_later_or_not_at_all() {
    early_in_the_hour();
    let server = TestServer::start();
    let mut settings = server.server().live().settings.clone();
    settings.server.limits.auth.account_failures_per_hour_max = 1;
    settings.server.limits.imap.auth_failures_max = 5;
    server.server().reload(settings).unwrap();
    for (login, code) in [
        ("anna@example.test wrong", "[UNAVAILABLE]"),
        ("carl@example.test carl-password", "Closed"),
    ] {
        let mut talk = BufReader::new(server.connect(Door::Imap));
        let mut said = String::new();
        talk.read_line(&mut said).unwrap();
        while !said.contains("* BYE too many failed logins") {
            assert!(said.matches("a NO ").count() < 5, "{said}");
            let line = format!("a LOGIN {login}\r\n");
            talk.get_mut().write_all(line.as_bytes()).unwrap();
            let before = said.len();
            while !said[before..].contains("a NO ") {
                assert!(talk.read_line(&mut said).unwrap() > 0, "{said}");
            }
            if said.matches("a NO ").count() == 5 {
                talk.read_line(&mut said).unwrap();
            }
        }
        assert!(said.matches(code).count() >= 4, "{said}");
    }
}

/// An account's own name is no login: else it would tell that the account is there, and what it is called.
#[test]
fn a_name_that_is_no_address_shares_no_limit_with_the_account_of_that_name() {
    early_in_the_hour();
    let server = TestServer::start();
    let mut settings = server.server().live().settings.clone();
    settings.server.limits.auth.account_failures_per_hour_max = 5;
    server.server().reload(settings).unwrap();
    let wrong = |n: usize| format!("wrong-{n}");
    let answers = at_once_as(&server, "anna", 8, wrong);
    let limited = |a: &&String| a.starts_with("a NO [UNAVAILABLE]");
    assert_eq!(answers.iter().filter(limited).count(), 3, "{answers:?}");
    let right = at_once(&server, 1, |_| "anna-password".to_string());
    assert!(right[0].starts_with("a OK"), "{right:?}");
}

#[test]
fn guessing_shuts_nobody_out_who_logged_in_before() {
    let server = TestServer::start();
    let mut settings = server.server().live().settings.clone();
    settings.server.limits.auth.account_failures_per_hour_max = 5;
    server.server().reload(settings).unwrap();
    let right = || at_once(&server, 1, |_| "anna-password".to_string());
    assert!(right()[0].starts_with("a OK"));
    at_once(&server, 8, |n| format!("wrong-{n}"));
    assert!(right()[0].starts_with("a OK"));
}

#[test]
fn refusals_wait_for_their_turn_and_right_passwords_do_not() {
    let server = TestServer::start();
    let mut settings = server.server().live().settings.clone();
    settings.server.limits.auth.refusals_per_second_max = 1;
    server.server().reload(settings).unwrap();
    let started = Instant::now();
    // More than may be said at once, on each of the cores; all are there when the right one comes.
    let mut storm = connections(&server, 100);
    let mut right = connections(&server, 1).remove(0);
    let log_in = |talk: &mut BufReader<TcpStream>, password: &str| {
        let login = format!("a LOGIN anna@example.test {password}\r\n");
        talk.get_mut().write_all(login.as_bytes()).unwrap();
    };
    for (number, talk) in storm.iter_mut().enumerate() {
        log_in(talk, &format!("wrong{number}"));
    }
    log_in(&mut right, "anna-password");
    assert!(last(&mut right).starts_with("a OK"));
    // Others, who were ahead of it, are waiting still.
    let waits = |talk: &&BufReader<TcpStream>| {
        let stream = talk.get_ref();
        stream.set_nonblocking(true).unwrap();
        let said = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        said.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    assert!(storm.iter().filter(waits).count() > 0);
    let wrong: Vec<String> = storm.iter_mut().map(last).collect();
    let failed = |l: &String| l.contains("[AUTHENTICATIONFAILED]");
    assert!(wrong.iter().all(failed), "{wrong:?}");
    assert!(started.elapsed() >= Duration::from_secs(4));
}
