//! The structure of messages, sound and broken: RFC examples first, then hostile ones.

use super::*;

/// `TYPE/SUBTYPE "body"` of each leaf in order, with the depth as indentation.
fn outline(message: &[u8]) -> Vec<String> {
    fn add(part: &Part, message: &[u8], depth: usize, lines: &mut Vec<String>) {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let kind = format!(
            "{}{}/{}",
            ".".repeat(depth),
            text(&part.content_type.media),
            text(&part.content_type.subtype)
        );
        match part.content {
            Content::Leaf => lines.push(format!(
                "{kind} {:?} {}",
                text(part.body_octets(message)),
                part.body_lines
            )),
            _ => lines.push(format!("{kind} {}", part.body_lines)),
        }
        part.children()
            .iter()
            .for_each(|child| add(child, message, depth + 1, lines));
    }
    let structure = Structure::of_message(message);
    assert_eq!(
        Structure::from_bytes(&structure.to_bytes()),
        Some(structure.clone())
    );
    let mut lines = Vec::new();
    add(&structure.root, message, 0, &mut lines);
    lines
}

#[test]
fn plain() {
    assert_eq!(
        outline(b"Subject: x\r\n\r\na\r\nb\r\n"),
        ["TEXT/PLAIN \"a\\r\\nb\\r\\n\" 2"]
    );
    assert_eq!(outline(b""), ["TEXT/PLAIN \"\" 0"]);
    assert_eq!(
        outline(b"Content-Type: TEXT\r\n\r\nx"),
        ["TEXT/PLAIN \"x\" 0"]
    );
    assert_eq!(
        outline(b"Content-Type: image/png;x\n\nx\n"),
        ["IMAGE/PNG \"x\\n\" 1"]
    );
}

#[test]
fn multipart() {
    let message = concat!(
        "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\npreamble\r\n--bb\r\n",
        "--b \t\r\n\r\none\r\n\r\n--b\r\nContent-Type: text/html\r\n--b\r\n\r\n--b--\r\nepilogue\r\n--b\r\nnot a part",
    );
    let expected = [
        "MULTIPART/MIXED 13",
        ".TEXT/PLAIN \"one\\r\\n\" 1",
        ".TEXT/HTML \"\" 0",
        ".TEXT/PLAIN \"\" 0",
    ];
    assert_eq!(outline(message.as_bytes()), expected);
    assert_eq!(
        outline(message.replace("\r\n", "\n").as_bytes())[2..],
        expected[2..]
    );
}

