//! Loading: an account from its rows, and the table of a mailbox when it is first needed. What is committed while a table is read
//! is applied to it afterwards.
//!
//! Belongs here: what reads rows to make the state in memory. Not here: what the state is and how changes move it (`account.rs`), and
//! what a stop left to be done (`expunge.rs` and `clear.rs` read their own rows).

use std::collections::BTreeMap;
use std::rc::Rc;

use shards::storage::Shard;

use super::account::{Account, Loading, Mailbox, State, TableState};
use super::rows::{AccountId, AccountRow, MailboxId, MailboxRow, decode};
use super::table::{Entry, Table};
use super::{StoreError, keys};

impl Account {
    /// Reads the account's rows except messages; new mailboxes of `initial` are not made here.
    pub(super) async fn load(
        shard: Rc<Shard>,
        id: AccountId,
        name: &str,
        clock: fn() -> i64,
    ) -> Result<Option<Rc<Account>>, StoreError> {
        let Some(bytes) = shard.get(keys::account(id)).await? else {
            return Ok(None);
        };
        let row: AccountRow = decode(&bytes, || format!("account {name}"))?;
        let mut state = State::new(row);
        let prefix = keys::kind_prefix(id, b'm');
        for (key, value) in scan_all(&shard, &prefix).await? {
            let number = MailboxId(number_at(&key, prefix.len()));
            let row: MailboxRow =
                decode(&value, || format!("mailbox {} of account {name}", number.0))?;
            state.by_name.insert(row.name.clone(), number);
            state
                .mailboxes
                .insert(number, Mailbox::new(number, row, true));
        }
        let prefix = keys::kind_prefix(id, b's');
        for (key, _) in scan_all(&shard, &prefix).await? {
            state
                .subscriptions
                .insert(String::from_utf8_lossy(&key[prefix.len()..]).into_owned());
        }
        let account = Rc::new(Account::with_state(shard, id, name, state, clock));
        account.load_erasing().await?;
        account.load_clearing().await?;
        account.bury_ready();
        account.clear_deleted();
        Ok(Some(account))
    }

    /// Loads a mailbox's table if it is not; several may wait for it at once.
    pub(super) async fn load_table(self: &Rc<Self>, id: MailboxId) -> Result<(), StoreError> {
        loop {
            let changed = {
                let mut state = self.state.borrow_mut();
                let mailbox = state.mailboxes.get_mut(&id).ok_or(StoreError::NoMailbox)?;
                match &mailbox.table {
                    TableState::Loaded(_) => return Ok(()),
                    TableState::Loading(_) => {
                        Some((mailbox.changed.clone(), mailbox.changed.count()))
                    }
                    TableState::Unloaded => {
                        // What is durable but not yet applied may be among the rows already, and would be added twice.
                        mailbox.table = TableState::Loading(Loading {
                            uid_next: mailbox.seen.as_ref().map_or(1, |s| s.uid_next),
                            effects: Vec::new(),
                        });
                        None
                    }
                }
            };
            match changed {
                Some((event, seen)) => {
                    event.wait(seen).await;
                }
                None => {
                    // If this future is dropped half way, the next one must be able to start anew.
                    let guard = LoadGuard { account: self, id };
                    let entries = self.read_entries(id).await?;
                    std::mem::forget(guard);
                    self.finish_load(id, entries);
                }
            }
        }
    }

    async fn read_entries(&self, id: MailboxId) -> Result<BTreeMap<u32, Box<Entry>>, StoreError> {
        let prefix = keys::messages(self.id, id);
        let mut entries = BTreeMap::new();
        let mut from = prefix.clone();
        loop {
            let rows = self.shard.scan(prefix.clone(), from, SCAN).await?;
            let more = rows.len() == SCAN;
            from = rows
                .last()
                .map(|(key, _)| [key.as_slice(), &[0]].concat())
                .unwrap_or_default();
            for (key, value) in rows {
                let uid = number_at(&key, prefix.len());
                let row = decode(&value, || {
                    format!("message {uid} of mailbox {} of account {}", id.0, self.name)
                })?;
                entries.insert(uid, Box::new(Entry::from_row(uid, row)));
            }
            if !more {
                return Ok(entries);
            }
            shards::rt::yield_if_needed().await;
        }
    }

    fn finish_load(&self, id: MailboxId, mut entries: BTreeMap<u32, Box<Entry>>) {
        let mut state = self.state.borrow_mut();
        let Some(mailbox) = state.mailboxes.get_mut(&id) else {
            return;
        };
        let TableState::Loading(loading) = &mut mailbox.table else {
            return;
        };
        let Loading { uid_next, effects } = std::mem::take(loading);
        entries.split_off(&uid_next);
        mailbox.table = TableState::Loaded(Table::new(entries));
        let changed = mailbox.changed.clone();
        let mut touched = Vec::new();
        for effect in effects {
            state.apply(effect, &mut touched);
        }
        drop(state);
        changed.notify();
    }
}

struct LoadGuard<'a> {
    account: &'a Account,
    id: MailboxId,
}

impl Drop for LoadGuard<'_> {
    fn drop(&mut self) {
        if let Some(mailbox) = self.account.state.borrow_mut().mailboxes.get_mut(&self.id) {
            mailbox.table = TableState::Unloaded;
            mailbox.changed.notify();
        }
    }
}

/// All rows of a prefix, in slices.
pub(super) async fn scan_all(
    shard: &Shard,
    prefix: &[u8],
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
    let mut all = Vec::new();
    let mut from = prefix.to_vec();
    loop {
        let rows = shard.scan(prefix.to_vec(), from, SCAN).await?;
        let more = rows.len() == SCAN;
        from = rows
            .last()
            .map(|(key, _)| [key.as_slice(), &[0]].concat())
            .unwrap_or_default();
        all.extend(rows);
        if !more {
            return Ok(all);
        }
    }
}

fn number_at(key: &[u8], at: usize) -> u32 {
    key.get(at..at + 4)
        .map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

/// Rows read by one job of the pool: it shares its thread with others.
const SCAN: usize = 2_000;
