//! Messages relayed: submitted to the server under test, delivered by it to the sink. An operation is a message that came there; the
//! rate is that from the first connection to the last delivery, the latency that from the 250 to the end of the message at the sink.
//!
//! Sink and DNS run in this process and stay for all rounds; connections that a server keeps open to them it may use again.
//! Message after message goes to the next destination. Those to a stalled one are submitted too, and not waited for.
//! Not here: how the server is told where the destinations are; docs/BENCHMARKS.md says.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use crate::deliveries::{Came, Deliveries, Sent};
use crate::engine::Engine;
use crate::error::Failure;
use crate::messages::Messages;
use crate::options::Options;
use crate::progress::Progress;
use crate::report::{Figures, Meter};
use crate::rounds;
use crate::sink::{Sink, stalled_address_of};
use crate::smtp_traffic::{Plan, Sender, SmtpTraffic};
use crate::target::Target;
use crate::zone::Zone;

/// Runs all rounds; then nothing may be lost, and nothing there twice.
pub fn run(options: &Options) -> Result<(), Failure> {
    let bench = Bench::start(options)?;
    if options.bars {
        super::relay_bars::run(options, &bench)?;
    } else {
        let course = Course {
            destinations: options.destinations,
            stalled: options.stalled,
        };
        rounds::run(
            &options.targets,
            options.rounds,
            options.json,
            |target, _| Ok(bench.run(target, course)?.figures),
        )?;
    }
    bench.check()
}

/// Where a run's messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Course {
    /// How many destinations.
    pub destinations: usize,
    /// How many of them, the last ones, stall.
    pub stalled: usize,
}

impl Course {
    fn others(self) -> usize {
        self.destinations - self.stalled
    }

    fn recipients(self) -> Result<Vec<smtp::Address>, Failure> {
        let others = (0..self.others()).map(|index| format!("load@d{index}.test"));
        let stalled = (0..self.stalled).map(|index| format!("load@s{index}.test"));
        Plan::recipients(&others.chain(stalled).collect::<Vec<String>>())
    }
}

/// What came of a run.
pub(super) struct Outcome {
    /// Of all destinations that do not stall.
    pub figures: Figures,
    begin: Instant,
    deliveries: Deliveries,
}

impl Outcome {
    /// Rate of the first destinations alone.
    pub fn rate_of_first(&self, destinations: usize) -> f64 {
        let (count, time) = self
            .deliveries
            .until_last(self.begin, |it| it < destinations);
        count as f64 / time.as_secs_f64().max(1e-9)
    }
}

/// Sink, DNS, and what was sent so far.
pub(super) struct Bench<'a> {
    options: &'a Options,
    sink: Sink,
    _zone: Zone,
    runs: RefCell<Vec<(String, Vec<Sent>)>>,
}

impl<'a> Bench<'a> {
    fn start(options: &'a Options) -> Result<Self, Failure> {
        let stalled = options.stalled.max(usize::from(options.bars));
        if stalled >= options.destinations && stalled > 0 {
            let text = "--stalled must be less than --destinations";
            return Err(Failure::Usage(text.into()));
        }
        let mut addresses = super::sink::addresses(options)?;
        let mut script = super::sink::script(options)?;
        let stalls: Vec<Ipv4Addr> = (0..stalled).map(stalled_address_of).collect();
        for address in &stalls {
            script.add(&format!("{address} stall=banner"))?;
        }
        addresses.extend(stalls);
        let dns_port = options.dns_port.unwrap_or(DNS_PORT);
        Ok(Self {
            options,
            sink: Sink::start(&addresses, options.sink_port, &script, options.threads)?,
            _zone: Zone::start(dns_port, options.destinations, stalled)?,
            runs: RefCell::new(Vec::new()),
        })
    }

    /// One run against one server.
    pub fn run(&self, target: &Target, course: Course) -> Result<Outcome, Failure> {
        let options = self.options;
        for destination in self.sink.destinations() {
            destination.tally().reset();
        }
        let name = super::run_name();
        let deadline = Instant::now() + options.timeout;
        let mut engine = Engine::new(&target.name, options.timeout)?;
        let plan = self.plan(target, course, &name)?;
        let mut progress = Progress::new(format!("{}: accepted", target.name), options.messages);
        let meter = Meter::start(target)?;
        let begin = Instant::now();
        let mut traffic = SmtpTraffic::new(Plan {
            until: options
                .seconds
                .map(|secs| begin + Duration::from_secs(secs)),
            ..plan
        });
        for _ in 0..options.connections.unwrap_or(CONNECTIONS) {
            engine.add(&mut traffic)?;
        }
        engine.run(&mut traffic, |traffic| {
            progress.at(traffic.accepted.len() as u64);
            false
        })?;
        drop(progress);
        let sent = sent(&traffic, course);
        let deliveries = self.wait(&name, &sent, target, deadline)?;
        // The server has still to note that it is done.
        thread::sleep(REST);
        let mut usage = meter.stop()?;
        let (operations, time) = deliveries.until_last(begin, |_| true);
        usage.secs = time.as_secs_f64();
        let figures = Figures {
            target: target.name.clone(),
            unit: "messages relayed",
            operations,
            latency_of: "message from 250 to delivery",
            latency: deliveries.latency.clone(),
            usage,
            notes: self.notes(&traffic, begin),
        };
        self.runs.borrow_mut().push((name, sent));
        Ok(Outcome {
            figures,
            begin,
            deliveries,
        })
    }

