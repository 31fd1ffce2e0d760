//! One socket, with TLS or without: octets in, octets out, never blocking. Who says what is `engine.rs`'s matter.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ClientConfig, Connection, ServerConfig, ServerConnection};
use sasl::{ChannelBindings, EXPORTER_LABEL, EXPORTER_LENGTH};
use socket2::{Domain, Protocol, Socket, Type};

use crate::tls;

/// A connection that is being made or is there, to a server or, in the sink, from one.
pub struct Link {
    /// The socket, for registration.
    pub stream: TcpStream,
    tls: Option<Box<Connection>>,
    newly_secure: bool,
    /// What is to be sent, in clear.
    pub output: Vec<u8>,
    written: usize,
}

/// What a read brought.
pub enum Input {
    /// So many octets, in clear.
    Octets(usize),
    /// Nothing for now.
    Nothing,
    /// The peer has closed.
    End,
}

impl Link {
    /// Begins to connect, from a given address if one is asked for.
    pub fn connect(to: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Ok(()) => {}
            // Linux: EINPROGRESS, the usual case.
            Err(error) if error.raw_os_error() == Some(115) => {}
            Err(error) => return Err(error),
        }
        Ok(Self::new(TcpStream::from_std(socket.into())))
    }

    /// Takes a connection that came.
    pub fn accepted(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::new(stream))
    }

    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            tls: None,
            newly_secure: false,
            output: Vec::new(),
            written: 0,
        }
    }

    /// From here on TLS; the handshake goes along with the next writes and reads.
    pub fn start_tls(&mut self, config: &Arc<ClientConfig>) -> io::Result<()> {
        let connection = tls::connection(config).map_err(io::Error::other)?;
        self.tls = Some(Box::new(Connection::Client(connection)));
        self.newly_secure = true;
        Ok(())
    }

    /// The same as the server.
    pub fn accept_tls(&mut self, config: &Arc<ServerConfig>) -> io::Result<()> {
        let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        let mut connection = Connection::Server(connection);
        connection.set_buffer_limit(None);
        self.tls = Some(Box::new(connection));
        self.newly_secure = true;
        Ok(())
    }

    /// Nothing more is sent after what waits, as far as the socket takes that at once.
    pub fn close(&mut self) -> io::Result<()> {
        self.flush()?;
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush()?;
        self.stream.shutdown(Shutdown::Write)
    }

    /// Whether octets came over TLS for the first time; asked once the first have come.
    pub fn is_newly_secure(&mut self) -> bool {
        std::mem::take(&mut self.newly_secure)
    }

    /// What ties a login to this TLS connection.
    pub fn bindings(&self) -> ChannelBindings {
        let exported = self.tls.as_ref().and_then(|tls| {
            let key = vec![0; EXPORTER_LENGTH];
            tls.export_keying_material(key, EXPORTER_LABEL, Some(b""))
                .ok()
        });
        ChannelBindings {
            exporter: exported,
            server_end_point: None,
        }
    }

    /// Whether TLS has begun: then a read may stop before the socket is empty.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads into the buffer what there is.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        let Some(tls) = &mut self.tls else {
            return match self.stream.read(buffer) {
                Ok(0) => Ok(Input::End),
                Ok(count) => Ok(Input::Octets(count)),
                Err(error) => nothing(error),
            };
        };
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => return Ok(Input::End),
                Ok(count) => return Ok(Input::Octets(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            match tls.read_tls(&mut self.stream) {
                Ok(0) => return Ok(Input::End),
                Ok(_) => tls.process_new_packets().map_err(io::Error::other)?,
                Err(error) => return nothing(error),
            };
        }
    }

    /// Writes what the socket takes of what waits.
    pub fn flush(&mut self) -> io::Result<()> {
        match self.try_flush() {
            Err(error) => nothing(error).map(|_| ()),
            done => done,
        }
    }

    fn try_flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(&self.output)?;
            self.output.clear();
            while tls.wants_write() {
                tls.write_tls(&mut self.stream)?;
            }
            return Ok(());
        }
        while self.written < self.output.len() {
            self.written += self.stream.write(&self.output[self.written..])?;
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }
}

/// Not ready yet is no error: the next event goes on.
fn nothing(error: io::Error) -> io::Result<Input> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected => {
            Ok(Input::Nothing)
        }
        _ => Err(error),
    }
}
