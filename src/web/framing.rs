//! Requests that a proxy before us could take for other ones than we do, where hyper lets them pass. It refuses the rest itself: lines
//! that go on, a space before the colon, lengths that differ, a last coding that is not chunked.

use hyper::header::{HOST, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{Request, Version};

/// Why a request is refused and its connection closed.
pub(super) fn fault<B>(request: &Request<B>, takes_body: bool) -> Option<&'static str> {
    // RFC 9112 6.1: with a Content-Length beside it this ought to be an error. hyper takes that away, so one is as bad as both. What takes
    // a body closes the connection after it.
    if !takes_body && request.headers().contains_key(TRANSFER_ENCODING) {
        return Some("No request here has a Transfer-Encoding.\n");
    }
    // RFC 9112 3.2: exactly one, but for HTTP/1.0, which may have none.
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_10 => None,
        (None, _) => Some("The Host field is missing.\n"),
        (Some(_), Some(_)) => Some("There is more than one Host field.\n"),
        (Some(host), None) if !is_host(host.as_bytes()) => Some("The Host field is no host.\n"),
        (Some(_), None) => None,
    }
}

/// RFC 9110 7.2: `Host = uri-host [ ":" port ]`; empty where the target has none.
fn is_host(value: &[u8]) -> bool {
    value.is_empty() || !value.contains(&b'@') && Authority::try_from(value).is_ok()
}
