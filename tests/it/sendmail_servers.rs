//! `ringmail sendmail` against servers that are not ours: written down line by line, some hostile, some that break off. And the command
//! itself stopped half way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use shards::tls::{ClientKey, OldestTls, load_tls};

use crate::sendmail::Home;
use crate::tls::certificate;

/// What a server does after each line: the line's beginning, and the answer.
type Steps = &'static [(&'static str, &'static str)];

/// Reads a message instead of a line.
const BODY: &str = "<body>";
/// Reads a line of a message instead of a command.
const ANY: &str = "<any>";
/// Reads the first octet of what is no line: a handshake.
const OCTET: &str = "<octet>";
/// Closes instead of answering.
const CLOSE: &str = "<close>";

struct Fake {
    port: u16,
    thread: JoinHandle<Vec<String>>,
}

impl Fake {
    /// Serves one connection. Its lines, and bodies as one, are the thread's result.
    fn start(steps: Steps) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || serve(BufReader::new(accept(&listener)), steps));
        Fake { port, thread }
    }

    fn heard(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

/// A client that says nothing fails the test instead of holding it up.
fn accept(listener: &TcpListener) -> TcpStream {
    let stream = listener.accept().unwrap().0;
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

fn serve<S: Read + Write>(mut talk: BufReader<S>, steps: Steps) -> Vec<String> {
    let mut heard = Vec::new();
    let say =
        |talk: &mut BufReader<S>, text: &str| talk.get_mut().write_all(text.as_bytes()).unwrap();
    say(&mut talk, "220 fake.example ESMTP\r\n");
    for (expected, answer) in steps {
        let mut text = String::new();
        loop {
            let start = text.len();
            let read = match *expected {
                OCTET => talk.read_exact(&mut [0]).map(|()| 1),
                _ => talk.read_line(&mut text),
            };
            if read.unwrap_or(0) == 0 {
                panic!("closed before {expected}: {heard:?}");
            }
            if *expected != BODY || &text[start..] == ".\r\n" {
                break;
            }
        }
        let is_command = ![BODY, ANY, OCTET].contains(expected);
        assert!(
            !is_command || text.starts_with(expected),
            "{text:?} instead of {expected}: {heard:?}"
        );
        heard.push(text);
        match *answer {
            CLOSE => return heard,
            answer => say(&mut talk, answer),
        }
    }
    // RSET and goodbye, as a rule.
    loop {
        let mut line = String::new();
        if talk.read_line(&mut line).unwrap_or(0) == 0 {
            return heard;
        }
        heard.push(line);
        let _ = talk.get_mut().write_all(b"250 2.0.0 fine\r\n");
    }
}

/// Settings without TLS, for a server on this machine.
fn plain(home: &Home, port: u16, more: &str) -> String {
    home.settings(
        "c",
        &format!("host = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nsender = \"me@here.example\"\nehlo_name = \"here.example\"\n{more}"),
    )
}

struct Case<'a> {
    steps: Steps,
    more: &'static str,
    arguments: &'a [&'a str],
    code: i32,
    /// Of standard error.
    says: &'a [&'a str],
    /// Recipients of what was kept; none: nothing was kept.
    kept: &'a [&'a str],
}

const CASE: Case<'static> = Case {
    steps: &[],
    more: "",
    arguments: &["a@there.example", "b@there.example"],
    code: 75,
    says: &[],
    kept: &["a@there.example", "b@there.example"],
};

const HELLO: (&str, &str) = (
    "EHLO here.example",
    "250-fake.example\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
);
const LOGIN: (&str, &str) = (
    "EHLO",
    "250-fake.example\r\n250 AUTH PLAIN LOGIN SCRAM-SHA-256 EXTERNAL\r\n",
);
const USER: &str = "user = \"me\"\npassword = \"secret\"\n";

