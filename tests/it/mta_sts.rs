//! Policies of MTA-STS: shown, kept, used, forgotten. RFC 8461. With a DNS server and a policy host of the test's own.

use crate::folder::{Folder, Serving};
use ringmail::queue::Deed;
use ringmail::settings::Door;

use crate::outbound::{change_all, free_port, kick_all, let_go, queue, send, submit, until_sent};
use crate::patience::until;
use crate::policy_host::{Authority, PolicyHost};
use crate::program::{Ran, port_offset};
use crate::receiver::Receiver;
use crate::server::TestServer;
use crate::zone::Zone;

const DOMAINS: &str = "
[postmaster]
account = \"anna\"
[domain.\"example.test\"]
";

/// A server that finds the zone and the policy host.
pub struct Setup {
    pub folder: Folder,
    pub zone: Zone,
    pub host: PolicyHost,
}

impl Setup {
    /// The host has a certificate for the names.
    pub fn new(names: &[&str]) -> Setup {
        let authority = Authority::new();
        let host = PolicyHost::start(authority.server(names));
        let (zone, dns) = Zone::serve();
        let tables = format!(
            "[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[tls_policy]\nca_file = \"ca.pem\"\nmta_sts_port = {}\n",
            host.port
        );
        let folder = Folder::new(DOMAINS, &tables);
        authority.write(&folder.at("ca.pem"));
        std::fs::create_dir(folder.at("accounts")).unwrap();
        std::fs::write(
            folder.at("accounts/anna.toml"),
            "addresses = [\"anna@example.test\"]\n",
        )
        .unwrap();
        for name in names {
            zone.a(name, "127.0.0.1");
        }
        Setup { folder, zone, host }
    }

    /// Starts the server, each time on another port: while it is down anybody may take the one before.
    pub fn serve(&self) -> Serving {
        let config = std::fs::read_to_string(&self.folder.config).unwrap();
        let lines = config
            .lines()
            .map(|line| match line.starts_with("smtp = ") {
                true => format!("smtp = {{ port = {} }}\n", port_offset()),
                false => format!("{line}\n"),
            });
        let config: String = lines.collect();
        std::fs::write(&self.folder.config, config).unwrap();
        self.folder.serve()
    }

    /// Exit code and output.
    pub fn run(&self, words: &[&str]) -> (i32, String) {
        let Ran { code, out, err } = self.folder.run(words);
        assert_eq!(err, "", "{out}");
        (code, out)
    }
}

const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: *.mail.test\r\nmax_age: 604800\r\n";

#[test]
fn a_policy_is_shown_as_it_is_now() {
    let setup = Setup::new(&["mta-sts.mail.test"]);
    let show = |domain| setup.run(&["mtasts", "show", domain]);
    assert_eq!(
        show("mail.test"),
        (1, "mail.test has no MTA-STS: there is no record\n".into())
    );
    setup.zone.txt("_mta-sts.mail.test", "v=STSv1; id=1;");
    setup.host.policy(POLICY);
    let told = "mail.test: version 1\n  version: STSv1\n  mode: enforce\n  mx: *.mail.test\n  max_age: 604800\n";
    assert_eq!(show("Mail.TEST."), (0, told.into()));
    let [request] = &setup.host.requests()[..] else {
        panic!()
    };
    assert!(
        request.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.mail.test:"),
        "{request}"
    );
    // As a running server does it.
    let serving = setup.serve();
    assert_eq!(show("mail.test"), (0, told.into()));
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (one, two) = POLICY.split_at(20);
    setup.host.raw(&format!(
        "{chunked}{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    ));
    assert_eq!(show("mail.test"), (0, told.into()));
    drop(serving);
    for (answer, said) in [
        ("HTTP/1.1 302 Found\r\nLocation: https://mta-sts.mail.test/x\r\n\r\n".to_string(), "the policy host redirects with 302"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_string(), "the policy host answered 404"),
        (format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{POLICY}", POLICY.len()), "the policy is not text/plain"),
        (format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{POLICY}"), "does not say where it ends"),
        (format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 999\r\n\r\n{POLICY}"), "the answer breaks off"),
        (format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99999\r\n\r\n{POLICY}{}", "x: y\n".repeat(20_000)), "more than 65536 octets"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nversion: STSv1".to_string(), "the policy has no mode"),
        (String::new(), "the answer breaks off"),
    ] {
        setup.host.raw(&answer);
        let (code, out) = show("mail.test");
        assert!(code == 1 && out.contains(said) && out.starts_with("mail.test: it announces a policy that cannot be had: "), "{out}");
    }
    setup.zone.fail("_mta-sts.mail.test");
    let (code, out) = show("mail.test");
    assert!(
        code == 1
            && out.starts_with(
                "mail.test: nobody can say whether there is a policy: TXT of _mta-sts.mail.test: "
            ),
        "{out}"
    );
}

#[test]
fn a_policy_host_must_be_who_it_says() {
    let setup = Setup::new(&["mta-sts.other.test"]);
    setup.zone.txt("_mta-sts.mail.test", "v=STSv1; id=1;");
    setup.zone.a("mta-sts.mail.test", "127.0.0.1");
    setup.host.policy(POLICY);
    let (code, out) = setup.run(&["mtasts", "show", "mail.test"]);
    assert!(
        code == 1 && out.contains("the certificate is not for this host"),
        "{out}"
    );
    // One by another authority.
    Authority::new().write(&setup.folder.at("ca.pem"));
    setup.zone.txt("_mta-sts.other.test", "v=STSv1; id=1;");
    let (code, out) = setup.run(&["mtasts", "show", "other.test"]);
    assert!(
        code == 1 && out.contains("the certificate is not trusted"),
        "{out}"
    );
    assert_eq!(setup.host.requests(), [""; 0]);
}

/// A domain whose mail goes to mx.mail.test, by an unsigned zone.
fn with_mail() -> Setup {
    let setup = Setup::new(&["mta-sts.mail.test"]);
    setup.zone.mx("mail.test", 10, "mx.mail.test");
    setup.zone.mx("mail.test", 20, "mx.other.test");
    setup.zone.a("mx.mail.test", "127.0.0.1");
    setup.zone.a("mx.other.test", "127.0.0.1");
    setup.zone.unsigned("test");
    setup
}

const ENFORCED: &str = "MTA-STS: TLS, with a valid certificate for the host";
const ANY: &str = "TLS if it is offered, with any certificate";

#[test]
fn a_policy_holds_over_a_restart_and_whatever_fails() {
    let setup = with_mail();
    let demands = || setup.run(&["dns", "tls", "mail.test"]);
    let none = format!(
        "mail.test: its hosts are not proved by DNSSEC; MTA-STS: none\n  10 mx.mail.test  127.0.0.1\n      {ANY}\n  20 mx.other.test  127.0.0.1\n      {ANY}\n"
    );
    let enforced = format!(
        "mail.test: its hosts are not proved by DNSSEC; MTA-STS: enforce (*.mail.test)\n  10 mx.mail.test  127.0.0.1\n      {ENFORCED}\n  20 mx.other.test  127.0.0.1\n      must not be used now: the policy of MTA-STS of mail.test does not list mx.other.test\n"
    );
    assert_eq!(demands(), (0, none.clone()));
    setup.zone.txt("_mta-sts.mail.test", "v=STSv1; id=1;");
    setup.host.policy(POLICY);
    // Without a server, and by one, which fetches once.
    assert_eq!(demands(), (0, enforced.clone()));
    let serving = setup.serve();
    let before = setup.host.requests().len();
    for _ in 0..3 {
        assert_eq!(demands(), (0, enforced.clone()));
    }
    assert_eq!(setup.host.requests().len(), before + 1);
    let (_, list) = setup.run(&["mtasts", "list", "--json"]);
    let kept: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&kept["domain"], &kept["mode"], &kept["id"]),
        (&"mail.test".into(), &"enforce".into(), &"1".into())
    );
    let age = kept["valid_until"].as_i64().unwrap() - kept["fetched"].as_i64().unwrap();
    assert_eq!(age, 604_800);
    drop(serving);
    // Whoever can suppress answers gets rid of nothing: no record, no answer, no policy host.
    let serving = setup.serve();
    setup.zone.remove("_mta-sts.mail.test", 16);
    let (code, out) = demands();
    let told = enforced.replace(
        "(*.mail.test)",
        "(*.mail.test) (sts-policy-fetch-error: no-record+fallback-to-cached-policy)",
    );
    assert_eq!((code, out), (0, told));
    drop(serving);
    let serving = setup.serve();
    setup.zone.fail("_mta-sts.mail.test");
    let (code, out) = demands();
    let told = enforced.replace(
        "(*.mail.test)",
        "(*.mail.test) (sts-policy-fetch-error: record-lookup-failed+fallback-to-cached-policy)",
    );
    assert_eq!((code, out), (0, told));
    // Until an operator forgets it.
    assert_eq!(
        setup.run(&["mtasts", "remove", "Mail.test"]),
        (0, String::new())
    );
    assert_eq!(setup.run(&["mtasts", "list"]), (0, String::new()));
    let again = setup.folder.run(&["mtasts", "remove", "mail.test"]);
    assert_eq!(
        (again.code, again.err.as_str()),
        (1, "ringmail: no policy of mail.test is kept\n")
    );
    drop(serving);
    // Nobody can say whether there is another one: none that binds. RFC 8461 10.2.
    let _serving = setup.serve();
    let (code, out) = demands();
    assert_eq!(code, 0, "{out}");
    let words = "MTA-STS: unknown (sts-policy-fetch-error: record-lookup-failed)";
    assert!(out.contains(words), "{out}");
    assert_eq!(out.matches(ANY).count(), 2, "{out}");
}

#[test]
fn a_policy_that_cannot_be_had_is_not_asked_for_again_at_once() {
    let setup = with_mail();
    setup.zone.txt("_mta-sts.mail.test", "v=STSv1; id=1;");
    setup
        .host
        .raw("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let _serving = setup.serve();
    for _ in 0..3 {
        let (code, out) = setup.run(&["dns", "tls", "mail.test"]);
        assert!(
            code == 0
                && out.contains("MTA-STS: none (sts-policy-fetch-error: https-status-500)")
                && out.contains(ANY),
            "{out}"
        );
    }
    assert_eq!(setup.host.requests().len(), 1);
}

#[test]
fn a_new_version_is_fetched_once_the_record_is_looked_at_again() {
    let setup = with_mail();
    setup.zone.txt("_mta-sts.mail.test", "v=STSv1; id=1;");
    setup.host.policy(POLICY);
    let serving = setup.serve();
    assert!(setup.run(&["dns", "tls", "mail.test"]).1.contains(ENFORCED));
    drop(serving);
    setup.zone.txt("_mta-sts.mail.test", "v=STSv1; id=2;");
    setup.host.policy(&POLICY.replace("enforce", "testing"));
    let serving = setup.serve();
    let (_, out) = setup.run(&["dns", "tls", "mail.test"]);
    assert!(
        out.contains("MTA-STS in testing: TLS if it is offered, and what is wrong is reported"),
        "{out}"
    );
    drop(serving);
    // RFC 8461 8.3: who leaves.
    setup.zone.txt("_mta-sts.mail.test", "v=STSv1; id=3;");
    setup
        .host
        .policy("version: STSv1\nmode: none\nmax_age: 60\n");
    let _serving = setup.serve();
    assert!(
        setup
            .run(&["dns", "tls", "mail.test"])
            .1
            .contains("MTA-STS: none\n")
    );
    assert!(
        setup
            .run(&["mtasts", "list"])
            .1
            .starts_with("mail.test  none  ")
    );
}

#[test]
fn dane_comes_before_a_policy() {
    let setup = Setup::new(&["mta-sts.mail.test"]);
    let zone = &setup.zone;
    for (preference, host) in [
        (10, "dane.mail.test"),
        (20, "plain.mail.test"),
        (30, "failing.mail.test"),
        (40, "odd.mail.test"),
    ] {
        zone.mx("mail.test", preference, host);
        zone.a(host, "127.0.0.1");
    }
    zone.tlsa("_25._tcp.dane.mail.test", [3, 1, 1], &[7; 32]);
    zone.tlsa("_25._tcp.odd.mail.test", [1, 1, 1], &[7; 32]);
    zone.fail("_25._tcp.failing.mail.test");
    zone.txt("_mta-sts.mail.test", "v=STSv1; id=1;");
    setup.host.policy("version: STSv1\nmode: enforce\nmx: plain.mail.test\nmx: failing.mail.test\nmax_age: 86400\n");
    let dane = "DANE: TLS, with a certificate by the TLSA records";
    let unlisted =
        "must not be used now: the policy of MTA-STS of mail.test does not list odd.mail.test";
    let _serving = setup.serve();
    let (code, out) = setup.run(&["dns", "tls", "mail.test"]);
    let lines: Vec<&str> = out
        .lines()
        .filter_map(|line| line.strip_prefix("      "))
        .collect();
    assert_eq!(
        (code, lines[0], lines[1], lines[3]),
        (0, dane, ENFORCED, unlisted),
        "{out}"
    );
    assert!(lines[2].starts_with("must not be used now: whether failing.mail.test has TLSA records (DANE) cannot be found out now: "), "{out}");
    // Records say nothing where DNSSEC does not prove who named the host.
    zone.unsigned("mail.test");
    let (_, out) = setup.run(&["dns", "tls", "mail.test"]);
    assert_eq!(
        out.matches("must not be used now: the policy of MTA-STS of mail.test does not list ")
            .count(),
        2,
        "{out}"
    );
    assert_eq!(out.matches(ENFORCED).count(), 2, "{out}");
    let asked = zone.asked("_25._tcp.plain.mail.test");
    setup.run(&["dns", "tls", "mail.test"]);
    assert_eq!(zone.asked("_25._tcp.plain.mail.test"), asked);
}

/// RFC 8461 5.1: the policy may have changed with the hosts, so it is looked at again before a message is put off, and holds for that message.
#[test]
fn mail_goes_out_at_once_if_the_policy_has_changed_with_the_hosts() {
    let authority = Authority::new();
    let host = PolicyHost::start(authority.server(&["mta-sts.mail.test"]));
    let (zone, dns) = Zone::serve();
    zone.unsigned("test");
    zone.a("mta-sts.mail.test", "127.0.0.1");
    zone.mx("mail.test", 10, "mx.mail.test");
    zone.a("mx.mail.test", "127.0.0.14");
    zone.txt("_mta-sts.mail.test", "v=STSv1; id=1;");
    host.policy(&POLICY.replace("*.mail.test", "mx.other.test"));
    let port = free_port();
    let tls = authority.server(&["mx.mail.test"]);
    let receiver = Receiver::start([127, 0, 0, 14], port, Some(tls), |_| None);
    let directory = tempfile::tempdir().unwrap();
    authority.write(&directory.path().join("ca.pem"));
    let server = TestServer::on(
        directory.path(),
        &format!(
            "[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[tls_policy]\nca_file = \"ca.pem\"\nmta_sts_port = {}\n[outbound]\nrefuse_networks = []\nport = {port}\n",
            host.port
        ),
    );
    submit(&server, &["friend@mail.test"], "x");
    until(|| queue(&server).iter().all(|(_, row)| row.attempts == 1));
    assert_eq!(receiver.messages().len(), 0);
    zone.txt("_mta-sts.mail.test", "v=STSv1; id=2;");
    host.policy(POLICY);
    kick_all(&server);
    until_sent(&server);
    assert_eq!(receiver.messages().len(), 1);
}

/// Where nobody says what a domain demands its mail is held up alone, and no connection to hosts that it shares.
#[test]
fn a_domain_that_says_nothing_of_its_policy_holds_up_no_other() {
    let (zone, dns) = Zone::serve();
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |_| None);
    zone.a("mx.test", "127.0.0.14");
    zone.mx("good.test", 10, "mx.test");
    const SILENT: usize = 40;
    for n in 0..SILENT {
        zone.mx(&format!("bad{n}.test"), 10, "mx.test");
        zone.silent(&format!("_mta-sts.bad{n}.test"));
    }
    let directory = tempfile::tempdir().unwrap();
    // Two tries take half a minute, in which the others arrive.
    let server = TestServer::on(
        directory.path(),
        &format!(
            "[dns]\nservers = [\"127.0.0.1:{dns}\"]\ntry_timeout_secs = \"15s\"\n[outbound]\nrefuse_networks = []\nport = {port}\n"
        ),
    );
    for n in 0..SILENT {
        submit(&server, &[&format!("a@bad{n}.test")], "x");
    }
    until(|| zone.asked("_mta-sts.bad0.test") > 0);
    for n in 0..20 {
        submit(&server, &["a@good.test"], &format!("y{n}"));
    }
    let good = || {
        let messages = receiver.messages();
        messages.iter().filter(|m| m.contains("Subject: y")).count()
    };
    until(|| good() == 20);
    // The others wait for DNS still.
    assert!(receiver.messages().len() < 20 + SILENT);
    until_sent(&server);
    assert_eq!(receiver.messages().len(), 20 + SILENT);
}

/// RFC 8461 5: its mail waits; the connection to the host that it shares with others is theirs still.
#[test]
fn a_policy_that_lists_other_hosts_ends_no_connection_of_others() {
    let authority = Authority::new();
    let names: Vec<String> = (0..10).map(|n| format!("mta-sts.bad{n}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let host = PolicyHost::start(authority.server(&names));
    host.policy(&POLICY.replace("*.mail.test", "mx.other.test"));
    let (zone, dns) = Zone::serve();
    zone.unsigned("test");
    zone.a("mx.test", "127.0.0.14");
    zone.mx("good.test", 10, "mx.test");
    for (n, name) in names.iter().enumerate() {
        zone.a(name, "127.0.0.1");
        zone.mx(&format!("bad{n}.test"), 10, "mx.test");
        zone.txt(&format!("_mta-sts.bad{n}.test"), "v=STSv1; id=1;");
    }
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |_| None);
    let directory = tempfile::tempdir().unwrap();
    authority.write(&directory.path().join("ca.pem"));
    let server = TestServer::on(
        directory.path(),
        &format!(
            "[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[tls_policy]\nca_file = \"ca.pem\"\nmta_sts_port = {}\n[outbound]\nrefuse_networks = []\nport = {port}\nidle_secs = \"60s\"\n",
            host.port
        ),
    );
    // So that each core has a connection.
    for n in 0..8 {
        submit(&server, &["a@good.test"], &format!("y{n}"));
    }
    until(|| receiver.messages().len() == 8);
    let before = receiver.connections();
    for n in 0..names.len() {
        submit(&server, &[&format!("a@bad{n}.test")], "x");
        submit(&server, &["a@good.test"], "y");
    }
    let good = |(to, _): &(String, _)| to == "a@good.test";
    until(|| {
        let left = queue(&server);
        !left.iter().any(good) && left.iter().all(|(_, row)| row.attempts == 1)
    });
    assert_eq!(queue(&server).len(), names.len());
    assert_eq!(receiver.messages().len(), 8 + names.len());
    // A core that had none has one now.
    assert!(receiver.connections() <= before + 2);
}

/// RFC 8689 4.2.1, RFC 8461 10.2: what needs a policy's proof waits while nobody can say whether there is one; nothing binds what doesn't.
#[test]
fn a_message_that_needs_a_policy_holds_up_no_other_of_its_domain() {
    let (zone, dns) = Zone::serve();
    zone.unsigned("test");
    zone.mx("mail.test", 10, "mx.mail.test");
    zone.a("mx.mail.test", "127.0.0.14");
    zone.fail("_mta-sts.mail.test");
    let port = free_port();
    let receiver = Receiver::start([127, 0, 0, 14], port, None, |_| None);
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::on(
        directory.path(),
        &format!(
            "[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[outbound]\nrefuse_networks = []\nport = {port}\npause_first_secs = \"1h\"\npause_max_secs = \"1h\"\n"
        ),
    );
    let strict = "<anna@example.test> HOLDFOR=3600";
    for n in 0..8 {
        let to = format!("<strict{n}@mail.test>");
        send(&server, Door::Submission, strict, &[&to]);
    }
    let must = Deed::RequireTls {
        require: Some(true),
    };
    change_all(&server, &must);
    let_go(&server);
    until(|| queue(&server).iter().all(|(_, row)| row.attempts == 1));
    for n in 0..8 {
        submit(&server, &["a@mail.test"], &format!("{n}"));
    }
    until(|| receiver.messages().len() == 8 && queue(&server).len() == 8);
}

/// While a policy is fetched nobody takes a connection for the domain's mail, and that is all it hears.
#[test]
fn a_policy_that_is_being_fetched_is_waited_for_in_line() {
    let authority = Authority::new();
    // Takes connections, and says nothing.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (zone, dns) = Zone::serve();
    zone.unsigned("test");
    zone.mx("mail.test", 10, "mx.mail.test");
    zone.a("mx.mail.test", "127.0.0.14");
    zone.a("mta-sts.mail.test", "127.0.0.1");
    zone.txt("_mta-sts.mail.test", "v=STSv1; id=1;");
    let directory = tempfile::tempdir().unwrap();
    authority.write(&directory.path().join("ca.pem"));
    let (port, policies) = (free_port(), silent.local_addr().unwrap().port());
    let server = TestServer::with_call_timeout(
        directory.path(),
        "1s",
        &format!(
            "[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[tls_policy]\nca_file = \"ca.pem\"\nmta_sts_port = {policies}\n[outbound]\nrefuse_networks = []\nport = {port}\n"
        ),
    );
    submit(&server, &["a@mail.test"], "x");
    let mut why = Vec::new();
    until(|| {
        let waits = queue(&server);
        why = waits.into_iter().flat_map(|(_, row)| row.history).collect();
        !why.is_empty()
    });
    // Not that of a host.
    let text = "the policy of MTA-STS of mail.test is being looked for";
    assert_eq!(why[0].text, text);
}
