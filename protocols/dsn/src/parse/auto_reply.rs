//! Automatic replies of people and programs that are no bounces: out of office, "we have received your request".
//! RFC 3834 5 (Auto-Submitted), the fields that others used before it, and subjects.
//! Not here: whether to answer a message automatically.

use message::Header;

use super::phrases::{self, Use};
use super::{Form, Incoming, Kind, pattern};

/// A reply that a program wrote, unless it is a mail system's.
pub(super) fn read(header: Header<'_>) -> Option<Incoming> {
    if pattern::is_from_daemon(header) || header.first("X-Failed-Recipients").is_some() {
        return None;
    }
    let form = if is_auto_replied(header) {
        Form::Standard
    } else if has_other_sign(header) {
        Form::Pattern
    } else {
        return None;
    };
    Some(Incoming::new(Kind::AutoReply, form))
}

// RFC 3834 5: auto-submitted-field = "Auto-Submitted:" "no" / "auto-generated" / "auto-replied" *(";" parameter)
fn is_auto_replied(header: Header<'_>) -> bool {
    let Some(field) = header.first("Auto-Submitted") else {
        return false;
    };
    let value = field.text().to_ascii_lowercase();
    match value.split([';', ' ', '(']).next() {
        Some("auto-replied") => true,
        // RFC 3834 5: not an answer; but Exchange marks its answers so, and they name what they answer.
        Some("auto-generated") => header.first("In-Reply-To").is_some(),
        _ => false,
    }
}

fn has_other_sign(header: Header<'_>) -> bool {
    let fields = [
        "X-Autoreply",
        "X-Autorespond",
        "X-Autoreply-From",
        "X-Autoresponder",
        // Exchange: a rule of the recipient answered.
        "X-MS-Exchange-Inbox-Rules-Loop",
    ];
    let precedence = header
        .first("Precedence")
        .map(|f| f.text().to_ascii_lowercase());
    fields.iter().any(|name| header.first(name).is_some())
        || matches!(precedence.as_deref(), Some("auto_reply" | "auto-reply"))
        || header.first("Subject").is_some_and(|subject| {
            phrases::starts(Use::AutoReplySubject, &subject.text().to_lowercase())
        })
}
