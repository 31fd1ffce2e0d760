//! TLS configurations and certificates: our own, chosen by name, and those that clients show. Connections are in `net`.
//!
//! A client's certificate is a carrier of its key: no authority, date or name in it is looked at (design of the logins, docs/rfc.md).
//! RFC 6066 3 (SNI), RFC 7301 (ALPN), RFC 8446 4.4.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ring::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, PrivateKeyDer, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, UnixTime, alg_id,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, PeerMisbehaved, SignatureScheme,
};
use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

pub use rustls::{ClientConfig, ServerConfig};

/// Why a certificate or key was not taken; says which file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file could not be read as PEM.
    #[error("{path}: {what}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The two do not fit together, or rustls refuses them.
    #[error("{certificate} with {key}: {what}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// The oldest version of TLS that a server takes. RFC 8996: none before 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldestTls {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl OldestTls {
    fn and_newer(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        match self {
            OldestTls::V1_2 => rustls::ALL_VERSIONS,
            OldestTls::V1_3 => {
                static NEWEST: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
                &NEWEST
            }
        }
    }
}

/// Configurations of one listener; sessions of one are not resumed with the other.
#[derive(Clone)]
pub struct ListenerTls {
    /// Asks for no certificate.
    pub anonymous: Arc<ServerConfig>,
    /// Asks clients for a certificate, and takes any or none.
    pub asking: Arc<ServerConfig>,
    /// For HTTP: asks for no certificate, and the client chooses the version. RFC 7301 3.2: one that names others alone is refused; one
    /// that names none speaks HTTP/1.1.
    pub web: Arc<ServerConfig>,
}

/// Reads pairs of (certificate chain, private key) PEM files into a server's configuration; the certificate is chosen by SNI, the
/// first one when no name fits. Blocking.
pub fn load_tls(pairs: &[(PathBuf, PathBuf)], oldest: OldestTls) -> Result<ListenerTls, TlsError> {
    let mut keys = Vec::new();
    for (certificate, key) in pairs {
        keys.push(certified_key(certificate, key)?);
    }
    let other = |what: String| TlsError::File {
        path: PathBuf::new(),
        what,
    };
    let resolver =
        BySni::new(keys).ok_or_else(|| other("no certificate is configured".to_string()))?;
    let resolver = Arc::new(resolver);
    let builder = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(oldest.and_newer())
            .map_err(|e| other(e.to_string()))
    };
    let anonymous = builder()?.with_no_client_auth();
    let asking = builder()?.with_client_cert_verifier(Arc::new(AnyKey::new()));
    let web = builder()?.with_no_client_auth();
    let mut web = web.with_cert_resolver(resolver.clone());
    web.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
    Ok(ListenerTls {
        anonymous: Arc::new(anonymous.with_cert_resolver(resolver.clone())),
        asking: Arc::new(asking.with_cert_resolver(resolver)),
        web: Arc::new(web),
    })
}

/// RFC 9113 3.1.
pub const HTTP_2: &[u8] = b"h2";
/// RFC 7301 6.
const HTTP_1_1: &[u8] = b"http/1.1";

fn certified_key(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let bad = |path: &Path, e: pem::Error| TlsError::File {
        path: path.to_path_buf(),
        what: match e {
            pem::Error::Io(e) => e.to_string(),
            pem::Error::NoItemsFound => "no private key in it".to_string(),
            e => e.to_string(),
        },
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .map_err(|e| bad(certificate, e))?
        .collect::<Result<_, _>>()
        .map_err(|e| bad(certificate, e))?;
    if chain.is_empty() {
        return Err(TlsError::File {
            path: certificate.to_path_buf(),
            what: "no certificate in it".into(),
        });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(key, e))?;
    CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider()).map_err(|e| {
        TlsError::Pair {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
            what: match e {
                rustls::Error::InconsistentKeys(_) => {
                    "the key is not that of the certificate".to_string()
                }
                e => e.to_string(),
            },
        }
    })
}

/// RFC 6066 3: an unknown name is answered with the default certificate; refusing it would cost more mail than it protects.
#[derive(Debug)]
struct BySni {
    by_name: rustls::server::ResolvesServerCertUsingSni,
    default: Arc<CertifiedKey>,
}

impl BySni {
    fn new(keys: Vec<CertifiedKey>) -> Option<BySni> {
        let default = Arc::new(keys.first()?.clone());
        let mut by_name = rustls::server::ResolvesServerCertUsingSni::new();
        for key in &keys {
            for name in names_of(key) {
                let _ = by_name.add(&name, key.clone());
            }
        }
        Some(BySni { by_name, default })
    }
}

/// The DNS names of a certificate that SNI can ask for. RFC 5280 4.2.1.6.
fn names_of(key: &CertifiedKey) -> Vec<String> {
    let Some((_, certificate)) = key
        .cert
        .first()
        .and_then(|c| X509Certificate::from_der(c).ok())
    else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(all) = extension.parsed_extension() {
            names.extend(all.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) if !name.starts_with('*') => Some((*name).to_string()),
                _ => None,
            }));
        }
    }
    names
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.by_name
            .resolve(hello)
            .or_else(|| Some(self.default.clone()))
    }
}

