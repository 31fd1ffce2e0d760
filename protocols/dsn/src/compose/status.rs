//! The second part of a report, for programs: message/delivery-status, or its UTF-8 form.
//! RFC 3464 2.2 and 2.3 (fields), RFC 6533 3 and 4.1 (UTF-8 addresses; global-delivery-status), RFC 4865 5.1 (Future-Release-Request).
//! Not here: words for people (`text.rs`).

use message::compose::FieldWriter;
use smtp::xtext::unitext;
use smtp::{Address, OriginalRecipient};

use super::{Charset, Diagnostic, Outcome, Piece, RemoteMta, Report, Way, clean};
use crate::action::Action;

/// The part.
pub(super) fn part(report: &Report<'_>, outcomes: &[Outcome<'_>]) -> Piece {
    let charset = match report.way {
        Way::Utf8 if outcomes.iter().any(is_internationalized) => Charset::Utf8,
        _ => Charset::Ascii,
    };
    let writer = Writer { charset };
    let mut body = writer.message(report);
    for outcome in outcomes {
        body += "\r\n";
        body += &writer.recipient(outcome);
    }
    let (kind, encoding) = match charset {
        Charset::Ascii => ("message/delivery-status", "7bit"),
        // RFC 6533 4.1.
        Charset::Utf8 => ("message/global-delivery-status", "8bit"),
    };
    let fields = format!(
        "Content-Type: {kind}\r\nContent-Description: Status for programs\r\nContent-Transfer-Encoding: {encoding}\r\n"
    );
    Piece::new(fields, body.into_bytes())
}

fn is_internationalized(outcome: &Outcome<'_>) -> bool {
    outcome.recipient.needs_smtputf8()
        || outcome
            .original
            .is_some_and(OriginalRecipient::is_internationalized)
}

struct Writer {
    charset: Charset,
}

impl Writer {
    /// RFC 3464 2.2: the fields of the message.
    fn message(&self, report: &Report<'_>) -> String {
        let mut fields = String::new();
        if let Some(id) = report.envelope_id {
            // RFC 3461 6.3: the id itself, not its xtext.
            fields += &self.field("Original-Envelope-Id", id.as_str());
        }
        fields += &self.field("Reporting-MTA", &format!("dns; {}", report.reporting_mta));
        if let Some(host) = report.received_from {
            fields += &self.field("Received-From-MTA", &format!("dns; {host}"));
        }
        if let Some(arrival) = report.arrival {
            fields += &self.field("Arrival-Date", &arrival.to_string());
        }
        if let Some(asked) = report.future_release {
            fields += &self.field("Future-Release-Request", asked);
        }
        fields
    }

    /// RFC 3464 2.3: those of one recipient.
    fn recipient(&self, outcome: &Outcome<'_>) -> String {
        let mut fields = String::new();
        if let Some(original) = outcome.original {
            fields += &self.field("Original-Recipient", &self.original(original));
        }
        fields += &self.field("Final-Recipient", &self.address(outcome.recipient));
        fields += &self.field("Action", outcome.action.as_str());
        fields += &self.field("Status", &outcome.status.to_string());
        if let Some(remote) = &outcome.remote {
            fields += &self.field("Remote-MTA", &mta(remote));
        }
        if let Some(diagnostic) = &outcome.diagnostic {
            fields += &self.field("Diagnostic-Code", &diagnostic_code(diagnostic));
        }
        if let Some(date) = outcome.last_attempt {
            fields += &self.field("Last-Attempt-Date", &date.to_string());
        }
        if let Some(id) = outcome.log_id {
            fields += &self.field("Final-Log-ID", id);
        }
        // RFC 3464 2.3.9: only of delayed recipients.
        if let Some(date) = outcome
            .retry_until
            .filter(|_| outcome.action == Action::Delayed)
        {
            fields += &self.field("Will-Retry-Until", &date.to_string());
        }
        fields
    }

    /// A field, folded between words; nothing from outside can begin a line of its own.
    fn field(&self, name: &str, value: &str) -> String {
        let mut field = FieldWriter::new(name);
        field.words(&clean(value, self.charset));
        field.end()
    }

    /// RFC 6533 3: in 7 bits an address in UTF-8 is written with `\x{..}`, in the UTF-8 form as it is.
    fn address(&self, address: &Address) -> String {
        let text = address.to_string();
        match (text.is_ascii(), self.charset) {
            (true, _) => format!("rfc822; {text}"),
            (false, Charset::Ascii) => format!("utf-8; {}", unitext(&text)),
            (false, Charset::Utf8) => format!("utf-8; {text}"),
        }
    }

    // RFC 3461 6.3: the address and its type as they came with ORCPT, without the xtext.
    fn original(&self, original: &OriginalRecipient) -> String {
        let address = match (original.address_type(), self.charset) {
            ("utf-8", Charset::Ascii) => unitext(original.address()),
            _ => original.address().to_string(),
        };
        format!("{}; {address}", original.address_type())
    }
}

/// RFC 3464 2.1.1: comments may stand in these fields; many put the address there.
fn mta(remote: &RemoteMta<'_>) -> String {
    match remote.address {
        Some(address) => format!("dns; {} ({})", remote.name, address.to_canonical()),
        None => format!("dns; {}", remote.name),
    }
}

/// RFC 3464 2.3.6: a type, and text. `smtp` is only for what a server replied.
fn diagnostic_code(diagnostic: &Diagnostic<'_>) -> String {
    match diagnostic {
        Diagnostic::Reply(reply) => format!("smtp; {reply}"),
        Diagnostic::Own(text) => format!("x-ringmail; {text}"),
    }
}
