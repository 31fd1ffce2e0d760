use super::*;
use crate::class::BounceClass;
use crate::parse::{Form, Kind, parse};

const HEADER: &[u8] = b"Return-Path: <alice@example.com>\r\nFrom: Alice <alice@example.com>\r\nTo: bob@example.org\r\n\
    Subject: Lunch\r\nMessage-ID: <lunch.1@example.com>\r\nX-Token: t-4711\r\n\r\n";

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn noon() -> MessageDate {
    MessageDate::utc(1_767_268_800) // 2026-01-01 12:00:00
}

fn original(header: &[u8], body: BodyKind) -> Original<'_> {
    Original {
        header,
        body_size: 1000,
        body,
        returned_size_max: 100_000,
    }
}

/// A report with as little in it as may be.
fn report<'a>(from: &'a Address, to: &'a Address, outcomes: &'a [Outcome<'a>]) -> Report<'a> {
    Report {
        from: ("Mail Delivery System", from),
        to,
        date: noon(),
        message_id: "<r.1@mail.example.com>",
        random: [7; 16],
        reporting_mta: "mail.example.com",
        received_from: None,
        arrival: None,
        envelope_id: None,
        future_release: None,
        outcomes,
        original: original(HEADER, BodyKind::SevenBit),
        returning: None,
        way: Way::EightBit,
    }
}

fn outcome(recipient: &Address, action: Action) -> Outcome<'_> {
    Outcome {
        recipient,
        original: None,
        action,
        status: EnhancedStatus::new(5, 1, 1),
        remote: None,
        diagnostic: None,
        last_attempt: None,
        retry_until: None,
        log_id: None,
    }
}

fn whole(composed: &Composed, body: &str) -> String {
    let body = if composed.wanted == Wanted::Body {
        body
    } else {
        ""
    };
    let octets = [&composed.head, body.as_bytes(), &composed.tail].concat();
    assert_eq!(composed.is_eight_bit, !octets.is_ascii());
    String::from_utf8(octets).unwrap()
}

