//! Responses as the RFCs show them; everything the encoder writes is read back by the client.

use super::*;
use crate::client::{self, Client, FetchData, ResponseCode, Value};
use crate::types::*;

fn written(syntax: NameSyntax, write: impl FnOnce(&mut Encoder<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Encoder::new(&mut out, syntax));
    String::from_utf8(out).unwrap()
}

fn plain(write: impl FnOnce(&mut Encoder<'_>)) -> String {
    written(NameSyntax::ModifiedUtf7, write)
}

/// The one response that these octets are.
fn read_back(octets: &[u8]) -> client::Response {
    let mut client = Client::new();
    assert_eq!(
        client.receive(octets),
        octets.len(),
        "{}",
        String::from_utf8_lossy(octets)
    );
    match client.event() {
        Some(client::Event::Response(response)) => response,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(octets)),
    }
}

fn number(number: u32) -> SequenceNumber {
    SequenceNumber::new(number).unwrap()
}

fn fetched(syntax: NameSyntax, write: impl FnOnce(&mut FetchWriter<'_>)) -> (String, FetchData) {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, syntax);
    let mut writer = encoder.fetch(number(12));
    write(&mut writer);
    writer.end();
    let client::Response::Fetch(data) = read_back(&out) else {
        panic!()
    };
    (String::from_utf8_lossy(&out).into_owned(), data)
}

#[test]
fn status_responses() {
    let tag = Tag::new(b"A1").unwrap();
    assert_eq!(
        plain(|e| e.tagged(&tag, Condition::Ok, Some(&Code::ReadWrite), "done")),
        "A1 OK [READ-WRITE] done\r\n"
    );
    assert_eq!(
        plain(|e| e.untagged(Condition::Bye, None, "")),
        "* BYE done\r\n"
    );
    // Nothing can end the line, nor look like the head of a literal.
    assert_eq!(
        plain(|e| e.untagged(Condition::No, None, "a\r\nb\0\u{e9} {5}")),
        "* NO a  b ? (5)\r\n"
    );
    let mut out = Vec::new();
    challenge(&mut out, b"\0test\0test");
    continuation(&mut out, "idling");
    assert_eq!(out, b"+ AHRlc3QAdGVzdA==\r\n+ idling\r\n");
}

#[test]
fn codes() {
    let code = |code: &Code<'_>| {
        let mut out = Vec::new();
        untagged(&mut out, Condition::Ok, Some(code), "x");
        let client::Response::Status(status) = read_back(&out) else {
            panic!()
        };
        let text = String::from_utf8(out).unwrap();
        (
            text["* OK [".len()..text.len() - "] x\r\n".len()].to_owned(),
            status.code.unwrap(),
        )
    };
    let validity = UidValidity::new(38505).unwrap();
    let (source, copies) = (
        NumberSet::from_ranges(vec![(304, 304), (319, 320)]),
        NumberSet::from_range(3956, 3958),
    );
    let (text, parsed) = code(&Code::CopyUid(validity, &source, &copies));
    assert_eq!(text, "COPYUID 38505 304,319:320 3956:3958"); // RFC 9051 6.4.7
    assert_eq!(
        parsed,
        ResponseCode::CopyUid(validity, source.clone(), copies.clone())
    );
    assert_eq!(
        code(&Code::AppendUid(validity, &copies)).1,
        ResponseCode::AppendUid(validity, copies.clone())
    );
    assert_eq!(code(&Code::Modified(&source)).0, "MODIFIED 304,319:320");
    assert_eq!(
        code(&Code::BadCharset(&["US-ASCII", "UTF-8"])).0,
        "BADCHARSET (US-ASCII UTF-8)"
    );
    assert_eq!(code(&Code::BadCharset(&[])).0, "BADCHARSET");
    assert_eq!(
        code(&Code::Capability(&["IMAP4rev2", "IDLE"])).0,
        "CAPABILITY IMAP4rev2 IDLE"
    );
    let flags = Code::PermanentFlags {
        system: SystemFlags::EVERY,
        keywords: &["$Junk"],
        new_keywords: true,
    };
    assert_eq!(
        code(&flags).0,
        "PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Junk \\*)"
    );
    assert_eq!(
        code(&Code::PermanentFlags {
            system: SystemFlags::NONE,
            keywords: &[],
            new_keywords: false
        })
        .0,
        "PERMANENTFLAGS ()"
    );
    assert_eq!(
        code(&Code::UidNext(Uid::new(4392).unwrap())).0,
        "UIDNEXT 4392"
    );
    assert_eq!(code(&Code::Unseen(number(7))).0, "UNSEEN 7");
    assert_eq!(
        code(&Code::HighestModSeq(ModSeq::new(715_194_045_007).unwrap())).0,
        "HIGHESTMODSEQ 715194045007"
    );
    assert_eq!(
        code(&Code::InProgress(Some(("A1", 5, None)))).0,
        "INPROGRESS (\"A1\" 5 NIL)"
    );
    assert_eq!(code(&Code::MetadataMaxSize(9)).0, "METADATA MAXSIZE 9");
    assert_eq!(code(&Code::UnknownCte).0, "UNKNOWN-CTE");
}