fn check(case: &Case<'_>, input: &[u8]) -> Vec<String> {
    let home = Home::new();
    let fake = Fake::start(case.steps);
    let config = plain(&home, fake.port, case.more);
    let ran = home.send(&[&["-C", &config], case.arguments].concat(), input);
    assert_eq!(ran.code, case.code, "{:?}: {}", case.steps, ran.err);
    for text in case.says {
        assert!(ran.err.contains(text), "{text}: {}", ran.err);
    }
    let heard = fake.heard();
    if case.kept.is_empty() {
        assert_eq!(home.kept(), [] as [std::path::PathBuf; 0]);
        return heard;
    }
    let bytes = std::fs::read(&home.kept()[0]).unwrap();
    let kept = String::from_utf8_lossy(&bytes);
    let recipients: Vec<&str> = kept
        .lines()
        .filter_map(|l| l.strip_prefix("Recipient: "))
        .collect();
    assert_eq!(recipients, case.kept, "{kept}");
    heard
}

const MESSAGE: &[u8] = b"Subject: x\n\n.hello\n";

#[test]
fn a_message_goes_out_by_the_book() {
    let heard = check(
        &Case {
            steps: &[
                HELLO,
                ("MAIL FROM:<me@here.example>\r\n", "250 ok\r\n"),
                ("RCPT TO:<a@there.example>\r\n", "250 ok\r\n"),
                ("RCPT TO:<b@there.example>\r\n", "250 ok\r\n"),
                ("DATA", "354 go on\r\n"),
                (BODY, "250 ok\r\n"),
            ],
            code: 0,
            kept: &[],
            ..CASE
        },
        MESSAGE,
    );
    assert!(
        heard[5].ends_with("Subject: x\r\n\r\n..hello\r\n.\r\n"),
        "{heard:?}"
    );
    assert_eq!(heard[6], "QUIT\r\n");
}

