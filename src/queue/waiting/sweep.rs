//! Looking at all who wait, or at all of a line, a slice at a time: there may be a million, and an executor has others to serve. Between two slices who stands in
//! line goes on: whoever is taken meanwhile may be passed over, nobody is looked at twice who stands where he stood.

use std::cmp::Reverse;

use super::{Entry, Waiting};

/// A walk through a line.
#[derive(Default)]
pub struct Walk {
    /// Accounts that are left; the last one is looked at.
    accounts: Vec<u32>,
    /// How many of its entries were.
    from: usize,
}

impl Walk {
    /// Whether all were looked at.
    pub fn is_over(&self) -> bool {
        self.accounts.is_empty()
    }
}

/// A walk through all lines, and then through those who stand in none yet: whoever comes in line meanwhile is not looked at again.
#[derive(Default)]
pub(super) struct Sweep {
    /// The next line.
    line: u32,
    walk: Walk,
    /// Those who stand in no line, once it has come to them.
    pub later: Option<std::vec::IntoIter<Reverse<Entry>>>,
}

/// Who is taken out of a line.
#[derive(Clone, Copy, Debug)]
pub struct Late {
    /// Those whose time is over by then.
    pub expired: i64,
    /// Those that came in line before.
    pub stood: i64,
    /// So many at most.
    pub most: usize,
}

impl Waiting {
    /// Through all who stand in a line.
    pub fn walk(&self, line: &str) -> Walk {
        Walk {
            accounts: self.accounts_in(line, usize::MAX),
            from: 0,
        }
    }

    /// Takes some out of a line who stand there late: nobody may come to take them. Looks at a slice of it.
    pub fn take_late(&mut self, line: &str, walk: &mut Walk, which: Late) -> Vec<Entry> {
        let mut late = Vec::new();
        let Some(&number) = self.line_numbers.get(line) else {
            *walk = Walk::default();
            return late;
        };
        self.sift(number, walk, SLICE, &mut |entry| {
            let is_over = i64::from(entry.expires) <= which.expired;
            let is_late = is_over || i64::from(entry.due) < which.stood;
            let is_taken = is_late && late.len() < which.most;
            if is_taken {
                late.push(*entry);
            }
            !is_taken
        });
        late
    }

    /// Whether a sweep is under way.
    pub fn is_swept(&self) -> bool {
        self.sweep.is_some()
    }

    /// Keeps only some, wherever they stand. Looks at the next slice of a sweep; false: that was the last one.
    pub fn sweep(&mut self, mut keep: impl FnMut(&Entry) -> bool) -> bool {
        let mut sweep = self.sweep.take().unwrap_or_default();
        let mut left = SLICE;
        while left > 0 && sweep.later.is_none() {
            let looked_at = match sweep.walk.is_over() {
                false => self.sift(sweep.line - 1, &mut sweep.walk, left, &mut keep),
                true => {
                    match self.lines.get(sweep.line as usize) {
                        Some(line) => {
                            sweep.walk.accounts.extend(line.by_account.keys());
                            sweep.line += 1;
                        }
                        None => {
                            let later = std::mem::take(&mut self.later);
                            sweep.later = Some(later.into_vec().into_iter());
                        }
                    }
                    1
                }
            };
            left = left.saturating_sub(looked_at);
        }
        if let Some(later) = &mut sweep.later {
            for Reverse(entry) in later.by_ref().take(left) {
                if keep(&entry) {
                    self.later.push(Reverse(entry));
                } else {
                    self.lines[entry.line as usize].later -= 1;
                    self.forget_if_empty(entry.line);
                }
            }
        }
        let is_over = sweep.later.as_ref().is_some_and(|later| later.len() == 0);
        if !is_over {
            self.sweep = Some(sweep);
        }
        !is_over
    }

    /// Looks at the next ones of a walk in its line, of one account and at most so many, and keeps some. Answers how many.
    fn sift(
        &mut self,
        number: u32,
        walk: &mut Walk,
        most: usize,
        keep: &mut impl FnMut(&Entry) -> bool,
    ) -> usize {
        let line = &mut self.lines[number as usize];
        let site = line.site;
        let Some(account) = walk.accounts.last().copied() else {
            return 1;
        };
        let Some(own) = line.by_account.get_mut(&account) else {
            walk.next();
            return 1;
        };
        let entries = &mut own.entries;
        let count = entries.len();
        let from = walk.from.min(count);
        let to = from.saturating_add(most).min(count);
        // Those that are kept come together in front, in their order; the others go at once, for each may move half of all.
        let mut kept = from;
        for at in from..to {
            if keep(&entries[at]) {
                entries.swap(kept, at);
                kept += 1;
            }
        }
        entries.drain(kept..to);
        let (gone, is_empty) = (to - kept, entries.is_empty());
        walk.from = kept;
        if to == count {
            walk.next();
        }
        line.ready -= gone;
        self.sites[site as usize].ready -= gone;
        self.ready -= gone;
        if is_empty {
            self.leave(number, account);
        }
        if gone > 0 {
            self.forget_if_empty(number);
        }
        1 + to - from
    }
}

impl Walk {
    fn next(&mut self) {
        self.accounts.pop();
        self.from = 0;
    }
}

/// Entries, or lines without any, that are looked at at once: a millisecond, and a few more where a million stand behind those that go.
const SLICE: usize = 4_096;
