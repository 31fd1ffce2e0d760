//! The page behind a link to unsubscribe. A mail provider POSTs to it when its user says so, and a reader presses a button: RFC 8058 3.2. A GET
//! changes nothing, for scanners of mail follow links.
//! Whoever has the link may use it, and needs no login. Not here: what the link holds (`queue::unsubscribe`), what follows.

use std::rc::Rc;

use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
};
use hyper::{Method, Request, Response, StatusCode};

use super::connection::Facing;
use super::http::{has_room, too_many};
use super::posted::Posted;
use crate::calls::{Answer, Call};
use crate::percore::PerCore;
use crate::queue::unsubscribe::Link;
pub(super) use crate::queue::unsubscribe::MOUNT;
use crate::store::StoreError;

/// The response to a request below [`MOUNT`]. The body of a POST says nothing that the link does not, and is not read.
pub(super) async fn answer(
    core: &Rc<PerCore>,
    request: &Request<Posted>,
    facing: &Facing,
) -> Response<Bytes> {
    if !has_room(core, &facing.networks) {
        return too_many().map(Bytes::from);
    }
    let path = request.uri().path().strip_prefix(MOUNT).unwrap_or_default();
    let token = path.strip_prefix('/').unwrap_or_default();
    let link = core.from_ids.links().and_then(|links| links.read(token));
    let mut response = match link {
        Some(link) => by_method(core, request.method(), link, facing).await,
        None => nowhere(),
    };
    if *request.method() == Method::POST {
        // The body was not read.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

async fn by_method(
    core: &Rc<PerCore>,
    method: &Method,
    link: Link,
    facing: &Facing,
) -> Response<Bytes> {
    let address = escaped(&link.address);
    let owner = core.owner_of(&link.account);
    let (call, title, text) = match *method {
        Method::GET | Method::HEAD => (
            Call::LinkHolds(Box::new(link)),
            "Unsubscribe",
            format!(
                "<p>{address} gets no more mail from this sender, once you say so.</p>\
                 <form method=post><input type=hidden name=List-Unsubscribe value=One-Click><button>Unsubscribe</button></form>"
            ),
        ),
        Method::POST => (
            Call::Unsubscribe(Box::new(link)),
            "You are unsubscribed",
            format!("<p>{address} gets no more mail from this sender.</p>"),
        ),
        _ => {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "Use GET or POST", "");
            let allowed = HeaderValue::from_static("GET, HEAD, POST");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
    };
    let done = match core.call(owner, call).await {
        Ok(Answer::Done(done)) => done,
        _ => Err(StoreError::NotAllowed("its core gave no answer")),
    };
    match done {
        Ok(()) => page(StatusCode::OK, title, &text),
        Err(StoreError::AccountGone) => nowhere(),
        Err(error) => {
            tracing::warn!(connection = facing.id, %error, "somebody could not unsubscribe");
            page(
                StatusCode::SERVICE_UNAVAILABLE,
                "Not now",
                "<p>The server can't take it just now. Try again in a few minutes.</p>",
            )
        }
    }
}

/// Who asks does not learn which it is.
fn nowhere() -> Response<Bytes> {
    page(
        StatusCode::NOT_FOUND,
        "This link leads nowhere",
        "<p>It is not whole, or its sender is gone and sends nothing any more. Open it from the message again, or copy all of it.</p>",
    )
}

fn page(status: StatusCode, title: &str, body: &str) -> Response<Bytes> {
    let text = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><meta name=robots content=\"noindex,nofollow\">\
         <title>{title}</title></head><body><h1>{title}</h1>{body}</body></html>\n"
    );
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        // The link is a secret between sender and reader.
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
