//! Mail whose MAIL FROM says which recipient it is for, and what a submitter says of a message for himself.

use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringmail::queue::from_id::FromIds;
use ringmail::queue::id::QueueId;
use ringmail::settings::Door;

use crate::crash::{command, reply};
use crate::outbound::{free_port, messages, queue, reasons, server, until_sent};
use crate::patience::patiently;
use crate::receiver::Receiver;
use crate::server::TestServer;

/// Has what anna submits as anna@example.test told apart.
fn tell_apart(server: &TestServer) {
    let mut settings = server.server().live().settings.clone();
    let anna = settings.accounts.get_mut("anna").unwrap();
    Arc::make_mut(anna).unique_mail_from = vec!["anna@example.test".parse().unwrap()];
    server.server().reload(settings).unwrap();
}

/// Submits with anna's password; answers the last reply.
fn submit(
    server: &TestServer,
    (login, mail_from): (&str, &str),
    recipients: &[&str],
    message: &str,
) -> String {
    let mut talk = BufReader::new(server.connect(Door::Submission));
    reply(&mut talk).unwrap();
    command(&mut talk, "EHLO client.example\r\n").unwrap();
    let plain = sasl::base64::encode(format!("\0{login}\0anna-password").as_bytes());
    let said = command(&mut talk, &format!("AUTH PLAIN {plain}\r\n")).unwrap();
    assert!(said.starts_with("235"), "{said}");
    let said = command(&mut talk, &format!("MAIL FROM:<{mail_from}>\r\n")).unwrap();
    assert!(said.starts_with("250"), "{said}");
    for recipient in recipients {
        let said = command(&mut talk, &format!("RCPT TO:<{recipient}>\r\n")).unwrap();
        assert!(said.starts_with("250"), "{said}");
    }
    command(&mut talk, "DATA\r\n").unwrap();
    talk.get_mut().write_all(message.as_bytes()).unwrap();
    command(&mut talk, ".\r\n").unwrap()
}

const MESSAGE: &str = "From: anna@example.test\r\n\r\nhello\r\n";
const ANNA: &str = "anna@example.test";

/// Each transaction's MAIL FROM and its recipients, connection after connection.
fn transactions(receiver: &Receiver) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    let path = |line: &str| {
        let (_, path) = line.split_once('<').unwrap();
        path.split('>').next().unwrap().to_owned()
    };
    for line in receiver.commands() {
        if line.starts_with("MAIL FROM:") {
            all.push((path(&line), Vec::new()));
        } else if line.starts_with("RCPT TO:") {
            all.last_mut().unwrap().1.push(path(&line));
        }
    }
    all
}

/// The recipient of a MAIL FROM of anna's.
fn number(directory: &Path, mail_from: &str) -> Option<QueueId> {
    let (localpart, domain) = mail_from.split_once('@').unwrap();
    assert_eq!(domain, "example.test");
    let (name, id) = localpart.split_once('+').unwrap();
    assert_eq!(name, "anna");
    FromIds::open(&directory.join("data")).unwrap().decode(id)
}

#[test]
fn each_recipient_has_a_mail_from_of_its_own_and_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let refuses = Arc::new(AtomicBool::new(true));
    let says = {
        let refuses = refuses.clone();
        move |line: &str| {
            let refuses = refuses.load(Ordering::SeqCst) && line.starts_with("RCPT");
            refuses.then(|| "450 4.2.0 not now".to_owned())
        }
    };
    let receiver = Receiver::start([127, 0, 0, 11], port, None, says);
    let queue_table = "[queue]\nretry_secs = [\"1s\"]\n";
    let first = server(directory.path(), port, queue_table);
    tell_apart(&first);
    let both = ["a@one.test", "b@one.test"];
    assert!(submit(&first, (ANNA, ANNA), &both, MESSAGE).starts_with("250"));
    let tried = || queue(&first).iter().all(|(_, row)| row.attempts > 0);
    patiently(tried, || format!("{:?}", reasons(&first)));
    let as_set = |all: Vec<(String, Vec<String>)>| all.into_iter().collect::<BTreeSet<_>>();
    let before = as_set(transactions(&receiver));
    assert_eq!(before.len(), 2, "{before:?}");
    drop(first);
    refuses.store(false, Ordering::SeqCst);
    let second = server(directory.path(), port, queue_table);
    until_sent(&second);
    assert_eq!(receiver.messages().len(), 2);
    assert_eq!(as_set(transactions(&receiver)), before);
    let numbers: BTreeSet<QueueId> = before
        .iter()
        .map(|(mail_from, recipients)| {
            assert_eq!(recipients.len(), 1);
            number(directory.path(), mail_from).unwrap()
        })
        .collect();
    assert_eq!(numbers.len(), 2);
    // Recipients of a message follow each other.
    let numbers: Vec<u64> = numbers.into_iter().map(QueueId::get).collect();
    assert_eq!(numbers[0] + 1, numbers[1]);
}

