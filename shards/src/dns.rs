//! Asking DNS servers: one question at a time to one server after the other, by UDP, and by TCP where the answer does not fit. It does not
//! read messages: a [`Question`] writes them and says what a datagram is worth. Called by whoever implements a resolver with it; input is
//! hostile, and goes to the question as it comes.
//!
//! RFC 5452 9 (a random port for each question, taken from the kernel; the kernel passes on only what comes from the server), RFC 7766 5
//! (TCP). Not here: a cache, the format of messages.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt};

use crate::rt::{self, Datagram, Stream};

/// Whom to ask, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// In the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// How long each try may take, by UDP and by TCP.
    pub try_timeout: Duration,
    /// How often each server is asked.
    pub tries: u32,
}

/// A question to a server, and how to tell its answer.
pub trait Question {
    /// What the answer says.
    type Answer;

    /// The message for one try. Each has an id of its own that cannot be guessed.
    fn write(&mut self) -> Vec<u8>;

    /// What came, in the light of the message that was written last.
    fn judge(&mut self, octets: &[u8]) -> Heard<Self::Answer>;
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<A> {
    /// The answer.
    Answer(A),
    /// The answer of a server that cannot say: another one may do better.
    Unfit(A),
    /// The server does not understand the message: the next that is written may be one it does.
    Again,
    /// The answer does not fit into a datagram.
    Truncated,
    /// Not the answer.
    NotOurs,
}

/// Nobody answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// What came of each server, the last of its tries.
    pub troubles: Vec<(SocketAddr, Trouble)>,
}

/// Why a server did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing came in time.
    #[error("no answer in time")]
    TimedOut,
    /// The network says no.
    #[error("{0}")]
    Network(String),
    /// This host has no socket to spare.
    #[error("this host cannot ask: {0}")]
    Ours(String),
    /// By TCP it sent what is not the answer.
    #[error("another answer by TCP")]
    NotOurs,
}

/// A client of some servers. It remembers which of them did not answer lately.
pub struct Client {
    options: ClientOptions,
    health: Vec<Health>,
}

/// Of a server.
#[derive(Default)]
struct Health {
    /// It did not answer then, and has not since.
    silent: Cell<Option<Instant>>,
    /// It answered then.
    answered: Cell<Option<Instant>>,
}

impl Client {
    /// A client that has asked nobody yet.
    pub fn new(options: ClientOptions) -> Client {
        let health = options.servers.iter().map(|_| Health::default()).collect();
        Client { options, health }
    }

    /// Asks until somebody answers, or all tries are used up. An unfit answer comes back only if there is no better one.
    pub async fn ask<Q: Question>(&self, question: &mut Q) -> Result<Q::Answer, NoAnswer> {
        let mut unfit = None;
        let mut troubles: Vec<(SocketAddr, Trouble)> = Vec::new();
        for _ in 0..self.options.tries {
            for at in self.order(Instant::now()) {
                let (server, began) = (self.options.servers[at], Instant::now());
                match self.one_try(server, question).await {
                    Ok((answer, is_fit)) => {
                        self.answered(at);
                        if is_fit {
                            return Ok(answer);
                        }
                        unfit = Some(answer);
                    }
                    Err(trouble) => {
                        self.failed(at, &trouble, began);
                        troubles.retain(|(of, _)| *of != server);
                        troubles.push((server, trouble));
                    }
                }
            }
            // Whoever said that it cannot say would say so again; who was silent may have been asked in a bad moment.
            if unfit.is_some() {
                break;
            }
        }
        unfit.ok_or(NoAnswer { troubles })
    }

    /// Those that did not answer lately come last, the longest ago first. After a while one question, and no more than one, tries again
    /// whether such a server answers in its old place.
    fn order(&self, now: Instant) -> Vec<usize> {
        let sick = |at: &usize| {
            let silent = &self.health[*at].silent;
            let since = silent.get()?;
            if now.saturating_duration_since(since) < SICK_FOR {
                return Some(since);
            }
            silent.set(Some(now));
            None
        };
        let mut order: Vec<usize> = (0..self.options.servers.len()).collect();
        // None, who is well, comes before all times.
        order.sort_by_cached_key(sick);
        order
    }

