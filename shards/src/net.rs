//! Connections with or without TLS, and moving one to another core. Not here: what is spoken on them; certificates (`tls`).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::AsyncWriteExt;
use futures_lite::future::poll_once;
use futures_rustls::server::TlsStream;
use futures_rustls::{TlsAcceptor, TlsConnector, client};
use rustls::pki_types::{CertificateDer, ServerName};

use crate::rt::{self, Stream, detach_stream, with_scratch};
use crate::tls::{ChosenCertificate, ClientConfig, ClientKey, ServerConfig};

/// A connection of this executor.
pub struct Connection {
    transport: Transport,
    peer: SocketAddr,
    local: SocketAddr,
}

enum Transport {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>, ChosenCertificate),
    /// Ours to another server.
    Client(Box<client::TlsStream<Stream>>),
    /// Between two states; a connection never rests here.
    Gone,
}

/// For libraries that read and write by themselves.
impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Connection::poll_read(&mut self, cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream, _) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Transport::Client(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Transport::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            // All that fits becomes one record.
            Transport::Tls(stream, _) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
            _ => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                self.poll_write(cx, first.map_or(&[], |slice| slice))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream, _) => Pin::new(&mut **stream).poll_flush(cx),
            Transport::Client(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Transport::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_close(cx),
            Transport::Tls(stream, _) => Pin::new(&mut **stream).poll_close(cx),
            Transport::Client(stream) => Pin::new(&mut **stream).poll_close(cx),
            Transport::Gone => Poll::Ready(Ok(())),
        }
    }
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
    tls: Option<(Box<rustls::ServerConnection>, ChosenCertificate)>,
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

    /// Connects to another server, within `limit`.
    pub async fn connect(to: SocketAddr, limit: Duration) -> io::Result<Connection> {
        Connection::connect_from(to, None, limit).await
    }

    /// The same from this address of ours; none: from the one that the system chooses.
    pub async fn connect_from(
        to: SocketAddr,
        from: Option<IpAddr>,
        limit: Duration,
    ) -> io::Result<Connection> {
        let connect = async {
            match from {
                Some(from) => Stream::connect_from(to, from).await,
                None => Stream::connect(to).await,
            }
        };
        let stream = rt::timeout(limit, connect)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Connection::new(stream)
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
        let tls: &rustls::CommonState = match &self.transport {
            Transport::Tls(stream, _) => stream.get_ref().1,
            Transport::Client(stream) => stream.get_ref().1,
            _ => return None,
        };
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

    /// All that was agreed on in the TLS handshake, in words: `TLSv1.3 TLS_AES_256_GCM_SHA384 sni=mail.example.org resumed`. Empty
    /// without TLS.
    pub fn tls_in_words(&self) -> String {
        let (Some(tls), Some(facts)) = (self.handshake(), self.tls()) else {
            return String::new();
        };
        let mut words = format!("{} {}", facts.version, facts.cipher);
        if let Some(name) = tls.server_name() {
            words.push_str(&format!(" sni={name}"));
        }
        if let Some(protocol) = tls.alpn_protocol() {
            words.push_str(&format!(" alpn={}", String::from_utf8_lossy(protocol)));
        }
        if tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
            words.push_str(" resumed");
        }
        words
    }

    /// The protocol that the client and we agreed on in the handshake, if they named any. RFC 7301.
    pub fn application_protocol(&self) -> Option<&[u8]> {
        self.handshake()?.alpn_protocol()
    }

    fn handshake(&self) -> Option<&rustls::ServerConnection> {
        match &self.transport {
            Transport::Tls(stream, _) => Some(stream.get_ref().1),
            _ => None,
        }
    }

    /// RFC 9266 2: keying material that both ends of this TLS connection know and nobody else. Only of TLS 1.3: before, it would need
    /// the extended master secret and more.
    pub fn exported_key(&self) -> Option<Vec<u8>> {
        let tls = self.handshake()?;
        if tls.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
            return None;
        }
        let (label, context) = (b"EXPORTER-Channel-Binding", Some(&b""[..]));
        tls.export_keying_material(vec![0; 32], label, context).ok()
    }

    /// The certificate that we showed in the handshake, DER.
    pub fn own_certificate(&self) -> Option<&[u8]> {
        match &self.transport {
            Transport::Tls(_, chosen) => chosen.certificate(),
            _ => None,
        }
    }

    /// The key of the certificate the client showed, which it has proven to hold: see [`ClientKey`].
    pub fn client_key(&self) -> Option<ClientKey> {
        let certificate = self.handshake()?.peer_certificates()?.first()?;
        ClientKey::of(certificate).ok()
    }

    /// Waits until the peer has said something, which whoever reads next gets; an error if it does not in time, or has gone. Costs no more
    /// than the socket meanwhile.
    pub async fn await_octets(&mut self, limit: Duration) -> io::Result<()> {
        let Transport::Plain(stream) = &mut self.transport else {
            return Ok(());
        };
        match rt::timeout(limit, stream.await_octets()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Err(error)) => Err(error),
            Err(rt::Elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
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
        let (config, chosen) = ChosenCertificate::watched(&config);
        let accept = TlsAcceptor::from(config).accept(stream);
        let stream = rt::timeout(limit, accept)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.transport = Transport::Tls(Box::new(stream), chosen);
        Ok(())
    }

    /// The client's side of a TLS handshake. What the server sent ahead in plain text is thrown away: it may be anybody's. RFC 3207 6. An error of
    /// TLS is in the error: see [`tls_error`].
    pub async fn start_client_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        limit: Duration,
    ) -> io::Result<()> {
        let Transport::Plain(stream) = std::mem::replace(&mut self.transport, Transport::Gone)
        else {
            return Err(io::Error::other("TLS is active already"));
        };
        let connect = TlsConnector::from(config).connect(name, stream);
        let stream = rt::timeout(limit, connect)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.transport = Transport::Client(Box::new(stream));
        Ok(())
    }

    /// The TLS of a connection that we opened.
    pub fn client_tls(&self) -> Option<&rustls::ClientConnection> {
        match &self.transport {
            Transport::Client(stream) => Some(stream.get_ref().1),
            _ => None,
        }
    }

    /// The certificates that the server showed us, its own first.
    pub fn server_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match &self.transport {
            Transport::Client(stream) => stream.get_ref().1.peer_certificates(),
            _ => None,
        }
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

    /// The same of what is there by now; none: nothing. Does not wait.
    pub async fn read_now<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
        let may_be_read = match &self.transport {
            Transport::Plain(stream) => stream.may_be_read(),
            Transport::Tls(stream, _) => {
                let (stream, tls) = stream.get_ref();
                !tls.wants_read() || stream.may_be_read()
            }
            Transport::Client(stream) => {
                let (stream, tls) = stream.get_ref();
                !tls.wants_read() || stream.may_be_read()
            }
            Transport::Gone => true,
        };
        match may_be_read {
            true => poll_once(self.read_with(take)).await.transpose(),
            false => Ok(None),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let result = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream, _) => Pin::new(&mut **stream).poll_read(cx, buffer),
            Transport::Client(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
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
            Transport::Tls(stream, _) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Transport::Client(stream) => {
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
            Transport::Tls(stream, _) => stream.close().await,
            Transport::Client(stream) => stream.close().await,
            Transport::Gone => Ok(()),
        };
    }

    /// Takes the connection off this executor. On an error the connection is lost.
    pub fn detach(self) -> io::Result<Detached> {
        let (stream, tls) = match self.transport {
            Transport::Plain(stream) => (stream, None),
            Transport::Tls(stream, chosen) => {
                let (stream, tls) = stream.into_inner();
                (stream, Some((Box::new(tls), chosen)))
            }
            // Connections to other servers stay where they were made.
            Transport::Client(_) | Transport::Gone => {
                return Err(io::ErrorKind::NotConnected.into());
            }
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
            Some((tls, chosen)) => {
                let moved = TlsAcceptor::from(chosen.config.clone())
                    .accept_with(stream, |fresh| *fresh = *tls)
                    .await?;
                Transport::Tls(Box::new(moved), chosen)
            }
        };
        Ok(Connection {
            transport,
            peer: self.peer,
            local: self.local,
        })
    }
}

/// What TLS had to say, if an error of a handshake or a connection is its.
pub fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
