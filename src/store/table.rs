//! A loaded mailbox: its messages in a compact table, the pending overlay, the log of durable changes and who still reads it.

use std::cell::Cell;
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::{Rc, Weak};

use shards::segments::{BodyId, Location};

use super::change::Change;
use super::rows::{MessageRow, ThreadRow};

/// One message of a loaded mailbox.
#[derive(Clone, Debug)]
pub struct Entry {
    /// RFC 9051 2.3.1.1.
    pub uid: u32,
    /// RFC 7162.
    pub modseq: u64,
    /// MODSEQ of its arrival.
    pub create_seq: u64,
    /// System flags: bits of [`super::system`].
    pub flags: u16,
    /// Keywords: bits by position in the mailbox's list.
    pub keywords: u64,
    /// Octets.
    pub size: u64,
    /// Internal date, seconds since 1970.
    pub received: i64,
    /// Save date, seconds since 1970.
    pub saved: i64,
    pub(super) prefix_length: u32,
    pub(super) body: BodyId,
    pub(super) shares_body: bool,
    pub(super) location: Option<Location>,
    // Boxed: rarely looked at, and most messages have few references.
    pub(super) thread: Rc<ThreadRow>,
}

impl Entry {
    pub(super) fn from_row(uid: u32, row: MessageRow) -> Entry {
        Entry {
            uid,
            modseq: row.modseq,
            create_seq: row.create_seq,
            flags: row.flags,
            keywords: row.keywords,
            size: row.size,
            received: row.received,
            saved: row.saved,
            prefix_length: row.prefix_length,
            body: BodyId(row.body),
            shares_body: row.shares_body,
            location: None,
            thread: Rc::new(row.thread),
        }
    }

    pub(super) fn to_row(&self) -> MessageRow {
        MessageRow {
            modseq: self.modseq,
            create_seq: self.create_seq,
            flags: self.flags,
            keywords: self.keywords,
            size: self.size,
            prefix_length: self.prefix_length,
            received: self.received,
            saved: self.saved,
            body: self.body.0,
            shares_body: self.shares_body,
            thread: ThreadRow::clone(&self.thread),
        }
    }
}

/// The newest pending state of a message with changes under way.
struct Overlay {
    /// None: its expunge is under way.
    entry: Option<Entry>,
    outstanding: u32,
}

/// Cursor of one session in the log; the table forgets it when the session drops it.
pub(super) struct Reader {
    /// The next change it has not been told; [`DETACHED`] if it holds nothing any more.
    pub position: Cell<u64>,
    /// It was behind by more than [`LOG_MAX`] changes, which are gone.
    pub overrun: Cell<bool>,
}

/// The messages of one mailbox.
#[derive(Default)]
pub(super) struct Table {
    /// By UID; boxed and in a tree, so that what an expunge takes out moves none of the others.
    entries: BTreeMap<u32, Box<Entry>>,
    overlay: HashMap<u32, Overlay>,
    /// Removed messages that some session has not been told about.
    ghosts: BTreeMap<u32, Box<Entry>>,
    /// They in the order of their removal, each with its position in the log.
    removals: VecDeque<(u64, u32)>,
    /// A task looks after the ghosts that are too many to be forgotten in one go.
    pub trims: bool,
    log: VecDeque<Change>,
    log_start: u64,
    readers: Vec<Weak<Reader>>,
    uids: Option<Rc<Vec<u32>>>,
}

impl Table {
    pub fn new(entries: BTreeMap<u32, Box<Entry>>) -> Table {
        Table {
            entries,
            ..Table::default()
        }
    }

    /// Bytes it takes, about.
    pub fn bytes(&self) -> usize {
        self.entries.len() * (size_of::<Entry>() + 120)
    }

    pub fn is_unused(&mut self) -> bool {
        self.readers.retain(|r| r.strong_count() > 0);
        self.readers.is_empty() && self.overlay.is_empty() && self.ghosts.is_empty()
    }

    /// Whether it is too large to be dropped in one go.
    pub fn is_large(&self) -> bool {
        self.entries.len() > TRIM_MAX
    }

    /// UIDs of all durable messages, shared by the sessions that are up to date.
    pub fn uids(&mut self) -> Rc<Vec<u32>> {
        self.uids
            .get_or_insert_with(|| Rc::new(self.entries.keys().copied().collect()))
            .clone()
    }

