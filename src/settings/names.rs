//! Names that mail sees: domains, localparts, mailboxes, in the one form in which they are compared.
//! RFC 5321 2.3.5, 4.1.2, 4.5.3.1; RFC 5891 (IDNA: A-labels); RFC 6531 3.2 and RFC 6532 3.1 (UTF-8 localparts, NFC).
//! Not here: the syntax of a path on the wire (protocols/smtp), what an address leads to (`directory/`).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// A domain name in lower case with A-labels, the form in which all domains are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(Box<str>);

impl DomainName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a domain name.
    #[error("{0:?} is not a domain name")]
    Domain(String),
    /// Not `localpart@domain`.
    #[error("{0:?} is not an address: expected localpart@domain")]
    Address(String),
    /// Not a localpart.
    #[error("{0:?} is not a localpart: 1 to 64 octets without control characters")]
    Localpart(String),
    /// Not a mailbox name.
    #[error(
        "{0:?} is not a mailbox name: no empty part between '/', no '*' or '%', no control characters, at most 255 octets, not beginning with '#'"
    )]
    Mailbox(String),
}

impl FromStr for DomainName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        canonical_domain(text)
            .map(|name| Self(name.into()))
            .ok_or_else(|| NameError::Domain(text.to_owned()))
    }
}

impl TryFrom<String> for DomainName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0.into()
    }
}

impl std::borrow::Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The form in which a domain is compared: lower case, A-labels, no dot at the end. `None` when it is not a domain name.
/// Borrows when the text has that form already, which is what a lookup on the hot path meets.
pub fn canonical_domain(text: &str) -> Option<Cow<'_, str>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let canonical = if text
        .bytes()
        .all(|b| b.is_ascii() && !b.is_ascii_uppercase())
    {
        Cow::Borrowed(text)
    } else if text.is_ascii() {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Owned(idna::domain_to_ascii(text).ok()?)
    };
    is_domain(&canonical).then_some(canonical)
}

/// An address as a server without SMTPUTF8 takes it: the domain in A-labels (RFC 6531 3.2, RFC 5891). `None`: the localpart is not ASCII, or
/// the domain has no such form.
pub fn with_a_labels(address: &smtp::Address) -> Option<smtp::Address> {
    if !address.localpart.as_str().is_ascii() {
        return None;
    }
    let Some(domain) = address.domain().filter(|domain| !domain.is_ascii()) else {
        return Some(address.clone());
    };
    let ascii = canonical_domain(domain.as_str())?.parse().ok()?;
    Some(smtp::Address {
        localpart: address.localpart.clone(),
        host: smtp::Host::Domain(ascii),
    })
}

// RFC 5321 4.1.2: Domain = sub-domain *("." sub-domain); sub-domain = Let-dig [Ldh-str]. RFC 1035 2.3.4: 63 octets a label, 255 a name.
// An underscore is let through: hosts with it exist, and refusing them here helps nobody.
fn is_domain(text: &str) -> bool {
    text.len() <= DOMAIN_MAX
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// The localpart of an address as the operator wrote it: unquoted, in NFC, not folded.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalpartText(Box<str>);

impl LocalpartText {
    /// The localpart as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LocalpartText {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        // RFC 5321 4.5.3.1.1: a localpart has at most 64 octets.
        if text.is_empty() || text.len() > LOCALPART_MAX || text.chars().any(char::is_control) {
            return Err(NameError::Localpart(text));
        }
        Ok(Self(canonical_localpart(&text, true).into()))
    }
}

impl From<LocalpartText> for String {
    fn from(localpart: LocalpartText) -> Self {
        localpart.0.into()
    }
}

impl fmt::Display for LocalpartText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The form in which a localpart is compared: NFC, and lower case unless the domain distinguishes.
/// RFC 5321 2.4: only the host that owns the domain may fold case; here we are that host. Borrows when nothing changes.
pub fn canonical_localpart(text: &str, case_sensitive: bool) -> Cow<'_, str> {
    if text.is_ascii() {
        if case_sensitive || !text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Cow::Borrowed(text);
        }
        return Cow::Owned(text.to_ascii_lowercase());
    }
    let composed: String = text.nfc().collect();
    // Folding may decompose again, so compose once more.
    Cow::Owned(if case_sensitive {
        composed
    } else {
        composed.to_lowercase().nfc().collect()
    })
}

/// An address in the settings: `localpart@domain`, the localpart unquoted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressText {
    /// Left of the last `@`.
    pub localpart: LocalpartText,
    /// Right of the last `@`.
    pub domain: DomainName,
}

impl FromStr for AddressText {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (localpart, domain) = text
            .rsplit_once('@')
            .ok_or_else(|| NameError::Address(text.to_owned()))?;
        if localpart.is_empty()
            || localpart.contains(char::is_whitespace)
            || localpart.contains('"')
        {
            return Err(NameError::Address(text.to_owned()));
        }
        Ok(Self {
            localpart: localpart.to_owned().try_into()?,
            domain: domain.parse()?,
        })
    }
}

