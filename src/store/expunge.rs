//! EXPUNGE, and burying bodies afterwards.
//!
//! An expunge is one batch: message rows go, a tombstone and an erase row come. The bodies stay until no session can see the messages any
//! more; then the erase row goes together with the bodies. A crash in between leaves erase rows, which opening the account carries out.

use std::rc::Rc;

use shards::index::{Index, IndexError};
use shards::rt;
use shards::segments::BodyId;

use super::account::{Account, Changes, Effect};
use super::add::uncount;
use super::flags::{SLICE, system};
use super::load::scan_all;
use super::rows::{EraseRow, MailboxId, TombstoneRow, decode, encode};
use super::selected::Selected;
use super::table::Table;
use super::{StoreError, keys};

impl Selected {
    /// Removes messages with `\Deleted`; of `among` alone if given (UID EXPUNGE). Durable when it returns; answers their UIDs.
    pub async fn expunge(&self, among: Option<&[u32]>) -> Result<Vec<u32>, StoreError> {
        let candidates = match among {
            Some(uids) => self.deleted_among(uids).await?,
            None => self.deleted().await?,
        };
        self.account.expunge(self.mailbox, &candidates, true).await
    }

    async fn deleted_among(&self, uids: &[u32]) -> Result<Vec<u32>, StoreError> {
        let mut deleted = Vec::new();
        for slice in uids.chunks(LOOK) {
            {
                let mut state = self.account.state.borrow_mut();
                let table = state.table(self.mailbox)?;
                deleted.extend(slice.iter().filter(|uid| is_deleted(table, **uid)));
            }
            rt::yield_if_needed().await;
        }
        Ok(deleted)
    }

    async fn deleted(&self) -> Result<Vec<u32>, StoreError> {
        let mut deleted = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next {
            next = {
                let mut state = self.account.state.borrow_mut();
                let table = state.table(self.mailbox)?;
                let mut uids = table.entries(from).map(|e| e.uid);
                let slice = uids.by_ref().take(LOOK);
                deleted.extend(slice.filter(|uid| is_deleted(table, *uid)));
                uids.next()
            };
            rt::yield_if_needed().await;
        }
        Ok(deleted)
    }
}

impl Account {
    /// Removes messages of a loaded mailbox. `deleted_only`: those that lost `\Deleted` meanwhile stay.
    pub(super) async fn expunge(
        self: &Rc<Self>,
        mailbox: MailboxId,
        uids: &[u32],
        deleted_only: bool,
    ) -> Result<Vec<u32>, StoreError> {
        let mut removed = Vec::new();
        for slice in uids.chunks(SLICE) {
            let permit = self.permit(slice.len() * 40, false).await?;
            let mut changes = Changes::default();
            let gone = self.plan_expunge(mailbox, slice, deleted_only, true, &mut changes)?;
            if gone.is_empty() {
                continue;
            }
            self.commit(permit, changes).await?;
            removed.extend(gone);
        }
        Ok(removed)
    }

    /// Plans the removal. `erase`: the bodies die with the messages (not when they were moved).
    pub(super) fn plan_expunge(
        &self,
        mailbox: MailboxId,
        uids: &[u32],
        deleted_only: bool,
        erase: bool,
        changes: &mut Changes,
    ) -> Result<Vec<u32>, StoreError> {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let mut counts = state.mailbox(mailbox)?.row.counts;
        let modseq = state.row.next_modseq;
        let number = state.row.next_erase;
        let mut gone = Vec::new();
        let mut bodies = Vec::new();
        for uid in uids {
            let Some(entry) = state
                .table(mailbox)?
                .pending(*uid)
                .filter(|e| !deleted_only || e.flags & system::DELETED != 0)
                .cloned()
            else {
                continue;
            };
            uncount(&mut counts, entry.flags, entry.size);
            changes.batch.delete(keys::message(self.id, mailbox, *uid));
            if entry.thread.message_id != 0 {
                changes.batch.delete(keys::thread(
                    self.id,
                    entry.thread.message_id,
                    mailbox,
                    *uid,
                ));
            }
            if entry.shares_body {
                changes
                    .batch
                    .delete(keys::shared(self.id, entry.body.0, mailbox, *uid));
            }
            bodies.push((entry.body.0, entry.size, entry.shares_body));
            state.burials.hold(entry.body);
            state.table(mailbox)?.submit(*uid, None);
            gone.push(*uid);
        }
        if gone.is_empty() {
            return Ok(gone);
        }
        state.row.next_modseq += 1;
        state.row.next_erase += 1;
        changes.batch.put(
            keys::tombstone(self.id, mailbox, modseq),
            encode(&TombstoneRow { uids: gone.clone() }),
        );
        if erase {
            let row = EraseRow { bodies };
            changes
                .batch
                .put(keys::erase(self.id, number), encode(&row));
            changes.effects.push(Effect::Erasing(number, row));
        }
        let mut sorted = gone.clone();
        sorted.sort_unstable();
        changes.effects.push(Effect::Removed(mailbox, sorted));
        let row = &mut state.mailbox(mailbox)?.row;
        (row.counts, row.modseq) = (counts, modseq);
        let row = row.clone();
        changes.put_mailbox(self.id, mailbox, &row);
        Ok(gone)
    }

