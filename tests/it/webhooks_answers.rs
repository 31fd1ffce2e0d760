//! Answers of receivers with a meaning of their own, and what calls may hold in memory.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringmail::queue::hooks::{Enabled, EndpointSpec, HookAnswer, HookAsk, HookFilter, HookRow};
use ringmail::settings::Door;
use webapi::hook::{HookEvent, HookEvents};

use crate::crash;
use crate::outbound;
use crate::patience::{PATIENCE, found, until};
use crate::ports;
use crate::server::TestServer;
use crate::webhooks::{
    Hears, OPEN, Request, ask, history, inbox_count, put, put_spec, switched_off,
};

#[test]
fn an_endpoint_that_says_it_is_gone_is_switched_off_and_its_owner_told() {
    let dir = tempfile::tempdir().unwrap();
    let extra = format!("[webhooks]\nretry_secs = [\"1s\"]\n{OPEN}");
    let server = TestServer::sending_with(dir.path(), &extra);
    let hears = Hears::start(|_, _| "410 Gone".into());
    put(&server, &hears.url());
    outbound::submit(&server, &["ann@a.example"], "one");
    let (why, waiting) = switched_off(&server);
    assert!(why.contains("410"), "{why}");
    // It waits until the endpoint is switched on again.
    assert_eq!(waiting, 1);
    // The message itself, and the one that tells.
    assert_eq!(inbox_count(&server), 2);
    outbound::submit(&server, &["ann@a.example"], "two");
    let waiting = waiting_hooks(&server, 1);
    assert_eq!(waiting[0].results[0].code, 410);
    assert_eq!(hears.so_far().len(), 1);
}

fn waiting_hooks(server: &TestServer, attempts: u32) -> Vec<HookRow> {
    let waiting = || {
        let wanted = HookAsk::Pending {
            filter: Box::new(HookFilter::default()),
            after: None,
            most: ringmail::queue::Most::entries(500),
        };
        let HookAnswer::Pending((found, _), _) = ask(server, wanted) else {
            panic!("another answer")
        };
        found
    };
    let is_done = |hook: &HookRow| hook.results.len() == attempts as usize;
    found(waiting, |all| !all.is_empty() && all.iter().all(is_done))
}

fn pauses(server: &TestServer) -> BTreeMap<u32, i64> {
    let wanted = HookAsk::Pending {
        filter: Box::new(HookFilter::default()),
        after: None,
        most: ringmail::queue::Most::entries(500),
    };
    let HookAnswer::Pending(_, pauses) = ask(server, wanted) else {
        panic!("another answer")
    };
    pauses
}

#[test]
fn a_receiver_that_asks_for_a_pause_has_it() {
    for status in ["503 Not Now", "429 Too Many"] {
        let dir = tempfile::tempdir().unwrap();
        let extra = format!("[webhooks]\nretry_secs = [\"1s\", \"1s\"]\n{OPEN}");
        let server = TestServer::sending_with(dir.path(), &extra);
        let hears = Hears::start(move |_, _| format!("{status}\r\nRetry-After: 3600"));
        put(&server, &hears.url());
        outbound::submit(&server, &["ann@a.example"], "one");
        let hook = waiting_hooks(&server, 1).remove(0);
        let result = &hook.results[0];
        let until = pauses(&server)[&hook.endpoint];
        assert!(until >= result.at + 3600, "{until}: {hook:?}");
        assert!(result.error.contains("pause of 3600 s"), "{result:?}");
    }
}

