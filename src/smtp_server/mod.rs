//! The SMTP door: port 25 for the world, 587 and 465 for our own users.
//!
//! `connection.rs` pumps bytes between socket and session, `recipients.rs` says who may get mail here, `transaction.rs` follows one message,
//! `login.rs` one AUTH exchange, `replies.rs` turns errors into replies. Input comes from anyone and is never trusted.
//! RFC 5321, 6409, 4954, 3207, 1870, 3030, 3461, 4865, 6531, 8689. Not here: storage rows, where a message is committed (`inbound`).

mod connection;
mod login;
mod recipients;
mod replies;
mod simulated;
mod transaction;

use std::sync::Arc;

pub use connection::serve;

use crate::settings::StartTls;

/// What a socket is for.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Position of its listener in the settings.
    pub listener: usize,
    /// Port 25, not submission.
    pub delivery: bool,
    /// TLS from the first byte.
    pub implicit_tls: bool,
    /// STARTTLS.
    pub starttls: StartTls,
    /// Passwords may travel without TLS.
    pub allow_plain_auth: bool,
    /// Whether DSN is offered. RFC 3461.
    pub dsn: bool,
    /// Our name.
    pub hostname: Arc<str>,
}

/// Panics in connections of this door.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("smtp_server");
