//! Messages over 1 MiB over IMAP: their parts are what they are, in pieces or whole, and clients that ask and do not read fill no memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringmail::settings::Door;

use crate::imap_more::Client;
use crate::program::Localserve;
use crate::server::TestServer;

/// A message of three parts: text with soft line ends, octets of all values as base64, a message.
struct Sample {
    header: String,
    text: String,
    text_decoded: String,
    encoded: String,
    octets: Vec<u8>,
    inner: String,
}

impl Sample {
    fn new() -> Sample {
        let octets: Vec<u8> = (0..1_500_000u32).map(|n| (n / 7 % 256) as u8).collect();
        let mut encoded = String::new();
        for line in octets.chunks(57) {
            encoded += &base64(line);
            encoded += "\r\n";
        }
        let line = "caf=C3=A9 and some more words to fill the line, =\r\nwhich goes on here  \r\n";
        let decoded = "café and some more words to fill the line, which goes on here\r\n";
        Sample {
            header: "Subject: large\r\nX-Other: no\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n".into(),
            text: line.repeat(5000),
            text_decoded: decoded.repeat(5000),
            encoded,
            octets,
            inner: format!("Subject: inner\r\n\r\n{}", "a line of the inner message\r\n".repeat(20_000)),
        }
    }

    fn body(&self) -> String {
        let Sample {
            text,
            encoded,
            inner,
            ..
        } = self;
        let quoted = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
        let base64 = "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        let message = "Content-Type: message/rfc822\r\n\r\n";
        format!(
            "--b\r\n{quoted}{text}\r\n--b\r\n{base64}{encoded}\r\n--b\r\n{message}{inner}\r\n--b--\r\n"
        )
    }

