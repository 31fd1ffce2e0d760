//! EXPUNGE, and burying bodies afterwards.
//!
//! An expunge is one batch: message rows go, a tombstone and an erase row come. The bodies stay until no session can see the messages any
//! more; then the erase row goes together with the bodies. A crash in between leaves erase rows, which opening the account carries out.

use std::rc::Rc;

use shards::segments::BodyId;

use super::account::{Account, Changes, Effect, Erasing};
use super::add::uncount;
use super::flags::{SLICE, system};
use super::load::scan_all;
use super::rows::{EraseRow, MailboxId, TombstoneRow, decode, encode};
use super::selected::Selected;
use super::{StoreError, keys};

impl Selected {
    /// Removes messages with `\Deleted`; of `among` alone if given (UID EXPUNGE). Durable when it returns; answers their UIDs.
    pub async fn expunge(&self, among: Option<&[u32]>) -> Result<Vec<u32>, StoreError> {
        let candidates: Vec<u32> = {
            let mut state = self.account.state.borrow_mut();
            let table = state.table(self.mailbox)?;
            let all: Vec<u32> = match among {
                Some(uids) => uids.to_vec(),
                None => table.entries().iter().map(|e| e.uid).collect(),
            };
            all.into_iter()
                .filter(|uid| {
                    table
                        .pending(*uid)
                        .is_some_and(|e| e.flags & system::DELETED != 0)
                })
                .collect()
        };
        self.account.expunge(self.mailbox, &candidates, true).await
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
        let table = state.table(mailbox)?;
        let mut gone = Vec::new();
        let mut bodies = Vec::new();
        for uid in uids {
            let Some(entry) = table
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
            table.submit(*uid, None);
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
            // Before the removal: a table without readers buries at once.
            changes.effects.push(Effect::Erasing(number, row));
        }
        let mut sorted = gone.clone();
        sorted.sort_unstable();
        changes
            .effects
            .push(Effect::Removed(mailbox, Rc::new(sorted), number));
        let row = &mut state.mailbox(mailbox)?.row;
        (row.counts, row.modseq) = (counts, modseq);
        let row = row.clone();
        changes.put_mailbox(self.id, mailbox, &row);
        Ok(gone)
    }

    /// Carries out, in the background, the erase rows whose messages nobody can see any more.
    pub(super) fn bury_ready(self: &Rc<Self>) {
        let numbers = {
            let mut state = self.state.borrow_mut();
            if state.erasing.is_empty() {
                return;
            }
            let numbers = state.erasable();
            for number in &numbers {
                if let Some(erasing) = state.erasing.get_mut(number) {
                    erasing.under_way = true;
                }
            }
            numbers
        };
        if numbers.is_empty() {
            return;
        }
        let account = self.clone();
        shards::rt::spawn(&super::accounts::ROOM, async move {
            for number in numbers {
                if let Err(error) = account.bury(number).await {
                    // Tried again with the next removal, or when the account is opened again.
                    tracing::debug!(account = account.name, %error, "bodies of removed messages stay for now");
                    if let Some(erasing) = account.state.borrow_mut().erasing.get_mut(&number) {
                        erasing.under_way = false;
                    }
                }
            }
        });
    }

    async fn bury(self: &Rc<Self>, number: u64) -> Result<(), StoreError> {
        let bodies = match self.state.borrow().erasing.get(&number) {
            Some(erasing) => erasing.row.bodies.clone(),
            None => return Ok(()),
        };
        let mut dead = Vec::new();
        for (body, _, shares) in &bodies {
            if !*shares || !self.is_shared(*body).await? {
                dead.push(BodyId(*body));
            }
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
            let bytes: u64 = bodies.iter().map(|(_, size, _)| size).sum();
            state.row.used_bytes = state.row.used_bytes.saturating_sub(bytes);
        }
        self.commit(permit, changes).await
    }

    /// Whether a message still has this body. Nobody gains it while this is asked: only live messages are copied, and each of those
    /// that share it has a durable row that says so.
    async fn is_shared(&self, body: u64) -> Result<bool, StoreError> {
        let prefix = keys::shared_prefix(self.id, body);
        Ok(!self.shard.scan(prefix, Vec::new(), 1).await?.is_empty())
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
            let under_way = false;
            let erasing = Erasing { row, under_way };
            self.state.borrow_mut().erasing.insert(number, erasing);
        }
        Ok(())
    }
}