#[test]
fn what_a_server_lacks_or_refuses_is_told_apart() {
    for case in [
        Case {
            steps: &[("EHLO", CLOSE)],
            says: &["the server closed the connection"],
            ..CASE
        },
        Case {
            steps: &[("EHLO", "550 go away\r\n")],
            code: 69,
            says: &["refuses EHLO: 550 go away"],
            ..CASE
        },
        Case {
            steps: &[("EHLO", "what\r\n")],
            code: 76,
            says: &["malformed reply"],
            ..CASE
        },
        Case {
            steps: &[HELLO, ("MAIL", "421 4.3.2 closing\r\n")],
            says: &["ends the connection: 421 4.3.2"],
            ..CASE
        },
        Case {
            steps: &[HELLO, ("MAIL", "451 4.3.0 later\r\n")],
            says: &["refuses mail from <me@here.example>: 451"],
            ..CASE
        },
        Case {
            steps: &[HELLO, ("MAIL", "530 5.7.0 log in\r\n")],
            code: 77,
            ..CASE
        },
        Case {
            steps: &[HELLO, ("MAIL", "552 5.3.4 too big\r\n")],
            code: 69,
            ..CASE
        },
        Case {
            steps: &[
                HELLO,
                ("MAIL", "250 ok\r\n"),
                ("RCPT", "450 4.2.1 busy\r\n"),
                ("RCPT", "550 5.1.1 no\r\n"),
            ],
            says: &[
                "a@there.example was refused: 450 4.2.1 busy",
                "b@there.example was refused: 550 5.1.1 no",
            ],
            ..CASE
        },
        Case {
            steps: &[
                HELLO,
                ("MAIL", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("DATA", "554 5.6.0 no\r\n"),
            ],
            code: 69,
            ..CASE
        },
        Case {
            steps: &[
                HELLO,
                ("MAIL", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("RCPT", "452 4.2.2 full\r\n"),
                ("DATA", "354 go\r\n"),
                (BODY, "250 ok\r\n"),
            ],
            kept: &["b@there.example"],
            ..CASE
        },
        Case {
            steps: &[
                HELLO,
                ("MAIL", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("DATA", "354 go\r\n"),
                (BODY, "554 5.7.1 \x1b[31mspam\r\n"),
            ],
            code: 69,
            says: &["refuses the message: 554 5.7.1  [31mspam"],
            ..CASE
        },
        // The server may have it: that is said.
        Case {
            steps: &[
                HELLO,
                ("MAIL", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("RCPT", "250 ok\r\n"),
                ("DATA", "354 go\r\n"),
                (BODY, CLOSE),
            ],
            says: &["it may have been delivered all the same"],
            ..CASE
        },
    ] {
        check(&case, MESSAGE);
    }
}

#[test]
fn a_connection_lost_within_the_message_leaves_no_doubt() {
    let home = Home::new();
    let fake = Fake::start(&[
        HELLO,
        ("MAIL", "250 ok\r\n"),
        ("RCPT", "250 ok\r\n"),
        ("DATA", "354 go\r\n"),
        (ANY, CLOSE),
    ]);
    let config = plain(&home, fake.port, "");
    // More than the buffers of two sockets hold.
    let large = [
        b"A: b\n\n".as_slice(),
        &b"some words that fill a line\n".repeat(1_000_000),
    ]
    .concat();
    let ran = home.send(&["-C", &config, "a@there.example"], &large);
    assert_eq!(ran.code, 75, "{}", ran.err);
    assert!(
        ran.err.contains("the server closed the connection"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("may have been delivered"), "{}", ran.err);
    fake.heard();
    assert!(std::fs::metadata(&home.kept()[0]).unwrap().len() > 28_000_000);
}

#[test]
fn too_many_recipients_at_once_are_sent_in_turn() {
    const OK: &str = "250 ok\r\n";
    check(
        &Case {
            steps: &[
                HELLO,
                ("MAIL", OK),
                ("RCPT TO:<a@", OK),
                ("RCPT TO:<b@", "452 4.5.3 too many\r\n"),
                ("DATA", "354 go\r\n"),
                (BODY, OK),
                ("MAIL", OK),
                ("RCPT TO:<b@", OK),
                ("DATA", "354 go\r\n"),
                (BODY, OK),
            ],
            code: 0,
            kept: &[],
            ..CASE
        },
        MESSAGE,
    );
    // RFC 9422: the server says how many. The second half is refused after the first was delivered.
    check(
        &Case {
            steps: &[
                ("EHLO", "250-fake.example\r\n250 LIMITS RCPTMAX=1\r\n"),
                ("MAIL", OK),
                ("RCPT TO:<a@", OK),
                ("DATA", "354 go\r\n"),
                (BODY, OK),
                ("MAIL", OK),
                ("RCPT TO:<b@", OK),
                ("DATA", "354 go\r\n"),
                (BODY, "451 4.3.0 later\r\n"),
            ],
            kept: &["b@there.example"],
            says: &["refuses the message: 451"],
            ..CASE
        },
        MESSAGE,
    );
    // Nobody at all is no "too many".
    check(
        &Case {
            steps: &[
                HELLO,
                ("MAIL", OK),
                ("RCPT", "452 4.5.3 too many\r\n"),
                ("RCPT", "452 4.5.3 too many\r\n"),
            ],
            ..CASE
        },
        MESSAGE,
    );
}

#[test]
fn octets_that_a_server_does_not_announce_are_not_sent_to_it() {
    const SEVEN: (&str, &str) = ("EHLO", "250 fake.example\r\n");
    const EIGHT: (&str, &str) = ("EHLO", "250-fake.example\r\n250 8BITMIME\r\n");
    for (steps, arguments, input, says) in [
        (
            &[SEVEN],
            &["a@there.example"][..],
            "A: b\n\nü\n",
            "8BITMIME",
        ),
        (&[EIGHT], &["a@there.example"], "A: ü\n\nx\n", "SMTPUTF8"),
        (&[EIGHT], &["ü@there.example"], "A: b\n\nx\n", "SMTPUTF8"),
        (
            &[EIGHT],
            &["-f", "ü@here.example", "a@there.example"],
            "A: b\n\nx\n",
            "SMTPUTF8",
        ),
    ] {
        let kept = if arguments[0].starts_with('ü') {
            &["ü@there.example"]
        } else {
            &["a@there.example"]
        };
        check(
            &Case {
                steps,
                arguments,
                code: 69,
                says: &[says],
                kept,
                ..CASE
            },
            input.as_bytes(),
        );
    }
    check(
        &Case {
            steps: &[
                HELLO,
                (
                    "MAIL FROM:<me@here.example> BODY=8BITMIME SMTPUTF8\r\n",
                    "250 ok\r\n",
                ),
                ("RCPT TO:<ü@there.example>", "250 ok\r\n"),
                ("DATA", "354 go\r\n"),
                (BODY, "250 ok\r\n"),
            ],
            arguments: &["ü@there.example"],
            code: 0,
            kept: &[],
            ..CASE
        },
        "A: b\n\nü\n".as_bytes(),
    );
}

#[test]
fn without_tls_no_password_is_shown_and_no_server_believed() {
    // PLAIN alone: never in the clear.
    check(
        &Case {
            steps: &[("EHLO", "250-fake.example\r\n250 AUTH PLAIN LOGIN\r\n")],
            more: USER,
            code: 77,
            says: &[
                "without TLS, PLAIN and LOGIN are not used",
                "it offers: PLAIN, LOGIN",
            ],
            ..CASE
        },
        MESSAGE,
    );
    // RFC 5802 3: a server that says yes without proof does not know the password.
    for (challenge, says) in [
        (
            "235 2.7.0 fine\r\n",
            "did not prove that it knows the password",
        ),
        ("334 bm9uc2Vuc2U=\r\n", "malformed challenge"),
        ("334 !\r\n", "challenge is not base64"),
    ] {
        let steps: Steps = match challenge {
            "334 bm9uc2Vuc2U=\r\n" => &[
                LOGIN,
                ("AUTH SCRAM-SHA-256 ", "334 bm9uc2Vuc2U=\r\n"),
                ("*\r\n", "501 5.7.0 cancelled\r\n"),
            ],
            "334 !\r\n" => &[LOGIN, ("AUTH SCRAM-SHA-256 ", "334 !\r\n")],
            _ => &[LOGIN, ("AUTH SCRAM-SHA-256 ", "235 2.7.0 fine\r\n")],
        };
        check(
            &Case {
                steps,
                more: USER,
                code: 76,
                says: &[says],
                ..CASE
            },
            MESSAGE,
        );
    }
    for (steps, code) in [
        (&[LOGIN, ("AUTH", "454 4.7.0 later\r\n")], 75),
        (&[LOGIN, ("AUTH", "535 5.7.8 no\r\n")], 77),
        (&[LOGIN, ("AUTH", "504 5.5.4 not that one\r\n")], 77),
    ] {
        check(
            &Case {
                steps,
                more: USER,
                code,
                ..CASE
            },
            MESSAGE,
        );
    }
}

#[test]
fn starttls_is_done_or_nothing_is_sent() {
    for (steps, code, says) in [
        (
            &[("EHLO", "250-fake.example\r\n250 8BITMIME\r\n")][..],
            75,
            "offers no STARTTLS",
        ),
        (
            &[
                ("EHLO", "250-fake.example\r\n250 STARTTLS\r\n"),
                ("STARTTLS", "454 4.7.0 not now\r\n"),
            ],
            75,
            "refuses STARTTLS",
        ),
        // RFC 3207 4.2: somebody on the way answers ahead.
        (
            &[
                ("EHLO", "250-fake.example\r\n250 STARTTLS\r\n"),
                (
                    "STARTTLS",
                    "220 go\r\n250-evil.example\r\n250 AUTH PLAIN\r\n",
                ),
            ],
            76,
            "in the clear",
        ),
        (
            &[
                ("EHLO", "250-fake.example\r\n250 STARTTLS\r\n"),
                ("STARTTLS", "220 go\r\n"),
                (OCTET, "no TLS here\r\n"),
            ],
            75,
            "TLS: ",
        ),
    ] {
        let home = Home::new();
        certificate(home.dir.path());
        let fake = Fake::start(steps);
        let config = home.settings(
            "c",
            &format!("host = \"127.0.0.1\"\nport = {}\ntls = \"starttls\"\nca_file = \"cert.pem\"\nuser = \"me@here.example\"\npassword = \"secret\"\n", fake.port),
        );
        let ran = home.send(&["-C", &config, "a@there.example"], MESSAGE);
        assert_eq!(ran.code, code, "{}", ran.err);
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
        assert_eq!(home.kept().len(), 1);
        drop(fake);
    }
}

#[test]
fn a_bare_key_is_shown_in_a_certificate_made_of_it() {
    let home = Home::new();
    certificate(home.dir.path());
    // RFC 8410 7: a private key as openssl genpkey writes it; the one of 10.3.
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    std::fs::write(home.at("client.key"), key).unwrap();
    let pair = (home.at("cert.pem"), home.at("key.pem"));
    let server = load_tls(&[pair], OldestTls::V1_2).unwrap().asking;
    let run = |user: &str, steps: Steps| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = server.clone();
        let thread = std::thread::spawn(move || {
            let connection = ServerConnection::new(server).unwrap();
            let mut stream = StreamOwned::new(connection, accept(&listener));
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock).unwrap();
            }
            let shown = stream.conn.peer_certificates().unwrap()[0].to_vec();
            (
                ClientKey::of(&shown).unwrap(),
                serve(BufReader::new(stream), steps),
            )
        });
        let der = std::fs::read(home.at("cert.pem")).unwrap();
        let der = rustls_pem(&der);
        let digest = ring::digest::digest(&ring::digest::SHA256, &der);
        let fingerprint: String = digest.as_ref().iter().map(|o| format!("{o:02x}")).collect();
        let config = home.settings(
            "c",
            &format!("host = \"127.0.0.1\"\nport = {port}\nfingerprint = \"{fingerprint}\"\nsender = \"me@here.example\"\nclient_key = \"client.key\"\n{user}"),
        );
        let ran = home.send(&["-C", &config, "a@there.example"], MESSAGE);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        thread.join().unwrap()
    };
    const OK: &str = "250 ok\r\n";
    // Known by the key alone: without AUTH, or by EXTERNAL, for the user that is named.
    let (key, _) = run(
        "",
        &[
            ("EHLO", "250 fake.example\r\n"),
            ("MAIL", OK),
            ("RCPT", OK),
            ("DATA", "354 go\r\n"),
            (BODY, OK),
        ],
    );
    assert_eq!(key.kind, "ed25519");
    let (again, _) = run(
        "",
        &[
            LOGIN,
            ("AUTH EXTERNAL =\r\n", "235 ok\r\n"),
            ("MAIL", OK),
            ("RCPT", OK),
            ("DATA", "354 go\r\n"),
            (BODY, OK),
        ],
    );
    assert_eq!(again.fingerprint, key.fingerprint);
    run(
        "user = \"me\"\n",
        &[
            LOGIN,
            ("AUTH EXTERNAL bWU=\r\n", "235 ok\r\n"),
            ("MAIL", OK),
            ("RCPT", OK),
            ("DATA", "354 go\r\n"),
            (BODY, OK),
        ],
    );
    // An unknown key leaves the password.
    run(
        "user = \"me\"\npassword = \"secret\"\nmechanisms = [\"EXTERNAL\", \"PLAIN\"]\n",
        &[
            LOGIN,
            ("AUTH EXTERNAL bWU=\r\n", "535 5.7.8 unknown\r\n"),
            ("AUTH PLAIN AG1lAHNlY3JldA==\r\n", "235 ok\r\n"),
            ("MAIL", OK),
            ("RCPT", OK),
            ("DATA", "354 go\r\n"),
            (BODY, OK),
        ],
    );
}

/// The certificate of a PEM file.
fn rustls_pem(pem: &[u8]) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem)
        .unwrap()
        .to_vec()
}

