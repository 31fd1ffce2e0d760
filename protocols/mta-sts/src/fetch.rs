//! How a policy is fetched, as data, and what an answer is worth. RFC 8461 3.3. The answer comes from anybody who holds the domain.

use crate::limits::{FETCH_TIMEOUT_SECS, POLICY_SIZE_MAX};
use crate::name::normalise;
use crate::policy::{Policy, PolicyError};

/// One GET over HTTPS. Redirects are not followed, nothing comes from an HTTP cache, and the certificate must be valid for `host`: a DNS-ID,
/// chained to a root that is trusted, not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// Whom to connect to, at port 443, and the name in the certificate and in SNI.
    pub host: String,
    /// The path of the GET.
    pub path: &'static str,
    /// Seconds for all of it: lookup, connection, answer.
    pub timeout_secs: u64,
    /// Octets of the body at which reading ends: one more than a policy may have, so that a longer one shows.
    pub body_max: usize,
}

impl FetchRequest {
    /// For the domain of a recipient in A-labels; never for its parent (RFC 8461 3.4). None if `mta-sts.<domain>` is no name, as for an address
    /// literal.
    pub fn for_domain(policy_domain: &str) -> Option<Self> {
        let host = normalise(&format!("mta-sts.{}", normalise(policy_domain)?))?;
        Some(FetchRequest {
            host,
            path: "/.well-known/mta-sts.txt",
            timeout_secs: FETCH_TIMEOUT_SECS,
            body_max: POLICY_SIZE_MAX + 1,
        })
    }

    /// The whole URL.
    pub fn url(&self) -> String {
        format!("https://{}{}", self.host, self.path)
    }
}

/// Where the record of a domain is. None if there can be none.
pub fn record_name(policy_domain: &str) -> Option<String> {
    normalise(&format!("_mta-sts.{}", normalise(policy_domain)?))
}

/// An answer of the policy host.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// The value of Content-Type.
    pub content_type: Option<&'a str>,
    /// The body, at most `body_max` octets of it.
    pub body: &'a [u8],
}

impl Response<'_> {
    /// RFC 8461 3.3: 200, text/plain, and a policy in it.
    pub fn policy(&self) -> Result<Policy, FetchError> {
        match self.status {
            200 => {}
            300..=399 => return Err(FetchError::Redirect(self.status)),
            status => return Err(FetchError::Status(status)),
        }
        // RFC 8461 3.2: guards against hosts where others may put HTML or images at any path. Parameters do not count.
        let media_type = self.content_type.and_then(|value| value.split(';').next());
        if !media_type.is_some_and(|media| media.trim().eq_ignore_ascii_case("text/plain")) {
            return Err(FetchError::MediaType);
        }
        Ok(Policy::parse(self.body)?)
    }
}

/// Why no policy was fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No address, no connection, or it broke; said by the caller.
    #[error("the policy host cannot be reached")]
    Unreachable,
    /// Said by the caller.
    #[error("the policy host took too long")]
    Timeout,
    /// The certificate is not valid for the policy host; said by the caller.
    #[error("the policy host has no valid certificate")]
    Certificate,
    /// RFC 8461 3.3: must not be followed.
    #[error("the policy host redirects with {0}")]
    Redirect(u16),
    /// Any status but 200.
    #[error("the policy host answered {0}")]
    Status(u16),
    /// Not text/plain.
    #[error("the policy is not text/plain")]
    MediaType,
    /// What came is no policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_things_are() {
        // RFC 8461 3.1, 3.2.
        let request = FetchRequest::for_domain("Example.com.").unwrap();
        assert_eq!(
            request.url(),
            "https://mta-sts.example.com/.well-known/mta-sts.txt"
        );
        assert_eq!(request.host, "mta-sts.example.com");
        assert_eq!(request.timeout_secs, 60);
        assert_eq!(
            record_name("example.com").as_deref(),
            Some("_mta-sts.example.com")
        );
        for domain in [
            "",
            "[192.0.2.1]",
            "a/b",
            "a@b",
            "a:443",
            "b\u{fc}cher.example",
        ] {
            assert_eq!(FetchRequest::for_domain(domain), None, "{domain}");
            assert_eq!(record_name(domain), None, "{domain}");
        }
        let long = "a.".repeat(125) + "bcd";
        assert_eq!(FetchRequest::for_domain(&long), None);
    }

    #[test]
    fn answers() {
        let body = b"version: STSv1\nmode: none\nmax_age: 1\n".as_slice();
        let plain = Some("text/plain");
        let policy = |status, content_type, body| {
            Response {
                status,
                content_type,
                body,
            }
            .policy()
        };
        assert!(policy(200, plain, body).is_ok());
        assert!(policy(200, Some("Text/Plain ; charset=utf-8"), body).is_ok());
        for kind in [None, Some("text/html"), Some("text/plainer"), Some("")] {
            assert_eq!(policy(200, kind, body), Err(FetchError::MediaType));
        }
        for status in [301, 302, 307, 308, 304] {
            assert_eq!(
                policy(status, plain, body),
                Err(FetchError::Redirect(status))
            );
        }
        for status in [0, 100, 201, 204, 404, 500, 65535] {
            assert_eq!(policy(status, plain, body), Err(FetchError::Status(status)));
        }
        let large = vec![b'a'; POLICY_SIZE_MAX + 1];
        assert_eq!(
            policy(200, plain, &large),
            Err(FetchError::Policy(PolicyError::TooLarge))
        );
    }
}
