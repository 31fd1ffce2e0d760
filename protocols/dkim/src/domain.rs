//! Domains and selectors in both their forms.
//! Used by signing with the operator's names, by verification with those of strangers. RFC 6376 3.5 (d=, s=), RFC 8616 5, RFC 5891, RFC 1035.
//! Not here: public suffixes, which the caller knows.

use crate::limits::{DOMAIN_MAX, LABEL_MAX};

/// A domain name or selector that can stand in d= or s=.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// A-labels, in lower case.
    ascii: String,
    /// U-labels; as `ascii` if there are none.
    unicode: String,
}

/// A text that is no domain name or selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a domain name")]
pub struct NameError;

impl Name {
    /// Takes A-labels and U-labels.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > 4 * DOMAIN_MAX {
            return Err(NameError);
        }
        let ascii = if text.is_ascii() && !text.to_ascii_lowercase().contains("xn--") {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).map_err(|_| NameError)?
        };
        if ascii.len() > DOMAIN_MAX || !ascii.split('.').all(is_label) {
            return Err(NameError);
        }
        let unicode = match idna::domain_to_unicode(&ascii) {
            (unicode, Ok(())) if ascii.contains("xn--") => unicode,
            _ => ascii.clone(),
        };
        Ok(Self { ascii, unicode })
    }

    /// As it stands in DNS.
    pub fn ascii(&self) -> &str {
        &self.ascii
    }

    /// As people read it.
    pub fn unicode(&self) -> &str {
        &self.unicode
    }

    /// Whether the name is `other` or under it.
    pub fn is_within(&self, other: &Name) -> bool {
        self.ascii
            .strip_suffix(&other.ascii)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// In the form that a field has: U-labels if the message is internationalized, RFC 8616 5.
    pub(crate) fn in_field(&self, internationalized: bool) -> &str {
        if internationalized {
            &self.unicode
        } else {
            &self.ascii
        }
    }
}

// sub-domain = Let-dig [Ldh-str]. The underscore is no letter of a host name, but DNS has it and selectors in the wild do.
fn is_label(label: &str) -> bool {
    let octets = label.as_bytes();
    (1..=LABEL_MAX).contains(&octets.len())
        && octets
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
        && octets[0] != b'-'
        && octets[octets.len() - 1] != b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        for text in [
            "b\u{fc}cher.Example",
            "xn--bcher-kva.example",
            "B\u{dc}CHER.example",
        ] {
            let name = Name::parse(text).unwrap();
            assert_eq!(name.ascii(), "xn--bcher-kva.example");
            assert_eq!(name.unicode(), "b\u{fc}cher.example");
            assert_eq!(name.in_field(false), name.ascii());
            assert_eq!(name.in_field(true), name.unicode());
        }
        assert_eq!(Name::parse("Example.ORG").unwrap().unicode(), "example.org");
    }

    #[test]
    fn what_is_no_name() {
        let long = ["a"; 128].join(".");
        let label = "a".repeat(64);
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a;b",
            "[192.0.2.1]",
            "xn--\u{7f}",
            "a/b",
            &long,
            &label,
        ] {
            assert_eq!(Name::parse(text), Err(NameError), "{text}");
        }
        assert!(Name::parse(&["a"; 127].join(".")).is_ok());
    }

    #[test]
    fn under_another() {
        let name = |text| Name::parse(text).unwrap();
        assert!(name("a.example").is_within(&name("a.example")));
        assert!(name("b.a.example").is_within(&name("A.example")));
        assert!(!name("ba.example").is_within(&name("a.example")));
        assert!(!name("example").is_within(&name("a.example")));
    }
}
