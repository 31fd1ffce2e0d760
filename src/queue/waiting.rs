//! The recipients of a core that wait, in memory: small entries that say what to look at and when. The rows are the truth; an entry that no
//! longer fits its row is dropped when it is taken. Pure: times are arguments, seconds since 1970.
//!
//! Those that are due stand in lines: one for each domain, or for each next hop that the operator's routes name. Lines that lead to the same
//! site are joined; there accounts take turns, and for each account its lines, so that one account's bulk holds up no other's mail. The others
//! are in one heap by time. `turns` is who is next, `sweep` looks at all of them.

mod sweep;
mod turns;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::rc::Rc;

pub use sweep::Late;
use sweep::Sweep;
use turns::{Place, Places, Turns};

/// A recipient that waits. 32 octets: there may be millions. In the order in which they come in line: recipients of a message together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When it is due.
    due: u32,
    /// When it is to be given up.
    expires: u32,
    /// The shard of the message.
    pub shard: u16,
    /// The message's body.
    pub body: u64,
    /// Which recipient of the message.
    pub index: u32,
    account: u32,
    line: u32,
    /// It shares no transaction: its reverse-path is its own.
    alone: bool,
}

impl Entry {
    /// Which recipient: shard, body, position.
    pub fn key(&self) -> (u16, u64, u32) {
        (self.shard, self.body, self.index)
    }

    /// When it is due.
    pub fn due(&self) -> u32 {
        self.due
    }
}

/// A recipient to be added.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// The name of its line.
    pub line: &'a str,
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
    /// It shares no transaction: its reverse-path is its own.
    pub alone: bool,
}

/// All that wait on a core.
#[derive(Default)]
pub struct Waiting {
    line_numbers: HashMap<Rc<str>, u32>,
    lines: Vec<Line>,
    free_lines: Vec<u32>,
    /// Those that have a name; a line that nobody has joined to any has one of its own, without.
    site_numbers: HashMap<Rc<str>, u32>,
    sites: Vec<Site>,
    free_sites: Vec<u32>,
    accounts: HashMap<Rc<str>, u32>,
    account_names: Vec<Rc<str>>,
    later: BinaryHeap<Reverse<Entry>>,
    /// One that is under way.
    sweep: Option<Sweep>,
    /// Lines that had nobody of an account in them and have now, since they were last asked for.
    roused: Vec<Rc<str>>,
    ready: usize,
}

struct Line {
    name: Rc<str>,
    site: u32,
    by_account: HashMap<u32, Own>,
    ready: usize,
    /// Entries in the heap.
    later: usize,
}

/// What an account has in a line.
#[derive(Default)]
struct Own {
    entries: VecDeque<Entry>,
    /// Among the account's lines at the site.
    place: Place,
}

/// Lines that are served together.
#[derive(Default)]
struct Site {
    name: Option<Rc<str>>,
    /// Accounts with entries, in turn.
    turns: Turns,
    by_account: HashMap<u32, AtSite>,
    lines: usize,
    ready: usize,
}

/// What an account has at a site.
#[derive(Default)]
struct AtSite {
    /// The lines in which it has entries, in turn.
    turns: Turns,
    /// Among the accounts.
    place: Place,
}

impl Waiting {
    /// Adds a recipient.
    pub fn add(&mut self, new: New<'_>, now: i64) {
        let line = self.line(new.line);
        let entry = Entry {
            due: clamp(new.due),
            expires: clamp(new.expires),
            body: new.body,
            index: new.index,
            account: self.account(new.account),
            line,
            shard: new.shard,
            alone: new.alone,
        };
        if new.due <= now {
            self.stand(entry);
        } else {
            self.lines[line as usize].later += 1;
            self.later.push(Reverse(entry));
        }
    }

