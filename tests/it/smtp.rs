//! What a dialog can't say: what is stored after SMTP, many connections at once, hostile bytes.

use std::io::{Read, Write};
use std::net::TcpStream;

use ringmail::calls::{Answer, Call, ControlAnswer, ControlCall};
use ringmail::settings::Door;

use crate::patience::{found, until};
use crate::server::TestServer;

/// A submission by anna; answers the last reply.
fn submit(server: &TestServer, message: &str) -> String {
    let mut stream = server.connect(Door::Submission);
    talk(&mut stream, b"", "220 ");
    talk(&mut stream, b"EHLO client.example\r\n", "250 ");
    // RFC 4616: anna@example.test with her password.
    let login = b"AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n";
    talk(&mut stream, login, "235 ");
    talk(&mut stream, b"MAIL FROM:<anna@example.test>\r\n", "250 ");
    talk(&mut stream, b"RCPT TO:<dora@example.test>\r\n", "250 ");
    talk(&mut stream, b"DATA\r\n", "354 ");
    talk(
        &mut stream,
        format!("{message}\r\n.\r\n").as_bytes(),
        "\r\n",
    )
}

#[test]
fn an_author_cannot_hide_behind_a_long_header() {
    let server = TestServer::start();
    let anna = "From: anna@example.test\r\n";
    let other = "From: dora@example.test\r\n\r\nhello";
    for filler in [0, 1000, 200_000, 400_000] {
        let fields = "X-Filler: some words that fill a line\r\n".repeat(filler / 39);
        let reply = submit(&server, &format!("{anna}{fields}{other}"));
        assert!(reply.starts_with("554 5.6.0 "), "{filler}: {reply}");
    }
    // What is long is the body, or still looked at as a whole although little of a message stays in memory.
    let body = "words that fill a line\r\n".repeat(12_000);
    let reply = submit(&server, &format!("{anna}\r\n{body}"));
    assert!(reply.starts_with("250 "), "{reply}");
    let mut settings = server.server().live().settings.clone();
    settings.server.storage.body_in_memory_max_bytes = "4KiB".parse().unwrap();
    server.server().reload(settings).unwrap();
    let fields = "X-Filler: some words that fill a line\r\n".repeat(3000);
    let reply = submit(&server, &format!("{fields}{anna}\r\nhello"));
    assert!(reply.starts_with("250 "), "{reply}");
}

#[test]
fn a_header_is_too_long_wherever_the_message_is_held() {
    let server = TestServer::start();
    let deliver = |fields: usize, body: usize| {
        let mut stream = server.connect(Door::Smtp);
        talk(&mut stream, b"", "220 ");
        talk(&mut stream, b"EHLO client.example\r\n", "250 ");
        talk(&mut stream, b"MAIL FROM:<a@example.org>\r\n", "250 ");
        talk(&mut stream, b"RCPT TO:<anna@example.test>\r\n", "250 ");
        talk(&mut stream, b"DATA\r\n", "354 ");
        let fields = "X-Filler: some words that fill a line\r\n".repeat(fields);
        let body = "words that fill a line\r\n".repeat(body);
        talk(
            &mut stream,
            format!("{fields}\r\n{body}.\r\n").as_bytes(),
            "\r\n",
        )
    };
    for in_memory in ["1KiB", "1MiB"] {
        let mut settings = server.server().live().settings.clone();
        settings.server.storage.body_in_memory_max_bytes = in_memory.parse().unwrap();
        server.server().reload(settings).unwrap();
        // 256 KiB are 6721 such lines and some octets.
        let reply = deliver(6730, 10);
        assert!(reply.starts_with("554 5.6.0 "), "{in_memory}: {reply}");
        let reply = deliver(6700, 10);
        assert!(reply.starts_with("250 "), "{in_memory}: {reply}");
    }
}

#[test]
fn unknown_recipients_cost_time_as_configured() {
    let server = TestServer::start();
    let delay = std::time::Duration::from_millis(300);
    let mut settings = server.server().live().settings.clone();
    let limits = &mut settings.server.limits.smtp;
    limits.unknown_recipients_slow_after = 0;
    limits.unknown_recipient_delay_secs = "300ms".parse().unwrap();
    server.server().reload(settings).unwrap();
    let mut stream = server.connect(Door::Smtp);
    talk(&mut stream, b"", "220 ");
    talk(&mut stream, b"EHLO client.example\r\n", "250 ");
    talk(&mut stream, b"MAIL FROM:<a@example.org>\r\n", "250 ");
    let before = std::time::Instant::now();
    talk(&mut stream, b"RCPT TO:<nobody@example.test>\r\n", "550 ");
    assert!(before.elapsed() >= delay);
}

