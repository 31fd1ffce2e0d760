//! The engine: one executor per core, lanes between them, durable storage in shards. It knows cores, keys, rows and bodies, and
//! nothing of mail: a chat server could use it.
//!
//! Floors, from the ground: [`rt`], [`routing`], [`faults`]; [`lanes`], [`pool`], `segments`, `index`; [`storage`], [`net`], [`dns`]; [`engine`].

pub mod dns;
pub mod engine;
pub mod faults;
pub mod index;
mod journal;
pub mod lanes;
pub mod net;
pub mod pool;
pub mod routing;
pub mod rt;
pub mod segments;
pub mod storage;
pub mod tls;

pub use routing::{CoreId, ShardId, owner_of, shard_of};
