//! Requests that a proxy before us could take for other ones than we do, where hyper lets them pass. It refuses the rest itself: lines
//! that go on, a space before the colon, lengths that differ, a last coding that is not chunked.

use hyper::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode, Version};

use super::unread::HEADERS_MAX;

/// Why a request is refused, and its connection closed if that can't tell one request from the next.
pub(super) fn fault<B>(
    request: &Request<B>,
    takes_body: bool,
) -> Option<(StatusCode, &'static str)> {
    let bad = |why| (StatusCode::BAD_REQUEST, why);
    match request.version() {
        // RFC 6585 5. hyper counts in HTTP/1 alone.
        Version::HTTP_2 if request.headers().len() > HEADERS_MAX => Some((
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "There are too many header fields.\n",
        )),
        Version::HTTP_2 => authority_fault(request).map(bad),
        // RFC 9112 6.1.
        _ if takes_body && has_other_codings(request) => Some((
            StatusCode::NOT_IMPLEMENTED,
            "The only Transfer-Encoding that is understood is chunked.\n",
        )),
        _ => fault_of_1(request, takes_body).map(bad),
    }
}

/// RFC 9113 8.3.1: `:authority` instead of a Host field, or a Host field that says the same; either has no user. A Transfer-Encoding,
/// and all that is about a connection, makes a request malformed (8.2.2): h2 refuses it.
fn authority_fault<B>(request: &Request<B>) -> Option<&'static str> {
    let authority = request.uri().authority().map(Authority::as_str);
    let mut hosts = request.headers().get_all(HOST).iter();
    match (authority, hosts.next(), hosts.next()) {
        (None, None, _) => Some("It says of no host what it asks for.\n"),
        (_, Some(_), Some(_)) => Some("There is more than one Host field.\n"),
        (Some(authority), _, _) if !is_host(authority.as_bytes()) => {
            Some("The :authority is no host.\n")
        }
        (Some(authority), Some(host), None)
            if !authority.as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
        {
            Some("The Host field is not the :authority.\n")
        }
        (None, Some(host), None) if !is_host(host.as_bytes()) => {
            Some("The Host field is no host.\n")
        }
        _ => None,
    }
}

fn fault_of_1<B>(request: &Request<B>, takes_body: bool) -> Option<&'static str> {
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

fn has_other_codings<B>(request: &Request<B>) -> bool {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(|first| !is_chunked(first)) || codings.next().is_some()
}

/// RFC 9110 7.2: `Host = uri-host [ ":" port ]`; empty where the target has none.
fn is_host(value: &[u8]) -> bool {
    value.is_empty() || !value.contains(&b'@') && Authority::try_from(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_request_of_http_2() {
        let status = |uri: &str, hosts: &[&str]| {
            let request = Request::builder().version(Version::HTTP_2).uri(uri);
            let request = hosts
                .iter()
                .fold(request, |request, host| request.header(HOST, *host));
            fault(&request.body(()).unwrap(), false).map(|(status, _)| status.as_u16())
        };
        assert_eq!(status("https://a.example/", &[]), None);
        assert_eq!(status("https://a.example:1443/", &["A.example:1443"]), None);
        assert_eq!(status("/", &["a.example"]), None);
        for (uri, hosts) in [
            ("/", &[][..]),
            ("/", &["a b"]),
            ("/", &["a", "a"]),
            ("https://a.example/", &["b.example"]),
            ("https://a.example/", &["a.example:443"]),
            ("https://a.example/", &["a.example", "a.example"]),
            ("https://user@a.example/", &[]),
            ("https://user@a.example/", &["user@a.example"]),
        ] {
            assert_eq!(status(uri, hosts), Some(400), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_body_in_another_coding_is_not_taken_for_what_it_says() {
        let status = |codings: &[&str]| {
            let request = Request::builder().uri("/").header(HOST, "a");
            let request = codings.iter().fold(request, |request, coding| {
                request.header(TRANSFER_ENCODING, *coding)
            });
            fault(&request.body(()).unwrap(), true).map(|(status, _)| status.as_u16())
        };
        assert_eq!(status(&[]), None);
        assert_eq!(status(&["Chunked"]), None);
        for codings in [
            &["gzip, chunked"][..],
            &["gzip", "chunked"],
            &["gzip"],
            &["chunked", "chunked"],
        ] {
            assert_eq!(status(codings), Some(501), "{codings:?}");
        }
    }

    #[test]
    fn header_fields_of_http_2_are_counted() {
        let status = |fields| {
            let request = Request::builder()
                .version(Version::HTTP_2)
                .uri("https://a/");
            let request = (0..fields).fold(request, |request, _| request.header("x", "y"));
            fault(&request.body(()).unwrap(), false).map(|(status, _)| status.as_u16())
        };
        assert_eq!(status(HEADERS_MAX), None);
        assert_eq!(status(HEADERS_MAX + 1), Some(431));
    }
}