#[test]
fn lists() {
    let item = ListItem {
        attributes: &[
            MailboxAttribute::HasNoChildren,
            MailboxAttribute::SpecialUse(SpecialUse::Sent),
        ],
        delimiter: Some(b'/'),
        name: "Sent Mail",
        child_info: &[],
        old_name: None,
    };
    assert_eq!(
        plain(|e| e.list(&item)),
        "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent Mail\"\r\n"
    );
    let root = ListItem {
        attributes: &[],
        name: "",
        ..item
    };
    assert_eq!(plain(|e| e.list(&root)), "* LIST () \"/\" \"\"\r\n");
    let umlaut = ListItem {
        name: "Entw\u{fc}rfe & \"x\"",
        attributes: &[],
        delimiter: None,
        ..item
    };
    assert_eq!(
        plain(|e| e.lsub(&umlaut)),
        "* LSUB () NIL \"Entw&APw-rfe &- \\\"x\\\"\"\r\n"
    );
    let utf8 = written(NameSyntax::Utf8, |e| e.list(&umlaut));
    assert_eq!(utf8, "* LIST () NIL \"Entw\u{fc}rfe & \\\"x\\\"\"\r\n");
    let client::Response::List(list) = read_back(utf8.as_bytes()) else {
        panic!()
    };
    assert_eq!(list.name, umlaut.name);
    // RFC 9051 6.3.9.8 and 6.3.9.7
    let extended = ListItem {
        name: "foo2",
        child_info: &["SUBSCRIBED"],
        old_name: Some("f\u{e9}"),
        ..root
    };
    assert_eq!(
        plain(|e| e.list(&extended)),
        "* LIST () \"/\" foo2 (\"CHILDINFO\" (\"SUBSCRIBED\") \"OLDNAME\" (f&AOk-))\r\n"
    );
    let nil = ListItem {
        name: "nil",
        ..root
    };
    assert_eq!(plain(|e| e.list(&nil)), "* LIST () \"/\" \"nil\"\r\n");
}

#[test]
fn mailbox_data() {
    assert_eq!(plain(|e| e.exists(0)), "* 0 EXISTS\r\n");
    assert_eq!(plain(|e| e.recent(5)), "* 5 RECENT\r\n");
    assert_eq!(
        plain(|e| e.expunge(number(4_294_967_295))),
        "* 4294967295 EXPUNGE\r\n"
    );
    assert_eq!(
        plain(|e| e.flags(SystemFlags::NONE.with(SystemFlag::Seen), ["$Junk"])),
        "* FLAGS (\\Seen $Junk)\r\n"
    );
    assert_eq!(
        plain(|e| e.capability(&["IMAP4rev1"])),
        "* CAPABILITY IMAP4rev1\r\n"
    );
    assert_eq!(plain(|e| e.enabled(&[])), "* ENABLED\r\n");
    let items = [
        (StatusItem::Messages, Some(231)),
        (StatusItem::Size, Some(u64::MAX >> 1)),
        (StatusItem::AppendLimit, None),
    ];
    assert_eq!(
        plain(|e| e.status("blurdybloop", items)),
        "* STATUS blurdybloop (MESSAGES 231 SIZE 9223372036854775807 APPENDLIMIT NIL)\r\n"
    );
    let personal = NamespaceEntry {
        prefix: "",
        delimiter: Some(b'/'),
    };
    assert_eq!(
        plain(|e| e.namespace(&[personal], &[], &[])),
        "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"
    ); // RFC 2342 5
    assert_eq!(plain(|e| e.id(&[])), "* ID NIL\r\n");
    assert_eq!(
        plain(|e| e.id(&[("name", Some("x")), ("os", None)])),
        "* ID (\"name\" \"x\" \"os\" NIL)\r\n"
    );
    assert_eq!(
        plain(|e| e.vanished(&NumberSet::from_range(41, 116), true)),
        "* VANISHED (EARLIER) 41:116\r\n"
    );
    assert_eq!(plain(|e| e.vanished(&NumberSet::new(), false)), "");
}

