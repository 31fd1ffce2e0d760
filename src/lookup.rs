//! The resolver of a core: joins `dns`, which reads messages, with `shards::dns`, which exchanges them. Called by whoever has names to look
//! up, through the trait [`dns::Lookup`]. What comes from servers is hostile, except that a trusted one is believed about DNSSEC.
//!
//! Each question is asked once at a time, however many wait for its answer, and remembered; so many are under way, the others wait in line.
//! RFC 4035 4.9.3 (AD is believed only of servers that are trusted, over a safe way), RFC 5452 9.2 (ids and ports), RFC 9520 (failures).
//!
//! Not here: what the answers mean (`dns`), sockets (`shards::dns`).

mod hosts;
mod mail_hosts;
mod own;
mod resolv_conf;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use dns::{
    Cache, CacheLimits, Cause, LookupError, Name, Outcome, Reading, Record, RecordType, Resolved,
};
use ring::rand::{SecureRandom, SystemRandom};
use shards::dns::{Client, ClientOptions, Heard, NoAnswer, Question, Trouble};
use shards::rt::{self, Event, Turns};

use crate::metrics::{Durations, Metrics, label, labels};
use crate::settings::Dns;
pub use hosts::{Hosts, LOCALHOST, is_localhost};
pub use mail_hosts::{MailHost, MailHosts, mail_hosts};
pub use own::is_own;
use resolv_conf::ResolvConf;

/// What `[dns]` and /etc/resolv.conf come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverOptions {
    client: ClientOptions,
    trusted: bool,
    questions_max: usize,
    cache: CacheLimits,
}

impl ResolverOptions {
    /// Reads /etc/resolv.conf (blocking) if the settings name no servers.
    pub fn of(settings: &Dns) -> ResolverOptions {
        // One that cannot be read is as good as none, as for other programs.
        let read = || std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        ResolverOptions::with(settings, read)
    }

    fn with(settings: &Dns, resolv_conf: impl FnOnce() -> String) -> ResolverOptions {
        let (servers, trust_ad) = match &settings.servers {
            Some(servers) => (servers.iter().map(|s| s.0).collect(), false),
            None => {
                let ResolvConf { servers, trust_ad } = ResolvConf::parse(&resolv_conf());
                (servers, trust_ad)
            }
        };
        let on_this_host = |server: &SocketAddr| server.ip().is_loopback();
        let trusted = settings
            .trusted
            .unwrap_or(trust_ad || servers.iter().all(on_this_host));
        ResolverOptions {
            client: ClientOptions {
                servers,
                try_timeout: settings.try_timeout_secs.duration(),
                tries: settings.tries,
            },
            trusted,
            questions_max: settings.questions_per_core_max as usize,
            cache: CacheLimits {
                entries_max: settings.cache_entries_max as usize,
                bytes_max: settings.cache_bytes_max.as_usize(),
                ttl_min: settings.ttl_min_secs.duration(),
                ttl_max: settings.ttl_max_secs.duration(),
                negative_ttl_max: settings.negative_ttl_max_secs.duration(),
                ..CacheLimits::default()
            },
        }
    }

    /// Tells the operator who is asked, and whether what they say about DNSSEC is believed: a surprise there is one in how safely mail goes.
    pub fn tell(&self) {
        let servers: Vec<String> = self
            .client
            .servers
            .iter()
            .map(ToString::to_string)
            .collect();
        let servers = servers.join(" ");
        tracing::info!(
            servers,
            trusted = self.trusted,
            "names are asked of these DNS servers"
        );
    }
}

/// The resolver of one core.
#[derive(Clone)]
pub struct Resolver(Rc<Inner>);

struct Inner {
    servers: RefCell<Rc<Servers>>,
    cache: RefCell<Cache>,
    flights: RefCell<HashMap<Key, Rc<Flight>>>,
    turns: Rc<Turns>,
    random: SystemRandom,
    metrics: Metrics,
    durations: Durations,
}

/// Those in force. Another value after each change: answers of others are not kept.
struct Servers {
    options: ResolverOptions,
    client: Client,
}

type Key = (Name, RecordType);

/// A question under way, and those who wait for its answer.
#[derive(Default)]
struct Flight {
    landed: Event,
    answer: RefCell<Option<Result<Resolved, LookupError>>>,
}

impl Resolver {
    /// One that knows nothing yet.
    pub fn new(options: ResolverOptions) -> Resolver {
        Resolver(Rc::new(Inner {
            cache: RefCell::new(Cache::new(options.cache)),
            servers: RefCell::new(Rc::new(Servers::new(options))),
            flights: RefCell::default(),
            turns: Rc::default(),
            random: SystemRandom::new(),
            metrics: Metrics::default(),
            durations: Durations::default(),
        }))
    }

