//! One call: a POST over HTTP/1.1, on a connection that is kept for the next one for a while (`connections`). RFC 9110 15.4.8 and 15.4.9: 307 and 308 keep method
//! and body, so they are followed, five times at most, each with the guard; other redirections ask for another request, and are failures.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use dns::{Name, host_addresses};
use futures_channel::oneshot;
use futures_lite::future::or;
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rustls::pki_types::ServerName;
use shards::net::{Connection, tls_error};
use shards::rt;
use webapi::hook::{retry_after, signatures};

use super::ROOM;
use super::connections::{Connections, Line, Most};
use super::stream::{ClientStream, Whole};
use super::tls;
use crate::live::Live;
use crate::lookup::{is_localhost, is_own};
use crate::percore::{PerCore, monotonic};
use crate::queue::hooks::{EndpointRow, Follows, HookResult, Outcome, Target, not_allowed};

/// What is said in a call.
pub(super) struct Message<'a> {
    pub endpoint: &'a EndpointRow,
    /// Stays the same over attempts.
    pub id: u64,
    /// By which a receiver knows what it has had.
    pub webhook_id: String,
    pub attempt: u32,
    pub payload: Bytes,
}

/// Sends requests on a connection. Dropped, the connection ends with all that it holds, whatever the other side does.
pub(super) struct Sender {
    requests: SendRequest<Whole>,
    /// Octets that may be read.
    left: Rc<Cell<usize>>,
    _held: oneshot::Sender<()>,
}

impl Line for Sender {
    fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }
}

/// What an answer says.
struct Answer {
    status: StatusCode,
    location: Option<String>,
    retry_after: Option<String>,
    beginning: Vec<u8>,
}

impl Answer {
    /// What an answer asks for that is no success, and that in words. Standard Webhooks: 410 switches an endpoint off.
    fn refusal(&self, now: i64) -> (Follows, String) {
        // RFC 6585 4, RFC 9110 15.6.4.
        let is_pause = matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        let pause = self.retry_after.as_deref().filter(|_| is_pause);
        if let Some(secs) = pause.and_then(|value| retry_after(value, now)) {
            let words = format!("the status is none of success, and asks for a pause of {secs} s");
            return (Follows::NotBefore(secs), words);
        }
        let words = match (self.status, &self.location) {
            (StatusCode::GONE, _) => return (Follows::Gone, "the endpoint is gone".into()),
            (status, Some(location)) if status.is_redirection() => {
                let location: String = location.chars().take(LOCATION_SHOWN_MAX).collect();
                format!("the answer is a redirection that is not followed, to {location}")
            }
            (status, None) if status.is_redirection() => {
                "the answer is a redirection that is not followed".into()
            }
            _ => "the status is none of success".into(),
        };
        (Follows::Another, words)
    }
}

/// Why there was none, in words; and whether the connection was an old one, that the receiver may have closed just then.
struct Broken {
    words: String,
    was_kept: bool,
}

impl From<String> for Broken {
    fn from(words: String) -> Broken {
        let was_kept = false;
        Broken { words, was_kept }
    }
}

/// Makes calls for an account, one after the other.
pub(super) struct Client {
    core: Rc<PerCore>,
    account: String,
    connections: Rc<Connections<Sender>>,
}

impl Client {
    pub fn new(core: &Rc<PerCore>, account: &str, connections: &Rc<Connections<Sender>>) -> Client {
        Client {
            core: core.clone(),
            account: account.to_string(),
            connections: connections.clone(),
        }
    }

