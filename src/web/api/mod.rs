//! The sending API: `/webapi/v0/METHOD`, as HTTP has it. Checks come in the order in which clients of the first such API know them. Resources below
//! `/webapi/v1/` are in `v1`.
//!
//! `login` says who asks, `body` reads what is sent, `form` takes it apart, `methods` answers it, `messages` where it is about stored messages; `examples` are shown by the help pages. RFC 9110, 7617 (Basic), 7578 and WHATWG URL (forms).
//! Not here: the objects (`protocols/webapi`), what a call does to mail (the rooms below).

mod body;
mod disposition;
mod examples;
mod form;
mod login;
mod messages;
mod methods;
mod multipart;
mod v1;

use std::rc::Rc;
use std::time::Instant;

use futures_lite::future::or;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    HeaderValue, LOCATION, ORIGIN, REFERRER_POLICY, TRANSFER_ENCODING, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use webapi::v1::{Kind, Problem};
use webapi::{ApiError, Code};

use super::connection::{Facing, head_max};
use super::http::{has_room, too_many};
use super::payload::Payload;
use super::posted::Posted;
use super::unread;
use crate::metrics;
use crate::percore::{PerCore, monotonic};
use body::Held;
pub(super) use login::Caller;

/// Where it is.
pub(super) const MOUNT: &str = "/webapi";

/// What a method answers.
pub(super) enum Said {
    /// An object.
    Json(Vec<u8>),
    /// Octets, and what they are.
    Raw(Box<Payload>, HeaderValue),
}

