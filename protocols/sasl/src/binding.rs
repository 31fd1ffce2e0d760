//! Channel bindings of a TLS connection: what ties a login to it. RFC 5056, RFC 5929, RFC 9266.
//! Not here: TLS. Whoever owns the connection fills in what it has.

/// The type's name. RFC 9266 2: for TLS 1.3, the exported keying material of [`EXPORTER_LABEL`].
pub const TLS_EXPORTER: &str = "tls-exporter";
/// The type's name. RFC 5929 4: the hash of the server's certificate.
pub const TLS_SERVER_END_POINT: &str = "tls-server-end-point";
/// RFC 9266 2: the label; the context is empty.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// RFC 9266 2: how many octets to export.
pub const EXPORTER_LENGTH: usize = 32;

/// What a connection can be bound to. The default has nothing: a connection without TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelBindings {
    /// RFC 9266 2: TLS 1.3 only (or 1.2 with extended master secret).
    pub exporter: Option<Vec<u8>>,
    /// RFC 5929 4: [`crate::server_end_point`] of the certificate that the server showed.
    pub server_end_point: Option<Vec<u8>>,
}

impl ChannelBindings {
    /// Whether there is nothing to bind to.
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.server_end_point.is_none()
    }

    /// The data for a type by its registered name. tls-unique is not among them: TLS 1.3 does not have it, and before 1.3 it is
    /// only safe with the extended master secret (RFC 9266 3).
    pub fn data(&self, name: &str) -> Option<&[u8]> {
        match name {
            TLS_EXPORTER => self.exporter.as_deref(),
            TLS_SERVER_END_POINT => self.server_end_point.as_deref(),
            _ => None,
        }
    }

    /// The best there is. RFC 9266 4.2: tls-exporter for TLS 1.3.
    pub(crate) fn best(&self) -> Option<&'static str> {
        [TLS_EXPORTER, TLS_SERVER_END_POINT]
            .into_iter()
            .find(|name| self.data(name).is_some())
    }
}
