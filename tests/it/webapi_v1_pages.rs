//! Version 1 of the API: pages. What is on the way from one list to the other is there once, cursors are the server's alone, and what takes long is
//! done in parts.

use serde_json::{Value, json};

use crate::filled::stop;
use crate::patience::{found, patiently};
use crate::program::Localserve;
use crate::webapi_v1::{ask, ask_with, by_password};

fn send(server: &Localserve, to: &[&str]) -> Vec<u64> {
    let to: Vec<Value> = to.iter().map(|a| json!({"address": a})).collect();
    let message =
        json!({"from": {"address": "ringmail@localhost"}, "to": to, "subject": "s", "text": "t"});
    let sent = ask(server, "POST", "/messages", &message);
    assert_eq!(sent.status, 200, "{}", sent.body);
    let recipients = sent.body["recipients"].as_array().unwrap().iter();
    recipients.map(|one| one["id"].as_u64().unwrap()).collect()
}

/// Numbers and whether they are over, of the pages from a cursor on; the cursor behind so many pages.
fn pages(
    server: &Localserve,
    limit: usize,
    mut cursor: Option<String>,
    most: usize,
) -> (Vec<(u64, bool)>, Option<String>) {
    let mut found = Vec::new();
    for _ in 0..most {
        let from = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let path = format!("/messages?limit={limit}{from}");
        let page = ask(server, "GET", &path, &Value::Null);
        assert_eq!(page.status, 200, "{}", page.body);
        for one in page.body["recipients"].as_array().unwrap() {
            let is_over = one["state"] == "delivered";
            found.push((one["id"].as_u64().unwrap(), is_over));
        }
        cursor = page.body["next_cursor"].as_str().map(str::to_string);
        if cursor.is_none() {
            break;
        }
    }
    (found, cursor)
}

fn all(server: &Localserve, limit: usize) -> Vec<(u64, bool)> {
    let (mut found, next) = pages(server, limit, None, 1_000);
    assert_eq!(next, None);
    found.sort_unstable();
    found
}

fn kept(dir: &std::path::Path) -> usize {
    let words = ["queue", "retired", "--json", "--dir", dir.to_str().unwrap()];
    crate::program::ringmail(&words).out.lines().count()
}

#[test]
fn who_is_over_while_the_message_stays_is_listed_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let ids = send(&server, &["queue451@d.example", "d@d.example"]);
    patiently(|| kept(dir.path()) == 1, || "nothing is kept".into());
    let expected = vec![(ids[0], false), (ids[1], true)];
    for limit in [1, 2, 100] {
        assert_eq!(all(&server, limit), expected, "{limit}");
    }
    stop(server);
}

#[test]
fn pages_end_where_their_entries_are_long_and_leave_none_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    // Six octets of JSON each: 96 KB an entry.
    let long = "\u{1}".repeat(16_000);
    let count = 24;
    let to = (0..count).map(|n| match n % 2 {
        0 => format!("queue451@d{n}.example"),
        _ => format!("d{n}@d.example"),
    });
    let to: Vec<Value> = to.map(|a| json!({"address": a})).collect();
    let message = json!({"from": {"address": "ringmail@localhost"}, "to": to, "text": "t", "metadata": {"k": long}});
    let sent = ask(&server, "POST", "/messages", &message);
    assert_eq!(sent.status, 200, "{}", sent.body);
    let sent = sent.body["recipients"].as_array().unwrap().iter();
    let ids: Vec<u64> = sent.map(|one| one["id"].as_u64().unwrap()).collect();
    patiently(
        || kept(dir.path()) == count / 2,
        || "not all are kept".into(),
    );
    // By numbers, and the octets of the longest page.
    let listed = |path: &str| {
        let (mut found, mut longest, mut pages) = (Vec::new(), 0, 0);
        let mut cursor = String::new();
        loop {
            let page = ask(&server, "GET", &format!("{path}{cursor}"), &Value::Null);
            assert_eq!(page.status, 200, "{}", page.body);
            let of_page = page.body["recipients"].as_array().unwrap();
            assert!(of_page.iter().all(|one| one["metadata"]["k"] == long));
            found.extend(of_page.iter().map(|one| one["id"].as_u64().unwrap()));
            longest = longest.max(page.body.to_string().len());
            pages += 1;
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        found.sort_unstable();
        (found, longest, pages)
    };
    for (limit, most) in [(1, 1), (100, 3), (1_000, 22)] {
        let bound = most * 100_000;
        let (found, longest, pages) = listed(&format!("/messages?limit={limit}"));
        assert_eq!(found, ids, "{limit}");
        assert!(longest < bound, "{limit}: {longest}");
        assert!(pages >= count / most, "{limit}: {pages}");
        let (found, longest, _) = listed(&format!("/queue?limit={limit}&state=waiting"));
        assert_eq!(found, ids.iter().step_by(2).copied().collect::<Vec<_>>());
        assert!(longest < bound, "{limit}: {longest}");
    }
    stop(server);
}

#[test]
fn who_is_about_to_be_kept_is_listed_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("holds");
    std::fs::write(&file, "").unwrap();
    let faults = format!("outbound.event_told=fail:{}", file.display());
    let server = Localserve::with_faults(&dir.path().join("data"), &[], &faults);
    let mut expected = Vec::new();
    for to in ["a@a.example", "b@b.example", "c@c.example"] {
        expected.extend(send(&server, &[to]).into_iter().map(|id| (id, true)));
    }
    expected.sort_unstable();
    // Nothing of them is kept yet.
    patiently(
        || all(&server, 100) == expected,
        || format!("{:?}", all(&server, 100)),
    );
    assert_eq!(kept(&dir.path().join("data")), 0);
    let (mut found, mut next) = (Vec::new(), None);
    while found.is_empty() {
        let (more, cursor) = pages(&server, 1, next, 1);
        found.extend(more);
        next = cursor;
    }
    assert!(next.is_some());
    std::fs::remove_file(&file).unwrap();
    patiently(
        || kept(&dir.path().join("data")) == 3,
        || "not all are kept".into(),
    );
    found.extend(pages(&server, 1, next, 1_000).0);
    found.sort_unstable();
    assert_eq!(found, expected);
    stop(server);
}

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

