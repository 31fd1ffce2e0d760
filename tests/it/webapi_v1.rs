//! Version 1 of the API: resources, problems, and what the document says of them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::filled::{imap, stop};
use crate::patience::found;
use crate::program::{Localserve, ringmail_with_input};
use crate::queue::{inbox, wait_for_inbox, wait_for_queue};

const LOGIN: &str = "ringmail@localhost:ringmailringmail";

/// A response of the API.
#[derive(Debug)]
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

pub fn by_password() -> String {
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
    // RFC 6750 3.1: who sent no token made no mistake with it.
    assert!(!nobody.head.contains("error="), "{}", nobody.head);
    let login = STANDARD.encode("ringmail@localhost:wrong");
    let fields = format!("Authorization: Basic {login}\r\n");
    let wrong = ask_with(&server, ("GET", "/account"), &fields, &none);
    assert_eq!(wrong.status, 401);
    assert!(!wrong.head.contains("error="), "{}", wrong.head);
    let who = ask(&server, "GET", "/account", &none);
    assert_eq!(
        who.body,
        json!({
            "account": "ringmail", "address": "ringmail@localhost", "key": null,
            "scopes": ["send", "read", "suppression", "webhooks", "admin"],
            "sending": {"messages": null, "new_recipients": null},
        })
    );
    for (origin, status) in [
        ("http://other.example", 403),
        ("null", 403),
        ("http://LOCALHOST", 200),
    ] {
        let fields = by_password() + &format!("Origin: {origin}\r\n");
        let said = ask_with(
            &server,
            ("POST", "/messages"),
            &fields,
            &message("of a page"),
        );
        assert_eq!(said.status, status, "{origin}: {}", said.body);
    }
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
    let told = "www-authenticate: Bearer realm=\"webapi\", error=\"insufficient_scope\", scope=\"suppression\"\r\n";
    assert!(refused.head.contains(told), "{}", refused.head);
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
    let last = if other.ends_with('A') { "B" } else { "A" };
    let wrong = format!("{}{last}", &other[..other.len() - 1]);
    for wrong in [wrong.as_str(), "rmk_", "x"] {
        let said = ask_by(&server, wrong, "GET", "/account", &none);
        assert_eq!(said.status, 401, "{}", said.body);
        let told = "www-authenticate: Bearer realm=\"webapi\", error=\"invalid_token\"\r\n";
        assert!(said.head.contains(told), "{}", said.head);
    }
    stop(server);
}

/// A body may be hours on its way: who may do nothing any more when it is there does nothing with it.
#[test]
fn a_login_holds_until_the_body_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let message =
        json!({"from": {"address": "ringmail@localhost"}, "to": [{"address": "x@a.example"}], "subject": "new", "text": "x"})
            .to_string();
    let old = r#"request={"To":[{"Address":"x@a.example"}],"Subject":"old","Text":"x"}"#;
    let status = |target: &str, field: &str, body: &str, meanwhile: &dyn Fn()| {
        let mut talk = BufReader::new(server.connect(80));
        let content_type = match body.starts_with('{') {
            true => "application/json",
            false => "application/x-www-form-urlencoded",
        };
        let head = format!(
            "POST /webapi/{target} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{field}\r\n",
            body.len()
        );
        talk.get_mut().write_all(head.as_bytes()).unwrap();
        let line = |talk: &mut BufReader<TcpStream>| {
            let mut line = String::new();
            talk.read_line(&mut line).unwrap();
            line
        };
        // The login is right.
        assert_eq!(line(&mut talk), "HTTP/1.1 100 Continue\r\n");
        assert_eq!(line(&mut talk), "\r\n");
        meanwhile();
        talk.get_mut().write_all(body.as_bytes()).unwrap();
        line(&mut talk)[9..12].to_owned()
    };
    let wanted = json!({"name": "n", "scopes": ["send"]});
    let made = ask(&server, "POST", "/keys", &wanted).body;
    let by_key = format!(
        "Authorization: Bearer {}\r\n",
        made["secret"].as_str().unwrap()
    );
    assert_eq!(status("v1/messages", &by_key, &message, &|| ()), "200");
    let remove = || {
        let path = format!("/keys/{}", made["key"]["id"].as_str().unwrap());
        let said = ask(&server, "DELETE", &path, &Value::Null);
        assert_eq!(said.status, 204);
    };
    assert_eq!(status("v1/messages", &by_key, &message, &remove), "401");
    let change_to = |password: &str| {
        let words = ["account", "password", "ringmail", "--dir", server.dir()];
        let ran = ringmail_with_input(&words, password);
        assert_eq!(ran.code, 0, "{}", ran.err);
    };
    let other = || change_to("another-one\n");
    let field = by_password();
    assert_eq!(status("v0/Send", &field, old, &|| ()), "200");
    assert_eq!(status("v0/Send", &field, old, &other), "401");
    change_to("ringmailringmail\n");
    assert_eq!(status("v1/messages", &field, &message, &other), "401");
    change_to("ringmailringmail\n");
    wait_for_inbox(&server, &["new", "old"]);
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
    // One more each twenty seconds.
    let more = || ask_by(&server, key, "GET", "/account", &none);
    let said = found(more, |said| said.status == 429);
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

