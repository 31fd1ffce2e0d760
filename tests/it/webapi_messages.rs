//! Stored messages read and changed through the API, beside an IMAP session that sees what changes.

use std::io::{BufReader, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::filled::{answer, imap, stop};
use crate::program::Localserve;
use crate::queue::wait_for_inbox;
use crate::webapi::{call, call_raw, code};

/// The number of the message with a subject. Clients learn it by events; here all small numbers are tried.
fn number(server: &Localserve, subject: &str) -> i64 {
    let found = (1..300).find(|number| {
        let (status, said) = call(server, "MessageGet", &json!({"MsgID": number}));
        status == 200 && said["Message"]["Subject"] == subject
    });
    found.unwrap_or_else(|| panic!("no message {subject}"))
}

fn fetched(server: &Localserve, commands: &[&str]) -> Vec<String> {
    imap(server, "ringmail", "ringmailringmail", commands)
}

#[test]
fn a_message_is_read_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let (status, sent) = call(
        &server,
        "Send",
        &json!({
            "To": [{"Name": "Ann", "Address": "ann@a.example"}], "ReplyTo": [{"Address": "desk@a.example"}],
            "Subject": "caf\u{e9}", "Text": "Gr\u{fc}\u{df}e\n", "HTML": "<p>Hi", "References": ["<a@x>", "<b@x>"],
            "Date": "2026-08-01T10:00:00+02:00",
            "AttachedFiles": [{"Name": "n\u{f6}te.txt", "ContentType": "text/csv", "Data": "aGVsbG8K"}],
        }),
    );
    assert_eq!(status, 200, "{sent}");
    wait_for_inbox(&server, &["=?utf-8?B?Y2Fmw6k=?="]);
    let id = number(&server, "caf\u{e9}");
    let (status, said) = call(&server, "MessageGet", &json!({"MsgID": id}));
    assert_eq!(status, 200, "{said}");
    let message = &said["Message"];
    assert_eq!(
        message["To"],
        json!([{"Name": "Ann", "Address": "ann@a.example"}])
    );
    assert_eq!(message["ReplyTo"][0]["Address"], "desk@a.example");
    assert_eq!((&message["CC"], &message["BCC"]), (&json!([]), &json!([])));
    assert_eq!(message["MessageID"], sent["MessageID"]);
    assert_eq!(message["References"], json!(["<a@x>", "<b@x>"]));
    assert_eq!(message["Date"], "2026-08-01T10:00:00+02:00");
    assert_eq!(
        (&message["Text"], &message["HTML"]),
        (&json!("Gr\u{fc}\u{df}e\n"), &json!("<p>Hi"))
    );
    let structure = &said["Structure"];
    assert_eq!(
        (&structure["ContentType"], &structure["DecodedSize"]),
        (&json!("multipart/mixed"), &json!(0))
    );
    assert_eq!(
        structure["Parts"][0]["Parts"][0]["ContentTypeParams"]["charset"],
        "utf-8"
    );
    let file = &structure["Parts"][1];
    assert_eq!(
        (
            &file["Filename"],
            &file["DecodedSize"],
            &file["ContentDisposition"]
        ),
        (&json!("n\u{f6}te.txt"), &json!(6), &json!("attachment"))
    );
    let meta = &said["Meta"];
    assert_eq!(
        (&meta["MailboxName"], &meta["MailFrom"], &meta["DSN"]),
        (&json!("Inbox"), &json!("ringmail@localhost"), &json!(false))
    );
    assert_eq!(
        (&meta["RcptTo"], &meta["MsgFrom"]),
        (&json!("ann@a.example"), &json!("ringmail@localhost"))
    );
    assert_eq!(
        (&meta["Flags"], &meta["DKIMVerifiedDomains"]),
        (&json!([]), &json!([]))
    );
    // As IMAP shows it.
    let (status, head, raw) = call_raw(&server, "MessageRawGet", &json!({"MsgID": id}));
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain\r\n"), "{head}");
    assert_eq!(meta["Size"], raw.len());
    let shown = fetched(&server, &["EXAMINE INBOX", "FETCH 1 BODY.PEEK[]"]);
    assert!(shown[1].contains(&raw), "{} {raw}", shown[1]);
    let part = |path: Value| {
        call_raw(
            &server,
            "MessagePartGet",
            &json!({"MsgID": id, "PartPath": path}),
        )
    };
    let (status, head, content) = part(json!([1]));
    assert_eq!((status, content.as_str()), (200, "hello\n"));
    assert!(head.contains("content-length: 6\r\n"), "{head}");
    assert_eq!(part(json!([0, 1])).2, "<p>Hi");
    assert_eq!(part(json!([])).2, part(Value::Null).2);
    for path in [json!([2]), json!([0, 1, 0]), json!([-1])] {
        let said = call(
            &server,
            "MessagePartGet",
            &json!({"MsgID": id, "PartPath": path}),
        );
        assert_eq!(code(said), "partNotFound", "{path}");
    }
    for nobody in [0, -1, 1_000_000, i64::MAX] {
        for method in ["MessageGet", "MessageRawGet", "MessagePartGet"] {
            assert_eq!(
                code(call(&server, method, &json!({"MsgID": nobody}))),
                "messageNotFound"
            );
        }
    }
    for method in ["MessageGet", "MessageRawGet", "MessageMove"] {
        assert_eq!(server.get(&format!("/webapi/v0/{method}")).0, 200);
    }
    stop(server);
}

