//! Each rule of the server session, right side and wrong side.

use std::sync::Arc;

use super::driver::{Driver, delivery, submission};
use super::{Config, Deadline, Event, Kind, Link, Session};
use crate::command::HelloKind;
use crate::future_release::FutureRelease;
use crate::reply::Reply;

const ENVELOPE: &str = "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";

fn driver(config: Config) -> Driver {
    Driver::new(config, Link::Plain)
}

/// Greeted, with a transaction of one recipient.
fn in_transaction(config: Config) -> Driver {
    let mut driver = driver(config);
    driver.say(ENVELOPE);
    driver
}

#[test]
fn banner_and_hello() {
    let mut session = Session::new(Arc::new(delivery()), Link::Plain, "");
    assert_eq!(session.receive(b"EHLO x.example\r\n").0, 0);
    session.greet();
    let mut output = Vec::new();
    session.transmit(&mut output);
    assert_eq!(output, b"220 mx.example ESMTP ringmail\r\n");

    let mut driver = driver(Config {
        offer_starttls: true,
        size_max: 1000,
        ..delivery()
    });
    assert_eq!(
        driver.say("EHLO c.example\r\n"),
        "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n\
         250-8BITMIME\r\n250-DSN\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-LIMITS RCPTMAX=1000\r\n250-SMTPUTF8\r\n250 HELP\r\n"
    );
    assert_eq!(driver.say("HELO c.example\r\n"), "250 mx.example\r\n");
    let refused = driver.say_with("HELO c.example\r\n", &mut |_| {
        Some(Reply::hello_name_unknown())
    });
    assert_eq!(refused, "550 5.5.0 your HELO name does not exist\r\n");
    // RFC 5321 4.1.4: the state is as before.
    assert_eq!(driver.codes("MAIL FROM:<>\r\n"), "250 2.1.0");
}

#[test]
fn one_message() {
    let mut driver = in_transaction(delivery());
    assert_eq!(driver.codes("DATA\r\n"), "354 end");
    assert_eq!(driver.session.deadline(), Deadline::DataBlock);
    assert_eq!(
        driver.codes("Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n"),
        "250 2.0.0, 221 2.0.0"
    );
    assert_eq!(driver.body, b"Subject: x\r\n\r\n.dot\r\n");
    assert!(driver.session.is_closed());
    assert_eq!(driver.session.receive(b"more").0, 4);
    assert_eq!(driver.log.last().unwrap(), "Closed(Quit)");
}

#[test]
fn everything_in_one_write() {
    let mut driver = driver(delivery());
    let replies = driver.codes(&format!(
        "{ENVELOPE}DATA\r\na\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n"
    ));
    assert_eq!(
        replies,
        "250 HELP, 250 2.1.0, 250 2.1.5, 354 end, 250 2.0.0, 250 2.1.0, 221 2.0.0"
    );
}

#[test]
fn order_of_commands() {
    let mut driver = driver(Config {
        errors_max: 100,
        ..delivery()
    });
    assert_eq!(
        driver.codes("NOOP\r\nRSET\r\nVRFY x\r\nEXPN x\r\nHELP\r\n"),
        "250 2.0.0, 250 2.0.0, 252 2.7.0, 252 2.7.0, 214 2.0.0"
    );
    assert_eq!(
        driver.codes("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n"),
        "503 5.5.1, 503 5.5.1, 503 5.5.1"
    );
    driver.say("EHLO c.example\r\n");
    assert_eq!(
        driver.codes("RCPT TO:<a@b>\r\nDATA\r\nMAIL FROM:<a@b>\r\n"),
        "503 5.5.1, 503 5.5.1, 250 2.1.0"
    );
    assert_eq!(
        driver.codes("MAIL FROM:<a@b>\r\nDATA\r\n"),
        "503 5.5.1, 554 5.5.1"
    );
    assert_eq!(
        driver.codes("RSET\r\nRCPT TO:<a@b>\r\n"),
        "250 2.0.0, 503 5.5.1"
    );
    assert_eq!(driver.log.last().unwrap(), "Reset");
    // EHLO ends a transaction as RSET does.
    driver.say(ENVELOPE);
    assert_eq!(
        driver.codes("EHLO c.example\r\nDATA\r\n"),
        "250 HELP, 503 5.5.1"
    );
}

