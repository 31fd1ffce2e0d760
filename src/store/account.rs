//! One account: its mailboxes, its counters, and the way of every change from the pending to the committed view.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use shards::rt::Event;
use shards::segments::{BodyId, Location};
use shards::storage::{Batch, Permit, Shard, StorageError};

use super::burials::Burials;
use super::rows::{
    AccountId, AccountRow, EraseRow, MailboxCounts, MailboxId, MailboxRow, ModSeq, SpecialUse,
    encode,
};
use super::table::{Entry, Table};
use super::{StoreError, keys};

/// An account that is in use on this core.
pub struct Account {
    /// Its number in the shard.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    pub(super) shard: Rc<Shard>,
    pub(super) state: RefCell<State>,
    /// Mailboxes were made, renamed, deleted, (un)subscribed.
    pub mailboxes_changed: Event,
    pub(super) gone: Cell<bool>,
    /// A delivery with a transaction number was answered.
    pub(super) transaction_done: Event,
    /// Octets, at most; none is no limit.
    pub(super) quota: Cell<Option<u64>>,
    pub(super) sessions: Cell<u64>,
    /// Seconds since 1970.
    pub(super) clock: fn() -> i64,
}

pub(super) struct State {
    pub row: AccountRow,
    pub mailboxes: BTreeMap<MailboxId, Mailbox>,
    /// Pending names.
    pub by_name: HashMap<String, MailboxId>,
    pub subscriptions: BTreeSet<String>,
    /// Deleted mailboxes whose messages' rows are still there.
    pub clearing: BTreeSet<MailboxId>,
    /// They are being removed now.
    pub clears: bool,
    /// Erase rows whose bodies are to be buried.
    pub burials: Burials,
    /// Tables of mailboxes that were deleted or not used, until they are taken apart.
    pub left: Vec<Table>,
    /// Deliveries of transactions that are not answered yet.
    pub transactions: HashSet<Vec<u8>>,
    pub changes_under_way: usize,
}

impl State {
    /// No mailboxes yet, nothing under way.
    pub fn new(row: AccountRow) -> State {
        State {
            row,
            mailboxes: BTreeMap::new(),
            by_name: HashMap::new(),
            subscriptions: BTreeSet::new(),
            clearing: BTreeSet::new(),
            clears: false,
            burials: Burials::default(),
            left: Vec::new(),
            transactions: HashSet::new(),
            changes_under_way: 0,
        }
    }
}

pub(super) struct Mailbox {
    /// Pending.
    pub row: MailboxRow,
    /// Committed; none until its making is durable.
    pub seen: Option<MailboxInfo>,
    pub table: TableState,
    /// Its deletion is being worked out or under way: nothing new is planned for it.
    pub deleting: bool,
    /// Something was committed.
    pub changed: Rc<Event>,
}

impl Mailbox {
    /// One without messages in memory; `seen`: its row is durable.
    pub fn new(id: MailboxId, row: MailboxRow, seen: bool) -> Mailbox {
        Mailbox {
            seen: seen.then(|| info(id, &row)),
            row,
            table: TableState::Unloaded,
            deleting: false,
            changed: Rc::new(Event::new()),
        }
    }

    /// The durable numbers. What sessions were told of as `\Recent` is written with the next change only, but true at once.
    fn shown(&self) -> Option<MailboxInfo> {
        let seen = self.seen.clone()?;
        Some(MailboxInfo {
            recent_from: self.row.recent_from,
            ..seen
        })
    }
}

pub(super) enum TableState {
    Unloaded,
    /// Being read; what is committed meanwhile is applied afterwards.
    Loading(Loading),
    Loaded(Table),
}

/// A table being read.
#[derive(Default)]
pub(super) struct Loading {
    /// Messages from this UID on are not taken from the rows: their effects come.
    pub uid_next: u32,
    pub effects: Vec<Effect>,
}

