//! All connections of a run on one thread: readiness from epoll, octets to and from `Traffic`, which knows the protocol.
//!
//! The tester shares the cores with the server, so a connection costs a read, what `Traffic` does, and a write; one buffer
//! serves all reads. Connections live in slots: when one has ended, `Traffic` may put another in its place.
//! Not here: protocols, figures.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use crate::error::Failure;
use crate::link::{Input, Link};
use crate::tls;

/// What is said over the connections.
pub trait Traffic {
    /// State of one connection.
    type Dialog;

    /// The next connection of a slot; `None` if it has done its part.
    fn open(&mut self, slot: usize, now: Instant) -> Option<Opening<Self::Dialog>>;

    /// What the client says first, where the server waits for it.
    fn connected(&mut self, _dialog: &mut Self::Dialog, _output: &mut Vec<u8>, _now: Instant) {}

    /// Takes what the server sent, writes the answer to `output`. An error holds the server's line.
    fn receive(
        &mut self,
        dialog: &mut Self::Dialog,
        input: &[u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Turn, String>;

    /// TLS has begun after [`Turn::StartTls`].
    fn secured(&mut self, _dialog: &mut Self::Dialog, _output: &mut Vec<u8>) {}

    /// The first octets came over TLS: what a login can be bound to is known.
    fn bound(&mut self, _dialog: &mut Self::Dialog, _link: &Link) {}

    /// Goes on after a pause of all connections, see [`Engine::resume`].
    fn resume(&mut self, _dialog: &mut Self::Dialog, _output: &mut Vec<u8>, _now: Instant) {}

    /// What the dialog waits for, in words.
    fn waits_for(&self, dialog: &Self::Dialog) -> String;
}

/// How a connection begins.
pub struct Opening<D> {
    /// Its state.
    pub dialog: D,
    /// The server.
    pub to: SocketAddr,
    /// Own address, if it matters.
    pub source: Option<IpAddr>,
    /// Whether TLS comes first.
    pub tls: bool,
}

impl<D> Opening<D> {
    /// The same with another kind of dialog.
    pub fn map<E>(self, wrap: impl FnOnce(D) -> E) -> Opening<E> {
        Opening {
            dialog: wrap(self.dialog),
            to: self.to,
            source: self.source,
            tls: self.tls,
        }
    }
}

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// More of the same.
    Stay,
    /// The server is ready for the handshake.
    StartTls,
    /// This connection is done.
    Close,
}

struct Connection<D> {
    link: Link,
    dialog: D,
    number: u64,
}

/// The connections of one run against one server.
pub struct Engine<D> {
    poll: Poll,
    events: Events,
    slots: Vec<Option<Connection<D>>>,
    buffer: Vec<u8>,
    tls: Arc<ClientConfig>,
    name: String,
    timeout: Duration,
    deadline: Instant,
    opened: u64,
    live: usize,
}

impl<D> Engine<D> {
    /// An engine without connections. `name` of the server is for errors; all must be over after `timeout`.
    pub fn new(name: &str, timeout: Duration) -> Result<Self, Failure> {
        let tls = tls::config().map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Self {
            poll: Poll::new().map_err(Failure::io("epoll"))?,
            events: Events::with_capacity(1024),
            slots: Vec::new(),
            buffer: vec![0; READ_BUFFER],
            tls,
            name: name.to_owned(),
            timeout,
            deadline: Instant::now() + timeout,
            opened: 0,
            live: 0,
        })
    }

    /// Adds a slot and opens its first connection.
    pub fn add<T: Traffic<Dialog = D>>(&mut self, traffic: &mut T) -> Result<(), Failure> {
        self.slots.push(None);
        self.open(traffic, self.slots.len() - 1)
    }

