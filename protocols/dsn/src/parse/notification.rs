//! Amazon's notifications of bounces in mail: JSON, sent through their topics to subscribers by mail.
//! Only the strings that matter are looked for; this is no reader of JSON. The text is untrusted, one pass for each name.
//! Not here: their HTTP form.

use message::Header;

use super::parts::Parts;
use super::{Form, Incoming, Kind, ReportedRecipient, one_line, reply_text};
use crate::action::Action;
use crate::limits;

/// A notification, if it is one.
pub(super) fn read(header: Header<'_>, parts: &Parts) -> Option<Incoming> {
    let from = header.first("From")?.text().to_lowercase();
    if !from.contains("sns.amazonaws.com") {
        return None;
    }
    // Long lines were folded with "!" in transit.
    let text = parts.text.replace("!\n ", "");
    // The notification is a string in another one, when the topic sends JSON.
    let text = text.replace("\\\"", "\"");
    let kind = string(&text, "notificationType")
        .or_else(|| string(&text, "eventType"))?
        .0;
    let action = match kind.as_str() {
        "Bounce" => Action::Failed,
        "Complaint" | "Delivery" => Action::Delivered,
        _ => return None,
    };
    let recipients = match kind.as_str() {
        "Delivery" => first_of_array(&text, "recipients")
            .into_iter()
            .collect::<Vec<_>>(),
        _ => all_strings(&text, "emailAddress"),
    };
    let status = string(&text, "status").map(|s| s.0);
    let diagnostic = string(&text, "diagnosticCode").or_else(|| string(&text, "smtpResponse"));
    let diagnostic = diagnostic.map(|d| d.0).unwrap_or_default();
    let said = diagnostic.strip_prefix("smtp; ").unwrap_or(&diagnostic);
    let one = |address: String| {
        let mut recipient = ReportedRecipient::new(address, action);
        recipient.diagnostic = one_line(said, limits::DIAGNOSTIC_MAX);
        let found = reply_text::find(&recipient.diagnostic);
        recipient.code = found.and_then(|f| f.code);
        let status = status
            .as_deref()
            .and_then(|s| smtp::EnhancedStatus::split(s))
            .map(|s| s.0);
        recipient.status = status.or_else(|| found.and_then(|f| f.status));
        recipient.judge("");
        recipient
    };
    let recipients = recipients
        .into_iter()
        .filter(|address| !address.is_empty())
        .take(limits::RECIPIENTS_MAX)
        .map(one)
        .collect();
    let mut incoming = Incoming::of_recipients(recipients, Form::Pattern);
    if kind == "Complaint" {
        incoming.kind = Kind::Complaint;
        incoming.complaint = Some(super::Complaint {
            feedback_type: string(&text, "complaintFeedbackType")
                .map_or("abuse".into(), |s| s.0.to_ascii_lowercase()),
            ..Default::default()
        });
    }
    incoming.reporting_mta = string(&text, "reportingMTA")
        .map(|s| s.0.rsplit("; ").next().unwrap_or_default().to_string());
    Some(incoming)
}

/// The string after `"name":`, and what follows it.
fn string<'t>(text: &'t str, name: &str) -> Option<(String, &'t str)> {
    quoted(after(text, name)?.strip_prefix('"')?)
}

/// What stands after `"name":`.
fn after<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let key = format!("\"{name}\"");
    let rest = &text[text.find(&key)? + key.len()..];
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// A string up to its closing quote.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = rest.char_indices().take(limits::DIAGNOSTIC_MAX);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &rest[at + 1..])),
            // Escapes other than of quotes stand for white space or letters that none of these strings needs.
            '\\' => value.extend(letters.next().map(|(_, escaped)| match escaped {
                '"' | '\\' | '/' => escaped,
                _ => ' ',
            })),
            _ => value.push(letter),
        }
    }
    None
}

fn all_strings(text: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((value, after)) =
        string(rest, name).filter(|_| found.len() < limits::RECIPIENTS_MAX)
    {
        found.push(one_line(&value, limits::VALUE_MAX));
        rest = after;
    }
    found
}

fn first_of_array(text: &str, name: &str) -> Option<String> {
    let rest = after(text, name)?
        .strip_prefix('[')?
        .trim_start()
        .strip_prefix('"')?;
    quoted(rest).map(|(value, _)| one_line(&value, limits::VALUE_MAX))
}