    /// Puts an entry that was taken out of a line in again, for another time.
    pub fn again(&mut self, line: &str, entry: Entry, due: i64) {
        // Its line may be gone, and its number another's.
        let line = self.line(line);
        let entry = Entry {
            due: clamp(due),
            line,
            ..entry
        };
        self.lines[line as usize].later += 1;
        self.later.push(Reverse(entry));
    }

    /// Those whose time has come stand in line: so many at most, for a million may have the same. The others are due then ([`Waiting::next_due`]).
    pub fn advance(&mut self, now: i64) {
        for _ in 0..ADVANCE_MAX {
            let Some(Reverse(entry)) = self.later.peek().copied() else {
                return;
            };
            if i64::from(entry.due) > now {
                return;
            }
            self.later.pop();
            self.lines[entry.line as usize].later -= 1;
            self.stand(entry);
        }
    }

    /// When the next time comes.
    pub fn next_due(&self) -> Option<i64> {
        self.later.peek().map(|Reverse(e)| i64::from(e.due))
    }

    /// Lines that had nobody of an account in them and have now, since this was last asked.
    pub fn roused(&mut self) -> Vec<Rc<str>> {
        std::mem::take(&mut self.roused)
    }

    /// Joins a line to those of a site; a line that is not there is left alone.
    pub fn join(&mut self, line: &str, site: &str) {
        let Some(&number) = self.line_numbers.get(line) else {
            return;
        };
        let new = match self.site_numbers.get(site) {
            Some(new) => *new,
            None => self.new_site(Some(site.into())),
        };
        self.put(number, new);
    }

    /// Takes a line out of its site: it has one of its own again.
    pub fn part(&mut self, line: &str) {
        let Some(&number) = self.line_numbers.get(line) else {
            return;
        };
        let old = self.lines[number as usize].site;
        if self.sites[old as usize].name.is_some() {
            let new = self.new_site(None);
            self.put(number, new);
        }
    }

    /// The site that a line is joined to.
    pub fn site_of(&self, line: &str) -> Option<Rc<str>> {
        let line = *self.line_numbers.get(line)?;
        let site = self.lines[line as usize].site;
        self.sites[site as usize].name.clone()
    }

    fn put(&mut self, number: u32, new: u32) {
        let old = self.lines[number as usize].site;
        if old == new {
            return;
        }
        let line = &mut self.lines[number as usize];
        line.site = new;
        let ready = line.ready;
        let accounts: Vec<u32> = line.by_account.keys().copied().collect();
        for account in accounts {
            self.sites[old as usize].leave(account, number, &mut self.lines);
            self.sites[new as usize].enter(account, number, &mut self.lines);
        }
        self.sites[old as usize].ready -= ready;
        self.sites[old as usize].lines -= 1;
        self.sites[new as usize].ready += ready;
        self.sites[new as usize].lines += 1;
        self.forget_site_if_empty(old);
    }

    /// The next message of a site: its line, and at most so many of its recipients that stand there one behind the other. Of the next few accounts the
    /// one has its turn that has least there now (`has`): who has mail that takes long does not come to have all connections.
    pub fn take(
        &mut self,
        site: &str,
        most: usize,
        has: impl Fn(u32) -> u32,
    ) -> Option<(Rc<str>, Vec<Entry>)> {
        let number = *self.site_numbers.get(site)?;
        let site = &self.sites[number as usize];
        let account = site
            .accounts()
            .take(ACCOUNTS_LOOKED_AT)
            .min_by_key(|a| has(*a))?;
        self.take_of((number, account), most, false)
    }

    /// The same of a line, if it is joined to no site. Nobody is asked about them, so that those that share no transaction come together too.
    pub fn take_line(&mut self, line: &str, most: usize) -> Option<Vec<Entry>> {
        let line = *self.line_numbers.get(line)?;
        let site = self.lines[line as usize].site;
        if self.sites[site as usize].name.is_some() {
            return None;
        }
        let account = self.sites[site as usize].turns.first()?;
        let taken = self.take_of((site, account), most, true);
        taken.map(|(_, entries)| entries)
    }

