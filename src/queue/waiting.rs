//! The recipients of a core that wait, in memory: small entries that say what to look at and when. The rows are the truth; an entry that no
//! longer fits its row is dropped when it is taken. Pure: times are arguments, seconds since 1970.
//!
//! Those that are due stand in line by domain, and there by account in turn, so that one account's bulk holds up no other's mail. The
//! others are in one heap by time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// A recipient that waits. 32 octets: there may be millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When it is due.
    due: u32,
    /// When it is to be given up.
    expires: u32,
    /// The message's body.
    pub body: u64,
    /// Which recipient of the message.
    pub index: u32,
    account: u32,
    domain: u32,
    /// The shard of the message.
    pub shard: u16,
}

/// A recipient to be added.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// Its domain, in lower case.
    pub domain: &'a str,
    /// Who sends; empty: the server itself.
    pub account: &'a str,
    /// The shard of the message.
    pub shard: u16,
    /// The message's body.
    pub body: u64,
    /// Which recipient of the message.
    pub index: u32,
    /// When it is due.
    pub due: i64,
    /// When it is to be given up.
    pub expires: i64,
}

/// All that wait on a core.
#[derive(Default)]
pub struct Waiting {
    domains: HashMap<Box<str>, u32>,
    lines: Vec<Line>,
    free: Vec<u32>,
    accounts: HashMap<Box<str>, u32>,
    later: BinaryHeap<Reverse<Entry>>,
    /// Domains that had nobody in line and have now, since they were last asked for.
    roused: Vec<Box<str>>,
    ready: usize,
}

/// The line of a domain.
#[derive(Default)]
struct Line {
    name: Box<str>,
    /// Accounts with entries, in turn.
    turns: VecDeque<u32>,
    by_account: HashMap<u32, VecDeque<Entry>>,
    ready: usize,
    /// Entries in the heap.
    later: usize,
}

impl Waiting {
    /// Adds a recipient.
    pub fn add(&mut self, new: New<'_>, now: i64) {
        let domain = self.domain(new.domain);
        let entry = Entry {
            due: clamp(new.due),
            expires: clamp(new.expires),
            body: new.body,
            index: new.index,
            account: self.account(new.account),
            domain,
            shard: new.shard,
        };
        if new.due <= now {
            self.stand(entry);
        } else {
            self.lines[domain as usize].later += 1;
            self.later.push(Reverse(entry));
        }
    }

    /// Puts an entry that was taken out of a domain's line in again, for another time.
    pub fn again(&mut self, domain: &str, entry: Entry, due: i64) {
        // Its line may be gone, and its number another's.
        let domain = self.domain(domain);
        let entry = Entry {
            due: clamp(due),
            domain,
            ..entry
        };
        self.lines[domain as usize].later += 1;
        self.later.push(Reverse(entry));
    }

    /// Those whose time has come stand in line.
    pub fn advance(&mut self, now: i64) {
        while let Some(Reverse(entry)) = self.later.peek().copied() {
            if i64::from(entry.due) > now {
                return;
            }
            self.later.pop();
            self.lines[entry.domain as usize].later -= 1;
            self.stand(entry);
        }
    }

    /// When the next time comes.
    pub fn next_due(&self) -> Option<i64> {
        self.later.peek().map(|Reverse(e)| i64::from(e.due))
    }

