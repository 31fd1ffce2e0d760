//! Whether a report is due.
//! Called by the queue and before a report is composed.
//! RFC 3461 5.2 (when to report).
//! Not here: the parameters and what they say (`smtp`), what a report says (`compose`).

use smtp::{Notify, ReversePath};

use crate::action::Action;

/// Whether the sender is to be told that this happened to a recipient.
pub fn is_report_due(notify: Option<Notify>, reverse_path: &ReversePath, action: Action) -> bool {
    // RFC 3461 5.2 and RFC 5321 4.5.5: no report about a report, whatever NOTIFY says.
    if *reverse_path == ReversePath::Null {
        return false;
    }
    let (on_success, on_failure, on_delay) = match notify {
        Some(Notify::Never) => return false,
        Some(Notify::On {
            success,
            failure,
            delay,
        }) => (success, failure, delay),
        // RFC 3461 4.1: absence may be read as FAILURE or as FAILURE,DELAY. We tell of delays, for most senders cannot ask.
        None => (false, true, true),
    };
    match action {
        Action::Failed => on_failure,
        Action::Delayed => on_delay,
        // RFC 3461 5.2.2, 5.2.7.3: `relayed` and `expanded` are what SUCCESS asks for.
        Action::Delivered | Action::Relayed | Action::Expanded => on_success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(words: &str) -> Notify {
        words.parse().unwrap()
    }

    #[test]
    fn when_to_report() {
        let sender = "<a@example.org>".parse().unwrap();
        let due = |notify, action| is_report_due(notify, &sender, action);
        assert!(due(None, Action::Failed) && due(None, Action::Delayed));
        assert!(!due(None, Action::Delivered));
        assert!(!due(Some(Notify::Never), Action::Failed));
        assert!(!due(Some(on("SUCCESS")), Action::Failed));
        assert!(due(Some(on("SUCCESS")), Action::Relayed));
        assert!(due(Some(on("DELAY")), Action::Delayed));
        assert!(!due(Some(on("FAILURE")), Action::Delayed));
        let everything = Some(on("SUCCESS,FAILURE,DELAY"));
        assert!(!is_report_due(
            everything,
            &ReversePath::Null,
            Action::Failed
        ));
    }
}