#[test]
fn decisions_lead_the_transaction() {
    let mut driver = driver(delivery());
    driver.say("EHLO c.example\r\n");
    let no = &mut |_: &Event<'_>| Some(Reply::local_error());
    assert_eq!(
        driver.say_with("MAIL FROM:<a@b>\r\n", no),
        "451 4.3.0 error processing, try again later\r\n"
    );
    assert_eq!(
        driver.codes("RCPT TO:<a@b>\r\nMAIL FROM:<a@b>\r\n"),
        "503 5.5.1, 250 2.1.0"
    );
    driver.say_with("RCPT TO:<a@b>\r\n", no);
    assert_eq!(
        driver.codes("DATA\r\nRCPT TO:<a@b>\r\n"),
        "554 5.5.1, 250 2.1.5"
    );
    driver.say_with("DATA\r\n", no);
    assert_eq!(
        driver.codes("DATA\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n"),
        "503 5.5.1, 250 2.1.0, 250 2.1.5, 354 end"
    );
    driver.say_with(".\r\n", no);
    // RFC 5321 4.1.1.4: the buffers are cleared after a refused message too.
    assert_eq!(driver.codes("MAIL FROM:<a@b>\r\n"), "250 2.1.0");
    driver.say_with("RCPT TO:<a@b>\r\n", &mut |_| Some(Reply::shutting_down()));
    assert!(driver.session.is_closed());
}

#[test]
fn limits_of_a_transaction() {
    let mut driver = in_transaction(Config {
        recipients_max: 2,
        size_max: 10,
        ..delivery()
    });
    assert_eq!(
        driver.codes("RCPT TO:<a@b>\r\nRCPT TO:<a@b>\r\n"),
        "250 2.1.5, 452 4.5.3"
    );
    assert_eq!(
        driver.codes("DATA\r\n123456789\r\n.\r\n"),
        "354 end, 552 5.3.4"
    );
    assert!(driver.log.last().unwrap().contains("TooBig"));
    assert_eq!(
        driver.codes("MAIL FROM:<a@b> SIZE=11\r\nMAIL FROM:<a@b> SIZE=10\r\n"),
        "552 5.3.4, 250 2.1.0"
    );
    // A notification has one recipient on port 25.
    assert_eq!(
        driver.codes("RSET\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@b>\r\n"),
        "250 2.0.0, 250 2.1.0, 250 2.1.5, 452 4.5.3"
    );
}

#[test]
fn smtputf8() {
    let mut driver = driver(delivery());
    driver.say("EHLO c.example\r\n");
    assert_eq!(
        driver.codes("MAIL FROM:<ä@b>\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ä@b>\r\nRSET\r\n"),
        "550 5.6.7, 250 2.1.0, 553 5.6.7, 250 2.0.0"
    );
    assert_eq!(
        driver.codes("MAIL FROM:<ä@b> SMTPUTF8\r\nRCPT TO:<ä@b>\r\n"),
        "250 2.1.0, 250 2.1.5"
    );
    let mut without = Driver::new(
        Config {
            offer_smtputf8: false,
            offer_binarymime: false,
            ..delivery()
        },
        Link::Plain,
    );
    without.say("EHLO c.example\r\n");
    assert_eq!(
        without.codes("MAIL FROM:<a@b> SMTPUTF8\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\n"),
        "555 5.5.4, 555 5.5.4"
    );
    assert_eq!(
        without.codes("MAIL FROM:<a@b> FOO=1\r\nMAIL FROM:<a@b> SIZE=1 SIZE=2\r\n"),
        "555 5.5.4, 501 5.5.4"
    );
}

#[test]
fn defects_are_never_accepted() {
    for (kind, data, codes) in [
        (Kind::Delivery, "a\nb\r\n.\r\n", "354 end, 550 5.5.2"),
        (Kind::Delivery, "a\rb\r\n.\r\n", "354 end, 550 5.5.2"),
        (
            Kind::Delivery,
            "a\r\n.\nMAIL FROM:<x@y>\r\n.\r\n",
            "354 end, 550 5.5.2",
        ),
        (Kind::Submission, "a\nb\r\n.\r\n", "354 end, 250 2.0.0"),
        (Kind::Submission, "a\rb\r\n.\r\n", "354 end, 550 5.5.2"),
    ] {
        let config = Config {
            auth_required: false,
            refuse_early_input: false,
            ..Config::new("mx.example", kind)
        };
        let mut driver = in_transaction(config);
        assert_eq!(driver.codes(&format!("DATA\r\n{data}")), codes, "{data:?}");
        assert_eq!(driver.codes("NOOP\r\n"), "250 2.0.0");
    }
}

