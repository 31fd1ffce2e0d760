//! The queue of a core: who is next, and what came of it. Each message's rows are changed by one after the other, and only here.
//! `message` is what is known of one while somebody works on it, `work` its recipients whose turn it is.

mod coming;
mod message;
mod work;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque, btree_map};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_channel::oneshot;
use shards::rt::{self, Event, Turns};
use shards::segments::BodyId;
use shards::storage::{Batch, Shard, StorageError};

use super::batch::{self, BatchRow};
use super::by_account::{ByAccount, OfAccount};
use super::events::{self, EventKind, Interest, Question};
use super::hold_rules::HoldRules;
use super::hooks::{Hooks, hook_event};
use super::load;
use super::moved::Moved;
use super::owing::Owing;
use super::phase::Phase;
use super::reason::Pause;
use super::report::transaction_number;
use super::route::Routes;
use super::rows::{
    MessageRow, Owed, RecipientRow, State, Stored, encode_recipient, message_key, recipient_key,
};
use super::suppression::Lists;
use super::waiting::{Entry, New, Waiting, clamp};
use crate::settings::Bounds;
use crate::store::StoreError;

use coming::Coming;
#[cfg(test)]
pub(super) use message::LOOKS;
use message::READERS_MAX;
pub use message::{Content, Message};
use work::LATER;
pub use work::Work;

/// The queue of a core: of the messages of its shards.
pub struct Queue {
    shards: Vec<Rc<Shard>>,
    routes: RefCell<Rc<Routes>>,
    waiting: RefCell<Waiting>,
    /// Why those of a line or a site are left there.
    reasons: RefCell<HashMap<Rc<str>, Pause>>,
    /// Messages that somebody has in hand: there is one of each, so that its changes are made one after the other.
    open: RefCell<HashMap<(u16, u64), Weak<Message>>>,
    /// Whoever reads takes a turn: thousands of connections may want a message at once, and the threads that read turn away whom they have no
    /// room for.
    readers: Rc<Turns>,
    /// Messages that are being read: one reader of each, for what a second one read could be from before a change.
    reading: RefCell<HashMap<(u16, u64), Rc<Turns>>>,
    /// Messages that came just now, kept for their first attempt.
    fresh: RefCell<HashMap<(u16, u64), Rc<Message>>>,
    /// Recipients that somebody works on, and how far that is.
    under_way: RefCell<BTreeMap<(u16, u64, u32), Phase>>,
    /// Messages whose senders have still to be told something.
    owing: RefCell<Owing>,
    /// Recipients whose time was changed while they stood in line.
    moved: RefCell<Moved>,
    /// Lines of recipients that somebody wants to be tried now, whatever their lines wait for.
    kicked: RefCell<BTreeSet<String>>,
    /// Recipients that are held.
    held: Cell<usize>,
    /// Those that do not stand in line yet.
    coming: Coming,
    /// Whose messages are whose.
    by_account: RefCell<ByAccount>,
    /// What accounts want of events.
    interests: RefCell<Interests>,
    /// Suppression lists of accounts whose mail is here.
    pub lists: Lists,
    /// Their webhooks.
    pub hooks: Hooks,
    /// By account, messages of which the account's shard has still to hear, while somebody tells it.
    pub telling: RefCell<HashMap<String, BTreeSet<(u16, u64)>>>,
    /// Hold new mail.
    hold_rules: RefCell<HoldRules>,
    /// Shards of which not all has been put in line yet since the start.
    resuming: Cell<usize>,
    /// By shard, the first message that was accepted since the start.
    first_new: RefCell<HashMap<u16, u64>>,
    /// Octets of messages that came just now.
    fresh_bytes: Cell<usize>,
    fresh_bytes_max: usize,
    /// Batches whose messages are being made, the latest last: to read one again for each recipient would take longer than to make them.
    recipes: RefCell<VecDeque<Rc<Message>>>,
    clock: fn() -> i64,
    /// Somebody has come in line, or the start is over.
    pub changed: Event,
    /// Somebody has something to be told.
    pub owed: Event,
}

/// What an account wants of events; none: there is no such account.
type Interests = Rc<dyn Fn(&str) -> Option<Interest>>;

