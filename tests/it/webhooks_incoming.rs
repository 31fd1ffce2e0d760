//! Webhooks that tell of mail that comes: what they say, of which mail, and a kill between its delivery and their making.

use serde_json::{Value, json};

use crate::crash;
use crate::filled::{assert_checked, deliver, imap, stop};
use crate::program::Localserve;
use crate::queue::{inbox, wait_for_inbox, wait_for_queue};
use crate::returned::{bring, prepared, report, sent};
use crate::webapi::call;
use crate::webhooks::{Hears, add, lines, wait_for_history};

const PASSWORD: &str = "ringmailringmail";
const INCOMING: &[&str] = &["--events", "incoming"];

/// Two texts in a multipart/alternative, and a file.
const MULTIPART: &str = "From: =?utf-8?q?J=C3=BCrg?= <j@a.example>\n\
To: App <ringmail@localhost>, b@b.example\n\
Cc: c@c.example\n\
Reply-To: r@a.example\n\
Subject: Re: =?utf-8?q?f=C3=BCr?= you\n\
Message-ID: <2@a.example>\n\
In-Reply-To: <1@b.example>\n\
References: <0@b.example> <1@b.example>\n\
Date: Sat, 1 Aug 2026 10:00:00 +0200\n\
MIME-Version: 1.0\n\
Content-Type: multipart/mixed; boundary=out\n\
\n\
--out\n\
Content-Type: multipart/alternative; boundary=in\n\
\n\
--in\n\
Content-Type: text/plain; charset=utf-8\n\
Content-Transfer-Encoding: quoted-printable\n\
\n\
Gr=C3=BC=C3=9Fe\n\
--in\n\
Content-Type: text/html; charset=utf-8\n\
\n\
<b>Hi & bye</b>\n\
--in--\n\
--out\n\
Content-Type: application/pdf; name=bill.pdf\n\
Content-Disposition: attachment; filename=bill.pdf\n\
Content-Transfer-Encoding: base64\n\
\n\
aGVsbG8=\n\
--out--\n";

fn bring_to(server: &Localserve, recipients: &[&str], message: &str) {
    let message = message.replace('\n', "\r\n");
    let to = (recipients, "localhost");
    let said = crash::deliver(server.connect(25), to, &message).unwrap();
    assert!(said.starts_with("250"), "{said}");
}

#[test]
fn mail_that_comes_is_told_with_its_texts_and_parts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    let hears = Hears::start(|_, _| "200 OK".into());
    add(dir, &hears.url(), INCOMING);
    bring_to(&server, &["ringmail"], MULTIPART);
    let first = hears.wait(1).remove(0);
    let told = first.json();
    let number = told["Meta"]["MsgID"].as_i64().unwrap();
    let received = told["Meta"]["Received"].as_str().unwrap();
    assert!(received.ends_with('Z'), "{received}");
    let expected = json!({
        "Version": 0,
        "From": [{"Name": "Jürg", "Address": "j@a.example"}],
        "To": [{"Name": "App", "Address": "ringmail@localhost"}, {"Name": "", "Address": "b@b.example"}],
        "CC": [{"Name": "", "Address": "c@c.example"}],
        "BCC": [],
        "ReplyTo": [{"Name": "", "Address": "r@a.example"}],
        "Subject": "Re: für you",
        "MessageID": "<2@a.example>",
        "InReplyTo": "<1@b.example>",
        "References": ["<0@b.example>", "<1@b.example>"],
        "Date": "2026-08-01T10:00:00+02:00",
        "Text": "Grüße",
        "HTML": "<b>Hi & bye</b>",
        "Structure": told["Structure"],
        "Meta": {
            "MsgID": number, "MailFrom": "sender@example.org", "MailFromValidated": false, "MsgFromValidated": false,
            "RcptTo": "ringmail@localhost", "DKIMVerifiedDomains": [], "RemoteIP": "127.0.0.1",
            "Received": received, "MailboxName": "Inbox", "Automated": false,
        },
    });
    assert_eq!(told, expected);
    let parts = &told["Structure"]["Parts"];
    assert_eq!(parts[0]["ContentType"], "multipart/alternative");
    assert_eq!(parts[1]["Filename"], "bill.pdf");
    assert_eq!(parts[1]["DecodedSize"], 5);
    // Its number leads to it.
    let (status, got) = call(&server, "MessageGet", &json!({"MsgID": number}));
    assert_eq!(status, 200, "{got}");
    assert_eq!(got["Message"]["MessageID"], "<2@a.example>");
    assert_eq!(got["Structure"], told["Structure"]);
    assert_eq!(first.header("x-mox-webhook-attempt"), "1");
    let kept = wait_for_history(dir, |all| all.len() == 1);
    assert_eq!(kept[0]["event"], "incoming", "{kept:?}");
    // One that lies in a file of its own, to two addresses of the account; of its text there is the beginning.
    let line = "A line of a long message.\n";
    let long = format!("Subject: long\nPrecedence: bulk\n\n{}", line.repeat(60_000));
    bring_to(&server, &["ringmail", "postmaster"], &long);
    let told = hears.wait(2).remove(1).json();
    assert_eq!(told["Subject"], "long");
    assert_eq!(told["Meta"]["Automated"], true);
    let text = told["Text"].as_str().unwrap();
    assert!(text.starts_with(line) && text.len() <= 1 << 20 && text.len() > 1 << 19);
    stop(server);
    assert_checked(dir);
}