/// What is durable of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxInfo {
    /// Its number.
    pub id: MailboxId,
    /// Its name, UTF-8; `INBOX` in capitals.
    pub name: String,
    /// RFC 9051 2.3.1.1.
    pub uid_validity: u32,
    /// The UID of the next message, at least.
    pub uid_next: u32,
    /// RFC 7162 HIGHESTMODSEQ.
    pub modseq: ModSeq,
    /// RFC 6154.
    pub special_use: SpecialUse,
    /// Its numbers.
    pub counts: MailboxCounts,
    /// Keywords used in it; position is the bit of [`Entry::keywords`].
    pub keywords: Rc<Vec<String>>,
    /// Messages no session was told about as `\Recent`.
    pub recent_from: u32,
}

/// What becomes visible when a batch is durable.
#[derive(Clone)]
pub(super) enum Effect {
    Added(MailboxId, Box<Entry>),
    Flagged(MailboxId, Box<Entry>, u64),
    Rewritten(MailboxId, Box<Entry>),
    Removed(MailboxId, Vec<u32>),
    Info(Box<MailboxInfo>),
    MailboxGone(MailboxId),
    Subscribed(String, bool),
    Erasing(u64, EraseRow),
    Buried(u64),
}

/// Rows, bodies and effects of one change, gathered before they are submitted in one go.
#[derive(Default)]
pub(super) struct Changes {
    pub batch: Batch,
    pub effects: Vec<Effect>,
}

impl Account {
    pub(super) fn with_state(
        shard: Rc<Shard>,
        id: AccountId,
        name: &str,
        state: State,
        clock: fn() -> i64,
    ) -> Account {
        Account {
            id,
            name: name.to_string(),
            shard,
            state: RefCell::new(state),
            mailboxes_changed: Event::new(),
            gone: Cell::new(false),
            transaction_done: Event::new(),
            quota: Cell::new(None),
            sessions: Cell::new(0),
            clock,
        }
    }

    /// The account was removed: everything fails from now on; sessions end.
    pub fn set_gone(&self) {
        self.gone.set(true);
        self.wake_sessions();
    }

    /// Every session looks whether it must end.
    pub fn wake_sessions(&self) {
        self.mailboxes_changed.notify();
        for mailbox in self.state.borrow().mailboxes.values() {
            mailbox.changed.notify();
        }
    }

    /// Whether it was removed.
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// The UIDVALIDITY of the next mailbox.
    pub(super) fn next_uid_validity(&self) -> u32 {
        self.state.borrow().row.next_uid_validity
    }

    /// Sets the quota in octets, from the configuration.
    pub fn set_quota(&self, quota: Option<u64>) {
        self.quota.set(quota);
    }

    /// (octets used, limit).
    pub fn quota(&self) -> (u64, Option<u64>) {
        (self.state.borrow().row.used_bytes, self.quota.get())
    }

    /// The shard its rows are in.
    pub fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    /// Room for a change; taken before anything is computed from the pending view.
    pub(super) async fn permit(
        &self,
        bytes: usize,
        has_bodies: bool,
    ) -> Result<Permit, StoreError> {
        if self.gone.get() {
            return Err(StoreError::AccountGone);
        }
        Ok(self.shard.permit(bytes, has_bodies, PERMIT_LIMIT).await?)
    }

    /// Submits a change and waits until it is durable and visible.
    pub(super) async fn commit(
        self: &Rc<Self>,
        permit: Permit,
        changes: Changes,
    ) -> Result<(), StoreError> {
        self.commit_then(permit, changes, || ()).await
    }

    /// The same; `then` runs at the answer, whether anybody still waits for it or not.
    pub(super) async fn commit_then(
        self: &Rc<Self>,
        permit: Permit,
        changes: Changes,
        then: impl FnOnce() + 'static,
    ) -> Result<(), StoreError> {
        // Its rows are being removed: what came after that would stay for ever.
        if self.gone.get() {
            return Err(StoreError::AccountGone);
        }
        let (sender, receiver) = futures_channel::oneshot::channel();
        self.submit(permit, changes, move |result| {
            let _ = sender.send(result);
            then();
        });
        let stopped = |_| {
            let reason = "the commit thread has stopped".into();
            Err(StorageError::Poisoned(self.shard.id(), reason))
        };
        Ok(receiver.await.unwrap_or_else(stopped)?)
    }

