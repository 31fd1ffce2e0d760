//! TLS towards a server that our settings name (a smarthost, a submission server): whom to trust, what to show, what a login may be bound to.
//! Called by `sendmail/` and `outbound/`. The server is not trusted until its certificate is verified, by an authority or by its fingerprint.
//! RFC 8314 3 and 4 (certificates are verified), RFC 6125 by way of rustls, RFC 9266 and 5929 (channel bindings), RFC 8410 (Ed25519 keys).
//! Not here: servers that MX records name (`dane::tls`), sockets, the server's own side (`shards/src/tls.rs`).

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError,
    ProtocolVersion, RootCertStore, SignatureScheme,
};
use sasl::{ChannelBindings, Secret};

use crate::settings::machine::{read_authorities, read_client_secret};
use crate::settings::sendmail::CertificateFingerprint;
use crate::settings::{SmarthostTls, Transport};

/// Whom to trust and what to show, as settings say it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Authorities instead of the machine's.
    pub ca_file: Option<&'a Path>,
    /// The one certificate, whoever signed it.
    pub fingerprint: Option<CertificateFingerprint>,
    /// Any certificate will do.
    pub anybody: bool,
    /// A certificate of ours.
    pub client_cert: Option<&'a Path>,
    /// Its key; alone, a certificate is made of it.
    pub client_key: Option<&'a Path>,
}

/// What is wrong: the setting, and why.
pub type Wrong = (&'static str, String);

/// Reads the files and makes a configuration of them (blocking).
pub fn config(wanted: Wanted<'_>) -> Result<Arc<ClientConfig>, Wrong> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = match wanted.fingerprint {
        Some(fingerprint) => Trust::Fingerprint(fingerprint),
        None if wanted.anybody => Trust::Anybody,
        None => Trust::Authorities(authorities(wanted.ca_file, &provider)?),
    };
    let verifier = Verifier {
        trust,
        provider: provider.clone(),
    };
    let mistake = |e: rustls::Error| ("client_key", format!("client_cert and client_key: {e}"));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(mistake)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match identity(wanted.client_cert, wanted.client_key)? {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(mistake)?,
    };
    Ok(Arc::new(config))
}

/// A transport, with what its files come to: one with the other, or a password would go to a server that it is not for.
#[derive(Clone)]
pub struct Files {
    /// As the settings have it.
    pub transport: Transport,
    /// How to shake hands; none: no TLS at all.
    pub tls: Option<Arc<ClientConfig>>,
    /// For the login.
    pub password: Option<Secret>,
    /// For the login at the proxy.
    pub proxy_password: Option<Secret>,
}

impl Files {
    /// Reads them (blocking).
    pub fn of(transport: &Transport) -> Result<Files, Wrong> {
        let proxy_password = transport.proxy_password_file.as_deref();
        let proxy_password = proxy_password.map(read_client_secret).transpose();
        let proxy_password = proxy_password.map_err(|error| ("proxy_password_file", error))?;
        if transport.kind() != crate::settings::TransportKind::Smarthost {
            return Ok(Files {
                transport: transport.clone(),
                tls: None,
                password: None,
                proxy_password,
            });
        }
        let password = transport.password_file.as_deref();
        let password = password.map(read_client_secret).transpose();
        let wanted = Wanted {
            ca_file: transport.ca_file.as_deref(),
            fingerprint: transport.fingerprint,
            anybody: transport.tls == SmarthostTls::Opportunistic,
            client_cert: transport.client_cert.as_deref(),
            client_key: transport.client_key.as_deref(),
        };
        Ok(Files {
            transport: transport.clone(),
            tls: match transport.tls {
                SmarthostTls::None => None,
                _ => Some(config(wanted)?),
            },
            password: password.map_err(|error| ("password_file", error))?,
            proxy_password,
        })
    }
}

/// What a login may be bound to.
pub fn bindings(connection: &ClientConnection) -> ChannelBindings {
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
    Anybody,
}

/// Verifies the server; its errors say what to do.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

/// A certificate that is not trusted.
#[derive(Debug)]
struct Untrusted {
    reason: String,
    certificate: CertificateFingerprint,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server's certificate is not trusted ({}). If it is the right one, name its authority with ca_file, or itself with fingerprint = \"{}\"",
            self.reason, self.certificate
        )
    }
}

impl Error for Untrusted {}

/// An error of TLS in words.
pub fn explain(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.to_string()
        }
        error => format!("TLS: {error}"),
    }
}

fn untrusted(reason: String, certificate: &[u8]) -> rustls::Error {
    let untrusted = Untrusted {
        reason,
        certificate: fingerprint(certificate),
    };
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted))))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Authorities(verifier) => verifier
                .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
                .map_err(|error| untrusted(error.to_string(), end_entity)),
            Trust::Fingerprint(expected) if *expected != fingerprint(end_entity) => {
                Err(untrusted("it has another fingerprint".into(), end_entity))
            }
            Trust::Fingerprint(_) | Trust::Anybody => Ok(ServerCertVerified::assertion()),
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

/// The authorities in a file, or those of the machine (blocking).
pub fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // A bundle may hold one that rustls does not take; the others count.
    roots.add_parsable_certificates(read_authorities(ca_file)?);
    match (roots.is_empty(), ca_file) {
        (false, _) => Ok(roots),
        (true, Some(path)) => Err(format!(
            "{}: no certificate in it that can be used",
            path.display()
        )),
        (true, None) => Err("none of the machine's certificate authorities can be used".to_owned()),
    }
}

fn authorities(
    ca_file: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Wrong> {
    let roots = roots(ca_file).map_err(|error| ("ca_file", error))?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| ("ca_file", e.to_string()))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What we show the server.
fn identity(cert: Option<&Path>, key: Option<&Path>) -> Result<Option<Identity>, Wrong> {
    let Some(path) = key else {
        return Ok(None);
    };
    let key = PrivateKeyDer::from_pem_file(path).map_err(|e| unusable("client_key", path, e))?;
    let chain = match cert {
        Some(path) => {
            let found = CertificateDer::pem_file_iter(path)
                .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
                .map_err(|e| unusable("client_cert", path, e))?;
            if found.is_empty() {
                return Err(unusable("client_cert", path, "no certificate in it"));
            }
            found
        }
        None => vec![carrier(path, &key)?],
    };
    Ok(Some((chain, key)))
}

/// A certificate that only carries the key: the server looks at nothing else in it.
fn carrier(path: &Path, key: &PrivateKeyDer<'_>) -> Result<CertificateDer<'static>, Wrong> {
    let wrong = |e: rcgen::Error| {
        unusable(
            "client_key",
            path,
            format!("no certificate can be made of it: {e}"),
        )
    };
    let pair = KeyPair::try_from(key).map_err(wrong)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(wrong)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "ringmail");
    let certificate = params.self_signed(&pair).map_err(wrong)?;
    Ok(certificate.der().clone())
}

fn unusable(field: &'static str, path: &Path, what: impl fmt::Display) -> Wrong {
    (field, format!("{}: {what}", path.display()))
}
