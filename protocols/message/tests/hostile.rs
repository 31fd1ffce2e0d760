//! Hostile messages: big and nested ones against the clock, and random changes of real ones. Nothing may panic or take long.
//! RINGMAIL_FUZZ_SECS (default 2) bounds the random part, RINGMAIL_FUZZ_SEED repeats a run, RINGMAIL_CORPORA adds messages to start from.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ringmail_message::{
    Header, MessageDate, SearchString, SearchedMessage, SectionText, Structure, ThreadFields,
    from_addresses, normalise_crlf,
};

/// Uses everything there is on one message.
fn exercise(message: &[u8]) {
    let structure = Structure::of_message(message);
    let stored = structure.to_bytes();
    assert_eq!(Structure::from_bytes(&stored).as_ref(), Some(&structure));
    let root = &structure.root;
    assert_eq!(
        (root.header.start, root.header.end, root.body.end),
        (0, root.body.start, message.len())
    );
    let names = ["to".to_string(), "X-\u{e9}".to_string()];
    let texts = [
        None,
        Some(SectionText::Header),
        Some(SectionText::HeaderFields(&names)),
        Some(SectionText::HeaderFieldsNot(&names)),
        Some(SectionText::Text),
        Some(SectionText::Mime),
    ];
    for numbers in [&[][..], &[1], &[2], &[1, 1], &[1, 2, 1], &[2, 1]] {
        for text in texts {
            structure.section(message, numbers, text);
        }
    }
    decode_all(root, message);
    let mut searched = SearchedMessage::new(message, &structure);
    searched.text_contains(&SearchString::new("Straße"));
    searched.header_contains("subject", &SearchString::new("x"));
    searched.sent_date();
    ThreadFields::of_message(message, &structure);
    let header = Header::of_message(message);
    let _ = from_addresses(header);
    MessageDate::of_header(header);
    let _ = normalise_crlf(message);
}

fn decode_all(part: &ringmail_message::Part, message: &[u8]) {
    part.filename();
    if let Ok(decoder) = part.decoder() {
        let body = part.body_octets(message);
        assert_eq!(
            decoder.decoded_size(body),
            decoder.decode(body).len() as u64
        );
    }
    part.children()
        .iter()
        .for_each(|child| decode_all(child, message));
}

const MIB: usize = 1 << 20;

fn fill(prefix: &str, piece: &str, suffix: &str) -> Vec<u8> {
    [prefix, &piece.repeat(MIB / piece.len()), suffix]
        .concat()
        .into_bytes()
}

