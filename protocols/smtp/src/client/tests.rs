//! The client against the server of this crate, and against scripted servers.

use std::sync::Arc;

use super::replies::ReplyReader;
use super::stuffing::Stuffing;
use super::*;
use crate::command::HelloKind;
use crate::future_release::FutureRelease;
use crate::notification::{Notify, Return};
use crate::parameters::BodyKind;
use crate::reply::Reply;
use crate::server::{self, Config, Kind, Link};

fn envelope(recipients: &[&str]) -> Envelope {
    let address = |text: &&str| text.parse::<crate::Address>().unwrap();
    Envelope {
        size: Some(10),
        body: Some(BodyKind::EightBitMime),
        ..Envelope::new(crate::ReversePath::Null, recipients.iter().map(address))
    }
}

/// A client that hears scripted replies.
struct Scripted(Session);

impl Scripted {
    fn new(offers: &str) -> Self {
        let mut scripted = Scripted(Session::new("c.example"));
        assert!(matches!(
            scripted.hear("220 hi\r\n")[..],
            [Event::Banner(_)]
        ));
        scripted.0.hello(HelloKind::Extended);
        scripted.hear(&format!("250-mx\r\n{offers}250 HELP\r\n"));
        assert_eq!(scripted.sent(), "EHLO c.example\r\n");
        scripted
    }

    fn hear(&mut self, input: &str) -> Vec<Event> {
        let mut at = 0;
        let mut events = Vec::new();
        loop {
            let (used, event) = self.0.receive(&input.as_bytes()[at..]);
            at += used;
            match event.unwrap() {
                Some(event) => events.push(event),
                None => return events,
            }
        }
    }

    fn sent(&mut self) -> String {
        let mut output = Vec::new();
        self.0.transmit(&mut output);
        String::from_utf8(output).unwrap()
    }
}

fn short(events: &[Event]) -> Vec<String> {
    let name = |event: &Event| match event {
        Event::Recipient { index, reply } => format!("{index} {}", reply.code),
        Event::Sender(reply) => format!("Sender {}", reply.code),
        Event::Refused(reply) => format!("Refused {}", reply.code),
        other => format!("{other:?}"),
    };
    events.iter().map(name).collect()
}

#[test]
fn one_group_with_pipelining() {
    let mut client = Scripted::new("250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n");
    assert_eq!(client.0.extensions().size, Some(1000));
    client
        .0
        .begin(&envelope(&["a@b", "\"c d\"@e"]), Transfer::Data);
    let group =
        "MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<a@b>\r\nRCPT TO:<\"c d\"@e>\r\nDATA\r\n";
    assert_eq!(client.sent(), group);
    let events = client.hear("250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n");
    assert_eq!(short(&events), ["Sender 250", "0 550", "1 250", "Ready"]);
    client.0.body(b".a\r\n..b\r\nc").unwrap();
    client.0.finish().unwrap();
    assert_eq!(client.sent(), "..a\r\n...b\r\nc\r\n.\r\n");
    assert!(
        matches!(&client.hear("250 2.0.0 queued\r\n")[..], [Event::Done(reply)] if reply.text == "queued")
    );
}

#[test]
fn one_by_one_without_pipelining() {
    let mut client = Scripted::new("");
    client.0.begin(&envelope(&["a@b"]), Transfer::Data);
    assert_eq!(client.sent(), "MAIL FROM:<>\r\n");
    client.hear("250 ok\r\n");
    assert_eq!(client.sent(), "RCPT TO:<a@b>\r\n");
    client.hear("250 ok\r\n");
    assert_eq!(client.sent(), "DATA\r\n");
    assert_eq!(client.hear("354 ok\r\n"), [Event::Ready]);
}