    fn plan(&self, target: &Target, course: Course, name: &str) -> Result<Plan, Failure> {
        let options = self.options;
        let senders: Result<Vec<Sender>, Failure> = match target.user {
            Some(_) => target.logins()?.into_iter().map(Sender::account).collect(),
            None => Sender::new(&options.from, options.auth.clone()).map(|it| vec![it]),
        };
        Ok(Plan {
            to: target.address,
            security: target.security,
            senders: senders?,
            recipients: course.recipients()?,
            rcpts_per_message: 1,
            messages: options.seconds.map_or(options.messages, |_| u64::MAX),
            until: None,
            per_connection: options.per_connection,
            content: Messages::new(options.size, name),
        })
    }

    /// Until all is at the sink.
    fn wait(
        &self,
        run: &str,
        sent: &[Sent],
        target: &Target,
        deadline: Instant,
    ) -> Result<Deliveries, Failure> {
        let total = sent.len() as u64;
        let mut progress = Progress::new(format!("{}: relayed", target.name), total);
        loop {
            let count = self.sink.messages(run);
            progress.at(count);
            let late = Instant::now() >= deadline;
            if count >= total || late {
                let deliveries = Deliveries::compare(sent, &self.came(run));
                if deliveries.is_whole() {
                    return Ok(deliveries);
                }
                if late {
                    let secs = self.options.timeout.as_secs();
                    let notes = self.counts();
                    eprintln!(
                        "{}: not all is relayed after {secs} s; {notes:?}",
                        target.name
                    );
                    return deliveries.check().map(|()| deliveries);
                }
            }
            thread::sleep(ROUND);
        }
    }

    fn came(&self, run: &str) -> Vec<Came> {
        let mut came = Vec::new();
        for (destination, it) in self.sink.destinations().iter().enumerate() {
            let tally = it.tally();
            came.extend(tally.arrivals(run).iter().map(|arrival| Came {
                number: arrival.number,
                destination,
                at: arrival.at,
            }));
        }
        came
    }

    fn notes(&self, traffic: &SmtpTraffic, begin: Instant) -> Vec<(&'static str, f64)> {
        let accepted = traffic.accepted.len() as f64;
        let last = traffic.accepted.last().map_or(begin, |it| it.at);
        let rate = accepted / (last - begin).as_secs_f64().max(1e-9);
        let mut notes = vec![("accepted per s", rate)];
        notes.extend(self.counts());
        notes
    }

    /// What the sink saw.
    fn counts(&self) -> Vec<(&'static str, f64)> {
        let (mut opened, mut used, mut messages) = (0, 0, 0);
        let (mut open_most, mut deferred, mut mistakes) = (0, 0, 0);
        for destination in self.sink.destinations() {
            let tally = destination.tally();
            opened += tally.connections;
            used += tally.connections_used;
            messages += tally.messages;
            open_most = open_most.max(tally.open_most);
            deferred += tally.deferred;
            mistakes += tally.mistakes;
        }
        let per_connection = messages as f64 / (used as f64).max(1.0);
        vec![
            ("new connections to the sink", opened as f64),
            ("connections used", used as f64),
            ("most at once to one destination", open_most as f64),
            ("messages per connection", per_connection),
            ("replies 4xx", deferred as f64),
            ("mistakes", mistakes as f64),
        ]
    }

    /// All runs once more: what was late may have come twice.
    fn check(&self) -> Result<(), Failure> {
        let mut total = 0;
        for (name, sent) in self.runs.borrow().iter() {
            Deliveries::compare(sent, &self.came(name)).check()?;
            total += sent.len();
        }
        eprintln!("verified: {total} accepted messages came exactly once");
        Ok(())
    }
}

/// What was accepted for destinations that do not stall.
fn sent(traffic: &SmtpTraffic, course: Course) -> Vec<Sent> {
    let all = traffic.accepted.iter().map(|accepted| Sent {
        number: accepted.message,
        destination: accepted.recipient as usize,
        at: accepted.at,
    });
    all.filter(|sent| sent.destination < course.others())
        .collect()
}

const CONNECTIONS: usize = 50;
const DNS_PORT: u16 = 2553;
const ROUND: Duration = Duration::from_millis(5);
const REST: Duration = Duration::from_millis(500);
