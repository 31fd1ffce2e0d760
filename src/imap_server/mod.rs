//! The IMAP door. (Being built.)

use std::rc::Rc;
use std::sync::Arc;

use shards::lanes::Responder;
use shards::net::Connection;

use crate::calls::{Answer, MovedConnection};
use crate::percore::PerCore;
use crate::settings::StartTls;

/// What a socket is for.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Position of its listener in the settings.
    pub listener: usize,
    /// TLS from the first byte.
    pub implicit_tls: bool,
    /// STARTTLS.
    pub starttls: StartTls,
    /// Passwords may travel without TLS.
    pub allow_plain_auth: bool,
    /// Our name.
    pub hostname: Arc<str>,
}

/// Panics in connections of this door.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("imap_server");

/// Serves a new connection.
pub async fn serve(_core: Rc<PerCore>, _connection: Connection, _endpoint: Endpoint) {}

/// Goes on with a connection that logged in on another core.
pub async fn resume(
    _core: Rc<PerCore>,
    _moved: Box<MovedConnection>,
    responder: Responder<Answer>,
) {
    responder.answer(Answer::Done(Ok(())));
}