#[test]
fn refused_transactions_are_cleaned_up() {
    for (offers, chunks, replies, events) in [
        (
            "250-PIPELINING\r\n",
            false,
            "250 a\r\n550 b\r\n554 c\r\n250 reset\r\n",
            vec!["Sender 250", "0 550", "Refused 550"],
        ),
        (
            "250-PIPELINING\r\n",
            false,
            "250 a\r\n550 b\r\n354 c\r\n554 d\r\n",
            vec!["Sender 250", "0 550", "Refused 550"],
        ),
        (
            "250-PIPELINING\r\n",
            false,
            "550 a\r\n503 b\r\n503 c\r\n250 reset\r\n",
            vec!["Sender 550", "0 503", "Refused 550"],
        ),
        (
            "250-PIPELINING\r\n",
            false,
            "250 a\r\n250 b\r\n451 c\r\n250 reset\r\n",
            vec!["Sender 250", "0 250", "Refused 451"],
        ),
        ("", false, "550 a\r\n", vec!["Sender 550", "Refused 550"]),
        (
            "",
            false,
            "250 a\r\n550 b\r\n250 reset\r\n",
            vec!["Sender 250", "0 550", "Refused 550"],
        ),
        (
            "",
            true,
            "250 a\r\n550 b\r\n250 reset\r\n",
            vec!["Sender 250", "0 550", "Refused 550"],
        ),
        (
            "250-PIPELINING\r\n",
            true,
            "250 a\r\n250 b\r\n",
            vec!["Sender 250", "0 250", "Ready"],
        ),
        (
            "",
            true,
            "250 a\r\n250 b\r\n",
            vec!["Sender 250", "0 250", "Ready"],
        ),
    ] {
        let mut client = Scripted::new(offers);
        client.0.begin(
            &envelope(&["a@b"]),
            if chunks {
                Transfer::Chunks
            } else {
                Transfer::Data
            },
        );
        assert_eq!(
            short(&client.hear(replies)),
            events,
            "{offers:?} {replies:?}"
        );
        assert!(!client.0.is_waiting());
    }
}

/// One reply more or less than was asked for must not count as the answer to what comes next: a message would be lost, or refused for another's sake.
#[test]
fn replies_out_of_step_end_it() {
    for (offers, chunks, replies, code, command) in [
        (
            "250-PIPELINING\r\n",
            false,
            "250 a\r\n250 b\r\n250 c\r\n",
            250,
            "DATA",
        ),
        ("", false, "250 a\r\n250 b\r\n250 c\r\n", 250, "DATA"),
        ("250-PIPELINING\r\n", false, "354 a\r\n", 354, "MAIL"),
        (
            "250-PIPELINING\r\n",
            false,
            "250 a\r\n354 b\r\n",
            354,
            "RCPT",
        ),
        // The refusal is that of a message before.
        (
            "250-PIPELINING\r\n",
            false,
            "550 a\r\n250 b\r\n",
            250,
            "RCPT",
        ),
        (
            "250-PIPELINING\r\n",
            true,
            "550 a\r\n250 b\r\n",
            250,
            "RCPT",
        ),
        (
            "250-PIPELINING\r\n",
            false,
            "250 a\r\n550 b\r\n250 c\r\n",
            250,
            "DATA",
        ),
    ] {
        let mut client = Scripted::new(offers);
        let transfer = if chunks {
            Transfer::Chunks
        } else {
            Transfer::Data
        };
        client.0.begin(&envelope(&["a@b"]), transfer);
        let mut input = replies.as_bytes();
        let error = loop {
            let (used, event) = client.0.receive(input);
            input = &input[used..];
            match event {
                Ok(Some(_)) => (),
                Ok(None) => panic!("{replies:?}"),
                Err(error) => break error,
            }
        };
        assert_eq!(
            error,
            ClientError::OutOfStep { code, command },
            "{replies:?}"
        );
    }
    let mut client = Scripted::new("");
    client.0.begin(&envelope(&["a@b"]), Transfer::Data);
    assert_eq!(client.hear("250 a\r\n250 b\r\n354 c\r\n").len(), 3);
    client.0.body(b"x\r\n").unwrap();
    client.0.finish().unwrap();
    let (_, said) = client.0.receive(b"354 d\r\n");
    assert!(said.is_err());
}

