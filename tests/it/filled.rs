//! A `localserve` with mail of each kind, what a client sees there, and what is done to its directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use crate::crash;
use crate::patience::found;
use crate::program::{Localserve, Ran, command, port_offset, ringmail, ringmail_with_input};

pub const PASSWORD: &str = "ringmailringmail";
pub const ACCOUNTS: [&str; 4] = ["ringmail", "u1", "u2", "u3"];
pub const ALL: &[&str] = &["--accounts", "3"];

/// Account, mailbox, UIDVALIDITY, UID and flags; subject and number of lines of the message there.
pub type Picture = BTreeMap<(String, String, String, u32, String), (String, usize)>;

pub fn deliver(server: &Localserve, recipients: &[&str], subject: &str, lines: usize) {
    let body = "A line of a message.\r\n".repeat(lines);
    let message = format!("Subject: {subject}\r\n\r\n{body}");
    let reply = crash::deliver(server.connect(25), (recipients, "localhost"), &message);
    assert!(reply.unwrap().starts_with("250"), "{recipients:?}");
}

/// Runs commands, each with its own tag, and answers what was said to each.
pub fn imap(server: &Localserve, account: &str, password: &str, commands: &[&str]) -> Vec<String> {
    let mut talk = BufReader::new(server.connect(143));
    let login = format!("LOGIN {account}@localhost {password}");
    let all = [login.as_str()].into_iter().chain(commands.iter().copied());
    let mut said = Vec::new();
    for (number, command) in all.enumerate() {
        let tag = format!("t{number} ");
        talk.get_mut()
            .write_all(format!("{tag}{command}\r\n").as_bytes())
            .unwrap();
        said.push(answer(&mut talk, &tag));
    }
    assert!(said[0].contains("t0 OK"), "{account}: {}", said[0]);
    said.split_off(1)
}

pub fn answer(talk: &mut BufReader<TcpStream>, tag: &str) -> String {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        assert!(talk.read_line(&mut line).unwrap() > 0, "closed");
        let literal: Option<usize> = line
            .trim_end()
            .strip_suffix('}')
            .and_then(|l| l.rsplit_once('{')?.1.parse().ok());
        text += &line;
        if line.starts_with(tag) {
            return text;
        }
        if let Some(size) = literal {
            let mut octets = vec![0; size];
            talk.read_exact(&mut octets).unwrap();
            text += &String::from_utf8(octets).unwrap();
        }
    }
}

pub fn picture(server: &Localserve, password: impl Fn(&str) -> &'static str) -> Picture {
    let mut picture = Picture::new();
    for account in ACCOUNTS {
        let password = password(account);
        let list = imap(server, account, password, &["LIST \"\" *"]).remove(0);
        let mailboxes = list.lines().filter(|l| l.starts_with("* LIST"));
        for mailbox in mailboxes.map(|l| l.rsplit_once(' ').unwrap().1.trim_matches('"')) {
            let examine = format!("EXAMINE \"{mailbox}\"");
            let fetch = "UID FETCH 1:* (FLAGS BODY.PEEK[])";
            let said = imap(server, account, password, &[&examine, fetch]);
            let validity = between(&said[0], "[UIDVALIDITY ", "]");
            for message in said[1].split("\n* ").filter(|m| m.contains(" FETCH (")) {
                let flags = between(message, "FLAGS (", ")");
                // That one is of the session.
                let flags: Vec<&str> = flags.split(' ').filter(|f| *f != "\\Recent").collect();
                let key = (
                    account.to_string(),
                    mailbox.to_string(),
                    validity.clone(),
                    between(message, "UID ", " ").parse().unwrap(),
                    flags.join(" "),
                );
                let subject = between(message, "Subject: ", "\r\n");
                let lines = message.matches("A line of a message.\r\n").count();
                assert!(picture.insert(key, (subject, lines)).is_none());
            }
        }
    }
    picture
}

fn between(text: &str, start: &str, end: &str) -> String {
    let at = text
        .find(start)
        .unwrap_or_else(|| panic!("{start} in {text}"));
    let rest = &text[at + start.len()..];
    rest[..rest.find(end).unwrap()].to_string()
}

