//! DKIM: what our users send to others is signed as it goes out; keys are made, checked and reloaded.
//! tests/interop/dkim_signatures.py has other people's verifiers.

use std::io::{BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::dkim::{Check, KeyAnswer, KeyRecord, Rules, SigningKey, Status, Verifier, generate};
use ringmail::settings::{DkimSelector, Door, SelectorName};

use crate::crash::{command, reply};
use crate::filled::imap;
use crate::folder::Folder;
use crate::patience::until;
use crate::program::{Localserve, Ran};
use crate::server::TestServer;
use crate::smtp::talk;

const RSA: &str = include_str!("../../protocols/dkim/tests/keys/rsa2048.pem");

pub fn put_key(path: &Path, pem: &str) -> KeyRecord {
    std::fs::write(path, pem).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    KeyRecord::of_key(&SigningKey::from_pem(pem).unwrap())
}

pub fn ed25519(seed: u8) -> String {
    generate::ed25519_key(&mut |octets| octets.fill(seed)).to_string()
}

/// Selector and result of each signature; for these records by query.
pub fn verified(message: &[u8], records: &[(&str, &KeyRecord)]) -> Vec<(String, Status)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut verifier = Verifier::new(Rules {
        received_at_secs: now.as_secs(),
        is_public_suffix: Box::new(|_| false),
        service: "email",
    });
    verifier.update(message);
    let evaluated = verifier.finish().into_iter().map(|check| match check {
        Check::Settled(evaluation) => evaluation,
        Check::Open(question) => {
            let record = records.iter().find(|(name, _)| *name == question.query());
            let (_, record) = record.unwrap_or_else(|| panic!("{}", question.query()));
            question.evaluate(&KeyAnswer::Records(vec![record.to_string().into_bytes()]))
        }
    });
    let result = |e: ::dkim::Evaluation| (e.signature.unwrap().selector.ascii().into(), e.status);
    evaluated.map(result).collect()
}

/// The message after the fields of its delivery.
fn as_sent(stored: &str) -> &str {
    let start = stored
        .find("DKIM-Signature: ")
        .unwrap_or_else(|| panic!("{stored}"));
    &stored[start..]
}