#[test]
fn broken_multiparts() {
    let leaf = |body: &str| {
        vec![format!(
            "APPLICATION/OCTET-STREAM {body:?} {}",
            body.matches('\n').count()
        )]
    };
    assert_eq!(
        outline(b"Content-Type: multipart/mixed\r\n\r\n--b\r\n"),
        leaf("--b\r\n")
    );
    assert_eq!(
        outline(b"Content-Type: multipart/mixed; boundary=b\r\n\r\nno boundary"),
        leaf("no boundary")
    );
    assert_eq!(
        outline(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--"),
        leaf("--b--")
    );
    assert_eq!(
        outline(b"Content-Type: multipart/mixed; boundary=b"),
        leaf("")
    );
    let open = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nopen\r\n";
    assert_eq!(
        outline(open),
        ["MULTIPART/MIXED 3", ".TEXT/PLAIN \"open\\r\\n\" 1"]
    );
    let inner_open = concat!(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n",
        "--i\r\n\r\nx\r\n--o\r\n\r\ny\r\n--o--\r\n",
    );
    let expected = [
        "MULTIPART/MIXED 10",
        ".MULTIPART/MIXED 2",
        "..TEXT/PLAIN \"x\" 0",
        ".TEXT/PLAIN \"y\" 0",
    ];
    assert_eq!(outline(inner_open.as_bytes()), expected);
}

#[test]
fn embedded_messages() {
    let message = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n";
    assert_eq!(
        outline(message),
        ["MESSAGE/RFC822 3", ".TEXT/PLAIN \"x\\r\\n\" 1"]
    );
    let encoded =
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n";
    assert_eq!(
        outline(encoded),
        ["MESSAGE/RFC822 1", ".TEXT/PLAIN \"QQ==\\r\\n\" 1"]
    );
    let digest = b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: in\r\n\r\nx\r\n--b\r\n--b--";
    let expected = [
        "MULTIPART/DIGEST 6",
        ".MESSAGE/RFC822 2",
        "..TEXT/PLAIN \"x\" 0",
        ".MESSAGE/RFC822 0",
        "..TEXT/PLAIN \"\" 0",
    ];
    assert_eq!(outline(digest), expected);
    let structure = Structure::of_message(digest);
    let embedded = structure.part(&[1]).unwrap().part.children()[0]
        .envelope
        .as_ref()
        .unwrap();
    assert_eq!(embedded.subject.as_deref(), Some(b"in".as_slice()));
}

#[test]
fn fields_of_a_part() {
    let message = concat!(
        "Content-Type: application/pdf; name=\"=?utf-8?q?caf=C3=A9.pdf?=\"\r\ncontent-transfer-encoding: base64 (x)\r\n",
        "Content-Disposition: attachment\r\nContent-Language: de, en ,\r\nContent-ID: <1@x>\r\nContent-Description: d\r\n",
        "Content-MD5: m\r\nContent-Location: l\r\nContent-ID: <2@x>\r\nContent-X: y\r\n\r\n",
    );
    let root = Structure::of_message(message.as_bytes()).root;
    assert_eq!(root.transfer_encoding, b"BASE64");
    assert_eq!(root.disposition.as_ref().unwrap().kind, b"ATTACHMENT");
    assert_eq!(root.languages, [b"de".to_vec(), b"en".to_vec()]);
    assert_eq!(root.filename().as_deref(), Some("café.pdf"));
    let texts = [root.content_id, root.description, root.md5, root.location].map(Option::unwrap);
    assert_eq!(
        texts,
        [
            b"<1@x>".to_vec(),
            b"d".to_vec(),
            b"m".to_vec(),
            b"l".to_vec()
        ]
    );
}

#[test]
fn delivery_report() {
    let report = concat!(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nx\r\n",
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nx: y\r\n--b--\r\n",
    );
    assert!(Structure::of_message(report.as_bytes()).is_delivery_report());
    assert!(
        !Structure::of_message(
            report
                .replace("delivery-status\r", "feedback-report\r")
                .as_bytes()
        )
        .is_delivery_report()
    );
}

#[test]
fn stored_form_damaged() {
    let stored = Structure::of_message(
        b"From: a@b\r\nTo: c@d\r\nSender: e\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n",
    )
    .to_bytes();
    for len in 0..stored.len() {
        assert_eq!(Structure::from_bytes(&stored[..len]), None);
    }
    for at in 0..stored.len() {
        for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
            let mut damaged = stored.clone();
            damaged[at] = value;
            let _ = Structure::from_bytes(&damaged);
        }
    }
}

#[test]
fn smtputf8_is_needed_for_headers_only() {
    let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Description: x\r\n\r\né\r\n--b--\r\n";
    let needs = |message: &str| {
        Structure::of_message(message.as_bytes()).needs_smtputf8(message.as_bytes())
    };
    assert!(!needs(message));
    assert!(needs(&message.replace('x', "é")) && needs(&format!("To: é@b\r\n{message}")));
}

#[test]
fn weight_follows_what_is_kept() {
    let weight = |message: &str| Structure::of_message(message.as_bytes()).weight();
    let plain = weight("\r\n");
    assert!((size_of::<Part>()..4096).contains(&plain), "{plain}");
    // Octets of the body are not kept, those of these fields are.
    assert_eq!(weight(&format!("\r\n{}", "x".repeat(100_000))), plain);
    let long = "x".repeat(10_000);
    for field in [
        "Subject",
        "To",
        "Content-Id",
        "Content-Language",
        "Content-Location",
    ] {
        let heavy = weight(&format!("{field}: {long}\r\n\r\n"));
        assert!(heavy >= plain + 10_000, "{field}: {heavy}");
    }
    let parameter = weight(&format!("Content-Disposition: x; filename={long}\r\n\r\n"));
    assert!(parameter >= plain + 10_000);
    let parts = "--b\r\n\r\n".repeat(1000);
    let many = weight(&format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}"
    ));
    assert!(many >= 1000 * size_of::<Part>());
}