/// The same with a key of the request.
fn send_once(server: &Localserve, key: &str, body: &Value) -> Said {
    let fields = by_password() + &format!("Idempotency-Key: {key}\r\n");
    ask_with(server, ("POST", "/messages"), &fields, body)
}

fn message(subject: &str) -> Value {
    json!({
        "from": {"address": "ringmail@localhost", "name": "Ring"}, "to": [{"address": "ann@a.example"}],
        "subject": subject, "text": "Hi\n",
    })
}

/// Not while the test runs, and within the 60 days that a message may be held.
fn tomorrow() -> Value {
    let at = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    let secs = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    json!(webapi::Time::of_unix(secs as i64).unwrap())
}

#[test]
fn a_message_is_sent_and_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let none = Value::Null;
    let mut wanted = message("first");
    wanted["bcc"] = json!([{"address": "ben@b.example"}]);
    wanted["attachments"] = json!([{"filename": "a.txt", "content": "aGVsbG8K"}]);
    wanted["headers"] = json!([{"name": "X-Thing", "value": "1"}]);
    wanted["metadata"] = json!({"order": "7"});
    wanted["save_sent"] = json!(true);
    let sent = ask(&server, "POST", "/messages", &wanted);
    assert_eq!(sent.status, 200, "{}", sent.body);
    let recipients = sent.body["recipients"].as_array().unwrap();
    assert_eq!(recipients[1]["address"], "ben@b.example");
    wait_for_inbox(&server, &["first", "first"]);
    // Either may be the first.
    let commands = [
        "EXAMINE INBOX",
        "FETCH 1 BODY.PEEK[]",
        "FETCH 2 BODY.PEEK[]",
    ];
    let copies = imap(&server, "ringmail", "ringmailringmail", &commands);
    let is_anns = |copy: &&String| copy.contains("Delivered-To: ann@a.example\r\n");
    let seen = copies[1..].iter().find(is_anns).unwrap();
    for part in [
        "X-Thing: 1\r\n",
        "From: \"Ring\" <ringmail@localhost>\r\n",
        "aGVsbG8K",
        "DKIM-Signature: ",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert!(!seen.contains("ben@b.example"), "{seen}");
    // What became of it: over, and kept.
    wait_for_queue(dir.path(), <[Value]>::is_empty);
    let path = format!("/messages/{}", recipients[0]["id"]);
    let one = found(
        || ask(&server, "GET", &path, &none),
        |one| one.status == 200,
    );
    assert_eq!(one.body["state"], "delivered", "{}", one.body);
    assert_eq!(one.body["message_id"], sent.body["message_id"]);
    assert_eq!(one.body["metadata"]["order"], "7");
    assert!(one.body["ended"].is_string());
    // As a form, with files that need no base64.
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n{}\r\n--b\r\nContent-Disposition: form-data; name=\"attachment\"; filename=\"b.txt\"\r\n\r\nraw file\r\n--b--\r\n",
        message("form")
    );
    let (status, _, said) = server.http(&format!(
        "POST /webapi/v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n{form}",
        by_password(),
        form.len()
    ));
    assert_eq!(status, 200, "{said}");
    wait_for_inbox(&server, &["first", "first", "form"]);
    stop(server);
}

