//! The queue of a core: who is next, what is known of a message while somebody works on it, and what came of it. Each message's rows are
//! changed by one after the other, and only here.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use shards::rt::{self, Event, Turn, Turns};
use shards::segments::BodyId;
use shards::storage::{Batch, External, Shard, StorageError};

use super::id::QueueId;
use super::load;
use super::route::Routes;
use super::rows::{MessageRow, RecipientRow, State, Stored, message_key, recipient_key};
use super::waiting::{Entry, New, Waiting};
use crate::store::{StoreError, rows};

/// The queue of a core: of the messages of its shards.
pub struct Queue {
    shards: Vec<Rc<Shard>>,
    routes: RefCell<Rc<Routes>>,
    waiting: RefCell<Waiting>,
    /// Why those of a line or a site are left there.
    reasons: RefCell<HashMap<Rc<str>, String>>,
    /// Messages that somebody has in hand: there is one of each, so that its changes are made one after the other.
    open: RefCell<HashMap<(u16, u64), Weak<Message>>>,
    /// Messages that are being read: one reader of each, for what a second one read could be from before a change.
    reading: RefCell<HashMap<(u16, u64), Rc<Turns>>>,
    /// Messages that came just now, kept for their first attempt.
    fresh: RefCell<HashMap<(u16, u64), Rc<Message>>>,
    /// Recipients that somebody works on.
    under_way: RefCell<HashSet<(u16, u64, u32)>>,
    /// Messages whose senders have still to be told something.
    owing: RefCell<VecDeque<(u16, u64)>>,
    /// Octets of messages that came just now.
    fresh_bytes: Cell<usize>,
    fresh_bytes_max: usize,
    clock: fn() -> i64,
    /// Somebody has come in line, or has something to be told.
    pub changed: Event,
}

/// A message in memory.
pub struct Message {
    shard: Rc<Shard>,
    /// The number of its body.
    pub body: BodyId,
    /// What is common to its recipients.
    pub row: MessageRow,
    changed: RefCell<BTreeMap<u32, RecipientRow>>,
    /// How many of them are done.
    done: Cell<usize>,
    /// Recipients that have a row.
    written: RefCell<BTreeSet<u32>>,
    content: RefCell<Option<Rc<Content>>>,
    /// Octets of the content that count in the queue's budget.
    counted: Cell<usize>,
    turn: Rc<Turns>,
    /// Of those who tell its sender something.
    telling: Rc<Turns>,
    gone: Cell<bool>,
    queue: Weak<Queue>,
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.upgrade()
            && let Ok(mut open) = queue.open.try_borrow_mut()
        {
            let key = self.key();
            // Not another one's that was read since.
            if open
                .get(&key)
                .is_some_and(|other| other.strong_count() == 0)
            {
                open.remove(&key);
            }
        }
    }
}

/// The octets of a message.
pub struct Content {
    /// Those in memory: all of them, or those before the file's.
    pub bytes: Arc<Vec<u8>>,
    /// Those that follow, in a file.
    pub external: Option<External>,
}

/// Recipients of a message that are due, taken out of line. Whoever has them records what came of it; if that is dropped they stand in line
/// again a minute later.
pub struct Work {
    queue: Rc<Queue>,
    /// The message.
    pub message: Rc<Message>,
    /// In which line they stood.
    pub line: Rc<str>,
    /// Which of its recipients.
    pub recipients: Vec<u32>,
}

impl Message {
    /// What became of a recipient so far.
    pub fn recipient(&self, index: u32) -> RecipientRow {
        let changed = self.changed.borrow();
        changed
            .get(&index)
            .cloned()
            .unwrap_or_else(|| RecipientRow::fresh(&self.row))
    }

    /// The number of a recipient, within its shard.
    pub fn number(&self, index: u32) -> u64 {
        super::id::first_of(self.body, self.row.recipients.len()) + u64::from(index)
    }

