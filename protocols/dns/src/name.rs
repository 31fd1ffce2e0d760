//! Domain names: lower case, A-labels, bounded. RFC 1035 2.3, RFC 5890 (A-labels).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::{LABEL_MAX, NAME_MAX};

/// A name as it is asked for: ASCII in lower case, without the last dot. A clone is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
// Arc, not Rc: names travel between cores.
pub struct Name(Arc<str>);

/// Why a text is no name.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Nothing there. The root is written `.`.
    #[error("the name is empty")]
    Empty,
    /// Two dots in a row, or one at the beginning.
    #[error("the name has an empty label")]
    LabelEmpty,
    /// A label of more than 63 octets.
    #[error("a label of the name has more than {LABEL_MAX} octets")]
    LabelTooLong,
    /// More than 253 octets.
    #[error("the name has more than {NAME_MAX} octets")]
    TooLong,
    /// A blank, a control character, a backslash.
    #[error("the name has a character that no host or domain has")]
    Character,
    /// Unicode that IDNA does not allow.
    #[error("the name has Unicode that is not allowed in names")]
    Unicode,
}

impl Name {
    /// From text: letters in any case, U-labels or A-labels, with or without the last dot. Underscores and slashes are in use and allowed
    /// (RFC 2181 11: any label may exist in the DNS; those with odd octets are none that mail needs).
    pub fn parse(text: &str) -> Result<Name, NameError> {
        if text == "." {
            return Ok(Name::root());
        }
        let ascii = match text.is_ascii() {
            true => text.to_ascii_lowercase(),
            false => idna::domain_to_ascii(text).map_err(|_| NameError::Unicode)?,
        };
        let ascii = ascii.strip_suffix('.').unwrap_or(&ascii);
        if ascii.is_empty() {
            return Err(NameError::Empty);
        }
        if ascii.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        for label in ascii.split('.') {
            check_label(label.as_bytes())?;
        }
        Ok(Name(ascii.into()))
    }

    /// The name of no labels, `.`: what a null MX names (RFC 7505).
    pub fn root() -> Name {
        Name(".".into())
    }

    /// From the labels of a message.
    pub(crate) fn from_labels<'a>(
        labels: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Name, NameError> {
        let mut text = String::new();
        for label in labels {
            check_label(label)?;
            if !text.is_empty() {
                text.push('.');
            }
            // Checked: ASCII.
            text.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
            if text.len() > NAME_MAX {
                return Err(NameError::TooLong);
            }
        }
        match text.is_empty() {
            true => Ok(Name::root()),
            false => Ok(Name(text.into())),
        }
    }

    /// Without the last dot; the root is `.`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        &*self.0 == "."
    }

    /// Its labels, the leftmost first.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.').filter(|label| !label.is_empty())
    }

    /// A name below this one, such as `_25._tcp` below a host.
    pub fn below(&self, labels: &str) -> Result<Name, NameError> {
        match self.is_root() {
            true => Name::parse(labels),
            false => Name::parse(&format!("{labels}.{self}")),
        }
    }

    /// The name whose PTR records name the host of an address (RFC 1035 3.5, RFC 3596 2.5).
    pub fn of_address(address: std::net::IpAddr) -> Name {
        let text = match address {
            std::net::IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            std::net::IpAddr::V6(v6) => {
                let octets = v6.octets();
                let nibbles = octets.iter().rev().flat_map(|o| [o & 15, o >> 4]);
                let mut text: String = nibbles.map(|n| format!("{n:x}.")).collect();
                text.push_str("ip6.arpa");
                text
            }
        };
        Name(text.into())
    }
}

/// RFC 1035 2.3.4. The octets are those that can be shown and told apart from what stands around a name.
fn check_label(label: &[u8]) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::LabelEmpty);
    }
    if label.len() > LABEL_MAX {
        return Err(NameError::LabelTooLong);
    }
    let is_fit = |b: &u8| b.is_ascii_graphic() && !b"\\.\"();@$".contains(b);
    match label.iter().all(is_fit) {
        true => Ok(()),
        false => Err(NameError::Character),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        Name::parse(text).unwrap().to_string()
    }

    #[test]
    fn one_form_for_all_ways_to_write_a_name() {
        assert_eq!(name("Example.ORG."), "example.org");
        assert_eq!(name("b\u{fc}cher.example"), "xn--bcher-kva.example");
        assert_eq!(name("XN--BCHER-KVA.example"), "xn--bcher-kva.example");
        assert_eq!(name("_25._TCP.mx.example"), "_25._tcp.mx.example");
        assert_eq!(
            name("0/25.2.0.192.in-addr.arpa"),
            "0/25.2.0.192.in-addr.arpa"
        );
        assert!(Name::parse(".").unwrap().is_root());
        assert_eq!(name("."), ".");
    }

    #[test]
    fn bounds_and_characters() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(name(&longest).len(), 253);
        for (text, error) in [
            (format!("{longest}a"), NameError::TooLong),
            (format!("{label}a.org"), NameError::LabelTooLong),
            (String::new(), NameError::Empty),
            ("a..b".into(), NameError::LabelEmpty),
            (".a".into(), NameError::LabelEmpty),
            ("..".into(), NameError::LabelEmpty),
            ("a b".into(), NameError::Character),
            ("a\0b".into(), NameError::Character),
            ("a\\.b".into(), NameError::Character),
            ("a\r\nb.example".into(), NameError::Character),
            ("\u{fc}\u{200b}\u{ffff}.example".into(), NameError::Unicode),
        ] {
            assert_eq!(Name::parse(&text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn below_and_labels() {
        let host = Name::parse("mx.example").unwrap();
        assert_eq!(
            host.below("_25._tcp").unwrap().as_str(),
            "_25._tcp.mx.example"
        );
        assert_eq!(Name::root().below("org").unwrap().as_str(), "org");
        assert_eq!(host.labels().collect::<Vec<_>>(), ["mx", "example"]);
        assert_eq!(Name::root().labels().count(), 0);
        let long = Name::parse(&format!("{0}.{0}.{0}.{0}", "a".repeat(62))).unwrap();
        assert_eq!(long.below("_25._tcp"), Err(NameError::TooLong));
    }

    #[test]
    fn names_of_addresses() {
        let of = |text: &str| Name::of_address(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            of("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