impl Queue {
    /// Of these shards. Messages that come are kept in memory for their first attempt up to so many octets.
    pub fn new(shards: &[Rc<Shard>], fresh_bytes_max: usize, clock: fn() -> i64) -> Rc<Queue> {
        Rc::new(Queue {
            shards: shards.to_vec(),
            routes: RefCell::default(),
            waiting: RefCell::default(),
            reasons: RefCell::default(),
            open: RefCell::default(),
            readers: Rc::default(),
            reading: RefCell::default(),
            fresh: RefCell::default(),
            under_way: RefCell::default(),
            owing: RefCell::default(),
            moved: RefCell::default(),
            kicked: RefCell::default(),
            held: Cell::new(0),
            coming: Coming::default(),
            by_account: RefCell::default(),
            interests: RefCell::new(Rc::new(|_| None)),
            lists: Lists::default(),
            hooks: Hooks::default(),
            telling: RefCell::default(),
            hold_rules: RefCell::default(),
            resuming: Cell::new(0),
            first_new: RefCell::default(),
            fresh_bytes: Cell::new(0),
            fresh_bytes_max,
            recipes: RefCell::default(),
            clock,
            changed: Event::new(),
            owed: Event::new(),
        })
    }

    /// Puts other routes in force: whoever stands in line is held against them when it is taken.
    pub fn configure(&self, routes: Routes) {
        *self.routes.borrow_mut() = Rc::new(routes);
    }

    /// Says what accounts want of events.
    pub fn use_interests(&self, interests: impl Fn(&str) -> Option<Interest> + 'static) {
        *self.interests.borrow_mut() = Rc::new(interests);
    }

    /// What an account wants of events; none: there is no such account.
    pub fn interest(&self, account: &str) -> Option<Interest> {
        let interests = self.interests.borrow().clone();
        interests(account)
    }

    /// Adds to what a recipient's row owes what its change tells.
    fn owe_events(&self, message: &Message, index: u32, row: &mut RecipientRow) {
        let account = message.row.account.as_str();
        let before = message.recipient(index);
        events::owe(&before, row, self.now(), |kind: EventKind, row| {
            let (Some(interest), Some(recipient)) = (
                self.interest(account),
                message.row.recipients.get(index as usize),
            ) else {
                return false;
            };
            events::is_wanted(&Question {
                kind,
                row,
                interest,
                may_be_listed: self.lists.may_have(account, &recipient.address),
                may_be_hooked: self.hooks.may_want(account, hook_event(kind, false)),
            })
        });
    }

    /// Recipients that wait, held ones too.
    pub fn count(&self) -> usize {
        let in_line = self.waiting.borrow().count();
        let stale = self.moved.borrow().stale();
        in_line.saturating_sub(stale) + self.under_way.borrow().len()
    }

    /// Recipients that are held.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// Whether so many recipients more of an account (empty: the server's own) fit into the queue, beside those that come. Whoever asks before he
    /// waits for something asks again afterwards.
    pub fn has_room(&self, account: &str, more: usize, bounds: Bounds) -> Result<(), StoreError> {
        if self.count() + self.coming.all() + more > bounds.all {
            return Err(StoreError::Limit("the queue is full"));
        }
        let own = self.by_account.borrow().recipients(account) + self.coming.of(account);
        match account.is_empty() || own + more <= bounds.of_account {
            true => Ok(()),
            false => Err(StoreError::Limit(
                "the queue has no room for more of this account",
            )),
        }
    }

    /// Messages of an account in a shard from one on, at most so many; none: not all are known yet.
    pub(super) fn of_account(
        &self,
        account: &str,
        shard: u16,
        from: BodyId,
        most: usize,
    ) -> Option<Vec<BodyId>> {
        let own = self.by_account.borrow();
        (self.resuming.get() == 0).then(|| own.messages(account, shard, from, most))
    }

    /// How many recipients of a message are left.
    fn count_own(&self, message: &Message) {
        let left = match message.gone.get() {
            true => 0,
            false => (message.row.recipients.len() - message.done.get()) as u32,
        };
        let are_found = self.resuming.get() == 0;
        let mut own = self.by_account.borrow_mut();
        own.set(&message.row.account, message.key(), left, are_found);
    }

