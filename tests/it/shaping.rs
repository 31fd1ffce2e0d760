//! Traffic shaping: rules by host and by reply, what is done about a site, and what operators see and undo of it.

use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmail::calls::{Answer, Call, ControlAnswer, ControlCall, SiteDeed};
use ringmail::queue::Deed;
use ringmail::queue::rows::{RecipientRow, State};
use ringmail::queue::sites::{Kind, SiteState};
use ringmail::settings::Door;
use shards::CoreId;

use crate::dns::{mx, serve_zone};
use crate::folder::Folder;
use crate::outbound::{change_all, free_port, let_go, send, submit, submit_on};
use crate::patience::{patiently, until};
use crate::program::{Localserve, ringmail, ringmail_with_input};
use crate::receiver::Receiver;
use crate::server::TestServer;
use crate::smtp::numbers;

/// `one.test`, `two.test`: mx.shared.test, 127.0.0.14.
fn zone(name: &str, number: u8) -> Vec<Vec<u8>> {
    match (name, number) {
        ("one.test." | "two.test.", 15) => vec![mx(10, "mx.shared.test")],
        ("mx.shared.test.", 1) => vec![vec![127, 0, 0, 14]],
        _ => vec![],
    }
}

fn server(directory: &Path, port: u16, rules: &str) -> TestServer {
    let dns = serve_zone(zone);
    std::fs::write(directory.join("shaping.toml"), rules).unwrap();
    TestServer::on(
        directory,
        &format!(
            "[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[outbound]\nrefuse_networks = []\nport = {port}\nshaping_file = \"shaping.toml\"\n"
        ),
    )
}

/// Addresses of all recipients in the queue, with their rows and why they wait.
fn waiting(server: &TestServer) -> Vec<(String, RecipientRow, String)> {
    let mut all = Vec::new();
    for shard in 0..server.server().shards() {
        let call = ControlCall::Queue {
            shard,
            filter: Box::default(),
            after: None,
            most: ringmail::queue::Most::entries(1000),
        };
        let owner = server.server().owner_of_shard(shard);
        let ControlAnswer::Queue(messages, _) = ask(server, owner, call) else {
            panic!("no queue");
        };
        for (stored, recipients) in messages {
            for (index, standing) in recipients {
                let address = stored.message.recipients[index as usize].address.clone();
                all.push((address, stored.recipient(index), standing.why));
            }
        }
    }
    all
}

fn ask(server: &TestServer, core: CoreId, call: ControlCall) -> ControlAnswer {
    match server.server().call(core, Call::Control(Box::new(call))) {
        Ok(Answer::Control(Ok(answer))) => answer,
        _ => panic!("no answer"),
    }
}

fn cores(server: &TestServer) -> impl Iterator<Item = CoreId> {
    (0..server.server().cores()).map(CoreId)
}

/// The one site there is.
fn site(server: &TestServer) -> Option<SiteState> {
    let mut all = Vec::new();
    for core in cores(server) {
        let call = ControlCall::Sites {
            wanted: None,
            restrained: false,
            after: None,
            limit: 10,
        };
        match ask(server, core, call) {
            ControlAnswer::Sites(sites, None) => all.extend(sites),
            _ => panic!("no sites"),
        }
    }
    assert!(all.len() <= 1, "{all:?}");
    all.pop()
}

fn change(server: &TestServer, wanted: &str, deed: SiteDeed) -> usize {
    let mut changed = 0;
    for core in cores(server) {
        let call = ControlCall::ChangeSites {
            wanted: Some(wanted.into()),
            deed: deed.clone(),
        };
        match ask(server, core, call) {
            ControlAnswer::Count(count) => changed += count,
            _ => panic!("no count"),
        }
    }
    for core in cores(server) {
        ask(server, core, ControlCall::SitesChanged);
    }
    changed
}

