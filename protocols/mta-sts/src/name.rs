//! Names of hosts: what a pattern may be and what it matches. RFC 8461 3.2, 4.1. Names are A-labels; case and a last dot do not count.

use crate::limits::{LABEL_MAX, NAME_MAX};

/// The name in lower case without a last dot; None for what is no name of a host. Underscores are let through: some hosts have them.
pub(crate) fn normalise(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = !name.is_empty() && name.len() <= NAME_MAX && name.split('.').all(is_label);
    is_name.then(|| name.to_ascii_lowercase())
}

fn is_label(label: &str) -> bool {
    let octets = label.as_bytes();
    let within = octets
        .iter()
        .all(|o| o.is_ascii_alphanumeric() || matches!(o, b'-' | b'_'));
    within
        && (1..=LABEL_MAX).contains(&octets.len())
        && octets.first() != Some(&b'-')
        && octets.last() != Some(&b'-')
}

/// Which hosts a policy allows: one name, or all names one label below another.
///
/// ```text
/// sts-policy-mx-value = ["*."] Domain
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxPattern {
    is_wildcard: bool,
    name: String,
}

impl MxPattern {
    /// None for what is no pattern, also for U-labels: RFC 8461 3.2 wants A-labels.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = normalise(name)?;
        Some(MxPattern { is_wildcard, name })
    }

    /// RFC 8461 4.1: `*` stands for the whole left-most label and for one label only.
    pub fn matches(&self, mx_host: &str) -> bool {
        normalise(mx_host).is_some_and(|host| self.matches_normalised(&host))
    }

    pub(crate) fn matches_normalised(&self, host: &str) -> bool {
        match host.split_once('.') {
            Some((_, parent)) if self.is_wildcard => parent == self.name,
            _ => !self.is_wildcard && host == self.name,
        }
    }
}

impl std::fmt::Display for MxPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let star = if self.is_wildcard { "*." } else { "" };
        write!(f, "{star}{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_one_label() {
        // RFC 8461 4.1, the example.
        let pattern = MxPattern::parse("*.example.com").unwrap();
        assert!(pattern.matches("mail.example.com"));
        assert!(pattern.matches("MAIL.Example.COM."));
        assert!(!pattern.matches("example.com"));
        assert!(!pattern.matches("foo.bar.example.com"));
        assert!(!pattern.matches("mailexample.com"));
        assert!(!pattern.matches(".example.com"));
        let exact = MxPattern::parse("Mail.Example.com").unwrap();
        assert!(exact.matches("mail.example.com"));
        assert!(!exact.matches("a.mail.example.com"));
        assert_eq!(exact.to_string(), "mail.example.com");
        assert_eq!(pattern.to_string(), "*.example.com");
    }

    #[test]
    fn what_is_no_pattern() {
        for text in [
            "",
            ".",
            "*",
            "*.",
            "*.*.example.com",
            "m*.example.com",
            "a..example",
            ".example.com",
            "-a.example",
            "a-.example",
            "bücher.example",
            "a b.example",
            "[192.0.2.1]",
            "a.example..",
        ] {
            assert_eq!(MxPattern::parse(text), None, "{text}");
        }
        assert!(MxPattern::parse("xn--bcher-kva.example").is_some());
        assert!(MxPattern::parse("my_host.example").is_some());
        let long = "a.".repeat(126) + "b";
        assert!(MxPattern::parse(&long).is_some());
        assert_eq!(MxPattern::parse(&format!("a.{long}")), None);
        assert_eq!(MxPattern::parse(&"a".repeat(64)), None);
    }
}
