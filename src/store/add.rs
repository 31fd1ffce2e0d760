//! Adding messages: deliveries and APPEND, one code path.

use std::rc::Rc;
use std::sync::Arc;

use shards::storage::{External, NewBody};

use super::account::{Account, Changes, Effect};
use super::flags::system;
use super::incoming::{IncomingRow, incoming_key};
use super::rows::{BODY_MESSAGE, BodyMeta, MailboxId, ThreadRow, encode, encode_body_meta};
use super::table::Entry;
use super::{StoreError, keys};

/// The octets of a message.
#[derive(Clone)]
pub struct NewContent {
    /// In memory: all of it, or what comes before `external`.
    pub bytes: Arc<Vec<u8>>,
    /// The rest, in a synced file.
    pub external: Option<External>,
}

impl NewContent {
    /// Octets in all.
    pub fn length(&self) -> u64 {
        self.bytes.len() as u64 + self.external.as_ref().map_or(0, |e| e.length)
    }
}

/// A message to be added.
#[derive(Clone)]
pub struct NewMessage {
    /// Header fields in front of the content, such as Return-Path.
    pub prefix: Vec<u8>,
    /// The content as received.
    pub content: NewContent,
    /// Bits of [`system`].
    pub flags: u16,
    /// Keywords, as given; matched without case.
    pub keywords: Vec<String>,
    /// Internal date, seconds since 1970.
    pub received: i64,
    /// Now, seconds since 1970.
    pub saved: i64,
    /// SMTP reverse-path, for salvage; empty if none.
    pub reverse_path: String,
    /// SMTP recipient, for salvage; empty if none.
    pub recipient: String,
    /// For threads; from the header.
    pub thread: ThreadRow,
    /// It came from somewhere, and webhooks are to tell of it.
    pub is_incoming: bool,
}

impl NewMessage {
    /// Octets in all.
    pub fn length(&self) -> u64 {
        self.prefix.len() as u64 + self.content.length()
    }
}

/// What was added.
#[derive(Clone, Debug)]
pub struct Added {
    /// UIDVALIDITY of the mailbox.
    pub uid_validity: u32,
    /// UIDs, in the order of the messages.
    pub uids: Vec<u32>,
    /// The number of the first message that webhooks are to tell of.
    pub first_incoming: Option<u64>,
}

impl Account {
    /// Adds messages to a mailbox, all or none; durable when it returns. `transaction`: a delivery with the same number was made
    /// before: nothing is added and `None` returned.
    pub async fn add(
        self: &Rc<Self>,
        mailbox: &str,
        messages: Vec<NewMessage>,
        transaction: Option<&[u8]>,
    ) -> Result<Option<Added>, StoreError> {
        // Held until the answer: a repeat that comes meanwhile waits for it, and then finds the mark.
        let turn = match transaction {
            Some(transaction) => Some(self.transaction_turn(transaction).await),
            None => None,
        };
        let bytes: usize = messages
            .iter()
            .map(|m| m.prefix.len() + m.content.bytes.len() + 400)
            .sum();
        let permit = self.permit(bytes, true).await?;
        if let Some(transaction) = transaction {
            let key = keys::delivered(self.id, transaction);
            if self.shard.get(key).await?.is_some() {
                return Ok(None);
            }
        }
        let mut changes = Changes::default();
        let added = self.plan_add(mailbox, messages, transaction, &mut changes)?;
        if let Some(transaction) = transaction {
            changes
                .batch
                .put(keys::delivered(self.id, transaction), encode(&()));
        }
        self.commit_then(permit, changes, move || drop(turn))
            .await?;
        Ok(Some(added))
    }

    /// Waits until no delivery of this transaction is under way, and begins one.
    async fn transaction_turn(self: &Rc<Self>, transaction: &[u8]) -> TransactionTurn {
        loop {
            let seen = self.transaction_done.count();
            if self
                .state
                .borrow_mut()
                .transactions
                .insert(transaction.to_vec())
            {
                return TransactionTurn {
                    account: self.clone(),
                    transaction: transaction.to_vec(),
                };
            }
            self.transaction_done.wait(seen).await;
        }
    }

