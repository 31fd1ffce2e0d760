//! A disk that does not answer: what waits for it is bounded, and operators are told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringmail::settings::Door;

use crate::crash::{command, reply};
use crate::patience::patiently;
use crate::server::TestServer;

/// Not a test of its own: the child's side of the test below.
#[test]
fn stall_child() {
    let Ok(directory) = std::env::var("RINGMAIL_STALL_CHILD") else {
        return;
    };
    let server = TestServer::on(Path::new(&directory), "");
    let mut settings = server.server().live().settings.clone();
    let storage = &mut settings.server.storage;
    storage.body_in_memory_max_bytes = "1MiB".parse().unwrap();
    storage.body_memory_budget_bytes = "1MiB".parse().unwrap();
    storage.commit_timeout_secs = "10m".parse().unwrap();
    server.server().reload(settings).unwrap();
    let (smtp, http) = (server.address(Door::Smtp), server.address(Door::Http));
    println!("\nready {smtp} {http}");
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

pub fn get(http: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(http).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn in_memory(http: SocketAddr) -> usize {
    let text = get(http, "/metrics");
    let value = text
        .lines()
        .find_map(|l| l.strip_prefix("ringmail_bodies_in_memory_bytes "));
    value.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

const OCTETS: usize = 600_000;

fn hello(smtp: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(smtp).unwrap();
    let limit = Some(Duration::from_secs(120));
    stream.set_read_timeout(limit).unwrap();
    let mut talk = BufReader::new(stream);
    reply(&mut talk).unwrap();
    command(&mut talk, "EHLO client.example\r\n").unwrap();
    talk
}

/// Begins a delivery of [`OCTETS`] and more, and leaves the answer to be read.
fn begin(smtp: SocketAddr) -> BufReader<TcpStream> {
    let mut talk = hello(smtp);
    command(&mut talk, "MAIL FROM:<a@example.org>\r\n").unwrap();
    command(&mut talk, "RCPT TO:<anna@example.test>\r\n").unwrap();
    command(&mut talk, "DATA\r\n").unwrap();
    let line = format!("{}\r\n", "s".repeat(98));
    let body = format!(
        "Subject: x\r\n\r\n{}.\r\n",
        line.repeat(OCTETS / line.len())
    );
    talk.get_mut().write_all(body.as_bytes()).unwrap();
    talk
}

/// A server in a process of its own, whose disk answers nothing at `points` while the file `hold` exists.
struct Stalling {
    child: Child,
    data: PathBuf,
    hold: PathBuf,
    smtp: SocketAddr,
    http: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Stalling {
    fn start(points: &[&str]) -> Stalling {
        let directory = tempfile::tempdir().unwrap();
        let (data, hold) = (directory.path().join("here"), directory.path().join("hold"));
        std::fs::create_dir(&data).unwrap();
        let fault = |point: &&str| format!("{point}=stall:{}", hold.display());
        let faults: Vec<String> = points.iter().map(fault).collect();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "stall::stall_child", "--nocapture"])
            .env("RINGMAIL_STALL_CHILD", &data)
            .env("RINGMAIL_FAULTS", faults.join(","))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ready = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .find_map(|l| Some(l.strip_prefix("ready ")?.to_string()))
            .expect("the child serves");
        let (smtp, http) = ready.split_once(' ').unwrap();
        let stalling = Stalling {
            child,
            data,
            hold,
            smtp: smtp.parse().unwrap(),
            http: http.parse().unwrap(),
            _directory: directory,
        };
        assert!(get(stalling.http, "/readyz").ends_with("ready\n"));
        patiently(
            || in_memory(stalling.http) == 0,
            || "nothing in memory yet".into(),
        );
        stalling
    }

    fn in_files(&self) -> usize {
        std::fs::read_dir(self.data.join("data/spool"))
            .unwrap()
            .count()
    }
}

/// Also when the test fails.
impl Drop for Stalling {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn bodies_that_wait_for_the_disk_count_and_operators_are_told() {
    let shard = shards::shard_of(b"anna", 4);
    let server = Stalling::start(&[&format!("{shard}/group.taken")]);
    let (hold, smtp, http) = (&server.hold, server.smtp, server.http);
    let in_files = || server.in_files();

    std::fs::write(hold, "").unwrap();
    // Of five, three come to one of the two cores: with two its budget is used up.
    let mut talks = Vec::new();
    for number in 1..=5 {
        talks.push(begin(smtp));
        patiently(
            || in_memory(http) / (OCTETS - 1000) + in_files() >= number,
            || "each is in memory or in a file".into(),
        );
    }
    assert!(in_files() >= 1);
    let told = format!("\n{shard}: a write has been under way for ");
    patiently(|| get(http, "/readyz").contains(&told), || "/readyz".into());
    std::fs::remove_file(hold).unwrap();
    for talk in &mut talks {
        let answer = reply(talk).unwrap();
        assert!(answer.starts_with("250"), "{answer}");
    }
    patiently(
        || in_memory(http) == 0 && in_files() == 0,
        || "all is given back".into(),
    );
    assert!(get(http, "/readyz").ends_with("ready\n"));
}

/// Begins a message as far as DATA; None if MAIL is answered with 452.
fn try_to_begin(smtp: SocketAddr) -> Option<BufReader<TcpStream>> {
    let mut talk = hello(smtp);
    talk.get_mut()
        .write_all(b"MAIL FROM:<a@example.org>\r\n")
        .unwrap();
    let answer = reply(&mut talk).unwrap();
    if answer.starts_with("452 4.3.1 ") {
        return None;
    }
    assert!(answer.starts_with("250"), "{answer}");
    command(&mut talk, "RCPT TO:<anna@example.test>\r\n").unwrap();
    command(&mut talk, "DATA\r\n").unwrap();
    Some(talk)
}

#[test]
fn a_disk_that_takes_nothing_at_all_leaves_memory_bounded_and_loses_nothing() {
    let shard = shards::shard_of(b"anna", 4);
    let server = Stalling::start(&[&format!("{shard}/group.taken"), "large.write"]);
    std::fs::write(&server.hold, "").unwrap();
    // Two cores, twice the budget of 1 MiB each, and what one read brings.
    let bound = 2 * (2 << 20) + 2 * (64 << 10);
    let line = format!("{}\r\n", "s".repeat(98));
    let mut talks = Vec::new();
    let mut refused = 0;
    for number in 0.. {
        assert!(number < 1000, "never refused");
        // Neither message is complete: the last line is still to come.
        match try_to_begin(server.smtp) {
            Some(mut talk) => {
                let octets = if number % 2 == 0 { OCTETS } else { 20_000 };
                let body = format!("Subject: x\r\n\r\n{}", line.repeat(octets / 100));
                // What a server that reads no more does not take is written later.
                let stream = talk.get_mut().try_clone().unwrap();
                let writer = std::thread::spawn(move || {
                    let mut stream = stream;
                    stream.write_all(body.as_bytes()).unwrap();
                });
                talks.push((talk, writer));
            }
            None => refused += 1,
        }
        // Not each time: a scrape waits a second for what the held-up workers would say.
        if number % 8 == 0 || refused == 10 {
            let octets = in_memory(server.http);
            assert!(octets <= bound, "{octets}");
        }
        if refused == 10 {
            break;
        }
    }
    std::fs::remove_file(&server.hold).unwrap();
    let mut accepted = 0;
    for (mut talk, writer) in talks {
        writer.join().unwrap();
        talk.get_mut().write_all(b".\r\n").unwrap();
        let answer = reply(&mut talk).unwrap();
        match &answer[..3] {
            "250" => accepted += 1,
            "452" | "451" => (),
            _ => panic!("{answer}"),
        }
    }
    assert!(accepted > 0);
    patiently(
        || in_memory(server.http) == 0 && server.in_files() == 0,
        || "all is given back".into(),
    );
    // There is room again.
    assert!(try_to_begin(server.smtp).is_some());
}
