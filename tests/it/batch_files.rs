//! Files that go with each message of a batch: kept once, and there with the same octets for everybody, wherever he is and whatever stops when.

use ::dkim::Status;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringmail::calls::UploadedFile;
use ringmail::queue::QueueId;
use serde_json::{Value, json};
use webapi::batch::BatchRequest;
use webapi::{File, UploadKind};

use crate::batch::{field, mail, progress, request, run_until_killed, submit_with, until_over};
use crate::dkim::{ed25519, put_key, sign_with, verified};
use crate::filled::{imap, stop};
use crate::outbound::{free_port, queue, reasons, server};
use crate::patience::{found, patiently};
use crate::program::{Localserve, ringmail};
use crate::receiver::Receiver;
use crate::sending_limits::later;
use crate::webapi_v1::{ask, ask_with, by_password};

/// Octets of a file, none like its neighbour.
fn octets(length: usize) -> Vec<u8> {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Takes large messages too.
fn receiver(port: u16) -> Receiver {
    Receiver::start([127, 0, 0, 11], port, None, |line| {
        let words = "250-receiver.test\r\n250-SIZE 100000000\r\n250 8BITMIME";
        line.starts_with("EHLO").then(|| words.to_owned())
    })
}

/// A batch with two files in it, and one beside it.
fn with_files(addresses: &[&str], length: usize) -> (BatchRequest, Vec<UploadedFile>) {
    let file = |name: &str, id: &str| File {
        name: name.into(),
        content_id: id.into(),
        data: STANDARD.encode(octets(length)).as_str().into(),
        ..File::default()
    };
    let request = BatchRequest {
        inline_files: vec![file("logo.png", "<logo@x>")],
        attached_files: vec![file("terms.bin", "")],
        ..request(addresses.iter().map(|a| a.to_string()), 0)
    };
    let upload = UploadedFile {
        kind: UploadKind::Attached,
        name: "beside.bin".into(),
        content_type: "application/x-beside".into(),
        content_id: String::new(),
        content: octets(3_000).into(),
    };
    (request, vec![upload])
}

/// What a file in a message comes to.
fn file(message: &str, name: &str) -> Vec<u8> {
    let named = format!("filename=\"{name}\"");
    let at = message.find(&named).unwrap_or_else(|| panic!("no {name}"));
    let (_, content) = message[at..].split_once("\r\n\r\n").unwrap();
    let (content, _) = content.split_once("\r\n--").unwrap();
    STANDARD.decode(content.replace("\r\n", "")).unwrap()
}

fn assert_whole(message: &str, length: usize) {
    let number = field(message, "X-Number");
    assert!(message.contains(&format!("Corner & Co has {number} for you.")));
    assert!(message.contains("Content-ID: <logo@x>\r\n"));
    for name in ["logo.png", "terms.bin"] {
        assert!(file(message, name) == octets(length), "{name}");
    }
    assert_eq!(file(message, "beside.bin"), octets(3_000));
    let boundary = message.split("boundary=\"").nth(1).unwrap();
    let boundary = boundary.split('"').next().unwrap();
    let end = message.trim_end_matches(".\r\n").trim_end();
    assert!(end.ends_with(&format!("--{boundary}--")));
}

#[test]
fn everybody_gets_the_same_files_beside_his_own_text() {
    // In memory with the recipe, and in its file.
    for length in [2_000, 800_000] {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let receiver = receiver(port);
        let server = server(directory.path(), port, "");
        let key = directory.path().join("batch.pem");
        let record = put_key(&key, &ed25519(7));
        sign_with(&server, &[("b", &key)]);
        let addresses = [
            "a@one.test",
            "dora@example.test",
            "c@two.test",
            "d@one.test",
        ];
        let (request, uploads) = with_files(&addresses, length);
        let accepted = submit_with(&server, request, uploads).unwrap();
        let row = until_over(&server, accepted.id);
        assert_eq!((row.delivered, row.failed), (4, 0), "{length}");
        let here = mail(&server, "dora", 1);
        let there = receiver.messages();
        let there = there
            .iter()
            .map(|m| m.strip_suffix(".\r\n").unwrap().to_owned());
        let all: Vec<String> = there.chain(here).collect();
        assert_eq!(all.len(), 4);
        for message in &all {
            assert_whole(message, length);
            let signed = &message[message.find("DKIM-Signature").unwrap()..];
            let all = verified(signed.as_bytes(), &[("b._domainkey.example.test", &record)]);
            assert_eq!(all, [("b".to_owned(), Status::Pass)]);
        }
        let mut numbers: Vec<&str> = all.iter().map(|m| field(m, "X-Number")).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, ["0", "1", "2", "3"]);
    }
}

