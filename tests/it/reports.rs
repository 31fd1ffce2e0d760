//! What a sender asked to be told, and is told: NOTIFY, ORCPT, RET and ENVID (RFC 3461), and messages that are held (RFC 4865). In `localserve`, where
//! what goes elsewhere comes back.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use ::dkim::{KeyRecord, SigningKey, Status};
use ringmail::settings::Door;
use serde_json::Value;

use crate::crash::{command, reply};
use crate::dkim::verified;
use crate::filled::{assert_checked, imap, stop};
use crate::folder::Folder;
use crate::patience::until;
use crate::program::{Localserve, ringmail};
use crate::queue::{inbox, wait_for_inbox, wait_for_queue};
use crate::server::TestServer;
use crate::smtp::{numbers, talk};
use crate::stall::get;

/// A message by port 25, or by submission as `ringmail`. Answers the reply to its end.
fn send(
    server: &Localserve,
    port: u16,
    mail: &str,
    recipients: &[&str],
    text: &str,
) -> std::io::Result<String> {
    let mut talk = BufReader::new(server.connect(port));
    reply(&mut talk)?;
    command(&mut talk, "EHLO client.example\r\n")?;
    if port == 587 {
        // RFC 4616: ringmail@localhost, ringmailringmail.
        let plain = "AUTH PLAIN AHJpbmdtYWlsQGxvY2FsaG9zdAByaW5nbWFpbHJpbmdtYWls\r\n";
        assert!(command(&mut talk, plain)?.starts_with("235"));
    }
    let said = command(&mut talk, &format!("MAIL FROM:{mail}\r\n"))?;
    assert!(said.starts_with("250"), "{mail}: {said}");
    for recipient in recipients {
        let said = command(&mut talk, &format!("RCPT TO:{recipient}\r\n"))?;
        assert!(said.starts_with("250"), "{recipient}: {said}");
    }
    command(&mut talk, "DATA\r\n")?;
    let header = "From: ringmail@localhost\r\nMessage-ID: <m@x.example>\r\nSubject: m\r\n";
    talk.get_mut()
        .write_all(format!("{header}\r\n{text}\r\n.\r\n").as_bytes())?;
    reply(&mut talk)
}

fn fetch(server: &Localserve, what: &str) -> String {
    let commands = ["EXAMINE INBOX", &format!("FETCH 1:* {what}")];
    imap(server, "ringmail", "ringmailringmail", &commands)[1].clone()
}

fn has(report: &str, lines: &[&str]) {
    for line in lines {
        assert!(report.lines().any(|l| l == *line), "{line}: {report}");
    }
}

const ARRIVED: &str = "Mail was delivered to ringmail@localhost";

#[test]
fn senders_hear_what_they_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let recipients = [
        "<queue-permerror@a.example> NOTIFY=NEVER",
        "<queue-permerror@b.example> NOTIFY=SUCCESS,DELAY",
        "<queue-permerror@c.example> NOTIFY=FAILURE ORCPT=rfc822;Old+2Bname@c.example",
        "<ringmail@localhost> NOTIFY=SUCCESS ORCPT=rfc822;me@old.example",
    ];
    let mail = "<ringmail@localhost> RET=HDRS ENVID=QQ+2B1";
    let said = send(&server, 587, mail, &recipients, "hello").unwrap();
    assert!(said.starts_with("250"), "{said}");
    let failed = "Mail could not be delivered to queue-permerror@c.example";
    wait_for_inbox(&server, &[failed, ARRIVED, "m"]);
    wait_for_queue(dir.path(), <[Value]>::is_empty);
    assert_eq!(inbox(&server), [failed, ARRIVED, "m"]);
    let all = fetch(&server, "BODY.PEEK[]");
    has(
        &all,
        &[
            "Original-Envelope-Id: QQ+1",
            "Original-Recipient: rfc822; Old+name@c.example",
            "Final-Recipient: rfc822; queue-permerror@c.example",
            "Action: failed",
            "Original-Recipient: rfc822; me@old.example",
            "Final-Recipient: rfc822; ringmail@localhost",
            "Action: delivered",
            "Status: 2.1.5",
        ],
    );
    // The message itself, and two headers of it.
    assert_eq!(all.matches("\r\nhello\r\n").count(), 1, "{all}");
    assert_eq!(all.matches("Content-Type: text/rfc822-headers").count(), 2);
    assert!(!all.contains("a.example") && !all.contains("b.example"));
    stop(server);
    assert_checked(dir.path());
}

