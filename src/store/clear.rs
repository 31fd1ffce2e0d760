//! What deleted mailboxes leave: rows and bodies of their messages, removed in slices in the background. A row that goes with the mailbox's
//! own says that it is under way; a stop in between leaves it, and the account's next loading goes on.
//!
//! Nobody sees these messages any more, and nothing new comes to them: UIDs, counts and octets were settled when the mailbox went.

use std::rc::Rc;
use std::time::Duration;

use shards::faults::point;
use shards::rt;
use shards::segments::BodyId;
use shards::storage::StorageError;

use super::account::{Account, Changes, Effect};
use super::load::scan_all;
use super::rows::{EraseRow, MailboxId, MessageRow, decode, encode};
use super::{StoreError, keys};

impl Account {
    /// Reads which deleted mailboxes a stop left half removed.
    pub(super) async fn load_clearing(&self) -> Result<(), StoreError> {
        let prefix = keys::kind_prefix(self.id, b'g');
        for (key, _) in scan_all(&self.shard, &prefix).await? {
            let number = key.last_chunk().map_or(0, |b| u32::from_be_bytes(*b));
            self.state.borrow_mut().clearing.insert(MailboxId(number));
        }
        Ok(())
    }

    /// Goes on with all of them, one after the other, unless that is under way already.
    pub(super) fn clear_deleted(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            if state.clearing.is_empty() || state.clears {
                return;
            }
            state.clears = true;
        }
        let account = self.clone();
        rt::spawn(&super::accounts::ROOM, async move {
            while let Some(mailbox) = account.next_to_clear() {
                if let Err(error) = account.clear(mailbox).await {
                    // Tried again when a mailbox is deleted, or when the account is opened again.
                    tracing::debug!(account = account.name, %error, "messages of a deleted mailbox stay for now");
                    break;
                }
                account.state.borrow_mut().clearing.remove(&mailbox);
            }
            account.state.borrow_mut().clears = false;
        });
    }

    fn next_to_clear(&self) -> Option<MailboxId> {
        self.state.borrow().clearing.first().copied()
    }

    /// Removes all rows of a deleted mailbox, and at last the one that says that this is under way. May be repeated.
    async fn clear(self: &Rc<Self>, mailbox: MailboxId) -> Result<(), StoreError> {
        let (messages, tombstones) = (
            keys::messages(self.id, mailbox),
            keys::tombstones(self.id, mailbox),
        );
        for prefix in [messages, tombstones] {
            // Not from the beginning each time: removed rows take their time to pass until fjall has merged them away.
            let mut from = prefix.clone();
            loop {
                let slice = self.clear_slice(mailbox, &prefix, &from).await;
                match slice {
                    Ok(Some(next)) => from = next,
                    Ok(None) => break,
                    Err(StoreError::Storage(StorageError::Busy)) => rt::sleep(BUSY_PAUSE).await,
                    Err(error) => return Err(error),
                }
            }
        }
        let permit = self.permit(64, false).await?;
        let mut changes = Changes::default();
        changes.batch.delete(keys::cleared(self.id, mailbox));
        self.commit(permit, changes).await?;
        let _ = point("mailbox.cleared");
        Ok(())
    }

    /// Removes the next rows, at most [`SLICE`], and answers where to go on; none if there were no more.
    async fn clear_slice(
        self: &Rc<Self>,
        mailbox: MailboxId,
        prefix: &[u8],
        from: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let permit = self.permit(SLICE * 60, false).await?;
        let rows = self
            .shard
            .scan(prefix.to_vec(), from.to_vec(), SLICE)
            .await?;
        let Some((last, _)) = rows.last() else {
            return Ok(None);
        };
        let next = [last.as_slice(), &[0]].concat();
        if self.gone.get() {
            return Err(StoreError::AccountGone);
        }
        let mut changes = Changes::default();
        let mut shared = Vec::new();
        // A message moved away may still be seen where it was; its body must stay as long.
        let is_message = prefix.starts_with(&keys::kind_prefix(self.id, b'u'));
        for (key, value) in rows {
            let uid = key.last_chunk().map_or(0, |b| u32::from_be_bytes(*b));
            // The body of a row that can't be read stays, and is found by the check.
            if is_message && let Ok(row) = decode::<MessageRow>(&value, String::new) {
                let hash = row.thread.message_id;
                if hash != 0 {
                    changes
                        .batch
                        .delete(keys::thread(self.id, hash, mailbox, uid));
                }
                if row.shares_body {
                    changes
                        .batch
                        .delete(keys::shared(self.id, row.body, mailbox, uid));
                    shared.push((row.body, 0, true));
                } else if self.state.borrow().burials.is_held(BodyId(row.body)) {
                    shared.push((row.body, 0, false));
                } else {
                    changes.batch.dead.push(BodyId(row.body));
                }
            }
            changes.batch.delete(key);
        }
        if !shared.is_empty() {
            let mut state = self.state.borrow_mut();
            let number = state.row.next_erase;
            state.row.next_erase += 1;
            let row = EraseRow { bodies: shared };
            changes
                .batch
                .put(keys::erase(self.id, number), encode(&row));
            changes.effects.push(Effect::Erasing(number, row));
        }
        self.commit(permit, changes).await?;
        // A fault here is a kill; there is nobody to tell an error.
        let _ = point("mailbox.slice");
        Ok(Some(next))
    }
}

/// Rows removed by one batch: it must not hold the core or the group for long.
const SLICE: usize = 1_000;
const BUSY_PAUSE: Duration = Duration::from_secs(1);