    /// Submits a change; `then` runs when it is durable and visible. The account's own row goes along with every change.
    fn submit(
        self: &Rc<Self>,
        permit: Permit,
        changes: Changes,
        then: impl FnOnce(Result<(), StorageError>) + 'static,
    ) {
        let Changes { mut batch, effects } = changes;
        batch.put(keys::account(self.id), encode(&self.state.borrow().row));
        let bodies: Vec<BodyId> = batch.bodies.iter().map(|b| b.id).collect();
        self.state.borrow_mut().changes_under_way += 1;
        let account = self.clone();
        self.shard.submit(permit, batch, move |result| {
            account.state.borrow_mut().changes_under_way -= 1;
            if let Ok(committed) = &result {
                let locations = bodies.into_iter().zip(committed.locations.iter().copied());
                account.apply(effects, &locations.collect());
            }
            then(result.map(|_| ()));
        });
    }

    fn apply(self: &Rc<Self>, effects: Vec<Effect>, locations: &HashMap<BodyId, Location>) {
        let mut list_changed = false;
        let mut may_clear = false;
        let mut touched: Vec<MailboxId> = Vec::new();
        let mut state = self.state.borrow_mut();
        for mut effect in effects {
            match &mut effect {
                // Copies bring no body of their own; where theirs lies may be known already.
                Effect::Added(_, entry) => {
                    let stored = locations.get(&entry.body).copied();
                    entry.location = stored.or(entry.location);
                }
                Effect::MailboxGone(_) => may_clear = true,
                _ => (),
            }
            list_changed |= state.apply(effect, &mut touched);
        }
        touched.sort_unstable();
        touched.dedup();
        let events: Vec<Rc<Event>> = touched
            .iter()
            .filter_map(|id| state.mailboxes.get(id))
            .map(|m| m.changed.clone())
            .collect();
        drop(state);
        events.iter().for_each(|event| event.notify());
        if list_changed {
            self.mailboxes_changed.notify();
        }
        touched.into_iter().for_each(|id| self.trim(id));
        if may_clear {
            self.take_apart();
            self.clear_deleted();
        }
        self.bury_ready();
    }

    /// Assigns the next MODSEQ.
    pub(super) fn next_modseq(&self) -> ModSeq {
        let mut state = self.state.borrow_mut();
        let modseq = state.row.next_modseq;
        state.row.next_modseq += 1;
        modseq
    }

    /// A number for a session, to tell its own changes from those of others.
    pub(super) fn next_session(&self) -> u64 {
        self.sessions.set(self.sessions.get() + 1);
        self.sessions.get()
    }

    /// All durable mailboxes, by name.
    pub fn mailboxes(&self) -> Vec<MailboxInfo> {
        let state = self.state.borrow();
        let mut all: Vec<MailboxInfo> = state
            .mailboxes
            .values()
            .filter_map(Mailbox::shown)
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// One durable mailbox.
    pub fn mailbox(&self, name: &str) -> Option<MailboxInfo> {
        let state = self.state.borrow();
        let id = state.by_name.get(name)?;
        state
            .mailboxes
            .get(id)?
            .shown()
            .filter(|seen| seen.name == name)
    }

    /// Subscribed names; the mailboxes need not exist.
    pub fn subscriptions(&self) -> Vec<String> {
        self.state.borrow().subscriptions.iter().cloned().collect()
    }

    /// Whether changes are submitted and not answered.
    pub(super) fn is_changing(&self) -> bool {
        self.state.borrow().changes_under_way > 0
    }

    /// Whether nothing is under way, no body waits to be buried and no deleted mailbox has rows.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state.borrow();
        state.changes_under_way == 0 && state.burials.is_empty() && state.clearing.is_empty()
    }

    /// Bytes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let state = self.state.borrow();
        let tables: usize = state
            .mailboxes
            .values()
            .map(|m| match &m.table {
                TableState::Loaded(table) => table.bytes(),
                _ => 0,
            })
            .sum();
        tables + state.mailboxes.len() * 600 + 800
    }
}

