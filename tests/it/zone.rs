//! A DNS server of the test's own, as a resolver that validates what is in its zone. What is there may change while it runs.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// Records by name, without the last dot, and type number.
type Records = HashMap<(String, u8), Vec<Vec<u8>>>;

/// Whoever asks for what is not there is told that it is not.
#[derive(Clone, Default)]
pub struct Zone(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    records: Records,
    failing: Vec<String>,
    silent: Vec<String>,
    unsigned: Vec<String>,
    asked: Vec<String>,
}

impl Zone {
    /// A zone and the port where it is served.
    pub fn serve() -> (Zone, u16) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let zone = Zone::default();
        let served = zone.clone();
        thread::spawn(move || {
            let mut buffer = [0; 600];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                if let Some(answer) = served.answer(&buffer[..length]) {
                    socket.send_to(&answer, peer).unwrap();
                }
            }
        });
        (zone, port)
    }

    pub fn a(&self, name: &str, address: &str) {
        let address: Ipv4Addr = address.parse().unwrap();
        self.add(name, 1, address.octets().to_vec());
    }

    pub fn mx(&self, name: &str, preference: u8, host: &str) {
        self.add(name, 15, [&[0, preference][..], &wire(host)].concat());
    }

    pub fn tlsa(&self, name: &str, fields: [u8; 3], data: &[u8]) {
        self.add(name, 52, [&fields[..], data].concat());
    }

    /// Instead of any other text of the name.
    pub fn txt(&self, name: &str, text: &str) {
        let data = [&[text.len() as u8], text.as_bytes()].concat();
        let records = &mut self.0.lock().unwrap().records;
        records.insert((name.to_string(), 16), vec![data]);
    }

    pub fn remove(&self, name: &str, number: u8) {
        self.0
            .lock()
            .unwrap()
            .records
            .remove(&(name.to_string(), number));
    }

    /// Nobody can say what the name has.
    pub fn fail(&self, name: &str) {
        self.0.lock().unwrap().failing.push(name.to_string());
    }

    /// Who asks about the name hears nothing.
    pub fn silent(&self, name: &str) {
        self.0.lock().unwrap().silent.push(name.to_string());
    }

    /// DNSSEC proves nothing of the name, nor of what is below it.
    pub fn unsigned(&self, name: &str) {
        self.0.lock().unwrap().unsigned.push(name.to_string());
    }

    /// How often the name was asked about.
    pub fn asked(&self, name: &str) -> usize {
        let inner = self.0.lock().unwrap();
        inner.asked.iter().filter(|asked| *asked == name).count()
    }

    fn add(&self, name: &str, number: u8, data: Vec<u8>) {
        let records = &mut self.0.lock().unwrap().records;
        records
            .entry((name.to_string(), number))
            .or_default()
            .push(data);
    }

    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut labels = Vec::new();
        let mut at = 12;
        while query[at] != 0 {
            let next = at + 1 + usize::from(query[at]);
            labels.push(String::from_utf8_lossy(&query[at + 1..next]).into_owned());
            at = next;
        }
        let (name, number) = (labels.join("."), query[at + 2]);
        let mut inner = self.0.lock().unwrap();
        inner.asked.push(name.clone());
        if inner.silent.contains(&name) {
            return None;
        }
        let is_there = inner
            .records
            .keys()
            .any(|(other, _)| *other == name || other.ends_with(&format!(".{name}")));
        let rcode = match (inner.failing.contains(&name), is_there) {
            (true, _) => 2,
            (false, true) => 0,
            (false, false) => 3,
        };
        let is_unsigned = |above: &String| name == *above || name.ends_with(&format!(".{above}"));
        let authentic = if inner.unsigned.iter().any(is_unsigned) {
            0
        } else {
            0x20
        };
        let none = Vec::new();
        let records = match rcode {
            0 => inner.records.get(&(name, number)).unwrap_or(&none),
            _ => &none,
        };
        let mut message = query[..2].to_vec();
        // RD, RA, AD.
        message.extend([
            0x81,
            0x80 | authentic | rcode,
            0,
            1,
            0,
            records.len() as u8,
            0,
            0,
            0,
            0,
        ]);
        message.extend(&query[12..at + 5]);
        for data in records {
            message.extend([0xc0, 12, 0, number, 0, 1, 0, 0, 0, TTL, 0, data.len() as u8]);
            message.extend(data);
        }
        Some(message)
    }
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.');
    let mut octets: Vec<u8> = labels
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .collect();
    octets.push(0);
    octets
}

/// Records hold for a moment, so that a change is seen.
const TTL: u8 = 0;
