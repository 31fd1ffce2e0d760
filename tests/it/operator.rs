//! The way of a new operator, from nothing to a running server, and the ways beside it.

use std::fs::{File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::folder::Folder;
use crate::program::{Localserve, Ran, command, port_offset, ringmail, ringmail_with_input};

/// The postmaster, a catchall and a member have no account yet.
const DOMAINS: &str = r#"
[postmaster]
account = "anna"
[domain."example.test"]
catchall = "bert"
[domain."example.test".aliases.all]
members = ["anna@example.test", "bert@example.test"]
"#;

#[track_caller]
fn done(ran: &Ran) -> &str {
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    &ran.out
}

#[track_caller]
fn refused(ran: &Ran, why: &str) {
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.err.contains(why), "{}", ran.err);
}

#[test]
fn the_first_accounts_are_added_one_by_one_then_the_server_starts() {
    let folder = Folder::new(DOMAINS, "");
    refused(
        &folder.run(&["config", "check"]),
        "ringmail account add NAME ADDRESS makes it",
    );
    refused(
        &folder.run(&["serve"]),
        "ringmail account add anna ADDRESS adds it",
    );
    // A list of what is there already, which is nothing, and what is missing.
    let list = folder.run(&["account", "list"]);
    assert_eq!(done(&list), "");
    assert!(list.err.contains("there is no account \"anna\""));

    let anna = folder.run(&["account", "add", "anna", "anna@example.test"]);
    assert!(done(&anna).contains("ringmail account password --config "));
    assert!(
        !anna.err.contains("account \"anna\"") && anna.err.contains("there is no account \"bert\""),
        "{}",
        anna.err
    );
    refused(
        &folder.run(&["account", "add", "ben", "ben@elsewhere.test"]),
        "is not ours",
    );
    let bert = folder.run(&["account", "add", "bert", "bert@example.test"]);
    assert_eq!((done(&bert).lines().count(), bert.err.as_str()), (1, ""));
    assert!(done(&folder.run(&["config", "check"])).contains("2 accounts"));

    // One too many is taken back; the postmaster is not.
    done(&folder.run(&["account", "add", "carl", "carl@example.test"]));
    assert_eq!(
        done(&folder.run(&["account", "remove", "carl"])),
        "Account carl is gone.\n"
    );
    refused(
        &folder.run(&["account", "remove", "anna"]),
        "account anna is the postmaster",
    );
    let list = folder.run(&["account", "list", "--json"]);
    let lines: Vec<serde_json::Value> = done(&list)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((lines.len(), lines[1]["name"].as_str()), (2, Some("bert")));

    before_the_first_start(&folder);
    let _serving = folder.serve();
    for name in ["anna", "bert"] {
        let words = folder.arguments(&["account", "password", name]);
        let set = ringmail_with_input(&words, "correct horse\n");
        assert_eq!(done(&set), format!("The password of {name} is set.\n"));
    }
    refused(
        &folder.run(&["serve"]),
        "already; see it: ringmail status --dir",
    );
    assert_eq!(
        done(&folder.run(&["queue", "list"])),
        "The queue is empty.\n"
    );
    assert_eq!(done(&folder.run(&["queue", "list", "--json"])), "");
    done(&folder.run(&["check"]));
    let check = folder.run(&["check", "--json"]);
    let last: serde_json::Value =
        serde_json::from_str(done(&check).lines().last().unwrap()).unwrap();
    assert_eq!(last["findings"], 0);
    done(&folder.run(&["reload"]));
    assert!(done(&folder.run(&["status"])).contains(&format!("127.0.0.1:{}", folder.port)));
    done(&folder.run(&["stop"]));
    refused(
        &folder.run(&["stop"]),
        "start it with: ringmail serve --config",
    );
}

