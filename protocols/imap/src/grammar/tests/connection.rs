//! Commands about the connection and about mailboxes.

use super::*;
use crate::command::InitialResponse;

#[test]
fn commands_of_one_word() {
    for name in [
        "CAPABILITY",
        "NOOP",
        "LOGOUT",
        "NAMESPACE",
        "CHECK",
        "CLOSE",
        "UNSELECT",
        "EXPUNGE",
    ] {
        assert_eq!(command(name).name(), name);
        assert_eq!(command(&name.to_lowercase()).name(), name);
        assert_eq!(command(&format!("{name} ")).name(), name); // the quirk of a space at the end
        refused(&[
            &format!("{name} x"),
            &format!("{name}x"),
            &format!(" {name}"),
        ]);
    }
    assert_eq!(request("STARTTLS"), Ok(Request::StartTls));
    assert_eq!(request("idle"), Ok(Request::Idle));
}

#[test]
fn tags() {
    let tag = |text: &str| {
        parse_command(text.as_bytes(), NameSyntax::Utf8).map(|parsed| parsed.0.as_str().to_owned())
    };
    assert_eq!(tag("A142 NOOP").unwrap(), "A142");
    assert_eq!(tag("[x].~! NOOP").unwrap(), "[x].~!");
    for text in [
        "",
        " ",
        "NOOP",
        "a+b NOOP",
        "* NOOP",
        "+ NOOP",
        "\"a\" NOOP",
        "a\tNOOP",
        "\u{e9} NOOP",
        "{1} NOOP",
    ] {
        assert!(tag(text).is_err(), "{text}");
    }
    assert!(tag(&format!("{} NOOP", "x".repeat(256))).is_err());
}

