//! The sink alone: it takes what any server sends until it is told to end, and says what came.
//! SIGUSR1 prints the counts as JSON, SIGINT and SIGTERM do so and end it, as does `--seconds`.

use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::error::Failure;
use crate::options::Options;
use crate::sink::{DESTINATIONS_MAX, Script, Sink, address_of};
use crate::zone::Zone;

/// Runs until a signal or the time.
pub fn run(options: &Options) -> Result<(), Failure> {
    let addresses = addresses(options)?;
    let mut signals = Signals::new([SIGUSR1, SIGINT, SIGTERM]).map_err(Failure::io("signals"))?;
    let script = script(options)?;
    let sink = Sink::start(&addresses, options.sink_port, &script, options.threads)?;
    let zone = options
        .dns_port
        .map(|port| Zone::start(port, addresses.len(), 0));
    let _zone = zone.transpose()?;
    eprintln!(
        "sink: {} destinations from {} on, port {}",
        addresses.len(),
        addresses[0],
        options.sink_port
    );
    let seconds = options.seconds.map(Duration::from_secs);
    let end = seconds.map(|seconds| Instant::now() + seconds);
    loop {
        for signal in signals.pending() {
            println!("{}", sink.json());
            if signal != SIGUSR1 {
                return Ok(());
            }
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            println!("{}", sink.json());
            return Ok(());
        }
        thread::sleep(ROUND);
    }
}

/// `--script` and each `--rule`.
pub(super) fn script(options: &Options) -> Result<Script, Failure> {
    let mut script = Script::default();
    if let Some(path) = &options.script {
        script.add(&fs::read_to_string(path).map_err(Failure::io(path))?)?;
    }
    for rule in &options.rules {
        script.add(rule)?;
    }
    Ok(script)
}

/// Of `--destinations`.
pub(super) fn addresses(options: &Options) -> Result<Vec<Ipv4Addr>, Failure> {
    if options.destinations > DESTINATIONS_MAX {
        let text = format!("--destinations: at most {DESTINATIONS_MAX}");
        return Err(Failure::Usage(text));
    }
    Ok((0..options.destinations).map(address_of).collect())
}

const ROUND: Duration = Duration::from_millis(50);
