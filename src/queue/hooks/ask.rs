//! What operators, and owners through a door, ask the owner core of an account about its webhooks.

use std::collections::BTreeMap;

use super::{
    Enabled, EndpointRow, EndpointSpec, HookFilter, HookPage, HookResult, Redelivered, RetiredPage,
};
use crate::queue::Most;

/// What is asked.
#[derive(Debug)]
pub enum HookAsk {
    /// Its endpoints. Changes nothing.
    List,
    /// Adds an endpoint, or says something else of one. A new one may be there twice after a lost answer.
    Put {
        /// None: a new one.
        id: Option<u32>,
        /// All of it.
        spec: EndpointSpec,
        /// What the endpoint authorizes with stays as it is, if it was for the same server; else there is none, whatever is said of it.
        keeps_authorization: bool,
    },
    /// Takes an endpoint out, with what waits for it. May be repeated.
    Remove {
        /// Which.
        id: u32,
    },
    /// Switches an endpoint on or off. May be repeated.
    Enable {
        /// Which.
        id: u32,
        /// What it is to be.
        enabled: Enabled,
    },
    /// Gives an endpoint another secret. A repeat gives it one more, and the first is not valid any more.
    Rotate {
        /// Which.
        id: u32,
        /// For how many seconds the one before is valid too.
        overlap_secs: u64,
    },
    /// A page of hooks that wait. Changes nothing.
    Pending {
        /// Which.
        filter: Box<HookFilter>,
        /// The last one that was looked at.
        after: Option<Vec<u8>>,
        /// How many are looked at, at most [`PAGE_MAX`](super::PAGE_MAX).
        most: Most,
    },
    /// A page of hooks that are over and kept. Changes nothing.
    Retired {
        /// Which.
        filter: Box<HookFilter>,
        /// The last one that was looked at.
        after: Option<Vec<u8>>,
        /// How many are looked at, at most [`PAGE_MAX`](super::PAGE_MAX).
        most: Most,
    },
    /// The payload of a hook that waits or is kept. Changes nothing.
    Payload {
        /// Which.
        id: u64,
    },
    /// Puts a hook that is over in line again. A repeat finds none.
    Redeliver {
        /// Which.
        id: u64,
    },
    /// Gives hooks up that wait. A repeat finds none.
    Cancel {
        /// At most [`PAGE_MAX`](super::PAGE_MAX).
        hooks: Vec<u64>,
    },
    /// Makes a call with an event that did not happen, at once; nothing is stored of it.
    Test {
        /// To which endpoint.
        id: u32,
    },
}

/// What is answered.
#[derive(Debug)]
pub enum HookAnswer {
    /// To `List`.
    List {
        /// Each, with how many hooks wait for it.
        endpoints: Vec<(EndpointRow, u64)>,
        /// Hooks that were not made for want of room.
        dropped: u64,
    },
    /// To `Put`, `Remove`, `Enable` and `Rotate`: as it is now, or was; none: there is none of that number. And how many cores gave no answer: they
    /// go by what they knew for some minutes.
    Endpoint(Option<Box<EndpointRow>>, u16),
    /// To `Pending`: with the ends of the pauses that endpoints have asked for, seconds since 1970.
    Pending(HookPage, BTreeMap<u32, i64>),
    /// To `Retired`.
    Retired(RetiredPage),
    /// To `Payload`: none if there is no such hook.
    Payload(Option<Vec<u8>>),
    /// To `Redeliver`.
    Redelivered(Redelivered),
    /// To `Cancel`: how many there were.
    Canceled(usize),
    /// To `Test`: none if there is no such endpoint.
    Tested(Option<Box<HookResult>>),
}
