//! One connection of HTTP/2: several requests at once, each in a task of its own, so that a panic or a response that is too slow ends its
//! stream alone. Called by `connection`. Input is untrusted. RFC 9113 (hyper and h2 speak it).
//!
//! Bounds: streams, and with them what each may hold; frames that are small (`frames`); resets, for a stream that is reset at once costs its peer nothing and leaves its place
//! to the next (CVE-2023-44487, RFC 9113 10.5).
//! Not here: what requests are answered (`http`), the check of their hosts (`framing`).

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::HttpService;
use shards::rt::{self, Event};

use super::connection::{ANSWERED_WITHIN, GOODBYE, LOOK, too_slow};
use super::payload::Sent;
use super::stream::{Clock, HttpStream, Phase, Progress};
use crate::percore::PerCore;
use crate::settings::HttpLimits;

/// Serves it until it ends, is idle for too long, or the core stops and its time is up.
pub(super) async fn serve<S>(
    core: &Rc<PerCore>,
    stream: HttpStream,
    service: S,
    (progress, id): (&Progress, &str),
) where
    S: HttpService<Incoming, ResBody = Sent, Error = Infallible>,
    S::Future: 'static,
{
    let limits = core.live().settings.server.limits.http.clone();
    let ended = Ended(Rc::default());
    let streams = Streams {
        ended: ended.0.clone(),
        progress: progress.clone(),
        limit: limits.request_timeout_secs.duration() + ANSWERED_WITHIN,
        label: id.into(),
    };
    let mut builder = http2::Builder::new(streams);
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(limits.header_max_bytes.as_usize().min(HEADER_LIST_MAX) as u32)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(RESETS_WAITING_MAX)
        .max_local_error_reset_streams(RESETS_OF_OURS_MAX);
    let mut connection = pin!(builder.serve_connection(stream, service));
    let ended = or(
        async {
            let stuck = progress.stuck(limits.response_timeout_secs.duration());
            // What went wrong was said to the peer, if it could be said.
            let served = async { drop(progress.served(connection.as_mut()).await) };
            or(served, stuck).await;
            End::Over
        },
        or(
            async {
                idle_for_long(progress, &limits).await;
                End::Idle
            },
            async {
                core.drained().await;
                End::Drain
            },
        ),
    )
    .await;
    if let End::Over = ended {
        return;
    }
    // RFC 9113 6.8, 9.1: GOAWAY says which requests were taken.
    connection.as_mut().graceful_shutdown();
    let goodbye = async {
        let _ = progress.served(connection.as_mut()).await;
    };
    match ended {
        End::Drain => or(goodbye, or(core.drain_ends(), nobody_asks(progress))).await,
        _ => {
            let _ = rt::timeout(GOODBYE, goodbye).await;
        }
    }
}

/// Why a connection is served no more.
enum End {
    Over,
    Idle,
    Drain,
}

/// Requests have their own time; here it is that between them.
async fn idle_for_long(progress: &Progress, limits: &HttpLimits) {
    loop {
        too_slow(progress, limits).await;
        if progress.phase().0 != Phase::Response {
            return;
        }
        // That one's task ends it.
        rt::sleep(LOOK).await;
    }
}

/// Ready once nothing has been under way for the time of a goodbye: a peer that rests does not answer ours.
async fn nobody_asks(progress: &Progress) {
    loop {
        rt::sleep(GOODBYE).await;
        let (phase, since) = progress.phase();
        if phase != Phase::Response && since.elapsed() >= GOODBYE {
            return;
        }
    }
}

/// Starts a task for each stream.
#[derive(Clone)]
struct Streams {
    ended: Rc<Over>,
    progress: Progress,
    limit: Duration,
    label: Rc<str>,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    /// hyper has just handed the request to the service.
    fn execute(&self, stream: F) {
        let Streams { ended, limit, .. } = self.clone();
        let label = self.label.clone();
        let clock = self.progress.newest().unwrap_or_else(Clock::new);
        rt::spawn(&super::ROOM, async move {
            rt::label_task(&label);
            // When it is dropped before its end, h2 resets the stream.
            or(stream, or(ended.wait(), clock.over(limit))).await;
        });
    }
}

/// The end of a connection, for the tasks of its streams.
#[derive(Default)]
struct Over {
    is_over: Cell<bool>,
    event: Event,
}

impl Over {
    async fn wait(&self) {
        while !self.is_over.get() {
            self.event.wait(self.event.count()).await;
        }
    }
}

/// Says so however the connection ended.
struct Ended(Rc<Over>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.is_over.set(true);
        self.0.event.notify();
    }
}

/// Requests of a connection at once. RFC 9113 6.5.2 recommends no less than 100, and clients (nghttp2) take that for granted until they have read
/// our settings: what is beyond is refused, and some give it up then.
const STREAMS_MAX: u32 = 100;
/// The head of a request, with 32 octets more for each field: RFC 9113 6.5.2. Less if `limits.http.header_max_bytes` says so.
const HEADER_LIST_MAX: usize = 64 << 10;
/// Octets of a response that wait to be written.
const SEND_BUFFER: usize = 16 << 10;
/// Octets of a request that nobody has read yet: that of the standard, RFC 9113 6.9.2.
const STREAM_WINDOW: u32 = (64 << 10) - 1;
/// The same of all requests of a connection. Half of it is what small frames may cost (`frames`).
const CONNECTION_WINDOW: u32 = 128 << 10;
/// Streams that the peer has reset before we looked at them.
const RESETS_WAITING_MAX: usize = 20;
/// Streams that we reset for what the peer did wrong.
const RESETS_OF_OURS_MAX: usize = 100;