#[test]
fn mail_from_elsewhere_is_reported_unless_its_sender_is_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let me = ["<ringmail@localhost> NOTIFY=SUCCESS"];
    send(&server, 25, "<>", &me, "hello").unwrap();
    wait_for_inbox(&server, &["m"]);
    // RFC 5321 4.5.1: without a domain.
    let postmaster = ["<Postmaster> NOTIFY=SUCCESS"];
    send(&server, 25, "<a@a.example>", &postmaster, "hello").unwrap();
    let arrived = "Mail was delivered to postmaster@localhost";
    wait_for_inbox(&server, &[arrived, "m", "m"]);
    // An address literal is nobody's here: its report waits for the next hop, with nobody to be told of it.
    let literal = "<queue451@[192.0.2.1]>";
    send(&server, 25, literal, &me, "hello").unwrap();
    let report = wait_for_queue(dir.path(), is_report_elsewhere);
    // It is signed by the domain that it comes from, as it goes out.
    let id = report[0]["id"].to_string();
    let dump = ["queue", "dump", &id, "--dir", dir.path().to_str().unwrap()];
    let dump = ringmail(&dump).out;
    let pem = std::fs::read_to_string(dir.path().join("localhost.dkim.key")).unwrap();
    let record = KeyRecord::of_key(&SigningKey::from_pem(&pem).unwrap());
    let records = [("localserve._domainkey.localhost", &record)];
    assert_eq!(
        verified(dump.as_bytes(), &records),
        [("localserve".to_string(), Status::Pass)],
        "{dump}"
    );
    assert!(dump.contains("i=mailer-daemon@localhost;"), "{dump}");
    assert_eq!(inbox(&server), [arrived, "m", "m", "m"]);
    stop(server);
    assert_checked(dir.path());
}

/// One report, to somebody elsewhere, that was tried once.
fn is_report_elsewhere(queue: &[Value]) -> bool {
    let recipient = "queue451@[192.0.2.1]";
    matches!(queue, [one] if one["recipient"] == recipient && one["reverse_path"] == "" && one["attempts"] == 1)
}

/// A report of a message that lies in a file has its header too.
#[test]
fn the_header_of_a_large_message_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let text = "A line of seventy-two letters, as they are in most of the mail we see.\r\n";
    let recipients = ["<queue-permerror@a.example>"];
    let large = text.repeat(20_000);
    send(&server, 587, "<ringmail@localhost>", &recipients, &large).unwrap();
    wait_for_inbox(
        &server,
        &["Mail could not be delivered to queue-permerror@a.example"],
    );
    let report = fetch(&server, "BODY.PEEK[]");
    has(
        &report,
        &["Content-Type: text/rfc822-headers", "Subject: m"],
    );
    assert!(!report.contains("seventy-two letters"));
    stop(server);
}