    /// The number of a recipient, as operators and programs see it.
    pub fn id(&self, index: u32) -> u64 {
        let id = QueueId::new(self.shard.id().0, self.number(index));
        id.map_or(0, QueueId::get)
    }

    /// Its shard.
    pub fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    /// Its octets: those that are in memory, or read again.
    pub async fn content(&self) -> Result<Rc<Content>, StoreError> {
        if let Some(content) = &*self.content.borrow() {
            return Ok(content.clone());
        }
        let body = self.shard.read_body(self.body, None).await?;
        let external = (body.external_length() > 0).then(|| External {
            path: self.shard.external_path(self.body).into(),
            length: body.external_length(),
            id: body.location().external_id,
        });
        Ok(Rc::new(Content {
            bytes: Arc::new(body.bytes().to_vec()),
            external,
        }))
    }

    /// Recipients of whom the sender has still to be told something.
    pub fn owing(&self) -> Vec<(u32, RecipientRow)> {
        let changed = self.changed.borrow();
        let owing = changed.iter().filter(|(_, row)| row.owes.is_some());
        owing.map(|(index, row)| (*index, row.clone())).collect()
    }

    fn put(&self, index: u32, row: RecipientRow) {
        let is_done = row.is_done();
        let before = self.changed.borrow_mut().insert(index, row);
        let was_done = before.is_some_and(|row| row.is_done());
        let done = self.done.get() + usize::from(is_done) - usize::from(was_done);
        self.done.set(done);
    }

    fn of(queue: &Rc<Queue>, shard: &Rc<Shard>, stored: Stored) -> Rc<Message> {
        Rc::new(Message {
            shard: shard.clone(),
            body: stored.body,
            row: stored.message,
            done: Cell::new(stored.changed.iter().filter(|(_, r)| r.is_done()).count()),
            written: RefCell::new(stored.changed.iter().map(|(index, _)| *index).collect()),
            changed: RefCell::new(stored.changed.into_iter().collect()),
            content: RefCell::default(),
            counted: Cell::new(0),
            turn: Rc::default(),
            telling: Rc::default(),
            gone: Cell::new(false),
            queue: Rc::downgrade(queue),
        })
    }

    /// Waits until nobody else tells its sender something.
    pub async fn telling(&self) -> Turn {
        self.telling.take(1).await
    }

    fn key(&self) -> (u16, u64) {
        (self.shard.id().0, self.body.0)
    }
}

impl Queue {
    /// Of these shards. Messages that come are kept in memory for their first attempt up to so many octets.
    pub fn new(shards: &[Rc<Shard>], fresh_bytes_max: usize, clock: fn() -> i64) -> Rc<Queue> {
        Rc::new(Queue {
            shards: shards.to_vec(),
            routes: RefCell::default(),
            waiting: RefCell::default(),
            reasons: RefCell::default(),
            open: RefCell::default(),
            reading: RefCell::default(),
            fresh: RefCell::default(),
            under_way: RefCell::default(),
            owing: RefCell::default(),
            fresh_bytes: Cell::new(0),
            fresh_bytes_max,
            clock,
            changed: Event::new(),
        })
    }

    /// Puts other routes in force: whoever stands in line is held against them when it is taken.
    pub fn configure(&self, routes: Routes) {
        *self.routes.borrow_mut() = Rc::new(routes);
    }

    /// Recipients that wait.
    pub fn count(&self) -> usize {
        self.waiting.borrow().count() + self.under_way.borrow().len()
    }

