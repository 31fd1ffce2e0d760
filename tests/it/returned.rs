//! Reports that come in by SMTP find the mail they are about.

use std::io::{BufReader, Write};
use std::path::Path;

use serde_json::Value;

use crate::crash::{command, reply};
use crate::filled::{assert_checked, imap, stop};
use crate::program::{Localserve, ringmail};
use crate::queue::{inbox, submit, wait_for_inbox, wait_for_queue};
use crate::webapi::call;

const ACCOUNT: &str =
    "addresses = [\"ringmail@localhost\"]\nunique_mail_from = [\"ringmail@localhost\"]\n";

fn lines(dir: &Path, words: &[&str]) -> Vec<Value> {
    let ran = ringmail(&[words, &["--json", "--dir", dir.to_str().unwrap()]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines = ran.out.lines();
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// What came back about a recipient: kind and how it was found.
fn returned(dir: &Path, recipient: &str) -> Vec<(String, String)> {
    let all = lines(dir, &["queue", "retired"]);
    let found = all.iter().find(|row| row["recipient"] == recipient);
    let found = found.unwrap_or_else(|| panic!("{recipient}: {all:?}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let returned = found["returned"].as_array().unwrap().iter();
    returned
        .map(|r| (text(&r["kind"]), text(&r["by"])))
        .collect()
}

/// Whom something is known of: the address, whether it is suppressed, how many messages to it have failed.
fn listed(dir: &Path) -> Vec<(String, bool, u64)> {
    let all = lines(dir, &["suppression", "list"]);
    let listed = all.iter().map(|row| {
        let address = row["address"].as_str().unwrap().to_owned();
        let is_suppressed = row["suppressed"].as_bool().unwrap();
        (address, is_suppressed, row["failures"].as_u64().unwrap())
    });
    listed.collect()
}

/// One message to it has failed.
fn counted(address: &str) -> (String, bool, u64) {
    (address.to_owned(), false, 1)
}

/// Submits to two, and waits for both: the MAIL FROM of each, in their order.
pub fn sent(server: &Localserve, dir: &Path) -> Vec<String> {
    let said = submit(
        server,
        &["a@a.example", "b@b.example"],
        "m\r\nX-Mox-Extra-order: 17",
    )
    .unwrap();
    assert!(said.starts_with("250"), "{said}");
    wait_for_queue(dir, <[Value]>::is_empty);
    wait_for_inbox(server, &["m", "m"]);
    let commands = ["EXAMINE INBOX", "FETCH 1:* BODY.PEEK[HEADER]"];
    let said = imap(server, "ringmail", "ringmailringmail", &commands);
    let path = |to: &str| {
        let (before, _) = said[1].split_once(&format!("Delivered-To: {to}")).unwrap();
        let (_, path) = before.rsplit_once("Return-Path: <").unwrap();
        path.split('>').next().unwrap().to_owned()
    };
    ["a@a.example", "b@b.example"].map(path).to_vec()
}

/// Brings mail from elsewhere; answers the last reply, or that the connection broke.
pub fn bring(server: &Localserve, to: &str, message: &str) -> std::io::Result<String> {
    let mut talk = BufReader::new(server.connect(25));
    reply(&mut talk)?;
    for line in [
        "EHLO mx.example.net",
        "MAIL FROM:<>",
        &format!("RCPT TO:<{to}>"),
    ] {
        let said = command(&mut talk, &format!("{line}\r\n"))?;
        assert!(said.starts_with('2'), "{line}: {said}");
    }
    command(&mut talk, "DATA\r\n")?;
    talk.get_mut().write_all(message.as_bytes())?;
    command(&mut talk, ".\r\n")
}

pub fn report(to: &str, recipient: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.net\nTo: {to}\nSubject: failed\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\n\nSorry.\n\n--b\nContent-Type: message/delivery-status\n\n\
         Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; {recipient}\n\
         Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n\n\
         --b\nContent-Type: text/rfc822-headers\n\nMessage-ID: <m@x.example>\n\n--b--\n"
    )
    .replace('\n', "\r\n")
}

pub fn prepared(dir: &Path) {
    std::fs::create_dir_all(dir.join("accounts")).unwrap();
    std::fs::write(dir.join("accounts/ringmail.toml"), ACCOUNT).unwrap();
}

fn pair(kind: &str, by: &str) -> (String, String) {
    (kind.to_owned(), by.to_owned())
}

#[test]
fn a_report_finds_its_recipient_and_counts_as_one_failure() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepared(dir);
    let server = Localserve::start(dir, &[]);
    let paths = sent(&server, dir);
    assert_ne!(paths[0], paths[1]);
    assert!(paths[0].starts_with("ringmail+"), "{paths:?}");
    // A server that shouts, and a reader who answers to the address of the envelope.
    let to = paths[0].replace("@localhost", "").to_uppercase() + "@localhost";
    let said = bring(&server, &to, &report(&to, "a@a.example")).unwrap();
    assert!(said.starts_with("250"), "{said}");
    let hello = "From: b@b.example\r\nSubject: hello\r\n\r\nThank you.\r\n";
    assert!(bring(&server, &paths[1], hello).unwrap().starts_with("250"));
    wait_for_inbox(&server, &["failed", "hello", "m", "m"]);
    assert_eq!(returned(dir, "a@a.example"), [pair("failed", "fromid")]);
    assert_eq!(
        returned(dir, "b@b.example"),
        [pair("unrecognized", "fromid")]
    );
    assert_eq!(listed(dir), [counted("a@a.example")]);
    let rows = lines(dir, &["queue", "retired"]);
    let extra = serde_json::json!({"Order": "17"});
    assert!(rows.iter().all(|row| row["extra"] == extra), "{rows:?}");
    // By its Message-ID, from whoever: that is no proof, and one of three.
    let said = bring(
        &server,
        "ringmail@localhost",
        &report("ringmail@localhost", "b@b.example"),
    );
    assert!(said.unwrap().starts_with("250"));
    assert_eq!(
        returned(dir, "b@b.example")[1],
        pair("failed", "message_id")
    );
    let both = [counted("a@a.example"), counted("b@b.example")];
    assert_eq!(listed(dir), both);
    stop(server);
    assert_checked(dir);
}

#[test]
fn three_reports_suppress_their_recipient_and_any_number_of_a_member_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepared(dir);
    let server = Localserve::start(dir, &[]);
    for n in 1..=3 {
        let request = serde_json::json!({
            "To": [{"Address": "a@a.example"}, {"Address": "list@b.example"}], "Subject": "m", "Text": "Hi\n",
        });
        let (status, said) = call(&server, "Send", &request);
        assert_eq!(status, 200, "{said}");
        wait_for_queue(dir, <[Value]>::is_empty);
        let path = |to: usize| {
            let from_id = said["Submissions"][to]["FromID"].as_str().unwrap();
            format!("ringmail+{from_id}@localhost")
        };
        for (to, named) in ["a@a.example", "member@c.example"].iter().enumerate() {
            let path = path(to);
            let said = bring(&server, &path, &report(&path, named)).unwrap();
            assert!(said.starts_with("250"), "{said}");
        }
        assert_eq!(listed(dir), [("a@a.example".into(), n == 3, n % 3)]);
    }
    assert_eq!(
        returned(dir, "list@b.example"),
        [pair("failed", "fromid_other")]
    );
    stop(server);
    assert_checked(dir);
}

#[test]
fn the_queue_shows_from_what_address_mail_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepared(dir);
    let server = Localserve::start(dir, &[]);
    let said = submit(&server, &["queue451@c.example"], "m\r\nRingmail-Extra-a: b");
    assert!(said.unwrap().starts_with("250"));
    let all = wait_for_queue(dir, |all| all.iter().any(|row| row["attempts"] == 1));
    let mail_from = all[0]["mail_from"].as_str().unwrap();
    let fromid = mail_from.strip_prefix("ringmail+").unwrap();
    assert_eq!(fromid.strip_suffix("@localhost").unwrap().len(), 26);
    assert_eq!(all[0]["reverse_path"], "ringmail@localhost");
    assert_eq!(all[0]["extra"], serde_json::json!({"A": "b"}));
}

#[test]
fn the_api_says_which_fromid_a_recipient_has() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepared(dir);
    let server = Localserve::start(dir, &[]);
    let request = serde_json::json!({
        "To": [{"Address": "queue451@c.example"}], "Subject": "m", "Text": "Hi\n", "Extra": {"order": "17"},
    });
    let (status, said) = call(&server, "Send", &request);
    assert_eq!(status, 200, "{said}");
    let all = wait_for_queue(dir, |all| all.len() == 1);
    let fromid = said["Submissions"][0]["FromID"].as_str().unwrap();
    assert_eq!(all[0]["mail_from"], format!("ringmail+{fromid}@localhost"));
    assert_eq!(all[0]["id"], said["Submissions"][0]["QueueMsgID"]);
    assert_eq!(all[0]["extra"], serde_json::json!({"order": "17"}));
    let request = serde_json::json!({
        "To": [{"Address": "a@c.example"}], "Text": "Hi\n", "Extra": {"an order": "7".repeat(16 << 10)},
    });
    let (status, said) = call(&server, "Send", &request);
    assert_eq!((status, &said["Code"]), (400, &"user".into()), "{said}");
}

#[test]
fn a_kill_between_what_a_report_says_and_its_delivery_doubles_nothing() {
    for point in ["queue.returned", "inbound.returned"] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        prepared(dir);
        let server = Localserve::with_faults(dir, &[], &format!("{point}=kill"));
        let paths = sent(&server, dir);
        let report = report(&paths[0], "a@a.example");
        assert!(bring(&server, &paths[0], &report).is_err(), "{point}");
        assert_ne!(server.ended(), 0, "{point}");
        let server = Localserve::start(dir, &[]);
        assert_eq!(
            returned(dir, "a@a.example"),
            [pair("failed", "fromid")],
            "{point}"
        );
        assert_eq!(inbox(&server), ["m", "m"], "{point}");
        // It comes again, as its sender got no answer.
        assert!(
            bring(&server, &paths[0], &report)
                .unwrap()
                .starts_with("250")
        );
        wait_for_inbox(&server, &["failed", "m", "m"]);
        assert_eq!(
            returned(dir, "a@a.example"),
            [pair("failed", "fromid")],
            "{point}"
        );
        assert_eq!(listed(dir), [counted("a@a.example")], "{point}");
        stop(server);
        assert_checked(dir);
    }
}
