//! Who is who: from an address to the account or alias behind it, over the immutable settings.
//! Called by `smtp_server/recipients.rs`, `submission/`, and every door's login. Input is a peer's address: not trusted, of any content.
//! RFC 5321 2.4, 4.5.1 (postmaster), RFC 5233 (subaddresses), RFC 6531 (UTF-8).
//! Not here: passwords (rows of the account's shard), reply text, whether a message is wanted.
//!
//! `resolve` holds the maps and the order of the rules, `alias` what an alias leads to, `simulated` the failures `localserve` plays.

pub mod alias;
pub mod resolve;
mod simulated;

pub use alias::{AliasEntry, Member};
pub use resolve::{Destination, Directory, MaySend, Reason, Resolution};
pub use simulated::{Failure, Stage, simulated};