#[test]
fn a_reply_that_has_begun_is_known() {
    let mut client = Scripted::new("");
    for (input, has_begun) in [
        ("25", true),
        ("0 ok\r\n", false),
        ("250-a\r\n", true),
        ("250 b\r\n", false),
    ] {
        client.hear(input);
        assert_eq!(client.0.has_begun_reply(), has_begun, "{input:?}");
    }
}

#[test]
fn server_closes() {
    let mut client = Scripted::new("250-PIPELINING\r\n");
    client.0.begin(&envelope(&["a@b"]), Transfer::Data);
    assert!(matches!(
        client.hear("421 4.3.2 bye\r\n")[..],
        [Event::Closing(_)]
    ));
    let mut idle = Scripted::new("");
    assert!(matches!(
        idle.hear("421 4.4.2 timeout\r\n")[..],
        [Event::Closing(_)]
    ));
}

#[test]
fn replies_across_cuts() {
    let text =
        b"250-2.1.0 a\r\n250-2.1.0 b\r\n250 2.1.0 c\r\n354 go\r\n220\r\n250-5.1.1 x\r\n250 y\n";
    let read = |cut: usize| {
        let mut reader = ReplyReader::default();
        let mut replies = Vec::new();
        for piece in text.chunks(cut) {
            let mut at = 0;
            while at < piece.len() {
                let (used, reply) = reader.receive(&piece[at..]);
                at += used;
                replies.extend(reply.unwrap());
            }
        }
        replies
    };
    let whole = read(text.len());
    assert_eq!(whole[0], Reply::new(250, (2, 1, 0), "a\nb\nc"));
    assert_eq!((whole[1].code.number(), &*whole[1].text), (354, "go"));
    assert_eq!((whole[2].code.number(), &*whole[2].text), (220, ""));
    // The class of the status is not that of the code: it is text.
    assert_eq!((whole[3].enhanced, &*whole[3].text), (None, "5.1.1 x\ny"));
    for cut in 1..text.len() {
        assert_eq!(read(cut), whole);
    }
}

#[test]
fn hostile_replies() {
    for bad in [
        "hello\r\n",
        "25\r\n",
        "199 x\r\n",
        "600 x\r\n",
        "250_x\r\n",
        "250-a\r\n251 b\r\n",
        "\r\n",
        "\u{0662}50 x\r\n",
    ] {
        let mut reader = ReplyReader::default();
        let mut at = 0;
        let error = loop {
            let (used, reply) = reader.receive(&bad.as_bytes()[at..]);
            at += used;
            match reply {
                Err(error) => break Some(error),
                Ok(_) if at == bad.len() => break None,
                Ok(_) => {}
            }
        };
        assert_eq!(error, Some(ReplyError::Malformed), "{bad:?}");
    }
    assert_eq!(
        ReplyReader::default().receive(&[b'2'; 5000]).1,
        Err(ReplyError::LineTooLong)
    );
    assert_eq!(
        ReplyReader::default()
            .receive("250-x\r\n".repeat(2000).as_bytes())
            .1,
        Err(ReplyError::TooManyLines)
    );
    let long = format!("250-{}\r\n", "x".repeat(4000)).repeat(1000) + "250 x\r\n";
    let reply = ReplyReader::default()
        .receive(long.as_bytes())
        .1
        .unwrap()
        .unwrap();
    assert!(reply.text.len() <= crate::limits::REPLY_TEXT_READ_MAX);
}

#[test]
fn limits_extension() {
    let limit = |line: &str| {
        let mut client = Scripted::new(&format!("250-{line}\r\n250-AUTH plain LOGIN\r\n"));
        assert_eq!(client.0.extensions().auth, ["PLAIN", "LOGIN"]);
        assert!(client.sent().is_empty());
        client.0.extensions().recipients_max
    };
    assert_eq!(limit("LIMITS MAILMAX=5 RCPTMAX=20"), Some(20));
    assert_eq!(limit("LIMITS RCPTMAX=20 RCPTMAX=x UNKNOWN=1"), Some(20));
    assert_eq!(limit("LIMITS RCPTMAX=0"), None);
    assert_eq!(limit("LIMITS RCPTMAX=1000000"), None);
    assert_eq!(limit("LIMITS RCPTMAX=+5"), None);
}

