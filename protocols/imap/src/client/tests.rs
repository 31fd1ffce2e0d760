//! Responses from RFC 9051, hostile ones, and the encoder's own, read back.

use super::*;
use crate::response::Condition;
use crate::types::{ModSeq, SystemFlag};

/// All events of an input given in pieces, streamed octets joined.
fn events(input: &[u8], piece: usize, inline_max: u64) -> (Vec<Event>, Vec<u8>) {
    let mut client = Client::with_inline_max(inline_max);
    let (mut events, mut streamed) = (Vec::new(), Vec::new());
    for chunk in input.chunks(piece) {
        let mut start = 0;
        while start < chunk.len() {
            let given = &chunk[start..];
            start += client.receive(given);
            match client.event() {
                Some(Event::Literal(range)) => streamed.extend_from_slice(&given[range]),
                Some(event) => events.push(event),
                None => {}
            }
        }
    }
    (events, streamed)
}

fn response(text: &str) -> Response {
    let (mut all, _) = events(format!("{text}\r\n").as_bytes(), usize::MAX, 4096);
    assert_eq!(all.len(), 1, "{text}");
    match all.remove(0) {
        Event::Response(response) => response,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn status_responses() {
    let Response::Status(status) = response("* OK [UIDVALIDITY 3857529045] UIDs valid") else {
        panic!()
    };
    assert!(
        matches!(status.code, Some(ResponseCode::UidValidity(validity)) if validity.value() == 3_857_529_045)
    );
    let Response::Tagged(tag, status) =
        response("A003 OK [COPYUID 38505 304,319:320 3956:3958] Done")
    else {
        panic!()
    };
    assert_eq!(tag.as_str(), "A003");
    let Some(ResponseCode::CopyUid(_, source, copies)) = status.code else {
        panic!()
    };
    assert_eq!(
        (source.count(), copies.to_string().as_str()),
        (3, "3956:3958")
    );
    let Response::Status(status) = response("* BYE") else {
        panic!()
    };
    assert_eq!(
        (status.condition, status.text.as_str()),
        (Condition::Bye, "")
    );
    let Response::Tagged(_, status) = response("a NO [TRYCREATE] no") else {
        panic!()
    };
    assert_eq!(
        status.code,
        Some(ResponseCode::Other("TRYCREATE".into(), String::new()))
    );
    assert_eq!(
        response("+ idling"),
        Response::Continuation("idling".into())
    );
    assert_eq!(response("+"), Response::Continuation(String::new()));
}

#[test]
fn mailbox_data() {
    assert_eq!(response("* 23 EXISTS"), Response::Exists(23));
    assert_eq!(response("* 44 EXPUNGE"), Response::Expunge(44));
    let Response::Search(found) = response("* SEARCH 2 3 6 (MODSEQ 917162500)") else {
        panic!()
    };
    assert_eq!(
        (found.all.to_string().as_str(), found.mod_seq),
        ("2:3,6", ModSeq::new(917_162_500))
    );
    let Response::Search(found) =
        response("* ESEARCH (TAG \"A285\") UID MIN 7 MAX 3800 COUNT 3 ALL 7,10:11")
    else {
        panic!()
    };
    assert!(found.uid && found.min == Some(7) && found.max == Some(3800) && found.count == Some(3));
    assert_eq!(
        response("* SEARCH"),
        Response::Search(SearchData::default())
    );
    let Response::List(list) = response(
        "* LIST (\\Marked \\NoInferiors) \"/\" \"in box\" (\"CHILDINFO\" (\"SUBSCRIBED\"))",
    ) else {
        panic!()
    };
    assert_eq!(
        (
            list.name.as_str(),
            list.delimiter,
            list.attributes.len(),
            list.extended.len()
        ),
        ("in box", Some(b'/'), 2, 2)
    );
    assert_eq!(
        response("* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292 APPENDLIMIT NIL)"),
        Response::MailboxStatus(
            "blurdybloop".into(),
            vec![("MESSAGES".into(), 231), ("UIDNEXT".into(), 44292)]
        )
    );
    assert_eq!(
        response("* CAPABILITY IMAP4rev2 AUTH=PLAIN"),
        Response::Capability(vec!["IMAP4rev2".into(), "AUTH=PLAIN".into()])
    );
}

#[test]
fn fetch_with_literals() {
    let text = "* 12 FETCH (FLAGS (\\Seen \\Recent $Junk) UID 7 BODY[HEADER.FIELDS (TO)]<0> {5}\r\nab\r\nc RFC822.SIZE 99 \
                MODSEQ (5) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BINARY[1] ~{2}\r\n\0x ENVELOPE (NIL \"a\\\"b\" ((NIL NIL \"x\" \"y\"))))";
    let Response::Fetch(data) = response(text) else {
        panic!()
    };
    assert_eq!(
        (data.number, data.uid, data.rfc822_size, data.mod_seq),
        (12, Some(7), Some(99), ModSeq::new(5))
    );
    assert!(data.recent && data.internal_date.is_some());
    assert!(data.flags.unwrap().system.contains(SystemFlag::Seen));
    let body = data
        .items
        .iter()
        .find(|item| item.0 == "BODY[HEADER.FIELDS (TO)]<0>")
        .unwrap();
    assert_eq!(body.1, Value::Octets(b"ab\r\nc".to_vec()));
    assert_eq!(data.items[1].1.octets(), Some(b"\0x".as_slice()));
}

#[test]
fn large_literals_are_streamed() {
    let body = "0123456789\r\n".repeat(1000);
    let input = format!(
        "* 1 FETCH (BODY[] {{{}}}\r\n{body} UID 4)\r\nc1 OK done\r\n",
        body.len()
    );
    for piece in [1, 7, 4096, usize::MAX] {
        let (events, streamed) = events(input.as_bytes(), piece, 100);
        assert_eq!(streamed, body.as_bytes());
        let Event::Response(Response::Fetch(data)) = &events[0] else {
            panic!()
        };
        assert_eq!(
            (data.item("BODY[]").unwrap().octet_count(), data.uid),
            (Some(body.len() as u64), Some(4))
        );
        assert_eq!(events.len(), 2);
    }
}

#[test]
fn literals_wait_for_continuations() {
    let mut client = Client::new();
    let mut out = Vec::new();
    client.send(&[
        Part::Text("LOGIN "),
        Part::String(b"a b"),
        Part::Text(" "),
        Part::String(b"p\xc3\xa4ss"),
    ]);
    client.transmit(&mut out);
    assert_eq!(out, b"c1 LOGIN \"a b\" {5}\r\n");
    client.receive(b"+ go\r\n");
    assert_eq!(client.event(), None);
    client.transmit(&mut out);
    assert_eq!(out, b"c1 LOGIN \"a b\" {5}\r\np\xc3\xa4ss\r\n");
    client.literal_plus(true);
    out.clear();
    client.send(&[Part::Text("APPEND x "), Part::Literal8(b"\0")]);
    client.transmit(&mut out);
    assert_eq!(out, b"c2 APPEND x ~{1+}\r\n\0\r\n");
}

#[test]
fn commands_behind_a_literal_wait_for_it() {
    let mut client = Client::new();
    let sent = |client: &mut Client| {
        let mut out = Vec::new();
        client.transmit(&mut out);
        String::from_utf8(out).unwrap()
    };
    client.command("NOOP");
    client.send(&[Part::Text("SELECT "), Part::Literal(b"a"), Part::Text(" x")]);
    client.send(&[Part::Text("SELECT "), Part::Literal(b"b")]);
    client.command("NOOP");
    assert_eq!(sent(&mut client), "c1 NOOP\r\nc2 SELECT {1}\r\n");
    client.receive(b"c1 OK done\r\n");
    client.event();
    assert_eq!(sent(&mut client), "");
    client.receive(b"+ go\r\n");
    assert_eq!(sent(&mut client), "a x\r\nc3 SELECT {1}\r\n");
    client.receive(b"c3 BAD no\r\n");
    client.event();
    assert_eq!(sent(&mut client), "c4 NOOP\r\n");
}

#[test]
fn malformed_and_endless() {
    for text in [
        "* 1 FETCH (UID x)",
        "* 1 FETCH (",
        "* 1 FETCH",
        "* ",
        "*",
        "",
        "a",
        "a MAYBE",
        "* LIST",
        "* STATUS x",
        "* 99999999999 EXISTS",
        "* OK [UIDVALIDITY 0] x",
        "* FLAGS",
        "* 1 FETCH (ENVELOPE ((((((",
        "* X \"",
        "* VANISHED a",
    ] {
        let (events, _) = events(format!("{text}\r\n").as_bytes(), 3, 10);
        assert!(
            matches!(events.as_slice(), [Event::Malformed(_)]),
            "{text}: {events:?}"
        );
    }
    let deep = format!("* X {}\r\n", "(".repeat(100_000));
    assert!(matches!(
        events(deep.as_bytes(), 1000, 10).0.as_slice(),
        [Event::Malformed(_)]
    ));
    let endless = vec![b'x'; 3 << 20];
    assert!(matches!(
        events(&endless, 65_536, 10).0.as_slice(),
        [Event::Malformed(_)]
    ));
}

#[test]
fn mutated_responses() {
    let seeds = [
        "* 1 FETCH (FLAGS (\\Seen) UID 7 BODY[] {5}\r\nhello MODSEQ (5))\r\n",
        "* ESEARCH (TAG \"x\") UID MIN 7 ALL 7,10:11\r\nc1 OK [APPENDUID 1 2:3] done\r\n",
        "* LIST (\\X) \"/\" {3}\r\na\"b (\"OLDNAME\" (x))\r\n* STATUS x (MESSAGES 1)\r\n",
        "* VANISHED (EARLIER) 1:5\r\n+ go\r\n* ID (\"a\" NIL)\r\n* 1 FETCH (BODYSTRUCTURE (\"A\" NIL (1)))\r\n",
    ];
    let mut state = 7u64;
    let mut random = move |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound.max(1)
    };
    for _ in 0..4000 {
        let mut input = seeds[random(seeds.len())]
            .repeat(1 + random(2))
            .into_bytes();
        for _ in 0..random(5) {
            let at = random(input.len());
            match random(3) {
                0 => input[at] = random(256) as u8,
                1 => drop(input.remove(at)),
                _ => input.insert(at, b"(){}[]\"\\\r\n ~*+0"[random(15)]),
            }
        }
        let whole = events(&input, usize::MAX, 3);
        let split = events(&input, 1 + random(5), 3);
        assert_eq!(whole, split, "{}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn a_session_reads_what_the_client_sends() {
    use crate::command::Command;
    use crate::server::{Config, Event as Asked, Session};
    let letters: [&[u8]; 9] = [
        b"a",
        b"\"",
        b"\\",
        b" ",
        b"{3}",
        b"\r\n",
        b"\xc3\xa9",
        b"]",
        b"(",
    ];
    for round in 0..2000usize {
        let word = |shift: usize| -> Vec<u8> {
            (0..round % 5)
                .flat_map(|at| letters[(round / 7 + at * shift + round) % 9].to_vec())
                .collect()
        };
        let (user, password) = (word(2), word(5));
        let (mut client, mut session) = (Client::new(), Session::new(Config::default()));
        client.literal_plus(round % 2 == 0);
        let parts = [
            Part::Text("LOGIN "),
            Part::String(&user),
            Part::Text(" "),
            Part::String(&password),
        ];
        let tag = client.send(&parts);
        let asked = (0..4).find_map(|_| {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            client.transmit(&mut up);
            assert_eq!(session.receive(&up), up.len());
            session.transmit(&mut down);
            client.receive(&down);
            session.event()
        });
        let Some(Asked::Command {
            tag: read,
            command:
                Command::Login {
                    user: name,
                    password: secret,
                },
        }) = asked
        else {
            panic!("{user:?} {password:?}")
        };
        assert_eq!(
            (read, name.as_bytes(), secret.as_str().as_bytes()),
            (tag, &user[..], &password[..])
        );
    }
}
