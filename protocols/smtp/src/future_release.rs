//! Messages that are held: what a server offers, and what MAIL asks for.
//! Called by the parsers of MAIL and of EHLO's answer. Input is untrusted. No clock here: whether a time has passed, the door knows.
//! RFC 4865 3.
//!
//! ```text
//! future-release-integer = %x31-39 *8DIGIT        ; seconds
//! hold-for-param   = "HOLDFOR=" future-release-integer
//! hold-until-param = "HOLDUNTIL=" date-time       ; RFC 3339
//! ```

use crate::timestamp;

/// How long a server holds messages at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FutureRelease {
    /// Largest HOLDFOR, in seconds.
    pub seconds_max: u32,
    /// Latest HOLDUNTIL, in seconds since 1970.
    pub until_max: i64,
}

impl FutureRelease {
    /// Reads what follows the keyword. Without both nothing is offered that we could keep to.
    pub(crate) fn parse<'t>(mut parameters: impl Iterator<Item = &'t str>) -> Option<Self> {
        Some(FutureRelease {
            seconds_max: seconds(parameters.next()?)?,
            until_max: timestamp::parse(parameters.next()?)?,
        })
    }

    /// Whether this much may be asked for.
    pub fn allows(self, hold: Hold) -> bool {
        match hold {
            Hold::For(seconds) => seconds <= self.seconds_max,
            Hold::Until(time) => time <= self.until_max,
        }
    }
}

/// What MAIL asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// HOLDFOR: so many seconds.
    For(u32),
    /// HOLDUNTIL: seconds since 1970.
    Until(i64),
}

/// One to nine digits, not beginning with 0.
pub(crate) fn seconds(text: &str) -> Option<u32> {
    let fits = text.len() <= 9 && !text.starts_with('0');
    let all = text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| fits && all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_one_to_nine_digits() {
        assert_eq!(seconds("1"), Some(1));
        assert_eq!(seconds("999999999"), Some(999_999_999));
        for wrong in ["", "0", "01", "+1", "-1", "1000000000", "1s", "\u{664}"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_allowed() {
        let offer = FutureRelease::parse("60 1970-01-01T00:02:00Z".split(' ')).unwrap();
        assert!(offer.allows(Hold::For(60)) && offer.allows(Hold::Until(120)));
        assert!(!offer.allows(Hold::For(61)) && !offer.allows(Hold::Until(121)));
    }
}