#[test]
fn a_reply_pauses_a_site_until_an_operator_resumes_it() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let is_slow = Arc::new(AtomicBool::new(true));
    let slow = is_slow.clone();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, move |line| {
        let refuses = line.starts_with("RCPT") && slow.load(Ordering::SeqCst);
        refuses.then(|| "550 5.7.99 much too fast".into())
    });
    let rules = "[[reply]]\nhosts = [\"*.shared.test\"]\nenhanced = \"5.7.99\"\ntext = \"too FAST\"\naction = \"pause\"\nfor_secs = \"10h\"\n";
    let server = server(directory.path(), port, rules);
    assert!(submit(&server, &["first@one.test"], "first").starts_with("250"));
    // What was refused with it waits too.
    until(|| waiting(&server).iter().any(|(_, row, _)| row.attempts == 1));
    until(|| site(&server).is_some_and(|site| site.pause.is_some()));
    let refused = receiver.connections();
    for n in 0..4 {
        assert!(submit(&server, &["later@two.test"], &format!("s{n}")).starts_with("250"));
    }
    let reason = "the site is paused by a rule: 550 5.7.99 much too fast";
    until(|| {
        let all = waiting(&server);
        let paused = all.iter().filter(|(_, _, why)| why.starts_with(reason));
        paused.count() == 4
    });
    assert_eq!(receiver.connections(), refused);
    let state = site(&server).unwrap();
    assert_eq!(state.site, "mx.shared.test");
    let (left, why) = state.pause.unwrap();
    assert!(left > Duration::from_secs(9 * 3600) && why == reason);
    let done = state
        .actions
        .iter()
        .find(|a| a.kind == Kind::Pause)
        .unwrap();
    assert_eq!(done.length, Some(Duration::from_secs(10 * 3600)));
    assert_eq!(done.cause, "550 5.7.99 much too fast");
    is_slow.store(false, Ordering::SeqCst);
    assert_eq!(change(&server, "other.test", SiteDeed::Resume), 0);
    assert_eq!(change(&server, "MX.shared.test", SiteDeed::Resume), 1);
    until(|| receiver.messages().len() == 4);
    let done = site(&server).unwrap().actions;
    assert!(
        done.iter()
            .any(|a| a.kind == Kind::Pause && a.ended.is_some())
    );
    // By hand, while nothing is on its way.
    until(|| waiting(&server).len() == 1);
    let deed = SiteDeed::Pause {
        length: Duration::from_secs(3600),
        why: "they move".into(),
    };
    assert_eq!(change(&server, "mx.shared.test", deed), 1);
    assert!(submit(&server, &["paused@one.test"], "paused").starts_with("250"));
    let by_hand = "the site is paused by hand: they move";
    let paused = format!("{by_hand}; nothing goes there before ");
    until(|| {
        let all = waiting(&server);
        all.iter().any(|(_, _, why)| why.starts_with(&paused))
    });
    assert_eq!(change(&server, "mx.shared.test", SiteDeed::Resume), 1);
    until(|| receiver.messages().len() == 5);
}

#[test]
fn a_rate_is_kept_by_all_cores_together_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |_| None);
    let rules = "[[site]]\nhosts = [\"mx.shared.test\"]\nrate = \"10/day\"\n";
    let server = server(directory.path(), port, rules);
    for n in 0..8 {
        assert!(submit(&server, &["a@one.test"], &format!("s{n}")).starts_with("250"));
    }
    until(|| {
        let all = waiting(&server);
        let limited = |(_, row, why): &&(String, RecipientRow, String)| {
            row.attempts == 0 && why == "10 messages per day to this site"
        };
        all.iter().filter(limited).count() == 7
    });
    // The one that a new site may be sent, which may be on its way still; the next is due in more
    // than two hours, and the other seven wait for it.
    until(|| receiver.messages().len() == 1);
    until(|| waiting(&server).len() == 7);
    assert_eq!(receiver.messages().len(), 1);
    assert!(site(&server).is_some_and(|site| site.rate.is_some()));
}

#[test]
fn a_rate_lets_through_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |_| None);
    let rules = "[[site]]\nhosts = [\"mx.shared.test\"]\nrate = \"20/second\"\nmessages_per_connection_max = 2\n";
    let server = server(directory.path(), port, rules);
    for n in 0..40 {
        assert!(submit(&server, &["a@one.test"], &format!("s{n}")).starts_with("250"));
    }
    until(|| receiver.messages().len() == 40);
    assert!(receiver.connections() >= 20, "{}", receiver.connections());
    until(|| waiting(&server).is_empty());
}

/// The server counts a connection until it is closed.
#[test]
fn the_next_connection_waits_until_the_one_before_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let noted = heard.clone();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, move |line| {
        let verb = line.split(' ').next().unwrap_or_default();
        if matches!(verb, "EHLO" | "QUIT") {
            noted.lock().unwrap().push(verb.to_owned());
        }
        (verb == "QUIT").then(|| "silence".into())
    });
    let rules = "[[site]]\nhosts = [\"mx.shared.test\"]\nconnections_max = 1\nmessages_per_connection_max = 1\n";
    let server = server(directory.path(), port, rules);
    for n in 0..3 {
        assert!(submit(&server, &["a@one.test"], &format!("s{n}")).starts_with("250"));
    }
    until(|| receiver.messages().len() == 3);
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard[..5], ["EHLO", "QUIT", "EHLO", "QUIT", "EHLO"]);
    assert_eq!(receiver.most_open(), 1);
}

