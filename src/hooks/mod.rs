//! The flow of webhooks: calls the endpoints of this core's accounts, again and again until they have what they are to be told. docs/WEBHOOKS.md.
//!
//! Called by `serve` at the start, and for a test of an endpoint. Rows are trusted; URLs are an owner's and lead only where anybody may be sent
//! (`[webhooks] allow_networks`), what receivers answer is bounded and shown without control characters. RFC 9110, 9112 by way of hyper; RFC 6890; Standard Webhooks.
//! Not here: rows (`queue::hooks`), what is told of what (`queue::events`).

mod client;
mod connections;
mod desk;
mod dispatch;
mod incoming;
mod notice;
mod stream;
mod timers;
mod tls;
mod trial;

pub use dispatch::start;
pub use incoming::start as start_incoming;
pub use trial::test;

/// Panics of tasks that call endpoints.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("hooks");
