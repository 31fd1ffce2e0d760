//! Connections with or without TLS, and moving one to another core. Not here: what is spoken on them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::AsyncRead;
use futures_lite::AsyncWriteExt;
use futures_rustls::TlsAcceptor;
use futures_rustls::server::TlsStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use rustls::ServerConfig;

use crate::rt::{self, Stream, detach_stream, with_scratch};

/// A connection of this executor.
pub struct Connection {
    transport: Transport,
    peer: SocketAddr,
    local: SocketAddr,
}

enum Transport {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
    /// Between two states; a connection never rests here.
    Gone,
}

/// What was agreed on in the TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// As in a Received header: `TLSv1.3`.
    pub version: &'static str,
    /// As in a Received header: `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
}

/// A connection on its way to another core, with what TLS has decrypted but nobody has read.
pub struct Detached {
    socket: OwnedFd,
    tls: Option<(Box<rustls::ServerConnection>, Arc<ServerConfig>)>,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Connection {
    /// A new connection without TLS.
    pub fn new(stream: Stream) -> io::Result<Connection> {
        let (peer, local) = stream.addresses()?;
        Ok(Connection {
            transport: Transport::Plain(stream),
            peer,
            local,
        })
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether TLS is active, and how.
    pub fn tls(&self) -> Option<TlsFacts> {
        let Transport::Tls(stream) = &self.transport else {
            return None;
        };
        let (_, tls) = stream.get_ref();
        let version = match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let suite = tls
            .negotiated_cipher_suite()
            .map(|s| format!("{:?}", s.suite()));
        let cipher = suite.unwrap_or_default().replace("TLS13_", "TLS_");
        Some(TlsFacts { version, cipher })
    }

    /// The server's side of a TLS handshake on this connection. Bytes the peer sent ahead go into the handshake (and break it
    /// if they were none): the caller hands over no plaintext it had buffered.
    pub async fn start_tls(
        &mut self,
        config: Arc<ServerConfig>,
        limit: Duration,
    ) -> io::Result<()> {
        let Transport::Plain(stream) = std::mem::replace(&mut self.transport, Transport::Gone)
        else {
            return Err(io::Error::other("TLS is active already"));
        };
        let accept = TlsAcceptor::from(config).accept(stream);
        let stream = rt::timeout(limit, accept)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.transport = Transport::Tls(Box::new(stream));
        Ok(())
    }

    /// Waits for bytes and lends them to `take` (one call, at most 64 KiB; an empty slice is the end of the stream).
    pub async fn read_with<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let mut take = Some(take);
        poll_fn(|cx| {
            with_scratch(|buffer| match self.poll_read(cx, buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                Poll::Ready(Ok(read)) => {
                    let take = take.take().expect("a ready future is not polled again");
                    Poll::Ready(Ok(take(&buffer[..read])))
                }
            })
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let result = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
            Transport::Gone => Poll::Ready(Ok(0)),
        };
        match result {
            // A peer that closes TLS without saying so has ended the stream all the same; our protocols mark their ends themselves.
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            other => other,
        }
    }

    /// Writes all of it and flushes.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.transport {
            Transport::Plain(stream) => stream.write_all(bytes).await,
            Transport::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Transport::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Ends our side: TLS close, then FIN. The peer may have gone; that is no error.
    pub async fn close(&mut self) {
        let _ = match &mut self.transport {
            Transport::Plain(stream) => stream.close().await,
            Transport::Tls(stream) => stream.close().await,
            Transport::Gone => Ok(()),
        };
    }

    /// Takes the connection off this executor. On an error the connection is lost.
    pub fn detach(self, config: Option<Arc<ServerConfig>>) -> io::Result<Detached> {
        let (stream, tls) = match self.transport {
            Transport::Plain(stream) => (stream, None),
            Transport::Tls(stream) => {
                let (stream, tls) = stream.into_inner();
                let config = config.ok_or_else(|| {
                    io::Error::other("a TLS connection moves with its configuration")
                })?;
                (stream, Some((Box::new(tls), config)))
            }
            Transport::Gone => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(Detached {
            socket: detach_stream(&stream)?,
            tls,
            peer: self.peer,
            local: self.local,
        })
    }
}

impl Detached {
    /// Puts the connection on the calling executor.
    pub async fn attach(self) -> io::Result<Connection> {
        let stream = Stream::new(self.socket);
        let transport = match self.tls {
            None => Transport::Plain(stream),
            Some((tls, config)) => {
                let moved = TlsAcceptor::from(config)
                    .accept_with(stream, |fresh| *fresh = *tls)
                    .await?;
                Transport::Tls(Box::new(moved))
            }
        };
        Ok(Connection {
            transport,
            peer: self.peer,
            local: self.local,
        })
    }
}

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

/// Reads pairs of (certificate chain, private key) PEM files into a server's configuration; the certificate is chosen by SNI, the
/// first one when no name fits. Blocking.
pub fn load_tls(
    pairs: &[(PathBuf, PathBuf)],
    oldest: OldestTls,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut keys = Vec::new();
    for (certificate, key) in pairs {
        keys.push(certified_key(certificate, key)?);
    }
    let resolver = BySni::new(keys).ok_or_else(|| TlsError::File {
        path: PathBuf::new(),
        what: "no certificate is configured".into(),
    })?;
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(oldest.and_newer())
            .map_err(|e| TlsError::File {
                path: PathBuf::new(),
                what: e.to_string(),
            })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
    Ok(Arc::new(config))
}

fn certified_key(certificate: &Path, key: &Path) -> Result<rustls::sign::CertifiedKey, TlsError> {
    let bad = |path: &Path, e: rustls::pki_types::pem::Error| TlsError::File {
        path: path.to_path_buf(),
        what: e.to_string(),
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
    rustls::sign::CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider())
        .map_err(|e| TlsError::Pair {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
            what: e.to_string(),
        })
}

/// RFC 6066 3: an unknown name is answered with the default certificate; refusing it would cost more mail than it protects.
#[derive(Debug)]
struct BySni {
    by_name: rustls::server::ResolvesServerCertUsingSni,
    default: Arc<rustls::sign::CertifiedKey>,
}

impl BySni {
    fn new(keys: Vec<rustls::sign::CertifiedKey>) -> Option<BySni> {
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

/// The DNS names of a certificate: found by trying is not possible, so the subject alternative names are read.
fn names_of(key: &rustls::sign::CertifiedKey) -> Vec<String> {
    let Some(end) = key.cert.first() else {
        return Vec::new();
    };
    dns_names(end)
        .into_iter()
        .filter(|n| !n.starts_with('*'))
        .collect()
}

/// dNSName entries (context tag 2) of a subjectAltName extension (2.5.29.17), RFC 5280 4.2.1.6. A lenient walk: what it does not
/// understand it skips, and then the default certificate is used.
fn dns_names(der: &[u8]) -> Vec<String> {
    const SAN: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x11];
    let mut names = Vec::new();
    let Some(start) = der.windows(SAN.len()).position(|w| w == SAN) else {
        return names;
    };
    let mut at = start + SAN.len();
    if der.get(at) == Some(&0x01) {
        at += 3;
    }
    let Some((octets, _)) = tlv(der, at, 0x04) else {
        return names;
    };
    let Some((list, length)) = tlv(der, octets, 0x30) else {
        return names;
    };
    let mut at = list;
    while at < list + length {
        let Some((content, length)) = any_tlv(der, at) else {
            break;
        };
        if der[at] == 0x82 {
            names.extend(
                der.get(content..content + length)
                    .and_then(|n| String::from_utf8(n.to_vec()).ok()),
            );
        }
        at = content + length;
    }
    names
}

fn tlv(der: &[u8], at: usize, tag: u8) -> Option<(usize, usize)> {
    (der.get(at) == Some(&tag))
        .then(|| any_tlv(der, at))
        .flatten()
}

fn any_tlv(der: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = usize::from(*der.get(at + 1)?);
    if first < 0x80 {
        return Some((at + 2, first));
    }
    let count = first & 0x7f;
    let bytes = der
        .get(at + 2..at + 2 + count)
        .filter(|_| (1..=3).contains(&count))?;
    Some((
        at + 2 + count,
        bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)),
    ))
}

impl rustls::server::ResolvesServerCert for BySni {
    fn resolve(
        &self,
        hello: rustls::server::ClientHello<'_>,
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.by_name
            .resolve(hello)
            .or_else(|| Some(self.default.clone()))
    }
}
