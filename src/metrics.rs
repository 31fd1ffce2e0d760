//! Counters of one core, without atomics; merged when somebody scrapes. Rooms say what happened, this file knows no rooms.

mod durations;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;

pub use durations::{DurationKey, DurationSamples, Durations, histograms};

/// A counter's name and up to three labels.
pub type Key = (&'static str, Labels);

/// Label names and values; empty names are left out.
pub type Labels = [(&'static str, &'static str); 3];

/// No labels.
pub const NONE: Labels = [("", ""); 3];

/// One label.
pub const fn label(name: &'static str, value: &'static str) -> Labels {
    [(name, value), ("", ""), ("", "")]
}

/// Two labels.
pub const fn labels(
    one: (&'static str, &'static str),
    two: (&'static str, &'static str),
) -> Labels {
    [one, two, ("", "")]
}

/// What one core has counted.
#[derive(Default)]
pub struct Metrics {
    counters: RefCell<HashMap<Key, i64>>,
}

/// A snapshot of one core.
pub type Samples = Vec<(Key, i64)>;

impl Metrics {
    /// Adds to a counter (or gauge: its name does not end in `_total`).
    pub fn add(&self, name: &'static str, labels: Labels, amount: i64) {
        *self
            .counters
            .borrow_mut()
            .entry((name, labels))
            .or_insert(0) += amount;
    }

    /// Counts one.
    pub fn count(&self, name: &'static str, labels: Labels) {
        self.add(name, labels, 1);
    }

    /// A snapshot.
    pub fn samples(&self) -> Samples {
        self.counters
            .borrow()
            .iter()
            .map(|(key, value)| (*key, *value))
            .collect()
    }
}

/// The samples of all cores as Prometheus text (exposition format 0.0.4), summed.
pub fn prometheus(cores: &[Samples]) -> String {
    let mut sums: std::collections::BTreeMap<Key, i64> = std::collections::BTreeMap::new();
    for (key, value) in cores.iter().flatten() {
        *sums.entry(*key).or_insert(0) += value;
    }
    let mut text = String::new();
    let mut last = "";
    for ((name, labels), value) in sums {
        if name != last {
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            let _ = writeln!(text, "# TYPE {name} {kind}");
            last = name;
        }
        let _ = write!(text, "{name}");
        let labels: Vec<String> = labels
            .iter()
            .filter(|(n, _)| !n.is_empty())
            .map(|(n, v)| format!("{n}=\"{v}\""))
            .collect();
        if !labels.is_empty() {
            let _ = write!(text, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(text, " {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_summed_and_types_told_once() {
        let (one, two) = (Metrics::default(), Metrics::default());
        one.count("ringmail_x_total", label("kind", "a"));
        two.add("ringmail_x_total", label("kind", "a"), 2);
        two.count("ringmail_x_total", label("kind", "b"));
        two.add("ringmail_open", NONE, 3);
        assert_eq!(
            prometheus(&[one.samples(), two.samples()]),
            "# TYPE ringmail_open gauge\nringmail_open 3\n# TYPE ringmail_x_total counter\nringmail_x_total{kind=\"a\"} 3\nringmail_x_total{kind=\"b\"} 1\n"
        );
    }
}