#[test]
fn searches() {
    assert_eq!(
        plain(|e| e.search([2, 84, 882], None)),
        "* SEARCH 2 84 882\r\n"
    );
    assert_eq!(plain(|e| e.search([], ModSeq::new(5))), "* SEARCH\r\n");
    assert_eq!(
        plain(|e| e.search([2], ModSeq::new(917))),
        "* SEARCH 2 (MODSEQ 917)\r\n"
    );
    let tag = Tag::new(b"A282").unwrap();
    let empty = NumberSet::new();
    let mut result = SearchResult {
        tag: &tag,
        numbering: Numbering::Sequence,
        min: Some(2),
        max: None,
        all: Some(&empty),
        count: Some(3),
        mod_seq: None,
    };
    assert_eq!(
        plain(|e| e.esearch(&result)),
        "* ESEARCH (TAG \"A282\") MIN 2 COUNT 3\r\n"
    ); // RFC 4731 3.1
    let all = NumberSet::from_ranges(vec![(2, 2), (10, 11)]);
    result = SearchResult {
        numbering: Numbering::Uid,
        all: Some(&all),
        min: None,
        count: None,
        ..result
    };
    assert_eq!(
        plain(|e| e.esearch(&result)),
        "* ESEARCH (TAG \"A282\") UID ALL 2,10:11\r\n"
    );
}

#[test]
fn fetch_items() {
    let (text, data) = fetched(NameSyntax::ModifiedUtf7, |f| {
        f.uid(Uid::new(7).unwrap());
        f.flags(
            SystemFlags::NONE.with(SystemFlag::Seen),
            ["$Junk", "\\Recent"],
        );
        f.mod_seq(ModSeq::new(9).unwrap());
        f.rfc822_size(44_827);
        f.internal_date(DateTime::parse(b"17-Jul-1996 02:44:25 -0700").unwrap());
        f.save_date(None);
        f.binary_size(&[1, 2], 5);
    });
    assert_eq!(
        text,
        "* 12 FETCH (UID 7 FLAGS (\\Seen $Junk \\Recent) MODSEQ (9) RFC822.SIZE 44827 \
         INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" SAVEDATE NIL BINARY.SIZE[1.2] 5)\r\n"
    );
    assert_eq!(
        (data.number, data.uid, data.recent, data.rfc822_size),
        (12, Some(7), true, Some(44_827))
    );
    assert_eq!(
        data.internal_date,
        DateTime::parse(b"17-Jul-1996 02:44:25 -0700")
    );
}

#[test]
fn fetch_contents() {
    let fields = SectionText::HeaderFieldsNot(vec!["To".into(), "a b".into()]);
    let (text, data) = fetched(NameSyntax::ModifiedUtf7, |f| {
        f.body_section(&Section::default(), Some(3), 5);
        f.out().extend_from_slice(b"a\r\n)}");
        f.body_section(
            &Section {
                part: vec![1, 2],
                text: Some(fields),
            },
            None,
            0,
        );
        f.body_section_nil(
            &Section {
                part: vec![9],
                text: Some(SectionText::Mime),
            },
            None,
        );
        f.binary(&[1], Some(7), 2, true);
        f.out().extend_from_slice(b"\0{");
        f.binary_nil(&[], None);
        f.rfc822_header(1);
        f.out().push(b'x');
    });
    assert_eq!(
        text,
        "* 12 FETCH (BODY[]<3> {5}\r\na\r\n)} BODY[1.2.HEADER.FIELDS.NOT (To \"a b\")] {0}\r\n \
         BODY[9.MIME] NIL BINARY[1]<7> ~{2}\r\n\0{ BINARY[] NIL RFC822.HEADER {1}\r\nx)\r\n"
    );
    assert_eq!(
        data.item("BODY[]<3>"),
        Some(&Value::Octets(b"a\r\n)}".to_vec()))
    );
    assert_eq!(
        data.item("BINARY[1]<7>"),
        Some(&Value::Octets(b"\0{".to_vec()))
    );
    assert_eq!(data.items.len(), 6);
}