#[test]
fn chunks() {
    let mut driver = in_transaction(delivery());
    assert_eq!(
        driver.codes("BDAT 3\r\na\r\nBDAT 6\r\n.\r\nb\r\nFOO\r\n"),
        "250 2.0.0, 250 2.0.0, 500 5.5.1"
    );
    assert_eq!(
        driver.codes("RCPT TO:<a@b>\r\nDATA\r\nBDAT 0 LAST\r\n"),
        "503 5.5.1, 503 5.5.1, 250 2.0.0"
    );
    assert_eq!(driver.body, b"a\r\n.\r\nb\r\n");
    // After the end, and without recipients: the octets are dropped before the answer.
    assert_eq!(
        driver.codes("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"),
        "503 5.5.1, 250 2.0.0"
    );
    assert_eq!(
        driver.codes("MAIL FROM:<a@b>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"),
        "250 2.1.0, 554 5.5.1, 250 2.0.0"
    );
    assert_eq!(
        driver.codes("RCPT TO:<a@b>\r\nBDAT 6 X\r\nQUIT\r\nNOOP\r\n"),
        "250 2.1.5, 501 5.5.4, 250 2.0.0"
    );
    // A bad chunk ends the transaction; those in the pipeline are dropped.
    assert_eq!(
        driver.codes("BDAT 2\r\na\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"),
        "550 5.5.2, 503 5.5.1, 250 2.0.0"
    );
    assert_eq!(driver.codes("BDAT x\r\nNOOP\r\n"), "501 5.5.4");
    assert!(driver.session.is_closed());
}

#[test]
fn binary_messages() {
    let mut driver = driver(delivery());
    driver.say("EHLO c.example\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<a@b>\r\n");
    assert_eq!(
        driver.codes("DATA\r\nBDAT 5 LAST\r\n\r\r\n\n\0"),
        "503 5.5.1, 250 2.0.0"
    );
    assert_eq!(driver.body, b"\r\r\n\n\0");
}

#[test]
fn start_tls() {
    let mut driver = driver(Config {
        offer_starttls: true,
        ..delivery()
    });
    assert_eq!(driver.codes("STARTTLS\r\n"), "220 2.0.0");
    assert!(driver.session.is_starting_tls());
    assert_eq!(driver.session.receive(b"hello").0, 0);
    driver.session.tls_started();
    assert_eq!(driver.codes("STARTTLS\r\n"), "503 5.5.1");
    assert_eq!(driver.codes("MAIL FROM:<>\r\n"), "503 5.5.1");
    assert!(!driver.say("EHLO c.example\r\n").contains("STARTTLS"));
    assert_eq!(driver.codes("STARTTLS\r\n"), "503 5.5.1");
    assert_eq!(
        driver.session.transmission_type(HelloKind::Extended, false),
        "ESMTPS"
    );

    // RFC 3207 4.2: what follows unencrypted was injected.
    let mut injected = Driver::new(
        Config {
            offer_starttls: true,
            ..delivery()
        },
        Link::Plain,
    );
    injected.say("EHLO c.example\r\n");
    assert_eq!(injected.codes("STARTTLS\r\nMAIL FROM:<>\r\n"), "554 5.5.0");
    assert!(injected.session.is_closed());
}

#[test]
fn early_input() {
    let strict = || Config {
        refuse_early_input: true,
        ..delivery()
    };
    assert_eq!(
        driver(strict()).codes("EHLO c.example\r\nMAIL FROM:<>\r\n"),
        "554 5.5.0"
    );
    assert_eq!(
        in_transaction(delivery()).codes("DATA\r\na\r\n.\r\n"),
        "354 end, 250 2.0.0"
    );
    let mut driver = driver(strict());
    driver.say("EHLO c.example\r\n");
    assert_eq!(
        driver.codes("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\n"),
        "250 2.1.0, 250 2.1.5, 554 5.5.0"
    );
}