/// What a server that offers this is told of an envelope that asks for everything.
fn asked(offers: &str, reverse_path: &str) -> String {
    let mut client = Scripted::new(offers);
    let mut envelope = Envelope {
        ret: Some(Return::Headers),
        envid: Some("QQ+2B1".parse().unwrap()),
        require_tls: true,
        reverse_path: reverse_path.parse().unwrap(),
        ..envelope(&["a@b", "j\u{f8}rn@b"])
    };
    envelope.recipients[0].notify = Some(Notify::Never);
    envelope.recipients[1].notify = Some("delay,success".parse().unwrap());
    envelope.recipients[1].orcpt = Some("utf-8;j\u{f8}rn@b".parse().unwrap());
    client.0.begin(&envelope, Transfer::Chunks);
    client.sent()
}

#[test]
fn what_is_asked_depends_on_what_is_offered() {
    // RFC 3461 4, RFC 6533 3, RFC 8689 2.
    assert_eq!(
        asked(
            "250-PIPELINING\r\n250-dsn\r\n250-RequireTLS\r\n",
            "<s@c.example>"
        ),
        "MAIL FROM:<s@c.example> RET=HDRS ENVID=QQ+2B1 REQUIRETLS\r\n\
         RCPT TO:<a@b> NOTIFY=NEVER\r\n\
         RCPT TO:<j\u{f8}rn@b> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;j\\x{F8}rn@b\r\n"
    );
    let without = "RCPT TO:<a@b>\r\nRCPT TO:<j\u{f8}rn@b>\r\n";
    // A message that needs REQUIRETLS is refused rather than sent without it.
    assert_eq!(
        asked("250-PIPELINING\r\n", "<s@c.example>"),
        format!("MAIL FROM:<s@c.example> REQUIRETLS\r\n{without}")
    );
    // RFC 8689 5: unless it is a bounce.
    assert_eq!(
        asked("250-PIPELINING\r\n", "<>"),
        format!("MAIL FROM:<>\r\n{without}")
    );
}

#[test]
fn offers_of_others() {
    let extensions = |lines: &str| Scripted::new(lines).0.extensions().clone();
    let all = extensions(
        "250-DSN\r\n250-REQUIRETLS\r\n250-FUTURERELEASE 86400 2026-12-31T23:59:59Z\r\n\
         250-limits mailmax=5 RcptDomainMax=1\r\n",
    );
    assert!(all.dsn && all.require_tls);
    let hold = FutureRelease {
        seconds_max: 86_400,
        until_max: 1_798_761_599,
    };
    assert_eq!(all.future_release, Some(hold));
    assert_eq!(all.transactions_max, Some(5));
    assert_eq!(
        (all.recipients_max, all.recipient_domains_max),
        (None, Some(1))
    );
    let none = extensions("250-X\r\n");
    assert!(!none.dsn && !none.require_tls);
    for wrong in [
        "",
        " 86400",
        " 0 2026-12-31T23:59:59Z",
        " 1000000000 2026-12-31T23:59:59Z",
        " 5 tomorrow",
    ] {
        let said = extensions(&format!("250-FUTURERELEASE{wrong}\r\n"));
        assert_eq!(said.future_release, None, "{wrong}");
    }
}

