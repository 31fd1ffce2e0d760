//! What each path answers.

use std::rc::Rc;
use std::time::Duration;

use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Version};
use shards::faults::point;
use shards::rt;

use super::access::Line;
use super::connection::Facing;
use super::payload::Payload;
use super::posted::{Posted, Rest};
use super::scrape::{self, Scrape};
use super::stream::Asked;
use super::{Endpoint, api, forwarded, framing, process, unsubscribe};
use crate::login::limiter::Networks;
use crate::login::oauth;
use crate::metrics::histograms;
use crate::percore::PerCore;

/// The response to a request, and the counting of both.
pub(super) async fn answer(
    core: &Rc<PerCore>,
    (request, rest): (Request<Posted>, Rest),
    (facing, asked): (&Rc<Facing>, &Asked),
    endpoint: Endpoint,
) -> Response<Payload> {
    let _ = point("http.request");
    let page = Page::of(request.uri().path(), endpoint);
    let (method, version) = (request.method().clone(), request.version());
    let is_api = matches!(page, Page::Api);
    let takes_posts = is_api || matches!(page, Page::Unsubscribe);
    let client = match endpoint.forwarded {
        true => forwarded::client(request.headers()),
        false => None,
    };
    let facing = &Rc::new(facing.of_request(client, &asked.clock));
    let is_access = core.live().settings.server.http.access_log;
    let line = Line::of(&request, page.word(), facing, is_access);
    // Other pages are answered at once.
    let head = takes_posts.then(|| facing.heads().add(core, &request, &facing.networks));
    let fault = match head {
        Some(None) => Some((StatusCode::SERVICE_UNAVAILABLE, HEADS_TOO_LARGE)),
        _ => framing::fault(&request, takes_posts),
    };
    let mut response = if is_api && endpoint.forwarded && client.is_none() {
        // Limits and records would take the proxy for everybody.
        told(no_client(), facing)
    } else if let Some((status, why)) = fault {
        match api::is_v1(request.uri().path()) && is_api {
            true => closed(api::refused(core, (status, why), facing)),
            false => told(closed(text(status, why.into())), facing),
        }
    } else if is_api {
        api::answer(core, request, facing).await
    } else if matches!(page, Page::Unsubscribe) {
        unsubscribe::answer(core, &request, facing)
            .await
            .map(Payload::from)
    } else if !has_room(core, &facing.networks) {
        told(too_many(), facing)
    } else if !matches!(method, Method::GET | Method::HEAD) {
        told(wrong_method(page), facing)
    } else {
        told(page.answer(core, endpoint).await, facing)
    };
    core.metrics.count(
        "ringmail_http_requests_total",
        crate::metrics::labels(("page", page.word()), ("status", class(response.status()))),
    );
    if version == Version::HTTP_2 {
        // RFC 9113 8.2.2: not there. The next request can't be taken for what is left of this one.
        response.headers_mut().remove(CONNECTION);
    }
    if let Ok(id) = HeaderValue::try_from(facing.request_id()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if let Some(mut line) = line {
        line.answered(response.status().as_u16());
        response.body_mut().logged(line);
    }
    rest.throw_away((version != Version::HTTP_2).then(|| asked.another()));
    response
}

/// What is asked for in vain can be found in the log; `/readyz` is read by programs.
fn told(mut response: Response<String>, facing: &Facing) -> Response<Payload> {
    if response.status().is_client_error() {
        response
            .body_mut()
            .push_str(&format!("Connection {}.\n", facing.id));
    }
    response.map(Payload::from)
}

#[derive(Clone, Copy)]
enum Page {
    Index,
    Metrics,
    Alive,
    Ready,
    Api,
    Unsubscribe,
    Unknown,
}

impl Page {
    fn of(path: &str, endpoint: Endpoint) -> Page {
        match path {
            "/" => Page::Index,
            "/metrics" if endpoint.metrics => Page::Metrics,
            "/healthz" if endpoint.health => Page::Alive,
            "/readyz" if endpoint.health => Page::Ready,
            path if endpoint.webapi && is_below(path, api::MOUNT) => Page::Api,
            path if endpoint.webapi && is_below(path, unsubscribe::MOUNT) => Page::Unsubscribe,
            _ => Page::Unknown,
        }
    }

    /// Its label in metrics.
    fn word(self) -> &'static str {
        match self {
            Page::Index => "index",
            Page::Metrics => "metrics",
            Page::Alive => "healthz",
            Page::Ready => "readyz",
            Page::Api => "webapi",
            Page::Unsubscribe => "unsubscribe",
            Page::Unknown => "unknown",
        }
    }

    async fn answer(self, core: &Rc<PerCore>, endpoint: Endpoint) -> Response<String> {
        match self {
            Page::Index => text(StatusCode::OK, index(endpoint)),
            Page::Alive => text(StatusCode::OK, "alive\n".into()),
            Page::Ready => ready(core).await,
            Page::Metrics => metrics(core, endpoint).await,
            // The others answer for themselves.
            Page::Api | Page::Unsubscribe | Page::Unknown => text(
                StatusCode::NOT_FOUND,
                "There is nothing here. GET / lists what there is.\n".into(),
            ),
        }
    }
}

