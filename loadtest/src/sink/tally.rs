//! What a destination got: counts, and every accepted message's number, so that lost and doubled ones are known exactly.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::Destination;

/// One message for one recipient.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The message's number in its run.
    pub number: u64,
    /// Hash of the recipient's address: one message may go to several.
    pub recipient: u64,
    /// When its end was read.
    pub at: Instant,
}

/// What a connection brought since the counts began, which may be later than itself.
#[derive(Debug, Default)]
pub struct Used {
    resets: Option<u64>,
    messages: u64,
}

/// Counts of one destination.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections, also those answered with 421.
    pub connections: u64,
    /// Of them open now.
    pub open: u64,
    /// Most of them open at once.
    pub open_most: u64,
    /// Connections that brought at least one message.
    pub connections_used: u64,
    /// Accepted messages.
    pub messages: u64,
    /// Most messages of one connection.
    pub messages_most: u64,
    /// Recipients of accepted messages.
    pub recipients: u64,
    /// Octets of accepted messages.
    pub octets: u64,
    /// Replies 4xx.
    pub deferred: u64,
    /// Replies 5xx that a rule asked for.
    pub refused: u64,
    /// Replies 5xx to what the sender did wrong.
    pub mistakes: u64,
    /// Faults that were played.
    pub faults: u64,
    /// Messages taken whole and then, by a fault, not answered with 250.
    pub unanswered: u64,
    /// Messages whose body is not what its header promises.
    pub damaged: u64,
    /// TLS handshakes done.
    pub handshakes: u64,
    /// When the first and the last message were accepted.
    pub times: Option<(SystemTime, SystemTime)>,
    /// Accepted messages without a number of ours.
    pub unnumbered: u64,
    /// Turn of those recipients that a rule about a share of them means.
    pub share: u64,
    resets: u64,
    runs: HashMap<Box<str>, Vec<Arrival>>,
    /// First attempts of recipients, for greylisting.
    pub seen: HashMap<u64, Instant>,
}

impl Tally {
    /// A connection came.
    pub fn opened(&mut self) {
        self.connections += 1;
        self.open += 1;
        self.open_most = self.open_most.max(self.open);
    }

    /// A message was accepted on a connection.
    pub fn accepted(&mut self, connection: &mut Used, octets: u64) {
        if connection.resets != Some(self.resets) {
            *connection = Used {
                resets: Some(self.resets),
                messages: 0,
            };
            self.connections_used += 1;
        }
        connection.messages += 1;
        self.messages += 1;
        self.messages_most = self.messages_most.max(connection.messages);
        self.octets += octets;
        let now = SystemTime::now();
        self.times = Some((self.times.map_or(now, |times| times.0), now));
    }

    /// Remembers a message by its token, `run.number`.
    pub fn remember(&mut self, token: Option<&str>, recipients: &[u64], at: Instant) {
        self.recipients += recipients.len() as u64;
        let parts = token.and_then(|token| token.rsplit_once('.'));
        let Some((run, Ok(number))) = parts.map(|(run, number)| (run, number.parse())) else {
            self.unnumbered += 1;
            return;
        };
        if !self.runs.contains_key(run) {
            self.runs.insert(run.into(), Vec::new());
        }
        let arrivals = self.runs.get_mut(run).expect("it was inserted above");
        arrivals.extend(recipients.iter().map(|&recipient| Arrival {
            number,
            recipient,
            at,
        }));
    }

    /// What came of a run.
    pub fn arrivals(&self, run: &str) -> &[Arrival] {
        self.runs.get(run).map_or(&[], Vec::as_slice)
    }

    /// Begins counting anew, with the connections that are open. Numbers of messages are kept.
    pub fn reset(&mut self) {
        let open = self.open;
        *self = Self {
            open,
            open_most: open,
            resets: self.resets + 1,
            runs: std::mem::take(&mut self.runs),
            seen: std::mem::take(&mut self.seen),
            ..Self::default()
        };
    }