#[test]
fn envelope() {
    // RFC 9051 7.5.2, the message of section 8
    let address = |name: &'static str, mailbox: &'static str, host: &'static str| Address {
        name: (!name.is_empty()).then(|| name.as_bytes().into()),
        route: None,
        mailbox: Some(mailbox.as_bytes().into()),
        host: Some(host.as_bytes().into()),
    };
    let gray = || vec![address("Terry Gray", "gray", "cac.washington.edu")];
    let envelope = EnvelopeFields {
        date: Some(b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)".into()),
        subject: Some(b"IMAP4rev2 WG mtg summary and minutes".into()),
        from: gray(),
        sender: gray(),
        reply_to: gray(),
        to: vec![address("", "imap", "cac.washington.edu")],
        cc: vec![
            address("", "minutes", "CNRI.Reston.VA.US"),
            address("John Klensin", "KLENSIN", "MIT.EDU"),
        ],
        message_id: Some(b"<B27397-0100000@cac.washington.edu>".into()),
        ..EnvelopeFields::default()
    };
    let (text, data) = fetched(NameSyntax::ModifiedUtf7, |f| f.envelope(&envelope));
    let gray = r#"(("Terry Gray" NIL "gray" "cac.washington.edu"))"#;
    let expected = format!(
        "* 12 FETCH (ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary and minutes\" {gray} {gray} {gray} \
         ((NIL NIL \"imap\" \"cac.washington.edu\")) ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")\
         (\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.edu>\"))\r\n"
    );
    assert_eq!(text, expected);
    assert!(matches!(data.item("ENVELOPE"), Some(Value::List(fields)) if fields.len() == 10));
}

#[test]
fn strings_by_content_and_syntax() {
    let string = |octets: &[u8], syntax| {
        let mut out = Vec::new();
        push_string(&mut out, octets, syntax);
        out
    };
    assert_eq!(string(b"a\\\"b", NameSyntax::ModifiedUtf7), br#""a\\\"b""#);
    assert_eq!(
        string("\u{e9}".as_bytes(), NameSyntax::ModifiedUtf7),
        b"{2}\r\n\xc3\xa9"
    );
    assert_eq!(
        string("\u{e9}".as_bytes(), NameSyntax::Utf8),
        b"\"\xc3\xa9\""
    );
    assert_eq!(string(b"\xff", NameSyntax::Utf8), b"{1}\r\n\xff");
    assert_eq!(string(b"a\r\nb", NameSyntax::Utf8), b"{4}\r\na\r\nb");
    assert_eq!(string(b"a\0b", NameSyntax::Utf8), b"\"ab\"");
    assert_eq!(string(b"", NameSyntax::Utf8), b"\"\"");
}

fn basic(media_type: &'static [u8], subtype: &'static [u8]) -> BodyStructure<'static> {
    BodyStructure::Basic {
        media_type: media_type.into(),
        subtype: subtype.into(),
        fields: BodyFields {
            encoding: b"BASE64".as_slice().into(),
            octets: 7,
            ..BodyFields::default()
        },
        extension: PartExtension::default(),
    }
}

