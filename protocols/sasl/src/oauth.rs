//! OAUTHBEARER (RFC 7628) and its forerunner XOAUTH2: one message with a bearer token. Input is untrusted.
//!
//! ```text
//! RFC 7628 3.1   client-resp = gs2-header %x01 *kvpair %x01        kvpair = 1*ALPHA "=" *(VCHAR / SP / HTAB / CR / LF) %x01
//! RFC 6750 2.1   credentials = "Bearer" 1*SP b64token
//!                b64token    = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
//! XOAUTH2        message     = "user=" name %x01 "auth=Bearer " b64token %x01 %x01
//! ```
//!
//! A refusal is told in JSON as a challenge; whatever the client answers, the exchange has failed (RFC 7628 3.2.3).
//! Not here: whether a token is good, and whose it is.

use crate::gs2::{Flag, Gs2Header};
use crate::{FIELD_MAX, SaslError, Secret, base64, prepare_name};

/// A token to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerToken {
    /// Whom the client wants to act as, prepared. XOAUTH2 always says it.
    pub authzid: Option<String>,
    /// The token. Empty if the client only asks what is needed (RFC 7628 4.3): refuse with [`TokenError::scope`] and
    /// [`TokenError::openid_configuration`].
    pub token: Secret,
    /// The name of the server that the client meant to reach. RFC 7628 3.2: to be checked by whoever knows the server's names.
    pub host: Option<String>,
    /// The port that the client meant to reach. RFC 7628 3.2.
    pub port: Option<u16>,
}

/// What to tell the client of a token that is no good. RFC 7628 3.2.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenError {
    /// A code of the IANA registry "OAuth Extensions Error": `invalid_token`, `insufficient_scope`.
    pub status: &'static str,
    /// The scope that a token must have.
    pub scope: Option<String>,
    /// The URL of the provider's OpenID configuration.
    pub openid_configuration: Option<String>,
}

impl Default for TokenError {
    fn default() -> Self {
        TokenError {
            status: "invalid_token",
            scope: None,
            openid_configuration: None,
        }
    }
}

impl TokenError {
    /// RFC 7628 3.2.2.
    pub(crate) fn oauthbearer(&self) -> Vec<u8> {
        object(&[
            ("status", Some(self.status)),
            ("scope", self.scope.as_deref()),
            ("openid-configuration", self.openid_configuration.as_deref()),
        ])
    }

    /// As Google's servers write it: the status is HTTP's.
    pub(crate) fn xoauth2(&self) -> Vec<u8> {
        let status = match self.status {
            "insufficient_scope" => "403",
            "invalid_request" => "400",
            _ => "401",
        };
        object(&[
            ("status", Some(status)),
            ("schemes", Some("bearer")),
            ("scope", self.scope.as_deref()),
        ])
    }
}

/// Parses the message of OAUTHBEARER.
pub(crate) fn parse_oauthbearer(message: &[u8]) -> Result<BearerToken, SaslError> {
    let (header, rest) = Gs2Header::parse(text(message)?)?;
    if let Flag::Bound(_) = header.flag {
        return Err(SaslError::BindingUnasked);
    }
    let pairs = rest.strip_prefix(SEPARATOR).ok_or(SaslError::Malformed)?;
    let mut auth = None;
    let mut host = None;
    let mut port = None;
    for pair in pairs_of(pairs)? {
        let (key, value) = pair.split_once('=').ok_or(SaslError::Malformed)?;
        if key.is_empty() || !key.bytes().all(|octet| octet.is_ascii_alphabetic()) {
            return Err(SaslError::Malformed);
        }
        let slot = match key {
            "auth" => &mut auth,
            "host" => &mut host,
            "port" => &mut port,
            // RFC 7628 3.1: unknown pairs MUST be ignored.
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(SaslError::Malformed);
        }
    }
    if host.is_some_and(|host| host.len() > FIELD_MAX) {
        return Err(SaslError::FieldTooLong);
    }
    Ok(BearerToken {
        authzid: header.authzid.as_deref().map(prepare_name).transpose()?,
        token: match auth.ok_or(SaslError::Malformed)? {
            "" => Secret::default(),
            value => bearer(value)?,
        },
        host: host.map(str::to_owned),
        port: port.map(parse_port).transpose()?,
    })
}

