//! One connection, from accept to close, within `limits.http`.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use shards::net::Connection;
use shards::rt;
use shards::tls::HTTP_2;

use super::heads::Heads;
use super::payload::{Limits, Sent};
use super::posted::posted;
use super::stream::{Clock, HttpStream, Phase, Progress};
use super::unread::{self, HEADERS_MAX};
use super::{Endpoint, http, http2};
use crate::login::limiter::Networks;
use crate::percore::{Ends, PerCore, monotonic};
use crate::settings::{AccountName, HttpLimits};

/// What is known of who asks: of a connection, and of each request.
#[derive(Clone)]
pub(super) struct Facing {
    /// Its number.
    pub id: String,
    /// The client's networks.
    pub networks: Networks,
    peer: SocketAddr,
    local: SocketAddr,
    tls: String,
    requests: Rc<Cell<u64>>,
    request: u64,
    account: Cell<Option<AccountName>>,
    clock: Clock,
    heads: Heads,
}

impl Facing {
    /// The same, for the next request; `client`: for whom a proxy speaks.
    pub(super) fn of_request(&self, client: Option<IpAddr>, clock: &Clock) -> Facing {
        let number = self.requests.get() + 1;
        self.requests.set(number);
        let mut facing = Facing {
            request: number,
            account: Cell::new(None),
            clock: clock.clone(),
            ..self.clone()
        };
        if let Some(client) = client {
            facing.networks = Networks::of(client);
            // Which port it has there nobody says.
            facing.peer = SocketAddr::new(client, 0);
        }
        facing
    }

    /// The request's number, as clients and the log name it: the connection's, and a counter.
    pub(super) fn request_id(&self) -> String {
        format!("{}-{}", self.id, self.request)
    }

    /// The request's time.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The heads of its connection's requests.
    pub(super) fn heads(&self) -> &Heads {
        &self.heads
    }

    /// Who asks, once it is known.
    pub(super) fn account(&self) -> Option<AccountName> {
        self.account.get()
    }

    pub(super) fn set_account(&self, account: AccountName) {
        self.account.set(Some(account));
    }
}

impl Ends for Facing {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn local(&self) -> SocketAddr {
        self.local
    }

    fn tls_in_words(&self) -> String {
        self.tls.clone()
    }
}

/// Serves a connection until it ends, is too slow, or the core stops.
pub async fn serve(core: Rc<PerCore>, mut connection: Connection, endpoint: Endpoint) {
    let peer = connection.peer();
    let networks = Networks::of(peer.ip());
    // Of a proxy all connections come from one address.
    let counted = match endpoint.forwarded {
        true => Some(None),
        false => Counted::new(&core, networks).map(Some),
    };
    let Some(_counted) = counted else {
        // Like one too many of the core: nothing is said, for that would take as much as a request.
        core.count("ringmail_connections_refused_total", "http_open");
        return;
    };
    let id = core.connection_id();
    rt::label_task(&id);
    tracing::debug!(%peer, "HTTP connection");
    if endpoint.implicit_tls {
        // Nobody logs in here by a certificate.
        let Some(config) = core.live().tls_for_web(endpoint.listener) else {
            return;
        };
        if let Err(error) = Box::pin(core.start_tls(&mut connection, config, false)).await {
            tracing::debug!(connection = id, %error, "TLS handshake failed");
            return;
        }
    }
    let limits = core.live().settings.server.limits.http.clone();
    let facing = Rc::new(Facing {
        id,
        networks,
        peer,
        local: connection.local(),
        tls: connection.tls_in_words(),
        requests: Rc::default(),
        request: 0,
        account: Cell::new(None),
        clock: Clock::new(),
        heads: Heads::default(),
    });
    let progress = Progress::new();
    let times = Limits {
        taken: limits.response_timeout_secs.duration(),
        request: limits.request_timeout_secs.duration() + ANSWERED_WITHIN,
    };
    let service = service_fn(|request| {
        let (core, facing, asked) = (core.clone(), facing.clone(), progress.begin());
        // Before its task has a turn: what more may be read depends on it.
        let came = posted(request, &asked);
        async move {
            let response = http::answer(&core, came, (&facing, &asked), endpoint).await;
            Ok::<_, std::convert::Infallible>(response.map(|body| Sent::new(body, asked, times)))
        }
    });
    let is_framed = connection.application_protocol() == Some(HTTP_2);
    let mut stream = HttpStream::new(connection, progress.clone(), is_framed);
    if is_framed {
        return http2::serve(&core, stream, service, (&progress, &facing.id)).await;
    }
    let head_max = limits.header_max_bytes.as_usize();
    let asked = facing.clone();
    stream.words_for_unread(move |written| {
        let id = || asked.of_request(None, &Clock::new()).request_id();
        unread::in_words(written, (head_max, endpoint.webapi), id)
    });
    let mut builder = http1::Builder::new();
    builder
        // Needs a clock that is Send; ours is `too_slow`.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_header_size(head_max)
        .max_buf_size(head_max.max(BUFFER_MIN));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let ended = or(
        async {
            // What went wrong was said to the peer, if it could be said.
            let _ = connection.as_mut().await;
            true
        },
        or(
            async {
                or(too_slow(&progress, &limits), progress.stuck(times.taken)).await;
                true
            },
            async {
                core.drained().await;
                false
            },
        ),
    )
    .await;
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = rt::timeout(GOODBYE, connection.as_mut()).await;
    }
}

/// Octets of the head of a request, at most.
pub(super) fn head_max(core: &PerCore) -> usize {
    let live = core.live();
    live.settings.server.limits.http.header_max_bytes.as_usize()
}

/// An open connection of its networks.
struct Counted(Rc<PerCore>, Networks);

impl Counted {
    /// None: they have as many as they may.
    fn new(core: &Rc<PerCore>, networks: Networks) -> Option<Counted> {
        let live = core.live();
        let open = &live.settings.server.limits.http.connections_open_max;
        let mut limiters = core.limiters.borrow_mut();
        let admitted = limiters.http_connections.admit(&networks, open);
        admitted.then(|| Counted(core.clone(), networks))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Counted(core, networks) = self;
        core.limiters
            .borrow_mut()
            .http_connections
            .release(networks);
    }
}

/// Ready once the peer, or the response, has taken longer than its phase allows.
pub(super) async fn too_slow(progress: &Progress, limits: &HttpLimits) {
    loop {
        let (phase, since) = progress.phase();
        let limit = match phase {
            Phase::Idle => limits.idle_timeout_secs.duration(),
            Phase::Header => limits.header_timeout_secs.duration(),
            Phase::Response => limits.request_timeout_secs.duration() + ANSWERED_WITHIN,
        };
        let left = left_of(limit, since);
        if left.is_zero() {
            return;
        }
        rt::sleep(left.min(LOOK)).await;
    }
}

/// What is left of a time that began then.
pub(super) fn left_of(limit: Duration, since: Instant) -> Duration {
    let gone = monotonic().saturating_duration_since(since);
    limit.saturating_sub(gone)
}

/// hyper asks for no less.
const BUFFER_MIN: usize = 8 << 10;
/// A phase may end and a shorter one begin while the watch sleeps: so long at most.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// For the answer to a request that took too long; then it is cut off.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// For a response under way when the core stops.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);
