//! Many sites and few connections: each has its turn, and one that was left alone is tried again when its pause is over, or its mail goes another way.

use std::net::Ipv4Addr;

use ringmail::queue::rows::RecipientRow;

use crate::dns::mx;
use crate::outbound::{free_port, kick_all, queue, server, server_with, submit, until_sent};
use crate::patience::{patiently, until};
use crate::receiver::Receiver;
use crate::server::TestServer;

/// Two connections on each core, and pauses of a second.
const FEW: &str = "connections_per_core_max = 2\npause_first_secs = \"1s\"\npause_max_secs = \"1s\"\nidle_secs = \"0s\"\n";
const SITES: u8 = 30;

fn address(site: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 4, site)
}

fn recipients(sites: impl Iterator<Item = u8>) -> Vec<String> {
    sites.map(|n| format!("ann@[{}]", address(n))).collect()
}

fn submit_to(server: &TestServer, recipients: &[String], subject: &str) {
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

/// So long that no test sees its end.
const LONG: &str = "pause_first_secs = \"1h\"\npause_max_secs = \"1h\"\n[transport.relay]\nkind = \"smarthost\"\nhost = \"127.0.0.1\"\ntls = \"none\"\n";

/// Six messages to each: one of a core is tried and fails, the others stand in line and are not tried.
fn submit_six(server: &TestServer, recipients: &[&str]) {
    for recipient in recipients {
        for number in 0..6 {
            let said = submit(server, &[recipient], &format!("message {number}"));
            assert!(said.starts_with("250"), "{said}");
        }
        let was_tried = |(address, row): &(String, _)| address == recipient && tried(row);
        until(|| queue(server).iter().any(was_tried));
    }
}

/// Those who stood in line have arrived, and the others fail once.
#[track_caller]
fn until_all_were_tried(server: &TestServer, receiver: &Receiver, all: usize) {
    let left = || {
        let left = queue(server);
        (left.len(), left.iter().all(|(_, row)| tried(row)))
    };
    let arrived = || receiver.messages().len();
    patiently(
        || left() == (all - arrived(), true),
        || format!("{} arrived, {:?}", arrived(), queue(server)),
    );
    assert!(arrived() > 0);
}

fn tried(row: &RecipientRow) -> bool {
    row.attempts > 0
}

#[test]
fn mail_that_waits_for_a_site_that_is_left_alone_takes_the_way_of_a_new_route() {
    let directory = tempfile::tempdir().unwrap();
    let (port, smarthost) = (free_port(), free_port());
    let receiver = Receiver::start([127, 0, 0, 1], smarthost, None, |_| None);
    let more = format!("{LONG}port = {smarthost}\n");
    let server = server_with(directory.path(), port, &more, |name, number| {
        match (name, number) {
            // No MX record: too short.
            ("odd.test.", 15) => vec![vec![0]],
            ("closed.test.", 15) => vec![mx(10, "mx.closed.test")],
            ("mx.closed.test.", 1) => vec![vec![127, 0, 0, 13]],
            _ => vec![],
        }
    });
    submit_six(&server, &["a@closed.test", "a@odd.test"]);
    reload_to_relay(&server);
    until_all_were_tried(&server, &receiver, 12);
}

/// Who is being tried at the old site stays there until that is over.
#[test]
fn mail_behind_a_connection_that_is_being_made_takes_the_way_of_a_new_route() {
    let directory = tempfile::tempdir().unwrap();
    let (port, smarthost) = (free_port(), free_port());
    let receiver = Receiver::start([127, 0, 0, 1], smarthost, None, |_| None);
    // It lets everybody in, and never says anything.
    let tarpit = std::net::TcpListener::bind(("127.0.0.13", port)).unwrap();
    let more = format!("{LONG}port = {smarthost}\n");
    let server = server(directory.path(), port, &more);
    for number in 0..6 {
        submit(&server, &["a@closed.test"], &format!("message {number}"));
    }
    let _held = tarpit.accept().unwrap();
    reload_to_relay(&server);
    // One on each core may be at the tarpit.
    until(|| receiver.messages().len() >= 4);
}

/// What was tried, and comes back after the routes have changed, while its old site is left alone.
#[test]
fn mail_that_is_tried_again_while_its_site_is_left_alone_takes_the_way_of_a_new_route() {
    let directory = tempfile::tempdir().unwrap();
    let (port, smarthost) = (free_port(), free_port());
    let receiver = Receiver::start([127, 0, 0, 1], smarthost, None, |_| None);
    let more = format!("{LONG}port = {smarthost}\n[queue]\nretry_secs = [\"3s\"]\n");
    let server = server(directory.path(), port, &more);
    submit(&server, &["a@closed.test"], "x");
    until(|| queue(&server).iter().all(|(_, row)| tried(row)));
    reload_to_relay(&server);
    until(|| receiver.messages().len() == 1);
}

fn reload_to_relay(server: &TestServer) {
    let mut settings = server.server().live().settings.clone();
    settings.server.route = vec![ringmail::settings::Route {
        transport: "relay".into(),
        ..Default::default()
    }];
    server.server().reload(settings).unwrap();
}

#[test]
fn a_transport_that_leads_elsewhere_after_a_reload_is_tried_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (closed, smarthost) = (free_port(), free_port());
    let receiver = Receiver::start([127, 0, 0, 1], smarthost, None, |_| None);
    let more = format!("{LONG}port = {closed}\n[[route]]\ntransport = \"relay\"\n");
    let server = server(directory.path(), 1, &more);
    submit_six(&server, &["a@one.test"]);
    let mut settings = server.server().live().settings.clone();
    let transport = settings.server.transport.get_mut("relay").unwrap();
    transport.port = Some(smarthost);
    server.server().reload(settings).unwrap();
    until_all_were_tried(&server, &receiver, 6);
}
