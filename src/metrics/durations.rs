//! How long things took, in fixed buckets: plain numbers of one core, merged when somebody scrapes. Prometheus histograms.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::Duration;

/// A histogram's name and up to three labels; empty names are left out.
pub type DurationKey = (&'static str, [(&'static str, &'static str); 3]);

/// The durations of one core.
#[derive(Default)]
pub struct Durations(RefCell<HashMap<DurationKey, Buckets>>);

/// One histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// How many fell into each bucket of [`BOUNDS_US`]; the last is for all above.
    counts: [u64; BOUNDS_US.len() + 1],
    sum_us: u64,
}

impl Buckets {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// A snapshot of one core.
pub type DurationSamples = Vec<(DurationKey, Buckets)>;

impl Durations {
    /// Adds one.
    pub fn observe(&self, key: DurationKey, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|(bound, _)| *bound < us);
        let mut all = self.0.borrow_mut();
        let buckets = all.entry(key).or_default();
        buckets.counts[bucket] += 1;
        buckets.sum_us = buckets.sum_us.saturating_add(us);
    }

    /// A snapshot.
    pub fn samples(&self) -> DurationSamples {
        self.0.borrow().iter().map(|(k, v)| (*k, *v)).collect()
    }
}

/// The histograms of all cores as Prometheus text, summed.
pub fn histograms(cores: &[DurationSamples]) -> String {
    let mut sums: BTreeMap<DurationKey, Buckets> = BTreeMap::new();
    for (key, one) in cores.iter().flatten() {
        let sum = sums.entry(*key).or_default();
        for (total, count) in sum.counts.iter_mut().zip(one.counts) {
            *total += count;
        }
        sum.sum_us = sum.sum_us.saturating_add(one.sum_us);
    }
    let mut text = String::new();
    let mut last = "";
    for ((name, labels), buckets) in sums {
        if name != last {
            let _ = writeln!(text, "# TYPE {name} histogram");
            last = name;
        }
        let labels: Vec<String> = labels
            .iter()
            .filter(|(n, _)| !n.is_empty())
            .map(|(n, v)| format!("{n}=\"{v}\""))
            .collect();
        write_one(&mut text, name, &labels.join(","), &buckets);
    }
    text
}

fn write_one(text: &mut String, name: &str, labels: &str, buckets: &Buckets) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut total = 0;
    let bounds = BOUNDS_US.iter().map(|(_, word)| *word).chain(["+Inf"]);
    for (word, count) in bounds.zip(buckets.counts) {
        total += count;
        let _ = writeln!(
            text,
            "{name}_bucket{{{labels}{comma}le=\"{word}\"}} {total}"
        );
    }
    let seconds = buckets.sum_us as f64 / 1e6;
    let _ = writeln!(text, "{name}_sum{{{labels}}} {seconds}");
    let _ = writeln!(text, "{name}_count{{{labels}}} {total}");
}

/// Upper bounds in microseconds, and the same in seconds as Prometheus writes them.
const BOUNDS_US: [(u64, &str); 10] = [
    (1_000, "0.001"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (20_000_000, "20"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_cores_are_summed() {
        let key = ("ringmail_x_seconds", [("cmd", "NOOP"), ("", ""), ("", "")]);
        let (one, two) = (Durations::default(), Durations::default());
        one.observe(key, Duration::from_millis(1));
        one.observe(key, Duration::from_micros(1_001));
        two.observe(key, Duration::from_secs(30));
        let text = histograms(&[one.samples(), two.samples()]);
        let expected = [
            "# TYPE ringmail_x_seconds histogram",
            "ringmail_x_seconds_bucket{cmd=\"NOOP\",le=\"0.001\"} 1",
            "ringmail_x_seconds_bucket{cmd=\"NOOP\",le=\"0.005\"} 2",
            "ringmail_x_seconds_bucket{cmd=\"NOOP\",le=\"20\"} 2",
            "ringmail_x_seconds_bucket{cmd=\"NOOP\",le=\"+Inf\"} 3",
            "ringmail_x_seconds_sum{cmd=\"NOOP\"} 30.002001",
            "ringmail_x_seconds_count{cmd=\"NOOP\"} 3",
        ];
        for line in expected {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert_eq!(text.lines().count(), 1 + 11 + 2);
    }
}
