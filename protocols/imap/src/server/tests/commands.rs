//! Lines, states, AUTHENTICATE, IDLE, STARTTLS.

use super::*;

#[test]
fn one_command_at_a_time() {
    let mut session = Session::new(Config::default());
    let input = b"a NOOP\r\nb NOOP\r\n";
    assert_eq!(session.receive(input), 8);
    assert_eq!(session.awaits(), Awaits::Owner);
    assert_eq!(session.receive(&input[8..]), 0);
    assert!(matches!(session.event(), Some(Event::Command { .. })));
    assert_eq!(session.receive(&input[8..]), 0);
    session.answered();
    assert_eq!(session.receive(&input[8..]), 8);
}

#[test]
fn login_with_literals() {
    // RFC 7888 3
    let mut owner = Owner::new(State::NotAuthenticated);
    let answer = owner.give("A001 LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man\r\n");
    assert_eq!(answer, "A001 OK LOGIN\r\n");
    assert_eq!(
        owner.seen,
        ["A001 Login { user: \"FRED FOOBAR\", password: Password(..) }"]
    );
    assert_eq!(owner.session.state(), State::Authenticated);
}

#[test]
fn synchronizing_literals_get_a_continuation() {
    // RFC 9051 4.3
    let mut owner = Owner::new(State::NotAuthenticated);
    assert_eq!(owner.give("A001 LOGIN {11}\r\n"), "+ ready for literal\r\n");
    assert_eq!(owner.give("FRED FOOBAR {7}\r\n"), "+ ready for literal\r\n");
    assert_eq!(owner.give("fat man\r\n"), "A001 OK LOGIN\r\n");
}

#[test]
fn states() {
    let mut owner = Owner::new(State::NotAuthenticated);
    let refused = "x NO not allowed in this connection state\r\n";
    assert_eq!(owner.give("x NOOP\r\n"), "x OK NOOP\r\n");
    for command in [
        "SELECT a",
        "LIST \"\" *",
        "FETCH 1 ALL",
        "CLOSE",
        "IDLE",
        "ENABLE X",
        "CHECK",
    ] {
        assert_eq!(
            owner.give(&format!("x {command}\r\n")),
            refused,
            "{command}"
        );
    }
    owner.give("x LOGIN a b\r\n");
    for command in [
        "LOGIN a b",
        "AUTHENTICATE PLAIN",
        "STARTTLS",
        "FETCH 1 ALL",
        "CLOSE",
    ] {
        assert_eq!(
            owner.give(&format!("x {command}\r\n")),
            refused,
            "{command}"
        );
    }
    owner.give("x EXAMINE INBOX\r\n");
    assert_eq!(owner.session.state(), State::Selected { read_only: true });
    assert_eq!(owner.give("x FETCH 1 ALL\r\n"), "x OK FETCH\r\n");
    assert_eq!(owner.give("x CLOSE\r\n"), "x OK CLOSE\r\n");
    assert_eq!(owner.session.state(), State::Authenticated);
}

#[test]
fn first_command_must_be_imap() {
    for first in [
        "GET / HTTP/1.1\r\n",
        "EHLO x\r\n",
        "\r\n",
        "a \r\n",
        "\x16\x03\x01\n",
    ] {
        let mut owner = Owner::new(State::NotAuthenticated);
        let answer = owner.give(&format!("{first}a NOOP\r\n"));
        assert_eq!(
            answer, "* BYE please try again speaking imap\r\n",
            "{first}"
        );
        assert_eq!(owner.seen, ["close"]);
        assert_eq!(owner.session.awaits(), Awaits::Closed);
    }
}

#[test]
fn a_malformed_first_command_is_answered_and_the_next_one_taken() {
    for first in ["a LOGIN\r\n", "a AUTHENTICATE\r\n", "a NOOP {1+}\r\nx\r\n"] {
        let mut owner = Owner::new(State::NotAuthenticated);
        let answer = owner.give(&format!("{first}b NOOP\r\n"));
        assert!(answer.starts_with("a BAD "), "{answer}");
        assert!(answer.ends_with("\r\nb OK NOOP\r\n"), "{answer}");
    }
}

