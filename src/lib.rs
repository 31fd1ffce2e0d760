//! The server. Floors, from the ground: `settings`, `metrics`; `client_tls`; `directory`, `telemetry`, `sendmail`, `lookup`; `login`; `live`; `store`; `queue`, `tls_policy`; `calls`, `percore`;
//! `handle`, `hooks`, `inbound`, `outbound`; the doors `smtp_server`, `imap_server`, `web`; `serve`; `control`; `cli`. An import only goes down.

pub mod calls;
pub mod cli;
pub mod client_tls;
pub mod control;
pub mod directory;
pub mod handle;
pub mod hooks;
pub mod imap_server;
pub mod inbound;
pub mod live;
pub mod login;
pub mod lookup;
pub mod metrics;
pub mod outbound;
pub mod percore;
pub mod queue;
pub mod recipes;
pub mod sendmail;
pub mod serve;
pub mod settings;
pub mod signing;
pub mod smtp_server;
pub mod store;
pub mod telemetry;
pub mod tls_policy;
pub mod web;
