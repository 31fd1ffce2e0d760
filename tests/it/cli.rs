//! Commands, the control socket, health and metrics, from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;

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
    for wrong in [
        &["dance"][..],
        &[],
        &["stop"],
        &["serve"],
        &["stop", "--config", "a", "--dir", "b"],
    ] {
        let ran = ringmail(wrong);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{wrong:?}");
        assert!(ran.err.starts_with("ringmail: "), "{}", ran.err);
    }
}

#[test]
fn settings_are_printed_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("accounts")).unwrap();
    for file in ["ringmail.toml", "domains.toml", "accounts/example.toml"] {
        let printed = ringmail(&["config", "example", file]);
        assert_eq!(printed.code, 0);
        std::fs::write(dir.path().join(file), printed.out).unwrap();
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
    assert!(
        second.err.contains("in use by another ringmail process"),
        "{}",
        second.err
    );
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
    assert_eq!(run(&["account", "add", "carl", "carl@localhost"]).code, 0);
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
fn health_and_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    assert_eq!(server.get("/healthz").2, "alive\n");
    let (status, _, body) = server.get("/readyz");
    assert_eq!((status, body.as_str()), (200, "ready\n"));
    let (status, head, body) = server.get("/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    for line in [
        "ringmail_panics_total{room=\"smtp_server\"} 0",
        "ringmail_panics_total{room=\"storage\"} 0",
        "ringmail_http_requests_total{page=\"healthz\",status=\"2xx\"} 1",
        "ringmail_storage_shards_poisoned 0",
        "ringmail_log_lines_dropped_total 0",
    ] {
        assert!(body.lines().any(|l| l == line), "{line} in\n{body}");
    }
    assert!(body.contains("process_resident_memory_bytes "));
    // One TYPE for each name, as Prometheus demands.
    let mut types: Vec<&str> = body.lines().filter(|l| l.starts_with("# TYPE ")).collect();
    let all = types.len();
    types.sort();
    types.dedup();
    assert_eq!(types.len(), all);

    assert_eq!(server.get("/nothing").0, 404);
    assert_eq!(server.get("/").0, 200);
    let (status, head, _) = server.http(
        "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab",
    );
    assert_eq!(status, 405);
    assert!(head.to_lowercase().contains("allow: get, head"), "{head}");
    let (status, _, body) =
        server.http("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(server.http("nonsense\r\n\r\n").0, 400);
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    assert_eq!(server.http(&long).0, 431);
    // Two requests on one connection.
    let mut stream = server.connect(80);
    for _ in 0..2 {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut answer = [0; 512];
        let read = stream.read(&mut answer).unwrap();
        assert!(answer[..read].ends_with(b"alive\n"));
    }
}

#[test]
fn the_control_socket_speaks_json_lines() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &["--accounts", "2"]);
    let mut stream = UnixStream::connect(server.dir.join("ctl")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
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
    last.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
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
fn signals_stop_and_reload() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let signal = |name: &str| {
        let sent = Command::new("kill")
            .args([name, &server.pid().to_string()])
            .status();
        assert!(sent.unwrap().success());
    };
    std::fs::create_dir(dir.path().join("accounts")).unwrap();
    std::fs::write(
        dir.path().join("accounts/dora.toml"),
        "addresses = [\"dora@localhost\"]\n",
    )
    .unwrap();
    signal("-HUP");
    let started = Instant::now();
    while !ringmail(&["account", "list", "--dir", server.dir()])
        .out
        .contains("dora")
    {
        assert!(started.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(50));
    }
    // Settings with a mistake change nothing.
    std::fs::write(dir.path().join("accounts/dora.toml"), "nonsense = 1\n").unwrap();
    let reload = ringmail(&["reload", "--dir", server.dir()]);
    assert_eq!(reload.code, 1);
    assert!(
        reload.err.contains("dora.toml:1:1: unknown field"),
        "{}",
        reload.err
    );
    assert!(
        ringmail(&["account", "list", "--dir", server.dir()])
            .out
            .contains("dora")
    );
    signal("-TERM");
    assert_eq!(server.ended(), 0);
}

/// Reads JSON lines of the log until one has this text; answers it.
fn logged(lines: &mut dyn Iterator<Item = String>, text: &str) -> Value {
    for line in lines {
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if value["msg"].as_str().is_some_and(|msg| msg.contains(text)) {
            return value;
        }
    }
    panic!("the log ended before {text:?}")
}

