//! Connections from an address of ours that the caller names.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringmail_shards::net::Connection;
use ringmail_shards::rt::{self, Listener};

static ROOM: rt::Room = rt::Room::new("test");
const LIMIT: Duration = Duration::from_secs(20);

/// Says to each who comes which address it sees, and takes what it says.
fn serve(address: &str) -> SocketAddr {
    let listener = Listener::new(rt::listen(address.parse().unwrap(), 16).unwrap());
    let address = listener.local_address().unwrap();
    rt::spawn(&ROOM, async move {
        while let Ok(stream) = listener.accept().await {
            let mut connection = Connection::new(stream).unwrap();
            let seen = connection.peer().ip().to_string();
            connection.write_all(seen.as_bytes()).await.unwrap();
            let said = connection.read_with(<[u8]>::to_vec).await.unwrap();
            connection.write_all(&said).await.unwrap();
        }
    });
    address
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_server_sees_the_address_that_was_named() {
    rt::block_on(async {
        let to = serve("127.0.0.1:0");
        for from in ["127.0.0.21", "127.0.0.22", "127.0.0.21"] {
            let connected = Connection::connect_from(to, Some(ip(from)), LIMIT).await;
            let mut connection = connected.unwrap();
            assert_eq!(connection.local().ip(), ip(from));
            let seen = connection.read_with(<[u8]>::to_vec).await.unwrap();
            assert_eq!(seen, from.as_bytes());
            // It is a connection like any other.
            connection.write_all(b"hello").await.unwrap();
            let said = connection.read_with(<[u8]>::to_vec).await.unwrap();
            assert_eq!(said, b"hello");
        }
        let unnamed = Connection::connect(to, LIMIT).await.unwrap();
        assert_eq!(unnamed.local().ip(), ip("127.0.0.1"));
    })
    .unwrap();
}

#[test]
fn an_address_that_is_not_ours_is_an_error() {
    rt::block_on(async {
        let to = serve("127.0.0.1:0");
        // RFC 5737: nobody has it.
        let error = Connection::connect_from(to, Some(ip("192.0.2.1")), LIMIT)
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
        let other = Connection::connect_from(to, Some(ip("::1")), LIMIT).await;
        assert!(other.is_err(), "the other family");
    })
    .unwrap();
}

#[test]
fn who_is_not_there_refuses_it_at_once() {
    rt::block_on(async {
        // Bound, but nobody listens.
        let socket = std::net::UdpSocket::bind("127.0.0.23:0").unwrap();
        let to = SocketAddr::new(ip("127.0.0.23"), socket.local_addr().unwrap().port());
        let error = Connection::connect_from(to, Some(ip("127.0.0.21")), LIMIT)
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    })
    .unwrap();
}

#[test]
fn who_does_not_answer_is_waited_for_no_longer_than_the_limit() {
    rt::block_on(async {
        // A listener with a full backlog drops what comes.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        shorten(&listener);
        let to = listener.local_addr().unwrap();
        let mut kept = Vec::new();
        let short = Duration::from_millis(300);
        let error = loop {
            match Connection::connect_from(to, Some(ip("127.0.0.21")), short).await {
                Ok(connection) => kept.push(connection),
                Err(error) => break error,
            }
            assert!(kept.len() < 100, "the backlog has no end");
        };
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    })
    .unwrap();
}

/// Listening again makes the backlog short.
fn shorten(listener: &std::net::TcpListener) {
    rustix::net::listen(listener, 1).unwrap();
}
