//! Where a domain's mail goes is known for as long as DNS says, and then found out anew; a fault lets that time be over at once. It is the process's, so the server
//! runs in one of its own.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::outbound::{free_port, submit};
use crate::patience::until;
use crate::receiver::Receiver;
use crate::server::TestServer;
use crate::zone::Zone;

/// The child's side of [`child`]: writes to whom it reads on standard input, and says which message was accepted.
#[test]
fn stale_child() {
    let Ok(arguments) = std::env::var("RINGMAIL_TEST_STALE_CHILD") else {
        return;
    };
    let (directory, more) = arguments.split_once('\n').unwrap();
    let server = TestServer::on(Path::new(directory), more);
    for (number, recipient) in std::io::stdin().lines().enumerate() {
        submit(
            &server,
            &[&recipient.unwrap()],
            &format!("message {number}"),
        );
        println!("\naccepted {number}");
    }
}

/// A server in a process of its own, with faults.
pub fn child(directory: &Path, more: &str, faults: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "stale::stale_child", "--nocapture"])
        .env(
            "RINGMAIL_TEST_STALE_CHILD",
            format!("{}\n{more}", directory.display()),
        )
        .env("RINGMAIL_FAULTS", faults)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

const FIRST: usize = 20;

#[test]
fn mail_goes_where_it_went_while_that_is_found_out_anew() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stale = other.path().join("stale");
    let (zone, dns) = Zone::serve();
    zone.mx("one.test", 10, "mx.one.test");
    zone.a("mx.one.test", "127.0.0.14");
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |_| None);
    let more = format!(
        "[dns]\nservers = [\"127.0.0.1:{dns}\"]\nttl_max_secs = 0\n[outbound]\nrefuse_networks = []\nport = {port}\n"
    );
    let mut child = child(
        directory.path(),
        &more,
        &format!("outbound.fresh=fail:{}", stale.display()),
    );
    let mut recipients = child.stdin.take().unwrap();
    // So many that each core has some, and knows the domain.
    for number in 1..=FIRST {
        recipients.write_all(b"first@one.test\n").unwrap();
        until(|| receiver.messages().len() == number);
    }
    // DNS does not answer now.
    let asked = zone.asked("one.test");
    zone.fail("one.test");
    std::fs::write(stale, "").unwrap();
    recipients.write_all(b"second@one.test\n").unwrap();
    until(|| receiver.messages().len() == FIRST + 1 && zone.asked("one.test") > asked);
    drop(recipients);
    assert!(child.wait().unwrap().success());
}
