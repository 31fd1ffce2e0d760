//! Why a recipient waits, in words, and until when at least: the one answer that CLI and programs show. Pure: times are arguments.

use std::borrow::Cow;

use message::MessageDate;

use super::rows::{Attempt, MessageRow, RecipientRow, State};

/// Why a line does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// In words.
    pub words: Cow<'static, str>,
    /// Nothing goes there before this, seconds since 1970; none: that is not known.
    pub until: Option<i64>,
}

impl Pause {
    /// One that says nothing of its end.
    pub fn because(words: impl Into<Cow<'static, str>>) -> Pause {
        Pause {
            words: words.into(),
            until: None,
        }
    }
}

/// How a recipient stands, for whoever shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Why it is where it is.
    pub why: String,
    /// When it is tried next at the earliest, seconds since 1970.
    pub next: i64,
    /// Somebody works on it: what was done by hand meanwhile may be too late.
    pub is_under_way: bool,
}

/// What is known of a recipient beside its row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// Somebody works on it.
    pub is_under_way: bool,
    /// How far that is.
    pub phase: Option<&'a str>,
    /// Why the line that it stands in does not move.
    pub pause: Option<&'a Pause>,
}

/// Why a recipient is where it is.
pub fn reason(message: &MessageRow, row: &RecipientRow, beside: Beside<'_>, now: i64) -> String {
    let attempt = match beside.phase {
        Some(phase) => format!("an attempt is under way: {phase}"),
        None => "an attempt is under way".to_owned(),
    };
    let under_way = match beside.is_under_way {
        true => format!("; {attempt}"),
        false => String::new(),
    };
    match row.state {
        State::Held => {
            let by = row.held_by.as_ref().map_or("by hand", |by| &by.words);
            format!("held {by}{under_way}")
        }
        State::Waiting if beside.is_under_way => attempt,
        State::Waiting => waiting(message, row, beside.pause, now),
        State::Delivered => match row.history.last() {
            Some(last) => format!("delivered: {}", told(last)),
            None => "delivered".into(),
        },
        State::Dropped => format!("dropped by hand{under_way}"),
        State::Failed => {
            let why = match (&row.given_up, row.history.last()) {
                (Some(why), _) => why.clone(),
                (None, Some(last)) => told(last),
                (None, None) => "its time was over".into(),
            };
            let owed = match row.owes {
                Some(_) => "; its sender has still to be told",
                None => "",
            };
            format!("given up: {why}{owed}{under_way}")
        }
    }
}

/// When a recipient is tried next at the earliest: at its time, and not before its line moves.
pub fn next(row: &RecipientRow, beside: Beside<'_>) -> i64 {
    let pause = beside.pause.filter(|_| !beside.is_under_way);
    match row.state {
        State::Waiting => row
            .next
            .max(pause.and_then(|pause| pause.until).unwrap_or(0)),
        _ => row.next,
    }
}

/// Each change of how long it is tried puts it off by a second.
fn is_as_asked(message: &MessageRow, row: &RecipientRow) -> bool {
    (0..60).contains(&(row.next - message.not_before))
}

fn waiting(message: &MessageRow, row: &RecipientRow, pause: Option<&Pause>, now: i64) -> String {
    let last = row.history.last().map(|last| {
        let at = MessageDate::utc(last.at);
        format!("the last attempt, {at}: {}", told(last))
    });
    let next = MessageDate::utc(row.next);
    let is_later = row.next > now;
    // When it is due its line may be left alone still.
    if is_later
        && let Some(pause) = pause
        && let Some(until) = pause.until.filter(|until| *until > row.next)
    {
        let last = last.map_or_else(String::new, |last| format!("; {last}"));
        let until = MessageDate::utc(until);
        return format!("{}{last}; next attempt {until}", pause.words);
    }
    let pause = pause.map(|pause| pause.words.as_ref());
    match last {
        Some(last) if is_later => format!("{last}; next attempt {next}"),
        Some(last) => format!("{}; {last}", pause.unwrap_or("due, waits for its turn")),
        // RFC 4865.
        None if is_later && is_as_asked(message, row) => {
            let asked = MessageDate::utc(message.not_before);
            format!("not before {asked}, as its sender asked")
        }
        None if is_later => format!("put off by hand until {next}"),
        None => pause.unwrap_or("new, waits for its turn").into(),
    }
}

