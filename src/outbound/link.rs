//! A connection to another server: moves the bytes of `smtp::client::Session`, within the settings' times.
//! What the server says is not trusted: replies are bounded (`smtp`) and shown without control characters.
//! RFC 5321 4.5.3.2 (times). Not here: which server, TLS, logins (`connect.rs`), transactions (`transaction.rs`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dane::tls::Verdict;
use shards::net::Connection;
use shards::rt;
use smtp::Reply;
use smtp::client::{Event, Session};

use super::start::Opened;
use crate::client_tls::Files;
use crate::percore::monotonic;
use crate::settings::Outbound;

/// A connection that has said EHLO.
pub(super) struct Link {
    pub session: Session,
    pub connection: Connection,
    /// The server's name, as we know it.
    pub host: String,
    /// Its address, also where a proxy is between.
    pub peer: SocketAddr,
    /// Where it sees us, if we know.
    pub from: Option<IpAddr>,
    /// What was read and not looked at yet.
    input: Vec<u8>,
    used: usize,
    times: Times,
    /// Messages that were sent on it.
    pub messages: u32,
    /// Its TLS, for the log: `TLSv1.3`; empty without.
    pub tls: &'static str,
    /// It goes in clear since TLS, which was offered, did not come about: why.
    pub without_tls: Option<String>,
    /// What was found out about its certificate, and the name it was looked for.
    pub verdict: Option<(Verdict, String)>,
    /// For which lines, and for messages that ask for what, it was found to do, and when.
    pub cleared: Vec<(Rc<str>, Option<bool>, Instant)>,
    /// Since when it is there.
    pub made: Instant,
    /// What the server called itself.
    pub helo: String,
    /// The transport it was made for, as it was then.
    pub way: Option<Arc<Files>>,
    /// To a server that the settings name: what it says of our login is not about the message.
    pub is_smarthost: bool,
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub connect: Duration,
    pub reply: Duration,
    pub final_reply: Duration,
    pub write: Duration,
}

