//! Webhooks, as receivers see them: payloads, signatures, retries, redirections, who is not called; what operators see; and a kill at each step.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ringmail::calls::{Answer, Call, ControlAnswer, ControlCall};
use ringmail::queue::hooks::{
    Enabled, EndpointSpec, HookAnswer, HookAsk, HookFilter, HookResult, RetiredHook,
};
use ringmail::settings::AccountName;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use webapi::hook::{HookEvent, HookEvents, Secret, signatures};

use crate::filled::{assert_checked, stop};
use crate::outbound;
use crate::patience::{PATIENCE, found};
use crate::program::{Localserve, ringmail};
use crate::queue::{inbox, submit, wait_for_queue};
use crate::receiver::Open;
use crate::server::TestServer;
use crate::tls::Steady;

/// A request that a receiver got.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

type Says = dyn Fn(&Request, usize) -> String + Send + Sync;

/// An HTTP server that notes what it gets and answers as told.
#[derive(Clone)]
pub struct Hears {
    got: Arc<(Mutex<Vec<Request>>, Condvar)>,
    handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
    open: Arc<Open>,
    pub port: u16,
}

impl Hears {
    /// `says` gets the request and how many came before; it answers the status line and more header fields.
    pub fn start(says: impl Fn(&Request, usize) -> String + Send + Sync + 'static) -> Hears {
        Hears::listen(None, Arc::new(says))
    }

    /// The same with TLS.
    pub fn over_tls(
        config: Arc<ServerConfig>,
        says: impl Fn(&Request, usize) -> String + Send + Sync + 'static,
    ) -> Hears {
        Hears::listen(Some(config), Arc::new(says))
    }

    fn listen(tls: Option<Arc<ServerConfig>>, says: Arc<Says>) -> Hears {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let hears = Hears {
            got: Arc::default(),
            handshakes: Arc::default(),
            open: Arc::default(),
            port,
        };
        let all = hears.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (all, says, tls) = (all.clone(), says.clone(), tls.clone());
                all.open.begins(number, &stream);
                let stream = Steady(stream);
                std::thread::spawn(move || {
                    match tls {
                        Some(config) => all
                            .secure(stream, config)
                            .and_then(|stream| all.serve(stream, &*says)),
                        None => all.serve(stream, &*says),
                    };
                    all.open.ends(number);
                });
            }
        });
        hears
    }

    /// None: the client does not like the certificate.
    fn secure(
        &self,
        socket: Steady,
        config: Arc<ServerConfig>,
    ) -> Option<StreamOwned<ServerConnection, Steady>> {
        let connection = ServerConnection::new(config).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            let StreamOwned { conn, sock } = &mut stream;
            conn.complete_io(sock).ok()?;
        }
        let kind = stream.conn.handshake_kind()?;
        self.handshakes.lock().unwrap().push(kind);
        Some(stream)
    }

    fn serve(&self, stream: impl Read + Write, says: &Says) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let path = line.split(' ').nth(1)?.to_string();
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
                let Some((name, value)) = line.trim_end().split_once(": ") else {
                    break;
                };
                headers.insert(name.to_lowercase(), value.to_string());
            }
            let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
            stream.read_exact(&mut body).ok()?;
            let request = Request {
                path,
                headers,
                body: String::from_utf8(body).ok()?,
            };
            let before = {
                let mut got = self.got.0.lock().unwrap();
                got.push(request.clone());
                self.got.1.notify_all();
                got.len() - 1
            };
            let said = says(&request, before);
            let answer = format!("HTTP/1.1 {said}\r\nContent-Length: 5\r\n\r\nheard");
            stream.get_mut().write_all(answer.as_bytes()).ok()?;
            stream.get_mut().flush().ok()?;
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Over TLS.
    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}/hook", self.port)
    }

    /// How TLS began, connection by connection.
    pub fn handshakes(&self) -> Vec<HandshakeKind> {
        self.handshakes.lock().unwrap().clone()
    }

    /// Connections that were open at once, at most.
    pub fn most_open(&self) -> usize {
        self.open.most()
    }

    pub fn so_far(&self) -> Vec<Request> {
        self.got.0.lock().unwrap().clone()
    }

    /// Waits until so many came.
    pub fn wait(&self, count: usize) -> Vec<Request> {
        let got = self.got.0.lock().unwrap();
        let wait = self
            .got
            .1
            .wait_timeout_while(got, PATIENCE, |got| got.len() < count);
        let got = wait.unwrap().0.clone();
        let (came, last) = (got.len(), got.last());
        assert!(
            came >= count,
            "{count} were to come, {came} did; the last: {last:?}"
        );
        got
    }
}

