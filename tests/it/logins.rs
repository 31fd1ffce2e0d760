//! Logins by each mechanism, with and without TLS and channel bindings; what a changed password ends; what is dropped when a mechanism is
//! switched off. What text dialogs can say is in `tests/dialogs`.

use std::io::{BufRead, BufReader, Read, Write};
use std::num::NonZeroU32;
use std::sync::Arc;

use ringmail::calls::{Answer, Call, ControlAnswer, ControlCall};
use ringmail::login::Secrets;
use ringmail::settings::Door;
use ringmail::store::ClientKeyRow;
use sasl::client::{Action, Client, ClientError, Context};
use sasl::{ChannelBindings, Credentials, Mechanism, Secret, base64};

use crate::patience::early_in_the_hour;
use crate::server::TestServer;
use crate::tls::{self, Client as TlsClient, ClientCertificate, Steady};

/// A connection of submission or IMAP.
enum Link {
    Plain(BufReader<Steady>),
    Tls(Box<TlsClient>),
}

impl Link {
    fn plain(server: &TestServer, door: Door) -> Link {
        Link::Plain(BufReader::new(Steady(server.connect(door))))
    }

    fn bindings(&self) -> ChannelBindings {
        match self {
            Link::Plain(_) => ChannelBindings::default(),
            Link::Tls(client) => client.bindings(),
        }
    }

