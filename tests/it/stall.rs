//! A disk that does not answer: what waits for it is bounded, and operators are told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringmail::settings::Door;

use crate::crash::{command, reply};
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
    settings.server.cores.call_timeout_secs = "10m".parse().unwrap();
    server.server().reload(settings).unwrap();
    let (smtp, http) = (server.address(Door::Smtp), server.address(Door::Http));
    println!("\nready {smtp} {http}");
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

fn get(http: SocketAddr, path: &str) -> String {
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
    value.expect("a gauge").parse().unwrap()
}

/// As often as the limit of HTTP requests allows.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("waited a minute in vain: {what}");
}

const OCTETS: usize = 600_000;

/// Begins a delivery of [`OCTETS`] and more, and leaves the answer to be read.
fn begin(smtp: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(smtp).unwrap();
    let limit = Some(Duration::from_secs(120));
    stream.set_read_timeout(limit).unwrap();
    let mut talk = BufReader::new(stream);
    reply(&mut talk).unwrap();
    command(&mut talk, "EHLO client.example\r\n").unwrap();
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

#[test]
fn bodies_that_wait_for_the_disk_count_and_operators_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let (data, hold) = (directory.path().join("here"), directory.path().join("hold"));
    std::fs::create_dir(&data).unwrap();
    let shard = shards::shard_of(b"anna", 4);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "stall::stall_child", "--nocapture"])
        .env("RINGMAIL_STALL_CHILD", &data)
        .env(
            "RINGMAIL_FAULTS",
            format!("{shard}/group.taken=stall:{}", hold.display()),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let output = BufReader::new(child.0.stdout.take().unwrap());
    let ready = output
        .lines()
        .map_while(Result::ok)
        .find_map(|l| Some(l.strip_prefix("ready ")?.to_string()));
    let ready = ready.expect("the child serves");
    let (smtp, http) = ready.split_once(' ').unwrap();
    let (smtp, http): (SocketAddr, SocketAddr) = (smtp.parse().unwrap(), http.parse().unwrap());
    assert!(get(http, "/readyz").ends_with("ready\n"));
    wait_for("nothing in memory yet", || in_memory(http) == 0);

    std::fs::write(&hold, "").unwrap();
    // Of five, three come to one of the two cores: with two its budget is used up.
    let spool = data.join("data/spool");
    let in_files = || std::fs::read_dir(&spool).unwrap().count();
    let mut talks = Vec::new();
    for number in 1..=5 {
        talks.push(begin(smtp));
        wait_for("each is in memory or in a file", || {
            in_memory(http) / (OCTETS - 1000) + in_files() >= number
        });
    }
    assert!(in_files() >= 1);
    let told = format!("\n{shard}: a write has been under way for ");
    wait_for("/readyz", || get(http, "/readyz").contains(&told));
    std::fs::remove_file(&hold).unwrap();
    for talk in &mut talks {
        let answer = reply(talk).unwrap();
        assert!(answer.starts_with("250"), "{answer}");
    }
    wait_for("all is given back", || {
        in_memory(http) == 0 && in_files() == 0
    });
    assert!(get(http, "/readyz").ends_with("ready\n"));
}

/// Also when the test fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
