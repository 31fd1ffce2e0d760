//! The accounts of this core's shards: found, made, loaded once, kept in a bounded cache, removed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use shards::rt::Event;
use shards::storage::{Batch, Shard};

use super::account::{Account, Mailbox, State, TableState, info};
use super::rows::{
    AccountId, AccountRow, MailboxCounts, MailboxId, MailboxRow, SpecialUse, decode, encode,
};
use super::{StoreError, keys};

/// Numbers of the store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes of mailbox tables kept for each core, about.
    pub cache_bytes: usize,
    /// Mailboxes of a new account beside INBOX.
    pub initial_mailboxes: Vec<(String, SpecialUse)>,
    /// Seconds since 1970.
    pub wall_clock: fn() -> i64,
}

/// All accounts this core owns.
pub struct Accounts {
    options: StoreOptions,
    shards: HashMap<u16, Rc<Shard>>,
    shard_count: u16,
    open: RefCell<HashMap<String, Slot>>,
    next_ids: RefCell<HashMap<u16, u64>>,
    loaded: Event,
    since_sweep: Cell<u32>,
}

enum Slot {
    Loading,
    Open(Rc<Account>),
}

impl Accounts {
    /// Accounts of the given shards, out of `shard_count` in all.
    pub fn new(options: StoreOptions, shards: &[Rc<Shard>], shard_count: u16) -> Accounts {
        Accounts {
            options,
            shards: shards.iter().map(|s| (s.id().0, s.clone())).collect(),
            shard_count,
            open: RefCell::default(),
            next_ids: RefCell::default(),
            loaded: Event::new(),
            since_sweep: Cell::new(0),
        }
    }

    /// Seconds since 1970, by the clock that was passed in.
    pub fn now(&self) -> i64 {
        (self.options.wall_clock)()
    }

    /// The account of a name, made with its first mailboxes if it is new. The caller has checked that the name is configured
    /// and that this core owns its shard; a wrong core is a bug of ours and an error.
    pub async fn open(&self, name: &str) -> Result<Rc<Account>, StoreError> {
        loop {
            let seen = self.loaded.count();
            match self.open.borrow().get(name) {
                Some(Slot::Open(account)) => return Ok(account.clone()),
                Some(Slot::Loading) => (),
                None => break,
            }
            self.loaded.wait(seen).await;
        }
        self.open
            .borrow_mut()
            .insert(name.to_string(), Slot::Loading);
        let guard = SlotGuard {
            accounts: self,
            name,
        };
        let result = self.load_or_make(name).await;
        if let Ok(account) = &result {
            self.open
                .borrow_mut()
                .insert(name.to_string(), Slot::Open(account.clone()));
        }
        drop(guard);
        self.sweep();
        result
    }

    /// Accounts open now; for checks and metrics.
    pub fn open_accounts(&self) -> Vec<Rc<Account>> {
        let open = self.open.borrow();
        open.values()
            .filter_map(|slot| {
                if let Slot::Open(account) = slot {
                    Some(account.clone())
                } else {
                    None
                }
            })
            .collect()
    }

    fn shard_of(&self, name: &str) -> Result<Rc<Shard>, StoreError> {
        let id = shards::shard_of(name.as_bytes(), self.shard_count);
        self.shards
            .get(&id.0)
            .cloned()
            .ok_or(StoreError::NotAllowed("this core does not own the account"))
    }

    async fn load_or_make(&self, name: &str) -> Result<Rc<Account>, StoreError> {
        let shard = self.shard_of(name)?;
        if let Some(bytes) = shard.get(keys::account_name(name)).await? {
            let id = decode(&bytes, || format!("number of account {name}"))?;
            if let Some(account) =
                Account::load(shard.clone(), id, name, self.options.wall_clock).await?
            {
                return Ok(account);
            }
        }
        self.make(shard, name).await
    }

    async fn make(&self, shard: Rc<Shard>, name: &str) -> Result<Rc<Account>, StoreError> {
        if !self.next_ids.borrow().contains_key(&shard.id().0) {
            let next = match shard.get(keys::NEXT_ACCOUNT.to_vec()).await? {
                Some(bytes) => decode(&bytes, || "next account number".into())?,
                None => 1u64,
            };
            self.next_ids
                .borrow_mut()
                .entry(shard.id().0)
                .or_insert(next);
        }
        let permit = shard
            .permit(4096, false, std::time::Duration::from_secs(30))
            .await?;
        let id = {
            let mut ids = self.next_ids.borrow_mut();
            let next = ids.entry(shard.id().0).or_insert(1);
            let id = AccountId(*next);
            *next += 1;
            id
        };
        let (state, batch) = self.first_rows(id, name);
        shard.commit(permit, batch).await?;
        Ok(Rc::new(Account::with_state(
            shard,
            id,
            name,
            state,
            self.options.wall_clock,
        )))
    }