#[track_caller]
fn quickly(message: Vec<u8>) {
    let started = Instant::now();
    exercise(&message);
    // In an unoptimised build on a busy machine; quadratic work on a megabyte takes hours.
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn boundary_like_lines() {
    let header = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    for piece in [
        "--",
        "--\r\n",
        "\r\n--",
        "--b",
        "--b\r\n",
        "--b--\r\n",
        "--bb\r\n",
        "--b\r\nX: y\r\n",
        "--b\r\n\r\n",
        "\n",
        "-",
    ] {
        quickly(fill(header, piece, ""));
    }
    let long = format!(
        "Content-Type: multipart/mixed; boundary={}\r\n\r\n",
        "b".repeat(4000)
    );
    quickly(fill(&long, &format!("--{}c\r\n", "b".repeat(3999)), ""));
}

#[test]
fn nested_multiparts() {
    let mut message = String::new();
    for level in 0..10_000 {
        message +=
            &format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
    }
    let structure = Structure::of_message(message.as_bytes());
    let mut depth = 0;
    let mut part = &structure.root;
    while let Some(child) = part.children().first() {
        (depth, part) = (depth + 1, child);
    }
    assert_eq!(depth, ringmail_message::limits::DEPTH_MAX);
    let closing: String = (0..10_000)
        .rev()
        .map(|level| format!("--b{level}--\r\n"))
        .collect();
    quickly((message + &closing).into_bytes());
}

#[test]
fn nested_messages() {
    quickly(fill("", "Content-Type: message/rfc822\r\n\r\n", ""));
    quickly(fill(
        "",
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        "",
    ));
    quickly(fill(
        "Content-Type: multipart/digest; boundary=b\r\n\r\n",
        "--b\r\n\r\n\r\n",
        "",
    ));
    quickly(fill(
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        "QUJD\r\n",
        "",
    ));
}

#[test]
fn part_bound() {
    let message = fill(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
        "--b\r\n\r\n",
        "",
    );
    let parts = Structure::of_message(&message).root.children().len();
    assert_eq!(parts + 1, ringmail_message::limits::PARTS_MAX);
}

#[test]
fn large_headers() {
    for name in [
        "From",
        "To",
        "Subject",
        "Content-Type",
        "Content-Disposition",
        "References",
        "Received",
        "Date",
        "Content-Language",
    ] {
        for piece in [
            "(",
            "\"",
            "<",
            "a@b,",
            "\r\n ",
            "=?utf-8?q?",
            "[",
            "a=b;",
            "\\",
            "\u{e9}",
            "\0",
            "x*0=",
            "re:",
            ";",
            "<a@b> ",
        ] {
            let mut message = fill(&format!("{name}: "), piece, "\r\n\r\nbody");
            exercise(&message.split_off(MIB / 2));
            quickly(message);
        }
    }
    quickly(fill("", "Content-Type: a/b\r\n", ""));
    quickly(fill("", "To: a\r\n", "\r\n"));
    quickly(fill("", "no field\r\n", ""));
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

const SEED_MESSAGE: &str = concat!(
    "From: \"A\" <a@b>\r\nTo: g: c@d, =?utf-8?q?e?= <e@f>;\r\nSubject: Re: [x] =?iso-8859-1?B?4Q==?=\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\n",
    "References: <1@x> <2@x>\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\npre\r\n--b\r\nContent-Type: text/plain; charset=utf-7\r\n",
    "Content-Transfer-Encoding: quoted-printable\r\n\r\n=41=\r\nb +AOk-\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n",
    "Content-Type: multipart/digest; boundary=c\r\n\r\n--c\r\n\r\nA: b\r\n\r\n--c--\r\n--b\r\nContent-Type: a/b; name*0*=utf-8''%c3; name*1=x\r\n",
    "Content-Disposition: attachment; filename=\"x\"\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b--\r\nepilogue\r\n",
);

const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"--b\r\n",
    b"--b--",
    b"\r\n\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
    b"=?",
    b"?=",
    b"=?utf-8?b?",
    b"\"",
    b"(",
    b"<",
    b">",
    b";",
    b"*0*=",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"=",
    b"charset=utf-16\r\n",
    b":",
    b"\\",
];

#[test]
fn random_changes() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seed = number("RINGMAIL_FUZZ_SEED")
        .unwrap_or(0x5eed_0fa1_1a1b_2c3d)
        .max(1);
    println!("RINGMAIL_FUZZ_SEED={seed}");
    let mut random = Random(seed);
    let mut sources = vec![SEED_MESSAGE.as_bytes().to_vec()];
    if let Some(corpora) = std::env::var_os("RINGMAIL_CORPORA") {
        collect(&Path::new(&corpora).join("mime"), &mut sources);
    }
    let until = Instant::now() + Duration::from_secs(number("RINGMAIL_FUZZ_SECS").unwrap_or(2));
    while Instant::now() < until {
        let mut message = sources[random.below(sources.len())].clone();
        for _ in 0..=random.below(8) {
            change(&mut message, &mut random);
        }
        exercise(&message);
        let mut stored = Structure::of_message(&message).to_bytes();
        let at = random.below(stored.len());
        stored[at] = random.below(256) as u8;
        if let Some(structure) = Structure::from_bytes(&stored) {
            structure.section(&message, &[1], Some(SectionText::Mime));
            SearchedMessage::new(&message, &structure).text_contains(&SearchString::new("x"));
        }
    }
}

fn change(message: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(message.len() + 1);
    match random.below(5) {
        0 if at < message.len() => message[at] = random.below(256) as u8,
        1 => drop(message.drain(at..message.len().min(at + random.below(40)))),
        2 => message.truncate(at),
        3 => {
            let end = message.len().min(at + random.below(200));
            let copy = message[at..end].to_vec();
            let to = random.below(message.len() + 1);
            message.splice(to..to, copy);
        }
        _ => drop(message.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
    }
}

fn collect(folder: &Path, sources: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path
            .extension()
            .is_some_and(|ending| ending == "eml" || ending == "msg")
        {
            sources.push(fs::read(&path).unwrap());
        }
    }
}