    fn take_of(
        &mut self,
        (site_number, account): (u32, u32),
        most: usize,
        together: bool,
    ) -> Option<(Rc<str>, Vec<Entry>)> {
        let site = &mut self.sites[site_number as usize];
        let line_number = site.by_account.get(&account)?.turns.first()?;
        let line = &mut self.lines[line_number as usize];
        let entries = &mut line.by_account.get_mut(&account)?.entries;
        let first = entries.pop_front()?;
        let mut taken = vec![first];
        while (together || !first.alone) && taken.len() < most.max(1) {
            match entries.front() {
                Some(next) if (next.shard, next.body) == (first.shard, first.body) => {
                    taken.extend(entries.pop_front());
                }
                _ => break,
            }
        }
        let is_empty = entries.is_empty();
        site.ready -= taken.len();
        line.ready -= taken.len();
        self.ready -= taken.len();
        let name = line.name.clone();
        match is_empty {
            true => {
                site.next_account(account);
                self.leave(line_number, account);
            }
            false => site.turn(account, line_number, &mut self.lines),
        }
        self.forget_if_empty(line_number);
        Some((name, taken))
    }

    /// Accounts with somebody in the lines of a site, in turn, at most so many.
    pub fn accounts_at(&self, site: &str, most: usize) -> Vec<u32> {
        let number = self.site_numbers.get(site);
        let site = number.map(|n| &self.sites[*n as usize]);
        site.into_iter()
            .flat_map(Site::accounts)
            .take(most)
            .collect()
    }

    /// Accounts with somebody in a line, at most so many.
    pub fn accounts_in(&self, line: &str, most: usize) -> Vec<u32> {
        let number = self.line_numbers.get(line);
        let accounts = number.map(|n| self.lines[*n as usize].by_account.keys());
        accounts.into_iter().flatten().copied().take(most).collect()
    }

    /// Whether an account has somebody in the lines of a site.
    pub fn stands_at(&self, site: &str, account: u32) -> bool {
        let number = self.site_numbers.get(site);
        number.is_some_and(|n| self.sites[*n as usize].by_account.contains_key(&account))
    }

    /// How many stand in the lines of a site.
    pub fn ready_for(&self, site: &str) -> usize {
        let number = self.site_numbers.get(site);
        number.map_or(0, |n| self.sites[*n as usize].ready)
    }

    /// How many stand in a line.
    pub fn ready_in(&self, line: &str) -> usize {
        let number = self.line_numbers.get(line);
        number.map_or(0, |n| self.lines[*n as usize].ready)
    }

    /// Lines with somebody in them.
    pub fn lines_in_use(&self) -> Vec<Rc<str>> {
        let lines = self.lines.iter().filter(|line| line.ready > 0);
        lines.map(|line| line.name.clone()).collect()
    }

    /// All that wait.
    pub fn count(&self) -> usize {
        let swept = self.sweep.as_ref().and_then(|sweep| sweep.later.as_ref());
        self.ready + self.later.len() + swept.map_or(0, ExactSizeIterator::len)
    }

    /// Those that are due.
    pub fn ready(&self) -> usize {
        self.ready
    }

    fn stand(&mut self, entry: Entry) {
        let line = &mut self.lines[entry.line as usize];
        line.ready += 1;
        self.ready += 1;
        let site = &mut self.sites[line.site as usize];
        site.ready += 1;
        let entries = &mut line.by_account.entry(entry.account).or_default().entries;
        let is_new = entries.is_empty();
        entries.push_back(entry);
        if is_new {
            self.roused.push(line.name.clone());
            site.enter(entry.account, entry.line, &mut self.lines);
        }
    }

    /// An account has nobody in a line any more.
    fn leave(&mut self, number: u32, account: u32) {
        let site = self.lines[number as usize].site;
        self.sites[site as usize].leave(account, number, &mut self.lines);
        self.lines[number as usize].by_account.remove(&account);
    }

