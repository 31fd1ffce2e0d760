//! `ringmail sendmail` against our server: what programs send arrives as they wrote it, and what cannot be sent is said and kept.
//! Servers that are not ours, or break off, are in `sendmail_servers`.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ringmail::settings::Door;

use crate::imap_more::Client;
use crate::program::{Localserve, Ran};
use crate::server::TestServer;
use crate::smtp::numbers;
use crate::tls::certificate;

/// A home directory with settings in it.
pub struct Home {
    pub dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Home {
        Home {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Settings under a name; the path as an argument.
    pub fn settings(&self, name: &str, content: &str) -> String {
        std::fs::write(self.at(name), content).unwrap();
        self.at(name).display().to_string()
    }

    /// The program, called by its own name.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let own = OsStr::new(env!("CARGO_BIN_EXE_ringmail"));
        self.spawn_as(own, &[&["sendmail"], arguments].concat())
    }

    fn spawn_as(&self, program: &OsStr, arguments: &[&str]) -> Child {
        Command::new(program)
            .args(arguments)
            .env("HOME", self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs to the end.
    pub fn send(&self, arguments: &[&str], input: &[u8]) -> Ran {
        finish(self.spawn(arguments), input)
    }

    /// What was kept in the usual place.
    pub fn kept(&self) -> Vec<PathBuf> {
        files(&self.at("ringmail-unsent"))
    }

    /// The only message that was kept there.
    pub fn kept_text(&self) -> String {
        let kept = self.kept();
        assert_eq!(kept.len(), 1, "{kept:?}");
        String::from_utf8(std::fs::read(&kept[0]).unwrap()).unwrap()
    }
}

pub fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn finish(mut child: Child, input: &[u8]) -> Ran {
    // A command that fails early may not read it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

/// Our server with TLS, and settings for it that trust its certificate by fingerprint.
struct Submission {
    server: TestServer,
    home: Home,
    fingerprint: String,
}

impl Submission {
    fn start() -> Submission {
        let home = Home::new();
        let der = certificate(home.dir.path());
        let digest = ring::digest::digest(&ring::digest::SHA256, &der);
        let fingerprint = digest.as_ref().iter().map(|o| format!("{o:02x}")).collect();
        Submission {
            server: TestServer::with_tls(home.dir.path()),
            home,
            fingerprint,
        }
    }

    /// Settings for a door, of anna with that password.
    fn settings(&self, name: &str, door: Door, password: &str, more: &str) -> String {
        let tls = match door {
            Door::Submissions => "implicit",
            _ => "starttls",
        };
        let (port, fingerprint) = (self.server.address(door).port(), &self.fingerprint);
        self.home.settings(
            name,
            &format!(
                "host = \"127.0.0.1\"\nport = {port}\ntls = \"{tls}\"\nfingerprint = \"{fingerprint}\"\nuser = \"anna@example.test\"\npassword = \"{password}\"\n{more}"
            ),
        )
    }

    fn right(&self, more: &str) -> String {
        self.settings("sendmail.toml", Door::Submissions, "anna-password", more)
    }

    /// All messages of an account.
    fn messages(&self, name: &str) -> Vec<Vec<u8>> {
        // Mail for other cores is delivered after the 250.
        let mut client = Client::login(self.server.address(Door::Imap), name);
        client.say(b"b SELECT INBOX\r\n", "b");
        client.say(b"c FETCH 1:* BODY.PEEK[]\r\n", "c").0
    }

    fn only_message(&self, name: &str) -> String {
        crate::patience::until(|| numbers(&self.server, name).0 > 0);
        let mut messages = self.messages(name);
        assert_eq!(messages.len(), 1);
        String::from_utf8(messages.remove(0)).unwrap()
    }
}

#[test]
fn each_mechanism_over_each_kind_of_tls() {
    let submission = Submission::start();
    let mut expected = 0;
    for door in [Door::Submission, Door::Submissions] {
        for mechanism in [
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1-PLUS",
            "SCRAM-SHA-1",
            "CRAM-MD5",
            "PLAIN",
            "LOGIN",
            "",
        ] {
            let more = match mechanism {
                "" => String::new(),
                name => format!("mechanisms = [\"{name}\"]"),
            };
            let config = submission.settings("c", door, "anna-password", &more);
            let ran = submission.home.send(
                &["--config", &config, "bert@example.test"],
                b"Subject: x\n\nhello\n",
            );
            assert_eq!(
                (ran.code, ran.out.as_str(), ran.err.as_str()),
                (0, "", ""),
                "{door:?} {mechanism}"
            );
            expected += 1;
        }
    }
    assert_eq!(numbers(&submission.server, "bert").0, expected);
    for message in submission.messages("bert") {
        let text = String::from_utf8(message).unwrap();
        let text = text.replace("\r\n\t", " ");
        assert!(text.contains("with ESMTPSA id"), "{text}");
        assert!(
            text.contains("\r\nFrom: anna@example.test\r\nDate: "),
            "{text}"
        );
    }
    assert_eq!(submission.home.kept(), [] as [PathBuf; 0]);
}

#[test]
fn a_wrong_password_is_said_and_the_message_kept_until_it_is_sent_again() {
    let submission = Submission::start();
    let home = &submission.home;
    for mechanisms in [
        "",
        "mechanisms = [\"PLAIN\"]",
        "mechanisms = [\"CRAM-MD5\"]",
    ] {
        let wrong = submission.settings("w", Door::Submissions, "wrong-password", mechanisms);
        let ran = home.send(
            &["--config", &wrong, "-t"],
            b"To: bert@example.test\nBcc: dora@example.test\n\nhello\n",
        );
        assert_eq!(ran.code, 77, "{}", ran.err);
        assert!(ran.err.contains("check user and password"), "{}", ran.err);
        let kept = home.kept().pop().unwrap();
        assert!(
            ran.err
                .contains(&format!("--config {wrong} --again {}", kept.display())),
            "{}",
            ran.err
        );
        assert!(!ran.err.contains("wrong-password"), "{}", ran.err);
        // Still refused: it stays where it is, once.
        let ran = home.send(
            &["--config", &wrong, "--again", kept.to_str().unwrap()],
            b"",
        );
        assert_eq!(ran.code, 77);
        assert!(ran.err.contains("still in"), "{}", ran.err);
        assert_eq!(home.kept(), std::slice::from_ref(&kept));
        let right = submission.right("");
        let ran = home.send(
            &["--config", &right, "--again", kept.to_str().unwrap()],
            b"",
        );
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert_eq!(home.kept(), [] as [PathBuf; 0]);
    }
    crate::patience::until(|| numbers(&submission.server, "dora").0 == 3);
    for message in submission.messages("dora") {
        let text = String::from_utf8(message).unwrap();
        assert!(
            text.contains("\r\nTo: bert@example.test\r\n") && !text.contains("Bcc"),
            "{text}"
        );
    }
}

#[test]
fn a_password_is_read_from_a_file() {
    let submission = Submission::start();
    let content = std::fs::read_to_string(submission.right("")).unwrap();
    let content = content.replace("password = \"anna-password\"", "password_file = \"secret\"");
    let config = submission.home.settings("c", &content);
    for (secret, code) in [
        ("anna-password\r\nmore\n", 0),
        ("anna-password", 0),
        ("\nanna-password", 78),
    ] {
        std::fs::write(submission.home.at("secret"), secret).unwrap();
        let ran = submission
            .home
            .send(&["-C", &config, "bert@example.test"], b"A: b\n\nx");
        assert_eq!(ran.code, code, "{secret:?}: {}", ran.err);
        let check = submission.home.send(&["--check", "-C", &config], b"");
        assert_eq!(check.code, code, "{secret:?}: {}", check.err);
    }
    std::fs::remove_file(submission.home.at("secret")).unwrap();
    let ran = submission
        .home
        .send(&["-C", &config, "bert@example.test"], b"A: b\n\nx");
    assert_eq!(ran.code, 78);
    assert_eq!(numbers(&submission.server, "bert").0, 2);
    assert_eq!(submission.home.kept().len(), 2);
}

#[test]
fn a_server_that_cannot_be_verified_gets_nothing() {
    let submission = Submission::start();
    let right = std::fs::read_to_string(submission.right("")).unwrap();
    let trust = format!("fingerprint = \"{}\"", submission.fingerprint);
    let other = Home::new();
    certificate(other.dir.path());
    let other = format!("ca_file = \"{}\"", other.at("cert.pem").display());
    for (instead, expected) in [
        (other.as_str(), "not trusted"),
        // Of the right authority, but for another name.
        ("ca_file = \"cert.pem\"", "not trusted"),
        (
            &format!("fingerprint = \"{}\"", "ab".repeat(32)),
            "not trusted",
        ),
    ] {
        let config = submission
            .home
            .settings("c", &right.replace(&trust, instead));
        let ran = submission
            .home
            .send(&["-C", &config, "bert@example.test"], b"A: b\n\nx");
        assert_eq!(ran.code, 75, "{}", ran.err);
        assert!(ran.err.contains(expected), "{}", ran.err);
        // What an administrator may compare.
        let colons = submission
            .fingerprint
            .to_uppercase()
            .as_bytes()
            .chunks(2)
            .map(|p| String::from_utf8_lossy(p).into_owned())
            .collect::<Vec<_>>()
            .join(":");
        assert!(ran.err.contains(&colons), "{}", ran.err);
    }
    for (instead, expected) in [
        ("ca_file = \"missing.pem\"", "missing.pem"),
        ("ca_file = \"key.pem\"", "no certificate in it"),
        (
            "ca_file = \"cert.pem\"\nclient_key = \"cert.pem\"",
            "cert.pem",
        ),
    ] {
        let config = submission
            .home
            .settings("c", &right.replace(&trust, instead));
        let ran = submission
            .home
            .send(&["-C", &config, "bert@example.test"], b"A: b\n\nx");
        assert_eq!(ran.code, 78, "{}", ran.err);
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
    assert_eq!(numbers(&submission.server, "bert").0, 0);
    assert_eq!(submission.home.kept().len(), 6);
}

#[test]
fn recipients_that_are_refused_are_named_and_the_others_get_it() {
    let submission = Submission::start();
    let config = submission.right("");
    let ran = submission.home.send(
        &[
            "-C",
            &config,
            "nobody@example.test",
            "bert@example.test",
            "root",
            "a@b@c",
            "dora@example.test, Bert <bert@Example.Test>",
        ],
        b"A: b\n\nx",
    );
    assert_eq!(ran.code, 67, "{}", ran.err);
    for line in [
        "sendmail: nobody@example.test was refused: 550 5.1.1",
        "sendmail: root was refused: it has no domain",
        "a@b@c was refused: it is not an address",
    ] {
        assert!(ran.err.contains(line), "{line}: {}", ran.err);
    }
    crate::patience::until(|| {
        ["bert", "dora"].map(|name| numbers(&submission.server, name).0) == [1, 1]
    });
    let kept = submission.home.kept_text();
    let recipients: Vec<&str> = kept
        .lines()
        .filter(|l| l.starts_with("Recipient: "))
        .collect();
    assert_eq!(recipients.len(), 3, "{kept}");
    assert!(!kept.contains("bert") && !kept.contains("dora"), "{kept}");
    // All of them: no message is sent.
    let ran = submission.home.send(
        &["-C", &config, "nobody@example.test", "no@example.test"],
        b"A: b\n\nx",
    );
    assert_eq!(ran.code, 67, "{}", ran.err);
    // A name alone has a place to go to, if there is one.
    let config = submission.right("local_recipient = \"bert@example.test\"");
    let ran = submission
        .home
        .send(&["-C", &config, "root", "bert@example.test"], b"A: b\n\nx");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    crate::patience::until(|| numbers(&submission.server, "bert").0 == 2);
}

#[test]
fn a_recipient_that_names_nobody_is_told_and_not_kept() {
    for nobody in ["", ",", "(c)", "g:;"] {
        let submission = Submission::start();
        let config = submission.right("");
        let ran = submission
            .home
            .send(&["-C", &config, "bert@example.test", nobody], b"A: b\n\nx");
        assert_eq!(ran.code, 65, "{nobody:?}: {}", ran.err);
        assert!(
            ran.err.contains("was refused: it names nobody"),
            "{}",
            ran.err
        );
        assert_eq!(numbers(&submission.server, "bert").0, 1);
        assert!(
            ran.err
                .contains("everybody else has the message; it is not kept"),
            "{}",
            ran.err
        );
        assert!(submission.home.kept().is_empty(), "{}", ran.err);
        // With others who do not have it, the file has them alone, and may be sent again.
        let ran = submission.home.send(
            &[
                "-C",
                &config,
                "bert@example.test",
                nobody,
                "no@example.test",
            ],
            b"A: b\n\nx",
        );
        assert_eq!(ran.code, 65, "{nobody:?}: {}", ran.err);
        let kept = submission.home.kept_text();
        let recipients = kept.lines().filter(|l| l.starts_with("Recipient:"));
        assert!(recipients.eq(["Recipient: no@example.test"]), "{kept}");
    }
}

#[test]
fn a_message_for_nobody_is_kept_without_recipients() {
    let submission = Submission::start();
    let config = submission.right("");
    let ran = submission.home.send(&["-C", &config, ""], b"A: b\n\nx");
    assert_eq!(ran.code, 65, "{}", ran.err);
    let kept = submission.home.kept_text();
    assert!(!kept.contains("\nRecipient:"), "{kept}");
    assert!(kept.ends_with("A: b\r\n\r\nx\r\n"), "{kept}");
    // What is said to be done about it helps.
    assert!(ran.err.contains("\"Recipient: ADDRESS\""), "{}", ran.err);
    let file = submission.home.kept().remove(0);
    let kept = kept.replacen("\n", "\nRecipient: bert@example.test\n", 1);
    std::fs::write(&file, kept).unwrap();
    let file = file.display().to_string();
    let ran = submission
        .home
        .send(&["-C", &config, "--again", &file], b"");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(numbers(&submission.server, "bert").0, 1);
    assert!(submission.home.kept().is_empty());
}

#[test]
fn a_sender_of_somebody_else_is_refused_unless_the_settings_replace_it() {
    let submission = Submission::start();
    let message = b"From: \"Site, The\" <www@site.example>\nSubject: x\n\nhello";
    let config = submission.right("");
    let ran = submission.home.send(
        &["-C", &config, "-f", "www@site.example", "bert@example.test"],
        message,
    );
    assert_eq!(ran.code, 77, "{}", ran.err);
    assert!(
        ran.err
            .contains("refuses mail from <www@site.example>: 550 5.7"),
        "{}",
        ran.err
    );
    let config = submission.right("envelope_from = \"sender\"\nfrom_field = \"sender\"");
    let ran = submission.home.send(
        &["-C", &config, "-f", "www@site.example", "bert@example.test"],
        message,
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let text = submission.only_message("bert");
    assert!(
        text.contains("\r\nReturn-Path: <anna@example.test>\r\n"),
        "{text}"
    );
    assert!(
        text.contains("\r\nFrom: \"Site, The\" <anna@example.test>\r\n"),
        "{text}"
    );
}

#[test]
fn a_message_arrives_as_it_was_written() {
    let submission = Submission::start();
    let config = submission.right("");
    let body = format!(
        ".\n..\n.dot\n\n{}\ngrüße\nFrom here\n \n\t.\n.\n.",
        "long line ".repeat(200)
    );
    for (ends, input) in [("LF", body.clone()), ("CRLF", body.replace('\n', "\r\n"))] {
        let header = "From: anna@example.test\nSubject: größe\nDate: Thu, 1 Jan 1970 00:00:00 +0000\nMessage-ID: <a@b>\nTo: bert@example.test\n";
        let header = if ends == "LF" {
            header.to_owned()
        } else {
            header.replace('\n', "\r\n")
        };
        let separator = if ends == "LF" { "\n" } else { "\r\n" };
        let ran = submission.home.send(
            &["-oi", "-t", "-C", &config],
            format!("{header}{separator}{input}").as_bytes(),
        );
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ends}");
    }
    for message in submission.messages("bert") {
        let text = String::from_utf8(message).unwrap();
        let (_, rest) = text.split_once("\r\nFrom: ").unwrap();
        assert!(rest.starts_with("anna@example.test\r\nSubject: größe\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <a@b>\r\nTo: bert@example.test\r\n\r\n.\r\n..\r\n"));
        assert!(
            rest.ends_with(&format!("\r\n\r\n{}\r\n", body.replace('\n', "\r\n"))),
            "{rest}"
        );
        let unfolded = text.replace("\r\n\t", " ");
        assert!(unfolded.contains("with UTF8SMTPSA id"), "{text}");
    }
    assert_eq!(numbers(&submission.server, "bert").0, 2);
}

#[test]
fn a_dot_alone_ends_the_message_without_i() {
    let submission = Submission::start();
    let config = submission.right("");
    let ran = submission
        .home
        .send(&["-C", &config, "bert@example.test"], b"A: b\n\nx\n.\n");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(submission.only_message("bert").ends_with("\r\n\r\nx\r\n"));
    let ran = submission.home.send(
        &["-C", &config, "bert@example.test"],
        b"A: b\n\nx\n.\nlost?\n",
    );
    assert_eq!(ran.code, 65);
    assert!(
        ran.err.contains("with -i such a line is text"),
        "{}",
        ran.err
    );
    assert_eq!(numbers(&submission.server, "bert").0, 1);
}

#[test]
fn what_is_no_message_is_refused() {
    let submission = Submission::start();
    let config = submission.right("message_size_max_bytes = \"1KiB\"");
    let large = vec![b'x'; 1025];
    for (input, code, expected) in [
        (&b"A: b\n\nx\ry\n"[..], 65, "CR without LF"),
        (b"A: b\n\nx\0y\n", 65, "NUL"),
        (b"", 66, "empty"),
        (b"\n\n", 66, "empty"),
        (&large, 65, "larger than 1024 octets"),
    ] {
        let ran = submission
            .home
            .send(&["-C", &config, "-i", "bert@example.test"], input);
        assert_eq!(ran.code, code, "{}", ran.err);
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
    let ran = submission
        .home
        .send(&["-C", &config, "-t"], b"Subject: to nobody\n\nx");
    assert_eq!(ran.code, 65);
    assert!(ran.err.contains("no recipient"), "{}", ran.err);
    // All that was read as a whole is kept as it was.
    assert_eq!(submission.home.kept().len(), 3);
    let before = submission.home.kept();
    // Nor where the settings can't be read.
    let ran = submission.home.send(&["-C", "/missing", "a@b.c"], b"\n");
    assert_eq!(ran.code, 66, "{}", ran.err);
    assert_eq!(submission.home.kept(), before);
    assert_eq!(numbers(&submission.server, "bert").0, 0);
}

#[test]
fn a_command_line_that_makes_no_sense_reads_nothing() {
    let home = Home::new();
    for arguments in [
        &[][..],
        &["-bp"],
        &["-bd", "-q1h"],
        &["-Z", "x"],
        &["-q"],
        &["--again", "f", "x"],
    ] {
        let ran = home.send(arguments, b"");
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{arguments:?}");
        assert!(
            ran.err.starts_with("sendmail: ") && ran.err.contains("see ringmail sendmail --help"),
            "{}",
            ran.err
        );
    }
    let help = home.send(&["--help"], b"");
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    assert!(help.out.contains("--again FILE"), "{}", help.out);
    let example = home.send(&["--example"], b"");
    let config = home.settings("c", &example.out);
    let check = home.send(&["--check", "--config", &config], b"");
    // The sample trusts the system's authorities, which a small machine may not have.
    assert!(
        check.code == 0 || check.err.contains("ca-certificates"),
        "{}",
        check.err
    );
    let ran = home.send(
        &[
            "--again",
            home.at("none").to_str().unwrap(),
            "--config",
            &config,
        ],
        b"",
    );
    assert_eq!(ran.code, 66);
}

#[test]
fn settings_with_a_mistake_lose_no_mail() {
    let submission = Submission::start();
    let home = &submission.home;
    let config = submission.right("hots = \"x\"\n");
    let ran = home.send(
        &["--config", &config, "-t", "-F", "Anna"],
        b"To: bert@example.test\nBcc: dora@example.test\n\nx",
    );
    assert_eq!(ran.code, 78);
    assert!(
        ran.err
            .contains("sendmail.toml:7:1: unknown field \"hots\""),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("hint: did you mean host?"), "{}", ran.err);
    let check = home.send(&["--check", "--config", &config], b"");
    assert_eq!((check.code, check.out.as_str()), (78, ""));
    let kept = home.kept().pop().unwrap();
    submission.right("");
    let ran = home.send(
        &["--config", &config, "--again", kept.to_str().unwrap()],
        b"",
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let text = submission.only_message("dora");
    assert!(
        text.contains("\r\nFrom: Anna <anna@example.test>\r\n") && !text.contains("Bcc"),
        "{text}"
    );
    assert_eq!(home.kept(), [] as [PathBuf; 0]);
    // No settings at all.
    let missing = home.at("missing.toml").display().to_string();
    let ran = home.send(&["--config", &missing, "bert@example.test"], b"A: b\n\nx");
    assert_eq!(ran.code, 78);
    assert!(
        ran.err.contains("ringmail sendmail --example prints"),
        "{}",
        ran.err
    );
    assert_eq!(home.kept().len(), 1);
}

#[test]
fn mail_is_kept_in_the_spool_directory_or_where_there_is_room() {
    let home = Home::new();
    std::fs::create_dir(home.at("spool")).unwrap();
    let gone = "host = \"127.0.0.1\"\nport = 9\ntls = \"none\"\nsender = \"a@b.c\"\n";
    let config = home.settings("c", &format!("{gone}spool_dir = \"spool\"\n"));
    let ran = home.send(&["-C", &config, "bert@example.test"], b"A: b\n\nx");
    assert_eq!(ran.code, 75, "{}", ran.err);
    assert!(
        ran.err
            .contains("no connection to 127.0.0.1: 127.0.0.1:9: "),
        "{}",
        ran.err
    );
    assert_eq!(files(&home.at("spool")).len(), 1);
    assert_eq!(home.kept(), [] as [PathBuf; 0]);
    let config = home.settings("c", &format!("{gone}spool_dir = \"c/none\"\n"));
    let ran = home.send(&["-C", &config, "bert@example.test"], b"A: b\n\nx");
    assert_eq!(ran.code, 75, "{}", ran.err);
    let text = home.kept_text();
    assert!(
        text.starts_with(
            "X-Ringmail-Unsent: 1\nRecipient: bert@example.test\nReason: no connection"
        ),
        "{text}"
    );
    assert!(
        text.ends_with("\nA: b\r\n\r\nx\r\n") || text.ends_with("A: b\r\n\r\nx\r\n"),
        "{text}"
    );
}

#[test]
fn a_link_named_sendmail_is_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &["--accounts", "2"]);
    let home = Home::new();
    let link = home.at("sendmail");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ringmail"), &link).unwrap();
    // localserve's certificate is for localhost: trusted like an authority's, name included.
    let config = home.settings(
        "c",
        &format!(
            "host = \"localhost\"\nport = {}\nca_file = \"{}\"\nuser = \"ringmail@localhost\"\npassword = \"ringmailringmail\"\nlocal_recipient = \"u1@localhost\"\n",
            server.offset + 465,
            dir.path().join("localhost.crt").display()
        ),
    );
    // As cron calls it.
    let child = home.spawn_as(
        link.as_os_str(),
        &[
            "-FCronDaemon",
            "-C",
            &config,
            "-i",
            "-B8BITMIME",
            "-oem",
            "root",
        ],
    );
    let ran = finish(child, b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host7> date\nX-Cron-Env: <SHELL=/bin/sh>\n\nThu Jan  1\n");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let lines = crate::filled::imap(
        &server,
        "u1",
        "ringmailringmail",
        &[
            "SELECT INBOX",
            "FETCH 1 BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT)]",
        ],
    );
    let text = lines.join("\n");
    assert!(
        text.contains("From: Cron Daemon <ringmail@localhost>"),
        "{text}"
    );
    assert!(text.contains("Subject: Cron <root@host7> date"), "{text}");
    let usage = finish(
        home.spawn_as(link.as_os_str(), &["-C", &config, "serve"]),
        b"A: b\n\nx",
    );
    assert_eq!(usage.code, 0, "a recipient, not our command: {}", usage.err);
}
