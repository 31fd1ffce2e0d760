//! Figures of a run: what was done, how fast, and what it cost the server. As text or JSON.
//! Not here: what is an operation; each scenario says.

use std::time::Instant;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::error::Failure;
use crate::target::Target;
use crate::{metrics, process};

/// Latencies in microseconds, up to ten minutes, to 3 digits.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds are in order")
}

/// What one run against one server gave.
#[derive(Debug, Clone)]
pub struct Figures {
    /// The server.
    pub target: String,
    /// What one operation is.
    pub unit: &'static str,
    /// How many were done.
    pub operations: u64,
    /// Of what latencies are; a command may be many operations.
    pub latency_of: &'static str,
    /// Latencies in microseconds.
    pub latency: Histogram<u64>,
    /// Time and cost.
    pub usage: Usage,
    /// What else the scenario tells, by name.
    pub notes: Vec<(&'static str, f64)>,
}

/// Time that passed, and what the server used meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Wall seconds.
    pub secs: f64,
    /// CPU seconds of the server's process tree.
    pub cpu_secs: Option<f64>,
    /// The same by thread, busiest first.
    pub threads: Vec<(String, f64)>,
    /// Peak resident octets.
    pub peak: Option<u64>,
    /// Syncs of the server's storage.
    pub syncs: Option<f64>,
    /// CPU seconds of this tester.
    pub own_cpu_secs: f64,
}

/// Measures from its start to its stop.
pub struct Meter<'a> {
    target: &'a Target,
    before: Option<process::Reading>,
    own_before: process::Reading,
    syncs: Option<f64>,
    start: Instant,
}

impl<'a> Meter<'a> {
    /// Reads what has been used so far.
    pub fn start(target: &'a Target) -> Result<Self, Failure> {
        if let Some(pid) = target.pid {
            process::reset_peak(pid);
        }
        Ok(Self {
            target,
            syncs: syncs(target)?,
            before: target.pid.map(process::read),
            own_before: process::read(std::process::id()),
            start: Instant::now(),
        })
    }

    /// Reads again.
    pub fn stop(self) -> Result<Usage, Failure> {
        let secs = self.start.elapsed().as_secs_f64();
        let after = self.target.pid.map(process::read);
        let own = process::read(std::process::id());
        let mut usage = Usage {
            secs,
            own_cpu_secs: own.threads_secs() - self.own_before.threads_secs(),
            syncs: syncs(self.target)?
                .zip(self.syncs)
                .map(|(now, was)| now - was),
            ..Usage::default()
        };
        if let (Some(before), Some(after)) = (self.before, after) {
            usage.cpu_secs = Some(after.cpu_secs - before.cpu_secs);
            usage.peak = Some(after.peak);
            usage.threads = spread(&before, after);
        }
        Ok(usage)
    }
}

fn syncs(target: &Target) -> Result<Option<f64>, Failure> {
    let url = target.metrics.as_deref();
    url.map(|url| metrics::counter(url, SYNCS)).transpose()
}

/// CPU seconds of threads between two readings.
fn spread(before: &process::Reading, after: process::Reading) -> Vec<(String, f64)> {
    let mut threads: Vec<(String, f64)> = after
        .threads
        .into_iter()
        .map(|(key, (name, secs))| {
            let was = before.threads.get(&key).map_or(0.0, |it| it.1);
            (name, secs - was)
        })
        .filter(|(_, secs)| *secs >= 0.005)
        .collect();
    threads.sort_by(|a, b| b.1.total_cmp(&a.1));
    threads.truncate(THREADS_SHOWN);
    threads
}

impl Figures {
    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.usage.secs.max(1e-9)
    }

    /// CPU seconds of the server per 1000 operations.
    pub fn cpu_per_1000(&self) -> Option<f64> {
        let cpu = self.usage.cpu_secs?;
        Some(cpu * 1000.0 / self.operations.max(1) as f64)
    }

    /// Lines for people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{}: {} {} in {:.2} s, {:.1}/s\n",
            self.target,
            self.operations,
            self.unit,
            self.usage.secs,
            self.rate()
        );
        let latency: Vec<String> = percentiles(&self.latency)
            .map(|(name, micros)| format!("{name} {:.3}", micros as f64 / 1000.0))
            .into();
        text += &format!("  ms per {}: {}\n", self.latency_of, latency.join("  "));
        if let (Some(cpu), Some(per_1000)) = (self.usage.cpu_secs, self.cpu_per_1000()) {
            text += &format!("  server CPU {cpu:.2} s, {per_1000:.4} s per 1000");
            text += &format!("; tester CPU {:.2} s\n", self.usage.own_cpu_secs);
            let threads: Vec<String> = self
                .usage
                .threads
                .iter()
                .map(|(name, secs)| format!("{name} {secs:.2}"))
                .collect();
            text += &format!("  threads, CPU s: {}\n", threads.join(", "));
        }
        if let Some(peak) = self.usage.peak {
            text += &format!("  peak memory {:.1} MiB\n", peak as f64 / MEBI);
        }
        if let Some(syncs) = self.usage.syncs {
            let each = syncs / self.operations.max(1) as f64;
            text += &format!("  syncs {syncs}, {each:.4} per operation\n");
        }
        for (name, value) in &self.notes {
            text += &format!("  {name} {}\n", (value * 10.0).round() / 10.0);
        }
        text
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let latency: serde_json::Map<String, Value> = percentiles(&self.latency)
            .map(|(name, micros)| (name.to_owned(), json!(micros)))
            .into_iter()
            .collect();
        json!({
            "target": self.target,
            "unit": self.unit,
            "operations": self.operations,
            "secs": self.usage.secs,
            "operations_per_sec": self.rate(),
            "latency_of": self.latency_of,
            "latency_micros": latency,
            "server_cpu_secs": self.usage.cpu_secs,
            "server_cpu_secs_per_1000": self.cpu_per_1000(),
            "server_threads_cpu_secs": self.usage.threads,
            "server_peak_octets": self.usage.peak,
            "server_syncs": self.usage.syncs,
            "tester_cpu_secs": self.usage.own_cpu_secs,
            "notes": self.notes.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }
}

fn percentiles(latency: &Histogram<u64>) -> [(&'static str, u64); 5] {
    [
        ("p50", latency.value_at_quantile(0.5)),
        ("p90", latency.value_at_quantile(0.9)),
        ("p99", latency.value_at_quantile(0.99)),
        ("p99.9", latency.value_at_quantile(0.999)),
        ("max", latency.max()),
    ]
}

const SYNCS: &str = "ringmail_storage_syncs_total";
const THREADS_SHOWN: usize = 12;
const MEBI: f64 = 1_048_576.0;
