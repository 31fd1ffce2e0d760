//! The server's side of SMTP, without I/O.
//!
//! `session.rs` is the door to use; `config.rs` what it may do; `event.rs` what it asks; `commands.rs` answers commands
//! within the session's state (`state.rs`); `body.rs` decodes message data; `hello.rs` writes the extension list.

mod body;
mod commands;
mod config;
mod event;
mod hello;
mod session;
mod state;

pub use body::Defect;
pub use config::{Config, Kind, Link};
pub use event::{AuthAbort, CloseReason, Deadline, Event};
pub use session::Session;

#[cfg(test)]
mod body_tests;
#[cfg(test)]
mod driver;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod session_tests;
