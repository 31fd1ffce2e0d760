use super::*;

const NESTED: &str = concat!(
    "From: =?utf-8?q?J=C3=B6rg?= <j@example.org>, \"a b\"@example.org\r\n",
    "To: Friends: ann@example.net, <bob@example.net>;\r\nCc: <>\r\n",
    "Subject: =?utf-8?q?caf=C3=A9?=\r\n two\r\nMessage-ID:\r\n <Id.1@Example.org>\r\n",
    "In-Reply-To: <c@x> (yes)\r\nReferences: <a@x>\r\n\t<b@x>  <b2@x>\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\n",
    "Content-Type: multipart/mixed; Boundary=o; X=\"Y z\"\r\n\r\npreamble\r\n",
    "--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n",
    "--i\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9=20\r\nau lait=\r\n!\r\n",
    "--i\r\nContent-Type: multipart/related; boundary=r\r\n\r\n",
    "--r\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+Qm9sZDwvYj4=\r\n",
    "--r\r\nContent-Type: image/png\r\nContent-ID: <logo@x>\r\nContent-Disposition: INLINE; filename*=utf-8''l%C3%B6go.png\r\n\r\npng\r\n--r--\r\n",
    "--i--\r\n",
    "--o\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=\"=?utf-8?q?n=C3=B6te.txt?=\"\r\n\r\nattached\r\n",
    "--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n",
    "--o--\r\n",
);

fn texts_of(message: &str) -> (String, String) {
    TakenApart::new(message.as_bytes()).texts()
}

fn addresses(list: &[NameAddress]) -> Vec<(&str, &str)> {
    list.iter()
        .map(|one| (one.name.as_str(), one.address.as_str()))
        .collect()
}

#[test]
fn fields() {
    let message = TakenApart::new(NESTED.as_bytes()).message();
    let from = [("Jörg", "j@example.org"), ("", "\"a b\"@example.org")];
    assert_eq!(addresses(&message.from), from);
    let to = [("", "ann@example.net"), ("", "bob@example.net")];
    assert_eq!(addresses(&message.to), to);
    assert!(message.cc.is_empty() && message.bcc.is_empty() && message.reply_to.is_empty());
    assert_eq!(message.subject, "café two");
    assert_eq!(message.message_id, "<Id.1@Example.org>");
    assert_eq!(message.references, ["<c@x>", "<a@x>", "<b@x>", "<b2@x>"]);
    let date = serde_json::to_string(&message.date).unwrap();
    assert_eq!(date, "\"1997-11-21T09:55:06-06:00\"");
    assert_eq!(message.text, "café \nau lait!");
    assert_eq!(message.html, "<b>Bold</b>");
}

#[test]
fn nothing_is_nothing() {
    for octets in ["", "\r\n", "no field\r\n"] {
        let taken = TakenApart::new(octets.as_bytes());
        assert_eq!(
            Message {
                text: String::new(),
                ..taken.message()
            },
            Message::default(),
            "{octets:?}"
        );
    }
    let odd =
        TakenApart::new(b"Message-ID: x y\r\nReferences: \r\nIn-Reply-To: \r\nDate: soon\r\n\r\n");
    let message = odd.message();
    assert_eq!((message.message_id.as_str(), message.date), ("<x>", None));
    assert!(message.references.is_empty());
}

#[test]
fn an_answered_message_among_the_references_is_not_told_twice() {
    let octets = b"References: <a@x> <b@x>\r\nIn-Reply-To: <b@x>\r\n\r\n";
    let message = TakenApart::new(octets).message();
    assert_eq!(message.references, ["<a@x>", "<b@x>"]);
}

