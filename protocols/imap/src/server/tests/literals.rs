//! Limits of literals, spec of the house: 100 KiB each, 1000 KiB and 1000 in one command; less before login.

use super::*;

#[test]
fn too_large_for_a_string() {
    let mut owner = Owner::selected();
    assert_eq!(
        owner.give("a SELECT {102401}\r\n"),
        "a BAD [TOOBIG] literals too large or too many\r\n"
    );
    let swallowed = format!(
        "a SELECT {{102401+}}\r\n{}\r\nb NOOP\r\n",
        "x".repeat(102_401)
    );
    assert_eq!(
        owner.give(&swallowed),
        "a BAD [TOOBIG] literals too large or too many\r\nb OK NOOP\r\n"
    );
    assert_eq!(
        owner.give("a SELECT {1000001+}\r\n"),
        "* BYE [TOOBIG] literal too large\r\n"
    );
}

#[test]
fn too_much_in_one_command() {
    let mut owner = Owner::selected();
    let mut input = String::from("a SEARCH");
    for _ in 0..11 {
        input.push_str(" SUBJECT {102400+}\r\n");
        input.push_str(&"x".repeat(102_400));
    }
    input.push_str("\r\nb NOOP\r\n");
    assert_eq!(
        owner.give(&input),
        "a BAD [TOOBIG] literals too large or too many\r\nb OK NOOP\r\n"
    );
}

#[test]
fn too_many_in_one_command() {
    let command = |count: usize| format!("a SEARCH{}\r\n", " SUBJECT {1+}\r\nx".repeat(count));
    let mut owner = Owner::selected();
    assert_eq!(owner.give(&command(1000)), "a OK SEARCH\r\n");
    assert_eq!(
        owner.give(&command(1001)),
        "a BAD [TOOBIG] literals too large or too many\r\n"
    );
    assert_eq!(owner.give(&command(1000)), "a OK SEARCH\r\n");
}

#[test]
fn strangers_get_less() {
    let mut owner = Owner::new(State::NotAuthenticated);
    assert_eq!(
        owner.give("a LOGIN {20000}\r\n"),
        "a BAD [TOOBIG] literals too large or too many\r\n"
    );
}

#[test]
fn literal8_only_for_messages() {
    let mut owner = Owner::selected();
    assert_eq!(
        owner.give("a SELECT ~{1}\r\n"),
        "a BAD no literal8 allowed here\r\n"
    );
    assert_eq!(
        owner.give("a SELECT ~{1+}\r\nx\r\nb NOOP\r\n"),
        "a BAD no literal8 allowed here\r\nb OK NOOP\r\n"
    );
}

#[test]
fn octets_of_a_literal_are_never_commands() {
    let mut owner = Owner::selected();
    let answer = owner.give("a FOO {12+}\r\nb LOGOUT\r\nx\r\r\nc NOOP\r\n");
    assert!(answer.starts_with("a BAD unknown command\r\n"), "{answer}");
    assert!(answer.ends_with("c OK NOOP\r\n"), "{answer}");
}

#[test]
fn bounds_come_with_the_configuration() {
    let session = Session::new(Config {
        state: State::Authenticated,
        literal_max: 10,
        literals_total_max: 60,
        literals_max: 2,
        discard_max: 20,
        ..Config::default()
    });
    let mut owner = Owner {
        session,
        ..Owner::new(State::Authenticated)
    };
    let refused = "BAD [TOOBIG] literals too large or too many\r\n";
    assert_eq!(owner.give("a LSUB {11}\r\n"), format!("a {refused}"));
    assert_eq!(
        owner.give("b STATUS {5+}\r\nINBOX (MESSAGES)\r\n"),
        "b OK STATUS\r\n"
    );
    assert_eq!(
        owner.give("c LIST {1+}\r\na {1+}\r\nb {1}\r\n"),
        format!("c {refused}")
    );
    assert_eq!(
        owner.give("d LSUB {21+}\r\n"),
        "* BYE [TOOBIG] literal too large\r\n"
    );
}