#[test]
fn a_pause_holds_all_that_is_for_the_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let extra = format!("[webhooks]\nretry_secs = [\"1s\", \"1s\"]\n{OPEN}");
    let server = TestServer::sending_with(dir.path(), &extra);
    let hears = Hears::start(|_, before| match before {
        0 => "429 Too Many\r\nRetry-After: 3600".into(),
        _ => "200 OK".into(),
    });
    let id = put(&server, &hears.url());
    outbound::submit(&server, &["ann@a.example"], "one");
    waiting_hooks(&server, 1);
    // Another one, which shows when the next event is there.
    let other = Hears::start(|_, _| "200 OK".into());
    put(&server, &other.url());
    outbound::submit(&server, &["ann@a.example"], "two");
    assert_eq!(other.wait(1)[0].json()["Subject"], "two");
    history(&server, 1);
    let wanted = HookAsk::Pending {
        filter: Box::new(HookFilter::default()),
        after: None,
        most: ringmail::queue::Most::entries(500),
    };
    let HookAnswer::Pending((mut waiting, _), pauses) = ask(&server, wanted) else {
        panic!("another answer")
    };
    waiting.sort_by_key(|hook| hook.id);
    let attempts: Vec<(&str, u32)> = waiting
        .iter()
        .map(|hook| (&*hook.subject, hook.attempts))
        .collect();
    assert_eq!(attempts, [("one", 1), ("two", 0)]);
    assert!(pauses[&id] >= waiting[0].results[0].at + 3600, "{pauses:?}");
    assert_eq!(hears.so_far().len(), 1);
    // A start does not end it.
    drop(server);
    let server = TestServer::sending_with(dir.path(), &extra);
    outbound::submit(&server, &["ann@a.example"], "three");
    assert_eq!(other.wait(2)[1].json()["Subject"], "three");
    history(&server, 2);
    assert_eq!(hears.so_far().len(), 1);
    // Whoever switches it on again does not want to wait.
    let enabled = Enabled::Yes;
    ask(&server, HookAsk::Enable { id, enabled });
    let mut heard: Vec<String> = hears.wait(4)[1..]
        .iter()
        .map(|request| request.json()["Subject"].as_str().unwrap().to_owned())
        .collect();
    heard.sort_unstable();
    // The one that heard of the pause does not either.
    assert_eq!(heard, ["one", "three", "two"]);
}

/// The retry of one goes while the call about another lasts, whichever was first.
#[test]
fn a_slow_call_holds_up_no_retry() {
    for subjects in [["slow", "again"], ["again", "slow"]] {
        let dir = tempfile::tempdir().unwrap();
        let waits = ["\"3s\""; 20].join(", ");
        let extra = format!("[webhooks]\nretry_secs = [{waits}]\ntimeout_secs = \"600s\"\n{OPEN}");
        let server = TestServer::sending_with(dir.path(), &extra);
        let lasts = Arc::new(AtomicBool::new(true));
        let goes_on = lasts.clone();
        let hears = Hears::start(move |request, _| {
            if request.json()["Subject"] == "slow" {
                while goes_on.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                return "200 OK".into();
            }
            // Retried until the slow one has begun and once more.
            "500 Not Now".into()
        });
        let spec = EndpointSpec {
            url: hears.url(),
            authorization: None,
            events: HookEvents::FIRST,
            concurrency: 2,
        };
        put_spec(&server, spec);
        let is_of = |subject: &'static str| move |r: &Request| r.json()["Subject"] == subject;
        for subject in subjects {
            outbound::submit(&server, &["ann@a.example"], subject);
            found(|| hears.so_far(), |got| got.iter().any(is_of(subject)));
        }
        // More of them may have been before the slow one.
        found(
            || hears.so_far(),
            |got| {
                let began = got.iter().position(is_of("slow")).unwrap();
                let mut later = got[began..].iter().filter(|r| is_of("again")(r));
                later.any(|r| r.header("ringmail-webhook-attempt") != "1")
            },
        );
        lasts.store(false, Ordering::SeqCst);
    }
}

#[test]
fn what_is_not_followed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let extra = format!("[webhooks]\nretry_secs = []\n{OPEN}");
    let server = TestServer::sending_with(dir.path(), &extra);
    let hears = Hears::start(|_, _| "302 Elsewhere\r\nLocation: /there".into());
    put(&server, &hears.url());
    outbound::submit(&server, &["ann@a.example"], "one");
    let kept = history(&server, 1).remove(0);
    let result = &kept.hook.results[0];
    assert_eq!(result.code, 302);
    assert!(
        result.error.contains("not followed, to /there"),
        "{result:?}"
    );
}

