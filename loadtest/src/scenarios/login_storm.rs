//! A storm of wrong passwords: many connections guess without a pause, while one that is logged in sends NOOP at a steady pace. Windows
//! of quiet and storm alternate, so that what else the machine does meets both; what counts is by how much a NOOP's p99 grows.
//! Attempts under way at the end of a storm end before the next quiet window.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sasl::Mechanism;
use serde_json::json;

use super::logins::{door, mechanisms};
use crate::engine::Engine;
use crate::error::Failure;
use crate::logins::{Attempts, Keys, LoginTraffic, Plan};
use crate::options::Options;
use crate::pace::{Latencies, Pace, Phase};
use crate::report::latencies;
use crate::target::{Security, Target, address};

/// Runs against each target in turn.
pub fn run(options: &Options) -> Result<(), Failure> {
    for target in &options.targets {
        Storm::new(options, target)?.run()?;
    }
    Ok(())
}

struct Storm<'a> {
    options: &'a Options,
    /// Where NOOPs go.
    calm: &'a Target,
    /// Where the storm goes.
    target: Target,
    mechanisms: Vec<Mechanism>,
    pacer: (String, String),
    guessed: Vec<(String, String)>,
}

/// What came of the attempts.
struct Outcome {
    refused: u64,
    unavailable: u64,
    turned_away: u64,
    latency: Histogram<u64>,
    secs: f64,
}

impl<'a> Storm<'a> {
    fn new(options: &'a Options, calm: &'a Target) -> Result<Self, Failure> {
        let mut target = calm.clone();
        if let Some(text) = &options.smtp {
            target.address = address(text, options.allow_remote)?;
        }
        let mut guessed = calm.logins()?;
        if guessed.len() < 2 {
            let text =
                "login-storm: --user must name two accounts or more; the first one sends NOOP";
            return Err(Failure::Usage(text.into()));
        }
        if calm.security == Security::StartTls {
            return Err(Failure::Usage("login-storm: --tls or nothing".into()));
        }
        let pacer = guessed.remove(0);
        Ok(Self {
            options,
            calm,
            target,
            mechanisms: mechanisms(options, &[Mechanism::Plain, Mechanism::ScramSha256])?,
            pacer,
            guessed,
        })
    }

    fn run(self) -> Result<(), Failure> {
        let options = self.options;
        let window = Duration::from_secs(options.window_secs);
        let mut outcome = Outcome {
            refused: 0,
            unavailable: 0,
            turned_away: 0,
            latency: latencies(),
            secs: 0.0,
        };
        let mut keys = self.derived_keys()?;
        let pause = Duration::from_micros(options.pause_micros);
        let pace = Pace::start(self.calm, self.pacer.clone(), pause)?;
        for round in 0..options.rounds {
            eprintln!("window {} of {}: quiet", round + 1, options.rounds);
            thread::sleep(SETTLE);
            pace.enter(Phase::Quiet);
            thread::sleep(window);
            pace.enter(Phase::Between);
            eprintln!("window {} of {}: storm", round + 1, options.rounds);
            keys = self.storm(keys, window, &pace, &mut outcome)?;
        }
        let latencies = pace.finish()?;
        self.report(&latencies, &outcome)
    }

    /// One wrong attempt for each account and SCRAM mechanism.
    fn derived_keys(&self) -> Result<Keys, Failure> {
        let mut keys = Keys::new();
        for mechanism in self.mechanisms.iter().filter(|m| m.scram_hash().is_some()) {
            let count = self.guessed.len() as u64;
            let mut traffic = LoginTraffic::new(self.plan(vec![*mechanism], count, 1)?, keys)?;
            let mut engine = Engine::new(&self.target.name, self.options.timeout)?;
            engine.add(&mut traffic)?;
            engine.run(&mut traffic, |_| false)?;
            keys = traffic.keys;
        }
        Ok(keys)
    }

    fn plan(&self, mechanisms: Vec<Mechanism>, count: u64, each: u32) -> Result<Plan<'_>, Failure> {
        Ok(Plan {
            target: &self.target,
            door: door(self.options)?,
            mechanisms,
            logins: self.guessed.clone(),
            first: 0,
            source: self.options.source,
            attempts: Attempts::Wrong(each),
            count,
        })
    }

    fn storm(
        &self,
        keys: Keys,
        window: Duration,
        pace: &Pace,
        outcome: &mut Outcome,
    ) -> Result<Keys, Failure> {
        let each = self.options.attempts;
        let plan = self.plan(self.mechanisms.clone(), u64::MAX, each)?;
        let mut traffic = LoginTraffic::new(plan, keys)?;
        let mut engine = Engine::new(&self.target.name, self.options.timeout)?;
        for _ in 0..self.options.connections.unwrap_or(CONNECTIONS) {
            engine.add(&mut traffic)?;
        }
        let begun = Instant::now();
        engine.run(&mut traffic, |_| begun.elapsed() >= SETTLE)?;
        let before = traffic.done;
        pace.enter(Phase::Storm);
        let begun = Instant::now();
        engine.run(&mut traffic, |_| begun.elapsed() >= window)?;
        pace.enter(Phase::Between);
        outcome.secs += begun.elapsed().as_secs_f64();
        outcome.refused += traffic.done - before;
        traffic.stop();
        engine.run(&mut traffic, |_| false)?;
        outcome.unavailable += traffic.unavailable;
        outcome.turned_away += traffic.turned_away;
        let added = outcome.latency.add(&traffic.latency);
        added.expect("both have the same bounds");
        Ok(traffic.keys)
    }

    fn report(&self, noops: &Latencies, outcome: &Outcome) -> Result<(), Failure> {
        let name = &self.target.name;
        let p99 = |latency: &Histogram<u64>| latency.value_at_quantile(0.99);
        let ratio = p99(&noops.storm) as f64 / p99(&noops.quiet).max(1) as f64;
        let rate = outcome.refused as f64 / outcome.secs;
        if self.options.json {
            let all = |latency: &Histogram<u64>| json!({ "count": latency.len(), "p50": latency.value_at_quantile(0.5), "p99": p99(latency), "max": latency.max() });
            println!(
                "{}",
                json!({
                    "target": name,
                    "noop_quiet_micros": all(&noops.quiet),
                    "noop_storm_micros": all(&noops.storm),
                    "p99_ratio": ratio,
                    "refused_per_sec": rate,
                    "attempt_micros": all(&outcome.latency),
                    "unavailable": outcome.unavailable,
                    "turned_away": outcome.turned_away,
                })
            );
        } else {
            println!(
                "{name}: NOOP, p99 in the storm / quiet: {ratio:.2}\n  quiet: {}\n  storm: {}\n  wrong logins: {rate:.1}/s refused; {}; {} not checked, {} connections turned away",
                text(&noops.quiet),
                text(&noops.storm),
                text(&outcome.latency),
                outcome.unavailable,
                outcome.turned_away,
            );
        }
        match self.options.at_most {
            Some(most) if ratio > most => Err(Failure::Verify(format!(
                "{name}: the p99 of NOOP in the storm is {ratio:.2} times that of quiet windows, more than {most}"
            ))),
            _ => Ok(()),
        }
    }
}

fn text(latency: &Histogram<u64>) -> String {
    let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    format!(
        "{} in all, ms: p50 {:.3}  p90 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.3}",
        latency.len(),
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(0.999),
        latency.max() as f64 / 1000.0
    )
}

const CONNECTIONS: usize = 100;
/// Before a window's NOOPs count.
const SETTLE: Duration = Duration::from_secs(1);
