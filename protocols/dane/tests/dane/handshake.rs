//! The verifier in handshakes with openssl's server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rcgen::CustomExtension;
use ringmail_dane::tls::{Policy, Verdict, VerdictCell, Verifier, handshake_failure};
use ringmail_dane::{CertificateFailure, DaneError, Record, UsableRecords, Usages};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, HandshakeKind,
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};

use crate::chains::{AS_IS, EXPIRED, Made, Tune, authority, name, record, server};
use crate::openssl::{Shown, show};

struct Handshake {
    result: Result<ProtocolVersion, rustls::Error>,
    verdict: Option<Verdict>,
}

fn connect(shown: &Shown, policy: Policy, roots: &[&Made]) -> Handshake {
    connect_with(shown, policy, roots, |verifier| verifier)
}

fn connect_with(
    shown: &Shown,
    policy: Policy,
    roots: &[&Made],
    tune: impl FnOnce(Verifier) -> Verifier,
) -> Handshake {
    let mut store = RootCertStore::empty();
    roots.iter().for_each(|r| store.add(r.der.clone()).unwrap());
    let cell = VerdictCell::default();
    let verifier = tune(Verifier::new(policy, Arc::new(store), cell.clone()));
    let config = Arc::new(verifier.into_config().unwrap());
    let result = shake(shown, config).map(|connection| connection.protocol_version().unwrap());
    let verdict = cell.verdict().cloned();
    Handshake { result, verdict }
}

