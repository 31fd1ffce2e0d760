//! Parameters of MAIL and RCPT.
//!
//! ```text
//! Mail-parameters = esmtp-param *(SP esmtp-param)
//! esmtp-param   = esmtp-keyword ["=" esmtp-value]
//! esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
//! esmtp-value   = 1*(%d33-60 / %d62-126)          ; RFC 6531: and UTF8-non-ascii
//! ```
//! RFC 5321 4.1.2 and 4.1.1.11 (555), RFC 1870 (SIZE), RFC 6152 and 3030 (BODY), RFC 4954 5 (AUTH), RFC 6531 (SMTPUTF8), RFC 3461 4
//! (NOTIFY, ORCPT, RET, ENVID), RFC 4865 3 (HOLDFOR, HOLDUNTIL), RFC 8689 2 (REQUIRETLS).
//! Not here: whether a parameter was offered and whether a size is too large (`server`).

use std::str::FromStr;

use crate::command::CommandError;
use crate::future_release::{Hold, seconds};
use crate::grammar::Cursor;
use crate::notification::{EnvelopeId, Notify, OriginalRecipient, Return};
use crate::timestamp;

/// What MAIL said besides the reverse-path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParameters {
    /// Size that the client expects, in octets; RFC 1870 6.1: an estimate, not to be relied on.
    pub size: Option<u64>,
    /// What octets the client will send. Absent means 7BIT (RFC 6152 3).
    pub body: Option<BodyKind>,
    /// Addresses and header may hold UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// `AUTH=` was there; its value is not believed (RFC 4954 5 allows that).
    pub auth: bool,
    /// How much of the message reports return.
    pub ret: Option<Return>,
    /// What reports call the message by.
    pub envid: Option<EnvelopeId>,
    /// It may only go on through TLS to servers that promise the same (RFC 8689).
    pub require_tls: bool,
    /// When it may go on.
    pub hold: Option<Hold>,
}

impl MailParameters {
    /// Whether a parameter of DSN was there.
    pub fn uses_dsn(&self) -> bool {
        self.ret.is_some() || self.envid.is_some()
    }
}

/// What RCPT said besides the forward-path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecipientParameters {
    /// What its sender wants to hear of.
    pub notify: Option<Notify>,
    /// The recipient as its first sender named it.
    pub orcpt: Option<OriginalRecipient>,
}

impl RecipientParameters {
    /// Whether a parameter of DSN was there.
    pub fn uses_dsn(&self) -> bool {
        self.notify.is_some() || self.orcpt.is_some()
    }
}

/// Values of `BODY=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodyKind {
    /// RFC 6152: lines of ASCII.
    SevenBit,
    /// RFC 6152: lines of any octets.
    EightBitMime,
    /// RFC 3030 3: any octets, kept as they are; only with BDAT.
    BinaryMime,
}

impl BodyKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            BodyKind::SevenBit => "7BIT",
            BodyKind::EightBitMime => "8BITMIME",
            BodyKind::BinaryMime => "BINARYMIME",
        }
    }

    fn parse(value: &str) -> Option<Self> {
        let kinds = [
            BodyKind::SevenBit,
            BodyKind::EightBitMime,
            BodyKind::BinaryMime,
        ];
        kinds
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(value))
    }
}

/// Parses all that follows the reverse-path.
pub(crate) fn mail_parameters(cursor: &mut Cursor<'_>) -> Result<MailParameters, CommandError> {
    let mut parameters = MailParameters::default();
    while let Some((keyword, value)) = parameter(cursor)? {
        if keyword.eq_ignore_ascii_case("SIZE") {
            once(parameters.size.is_some())?;
            parameters.size = Some(size(value)?);
        } else if keyword.eq_ignore_ascii_case("BODY") {
            once(parameters.body.is_some())?;
            let kind = BodyKind::parse(value.ok_or(CommandError::ParameterSyntax)?);
            parameters.body = Some(kind.ok_or(CommandError::ParameterUnsupported)?);
        } else if keyword.eq_ignore_ascii_case("SMTPUTF8") {
            once(parameters.smtputf8)?;
            // RFC 6531 3.1: the parameter takes no value.
            valueless(value)?;
            parameters.smtputf8 = true;
        } else if keyword.eq_ignore_ascii_case("AUTH") {
            once(parameters.auth)?;
            xtext_mailbox(value.ok_or(CommandError::ParameterSyntax)?)?;
            parameters.auth = true;
        } else if keyword.eq_ignore_ascii_case("REQUIRETLS") {
            once(parameters.require_tls)?;
            // RFC 8689 2: no value.
            valueless(value)?;
            parameters.require_tls = true;
        } else if keyword.eq_ignore_ascii_case("RET") {
            once(parameters.ret.is_some())?;
            parameters.ret = Some(parsed(value)?);
        } else if keyword.eq_ignore_ascii_case("ENVID") {
            once(parameters.envid.is_some())?;
            parameters.envid = Some(parsed(value)?);
        } else if let Some(read) = hold(keyword) {
            // RFC 4865 4.2: one of the two, once.
            once(parameters.hold.is_some())?;
            parameters.hold = Some(value.and_then(read).ok_or(CommandError::ParameterSyntax)?);
        } else {
            return Err(CommandError::ParameterUnknown);
        }
    }
    Ok(parameters)
}

