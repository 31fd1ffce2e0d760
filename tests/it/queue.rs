//! The queue, as `localserve` shows it: mail for elsewhere comes back to its sender, with the failures that addresses ask for; and a kill at
//! each step neither loses nor doubles anything.

use std::io::{BufReader, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::crash::{command, reply};
use crate::filled::{assert_checked, imap, stop};
use crate::patience::found;
use crate::program::{Localserve, ringmail};

/// Submits a message as `ringmail`; answers the reply to its end. An error: the connection broke.
pub fn submit(server: &Localserve, recipients: &[&str], subject: &str) -> std::io::Result<String> {
    let mut talk = BufReader::new(server.connect(587));
    reply(&mut talk)?;
    command(&mut talk, "EHLO client.example\r\n")?;
    // RFC 4616: ringmail@localhost, ringmailringmail.
    let plain = "AUTH PLAIN AHJpbmdtYWlsQGxvY2FsaG9zdAByaW5nbWFpbHJpbmdtYWls\r\n";
    assert!(command(&mut talk, plain)?.starts_with("235"));
    let mut said = command(&mut talk, "MAIL FROM:<ringmail@localhost>\r\n")?;
    for recipient in recipients {
        if said.starts_with("250") {
            said = command(&mut talk, &format!("RCPT TO:<{recipient}>\r\n"))?;
        }
    }
    if !said.starts_with("250") {
        return Ok(said);
    }
    command(&mut talk, "DATA\r\n")?;
    let id = subject.split("\r\n").next().unwrap_or_default();
    talk.get_mut().write_all(
        format!("From: ringmail@localhost\r\nMessage-ID: <{id}@x.example>\r\nSubject: {subject}\r\n\r\nhello\r\n.\r\n").as_bytes(),
    )?;
    reply(&mut talk)
}

/// Subjects in the INBOX, sorted.
pub fn inbox(server: &Localserve) -> Vec<String> {
    let commands = [
        "EXAMINE INBOX",
        "FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]",
    ];
    let said = imap(server, "ringmail", "ringmailringmail", &commands);
    let lines = said[1].lines().filter_map(|l| l.strip_prefix("Subject: "));
    let mut subjects: Vec<String> = lines.map(|l| l.trim().to_string()).collect();
    subjects.sort();
    subjects
}

#[track_caller]
pub fn wait_for_inbox(server: &Localserve, expected: &[&str]) {
    found(|| inbox(server), |found| found == expected);
}

fn queue(dir: &Path) -> Vec<Value> {
    let ran = ringmail(&["queue", "list", "--json", "--dir", dir.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines = ran.out.lines();
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[track_caller]
pub fn wait_for_queue(dir: &Path, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    found(|| queue(dir), |found| done(found))
}

/// A command about the queue; answers what it printed.
fn queue_does(dir: &Path, arguments: &[&str]) -> String {
    let ran = ringmail(&[&["queue"], arguments, &["--dir", dir.to_str().unwrap()]].concat());
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    ran.out
}

/// A field of each recipient, by its address.
fn field(dir: &Path, recipient: &str, name: &str) -> Value {
    let queue = queue(dir);
    let found = queue.iter().find(|r| r["recipient"] == recipient);
    found.unwrap_or_else(|| panic!("{recipient}: {queue:?}"))[name].clone()
}

pub const FAILED: &str = "Mail could not be delivered to queue-permerror@c.example";

#[test]
fn mail_for_elsewhere_comes_back_and_what_fails_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    assert!(
        submit(&server, &["a@a.example", "b@b.example"], "two")
            .unwrap()
            .starts_with("250")
    );
    assert!(
        submit(&server, &["queue-permerror@c.example"], "never")
            .unwrap()
            .starts_with("250")
    );
    assert!(
        submit(&server, &["queue451@d.example", "d@d.example"], "later")
            .unwrap()
            .starts_with("250")
    );
    wait_for_inbox(&server, &[FAILED, "later", "two", "two"]);
    // The first message goes when what became of it is told.
    let left = wait_for_queue(dir.path(), |q| {
        q.len() == 2 && q[0]["attempts"] == 1 && q[1]["state"] == "delivered"
    });
    // The one that was delivered is told until the message is over.
    let states: Vec<_> = left
        .iter()
        .map(|r| (r["recipient"].as_str(), r["state"].as_str()))
        .collect();
    let expected = [
        (Some("queue451@d.example"), Some("waiting")),
        (Some("d@d.example"), Some("delivered")),
    ];
    assert_eq!(states, expected);
    let waits = &left[0];
    let (tried, next) = (&waits["history"][0], waits["next"].as_i64().unwrap());
    let pause = next - tried["at"].as_i64().unwrap();
    assert!((270..=340).contains(&pause), "{waits}");
    assert_eq!(tried["code"], 451);
    assert_eq!(waits["message_id"], "<later@x.example>");
    // The number of the second is the next one's.
    assert_eq!(
        left[1]["id"].as_u64().unwrap(),
        waits["id"].as_u64().unwrap() + 1
    );
    // At the door.
    for (recipient, code) in [
        ("rcptto451@e.example", "451 4.0.0"),
        ("permerror@e.example", "550 5.0.0"),
        ("x599@e.example", "599 5.0.0"),
    ] {
        let said = submit(&server, &[recipient], "refused").unwrap();
        assert!(said.starts_with(code), "{recipient}: {said}");
    }
    // Who has an address gets his mail.
    let said = submit(&server, &["ringmail+550@localhost"], "in earnest").unwrap();
    assert!(said.starts_with("250"), "{said}");
    stop(server);

    // It waits for its time in the next run too.
    let server = Localserve::start(dir.path(), &[]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(queue(dir.path())[0]["attempts"], 1);
    assert_eq!(
        inbox(&server),
        [FAILED, "in earnest", "later", "two", "two"]
    );
    stop(server);
    assert_checked(dir.path());
}

#[test]
fn a_report_says_what_happened_and_returns_the_message() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    assert!(
        submit(&server, &["queue-permerror@c.example"], "never")
            .unwrap()
            .starts_with("250")
    );
    wait_for_inbox(&server, &[FAILED]);
    let report = &imap(
        &server,
        "ringmail",
        "ringmailringmail",
        &["EXAMINE INBOX", "FETCH 1 BODY.PEEK[]"],
    )[1];
    for line in [
        "Return-Path: <>",
        "Auto-Submitted: auto-replied",
        "Content-Type: multipart/report; report-type=delivery-status;",
        "References: <never@x.example>",
        "Final-Recipient: rfc822; queue-permerror@c.example",
        "Action: failed",
        "Status: 5.0.0",
        "Diagnostic-Code: smtp; 550 simulated failure",
        "Subject: never",
        "hello",
    ] {
        assert!(report.lines().any(|l| l == line), "{line}: {report}");
    }
}

/// Kills the server at a point on the way of a message, starts it again, and finds each thing once.
#[test]
fn a_kill_at_each_step_neither_loses_nor_doubles() {
    for (point, recipients, expected) in [
        (
            "fanout.committed",
            &["a@a.example", "b@b.example"][..],
            &["m", "m"][..],
        ),
        (
            "outbound.attempted",
            &["a@a.example", "b@b.example"],
            &["m", "m"],
        ),
        (
            "outbound.recorded",
            &["a@a.example", "b@b.example"],
            &["m", "m"],
        ),
        (
            "outbound.attempted",
            &["queue-permerror@c.example"],
            &[FAILED],
        ),
        (
            "outbound.recorded",
            &["queue-permerror@c.example"],
            &[FAILED],
        ),
        ("outbound.told", &["queue-permerror@c.example"], &[FAILED]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Localserve::with_faults(dir.path(), &[], &format!("{point}=kill"));
        // Before or after the 250: all of these points lie behind the commit.
        let _ = submit(&server, recipients, "m");
        assert_ne!(server.ended(), 0, "{point}");
        let server = Localserve::start(dir.path(), &[]);
        wait_for_inbox(&server, expected);
        wait_for_queue(dir.path(), <[Value]>::is_empty);
        // Nothing comes late.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(inbox(&server), expected, "{point}");
        stop(server);
        assert_checked(dir.path());
    }
}

#[test]
fn a_sender_who_cannot_be_told_now_is_told_later_without_a_restart() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hold = other.path().join("hold");
    std::fs::write(&hold, "").unwrap();
    let fault = format!("outbound.tell=fail:{}", hold.display());
    let server = Localserve::with_faults(dir.path(), &[], &fault);
    let said = submit(&server, &["queue-permerror@c.example"], "never").unwrap();
    assert!(said.starts_with("250"), "{said}");
    wait_for_queue(dir.path(), |q| q.len() == 1 && q[0]["state"] == "failed");
    // By then it was tried again, in vain.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(inbox(&server), [""; 0]);
    std::fs::remove_file(&hold).unwrap();
    wait_for_inbox(&server, &[FAILED]);
    wait_for_queue(dir.path(), <[Value]>::is_empty);
    stop(server);
    assert_checked(dir.path());
}

/// Some mail that is tried once and then waits.
fn with_waiting(dir: &Path) -> Localserve {
    let server = Localserve::start(dir, &[]);
    let recipients = ["queue451@a.example", "queue451@b.example"];
    assert!(
        submit(&server, &recipients, "m")
            .unwrap()
            .starts_with("250")
    );
    wait_for_queue(dir, |q| {
        q.len() == 2 && q.iter().all(|r| r["attempts"] == 1)
    });
    server
}

#[test]
fn what_operators_do_is_in_force_and_stays_so_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = with_waiting(dir);
    let usage = ringmail(&["queue", "drop", "--dir", dir.to_str().unwrap()]);
    assert_eq!(usage.code, 2);
    assert!(usage.err.contains("or --all"), "{}", usage.err);

    let gone = ringmail(&["queue", "fail", "4711", "--dir", dir.to_str().unwrap()]);
    assert_eq!(gone.code, 1);
    let said = "no recipient in the queue has such a number";
    assert!(gone.err.contains(said), "{}", gone.err);

    let held = queue_does(dir, &["hold", "--domain", "A.example", "--why", "spam?"]);
    assert_eq!(held, "1 recipient was held.\n");
    assert_eq!(
        field(dir, "queue451@a.example", "reason"),
        "held by hand: spam?"
    );
    assert_eq!(
        queue_does(dir, &["hold", "--to", "@a.example"]),
        "No recipient was changed.\n"
    );
    // The held one is not tried; the other is.
    assert_eq!(
        queue_does(dir, &["kick", "--all"]),
        "1 recipient was put to now.\n"
    );
    wait_for_queue(dir, |q| q[1]["attempts"] == 2);
    let words = ["queue", "transport", "backup", "--from", "RINGMAIL@"];
    let refused = ringmail(&[&words[..], &["--dir", dir.to_str().unwrap()]].concat());
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("have none"), "{}", refused.err);
    queue_does(dir, &["requiretls", "yes", "--attempts-min", "2"]);
    queue_does(dir, &["schedule", "2h", "--state", "waiting"]);
    queue_does(
        dir,
        &["schedule", "30m", "--shift", "--domain", "b.example"],
    );
    let said = server.get("/metrics").2;
    for line in [
        "ringmail_queue_recipients{state=\"held\"} 1",
        "ringmail_queue_recipients{state=\"waiting\"} 1",
        "ringmail_queue_paused{what=\"line\"} 0",
    ] {
        assert!(said.lines().any(|l| l == line), "{line}: {said}");
    }
    let before = queue(dir);
    drop(server);

    let server = Localserve::start(dir, &[]);
    let after = queue(dir);
    assert_eq!(after, before);
    assert_eq!(after[0]["state"], "held");
    assert_eq!(after[0]["require_tls"], Value::Null);
    assert_eq!(after[1]["require_tls"], true);
    let wait = after[1]["next"].as_i64().unwrap() - after[1]["accepted"].as_i64().unwrap();
    assert!((9_000..9_200).contains(&wait), "{wait}");

    // Released, it is tried at its time; then both are.
    assert_eq!(
        queue_does(dir, &["release", "--all"]),
        "1 recipient was released.\n"
    );
    queue_does(dir, &["kick", "--transport", "-"]);
    wait_for_queue(dir, |q| q[0]["attempts"] == 2 && q[1]["attempts"] == 3);
    let id = after[0]["id"].to_string();
    let message = queue_does(dir, &["dump", &id]);
    assert!(message.contains("\r\nReceived: "), "{message}");
    assert!(
        message.ends_with("Subject: m\r\n\r\nhello\r\n"),
        "{message}"
    );

    // Given up and dropped; the sender hears of the one, and nothing is left.
    queue_does(dir, &["fail", &id, "--why", "nobody reads it"]);
    assert_eq!(
        queue_does(dir, &["drop", "--domain", "b.example"]),
        "1 recipient was dropped.\n"
    );
    wait_for_inbox(
        &server,
        &["Mail could not be delivered to queue451@a.example"],
    );
    wait_for_queue(dir, <[Value]>::is_empty);
    let report = &imap(
        &server,
        "ringmail",
        "ringmailringmail",
        &["EXAMINE INBOX", "FETCH 1 BODY.PEEK[]"],
    )[1];
    for text in ["given up by hand: nobody reads it", "Status: 5.0.0"] {
        assert!(report.contains(text), "{text}: {report}");
    }
    assert!(!report.contains("queue451@b.example"), "{report}");
    stop(server);
    assert_checked(dir);
}

#[test]
fn what_is_said_of_attempts_holds_after_a_kill_too() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = with_waiting(dir);
    let (a, b) = ("queue451@a.example", "queue451@b.example");
    for (arguments, said) in [
        (&["retries", "--all"][..], "say what is changed"),
        (&["retries", "--all", "--schedule", "soon"], "no schedule"),
        (&["retries", "--all", "--max-attempts", "-1"], "no number"),
    ] {
        let words = [&["queue"], arguments, &["--dir", dir.to_str().unwrap()]].concat();
        let usage = ringmail(&words);
        assert!(usage.code == 2 && usage.err.contains(said), "{}", usage.err);
    }
    let expires = field(dir, a, "expires");
    let only_a = ["--domain", "a.example"];
    let change = ["retries", "--max-attempts", "2", "--schedule", "1m,1h"];
    let said = queue_does(dir, &[&change[..], &only_a].concat());
    assert_eq!(said, "1 recipient was changed.\n");
    let later = ["retries", "--expires", "10d", "--domain", "b.example"];
    queue_does(dir, &later);
    let before = queue(dir);
    drop(server);

    let server = Localserve::start(dir, &[]);
    assert_eq!(queue(dir), before);
    assert_eq!(before[0]["attempts_max"], 2);
    assert_eq!(before[0]["schedule"], serde_json::json!([60, 3600]));
    assert_eq!(before[0]["expires"], expires);
    assert_eq!(before[1]["attempts_max"], Value::Null);
    let life = before[1]["expires"].as_i64().unwrap() - before[1]["accepted"].as_i64().unwrap();
    assert!((864_000..864_100).contains(&life), "{life}");
    let text = queue_does(dir, &["list"]);
    let words = "1 attempt so far, given up ";
    assert!(
        text.contains(words) && text.contains(", at most 2 of them, tried again after 1m,1h"),
        "{text}"
    );
    queue_does(dir, &["retries", "--expires", "default", "--all"]);
    assert_eq!(field(dir, b, "expires"), expires);

    // The second attempt is the last of the one, and a step on the way of the other.
    queue_does(dir, &["kick", "--all"]);
    let told = |who: &str| format!("Mail could not be delivered to {who}");
    wait_for_inbox(&server, &[&told(a)]);
    wait_for_queue(dir, |q| q[1]["attempts"] == 2);
    assert_eq!(field(dir, a, "state"), "failed");
    assert_eq!(field(dir, b, "state"), "waiting");
    // Its time is over.
    queue_does(
        dir,
        &["retries", "--expires", "now", "--domain", "b.example"],
    );
    wait_for_inbox(&server, &[&told(a), &told(b)]);
    wait_for_queue(dir, <[Value]>::is_empty);
    stop(server);
    assert_checked(dir);
}

