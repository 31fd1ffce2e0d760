//! Recipients that are over are kept with their results: `ringmail queue retired`; and a kill at each step on the way there.

use std::path::Path;

use serde_json::Value;

use crate::filled::{assert_checked, stop};
use crate::patience::found;
use crate::program::{Localserve, ringmail};
use crate::queue::{FAILED, submit, wait_for_inbox, wait_for_queue};

/// What `queue retired` prints.
fn printed(dir: &Path, arguments: &[&str]) -> String {
    let dir = ["--dir", dir.to_str().unwrap()];
    let ran = ringmail(&[&["queue", "retired"], arguments, &dir].concat());
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    ran.out
}

/// Recipient and result of each, sorted.
fn retired(dir: &Path, arguments: &[&str]) -> Vec<(String, String)> {
    let all = printed(dir, &[arguments, &["--json"]].concat());
    let each = all.lines().map(|line| {
        let item: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| item[field].as_str().unwrap().to_string();
        (text("recipient"), text("result"))
    });
    let mut each: Vec<_> = each.collect();
    each.sort();
    each
}

fn wait_for_retired(dir: &Path, expected: &[(&str, &str)]) {
    let is_so = |found: &Vec<(String, String)>| {
        let found = found.iter().map(|(a, r)| (a.as_str(), r.as_str()));
        found.eq(expected.iter().copied())
    };
    found(|| retired(dir, &[]), is_so);
}

#[test]
fn recipients_that_are_over_are_listed_with_their_results() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    assert_eq!(printed(dir, &[]), "None is kept that fits.\n");
    for (recipients, subject) in [
        (&["a@a.example", "b@b.example"][..], "two"),
        (&["queue-permerror@c.example"], "never"),
        (&["queue451@d.example"], "later"),
    ] {
        let said = submit(&server, recipients, subject).unwrap();
        assert!(said.starts_with("250"), "{said}");
    }
    wait_for_queue(dir, |q| q.len() == 1 && q[0]["attempts"] == 1);
    let over = [
        ("a@a.example", "delivered"),
        ("b@b.example", "delivered"),
        ("queue-permerror@c.example", "failed"),
    ];
    wait_for_retired(dir, &over);
    let to = ["--to", "queue451@d.example", "--dir", dir.to_str().unwrap()];
    assert_eq!(ringmail(&[&["queue", "drop"], &to[..]].concat()).code, 0);
    let dropped = ("queue451@d.example", "dropped");
    wait_for_retired(dir, &[&over[..], &[dropped]].concat());
    wait_for_queue(dir, <[Value]>::is_empty);

    let failed = ["--account", "ringmail", "--result", "failed"];
    let words = printed(dir, &failed);
    let expected =
        "ringmail   ringmail@localhost to queue-permerror@c.example: failed after 1 attempt, ";
    assert!(words.contains(expected), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    let found = retired(dir, &["--domain", "d.example"]);
    assert_eq!(found, [(dropped.0.to_string(), dropped.1.to_string())]);
    let all = printed(dir, &["--to", "@a.example", "--json"]);
    let item: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(item["message_id"], "<two@x.example>");
    assert_eq!(item["history"].as_array().unwrap().len(), 1);
    let wrong = ringmail(&["queue", "retired", "--result", "gone"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.err.contains("is none of delivered, relayed"),
        "{}",
        wrong.err
    );
    // They are there in the next run, and in a directory that is stopped.
    stop(server);
    assert_eq!(retired(dir, &[]).len(), 4);
    assert_checked(dir);
}

/// Kills the server at a point on the way of the last event, starts it again, and finds mail and row once.
#[test]
fn a_kill_at_each_step_loses_neither_mail_nor_row_and_doubles_none() {
    for point in [
        "outbound.recorded",
        "outbound.event_taken",
        "outbound.event_over",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let server = Localserve::with_faults(dir, &[], &format!("{point}=kill"));
        let recipients = ["a@a.example", "queue-permerror@c.example"];
        let _ = submit(&server, &recipients, "m");
        assert_ne!(server.ended(), 0, "{point}");
        let server = Localserve::start(dir, &[]);
        wait_for_inbox(&server, &[FAILED, "m"]);
        wait_for_queue(dir, <[Value]>::is_empty);
        let over = [
            ("a@a.example", "delivered"),
            ("queue-permerror@c.example", "failed"),
        ];
        wait_for_retired(dir, &over);
        stop(server);
        assert_checked(dir);
    }
}