pub fn webhook(dir: &Path, arguments: &[&str]) -> String {
    let dir = ["--dir", dir.to_str().unwrap()];
    let ran = ringmail(&[&["webhook"], arguments, &dir].concat());
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    ran.out
}

pub fn lines(dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let said = webhook(dir, &[arguments, &["--json"]].concat());
    let line = |line| serde_json::from_str(line).unwrap();
    said.lines().map(line).collect()
}

/// Waits until the history is as wanted.
pub fn wait_for_history(dir: &Path, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    found(|| lines(dir, &["history", "ringmail"]), |all| done(all))
}

pub fn add(dir: &Path, url: &str, more: &[&str]) -> Value {
    lines(dir, &[&["add", "ringmail", url], more].concat()).remove(0)
}

pub fn accepted(server: &Localserve, recipient: &str, subject: &str) {
    let said = submit(server, &[recipient], subject).unwrap();
    assert!(said.starts_with("250"), "{said}");
}

#[test]
fn what_became_of_mail_is_told_signed_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    let hears = Hears::start(|_, _| "200 OK".into());
    let added = add(dir, &hears.url(), &["--authorization", "Bearer x"]);
    let secret = Secret::parse(added["secret"].as_str().unwrap()).unwrap();
    accepted(&server, "ann@a.example", "=?utf-8?q?f=C3=BCr_Ann?=");
    let first = hears.wait(1).remove(0);
    assert_eq!(first.path, "/hook");
    assert_eq!(first.header("authorization"), "Bearer x");
    assert_eq!(first.header("x-mox-webhook-attempt"), "1");
    assert!(first.header("user-agent").starts_with("ringmail/"));
    assert_eq!(
        first.header("content-type"),
        "application/json; charset=utf-8"
    );
    let id = first.header("webhook-id");
    assert_eq!(id, format!("msg_{}", first.header("x-mox-webhook-id")));
    let at: i64 = first.header("webhook-timestamp").parse().unwrap();
    let expected = signatures(std::slice::from_ref(&secret), id, at, first.body.as_bytes());
    assert_eq!(first.header("webhook-signature"), expected);
    let told = first.json();
    assert_eq!(told["Event"], "delivered", "{told}");
    assert_eq!(told["Subject"], "für Ann");
    assert_eq!(told["SMTPCode"], 250);
    assert_eq!(told["DSN"], false);
    // A refusal that puts the address on the suppression list says so.
    accepted(&server, "queue-permerror@c.example", "two");
    let told = hears.wait(2)[1].json();
    assert_eq!(told["Event"], "failed", "{told}");
    assert_eq!(told["Suppressing"], true);
    assert!(told["SMTPCode"].as_i64().unwrap() >= 500);
    accepted(&server, "queue-permerror@c.example", "three");
    assert_eq!(hears.wait(3)[2].json()["Event"], "suppressed");
    // Another secret: for a while both sign.
    let rotated = lines(dir, &["rotate", "ringmail", "1", "--for", "1h"]).remove(0);
    let second = Secret::parse(rotated["secret"].as_str().unwrap()).unwrap();
    let history = wait_for_history(dir, |all| all.len() == 3);
    assert!(history.iter().all(|hook| hook["success"] == true));
    assert_eq!(history[0]["results"][0]["code"], 200);
    assert_eq!(history[0]["results"][0]["response"], "heard");
    let hook = history[0]["id"].to_string();
    assert_eq!(
        webhook(dir, &["payload", "ringmail", &hook]).trim(),
        first.body
    );
    assert_eq!(
        webhook(dir, &["redeliver", "ringmail", &hook]),
        "1 in line again.\n"
    );
    let again = hears.wait(4).remove(3);
    assert_eq!(again.header("webhook-id"), id);
    assert_eq!(again.header("x-mox-webhook-attempt"), "2");
    assert_eq!(again.body, first.body);
    let at: i64 = again.header("webhook-timestamp").parse().unwrap();
    let both = signatures(&[second, secret], id, at, again.body.as_bytes());
    assert_eq!(again.header("webhook-signature"), both);
    // One that is off is told of nothing.
    webhook(dir, &["disable", "ringmail", "1", "--why", "a pause"]);
    accepted(&server, "ben@b.example", "four");
    wait_for_queue(dir, <[Value]>::is_empty);
    assert!(webhook(dir, &["list", "ringmail"]).contains("switched off: \"a pause\""));
    webhook(dir, &["enable", "ringmail", "1"]);
    accepted(&server, "ben@b.example", "five");
    assert_eq!(hears.wait(5)[4].json()["Subject"], "five");
    webhook(dir, &["remove", "ringmail", "1"]);
    assert_eq!(
        webhook(dir, &["list", "ringmail"]),
        "There is no endpoint.\n"
    );
    stop(server);
    assert_checked(dir);
}