    /// The counts.
    pub fn json(&self) -> Value {
        let secs = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH);
            since.map_or(0.0, |since| since.as_secs_f64())
        };
        let per_connection = self.messages as f64 / self.connections_used.max(1) as f64;
        json!({
            "connections": self.connections,
            "connections_open": self.open,
            "connections_open_most": self.open_most,
            "connections_used": self.connections_used,
            "messages": self.messages,
            "messages_per_connection": per_connection,
            "messages_per_connection_most": self.messages_most,
            "recipients": self.recipients,
            "octets": self.octets,
            "deferred": self.deferred,
            "refused": self.refused,
            "mistakes": self.mistakes,
            "faults": self.faults,
            "unanswered": self.unanswered,
            "damaged": self.damaged,
            "unnumbered": self.unnumbered,
            "handshakes": self.handshakes,
            "first_message_unix_secs": self.times.map(|times| secs(times.0)),
            "last_message_unix_secs": self.times.map(|times| secs(times.1)),
        })
    }
}

/// By run: messages, doubled ones, gaps in their numbers, and the time from the first to the last.
pub fn runs(destinations: &[Destination]) -> Value {
    let mut all: BTreeMap<Box<str>, Vec<Arrival>> = BTreeMap::new();
    for destination in destinations {
        for (run, arrivals) in &destination.tally().runs {
            all.entry(run.clone()).or_default().extend(arrivals);
        }
    }
    let mut values = Map::new();
    for (run, arrivals) in all {
        values.insert(run.into(), summary(&arrivals));
    }
    Value::Object(values)
}

fn summary(arrivals: &[Arrival]) -> Value {
    let pairs: HashSet<(u64, u64)> = arrivals
        .iter()
        .map(|it| (it.number, it.recipient))
        .collect();
    let numbers: HashSet<u64> = arrivals.iter().map(|it| it.number).collect();
    let first = numbers.iter().min().copied().unwrap_or(0);
    let highest = numbers.iter().max().copied().unwrap_or(0);
    let times = arrivals.iter().map(|it| it.at);
    let span = times.clone().min().zip(times.max());
    json!({
        "messages": numbers.len(),
        "deliveries": arrivals.len(),
        "doubled": arrivals.len() - pairs.len(),
        "first": first,
        "highest": highest,
        "missing": highest - first + 1 - numbers.len() as u64,
        "secs": span.map(|(first, last)| last.duration_since(first).as_secs_f64()),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn doubled_and_missing_numbers_are_counted() {
        let start = Instant::now();
        let arrival = |(number, recipient)| Arrival {
            number,
            recipient,
            at: start + Duration::from_secs(number),
        };
        let of = summary(&[(4, 1), (3, 1), (4, 2), (7, 1), (3, 1)].map(arrival));
        let expected = json!({
            "messages": 3, "deliveries": 5, "doubled": 1, "first": 3, "highest": 7, "missing": 2, "secs": 4.0,
        });
        assert_eq!(of, expected);
    }

    #[test]
    fn runs_are_kept_apart_and_outlast_a_reset() {
        let mut tally = Tally::default();
        let now = Instant::now();
        let mut connection = Used::default();
        tally.opened();
        tally.accepted(&mut connection, 10);
        tally.accepted(&mut connection, 10);
        assert_eq!((tally.connections_used, tally.messages_most), (1, 2));
        tally.remember(Some("a.000007"), &[1, 2], now);
        tally.remember(Some("b.c.000008"), &[1], now);
        tally.remember(Some("a.x"), &[1], now);
        tally.remember(None, &[1], now);
        assert_eq!((tally.recipients, tally.unnumbered), (5, 2));
        assert_eq!(tally.arrivals("a").len(), 2);
        assert_eq!(tally.arrivals("b.c")[0].number, 8);
        tally.reset();
        assert_eq!((tally.messages, tally.open, tally.open_most), (0, 1, 1));
        tally.accepted(&mut connection, 10);
        assert_eq!((tally.connections_used, tally.messages_most), (1, 1));
        assert_eq!(tally.arrivals("a").len(), 2);
    }
}