/// Commands that need data make no directory, and say what does.
fn before_the_first_start(folder: &Folder) {
    for words in [
        &["queue", "list"][..],
        &["queue", "list", "--json"],
        &["check"],
        &["check", "--json"],
        &["account", "list", "--numbers"],
    ] {
        refused(
            &folder.run(words),
            "yet; the first start makes it: ringmail serve --config",
        );
    }
    for words in [
        &["stop"][..],
        &["reload"],
        &["status"],
        &["status", "--json"],
    ] {
        refused(&folder.run(words), "start it with: ringmail serve --config");
    }
    refused(
        &folder.run(&["account", "password", "dora", "--generate"]),
        "adds it",
    );
    assert!(!folder.at("data").exists());
    // Root's files would be in the way of the server's user; anybody else is that user.
    let made = folder.run(&["account", "password", "anna", "--generate"]);
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        refused(&made, "Start the server (ringmail serve --config");
        assert!(!folder.at("data").exists());
    } else {
        assert_eq!(done(&made).trim().len(), 20);
    }
}

#[test]
fn files_that_root_makes_belong_to_the_owner_of_their_folder() {
    let folder = Folder::new(DOMAINS, "");
    std::fs::create_dir(folder.at("accounts")).unwrap();
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if root {
        chown(folder.at("accounts"), Some(7), Some(8)).unwrap();
    }
    done(&folder.run(&["account", "add", "anna", "anna@example.test"]));
    let owner = |name: &str| {
        let metadata = std::fs::metadata(folder.at(name)).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o777)
    };
    let (uid, gid, mode) = owner("accounts");
    assert!(mode & 0o700 == 0o700);
    assert_eq!(owner("accounts/anna.toml"), (uid, gid, 0o640));
    assert_eq!(uid == 7, root);
}

#[test]
fn a_running_server_answers_whatever_became_of_its_files() {
    let folder = Folder::new(DOMAINS, "");
    done(&folder.run(&["account", "add", "anna", "anna@example.test"]));
    done(&folder.run(&["account", "add", "bert", "bert@example.test"]));
    let serving = folder.serve();
    std::fs::write(folder.at("domains.toml"), "nonsense = 1\n").unwrap();
    done(&folder.run(&["status"]));
    done(&folder.run(&["account", "add", "carl", "carl@example.test"]));
    refused(&folder.run(&["reload"]), "domains.toml:1:1: unknown field");

    // Neither "it runs" nor "it does not" is true while nothing answers.
    std::fs::rename(folder.at("data/ctl"), folder.at("moved")).unwrap();
    let data = folder.at("data");
    let data = data.to_str().unwrap();
    let run = |words: &[&str]| {
        let child = match words {
            ["salvage"] => command(&["salvage", data]),
            words => command(&folder.arguments(words)),
        }
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
        child.unwrap()
    };
    // Together, for each waits some seconds.
    let all = ["status", "stop", "reload", "check", "salvage"].map(|word| run(&[word]));
    for child in all {
        let ran = child.wait_with_output().unwrap().into();
        refused(&ran, "and does not answer on");
        assert!(ran.err.contains("data/lock names the process"));
    }
    // A server that starts opens its socket last: the command waits for that.
    let status = run(&["status"]);
    std::thread::sleep(Duration::from_millis(2500));
    std::fs::rename(folder.at("moved"), folder.at("data/ctl")).unwrap();
    done(&status.wait_with_output().unwrap().into());
    done(&folder.run(&["stop"]));
    drop(serving);

    // A socket that a crash left is nobody's.
    drop(UnixListener::bind(folder.at("data/ctl")).unwrap());
    refused(
        &folder.run(&["status"]),
        "start it with: ringmail serve --config",
    );
    refused(
        &folder.run(&["queue", "list"]),
        "domains.toml:1:1: unknown field",
    );
    done(&folder.run(&["check"]));
}

