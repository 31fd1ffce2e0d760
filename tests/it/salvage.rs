//! `ringmail salvage`: a directory whose index is gone or damaged, from the refused start to mail that flows again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::crash::{self, Running, start};
use crate::program::{Localserve, Ran, command, port_offset, ringmail, ringmail_with_input};

const PASSWORD: &str = "ringmailringmail";
const ACCOUNTS: [&str; 4] = ["ringmail", "u1", "u2", "u3"];
const ALL: &[&str] = &["--accounts", "3"];

/// Account, mailbox, UIDVALIDITY, UID and flags; subject and number of lines of the message there.
type Picture = BTreeMap<(String, String, String, u32, String), (String, usize)>;

fn speak(talk: &mut BufReader<TcpStream>, send: &str) -> String {
    talk.get_mut().write_all(send.as_bytes()).unwrap();
    loop {
        let mut line = String::new();
        assert!(talk.read_line(&mut line).unwrap() > 0, "closed");
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

fn deliver(server: &Localserve, recipients: &[&str], subject: &str, lines: usize) {
    let mut talk = BufReader::new(server.connect(25));
    speak(&mut talk, "");
    speak(&mut talk, "EHLO client.example\r\n");
    speak(&mut talk, "MAIL FROM:<sender@example.org>\r\n");
    for name in recipients {
        let reply = speak(&mut talk, &format!("RCPT TO:<{name}@localhost>\r\n"));
        assert!(reply.starts_with("250"), "{reply}");
    }
    speak(&mut talk, "DATA\r\n");
    let body = "A line of a message.\r\n".repeat(lines);
    let reply = speak(&mut talk, &format!("Subject: {subject}\r\n\r\n{body}.\r\n"));
    assert!(reply.starts_with("250"), "{reply}");
}

/// Runs commands, each with its own tag, and answers what was said to each.
fn imap(server: &Localserve, account: &str, password: &str, commands: &[&str]) -> Vec<String> {
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

fn answer(talk: &mut BufReader<TcpStream>, tag: &str) -> String {
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

fn picture(server: &Localserve, password: impl Fn(&str) -> &'static str) -> Picture {
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
const FILLED: usize = (4 * 4 + 1) + 3 * 4 + 2;

/// A server that was filled, with the password of u2 set, and what a client sees there.
fn filled(dir: &Path) -> (Localserve, Picture) {
    let server = Localserve::start(dir, ALL);
    fill(&server);
    let mut seen = picture(&server, |_| PASSWORD);
    let end = Instant::now() + Duration::from_secs(60);
    // What is for several is answered for before all of them have it.
    while seen.len() < FILLED {
        assert!(Instant::now() < end, "{seen:?}");
        std::thread::sleep(Duration::from_millis(20));
        seen = picture(&server, |_| PASSWORD);
    }
    assert_eq!(seen.len(), FILLED);
    let set = ["account", "password", "u2", "--dir", server.dir()];
    assert_eq!(ringmail_with_input(&set, "other-password\n").code, 0);
    (server, seen)
}

fn set_password(account: &str) -> &'static str {
    if account == "u2" {
        "other-password"
    } else {
        PASSWORD
    }
}

fn shards(dir: &Path) -> Vec<PathBuf> {
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
fn shard_of(dir: &Path, account: &str) -> PathBuf {
    let all = shards(dir);
    all[usize::from(shards::shard_of(account.as_bytes(), all.len() as u16).0)].clone()
}

fn flip_in_journal(shard: &Path) {
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

fn on(dir: &Path, words: &[&str]) -> Ran {
    let mut command = command(words);
    command.arg(dir);
    command.output().unwrap().into()
}

fn assert_checked(dir: &Path) {
    let check = on(dir, &["check", "--dir"]);
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
}

fn assert_refused(dir: &Path) {
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

fn stop(server: Localserve) {
    assert_eq!(on(&server.dir, &["stop", "--dir"]).code, 0);
    assert_eq!(server.ended(), 0);
}

/// The server starts and shows the same mail; new mail comes in above it.
fn assert_all_there(dir: &Path, expected: &Picture, password: impl Fn(&str) -> &'static str) {
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

#[test]
fn a_lost_index_comes_back_from_the_bodies_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (server, seen) = filled(dir.path());
    drop(server);
    for shard in shards(dir.path()) {
        fs::remove_dir_all(shard.join("rows")).unwrap();
    }
    assert_refused(dir.path());
    // By the name that the refusal gave.
    let salvaged = on(&dir.path().join("data"), &["salvage"]);
    assert_eq!(salvaged.code, 0, "{}{}", salvaged.out, salvaged.err);
    assert!(
        salvaged.out.contains(&format!("{FILLED} messages")),
        "{}",
        salvaged.out
    );
    for account in ACCOUNTS {
        let password = format!("ringmail account password {account} --dir");
        assert!(salvaged.out.contains(&password), "{}", salvaged.out);
    }
    // localserve gives its own password to whoever has none.
    assert_all_there(dir.path(), &seen, |_| PASSWORD);
}

#[test]
fn a_flipped_bit_costs_nothing_but_the_index_of_its_shard() {
    let dir = tempfile::tempdir().unwrap();
    let (server, seen) = filled(dir.path());
    stop(server);
    let shard = shard_of(dir.path(), "u1");
    flip_in_journal(&shard);
    assert_refused(dir.path());
    let salvaged = on(dir.path(), &["salvage"]);
    assert_eq!(salvaged.code, 0, "{}{}", salvaged.out, salvaged.err);
    assert!(
        salvaged.out.contains("Rebuilt 1 shard:"),
        "{}",
        salvaged.out
    );
    for other in shards(dir.path()) {
        let aside = other.join("rows.damaged.1");
        assert_eq!(aside.exists(), other == shard);
        assert_eq!(
            salvaged.out.contains(aside.to_str().unwrap()),
            other == shard
        );
    }
    // Where the old index could not tell it, the password is localserve's again.
    let lost = salvaged.out.contains("account password u2");
    let password = move |account: &str| {
        if lost {
            PASSWORD
        } else {
            set_password(account)
        }
    };
    assert_all_there(dir.path(), &seen, password);
}

#[test]
fn a_sound_directory_is_left_alone_unless_all_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (server, seen) = filled(dir.path());
    for named in [dir.path(), &dir.path().join("data")] {
        let refused = on(named, &["salvage"]);
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("stop it first"), "{}", refused.err);
    }
    stop(server);
    let files = tree(dir.path());
    let salvaged = on(dir.path(), &["salvage"]);
    assert_eq!(salvaged.code, 0, "{}", salvaged.err);
    assert!(
        salvaged
            .out
            .starts_with("No index is damaged; nothing was changed."),
        "{}",
        salvaged.out
    );
    assert!(tree(dir.path()) == files, "nothing was changed");
    let salvaged = on(dir.path(), &["salvage", "--all"]);
    assert_eq!(salvaged.code, 0, "{}{}", salvaged.out, salvaged.err);
    let rebuilt = format!("Rebuilt {} shards: 4 accounts", shards(dir.path()).len());
    assert!(salvaged.out.contains(&rebuilt), "{}", salvaged.out);
    assert!(!salvaged.out.contains("password"), "{}", salvaged.out);
    assert_all_there(dir.path(), &seen, set_password);
}

#[test]
fn a_format_file_that_is_lost_or_damaged_is_made_anew_from_its_copies() {
    let dir = tempfile::tempdir().unwrap();
    let (server, seen) = filled(dir.path());
    stop(server);
    let (data, format) = (dir.path().join("data"), dir.path().join("data/format"));
    for by in [dir.path(), &data] {
        fs::remove_file(&format).unwrap();
        let offset = port_offset().to_string();
        let path = dir.path().to_str().unwrap();
        let refused = ringmail(&["localserve", "--dir", path, "--port-offset", &offset]);
        let remedy = format!("ringmail salvage {}", data.display());
        assert!(refused.err.contains(&remedy), "{}", refused.err);
        let check = on(by, &["check", "--dir"]);
        assert_eq!(check.code, 1, "{}", check.out);
        assert!(check.err.contains(&remedy), "{}", check.err);
        // At each point of it.
        for point in ["open.format=kill", "open.epoch=kill"] {
            let _ = fs::remove_file(&format);
            assert_killed(by, &["salvage"], point);
        }
        let _ = fs::write(&format, "damaged");
        let salvaged = on(by, &["salvage"]);
        assert_eq!(salvaged.code, 0, "{}{}", salvaged.out, salvaged.err);
        assert!(
            salvaged.out.starts_with("The format file is made anew"),
            "{}",
            salvaged.out
        );
        assert_checked(by);
    }
    assert_all_there(dir.path(), &seen, set_password);
}

#[test]
fn a_missing_shard_is_named_and_made_anew_only_when_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (server, seen) = filled(dir.path());
    stop(server);
    let (shard, data) = (shard_of(dir.path(), "u1"), dir.path().join("data"));
    let away = dir.path().join("away");
    fs::rename(&shard, &away).unwrap();
    let remedy = format!("ringmail salvage --make-missing {}", data.display());
    for mounted in [false, true] {
        if mounted {
            fs::create_dir(&shard).unwrap();
        }
        let check = on(dir.path(), &["check", "--dir"]);
        assert_eq!(check.code, 1, "{}", check.out);
        assert!(check.out.contains(&remedy), "{}", check.out);
        for words in [&["salvage"][..], &["salvage", "--all"]] {
            let salvaged = on(dir.path(), words);
            assert_eq!(salvaged.code, 1, "{}", salvaged.out);
            assert!(
                salvaged.err.contains(shard.to_str().unwrap()) && salvaged.err.contains(&remedy),
                "{}",
                salvaged.err
            );
        }
    }
    // It was not mounted.
    fs::remove_dir(&shard).unwrap();
    fs::rename(&away, &shard).unwrap();
    assert_checked(dir.path());
    fs::remove_dir_all(&shard).unwrap();
    for point in ["salvage.built=kill", "salvage.placed=kill"] {
        assert_killed(dir.path(), &["salvage", "--make-missing"], point);
    }
    // The index is there, so the shard is; the start sees to the rest.
    stop(Localserve::start(dir.path(), ALL));
    assert_checked(dir.path());
    fs::remove_dir_all(&shard).unwrap();
    let salvaged = on(dir.path(), &["salvage", "--make-missing"]);
    assert_eq!(salvaged.code, 0, "{}{}", salvaged.out, salvaged.err);
    let name = shard.file_name().unwrap().to_str().unwrap();
    assert!(
        salvaged.out.starts_with(&format!("{name}: was missing")),
        "{}",
        salvaged.out
    );
    assert_checked(dir.path());
    let server = Localserve::start(dir.path(), ALL);
    let lives = |account: &str| shard_of(dir.path(), account) != shard;
    let password = |account: &str| {
        if lives(account) {
            set_password(account)
        } else {
            PASSWORD
        }
    };
    let of_others = |mut all: Picture| {
        all.retain(|key, _| lives(&key.0));
        all
    };
    // Entries that were not at their end come to the emptied accounts once more.
    let now = picture(&server, password);
    assert_eq!(of_others(now), of_others(seen));
    // A new entry is none that was delivered before.
    for n in 0..8 {
        deliver(&server, &ACCOUNTS, &format!("new {n}"), 1);
    }
    let end = Instant::now() + Duration::from_secs(60);
    let new = || {
        let now = picture(&server, password);
        now.values().filter(|m| m.0.starts_with("new ")).count()
    };
    while new() < 8 * ACCOUNTS.len() {
        assert!(Instant::now() < end, "{}", new());
        std::thread::sleep(Duration::from_millis(20));
    }
    stop(server);
    assert_checked(dir.path());
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|e| e.unwrap().path()).collect()
}

/// Flips a bit in the middle of each place where the text stands.
fn flip_in(path: &Path, text: &str) {
    let mut bytes = fs::read(path).unwrap();
    let needle = text.as_bytes();
    let found = bytes.windows(needle.len()).enumerate();
    let places: Vec<usize> = found
        .filter(|(_, w)| *w == needle)
        .map(|(at, _)| at)
        .collect();
    for at in places {
        bytes[at + needle.len() / 2] ^= 1;
    }
    fs::write(path, bytes).unwrap();
}

type Spoil = (&'static str, fn(&Path));

#[test]
fn a_damaged_body_is_named_with_its_message_and_goes_with_it() {
    let spoils: [Spoil; 4] = [
        ("alone", |shard| {
            for file in files(&shard.join("segments")) {
                flip_in(&file, "Subject: alone");
            }
        }),
        ("large", |shard| {
            for file in files(&shard.join("large")) {
                flip_in(&file, "A line of a message.\r\n");
            }
        }),
        ("large", |shard| {
            fs::remove_dir_all(shard.join("large")).unwrap()
        }),
        ("alone", |shard| {
            for file in files(&shard.join("segments")) {
                fs::remove_file(file).unwrap();
            }
        }),
    ];
    for (subject, spoil) in spoils {
        let dir = tempfile::tempdir().unwrap();
        let server = Localserve::start(dir.path(), ALL);
        let lines = if subject == "large" { 100_000 } else { 1 };
        deliver(&server, &["u1"], subject, lines);
        // One body, two messages.
        let copied = imap(
            &server,
            "u1",
            PASSWORD,
            &["CREATE Work", "SELECT INBOX", "COPY 1 Work"],
        );
        assert!(copied[2].contains("OK"), "{copied:?}");
        stop(server);
        spoil(&shard_of(dir.path(), "u1"));
        let check = on(dir.path(), &["check", "--dir"]);
        assert_eq!(check.code, 1, "{}", check.out);
        let names = |text: &str| {
            ["INBOX", "Work"].into_iter().all(|mailbox| {
                text.contains(&format!(
                    "message with UID 1 of mailbox {mailbox} of account u1: its body"
                ))
            }) && text.contains("delete and expunge the message")
        };
        assert!(names(&check.out), "{}", check.out);
        // A new index would know no more of it.
        let salvaged = on(dir.path(), &["salvage"]);
        let said = (salvaged.code, salvaged.out.as_str());
        assert_eq!(said, (1, "No index is damaged; nothing was changed.\n"));
        let way_out = format!(
            "no new index can mend, such as damaged bodies; ringmail check --dir {} names",
            dir.path().display()
        );
        assert!(salvaged.err.contains(&way_out), "{}", salvaged.err);
        let server = Localserve::start(dir.path(), ALL);
        let check = on(dir.path(), &["check", "--dir"]);
        assert!(check.code == 1 && names(&check.out), "{}", check.out);
        for mailbox in ["INBOX", "Work"] {
            let select = format!("SELECT {mailbox}");
            let commands = [
                select.as_str(),
                "STORE 1 +FLAGS.SILENT (\\Deleted)",
                "EXPUNGE",
            ];
            let said = imap(&server, "u1", PASSWORD, &commands);
            assert!(said[2].contains("t3 OK"), "{said:?}");
        }
        let end = Instant::now() + Duration::from_secs(60);
        while on(dir.path(), &["check", "--dir"]).code != 0 {
            assert!(
                Instant::now() < end,
                "{}",
                on(dir.path(), &["check", "--dir"]).out
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        stop(server);
        assert_checked(dir.path());
        // Also after compaction had a go at what is left.
        stop(Localserve::start(dir.path(), ALL));
        assert_checked(dir.path());
    }
}

/// All files and what is in them.
fn tree(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.append(&mut tree(&path));
        } else {
            let content = fs::read(&path).unwrap();
            all.insert(path, content);
        }
    }
    all
}

/// Every point a salvage passes. docs/STORAGE.md says what each leaves behind.
const POINTS: [&str; 7] = [
    "salvage.row=kill@1",
    "salvage.row=kill@9",
    "salvage.built=kill",
    "salvage.unnamed=kill",
    "salvage.aside=kill",
    "salvage.placed=kill",
    "salvage.kept=kill",
];

fn assert_killed(dir: &Path, words: &[&str], fault: &str) {
    let mut command = command(words);
    command.arg(dir).env("RINGMAIL_FAULTS", fault);
    let killed = command.output().unwrap();
    assert_eq!(killed.status.signal(), Some(9), "{fault}");
}

#[test]
fn a_salvage_that_is_killed_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let (server, seen) = filled(dir.path());
    stop(server);
    let shard = shard_of(dir.path(), "u1");
    let count = |name: &str| fs::read_dir(shard.join(name)).map_or(0, Iterator::count);
    let (large, indexes) = (count("large"), count(""));
    for (number, point) in POINTS.iter().enumerate() {
        // Content that no record tells of: put aside, not deleted.
        fs::write(
            shard.join(format!("large/{:x}.large", 0xffff_ff00 + number)),
            "x",
        )
        .unwrap();
        assert_killed(dir.path(), &["salvage", "--all"], point);
        // Once more at the same place, and then to its end.
        assert_killed(dir.path(), &["salvage", "--all"], point);
        let salvaged = on(dir.path(), &["salvage", "--all"]);
        assert_eq!(
            salvaged.code, 0,
            "{point}: {}{}",
            salvaged.out, salvaged.err
        );
        assert!(
            salvaged.out.contains(&format!("{FILLED} messages")),
            "{}",
            salvaged.out
        );
        assert!(
            !salvaged.out.contains("password"),
            "{point}: no old index told it"
        );
        assert_eq!(
            (count("large"), count("large.unnamed")),
            (large, number + 1)
        );
        for name in ["rows.old", "rows.new"] {
            assert!(!shard.join(name).exists(), "{point}: {name}");
        }
        assert!(
            count("") > indexes + number,
            "{point}: the old index is kept"
        );
        assert_checked(dir.path());
    }
    assert_all_there(dir.path(), &seen, set_password);
}

#[test]
fn a_salvage_of_damage_that_is_killed_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let (server, seen) = filled(dir.path());
    drop(server);
    for point in POINTS {
        let shard = shard_of(dir.path(), "u1");
        flip_in_journal(&shard);
        assert_killed(dir.path(), &["salvage"], point);
        let salvaged = on(dir.path(), &["salvage"]);
        assert_eq!(
            salvaged.code, 0,
            "{point}: {}{}",
            salvaged.out, salvaged.err
        );
        for name in ["rows.old", "rows.new"] {
            assert!(!shard.join(name).exists(), "{point}: {name}");
        }
        let server = Localserve::start(dir.path(), ALL);
        let known = |account: &str| {
            // Which of the two is not what this test is about.
            let login = format!("t0 LOGIN {account}@localhost other-password\r\n");
            let mut talk = BufReader::new(server.connect(143));
            talk.get_mut().write_all(login.as_bytes()).unwrap();
            if answer(&mut talk, "t0 ").contains("t0 OK") {
                "other-password"
            } else {
                PASSWORD
            }
        };
        assert_eq!(picture(&server, known), seen, "{point}");
        stop(server);
    }
    assert_checked(dir.path());
}

/// How often each account has a message, with every message that was accepted for several of them.
fn tokens(imap: SocketAddr) -> Vec<(&'static str, usize)> {
    let of = |name| {
        let mut talk = TcpStream::connect(imap).unwrap();
        let commands = format!(
            "a LOGIN {name}@example.test {name}-password\r\nb EXAMINE INBOX\r\n\
             c FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\nd LOGOUT\r\n"
        );
        talk.write_all(commands.as_bytes()).unwrap();
        let mut text = String::new();
        talk.read_to_string(&mut text).unwrap();
        assert!(text.contains("b OK"), "{text}");
        (name, text.matches("Subject: to three").count())
    };
    ["anna", "bert", "dora"].map(of).to_vec()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy_tree(&entry.path(), &target),
            kind if kind.is_file() => drop(fs::copy(entry.path(), target).unwrap()),
            _ => (),
        }
    }
}

