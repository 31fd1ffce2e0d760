//! The certificate verifier of one outgoing TLS connection, for rustls: what must hold by the policy, and what holds besides, for reports.
//! Called by rustls in the handshake; the caller reads the [`Verdict`] afterwards, also of a handshake that failed.
//!
//! The signature of the handshake is always verified: the server holds the key of the certificate it shows. Under [`Policy::Opportunistic`]
//! that is all, so also certificates pass that cannot be trusted in any way (version 1, extensions nobody knows): TLS with them is more than
//! none (RFC 7435). RFC 7672, RFC 8461 4.2, RFC 9325 3.1.1 (TLS 1.2 at least).

use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, DnsName, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};
use webpki::RawPublicKeyEntity;

use crate::certificate::Certificate;
use crate::path::{self, CertificateFailure};
use crate::verify::{DaneError, Matched, UsableRecords, verify};

/// What a connection must hold to.
#[derive(Debug, Clone)]
pub enum Policy {
    /// Any certificate.
    Opportunistic,
    /// A path to one of the roots, and this name: MTA-STS in mode enforce with the name of the MX host, and smart hosts.
    Pkix {
        /// The reference name.
        name: DnsName<'static>,
    },
    /// The records.
    Dane {
        /// What was found, of the usages of SMTP.
        records: UsableRecords,
        /// The reference names, see [`verify`].
        names: Vec<DnsName<'static>>,
    },
}

/// What was found out about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is valid by the roots, for the name of the policy or else the name the connection was opened with.
    pub pkix: Result<(), CertificateFailure>,
    /// Whether it is the records'. None without [`Policy::Dane`].
    pub dane: Option<Result<Matched, DaneError>>,
}

impl Verdict {
    /// What is wrong by the policy, in the words of RFC 8460 4.3: result type and reason. Without records it is what is wrong by the roots.
    pub fn failure(&self) -> Option<(&'static str, String)> {
        match (&self.dane, &self.pkix) {
            (Some(Ok(_)), _) | (None, Ok(())) => None,
            (Some(Err(error)), _) => Some((error.result_type(), error.reason())),
            (None, Err(failure)) => Some((failure.result_type(), failure.reason())),
        }
    }
}

/// Where the verdict will be: None as long as no certificate was seen.
///
/// rustls shares verifiers between threads, so this cell is one for threads, though one core alone uses it.
#[derive(Debug, Clone, Default)]
pub struct VerdictCell(Arc<OnceLock<Verdict>>);

impl VerdictCell {
    /// The verdict, if the server has shown a certificate.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.0.get()
    }
}

/// The verifier of one connection.
#[derive(Debug)]
pub struct Verifier {
    policy: Policy,
    is_enforced: bool,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    cell: VerdictCell,
}

impl Verifier {
    /// For one connection: the verdict in `cell` is that of the first certificate.
    pub fn new(policy: Policy, roots: Arc<RootCertStore>, cell: VerdictCell) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Verifier {
            policy,
            is_enforced: true,
            roots,
            provider,
            cell,
        }
    }

    /// The policy is judged and remembered, but any certificate passes: MTA-STS in testing (RFC 8461 5), and messages with `TLS-Required: No`
    /// (RFC 8689 5).
    pub fn reporting_only(mut self) -> Self {
        self.is_enforced = false;
        self
    }

    /// A configuration with this verifier: TLS 1.2 at least, no client certificate, and no resumption, for a resumed session shows no
    /// certificate and would pass without a verdict.
    pub fn into_config(self) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        opened: &ServerName<'_>,
        now: UnixTime,
    ) -> Verdict {
        let name = match (&self.policy, opened) {
            (Policy::Pkix { name }, _) => Some(name.borrow()),
            (_, ServerName::DnsName(name)) => Some(name.borrow()),
            _ => None,
        };
        let pkix = path::find(chain, &self.roots.roots, now, None, |_| ())
            .and_then(|()| path::check_names(chain, name.as_slice()));
        let dane = match &self.policy {
            Policy::Dane { records, names } => Some(verify(records, chain, names, now)),
            Policy::Opportunistic | Policy::Pkix { .. } => None,
        };
        Verdict { pkix, dane }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(end_entity)
            .chain(intermediates)
            .take(crate::limits::CHAIN_MAX)
            .cloned()
            .collect();
        let verdict = self.judge(&chain, server_name, now);
        let result = match (&self.policy, &verdict.dane) {
            _ if !self.is_enforced => Ok(()),
            (Policy::Opportunistic, _) => Ok(()),
            (Policy::Pkix { .. }, _) => verdict.pkix.as_ref().copied().map_err(alert),
            (Policy::Dane { .. }, Some(dane)) => dane.as_ref().map(|_| ()).map_err(|e| match e {
                DaneError::NoMatch => CertificateError::ApplicationVerificationFailure,
                DaneError::Certificate(failure) => alert(failure),
            }),
            (Policy::Dane { .. }, None) => Err(CertificateError::ApplicationVerificationFailure),
        };
        // A second certificate in one connection would be a renegotiation, which rustls does not do.
        let _ = self.cell.0.set(verdict);
        result
            .map(|()| ServerCertVerified::assertion())
            .map_err(Error::from)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(cert)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        let schemes = self.provider.signature_verification_algorithms.mapping;
        let (_, algorithms) = schemes
            .iter()
            .find(|(scheme, _)| *scheme == dss.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // RFC 5246 7.4.1.4.1: in TLS 1.2 a scheme does not say the curve, so there are several algorithms.
        let is_valid = algorithms.iter().any(|algorithm| {
            key.verify_signature(*algorithm, message, dss.signature())
                .is_ok()
        });
        if is_valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &public_key(cert)?, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A handshake that failed, in the words of RFC 8460: result type and reason. Where the certificate is at fault, [`Verdict::failure`] says more.
pub fn handshake_failure(error: &Error) -> (&'static str, String) {
    let reason = match error {
        Error::AlertReceived(alert) => {
            let number = u8::from(*alert);
            format!("tls-remote-alert-{number}-{}", kebab(&format!("{alert:?}")))
        }
        error => format!("tls-local-{}", kebab(&format!("{error:?}"))),
    };
    ("validation-failure", reason)
}

/// `HandshakeFailure` as `handshake-failure`; only the name of a variant, nothing of what it holds.
fn kebab(name: &str) -> String {
    let mut words = String::new();
    let mut after_small = false;
    for letter in name.chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && after_small {
            words.push('-');
        }
        after_small = letter.is_ascii_lowercase();
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let certificate = Certificate::parse(certificate).ok_or(CertificateError::BadEncoding)?;
    Ok(certificate.public_key.to_vec().into())
}

/// What the server is told.
fn alert(failure: &CertificateFailure) -> CertificateError {
    match failure {
        CertificateFailure::Expired => CertificateError::Expired,
        CertificateFailure::NotYetValid => CertificateError::NotValidYet,
        CertificateFailure::HostMismatch => CertificateError::NotValidForName,
        CertificateFailure::UnknownIssuer => CertificateError::UnknownIssuer,
        CertificateFailure::Malformed => CertificateError::BadEncoding,
        CertificateFailure::NotTrusted(_) => CertificateError::ApplicationVerificationFailure,
    }
}
