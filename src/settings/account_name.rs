//! The name of an account: its identity in files, rows, routing and logs.
//! Rules: 1 to 63 octets of `a-z 0-9 . _ -`, first and last a letter or digit, no two dots in a row. So it is a safe file name on every
//! file system, needs no escape in a log line, and never looks like an address.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The identity of an account. Copied by value: it travels on lanes and in maps without an allocation.
#[derive(Clone, Copy)]
pub struct AccountName {
    octets: [u8; ACCOUNT_NAME_MAX],
    len: u8,
}

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.octets[..usize::from(self.len)])
            .expect("from_str admits ASCII only")
    }
}

/// Why a text is not an account name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountNameError {
    /// No octet at all, or more than [`ACCOUNT_NAME_MAX`].
    #[error("an account name has 1 to {ACCOUNT_NAME_MAX} characters")]
    Length,
    /// A character outside the set.
    #[error("{0:?} cannot be in an account name: only a-z, 0-9, '.', '_' and '-'")]
    Character(char),
    /// Punctuation where a letter or digit must be.
    #[error("an account name begins and ends with a letter or digit and has no \"..\"")]
    Punctuation,
}

impl FromStr for AccountName {
    type Err = AccountNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(c) = text
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'))
        {
            return Err(AccountNameError::Character(c));
        }
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > ACCOUNT_NAME_MAX {
            return Err(AccountNameError::Length);
        }
        let edges = [bytes[0], bytes[bytes.len() - 1]];
        if !edges.iter().all(u8::is_ascii_alphanumeric) || text.contains("..") {
            return Err(AccountNameError::Punctuation);
        }
        let mut octets = [0; ACCOUNT_NAME_MAX];
        octets[..bytes.len()].copy_from_slice(bytes);
        Ok(Self {
            octets,
            len: bytes.len() as u8,
        })
    }
}

// Equality, order and hash are those of the text, so that maps can be asked with a `&str`.
impl PartialEq for AccountName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for AccountName {}

impl PartialOrd for AccountName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AccountName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for AccountName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for AccountName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for AccountName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountName({})", self.as_str())
    }
}

impl Serialize for AccountName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for AccountName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Longest account name in octets: with `.toml` it stays far below any file system's 255, and the type is one cache line.
pub const ACCOUNT_NAME_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_keep_their_text() {
        for name in ["a", "ringmail", "u1", "anna.b_c-d9", "0", &"x".repeat(63)] {
            let parsed: AccountName = name.parse().unwrap();
            assert_eq!(parsed.as_str(), name);
            assert_eq!(parsed.to_string(), name);
        }
    }

    #[test]
    fn bad_names_are_refused_with_the_reason() {
        for name in ["", &"x".repeat(64)] {
            assert_eq!(
                name.parse::<AccountName>(),
                Err(AccountNameError::Length),
                "{name}"
            );
        }
        for name in [".", "..", ".a", "a.", "-a", "a_", "a..b"] {
            assert_eq!(
                name.parse::<AccountName>(),
                Err(AccountNameError::Punctuation),
                "{name}"
            );
        }
        for (name, c) in [
            ("Anna", 'A'),
            ("a/b", '/'),
            ("a@b", '@'),
            ("a b", ' '),
            ("jürgen", 'ü'),
            ("a\0", '\0'),
            ("a\nb", '\n'),
        ] {
            assert_eq!(
                name.parse::<AccountName>(),
                Err(AccountNameError::Character(c)),
                "{name}"
            );
        }
    }

    #[test]
    fn order_and_lookup_are_those_of_the_text() {
        let names: std::collections::BTreeSet<AccountName> = ["b", "a", "ab"]
            .iter()
            .map(|n| n.parse().unwrap())
            .collect();
        assert_eq!(
            names.iter().map(AccountName::as_str).collect::<Vec<_>>(),
            ["a", "ab", "b"]
        );
        assert!(names.contains("ab"));
    }
}