#[test]
fn a_rule_for_a_stage_counts_there_alone() {
    for (stage, to) in [
        ("connect", ""),
        ("hello", "EHLO"),
        ("mail", "MAIL"),
        ("recipient", "RCPT"),
        ("data", "DATA"),
        ("data", "."),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let _receiver = Receiver::start([127, 0, 0, 14], port, None, move |line| {
            if to == "MAIL" && line.starts_with("RCPT") {
                return Some("503 5.5.1 MAIL first".into());
            }
            let is_it = match to {
                "" => line.is_empty(),
                to => line.starts_with(to),
            };
            is_it.then(|| "450 4.7.99 not so fast".into())
        });
        // The first that fits counts: those of other stages must not.
        let others = ["connect", "hello", "mail", "recipient", "data"];
        let mut rules = String::from("defaults = false\n");
        for other in others.iter().filter(|other| **other != stage) {
            rules +=
                &format!("[[reply]]\ncode = 450\nstage = \"{other}\"\naction = \"permanent\"\n");
        }
        rules += &format!(
            "[[reply]]\ncode = 450\nstage = \"{stage}\"\naction = \"pause\"\nfor_secs = \"10h\"\n"
        );
        let server = server(directory.path(), port, &rules);
        assert!(submit(&server, &["a@one.test"], "x").starts_with("250"));
        let paused = || {
            let state = site(&server)?;
            let kind = |a: &ringmail::queue::sites::ActionState| a.kind == Kind::Pause;
            state.actions.iter().any(kind).then_some(())
        };
        let state = || format!("{stage} {to}: {:?}", waiting(&server));
        patiently(|| paused().is_some(), state);
        let is_tried = || matches!(&waiting(&server)[..], [(_, row, _)] if row.attempts == 1);
        patiently(is_tried, state);
    }
}

#[test]
fn rules_decide_what_a_reply_comes_to_and_whether_tls_is_a_must() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |line| {
        let to = |who: &str| line.starts_with(&format!("RCPT TO:<{who}@"));
        if to("gone") {
            return Some("450 4.2.1 account is closed for good".into());
        }
        to("later").then(|| "550 5.1.1 try again".into())
    });
    let mut rules = "[[reply]]\ntext = \"closed for *good\"\naction = \"permanent\"\n[[reply]]\ncode = 550\ntext = \"try again\"\naction = \"temporary\"\n".to_owned();
    {
        let server = server(directory.path(), port, &rules);
        let to = ["fine@one.test", "gone@one.test", "later@one.test"];
        assert!(submit(&server, &to, "mixed").starts_with("250"));
        until(|| numbers(&server, "anna").0 == 1);
        let left = waiting(&server);
        let left: Vec<_> = left
            .iter()
            .filter(|(_, row, _)| row.state == State::Waiting)
            .collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].0, "later@one.test");
        assert_eq!(receiver.messages().len(), 1);
    }
    rules.push_str("[[site]]\nhosts = [\"mx.*.test\"]\ntls = \"require\"\n");
    let other = tempfile::tempdir().unwrap();
    let server = server(other.path(), port, &rules);
    assert!(submit(&server, &["fine@one.test"], "tls").starts_with("250"));
    until(|| waiting(&server).iter().any(|(_, row, _)| row.attempts == 1));
    let text = waiting(&server)[0].1.history[0].text.clone();
    assert!(text.contains("STARTTLS"), "{text}");
    assert_eq!(receiver.messages().len(), 1);
}

#[test]
fn commands_about_sites_say_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let server = Localserve::start(directory.path(), &[]);
    let run = |words: &[&str]| {
        let dir = ["--dir", server.dir()];
        ringmail(&[&["queue", "sites"], words, &dir[..]].concat())
    };
    let none = run(&[]);
    assert!(none.out.starts_with("No site is known"), "{}", none.out);
    assert_eq!(run(&["--paused", "--json"]).out, "");
    assert_eq!(run(&["resume", "--all"]).out, "0 sites are resumed.\n");
    for (words, why) in [
        (&["resume", "mx.test"][..], "\"mx.test\" is no site or host"),
        (&["pause", "mx.test", "--for", "1h"], "nothing is paused"),
        (&["pause", "mx.test"], "say for how long"),
        (&["pause", "mx.test", "--for", "long"], "no duration"),
        (&["pause", "mx.test", "--for", "40d"], "2592000 seconds"),
        (&["resume"], "say which site, or --all"),
        (&["resume", "mx.test", "--all"], "give that or one of them"),
    ] {
        let ran = run(words);
        assert!(
            ran.code != 0 && ran.err.contains(why),
            "{words:?}: {}",
            ran.err
        );
    }
    let rules = ringmail(&["config", "example", "shaping.toml"]);
    assert!(rules.out.contains("*.google.com"), "{}", rules.out);
}