fn subjects(hears: &Hears, count: usize) -> Vec<String> {
    let all = hears.wait(count).into_iter();
    let subject = |told: Value| told["Subject"].as_str().unwrap().to_string();
    all.map(|request| subject(request.json())).collect()
}

/// They are told in the order in which they came, so what is not among them was not told.
#[test]
fn what_did_not_come_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Localserve::start(dir, &["--accounts", "1"]);
    let hears = Hears::start(|_, _| "200 OK".into());
    deliver(&server, &["ringmail"], "before anybody asked", 1);
    add(dir, &hears.url(), INCOMING);
    let appended = "Subject: appended\r\n\r\nx\r\n";
    let append = format!("APPEND INBOX {{{}+}}\r\n{appended}", appended.len());
    let said = imap(&server, "ringmail", PASSWORD, &[&append]);
    assert!(said[0].contains(" OK"), "{said:?}");
    deliver(&server, &["u1"], "somebody else's", 1);
    deliver(&server, &["u1", "ringmail"], "for two", 1);
    assert_eq!(subjects(&hears, 1), ["for two"]);
    // What the API sends comes back here, its copy in Sent does not.
    let request = json!({"To": [{"Address": "a@a.example"}], "Text": "t", "Subject": "sent", "SaveSent": true});
    let (status, said) = call(&server, "Send", &request);
    assert_eq!(status, 200, "{said}");
    hears.wait(2);
    wait_for_queue(dir, <[Value]>::is_empty);
    // Copied and moved it is the same message.
    let commands = ["SELECT INBOX", "COPY 1 Archive", "MOVE 2 Archive"];
    imap(&server, "ringmail", PASSWORD, &commands);
    deliver(&server, &["ringmail"], "last", 1);
    assert_eq!(subjects(&hears, 3), ["for two", "sent", "last"]);
    let told = hears.so_far()[1].json();
    assert_eq!(told["Meta"]["RcptTo"], "a@a.example");
    assert_eq!(told["Meta"]["RemoteIP"], "");
    stop(server);
    assert_checked(dir);
}

#[test]
fn a_report_of_our_mail_is_told_as_what_it_says_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepared(dir);
    let server = Localserve::start(dir, &[]);
    let hears = Hears::start(|_, _| "200 OK".into());
    let paths = sent(&server, dir);
    add(dir, &hears.url(), &["--events", "incoming,failed"]);
    let said = bring(&server, &paths[0], &report(&paths[0], "a@a.example"));
    assert!(said.unwrap().starts_with("250"));
    // One about mail that is nobody's here came like any other.
    let strange = report("ringmail@localhost", "x@x.example").replace("<m@x", "<other@x");
    let strange = strange.replace("Subject: failed", "Subject: strange");
    let said = bring(&server, "ringmail@localhost", &strange);
    assert!(said.unwrap().starts_with("250"));
    wait_for_inbox(&server, &["failed", "m", "m", "strange"]);
    // Events of what was sent come by another way than those of mail that comes, and may be later.
    let mut told: Vec<Value> = hears.wait(2).iter().map(|told| told.json()).collect();
    told.sort_by_key(|told| told["Event"] != "failed");
    assert_eq!(told[0]["Event"], "failed", "{told:?}");
    assert_eq!(told[1]["Subject"], "strange", "{told:?}");
    assert_eq!(told[1]["Meta"]["Automated"], true);
    stop(server);
    assert_checked(dir);
}

#[test]
fn a_report_is_told_with_the_subject_to_who_is_not_told_of_deliveries() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepared(dir);
    let server = Localserve::start(dir, &[]);
    let hears = Hears::start(|_, _| "200 OK".into());
    add(dir, &hears.url(), &["--events", "failed"]);
    let paths = sent(&server, dir);
    let said = bring(&server, &paths[0], &report(&paths[0], "a@a.example"));
    assert!(said.unwrap().starts_with("250"));
    let told = hears.wait(1)[0].json();
    assert_eq!(told["DSN"], true, "{told}");
    assert_eq!(told["Subject"], "m");
}

#[test]
fn a_kill_between_delivery_and_telling_loses_nothing() {
    for point in ["hooks.incoming", "hooks.incoming_told"] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let hears = Hears::start(|_, _| "200 OK".into());
        let server = Localserve::start(dir, &[]);
        add(dir, &hears.url(), INCOMING);
        stop(server);
        let server = Localserve::with_faults(dir, &[], &format!("{point}=kill"));
        let to: (&[&str], &str) = (&["ringmail"], "localhost");
        let _ = crash::deliver(server.connect(25), to, "Subject: m\r\n\r\nhello\r\n");
        assert_ne!(server.ended(), 0, "{point}");
        let server = Localserve::start(dir, &[]);
        assert_eq!(inbox(&server), ["m"], "{point}");
        wait_for_history(dir, |all| all.len() == 1);
        deliver(&server, &["ringmail"], "last", 1);
        let kept = wait_for_history(dir, |all| all.len() == 2);
        assert!(kept.iter().all(|hook| hook["success"] == true), "{kept:?}");
        assert_eq!(subjects(&hears, 2), ["m", "last"], "{point}");
        assert_eq!(hears.so_far()[0].json()["Text"], "hello\n");
        assert_eq!(lines(dir, &["queue", "ringmail"]).len(), 0);
        stop(server);
        assert_checked(dir);
    }
}
