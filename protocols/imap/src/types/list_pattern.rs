//! Matching of mailbox names against LIST and LSUB patterns, RFC 9051 6.3.9.

use super::MailboxName;
use crate::limits::MAILBOX_NAME_MAX;

/// A pattern, decoded to UTF-8: `*` stands for any text, `%` for any without the hierarchy delimiter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListPattern(String);

impl ListPattern {
    /// The pattern; neighbouring wildcards become one, so matching takes time in proportion to name and pattern.
    /// `None` above [`MAILBOX_NAME_MAX`] octets.
    pub fn new(text: &str) -> Option<Self> {
        if text.len() > MAILBOX_NAME_MAX {
            return None;
        }
        let mut pattern = String::with_capacity(text.len());
        for character in text.chars() {
            match (pattern.as_bytes().last(), character) {
                (Some(b'*'), '*' | '%') | (Some(b'%'), '%') => {}
                (Some(b'%'), '*') => {
                    pattern.pop();
                    pattern.push('*');
                }
                _ => pattern.push(character),
            }
        }
        Some(Self(pattern))
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pattern as seen from a reference name: simply put behind it, with one delimiter between the two.
    /// `None` when that gets too long.
    pub fn within(&self, reference: &str, delimiter: u8) -> Option<Self> {
        if reference.is_empty() {
            return Some(self.clone());
        }
        let mut text = String::from(reference);
        let delimiter = char::from(delimiter);
        match (text.ends_with(delimiter), self.0.starts_with(delimiter)) {
            (true, true) => text.truncate(text.len() - 1),
            (false, false) => text.push(delimiter),
            _ => {}
        }
        text.push_str(&self.0);
        Self::new(&text)
    }

    /// Whether the name matches. RFC 9051 5.1: a first element INBOX matches in any case.
    pub fn matches(&self, name: &str, delimiter: u8) -> bool {
        let (name, pattern) = (name.as_bytes(), self.0.as_bytes());
        match pattern {
            b"*" => return true,
            b"%" => return memchr::memchr(delimiter, name).is_none(),
            _ if name.len() > MAILBOX_NAME_MAX => return false,
            _ => {}
        }
        let inbox = inbox_prefix(name, delimiter);
        // reached[n]: the pattern so far can match the first n octets of the name.
        let mut reached = [false; MAILBOX_NAME_MAX + 1];
        let reached = &mut reached[..=name.len()];
        reached[0] = true;
        for &symbol in pattern {
            match symbol {
                b'*' => spread(reached, name, None),
                b'%' => spread(reached, name, Some(delimiter)),
                _ => step(reached, name, symbol, inbox),
            }
        }
        reached[name.len()]
    }

    /// Whether the name, or a parent that does not exist itself, could match: RFC 9051 6.3.9 `%` at the end of LSUB.
    pub fn ends_with_percent(&self) -> bool {
        self.0.ends_with('%')
    }
}

/// How many octets at the start of the name compare without case.
fn inbox_prefix(name: &[u8], delimiter: u8) -> usize {
    let inbox = MailboxName::INBOX.len();
    let first_is_inbox = name.len() >= inbox
        && name[..inbox].eq_ignore_ascii_case(MailboxName::INBOX.as_bytes())
        && name.get(inbox).is_none_or(|&octet| octet == delimiter);
    if first_is_inbox { inbox } else { 0 }
}

/// A wildcard: from each reached place on, up to (not over) the stop octet.
fn spread(reached: &mut [bool], name: &[u8], stop: Option<u8>) {
    for at in 0..name.len() {
        if reached[at] && Some(name[at]) != stop {
            reached[at + 1] = true;
        }
    }
}

/// A literal octet: every reached place moves on by one, or is lost.
fn step(reached: &mut [bool], name: &[u8], symbol: u8, inbox: usize) {
    for at in (0..name.len()).rev() {
        let equal = if at < inbox {
            name[at].eq_ignore_ascii_case(&symbol)
        } else {
            name[at] == symbol
        };
        reached[at + 1] = reached[at] && equal;
    }
    reached[0] = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        ListPattern::new(pattern).unwrap().matches(name, b'/')
    }

    #[test]
    fn wildcards() {
        assert!(matches("*", "a/b/c") && matches("*", "a"));
        assert!(matches("%", "a") && !matches("%", "a/b"));
        assert!(matches("a/%", "a/b") && !matches("a/%", "a/b/c") && !matches("a/%", "a"));
        assert!(matches("a/*", "a/b/c") && !matches("a/*", "a"));
        assert!(matches("%/b/%", "a/b/c") && matches("*c", "a/b/c") && !matches("%c", "a/b/c"));
        assert!(matches("*%", "a/b") && matches("%*", "a/b") && matches("%a%/b", "xaya/b"));
        assert!(matches("*b%d", "a/b/bcd") && !matches("*b%d", "a/b/c/d/e"));
        assert!(matches("", "") && !matches("", "a") && !matches("a", "A"));
    }

    #[test]
    fn inbox_in_any_case() {
        assert!(
            matches("inbox", "INBOX") && matches("InBox/%", "INBOX/x") && matches("in%", "INBOX")
        );
        assert!(!matches("inbox/X", "INBOX/x") && !matches("inboxes", "INBOXES"));
    }

    #[test]
    fn reference_is_put_before() {
        let pattern = ListPattern::new("%").unwrap();
        assert_eq!(pattern.within("a", b'/').unwrap().as_str(), "a/%");
        assert_eq!(pattern.within("a/", b'/').unwrap().as_str(), "a/%");
        assert_eq!(pattern.within("", b'/').unwrap().as_str(), "%");
        assert_eq!(
            ListPattern::new("/x")
                .unwrap()
                .within("a/", b'/')
                .unwrap()
                .as_str(),
            "a/x"
        );
        assert!(
            pattern
                .within(&"a".repeat(MAILBOX_NAME_MAX), b'/')
                .is_none()
        );
    }

    /// The definition, word for word.
    fn defined(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|at| defined(rest, &name[at..])),
            Some((b'%', rest)) => (0..=name.len())
                .take_while(|&at| at == 0 || name[at - 1] != b'/')
                .any(|at| defined(rest, &name[at..])),
            Some((symbol, rest)) => name.first() == Some(symbol) && defined(rest, &name[1..]),
        }
    }

    #[test]
    fn every_short_pattern_is_as_defined() {
        let words = |letters: &[u8], length: u32| -> Vec<String> {
            let count = letters.len();
            (0..=length)
                .flat_map(|length| (0..count.pow(length)).map(move |number| (length, number)))
                .map(|(length, number)| {
                    (0..length)
                        .map(|at| char::from(letters[number / count.pow(at) % count]))
                        .collect()
                })
                .collect()
        };
        let names = words(b"ab/", 5);
        for pattern in words(b"a/%*", 5) {
            let compiled = ListPattern::new(&pattern).unwrap();
            for name in &names {
                let expected = defined(pattern.as_bytes(), name.as_bytes());
                assert_eq!(compiled.matches(name, b'/'), expected, "{pattern} {name}");
            }
        }
    }

    #[test]
    fn hostile_patterns_stay_cheap() {
        let pattern = "*a%".repeat(300);
        let name = "a".repeat(MAILBOX_NAME_MAX - 1) + "b/";
        assert!(!ListPattern::new(&pattern).unwrap().matches(&name, b'/'));
    }
}
