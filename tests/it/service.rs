//! The server as its surroundings see it: signals, systemd, health, metrics, the log, certificates that change.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use serde_json::Value;

use crate::patience::{PATIENCE, found};
use crate::program::{Localserve, command, port_offset, ringmail};
use crate::smtp::talk;

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
        talk(&mut stream, b"", "\r\n\r\nalive\n");
    }
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
    let list = || ringmail(&["account", "list", "--dir", server.dir()]).out;
    found(list, |list| list.contains("dora"));
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
        while states.recv_timeout(PATIENCE).unwrap() != expected {}
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
