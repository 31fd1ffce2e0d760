//! A mailbox as one session sees it: which message has which sequence number, and what has changed since it was last told.
//!
//! The view moves only when [`Selected::updates`] is called: the door calls it where the protocol allows untagged responses.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::StoreError;
use super::account::{Account, MailboxInfo};
use super::change::{Change, Update};
use super::rows::MailboxId;
use super::table::{Entry, Reader};

/// One session's view of one mailbox. Dropping it unselects.
pub struct Selected {
    pub(super) account: Rc<Account>,
    pub(super) mailbox: MailboxId,
    pub(super) session: u64,
    reader: Rc<Reader>,
    /// UIDs by sequence number, shared with other sessions while nothing differs.
    view: RefCell<Rc<Vec<u32>>>,
    /// First and last UID that is `\Recent` for this session; empty if first > last.
    recent: Cell<(u32, u32)>,
    read_only: bool,
    gone: Cell<bool>,
}

impl Account {
    /// Opens a mailbox for a session. A session that may write takes the `\Recent` messages.
    pub async fn select(
        self: &Rc<Self>,
        name: &str,
        read_only: bool,
    ) -> Result<Selected, StoreError> {
        let id = self.mailbox(name).ok_or(StoreError::NoMailbox)?.id;
        self.load_table(id).await?;
        let session = self.next_session();
        let mut state = self.state.borrow_mut();
        let table = state.table(id)?;
        let reader = table.reader();
        let view = table.uids();
        let mailbox = state.mailbox(id)?;
        let next = view.last().map_or(1, |uid| uid + 1);
        let recent = (mailbox.row.recent_from, next.saturating_sub(1));
        if !read_only {
            // Written with the mailbox's next change; losing it means some messages are recent twice, which RFC 3501 allows.
            mailbox.row.recent_from = mailbox.row.recent_from.max(next);
        }
        drop(state);
        Ok(Selected {
            account: self.clone(),
            mailbox: id,
            session,
            reader,
            view: RefCell::new(view),
            recent: Cell::new(recent),
            read_only,
            gone: Cell::new(false),
        })
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
        let (first, last) = self.recent.get();
        (first..=last).contains(&uid)
    }

    /// Number of `\Recent` messages in the view.
    pub fn recent_count(&self) -> u32 {
        let view = self.view.borrow();
        let (first, last) = self.recent.get();
        view.iter()
            .rev()
            .take_while(|uid| **uid >= first)
            .filter(|uid| **uid <= last)
            .count() as u32
    }

    /// Whether [`Selected::updates`] would have something.
    pub fn has_updates(&self) -> bool {
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
        let mut updates = Vec::new();
        let mut state = self.account.state.borrow_mut();
        let Ok(table) = state.table(self.mailbox) else {
            if !self.gone.replace(true) {
                updates.push(Update::MailboxGone);
            }
            return updates;
        };
        let mut position = self.reader.position.get();
        let mut view = self.view.borrow_mut();
        let mut added = false;
        while let Some(change) = table.change(position) {
            match change {
                Change::Added { uid } => {
                    Rc::make_mut(&mut view).push(*uid);
                    added = true;
                }
                Change::Flags { uid, origin } => {
                    if *origin != self.session
                        && let Ok(at) = view.binary_search(uid)
                    {
                        updates.push(Update::Flags {
                            sequence: at as u32 + 1,
                            uid: *uid,
                        });
                    }
                }
                Change::Removed { .. } if !expunges => break,
                Change::Removed { uid } => {
                    if let Ok(at) = view.binary_search(uid) {
                        if std::mem::take(&mut added) {
                            updates.push(Update::Exists(view.len() as u32));
                        }
                        Rc::make_mut(&mut view).remove(at);
                        updates.push(Update::Expunge {
                            sequence: at as u32 + 1,
                            uid: *uid,
                        });
                    }
                }
                Change::MailboxGone => {
                    self.gone.set(true);
                    updates.push(Update::MailboxGone);
                }
            }
            position += 1;
        }
        if added {
            updates.push(Update::Exists(view.len() as u32));
        }
        let moved = position != self.reader.position.replace(position);
        if position == table.log_end() {
            // Up to date: share the table's list again.
            *view = table.uids();
        }
        let last = view.last().copied().unwrap_or(0);
        drop(view);
        if !self.read_only
            && let Ok(mailbox) = state.mailbox(self.mailbox)
        {
            if last >= mailbox.row.recent_from {
                let first = if self.recent.get().0 > self.recent.get().1 {
                    mailbox.row.recent_from
                } else {
                    self.recent.get().0
                };
                self.recent.set((first, last));
                mailbox.row.recent_from = last + 1;
            }
        }
        drop(state);
        if moved {
            self.account.trim(self.mailbox);
        }
        dedup_flags(updates)
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
        self.reader.position.set(u64::MAX);
        self.account.trim(self.mailbox);
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
