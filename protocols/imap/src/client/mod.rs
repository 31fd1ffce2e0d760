//! The client's side of a connection, without the connection: for the load tester and for tests. Small on purpose.
//! `session.rs` sends commands and holds back what must wait for a continuation, `reader.rs` finds responses and streams
//! large literals, `value.rs` and `parse.rs` read them, `response.rs` has their types.
//! Input comes from a server that may be anyone's: everything is bounded, nothing panics.
//!
//! ```
//! use ringmail_imap::client::{Client, Event, Response};
//!
//! let mut client = Client::new();
//! client.receive(b"* OK ready\r\n");
//! assert!(matches!(client.event(), Some(Event::Response(Response::Status(_)))));
//! let tag = client.command("SELECT INBOX");
//! let mut out = Vec::new();
//! client.transmit(&mut out);
//! assert_eq!(out, b"c1 SELECT INBOX\r\n");
//! client.receive(b"c1 OK [READ-WRITE] done\r\n");
//! let Some(Event::Response(Response::Tagged(answered, status))) = client.event() else { panic!() };
//! assert!(answered == tag && status.is_ok());
//! ```
//!
//! Never here: TLS, timing, statistics.

mod parse;
mod reader;
mod response;
mod session;
mod value;

#[cfg(test)]
mod tests;

pub use response::{FetchData, ListData, Response, ResponseCode, SearchData, Status};
pub use session::{Client, Event, Part};
pub use value::Value;
