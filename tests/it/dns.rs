//! `ringmail dns`, with a DNS server of the test's own; tests/interop/name_lookups.py has real ones.

use std::net::UdpSocket;
use std::thread;

use crate::folder::Folder;
use crate::program::Ran;

const DOMAINS: &str = "
[postmaster]
account = \"anna\"
[domain.\"example.test\"]
";

/// A server of this zone, as a resolver that validates it: the data of the records of a name and a type.
pub fn serve_zone(zone: impl Fn(&str, u8) -> Vec<Vec<u8>> + Send + 'static) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 600];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            socket
                .send_to(&answer(&buffer[..length], &zone), peer)
                .unwrap();
        }
    });
    port
}

fn server() -> u16 {
    serve_zone(|name, number| match (name, number) {
        ("mail.test.", 15) => vec![mx(20, "backup.mail.test"), mx(10, "mx.mail.test")],
        ("null.test.", 15) => vec![vec![0, 0, 0]],
        ("mx.mail.test." | "alone.test.", 1) => vec![vec![192, 0, 2, 1]],
        ("_25._tcp.mx.mail.test.", 52) => vec![vec![3, 1, 1, 0xab, 0xcd]],
        _ => vec![],
    })
}

/// The data of an MX record.
pub fn mx(preference: u8, host: &str) -> Vec<u8> {
    [&[0, preference][..], &wire(host)].concat()
}

fn answer(query: &[u8], zone: &dyn Fn(&str, u8) -> Vec<Vec<u8>>) -> Vec<u8> {
    let end = query[12..].iter().position(|octet| *octet == 0).unwrap() + 13;
    let mut name = String::new();
    let mut at = 12;
    while query[at] != 0 {
        let next = at + 1 + usize::from(query[at]);
        name.push_str(&String::from_utf8_lossy(&query[at + 1..next]));
        name.push('.');
        at = next;
    }
    let number = query[end + 1];
    let records = zone(&name.to_lowercase(), number);
    // RD, RA, AD; a name that begins with "gone" does not exist.
    let rcode = if name.starts_with("gone") { 3 } else { 0 };
    let mut message = query[..2].to_vec();
    message.extend([0x81, 0xa0 | rcode, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    message.extend(&query[12..end + 4]);
    for data in records {
        message.extend([0xc0, 12, 0, number, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        message.extend(data);
    }
    message
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.');
    let mut octets: Vec<u8> = labels
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .collect();
    octets.push(0);
    octets
}

#[test]
fn names_are_looked_up_without_a_running_server() {
    let servers = format!("[dns]\nservers = [\"127.0.0.1:{}\"]\n", server());
    let folder = Folder::new(DOMAINS, &servers);
    std::fs::create_dir(folder.at("accounts")).unwrap();
    let anna = "addresses = [\"anna@example.test\"]\n";
    std::fs::write(folder.at("accounts/anna.toml"), anna).unwrap();
    let dns = |words: &[&str]| {
        let Ran { code, out, err } = folder.run(&[&["dns"], words].concat());
        assert_eq!(err, "", "{out}");
        (code, out)
    };
    let told = "MX of mail.test: 2 records (DNSSEC proves it; holds 60 s)\n  20 backup.mail.test\n  10 mx.mail.test\n";
    assert_eq!(dns(&["lookup", "mx", "Mail.TEST."]), (0, told.into()));
    let told = "A of gone.test: there is no such name (DNSSEC proves it; holds 0 s)\n";
    assert_eq!(dns(&["lookup", "A", "gone.test"]), (1, told.into()));
    let told = "AAAA of mx.mail.test: the name has no such records (DNSSEC proves it; holds 0 s)\n";
    assert_eq!(dns(&["lookup", "AAAA", "mx.mail.test"]), (1, told.into()));
    let told = "Mail for mail.test goes to (DNSSEC proves it):
  10 mx.mail.test  192.0.2.1  DANE as mx.mail.test:
      3 1 1 abcd
  20 backup.mail.test  cannot be used: A of backup.mail.test: the name has no such records (DNSSEC proves it)
";
    assert_eq!(dns(&["mx", "mail.test"]), (0, told.into()));
    let told = "Mail for alone.test goes to the domain itself, which has no MX (DNSSEC proves it):\n  0 alone.test  192.0.2.1  no DANE\n";
    assert_eq!(dns(&["mx", "alone.test"]), (0, told.into()));
    let told = "null.test takes no mail: it has a null MX (DNSSEC proves it)\n";
    assert_eq!(dns(&["mx", "null.test"]), (1, told.into()));
    let told = "gone.test takes no mail: there is no such name as gone.test (DNSSEC proves it)\n";
    assert_eq!(dns(&["mx", "gone.test"]), (1, told.into()));
}

#[test]
fn what_is_no_name_or_type_is_not_asked_about() {
    let folder = Folder::new(DOMAINS, "");
    for (words, said) in [
        (
            &["lookup", "NS", "mail.test"][..],
            "is no type of record that is asked for",
        ),
        (&["lookup", "A", "mail..test"], "empty label"),
        (&["mx", "a b"], "no host or domain has"),
    ] {
        let ran = folder.run(&[&["dns"], words].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}
