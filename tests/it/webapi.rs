//! The sending API, as its clients speak it: forms, errors, what is sent and where it goes; and a kill at each step.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::filled::{imap, stop};
use crate::patience::{found, patiently};
use crate::program::Localserve;
use crate::queue::{inbox, wait_for_inbox, wait_for_queue};

const LOGIN: &str = "ringmail@localhost:ringmailringmail";

fn post(
    server: &Localserve,
    method: &str,
    login: &str,
    content_type: &str,
    body: &str,
) -> (u16, String, String) {
    let login = match login {
        "" => String::new(),
        login => format!("Authorization: Basic {}\r\n", STANDARD.encode(login)),
    };
    server.http(&format!(
        "POST /webapi/v0/{method} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{login}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A form as clients write it; answers the status and the JSON.
pub fn call(server: &Localserve, method: &str, request: &Value) -> (u16, Value) {
    let (status, head, body) = call_raw(server, method, request);
    assert!(
        head.contains("content-type: application/json; charset=utf-8"),
        "{head}{body}"
    );
    assert!(body.ends_with("}\n"), "{body:?}");
    (status, serde_json::from_str(&body).unwrap())
}

/// The same; answers status, head and body.
pub fn call_raw(server: &Localserve, method: &str, request: &Value) -> (u16, String, String) {
    let body: String = request
        .to_string()
        .bytes()
        .map(|octet| match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(octet).to_string(),
            octet => format!("%{octet:02X}"),
        })
        .collect();
    let form = "application/x-www-form-urlencoded";
    let form_body = format!("other=1&request={body}");
    post(server, method, LOGIN, form, &form_body)
}

pub fn code(said: (u16, Value)) -> String {
    assert_eq!(said.0, 400, "{}", said.1);
    said.1["Code"].as_str().unwrap().to_string()
}

#[test]
fn a_message_is_sent_and_its_copy_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let request = json!({
        "From": null, "To": [{"Name": "Ann", "Address": "ann@a.example"}], "BCC": [{"Address": "ben@b.example"}],
        "Subject": "first", "Text": "Hi\n", "HTML": "<p>Hi", "SaveSent": true,
        "AttachedFiles": [{"Name": "a.txt", "Data": "aGVsbG8K"}],
        "Headers": [["X-Thing", "1"]],
    });
    let (status, said) = call(&server, "Send", &request);
    assert_eq!(status, 200, "{said}");
    let ids: Vec<i64> = said["Submissions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["QueueMsgID"].as_i64().unwrap())
        .collect();
    assert_eq!(ids[1], ids[0] + 1);
    assert_eq!(said["Submissions"][1]["Address"], "ben@b.example");
    wait_for_inbox(&server, &["first", "first"]);
    let commands = [
        "EXAMINE INBOX",
        "FETCH 1 BODY.PEEK[]",
        "FETCH 2 BODY.PEEK[]",
        "EXAMINE Sent",
        "FETCH 1 (FLAGS BODY.PEEK[])",
    ];
    let copied = found(
        || imap(&server, "ringmail", "ringmailringmail", &commands),
        |said| said[3].contains("1 EXISTS"),
    );
    // Either may be the first.
    let is_anns = |said: &&String| said.contains("Delivered-To: ann@a.example\r\n");
    let delivered = copied[1..3].iter().find(is_anns).unwrap();
    let copy = &copied[4];
    let message_id = said["MessageID"].as_str().unwrap();
    for message in [delivered, copy] {
        assert!(
            message.contains(&format!("Message-ID: {message_id}\r\n")),
            "{message}"
        );
        assert!(message.contains("X-Thing: 1\r\n"), "{message}");
    }
    assert!(
        !delivered.contains("\nBcc:") && !delivered.contains("ben@"),
        "{delivered}"
    );
    assert!(delivered.contains("DKIM-Signature: "), "{delivered}");
    assert!(copy.contains("Bcc: <ben@b.example>\r\nFrom: "), "{copy}");
    assert!(
        copy.contains("FLAGS (\\Seen ") && copy.contains(" $NotJunk)"),
        "{copy}"
    );
    stop(server);
}

#[test]
fn files_come_in_a_multipart_form() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let body = "--b\r\nContent-Disposition: form-data; name=\"request\"\r\n\r\n{\"To\":[{\"Address\":\"a@a.example\"}],\"HTML\":\"<img src=cid:logo>\",\"Subject\":\"files\"}\r\n\
        --b\r\nContent-Disposition: form-data; name=\"inlinefile\"; filename=\"l.png\"\r\nContent-Type: image/png\r\nContent-ID: <logo>\r\n\r\nPNG\r\n\
        --b\r\nContent-Disposition: form-data; name=\"attachedfile\"; filename=\"x\"\r\n\r\nhello\r\n--b--\r\n";
    let (status, _, said) = post(
        &server,
        "Send",
        LOGIN,
        "multipart/form-data; boundary=b",
        body,
    );
    assert_eq!(status, 200, "{said}");
    wait_for_inbox(&server, &["files"]);
    let commands = [
        "EXAMINE INBOX",
        "FETCH 1 BODYSTRUCTURE",
        "FETCH 1 BODY.PEEK[2]",
    ];
    let said = imap(&server, "ringmail", "ringmailringmail", &commands);
    let kinds = [
        "\"IMAGE\" \"PNG\"",
        "\"<logo>\"",
        "\"TEXT\" \"PLAIN\"",
        "\"RELATED\"",
        "\"MIXED\"",
    ];
    let all = said[1].to_uppercase();
    for kind in kinds {
        assert!(all.contains(&kind.to_uppercase()), "{kind}: {}", said[1]);
    }
    assert!(said[2].contains("aGVsbG8="), "{}", said[2]);
    let cut = &body[..body.len() - 20];
    let (status, _, said) = post(
        &server,
        "Send",
        LOGIN,
        "multipart/form-data; boundary=b",
        cut,
    );
    assert_eq!(
        (status, said.contains("\"protocol\"")),
        (400, true),
        "{said}"
    );
    stop(server);
}

#[test]
fn mistakes_are_told_in_the_words_of_the_api_and_send_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &["--accounts", "1"]);
    let to = json!([{"Address": "a@a.example"}]);
    for (request, expected) in [
        (json!({"To": to}), "missingBody"),
        (
            json!({"To": to, "Text": "t", "From": [{"Address": "a@x"}, {"Address": "b@x"}]}),
            "multipleFrom",
        ),
        (
            json!({"To": to, "Text": "t", "From": [{"Address": "u1@localhost"}]}),
            "badFrom",
        ),
        (json!({"Text": "t"}), "noRecipients"),
        (json!({"To": [{"Address": "a"}], "Text": "t"}), "badAddress"),
        (
            json!({"To": to, "Text": "t", "MessageID": "a"}),
            "malformedMessageID",
        ),
        (
            json!({"To": to, "Text": "t", "Subject": "a\r\nBcc: b@b.example"}),
            "user",
        ),
        (
            json!({"To": to, "Text": "t", "FutureRelease": "2099-01-01T00:00:00Z"}),
            "user",
        ),
        (json!({"To": to, "Txt": "t"}), "protocol"),
        (json!(1), "protocol"),
    ] {
        assert_eq!(code(call(&server, "Send", &request)), expected, "{request}");
    }
    let form = "application/x-www-form-urlencoded";
    for (content_type, body) in [
        (form, ""),
        (form, "request="),
        ("text/plain", "{}"),
        ("multipart/form-data", "{}"),
    ] {
        let (status, _, said) = post(&server, "Send", LOGIN, content_type, body);
        assert_eq!(
            (status, said.contains("\"protocol\"")),
            (400, true),
            "{content_type}: {said}"
        );
    }
    let coded = format!("{form}\r\nContent-Encoding: gzip");
    let (status, head, said) = post(&server, "Send", LOGIN, &coded, "request={}");
    assert_eq!(status, 415, "{said}");
    assert!(head.contains("accept-encoding: identity"), "{head}");
    let (status, head, _) = post(&server, "Send", "", form, "request={}");
    assert_eq!(status, 401);
    assert!(
        head.contains("www-authenticate: Basic realm=webapi"),
        "{head}"
    );
    assert_eq!(
        post(
            &server,
            "Send",
            "ringmail@localhost:wrong",
            form,
            "request={}"
        )
        .0,
        401
    );
    assert_eq!(post(&server, "Nothing", LOGIN, form, "request={}").0, 404);
    assert_eq!(server.get("/webapi/v0/send").0, 404);
    let help = |name: &str| server.get(&format!("/webapi/v0/{name}"));
    assert_eq!(help("Send").0, 200);
    assert!(help("Send").2.contains("\"AttachedFiles\": [\n    {"));
    // Octets are the browser's to show or keep, what is JSON the page's.
    for (name, is_octets) in [("MessageRawGet", true), ("MessageGet", false)] {
        let page = help(name).2;
        let form = format!("<form method=post action=\"{name}\" enctype=multipart/form-data>");
        assert_eq!(page.contains(&form), is_octets, "{page}");
        assert_eq!(page.contains("<script>"), !is_octets, "{page}");
    }
    assert_eq!(server.get("/webapi/v2").0, 404);
    let put = "PUT /webapi/v0/Send HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(server.http(put).0, 405);
    wait_for_queue(dir.path(), <[Value]>::is_empty);
    assert_eq!(inbox(&server), Vec::<String>::new());
    let metrics = server.get("/metrics").2;
    let line = "ringmail_webapi_results_total{method=\"Send\",result=\"badauth\"} 2";
    assert!(metrics.lines().any(|l| l == line), "{metrics}");
    stop(server);
}