#[test]
fn an_end_is_told_as_it_is_from_the_first_time_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("holds");
    std::fs::write(&file, "").unwrap();
    let faults = format!("outbound.event_told=fail:{}", file.display());
    let data = dir.path().join("data");
    let server = Localserve::with_faults(&data, &[], &faults);
    let listed = ask(&server, "PUT", "/suppressions/s@s.example", &json!({}));
    assert!(listed.status < 300, "{}", listed.body);
    // The first keeps the message in the queue.
    let ids = send(
        &server,
        &["queue451@d.example", "s@s.example", "d@d.example"],
    );
    let events = |id: u64| {
        ask(
            &server,
            "GET",
            &format!("/messages/{id}/events"),
            &Value::Null,
        )
        .body
    };
    let message = |id: u64| ask(&server, "GET", &format!("/messages/{id}"), &Value::Null).body;
    for (id, end) in [(ids[1], "suppressed"), (ids[2], "delivered")] {
        let first = found(|| events(id), |said| said["is_over"] == true);
        assert_eq!(first["events"][2]["event"], end, "{first}");
        assert_eq!(message(id)["state"], end);
        assert_eq!(message(id)["ended"], first["events"][2]["at"]);
    }
    assert_eq!(kept(&data), 0);
    let before = [1, 2].map(|n| (events(ids[n]), message(ids[n])));
    std::fs::remove_file(&file).unwrap();
    patiently(|| kept(&data) == 2, || "not both are kept".into());
    let after = [1, 2].map(|n| (events(ids[n]), message(ids[n])));
    assert_eq!(before, after);
    stop(server);
}

#[test]
fn what_is_dropped_during_an_attempt_has_not_ended() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let id = send(&server, &["queuetimeout@a.example"])[0];
    let message = || ask(&server, "GET", &format!("/messages/{id}"), &Value::Null).body;
    let is_under_way = |said: &Value| {
        let reason = said["reason"].as_str().unwrap_or_default();
        reason.contains("an attempt is under way")
    };
    found(message, is_under_way);
    let said = ask(&server, "DELETE", &format!("/queue/{id}"), &Value::Null);
    assert_eq!(said.status, 204, "{}", said.body);
    assert_eq!(message()["state"], "dropped");
    // It may be delivered all the same.
    let path = format!("/messages/{id}/events");
    let said = ask(&server, "GET", &path, &Value::Null).body;
    assert_eq!(said["events"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(said["is_over"], false);
    drop(server);
    // The attempt ended without success.
    let server = Localserve::start(dir.path(), &[]);
    let said = || ask(&server, "GET", &path, &Value::Null).body;
    let said = found(said, |said| said["is_over"] == true);
    assert_eq!(said["events"][1]["event"], "dropped", "{said}");
    stop(server);
}

#[test]
fn what_happened_to_a_message_is_told_as_it_happens() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let id = send(&server, &["queue451@d.example"])[0];
    let path = format!("/messages/{id}/events");
    let words = |said: &Value| -> Vec<String> {
        let events = said["events"].as_array().unwrap().iter();
        events
            .map(|event| event["event"].as_str().unwrap().to_owned())
            .collect()
    };
    let asked = |path: &str| {
        let said = ask(&server, "GET", path, &Value::Null);
        assert_eq!(said.status, 200, "{}", said.body);
        said.body
    };
    let all = found(|| asked(&path), |said| words(said).len() == 2);
    assert_eq!(words(&all), ["accepted", "attempt"]);
    assert_eq!(
        (&all["events"][1]["code"], &all["is_over"]),
        (&json!(451), &json!(false))
    );
    let first = asked(&format!("{path}?limit=1"));
    assert_eq!(words(&first), ["accepted"]);
    let next = |said: &Value| {
        asked(&format!(
            "{path}?cursor={}",
            said["next_cursor"].as_str().unwrap()
        ))
    };
    let rest = next(&first);
    assert_eq!(words(&rest), ["attempt"]);
    // Nothing yet, and then its end.
    let none = next(&rest);
    assert_eq!(words(&none), [""; 0]);
    let said = ask(&server, "DELETE", &format!("/queue/{id}"), &Value::Null);
    assert_eq!(said.status, 204, "{}", said.body);
    let end = found(|| next(&none), |said| !words(said).is_empty());
    assert_eq!(
        (words(&end), &end["is_over"]),
        (vec!["dropped".to_owned()], &json!(true))
    );
    // Nor is that told again once it is kept with those that are over.
    let kept = || asked(&format!("/messages/{id}"));
    found(kept, |said| !said["ended"].is_null());
    assert_eq!(words(&next(&none)), ["dropped"]);
    assert_eq!(words(&next(&end)), [""; 0]);
    assert_eq!(next(&end)["is_over"], true);
    // Page by page, the one with its end says so.
    let (mut told, mut from) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = asked(&format!("{path}?limit=1{from}"));
        told.push((words(&page).join(" "), page["is_over"] == true));
        from = format!("&cursor={}", page["next_cursor"].as_str().unwrap());
    }
    let expected = [("accepted", false), ("attempt", false), ("dropped", true)];
    assert_eq!(
        told,
        expected.map(|(event, is_over)| (event.to_owned(), is_over))
    );
    stop(server);
}