#[test]
fn a_stopped_directory_takes_operations_too() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    stop(with_waiting(dir));
    queue_does(dir, &["kick", "--domain", "a.example"]);
    let why = field(dir, "queue451@a.example", "reason");
    let why = why.as_str().unwrap_or_default();
    let stopped = "the server is not running; the last attempt, ";
    assert!(why.starts_with(stopped), "{why}");
    queue_does(dir, &["hold", "--domain", "a.example"]);
    queue_does(dir, &["fail", "--domain", "b.example"]);
    assert_eq!(field(dir, "queue451@a.example", "state"), "held");
    let why = field(dir, "queue451@b.example", "reason");
    assert_eq!(why, "given up: by hand; its sender has still to be told");
    let server = Localserve::start(dir, &[]);
    wait_for_inbox(
        &server,
        &["Mail could not be delivered to queue451@b.example"],
    );
    assert_eq!(field(dir, "queue451@a.example", "attempts"), 1);
    queue_does(dir, &["drop", "--all"]);
    wait_for_queue(dir, <[Value]>::is_empty);
    stop(server);
    assert_checked(dir);
}

/// An attempt that never ends, an operation meanwhile, and a kill: the operation is in force.
#[test]
fn what_operators_do_during_an_attempt_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    let recipients = ["queuetimeout@a.example", "queuetimeout@b.example"];
    for recipient in recipients {
        assert!(
            submit(&server, &[recipient], "m")
                .unwrap()
                .starts_with("250")
        );
    }
    let under_way = "an attempt is under way: waits for a simulated server that says nothing";
    wait_for_queue(dir, |q| q.iter().all(|r| r["reason"] == under_way));
    queue_does(dir, &["hold", "--domain", "a.example"]);
    queue_does(dir, &["drop", "--domain", "b.example"]);
    let why = field(dir, recipients[0], "reason");
    assert_eq!(why, format!("held by hand; {under_way}"));
    // Its message is there until nobody reads it any more.
    let why = field(dir, recipients[1], "reason");
    assert_eq!(why, format!("dropped by hand; {under_way}"));
    drop(server);
    let server = Localserve::start(dir, &[]);
    let left = wait_for_queue(dir, |q| q.len() == 1);
    assert_eq!(left[0]["recipient"], recipients[0]);
    assert_eq!(left[0]["reason"], "held by hand");
    assert_eq!(left[0]["attempts"], 0);
    queue_does(dir, &["drop", "--all"]);
    wait_for_queue(dir, <[Value]>::is_empty);
    stop(server);
    assert_checked(dir);
}