#[test]
fn a_silent_endpoint_keeps_nobody_waiting() {
    const EVENTS: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Localserve::start(dir, &[]);
    let (slow, fast) = (
        Hears::start(|_, _| {
            std::thread::sleep(Duration::from_secs(3600));
            String::new()
        }),
        Hears::start(|_, _| "202 Accepted".into()),
    );
    add(dir, &slow.url(), &["--concurrency", "32"]);
    add(dir, &fast.url(), &["--events", "delivered"]);
    // More than an account may call at once.
    for n in 0..EVENTS {
        accepted(&server, "ann@a.example", &format!("n{n}"));
        assert_eq!(fast.wait(n + 1)[n].json()["Subject"], format!("n{n}"));
    }
    // All that may be are under way: the others did not wait for their end. None is lost.
    assert_eq!(slow.wait(32).len(), 32);
    // What the fast one has got is written a moment later.
    let waiting = found(
        || lines(dir, &["queue", "ringmail"]),
        |waiting| waiting.len() == EVENTS,
    );
    let ids: Vec<String> = waiting.iter().map(|hook| hook["id"].to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let canceled = webhook(dir, &[&["cancel", "ringmail"], ids.as_slice()].concat());
    assert_eq!(canceled, "40 given up.\n");
    assert_eq!(lines(dir, &["queue", "ringmail"]).len(), 0);
}

/// Kills the server at each step, starts it again, and finds that the receiver got it, under one id.
#[test]
fn a_kill_at_each_step_loses_nothing() {
    for (point, most) in [
        ("hooks.claimed", 1),
        ("hooks.called", 2),
        ("hooks.recorded", 1),
        ("outbound.event_taken", 2),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let hears = Hears::start(|_, _| "200 OK".into());
        let server = Localserve::start(dir, &[]);
        add(dir, &hears.url(), &[]);
        stop(server);
        let server = Localserve::with_faults(dir, &[], &format!("{point}=kill"));
        let _ = submit(&server, &["ann@a.example"], "m");
        assert_ne!(server.ended(), 0, "{point}");
        let server = Localserve::start(dir, &[]);
        let kept = wait_for_history(dir, |all| all.len() == 1);
        assert_eq!(kept[0]["success"], true, "{point}: {kept:?}");
        let got = hears.so_far();
        assert!((1..=most).contains(&got.len()), "{point}: {got:?}");
        for one in &got {
            assert_eq!(one.header("webhook-id"), got[0].header("webhook-id"));
            assert_eq!(one.body, got[0].body);
        }
        wait_for_queue(dir, <[Value]>::is_empty);
        assert_eq!(inbox(&server), ["m"], "{point}");
        stop(server);
        assert_checked(dir);
    }
}

/// What is asked of the owner of anna's webhooks.
pub fn ask(server: &TestServer, ask: HookAsk) -> HookAnswer {
    try_ask(server, ask).unwrap_or_else(|error| panic!("{error}"))
}

fn try_ask(server: &TestServer, ask: HookAsk) -> Result<HookAnswer, String> {
    let account: AccountName = "anna".parse().unwrap();
    let owner = server.server().owner_of("anna");
    let ask = Box::new(ask);
    let call = Call::Control(Box::new(ControlCall::Webhooks { account, ask }));
    match server.server().call(owner, call).unwrap() {
        Answer::Control(Ok(ControlAnswer::Webhooks(answer))) => Ok(*answer),
        Answer::Control(Err(error)) => Err(error.to_string()),
        _ => panic!("another answer"),
    }
}

fn spec(url: &str) -> EndpointSpec {
    EndpointSpec {
        url: url.into(),
        authorization: Some("Bearer x".into()),
        events: HookEvents::FIRST.with(HookEvent::Complaint),
        concurrency: 1,
    }
}

pub fn put(server: &TestServer, url: &str) -> u32 {
    put_spec(server, spec(url))
}

pub fn put_spec(server: &TestServer, spec: EndpointSpec) -> u32 {
    let wanted = HookAsk::Put {
        id: None,
        spec,
        keeps_authorization: false,
    };
    match ask(server, wanted) {
        HookAnswer::Endpoint(Some(endpoint), 0) => endpoint.id,
        other => panic!("{other:?}"),
    }
}

pub fn test(server: &TestServer, id: u32) -> HookResult {
    match ask(server, HookAsk::Test { id }) {
        HookAnswer::Tested(Some(result)) => *result,
        other => panic!("{other:?}"),
    }
}

pub fn history(server: &TestServer, count: usize) -> Vec<RetiredHook> {
    let all = || {
        let filter = Box::new(HookFilter::default());
        let wanted = HookAsk::Retired {
            filter,
            after: None,
            most: ringmail::queue::Most::entries(500),
        };
        match ask(server, wanted) {
            HookAnswer::Retired((all, _)) => all,
            other => panic!("{other:?}"),
        }
    };
    found(all, |all| all.len() == count)
}

pub const OPEN: &str = "allow_networks = [\"127.0.0.0/8\"]\nkeep_webhooks_secs = \"1h\"\n";

/// Waits until the first endpoint is off and its owner was told; why it is off, and how many hooks wait for it.
pub fn switched_off(server: &TestServer) -> (String, u64) {
    let first = || match ask(server, HookAsk::List) {
        HookAnswer::List { mut endpoints, .. } => endpoints.remove(0),
        other => panic!("{other:?}"),
    };
    let (endpoint, waiting) = found(first, |(endpoint, _)| {
        endpoint.disabled.is_some() && endpoint.mail_owed.is_none()
    });
    (endpoint.disabled.unwrap(), waiting)
}

/// Messages that anna has.
pub fn inbox_count(server: &TestServer) -> u64 {
    let call = Call::Control(Box::new(ControlCall::AccountNumbers(
        "anna".parse().unwrap(),
    )));
    let owner = server.server().owner_of("anna");
    match server.server().call(owner, call).unwrap() {
        Answer::Control(Ok(ControlAnswer::Numbers { messages, .. })) => messages,
        _ => panic!("no numbers"),
    }
}

#[test]
fn what_fails_is_sent_again_and_redirections_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let extra = format!("[webhooks]\nretry_secs = [\"1s\", \"1s\"]\n{OPEN}");
    let server = TestServer::sending_with(dir.path(), &extra);
    let hears = Hears::start(|request, before| match (before, request.path.as_str()) {
        (0, _) => "503 Not Now".into(),
        (_, "/hook") => "307 Elsewhere\r\nLocation: /there".into(),
        _ => "201 Created".into(),
    });
    put(&server, &hears.url());
    let said = outbound::submit(&server, &["ann@a.example"], "one");
    assert!(said.starts_with("250"), "{said}");
    let got = hears.wait(3);
    let paths: Vec<&str> = got.iter().map(|r| r.path.as_str()).collect();
    assert_eq!(paths, ["/hook", "/hook", "/there"]);
    assert_eq!(got[0].header("webhook-id"), got[2].header("webhook-id"));
    assert_eq!(got[2].header("ringmail-webhook-attempt"), "2");
    assert_eq!(got[2].header("authorization"), "Bearer x");
    assert_eq!(got[0].body, got[2].body);
    let kept = history(&server, 1).remove(0);
    assert!(kept.success);
    let codes: Vec<u16> = kept.hook.results.iter().map(|r| r.code).collect();
    assert_eq!(codes, [503, 201]);
}