    fn write(&mut self, text: &str) {
        match self {
            Link::Plain(talk) => talk.get_mut().write_all(text.as_bytes()).unwrap(),
            Link::Tls(client) => client.write(text),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        match self {
            Link::Plain(talk) => talk.read_line(&mut line).unwrap(),
            Link::Tls(client) => client.read_line(&mut line),
        };
        line
    }

    /// Lines until one begins so.
    fn until(&mut self, start: &str) -> String {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "closed before {start}");
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// Greeting and EHLO.
    fn greet(&mut self, door: Door) {
        match door {
            Door::Imap | Door::Imaps => drop(self.until("* OK")),
            _ => {
                self.until("220 ");
                self.write("EHLO client.example\r\n");
                self.until("250 ");
            }
        }
    }

    /// One exchange; answers the last line of the server, and what the client thinks of it.
    fn log_in(&mut self, door: Door, mut client: Client) -> (String, Result<(), ClientError>) {
        let (command, go_on) = match door {
            Door::Imap | Door::Imaps => ("a AUTHENTICATE", "+ "),
            _ => ("AUTH", "334 "),
        };
        self.write(&format!("{command} {}\r\n", client.mechanism()));
        let mut begun = false;
        loop {
            let line = self.line();
            let Some(challenge) = line.strip_prefix(go_on) else {
                let end = client.finish();
                return (line, end);
            };
            let challenge = base64::decode(challenge.trim_end().as_bytes()).unwrap();
            // An empty first challenge asks for the initial response.
            let initial = if begun { None } else { client.initial() };
            begun = true;
            let response = match initial {
                Some(response) => Ok(response),
                None => match client.respond(&challenge) {
                    Ok(Action::Respond(response)) => Ok(response),
                    Ok(Action::Derive(derivation)) => client.derived(&derivation.run()),
                    Err(error) => Err(error),
                },
            };
            match response {
                Ok(response) => self.write(&format!("{}\r\n", base64::encode(&response))),
                Err(error) => {
                    self.write("\r\n");
                    let mut line = self.line();
                    if line.starts_with(go_on) {
                        line = self.line();
                    }
                    return (line, Err(error));
                }
            }
        }
    }
}

fn credentials(name: &str, password: &str) -> Credentials {
    Credentials {
        authzid: String::new(),
        authcid: format!("{name}@example.test"),
        password: Secret::from(password.as_bytes()),
    }
}

fn client(mechanism: Mechanism, password: &str, bindings: ChannelBindings) -> Client {
    let context = context(bindings, false);
    Client::new(mechanism, credentials("anna", password), context).unwrap()
}

fn context(bindings: ChannelBindings, server_offers_plus: bool) -> Context {
    let mut random = [0; 32];
    ringmail::login::random(&mut random).unwrap();
    Context {
        bindings,
        server_offers_plus,
        random,
        ..Context::default()
    }
}

const OFFERED: [Mechanism; 5] = [
    Mechanism::ScramSha256,
    Mechanism::ScramSha1,
    Mechanism::CramMd5,
    Mechanism::Plain,
    Mechanism::Login,
];
const BOUND: [Mechanism; 2] = [Mechanism::ScramSha256Plus, Mechanism::ScramSha1Plus];

fn is_ok(line: &str) -> bool {
    line.starts_with("235 ") || line.starts_with("a OK ")
}

fn is_refused(line: &str) -> bool {
    line.starts_with("535 5.7.8 ") || line.starts_with("a NO [AUTHENTICATIONFAILED] ")
}

#[test]
fn each_mechanism_takes_the_right_password_alone() {
    let server = TestServer::start();
    for door in [Door::Submission, Door::Imap] {
        for mechanism in OFFERED {
            for (password, right) in [("wrong-password", false), ("anna-password", true)] {
                let mut link = Link::plain(&server, door);
                link.greet(door);
                // Without TLS a client that could bind says so, and that is no downgrade.
                let client = client(mechanism, password, ChannelBindings::default());
                let (line, end) = link.log_in(door, client);
                let what = format!("{door:?} {mechanism} {password}: {line} {end:?}");
                assert_eq!(is_ok(&line), right, "{what}");
                assert_eq!(is_refused(&line), !right, "{what}");
                assert_eq!(
                    end.is_ok(),
                    right || mechanism.scram_hash().is_none(),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn bindings_tie_a_login_to_its_tls_connection() {
    let directory = tempfile::tempdir().unwrap();
    tls::certificate(directory.path());
    let server = TestServer::with_tls(directory.path());
    for (door, versions) in [
        (Door::Submissions, &[&rustls::version::TLS13] as &[_]),
        (Door::Imaps, &[&rustls::version::TLS13]),
        (Door::Imaps, &[&rustls::version::TLS12]),
    ] {
        let connect = || {
            let client = TlsClient::over(server.connect(door), versions).unwrap();
            let mut link = Link::Tls(Box::new(client));
            link.greet(door);
            link
        };
        for mechanism in BOUND {
            let mut link = connect();
            let all = link.bindings();
            // RFC 9266: of TLS 1.3 alone.
            assert_eq!(
                all.exporter.is_some(),
                versions[0].version == rustls::ProtocolVersion::TLSv1_3
            );
            let bound = client(mechanism, "anna-password", all.clone());
            let (line, end) = link.log_in(door, bound);
            assert!(is_ok(&line) && end.is_ok(), "{mechanism}: {line} {end:?}");
            // Each type that the connection has.
            for one in [
                ChannelBindings {
                    exporter: all.exporter.clone(),
                    server_end_point: None,
                },
                ChannelBindings {
                    exporter: None,
                    server_end_point: all.server_end_point.clone(),
                },
            ] {
                if one.is_empty() {
                    continue;
                }
                let mut link = connect();
                // The exporter is another one on each connection.
                let fresh = link.bindings();
                let one = ChannelBindings {
                    exporter: one.exporter.and(fresh.exporter),
                    server_end_point: one.server_end_point,
                };
                let (line, _) = link.log_in(door, client(mechanism, "anna-password", one));
                assert!(is_ok(&line), "{mechanism}: {line}");
            }
            // Somebody in between: the client sees another TLS connection than we do.
            let mut link = connect();
            let other = ChannelBindings {
                exporter: all.exporter.as_ref().map(|_| vec![7; 32]),
                server_end_point: all.server_end_point.as_ref().map(|_| vec![7; 32]),
            };
            let (line, end) = link.log_in(door, client(mechanism, "anna-password", other));
            assert!(!is_ok(&line) && end.is_err(), "{mechanism}: {line}");
        }
        // A client that was shown a list without -PLUS, and says that it could bind.
        let mut link = connect();
        let downgraded = client(Mechanism::ScramSha256, "anna-password", link.bindings());
        let (line, _) = link.log_in(door, downgraded);
        assert!(is_refused(&line), "{line}");
        // One that can't bind at all.
        let mut link = connect();
        let simple = client(
            Mechanism::ScramSha256,
            "anna-password",
            ChannelBindings::default(),
        );
        let (line, end) = link.log_in(door, simple);
        assert!(is_ok(&line) && end.is_ok(), "{line} {end:?}");
    }
}

fn secrets(server: &TestServer) -> Secrets {
    let server = server.server();
    let account = "anna".parse().unwrap();
    match server.call(server.owner_of("anna"), Call::Secrets { account }) {
        Ok(Answer::Secrets(Ok(Some(secrets)))) => *secrets,
        _ => panic!("no secrets"),
    }
}

fn change(server: &TestServer, change: impl FnOnce(&mut Secrets)) {
    let from = secrets(server);
    let mut to = from.clone();
    change(&mut to);
    let server = server.server();
    let call = Call::ChangeSecrets {
        account: "anna".parse().unwrap(),
        from: Some(Box::new(from)),
        to: Box::new(to),
        ends_sessions: true,
    };
    assert!(matches!(
        server.call(server.owner_of("anna"), call),
        Ok(Answer::Changed(Ok(Some(0))))
    ));
}

#[test]
fn a_changed_password_ends_sessions_and_opens_by_all_mechanisms() {
    let server = TestServer::start();
    let mut idle = Link::plain(&server, Door::Imap);
    idle.greet(Door::Imap);
    idle.write("a LOGIN anna@example.test anna-password\r\nb SELECT INBOX\r\nc IDLE\r\n");
    idle.until("+ ");
    let mut submission = Link::plain(&server, Door::Submission);
    submission.greet(Door::Submission);
    let none = ChannelBindings::default;
    let plain = client(Mechanism::Plain, "anna-password", none());
    assert!(is_ok(&submission.log_in(Door::Submission, plain).0));
    let scheme = server.server().scheme();
    change(&server, |secrets| {
        secrets.set_password(b"another-password", &scheme).unwrap();
    });
    assert!(idle.until("* BYE").contains("login was changed or removed"));
    submission.write("MAIL FROM:<anna@example.test>\r\n");
    assert!(submission.line().starts_with("421 4.7.0 "));
    for mechanism in OFFERED {
        for (password, right) in [("anna-password", false), ("another-password", true)] {
            let mut link = Link::plain(&server, Door::Imap);
            link.greet(Door::Imap);
            let (line, _) = link.log_in(Door::Imap, client(mechanism, password, none()));
            assert_eq!(is_ok(&line), right, "{mechanism} {password}: {line}");
        }
    }
}

#[test]
fn app_passwords_open_what_they_are_for_by_all_mechanisms() {
    let server = TestServer::start();
    let scheme = server.server().scheme();
    let imap = ringmail::login::Services {
        imap: true,
        submission: false,
    };
    let mut app = None;
    change(&server, |secrets| {
        app = Some(secrets.add_app_password("phone", imap, 0, &scheme).unwrap());
    });
    let app = app.unwrap();
    for mechanism in OFFERED {
        for (door, right) in [(Door::Imap, true), (Door::Submission, false)] {
            for (password, right) in [(app.as_str().unwrap(), right), ("anna-password", true)] {
                let mut link = Link::plain(&server, door);
                link.greet(door);
                let client = client(mechanism, password, ChannelBindings::default());
                let (line, _) = link.log_in(door, client);
                assert_eq!(is_ok(&line), right, "{door:?} {mechanism}: {line}");
            }
        }
    }
}

#[test]
fn what_is_stored_for_a_mechanism_goes_when_it_is_switched_off() {
    let server = TestServer::start();
    let keys = |secrets: Secrets| secrets.password.unwrap().keys;
    let before = keys(secrets(&server));
    assert!(before.sha256.is_some() && before.sha1.is_some() && before.cram_md5.is_some());
    let mut settings = server.server().live().settings.clone();
    settings.server.limits.auth.cram_md5 = false;
    settings.server.limits.auth.scram_sha1 = false;
    server.server().reload(settings).unwrap();
    crate::patience::until(|| {
        let after = keys(secrets(&server));
        after.sha256 == before.sha256 && after.sha1.is_none() && after.cram_md5.is_none()
    });
    // A change that began before, and was derived meanwhile.
    change(&server, |secrets| {
        let password = secrets.password.as_mut().unwrap();
        password.keys = before.clone();
    });
    let late = keys(secrets(&server));
    assert!(late.sha256.is_some() && late.sha1.is_none() && late.cram_md5.is_none());
    let mut link = Link::plain(&server, Door::Submission);
    link.until("220 ");
    link.write("EHLO client.example\r\n");
    assert_eq!(
        link.until("250-AUTH"),
        "250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"
    );
    link.until("250 ");
    link.write("AUTH CRAM-MD5\r\n");
    assert!(link.line().starts_with("504 5.5.4 "));

    // On again, set anew, and off again: gone once more.
    let switch = |on| {
        let mut settings = server.server().live().settings.clone();
        settings.server.limits.auth.cram_md5 = on;
        server.server().reload(settings).unwrap();
    };
    switch(true);
    change(&server, |secrets| {
        let password = secrets.password.as_mut().unwrap();
        password.keys = before.clone();
    });
    let set = keys(secrets(&server));
    assert!(set.sha1.is_none() && set.cram_md5.is_some());
    switch(false);
    crate::patience::until(|| keys(secrets(&server)).cram_md5.is_none());
}

/// The text of `/metrics`.
pub fn metrics(server: &TestServer) -> String {
    let mut http = server.connect(Door::Http);
    http.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    http.read_to_string(&mut text).unwrap();
    text
}

/// Longer than RFC 9051 and RFC 4954 let an exchange's line be here, in pieces that come one after the other.
fn long_line(link: &mut Link, start: &str) {
    link.write(start);
    for _ in 0..20 {
        link.write(&"QUFB".repeat(1000));
    }
    link.write("\r\n");
}

#[test]
fn a_line_of_an_exchange_that_is_too_long_is_a_failure_and_no_end() {
    let server = TestServer::start();
    let plain = || {
        let none = ChannelBindings::default();
        client(Mechanism::Plain, "anna-password", none)
    };
    let mut imap = Link::plain(&server, Door::Imap);
    imap.greet(Door::Imap);
    long_line(&mut imap, "a AUTHENTICATE PLAIN ");
    assert!(imap.line().starts_with("a BAD line too long ("));
    imap.write("b AUTHENTICATE PLAIN\r\n");
    imap.until("+ ");
    long_line(&mut imap, "");
    assert!(imap.line().starts_with("b BAD line too long ("));
    assert!(is_ok(&imap.log_in(Door::Imap, plain()).0));
    let mut submission = Link::plain(&server, Door::Submission);
    submission.greet(Door::Submission);
    long_line(&mut submission, "AUTH PLAIN ");
    assert!(submission.line().starts_with("500 5.5.6 "));
    submission.write("AUTH PLAIN\r\n");
    submission.until("334 ");
    long_line(&mut submission, "");
    assert!(submission.line().starts_with("500 5.5.6 "));
    submission.write("AUTH PLAIN !\r\n");
    assert!(submission.line().starts_with("501 5.5.2 "));
    assert!(is_ok(&submission.log_in(Door::Submission, plain()).0));
    // Each is counted as what it is.
    for (door, count) in [("imap", 2), ("submission", 3)] {
        let expected = format!(
            "ringmail_authentication_total{{protocol=\"{door}\",mechanism=\"PLAIN\",result=\"badprotocol\"}} {count}\n"
        );
        let metrics = metrics(&server);
        assert!(metrics.contains(&expected), "{expected}{metrics}");
    }
}

#[test]
fn an_account_that_may_no_longer_log_in_has_no_sessions() {
    let server = TestServer::start();
    let mut idle = Link::plain(&server, Door::Imap);
    idle.greet(Door::Imap);
    idle.write("a LOGIN anna@example.test anna-password\r\nb SELECT INBOX\r\nc IDLE\r\n");
    idle.until("+ ");
    let mut other = Link::plain(&server, Door::Imap);
    other.greet(Door::Imap);
    other.write("a LOGIN bert@example.test bert-password\r\n");
    other.until("a OK");
    let submission = || {
        let mut submission = Link::plain(&server, Door::Submission);
        submission.greet(Door::Submission);
        let plain = client(
            Mechanism::Plain,
            "anna-password",
            ChannelBindings::default(),
        );
        assert!(is_ok(&submission.log_in(Door::Submission, plain).0));
        submission
    };
    let (mut before_mail, mut before_end) = (submission(), submission());
    before_end.write("MAIL FROM:<anna@example.test>\r\nRCPT TO:<bert@example.test>\r\nDATA\r\n");
    before_end.until("354 ");
    let mut settings = server.server().live().settings.clone();
    let closed = settings.accounts["carl"].login_disabled.clone();
    let anna = settings.accounts.get_mut("anna").unwrap();
    Arc::make_mut(anna).login_disabled = closed;
    server.server().reload(settings).unwrap();
    let told = "Closed, ask the postmaster";
    assert!(idle.until("* BYE").contains(told));
    before_mail.write("MAIL FROM:<anna@example.test>\r\n");
    let line = before_mail.line();
    assert!(line.starts_with(&format!("421 4.7.0 {told}")), "{line}");
    before_end.write("From: anna@example.test\r\nSubject: x\r\n\r\nx\r\n.\r\n");
    let line = before_end.line();
    assert!(line.starts_with(&format!("421 4.7.0 {told}")), "{line}");
    // Nobody else's end, and bert has no message.
    other.write("b STATUS INBOX (MESSAGES)\r\n");
    assert!(other.until("* STATUS").contains("(MESSAGES 0)"));
}

/// RFC 5802 5.1, 7: a client that hears `e=invalid-proof` asks for another password.
#[test]
fn scram_calls_no_proof_wrong_that_is_right_or_was_not_looked_at() {
    early_in_the_hour();
    let server = TestServer::start();
    let change = |change: &dyn Fn(&mut ringmail::settings::Settings)| {
        let mut settings = server.server().live().settings.clone();
        change(&mut settings);
        server.server().reload(settings).unwrap();
    };
    let expect = |expected: [&str; 2]| {
        for (door, expected) in [Door::Submission, Door::Imap].into_iter().zip(expected) {
            for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha1] {
                let mut link = Link::plain(&server, door);
                link.greet(door);
                let client = client(mechanism, "anna-password", ChannelBindings::default());
                let (line, end) = link.log_in(door, client);
                assert!(line.starts_with(expected), "{line}");
                assert_eq!(end, Err(ClientError::Unproven), "{line}");
            }
        }
    };
    change(&|settings| settings.server.limits.auth.account_failures_per_hour_max = 1);
    let mut link = Link::plain(&server, Door::Imap);
    link.greet(Door::Imap);
    link.write("a LOGIN anna@example.test wrong-password\r\n");
    assert!(is_refused(&link.until("a ")));
    expect(["454 4.7.0 ", "a NO [UNAVAILABLE] "]);
    change(&|settings| {
        settings.server.limits.auth.account_failures_per_hour_max = 100_000;
        let closed = settings.accounts["carl"].login_disabled.clone();
        let anna = settings.accounts.get_mut("anna").unwrap();
        Arc::make_mut(anna).login_disabled = closed;
    });
    expect([
        "525 5.7.13 Closed, ask the postmaster",
        "a NO Closed, ask the postmaster",
    ]);
}

#[test]
fn what_was_begun_with_a_login_that_is_gone_is_not_accepted() {
    let (server, _directory) = tls_server();
    let key = ClientCertificate::new(&rcgen::PKCS_ED25519);
    register(&server, "anna@example.test", &key.certificate, false);
    let mut by_password = Link::plain(&server, Door::Submission);
    by_password.greet(Door::Submission);
    let plain = client(
        Mechanism::Plain,
        "anna-password",
        ChannelBindings::default(),
    );
    assert!(is_ok(&by_password.log_in(Door::Submission, plain).0));
    let mut by_key = connect(&server, Door::Submissions, VERSIONS[1], &key);
    by_key.greet(Door::Submissions);
    let ends = [
        (
            &mut by_password,
            "DATA\r\n",
            "From: anna@example.test\r\n\r\n\r\nx\r\n.\r\n",
        ),
        (
            &mut by_key,
            "BDAT 6\r\nFrom: ",
            "BDAT 22 LAST\r\nanna@example.test\r\n\r\nx",
        ),
    ];
    let ends = ends.map(|(link, start, end)| {
        link.write("MAIL FROM:<anna@example.test>\r\nRCPT TO:<bert@example.test>\r\n");
        link.until("250 2.1.5");
        link.write(start);
        link.line();
        (link, end)
    });
    let scheme = server.server().scheme();
    change(&server, |secrets| {
        secrets.set_password(b"another-password", &scheme).unwrap();
    });
    for (link, end) in ends {
        link.write(end);
        let line = link.line();
        assert!(
            line.starts_with("421 4.7.0 your login was changed or removed"),
            "{line}"
        );
        assert_eq!(link.line(), "", "closed");
    }
}

#[test]
fn a_mechanism_that_has_no_keys_of_the_account_shuts_nobody_out_of_it() {
    let server = TestServer::start();
    let mut settings = server.server().live().settings.clone();
    settings.server.limits.auth.account_failures_per_hour_max = 2;
    server.server().reload(settings).unwrap();
    drop_old_keys(&server);
    let log_in = |door, mechanism, password| {
        let mut link = Link::plain(&server, door);
        link.greet(door);
        link.log_in(
            door,
            client(mechanism, password, ChannelBindings::default()),
        )
    };
    for mechanism in [Mechanism::CramMd5, Mechanism::ScramSha1] {
        for password in ["anna-password", "wrong"] {
            for door in [Door::Imap, Door::Submission] {
                let (line, _) = log_in(door, mechanism, password);
                assert!(is_refused(&line), "{mechanism} {password}: {line}");
            }
        }
    }
    let (line, _) = log_in(Door::Imap, Mechanism::Plain, "anna-password");
    assert!(is_ok(&line), "{line}");
}

/// As if they had been off when the password was set.
fn drop_old_keys(server: &TestServer) {
    change(server, |secrets| {
        let keys = &mut secrets.password.as_mut().unwrap().keys;
        (keys.sha1, keys.cram_md5) = (None, None);
    });
}

#[test]
fn a_mechanism_without_keys_does_not_tell_which_names_there_are() {
    early_in_the_hour();
    let answers = |name: &str, mechanism| {
        let server = TestServer::start();
        let mut settings = server.server().live().settings.clone();
        // Of 24 hours, so that no turn of the minute gets in the way.
        settings.server.limits.auth.failures_per_day_max =
            ringmail::settings::PerNetwork::new(3, 9, 9);
        server.server().reload(settings).unwrap();
        drop_old_keys(&server);
        // Open before the limit is reached, which turns connections away too.
        let mut links: Vec<Link> = (0..5)
            .map(|_| Link::plain(&server, Door::Submission))
            .collect();
        for link in &mut links {
            link.greet(Door::Submission);
        }
        let guess = |mut link: Link| {
            let none = ChannelBindings::default();
            let client = Client::new(mechanism, credentials(name, "wrong"), context(none, false));
            let (line, _) = link.log_in(Door::Submission, client.unwrap());
            line.get(..9).unwrap_or(&line).to_owned()
        };
        links.into_iter().map(guess).collect::<Vec<_>>()
    };
    let expected = [
        "535 5.7.8",
        "535 5.7.8",
        "535 5.7.8",
        "421 4.7.0",
        "421 4.7.0",
    ];
    for mechanism in [Mechanism::CramMd5, Mechanism::ScramSha1] {
        for name in ["nobody", "anna"] {
            assert_eq!(answers(name, mechanism), expected, "{mechanism} {name}");
        }
    }
}

#[test]
fn a_password_of_another_cost_is_hashed_anew_at_its_next_login() {
    let server = TestServer::start();
    let scheme = server.server().scheme();
    let mut other = scheme;
    other.cost.passes = 3;
    change(&server, |secrets| {
        secrets.set_password(b"anna-password", &other).unwrap();
    });
    let stored = || secrets(&server).password.unwrap();
    let before = stored();
    assert!(before.argon2id.contains(",t=3,"), "{}", before.argon2id);
    let log_in = |password| {
        let mut link = Link::plain(&server, Door::Submission);
        link.greet(Door::Submission);
        let none = ChannelBindings::default();
        let (line, _) = link.log_in(Door::Submission, client(Mechanism::Plain, password, none));
        (link, line)
    };
    assert!(is_refused(&log_in("wrong").1));
    let (mut link, line) = log_in("anna-password");
    assert!(is_ok(&line), "{line}");
    crate::patience::until(|| stored().argon2id.contains(",t=1,"));
    assert_eq!(stored().keys, before.keys);
    // The session goes on, and the password is still right.
    link.write("MAIL FROM:<anna@example.test>\r\n");
    assert!(link.line().starts_with("250 "));
    assert!(is_ok(&log_in("anna-password").1));
}

#[test]
fn the_salt_of_a_name_stays_and_its_spellings_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let salt = |server: &TestServer, name: &str| {
        let mut link = Link::plain(server, Door::Submission);
        link.greet(Door::Submission);
        let first = format!("n,,n={name},r=abcdefghijklmnop");
        link.write(&format!(
            "AUTH SCRAM-SHA-256 {}\r\n",
            base64::encode(first.as_bytes())
        ));
        let line = link.line();
        let message =
            base64::decode(line.strip_prefix("334 ").unwrap().trim_end().as_bytes()).unwrap();
        let message = message.as_str().unwrap().to_string();
        message.split_once(",s=").unwrap().1.to_string()
    };
    let names = [
        "anna@example.test",
        "nobody@example.test",
        "nobody@example.org",
        "nobody",
    ];
    let spelled = [
        "Anna+x@EXAMPLE.test",
        "Nobody+y@Example.Test",
        "NOBODY@example.ORG",
        "NoBody",
    ];
    let all = |server: &TestServer, names: [&str; 4]| names.map(|n| salt(server, n));
    let server = TestServer::on(directory.path(), "");
    let first = all(&server, names);
    assert_eq!(all(&server, spelled), first);
    drop(server);
    let server = TestServer::on(directory.path(), "");
    assert_eq!(all(&server, names), first);
    let iterations = NonZeroU32::new(4096).unwrap();
    for (at, one) in first.iter().enumerate() {
        assert!(one.ends_with(&format!(",i={iterations}")), "{one}");
        assert!(first[..at].iter().all(|other| other != one));
    }
}

pub fn register(server: &TestServer, address: &str, certificate: &[u8], no_imap_preauth: bool) {
    let found = shards::tls::ClientKey::of(certificate).unwrap();
    let account = address.split('@').next().unwrap();
    let row = ClientKeyRow {
        account: account.into(),
        address: address.into(),
        name: "device".into(),
        kind: found.kind,
        no_imap_preauth,
        added: 0,
        last_used: None,
        certificate: certificate.to_vec(),
    };
    let call = ControlCall::AddClientKey {
        fingerprint: found.fingerprint,
        row: Box::new(row),
    };
    assert!(matches!(
        ask(server, &found.fingerprint, call),
        ControlAnswer::Found(false)
    ));
}

fn ask(server: &TestServer, fingerprint: &[u8; 32], call: ControlCall) -> ControlAnswer {
    let server = server.server();
    let shard = shards::shard_of(fingerprint, server.shards());
    let owner = server.owner_of_shard(shard.0);
    match server.call(owner, Call::Control(Box::new(call))) {
        Ok(Answer::Control(Ok(answer))) => answer,
        _ => panic!("not answered"),
    }
}

fn tls_server() -> (TestServer, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    tls::certificate(directory.path());
    (TestServer::with_tls(directory.path()), directory)
}

const VERSIONS: [&[&rustls::SupportedProtocolVersion]; 2] =
    [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];

fn connect(
    server: &TestServer,
    door: Door,
    versions: &[&'static rustls::SupportedProtocolVersion],
    key: &ClientCertificate,
) -> Link {
    let client = TlsClient::with_key(server.connect(door), versions, Some(key)).unwrap();
    Link::Tls(Box::new(client))
}

fn external(authzid: &str) -> Client {
    let credentials = Credentials {
        authzid: authzid.into(),
        ..credentials("anna", "unused")
    };
    Client::new(Mechanism::External, credentials, Context::default()).unwrap()
}

#[test]
fn who_holds_a_registered_key_is_logged_in() {
    let (server, _directory) = tls_server();
    for algorithm in [
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ] {
        let key = ClientCertificate::new(algorithm);
        register(&server, "anna@example.test", &key.certificate, false);
        for versions in VERSIONS {
            let mut imap = connect(&server, Door::Imaps, versions, &key);
            let greeting = imap.line();
            assert!(greeting.starts_with("* PREAUTH ["), "{greeting}");
            assert!(!greeting.contains("AUTH="), "{greeting}");
            imap.write("a STATUS INBOX (MESSAGES)\r\nb LOGIN bert@example.test bert-password\r\n");
            imap.until("a OK");
            let again = imap.until("b ");
            assert!(!again.starts_with("b OK"), "{again}");
            let mut submission = connect(&server, Door::Submissions, versions, &key);
            submission.greet(Door::Submissions);
            submission.write("MAIL FROM:<anna@example.test>\r\nRSET\r\n");
            assert!(submission.line().starts_with("250 2.1.0 "));
            submission.until("250 ");
            submission.write("MAIL FROM:<bert@example.test>\r\n");
            assert!(submission.line().starts_with("5"));
            // AUTH may follow, for another address of the account, and for nobody else.
            let bert = Context {
                random: [1; 32],
                ..Context::default()
            };
            let bert = Client::new(
                Mechanism::ScramSha256,
                credentials("bert", "bert-password"),
                bert,
            );
            let (line, _) = submission.log_in(Door::Submissions, bert.unwrap());
            assert!(line.starts_with("535 5.7.8 the key of"), "{line}");
            let (line, _) = submission.log_in(Door::Submissions, external("bert@example.test"));
            assert!(line.starts_with("535 5.7.8 "), "{line}");
            let (line, _) = submission.log_in(Door::Submissions, external("anna.b@example.test"));
            assert!(line.starts_with("235 "), "{line}");
        }
    }
}

#[test]
fn a_key_without_preauth_logs_in_with_external() {
    let (server, _directory) = tls_server();
    let key = ClientCertificate::new(&rcgen::PKCS_ED25519);
    register(&server, "anna@example.test", &key.certificate, true);
    for versions in VERSIONS {
        let mut imap = connect(&server, Door::Imaps, versions, &key);
        let greeting = imap.line();
        assert!(greeting.starts_with("* OK ["), "{greeting}");
        assert!(greeting.contains(" AUTH=EXTERNAL"), "{greeting}");
        imap.write("a LOGIN bert@example.test bert-password\r\n");
        assert!(
            imap.line()
                .starts_with("a NO [AUTHENTICATIONFAILED] the key of")
        );
        let (line, _) = imap.log_in(Door::Imaps, external("bert@example.test"));
        assert!(line.starts_with("a NO [AUTHORIZATIONFAILED] "), "{line}");
        let (line, _) = imap.log_in(Door::Imaps, external(""));
        assert!(is_ok(&line), "{line}");
    }
}

#[test]
fn a_key_of_nobody_does_no_harm_and_none_after_its_removal() {
    let (server, _directory) = tls_server();
    let key = ClientCertificate::new(&rcgen::PKCS_ECDSA_P256_SHA256);
    let password = || {
        client(
            Mechanism::Plain,
            "anna-password",
            ChannelBindings::default(),
        )
    };
    let unregistered = |versions| {
        let mut imap = connect(&server, Door::Imaps, versions, &key);
        let greeting = imap.line();
        assert!(greeting.starts_with("* OK ["), "{greeting}");
        assert!(!greeting.contains("EXTERNAL"), "{greeting}");
        let (line, _) = imap.log_in(Door::Imaps, external(""));
        assert!(line.starts_with("a NO "), "{line}");
        assert!(is_ok(&imap.log_in(Door::Imaps, password()).0));
        let mut submission = connect(&server, Door::Submissions, versions, &key);
        submission.greet(Door::Submissions);
        submission.write("MAIL FROM:<anna@example.test>\r\n");
        assert!(submission.line().starts_with("530 5.7.0 "));
        assert!(is_ok(&submission.log_in(Door::Submissions, password()).0));
    };
    VERSIONS.into_iter().for_each(unregistered);
    register(&server, "anna@example.test", &key.certificate, false);
    let mut imap = connect(&server, Door::Imaps, VERSIONS[1], &key);
    imap.until("* PREAUTH");
    // Open since before the removal, and in by the key until then.
    let mut submission = connect(&server, Door::Submissions, VERSIONS[1], &key);
    submission.greet(Door::Submissions);
    let fingerprint = shards::tls::ClientKey::of(&key.certificate)
        .unwrap()
        .fingerprint;
    let removed = ask(
        &server,
        &fingerprint,
        ControlCall::RemoveClientKey { fingerprint },
    );
    assert!(matches!(removed, ControlAnswer::ClientKeys(keys) if keys.len() == 1));
    let (line, _) = submission.log_in(Door::Submissions, external(""));
    assert!(line.starts_with("535 5.7.8 "), "{line}");
    VERSIONS.into_iter().for_each(unregistered);
}

#[test]
fn a_disabled_account_is_told_when_it_logs_in_by_its_key() {
    let (server, _directory) = tls_server();
    let key = ClientCertificate::new(&rcgen::PKCS_ED25519);
    register(&server, "carl@example.test", &key.certificate, false);
    let mut imap = connect(&server, Door::Imaps, VERSIONS[1], &key);
    imap.until("* OK [");
    let (line, _) = imap.log_in(Door::Imaps, external(""));
    assert!(
        line.starts_with("a NO Closed, ask the postmaster"),
        "{line}"
    );
    let mut submission = connect(&server, Door::Submissions, VERSIONS[1], &key);
    submission.greet(Door::Submissions);
    submission.write("MAIL FROM:<carl@example.test>\r\n");
    assert!(submission.line().starts_with("530 5.7.0 "));
    let (line, _) = submission.log_in(Door::Submissions, external(""));
    assert!(line.starts_with("525 5.7.13 "), "{line}");
}
