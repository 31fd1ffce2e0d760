//! Which lines of a text for people name a recipient, and what the text says of each.
//! Called by `pattern.rs` and, for reports whose status says too little, by `status.rs`. The text is untrusted; lines and recipients are bounded.
//! Not here: which of them are the sender's own addresses (`pattern.rs`).

use super::addresses;
use super::phrases::{self, Use};
use crate::limits;

/// A recipient and what the text says of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    pub address: String,
    /// Lines; an empty one where the text comes back to the recipient.
    pub about: String,
}

/// The recipients that lines name, in their order, each once.
pub(super) fn of(text: &str) -> Vec<Section> {
    let mut found: Vec<Section> = Vec::new();
    let mut current: Option<usize> = None;
    let mut line_before = String::new();
    // Lines of the paragraph before it names anybody: they are about the first that it names.
    let mut ahead: Option<Vec<&str>> = Some(Vec::new());
    for line in text.lines().take(limits::TEXT_LINES_MAX) {
        if line.trim().is_empty() {
            give(&mut found, current, ahead.replace(Vec::new()));
            continue;
        }
        let Some(named) = recipient_of(line, &line_before) else {
            match &mut ahead {
                Some(lines) => lines.push(line),
                None => give(&mut found, current, Some(vec![line])),
            }
            line_before = plain(line);
            continue;
        };
        let known = found
            .iter()
            .position(|s| s.address.eq_ignore_ascii_case(named.address));
        match known {
            Some(at) => found[at].about.push('\n'),
            None if found.len() < limits::RECIPIENTS_MAX => found.push(Section {
                address: named.address.to_string(),
                about: String::new(),
            }),
            None => break,
        }
        current = known.or(found.len().checked_sub(1));
        give(&mut found, current, ahead.take());
        give(&mut found, current, Some(vec![line]));
        if named.is_whole {
            current = None;
        }
        line_before = plain(line);
    }
    give(&mut found, current, ahead);
    found
}

fn give(found: &mut [Section], to: Option<usize>, lines: Option<Vec<&str>>) {
    let Some(section) = to.and_then(|at| found.get_mut(at)) else {
        return;
    };
    lines
        .unwrap_or_default()
        .iter()
        .for_each(|line| push(&mut section.about, line));
}

fn push(about: &mut String, line: &str) {
    if about.len() + line.len() < limits::DIAGNOSTIC_MAX {
        about.push_str(line.trim());
        about.push('\n');
    }
}

struct Named<'l> {
    address: &'l str,
    /// The line says all there is.
    is_whole: bool,
}

/// The recipient that a line names.
fn recipient_of<'l>(line: &'l str, line_before: &str) -> Option<Named<'l>> {
    let (before, address, after) = addresses::find(line)?;
    let lead = plain(before);
    // What remains before the address, but for marks: `* `, `>>> `, `<`, `"`.
    let words = lead.trim_matches(|c: char| !c.is_alphanumeric() && c != ':');
    let words = words.trim_start_matches(':');
    if phrases::ends(Use::NotRecipient, words) || phrases::ends(Use::NotRecipient, line_before) {
        return None;
    }
    let begins = words.is_empty() && !before.trim_start().starts_with("<<<");
    let after_mark = after.trim_start_matches(['>', '"', ' ']);
    let is_sentence = !before.ends_with('<') && after_mark.split(' ').count() > SENTENCE_WORDS_MAX;
    // Of old sendmail: `550 <a@x>... User unknown`.
    let is_reply =
        words.len() == 3 && words.bytes().all(|b| b.is_ascii_digit()) && after.starts_with(">...");
    // `To: a@x` alone is a field of the original that the text shows.
    let is_named = words != "to:" && phrases::ends(Use::Recipient, words);
    (begins && !is_sentence || is_reply || is_named).then_some(Named {
        address,
        is_whole: is_reply,
    })
}

/// Lower case, single spaces, plain apostrophes.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.extend(
            word.chars()
                .flat_map(char::to_lowercase)
                .map(|c| if c == '\u{2019}' { '\'' } else { c }),
        );
    }
    plain
}

/// Words after an address at the start of a line, above which the line is a sentence about something else.
const SENTENCE_WORDS_MAX: usize = 24;
