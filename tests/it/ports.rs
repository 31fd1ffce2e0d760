//! Ports for what tests start. Servers bind theirs some time after they are told of them; whoever took one meanwhile would be asked in the other's
//! place, or both would share its connections (SO_REUSEPORT). So a number is held against everybody else who takes his ports here, also in
//! other processes, by binding its UDP port, which nothing needs. All are below 32,768, where Linux begins to take ports of clients.

use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A port of loopback, held as long as this process lives.
pub fn port() -> u16 {
    static HELD: Mutex<(Vec<UdpSocket>, Range<u16>)> = Mutex::new((Vec::new(), 0..0));
    let (blocks, left) = &mut *HELD.lock().unwrap();
    loop {
        match left.next() {
            Some(port) if is_free(port) => return port,
            Some(_) => (),
            None => {
                let (block, first) = hold(10_000..20_000, BLOCK, &[0]);
                blocks.push(block);
                *left = first + 1..first + BLOCK;
            }
        }
    }
}

/// An offset for the ports of `localserve`; it is a free port itself, as is the next. It is others' again when it is dropped.
pub struct Offset {
    pub number: u16,
    _held: UdpSocket,
}

impl Offset {
    pub fn new() -> Offset {
        // 27 divides no difference of two of these ports: none of one offset is one of another.
        let ports = [0, 1, 25, 80, 143, 443, 465, 587, 993];
        let (_held, number) = hold(20_000..31_700, 27, &ports);
        Offset { number, _held }
    }
}

/// Holds one of these numbers, that many apart from each other, with which all of these ports are free.
fn hold(numbers: Range<u16>, apart: u16, ports: &[u16]) -> (UdpSocket, u16) {
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    let all: Vec<u16> = numbers.step_by(usize::from(apart)).collect();
    let begin = std::process::id() as usize * 7;
    for _ in &all {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        let number = all[(begin + tried) % all.len()];
        if let Ok(held) = UdpSocket::bind(("127.0.0.1", number))
            && ports.iter().all(|port| is_free(number + port))
        {
            return (held, number);
        }
    }
    panic!("no port is free");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Ports that are held together.
const BLOCK: u16 = 50;
