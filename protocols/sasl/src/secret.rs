//! Bytes that are wiped from memory when dropped, and the credentials made of them.
//! Comparison takes the same time wherever the first difference is. Not here: comparison with stored hashes.

use std::fmt;
use std::ops::Deref;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Octets that may hold a password or a key. Wiped on drop; `Debug` shows the length only.
#[derive(Clone, Default)]
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

    /// Joins `parts` in one allocation, so that no copy stays behind.
    pub(crate) fn concat(parts: &[&[u8]]) -> Self {
        let mut octets = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| octets.extend_from_slice(part));
        Secret(octets)
    }
}

/// Whether both are the same, in a time that depends on their lengths only.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        Secret(octets.to_vec())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl Eq for Secret {}

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
    /// Identity that the password belongs to. Never empty. From an exchange: prepared by [`crate::prepare_name`].
    pub authcid: String,
    /// The password. Never empty. From an exchange: UTF-8, as it was sent; whoever checks it applies [`crate::prepare_password`].
    pub password: Secret,
}

impl Credentials {
    /// Whether the client asks to act as itself. RFC 4616 2: an absent authzid is derived from authcid.
    pub fn acts_as_itself(&self) -> bool {
        self.authzid.is_empty() || self.authzid == self.authcid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_and_comparison() {
        assert_eq!(
            format!("{:?}", Secret::from(&b"abc"[..])),
            "Secret(3 octets)"
        );
        assert_eq!(
            Secret::concat(&[b"a", b"", b"bc"]),
            Secret::from(&b"abc"[..])
        );
        assert_ne!(Secret::from(&b"abc"[..]), Secret::from(&b"abd"[..]));
        assert_ne!(Secret::from(&b"abc"[..]), Secret::from(&b"ab"[..]));
    }
}
