//! `relay --bars`: each round of a server is three runs, to all destinations, to one, and to all of which the last stalls. The ratios
//! are medians over the rounds.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::relay::{Bench, Course};
use crate::error::Failure;
use crate::options::Options;
use crate::report::Figures;
use crate::rounds::{self, median};

/// Runs all rounds, and says each ratio.
pub fn run(options: &Options, bench: &Bench<'_>) -> Result<(), Failure> {
    let ratios: RefCell<BTreeMap<String, Vec<Ratios>>> = RefCell::default();
    let stalled = options.stalled.max(1);
    let (all, others) = (options.destinations, options.destinations - stalled);
    let course = |destinations, stalled| Course {
        destinations,
        stalled,
    };
    rounds::run(
        &options.targets,
        options.rounds,
        options.json,
        |target, _| {
            let to_all = bench.run(target, course(all, 0))?;
            let to_one = bench.run(target, course(1, 0))?;
            let with_stalled = bench.run(target, course(all, stalled))?;
            if !options.json {
                show(&to_one.figures, "to 1 destination");
                show(
                    &with_stalled.figures,
                    &format!("{stalled} of {all} stalled"),
                );
            }
            let ratio = Ratios {
                one: to_one.figures.rate() / to_all.figures.rate(),
                others: with_stalled.rate_of_first(others) / to_all.rate_of_first(others),
            };
            let name = target.name.clone();
            ratios.borrow_mut().entry(name).or_default().push(ratio);
            Ok(to_all.figures)
        },
    )?;
    let mut values = Vec::new();
    for (name, ratios) in ratios.take() {
        let one = median(ratios.iter().map(|it| it.one));
        let rate = median(ratios.iter().map(|it| it.others));
        if options.json {
            values.push(json!({ "target": name, "one_to_all": one, "stalled_to_none": rate }));
        } else {
            println!("{name}: rate to 1 destination / to {all}: {one:.3}");
            println!("{name}: rate to the other {others}, {stalled} stalled / none: {rate:.3}");
        }
    }
    if options.json {
        println!("{}", json!({ "bars": Value::from(values) }));
    }
    Ok(())
}

/// Of one round.
struct Ratios {
    one: f64,
    others: f64,
}

fn show(figures: &Figures, what: &str) {
    let named = Figures {
        target: format!("{}, {what}", figures.target),
        ..figures.clone()
    };
    print!("{}", named.text());
}
