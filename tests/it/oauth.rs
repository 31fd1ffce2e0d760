//! Logins by the tokens of a provider, which is a small one of this test, on loopback: what is taken, what is refused and what is said, what
//! happens while the provider is slow, down, or speaks nonsense. Real providers and clients are in `tests/interop/oauth.py`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use ringmail::settings::{Door, PerNetwork, Secs, Settings};
use sasl::base64;
use serde_json::{Value, json};

use crate::patience::{early_in_the_hour, found};
use crate::server::TestServer;
use crate::tls::Steady;

/// What the provider does when it is asked.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    Answers,
    /// Once it does something else.
    Waits,
    /// Closes the connection.
    HangsUp,
    /// Status 500.
    Fails,
    /// An answer without end.
    Floods,
    /// An answer that is no JSON.
    Babbles,
    /// Sends the client elsewhere.
    Redirects,
}

struct Asked {
    does: Does,
    keys: Value,
    /// About tokens.
    answer: Value,
    /// Paths, with what was sent there.
    requests: Vec<(String, String)>,
}

struct Provider {
    address: String,
    asked: Arc<Mutex<Asked>>,
}

impl Provider {
    fn start(keys: &[&Signer]) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Asked {
            does: Does::Answers,
            keys: set(keys),
            answer: json!({"active": false}),
            requests: Vec::new(),
        }));
        let provider = Provider { address, asked };
        let (issuer, asked) = (provider.issuer(), provider.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (issuer, asked) = (issuer.clone(), asked.clone());
                std::thread::spawn(move || {
                    // The server may hang up as well.
                    let _ = serve(stream?, &issuer, &asked);
                    std::io::Result::Ok(())
                });
            }
        });
        provider
    }

    fn issuer(&self) -> String {
        format!("http://{}/realm", self.address)
    }

    fn does(&self, does: Does) {
        self.asked.lock().unwrap().does = does;
    }

    fn has(&self, keys: &[&Signer]) {
        self.asked.lock().unwrap().keys = set(keys);
    }

    fn answers(&self, answer: Value) {
        self.asked.lock().unwrap().answer = answer;
    }

    fn requests(&self, path: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let of_path = asked.requests.iter().filter(|(p, _)| p == path);
        of_path.map(|(_, body)| body.clone()).collect()
    }

    /// The table of the static file, with more lines.
    fn table(&self, more: &str) -> String {
        format!(
            "[oauth]\nissuer = \"{}\"\naudiences = [\"ringmail\"]\nrefetch_secs = 1\n{more}\n",
            self.issuer()
        )
    }

    /// The claims of a good token for anna.
    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer(), "aud": "ringmail", "iat": now(), "exp": now() + 300,
            "email": "anna@example.test", "scope": "openid mail",
        })
    }
}

fn serve(stream: TcpStream, issuer: &str, asked: &Mutex<Asked>) -> std::io::Result<()> {
    let mut talk = BufReader::new(stream);
    let (mut head, mut line, mut length) = (String::new(), String::new(), 0);
    while talk.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&std::mem::take(&mut line));
    }
    let mut body = vec![0; length];
    talk.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_string();
    let (does, answer) = {
        let mut asked = asked.lock().unwrap();
        let answer = match path.as_str() {
            "/realm/.well-known/openid-configuration" => json!({
                "issuer": issuer,
                "jwks_uri": format!("{issuer}/keys"),
                "introspection_endpoint": format!("{issuer}/introspect"),
            }),
            "/realm/keys" => asked.keys.clone(),
            "/realm/introspect" => asked.answer.clone(),
            _ => Value::Null,
        };
        let sent = head + &String::from_utf8_lossy(&body);
        asked.requests.push((path, sent));
        (asked.does, answer.to_string())
    };
    let out = talk.get_mut();
    let mut reply = |status: &str, more: &str, body: &str| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\n{more}content-length: {length}\r\n\r\n"
        );
        out.write_all((head + body).as_bytes())
    };
    match does {
        Does::HangsUp => Ok(()),
        Does::Fails => reply("500 Oh", "", &answer),
        Does::Babbles => reply("200 OK", "", "<html>hello</html>"),
        Does::Redirects => {
            let more = format!("location: {issuer}/elsewhere\r\n");
            reply("302 Found", &more, "")
        }
        Does::Floods => {
            out.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\":[\"")?;
            loop {
                out.write_all(&[b'x'; 65536])?;
            }
        }
        Does::Waits => {
            while asked.lock().unwrap().does == Does::Waits {
                std::thread::sleep(Duration::from_millis(5));
            }
            reply("200 OK", "", &answer)
        }
        Does::Answers => reply("200 OK", "", &answer),
    }
}