/// The next message in the INBOX of localserve's account, which is taken out.
fn received(server: &Localserve) -> String {
    let look = |commands: &[&str]| imap(server, "ringmail", "ringmailringmail", commands);
    let mut found = String::new();
    until(|| {
        let said = look(&["EXAMINE INBOX", "FETCH 1:* BODY.PEEK[]"]);
        let Some((_, rest)) = said[1].split_once("BODY[] {") else {
            return false;
        };
        let (length, rest) = rest.split_once("}\r\n").unwrap();
        found = rest[..length.parse().unwrap()].to_string();
        true
    });
    // One that comes between looking and removing would be lost unseen.
    look(&["SELECT INBOX", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE"]);
    found
}

/// Logs in as `ringmail` and names sender and recipient.
fn submission(server: &Localserve, mail_parameters: &str) -> BufReader<std::net::TcpStream> {
    let mut talk = BufReader::new(server.connect(587));
    reply(&mut talk).unwrap();
    for line in [
        "EHLO client.example\r\n",
        "AUTH PLAIN AHJpbmdtYWlsQGxvY2FsaG9zdAByaW5nbWFpbHJpbmdtYWls\r\n",
        &format!("MAIL FROM:<ringmail@localhost>{mail_parameters}\r\n"),
        "RCPT TO:<friend@example.org>\r\n",
    ] {
        let said = command(&mut talk, line).unwrap();
        assert!(said.starts_with('2'), "{line}{said}");
    }
    talk
}

fn submit(server: &Localserve, parameters: &str, message: &str) -> String {
    let mut talk = submission(server, parameters);
    command(&mut talk, "DATA\r\n").unwrap();
    talk.get_mut().write_all(message.as_bytes()).unwrap();
    command(&mut talk, ".\r\n").unwrap()
}

#[test]
fn localserve_signs_what_goes_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let pem = std::fs::read_to_string(dir.path().join("localhost.dkim.key")).unwrap();
    let record = KeyRecord::of_key(&SigningKey::from_pem(&pem).unwrap());
    let records = [("localserve._domainkey.localhost", &record)];
    let passes = |message: &str| {
        verified(message.as_bytes(), &records) == [("localserve".to_string(), Status::Pass)]
    };
    let header = "From: Ringmail <ringmail+detail@localhost>\r\nSubject: hello\r\n";
    // Lines that end in LF alone are sent as any others, beyond ASCII too; a large body goes to a file on its way.
    let large = "words that fill a line, and more of them until it is long\r\n".repeat(60_000);
    let utf8 = " BODY=8BITMIME SMTPUTF8";
    for (parameters, body) in [
        ("", "Hi  there \r\n\r\n\r\n"),
        ("", "bare\nLF\nbut the last\r\n"),
        (utf8, "Gr\u{fc}\u{df}e\r\n..dots\r\n"),
        ("", large.as_str()),
    ] {
        let said = submit(&server, parameters, &format!("{header}\r\n{body}"));
        assert!(said.starts_with("250"), "{said}");
        let stored = received(&server);
        let message = as_sent(&stored);
        let (signature, rest) = message.split_once("\r\nReceived: ").unwrap();
        assert!(!signature.contains("eceived"), "{signature}");
        // Fields that were added are signed with those that came.
        for word in [
            "d=localhost;",
            "i=ringmail@localhost;",
            "Date:Date:Message-ID:Message-ID:",
        ] {
            let unfolded = signature.replace("\r\n\t", "");
            assert!(unfolded.contains(word), "{word} {unfolded}");
        }
        assert!(
            rest.contains("\r\nMessage-ID: ") && rest.contains("\r\nDate: "),
            "{rest}"
        );
        assert!(passes(message), "{}", &message[..message.len().min(3000)]);
        assert!(!passes(&message.replacen("\r\n\r\n", "\r\n\r\nmore", 1)));
        assert!(!passes(&format!("Subject: other\r\n{message}")));
    }
    let mut talk = submission(&server, " BODY=BINARYMIME");
    let binary = format!("{header}\r\nlines\nthat \rend as\n\r they like");
    talk.get_mut()
        .write_all(format!("BDAT {} LAST\r\n{binary}", binary.len()).as_bytes())
        .unwrap();
    let said = reply(&mut talk).unwrap();
    assert!(said.starts_with("250"), "{said}");
    assert!(passes(as_sent(&received(&server))));
    let metrics = server.get("/metrics").2;
    let counted = "ringmail_dkim_signatures_total{algorithm=\"ed25519-sha256\"} 5\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn what_cannot_be_signed_is_put_off() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::with_faults(dir.path(), &[], "inbound.sign=fail");
    let message = "From: ringmail@localhost\r\nSubject: hello\r\n\r\nhello\r\n";
    let large = message.to_string() + &"words that fill a line\r\n".repeat(100_000);
    for message in [message, &large] {
        let said = submit(&server, "", message);
        assert!(
            said.starts_with("451 4.3.0 the message could not be signed"),
            "{said}"
        );
    }
    let queued = crate::program::ringmail(&["queue", "list", "--dir", server.dir()]);
    assert_eq!(queued.out, "The queue is empty.\n");
    assert!(
        server
            .get("/metrics")
            .2
            .contains("ringmail_dkim_failures_total 2\n")
    );
    let spool = dir.path().join("data/spool");
    until(|| std::fs::read_dir(&spool).unwrap().count() == 0);
}

/// Submits to one elsewhere and to dora, and reads what dora got; `mid` runs in the middle of the message.
fn stored_beside(
    server: &TestServer,
    author: &str,
    body: &str,
    mid: impl FnOnce(),
) -> Result<String, String> {
    let mut stream = server.connect(Door::Submission);
    talk(&mut stream, b"", "220 ");
    talk(&mut stream, b"EHLO client.example\r\n", "250 ");
    let login = b"AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n";
    talk(&mut stream, login, "235 ");
    for line in [
        "MAIL FROM:<anna@example.test>\r\n",
        "RCPT TO:<a@elsewhere.example>\r\n",
        "RCPT TO:<dora@example.test>\r\n",
    ] {
        talk(&mut stream, line.as_bytes(), "250 ");
    }
    talk(&mut stream, b"DATA\r\n", "354 ");
    let message = format!("From: {author}\r\nSubject: both\r\n\r\n{body}");
    let half = message.len() / 2;
    stream.write_all(&message.as_bytes()[..half]).unwrap();
    mid();
    stream.write_all(&message.as_bytes()[half..]).unwrap();
    let said = talk(&mut stream, b".\r\n", "\r\n");
    if !said.starts_with("250") {
        return Err(said);
    }
    until(|| crate::smtp::numbers(server, "dora").0 == 1);
    let mut stream = server.connect(Door::Imap);
    talk(&mut stream, b"", "* OK");
    talk(
        &mut stream,
        b"a LOGIN dora@example.test dora-password\r\n",
        "a OK",
    );
    talk(&mut stream, b"b SELECT INBOX\r\n", "b OK");
    let said = talk(&mut stream, b"c FETCH 1 BODY.PEEK[]\r\n", "c OK");
    talk(&mut stream, b"d STORE 1 +FLAGS (\\Deleted)\r\n", "d OK");
    talk(&mut stream, b"e EXPUNGE\r\n", "e OK");
    let (_, rest) = said.split_once("BODY[] {").unwrap();
    let (length, rest) = rest.split_once("}\r\n").unwrap();
    Ok(rest[..length.parse().unwrap()].to_string())
}

/// What the server does with these selectors of example.test from now on.
pub fn sign_with(server: &TestServer, selectors: &[(&str, &Path)]) {
    let mut settings = server.server().live().settings.clone();
    let domain = settings.domains.domain.get_mut("example.test").unwrap();
    domain.dkim = selectors
        .iter()
        .map(|(name, key)| {
            let table = DkimSelector {
                key: key.to_path_buf(),
                ..DkimSelector::default()
            };
            (SelectorName::try_from(name.to_string()).unwrap(), table)
        })
        .collect();
    server.server().reload(settings).unwrap();
}

#[test]
fn several_selectors_sign_and_who_has_none_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::on(dir.path(), "");
    let unsigned = stored_beside(&server, "anna@example.test", "hi\r\n", || ()).unwrap();
    assert!(!unsigned.contains("DKIM-Signature"), "{unsigned}");
    let (rsa, small) = (dir.path().join("rsa.pem"), dir.path().join("small.pem"));
    let (rsa_record, small_record) = (put_key(&rsa, RSA), put_key(&small, &ed25519(7)));
    sign_with(&server, &[("a", &rsa), ("b", &small)]);
    let records = [
        ("a._domainkey.example.test", &rsa_record),
        ("b._domainkey.example.test", &small_record),
    ];
    let both = [
        ("a".to_string(), Status::Pass),
        ("b".to_string(), Status::Pass),
    ];
    let large = "words that fill a line\r\n".repeat(40_000);
    for body in ["hi\r\n", &large] {
        let stored = stored_beside(&server, "Anna <anna+x@Example.TEST>", body, || ()).unwrap();
        let above = stored.split("DKIM-Signature: ").next().unwrap();
        assert_eq!(
            above,
            "Delivered-To: dora@example.test\r\nReturn-Path: <anna@example.test>\r\n"
        );
        assert_eq!(verified(as_sent(&stored).as_bytes(), &records), both);
    }
    // Mail that stays here needs none.
    let reply = {
        let mut stream = server.connect(Door::Submission);
        talk(&mut stream, b"", "220 ");
        talk(&mut stream, b"EHLO client.example\r\n", "250 ");
        talk(
            &mut stream,
            b"AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n",
            "235 ",
        );
        talk(&mut stream, b"MAIL FROM:<anna@example.test>\r\n", "250 ");
        talk(&mut stream, b"RCPT TO:<dora@example.test>\r\n", "250 ");
        talk(&mut stream, b"DATA\r\n", "354 ");
        talk(
            &mut stream,
            b"From: anna@example.test\r\n\r\nhi\r\n.\r\n",
            "\r\n",
        )
    };
    assert!(reply.starts_with("250"), "{reply}");
    let mut metrics = String::new();
    let mut http = server.connect(Door::Http);
    http.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    http.read_to_string(&mut metrics).unwrap();
    for algorithm in ["rsa-sha256", "ed25519-sha256"] {
        let counted = format!("ringmail_dkim_signatures_total{{algorithm=\"{algorithm}\"}} 2\n");
        assert!(metrics.contains(&counted), "{metrics}");
    }
}