    /// What is an account's in a shard.
    pub async fn held_of_account(&self, shard: u16, account: &str) -> OfAccount {
        self.resumed().await;
        let waiting = self.by_account.borrow().recipients_in(account, shard);
        let is_in = |of: &u16| *of == shard;
        let told = {
            let telling = self.telling.borrow();
            let told = telling.get(account);
            told.map_or(0, |told| told.iter().filter(|(of, _)| is_in(of)).count())
        };
        let open: Vec<Weak<Message>> = {
            let open = self.open.borrow();
            let open = open.iter().filter(|((of, _), _)| is_in(of));
            open.map(|(_, message)| message.clone()).collect()
        };
        let mut in_hand = told as u64;
        for message in open {
            let message = message.upgrade();
            in_hand += u64::from(message.is_some_and(|m| m.row.account == account));
            rt::yield_if_needed().await;
        }
        OfAccount { waiting, in_hand }
    }

    /// Seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Why the line of a recipient, or the mail of its account, does not move.
    pub fn pause(&self, stored: &Stored, index: u32, row: &RecipientRow) -> Option<Pause> {
        let recipient = stored.message.recipients.get(index as usize)?;
        let routes = self.routes.borrow().clone();
        let of_line = self.reason(&routes.line(&stored.message, recipient, row));
        let of_list = || self.lists.reason(&stored.message.account);
        of_line.or_else(|| of_list().map(Pause::because))
    }

    /// What is accepted from now on is held by these rules.
    pub fn use_hold_rules(&self, rules: HoldRules) {
        *self.hold_rules.borrow_mut() = rules;
    }

    /// Waits until what is being committed is found in the rows.
    pub async fn settled(&self) {
        for shard in &self.shards {
            // A batch is durable after those that were submitted before it. A shard that is out of service has nothing new.
            if let Ok(permit) = shard.permit(0, false, PATIENCE).await {
                let _ = shard.commit(permit, Batch::default()).await;
            }
        }
    }

    /// Whether somebody works on a recipient.
    pub fn is_under_way(&self, shard: u16, body: BodyId, index: u32) -> bool {
        self.under_way
            .borrow()
            .contains_key(&(shard, body.0, index))
    }

    /// How far the attempt of a recipient is, in words.
    pub fn phase(&self, shard: u16, body: BodyId, index: u32) -> Option<String> {
        let under_way = self.under_way.borrow();
        under_way.get(&(shard, body.0, index))?.words()
    }

    /// A message that is about to be committed with a batch: whoever finds its rows from then on finds this one. Those of its recipients
    /// that a rule holds are written so in the same batch. They stand in line once it is `accepted`.
    pub fn coming(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        writes: &mut Batch,
        body: BodyId,
        row: MessageRow,
    ) -> Rc<Message> {
        let held = self.hold_rules.borrow().hold(&row);
        for (index, row) in &held {
            writes.put(recipient_key(body, *index), encode_recipient(row));
        }
        let stored = Stored {
            body,
            message: row,
            changed: held,
        };
        let message = Message::of(self, shard, stored);
        message.stood.set(0);
        let promise = (self.coming).promise(&message.row.account, message.row.recipients.len());
        *message.promise.borrow_mut() = Some(promise);
        if message.row.batch.is_some() {
            let row = BatchRow::new(&message.row);
            let number = batch::number_of(&message.row, body);
            batch::begin(writes, &message.row.account, number, &row);
            *message.batch.borrow_mut() = Some(row);
        }
        let weak = Rc::downgrade(&message);
        self.open.borrow_mut().insert(message.key(), weak);
        let mut first = self.first_new.borrow_mut();
        first.entry(shard.id().0).or_insert(body.0);
        message
    }

