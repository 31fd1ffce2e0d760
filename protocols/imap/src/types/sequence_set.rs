//! `sequence-set` as a client writes it: numbers, ranges, `*`, and `$` for the saved search result (RFC 5182).
//! Not here: what it means in a mailbox, see [`NumberSet`].

use super::NumberSet;

/// One number or range. `None` is `*`, the largest number in use. A number comes before `*`, a smaller one before a larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SequenceRange {
    /// The lower end; `None` only when the whole range is `*`.
    pub first: Option<u32>,
    /// The upper end.
    pub last: Option<u32>,
}

impl SequenceRange {
    /// The range in its normal order: RFC 9051 9, `2:4` and `4:2` are the same, and so are `*:4` and `4:*`.
    pub fn new(one: Option<u32>, other: Option<u32>) -> Self {
        match (one, other) {
            (Some(a), Some(b)) => Self {
                first: Some(a.min(b)),
                last: Some(a.max(b)),
            },
            (Some(a), None) | (None, Some(a)) => Self {
                first: Some(a),
                last: None,
            },
            (None, None) => Self {
                first: None,
                last: None,
            },
        }
    }

    fn resolve(self, largest: u32) -> Option<(u32, u32)> {
        match (self.first, self.last) {
            (Some(first), Some(last)) => Some((first, last)),
            // RFC 9051 9: 3291:* includes the last message even if its number is below 3291.
            (Some(first), None) if largest > 0 => Some((first.min(largest), first.max(largest))),
            (None, _) if largest > 0 => Some((largest, largest)),
            _ => None,
        }
    }
}

/// `sequence-set`, at most [`crate::limits::SEQUENCE_RANGES_MAX`] ranges.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SequenceSet {
    /// Numbers and ranges in the client's order, neighbours joined.
    Ranges(Vec<SequenceRange>),
    /// `$`: the result of the last SEARCH with SAVE.
    SavedResult,
}

impl SequenceSet {
    /// The numbers meant when `*` is `largest` (the number of messages, or the highest UID; 0 in an empty mailbox, where `*`
    /// means nothing) and `$` is `saved`.
    pub fn resolve(&self, largest: u32, saved: &NumberSet) -> NumberSet {
        match self {
            Self::SavedResult => saved.clone(),
            Self::Ranges(ranges) => NumberSet::from_ranges(
                ranges
                    .iter()
                    .filter_map(|range| range.resolve(largest))
                    .collect(),
            ),
        }
    }

    /// Whether all are real message sequence numbers in a mailbox of `count` messages.
    /// RFC 9051 9 seq-number: a number above that, and `*` in an empty mailbox, deserves a BAD.
    pub fn fits(&self, count: u32) -> bool {
        match self {
            Self::SavedResult => true,
            Self::Ranges(ranges) => ranges.iter().all(|range| match (range.first, range.last) {
                (_, Some(last)) => last <= count,
                (Some(first), None) => first <= count && count > 0,
                (None, None) => count > 0,
            }),
        }
    }

    /// Whether `*` occurs. QRESYNC's known sets (RFC 7162 7) must not have it.
    pub fn has_star(&self) -> bool {
        matches!(self, Self::Ranges(ranges) if ranges.iter().any(|range| range.last.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::parse_sequence_set;

    fn resolved(text: &str, largest: u32) -> String {
        parse_sequence_set(text.as_bytes())
            .unwrap()
            .resolve(largest, &NumberSet::new())
            .to_string()
    }

    #[test]
    fn rfc9051_examples() {
        assert_eq!(resolved("2,4:7,9,12:*", 15), "2,4:7,9,12:15");
        assert_eq!(resolved("*:4,5:7", 10), "4:10");
        assert_eq!(resolved("3291:*", 17), "17:3291");
        assert_eq!(resolved("4:2", 9), "2:4");
    }

    #[test]
    fn star_in_an_empty_mailbox_means_nothing() {
        assert_eq!(resolved("*", 0), "");
        assert_eq!(resolved("1:*", 0), "");
        assert!(!parse_sequence_set(b"*").unwrap().fits(0));
        assert!(!parse_sequence_set(b"1:*").unwrap().fits(0));
        assert!(!parse_sequence_set(b"1:5").unwrap().fits(4));
        assert!(parse_sequence_set(b"5:1,*").unwrap().fits(5));
    }

    #[test]
    fn malformed_sets() {
        for text in [
            "",
            "0",
            "1,",
            ",1",
            "1:",
            "1:0",
            "a",
            "4294967296",
            "1:2:3",
            "$,1",
            "-1",
            "1 ",
            "**",
        ] {
            assert!(parse_sequence_set(text.as_bytes()).is_none(), "{text}");
        }
        assert!(parse_sequence_set(b"4294967295").is_some());
        assert_eq!(parse_sequence_set(b"$"), Some(SequenceSet::SavedResult));
    }
}
