//! IMAP without input and output: the grammar of commands, the server's session, the writing of responses, and a small client.
//!
//! RFC 9051 (IMAP4rev2), RFC 3501 (IMAP4rev1) and the extensions named in each file. `docs/rfc.md` has the whole list.
//!
//! - [`types`]: the nouns.
//! - [`command`]: what a client asks; [`parse_command`] reads one.
//! - [`server`]: [`server::Session`], octets in and events out.
//! - [`response`]: what a server answers, written straight into the output.
//! - [`client`]: the other side, for tests and the load tester.
//!
//! ```
//! use ringmail_imap::server::{Config, Event, Session};
//!
//! let mut session = Session::new(Config::default());
//! assert_eq!(session.receive(b"a1 CAPABILITY\r\n"), 15);
//! let Some(Event::Command { tag, command }) = session.event() else { panic!() };
//! assert_eq!((tag.as_str(), command.name()), ("a1", "CAPABILITY"));
//! session.answered();
//! ```
//!
//! Never here: sockets, clocks, storage, mechanisms of SASL, the parsing of messages.

pub mod client;
pub mod command;
mod framing;
mod grammar;
pub mod limits;
pub mod response;
pub mod server;
pub mod types;

pub use grammar::parse_command;
