//! Commands about messages.

use super::*;
use crate::command::Transfer;

#[test]
fn search() {
    let search = |text: &str| match command(text) {
        Command::Search(search) => search,
        other => panic!("{other:?}"),
    };
    // RFC 9051 6.4.4
    let program = search("SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"");
    let since = SearchKey::Since(Date::new(1994, 2, 1).unwrap());
    let not_from = SearchKey::Not(Box::new(SearchKey::From("Smith".into())));
    assert_eq!(
        program.key,
        SearchKey::And(vec![SearchKey::Flag(SystemFlag::Flagged), since, not_from])
    );
    assert_eq!(program.options, None);
    let options = search("UID SEARCH RETURN (MIN COUNT) 1:3").options.unwrap();
    assert!(options.min && options.count && !options.all && !options.max && !options.save);
}

#[test]
fn search_options_and_charsets() {
    let Command::Search(search) =
        command("UID SEARCH RETURN () CHARSET utf-8 TEXT {4}\r\n\u{fc}ml")
    else {
        panic!()
    };
    assert!(search.options.unwrap().all && search.numbering == Numbering::Uid);
    assert_eq!(search.key, SearchKey::Text("\u{fc}ml".into()));
    let Command::Search(search) = command("SEARCH RETURN (SAVE) $") else {
        panic!()
    };
    assert_eq!(
        search.options,
        Some(SearchReturn {
            save: true,
            ..SearchReturn::default()
        })
    );
    assert_eq!(search.key, SearchKey::Sequence(SequenceSet::SavedResult));
    assert_eq!(
        request("SEARCH CHARSET ISO-8859-1 ALL"),
        Err(CommandError::Charset { save: false })
    );
    assert_eq!(
        request("SEARCH RETURN (SAVE) CHARSET ISO-8859-1 ALL"),
        Err(CommandError::Charset { save: true })
    );
    assert!(request("SEARCH CHARSET \"US-ASCII\" ALL").is_ok());
}

#[test]
fn search_keys() {
    let key = |text: &str| match command(&format!("SEARCH {text}")) {
        Command::Search(search) => search.key,
        other => panic!("{other:?}"),
    };
    assert_eq!(key("((1:5))"), SearchKey::Sequence(set("1:5")));
    assert_eq!(
        key("OR SEEN (DRAFT UNSEEN)"),
        SearchKey::Or(Box::new((
            SearchKey::Flag(SystemFlag::Seen),
            SearchKey::And(vec![
                SearchKey::Flag(SystemFlag::Draft),
                SearchKey::NotFlag(SystemFlag::Seen)
            ]),
        )))
    );
    assert_eq!(
        key("HEADER Message-ID \"\""),
        SearchKey::Header("Message-ID".into(), String::new())
    );
    assert_eq!(
        key("MODSEQ 620162338"),
        SearchKey::ModSeq(ModSeq::new(620_162_338).unwrap())
    );
    assert_eq!(
        key("MODSEQ \"/flags/\\\\draft\" all 620162338"),
        key("MODSEQ 620162338")
    ); // RFC 7162 3.1.5
    assert_eq!(
        key("YOUNGER 3600 OLDER 1"),
        SearchKey::And(vec![SearchKey::Younger(3600), SearchKey::Older(1)])
    );
    assert_eq!(key("LARGER 4294967296"), SearchKey::Larger(4_294_967_296));
    assert_eq!(
        key("SENTON \"1-Jan-2024\""),
        SearchKey::SentOn(Date::new(2024, 1, 1).unwrap())
    );
    assert_eq!(key("savedatesupported"), SearchKey::SaveDateSupported);
    assert_eq!(key("UID 1:*"), SearchKey::Uid(set("1:*")));
    assert_eq!(
        key("UNKEYWORD $Junk"),
        SearchKey::NotKeyword(Keyword::new(b"$junk").unwrap())
    );
    assert!(key("NOT OR SEEN RECENT").any(&mut |key| *key == SearchKey::Recent));
    refused(&[
        "SEARCH",
        "SEARCH ",
        "SEARCH ()",
        "SEARCH (ALL",
        "SEARCH FOO",
        "SEARCH OR ALL",
        "SEARCH NOT",
        "SEARCH SINCE 31-Feb-2024",
        "SEARCH RETURN (FOO) ALL",
        "SEARCH RETURN (MIN)",
        "SEARCH LARGER x",
        "SEARCH OLDER 0",
        "SEARCH HEADER x",
        "SEARCH SUBJECT {2}\r\n\u{0}x",
        "SEARCH ALL,1",
        "SEARCH MODSEQ \"x\" all 1",
        "SEARCH KEYWORD \\Seen",
        "SEARCH UID",
        "SEARCH  ALL",
        "SEARCH FROM",
        "SEARCH ALL SEENX",
    ]);
}

#[test]
fn search_is_bounded() {
    for open in ["(", "NOT ", "OR ALL "] {
        let close = if open == "(" { ")" } else { "" };
        let nested = |depth: usize| {
            request(&format!(
                "SEARCH {}ALL{}",
                open.repeat(depth),
                close.repeat(depth)
            ))
        };
        assert!(nested(32).is_ok(), "{open}");
        assert!(matches!(nested(33), Err(CommandError::Limit(_))), "{open}");
        assert!(
            matches!(nested(5000), Err(CommandError::Limit(_))),
            "{open}"
        );
    }
    let wide = format!("SEARCH {}", vec!["1"; 5000].join(" "));
    assert!(matches!(request(&wide), Err(CommandError::Limit(_))));
}

#[test]
fn fetch() {
    let items = |text: &str| match command(&format!("FETCH 2:4 {text}")) {
        Command::Fetch(fetch) => fetch.items,
        other => panic!("{other:?}"),
    };
    use FetchItem::*;
    assert_eq!(items("ALL"), [Flags, InternalDate, Rfc822Size, Envelope]);
    assert_eq!(items("FAST"), [Flags, InternalDate, Rfc822Size]);
    assert_eq!(
        items("full"),
        [Flags, InternalDate, Rfc822Size, Envelope, Body]
    );
    assert_eq!(items("(UID UID SAVEDATE MODSEQ)"), [Uid, SaveDate, ModSeq]);
    // RFC 9051 6.4.5
    let fields = SectionText::HeaderFields(vec!["DATE".into(), "FROM".into()]);
    assert_eq!(
        items("(FLAGS BODY[HEADER.FIELDS (DATE FROM)])"),
        [
            Flags,
            BodySection {
                section: Section {
                    part: vec![],
                    text: Some(fields)
                },
                partial: None,
                peek: false
            }
        ]
    );
    let section = |text: &str| match items(text).remove(0) {
        BodySection {
            section,
            partial,
            peek,
        } => (section.part, section.text, partial, peek),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        section("BODY[]<0.2048>"),
        (
            vec![],
            None,
            Some(Partial {
                offset: 0,
                count: 2048
            }),
            false
        )
    );
    assert_eq!(
        section("BODY.PEEK[4.2.MIME]"),
        (vec![4, 2], Some(SectionText::Mime), None, true)
    );
    assert_eq!(
        section("BODY[1.TEXT]"),
        (vec![1], Some(SectionText::Text), None, false)
    );
    assert_eq!(section("body.peek[header]").1, Some(SectionText::Header));
    assert_eq!(
        items("BINARY.PEEK[1.2]<5.6>"),
        [Binary {
            part: vec![1, 2],
            partial: Some(Partial {
                offset: 5,
                count: 6
            }),
            peek: true
        }]
    );
    assert_eq!(
        items("(BINARY.SIZE[1] BODY BODYSTRUCTURE)"),
        [BinarySize { part: vec![1] }, Body, BodyStructure]
    );
    assert!(
        items("RFC822")[0].sets_seen()
            && items("BODY[]")[0].sets_seen()
            && !items("BODY.PEEK[]")[0].sets_seen()
    );
    refused(&[
        "FETCH 1",
        "FETCH 1 ()",
        "FETCH 1 (",
        "FETCH 1 FOO",
        "FETCH 1 BODY[",
        "FETCH 1 BODY[0]",
        "FETCH 1 BODY[1.]",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[1.FOO]",
        "FETCH 1 BODY[]<0.0>",
        "FETCH 1 BODY[]<1>",
        "FETCH 1 BODY[HEADER.FIELDS ()]",
        "FETCH 1 BINARY[TEXT]",
        "FETCH 1 BODY.PEEK",
        "FETCH 1 FLAGS UID",
        "FETCH 0 UID",
        "FETCH 1 BINARY",
        "FETCH 1 FLAGS[]",
        "FETCH 1 BODY[4294967296]",
        "FETCH 1 BODY[]<9223372036854775808.1>",
        "FETCH 1 (FLAGS  UID)",
    ]);
    let deep = format!("FETCH 1 BODY[{}]", vec!["1"; 200].join("."));
    assert!(matches!(request(&deep), Err(CommandError::Limit(_))));
}

#[test]
fn fetch_modifiers() {
    // RFC 7162 3.2.6
    let Command::Fetch(fetch) = command("UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)")
    else {
        panic!()
    };
    assert_eq!(
        (fetch.numbering, fetch.changed_since, fetch.vanished),
        (Numbering::Uid, ModSeq::new(12345), true)
    );
    assert!(
        matches!(command("FETCH 1 FLAGS (CHANGEDSINCE 0)"), Command::Fetch(fetch) if fetch.changed_since == ModSeq::new(0))
    );
    refused(&[
        "FETCH 1 FLAGS (VANISHED CHANGEDSINCE 1)",
        "UID FETCH 1 FLAGS (VANISHED)",
        "FETCH 1 FLAGS (FOO)",
        "FETCH 1 FLAGS ()",
    ]);
}

#[test]
fn partial_is_clipped() {
    let clip = |offset, count, octets| Partial { offset, count }.clip(octets);
    assert_eq!(clip(0, 10, 5), 0..5);
    assert_eq!(clip(3, 1, 5), 3..4);
    assert_eq!(clip(9, 1, 5), 5..5);
    assert_eq!(clip(1, u64::MAX, 5), 1..5);
}

#[test]
fn store() {
    let store = |text: &str| match command(text) {
        Command::Store(store) => store,
        other => panic!("{other:?}"),
    };
    let parsed = store("UID STORE 2:4 +FLAGS (\\Deleted $Junk x X)");
    assert_eq!(
        (parsed.numbering, parsed.action, parsed.silent),
        (Numbering::Uid, StoreAction::Add, false)
    );
    assert_eq!(
        parsed.flags.system,
        SystemFlags::NONE.with(SystemFlag::Deleted)
    );
    assert_eq!(
        parsed
            .flags
            .keywords
            .iter()
            .map(Keyword::as_str)
            .collect::<Vec<_>>(),
        ["$Junk", "x"]
    );
    // RFC 7162 3.1.3
    let parsed = store("STORE 7,5,9 (UNCHANGEDSINCE 320162338) -flags.silent \\Deleted \\Seen");
    assert_eq!(
        (parsed.action, parsed.silent, parsed.unchanged_since),
        (StoreAction::Remove, true, ModSeq::new(320_162_338))
    );
    assert!(store("STORE 1 FLAGS ()").flags.is_empty());
    refused(&[
        "STORE 1",
        "STORE 1 FLAGS",
        "STORE 1 FLAGS (\\Recent)",
        "STORE 1 FLAGS \\Foo",
        "STORE 1 FOO (x)",
        "STORE 1 FLAGS (x",
        "STORE 1 FLAGS (a\"b)",
        "STORE 1 (FOO 1) FLAGS x",
        "STORE 1 FLAGS \\*",
        "STORE 1 FLAGS (a  b)",
    ]);
}

#[test]
fn transfers_and_expunge() {
    let transfer = Transfer {
        numbering: Numbering::Sequence,
        set: set("2:4"),
        mailbox: mailbox("MEETING"),
    };
    assert_eq!(command("COPY 2:4 MEETING"), Command::Copy(transfer.clone()));
    assert_eq!(
        command("UID MOVE 2:4 MEETING"),
        Command::Move(Transfer {
            numbering: Numbering::Uid,
            ..transfer
        })
    );
    assert_eq!(
        command("UID EXPUNGE 3000:3002"),
        Command::Expunge(Some(set("3000:3002")))
    );
    refused(&[
        "COPY",
        "COPY 1",
        "MOVE x y",
        "UID EXPUNGE",
        "UID",
        "UID NOOP",
        "UID UID FETCH 1 ALL",
        "EXPUNGE 1",
    ]);
}