#[test]
fn tree() {
    let taken = TakenApart::new(NESTED.as_bytes());
    let mixed = taken.structure();
    assert_eq!(
        (mixed.content_type.as_str(), mixed.decoded_size),
        ("multipart/mixed", 0)
    );
    let params: Vec<_> = mixed.content_type_params.iter().collect();
    let (boundary, o, x, y) = ("boundary".into(), "o".into(), "x".into(), "Y z".into());
    assert_eq!(params, [(&boundary, &o), (&x, &y)]);
    assert_eq!(mixed.parts.len(), 3);
    let related = &mixed.parts[0].parts[1];
    let logo = &related.parts[1];
    let said = (
        logo.content_id.as_str(),
        logo.content_disposition.as_str(),
        logo.filename.as_str(),
    );
    assert_eq!(said, ("<logo@x>", "inline", "lögo.png"));
    assert_eq!(
        mixed.parts[0].parts[0].decoded_size,
        "caf\u{e9} \r\nau lait!".chars().count() as i64
    );
    assert_eq!(
        (
            related.parts[0].decoded_size,
            mixed.parts[1].filename.as_str()
        ),
        (11, "nöte.txt")
    );
    let inner = &mixed.parts[2];
    assert_eq!(
        (inner.content_type.as_str(), inner.parts.len()),
        ("message/rfc822", 0)
    );
    assert_eq!(
        inner.decoded_size,
        "Subject: inner\r\n\r\ninner text".len() as i64
    );
}

#[test]
fn octets_of_parts() {
    let taken = TakenApart::new(NESTED.as_bytes());
    let part = |path: &[i64]| {
        taken
            .part(path)
            .map(|p| String::from_utf8_lossy(&p).into_owned())
    };
    assert!(part(&[]).unwrap().starts_with("preamble\r\n--o\r\n"));
    assert_eq!(part(&[0, 1, 0]).as_deref(), Some("<b>Bold</b>"));
    assert_eq!(
        taken.part(&[0, 0]).as_deref(),
        Some(b"caf\xe9 \r\nau lait!".as_slice())
    );
    assert_eq!(
        part(&[2]).as_deref(),
        Some("Subject: inner\r\n\r\ninner text")
    );
    for missing in [
        &[3][..],
        &[-1],
        &[i64::MAX],
        &[1, 0],
        &[2, 0],
        &[0, 1, 0, 0],
    ] {
        assert_eq!(part(missing), None, "{missing:?}");
    }
}

#[test]
fn which_texts() {
    let mixed = |parts: &str| {
        texts_of(&format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n"
        ))
    };
    let pair = |text: &str, html: &str| (text.to_string(), html.to_string());
    assert_eq!(texts_of("\r\nplain\r\n"), pair("plain\n", ""));
    assert_eq!(
        texts_of("Content-Type: text/html\r\n\r\n<p>"),
        pair("", "<p>")
    );
    assert_eq!(texts_of("Content-Type: text/csv\r\n\r\na,b"), pair("", ""));
    // An attached text is that of a message which has nothing else.
    let attached = "Content-Disposition: attachment\r\n\r\nx";
    assert_eq!(texts_of(attached), pair("x", ""));
    let attached = format!("--b\r\n{attached}\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n");
    assert_eq!(mixed(&attached), pair("", "<p>"));
    // Of parts in a row the first.
    assert_eq!(
        mixed("--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n"),
        pair("one", "")
    );
    // What a list adds at the end is not the text.
    let inner = "--b\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\nContent-Type: text/html\r\n\r\n<p>\r\n--i--\r\n";
    assert_eq!(
        mixed(&format!("{inner}--b\r\n\r\nfooter\r\n")),
        pair("", "<p>")
    );
    // Another's message is not this one's text.
    assert_eq!(
        mixed("--b\r\nContent-Type: message/rfc822\r\n\r\n\r\ninner\r\n"),
        pair("", "")
    );
    // UTF-8 that calls itself ASCII, or nothing.
    for label in ["", "; charset=us-ascii", "; charset=utf-8"] {
        assert_eq!(
            texts_of(&format!("Content-Type: text/plain{label}\r\n\r\nä\r\n")).0,
            "ä\n"
        );
    }
}