#[test]
fn servers_that_say_nothing_hold_up_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    let stalled: Vec<String> = (0..20)
        .map(|n| format!("queue-{n}-timeout@a.example"))
        .collect();
    for recipient in &stalled {
        let said = submit(&server, &[recipient, "x@a.example"], "beside").unwrap();
        assert!(said.starts_with("250"), "{said}");
    }
    let said = submit(&server, &["x@a.example"], "behind").unwrap();
    assert!(said.starts_with("250"), "{said}");
    wait_for_inbox(&server, &[&["behind"][..], &["beside"; 20]].concat());
    let waits = |r: &Value| {
        let why = r["reason"].as_str().unwrap_or_default();
        r["state"] == "delivered" || why.contains("that says nothing")
    };
    wait_for_queue(dir, |q| q.len() == 40 && q.iter().all(waits));
    // A stop waits for none of them.
    stop(server);
    assert_checked(dir);
}

#[test]
fn hold_rules_hold_new_mail_and_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = with_waiting(dir);
    let rules = |arguments: &[&str]| queue_does(dir, &[&["holdrules"], arguments].concat());
    assert_eq!(rules(&["list"]), "There are no hold rules.\n");
    let unknown = ["queue", "holdrules", "add", "--account", "nobody", "--dir"];
    let unknown = ringmail(&[&unknown[..], &[dir.to_str().unwrap()]].concat());
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("there is no account nobody"),
        "{}",
        unknown.err
    );
    let usage = ringmail(&["queue", "holdrules", "add", "--dir", dir.to_str().unwrap()]);
    assert_eq!(usage.code, 2);
    let added = rules(&["add", "--domain", "A.example", "--account", "ringmail"]);
    assert_eq!(
        added,
        "Hold rule 1 is in force; recipients that waited already and are held by it: 1.\n"
    );
    assert_eq!(field(dir, "queue451@a.example", "rule"), 1);
    assert_eq!(field(dir, "queue451@b.example", "state"), "waiting");
    for recipients in [
        ["new@a.example", "b@b.example"],
        ["c@a.example.org", "d@d.example"],
    ] {
        assert!(
            submit(&server, &recipients, "new")
                .unwrap()
                .starts_with("250")
        );
    }
    wait_for_inbox(&server, &["new", "new", "new"]);
    let why = "held by hold rule 1 (account ringmail, to a.example)";
    assert_eq!(field(dir, "new@a.example", "reason"), why);
    drop(server);

    // In the same commit as the message: a kill right behind it finds it held.
    let server = Localserve::with_faults(dir, &[], "fanout.committed=kill");
    assert_eq!(field(dir, "new@a.example", "reason"), why);
    let _ = submit(&server, &["newer@a.example"], "newer");
    assert_ne!(server.ended(), 0);
    let server = Localserve::start(dir, &[]);
    assert_eq!(field(dir, "newer@a.example", "reason"), why);
    assert!(rules(&["list"]).starts_with("1     account ringmail, from any, to a.example; added "));

    // Everything; one rule after the other goes, and what they hold does not by itself.
    rules(&["add", "--all"]);
    assert!(
        submit(&server, &["e@e.example"], "all")
            .unwrap()
            .starts_with("250")
    );
    assert_eq!(field(dir, "e@e.example", "rule"), 2);
    assert_eq!(field(dir, "newer@a.example", "rule"), 1);
    assert_eq!(field(dir, "queue451@b.example", "rule"), 2);
    rules(&["remove", "2"]);
    let removed = rules(&["remove", "1"]);
    assert!(
        removed.contains("ringmail queue release --rule 1 --dir "),
        "{removed}"
    );
    assert!(
        submit(&server, &["f@a.example"], "free")
            .unwrap()
            .starts_with("250")
    );
    wait_for_inbox(&server, &["free", "new", "new", "new"]);
    assert_eq!(
        queue_does(dir, &["release", "--rule", "1", "--to", "new"]),
        "2 recipients were released.\n"
    );
    wait_for_inbox(&server, &["free", "new", "new", "new", "new", "newer"]);
    assert_eq!(
        queue_does(dir, &["list", "--rule", "2", "--json"])
            .lines()
            .count(),
        2
    );
    let gone = ringmail(&[
        "queue",
        "holdrules",
        "remove",
        "1",
        "--dir",
        dir.to_str().unwrap(),
    ]);
    assert!(gone.err.contains("there is no hold rule 1"), "{}", gone.err);
    queue_does(dir, &["drop", "--all"]);
    wait_for_queue(dir, <[Value]>::is_empty);
    stop(server);
    assert_checked(dir);
}