/// Sends and reads until this is there.
pub fn talk(stream: &mut TcpStream, send: &[u8], end: &str) -> String {
    stream.write_all(send).unwrap();
    let mut got = String::new();
    let mut buffer = [0; 4096];
    while !got.contains(end) {
        let read = match stream.read(&mut buffer) {
            // The executors of a server in the same process interrupt system calls of other threads.
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            result => result.unwrap(),
        };
        assert!(read > 0, "closed after: {got}");
        got += &String::from_utf8_lossy(&buffer[..read]);
    }
    got
}

/// (messages, octets) of an account.
pub fn numbers(server: &TestServer, account: &str) -> (u64, u64) {
    let running = server.server();
    let call = Call::Control(Box::new(ControlCall::AccountNumbers(
        account.parse().unwrap(),
    )));
    match running.call(running.owner_of(account), call) {
        Ok(Answer::Control(Ok(ControlAnswer::Numbers {
            messages, octets, ..
        }))) => (messages, octets),
        _ => panic!("no numbers of {account}"),
    }
}

/// The reply to the end of a message; if nobody is left to get it, what the last recipient was refused with.
pub fn send(server: &TestServer, recipients: &[&str], body: &str) -> String {
    send_to(server, recipients, body).1
}

/// The same, with whether each recipient was taken.
fn send_to(server: &TestServer, recipients: &[&str], body: &str) -> (Vec<bool>, String) {
    let mut stream = server.connect(Door::Smtp);
    talk(&mut stream, b"", "220 ");
    talk(&mut stream, b"EHLO client.example\r\n", "250 ");
    let mut envelope = "MAIL FROM:<sender@example.org>\r\n".to_string();
    for recipient in recipients {
        envelope += &format!("RCPT TO:<{recipient}>\r\n");
    }
    let replies = talk(&mut stream, envelope.as_bytes(), "\n");
    assert!(replies.starts_with("250"), "{replies}");
    let mut all = replies;
    while all.lines().count() < recipients.len() + 1 {
        all += &talk(&mut stream, b"", "\n");
    }
    let taken = all.lines().skip(1).map(|line| line.starts_with("250"));
    let taken = taken.collect();
    if !talk(&mut stream, b"DATA\r\n", "\r\n").starts_with("354 ") {
        return (taken, all.lines().last().unwrap().to_string());
    }
    let reply = talk(&mut stream, format!("{body}\r\n.\r\n").as_bytes(), "\r\n");
    talk(&mut stream, b"QUIT\r\n", "221 ");
    (taken, reply)
}

const BODY: &str = "From: sender@example.org\r\nSubject: test\r\n\r\nhello";

#[test]
fn each_account_gets_one_copy_of_a_message_for_several() {
    let server = TestServer::start();
    let reply = send(
        &server,
        &[
            "anna@example.test",
            "all@example.test",
            "anna+x@example.test",
            "carl@example.test",
        ],
        BODY,
    );
    assert!(reply.starts_with("250"), "{reply}");
    until(|| {
        ["anna", "bert", "carl"]
            .iter()
            .all(|name| numbers(&server, name).0 >= 1)
    });
    // A fan-out that delivers twice would show a little later.
    std::thread::sleep(std::time::Duration::from_millis(200));
    for name in ["anna", "bert", "carl"] {
        assert_eq!(numbers(&server, name).0, 1, "{name}");
    }
}

#[test]
fn what_was_accepted_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::on(directory.path(), "");
    for _ in 0..20 {
        assert!(send(&server, &["anna@example.test"], BODY).starts_with("250"));
    }
    assert!(send(&server, &["anna@example.test", "bert@example.test"], BODY).starts_with("250"));
    let before = numbers(&server, "anna");
    drop(server);
    let server = TestServer::on(directory.path(), "");
    until(|| numbers(&server, "anna").0 == 21 && numbers(&server, "bert").0 == 1);
    assert!(numbers(&server, "anna").1 >= before.1);
}

#[test]
fn a_message_over_the_quota_is_refused_and_one_that_fits_is_not() {
    let server = TestServer::start();
    let large = format!("{BODY}\r\n{}", "x".repeat(70).repeat(5_000));
    let lines: String = large
        .as_bytes()
        .chunks(900)
        .map(|c| String::from_utf8_lossy(c).into_owned() + "\r\n")
        .collect();
    let body = format!("Subject: large\r\n\r\n{lines}");
    assert!(send(&server, &["bert@example.test"], &body).starts_with("452 4.2.2"));
    assert!(send(&server, &["bert@example.test"], BODY).starts_with("250"));
    assert_eq!(numbers(&server, "bert").0, 1);
}

