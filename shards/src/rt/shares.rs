//! Places that tasks of one executor share among those they work for, so that nobody has them all: a mail server's accounts, a chat server's
//! rooms. Not here: anything between cores.
//!
//! How many places one may have depends on how many are free, so that there is always one for who comes next (dynamic thresholds): alone,
//! it may have seven eighths; two may have seven fifteenths each; and so on. Of places that are not known to be of use it may have as many as
//! are free: alone half of them. Where there are not enough, whoever has least comes first.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::rc::Rc;

use futures_channel::oneshot;

/// Who has how many places, and who waits for one, with what. Pure.
pub struct Shares<K, T> {
    taken: usize,
    parties: HashMap<K, Party<T>>,
    /// Those who wait: by what they have, then by how long they wait.
    order: BTreeSet<(usize, u64, K)>,
    turn: u64,
}

struct Party<T> {
    held: usize,
    /// Those of them that are not known to be of use.
    unproved: usize,
    waiting: VecDeque<T>,
    turn: u64,
}

impl<T> Party<T> {
    fn weight(&self) -> usize {
        self.held.max(self.unproved * PROVED)
    }
}

impl<K, T> Default for Shares<K, T> {
    fn default() -> Self {
        Shares {
            taken: 0,
            parties: HashMap::new(),
            order: BTreeSet::new(),
            turn: 0,
        }
    }
}

impl<K: Clone + Ord + Hash, T> Shares<K, T> {
    /// Somebody wants a place for something.
    pub fn wait(&mut self, who: &K, what: T) {
        self.turn += 1;
        let turn = self.turn;
        self.change(who, |party| {
            if party.waiting.is_empty() {
                party.turn = turn;
            }
            party.waiting.push_back(what);
        });
    }

    /// Whoever is next takes a place, not yet known to be of use. None: nobody waits, or nobody may have one of so many.
    pub fn next(&mut self, most: usize) -> Option<(K, T)> {
        let (weight, _, who) = self.order.first()?;
        if *weight >= PROVED * self.free(most) {
            return None;
        }
        let who = who.clone();
        self.turn += 1;
        let turn = self.turn;
        let what = self.change(&who, |party| {
            party.held += 1;
            party.unproved += 1;
            party.turn = turn;
            party.waiting.pop_front()
        })?;
        self.taken += 1;
        Some((who, what))
    }

    /// A place goes back. `is_proved`: it was of use.
    pub fn give_back(&mut self, who: &K, is_proved: bool) {
        self.taken = self.taken.saturating_sub(1);
        self.change(who, |party| party.lose(is_proved));
    }

    /// A place is of use, or no longer known to be.
    pub fn prove(&mut self, who: &K, is_proved: bool) {
        self.change(who, |party| match is_proved {
            true => party.unproved = party.unproved.saturating_sub(1),
            false => party.unproved += 1,
        });
    }

    /// A place is another's from now on.
    pub fn pass(&mut self, from: &K, to: &K, is_proved: bool) {
        self.change(from, |party| party.lose(is_proved));
        self.change(to, |party| {
            party.held += 1;
            party.unproved += usize::from(!is_proved);
        });
    }

    /// Places that nobody has.
    pub fn free(&self, most: usize) -> usize {
        most.saturating_sub(self.taken)
    }

    /// Whether somebody waits.
    pub fn is_wanted(&self) -> bool {
        !self.order.is_empty()
    }

    fn change<R>(&mut self, who: &K, change: impl FnOnce(&mut Party<T>) -> R) -> R {
        let party = self.parties.entry(who.clone()).or_insert_with(|| Party {
            held: 0,
            unproved: 0,
            waiting: VecDeque::new(),
            turn: 0,
        });
        if !party.waiting.is_empty() {
            let place = (party.weight(), party.turn, who.clone());
            self.order.remove(&place);
        }
        let result = change(party);
        if !party.waiting.is_empty() {
            self.order.insert((party.weight(), party.turn, who.clone()));
        } else if party.held == 0 {
            self.parties.remove(who);
        }
        result
    }
}

impl<T> Party<T> {
    fn lose(&mut self, is_proved: bool) {
        self.held = self.held.saturating_sub(1);
        if !is_proved {
            self.unproved = self.unproved.saturating_sub(1);
        }
    }
}

/// A bounded number of tasks at something heavy, as [`super::Turns`], where each has a share and whoever has least comes first.
pub struct FairTurns<K: Clone + Ord + Hash>(RefCell<Line<K>>);

type Line<K> = Shares<K, oneshot::Sender<FairTurn<K>>>;

/// The right to be at it; dropped, it goes to the next.
pub struct FairTurn<K: Clone + Ord + Hash> {
    turns: Rc<FairTurns<K>>,
    who: K,
    most: usize,
}

