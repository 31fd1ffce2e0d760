//! One line of the log for each request, once its response is over: at info with `http.access_log`, else at debug.
//!
//! What a client says (method, path, its own number of the request) is cut and without control characters. No query: it may hold secrets, as do links to unsubscribe.

use std::rc::Rc;
use std::time::Instant;

use hyper::body::Body;
use hyper::{HeaderMap, Request};

use super::connection::Facing;
use super::unsubscribe::MOUNT;
use crate::percore::{Ends, monotonic};

/// What there is to be said of a request; said when it is dropped.
pub(super) struct Line {
    facing: Rc<Facing>,
    is_access: bool,
    method: String,
    path: String,
    page: &'static str,
    status: u16,
    octets_in: u64,
    octets_out: u64,
    given_id: Option<String>,
    began: Instant,
}

impl Line {
    /// Nothing if nobody would read it.
    pub(super) fn of<B: Body>(
        request: &Request<B>,
        page: &'static str,
        facing: &Rc<Facing>,
        is_access: bool,
    ) -> Option<Line> {
        if !is_access && !tracing::enabled!(tracing::Level::DEBUG) {
            return None;
        }
        Some(Line {
            facing: facing.clone(),
            is_access,
            method: cut(request.method().as_str(), METHOD_MAX),
            path: cut(shown(request.uri().path()), PATH_MAX),
            page,
            status: 0,
            octets_in: request.body().size_hint().lower(),
            octets_out: 0,
            given_id: given_id(request.headers()),
            began: monotonic(),
        })
    }

    pub(super) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    pub(super) fn sent(&mut self, octets: usize) {
        self.octets_out += octets as u64;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        macro_rules! say {
            ($level:ident) => {
                tracing::$level!(
                    request = self.facing.request_id(),
                    peer = %self.facing.peer().ip(),
                    method = self.method,
                    path = self.path,
                    page = self.page,
                    status = self.status,
                    octets_in = self.octets_in,
                    octets_out = self.octets_out,
                    took_ms = self.began.elapsed().as_millis() as u64,
                    account = self.facing.account().map(|account| account.to_string()),
                    client_request = self.given_id,
                    "HTTP request"
                )
            };
        }
        match self.is_access {
            true => say!(info),
            false => say!(debug),
        }
    }
}

/// The number that the client, or a proxy before us, has for the request: what is more than one is nobody's.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let is_sane = !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(|b| b.is_ascii_graphic());
    is_sane.then(|| id.to_string())
}

fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_string()
}

/// A link to unsubscribe is a secret between sender and reader.
fn shown(path: &str) -> &str {
    match path.starts_with(MOUNT) {
        true => MOUNT,
        false => path,
    }
}

/// Octets of a method.
const METHOD_MAX: usize = 16;
/// Octets of a path.
const PATH_MAX: usize = 200;
/// Octets of a client's number.
const ID_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_unsubscribe_are_not_shown() {
        assert_eq!(shown("/unsubscribe/eyJh"), "/unsubscribe");
        assert_eq!(shown("/webapi/v1/"), "/webapi/v1/");
    }

    #[test]
    fn numbers_of_clients() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("X-Request-Id", value.parse().unwrap());
            given_id(&headers)
        };
        assert_eq!(read("a-1_b:c").as_deref(), Some("a-1_b:c"));
        for odd in ["", "a b", "a\tb", &"a".repeat(129)] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
