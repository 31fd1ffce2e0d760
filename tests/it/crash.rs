//! The server is killed at each named point and at random under load; every message answered with 250 is there exactly once.
//!
//! The server runs in a child process: this test binary again, with `RINGMAIL_TEST_CHILD` set. `RINGMAIL_KILLS` is the number of
//! random kills, `RINGMAIL_SEED` repeats a run; the seed is printed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringmail::settings::Door;

use crate::patience::{PATIENCE, patiently};
use crate::server::TestServer;

/// Not a test of its own: the child's side of the tests below.
#[test]
fn crash_child() {
    let Ok(directory) = std::env::var("RINGMAIL_TEST_CHILD") else {
        return;
    };
    let server = TestServer::on(Path::new(&directory), "");
    // No recipient is refused for its quota: what is accepted must be there for all.
    let mut settings = server.server().live().settings.clone();
    for account in settings.accounts.values_mut() {
        Arc::make_mut(account).quota_bytes = None;
    }
    server.server().reload(settings).unwrap();
    println!(
        "\nready {} {}",
        server.address(Door::Smtp),
        server.address(Door::Imap)
    );
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// The server in a child process.
pub struct Running {
    pub child: Child,
    pub smtp: SocketAddr,
    pub imap: SocketAddr,
}

/// Starts the child; none if it died at a fault before it was ready.
pub fn start(directory: &Path, faults: &str) -> Option<Running> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::crash_child",
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env("RINGMAIL_TEST_CHILD", directory)
        .env("RINGMAIL_FAULTS", faults)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    for line in output.lines().map_while(Result::ok) {
        if let Some(ports) = line.strip_prefix("ready ") {
            let mut ports = ports.split(' ').map(|p| p.parse().unwrap());
            return Some(Running {
                child,
                smtp: ports.next()?,
                imap: ports.next()?,
            });
        }
    }
    let status = child.wait().unwrap();
    assert!(!faults.is_empty(), "the server did not start: {status}");
    None
}

impl Running {
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was answered with 250: token to the accounts that must have it.
type Accepted = HashMap<u64, Vec<&'static str>>;

const SETS: [&[&str]; 5] = [
    &["anna"],
    &["dora"],
    &["anna", "dora"],
    &["anna", "bert"],
    &["anna", "bert", "dora"],
];

/// Sends until the connection breaks.
fn send_all(
    address: SocketAddr,
    tokens: &AtomicU64,
    accepted: &Mutex<Accepted>,
    stop: &AtomicBool,
    large: bool,
) {
    let _ = send_until_broken(address, tokens, accepted, stop, large);
}

fn send_until_broken(
    address: SocketAddr,
    tokens: &AtomicU64,
    accepted: &Mutex<Accepted>,
    stop: &AtomicBool,
    large: bool,
) -> std::io::Result<()> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut talk = BufReader::new(stream);
    reply(&mut talk)?;
    command(&mut talk, "EHLO client.example\r\n")?;
    while !stop.load(Ordering::Relaxed) {
        let token = tokens.fetch_add(1, Ordering::Relaxed);
        let recipients = SETS[token as usize % SETS.len()];
        command(&mut talk, "MAIL FROM:<sender@example.org>\r\n")?;
        for name in recipients {
            let answer = command(&mut talk, &format!("RCPT TO:<{name}@example.test>\r\n"))?;
            assert!(answer.starts_with("250"), "{answer}");
        }
        command(&mut talk, "DATA\r\n")?;
        let filler = "crash test line\r\n".repeat(if large && token.is_multiple_of(7) {
            20_000
        } else {
            20
        });
        let answer = command(
            &mut talk,
            &format!("Subject: token {token} end\r\n\r\n{filler}.\r\n"),
        )?;
        if answer.starts_with("250") {
            accepted.lock().unwrap().insert(token, recipients.to_vec());
        }
    }
    Ok(())
}

pub fn command(talk: &mut BufReader<TcpStream>, text: &str) -> std::io::Result<String> {
    talk.get_mut().write_all(text.as_bytes())?;
    reply(talk)
}

pub fn reply(talk: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    loop {
        let mut line = String::new();
        if talk.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line);
        }
    }
}

/// Sends one message and answers what was said to its end. An error: the connection broke, as by a kill.
pub fn deliver(
    stream: TcpStream,
    (recipients, domain): (&[&str], &str),
    message: &str,
) -> std::io::Result<String> {
    let mut talk = BufReader::new(stream);
    reply(&mut talk)?;
    command(&mut talk, "EHLO client.example\r\n")?;
    command(&mut talk, "MAIL FROM:<sender@example.org>\r\n")?;
    for name in recipients {
        command(&mut talk, &format!("RCPT TO:<{name}@{domain}>\r\n"))?;
    }
    command(&mut talk, "DATA\r\n")?;
    command(&mut talk, &format!("{message}.\r\n"))
}

