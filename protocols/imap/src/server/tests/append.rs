//! APPEND: RFC 9051 6.3.12, RFC 3502, RFC 3516, RFC 6855.

use super::*;

#[test]
fn one_message() {
    let mut owner = Owner::selected();
    assert_eq!(
        owner.give("A003 APPEND saved-messages (\\Seen) {10}\r\n"),
        "+ ready for message\r\n"
    );
    assert_eq!(owner.session.awaits(), Awaits::Message);
    assert_eq!(owner.give("0123456789\r\n"), "A003 OK appended\r\n");
    assert_eq!(
        owner.seen,
        [
            "append to saved-messages",
            "message 10 Literal SystemFlags(1) false",
            "0123456789"
        ]
    );
}

#[test]
fn several_messages() {
    let mut owner = Owner::selected();
    let answer = owner.give(
        "a APPEND inbox {3+}\r\nabc (\\Draft) \" 1-Jan-2024 00:00:00 +0000\" ~{2+}\r\n\0\n UTF8 (~{1+}\r\nx)\r\nb NOOP\r\n",
    );
    assert_eq!(answer, "a OK appended\r\nb OK NOOP\r\n");
    assert_eq!(
        owner.seen[..7],
        [
            "append to INBOX",
            "message 3 Literal SystemFlags(0) false",
            "abc",
            "message 2 Literal8 SystemFlags(16) true",
            "\0\n",
            "message 1 Utf8 SystemFlags(0) false",
            "x"
        ]
    );
}

#[test]
fn mailbox_as_literal() {
    let mut owner = Owner::selected();
    assert_eq!(owner.give("a APPEND {3}\r\n"), "+ ready for literal\r\n");
    assert_eq!(owner.give("a b {1}\r\n"), "+ ready for message\r\n");
    assert_eq!(owner.give("x\r\n"), "a OK appended\r\n");
    assert_eq!(owner.seen[0], "append to a b");
}

#[test]
fn refused_before_the_continuation() {
    let mut owner = Owner::selected();
    owner.refuse = Some(Code::TryCreate);
    assert_eq!(owner.give("a APPEND x {10}\r\n"), "a NO [TRYCREATE] no\r\n");
    assert_eq!(owner.give("b NOOP\r\n"), "b OK NOOP\r\n");
}

#[test]
fn refused_without_waiting_is_swallowed() {
    let mut owner = Owner::selected();
    owner.refuse = Some(Code::OverQuota);
    let answer = owner.give("a APPEND x {11+}\r\n0\r\na NOOP\r\n {2+}\r\nzz\r\nb NOOP\r\n");
    assert_eq!(answer, "a NO [OVERQUOTA] no\r\nb OK NOOP\r\n");
    assert!(!owner.seen.iter().any(|seen| seen.starts_with("a Noop")));
    owner.refuse = Some(Code::OverQuota);
    assert_eq!(
        owner.give("c APPEND x {1000001+}\r\n"),
        "* BYE [TOOBIG] literal too large\r\n"
    );
}

#[test]
fn refused_while_its_octets_come() {
    let mut owner = Owner::selected();
    owner.give("a APPEND x {10}\r\n");
    owner.give("0123");
    owner
        .session
        .refuse_message(Condition::No, Some(&Code::Unavailable), "disk full");
    assert_eq!(
        owner.give("456789\r\nb NOOP\r\n"),
        "a NO [UNAVAILABLE] disk full\r\nb OK NOOP\r\n"
    );
    owner.give("a APPEND x {2}\r\n");
    assert_eq!(owner.session.receive(b"01\r\n"), 2);
    owner
        .session
        .refuse_message(Condition::No, None, "disk full");
    assert_eq!(owner.session.event(), None);
    assert_eq!(
        owner.give("\r\nb NOOP\r\n"),
        "a NO disk full\r\nb OK NOOP\r\n"
    );
}

#[test]
fn message_of_no_octets_cancels() {
    // RFC 3502
    let mut owner = Owner::selected();
    assert_eq!(
        owner.give("a APPEND x {0}\r\n"),
        "a NO message of no octets, APPEND cancelled\r\n"
    );
    let answer = owner.give("a APPEND x {1+}\r\nx {0+}\r\n\r\nb NOOP\r\n");
    assert_eq!(
        answer,
        "a NO message of no octets, APPEND cancelled\r\nb OK NOOP\r\n"
    );
    assert!(owner.seen.contains(&"abort".to_owned()));
}

#[test]
fn malformed() {
    let mut owner = Owner::selected();
    assert!(
        owner
            .give("a APPEND x (\\Recent) {1}\r\n")
            .starts_with("a BAD expected a flag that can be set")
    );
    assert!(owner.give("a APPEND x\r\n").starts_with("a BAD"));
    assert!(
        owner
            .give("a APPEND x \"bad date\" {1+}\r\nx\r\n")
            .starts_with("a BAD")
    );
    assert!(owner.give("a APPEND x {1+}\r\nx)\r\n").starts_with("a BAD"));
    assert!(
        owner
            .give("a APPEND x UTF8 (~{1+}\r\nx\r\n")
            .starts_with("a BAD")
    );
    assert!(
        owner
            .give("a APPEND x UTF8 ({1+}\r\nx)\r\n")
            .starts_with("a BAD")
    );
    assert!(owner.give("a APPEND x{1}\r\n").starts_with("a BAD"));
    assert!(
        owner
            .give("a APPEND x {99999999999999999999}\r\n")
            .starts_with("a BAD [TOOBIG]")
    );
    assert_eq!(owner.session.refusals(), 8);
    assert_eq!(owner.give("b NOOP\r\n"), "b OK NOOP\r\n");
}

#[test]
fn literal_minus() {
    // RFC 7888 5
    let mut owner = Owner::selected();
    owner.session = Session::new(Config {
        non_synchronizing: NonSynchronizing::Minus,
        state: State::Authenticated,
        ..Config::default()
    });
    let large = format!("a APPEND x {{4097+}}\r\n{}\r\nb NOOP\r\n", "x".repeat(4097));
    assert_eq!(
        owner.give(&large),
        "a BAD [TOOBIG] non-synchronizing literal above 4096 octets\r\nb OK NOOP\r\n"
    );
    let fits = format!("a APPEND x {{4096+}}\r\n{}\r\n", "x".repeat(4096));
    assert_eq!(owner.give(&fits), "a OK appended\r\n");
}
