//! What becomes of mail reaches the account's shard: the suppression list that follows from it, and a kill at each step.

use serde_json::Value;

use crate::filled::{assert_checked, imap, stop};
use crate::patience::found;
use crate::program::{Localserve, ringmail};
use crate::queue::{FAILED, inbox, submit, wait_for_inbox, wait_for_queue};

/// A command; answers what it printed.
fn suppression(dir: &std::path::Path, arguments: &[&str]) -> String {
    let dir = ["--dir", dir.to_str().unwrap()];
    let ran = ringmail(&[&["suppression"], arguments, &dir].concat());
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    ran.out
}

/// What is listed: address, whether it is suppressed, how often it failed.
fn listed(dir: &std::path::Path) -> Vec<(String, bool, u64)> {
    let all = suppression(dir, &["list", "--json"]);
    let each = all.lines().map(|line| {
        let item: Value = serde_json::from_str(line).unwrap();
        (
            item["address"].as_str().unwrap().to_string(),
            item["suppressed"].as_bool().unwrap(),
            item["failures"].as_u64().unwrap(),
        )
    });
    each.collect()
}

fn wait_for_list(dir: &std::path::Path, expected: &[(&str, bool, u64)]) {
    let is_so = |found: &Vec<(String, bool, u64)>| {
        let found = found.iter().map(|(a, s, f)| (a.as_str(), *s, *f));
        found.eq(expected.iter().copied())
    };
    found(|| listed(dir), is_so);
}

fn accepted(server: &Localserve, recipients: &[&str]) {
    let said = submit(server, recipients, "m").unwrap();
    assert!(said.starts_with("250"), "{said}");
}

#[test]
fn an_address_that_refuses_is_not_written_to_again_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    assert_eq!(suppression(dir, &["list"]), "No address is suppressed.\n");
    accepted(&server, &["queue-permerror@c.example"]);
    wait_for_list(dir, &[("queue-permerror@c.example", true, 0)]);
    wait_for_queue(dir, <[Value]>::is_empty);
    // Another form of it, and another address in the same message.
    accepted(&server, &["Queue-PermError+x@C.example", "a@a.example"]);
    let again = "Mail could not be delivered to Queue-PermError+x@c.example";
    wait_for_inbox(&server, &[again, FAILED, "m"]);
    let commands = ["EXAMINE INBOX", "FETCH 1:* BODY.PEEK[]"];
    let said = imap(&server, "ringmail", "ringmailringmail", &commands);
    let reason = "on your account's suppression list";
    assert!(said[1].contains(reason), "{}", said[1]);
    assert!(said[1].contains("Status: 5.7.1"), "{}", said[1]);
    let metrics = server.get("/metrics").2;
    let line = "ringmail_queue_attempts_total{result=\"suppressed\"} 1";
    assert!(metrics.lines().any(|l| l == line), "{metrics}");

    let account = ["--account", "ringmail"];
    let found = suppression(
        dir,
        &[&["lookup", "queue-permerror+y@c.example"][..], &account].concat(),
    );
    assert!(found.contains("suppressed automatically since "), "{found}");
    let removed = suppression(
        dir,
        &[&["remove", "queue-permerror@c.example"][..], &account].concat(),
    );
    assert_eq!(
        removed,
        "queue-permerror@c.example may be written to again.\n"
    );
    assert_eq!(listed(dir), []);

    // By hand, in force when the command ends, and in the next run too.
    let add = ["add", "B@b.example", "--why", "asked us to stop"];
    assert_eq!(
        suppression(dir, &[&add[..], &account].concat()),
        "b@b.example is suppressed.\n"
    );
    let twice = [
        &["suppression"],
        &add[..],
        &account,
        &["--dir", dir.to_str().unwrap()],
    ]
    .concat();
    let twice = ringmail(&twice);
    assert_eq!(twice.code, 1);
    assert!(
        twice
            .err
            .contains("is on the suppression list of ringmail already"),
        "{}",
        twice.err
    );
    drop(server);
    let server = Localserve::start(dir, &[]);
    accepted(&server, &["b@b.example"]);
    let by_hand = "Mail could not be delivered to b@b.example";
    wait_for_inbox(&server, &[again, by_hand, FAILED, "m"]);
    // Whoever was removed is tried again, and refuses again.
    accepted(&server, &["queue-permerror@c.example"]);
    wait_for_inbox(&server, &[again, by_hand, FAILED, FAILED, "m"]);
    wait_for_list(
        dir,
        &[
            ("b@b.example", true, 0),
            ("queue-permerror@c.example", true, 0),
        ],
    );
    wait_for_queue(dir, <[Value]>::is_empty);
    stop(server);
    // A stopped directory can be asked and changed too.
    suppression(dir, &[&["remove", "b@b.example"][..], &account].concat());
    assert_eq!(listed(dir).len(), 1);
    assert_checked(dir);
}

/// Kills the server at a point on the way of an event, starts it again, and finds what follows from it once.
#[test]
fn a_kill_at_each_step_of_an_event_neither_loses_nor_doubles_it() {
    for point in [
        "outbound.recorded",
        "outbound.event_taken",
        "outbound.event_over",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let server = Localserve::with_faults(dir, &[], &format!("{point}=kill"));
        // One failure of this kind is counted; it would be two if it were taken twice.
        let _ = submit(&server, &["queue554@c.example"], "m");
        assert_ne!(server.ended(), 0, "{point}");
        let server = Localserve::start(dir, &[]);
        let report = "Mail could not be delivered to queue554@c.example";
        wait_for_inbox(&server, &[report]);
        wait_for_queue(dir, <[Value]>::is_empty);
        assert_eq!(
            listed(dir),
            [("queue554@c.example".to_string(), false, 1)],
            "{point}"
        );
        // A delivery would begin anew; two more make three.
        for _ in 0..2 {
            accepted(&server, &["queue554@c.example"]);
        }
        wait_for_list(dir, &[("queue554@c.example", true, 0)]);
        wait_for_queue(dir, <[Value]>::is_empty);
        assert_eq!(inbox(&server), [report; 3], "{point}");
        stop(server);
        assert_checked(dir);
    }
}
