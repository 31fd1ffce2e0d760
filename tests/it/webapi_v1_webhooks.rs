//! Webhooks by version 1 of the API: added, changed, switched off and on, tested; what was sent, once more, and given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use webapi::hook::{Secret, signatures};

use crate::filled::stop;
use crate::patience::found;
use crate::program::Localserve;
use crate::webapi_v1::{Said, ask, ask_by};
use crate::webhooks::{Hears, Request};

const NONE: Value = Value::Null;

fn send(server: &Localserve, subject: &str) {
    let message = json!({
        "from": {"address": "ringmail@localhost"}, "to": [{"address": "ann@a.example"}], "subject": subject, "text": "Hi\n",
    });
    let sent = ask(server, "POST", "/messages", &message);
    assert_eq!(sent.status, 200, "{}", sent.body);
}

/// Waits until so many fit.
fn deliveries(server: &Localserve, query: &str, count: usize) -> Vec<Value> {
    let all = || {
        let said = ask(server, "GET", &format!("/deliveries?{query}"), &NONE);
        assert_eq!(said.status, 200, "{}", said.body);
        said.body["deliveries"].as_array().unwrap().clone()
    };
    found(all, |all| all.len() == count)
}

fn is_signed_by(request: &Request, secrets: &[&str]) -> bool {
    let secrets: Vec<Secret> = secrets.iter().map(|s| Secret::parse(s).unwrap()).collect();
    let at: i64 = request.header("webhook-timestamp").parse().unwrap();
    let id = request.header("webhook-id");
    request.header("webhook-signature") == signatures(&secrets, id, at, request.body.as_bytes())
}

#[test]
fn webhooks_are_added_changed_tested_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let hears = Hears::start(|_, _| "200 OK".into());
    let wanted =
        json!({"url": hears.url(), "authorization": "Bearer x", "events": ["failed", "delivered"]});
    let made = ask(&server, "POST", "/webhooks", &wanted);
    assert_eq!(made.status, 201, "{}", made.body);
    let secret = made.body["secret"].as_str().unwrap();
    let webhook = &made.body["webhook"];
    assert_eq!(webhook["events"], json!(["delivered", "failed"]));
    assert_eq!(webhook["has_authorization"], true);
    let path = format!("/webhooks/{}", webhook["id"]);
    let listed = ask(&server, "GET", "/webhooks", &NONE);
    assert_eq!(listed.body["webhooks"][0], *webhook);
    let text = listed.body.to_string();
    assert!(!text.contains("whsec_") && !text.contains("Bearer x"));
    // A test is a call.
    let tested = ask(&server, "POST", &format!("{path}/test"), &NONE);
    assert_eq!(tested.status, 200, "{}", tested.body);
    assert_eq!(
        (&tested.body["success"], &tested.body["code"]),
        (&json!(true), &json!(200))
    );
    let call = hears.wait(1).remove(0);
    assert_eq!(call.header("authorization"), "Bearer x");
    assert!(is_signed_by(&call, &[secret]));
    // Another secret signs beside the first one.
    let rotated = ask(&server, "POST", &format!("{path}/rotate"), &json!({}));
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    assert!(rotated.body["webhook"]["previous_secret_until"].is_string());
    let second = rotated.body["secret"].as_str().unwrap();
    ask(&server, "POST", &format!("{path}/test"), &NONE);
    let calls = hears.wait(2);
    assert!(is_signed_by(&calls[1], &[second, secret]));
    // A receiver that takes nothing twice takes each test.
    let ids = |name| [calls[0].header(name), calls[1].header(name)];
    for [first, second] in [ids("webhook-id"), ids("x-mox-webhook-id")] {
        assert_ne!(first, second);
    }
    assert!(
        ids("webhook-id")
            .iter()
            .all(|id| id.starts_with("msg_test_"))
    );
    // What it authorizes with stays for the same server, and is not for another one.
    let changed = json!({"url": format!("{}/2", hears.url()), "concurrency": 4});
    let said = ask(&server, "PUT", &path, &changed);
    assert_eq!(said.status, 200, "{}", said.body);
    assert_eq!(said.body["concurrency"], 4);
    assert_eq!(said.body["events"].as_array().unwrap().len(), 8);
    assert_eq!(said.body["has_authorization"], true);
    let other = Hears::start(|_, _| "500 No".into());
    let said = ask(&server, "PUT", &path, &json!({"url": other.url()}));
    assert_eq!(said.body["has_authorization"], false);
    let tested = ask(&server, "POST", &format!("{path}/test"), &NONE);
    assert_eq!(
        (&tested.body["success"], &tested.body["code"]),
        (&json!(false), &json!(500))
    );
    assert_eq!(other.wait(1)[0].header("authorization"), "");
    for (deed, enabled) in [("disable", false), ("enable", true)] {
        let said = ask(&server, "POST", &format!("{path}/{deed}"), &NONE);
        assert_eq!(said.status, 200, "{}", said.body);
        assert_eq!(said.body["enabled"], enabled);
        assert_eq!(said.body["disabled_reason"].is_null(), enabled);
        assert_eq!(ask(&server, "GET", &path, &NONE).body, said.body);
    }
    assert_eq!(ask(&server, "DELETE", &path, &NONE).status, 204);
    for (verb, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/enable")),
        ("POST", format!("{path}/test")),
        ("GET", "/webhooks/-1".into()),
        ("GET", "/webhooks/99999999999".into()),
    ] {
        assert_eq!(ask(&server, verb, &path, &NONE).status, 404, "{path}");
    }
    assert_eq!(ask(&server, "PUT", &path, &changed).status, 404);
    stop(server);
}

