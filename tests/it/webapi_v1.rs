//! Version 1 of the API: resources, problems, and what the document says of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::filled::stop;
use crate::program::Localserve;

const LOGIN: &str = "ringmail@localhost:ringmailringmail";

/// A response of the API.
pub struct Said {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

/// A request with more header fields; a body that is null is none.
pub fn ask_with(
    server: &Localserve,
    (method, path): (&str, &str),
    fields: &str,
    body: &Value,
) -> Said {
    let text = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let content = match text.as_str() {
        "" => String::new(),
        text => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            text.len()
        ),
    };
    let (status, head, body) = server.http(&format!(
        "{method} /webapi/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}{content}\r\n{text}"
    ));
    let body = match body.as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    };
    if status >= 400 {
        assert!(
            head.contains("content-type: application/problem+json"),
            "{head}"
        );
        assert_eq!(body["status"], status, "{body}");
        assert!(body["title"].is_string() && body["request_id"].is_string());
    }
    Said { status, head, body }
}

fn by_password() -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(LOGIN))
}

/// By the local account's password.
pub fn ask(server: &Localserve, method: &str, path: &str, body: &Value) -> Said {
    ask_with(server, (method, path), &by_password(), body)
}

#[test]
fn documentation_logins_and_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let none = Value::Null;
    let open = |method, path| ask_with(&server, (method, path), "", &none);
    let page = open("GET", "/");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/html"));
    assert_eq!(open("GET", "").status, 303);
    let document = open("GET", "/openapi.json");
    assert_eq!(document.body["openapi"], "3.1.0");
    assert!(document.body["paths"]["/suppressions/{address}"]["put"].is_object());
    let kind = open("GET", "/problems/not-found");
    assert_eq!(kind.status, 303);
    assert!(kind.head.contains("location: /webapi/v1/#not-found"));
    assert_eq!(open("GET", "/problems/none").status, 404);
    let nowhere = open("GET", "/none");
    assert_eq!(nowhere.status, 404);
    assert_eq!(nowhere.body["type"], "/webapi/v1/problems/not-found");
    let wrong = open("PATCH", "/suppressions/a@b.example");
    assert_eq!(wrong.status, 405);
    assert!(
        wrong.head.contains("allow: GET, HEAD, PUT, DELETE"),
        "{}",
        wrong.head
    );
    let nobody = open("GET", "/account");
    assert_eq!(nobody.status, 401);
    assert!(nobody.head.contains("www-authenticate: Bearer "));
    assert!(nobody.head.contains("www-authenticate: Basic "));
    let who = ask(&server, "GET", "/account", &none);
    assert_eq!(
        who.body,
        json!({
            "account": "ringmail", "address": "ringmail@localhost", "key": null,
            "scopes": ["send", "read", "suppression", "webhooks", "admin"],
        })
    );
    let fields = by_password() + "Sec-Fetch-Site: cross-site\r\n";
    let foreign = ask_with(
        &server,
        ("DELETE", "/suppressions/a@b.example"),
        &fields,
        &none,
    );
    assert_eq!(foreign.body["type"], "/webapi/v1/problems/other-site");
    stop(server);
}

#[test]
fn addresses_are_put_on_the_suppression_list_and_taken_off() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let none = Value::Null;
    for name in ["ann", "ben", "carl"] {
        let path = format!("/suppressions/{name}%2Bx@a.example");
        let said = ask(&server, "PUT", &path, &json!({"reason": name}));
        assert_eq!(said.status, 200, "{}", said.body);
        assert_eq!(said.body["address"], format!("{name}@a.example"));
    }
    // One that is there is said anew.
    let path = "/suppressions/ann@a.example";
    let until = json!({"expires": "2999-01-01T00:00:00Z", "manual": true});
    ask(&server, "PUT", path, &until);
    let ann = ask(&server, "GET", path, &none);
    assert_eq!(ann.body["expires"], "2999-01-01T00:00:00Z");
    assert_eq!(ann.body["manual"], true);
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = ask(
            &server,
            "GET",
            &format!("/suppressions?limit=2{cursor}"),
            &none,
        );
        assert_eq!(page.status, 200, "{}", page.body);
        let list = page.body["suppressions"].as_array().unwrap();
        assert!(list.len() <= 2);
        found.extend(list.iter().map(|one| one["address"].clone()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, ["ann@a.example", "ben@a.example", "carl@a.example"]);
    assert_eq!(ask(&server, "DELETE", path, &none).status, 204);
    assert_eq!(ask(&server, "DELETE", path, &none).status, 404);
    assert_eq!(ask(&server, "GET", path, &none).status, 404);
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("cursor=!", "cursor"),
        ("colour=1", "colour"),
    ] {
        let said = ask(&server, "GET", &format!("/suppressions?{query}"), &none);
        assert_eq!(said.status, 422);
        assert_eq!(said.body["errors"][0]["parameter"], parameter);
    }
    for (body, status, pointer) in [
        (json!({"reason": "a\nb"}), 422, "/reason"),
        (json!({"expires": "2001-01-01T00:00:00Z"}), 422, "/expires"),
        (json!({"expires": "tomorrow"}), 422, "/expires"),
        (json!({"manual": "yes"}), 422, "/manual"),
        (json!({"colour": 1}), 422, "/colour"),
    ] {
        let said = ask(&server, "PUT", path, &body);
        assert_eq!(said.status, status, "{}", said.body);
        assert_eq!(said.body["errors"][0]["pointer"], pointer, "{}", said.body);
    }
    assert_eq!(ask(&server, "PUT", path, &none).status, 415);
    let nobody = ask(&server, "GET", "/suppressions/nobody", &none);
    assert_eq!(nobody.body["errors"][0]["parameter"], "address");
    stop(server);
}