    /// Puts a message in line that was committed just now, as it is: an operator may have been faster.
    pub fn accepted(self: &Rc<Self>, message: Rc<Message>, content: Content) {
        message.stood.set(u32::MAX);
        message.promise.take();
        if message.gone.get() {
            return;
        }
        self.count_own(&message);
        let now = (self.clock)();
        let rows = |index| message.recipient(index);
        let all = 0..message.row.recipients.len() as u32;
        self.stand((&message.shard, message.body), &message.row, rows, now, all);
        let bytes = content.bytes.len();
        let is_tried_now = (0..message.row.recipients.len() as u32)
            .any(|index| message.recipient(index).state == State::Waiting);
        if is_tried_now
            && message.row.not_before <= now
            && self.fresh_bytes.get() + bytes <= self.fresh_bytes_max
        {
            self.fresh_bytes.set(self.fresh_bytes.get() + bytes);
            message.counted.set(bytes);
            *message.content.borrow_mut() = Some(Rc::new(content));
            self.fresh.borrow_mut().insert(message.key(), message);
        }
        self.changed.notify();
    }

    /// The same of a batch, which may have ten thousand recipients: they come in line a slice at a time.
    pub async fn accepted_batch(self: &Rc<Self>, message: &Rc<Message>) {
        self.count_own(message);
        let count = message.row.recipients.len() as u32;
        let mut from = 0;
        while from < count && !message.gone.get() {
            let to = (from + STAND_MAX).min(count);
            let (now, rows) = ((self.clock)(), |index| message.recipient(index));
            let place = (&message.shard, message.body);
            self.stand(place, &message.row, rows, now, from..to);
            message.stood.set(to);
            from = to;
            self.changed.notify();
            rt::yield_if_needed().await;
        }
        message.stood.set(u32::MAX);
        message.promise.take();
    }

    /// Keeps a batch whose messages are being made.
    pub(super) fn keep_recipe(&self, message: &Rc<Message>) {
        let mut kept = self.recipes.borrow_mut();
        if message.gone.get() || kept.back().is_some_and(|last| Rc::ptr_eq(last, message)) {
            return;
        }
        kept.retain(|other| !Rc::ptr_eq(other, message));
        kept.push_back(message.clone());
        let oldest = match kept.len() > RECIPES_MAX {
            true => kept.pop_front(),
            false => None,
        };
        drop(kept);
        drop(oldest);
    }

    /// Puts a message in line that was found at the start.
    pub(super) async fn add_stored(&self, shard: &Rc<Shard>, stored: &Stored) {
        let first_new = self.first_new.borrow().get(&shard.id().0).copied();
        if first_new.is_some_and(|first| stored.body.0 >= first) {
            // It came since, and stands in line already.
            return;
        }
        // All later than now: whoever is due is found so when the time is looked at next.
        let rows = |index| stored.recipient(index);
        let count = stored.message.recipients.len() as u32;
        let (mut from, mut is_over) = (0, true);
        while from < count {
            let to = (from + STAND_MAX).min(count);
            let place = (shard, stored.body);
            is_over &= self.stand(place, &stored.message, rows, i64::MIN, from..to);
            from = to;
            rt::yield_if_needed().await;
        }
        let done = stored.changed.iter().filter(|(_, row)| row.is_done());
        let left = count.saturating_sub(done.count() as u32);
        let (account, key) = (&stored.message.account, (shard.id().0, stored.body.0));
        self.by_account.borrow_mut().found(account, key, left);
        if is_over {
            // A stop came between the end of its last recipient and its removal: whoever takes it sees to that.
            self.add(
                (shard, stored.body),
                &stored.message,
                (0, 0),
                &rows(0),
                i64::MIN,
            );
        }
        if stored.changed.iter().any(|(_, row)| row.is_owing()) {
            self.owe(&stored.message, (shard.id().0, stored.body.0));
        }
        self.changed.notify();
    }

    /// Has the sender of a message told what he has still to be told.
    pub(super) fn owe(&self, message: &MessageRow, key: (u16, u64)) {
        self.owing.borrow_mut().add(told(message), key);
        self.owed.notify();
    }

    /// The sender of a message could not be told what he has still to be told: it waits for [`Queue::owe_again`], with all else that he is owed.
    pub fn owe_later(&self, message: &Message) {
        self.owing
            .borrow_mut()
            .rest(told(&message.row), message.key());
        self.owed.notify();
    }

