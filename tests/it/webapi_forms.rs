//! Forms of the sending API with files, as programs of all times write them: what comes is sent, with its name, or the request is refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::filled::{imap, stop};
use crate::program::Localserve;
use crate::queue::wait_for_inbox;
use crate::webapi_v1::by_password;

/// A form with the JSON in the one part and the DATA of a file in another, whose header is given without its last line end.
fn form((part, json): (&str, &Value), header: &[u8], line_end: &str) -> Vec<u8> {
    let field = format!("Content-Disposition: form-data; name=\"{part}\"");
    let before = ["--b", &field, "", &json.to_string(), "--b", ""].join(line_end);
    let after = ["", "", "DATA", "--b--", ""].join(line_end);
    [before.as_bytes(), header, after.as_bytes()].concat()
}

fn post(server: &Localserve, path: &str, body: &[u8]) -> (u16, Value) {
    let head = format!(
        "POST /webapi/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n",
        by_password(),
        body.len()
    );
    let (status, _, said) = server.http(&[head.as_bytes(), body].concat());
    (status, serde_json::from_str(&said).unwrap())
}

/// Name and octets of the file that is attached to each message, which wait for it.
fn attached(server: &Localserve, count: usize) -> Vec<(String, String)> {
    wait_for_inbox(server, &vec!["form"; count]);
    let fetch = format!("FETCH 1:{count} (BODYSTRUCTURE BODY.PEEK[2])");
    let said = imap(
        server,
        "ringmail",
        "ringmailringmail",
        &["EXAMINE INBOX", &fetch],
    );
    let messages = said[1].split("BODYSTRUCTURE").skip(1);
    let files = messages.map(|message| {
        let (_, name) = message.split_once("(\"FILENAME\" ").unwrap_or_default();
        let (name, _) = name.split_once("))").unwrap_or_default();
        // As a quoted string, or a literal.
        let name = name
            .split_once("\r\n")
            .map_or(name.trim_matches('"'), |of| of.1);
        let is_data = |line: &&str| *line == STANDARD.encode("DATA");
        let data = message.lines().find(is_data).unwrap_or_default();
        (name.to_string(), data.to_string())
    });
    files.collect()
}

fn requests() -> [Value; 2] {
    let to = "a@a.example";
    [
        json!({"To": [{"Address": to}], "Text": "t", "Subject": "form"}),
        json!({"from": {"address": "ringmail@localhost"}, "to": [{"address": to}], "text": "t", "subject": "form"}),
    ]
}

#[test]
fn a_file_with_any_name_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let [v0, v1] = requests();
    let names: [(&[u8], &str); 4] = [
        (b"filename=\"r\xe9.pdf\"", "r\u{e9}.pdf"),
        (b"filename=\"\x83e\x83X.pdf\"", "\u{192}e\u{192}X.pdf"),
        (b"filename*0=\"ab\"; filename*1=\"c.pdf\"", "abc.pdf"),
        (b"filename*=utf-8''r\xe9.pdf", "r\u{e9}.pdf"),
    ];
    let mut expected = Vec::new();
    for (written, name) in names {
        let of = |field: &str| {
            let field = format!("Content-Disposition: form-data; name={field}; ");
            [field.as_bytes(), written].concat()
        };
        let of_v0 = form(("request", &v0), &of("attachedfile"), "\r\n");
        let (status, said) = post(&server, "v0/Send", &of_v0);
        assert_eq!(status, 200, "{name}: {said}");
        let of_v1 = form(("message", &v1), &of("attachment"), "\r\n");
        let (status, said) = post(&server, "v1/messages", &of_v1);
        assert_eq!(status, 200, "{name}: {said}");
        expected.extend(vec![(name.to_string(), STANDARD.encode("DATA")); 2]);
    }
    assert_eq!(attached(&server, expected.len()), expected);
    stop(server);
}

#[test]
fn parts_are_read_as_programs_write_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let [v0, _] = requests();
    let send = |header: &[u8], line_end: &str| {
        let (status, said) = post(
            &server,
            "v0/Send",
            &form(("request", &v0), header, line_end),
        );
        let code = said["Code"].as_str().unwrap_or_default().to_string();
        (status, code)
    };
    let field = "Content-Disposition: form-data; name=attachedfile; filename=x";
    let more = "\r\nX-More: 1".repeat(100);
    let headers = [
        (field.replace("; ", ";\r\n "), "\r\n"),
        (field.replace(": ", " : "), "\r\n"),
        (field.replace("; ", ";\n\t"), "\n"),
        (format!("{field}{more}"), "\r\n"),
        (field.replace("filename=x", "filename=\"../../x\""), "\r\n"),
        (
            field.replace("name=", "filename=\"C:\\dir\\x\\\"; name="),
            "\r\n",
        ),
        (
            format!("{field}\r\nContent-Transfer-Encoding: quoted-printable"),
            "\r\n",
        ),
    ];
    for (header, line_end) in &headers {
        let said = send(header.as_bytes(), line_end);
        assert_eq!(said, (200, String::new()), "{header}");
    }
    let expected = ("x".to_string(), STANDARD.encode("DATA"));
    assert_eq!(
        attached(&server, headers.len()),
        vec![expected; headers.len()]
    );
    for header in [
        field.replace("attachedfile", "attachment"),
        field.replace("name=attachedfile; ", ""),
        field.replace("=x", "=\"x"),
    ] {
        let said = send(header.as_bytes(), "\r\n");
        assert_eq!(said, (400, "protocol".to_string()), "{header}");
    }
    stop(server);
}
