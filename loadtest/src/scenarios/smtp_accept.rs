//! Messages accepted over SMTP. An operation is a 250 after the data.

use crate::engine::Engine;
use crate::error::Failure;
use crate::ledger::Ledger;
use crate::messages::Messages;
use crate::options::Options;
use crate::progress::Progress;
use crate::report::{Figures, Meter};
use crate::rounds;
use crate::smtp_traffic::{Plan, Sender, SmtpTraffic};
use crate::target::{Target, expand};

/// Runs all rounds, then verifies what ours accepted, if asked.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut ledger = Ledger::default();
    let ours = options.targets[0].address;
    rounds::run(
        &options.targets,
        options.rounds,
        options.json,
        |target, _| {
            let (figures, traffic) = accept(options, target)?;
            if target.address == ours {
                ledger.add(&traffic);
            }
            Ok(figures)
        },
    )?;
    if let Some(path) = &options.ledger {
        ledger.write(path)?;
    }
    if let Some(text) = &options.verify {
        let mut imap = Target::parse(text, "verify", options.allow_remote)?;
        imap.password = imap
            .password
            .or_else(|| options.targets[0].password.clone());
        let found = ledger.verify(&imap)?;
        eprintln!("verified: {found} accepted messages are there exactly once");
    }
    Ok(())
}

fn accept(options: &Options, target: &Target) -> Result<(Figures, SmtpTraffic), Failure> {
    let mut traffic = SmtpTraffic::new(plan(options, target)?);
    let mut engine = Engine::new(&target.name, options.timeout)?;
    let mut progress = Progress::new(format!("{}: accepted", target.name), options.messages);
    let meter = Meter::start(target)?;
    for _ in 0..options.connections.unwrap_or(CONNECTIONS) {
        engine.add(&mut traffic)?;
    }
    engine.run(&mut traffic, |traffic| {
        progress.at(traffic.accepted.len() as u64);
        false
    })?;
    let usage = meter.stop()?;
    let figures = Figures {
        target: target.name.clone(),
        unit: "messages accepted",
        operations: traffic.accepted.len() as u64,
        latency_of: "message",
        latency: traffic.latency.clone(),
        usage,
        notes: Vec::new(),
    };
    Ok((figures, traffic))
}

fn plan(options: &Options, target: &Target) -> Result<Plan, Failure> {
    let recipients = Plan::recipients(&expand(&options.recipients)?)?;
    if options.rcpts_per_message > recipients.len() {
        let text = "--rcpts-per-message is more than there are --recipients";
        return Err(Failure::Usage(text.into()));
    }
    Ok(Plan {
        to: target.address,
        security: target.security,
        senders: vec![Sender::new(&options.from, options.auth.clone())?],
        recipients,
        rcpts_per_message: options.rcpts_per_message,
        messages: options.messages,
        until: None,
        per_connection: options.per_connection,
        content: Messages::new(options.size, &super::run_name()),
    })
}

const CONNECTIONS: usize = 50;
