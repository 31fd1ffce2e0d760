//! The server's side of a connection, without the connection: octets in, events out, decisions in, octets out.
//! `session.rs` is the state machine and its interface, `appending.rs` follows the
//! messages of APPEND, `refusal.rs` words what the session itself answers. Input comes from anyone.
//!
//! ```
//! use ringmail_imap::response::{Condition, tagged};
//! use ringmail_imap::server::{Config, Event, Session, State};
//!
//! let mut session = Session::new(Config { state: State::Authenticated, ..Config::default() });
//! let (mut input, mut output, mut message) = (&b"a APPEND x {2+}\r\nhi\r\n"[..], Vec::new(), Vec::new());
//! let mut tags = Vec::new();
//! while !input.is_empty() {
//!     let used = session.receive(input);
//!     session.transmit(&mut output);
//!     while let Some(event) = session.event() {
//!         match event {
//!             Event::AppendBegin { tag, .. } => tags.push(tag),
//!             Event::AppendMessage(_) => session.accept_message(),
//!             Event::AppendData(range) => message.extend_from_slice(&input[range]),
//!             Event::AppendEnd => {
//!                 tagged(&mut output, &tags[0], Condition::Ok, None, "appended");
//!                 session.answered();
//!             }
//!             _ => {}
//!         }
//!         session.transmit(&mut output);
//!     }
//!     input = &input[used..];
//! }
//! assert_eq!((message.as_slice(), output.as_slice()), (&b"hi"[..], &b"a OK appended\r\n"[..]));
//! ```
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