fn is_below(path: &str, mount: &str) -> bool {
    path.strip_prefix(mount)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the client's networks may ask for more.
pub(super) fn has_room(core: &PerCore, networks: &Networks) -> bool {
    let live = core.live();
    let limits = &live.settings.server.limits.http;
    let now = core.wall_clock().max(0) as u64;
    core.limiters.borrow_mut().requests.admit(
        networks,
        now,
        &limits.requests_per_minute_max,
        &limits.requests_per_hour_max,
    )
}

pub(super) fn too_many() -> Response<String> {
    // RFC 6585 4.
    let mut response = text(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many requests from your network. Wait a minute.\n".into(),
    );
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

/// What follows may be no request.
fn closed<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn no_client() -> Response<String> {
    let why = "The proxy in front of this server does not say by X-Forwarded-For who asks.\n";
    text(StatusCode::INTERNAL_SERVER_ERROR, why.into())
}

fn wrong_method(page: Page) -> Response<String> {
    if let Page::Unknown = page {
        return text(StatusCode::NOT_FOUND, "There is nothing here.\n".into());
    }
    // RFC 9110 15.5.6: a 405 names the methods that work.
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "Only GET and HEAD work here.\n".into(),
    );
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn index(endpoint: Endpoint) -> String {
    let mut page = String::from("ringmail, a mail server.\n\n");
    if endpoint.health {
        page.push_str("/healthz  200 while the process lives\n");
        page.push_str("/readyz   200 while it takes and serves mail, else 503 and why\n");
    }
    if endpoint.metrics {
        page.push_str("/metrics  for Prometheus\n");
    }
    if endpoint.webapi {
        page.push_str("/webapi/  the sending API\n");
    }
    page
}

async fn ready(core: &Rc<PerCore>) -> Response<String> {
    let mut reasons = scrape::scrape(core).await.reasons(core.draining.get());
    reasons.extend(crate::percore::stalls(&core.watches));
    if !core.serving.get() {
        reasons.insert(0, "starting".into());
    }
    if reasons.is_empty() {
        return text(StatusCode::OK, "ready\n".into());
    }
    let mut body = String::from("not ready\n");
    for reason in reasons {
        body.push_str(&reason);
        body.push('\n');
    }
    text(StatusCode::SERVICE_UNAVAILABLE, body)
}

async fn metrics(core: &Rc<PerCore>, endpoint: Endpoint) -> Response<String> {
    let Scrape {
        mut samples,
        durations,
        silent,
    } = scrape::scrape(core).await;
    if core.live().tokens.is_some() {
        samples.push(oauth::counts());
    }
    let mut body = scrape::text(samples, endpoint.rooms, silent.len());
    body.push_str(&histograms(&durations));
    // Reads files of /proc, one of which lists every descriptor: not on an executor. When a disk that does not answer holds the pool's
    // threads, the rest is what is wanted most.
    let process = rt::timeout(PROCESS_LIMIT, core.pool.run(process::metrics));
    if let Ok(Ok(process)) = process.await {
        body.push_str(&process);
    }
    let mut response = text(StatusCode::OK, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROMETHEUS));
    response
}

fn text(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PLAIN));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// More heads at once than there is memory for.
const HEADS_TOO_LARGE: &str = "The heads of the requests that are under way are too large together; nothing was done, try again later.\n";
/// How long `/metrics` waits for the numbers of the process.
const PROCESS_LIMIT: Duration = Duration::from_secs(1);
const PLAIN: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// In each response: by it a request is found in the log.
pub(super) const REQUEST_ID: &str = "ringmail-request-id";
