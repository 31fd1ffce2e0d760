//! From where mail leaves: addresses of ours, and proxies.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::outbound::{free_port, queue, server, submit, until_sent};
use crate::patience::until;
use crate::receiver::Receiver;

/// All mail takes this transport.
fn way(fields: &str) -> String {
    format!("[transport.way]\nkind = \"direct\"\n{fields}\n[[route]]\ntransport = \"way\"\n")
}

fn peers(receiver: &Receiver) -> Vec<IpAddr> {
    let heard = receiver.heard.lock().unwrap();
    let mut peers: Vec<IpAddr> = heard.iter().filter_map(|h| h.peer).collect();
    peers.sort_unstable();
    peers.dedup();
    peers
}

#[test]
fn mail_leaves_from_the_address_that_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let fields = "source_addresses = [\"127.0.0.31\"]\nehlo_name = \"other.example.test\"";
    let server = server(directory.path(), port, &way(fields));
    assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
    until(|| receiver.messages().len() == 1);
    assert_eq!(peers(&receiver), [IpAddr::from([127, 0, 0, 31])]);
    let commands = receiver.commands();
    assert!(commands.contains(&"EHLO other.example.test".to_owned()));
}

#[test]
fn mail_does_not_leave_from_another_address_than_those() {
    for (address, to, words) in [
        // RFC 5737: nobody has it.
        (
            "192.0.2.25",
            "a@one.test",
            "this machine does not have the address 192.0.2.25 to send from",
        ),
        (
            "::1",
            "a@one.test",
            "no host has an address that may be used",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
        let fields = format!("source_addresses = [\"{address}\"]");
        let server = server(directory.path(), port, &way(&fields));
        assert!(submit(&server, &[to], "x").starts_with("250"));
        until(|| queue(&server)[0].1.attempts == 1);
        assert_eq!(queue(&server)[0].1.history[0].text, words);
        assert_eq!(receiver.connections(), 0);
    }
}

/// Where a connection was asked for, and with which login.
type Asked = (SocketAddr, Option<(String, String)>);

/// A SOCKS5 server: whom it was asked for, and by whom.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    /// It wants a login, if one is named; and answers with this, or connects.
    fn start(login: Option<(&'static str, &'static str)>, refuses: Option<u8>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let all = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let all = all.clone();
                std::thread::spawn(move || serve(stream.unwrap(), login, refuses, &all));
            }
        });
        Proxy { address, asked }
    }
}

fn octets<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
    let mut octets = [0; N];
    stream.read_exact(&mut octets).ok()?;
    Some(octets)
}

fn text(stream: &mut TcpStream) -> Option<String> {
    let [length] = octets(stream)?;
    let mut text = vec![0; length.into()];
    stream.read_exact(&mut text).ok()?;
    String::from_utf8(text).ok()
}

fn serve(
    mut stream: TcpStream,
    login: Option<(&str, &str)>,
    refuses: Option<u8>,
    all: &Mutex<Vec<Asked>>,
) -> Option<()> {
    let [5, count] = octets(&mut stream)? else {
        return None;
    };
    let mut methods = vec![0; count.into()];
    stream.read_exact(&mut methods).ok()?;
    let method = if login.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        return stream.write_all(&[5, 0xff]).ok();
    }
    stream.write_all(&[5, method]).ok()?;
    let mut who = None;
    if let Some((user, password)) = login {
        let [1] = octets(&mut stream)? else {
            return None;
        };
        let said = (text(&mut stream)?, text(&mut stream)?);
        let fits = (said.0.as_str(), said.1.as_str()) == (user, password);
        stream.write_all(&[1, u8::from(!fits)]).ok()?;
        who = Some(said);
        if !fits {
            return None;
        }
    }
    let [5, 1, 0, 1] = octets(&mut stream)? else {
        return None;
    };
    let address: [u8; 4] = octets(&mut stream)?;
    let port = u16::from_be_bytes(octets(&mut stream)?);
    let to = SocketAddr::from((address, port));
    all.lock().unwrap().push((to, who));
    if let Some(refuses) = refuses {
        return stream.write_all(&[5, refuses, 0, 1, 0, 0, 0, 0, 0, 0]).ok();
    }
    let mut server = TcpStream::connect(to).ok()?;
    // The reply and the greeting come together, as they may.
    let mut reply = vec![5, 0, 0, 1, 198, 51, 100, 7, 4, 0];
    let mut greeting = [0; 512];
    let length = server.read(&mut greeting).ok()?;
    reply.extend_from_slice(&greeting[..length]);
    stream.write_all(&reply).ok()?;
    let (mut from, mut back) = (server.try_clone().ok()?, stream.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut back);
        let _ = back.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut stream, &mut server);
    server.shutdown(std::net::Shutdown::Write).ok()
}

#[test]
fn a_proxy_connects_for_us() {
    for login in [None, Some(("ring", "pass word"))] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("proxy.password"), "pass word\n").unwrap();
        let port = free_port();
        let receiver = Receiver::start([127, 0, 0, 11], port, None, |_| None);
        let proxy = Proxy::start(login, None);
        let mut fields = format!("proxy = \"{}\"", proxy.address);
        if login.is_some() {
            fields += "\nproxy_user = \"ring\"\nproxy_password_file = \"proxy.password\"";
        }
        let server = server(directory.path(), port, &way(&fields));
        assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
        until_sent(&server);
        assert_eq!(receiver.messages().len(), 1);
        let asked = proxy.asked.lock().unwrap();
        // The address that our own resolver has found.
        let (to, who) = &asked[0];
        assert_eq!(*to, SocketAddr::from(([127, 0, 0, 11], port)));
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        assert_eq!(*who, login);
    }
}

#[test]
fn a_proxy_that_does_not_connect_is_the_reason() {
    let refusing = Proxy::start(None, Some(4));
    let secured = Proxy::start(Some(("ring", "x")), None);
    let gone = free_port();
    for (address, words) in [
        (
            refusing.address,
            format!(
                "the proxy {}: it has no way to the host (127.0.0.11:2525)",
                refusing.address
            ),
        ),
        (
            secured.address,
            format!(
                "the proxy {}: it wants a login that it was not given (proxy_user, proxy_password_file)",
                secured.address
            ),
        ),
        (
            SocketAddr::from(([127, 0, 0, 1], gone)),
            format!("the proxy 127.0.0.1:{gone}: connection refused"),
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let server = server(
            directory.path(),
            2525,
            &way(&format!("proxy = \"{address}\"")),
        );
        assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
        until(|| queue(&server)[0].1.attempts == 1);
        let row = &queue(&server)[0].1;
        assert_eq!(row.history[0].text, words);
        assert_eq!(
            row.history[0].remote,
            "mx.shared.test [127.0.0.11]:2525".to_owned()
        );
    }
}