/// Tokens in an account's INBOX, over IMAP, with how often each is there.
fn tokens_of(imap: SocketAddr, name: &str) -> HashMap<u64, u32> {
    let mut stream = TcpStream::connect(imap).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let commands = format!(
        "a LOGIN {name}@example.test {name}-password\r\nb EXAMINE INBOX\r\nc UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\nd LOGOUT\r\n"
    );
    stream.write_all(commands.as_bytes()).unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("a OK") && text.contains("b OK"), "{text}");
    assert!(
        text.contains("c OK"),
        "{}",
        &text[text.len().saturating_sub(2000)..]
    );
    let mut found = HashMap::new();
    for (at, _) in text.match_indices("Subject: token ") {
        let number: String = text[at + 15..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        *found.entry(number.parse().unwrap()).or_insert(0) += 1;
    }
    found
}

fn verify(directory: &Path, accepted: &Accepted, how: &str) {
    let server = start(directory, "").expect("it starts after a crash");
    // Fan-out entries are delivered in the background after the start.
    let wrong = || wrong_tokens(server.imap, accepted);
    patiently(
        || wrong().is_empty(),
        || format!("{how}: {}", wrong().join("; ")),
    );
    server.kill();
}

fn wrong_tokens(imap: SocketAddr, accepted: &Accepted) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in ["anna", "bert", "dora"] {
        let found = tokens_of(imap, name);
        for (token, names) in accepted {
            let count = found.get(token).copied().unwrap_or(0);
            if names.contains(&name) && count != 1 {
                wrong.push(format!("message {token} is there {count} times for {name}"));
            }
        }
    }
    wrong.truncate(10);
    wrong
}

/// One life of the server under load, until it dies by a fault or is killed after `life`.
fn one_life(
    directory: &Path,
    faults: &str,
    life: Duration,
    tokens: &Arc<AtomicU64>,
    accepted: &Arc<Mutex<Accepted>>,
    large: bool,
) {
    let Some(mut server) = start(directory, faults) else {
        return;
    };
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (smtp, tokens, accepted, stop) =
                (server.smtp, tokens.clone(), accepted.clone(), stop.clone());
            std::thread::spawn(move || send_all(smtp, &tokens, &accepted, &stop, large))
        })
        .collect();
    let end = Instant::now() + life;
    while Instant::now() < end && server.child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    stop.store(true, Ordering::Relaxed);
    server.kill();
    for client in clients {
        client.join().unwrap();
    }
}

/// Every point a message passes. docs/STORAGE.md says what each leaves behind.
const POINTS: [&str; 13] = [
    "group.taken",
    "body.appended",
    "body.synced",
    "rows.commit",
    "rows.committed",
    "large.linked",
    "large.synced",
    "fanout.committed",
    "fanout.delivered",
    "fanout.removed",
    "segment.created",
    "segment.named",
    "open.epoch",
];

#[test]
fn crash_at_each_named_point_loses_and_doubles_nothing() {
    for (number, name) in POINTS.iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let (tokens, accepted) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(Mutex::new(Accepted::new())),
        );
        for at in [1, 3 + number as u64] {
            one_life(
                directory.path(),
                &format!("{name}=kill@{at}"),
                Duration::from_secs(3),
                &tokens,
                &accepted,
                true,
            );
        }
        let accepted = accepted.lock().unwrap().clone();
        verify(directory.path(), &accepted, name);
    }
}

#[test]
fn crash_at_random_under_load_loses_and_doubles_nothing() {
    let kills: u32 = std::env::var("RINGMAIL_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(6);
    let seed: Option<u64> = std::env::var("RINGMAIL_SEED")
        .ok()
        .and_then(|n| n.parse().ok());
    let mut state: u64 = seed.unwrap_or_else(|| std::process::id().into()) | 1;
    println!("RINGMAIL_SEED={state} RINGMAIL_KILLS={kills}");
    let directory = tempfile::tempdir().unwrap();
    let (tokens, accepted) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(Mutex::new(Accepted::new())),
    );
    for kill in 0..kills {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let life = Duration::from_millis(20 + state % 200);
        one_life(
            directory.path(),
            "",
            life,
            &tokens,
            &accepted,
            kill % 3 == 0,
        );
        if kill % 10 == 9 || kill + 1 == kills {
            let accepted = accepted.lock().unwrap().clone();
            verify(directory.path(), &accepted, &format!("kill {kill}"));
        }
    }
    println!(
        "{} messages accepted over {kills} kills",
        accepted.lock().unwrap().len()
    );
}
