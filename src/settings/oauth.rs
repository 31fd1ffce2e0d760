//! The table `[oauth]` of the static file: whose tokens log in with OAUTHBEARER and XOAUTH2. Takes effect at reload.
//! RFC 7628 (the mechanisms), RFC 7517 and 7519 (keys and tokens), RFC 7662 (introspection), RFC 8414 (what a provider tells of itself).
//! Not here: the look at a token (`login/oauth/`), whether the files it names can be read (`machine.rs`).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::units::{Bytes, Secs};

/// A provider of OAuth 2 or OpenID Connect, and which of its tokens are good here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oauth {
    /// The provider, as its tokens name it.
    pub issuer: Option<ProviderUrl>,
    /// For whom tokens must have been made: one of these.
    pub audiences: Vec<String>,
    /// What tokens must allow: all of these.
    pub scopes: Vec<Scope>,
    /// The claim that says whose mail it is: a login address.
    pub address_claim: String,
    /// How a token is checked.
    pub check: TokenCheck,
    /// Where the provider's keys are. `None`: its configuration says it.
    pub jwks_uri: Option<ProviderUrl>,
    /// How tokens may be signed.
    pub algorithms: Vec<TokenAlgorithm>,
    /// Where tokens are asked about. `None`: the provider's configuration says it.
    pub introspection_endpoint: Option<ProviderUrl>,
    /// Who we are when we ask.
    pub client_id: Option<String>,
    /// The file with the password for that.
    pub client_secret_file: Option<PathBuf>,
    /// The authorities of the provider's certificate. `None`: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// How far the provider's clock may be off.
    pub clock_leeway_secs: Secs,
    /// How long a request to the provider may take.
    pub timeout_secs: Secs,
    /// How old what the provider said of itself may be before it is asked again.
    pub keys_refresh_secs: Secs,
    /// How long it is good while the provider does not answer.
    pub keys_keep_secs: Secs,
    /// Time between two requests for keys at least, also when a token has one that is unknown.
    pub refetch_secs: Secs,
    /// How long an answer about a token is remembered.
    pub introspection_cache_secs: Secs,
    /// How many answers are.
    pub introspection_cache_entries_max: u32,
    /// Checks that may wait; the next is refused for the time being.
    pub checks_waiting_max: u32,
    /// Threads that check.
    pub threads: u32,
    /// Longest answer of the provider.
    pub response_max_bytes: Bytes,
    /// Keys of the provider.
    pub keys_max: u32,
}

impl Default for Oauth {
    fn default() -> Self {
        Self {
            issuer: None,
            audiences: Vec::new(),
            scopes: Vec::new(),
            address_claim: EMAIL.to_owned(),
            check: TokenCheck::default(),
            jwks_uri: None,
            algorithms: vec![
                TokenAlgorithm::Rs256,
                TokenAlgorithm::Ps256,
                TokenAlgorithm::Es256,
                TokenAlgorithm::EdDsa,
            ],
            introspection_endpoint: None,
            client_id: None,
            client_secret_file: None,
            ca_file: None,
            clock_leeway_secs: Secs::new(30),
            timeout_secs: Secs::new(5),
            keys_refresh_secs: Secs::minutes(60),
            keys_keep_secs: Secs::minutes(24 * 60),
            refetch_secs: Secs::new(10),
            introspection_cache_secs: Secs::minutes(1),
            introspection_cache_entries_max: 10_000,
            checks_waiting_max: 1024,
            threads: 4,
            response_max_bytes: Bytes::kib(256),
            keys_max: 64,
        }
    }
}

impl Oauth {
    /// Where the provider tells of itself. OpenID Connect Discovery 4.1.
    pub fn configuration(&self) -> Option<String> {
        let issuer = self.issuer.as_ref()?.as_str().trim_end_matches('/');
        Some(format!("{issuer}/.well-known/openid-configuration"))
    }

    /// The scopes as a client asks for them. RFC 6749 3.3.
    pub fn scope(&self) -> Option<String> {
        let scopes: Vec<&str> = self.scopes.iter().map(Scope::as_str).collect();
        (!scopes.is_empty()).then(|| scopes.join(" "))
    }
}