/// Which certificate a handshake was answered with: rustls does not tell.
#[derive(Clone)]
pub(crate) struct ChosenCertificate {
    pub(crate) config: Arc<ServerConfig>,
    key: Arc<OnceLock<Arc<CertifiedKey>>>,
}

impl ChosenCertificate {
    /// The configuration for one handshake. Sessions are kept with those of `config`.
    pub(crate) fn watched(config: &Arc<ServerConfig>) -> (Arc<ServerConfig>, ChosenCertificate) {
        let key = Arc::new(OnceLock::new());
        let mut watched = ServerConfig::clone(config);
        watched.cert_resolver = Arc::new(Watching {
            resolver: config.cert_resolver.clone(),
            key: key.clone(),
        });
        let chosen = ChosenCertificate {
            config: config.clone(),
            key,
        };
        (Arc::new(watched), chosen)
    }

    /// DER.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        self.key.get()?.cert.first().map(|c| c.as_ref())
    }
}

#[derive(Debug)]
struct Watching {
    resolver: Arc<dyn ResolvesServerCert>,
    key: Arc<OnceLock<Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Watching {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.resolver.resolve(hello)?;
        // After a HelloRetryRequest it is asked again, and answers the same.
        let _ = self.key.set(key.clone());
        Some(key)
    }
}

/// The public key of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey {
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub fingerprint: [u8; 32],
    /// `ed25519`, `ecdsa-p256`, `ecdsa-p384`, `rsa-2048` and so on.
    pub kind: String,
}

/// Why a certificate can't identify anybody.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum ClientKeyError {
    /// Not X.509, at least up to its key.
    #[error("this is no X.509 certificate; make one with ringmail config tlspubkey gen")]
    Certificate,
    /// Of another kind or size, or not written as usual.
    #[error(
        "its key is {0}, or written in an unusual way, and no signature can be checked with it; known are RSA from 2048 to 8192 bits, ECDSA on P-256 or P-384, and Ed25519"
    )]
    Kind(String),
}

impl ClientKey {
    /// The key of a DER certificate, if it is one whose possession a handshake proves: [`AnyKey`] checks the signatures of these alone.
    pub fn of(certificate: &[u8]) -> Result<ClientKey, ClientKeyError> {
        let (key, kind) = known_key(certificate)?;
        let fingerprint = digest::digest(&digest::SHA256, key.raw);
        let mut octets = [0; 32];
        octets.copy_from_slice(fingerprint.as_ref());
        Ok(ClientKey {
            fingerprint: octets,
            kind,
        })
    }
}

/// The key of a DER certificate, and its kind. Handshakes are checked with this one and no other.
fn known_key(certificate: &[u8]) -> Result<(SubjectPublicKeyInfo<'_>, String), ClientKeyError> {
    let key = key_of(certificate).ok_or(ClientKeyError::Certificate)?;
    let kind = kind_of(&key).map_err(ClientKeyError::Kind)?;
    Ok((key, kind))
}

/// The key in a DER certificate of any version, whatever else is in it.
///
/// ```text
/// RFC 5280 4.1   Certificate    ::= SEQUENCE { tbsCertificate, .. }
///                TBSCertificate ::= SEQUENCE { [0] version DEFAULT v1, serialNumber, signature, issuer, validity, subject,
///                                              subjectPublicKeyInfo, .. }
/// ```
fn key_of(certificate: &[u8]) -> Option<SubjectPublicKeyInfo<'_>> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_version, after)) = element(rest, CONTEXT_0) {
        rest = after;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        (_, rest) = element(rest, tag)?;
    }
    // Nothing but these two: rustls takes no other either.
    let (info, after) = element(rest, SEQUENCE)?;
    let (_algorithm, key) = element(info, SEQUENCE)?;
    let (_, end) = element(key, BIT_STRING)?;
    let raw = &rest[..rest.len() - after.len()];
    let (_, key) = SubjectPublicKeyInfo::from_der(raw).ok()?;
    end.is_empty().then_some(key)
}

/// The content of the DER element at the start, and what follows it. X.690 10.1: lengths are as short as can be.
fn element(octets: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = octets.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&[length], rest) = rest.split_first_chunk()?;
            (usize::from(length).checked_sub(0x80)? + 0x80, rest)
        }
        // A certificate of more than 64 KiB is none.
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes(*length));
            (length.checked_sub(0x100)? + 0x100, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;

/// The first certificate of a PEM text, DER.
pub fn certificate_from_pem(text: &[u8]) -> Option<Vec<u8>> {
    let first = CertificateDer::pem_slice_iter(text).next()?;
    first.ok().map(|c| c.as_ref().to_vec())
}

/// What a certificate calls its subject.
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_string())
}

