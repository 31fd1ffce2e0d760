//! Webhooks: what receivers are sent, how it is signed, when it is sent again, and which addresses it may be sent to.
//! Called by the queue (payloads), by the flow that sends them (signatures, addresses) and by doors (words, secrets). Of its input only
//! endpoints' settings are untrusted: an account's owner writes them.
//! Standard Webhooks 1.0 (signatures), RFC 2104 (HMAC), RFC 6890 (addresses).
//! Not here: HTTP, rows, who is told of what.

mod address;
mod event;
mod payload;
mod schedule;
mod signature;

pub use address::{Network, is_public};
pub use event::{HookEvent, HookEvents};
pub use payload::{Incoming, IncomingMeta, Outgoing, to_json};
pub use schedule::{WAITS_SECS, retry_after, wait_after};
pub use signature::{SECRET_PREFIX, Secret, SecretError, signatures};