#[test]
fn an_endpoint_that_only_fails_is_switched_off_and_its_owner_told() {
    let dir = tempfile::tempdir().unwrap();
    let extra = format!(
        "[webhooks]\nretry_secs = [\"1s\", \"1s\", \"1s\"]\ndisable_after_secs = \"1s\"\n{OPEN}"
    );
    let server = TestServer::sending_with(dir.path(), &extra);
    let is_well = Arc::new(AtomicBool::new(false));
    let answers = is_well.clone();
    let hears = Hears::start(move |_, _| match answers.load(Ordering::SeqCst) {
        false => "302 Elsewhere\r\nLocation: /there".into(),
        true => "200 OK".into(),
    });
    let id = put(&server, &hears.url());
    outbound::submit(&server, &["ann@a.example"], "one");
    let (why, waiting) = switched_off(&server);
    assert!(why.contains("without any success"), "{why}");
    assert_eq!(waiting, 1);
    // The message itself, and the one that tells.
    assert_eq!(inbox_count(&server), 2);
    // No redirection of another kind than 307 and 308 is followed.
    assert!(hears.so_far().iter().all(|r| r.path == "/hook"));
    is_well.store(true, Ordering::SeqCst);
    let enabled = Enabled::Yes;
    ask(&server, HookAsk::Enable { id, enabled });
    let kept = history(&server, 1).remove(0);
    assert_eq!(kept.hook.event, "delivered");
}

