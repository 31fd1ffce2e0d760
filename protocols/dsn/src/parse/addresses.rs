//! Finds addresses in texts for people. Not a parser of RFC 5321 paths: what is found is compared with addresses that were written to.
//! The text is untrusted; one pass for each line.
//! Not here: which of them is a recipient (`pattern.rs`).

use std::borrow::Cow;

use crate::limits;

/// The first address in a text.
pub(super) fn first(text: &str) -> Option<Cow<'_, str>> {
    find(text).map(|(_, address, _)| Cow::Borrowed(address))
}

/// The first address: what stands before it, itself, and what follows.
pub(super) fn find(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find('@').map(|at| from + at) {
        let left = text[..at]
            .rfind(|c: char| !is_local(c))
            .map_or(0, |i| i + width(text, i));
        let right = text[at + 1..]
            .find(|c: char| !is_domain(c))
            .map_or(text.len(), |i| at + 1 + i);
        let (left, right) = match quoted_left(text, at) {
            Some(quote) => (quote, right),
            None => (left + leading_dots(&text[left..at]), right),
        };
        let domain = text[at + 1..right].trim_end_matches(['.', '-']);
        let right = at + 1 + domain.len();
        let fits = left < at && domain.len() > 1 && right - left <= limits::VALUE_MAX;
        if fits && domain.chars().any(char::is_alphanumeric) {
            return Some((&text[..left], &text[left..right], &text[right..]));
        }
        from = at + 1;
    }
    None
}

fn width(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(1, char::len_utf8)
}

/// `"two words"@x`: where the quote begins.
fn quoted_left(text: &str, at: usize) -> Option<usize> {
    let before = text[..at].strip_suffix('"')?;
    let quote = before.rfind('"')?;
    (before.len() - quote <= 64).then_some(quote)
}

fn leading_dots(local: &str) -> usize {
    local.len() - local.trim_start_matches(['.', '\'', '*']).len()
}

fn is_local(c: char) -> bool {
    c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

fn is_domain(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '.' || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_lines() {
        for (line, expected) in [
            ("<a.b@example.org>:", Some("a.b@example.org")),
            ("to kijitora@example.org.", Some("kijitora@example.org")),
            ("\"shironeko@example.jp\":", Some("shironeko@example.jp")),
            (
                "\"two words\"@example.jp failed",
                Some("\"two words\"@example.jp"),
            ),
            (
                "\u{732b}@\u{4f8b}\u{3048}.jp",
                Some("\u{732b}@\u{4f8b}\u{3048}.jp"),
            ),
            ("@ @x a@ @", None),
            ("", None),
            ("x@y@example.org", Some("y@example.org")),
        ] {
            let found = first(line);
            // The last case has two signs: the first is no address with a domain of one letter.
            assert_eq!(found.as_deref(), expected, "{line}");
        }
    }
}
