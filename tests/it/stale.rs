//! What goes on sending meets that tests bring about by a fault: what DNS said is over at once, a disk that writes no more. A fault is the process's, so the server
//! runs in one of its own.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::outbound::{free_port, submit};
use crate::patience::until;
use crate::receiver::Receiver;
use crate::server::TestServer;
use crate::zone::Zone;

/// The child's side of the test below: writes to whom it reads on standard input.
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

fn child(directory: &Path, more: &str, faults: &str) -> Child {
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

const ALL: usize = 200;

/// What is sent then is sent again after the next start.
#[test]
fn a_shard_that_can_write_nothing_down_sends_nothing() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broken = other.path().join("broken");
    let (zone, dns) = Zone::serve();
    zone.mx("one.test", 10, "mx.one.test");
    zone.a("mx.one.test", "127.0.0.14");
    let port = free_port();
    let more = format!(
        "[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[queue]\nretry_secs = [\"1s\"]\n[outbound]\nrefuse_networks = []\nport = {port}\npause_first_secs = \"1s\"\npause_max_secs = \"1s\"\n"
    );
    let faults = format!("rows.commit=fail:{}", broken.display());
    let mut first = child(directory.path(), &more, &faults);
    let mut recipients = first.stdin.take().unwrap();
    for number in 0..ALL {
        writeln!(recipients, "r{number}@one.test").unwrap();
    }
    let said = BufReader::new(first.stdout.take().unwrap()).lines();
    let accepted = said.filter(|line| line.as_ref().unwrap().starts_with("accepted "));
    assert_eq!(accepted.take(ALL).count(), ALL);
    std::fs::write(&broken, "").unwrap();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |_| None);
    std::thread::sleep(Duration::from_secs(4));
    // What was on its way when the first write failed.
    let doubled = receiver.messages().len();
    assert!(doubled < ALL / 2, "{doubled}");
    first.kill().unwrap();
    first.wait().unwrap();
    let mut next = child(directory.path(), &more, "");
    let subjects = || {
        let messages = receiver.messages();
        let subject = |m: &String| {
            m.lines()
                .find(|l| l.starts_with("Subject"))
                .map(str::to_owned)
        };
        messages
            .iter()
            .filter_map(subject)
            .collect::<HashSet<_>>()
            .len()
    };
    until(|| subjects() == ALL);
    drop(next.stdin.take());
    assert!(next.wait().unwrap().success());
}
