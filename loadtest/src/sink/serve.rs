//! One thread of the sink: the listeners and connections of its share of the destinations, on one epoll.
//! Not here: what is said, `dialog.rs`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::ServerConfig;
use socket2::{SockRef, Socket};

use super::Destination;
use super::dialog::{Dialog, Scene, Step};
use crate::error::Failure;
use crate::link::{Input, Link};
use crate::tls;

/// A thread's share.
pub struct Server {
    destinations: Arc<Vec<Destination>>,
    stop: Arc<AtomicBool>,
    poll: Poll,
    listeners: Vec<(usize, TcpListener)>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    opened: u64,
    /// When a connection may go on, its slot, its number.
    timers: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    tls: Arc<ServerConfig>,
}

struct Connection {
    link: Link,
    dialog: Dialog,
    destination: usize,
    number: u64,
    /// Input that was not used.
    pending: Vec<u8>,
    /// A reply that is held back, and what follows it.
    held: Option<(Vec<u8>, Step)>,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Talk,
    /// Whatever comes is read and forgotten.
    Silent,
    /// So many octets of a line are left.
    Endless(usize),
    /// To be closed.
    Over,
}

impl Server {
    /// Takes listeners, each with its destination.
    pub fn new(
        destinations: Arc<Vec<Destination>>,
        stop: Arc<AtomicBool>,
        share: Vec<(usize, Socket)>,
    ) -> Result<Self, Failure> {
        let poll = Poll::new().map_err(Failure::io("epoll"))?;
        let mut listeners = Vec::new();
        for (destination, socket) in share {
            let mut listener = TcpListener::from_std(socket.into());
            poll.registry()
                .register(&mut listener, Token(listeners.len()), Interest::READABLE)
                .map_err(Failure::io("epoll"))?;
            listeners.push((destination, listener));
        }
        Ok(Self {
            destinations,
            stop,
            poll,
            listeners,
            connections: Vec::new(),
            free: Vec::new(),
            opened: 0,
            timers: BinaryHeap::new(),
            tls: tls::server_config().map_err(Failure::Usage)?,
        })
    }

    /// Serves until it is to stop.
    pub fn run(&mut self) {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BUFFER];
        while !self.stop.load(Ordering::Relaxed) {
            let next = self.timers.peek();
            let until = next.map(|due| due.0.0.saturating_duration_since(Instant::now()));
            let wait = until.map_or(ROUND_MAX, |until| until.min(ROUND_MAX));
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                eprintln!("sink: epoll: {error}");
                return;
            }
            for event in &events {
                match event.token().0.checked_sub(self.listeners.len()) {
                    None => self.accept(event.token().0),
                    Some(slot) => self.serve(slot, event.is_read_closed(), &mut buffer),
                }
            }
            self.expire(&mut buffer);
        }
    }

    fn accept(&mut self, listener: usize) {
        loop {
            let (destination, listener) = &self.listeners[listener];
            match listener.accept() {
                Ok((stream, _)) => self.open(*destination, stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The peer is gone already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    eprintln!("sink: accept: {error}");
                    return;
                }
            }
        }
    }

    fn open(&mut self, destination: usize, stream: TcpStream) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let mut link = match Link::accepted(stream) {
            Ok(link) => link,
            Err(_) => return self.free.push(slot),
        };
        let token = Token(self.listeners.len() + slot);
        let interests = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry();
        if let Err(error) = registered.register(&mut link.stream, token, interests) {
            eprintln!("sink: epoll: {error}");
            return self.free.push(slot);
        }
        self.opened += 1;
        let place = &self.destinations[destination];
        let mut tally = place.tally();
        tally.opened();
        let mut output = Vec::new();
        let (dialog, step) = Dialog::open(&mut Scene {
            rules: &place.rules,
            tally: &mut tally,
            output: &mut output,
            now: Instant::now(),
        });
        drop(tally);
        let mut connection = Connection {
            link,
            dialog,
            destination,
            number: self.opened,
            pending: Vec::new(),
            held: None,
            mode: Mode::Talk,
        };
        // The socket's first event writes it.
        connection.hold_or_say(place, output, step, &self.tls);
        if connection.held.is_some() {
            self.wait_for(slot, &connection);
        }
        self.connections[slot] = Some(connection);
    }

    /// Reads all there is, answers, and writes.
    fn serve(&mut self, slot: usize, closed: bool, buffer: &mut [u8]) {
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else {
            return;
        };
        let place = &self.destinations[connection.destination];
        let was_held = connection.held.is_some();
        let open = connection.pump(place, buffer, closed, &self.tls);
        if open.is_ok() && connection.mode != Mode::Over {
            if connection.held.is_some() && !was_held {
                self.wait_for(slot, &connection);
            }
            self.connections[slot] = Some(connection);
        } else {
            place.tally().open -= 1;
            self.free.push(slot);
        }
    }

    fn wait_for(&mut self, slot: usize, connection: &Connection) {
        let rules = &self.destinations[connection.destination].rules;
        let due = Instant::now() + rules.slow.unwrap_or_default();
        self.timers.push(Reverse((due, slot, connection.number)));
    }

    /// Says what was held back for long enough.
    fn expire(&mut self, buffer: &mut [u8]) {
        let now = Instant::now();
        while let Some(Reverse((due, slot, number))) = self.timers.peek().copied() {
            if due > now {
                return;
            }
            self.timers.pop();
            let waiting = self.connections.get_mut(slot).and_then(Option::as_mut);
            if let Some(connection) = waiting.filter(|it| it.number == number) {
                if let Some((reply, step)) = connection.held.take() {
                    connection.say(&reply, step, &self.tls);
                }
                self.serve(slot, false, buffer);
            }
        }
    }
}

