//! Who the client is, by a proxy in front of us: the first element of X-Forwarded-For, where the operator says that there is one. Anybody
//! else could claim to be anybody. The proxy must write the field anew, or its first element is the client's own word.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;

/// The client's address; none: the field is missing or no address.
pub(super) fn client(headers: &HeaderMap) -> Option<IpAddr> {
    let value = headers.get("x-forwarded-for")?.to_str().ok()?;
    let first = value.split(',').next()?.trim();
    let bare = first
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(first).parse().ok();
    let with_port = || first.parse().ok().map(|address: SocketAddr| address.ip());
    address
        .or_else(with_port)
        .map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_first_element_counts() {
        for (value, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            (" 192.0.2.1:4711 , 198.51.100.7", Some("192.0.2.1")),
            ("2001:db8::1,192.0.2.1", Some("2001:db8::1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("unknown, 192.0.2.1", None),
            ("", None),
            (",", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.append("X-Forwarded-For", HeaderValue::from_static(value));
            headers.append("X-Forwarded-For", HeaderValue::from_static("203.0.113.9"));
            let expected: Option<IpAddr> = expected.map(|text| text.parse().unwrap());
            assert_eq!(client(&headers), expected, "{value}");
        }
        assert_eq!(client(&HeaderMap::new()), None);
    }
}
