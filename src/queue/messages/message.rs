//! A message in memory, while somebody has it in hand: what is common to its recipients, what became of each, its octets.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use shards::rt::Turns;
use shards::segments::BodyId;
use shards::storage::{External, Shard, StorageError};

use super::coming::Promise;
use super::{OwedReport, Queue};
use crate::queue::batch::BatchRow;
use crate::queue::events::OwedEvent;
use crate::queue::from_id::FromIds;
use crate::queue::id::QueueId;
use crate::queue::recipe::{InFile, Recipe};
use crate::queue::report::transaction_number;
use crate::queue::rows::{MessageRow, RecipientRow, Stored};
use crate::store::StoreError;

/// A message in memory.
pub struct Message {
    pub(super) shard: Rc<Shard>,
    /// The number of its body.
    pub body: BodyId,
    /// What is common to its recipients.
    pub row: MessageRow,
    pub(super) changed: RefCell<BTreeMap<u32, RecipientRow>>,
    /// How many of them are done.
    pub(super) done: Cell<usize>,
    /// Recipients that have a row.
    pub(super) written: RefCell<BTreeSet<u32>>,
    pub(super) content: RefCell<Option<Rc<Content>>>,
    /// Octets of the content that count in the queue's budget.
    pub(super) counted: Cell<usize>,
    pub(super) turn: Rc<Turns>,
    /// Recipients under way whose attempt has ended: what came of it is being written.
    pub(super) recorded: RefCell<BTreeSet<u32>>,
    /// Of those who tell its sender something.
    pub(super) telling: Rc<Turns>,
    pub(super) gone: Cell<bool>,
    /// So many of its recipients, the first ones, stand in line. None until its acceptance is durable.
    pub(super) stood: Cell<u32>,
    /// Their room, until all of them stand there.
    pub(super) promise: RefCell<Option<Promise>>,
    /// Recipients whose sender has still to be told something.
    pub(super) owing: RefCell<BTreeSet<u32>>,
    /// Recipients of whom the account's shard has still to be told something.
    owing_events: RefCell<BTreeSet<u32>>,
    /// How far it is, if it is a batch.
    pub(super) batch: RefCell<Option<BatchRow>>,
    /// What the messages of a batch are made from, once it was read.
    recipe: RefCell<Option<Rc<Recipe>>>,
    /// Of those who read it.
    reading: Rc<Turns>,
    /// When recipients under way shall be tried next, if this attempt does not end it: an operator has said so meanwhile.
    pub(super) asked: RefCell<BTreeMap<u32, i64>>,
    pub(super) queue: Weak<Queue>,
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
    /// Of a batch: those that follow, in its recipe.
    pub files: Option<InFile>,
}

impl Content {
    /// Octets of it.
    pub fn length(&self) -> u64 {
        let external = self.external.as_ref().map_or(0, |external| external.length);
        let files = self
            .files
            .as_ref()
            .map_or(0, |files| files.place.end - files.place.start);
        self.bytes.len() as u64 + external + files
    }
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

    /// Whether the time of all of these recipients is over.
    pub fn are_late(&self, indexes: &[u32], now: i64) -> bool {
        let mut expires = indexes
            .iter()
            .map(|index| self.recipient(*index).expires(&self.row));
        expires.all(|expires| expires <= now)
    }

    /// The number of a recipient, within its shard.
    pub fn number(&self, index: u32) -> u64 {
        crate::queue::id::first_of(self.body, self.row.recipients.len()) + u64::from(index)
    }

    /// The number of a recipient, as operators and programs see it.
    pub fn id(&self, index: u32) -> u64 {
        let id = QueueId::new(self.shard.id().0, self.number(index));
        id.map_or(0, QueueId::get)
    }

    /// The reverse-path with which it goes to a recipient; empty for the null path.
    pub fn mail_from(&self, from_ids: &FromIds, index: u32) -> String {
        let id = QueueId::new(self.shard.id().0, self.number(index));
        self.row.mail_from(from_ids, id)
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
        let queue = self.queue.upgrade();
        let _turn = match &queue {
            Some(queue) => Some(queue.readers.take(READERS_MAX).await),
            None => None,
        };
        let body = self.shard.read_body(self.body, None).await?;
        let external = (body.external_length() > 0).then(|| External {
            path: self.shard.external_path(self.body).into(),
            length: body.external_length(),
            id: body.location().external_id,
        });
        Ok(Rc::new(Content {
            bytes: Arc::new(body.bytes().to_vec()),
            external,
            files: None,
        }))
    }

    /// Where its octets lie that are in no memory.
    pub async fn in_file(&self, content: &Content) -> Result<Option<InFile>, StorageError> {
        Ok(match (&content.files, &content.external) {
            (Some(files), _) => Some(files.clone()),
            (None, Some(external)) => Some(InFile {
                place: 0..external.length,
                location: self.shard.read_body(self.body, None).await?.location(),
            }),
            (None, None) => None,
        })
    }

    /// What the messages of a batch are made from. Whoever has asked for it is kept for a while with its message: the next recipient needs both.
    pub async fn recipe(self: &Rc<Self>) -> Result<Rc<Recipe>, StoreError> {
        let _one = self.reading.take(1).await;
        let known = self.recipe.borrow().clone();
        let queue = self.queue.upgrade();
        let recipe = match known {
            Some(recipe) => recipe,
            None => {
                let _turn = match &queue {
                    Some(queue) => Some(queue.readers.take(READERS_MAX).await),
                    None => None,
                };
                let read = Recipe::read(&self.shard, self.body).await?;
                let read = Rc::new(read);
                *self.recipe.borrow_mut() = Some(read.clone());
                read
            }
        };
        if let Some(queue) = queue {
            queue.keep_recipe(self);
        }
        Ok(recipe)
    }

