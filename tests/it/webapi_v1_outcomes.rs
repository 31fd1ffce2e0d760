//! Version 1 of the API: what is said when nothing was done, and when that is not known.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::filled::stop;
use crate::folder::Folder;
use crate::patience::PATIENCE;
use crate::program::Localserve;
use crate::webapi_v1::{Said, ask, ask_by};

fn kind(said: &Said) -> &str {
    let kind = said.body["type"].as_str().unwrap_or_default();
    kind.rsplit('/').next().unwrap_or_default()
}

/// A server whose disk fails from now on, and a key that needs no look at rows any more.
fn failing(dir: &Path) -> (Localserve, String) {
    let broken = dir.join("broken");
    let faults = format!("rows.commit=fail:{}", broken.display());
    let server = Localserve::with_faults(&dir.join("here"), &[], &faults);
    let wanted = json!({"name": "k", "scopes": ["send", "read", "suppression"]});
    let made = ask(&server, "POST", "/keys", &wanted);
    assert_eq!(made.status, 201, "{}", made.body);
    let key = made.body["secret"].as_str().unwrap().to_string();
    assert_eq!(
        ask_by(&server, &key, "GET", "/account", &Value::Null).status,
        200
    );
    std::fs::write(&broken, "").unwrap();
    (server, key)
}

/// The commit that fails may be durable; what comes later is not even begun.
#[test]
fn only_of_what_was_begun_the_outcome_is_unknown() {
    for attempt in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let (server, key) = failing(dir.path());
        let suppress = || {
            let path = "/suppressions/a@b.example";
            let said = ask_by(&server, &key, "PUT", path, &json!({}));
            assert_eq!(said.status, 503, "{}", said.body);
            said
        };
        let first = suppress();
        // The server writes by itself, too: that a key was used, who logged in.
        if kind(&first) == "unavailable" && attempt < 10 {
            stop(server);
            continue;
        }
        assert_eq!(kind(&first), "outcome-unknown", "{}", first.body);
        let second = suppress();
        assert_eq!(kind(&second), "unavailable", "{}", second.body);
        let detail = second.body["detail"].as_str().unwrap();
        assert!(detail.contains("nothing was done"), "{detail}");
        let read = ask_by(&server, &key, "GET", "/suppressions", &Value::Null);
        assert_eq!(kind(&read), "unavailable", "{}", read.body);
        // Each shard may fail once under a message, and then no more.
        let message = json!({
            "from": {"address": "ringmail@localhost"}, "to": [{"address": "ann@a.example"}], "text": "t",
        });
        let kinds: Vec<String> = (0..40)
            .map(|_| ask_by(&server, &key, "POST", "/messages", &message))
            .map(|sent| kind(&sent).to_string())
            .collect();
        assert!(
            kinds[32..].iter().all(|kind| kind == "unavailable"),
            "{kinds:?}"
        );
        stop(server);
        return;
    }
}

/// Whether what waits for the disk is done, nobody knows when the time of its request is over.
#[test]
fn who_waits_too_long_is_told_so() {
    let domains = "postmaster = { account = \"anna\" }\n[domain.\"example.test\"]\n";
    let listener = "http = { port = {port}, webapi = true, allow_plain_auth = true }\n[limits.http]\nrequest_timeout_secs = \"3s\"\n";
    let folder = Folder::new(domains, listener);
    let added = folder.run(&["account", "add", "anna", "anna@example.test"]);
    assert_eq!(added.code, 0, "{}", added.err);
    let hold = folder.at("hold");
    let _serving = folder.serve_with_faults(&format!("rows.commit=stall:{}", hold.display()));
    let key = folder.run(&["apikey", "add", "anna", "all", "--scope", "send,read"]);
    assert_eq!(key.code, 0, "{}", key.err);
    let key = key.out.lines().next().unwrap();
    let ask = |method: &str, path: &str, body: &str| {
        let request = format!(
            "{method} /webapi/v1{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", folder.port + 1)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    };
    assert!(ask("GET", "/account", "").starts_with("HTTP/1.1 200 "));
    std::fs::write(&hold, "").unwrap();
    let message =
        r#"{"from":{"address":"anna@example.test"},"to":[{"address":"a@a.example"}],"text":"t"}"#;
    let said = ask("POST", "/messages", message);
    std::fs::remove_file(&hold).unwrap();
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    assert!(said.contains("problems/outcome-unknown"), "{said}");
    assert!(said.contains("too long"), "{said}");
}