    /// Has a message's sender told what he has still to be told, by one report after the other, each about these recipients. What could not be told waits for
    /// [`Queue::owe_again`], with all that follows: whatever is owed is looked at once until then, and not at each outcome.
    pub async fn tell(
        &self,
        message: &Message,
        tell: impl AsyncFn(Owed, &[(u32, RecipientRow)]) -> Result<(), StoreError>,
    ) {
        let _one = message.telling.take(1).await;
        let is_resting = {
            let owing = self.owing.borrow();
            owing.rests(told(&message.row), message.key())
        };
        if is_resting {
            return;
        }
        let mut reports: BTreeMap<(u32, u32), OwedReport> = BTreeMap::new();
        for (index, row) in message.owing() {
            if let Some(owed) = row.owes {
                let key = (transaction_number(owed.notice, 0), owed.group);
                let report = reports.entry(key).or_insert((owed, Vec::new()));
                report.1.push((index, row));
            }
        }
        for (owed, recipients) in reports.into_values() {
            if let Err(error) = tell(owed, &recipients).await {
                tracing::warn!(shard = %message.shard.id(), message = message.body.0, %error, "a sender can't be told now what became of his message; it is tried again");
                // Whatever it was, the next report would meet it too.
                return self.owe_later(message);
            }
        }
    }

    /// Whether there are senders who could not be told something.
    pub fn owes_later(&self) -> bool {
        self.owing.borrow().is_any_resting()
    }

    /// Has them told once more.
    pub fn owe_again(&self) {
        self.owing.borrow_mut().again();
        self.owed.notify();
    }

    /// The next message whose sender has still to be told something: one of each account at a time.
    pub fn take_owing(self: &Rc<Self>) -> Option<Telling> {
        let (account, key) = self.owing.borrow_mut().take()?;
        let queue = self.clone();
        Some(Telling {
            queue,
            account,
            key,
        })
    }

    /// So many of what [`Queue::take_owing`] gave are not over.
    pub fn tellings(&self) -> usize {
        self.owing.borrow().told()
    }

    /// What is stored in a shard is about to be put in line; it is once this is dropped.
    pub(super) fn resuming(self: &Rc<Self>) -> Resuming {
        self.resuming.set(self.resuming.get() + 1);
        Resuming(self.clone())
    }

    /// Waits until all that was stored at the start stands in line.
    pub async fn resumed(&self) {
        while self.resuming.get() > 0 {
            self.changed.wait(self.changed.count()).await;
        }
    }

