//! A server that takes mail, as a thread of the test: says what the test wants it to, and remembers what it was sent. And how servers of tests count the
//! connections that they have at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    open: Arc<Open>,
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
        let open: Arc<Open> = Arc::default();
        let counted = open.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
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
                let (tls, open) = (tls.clone(), counted.clone());
                open.begins(number, &stream);
                std::thread::spawn(move || {
                    session.serve(stream, tls);
                    open.ends(number);
                });
            }
        });
        Receiver { heard, open }
    }

    /// Connections that were open at once, at most.
    pub fn most_open(&self) -> usize {
        self.open.most()
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

/// Open connections, counted when another is accepted: what its client had closed before it connected is closed then. On one machine that is exact.
#[derive(Default)]
pub struct Open {
    all: Mutex<Vec<(usize, TcpStream)>>,
    most: AtomicUsize,
}

impl Open {
    /// One more.
    pub fn begins(&self, number: usize, stream: &TcpStream) {
        let mut all = self.all.lock().unwrap();
        all.push((number, stream.try_clone().unwrap()));
        let open = all.iter().filter(|(_, stream)| is_open(stream)).count();
        self.most.fetch_max(open, Ordering::SeqCst);
    }

    /// Ours is closed too, then.
    pub fn ends(&self, number: usize) {
        self.all.lock().unwrap().retain(|(n, _)| *n != number);
    }

    /// The most there were at once.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Whether neither side has closed it: tcp(7), TCP_INFO, whose first octet is the state.
fn is_open(stream: &TcpStream) -> bool {
    const ESTABLISHED: u8 = 1;
    let mut info = [0_u8; 4];
    let mut length = info.len() as libc::socklen_t;
    // Safe because the kernel writes no more than the length says.
    let failed = unsafe {
        let (fd, info) = (stream.as_raw_fd(), info.as_mut_ptr().cast());
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info, &mut length)
    };
    assert_eq!(failed, 0);
    info[0] == ESTABLISHED
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