    fn line(&mut self, name: &str) -> u32 {
        if let Some(number) = self.line_numbers.get(name) {
            return *number;
        }
        let site = self.new_site(None);
        self.sites[site as usize].lines = 1;
        let line = Line {
            name: name.into(),
            site,
            by_account: HashMap::new(),
            ready: 0,
            later: 0,
        };
        let name = line.name.clone();
        let number = match self.free_lines.pop() {
            Some(number) => {
                self.lines[number as usize] = line;
                number
            }
            None => {
                self.lines.push(line);
                (self.lines.len() - 1) as u32
            }
        };
        self.line_numbers.insert(name, number);
        number
    }

    fn new_site(&mut self, name: Option<Rc<str>>) -> u32 {
        let site = Site {
            name: name.clone(),
            ..Site::default()
        };
        let number = match self.free_sites.pop() {
            Some(number) => {
                self.sites[number as usize] = site;
                number
            }
            None => {
                self.sites.push(site);
                (self.sites.len() - 1) as u32
            }
        };
        if let Some(name) = name {
            self.site_numbers.insert(name, number);
        }
        number
    }

    /// The number of an account.
    pub fn account(&mut self, name: &str) -> u32 {
        if let Some(number) = self.accounts.get(name) {
            return *number;
        }
        let number = self.account_names.len() as u32;
        let name: Rc<str> = name.into();
        self.account_names.push(name.clone());
        self.accounts.insert(name, number);
        number
    }

    /// Its name.
    pub fn account_name(&self, number: u32) -> Rc<str> {
        let name = self.account_names.get(number as usize);
        name.cloned().unwrap_or_default()
    }

    fn forget_if_empty(&mut self, number: u32) {
        let line = &mut self.lines[number as usize];
        if line.ready > 0 || line.later > 0 {
            return;
        }
        let site = line.site;
        self.line_numbers.remove(&line.name);
        line.by_account = HashMap::new();
        self.free_lines.push(number);
        self.sites[site as usize].lines -= 1;
        self.forget_site_if_empty(site);
    }

    fn forget_site_if_empty(&mut self, number: u32) {
        let site = &mut self.sites[number as usize];
        if site.lines > 0 {
            return;
        }
        if let Some(name) = &site.name {
            self.site_numbers.remove(name);
        }
        *site = Site::default();
        self.free_sites.push(number);
    }
}

impl Site {
    /// Accounts with entries, in turn.
    fn accounts(&self) -> impl Iterator<Item = u32> {
        let behind = |account: &u32| self.by_account.get(account)?.place.behind();
        std::iter::successors(self.turns.first(), behind)
    }

    /// An account has entries in a line.
    fn enter(&mut self, account: u32, line: u32, lines: &mut [Line]) {
        let own = self.by_account.entry(account).or_default();
        let is_new = own.turns.first().is_none();
        own.turns.enter(line, &mut OfAccount { account, lines });
        if is_new {
            self.turns.enter(account, &mut self.by_account);
        }
    }

    /// It has none any more.
    fn leave(&mut self, account: u32, line: u32, lines: &mut [Line]) {
        let Some(own) = self.by_account.get_mut(&account) else {
            return;
        };
        own.turns.leave(line, &mut OfAccount { account, lines });
        if own.turns.first().is_none() {
            self.turns.leave(account, &mut self.by_account);
            self.by_account.remove(&account);
        }
    }

    /// The account whose turn it is has had it, of its first line, and has more there.
    fn turn(&mut self, account: u32, line: u32, lines: &mut [Line]) {
        if let Some(own) = self.by_account.get_mut(&account) {
            own.turns.leave(line, &mut OfAccount { account, lines });
            own.turns.enter(line, &mut OfAccount { account, lines });
        }
        self.next_account(account);
    }

    /// It comes behind the others.
    fn next_account(&mut self, account: u32) {
        self.turns.leave(account, &mut self.by_account);
        self.turns.enter(account, &mut self.by_account);
    }
}

