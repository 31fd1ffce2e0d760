//! message/delivery-status: groups of fields, the first about the message, the others about a recipient each.
//! Read leniently: missing fields, fields in the wrong group, empty lines between fields, any type of address, host or diagnostic.
//! RFC 3464 2, RFC 6533 3 and 4.1 (UTF-8 addresses), RFC 3461 4.4 (envelope id).
//! Not here: reports without such a part (`pattern.rs`).

use std::borrow::Cow;

use message::{Header, HeaderField, charset};
use smtp::xtext::{from_unitext, from_xtext};
use smtp::{Code, EnhancedStatus};

use super::parts::Parts;
use super::sections::Section;
use super::{Form, Incoming, ReportedRecipient, addresses, one_line, reply_text, sections};
use crate::action::Action;
use crate::limits;

/// A report with a status part that names a recipient.
pub(super) fn read(parts: &Parts) -> Option<Incoming> {
    of_fields(parts.status.as_deref()?, &parts.text, Form::Standard)
}

/// Fields that stand anywhere: in their own part, or between the lines of a text.
pub(super) fn of_fields(octets: &[u8], text: &str, form: Form) -> Option<Incoming> {
    let (message, recipients) = sorted(octets);
    let sections = if recipients.len() > 1 {
        sections::of(text)
    } else {
        Vec::new()
    };
    let one = |fields: &Vec<HeaderField<'_>>| recipient(fields, text, &sections);
    let recipients: Vec<ReportedRecipient> = recipients.iter().filter_map(one).collect();
    if recipients.is_empty() {
        return None;
    }
    let all = Header::of_section(octets);
    let value = |name: &str| {
        let field = message.iter().find(|field| field.is(name)).copied();
        field
            .or_else(|| all.first(name))
            .map(|field| field_text(&field))
    };
    let mut incoming = Incoming::of_recipients(recipients, form);
    incoming.reporting_mta = value("Reporting-MTA").map(|v| typed(&v).1.to_string());
    incoming.envelope_id = value("Original-Envelope-Id");
    Some(incoming)
}

/// Fields of the message, and those of each recipient.
fn sorted(octets: &[u8]) -> (Vec<HeaderField<'_>>, Vec<Vec<HeaderField<'_>>>) {
    let mut message = Vec::new();
    let mut recipients: Vec<Vec<HeaderField<'_>>> = Vec::new();
    for group in groups(octets) {
        let fields: Vec<HeaderField<'_>> = Header::of_section(group).fields().collect();
        let mut is_new = fields.iter().any(|field| names_recipient(field));
        for field in fields {
            let has_it = |fields: &Vec<HeaderField<'_>>| {
                fields
                    .iter()
                    .any(|f| f.name.eq_ignore_ascii_case(field.name))
            };
            // A recipient begins with its group; or in the middle of one, where what names it comes again.
            let begins = is_new || names_recipient(&field) && recipients.last().is_some_and(has_it);
            if begins && recipients.len() < limits::RECIPIENTS_MAX {
                recipients.push(Vec::new());
            }
            is_new = false;
            // After the first recipient: an empty line too many, the fields go on.
            recipients.last_mut().unwrap_or(&mut message).push(field);
        }
    }
    (message, recipients)
}

/// Pieces between empty lines.
fn groups(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
        rest = &rest[start..];
        let end = message::header::header_end(rest);
        let (group, after) = rest.split_at(end);
        rest = after;
        Some(group)
    })
}

fn names_recipient(field: &HeaderField<'_>) -> bool {
    field.is("Final-Recipient") || field.is("Original-Recipient")
}