fn hold(keyword: &str) -> Option<fn(&str) -> Option<Hold>> {
    if keyword.eq_ignore_ascii_case("HOLDFOR") {
        Some(|value| seconds(value).map(Hold::For))
    } else if keyword.eq_ignore_ascii_case("HOLDUNTIL") {
        Some(|value| timestamp::parse(value).map(Hold::Until))
    } else {
        None
    }
}

/// Parses all that follows the forward-path.
pub(crate) fn recipient_parameters(
    cursor: &mut Cursor<'_>,
) -> Result<RecipientParameters, CommandError> {
    let mut parameters = RecipientParameters::default();
    while let Some((keyword, value)) = parameter(cursor)? {
        if keyword.eq_ignore_ascii_case("NOTIFY") {
            once(parameters.notify.is_some())?;
            parameters.notify = Some(parsed(value)?);
        } else if keyword.eq_ignore_ascii_case("ORCPT") {
            once(parameters.orcpt.is_some())?;
            parameters.orcpt = Some(parsed(value)?);
        } else {
            return Err(CommandError::ParameterUnknown);
        }
    }
    Ok(parameters)
}

/// A value of RFC 3461. Section 4: one that is malformed is answered with 501.
fn parsed<T: FromStr>(value: Option<&str>) -> Result<T, CommandError> {
    let value = value.ok_or(CommandError::ParameterSyntax)?;
    value.parse().map_err(|_| CommandError::ParameterSyntax)
}

/// Keyword and value of the next parameter; `None` at the end of the line.
fn parameter<'a>(
    cursor: &mut Cursor<'a>,
) -> Result<Option<(&'a str, Option<&'a str>)>, CommandError> {
    if cursor.is_empty() {
        return Ok(None);
    }
    if !cursor.eat(b' ') {
        return Err(CommandError::Arguments);
    }
    cursor.spaces();
    let keyword = cursor.run(|c| c.is_ascii_alphanumeric() || c == '-');
    if keyword.is_empty() || keyword.starts_with('-') {
        return Err(CommandError::Arguments);
    }
    if !cursor.eat(b'=') {
        return Ok(Some((keyword, None)));
    }
    let value = cursor.run(|c| !matches!(c, '=' | ' ' | '\t'));
    if value.is_empty() {
        return Err(CommandError::ParameterSyntax);
    }
    // RFC 4954 5 and others use xtext, where "=" is written +3D; a second "=" is an error.
    if cursor.peek().is_some_and(|octet| octet != b' ') {
        return Err(CommandError::ParameterSyntax);
    }
    Ok(Some((keyword, Some(value))))
}

fn once(seen: bool) -> Result<(), CommandError> {
    if seen {
        Err(CommandError::ParameterRepeated)
    } else {
        Ok(())
    }
}

fn valueless(value: Option<&str>) -> Result<(), CommandError> {
    if value.is_some() {
        Err(CommandError::ParameterSyntax)
    } else {
        Ok(())
    }
}

/// RFC 1870 4: `size-value ::= 1*20DIGIT`. What does not fit in 64 bits is too large in any case.
fn size(value: Option<&str>) -> Result<u64, CommandError> {
    let digits = value.ok_or(CommandError::ParameterSyntax)?;
    if digits.len() > 20 || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(CommandError::ParameterSyntax);
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}

/// RFC 4954 5: `<>` or xtext. RFC 3461 4: `xtext = *( xchar / hexchar )`, `hexchar = "+" 2(%x30-39 / %x41-46)`.
fn xtext_mailbox(value: &str) -> Result<(), CommandError> {
    if value == "<>" {
        return Ok(());
    }
    let hex = u8::is_ascii_hexdigit;
    let mut octets = value.as_bytes();
    while let Some((&first, rest)) = octets.split_first() {
        octets = match (first, rest) {
            (b'+', [a, b, rest @ ..]) if hex(a) && hex(b) => rest,
            (b'+', _) => return Err(CommandError::ParameterSyntax),
            (33..=126, rest) => rest,
            _ => return Err(CommandError::ParameterSyntax),
        };
    }
    Ok(())
}
