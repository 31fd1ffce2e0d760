//! Internationalized addresses and domains on their way out. RFC 6531 3.2, RFC 5891.

use std::io::{BufReader, Write};

use ringmail::settings::Door;

use crate::crash::{command, reply};
use crate::dns::mx;
use crate::outbound::{free_port, queue, server_with, until_sent};
use crate::patience::until;
use crate::receiver::Receiver;
use crate::server::TestServer;
use crate::smtp::numbers;

fn zone(name: &str, number: u8) -> Vec<Vec<u8>> {
    match (name, number) {
        ("xn--bcher-kva.test.", 15) => vec![mx(10, "mx.shared.test")],
        ("mx.shared.test.", 1) => vec![vec![127, 0, 0, 11]],
        _ => vec![],
    }
}

fn submit(server: &TestServer, recipients: &[&str], subject: &str) {
    let mut talk = BufReader::new(server.connect(Door::Submission));
    reply(&mut talk).unwrap();
    command(&mut talk, "EHLO client.example\r\n").unwrap();
    // RFC 4616: anna@example.test, anna-password.
    let plain = "AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n";
    assert!(command(&mut talk, plain).unwrap().starts_with("235"));
    let mail = "MAIL FROM:<anna@example.test> SMTPUTF8\r\n";
    assert!(command(&mut talk, mail).unwrap().starts_with("250"));
    for recipient in recipients {
        let said = command(&mut talk, &format!("RCPT TO:<{recipient}>\r\n")).unwrap();
        assert!(said.starts_with("250"), "{said}");
    }
    command(&mut talk, "DATA\r\n").unwrap();
    let text = format!("From: anna@example.test\r\nSubject: {subject}\r\n\r\nhello\r\n.\r\n");
    talk.get_mut().write_all(text.as_bytes()).unwrap();
    assert!(reply(&mut talk).unwrap().starts_with("250"));
}

#[test]
fn a_domain_alone_needs_no_smtputf8() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    // It does not offer SMTPUTF8.
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let server = server_with(directory.path(), port, "", zone);
    submit(&server, &["a@b\u{fc}cher.test"], "one");
    submit(
        &server,
        &["a@b\u{fc}cher.test", "b@b\u{fc}cher.test"],
        "two",
    );
    until(|| receiver.messages().len() == 2);
    for command in receiver.commands() {
        assert!(
            command.is_ascii() && !command.contains("SMTPUTF8"),
            "{command}"
        );
    }
    let to = "RCPT TO:<a@xn--bcher-kva.test>";
    assert!(receiver.commands().iter().any(|c| c == to));
    for message in receiver.messages() {
        let header = message.split("\r\n\r\n").next().unwrap();
        assert!(header.is_ascii(), "{header}");
    }
    until_sent(&server);
}

#[test]
fn what_needs_it_is_given_up_and_no_more_than_that() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let server = server_with(directory.path(), port, "", zone);
    submit(&server, &["\u{fc}@b\u{fc}cher.test"], "localpart");
    submit(&server, &["a@b\u{fc}cher.test"], "Gr\u{fc}\u{df}e");
    until(|| numbers(&server, "anna").0 == 2 && queue(&server).is_empty());
    assert!(receiver.messages().is_empty());
}

/// RFC 6531 3.2: the others of a message go without the extension.
#[test]
fn who_has_an_address_in_ascii_gets_what_another_can_not() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let server = server_with(directory.path(), port, "", zone);
    let to = "xn--bcher-kva.test";
    let all = ["bob", "j\u{f6}rg", "ann"].map(|name| format!("{name}@{to}"));
    submit(&server, &all.each_ref().map(String::as_str), "three");
    until_sent(&server);
    let rcpt = |c: &String| c.starts_with("RCPT");
    let asked: Vec<String> = receiver.commands().into_iter().filter(rcpt).collect();
    let expected = ["bob", "ann"].map(|name| format!("RCPT TO:<{name}@{to}>"));
    assert_eq!(asked, expected);
    assert_eq!(receiver.messages().len(), 1);
    // The report.
    assert_eq!(numbers(&server, "anna").0, 1);
}