#[test]
fn what_is_wrong_with_a_webhook_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let refused = |body: Value| -> Vec<String> {
        let said = ask(&server, "POST", "/webhooks", &body);
        assert_eq!(said.status, 422, "{body}: {}", said.body);
        let errors = said.body["errors"].as_array().unwrap().iter();
        errors
            .map(|e| e["pointer"].as_str().unwrap().into())
            .collect()
    };
    let url = "https://hooks.example/";
    assert_eq!(refused(json!({})), ["/url"]);
    assert_eq!(refused(json!({"url": "ftp://hooks.example/"})), ["/url"]);
    // It can never be called.
    for url in [
        "https://a:b@hooks.example/",
        "https://hooks.example/#x",
        "https://hooks.example:0/",
        "http://10.0.0.1/",
        "http://[fe80::1]/",
    ] {
        assert_eq!(refused(json!({"url": url})), ["/url"], "{url}");
    }
    assert_eq!(
        refused(json!({"url": url, "events": ["failed", "bounced"]})),
        ["/events/1"]
    );
    assert_eq!(refused(json!({"url": url, "secret": "mine"})), ["/secret"]);
    let all = json!({"url": "x", "events": [], "concurrency": 33, "authorization": "a\r\nb: c"});
    assert_eq!(
        refused(all),
        ["/url", "/events", "/concurrency", "/authorization"]
    );
    let wanted = json!({"url": url});
    for _ in 0..20 {
        assert_eq!(ask(&server, "POST", "/webhooks", &wanted).status, 201);
    }
    let said = ask(&server, "POST", "/webhooks", &wanted);
    assert_eq!(said.status, 409, "{}", said.body);
    assert_eq!(said.body["type"], "/webapi/v1/problems/limit-reached");
    let said = ask(
        &server,
        "POST",
        "/webhooks/1/rotate",
        &json!({"overlap_secs": 40_000_000}),
    );
    assert_eq!(said.body["errors"][0]["pointer"], "/overlap_secs");
    for query in ["state=gone", "event=bounced", "limit=0", "cursor=x"] {
        let said = ask(&server, "GET", &format!("/deliveries?{query}"), &NONE);
        assert_eq!(said.status, 422, "{query}");
        let name = query.split('=').next().unwrap();
        assert_eq!(said.body["errors"][0]["parameter"], name, "{}", said.body);
    }
    // A key needs the scope.
    let by = |scope: &str| -> Said {
        let wanted = json!({"name": scope, "scopes": [scope]});
        let made = ask(&server, "POST", "/keys", &wanted);
        let key = made.body["secret"].as_str().unwrap().to_string();
        ask_by(&server, &key, "GET", "/deliveries", &NONE)
    };
    assert_eq!((by("read").status, by("webhooks").status), (403, 200));
    stop(server);
}

