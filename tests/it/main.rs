//! Black-box tests: a server, real sockets, public behaviour only. One binary, so that it is linked once.

mod dialogs;
mod server;
mod smtp;
