//! Logins: stored credentials, their check, the cache that spares the hashing, and who tries too often.
//!
//! Called by the doors. Names and passwords are untrusted. A check runs on the core that owns the account; hashing runs in
//! threads of its own. An unknown name takes the same steps and the same time as a known one with a wrong password.
//! RFC 4422, 4616. Not here: the mechanisms' grammar (`protocols/sasl`), the wording of refusals (the doors).

use sasl::Mechanism;

pub mod limiter;
mod line;
mod password;

pub use password::{
    Check, Credentials, HashCost, Patience, Verifier, hash_password, hashing_pool, random,
};

/// The mechanisms that the doors offer, in the order in which they are announced.
pub const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
