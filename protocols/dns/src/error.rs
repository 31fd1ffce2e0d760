//! Why a lookup brought nothing, in words for operators.

use std::fmt;

use crate::{Name, RecordType};

/// A lookup that brought no records.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{record_type} of {name}: {cause}")]
pub struct LookupError {
    /// Whose records were asked for.
    pub name: Name,
    /// Which.
    pub record_type: RecordType,
    /// Why there are none.
    pub cause: Cause,
}

impl LookupError {
    /// Whether it is certain that there are none: not a failure, but an answer.
    pub fn is_not_found(&self) -> bool {
        matches!(self.cause, Cause::NxDomain { .. } | Cause::NoData { .. })
    }
}

/// Why there are no records.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Cause {
    /// RFC 2308 2.1, RFC 8020: there is no such name.
    #[error("there is no such name{}", signed(*authentic))]
    NxDomain {
        /// Whether DNSSEC proves it.
        authentic: bool,
    },
    /// RFC 2308 2.2: the name has other records.
    #[error("the name has no such records{}", signed(*authentic))]
    NoData {
        /// Whether DNSSEC proves it.
        authentic: bool,
    },
    /// The resolver says that the answer's signatures are wrong.
    #[error("the DNSSEC signatures are wrong: {0}")]
    Bogus(ExtendedError),
    /// The resolver could not find out.
    #[error("the resolver could not find out (SERVFAIL{})", because(.0))]
    ServFail(Option<ExtendedError>),
    /// The resolver does not want to.
    #[error("the resolver refuses to answer (REFUSED{}): is this host allowed to ask it?", because(.0))]
    Refused(Option<ExtendedError>),
    /// Another response code.
    #[error("the resolver answers with error {0} (RCODE)")]
    Rcode(u16),
    /// It knows no better than to ask others, which is a resolver's work.
    #[error("the server resolves no names for us; [dns] servers must be resolvers")]
    Lame,
    /// It cannot be read.
    #[error("the answer cannot be read: {0}")]
    Malformed(&'static str),
    /// More records than a domain can need.
    #[error("the answer has too many records")]
    TooManyRecords,
    /// More aliases than allowed.
    #[error("too many aliases (CNAME), the last {0}")]
    TooManyAliases(Name),
    /// Aliases that lead back.
    #[error("the aliases (CNAME) lead in a circle at {0}")]
    AliasLoop(Name),
    /// No server answered.
    #[error("no server answered in time: {0}")]
    Timeout(String),
    /// No server could be reached.
    #[error("no server can be reached: {0}")]
    Unreachable(String),
    /// There are none to ask.
    #[error("there is no server to ask; name one in [dns] servers or in /etc/resolv.conf")]
    NoServers,
    /// Too many lookups wait already.
    #[error("too many lookups wait for their turn")]
    Busy,
}

impl Cause {
    /// Whether it may be that the server does not know EDNS: FORMERR or NOTIMP.
    pub fn may_be_edns(&self) -> bool {
        matches!(self, Cause::Rcode(1 | 4))
    }

    /// Whether it may be the failure of one server, so that another is worth asking. Wrong signatures are wrong everywhere: who does not
    /// check them must not be asked instead.
    pub fn is_of_server(&self) -> bool {
        matches!(
            self,
            Cause::ServFail(_)
                | Cause::Refused(_)
                | Cause::Rcode(_)
                | Cause::Lame
                | Cause::Malformed(_)
                | Cause::Timeout(_)
                | Cause::Unreachable(_)
        )
    }
}

/// RFC 8914: what a resolver says about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedError {
    /// INFO-CODE.
    pub code: u16,
    /// EXTRA-TEXT, shortened, without control characters.
    pub text: String,
}

impl ExtendedError {
    /// RFC 8914 4.6 to 4.13: validation was tried and failed.
    pub fn is_bogus(&self) -> bool {
        (5..=12).contains(&self.code)
    }
}

impl fmt::Display for ExtendedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CODES.get(usize::from(self.code)) {
            Some(words) => f.write_str(words)?,
            None => write!(f, "extended error {}", self.code)?,
        }
        match self.text.is_empty() {
            true => Ok(()),
            false => write!(f, ", {:?}", self.text),
        }
    }
}

fn signed(authentic: bool) -> &'static str {
    if authentic { " (DNSSEC proves it)" } else { "" }
}

fn because(error: &Option<ExtendedError>) -> String {
    error.as_ref().map_or(String::new(), |e| format!(": {e}"))
}

/// RFC 8914 5.2, by INFO-CODE.
const CODES: [&str; 25] = [
    "other error",
    "unsupported DNSKEY algorithm",
    "unsupported DS digest type",
    "stale answer",
    "forged answer",
    "DNSSEC indeterminate",
    "DNSSEC bogus",
    "signature expired",
    "signature not yet valid",
    "DNSKEY missing",
    "RRSIGs missing",
    "no zone key bit set",
    "NSEC missing",
    "cached error",
    "not ready",
    "blocked",
    "censored",
    "filtered",
    "prohibited",
    "stale NXDOMAIN answer",
    "not authoritative",
    "not supported",
    "no reachable authority",
    "network error",
    "invalid data",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_was_asked_and_what_came_of_it() {
        let error = |cause| LookupError {
            name: Name::parse("example.org").unwrap(),
            record_type: RecordType::Mx,
            cause,
        };
        let bogus = ExtendedError {
            code: 7,
            text: "RRSIG of 2024".into(),
        };
        assert!(bogus.is_bogus());
        for (cause, words) in [
            (
                Cause::NxDomain { authentic: true },
                "MX of example.org: there is no such name (DNSSEC proves it)",
            ),
            (
                Cause::NoData { authentic: false },
                "MX of example.org: the name has no such records",
            ),
            (
                Cause::Bogus(bogus),
                "MX of example.org: the DNSSEC signatures are wrong: signature expired, \"RRSIG of 2024\"",
            ),
            (
                Cause::ServFail(None),
                "MX of example.org: the resolver could not find out (SERVFAIL)",
            ),
            (
                Cause::ServFail(Some(ExtendedError {
                    code: 777,
                    text: String::new(),
                })),
                "MX of example.org: the resolver could not find out (SERVFAIL: extended error 777)",
            ),
        ] {
            assert_eq!(error(cause).to_string(), words);
        }
    }
}