#[test]
fn authentication() {
    let hello = "EHLO c.example\r\n";
    let mut plain_link = driver(submission());
    assert!(!plain_link.say(hello).contains("AUTH"));
    assert_eq!(
        plain_link.codes("AUTH PLAIN AGEAYg==\r\nMAIL FROM:<>\r\n"),
        "538 5.7.11, 530 5.7.0"
    );

    let mut driver = Driver::new(submission(), Link::Tls);
    assert_eq!(driver.codes("AUTH PLAIN AGEAYg==\r\n"), "503 5.5.1");
    assert!(driver.say(hello).contains("250-AUTH PLAIN LOGIN\r\n"));
    assert_eq!(
        driver.codes("AUTH CRAM-MD5\r\nAUTH PLAIN !\r\nAUTH PLAIN \r\n"),
        "504 5.5.4, 501 5.5.2, 501 5.5.2"
    );
    let mut challenge = |event: &Event<'_>| match event {
        Event::Auth {
            mechanism,
            initial: None,
        } if *mechanism == "LOGIN" => Some(Reply::challenge(b"Username:")),
        Event::AuthResponse(response) if &**response == b"user" => Some(Reply::authenticated()),
        Event::Mail { .. } => None,
        _ => Some(Reply::authentication_failed()),
    };
    assert_eq!(
        driver.say_with("auth login\r\n", &mut challenge),
        "334 VXNlcm5hbWU6\r\n"
    );
    assert_eq!(driver.session.deadline(), Deadline::AuthResponse);
    assert!(
        driver
            .say_with("*\r\n", &mut challenge)
            .starts_with("501 5.5.0")
    );
    driver.say_with("AUTH LOGIN\r\n", &mut challenge);
    assert!(
        driver
            .say_with("dXNlc\r\n", &mut challenge)
            .starts_with("501 5.5.2")
    );
    assert!(
        driver
            .say_with("AUTH PLAIN =\r\n", &mut challenge)
            .starts_with("535 5.7.8")
    );
    assert_eq!(driver.codes("MAIL FROM:<>\r\n"), "530 5.7.0");
    driver.say_with("AUTH LOGIN\r\n", &mut challenge);
    assert!(
        driver
            .say_with("dXNlcg==\r\n", &mut challenge)
            .starts_with("235 2.7.0")
    );
    assert!(driver.session.is_authenticated());
    assert_eq!(
        driver.codes("AUTH LOGIN\r\nMAIL FROM:<>\r\nAUTH LOGIN\r\n"),
        "503 5.5.1, 250 2.1.0, 503 5.5.1"
    );
    assert_eq!(
        driver.session.transmission_type(HelloKind::Extended, true),
        "UTF8SMTPSA"
    );
    // Port 25 has no AUTH.
    let mut port_25 = in_transaction(delivery());
    assert_eq!(
        port_25.codes("RSET\r\nAUTH PLAIN AGEAYg==\r\n"),
        "250 2.0.0, 503 5.5.1"
    );
}

#[test]
fn cancelled_exchanges_are_counted() {
    let mut driver = Driver::new(submission(), Link::Tls);
    driver.say("EHLO c.example\r\n");
    for _ in 0..20 {
        driver.say_with("AUTH PLAIN\r\n*\r\n", &mut |_| Some(Reply::challenge(b"")));
    }
    assert_eq!(driver.log.last().unwrap(), "Closed(TooManyErrors)");
    assert_eq!(
        driver
            .log
            .iter()
            .filter(|event| event.starts_with("AuthAborted"))
            .count(),
        10
    );
}