/// Its serial number, in hex. RFC 5280 4.1.2.2.
pub fn serial_number(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let octets = parsed.raw_serial().iter();
    Some(octets.map(|octet| format!("{octet:02x}")).collect())
}

/// The kind of a key, or of one that ring can't check a signature with: what is an error there must be one here, or the handshake breaks.
fn kind_of(key: &SubjectPublicKeyInfo<'_>) -> Result<String, String> {
    // webpki compares them octet by octet: parameters that are missing or too many make another algorithm.
    let identifier = algorithm_identifier(key.raw).unwrap_or_default();
    let octets = key.subject_public_key.data.as_ref();
    let is = |known: AlgorithmIdentifier| identifier == known.as_ref();
    let (kind, usable) = if is(alg_id::RSA_ENCRYPTION) {
        let (bits, exponent) = rsa_numbers(key).unwrap_or_default();
        // RFC 8017 3.1: e is odd and at least 3; ring takes 33 bits of it.
        let usable = (2048..=8192).contains(&bits) && exponent % 2 == 1 && exponent >= 3;
        (format!("rsa-{bits}"), usable && exponent < 1 << 33)
    } else if is(alg_id::ECDSA_P256) {
        ("ecdsa-p256".to_string(), is_uncompressed(octets, 32))
    } else if is(alg_id::ECDSA_P384) {
        ("ecdsa-p384".to_string(), is_uncompressed(octets, 48))
    } else if is(alg_id::ED25519) {
        ("ed25519".to_string(), octets.len() == 32)
    } else if let Ok(PublicKey::EC(_)) = key.parsed() {
        let parameters = key.algorithm.parameters.as_ref();
        let name = parameters.filter(|p| p.header.tag() == Tag::Oid);
        let curve = name.and_then(|p| p.as_oid().ok());
        let curve = curve.map_or("?".to_string(), |curve| curve.to_id_string());
        (format!("ecdsa-{curve}"), false)
    } else {
        (key.algorithm.algorithm.to_id_string(), false)
    };
    match usable && key.subject_public_key.unused_bits == 0 {
        true => Ok(kind),
        false => Err(kind),
    }
}

/// The content of the AlgorithmIdentifier in a DER SubjectPublicKeyInfo. RFC 5280 4.1.
fn algorithm_identifier(info: &[u8]) -> Option<&[u8]> {
    let (outer, _) = element(info, SEQUENCE)?;
    let (identifier, _) = element(outer, SEQUENCE)?;
    Some(identifier)
}

/// The number of bits of the modulus, and the exponent, if that has 64 bits at most.
fn rsa_numbers(key: &SubjectPublicKeyInfo<'_>) -> Option<(usize, u64)> {
    let PublicKey::RSA(rsa) = key.parsed().ok()? else {
        return None;
    };
    let zeros = rsa.modulus.iter().take_while(|octet| **octet == 0).count();
    let modulus = &rsa.modulus[zeros..];
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
    Some((bits, rsa.try_exponent().unwrap_or_default()))
}

/// SEC 1 2.3.3. RFC 5480 2.2 has clients that show a compressed point as well; ring reads none.
fn is_uncompressed(point: &[u8], octets: usize) -> bool {
    point.len() == 1 + 2 * octets && point[0] == 4
}

/// Takes any certificate, or none, and has the client prove that it holds the key. What it can't check identifies nobody
/// ([`ClientKey::of`]) and breaks no handshake: mail programs show whatever certificate they find.
#[derive(Debug)]
struct AnyKey {
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
}

impl AnyKey {
    fn new() -> AnyKey {
        AnyKey {
            algorithms: rustls::crypto::ring::default_provider().signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for AnyKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let Ok((key, _)) = known_key(certificate) else {
            return Ok(HandshakeSignatureValid::assertion());
        };
        let known = self.algorithms.mapping.iter();
        let mut known = known.filter(|(scheme, _)| *scheme == signature.scheme);
        let algorithms = known.next().map_or(&[][..], |(_, algorithms)| algorithms);
        let identifier = algorithm_identifier(key.raw).unwrap_or_default();
        // RFC 5246 4.3: in TLS 1.2 a scheme of ECDSA names no curve.
        let fits =
            |a: &&&dyn SignatureVerificationAlgorithm| a.public_key_alg_id().as_ref() == identifier;
        let algorithm = algorithms
            .iter()
            .find(fits)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        algorithm
            .verify_signature(&key.subject_public_key.data, message, signature.signature())
            .map(|()| HandshakeSignatureValid::assertion())
            .map_err(|_| CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let Ok((key, _)) = known_key(certificate) else {
            return Ok(HandshakeSignatureValid::assertion());
        };
        let key = SubjectPublicKeyInfoDer::from(key.raw);
        rustls::crypto::verify_tls13_signature_with_raw_key(
            message,
            &key,
            signature,
            &self.algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
