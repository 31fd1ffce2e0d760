//! Which header fields a signature covers.
//! Chosen by the operator for each selector. RFC 6376 5.4, 5.4.1, 5.4.2 and 8.15 (adding fields); RFC 8058 4 (List-Unsubscribe-Post),
//! RFC 9477 3.1 (CFBL-Address). Not here: what is done with the fields (`fields.rs`).

use crate::limits::SIGNED_NAMES_MAX;

/// Names of header fields to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedFields {
    /// Signed as often as they occur and once more, so that nobody can add another.
    sealed: Vec<String>,
    /// Signed as often as they occur.
    signed: Vec<String>,
}

/// Why names cannot be signed. All are the operator's mistakes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedFieldsError {
    /// RFC 5322 2.2; and a semicolon would end h=.
    #[error("{0:?} is not the name of a header field")]
    NotAName(String),
    /// RFC 6376 5.4.
    #[error("From must be signed")]
    FromMissing,
    /// RFC 6376 3.5 (h=), 5.4.
    #[error("{0} must not be signed, it changes on the way")]
    Changes(String),
    /// The same name again.
    #[error("{0} stands there twice")]
    Twice(String),
    /// Over half of [`SIGNED_NAMES_MAX`].
    #[error("too many names")]
    TooMany,
}

impl SignedFields {
    /// Checks the names. `sealed` are signed once more than they occur, even if they do not.
    pub fn new(sealed: &[&str], signed: &[&str]) -> Result<Self, SignedFieldsError> {
        let mut seen: Vec<&str> = Vec::new();
        if sealed.len() + signed.len() > SIGNED_NAMES_MAX / 2 {
            return Err(SignedFieldsError::TooMany);
        }
        for name in sealed.iter().chain(signed) {
            let letters = name
                .bytes()
                .all(|octet| octet.is_ascii_graphic() && !matches!(octet, b':' | b';'));
            if name.is_empty() || !letters || name.len() > NAME_LEN_MAX {
                return Err(SignedFieldsError::NotAName(name.to_string()));
            }
            if seen.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                return Err(SignedFieldsError::Twice(name.to_string()));
            }
            if CHANGING
                .iter()
                .any(|other| other.eq_ignore_ascii_case(name))
            {
                return Err(SignedFieldsError::Changes(name.to_string()));
            }
            seen.push(name);
        }
        if !seen.iter().any(|name| name.eq_ignore_ascii_case("From")) {
            return Err(SignedFieldsError::FromMissing);
        }
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        Ok(Self {
            sealed: owned(sealed),
            signed: owned(signed),
        })
    }

    /// Those that are signed once more than they occur.
    pub fn sealed(&self) -> impl Iterator<Item = &str> {
        self.sealed.iter().map(String::as_str)
    }

    /// Those that are signed as often as they occur.
    pub fn signed(&self) -> impl Iterator<Item = &str> {
        self.signed.iter().map(String::as_str)
    }

    /// The names of h= for a message in which each occurs `count` times.
    pub(crate) fn names(&self, count: impl Fn(&str) -> usize) -> Vec<&str> {
        let mut names = Vec::with_capacity(self.sealed.len() * 2 + self.signed.len());
        let sealed = self.sealed.iter().map(|name| (name, 1));
        for (name, more) in sealed.chain(self.signed.iter().map(|name| (name, 0))) {
            let times = (count(name) + more).min(SIGNED_NAMES_MAX + 1);
            names.extend(std::iter::repeat_n(name.as_str(), times));
        }
        names
    }
}

impl Default for SignedFields {
    fn default() -> Self {
        Self::new(SEALED, SIGNED).expect("the defaults are names")
    }
}

/// What readers see and clients act on.
const SEALED: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Bcc",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Content-Type",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
];

/// What others may add where it is missing (RFC 6376 5.4.1): relays the MIME fields, lists their own, whoever resends a new Resent block.
const SIGNED: &[&str] = &[
    "Sender",
    "MIME-Version",
    "Content-Transfer-Encoding",
    "Resent-Date",
    "Resent-From",
    "Resent-To",
    "Resent-Cc",
    "List-Id",
    "List-Help",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "CFBL-Address",
    "CFBL-Feedback-ID",
];

/// RFC 6376 5.4.1 excludes the first two, 3.5 the third. Authentication-Results are removed at each border (RFC 8601 5).
const CHANGING: &[&str] = &[
    "Return-Path",
    "Received",
    "DKIM-Signature",
    "Authentication-Results",
];

/// A name with its place in h= still fits a line.
const NAME_LEN_MAX: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_names_stand_once_more_than_they_occur() {
        let fields = SignedFields::new(&["From", "To"], &["X-A", "X-B"]).unwrap();
        let count = |name: &str| match name {
            "From" => 1,
            "X-A" => 2,
            _ => 0,
        };
        assert_eq!(fields.names(count), ["From", "From", "To", "X-A", "X-A"]);
    }

    #[test]
    fn names_that_cannot_be_signed() {
        let new = |names: &[&str]| SignedFields::new(&["From"], names).unwrap_err();
        assert_eq!(new(&["a b"]), SignedFieldsError::NotAName("a b".into()));
        assert_eq!(new(&[""]), SignedFieldsError::NotAName("".into()));
        assert_eq!(new(&["a;"]), SignedFieldsError::NotAName("a;".into()));
        assert_eq!(new(&["FROM"]), SignedFieldsError::Twice("FROM".into()));
        assert_eq!(
            new(&["received"]),
            SignedFieldsError::Changes("received".into())
        );
        assert_eq!(
            SignedFields::new(&["To"], &[]),
            Err(SignedFieldsError::FromMissing)
        );
        assert_eq!(new(&["x"; 500]), SignedFieldsError::TooMany);
    }
}
