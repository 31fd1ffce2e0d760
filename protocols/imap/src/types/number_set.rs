//! A set of real numbers (UIDs or sequence numbers): what a sequence set means in one mailbox at one moment, the saved
//! result of RFC 5182, and the sets of COPYUID, APPENDUID, MODIFIED, VANISHED and ESEARCH ALL.
//! Not here: `*` and `$`, see `sequence_set.rs`.

use std::fmt;

/// Sorted, disjoint, not touching ranges; so memory grows with the holes, not with the numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct NumberSet {
    ranges: Vec<(u32, u32)>,
}

impl NumberSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The set of one range, ends included, in either order.
    pub fn from_range(first: u32, last: u32) -> Self {
        Self {
            ranges: vec![(first.min(last), first.max(last))],
        }
    }

    /// The union of ranges that come in any order and may overlap.
    pub fn from_ranges(mut ranges: Vec<(u32, u32)>) -> Self {
        for range in &mut ranges {
            *range = (range.0.min(range.1), range.0.max(range.1));
        }
        if !ranges.is_sorted() {
            ranges.sort_unstable();
        }
        ranges.dedup_by(|next, kept| {
            let touches = next.0 <= kept.1.saturating_add(1);
            if touches {
                kept.1 = kept.1.max(next.1);
            }
            touches
        });
        Self { ranges }
    }

    /// Adds a number. Cheap at the end of the set, where ascending numbers go; linear elsewhere.
    pub fn insert(&mut self, number: u32) {
        match self.ranges.last_mut() {
            Some(last) if last.1.checked_add(1) == Some(number) => last.1 = number,
            Some(last) if number <= last.1 => {
                if !self.contains(number) {
                    let mut ranges = std::mem::take(&mut self.ranges);
                    ranges.push((number, number));
                    *self = Self::from_ranges(ranges);
                }
            }
            _ => self.ranges.push((number, number)),
        }
    }

    /// Whether the number is in the set, by binary search.
    pub fn contains(&self, number: u32) -> bool {
        let after = self.ranges.partition_point(|range| range.0 <= number);
        after > 0 && self.ranges[after - 1].1 >= number
    }

    /// Whether the set has no number.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers the set has.
    pub fn count(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| u64::from(range.1 - range.0) + 1)
            .sum()
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u32> {
        self.ranges.first().map(|range| range.0)
    }

    /// The largest number.
    pub fn last(&self) -> Option<u32> {
        self.ranges.last().map(|range| range.1)
    }

    /// The ranges, ends included, ascending.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// All numbers, ascending. May be four thousand million of them: bound it by what exists.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|&(first, last)| first..=last)
    }

    /// Takes a number out; RFC 5182 2.1: an expunged message leaves the saved result.
    pub fn remove(&mut self, number: u32) {
        let at = self.ranges.partition_point(|range| range.1 < number);
        let Some(&(first, last)) = self.ranges.get(at).filter(|range| range.0 <= number) else {
            return;
        };
        let before = (first < number).then(|| (first, number - 1));
        let after = (number < last).then(|| (number + 1, last));
        self.ranges.splice(at..=at, before.into_iter().chain(after));
    }

    /// The numbers that both sets have.
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut left, mut right) = (
            self.ranges.iter().peekable(),
            other.ranges.iter().peekable(),
        );
        let mut ranges = Vec::new();
        while let (Some(&&a), Some(&&b)) = (left.peek(), right.peek()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                ranges.push((first, last));
            }
            if a.1 < b.1 {
                left.next()
            } else {
                right.next()
            };
        }
        Self { ranges }
    }

    /// Appends the set in its shortest form, such as `1:5,7`. An empty set appends nothing: the grammar has no empty set.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        write_ranges(&self.ranges, out);
    }

    /// Appends the set in pieces that are each shorter than `piece_max` octets, calling `start` before and `end` after each.
    /// For VANISHED, whose line would otherwise grow with the mailbox.
    pub fn write_pieces(&self, out: &mut Vec<u8>, piece_max: usize, start: &[u8], end: &[u8]) {
        // A range takes at most 10 + 1 + 10 digits and a comma.
        let per_piece = (piece_max / 22).max(1);
        for piece in self.ranges.chunks(per_piece) {
            out.extend_from_slice(start);
            write_ranges(piece, out);
            out.extend_from_slice(end);
        }
    }
}

fn write_ranges(ranges: &[(u32, u32)], out: &mut Vec<u8>) {
    for (index, &(first, last)) in ranges.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        crate::response::push_number(out, u64::from(first));
        if last != first {
            out.push(b':');
            crate::response::push_number(out, u64::from(last));
        }
    }
}

impl FromIterator<u32> for NumberSet {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some(last) if last.1.checked_add(1) == Some(number) => last.1 = number,
                _ => ranges.push((number, number)),
            }
        }
        Self::from_ranges(ranges)
    }
}

impl fmt::Display for NumberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_form() {
        let set: NumberSet = [1, 2, 3, 4, 5, 7].into_iter().collect();
        assert_eq!(set.to_string(), "1:5,7");
        assert_eq!(set.count(), 6);
    }

    #[test]
    fn unsorted_and_overlapping() {
        let set =
            NumberSet::from_ranges(vec![(10, 5), (1, 1), (7, 20), (2, 2), (u32::MAX, u32::MAX)]);
        assert_eq!(set.ranges(), [(1, 2), (5, 20), (u32::MAX, u32::MAX)]);
        assert!(
            set.contains(20) && !set.contains(21) && !set.contains(3) && set.contains(u32::MAX)
        );
    }

    #[test]
    fn insert_anywhere() {
        let mut set = NumberSet::new();
        for number in [5, 6, 9, 7, 1, 6, 8] {
            set.insert(number);
        }
        assert_eq!(set.to_string(), "1,5:9");
    }

    #[test]
    fn remove_anywhere() {
        let mut set = NumberSet::from_ranges(vec![(1, 5), (7, 7), (u32::MAX - 1, u32::MAX)]);
        for number in [1, 3, 6, 7, u32::MAX, 9] {
            set.remove(number);
        }
        assert_eq!(set.to_string(), "2,4:5,4294967294");
    }

    #[test]
    fn intersection_of_ranges() {
        let left = NumberSet::from_ranges(vec![(1, 10), (20, 30)]);
        let right = NumberSet::from_ranges(vec![(5, 22), (30, 40)]);
        assert_eq!(left.intersection(&right).to_string(), "5:10,20:22,30");
    }

    #[test]
    fn pieces_stay_short() {
        let set: NumberSet = (1..1000).map(|number| number * 2).collect();
        let mut out = Vec::new();
        set.write_pieces(&mut out, 100, b"* VANISHED ", b"\r\n");
        assert!(
            out.split(|&octet| octet == b'\n')
                .all(|line| line.len() <= 112)
        );
    }
}
