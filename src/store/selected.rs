//! A mailbox as one session sees it: which message has which sequence number, and what has changed since it was last told.
//!
//! The view moves only when [`Selected::updates`] is called: the door calls it where the protocol allows untagged responses.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use super::StoreError;
use super::account::{Account, MailboxInfo};
use super::change::{Change, Update};
use super::rows::MailboxId;
use super::table::{DETACHED, Entry, Reader, Table};

/// One session's view of one mailbox. Dropping it unselects.
pub struct Selected {
    pub(super) account: Rc<Account>,
    pub(super) mailbox: MailboxId,
    pub(super) session: u64,
    pub(super) reader: Rc<Reader>,
    /// UIDs by sequence number, shared with other sessions while nothing differs.
    pub(super) view: RefCell<Rc<Vec<u32>>>,
    /// First and last UIDs of what is `\Recent` for this session, ascending.
    pub(super) recent: RefCell<Vec<(u32, u32)>>,
    pub(super) read_only: bool,
    pub(super) gone: Cell<bool>,
}

impl Account {
    /// Opens a mailbox for a session. A session that may write takes the `\Recent` messages.
    pub async fn select(
        self: &Rc<Self>,
        name: &str,
        read_only: bool,
    ) -> Result<Selected, StoreError> {
        if self.is_gone() {
            return Err(StoreError::AccountGone);
        }
        let id = self.mailbox(name).ok_or(StoreError::NoMailbox)?.id;
        self.load_table(id).await?;
        let session = self.next_session();
        let mut state = self.state.borrow_mut();
        let table = state.table(id)?;
        let reader = table.reader();
        let view = table.uids();
        let mailbox = state.mailbox(id)?;
        let last = view.last().copied().unwrap_or(0);
        let selected = Selected {
            account: self.clone(),
            mailbox: id,
            session,
            reader,
            view: RefCell::new(view),
            recent: RefCell::default(),
            read_only,
            gone: Cell::new(false),
        };
        // Written with the mailbox's next change; losing it means some messages are recent twice, which RFC 3501 allows.
        selected.take_recent(&mut mailbox.row.recent_from, last);
        drop(state);
        Ok(selected)
    }
}

impl Selected {
    /// The account.
    pub fn account(&self) -> &Rc<Account> {
        &self.account
    }

    /// The mailbox's durable numbers; none when it was deleted.
    pub fn info(&self) -> Option<MailboxInfo> {
        self.account
            .state
            .borrow()
            .mailboxes
            .get(&self.mailbox)?
            .seen
            .clone()
    }

    /// Whether it was opened by EXAMINE.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Whether the mailbox was deleted, as far as this session was told.
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// UIDs by sequence number (first is 1), as this session was told.
    pub fn uids(&self) -> Rc<Vec<u32>> {
        self.view.borrow().clone()
    }

    /// Sequence number of a UID in this session's view.
    pub fn sequence(&self, uid: u32) -> Option<u32> {
        self.view
            .borrow()
            .binary_search(&uid)
            .ok()
            .map(|at| at as u32 + 1)
    }

    /// A message as it is durable now; one expunged since this session was told is still given.
    pub fn entry(&self, uid: u32) -> Option<Entry> {
        self.account
            .state
            .borrow_mut()
            .table(self.mailbox)
            .ok()?
            .get(uid)
            .cloned()
    }

    /// Calls `each` for the messages of `uids` that exist, without copying them.
    pub fn for_entries(&self, uids: &[u32], mut each: impl FnMut(&Entry)) {
        let mut state = self.account.state.borrow_mut();
        if let Ok(table) = state.table(self.mailbox) {
            uids.iter()
                .filter_map(|uid| table.get(*uid))
                .for_each(&mut each);
        }
    }

    /// Whether a message was expunged, though this session may not have been told.
    pub fn is_expunged(&self, uid: u32) -> bool {
        !self
            .account
            .state
            .borrow_mut()
            .table(self.mailbox)
            .is_ok_and(|t| t.is_live(uid))
    }