    /// With a transaction the message was answered for already, so the quota does not hold it back.
    fn plan_add(
        &self,
        mailbox: &str,
        messages: Vec<NewMessage>,
        transaction: Option<&[u8]>,
        changes: &mut Changes,
    ) -> Result<Added, StoreError> {
        let id = self.pending_id(mailbox)?;
        let total: u64 = messages.iter().map(NewMessage::length).sum();
        {
            let state = self.state.borrow();
            if transaction.is_none()
                && self
                    .quota
                    .get()
                    .is_some_and(|quota| state.row.used_bytes + total > quota)
            {
                return Err(StoreError::OverQuota);
            }
        }
        // Everything that can be refused is refused before anything is assigned.
        let keyword_bits = {
            let mut state = self.state.borrow_mut();
            let row = &mut state.mailbox(id)?.row;
            if u64::from(row.uid_next) + messages.len() as u64 > u64::from(u32::MAX) {
                return Err(StoreError::Limit("the mailbox has no more UIDs"));
            }
            let all: Vec<&str> = messages
                .iter()
                .flat_map(|m| m.keywords.iter().map(String::as_str))
                .collect();
            super::flags::add_keywords(&mut row.keywords, &all)?;
            messages
                .iter()
                .map(|m| super::flags::keyword_bits(&row.keywords, &m.keywords))
                .collect::<Vec<u64>>()
        };
        let modseq = self.next_modseq();
        let mut uids = Vec::with_capacity(messages.len());
        let mut first_incoming = None;
        let mut state = self.state.borrow_mut();
        state.row.used_bytes += total;
        let row = &mut state.mailbox(id)?.row;
        row.modseq = modseq;
        for (message, keywords) in messages.into_iter().zip(keyword_bits) {
            let entry = self.new_entry(row.uid_next, modseq, keywords, &message);
            row.uid_next += 1;
            count(&mut row.counts, entry.flags, entry.size);
            uids.push(entry.uid);
            if message.is_incoming {
                let incoming = IncomingRow::of(&message, entry.body, &row.name);
                let key = incoming_key(&self.name, entry.body.0);
                changes.batch.put(key, encode(&incoming));
                first_incoming.get_or_insert(entry.body.0);
            }
            let meta = BodyMeta {
                account: self.name.clone(),
                mailbox: row.name.clone(),
                uid_validity: row.uid_validity,
                uid: entry.uid,
                flags: entry.flags,
                keywords: message.keywords,
                received: entry.received,
                prefix_length: entry.prefix_length,
                reverse_path: message.reverse_path,
                recipient: message.recipient,
            };
            changes.batch.bodies.push(NewBody {
                id: entry.body,
                kind: BODY_MESSAGE,
                meta: encode_body_meta(&meta, transaction),
                parts: vec![Arc::new(message.prefix), message.content.bytes],
                external: message.content.external,
            });
            if entry.thread.message_id != 0 {
                changes.batch.put(
                    keys::thread(self.id, entry.thread.message_id, id, entry.uid),
                    encode(&()),
                );
            }
            changes.put_message(self.id, id, &entry);
            changes.effects.push(Effect::Added(id, Box::new(entry)));
        }
        let uid_validity = row.uid_validity;
        changes.put_mailbox(self.id, id, row);
        Ok(Added {
            uid_validity,
            uids,
            first_incoming,
        })
    }

    fn new_entry(&self, uid: u32, modseq: u64, keywords: u64, message: &NewMessage) -> Entry {
        Entry {
            uid,
            modseq,
            create_seq: modseq,
            flags: message.flags,
            keywords,
            size: message.length(),
            received: message.received,
            saved: message.saved,
            prefix_length: message.prefix.len() as u32,
            body: self.shard.next_body(),
            shares_body: false,
            location: None,
            thread: Rc::new(message.thread.clone()),
        }
    }

    /// The name of the mailbox for sent mail, if there is one.
    pub fn mailbox_for_sent(&self) -> Option<String> {
        let mut all = self.mailboxes().into_iter();
        all.find(|m| m.special_use.sent).map(|m| m.name)
    }

    /// Whether there is a mailbox to add to, or is one about to be.
    pub fn has_mailbox(&self, name: &str) -> bool {
        self.pending_id(name).is_ok()
    }

    /// The pending mailbox of a name.
    pub(super) fn pending_id(&self, name: &str) -> Result<MailboxId, StoreError> {
        let state = self.state.borrow();
        let id = state.by_name.get(name).copied();
        id.ok_or(StoreError::NoMailbox)
    }
}

/// The right to deliver one transaction.
struct TransactionTurn {
    account: Rc<Account>,
    transaction: Vec<u8>,
}

impl Drop for TransactionTurn {
    fn drop(&mut self) {
        let mut state = self.account.state.borrow_mut();
        state.transactions.remove(&self.transaction);
        drop(state);
        self.account.transaction_done.notify();
    }
}

/// Counts a message in.
pub(super) fn count(counts: &mut super::MailboxCounts, flags: u16, size: u64) {
    counts.messages += 1;
    counts.unseen += u32::from(flags & system::SEEN == 0);
    counts.deleted += u32::from(flags & system::DELETED != 0);
    counts.size += size;
}

/// Counts a message out.
pub(super) fn uncount(counts: &mut super::MailboxCounts, flags: u16, size: u64) {
    counts.messages = counts.messages.saturating_sub(1);
    counts.unseen = counts
        .unseen
        .saturating_sub(u32::from(flags & system::SEEN == 0));
    counts.deleted = counts
        .deleted
        .saturating_sub(u32::from(flags & system::DELETED != 0));
    counts.size = counts.size.saturating_sub(size);
}

/// What threads need of a message's header.
pub fn thread_row(header: message::Header<'_>) -> ThreadRow {
    let fields = message::ThreadFields::of_header(header);
    let references = fields.references.iter().rev().take(REFERENCES_MAX).rev();
    ThreadRow {
        message_id: fields.message_id.as_deref().map_or(0, stable_hash),
        references: references.map(|r| stable_hash(r)).collect(),
        base_subject: stable_hash(&fields.base_subject.text),
        is_response: fields.base_subject.is_response,
        is_delivery_report: fields.is_delivery_report,
    }
}

/// FNV-1a 64: it is stored, so it never changes. Never 0, which is none.
fn stable_hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.max(1)
}

/// References kept of a message: the closest ones.
const REFERENCES_MAX: usize = 20;