#[test]
fn a_message_is_changed_and_sessions_see_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let request = json!({"To": [{"Address": "ann@a.example"}], "Subject": "first", "Text": "t"});
    assert_eq!(call(&server, "Send", &request).0, 200);
    wait_for_inbox(&server, &["first"]);
    let id = number(&server, "first");
    let mut talk = BufReader::new(server.connect(143));
    let mut said = |command: &str| {
        let line = format!("t {command}\r\n");
        talk.get_mut().write_all(line.as_bytes()).unwrap();
        answer(&mut talk, "t ")
    };
    said("LOGIN ringmail@localhost ringmailringmail");
    said("CREATE Done");
    said("SELECT INBOX");
    let flags =
        |method: &str, flags: Value| call(&server, method, &json!({"MsgID": id, "Flags": flags}));
    let shown = || call(&server, "MessageGet", &json!({"MsgID": id})).1["Meta"].clone();
    assert_eq!(
        flags(
            "MessageFlagsAdd",
            json!(["\\SEEN", "$Junk", "Zed", "Label", "\\Answered"])
        ),
        (200, json!({}))
    );
    assert_eq!(
        shown()["Flags"],
        json!(["$junk", "\\answered", "\\seen", "label", "zed"])
    );
    let seen = said("NOOP");
    assert!(
        seen.contains("* 1 FETCH (") && seen.contains("$Junk") && seen.contains("label"),
        "{seen}"
    );
    assert_eq!(
        flags("MessageFlagsRemove", json!(["$junk", "zed", "other"])),
        (200, json!({}))
    );
    assert_eq!(shown()["Flags"], json!(["\\answered", "\\seen", "label"]));
    assert_eq!(flags("MessageFlagsAdd", Value::Null), (200, json!({})));
    for wrong in ["\\Recent", "", "a b"] {
        assert_eq!(
            code(flags("MessageFlagsAdd", json!([wrong]))),
            "user",
            "{wrong}"
        );
    }
    let moved = |to: &str| {
        call(
            &server,
            "MessageMove",
            &json!({"MsgID": id, "DestMailboxName": to}),
        )
    };
    assert_eq!(code(moved("None")), "user");
    assert_eq!(code(moved("inbox")), "user");
    assert_eq!(moved("Done"), (200, json!({})));
    assert_eq!(code(moved("Done")), "user");
    assert_eq!(
        (&shown()["MailboxName"], &shown()["Flags"]),
        (&json!("Done"), &json!(["\\answered", "\\seen", "label"]))
    );
    let seen = said("NOOP");
    assert!(seen.contains("* 1 EXPUNGE\r\n"), "{seen}");
    said("SELECT Done");
    assert_eq!(
        call(&server, "MessageDelete", &json!({"MsgID": id})),
        (200, json!({}))
    );
    // The session has not been told, so its octets are still there; the message is not.
    assert_eq!(
        code(call(&server, "MessageDelete", &json!({"MsgID": id}))),
        "user"
    );
    assert_eq!(code(flags("MessageFlagsAdd", json!(["\\Seen"]))), "user");
    assert_eq!(
        code(call(&server, "MessageGet", &json!({"MsgID": id}))),
        "messageNotFound"
    );
    let seen = said("NOOP");
    assert!(seen.contains("* 1 EXPUNGE\r\n"), "{seen}");
    for (request, expected) in [
        (json!({"MsgID": 0}), "user"),
        (json!({"MsgID": 1_000_000}), "messageNotFound"),
    ] {
        for method in [
            "MessageDelete",
            "MessageFlagsAdd",
            "MessageFlagsRemove",
            "MessageMove",
        ] {
            assert_eq!(code(call(&server, method, &request)), expected, "{method}");
        }
    }
    stop(server);
}

#[test]
fn large_messages_come_in_slices() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let content: String = (0..200_000).map(|line| format!("line {line}\n")).collect();
    let request = json!({
        "To": [{"Address": "ann@a.example"}], "Subject": "large", "Text": "t",
        "AttachedFiles": [{"Name": "lines", "Data": STANDARD.encode(&content)}],
    });
    assert_eq!(call(&server, "Send", &request).0, 200);
    wait_for_inbox(&server, &["large"]);
    let id = number(&server, "large");
    let (_, said) = call(&server, "MessageGet", &json!({"MsgID": id}));
    assert_eq!(said["Structure"]["Parts"][1]["DecodedSize"], content.len());
    let (status, _, raw) = call_raw(&server, "MessageRawGet", &json!({"MsgID": id}));
    assert_eq!(
        (status, said["Meta"]["Size"].clone()),
        (200, json!(raw.len()))
    );
    assert!(
        raw.ends_with("--\r\n") || raw.ends_with("--\r\n\r\n"),
        "{}",
        &raw[raw.len() - 40..]
    );
    let (status, head, part) = call_raw(
        &server,
        "MessagePartGet",
        &json!({"MsgID": id, "PartPath": [1]}),
    );
    assert_eq!(status, 200);
    assert!(
        head.contains(&format!("content-length: {}\r\n", content.len())),
        "{head}"
    );
    assert!(
        part == content,
        "{} octets, not {}",
        part.len(),
        content.len()
    );
    stop(server);
}
