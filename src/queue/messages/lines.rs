//! Who stands in which line, why it does not move, and who is taken out of it.

use std::collections::{BTreeSet, btree_map};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use shards::rt;
use shards::segments::BodyId;
use shards::storage::Shard;

use super::{LATE_MAX, LATER, Message, Queue, Reasons, Work, due};
use crate::queue::phase::Phase;
use crate::queue::reason::Pause;
use crate::queue::rows::{MessageRow, RecipientRow, State, Stored};
use crate::queue::waiting::{Entry, Late, New, clamp};

impl Queue {
    /// Why the line of a recipient, or the mail of its account, does not move.
    pub fn pause(&self, stored: &Stored, index: u32, row: &RecipientRow) -> Option<Pause> {
        let recipient = stored.message.recipients.get(index as usize)?;
        let routes = self.routes.borrow().clone();
        let of_line = self.reason(&routes.line(&stored.message, recipient, row));
        let of_list = || self.lists.reason(&stored.message.account);
        of_line.or_else(|| of_list().map(Pause::because))
    }

    /// Puts some of a message's recipients in line; answers whether all of them are done.
    pub(super) fn stand(
        &self,
        place: (&Rc<Shard>, BodyId),
        message: &MessageRow,
        rows: impl Fn(u32) -> RecipientRow,
        now: i64,
        indexes: Range<u32>,
    ) -> bool {
        let mut is_over = true;
        for index in indexes {
            let row = rows(index);
            is_over &= row.is_done();
            if row.state == State::Held {
                self.held.set(self.held.get() + 1);
            }
            if let Some(due) = due(message, &row) {
                self.add(place, message, (index, due), &row, now);
            }
        }
        is_over
    }

    pub(super) fn add(
        &self,
        (shard, body): (&Rc<Shard>, BodyId),
        message: &MessageRow,
        (index, due): (u32, i64),
        row: &RecipientRow,
        now: i64,
    ) {
        let Some(recipient) = message.recipients.get(index as usize) else {
            return;
        };
        let routes = self.routes.borrow().clone();
        let new = New {
            line: &routes.line(message, recipient, row),
            account: &message.account,
            shard: shard.id().0,
            body: body.0,
            index,
            due,
            expires: row.expires(message),
            alone: message.goes_one_by_one(),
        };
        self.waiting.borrow_mut().add(new, now);
    }

    /// Looks at the time. Answers the lines that have somebody of another account in them since this was last asked, and when to look again.
    pub fn advance(&self) -> (Vec<Rc<str>>, Option<Duration>) {
        let now = (self.clock)();
        let mut waiting = self.waiting.borrow_mut();
        waiting.advance(now);
        let next = waiting.next_due();
        let wait = next.map(|due| Duration::from_secs(due.saturating_sub(now).max(0) as u64));
        (waiting.roused(), wait)
    }

    /// Somebody wants recipients of a message to be tried now, though their lines are left alone.
    pub(in crate::queue) fn kick(&self, message: &Message, indexes: &[u32]) {
        let routes = self.routes.borrow().clone();
        let mut kicked = self.kicked.borrow_mut();
        for index in indexes {
            if let Some(recipient) = message.row.recipients.get(*index as usize) {
                kicked.insert(routes.line(&message.row, recipient, &message.recipient(*index)));
            }
        }
        self.changed.notify();
    }

    /// Lines of those, since this was last asked.
    pub fn take_kicked(&self) -> BTreeSet<String> {
        self.kicked.take()
    }

    /// Lines with somebody in them.
    pub fn lines_in_use(&self) -> Vec<Rc<str>> {
        self.waiting.borrow().lines_in_use()
    }

    /// Takes a line out of its site.
    pub fn part(&self, line: &str) {
        self.waiting.borrow_mut().part(line);
    }

    /// Says why nobody takes those of a line for the time being.
    pub fn set_reason(&self, line: &Rc<str>, reason: Option<Pause>) {
        set(&self.reasons, line, reason);
    }

    /// The same of a site, which may have the name of a line.
    pub fn set_reason_of_site(&self, site: &Rc<str>, reason: Option<Pause>) {
        set(&self.reasons_of_sites, site, reason);
    }