#[test]
fn what_is_wrong_with_a_message_is_named_and_nothing_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let with = |field: &str, value: Value| {
        let mut wrong = message("wrong");
        wrong[field] = value;
        wrong
    };
    let none = Value::Null;
    for (body, status, pointer) in [
        (with("to", json!([{"address": "a@"}])), 422, "/to/0/address"),
        (with("to", json!([])), 422, "/to"),
        (with("text", json!("")), 422, "/text"),
        (with("colour", json!(1)), 422, "/colour"),
        (with("subject", json!("a\nb")), 422, "/subject"),
        (
            with("headers", json!([{"name": "Bcc", "value": "x"}])),
            422,
            "/headers",
        ),
        (
            with("attachments", json!([{"content": "?"}])),
            422,
            "/attachments/0/content",
        ),
        (
            with("send_at", json!("2999-01-01T00:00:00Z")),
            422,
            "/send_at",
        ),
    ] {
        let said = ask(&server, "POST", "/messages", &body);
        assert_eq!(said.status, status, "{}", said.body);
        assert_eq!(said.body["errors"][0]["pointer"], pointer, "{}", said.body);
    }
    let key = "x".repeat(256);
    let said = send_once(&server, &key, &message("long key"));
    assert_eq!(said.body["errors"][0]["parameter"], "Idempotency-Key");
    // A key of the API for another author.
    let wanted = json!({"name": "n", "scopes": ["send"], "from": ["news@localhost"]});
    let made = ask(&server, "POST", "/keys", &wanted);
    let key = made.body["secret"].as_str().unwrap();
    let said = ask_by(&server, key, "POST", "/messages", &message("not mine"));
    assert_eq!(said.status, 403, "{}", said.body);
    assert_eq!(said.body["type"], "/webapi/v1/problems/sender-not-allowed");
    // Nor may it say so beside the author it is for.
    let mut other = message("not mine");
    other["from"] = json!({"address": "news@localhost"});
    other["headers"] = json!([{"name": "X-Thing", "value": "1"}, {"name": "sender", "value": "ringmail@localhost"}]);
    let said = ask_by(&server, key, "POST", "/messages", &other);
    assert_eq!(said.status, 403, "{}", said.body);
    assert_eq!(said.body["errors"][0]["pointer"], "/headers/1/value");
    let mut batch = json!({
        "from": {"address": "news@localhost"}, "recipients": [{"address": "ann@a.example"}],
        "template": {"text": "Hi", "headers": [{"name": "Resent-From", "value": "{{ recipient.address }}"}]},
    });
    let said = ask_by(&server, key, "POST", "/batches", &batch);
    assert_eq!(said.status, 403, "{}", said.body);
    assert_eq!(
        said.body["errors"][0]["pointer"],
        "/template/headers/0/name"
    );
    let template = json!({"text": "Hi", "headers": [{"name": "Sender", "value": "x@y"}]});
    assert_eq!(ask(&server, "PUT", "/templates/t", &template).status, 200);
    batch["template"] = Value::Null;
    batch["template_name"] = "t".into();
    let said = ask_by(&server, key, "POST", "/batches", &batch);
    assert_eq!(
        said.body["errors"][0]["pointer"], "/template_name",
        "{}",
        said.body
    );
    assert_eq!(ask_by(&server, key, "GET", "/queue", &none).status, 403);
    assert_eq!(
        ask(&server, "GET", "/queue", &none).body["recipients"],
        json!([])
    );
    for path in [
        "/messages/1",
        "/messages/x",
        "/messages/99999999999999999999",
    ] {
        for path in [path.to_string(), format!("{path}/events")] {
            let said = ask(&server, "GET", &path, &none);
            assert_eq!(said.status, 404, "{path}");
            let detail = said.body["detail"].as_str().unwrap();
            assert!(detail.contains("keep_retired_secs"), "{detail}");
        }
    }
    stop(server);
}