fn shake(shown: &Shown, config: Arc<ClientConfig>) -> Result<ClientConnection, rustls::Error> {
    let opened = ServerName::try_from("mx.example.com").unwrap();
    let mut connection = ClientConnection::new(config, opened).unwrap();
    let mut socket = TcpStream::connect(shown.address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    while connection.is_handshaking() {
        if connection.wants_write() {
            let mut octets = Vec::new();
            connection.write_tls(&mut octets).unwrap();
            socket.write_all(&octets).unwrap();
            continue;
        }
        let mut octets = [0; 4096];
        let count = socket.read(&mut octets).unwrap_or(0);
        if count == 0 {
            return Err(rustls::Error::General("closed".into()));
        }
        connection.read_tls(&mut &octets[..count]).unwrap();
        connection.process_new_packets()?;
    }
    Ok(connection)
}

/// A resumed session shows no certificate, so there would be no verdict.
#[test]
fn sessions_are_not_resumed() {
    let alone = server(&["mx.example.com"], None, AS_IS);
    // In TLS 1.2 the ticket is there at the end of the handshake.
    let shown = shown(&alone, &["-tls1_2"]);
    let roots = Arc::new(RootCertStore::empty());
    let config = |resumption: Option<Resumption>| {
        let verifier = Verifier::new(Policy::Opportunistic, roots.clone(), VerdictCell::default());
        let mut config = verifier.into_config().unwrap();
        config.resumption = resumption.unwrap_or(config.resumption);
        Arc::new(config)
    };
    let second = |config: Arc<ClientConfig>| {
        shake(&shown, config.clone()).unwrap();
        shake(&shown, config).unwrap().handshake_kind()
    };
    assert_eq!(second(config(None)), Some(HandshakeKind::Full));
    // The server would.
    let resumed = second(config(Some(Resumption::default())));
    assert_eq!(resumed, Some(HandshakeKind::Resumed));
}

fn shown(made: &Made, options: &[&str]) -> Shown {
    show(&made.chain(), &made.key.serialize_der(), options)
}

fn dane(record: Record) -> Policy {
    Policy::Dane {
        records: UsableRecords::select(&[record], Usages::Smtp).unwrap(),
        names: vec![name("mx.example.com")],
    }
}

#[test]
fn opportunistic_takes_all_and_remembers() {
    let root = authority("root", None, AS_IS);
    let good = server(&["mx.example.com"], Some(&root), AS_IS);
    let expired = server(&["mx.example.com"], Some(&root), EXPIRED);
    let other = server(&["mx.example.net"], Some(&root), AS_IS);
    let alone = server(&["mx.example.com"], None, AS_IS);
    for (made, pkix) in [
        (&good, Ok(())),
        (&expired, Err(CertificateFailure::Expired)),
        (&other, Err(CertificateFailure::HostMismatch)),
        (&alone, Err(CertificateFailure::UnknownIssuer)),
    ] {
        for (option, version) in [
            ("-tls1_2", ProtocolVersion::TLSv1_2),
            ("-tls1_3", ProtocolVersion::TLSv1_3),
        ] {
            let shown = shown(made, &[option]);
            let handshake = connect(&shown, Policy::Opportunistic, &[&root]);
            assert_eq!(handshake.result, Ok(version));
            let pkix = pkix.clone();
            assert_eq!(handshake.verdict, Some(Verdict { pkix, dane: None }));
        }
    }
}

#[test]
fn pkix_is_enforced_for_the_name_of_the_policy() {
    let root = authority("root", None, AS_IS);
    let good = server(&["mx.example.com"], Some(&root), AS_IS);
    let shown = shown(&good, &[]);
    let pkix = |text: &str| Policy::Pkix { name: name(text) };
    let handshake = connect(&shown, pkix("mx.example.com"), &[&root]);
    assert!(handshake.result.is_ok());
    let refused = connect(&shown, pkix("mx.example.net"), &[&root]);
    assert!(refused.result.is_err());
    let verdict = refused.verdict.unwrap();
    assert_eq!(verdict.pkix, Err(CertificateFailure::HostMismatch));
    let untrusted = connect(&shown, pkix("mx.example.com"), &[]);
    assert!(untrusted.result.is_err());
    let verdict = untrusted.verdict.unwrap();
    assert_eq!(verdict.pkix, Err(CertificateFailure::UnknownIssuer));
}

#[test]
fn dane_is_enforced_and_pkix_remembered() {
    let root = authority("root", None, AS_IS);
    let expired = server(&["mx.example.net"], Some(&root), EXPIRED);
    let shown = shown(&expired, &[]);
    let accepted = connect(&shown, dane(record([3, 1, 1], &expired.der)), &[&root]);
    assert!(accepted.result.is_ok());
    let verdict = accepted.verdict.unwrap();
    assert_eq!(verdict.dane.unwrap().unwrap().depth, 0);
    assert_eq!(verdict.pkix, Err(CertificateFailure::Expired));
    let refused = connect(&shown, dane(record([2, 0, 1], &root.der)), &[&root]);
    assert!(refused.result.is_err());
    let expected = DaneError::Certificate(CertificateFailure::Expired);
    assert_eq!(refused.verdict.unwrap().dane, Some(Err(expected)));
    let unmatched = connect(&shown, dane(record([3, 1, 1], &root.der)), &[&root]);
    assert!(unmatched.result.is_err());
    let verdict = unmatched.verdict.unwrap();
    assert_eq!(verdict.dane, Some(Err(DaneError::NoMatch)));
}

#[test]
fn what_is_only_reported_is_judged_all_the_same() {
    let root = authority("root", None, AS_IS);
    let other = server(&["mx.example.net"], Some(&root), AS_IS);
    let shown = shown(&other, &[]);
    for (policy, words) in [
        (
            Policy::Pkix {
                name: name("a.example"),
            },
            ("certificate-host-mismatch", "host-mismatch"),
        ),
        (
            dane(record([3, 1, 1], &root.der)),
            ("validation-failure", "dane-no-match"),
        ),
    ] {
        let enforced = connect(&shown, policy.clone(), &[&root]);
        assert!(enforced.result.is_err());
        let reported = connect_with(&shown, policy, &[&root], Verifier::reporting_only);
        assert!(reported.result.is_ok());
        assert_eq!(reported.verdict, enforced.verdict);
        let (word, reason) = reported.verdict.unwrap().failure().unwrap();
        assert_eq!((word, reason.as_str()), words);
    }
    let right = dane(record([3, 1, 1], &other.der));
    let verdict = connect(&shown, right, &[&root]).verdict.unwrap();
    assert_eq!(verdict.failure(), None);
    assert!(verdict.pkix.is_err());
}

#[test]
fn handshakes_that_fail_have_words() {
    let alert = rustls::Error::AlertReceived(AlertDescription::HandshakeFailure);
    assert_eq!(
        handshake_failure(&alert),
        (
            "validation-failure",
            "tls-remote-alert-40-handshake-failure".into()
        )
    );
    let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
    let (_, reason) = handshake_failure(&alert);
    assert_eq!(reason, "tls-remote-alert-48-unknown-ca");
    let local = rustls::Error::General("text of somebody".into());
    assert_eq!(handshake_failure(&local).1, "tls-local-general");
    let local = rustls::Error::InvalidCertificate(CertificateError::Expired);
    assert_eq!(handshake_failure(&local).1, "tls-local-invalid-certificate");
}

#[test]
fn versions_before_1_2_are_refused() {
    let alone = server(&["mx.example.com"], None, AS_IS);
    let shown = shown(&alone, &["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"]);
    let handshake = connect(&shown, Policy::Opportunistic, &[]);
    let refused = rustls::Error::AlertReceived(AlertDescription::ProtocolVersion);
    assert_eq!(handshake.result, Err(refused));
    assert_eq!(handshake.verdict, None);
}

/// A server that shows a certificate whose key it does not have. RFC 8446 4.4.3.
#[test]
fn the_signature_of_the_handshake_is_always_verified() {
    let made = server(&["mx.example.com"], None, AS_IS);
    let other = server(&["mx.example.com"], None, AS_IS);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for policy in [Policy::Opportunistic, dane(record([3, 1, 1], &made.der))] {
            let honest = in_memory(&made, &made, policy.clone(), version);
            assert_eq!(honest, Ok(()));
            let stolen = in_memory(&made, &other, policy, version);
            let bad = rustls::Error::InvalidCertificate(CertificateError::BadSignature);
            assert_eq!(stolen, Err(bad));
        }
    }
}