    fn answered(&self, at: usize) {
        let health = &self.health[at];
        health.answered.set(Some(Instant::now()));
        if health.silent.take().is_some() {
            tracing::info!(server = %self.options.servers[at], "the DNS server answers again");
        }
    }

    /// A try that began then came to nothing. One that answers other questions meanwhile is there, and may itself wait for servers that are not: what has
    /// not come in time is the name's fault then.
    fn failed(&self, at: usize, trouble: &Trouble, began: Instant) {
        let health = &self.health[at];
        let is_there = |answered: Instant| answered + THERE_FOR >= began;
        if matches!(trouble, Trouble::Ours(_))
            || *trouble == Trouble::TimedOut && health.answered.get().is_some_and(is_there)
        {
            return;
        }
        if health.silent.replace(Some(Instant::now())).is_none() {
            let server = self.options.servers[at];
            tracing::warn!(%server, %trouble, "the DNS server does not answer; others are asked first");
        }
    }

    async fn one_try<Q: Question>(
        &self,
        server: SocketAddr,
        question: &mut Q,
    ) -> Result<(Q::Answer, bool), Trouble> {
        let limit = self.options.try_timeout;
        let by_udp = rt::timeout(limit, by_udp(server, question)).await;
        if let Some(answer) = by_udp.map_err(|_| Trouble::TimedOut)?? {
            return Ok(answer);
        }
        let by_tcp = rt::timeout(limit, by_tcp(server, question)).await;
        by_tcp.map_err(|_| Trouble::TimedOut)?
    }
}

/// None: TCP is the better way.
async fn by_udp<Q: Question>(
    server: SocketAddr,
    question: &mut Q,
) -> Result<Option<(Q::Answer, bool)>, Trouble> {
    let mut socket = Datagram::connect(server).map_err(network)?;
    socket.send(&question.write()).map_err(network)?;
    // RFC 5452 9.3 would count them: so many wrong ones are somebody who tries to guess, and TCP cannot be guessed.
    for _ in 0..WRONG_MAX {
        let heard = socket.receive(|octets| question.judge(octets)).await;
        match heard.map_err(network)? {
            Heard::Answer(answer) => return Ok(Some((answer, true))),
            Heard::Unfit(answer) => return Ok(Some((answer, false))),
            Heard::Again => socket.send(&question.write()).map_err(network)?,
            Heard::Truncated => return Ok(None),
            Heard::NotOurs => rt::yield_if_needed().await,
        }
    }
    tracing::warn!(%server, "too many answers to other questions: somebody may be guessing; asking by TCP");
    Ok(None)
}

/// RFC 7766 8: the length in two octets, then the message.
async fn by_tcp<Q: Question>(
    server: SocketAddr,
    question: &mut Q,
) -> Result<(Q::Answer, bool), Trouble> {
    let mut stream = Stream::connect(server).await.map_err(network)?;
    let message = question.write();
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let framed = [&length.to_be_bytes(), &message[..usize::from(length)]].concat();
    stream.write_all(&framed).await.map_err(network)?;
    stream.flush().await.map_err(network)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await.map_err(network)?;
    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut octets).await.map_err(network)?;
    match question.judge(&octets) {
        Heard::Answer(answer) => Ok((answer, true)),
        Heard::Unfit(answer) => Ok((answer, false)),
        Heard::Again | Heard::Truncated | Heard::NotOurs => Err(Trouble::NotOurs),
    }
}

fn network(error: io::Error) -> Trouble {
    if let Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) = error.raw_os_error() {
        return Trouble::Ours(error.to_string());
    }
    match error.kind() {
        // ICMP: nothing listens there.
        io::ErrorKind::ConnectionRefused => Trouble::Network("nothing listens there".into()),
        io::ErrorKind::UnexpectedEof => Trouble::Network("it closed the connection".into()),
        io::ErrorKind::TimedOut => Trouble::TimedOut,
        _ => Trouble::Network(error.to_string()),
    }
}

/// A server that did not answer is asked last for so long.
const SICK_FOR: Duration = Duration::from_secs(30);
/// A server that has answered is taken to be there for so long: for tries that begin by then.
const THERE_FOR: Duration = Duration::from_secs(3);
/// Datagrams that are not the answer, for one question.
const WRONG_MAX: usize = 32;

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