#[test]
fn a_selector_that_comes_amid_a_large_message_puts_it_off() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::on(dir.path(), "");
    let key = dir.path().join("key.pem");
    put_key(&key, &ed25519(7));
    let body = "words that fill a line\r\n".repeat(80_000);
    let spool = dir.path().join("data/spool");
    let said = stored_beside(&server, "anna@example.test", &body, || {
        until(|| std::fs::read_dir(&spool).unwrap().count() == 1);
        sign_with(&server, &[("a", &key)]);
    });
    let said = said.unwrap_err();
    assert!(
        said.starts_with("451 4.3.0 the message could not be signed"),
        "{said}"
    );
    let again = stored_beside(&server, "anna@example.test", &body, || ()).unwrap();
    as_sent(&again);
}

const DOMAINS: &str = "
[postmaster]
account = \"anna\"
[domain.\"example.test\"]
";

/// Says these strings to each question for TXT.
struct Zone {
    port: u16,
    text: Arc<Mutex<Option<String>>>,
}

impl Zone {
    fn new() -> Zone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let text = Arc::new(Mutex::new(None::<String>));
        let said = text.clone();
        std::thread::spawn(move || {
            let mut query = [0; 600];
            while let Ok((length, peer)) = socket.recv_from(&mut query) {
                let text = said.lock().unwrap().clone();
                let (rcode, count) = if text.is_some() { (0, 1) } else { (3, 0) };
                let end = 12 + query[12..length].iter().position(|o| *o == 0).unwrap() + 5;
                let mut message = query[..2].to_vec();
                message.extend([0x81, 0xa0 | rcode, 0, 1, 0, count, 0, 0, 0, 0]);
                message.extend(&query[12..end]);
                if let Some(text) = text {
                    let strings = text.as_bytes().chunks(255);
                    let data: Vec<u8> = strings
                        .flat_map(|s| [&[s.len() as u8], s].concat())
                        .collect();
                    message.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
                    message.extend((data.len() as u16).to_be_bytes());
                    message.extend(data);
                }
                socket.send_to(&message, peer).unwrap();
            }
        });
        Zone { port, text }
    }

    fn say(&self, text: &str) {
        *self.text.lock().unwrap() = Some(text.to_string());
    }
}