    /// Keywords of the mailbox; position is the bit.
    pub fn keywords(&self) -> Rc<Vec<String>> {
        self.info().map(|i| i.keywords).unwrap_or_default()
    }

    /// Whether a message is `\Recent` for this session.
    pub fn is_recent(&self, uid: u32) -> bool {
        let recent = self.recent.borrow();
        recent
            .iter()
            .rev()
            .any(|(first, last)| (*first..=*last).contains(&uid))
    }

    /// Number of `\Recent` messages in the view.
    pub fn recent_count(&self) -> u32 {
        let view = self.view.borrow();
        let below = |uid: u32| view.partition_point(|v| *v < uid) as u32;
        let recent = self.recent.borrow();
        recent
            .iter()
            .map(|(first, last)| below(last + 1) - below(*first))
            .sum()
    }

    /// Whether [`Selected::updates`] would have something.
    pub fn has_updates(&self) -> bool {
        if self.reader.overrun.get() {
            return !self.gone.get();
        }
        let mut state = self.account.state.borrow_mut();
        match state.table(self.mailbox) {
            Ok(table) => table.log_end() > self.reader.position.get(),
            Err(_) => !self.gone.get(),
        }
    }

    /// Advances the view by what became durable, in order, and says what to tell the client. Without `expunges` it stops before the
    /// first removal: sequence numbers must not move during FETCH, STORE and SEARCH (RFC 9051 7.5.1). Flag changes that this session made
    /// itself are left out: STORE has told them.
    pub fn updates(&self, expunges: bool) -> Vec<Update> {
        self.some_updates(expunges, usize::MAX).0
    }

    /// The same of about so many changes, and whether there are more: what others did to a large mailbox is told bit by bit.
    pub fn some_updates(&self, expunges: bool, most: usize) -> (Vec<Update>, bool) {
        if self.reader.overrun.get() {
            return (self.end_view(Update::Overrun), false);
        }
        let mut guard = self.account.state.borrow_mut();
        let state = &mut *guard;
        let Ok(table) = state.table(self.mailbox) else {
            drop(guard);
            return (self.end_view(Update::MailboxGone), false);
        };
        let mut view = self.view.borrow_mut();
        let from = self.reader.position.get();
        let until = from.saturating_add(most as u64).min(table.log_end());
        let mut walk = Walk::new(&mut view);
        let position = walk.along(table, from..until, self.session, expunges);
        let updates = walk.end();
        let moved = position != self.reader.position.replace(position);
        let more = position == until && until < table.log_end();
        if position == table.log_end() {
            table.share(&mut view);
        }
        let last = view.last().copied().unwrap_or(0);
        drop(view);
        if let Ok(mailbox) = state.mailbox(self.mailbox) {
            self.take_recent(&mut mailbox.row.recent_from, last);
        }
        drop(guard);
        if moved {
            self.account.trim(self.mailbox);
        }
        (dedup_flags(updates), more)
    }

    /// Nothing more can be told; says so once.
    fn end_view(&self, why: Update) -> Vec<Update> {
        if self.gone.replace(true) {
            Vec::new()
        } else {
            vec![why]
        }
    }

    /// RFC 3501 2.3.2: `\Recent` for the first session that is told. One that may only read sees them, and leaves them to others.
    fn take_recent(&self, recent_from: &mut u32, last: u32) {
        let mut recent = self.recent.borrow_mut();
        let seen = recent.last().map_or(0, |(_, last)| *last);
        let first = (*recent_from).max(seen + 1);
        if last < first {
            return;
        }
        let full = recent.len() >= RECENT_RANGES_MAX;
        match recent.last_mut() {
            Some(range) if range.1 + 1 == first => range.1 = last,
            // Then a few more are recent than should be, which RFC 3501 allows.
            Some(range) if full => range.1 = last,
            _ => recent.push((first, last)),
        }
        if !self.read_only {
            *recent_from = last + 1;
        }
    }

    /// Waits until something may have changed in the mailbox (or the account is gone).
    pub async fn wait(&self) {
        let (event, seen) = {
            let state = self.account.state.borrow();
            match state.mailboxes.get(&self.mailbox) {
                Some(mailbox) => (mailbox.changed.clone(), mailbox.changed.count()),
                None => return,
            }
        };
        if self.has_updates() || self.account.is_gone() {
            return;
        }
        event.wait(seen).await;
    }

