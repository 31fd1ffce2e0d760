//! Listeners, streams and datagrams of one executor.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// A bound port that could not be had, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(source))]
pub struct BindError {
    /// What was asked for.
    pub address: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE or root",
        io::ErrorKind::AddrInUse => {
            "; another program has this port, stop it or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

/// Binds a listening socket: SO_REUSEPORT (each core has its own), SO_REUSEADDR, IPv6 only for IPv6 addresses.
/// The socket is blocking-free and may be sent to the core that will accept from it.
pub fn listen(address: SocketAddr, backlog: i32) -> Result<OwnedFd, BindError> {
    let bind = || -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        Ok(socket)
    };
    bind()
        .map(OwnedFd::from)
        .map_err(|source| BindError { address, source })
}

/// A listener on this executor.
pub struct Listener(TcpListener);

impl Listener {
    /// Takes over a socket of [`listen`].
    pub fn new(socket: OwnedFd) -> Listener {
        // Safe because the descriptor is owned and handed on.
        Listener(unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) })
    }

    /// The address it is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr().map_err(io::Error::from)
    }

    /// The next connection. When descriptors run out it waits a little instead of spinning on the error.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self.0.accept().await.map_err(io::Error::from) {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                Ok(Stream::of(stream))
            }
            Err(error) => {
                super::sleep(ACCEPT_PAUSE).await;
                Err(error)
            }
        }
    }
}

/// `bind` then chooses an address alone, and `connect` a port that is free for that peer: ip(7), IP_BIND_ADDRESS_NO_PORT.
fn choose_port_later(socket: &Socket) -> io::Result<()> {
    let yes: libc::c_int = 1;
    // Safe because the option is an int that lives through the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const yes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

struct BorrowedSocket(std::os::fd::RawFd);

impl std::os::fd::AsFd for BorrowedSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        // Safe because its maker keeps the descriptor open while this value lives.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.0) }
    }
}

/// A TCP connection of this executor.
pub struct Stream {
    socket: TcpStream,
    /// Octets that were read ahead; whoever reads next gets them first.
    ahead: Vec<u8>,
    /// Somebody has begun to read and got nothing: what comes is taken from the socket by the executor.
    is_reading: bool,
}

impl Stream {
    /// Takes over a connected socket on this executor.
    pub fn new(socket: OwnedFd) -> Stream {
        // Safe because the descriptor is owned and handed on.
        Stream::of(unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) })
    }

    /// Lets the kernel ask a peer that is silent for so long whether it still lives; it asks again each minute (or sooner, if the
    /// time is shorter) and then ends the connection. Zero turns it off. For protocols whose own timeouts are long.
    pub fn keep_alive(&self, after: Duration) {
        let borrowed = BorrowedSocket(self.socket.as_raw_fd());
        let socket = SockRef::from(&borrowed);
        // A kernel that refuses leaves us the protocol's own timeout.
        let _ = if after.is_zero() {
            socket.set_keepalive(false)
        } else {
            let keepalive = TcpKeepalive::new()
                .with_time(after)
                .with_interval(after.min(KEEPALIVE_INTERVAL));
            socket.set_tcp_keepalive(&keepalive)
        };
    }

    /// Connects from any local address. Only numeric addresses: resolving a name would block.
    pub async fn connect(address: SocketAddr) -> io::Result<Stream> {
        let stream = TcpStream::connect(address).await.map_err(io::Error::from)?;
        let _ = stream.set_nodelay(true);
        Ok(Stream::of(stream))
    }

    /// Connects from this address of ours, of the family of `address`; the port is chosen for the pair of both ends, so that ports do not run out
    /// sooner than they must.
    // The runtime's own connect takes no such address.
    pub async fn connect_from(address: SocketAddr, from: IpAddr) -> io::Result<Stream> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        // A kernel without it chooses the port now, from fewer.
        let _ = choose_port_later(&socket);
        socket.bind(&SocketAddr::new(from, 0).into())?;
        match socket.connect(&address.into()) {
            Ok(()) => (),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => (),
            Err(error) => return Err(error),
        }
        let mut stream = Stream::new(OwnedFd::from(socket));
        // Nothing is written, but there is no room for it before the connection is there: the wait is the same as for a writer.
        poll_fn(|cx| Pin::new(&mut stream.socket).poll_write(cx, &[])).await?;
        let borrowed = BorrowedSocket(stream.socket.as_raw_fd());
        let socket = SockRef::from(&borrowed);
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        let _ = socket.set_tcp_nodelay(true);
        Ok(stream)
    }

    fn of(socket: TcpStream) -> Stream {
        Stream {
            socket,
            ahead: Vec::new(),
            is_reading: false,
        }
    }

    /// Whether a read may give something at once: octets, the end or an error. Costs a system call and takes nothing.
    pub fn may_be_read(&self) -> bool {
        if self.is_reading || !self.ahead.is_empty() {
            return true;
        }
        let socket = BorrowedSocket(self.socket.as_raw_fd());
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = rustix::net::recv(&socket, &mut [0; 1], flags);
        !matches!(peeked, Err(Errno::AGAIN))
    }

    /// Waits until the peer has said something, without taking it; false: it has gone.
    pub async fn await_octets(&mut self) -> io::Result<bool> {
        let Stream { socket, ahead, .. } = self;
        if !ahead.is_empty() {
            return Ok(true);
        }
        poll_fn(|cx| {
            with_scratch(|buffer| {
                let read = Pin::new(&mut *socket).poll_read(cx, buffer);
                read.map_ok(|read| {
                    ahead.extend_from_slice(&buffer[..read]);
                    read > 0
                })
            })
        })
        .await
    }

    /// Both ends of the connection: (peer, ours).
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((
            self.socket.peer_addr().map_err(io::Error::from)?,
            self.socket.local_addr().map_err(io::Error::from)?,
        ))
    }
}

