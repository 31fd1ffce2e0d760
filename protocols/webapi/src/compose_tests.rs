use message::{Header, Structure};

use super::*;
use crate::json::read;

fn maker() -> Maker<'static> {
    Maker {
        author: ("Otto", "otto@example.org"),
        message_id: "made@mail.example.org",
        now: Time::of_unix(1_790_000_000).unwrap(),
        product: "ringmail/0",
        boundary: None,
    }
}

fn request(json: &str) -> SendRequest {
    read(json.as_bytes()).unwrap()
}

fn made(json: &str) -> String {
    let composed = compose(&request(json), &[], &maker()).unwrap();
    String::from_utf8(composed.octets).unwrap()
}

fn refused(json: &str) -> ApiError {
    compose(&request(json), &[], &maker()).unwrap_err()
}

fn names(message: &str) -> Vec<String> {
    let head = &message[..message.find("\r\n\r\n").unwrap() + 2];
    let fields = Header::of_section(head.as_bytes());
    let names = fields
        .fields()
        .map(|field| String::from_utf8_lossy(field.name).into_owned());
    names.collect()
}

/// Content types, nested: `multipart/mixed(text/plain image/png)`.
fn tree(message: &str) -> String {
    fn of(part: &message::Part) -> String {
        let word = |octets: &[u8]| String::from_utf8_lossy(octets).to_lowercase();
        let of_part = &part.content_type;
        let kind = format!("{}/{}", word(&of_part.media), word(&of_part.subtype));
        match &part.content {
            message::Content::Multipart(parts) => {
                let parts: Vec<String> = parts.iter().map(of).collect();
                format!("{kind}({})", parts.join(" "))
            }
            _ => kind,
        }
    }
    of(&Structure::of_message(message.as_bytes()).root)
}

#[test]
fn fields_are_in_their_order() {
    let message = made(
        r#"{"From":[{"Name":"Ö","Address":"o@example.org"}],"To":[{"Address":"a@x.example"},{"Name":"B, C","Address":"b@x.example"}],
            "CC":[{"Address":"c@x.example"}],"BCC":[{"Address":"secret@x.example"}],"ReplyTo":[{"Address":"r@example.org"}],
            "References":["<1@x>","<2@x>"],"Subject":"Grüße","Text":"Hi\n","Headers":[["X-One","1"],["List-Id","<l.example.org>"]],
            "Date":"2026-08-01T10:00:00+02:00"}"#,
    );
    let expected = "From Reply-To To Cc Subject Date Message-ID References In-Reply-To MIME-Version X-One List-Id User-Agent Content-Type Content-Transfer-Encoding";
    assert_eq!(names(&message).join(" "), expected, "{message}");
    assert!(!message.contains("secret"));
    assert!(
        message.contains("Date: Sat, 01 Aug 2026 10:00:00 +0200\r\n"),
        "{message}"
    );
    assert!(message.contains("References: <1@x> <2@x>\r\nIn-Reply-To: <2@x>\r\n"));
    assert!(message.contains("Message-ID: <made@mail.example.org>\r\n"));
    assert!(message.is_ascii());
    assert!(message.ends_with("\r\n\r\nHi\r\n"), "{message:?}");
}

#[test]
fn a_domain_beyond_ascii_needs_no_smtputf8() {
    let json = r#"{"Text":"t","To":[{"Address":"a@bücher.example"}]}"#;
    assert!(
        made(json).contains("To: <a@xn--bcher-kva.example>\r\n"),
        "{}",
        made(json)
    );
    let addressed = Addressed::of(&request(json), "otto@example.org").unwrap();
    assert!(!addressed.smtputf8);
    let json = r#"{"Text":"t","To":[{"Address":"ä@bücher.example"}]}"#;
    assert!(
        made(json).contains("To: <ä@bücher.example>\r\n"),
        "{}",
        made(json)
    );
}

