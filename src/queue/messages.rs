//! The queue of a core: who is next, and what came of it. Each message's rows are changed by one after the other, and only here.
//! `message` is what is known of one while somebody works on it, `work` its recipients whose turn it is, `changes` how its rows change; `lines` who
//! stands where, `own` whose they are and whether there is room for more (`coming`: of those that are being committed), `telling` whose sender has still to be told
//! something. Here: how messages come in, are found, and are read.

mod changes;
mod coming;
mod lines;
mod message;
mod own;
mod telling;
mod work;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use shards::rt::{self, Event, Turns};
use shards::segments::BodyId;
use shards::storage::{Batch, Shard};

use super::batch::{self, BatchRow};
use super::by_account::{ByAccount, Left};
use super::events::Interest;
use super::hold_rules::HoldRules;
use super::hooks::Hooks;
use super::load;
use super::moved::Moved;
use super::owing::Owing;
use super::phase::Phase;
use super::reason::Pause;
use super::route::Routes;
use super::rows::{MessageRow, Owed, RecipientRow, State, Stored, encode_recipient, recipient_key};
use super::suppression::Lists;
use super::unsubscribe::Lives;
use super::waiting::Waiting;
use crate::store::StoreError;

use coming::Coming;
#[cfg(test)]
pub(super) use message::LOOKS;
use message::READERS_MAX;
pub use message::{Content, Message};
pub use telling::Telling;
use work::LATER;
pub use work::Work;

/// The queue of a core: of the messages of its shards.
pub struct Queue {
    shards: Vec<Rc<Shard>>,
    routes: RefCell<Rc<Routes>>,
    /// They are others than they were when this was last asked.
    are_rerouted: Cell<bool>,
    waiting: RefCell<Waiting>,
    /// Why those of a line are left there.
    reasons: Reasons,
    /// The same of sites, some of which have the name of a line.
    reasons_of_sites: Reasons,
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
    /// Somebody takes what stood in line for them out of it.
    is_sweeping: Cell<bool>,
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
    /// The marks of their lives.
    pub lives: Lives,
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
            are_rerouted: Cell::new(false),
            waiting: RefCell::default(),
            reasons: RefCell::default(),
            reasons_of_sites: RefCell::default(),
            open: RefCell::default(),
            readers: Rc::default(),
            reading: RefCell::default(),
            fresh: RefCell::default(),
            under_way: RefCell::default(),
            owing: RefCell::default(),
            moved: RefCell::default(),
            is_sweeping: Cell::new(false),
            kicked: RefCell::default(),
            held: Cell::new(0),
            coming: Coming::default(),
            by_account: RefCell::default(),
            interests: RefCell::new(Rc::new(|_| None)),
            lists: Lists::default(),
            hooks: Hooks::default(),
            lives: Lives::default(),
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

    /// Puts other routes in force: whoever stands in line is held against them when it is taken, or by [`Queue::reroute`].
    pub fn configure(&self, routes: Routes) {
        let before = self.routes.replace(Rc::new(routes));
        if before != *self.routes.borrow() && self.waiting.borrow().count() > 0 {
            self.are_rerouted.set(true);
            self.changed.notify();
        }
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

    /// Seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        (self.clock)()
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
        self.by_account
            .borrow_mut()
            .found(account, key, Left::new(left, stored.message.size));
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

/// Why mail waits, by the name of a line or of a site.
type Reasons = RefCell<HashMap<Rc<str>, Pause>>;

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