#[test]
fn a_login_that_is_too_long_does_not_end_the_connection() {
    let long = |start: &str, octets: usize| format!("{start}{}\r\nz NOOP\r\n", "A".repeat(octets));
    for start in [
        "a AUTHENTICATE PLAIN ",
        "a AUTHENTICATE PLAIN {3+}\r\nabc",
        "a AUTHENTICATE PLAIN\r\n",
    ] {
        for piece in [1, 100, 5000, 1 << 20] {
            let mut owner = Owner::new(State::NotAuthenticated);
            owner.give_in_pieces(long(start, 40_000).as_bytes(), piece);
            let output = String::from_utf8(owner.output).unwrap();
            assert!(
                output.ends_with("a OK TooLong\r\nz OK NOOP\r\n"),
                "{start} {piece}: {output}"
            );
            assert_eq!(owner.session.awaits(), Awaits::Command);
        }
        let mut owner = Owner::new(State::NotAuthenticated);
        owner.give_in_pieces(long(start, 1_100_000).as_bytes(), 5000);
        let output = String::from_utf8(owner.output).unwrap();
        assert!(
            output.ends_with("a OK TooLong\r\n* BYE [TOOBIG] line too long\r\n"),
            "{output}"
        );
    }
    // While the rest is awaited, it is not the next command.
    let mut owner = Owner::new(State::NotAuthenticated);
    owner.give(&format!("a AUTHENTICATE PLAIN {}", "A".repeat(20_000)));
    assert_eq!(owner.session.awaits(), Awaits::Rest);
    let mut owner = Owner::new(State::NotAuthenticated);
    let answer = owner.give(&long("a LOGIN x ", 40_000));
    assert_eq!(answer, "* BYE [TOOBIG] line too long\r\n");
}

#[test]
fn errors_echo_only_after_login() {
    let mut owner = Owner::new(State::NotAuthenticated);
    owner.give("a NOOP\r\n");
    assert_eq!(
        owner.give("a LOGIN me secret word\r\n"),
        "a BAD expected the end of the command\r\n"
    );
    assert_eq!(owner.give("a FOO\r\n"), "a BAD unknown command\r\n");
    assert_eq!(owner.give("+ FOO\r\n"), "* BAD expected a tag\r\n");
    owner.give("a LOGIN a b\r\n");
    assert_eq!(
        owner.give("a SELECT\r\n"),
        "a BAD expected a space, not the end\r\n"
    );
    assert_eq!(
        owner.give("a NOOP \u{1b}x\r\n"),
        "a BAD expected the end of the command, not: ?x\r\n"
    );
}

#[test]
fn named_refusals() {
    let mut owner = Owner::selected();
    assert_eq!(
        owner.give("a SEARCH CHARSET KOI8-R ALL\r\n"),
        "a NO [BADCHARSET (US-ASCII UTF-8)] charset not supported\r\n"
    );
    assert_eq!(
        owner.give("a CREATE x (USE (\\Bogus))\r\n"),
        "a NO [USEATTR] special use not supported\r\n"
    );
    let deep = format!("a SEARCH {}ALL\r\n", "NOT ".repeat(40));
    assert!(owner.give(&deep).starts_with("a BAD [LIMIT] too many"));
    assert_eq!(owner.session.refusals(), 3);
}

#[test]
fn long_line_ends_the_connection() {
    let mut owner = Owner::selected();
    let line = format!("a NOOP {}\r\n", "x".repeat(20_000));
    assert_eq!(owner.give(&line), "* BYE [TOOBIG] line too long\r\n");
    assert_eq!(owner.seen, ["close"]);
    let mut owner = Owner::selected();
    owner.give_in_pieces(line.as_bytes(), 100);
    assert_eq!(owner.output, b"* BYE [TOOBIG] line too long\r\n");
}

#[test]
fn authenticate() {
    let mut owner = Owner::new(State::NotAuthenticated);
    assert_eq!(owner.give("a AUTHENTICATE plain\r\n"), "+ \r\n");
    assert_eq!(owner.give("dGVzdA==\r\n"), "a OK test\r\n");
    assert_eq!(
        owner.give("a AUTHENTICATE PLAIN dGVzdA==\r\n"),
        "a OK test\r\n"
    );
    assert_eq!(owner.give("a AUTHENTICATE PLAIN =\r\n"), "a OK done\r\n");
    assert_eq!(
        owner.give("a AUTHENTICATE PLAIN\r\n*\r\n"),
        "+ \r\na OK Cancelled\r\n"
    );
    assert_eq!(
        owner.give("a AUTHENTICATE PLAIN\r\n{5}\r\n"),
        "+ \r\na OK BadBase64\r\n"
    );
    assert_eq!(
        owner.give("a AUTHENTICATE PLAIN\r\n\r\n"),
        "+ \r\na OK done\r\n"
    );
    assert_eq!(
        owner.give("a AUTHENTICATE PLAIN ??\r\n"),
        "a OK BadBase64\r\n"
    );
}