    /// Makes one list of the table's and that of a session which was told everything.
    pub fn share(&mut self, view: &mut Rc<Vec<u32>>) {
        debug_assert_eq!(view.len(), self.entries.len());
        match &self.uids {
            Some(uids) => *view = uids.clone(),
            None => self.uids = Some(view.clone()),
        }
    }

    /// The durable state of a message, or of one removed that some session may still see.
    pub fn get(&self, uid: u32) -> Option<&Entry> {
        let entry = self.entries.get(&uid).or_else(|| self.ghosts.get(&uid));
        entry.map(|entry| &**entry)
    }

    /// Whether the message is durable and not removed.
    pub fn is_live(&self, uid: u32) -> bool {
        self.entries.contains_key(&uid)
    }

    /// The state that the next change starts from; none when it is gone or going.
    pub fn pending(&self, uid: u32) -> Option<&Entry> {
        match self.overlay.get(&uid) {
            Some(overlay) => overlay.entry.as_ref(),
            None => self.entries.get(&uid).map(|entry| &**entry),
        }
    }

    /// The durable messages from a UID on, by UID.
    pub fn entries(&self, from: u32) -> impl Iterator<Item = &Entry> {
        self.entries.range(from..).map(|(_, entry)| &**entry)
    }

    pub fn set_location(&mut self, uid: u32, location: Location) {
        let live = self.entries.get_mut(&uid);
        if let Some(entry) = live.or_else(|| self.ghosts.get_mut(&uid)) {
            entry.location = Some(location);
        }
    }

    /// Fills in what was found for the messages from `uid` on.
    pub fn fill_locations(&mut self, uid: u32, count: usize, found: &HashMap<BodyId, Location>) {
        for (_, entry) in self.entries.range_mut(uid..).take(count) {
            let here = || found.get(&entry.body).copied();
            entry.location = entry.location.or_else(here);
        }
    }

    /// A change of a message is on its way to the disk.
    pub fn submit(&mut self, uid: u32, entry: Option<Entry>) {
        let overlay = self.overlay.entry(uid).or_insert(Overlay {
            entry: None,
            outstanding: 0,
        });
        overlay.entry = entry;
        overlay.outstanding += 1;
    }

    fn settle(&mut self, uid: u32) {
        if let Some(overlay) = self.overlay.get_mut(&uid) {
            overlay.outstanding -= 1;
            if overlay.outstanding == 0 {
                self.overlay.remove(&uid);
            }
        }
    }

    /// A message became durable.
    pub fn added(&mut self, entry: Box<Entry>) {
        let uid = entry.uid;
        match self.entries.entry(uid) {
            // A view that got it twice would have wrong sequence numbers for ever.
            Slot::Occupied(_) => {
                debug_assert!(false, "UID {uid} was added twice");
                return;
            }
            Slot::Vacant(slot) => slot.insert(entry),
        };
        self.uids = None;
        self.record(Change::Added { uid });
    }

    /// New flags became durable.
    pub fn flagged(&mut self, mut entry: Box<Entry>, origin: u64) {
        let uid = entry.uid;
        if let Some(known) = self.entries.get_mut(&uid) {
            entry.location = entry.location.or(known.location);
            *known = entry;
            self.record(Change::Flags { uid, origin });
        }
        self.settle(uid);
    }

    /// A row changed in a way no session sees.
    pub fn rewritten(&mut self, entry: &Entry) {
        let uid = entry.uid;
        if let Some(known) = self.entries.get_mut(&uid) {
            known.shares_body = entry.shares_body;
        }
        self.settle(uid);
    }

    /// Expunges became durable. UIDs ascend. What no session sees any more is forgotten by [`Table::trim`].
    pub fn removed(&mut self, uids: &[u32]) {
        self.uids = None;
        for uid in uids {
            if let Some(entry) = self.entries.remove(uid) {
                self.removals.push_back((self.log_end(), *uid));
                self.ghosts.insert(*uid, entry);
                self.record(Change::Removed { uid: *uid });
            }
            self.settle(*uid);
        }
    }

    fn record(&mut self, change: Change) {
        if !self.readers.iter().any(|r| r.strong_count() > 0) {
            self.log_start += 1;
            return;
        }
        self.log.push_back(change);
        if self.log.len() > self.log_max() {
            self.cut_off();
        }
    }

