//! The URL of an endpoint, taken apart. RFC 3986, RFC 9110 4.2. It is written by an account's owner: not trusted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use dns::Name;
use hyper::Uri;
use webapi::hook::is_public;

use crate::lookup::{LOCALHOST, is_localhost, is_own};
use crate::settings::Webhooks;

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
        let host = match uri.host().unwrap_or_default() {
            "" => return Err(format!("{url:?} names no host")),
            literal if literal.starts_with('[') => in_brackets(literal)?,
            name => name,
        };
        let written = uri.host().and_then(|host| authority.strip_prefix(host));
        let port = match written.map_or("", |rest| rest.trim_start_matches(':')) {
            "" if is_tls => 443,
            "" => 80,
            port => port
                .parse()
                .map_err(|_| format!("there is no port {port}"))?,
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

    /// Where an endpoint of an owner is, if it can ever be called. Names are looked at when they are called: what they lead to may change.
    pub fn of_endpoint(url: &str, settings: &Webhooks) -> Result<Target, String> {
        let target = Target::parse(url)?;
        // RFC 9110 7.1: a fragment is not sent.
        if url.contains('#') {
            return Err("a URL of an endpoint has no fragment (#)".into());
        }
        // RFC 6335 6: port 0 is nobody's.
        if target.port == 0 {
            return Err("there is no port 0".into());
        }
        if let Ok(address) = target.host.parse() {
            return match settings.may_be_called(address, is_own) {
                true => Ok(target),
                false => Err(not_allowed(address)),
            };
        }
        // RFC 6761 6.3: these are loopback, whatever anybody says.
        if is_localhost(&target.host) && !LOCALHOST.iter().any(|own| settings.is_opened(*own)) {
            let [address, _] = LOCALHOST;
            return Err(format!("{}: {}", target.host, not_allowed(address)));
        }
        if let Err(error) = Name::parse(&target.host) {
            return Err(format!("{:?} is no name of a host: {error}", target.host));
        }
        // RFC 3696 2: no name ends in digits alone; other programs read such as an address, and so would who wrote it.
        let last = target.host.trim_end_matches('.').rsplit('.').next();
        let is_number = |label: &str| match label.strip_prefix("0x") {
            Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
            None => label.bytes().all(|b| b.is_ascii_digit()),
        };
        match last.is_some_and(is_number) {
            true => Err(format!(
                "{:?} is neither a name nor an address",
                target.host
            )),
            false => Ok(target),
        }
    }

    /// Whether another leads to the same server.
    pub fn is_same_server(&self, other: &Target) -> bool {
        (self.is_tls, &self.host, self.port) == (other.is_tls, &other.host, other.port)
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

/// The address that a host in brackets names. RFC 3986 3.2.2; there is no later version than 6.
fn in_brackets(literal: &str) -> Result<&str, String> {
    // RFC 4007 6, RFC 6874: a zone has a meaning only on the machine that named it.
    if literal.contains('%') {
        return Err(format!(
            "{literal} names a zone, which says nothing to others"
        ));
    }
    let address = literal
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    address
        .filter(|address| address.parse::<Ipv6Addr>().is_ok())
        .ok_or_else(|| format!("{literal} is no address of IPv6"))
}

/// Why an address is not called.
pub fn not_allowed(address: IpAddr) -> String {
    match is_public(address) {
        true => format!("{address} is an address of this server itself, and not allowed"),
        false => format!("{address} is no address of the public internet, and not allowed"),
    }
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
            "https://a.example:65536/",
            "https://a.example:x/",
            "http://[fe80::1%25lo]/",
            "http://[2600::1%25eth0]:8080/",
            "http://[fe80::1%lo]/",
            "http://[v1.a]/",
            "http://[a.example]/",
            "http://[192.0.2.1]/",
        ] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_endpoint_can_be_called_or_is_none() {
        let mut settings = Webhooks::default();
        for fine in [
            "https://a.example:8443/x?y",
            "http://8.8.8.8/",
            "https://a.example:/",
            "https://localhost.example/",
        ] {
            let found = Target::of_endpoint(fine, &settings);
            assert!(found.is_ok(), "{fine}: {found:?}");
        }
        for (wrong, why) in [
            ("http://127.0.0.1/", "public internet"),
            ("http://[::1]:8080/", "public internet"),
            ("http://[::ffff:10.0.0.1]/", "public internet"),
            ("http://192.168.1.1/", "public internet"),
            ("http://[0:0:0:0:0:0:7f00:1]/", "public internet"),
            ("http://localhost/", "public internet"),
            ("https://LocalHost.:8080/x", "public internet"),
            ("http://foo.localhost/", "public internet"),
            ("http://127.1/", "neither"),
            ("http://2130706433/", "neither"),
            ("http://0x7f.0.0.0x1/", "neither"),
            ("http://0X7F000001/", "neither"),
            ("http://017700000001/", "neither"),
            ("http://127.0.0.1./", "neither"),
            ("http://%31%32%37.0.0.1/", "no URL"),
            ("http://127.0.0.%31/", "no URL"),
            ("https://a.example:0/", "port 0"),
            ("https://a.example/#x", "fragment"),
            ("https://u:p@a.example/", "no user"),
            ("https://a..example/", "no name"),
            ("http://[fe80::1%25lo]/", "a zone"),
        ] {
            let found = Target::of_endpoint(wrong, &settings).unwrap_err();
            assert!(found.contains(why), "{wrong}: {found}");
        }
        let network = "127.0.0.0/8".to_string().try_into().unwrap();
        settings.allow_networks.push(network);
        for opened in [
            "http://127.0.0.1/",
            "http://localhost/",
            "http://a.localhost./",
        ] {
            assert!(Target::of_endpoint(opened, &settings).is_ok(), "{opened}");
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
