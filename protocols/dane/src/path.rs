//! Paths from a server's certificate to trust anchors, by webpki, and why there is none, in the words of TLS reports (RFC 8460 4.3.1).

use rustls::pki_types::{CertificateDer, DnsName, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use crate::limits::CHAIN_MAX;

/// What is wrong with a certificate or its path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFailure {
    /// One on the path has expired.
    #[error("the certificate has expired")]
    Expired,
    /// One on the path is not valid yet.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// The server's has none of the names.
    #[error("the certificate is not for this host")]
    HostMismatch,
    /// No anchor signed it.
    #[error("the certificate has no trusted issuer")]
    UnknownIssuer,
    /// The server showed none, or what is none.
    #[error("the certificate cannot be read")]
    Malformed,
    /// Anything else, with the word for it.
    #[error("the certificate is not trusted: {0}")]
    NotTrusted(String),
}

impl CertificateFailure {
    /// The `result-type` of RFC 8460 4.3.1.
    pub fn result_type(&self) -> &'static str {
        match self {
            CertificateFailure::Expired => "certificate-expired",
            CertificateFailure::HostMismatch => "certificate-host-mismatch",
            _ => "certificate-not-trusted",
        }
    }

    /// The `failure-reason-code`.
    pub fn reason(&self) -> String {
        match self {
            CertificateFailure::Expired => "expired".into(),
            CertificateFailure::NotYetValid => "not-yet-valid".into(),
            CertificateFailure::HostMismatch => "host-mismatch".into(),
            CertificateFailure::UnknownIssuer => "unknown-issuer".into(),
            CertificateFailure::Malformed => "malformed-certificate".into(),
            CertificateFailure::NotTrusted(word) => word.clone(),
        }
    }
}

impl From<webpki::Error> for CertificateFailure {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error;
        match error {
            Error::CertExpired { .. } => CertificateFailure::Expired,
            Error::CertNotValidYet { .. } => CertificateFailure::NotYetValid,
            Error::CertNotValidForName(_) => CertificateFailure::HostMismatch,
            Error::UnknownIssuer => CertificateFailure::UnknownIssuer,
            Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => {
                CertificateFailure::Malformed
            }
            // The variant's name, without what it holds of the peer's.
            error => {
                let text = format!("{error:?}");
                let end = text.find(|c: char| !c.is_ascii_alphanumeric());
                CertificateFailure::NotTrusted(text[..end.unwrap_or(text.len())].to_owned())
            }
        }
    }
}

/// The server's certificate and what else it showed, within bounds.
pub(crate) fn split<'a, 'b>(
    chain: &'a [CertificateDer<'b>],
) -> Result<(&'a CertificateDer<'b>, &'a [CertificateDer<'b>]), CertificateFailure> {
    let chain = &chain[..chain.len().min(CHAIN_MAX)];
    chain.split_first().ok_or(CertificateFailure::Malformed)
}

/// Called for a path that is valid otherwise.
pub(crate) type PathCheck<'a> = &'a dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error>;

/// Looks for a path that `check` accepts too, and gives what `found` makes of it. Signatures, times, constraints of all but the anchor.
pub(crate) fn find<T>(
    chain: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    now: UnixTime,
    check: Option<PathCheck<'_>>,
    found: impl FnOnce(&VerifiedPath<'_>) -> T,
) -> Result<T, CertificateFailure> {
    let (certificate, others) = split(chain)?;
    let certificate = EndEntityCert::try_from(certificate)?;
    let path = certificate.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        anchors,
        others,
        now,
        KeyUsage::server_auth(),
        None,
        check,
    )?;
    Ok(found(&path))
}

/// The server's certificate is for one of the names: DNS-IDs, with `*` for one label (RFC 7672 3.2.3). RFC 7672 also has the common name
/// of the subject considered where there is no DNS-ID; RFC 9525 has ended that, and the constraints of a CA do not reach it.
pub(crate) fn check_names(
    chain: &[CertificateDer<'_>],
    names: &[DnsName<'_>],
) -> Result<(), CertificateFailure> {
    let certificate = EndEntityCert::try_from(split(chain)?.0)?;
    let is_named = names.iter().any(|name| {
        let name = ServerName::DnsName(name.borrow());
        certificate.verify_is_valid_for_subject_name(&name).is_ok()
    });
    is_named
        .then_some(())
        .ok_or(CertificateFailure::HostMismatch)
}