impl<K: Clone + Ord + Hash> Default for FairTurns<K> {
    fn default() -> Self {
        FairTurns(RefCell::default())
    }
}

impl<K: Clone + Ord + Hash> FairTurns<K> {
    /// Waits for a turn of so many. The number that wait is bounded by the tasks there are.
    pub async fn take(self: &Rc<Self>, who: &K, most: usize) -> FairTurn<K> {
        let (sender, receiver) = oneshot::channel();
        self.0.borrow_mut().wait(who, sender);
        self.serve(most);
        let turn = receiver.await;
        turn.expect("a sender in the line is dropped only after it has sent, or was given up")
    }

    fn serve(self: &Rc<Self>, most: usize) {
        loop {
            let next = self.0.borrow_mut().next(most.max(1));
            let Some((who, sender)) = next else { return };
            if sender.is_canceled() {
                self.0.borrow_mut().give_back(&who, false);
                continue;
            }
            let turns = self.clone();
            // A waiter that ends before it looks drops the turn it was sent, and so hands it on.
            drop(sender.send(FairTurn { turns, who, most }));
        }
    }
}

impl<K: Clone + Ord + Hash> Drop for FairTurn<K> {
    fn drop(&mut self) {
        self.turns.0.borrow_mut().give_back(&self.who, false);
        self.turns.serve(self.most);
    }
}

/// Places that are of use, for one that is not known to be.
const PROVED: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt;

    /// Takes what may be taken; answers who got places, in order.
    fn serve(shares: &mut Shares<char, u32>, most: usize) -> String {
        std::iter::from_fn(|| shares.next(most).map(|(who, _)| who)).collect()
    }

    fn wait(shares: &mut Shares<char, u32>, who: char, count: u32) {
        (0..count).for_each(|n| shares.wait(&who, n));
    }

    #[test]
    fn one_that_wants_all_leaves_places_to_those_who_come() {
        let mut shares = Shares::default();
        wait(&mut shares, 'a', 100);
        assert_eq!(serve(&mut shares, 16), "aaaaaaaa");
        wait(&mut shares, 'b', 1);
        wait(&mut shares, 'c', 1);
        assert_eq!(serve(&mut shares, 16), "bc");
        // Those that are of use count for less.
        (0..8).for_each(|_| shares.prove(&'a', true));
        assert_eq!(serve(&mut shares, 16), "aaa");
        (0..3).for_each(|_| shares.prove(&'a', true));
        assert_eq!(serve(&mut shares, 16), "aa");
        (0..2).for_each(|_| shares.prove(&'a', true));
        assert_eq!(serve(&mut shares, 16), "");
        assert_eq!(shares.free(16), 1);
        wait(&mut shares, 'd', 9);
        assert_eq!(serve(&mut shares, 16), "d");
        assert!(shares.is_wanted());
    }

    #[test]
    fn whoever_has_least_is_next_and_equals_take_turns() {
        let mut shares = Shares::default();
        wait(&mut shares, 'a', 9);
        wait(&mut shares, 'b', 9);
        assert_eq!(serve(&mut shares, 9), "ababab");
        wait(&mut shares, 'c', 2);
        assert_eq!(serve(&mut shares, 9), "cc");
        shares.give_back(&'a', false);
        shares.give_back(&'b', false);
        assert_eq!(serve(&mut shares, 9), "a");
        // What one has is another's from now on.
        shares.pass(&'b', &'c', false);
        shares.give_back(&'a', false);
        assert_eq!(serve(&mut shares, 9), "b");
        assert_eq!(serve(&mut shares, 1), "");
    }

    #[test]
    fn each_keeps_its_order_and_nothing_is_left() {
        let mut shares = Shares::default();
        wait(&mut shares, 'a', 3);
        for n in 0..3 {
            assert_eq!(shares.next(1), Some(('a', n)));
            assert_eq!(shares.next(1), None);
            shares.give_back(&'a', false);
        }
        assert_eq!(shares.next(1), None);
        assert!(shares.parties.is_empty() && shares.order.is_empty());
        assert_eq!(shares.free(1), 1);
    }

    #[test]
    fn turns_go_to_whoever_has_least_and_pass_over_those_who_gave_up() {
        rt::block_on(async {
            let turns: Rc<FairTurns<u8>> = Rc::default();
            let first = turns.take(&1, 2).await;
            let mut second = Box::pin(turns.take(&1, 2));
            let mut gives_up = Box::pin(turns.take(&1, 2));
            for waiting in [&mut second, &mut gives_up] {
                assert!(futures_lite::future::poll_once(waiting).await.is_none());
            }
            let other = turns.take(&2, 2).await;
            drop(second);
            // Sent its turn, but ended before it looked.
            drop(first);
            drop(gives_up);
            drop(other);
            assert_eq!(turns.0.borrow().free(2), 2);
            drop(turns.take(&1, 1).await);
        })
        .unwrap();
    }
}