#[test]
fn idle() {
    // RFC 2177 3
    let mut owner = Owner::selected();
    assert_eq!(owner.give("A002 IDLE\r\n"), "+ idling\r\n");
    assert_eq!(owner.session.awaits(), Awaits::Done);
    assert_eq!(owner.give("done\r\n"), "A002 OK idle done\r\n");
    assert_eq!(
        owner.give("b IDLE\r\nDONE\r\nc NOOP\r\n"),
        "+ idling\r\nb OK idle done\r\nc OK NOOP\r\n"
    );
    assert_eq!(
        owner.give("d IDLE\r\ne NOOP\r\nf NOOP\r\n"),
        "+ idling\r\nd BAD expected DONE\r\nf OK NOOP\r\n"
    );
    assert!(owner.seen.contains(&"idle broken".to_owned()));
}

#[test]
fn starttls_leaves_injected_octets() {
    let mut session = Session::new(Config {
        starttls: StartTls::Offered,
        ..Config::default()
    })
    .with_connection_id("1-0-5");
    let input = b"a STARTTLS\r\nb LOGIN x y\r\n";
    assert_eq!(session.receive(input), 12);
    assert!(matches!(session.event(), Some(Event::StartTls { .. })));
    assert_eq!(session.receive(&input[12..]), 0);
    session.tls_started();
    assert_eq!(session.receive(b"a STARTTLS\r\n"), 12);
    let mut out = Vec::new();
    session.transmit(&mut out);
    assert_eq!(out, b"a BAD STARTTLS is not offered (1-0-5)\r\n");
}

#[test]
fn names_follow_enable() {
    let mut owner = Owner::selected();
    assert!(
        owner
            .give("a SELECT \"caf\u{e9}\"\r\n")
            .starts_with("a BAD")
    );
    owner.give("a SELECT caf&AOk-\r\n");
    owner.give("b ENABLE IMAP4rev2\r\n");
    owner.give("c SELECT \"caf\u{e9}\"\r\n");
    let names = owner
        .seen
        .iter()
        .filter(|seen| seen.contains("caf\u{e9}"))
        .count();
    assert_eq!(names, 2, "{:?}", owner.seen);
}

#[test]
fn empty_lines_and_bare_line_feeds_are_passed_over() {
    let mut owner = Owner::selected();
    assert_eq!(
        owner.give("a NOOP\n\r\n\nb NOOP\r\n"),
        "a OK NOOP\r\nb OK NOOP\r\n"
    );
}

#[test]
fn logout_ends_it() {
    let mut owner = Owner::selected();
    assert_eq!(owner.give("a LOGOUT\r\nb NOOP\r\n"), "a OK bye\r\n");
    assert_eq!(owner.session.awaits(), Awaits::Closed);
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() < 300, "{}", size_of::<Session>());
    let mut owner = Owner::new(State::NotAuthenticated);
    owner.give("a LOGIN {3+}\r\nabc {3+}\r\nabc\r\nb SELECT INBOX\r\n");
    assert_eq!(owner.session.held(), 0);
    assert_eq!(owner.session.awaits(), Awaits::Command);
    fn is_send<T: Send>(_: &T) {}
    is_send(&owner.session);
}

#[test]
fn split_anywhere_is_the_same() {
    let conversation = concat!(
        "a NOOP\r\nb LOGIN {1+}\r\nx \"y \\\" z\"\r\nc ENABLE IMAP4rev2\r\nd SELECT \"caf\u{e9}\"\r\n",
        "e UID SEARCH RETURN (MIN) OR SUBJECT {4+}\r\n\r\n\r\n TEXT \"q\"\r\nf IDLE\r\nDONE\r\n",
        "g APPEND x (\\Seen) {5+}\r\nhello {3+}\r\nabc\r\nh APPEND x {3+}\r\nabc junk\r\n",
        "i FOO {3+}\r\nabc\r\nj APPEND {1+}\r\nx UTF8 (~{2+}\r\nhi)\r\nk LOGOUT\r\n",
    );
    let mut whole = Owner::new(State::NotAuthenticated);
    whole.give_in_pieces(conversation.as_bytes(), conversation.len());
    for piece in 1..conversation.len() {
        let mut split = Owner::new(State::NotAuthenticated);
        split.give_in_pieces(conversation.as_bytes(), piece);
        assert_eq!(split.seen, whole.seen, "{piece}");
        assert_eq!(
            String::from_utf8_lossy(&split.output),
            String::from_utf8_lossy(&whole.output),
            "{piece}"
        );
    }
    assert!(
        whole.output.ends_with(b"j OK appended\r\nk OK bye\r\n"),
        "{}",
        String::from_utf8_lossy(&whole.output)
    );
}
