//! The log line of a failed login, which operators' tools match (docs/OPERATING.md).

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use crate::program::Localserve;

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
    let mut text = String::new();
    for _ in 0..100 {
        text = std::fs::read_to_string(&log).unwrap();
        if text.matches("login failed").count() == 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
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
