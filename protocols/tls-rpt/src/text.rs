//! Texts of others, made harmless: bounded, one line, no control characters.

use crate::limits::{POLICY_LINE_SIZE_MAX, POLICY_LINES_MAX, TEXT_MAX};

/// Any text but a policy's.
pub(crate) fn bounded(text: &str) -> String {
    cut(text, TEXT_MAX)
}

/// The lines of a policy.
pub(crate) fn bounded_lines(lines: &[String]) -> Vec<String> {
    let kept = lines.iter().take(POLICY_LINES_MAX);
    kept.map(|line| cut(line, POLICY_LINE_SIZE_MAX)).collect()
}

/// Control characters become spaces; what is too long is cut between characters. A text that is harmless stays as it is.
pub(crate) fn cut(text: &str, size_max: usize) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let is_blank = |c: char| visible(c).is_whitespace();
    let mut kept = String::new();
    for character in text.trim_matches(is_blank).chars().map(visible) {
        if kept.len() + character.len_utf8() > size_max {
            break;
        }
        kept.push(character);
    }
    kept.truncate(kept.trim_end().len());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_once() {
        for (text, expected) in [
            ("a b", "a b"),
            ("\r\n\0 a\u{7f}b \u{85}\t", "a b"),
            ("abcdefgh", "abcdef"),
            ("abcde\u{e9}", "abcde"),
            ("abcd  efg", "abcd"),
            ("\0\0", ""),
        ] {
            assert_eq!(cut(text, 6), expected);
            assert_eq!(cut(expected, 6), expected);
        }
    }
}