/// A server that takes a connection, says so, and never a word.
fn silent() -> (u16, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let _ = sender.send(listener.accept().unwrap().0);
    });
    (port, receiver)
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[test]
fn stopped_while_it_reads_it_sends_nothing() {
    let home = Home::new();
    let (port, accepted) = silent();
    let config = plain(&home, port, "");
    let mut child = home.spawn(&["-C", &config, "a@there.example"]);
    let mut stdin = child.stdin.take().unwrap();
    // More than a pipe holds: when it is written, the command reads.
    stdin
        .write_all(&[b"A: b\n\n".as_slice(), &[b'x'; 200_000]].concat())
        .unwrap();
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(75));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("before the message was whole; nothing was sent")
    );
    assert!(accepted.try_recv().is_err());
    assert!(home.kept().is_empty());
}

#[test]
fn stopped_while_it_sends_it_keeps_the_message() {
    let home = Home::new();
    let (port, accepted) = silent();
    let config = plain(&home, port, "");
    let mut child = home.spawn(&["-C", &config, "a@there.example"]);
    child.stdin.take().unwrap().write_all(MESSAGE).unwrap();
    let connection = accepted.recv().unwrap();
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    drop(connection);
    assert_eq!(output.status.code(), Some(75));
    let text = home.kept_text();
    assert!(
        text.contains("\nRecipient: a@there.example\nReason: stopped by a signal\n"),
        "{text}"
    );
}