    fn whole(&self) -> String {
        self.header.clone() + &self.body()
    }
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits = group
            .iter()
            .chain([&0, &0])
            .take(3)
            .fold(0u32, |bits, o| bits << 8 | u32::from(*o));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= group.len() {
                char::from(DIGITS[value as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[test]
fn parts_of_a_large_message_are_those_of_a_small_one() {
    let sample = Sample::new();
    let (whole, body) = (sample.whole(), sample.body());
    let server = TestServer::start();
    let mut client = Client::login(server.address(Door::Imap), "anna");
    let (_, done) = client.say(
        format!("b APPEND INBOX {{{}+}}\r\n{whole}\r\n", whole.len()).as_bytes(),
        "b",
    );
    assert!(done.starts_with("b OK"), "{done}");
    client.say(b"c SELECT INBOX\r\n", "c");
    let text_nul = sample.octets[1_000_000..1_300_000].to_vec();
    let nul_free = sample.octets[7..1000].to_vec();
    assert!(text_nul.contains(&0) && !nul_free.contains(&0));
    let expected: Vec<(&str, Vec<u8>)> = vec![
        ("BODY.PEEK[]", whole.clone().into_bytes()),
        ("RFC822.HEADER", sample.header.clone().into_bytes()),
        (
            "BODY.PEEK[HEADER.FIELDS (Subject)]",
            b"Subject: large\r\n\r\n".to_vec(),
        ),
        ("BODY.PEEK[TEXT]", body.clone().into_bytes()),
        (
            "BODY.PEEK[TEXT]<1048570.300000>",
            body.as_bytes()[1_048_570..1_348_570].to_vec(),
        ),
        ("BODY.PEEK[1]", sample.text.clone().into_bytes()),
        (
            "BODY.PEEK[2.MIME]",
            b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n".to_vec(),
        ),
        ("BODY.PEEK[2]", sample.encoded.clone().into_bytes()),
        (
            "BODY.PEEK[2]<131071.131074>",
            sample.encoded.as_bytes()[131_071..262_145].to_vec(),
        ),
        ("BODY.PEEK[2]<99999999.10>", Vec::new()),
        (
            "BODY.PEEK[3.HEADER.FIELDS.NOT (x)]",
            b"Subject: inner\r\n\r\n".to_vec(),
        ),
        ("BODY.PEEK[3]", sample.inner.clone().into_bytes()),
        ("BINARY.PEEK[1]", sample.text_decoded.clone().into_bytes()),
        ("BINARY.PEEK[2]", sample.octets.clone()),
        ("BINARY.PEEK[2]<1000000.300000>", text_nul),
        ("BINARY.PEEK[2]<7.993>", nul_free),
        ("BINARY.PEEK[]", whole.clone().into_bytes()),
    ];
    // All at once, and each alone: what is read for one may not show in another.
    let all: Vec<&str> = expected.iter().map(|(item, _)| *item).collect();
    let (literals, done) = client.say(format!("d FETCH 1 ({})\r\n", all.join(" ")).as_bytes(), "d");
    assert!(done.starts_with("d OK"), "{done}");
    assert_eq!(literals.len(), expected.len());
    for ((item, octets), literal) in expected.iter().zip(&literals) {
        assert!(
            literal == octets,
            "{item}: {} octets, not {}",
            literal.len(),
            octets.len()
        );
        let (alone, _) = client.say(format!("e FETCH 1 {item}\r\n").as_bytes(), "e");
        assert!(alone == [octets.as_slice()], "{item} alone");
    }
    let (literals, _) = client.say(b"f FETCH 1 RFC822.TEXT\r\n", "f");
    assert!(literals == [body.as_bytes()]);
    let sizes = format!(
        "BINARY.SIZE[1] {} BINARY.SIZE[2] {} BINARY[9] NIL BODY[7] NIL",
        sample.text_decoded.len(),
        sample.octets.len()
    );
    // SEARCH looks into it too, also beyond the first 1 MiB.
    for (command, shown) in [
        (
            "FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[2] BINARY.PEEK[9] BODY.PEEK[7])",
            sizes.as_str(),
        ),
        ("SEARCH BODY \"inner message\"", "* SEARCH 1\r\n"),
        ("SEARCH TEXT \"X-Other: no\"", "* SEARCH 1\r\n"),
        ("SEARCH SUBJECT large", "* SEARCH 1\r\n"),
        ("SEARCH BODY nowhere", "* SEARCH\r\n"),
    ] {
        client
            .0
            .get_mut()
            .write_all(format!("g {command}\r\n").as_bytes())
            .unwrap();
        let line = client.line();
        assert!(line.contains(shown), "{command}: {line}");
        assert!(client.line().starts_with("g OK"), "{command}");
    }
}

#[test]
fn clients_that_do_not_read_fill_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let server = Localserve::start(&directory.path().join("data"), &[]);
    let mut first = login(&server);
    let line = format!("{}\r\n", "x".repeat(76));
    let part = line.repeat((20 << 20) / line.len());
    let message = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{part}--b\r\n\r\nend\r\n--b--\r\n"
    );
    for (tag, message) in [
        ("b", message.as_str()),
        ("c", "Subject: small\r\n\r\nsmall\r\n"),
    ] {
        first
            .write_all(format!("{tag} APPEND INBOX {{{}+}}\r\n", message.len()).as_bytes())
            .unwrap();
        first.write_all(message.as_bytes()).unwrap();
        first.write_all(b"\r\n").unwrap();
        until(&mut first, &format!("{tag} OK"));
    }
    let before = resident(&server);
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| login(&server)).collect();
    for client in &mut clients {
        client
            .write_all(b"s EXAMINE INBOX\r\nf FETCH 1 (BODY.PEEK[1] BODY.PEEK[TEXT])\r\n")
            .unwrap();
    }
    // Each is served: what it asked for has begun to arrive, so whatever the server holds for it, it holds now.
    for client in &mut clients {
        until(client, "* 1 FETCH");
    }
    let grown = resident(&server).saturating_sub(before);
    assert!(
        grown < GROWTH_MAX,
        "{} MiB more for clients that do not read",
        grown >> 20
    );
    // Others are served meanwhile, also from the large message.
    first
        .write_all(b"s SELECT INBOX\r\nd FETCH 2 BODY.PEEK[]\r\n")
        .unwrap();
    until(&mut first, "d OK");
    first
        .write_all(b"e FETCH 1 BODY.PEEK[1]<10000000.10>\r\nf SEARCH BODY end\r\n")
        .unwrap();
    until(&mut first, "* SEARCH 1");
    until(&mut first, "f OK");
}

#[test]
fn memory_of_clients_that_do_not_read_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    // Room for 16 that are sent something; the others get their turn when these have taken too long.
    let limits = "message_size_max_bytes = \"8MiB\"\nmessage_memory_max_bytes = \"8MiB\"\nwrite_timeout_secs = \"2s\"\n";
    let server = TestServer::with_imap_limits(directory.path(), limits);
    let address = server.address(Door::Imap);
    let mut first = Client::login(address, "anna");
    let message = format!("Subject: x\r\n\r\n{}", "a line of text\r\n".repeat(400_000));
    let append = format!("b APPEND INBOX {{{}+}}\r\n{message}\r\n", message.len());
    let (_, done) = first.say(append.as_bytes(), "b");
    assert!(done.starts_with("b OK"), "{done}");
    let mut clients: Vec<Client> = (0..40).map(|_| Client::login(address, "anna")).collect();
    for client in &mut clients {
        client.say(b"s EXAMINE INBOX\r\n", "s");
        // More than sockets hold.
        let ask = b"f FETCH 1 (BODY.PEEK[1] BODY.PEEK[TEXT] BODY.PEEK[] BODY.PEEK[1])\r\n";
        client.0.get_mut().write_all(ask).unwrap();
    }
    for client in &mut clients {
        assert!(client.line().starts_with("* 1 FETCH"));
    }
    first.say(b"s SELECT INBOX\r\n", "s");
    let (literals, done) = first.say(b"f FETCH 1 BODY.PEEK[TEXT]\r\n", "f");
    assert!(
        literals == [&message.as_bytes()["Subject: x\r\n\r\n".len()..]],
        "{done}"
    );
    let (_, done) = first.say(b"f SEARCH BODY \"line of text\"\r\n", "f");
    assert!(done.starts_with("f OK"), "{done}");
}