/// Kills the server on the way of a message whose sender wants to hear that it was delivered, starts it again, and finds each thing once.
#[test]
fn a_kill_neither_loses_nor_doubles_a_report_of_success() {
    for (point, mail) in [
        ("fanout.committed", "<a@a.example>"),
        ("outbound.attempted", "<a@a.example>"),
        ("outbound.recorded", "<a@a.example>"),
        ("outbound.told", "<a@a.example>"),
        // To somebody elsewhere it goes through the queue again.
        ("outbound.recorded", "<queue451@[192.0.2.1]>"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Localserve::with_faults(dir.path(), &[], &format!("{point}=kill"));
        // Before or after the 250: all of these points lie behind the commit.
        let me = ["<ringmail@localhost> NOTIFY=SUCCESS"];
        let _ = send(&server, 25, mail, &me, "hello");
        assert_ne!(server.ended(), 0, "{point}");
        let server = Localserve::start(dir.path(), &[]);
        let elsewhere = mail.contains('[');
        let expected = if elsewhere {
            &["m"][..]
        } else {
            &[ARRIVED, "m"]
        };
        wait_for_inbox(&server, expected);
        wait_for_queue(dir.path(), |q| match q {
            [] => !elsewhere,
            left => elsewhere && is_report_elsewhere(left),
        });
        // Nothing comes late.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(inbox(&server), expected, "{point}");
        stop(server);
        assert_checked(dir.path());
    }
}

/// RFC 3461 5.2.3: what is offered must be kept, and a stranger's reverse-path may be anybody's.
#[test]
fn strangers_are_offered_no_reports_unless_the_settings_say_so() {
    let domains = "[postmaster]\naccount = \"anna\"\n[domain.\"example.test\"]\n";
    let submission = "submission = { port = {port}, allow_plain_auth = true }\n";
    let folder = Folder::new(domains, submission);
    let added = folder.run(&["account", "add", "anna", "anna@example.test"]);
    assert_eq!(added.code, 0, "{}", added.err);
    for (dsn, offered) in [("", false), (", dsn = true", true)] {
        let text = std::fs::read_to_string(&folder.config).unwrap();
        let port = format!("smtp = {{ port = {}", folder.port);
        let text = text.replacen(&port, &format!("{port}{dsn}"), 1);
        std::fs::write(&folder.config, text).unwrap();
        let _serving = folder.serve();
        for (port, offered) in [(folder.port, offered), (folder.port + 1, true)] {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            talk(&mut stream, b"", "220 ");
            let said = talk(&mut stream, b"EHLO client.example\r\n", "250 ");
            assert_eq!(said.contains("DSN"), offered, "{port}: {said}");
            if port != folder.port {
                continue;
            }
            talk(&mut stream, b"MAIL FROM:<a@a.example>\r\n", "250 ");
            let asks = b"RCPT TO:<anna@example.test> NOTIFY=SUCCESS\r\n";
            talk(&mut stream, asks, if offered { "250 " } else { "555 " });
        }
    }
}

#[test]
fn a_message_is_held_as_long_as_its_sender_wants() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    // Accounts here are held back like everybody else.
    let recipients = ["<a@a.example>", "<ringmail@localhost>"];
    let mail = "<ringmail@localhost> HOLDFOR=86400";
    send(&server, 587, mail, &recipients, "later").unwrap();
    let mail = "<ringmail@localhost> HOLDFOR=1";
    send(&server, 587, mail, &recipients, "soon").unwrap();
    let never = ["<queue-permerror@c.example>"];
    let failed = "Mail could not be delivered to queue-permerror@c.example";
    send(&server, 587, mail, &never, "never").unwrap();
    wait_for_inbox(&server, &[failed, "m", "m"]);
    // RFC 4865 5.1.2: as it was asked for.
    let said = fetch(&server, "BODY.PEEK[]");
    assert!(
        said.contains("\nFuture-Release-Request: for;1\r\n"),
        "{said}"
    );
    let left = wait_for_queue(dir.path(), |q| q.len() == 2);
    for held in &left {
        let (accepted, next) = (held["accepted"].as_i64(), held["next"].as_i64());
        assert_eq!(next.unwrap() - accepted.unwrap(), 86_400, "{held}");
        assert_eq!(
            (&held["state"], &held["attempts"]),
            (&"waiting".into(), &0.into())
        );
    }
    assert!(!fetch(&server, "BODY.PEEK[]").contains("later"));
    stop(server);
    assert_checked(dir.path());
}

