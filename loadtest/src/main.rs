//! Load over real sockets against ringmail or any other mail server: `cargo load -- --help`, docs/BENCHMARKS.md.
//!
//! `options.rs` reads the command line, `scenarios/` say what a run is, `smtp_traffic.rs`, `imap_traffic.rs`, `tasks/` and
//! `logins/` say it to the server with the sessions of our protocol crates, `engine.rs` and `link.rs` move the octets, `report.rs`
//! and `rounds.rs` tell what came of it. One thread, no runtime: the server needs the cores.
//! `sink/` is the other end of a relay, with threads of its own, and `zone.rs` the DNS that leads to it.
//! Every answer is checked; the first that is not as expected ends the run with an exit code other than 0.
//! Never here: anything of our server but its protocols.

mod control;
mod deliveries;
mod engine;
mod error;
mod hook_receiver;
mod http_traffic;
mod imap_traffic;
mod ledger;
mod link;
mod logins;
mod messages;
mod metrics;
mod options;
mod pace;
mod process;
mod progress;
mod report;
mod rounds;
mod scenarios;
mod sink;
mod smtp_traffic;
mod target;
mod tasks;
mod tls;
mod zone;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use error::Failure;
use options::Options;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("loadtest: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}

fn run() -> Result<(), Failure> {
    let Some(options) = Options::parse()? else {
        print!("{}", include_str!("usage.txt"));
        return Ok(());
    };
    raise_open_files();
    match options.command.as_str() {
        "smtp-accept" => scenarios::smtp_accept::run(&options),
        "imap" => scenarios::imap::run(&options),
        "logins" => scenarios::logins::run(&options),
        "login-storm" => scenarios::login_storm::run(&options),
        "relay" => scenarios::relay::run(&options),
        "webapi-send" => scenarios::webapi_send::run(&options),
        "webapi-batch" => scenarios::webapi_send::run_batches(&options),
        "webhooks" => scenarios::webhooks::run(&options),
        "sink" => scenarios::sink::run(&options),
        "idle" => scenarios::idle::run(&options),
        "verify" => scenarios::verify::run(&options),
        other => Err(Failure::Usage(format!("no scenario {other}; see --help"))),
    }
}

/// As many connections as the hard limit allows. If that is not enough, the connection that fails says so.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
