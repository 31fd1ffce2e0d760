//! What an IMAP dialog can't say: large messages in pieces, damage on disk, a failed shard, guessed passwords.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringmail::settings::Door;

use crate::crash::start;
use crate::faults::apart;
use crate::logins::metrics;
use crate::patience::found;
use crate::server::TestServer;

/// A client that reads literals as octets.
pub struct Client(pub BufReader<TcpStream>);

impl Client {
    pub fn login(address: SocketAddr, name: &str) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut client = Client(BufReader::new(stream));
        let login = format!("a LOGIN {name}@example.test {name}-password\r\n");
        let (_, last) = client.say(login.as_bytes(), "a");
        assert!(last.starts_with("a OK"), "{last}");
        client
    }

    /// Writes, and reads up to the tagged response; answers the literals on the way and that response.
    pub fn say(&mut self, command: &[u8], tag: &str) -> (Vec<Vec<u8>>, String) {
        self.0.get_mut().write_all(command).unwrap();
        let mut literals = Vec::new();
        loop {
            let line = self.line();
            let size = line
                .trim_end()
                .strip_suffix('}')
                .and_then(|l| l.rsplit_once('{')?.1.parse().ok());
            if let Some(size) = size {
                let mut literal = vec![0; size];
                self.fill(&mut literal);
                literals.push(literal);
            } else if line.starts_with(&format!("{tag} ")) {
                return (literals, line);
            }
        }
    }

    /// The executors of a server in the same process interrupt system calls of other threads; `read_line` goes on by itself.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "closed");
        line
    }

    /// What one read brings.
    fn piece(&mut self) -> Vec<u8> {
        loop {
            match self.0.fill_buf() {
                Err(e) if e.kind() == ErrorKind::Interrupted => (),
                read => return read.unwrap().to_vec(),
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        self.0.read_exact(buffer).unwrap();
    }

    fn append(&mut self, message: &[u8]) -> String {
        let mut command = format!("p APPEND INBOX {{{}+}}\r\n", message.len()).into_bytes();
        command.extend_from_slice(message);
        command.extend_from_slice(b"\r\n");
        self.say(&command, "p").1
    }
}

/// Content in which each place is different, of `lines` lines with 64 octets.
fn message(subject: &str, lines: usize) -> Vec<u8> {
    let mut text = format!("From: a@example.org\r\nSubject: {subject}\r\n\r\n");
    for n in 0..lines {
        text += &format!("{n:08} {}\r\n", "abcdefghij".repeat(6).get(..53).unwrap());
    }
    text.into_bytes()
}

#[test]
fn a_large_message_comes_back_whole_and_in_pieces() {
    let server = TestServer::start();
    let mut client = Client::login(server.address(Door::Imap), "anna");
    // Above storage.body_in_memory_max_bytes: it lies in a file of its own.
    let large = message("large", 40_000);
    assert!(large.len() > 2 << 20);
    assert!(client.append(&large).starts_with("p OK"));
    client.say(b"b SELECT INBOX\r\n", "b");
    let (whole, _) = client.say(b"c FETCH 1 BODY.PEEK[]\r\n", "c");
    assert!(whole == [large.clone()], "byte for byte");
    let mut pieces = Vec::new();
    // Not a divisor of anything.
    let step = 300_007;
    for start in (0..large.len()).step_by(step) {
        let command = format!("d FETCH 1 BODY.PEEK[]<{start}.{step}>\r\n");
        let (piece, _) = client.say(command.as_bytes(), "d");
        pieces.extend_from_slice(&piece[0]);
    }
    assert!(pieces == large, "pieces join to the whole");
    let text = large.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let (part, _) = client.say(b"e FETCH 1 BODY.PEEK[TEXT]<1048570.100>\r\n", "e");
    assert_eq!(part[0], large[text + 1_048_570..][..100]);
    // RFC 9051 6.4.5: beyond the end there is nothing, and that is no error.
    let (_, last) = client.say(b"f FETCH 1 BODY.PEEK[]<99999999.10>\r\n", "f");
    assert!(last.starts_with("f OK"), "{last}");
}

fn files(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Changes one letter of the content that has this mark.
fn damage(directory: &Path, mark: &[u8]) {
    let mut found = Vec::new();
    files(&directory.join("data"), &mut found);
    let segments = found
        .into_iter()
        .filter(|p| p.parent().is_some_and(|p| p.ends_with("segments")));
    let mut damaged = 0;
    for path in segments {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(mark.len()).position(|w| w == mark) {
            bytes[at + mark.len() + 20] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "the content lies in one place");
}

#[test]
fn a_damaged_body_costs_that_message_alone() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::on(directory.path(), "");
    let mut client = Client::login(server.address(Door::Imap), "anna");
    for subject in ["first", "second", "third"] {
        assert!(client.append(&message(subject, 100)).starts_with("p OK"));
    }
    drop((client, server));
    damage(directory.path(), b"Subject: second\r\n\r\n");
    let server = TestServer::on(directory.path(), "");
    let mut client = Client::login(server.address(Door::Imap), "anna");
    client.say(b"b SELECT INBOX\r\n", "b");
    let (bodies, last) = client.say(b"c FETCH 1:3 BODY.PEEK[]\r\n", "c");
    assert!(last.starts_with("c NO [CORRUPTION]"), "{last}");
    assert!(last.contains("message 2"), "{last}");
    assert!(bodies == [message("first", 100), message("third", 100)]);
    // The connection lives, and so does all that needs no body.
    let (_, last) = client.say(b"d FETCH 2 (FLAGS UID INTERNALDATE RFC822.SIZE)\r\n", "d");
    assert!(last.starts_with("d OK"), "{last}");
    let (_, last) = client.say(b"e STORE 2 +FLAGS (\\Deleted)\r\n", "e");
    assert!(last.starts_with("e OK"), "{last}");
    let (_, last) = client.say(b"f EXPUNGE\r\n", "f");
    assert!(last.starts_with("f OK"), "{last}");
    let (bodies, last) = client.say(b"g FETCH 1:2 BODY.PEEK[]\r\n", "g");
    assert!(last.starts_with("g OK"), "{last}");
    assert_eq!(bodies.len(), 2);
}

#[test]
fn a_failed_shard_says_unavailable_while_another_account_works() {
    let (failing, serving, shard) = apart();
    let directory = tempfile::tempdir().unwrap();
    let faults = format!("shard-{shard:03}/rows.commit=fail@8");
    let server = start(directory.path(), &faults).unwrap();
    let mut client = Client::login(server.imap, failing);
    let short = message("short", 1);
    assert!(client.append(&short).starts_with("p OK"));
    client.say(b"b SELECT INBOX\r\n", "b");
    let mut last = String::new();
    for _ in 0..20 {
        last = client.append(&short);
        if !last.starts_with("p OK") {
            break;
        }
    }
    assert!(last.starts_with("p NO [UNAVAILABLE]"), "{last}");
    let (_, last) = client.say(b"c STORE 1 +FLAGS (\\Seen)\r\n", "c");
    assert!(last.starts_with("c NO [UNAVAILABLE]"), "{last}");
    // docs/STORAGE.md: reads too. The connection lives, for what is in memory.
    let (_, last) = client.say(b"d FETCH 1 BODY.PEEK[]\r\n", "d");
    assert!(last.starts_with("d NO [UNAVAILABLE]"), "{last}");
    let (_, last) = client.say(b"e FETCH 1 (FLAGS UID)\r\n", "e");
    assert!(last.starts_with("e OK"), "{last}");
    let mut other = Client::login(server.imap, serving);
    assert!(other.append(&short).starts_with("p OK"));
    other.say(b"b SELECT INBOX\r\n", "b");
    let (_, last) = other.say(b"c STORE 1 +FLAGS (\\Seen)\r\n", "c");
    assert!(last.starts_with("c OK"), "{last}");
    server.kill();
}

#[test]
fn who_guesses_passwords_is_slowed_and_then_told_to_go() {
    let server = TestServer::start();
    let mut settings = server.server().live().settings.clone();
    let limits = &mut settings.server.limits.imap;
    limits.auth_failures_slow_after = 2;
    limits.auth_failures_max = 4;
    limits.slow_delay_secs = "20ms".parse().unwrap();
    server.server().reload(settings).unwrap();
    let mut client = Client(BufReader::new(server.connect(Door::Imap)));
    client.line();
    let mut took = Vec::new();
    for number in 0..4 {
        let before = Instant::now();
        let login = b"a LOGIN anna@example.test wrong\r\n";
        client.0.get_mut().write_all(login).unwrap();
        // What is written at once is there at once, however long that took.
        if number == 0 {
            assert!(client.piece().ends_with(b"\r\n"));
        }
        let last = client.line();
        took.push(before.elapsed());
        assert!(last.starts_with("a NO [AUTHENTICATIONFAILED]"), "{last}");
    }
    // An octet in 20 ms; the answer has more than 30.
    let slow = Duration::from_millis(600);
    assert!(took[2] >= slow && took[3] >= slow, "{took:?}");
    assert!(client.line().starts_with("* BYE"));
    let mut rest = String::new();
    assert_eq!(client.0.read_line(&mut rest).unwrap(), 0, "{rest}");
    // Who knows the password is served at once.
    let mut client = Client(BufReader::new(server.connect(Door::Imap)));
    client.line();
    let login = b"a LOGIN anna@example.test anna-password\r\n";
    client.0.get_mut().write_all(login).unwrap();
    let answer = client.piece();
    assert!(answer.starts_with(b"a OK") && answer.ends_with(b"\r\n"));
}

#[test]
fn commands_are_counted_and_timed() {
    let server = TestServer::start();
    let mut client = Client(BufReader::new(server.connect(Door::Imap)));
    client.line();
    client.say(b"a NOOP\r\n", "a");
    client.say(b"b NONSENSE\r\n", "b");
    client.say(b"c LOGIN anna@example.test anna-password\r\n", "c");
    client.say(b"d SELECT INBOX\r\n", "d");
    client.say(b"e FETCH nothing\r\n", "e");
    assert!(client.append(&message("x", 1)).starts_with("p OK"));
    // An answer may be there before it is counted.
    for expected in [
        "ringmail_imap_commands_total{cmd=\"(unrecognized)\",result=\"badsyntax\"} 2\n",
        "ringmail_imap_commands_total{cmd=\"LOGIN\",result=\"ok\"} 1\n",
        "# TYPE ringmail_imap_command_duration_seconds histogram\n",
        "ringmail_imap_command_duration_seconds_bucket{cmd=\"SELECT\",result=\"ok\",le=\"+Inf\"} 1\n",
        "ringmail_imap_command_duration_seconds_count{cmd=\"APPEND\",result=\"ok\"} 1\n",
    ] {
        found(|| metrics(&server), |text| text.contains(expected));
    }
}

#[test]
fn a_session_that_never_asks_for_news_is_told_to_connect_again() {
    let server = TestServer::start();
    let mut busy = Client::login(server.address(Door::Imap), "anna");
    // RFC 3502: many at once.
    let append = format!(
        "p APPEND INBOX{}\r\n",
        " {8+}\r\nA: b\r\n\r\n".repeat(1_000)
    );
    let (_, last) = busy.say(append.as_bytes(), "p");
    assert!(last.starts_with("p OK"), "{last}");
    let mut slow = Client::login(server.address(Door::Imap), "anna");
    for client in [&mut busy, &mut slow] {
        client.say(b"b SELECT INBOX\r\n", "b");
    }
    // More than 100,000 changes, none of which the slow one has asked for.
    for n in 0..102 {
        let sign = if n % 2 == 0 { '+' } else { '-' };
        let store = format!("c STORE 1:* {sign}FLAGS.SILENT (\\Flagged)\r\n");
        let (_, last) = busy.say(store.as_bytes(), "c");
        assert!(last.starts_with("c OK"), "{last}");
    }
    slow.0.get_mut().write_all(b"d NOOP\r\n").unwrap();
    let line = slow.line();
    assert!(line.starts_with("* BYE [LIMIT]"), "{line}");
    let (_, last) = busy.say(b"d NOOP\r\n", "d");
    assert!(last.starts_with("d OK"), "others go on: {last}");
}
