//! HTTP: metrics, health, the sending API. Called by `serve.rs` for each connection, on the executor without shards; its calls travel.
//! Peers are untrusted. RFC 9110, RFC 9112, RFC 9113 (hyper speaks them).
//! Not here: rows of the storage, decisions about mail.
//!
//! `connection` runs one connection within its limits, `http2` one of several streams, `stream` fits our socket to hyper, `frames` sees small frames in it, `http` answers requests, `framing` refuses
//! some, `heads` counts what their heads take, `unread` gives words to what hyper can't read, `forwarded` reads whom a proxy speaks for, `access` is the line in the log, `payload` is the body of a response, `posted` that of a request, `api` is the sending API, `unsubscribe` the page behind links in mail, `scrape` collects the metrics of all cores, `process` those of
//! the process.

mod access;
mod api;
mod connection;
mod forwarded;
mod frames;
mod framing;
mod heads;
mod http;
mod http2;
mod payload;
mod posted;
mod process;
mod scrape;
mod stream;
mod unread;
mod unsubscribe;

use shards::rt::Room;

pub use connection::serve;

/// What a listening socket of this door offers.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Position of the listener.
    pub listener: usize,
    /// TLS begins with the first octet.
    pub implicit_tls: bool,
    /// `/metrics` answers.
    pub metrics: bool,
    /// `/healthz` and `/readyz` answer.
    pub health: bool,
    /// The sending API answers.
    pub webapi: bool,
    /// A proxy in front says who the client is.
    pub forwarded: bool,
    /// Parts of the program whose panics are told.
    pub rooms: &'static [&'static Room],
}

/// Panics in connections of this door.
pub static ROOM: Room = Room::new("web");
