//! A shard that is out of service: what the others can do goes on, and what it could not write down is not begun. A fault is the process's, so the server runs in one of its own.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use shards::{ShardId, owner_of, shard_of};

use crate::outbound::free_port;
use crate::patience::until;
use crate::ports;
use crate::program::{Localserve, ringmail};
use crate::queue::submit;
use crate::receiver::Receiver;
use crate::server::TestServer;
use crate::stale::child;
use crate::webapi_memory::status;
use crate::zone::Zone;

/// The test server's: two of the shards are of each core.
const CORES: u16 = 2;
const SHARDS: u16 = 4;

/// The child's side of the test below.
#[test]
fn broken_shard_child() {
    let Ok(directory) = std::env::var("RINGMAIL_TEST_BROKEN_SHARD") else {
        return;
    };
    let directory = Path::new(&directory);
    let port = ports::port();
    let server = TestServer::with_api(directory, port, ("", &[]));
    let send = || status(port, "anna", 1024);
    assert_eq!(send(), "200");
    std::fs::write(directory.join("broken"), "").unwrap();
    let broken = || {
        let watches = server.server().watches().iter();
        watches.filter(|watch| !watch.takes_new()).count()
    };
    // Those fail that are the first to be written there.
    until(|| {
        send();
        broken() == usize::from(SHARDS / CORES)
    });
    let said: Vec<String> = (0..20).map(|_| send()).collect();
    assert!(said.iter().all(|status| status == "200"), "{said:?}");
}

#[test]
fn what_the_api_accepts_goes_to_cores_with_a_shard_in_service() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken");
    let core_of = |shard: u16| owner_of(ShardId(shard), CORES);
    // Who sends can log in.
    let own = owner_of(shard_of(b"anna", SHARDS), CORES);
    let faults: Vec<String> = (0..SHARDS)
        .filter(|shard| core_of(*shard) != own)
        .map(|shard| format!("shard-{shard:03}/rows.commit=fail:{}", broken.display()))
        .collect();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "broken_shard::broken_shard_child", "--nocapture"])
        .env("RINGMAIL_TEST_BROKEN_SHARD", directory.path())
        .env("RINGMAIL_FAULTS", faults.join(","))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
}

/// Messages that wait when the disk writes no more.
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

/// What operators see and do reaches the shards that are in service, and says which are not.
#[test]
fn operators_reach_what_is_in_service() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broken = other.path().join("broken");
    let faults = format!("shard-000/rows.commit=fail:{}", broken.display());
    let server = Localserve::with_faults(directory.path(), &["--accounts", "1"], &faults);
    const MESSAGES: usize = 40;
    for number in 0..MESSAGES {
        let said = submit(&server, &["queue451@a.example"], &number.to_string());
        assert!(
            said.as_ref().is_ok_and(|said| said.starts_with("250")),
            "{said:?}"
        );
    }
    let run = |words: &[&str]| ringmail(&[&["queue"], words, &["--dir", server.dir()]].concat());
    let whole = run(&["list", "--json"]);
    assert_eq!((whole.code, whole.out.lines().count()), (0, MESSAGES));
    std::fs::write(&broken, "").unwrap();
    let missing = "shard-000 is out of service";
    let held = run(&["hold", "--all"]);
    assert!(held.code == 1 && held.err.contains(missing), "{}", held.err);
    let listed = run(&["list", "--json"]);
    let said = format!("{}{}", listed.out, listed.err);
    assert_eq!(
        (listed.code, listed.err.matches(missing).count()),
        (1, 1),
        "{said}"
    );
    let there = listed.out.lines().count();
    assert!((1..MESSAGES).contains(&there), "{said}");
    assert_eq!(
        listed.out.matches("\"state\":\"held\"").count(),
        there,
        "{said}"
    );
    let changed = format!("{there} recipients were changed elsewhere");
    assert!(held.err.contains(&changed), "{} {said}", held.err);
}
