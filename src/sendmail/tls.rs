//! TLS towards the submission server: whom to trust, what to show, what a login may be bound to.
//! The server is not trusted until its certificate is verified, by an authority or by its fingerprint.
//! RFC 8314 3 and 4 (certificates are verified), RFC 6125 by way of rustls, RFC 9266 and 5929 (channel bindings), RFC 8410 (Ed25519 keys).
//! Not here: sockets (`socket.rs`), the server's own side (`shards/src/tls.rs`).

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion, RootCertStore,
    SignatureScheme, StreamOwned,
};
use sasl::ChannelBindings;

use super::exit::{Exit, Failure};
use super::socket::{Socket, words};
use crate::settings::Sendmail;
use crate::settings::machine::SYSTEM_BUNDLES;
use crate::settings::sendmail::CertificateFingerprint;

/// Everything a handshake needs, read from the files that the settings name.
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    seen: Arc<Seen>,
}

/// A protected connection.
pub type TlsStream = StreamOwned<ClientConnection, Socket>;

impl Tls {
    /// Reads certificates and keys.
    pub fn new(settings: &Sendmail) -> Result<Tls, Failure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = match settings.fingerprint {
            Some(fingerprint) => Trust::Fingerprint(fingerprint),
            None => Trust::Authorities(authorities(settings, &provider)?),
        };
        let seen = Arc::new(Seen {
            trust,
            certificate: Mutex::new(None),
            provider: provider.clone(),
        });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map_err(|e| Failure::new(Exit::Config, e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(seen.clone());
        let config = match identity(settings)? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|e| {
                Failure::new(Exit::Config, format!("client_cert and client_key: {e}"))
            })?,
        };
        let name = ServerName::try_from(settings.host.as_str().to_owned())
            .map_err(|e| Failure::new(Exit::Config, format!("host: {e}")))?;
        Ok(Tls {
            config: Arc::new(config),
            name,
            seen,
        })
    }

    /// Shakes hands.
    pub fn connect(&self, socket: Socket) -> Result<Box<TlsStream>, Failure> {
        let failed = |text: String| Failure::new(Exit::TempFail, text);
        let connection = ClientConnection::new(self.config.clone(), self.name.clone())
            .map_err(|e| failed(e.to_string()))?;
        let mut stream = Box::new(StreamOwned::new(connection, socket));
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .map_err(|error| failed(self.explain(&error)))?;
        }
        Ok(stream)
    }

    fn explain(&self, error: &io::Error) -> String {
        let inner = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        let untrusted = matches!(inner, Some(rustls::Error::InvalidCertificate(_)));
        let seen = self.seen.certificate.lock().ok().and_then(|s| s.clone());
        match (inner, seen) {
            (Some(reason), Some(certificate)) if untrusted => format!(
                "the server's certificate is not trusted ({reason}). If it is the right one, name its authority with ca_file, or itself with fingerprint = \"{}\"",
                fingerprint(&certificate)
            ),
            (Some(reason), _) => format!("TLS: {reason}"),
            _ if error.kind() == ErrorKind::InvalidData => format!("TLS: {error}"),
            _ => format!("TLS: {}", words(error)),
        }
    }
}

/// What a login may be bound to.
pub fn bindings(stream: &TlsStream) -> ChannelBindings {
    let connection = &stream.conn;
    // RFC 9266 3: in TLS 1.2 the exporter is unique only with the extended master secret, of which rustls says nothing here.
    let is_13 = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    let export = || {
        let buffer = vec![0; sasl::EXPORTER_LENGTH];
        connection
            .export_keying_material(buffer, sasl::EXPORTER_LABEL, Some(b""))
            .ok()
    };
    let certificate = connection.peer_certificates().and_then(|c| c.first());
    ChannelBindings {
        exporter: if is_13 { export() } else { None },
        server_end_point: certificate.and_then(|c| sasl::server_end_point(c)),
    }
}

fn fingerprint(certificate: &[u8]) -> CertificateFingerprint {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest(&SHA256, certificate).as_ref());
    CertificateFingerprint(octets)
}

#[derive(Debug)]
enum Trust {
    Authorities(Arc<WebPkiServerVerifier>),
    Fingerprint(CertificateFingerprint),
}

/// Verifies the server, and remembers what it showed, for the error.
#[derive(Debug)]
struct Seen {
    trust: Trust,
    certificate: Mutex<Option<Vec<u8>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut seen) = self.certificate.lock() {
            *seen = Some(end_entity.to_vec());
        }
        match &self.trust {
            Trust::Authorities(verifier) => {
                verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
            }
            Trust::Fingerprint(expected) if *expected == fingerprint(end_entity) => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::Fingerprint(_) => Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::ApplicationVerificationFailure,
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn authorities(
    settings: &Sendmail,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Failure> {
    let wrong = |text: String| Failure::new(Exit::Config, text);
    let roots = match &settings.ca_file {
        Some(path) => roots_of(path)?,
        None => {
            let bundles = SYSTEM_BUNDLES.iter().map(Path::new);
            let found = bundles.into_iter().find(|path| path.exists());
            roots_of(found.ok_or_else(|| {
                wrong("this machine has no list of certificate authorities: install ca-certificates, or set ca_file".into())
            })?)?
        }
    };
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| wrong(e.to_string()))
}

fn roots_of(path: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    // A bundle may hold one that rustls does not take; the others count.
    roots.add_parsable_certificates(certificates(path)?);
    match roots.is_empty() {
        true => Err(unusable(path, "no certificate in it that can be used")),
        false => Ok(roots),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|e| unusable(path, e))?;
    match found.is_empty() {
        true => Err(unusable(path, "no certificate in it")),
        false => Ok(found),
    }
}

fn unusable(path: &Path, what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Config, format!("{}: {what}", path.display()))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What we show the server.
fn identity(settings: &Sendmail) -> Result<Option<Identity>, Failure> {
    let Some(path) = &settings.client_key else {
        return Ok(None);
    };
    let key = PrivateKeyDer::from_pem_file(path).map_err(|e| unusable(path, e))?;
    let chain = match &settings.client_cert {
        Some(path) => certificates(path)?,
        None => vec![carrier(path, &key)?],
    };
    Ok(Some((chain, key)))
}

/// A certificate that only carries the key: the server looks at nothing else in it.
fn carrier(path: &Path, key: &PrivateKeyDer<'_>) -> Result<CertificateDer<'static>, Failure> {
    let wrong = |e: rcgen::Error| unusable(path, format!("no certificate can be made of it: {e}"));
    let pair = KeyPair::try_from(key).map_err(wrong)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(wrong)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "ringmail sendmail");
    let certificate = params.self_signed(&pair).map_err(wrong)?;
    Ok(certificate.der().clone())
}
