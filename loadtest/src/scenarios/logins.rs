//! Logins, each on a connection of its own. An operation is a login that succeeded; its latency is that of the exchange, the rate and
//! the server's CPU time have the connection (and TLS) in them.
//! Unless `--cold`, every account has logged in once before the clock starts: what the server remembers it has then, and SCRAM's keys
//! are derived.

use sasl::Mechanism;

use crate::engine::Engine;
use crate::error::Failure;
use crate::logins::{Attempts, Door, Keys, LoginTraffic, Plan};
use crate::options::Options;
use crate::progress::Progress;
use crate::report::{Figures, Meter};
use crate::rounds;
use crate::target::Target;

/// Runs all rounds.
pub fn run(options: &Options) -> Result<(), Failure> {
    let door = door(options)?;
    let mechanisms = mechanisms(options, &[Mechanism::Plain])?;
    if options.cold && mechanisms.iter().any(|m| m.scram_hash().is_some()) {
        let text =
            "--cold is for PLAIN and LOGIN: the keys of SCRAM are derived before the clock starts";
        return Err(Failure::Usage(text.into()));
    }
    let count = options.count.unwrap_or(COUNT);
    let mut all_keys = vec![Keys::new(); options.targets.len()];
    rounds::run(
        &options.targets,
        options.rounds,
        options.json,
        |target, round| {
            let index = options
                .targets
                .iter()
                .position(|t| t.address == target.address);
            let keys = &mut all_keys[index.unwrap_or(0)];
            let plan = |count, first| {
                Ok(Plan {
                    target,
                    door,
                    mechanisms: mechanisms.clone(),
                    logins: target.logins()?,
                    first,
                    source: options.source,
                    attempts: Attempts::Right,
                    count,
                })
            };
            if !options.cold {
                let each = plan(0, 0)?.logins.len() as u64;
                // One connection for each mechanism.
                for mechanism in &mechanisms {
                    let plan = Plan {
                        mechanisms: vec![*mechanism],
                        ..plan(each, 0)?
                    };
                    let mut traffic = LoginTraffic::new(plan, std::mem::take(keys))?;
                    serve(options, target, &mut traffic, 1, each)?;
                    *keys = traffic.keys;
                }
            }
            // A cold run goes on with the next accounts, so that with enough of them each logs in once.
            let first = if options.cold {
                round as u64 * count
            } else {
                0
            };
            let mut traffic = LoginTraffic::new(plan(count, first)?, std::mem::take(keys))?;
            let meter = Meter::start(target)?;
            let connections = options.connections.unwrap_or(1);
            serve(options, target, &mut traffic, connections, count)?;
            let usage = meter.stop()?;
            *keys = std::mem::take(&mut traffic.keys);
            Ok(Figures {
                target: target.name.clone(),
                unit: "logins",
                operations: traffic.done,
                latency_of: "login",
                latency: traffic.latency,
                usage,
                notes: Vec::new(),
            })
        },
    )
}

fn serve(
    options: &Options,
    target: &Target,
    traffic: &mut LoginTraffic<'_>,
    connections: usize,
    count: u64,
) -> Result<(), Failure> {
    let mut engine = Engine::new(&target.name, options.timeout)?;
    for _ in 0..connections.min(count as usize) {
        engine.add(traffic)?;
    }
    let mut progress = Progress::new(format!("{}: logins", target.name), count);
    // Over when their goodbyes are: then no connection is left.
    engine.run(traffic, |traffic| {
        progress.at(traffic.done);
        false
    })
}

/// `--protocol`
pub(super) fn door(options: &Options) -> Result<Door, Failure> {
    match options.protocol.as_str() {
        "imap" => Ok(Door::Imap),
        "submission" => Ok(Door::Submission),
        _ => Err(Failure::Usage("--protocol imap or submission".into())),
    }
}

/// `--mechanism`
pub(super) fn mechanisms(
    options: &Options,
    default: &[Mechanism],
) -> Result<Vec<Mechanism>, Failure> {
    let Some(text) = &options.mechanism else {
        return Ok(default.to_vec());
    };
    let each = text.split(',').map(|name| {
        let found = Mechanism::parse(name);
        let usable = |m: &Mechanism| *m == Mechanism::Plain || m.scram_hash().is_some();
        found.filter(usable).ok_or_else(|| {
            Failure::Usage(format!("--mechanism {name}: PLAIN or SCRAM-SHA-256[-PLUS]"))
        })
    });
    each.collect()
}

const COUNT: u64 = 1000;