#[test]
fn a_key_that_may_write_as_some_changes_nothing_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let wanted = json!({"name": "n", "scopes": ["send"], "from": ["news@localhost"]});
    let made = ask(&server, "POST", "/keys", &wanted);
    let key = made.body["secret"].as_str().unwrap();
    let template = json!({"text": "Hi"});
    assert_eq!(ask(&server, "PUT", "/templates/t", &template).status, 200);
    // What others wrote, and what anybody may send, is not such a key's to change.
    let mut later = message("later");
    later["send_at"] = tomorrow();
    let sent = ask(&server, "POST", "/messages", &later);
    assert_eq!(sent.status, 200, "{}", sent.body);
    let waits = format!("/queue/{}", sent.body["recipients"][0]["id"]);
    let all = json!({
        "recipients": [{"address": "ann@a.example"}], "template": template, "send_at": tomorrow(),
    });
    let others = ask(&server, "POST", "/batches", &all);
    assert_eq!(others.status, 201, "{}", others.body);
    let cancel = format!("/batches/{}/cancel", others.body["id"]);
    let actions = json!({"action": "drop"});
    for (verb, path, body) in [
        ("PUT", "/templates/t", &template),
        ("DELETE", "/templates/t", &Value::Null),
        ("DELETE", waits.as_str(), &Value::Null),
        ("POST", cancel.as_str(), &Value::Null),
        ("POST", "/queue/actions", &actions),
    ] {
        let said = ask_by(&server, key, verb, path, body);
        assert_eq!(said.status, 403, "{verb} {path}: {}", said.body);
    }
    for (verb, path) in [("POST", cancel.as_str()), ("DELETE", waits.as_str())] {
        let said = ask(&server, verb, path, &Value::Null);
        assert!(said.status < 300, "{verb} {path}: {}", said.body);
    }
    // A list that came out empty does not mean all.
    let said = ask(
        &server,
        "POST",
        "/queue/actions",
        &json!({"action": "drop", "ids": []}),
    );
    assert_eq!(said.body["errors"][0]["pointer"], "/ids", "{}", said.body);
    let said = ask(&server, "POST", "/messages?dry_run=true", &message("x"));
    assert_eq!(said.status, 422, "{}", said.body);
    assert_eq!(said.body["errors"][0]["parameter"], "dry_run");
    stop(server);
}

#[test]
fn bodies_are_read_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    for (coding, status) in [("gzip", 415), ("identity, br", 415), ("Identity", 200)] {
        let fields = by_password() + &format!("Content-Encoding: {coding}\r\n");
        let body = message("coded");
        let said = ask_with(&server, ("POST", "/messages"), &fields, &body);
        assert_eq!(said.status, status, "{}", said.body);
        let told = said.head.contains("accept-encoding: identity");
        assert_eq!(told, status == 415, "{}", said.head);
    }
    // A type that is not read is another matter: RFC 7694 3.
    let said = server.http(&format!(
        "POST /webapi/v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
        by_password()
    ));
    assert_eq!(said.0, 415);
    assert!(!said.1.contains("accept-encoding"), "{}", said.1);
    wait_for_inbox(&server, &["coded"]);
    stop(server);
}

#[test]
fn what_waits_is_held_released_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let none = Value::Null;
    let later = |subject: &str, to: &str| {
        let mut later = message(subject);
        later["to"] = json!([{"address": to}]);
        later["send_at"] = tomorrow();
        let sent = ask(&server, "POST", "/messages", &later);
        assert_eq!(sent.status, 200, "{}", sent.body);
        sent.body["recipients"][0]["id"].as_u64().unwrap()
    };
    let one = later("one", "ann@a.example");
    let two = later("two", "ben@b.example");
    let three = later("three", "carl@b.example");
    let said = ask(&server, "GET", &format!("/messages/{one}"), &none);
    assert_eq!(said.body["state"], "waiting", "{}", said.body);
    assert!(said.body["next_attempt"].is_string() && !said.body["reason"].is_null());
    let held = ask(&server, "POST", &format!("/queue/{one}/hold"), &none);
    assert_eq!(held.body["state"], "held", "{}", held.body);
    let listed = ask(&server, "GET", "/queue?state=held", &none);
    assert_eq!(listed.body["recipients"][0]["id"], one, "{}", listed.body);
    let released = ask(&server, "POST", &format!("/queue/{one}/release"), &none);
    assert_eq!(released.body["state"], "waiting", "{}", released.body);
    let drop_all = json!({"action": "drop", "domain": "b.example"});
    let done = ask(&server, "POST", "/queue/actions", &drop_all);
    assert_eq!(done.body["changed"], 2, "{}", done.body);
    assert_eq!(done.body["next_cursor"], none);
    let kicked = ask(&server, "POST", &format!("/queue/{one}/kick"), &none);
    assert_eq!(kicked.status, 200, "{}", kicked.body);
    wait_for_inbox(&server, &["one"]);
    // All of them are over; pages of one find each once.
    wait_for_queue(dir.path(), <[Value]>::is_empty);
    let all = || {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = ask(&server, "GET", &format!("/messages?limit=1{cursor}"), &none);
            assert_eq!(page.status, 200, "{}", page.body);
            for one in page.body["recipients"].as_array().unwrap() {
                found.push((one["id"].as_u64().unwrap(), one["state"].clone()));
            }
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        found.sort_by_key(|(id, _)| *id);
        found
    };
    let mut expected = vec![
        (one, json!("delivered")),
        (two, json!("dropped")),
        (three, json!("dropped")),
    ];
    expected.sort_by_key(|(id, _)| *id);
    found(all, |all| *all == expected);
    let gone = ask(&server, "DELETE", &format!("/queue/{two}"), &none);
    assert_eq!(gone.status, 404);
    stop(server);
}

