//! Batches: one template for many recipients, each of whom gets his own text, made and signed when it is due; and a kill at each step.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::dkim::Status;
use ringmail::calls::{
    AcceptedBatch, Answer, BatchError, Call, ControlAnswer, ControlCall, SubmitBatch, Submitted,
    UploadedFile,
};
use ringmail::queue::QueueId;
use ringmail::queue::batch::{BatchRow, Cancelled};
use ringmail::settings::Door;
use serde_json::{Value, json};
use shards::CoreId;
use webapi::batch::{BatchRecipient, BatchRequest};
use webapi::template::Parts;

use crate::dkim::{ed25519, put_key, sign_with, verified};
use crate::outbound::{free_port, queue, reasons, server, until_sent};
use crate::patience::patiently;
use crate::program::{Localserve, ringmail};
use crate::receiver::Receiver;
use crate::server::TestServer;
use crate::smtp::{numbers, talk};

pub fn request(addresses: impl IntoIterator<Item = String>, more: usize) -> BatchRequest {
    let recipient = |(at, address)| BatchRecipient {
        address,
        name: String::new(),
        data: format!(
            r#"{{"number": {at}, "first": "F{at}", "more": "{}"}}"#,
            "x".repeat(more)
        ),
    };
    BatchRequest {
        name: "spring".into(),
        template: Parts {
            subject: "Number {{ number }}".into(),
            text: "Dear {{ first }},\n{{ shop }} has {{ number }} for you.\n".into(),
            html: "<p>{{ shop }} has {{ number }} for {{ recipient.address }}.".into(),
            to_name: "{{ first }} Last".into(),
            headers: vec![("X-Number".into(), "{{ number }}".into())],
        },
        defaults: r#"{"shop": "Corner & Co"}"#.into(),
        recipients: addresses.into_iter().enumerate().map(recipient).collect(),
        ..BatchRequest::default()
    }
}

fn at_one(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|at| format!("r{at}@{}.test", ["one", "two"][at % 2]))
}

fn submit(server: &TestServer, request: BatchRequest) -> Result<AcceptedBatch, BatchError> {
    submit_with(server, request, Vec::new())
}

/// With files beside it.
pub fn submit_with(
    server: &TestServer,
    request: BatchRequest,
    uploads: Vec<UploadedFile>,
) -> Result<AcceptedBatch, BatchError> {
    let submit = SubmitBatch {
        account: "anna".parse().unwrap(),
        login: "anna@example.test".into(),
        id: "test".into(),
        request,
        uploads,
        once: None,
    };
    let call = Call::SubmitBatch(Box::new(submit));
    match server.server().call(CoreId(0), call) {
        Ok(Answer::SubmittedBatch(said)) => match said? {
            Submitted::Now(accepted) => Ok(accepted),
            other => panic!("{other:?}"),
        },
        _ => panic!("no answer"),
    }
}

fn ask(server: &TestServer, id: u64, call: impl Fn(QueueId) -> ControlCall) -> ControlAnswer {
    let id = QueueId::from_u64(id).unwrap();
    let owner = server.server().owner_of_shard(id.shard());
    match server
        .server()
        .call(owner, Call::Control(Box::new(call(id))))
    {
        Ok(Answer::Control(Ok(answer))) => answer,
        _ => panic!("no answer"),
    }
}

pub fn progress(server: &TestServer, id: u64) -> Option<BatchRow> {
    let answer = ask(server, id, |id| ControlCall::Batch {
        shard: id.shard(),
        account: "anna".parse().unwrap(),
        number: id.number(),
    });
    match answer {
        ControlAnswer::Batch(row) => row,
        _ => panic!("another answer"),
    }
}

fn cancel(server: &TestServer, id: u64) -> Option<Cancelled> {
    let answer = ask(server, id, |id| ControlCall::CancelBatch {
        shard: id.shard(),
        account: "anna".parse().unwrap(),
        number: id.number(),
    });
    match answer {
        ControlAnswer::BatchCancelled(cancelled) => cancelled,
        _ => panic!("another answer"),
    }
}