impl State {
    /// Makes one effect visible; answers whether the list of mailboxes changed.
    pub(super) fn apply(&mut self, effect: Effect, touched: &mut Vec<MailboxId>) -> bool {
        match effect {
            Effect::Info(info) => return self.apply_info(*info, touched),
            Effect::MailboxGone(id) => {
                if let Some(mailbox) = self.mailboxes.remove(&id) {
                    mailbox.changed.notify();
                    if let TableState::Loaded(table) = mailbox.table {
                        self.left.push(table);
                    }
                }
                self.clearing.insert(id);
                return true;
            }
            Effect::Subscribed(name, on) => {
                if on {
                    self.subscriptions.insert(name);
                } else {
                    self.subscriptions.remove(&name);
                }
                return true;
            }
            Effect::Erasing(number, row) => self.burials.add(number, row),
            Effect::Buried(number) => self.burials.buried(number),
            Effect::Added(id, _)
            | Effect::Flagged(id, _, _)
            | Effect::Rewritten(id, _)
            | Effect::Removed(id, _) => {
                touched.push(id);
                self.apply_to_table(id, effect);
            }
        }
        false
    }

    fn apply_info(&mut self, info: MailboxInfo, touched: &mut Vec<MailboxId>) -> bool {
        let Some(mailbox) = self.mailboxes.get_mut(&info.id) else {
            return false;
        };
        touched.push(info.id);
        let before = mailbox.seen.replace(info);
        before.is_none_or(|b| {
            mailbox
                .seen
                .as_ref()
                .is_some_and(|s| s.name != b.name || s.special_use != b.special_use)
        })
    }

    fn apply_to_table(&mut self, id: MailboxId, effect: Effect) {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else {
            return;
        };
        let table = match &mut mailbox.table {
            // Nobody has read it. Only additions come here: other changes start from a table, which stays until they are answered.
            TableState::Unloaded => return,
            TableState::Loading(loading) => {
                loading.effects.push(effect);
                return;
            }
            TableState::Loaded(table) => table,
        };
        match effect {
            Effect::Added(_, entry) => table.added(entry),
            Effect::Flagged(_, entry, origin) => table.flagged(entry, origin),
            Effect::Rewritten(_, entry) => table.rewritten(&entry),
            Effect::Removed(_, uids) => table.removed(&uids),
            _ => (),
        }
    }

    pub(super) fn table(&mut self, id: MailboxId) -> Result<&mut Table, StoreError> {
        match self.mailboxes.get_mut(&id) {
            Some(Mailbox {
                table: TableState::Loaded(table),
                ..
            }) => Ok(table),
            _ => Err(StoreError::NoMailbox),
        }
    }

    /// A mailbox that changes may be planned for.
    pub(super) fn mailbox(&mut self, id: MailboxId) -> Result<&mut Mailbox, StoreError> {
        self.mailboxes
            .get_mut(&id)
            .filter(|m| !m.deleting)
            .ok_or(StoreError::NoMailbox)
    }
}

impl Changes {
    pub fn put_message(&mut self, account: AccountId, mailbox: MailboxId, entry: &Entry) {
        self.batch.put(
            keys::message(account, mailbox, entry.uid),
            encode(&entry.to_row()),
        );
    }

    /// Writes the mailbox's row as it is pending, and shows it when durable.
    pub fn put_mailbox(&mut self, account: AccountId, id: MailboxId, row: &MailboxRow) {
        self.batch.put(keys::mailbox(account, id), encode(row));
        self.effects.push(Effect::Info(Box::new(info(id, row))));
    }
}

pub(super) fn info(id: MailboxId, row: &MailboxRow) -> MailboxInfo {
    MailboxInfo {
        id,
        name: row.name.clone(),
        uid_validity: row.uid_validity,
        uid_next: row.uid_next,
        modseq: row.modseq,
        special_use: row.special_use,
        counts: row.counts,
        keywords: Rc::new(row.keywords.clone()),
        recent_from: row.recent_from,
    }
}

/// How long a change waits for room in the shard before it is refused.
const PERMIT_LIMIT: Duration = Duration::from_secs(30);