/// A key of the provider.
struct Signer {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new(kid: &'static str) -> Signer {
        let random = ring::rand::SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Signer { kid, pair }
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": url64(x), "y": url64(y)})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.kid, "typ": "at+jwt"});
        let input = unsigned(&header, claims);
        let random = ring::rand::SystemRandom::new();
        let signature = self.pair.sign(&random, input.as_bytes()).unwrap();
        format!("{input}.{}", url64(signature.as_ref()))
    }
}

fn set(keys: &[&Signer]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| url64(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn url64(octets: &[u8]) -> String {
    let text = base64::encode(octets);
    text.trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// A connection of submission or IMAP.
struct Link {
    talk: BufReader<Steady>,
    imap: bool,
}

impl Link {
    fn new(server: &TestServer, door: Door) -> Link {
        let talk = BufReader::new(Steady(server.connect(door)));
        let imap = door == Door::Imap;
        let mut link = Link { talk, imap };
        link.line();
        if !imap {
            link.write("EHLO client.example\r\n");
            while link.line().as_bytes()[3] == b'-' {}
        }
        link
    }

    fn write(&mut self, text: &str) {
        self.talk.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.talk.read_line(&mut line).unwrap() > 0, "closed");
        line
    }

    /// Sends an initial response; answers what the server said of the token, if anything, and its last line.
    fn log_in(&mut self, mechanism: &str, message: &str) -> (Option<Value>, String) {
        let message = base64::encode(message.as_bytes());
        let (command, go_on) = match self.imap {
            true => ("a AUTHENTICATE", "+ "),
            false => ("AUTH", "334 "),
        };
        self.write(&format!("{command} {mechanism} {message}\r\n"));
        let mut line = self.line();
        let mut told = None;
        if let Some(challenge) = line.strip_prefix(go_on) {
            let challenge = base64::decode(challenge.trim_end().as_bytes()).unwrap();
            told = Some(serde_json::from_slice(&challenge).unwrap());
            // RFC 7628 3.2.3: the dummy response.
            let dummy = base64::encode(b"\x01");
            self.write(&format!("{dummy}\r\n"));
            line = self.line();
        }
        (told, line)
    }

    fn bearer(&mut self, token: &str) -> (Option<Value>, String) {
        self.log_in(
            "OAUTHBEARER",
            &format!("n,,\x01auth=Bearer {token}\x01\x01"),
        )
    }

    fn is_in(&self, line: &str) -> bool {
        line.starts_with(if self.imap { "a OK " } else { "235 2.7.0 " })
    }

    /// In the words for a wrong password.
    fn is_refused(&self, line: &str) -> bool {
        let words = match self.imap {
            true => "a NO [AUTHENTICATIONFAILED] ",
            false => "535 5.7.8 ",
        };
        line.starts_with(words)
    }

    /// In the words for a check that could not be made.
    fn is_later(&self, line: &str) -> bool {
        let words = match self.imap {
            true => "a NO [UNAVAILABLE] ",
            false => "454 4.7.0 ",
        };
        line.starts_with(words)
    }
}

const DOORS: [Door; 2] = [Door::Imap, Door::Submission];

/// A server with this provider. The keys have been fetched if `known`.
struct Running {
    provider: Provider,
    signer: Signer,
    server: TestServer,
    _dir: tempfile::TempDir,
}

impl Running {
    fn start(more: &str) -> Running {
        let signer = Signer::new("one");
        let provider = Provider::start(&[&signer]);
        let dir = tempfile::tempdir().unwrap();
        let server = TestServer::on(dir.path(), &provider.table(more));
        Running {
            provider,
            signer,
            server,
            _dir: dir,
        }
    }

    fn good(&self) -> String {
        self.signer.sign(&self.provider.claims())
    }

    /// A login on a connection of its own.
    fn try_token(&self, door: Door, token: &str) -> (Link, Option<Value>, String) {
        let mut link = Link::new(&self.server, door);
        let (told, line) = link.bearer(token);
        (link, told, line)
    }

    fn succeeds(&self, door: Door, token: &str) {
        let (link, told, line) = self.try_token(door, token);
        assert!(link.is_in(&line), "{door:?}: {told:?} {line}");
    }

    fn later(&self, token: &str) {
        let (link, told, line) = self.try_token(Door::Imap, token);
        assert!(told.is_none() && link.is_later(&line), "{told:?} {line}");
    }

    /// Until the provider is asked again: asking it too often is what `refetch_secs` keeps from.
    fn succeeds_soon(&self, token: &str) {
        let said = || {
            let (link, told, line) = self.try_token(Door::Imap, token);
            (link.is_in(&line), told, line)
        };
        found(said, |(is_in, ..)| *is_in);
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.server.server().live().settings.clone();
        change(&mut settings);
        let kept = self.server.server().reload(settings).unwrap();
        assert!(kept.is_empty(), "{kept:?}");
    }
}

fn announced(server: &TestServer) -> [String; 2] {
    let mut imap = Link::new(server, Door::Imap);
    imap.write("a CAPABILITY\r\n");
    let mut submission = Link::new(server, Door::Submission);
    submission.write("EHLO client.example\r\n");
    let line = std::iter::repeat_with(|| submission.line()).find(|l| l.contains("AUTH "));
    [imap.line(), line.unwrap()]
}

#[test]
fn there_are_no_tokens_without_the_table_and_a_reload_switches_them() {
    let run = Running::start("");
    let table = run.server.server().live().settings.server.oauth.clone();
    for line in announced(&run.server) {
        assert!(
            line.contains("OAUTHBEARER") && line.contains("XOAUTH2"),
            "{line}"
        );
    }
    run.succeeds(Door::Imap, &run.good());
    let fetched = run.provider.requests("/realm/keys").len();
    // What did not change keeps its keys.
    run.change(|settings| settings.server.quota_bytes = None);
    run.succeeds(Door::Submission, &run.good());
    assert_eq!(run.provider.requests("/realm/keys").len(), fetched);
    let mut open = DOORS.map(|door| Link::new(&run.server, door));
    run.change(|settings| settings.server.oauth = None);
    for line in announced(&run.server) {
        assert!(!line.contains("OAUTH"), "{line}");
    }
    for link in &mut open {
        let (told, line) = link.bearer(&run.good());
        assert_eq!(told, None);
        let refused = ["a NO mechanism is not supported", "504 5.5.4"];
        assert!(
            refused.iter().any(|words| line.starts_with(words)),
            "{line}"
        );
    }
    run.change(|settings| settings.server.oauth = table);
    run.succeeds(Door::Imap, &run.good());
}

#[test]
fn a_good_token_logs_in_by_both_mechanisms() {
    let run = Running::start("scopes = [\"mail\"]");
    for door in DOORS {
        for (mechanism, message) in [
            ("OAUTHBEARER", "n,,\x01auth=Bearer TOKEN\x01\x01"),
            // Another address of the same account, and what else RFC 7628 has.
            (
                "OAUTHBEARER",
                "n,a=anna.b@example.test,\x01host=other.example\x01port=1\x01auth=Bearer TOKEN\x01\x01",
            ),
            (
                "XOAUTH2",
                "user=ANNA@example.test\x01auth=Bearer TOKEN\x01\x01",
            ),
        ] {
            let mut link = Link::new(&run.server, door);
            let (told, line) = link.log_in(mechanism, &message.replace("TOKEN", &run.good()));
            assert!(link.is_in(&line), "{door:?} {mechanism}: {told:?} {line}");
            if link.imap {
                link.write("b STATUS INBOX (MESSAGES)\r\n");
                assert_eq!(link.line(), "* STATUS INBOX (MESSAGES 0)\r\n");
            } else {
                link.write("MAIL FROM:<anna@example.test>\r\n");
                assert!(link.line().starts_with("250 "));
            }
        }
    }
    // All of them with one look at the provider's keys.
    assert_eq!(run.provider.requests("/realm/keys").len(), 1);
}

#[test]
fn what_is_wrong_with_a_token_is_told_and_refused() {
    let run = Running::start("scopes = [\"mail\"]");
    let claims = || run.provider.claims();
    let sign = |claims: &Value| run.signer.sign(claims);
    let stranger = Signer::new("one");
    let es256 = json!({"alg": "ES256", "kid": "one"});
    let none = json!({"alg": "none", "kid": "one"});
    // The public key, which everybody has, as the secret.
    let hs256 = unsigned(&json!({"alg": "HS256", "kid": "one"}), &claims());
    let secret = run.signer.jwk().to_string();
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let hmac = url64(ring::hmac::sign(&secret, hs256.as_bytes()).as_ref());
    let good = run.good();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let others = with(claims(), "email", json!("bert@example.test"));
    let others = url64(others.to_string().as_bytes());
    for token in [
        stranger.sign(&claims()),
        // Another's name under anna's signature.
        format!("{header}.{others}.{signature}"),
        format!("{signed}."),
        format!("{}.", unsigned(&es256, &claims())),
        format!("{}.", unsigned(&none, &claims())),
        format!("{}.{signature}", unsigned(&none, &claims())),
        format!("{hs256}.{hmac}"),
        sign(&with(claims(), "iss", json!("https://other.example"))),
        sign(&with(claims(), "aud", json!(["account", "webmail"]))),
        sign(&with(claims(), "exp", json!(now() - 60))),
        sign(&with(claims(), "nbf", json!(now() + 3600))),
        sign(&with(claims(), "iat", json!(now() + 3600))),
        sign(&with(claims(), "email", json!("nobody@example.test"))),
        sign(&with(claims(), "email", json!("all@example.test"))),
        sign(&with(claims(), "email", json!("anna"))),
        sign(&with(claims(), "email_verified", json!(false))),
        "opaque".to_owned(),
        "x".repeat(9000),
    ] {
        for door in DOORS {
            let (link, told, line) = run.try_token(door, &token);
            let expected = json!({
                "status": "invalid_token",
                "scope": "mail",
                "openid-configuration": format!("{}/.well-known/openid-configuration", run.provider.issuer()),
            });
            assert_eq!(told, Some(expected), "{token} {line}");
            assert!(link.is_refused(&line), "{token}: {line}");
        }
    }
    for door in DOORS {
        let (link, told, line) =
            run.try_token(door, &sign(&with(claims(), "scope", json!("openid"))));
        assert_eq!(told.unwrap()["status"], "insufficient_scope");
        assert!(link.is_refused(&line), "{line}");
        // XOAUTH2 has another form for it.
        let mut link = Link::new(&run.server, door);
        let (told, line) = link.log_in("XOAUTH2", "user=a@b\x01auth=Bearer x\x01\x01");
        let expected = json!({"status": "401", "schemes": "bearer", "scope": "mail"});
        assert_eq!((told, link.is_refused(&line)), (Some(expected), true));
        // RFC 7628 4.3: what is needed?
        let mut link = Link::new(&run.server, door);
        let (told, line) = link.log_in("OAUTHBEARER", "n,,\x01auth=\x01\x01");
        assert_eq!(told.unwrap()["scope"], "mail");
        assert!(link.is_refused(&line), "{line}");
        // Who names another account than the token does, and whose account is closed.
        let mut link = Link::new(&run.server, door);
        let message = format!("n,a=bert@example.test,\x01auth=Bearer {good}\x01\x01");
        let (told, line) = link.log_in("OAUTHBEARER", &message);
        assert_eq!(told.unwrap()["status"], "invalid_request");
        assert!(
            line.starts_with("a NO [AUTHORIZATIONFAILED] ") || line.starts_with("535 5.7.8 "),
            "{line}"
        );
        let carl = sign(&with(claims(), "email", json!("carl@example.test")));
        let (_, told, line) = run.try_token(door, &carl);
        assert_eq!(told.unwrap()["status"], "invalid_token");
        assert!(line.contains("Closed, ask the postmaster"), "{line}");
    }
    // The good one still is.
    run.succeeds(Door::Imap, &good);
}

#[test]
fn bad_tokens_count_as_wrong_passwords_do() {
    early_in_the_hour();
    let run = Running::start("");
    run.succeeds(Door::Imap, &run.good());
    run.change(|settings| {
        settings.server.limits.auth.failures_per_minute_max = PerNetwork::new(2, 2, 2);
        settings.server.limits.auth.failures_per_day_max = PerNetwork::new(2, 2, 2);
    });
    // What could not be checked is nobody's failure.
    let unknown = Signer::new("two").sign(&run.provider.claims());
    std::thread::sleep(Duration::from_millis(1100));
    run.provider.does(Does::Fails);
    for _ in 0..4 {
        run.later(&unknown);
    }
    let mut open = Link::new(&run.server, Door::Imap);
    for _ in 0..2 {
        let (link, _, line) = run.try_token(Door::Imap, "bad");
        assert!(link.is_refused(&line), "{line}");
    }
    let (told, line) = open.bearer(&run.good());
    assert_eq!(told, None);
    assert!(line.starts_with("* BYE "), "{line}");
}

#[test]
fn a_new_key_is_fetched_when_a_token_has_it() {
    let run = Running::start("");
    run.succeeds(Door::Imap, &run.good());
    let next = Signer::new("two");
    run.provider.has(&[&next]);
    run.succeeds_soon(&next.sign(&run.provider.claims()));
    // The one before is no longer among them.
    std::thread::sleep(Duration::from_millis(1100));
    let (link, _, line) = run.try_token(Door::Imap, &run.good());
    assert!(link.is_refused(&line), "{line}");
    // Keys that nobody has, as often as they are shown, are asked for once in a while.
    let asked = || run.provider.requests("/realm/keys").len();
    let (before, begun) = (asked(), Instant::now());
    let stranger = Signer::new("three").sign(&run.provider.claims());
    for _ in 0..20 {
        let (link, _, line) = run.try_token(Door::Imap, &stranger);
        // The provider is asked, or can't be now.
        assert!(link.is_refused(&line) || link.is_later(&line), "{line}");
    }
    let most = begun.elapsed().as_secs() as usize + 2;
    assert!(asked() - before <= most, "{} of {most}", asked() - before);
}

#[test]
fn a_key_that_is_newer_than_what_was_fetched_just_now_is_no_wrong_token() {
    let run = Running::start("");
    run.change(|settings| {
        let oauth = settings.server.oauth.as_mut().unwrap();
        oauth.refetch_secs = Secs::new(3600);
    });
    run.succeeds(Door::Imap, &run.good());
    let next = Signer::new("two");
    run.provider.has(&[&next]);
    run.later(&next.sign(&run.provider.claims()));
}

#[test]
fn a_token_that_is_known_as_good_does_not_wait_behind_others() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let more = format!(
        "check = \"introspection\"\nthreads = 1\ntimeout_secs = 30\nclient_id = \"x\"\nclient_secret_file = \"{}\"",
        secret.display()
    );
    let run = Running::start(&more);
    let answer = json!({"active": true, "aud": ["ringmail"], "email": "anna@example.test"});
    run.provider.answers(answer);
    run.succeeds(Door::Imap, "known");
    run.provider.answers(json!({"active": false}));
    run.provider.does(Does::Waits);
    std::thread::scope(|scope| {
        let others = ["one", "two"].map(|token| {
            let run = &run;
            scope.spawn(move || run.try_token(Door::Imap, token))
        });
        crate::patience::until(|| run.provider.requests("/realm/introspect").len() == 2);
        run.succeeds(Door::Imap, "known");
        run.succeeds(Door::Submission, "known");
        // The thread is still held up.
        assert!(others.iter().all(|other| !other.is_finished()));
        run.provider.does(Does::Answers);
        for other in others {
            let (link, _, line) = other.join().unwrap();
            assert!(link.is_refused(&line), "{line}");
        }
    });
}

#[test]
fn what_the_provider_does_wrong_is_no_failed_login_and_known_keys_go_on() {
    let run = Running::start("keys_refresh_secs = 1\ntimeout_secs = 1");
    let wrongs = [
        Does::HangsUp,
        Does::Fails,
        Does::Floods,
        Does::Babbles,
        Does::Redirects,
        Does::Waits,
    ];
    for does in wrongs {
        run.provider.does(does);
        run.later(&run.good());
        // Nobody is sent anywhere.
        assert!(run.provider.requests("/realm/elsewhere").is_empty());
    }
    run.provider.does(Does::Answers);
    run.succeeds_soon(&run.good());
    for does in wrongs {
        run.provider.does(does);
        // Past `keys_refresh_secs`, so that they are sent for.
        std::thread::sleep(Duration::from_millis(1100));
        run.succeeds(Door::Imap, &run.good());
        run.succeeds(Door::Submission, &run.good());
    }
}

#[test]
fn known_keys_do_not_go_on_for_ever() {
    let run = Running::start("keys_refresh_secs = 1\nkeys_keep_secs = 2");
    run.succeeds(Door::Imap, &run.good());
    run.provider.does(Does::Fails);
    std::thread::sleep(Duration::from_millis(2100));
    run.later(&run.good());
    run.provider.does(Does::Answers);
    run.succeeds_soon(&run.good());
}

#[test]
fn a_slow_provider_keeps_nobody_else_waiting() {
    let run = Running::start("timeout_secs = 30");
    run.provider.does(Does::Waits);
    let mut others: Vec<Link> = (0..4).map(|_| Link::new(&run.server, Door::Imap)).collect();
    let message = format!("n,,\x01auth=Bearer {}\x01\x01", run.good());
    let message = base64::encode(message.as_bytes());
    let mut waiting: Vec<Link> = (0..8).map(|_| Link::new(&run.server, Door::Imap)).collect();
    for link in &mut waiting {
        link.write(&format!("a AUTHENTICATE OAUTHBEARER {message}\r\n"));
    }
    // It has been asked, and does not answer until the others have been served.
    while run
        .provider
        .requests("/realm/.well-known/openid-configuration")
        .is_empty()
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    for link in &mut others {
        link.write("n NOOP\r\n");
        assert!(link.line().starts_with("n OK "));
        link.write("p LOGIN anna@example.test anna-password\r\n");
        assert!(link.line().starts_with("p OK "));
    }
    run.provider.does(Does::Answers);
    for link in &mut waiting {
        let line = link.line();
        assert!(link.is_in(&line), "{line}");
    }
    // One question for all.
    assert_eq!(run.provider.requests("/realm/keys").len(), 1);
}

#[test]
fn tokens_are_asked_about() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "s&cret\u{e4}\n").unwrap();
    let more = format!(
        "check = \"introspection\"\nclient_id = \"mail server\"\nclient_secret_file = \"{}\"\naddress_claim = \"username\"",
        secret.display()
    );
    let run = Running::start(&more);
    let answer = json!({"active": true, "aud": ["ringmail"], "username": "anna@example.test"});
    run.provider.answers(answer.clone());
    let asked = || run.provider.requests("/realm/introspect");
    for door in DOORS {
        run.succeeds(door, "opaque+/token==");
    }
    assert!(counted(&run.server, "introspection", "ok") > 0);
    // RFC 7662 2.1, RFC 6749 2.3.1. The second time the answer was known.
    let requests = asked();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let basic = base64::encode(b"mail%20server:s%26cret%C3%A4");
    assert!(
        requests[0].contains(&format!("Basic {basic}\r\n")),
        "{requests:?}"
    );
    let form = "\ntoken=opaque%2B%2Ftoken%3D%3D&token_type_hint=access_token";
    assert!(requests[0].contains(form), "{requests:?}");
    for (n, (answer, reason)) in [
        (json!({"active": false}), "not active"),
        (json!({"active": "true"}), "not active"),
        (json!({}), "not active"),
        (with(answer.clone(), "aud", json!("webmail")), "for another"),
        (
            with(answer.clone(), "iss", json!("https://other.example")),
            "of another",
        ),
        (with(answer.clone(), "exp", json!(now() - 60)), "expired"),
        (
            with(answer.clone(), "username", json!("nobody@example.test")),
            "nobody's",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        run.provider.answers(answer);
        let (link, told, line) = run.try_token(Door::Imap, &format!("other{n}"));
        assert!(told.is_some() && link.is_refused(&line), "{reason}: {line}");
    }
    // Never beyond its end, however long answers are remembered.
    run.provider
        .answers(with(answer.clone(), "exp", json!(now() + 1)));
    run.succeeds(Door::Imap, "short");
    std::thread::sleep(Duration::from_millis(2100));
    run.provider.answers(json!({"active": false}));
    let (link, _, line) = run.try_token(Door::Imap, "short");
    assert!(link.is_refused(&line), "{line}");
    for does in [
        Does::HangsUp,
        Does::Fails,
        Does::Floods,
        Does::Babbles,
        Does::Redirects,
    ] {
        run.provider.does(does);
        run.later("another");
        // What is known of a token goes on.
        run.succeeds(Door::Imap, "opaque+/token==");
    }
}