pub fn until_over(server: &TestServer, id: u64) -> BatchRow {
    let is_over = || progress(server, id).is_some_and(|row| row.ended.is_some());
    patiently(is_over, || {
        let mut reasons = reasons(server);
        reasons.truncate(5);
        format!("{:?} {reasons:?}", progress(server, id))
    });
    progress(server, id).unwrap()
}

/// An account's messages, once there are so many.
pub fn mail(server: &TestServer, account: &str, count: u64) -> Vec<String> {
    patiently(
        || numbers(server, account).0 >= count,
        || format!("{:?}", numbers(server, account)),
    );
    let mut stream = server.connect(Door::Imap);
    talk(&mut stream, b"", "* OK");
    let login = format!("a LOGIN {account}@example.test {account}-password\r\n");
    talk(&mut stream, login.as_bytes(), "a OK");
    talk(&mut stream, b"b EXAMINE INBOX\r\n", "b OK");
    let said = talk(&mut stream, b"c FETCH 1:* BODY.PEEK[]\r\n", "c OK");
    let messages = said.split("BODY[] {").skip(1).map(|message| {
        let (length, rest) = message.split_once("}\r\n").unwrap();
        rest[..length.parse().unwrap()].to_owned()
    });
    messages.collect()
}

/// The value of a field that stands in one line.
pub fn field<'m>(message: &'m str, name: &str) -> &'m str {
    let start = format!("\r\n{name}: ");
    let at = message.find(&start).unwrap_or_else(|| panic!("{message}"));
    message[at + start.len()..].split("\r\n").next().unwrap()
}

/// Without its signatures, which are made anew each time.
fn unsigned(message: &str) -> &str {
    &message[message.find("Received: ").unwrap()..]
}

#[test]
fn each_recipient_gets_his_own_text_and_a_signature_that_holds() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let server = server(directory.path(), port, "");
    let key = directory.path().join("batch.pem");
    let record = put_key(&key, &ed25519(7));
    sign_with(&server, &[("b", &key)]);
    // More than fits into memory: it is in a file, and each recipient's data are read from there.
    let count = 1_200;
    let accepted = submit(&server, request(at_one(count), 1_000)).unwrap();
    assert_eq!(accepted.recipients as usize, count);
    let row = until_over(&server, accepted.id);
    assert_eq!((row.delivered as usize, row.waiting()), (count, 0));
    assert_eq!(
        (row.name.as_str(), row.failed, row.dropped),
        ("spring", 0, 0)
    );
    // The rows go once what became of each is told to the account's shard, a moment after the end.
    until_sent(&server);
    let messages = receiver.messages();
    assert_eq!(messages.len(), count);
    let mut seen = BTreeSet::new();
    for message in &messages {
        let number: usize = field(message, "X-Number").parse().unwrap();
        assert!(seen.insert(number));
        assert_eq!(field(message, "Subject"), format!("Number {number}"));
        let to = format!("\"F{number} Last\" <r{number}@");
        assert!(field(message, "To").starts_with(&to), "{message}");
        assert!(message.contains(&format!(
            "Dear F{number},\r\nCorner & Co has {number} for you."
        )));
        assert!(message.contains(&format!("<p>Corner &amp; Co has {number} for r{number}@")));
        let id = accepted.id + number as u64;
        assert!(
            field(message, "Message-ID").starts_with(&format!("<{id}.")),
            "{message}"
        );
    }
    // No transaction has two of them, and connections serve many.
    let commands = receiver.commands();
    let count_of = |verb: &str| commands.iter().filter(|c| c.starts_with(verb)).count();
    assert_eq!(count_of("RCPT"), count_of("MAIL"));
    assert!(receiver.connections() < count / 10);
    let name = "b._domainkey.example.test";
    for message in messages.iter().step_by(100) {
        let message = message.strip_suffix(".\r\n").unwrap();
        let all = verified(message.as_bytes(), &[(name, &record)]);
        assert_eq!(all, [("b".to_owned(), Status::Pass)], "{message}");
    }
}