#[test]
fn a_kill_between_acceptance_and_sending_loses_no_file() {
    for (faults, length) in [
        ("batch.committed=kill", 800_000),
        ("outbound.attempted=kill@1", 800_000),
        ("batch.committed=kill", 2_000),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let receiver = receiver(port);
        run_until_killed(directory.path(), port, &format!("files {length}"), faults);
        let server = server(directory.path(), port, "");
        patiently(
            || queue(&server).is_empty(),
            || format!("{faults} {:?}", reasons(&server)),
        );
        let messages = receiver.messages();
        let mut numbers: Vec<&str> = messages.iter().map(|m| field(m, "X-Number")).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), KILLED.len(), "{faults}");
        for message in &messages {
            assert_whole(message, length);
        }
    }
}

/// Whom the batch is for that a kill comes to.
const KILLED: [&str; 5] = [
    "a@one.test",
    "b@two.test",
    "c@one.test",
    "d@two.test",
    "e@one.test",
];

#[test]
fn a_message_that_would_be_too_large_is_refused_and_nothing_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let server = server(directory.path(), port, "");
    let (request, mut uploads) = with_files(&["a@one.test"], 2_000);
    // Not yet as it is, but as it goes out.
    uploads[0].content = vec![0; 80 << 20].into();
    let refused = submit_with(&server, request, uploads).unwrap_err();
    assert!(
        format!("{refused:?}").contains("MessageTooLarge"),
        "{refused:?}"
    );
    assert!(queue(&server).is_empty());
    assert!(progress(&server, QueueId::new(0, 1).unwrap().get()).is_none());
}