    /// Calls the endpoint, within the time that settings give.
    pub async fn call(&self, message: &Message<'_>, limit: Duration) -> Outcome {
        let (began, at) = (monotonic(), self.core.wall_clock());
        let answered = rt::timeout(limit, self.follow(message)).await;
        let mut follows = Follows::Another;
        let mut result = HookResult {
            at,
            took_ms: u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX),
            url: message.endpoint.url.clone(),
            ..HookResult::default()
        };
        match answered {
            Ok(Ok((target, answer))) => {
                result.url = target.to_string();
                result.code = answer.status.as_u16();
                result.success = answer.status.is_success();
                if !result.success {
                    (follows, result.error) = answer.refusal(at);
                }
                result.response = shown(&answer.beginning);
            }
            Ok(Err(words)) => result.error = words,
            Err(rt::Elapsed) => {
                result.error = format!("no whole answer within {} s", limit.as_secs());
            }
        }
        Outcome { result, follows }
    }

    async fn follow(&self, message: &Message<'_>) -> Result<(Target, Answer), String> {
        let mut target = Target::parse(&message.endpoint.url)?;
        let first = target.clone();
        for _ in 0..=REDIRECTIONS_MAX {
            let mut answer = self.exchange(message, (&target, &first), true).await;
            if answer.as_ref().is_err_and(|broken| broken.was_kept) {
                // Whoever closes an idle connection may do so while we write. RFC 9112 9.5.
                answer = self.exchange(message, (&target, &first), false).await;
            }
            let answer = answer.map_err(|broken| broken.words)?;
            let is_followed = matches!(
                answer.status,
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            );
            match &answer.location {
                Some(location) if is_followed => {
                    let next = target.redirected(location)?;
                    if target.is_tls && !next.is_tls {
                        return Err(format!("it is redirected to {next}, without TLS"));
                    }
                    target = next;
                }
                _ => return Ok((target, answer)),
            }
        }
        Err(format!(
            "it is redirected more than {REDIRECTIONS_MAX} times"
        ))
    }

    async fn exchange(
        &self,
        message: &Message<'_>,
        (target, first): (&Target, &Target),
        reuses: bool,
    ) -> Result<Answer, Broken> {
        let (used, kept) =
            self.connections
                .take(&self.account, (target, reuses), self.connections_max());
        let kept = kept.filter(|sender| sender.requests.is_ready());
        let was_kept = kept.is_some();
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect(target).await?,
        };
        let request = self.request(message, target, first)?;
        let broken = |words: String| Broken { words, was_kept };
        sender.left.set(ANSWER_MAX);
        let response = sender.requests.send_request(request).await;
        let response = response.map_err(|e| broken(explain(&e)))?;
        let (answer, is_whole) = read(response).await.map_err(broken)?;
        if is_whole {
            used.keep((target.clone(), sender), self.connections_max());
        }
        Ok(answer)
    }

    fn connections_max(&self) -> Most {
        let live = self.core.live();
        let settings = &live.settings.server.webhooks;
        Most {
            of_account: settings.calls_per_account_max as usize,
            of_core: settings.calls_per_core_max as usize,
        }
    }

    fn request(
        &self,
        message: &Message<'_>,
        target: &Target,
        first: &Target,
    ) -> Result<Request<Whole>, String> {
        let (id, now) = (message.id.to_string(), self.core.wall_clock());
        let endpoint = message.endpoint;
        let secrets = endpoint.secrets(now);
        let webhook_id = message.webhook_id.as_str();
        let signature = signatures(&secrets, webhook_id, now, &message.payload);
        let attempt = message.attempt.to_string();
        let timestamp = now.to_string();
        let own: [(HeaderName, &str); 9] = [
            (header::USER_AGENT, USER_AGENT),
            (header::CONTENT_TYPE, "application/json; charset=utf-8"),
            (HeaderName::from_static("x-mox-webhook-id"), &id),
            (HeaderName::from_static("x-mox-webhook-attempt"), &attempt),
            (HeaderName::from_static("ringmail-webhook-id"), &id),
            (
                HeaderName::from_static("ringmail-webhook-attempt"),
                &attempt,
            ),
            (HeaderName::from_static("webhook-id"), webhook_id),
            (HeaderName::from_static("webhook-timestamp"), &timestamp),
            (HeaderName::from_static("webhook-signature"), &signature),
        ];
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(target.path.as_str())
            .header(header::HOST, target.authority());
        for (name, value) in own {
            request = request.header(name, value);
        }
        // Whoever it was redirected to is not who it was meant for.
        let is_same_host = (&target.host, target.port) == (&first.host, first.port);
        if let Some(value) = endpoint.authorization.as_deref().filter(|_| is_same_host) {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| "its value of Authorization can't be sent".to_string())?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let body = Whole(Some(message.payload.clone()));
        request.body(body).map_err(|e| e.to_string())
    }

    /// Connects to the first address that may be called and answers.
    async fn connect(&self, target: &Target) -> Result<Sender, String> {
        let live = self.core.live();
        let settings = &live.settings.server.webhooks;
        let limit = settings.connect_timeout_secs.duration();
        let (mut failed, mut refused) = (None, None);
        for address in self.addresses(&live, target).await? {
            if !settings.may_be_called(address, is_own) {
                refused.get_or_insert_with(|| not_allowed(address));
                continue;
            }
            let to = SocketAddr::new(address, target.port);
            let mut connection = match Connection::connect(to, limit).await {
                Ok(connection) => connection,
                Err(error) => {
                    failed = Some(format!("{to}: {error}"));
                    continue;
                }
            };
            if target.is_tls {
                let name = ServerName::try_from(target.host.clone())
                    .map_err(|_| format!("{} is no name that certificates have", target.host))?;
                let started = connection
                    .start_client_tls(tls::config(&live)?, name, limit)
                    .await;
                if let Err(error) = started {
                    failed = Some(match tls_error(&error) {
                        Some(error) => format!("{to}: TLS: {error}"),
                        None => format!("{to}: {error}"),
                    });
                    continue;
                }
            }
            let left = Rc::new(Cell::new(ANSWER_MAX));
            let begun = http1::Builder::new()
                .max_buf_size(HEAD_MAX)
                .handshake(ClientStream(connection, left.clone()));
            let (requests, driver) = match begun.await {
                Ok(begun) => begun,
                Err(error) => {
                    failed = Some(format!("{to}: {}", explain(&error)));
                    continue;
                }
            };
            let (held, dropped) = oneshot::channel();
            rt::spawn(&ROOM, async move {
                let driven = async {
                    // An error is the sender's to tell.
                    let _ = driver.await;
                };
                let dropped = async {
                    let _ = dropped.await;
                };
                let _ = rt::timeout(CONNECTION_MAX, or(driven, dropped)).await;
            });
            return Ok(Sender {
                requests,
                left,
                _held: held,
            });
        }
        let nothing = || format!("{} has no address", target.host);
        Err(failed.or(refused).unwrap_or_else(nothing))
    }

    async fn addresses(&self, live: &Live, target: &Target) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = target.host.parse() {
            return Ok(vec![address]);
        }
        // Names of this machine lead only where the operator lets them; what they lead to elsewhere, the DNS says.
        let settings = &live.settings.server.webhooks;
        let own = live.hosts.addresses(&target.host);
        let opened = own.iter().filter(|a| settings.is_opened(**a)).copied();
        let opened: Vec<IpAddr> = opened.take(ADDRESSES_MAX).collect();
        match opened.is_empty() {
            false => return Ok(opened),
            true if is_localhost(&target.host) => return Ok(own.to_vec()),
            true => (),
        }
        let name = Name::parse(&target.host).map_err(|e| format!("{}: {e}", target.host))?;
        let found = host_addresses(&self.core.resolver, &name).await;
        let mut found = found
            .map_err(|e| format!("{}: {e}", target.host))?
            .addresses;
        found.truncate(ADDRESSES_MAX);
        Ok(found)
    }
}

