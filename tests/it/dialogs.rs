//! Conversations as text, in `tests/dialogs`. One server for each file.
//!
//! ```text
//! # a comment
//! oauth: http://...     the settings have [oauth] with this issuer and the scope "mail"; nobody need be there
//! starttls: required    of submission and imap; the dialog itself has no TLS
//! queue: on             mail for elsewhere is sent on: it comes back to anna
//! port: smtp            which door: smtp, submission, imap, http; also for a single connection, `B.port: imap`
//! C: EHLO there         sent with CRLF
//! C= a\rb\x00           sent as it is, with \r \n \t \0 \x.. \\ as in Rust
//! S: 250 {*}            the next line must match; {*} stands for anything
//! S* 250 {*}            lines are passed over until one matches
//! S.                    the server has closed
//! B.C: NOOP             a second (third, ...) connection, opened at its first line
//! ```

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use ringmail::settings::Door;

use crate::server::TestServer;

const REQUIRED: &str = "starttls: required";
const SENDING: &str = "queue: on";

struct Talk {
    stream: BufReader<TcpStream>,
}

#[test]
fn smtp_dialogs() {
    run_folder("tests/dialogs/smtp", Door::Smtp);
}

#[test]
fn imap_dialogs() {
    run_folder("tests/dialogs/imap", Door::Imap);
}

fn run_folder(folder: &str, door: Door) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| {
            entries
                .flatten()
                .map(|e| e.path())
                .filter(|p| p.extension().is_some_and(|e| e == "txt"))
                .collect()
        })
        .unwrap_or_default();
    files.sort();
    assert!(!files.is_empty(), "no dialogs in {folder}");
    let failures: Vec<String> = files
        .iter()
        .filter_map(|file| run(file, door).err())
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} dialogs failed:\n{}",
        failures.len(),
        files.len(),
        failures.join("\n")
    );
}

fn run(file: &Path, default: Door) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let issuer = text.lines().find_map(|line| line.strip_prefix("oauth: "));
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let oauth = issuer.map(|issuer| {
        format!("[oauth]\nissuer = \"{issuer}\"\naudiences = [\"a\"]\nscopes = [\"mail\"]")
    });
    let server = if text.lines().any(|line| line == REQUIRED) {
        crate::tls::certificate(dir.path());
        TestServer::with_starttls_required(dir.path())
    } else if text.lines().any(|line| line == SENDING) {
        TestServer::sending(dir.path())
    } else {
        TestServer::on(dir.path(), &oauth.unwrap_or_default())
    };
    let mut talks: BTreeMap<char, Talk> = BTreeMap::new();
    let mut doors: BTreeMap<char, Door> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let fail = |what: String| format!("{}:{}: {what}\n    {line}", file.display(), number + 1);
        if line.is_empty()
            || line.starts_with('#')
            || line.starts_with("oauth: ")
            || line == REQUIRED
            || line == SENDING
        {
            continue;
        }
        let (name, line) = connection_name(line);
        if let Some(port) = line.strip_prefix("port: ") {
            doors.insert(name, door(port).ok_or_else(|| fail("no such port".into()))?);
            continue;
        }
        let door = doors
            .get(&name)
            .or(doors.get(&'A'))
            .copied()
            .unwrap_or(default);
        let talk = talks.entry(name).or_insert_with(|| Talk {
            stream: BufReader::new(server.connect(door)),
        });
        talk.step(line).map_err(fail)?;
    }
    Ok(())
}

fn connection_name(line: &str) -> (char, &str) {
    match line.as_bytes() {
        [name @ b'A'..=b'Z', b'.', b'C' | b'S' | b'p', ..] => (char::from(*name), &line[2..]),
        _ => ('A', line),
    }
}

fn door(name: &str) -> Option<Door> {
    match name.trim() {
        "smtp" => Some(Door::Smtp),
        "submission" => Some(Door::Submission),
        "imap" => Some(Door::Imap),
        "http" => Some(Door::Http),
        _ => None,
    }
}

impl Talk {
    fn step(&mut self, line: &str) -> Result<(), String> {
        let rest = line.get(3..).unwrap_or_default();
        match line.get(..2) {
            Some("C:") => self.send(format!("{rest}\r\n").as_bytes()),
            Some("C=") => self.send(&unescape(rest)?),
            Some("S:") => {
                let got = self.line()?.ok_or("the server closed")?;
                if matches(rest, &got) {
                    Ok(())
                } else {
                    Err(format!("got: {got}"))
                }
            }
            Some("S*") => loop {
                let got = self
                    .line()?
                    .ok_or("the server closed before a line matched")?;
                if matches(rest, &got) {
                    return Ok(());
                }
            },
            Some("S.") => match self.line()? {
                None => Ok(()),
                Some(got) => Err(format!("not closed, got: {got}")),
            },
            _ => Err("not a line of a dialog".into()),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .get_mut()
            .write_all(bytes)
            .map_err(|e| format!("sending: {e}"))
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(
                String::from_utf8_lossy(&line)
                    .trim_end_matches(['\r', '\n'])
                    .to_string(),
            )),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => Ok(None),
            Err(e) => Err(format!(
                "reading: {e}; so far: {}",
                String::from_utf8_lossy(&line)
            )),
        }
    }
}

fn matches(pattern: &str, line: &str) -> bool {
    let parts: Vec<&str> = pattern.split("{*}").collect();
    let Some((first, rest)) = parts.split_first() else {
        return false;
    };
    let Some((last, middle)) = rest.split_last() else {
        return pattern == line;
    };
    let Some(mut left) = line.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (kind, after) = rest.split_first().ok_or("a backslash at the end")?;
        rest = after;
        match kind {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'0' => bytes.push(0),
            b'\\' => bytes.push(b'\\'),
            b'x' => {
                let (digits, after) = rest.split_at_checked(2).ok_or("\\x needs two digits")?;
                let digits = std::str::from_utf8(digits).map_err(|e| e.to_string())?;
                bytes.push(u8::from_str_radix(digits, 16).map_err(|e| e.to_string())?);
                rest = after;
            }
            other => return Err(format!("unknown escape \\{}", char::from(*other))),
        }
    }
    Ok(bytes)
}

#[test]
fn patterns_match_as_told() {
    assert!(matches("250 {*}", "250 ok"));
    assert!(matches("250 {*} ({*})", "250 2.0.0 done (1-2-3)"));
    assert!(!matches("250 {*} (x)", "250 2.0.0 done (1-2-3)"));
    assert!(!matches("250", "250 ok"));
}
