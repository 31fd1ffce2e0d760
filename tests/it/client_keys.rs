//! Certificates of clients: who shows one has to prove that it has the key. RFC 8446 4.4.3, RFC 5246 7.4.8.
//! tests/interop/client_certificates.py has those of every kind, made by OpenSSL.

use std::io::{BufRead, BufReader};
use std::sync::Arc;

use ringmail::settings::Door;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{ClientConfig, ClientConnection, SignatureScheme, StreamOwned};

use crate::logins::register;
use crate::server::TestServer;
use crate::tls::{Steady, certificate};

/// Shows a certificate and signs with a key that may be another's.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The greeting, over TLS with what the client shows.
fn greeting(
    server: &TestServer,
    root: &[u8],
    version: &'static rustls::SupportedProtocolVersion,
    shows: Shows,
) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(root)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(shows));
    let name = ServerName::try_from("mail.example.test").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, Steady(server.connect(Door::Imaps)));
    let mut line = String::new();
    match BufReader::new(&mut stream).read_line(&mut line) {
        // It has ended the connection while we still wrote; what it said before that is there.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            while stream.conn.read_tls(&mut stream.sock)? > 0 {
                let told = stream.conn.process_new_packets();
                told.map_err(std::io::Error::other)?;
            }
            Err(error)
        }
        read => read.map(|_| line),
    }
}

fn key(pair: &rcgen::KeyPair) -> Arc<dyn SigningKey> {
    let key = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    rustls::crypto::ring::sign::any_supported_type(&key).unwrap()
}

/// A certificate of version 1, and one that was never signed: nobody looks at more than the key in it. RFC 5280 4.1.
fn version_1(pair: &rcgen::KeyPair) -> CertificateDer<'static> {
    let sequence = |parts: &[&[u8]]| {
        let content = parts.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        match length {
            [0, length @ 0..0x80] => [&[0x30, length], &content[..]].concat(),
            [0, length] => [&[0x30, 0x81, length], &content[..]].concat(),
            [high, low] => [&[0x30, 0x82, high, low], &content[..]].concat(),
        }
    };
    let (nothing, serial) = (sequence(&[]), [2, 1, 1]);
    let key = rcgen::PublicKeyData::subject_public_key_info(pair);
    let tbs = sequence(&[&serial, &nothing, &nothing, &nothing, &nothing, &key]);
    CertificateDer::from(sequence(&[&tbs, &nothing, &[3, 1, 0]]))
}

#[test]
fn the_key_of_an_old_certificate_logs_in_whoever_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = certificate(directory.path());
    let server = TestServer::with_tls(directory.path());
    for (number, algorithm) in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ]
    .into_iter()
    .enumerate()
    {
        let (own, other) = (
            rcgen::KeyPair::generate_for(algorithm).unwrap(),
            rcgen::KeyPair::generate_for(algorithm).unwrap(),
        );
        let shown = version_1(&own);
        for registered in [false, true] {
            if registered {
                register(&server, "anna@example.test", &shown, false);
            }
            for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
                let greeted = |pair| {
                    let shows = CertifiedKey::new(vec![shown.clone()], key(pair));
                    greeting(&server, &root, version, Shows(Arc::new(shows)))
                };
                let wanted = if registered { "* PREAUTH " } else { "* OK " };
                let got = greeted(&own).unwrap();
                assert!(got.starts_with(wanted), "{number} {got}");
                let error = greeted(&other).unwrap_err();
                assert!(error.to_string().contains("DecryptError"), "{error}");
            }
        }
    }
}

#[test]
fn a_certificate_without_its_key_ends_the_handshake_and_one_that_nobody_can_check_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let root = certificate(directory.path());
    let server = TestServer::with_tls(directory.path());
    let (own, other) = (
        rcgen::KeyPair::generate().unwrap(),
        rcgen::KeyPair::generate().unwrap(),
    );
    let params = rcgen::CertificateParams::new(["client.example".to_string()]).unwrap();
    let shown = params.self_signed(&own).unwrap().der().clone();
    // Of the same kind, but ring reads no compressed point.
    let compressed = CertificateDer::from_pem_slice(include_bytes!(
        "../../shards/tests/client_keys/p256-compressed.pem"
    ))
    .unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let greeted = |certificate: &CertificateDer<'static>, pair| {
            let shows = CertifiedKey::new(vec![certificate.clone()], key(pair));
            greeting(&server, &root, version, Shows(Arc::new(shows)))
        };
        assert!(greeted(&shown, &own).unwrap().starts_with("* OK "));
        let error = greeted(&shown, &other).unwrap_err();
        assert!(error.to_string().contains("DecryptError"), "{error}");
        assert!(greeted(&compressed, &other).unwrap().starts_with("* OK "));
    }
}