#[test]
fn stuffing_refuses_bare_line_ends_at_every_cut() {
    for length in 0..=6u32 {
        for number in 0..4u32.pow(length) {
            let message: Vec<u8> = (0..length)
                .map(|at| b"\r\n.a"[(number / 4u32.pow(at) % 4) as usize])
                .collect();
            let mut clean = message.clone();
            while let Some(at) = clean.windows(2).position(|pair| pair == b"\r\n") {
                clean.drain(at..at + 2);
                clean.insert(at, b'_');
            }
            let bare = clean.contains(&b'\r') || clean.contains(&b'\n');
            for cut in 1..=message.len().max(1) {
                let mut output = Vec::new();
                let mut stuffing = Stuffing::LineStart;
                let pieces: Result<(), BareCrOrLf> = message
                    .chunks(cut)
                    .try_for_each(|piece| stuffing.write(piece, &mut output));
                let sent = pieces.and_then(|()| stuffing.end(&mut output));
                assert_eq!(sent.is_err(), bare, "{}", message.escape_ascii());
                if sent.is_ok() {
                    let body = received(&output);
                    let complete = message.is_empty() || message.ends_with(b"\r\n");
                    let expected = if complete {
                        message.clone()
                    } else {
                        [&message[..], b"\r\n"].concat()
                    };
                    assert_eq!(body, expected, "{}", output.escape_ascii());
                }
            }
        }
    }
}

/// What our server makes of stuffed data.
fn received(data: &[u8]) -> Vec<u8> {
    let mut session = server::Session::new(
        Arc::new(Config::new("mx.example", Kind::Delivery)),
        Link::Plain,
        "",
    );
    session.greet();
    for line in [
        "EHLO c.example\r\n",
        "MAIL FROM:<>\r\n",
        "RCPT TO:<a@b>\r\n",
        "DATA\r\n",
    ] {
        assert!(session.receive(line.as_bytes()).1.is_some());
        session.accept();
    }
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let (used, event) = session.receive(&data[at..]);
        at += used;
        match event {
            Some(server::Event::Body(content)) => body.extend_from_slice(content),
            Some(server::Event::EndOfMessage { defect: None, .. }) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(at, data.len());
    body
}

/// Both sessions, joined by two buffers; the server accepts all and takes any password.
fn converse(client: &mut Session, server: &mut server::Session, body: &mut Vec<u8>) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let (mut upward, mut downward) = (Vec::new(), Vec::new());
        client.transmit(&mut upward);
        let mut at = 0;
        loop {
            let (used, event) = server.receive(&upward[at..]);
            at += used;
            match event {
                Some(server::Event::Body(content)) => body.extend_from_slice(content),
                Some(server::Event::Auth { initial: None, .. }) => {
                    server.decide(Reply::challenge(b"Username:"))
                }
                Some(server::Event::Auth { .. } | server::Event::AuthResponse(_)) => {
                    server.decide(Reply::authenticated());
                }
                Some(event) if event.needs_decision() => server.accept(),
                Some(_) => {}
                None => break,
            }
        }
        server.transmit(&mut downward);
        if upward.is_empty() && downward.is_empty() {
            return events;
        }
        let mut at = 0;
        loop {
            let (used, event) = client.receive(&downward[at..]);
            at += used;
            match event.unwrap() {
                Some(event) => events.push(event),
                None => break,
            }
        }
    }
}

