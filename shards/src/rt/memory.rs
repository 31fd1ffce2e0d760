//! Memory that tasks of one executor share among those they work for, so that nobody has all of it. Each takes some before it fills it. Not here:
//! anything between cores, memory that all wait for in one line ([`super::Budget`]).
//!
//! As of [`super::Shares`], how much one may have depends on how much is free, so that those who come find some: of large shares as
//! much as is free, alone half; of small ones seven times as much. Large and small ones have an eighth each for themselves, and wait in lines of their own, so neither
//! holds up the other. Whoever has least comes first.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::rc::Rc;

use futures_channel::oneshot;

/// The memory.
pub struct FairMemory<K: Clone + Ord + Hash>(RefCell<Senders<K>>);

type Senders<K> = Line<K, oneshot::Sender<FairShare<K>>>;

/// Some of it; dropped, others may have it.
pub struct FairShare<K: Clone + Ord + Hash> {
    memory: Rc<FairMemory<K>>,
    who: K,
    octets: usize,
}

impl<K: Clone + Ord + Hash> Default for FairMemory<K> {
    fn default() -> Self {
        FairMemory(RefCell::default())
    }
}

impl<K: Clone + Ord + Hash> FairMemory<K> {
    /// Waits for so many octets of `most`; who wants more than there is gets all of it.
    pub async fn take(self: &Rc<Self>, who: &K, octets: usize, most: usize) -> FairShare<K> {
        let octets = octets.min(most);
        let is_free = {
            let mut line = self.0.borrow_mut();
            line.most = most;
            line.take(who, octets)
        };
        if is_free {
            return self.share(who.clone(), octets);
        }
        let (sender, receiver) = oneshot::channel();
        self.0.borrow_mut().wait(who, octets, sender);
        self.serve();
        let share = receiver.await;
        share.expect("a sender in the line is dropped only after it has sent, or was given up")
    }

    fn serve(self: &Rc<Self>) {
        loop {
            let next = self.0.borrow_mut().next();
            let Some((who, octets, sender)) = next else {
                return;
            };
            if sender.is_canceled() {
                self.0.borrow_mut().give_back(&who, octets);
                continue;
            }
            // A waiter that ends before it looks drops what it was sent, and so hands it on.
            drop(sender.send(self.share(who, octets)));
        }
    }

    fn share(self: &Rc<Self>, who: K, octets: usize) -> FairShare<K> {
        let memory = self.clone();
        FairShare {
            memory,
            who,
            octets,
        }
    }
}

impl<K: Clone + Ord + Hash> Drop for FairShare<K> {
    fn drop(&mut self) {
        let mut line = self.memory.0.borrow_mut();
        line.give_back(&self.who, self.octets);
        drop(line);
        self.memory.serve();
    }
}

/// Who has how much, and who waits, with what. Pure.
struct Line<K, T> {
    most: usize,
    small: Class<K, T>,
    large: Class<K, T>,
}

struct Class<K, T> {
    taken: usize,
    parties: HashMap<K, Party<T>>,
    /// Those who wait: by what they have, then by how long they wait.
    order: BTreeSet<(usize, u64, K)>,
    turn: u64,
    /// Octets that one may have for one that is free.
    times: usize,
}

struct Party<T> {
    held: usize,
    turn: u64,
    waiting: VecDeque<(usize, T)>,
}

impl<K: Clone + Ord + Hash, T> Default for Line<K, T> {
    fn default() -> Self {
        Line {
            most: 0,
            small: Class::new(7),
            large: Class::new(1),
        }
    }
}

impl<K: Clone + Ord + Hash, T> Line<K, T> {
    fn class(&mut self, octets: usize) -> &mut Class<K, T> {
        match octets > SMALL_MAX {
            true => &mut self.large,
            false => &mut self.small,
        }
    }

    /// Takes some at once, if nobody waits for it and it is there.
    fn take(&mut self, who: &K, octets: usize) -> bool {
        let (most, taken) = (self.most, self.small.taken + self.large.taken);
        let class = self.class(octets);
        let is_free = class.order.is_empty() && class.fits(who, octets, most, taken);
        if is_free {
            class.taken += octets;
            class.change(who, |known| known.held += octets);
        }
        is_free
    }

    fn wait(&mut self, who: &K, octets: usize, what: T) {
        let class = self.class(octets);
        class.turn += 1;
        let turn = class.turn;
        class.change(who, |known| {
            if known.waiting.is_empty() {
                known.turn = turn;
            }
            known.waiting.push_back((octets, what));
        });
    }

    /// Whoever is next takes what it waits for.
    fn next(&mut self) -> Option<(K, usize, T)> {
        let taken = self.small.taken + self.large.taken;
        let small = self.small.next(self.most, taken);
        small.or_else(|| self.large.next(self.most, taken))
    }

    fn give_back(&mut self, who: &K, octets: usize) {
        let class = self.class(octets);
        class.taken -= octets;
        class.change(who, |known| known.held -= octets);
    }
}