/// What came of an attempt.
fn told(attempt: &Attempt) -> String {
    let mut words = Vec::new();
    if attempt.code > 0 {
        words.push(attempt.code.to_string());
    }
    if let Some((class, subject, detail)) = attempt.enhanced {
        words.push(format!("{class}.{subject}.{detail}"));
    }
    // A server's words: without control characters when they were stored. Of a report they begin with the code.
    let mut text = attempt.text.as_str();
    for word in &words {
        text = text
            .strip_prefix(word.as_str())
            .unwrap_or(text)
            .trim_start_matches([' ', '-']);
    }
    if !text.is_empty() {
        words.push(text.to_owned());
    }
    if !attempt.remote.is_empty() {
        words.push(format!("({})", attempt.remote));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::rows::{HeldBy, Notice, Owed, Recipient};

    fn message() -> MessageRow {
        MessageRow {
            size: 1,
            prefix_length: 0,
            account: "anna".into(),
            reverse_path: "anna@example.org".into(),
            message_id: String::new(),
            smtputf8: false,
            eight_bit: false,
            binary: false,
            accepted: 1_000,
            not_before: 5_000,
            expires: 5 * 86_400,
            require_tls: None,
            ret: None,
            envid: None,
            recipients: vec![Recipient::new("a@one.example")],
            held_for: None,
            unique_mail_from: None,
            extra: Default::default(),
            batch: None,
        }
    }

    fn tried(row: &mut RecipientRow) {
        row.record(Attempt {
            at: 1_000,
            took_ms: 1,
            remote: "mx.one.example".into(),
            code: 451,
            enhanced: Some((4, 7, 1)),
            text: "come later".into(),
            stage: None,
        });
        row.attempts += 1;
    }

    #[test]
    fn a_code_is_said_once() {
        let mut row = RecipientRow::fresh(&message());
        tried(&mut row);
        for text in ["come later", "451 4.7.1 come later", "451-4.7.1 come later"] {
            row.history[0].text = text.into();
            assert_eq!(
                told(&row.history[0]),
                "451 4.7.1 come later (mx.one.example)"
            );
        }
    }

    #[test]
    fn there_is_a_reason_for_each_state() {
        let message = message();
        let fresh = RecipientRow::fresh(&message);
        let why = |row: &RecipientRow, now| reason(&message, row, Beside::default(), now);
        assert_eq!(
            why(&fresh, 1_000),
            "not before Thu, 1 Jan 1970 01:23:20 +0000, as its sender asked"
        );
        assert_eq!(why(&fresh, 5_000), "new, waits for its turn");
        let mut row = fresh.clone();
        row.next = 9_000;
        assert_eq!(
            why(&row, 5_000),
            "put off by hand until Thu, 1 Jan 1970 02:30:00 +0000"
        );
        tried(&mut row);
        assert_eq!(
            why(&row, 5_000),
            "the last attempt, Thu, 1 Jan 1970 00:16:40 +0000: 451 4.7.1 come later (mx.one.example); next attempt Thu, 1 Jan 1970 02:30:00 +0000"
        );
        assert!(why(&row, 9_000).starts_with("due, waits for its turn; the last attempt"));
        let mut pause = Pause::because("one.example takes no connections");
        let paused = Beside {
            is_under_way: false,
            phase: None,
            pause: Some(&pause),
        };
        assert!(
            reason(&message, &row, paused, 9_000)
                .starts_with("one.example takes no connections; the last attempt")
        );
        assert!(!reason(&message, &row, paused, 5_000).contains("no connections"));
        // It is tried when both are over.
        for (until, next) in [(8_000, None), (9_000, None), (9_060, Some("02:31:00"))] {
            pause.until = Some(until);
            let paused = Beside {
                is_under_way: false,
                phase: None,
                pause: Some(&pause),
            };
            let said = reason(&message, &row, paused, 5_000);
            assert_eq!(super::next(&row, paused), until.max(9_000));
            let Some(next) = next else {
                assert_eq!(said, why(&row, 5_000), "{until}");
                continue;
            };
            assert!(
                said.starts_with("one.example takes no connections; the last attempt"),
                "{said}"
            );
            let end = format!("; next attempt Thu, 1 Jan 1970 {next} +0000");
            assert!(said.ends_with(&end), "{said}");
        }
        let sent = Beside {
            is_under_way: true,
            phase: None,
            pause: None,
        };
        assert_eq!(reason(&message, &row, sent, 1), "an attempt is under way");
        assert_eq!(super::next(&row, sent), 9_000);
        let connects = Beside {
            phase: Some("connects to mx.one.example"),
            ..sent
        };
        assert_eq!(
            reason(&message, &row, connects, 1),
            "an attempt is under way: connects to mx.one.example"
        );
        row.state = State::Held;
        assert_eq!(why(&row, 1), "held by hand");
        row.held_by = Some(HeldBy {
            rule: Some(3),
            words: "by hold rule 3 (account anna)".into(),
        });
        assert_eq!(why(&row, 1), "held by hold rule 3 (account anna)");
        assert_eq!(
            reason(&message, &row, sent, 1),
            "held by hold rule 3 (account anna); an attempt is under way"
        );
        row.state = State::Failed;
        row.owes = Some(Owed {
            notice: Notice::Failed,
            group: 0,
        });
        assert_eq!(
            why(&row, 1),
            "given up: 451 4.7.1 come later (mx.one.example); its sender has still to be told"
        );
        row.given_up = Some("by hand: spam".into());
        row.owes = None;
        assert_eq!(why(&row, 1), "given up: by hand: spam");
    }
}