#[test]
fn an_operation_that_is_killed_half_way_is_finished_by_another_and_tells_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Localserve::with_faults(dir, &[], "queue.operated=kill@3");
    for number in 0..6 {
        let recipient = format!("queue451@d{number}.example");
        assert!(
            submit(&server, &[&recipient], "m")
                .unwrap()
                .starts_with("250")
        );
    }
    wait_for_queue(dir, |q| {
        q.len() == 6 && q.iter().all(|r| r["attempts"] == 1)
    });
    let command = ["queue", "fail", "--all", "--dir", dir.to_str().unwrap()];
    assert_eq!(ringmail(&command).code, 1);
    assert_ne!(server.ended(), 0);
    let server = Localserve::start(dir, &[]);
    queue_does(dir, &["fail", "--all"]);
    let expected: Vec<String> = (0..6)
        .map(|n| format!("Mail could not be delivered to queue451@d{n}.example"))
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    wait_for_inbox(&server, &expected);
    wait_for_queue(dir, <[Value]>::is_empty);
    stop(server);
    // Nothing comes late or twice.
    let server = Localserve::start(dir, &[]);
    assert_eq!(inbox(&server), expected);
    stop(server);
    assert_checked(dir);
}

#[test]
fn a_shard_that_is_out_of_service_takes_no_hold_rule_along() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let named = dir.to_str().unwrap();
    let server = Localserve::start(dir, &[]);
    let status = ringmail(&["status", "--json", "--dir", named]).out;
    let status: Value = serde_json::from_str(&status).unwrap();
    stop(server);
    // Not the shard of the account, which could not log in then.
    let count = status["shards"].as_u64().unwrap() as u16;
    let shard = (shards::shard_of(b"ringmail", count).0 + 1) % count;
    let faults = format!("shard-{shard:03}/rows.commit=fail");
    let server = Localserve::with_faults(dir, &[], &faults);
    let add = [
        "queue",
        "holdrules",
        "add",
        "--domain",
        "a.example",
        "--dir",
        named,
    ];
    let ran = ringmail(&add);
    // What waits in that shard can't be held now, and the command says so; the rule is in force.
    assert_eq!(ran.code, 1, "{}", ran.out);
    let said = "new mail is held by rule 1 (to a.example), but not all that waits already: ";
    assert!(ran.err.contains(said), "{}", ran.err);
    assert!(
        submit(&server, &["b@a.example"], "m")
            .unwrap()
            .starts_with("250")
    );
    drop(server);
    let server = Localserve::start(dir, &[]);
    assert_eq!(field(dir, "b@a.example", "rule"), 1);
    assert_eq!(queue_does(dir, &["holdrules", "list"]).lines().count(), 1);
    assert!(
        submit(&server, &["c@a.example"], "m")
            .unwrap()
            .starts_with("250")
    );
    assert_eq!(field(dir, "c@a.example", "rule"), 1);
    stop(server);
    assert_checked(dir);
}

