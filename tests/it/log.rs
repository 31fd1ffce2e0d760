//! What the log tells of a connection, whoever speaks: we, a library, a panic.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::folder::Folder;
use crate::patience::found;
use crate::program::Localserve;
use crate::smtp::talk;
use crate::tls::{Client, certificate};

const DOMAINS: &str = "postmaster = { account = \"anna\" }\n[domain.\"example.test\"]\n";

const LISTENER: &str = r#"
submissions = { port = {port} }
tls = { certificates = [{ cert = "cert.pem", key = "key.pem" }] }
[log]
format = "json"
[log.modules]
rustls = "debug"
"#;

/// The lines of the log, once one has this text and connection.
fn lines_with(folder: &Folder, connection: &str, text: &str) -> Vec<Value> {
    let lines = || {
        let log = folder.log();
        // The last line may be half written.
        let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
        let lines = (whole.lines())
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
        let of_connection = lines.filter(|l: &Value| l["connection"] == connection);
        of_connection.collect::<Vec<Value>>()
    };
    let has_text = |line: &Value| line["msg"].as_str().unwrap().contains(text);
    found(lines, |lines| lines.iter().any(has_text))
}

/// The connection's number at the end of an error reply.
fn number(reply: &str) -> String {
    let (_, number) = reply.trim_end().rsplit_once('(').expect(reply);
    number.trim_end_matches(')').to_string()
}

#[test]
fn libraries_and_panics_speak_with_the_number_of_the_connection() {
    let folder = Folder::new(DOMAINS, LISTENER);
    certificate(folder.dir.path());
    let added = folder.run(&["account", "add", "anna", "anna@example.test"]);
    assert_eq!(added.code, 0, "{}", added.err);
    let _serving = folder.serve_with_faults("smtp.message=panic");

    let stream = TcpStream::connect(("127.0.0.1", folder.port + 1)).unwrap();
    let mut client = Client::over(stream, rustls::ALL_VERSIONS).unwrap();
    client.say("", "220 ");
    let id = number(&client.say("MAIL FROM:<a@b>\r\n", "503 "));
    let lines = lines_with(&folder, &id, "decided upon suite");
    assert_eq!(lines[0]["module"], "rustls::server::hs");

    let mut stream = TcpStream::connect(("127.0.0.1", folder.port)).unwrap();
    talk(&mut stream, b"", "220 ");
    let id = number(&talk(&mut stream, b"DATA\r\n", "\r\n"));
    for (line, code) in [
        ("EHLO client.example\r\n", "250 "),
        ("MAIL FROM:<a@example.org>\r\n", "250 "),
        ("RCPT TO:<anna@example.test>\r\n", "250 "),
        ("DATA\r\n", "354 "),
    ] {
        talk(&mut stream, line.as_bytes(), code);
    }
    stream.write_all(b"Subject: x\r\n\r\n.\r\n").unwrap();
    let lines = lines_with(&folder, &id, "a task panicked");
    let told = |text: &str| {
        let line = lines
            .iter()
            .find(|l| l["msg"].as_str().unwrap().contains(text));
        line.unwrap_or_else(|| panic!("{text} in {lines:?}"))
    };
    let panic = told("a panic;");
    assert_eq!(
        (&panic["level"], &panic["module"]),
        (&"error".into(), &"panic".into())
    );
    assert!(panic["place"].as_str().unwrap().contains("faults.rs:"));
    assert_eq!(told("a task panicked")["room"], "smtp_server");
}

#[test]
fn an_http_error_names_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let (status, _, body) = server.get("/nothing");
    assert_eq!(status, 404);
    let number = body.lines().last().unwrap();
    let number = number
        .strip_prefix("Connection ")
        .unwrap()
        .trim_end_matches('.');
    assert_eq!(number.split('-').count(), 3, "{body}");
    // Each connection has its own, in order.
    let mut stream = server.connect(80);
    stream
        .write_all(b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(!answer.contains(number), "{answer}");
}