/// Mail for each account by each way.
fn fill(server: &Localserve) {
    for account in ACCOUNTS {
        for n in 0..3 {
            deliver(server, &[account], &format!("{account} {n}"), 3);
        }
        let message = format!("Subject: {account} by hand\r\n\r\nA line of a message.\r\n");
        let append = format!(
            "APPEND Work/Later (\\Seen blue) {{{}+}}\r\n{message}",
            message.len()
        );
        let said = imap(server, account, PASSWORD, &["CREATE Work/Later", &append]);
        assert!(said[1].contains("t2 OK"), "{}", said[1]);
    }
    // 2 MB: a file of its own.
    deliver(server, &["u1"], "large", 100_000);
    for n in 0..4 {
        deliver(server, &["u1", "u2", "u3"], &format!("to three {n}"), 2);
    }
    deliver(server, &["ringmail", "u2"], "large to two", 100_000);
}

/// What [`fill`] leaves: of its own, to three, to two.
pub const FILLED: usize = (4 * 4 + 1) + 3 * 4 + 2;

/// A server that was filled, with the password of u2 set, and what a client sees there.
pub fn filled(dir: &Path) -> (Localserve, Picture) {
    let server = Localserve::start(dir, ALL);
    fill(&server);
    // What is for several is answered for before all of them have it.
    let seen = found(
        || picture(&server, |_| PASSWORD),
        |seen| seen.len() >= FILLED,
    );
    assert_eq!(seen.len(), FILLED);
    let set = ["account", "password", "u2", "--dir", server.dir()];
    assert_eq!(ringmail_with_input(&set, "other-password\n").code, 0);
    (server, seen)
}

pub fn set_password(account: &str) -> &'static str {
    if account == "u2" {
        "other-password"
    } else {
        PASSWORD
    }
}

pub fn shards(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("data")).unwrap();
    let mut shards: Vec<PathBuf> = entries
        .map(|e| e.unwrap().path())
        .filter(|p| {
            p.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("shard-")
        })
        .collect();
    shards.sort();
    shards
}

/// The shard an account's mail is in.
pub fn shard_of(dir: &Path, account: &str) -> PathBuf {
    let all = shards(dir);
    all[usize::from(shards::shard_of(account.as_bytes(), all.len() as u16).0)].clone()
}

pub fn flip_in_journal(shard: &Path) {
    let entries = fs::read_dir(shard.join("rows")).unwrap();
    let path = entries
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "jnl"))
        .unwrap();
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[bytes[end / 2] ^ 0x20], end as u64 / 2)
        .unwrap();
}

pub fn on(dir: &Path, words: &[&str]) -> Ran {
    let mut command = command(words);
    command.arg(dir);
    command.output().unwrap().into()
}

pub fn assert_checked(dir: &Path) {
    let check = on(dir, &["check", "--dir"]);
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
}

pub fn assert_refused(dir: &Path) {
    let offset = port_offset().to_string();
    let (path, data) = (dir.to_str().unwrap(), dir.join("data"));
    let refused = ringmail(&["localserve", "--dir", path, "--port-offset", &offset]);
    assert_eq!(refused.code, 1, "{}", refused.out);
    let remedy = format!("ringmail salvage {}", data.display());
    assert!(refused.err.contains(&remedy), "{}", refused.err);
    let check = on(dir, &["check", "--dir"]);
    assert_eq!(check.code, 1, "{}", check.out);
    assert!(check.out.contains("`ringmail salvage`"), "{}", check.out);
}

pub fn stop(server: Localserve) {
    let stopped = on(&server.dir, &["stop", "--dir"]);
    assert_eq!(stopped.code, 0, "{}", stopped.err);
    assert_eq!(server.ended(), 0);
}

/// The server starts and shows the same mail; new mail comes in above it.
pub fn assert_all_there(dir: &Path, expected: &Picture, password: impl Fn(&str) -> &'static str) {
    assert_checked(dir);
    let server = Localserve::start(dir, ALL);
    assert_eq!(&picture(&server, &password), expected);
    for account in ACCOUNTS {
        deliver(&server, &[account], "after it", 1);
    }
    let now = picture(&server, &password);
    assert_eq!(now.len(), expected.len() + ACCOUNTS.len());
    assert!(
        expected
            .iter()
            .all(|(key, value)| now.get(key) == Some(value))
    );
    assert_checked(dir);
    stop(server);
    assert_checked(dir);
}

pub fn assert_killed(dir: &Path, words: &[&str], fault: &str) {
    let mut command = command(words);
    command.arg(dir).env("RINGMAIL_FAULTS", fault);
    let killed = command.output().unwrap();
    assert_eq!(killed.status.signal(), Some(9), "{fault}");
}
