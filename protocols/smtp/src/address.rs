//! Addresses as SMTP writes them: local-parts, domains, address literals, reverse- and forward-paths.
//!
//! Called by `command.rs` for MAIL and RCPT and by whoever reads addresses from configuration. Input is not trusted.
//! RFC 5321 4.1.2 and 4.1.3, RFC 6531 3.3 (UTF-8), RFC 5321 4.5.3.1 (lengths).
//! Not here: which addresses exist, IDNA conversion (`dns`), addresses in header fields (`message`).
//!
//! ```text
//! Path         = "<" [ A-d-l ":" ] Mailbox ">"
//! A-d-l        = At-domain *( "," At-domain )
//! Mailbox      = Local-part "@" ( Domain / address-literal )
//! Local-part   = Dot-string / Quoted-string
//! Dot-string   = Atom *("." Atom)
//! Quoted-string = DQUOTE *QcontentSMTP DQUOTE
//! Domain       = sub-domain *("." sub-domain)
//! sub-domain   = Let-dig [Ldh-str]            ; RFC 6531: or a U-label
//! ```

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::grammar::{Cursor, is_atext, is_label};
use crate::limits::{DOMAIN_MAX, LABEL_MAX, LOCALPART_MAX, LOCALPART_PEDANTIC_MAX, PATH_MAX};

/// Why an address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not the grammar of RFC 5321 4.1.2.
    #[error("malformed address")]
    Syntax,
    /// RFC 5321 4.5.3.1.1.
    #[error("local-part too long")]
    LocalpartTooLong,
    /// RFC 5321 4.5.3.1.2, RFC 1035 2.3.4.
    #[error("domain too long")]
    DomainTooLong,
    /// RFC 5321 4.5.3.1.3.
    #[error("path too long")]
    PathTooLong,
}

/// A local-part without its quoting: `"joe smith"@x` and `"joe\ smith"@x` have the same one (RFC 5321 4.1.2).
/// Letter case is kept; NFC is up to the caller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Localpart(Box<str>);

impl Localpart {
    /// Makes a local-part from unquoted text. Control characters and more than [`LOCALPART_MAX`] octets are errors.
    pub fn new(text: &str) -> Result<Self, PathError> {
        if text.len() > LOCALPART_MAX {
            return Err(PathError::LocalpartTooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PathError::Syntax);
        }
        Ok(Localpart(text.into()))
    }

    /// The text without quoting.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can be written as a Dot-string, without quotes.
    fn is_dot_string(&self) -> bool {
        self.0
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
    }

    /// Octets of the written form.
    fn written_length(&self) -> usize {
        if self.is_dot_string() {
            return self.0.len();
        }
        2 + self.0.len()
            + self
                .0
                .bytes()
                .filter(|octet| matches!(octet, b'"' | b'\\'))
                .count()
    }
}

impl fmt::Display for Localpart {
    /// RFC 5321 4.1.2: the form that uses the minimum quoting possible.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_dot_string() {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            fmt::Write::write_char(f, c)?;
        }
        f.write_str("\"")
    }
}

/// A domain in lower case, ASCII or with U-labels, without trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Box<str>);

impl Domain {
    /// The domain in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether no label needs SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }

    /// Leniency for EHLO alone: Windows hosts announce names with `_`, others end theirs with a dot.
    pub(crate) fn parse_hello(text: &str) -> Result<Self, PathError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.contains('_') {
            text.replace('_', "x").parse::<Domain>()?;
            return Ok(Domain(text.to_lowercase().into()));
        }
        text.parse()
    }
}

impl FromStr for Domain {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.len() > DOMAIN_MAX {
            return Err(PathError::DomainTooLong);
        }
        for label in text.split('.') {
            if label.is_empty()
                || label.starts_with('-')
                || label.ends_with('-')
                || !label.chars().all(is_label)
            {
                return Err(PathError::Syntax);
            }
            if label.is_ascii() && label.len() > LABEL_MAX {
                return Err(PathError::DomainTooLong);
            }
        }
        let lower = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            text.to_lowercase()
        };
        // Lower case of some letters takes more octets.
        if lower.len() > DOMAIN_MAX {
            return Err(PathError::DomainTooLong);
        }
        Ok(Domain(lower.into()))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address literal, RFC 5321 4.1.3.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressLiteral {
    /// `[192.0.2.1]`
    V4(Ipv4Addr),
    /// `[IPv6:2001:db8::1]`
    V6(Ipv6Addr),
    /// `[tag:content]`; no tag but IPv6 is registered.
    General(Box<str>),
}

