//! Against servers of the test's own: plain threads with plain sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;

use super::*;

/// Says `ask N`, and takes what says `re N`. `no N` is unfit, `tc N` truncated, and after `what N` it says `ask N+1`.
#[derive(Default)]
struct Counted {
    written: u32,
}

impl Question for Counted {
    type Answer = String;

    fn write(&mut self) -> Vec<u8> {
        self.written += 1;
        format!("ask {}", self.written).into_bytes()
    }

    fn judge(&mut self, octets: &[u8]) -> Heard<String> {
        let text = String::from_utf8_lossy(octets).into_owned();
        match text.strip_suffix(&format!(" {}", self.written)) {
            Some("re") => Heard::Answer(text),
            Some("no") => Heard::Unfit(text),
            Some("tc") => Heard::Truncated,
            Some("what") => Heard::Again,
            _ => Heard::NotOurs,
        }
    }
}

/// A server that answers each datagram with these words and the number it was asked with; with none it is silent.
fn server(words: &'static [&'static str]) -> SocketAddr {
    serve(UdpSocket::bind("127.0.0.1:0").unwrap(), words)
}

fn serve(socket: UdpSocket, words: &'static [&'static str]) -> SocketAddr {
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let number = String::from_utf8_lossy(&buffer[4..length]).into_owned();
            for word in words {
                let answer = word.replace('#', &number);
                socket.send_to(answer.as_bytes(), peer).unwrap();
            }
        }
    });
    address
}

/// One that also speaks TCP.
fn server_with_tcp(words: &'static [&'static str], word: &'static str) -> SocketAddr {
    // A port that is free for the one may be taken for the other.
    let (listener, address) = loop {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()) {
            break (listener, serve(socket, words));
        }
    };
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut message).unwrap();
            let number = String::from_utf8_lossy(&message[4..]).into_owned();
            let answer = word.replace('#', &number);
            let framed = [&(answer.len() as u16).to_be_bytes(), answer.as_bytes()].concat();
            stream.write_all(&framed).unwrap();
        }
    });
    address
}

fn client(servers: &[SocketAddr], try_timeout: Duration) -> Client {
    Client::new(ClientOptions {
        servers: servers.to_vec(),
        try_timeout,
        tries: 2,
    })
}

fn ask(client: &Client) -> Result<String, NoAnswer> {
    rt::block_on(client.ask(&mut Counted::default())).unwrap()
}

const LONG: Duration = Duration::from_secs(60);
/// For servers that are silent; long enough for the others on a busy machine.
const SHORT: Duration = Duration::from_secs(1);

#[test]
fn the_answer_is_told_from_what_is_not() {
    let noisy = server(&["", "re 7", "xx", "re #"]);
    assert_eq!(ask(&client(&[noisy], LONG)), Ok("re 1".into()));
}

#[test]
fn what_is_not_understood_is_said_again() {
    let picky = server(&["what 1", "re 2"]);
    assert_eq!(ask(&client(&[picky], LONG)), Ok("re 2".into()));
    // Never understood: by TCP then, where nobody listens.
    let deaf = server(&["what #"]);
    let NoAnswer { troubles } = ask(&client(&[deaf], LONG)).unwrap_err();
    assert!(
        matches!(troubles[..], [(_, Trouble::Network(_))]),
        "{troubles:?}"
    );
}

#[test]
fn truncated_and_guessed_answers_make_it_tcp() {
    for words in [&["tc #"][..], &["re 0"; 40][..]] {
        let address = server_with_tcp(words, "re #");
        assert_eq!(ask(&client(&[address], LONG)), Ok("re 2".into()));
    }
}

#[test]
fn what_is_wrong_by_tcp_too_is_no_answer() {
    let address = server_with_tcp(&["tc #"], "re 77");
    let NoAnswer { troubles } = ask(&client(&[address], LONG)).unwrap_err();
    assert_eq!(troubles, [(address, Trouble::NotOurs)]);
}