#[test]
fn body_structure() {
    let text = BodyStructure::Text {
        subtype: b"PLAIN".as_slice().into(),
        fields: BodyFields {
            parameters: vec![(b"CHARSET".as_slice().into(), b"US-ASCII".as_slice().into())],
            octets: 3028,
            ..BodyFields::default()
        },
        lines: 92,
        extension: PartExtension {
            disposition: Some(Disposition {
                kind: b"inline".as_slice().into(),
                parameters: vec![],
            }),
            languages: vec![b"en".as_slice().into(), b"de".as_slice().into()],
            ..PartExtension::default()
        },
    };
    // RFC 9051 8
    let (written, _) = fetched(NameSyntax::ModifiedUtf7, |f| f.body(&text));
    assert_eq!(
        written,
        "* 12 FETCH (BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 92))\r\n"
    );
    let mixed = BodyStructure::Multipart {
        parts: vec![text, basic(b"IMAGE", b"PNG")],
        subtype: b"MIXED".as_slice().into(),
        parameters: vec![(b"BOUNDARY".as_slice().into(), b"x".as_slice().into())],
        extension: PartExtension::default(),
    };
    let (written, _) = fetched(NameSyntax::ModifiedUtf7, |f| f.body_structure(&mixed));
    assert_eq!(
        written,
        "* 12 FETCH (BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 92 NIL (\"inline\" NIL) (\"en\" \"de\") NIL)\
         (\"IMAGE\" \"PNG\" NIL NIL NIL \"BASE64\" 7 NIL NIL NIL NIL) \"MIXED\" (\"BOUNDARY\" \"x\") NIL NIL NIL))\r\n"
    );
    let (written, _) = fetched(NameSyntax::ModifiedUtf7, |f| f.body(&mixed));
    assert!(
        written.ends_with("(\"IMAGE\" \"PNG\" NIL NIL NIL \"BASE64\" 7) \"MIXED\"))\r\n"),
        "{written}"
    );
}

#[test]
fn body_structure_of_a_message_and_of_nothing() {
    let message = BodyStructure::Message {
        subtype: b"RFC822".as_slice().into(),
        fields: BodyFields::default(),
        envelope: Box::default(),
        body: Box::new(BodyStructure::Multipart {
            parts: vec![],
            subtype: b"MIXED".as_slice().into(),
            parameters: vec![],
            extension: PartExtension::default(),
        }),
        lines: 3,
        extension: PartExtension::default(),
    };
    let (written, _) = fetched(NameSyntax::ModifiedUtf7, |f| f.body(&message));
    assert_eq!(
        written,
        "* 12 FETCH (BODY (\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) \
         ((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0) \"MIXED\") 3))\r\n"
    );
    let mut deep = basic(b"A", b"B");
    for _ in 0..1000 {
        deep = BodyStructure::Multipart {
            parts: vec![deep],
            subtype: b"MIXED".as_slice().into(),
            parameters: vec![],
            extension: PartExtension::default(),
        };
    }
    let mut out = Vec::new();
    deep.write_to(&mut out, NameSyntax::Utf8, true);
    assert_eq!(
        out.iter().filter(|&&octet| octet == b'(').count(),
        crate::limits::BODY_STRUCTURE_DEPTH_MAX + 1
    );
}

#[test]
fn any_string_comes_back() {
    let mut state = 1u64;
    let mut random = move |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let letters: Vec<&[u8]> = vec![
        b"a",
        b"\"",
        b"\\",
        b" ",
        b"(",
        b")",
        b"{5}",
        b"\r\n",
        b"\xc3\xa9",
        b"\xff",
        b"NIL",
        b"]",
        b"%",
        b"~",
    ];
    for round in 0..3000 {
        let octets: Vec<u8> = (0..random(6))
            .flat_map(|_| letters[random(letters.len())].to_vec())
            .collect();
        let syntax = [NameSyntax::ModifiedUtf7, NameSyntax::Utf8][round % 2];
        let envelope = EnvelopeFields {
            subject: Some(octets.as_slice().into()),
            message_id: Some(octets.as_slice().into()),
            ..EnvelopeFields::default()
        };
        let (_, data) = fetched(syntax, |f| f.envelope(&envelope));
        let Some(Value::List(fields)) = data.item("ENVELOPE") else {
            panic!()
        };
        assert_eq!(
            (fields[1].octets(), fields[9].octets()),
            (Some(octets.as_slice()), Some(octets.as_slice()))
        );
    }
}
