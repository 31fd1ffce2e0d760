//! Complaints: message/feedback-report, and Hotmail's that have none.
//! RFC 5965 3 (fields), 2 (structure); RFC 6430 (not-spam), RFC 6591 (auth-failure).
//! Not here: what to do about them. They never suppress by themselves, but a sender should not write to that recipient again.

use message::Header;

use super::parts::Parts;
use super::{Form, Incoming, Kind, ReportedRecipient, Returned, addresses, one_line};
use crate::action::Action;
use crate::limits;

/// What a complaint says besides the recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// `abuse`, `fraud`, `virus`, `not-spam`, `opt-out`, `auth-failure`...; in lower case.
    pub feedback_type: String,
    /// The program that reports.
    pub user_agent: Option<String>,
    /// The address the original came from, without a port.
    pub source_ip: Option<String>,
    /// The reverse-path of the original.
    pub original_mail_from: Option<String>,
    /// When the original was received, as written.
    pub arrival_date: Option<String>,
    /// Domains it is about.
    pub reported_domains: Vec<String>,
}

impl Complaint {
    /// True if the recipient does not want the mail. Reports of failed authentication (RFC 6591) come in the same form but speak for nobody,
    /// and `not-spam` (RFC 6430) says the opposite.
    pub fn is_unwanted(&self) -> bool {
        !matches!(
            self.feedback_type.as_str(),
            "auth-failure" | "not-spam" | "dmarc"
        )
    }
}

/// A complaint, if it is one.
pub(super) fn read(header: Header<'_>, parts: &Parts) -> Option<Incoming> {
    match &parts.feedback {
        Some(fields) => Some(of_fields(fields, parts)),
        None => in_text(parts).or_else(|| hotmail(header, parts)),
    }
}

/// Fields that stand in a text, because the part has no type of its own.
fn in_text(parts: &Parts) -> Option<Incoming> {
    let lower = parts.text.to_ascii_lowercase();
    let at = match lower.starts_with("feedback-type:") {
        true => 0,
        false => lower.find("\nfeedback-type:")? + 1,
    };
    // All fields of the block, also those before it.
    let start = lower[..at].rfind("\n\n").map_or(0, |end| end + 2);
    let is_report = parts.report_type.as_deref() == Some("feedback-report")
        || lower[start..].contains("\nuser-agent:")
        || lower[start..].starts_with("user-agent:");
    is_report.then(|| of_fields(&parts.text.as_bytes()[start..], parts))
}

fn of_fields(octets: &[u8], parts: &Parts) -> Incoming {
    // Some begin with an empty line.
    let fields = Header::of_section(octets.trim_ascii_start());
    let value = |name: &str| {
        fields
            .first(name)
            .map(|f| one_line(&f.text(), limits::VALUE_MAX))
    };
    let mut incoming = Incoming::new(Kind::Complaint, Form::Standard);
    incoming.envelope_id = value("Original-Envelope-Id");
    incoming.reporting_mta = value("Reporting-MTA").map(|v| match v.split_once(';') {
        Some((_, host)) => host.trim().to_string(),
        None => v,
    });
    incoming.complaint = Some(Complaint {
        // RFC 5965 3.1: it is required; what has none is abuse, the default meaning of a complaint.
        feedback_type: value("Feedback-Type")
            .unwrap_or_else(|| "abuse".into())
            .to_ascii_lowercase(),
        user_agent: value("User-Agent"),
        source_ip: value("Source-IP"),
        original_mail_from: value("Original-Mail-From")
            .as_deref()
            .and_then(addresses::first)
            .map(String::from),
        arrival_date: value("Arrival-Date").or_else(|| value("Received-Date")),
        reported_domains: fields
            .all("Reported-Domain")
            .take(limits::RECIPIENTS_MAX)
            .map(|f| one_line(&f.text(), limits::VALUE_MAX))
            .collect(),
    });
    // RFC 5965 3.2: Original-Rcpt-To may be there several times, and is often redacted.
    let named = fields
        .all("Original-Rcpt-To")
        .chain(fields.all("Removal-Recipient"));
    for field in named.take(limits::RECIPIENTS_MAX) {
        let text = field.text();
        push(&mut incoming, addresses::first(&text).map(String::from));
    }
    fill_recipient(&mut incoming, parts);
    incoming
}

/// Hotmail's: multipart/mixed with the message, from staff@hotmail.com, in a form of its own.
fn hotmail(header: Header<'_>, parts: &Parts) -> Option<Incoming> {
    let subject = header.first("Subject")?.text().to_lowercase();
    let from = header.first("From")?.text().to_lowercase();
    if !subject.trim().starts_with("complaint about message from")
        || !from.contains("staff@hotmail.com")
    {
        return None;
    }
    let mut incoming = Incoming::new(Kind::Complaint, Form::Pattern);
    let source_ip = subject
        .rsplit(' ')
        .next()
        .map(|word| one_line(word, limits::VALUE_MAX));
    incoming.complaint = Some(Complaint {
        feedback_type: "abuse".into(),
        source_ip,
        ..Complaint::default()
    });
    fill_recipient(&mut incoming, parts);
    Some(incoming)
}

/// Where no recipient is named, the header of the original may have one.
fn fill_recipient(incoming: &mut Incoming, parts: &Parts) {
    incoming.returned = parts.returned.clone().and_then(Returned::new);
    if !incoming.recipients.is_empty() {
        return;
    }
    let names = [
        "X-HmXmrOriginalRecipient",
        "X-Apparently-To",
        "Delivered-To",
        "To",
    ];
    let found = incoming.returned.as_ref().and_then(|returned| {
        let fields = names.iter().filter_map(|name| returned.field(name));
        fields
            .filter_map(|text| addresses::first(&text).map(String::from))
            .next()
    });
    push(incoming, found);
}

fn push(incoming: &mut Incoming, address: Option<String>) {
    let known = |address: &String| incoming.recipients.iter().any(|r| r.address == *address);
    if let Some(address) = address.filter(|a| !known(a)) {
        // It was delivered: that is what is complained about.
        incoming
            .recipients
            .push(ReportedRecipient::new(address, Action::Delivered));
    }
}