#[test]
fn nothing_inside_is_called() {
    let dir = tempfile::tempdir().unwrap();
    // mail.example.test leads to 127.0.0.1.
    let server = outbound::server(dir.path(), outbound::free_port(), "");
    let hears = Hears::start(|_, _| "200 OK".into());
    for host in [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "localhost",
        "a.localhost",
    ] {
        let wanted = HookAsk::Put {
            id: None,
            spec: spec(&format!("http://{host}:{}/", hears.port)),
            keeps_authorization: false,
        };
        let refused = try_ask(&server, wanted).unwrap_err();
        assert!(refused.contains("no endpoint"), "{refused}");
    }
    let url = format!("http://mail.example.test:{}/", hears.port);
    let result = test(&server, put(&server, &url));
    assert!(!result.success && result.code == 0, "{result:?}");
    assert!(result.error.contains("public internet"), "{result:?}");
    drop(server);
    assert!(hears.so_far().is_empty());
    // Who is called may not lead there either.
    let dir = tempfile::tempdir().unwrap();
    let extra = "[webhooks]\nallow_networks = [\"127.0.0.1/32\"]\n";
    let server = TestServer::sending_with(dir.path(), extra);
    let port = hears.port;
    let leads =
        Hears::start(move |_, _| format!("307 There\r\nLocation: http://127.0.0.2:{port}/inside"));
    let id = put(&server, &leads.url());
    let result = test(&server, id);
    assert!(
        result.error.contains("127.0.0.2 is no address"),
        "{result:?}"
    );
    leads.wait(1);
    assert!(hears.so_far().is_empty());
}