#[test]
fn an_author_is_made_up_and_a_program_named_by_the_request_stays() {
    let message = made(r#"{"Text":"t","Headers":[["x-mailer","mine"]]}"#);
    assert!(
        message.starts_with("From: \"Otto\" <otto@example.org>\r\nDate: "),
        "{message}"
    );
    assert!(!message.contains("User-Agent"));
}

#[test]
fn parts_are_nested_only_where_they_must_be() {
    let file = r#"{"Name":"a.png","Data":"iVBORw0KGgoAAAANSUhEUg=="}"#;
    for (json, expected) in [
        (r#"{"Text":"t"}"#.to_string(), "text/plain"),
        (r#"{"HTML":"<p>h"}"#.to_string(), "text/html"),
        (
            r#"{"Text":"t","HTML":"h"}"#.to_string(),
            "multipart/alternative(text/plain text/html)",
        ),
        (
            r#"{"Text":"t","AlternativeFiles":[{"ContentType":"text/calendar","Data":""}]}"#.into(),
            "multipart/alternative(text/plain text/calendar)",
        ),
        (
            format!(r#"{{"HTML":"h","InlineFiles":[{file}]}}"#),
            "multipart/related(text/html image/png)",
        ),
        (
            format!(
                r#"{{"Text":"t","HTML":"h","InlineFiles":[{file}],"AttachedFiles":[{file},{file}]}}"#
            ),
            "multipart/mixed(multipart/related(multipart/alternative(text/plain text/html) image/png) image/png image/png)",
        ),
    ] {
        assert_eq!(tree(&made(&json)), expected);
    }
}

#[test]
fn files_keep_their_names_and_ids() {
    let json =
        r#"{"Text":"t","InlineFiles":[{"Name":"ä.txt","ContentID":"<i@x>","Data":"aGVsbG8K"}]}"#;
    let message = made(json);
    assert!(
        message.contains("Content-Type: text/plain; charset=utf-8\r\n"),
        "{message}"
    );
    assert!(message.contains("Content-ID: <i@x>\r\n"));
    assert!(message.contains("\r\n\r\naGVsbG8K"), "{message}");
    let structure = Structure::of_message(message.as_bytes());
    let message::Content::Multipart(parts) = &structure.root.content else {
        panic!()
    };
    assert_eq!(parts[1].filename().as_deref(), Some("ä.txt"));
    let upload = Upload {
        kind: UploadKind::Attached,
        name: "u.bin".into(),
        content_type: String::new(),
        content_id: String::new(),
        content: &[0, 1, 2],
    };
    let composed = compose(&request(r#"{"Text":"t"}"#), &[upload], &maker()).unwrap();
    let message = String::from_utf8(composed.octets).unwrap();
    assert!(
        message.contains("Content-Type: application/octet-stream\r\n"),
        "{message}"
    );
    assert!(
        message.contains("attachment; filename=\"u.bin\"\r\n"),
        "{message}"
    );
}

#[test]
fn long_lines_and_strange_text_become_lines_that_smtp_carries() {
    let text = format!("{}\nÄ\n.dot\nFrom here\r\nend", "x".repeat(3000));
    let json = serde_json::json!({"Text": text, "Subject": "y".repeat(3000)}).to_string();
    let message = made(&json);
    assert!(
        message.split("\r\n").all(|line| line.len() <= 998),
        "{message}"
    );
    assert!(!message.replace("\r\n", "").contains(['\r', '\n']));
    let structure = Structure::of_message(message.as_bytes());
    let encoding = structure.root.decoder().unwrap();
    let decoded = encoding.decode(structure.root.body_octets(message.as_bytes()));
    assert_eq!(
        String::from_utf8(decoded.into_owned())
            .unwrap()
            .replace("\r\n", "\n"),
        text.replace("\r\n", "\n")
    );
}

#[test]
fn what_would_break_a_field_is_refused() {
    for json in [
        r#"{"Text":"t","Subject":"a\nBcc: x@y"}"#,
        r#"{"Text":"t","To":[{"Name":"a\r\nX: y","Address":"a@x"}]}"#,
        r#"{"Text":"t","Headers":[["X","a\nb"]]}"#,
        r#"{"Text":"t","Headers":[["X y","a"]]}"#,
        r#"{"Text":"t","Headers":[["X:","a"]]}"#,
        r#"{"Text":"t","Headers":[["","a"]]}"#,
        r#"{"Text":"t","Headers":[["content-type","a/b"]]}"#,
        r#"{"Text":"t","Headers":[["From","a@b"]]}"#,
        r#"{"Text":"t","Headers":[["Sender","a@b"],["sender","a@b"]]}"#,
        r#"{"Text":"t","References":["<1@x>\n"]}"#,
        r#"{"Text":"t","MessageID":"<a\u0000@x>"}"#,
        r#"{"Text":"t","AttachedFiles":[{"Data":"?"}]}"#,
        r#"{"Text":"t","AttachedFiles":[{"ContentType":"a/b\n","Data":""}]}"#,
        r#"{"Text":"t","AttachedFiles":[{"ContentID":"a\n","Data":""}]}"#,
        r#"{"Text":"t","AttachedFiles":[{"ContentID":"é","Data":""}]}"#,
        r#"{"Text":"t","AttachedFiles":[{"ContentType":"a/b; c=é","Data":""}]}"#,
        r#"{"Text":"t","MessageID":"<é@x>"}"#,
        r#"{"Text":"t","References":["<é@x>"]}"#,
        &format!(r#"{{"Text":"t","MessageID":"<{}@x>"}}"#, "a".repeat(900)),
        &format!(r#"{{"Text":"t","References":["<{}@x>"]}}"#, "a".repeat(900)),
        r#"{"Text":"a\u0000b"}"#,
        r#"{"Text":"t","HTML":"a\u0000b"}"#,
        r#"{"Text":"t","Headers":[["X-MOX-Extra-Key","a"]]}"#,
        r#"{"Text":"t","Headers":[["Ringmail-extra-Key","a"]]}"#,
    ] {
        assert_eq!(refused(json).code, Code::User, "{json}");
    }
    assert_eq!(
        refused(r#"{"Text":"t","MessageID":"a@x"}"#).code,
        Code::MalformedMessageId
    );
}

#[test]
fn addresses_are_read_in_order_and_the_author_first() {
    let addressed = |json: &str| Addressed::of(&request(json), "otto@example.org");
    let code = |json: &str| addressed(json).unwrap_err().code;
    assert_eq!(code(r#"{"To":[{"Address":"x"}]}"#), Code::MissingBody);
    assert_eq!(
        code(r#"{"Text":"t","From":[{"Address":"a@x"},{"Address":"b@x"}]}"#),
        Code::MultipleFrom
    );
    assert_eq!(
        code(r#"{"Text":"t","To":[{"Address":"x"}]}"#),
        Code::BadAddress
    );
    assert_eq!(
        code(r#"{"Text":"t","ReplyTo":[{"Address":"x"}]}"#),
        Code::BadAddress
    );
    let all = addressed(
        r#"{"Text":"t","BCC":[{"Address":"c@x.example"}],"To":[{"Address":"ä@x.example"}],"CC":[{"Address":"b@x.example"}]}"#,
    )
    .unwrap();
    let order: Vec<&str> = all
        .recipients
        .iter()
        .map(|(text, _)| text.as_str())
        .collect();
    assert_eq!(order, ["ä@x.example", "b@x.example", "c@x.example"]);
    assert!(all.smtputf8);
    assert_eq!(all.from.to_string(), "otto@example.org");
    assert!(addressed(r#"{"Text":"t"}"#).unwrap().recipients.is_empty());
}

#[test]
fn requests_are_read_as_the_first_clients_write_them() {
    let full = r#"{"From":null,"To":[{"Name":"","Address":"ann@example.net"}],"CC":null,"BCC":null,"ReplyTo":null,"MessageID":"","References":null,"Date":null,"Subject":"s","Text":"t","HTML":"",
        "Extra":null,"Headers":null,"AlternativeFiles":null,"InlineFiles":null,"AttachedFiles":null,"RequireTLS":null,"FutureRelease":null,"SaveSent":false} {"what":"follows"}"#;
    let read_full = request(full);
    assert_eq!(read_full.to[0].address, "ann@example.net");
    assert_eq!(read_full.require_tls, None);
    assert_eq!(
        request(r#"{"TEXT":"t","saveSENT":true,"RequireTLS":false}"#).require_tls,
        Some(false)
    );
    for json in [
        r#"{"Txt":"t"}"#,
        "[]",
        "",
        "{",
        r#"{"Text":1}"#,
        r#"{"Date":"tomorrow"}"#,
        "null",
    ] {
        let error = read::<SendRequest>(json.as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::Protocol, "{json}");
        assert!(error.message.starts_with("parsing request:"));
    }
    let written = serde_json::to_string(&read_full).unwrap();
    assert_eq!(request(&written), read_full);
}

#[test]
fn lists_are_bounded_while_they_are_read() {
    let with = |field: &str, entries: usize, entry: &str| {
        let entries = vec![entry; entries].join(",");
        read::<SendRequest>(format!(r#"{{"{field}":[{entries}]}}"#).as_bytes())
    };
    for (field, entry) in [
        ("To", "{}"),
        ("bcc", "{}"),
        ("References", r#""""#),
        ("Headers", r#"["",""]"#),
        ("AttachedFiles", "{}"),
    ] {
        assert!(with(field, 10_000, entry).is_ok(), "{field}");
        let error = with(field, 10_001, entry).unwrap_err();
        assert_eq!(error.code, Code::Protocol, "{field}");
        assert!(error.message.contains("10000"), "{}", error.message);
    }
    let extra = |keys: usize| {
        let pairs: Vec<String> = (0..keys).map(|n| format!(r#""{n}":"""#)).collect();
        read::<SendRequest>(format!(r#"{{"Extra":{{{}}}}}"#, pairs.join(",")).as_bytes())
    };
    assert_eq!(extra(10_000).unwrap().extra.len(), 10_000);
    assert!(extra(10_001).is_err());
}

#[test]
fn files_are_bounded_wherever_they_come_from() {
    let with = |inline: usize, attached: usize, uploads: usize| {
        let files = |count: usize| vec!["{}"; count].join(",");
        let (inline, attached) = (files(inline), files(attached));
        let json =
            format!(r#"{{"Text":"t","InlineFiles":[{inline}],"AttachedFiles":[{attached}]}}"#);
        let upload = Upload {
            kind: UploadKind::Attached,
            name: String::new(),
            content_type: String::new(),
            content_id: String::new(),
            content: b"x",
        };
        compose(&request(&json), &vec![upload; uploads], &maker()).map(|_| ())
    };
    assert_eq!(with(300, 300, 400), Ok(()));
    assert_eq!(with(300, 301, 400).unwrap_err().code, Code::User);
    assert_eq!(with(0, 0, 1001).unwrap_err().code, Code::User);
}

#[test]
fn base64_may_be_in_lines() {
    let message = made(r#"{"Text":"t","AttachedFiles":[{"Name":"a","Data":"QU\r\nJ\nD\r\n"}]}"#);
    assert!(message.contains("\r\nQUJD\r\n"), "{message}");
}

#[test]
fn a_lone_cr_ends_a_line() {
    let message = made(r#"{"Text":"a\rb\r\nc\nd\r\r"}"#);
    assert!(
        message.ends_with("\r\n\r\na\r\nb\r\nc\r\nd\r\n\r\n"),
        "{message:?}"
    );
}

#[test]
fn with_the_same_boundary_a_request_comes_to_the_same_octets() {
    let request = SendRequest {
        to: vec![NameAddress {
            name: "Ann".into(),
            address: "ann@example.net".into(),
        }],
        text: "Hi".into(),
        html: "<p>Hi".into(),
        attached_files: vec![File {
            name: "a".into(),
            data: "eA==".into(),
            ..File::default()
        }],
        ..SendRequest::default()
    };
    let made = |boundary| {
        let maker = Maker {
            author: ("", "me@example.org"),
            message_id: "1@example.org",
            now: Time::of_unix(0).unwrap(),
            product: "test",
            boundary,
        };
        let octets = compose(&request, &[], &maker).unwrap().octets;
        String::from_utf8(octets).unwrap()
    };
    let text = made(Some("b17"));
    assert_eq!(text, made(Some("b17")));
    for (line, times) in [
        ("--b17-mixed\r\n", 2),
        ("--b17-alternative\r\n", 2),
        ("--b17-mixed--", 1),
    ] {
        assert_eq!(text.matches(line).count(), times, "{line:?} in {text}");
    }
    assert_ne!(made(None), made(None));
}

#[test]
fn what_ends_a_message_of_many_is_the_same_for_all() {
    let maker = Maker {
        boundary: Some("b17"),
        ..maker()
    };
    let file = |name: &str| File {
        name: name.into(),
        data: "eA==".into(),
        ..File::default()
    };
    let inline = [vec![], vec![file("i")], vec![file("i"), file("j")]];
    let attached = [vec![], vec![file("a")], vec![file("a"), file("b")]];
    let texts = [("Hi", ""), ("", "<p>Hi"), ("Hi\n", "<p>Hi"), ("", "")];
    for (inline, attached) in inline
        .iter()
        .flat_map(|i| attached.iter().map(move |a| (i, a)))
    {
        let whole = |(text, html): (&str, &str)| SendRequest {
            text: text.into(),
            html: html.into(),
            inline_files: inline.clone(),
            attached_files: attached.clone(),
            ..SendRequest::default()
        };
        let first = whole(("the first", "<b>--b17"));
        let kinds = FileKinds::of(&first, &[]);
        let mut first = compose(&first, &[], &maker).unwrap().octets;
        let end = split_files(&mut first, kinds, &maker);
        assert_eq!(end.is_empty(), kinds == FileKinds::NONE);
        for text in texts {
            let whole = whole(text);
            let own = SendRequest {
                inline_files: Vec::new(),
                attached_files: Vec::new(),
                ..whole.clone()
            };
            let own = compose_before_files(&own, kinds, &maker).unwrap();
            let made = [own, end.clone()].concat();
            let whole = compose(&whole, &[], &maker).unwrap().octets;
            assert_eq!(made, whole, "{text:?} {}", String::from_utf8_lossy(&whole));
        }
    }
    let upload = Upload {
        kind: UploadKind::Inline,
        name: String::new(),
        content_type: String::new(),
        content_id: String::new(),
        content: b"",
    };
    assert!(FileKinds::of(&SendRequest::default(), &[upload]).inline);
}

#[test]
fn messages_within_are_not_encoded() {
    let made = |kind: &str, content: &[u8]| {
        let upload = Upload {
            kind: UploadKind::Attached,
            name: "m.eml".into(),
            content_type: kind.into(),
            content_id: String::new(),
            content,
        };
        let request = request(r#"{"To": [{"Address": "a@x"}], "Text": "t"}"#);
        compose(&request, &[upload], &maker()).unwrap().octets
    };
    let part = |octets: &[u8]| {
        let parts = Structure::of_message(octets).root.children().to_vec();
        let part = parts[1].clone();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let kind = [
            &part.content_type.media[..],
            b"/",
            &part.content_type.subtype[..],
        ]
        .concat();
        (
            text(&kind),
            text(&part.transfer_encoding),
            part.body_octets(octets).to_vec(),
        )
    };
    let (kind, encoding, body) = part(&made("message/rfc822", b"Subject: a\n\nhi\r\n"));
    assert_eq!(
        (kind.as_str(), encoding.as_str()),
        ("MESSAGE/RFC822", "7BIT")
    );
    assert!(body.starts_with(b"Subject: a\r\n\r\nhi\r\n"));
    let (kind, encoding, body) = part(&made(
        "Message/RFC822; x=y",
        "Subject: a\r\n\r\n\u{e4}\r\n".as_bytes(),
    ));
    assert_eq!(
        (kind.as_str(), encoding.as_str()),
        ("MESSAGE/RFC822", "8BIT")
    );
    assert!(body.windows(2).any(|w| w == "\u{e4}".as_bytes()));
    let long = [b"Subject: a\r\n\r\n".as_slice(), &[b'x'; 999], b"\r\n"].concat();
    for odd in [&long[..], b"a\0b", b"a\rb"] {
        let (kind, encoding, _) = part(&made("message/rfc822", odd));
        assert_eq!(
            (kind.as_str(), encoding.as_str()),
            ("APPLICATION/OCTET-STREAM", "BASE64")
        );
    }
    let fits = [b"Subject: a\r\n\r\n".as_slice(), &[b'x'; 998], b"\r\n"].concat();
    assert_eq!(part(&made("message/rfc822", &fits)).1, "7BIT");
}

#[test]
fn nobody_signs_for_us() {
    let error = refused(
        r#"{"To": [{"Address": "a@x"}], "Text": "t", "Headers": [["dkim-signature", "v=1"]]}"#,
    );
    assert_eq!(error.code, Code::User);
}
