//! What outgoing connections to other domains' mail hosts must hold to, and how they went.
//!
//! Called by `percore/tls_policy.rs`, which finds the owner of a domain; that is what rooms above ask. Policies, records and certificates are
//! of strangers and untrusted. RFC 8461 (MTA-STS), 7672 (DANE), 8689 (REQUIRETLS), 8460 (results for reports).
//!
//! `sts` has the policies of MTA-STS, on the core that owns a domain; `fetch` gets them, `http` reads the answer; `sts_rows` keeps them.
//! `requirement` says what follows from a policy and from TLSA records; `demands` shows that. `results` keeps how it went.
//! Not here: which hosts take a domain's mail, connecting to them (`outbound`), how certificates are judged (`protocols/dane`), sending
//! reports.

mod demands;
mod fetch;
mod flights;
mod http;
mod requirement;
mod results;
mod sts;
mod sts_rows;

pub use demands::{Demanded, Demands, demands};
pub use flights::Flights;
pub use requirement::{
    Ground, Held, Refusal, RefusalCause, Requirement, SessionFacts, Target, decide,
};
pub use results::{
    BATCH_MAX, Gathered, ResultBatch, ResultOwner, Wanted, as_report, stored_results,
};
pub use sts::{
    Purpose, Shown, StoredPolicy, StsAnswer, StsOwner, Ways, fresh, show, stored_policies,
};

/// Panics of tasks that look for policies.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("tls_policy");