/// A form with the JSON in `batch`, and files; and its head.
fn form(batch: &Value, files: &[(&str, &str, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    let json = batch.to_string();
    let head = "Content-Disposition: form-data; name=\"batch\"\r\nContent-Type: application/json";
    body.extend(format!("--B\r\n{head}\r\n\r\n{json}\r\n").bytes());
    for (part, name, content) in files {
        let head = format!("Content-Disposition: form-data; name=\"{part}\"; filename=\"{name}\"");
        let head = format!("{head}\r\nContent-Type: application/x-test\r\nContent-ID: <{name}>");
        body.extend(format!("--B\r\n{head}\r\n\r\n").bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--B--\r\n");
    let fields = by_password() + "Content-Type: multipart/form-data; boundary=B\r\n";
    (fields, body)
}

fn post(server: &Localserve, (fields, body): (String, Vec<u8>)) -> (u16, String, Value) {
    let body = String::from_utf8(body).unwrap();
    let length = body.len();
    let (status, head, said) = server.http(&format!(
        "POST /webapi/v1/batches HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    ));
    (
        status,
        head,
        serde_json::from_str(&said).unwrap_or(Value::Null),
    )
}

#[test]
fn files_come_in_json_and_in_forms() {
    let directory = tempfile::tempdir().unwrap();
    let server = Localserve::start(directory.path(), &[]);
    let batch = json!({
        "template": {"subject": "files", "text": "for {{ recipient.address }}", "html": "<img src=\"cid:logo\">"},
        "recipients": [{"address": "a@one.example"}, {"address": "b@two.example"}],
    });
    let mut with_files = batch.clone();
    with_files["attachments"] = json!([
        {"content": "aGk=", "filename": "hi.bin", "content_type": "application/x-hi"},
        {"content": "bG9nbw==", "filename": "logo.png", "content_id": "<logo>"},
    ]);
    let fields = by_password() + "Idempotency-Key: one\r\n";
    let send = |batch: &Value| ask_with(&server, ("POST", "/batches"), &fields, batch);
    let first = send(&with_files);
    assert_eq!(first.status, 201, "{first:?}");
    let again = send(&with_files);
    assert_eq!(again.body["id"], first.body["id"]);
    assert!(
        again.head.contains("idempotent-replayed: true"),
        "{}",
        again.head
    );
    let mut other = with_files.clone();
    other["attachments"][0]["content"] = "aG8=".into();
    assert_eq!(send(&other).status, 409);
    assert_eq!(send(&batch).status, 409);
    let text = "line\r\n--A and more\r\n";
    let files = [
        ("attachment", "note.txt", text.as_bytes()),
        ("inline", "pic", b"pic"),
    ];
    let (fields, body) = form(&batch, &files);
    let keyed = |body: &[u8]| (fields.clone() + "Idempotency-Key: two\r\n", body.to_vec());
    let (status, _, said) = post(&server, keyed(&body));
    assert_eq!(status, 201, "{said}");
    let (status, head, again) = post(&server, keyed(&body));
    assert_eq!((status, &again["id"]), (201, &said["id"]));
    assert!(head.contains("idempotent-replayed: true"), "{head}");
    let (_, other) = form(&batch, &files[..1]);
    assert_eq!(post(&server, keyed(&other)).0, 409);
    let all = || mail_of(&server, 4);
    let messages = all();
    for (message, to) in messages.iter().zip(["a@one", "b@two", "a@one", "b@two"]) {
        assert!(message.contains(&format!("for {to}.example")), "{message}");
    }
    for message in &messages[..2] {
        assert_eq!(file(message, "hi.bin"), b"hi");
        assert_eq!(file(message, "logo.png"), b"logo");
        assert!(message.contains("Content-ID: <logo>\r\n"), "{message}");
    }
    for message in &messages[2..] {
        assert_eq!(file(message, "note.txt"), text.as_bytes());
        assert_eq!(file(message, "pic"), b"pic");
    }
    // What waits is shown whole, also from its file.
    let mut waits = with_files.clone();
    waits["send_at"] = later();
    for length in [5, 1_200_000] {
        let content = octets(length);
        waits["attachments"][0]["content"] = STANDARD.encode(&content).into();
        let said = ask(&server, "POST", "/batches", &waits);
        assert_eq!(said.status, 201, "{said:?}");
        let id = said.body["id"].to_string();
        let dir = directory.path().to_str().unwrap();
        let dumped = ringmail(&["queue", "dump", &id, "--dir", dir]);
        assert_eq!(dumped.code, 0, "{}", dumped.err);
        assert!(file(&dumped.out, "hi.bin") == content);
        assert!(dumped.out.contains("for a@one.example"));
    }
    // What is wrong is named, and nothing is sent.
    for (field, value, pointer) in [
        ("content", json!("aGk"), "/attachments/1/content"),
        ("content", json!(7), "/attachments/1/content"),
        ("size", json!(7), "/attachments/1/size"),
        ("content_type", json!("a\r\nb: c"), "/attachments"),
        ("filename", json!("a\nb"), "/attachments"),
    ] {
        let mut wrong = with_files.clone();
        wrong["attachments"][1][field] = value;
        let said = ask(&server, "POST", "/batches", &wrong);
        assert_eq!(said.status, 422, "{said:?}");
        assert_eq!(said.body["errors"][0]["pointer"], pointer, "{said:?}");
    }
    let (status, _, said) = post(&server, form(&batch, &[("file", "a", b"a")]));
    assert_eq!(status, 400, "{said}");
    let (status, _, said) = post(&server, form(&batch, &[("attachment", "a\tb", b"a")]));
    assert_eq!(
        (status, &said["errors"][0]["pointer"]),
        (422, &json!("/attachments"))
    );
    stop(server);
}

/// The messages of the account of `localserve`, once there are so many, by their numbers.
fn mail_of(server: &Localserve, count: usize) -> Vec<String> {
    let fetched = || -> Vec<String> {
        let commands = ["EXAMINE INBOX", "FETCH 1:* BODY.PEEK[]"];
        let said = imap(server, "ringmail", "ringmailringmail", &commands);
        let messages = said[1].split("BODY[] {").skip(1).map(|message| {
            let (length, rest) = message.split_once("}\r\n").unwrap();
            rest[..length.parse().unwrap()].to_owned()
        });
        messages.collect()
    };
    let mut all = found(fetched, |all| all.len() >= count);
    all.sort_by_key(|message| {
        let id = field(message, "Message-ID").trim_start_matches('<');
        id.split('.').next().unwrap().parse::<u64>().unwrap()
    });
    all
}

/// The batch that a child of the test submits.
pub fn killed(length: &str) -> (BatchRequest, Vec<UploadedFile>) {
    with_files(&KILLED, length.parse().unwrap())
}
