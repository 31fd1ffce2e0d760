//! Messages submitted, each told by a webhook. An operation is a call that came here; the rate is that from the first connection to the last call,
//! the latency that from the 250 to the call. Each recipient must be told of exactly once.
//!
//! Who submits must have an endpoint at the receiver, which stays for all rounds. Not here: how it is added; docs/BENCHMARKS.md says.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::deliveries::{Came, Deliveries, Sent};
use crate::engine::Engine;
use crate::error::Failure;
use crate::hook_receiver::HookReceiver;
use crate::messages::Messages;
use crate::options::Options;
use crate::progress::Progress;
use crate::report::{Figures, Meter};
use crate::rounds;
use crate::smtp_traffic::{Plan, Sender, SmtpTraffic};
use crate::target::Target;

/// Runs all rounds.
pub fn run(options: &Options) -> Result<(), Failure> {
    let pause = Duration::from_millis(options.answer_millis);
    let receiver = HookReceiver::start(options.hooks_port, pause)?;
    rounds::run(
        &options.targets,
        options.rounds,
        options.json,
        |target, _| measure(options, target, &receiver),
    )
}

fn measure(
    options: &Options,
    target: &Target,
    receiver: &HookReceiver,
) -> Result<Figures, Failure> {
    let name = super::run_name();
    let connections = {
        let mut heard = receiver.heard();
        heard.calls.clear();
        heard.most_at_once = 0;
        heard.connections
    };
    let deadline = Instant::now() + options.timeout;
    let mut engine = Engine::new(&target.name, options.timeout)?;
    let plan = plan(options, target, &name)?;
    let mut progress = Progress::new(format!("{}: accepted", target.name), options.messages);
    let meter = Meter::start(target)?;
    let begin = Instant::now();
    let mut traffic = SmtpTraffic::new(plan);
    for _ in 0..options.connections.unwrap_or(CONNECTIONS) {
        engine.add(&mut traffic)?;
    }
    engine.run(&mut traffic, |traffic| {
        progress.at(traffic.accepted.len() as u64);
        false
    })?;
    drop(progress);
    let each = options.rcpts_per_message as u64;
    let accepted = traffic.accepted.iter();
    let of_message = accepted.flat_map(|accepted| {
        (0..each).map(|recipient| Sent {
            number: accepted.message * each + recipient,
            destination: 0,
            at: accepted.at,
        })
    });
    let sent: Vec<Sent> = of_message.collect();
    let accepted_in = begin.elapsed();
    let deliveries = wait((&name, each), &sent, target, receiver, deadline)?;
    // The server has still to note that it is done.
    thread::sleep(REST);
    deliveries.check()?;
    let mut usage = meter.stop()?;
    let (operations, time) = deliveries.until_last(begin, |_| true);
    usage.secs = time.as_secs_f64();
    let heard = receiver.heard();
    let opened = (heard.connections - connections) as f64;
    let most_at_once = heard.most_at_once;
    Ok(Figures {
        target: target.name.clone(),
        unit: "webhooks",
        operations,
        latency_of: "message from 250 to its webhook",
        latency: deliveries.latency.clone(),
        usage,
        notes: vec![
            (
                "accepted per s",
                traffic.accepted.len() as f64 / accepted_in.as_secs_f64(),
            ),
            ("new connections to the receiver", opened),
            ("most calls at once", most_at_once as f64),
            ("calls about something else", heard.others as f64),
        ],
    })
}

fn plan(options: &Options, target: &Target, name: &str) -> Result<Plan, Failure> {
    let logins = target.logins()?.into_iter();
    let senders: Result<Vec<Sender>, Failure> = logins.map(Sender::account).collect();
    let domains = (0..options.destinations).map(|index| format!("load@d{index}.test"));
    Ok(Plan {
        to: target.address,
        security: target.security,
        senders: senders?,
        recipients: Plan::recipients(&domains.collect::<Vec<String>>())?,
        rcpts_per_message: options.rcpts_per_message,
        messages: options.messages,
        until: None,
        per_connection: options.per_connection,
        content: Messages::new(options.size, name),
    })
}

/// Until all are told.
fn wait(
    run: (&str, u64),
    sent: &[Sent],
    target: &Target,
    receiver: &HookReceiver,
    deadline: Instant,
) -> Result<Deliveries, Failure> {
    let mut progress = Progress::new(format!("{}: told", target.name), sent.len() as u64);
    loop {
        let came = came(receiver, run);
        progress.at(came.len() as u64);
        if came.len() >= sent.len() || Instant::now() >= deadline {
            let deliveries = Deliveries::compare(sent, &came);
            if deliveries.is_whole() || Instant::now() >= deadline {
                return deliveries.check().map(|()| deliveries);
            }
        }
        thread::sleep(ROUND);
    }
}

/// Calls about a run whose messages have so many recipients. They are numbered as they come: a call does not say whom it is about, but a repeated one has
/// the number of the first.
fn came(receiver: &HookReceiver, (run, each): (&str, u64)) -> Vec<Came> {
    let heard = receiver.heard();
    let mut recipients: HashMap<u64, Vec<u64>> = HashMap::new();
    let of_run = heard.calls.iter().filter(|(told, _)| told.run == run);
    of_run
        .map(|(told, at)| {
            let known = recipients.entry(told.number).or_default();
            let place = known.iter().position(|it| *it == told.recipient);
            let place = place.unwrap_or_else(|| {
                known.push(told.recipient);
                known.len() - 1
            });
            Came {
                number: told.number * each + place as u64,
                destination: 0,
                at: *at,
            }
        })
        .collect()
}

const CONNECTIONS: usize = 10;
const ROUND: Duration = Duration::from_millis(50);
const REST: Duration = Duration::from_millis(500);
