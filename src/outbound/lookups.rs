//! Lines that are to be found out about, and whose mail stands there: a list of names that nobody answers for holds up no other account's mail, nor the
//! other questions of a core. Called by `dispatch`. Not here: finding out (`destination`), what a share is (`shards::rt::Shares`).

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use shards::rt::Shares;

/// Those of a core.
#[derive(Default)]
pub(super) struct Lookups {
    shares: RefCell<Shares<u32, Rc<str>>>,
    /// Who stands in line for what.
    wanted: RefCell<HashSet<(u32, Rc<str>)>>,
}

/// The right to look for a line; dropped, another may be looked for.
pub(super) struct Lookup {
    all: Rc<Lookups>,
    account: u32,
}

impl Lookups {
    /// A line is to be found out about for an account's mail. It stands in line once for each.
    pub fn wait(&self, account: u32, line: &Rc<str>) {
        if self.wanted.borrow_mut().insert((account, line.clone())) {
            self.shares.borrow_mut().wait(&account, line.clone());
        }
    }

    /// What may be looked for now: of the accounts that wait the one for which least is under way.
    pub fn next(self: &Rc<Self>, most: usize) -> Option<(Lookup, Rc<str>)> {
        let (account, line) = self.shares.borrow_mut().next(most)?;
        self.wanted.borrow_mut().remove(&(account, line.clone()));
        let all = self.clone();
        Some((Lookup { all, account }, line))
    }
}

impl Lookup {
    /// For whose mail.
    pub fn account(&self) -> u32 {
        self.account
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let mut shares = self.all.shares.borrow_mut();
        shares.give_back(&self.account, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_one_leaves_lookups_to_others() {
        let lookups: Rc<Lookups> = Rc::default();
        let mut kept = Vec::new();
        let mut next = || {
            let found = std::iter::from_fn(|| lookups.next(8));
            let found = found.map(|(lookup, line)| {
                kept.push(lookup);
                line.to_string()
            });
            found.collect::<Vec<_>>()
        };
        let lines: Vec<Rc<str>> = (0..100).map(|n| n.to_string().into()).collect();
        lines.iter().for_each(|line| lookups.wait(1, line));
        lookups.wait(1, &lines[0]);
        assert_eq!(next(), ["0", "1", "2", "3"]);
        // One that another's mail stands in, too, comes when it is the other's turn.
        lookups.wait(2, &lines[90]);
        lookups.wait(2, &"other".into());
        assert_eq!(next(), ["90", "other"]);
        kept.clear();
        let (_lookup, line) = lookups.next(8).unwrap();
        assert_eq!(&*line, "4");
        // Its place in the list is still there, and is passed over when it comes.
        assert!(lookups.wanted.borrow().contains(&(1, lines[90].clone())));
    }
}