    /// Carries out, in the background and one after the other, the erase rows whose messages nobody can see any more.
    pub(super) fn bury_ready(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            if state.burials.under_way || !state.burials.is_ready() {
                return;
            }
            state.burials.under_way = true;
        }
        let account = self.clone();
        rt::spawn(&super::accounts::ROOM, async move {
            while let Some(number) = account.next_to_bury() {
                if let Err(error) = account.bury(number).await {
                    // Tried again with the next removal, or when the account is opened again.
                    tracing::debug!(account = account.name, %error, "bodies of removed messages stay for now");
                    account.state.borrow_mut().burials.failed(number);
                }
            }
        });
    }

    fn next_to_bury(&self) -> Option<u64> {
        let mut state = self.state.borrow_mut();
        let next = state.burials.next_ready();
        state.burials.under_way = next.is_some();
        next
    }

    async fn bury(self: &Rc<Self>, number: u64) -> Result<(), StoreError> {
        let Some(row) = self.state.borrow().burials.row(number) else {
            return Ok(());
        };
        let mut dead = Vec::new();
        for slice in row.bodies.chunks(LOOK_UP) {
            dead.extend(self.not_shared(slice).await?);
        }
        let permit = self.permit(dead.len() * 16, false).await?;
        let mut changes = Changes::default();
        changes.batch.dead = dead;
        changes.batch.delete(keys::erase(self.id, number));
        changes.effects.push(Effect::Buried(number));
        if self.gone.get() {
            return Err(StoreError::AccountGone);
        }
        {
            let mut state = self.state.borrow_mut();
            // A copy was removed since this row was ready, and a session may still see it: the row waits again.
            if !state.burials.is_free(number) {
                return Ok(());
            }
            let bytes: u64 = row.bodies.iter().map(|(_, size, _)| size).sum();
            state.row.used_bytes = state.row.used_bytes.saturating_sub(bytes);
        }
        self.commit(permit, changes).await
    }

    /// Those of some bodies that no message has any more. None gains one while this is asked: only live messages are copied, and each
    /// of those that share one has a durable row that says so.
    async fn not_shared(&self, bodies: &[(u64, u64, bool)]) -> Result<Vec<BodyId>, StoreError> {
        let (shared, own): (Vec<_>, Vec<_>) = bodies
            .iter()
            .map(|(body, _, shares)| (BodyId(*body), *shares))
            .partition(|(_, shares)| *shares);
        let mut dead: Vec<BodyId> = own.into_iter().map(|(body, _)| body).collect();
        if shared.is_empty() {
            return Ok(dead);
        }
        let id = self.id;
        let look = move |index: &Index| -> Result<Vec<BodyId>, IndexError> {
            let mut free = Vec::new();
            for (body, _) in shared {
                let messages = index.scan(&keys::shared_prefix(id, body.0), &[], 1)?;
                if messages.is_empty() {
                    free.push(body);
                }
            }
            Ok(free)
        };
        dead.extend(self.shard.read(look).await?);
        Ok(dead)
    }

    /// Reads the erase rows that a crash or an earlier closing left: nobody has a session on an account that is being opened.
    pub(super) async fn load_erasing(&self) -> Result<(), StoreError> {
        let prefix = keys::kind_prefix(self.id, b'e');
        for (key, value) in scan_all(&self.shard, &prefix).await? {
            let number = key
                .get(prefix.len()..)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u64::from_be_bytes);
            let row: EraseRow = decode(&value, || {
                format!("erase row {number} of account {}", self.name)
            })?;
            self.state.borrow_mut().burials.add(number, row);
        }
        Ok(())
    }
}

fn is_deleted(table: &Table, uid: u32) -> bool {
    let pending = table.pending(uid);
    pending.is_some_and(|entry| entry.flags & system::DELETED != 0)
}

/// Messages looked at before others may run.
const LOOK: usize = 2_000;
/// Bodies asked for by one job of the pool.
const LOOK_UP: usize = 200;