#[test]
fn the_suppression_list_is_kept_through_the_api() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let call = |method: &str, request: Value| call(&server, method, &request);
    let address = json!({"EmailAddress": "A+x@a.example"});
    assert_eq!(
        call("SuppressionList", json!({})),
        (200, json!({"Suppressions": []}))
    );
    let add = json!({"EmailAddress": "A+x@a.example", "Manual": true, "Reason": "asked"});
    assert_eq!(call("SuppressionAdd", add.clone()), (200, json!({})));
    assert_eq!(code(call("SuppressionAdd", add)), "error");
    let listed = call("SuppressionList", json!({})).1;
    let one = &listed["Suppressions"][0];
    assert_eq!(one["BaseAddress"], "a@a.example");
    assert_eq!(one["OriginalAddress"], "A+x@a.example");
    assert_eq!(
        (&one["Manual"], &one["Reason"]),
        (&json!(true), &json!("asked"))
    );
    assert_eq!(
        call("SuppressionPresent", json!({"EmailAddress": "a@a.example"})).1,
        json!({"Present": true})
    );
    assert_eq!(call("SuppressionRemove", address.clone()), (200, json!({})));
    assert_eq!(code(call("SuppressionRemove", address)), "error");
    assert_eq!(
        code(call("SuppressionAdd", json!({"EmailAddress": "a"}))),
        "badAddress"
    );
    stop(server);
}

