//! Requests over HTTP that are wrong, and ones that are odd and right.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::folder::Folder;
use crate::program::Localserve;

const LINE: &str = "GET /healthz HTTP/1.1\r\n";

/// All that comes until the server closes; the client does not.
fn until_closed(server: &Localserve, request: &str) -> String {
    let mut stream = server.connect(80);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn requests_that_others_could_read_otherwise_are_refused_and_the_connection_closed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let many = format!("Host: a\r\n{}", "X: y\r\n".repeat(1000));
    for (fields, status) in [
        // RFC 9112 3.2.
        ("", 400),
        ("Host: a\r\nHost: a\r\n", 400),
        ("Host: a b\r\n", 400),
        ("Host: a/b\r\n", 400),
        ("Host: user@a\r\n", 400),
        // RFC 9112 6.1, 6.3.
        (
            "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            400,
        ),
        (
            "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            400,
        ),
        ("Host: a\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: chunked, chunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: gzip\r\n", 400),
        ("Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Host: a\r\nContent-Length: 5, 5\r\n", 400),
        ("Host: a\r\nContent-Length: +5\r\n", 400),
        ("Host: a\r\nContent-Length: -1\r\n", 400),
        // RFC 9112 5.1, 5.2, 2.2.
        ("Host : a\r\n", 400),
        ("Host: a\r\nX: a\r\n b\r\n", 400),
        (" X: y\r\nHost: a\r\n", 400),
        ("Host: a\r\nX: a\rb\r\n", 400),
        ("Host: a\r\nX: a\0b\r\n", 400),
        ("Host: a\r\n: y\r\n", 400),
        ("Host: a\r\nXä: y\r\n", 400),
        ("Host: a\r\nX\r\n", 400),
        // RFC 6585 5.
        (&many, 431),
    ] {
        // The body of a chunked one, or what would be the next request.
        let request = format!("{LINE}{fields}\r\n0\r\n\r\n");
        let answer = until_closed(&server, &request);
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{fields:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let answer = answer.to_lowercase();
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    let fine = format!(
        "{LINE}Host: a\r\nConnection: close\r\n{}\r\n",
        "X: y\r\n".repeat(998)
    );
    assert!(until_closed(&server, &fine).starts_with("HTTP/1.1 200 "));
    for line in [
        "G@T /healthz HTTP/1.1",
        " GET /healthz HTTP/1.1",
        "GET  /healthz HTTP/1.1",
        "GET /healthz",
        "GET /healthz HTTP/1.2",
        "GET /a b HTTP/1.1",
        "/healthz",
    ] {
        let answer = until_closed(&server, &format!("{line}\r\nHost: a\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{line}: {answer}");
    }
    // RFC 9113 3.4: who begins so speaks HTTP/2 alone.
    let answer = until_closed(&server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(answer, "");
    let two_hosts = "GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n";
    assert!(until_closed(&server, two_hosts).starts_with("HTTP/1.0 400 "));
    assert_eq!(server.get("/healthz").0, 200);
}

/// Also where hyper can't read the head, first or later.
#[test]
fn what_can_not_be_read_is_told_with_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let fine = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let many = "X: y\r\n".repeat(1001);
    let long = "x".repeat(70_000);
    for (fields, status, kind) in [
        (format!("Host: a\r\n{many}"), 431, "head-too-large"),
        (format!("Host: a\r\nX: {long}\r\n"), 431, "head-too-large"),
        ("Host: a\r\nX y\r\n".into(), 400, "malformed"),
        ("Host: a\r\nHost: b\r\n".into(), 400, "malformed"),
    ] {
        for before in ["", fine] {
            let mut stream = server.connect(80);
            stream.write_all(before.as_bytes()).unwrap();
            let mut said = String::new();
            while !before.is_empty() && !said.ends_with("alive\n") {
                let mut piece = [0; 1];
                stream.read_exact(&mut piece).unwrap();
                said.push_str(std::str::from_utf8(&piece).unwrap());
            }
            let mut request = format!("GET /webapi/v1/account HTTP/1.1\r\n{fields}\r\n");
            // What is not read before the connection is closed could take the answer with it.
            request.truncate(64 << 10);
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let head = head.to_lowercase();
            assert!(
                head.contains("content-type: application/problem+json"),
                "{head}"
            );
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["type"], format!("/webapi/v1/problems/{kind}"));
            assert_eq!(body["status"], status);
            let id = body["request_id"].as_str().unwrap().to_lowercase();
            assert!(
                head.contains(&format!("ringmail-request-id: {id}")),
                "{head}"
            );
        }
    }
}

#[test]
fn idle_connections_of_one_address_shut_nobody_out() {
    let domains = "[postmaster]\naccount = \"anna\"\n[domain.\"example.test\"]\n";
    let listener = "http = { port = {port} }\n[limits.http]\nconnections_open_max = [2, 4, 8]\n";
    let folder = Folder::new(domains, listener);
    assert_eq!(
        folder
            .run(&["account", "add", "anna", "anna@example.test"])
            .code,
        0
    );
    let _serving = folder.serve();
    let connect = || TcpStream::connect(("127.0.0.1", folder.port + 1)).unwrap();
    // Empty: closed without an answer.
    let ask = |stream: &mut TcpStream, close: &str| {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{close}\r\n");
        let mut answer = Vec::new();
        // The server may have closed before it is written.
        if stream.write_all(request.as_bytes()).is_ok() {
            let mut piece = [0; 4096];
            while !answer.ends_with(b"alive\n") {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => answer.extend_from_slice(&piece[..n]),
                }
            }
        }
        String::from_utf8(answer).unwrap()
    };
    let mut held = [connect(), connect()];
    for stream in &mut held {
        assert!(ask(stream, "").starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(ask(&mut connect(), ""), "");
    // What has ended counts no more.
    drop(held);
    while ask(&mut connect(), "Connection: close\r\n").is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn odd_requests_that_are_right_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    for request in [
        "GET /healthz HTTP/1.0\r\n\r\n",
        "\r\nGET /healthz HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: [::1]:1080\r\nConnection: close\r\n\r\n",
        "GET http://b/healthz HTTP/1.1\r\nHost: b:80\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhOsT:a.example\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab",
    ] {
        let (status, _, body) = server.http(request);
        assert_eq!((status, body.as_str()), (200, "alive\n"), "{request:?}");
    }
    // A body nobody wanted is no request.
    let one = "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /";
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answers = until_closed(&server, &format!("{one}{one}{last}"));
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 3, "{answers}");
}