/// The strings of a zone file's record, joined.
fn joined(zone_text: &str) -> String {
    zone_text.split('"').skip(1).step_by(2).collect()
}

#[test]
fn a_key_is_made_published_and_put_in_force() {
    let zone = Zone::new();
    let dns = format!(
        "[dns]\nservers = [\"127.0.0.1:{}\"]\nnegative_ttl_max_secs = 0\nttl_max_secs = 0\n",
        zone.port
    );
    let folder = Folder::new(DOMAINS, &dns);
    std::fs::create_dir(folder.at("accounts")).unwrap();
    std::fs::write(
        folder.at("accounts/anna.toml"),
        "addresses = [\"anna@example.test\"]\n",
    )
    .unwrap();
    let done = |ran: Ran| {
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        ran.out
    };
    let refused = folder.run(&["dkim", "record", "example.test"]);
    assert!(
        refused.err.contains("example.test has no DKIM selector"),
        "{}",
        refused.err
    );
    let mut domains = DOMAINS.to_string();
    for (words, described) in [
        (&["2026a"][..], "RSA, 2048 bits"),
        (&["2026b", "--ed25519"], "Ed25519"),
    ] {
        let words = [&["dkim", "gen", "Example.TEST"], words].concat();
        let told = done(folder.run(&words));
        assert!(
            told.starts_with(&format!("The key ({described}) is ")),
            "{told}"
        );
        let path = folder.at(&format!("dkim/{}._domainkey.example.test.pem", words[3]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let before = std::fs::read(&path).unwrap();
        let again = folder.run(&words);
        assert_eq!(again.code, 1);
        assert!(
            again.err.contains("is there already and is left as it is"),
            "{}",
            again.err
        );
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let lines: Vec<&str> = told.lines().collect();
        let table = lines
            .iter()
            .position(|line| line.starts_with("[domain."))
            .unwrap();
        domains += &format!("{}\n{}\n", lines[table], lines[table + 1]);
    }
    for wrong in [
        &["--rsa", "--ed25519"][..],
        &["--ed25519", "--bits", "2048"],
        &["--bits", "1024"],
    ] {
        let words = [&["dkim", "gen", "example.test", "x"], wrong].concat();
        assert_ne!(folder.run(&words).code, 0, "{wrong:?}");
    }
    std::fs::write(folder.at("domains.toml"), &domains).unwrap();
    done(folder.run(&["config", "check"]));
    let again = folder.run(&["dkim", "gen", "example.test", "2026a"]);
    assert!(
        again.err.contains("a new key needs a new selector"),
        "{}",
        again.err
    );

    let record = done(folder.run(&["dkim", "record", "example.test", "2026a"]));
    assert!(
        record.starts_with(
            "2026a._domainkey.example.test. IN TXT (\n\t\"v=DKIM1; h=sha256; k=rsa; p=MII"
        ),
        "{record}"
    );
    let other = joined(&done(folder.run(&[
        "dkim",
        "record",
        "sub.example.test",
        "2026b",
    ])));
    let check = |selector: &str| folder.run(&["dkim", "check", "example.test", selector]);
    let missing = check("2026a");
    assert_eq!(missing.code, 1);
    let told = "2026a._domainkey.example.test (RSA, 2048 bits, signs): there is no such name\n  it should be: \"v=DKIM1; ";
    assert!(missing.out.starts_with(told), "{}", missing.out);
    zone.say(&joined(&record));
    assert!(done(check("2026a")).contains(": the record fits the key (DNSSEC proves it; holds "));
    let differs = check("2026b");
    assert_eq!(differs.code, 1);
    assert!(
        differs
            .out
            .contains("(Ed25519, signs): inappropriate key algorithm\n  in DNS: \"v=DKIM1; "),
        "{}",
        differs.out
    );
    zone.say(&other);
    let all = folder.run(&["dkim", "check", "--json", "example.test"]);
    let fits: Vec<bool> = all
        .out
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["fits"].as_bool().unwrap()
        })
        .collect();
    assert_eq!((all.code, fits), (1, vec![false, true]), "{}", all.err);

    // In force; a key that is bad at a reload keeps the one before, and keeps a server from starting.
    let key = folder.at("dkim/2026b._domainkey.example.test.pem");
    {
        let _serving = folder.serve();
        done(folder.run(&["reload"]));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let kept = folder.run(&["reload"]);
        assert_eq!(kept.code, 1);
        let said = "others than its owner may read or write it; the key in use is kept";
        assert!(
            kept.out
                .contains("Failed: DKIM selector 2026b of example.test: ")
                && kept.out.contains(said),
            "{}",
            kept.out
        );
        std::fs::write(
            folder.at("domains.toml"),
            domains.replace("2026b]", "2026c]"),
        )
        .unwrap();
        let refused = folder.run(&["reload"]);
        assert_eq!(refused.code, 1);
        assert!(
            refused
                .err
                .contains("DKIM selector 2026c of example.test: "),
            "{}",
            refused.err
        );
        std::fs::write(folder.at("domains.toml"), &domains).unwrap();
        done(folder.run(&["stop"]));
    }
    let refused = folder.run(&["config", "check"]);
    let line = domains
        .lines()
        .position(|line| line.contains("2026b._domainkey"))
        .unwrap()
        + 1;
    assert!(
        refused.err.contains(&format!("domains.toml:{line}:1: ")),
        "{}",
        refused.err
    );
    assert_eq!(folder.run(&["serve"]).code, 1);
    // Commands on a stopped directory need no key.
    done(folder.run(&["account", "list", "--numbers"]));
}