#[test]
fn a_silent_server_is_asked_last_from_then_on() {
    let (silent, good) = (server(&[]), server(&["re #"]));
    let client = client(&[silent, good], SHORT);
    assert_eq!(client.order(Instant::now()), [0, 1]);
    assert_eq!(ask(&client), Ok("re 2".into()));
    assert_eq!(client.order(Instant::now()), [1, 0]);
    assert_eq!(ask(&client), Ok("re 1".into()));
    // After a while one question finds out whether it answers again, the others do not wait for that.
    let later = Instant::now() + SICK_FOR;
    assert_eq!(client.order(later), [0, 1]);
    assert_eq!(client.order(later), [1, 0]);
    client.answered(0);
    assert_eq!(client.order(later), [0, 1]);
}

#[test]
fn a_name_that_gets_no_answer_is_not_the_fault_of_a_server_that_answers_others() {
    let addresses = ["192.0.2.1:53", "192.0.2.2:53"].map(|a| a.parse().unwrap());
    let client = client(&addresses, LONG);
    let began = Instant::now();
    client.answered(0);
    let in_order = || client.order(Instant::now()) == [0, 1];
    // What was asked before, at once after, and some seconds later.
    for later in [Duration::ZERO, THERE_FOR] {
        client.failed(0, &Trouble::TimedOut, began + later);
        assert!(in_order(), "{later:?}");
    }
    // Other troubles are its own.
    client.failed(0, &Trouble::Network("nothing listens there".into()), began);
    assert!(!in_order());
    client.answered(0);
    assert!(in_order());
    // Nothing has come for long.
    let long_after = Instant::now() + THERE_FOR + Duration::from_secs(1);
    client.failed(0, &Trouble::TimedOut, long_after);
    assert!(!in_order());
    // An old question says nothing new, and one that was silent is so until it answers.
    client.failed(0, &Trouble::TimedOut, began);
    assert!(!in_order());
}

#[test]
fn nothing_listens_and_nobody_answers() {
    // A socket that takes datagrams from one peer alone is none to others, and nobody else gets its port.
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    taken.connect("127.0.0.1:9").unwrap();
    let closed = taken.local_addr().unwrap();
    let silent = server(&[]);
    let NoAnswer { troubles } = ask(&client(&[closed, silent], SHORT)).unwrap_err();
    assert_eq!(troubles.len(), 2);
    assert!(
        troubles.contains(&(silent, Trouble::TimedOut)),
        "{troubles:?}"
    );
    let refused = Trouble::Network("nothing listens there".into());
    assert!(troubles.contains(&(closed, refused)), "{troubles:?}");
    let none = ask(&client(&[], SHORT)).unwrap_err();
    assert!(none.troubles.is_empty());
}

#[test]
fn want_of_sockets_is_no_servers_fault() {
    let client = client(&[server(&[])], SHORT);
    let none = network(io::Error::from_raw_os_error(libc::EMFILE));
    assert!(matches!(none, Trouble::Ours(_)), "{none:?}");
    let began = Instant::now();
    client.failed(0, &none, began);
    assert!(client.health[0].silent.get().is_none());
    client.failed(0, &Trouble::TimedOut, began);
    assert!(client.health[0].silent.get().is_some());
}

#[test]
fn an_unfit_answer_is_the_last_resort() {
    let (unfit, good, silent) = (server(&["no #"]), server(&["re #"]), server(&[]));
    assert_eq!(ask(&client(&[unfit, good], LONG)), Ok("re 2".into()));
    assert_eq!(ask(&client(&[unfit], LONG)), Ok("no 1".into()));
    assert_eq!(ask(&client(&[silent, unfit], SHORT)), Ok("no 2".into()));
}

#[test]
fn each_question_has_a_port_of_its_own() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let ports = thread::spawn(move || {
        let mut buffer = [0; 100];
        let mut ports = std::collections::HashSet::new();
        for _ in 0..40 {
            let (length, peer) = socket.recv_from(&mut buffer).unwrap();
            let number = String::from_utf8_lossy(&buffer[4..length]).into_owned();
            socket
                .send_to(format!("re {number}").as_bytes(), peer)
                .unwrap();
            ports.insert(peer.port());
        }
        ports
    });
    let client = client(&[address], LONG);
    rt::block_on(async {
        for _ in 0..40 {
            client.ask(&mut Counted::default()).await.unwrap();
        }
    })
    .unwrap();
    // By chance one may come twice.
    assert!(ports.join().unwrap().len() > 30);
}
