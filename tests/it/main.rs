//! Black-box tests: a server, real sockets, public behaviour only. One binary, so that it is linked once.

mod cli;
mod crash;
mod dialogs;
mod program;
mod server;
mod smtp;
