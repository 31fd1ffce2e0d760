//! The server's side of a connection, without the connection: octets in, events out, decisions in, octets out.
//! `session.rs` is the state machine and its interface, `appending.rs` follows the
//! messages of APPEND, `refusal.rs` words what the session itself answers. Input comes from anyone.
//!
//! Never here: sockets, clocks, accounts, mailboxes. RFC 9051 3 (states), 4.3 and RFC 7888 (literals).

mod appending;
mod event;
mod refusal;
mod session;
mod state;

#[cfg(test)]
mod tests;

pub use event::{AuthenticateResponse, Event};
pub use session::Session;
pub use state::{Awaits, Config, NonSynchronizing, StartTls, State};
