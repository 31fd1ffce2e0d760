//! Limits on what an account may send: by SMTP, by the API and in batches; after a restart, and after a kill at each step.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::filled::{assert_checked, stop};
use crate::patience::PATIENCE;
use crate::ports;
use crate::program::{Localserve, ringmail, ringmail_with_input};
use crate::queue::{inbox, submit, wait_for_inbox, wait_for_queue};
use crate::server::TestServer;
use crate::webapi::{call, code};
use crate::webapi_v1::{Said, ask, ask_with, by_password};

fn limit(dir: &Path, account: &str, limits: &str) {
    std::fs::create_dir_all(dir.join("accounts")).unwrap();
    let text = format!("addresses = [\"{account}@localhost\"]\n[sending]\n{limits}\n");
    std::fs::write(dir.join(format!("accounts/{account}.toml")), text).unwrap();
}

/// A directory whose account has limits.
fn limited(limits: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    limit(dir.path(), "ringmail", limits);
    dir
}

fn run(dir: &Path, words: &[&str]) -> String {
    let ran = ringmail(&[words, &["--dir", dir.to_str().unwrap()]].concat());
    assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
    ran.out
}

/// What counts: messages and new recipients. Of a limit that is not there, none.
fn used(dir: &Path) -> (Option<u64>, Option<u64>) {
    let shown = run(dir, &["account", "limits", "ringmail", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let used = |limit: &str| shown[limit]["used"].as_u64();
    (used("messages"), used("new_recipients"))
}

fn assert_sent(server: &Localserve, recipients: &[&str]) {
    let said = submit(server, recipients, "m").unwrap();
    assert!(said.starts_with("250"), "{recipients:?}: {said}");
}

fn assert_refused(server: &Localserve, recipients: &[&str], words: &str) {
    let said = submit(server, recipients, "refused").unwrap();
    assert!(said.starts_with(words), "{recipients:?}: {said}");
}

#[test]
fn submission_ends_at_the_limit_and_a_refusal_costs_nothing() {
    let dir = limited("messages_per_day = 3");
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    let [a, b, c, d] = ["a@a.example", "b@b.example", "c@c.example", "d@d.example"];
    assert_sent(&server, &[a, b]);
    let words = "451 4.7.1 the account may send 3 messages in 24 hours and has sent 2; there is room for 2 more from ";
    assert_refused(&server, &[c, d], words);
    // No repeat helps.
    let words = "550 5.7.1 the account may send 3 messages in 24 hours, and here are 4";
    assert_refused(&server, &[a, b, c, d], words);
    // An account here is a recipient like any other.
    assert_sent(&server, &["ringmail@localhost"]);
    assert_refused(&server, &["ringmail@localhost"], "451 4.7.1 ");
    let shown = run(dir, &["account", "limits", "ringmail"]);
    let words = "messages: 3 of 3 in 24 hours, 0 left, more from ";
    assert!(shown.starts_with(words), "{shown}");
    assert!(shown.contains("\nnew recipients: no limit\n"), "{shown}");
    wait_for_queue(dir, <[Value]>::is_empty);
    assert_eq!(inbox(&server), ["m", "m", "m"]);
    let metrics = server.get("/metrics").2;
    let line = "ringmail_sending_refused_total{limit=\"messages\"} 3";
    assert!(metrics.lines().any(|l| l == line), "{metrics}");
    // What comes from elsewhere is none of the account's.
    crate::filled::deliver(&server, &["ringmail"], "in", 1);
    stop(server);
    assert_eq!(used(dir), (Some(3), None));
    assert_checked(dir);
    let server = Localserve::start(dir, &[]);
    assert_refused(&server, &[d], "451 4.7.1 ");
    limit(dir, "ringmail", "messages_per_day = 0");
    run(dir, &["reload"]);
    assert_sent(&server, &[d]);
    assert_eq!(used(dir), (None, None));
    stop(server);
}

#[test]
fn recipients_are_new_once() {
    let dir = limited("new_recipients_per_day = 2");
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    let [a, b, c, d] = ["a@a.example", "b@b.example", "c@c.example", "d@d.example"];
    assert_sent(&server, &[a]);
    assert_sent(&server, &["a+1@a.example", "A@A.example"]);
    assert_sent(&server, &[a, b]);
    let words = "451 4.7.1 the account may write to 2 new recipients in 24 hours and has written to 2; there is room for 1 more from ";
    assert_refused(&server, &[c], words);
    assert_refused(&server, &[a, c], words);
    let words = "550 5.7.1 the account may write to 2 new recipients in 24 hours, and here are 3";
    assert_refused(&server, &[c, d, "e@e.example"], words);
    assert_sent(&server, &[b]);
    assert_eq!(used(dir), (None, Some(2)));
    stop(server);
    let server = Localserve::start(dir, &[]);
    assert_sent(&server, &[b, a]);
    assert_refused(&server, &[c], "451 4.7.1 ");
    let shown = run(dir, &["account", "limits", "ringmail"]);
    assert!(
        shown.ends_with("\nrecipients that are not new: 2\n"),
        "{shown}"
    );
    stop(server);
}

fn message(to: &[&str]) -> Value {
    let to: Vec<Value> = to.iter().map(|to| json!({"address": to})).collect();
    json!({"from": {"address": "ringmail@localhost"}, "to": to, "subject": "m", "text": "Hi\n"})
}

fn send(server: &Localserve, key: &str, to: &[&str]) -> Said {
    let fields = by_password() + &format!("Idempotency-Key: {key}\r\n");
    ask_with(server, ("POST", "/messages"), &fields, &message(to))
}

fn send_batch(server: &Localserve, to: &[&str]) -> Said {
    let recipients: Vec<Value> = to.iter().map(|to| json!({"address": to})).collect();
    let batch = json!({"template": {"subject": "m", "text": "Hi"}, "recipients": recipients});
    ask(server, "POST", "/batches", &batch)
}

fn send_v0(server: &Localserve, to: &[&str]) -> (u16, Value) {
    let to: Vec<Value> = to.iter().map(|to| json!({"Address": to})).collect();
    call(
        server,
        "Send",
        &json!({"To": to, "Subject": "m", "Text": "Hi"}),
    )
}

/// Refused, until there is room again.
fn assert_later(said: &Said, kind: &str) {
    assert_eq!(said.status, 429, "{}", said.body);
    assert_eq!(said.body["type"], format!("/webapi/v1/problems/{kind}"));
    let (_, after) = said.head.split_once("retry-after: ").unwrap();
    let after: u32 = after.lines().next().unwrap().trim().parse().unwrap();
    assert!((82_000..=90_000).contains(&after), "{after}");
}

#[test]
fn the_api_says_what_is_left_and_refuses_what_is_more() {
    let dir = limited("messages_per_day = 5\nnew_recipients_per_day = 3");
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    let [a, b, c, d] = ["a@a.example", "b@b.example", "c@c.example", "d@d.example"];
    let none = Value::Null;
    let first = send(&server, "one", &[a]);
    assert_eq!(first.status, 200, "{}", first.body);
    let account = ask(&server, "GET", "/account", &none);
    let expected = json!({
        "messages": {"per_day": 5, "used": 1, "left": 4, "more_at": null},
        "new_recipients": {"per_day": 3, "used": 1, "left": 2, "more_at": null},
    });
    assert_eq!(account.body["sending"], expected);
    // Who is named twice gets one.
    assert_eq!(send_v0(&server, &[a, b, a]).0, 200);
    // A batch goes as a whole or not at all.
    assert_later(&send_batch(&server, &[a, b, a]), "message-limit-reached");
    assert_later(&send_batch(&server, &[c, d]), "recipient-limit-reached");
    let above = send_batch(&server, &[a, a, a, a, a, a]);
    assert_eq!(above.status, 403, "{}", above.body);
    let kind = "/webapi/v1/problems/above-sending-limit";
    assert_eq!(above.body["type"], kind);
    assert!(!above.head.contains("retry-after"), "{}", above.head);
    assert_later(&send(&server, "two", &[c, d]), "recipient-limit-reached");
    assert_eq!(code(send_v0(&server, &[c, d])), "recipientLimitReached");
    assert_eq!(used(dir), (Some(3), Some(2)));
    let batch = send_batch(&server, &[a, c]);
    assert_eq!(batch.status, 201, "{}", batch.body);
    assert_later(&send(&server, "two", &[a]), "message-limit-reached");
    assert_eq!(code(send_v0(&server, &[a])), "messageLimitReached");
    // A repeat is no message.
    let again = send(&server, "one", &[a]);
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert!(again.head.contains("idempotent-replayed: true"));
    let account = ask(&server, "GET", "/account", &none);
    let messages = &account.body["sending"]["messages"];
    assert_eq!(messages["left"], 0);
    assert!(messages["more_at"].is_string(), "{messages}");
    wait_for_queue(dir, <[Value]>::is_empty);
    assert_eq!(inbox(&server).len(), 5);
    stop(server);
}

#[test]
fn whoever_comes_at_once_gets_what_there_is() {
    let dir = limited("messages_per_day = 6");
    let server = Localserve::start(dir.path(), &[]);
    let all = &server;
    let sent: usize = std::thread::scope(|scope| {
        let by_smtp = || {
            usize::from(
                submit(all, &["a@a.example"], "m")
                    .unwrap()
                    .starts_with("250"),
            )
        };
        let by_api = |n: usize| {
            let key = format!("key {n}");
            move || usize::from(send(all, &key, &["a@a.example"]).status == 200)
        };
        let threads: Vec<_> = (0..6)
            .flat_map(|n| [scope.spawn(by_smtp), scope.spawn(by_api(n))])
            .collect();
        threads.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(sent, 6);
    assert_eq!(used(dir.path()), (Some(6), None));
    stop(server);
}

/// Sends a message with the fault armed; whether the server died of it.
fn killed_at(dir: &Path, faults: &str, send: impl Fn(&Localserve)) {
    let server = Localserve::with_faults(dir, &[], faults);
    send(&server);
    assert_eq!(server.ended(), -1, "{faults}");
}

/// A request that may not be answered.
fn post(server: &Localserve, path: &str, body: &Value) -> String {
    use std::io::{Read, Write};
    let (mut stream, text) = (server.connect(80), body.to_string());
    let request = format!(
        "POST /webapi/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
        by_password(),
        text.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said);
    said
}

#[test]
fn what_was_accepted_counts_whenever_the_server_dies() {
    for (fault, counted, is_accepted) in [
        ("sending.decided=kill", 0, false),
        ("sending.counted=kill", 1, false),
        ("fanout.committed=kill", 1, true),
    ] {
        for by_smtp in [true, false] {
            let dir = limited("messages_per_day = 9\nnew_recipients_per_day = 9");
            let dir = dir.path();
            killed_at(dir, fault, |server| {
                let said = match by_smtp {
                    true => submit(server, &["a@a.example"], "m").unwrap_or_default(),
                    false => post(server, "/messages", &message(&["a@a.example"])),
                };
                assert_eq!(said, "", "{fault}");
            });
            assert_eq!(used(dir), (Some(counted), Some(counted)), "{fault}");
            assert_checked(dir);
            let server = Localserve::start(dir, &[]);
            wait_for_queue(dir, <[Value]>::is_empty);
            let expected: &[&str] = if is_accepted { &["m"] } else { &[] };
            wait_for_inbox(&server, expected);
            stop(server);
        }
    }
}

#[test]
fn a_batch_counts_as_a_whole_whenever_the_server_dies() {
    let recipients = json!([{"address": "a@a.example"}, {"address": "b@b.example"}]);
    let batch = json!({"template": {"subject": "m", "text": "Hi"}, "recipients": recipients});
    for (fault, messages, new, is_accepted) in [
        ("sending.decided=kill", 0, 0, false),
        ("sending.counted=kill", 2, 2, false),
        ("batch.commit=kill", 2, 2, false),
        ("batch.committed=kill", 2, 2, true),
        // It was not accepted, and the server dies before that is known, or when it is.
        ("batch.commit=fail,sending.give_back=kill", 2, 2, false),
        ("batch.commit=fail,sending.given_back=kill", 0, 2, false),
    ] {
        let dir = limited("messages_per_day = 9\nnew_recipients_per_day = 9");
        let dir = dir.path();
        killed_at(dir, fault, |server| {
            let said = post(server, "/batches", &batch);
            assert!(!said.starts_with("HTTP/1.1 2"), "{fault}: {said}");
        });
        assert_eq!(used(dir), (Some(messages), Some(new)), "{fault}");
        let server = Localserve::start(dir, &[]);
        wait_for_queue(dir, <[Value]>::is_empty);
        let expected: &[&str] = if is_accepted { &["m", "m"] } else { &[] };
        wait_for_inbox(&server, expected);
        stop(server);
    }
}

#[test]
fn what_an_account_has_sent_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    limit(dir, "other", "messages_per_day = 1");
    let server = Localserve::start(dir, &[]);
    let password = || {
        let words = ["account", "password", "other", "--dir", server.dir()];
        let ran = ringmail_with_input(&words, "other-password\n");
        assert_eq!(ran.code, 0, "{}", ran.err);
    };
    password();
    let send = || {
        use base64::Engine;
        let login =
            base64::engine::general_purpose::STANDARD.encode("other@localhost:other-password");
        let fields = format!("Authorization: Basic {login}\r\n");
        let mut message = message(&["a@a.example"]);
        message["from"]["address"] = "other@localhost".into();
        ask_with(&server, ("POST", "/messages"), &fields, &message).status
    };
    assert_eq!((send(), send()), (200, 429));
    run(dir, &["account", "remove", "--drop-queued", "other"]);
    // The next of the name.
    limit(dir, "other", "messages_per_day = 1");
    run(dir, &["reload"]);
    password();
    assert_eq!((send(), send()), (200, 429));
    stop(server);
}

#[test]
fn an_account_whose_share_of_the_queue_is_full_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let port = ports::port();
    let limits = "[queue]\naccount_recipients_per_core_max = 2\n";
    let _server = TestServer::with_api(directory.path(), port, (limits, &[]));
    let later = later();
    let message = json!({
        "from": {"address": "anna@example.test"}, "to": [{"address": "a@one.test"}], "text": "Hi", "send_at": later,
    });
    let json = "application/json";
    let said = |path: &str, body: &Value| post_at(port, path, json, &body.to_string());
    let mut sent = 0;
    let full = loop {
        let (status, head, body) = said("/webapi/v1/messages", &message);
        match status {
            200 => sent += 1,
            _ => break (status, head, body),
        }
        assert!(sent < 100);
    };
    assert_eq!(full.0, 429, "{full:?}");
    assert!(full.1.contains("\r\nretry-after: 60\r\n"), "{full:?}");
    assert!(
        full.2.contains("/webapi/v1/problems/queue-full"),
        "{full:?}"
    );
    let batch = json!({
        "template": {"text": "Hi"}, "send_at": later,
        "recipients": (0..3).map(|at| json!({"address": format!("r{at}@one.test")})).collect::<Vec<_>>(),
    });
    let full = said("/webapi/v1/batches", &batch);
    assert_eq!(full.0, 429, "{full:?}");
    assert!(
        full.2.contains("/webapi/v1/problems/queue-full"),
        "{full:?}"
    );
    // Version 0 has one word for what comes of waiting.
    let request = json!({"To": [{"Address": "a@one.test"}], "Text": "Hi", "FutureRelease": later});
    let form = "application/x-www-form-urlencoded";
    let request = request.to_string().replace('+', "%2B");
    let full = post_at(port, "/webapi/v0/Send", form, &format!("request={request}"));
    assert_eq!(full.0, 400, "{full:?}");
    assert!(
        full.2.contains(r#""Code":"messageLimitReached""#),
        "{full:?}"
    );
}

/// A request as anna: the status, the head and the body of the answer.
fn post_at(port: u16, path: &str, kind: &str, body: &str) -> (u16, String, String) {
    let login = STANDARD.encode("anna@example.test:anna-password");
    let length = body.len();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic {login}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    (
        head[9..12].parse().unwrap(),
        head.to_owned() + "\r\n",
        body.to_owned(),
    )
}

/// An hour from now.
pub fn later() -> Value {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    serde_json::to_value(webapi::Time::of_unix(now + 3_600)).unwrap()
}
