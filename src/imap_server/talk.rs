//! The socket and the protocol's session of one connection: octets in, events out, output gathered and written in large pieces.
//! Used before login (`visitor.rs`) and after (`client.rs`). Not here: what an event means.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use imap::response::{Code, Condition, refusal};
use imap::server::{Awaits, Event, Session};
use shards::net::Connection;
use shards::rt;
use shards::tls::ServerConfig;

use super::append::Appending;
use crate::percore::{KeyHolder, Offer, PerCore};
use crate::settings::ImapLimits;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client closed it, or it broke, or takes our octets too slowly. Nothing more can be said.
    Gone,
    /// All is said already: write what there is, then close.
    Said,
    /// To be said first.
    Bye(Option<Code<'static>>, Cow<'static, str>),
}

impl End {
    /// BYE with this text.
    pub fn bye(text: impl Into<Cow<'static, str>>) -> End {
        End::Bye(None, text.into())
    }
}

/// The socket and what is to be written on it.
pub(super) struct Wire {
    connection: Connection,
    /// Responses not yet written.
    pub out: Vec<u8>,
    /// How long the client may take to accept octets.
    pub write_limit: Duration,
    /// Spec A1.3: after failed logins each octet takes so long.
    pub slow: Option<Duration>,
}

/// A connection in conversation.
pub(super) struct Talk {
    /// The socket.
    pub wire: Wire,
    /// The protocol.
    pub session: Session,
    /// Octets received that the session has not taken yet, from `unread_at` on.
    unread: Vec<u8>,
    unread_at: usize,
    event: Option<Event>,
}

impl Wire {
    /// Writes what there is.
    pub async fn flush(&mut self) -> Result<(), End> {
        let mut out = std::mem::take(&mut self.out);
        self.write(&mut out).await?;
        self.out = out;
        Ok(())
    }

    /// Writes and empties a buffer.
    pub async fn write(&mut self, out: &mut Vec<u8>) -> Result<(), End> {
        if out.is_empty() {
            return Ok(());
        }
        if let Some(pause) = self.slow {
            for octet in out.drain(..) {
                rt::sleep(pause).await;
                // For each octet, so that our own pauses do not count.
                match rt::timeout(self.write_limit, self.connection.write_all(&[octet])).await {
                    Ok(Ok(())) => (),
                    _ => return Err(End::Gone),
                }
            }
            return Ok(());
        }
        match rt::timeout(self.write_limit, self.connection.write_all(out)).await {
            Ok(Ok(())) => {
                out.clear();
                Ok(())
            }
            _ => Err(End::Gone),
        }
    }

    /// Writes a buffer once it is large, and lets others run.
    pub async fn relieve(&mut self, out: &mut Vec<u8>) -> Result<(), End> {
        if out.len() >= OUTPUT_MAX {
            self.write(out).await?;
        }
        rt::yield_if_needed().await;
        Ok(())
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What a login on this connection can use.
    pub fn offer(&self, holder: Option<&KeyHolder>, passwords: bool) -> Offer {
        Offer::of(&self.connection, holder, passwords)
    }

    /// The server's side of a TLS handshake.
    pub async fn start_tls(
        &mut self,
        core: &PerCore,
        config: Arc<ServerConfig>,
        is_refused: bool,
    ) -> Result<(), End> {
        core.start_tls(&mut self.connection, config, is_refused)
            .await
            .map_err(|error| {
                tracing::debug!(peer = %self.connection.peer(), %error, "TLS handshake failed");
                End::Gone
            })
    }
}

impl Talk {
    /// A conversation on a connection.
    pub fn new(connection: Connection, session: Session, write_limit: Duration) -> Talk {
        Talk {
            wire: Wire {
                connection,
                out: Vec::new(),
                write_limit,
                slow: None,
            },
            session,
            unread: Vec::new(),
            unread_at: 0,
            event: None,
        }
    }

    /// Goes on with octets that were read elsewhere.
    pub fn with_unread(mut self, unread: Vec<u8>) -> Talk {
        self.unread = unread;
        self
    }

    /// Takes the conversation apart: socket, session, unread octets.
    pub fn into_parts(self) -> (Connection, Session, Vec<u8>) {
        let unread = self.unread[self.unread_at..].to_vec();
        (self.wire.connection, self.session, unread)
    }

