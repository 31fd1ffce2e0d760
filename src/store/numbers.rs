//! Messages by number: that of the body, which a message keeps wherever it is moved, so that whoever is told of it finds it later. Copies
//! have the same one; of them the one in the mailbox with the lowest number counts, and there the one with the lowest UID.
//!
//! Called for the API. Not here: what is done to the message, which goes the way that IMAP's commands go (`selected.rs`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use shards::rt;
use shards::segments::BodyId;
use shards::storage::StorageError;

use super::account::{Account, TableState};
use super::rows::{BodyMeta, MailboxId, decode_body_meta};
use super::selected::Selected;
use super::table::{Entry, Table};
use super::{StoreError, keys};

/// Where a message was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagePlace {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// RFC 9051 2.3.1.1.
    pub uid: u32,
}

/// What a number leads to.
pub enum Numbered {
    /// To this message, in a view of its mailbox that is told nothing: it is for reading this one, and for changing it.
    Message(Box<(Selected, Entry)>),
    /// To one that was removed a short while ago.
    Removed,
    /// To none of this account.
    Unknown,
}

impl Account {
    /// Finds a message. `hint`: where it was before.
    pub async fn numbered(
        self: &Rc<Self>,
        number: u64,
        hint: Option<MessagePlace>,
    ) -> Result<Numbered, StoreError> {
        if self.is_gone() {
            return Err(StoreError::AccountGone);
        }
        let body = BodyId(number);
        if let Some(place) = hint
            && let Some(found) = self.look_at(body, place).await?
        {
            return Ok(found);
        }
        // It says itself whose it is and where it was added.
        let meta = match self.shard().read_body(body, None).await {
            Ok(read) => decode_body_meta(read.meta()).map(|(meta, _)| meta),
            Err(StorageError::Gone(..)) => return Ok(Numbered::Unknown),
            // Its octets are lost, the message is still there.
            Err(StorageError::Damaged { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if meta.as_ref().is_some_and(|meta| meta.account != self.name) {
            return Ok(Numbered::Unknown);
        }
        for _ in 0..LOOKS {
            let before = self.state.borrow().row.next_modseq;
            if let Some(found) = self.look_everywhere(body, meta.as_ref()).await? {
                return Ok(found);
            }
            // It may have been moved from where we had not looked to where we had.
            if self.state.borrow().row.next_modseq == before {
                break;
            }
        }
        Ok(match meta {
            Some(_) => Numbered::Removed,
            None => Numbered::Unknown,
        })
    }

    async fn look_everywhere(
        self: &Rc<Self>,
        body: BodyId,
        meta: Option<&BodyMeta>,
    ) -> Result<Option<Numbered>, StoreError> {
        if let Some(place) = meta.and_then(|meta| self.place_of(meta))
            && let Some(Numbered::Message(found)) = self.look_at(body, place).await?
            && !found.1.shares_body
        {
            return Ok(Some(Numbered::Message(found)));
        }
        for place in self.copies(body).await? {
            if let Some(found) = self.look_at(body, place).await? {
                return Ok(Some(found));
            }
        }
        // Numbers mostly ascend within a mailbox, and mailboxes in memory cost nothing to look into.
        let (loaded, others) = self.mailboxes_to_search();
        for (mailbox, is_loaded) in loaded
            .iter()
            .map(|id| (*id, true))
            .chain(others.iter().map(|id| (*id, false)))
        {
            if !is_loaded && self.try_load(mailbox).await?.is_none() {
                continue;
            }
            let uid = {
                let mut state = self.state.borrow_mut();
                state
                    .table(mailbox)
                    .ok()
                    .and_then(|table| bisect(table, body))
            };
            if let Some(uid) = uid
                && let Some(found) = self.look_at(body, MessagePlace { mailbox, uid }).await?
            {
                return Ok(Some(found));
            }
            rt::yield_if_needed().await;
        }
        for mailbox in loaded.into_iter().chain(others) {
            if let Some(uid) = self.search(mailbox, body).await?
                && let Some(found) = self.look_at(body, MessagePlace { mailbox, uid }).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where a message was added, if that mailbox is still there.
    fn place_of(&self, meta: &BodyMeta) -> Option<MessagePlace> {
        let state = self.state.borrow();
        let mailbox = *state.by_name.get(&meta.mailbox)?;
        let is_same = state.mailboxes.get(&mailbox)?.row.uid_validity == meta.uid_validity;
        is_same.then_some(MessagePlace {
            mailbox,
            uid: meta.uid,
        })
    }

    /// Messages that have a body in common, in order.
    async fn copies(&self, body: BodyId) -> Result<Vec<MessagePlace>, StoreError> {
        let prefix = keys::shared_prefix(self.id, body.0);
        let rows = self
            .shard()
            .scan(prefix.clone(), prefix.clone(), COPIES)
            .await?;
        let number = |key: &[u8], at: usize| {
            let octets = key.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_be_bytes(octets))
        };
        let place = |(key, _): (Vec<u8>, Vec<u8>)| {
            Some(MessagePlace {
                mailbox: MailboxId(number(&key, prefix.len())?),
                uid: number(&key, prefix.len() + 4)?,
            })
        };
        Ok(rows.into_iter().filter_map(place).collect())
    }

    /// Durable mailboxes by number: those in memory, and the others.
    fn mailboxes_to_search(&self) -> (Vec<MailboxId>, Vec<MailboxId>) {
        let state = self.state.borrow();
        let durable = state.mailboxes.iter().filter(|(_, m)| m.seen.is_some());
        let (loaded, others): (Vec<_>, Vec<_>) =
            durable.partition(|(_, m)| matches!(m.table, TableState::Loaded(_)));
        let ids = |list: Vec<(&MailboxId, _)>| list.into_iter().map(|(id, _)| *id).collect();
        (ids(loaded), ids(others))
    }

    /// The message at a place, if it has that body.
    async fn look_at(
        self: &Rc<Self>,
        body: BodyId,
        place: MessagePlace,
    ) -> Result<Option<Numbered>, StoreError> {
        if self.try_load(place.mailbox).await?.is_none() {
            return Ok(None);
        }
        let session = self.next_session();
        let mut state = self.state.borrow_mut();
        let Ok(table) = state.table(place.mailbox) else {
            return Ok(None);
        };
        if !table.is_live(place.uid) {
            return Ok(None);
        }
        let Some(entry) = table.get(place.uid).filter(|e| e.body == body).cloned() else {
            return Ok(None);
        };
        let reader = table.reader();
        let selected = Selected {
            account: self.clone(),
            mailbox: place.mailbox,
            session,
            reader,
            // A list of all messages takes as long as the mailbox is large.
            view: RefCell::default(),
            recent: RefCell::default(),
            read_only: true,
            gone: Cell::new(false),
        };
        Ok(Some(Numbered::Message(Box::new((selected, entry)))))
    }

    /// None: there is no such mailbox any more.
    async fn try_load(self: &Rc<Self>, mailbox: MailboxId) -> Result<Option<()>, StoreError> {
        match self.load_table(mailbox).await {
            Ok(()) => Ok(Some(())),
            Err(StoreError::NoMailbox) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn search(
        self: &Rc<Self>,
        mailbox: MailboxId,
        body: BodyId,
    ) -> Result<Option<u32>, StoreError> {
        // What was not used may have been forgotten meanwhile.
        if self.try_load(mailbox).await?.is_none() {
            return Ok(None);
        }
        let mut next = Some(0);
        while let Some(from) = next {
            {
                let mut state = self.state.borrow_mut();
                let Ok(table) = state.table(mailbox) else {
                    return Ok(None);
                };
                let mut entries = table.entries(from);
                let mut slice = entries.by_ref().take(LOOK);
                if let Some(found) = slice.find(|entry| entry.body == body) {
                    return Ok(Some(found.uid));
                }
                next = entries.next().map(|entry| entry.uid);
            }
            rt::yield_if_needed().await;
        }
        Ok(None)
    }
}

impl Selected {
    /// Where a message of it is.
    pub fn place(&self, entry: &Entry) -> MessagePlace {
        MessagePlace {
            mailbox: self.mailbox,
            uid: entry.uid,
        }
    }

    /// Removes a message, marked as `\Deleted` or not; durable when it returns. Answers whether it was there.
    pub async fn remove(&self, uid: u32) -> Result<bool, StoreError> {
        let removed = self.account.expunge(self.mailbox, &[uid], false).await?;
        Ok(!removed.is_empty())
    }
}

impl Entry {
    /// The message's number.
    pub fn number(&self) -> u64 {
        self.body.0
    }

    /// Octets of header fields that were added in front of what was received.
    pub fn prefix_length(&self) -> u32 {
        self.prefix_length
    }
}

/// The UID of the message with a body, where numbers of bodies ascend with UIDs.
fn bisect(table: &Table, body: BodyId) -> Option<u32> {
    let first = |from: u32| table.entries(from).next();
    let mut low = first(0)?.uid;
    let mut high = u32::MAX;
    while low < high {
        let middle = low + (high - low) / 2;
        match first(middle) {
            Some(entry) if entry.body == body => return Some(entry.uid),
            Some(entry) if entry.body.0 < body.0 => low = entry.uid.saturating_add(1),
            _ => high = middle,
        }
    }
    first(low).filter(|entry| entry.body == body).map(|e| e.uid)
}

/// Messages looked at before others may run.
const LOOK: usize = 2_000;
/// Copies of a message that are looked for, in order: all are there but for those removed this moment.
const COPIES: usize = 100;
/// How often an account that changes meanwhile is looked through.
const LOOKS: usize = 3;
