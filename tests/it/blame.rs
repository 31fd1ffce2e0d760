//! Whom a refusal is about: what a server says to something else than a recipient says nothing of its address.

use ringmail::queue::rows::AttemptStage;

use crate::outbound::{by_our_own, free_port, queue, server, submit};
use crate::patience::until;
use crate::receiver::Receiver;
use crate::smtp::numbers;

/// A receiver of `one.test` that refuses senders, one of `alone.test` that refuses messages, and one of the literal 127.0.0.14 that refuses recipients.
fn refusing(port: u16, code: &'static str) -> [Receiver; 3] {
    let says = move |to: &'static str| {
        move |line: &str| match line {
            // RFC 5321 4.1.4: out of order.
            line if to == "MAIL" && line.starts_with("RCPT") => Some("503 5.5.1 MAIL first".into()),
            line => line.starts_with(to).then(|| format!("{code} not you")),
        }
    };
    let start = |last, to| Receiver::start([127, 0, 0, last], port, None, says(to));
    // Of what comes behind DATA the receiver is shown a dot and the text.
    [(11, "MAIL"), (12, "."), (14, "RCPT")].map(|(last, to)| start(last, to))
}

fn count(receiver: &Receiver, verb: &str) -> usize {
    let commands = receiver.commands();
    commands.iter().filter(|c| c.starts_with(verb)).count()
}

#[test]
fn only_who_is_refused_as_a_recipient_is_suppressed() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let [senders, messages, recipients] = refusing(port, "550");
    let server = server(directory.path(), port, "");
    let to = ["a@one.test", "b@alone.test", "c@[127.0.0.14]"];
    for round in 1..=4 {
        for recipient in to {
            let said = submit(&server, &[recipient], "m");
            assert!(said.starts_with("250"), "{said}");
        }
        // One report each time: of those who refuse, or of the list.
        until(|| numbers(&server, "anna").0 == 3 * round);
        until(|| queue(&server).is_empty());
    }
    assert_eq!(count(&senders, "MAIL"), 4);
    assert_eq!(count(&messages, "DATA"), 4);
    assert_eq!(count(&recipients, "RCPT"), 1);
}

#[test]
fn an_attempt_says_to_what_the_server_answered() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let _receivers = refusing(port, "451");
    let server = server(directory.path(), port, "");
    let to = [
        "a@one.test",
        "b@alone.test",
        "c@alone.test",
        "d@[127.0.0.14]",
    ];
    let said = submit(&server, &to, "m");
    assert!(said.starts_with("250"), "{said}");
    let said = submit(&server, &["e@alone.test"], "m");
    assert!(said.starts_with("250"), "{said}");
    until(|| queue(&server).iter().all(|(_, row)| row.attempts > 0));
    let stages: Vec<_> = queue(&server)
        .into_iter()
        .map(|(address, row)| (address, row.history[0].stage))
        .collect();
    let expected = [
        ("a@one.test", AttemptStage::Mail),
        ("b@alone.test", AttemptStage::SharedData),
        ("c@alone.test", AttemptStage::SharedData),
        ("d@[127.0.0.14]", AttemptStage::Recipient),
        ("e@alone.test", AttemptStage::Data),
    ];
    let expected = expected.map(|(address, stage)| (address.to_owned(), Some(stage)));
    assert_eq!(stages, expected);
}

/// The listener that answers has the same hostname, so it may be our own, whatever name we send under.
#[test]
fn a_smarthost_that_answers_with_our_hostname_is_a_loop() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, smarthost) = by_our_own(first.path(), second.path(), "mail.example.test");
    assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
    until(|| queue(&server).iter().any(|(_, row)| row.attempts > 0));
    let attempt = queue(&server)[0].1.history[0].clone();
    assert!(attempt.text.contains("our own server"), "{attempt:?}");
    assert!(queue(&smarthost).is_empty());
}
