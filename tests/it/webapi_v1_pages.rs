//! Version 1 of the API: pages. Cursors are the server's alone, and what takes long is done in parts.

use serde_json::{Value, json};

use crate::filled::stop;
use crate::program::Localserve;
use crate::webapi_v1::{ask, ask_with, by_password};

#[test]
fn cursors_are_those_of_pages() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let none = Value::Null;
    for address in ["a@a.example", "b@b.example"] {
        let path = format!("/suppressions/{address}");
        assert!(ask(&server, "PUT", &path, &json!({"reason": "r"})).status < 300);
    }
    let page = ask(&server, "GET", "/suppressions?limit=1", &none);
    let cursor = page.body["next_cursor"].as_str().unwrap().to_string();
    let next = ask(
        &server,
        "GET",
        &format!("/suppressions?cursor={cursor}"),
        &none,
    );
    assert_eq!(next.body["suppressions"].as_array().unwrap().len(), 1);
    let mut changed = cursor.clone().into_bytes();
    changed[30] = if changed[30] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    let short = cursor[..cursor.len() - 2].to_string();
    let refused = |list: &str, cursor: &str| {
        let path = format!("/{list}?cursor={cursor}");
        let said = ask(&server, "GET", &path, &none);
        assert_eq!(said.status, 422, "{path}: {}", said.body);
        assert_eq!(
            said.body["errors"][0]["parameter"], "cursor",
            "{}",
            said.body
        );
    };
    for list in ["messages", "queue", "batches", "deliveries"] {
        // Of another list.
        refused(list, &cursor);
    }
    for list in ["messages", "queue", "batches", "suppressions", "deliveries"] {
        for made_up in ["AAAA", "AA", "zz", "x", "", &changed, &short] {
            refused(list, made_up);
        }
    }
    let body = json!({"action": "hold", "cursor": "AAAA"});
    let said = ask_with(&server, ("POST", "/queue/actions"), &by_password(), &body);
    assert_eq!(said.status, 422, "{}", said.body);
    assert_eq!(
        said.body["errors"][0]["pointer"], "/cursor",
        "{}",
        said.body
    );
    stop(server);
}

#[test]
fn an_action_that_takes_long_is_done_in_parts() {
    const RECIPIENTS: usize = 1_200;
    let dir = tempfile::tempdir().unwrap();
    // Each page of it takes as long as a request may.
    let server = Localserve::with_faults(dir.path(), &[], "webapi.queue_action=fail");
    let recipients = (0..RECIPIENTS).map(|n| json!({"address": format!("n{n}@a.example")}));
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    let secs = later
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let batch = json!({
        "template": {"subject": "s", "text": "t"},
        "recipients": recipients.collect::<Vec<_>>(),
        "send_at": webapi::Time::of_unix(secs as i64),
    });
    assert_eq!(ask(&server, "POST", "/batches", &batch).status, 201);
    let mut action = json!({"action": "hold"});
    let mut changed = Vec::new();
    loop {
        let said = ask(&server, "POST", "/queue/actions", &action);
        assert_eq!(said.status, 200, "{}", said.body);
        changed.push(said.body["changed"].as_u64().unwrap() as usize);
        match said.body["next_cursor"].as_str() {
            Some(cursor) => action["cursor"] = cursor.into(),
            None => break,
        }
    }
    assert_eq!(changed.iter().sum::<usize>(), RECIPIENTS, "{changed:?}");
    assert!(
        changed.iter().filter(|count| **count > 0).count() > 1,
        "{changed:?}"
    );
    let held = ask(&server, "GET", "/queue?state=held&limit=1", &Value::Null);
    assert_eq!(held.body["recipients"].as_array().unwrap().len(), 1);
    stop(server);
}
