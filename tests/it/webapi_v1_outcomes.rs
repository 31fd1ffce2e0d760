//! Version 1 of the API: what is said when nothing was done, and when that is not known.

use std::path::Path;

use serde_json::{Value, json};

use crate::filled::stop;
use crate::program::Localserve;
use crate::webapi_v1::{Said, ask, ask_by};

fn kind(said: &Said) -> &str {
    let kind = said.body["type"].as_str().unwrap_or_default();
    kind.rsplit('/').next().unwrap_or_default()
}

/// A server whose disk fails from now on, and a key that needs no look at rows any more.
fn failing(dir: &Path) -> (Localserve, String) {
    let broken = dir.join("broken");
    let faults = format!("rows.commit=fail:{}", broken.display());
    let server = Localserve::with_faults(&dir.join("here"), &[], &faults);
    let wanted = json!({"name": "k", "scopes": ["send", "read", "suppression"]});
    let made = ask(&server, "POST", "/keys", &wanted);
    assert_eq!(made.status, 201, "{}", made.body);
    let key = made.body["secret"].as_str().unwrap().to_string();
    assert_eq!(
        ask_by(&server, &key, "GET", "/account", &Value::Null).status,
        200
    );
    std::fs::write(&broken, "").unwrap();
    (server, key)
}

/// The commit that fails may be durable; what comes later is not even begun.
#[test]
fn only_of_what_was_begun_the_outcome_is_unknown() {
    for attempt in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let (server, key) = failing(dir.path());
        let suppress = || {
            let path = "/suppressions/a@b.example";
            let said = ask_by(&server, &key, "PUT", path, &json!({}));
            assert_eq!(said.status, 503, "{}", said.body);
            said
        };
        let first = suppress();
        // The server writes by itself, too: that a key was used, who logged in.
        if kind(&first) == "unavailable" && attempt < 10 {
            stop(server);
            continue;
        }
        assert_eq!(kind(&first), "outcome-unknown", "{}", first.body);
        let second = suppress();
        assert_eq!(kind(&second), "unavailable", "{}", second.body);
        let detail = second.body["detail"].as_str().unwrap();
        assert!(detail.contains("nothing was done"), "{detail}");
        let read = ask_by(&server, &key, "GET", "/suppressions", &Value::Null);
        assert_eq!(kind(&read), "unavailable", "{}", read.body);
        // Each shard may fail once under a message, and then no more.
        let message = json!({
            "from": {"address": "ringmail@localhost"}, "to": [{"address": "ann@a.example"}], "text": "t",
        });
        let kinds: Vec<String> = (0..40)
            .map(|_| ask_by(&server, &key, "POST", "/messages", &message))
            .map(|sent| kind(&sent).to_string())
            .collect();
        assert!(
            kinds[32..].iter().all(|kind| kind == "unavailable"),
            "{kinds:?}"
        );
        stop(server);
        return;
    }
}