impl<K: Clone + Ord + Hash, T> Class<K, T> {
    fn new(times: usize) -> Class<K, T> {
        Class {
            taken: 0,
            parties: HashMap::new(),
            order: BTreeSet::new(),
            turn: 0,
            times,
        }
    }

    fn next(&mut self, most: usize, taken: usize) -> Option<(K, usize, T)> {
        let who = self.order.first()?.2.clone();
        let (octets, _) = self.parties.get(&who)?.waiting.front()?;
        let octets = *octets;
        if !self.fits(&who, octets, most, taken) {
            return None;
        }
        self.taken += octets;
        self.turn += 1;
        let turn = self.turn;
        let mut what = None;
        self.change(&who, |known| {
            known.held += octets;
            known.turn = turn;
            what = known.waiting.pop_front();
        });
        what.map(|(octets, what)| (who, octets, what))
    }

    /// `taken`: of both classes.
    fn fits(&self, who: &K, octets: usize, most: usize, taken: usize) -> bool {
        if taken == 0 {
            // What was asked for before there was less.
            return true;
        }
        let free = most.saturating_sub(taken);
        let Some(left) = free.checked_sub(octets) else {
            return false;
        };
        let own = most - most / RESERVE;
        let held = self.parties.get(who).map_or(0, |known| known.held);
        (self.taken == 0 || self.taken + octets <= own)
            && (held == 0 || held + octets <= self.times * left)
    }

    fn change(&mut self, who: &K, change: impl FnOnce(&mut Party<T>)) {
        let known = self.parties.entry(who.clone()).or_insert_with(|| Party {
            held: 0,
            turn: 0,
            waiting: VecDeque::new(),
        });
        if !known.waiting.is_empty() {
            self.order.remove(&(known.held, known.turn, who.clone()));
        }
        change(known);
        if !known.waiting.is_empty() {
            self.order.insert((known.held, known.turn, who.clone()));
        } else if known.held == 0 {
            self.parties.remove(who);
        }
    }
}

/// Octets of a small share.
const SMALL_MAX: usize = 128 << 10;
/// One in so many is for small shares alone, and one for large ones.
const RESERVE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const SMALL: usize = 64 << 10;

    fn line() -> Line<u32, ()> {
        Line {
            most: 64 * MIB,
            ..Line::default()
        }
    }

    /// Takes what there is; answers how many each account got of large and small shares.
    fn serve(line: &mut Line<u32, ()>) -> Vec<(u32, bool, usize)> {
        let mut got: Vec<(u32, bool, usize)> = Vec::new();
        while let Some((account, octets, ())) = line.next() {
            let is_large = octets > SMALL_MAX;
            match got.iter_mut().find(|g| (g.0, g.1) == (account, is_large)) {
                Some(known) => known.2 += 1,
                None => got.push((account, is_large, 1)),
            }
        }
        got
    }

    #[test]
    fn large_messages_of_one_leave_memory_to_small_ones_and_to_others() {
        let mut line = line();
        (0..100).for_each(|_| line.wait(&1, MIB, ()));
        assert_eq!(serve(&mut line), [(1, true, 32)]);
        // His own small ones are not behind them.
        (0..9).for_each(|_| line.wait(&1, SMALL, ()));
        assert_eq!(serve(&mut line), [(1, false, 9)]);
        (0..9).for_each(|_| line.wait(&2, MIB, ()));
        assert_eq!(serve(&mut line), [(2, true, 9)]);
        // What goes back goes to whoever has least.
        line.give_back(&1, MIB);
        line.wait(&3, MIB, ());
        assert_eq!(serve(&mut line), [(3, true, 1)]);
    }

    #[test]
    fn neither_small_nor_large_ones_take_all() {
        let mut line = line();
        for account in 0..2_000 {
            line.wait(&account, SMALL, ());
        }
        let small: usize = serve(&mut line).iter().map(|got| got.2).sum();
        assert_eq!(small, 56 * MIB / SMALL);
        for account in 0..20 {
            line.wait(&account, MIB, ());
        }
        assert_eq!(serve(&mut line).len(), 8);
        line.give_back(&0, SMALL);
        assert_eq!(serve(&mut line).len(), 1);
    }

    #[test]
    fn what_is_more_than_there_is_gets_its_turn_alone_and_nothing_is_left() {
        let mut line = line();
        line.most = MIB;
        assert!(line.take(&1, 2 * MIB));
        assert!(!line.take(&1, SMALL));
        line.wait(&1, SMALL, ());
        line.wait(&2, MIB, ());
        assert!(serve(&mut line).is_empty());
        line.give_back(&1, 2 * MIB);
        assert_eq!(serve(&mut line), [(1, false, 1)]);
        line.give_back(&1, SMALL);
        assert_eq!(serve(&mut line), [(2, true, 1)]);
        line.give_back(&2, MIB);
        for class in [&line.small, &line.large] {
            assert!(class.parties.is_empty() && class.order.is_empty() && class.taken == 0);
        }
    }
}