#[test]
fn calls_wait_for_room_for_what_they_say() {
    const MESSAGES: usize = 4;
    let dir = tempfile::tempdir().unwrap();
    let extra = format!("[webhooks]\npayload_memory_max_bytes = \"1MiB\"\n{OPEN}");
    let server = TestServer::sending_with(dir.path(), &extra);
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let highest = most.clone();
    let hears = Hears::start(move |_, _| {
        let others = now.fetch_add(1, Ordering::SeqCst);
        highest.fetch_max(others + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        now.fetch_sub(1, Ordering::SeqCst);
        "200 OK".into()
    });
    let spec = EndpointSpec {
        url: hears.url(),
        authorization: None,
        events: HookEvents::NONE.with(HookEvent::Incoming),
        concurrency: 8,
    };
    put_spec(&server, spec);
    // Each is more than an account may have, so it is called alone.
    let text = "A line of a long message.\r\n".repeat(20_000);
    for n in 0..MESSAGES {
        let to: (&[&str], &str) = (&["anna"], "example.test");
        let message = format!("Subject: n{n}\r\n\r\n{text}");
        let said = crash::deliver(server.connect(Door::Smtp), to, &message).unwrap();
        assert!(said.starts_with("250"), "{said}");
    }
    let all = history(&server, MESSAGES);
    assert!(all.iter().all(|kept| kept.success));
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

/// Those of all workers together, wherever they are led.
#[test]
fn connections_of_an_account_have_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let waits = ["\"1s\""; 60].join(", ");
    let extra = format!("[webhooks]\nretry_secs = [{waits}]\ncalls_per_account_max = 2\n{OPEN}");
    let server = TestServer::sending_with(dir.path(), &extra);
    let hears = Hears::start(|_, _| "307 Again\r\nLocation: /hook".into());
    for _ in 0..2 {
        let spec = EndpointSpec {
            url: hears.url(),
            authorization: None,
            events: HookEvents::FIRST,
            concurrency: 32,
        };
        put_spec(&server, spec);
    }
    for n in 0..40 {
        outbound::submit(&server, &["ann@a.example"], &format!("n{n}"));
    }
    // In steps, as each has its time.
    for count in [300, 600, 900, 1_200, 1_500] {
        until(|| hears.so_far().len() >= count);
    }
    let most = hears.most_open();
    // Four calls at once, and what they are led to.
    assert!((1..=16).contains(&most), "{most} connections");
}

#[test]
fn nothing_is_sent_once_more_where_as_much_waits_as_may() {
    let dir = tempfile::tempdir().unwrap();
    let port = ports::port();
    let extra = format!("[webhooks]\npending_per_account_max = 1\n{OPEN}");
    let server = TestServer::with_api(dir.path(), port, (&extra, &[]));
    let takes = Arc::new(AtomicBool::new(true));
    let does = takes.clone();
    let hears = Hears::start(move |_, _| match does.load(Ordering::SeqCst) {
        true => "200 OK".into(),
        false => "500 Not now".into(),
    });
    let spec = EndpointSpec {
        url: hears.url(),
        authorization: None,
        events: HookEvents::NONE.with(HookEvent::Incoming),
        concurrency: 1,
    };
    put_spec(&server, spec);
    let bring = || {
        let to: (&[&str], &str) = (&["anna"], "example.test");
        let said = crash::deliver(server.connect(Door::Smtp), to, "Subject: m\r\n\r\nm\r\n");
        assert!(said.unwrap().starts_with("250"));
    };
    let post = |hook: u64, deed: &str| {
        let login = STANDARD.encode("anna@example.test:anna-password");
        let request = format!(
            "POST /webapi/v1/deliveries/{hook}/{deed} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    };
    bring();
    let first = history(&server, 1)[0].hook.id;
    takes.store(false, Ordering::SeqCst);
    bring();
    let second = waiting_hooks(&server, 1)[0].id;
    let said = post(first, "redeliver");
    assert!(said.starts_with("HTTP/1.1 409 "), "{said}");
    assert!(said.contains("problems/limit-reached"), "{said}");
    assert!(said.contains("pending_per_account_max"), "{said}");
    assert_eq!(history(&server, 1)[0].hook.id, first);
    // What it says to do helps.
    let said = post(second, "cancel");
    assert!(said.starts_with("HTTP/1.1 204 "), "{said}");
    let said = post(first, "redeliver");
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert_eq!(history(&server, 1)[0].hook.id, second);
}

#[test]
fn interim_answers_without_end_are_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let extra = format!("[webhooks]\nretry_secs = [\"1h\"]\n{OPEN}");
    let server = TestServer::sending_with(dir.path(), &extra);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(100);
            // Until the other side has had enough.
            while stream.write_all(hints.as_bytes()).is_ok() {}
        }
    });
    put(&server, &url);
    outbound::submit(&server, &["ann@a.example"], "one");
    let hook = waiting_hooks(&server, 1).remove(0);
    let error = &hook.results[0].error;
    assert!(error.contains("answers too much"), "{error}");
}