/// Counted for the process: other tests have their share in it.
fn counted(server: &TestServer, kind: &str, result: &str) -> u64 {
    let name = format!("ringmail_oauth_requests_total{{kind=\"{kind}\",result=\"{result}\"}} ");
    let metrics = crate::logins::metrics(server);
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
    count.expect("also before the first").parse().unwrap()
}

#[test]
fn requests_to_the_provider_are_counted_by_what_came_of_them() {
    let run = Running::start("timeout_secs = 30");
    // Of which it is known that it is late.
    let hasty = Running::start("timeout_secs = 1");
    for (run, does, result) in [
        (&run, Does::HangsUp, "unreachable"),
        (&run, Does::Fails, "status"),
        (&run, Does::Redirects, "status"),
        (&run, Does::Floods, "malformed"),
        (&run, Does::Babbles, "malformed"),
        (&hasty, Does::Waits, "timeout"),
    ] {
        let before = counted(&run.server, "configuration", result);
        run.provider.does(does);
        run.later(&run.good());
        assert!(
            counted(&run.server, "configuration", result) > before,
            "{result}"
        );
        // Past `refetch_secs`.
        std::thread::sleep(Duration::from_millis(1100));
    }
    run.provider.does(Does::Answers);
    let count = || ["configuration", "keys"].map(|kind| counted(&run.server, kind, "ok"));
    let before = count();
    run.succeeds(Door::Imap, &run.good());
    let after = count();
    assert!(before.iter().zip(after).all(|(before, now)| now > *before));
}

#[test]
fn a_reload_that_can_not_read_the_secret_goes_on_as_before() {
    let run = Running::start("");
    let mut settings = run.server.server().live().settings.clone();
    let oauth = settings.server.oauth.as_mut().unwrap();
    oauth.client_secret_file = Some("/nonexistent/secret".into());
    oauth.audiences = vec!["other".to_owned()];
    let kept = run.server.server().reload(settings).unwrap();
    assert!(
        kept[0].contains("/nonexistent/secret")
            && kept[0].ends_with("tokens are checked as before"),
        "{kept:?}"
    );
    run.succeeds(Door::Imap, &run.good());
}