/// Lines, as an account stands in them.
struct OfAccount<'a> {
    account: u32,
    lines: &'a mut [Line],
}

impl Places for OfAccount<'_> {
    fn place(&mut self, line: u32) -> Option<&mut Place> {
        let own = self.lines[line as usize].by_account.get_mut(&self.account);
        own.map(|own| &mut own.place)
    }
}

impl Places for HashMap<u32, AtSite> {
    fn place(&mut self, account: u32) -> Option<&mut Place> {
        self.get_mut(&account).map(|own| &mut own.place)
    }
}

/// A time as entries have it.
pub fn clamp(secs: i64) -> u32 {
    secs.clamp(0, i64::from(u32::MAX)) as u32
}

/// Recipients that come in line at once.
const ADVANCE_MAX: usize = 10_000;

/// Accounts at a site of which the one with least is next.
const ACCOUNTS_LOOKED_AT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn new<'a>(line: &'a str, account: &'a str, body: u64, due: i64) -> New<'a> {
        New {
            line,
            account,
            shard: 1,
            body,
            index: 0,
            due,
            expires: due + 1_000,
            alone: false,
        }
    }

    fn bodies(waiting: &mut Waiting, line: &str) -> Vec<u64> {
        std::iter::from_fn(|| waiting.take_line(line, 1).map(|all| all[0].body)).collect()
    }

    #[test]
    fn who_has_least_at_a_site_is_next() {
        let mut waiting = Waiting::default();
        for body in 0..6 {
            for account in ["slow", "quick"] {
                waiting.add(new("one.example", account, body, 0), 0);
            }
        }
        waiting.join("one.example", "mx");
        let slow = waiting.account("slow");
        let mut taken = Vec::new();
        for has_slow in [1, 1, 1, 0, 0, 0] {
            let has = |account| if account == slow { has_slow } else { 0 };
            let (_, entries) = waiting.take("mx", 10, has).unwrap();
            taken.push(entries[0].account == slow);
        }
        // Then in turn again.
        assert_eq!(taken[..3], [false; 3]);
        assert_eq!(taken[3..].iter().filter(|is_slow| **is_slow).count(), 2);
    }

    fn of_site(waiting: &mut Waiting, site: &str) -> Vec<u64> {
        std::iter::from_fn(|| waiting.take(site, 1, |_| 0).map(|(_, all)| all[0].body)).collect()
    }

    fn is_empty(waiting: &Waiting) -> bool {
        let sites = waiting.free_sites.len() == waiting.sites.len();
        let lines = waiting.free_lines.len() == waiting.lines.len();
        let named = waiting.line_numbers.len() + waiting.site_numbers.len();
        sites && lines && named == 0 && waiting.count() == 0
    }

    /// Keeps only some; answers how many slices it took.
    fn retain(waiting: &mut Waiting, mut keep: impl FnMut(&Entry) -> bool) -> usize {
        let mut slices = 1;
        while waiting.sweep(&mut keep) {
            slices += 1;
        }
        slices
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
            ["one.example", "one.example", "two.example"].map(Rc::from)
        );
        assert_eq!(waiting.roused(), []);
        assert_eq!((waiting.count(), waiting.ready_in("one.example")), (9, 8));
        assert_eq!(
            bodies(&mut waiting, "one.example"),
            [0, 100, 1, 101, 2, 3, 4, 5]
        );
        assert_eq!(bodies(&mut waiting, "two.example"), [200]);
        assert!(is_empty(&waiting));
    }

    #[test]
    fn whose_mail_stands_where_is_known() {
        let mut waiting = Waiting::default();
        waiting.add(new("one.example", "bulk", 1, 5), 10);
        waiting.join("one.example", "mx");
        for (body, account) in [(2, "bulk"), (3, "anna"), (4, "ben")] {
            let line = if account == "ben" {
                "two"
            } else {
                "one.example"
            };
            waiting.add(new(line, account, body, 5), 10);
        }
        let numbers = ["bulk", "anna", "ben"].map(|name| waiting.account(name));
        assert_eq!(waiting.accounts_at("mx", 9), numbers[..2]);
        assert_eq!(waiting.accounts_at("mx", 1), numbers[..1]);
        let stands = numbers.map(|number| waiting.stands_at("mx", number));
        assert_eq!(stands, [true, true, false]);
        let mut in_line = waiting.accounts_in("one.example", 9);
        in_line.sort_unstable();
        assert_eq!(in_line, numbers[..2]);
        assert_eq!(waiting.accounts_in("two", 9), numbers[2..]);
    }

    #[test]
    fn a_million_of_one_time_come_in_line_bit_by_bit() {
        let mut waiting = Waiting::default();
        let count = 2 * ADVANCE_MAX + 5;
        for body in 0..count as u64 {
            waiting.add(new("one.example", "anna", body, 100), 0);
        }
        let mut ready = Vec::new();
        while waiting.next_due().is_some_and(|due| due <= 100) {
            waiting.advance(100);
            ready.push(waiting.ready_in("one.example"));
        }
        assert_eq!(ready, [ADVANCE_MAX, 2 * ADVANCE_MAX, count]);
    }

    #[test]
    fn lines_of_a_site_are_one_to_its_accounts() {
        let mut waiting = Waiting::default();
        for line in ["a.example", "b.example", "c.example"] {
            for body in 0..2 {
                let body = body + u64::from(line.as_bytes()[0]) * 10;
                waiting.add(new(line, "bulk", body, 5), 10);
            }
        }
        waiting.add(new("b.example", "anna", 1, 5), 10);
        waiting.add(new("b.example", "anna", 2, 5), 10);
        for line in ["a.example", "b.example", "c.example"] {
            waiting.join(line, "mx");
            waiting.join(line, "mx");
        }
        waiting.join("d.example", "mx");
        // One of anna's for each of bulk's, however many domains bulk writes to.
        waiting.add(new("c.example", "anna", 3, 5), 10);
        assert_eq!((waiting.ready_for("mx"), waiting.ready()), (9, 9));
        assert_eq!(waiting.take_line("a.example", 1), None);
        let order = of_site(&mut waiting, "mx");
        assert_eq!(order[..6], [970, 1, 980, 3, 990, 2]);
        assert_eq!(order[6..], [971, 981, 991]);
        assert!(is_empty(&waiting));
    }

    #[test]
    fn a_line_goes_to_another_site_with_all_that_stand_there() {
        let mut waiting = Waiting::default();
        waiting.add(new("a.example", "anna", 1, 5), 10);
        waiting.add(new("a.example", "anna", 2, 50), 10);
        waiting.add(new("b.example", "anna", 3, 5), 10);
        waiting.join("a.example", "old");
        waiting.join("b.example", "old");
        waiting.join("a.example", "new");
        assert_eq!(waiting.site_of("a.example").as_deref(), Some("new"));
        waiting.part("a.example");
        assert_eq!(waiting.site_of("a.example"), None);
        waiting.part("a.example");
        waiting.join("a.example", "new");
        waiting.advance(60);
        assert_eq!(of_site(&mut waiting, "old"), [3]);
        assert_eq!(of_site(&mut waiting, "new"), [1, 2]);
        assert!(is_empty(&waiting));
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
        let mut take = || waiting.take_line("one.example", 3).unwrap();
        let indexes = |taken: Vec<Entry>| taken.iter().map(|e| e.index).collect::<Vec<_>>();
        assert_eq!(indexes(take()), [0, 1, 2]);
        assert_eq!(indexes(take()), [3, 4]);
        assert_eq!(take()[0].body, 2);
        assert!(is_empty(&waiting));
    }

    #[test]
    fn recipients_of_messages_of_one_number_come_back_together() {
        let mut waiting = Waiting::default();
        for shard in [0, 4] {
            for index in [0, 1] {
                let entry = New {
                    shard,
                    index,
                    ..new("one.example", "a", 7, 10)
                };
                waiting.add(entry, 0);
            }
        }
        waiting.advance(10);
        for shard in [0, 4] {
            let taken = waiting.take_line("one.example", 10).unwrap();
            let keys: Vec<_> = taken.iter().map(Entry::key).collect();
            assert_eq!(keys, [(shard, 7, 0), (shard, 7, 1)]);
        }
    }

    #[test]
    fn recipients_with_a_reverse_path_of_their_own_are_taken_one_by_one() {
        let mut waiting = Waiting::default();
        let add = |waiting: &mut Waiting| {
            for index in 0..2 {
                let entry = New {
                    index,
                    alone: true,
                    ..new("one.example", "anna", 1, 0)
                };
                waiting.add(entry, 10);
            }
        };
        let indexes = |taken: Vec<Entry>| taken.iter().map(|e| e.index).collect::<Vec<_>>();
        add(&mut waiting);
        // Where nobody is asked there is no transaction.
        let taken = waiting.take_line("one.example", 3).unwrap();
        assert_eq!(indexes(taken), [0, 1]);
        add(&mut waiting);
        waiting.join("one.example", "mx.example");
        for index in 0..2 {
            let (_, taken) = waiting.take("mx.example", 3, |_| 0).unwrap();
            assert_eq!(indexes(taken), [index]);
        }
        assert!(is_empty(&waiting));
    }

    #[test]
    fn who_stands_in_line_too_long_is_taken_out() {
        let mut waiting = Waiting::default();
        for body in 0..10 {
            let account = if body % 2 == 0 { "anna" } else { "ben" };
            waiting.add(new("one.example", account, body, body as i64), 100);
        }
        waiting.join("one.example", "mx");
        let mut late = |line: &str, expired, stood| {
            let which = Late {
                expired,
                stood,
                most: 4,
            };
            let mut walk = waiting.walk(line);
            let mut taken = 0;
            while !walk.is_over() {
                let most = which.most - taken;
                taken += waiting
                    .take_late(line, &mut walk, Late { most, ..which })
                    .len();
            }
            taken
        };
        assert_eq!(late("one.example", 999, -1), 0);
        assert_eq!(late("one.example", 1_004, -1), 4);
        assert_eq!(late("one.example", 1_004, 0), 1);
        assert_eq!(late("two.example", 1_004, 0), 0);
        assert_eq!(late("one.example", 0, 6), 1);
        let mut left = of_site(&mut waiting, "mx");
        left.sort_unstable();
        assert_eq!(left, [6, 7, 8, 9]);
        waiting.add(new("one.example", "anna", 1, 0), 100);
        let which = Late {
            expired: 2_000,
            stood: 0,
            most: 9,
        };
        let mut walk = waiting.walk("one.example");
        let taken = waiting.take_late("one.example", &mut walk, which);
        assert_eq!((taken.len(), walk.is_over()), (1, true));
        assert!(is_empty(&waiting));
    }

    #[test]
    fn some_can_be_taken_out_wherever_they_stand() {
        let mut waiting = Waiting::default();
        for body in 0..10 {
            let account = if body % 2 == 0 { "anna" } else { "ben" };
            waiting.add(new("one.example", account, body, body as i64), 4);
            waiting.add(new("two.example", account, 100 + body, body as i64), 4);
        }
        waiting.join("one.example", "mx");
        retain(&mut waiting, |entry| entry.body == 3 || entry.body == 7);
        assert_eq!((waiting.count(), waiting.ready()), (2, 1));
        assert_eq!(waiting.ready_for("mx"), 1);
        assert_eq!(waiting.line_numbers.len(), 1);
        waiting.advance(100);
        assert_eq!(of_site(&mut waiting, "mx"), [3, 7]);
        assert_eq!(bodies(&mut waiting, "two.example"), [0u64; 0]);
        assert!(is_empty(&waiting));
        // Lines that are free are not freed twice.
        retain(&mut waiting, |_| false);
        assert!(is_empty(&waiting));
    }

    #[test]
    fn many_lines_of_one_site_go_in_slices_and_the_others_keep_their_turns() {
        const LINES: u64 = 100_000;
        let mut waiting = Waiting::default();
        for body in 0..LINES {
            let line = format!("d{body}.example");
            for account in ["anna", "ben"] {
                waiting.add(new(&line, account, body, 0), 0);
            }
            waiting.join(&line, "mx");
        }
        // The rest of ben's stand in one line, behind each other.
        for body in 0..LINES {
            waiting.add(new("d7.example", "ben", LINES + body, 0), 0);
        }
        assert_eq!((waiting.ready(), waiting.lines.len()), (300_000, 100_000));
        let kept = [7, 50_000, 99_999, LINES + 3, 2 * LINES - 1];
        let slices = retain(&mut waiting, |entry| kept.contains(&entry.body));
        assert!((75..200).contains(&slices), "{slices}");
        assert_eq!((waiting.ready(), waiting.ready_for("mx")), (8, 8));
        assert_eq!(waiting.line_numbers.len(), 3);
        // Accounts take turns, and so do an account's lines.
        let order = of_site(&mut waiting, "mx");
        let expected = [7, 7, 50_000, 50_000, 99_999, 99_999, 100_003, 199_999];
        assert_eq!(order, expected);
        assert!(is_empty(&waiting));
    }

    #[test]
    fn who_stands_in_line_goes_on_while_there_is_a_sweep() {
        let mut waiting = Waiting::default();
        for body in 0..20_000 {
            let due = if body < 10_000 { 0 } else { body as i64 };
            waiting.add(new("one.example", "anna", body, due), 5);
        }
        let mut seen = vec![0; 20_000];
        let mut slices = 0;
        let mut taken = Vec::new();
        loop {
            let goes_on = waiting.sweep(|entry| {
                seen[entry.body as usize] += 1;
                entry.body % 2 == 0
            });
            slices += 1;
            // Whoever is taken, or comes in line, is counted.
            taken.extend(waiting.take_line("one.example", 1).map(|all| all[0].body));
            waiting.advance(10_000 + slices);
            if !goes_on {
                break;
            }
        }
        assert!(slices > 3 && seen.iter().all(|times| *times <= 1));
        let passed_over = seen.iter().filter(|times| **times == 0).count();
        assert!(passed_over <= 2 * slices as usize, "{passed_over}");
        while waiting.next_due().is_some() {
            waiting.advance(50_000);
        }
        taken.extend(bodies(&mut waiting, "one.example"));
        taken.sort_unstable();
        let stays = |body: &u64| body.is_multiple_of(2) || seen[*body as usize] == 0;
        let expected: Vec<u64> = (0..20_000).filter(stays).collect();
        assert_eq!(taken, expected);
        assert!(is_empty(&waiting));
    }

    #[test]
    fn a_million_recipients_of_ten_thousand_domains_fit() {
        let mut waiting = Waiting::default();
        for n in 0..1_000_000u64 {
            let domain = format!("d{}.example", n % 10_000);
            waiting.add(new(&domain, "bulk", n, (n % 1_000) as i64), 0);
        }
        assert_eq!(waiting.count(), 1_000_000);
        while waiting.next_due().is_some_and(|due| due <= 500) {
            waiting.advance(500);
        }
        assert_eq!(waiting.ready(), 501_000);
        let mut taken = 0;
        for line in waiting.lines_in_use() {
            taken += bodies(&mut waiting, &line).len();
        }
        assert_eq!(taken, 501_000);
        assert_eq!(waiting.count(), 499_000);
    }
}