fn in_memory(
    shown: &Made,
    signer: &Made,
    policy: Policy,
    version: &'static SupportedProtocolVersion,
) -> Result<(), rustls::Error> {
    let roots = Arc::new(RootCertStore::empty());
    let verifier = Verifier::new(policy, roots, VerdictCell::default());
    let opened = ServerName::try_from("mx.example.com").unwrap();
    let config = Arc::new(verifier.into_config().unwrap());
    let mut client = ClientConnection::new(config, opened).unwrap();
    let key = PrivateKeyDer::try_from(signer.key.serialize_der()).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let certified = CertifiedKey::new(shown.chain(), key);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    while client.is_handshaking() {
        let mut octets = Vec::new();
        client.write_tls(&mut octets).unwrap();
        let mut octets = octets.as_slice();
        while !octets.is_empty() {
            server.read_tls(&mut octets).unwrap();
            server.process_new_packets()?;
        }
        let mut octets = Vec::new();
        server.write_tls(&mut octets).unwrap();
        let mut octets = octets.as_slice();
        while !octets.is_empty() {
            client.read_tls(&mut octets).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

/// webpki does not even read them, but mail goes to such servers, and DANE can mean them.
#[test]
fn odd_certificates_pass_where_none_is_trusted() {
    let odd: Tune<'_> = &|params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    };
    let odd = server(&["mx.example.com"], None, odd);
    let (old, old_key) = version_1();
    for (certificate, key, failure) in [
        (
            odd.der.clone(),
            odd.key.serialize_der(),
            CertificateFailure::NotTrusted("UnsupportedCriticalExtension".into()),
        ),
        (old, old_key, CertificateFailure::Malformed),
    ] {
        for (option, version) in [
            ("-tls1_2", ProtocolVersion::TLSv1_2),
            ("-tls1_3", ProtocolVersion::TLSv1_3),
        ] {
            let shown = show(std::slice::from_ref(&certificate), &key, &[option]);
            let handshake = connect(&shown, Policy::Opportunistic, &[]);
            assert_eq!(handshake.result, Ok(version));
            assert_eq!(handshake.verdict.unwrap().pkix, Err(failure.clone()));
            let policy = dane(Record::for_certificate(&certificate).unwrap());
            assert_eq!(connect(&shown, policy, &[]).result, Ok(version));
        }
    }
}

/// The same with a time that is none, which openssl would not show.
#[test]
fn odd_times_pass_where_none_is_trusted() {
    let mut odd = server(&["mx.example.com"], None, AS_IS);
    let mut octets = odd.der.to_vec();
    let at = octets.windows(13).position(|w| w == b"250101000000Z");
    octets[at.unwrap() + 12] = b'?';
    odd.der = CertificateDer::from(octets);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert_eq!(
            in_memory(&odd, &odd, Policy::Opportunistic, version),
            Ok(())
        );
        let policy = dane(Record::for_certificate(&odd.der).unwrap());
        assert_eq!(in_memory(&odd, &odd, policy, version), Ok(()));
    }
}

/// A certificate of version 1 made of one of version 3, which DANE and opportunistic TLS do not mind: nobody looks at its signature.
fn version_1() -> (CertificateDer<'static>, Vec<u8>) {
    let made = server(&[], None, AS_IS);
    let content = |octets: &[u8]| -> (Vec<u8>, Vec<u8>) {
        let (start, length) = match octets[1] {
            0x81 => (3, usize::from(octets[2])),
            0x82 => (4, usize::from(octets[2]) << 8 | usize::from(octets[3])),
            short => (2, usize::from(short)),
        };
        let (content, rest) = octets[start..].split_at(length);
        (content.to_vec(), rest.to_vec())
    };
    let sequence = |content: Vec<u8>| {
        let length = (content.len() as u16).to_be_bytes();
        [&[0x30, 0x82, length[0], length[1]], content.as_slice()].concat()
    };
    let (whole, _) = content(&made.der);
    let (tbs, signature) = content(&whole);
    // The version is the first element, extensions are the last.
    let (_, mut rest) = content(&tbs);
    let mut kept = Vec::new();
    while !rest.is_empty() && rest[0] != 0xa3 {
        let (_, after) = content(&rest);
        kept.extend_from_slice(&rest[..rest.len() - after.len()]);
        rest = after;
    }
    let der = sequence([sequence(kept), signature].concat());
    (CertificateDer::from(der), made.key.serialize_der())
}
