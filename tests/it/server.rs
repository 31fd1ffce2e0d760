//! A server on free loopback ports with a fixed small configuration, for the length of a test.
//!
//! Domain `example.test` (separator `+`): account `anna` (anna@, anna.b@), `bert` (bert@, quota 300,000 octets), `carl` (login disabled), `dora`;
//! alias `all@` (anna, bert; for everyone), `only@` (bert; for everyone), `team@` (anna, bert; for members); postmaster is anna. Passwords: `<name>-password`.
//! Domain `off.test` is disabled.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use ringmail::calls::{Answer, Call, ControlCall};
use ringmail::login::Secrets;
use ringmail::serve::Server;
use ringmail::settings::load::read_text;
use ringmail::settings::{Door, Shaping, Text, Texts, parse_and_check};

use crate::patience::PATIENCE;
use crate::ports;

/// A running server; stops when dropped.
pub struct TestServer {
    server: Option<Server>,
    _directory: Option<tempfile::TempDir>,
}

impl TestServer {
    /// Starts with an empty data directory.
    pub fn start() -> TestServer {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut server = TestServer::on(directory.path(), "");
        server._directory = Some(directory);
        server
    }

    /// Starts on a directory that may hold mail; `extra` goes into the static file.
    pub fn on(directory: &Path, extra: &str) -> TestServer {
        TestServer::with(&texts(
            directory,
            &Extra {
                top: extra,
                ..Extra::default()
            },
        ))
    }

    /// The same, and a core waits for another's answer for so long.
    pub fn with_call_timeout(directory: &Path, limit: &str, extra: &str) -> TestServer {
        let cores = format!("call_timeout_secs = \"{limit}\"");
        TestServer::with(&texts(
            directory,
            &Extra {
                top: extra,
                cores: &cores,
                ..Extra::default()
            },
        ))
    }

    /// Starts with its queue at work, as in `localserve`: what goes elsewhere comes back to anna.
    pub fn sending(directory: &Path) -> TestServer {
        TestServer::sending_with(directory, "")
    }

    /// The same; `extra` goes into the static file.
    pub fn sending_with(directory: &Path, extra: &str) -> TestServer {
        let extra = Extra {
            top: extra,
            ..Extra::default()
        };
        let mut settings =
            parse_and_check(&texts(directory, &extra)).unwrap_or_else(|e| panic!("{e}"));
        settings.everything_to = Some("anna".parse().unwrap());
        let server = TestServer {
            server: Some(Server::start(settings).unwrap_or_else(|e| panic!("{e}"))),
            _directory: None,
        };
        server.prepare();
        server
    }

    /// Starts with other bounds of IMAP.
    pub fn with_imap_limits(directory: &Path, limits: &str) -> TestServer {
        TestServer::with(&texts(
            directory,
            &Extra {
                imap_limits: limits,
                ..Extra::default()
            },
        ))
    }

    /// Starts with the rest of the disk in reserve: it counts as full.
    pub fn on_a_full_disk(directory: &Path) -> TestServer {
        let server = TestServer::unprepared(&texts(
            directory,
            &Extra {
                disk_reserve: "100000TiB",
                ..Extra::default()
            },
        ));
        server.server().serving().unwrap();
        server
    }

    /// Starts with the sending API at another port, of which a proxy is said to be in front. Each network may ask twice in an hour.
    pub fn behind_a_proxy(directory: &Path, port: u16) -> TestServer {
        let listener = format!(
            "[[listener]]\nname = \"proxied\"\naddresses = [\"127.0.0.1\"]\nhttp = {{ port = {port}, webapi = true, allow_plain_auth = true, forwarded = true }}"
        );
        TestServer::with(&texts(
            directory,
            &Extra {
                top: "[limits.http]\nrequests_per_hour_max = [2, 2, 2]",
                listener: &listener,
                ..Extra::default()
            },
        ))
    }

