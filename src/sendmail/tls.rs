//! TLS towards the submission server, over a blocking socket: what the settings name, in the errors of a command.
//! Not here: whom to trust (`client_tls`), sockets (`socket.rs`).

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use sasl::ChannelBindings;

use super::exit::{Exit, Failure};
use super::socket::{Socket, words};
use crate::client_tls::{self, Wanted};
use crate::settings::Sendmail;

/// Everything a handshake needs, read from the files that the settings name.
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A protected connection.
pub type TlsStream = StreamOwned<ClientConnection, Socket>;

impl Tls {
    /// Reads certificates and keys.
    pub fn new(settings: &Sendmail) -> Result<Tls, Failure> {
        let wanted = Wanted {
            ca_file: settings.ca_file.as_deref(),
            fingerprint: settings.fingerprint,
            anybody: false,
            client_cert: settings.client_cert.as_deref(),
            client_key: settings.client_key.as_deref(),
        };
        let config = client_tls::config(wanted).map_err(|(_, e)| Failure::new(Exit::Config, e))?;
        let name = ServerName::try_from(settings.host.as_str().to_owned())
            .map_err(|e| Failure::new(Exit::Config, format!("host: {e}")))?;
        Ok(Tls { config, name })
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
                .map_err(|error| failed(explain(&error)))?;
        }
        Ok(stream)
    }
}

fn explain(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(reason) => client_tls::explain(reason),
        _ if error.kind() == ErrorKind::InvalidData => format!("TLS: {error}"),
        _ => format!("TLS: {}", words(error)),
    }
}

/// What a login may be bound to.
pub fn bindings(stream: &TlsStream) -> ChannelBindings {
    client_tls::bindings(&stream.conn)
}