#[test]
fn what_is_tried_again_has_the_same_octets() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let refused: Arc<Mutex<Vec<String>>> = Arc::default();
    let refuses = Arc::new(AtomicBool::new(true));
    let says = {
        let (refused, refuses) = (refused.clone(), refuses.clone());
        move |line: &str| {
            let text = line.strip_prefix(".")?;
            let refuses = refuses.load(Ordering::SeqCst);
            refuses.then(|| {
                refused.lock().unwrap().push(text.trim_start().to_owned());
                "451 4.2.0 later".to_owned()
            })
        }
    };
    let receiver = Receiver::start([127, 0, 0, 11], port, None, says);
    let table = "[queue]\nretry_secs = [\"1s\"]\n";
    let first = server(directory.path(), port, table);
    let accepted = submit(&first, request(at_one(4), 0)).unwrap();
    let tried = || queue(&first).iter().all(|(_, row)| row.attempts > 0);
    patiently(tried, || format!("{:?}", reasons(&first)));
    assert_eq!(progress(&first, accepted.id).unwrap().waiting(), 4);
    // Also by another process.
    drop(first);
    refuses.store(false, Ordering::SeqCst);
    let second = server(directory.path(), port, table);
    assert_eq!(until_over(&second, accepted.id).delivered, 4);
    let by_number = |all: &[String]| -> BTreeMap<String, String> {
        let pair = |m: &String| {
            (
                field(m, "X-Number").to_owned(),
                unsigned(m).trim_end().to_owned(),
            )
        };
        all.iter().map(pair).collect()
    };
    let (before, after) = (
        by_number(&refused.lock().unwrap()),
        by_number(&receiver.messages()),
    );
    assert_eq!(before.len(), 4);
    assert_eq!(before, after);
}

#[test]
fn what_does_not_fit_is_refused_with_its_place_and_what_fails_later_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |line| {
        line.starts_with("RCPT TO:<r1@")
            .then(|| "550 5.1.1 nobody".to_owned())
    });
    let server = server(directory.path(), port, "");
    let refused = |change: &dyn Fn(&mut BatchRequest)| {
        let mut request = request(at_one(3), 0);
        change(&mut request);
        match submit(&server, request) {
            Err(BatchError::Wrong(problems)) => problems[0].pointer.clone(),
            Err(BatchError::Api(error)) => error.code.as_str().to_owned(),
            Ok(_) => "nothing".into(),
        }
    };
    type Change = fn(&mut BatchRequest);
    let changes: [(&str, Change); 9] = [
        ("/template/subject", |r| {
            r.template.subject = "{{ number".into()
        }),
        ("/template/headers/0/value", |r| {
            r.template.headers[0].1 = "{{ x }}".into()
        }),
        ("/template", |r| {
            r.template.headers[0].0 = "Content-Type".into()
        }),
        ("/recipients/2/address", |r| {
            r.recipients[2].address = "x".into()
        }),
        ("/recipients/1/data", |r| r.recipients[1].data = "[".into()),
        ("/template/subject", |r| r.recipients[1].data = "{}".into()),
        ("/recipients", |r| r.recipients.clear()),
        ("/send_at", |r| r.not_before = Some(i64::MAX)),
        ("badFrom", |r| {
            r.from = Some(webapi::NameAddress {
                name: String::new(),
                address: "ben@elsewhere.test".into(),
            });
        }),
    ];
    for (place, change) in changes {
        assert_eq!(refused(&change), place);
    }
    assert!(queue(&server).is_empty());
    // One is refused by its server, the data of another come to no header field, which nobody could know before.
    let mut request = request(at_one(4), 0);
    request.recipients[2].data = r#"{"number": "a\r\nBcc: x", "first": "F"}"#.into();
    let accepted = submit(&server, request).unwrap();
    let row = until_over(&server, accepted.id);
    assert_eq!((row.delivered, row.failed), (2, 2));
    assert_eq!(receiver.messages().len(), 2);
    // Each failure has a report of its own, and that of a refused message returns what was refused.
    let reports = mail(&server, "anna", 2);
    let returned = reports.iter().filter(|r| r.contains("Subject: Number 1"));
    assert_eq!(returned.count(), 1, "{reports:?}");
    let why = reports.iter().filter(|r| r.contains("/subject"));
    assert_eq!(why.count(), 1, "{reports:?}");
}

