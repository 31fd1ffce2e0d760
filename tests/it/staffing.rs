//! Many sites and few connections: each has its turn, and one that was left alone is tried again when its pause is over.

use std::net::Ipv4Addr;

use crate::outbound::{free_port, kick_all, queue, server, submit, until_sent};
use crate::patience::{patiently, until};
use crate::receiver::Receiver;

/// Two connections on each core, and pauses of a second.
const FEW: &str = "connections_per_core_max = 2\npause_first_secs = \"1s\"\npause_max_secs = \"1s\"\nidle_secs = \"0s\"\n";
const SITES: u8 = 30;

fn address(site: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 4, site)
}

fn recipients(sites: impl Iterator<Item = u8>) -> Vec<String> {
    sites.map(|n| format!("ann@[{}]", address(n))).collect()
}

fn submit_to(server: &crate::server::TestServer, recipients: &[String], subject: &str) {
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let said = submit(server, &recipients, subject);
    assert!(said.starts_with("250"), "{said}");
}

#[test]
fn many_sites_share_few_connections_and_each_gets_its_mail() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let sites = 1..=SITES;
    let open = |site: u8| Receiver::start(address(site), port, None, |_| None);
    let receivers: Vec<Receiver> = sites.clone().map(open).collect();
    let server = server(directory.path(), port, FEW);
    let everywhere = recipients(sites);
    for number in 0..5 {
        submit_to(&server, &everywhere, &format!("message {number}"));
    }
    until_sent(&server);
    for receiver in &receivers {
        assert_eq!(receiver.messages().len(), 5);
    }
}

#[test]
fn sites_that_were_not_there_are_tried_again_when_their_pause_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let server = server(directory.path(), port, FEW);
    let everywhere = recipients(1..=SITES);
    submit_to(&server, &everywhere, "too early");
    let was_tried = |server: &_| queue(server).iter().all(|(_, row)| row.attempts == 1);
    patiently(|| was_tried(&server), || format!("{:?}", queue(&server)));
    let open = |site: u8| Receiver::start(address(site), port, None, |_| None);
    let receivers: Vec<Receiver> = (1..=SITES).map(open).collect();
    // These stand in line while their sites are left alone, and nobody kicks them.
    submit_to(&server, &everywhere, "in time");
    for receiver in &receivers {
        until(|| receiver.messages().iter().any(|m| m.contains("in time")));
    }
    kick_all(&server);
    until_sent(&server);
    for receiver in &receivers {
        assert_eq!(receiver.messages().len(), 2);
    }
}