/// A second descriptor of the connection, to be sent to another core; drop the stream here afterwards.
pub fn detach_stream(stream: &Stream) -> io::Result<OwnedFd> {
    let borrowed = BorrowedSocket(stream.socket.as_raw_fd());
    let copy = rustix::io::fcntl_dupfd_cloexec(&borrowed, 3)?;
    Ok(copy)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if !self.ahead.is_empty() {
            let taken = self.ahead.len().min(buffer.len());
            buffer[..taken].copy_from_slice(&self.ahead[..taken]);
            self.ahead.drain(..taken);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
            return Poll::Ready(Ok(taken));
        }
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        self.is_reading = read.is_pending();
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buffer)
    }

    /// All of them in one call, which the runtime has not: records of TLS come one by one, and an alert behind others would never go, for it is
    /// written once and then the connection is dropped.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let borrowed = BorrowedSocket(self.socket.as_raw_fd());
        let slices = &slices[..slices.len().min(SLICES_MAX)];
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        match SockRef::from(&borrowed).send_vectored_with_flags(slices, flags) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Waits as a writer of the first one does.
                let first = slices.iter().find(|slice| !slice.is_empty());
                self.poll_write(cx, first.map_or(&[], |slice| slice))
            }
            sent => Poll::Ready(sent),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// A UDP socket that speaks with one peer, from a port that the kernel chose at random; it takes nothing from others.
// A stream's way of waiting does for it, and has no buffer of its own for each that waits, as the runtime's UDP socket has.
pub struct Datagram(TcpStream);

impl Datagram {
    /// A socket for this peer.
    pub fn connect(peer: SocketAddr) -> io::Result<Datagram> {
        let socket = Socket::new(
            Domain::for_address(peer),
            Type::DGRAM.nonblocking().cloexec(),
            Some(Protocol::UDP),
        )?;
        // Sends nothing: it sets the peer, and the port is chosen now.
        socket.connect(&peer.into())?;
        // Safe because the descriptor is owned and handed on.
        Ok(Datagram(unsafe {
            TcpStream::from_raw_fd(socket.into_raw_fd())
        }))
    }

    /// Sends a datagram. One that the kernel has no room for is an error.
    pub fn send(&self, octets: &[u8]) -> io::Result<()> {
        let borrowed = BorrowedSocket(self.0.as_raw_fd());
        SockRef::from(&borrowed).send(octets).map(drop)
    }

    /// Waits for a datagram and looks at it. An error may be what the network said to one that was sent.
    pub async fn receive<T>(&mut self, look: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let mut look = Some(look);
        poll_fn(|cx| {
            with_scratch(|scratch| {
                let length = ready!(Pin::new(&mut self.0).poll_read(cx, scratch))?;
                let look = look.take().expect("a future is not polled after its end");
                Poll::Ready(Ok(look(&scratch[..length])))
            })
        })
        .await
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_SIZE]);
}

/// Lends the executor's one read buffer of 64 KiB for the length of a poll, so that an idle connection pins none of its own.
pub fn with_scratch<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with(|scratch| use_it(&mut scratch.borrow_mut()))
}

/// Slices of a call; the kernel takes 1024.
const SLICES_MAX: usize = 64;
const SCRATCH_SIZE: usize = 64 << 10;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// When accepting fails for want of descriptors or memory, the next try waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