    /// Puts a message in line that was committed just now.
    pub fn accepted(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        body: BodyId,
        row: MessageRow,
        content: Content,
    ) {
        let now = (self.clock)();
        let stored = Stored {
            body,
            message: row,
            changed: Vec::new(),
        };
        self.stand(shard, &stored, now);
        let bytes = content.bytes.len();
        if stored.message.not_before <= now
            && self.fresh_bytes.get() + bytes <= self.fresh_bytes_max
        {
            self.fresh_bytes.set(self.fresh_bytes.get() + bytes);
            let message = Message::of(self, shard, stored);
            message.counted.set(bytes);
            *message.content.borrow_mut() = Some(Rc::new(content));
            let weak = Rc::downgrade(&message);
            self.open.borrow_mut().insert(message.key(), weak);
            self.fresh.borrow_mut().insert(message.key(), message);
        }
        self.changed.notify();
    }

    /// Puts a message in line that was found at the start.
    pub(super) fn add_stored(&self, shard: &Rc<Shard>, stored: &Stored) {
        // All later than now: whoever is due is found so when the time is looked at next.
        self.stand(shard, stored, i64::MIN);
        if stored.changed.iter().any(|(_, row)| row.owes.is_some()) {
            let key = (shard.id().0, stored.body.0);
            self.owing.borrow_mut().push_back(key);
        }
        self.changed.notify();
    }

    fn stand(&self, shard: &Rc<Shard>, stored: &Stored, now: i64) {
        let mut waiting = self.waiting.borrow_mut();
        let routes = self.routes.borrow().clone();
        for (index, recipient) in (0u32..).zip(&stored.message.recipients) {
            let row = stored.recipient(index);
            if let Some(due) = due(&stored.message, &row) {
                let new = New {
                    line: &routes.line(&stored.message, recipient, &row),
                    account: &stored.message.account,
                    shard: shard.id().0,
                    body: stored.body.0,
                    index,
                    due,
                    expires: stored.message.expires,
                };
                waiting.add(new, now);
            }
        }
    }

    /// Looks at the time. Answers the lines that have somebody in them since this was last asked, and when to look again.
    pub fn advance(&self) -> (Vec<Rc<str>>, Option<Duration>) {
        let now = (self.clock)();
        let mut waiting = self.waiting.borrow_mut();
        waiting.advance(now);
        let next = waiting.next_due();
        let wait = next.map(|due| Duration::from_secs(due.saturating_sub(now).max(0) as u64));
        (waiting.roused(), wait)
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
    pub fn set_reason(&self, name: &Rc<str>, reason: Option<String>) {
        match reason {
            Some(reason) => self.reasons.borrow_mut().insert(name.clone(), reason),
            None => self.reasons.borrow_mut().remove(name),
        };
    }

    /// Why those of a line wait though they are due.
    pub fn reason(&self, line: &str) -> Option<String> {
        let reasons = self.reasons.borrow();
        let site = self.waiting.borrow().site_of(line);
        let of_site = || reasons.get(&site?);
        reasons.get(line).or_else(of_site).cloned()
    }

    /// Joins a line to those of a site: see [`Queue::take`].
    pub fn join(&self, line: &str, site: &str) {
        self.waiting.borrow_mut().join(line, site);
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
        entries: Vec<Entry>,
        now: i64,
    ) -> Option<Work> {
        let (shard, body) = (entries[0].shard, BodyId(entries[0].body));
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
            } else if self.under_way.borrow_mut().insert((shard, body.0, index)) {
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
            return None;
        }
        Some(Work {
            queue: self.clone(),
            message,
            line: line.clone(),
            recipients,
        })
    }