/// Who asks to be told gets no more past a quota than others do: one message that was begun while there was room.
#[test]
fn the_quota_holds_for_those_who_want_to_hear() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::sending(dir.path());
    let begin = || {
        let mut stream = server.connect(Door::Smtp);
        talk(&mut stream, b"", "220 ");
        talk(&mut stream, b"EHLO client.example\r\n", "250 ");
        talk(&mut stream, b"MAIL FROM:<a@example.org>\r\n", "250 ");
        // bert may have 300,000 octets.
        let recipient = b"RCPT TO:<bert@example.test> NOTIFY=SUCCESS\r\n";
        talk(&mut stream, recipient, "250 ");
        talk(&mut stream, b"DATA\r\n", "354 ");
        stream
    };
    let (mut first, mut second) = (begin(), begin());
    let line = format!("{}\r\n", "z".repeat(98));
    let body = format!("Subject: large\r\n\r\n{}.\r\n", line.repeat(3_500));
    talk(&mut first, body.as_bytes(), "250 ");
    until(|| numbers(&server, "bert").0 == 1);
    talk(&mut second, body.as_bytes(), "250 ");
    let deferred = "ringmail_queue_attempts_total{result=\"deferred\"} 1\n";
    until(|| get(server.address(Door::Http), "/metrics").contains(deferred));
    assert_eq!(numbers(&server, "bert").0, 1);
}

/// RFC 3461 4.1: DELAY, by itself or unsaid.
#[test]
fn a_delay_is_told_to_who_wants_to_hear_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::sending(dir.path());
    let mut settings = server.server().live().settings.clone();
    settings.server.queue.delay_notice_after_secs = "0s".parse().unwrap();
    server.server().reload(settings).unwrap();
    let mut stream = server.connect(Door::Submission);
    talk(&mut stream, b"", "220 ");
    talk(&mut stream, b"EHLO client.example\r\n", "250 ");
    let plain = b"AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n";
    talk(&mut stream, plain, "235 ");
    talk(
        &mut stream,
        b"MAIL FROM:<anna@example.test> RET=FULL\r\n",
        "250 ",
    );
    // Of one domain, so that they are tried together.
    for recipient in [
        "<queue-unsaid451@a.example>",
        "<queue-delay451@a.example> NOTIFY=DELAY",
        "<queue-failure451@a.example> NOTIFY=FAILURE,SUCCESS",
        "<queue-never451@a.example> NOTIFY=NEVER",
    ] {
        let command = format!("RCPT TO:{recipient}\r\n");
        talk(&mut stream, command.as_bytes(), "250 ");
    }
    talk(&mut stream, b"DATA\r\n", "354 ");
    let message = b"From: anna@example.test\r\nSubject: late\r\n\r\nhello\r\n.\r\n";
    talk(&mut stream, message, "250 ");
    until(|| numbers(&server, "anna").0 == 1);
    let deferred = "ringmail_queue_attempts_total{result=\"deferred\"} 4\n";
    until(|| get(server.address(Door::Http), "/metrics").contains(deferred));
    let mut imap = server.connect(Door::Imap);
    talk(
        &mut imap,
        b"a LOGIN anna@example.test anna-password\r\n",
        "a OK",
    );
    talk(&mut imap, b"b SELECT INBOX\r\n", "b OK");
    let report = talk(&mut imap, b"c FETCH 1 BODY.PEEK[]\r\n", "c OK");
    let told: Vec<&str> = report
        .lines()
        .filter_map(|l| l.strip_prefix("Final-Recipient: rfc822; queue-"))
        .collect();
    assert_eq!(
        told,
        ["unsaid451@a.example", "delay451@a.example"],
        "{report}"
    );
    assert_eq!(report.matches("Action: delayed").count(), 2);
    assert_eq!(report.matches("Will-Retry-Until: ").count(), 2);
    // RFC 3461 4.3: of a delay the header comes back, whatever RET says.
    assert!(!report.contains("hello"), "{report}");
}
