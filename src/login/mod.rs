//! Logins: stored credentials, their check, the cache that spares the hashing, and who tries too often, the record of attempts.
//!
//! Called by the doors. Names and passwords are untrusted. A check runs on the core that owns the account; hashing runs in
//! threads of its own. An unknown name takes the same steps and the same time as a known one with a wrong password.
//! RFC 4422, 4616, 5802, 2195; 7628 and what tokens need in `oauth`. Not here: the mechanisms' grammar (`protocols/sasl`), the wording of refusals (the doors).

mod account_limiter;
pub mod api_key;
mod attempts;
pub mod limiter;
pub mod oauth;
mod pace;
mod password;
mod recent;
mod secrets;
mod unknown;

pub use account_limiter::AccountLimiter;
pub use attempts::{AttemptKind, Attempted, LoginRecord, Times, Unwritten, told};
pub use pace::Pace;
pub use password::{Check, HashCost, Patience, Verifier, hashing_place, hashing_pool, random};
pub use recent::Recent;
pub use secrets::{
    AppPassword, KeyPair, Keys, Password, SaltRow, Scheme, Secrets, Service, Services,
};
pub use unknown::{Iterations, Unknown, write_secret};