    fn put_back(&self, line: &str, entries: Vec<Entry>, due: i64) {
        let mut waiting = self.waiting.borrow_mut();
        for entry in entries {
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
            None => load::find(shard, body).await.map(|stored| {
                let message = Message::of(self, shard, stored?);
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

    /// The next message whose sender has still to be told something, found at the start.
    pub async fn take_owing(self: &Rc<Self>) -> Option<Rc<Message>> {
        loop {
            let (shard, body) = self.owing.borrow_mut().pop_front()?;
            match self.message(shard, BodyId(body)).await {
                Ok(Some(message)) => return Some(message),
                Ok(None) => (),
                Err(error) => {
                    tracing::warn!(shard, body, %error, "a queued message can't be read; what its sender has to be told waits for the next start");
                }
            }
        }
    }

    /// Changes recipients of a message, one change after the other; durable when it returns. The change is made from what is there then.
    pub async fn change(
        self: &Rc<Self>,
        message: &Rc<Message>,
        change: impl FnOnce(&Message) -> Vec<(u32, RecipientRow)>,
    ) -> Result<(), StoreError> {
        let _turn = message.turn.take(1).await;
        if message.gone.get() {
            return Ok(());
        }
        let permit = message.shard.permit(CHANGE_BYTES, false, PATIENCE).await?;
        // Nothing between here and the batch may wait: what is computed is submitted.
        let rows = change(message);
        let mut batch = Batch::default();
        let mut left = Vec::new();
        for (index, row) in rows {
            if let Some(due) = due(&message.row, &row) {
                left.push((index, due));
            }
            batch.put(recipient_key(message.body, index), rows::encode(&row));
            message.written.borrow_mut().insert(index);
            message.put(index, row);
        }
        let done = message.done.get() == message.row.recipients.len();
        if done {
            message.gone.set(true);
            batch = Batch::default();
            batch.delete(message_key(message.body));
            for index in message.written.borrow().iter() {
                batch.delete(recipient_key(message.body, *index));
            }
            batch.dead.push(message.body);
        }
        message.shard.commit(permit, batch).await?;
        for (index, due) in left {
            self.again(message, index, due);
        }
        if done {
            self.let_go(message);
        }
        self.changed.notify();
        Ok(())
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
            expires: message.row.expires,
        };
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

/// When something is to be done about a recipient; none: nothing any more.
fn due(message: &MessageRow, row: &RecipientRow) -> Option<i64> {
    match row.state {
        State::Waiting => Some(row.next.min(message.expires)),
        // Held until somebody releases it, and no longer than it lives.
        State::Held => Some(message.expires),
        _ => None,
    }
}

impl Work {
    /// Records what came of the recipients: those of `rows`; durable when it returns. Others stand in line again. It is tried until it is
    /// done, for what was sent must not be sent again; an error: the shard is out of service until the next start.
    pub async fn record(
        mut self,
        rows: impl Fn(&Message) -> Vec<(u32, RecipientRow)>,
    ) -> Result<(), StoreError> {
        let (queue, message) = (self.queue.clone(), self.message.clone());
        let mut recorded = Vec::new();
        loop {
            let result = queue.change(&message, |message| {
                let rows = rows(message);
                recorded = rows.iter().map(|(index, _)| *index).collect();
                rows
            });
            match result.await {
                Ok(()) => break,
                Err(error @ StoreError::Storage(StorageError::Poisoned(..))) => {
                    self.recipients.clear();
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(shard = %message.shard.id(), message = message.body.0, %error, "what came of a queued message can't be recorded yet");
                    rt::sleep(PAUSE).await;
                }
            }
        }
        let (shard, body) = message.key();
        self.recipients.retain(|index| {
            let over = recorded.contains(index);
            if over {
                queue.under_way.borrow_mut().remove(&(shard, body, *index));
            }
            !over
        });
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let (shard, body) = self.message.key();
        for index in &self.recipients {
            self.queue
                .under_way
                .borrow_mut()
                .remove(&(shard, body, *index));
            let due = (self.queue.clock)() + LATER;
            self.queue.again(&self.message, *index, due);
        }
        self.queue.let_go_if_tried(&self.message);
        self.queue.changed.notify();
    }
}

/// Between two tries to record something.
const PAUSE: Duration = Duration::from_secs(1);
/// Seconds until somebody who could not be tried is tried again.
const LATER: i64 = 60;
/// Taken out of a line at once.
const LATE_MAX: usize = 1_000;
/// Octets of the rows of one change, about.
const CHANGE_BYTES: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(60);