/// `text` is that for people; where there are several recipients, only their own `sections` of it count.
fn recipient(
    fields: &[HeaderField<'_>],
    text: &str,
    sections: &[Section],
) -> Option<ReportedRecipient> {
    let value = |name: &str| fields.iter().find(|f| f.is(name)).map(field_text);
    let last = value("Final-Recipient").as_deref().map(address);
    let original = value("Original-Recipient").as_deref().map(address);
    let shown = value("X-Actual-Recipient").as_deref().map(address);
    let usable = |a: &Option<String>| a.as_ref().filter(|a| !a.is_empty()).cloned();
    let address = usable(&last).filter(|a| a.contains('@'));
    let address = address
        .or_else(|| usable(&original))
        .or_else(|| usable(&shown))
        .or_else(|| usable(&last))?;
    let status = value("Status").and_then(|v| status_of(&v));
    let action = value("Action").and_then(|v| v.split([' ', '(', ';']).next()?.parse().ok());
    let action = action.unwrap_or(match status.map(|s| s.class) {
        Some(2) => Action::Delivered,
        Some(4) => Action::Delayed,
        _ => Action::Failed,
    });
    let diagnostic = value("Diagnostic-Code").unwrap_or_default();
    let (_, said) = typed(&diagnostic);
    let mut recipient = ReportedRecipient::new(address, action);
    recipient.original = usable(&original);
    recipient.remote_mta = value("Remote-MTA")
        .map(|v| typed(&v).1.to_string())
        .filter(|v| !v.is_empty());
    recipient.diagnostic = one_line(said, limits::DIAGNOSTIC_MAX);
    let found = reply_text::find(&recipient.diagnostic);
    // Also of other types: Postfix quotes replies in `x-postfix`.
    let may_say = |code: &Code| action == Action::Delivered || code.number() >= 400;
    recipient.code = found.and_then(|f| f.code).filter(may_say);
    // `SMTP; 550` is the status of the reply where Status is missing.
    recipient.status = status.or_else(|| found.and_then(|f| f.status));
    recipient.code = recipient
        .code
        .or_else(|| value("X-SMTP-Code").and_then(|v| code_of(&v)));
    let own = sections
        .iter()
        .find(|s| s.address.eq_ignore_ascii_case(&recipient.address));
    let text = match own {
        Some(section) => section.about.as_str(),
        None if sections.is_empty() => text,
        None => "",
    };
    if recipient.diagnostic.is_empty() {
        fill_from_text(&mut recipient, text);
    }
    recipient.judge(text);
    Some(recipient)
}

/// What the text for people quotes, where the status has no diagnostic.
fn fill_from_text(recipient: &mut ReportedRecipient, text: &str) {
    let Some(found) = reply_text::find(text) else {
        return;
    };
    let fits = |class: u16| match recipient.action {
        Action::Failed | Action::Delayed => class >= 4,
        _ => class == 2,
    };
    if found.code.is_some_and(|code| fits(code.number() / 100)) {
        recipient.code = recipient.code.or(found.code);
        let line = text[found.at..].split("\n\n").next().unwrap_or_default();
        recipient.diagnostic = one_line(line, limits::DIAGNOSTIC_MAX);
    }
}

fn code_of(text: &str) -> Option<Code> {
    text.trim().get(..3)?.parse().ok().and_then(Code::new)
}

/// `5.1.1 (text)`, and with spaces or zeros where none should be.
fn status_of(text: &str) -> Option<EnhancedStatus> {
    let word = text.trim().split([' ', '(', ';', '\t']).next()?;
    EnhancedStatus::split(word).map(|(status, _)| status)
}

/// `type; value`. Without a type, all of it is value.
// RFC 3464 2.1.2: every one of these fields has a type before a semicolon.
fn typed(text: &str) -> (&str, &str) {
    match text.split_once(';') {
        Some((kind, value))
            if kind
                .trim()
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-') =>
        {
            (kind.trim(), value.trim())
        }
        _ => ("", text.trim()),
    }
}

/// The address of a typed field, decoded.
fn address(text: &str) -> String {
    let (kind, value) = typed(text);
    let is_utf8 = kind.eq_ignore_ascii_case("utf-8");
    let value = if is_utf8 {
        Cow::Owned(from_unitext(value))
    } else {
        Cow::Borrowed(value)
    };
    let found = addresses::first(&value).unwrap_or_else(|| {
        let bare = value.trim_start_matches('<').trim_end_matches('>');
        Cow::Borrowed(bare.split(' ').next().unwrap_or_default())
    });
    let value = one_line(&found, limits::VALUE_MAX);
    if is_utf8 {
        return value;
    }
    // RFC 3464 2.3.1 has no encoding for rfc822, but ORCPT is copied undecoded by some; `+` alone is a common separator.
    if !value.contains('+') || !has_hexchar(&value) {
        return value;
    }
    let decoded = from_xtext(&value).and_then(|octets| String::from_utf8(octets).ok());
    decoded
        .filter(|d| !d.chars().any(char::is_control))
        .unwrap_or(value)
}

/// `+2B` or `+3D`: the two that only xtext can mean, and not a detail after `+`.
fn has_hexchar(text: &str) -> bool {
    text.contains("+2B") || text.contains("+3D")
}

/// A value in one line, encoded words decoded, bounded.
fn field_text(field: &HeaderField<'_>) -> String {
    let value = field.value;
    let value = &value[..value.len().min(2 * limits::DIAGNOSTIC_MAX)];
    let value = spaced(value);
    // RFC 1468: without a label, in a field that should be ASCII.
    if memchr::memmem::find(&value, b"\x1b$B").is_some() {
        return one_line(
            &charset::to_utf8(b"iso-2022-jp", &value),
            limits::DIAGNOSTIC_MAX,
        );
    }
    one_line(
        &message::encoded_word::decode_text(&value),
        limits::DIAGNOSTIC_MAX,
    )
}

/// Line ends as spaces: some fold within words' reach, without white space to spare.
fn spaced(value: &[u8]) -> Vec<u8> {
    value
        .iter()
        .map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b })
        .collect()
}