    /// How many lines, and how many sites, do not move for a reason.
    pub fn paused(&self) -> [(&'static str, usize); 2] {
        let of_lines = self.reasons.borrow().len();
        [
            ("line", of_lines),
            ("site", self.reasons_of_sites.borrow().len()),
        ]
    }

    /// Forgets why those of lines and sites wait where nobody does, and which nobody knows (`is_known`).
    pub fn forget_reasons(&self, is_line: impl Fn(&str) -> bool, is_site: impl Fn(&str) -> bool) {
        let waiting = self.waiting.borrow();
        let mut of_lines = self.reasons.borrow_mut();
        of_lines.retain(|name, _| is_line(name) || waiting.ready_in(name) > 0);
        let mut of_sites = self.reasons_of_sites.borrow_mut();
        of_sites.retain(|name, _| is_site(name) || waiting.ready_for(name) > 0);
    }

    /// Why those of a line wait though they are due.
    pub fn reason(&self, line: &str) -> Option<Pause> {
        let of_line = self.reasons.borrow().get(line).cloned();
        let of_site = || {
            let site = self.waiting.borrow().site_of(line)?;
            self.reasons_of_sites.borrow().get(&site).cloned()
        };
        of_line.or_else(of_site)
    }

    /// Joins a line to those of a site: see [`Queue::take`].
    pub fn join(&self, line: &str, site: &str) {
        self.waiting.borrow_mut().join(line, site);
    }

    /// Accounts with somebody in the lines of a site, in turn, at most so many; by number.
    pub fn accounts_at(&self, site: &str, most: usize) -> Vec<u32> {
        self.waiting.borrow().accounts_at(site, most)
    }

    /// Accounts with somebody in a line, at most so many; by number.
    pub fn accounts_in(&self, line: &str, most: usize) -> Vec<u32> {
        self.waiting.borrow().accounts_in(line, most)
    }

    /// Whether an account has somebody in the lines of a site.
    pub fn stands_at(&self, site: &str, account: u32) -> bool {
        self.waiting.borrow().stands_at(site, account)
    }

    /// The number of an account on this core.
    pub fn account(&self, name: &str) -> u32 {
        self.waiting.borrow_mut().account(name)
    }

    /// The name of an account, by its number on this core.
    pub fn account_name(&self, number: u32) -> Rc<str> {
        self.waiting.borrow().account_name(number)
    }

    /// How many stand in the lines of a site.
    pub fn ready_for(&self, site: &str) -> usize {
        self.waiting.borrow().ready_for(site)
    }

    /// How many stand in a line.
    pub fn ready_in(&self, line: &str) -> usize {
        self.waiting.borrow().ready_in(line)
    }

    /// How many stand in all lines.
    pub fn ready(&self) -> usize {
        self.waiting.borrow().ready()
    }

    /// The next message of a site, with at most so many of its recipients in the line. None if nobody is there.
    pub async fn take(
        self: &Rc<Self>,
        site: &str,
        most: usize,
        has: impl Fn(u32) -> u32,
    ) -> Option<Work> {
        loop {
            let now = (self.clock)();
            let (line, entries) = self.waiting.borrow_mut().take(site, most, &has)?;
            if let Some(work) = self.look_at(&line, entries, now).await {
                return Some(work);
            }
            // Entries that say nothing any more may be many.
            rt::yield_if_needed().await;
        }
    }

    /// The same of a line that is joined to no site.
    pub async fn take_line(self: &Rc<Self>, line: &str, most: usize) -> Option<Work> {
        loop {
            let now = (self.clock)();
            let entries = self.waiting.borrow_mut().take_line(line, most)?;
            if let Some(work) = self.look_at(&line.into(), entries, now).await {
                return Some(work);
            }
            rt::yield_if_needed().await;
        }
    }

    /// Takes some of a line who stand there for longer than `patience` seconds, or whose time is over; none: there are none.
    pub async fn take_late(self: &Rc<Self>, line: &Rc<str>, patience: i64) -> Vec<Work> {
        let now = (self.clock)();
        let mut late = Vec::new();
        let mut walk = self.waiting.borrow().walk(line);
        while !walk.is_over() && late.len() < LATE_MAX {
            let which = Late {
                expired: now,
                stood: now - patience,
                most: LATE_MAX - late.len(),
            };
            let some = self.waiting.borrow_mut().take_late(line, &mut walk, which);
            late.extend(some);
            rt::yield_if_needed().await;
        }
        let mut all = Vec::new();
        for entry in late {
            all.extend(self.look_at(line, vec![entry], now).await);
        }
        all
    }

    /// Whether routes are others than when this was last asked.
    pub fn take_rerouted(&self) -> bool {
        self.are_rerouted.take()
    }

    /// Holds those who stand in a line against the routes: who goes another way now stands in another line. Answers how many stay. For one whose
    /// mail nobody takes; what cannot be read now comes back in a minute.
    pub async fn reroute(self: &Rc<Self>, line: &Rc<str>) -> usize {
        let mut taken = Taken {
            queue: self,
            line,
            entries: Vec::new(),
        };
        let mut walk = self.waiting.borrow().walk(line);
        while !walk.is_over() {
            let all = Late {
                expired: i64::MAX,
                stood: i64::MAX,
                most: usize::MAX,
            };
            let some = self.waiting.borrow_mut().take_late(line, &mut walk, all);
            taken.entries.extend(some);
            rt::yield_if_needed().await;
        }
        // Those of a message together: they share a transaction. The last ones first.
        taken.entries.sort_unstable_by(|a, b| b.cmp(a));
        let mut stay = 0;
        while let Some(Entry { shard, body, .. }) = taken.entries.last().copied() {
            let message = self.message(shard, BodyId(body)).await;
            while let Some(entry) = taken.entries.pop_if(|e| (e.shard, e.body) == (shard, body)) {
                match &message {
                    Ok(message) => {
                        let is_passed = self.moved.borrow_mut().passes(&entry);
                        let of = message.as_ref().filter(|_| !is_passed);
                        let due = of.and_then(|m| due(&m.row, &m.recipient(entry.index)));
                        if let Some((message, due)) = of.zip(due) {
                            let way = self.again(message, entry.index, due);
                            stay += usize::from(way.as_deref() == Some(&**line));
                        }
                    }
                    Err(_) => self.put_back(line, vec![entry], (self.clock)() + LATER),
                }
                rt::yield_if_needed().await;
            }
        }
        self.changed.notify();
        stay
    }

    /// Entries of one message held against its rows.
    pub(super) async fn look_at(
        self: &Rc<Self>,
        line: &Rc<str>,
        mut entries: Vec<Entry>,
        now: i64,
    ) -> Option<Work> {
        entries.retain(|entry| !self.moved.borrow_mut().passes(entry));
        let first = entries.first()?;
        let (shard, body) = (first.shard, BodyId(first.body));
        if self.cannot_record(shard).is_some() {
            // It would be sent again after the next start.
            self.put_back(line, entries, now + LATER);
            return None;
        }
        let message = match self.message(shard, body).await {
            Ok(found) => found?,
            Err(error) => {
                // Stored it is, and found again at the next start at the latest.
                tracing::warn!(shard, body = body.0, %error, "a queued message can't be read now; it is tried again in a minute");
                self.put_back(line, entries, now + LATER);
                return None;
            }
        };
        let routes = self.routes.borrow().clone();
        let phase = Phase::default();
        let mut recipients = Vec::new();
        let mut elsewhere = Vec::new();
        for index in entries.iter().map(|e| e.index) {
            let row = message.recipient(index);
            let Some(due) = due(&message.row, &row).filter(|due| *due <= now) else {
                continue;
            };
            let recipient = &message.row.recipients[index as usize];
            if routes.line(&message.row, recipient, &row) != **line {
                elsewhere.push((index, due));
            } else if let btree_map::Entry::Vacant(entry) =
                self.under_way.borrow_mut().entry((shard, body.0, index))
            {
                entry.insert(phase.clone());
                recipients.push(index);
            }
        }
        if !elsewhere.is_empty() {
            for (index, due) in elsewhere {
                self.again(&message, index, due);
            }
            self.changed.notify();
        }
        if recipients.is_empty() {
            if message.is_over() {
                // Nobody is left who would remove it.
                let _ = self.change(&message, |_| Vec::new()).await;
            }
            return None;
        }
        Some(Work {
            queue: self.clone(),
            message,
            line: line.clone(),
            recipients,
            phase,
            later: LATER,
        })
    }

    /// Why nothing of a shard may be sent now: what comes of it could not be recorded.
    fn cannot_record(&self, shard: u16) -> Option<&'static str> {
        let shard = self.shards.iter().find(|s| s.id().0 == shard);
        shard.and_then(|shard| shard.cannot_record())
    }

    pub(super) fn put_back(&self, line: &str, entries: Vec<Entry>, due: i64) {
        let mut waiting = self.waiting.borrow_mut();
        for entry in entries {
            self.moved.borrow_mut().again(entry.key(), clamp(due));
            waiting.again(line, entry, due);
        }
        drop(waiting);
        self.changed.notify();
    }
}

/// Entries that were taken out of a line to be looked at; the rest goes back, after a panic too.
struct Taken<'a> {
    queue: &'a Rc<Queue>,
    line: &'a Rc<str>,
    entries: Vec<Entry>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut self.entries);
        if !rest.is_empty() {
            let due = (self.queue.clock)() + LATER;
            self.queue.put_back(self.line, rest, due);
        }
    }
}

fn set(reasons: &Reasons, name: &Rc<str>, reason: Option<Pause>) {
    match reason {
        Some(reason) => reasons.borrow_mut().insert(name.clone(), reason),
        None => reasons.borrow_mut().remove(name),
    };
}