#[test]
fn the_quota_holds_for_messages_to_several() {
    let server = TestServer::start();
    let mut settings = server.server().live().settings.clone();
    settings.server.quota_bytes = Some("300KiB".parse().unwrap());
    server.server().reload(settings).unwrap();
    let line = format!("{}\r\n", "z".repeat(98));
    let body = format!("Subject: large\r\n\r\n{}", line.repeat(2_000));
    let both = ["anna@example.test", "dora@example.test"];
    assert!(send(&server, &both, &body).starts_with("250"));
    until(|| numbers(&server, "anna").0 == 1 && numbers(&server, "dora").0 == 1);
    // The size is not declared, so RCPT is answered with 250; at the end none of them has room.
    let refused = send(&server, &both, &body);
    assert!(refused.starts_with("452 4.2.2"), "{refused}");
    // One has room: the message was accepted for both, and is delivered to both.
    let one_has = ["anna@example.test", "carl@example.test"];
    assert!(send(&server, &one_has, &body).starts_with("250"));
    until(|| numbers(&server, "anna").0 == 2 && numbers(&server, "carl").0 == 1);
    // From now on anna has no room for anything.
    let mut stream = with_sender(&server);
    talk(&mut stream, b"RCPT TO:<carl@example.test>\r\n", "250 ");
    talk(&mut stream, b"RCPT TO:<anna@example.test>\r\n", "452 4.2.2");
    assert_eq!(numbers(&server, "dora").0, 1);
}

