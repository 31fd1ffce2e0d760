//! The URL of an endpoint, taken apart. RFC 3986, RFC 9110 4.2. It is written by an account's owner: not trusted.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// `https`.
    pub is_tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// Of the scheme, if the URL names none.
    pub port: u16,
    /// With the query.
    pub path: String,
}

impl Target {
    /// Reads a URL; the error says what is wrong with it.
    pub fn parse(url: &str) -> Result<Target, String> {
        if url.len() > URL_MAX {
            return Err(format!("a URL has at most {URL_MAX} octets"));
        }
        let uri: Uri = url.parse().map_err(|_| {
            format!("{url:?} is no URL; other letters than those of ASCII are written in %")
        })?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("{url:?} does not begin with https:// or http://")),
        };
        let authority = uri.authority().map_or("", |a| a.as_str());
        // RFC 9110 4.2.4: a name and a password in a URL are deprecated, and are shown where they should not.
        if authority.contains('@') {
            return Err("a URL names no user; there is the value of Authorization".into());
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(format!("{url:?} names no host"));
        }
        let port = match uri.port() {
            Some(port) => port.as_u16(),
            None if is_tls => 443,
            None => 80,
        };
        Ok(Target {
            is_tls,
            host: host.to_ascii_lowercase(),
            port,
            path: match uri.path_and_query().map_or("/", |path| path.as_str()) {
                // RFC 9112 3.2.1: the target of a request begins with a slash.
                query if query.starts_with('?') => format!("/{query}"),
                path => path.to_string(),
            },
        })
    }

    /// Where a redirection from here leads. RFC 9110 10.2.2.
    pub fn redirected(&self, location: &str) -> Result<Target, String> {
        let location = location.split('#').next().unwrap_or_default();
        if location.starts_with("//") {
            let scheme = if self.is_tls { "https:" } else { "http:" };
            return Target::parse(&format!("{scheme}{location}"));
        }
        if location.contains("://") {
            return Target::parse(location);
        }
        let path = match location.starts_with('/') {
            true => location.to_string(),
            false => {
                let base = self.path.split('?').next().unwrap_or_default();
                let end = base.rfind('/').map_or(0, |at| at + 1);
                format!("{}{location}", &base[..end])
            }
        };
        Target::parse(&format!("{}{path}", self.origin()))
    }

    /// What stands in front of the path.
    fn origin(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// RFC 9110 7.2: with the port, unless it is that of the scheme.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

/// Why an address is not called.
pub fn not_allowed(address: IpAddr) -> String {
    format!("{address} is no address of the public internet, and not allowed")
}

const URL_MAX: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port, path) in [
            ("https://Example.org/a?b=c", "example.org", 443, "/a?b=c"),
            ("http://example.org", "example.org", 80, "/"),
            ("http://[::1]:8080/x", "::1", 8080, "/x"),
            ("https://192.0.2.1:444/", "192.0.2.1", 444, "/"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.host, host);
            assert_eq!(target.port, port);
            assert_eq!(target.path, path);
            assert_eq!(Target::parse(&target.to_string()).unwrap(), target);
        }
        for wrong in [
            "ftp://a.example/",
            "/path",
            "a.example",
            "https://",
            "https://user:pw@a.example/",
            "http://a b/",
            "https://bücher.example/",
        ] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn redirections_are_followed_from_where_they_came() {
        let from = Target::parse("https://a.example:444/x/y?z").unwrap();
        for (location, expected) in [
            ("/n", "https://a.example:444/n"),
            ("n?m#o", "https://a.example:444/x/n?m"),
            ("//b.example/n", "https://b.example/n"),
            ("http://c.example/n", "http://c.example/n"),
        ] {
            assert_eq!(from.redirected(location).unwrap().to_string(), expected);
        }
        assert!(from.redirected("ftp://c.example/").is_err());
    }
}
