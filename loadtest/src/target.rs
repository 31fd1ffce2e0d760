//! The servers under test: where they are, who logs in, which process is theirs.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::error::Failure;
use crate::process;

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Never.
    Plain,
    /// At once.
    Tls,
    /// After STARTTLS.
    StartTls,
}

/// One server.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name in reports.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether TLS is spoken.
    pub security: Security,
    /// Root of its process tree.
    pub pid: Option<u32>,
    /// Its page of counters.
    pub metrics: Option<String>,
    /// Who logs in, a pattern as [`expand`] reads it.
    pub user: Option<String>,
    /// With what.
    pub password: Option<String>,
}

impl Target {
    /// Reads `HOST:PORT[,pid=P][,metrics=URL][,tls=no|yes|starttls][,user=U][,password=P][,name=N]`.
    pub fn parse(text: &str, name: &str, allow_remote: bool) -> Result<Self, Failure> {
        let mut parts = text.split(',');
        let place = parts.next().unwrap_or_default();
        let mut target = Self {
            name: name.to_owned(),
            address: address(place, allow_remote)?,
            security: Security::Plain,
            pid: None,
            metrics: None,
            user: None,
            password: None,
        };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key {
                "name" => target.name = value.to_owned(),
                "pid" => target.pid = Some(process::find(value)?),
                "metrics" => target.metrics = Some(value.to_owned()),
                "user" => target.user = Some(value.to_owned()),
                "password" => target.password = Some(value.to_owned()),
                "tls" => target.security = security(value)?,
                _ => return Err(Failure::Usage(format!("{text}: what is {key}?"))),
            }
        }
        Ok(target)
    }

    /// Names and passwords for login.
    pub fn logins(&self) -> Result<Vec<(String, String)>, Failure> {
        let missing = |what| Failure::Usage(format!("{}: {what} is missing", self.name));
        let user = self.user.as_deref().ok_or_else(|| missing("--user"))?;
        let password = self.password.clone();
        let password = password.ok_or_else(|| missing("--password"))?;
        let names = expand(user)?.into_iter();
        Ok(names.map(|name| (name, password.clone())).collect())
    }
}

/// `a{1..3}@b` is `a1@b`, `a2@b`, `a3@b`; commas between several.
pub fn expand(pattern: &str) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for part in pattern.split(',') {
        let Some((before, rest)) = part.split_once('{') else {
            names.push(part.to_owned());
            continue;
        };
        let range = rest.split_once('}').and_then(|(range, after)| {
            let (first, last) = range.split_once("..")?;
            Some((first.parse::<u32>().ok()?, last.parse::<u32>().ok()?, after))
        });
        let (first, last, after) = range
            .filter(|(first, last, _)| first <= last && last - first < NAMES_MAX)
            .ok_or_else(|| {
                Failure::Usage(format!("{part}: a pattern is like u{{1..100}}@localhost"))
            })?;
        names.extend((first..=last).map(|number| format!("{before}{number}{after}")));
    }
    Ok(names)
}

fn security(word: &str) -> Result<Security, Failure> {
    match word {
        "no" => Ok(Security::Plain),
        "yes" => Ok(Security::Tls),
        "starttls" => Ok(Security::StartTls),
        _ => Err(Failure::Usage(format!("tls={word}: no, yes or starttls"))),
    }
}

/// An address of this machine, unless others are allowed: a load test of a stranger's server is an attack.
pub fn address(text: &str, allow_remote: bool) -> Result<SocketAddr, Failure> {
    let address = text
        .to_socket_addrs()
        .map_err(Failure::io(format!("{text} (HOST:PORT)")))?
        .next()
        .ok_or_else(|| Failure::Usage(format!("{text} has no address")))?;
    if address.ip().is_loopback() || allow_remote {
        return Ok(address);
    }
    Err(Failure::Usage(format!(
        "{address} is not a loopback address. Load against a machine of others is an attack; if this one is yours and \
         may be loaded, say --allow-remote"
    )))
}

const NAMES_MAX: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_expanded() {
        assert_eq!(
            expand("a{9..11}@b,c").unwrap(),
            ["a9@b", "a10@b", "a11@b", "c"]
        );
        for bad in ["a{1..", "a{2..1}", "a{1}", "a{0..4000000000}"] {
            assert!(expand(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_loopback_unless_allowed() {
        assert!(Target::parse("127.0.0.1:25,tls=yes,name=x", "peer", false).is_ok());
        let refused = Target::parse("192.0.2.1:25", "peer", false).unwrap_err();
        assert!(refused.to_string().contains("--allow-remote"));
        assert!(Target::parse("192.0.2.1:25", "peer", true).is_ok());
        assert!(Target::parse("127.0.0.1:25,colour=red", "peer", false).is_err());
    }
}
