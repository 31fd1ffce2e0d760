//! Responses.

use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use webapi::v1::openapi::PROBLEM;
use webapi::v1::operation::JSON;
use webapi::v1::{Kind, Problem};

use super::{Asked, Said};
use crate::web::api::PLAIN_BODIES;

/// An object.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Said {
    let octets = serde_json::to_vec(value).map_err(super::unavailable)?;
    Ok(with_type(status, octets.into(), JSON))
}

/// An object that comes to so many octets, about. What is long is made by the pool, in the account's turn: nobody else waits for it.
pub(super) async fn long<T: Serialize + Send + 'static>(
    asked: &Asked,
    octets: usize,
    value: T,
) -> Said {
    if octets <= AT_ONCE_MAX {
        return json(StatusCode::OK, &value);
    }
    let account = asked.login()?.account;
    let make = move || serde_json::to_vec(&value);
    let made = asked.core.composing.run(account.as_str(), make).await;
    let octets = made
        .map_err(super::unavailable)?
        .map_err(super::unavailable)?;
    Ok(with_type(StatusCode::OK, octets.into(), JSON))
}

/// Octets of a type.
pub(super) fn with_type(
    status: StatusCode,
    octets: Bytes,
    content_type: &'static str,
) -> Response<Bytes> {
    let mut response = Response::new(octets);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Done, and there is nothing to say.
pub(super) fn nothing() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Somewhere else.
pub(super) fn see_other(place: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

/// What is wrong, with the fields that go with its status.
pub(in crate::web::api) fn problem(mut problem: Problem, request_id: &str) -> Response<Bytes> {
    problem.request_id = Some(request_id.to_string());
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
    let octets = serde_json::to_vec(&problem).unwrap_or_else(|_| b"{}".to_vec());
    let mut response = with_type(status, octets.into(), PROBLEM);
    let headers = response.headers_mut();
    if let Some(secs) = problem.retry_after {
        headers.insert(RETRY_AFTER, secs.into());
    }
    if let Kind::UnsupportedCoding = problem.kind {
        // RFC 7694 3: by this, and by this alone, it is told from a type that is not read.
        let known = HeaderValue::from_static(PLAIN_BODIES);
        headers.insert(ACCEPT_ENCODING, known);
    }
    // RFC 9110 11.6.1, RFC 6750 3, RFC 7617 2: who sent no token is told of no error.
    if let Kind::Unauthorized | Kind::MissingScope = problem.kind {
        let bearer = match problem.token {
            Some(fault) => format!("Bearer {REALM}, {}", fault.attributes()),
            None => format!("Bearer {REALM}"),
        };
        if let Ok(bearer) = HeaderValue::try_from(bearer) {
            headers.append(WWW_AUTHENTICATE, bearer);
        }
    }
    if let Kind::Unauthorized = problem.kind
        && let Ok(basic) = HeaderValue::try_from(format!("Basic {REALM}"))
    {
        headers.append(WWW_AUTHENTICATE, basic);
    }
    response
}

/// Octets of JSON that a core makes at one go.
const AT_ONCE_MAX: usize = 64 << 10;
const REALM: &str = "realm=\"webapi\"";