    /// Whether octets came that nobody has looked at.
    pub fn has_unread(&self) -> bool {
        self.unread_at < self.unread.len()
    }

    /// The next event of what has been read; octets of messages go to `appending`.
    pub fn next_event(&mut self, appending: &mut Option<Box<Appending>>) -> Option<Event> {
        self.session.transmit(&mut self.wire.out);
        if let Some(event) = self.event.take().or_else(|| self.session.event()) {
            return Some(event);
        }
        if self.has_unread() {
            let input = &self.unread[self.unread_at..];
            let (session, out) = (&mut self.session, &mut self.wire.out);
            self.unread_at += feed(session, out, &mut self.event, input, appending);
        }
        if !self.has_unread() {
            self.unread = Vec::new();
            self.unread_at = 0;
        }
        self.event.take()
    }

    /// Waits for octets and hands them to the session.
    pub async fn read(&mut self, appending: &mut Option<Box<Appending>>) -> Result<(), End> {
        if let Some(pause) = self.wire.slow {
            rt::sleep(pause).await;
        }
        let Talk {
            wire,
            session,
            unread,
            event,
            ..
        } = self;
        let out = &mut wire.out;
        let read = wire.connection.read_with(|input| {
            let used = feed(session, out, event, input, appending);
            *unread = input[used..].to_vec();
            !input.is_empty()
        });
        match read.await {
            Ok(true) => Ok(()),
            _ => Err(End::Gone),
        }
    }

    /// How long the client may take to go on, RFC 9051 5.4.
    pub fn patience(&self, limits: &ImapLimits, logged_in: bool) -> Duration {
        match self.session.awaits() {
            _ if !logged_in => limits.login_timeout_secs.duration(),
            Awaits::Rest | Awaits::Message => limits.literal_timeout_secs.duration(),
            _ => limits.inactive_timeout_secs.duration(),
        }
    }

    /// Writes the last words and closes.
    pub async fn end(mut self, end: End, limit: Duration) {
        let said = match end {
            End::Gone => false,
            End::Said => true,
            End::Bye(code, text) => {
                let id = self.session.connection_id();
                let out = &mut self.wire.out;
                refusal(out, None, Condition::Bye, code.as_ref(), &text, id);
                true
            }
        };
        if said {
            self.wire.slow = None;
            self.wire.write_limit = limit;
            if self.wire.flush().await.is_ok() {
                let _ = rt::timeout(limit, self.wire.connection.close()).await;
            }
        }
    }
}

/// How many of the commands that the session refuses by itself are in the counters.
#[derive(Default)]
pub(super) struct RefusalsCounted(u32);

impl RefusalsCounted {
    /// Those so far are counted already.
    pub fn all_of(session: &Session) -> RefusalsCounted {
        RefusalsCounted(session.refusals())
    }

    /// Counts those that came since.
    pub fn count_new(&mut self, core: &PerCore, session: &Session) {
        let new = session.refusals() - self.0;
        if new > 0 {
            core.metrics.add(
                "ringmail_imap_commands_total",
                crate::metrics::labels(("cmd", "(unrecognized)"), ("result", "badsyntax")),
                i64::from(new),
            );
            self.0 += new;
        }
    }
}

/// Hands input to the session until there is something to decide; answers how many octets it took.
fn feed(
    session: &mut Session,
    out: &mut Vec<u8>,
    event: &mut Option<Event>,
    input: &[u8],
    appending: &mut Option<Box<Appending>>,
) -> usize {
    let mut used = 0;
    while used < input.len() {
        let given = &input[used..];
        let taken = session.receive(given);
        used += taken;
        session.transmit(out);
        while let Some(next) = session.event() {
            match (next, appending.as_mut()) {
                (Event::AppendData(range), Some(appending)) => appending.push(&given[range]),
                (Event::AppendData(_), None) => (),
                (next, _) => {
                    *event = Some(next);
                    return used;
                }
            }
        }
        if taken == 0 {
            break;
        }
    }
    used
}

/// Responses are written when so many octets have gathered.
pub(super) const OUTPUT_MAX: usize = 64 << 10;