/// Asks for far more than this would be if the server held it all: 50 times 20 MiB of sections, twice.
const CLIENTS: usize = 50;
/// The budget is 320 MiB; an allocator keeps some beside.
const GROWTH_MAX: u64 = 600 << 20;

fn login(server: &Localserve) -> TcpStream {
    let mut stream = server.connect(143);
    // Debug builds on a busy machine take long messages apart slowly.
    stream
        .set_read_timeout(Some(Duration::from_secs(300)))
        .unwrap();
    stream
        .write_all(b"a LOGIN ringmail@localhost ringmailringmail\r\n")
        .unwrap();
    until(&mut stream, "a OK");
    stream
}

/// Reads octet by octet up to this text, and nothing beyond.
fn until(stream: &mut TcpStream, text: &str) {
    let mut last = Vec::new();
    while !last.ends_with(text.as_bytes()) {
        let mut octet = [0];
        match stream.read(&mut octet) {
            Ok(1) => last.push(octet[0]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
            other => panic!(
                "{other:?} before {text:?} in {:?}",
                String::from_utf8_lossy(&last)
            ),
        }
    }
}

fn resident(server: &Localserve) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[test]
fn a_damaged_message_costs_one_connection_and_then_itself_alone() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::on(directory.path(), "");
    let line = format!("{}\r\n", "z".repeat(98));
    let body = |n: usize| format!("Subject: {n}\r\n\r\n{}", line.repeat(20_000));
    for n in 1..=3 {
        let answer = crate::smtp::send(&server, &["anna@example.test"], &body(n));
        assert!(answer.starts_with("250"), "{answer}");
    }
    let mut files = Vec::new();
    for shard in 0..4 {
        let large = directory
            .path()
            .join(format!("data/shard-{shard:03}/large"));
        files.extend(std::fs::read_dir(large).unwrap().map(|f| f.unwrap().path()));
    }
    files.sort();
    assert_eq!(files.len(), 3);
    // One bit, far behind the first slice.
    let mut octets = std::fs::read(&files[1]).unwrap();
    octets[1_000_000] ^= 1;
    std::fs::write(&files[1], octets).unwrap();
    let fetch = || {
        let mut stream = server.connect(Door::Imap);
        let text = "a LOGIN anna@example.test anna-password\r\nb SELECT INBOX\r\nc FETCH 1:3 BODY.PEEK[]\r\nd LOGOUT\r\n";
        stream.write_all(text.as_bytes()).unwrap();
        let mut all = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => all.extend_from_slice(&buffer[..read]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => (),
                Err(e) => panic!("{e}"),
            }
        }
        String::from_utf8(all).unwrap()
    };
    // The literal had been announced.
    let first = fetch();
    assert!(first.contains("Subject: 1") && !first.contains("Subject: 3"));
    assert!(!first.contains("\r\nd OK"));
    let second = fetch();
    assert!(second.contains("Subject: 1") && second.contains("Subject: 3"));
    assert!(second.contains("\r\nc NO [CORRUPTION] message 2 (UID 2) is damaged"));
    assert!(second.contains("\r\nd OK"));
    // What is gone is known before anything is announced.
    std::fs::remove_file(&files[2]).unwrap();
    let third = fetch();
    assert!(third.contains("Subject: 1") && third.contains("\r\nc NO "));
    assert!(third.contains("\r\nd OK"));
}