    /// Lets every connection go on that paused.
    pub fn resume<T: Traffic<Dialog = D>>(&mut self, traffic: &mut T) -> Result<(), Failure> {
        for slot in 0..self.slots.len() {
            if let Some(connection) = &mut self.slots[slot] {
                let output = &mut connection.link.output;
                traffic.resume(&mut connection.dialog, output, Instant::now());
                let flushed = connection.link.flush();
                flushed.map_err(|error| self.failure(slot, error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Serves all connections until `done` says so, or none is left. `done` is asked after each round of events and at
    /// least five times a second.
    pub fn run<T: Traffic<Dialog = D>>(
        &mut self,
        traffic: &mut T,
        mut done: impl FnMut(&T) -> bool,
    ) -> Result<(), Failure> {
        while !done(traffic) && self.live > 0 {
            if Instant::now() >= self.deadline {
                return Err(self.timed_out(traffic));
            }
            match self.poll.poll(&mut self.events, Some(ROUND_MAX)) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::io("epoll")(error)),
            }
            let ready: Vec<_> = self
                .events
                .iter()
                .map(|event| (event.token().0, event.is_read_closed()))
                .collect();
            for (slot, closed) in ready {
                self.serve(traffic, slot, closed)?;
            }
        }
        Ok(())
    }

    fn open<T: Traffic<Dialog = D>>(
        &mut self,
        traffic: &mut T,
        slot: usize,
    ) -> Result<(), Failure> {
        let Some(opening) = traffic.open(slot, Instant::now()) else {
            return Ok(());
        };
        self.opened += 1;
        let what = format!("{}: connection {}", self.name, self.opened);
        let mut link =
            Link::connect(opening.to, opening.source).map_err(Failure::io(what.clone()))?;
        let interests = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry
            .register(&mut link.stream, Token(slot), interests)
            .map_err(Failure::io(what.clone()))?;
        if opening.tls {
            link.start_tls(&self.tls).map_err(Failure::io(what))?;
        }
        let mut dialog = opening.dialog;
        traffic.connected(&mut dialog, &mut link.output, Instant::now());
        self.slots[slot] = Some(Connection {
            link,
            dialog,
            number: self.opened,
        });
        self.live += 1;
        Ok(())
    }

    /// Reads all there is of one connection, and writes.
    fn serve<T: Traffic<Dialog = D>>(
        &mut self,
        traffic: &mut T,
        slot: usize,
        closed: bool,
    ) -> Result<(), Failure> {
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else {
            return Ok(());
        };
        match pump(connection, traffic, &mut self.buffer, &self.tls, closed) {
            Ok(Turn::Close) => {
                // Closing the socket takes it out of epoll.
                self.slots[slot] = None;
                self.live -= 1;
                self.open(traffic, slot)
            }
            Ok(_) => Ok(()),
            Err(answer) => Err(self.failure(slot, answer)),
        }
    }

    fn failure(&self, slot: usize, answer: String) -> Failure {
        let connection = self.slots[slot].as_ref().map_or(0, |it| it.number);
        Failure::Answer {
            target: self.name.clone(),
            connection,
            answer,
        }
    }

    fn timed_out<T: Traffic<Dialog = D>>(&self, traffic: &T) -> Failure {
        let mut live = self.slots.iter().flatten();
        let first = live.next().map_or_else(String::new, |connection| {
            let number = connection.number;
            let what = traffic.waits_for(&connection.dialog);
            format!("; connection {number} waits for {what}")
        });
        Failure::Timeout {
            target: self.name.clone(),
            secs: self.timeout.as_secs(),
            waiting: format!("{} connections open{first}", self.live),
        }
    }
}

/// One readiness event. A read that does not fill the buffer has emptied the socket: the next octet makes a new event
/// (epoll, edge-triggered), unless the peer's end has been told already.
fn pump<T: Traffic>(
    connection: &mut Connection<T::Dialog>,
    traffic: &mut T,
    buffer: &mut [u8],
    tls: &Arc<ClientConfig>,
    closed: bool,
) -> Result<Turn, String> {
    let link = &mut connection.link;
    loop {
        link.flush().map_err(|error| format!("write: {error}"))?;
        let count = match link.read(buffer) {
            Ok(Input::Octets(count)) => count,
            Ok(Input::Nothing) => break,
            Ok(Input::End) => {
                let what = traffic.waits_for(&connection.dialog);
                return Err(format!("closed by the server instead of {what}"));
            }
            Err(error) => {
                let what = traffic.waits_for(&connection.dialog);
                return Err(format!("{error}, instead of {what}"));
            }
        };
        let dialog = &mut connection.dialog;
        if link.is_newly_secure() {
            traffic.bound(dialog, link);
        }
        match traffic.receive(dialog, &buffer[..count], &mut link.output, Instant::now())? {
            Turn::Stay => {}
            Turn::Close => return Ok(Turn::Close),
            Turn::StartTls => {
                link.start_tls(tls).map_err(|error| error.to_string())?;
                traffic.secured(dialog, &mut link.output);
            }
        }
        if count < buffer.len() && !closed && !link.is_secure() {
            break;
        }
    }
    link.flush().map_err(|error| format!("write: {error}"))?;
    Ok(Turn::Stay)
}

/// Octets of one read: bulk answers come in few system calls.
const READ_BUFFER: usize = 256 * 1024;
/// How long the loop sleeps at most.
const ROUND_MAX: Duration = Duration::from_millis(200);
