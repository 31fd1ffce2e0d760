//! Commands and the control socket, from outside.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::patience::PATIENCE;
use crate::program::{Localserve, command, port_offset, ringmail, ringmail_with_input};

#[test]
fn help_and_mistakes_on_the_command_line() {
    let help = ringmail(&["--help"]);
    assert_eq!(help.code, 0);
    for name in ["localserve", "account add", "queue list", "salvage DIR"] {
        assert!(help.out.contains(name), "{}", help.out);
    }
    assert!(
        ringmail(&["account", "password", "--help"])
            .out
            .contains("--generate")
    );
    assert!(ringmail(&["--version"]).out.starts_with("ringmail "));
    for (wrong, help) in [
        (&["dance"][..], "see ringmail --help"),
        (&[], "localserve  "),
        (&["account", "dance"], "account remove NAME  "),
        (&["stop"], "see ringmail stop --help"),
        (&["serve"], "see ringmail serve --help"),
        (&["config", "check"], "see ringmail config check --help"),
        (
            &["stop", "--config", "a", "--dir", "b"],
            "see ringmail stop --help",
        ),
        (
            &["config", "example", "x"],
            "see ringmail config example --help",
        ),
    ] {
        let ran = ringmail(wrong);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{wrong:?}");
        assert!(ran.err.starts_with("ringmail: "), "{}", ran.err);
        assert!(ran.err.contains(help), "{}", ran.err);
    }
}

#[test]
fn a_localserve_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let start = |dir: &Path| {
        let offset = port_offset().to_string();
        let path = dir.to_str().unwrap();
        let ran = ringmail(&["localserve", "--dir", path, "--port-offset", &offset]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        ran.err
    };
    let error = start(&file);
    let expected = format!("the directory {} cannot be made: ", file.display());
    assert!(error.contains(&expected), "{error}");
    // It has no data yet, but it is the right directory.
    let local = dir.path().join("local");
    std::fs::create_dir(&local).unwrap();
    std::fs::write(local.join("domains.toml"), "nonsense = 1\n").unwrap();
    let error = start(&local);
    assert!(error.contains("domains.toml:1:1: unknown field"), "{error}");
    std::fs::remove_file(local.join("domains.toml")).unwrap();
    let path = local.to_str().unwrap();
    for words in [&["check", "--dir", path][..], &["salvage", path]] {
        let ran = ringmail(words);
        let expected = format!("the first start makes it: ringmail localserve --dir {path}");
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains(&expected), "{}", ran.err);
    }
    let added = ringmail(&["account", "add", "--dir", path, "anna", "anna@localhost"]);
    assert_eq!(added.code, 0, "{}", added.err);
}

#[test]
fn settings_are_printed_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("accounts")).unwrap();
    for file in ["ringmail.toml", "domains.toml", "accounts/example.toml"] {
        let printed = ringmail(&["config", "example", file]);
        assert_eq!(printed.code, 0);
        // The listener for everybody has a certificate that is not on this machine.
        let text = printed
            .out
            .replace("\ncertificates = ", "\n#certificates = ");
        let text = text.replacen("#allow_plain_auth = false", "allow_plain_auth = true", 2);
        let tables = ["submissions", "imaps"].map(|name| format!("\n[listener.{name}]\n"));
        let text = tables.iter().fold(text, |text, table| {
            text.replace(
                &format!("{table}#enabled = true"),
                &format!("{table}enabled = false"),
            )
        });
        std::fs::write(dir.path().join(file), text).unwrap();
    }
    let config = dir.path().join("ringmail.toml");
    let config = config.to_str().unwrap();
    let checked = ringmail(&["config", "check", "--config", config]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert!(checked.out.contains("no mistake"), "{}", checked.out);
    std::fs::write(dir.path().join("domains.toml"), "[domain.\"a b\"]\n").unwrap();
    let checked = ringmail(&["config", "check", "--config", config]);
    assert_eq!(checked.code, 1);
    assert!(checked.err.contains("domains.toml:1:"), "{}", checked.err);
    let example = ringmail(&["config", "example", "nothing"]);
    assert_eq!(example.code, 2);
}