impl TryFrom<String> for AddressText {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<AddressText> for String {
    fn from(address: AddressText) -> Self {
        address.to_string()
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.localpart, self.domain)
    }
}

/// A mailbox that the settings name, such as `INBOX` or `Lists/Dev`. `inbox` in any case is `INBOX` (RFC 9051 5.1), also as a first level.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailboxName(Box<str>);

impl MailboxName {
    /// The mailbox into which mail goes unless something else is said.
    pub fn inbox() -> Self {
        Self("INBOX".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for MailboxName {
    fn default() -> Self {
        Self::inbox()
    }
}

impl TryFrom<String> for MailboxName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let bad = text.len() > MAILBOX_MAX
            || text.starts_with('#')
            || text
                .split('/')
                .any(|part| part.is_empty() || part.trim() != part)
            || text.contains(|c: char| c.is_control() || c == '*' || c == '%');
        if bad {
            return Err(NameError::Mailbox(text));
        }
        let name: String = text.nfc().collect();
        match name.split_once('/') {
            None if name.eq_ignore_ascii_case("inbox") => Ok(Self::inbox()),
            Some((top, rest)) if top.eq_ignore_ascii_case("inbox") => {
                Ok(Self(format!("INBOX/{rest}").into()))
            }
            _ => Ok(Self(name.into())),
        }
    }
}

impl FromStr for MailboxName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.to_owned().try_into()
    }
}

impl From<MailboxName> for String {
    fn from(name: MailboxName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// RFC 5321 4.5.3.1.2: a domain has at most 255 octets.
const DOMAIN_MAX: usize = 255;
/// RFC 5321 4.5.3.1.1: a localpart has at most 64 octets.
const LOCALPART_MAX: usize = 64;
/// Longest mailbox name in octets: fits any client's file system.
const MAILBOX_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_beyond_ascii_has_another_form_and_a_localpart_has_none() {
        let form = |text: &str| with_a_labels(&text.parse().unwrap()).map(|a| a.to_string());
        for (text, ascii) in [
            ("a@one.example", Some("a@one.example")),
            (
                "\"a b\"@b\u{fc}cher.example",
                Some("\"a b\"@xn--bcher-kva.example"),
            ),
            ("a@[192.0.2.1]", Some("a@[192.0.2.1]")),
            ("\u{fc}@one.example", None),
            ("\u{fc}@b\u{fc}cher.example", None),
        ] {
            assert_eq!(form(text).as_deref(), ascii, "{text}");
        }
    }

    #[test]
    fn domains_take_one_form() {
        for (written, canonical) in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(
                canonical_domain(written).as_deref(),
                Some(canonical),
                "{written}"
            );
        }
        assert!(matches!(
            canonical_domain("example.org"),
            Some(Cow::Borrowed(_))
        ));
    }

    #[test]
    fn wrong_domains_are_refused() {
        for written in [
            "",
            ".",
            "a..b",
            "-a.org",
            "a-.org",
            "a b",
            "exa mple.org",
            "[192.0.2.1]",
            "a@b",
            &"a".repeat(64),
            &"a.".repeat(200),
        ] {
            assert_eq!(canonical_domain(written), None, "{written}");
        }
    }

    #[test]
    fn localparts_fold_unless_the_domain_distinguishes() {
        assert_eq!(canonical_localpart("Anna", false), "anna");
        assert_eq!(canonical_localpart("Anna", true), "Anna");
        assert_eq!(canonical_localpart("JU\u{308}RGEN", false), "jürgen");
        assert_eq!(canonical_localpart("Ju\u{308}rgen", true), "Jürgen");
    }

    #[test]
    fn addresses_split_at_the_last_at() {
        let address: AddressText = "Anna+x@Example.org".parse().unwrap();
        assert_eq!(
            (address.localpart.as_str(), address.domain.as_str()),
            ("Anna+x", "example.org")
        );
        for written in [
            "",
            "anna",
            "@example.org",
            "anna@",
            "a b@example.org",
            "\"a\"@example.org",
            &format!("{}@x", "a".repeat(65)),
        ] {
            assert!(written.parse::<AddressText>().is_err(), "{written}");
        }
    }

    #[test]
    fn mailboxes_are_names_without_wildcards() {
        for (written, name) in [
            ("Inbox", "INBOX"),
            ("inbox/Lists", "INBOX/Lists"),
            ("Lists/Dev", "Lists/Dev"),
            ("Entwürfe", "Entwürfe"),
        ] {
            assert_eq!(written.parse::<MailboxName>().unwrap().as_str(), name);
        }
        for written in [
            "",
            "/a",
            "a/",
            "a//b",
            "a*",
            "a%",
            "a\n",
            "#x",
            " a",
            &"a".repeat(256),
        ] {
            assert!(written.parse::<MailboxName>().is_err(), "{written}");
        }
    }
}