impl Times {
    pub fn of(settings: &Outbound) -> Times {
        Times {
            connect: settings.connect_timeout_secs.duration(),
            reply: settings.reply_timeout_secs.duration(),
            final_reply: settings.final_reply_timeout_secs.duration(),
            write: settings.write_timeout_secs.duration(),
        }
    }
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub(super) enum Lost {
    /// The connection broke.
    Io(io::Error),
    /// No answer in time.
    Timeout(&'static str),
    /// It says that it closes: 421, or out of turn.
    Closing(Reply),
    /// It speaks no SMTP.
    Protocol(String),
    /// It is not the server's fault: the message can't be read now.
    Unreadable(String),
    /// The message is such that it can never be sent so.
    Unsendable(String),
}

impl Lost {
    /// For people.
    pub fn words(&self) -> String {
        match self {
            Lost::Io(error) => words(error),
            Lost::Timeout(what) => format!("no answer in time ({what})"),
            Lost::Closing(reply) => format!("ends the connection: {}", said(reply)),
            Lost::Protocol(what) => format!("breaks the protocol: {what}"),
            Lost::Unreadable(what) => format!("the message can't be read: {what}"),
            Lost::Unsendable(what) => format!("the message can't be sent: {what}"),
        }
    }

    /// Whether it is a sign that there is too much for it.
    pub fn is_overload(&self) -> bool {
        matches!(self, Lost::Timeout(_) | Lost::Closing(_))
    }
}

impl Link {
    pub fn new(
        opened: Opened,
        (host, peer): (&str, SocketAddr),
        ehlo_name: &str,
        times: Times,
    ) -> Link {
        Link {
            session: Session::new(ehlo_name),
            connection: opened.connection,
            host: host.to_owned(),
            peer,
            from: opened.from,
            input: opened.ahead,
            used: 0,
            times,
            messages: 0,
            tls: "",
            without_tls: None,
            verdict: None,
            cleared: Vec::new(),
            made: monotonic(),
            helo: String::new(),
            way: None,
            is_smarthost: false,
        }
    }

    /// The server, by name and address.
    pub fn remote(&self) -> String {
        remote(&self.host, self.peer)
    }

    /// Whether it has had as many messages as it may. RFC 9422: MAILMAX.
    pub fn is_used_up(&self, most: u32) -> bool {
        let offered = self.session.extensions().transactions_max;
        self.messages >= offered.map_or(most, |offered| most.min(offered))
    }

    /// Waits for the next event of what was asked.
    pub async fn next(&mut self) -> Result<Event, Lost> {
        self.next_within(self.times.reply, "reply").await
    }

    /// The same for the reply to a whole message.
    pub async fn final_reply(&mut self) -> Result<Event, Lost> {
        self.next_within(self.times.final_reply, "reply to the message")
            .await
    }

    async fn next_within(&mut self, limit: Duration, what: &'static str) -> Result<Event, Lost> {
        let next = rt::timeout(limit, self.exchange()).await;
        let event = next.map_err(|_| Lost::Timeout(what))??;
        match event {
            Event::Closing(reply) => Err(Lost::Closing(reply)),
            event => Ok(event),
        }
    }

    async fn exchange(&mut self) -> Result<Event, Lost> {
        loop {
            self.write_out().await?;
            let (used, event) = self.session.receive(&self.input[self.used..]);
            self.used += used;
            match event {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {
                    // What was read may have made it say more.
                    self.write_out().await?;
                    self.read().await?;
                }
                Err(error) => return Err(Lost::Protocol(error.to_string())),
            }
        }
    }

    /// Whether nothing of the server's waits to be looked at: before TLS, it would be anybody's.
    pub fn is_silent(&self) -> bool {
        self.used >= self.input.len() && !self.session.has_begun_reply()
    }

    /// What the server has said though nothing was asked; none: nothing so far. Whatever it is, replies and commands do not belong together any more: a
    /// message would be lost, or refused for another's sake.
    pub async fn said_unasked(&mut self) -> Result<Option<Reply>, Lost> {
        if self.is_silent() {
            let Link {
                connection,
                input,
                used,
                ..
            } = self;
            let take = |octets: &[u8]| {
                input.clear();
                *used = 0;
                input.extend_from_slice(octets);
            };
            match connection.read_now(take).await.map_err(Lost::Io)? {
                None => return Ok(None),
                Some(()) if input.is_empty() => {
                    return Err(Lost::Io(io::ErrorKind::UnexpectedEof.into()));
                }
                Some(()) => (),
            }
        }
        match self.session.receive(&self.input[self.used..]).1 {
            Ok(Some(Event::Closing(reply))) => Ok(Some(reply)),
            _ => Err(Lost::Protocol("speaks out of turn".into())),
        }
    }

    async fn read(&mut self) -> Result<(), Lost> {
        let Link {
            connection,
            input,
            used,
            ..
        } = self;
        input.clear();
        *used = 0;
        let take = |octets: &[u8]| input.extend_from_slice(octets);
        connection.read_with(take).await.map_err(Lost::Io)?;
        match input.is_empty() {
            true => Err(Lost::Io(io::ErrorKind::UnexpectedEof.into())),
            false => Ok(()),
        }
    }

    async fn write_out(&mut self) -> Result<(), Lost> {
        let mut output = Vec::new();
        self.session.transmit(&mut output);
        if output.is_empty() {
            return Ok(());
        }
        self.connection.write_all(&output).await.map_err(Lost::Io)
    }

    /// Writes what the session has to say, without waiting for anything; for the parts of a message.
    pub async fn flush(&mut self) -> Result<(), Lost> {
        rt::timeout(self.times.write, self.write_out())
            .await
            .map_err(|_| Lost::Timeout("the message is not taken"))?
    }

    /// Takes leave; how the server takes that changes nothing.
    pub async fn quit(mut self) {
        let farewell = async {
            self.session.quit();
            let _ = self.exchange().await;
            self.connection.close().await;
        };
        let _ = rt::timeout(FAREWELL, farewell).await;
    }
}

/// A server, by name and address.
pub(super) fn remote(host: &str, address: SocketAddr) -> String {
    format!(
        "{host} [{}]:{}",
        address.ip().to_canonical(),
        address.port()
    )
}

/// Takes that apart again.
pub(super) fn parts_of_remote(remote: &str) -> Option<(&str, IpAddr)> {
    let (host, rest) = remote.rsplit_once(" [")?;
    let (address, _) = rest.split_once(']')?;
    Some((host, address.parse().ok()?))
}

/// A reply in words.
pub(super) fn said(reply: &Reply) -> String {
    let mut text = reply.code.to_string();
    if let Some(enhanced) = reply.enhanced {
        text.push_str(&format!(" {enhanced}"));
    }
    text.push(' ');
    text.push_str(&clean(&reply.text));
    text
}

/// A server's words, fit for a line of a log and for a report.
pub(super) fn clean(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(TEXT_MAX).map(plain).collect()
}

/// An error of a socket in words.
pub(super) fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            "the connection was closed".to_owned()
        }
        io::ErrorKind::TimedOut => "no connection in time".to_owned(),
        io::ErrorKind::HostUnreachable => "no way to the host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "no way to the network".to_owned(),
        _ => match error.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number).to_string(),
            None => error.to_string(),
        },
    }
}

/// Characters of a server's words that are kept.
const TEXT_MAX: usize = 512;
/// For QUIT.
const FAREWELL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_reads_as_it_was_written() {
        for (host, address) in [
            ("mx.example", "192.0.2.1:25"),
            ("[2001:db8::1]", "[2001:db8::1]:2525"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            let written = remote(host, address);
            assert_eq!(parts_of_remote(&written), Some((host, address.ip())));
        }
        assert_eq!(parts_of_remote(""), None);
        assert_eq!(parts_of_remote("mx.example [x]:25"), None);
    }
}