    /// Puts other options in force; what is remembered of the servers before is forgotten.
    pub fn configure(&self, options: &ResolverOptions) {
        if self.0.servers.borrow().options == *options {
            return;
        }
        self.0.cache.borrow_mut().reset(options.cache);
        *self.0.servers.borrow_mut() = Rc::new(Servers::new(options.clone()));
    }

    /// Counters, to be scraped.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// How long lookups took that no cache had.
    pub fn durations(&self) -> &Durations {
        &self.0.durations
    }

    /// What is remembered: answers, and their octets.
    pub fn remembered(&self) -> (usize, usize) {
        let cache = self.0.cache.borrow();
        (cache.len(), cache.bytes())
    }

    /// The flight of a question: one that is under way, or a new one.
    fn flight(&self, key: &Key) -> Result<Rc<Flight>, Cause> {
        let mut flights = self.0.flights.borrow_mut();
        if let Some(flight) = flights.get(key) {
            return Ok(flight.clone());
        }
        if flights.len() >= FLIGHTS_MAX {
            return Err(Cause::Busy);
        }
        let flight = Rc::new(Flight::default());
        flights.insert(key.clone(), flight.clone());
        let landing = Landing {
            resolver: self.clone(),
            key: key.clone(),
            flight: flight.clone(),
        };
        // In a task of its own: whoever asked first may give up, the others wait on.
        rt::spawn(&ROOM, landing.fly());
        Ok(flight)
    }

    /// Asks, whatever is remembered.
    async fn ask(&self, name: &Name, record_type: RecordType) -> Result<Resolved, Cause> {
        let servers = self.0.servers.borrow().clone();
        let has_begun = Cell::new(false);
        let whole = async {
            let _turn = self.0.turns.take(servers.options.questions_max).await;
            has_begun.set(true);
            let mut resolved = self.ask_servers(&servers, name, record_type).await?;
            // A server that left an alias at that.
            while let Some(target) = resolved.unfinished().cloned() {
                let rest = self.ask_servers(&servers, &target, record_type).await?;
                resolved = resolved.continued(name, rest)?;
            }
            Ok(resolved)
        };
        let asked = rt::timeout(LOOKUP_LIMIT, whole).await;
        asked.unwrap_or_else(|_| match has_begun.get() {
            true => Err(Cause::Timeout(format!(
                "{} s in all",
                LOOKUP_LIMIT.as_secs()
            ))),
            false => Err(Cause::Busy),
        })
    }

    async fn ask_servers(
        &self,
        servers: &Servers,
        name: &Name,
        record_type: RecordType,
    ) -> Result<Resolved, Cause> {
        let mut asked = Asked {
            name,
            record_type,
            id: 0,
            is_plain: false,
            random: &self.0.random,
        };
        let answer = servers.client.ask(&mut asked).await;
        let mut resolved = answer.unwrap_or_else(|no_answer| Err(words(no_answer)))?;
        // RFC 4035 4.9.3: from anybody else the bit means nothing.
        resolved.authentic &= servers.options.trusted;
        Ok(resolved)
    }
}

impl Servers {
    fn new(options: ResolverOptions) -> Servers {
        let client = Client::new(options.client.clone());
        Servers { options, client }
    }
}

impl dns::Lookup for Resolver {
    async fn resolve(&self, name: &Name, record_type: RecordType) -> Result<Resolved, LookupError> {
        let known = self.0.cache.borrow_mut().get(name, record_type, now());
        if let Some(known) = known {
            let type_label = label("type", record_type.as_str());
            self.0
                .metrics
                .count("ringmail_dns_cache_hits_total", type_label);
            return known;
        }
        let failed = |cause| LookupError {
            name: name.clone(),
            record_type,
            cause,
        };
        let flight = self.flight(&(name.clone(), record_type)).map_err(failed)?;
        flight.landed.wait(0).await;
        let answer = flight.answer.borrow().clone();
        // Without an answer its task has panicked, which is told and counted.
        answer.unwrap_or_else(|| Err(failed(Cause::Busy)))
    }
}

/// Sees a flight to its end, whatever happens: those who wait are woken.
struct Landing {
    resolver: Resolver,
    key: Key,
    flight: Rc<Flight>,
}