    /// Starts with the sending API at another port and more accounts; `extra` goes into the static file.
    pub fn with_api(directory: &Path, port: u16, (extra, accounts): (&str, &[&str])) -> TestServer {
        let listener = format!(
            "[[listener]]\nname = \"api\"\naddresses = [\"127.0.0.1\"]\nhttp = {{ port = {port}, webapi = true, allow_plain_auth = true }}"
        );
        let mut texts = texts(
            directory,
            &Extra {
                top: extra,
                listener: &listener,
                ..Extra::default()
            },
        );
        for name in accounts {
            let file = directory.join(format!("accounts/{name}.toml"));
            let content = format!("addresses = [{{ address = \"{name}@example.test\" }}]");
            texts.accounts.push(Text::new(file, content));
        }
        let server = TestServer::unprepared(&texts);
        accounts.iter().for_each(|name| server.set_password(name));
        server.prepare();
        server
    }

    /// Starts with the sending API over TLS, with `cert.pem` and `key.pem` in the directory; `extra` goes into the static file.
    pub fn with_https(directory: &Path, extra: &str) -> TestServer {
        // Longer than what is under way at the end needs on a loaded machine; it ends when that does.
        TestServer::with_https_and_grace(directory, extra, "60s")
    }

    /// The same; what is under way at its end has so long.
    pub fn with_https_and_grace(directory: &Path, extra: &str, grace: &str) -> TestServer {
        let [https] = ports();
        TestServer::with(&texts(
            directory,
            &Extra {
                top: extra,
                grace,
                listener: &format!("https = {{ port = {https}, webapi = true }}\n{TLS}"),
                ..Extra::default()
            },
        ))
    }

    /// Starts with STARTTLS required of our users, with `cert.pem` and `key.pem` in the directory.
    pub fn with_starttls_required(directory: &Path) -> TestServer {
        TestServer::with(&texts(
            directory,
            &Extra {
                users: ", starttls = \"required\"",
                listener: TLS,
                ..Extra::default()
            },
        ))
    }

    /// Starts with TLS on every door, from `cert.pem` and `key.pem` in the directory.
    pub fn with_tls(directory: &Path) -> TestServer {
        TestServer::with_tls_as(directory, "mail.example.test")
    }

    /// The same under another name.
    pub fn with_tls_as(directory: &Path, hostname: &str) -> TestServer {
        let [submissions, imaps] = ports();
        let listener = format!(
            "submissions = {{ port = {submissions} }}\nimaps = {{ port = {imaps} }}\n{TLS}"
        );
        TestServer::with(&texts(
            directory,
            &Extra {
                hostname,
                listener: &listener,
                ..Extra::default()
            },
        ))
    }

    fn with(texts: &Texts) -> TestServer {
        let server = TestServer::unprepared(texts);
        server.prepare();
        server
    }

    /// Starts as far as [`Server::start`] goes: no passwords, not serving.
    pub fn starting(directory: &Path) -> TestServer {
        TestServer::unprepared(&texts(directory, &Extra::default()))
    }

    fn unprepared(texts: &Texts) -> TestServer {
        let mut settings = parse_and_check(texts).unwrap_or_else(|e| panic!("{e}"));
        if let Some(file) = &settings.server.outbound.shaping_file {
            let mut problems = Vec::new();
            let text = read_text(file).unwrap();
            settings.shaping = Shaping::read(&text, &mut problems).into();
            assert!(problems.is_empty(), "{problems:?}");
        }
        let server = Server::start(settings).unwrap_or_else(|e| panic!("{e}"));
        TestServer {
            server: Some(server),
            _directory: None,
        }
    }

    /// Sets the passwords and lets the doors accept.
    pub fn prepare(&self) {
        for name in ["anna", "bert", "carl", "dora"] {
            self.set_password(name);
        }
        self.server().serving().unwrap();
    }

    fn set_password(&self, name: &str) {
        let server = self.server();
        let mut secrets = Secrets::default();
        let password = format!("{name}-password");
        secrets
            .set_password(password.as_bytes(), &server.scheme())
            .unwrap();
        let call = ControlCall::SetMissingSecrets {
            accounts: vec![name.parse().unwrap()],
            secrets: Box::new(secrets),
        };
        match server.call(server.owner_of(name), Call::Control(Box::new(call))) {
            Ok(Answer::Control(Ok(_))) => (),
            _ => panic!("the password of {name} was not set"),
        }
    }

