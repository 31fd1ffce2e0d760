//! Messages on their way into accounts: from the moment a door has one whole until it is durable.
//!
//! Called by `smtp_server` for port 25 and for submission, and for the API (`submit`,
//! `submit_batch`). The doors have decided who gets it; here it is decided where it is
//! committed first: with one recipient in that account's shard, with several as a fan-out entry of this core (`fan_out`).
//! Mail of our own users for other hosts is signed before (`crate::signing`).
//! Not here: reply texts, checks of the sender.

mod copies;
mod extra;
pub mod fan_out;
mod once;
mod returned;
mod spool;
mod submit;
mod submit_batch;
mod unique;

pub use crate::signing::{SigningError, signatures};
pub use extra::{ExtraError, ExtraFields};
pub use fan_out::{FanOut, ROOM, Recipient};
pub use returned::{Arrived, Known, Lookout};
pub use spool::{BodyMemory, Finished, HEAD_MAX, Spool, SpoolError, may_begin, remove_unused};
pub use submit::submit;
pub use submit_batch::submit_batch;
pub use unique::unique_mail_from;