    /// A batch is cancelled: what still waits of it is dropped.
    pub(in crate::queue) fn cancel(&self, now: i64) {
        if let Some(row) = &mut *self.batch.borrow_mut() {
            row.cancelled.get_or_insert(now);
        }
    }

    /// How far it is, if it is a batch.
    pub fn progress(&self) -> Option<BatchRow> {
        self.batch.borrow().clone()
    }

    /// Recipients of whom the sender has still to be told something, by the report they share, and whose attempts are over: what comes of one
    /// may be better than what is owed. A report waits for all that it is about, for it goes out once.
    pub(in crate::queue) fn owing(&self) -> BTreeMap<(u32, u32), OwedReport> {
        let (changed, queue) = (self.changed.borrow(), self.queue.upgrade());
        let mut reports: BTreeMap<_, OwedReport> = BTreeMap::new();
        let mut later = BTreeSet::new();
        for index in self.owing.borrow().iter() {
            #[cfg(test)]
            LOOKS.set(LOOKS.get() + 1);
            let Some((row, owed)) = changed.get(index).and_then(|row| Some((row, row.owes?)))
            else {
                continue;
            };
            let report = (transaction_number(owed.notice, 0), owed.group);
            let under_way =
                |queue: &Rc<Queue>| queue.is_under_way(self.shard.id().0, self.body, *index);
            if queue.as_ref().is_some_and(under_way) {
                later.insert(report);
                continue;
            }
            let report = reports.entry(report).or_insert((owed, Vec::new()));
            report.1.push((*index, row.clone()));
        }
        reports.retain(|report, _| !later.contains(report));
        reports
    }

    /// Events that have still to reach the account's shard, of recipients whose attempts are over: the first ones, so many at most.
    pub fn events(&self, most: usize) -> Vec<(u32, RecipientRow, OwedEvent)> {
        let mut events = Vec::new();
        self.each_owing_events(|index, row| {
            let left = most - events.len();
            let owed = row.events.iter().take(left);
            events.extend(owed.map(|owed| (index, row.clone(), *owed)));
            events.len() < most
        });
        events
    }

    /// Whether there are any. Asked at each outcome, so it copies none and ends with the first.
    pub fn owes_events(&self) -> bool {
        let mut is_any = false;
        self.each_owing_events(|_, _| {
            is_any = true;
            false
        });
        is_any
    }

    /// Shows those of whom events are owed, and whose attempts are over, as long as more are wanted.
    fn each_owing_events(&self, mut goes_on: impl FnMut(u32, &RecipientRow) -> bool) {
        let changed = self.changed.borrow();
        let (queue, shard) = (self.queue.upgrade(), self.shard.id().0);
        let is_under_way = |index: u32| {
            let queue = queue.as_ref();
            queue.is_some_and(|queue| queue.is_under_way(shard, self.body, index))
        };
        for index in self.owing_events.borrow().iter() {
            let Some(row) = changed.get(index).filter(|_| !is_under_way(*index)) else {
                continue;
            };
            if !goes_on(*index, row) {
                return;
            }
        }
    }

    /// A recipient under way shall be tried next then, if this attempt does not end it.
    pub(in crate::queue) fn ask(&self, index: u32, next: i64) {
        self.asked.borrow_mut().insert(index, next);
    }

    pub(super) fn is_over(&self) -> bool {
        self.done.get() == self.row.recipients.len()
    }

    pub(super) fn put(&self, index: u32, row: RecipientRow) {
        let is_done = row.is_done();
        let keep = |owing: &RefCell<BTreeSet<u32>>, is_owing| match is_owing {
            true => owing.borrow_mut().insert(index),
            false => owing.borrow_mut().remove(&index),
        };
        keep(&self.owing, row.owes.is_some());
        keep(&self.owing_events, !row.events.is_empty());
        let before = self.changed.borrow_mut().insert(index, row);
        let was_done = before.is_some_and(|row| row.is_done());
        let done = self.done.get() + usize::from(is_done) - usize::from(was_done);
        self.done.set(done);
    }

    pub(super) fn of(queue: &Rc<Queue>, shard: &Rc<Shard>, stored: Stored) -> Rc<Message> {
        let those = |is_owing: fn(&RecipientRow) -> bool| {
            let owing = stored.changed.iter().filter(|(_, row)| is_owing(row));
            RefCell::new(owing.map(|(index, _)| *index).collect())
        };
        let owing = those(|row| row.owes.is_some());
        let owing_events = those(|row| !row.events.is_empty());
        Rc::new(Message {
            shard: shard.clone(),
            body: stored.body,
            row: stored.message,
            done: Cell::new(stored.changed.iter().filter(|(_, r)| r.is_done()).count()),
            owing,
            owing_events,
            batch: RefCell::default(),
            recipe: RefCell::default(),
            reading: Rc::default(),
            written: RefCell::new(stored.changed.iter().map(|(index, _)| *index).collect()),
            changed: RefCell::new(stored.changed.into_iter().collect()),
            content: RefCell::default(),
            counted: Cell::new(0),
            turn: Rc::default(),
            recorded: RefCell::default(),
            telling: Rc::default(),
            gone: Cell::new(false),
            stood: Cell::new(u32::MAX),
            promise: RefCell::default(),
            asked: RefCell::default(),
            queue: Rc::downgrade(queue),
        })
    }

    pub(super) fn key(&self) -> (u16, u64) {
        (self.shard.id().0, self.body.0)
    }
}

#[cfg(test)]
thread_local! {
    /// How often a recipient was looked at whose sender has still to be told something.
    pub static LOOKS: Cell<usize> = const { Cell::new(0) };
}

/// Messages of a core that are being read.
pub(super) const READERS_MAX: usize = 32;