#[test]
fn commands_say_when_no_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    for command in [
        &["stop"][..],
        &["reload"],
        &["status"],
        &["check"],
        &["queue", "list"],
    ] {
        let ran = ringmail(&[command, &["--dir", path]].concat());
        assert_eq!(ran.code, 1, "{command:?}");
        assert!(
            ran.err.contains("neither a directory of localserve nor"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_server_from_start_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(&dir.path().join("deep/down"), &["--accounts", "3"]);
    let on = ["--dir", server.dir()];
    assert!(server.welcome.contains("u1@localhost to u3@localhost"));
    assert!(
        server
            .welcome
            .contains(&format!("smtp://localhost:{}", 25 + server.offset))
    );
    let run = |words: &[&str]| ringmail(&[words, &on].concat());

    // Who may come in.
    let socket = Path::new(server.dir()).join("ctl");
    assert_eq!(
        std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let key = Path::new(server.dir()).join("localhost.key");
    assert_eq!(
        std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let format = Path::new(server.dir()).join("data/format");
    assert_eq!(
        std::fs::metadata(&format).unwrap().permissions().mode() & 0o077,
        0
    );

    let status = run(&["status", "--json"]);
    assert_eq!(status.code, 0, "{}", status.err);
    let status: Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(status["pid"], server.pid());
    assert_eq!(
        (&status["accounts"], &status["troubles"]),
        (&4.into(), &Value::Array(vec![]))
    );
    assert!(run(&["status"]).out.contains("4 accounts"));

    accounts(&server, &run);
    let queue = run(&["queue", "list"]);
    assert_eq!(
        (queue.code, queue.out.as_str()),
        (0, "The queue is empty.\n")
    );
    let check = run(&["check"]);
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
    assert!(
        run(&["reload"])
            .out
            .starts_with("The settings are in force.")
    );

    // A second server on the same directory, and one on the same ports.
    let offset = server.offset.to_string();
    let second = ringmail(&["localserve", "--dir", server.dir(), "--port-offset", "9"]);
    assert_eq!(second.code, 1);
    assert!(second.err.contains("a server runs on"), "{}", second.err);
    let other = dir.path().join("other");
    let second = ringmail(&[
        "localserve",
        "--dir",
        other.to_str().unwrap(),
        "--port-offset",
        &offset,
    ]);
    assert_eq!(second.code, 1);
    assert!(
        second.err.contains("cannot listen on 127.0.0.1:"),
        "{}",
        second.err
    );

    let salvage = ringmail(&["salvage", server.dir()]);
    assert_eq!(salvage.code, 1);
    assert!(
        salvage.err.contains("stop it first: ringmail stop --dir"),
        "{}",
        salvage.err
    );

    let stop = run(&["stop"]);
    assert_eq!(
        (stop.code, stop.out.as_str()),
        (0, "The server has stopped.\n"),
        "{}",
        stop.err
    );
    assert!(!socket.exists());
    let path = server.dir.clone();
    assert_eq!(server.ended(), 0);
    stopped(&path);
}

fn accounts(server: &Localserve, run: &dyn Fn(&[&str]) -> crate::program::Ran) {
    let list = run(&["account", "list", "--json"]);
    let names: Vec<Value> = list
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].clone())
        .collect();
    assert_eq!(names, ["ringmail", "u1", "u2", "u3"]);
    let add = run(&["account", "add", "anna", "anna@localhost", "a.b@localhost"]);
    assert_eq!(add.code, 0, "{}", add.err);
    let file = Path::new(server.dir()).join("accounts/anna.toml");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("a.b@localhost")
    );
    for (wrong, why) in [
        (["anna", "x@localhost"], "there is an account anna already"),
        (["Anna", "x@localhost"], "is no account name"),
        (["ben", "anna@localhost"], "belongs to account anna already"),
        (["ben", "ben@example.org"], "is not ours"),
        (["ben", "ben"], "is no address"),
    ] {
        let ran = run(&[&["account", "add"][..], &wrong].concat());
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(why), "{}", ran.err);
    }
    let on = ["account", "password", "anna", "--dir", server.dir()];
    let set = ringmail_with_input(&on, "correct horse\n");
    assert_eq!(
        (set.code, set.out.as_str()),
        (0, "The password of anna is set.\n"),
        "{}",
        set.err
    );
    assert!(
        ringmail_with_input(&on, "short\n")
            .err
            .contains("at least 8")
    );
    assert!(
        ringmail_with_input(&on, "")
            .err
            .contains("--generate makes one")
    );
    let made = run(&["account", "password", "anna", "--generate"]);
    assert_eq!((made.code, made.out.trim().len()), (0, 20));
    let unknown = run(&["account", "password", "nobody", "--generate"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    let numbers = run(&["account", "list", "--numbers"]);
    assert!(
        numbers.out.contains("6 mailboxes, 0 messages"),
        "{}",
        numbers.out
    );
    orphaned(&file, run);
    let removed = run(&["account", "remove", "anna"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert!(!file.exists());
    assert!(
        run(&["account", "remove", "anna"])
            .err
            .contains("there is no account anna")
    );
    assert!(
        run(&["account", "remove", "ringmail"])
            .err
            .contains("postmaster")
    );
}

/// The account's file was removed by hand: its name is nobody's to take by accident.
fn orphaned(file: &Path, run: &dyn Fn(&[&str]) -> crate::program::Ran) {
    let again = ["account", "add", "anna", "anna@localhost"];
    std::fs::remove_file(file).unwrap();
    assert_eq!(run(&["reload"]).code, 0);
    let refused = run(&again);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .err
            .contains("or remove them first: ringmail account remove anna"),
        "{}",
        refused.err
    );
    assert!(!file.exists());
    let kept = run(&[&again[..], &["--keep"]].concat());
    assert_eq!(kept.code, 0, "{}", kept.err);
    std::fs::remove_file(file).unwrap();
    assert_eq!(run(&["reload"]).code, 0);
    let removed = run(&["account", "remove", "anna"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    let added = run(&again);
    assert_eq!(added.code, 0, "{}", added.err);
}

/// The same directory without a server.
fn stopped(dir: &Path) {
    let on = ["--dir", dir.to_str().unwrap()];
    let run = |words: &[&str]| ringmail(&[words, &on].concat());
    for words in [&["stop"][..], &["reload"], &["status"]] {
        let ran = run(words);
        assert_eq!(ran.code, 1);
        assert!(
            ran.err.contains("start it with: ringmail localserve --dir"),
            "{}",
            ran.err
        );
    }
    let list = run(&["account", "list"]);
    assert!(list.out.contains("u3@localhost"), "{}", list.out);
    assert_eq!(run(&["account", "add", "carl", "carl@localhost"]).code, 0);
    // What it made in the server's place is as private as what the server makes.
    let segments = std::fs::read_dir(dir.join("data/shard-000/segments")).unwrap();
    for segment in segments.map(Result::unwrap) {
        let mode = segment.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{segment:?}");
    }
    assert!(run(&["account", "list"]).out.contains("carl@localhost"));
    let made = run(&["account", "password", "carl", "--generate"]);
    assert_eq!((made.code, made.out.trim().len()), (0, 20), "{}", made.err);
    assert!(
        run(&["account", "list", "--numbers"])
            .out
            .contains("6 mailboxes")
    );
    assert_eq!(run(&["queue", "list"]).out, "The queue is empty.\n");
    let check = run(&["check", "--json"]);
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
    std::fs::remove_file(dir.join("accounts/carl.toml")).unwrap();
    let refused = run(&["account", "add", "carl", "carl@localhost"]);
    assert!(refused.err.contains("--keep"), "{}", refused.err);
    assert_eq!(run(&["account", "remove", "carl"]).code, 0);
    assert_eq!(run(&["account", "add", "carl", "carl@localhost"]).code, 0);
    assert_eq!(run(&["account", "remove", "carl"]).code, 0);
}

#[test]
fn the_control_socket_speaks_json_lines() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &["--accounts", "2"]);
    let mut stream = UnixStream::connect(server.dir.join("ctl")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    stream.write_all(b"{\"command\":\"ping\"}\n").unwrap();
    assert_eq!(next(), "{\"done\":{}}");
    stream
        .write_all(b"{\"command\":\"account-list\",\"limit\":1,\"after\":\"ringmail\"}\n")
        .unwrap();
    assert!(next().starts_with("{\"item\":{"));
    assert_eq!(next(), "{\"done\":{\"next\":\"u1\"}}");
    stream.write_all(b"{\"command\":\"dance\"}\n").unwrap();
    assert!(next().starts_with("{\"error\":\"not a line of this protocol"));
    assert!(lines.next().is_none());
    // Clients that say nothing take no place from others for ever, and too many are told.
    let idle: Vec<UnixStream> = (0..20)
        .map(|_| UnixStream::connect(server.dir.join("ctl")).unwrap())
        .collect();
    let mut refused = String::new();
    let last = idle.last().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(last).read_line(&mut refused).unwrap();
    assert!(refused.contains("commands run already"), "{refused}");
    drop(idle);
}

#[test]
fn localserve_starts_although_shards_are_out_of_service() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let offset = port_offset().to_string();
    let mut child = command(&["localserve", "--dir", dir, "--port-offset", &offset])
        .env("RINGMAIL_FAULTS", "rows.commit=fail")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|l| l.starts_with("Stop: "));
    let status = ringmail(&["status", "--dir", dir]);
    let _ = child.kill();
    let _ = child.wait();
    assert!(ready);
    assert_eq!(status.code, 1);
    assert!(status.out.contains("is out of service"), "{}", status.out);
}

#[test]
fn accounts_of_localserve_stay_until_they_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let first = Localserve::start(dir.path(), &["--accounts", "3"]);
    let run = |words: &[&str]| {
        let ran = ringmail(&[words, &["--dir", dir.path().to_str().unwrap()]].concat());
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        ran.out
    };
    run(&["account", "remove", "u2"]);
    drop(first);
    let again = Localserve::start(dir.path(), &[]);
    let expected = "ringmail@localhost and 2 accounts u1@localhost to u3@localhost";
    assert!(again.welcome.contains(expected), "{}", again.welcome);
    let numbers = run(&["account", "list", "--numbers"]);
    assert!(numbers.contains("u3@localhost  6 mailboxes"), "{numbers}");
    assert!(!numbers.contains("u2"), "{numbers}");
    drop(again);
    let more = Localserve::start(dir.path(), &["--accounts", "2"]);
    let expected = "3 accounts u1@localhost to u3@localhost";
    assert!(more.welcome.contains(expected), "{}", more.welcome);
}
