//! Runs a scenario against one server, or against two in alternation (A B A B ..), and compares pair by pair: what else
//! the machine does meanwhile meets both.

use serde_json::{Value, json};

use crate::error::Failure;
use crate::report::Figures;
use crate::target::Target;

/// All rounds of all targets, shown as they come. `run` is given the target and the round, from 0.
pub fn run(
    targets: &[Target],
    rounds: usize,
    json: bool,
    mut run: impl FnMut(&Target, usize) -> Result<Figures, Failure>,
) -> Result<(), Failure> {
    let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); targets.len()];
    for round in 0..rounds {
        for (target, figures) in targets.iter().zip(&mut figures) {
            eprintln!("round {} of {rounds}: {}", round + 1, target.name);
            let result = run(target, round)?;
            if !json {
                print!("{}", result.text());
            }
            figures.push(result);
        }
    }
    let comparisons: Vec<Comparison> = figures[1..]
        .iter()
        .map(|peer| Comparison::new(&figures[0], peer))
        .collect();
    if json {
        let all: Vec<Value> = figures.iter().flatten().map(Figures::json).collect();
        let ratios: Vec<Value> = comparisons.iter().map(Comparison::json).collect();
        println!("{}", json!({ "rounds": all, "comparisons": ratios }));
    } else {
        for comparison in &comparisons {
            print!("{}", comparison.text());
        }
    }
    Ok(())
}

/// Ours against a peer: medians over the pairs.
struct Comparison {
    names: (String, String),
    rates: (f64, f64),
    rate_ratio: f64,
    cpu: Option<CpuComparison>,
}

struct CpuComparison {
    per_1000: (f64, f64),
    ratio: f64,
}

impl Comparison {
    fn new(ours: &[Figures], peer: &[Figures]) -> Self {
        let pairs = || ours.iter().zip(peer);
        let name = |figures: &[Figures]| {
            figures
                .first()
                .map_or(String::new(), |it| it.target.clone())
        };
        let cpu: Option<Vec<(f64, f64)>> = pairs()
            .map(|(a, b)| a.cpu_per_1000().zip(b.cpu_per_1000()))
            .collect();
        Self {
            names: (name(ours), name(peer)),
            rates: (
                median(ours.iter().map(Figures::rate)),
                median(peer.iter().map(Figures::rate)),
            ),
            rate_ratio: median(pairs().map(|(a, b)| a.rate() / b.rate())),
            cpu: cpu.map(|cpu| CpuComparison {
                per_1000: (
                    median(cpu.iter().map(|pair| pair.0)),
                    median(cpu.iter().map(|pair| pair.1)),
                ),
                ratio: median(cpu.iter().map(|(a, b)| a / b)),
            }),
        }
    }

    fn text(&self) -> String {
        let (ours, peer) = &self.names;
        let mut text = format!(
            "{ours} / {peer}, medians of pairs: rate {:.1} / {:.1} = {:.2}\n",
            self.rates.0, self.rates.1, self.rate_ratio
        );
        if let Some(cpu) = &self.cpu {
            text += &format!(
                "{ours} / {peer}, medians of pairs: CPU s per 1000 {:.4} / {:.4} = {:.4} (1/{:.1})\n",
                cpu.per_1000.0,
                cpu.per_1000.1,
                cpu.ratio,
                1.0 / cpu.ratio
            );
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "ours": self.names.0,
            "peer": self.names.1,
            "rate_ratio_median": self.rate_ratio,
            "cpu_ratio_median": self.cpu.as_ref().map(|cpu| cpu.ratio),
        })
    }
}

/// Not a number if there are none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }
}
