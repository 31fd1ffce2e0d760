//! The first part of a report, for people: what happened to which recipient, what the other server said, and what to do now.
//! RFC 3464 2 (1): readable without knowing anything of the other parts.
//! Not here: the words for each reason (`class.rs`).

use message::{Header, MessageDate};

use super::{Charset, Diagnostic, Outcome, Piece, Report, Way, clean};
use crate::action::Action;
use crate::limits;

/// The part.
pub(super) fn part(report: &Report<'_>, outcomes: &[Outcome<'_>]) -> Piece {
    let mut text = Text(String::new());
    text.paragraph(&introduction(report, outcomes));
    if let Some(subject) = subject(report) {
        text.line("Its subject:");
        text.quoted(&subject);
        text.empty();
    }
    for outcome in outcomes.iter().take(DETAILED_MAX) {
        describe(&mut text, outcome);
    }
    if let Some(more) = outcomes
        .len()
        .checked_sub(DETAILED_MAX)
        .filter(|more| *more > 0)
    {
        text.paragraph(&format!(
            "{more} more recipients are named in the second part of this report."
        ));
    }
    text.paragraph(&format!(
        "This report was written by the mail server {}. Nobody reads answers to it.",
        report.reporting_mta
    ));
    encode(text.0, report.way)
}

/// The subject of the original, so that people know which message it is.
fn subject(report: &Report<'_>) -> Option<String> {
    let header = report.original.header;
    let header = &header[..header.len().min(limits::RETURNED_HEADER_MAX)];
    let text = Header::of_section(header).first("Subject")?.text();
    let text: String = text.chars().take(limits::WORD_MAX).collect();
    (!text.trim().is_empty()).then_some(text)
}

fn introduction(report: &Report<'_>, outcomes: &[Outcome<'_>]) -> String {
    let when = report.arrival.map_or(String::new(), |date| {
        format!(" that we received on {}", readable(date))
    });
    let one = outcomes.len() == 1;
    let (all, any) = (
        |action| outcomes.iter().all(|o| o.action == action),
        |action| outcomes.iter().any(|o| o.action == action),
    );
    let whom = if one {
        "the recipient below"
    } else {
        "the recipients below"
    };
    if all(Action::Failed) {
        format!("Your message{when} could not be delivered to {whom}. We have given up.")
    } else if all(Action::Delayed) {
        format!(
            "Your message{when} has not been delivered to {whom} yet. We go on trying; you need not send it again."
        )
    } else if any(Action::Failed) || any(Action::Delayed) {
        format!("Your message{when} could not be delivered to everybody. This is what happened:")
    } else {
        format!("You asked to be told what becomes of your message{when}. This is what happened:")
    }
}

fn describe(text: &mut Text, outcome: &Outcome<'_>) {
    text.line(&format!(
        "To: {}",
        clean(&outcome.recipient.to_string(), Charset::Utf8)
    ));
    if let Some(original) = outcome
        .original
        .filter(|o| o.address() != outcome.recipient.to_string())
    {
        text.indented(&format!(
            "(you wrote to {})",
            clean(original.address(), Charset::Utf8)
        ));
    }
    match outcome.action {
        Action::Failed | Action::Delayed => describe_trouble(text, outcome),
        Action::Delivered => text.indented("The message was delivered."),
        Action::Relayed => text.indented(
            "The message was handed to the next server, which will not report whether it arrives.",
        ),
        Action::Expanded => text.indented(
            "The message was delivered to a list or group, and passed on to its members.",
        ),
    }
    text.empty();
}

fn describe_trouble(text: &mut Text, outcome: &Outcome<'_>) {
    let class = outcome.bounce().class;
    text.indented(class.description());
    match outcome.diagnostic {
        Some(Diagnostic::Reply(reply)) => {
            let host = outcome
                .remote
                .map_or("The other server", |remote| remote.name);
            text.indented(&format!("{} said:", clean(host, Charset::Utf8)));
            text.quoted(&reply.to_string());
        }
        Some(Diagnostic::Own(own)) => {
            text.indented("What we found:");
            text.quoted(own);
        }
        None => {}
    }
    if outcome.action == Action::Delayed {
        match outcome.retry_until {
            Some(date) => text.indented(&format!(
                "We go on trying until {}. If it has not arrived by then, we will tell you.",
                readable(date)
            )),
            None => text.indented("We go on trying."),
        }
    } else {
        text.indented(class.advice());
    }
}

/// Lines of at most [`limits::TEXT_COLUMNS_MAX`] columns, with CRLF.
struct Text(String);

impl Text {
    fn paragraph(&mut self, text: &str) {
        self.wrapped("", text);
        self.empty();
    }

    fn line(&mut self, text: &str) {
        self.wrapped("", text);
    }

    fn indented(&mut self, text: &str) {
        self.wrapped("    ", text);
    }

    /// Text of a stranger: it cannot pass for ours.
    fn quoted(&mut self, text: &str) {
        self.wrapped("    > ", &clean(text, Charset::Utf8));
    }

    fn empty(&mut self) {
        self.0.push_str("\r\n");
    }

    fn wrapped(&mut self, prefix: &str, text: &str) {
        let mut columns = 0;
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let width = word.chars().count();
            if columns > 0 && columns + 1 + width > limits::TEXT_COLUMNS_MAX {
                self.0.push_str("\r\n");
                columns = 0;
            }
            let (lead, added) = if columns == 0 {
                (prefix, prefix.len())
            } else {
                (" ", 1)
            };
            self.0.push_str(lead);
            self.0.push_str(word);
            columns += added + width;
        }
        self.0.push_str("\r\n");
    }
}

/// `26 Nov 2026, 14:05 (UTC+01:00)`.
fn readable(date: MessageDate) -> String {
    // RFC 5322 3.3: `Thu, 26 Nov 2026 14:05:00 +0100`.
    let text = date.to_string();
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        [_, day, month, year, time, zone] => {
            let (hour, minute) = zone.split_at(3);
            let zone = if *zone == "+0000" {
                "UTC".into()
            } else {
                format!("UTC{hour}:{minute}")
            };
            format!("{day} {month} {year}, {} ({zone})", &time[..5])
        }
        _ => text,
    }
}

/// RFC 2045 6: 7bit where it is ASCII, else 8bit or base64, by what the way carries.
fn encode(text: String, way: Way) -> Piece {
    let (charset, encoding) = match (text.is_ascii(), way) {
        (true, _) => ("us-ascii", "7bit"),
        (false, Way::SevenBit) => ("utf-8", "base64"),
        (false, _) => ("utf-8", "8bit"),
    };
    let body = match encoding {
        "base64" => super::original::base64(text.as_bytes()),
        _ => text.into_bytes(),
    };
    let fields = format!(
        "Content-Type: text/plain; charset={charset}\r\nContent-Description: What happened\r\nContent-Transfer-Encoding: {encoding}\r\n"
    );
    Piece::new(fields, body)
}

/// Recipients that are described one by one; who writes to more has programs to read the second part.
const DETAILED_MAX: usize = 100;