#[test]
fn a_batch_can_be_cancelled_and_waits_for_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let first = server(directory.path(), port, "");
    let mut request = request(at_one(1_100), 0);
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    request.not_before = Some(now + 3_600);
    let accepted = submit(&first, request).unwrap();
    assert_eq!(progress(&first, accepted.id).unwrap().waiting(), 1_100);
    drop(first);
    let second = server(directory.path(), port, "");
    assert_eq!(cancel(&second, accepted.id + 1), None);
    let cancelled = |dropped| Cancelled {
        dropped,
        under_way: 0,
    };
    assert_eq!(cancel(&second, accepted.id), Some(cancelled(1_100)));
    let row = until_over(&second, accepted.id);
    assert_eq!((row.dropped, row.waiting()), (1_100, 0));
    assert!(row.cancelled.is_some());
    assert_eq!(cancel(&second, accepted.id), Some(cancelled(0)));
    until_sent(&second);
    assert!(receiver.messages().is_empty());
}

#[test]
fn who_is_being_sent_to_when_a_batch_is_cancelled_is_counted_apart() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let holds = Arc::new(AtomicBool::new(true));
    let waits = holds.clone();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, move |line| {
        while line.starts_with("RCPT") && waits.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    });
    let server = server(directory.path(), port, "");
    let accepted = submit(&server, request(at_one(40), 0)).unwrap();
    let is_asked = || receiver.commands().iter().any(|c| c.starts_with("RCPT"));
    patiently(is_asked, || format!("{:?}", reasons(&server)));
    let first = cancel(&server, accepted.id).unwrap();
    assert!(first.under_way > 0, "{first:?}");
    assert_eq!(first.dropped + first.under_way, 40);
    let again = cancel(&server, accepted.id).unwrap();
    assert_eq!(again.dropped, 0);
    assert!(again.under_way <= first.under_way, "{again:?}");
    holds.store(false, Ordering::SeqCst);
    let row = until_over(&server, accepted.id);
    assert!(u64::from(row.delivered) <= first.under_way, "{row:?}");
    assert_eq!((row.delivered + row.dropped, row.failed), (40, 0));
}

#[test]
fn who_is_here_gets_each_message_that_he_is_named_for() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(directory.path(), free_port(), "");
    // Some lead to the same mailbox; an alias has two members.
    let addresses = [
        "bert@example.test",
        "bert@example.test",
        "all@example.test",
        "nobody-there@example.test",
    ];
    let accepted = submit(&server, request(addresses.map(str::to_owned), 0)).unwrap();
    let row = until_over(&server, accepted.id);
    assert_eq!((row.delivered, row.failed), (3, 1));
    let numbers = |account: &str, count| -> BTreeSet<String> {
        let messages = mail(&server, account, count);
        let all = messages.iter().filter(|m| !m.contains("multipart/report"));
        all.map(|m| field(m, "X-Number").to_owned()).collect()
    };
    let all = |numbers: &[&str]| {
        numbers
            .iter()
            .map(|n| n.to_string())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(numbers("bert", 3), all(&["0", "1", "2"]));
    assert_eq!(numbers("anna", 2), all(&["2"]));
}

