//! The page behind a link to unsubscribe. A mail provider POSTs to it when its user says so, and a reader presses a button: RFC 8058 3.2. A GET
//! changes nothing, for scanners of mail follow links.
//! Whoever has the link may use it, and needs no login. Not here: what the link holds (`queue::unsubscribe`), what follows.

use std::rc::Rc;

use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
};
use hyper::{Method, Request, Response, StatusCode};

use super::connection::Facing;
use super::http::{has_room, too_many};
use crate::calls::{Answer, Call};
use crate::percore::PerCore;
use crate::queue::unsubscribe::Link;
pub(super) use crate::queue::unsubscribe::MOUNT;
use crate::store::StoreError;

/// The response to a request below [`MOUNT`]. The body of a POST says nothing that the link does not, and is not read.
pub(super) async fn answer(
    core: &Rc<PerCore>,
    request: &Request<Incoming>,
    facing: &Facing,
) -> Response<Bytes> {
    if !has_room(core, &facing.networks) {
        return too_many().map(Bytes::from);
    }
    let path = request.uri().path().strip_prefix(MOUNT).unwrap_or_default();
    let token = path.strip_prefix('/').unwrap_or_default();
    let Some(link) = core.from_ids.links().and_then(|links| links.read(token)) else {
        return page(
            StatusCode::NOT_FOUND,
            "This link is not whole",
            "<p>Open it from the message again, or copy all of it.</p>",
        );
    };
    let address = escaped(&link.address);
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => page(
            StatusCode::OK,
            "Unsubscribe",
            &format!(
                "<p>{address} gets no more mail from this sender, once you say so.</p>\
                 <form method=post><input type=hidden name=List-Unsubscribe value=One-Click><button>Unsubscribe</button></form>"
            ),
        ),
        Method::POST => match unsubscribe(core, link).await {
            // An account that is gone sends nothing.
            Ok(()) | Err(StoreError::AccountGone) => page(
                StatusCode::OK,
                "You are unsubscribed",
                &format!("<p>{address} gets no more mail from this sender.</p>"),
            ),
            Err(error) => {
                tracing::warn!(connection = facing.id, %error, "somebody could not unsubscribe");
                page(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Not now",
                    "<p>The server can't take it just now. Try again in a few minutes.</p>",
                )
            }
        },
        _ => {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "Use GET or POST", "");
            let allowed = HeaderValue::from_static("GET, HEAD, POST");
            response.headers_mut().insert(ALLOW, allowed);
            response
        }
    };
    if *request.method() == Method::POST {
        // The body was not read.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

async fn unsubscribe(core: &Rc<PerCore>, link: Link) -> Result<(), StoreError> {
    let owner = core.owner_of(&link.account);
    match core.call(owner, Call::Unsubscribe(Box::new(link))).await {
        Ok(Answer::Done(done)) => done,
        _ => Err(StoreError::NotAllowed("its core gave no answer")),
    }
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