impl Landing {
    async fn fly(self) {
        let inner = &self.resolver.0;
        let (name, record_type) = &self.key;
        let (servers, begun) = (inner.servers.borrow().clone(), now());
        let asked = self.resolver.ask(name, *record_type).await;
        let answer = asked.map_err(|cause| LookupError {
            name: name.clone(),
            record_type: *record_type,
            cause,
        });
        if let Err(error) = &answer {
            tracing::debug!(%error, "a lookup failed");
        }
        let labels = labels(("type", record_type.as_str()), ("result", result(&answer)));
        let key = ("ringmail_dns_lookup_duration_seconds", labels);
        inner.durations.observe(key, now().duration_since(begun));
        // Others may be in force by now, who are trusted otherwise.
        let is_in_force = Rc::ptr_eq(&servers, &inner.servers.borrow());
        let is_ours = matches!(&answer, Err(error) if error.cause == Cause::Busy);
        let answer = match is_in_force && !is_ours {
            true => inner
                .cache
                .borrow_mut()
                .insert(name, *record_type, answer, now()),
            false => answer,
        };
        *self.flight.answer.borrow_mut() = Some(answer);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.resolver.0.flights.borrow_mut().remove(&self.key);
        self.flight.landed.notify();
    }
}

/// An answer as it goes to another core, and to operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As in a zone file.
    pub records: Vec<String>,
    /// There is no such name.
    pub is_missing: bool,
    /// The names the question led to, each an alias of the one before.
    pub aliases: Vec<String>,
    /// Whether DNSSEC proves it, by a resolver that is trusted.
    pub authentic: bool,
    /// Seconds it is remembered.
    pub ttl: u32,
}

impl From<Resolved> for Found {
    fn from(resolved: Resolved) -> Found {
        let records = match &resolved.outcome {
            Outcome::Records(records) => records.iter().map(Record::to_string).collect(),
            _ => Vec::new(),
        };
        Found {
            records,
            is_missing: resolved.outcome == Outcome::NxDomain,
            aliases: resolved.aliases.iter().map(Name::to_string).collect(),
            authentic: resolved.authentic,
            ttl: resolved.ttl,
        }
    }
}

/// A question on its way to servers.
struct Asked<'a> {
    name: &'a Name,
    record_type: RecordType,
    id: u16,
    /// Without EDNS, which some server did not know.
    is_plain: bool,
    random: &'a SystemRandom,
}

impl Question for Asked<'_> {
    type Answer = Result<Resolved, Cause>;

    fn write(&mut self) -> Vec<u8> {
        let mut id = [0; 2];
        // Without randomness the port alone must do, which the kernel chooses.
        let _ = self.random.fill(&mut id);
        self.id = u16::from_be_bytes(id);
        match self.is_plain {
            false => dns::query(self.id, self.name, self.record_type),
            true => dns::plain_query(self.id, self.name, self.record_type),
        }
    }

    fn judge(&mut self, octets: &[u8]) -> Heard<Self::Answer> {
        match dns::read(octets, self.id, self.name, self.record_type) {
            Reading::NotOurs => Heard::NotOurs,
            Reading::Truncated => Heard::Truncated,
            Reading::Answered(resolved) => Heard::Answer(Ok(resolved)),
            Reading::Failed(cause) if cause.may_be_edns() && !self.is_plain => {
                self.is_plain = true;
                Heard::Again
            }
            Reading::Failed(cause) if cause.is_of_server() => Heard::Unfit(Err(cause)),
            Reading::Failed(cause) => Heard::Answer(Err(cause)),
        }
    }
}

fn words(NoAnswer { troubles }: NoAnswer) -> Cause {
    let all: Vec<String> = troubles.iter().map(|(s, t)| format!("{s}: {t}")).collect();
    let text = all.join("; ");
    match troubles.iter().any(|(_, t)| *t == Trouble::TimedOut) {
        _ if troubles.is_empty() => Cause::NoServers,
        true => Cause::Timeout(text),
        false => Cause::Unreachable(text),
    }
}

/// For metrics.
fn result(answer: &Result<Resolved, LookupError>) -> &'static str {
    match answer.as_ref().map(|resolved| &resolved.outcome) {
        Ok(Outcome::Records(_)) => "ok",
        Ok(Outcome::NoData) => "nodata",
        Ok(Outcome::NxDomain) => "nxdomain",
        Err(error) => match error.cause {
            Cause::Bogus(_) => "bogus",
            Cause::ServFail(_) => "servfail",
            Cause::Timeout(_) => "timeout",
            Cause::Busy => "busy",
            _ => "error",
        },
    }
}

fn now() -> Instant {
    Instant::now()
}

/// Panics of lookups.
pub static ROOM: rt::Room = rt::Room::new("lookup");
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// For one lookup, with its wait for a turn and all tries at all servers.
const LOOKUP_LIMIT: Duration = Duration::from_secs(25);
/// Questions of a core that are under way or wait for their turn.
const FLIGHTS_MAX: usize = 10_000;

#[cfg(test)]
#[path = "lookup/tests.rs"]
mod tests;
