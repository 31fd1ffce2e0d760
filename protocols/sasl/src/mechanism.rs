//! Names of mechanisms, as the IANA registry writes them.

use std::fmt;

/// A mechanism that [`crate::Exchange`] can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616. Sends the password as it is: only over TLS.
    Plain,
    /// draft-murchison-sasl-login, obsolete but asked for by Outlook. Only over TLS.
    Login,
}

impl Mechanism {
    /// All mechanisms, in the order in which they are announced.
    pub const ALL: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

    /// Finds a mechanism by name, without regard to case (RFC 4422 3.1 has upper-case names; clients do not care).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|m| m.name().eq_ignore_ascii_case(name))
    }

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }

    /// Whether an eavesdropper would learn the password, so that TLS is needed (RFC 4954 4, last paragraphs).
    pub fn reveals_password(self) -> bool {
        match self {
            Mechanism::Plain | Mechanism::Login => true,
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
