//! The running server as its operator sees it: control socket, signals, service manager, reload and stop. Plain threads; the executors
//! never wait for anything here. Called by `cli/`; speaks to the cores through `serve::Server`.
//! Input comes from whoever may open the socket (mode 0600: the server's own user and root): trusted, yet bounded in size and time.
//! Not here: what the commands print (`cli/`), rules of mail.
//!
//! `protocol` is the lines on the socket, `socket` serves them, `commands` carries them out (`accounts`, `queue`, `hold_rules`, `sites`, `lookup` and `check` by subject),
//! `source` knows where the settings come from, `supervise` is the loop of the main thread, `notify` talks to systemd.

pub mod accounts;
mod api_keys;
mod batch;
mod check;
mod client_keys;
mod commands;
mod hold_rules;
mod limits;
mod logins;
pub mod lookup;
mod mtasts;
pub mod notify;
pub mod protocol;
mod queue;
mod retired;
mod secrets;
mod sites;
pub mod socket;
pub mod source;
mod supervise;
mod suppression;
mod tlsresults;
mod warm_up;
mod webhooks;

pub use commands::{Control, run};
pub use source::Source;
pub use supervise::supervise;
