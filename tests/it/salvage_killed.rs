//! `ringmail salvage` killed at each of its points and done again, and fan-out that was cut off before it.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use crate::crash::{self, Running, start};
use crate::filled::{
    ALL, FILLED, PASSWORD, answer, assert_all_there, assert_checked, assert_killed, filled,
    flip_in_journal, on, picture, set_password, shard_of, stop,
};
use crate::patience::patiently;
use crate::program::Localserve;

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
        let to = (&["anna", "bert", "dora"][..], "example.test");
        let message = "Subject: to three\r\n\r\nhello\r\n";
        let stream = TcpStream::connect(server.smtp).unwrap();
        let _ = crash::deliver(stream, to, message);
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
            patiently(
                || tokens(server.imap) == once,
                || format!("{point} {lost:?}: {:?}", tokens(server.imap)),
            );
            // A second copy would come at once.
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(tokens(server.imap), once, "{point} {lost:?}");
            server.kill();
            assert_checked(&data);
        }
    }
}