fn simple(change: impl FnOnce(&mut Report<'_>)) -> Composed {
    let (from, to, bob) = (
        address("mailer-daemon@mail.example.com"),
        address("alice@example.com"),
        address("bob@example.org"),
    );
    let outcomes = [outcome(&bob, Action::Failed)];
    let mut report = report(&from, &to, &outcomes);
    change(&mut report);
    report.compose().unwrap()
}

#[test]
fn a_failure_as_people_and_programs_read_it() {
    let (from, to, bob) = (
        address("mailer-daemon@mail.example.com"),
        address("alice@example.com"),
        address("bob@example.org"),
    );
    let reply = Reply::new(550, (5, 1, 1), "No such user,\nask postmaster");
    let outcomes = [Outcome {
        remote: Some(RemoteMta {
            name: "mx.example.org",
            address: Some("192.0.2.1".parse().unwrap()),
        }),
        diagnostic: Some(Diagnostic::Reply(&reply)),
        last_attempt: Some(noon()),
        ..outcome(&bob, Action::Failed)
    }];
    let composed = Report {
        arrival: Some(noon()),
        ..report(&from, &to, &outcomes)
    }
    .compose()
    .unwrap();
    let expected = "Date: Thu, 1 Jan 2026 12:00:00 +0000\r\n\
From: \"Mail Delivery System\" <mailer-daemon@mail.example.com>\r\n\
To: <alice@example.com>\r\n\
Subject: Mail could not be delivered to bob@example.org\r\n\
Message-ID: <r.1@mail.example.com>\r\n\
In-Reply-To: <lunch.1@example.com>\r\n\
References: <lunch.1@example.com>\r\n\
Auto-Submitted: auto-replied\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/report; report-type=delivery-status;\r\n\
\tboundary=\"=_report_07070707070707070707070707070707\"\r\n\
\r\n\
This is a report about a message, for people and for programs.\r\n\
\r\n\
--=_report_07070707070707070707070707070707\r\n\
Content-Type: text/plain; charset=us-ascii\r\n\
Content-Description: What happened\r\n\
Content-Transfer-Encoding: 7bit\r\n\
\r\n\
Your message that we received on 1 Jan 2026, 12:00 (UTC) could not be\r\n\
delivered to the recipient below. We have given up.\r\n\
\r\n\
Its subject:\r\n    > Lunch\r\n\
\r\n\
To: bob@example.org\r\n    \
The recipient's server says that this address does not exist.\r\n    \
mx.example.org said:\r\n    \
> 550 5.1.1 No such user, ask postmaster\r\n    \
Check the address for typing mistakes. If it is right, ask the recipient\r\n    \
for a new one in another way.\r\n\
\r\n\
This report was written by the mail server mail.example.com. Nobody reads\r\n\
answers to it.\r\n\
\r\n\
\r\n\
--=_report_07070707070707070707070707070707\r\n\
Content-Type: message/delivery-status\r\n\
Content-Description: Status for programs\r\n\
Content-Transfer-Encoding: 7bit\r\n\
\r\n\
Reporting-MTA: dns; mail.example.com\r\n\
Arrival-Date: Thu, 1 Jan 2026 12:00:00 +0000\r\n\
\r\n\
Final-Recipient: rfc822; bob@example.org\r\n\
Action: failed\r\n\
Status: 5.1.1\r\n\
Remote-MTA: dns; mx.example.org (192.0.2.1)\r\n\
Diagnostic-Code: smtp; 550 5.1.1 No such user, ask postmaster\r\n\
Last-Attempt-Date: Thu, 1 Jan 2026 12:00:00 +0000\r\n\
\r\n\
--=_report_07070707070707070707070707070707\r\n\
Content-Type: message/rfc822\r\n\
Content-Description: The message\r\n\
Content-Transfer-Encoding: 7bit\r\n\
\r\n\
Return-Path: <alice@example.com>\r\nFrom: Alice <alice@example.com>\r\nTo: bob@example.org\r\n\
Subject: Lunch\r\nMessage-ID: <lunch.1@example.com>\r\nX-Token: t-4711\r\n\r\n\
At noon?\r\n\
\r\n\
--=_report_07070707070707070707070707070707--\r\n";
    assert_eq!(whole(&composed, "At noon?\r\n"), expected);
}

#[test]
fn every_field_comes_back() {
    let (from, to) = (
        address("mailer-daemon@mail.example.com"),
        address("alice@example.com"),
    );
    let addresses: Vec<Address> = [
        "bob@example.org",
        "\"two words\"@example.org",
        "c+d=e@example.org",
        "list@example.org",
        "late@example.org",
    ]
    .map(address)
    .to_vec();
    let orcpt: OriginalRecipient = "rfc822;Bob+2Bwork@old.example.org".parse().unwrap();
    let envid: EnvelopeId = "id+2B1+3D".parse().unwrap();
    let full = Reply::new(452, (4, 2, 2), "Mailbox full");
    let actions = [
        Action::Failed,
        Action::Delivered,
        Action::Relayed,
        Action::Expanded,
        Action::Delayed,
    ];
    let mut outcomes: Vec<Outcome<'_>> = addresses
        .iter()
        .zip(actions)
        .map(|(a, action)| outcome(a, action))
        .collect();
    outcomes[0].original = Some(&orcpt);
    outcomes[0].diagnostic = Some(Diagnostic::Own(
        "no answer from any host of example.org: connection timed out",
    ));
    outcomes[0].status = EnhancedStatus::new(5, 4, 7);
    outcomes[0].log_id = Some("4711");
    outcomes[4].diagnostic = Some(Diagnostic::Reply(&full));
    outcomes[4].status = EnhancedStatus::new(4, 2, 2);
    outcomes[4].retry_until = Some(noon());
    outcomes[4].remote = Some(RemoteMta {
        name: "mx.example.org",
        address: None,
    });
    for outcome in &mut outcomes[1..4] {
        outcome.status = EnhancedStatus::new(2, 1, 5);
    }
    let composed = Report {
        envelope_id: Some(&envid),
        received_from: Some("client.example.com"),
        future_release: Some("for;3600"),
        returning: Some(Return::Headers),
        ..report(&from, &to, &outcomes)
    }
    .compose()
    .unwrap();
    let text = whole(&composed, "never");
    for field in [
        "Received-From-MTA: dns; client.example.com\r\n",
        "Future-Release-Request: for;3600\r\n",
        "Final-Log-ID: 4711\r\n",
        "Will-Retry-Until: Thu, 1",
    ] {
        assert!(text.contains(field), "{field}\n{text}");
    }
    let read = parse(text.as_bytes());
    assert_eq!((read.kind, read.form), (Kind::Failed, Form::Standard));
    assert_eq!(read.reporting_mta.as_deref(), Some("mail.example.com"));
    assert_eq!(read.envelope_id.as_deref(), Some("id+1="));
    let returned = read.returned.unwrap();
    assert_eq!(
        returned.message_id().as_deref(),
        Some("<lunch.1@example.com>")
    );
    assert_eq!(returned.field("x-token").as_deref(), Some("t-4711"));
    assert_eq!(read.recipients.len(), 5);
    for (read, (address, action)) in read.recipients.iter().zip(addresses.iter().zip(actions)) {
        assert_eq!((&read.address, read.action), (&address.to_string(), action));
    }
    let (bob, late) = (&read.recipients[0], &read.recipients[4]);
    assert_eq!(bob.original.as_deref(), Some("Bob+work@old.example.org"));
    assert_eq!(bob.status, Some(EnhancedStatus::new(5, 4, 7)));
    assert_eq!(
        bob.diagnostic,
        "no answer from any host of example.org: connection timed out"
    );
    assert_eq!(late.code.unwrap().number(), 452);
    assert_eq!(late.remote_mta.as_deref(), Some("mx.example.org"));
    assert_eq!(late.bounce.unwrap().class, BounceClass::MailboxFull);
    assert_eq!(read.recipients[1].bounce, None);
}

#[test]
fn what_is_returned() {
    let returned = |change: &dyn Fn(&mut Report<'_>)| {
        let composed = simple(change);
        let text = whole(&composed, "body\r\n");
        let part = text.rsplit("Content-Type: ").next().unwrap();
        let kind = part.split("\r\n").next().unwrap().to_string();
        let encoding = part
            .split("Encoding: ")
            .nth(1)
            .unwrap()
            .split("\r\n")
            .next()
            .unwrap();
        (kind, encoding.to_string(), composed.wanted)
    };
    let is = |kind: &str, encoding: &str, wanted| (kind.to_string(), encoding.to_string(), wanted);
    assert_eq!(
        returned(&|_| ()),
        is("message/rfc822", "7bit", Wanted::Body)
    );
    let headers = is("text/rfc822-headers", "7bit", Wanted::Nothing);
    assert_eq!(returned(&|r| r.returning = Some(Return::Headers)), headers);
    assert_eq!(returned(&|r| r.original.returned_size_max = 1000), headers);
    assert_eq!(returned(&|r| r.original.body = BodyKind::Binary), headers);
    assert_eq!(
        returned(&|r| (r.original.body, r.way) = (BodyKind::EightBit, Way::SevenBit)),
        headers
    );
    // RFC 6533 4.4 and 4.5.
    let utf8 = "Subject: Gr\u{fc}\u{df}e\r\nMessage-ID: <a@b>\r\n".as_bytes();
    assert_eq!(
        returned(&|r| (r.original.header, r.way) = (utf8, Way::Utf8)),
        is("message/global", "8bit", Wanted::Body)
    );
    assert_eq!(
        returned(&|r| r.original.header = utf8),
        is("message/global-headers", "base64", Wanted::Nothing)
    );
    assert_eq!(
        returned(
            &|r| (r.original.header, r.way, r.returning) = (utf8, Way::Utf8, Some(Return::Headers))
        ),
        is("message/global-headers", "8bit", Wanted::Nothing)
    );
    assert_eq!(
        returned(&|r| (r.original.header, r.way) = (b"Subject: Gr\xfc\xdfe\r\n", Way::SevenBit)),
        is(
            "text/rfc822-headers; charset=unknown-8bit",
            "base64",
            Wanted::Nothing
        )
    );
    let long = [b"X-Long: ".to_vec(), vec![b'x'; 2000], b"\r\n".to_vec()].concat();
    assert_eq!(
        returned(&|r| { r.original.header = Box::leak(long.clone().into_boxed_slice()) }),
        is("text/rfc822-headers", "base64", Wanted::Nothing)
    );
}

#[test]
fn an_eight_bit_body_makes_the_report_eight_bit() {
    let composed = simple(|r| r.original.body = BodyKind::EightBit);
    assert!(composed.is_eight_bit && !composed.is_internationalized);
    let text = String::from_utf8(composed.head).unwrap();
    assert_eq!(text.matches("Content-Transfer-Encoding: 8bit").count(), 2);
}

#[test]
fn only_a_failure_returns_the_whole() {
    let (from, to, bob) = (
        address("d@x.example"),
        address("alice@example.com"),
        address("bob@example.org"),
    );
    for action in [
        Action::Delayed,
        Action::Delivered,
        Action::Relayed,
        Action::Expanded,
    ] {
        let outcomes = [outcome(&bob, action)];
        let report = Report {
            returning: Some(Return::Full),
            ..report(&from, &to, &outcomes)
        };
        assert_eq!(
            report.compose().unwrap().wanted,
            Wanted::Nothing,
            "{action}"
        );
    }
}

#[test]
fn addresses_in_utf8() {
    let (from, to) = (address("d@x.example"), address("alice@example.com"));
    let jorn = address("j\u{f8}rn@example.org");
    let orcpt: OriginalRecipient = "utf-8;\\x{E5}se@example.org".parse().unwrap();
    let outcomes = [Outcome {
        original: Some(&orcpt),
        ..outcome(&jorn, Action::Failed)
    }];
    let compose = |way| {
        Report {
            way,
            ..report(&from, &to, &outcomes)
        }
        .compose()
        .unwrap()
    };
    // RFC 6533 3: seven bits.
    let plain = compose(Way::SevenBit);
    let text = whole(&plain, "body\r\n");
    assert!(text.is_ascii() && text.contains("Final-Recipient: utf-8; j\\x{F8}rn@example.org\r\n"));
    assert!(text.contains("Subject: Mail could not be delivered to one recipient\r\n"));
    let utf8 = compose(Way::Utf8);
    assert!(utf8.is_internationalized);
    let text = whole(&utf8, "body\r\n");
    assert!(
        text.contains("message/global-delivery-status")
            && text.contains("Original-Recipient: utf-8; \u{e5}se@example.org\r\n")
    );
    for composed in [&plain, &utf8] {
        let read = parse(whole(composed, "body\r\n").as_bytes());
        assert_eq!(read.recipients[0].address, "j\u{f8}rn@example.org");
        assert_eq!(
            read.recipients[0].original.as_deref(),
            Some("\u{e5}se@example.org")
        );
    }
    let report = Report {
        to: &jorn,
        ..report(&from, &to, &outcomes)
    };
    assert_eq!(report.compose(), Err(ComposeError::NeedsSmtputf8));
}

#[test]
fn hostile_texts_begin_no_line() {
    let (from, to, bob) = (
        address("d@x.example"),
        address("alice@example.com"),
        address("bob@example.org"),
    );
    let evil = "no\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; eve@example.net\r\n--=_report_07070707070707070707070707070707--\r\n\x1b[31m\0\u{202e}";
    let reply = Reply::new(550, (5, 0, 0), [evil, &"x".repeat(100_000)].concat());
    let header = b"Subject: a\r\nMessage-ID: <a@b>\r\n Bcc: x@y\rz\0\r\n\r\nFrom: not a header\r\n";
    let outcomes = [Outcome {
        remote: Some(RemoteMta {
            name: evil,
            address: None,
        }),
        diagnostic: Some(Diagnostic::Reply(&reply)),
        log_id: Some(evil),
        ..outcome(&bob, Action::Failed)
    }];
    let report = Report {
        received_from: Some(evil),
        original: original(header, BodyKind::SevenBit),
        ..report(&from, &to, &outcomes)
    };
    let composed = report.compose().unwrap();
    let text = whole(&composed, "body\r\n");
    assert!(text.len() < 20_000, "{}", text.len());
    assert_eq!(
        text.matches("\r\n--=_report_07070707070707070707070707070707")
            .count(),
        4
    );
    for line in text.split("\r\n") {
        assert!(
            line.len() <= limits::LINE_MAX && !line.contains(['\r', '\n', '\0', '\x1b']),
            "{line:?}"
        );
        assert!(
            !line.starts_with("Action: delivered") && !line.starts_with("From: not"),
            "{line}"
        );
    }
    let read = parse(text.as_bytes());
    assert_eq!((read.kind, read.recipients.len()), (Kind::Failed, 1));
    assert_eq!(read.recipients[0].address, "bob@example.org");
}

#[test]
fn many_recipients_and_none() {
    let (from, to, bob) = (
        address("d@x.example"),
        address("alice@example.com"),
        address("bob@example.org"),
    );
    assert_eq!(
        report(&from, &to, &[]).compose(),
        Err(ComposeError::NoRecipient)
    );
    let outcomes = vec![outcome(&bob, Action::Failed); 1500];
    let text = whole(&report(&from, &to, &outcomes).compose().unwrap(), "");
    assert_eq!(
        text.matches("Final-Recipient").count(),
        limits::RECIPIENTS_MAX
    );
    assert!(text.contains("Subject: Mail could not be delivered to 1000 recipients\r\n"));
    assert!(text.contains("900 more recipients"));
}

#[test]
fn a_delay_tells_until_when() {
    let (from, to, bob) = (
        address("d@x.example"),
        address("alice@example.com"),
        address("bob@example.org"),
    );
    let outcomes = [Outcome {
        status: EnhancedStatus::new(4, 4, 1),
        retry_until: Some(MessageDate {
            unix_secs: noon().unix_secs,
            offset_minutes: 60,
        }),
        ..outcome(&bob, Action::Delayed)
    }];
    let text = whole(&report(&from, &to, &outcomes).compose().unwrap(), "");
    assert!(
        text.contains("We go on trying until 1 Jan 2026, 13:00 (UTC+01:00)."),
        "{text}"
    );
    assert!(text.contains("Subject: Mail is not delivered yet to bob@example.org\r\n"));
    assert_eq!(parse(text.as_bytes()).kind, Kind::Delayed);
}