    /// Domains that had nobody in line and have now, since this was last asked.
    pub fn roused(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.roused)
    }

    /// The next in line of a domain.
    pub fn take(&mut self, domain: &str) -> Option<Entry> {
        let number = *self.domains.get(domain)?;
        let line = &mut self.lines[number as usize];
        let account = line.turns.pop_front()?;
        let entries = line.by_account.get_mut(&account)?;
        let entry = entries.pop_front()?;
        if entries.is_empty() {
            line.by_account.remove(&account);
        } else {
            line.turns.push_back(account);
        }
        line.ready -= 1;
        self.ready -= 1;
        self.forget_if_empty(number);
        Some(entry)
    }

    /// Others of the same message that stand right behind an entry that was taken, at most so many: they go in one transaction.
    pub fn take_same(&mut self, domain: &str, taken: &Entry, most: usize) -> Vec<Entry> {
        let mut same = Vec::new();
        let Some(&number) = self.domains.get(domain) else {
            return same;
        };
        let line = &mut self.lines[number as usize];
        let Some(entries) = line.by_account.get_mut(&taken.account) else {
            return same;
        };
        while same.len() < most {
            match entries.front() {
                Some(next) if (next.shard, next.body) == (taken.shard, taken.body) => {
                    same.extend(entries.pop_front());
                }
                _ => break,
            }
        }
        if entries.is_empty() {
            line.by_account.remove(&taken.account);
            line.turns.retain(|account| *account != taken.account);
        }
        line.ready -= same.len();
        self.ready -= same.len();
        self.forget_if_empty(number);
        same
    }

    /// How many stand in line for a domain.
    pub fn ready_for(&self, domain: &str) -> usize {
        let number = self.domains.get(domain);
        number.map_or(0, |n| self.lines[*n as usize].ready)
    }

    /// Takes out of a domain's line those whose time is over, for nobody may come to take them.
    pub fn take_expired(&mut self, domain: &str, now: i64) -> Vec<Entry> {
        let mut expired = Vec::new();
        let Some(&number) = self.domains.get(domain) else {
            return expired;
        };
        let line = &mut self.lines[number as usize];
        line.by_account.retain(|_, entries| {
            entries.retain(|entry| {
                let over = i64::from(entry.expires) <= now;
                if over {
                    expired.push(*entry);
                }
                !over
            });
            !entries.is_empty()
        });
        let by_account = &line.by_account;
        line.turns
            .retain(|account| by_account.contains_key(account));
        line.ready -= expired.len();
        self.ready -= expired.len();
        self.forget_if_empty(number);
        expired
    }

    /// Domains with somebody in line.
    pub fn domains_in_line(&self) -> Vec<Box<str>> {
        let lines = self.lines.iter().filter(|line| line.ready > 0);
        lines.map(|line| line.name.clone()).collect()
    }

    /// All that wait.
    pub fn count(&self) -> usize {
        self.ready + self.later.len()
    }

    /// Those that are due.
    #[cfg(test)]
    fn ready(&self) -> usize {
        self.ready
    }

    fn stand(&mut self, entry: Entry) {
        let line = &mut self.lines[entry.domain as usize];
        if line.ready == 0 {
            self.roused.push(line.name.clone());
        }
        line.ready += 1;
        self.ready += 1;
        let entries = line.by_account.entry(entry.account).or_default();
        if entries.is_empty() {
            line.turns.push_back(entry.account);
        }
        entries.push_back(entry);
    }

    fn domain(&mut self, name: &str) -> u32 {
        if let Some(number) = self.domains.get(name) {
            return *number;
        }
        let line = Line {
            name: name.into(),
            ..Line::default()
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.lines[number as usize] = line;
                number
            }
            None => {
                self.lines.push(line);
                (self.lines.len() - 1) as u32
            }
        };
        self.domains.insert(name.into(), number);
        number
    }

    fn account(&mut self, name: &str) -> u32 {
        let next = self.accounts.len() as u32;
        match self.accounts.get(name) {
            Some(number) => *number,
            None => *self.accounts.entry(name.into()).or_insert(next),
        }
    }

    fn forget_if_empty(&mut self, number: u32) {
        let line = &mut self.lines[number as usize];
        if line.ready == 0 && line.later == 0 {
            self.domains.remove(&line.name);
            *line = Line::default();
            self.free.push(number);
        }
    }
}

