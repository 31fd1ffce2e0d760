//! A proxy in front says who asks, where the settings say that there is one; and each response has its number.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::ports;
use crate::server::TestServer;

fn ask(port: u16, path: &str, fields: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    (said[9..12].parse().unwrap(), said)
}

#[test]
fn limits_are_those_of_whom_the_proxy_names() {
    let directory = tempfile::tempdir().unwrap();
    let port = ports::port();
    let _server = TestServer::behind_a_proxy(directory.path(), port);
    let of = |client: &str| {
        ask(
            port,
            "/webapi/v0/",
            &format!("X-Forwarded-For: {client}, 127.0.0.1\r\n"),
        )
    };
    let (status, said) = of("192.0.2.1");
    assert_eq!(status, 200, "{said}");
    assert!(said.contains("\r\nringmail-request-id: "), "{said}");
    // An hour may begin in between.
    assert!((0..10).any(|_| of("192.0.2.1").0 == 429));
    assert_eq!(of("198.51.100.1").0, 200);
    // Without the field the proxy would count as everybody.
    assert_eq!(ask(port, "/webapi/v0/", "").0, 500);
    assert_eq!(
        ask(port, "/webapi/v0/", "X-Forwarded-For: unknown\r\n").0,
        500
    );
    assert_eq!(ask(port, "/healthz", "").0, 200);
}