impl Connection {
    /// An error closes the connection, as does the peer's end.
    fn pump(
        &mut self,
        place: &Destination,
        buffer: &mut [u8],
        closed: bool,
        tls: &Arc<ServerConfig>,
    ) -> io::Result<()> {
        self.talk(place, tls);
        loop {
            self.flush()?;
            if self.mode == Mode::Over || self.pending.len() > PENDING_MAX {
                return Ok(());
            }
            let count = match self.link.read(buffer)? {
                Input::Octets(count) => count,
                Input::Nothing => break,
                Input::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
            if self.link.is_newly_secure() {
                place.tally().handshakes += 1;
            }
            if self.mode == Mode::Talk {
                self.input(&buffer[..count], place, tls);
            }
            if count < buffer.len() && !closed && !self.link.is_secure() {
                break;
            }
        }
        self.flush()
    }

    /// Uses the input; what is left waits.
    fn input(&mut self, input: &[u8], place: &Destination, tls: &Arc<ServerConfig>) {
        if self.pending.is_empty() && self.held.is_none() {
            let used = self.answer(input, place, tls);
            self.pending.extend_from_slice(&input[used..]);
        } else {
            self.pending.extend_from_slice(input);
            self.talk(place, tls);
        }
    }

    fn talk(&mut self, place: &Destination, tls: &Arc<ServerConfig>) {
        if !self.pending.is_empty() && self.held.is_none() && self.mode == Mode::Talk {
            let pending = std::mem::take(&mut self.pending);
            let used = self.answer(&pending, place, tls);
            self.pending.extend_from_slice(&pending[used..]);
        }
    }

    /// Answers as far as the input and the pauses go, and says how much was used.
    fn answer(&mut self, input: &[u8], place: &Destination, tls: &Arc<ServerConfig>) -> usize {
        let now = Instant::now();
        let mut at = 0;
        while at < input.len() && self.held.is_none() && self.mode == Mode::Talk {
            let mut output = Vec::new();
            let mut scene = Scene {
                rules: &place.rules,
                tally: &mut place.tally(),
                output: &mut output,
                now,
            };
            let (used, step) = self.dialog.step(&input[at..], &mut scene);
            at += used;
            if step == Step::More && used == 0 {
                return at;
            }
            if step == Step::StartTls {
                // RFC 3207 4.2: nothing that came before the handshake counts after it.
                at = input.len();
            }
            self.hold_or_say(place, output, step, tls);
        }
        at
    }

    fn hold_or_say(
        &mut self,
        place: &Destination,
        reply: Vec<u8>,
        step: Step,
        tls: &Arc<ServerConfig>,
    ) {
        if place.rules.slow.is_some() && !reply.is_empty() {
            self.held = Some((reply, step));
        } else {
            self.say(&reply, step, tls);
        }
    }

    fn say(&mut self, reply: &[u8], step: Step, tls: &Arc<ServerConfig>) {
        self.link.output.extend_from_slice(reply);
        match step {
            Step::More | Step::Reply => {}
            Step::StartTls => {
                let begun = self.link.flush().and_then(|()| self.link.accept_tls(tls));
                self.dialog.secured();
                if begun.is_err() {
                    self.mode = Mode::Over;
                }
            }
            Step::Close => {
                // Read on until the peer closes: a socket closed with input unread would take the last reply back.
                self.mode = Mode::Silent;
                if self.link.close().is_err() {
                    self.mode = Mode::Over;
                }
            }
            Step::Stall => self.mode = Mode::Silent,
            Step::Endless => self.mode = Mode::Endless(ENDLESS),
            Step::Drop => {
                // Linux: a linger time of 0 makes the close a reset.
                let _ = SockRef::from(&self.link.stream).set_linger(Some(Duration::ZERO));
                self.mode = Mode::Over;
            }
        }
        if self.link.output.len() > OUTPUT_MAX {
            self.mode = Mode::Over;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.link.flush()?;
        while let Mode::Endless(left) = self.mode {
            if left == 0 || !self.link.output.is_empty() {
                break;
            }
            let count = left.min(ENDLESS_PART);
            self.link.output.resize(count, b'2');
            self.mode = Mode::Endless(left - count);
            self.link.flush()?;
        }
        Ok(())
    }
}

const READ_BUFFER: usize = 256 * 1024;
/// How long the loop sleeps at most.
const ROUND_MAX: Duration = Duration::from_millis(100);
/// Input that waits for a pause to end; then the socket is not read.
const PENDING_MAX: usize = 1 << 20;
/// Replies that nobody reads.
const OUTPUT_MAX: usize = 1 << 20;
/// As much of an endless line as tells who has no bound.
const ENDLESS: usize = 16 << 20;
const ENDLESS_PART: usize = 64 * 1024;
