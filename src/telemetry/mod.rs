//! The log: lines of `tracing` events on standard error, as logfmt or JSON, with levels per module that change at reload.
//! Called by `main.rs` and the control thread to set it up; every room writes through `tracing`'s macros. Writing never blocks a core:
//! a line goes into a bounded channel to a thread of its own, and one that finds it full is dropped and counted.
//!
//! Our own subscriber instead of tracing-subscriber: there are no spans here (a connection's number is a field of its events), so its
//! registry, layers and filters would be weight without use, and it knows no logfmt.
//!
//! `levels` decides what is logged, `line` how it reads, `writer` gets it out; `foreign` takes what libraries and panics have to say.

mod foreign;
mod levels;
mod line;
mod subscriber;
mod writer;

pub use subscriber::{counts, flush, reload, start};
