//! Connections to other servers: TLS as a client, what the server shows, errors of TLS told from those of the network.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringmail_shards::net::{Connection, tls_error};
use ringmail_shards::rt::{self, Listener};
use ringmail_shards::tls::{ClientConfig, OldestTls, load_tls};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};

static ROOM: rt::Room = rt::Room::new("test");
const LIMIT: Duration = Duration::from_secs(20);

struct Pair {
    files: (PathBuf, PathBuf),
    certificate: CertificateDer<'static>,
    _directory: tempfile::TempDir,
}

fn pair(name: &str) -> Pair {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed([name.to_string()]).unwrap();
    let files = (directory.path().join("cert"), directory.path().join("key"));
    std::fs::write(&files.0, pem("CERTIFICATE", made.cert.der())).unwrap();
    let key = made.signing_key.serialize_der();
    std::fs::write(&files.1, pem("PRIVATE KEY", &key)).unwrap();
    Pair {
        files,
        certificate: made.cert.der().clone(),
        _directory: directory,
    }
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn trusting(certificate: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A server that says one line, takes one, shakes hands, and echoes a line.
fn serve(pair: &Pair) -> SocketAddr {
    let tls = load_tls(std::slice::from_ref(&pair.files), OldestTls::V1_2).unwrap();
    let socket = rt::listen("127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let listener = Listener::new(socket);
    let address = listener.local_address().unwrap();
    rt::spawn(&ROOM, async move {
        while let Ok(stream) = listener.accept().await {
            let mut connection = Connection::new(stream).unwrap();
            connection.write_all(b"220 plain\r\n").await.unwrap();
            let _ = connection.read_with(<[u8]>::len).await;
            let _ = connection.write_all(b"220 go on\r\n").await;
            if connection
                .start_tls(tls.anonymous.clone(), LIMIT)
                .await
                .is_err()
            {
                continue;
            }
            while let Ok(line) = connection.read_with(<[u8]>::to_vec).await {
                if line.is_empty() || connection.write_all(&line).await.is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn a_server_is_spoken_to_over_tls() {
    rt::block_on(async {
        let pair = pair("mx.example");
        let address = serve(&pair);
        let mut connection = Connection::connect(address, LIMIT).await.unwrap();
        assert_eq!(connection.peer(), address);
        assert!(connection.tls().is_none() && connection.server_certificates().is_none());
        let mut greeting = None;
        while greeting.is_none() {
            rt::sleep(Duration::from_millis(1)).await;
            greeting = connection.read_now(<[u8]>::to_vec).await.unwrap();
        }
        assert_eq!(greeting.unwrap(), b"220 plain\r\n");
        assert_eq!(connection.read_now(<[u8]>::to_vec).await.unwrap(), None);
        connection.write_all(b"STARTTLS\r\n").await.unwrap();
        connection.read_with(<[u8]>::len).await.unwrap();
        let name = ServerName::try_from("mx.example").unwrap();
        let config = trusting(&pair.certificate);
        connection
            .start_client_tls(config.clone(), name.clone(), LIMIT)
            .await
            .unwrap();
        assert_eq!(connection.tls().unwrap().version, "TLSv1.3");
        let shown = connection.server_certificates().unwrap();
        assert_eq!(shown, std::slice::from_ref(&pair.certificate));
        connection.write_all(b"EHLO x\r\n").await.unwrap();
        let echo = connection.read_with(<[u8]>::to_vec).await.unwrap();
        assert_eq!(echo, b"EHLO x\r\n");
        // What was said meanwhile, over TLS too, where there is more on the wire than is said: nothing is waited for or lost.
        for round in 0..3 {
            assert_eq!(connection.read_now(<[u8]>::to_vec).await.unwrap(), None);
            connection.write_all(b"NOOP\r\n").await.unwrap();
            let mut said = None;
            while said.is_none() {
                said = connection.read_now(<[u8]>::to_vec).await.unwrap();
                rt::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(said.unwrap(), b"NOOP\r\n", "{round}");
            connection.write_all(b"RSET\r\n").await.unwrap();
            let said = connection.read_with(<[u8]>::to_vec).await.unwrap();
            assert_eq!(said, b"RSET\r\n", "{round}");
        }
        assert!(
            connection
                .start_client_tls(config, name, LIMIT)
                .await
                .is_err()
        );
        connection.close().await;
        assert!(connection.detach().is_err());
    })
    .unwrap();
}

#[test]
fn errors_of_tls_are_told_from_those_of_the_network() {
    rt::block_on(async {
        let (pair, other) = (pair("mx.example"), pair("mx.example"));
        let address = serve(&pair);
        let attempt = async |config, name: &str| {
            let mut connection = Connection::connect(address, LIMIT).await.unwrap();
            connection.read_with(<[u8]>::len).await.unwrap();
            connection.write_all(b"STARTTLS\r\n").await.unwrap();
            connection.read_with(<[u8]>::len).await.unwrap();
            let name = ServerName::try_from(name.to_string()).unwrap();
            connection
                .start_client_tls(config, name, LIMIT)
                .await
                .unwrap_err()
        };
        for (certificate, name) in [
            (&other.certificate, "mx.example"),
            (&pair.certificate, "other.example"),
        ] {
            let error = attempt(trusting(certificate), name).await;
            let error = tls_error(&error).unwrap_or_else(|| panic!("{error}"));
            assert!(
                matches!(error, rustls::Error::InvalidCertificate(_)),
                "{error}"
            );
        }
        // Nobody listens there; and one that says nothing to a ClientHello.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = listener.local_addr().unwrap();
        let mut connection = Connection::connect(silent, LIMIT).await.unwrap();
        let name = ServerName::try_from("mx.example").unwrap();
        let limit = Duration::from_millis(50);
        let error = connection
            .start_client_tls(trusting(&pair.certificate), name, limit)
            .await;
        assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        drop(listener);
        let error = Connection::connect(silent, LIMIT).await.err().unwrap();
        assert!(tls_error(&error).is_none(), "{error}");
    })
    .unwrap();
}