    /// One command over all messages, even flags and removal of all, must not cost a session its view.
    fn log_max(&self) -> usize {
        LOG_MAX.max(3 * (self.entries.len() + self.ghosts.len()))
    }

    /// Gives up the sessions that hold the older half of the log, so that it stays bounded.
    fn cut_off(&mut self) {
        let half = self.log_start + self.log.len() as u64 / 2;
        for reader in self.readers.iter().filter_map(Weak::upgrade) {
            if reader.position.get() < half {
                reader.position.set(DETACHED);
                reader.overrun.set(true);
            }
        }
        self.drop_told();
    }

    /// Drops changes that every session was told; answers the position of the oldest that is kept.
    fn drop_told(&mut self) -> u64 {
        let end = self.log_end();
        let readers = self.readers.iter().filter_map(Weak::upgrade);
        let oldest = readers
            .map(|r| r.position.get())
            .min()
            .unwrap_or(end)
            .min(end);
        let told = (oldest.saturating_sub(self.log_start) as usize).min(self.log.len());
        self.log.drain(..told);
        self.log_start += told as u64;
        oldest
    }

    pub fn log_end(&self) -> u64 {
        self.log_start + self.log.len() as u64
    }

    pub fn change(&self, position: u64) -> Option<&Change> {
        position
            .checked_sub(self.log_start)
            .and_then(|at| self.log.get(at as usize))
    }

    pub fn reader(&mut self) -> Rc<Reader> {
        self.readers.retain(|r| r.strong_count() > 0);
        let reader = Rc::new(Reader {
            position: Cell::new(self.log_end()),
            overrun: Cell::new(false),
        });
        self.readers.push(Rc::downgrade(&reader));
        reader
    }

    /// Forgets what all sessions have been told. Answers the bodies of removed messages that nobody sees any more, at most
    /// [`TRIM_MAX`], and whether there are more.
    pub fn trim(&mut self) -> (Vec<BodyId>, bool) {
        let oldest = self.drop_told();
        let mut freed = Vec::new();
        while let Some((position, uid)) = self.removals.front().copied()
            && position < oldest
        {
            if freed.len() == TRIM_MAX {
                return (freed, true);
            }
            self.removals.pop_front();
            freed.extend(self.ghosts.remove(&uid).map(|ghost| ghost.body));
        }
        (freed, false)
    }

    /// The same of a table that no session has any more, and of its messages too.
    pub fn take_apart(&mut self) -> (Vec<BodyId>, bool) {
        for _ in 0..TRIM_MAX {
            self.entries.pop_first();
        }
        self.readers.clear();
        let (freed, more) = self.trim();
        (freed, more || !self.entries.is_empty())
    }

    /// How many removed messages some session may still see.
    pub fn ghosts(&self) -> usize {
        self.ghosts.len()
    }

    /// What must be true at any time; more when nothing is under way. For tests and debug builds.
    pub fn problems(&self, quiet: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if self.entries.iter().any(|(uid, e)| *uid != e.uid) {
            problems.push("a message is not where its UID is".into());
        }
        if !self.removals.iter().is_sorted() || self.removals.len() != self.ghosts.len() {
            problems.push("removed messages are not in the order of their removal".into());
        }
        if let Some(uids) = &self.uids
            && !uids.iter().eq(self.entries.keys())
        {
            problems.push("the shared list of UIDs is stale".into());
        }
        if let Some(uid) = self.ghosts.keys().find(|uid| self.is_live(**uid)) {
            problems.push(format!("UID {uid} is live and removed"));
        }
        if quiet && !self.overlay.is_empty() {
            problems.push("changes are pending though none is under way".into());
        }
        if self.log.len() > self.log_max() {
            problems.push("the log is over its bound".into());
        }
        problems
    }
}

/// The position of a reader that holds nothing.
pub(super) const DETACHED: u64 = u64::MAX;
/// Changes kept for sessions that have not been told, at least: about 2 MB. A session further behind is cut off.
pub(super) const LOG_MAX: usize = 100_000;
/// Removed messages forgotten in one go: others wait for the core.
pub(super) const TRIM_MAX: usize = 1_000;