fn clamp(secs: i64) -> u32 {
    secs.clamp(0, i64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new<'a>(domain: &'a str, account: &'a str, body: u64, due: i64) -> New<'a> {
        New {
            domain,
            account,
            shard: 1,
            body,
            index: 0,
            due,
            expires: due + 1_000,
        }
    }

    fn bodies(waiting: &mut Waiting, domain: &str) -> Vec<u64> {
        std::iter::from_fn(|| waiting.take(domain).map(|e| e.body)).collect()
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 32);
    }

    #[test]
    fn accounts_take_turns_and_each_keeps_its_order() {
        let mut waiting = Waiting::default();
        for body in 0..6 {
            waiting.add(new("one.example", "bulk", body, 5), 10);
        }
        waiting.add(new("one.example", "anna", 100, 5), 10);
        waiting.add(new("two.example", "ben", 200, 5), 10);
        waiting.add(new("one.example", "anna", 101, 5), 10);
        assert_eq!(
            waiting.roused(),
            ["one.example".into(), "two.example".into()]
        );
        assert_eq!(waiting.roused(), []);
        assert_eq!((waiting.count(), waiting.ready_for("one.example")), (9, 8));
        assert_eq!(
            bodies(&mut waiting, "one.example"),
            [0, 100, 1, 101, 2, 3, 4, 5]
        );
        assert_eq!(bodies(&mut waiting, "two.example"), [200]);
        assert_eq!(waiting.count(), 0);
        assert!(waiting.domains.is_empty());
        assert_eq!(waiting.free.len(), 2);
    }

    #[test]
    fn who_is_not_due_comes_later() {
        let mut waiting = Waiting::default();
        waiting.add(new("one.example", "anna", 1, 30), 10);
        waiting.add(new("one.example", "anna", 2, 20), 10);
        waiting.add(new("one.example", "anna", 3, 1 << 40), 10);
        assert_eq!(waiting.next_due(), Some(20));
        assert_eq!(bodies(&mut waiting, "one.example"), [0u64; 0]);
        waiting.advance(19);
        assert_eq!(waiting.roused(), []);
        waiting.advance(30);
        assert_eq!(waiting.roused(), ["one.example".into()]);
        assert_eq!(bodies(&mut waiting, "one.example"), [2, 1]);
        assert_eq!((waiting.count(), waiting.ready()), (1, 0));
    }

    #[test]
    fn recipients_of_one_message_go_together() {
        let mut waiting = Waiting::default();
        for index in 0..5 {
            let entry = New {
                index,
                ..new("one.example", "anna", 1, 0)
            };
            waiting.add(entry, 10);
        }
        waiting.add(new("one.example", "anna", 2, 0), 10);
        let first = waiting.take("one.example").unwrap();
        let same = waiting.take_same("one.example", &first, 2);
        assert_eq!(same.iter().map(|e| e.index).collect::<Vec<_>>(), [1, 2]);
        let same = waiting.take_same("one.example", &first, 100);
        assert_eq!(same.len(), 2);
        assert_eq!(bodies(&mut waiting, "one.example"), [2]);
        assert!(waiting.take_same("one.example", &first, 100).is_empty());
        assert_eq!(waiting.count(), 0);
    }

    #[test]
    fn who_stands_in_line_too_long_is_taken_out() {
        let mut waiting = Waiting::default();
        for body in 0..10 {
            let account = if body % 2 == 0 { "anna" } else { "ben" };
            waiting.add(new("one.example", account, body, body as i64), 100);
        }
        assert!(waiting.take_expired("one.example", 999).is_empty());
        assert_eq!(waiting.take_expired("one.example", 1_004).len(), 5);
        assert_eq!(waiting.take_expired("two.example", 1_004).len(), 0);
        assert_eq!(bodies(&mut waiting, "one.example"), [6, 5, 8, 7, 9]);
        waiting.add(new("one.example", "anna", 1, 0), 100);
        assert_eq!(waiting.take_expired("one.example", 2_000).len(), 1);
        assert_eq!(waiting.count(), 0);
        assert!(waiting.domains.is_empty());
    }

    #[test]
    fn a_million_recipients_of_ten_thousand_domains_fit() {
        let mut waiting = Waiting::default();
        for n in 0..1_000_000u64 {
            let domain = format!("d{}.example", n % 10_000);
            waiting.add(new(&domain, "bulk", n, (n % 1_000) as i64), 0);
        }
        assert_eq!(waiting.count(), 1_000_000);
        waiting.advance(500);
        assert_eq!(waiting.ready(), 501_000);
        let mut taken = 0;
        for domain in waiting.domains_in_line() {
            taken += bodies(&mut waiting, &domain).len();
        }
        assert_eq!(taken, 501_000);
        assert_eq!(waiting.count(), 499_000);
    }
}
