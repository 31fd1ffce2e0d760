//! `ringmail salvage`: a directory whose index is gone or damaged, from the refused start to mail that flows again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::filled::{
    ACCOUNTS, ALL, FILLED, PASSWORD, Picture, assert_all_there, assert_checked, assert_killed,
    assert_refused, deliver, filled, flip_in_journal, on, picture, set_password, shard_of, shards,
    stop,
};
use crate::patience::found;
use crate::program::{Localserve, port_offset, ringmail};

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
    let new = || {
        let now = picture(&server, password);
        now.values().filter(|m| m.0.starts_with("new ")).count()
    };
    found(new, |new| *new >= 8 * ACCOUNTS.len());
    stop(server);
    assert_checked(dir.path());
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