/// The child's side of the test below.
#[test]
fn batch_child() {
    let Ok(arguments) = std::env::var("RINGMAIL_TEST_BATCH_CHILD") else {
        return;
    };
    let (directory, port) = arguments.rsplit_once(' ').unwrap();
    let server = server(Path::new(directory), port.parse().unwrap(), "");
    if let Ok(which) = std::env::var("RINGMAIL_TEST_BATCH_SUBMIT") {
        let (request, uploads) = match which.strip_prefix("files ") {
            Some(length) => crate::batch_files::killed(length),
            None => (request(at_one(KILLED), 0), Vec::new()),
        };
        let accepted = submit_with(&server, request, uploads).unwrap();
        println!("\naccepted {}", accepted.id);
    }
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

const KILLED: usize = 600;

/// Runs the server with a batch until a fault kills it; whether it accepted the batch.
pub fn run_until_killed(directory: &Path, port: u16, which: &str, faults: &str) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "batch::batch_child",
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env(
            "RINGMAIL_TEST_BATCH_CHILD",
            format!("{} {port}", directory.display()),
        )
        .env("RINGMAIL_TEST_BATCH_SUBMIT", which)
        .env("RINGMAIL_FAULTS", faults)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines().map_while(Result::ok);
    let accepted = lines.any(|line| line.starts_with("accepted "));
    child.wait().unwrap();
    accepted
}

#[test]
fn a_kill_leaves_all_of_a_batch_or_nothing_and_sends_nothing_else_twice() {
    for (faults, is_there, doubled_max) in [
        ("batch.commit=kill", false, 0),
        ("batch.committed=kill", true, 0),
        ("outbound.attempted=kill@40", true, 100),
        ("outbound.recorded=kill@40", true, 100),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
        run_until_killed(directory.path(), port, "texts", faults);
        let before = receiver.messages().len();
        let server = server(directory.path(), port, "");
        patiently(
            || queue(&server).is_empty(),
            || format!("{faults} {:?}", reasons(&server)),
        );
        let messages = receiver.messages();
        let mut by_number: BTreeMap<String, &str> = BTreeMap::new();
        for message in &messages {
            let number = field(message, "X-Number").to_owned();
            let known = by_number.insert(number, unsigned(message));
            assert!(
                known.is_none_or(|known| known == unsigned(message)),
                "{faults}"
            );
        }
        let whole = if is_there { KILLED } else { 0 };
        assert_eq!(by_number.len(), whole, "{faults}");
        assert!(
            messages.len() - whole <= doubled_max.min(before),
            "{faults} {}",
            messages.len()
        );
    }
}

#[test]
fn what_was_cancelled_before_an_error_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let server = Localserve::with_faults(directory.path(), &[], "batch.cancelled=fail");
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let batch = json!({
        "template": {"subject": "s", "text": "t"},
        "recipients": [{"address": "a@one.example"}, {"address": "b@two.example"}],
        "send_at": webapi::Time::of_unix(now + 3_600),
    });
    let (status, said) = asked(&server, "POST", "/batches", &batch.to_string());
    assert_eq!(status, 201, "{said}");
    let cancel = format!("/batches/{}/cancel", said["id"]);
    let (status, refused) = asked(&server, "POST", &cancel, "");
    assert!(status >= 400, "{refused}");
    let over = || asked(&server, "GET", "/messages?state=dropped", "").1;
    let each = || {
        let ended = |one: &Value| !one["ended"].is_null();
        let all = over()["recipients"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|one| ended(one)).count()
    };
    patiently(|| each() == 2, || over().to_string());
    crate::filled::stop(server);
}