#[test]
fn a_site_is_shown_and_resumed_by_commands() {
    let port = free_port();
    let is_slow = Arc::new(AtomicBool::new(true));
    let slow = is_slow.clone();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, move |line| {
        let refuses = line.starts_with("RCPT") && slow.load(Ordering::SeqCst);
        refuses.then(|| "451 4.7.98 not now".into())
    });
    let dns = serve_zone(zone);
    let folder = Folder::new(
        "[postmaster]\naccount = \"anna\"\n[domain.\"example.test\"]\n",
        &format!(
            "submission = {{ port = {{port}}, allow_plain_auth = true }}\n[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[outbound]\nrefuse_networks = []\nport = {port}\nshaping_file = \"shaping.toml\"\n"
        ),
    );
    let rules =
        "[[reply]]\ncode = 451\nenhanced = \"4.7.98\"\naction = \"pause\"\nfor_secs = \"1h\"\n";
    std::fs::write(folder.at("shaping.toml"), "[[reply]]\ncode = 7\n").unwrap();
    std::fs::create_dir(folder.at("accounts")).unwrap();
    let anna = "addresses = [\"anna@example.test\"]\n";
    std::fs::write(folder.at("accounts/anna.toml"), anna).unwrap();
    let wrong = folder.run(&["config", "check"]).err;
    assert!(
        wrong.contains("shaping.toml:2:1: code cannot be 7"),
        "{wrong}"
    );
    std::fs::write(folder.at("shaping.toml"), rules).unwrap();
    let _serving = folder.serve();
    let password = folder.arguments(&["account", "password", "anna"]);
    assert_eq!(ringmail_with_input(&password, "anna-password\n").code, 0);
    let submit = |to: &str| {
        let stream = TcpStream::connect(("127.0.0.1", folder.port + 1)).unwrap();
        submit_on(stream, &[to], "x")
    };
    assert!(submit("first@one.test").starts_with("250"));
    until(|| {
        folder
            .run(&["queue", "sites", "--paused"])
            .out
            .contains("451")
    });
    assert!(submit("second@two.test").starts_with("250"));
    let sites = folder.run(&["queue", "sites", "mx.shared.test"]).out;
    let why = "the site is paused by a rule: 451 4.7.98 not now";
    assert!(
        sites.starts_with("mx.shared.test\n") && sites.contains(why),
        "{sites}"
    );
    assert!(sites.contains(" reply-pause until "), "{sites}");
    let json = folder.run(&["queue", "sites", "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["pause"]["reason"], why);
    let lasts =
        json["pause"]["until"].as_i64().unwrap() - json["actions"][0]["at"].as_i64().unwrap();
    assert!((3_598..=3_602).contains(&lasts), "{json}");
    is_slow.store(false, Ordering::SeqCst);
    let resumed = folder.run(&["queue", "sites", "resume", "mx.shared.test"]);
    assert_eq!(resumed.out, "1 site is resumed.\n", "{}", resumed.err);
    until(|| receiver.messages().len() == 1);
    let ended = folder.run(&["queue", "sites"]).out;
    assert!(ended.contains(", ended "), "{ended}");
    let paused = folder.run(&["queue", "sites", "pause", "mx.shared.test", "--for", "1h"]);
    assert_eq!(paused.out, "1 site is paused.\n", "{}", paused.err);
    // The log is written by a thread of its own.
    until(|| {
        let log = folder.log();
        log.contains("kind=reply-pause") && log.contains("kind=by-hand")
    });
}

/// What can't be sent takes nothing of a site's rate from what can.
#[test]
fn a_message_that_does_not_come_to_the_site_is_none_of_its_rate() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    // Without TLS.
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |_| None);
    let rules = "[[site]]\nhosts = [\"mx.shared.test\"]\nrate = \"10/day\"\n";
    let server = server(directory.path(), port, rules);
    let strict = "<anna@example.test> HOLDFOR=3600";
    for n in 0..4 {
        let to = format!("<strict{n}@one.test>");
        send(&server, Door::Submission, strict, &[&to]);
    }
    let must = Deed::RequireTls {
        require: Some(true),
    };
    change_all(&server, &must);
    let_go(&server);
    // Those who wrote them were told.
    until(|| numbers(&server, "anna").0 == 4);
    submit(&server, &["a@one.test"], "x");
    until(|| receiver.messages().len() == 1);
}