#[test]
fn a_large_message_is_dumped_whole() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    queue_does(dir, &["holdrules", "add", "--all"]);
    // Over 1 MiB, in a file of its own; and several pieces.
    let body: String = (0..40_000)
        .map(|n| format!("line {n} of a long message {n}\r\n"))
        .collect();
    let subject = format!("long\r\n\r\n{body}end");
    assert!(
        submit(&server, &["a@a.example"], &subject)
            .unwrap()
            .starts_with("250")
    );
    let id = field(dir, "a@a.example", "id").to_string();
    let size = field(dir, "a@a.example", "size").as_u64().unwrap();
    let message = queue_does(dir, &["dump", &id]);
    assert_eq!(message.len() as u64, size);
    assert!(
        message.contains(&format!("Subject: {subject}\r\n")),
        "{}",
        &message[..500]
    );
    let gone = ringmail(&["queue", "dump", "4711", "--dir", dir.to_str().unwrap()]);
    assert!(
        gone.err.contains("there is no recipient 4711"),
        "{}",
        gone.err
    );
    stop(server);
}

/// What no index tells: whether somebody had his message. Whoever runs the server decides.
#[test]
fn what_comes_back_without_an_index_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    for (to, subject) in [
        ("a@x.example", "sent"),
        ("queuetemperror@x.example", "waits"),
    ] {
        assert!(submit(&server, &[to], subject).unwrap().starts_with("250"));
    }
    wait_for_inbox(&server, &["sent"]);
    wait_for_queue(dir.path(), |queue| queue.len() == 1);
    drop(server);
    for shard in crate::filled::shards(dir.path()) {
        std::fs::remove_dir_all(shard.join("rows")).unwrap();
    }
    let salvaged = crate::filled::on(&dir.path().join("data"), &["salvage"]);
    assert_eq!(salvaged.code, 0, "{}{}", salvaged.out, salvaged.err);
    for told in ["recipients in the queue are held", "suppression lists"] {
        assert!(salvaged.out.contains(told), "{}", salvaged.out);
    }
    let server = Localserve::start(dir.path(), &[]);
    let held = wait_for_queue(dir.path(), |queue| !queue.is_empty());
    let why = |one: &Value| one["reason"].as_str().unwrap().contains("held by salvage");
    assert!(held.iter().all(why), "{held:?}");
    assert!(
        held.iter()
            .any(|one| one["recipient"] == "queuetemperror@x.example")
    );
    assert_eq!(inbox(&server), ["sent"]);
    queue_does(dir.path(), &["drop", "--state", "held"]);
    wait_for_queue(dir.path(), <[Value]>::is_empty);
    assert_eq!(inbox(&server), ["sent"]);
    stop(server);
    assert_checked(dir.path());
}
