//! Messages accepted by the sending API. An operation is a 200 with a Message-ID.

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
    rounds::run(
        &options.targets,
        options.rounds,
        options.json,
        |target, _| send(options, target),
    )
}

fn send(options: &Options, target: &Target) -> Result<Figures, Failure> {
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
    });
    let mut engine = Engine::new(&target.name, options.timeout)?;
    let mut progress = Progress::new(format!("{}: accepted", target.name), options.messages);
    let meter = Meter::start(target)?;
    for _ in 0..options.connections.unwrap_or(CONNECTIONS) {
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
