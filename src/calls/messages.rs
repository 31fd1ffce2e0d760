//! What is asked about stored messages of an account, by their numbers.

use std::ops::Range;

use webapi::PartPlace;

use crate::settings::AccountName;
use crate::store::MessagePlace;

/// A question, or a change.
#[derive(Debug)]
pub struct MessageCall {
    /// Whose message it is.
    pub account: AccountName,
    /// Its number, as clients know it.
    pub number: i64,
    /// Where it was before.
    pub hint: Option<MessagePlace>,
    /// What.
    pub ask: MessageAsk,
}

/// What is asked. The first four change nothing and may be repeated; a lost answer to the others leaves open whether it was done.
#[derive(Debug)]
pub enum MessageAsk {
    /// Where is it, and how long?
    Find,
    /// All that `MessageGet` tells.
    Get,
    /// Where are the octets of this part?
    Part(Vec<i64>),
    /// Some octets of it, [`OCTETS_MAX`] at most.
    Octets(Range<u64>),
    /// It is removed for good. May not be repeated in the hope of the same answer: then it is gone.
    Delete,
    /// Flags are set, or taken away. May be repeated.
    Flags {
        /// They are set.
        add: bool,
        /// As the client writes them.
        flags: Vec<String>,
    },
    /// It moves to this mailbox. Repeated it is there already, which is an error.
    Move(String),
}

/// What is answered.
#[derive(Debug)]
pub enum MessageSaid {
    /// To `Find`: where, and how many octets.
    Found(MessagePlace, u64),
    /// To `Get`: a JSON object.
    Got(Vec<u8>),
    /// To `Part`.
    Part(PartPlace),
    /// To `Octets`.
    Octets(Vec<u8>),
    /// To what only does something: it is done, and durable.
    Done,
}

/// Octets that are asked for in one go.
pub const OCTETS_MAX: u64 = 256 << 10;