impl AddressLiteral {
    /// Parses what stands between the brackets. `untagged_v6` is the leniency for submission clients that forget `IPv6:`.
    pub(crate) fn parse_inner(inner: &str, untagged_v6: bool) -> Result<Self, PathError> {
        if let Ok(address) = inner.parse() {
            return Ok(AddressLiteral::V4(address));
        }
        // Without its tag it could pass for a general literal with the tag `2001`.
        if let Ok(address) = inner.parse() {
            return if untagged_v6 {
                Ok(AddressLiteral::V6(address))
            } else {
                Err(PathError::Syntax)
            };
        }
        let (tag, content) = inner.split_once(':').ok_or(PathError::Syntax)?;
        if tag.eq_ignore_ascii_case("IPv6") {
            return content
                .parse()
                .map(AddressLiteral::V6)
                .map_err(|_| PathError::Syntax);
        }
        let tag_ok = tag
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && !tag.ends_with('-');
        let content_ok = content
            .bytes()
            .all(|octet| matches!(octet, 33..=90 | 94..=126));
        if tag.is_empty() || content.is_empty() || !tag_ok || !content_ok {
            return Err(PathError::Syntax);
        }
        Ok(AddressLiteral::General(inner.into()))
    }
}

impl fmt::Display for AddressLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressLiteral::V4(address) => write!(f, "[{address}]"),
            AddressLiteral::V6(address) => write!(f, "[IPv6:{address}]"),
            AddressLiteral::General(text) => write!(f, "[{text}]"),
        }
    }
}

/// The right side of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A domain, looked up in the DNS.
    Domain(Domain),
    /// An address literal.
    Literal(AddressLiteral),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Domain(domain) => domain.fmt(f),
            Host::Literal(literal) => literal.fmt(f),
        }
    }
}

/// A Mailbox of RFC 5321: `local-part@host`. `Display` writes it with as little quoting as possible, without brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Before the last unquoted `@`.
    pub localpart: Localpart,
    /// After it.
    pub host: Host,
}

impl Address {
    /// The domain, unless the host is an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        match &self.host {
            Host::Domain(domain) => Some(domain),
            Host::Literal(_) => None,
        }
    }

    /// Whether it can be sent only with SMTPUTF8 (RFC 6531). A domain alone could be sent as A-labels.
    pub fn needs_smtputf8(&self) -> bool {
        !self.localpart.0.is_ascii() || self.domain().is_some_and(|domain| !domain.is_ascii())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.localpart, self.host)
    }
}

impl FromStr for Address {
    type Err = PathError;

    /// Parses a Mailbox without brackets, all of the text.
    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut cursor = Cursor(text);
        let address = mailbox(&mut cursor, false)?;
        if cursor.is_empty() {
            Ok(address)
        } else {
            Err(PathError::Syntax)
        }
    }
}

/// The argument of MAIL. `Display` writes it with brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReversePath {
    /// `<>`: notifications, which must not cause more of them (RFC 5321 4.5.5).
    Null,
    /// An address to which notifications go.
    Address(Address),
}

impl ReversePath {
    /// The address, unless null.
    pub fn address(&self) -> Option<&Address> {
        match self {
            ReversePath::Null => None,
            ReversePath::Address(address) => Some(address),
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => f.write_str("<>"),
            ReversePath::Address(address) => write!(f, "<{address}>"),
        }
    }
}

impl FromStr for ReversePath {
    type Err = PathError;

    /// Parses what `Display` writes, all of the text.
    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut cursor = Cursor(text);
        let path = reverse_path(&mut cursor, false)?;
        if cursor.is_empty() {
            Ok(path)
        } else {
            Err(PathError::Syntax)
        }
    }
}

/// The argument of RCPT. `Display` writes it with brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without domain, RFC 5321 4.5.1.
    Postmaster,
    /// An address.
    Address(Address),
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardPath::Postmaster => f.write_str("<Postmaster>"),
            ForwardPath::Address(address) => write!(f, "<{address}>"),
        }
    }
}

impl FromStr for ForwardPath {
    type Err = PathError;