#[test]
fn deliveries_are_listed_sent_again_and_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let is_well = Arc::new(AtomicBool::new(true));
    let says = is_well.clone();
    let hears = Hears::start(move |_, _| match says.load(Ordering::SeqCst) {
        true => "200 OK".into(),
        false => "500 No".into(),
    });
    let made = ask(&server, "POST", "/webhooks", &json!({"url": hears.url()}));
    assert_eq!(made.status, 201, "{}", made.body);
    send(&server, "one");
    let first = hears.wait(1).remove(0);
    let one = deliveries(&server, "state=delivered", 1).remove(0);
    assert_eq!(one["subject"], "one");
    assert_eq!(first.header("webhook-id"), format!("msg_{}", one["id"]));
    assert!(one["ended"].is_string() && one["next_attempt"].is_null());
    assert_eq!(one["results"][0]["code"], 200);
    assert_eq!(one["recipient"], first.json()["QueueMsgID"]);
    let path = format!("/deliveries/{}", one["id"]);
    let whole = ask(&server, "GET", &path, &NONE);
    assert_eq!(whole.body["delivery"], one);
    assert_eq!(whole.body["payload"], first.body);
    // Once more, under its number.
    let again = ask(&server, "POST", &format!("{path}/redeliver"), &NONE);
    assert_eq!(again.status, 200, "{}", again.body);
    let second = hears.wait(2).remove(1);
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(deliveries(&server, "state=delivered", 1)[0]["attempts"], 2);
    // One that fails waits, until it is given up.
    is_well.store(false, Ordering::SeqCst);
    send(&server, "two");
    hears.wait(3);
    let waiting = || deliveries(&server, "state=waiting", 1).remove(0);
    let two = found(waiting, |two| two["attempts"] == 1);
    assert_eq!(two["subject"], "two");
    assert!(two["ended"].is_null() && two["next_attempt"].is_string());
    assert_eq!(ask(&server, "GET", "/webhooks/1", &NONE).body["waiting"], 1);
    // All, page by page.
    let (mut cursor, mut subjects) = (String::new(), Vec::new());
    for _ in 0..10 {
        let page = ask(
            &server,
            "GET",
            &format!("/deliveries?limit=1{cursor}"),
            &NONE,
        );
        let found = page.body["deliveries"].as_array().unwrap();
        assert!(found.len() <= 1);
        subjects.extend(found.iter().map(|one| one["subject"].clone()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(subjects, ["two", "one"]);
    let cancel = format!("/deliveries/{}/cancel", two["id"]);
    assert_eq!(ask(&server, "POST", &cancel, &NONE).status, 204);
    assert_eq!(ask(&server, "POST", &cancel, &NONE).status, 404);
    let two = deliveries(&server, "state=failed", 1).remove(0);
    assert_eq!(two["subject"], "two");
    deliveries(&server, "state=waiting", 0);
    for (query, count) in [
        ("webhook=1", 2),
        ("webhook=2", 0),
        ("event=delivered", 2),
        ("event=failed", 0),
        ("state=superseded", 0),
        ("created_after=2020-01-01T00:00:00Z", 2),
        ("created_before=2020-01-01T00:00:00Z", 0),
    ] {
        deliveries(&server, query, count);
    }
    deliveries(&server, &format!("recipient={}", two["recipient"]), 1);
    // Of a webhook that is gone nothing is sent again.
    assert_eq!(ask(&server, "DELETE", "/webhooks/1", &NONE).status, 204);
    for path in [
        format!("{path}/redeliver"),
        "/deliveries/7/redeliver".into(),
    ] {
        assert_eq!(ask(&server, "POST", &path, &NONE).status, 404, "{path}");
    }
    assert_eq!(ask(&server, "GET", "/deliveries/x", &NONE).status, 404);
    stop(server);
}

#[test]
fn failures_that_addresses_ask_for_have_their_events() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let hears = Hears::start(|_, _| "200 OK".into());
    let wanted = json!({"url": hears.url(), "events": ["failed", "delayed"]});
    assert_eq!(ask(&server, "POST", "/webhooks", &wanted).status, 201);
    // There is no door that plays them at a command.
    for to in [
        "permerror@a.example",
        "rcptto-552@a.example",
        "queue-temperror@a.example",
        "temperror@a.example",
    ] {
        let message = json!({
            "from": {"address": "ringmail@localhost"}, "to": [{"address": to}], "subject": to, "text": "Hi\n",
        });
        let sent = ask(&server, "POST", "/messages", &message);
        assert_eq!(sent.status, 200, "{}", sent.body);
    }
    let told = hears.wait(4);
    let count = |word: &str| told.iter().filter(|call| call.body.contains(word)).count();
    assert_eq!((count("\"failed\""), count("\"delayed\"")), (2, 2));
    stop(server);
}

#[test]
fn what_waits_for_a_webhook_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    // Nobody listens there.
    let wanted = json!({"url": "http://127.0.0.1:9/", "events": ["delivered"]});
    let made = ask(&server, "POST", "/webhooks", &wanted);
    assert_eq!(made.status, 201, "{}", made.body);
    send(&server, "one");
    send(&server, "two");
    deliveries(&server, "", 2);
    let path = format!("/webhooks/{}", made.body["webhook"]["id"]);
    assert_eq!(ask(&server, "DELETE", &path, &NONE).status, 204);
    deliveries(&server, "", 0);
    stop(server);
}
