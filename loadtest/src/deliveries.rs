//! What was accepted for relay against what came at the sink: lost, doubled, astray, and how long each was on its way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::error::Failure;
use crate::report::latencies;

/// A message that the server under test has taken.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Its number.
    pub number: u64,
    /// Its destination, an index of the sink's.
    pub destination: usize,
    /// When the 250 was read.
    pub at: Instant,
}

/// A message at the sink.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    /// Its number.
    pub number: u64,
    /// Where it came.
    pub destination: usize,
    /// When its end was read.
    pub at: Instant,
}

/// The comparison.
pub struct Deliveries {
    sent: u64,
    lost: u64,
    doubled: u64,
    astray: u64,
    first_wrong: Option<String>,
    /// From the 250 to the end of the message at the sink.
    pub latency: Histogram<u64>,
    /// Messages that came at each destination, and when the last did.
    by_destination: HashMap<usize, (u64, Instant)>,
}

impl Deliveries {
    /// Of one run.
    pub fn compare(sent: &[Sent], came: &[Came]) -> Self {
        let places: HashMap<u64, usize> = sent
            .iter()
            .enumerate()
            .map(|(place, sent)| (sent.number, place))
            .collect();
        let mut deliveries = Self {
            sent: sent.len() as u64,
            lost: 0,
            doubled: 0,
            astray: 0,
            first_wrong: None,
            latency: latencies(),
            by_destination: HashMap::new(),
        };
        let mut times = vec![0_u32; sent.len()];
        for came in came {
            let place = places.get(&came.number).copied();
            let Some(place) = place.filter(|it| sent[*it].destination == came.destination) else {
                deliveries.astray += 1;
                deliveries.wrong(came.number, "is where nobody sent it");
                continue;
            };
            times[place] += 1;
            if times[place] > 1 {
                deliveries.doubled += 1;
                deliveries.wrong(came.number, "is there twice");
                continue;
            }
            // A server may have delivered before its 250 is read here.
            let micros = came
                .at
                .saturating_duration_since(sent[place].at)
                .as_micros();
            deliveries.latency.saturating_record((micros as u64).max(1));
            let so_far = deliveries.by_destination.entry(came.destination);
            let so_far = so_far.or_insert((0, came.at));
            *so_far = (so_far.0 + 1, so_far.1.max(came.at));
        }
        for (sent, _) in sent.iter().zip(&times).filter(|(_, times)| **times == 0) {
            deliveries.lost += 1;
            deliveries.wrong(sent.number, "is not there");
        }
        deliveries
    }

    fn wrong(&mut self, number: u64, what: &str) {
        let text = || format!("number {number} {what}");
        self.first_wrong.get_or_insert_with(text);
    }

    /// Whether each message came.
    pub fn is_whole(&self) -> bool {
        self.lost == 0
    }

    /// Whether each came once, where it was sent.
    pub fn check(&self) -> Result<(), Failure> {
        match &self.first_wrong {
            None => Ok(()),
            Some(first) => Err(Failure::Verify(format!(
                "of {} accepted messages {} are not at the sink, {} are there once more and {} elsewhere; one of them: {first}",
                self.sent, self.lost, self.doubled, self.astray
            ))),
        }
    }

    /// Messages that came at some destinations, and how long that took from `begin` on.
    pub fn until_last(&self, begin: Instant, which: impl Fn(usize) -> bool) -> (u64, Duration) {
        let of = self.by_destination.iter().filter(|(it, _)| which(**it));
        let (mut count, mut last) = (0, begin);
        for (_, (messages, at)) in of {
            count += messages;
            last = last.max(*at);
        }
        (count, last.duration_since(begin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(start: Instant) -> Vec<Sent> {
        (0..4)
            .map(|number| Sent {
                number,
                destination: number as usize % 2,
                at: start,
            })
            .collect()
    }

    fn came(start: Instant, all: &[(u64, usize)]) -> Vec<Came> {
        all.iter()
            .map(|&(number, destination)| Came {
                number,
                destination,
                at: start + Duration::from_secs(number),
            })
            .collect()
    }

    #[test]
    fn a_whole_run_has_times_by_destination() {
        let start = Instant::now();
        let came = came(start, &[(3, 1), (0, 0), (1, 1), (2, 0)]);
        let deliveries = Deliveries::compare(&sent(start), &came);
        assert!(deliveries.is_whole() && deliveries.check().is_ok());
        let all = deliveries.until_last(start, |_| true);
        assert_eq!(all, (4, Duration::from_secs(3)));
        let first = deliveries.until_last(start, |it| it == 0);
        assert_eq!(first, (2, Duration::from_secs(2)));
        assert_eq!(deliveries.latency.len(), 4);
    }

    #[test]
    fn lost_doubled_and_astray_messages_are_told() {
        let start = Instant::now();
        let came = came(start, &[(0, 0), (0, 0), (1, 0), (9, 1)]);
        let deliveries = Deliveries::compare(&sent(start), &came);
        assert!(!deliveries.is_whole());
        let text = deliveries.check().unwrap_err().to_string();
        assert!(text.contains("of 4 accepted messages 3 are not"), "{text}");
        assert!(text.contains("1 are there once more and 2 elsewhere"));
        assert!(text.contains("number 0 is there twice"));
        let doubled = Deliveries::compare(&sent(start)[..1], &came[..2]);
        assert!(doubled.is_whole() && doubled.check().is_err());
    }
}