#[test]
fn a_message_for_several_comes_to_each_once_wherever_its_delivery_stopped() {
    for point in [
        "fanout.committed=kill",
        "fanout.delivered=kill@1",
        "fanout.delivered=kill@2",
        "fanout.removed=kill",
    ] {
        let dir = tempfile::tempdir().unwrap();
        start(dir.path(), "").unwrap().kill();
        let server = start(dir.path(), point).unwrap();
        // The answer may be lost with the server, and the entry must be durable then.
        let _ = deliver_to_three(server.smtp);
        let Running { mut child, .. } = server;
        assert_eq!(child.wait().unwrap().signal(), Some(9), "{point}");
        // Each shard alone, and all of them: owners of accounts, the entry's own.
        for lost in [&[0][..], &[1], &[2], &[3], &[0, 1, 2, 3]] {
            let copy = tempfile::tempdir().unwrap();
            copy_tree(dir.path(), copy.path());
            let data = copy.path().join("data");
            for shard in lost {
                fs::remove_dir_all(data.join(format!("shard-{shard:03}/rows"))).unwrap();
            }
            let salvaged = on(&data, &["salvage"]);
            assert_eq!(salvaged.code, 0, "{}{}", salvaged.out, salvaged.err);
            assert!(
                point != "fanout.removed=kill" || salvaged.out.contains(" 0 entries of queue"),
                "{point} {lost:?}: {}",
                salvaged.out
            );
            let server = start(copy.path(), "").unwrap();
            let once = ["anna", "bert", "dora"].map(|name| (name, 1)).to_vec();
            let end = Instant::now() + Duration::from_secs(60);
            while tokens(server.imap) != once {
                assert!(
                    Instant::now() < end,
                    "{point} {lost:?}: {:?}",
                    tokens(server.imap)
                );
                std::thread::sleep(Duration::from_millis(20));
            }
            // A second copy would come at once.
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(tokens(server.imap), once, "{point} {lost:?}");
            server.kill();
            assert_checked(&data);
        }
    }
}

fn deliver_to_three(smtp: SocketAddr) -> std::io::Result<String> {
    let mut talk = BufReader::new(TcpStream::connect(smtp)?);
    crash::reply(&mut talk)?;
    let say = |talk: &mut _, text: &str| crash::command(talk, &format!("{text}\r\n"));
    say(&mut talk, "EHLO client.example")?;
    say(&mut talk, "MAIL FROM:<a@example.org>")?;
    for name in ["anna", "bert", "dora"] {
        say(&mut talk, &format!("RCPT TO:<{name}@example.test>"))?;
    }
    say(&mut talk, "DATA")?;
    say(&mut talk, "Subject: to three\r\n\r\nhello\r\n.")
}
