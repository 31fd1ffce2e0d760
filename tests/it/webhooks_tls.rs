//! Webhooks over HTTPS: sessions that resume, certificates that don't do, told in words, and hosts of which one address has no TLS.

use std::net::TcpListener;
use std::path::Path;

use rustls::HandshakeKind;

use crate::outbound;
use crate::policy_host::Authority;
use crate::server::TestServer;
use crate::webhooks::{Hears, OPEN, history, put, test};
use crate::zone::Zone;

/// One that trusts the authority, and tries once.
fn server(dir: &Path, authority: &Authority) -> TestServer {
    authority.write(&dir.join("ca.pem"));
    let extra = format!("[tls_policy]\nca_file = \"ca.pem\"\n[webhooks]\nretry_secs = []\n{OPEN}");
    TestServer::sending_with(dir, &extra)
}

#[test]
fn an_endpoint_is_called_over_tls_and_its_sessions_resume() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = server(dir.path(), &authority);
    let hears = Hears::over_tls(authority.server(&["localhost"]), |_, _| {
        "200 OK\r\nConnection: close".into()
    });
    let id = put(&server, &hears.tls_url());
    outbound::submit(&server, &["ann@a.example"], "one");
    let kept = history(&server, 1).remove(0);
    assert!(kept.success, "{kept:?}");
    assert_eq!(kept.hook.results[0].url, hears.tls_url());
    assert_eq!(hears.wait(1)[0].json()["Subject"], "one");
    // Another connection, of another client: the core has one configuration.
    let result = test(&server, id);
    assert!(result.success, "{result:?}");
    let expected = [HandshakeKind::Full, HandshakeKind::Resumed];
    assert_eq!(hears.handshakes(), expected);
}

#[test]
fn a_certificate_that_does_not_do_is_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = server(dir.path(), &authority);
    let wrong = [
        (authority.server(&["other.example"]), "not valid for name"),
        (authority.expired(&["localhost"]), "expired"),
        (
            Authority::new().server(&["localhost"]),
            "invalid peer certificate",
        ),
    ];
    let receivers = wrong.map(|(certificate, words)| {
        let hears = Hears::over_tls(certificate, |_, _| "200 OK".into());
        (put(&server, &hears.tls_url()), hears, words)
    });
    outbound::submit(&server, &["ann@a.example"], "one");
    let kept = history(&server, receivers.len());
    for (id, hears, words) in receivers {
        let hook = kept.iter().find(|kept| kept.hook.endpoint == id).unwrap();
        let result = &hook.hook.results[0];
        assert!(!hook.success && result.code == 0, "{result:?}");
        let error = &result.error;
        assert!(error.contains("TLS") && error.contains(words), "{error}");
        assert!(hears.so_far().is_empty());
    }
}

#[test]
fn another_address_of_the_host_is_tried_if_tls_fails_at_one() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(&dir.path().join("ca.pem"));
    // The one or the other comes first.
    let names = ["one.test", "two.test"];
    let hears = Hears::over_tls(authority.server(&names), |_, _| "200 OK".into());
    let broken = TcpListener::bind(("127.0.0.2", hears.port)).unwrap();
    std::thread::spawn(move || broken.incoming().for_each(drop));
    let (zone, dns) = Zone::serve();
    let addresses = ["127.0.0.1", "127.0.0.2"];
    for (name, order) in names.into_iter().zip([[0, 1], [1, 0]]) {
        for n in order {
            zone.a(name, addresses[n]);
        }
    }
    let extra = format!(
        "[dns]\nservers = [\"127.0.0.1:{dns}\"]\n[tls_policy]\nca_file = \"ca.pem\"\n[webhooks]\nretry_secs = []\n{OPEN}"
    );
    let server = TestServer::sending_with(dir.path(), &extra);
    for name in names {
        let id = put(&server, &format!("https://{name}:{}/hook", hears.port));
        let result = test(&server, id);
        assert!(result.success, "{result:?}");
    }
}