/// The response to a request below [`MOUNT`].
pub(super) async fn answer(
    core: &Rc<PerCore>,
    request: Request<Posted>,
    facing: &Rc<Facing>,
) -> Response<Payload> {
    // RFC 9112 6.1: whoever is before us may have taken the length for the truth.
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let path = request.uri().path().strip_prefix(MOUNT).unwrap_or_default();
    // A page of another site can have a browser send a form, with the login that the browser remembers.
    let is_foreign = is_foreign(&request);
    let of_v1 = below_v1(path).map(str::to_string);
    let known = path
        .strip_prefix("/v0/")
        .and_then(|name| methods::names().find(|known| *known == name));
    let is_post = *request.method() == Method::POST;
    // A call has a limit of its own, once it is known who calls.
    let is_counted = known.is_none() || !is_post || is_foreign;
    let mut response = match path {
        _ if of_v1.is_some() => {
            let path = of_v1.unwrap_or_default();
            let answer = v1::answer(core, request, &path, (facing, is_foreign));
            answer.await
        }
        _ if is_counted && !has_room(core, &facing.networks) => too_many().map(Payload::from),
        _ if is_foreign && is_post => text(
            StatusCode::FORBIDDEN,
            "Pages of other sites may not call this.\n",
        ),
        "" | "/" if is_read(request.method()) => redirect("/webapi/v0/"),
        "" | "/" => wrong_method("GET, HEAD"),
        "/v0/" => html(methods::introduction()),
        _ => match (known, request.method()) {
            (None, _) => text(
                StatusCode::NOT_FOUND,
                "There is no such method. GET /webapi/v0/ lists them.\n",
            ),
            (Some(name), method) if is_read(method) => html(methods::help(name)),
            (Some(name), &Method::POST) => call(core, name, request, facing).await,
            (Some(_), _) => wrong_method("GET, HEAD, POST"),
        },
    };
    // RFC 9110 15.5.9: what is left of a body that is too slow is not waited for.
    let is_over = is_chunked || response.status() == StatusCode::REQUEST_TIMEOUT;
    let headers = response.headers_mut();
    for (name, value) in [
        (X_FRAME_OPTIONS, "deny"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'self' 'unsafe-inline' data:",
        ),
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_over {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether a path is one of version 1.
pub(super) fn is_v1(path: &str) -> bool {
    below_v1(path.strip_prefix(MOUNT).unwrap_or_default()).is_some()
}

fn below_v1(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v1")?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// A request of version 1 that others could read otherwise is refused.
pub(super) fn refused(
    core: &PerCore,
    (status, why): (StatusCode, &str),
    facing: &Facing,
) -> Response<Payload> {
    let problem = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => unread::too_large(head_max(core)),
        StatusCode::SERVICE_UNAVAILABLE => Problem::new(Kind::Unavailable, why.trim_end()),
        _ => Problem::new(Kind::Malformed, why.trim_end()),
    };
    v1::problem(problem, &facing.request_id()).map(Payload::from)
}

/// Whether a page of another site has the browser send it. Browsers say so, but for pages that came without TLS: of these they say the origin.
fn is_foreign<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let authority = request.uri().authority();
    let host = authority
        .map(|a| a.as_str().as_bytes())
        .or(headers.get(HOST).map(|host| host.as_bytes()));
    let of_origin = origin.to_str().unwrap_or_default().split_once("://");
    !matches!((of_origin, host), (Some((_, named)), Some(host)) if named.as_bytes().eq_ignore_ascii_case(host))
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

async fn call(
    core: &Rc<PerCore>,
    name: &'static str,
    request: Request<Posted>,
    facing: &Rc<Facing>,
) -> Response<Payload> {
    let began = monotonic();
    let (response, result) = match login::caller(core, request.headers(), facing).await {
        Err(refused) => (login::told(refused), "badauth"),
        Ok(caller) if body::is_coded(request.headers()) => {
            facing.set_account(caller.account);
            (wrong_coding(), Code::Protocol.as_str())
        }
        Ok(caller) => {
            facing.set_account(caller.account);
            let said = in_time(core, facing, run(core, name, request, (&caller, facing)));
            let said = said.await.unwrap_or_else(|| {
                let message = format!("{TOO_LONG}; whether it was done is not known");
                Err(ours(message).into())
            });
            match said {
                Ok(said) => (said_response(counted(core, &caller, said)), "ok"),
                Err(Fault::Api(error)) => (error_response(&error), error.code.as_str()),
                Err(Fault::Login(refused)) => (login::told(refused), "badauth"),
            }
        }
    };
    count(core, name, result, began);
    response
}

async fn run(
    core: &Rc<PerCore>,
    name: &'static str,
    request: Request<Posted>,
    (caller, facing): (&Caller, &Facing),
) -> Result<Said, Fault> {
    let form = form::read(core, request, (caller.account, facing.clock())).await?;
    caller.must_be_known_still(core).map_err(Fault::Login)?;
    Ok(methods::run(core, name, form, (caller, &facing.id)).await?)
}

/// Why nothing is done.
enum Fault {
    Api(ApiError),
    /// It held when the request came, and no longer when all of it was there.
    Login(login::Refusal),
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Fault {
        Fault::Api(error)
    }
}

/// What comes of a request in the time that one has; none: it is to be told so, or is cut off.
async fn in_time<T>(core: &PerCore, facing: &Facing, run: impl Future<Output = T>) -> Option<T> {
    let limit = core.live().settings.server.limits.http.request_timeout_secs;
    let over = async {
        facing.clock().over(limit.duration()).await;
        None
    };
    or(async { Some(run.await) }, over).await
}

/// An object takes memory until its client has it; what is more counts for itself.
fn counted(core: &Rc<PerCore>, caller: &Caller, said: Said) -> Said {
    let Said::Json(json) = said else {
        return said;
    };
    let mut held = Held::new(core, caller.account);
    // What was done is told in any case.
    let _ = held.answer(json.len(), true);
    let payload = Payload::from(json).counted(held);
    Said::Raw(Box::new(payload), HeaderValue::from_static(JSON))
}

fn count(core: &PerCore, method: &'static str, result: &'static str, began: Instant) {
    core.metrics.count(
        "ringmail_webapi_results_total",
        metrics::labels(("method", method), ("result", result)),
    );
    let key = (
        "ringmail_webapi_seconds",
        [("method", method), NO_LABEL, NO_LABEL],
    );
    core.durations
        .observe(key, monotonic().saturating_duration_since(began));
}

fn said_response(said: Said) -> Response<Payload> {
    let (body, content_type) = match said {
        Said::Json(json) => (json.into(), HeaderValue::from_static(JSON)),
        Said::Raw(octets, content_type) => (*octets, content_type),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn error_response(error: &ApiError) -> Response<Payload> {
    let mut response = said_response(Said::Json(json(error)));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// With a line end after it, as the first clients know it.
fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut octets = serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec());
    octets.push(b'\n');
    octets
}

/// What is wrong with us, in the words of the API.
fn ours(message: impl Into<String>) -> ApiError {
    ApiError::new(Code::Server, message)
}

/// Plain words.
fn text(status: StatusCode, words: &str) -> Response<Payload> {
    let mut response = Response::new(words.to_string().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn html(page: String) -> Response<Payload> {
    let content_type = HeaderValue::from_static("text/html; charset=utf-8");
    said_response(Said::Raw(Box::new(page.into()), content_type))
}

fn redirect(to: &'static str) -> Response<Payload> {
    let mut response = text(StatusCode::SEE_OTHER, "");
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static(to));
    response
}

fn wrong_method(allowed: &'static str) -> Response<Payload> {
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "POST calls a method, GET shows what it takes.\n",
    );
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// RFC 9110 15.5.16, RFC 7694 3.
fn wrong_coding() -> Response<Payload> {
    let mut response = text(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "The body has a Content-Encoding; send it as it is.\n",
    );
    let headers = response.headers_mut();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(PLAIN_BODIES));
    response
}

/// RFC 7617 2.
fn unauthorized(words: &str) -> Response<Payload> {
    let mut response = text(StatusCode::UNAUTHORIZED, words);
    let headers = response.headers_mut();
    let challenge = HeaderValue::from_static("Basic realm=webapi");
    headers.insert(WWW_AUTHENTICATE, challenge);
    response
}

/// Of a request that has no answer in time.
const TOO_LONG: &str = "the server took too long for it";
/// Codings of a request's body that are read: none.
const PLAIN_BODIES: &str = "identity";
const NO_LABEL: (&str, &str) = ("", "");
const JSON: &str = "application/json; charset=utf-8";
