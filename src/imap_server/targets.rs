//! Which messages a command means: sequence numbers or UIDs, against what the client was told. RFC 9051 9 (seq-number, uid), RFC 5182 ($).

use std::ops::Range;
use std::rc::Rc;

use imap::types::{NumberSet, Numbering, SequenceSet};

use super::client::Client;
use super::responses::{Refusal, Trouble};
use crate::store::Selected;

/// Positions in a session's view; a sequence number is its position and one.
pub(super) struct Targets {
    /// UIDs by position.
    pub view: Rc<Vec<u32>>,
    /// Ascending, apart from each other, not empty.
    pub ranges: Vec<Range<usize>>,
}

impl Client {
    /// The messages of a set. A sequence number that does not exist is BAD, a UID that does not exist is passed over.
    pub(super) fn targets(
        &self,
        selected: &Selected,
        numbering: Numbering,
        set: &SequenceSet,
    ) -> Result<Targets, Trouble> {
        Ok(Targets::of(selected.uids(), numbering, set, &self.saved)?)
    }
}

impl Targets {
    pub fn of(
        view: Rc<Vec<u32>>,
        numbering: Numbering,
        set: &SequenceSet,
        saved: &NumberSet,
    ) -> Result<Targets, Refusal> {
        let count = view.len() as u32;
        let ranges = match (set, numbering) {
            // The saved result holds UIDs: expunges move sequence numbers (RFC 5182 2.1).
            (SequenceSet::SavedResult, _) => positions(&view, saved),
            (_, Numbering::Uid) => {
                let largest = view.last().copied().unwrap_or(0);
                positions(&view, &set.resolve(largest, saved))
            }
            (_, Numbering::Sequence) if !set.fits(count) => {
                return Err(Refusal::bad("no message has that sequence number"));
            }
            (_, Numbering::Sequence) => set
                .resolve(count, saved)
                .ranges()
                .iter()
                .map(|&(first, last)| first as usize - 1..last as usize)
                .collect(),
        };
        Ok(Targets { view, ranges })
    }

    /// UIDs, ascending.
    pub fn uids(&self) -> Vec<u32> {
        self.ranges
            .iter()
            .flat_map(|range| self.view[range.clone()].iter().copied())
            .collect()
    }

    /// Ranges of at most `most` messages.
    pub fn slices(&self, most: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        self.ranges.iter().flat_map(move |range| {
            let end = range.end;
            range
                .clone()
                .step_by(most)
                .map(move |at| at..(at + most).min(end))
        })
    }
}

/// Where the UIDs of a set are that exist.
pub(super) fn positions(view: &[u32], uids: &NumberSet) -> Vec<Range<usize>> {
    uids.ranges()
        .iter()
        .map(|&(first, last)| {
            view.partition_point(|uid| *uid < first)..view.partition_point(|uid| *uid <= last)
        })
        .filter(|range| !range.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use imap::types::SequenceRange;

    fn of(view: &[u32], numbering: Numbering, first: u32, last: Option<u32>) -> Option<Vec<u32>> {
        let set = SequenceSet::Ranges(vec![SequenceRange::new(Some(first), last)]);
        Targets::of(Rc::new(view.to_vec()), numbering, &set, &NumberSet::new())
            .ok()
            .map(|targets| targets.uids())
    }

    #[test]
    fn missing_uids_are_passed_over_and_missing_numbers_are_not() {
        let view = [3, 5, 9];
        assert_eq!(of(&view, Numbering::Uid, 4, Some(9)), Some(vec![5, 9]));
        assert_eq!(of(&view, Numbering::Uid, 6, Some(8)), Some(vec![]));
        assert_eq!(of(&view, Numbering::Uid, 100, None), Some(vec![9]));
        assert_eq!(of(&view, Numbering::Sequence, 2, Some(3)), Some(vec![5, 9]));
        assert_eq!(of(&view, Numbering::Sequence, 2, Some(4)), None);
        assert_eq!(of(&[], Numbering::Sequence, 1, None), None);
        assert_eq!(of(&[], Numbering::Uid, 1, None), Some(vec![]));
    }

    #[test]
    fn slices_cover_everything_once() {
        let targets = Targets {
            view: Rc::new((1..=10).collect()),
            ranges: vec![0..3, 4..10],
        };
        let slices: Vec<_> = targets.slices(4).collect();
        assert_eq!(slices, [0..3, 4..8, 8..10]);
    }
}