#[test]
fn a_repeated_request_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let first = send_once(&server, "a 1", &message("once"));
    assert_eq!(first.status, 200, "{}", first.body);
    assert!(!first.head.contains("idempotent-replayed"));
    let again = send_once(&server, "a 1", &message("once"));
    assert!(
        again.head.contains("idempotent-replayed: true"),
        "{}",
        again.head
    );
    assert_eq!(again.body, first.body);
    let other = send_once(&server, "a 1", &message("other"));
    assert_eq!(other.status, 409, "{}", other.body);
    // What failed is not remembered.
    let mut wrong = message("wrong");
    wrong["headers"] = json!([{"name": "Bcc", "value": "x"}]);
    assert_eq!(send_once(&server, "a 2", &wrong).status, 422);
    assert_eq!(send_once(&server, "a 2", &message("two")).status, 200);
    // Many at once are one.
    let said: Vec<Said> = std::thread::scope(|scope| {
        let one = || send_once(&server, "a 3", &message("three"));
        let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let replayed = said
        .iter()
        .filter(|s| s.head.contains("idempotent-replayed"));
    assert_eq!(replayed.count(), 7);
    assert!(said.iter().all(|s| s.body == said[0].body));
    wait_for_queue(dir.path(), <[Value]>::is_empty);
    let mut seen = inbox(&server);
    seen.sort();
    assert_eq!(seen, ["once", "three", "two"]);
    stop(server);
    // After a restart too.
    let server = Localserve::start(dir.path(), &[]);
    let again = send_once(&server, "a 1", &message("once"));
    assert_eq!(again.body, first.body);
    stop(server);
}

#[test]
fn an_account_gets_no_answers_of_an_earlier_one_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let run = |words: &[&str]| {
        let ran = crate::program::ringmail(&[words, &["--dir", server.dir()]].concat());
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
        ran.out
    };
    let mut wanted = message("mine");
    wanted["from"] = json!({"address": "anna@localhost"});
    let mut said = Vec::new();
    for sent in [2, 1] {
        run(&["account", "add", "anna", "anna@localhost"]);
        let password = run(&["account", "password", "anna", "--generate"]);
        let login = STANDARD.encode(format!("anna@localhost:{}", password.trim()));
        // Keys enough for every shard.
        for key in 0..8 {
            let fields = format!("Authorization: Basic {login}\r\nIdempotency-Key: {key}\r\n");
            for _ in 0..sent {
                said.push(ask_with(&server, ("POST", "/messages"), &fields, &wanted));
            }
        }
        run(&["account", "remove", "--drop-queued", "anna"]);
    }
    assert!(said.iter().all(|s| s.status == 200), "{}", said[0].body);
    let is_repeat = |s: &Said| s.head.contains("idempotent-replayed");
    let repeats: Vec<bool> = said.iter().map(is_repeat).collect();
    assert_eq!(repeats[..16], [false, true].repeat(8));
    assert_eq!(repeats[16..], [false; 8]);
    stop(server);
}

#[test]
fn an_address_that_is_named_twice_gets_one_copy() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let mut wanted = message("twice");
    wanted["to"] = json!([{"address": "ann@a.example"}, {"address": "ben@b.example"}]);
    wanted["cc"] = json!([{"address": "ann@A.EXAMPLE"}, {"address": "ann@a.example"}]);
    wanted["bcc"] = json!([{"address": "Ann@a.example"}]);
    let sent = send_once(&server, "t", &wanted);
    let told = sent.body["recipients"].as_array().unwrap();
    let id = |at: usize| told[at]["id"].as_i64().unwrap() - told[0]["id"].as_i64().unwrap();
    assert_eq!([0, 1, 2, 3, 4].map(id), [0, 1, 0, 0, 2], "{}", sent.body);
    assert_eq!(told[2]["address"], "ann@A.EXAMPLE");
    let again = send_once(&server, "t", &wanted);
    assert_eq!(again.body, sent.body);
    let request = json!({
        "To": [{"Address": "ann@a.example"}], "CC": [{"Address": "ann@a.example"}], "Subject": "v0", "Text": "Hi",
    });
    let (status, old) = crate::webapi::call(&server, "Send", &request);
    assert_eq!(status, 200, "{old}");
    let old = &old["Submissions"];
    assert_eq!(old[0], old[1]);
    assert!(old[2].is_null(), "{old}");
    wait_for_queue(dir.path(), <[Value]>::is_empty);
    let mut seen = inbox(&server);
    seen.sort();
    assert_eq!(seen, ["twice", "twice", "twice", "v0"]);
    stop(server);
}

