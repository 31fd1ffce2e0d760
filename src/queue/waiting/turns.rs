//! Who takes turns: a list in which each stands once, and which any of them can leave at once, however many there are. Places in it lie with those who stand there
//! ([`Places`]), so that a short list costs next to nothing. Pure.

/// A list, by the numbers of those who stand in it.
#[derive(Default)]
pub(super) struct Turns {
    first: Option<u32>,
    last: Option<u32>,
}

/// Beside whom one stands.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    before: Option<u32>,
    behind: Option<u32>,
}

impl Place {
    /// Who stands behind it.
    pub fn behind(self) -> Option<u32> {
        self.behind
    }
}

/// The places of a list.
pub(super) trait Places {
    fn place(&mut self, number: u32) -> Option<&mut Place>;
}

impl Turns {
    /// Whose turn it is.
    pub fn first(&self) -> Option<u32> {
        self.first
    }

    /// One that is not in the list comes behind the others. It must have a place.
    pub fn enter(&mut self, number: u32, places: &mut impl Places) {
        let Some(place) = places.place(number) else {
            return;
        };
        *place = Place {
            before: self.last,
            behind: None,
        };
        match self.last.and_then(|last| places.place(last)) {
            Some(last) => last.behind = Some(number),
            None => self.first = Some(number),
        }
        self.last = Some(number);
    }

    /// One that is in the list leaves it.
    pub fn leave(&mut self, number: u32, places: &mut impl Places) {
        let Some(place) = places.place(number) else {
            return;
        };
        let Place { before, behind } = std::mem::take(place);
        match before.and_then(|before| places.place(before)) {
            Some(before) => before.behind = behind,
            None => self.first = behind,
        }
        match behind.and_then(|behind| places.place(behind)) {
            Some(behind) => behind.before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use super::*;

    impl Places for HashMap<u32, Place> {
        fn place(&mut self, number: u32) -> Option<&mut Place> {
            self.get_mut(&number)
        }
    }

    #[test]
    fn whoever_leaves_takes_no_turn_and_changes_no_others() {
        let (mut turns, mut places) = (Turns::default(), HashMap::new());
        let mut expected = VecDeque::new();
        let mut random = 1u32;
        for _ in 0..10_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = (random >> 16) % 10;
            if expected.contains(&number) {
                turns.leave(number, &mut places);
                places.remove(&number);
                expected.retain(|other| *other != number);
            } else {
                places.insert(number, Place::default());
                turns.enter(number, &mut places);
                expected.push_back(number);
            }
            let behind = |number: &u32| places[number].behind();
            let all = std::iter::successors(turns.first(), behind);
            assert_eq!(all.collect::<VecDeque<_>>(), expected);
            assert_eq!(turns.last, expected.back().copied());
        }
    }
}