    /// Parses what `Display` writes, all of the text.
    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut cursor = Cursor(text);
        let path = forward_path(&mut cursor, false)?;
        if cursor.is_empty() {
            Ok(path)
        } else {
            Err(PathError::Syntax)
        }
    }
}

/// Parses a reverse-path at the cursor.
pub(crate) fn reverse_path(
    cursor: &mut Cursor<'_>,
    pedantic: bool,
) -> Result<ReversePath, PathError> {
    if cursor.word("<>") {
        return Ok(ReversePath::Null);
    }
    path(cursor, pedantic).map(ReversePath::Address)
}

/// Parses a forward-path at the cursor.
pub(crate) fn forward_path(
    cursor: &mut Cursor<'_>,
    pedantic: bool,
) -> Result<ForwardPath, PathError> {
    // RFC 5321 4.1.1.3: "<Postmaster>" in any case.
    if cursor.word("<postmaster>") {
        return Ok(ForwardPath::Postmaster);
    }
    path(cursor, pedantic).map(ForwardPath::Address)
}

fn path(cursor: &mut Cursor<'_>, pedantic: bool) -> Result<Address, PathError> {
    if !cursor.eat(b'<') {
        return Err(PathError::Syntax);
    }
    source_route(cursor)?;
    let address = mailbox(cursor, pedantic)?;
    if cursor.eat(b'>') {
        Ok(address)
    } else {
        Err(PathError::Syntax)
    }
}

/// RFC 5321 4.1.2: a source route MUST be accepted and SHOULD be ignored.
fn source_route(cursor: &mut Cursor<'_>) -> Result<(), PathError> {
    if cursor.peek() != Some(b'@') {
        return Ok(());
    }
    loop {
        if !cursor.eat(b'@') {
            return Err(PathError::Syntax);
        }
        domain(cursor)?;
        if cursor.eat(b':') {
            return Ok(());
        }
        if !cursor.eat(b',') {
            return Err(PathError::Syntax);
        }
    }
}

fn mailbox(cursor: &mut Cursor<'_>, pedantic: bool) -> Result<Address, PathError> {
    let localpart = localpart(cursor)?;
    if pedantic && localpart.0.len() > LOCALPART_PEDANTIC_MAX {
        return Err(PathError::LocalpartTooLong);
    }
    if !cursor.eat(b'@') {
        return Err(PathError::Syntax);
    }
    let before = cursor.0.len();
    let host = host(cursor)?;
    if localpart.written_length() + (before - cursor.0.len()) + "<@>".len() > PATH_MAX {
        return Err(PathError::PathTooLong);
    }
    Ok(Address { localpart, host })
}

fn localpart(cursor: &mut Cursor<'_>) -> Result<Localpart, PathError> {
    if cursor.eat(b'"') {
        return Localpart::new(&quoted_content(cursor)?);
    }
    let dot_string = cursor.run(|c| is_atext(c) || c == '.');
    if dot_string.split('.').any(str::is_empty) {
        return Err(PathError::Syntax);
    }
    Localpart::new(dot_string)
}

/// QcontentSMTP up to the closing quote, which is consumed. RFC 5321 4.1.2: a backslash takes the next character as it is.
fn quoted_content<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, str>, PathError> {
    let mut content = Cow::Borrowed(cursor.run(|c| !matches!(c, '"' | '\\')));
    loop {
        if cursor.eat(b'"') {
            return Ok(content);
        }
        // quoted-pairSMTP = %d92 %d32-126
        if !cursor.eat(b'\\') || !matches!(cursor.peek(), Some(32..=126)) {
            return Err(PathError::Syntax);
        }
        let (pair, rest) = cursor.0.split_at(1);
        cursor.0 = rest;
        content.to_mut().push_str(pair);
        content
            .to_mut()
            .push_str(cursor.run(|c| !matches!(c, '"' | '\\')));
    }
}

fn host(cursor: &mut Cursor<'_>) -> Result<Host, PathError> {
    if cursor.eat(b'[') {
        let inner = cursor.run(|c| c != ']');
        if !cursor.eat(b']') {
            return Err(PathError::Syntax);
        }
        return AddressLiteral::parse_inner(inner, false).map(Host::Literal);
    }
    domain(cursor).map(Host::Domain)
}

fn domain(cursor: &mut Cursor<'_>) -> Result<Domain, PathError> {
    cursor.run(|c| is_label(c) || c == '.').parse()
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
