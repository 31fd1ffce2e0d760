//! Messages accepted by the sending API, one by one or in batches. An operation is a message, of a 200 with a Message-ID, or of a batch with an id.

use crate::engine::Engine;
use crate::error::Failure;
use crate::http_traffic::{HttpTraffic, Plan};
use crate::options::Options;
use crate::progress::Progress;
use crate::report::{Figures, Meter};
use crate::rounds;
use crate::target::{Target, expand};

/// Runs all rounds.
pub fn run(options: &Options) -> Result<(), Failure> {
    run_in(options, None)
}

/// The same in batches.
pub fn run_batches(options: &Options) -> Result<(), Failure> {
    let count = match options.rcpts_per_message {
        1 => RECIPIENTS,
        count => count as u64,
    };
    run_in(options, Some(count))
}

fn run_in(options: &Options, batch: Option<u64>) -> Result<(), Failure> {
    rounds::run(
        &options.targets,
        options.rounds,
        options.json,
        |target, _| send(options, target, batch),
    )
}

fn send(options: &Options, target: &Target, batch: Option<u64>) -> Result<Figures, Failure> {
    let logins = target.logins()?.into_iter().map(|(user, password)| {
        let pair = format!("{user}:{password}");
        format!("Basic {}", sasl::base64::encode(pair.as_bytes()))
    });
    let mut traffic = HttpTraffic::new(Plan {
        to: target.address,
        security: target.security,
        logins: logins.collect(),
        recipients: expand(&options.recipients)?,
        messages: options.messages,
        size: options.size,
        batch,
    });
    let mut engine = Engine::new(&target.name, options.timeout)?;
    let mut progress = Progress::new(format!("{}: accepted", target.name), options.messages);
    let meter = Meter::start(target)?;
    let connections = match batch {
        Some(_) => BATCH_CONNECTIONS,
        None => CONNECTIONS,
    };
    for _ in 0..options.connections.unwrap_or(connections) {
        engine.add(&mut traffic)?;
    }
    engine.run(&mut traffic, |traffic| {
        progress.at(traffic.accepted);
        false
    })?;
    let usage = meter.stop()?;
    Ok(Figures {
        target: target.name.clone(),
        unit: "messages accepted",
        operations: traffic.accepted,
        latency_of: "request",
        latency: traffic.latency.clone(),
        usage,
        notes: Vec::new(),
    })
}

const CONNECTIONS: usize = 16;
const BATCH_CONNECTIONS: usize = 2;
/// Of a batch.
const RECIPIENTS: u64 = 10_000;
