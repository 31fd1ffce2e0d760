//! Links to unsubscribe: in messages of the API and of batches, the page behind them, and what follows.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::filled::{imap, stop};
use crate::program::{Localserve, ringmail};
use crate::queue::wait_for_inbox;
use crate::webapi_v1::ask;
use crate::webhooks::Hears;

/// The path of the link in the last message of INBOX, whose fields must be signed.
fn link(server: &Localserve, number: usize) -> String {
    let commands = [
        "EXAMINE INBOX".to_string(),
        format!("FETCH {number} BODY.PEEK[]"),
    ];
    let commands = commands.each_ref().map(String::as_str);
    let message = imap(server, "ringmail", "ringmailringmail", &commands)[1].clone();
    let unfolded = message.replace("\r\n ", " ").replace("\r\n\t", " ");
    let field = |name: &str| {
        let begin = format!("\r\n{name}: ");
        let rest = unfolded
            .split(&begin)
            .nth(1)
            .unwrap_or_else(|| panic!("{message}"));
        rest.split("\r\n").next().unwrap().to_string()
    };
    assert_eq!(field("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    let signed = field("DKIM-Signature").to_ascii_lowercase();
    assert!(
        signed.contains("list-unsubscribe:list-unsubscribe-post"),
        "{signed}"
    );
    let uri = field("List-Unsubscribe");
    let uri = uri.trim_matches(['<', '>']);
    let host = format!(
        "http://localhost:{}",
        server.connect(80).peer_addr().unwrap().port()
    );
    uri.strip_prefix(&host)
        .unwrap_or_else(|| panic!("{uri}"))
        .to_string()
}

pub fn page(server: &Localserve, method: &str, path: &str) -> (u16, String) {
    let body = if method == "POST" {
        "List-Unsubscribe=One-Click"
    } else {
        ""
    };
    let (status, _, said) = server.http(&format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    (status, said)
}

fn is_suppressed(server: &Localserve, address: &str) -> bool {
    ask(
        server,
        "GET",
        &format!("/suppressions/{address}"),
        &Value::Null,
    )
    .status
        == 200
}

#[test]
fn one_click_puts_the_reader_on_the_suppression_list() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let mut message = json!({
        "from": {"address": "ringmail@localhost"}, "to": [{"address": "ann@a.example"}],
        "subject": "news", "text": "Hi\n", "unsubscribe": true,
    });
    let said = ask(&server, "POST", "/messages", &message);
    assert_eq!(said.status, 200, "{}", said.body);
    wait_for_inbox(&server, &["news"]);
    let path = link(&server, 1);

    // A scanner that follows links changes nothing.
    let (status, said) = page(&server, "GET", &path);
    assert_eq!(status, 200);
    assert!(
        said.contains("ann@a.example") && said.contains("<form method=post>"),
        "{said}"
    );
    assert!(!is_suppressed(&server, "ann@a.example"));
    for _ in 0..2 {
        assert_eq!(page(&server, "POST", &path).0, 200);
    }
    assert!(is_suppressed(&server, "ann@a.example"));
    let listed = ask(&server, "GET", "/suppressions/ann@a.example", &Value::Null).body;
    assert!(
        listed["reason"]
            .as_str()
            .unwrap()
            .starts_with("unsubscribed"),
        "{listed}"
    );

    assert_eq!(page(&server, "POST", &path[..path.len() - 1]).0, 404);
    assert_eq!(page(&server, "PUT", &path).0, 405);
    // A link is one reader's.
    message["cc"] = json!([{"address": "ben@b.example"}]);
    let several = ask(&server, "POST", "/messages", &message);
    // And holds the Message-ID.
    message["cc"] = json!([]);
    message["message_id"] = json!(format!("<{}@x.example>", "x".repeat(880)));
    let long = ask(&server, "POST", "/messages", &message);
    for said in [several, long] {
        let pointer = &said.body["errors"][0]["pointer"];
        assert_eq!((said.status, pointer), (422, &json!("/unsubscribe")));
    }
    stop(server);
}

#[test]
fn each_recipient_of_a_batch_has_a_link_and_a_batch_is_sent_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let batch = json!({
        "template": {"subject": "{{ n }}", "text": "{{ n }}"}, "unsubscribe": true,
        "recipients": [{"address": "a@one.example", "data": {"n": 1}}, {"address": "b@two.example", "data": {"n": 2}}],
    });
    let key = "Idempotency-Key: batch-1\r\n";
    let login = crate::webapi_v1::by_password();
    let post = |body: &Value| {
        crate::webapi_v1::ask_with(
            &server,
            ("POST", "/batches"),
            &format!("{key}{login}"),
            body,
        )
    };
    let first = post(&batch);
    assert_eq!(first.status, 201, "{}", first.body);
    let again = post(&batch);
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert!(
        again.head.contains("idempotent-replayed: true"),
        "{}",
        again.head
    );
    // The same in other words.
    let mut same = batch.clone();
    same["name"] = json!("");
    same["recipients"][0]["name"] = json!("");
    let again = post(&same);
    assert_eq!((again.status, &again.body), (201, &first.body));
    let mut other = batch.clone();
    other["name"] = json!("other");
    assert_eq!(post(&other).status, 409);

    // A template that is kept makes the same.
    let kept = json!({"subject": "kept {{ n }}", "text": "{{ n }}"});
    assert_eq!(ask(&server, "PUT", "/templates/news", &kept).status, 200);
    let mut named = batch.clone();
    named["template_name"] = json!("news");
    assert_eq!(ask(&server, "POST", "/batches", &named).status, 422, "both");
    named["template"] = Value::Null;
    named["recipients"] = json!([{"address": "c@three.example", "data": {"n": 3}}]);
    let post_keyed = |key: &str| {
        let fields = format!("Idempotency-Key: {key}\r\n{login}");
        crate::webapi_v1::ask_with(&server, ("POST", "/batches"), &fields, &named)
    };
    let first = post_keyed("batch-2");
    assert_eq!(first.status, 201, "{}", first.body);
    // Its repeat is answered though the template is gone, and nothing else is accepted.
    assert_eq!(
        ask(&server, "DELETE", "/templates/news", &Value::Null).status,
        204
    );
    let again = post_keyed("batch-2");
    assert_eq!((again.status, &again.body), (201, &first.body));
    let said = post_keyed("batch-3");
    assert_eq!(
        (said.status, &said.body["errors"][0]["pointer"]),
        (422, &json!("/template_name"))
    );
    named["template_name"] = json!("other");
    let said = ask(&server, "POST", "/batches", &named);
    assert_eq!(
        (said.status, &said.body["errors"][0]["pointer"]),
        (422, &json!("/template_name"))
    );

    wait_for_inbox(&server, &["1", "2", "kept 3"]);
    let paths = [link(&server, 1), link(&server, 2)];
    assert_ne!(paths[0], paths[1]);
    assert_eq!(page(&server, "POST", &paths[0]).0, 200);
    let suppressed = ["a@one.example", "b@two.example"].map(|a| is_suppressed(&server, a));
    assert_eq!(suppressed.iter().filter(|is| **is).count(), 1);
    stop(server);
}

#[test]
fn each_reader_is_told_of_once_beside_other_events() {
    const READERS: usize = 24;
    let dir = tempfile::tempdir().unwrap();
    let server = Localserve::start(dir.path(), &[]);
    let hears = Hears::start(|_, _| "204 No Content".into());
    for events in ["delivered", "unsubscribed"] {
        let dir = dir.path().to_str().unwrap();
        let url = format!("{}/{events}", hears.url());
        let words = ["webhook", "add", "ringmail", &url, "--events", events];
        let options = ["--concurrency", "4", "--dir", dir];
        let added = ringmail(&[&words[..], &options[..]].concat());
        assert_eq!(added.code, 0, "{}", added.err);
    }
    let send = |n: usize| {
        let message = json!({
            "from": {"address": "ringmail@localhost"}, "to": [{"address": format!("r{n}@a.example")}],
            "subject": "news", "text": "Hi\n", "unsubscribe": true,
        });
        assert_eq!(ask(&server, "POST", "/messages", &message).status, 200);
    };
    (0..READERS).for_each(send);
    wait_for_inbox(&server, &["news"; READERS]);
    let paths: Vec<String> = (1..=READERS).map(|n| link(&server, n)).collect();
    std::thread::scope(|scope| {
        for some in paths.chunks(READERS / 4) {
            let server = &server;
            scope.spawn(move || {
                for path in some {
                    assert_eq!(page(server, "POST", path).0, 200);
                }
            });
        }
        // What else happens to the account meanwhile.
        (READERS..2 * READERS).for_each(send);
    });
    let got = hears.wait(3 * READERS);
    let of = |event: &str| {
        let all = got
            .iter()
            .filter(|request| request.json()["Event"] == event);
        all.count()
    };
    assert_eq!(
        (of("unsubscribed"), of("delivered")),
        (READERS, 2 * READERS)
    );
    // What two calls share is not told twice, and neither is lost.
    let ids: BTreeSet<&str> = got.iter().map(|r| r.header("webhook-id")).collect();
    assert_eq!(ids.len(), got.len());
    let readers = got.iter().filter(|r| r.json()["Event"] == "unsubscribed");
    let readers: BTreeSet<String> = readers.map(|r| r.json()["Error"].to_string()).collect();
    assert_eq!(readers.len(), READERS);
    stop(server);
}