/// Reads an answer: its beginning is kept, and not much more of it is looked at. Answers whether that was all of it.
async fn read(response: Response<Incoming>) -> Result<(Answer, bool), String> {
    let (head, mut body) = response.into_parts();
    let text = |name| {
        let value = head.headers.get(name)?;
        value.to_str().ok().map(str::to_string)
    };
    let mut answer = Answer {
        status: head.status,
        location: text(header::LOCATION),
        retry_after: text(header::RETRY_AFTER),
        beginning: Vec::new(),
    };
    let mut read = 0;
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        match frame {
            None => return Ok((answer, true)),
            // The status is there, and that is what counts.
            Some(Err(_)) => return Ok((answer, false)),
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                read += data.len();
                let room = RESPONSE_MAX - answer.beginning.len();
                answer
                    .beginning
                    .extend_from_slice(&data[..data.len().min(room)]);
                if read > READ_MAX {
                    return Ok((answer, false));
                }
            }
        }
    }
}

/// An error of hyper with its cause: it does not tell that by itself.
fn explain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The beginning of an answer as text.
fn shown(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect()
}

const USER_AGENT: &str = concat!("ringmail/", env!("CARGO_PKG_VERSION"), " (webhook)");
const REDIRECTIONS_MAX: usize = 5;
/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 4;
/// Characters of a Location that are told.
const LOCATION_SHOWN_MAX: usize = 300;
/// Octets of an answer that are kept.
const RESPONSE_MAX: usize = 512;
/// Octets of an answer that are read: behind them the connection is given up.
const READ_MAX: usize = 64 << 10;
/// Octets of an answer's head, and what hyper holds of a connection.
const HEAD_MAX: usize = 32 << 10;
/// Octets of an answer with all interim ones before it.
const ANSWER_MAX: usize = READ_MAX + 2 * HEAD_MAX;
/// How long a connection lasts, whatever happens on it.
const CONNECTION_MAX: Duration = Duration::from_secs(3600);