#[test]
fn messages_to_several_that_come_at_once_do_not_share_the_same_room() {
    let server = TestServer::start();
    let quota = 300 << 10;
    let mut settings = server.server().live().settings.clone();
    settings.server.quota_bytes = Some("300KiB".parse().unwrap());
    server.server().reload(settings).unwrap();
    let line = format!("{}\r\n", "z".repeat(98));
    let body = format!("Subject: large\r\n\r\n{}", line.repeat(990));
    let both = ["anna@example.test", "dora@example.test"];
    let mut answers: Vec<(Vec<bool>, String)> = std::thread::scope(|scope| {
        let one = || send_to(&server, &both, &body);
        let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let is_known = |said: &str| said.starts_with("250") || said.starts_with("452 4.2.2");
    assert!(answers.iter().all(|(_, said)| is_known(said)));
    answers.retain(|(_, said)| said.starts_with("250"));
    assert!(!answers.is_empty());
    // Where RCPT has refused one of them, a message was for the other alone. All that was accepted comes.
    for (at, name) in ["anna", "dora"].into_iter().enumerate() {
        let accepted = answers.iter().filter(|(taken, _)| taken[at]).count() as u64;
        until(|| numbers(&server, name).0 >= accepted);
        // One message may be too much: for who has room when the other has all but none.
        let (messages, octets) = numbers(&server, name);
        assert!(
            (1..=4).contains(&messages) && octets < quota + 100_000,
            "{name}: {octets}"
        );
    }
    let large = body.repeat(4);
    let single = send(&server, &["anna@example.test"], &large);
    assert!(single.starts_with("452 4.2.2"), "{single}");
}

#[test]
fn who_has_no_quota_opens_no_way_past_that_of_others() {
    let server = TestServer::start();
    let line = format!("{}\r\n", "z".repeat(98));
    let body = format!("Subject: large\r\n\r\n{}", line.repeat(1_400));
    // bert may have 300,000 octets.
    let both = ["bert@example.test", "dora@example.test"];
    let answers: Vec<String> = std::thread::scope(|scope| {
        let one = || send(&server, &both, &body);
        let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    // Where RCPT has refused bert, it was for dora alone.
    let accepted = answers.iter().filter(|a| a.starts_with("250")).count() as u64;
    let refused = answers
        .iter()
        .filter(|a| a.starts_with("452 4.2.2"))
        .count() as u64;
    assert_eq!(accepted + refused, 8, "{answers:?}");
    until(|| numbers(&server, "dora").0 == accepted && numbers(&server, "bert").0 > 0);
    std::thread::sleep(std::time::Duration::from_millis(300));
    // Past it by less than one message.
    let (messages, octets) = numbers(&server, "bert");
    assert!((1..=3).contains(&messages), "{messages}");
    assert!(octets < 300_000 + 141_000, "{octets}");
}

#[test]
fn large_messages_go_through_the_spool_and_leave_nothing_there() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::on(directory.path(), "");
    let line = format!("{}\r\n", "y".repeat(76));
    let body = format!("Subject: large\r\n\r\n{}", line.repeat(40_000));
    assert!(send(&server, &["anna@example.test"], &body).starts_with("250"));
    assert!(send(&server, &["anna@example.test", "carl@example.test"], &body).starts_with("250"));
    until(|| numbers(&server, "carl").0 == 1 && numbers(&server, "anna").0 == 2);
    assert!(numbers(&server, "anna").1 > 6_000_000);
    let spool = directory.path().join("data/spool");
    until(|| std::fs::read_dir(&spool).unwrap().count() == 0);
}

/// A connection on which a message has begun.
fn with_sender(server: &TestServer) -> TcpStream {
    let mut stream = server.connect(Door::Smtp);
    talk(&mut stream, b"", "220 ");
    talk(&mut stream, b"EHLO client.example\r\n", "250 ");
    talk(&mut stream, b"MAIL FROM:<a@example.org>\r\n", "250 ");
    stream
}

#[test]
fn a_full_disk_takes_nothing_from_messages_on_their_way_in() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::on(directory.path(), "");
    // As if the disk had filled since the shards looked at it last.
    let mut settings = server.server().live().settings.clone();
    settings.server.storage.disk_reserve_bytes = "100000TiB".parse().unwrap();
    server.server().reload(settings).unwrap();
    let mut stream = with_sender(&server);
    talk(&mut stream, b"RCPT TO:<anna@example.test>\r\n", "250 ");
    talk(&mut stream, b"DATA\r\n", "354 ");
    stream
        .write_all("y\r\n".repeat(1 << 19).as_bytes())
        .unwrap();
    let spool = directory.path().join("data/spool");
    for _ in 0..30 {
        assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    talk(&mut stream, b".\r\n", "452 ");
}

#[test]
fn a_full_disk_is_told_before_a_message_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::on_a_full_disk(directory.path());
    let mut stream = server.connect(Door::Smtp);
    talk(&mut stream, b"", "220 ");
    talk(&mut stream, b"EHLO client.example\r\n", "250 ");
    talk(&mut stream, b"MAIL FROM:<a@example.org>\r\n", "452 4.3.1 ");
    talk(&mut stream, b"NOOP\r\n", "250 ");
}

#[test]
fn random_bytes_get_an_answer_or_a_close_and_harm_nobody() {
    let server = TestServer::start();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for door in [Door::Smtp, Door::Submission, Door::Imap] {
        for _ in 0..20 {
            let mut bytes = Vec::new();
            for _ in 0..500 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.push(state as u8);
            }
            let mut stream = server.connect(door);
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
        }
    }
    assert!(send(&server, &["anna@example.test"], BODY).starts_with("250"));
}

#[test]
fn submitted_mail_for_elsewhere_is_in_the_queue_before_the_250() {
    let server = TestServer::start();
    let mut stream = server.connect(Door::Submission);
    talk(&mut stream, b"", "220 ");
    talk(&mut stream, b"EHLO x\r\n", "250 ");
    // \0anna@example.test\0anna-password
    talk(
        &mut stream,
        b"AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n",
        "235 ",
    );
    talk(&mut stream, b"MAIL FROM:<anna@example.test>\r\n", "250 ");
    talk(
        &mut stream,
        b"RCPT TO:<someone@elsewhere.example>\r\n",
        "250 ",
    );
    talk(&mut stream, b"RCPT TO:<bert@example.test>\r\n", "250 ");
    talk(&mut stream, b"DATA\r\n", "354 ");
    talk(
        &mut stream,
        b"From: anna@example.test\r\nSubject: out\r\n\r\nhello\r\n.\r\n",
        "250 ",
    );
    let running = server.server();
    let queued: usize = (0..running.shards())
        .map(|shard| {
            let call = Call::Control(Box::new(ControlCall::Queue {
                filter: Box::default(),
                shard,
                after: None,
                most: ringmail::queue::Most::entries(100),
            }));
            match running.call(running.owner_of_shard(shard), call) {
                Ok(Answer::Control(Ok(ControlAnswer::Queue(messages, None)))) => {
                    for stored in &messages {
                        let message = &stored.0.message;
                        assert_eq!(message.recipients[0].address, "someone@elsewhere.example");
                        assert_eq!(message.recipients.len(), 1);
                        assert_eq!(message.reverse_path, "anna@example.test");
                        assert!(message.message_id.ends_with('>'), "{}", message.message_id);
                    }
                    messages.len()
                }
                _ => panic!("no queue"),
            }
        })
        .sum();
    assert_eq!(queued, 1);
    until(|| numbers(&server, "bert").0 == 1);
}

#[test]
fn commands_are_timed_by_code() {
    let server = TestServer::start();
    assert!(send(&server, &["anna@example.test"], BODY).starts_with("250"));
    // An answer may be there before it is counted.
    for (command, code) in [
        ("EHLO", 250),
        ("RCPT", 250),
        ("DATA", 354),
        ("(message)", 250),
    ] {
        let expected = format!(
            "ringmail_smtp_command_duration_seconds_count{{kind=\"smtp\",cmd=\"{command}\",code=\"{code}\"}} 1\n"
        );
        let metrics = || crate::logins::metrics(&server);
        found(metrics, |text| text.contains(&expected));
    }
}