#[test]
fn who_does_not_ask_for_it_keeps_his_mail_from() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let server = server(directory.path(), port, "");
    tell_apart(&server);
    let both = ["a@one.test", "b@one.test"];
    for envelope in [
        // Another login, an id of his own, an alias, whose reports go to its members, and none.
        ("anna.b@example.test", ANNA),
        (ANNA, "anna+Order-17@example.test"),
        (ANNA, "team@example.test"),
        (ANNA, ""),
    ] {
        let heard = transactions(&receiver).len();
        assert!(submit(&server, envelope, &both, MESSAGE).starts_with("250"));
        until_sent(&server);
        let expected = (envelope.1.to_owned(), both.map(str::to_owned).to_vec());
        let all = transactions(&receiver);
        assert_eq!(all.len(), heard + 1, "{all:?}");
        assert!(all.contains(&expected), "{all:?}");
    }
    // The detail of a login is none of its address.
    let envelope = ("Anna+work@example.test", "anna.b@example.test");
    assert!(submit(&server, envelope, &both[..1], MESSAGE).starts_with("250"));
    until_sent(&server);
    let all = transactions(&receiver);
    let id = |path: &str| {
        let id = path.strip_prefix("anna.b+")?;
        id.strip_suffix("@example.test").map(str::to_owned)
    };
    let id = all.iter().find_map(|(mail_from, _)| id(mail_from));
    let ids = FromIds::open(&directory.path().join("data")).unwrap();
    assert!(ids.decode(&id.unwrap()).is_some(), "{all:?}");
}

#[test]
fn what_a_submitter_says_for_himself_does_not_go_out() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let refuses = Arc::new(AtomicBool::new(true));
    let says = {
        let refuses = refuses.clone();
        move |line: &str| {
            let refuses = refuses.load(Ordering::SeqCst) && line.starts_with("RCPT");
            refuses.then(|| "450 4.2.0 not now".to_owned())
        }
    };
    let receiver = Receiver::start([127, 0, 0, 11], port, None, says);
    let server = server(directory.path(), port, "[queue]\nretry_secs = [\"1s\"]\n");
    let fields = "X-Mox-Extra-order-id: 17\r\nRingmail-Extra-Note: a\r\n b\r\n";
    // One stays in memory, the other goes to a file.
    for lines in [1, 20_000] {
        let body = "twenty octets are in\r\n".repeat(lines);
        let message = format!("{fields}From: anna@example.test\r\nSubject: s\r\n\r\n{body}");
        assert!(submit(&server, (ANNA, ANNA), &["a@one.test"], &message).starts_with("250"));
    }
    let extras = || {
        let mut all = Vec::new();
        for shard in 0..server.server().shards() {
            all.extend(
                messages(&server, shard)
                    .into_iter()
                    .map(|m| m.message.extra),
            );
        }
        all
    };
    let expected = [("Note", "a b"), ("Order-Id", "17")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(extras(), [expected.clone().into(), expected.into()]);
    refuses.store(false, Ordering::SeqCst);
    until_sent(&server);
    let messages = receiver.messages();
    assert_eq!(messages.len(), 2);
    for message in messages {
        assert!(message.contains("\r\nSubject: s\r\n"), "{message:.500}");
        assert!(!message.to_lowercase().contains("extra"), "{message:.500}");
    }
}