#[test]
fn a_key_that_root_makes_is_the_servers() {
    let folder = Folder::new(DOMAINS, "");
    std::fs::create_dir(folder.at("accounts")).unwrap();
    let anna = "addresses = [\"anna@example.test\"]\n";
    std::fs::write(folder.at("accounts/anna.toml"), anna).unwrap();
    std::fs::create_dir(folder.at("data")).unwrap();
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        chown(folder.at("data"), Some(4321), Some(4321)).unwrap();
    }
    let server = std::fs::metadata(folder.at("data")).unwrap().uid();
    let made = folder.run(&["dkim", "gen", "example.test", "2026a", "--ed25519"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let key = "dkim/2026a._domainkey.example.test.pem";
    for made in ["dkim", key] {
        let metadata = std::fs::metadata(folder.at(made)).unwrap();
        assert_eq!(metadata.uid(), server, "{made}");
    }
}

#[test]
fn signatures_of_a_message_in_a_file_are_checked() {
    let zone = Zone::new();
    let folder = Folder::new(
        DOMAINS,
        &format!("[dns]\nservers = [\"127.0.0.1:{}\"]\n", zone.port),
    );
    std::fs::create_dir(folder.at("accounts")).unwrap();
    std::fs::write(
        folder.at("accounts/anna.toml"),
        "addresses = [\"anna@example.test\"]\n",
    )
    .unwrap();
    let key = Arc::new(SigningKey::from_pem(&ed25519(9)).unwrap());
    let name = |text| ::dkim::Name::parse(text).unwrap();
    let selectors = [::dkim::Selector::new(
        name("example.org"),
        name("s"),
        key.clone(),
    )];
    let message = "From: a@example.org\r\nSubject: x\r\n\r\nhello\r\n";
    let mut hasher = ::dkim::MessageHasher::new(&selectors);
    hasher.update(message.as_bytes());
    let (header, body) = hasher.finish().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(60);
    let occasion = ::dkim::Occasion {
        now_secs: now.as_secs(),
        ..Default::default()
    };
    let unsigned = ::dkim::prepare(&selectors, &header, &body, &occasion).unwrap();
    let field = unsigned.into_iter().next().unwrap().sign().unwrap();
    zone.say(&KeyRecord::of_key(&key).to_string());
    let verify = |text: &str| {
        std::fs::write(folder.at("message"), text).unwrap();
        let path = folder.at("message");
        let ran = folder.run(&["dkim", "verify", path.to_str().unwrap()]);
        (ran.code, ran.out)
    };
    // As a mail program saves it.
    let saved = (field.clone() + message).replace("\r\n", "\n");
    assert_eq!(
        verify(&saved),
        (
            0,
            "pass d=example.org s=s a=ed25519-sha256 (256 bits)\n".into()
        )
    );
    let (code, told) = verify(&saved.replace("hello", "hallo"));
    assert_eq!(code, 1);
    assert!(told.ends_with(": body hash did not verify\n"), "{told}");
    let (code, told) = verify(message);
    assert!(code == 1 && told.ends_with(": no signature\n"), "{told}");
}
