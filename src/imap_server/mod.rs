//! The IMAP door: what a session of `protocols/imap` asks is looked up or done in the store, and the outcome put into responses.
//!
//! A connection begins with `visitor.rs` (TLS, greeting, login) on the core that accepted it. After login it moves to the core that owns
//! its account and goes on there with `client.rs`, also if that is the same core. `talk.rs` is the socket and the session of both.
//! Everything read from a connection is untrusted. RFC 9051, RFC 3501 and the extensions that `capabilities.rs` names.
//! Never here: rows, disk formats, other cores' accounts, the grammar of IMAP.

mod admitted;
mod append;
mod capabilities;
mod client;
mod fetch;
mod fetch_item;
mod fetch_large;
mod flags;
mod list;
mod mailboxes;
mod message_view;
mod responses;
mod search;
mod search_key;
mod select;
mod status;
mod store;
mod talk;
mod targets;
mod transfer;
mod updates;
mod visitor;

use std::rc::Rc;
use std::sync::Arc;

use shards::lanes::Responder;
use shards::net::Connection;

use crate::calls::{Answer, MovedConnection};
use crate::percore::PerCore;
use crate::settings::StartTls;

/// Where a connection came in.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Position of the listener in the settings.
    pub listener: usize,
    /// TLS from the first octet (RFC 8314).
    pub implicit_tls: bool,
    /// Whether STARTTLS is for its connections.
    pub starttls: StartTls,
    /// Passwords may pass without TLS.
    pub allow_plain_auth: bool,
    /// Our name in the greeting.
    pub hostname: Arc<str>,
}

/// Serves a new connection: handshake, limits, greeting, login. It ends here or moves to the account's core.
pub async fn serve(core: Rc<PerCore>, connection: Connection, endpoint: Endpoint) {
    visitor::serve(core, connection, endpoint).await;
}

/// Goes on with a connection that has logged in to an account of this core. The answer says that it has arrived.
pub async fn resume(core: Rc<PerCore>, moved: Box<MovedConnection>, responder: Responder<Answer>) {
    client::resume(core, moved, responder).await;
}

/// Panics of IMAP connections.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("imap_server");
