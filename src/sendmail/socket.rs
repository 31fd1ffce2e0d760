//! A blocking connection on which nothing takes longer than a deadline. The command has one thread for it; no executor is near.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::exit::{Exit, Failure};

/// A TCP connection with an end of its time.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    deadline: Instant,
}

impl Socket {
    /// Connects to the first address of a host that answers.
    pub fn connect(
        host: &str,
        port: u16,
        each: Duration,
        deadline: Instant,
    ) -> Result<Socket, Failure> {
        let mut wrong = Vec::new();
        for address in resolve(host, port, deadline)? {
            let left = deadline.saturating_duration_since(Instant::now());
            let connected = match left.is_zero() {
                true => Err(io::ErrorKind::TimedOut.into()),
                false => TcpStream::connect_timeout(&address, each.min(left)),
            };
            match connected {
                Ok(stream) => {
                    // Commands are short and wait for answers.
                    let _ = stream.set_nodelay(true);
                    return Ok(Socket { stream, deadline });
                }
                Err(error) => wrong.push(format!("{address}: {}", words(&error))),
            }
        }
        Err(Failure::new(
            Exit::TempFail,
            format!("no connection to {host}: {}", wrong.join("; ")),
        ))
    }

    /// From now on nothing takes longer than this.
    pub fn hurry(&mut self, rest: Duration) {
        self.deadline = self.deadline.min(Instant::now() + rest);
    }

    /// Our own address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                result => return result.map_err(timed_out),
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        loop {
            self.stream.set_write_timeout(Some(self.left()?))?;
            match self.stream.write(octets) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                result => return result.map_err(timed_out),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The system's resolver has times of its own and can't be stopped, so it is left behind when ours is over.
fn resolve(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
    let (sender, receiver) = channel();
    let target = (host.to_owned(), port);
    std::thread::spawn(move || {
        let found = target.to_socket_addrs();
        let _ = sender.send(found.map(|addresses| addresses.take(ADDRESSES_MAX).collect()));
    });
    let left = deadline.saturating_duration_since(Instant::now());
    let found: io::Result<Vec<SocketAddr>> = receiver
        .recv_timeout(left)
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(Failure::new(Exit::NoHost, format!("{host} has no address"))),
        // getaddrinfo does not tell a name that is not there from a network that is down.
        Err(error) => Err(Failure::new(
            Exit::TempFail,
            format!("{host} can't be looked up: {}", words(&error)),
        )),
    }
}

/// Linux says of a time that is over that the socket would block.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// An error in few words.
pub fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer in time".into(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => "the server closed the connection".into(),
        _ => error.to_string(),
    }
}

/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 16;