/// A request of the API with the account of `localserve`; answers the status and the JSON.
fn asked(server: &Localserve, verb: &str, path: &str, body: &str) -> (u16, Value) {
    let login = sasl::base64::encode(b"ringmail@localhost:ringmailringmail");
    let (status, _, said) = server.http(&format!(
        "{verb} /webapi/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic {login}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    (status, serde_json::from_str(&said).unwrap_or(Value::Null))
}

#[test]
fn the_api_and_the_command_say_the_same_of_a_batch() {
    let directory = tempfile::tempdir().unwrap();
    let server = Localserve::start(directory.path(), &[]);
    let mut batch = json!({
        "name": "summer",
        "template": {"subject": "{{ number }}", "text": "{{ shop }} {{ number }}", "headers": [{"name": "X-A", "value": "{{ number }}"}]},
        "defaults": {"shop": "Corner"},
        "recipients": [
            {"address": "a@one.example", "data": {"number": 1}},
            {"address": "queue-permerror@two.example", "data": {"number": 2}},
            {"address": "c@three.example", "name": "Cy", "data": {"number": 3}},
        ],
    });
    let (status, said) = asked(&server, "POST", "/batches", &batch.to_string());
    assert_eq!(status, 201, "{said}");
    assert_eq!(said["recipients"], 3);
    let path = format!("/batches/{}", said["id"]);
    let state = || asked(&server, "GET", &path, "").1;
    patiently(|| !state()["ended"].is_null(), || state().to_string());
    let state = state();
    for (field, value) in [
        ("delivered", 2),
        ("failed", 1),
        ("waiting", 0),
        ("dropped", 0),
    ] {
        assert_eq!(state[field], value, "{state}");
    }
    // What is sent later can be cancelled.
    batch["send_at"] = json!("2199-01-01T00:00:00Z");
    let (status, said) = asked(&server, "POST", "/batches", &batch.to_string());
    assert_eq!(
        (status, &said["errors"][0]["pointer"]),
        (422, &json!("/send_at"))
    );
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let later = webapi::Time::of_unix(now + 3_600).unwrap();
    batch["send_at"] = serde_json::to_value(later).unwrap();
    let (_, said) = asked(&server, "POST", "/batches", &batch.to_string());
    let second = said["id"].clone();
    let (_, page) = asked(&server, "GET", "/batches?limit=1", "");
    assert_eq!(page["batches"][0]["id"], second, "{page}");
    let next = format!(
        "/batches?limit=1&cursor={}",
        page["next_cursor"].as_str().unwrap()
    );
    let (_, page) = asked(&server, "GET", &next, "");
    assert_eq!(page["batches"][0]["name"], "summer");
    assert_eq!(page["batches"][0]["ended"], state["ended"]);
    let dir = directory.path().to_str().unwrap();
    let ran = ringmail(&["batch", "list", "ringmail", "--dir", dir, "--json"]);
    assert_eq!(ran.out.lines().count(), 2, "{}{}", ran.out, ran.err);
    let words = [
        "batch",
        "show",
        "ringmail",
        &second.to_string(),
        "--dir",
        dir,
    ];
    let ran = ringmail(&words);
    assert!(
        ran.out.contains("3 recipients: 3 waiting, 0 delivered"),
        "{}{}",
        ran.out,
        ran.err
    );
    let cancel = format!("/batches/{second}/cancel");
    assert_eq!(
        asked(&server, "POST", &cancel, ""),
        (200, json!({"dropped": 3, "under_way": 0}))
    );
    let words = [
        "batch",
        "cancel",
        "ringmail",
        &second.to_string(),
        "--dir",
        dir,
    ];
    assert_eq!(ringmail(&words).out, "0 recipients were dropped.\n");
    assert_eq!(asked(&server, "GET", "/batches/4711000", "").0, 404);
    let signed = format!("/batches/+{second}");
    assert_eq!(asked(&server, "GET", &signed, "").0, 404);
    // What is wrong is named.
    batch["template"]["headers"][0]["value"] = json!("{{ number");
    batch["recipients"][2]["data"] = json!({"number": 3});
    let (status, said) = asked(&server, "POST", "/batches", &batch.to_string());
    let pointer = &said["errors"][0]["pointer"];
    assert_eq!(
        (status, pointer),
        (422, &json!("/template/headers/0/value")),
        "{said}"
    );
    batch["recipients"][1]["data"] = json!([1]);
    batch["template"]["headers"] = json!([]);
    let (_, said) = asked(&server, "POST", "/batches", &batch.to_string());
    assert_eq!(said["errors"][0]["pointer"], "/recipients/1/data", "{said}");
    crate::filled::stop(server);
}