#[test]
fn signals_that_the_caller_ignores_stop_nothing() {
    let home = Home::new();
    let fake = Fake::start(&[
        HELLO,
        ("MAIL", "250 ok\r\n"),
        ("RCPT", "250 ok\r\n"),
        ("DATA", "354 go\r\n"),
        (BODY, "250 ok\r\n"),
    ]);
    let config = plain(&home, fake.port, "");
    // The shell's process becomes the command, which keeps what the shell ignores.
    let script = "trap '' TERM; exec \"$0\" sendmail -C \"$1\" a@there.example";
    let mut child = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_ringmail"), &config])
        .env("HOME", home.dir.path())
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than a pipe holds: when it is written, the command reads.
    stdin
        .write_all(&[b"A: b\n\n".as_slice(), &[b'x'; 200_000]].concat())
        .unwrap();
    terminate(&child);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    let sent = format!("\r\nA: b\r\n\r\n{}\r\n.\r\n", "x".repeat(200_000));
    assert!(fake.heard()[4].ends_with(&sent));
}

#[test]
fn sent_again_in_part_the_rest_is_kept_once() {
    const OK: &str = "250 ok\r\n";
    let home = Home::new();
    let send = |fake: Fake, more: &[&str]| {
        let config = plain(&home, fake.port, "");
        let ran = home.send(&[&["-C", &config], more].concat(), MESSAGE);
        fake.heard();
        ran
    };
    let ran = send(
        Fake::start(&[("EHLO", CLOSE)]),
        &["-f", "x@here.example", "a@there.example", "b@there.example"],
    );
    assert_eq!(ran.code, 75, "{}", ran.err);
    let kept = home.kept().pop().unwrap();
    let fake = Fake::start(&[
        ("EHLO", "250-fake.example\r\n250 LIMITS RCPTMAX=1\r\n"),
        ("MAIL FROM:<x@here.example>", OK),
        ("RCPT TO:<a@", OK),
        ("DATA", "354 go\r\n"),
        (BODY, OK),
        ("MAIL", OK),
        ("RCPT TO:<b@", "451 4.3.0 later\r\n"),
    ]);
    let ran = send(fake, &["--again", kept.to_str().unwrap()]);
    assert_eq!(ran.code, 75, "{}", ran.err);
    assert!(!kept.exists(), "{}", ran.err);
    let text = home.kept_text();
    assert!(
        text.contains("Sender: x@here.example\nRecipient: b@there.example\nReason: b@"),
        "{text}"
    );
    let kept = home.kept().pop().unwrap();
    let fake = Fake::start(&[
        HELLO,
        ("MAIL FROM:<x@here.example>", OK),
        ("RCPT TO:<b@", OK),
        ("DATA", "354 go\r\n"),
        (BODY, OK),
    ]);
    let ran = send(fake, &["--again", kept.to_str().unwrap()]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(home.kept().is_empty());
}

#[test]
fn a_server_that_never_answers_is_left_after_a_time() {
    let home = Home::new();
    let (port, accepted) = silent();
    let config = plain(&home, port, "timeout_secs = \"1s\"\n");
    let ran = home.send(&["-C", &config, "a@there.example"], MESSAGE);
    assert_eq!(ran.code, 75, "{}", ran.err);
    assert!(ran.err.contains("no answer in time"), "{}", ran.err);
    assert_eq!(home.kept().len(), 1);
    drop(accepted);
}