#[test]
fn client_and_server() {
    let config = Config {
        auth_mechanisms: vec!["LOGIN"],
        offer_starttls: true,
        ..Config::new("mx.example", Kind::Submission)
    };
    let mut server = server::Session::new(Arc::new(config), Link::Plain, "id");
    server.offer_mechanisms(vec!["LOGIN"]);
    let mut client = Session::new("c.example");
    let mut body = Vec::new();
    server.greet();
    assert!(matches!(
        converse(&mut client, &mut server, &mut body)[..],
        [Event::Banner(_)]
    ));
    client.hello(HelloKind::Extended);
    converse(&mut client, &mut server, &mut body);
    let offered = client.extensions();
    assert!(
        offered.pipelining
            && offered.chunking
            && offered.binarymime
            && offered.starttls
            && offered.smtputf8
    );
    assert_eq!(offered.recipients_max, Some(1000));
    client.start_tls();
    converse(&mut client, &mut server, &mut body);
    server.tls_started();
    server.offer_mechanisms(vec!["LOGIN"]);
    client.tls_started();
    client.hello(HelloKind::Extended);
    converse(&mut client, &mut server, &mut body);
    client.auth("LOGIN", None);
    assert!(
        matches!(&converse(&mut client, &mut server, &mut body)[..], [Event::Challenge(text)] if &**text == b"Username:")
    );
    client.auth_response(Some(b"user"));
    let events = converse(&mut client, &mut server, &mut body);
    assert!(matches!(&events[..], [Event::Authenticated(reply)] if reply.is_positive()));

    client.begin(&envelope(&["a@b.example"]), Transfer::Data);
    assert_eq!(
        converse(&mut client, &mut server, &mut body).last(),
        Some(&Event::Ready)
    );
    client.body(b"Subject: x\r\n\r\n.\r\n").unwrap();
    client.finish().unwrap();
    assert!(matches!(
        converse(&mut client, &mut server, &mut body)[..],
        [Event::Done(_)]
    ));
    client.begin(&envelope(&["a@b.example"]), Transfer::Chunks);
    assert_eq!(
        converse(&mut client, &mut server, &mut body).last(),
        Some(&Event::Ready)
    );
    client.chunk(b"first\r\n", false);
    client.chunk(b".\r\n", true);
    assert!(matches!(
        converse(&mut client, &mut server, &mut body)[..],
        [Event::Chunk(_), Event::Done(_)]
    ));
    assert_eq!(body, b"Subject: x\r\n\r\n.\r\nfirst\r\n.\r\n");
    client.quit();
    assert!(matches!(
        converse(&mut client, &mut server, &mut body)[..],
        [Event::Quit(_)]
    ));
    assert!(server.is_closed());
}

#[test]
fn random_replies() {
    const FRAGMENTS: [&str; 18] = [
        "250 ok\r\n",
        "250-x\r\n",
        "250 2.1.0 x\r\n",
        "354 go\r\n",
        "334 VXNl\r\n",
        "334 !\r\n",
        "421 bye\r\n",
        "550 no\r\n",
        "451-4.0.0 x\r\n",
        "\r\n",
        "\n",
        "2",
        "999 x\r\n",
        "250-LIMITS RCPTMAX=3\r\n",
        "250-LIMITS MAILMAX= RCPTDOMAINMAX=99999999999\r\n",
        "250-DSN\r\n",
        "250-REQUIRETLS x\r\n",
        "250-FUTURERELEASE 5 2026-12-31T23:59:60+23:59\r\n",
    ];
    let mut random = 88_172_645_463_325_252u64;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    for _ in 0..3000 {
        let mut client = Session::new("c.example");
        let mut input = String::from("220 hi\r\n250-mx\r\n250-PIPELINING\r\n250 x\r\n");
        (0..below(20)).for_each(|_| input.push_str(FRAGMENTS[below(FRAGMENTS.len())]));
        let input = input.as_bytes();
        let mut at = 0;
        let mut steps = 0;
        while at < input.len() {
            let end = (at + 1 + below(40)).min(input.len());
            let (used, event) = client.receive(&input[at..end]);
            assert!(used <= end - at);
            at += used;
            match event {
                Err(_) => break,
                Ok(None) => assert_eq!(at, end),
                Ok(Some(Event::Ready)) => client.finish().unwrap(),
                Ok(Some(_)) if client.is_waiting() => {}
                Ok(Some(_)) => match below(5) {
                    0 => client.hello(HelloKind::Extended),
                    1 => client.begin(&envelope(&["a@b", "c@d"]), Transfer::Data),
                    2 => client.begin(&envelope(&["a@b", "c@d"]), Transfer::Chunks),
                    3 => client.auth("PLAIN", Some(b"")),
                    _ => client.quit(),
                },
            }
            steps += 1;
            assert!(steps < 10_000, "no progress");
        }
    }
}
