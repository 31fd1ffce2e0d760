//! Bytes that are wiped from memory when dropped, and the credentials made of them.
//! Not here: comparison with stored hashes.

use std::fmt;
use std::ops::Deref;

use zeroize::Zeroize;

/// Octets that may hold a password. Wiped on drop; `Debug` shows the length only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes over `octets`; they are wiped when the secret is dropped.
    pub fn new(octets: Vec<u8>) -> Self {
        Secret(octets)
    }

    /// The octets as UTF-8, if they are.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        Secret(octets.to_vec())
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

/// What a client claims to be, with the password that shall prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Identity to act as; empty means "the one of `authcid`" (RFC 4616 2).
    pub authzid: String,
    /// Identity that the password belongs to. Never empty. Not yet normalised.
    pub authcid: String,
    /// The password, UTF-8. Never empty.
    pub password: Secret,
}

impl Credentials {
    /// Whether the client asks to act as itself. RFC 4616 2: an absent authzid is derived from authcid.
    pub fn acts_as_itself(&self) -> bool {
        self.authzid.is_empty() || self.authzid == self.authcid
    }
}
