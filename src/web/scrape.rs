//! Counters of all cores, asked for over lanes: the text of `/metrics`, and whether the server is ready.

use std::fmt::Write;
use std::rc::Rc;

use shards::CoreId;
use shards::rt::Room;

use crate::calls::{Answer, Call};
use crate::metrics::{DurationSamples, Samples, prometheus};
use crate::percore::PerCore;
use crate::telemetry;

/// What the cores said.
#[derive(Default)]
pub(super) struct Scrape {
    pub(super) samples: Vec<Samples>,
    pub(super) durations: Vec<DurationSamples>,
    /// Cores without an answer in time.
    pub(super) silent: Vec<CoreId>,
}

/// Asks every core, this one too.
pub(super) async fn scrape(core: &Rc<PerCore>) -> Scrape {
    let mut scrape = Scrape::default();
    for id in (0..=core.shard_cores).map(CoreId) {
        match core.call(id, Call::Scrape).await {
            Ok(Answer::Samples(samples, durations)) => {
                scrape.samples.push(samples);
                scrape.durations.push(durations);
            }
            _ => scrape.silent.push(id),
        }
    }
    scrape
}

impl Scrape {
    /// Why the server is not ready; empty when it is.
    pub(super) fn reasons(&self, draining: bool) -> Vec<String> {
        let mut reasons = Vec::new();
        if draining {
            reasons.push("stopping: it takes no new connections".into());
        }
        for core in &self.silent {
            reasons.push(format!("core {} does not answer", core.0));
        }
        match self.sum("ringmail_storage_shards_poisoned") {
            0 => (),
            n => reasons.push(format!(
                "storage: {n} shards are out of service after a failed write; the log says why. Restart when the disk is sound"
            )),
        }
        match self.sum("ringmail_storage_shards_disk_low") {
            0 => (),
            n => reasons.push(format!(
                "storage: {n} shards take no new mail, the disk is nearly full"
            )),
        }
        reasons
    }

    fn sum(&self, name: &str) -> i64 {
        let all = self.samples.iter().flatten();
        all.filter(|((n, _), _)| *n == name).map(|(_, v)| v).sum()
    }
}

/// Prometheus text of what the cores counted, and what is counted once for the process.
pub(super) fn text(mut samples: Vec<Samples>, rooms: &[&'static Room], silent: usize) -> String {
    samples.push(telemetry::counts());
    let mut text = prometheus(&samples);
    // Each room from the first scrape, so that an alert on an increase sees the first panic.
    text.push_str("# TYPE ringmail_panics_total counter\n");
    for room in rooms {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "ringmail_panics_total{{room=\"{}\"}} {}",
            room.name,
            room.panics()
        );
    }
    let _ = writeln!(
        text,
        "# TYPE ringmail_scrape_cores_silent gauge\nringmail_scrape_cores_silent {silent}\n# TYPE ringmail_build_info gauge\nringmail_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::NONE;

    static ROOM: Room = Room::new("here");

    #[test]
    fn every_room_is_told_before_its_first_panic() {
        let text = text(vec![vec![(("ringmail_x_total", NONE), 2)]], &[&ROOM], 0);
        assert!(text.contains("ringmail_x_total 2\n"));
        assert!(text.contains("\nringmail_panics_total{room=\"here\"} 0\n"));
        assert!(text.ends_with("ringmail_build_info{version=\"0.1.0\"} 1\n"));
        // The exposition format: each line is a comment or a name, a space, a number.
        for line in text.lines().filter(|l| !l.starts_with("# TYPE ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(
                name.starts_with("ringmail_") && value.parse::<i64>().is_ok(),
                "{line}"
            );
        }
    }

    #[test]
    fn each_trouble_is_a_reason() {
        let well = Scrape {
            samples: vec![vec![(("ringmail_storage_shards_poisoned", NONE), 0)]],
            ..Scrape::default()
        };
        assert!(well.reasons(false).is_empty());
        assert_eq!(well.reasons(true).len(), 1);
        let ill = Scrape {
            samples: vec![
                vec![(("ringmail_storage_shards_poisoned", NONE), 1)],
                vec![(("ringmail_storage_shards_disk_low", NONE), 2)],
            ],
            silent: vec![CoreId(3)],
            ..Scrape::default()
        };
        let reasons = ill.reasons(false);
        assert_eq!(reasons.len(), 3);
        assert_eq!(reasons[0], "core 3 does not answer");
        assert!(reasons[1].starts_with("storage: 1 shards are out of service"));
        assert!(reasons[2].starts_with("storage: 2 shards take no new mail"));
    }
}
