//! An authority of the test's own, and an HTTPS server with a certificate of it: a host of policies of MTA-STS.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::tls::pem;

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "test authority");
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Authority {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    /// Writes its certificate for `ca_file`.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, pem("CERTIFICATE", &self.certificate)).unwrap();
    }

    /// A server's side of TLS with a certificate for the names.
    pub fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.server_as(names, |_| ())
    }

    /// The same with one that ended long ago.
    pub fn expired(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.server_as(names, |params| {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        })
    }

    fn server_as(
        &self,
        names: &[&str],
        change: impl Fn(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }
}

/// Answers each request with what it is given, octet for octet, one connection at a time. What the requests were is kept.
#[derive(Clone)]
pub struct PolicyHost {
    pub port: u16,
    answer: Arc<Mutex<String>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl PolicyHost {
    pub fn start(config: Arc<ServerConfig>) -> PolicyHost {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = PolicyHost {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::default(),
            heard: Arc::default(),
        };
        let served = host.clone();
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                socket
                    .set_read_timeout(Some(Duration::from_secs(60)))
                    .unwrap();
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = BufReader::new(StreamOwned::new(connection, socket));
                let mut request = String::new();
                // Who does not like the certificate goes.
                while !request.ends_with("\r\n\r\n")
                    && stream.read_line(&mut request).is_ok_and(|read| read > 0)
                {}
                if !request.is_empty() {
                    served.heard.lock().unwrap().push(request);
                }
                let answer = served.answer.lock().unwrap().clone();
                let _ = stream.get_mut().write_all(answer.as_bytes());
                stream.get_mut().conn.send_close_notify();
                let _ = stream.get_mut().flush();
            }
        });
        host
    }

    /// Answers with a policy from now on.
    pub fn policy(&self, text: &str) {
        let length = text.len();
        self.raw(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{text}"
        ));
    }

    /// Answers so from now on.
    pub fn raw(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.to_string();
    }

    pub fn requests(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}