/// Parses the message of XOAUTH2.
pub(crate) fn parse_xoauth2(message: &[u8]) -> Result<BearerToken, SaslError> {
    let [user, auth] = pairs_of(text(message)?)?
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| SaslError::Malformed)?;
    let user = user.strip_prefix("user=").ok_or(SaslError::Malformed)?;
    let auth = auth.strip_prefix("auth=").ok_or(SaslError::Malformed)?;
    Ok(BearerToken {
        authzid: Some(prepare_name(user)?),
        token: bearer(auth)?,
        host: None,
        port: None,
    })
}

/// Pairs that each end in a separator, and one more separator after all of them.
fn pairs_of(text: &str) -> Result<impl Iterator<Item = &str>, SaslError> {
    let pairs = text.strip_suffix(SEPARATOR).ok_or(SaslError::Malformed)?;
    let pairs = pairs.strip_suffix(SEPARATOR).ok_or(SaslError::Malformed)?;
    Ok(pairs.split(SEPARATOR))
}

fn bearer(value: &str) -> Result<Secret, SaslError> {
    let (scheme, token) = value.split_once(' ').ok_or(SaslError::Malformed)?;
    let token = token.trim_start_matches(' ');
    let significant = token.trim_end_matches('=');
    if !scheme.eq_ignore_ascii_case("Bearer")
        || significant.is_empty()
        || !significant.bytes().all(is_token_octet)
    {
        return Err(SaslError::Malformed);
    }
    Ok(Secret::from(token.as_bytes()))
}

fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet)
}

/// RFC 7628 3.1: a decimal positive integer without leading zeros.
fn parse_port(value: &str) -> Result<u16, SaslError> {
    if value.starts_with(['+', '0']) {
        return Err(SaslError::Malformed);
    }
    value.parse().map_err(|_| SaslError::Malformed)
}

fn text(message: &[u8]) -> Result<&str, SaslError> {
    if message.len() > MESSAGE_MAX {
        return Err(SaslError::FieldTooLong);
    }
    let text = std::str::from_utf8(message).map_err(|_| SaslError::NotUtf8)?;
    match text.contains('\0') {
        true => Err(SaslError::Malformed),
        false => Ok(text),
    }
}

