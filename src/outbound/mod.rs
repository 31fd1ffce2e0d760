//! Sending: takes what is due from the queue, hands it to the next hop and records what came of it. Runs on each core, for the messages of
//! its shards. docs/QUEUE.md.
//!
//! Called by `serve` at the start. The queue's rows are trusted, what next hops say is not: it is cut and shown without control characters.
//! RFC 5321 4.5.4 and 5, RFC 3461, RFC 3464. Not here: when a recipient is tried again (`queue::retry`), what a report looks like
//! (`protocols/dsn`).

mod carry;
mod connect;
mod copy;
mod crowded;
mod destination;
mod dispatch;
mod events;
mod lack;
mod link;
mod local;
mod login;
mod lookups;
mod notice;
mod octets;
mod outcome;
mod own;
mod places;
mod pool;
mod pool_turns;
mod remembered;
mod rerouting;
mod resting;
mod shaping;
mod site;
mod staffing;
mod start;
mod suppressed;
mod tellers;
mod transaction;

pub use dispatch::start;

/// Panics of tasks that send.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("outbound");