#[test]
fn a_kill_neither_loses_nor_doubles_a_request_that_is_repeated() {
    use std::io::{Read, Write};
    for (faults, is_kept) in [
        // In the middle of its commit; when it is durable and nobody was told.
        ("large.linked=kill@1", false),
        ("fanout.committed=kill@1", true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Localserve::with_faults(dir.path(), &[], faults);
        let mut wanted = message("kept");
        wanted["save_sent"] = json!(true);
        // Long enough for a file of its own.
        wanted["attachments"] = json!([{"content": STANDARD.encode(vec![7; 1 << 20])}]);
        let text = wanted.to_string();
        let mut stream = server.connect(80);
        let request = format!(
            "POST /webapi/v1/messages HTTP/1.1\r\nHost: localhost\r\n{}Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            by_password(),
            text.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        assert!(said.is_empty(), "{faults}: {said}");
        server.ended();
        let server = Localserve::start(dir.path(), &[]);
        let said = send_once(&server, "k", &wanted);
        assert_eq!(said.status, 200, "{}", said.body);
        let is_replayed = said.head.contains("idempotent-replayed: true");
        assert_eq!(is_replayed, is_kept, "{faults}");
        wait_for_inbox(&server, &["kept"]);
        wait_for_queue(dir.path(), <[Value]>::is_empty);
        assert_eq!(inbox(&server), ["kept"], "{faults}");
        stop(server);
    }
}

#[test]
fn templates_are_kept_and_what_is_wrong_with_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let none = Value::Null;
    let content = json!({
        "subject": "Order {{ number }}", "text": "Hi {{ name }}", "html": null, "to_name": "",
        "headers": [{"name": "X-Order", "value": "{{ number }}"}],
    });
    let said = ask(&server, "PUT", "/templates/order-1", &content);
    assert_eq!(said.status, 200, "{}", said.body);
    assert_eq!(said.body["content"], content);
    let read = ask(&server, "GET", "/templates/order-1", &none);
    assert_eq!(read.body, said.body);
    let listed = ask(&server, "GET", "/templates", &none);
    assert_eq!(listed.body["templates"][0]["subject"], "Order {{ number }}");
    for (body, pointer) in [
        (json!({"subject": "x"}), "/text"),
        (json!({"text": "a\n{{ b"}), "/text"),
        (json!({"text": "a", "subject": "{% if %}"}), "/subject"),
        (json!({"text": "a", "colour": 1}), "/colour"),
    ] {
        let said = ask(&server, "PUT", "/templates/wrong", &body);
        assert_eq!(said.status, 422, "{}", said.body);
        assert_eq!(said.body["errors"][0]["pointer"], pointer, "{}", said.body);
    }
    for path in ["/templates/%2e", "/templates/%2E%2e"] {
        // Clients take them for steps of the path.
        let said = ask(&server, "PUT", path, &content);
        assert_eq!(said.status, 422, "{path}: {}", said.body);
        assert_eq!(said.body["errors"][0]["parameter"], "name");
        assert_eq!(ask(&server, "GET", path, &none).status, 404);
        assert_eq!(ask(&server, "DELETE", path, &none).status, 404);
    }
    let said = ask(&server, "PUT", "/templates/a%20b", &content);
    assert_eq!(said.body["errors"][0]["parameter"], "name");
    assert_eq!(
        ask(&server, "DELETE", "/templates/order-1", &none).status,
        204
    );
    assert_eq!(
        ask(&server, "DELETE", "/templates/order-1", &none).status,
        404
    );
    assert_eq!(ask(&server, "GET", "/templates/order-1", &none).status, 404);
    stop(server);
}
