//! The sink: an SMTP receiver that accepts faster than any server can send, counts to the message, and misbehaves where a script
//! says so. One port at many loopback addresses, each a destination of its own.
//!
//! `script.rs` reads what each destination does, `dialog.rs` and `offers.rs` say it (no socket, no clock), `data.rs` finds the end of a message,
//! `serve.rs` moves the octets of a share of the destinations on one thread, `tally.rs` counts.
//! Its input is a server's under test: whatever comes, it is answered, counted, or its connection closed.
//! Never here: who sends, and whether all of it came; `scenarios/relay.rs` compares.

mod data;
mod dialog;
mod offers;
mod script;
mod serve;
mod tally;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Failure;
use script::Rules;
pub use script::Script;
use serve::Server;
pub use tally::Tally;

/// Where destination number `index` listens: its own loopback address. `127.0.0.x` is left to the servers under test.
pub fn address_of(index: usize) -> Ipv4Addr {
    loopback(0, index)
}

/// Where the stalled destination number `index` listens: apart from the others, which keep their addresses.
pub fn stalled_address_of(index: usize) -> Ipv4Addr {
    loopback(128, index)
}

fn loopback(block: u8, index: usize) -> Ipv4Addr {
    let (network, host) = (index / HOSTS, index % HOSTS);
    // Networks from 1 on: 127.0.1.0, .., 127.0.250.0, 127.1.1.0.
    let (second, third) = (network / HOSTS, network % HOSTS);
    Ipv4Addr::new(127, block + second as u8, third as u8 + 1, host as u8 + 1)
}

/// One address, what it does and what it got.
pub struct Destination {
    /// Its address.
    pub address: Ipv4Addr,
    rules: Rules,
    // A lock, because whoever waits for messages reads while the thread of the destination counts: nobody holds it for long.
    tally: Mutex<Tally>,
}

impl Destination {
    /// What it got so far.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running sink.
pub struct Sink {
    destinations: Arc<Vec<Destination>>,
    port: u16,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Sink {
    /// Listens at the addresses, and at those that the script alone names. Port 0 is any.
    pub fn start(
        addresses: &[Ipv4Addr],
        port: u16,
        script: &Script,
        threads: usize,
    ) -> Result<Self, Failure> {
        let named = script.addresses().filter(|it| !addresses.contains(it));
        let all = addresses.iter().copied().chain(named);
        let destinations: Vec<Destination> = all
            .map(|address| Destination {
                address,
                rules: script.rules(address),
                tally: Mutex::new(Tally::default()),
            })
            .collect();
        let mut sink = Self {
            destinations: Arc::new(destinations),
            port,
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        let listeners = sink.listen()?;
        let mut shares: Vec<Vec<(usize, Socket)>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, listener) in listeners {
            shares[index % threads].push((index, listener));
        }
        for share in shares.into_iter().filter(|share| !share.is_empty()) {
            let destinations = Arc::clone(&sink.destinations);
            let mut server = Server::new(destinations, Arc::clone(&sink.stop), share)?;
            let thread = thread::Builder::new().name("sink".into());
            let thread = thread.spawn(move || server.run());
            sink.threads.push(thread.map_err(Failure::io("thread"))?);
        }
        Ok(sink)
    }

    /// A listener for each destination that is not down.
    fn listen(&mut self) -> Result<Vec<(usize, Socket)>, Failure> {
        let mut listeners = Vec::new();
        for (index, destination) in self.destinations.iter().enumerate() {
            if destination.rules.refuse {
                continue;
            }
            let address = SocketAddrV4::new(destination.address, self.port);
            let listener = listen(address).map_err(Failure::io(format!("sink at {address}")))?;
            if self.port == 0 {
                let bound = listener.local_addr().map_err(Failure::io("sink"))?;
                self.port = bound.as_socket().map_or(0, |bound| bound.port());
            }
            listeners.push((index, listener));
        }
        Ok(listeners)
    }

    /// The port.
    #[cfg(test)]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All destinations, in the order of addresses given.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// Accepted messages of a run.
    pub fn messages(&self, run: &str) -> u64 {
        let of = |it: &Destination| it.tally().arrivals(run).len() as u64;
        self.destinations.iter().map(of).sum()
    }

    /// All counts. Of a run, numbers between its first and its highest that came nowhere are `missing`.
    pub fn json(&self) -> Value {
        let each = self.destinations.iter().map(|destination| {
            let mut value = destination.tally().json();
            value["address"] = json!(destination.address.to_string());
            value
        });
        json!({
            "destinations": each.collect::<Vec<Value>>(),
            "runs": tally::runs(&self.destinations),
        })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddrV4) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

const HOSTS: usize = 250;
const BACKLOG: i32 = 4096;
/// Addresses before the stalled ones begin.
pub const DESTINATIONS_MAX: usize = 100 * HOSTS * HOSTS;
