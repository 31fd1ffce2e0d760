//! A shard that is out of service: what the others can do goes on. A fault is the process's, so the server runs in one of its own.

use std::path::Path;
use std::process::Command;

use shards::{ShardId, owner_of, shard_of};

use crate::patience::until;
use crate::ports;
use crate::server::TestServer;
use crate::webapi_memory::status;

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