#[test]
fn what_was_answered_is_there_after_a_kill_and_what_was_not_at_most_once() {
    for (faults, answered) in [
        ("fanout.committed=kill@1", false),
        ("fanout.delivered=kill@1", true),
        ("fanout.removed=kill@1", true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Localserve::with_faults(dir.path(), &[], faults);
        let request = json!({"To": [{"Address": "a@a.example"}], "Text": "t", "Subject": "kept", "SaveSent": true});
        let body = format!("request={request}");
        let mut stream = server.connect(80);
        let login = STANDARD.encode(LOGIN);
        let head = format!(
            "POST /webapi/v0/Send HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        use std::io::{Read, Write};
        stream.write_all(head.as_bytes()).unwrap();
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        assert!(answered || said.is_empty(), "{faults}: {said}");
        server.ended();
        let server = Localserve::start(dir.path(), &[]);
        // It was committed at all of these points.
        wait_for_inbox(&server, &["kept"]);
        let commands = ["EXAMINE Sent"];
        let sent = || imap(&server, "ringmail", "ringmailringmail", &commands);
        patiently(
            || sent()[0].contains("* 1 EXISTS"),
            || format!("{faults}: no copy"),
        );
        // All that was left to do is done, and nothing came twice.
        wait_for_queue(dir.path(), <[Value]>::is_empty);
        assert_eq!(inbox(&server), ["kept"], "{faults}");
        let sent = sent();
        assert!(sent[0].contains("* 1 EXISTS"), "{faults}: {}", sent[0]);
        stop(server);
    }
}

#[test]
fn a_login_whose_client_goes_away_is_still_counted() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let login = STANDARD.encode(LOGIN);
    let head = format!(
        "POST /webapi/v0/SuppressionList HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\nContent-Length: 0\r\n\r\n"
    );
    let mut stream = server.connect(80);
    stream.write_all(head.as_bytes()).unwrap();
    drop(stream);
    // Else it would count as under way for a minute, and others of its network would wait for it.
    let line = "ringmail_authentication_total{protocol=\"webapi\",mechanism=\"httpbasic\",result=\"ok\"} 1";
    let metrics = || server.get("/metrics").2;
    found(metrics, |text| text.lines().any(|l| l == line));
    stop(server);
}

#[test]
fn large_requests_are_taken_apart_beside_the_cores() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let data = STANDARD.encode(&content);
    let request = json!({
        "To": [{"Address": "a@a.example"}], "Text": "t", "Subject": "large",
        "AttachedFiles": [{"Name": "a.bin", "Data": data}],
    });
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"request\"\r\n\r\n{request}\r\n--b\r\nContent-Disposition: form-data; name=\"attachedfile\"; filename=\"b.txt\"\r\n\r\n{}\r\n--b--\r\n",
        "y".repeat(100_000)
    );
    let form = "multipart/form-data; boundary=b";
    let (status, _, said) = post(&server, "Send", LOGIN, form, &body);
    assert_eq!(status, 200, "{said}");
    wait_for_inbox(&server, &["large"]);
    let commands = [
        "EXAMINE INBOX",
        "FETCH 1 (RFC822.SIZE BODY.PEEK[2]<3999940.100> BODY.PEEK[3]<0.20>)",
    ];
    let said = imap(&server, "ringmail", "ringmailringmail", &commands);
    assert!(said[1].contains("eXl5eXl5eXl5"), "{}", said[1]);
    let many: Vec<Value> = (0..1001)
        .map(|n| json!({"Address": format!("u{n}@a.example")}))
        .collect();
    let request = json!({"To": many, "Text": "t"});
    assert_eq!(code(call(&server, "Send", &request)), "user");
    let broken = "--b\r\nContent-Disposition: form-data; name=\"request\"\r\n\r\n".to_string()
        + &"[".repeat(200_000)
        + "\r\n--b--\r\n";
    let (status, _, said) = post(&server, "Send", LOGIN, form, &broken);
    assert_eq!(
        (status, said.contains("\"protocol\"")),
        (400, true),
        "{said}"
    );
    stop(server);
}

#[test]
fn requests_that_only_announce_much_hold_up_no_others_and_foreign_pages_are_refused() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let login = STANDARD.encode(LOGIN);
    let head = |length: usize, more: &str| {
        format!(
            "POST /webapi/v0/SuppressionList HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n{more}Content-Length: {length}\r\n\r\n"
        )
    };
    let open: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = server.connect(80);
            stream.write_all(head(64 << 20, "").as_bytes()).unwrap();
            stream
        })
        .collect();
    assert_eq!(call(&server, "SuppressionList", &json!({})).0, 200);
    drop(open);
    let foreign = head(10, "Sec-Fetch-Site: cross-site\r\n") + "request={}";
    assert_eq!(server.http(&foreign).0, 403);
    let own = head(10, "Sec-Fetch-Site: same-origin\r\n") + "request={}";
    assert_eq!(server.http(&own).0, 200);
    let part = "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n";
    let body = part.repeat(2_001) + "--b--\r\n";
    let form = "multipart/form-data; boundary=b";
    let (status, _, said) = post(&server, "Send", LOGIN, form, &body);
    assert_eq!((status, said.contains("2000 parts")), (400, true), "{said}");
    stop(server);
}