/// By a key.
pub fn ask_by(server: &Localserve, key: &str, method: &str, path: &str, body: &Value) -> Said {
    let fields = format!("Authorization: Bearer {key}\r\n");
    ask_with(server, (method, path), &fields, body)
}

#[test]
fn keys_do_what_their_scopes_say_until_they_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let none = Value::Null;
    let wanted =
        json!({"name": "list", "scopes": ["suppression", "admin"], "from": ["ringmail@localhost"]});
    let made = ask(&server, "POST", "/keys", &wanted);
    assert_eq!(made.status, 201, "{}", made.body);
    let key = made.body["secret"].as_str().unwrap();
    let id = made.body["key"]["id"].as_str().unwrap();
    assert_eq!(key.len(), 64);
    assert!(key.starts_with(&format!("rmk_{id}_")));
    let who = ask_by(&server, key, "GET", "/account", &none);
    assert_eq!(who.body["key"], id);
    assert_eq!(who.body["scopes"], json!(["suppression", "admin"]));
    let list = ask_by(&server, key, "GET", "/suppressions", &none);
    assert_eq!(list.status, 200);
    // A key makes no key that may do more.
    let more = json!({"name": "x", "scopes": ["send", "suppression"], "from": ["localhost"]});
    let said = ask_by(&server, key, "POST", "/keys", &more);
    assert_eq!(said.status, 422);
    let named: Vec<&Value> = said.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["pointer"])
        .collect();
    assert_eq!(named, ["/scopes/0", "/from/0"]);
    let less = json!({"name": "x", "scopes": ["admin"], "from": ["RINGMAIL@localhost"]});
    let narrow = ask_by(&server, key, "POST", "/keys", &less);
    assert_eq!(narrow.status, 201, "{}", narrow.body);
    let other = narrow.body["secret"].as_str().unwrap();
    let refused = ask_by(&server, other, "GET", "/suppressions", &none);
    assert_eq!(refused.status, 403);
    assert!(refused.head.contains("error=\"insufficient_scope\""));
    let all = ask(&server, "GET", "/keys", &none);
    assert_eq!(all.body["keys"].as_array().unwrap().len(), 2);
    assert!(!all.body.to_string().contains(&key[21..]));
    // Gone at once, though it was looked up a moment ago.
    let gone = ask(&server, "DELETE", &format!("/keys/{id}"), &none);
    assert_eq!(gone.status, 204);
    let said = ask_by(&server, key, "GET", "/account", &none);
    assert_eq!(said.status, 401, "{}", said.body);
    assert_eq!(ask(&server, "DELETE", "/keys/0", &none).status, 404);
    // Nobody guesses a secret.
    let wrong = format!("{}A", &other[..other.len() - 1]);
    for wrong in [wrong.as_str(), "rmk_", "x"] {
        let said = ask_by(&server, wrong, "GET", "/account", &none);
        assert_eq!(said.status, 401, "{}", said.body);
    }
    stop(server);
}

#[test]
fn operators_make_keys_and_they_have_a_rate_and_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let none = Value::Null;
    let run = |words: &[&str]| {
        let more = ["--dir", server.dir()];
        crate::program::ringmail(&[words, &more[..]].concat())
    };
    let made = run(&[
        "apikey",
        "add",
        "ringmail",
        "shop",
        "--scope",
        "send,suppression",
        "--from",
        "localhost",
        "--rate",
        "3",
        "--expires",
        "1d",
    ]);
    assert_eq!(made.code, 0, "{}", made.err);
    let key = made.out.lines().next().unwrap();
    for _ in 0..3 {
        assert_eq!(ask_by(&server, key, "GET", "/account", &none).status, 200);
    }
    let said = ask_by(&server, key, "GET", "/account", &none);
    assert_eq!(said.status, 429);
    assert!(said.head.contains("retry-after: "), "{}", said.head);
    let listed = run(&["apikey", "list", "ringmail"]);
    let id = &key[4..20];
    for word in [
        id,
        "\"shop\"",
        "send,suppression",
        "from localhost",
        "3 requests a minute",
        "until",
    ] {
        assert!(listed.out.contains(word), "{word}: {}", listed.out);
    }
    let removed = run(&["apikey", "remove", "ringmail", id]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert_eq!(ask_by(&server, key, "GET", "/account", &none).status, 401);
    assert_eq!(run(&["apikey", "remove", "ringmail", id]).code, 1);
    let wrong = run(&["apikey", "add", "ringmail", "x", "--scope", "all"]);
    assert!(
        wrong.err.contains("there is no scope \"all\""),
        "{}",
        wrong.err
    );
    assert_eq!(run(&["apikey", "add", "nobody", "x"]).code, 1);
    stop(server);
}
