//! What the text of a reply says of the reason: rows of phrases, in a file.
//! The text is untrusted; [`limits::DIAGNOSTIC_MAX`] octets of it are looked at, once for each phrase.
//! Not here: the rows (`texts.txt`, with the rules of its format).

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::BounceClass;
use crate::limits;

/// One row: all phrases must be there.
struct Row {
    class: BounceClass,
    overrides: bool,
    phrases: Vec<Finder<'static>>,
}

// The one thing here that threads share: written once, read ever after.
static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| rows(include_str!("texts.txt")));

/// The class of the first row that fits.
pub(super) fn class_of_text(text: &str) -> Option<BounceClass> {
    first(text, |_| true)
}

/// The class of the first row that fits and counts more than an enhanced status.
pub(super) fn overriding(text: &str) -> Option<BounceClass> {
    first(text, |row| row.overrides)
}

fn first(text: &str, wanted: impl Fn(&Row) -> bool) -> Option<BounceClass> {
    let fits = |row: &&Row| {
        let mut phrases = row.phrases.iter();
        wanted(row) && phrases.all(|phrase| phrase.find(text.as_bytes()).is_some())
    };
    if text.is_empty() {
        return None;
    }
    ROWS.iter().find(fits).map(|row| row.class)
}

/// Lower case, one space between words, without the codes that begin the lines of a long reply.
pub(super) fn normalised(text: &str) -> String {
    let mut end = text.len().min(limits::DIAGNOSTIC_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut plain = String::with_capacity(end);
    let words = text[..end].split(|c: char| c.is_whitespace() || c.is_control());
    for word in words.filter(|word| !word.is_empty() && !is_line_code(word)) {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.extend(word.chars().flat_map(char::to_lowercase).map(plain_quote));
    }
    plain
}

/// Typographic apostrophes stand in the texts of some servers.
fn plain_quote(letter: char) -> char {
    if matches!(letter, '\u{2018}' | '\u{2019}') {
        '\''
    } else {
        letter
    }
}

/// `550-5.1.1`, as in a reply whose lines were joined.
fn is_line_code(word: &str) -> bool {
    let bytes = word.as_bytes();
    matches!(bytes, [b'4' | b'5', b'0'..=b'9', b'0'..=b'9', b'-', b'4' | b'5', b'.', rest @ ..]
        if rest.iter().all(|b| b.is_ascii_digit() || *b == b'.'))
}

fn rows(file: &'static str) -> Vec<Row> {
    file.lines().filter_map(row).collect()
}

/// `class[!] | phrase [& phrase]* # comment`
fn row(line: &'static str) -> Option<Row> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let (class, phrases) = line.split_once('|')?;
    let (class, overrides) = match class.trim().strip_suffix('!') {
        Some(class) => (class, true),
        None => (class.trim(), false),
    };
    Some(Row {
        class: BounceClass::from_word(class)?,
        overrides,
        phrases: phrases.split('&').map(|p| Finder::new(p.trim())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_row_or_a_comment() {
        for line in include_str!("texts.txt").lines() {
            let is_comment = line.trim().is_empty() || line.trim_start().starts_with('#');
            assert!(is_comment || row(line).is_some(), "{line}");
            if is_comment {
                continue;
            }
            assert!(line.contains(" # "), "where does it come from? {line}");
            let phrases = line.split_once('|').unwrap().1.split('#').next().unwrap();
            for phrase in phrases.split('&') {
                assert!(phrase.trim().len() > 2, "{line}");
                assert_eq!(phrase.trim(), normalised(phrase), "{line}");
            }
        }
    }

    #[test]
    fn no_row_is_hidden_by_one_before_it() {
        let mut hidden = Vec::new();
        for line in include_str!("texts.txt").lines() {
            let Some(row) = row(line) else { continue };
            let phrases = line.split_once('|').unwrap().1.split('#').next().unwrap();
            let found = class_of_text(&normalised(&phrases.replace('&', " ")));
            if found != Some(row.class) {
                hidden.push(format!("{line}: {found:?}"));
            }
        }
        assert!(hidden.is_empty(), "{}", hidden.join("\n"));
    }

    #[test]
    fn normal_form() {
        assert_eq!(
            normalised(" 550-5.1.1 The\r\n\temail  550-5.1.1 ACCOUNT\u{2019}s "),
            "the email account's"
        );
        assert_eq!(
            normalised(&"\u{e9}".repeat(5000)).len(),
            limits::DIAGNOSTIC_MAX
        );
    }
}
