//! An account that is removed leaves nothing to whoever has its name next.

use std::io::BufReader;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringmail::queue::from_id::FromIds;
use ringmail::queue::unsubscribe::Link;
use serde_json::{Value, json};

use crate::crash::{command, reply};
use crate::filled::stop;
use crate::program::{Localserve, Ran, ringmail, ringmail_with_input};
use crate::unsubscribe::page;
use crate::webapi_v1::{Said, ask_by, ask_with};

const NONE: Value = Value::Null;

/// A server, and what is done to its account anna.
struct Anna {
    server: Localserve,
    key: String,
}

impl Anna {
    /// Its mail stays in the queue.
    fn on(dir: &Path) -> Anna {
        let mut anna = Anna {
            server: Localserve::start(dir, &[]),
            key: String::new(),
        };
        anna.add();
        let held = anna.run(&["queue", "holdrules", "add", "--account", "anna"]);
        assert_eq!(held.code, 0, "{}", held.err);
        anna
    }

    fn run(&self, words: &[&str]) -> Ran {
        ringmail(&[words, &["--dir", self.server.dir()]].concat())
    }

    fn add(&mut self) {
        let added = self.run(&["account", "add", "anna", "anna@localhost"]);
        assert_eq!(added.code, 0, "{}", added.err);
        let scopes = "send,read,suppression,webhooks,admin";
        let key = self.run(&["apikey", "add", "anna", "all", "--scope", scopes]);
        assert_eq!(key.code, 0, "{}", key.err);
        self.key = key.out.lines().next().unwrap_or_default().to_string();
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Said {
        ask_by(&self.server, &self.key, method, path, body)
    }

    fn did(&self, method: &str, path: &str, body: &Value) {
        let said = self.ask(method, path, body);
        assert!((200..300).contains(&said.status), "{path}: {}", said.body);
    }

    /// The path of the link to unsubscribe in a message that waits.
    fn link(&self, id: &Value) -> String {
        let message = self.run(&["queue", "dump", &id.to_string()]);
        assert_eq!(message.code, 0, "{}", message.err);
        let field = message.out.split("List-Unsubscribe: <").nth(1);
        let field = field.unwrap_or_else(|| panic!("{}", message.out));
        let uri: String = field
            .split('>')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        uri[uri.find("/unsubscribe/").unwrap()..].to_string()
    }

    /// The same of a new message to an address, and of a batch.
    fn links(&self, address: &str) -> [String; 2] {
        let message = json!({
            "from": {"address": "anna@localhost"}, "to": [{"address": address}], "subject": "s", "text": "t", "unsubscribe": true,
        });
        let message = self.ask("POST", "/messages", &message).body;
        let batch = json!({
            "template": {"subject": "s", "text": "t"}, "recipients": [{"address": address}], "unsubscribe": true,
        });
        let batch = self.ask("POST", "/batches", &batch).body;
        [
            self.link(&message["recipients"][0]["id"]),
            self.link(&batch["id"]),
        ]
    }

    fn is_suppressed(&self, address: &str) -> bool {
        let path = format!("/suppressions/{address}");
        self.ask("GET", &path, &NONE).status == 200
    }

    fn restart(self, dir: &Path) -> Anna {
        stop(self.server);
        Anna {
            server: Localserve::start(dir, &[]),
            key: self.key,
        }
    }

    /// How much there is of everything.
    fn counts(&self) -> Vec<usize> {
        let lists = [
            "queue",
            "messages",
            "batches",
            "webhooks",
            "deliveries",
            "templates",
            "suppressions",
            "keys",
        ];
        let count = |list: &&str| {
            let said = self.ask("GET", &format!("/{list}"), &NONE);
            assert_eq!(said.status, 200, "{}", said.body);
            let mut fields = said.body.as_object().unwrap().values();
            fields.find_map(Value::as_array).unwrap().len()
        };
        lists.iter().map(count).collect()
    }

    fn fill(&self) {
        let hook = json!({"url": "http://127.0.0.1:9/", "events": ["failed", "canceled"]});
        self.did("POST", "/webhooks", &hook);
        let template = json!({"subject": "s", "text": "t"});
        self.did("PUT", "/templates/news", &template);
        self.did("PUT", "/suppressions/no@a.example", &json!({}));
        let batch = json!({
            "template": {"subject": "s", "text": "t"},
            "recipients": [{"address": "a@one.example"}, {"address": "b@two.example"}],
        });
        self.did("POST", "/batches", &batch);
        let message = json!({
            "from": {"address": "anna@localhost"}, "to": [{"address": "a@a.example"}], "subject": "s", "text": "t",
        });
        self.did("POST", "/messages", &message);
        let counts = self.counts();
        assert_eq!((counts[0], counts[1], counts[2]), (3, 3, 1));
    }
}

#[test]
fn what_it_sent_goes_with_it_if_that_is_said_and_nobody_inherits_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut anna = Anna::on(dir.path());
    let fresh = anna.counts();
    anna.fill();
    // What was accepted to be sent is not lost by the way.
    let refused = anna.run(&["account", "remove", "anna"]);
    assert_eq!(refused.code, 1);
    let remedy = "ringmail account remove --drop-queued anna";
    assert!(refused.err.contains(remedy), "{}", refused.err);
    assert_eq!(anna.counts()[..3], [3, 3, 1]);
    let removed = anna.run(&["account", "remove", "--drop-queued", "anna"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    let words = "Recipients in the queue that get nothing: 3.";
    assert!(removed.out.contains(words), "{}", removed.out);
    assert_eq!(anna.ask("GET", "/queue", &NONE).status, 401);
    anna.add();
    assert_eq!(anna.counts(), fresh);
    // Its file was removed by hand: as long as something of it is there, the name is nobody's.
    anna.fill();
    let file = dir.path().join("accounts/anna.toml");
    std::fs::remove_file(&file).unwrap_or_else(|_| panic!("{}", file.display()));
    assert_eq!(anna.run(&["reload"]).code, 0);
    let again = ["account", "add", "anna", "anna@localhost"];
    let refused = anna.run(&again);
    assert!(refused.err.contains("ringmail account remove anna"));
    let removed = anna.run(&["account", "remove", "anna", "--drop-queued"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    anna.add();
    assert_eq!(anna.counts(), fresh);
    stop(anna.server);
}

#[test]
fn who_was_logged_in_is_nobody_to_the_next_of_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut anna = Anna::on(dir.path());
    let dir = anna.server.dir().to_string();
    let set = ["account", "password", "anna", "--dir", &dir];
    assert_eq!(ringmail_with_input(&set, "the password before\n").code, 0);
    let login = STANDARD.encode("anna@localhost:the password before");
    let by_password = format!("Authorization: Basic {login}\r\n");
    let ask =
        |server: &Localserve| ask_with(server, ("GET", "/account"), &by_password, &NONE).status;
    // It was looked at, and is known to be right.
    assert_eq!((ask(&anna.server), ask(&anna.server)), (200, 200));
    let mut talk = BufReader::new(anna.server.connect(587));
    reply(&mut talk).unwrap();
    let plain = STANDARD.encode("\0anna@localhost\0the password before");
    for line in [
        "EHLO client.example\r\n",
        &format!("AUTH PLAIN {plain}\r\n"),
    ] {
        let said = command(&mut talk, line).unwrap();
        assert!(said.starts_with('2'), "{line}{said}");
    }
    let removed = anna.run(&["account", "remove", "anna", "--drop-queued"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    anna.add();
    assert_eq!(ask(&anna.server), 401);
    // The session is ended, whatever it says.
    let said = command(&mut talk, "MAIL FROM:<anna@localhost>\r\n");
    assert!(!said.is_ok_and(|said| said.starts_with('2')));
    stop(anna.server);
}

#[test]
fn the_name_waits_for_mail_that_is_still_in_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let mut anna = Anna::on(dir.path());
    let message = json!({
        "from": {"address": "anna@localhost"}, "to": [{"address": "a@a.example"}], "subject": "s", "text": "t",
    });
    // Nothing else is stored of it.
    anna.did("POST", "/messages", &message);
    let file = dir.path().join("accounts/anna.toml");
    std::fs::remove_file(&file).unwrap_or_else(|_| panic!("{}", file.display()));
    assert_eq!(anna.run(&["reload"]).code, 0);
    let again = ["account", "add", "anna", "anna@localhost"];
    let refused = anna.run(&again);
    assert_eq!(refused.code, 1);
    let remedy = "ringmail queue drop --account anna";
    assert!(refused.err.contains(remedy), "{}", refused.err);
    let kept = anna.run(&[&again[..], &["--keep"]].concat());
    assert_eq!(kept.code, 0, "{}", kept.err);
    let dropped = anna.run(&["queue", "drop", "--account", "anna"]);
    assert_eq!(dropped.code, 0, "{}", dropped.err);
    let removed = anna.run(&["account", "remove", "anna"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    anna.add();
    stop(anna.server);
}

#[test]
fn its_links_to_unsubscribe_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut anna = Anna::on(dir.path());
    let of_first = anna.links("reader@a.example");
    // Links were made without the mark of an account's life before.
    let from_ids = FromIds::open(&dir.path().join("data")).unwrap();
    let unmarked = Link {
        account: "anna".into(),
        address: "old@a.example".into(),
        message_id: "<1@a.example>".into(),
        life: None,
    };
    let token = from_ids.links().unwrap().token(&unmarked).unwrap();
    let unmarked = format!("/unsubscribe/{token}");
    anna = anna.restart(dir.path());
    let again = anna.links("again@a.example");
    for link in of_first.iter().chain(&again).chain([&unmarked]) {
        let (status, said) = page(&anna.server, "GET", link);
        assert_eq!(status, 200, "{said}");
    }
    assert_eq!(page(&anna.server, "POST", &again[0]).0, 200);
    assert!(anna.is_suppressed("again@a.example"));

    let unknown = page(&anna.server, "GET", "/unsubscribe/x");
    assert_eq!(unknown.0, 404);
    let lead_nowhere = |anna: &Anna, links: &[&String]| {
        for link in links {
            for method in ["GET", "POST"] {
                assert_eq!(page(&anna.server, method, link), unknown, "{method}");
            }
        }
    };
    let marked = [&of_first[0], &of_first[1], &again[0], &again[1]];
    let removed = anna.run(&["account", "remove", "anna", "--drop-queued"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    lead_nowhere(&anna, &marked);
    lead_nowhere(&anna, &[&unmarked]);
    anna.add();
    lead_nowhere(&anna, &marked);
    // The next one's are others, and each holds for as long as its account is there.
    let of_next = anna.links("reader@a.example");
    lead_nowhere(&anna, &marked);
    assert!(!anna.is_suppressed("reader@a.example"));
    anna = anna.restart(dir.path());
    lead_nowhere(&anna, &marked);
    for link in of_next.iter().chain([&unmarked]) {
        assert_eq!(page(&anna.server, "POST", link).0, 200);
    }
    assert!(anna.is_suppressed("reader@a.example") && anna.is_suppressed("old@a.example"));
    stop(anna.server);
}