#[test]
fn login() {
    assert!(
        matches!(command("LOGIN SMITH SESAME"), Command::Login { user, password }
        if user == "SMITH" && password.as_str() == "SESAME")
    );
    assert!(
        matches!(command(r#"LOGIN "a\\b" """#), Command::Login { user, password }
        if user == r"a\b" && password.as_str().is_empty())
    );
    assert!(
        matches!(command("LOGIN u \"p\u{e4}ss\""), Command::Login { password, .. } if password.as_str() == "p\u{e4}ss")
    );
    refused(&[
        "LOGIN",
        "LOGIN a",
        "LOGIN a ",
        "LOGIN a b c",
        "LOGIN  a b",
        "LOGIN a (b)",
        "LOGIN a \"b",
        "LOGIN a p\u{e4}ss",
    ]);
}

#[test]
fn authenticate() {
    let Ok(Request::Authenticate {
        mechanism,
        initial_response,
    }) = request("AUTHENTICATE scram-sha-256 Zm9v")
    else {
        panic!()
    };
    assert_eq!(
        (mechanism.as_str(), initial_response.unwrap()),
        ("SCRAM-SHA-256", InitialResponse::Octets(b"foo".to_vec()))
    );
    let Ok(Request::Authenticate {
        initial_response: Some(empty),
        ..
    }) = request("AUTHENTICATE PLAIN =")
    else {
        panic!()
    };
    assert_eq!(empty, InitialResponse::Octets(Vec::new()));
    for none in ["AUTHENTICATE PLAIN", "AUTHENTICATE PLAIN  "] {
        assert!(matches!(
            request(none),
            Ok(Request::Authenticate {
                initial_response: None,
                ..
            })
        ));
    }
    for malformed in [
        "AUTHENTICATE PLAIN Zm9",
        "AUTHENTICATE PLAIN  Zm9v",
        "AUTHENTICATE PLAIN Zm9v x",
        "AUTHENTICATE PLAIN ==",
        "AUTHENTICATE PLAIN {4+}\r\nZm9v",
        "AUTHENTICATE PLAIN(Zm9v",
    ] {
        assert!(
            matches!(
                request(malformed),
                Ok(Request::Authenticate {
                    initial_response: Some(InitialResponse::BadBase64),
                    ..
                })
            ),
            "{malformed}"
        );
    }
    refused(&["AUTHENTICATE", "AUTHENTICATE ", "AUTHENTICATE (X)"]);
}

#[test]
fn mailbox_commands() {
    assert_eq!(
        command("DELETE blurdybloop"),
        Command::Delete(mailbox("blurdybloop"))
    );
    assert_eq!(
        command("RENAME \"in box\" {4}\r\nnew]"),
        Command::Rename {
            mailbox: mailbox("in box"),
            new_name: mailbox("new]")
        }
    );
    assert_eq!(
        command("SUBSCRIBE #news.comp.mail.mime"),
        Command::Subscribe(mailbox("#news.comp.mail.mime"))
    );
    assert_eq!(
        command("UNSUBSCRIBE iNBOX"),
        Command::Unsubscribe(mailbox("INBOX"))
    );
    assert_eq!(
        command("CREATE MySpecial (USE (\\Drafts \\sent))"), // RFC 6154 5.3
        Command::Create {
            mailbox: mailbox("MySpecial"),
            special_use: vec![SpecialUse::Drafts, SpecialUse::Sent]
        }
    );
    assert_eq!(
        command("CREATE owatagusiam/"),
        Command::Create {
            mailbox: mailbox("owatagusiam/"),
            special_use: vec![]
        }
    );
    assert_eq!(
        request("CREATE x (USE (\\Foo))"),
        Err(CommandError::SpecialUse)
    );
    assert_eq!(
        command("STATUS blurdybloop (UIDNEXT messages SIZE UIDNEXT)"),
        Command::Status {
            mailbox: mailbox("blurdybloop"),
            items: vec![StatusItem::UidNext, StatusItem::Messages, StatusItem::Size]
        }
    );
    refused(&[
        "DELETE",
        "DELETE a b",
        "RENAME a",
        "CREATE a (USE)",
        "CREATE a (USE \\Sent)",
        "CREATE a (X)",
        "STATUS a ()",
        "STATUS a (X)",
        "STATUS a MESSAGES",
        "DELETE a*",
        "DELETE a%b",
        "SELECT &Jjo!",
        "DELETE \"\u{e9}\"",
        "SUBSCRIBE {5}\r\nab",
    ]);
}

#[test]
fn select() {
    let select = |text: &str| match command(text) {
        Command::Select(select) => select,
        other => panic!("{other:?}"),
    };
    assert!(
        !select("SELECT INBOX").read_only
            && select("EXAMINE x").read_only
            && select("SELECT x (CONDSTORE)").condstore
    );
    // RFC 7162 3.2.5
    let qresync =
        select("SELECT INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541 (1,3 41,50)))")
            .qresync
            .unwrap();
    assert_eq!(
        (qresync.uid_validity.value(), qresync.mod_seq.value()),
        (67_890_007, 90_060_115_194_045_000)
    );
    assert_eq!(qresync.known_uids, Some(set("41:211,214:541")));
    assert_eq!(qresync.sequence_match, Some((set("1,3"), set("41,50"))));
    assert_eq!(
        select("SELECT x (QRESYNC (1 2 (1 2)))")
            .qresync
            .unwrap()
            .known_uids,
        None
    );
    refused(&[
        "SELECT",
        "SELECT x ()",
        "SELECT x (FOO)",
        "SELECT x (QRESYNC (0 1))",
        "SELECT x (QRESYNC (1 0))",
        "SELECT x (QRESYNC (1))",
        "SELECT x (QRESYNC (1 2 1:*))",
        "SELECT x (QRESYNC (1 2 $))",
        "SELECT x (QRESYNC (1 9223372036854775808))",
    ]);
}

#[test]
fn list() {
    let list = |text: &str| match command(text) {
        Command::List(list) => list,
        other => panic!("{other:?}"),
    };
    let plain = list("LIST \"\" *");
    assert!(!plain.extended && plain.reference.is_empty() && plain.patterns[0].as_str() == "*");
    assert_eq!(list("LIST ~/Mail/ %").reference, "~/Mail/");
    assert_eq!(list("LIST \"\" \"\"").patterns[0].as_str(), "");
    // RFC 5258 5
    let options = list(
        "LIST (SUBSCRIBED RECURSIVEMATCH REMOTE) \"\" (\"%\" \"foo/*\" bar) RETURN (CHILDREN SUBSCRIBED)",
    );
    assert!(
        options.extended
            && options.selection.subscribed
            && options.selection.recursive_match
            && options.selection.remote
    );
    assert!(options.returns.children && options.returns.subscribed && options.patterns.len() == 3);
    // RFC 5819 4, RFC 6154 5.2
    let status = list("LIST (SPECIAL-USE) \"\" % RETURN (SPECIAL-USE STATUS (MESSAGES UNSEEN))");
    assert!(status.selection.special_use && status.returns.special_use);
    assert_eq!(
        status.returns.status,
        [StatusItem::Messages, StatusItem::Unseen]
    );
    assert!(list("LIST () \"\" * RETURN ()").extended);
    assert!(
        matches!(command("LSUB \"#news.\" \"comp.mail.*\""), Command::Lsub { reference, .. } if reference == "#news.")
    );
    assert_eq!(list("LIST \"\" &AOk-%").patterns[0].as_str(), "\u{e9}%");
    refused(&[
        "LIST",
        "LIST \"\"",
        "LIST (RECURSIVEMATCH) \"\" *",
        "LIST (RECURSIVEMATCH REMOTE) \"\" *",
        "LIST (FOO) \"\" *",
        "LIST \"\" ()",
        "LIST \"\" * RETURN",
        "LIST \"\" * RETURN (FOO)",
        "LIST \"\" * (CHILDREN)",
        "LIST % *",
        "LSUB \"\"",
        "LIST \"\" * RETURN (STATUS)",
        "LIST (SUBSCRIBED)\"\" *",
    ]);
    let many = format!("LIST \"\" ({})", vec!["x"; 200].join(" "));
    assert!(matches!(request(&many), Err(CommandError::Limit(_))));
}

#[test]
fn enable_and_id() {
    assert_eq!(
        command("ENABLE CONDSTORE X-Good"),
        Command::Enable(vec!["CONDSTORE".into(), "X-Good".into()])
    );
    assert_eq!(command("ID NIL"), Command::Id(vec![]));
    // RFC 2971 3.1
    let Command::Id(pairs) = command("ID (\"name\" \"sodr\" \"os\" NIL)") else {
        panic!()
    };
    assert_eq!(
        pairs,
        [
            ("name".to_owned(), Some("sodr".to_owned())),
            ("os".to_owned(), None)
        ]
    );
    refused(&[
        "ENABLE",
        "ENABLE (X)",
        "ID",
        "ID (\"a\")",
        "ID (\"a\" \"b\" \"A\" \"c\")",
        "ID (a b)",
        "ID \"a\"",
    ]);
    let many = (0..40)
        .map(|index| format!("\"{index}\" NIL"))
        .collect::<Vec<_>>()
        .join(" ");
    refused(&[
        &format!("ID ({many})"),
        &format!("ID (\"a\" \"{}\")", "x".repeat(1025)),
    ]);
}