#[test]
fn what_keeps_a_server_from_starting_is_said_with_the_way_out() {
    let folder = Folder::new(DOMAINS, "");
    std::fs::write(
        folder.at("domains.toml"),
        "[postmaster]\naccount = \"anna\"\n[domain.\"example.test\"]\n",
    )
    .unwrap();
    done(&folder.run(&["account", "add", "anna", "anna@example.test"]));
    std::fs::create_dir_all(folder.at("data/ctl")).unwrap();
    let ran = folder.run(&["serve"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("what lies there must go"), "{}", ran.err);
    std::fs::remove_dir(folder.at("data/ctl")).unwrap();

    // Not its kind of directory: localserve would make files of its own in it.
    let data = folder.at("data");
    let offset = port_offset().to_string();
    let words = [
        "localserve",
        "--dir",
        data.to_str().unwrap(),
        "--port-offset",
        &offset,
    ];
    refused(&ringmail(&words), "give localserve a directory of its own");
    assert!(!folder.at("data/localhost.crt").exists());

    // What this machine does not have is said with its place, by both.
    let text = std::fs::read_to_string(&folder.config).unwrap()
        + "tls = { certificates = [{ cert = \"none.pem\", key = \"none.key\" }] }\n";
    std::fs::write(&folder.config, &text).unwrap();
    for words in [&["config", "check"][..], &["serve"]] {
        let ran = folder.run(words);
        let line = text.lines().count();
        refused(&ran, &format!("ringmail.toml:{line}:"));
        refused(&ran, "none.pem: No such file or directory");
        refused(&ran, "the server does not start without it");
    }
    let text = text.replace("[storage]", "[cores]\nhttp = 8000\n[storage]");
    std::fs::write(&folder.config, text).unwrap();
    refused(
        &folder.run(&["serve"]),
        "there is no CPU 8000: this machine has",
    );
}

#[test]
fn a_second_localserve_is_told_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let again = ringmail(&["localserve", "--dir", server.dir()]);
    refused(&again, "already; see it: ringmail status --dir");
}

#[test]
fn the_data_of_localserve_leads_to_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    for words in [&["check"][..], &["queue", "list"], &["account", "list"]] {
        done(&ringmail(&[words, &["--dir", data]].concat()));
    }
    let relative = command(&["status", "--dir", "."])
        .current_dir(data)
        .output();
    done(&relative.unwrap().into());
    refused(
        &ringmail(&["salvage", data]),
        "stop it first: ringmail stop",
    );
    done(&ringmail(&["stop", "--dir", data]));
    drop(server);
    done(&ringmail(&["account", "list", "--dir", data]));
    refused(
        &ringmail(&["stop", "--dir", data]),
        "start it with: ringmail localserve --dir",
    );
}

/// The program as a user whom nothing belongs to; root becomes nobody.
fn as_stranger(words: &[&str]) -> Ran {
    // Through its descriptor: the way to the program may not be open to all.
    let program = File::open(env!("CARGO_BIN_EXE_ringmail")).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(65534);
    }
    command.args(words).output().unwrap().into()
}

#[test]
fn who_may_not_look_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let close = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    close(dir.path(), 0o755);
    let path = dir.path().to_str().unwrap();
    let none = dir.path().join("none");
    refused(
        &as_stranger(&["check", "--dir", none.to_str().unwrap()]),
        "there is no directory ",
    );
    let server = Localserve::start(dir.path(), &[]);
    let data = dir.path().join("data");
    let told = |words: &[&str], denied: &Path| {
        let ran = as_stranger(words);
        refused(
            &ran,
            &format!(
                "{}: permission denied. It belongs to user",
                denied.display()
            ),
        );
    };
    told(&["status", "--dir", path], &data);
    close(&data, 0o755);
    told(&["status", "--dir", path], &dir.path().join("ctl"));
    done(&ringmail(&["stop", "--dir", path]));
    drop(server);
    // The home of who has none.
    close(dir.path(), 0o555);
    let home = as_stranger(&["localserve", "--dir", none.join("deep").to_str().unwrap()]);
    refused(
        &home,
        "cannot be made: permission denied; name another with --dir DIR",
    );
    close(dir.path(), 0o755);
    for word in ["check", "stop"] {
        // The mail, the directory around it, one file of the mail.
        close(&data, 0);
        told(&[word, "--dir", path], &data);
        close(dir.path(), 0);
        told(&[word, "--dir", path], dir.path());
        told(&[word, "--dir", data.to_str().unwrap()], dir.path());
        close(dir.path(), 0o755);
        close(&data, 0o755);
        close(&data.join("lock"), 0);
        told(&[word, "--dir", path], &data.join("lock"));
    }
    close(&data, 0);
    told(&["salvage", path], &data);
    close(&data, 0o755);
}