/// A JSON object of those members that are there.
fn object(members: &[(&str, Option<&str>)]) -> Vec<u8> {
    let members = members.iter().filter_map(|(name, value)| {
        let value = (*value)?;
        Some(format!("{}:{}", string(name), string(value)))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into_bytes()
}

/// A JSON string. RFC 8259 7.
fn string(text: &str) -> String {
    let mut json = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// Longest message, in octets: a line of [`base64::LINE_MAX`]. Tokens that carry claims are long.
const MESSAGE_MAX: usize = base64::LINE_MAX / 4 * 3;
pub(crate) const SEPARATOR: char = '\x01';

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";

    #[test]
    fn rfc7628_examples() {
        // 4.1, IMAP.
        let message = base64::decode(
            concat!(
                "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI",
                "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
            )
            .as_bytes(),
        )
        .unwrap();
        let token = parse_oauthbearer(&message).unwrap();
        assert_eq!(token.authzid.as_deref(), Some("user@example.com"));
        assert_eq!(&*token.token, TOKEN.as_bytes());
        assert_eq!(token.host.as_deref(), Some("server.example.com"));
        assert_eq!(token.port, Some(143));
        // 4.3: a question for the scope, and the answer.
        let message = base64::decode(
            b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9AQE=",
        )
        .unwrap();
        assert!(parse_oauthbearer(&message).unwrap().token.is_empty());
        let error = TokenError {
            scope: Some("example_scope".into()),
            openid_configuration: Some(
                "https://example.com/.well-known/openid-configuration".into(),
            ),
            ..TokenError::default()
        };
        assert_eq!(
            base64::encode(&error.oauthbearer()),
            concat!(
                "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24",
                "iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="
            )
        );
        // 4.4 has `user=` where its own grammar has `a=`.
        let message = format!("n,user=someuser@example.com,\x01auth=Bearer {TOKEN}\x01\x01");
        assert_eq!(
            parse_oauthbearer(message.as_bytes()),
            Err(SaslError::Malformed)
        );
    }

    #[test]
    fn oauthbearer() {
        let parse = |message: &str| parse_oauthbearer(message.as_bytes());
        let token = parse("y,,\x01mthd=POST\x01auth=bEARER  a.b\x01\x01").unwrap();
        assert_eq!((token.authzid, &*token.token), (None, &b"a.b"[..]));
        for (bad, error) in [
            ("", SaslError::Malformed),
            ("\x01", SaslError::Malformed),
            ("n,,", SaslError::Malformed),
            ("n,,\x01", SaslError::Malformed),
            ("n,,\x01\x01", SaslError::Malformed),
            ("n,,\x01host=x\x01\x01", SaslError::Malformed),
            ("n,,\x01auth=Bearer x\x01", SaslError::Malformed),
            ("n,,\x01auth=Bearer x", SaslError::Malformed),
            ("n,,\x01auth=Bearer x\x01\x01x", SaslError::Malformed),
            ("n,,\x01auth=Bearer x\x01\x01\x01", SaslError::Malformed),
            ("n,,auth=Bearer x\x01\x01", SaslError::Malformed),
            (
                "n,,\x01auth=Bearer x\x01auth=Bearer x\x01\x01",
                SaslError::Malformed,
            ),
            ("n,,\x01auth=Bearer\x01\x01", SaslError::Malformed),
            ("n,,\x01auth=Bearer \x01\x01", SaslError::Malformed),
            ("n,,\x01auth=Bearer =\x01\x01", SaslError::Malformed),
            ("n,,\x01auth=Bearer a=b\x01\x01", SaslError::Malformed),
            ("n,,\x01auth=Bearer a b\x01\x01", SaslError::Malformed),
            ("n,,\x01auth=Bearer \u{e4}\x01\x01", SaslError::Malformed),
            ("n,,\x01auth=Basic AAAA\x01\x01", SaslError::Malformed),
            ("n,,\x01auth\x01\x01", SaslError::Malformed),
            ("n,,\x01a1=x\x01auth=Bearer x\x01\x01", SaslError::Malformed),
            ("n,,\x01=x\x01auth=Bearer x\x01\x01", SaslError::Malformed),
            (
                "n,,\x01port=0\x01auth=Bearer x\x01\x01",
                SaslError::Malformed,
            ),
            (
                "n,,\x01port=65536\x01auth=Bearer x\x01\x01",
                SaslError::Malformed,
            ),
            (
                "n,,\x01port=\x01auth=Bearer x\x01\x01",
                SaslError::Malformed,
            ),
            ("n,,\x01auth=Bearer x\x01x=\0\x01\x01", SaslError::Malformed),
            ("n,a=,\x01auth=Bearer x\x01\x01", SaslError::EmptyField),
            ("n,a=x\n,\x01auth=Bearer x\x01\x01", SaslError::BadName),
            (
                "p=tls-exporter,,\x01auth=Bearer x\x01\x01",
                SaslError::BindingUnasked,
            ),
        ] {
            assert_eq!(parse(bad), Err(error), "{bad:?}");
        }
        let long = |octets| {
            parse(&format!(
                "n,,\x01auth=Bearer {}\x01\x01",
                "x".repeat(octets)
            ))
        };
        assert!(long(MESSAGE_MAX - 18).is_ok());
        assert_eq!(long(MESSAGE_MAX - 17), Err(SaslError::FieldTooLong));
        assert_eq!(
            parse_oauthbearer(b"n,,\x01auth=Bearer \xff\x01\x01"),
            Err(SaslError::NotUtf8)
        );
    }

    #[test]
    fn xoauth2() {
        let parse = |message: &str| parse_xoauth2(message.as_bytes());
        // Google's example.
        let token = parse(
            "user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01",
        );
        let token = token.unwrap();
        assert_eq!(token.authzid.as_deref(), Some("someuser@example.com"));
        assert_eq!(
            token.token.as_str(),
            Some("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")
        );
        for (bad, error) in [
            ("", SaslError::Malformed),
            ("\x01\x01", SaslError::Malformed),
            ("user=x\x01\x01", SaslError::Malformed),
            ("auth=Bearer x\x01user=x\x01\x01", SaslError::Malformed),
            ("user=x\x01auth=Bearer x\x01", SaslError::Malformed),
            (
                "user=x\x01auth=Bearer x\x01y=z\x01\x01",
                SaslError::Malformed,
            ),
            ("user=x\x01auth=\x01\x01", SaslError::Malformed),
            ("user=x\x01auth=x\x01\x01", SaslError::Malformed),
            ("user=\x01auth=Bearer x\x01\x01", SaslError::EmptyField),
            ("user=x\r\x01auth=Bearer x\x01\x01", SaslError::BadName),
        ] {
            assert_eq!(parse(bad), Err(error), "{bad:?}");
        }
        let error = TokenError {
            status: "insufficient_scope",
            scope: Some("a\"\\\n".into()),
            ..TokenError::default()
        };
        assert_eq!(
            String::from_utf8(error.xoauth2()).unwrap(),
            r#"{"status":"403","schemes":"bearer","scope":"a\"\\\u000a"}"#
        );
    }
}