    /// Puts some of a message's recipients in line; answers whether all of them are done.
    fn stand(
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

    fn add(
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
    pub(super) fn kick(&self, message: &Message, indexes: &[u32]) {
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

    /// Says why nobody takes those of a line, or of a site, for the time being.
    pub fn set_reason(&self, name: &Rc<str>, reason: Option<Pause>) {
        match reason {
            Some(reason) => self.reasons.borrow_mut().insert(name.clone(), reason),
            None => self.reasons.borrow_mut().remove(name),
        };
    }

    /// Forgets why those of lines and sites wait where nobody does, and which nobody knows (`is_known`).
    pub fn forget_reasons(&self, is_known: impl Fn(&str) -> bool) {
        let waiting = self.waiting.borrow();
        let mut reasons = self.reasons.borrow_mut();
        reasons.retain(|name, _| {
            is_known(name) || waiting.ready_in(name) > 0 || waiting.ready_for(name) > 0
        });
    }

    /// Why those of a line wait though they are due.
    pub fn reason(&self, line: &str) -> Option<Pause> {
        let reasons = self.reasons.borrow();
        let site = self.waiting.borrow().site_of(line);
        let of_site = || reasons.get(&site?);
        reasons.get(line).or_else(of_site).cloned()
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
    pub async fn take(self: &Rc<Self>, site: &str, most: usize) -> Option<Work> {
        loop {
            let now = (self.clock)();
            let (line, entries) = self.waiting.borrow_mut().take(site, most)?;
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
        }
    }

    /// Takes some of a line who stand there for longer than `patience` seconds, or whose time is over; none: there are none.
    pub async fn take_late(self: &Rc<Self>, line: &Rc<str>, patience: i64) -> Vec<Work> {
        let now = (self.clock)();
        let late = self
            .waiting
            .borrow_mut()
            .take_late(line, now, now - patience, LATE_MAX);
        let mut all = Vec::new();
        for entry in late {
            all.extend(self.look_at(line, vec![entry], now).await);
        }
        all
    }

    /// Entries of one message held against its rows.
    async fn look_at(
        self: &Rc<Self>,
        line: &Rc<str>,
        mut entries: Vec<Entry>,
        now: i64,
    ) -> Option<Work> {
        entries.retain(|entry| !self.moved.borrow_mut().passes(entry));
        let first = entries.first()?;
        let (shard, body) = (first.shard, BodyId(first.body));
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

    fn put_back(&self, line: &str, entries: Vec<Entry>, due: i64) {
        let mut waiting = self.waiting.borrow_mut();
        for entry in entries {
            self.moved.borrow_mut().again(entry.key(), clamp(due));
            waiting.again(line, entry, due);
        }
        drop(waiting);
        self.changed.notify();
    }

    /// A message that is still there.
    pub async fn message(
        self: &Rc<Self>,
        shard: u16,
        body: BodyId,
    ) -> Result<Option<Rc<Message>>, StoreError> {
        let key = (shard, body.0);
        let in_hand = || self.open.borrow().get(&key).and_then(Weak::upgrade);
        if let Some(message) = in_hand() {
            return Ok(Some(message));
        }
        let shard = self.shards.iter().find(|s| s.id().0 == shard);
        let shard = shard.ok_or(StoreError::NotAllowed("this core does not own the shard"))?;
        let readers = self.reading.borrow_mut().entry(key).or_default().clone();
        let turn = readers.take(1).await;
        let found = match in_hand() {
            Some(message) => Ok(Some(message)),
            None => self.find(shard, body).await.map(|found| {
                let (stored, batch) = found?;
                let message = Message::of(self, shard, stored);
                *message.batch.borrow_mut() = batch;
                let weak = Rc::downgrade(&message);
                self.open.borrow_mut().insert(key, weak);
                Some(message)
            }),
        };
        drop(turn);
        // The map's and ours: nobody else waits.
        if Rc::strong_count(&readers) == 2 {
            self.reading.borrow_mut().remove(&key);
        }
        found
    }

    async fn find(
        &self,
        shard: &Rc<Shard>,
        body: BodyId,
    ) -> Result<Option<(Stored, Option<BatchRow>)>, StoreError> {
        let _turn = self.readers.take(READERS_MAX).await;
        let Some(stored) = load::find(shard, body).await? else {
            return Ok(None);
        };
        let batch = batch::of_stored(shard, &stored).await?;
        Ok(Some((stored, batch)))
    }

    /// Changes recipients of a message, one change after the other; durable when it returns. The change is made from what is there then. The next one
    /// does not wait until this one is durable, which is so in their order: what came of a batch's ten thousand recipients shares syncs.
    pub async fn change(
        self: &Rc<Self>,
        message: &Rc<Message>,
        change: impl FnOnce(&Message) -> Vec<(u32, RecipientRow)>,
    ) -> Result<(), StoreError> {
        self.change_as(message, &[], change, 0, |_| ()).await
    }

    /// The same, and what else is to be durable with it: `add` puts it into the batch, about so many octets.
    pub async fn change_and(
        self: &Rc<Self>,
        message: &Rc<Message>,
        change: impl FnOnce(&Message) -> Vec<(u32, RecipientRow)>,
        octets: usize,
        add: impl FnOnce(&mut Batch),
    ) -> Result<(), StoreError> {
        self.change_as(message, &[], change, octets, add).await
    }

    /// The same for whoever works on some of them: these are out of line, and stand in it again.
    async fn change_as(
        self: &Rc<Self>,
        message: &Rc<Message>,
        worked_on: &[u32],
        change: impl FnOnce(&Message) -> Vec<(u32, RecipientRow)>,
        octets: usize,
        add: impl FnOnce(&mut Batch),
    ) -> Result<(), StoreError> {
        let turn = message.turn.take(1).await;
        if message.gone.get() {
            return Ok(());
        }
        let permit = CHANGE_BYTES + octets;
        let permit = message.shard.permit(permit, false, PATIENCE).await?;
        // Nothing between here and the batch may wait: what is computed is submitted.
        let progress_before = message.progress();
        let rows = change(message);
        let mut batch = Batch::default();
        let mut changed = Vec::new();
        for (index, mut row) in rows {
            let before = message.recipient(index);
            if let Some(progress) = &mut *message.batch.borrow_mut() {
                progress.count(&before, &row);
            }
            self.owe_events(message, index, &mut row);
            // Who does not stand in line yet will stand there as he is then.
            if index < message.stood.get() {
                changed.push(Changed {
                    index,
                    was_held: before.state == State::Held,
                    was_due: due(&message.row, &before),
                    is_held: row.state == State::Held,
                    due: due(&message.row, &row),
                    is_worked_on: worked_on.contains(&index),
                });
            }
            batch.put(recipient_key(message.body, index), encode_recipient(&row));
            message.written.borrow_mut().insert(index);
            message.put(index, row);
            if worked_on.contains(&index) {
                message.recorded.borrow_mut().insert(index);
            }
        }
        // What an attempt reads stays until it has ended.
        let done = message.is_over() && !self.is_sent_by_another(message, worked_on);
        if done {
            message.gone.set(true);
            batch = Batch::default();
            batch.delete(message_key(message.body));
            for index in message.written.borrow().iter() {
                batch.delete(recipient_key(message.body, *index));
            }
            batch.dead.push(message.body);
            if let Some(progress) = &mut *message.batch.borrow_mut() {
                progress.ended = Some(self.now());
            }
        }
        add(&mut batch);
        if let Some(progress) = message.progress()
            && Some(&progress) != progress_before.as_ref()
        {
            let number = batch::number_of(&message.row, message.body);
            batch::put(&mut batch, &message.row.account, number, &progress);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let (queue, kept) = (self.clone(), message.clone());
        let (sender, durable) = oneshot::channel();
        message.shard.submit(permit, batch, move |result| {
            if result.is_ok() {
                queue.is_durable(&kept, &changed, done);
            }
            let _ = sender.send(result);
        });
        // Who finds that it is gone may believe so.
        let _turn = done.then_some(turn);
        match durable.await {
            Ok(result) => result.map(|_| ()).map_err(StoreError::Storage),
            Err(_) => Err(StoreError::Storage(StorageError::Poisoned(
                message.shard.id(),
                "the commit thread has stopped".into(),
            ))),
        }
    }

    /// A change is durable. Called in the order of the changes.
    fn is_durable(&self, message: &Rc<Message>, changed: &[Changed], done: bool) {
        self.count_own(message);
        for changed in changed {
            self.moved(message, changed);
        }
        if done {
            self.recipes
                .borrow_mut()
                .retain(|kept| !Rc::ptr_eq(kept, message));
            self.let_go(message);
        } else {
            self.let_go_if_tried(message);
        }
        self.changed.notify();
    }

    /// A recipient of a message that stands in line was changed: it stands where it should then.
    fn moved(&self, message: &Message, changed: &Changed) {
        let Changed {
            index,
            was_due,
            due,
            ..
        } = *changed;
        let (is, was) = (usize::from(changed.is_held), usize::from(changed.was_held));
        self.held.set((self.held.get() + is).saturating_sub(was));
        if changed.is_worked_on {
            if let Some(due) = due {
                self.again(message, index, due);
            }
            return;
        }
        let key = (message.shard.id().0, message.body.0, index);
        // Whoever works on it puts it in line again. Where nothing is due any more, or at the same time, its entry is right or passed over.
        if due == was_due || was_due.is_none() || self.under_way.borrow().contains_key(&key) {
            return;
        }
        if let Some(due) = due {
            self.again(message, index, due);
        }
        let mut moved = self.moved.borrow_mut();
        moved.set(key, due.map(clamp));
        moved.sweep(&mut self.waiting.borrow_mut());
    }

    fn is_sent_by_another(&self, message: &Message, worked_on: &[u32]) -> bool {
        let (shard, body) = message.key();
        let (under_way, recorded) = (self.under_way.borrow(), message.recorded.borrow());
        let of_message = under_way.range((shard, body, 0)..=(shard, body, u32::MAX));
        let of_message = of_message.map(|((.., index), _)| index);
        let mut others = of_message.filter(|index| !worked_on.contains(index));
        others.any(|index| !recorded.contains(index))
    }

    fn again(&self, message: &Message, index: u32, due: i64) {
        let Some(recipient) = message.row.recipients.get(index as usize) else {
            return;
        };
        let routes = self.routes.borrow().clone();
        let row = message.recipient(index);
        let new = New {
            line: &routes.line(&message.row, recipient, &row),
            account: &message.row.account,
            shard: message.shard.id().0,
            body: message.body.0,
            index,
            due,
            expires: row.expires(&message.row),
            alone: message.row.goes_one_by_one(),
        };
        let key = (new.shard, new.body, index);
        self.moved.borrow_mut().again(key, clamp(due));
        self.waiting.borrow_mut().add(new, i64::MIN);
    }

    /// A message that was tried is no longer kept for its first attempt.
    fn let_go(&self, message: &Message) {
        let kept = self.fresh.borrow_mut().remove(&message.key());
        let counted = message.counted.replace(0);
        self.fresh_bytes.set(self.fresh_bytes.get() - counted);
        message.content.borrow_mut().take();
        drop(kept);
    }

    /// The same, unless others of its recipients have not been tried yet.
    fn let_go_if_tried(&self, message: &Message) {
        let all_tried = message.changed.borrow().len() == message.row.recipients.len();
        if all_tried {
            self.let_go(message);
        }
    }
}

/// What is owed, and to whom of the recipients.
type OwedReport = (Owed, Vec<(u32, RecipientRow)>);

/// A recipient in line before and after a change.
struct Changed {
    index: u32,
    was_held: bool,
    was_due: Option<i64>,
    is_held: bool,
    due: Option<i64>,
    /// Whoever changed it had taken it out of line.
    is_worked_on: bool,
}

/// Who is told what becomes of a message: who submitted it; of mail from elsewhere the reverse-path.
fn told(message: &MessageRow) -> &str {
    match message.account.as_str() {
        "" => &message.reverse_path,
        account => account,
    }
}

/// A message whose sender has still to be told something; once it is dropped, after a panic too, the next one of its account has its turn.
pub struct Telling {
    queue: Rc<Queue>,
    account: Rc<str>,
    key: (u16, u64),
}

impl Telling {
    /// The message; none: it is gone, or can't be read now and waits for [`Queue::owe_again`].
    pub async fn message(&self) -> Option<Rc<Message>> {
        let (shard, body) = self.key;
        match self.queue.message(shard, BodyId(body)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(shard, body, %error, "a queued message can't be read now; what its sender has to be told waits");
                self.queue.owing.borrow_mut().rest(&self.account, self.key);
                None
            }
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.queue.owing.borrow_mut().is_over(&self.account);
        self.queue.owed.notify();
    }
}

/// When something is to be done about a recipient; none: nothing any more.
fn due(message: &MessageRow, row: &RecipientRow) -> Option<i64> {
    match row.state {
        State::Waiting => Some(row.next.min(row.expires(message))),
        // Held until somebody releases it, and no longer than it lives.
        State::Held => Some(row.expires(message)),
        _ => None,
    }
}

/// Puts what is stored in a shard in line.
pub(super) struct Resuming(Rc<Queue>);

impl Drop for Resuming {
    fn drop(&mut self) {
        self.0.resuming.set(self.0.resuming.get() - 1);
        if self.0.resuming.get() == 0 {
            self.0.by_account.borrow_mut().all_found();
        }
        self.0.changed.notify();
    }
}

/// Taken out of a line at once.
const LATE_MAX: usize = 1_000;
/// Recipients of a message that come in line between two looks at the clock.
const STAND_MAX: u32 = 500;
/// Batches whose messages are being made that are kept in memory, some megabytes each at most.
const RECIPES_MAX: usize = 8;
/// Octets of the rows of one change, about.
const CHANGE_BYTES: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(60);