/// How a token is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenCheck {
    /// By its signature, with keys of the provider. RFC 7519, 9068.
    #[default]
    Jwks,
    /// By asking the provider. RFC 7662.
    Introspection,
}

/// How a token is signed. RFC 7518 3.1, RFC 8037 3.1. Not `none`, and none with a secret that both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// A scope that a token must have. RFC 6749 3.3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Box<str>);

impl Scope {
    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Scope {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        match !text.is_empty() && text.bytes().all(fits) {
            true => Ok(Self(text.into())),
            false => Err(format!(
                "{text:?} is not a scope: one word each, as in [\"openid\", \"mail\"]"
            )),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.0.into()
    }
}

/// A URL of a provider: https, or http on this machine. No credentials, no query, no fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProviderUrl(Box<str>);

impl ProviderUrl {
    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProviderUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match is_provider_url(&text) {
            true => Ok(Self(text.into())),
            false => Err(format!(
                "{text:?} is not a URL of a provider: https://HOST[:PORT]/PATH without query; http:// is for 127.0.0.1, [::1] and localhost alone"
            )),
        }
    }
}

impl From<ProviderUrl> for String {
    fn from(url: ProviderUrl) -> String {
        url.0.into()
    }
}

fn is_provider_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}?#".contains(&b);
    if text.len() > URL_MAX || !path.bytes().all(plain) {
        return false;
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(""))),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0)
    };
    let is_v6 = authority.starts_with('[');
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let is_host = match is_v6 {
        true => host.parse::<Ipv6Addr>().is_ok(),
        false => !host.is_empty() && host.bytes().all(is_name),
    };
    let is_loopback = match is_v6 {
        true => host.parse::<Ipv6Addr>().is_ok_and(|a| a.is_loopback()),
        false => host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|a| a.is_loopback()),
    };
    is_host && port.is_none_or(is_port) && (scheme == "https" || scheme == "http" && is_loopback)
}

/// The claim of OpenID Connect that is an address, and may be unverified.
pub const EMAIL: &str = "email";
/// Octets of a URL.
const URL_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_https_or_stay_on_this_machine() {
        for good in [
            "https://id.example.org",
            "https://id.example.org/",
            "https://id.example.org:8443/realms/mail",
            "https://192.0.2.1/x%20y",
            "https://[2001:db8::1]:8443/x",
            "http://127.0.0.1:8080/realms/mail",
            "http://[::1]:8080",
            "http://localhost:8080/",
        ] {
            assert!(ProviderUrl::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "id.example.org",
            "https://",
            "https:///x",
            "http://id.example.org/",
            "http://localhost.example.org/",
            "http://127.0.0.1.example.org/",
            "http://[2001:db8::1]/",
            "http://127.0.0.1@evil.example/",
            "https://user:word@id.example.org/",
            "https://id.example.org?x=y",
            "https://id.example.org/?x=y",
            "https://id.example.org/#x",
            "https://id.example.org/a b",
            "https://id.example.org:/",
            "https://id.example.org:0/",
            "https://id.example.org:99999/",
            "https://id.example.org:+8/",
            "https://[::1/",
            "https://[::1]8/",
            "ftp://id.example.org/",
            "https://id.example.org/\u{e4}",
        ] {
            assert!(ProviderUrl::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_scope_is_a_word() {
        assert!(Scope::try_from("mail.read/write:x".to_owned()).is_ok());
        for bad in ["", "a b", "a\"", "\u{e4}"] {
            assert!(Scope::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_configuration_lies_below_the_issuer() {
        let at = |issuer: &str| {
            let issuer = Some(ProviderUrl::try_from(issuer.to_owned()).unwrap());
            let oauth = Oauth {
                issuer,
                ..Oauth::default()
            };
            oauth.configuration().unwrap()
        };
        let expected = "https://a.example/b/.well-known/openid-configuration";
        assert_eq!(at("https://a.example/b"), expected);
        assert_eq!(at("https://a.example/b/"), expected);
    }
}