    fn first_rows(&self, id: AccountId, name: &str) -> (State, Batch) {
        // Two seconds' resolution, as 32 bits must last; a name used again gets a higher start.
        let first_validity = (self.now() / 2).clamp(1, i64::from(u32::MAX / 2)) as u32;
        let inbox = ("INBOX".to_string(), SpecialUse::default());
        let mut batch = Batch::default();
        let mut state = State {
            row: AccountRow {
                next_modseq: 2,
                next_uid_validity: first_validity,
                next_mailbox: 1,
                next_erase: 1,
                used_bytes: 0,
                highest_deleted_modseq: 0,
            },
            mailboxes: BTreeMap::new(),
            by_name: HashMap::new(),
            subscriptions: BTreeSet::new(),
            erasing: HashMap::new(),
            changes_under_way: 0,
        };
        for (mailbox, special_use) in std::iter::once(&inbox).chain(&self.options.initial_mailboxes)
        {
            let number = MailboxId(state.row.next_mailbox);
            let row = MailboxRow {
                name: mailbox.clone(),
                uid_validity: state.row.next_uid_validity,
                uid_next: 1,
                modseq: 1,
                create_seq: 1,
                special_use: *special_use,
                counts: MailboxCounts::default(),
                keywords: Vec::new(),
                recent_from: 1,
            };
            state.row.next_mailbox += 1;
            state.row.next_uid_validity += 1;
            batch.put(keys::mailbox(id, number), encode(&row));
            batch.put(keys::subscription(id, mailbox), encode(&()));
            state.by_name.insert(mailbox.clone(), number);
            state.subscriptions.insert(mailbox.clone());
            let seen = Some(info(number, &row));
            state.mailboxes.insert(
                number,
                Mailbox {
                    row,
                    seen,
                    table: TableState::Unloaded,
                    changed: Rc::new(Event::new()),
                },
            );
        }
        batch.put(keys::account(id), encode(&state.row));
        batch.put(keys::account_name(name), encode(&id));
        batch.put(keys::NEXT_ACCOUNT.to_vec(), encode(&(id.0 + 1)));
        (state, batch)
    }

    /// Removes an account: its name at once, so that nothing finds it; its rows and bodies in slices. Sessions see it is gone.
    /// Crash safe: rows of an account that no name leads to are found by `ringmail check` and removed by repeating the command.
    pub async fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let shard = self.shard_of(name)?;
        let Some(bytes) = shard.get(keys::account_name(name)).await? else {
            return Ok(false);
        };
        let id: AccountId = decode(&bytes, || format!("number of account {name}"))?;
        if let Some(Slot::Open(account)) = self.open.borrow_mut().remove(name) {
            account.set_gone();
        }
        loop {
            let prefix = keys::account_prefix(id);
            let rows = shard.scan(prefix.clone(), prefix, 1_000).await?;
            let permit = shard
                .permit(64 << 10, false, std::time::Duration::from_secs(30))
                .await?;
            let mut batch = Batch::default();
            let last = rows.is_empty();
            if last {
                batch.delete(keys::account_name(name));
            }
            let message_prefix = keys::kind_prefix(id, b'u');
            for (key, value) in rows {
                if key.starts_with(&message_prefix)
                    && let Ok(row) = decode::<super::rows::MessageRow>(&value, String::new)
                {
                    batch.dead.push(shards::segments::BodyId(row.body));
                }
                batch.delete(key);
            }
            shard.commit(permit, batch).await?;
            if last {
                return Ok(true);
            }
        }
    }

    /// Keeps the cache within its bytes: drops tables nobody uses, then accounts nobody uses.
    fn sweep(&self) {
        self.since_sweep.set(self.since_sweep.get() + 1);
        if self.since_sweep.get() < SWEEP_EVERY {
            return;
        }
        self.since_sweep.set(0);
        let mut open = self.open.borrow_mut();
        let mut bytes: usize = open.values().map(slot_bytes).sum();
        if bytes <= self.options.cache_bytes {
            return;
        }
        open.retain(|_, slot| {
            let Slot::Open(account) = slot else {
                return true;
            };
            if bytes <= self.options.cache_bytes {
                return true;
            }
            let before = account.bytes();
            account.drop_unused_tables();
            let keep = Rc::strong_count(account) > 1 || !account.is_unused();
            bytes -= if keep {
                before - account.bytes()
            } else {
                before
            };
            keep
        });
    }
}

fn slot_bytes(slot: &Slot) -> usize {
    match slot {
        Slot::Loading => 0,
        Slot::Open(account) => account.bytes(),
    }
}

struct SlotGuard<'a> {
    accounts: &'a Accounts,
    name: &'a str,
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        let mut open = self.accounts.open.borrow_mut();
        if matches!(open.get(self.name), Some(Slot::Loading)) {
            open.remove(self.name);
        }
        drop(open);
        self.accounts.loaded.notify();
    }
}

/// Openings between two looks at the cache.
const SWEEP_EVERY: u32 = 64;
/// Panics of the store's own tasks.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("store");
