//! `ringmail check`: what it says of things that are worth to know and not wrong, and of damaged bodies.

use std::fs;
use std::path::{Path, PathBuf};

use crate::crash;
use crate::filled::{self, ALL, PASSWORD, assert_checked, imap, on, shard_of, stop};
use crate::patience::patiently;
use crate::program::{Localserve, Ran, ringmail};

fn deliver(server: &Localserve, recipients: &[&str]) -> std::io::Result<String> {
    let message = "Subject: x\r\n\r\nhello\r\n";
    crash::deliver(server.connect(25), (recipients, "localhost"), message)
}

fn check(server_or_data: &str, more: &[&str]) -> Ran {
    let check = ringmail(&[&["check", "--dir", server_or_data], more].concat());
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
    check
}

#[test]
fn rows_of_deliveries_whose_entry_is_gone_are_named_and_removed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let server = Localserve::with_faults(dir.path(), &["--accounts", "3"], "fanout.removed=kill");
    // The answer may be lost.
    let _ = deliver(&server, &["u1", "u2", "u3"]);
    assert_eq!(server.ended(), -1, "killed");
    let stopped = check(path, &[]);
    let note = "note: 3 rows say that a message for several accounts was delivered";
    assert!(stopped.out.contains(note), "{}", stopped.out);
    assert!(stopped.out.contains("nothing is wrong"), "{}", stopped.out);
    let server = Localserve::start(dir.path(), &["--accounts", "3"]);
    patiently(
        || !check(path, &[]).out.contains("note: "),
        || check(path, &[]).out,
    );
    // Others are told of as long as they are of use.
    assert!(deliver(&server, &["u1", "u2"]).unwrap().starts_with("250"));
    drop(server);
    // Also by the data alone.
    let data = dir.path().join("data");
    for named in [path, data.to_str().unwrap()] {
        assert!(!check(named, &[]).out.contains("note: 3"), "{named}");
    }
}

#[test]
fn mail_of_names_that_are_not_configured_is_a_note() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &["--accounts", "2"]);
    let path = server.dir.to_str().unwrap();
    let run = |words: &[&str]| {
        let ran = ringmail(&[words, &["--dir", path]].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
    };
    run(&["account", "add", "anna", "anna@localhost"]);
    assert!(deliver(&server, &["anna"]).unwrap().starts_with("250"));
    assert!(!check(path, &[]).out.contains("note: "));
    fs::remove_file(dir.path().join("accounts/anna.toml")).unwrap();
    run(&["reload"]);
    let told = |checked: &Ran| {
        let note = "note: mail of anna is stored, but no account of that name is configured";
        assert!(checked.out.contains(note), "{}", checked.out);
        let remedy = "ringmail account remove anna";
        assert!(checked.out.contains(remedy), "{}", checked.out);
        assert!(checked.out.contains("nothing is wrong"), "{}", checked.out);
    };
    told(&check(path, &[]));
    let json = check(path, &["--json"]);
    assert!(json.out.contains("\"note\":\"mail of anna"), "{}", json.out);
    run(&["stop"]);
    told(&check(path, &[]));
    let data = dir.path().join("data");
    told(&check(data.to_str().unwrap(), &[]));
    // Elsewhere nothing says which accounts are configured.
    let alone = dir.path().join("alone");
    fs::rename(&data, &alone).unwrap();
    let checked = check(alone.to_str().unwrap(), &[]);
    assert!(!checked.out.contains("note: "), "{}", checked.out);
    fs::rename(&alone, &data).unwrap();
    run(&["account", "remove", "anna"]);
    assert!(!check(path, &[]).out.contains("anna"));
}

#[test]
fn a_directory_of_a_version_without_copies_of_the_format_file_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let run = || {
        let server = Localserve::start(dir.path(), &[]);
        assert!(deliver(&server, &["ringmail"]).unwrap().starts_with("250"));
        assert_eq!(ringmail(&["stop", "--dir", path]).code, 0);
    };
    run();
    for entry in fs::read_dir(dir.path().join("data")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("shard-") {
            fs::remove_file(entry.path().join("format")).unwrap();
        }
    }
    let old = check(path, &[]);
    let note = "note: shard-000: copy of the format file: missing; the next start";
    assert!(old.out.contains(note), "{}", old.out);
    assert!(old.out.contains("nothing is wrong"), "{}", old.out);
    run();
    assert!(!check(path, &[]).out.contains("note: "));
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
        filled::deliver(&server, &["u1"], subject, lines);
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
        let check = || on(dir.path(), &["check", "--dir"]);
        patiently(|| check().code == 0, || check().out);
        stop(server);
        assert_checked(dir.path());
        // Also after compaction had a go at what is left.
        stop(Localserve::start(dir.path(), ALL));
        assert_checked(dir.path());
    }
}