    pub(super) fn now(&self) -> i64 {
        (self.account.clock)()
    }

    pub(super) fn set_location(&self, uid: u32, location: shards::segments::Location) {
        if let Ok(table) = self.account.state.borrow_mut().table(self.mailbox) {
            table.set_location(uid, location);
        }
    }
}

impl Drop for Selected {
    fn drop(&mut self) {
        // From now on this session keeps no expunged message readable.
        self.reader.position.set(DETACHED);
        self.account.trim(self.mailbox);
    }
}

/// A walk through a part of the log, which turns a view into the next one. What is removed leaves the list at the end, all in one go: it
/// is long, and one session may expunge one message at a time while another is not told.
struct Walk<'a> {
    view: &'a mut Rc<Vec<u32>>,
    /// UIDs of the view that are removed, ascending.
    gone: Vec<u32>,
    /// How many messages the client knows of.
    told: usize,
    updates: Vec<Update>,
}

impl Walk<'_> {
    fn new(view: &mut Rc<Vec<u32>>) -> Walk<'_> {
        Walk {
            told: view.len(),
            view,
            gone: Vec::new(),
            updates: Vec::new(),
        }
    }

    /// Answers where it stopped.
    fn along(&mut self, table: &Table, part: Range<u64>, session: u64, expunges: bool) -> u64 {
        for position in part.clone() {
            match table.change(position) {
                Some(Change::Added { uid }) => Rc::make_mut(self.view).push(*uid),
                Some(Change::Flags { origin, .. }) if *origin == session => (),
                Some(Change::Flags { uid, .. }) => self.flags(*uid),
                Some(Change::Removed { uid }) if expunges => self.removed(*uid),
                Some(Change::Removed { .. }) | None => return position,
            }
        }
        part.end.max(part.start)
    }

    fn flags(&mut self, uid: u32) {
        if let Some(sequence) = self.sequence(uid) {
            // A client must know of a message before something is said of it.
            if sequence as usize > self.told {
                self.tell_exists();
            }
            self.updates.push(Update::Flags { sequence, uid });
        }
    }

    fn removed(&mut self, uid: u32) {
        self.tell_exists();
        if let Some(sequence) = self.sequence(uid) {
            self.updates.push(Update::Expunge { sequence, uid });
            let at = self.gone.partition_point(|gone| *gone < uid);
            self.gone.insert(at, uid);
            self.told -= 1;
        }
    }

    /// Sequence number of a message that is not removed.
    fn sequence(&self, uid: u32) -> Option<u32> {
        let at = self.view.binary_search(&uid).ok()?;
        let gone_before = self.gone.binary_search(&uid).err()?;
        Some((at - gone_before) as u32 + 1)
    }

    fn tell_exists(&mut self) {
        let count = self.view.len() - self.gone.len();
        if count > self.told {
            self.updates.push(Update::Exists(count as u32));
            self.told = count;
        }
    }

    fn end(mut self) -> Vec<Update> {
        self.tell_exists();
        if !self.gone.is_empty() {
            let mut gone = self.gone.into_iter().peekable();
            Rc::make_mut(self.view).retain(|uid| gone.next_if_eq(uid).is_none());
        }
        self.updates
    }
}

/// Of several flag changes of one message only the last is told: the flags are read when it is told.
fn dedup_flags(updates: Vec<Update>) -> Vec<Update> {
    let mut seen = std::collections::HashSet::new();
    let has_expunge = updates.iter().any(|u| matches!(u, Update::Expunge { .. }));
    if has_expunge {
        // Sequence numbers differ before and after; leave the order as it is.
        return updates;
    }
    updates
        .into_iter()
        .filter(|u| !matches!(u, Update::Flags { uid, .. } if !seen.insert(*uid)))
        .collect()
}

/// Ranges of recent UIDs of one session: they only part when sessions take turns in being told first.
const RECENT_RANGES_MAX: usize = 1_000;
