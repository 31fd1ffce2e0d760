//! Names of mailboxes, RFC 9051 5.1. Kept as UTF-8; modified UTF-7 exists only on the wire.

use std::fmt;

use super::mutf7;
use crate::limits::MAILBOX_NAME_MAX;

/// How names (and other strings) are written on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NameSyntax {
    /// RFC 3501 5.1.3: modified UTF-7 in ASCII.
    #[default]
    ModifiedUtf7,
    /// After ENABLE IMAP4rev2 or UTF8=ACCEPT (RFC 9051 5.1, RFC 6855 3): UTF-8 as it is, also in quoted strings.
    Utf8,
}

/// A mailbox name in UTF-8 with INBOX in its one spelling. Whether a server takes such a name is another question,
/// see [`MailboxName::fault`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(String);

impl MailboxName {
    /// The spelling of INBOX.
    pub const INBOX: &'static str = "INBOX";

    /// The name, with a first element `inbox` of any case written INBOX: RFC 9051 5.1 says so for the name alone; doing it
    /// for its children keeps `inbox/x` and `INBOX/x` from being two mailboxes.
    /// `None` above [`MAILBOX_NAME_MAX`] octets.
    pub fn new(name: impl Into<String>) -> Option<Self> {
        let mut name: String = name.into();
        if name.len() > MAILBOX_NAME_MAX {
            return None;
        }
        let inbox = Self::INBOX.len();
        let first_is_inbox = name
            .as_bytes()
            .get(..inbox)
            .is_some_and(|head| head.eq_ignore_ascii_case(b"INBOX"))
            && name
                .as_bytes()
                .get(inbox)
                .is_none_or(|&octet| octet == b'/');
        if first_is_inbox {
            name.replace_range(..inbox, Self::INBOX);
        }
        Some(Self(name))
    }

    /// INBOX.
    pub fn inbox() -> Self {
        Self(Self::INBOX.into())
    }

    /// The name from the wire; `None` when it is not in that syntax, or too long.
    pub fn decode(octets: &[u8], syntax: NameSyntax) -> Option<Self> {
        decode_text(octets, syntax).and_then(Self::new)
    }

    /// Appends the name in the syntax of the wire, neither quoted nor counted.
    pub fn encode(&self, syntax: NameSyntax, out: &mut Vec<u8>) {
        encode_text(&self.0, syntax, out);
    }

    /// The name in UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is INBOX itself.
    pub fn is_inbox(&self) -> bool {
        self.0 == Self::INBOX
    }

    /// The name without delimiters at its end. RFC 9051 6.3.4: CREATE `a/` announces children of `a`.
    #[must_use]
    pub fn without_trailing(&self, delimiter: char) -> Self {
        Self(self.0.trim_end_matches(delimiter).into())
    }

    /// What is wrong with the name for a mailbox or subscription, with `/` as the hierarchy delimiter. Not checked: whether
    /// the name is in Unicode normalization form C.
    pub fn fault(&self) -> Option<NameFault> {
        if self.0.is_empty() {
            return Some(NameFault::Empty);
        }
        if self.0.starts_with('#') {
            return Some(NameFault::Namespace); // RFC 9051 5.1.1: # begins the name of a namespace
        }
        let control = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if self.0.chars().any(control) {
            return Some(NameFault::Control); // RFC 9051 5.1: control characters SHOULD NOT be used
        }
        self.0.split('/').find_map(|element| match element {
            "" => Some(NameFault::EmptyElement),
            "." | ".." => Some(NameFault::Dots),
            _ => None,
        })
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why no mailbox may have a name; the answer is `NO [CANNOT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NameFault {
    /// No name.
    #[error("mailbox name is empty")]
    Empty,
    /// A delimiter at an end, or two in a row.
    #[error("mailbox name has an empty element")]
    EmptyElement,
    /// An element `.` or `..`.
    #[error("mailbox name has an element of dots")]
    Dots,
    /// A `#` at the start.
    #[error("mailbox name begins with #")]
    Namespace,
    /// A control character or line separator.
    #[error("mailbox name has a control character")]
    Control,
}

/// Name, reference or pattern from the wire. Quirk: a name in UTF-7 syntax whose `&` starts no valid shift is refused, not
/// guessed at.
pub(crate) fn decode_text(octets: &[u8], syntax: NameSyntax) -> Option<String> {
    match syntax {
        NameSyntax::ModifiedUtf7 => mutf7::decode(octets).ok(),
        NameSyntax::Utf8 => std::str::from_utf8(octets).ok().map(String::from),
    }
}

pub(crate) fn encode_text(text: &str, syntax: NameSyntax, out: &mut Vec<u8>) {
    match syntax {
        NameSyntax::ModifiedUtf7 => mutf7::encode(text, out),
        NameSyntax::Utf8 => out.extend_from_slice(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_has_one_spelling() {
        assert_eq!(MailboxName::new("iNbOx").unwrap(), MailboxName::inbox());
        assert_eq!(MailboxName::new("inbox/Sub").unwrap().as_str(), "INBOX/Sub");
        assert_eq!(MailboxName::new("inboxes").unwrap().as_str(), "inboxes");
        assert_eq!(MailboxName::new("a/inbox").unwrap().as_str(), "a/inbox");
    }

    #[test]
    fn wire_syntax() {
        let name = MailboxName::decode(b"Entw&APw-rfe", NameSyntax::ModifiedUtf7).unwrap();
        assert_eq!(name.as_str(), "Entw\u{fc}rfe");
        assert_eq!(
            MailboxName::decode("Entw\u{fc}rfe".as_bytes(), NameSyntax::Utf8).unwrap(),
            name
        );
        assert_eq!(
            MailboxName::decode(b"a&b", NameSyntax::Utf8)
                .unwrap()
                .as_str(),
            "a&b"
        );
        assert!(MailboxName::decode(b"a&b", NameSyntax::ModifiedUtf7).is_none());
        assert!(MailboxName::decode(b"\xff", NameSyntax::Utf8).is_none());
        let mut out = Vec::new();
        name.encode(NameSyntax::ModifiedUtf7, &mut out);
        assert_eq!(out, b"Entw&APw-rfe");
    }

    #[test]
    fn faults() {
        let fault = |name: &str| MailboxName::new(name).unwrap().fault();
        assert_eq!(fault(""), Some(NameFault::Empty));
        assert_eq!(fault("a//b"), Some(NameFault::EmptyElement));
        assert_eq!(fault("/a"), Some(NameFault::EmptyElement));
        assert_eq!(fault("a/"), Some(NameFault::EmptyElement));
        assert_eq!(fault("a/../b"), Some(NameFault::Dots));
        assert_eq!(fault("#news"), Some(NameFault::Namespace));
        assert_eq!(fault("a\u{2028}"), Some(NameFault::Control));
        assert_eq!(fault("a\tb"), Some(NameFault::Control));
        assert_eq!(fault("100% & * fine"), None);
        assert_eq!(
            MailboxName::new("a/b//")
                .unwrap()
                .without_trailing('/')
                .fault(),
            None
        );
    }
}