    /// Where a door listens.
    pub fn address(&self, door: Door) -> SocketAddr {
        let server = self.server.as_ref().expect("running until dropped");
        server
            .addresses()
            .iter()
            .find(|(d, _)| *d == door)
            .expect("all doors are open")
            .1
    }

    /// A connection to a door.
    pub fn connect(&self, door: Door) -> TcpStream {
        let stream = TcpStream::connect(self.address(door)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The server itself.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("running until dropped")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

const TLS: &str = "tls = { certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }] }\n";

/// Lines of the static file that a test adds.
struct Extra<'a> {
    hostname: &'a str,
    top: &'a str,
    /// Ends the tables of submission and imap.
    users: &'a str,
    disk_reserve: &'a str,
    grace: &'a str,
    imap_limits: &'a str,
    listener: &'a str,
    cores: &'a str,
}

impl Default for Extra<'_> {
    fn default() -> Self {
        Extra {
            hostname: "mail.example.test",
            top: "",
            users: "",
            disk_reserve: "1MiB",
            grace: "1s",
            imap_limits: "",
            listener: "",
            cores: "",
        }
    }
}

fn texts(directory: &Path, extra: &Extra<'_>) -> Texts {
    let Extra {
        hostname,
        top,
        users,
        disk_reserve,
        grace,
        imap_limits,
        listener,
        cores,
    } = extra;
    let [smtp, submission, imap, http] = ports();
    let static_text = format!(
        r#"
data_dir = "data"
hostname = "{hostname}"
shutdown_grace_secs = "{grace}"
{top}
[cores]
shards = 2
{cores}
[storage]
segment_size_bytes = "4MiB"
body_in_memory_max_bytes = "256KiB"
shards = 4
disk_reserve_bytes = "{disk_reserve}"
[limits.smtp]
unknown_recipient_delay_secs = "0s"
slow_delay_secs = "0s"
connections_per_minute_max = [100000, 100000, 100000]
connections_open_max = [100000, 100000, 100000]
[limits.imap]
{imap_limits}
slow_delay_secs = "0s"
connections_per_minute_max = [100000, 100000, 100000]
connections_open_max = [100000, 100000, 100000]
[limits.auth]
failures_per_minute_max = [100000, 100000, 100000]
failures_per_day_max = [100000, 100000, 100000]
account_failures_per_hour_max = 100000
argon2_memory_bytes = "64KiB"
argon2_passes = 1
scram_sha256_iterations = 4096
scram_sha1_iterations = 4096
cram_md5 = true
[[listener]]
name = "test"
addresses = ["127.0.0.1"]
smtp = {{ port = {smtp}, dsn = true }}
submission = {{ port = {submission}, allow_plain_auth = true{users} }}
imap = {{ port = {imap}, allow_plain_auth = true{users} }}
http = {{ port = {http}, metrics = true, health = true }}
{listener}"#
    );
    let domains = r#"
[postmaster]
account = "anna"
[domain."example.test"]
separators = ["+"]
[domain."example.test".aliases.all]
members = ["anna@example.test", "bert@example.test"]
post = "public"
[domain."example.test".aliases.only]
members = ["bert@example.test"]
post = "public"
[domain."example.test".aliases.team]
members = ["anna@example.test", "bert@example.test"]
post = "members"
allow_from = true
[domain."off.test"]
disabled = true
"#;
    let account = |name: &str, content: &str| {
        Text::new(directory.join(format!("accounts/{name}.toml")), content)
    };
    Texts {
        server: Text::new(directory.join("ringmail.toml"), static_text),
        domains: Text::new(directory.join("domains.toml"), domains),
        accounts: vec![
            account(
                "anna",
                r#"addresses = [{ address = "anna@example.test" }, { address = "anna.b@example.test" }]"#,
            ),
            account(
                "bert",
                "addresses = [{ address = \"bert@example.test\" }]\nquota_bytes = 300000",
            ),
            account("dora", "addresses = [{ address = \"dora@example.test\" }]"),
            account(
                "carl",
                "addresses = [{ address = \"carl@example.test\" }]\nlogin_disabled = \"Closed, ask the postmaster\"",
            ),
        ],
    }
}

fn ports<const COUNT: usize>() -> [u16; COUNT] {
    std::array::from_fn(|_| ports::port())
}
