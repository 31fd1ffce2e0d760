//! Names of mechanisms, as the IANA registry writes them, and what a server must know to announce them.

use std::fmt;

use crate::ScramHash;

/// A mechanism that [`crate::Exchange`] can serve and [`crate::client::Client`] can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 7677, bound to the TLS connection.
    ScramSha256Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802, bound to the TLS connection.
    ScramSha1Plus,
    /// RFC 5802.
    ScramSha1,
    /// RFC 2195. Keeps the password from an eavesdropper, but does not prove the server, and what is stored for it is as good as the password.
    CramMd5,
    /// RFC 4616. Sends the password as it is: only over TLS.
    Plain,
    /// draft-murchison-sasl-login, obsolete but asked for by Outlook. Only over TLS.
    Login,
    /// RFC 4422 appendix A: the TLS client certificate says who it is.
    External,
    /// RFC 7628. Sends a bearer token as it is: only over TLS.
    OauthBearer,
    /// What Google and Microsoft had before RFC 7628. Only over TLS.
    Xoauth2,
}

impl Mechanism {
    /// All mechanisms, the best first.
    pub const ALL: [Mechanism; 10] = [
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha1,
        Mechanism::CramMd5,
        Mechanism::Plain,
        Mechanism::Login,
        Mechanism::External,
        Mechanism::OauthBearer,
        Mechanism::Xoauth2,
    ];

    /// Finds a mechanism by name, without regard to case (RFC 4422 3.1 has upper-case names; clients do not care).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|m| m.name().eq_ignore_ascii_case(name))
    }

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::CramMd5 => "CRAM-MD5",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::External => "EXTERNAL",
            Mechanism::OauthBearer => "OAUTHBEARER",
            Mechanism::Xoauth2 => "XOAUTH2",
        }
    }

    /// Whether an eavesdropper would learn the password or the token, so that TLS is needed
    /// (RFC 4954 4, last paragraphs; RFC 7628 3: TLS MUST be used).
    pub fn reveals_password(self) -> bool {
        matches!(
            self,
            Mechanism::Plain | Mechanism::Login | Mechanism::OauthBearer | Mechanism::Xoauth2
        )
    }

    /// Whether it is bound to a TLS connection, so that it can only be offered where there is a binding.
    pub fn needs_channel_binding(self) -> bool {
        matches!(self, Mechanism::ScramSha256Plus | Mechanism::ScramSha1Plus)
    }

    /// Which hash, if it is one of the SCRAM family.
    pub fn scram_hash(self) -> Option<ScramHash> {
        match self {
            Mechanism::ScramSha256Plus | Mechanism::ScramSha256 => Some(ScramHash::Sha256),
            Mechanism::ScramSha1Plus | Mechanism::ScramSha1 => Some(ScramHash::Sha1),
            _ => None,
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for mechanism in Mechanism::ALL {
            let name = mechanism.name();
            assert_eq!(Mechanism::parse(name), Some(mechanism));
            assert_eq!(
                Mechanism::parse(&name.to_ascii_lowercase()),
                Some(mechanism)
            );
            assert_eq!(
                name.ends_with("-PLUS"),
                mechanism.needs_channel_binding(),
                "{name}"
            );
            assert_eq!(name.starts_with("SCRAM-"), mechanism.scram_hash().is_some());
        }
        assert_eq!(Mechanism::parse("SCRAM-SHA-512"), None);
        assert_eq!(Mechanism::parse(""), None);
    }
}
