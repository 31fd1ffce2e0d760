//! How other servers are named in the settings: hosts, certificates, ways to log in. Used by `[transport]` and by `ringmail sendmail`.

use std::fmt;

use sasl::Mechanism;
use serde::{Deserialize, Serialize, Serializer};

use super::names::canonical_domain;

/// A host: a domain name or an IP address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct HostName(Box<str>);

impl HostName {
    /// The name or address, without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this machine, where nobody can listen on the way.
    pub fn is_loopback(&self) -> bool {
        let address: Option<std::net::IpAddr> = self.0.parse().ok();
        &*self.0 == "localhost" || address.is_some_and(|address| address.is_loopback())
    }
}

impl TryFrom<String> for HostName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.parse::<std::net::IpAddr>().is_ok() {
            return Ok(Self(text.into()));
        }
        match canonical_domain(&text) {
            Some(name) => Ok(Self(name.into())),
            None => Err(format!("{text:?} is neither a host name nor an IP address")),
        }
    }
}

/// SHA-256 of a certificate, written as openssl and msmtp write it: hexadecimal, with or without colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CertificateFingerprint(pub [u8; 32]);

impl TryFrom<String> for CertificateFingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no SHA-256 fingerprint: 64 hexadecimal digits, as openssl x509 -noout -fingerprint -sha256 prints them"
            )
        };
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut octets = [0; 32];
        for (octet, pair) in octets.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *octet = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for CertificateFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02X}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl Serialize for CertificateFingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A mechanism by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MechanismName(pub Mechanism);

impl TryFrom<String> for MechanismName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match Mechanism::parse(&text) {
            Some(found) if USABLE.contains(&found) => Ok(Self(found)),
            _ => {
                let names: Vec<&str> = USABLE.iter().map(|m| m.name()).collect();
                Err(format!(
                    "{text:?} is no mechanism that can be used; there are {}",
                    names.join(", ")
                ))
            }
        }
    }
}

/// All but those that need a token, which nobody here could renew.
const USABLE: [Mechanism; 8] = [
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha256,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha1,
    Mechanism::CramMd5,
    Mechanism::External,
    Mechanism::Plain,
    Mechanism::Login,
];

impl Serialize for MechanismName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}