#[test]
fn long_lines() {
    let mut driver = driver(delivery());
    assert_eq!(
        driver.codes(&format!("NOOP {}\r\n", "x".repeat(2041))),
        "250 2.0.0"
    );
    assert_eq!(
        driver.codes(&format!("NOOP {}\r\n", "x".repeat(2042))),
        "500 5.5.2"
    );
    assert!(driver.session.is_closed());
    let mut endless = Driver::new(submission(), Link::Tls);
    endless.say("EHLO c.example\r\n");
    assert_eq!(
        endless.codes(&format!("AUTH PLAIN {}\r\n", "A".repeat(12288))),
        "535 5.7.8"
    );
    endless.say_with("AUTH PLAIN\r\n", &mut |_| Some(Reply::challenge(b"")));
    // RFC 4954 4: a failed login, and no end of the session.
    assert_eq!(endless.codes(&"A".repeat(20000)), "500 5.5.6");
    assert_eq!(endless.codes("A\r\nNOOP\r\n"), "250 2.0.0");
    assert_eq!(endless.log.last().unwrap(), "AuthAborted(Malformed)");
    for piece in [1, 100, 5000, 100_000] {
        let line = format!("auth plain {}\r\nNOOP\r\n", "A".repeat(20_000));
        endless.output.clear();
        let mut start = 0;
        while start < line.len() {
            let end = (start + piece).min(line.len());
            endless.feed(&line.as_bytes()[start..end], &mut |_| None);
            start = end;
        }
        let answer = String::from_utf8(std::mem::take(&mut endless.output)).unwrap();
        assert!(answer.starts_with("500 5.5.6 "), "{piece}: {answer}");
        assert!(
            answer.ends_with("\r\n250 2.0.0 ok\r\n"),
            "{piece}: {answer}"
        );
        assert_eq!(
            endless.log.last().unwrap(),
            "AuthMalformed { mechanism: \"PLAIN\" }"
        );
    }
    endless.codes(&format!("AUTH PLAIN {}", "A".repeat(20_000)));
    assert_eq!(endless.codes(&"A".repeat(999_000)), "");
    assert_eq!(endless.codes(&"A".repeat(1_001)), "500 5.5.2");
    assert!(endless.session.is_closed());
    // Where no login can be, a line that is too long is one like others.
    let mut stranger = Driver::new(submission(), Link::Tls);
    assert_eq!(
        stranger.codes(&format!("AUTH PLAIN {}", "A".repeat(20_000))),
        "500 5.5.2"
    );
}

#[test]
fn peers_that_speak_something_else() {
    assert_eq!(
        driver(delivery()).codes("GET / HTTP/1.1\r\nNOOP\r\n"),
        "500 5.5.2"
    );
    assert_eq!(driver(delivery()).codes("EHLO c.example\n"), "500 5.5.2");
    let mut driver = driver(delivery());
    assert_eq!(
        driver.codes("NOOP\r\nGET / HTTP/1.1\r\nNOOP\nNOOP\r\n"),
        "250 2.0.0, 500 5.5.1, 500 5.5.2, 250 2.0.0"
    );
    let codes = driver.codes(&"FOO\r\n".repeat(20));
    assert!(codes.ends_with("500 5.5.1, 421 4.7.0"), "{codes}");
    assert_eq!(driver.log.last().unwrap(), "Closed(TooManyErrors)");
}

#[test]
fn draining_and_closing() {
    let mut driver = in_transaction(delivery());
    driver.say("DATA\r\na\r\n");
    driver.session.drain();
    assert_eq!(
        driver.codes(".\r\nNOOP\r\nNOOP\r\n"),
        "250 2.0.0, 421 4.3.2"
    );
    let mut closed = in_transaction(delivery());
    assert!(closed.session.in_transaction());
    closed.session.close(Reply::timeout());
    assert_eq!(closed.codes("x"), "421 4.4.2");
}

#[test]
fn connection_id_ends_errors() {
    let mut session = Session::new(Arc::new(delivery()), Link::Plain, "abc");
    session.greet();
    session.receive(b"NOOP\r\nMAIL FROM:<>\r\n");
    let mut output = Vec::new();
    session.transmit(&mut output);
    assert!(output.ends_with(b"250 2.0.0 ok\r\n503 5.5.1 send EHLO first (abc)\r\n"));
}

#[test]
fn replies_are_bounded_by_transmit() {
    let mut driver = driver(Config {
        errors_max: u32::MAX,
        ..delivery()
    });
    let input = "NOOP\r\n".repeat(20_000);
    let (used, event) = driver.session.receive(input.as_bytes());
    assert!(event.is_none() && used < input.len());
    assert_eq!(
        driver.say(&input[used..]).len(),
        20_000 * "250 2.0.0 ok\r\n".len()
    );
}

