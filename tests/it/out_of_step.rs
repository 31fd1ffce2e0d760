//! Servers that say more or less than they were asked: no message is lost or refused for it. RFC 5321 4.3.2.

use std::sync::atomic::{AtomicUsize, Ordering};

use ringmail::queue::rows::State;

use crate::outbound::{free_port, kick_all, queue, server, submit};
use crate::patience::patiently;
use crate::receiver::Receiver;

/// Says something else to the first command that begins so.
fn once(to: &'static str, says: &'static str) -> impl Fn(&str) -> Option<String> + Send + Sync {
    let count = AtomicUsize::new(0);
    move |line: &str| {
        let is_it = line.starts_with(to);
        (is_it && count.fetch_add(1, Ordering::SeqCst) == 0).then(|| says.to_owned())
    }
}

#[test]
fn a_reply_too_many_delivers_nothing() {
    for (to, says, why) in [
        ("DATA", "250 2.0.0 taken", "250 in answer to DATA"),
        ("RCPT", "250 fine\r\n250 again", "250 in answer to DATA"),
        ("MAIL", "250 fine\r\n250 again", "250 in answer to DATA"),
        ("MAIL", "550 5.7.1 no", "250 in answer to RCPT"),
        (
            "DATA",
            "354 go ahead\r\n250 2.0.0 got it already",
            "speaks out of turn: 250 2.0.0 got it already",
        ),
        ("DATA", "354 go ahead\r\n25", "speaks out of turn"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let receiver = Receiver::start([127, 0, 0, 11], port, None, once(to, says));
        let server = server(directory.path(), port, "");
        assert!(submit(&server, &["a@one.test"], "once").starts_with("250"));
        let state = || format!("{to} {says}: {:?}", queue(&server));
        let is_tried = || {
            matches!(&queue(&server)[..], [(_, row)] if row.attempts == 1
                && row.state == State::Waiting
                && row.history[0].text.contains(why))
        };
        patiently(is_tried, state);
        assert!(receiver.messages().is_empty());
        kick_all(&server);
        patiently(|| queue(&server).is_empty(), state);
        assert_eq!(receiver.messages().len(), 1, "{to} {says}");
    }
}

#[test]
fn a_reply_to_nothing_is_not_the_next_messages() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let stray = "250 2.0.0 taken\r\n550 5.1.1 nobody here";
    let receiver = Receiver::start([127, 0, 0, 11], port, None, once(".", stray));
    let server = server(directory.path(), port, "");
    for n in 0..5 {
        assert!(submit(&server, &["a@one.test"], &format!("s{n}")).starts_with("250"));
    }
    let state = || format!("{:?}", queue(&server));
    patiently(|| queue(&server).is_empty(), state);
    assert_eq!(receiver.messages().len(), 5);
}

#[test]
fn a_refusal_before_the_end_of_a_message_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let early = "354 go ahead\r\n554 5.6.0 not this";
    let receiver = Receiver::start([127, 0, 0, 11], port, None, once("DATA", early));
    let server = server(directory.path(), port, "");
    let mut commands = 0;
    for subject in ["no", "yes"] {
        assert!(submit(&server, &["a@one.test"], subject).starts_with("250"));
        patiently(|| queue(&server).is_empty(), || "it waits".into());
        commands += 1;
        let said = receiver.commands();
        let data = said.iter().filter(|c| c.starts_with("DATA"));
        // It was not tried again.
        assert_eq!(data.count(), commands);
    }
    let messages = receiver.messages();
    assert!(messages.len() == 1 && messages[0].contains("Subject: yes"));
    // Nothing else could be said on the first.
    assert_eq!(receiver.connections(), 2);
}