#[test]
fn serve_tells_systemd_logs_json_and_rereads_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let port = port_offset();
    std::fs::create_dir(at("accounts")).unwrap();
    std::fs::write(
        at("accounts/anna.toml"),
        "addresses = [\"anna@example.test\"]\n",
    )
    .unwrap();
    std::fs::write(
        at("domains.toml"),
        "postmaster = { account = \"anna\" }\n[domain.\"example.test\"]\n",
    )
    .unwrap();
    let pairs: Vec<_> = ["one", "two"].map(|name| certificate(&at(name))).into();
    let install = |pair: &(Vec<u8>, Vec<u8>)| {
        std::fs::write(at("key.pem"), &pair.1).unwrap();
        std::fs::write(at("cert.pem"), &pair.0).unwrap();
    };
    install(&pairs[0]);
    std::fs::write(
        at("ringmail.toml"),
        format!(
            "data_dir = \"data\"\nhostname = \"mail.example.test\"\n[log]\nformat = \"json\"\n[[listener]]\nname = \"test\"\naddresses = [\"127.0.0.1\"]\n\
             tls = {{ certificates = [{{ cert = \"cert.pem\", key = \"key.pem\" }}], reread_secs = \"1s\" }}\nsmtp = {{ port = {port} }}\n"
        ),
    )
    .unwrap();
    let notify = UnixDatagram::bind(at("notify")).unwrap();
    // Read all the time: the kernel queues few datagrams.
    let (sender, states) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok(length) = notify.recv(&mut buffer) {
            let _ = sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    });
    let told = |expected: &str| {
        while states.recv_timeout(Duration::from_secs(30)).unwrap() != expected {}
    };
    let config = at("ringmail.toml");
    let config = config.to_str().unwrap();
    let mut child = command(&["serve", "--config", config])
        .env("NOTIFY_SOCKET", at("notify"))
        .env("WATCHDOG_USEC", "400000")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok);
    told("READY=1");
    told("WATCHDOG=1");
    let ready = logged(&mut log, "ready");
    assert_eq!(
        (&ready["level"], &ready["module"]),
        (&"info".into(), &"control::supervise".into())
    );
    assert!(ready["time"].as_str().unwrap().ends_with('Z'));

    install(&pairs[1]);
    logged(&mut log, "certificates changed and were read");
    std::fs::write(at("cert.pem"), "nonsense").unwrap();
    assert_eq!(
        logged(&mut log, "the certificate in use is kept")["level"],
        "error"
    );
    let status = ringmail(&["status", "--config", config]);
    assert_eq!(status.code, 0, "{}{}", status.out, status.err);
    let reload = ringmail(&["reload", "--config", config]);
    assert_eq!(reload.code, 1, "{}{}", reload.out, reload.err);
    assert!(reload.out.contains("Failed: "), "{}", reload.out);
    assert!(
        reload.out.contains("the certificate in use is kept"),
        "{}",
        reload.out
    );
    install(&pairs[0]);
    logged(&mut log, "certificates changed and were read");

    // What takes a restart is said, and waits for it.
    let text = std::fs::read_to_string(config).unwrap();
    std::fs::write(
        config,
        text.replace("mail.example.test", "other.example.test"),
    )
    .unwrap();
    let reload = ringmail(&["reload", "--config", config]);
    assert!(
        reload
            .out
            .contains("hostname changed; that takes effect when"),
        "{}{}",
        reload.out,
        reload.err
    );

    let stop = ringmail(&["stop", "--dir", at("data").to_str().unwrap()]);
    assert_eq!(stop.code, 0, "{}", stop.err);
    told("STOPPING=1");
    assert!(child.wait().unwrap().success());
    // A data directory alone says nothing of accounts.
    let list = ringmail(&["account", "list", "--dir", at("data").to_str().unwrap()]);
    assert_eq!(list.code, 1);
    assert!(list.err.contains("use --config FILE"), "{}", list.err);
}

/// A certificate and its key, as a `localserve` that can't start leaves them.
fn certificate(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    std::fs::create_dir(dir).unwrap();
    std::fs::write(dir.join("data"), "in the way").unwrap();
    let ran = ringmail(&[
        "localserve",
        "--dir",
        dir.to_str().unwrap(),
        "--port-offset",
        &port_offset().to_string(),
    ]);
    assert_eq!(ran.code, 1);
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    (read("localhost.crt"), read("localhost.key"))
}
