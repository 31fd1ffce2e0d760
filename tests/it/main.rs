//! Black-box tests: a server, real sockets, public behaviour only. One binary, so that it is linked once.
//! `server` runs a server inside the test's process, `program` the built program.

mod check;
mod cli;
mod client_keys;
mod crash;
mod dialogs;
mod dns;
mod failed_logins;
mod faults;
mod filled;
mod folder;
mod http;
mod imap_large;
mod imap_more;
mod keys;
mod log;
mod login_records;
mod logins;
mod oauth;
mod operator;
mod outbound;
mod program;
mod queue;
mod receiver;
mod salvage;
mod salvage_killed;
mod sendmail;
mod sendmail_servers;
mod server;
mod service;
mod smtp;
mod stall;
mod start;
mod tls;