#[test]
fn long_texts_are_cut_between_characters() {
    let (text, _) = texts_of(&format!(
        "Content-Type: text/plain; charset=utf-8\r\n\r\n{}",
        "a\r\n\u{20ac}".repeat(TEXT_MAX / 4)
    ));
    assert!(
        text.len() > TEXT_MAX - 4 && text.len() <= TEXT_MAX && text.starts_with("a\n\u{20ac}a")
    );
}

#[test]
fn sent_by_programs() {
    let is = |header: &str| TakenApart::new(format!("{header}\r\n\r\n").as_bytes()).is_automated();
    for yes in [
        "List-Id: x",
        "list-unsubscribe: <x>",
        "List-Unsubscribe-Post: x",
        "Precedence: x",
        "Auto-Submitted: auto-replied; a=b",
        "Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n\r\n--x--",
    ] {
        assert!(is(yes), "{yes}");
    }
    for no in [
        "Subject: x",
        "Auto-Submitted: No",
        "Auto-Submitted: no; x=y",
        "Auto-Submitted: no(body)",
    ] {
        assert!(!is(no), "{no}");
    }
}

/// What is said of a hostile message is bounded, whatever it holds most of.
#[test]
fn bounded() {
    let many = |head: &str, piece: &str| {
        [head, &piece.repeat((8 << 20) / piece.len()), "\r\n\r\nx"].concat()
    };
    for message in [
        many(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
            "--b\r\nContent-Type: a/b; c=d; e=f; g=h; i=j; k=l\r\n\r\n",
        ),
        many("Content-Type: text/plain; x=", "y"),
        many("To: ", "a@b,"),
        many("References: ", "<a@b> "),
        many("Subject: ", "\u{e4}"),
        many("Message-ID: <", "a"),
    ] {
        let taken = TakenApart::new(message.as_bytes());
        let (said, structure) = (taken.message(), taken.structure());
        let octets = serde_json::to_vec(&said).unwrap().len()
            + serde_json::to_vec(&structure).unwrap().len();
        assert!(octets < 9 << 20, "{octets} {}", &message[..60]);
    }
    let mut nested = String::new();
    for level in 0..200 {
        nested +=
            &format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
    }
    let json = serde_json::to_vec(&TakenApart::new(nested.as_bytes()).structure()).unwrap();
    let read: Result<serde_json::Value, _> = serde_json::from_slice(&json);
    assert!(read.is_ok(), "a reader with usual bounds reads it");
}

/// Random changes of a message: nothing panics, sizes are those of the parts.
#[test]
fn random_octets_are_taken_apart() {
    fn look(taken: &TakenApart<'_>, structure: &Structure, path: &mut Vec<i64>) {
        let octets = taken.part(path).expect("a part that is shown is there");
        let place = taken.part_place(path).unwrap();
        assert_eq!(place.size, octets.len() as u64);
        if structure.parts.is_empty() && !structure.content_type.starts_with("multipart/") {
            assert_eq!(octets.len() as i64, structure.decoded_size, "{path:?}");
        }
        for (at, part) in structure.parts.iter().enumerate() {
            path.push(at as i64);
            look(taken, part, path);
            path.pop();
        }
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % below
    };
    for _ in 0..2000 {
        let mut octets = NESTED.as_bytes().to_vec();
        for _ in 0..random(12) {
            if octets.len() < 2 {
                break;
            }
            let at = random(octets.len());
            match random(4) {
                0 => octets[at] = random(256) as u8,
                1 => drop(octets.remove(at)),
                2 => octets.truncate(at.max(1)),
                _ => {
                    let piece = octets[at..(at + random(80)).min(octets.len())].to_vec();
                    let to = random(octets.len());
                    octets.splice(to..to, piece);
                }
            }
        }
        let taken = TakenApart::new(&octets);
        taken.message();
        let structure = taken.structure();
        look(&taken, &structure, &mut Vec::new());
        let read: Structure = crate::json::read(&serde_json::to_vec(&structure).unwrap()).unwrap();
        assert_eq!(read, structure);
    }
}
