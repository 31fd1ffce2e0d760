//! The phrases by which bounces without a standard form are known: rows of a file.
//! Not here: what is done with them (`pattern.rs`, `auto_reply.rs`), reasons (`class/texts.txt`).

use std::sync::LazyLock;

/// What a phrase is for; the first word of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Local-part or display name of mail systems.
    Daemon,
    /// In the subject of a bounce.
    Subject,
    /// In the text of one.
    Text,
    /// In the subject or text of a report of a delay.
    Delay,
    /// A line behind which the original begins.
    Separator,
    /// Stands before the address of a recipient.
    Recipient,
    /// Stands before an address that is not a recipient's, or on the line before it.
    NotRecipient,
    /// A subject of an automatic reply begins with it.
    AutoReplySubject,
}

// The one thing here that threads share: written once, read ever after.
static ROWS: LazyLock<Vec<(Use, &'static str)>> = LazyLock::new(|| {
    include_str!("phrases.txt")
        .lines()
        .filter_map(row)
        .collect()
});

/// Whether a phrase of that use is in a text in lower case.
pub(super) fn contains(wanted: Use, text: &str) -> bool {
    of(wanted).any(|phrase| text.contains(phrase))
}

/// Whether a text in lower case begins with one.
pub(super) fn starts(wanted: Use, text: &str) -> bool {
    of(wanted).any(|phrase| text.trim_start().starts_with(phrase))
}

/// Whether a text in lower case ends with one, from the start of a word.
pub(super) fn ends(wanted: Use, text: &str) -> bool {
    let begins_word = |before: &str| !before.ends_with(char::is_alphanumeric);
    of(wanted).any(|phrase| {
        text.trim_end()
            .strip_suffix(phrase)
            .is_some_and(begins_word)
    })
}

fn of(wanted: Use) -> impl Iterator<Item = &'static str> {
    let rows = ROWS.iter().filter(move |(used, _)| *used == wanted);
    rows.map(|(_, phrase)| *phrase)
}

/// `use | phrase # comment`
fn row(line: &'static str) -> Option<(Use, &'static str)> {
    let (used, rest) = line.split_once('|')?;
    let phrase = rest
        .rsplit_once(" # ")
        .map_or(rest, |(phrase, _)| phrase)
        .trim();
    let used = match used.trim() {
        "daemon" => Use::Daemon,
        "subject" => Use::Subject,
        "text" => Use::Text,
        "delay" => Use::Delay,
        "separator" => Use::Separator,
        "recipient" => Use::Recipient,
        "not-recipient" => Use::NotRecipient,
        "auto-reply" => Use::AutoReplySubject,
        _ => return None,
    };
    Some((used, phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_row_or_a_comment() {
        for line in include_str!("phrases.txt").lines() {
            let is_comment = line.is_empty() || line.starts_with('#');
            assert!(is_comment || row(line).is_some(), "{line}");
            if let Some((_, phrase)) = row(line).filter(|_| !is_comment) {
                assert!(line.contains(" # "), "where does it come from? {line}");
                assert_eq!(phrase, phrase.to_lowercase(), "{line}");
                assert!(phrase.len() >= 2, "{line}");
            }
        }
    }
}
