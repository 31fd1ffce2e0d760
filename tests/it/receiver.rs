//! A server that takes mail, as a thread of the test: says what the test wants it to, and remembers what it was sent.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What one connection brought.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Who came.
    pub peer: Option<IpAddr>,
    /// Commands, in order.
    pub commands: Vec<String>,
    /// Messages that were accepted.
    pub messages: Vec<String>,
    /// Whether TLS was active in the end.
    pub tls: bool,
    /// DER of the certificate that was shown.
    pub certificate: Option<Vec<u8>>,
}

/// Says something else than usual to a command (or to a message, of which it gets `.` and the text).
pub type Says = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A running server.
pub struct Receiver {
    pub heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    /// On an address and port; offers all that is usual.
    pub fn start(
        address: impl Into<IpAddr>,
        port: u16,
        tls: Option<Arc<ServerConfig>>,
        says: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Receiver {
        let listener = TcpListener::bind((address.into(), port)).unwrap();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let all = heard.clone();
        let says: Arc<Says> = Arc::new(says);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(Heard::default());
                    all.len() - 1
                };
                let session = Session {
                    all: all.clone(),
                    number,
                    says: says.clone(),
                };
                let tls = tls.clone();
                std::thread::spawn(move || session.serve(stream.unwrap(), tls));
            }
        });
        Receiver { heard }
    }

    /// The messages of all connections.
    pub fn messages(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().flat_map(|h| h.messages.clone()).collect()
    }

    /// The commands of all connections.
    pub fn commands(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().flat_map(|h| h.commands.clone()).collect()
    }

    pub fn connections(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

/// In one piece: what a test has said together is there together.
fn say(stream: &mut impl Write, said: &str) -> Option<()> {
    stream.write_all(format!("{said}\r\n").as_bytes()).ok()
}

/// Connections to an address and port of ours that their clients have not closed, as the kernel knows them: proc(5), tcp.
pub fn open_connections(address: [u8; 4], port: u16) -> usize {
    let server = format!("{:08X}:{port:04X}", u32::from_ne_bytes(address));
    let all = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // What clients know of theirs: servers hear a little later that one is closed.
    let client_of_open = |line| {
        let mut words = str::split_whitespace(line);
        // sl, local_address, rem_address, st: 01 is ESTABLISHED.
        let client = words.nth(1)?;
        let is_it = words.next() == Some(server.as_str());
        (is_it && words.next() == Some("01")).then_some(client)
    };
    // It is read in pieces: what moves meanwhile may be there twice.
    let clients: HashSet<&str> = all.lines().filter_map(client_of_open).collect();
    clients.len()
}

struct Session {
    all: Arc<Mutex<Vec<Heard>>>,
    number: usize,
    says: Arc<Says>,
}

impl Session {
    fn note(&self, note: impl FnOnce(&mut Heard)) {
        note(&mut self.all.lock().unwrap()[self.number]);
    }

    fn serve(&self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        self.note(|h| h.peer = peer);
        let mut plain = BufReader::new(stream);
        let banner = (self.says)("").unwrap_or("220 receiver.test ESMTP".to_owned());
        if say(plain.get_mut(), &banner).is_none() {
            return;
        }
        if self.talk(&mut plain, tls.is_some()) != Some(true) {
            return;
        }
        let Some(config) = tls else { return };
        let connection = ServerConnection::new(config).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(connection, plain.into_inner()));
        while stream.get_ref().conn.is_handshaking() {
            let StreamOwned { conn, sock } = stream.get_mut();
            if conn.complete_io(sock).is_err() {
                return;
            }
        }
        self.note(|h| {
            h.tls = true;
            let shown = stream.get_ref().conn.peer_certificates();
            h.certificate = shown.map(|c| c[0].to_vec());
        });
        self.talk(&mut stream, false);
    }

    /// True: STARTTLS.
    fn talk<S: Read + Write>(&self, talk: &mut BufReader<S>, tls: bool) -> Option<bool> {
        let mut recipients = 0;
        loop {
            let mut line = String::new();
            if talk.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            let line = line.trim_end().to_owned();
            self.note(|h| h.commands.push(line.clone()));
            let verb = line.split([' ', ':']).next().unwrap_or("").to_uppercase();
            let usual = match verb.as_str() {
                "EHLO" => {
                    let more = if tls { "250-STARTTLS\r\n" } else { "" };
                    format!(
                        "250-receiver.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n{more}250 ENHANCEDSTATUSCODES"
                    )
                }
                "STARTTLS" => "220 go ahead".into(),
                "DATA" if recipients == 0 => "554 5.5.1 no valid recipients".into(),
                "DATA" => "354 go ahead".into(),
                "QUIT" => "221 bye".into(),
                _ => "250 2.0.0 fine".into(),
            };
            let said = (self.says)(&line).unwrap_or(usual);
            if said == "close" {
                return None;
            }
            if said == "silence" {
                std::thread::sleep(Duration::from_secs(60));
                return None;
            }
            say(talk.get_mut(), &said)?;
            let is_fine = said.starts_with('2') || said.starts_with('3');
            match verb.as_str() {
                "RCPT" if is_fine => recipients += 1,
                "STARTTLS" if is_fine => return Some(true),
                "QUIT" => return None,
                "DATA" if is_fine => {
                    let mut text = String::new();
                    while !text.ends_with("\r\n.\r\n") {
                        if talk.read_line(&mut text).unwrap_or(0) == 0 {
                            return None;
                        }
                    }
                    recipients = 0;
                    let said = (self.says)(&format!(".{text}"));
                    let said = said.unwrap_or("250 2.0.0 taken".into());
                    if said.starts_with('2') {
                        self.note(|h| h.messages.push(text));
                    }
                    if said == "close" {
                        return None;
                    }
                    say(talk.get_mut(), &said)?;
                }
                _ => (),
            }
        }
    }
}