#[test]
fn reports_are_asked_for() {
    let mut driver = driver(delivery());
    driver.say("EHLO c.example\r\n");
    assert_eq!(
        driver.codes("MAIL FROM:<a@b.example> RET=hdrs ENVID=QQ+2B1\r\nRCPT TO:<c@d.example> ORCPT=rfc822;c+2Bx@d.example NOTIFY=success,Delay\r\n"),
        "250 2.1.0, 250 2.1.5"
    );
    let seen = driver.log.join("\n");
    for part in [
        "ret: Some(Headers)",
        "id: \"QQ+1\"",
        "success: true, failure: false, delay: true",
        "address: \"c+x@d.example\"",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    // RFC 6533 3: UTF-8 as it is, only with SMTPUTF8.
    let raw = "RCPT TO:<e@d.example> ORCPT=utf-8;\u{f8}@d.example\r\n";
    assert_eq!(driver.codes(raw), "501 5.5.4");
    driver.say("RSET\r\nMAIL FROM:<a@b.example> SMTPUTF8\r\n");
    assert_eq!(driver.codes(raw), "250 2.1.5");
    let mut without = self::driver(Config {
        offer_dsn: false,
        ..delivery()
    });
    assert!(!without.say("EHLO c.example\r\n").contains("DSN"));
    assert_eq!(
        without.codes("MAIL FROM:<a@b.example> RET=FULL\r\nMAIL FROM:<a@b.example> ENVID=1\r\n"),
        "555 5.5.4, 555 5.5.4"
    );
    assert_eq!(
        without.codes("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example> NOTIFY=NEVER\r\n"),
        "250 2.1.0, 555 5.5.4"
    );
}

#[test]
fn tls_is_required_within_tls() {
    let offers = |link| Driver::new(delivery(), link).say("EHLO c.example\r\n");
    assert!(!offers(Link::Plain).contains("REQUIRETLS"));
    assert!(offers(Link::Tls).contains("\r\n250-REQUIRETLS\r\n"));
    let ask = "EHLO c.example\r\nMAIL FROM:<a@b.example> REQUIRETLS\r\n";
    let mut plain = driver(delivery());
    assert_eq!(plain.codes(ask), "250 HELP, 523 5.7.10");
    let mut tls = Driver::new(delivery(), Link::Tls);
    assert_eq!(tls.codes(ask), "250 HELP, 250 2.1.0");
    assert!(tls.log[1].contains("require_tls: true"));
    let config = Config {
        offer_require_tls: false,
        ..delivery()
    };
    assert_eq!(
        Driver::new(config, Link::Tls).codes(ask),
        "250 HELP, 555 5.5.4"
    );
}

#[test]
fn messages_are_held_as_long_as_is_offered() {
    let mut driver = driver(Config {
        auth_required: false,
        ..submission()
    });
    let mail = |hold: &str| format!("MAIL FROM:<a@b.example> {hold}\r\n");
    driver.say("EHLO c.example\r\n");
    assert_eq!(driver.codes(&mail("HOLDFOR=60")), "555 5.5.4");
    driver.session.offer_future_release(FutureRelease {
        seconds_max: 3600,
        until_max: 1_798_761_599,
    });
    let said = driver.say("EHLO c.example\r\n");
    assert!(said.contains("\r\n250-FUTURERELEASE 3600 2026-12-31T23:59:59Z\r\n"));
    for (hold, code) in [
        ("HOLDFOR=3601", "501 5.5.4"),
        ("HOLDFOR=0", "501 5.5.4"),
        ("HOLDFOR=1 HOLDUNTIL=2026-12-31T23:59:59Z", "501 5.5.4"),
        ("HOLDUNTIL=2027-01-01T00:00:00Z", "501 5.5.4"),
        ("HOLDUNTIL=tomorrow", "501 5.5.4"),
        ("HOLDUNTIL", "501 5.5.4"),
        ("HOLDUNTIL=2026-12-31T23:59:59Z", "250 2.1.0"),
    ] {
        assert_eq!(driver.codes(&mail(hold)), code, "{hold}");
    }
    assert_eq!(
        driver.codes(&format!("RSET\r\n{}", mail("HOLDFOR=3600"))),
        "250 2.0.0, 250 2.1.0"
    );
}
