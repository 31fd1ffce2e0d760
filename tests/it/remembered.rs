//! Where the next attempt goes, by where the earlier ones went.

use std::net::Ipv6Addr;

use crate::dns::mx;
use crate::outbound::{free_port, queue, server_with, submit};
use crate::patience::patiently;
use crate::receiver::Receiver;

#[test]
fn what_one_family_refuses_twice_goes_by_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let blocks = |line: &str| {
        let is_recipient = line.starts_with("RCPT");
        is_recipient.then(|| "451 4.7.1 not from there".to_owned())
    };
    let six = Receiver::start(Ipv6Addr::LOCALHOST, port, None, blocks);
    let four = Receiver::start([127, 0, 0, 11], port, None, |_| None);
    let zone = |name: &str, number: u8| match (name, number) {
        ("one.test.", 15) => vec![mx(10, "mx.both.test")],
        ("mx.both.test.", 1) => vec![vec![127, 0, 0, 11]],
        ("mx.both.test.", 28) => vec![Ipv6Addr::LOCALHOST.octets().to_vec()],
        _ => vec![],
    };
    // Each attempt over a connection of its own.
    let more = "idle_secs = \"0s\"\n[queue]\nretry_secs = [\"1s\"]\n";
    let server = server_with(directory.path(), port, more, zone);
    assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
    let state = || format!("{:?}", queue(&server));
    patiently(|| four.messages().len() == 1, state);
    assert_eq!((six.connections(), four.connections()), (2, 1));
    patiently(|| queue(&server).is_empty(), state);
}
