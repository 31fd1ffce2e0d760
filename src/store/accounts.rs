//! The accounts of this core's shards: found, made, loaded once, kept in a bounded cache, removed.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use shards::rt::{Event, Turns};
use shards::segments::BodyId;
use shards::storage::{Batch, Shard};

use super::account::{Account, Mailbox, State};
use super::load::scan_all;
use super::login_records::forget_logins;
use super::rows::{
    AccountId, AccountRow, EraseRow, MailboxCounts, MailboxId, MailboxRow, MessageRow, SpecialUse,
    decode, encode,
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
    freed: Event,
    since_sweep: Cell<usize>,
    /// Shards whose half-made removals were looked for.
    resumed: RefCell<HashSet<u16>>,
    /// One removal at a time: two of a name would erase what an account made anew between them has.
    removals: Rc<Turns>,
}

enum Slot {
    /// Being loaded or removed.
    Busy,
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
            freed: Event::new(),
            since_sweep: Cell::new(0),
            resumed: RefCell::default(),
            removals: Rc::default(),
        }
    }

    /// Seconds since 1970, by the clock that was passed in.
    pub fn now(&self) -> i64 {
        (self.options.wall_clock)()
    }

    /// The account of a name, made with its first mailboxes if it is new. The caller has checked that the name is configured
    /// and that this core owns its shard; a wrong core is a bug of ours and an error.
    pub async fn open(&self, name: &str) -> Result<Rc<Account>, StoreError> {
        let slot = match self.slot(name).await {
            Ok(account) => {
                self.sweep();
                return Ok(account);
            }
            Err(slot) => slot,
        };
        let shard = self.shard_of(name)?;
        if slot.old.borrow().is_some() {
            // It left the configuration and came back. What the old one has under way must be durable before the rows are read again.
            let permit = shard.permit(0, false, PERMIT_LIMIT).await?;
            shard.commit(permit, Batch::default()).await?;
            slot.old.borrow_mut().take();
        }
        self.resume_removals(&shard);
        let account = self.load_or_make(shard, name).await?;
        let opened = Slot::Open(account.clone());
        self.open.borrow_mut().insert(name.to_string(), opened);
        drop(slot);
        self.sweep();
        Ok(account)
    }

    /// The open account, or the right to load or remove it.
    async fn slot<'a>(&'a self, name: &'a str) -> Result<Rc<Account>, BusySlot<'a>> {
        loop {
            let seen = self.freed.count();
            let old = match self.open.borrow().get(name) {
                Some(Slot::Open(account)) if !account.is_gone() => return Ok(account.clone()),
                Some(Slot::Open(account)) => Some(Some(account.clone())),
                Some(Slot::Busy) => None,
                None => Some(None),
            };
            if let Some(old) = old {
                return Err(self.take(name, old));
            }
            self.freed.wait(seen).await;
        }
    }

    fn take<'a>(&'a self, name: &'a str, old: Option<Rc<Account>>) -> BusySlot<'a> {
        self.open.borrow_mut().insert(name.to_string(), Slot::Busy);
        BusySlot {
            accounts: self,
            name,
            old: RefCell::new(old),
        }
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

    async fn load_or_make(&self, shard: Rc<Shard>, name: &str) -> Result<Rc<Account>, StoreError> {
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
        let removed: Option<u32> = match shard.get(keys::removed(name)).await? {
            Some(bytes) => Some(decode(&bytes, || format!("removed account {name}"))?),
            None => None,
        };
        let permit = shard.permit(4096, false, PERMIT_LIMIT).await?;
        let id = {
            let mut ids = self.next_ids.borrow_mut();
            let next = ids.entry(shard.id().0).or_insert(1);
            let id = AccountId(*next);
            *next += 1;
            id
        };
        let (state, batch) = self.first_rows(id, name, removed.unwrap_or(1));
        shard.commit(permit, batch).await?;
        Ok(Rc::new(Account::with_state(
            shard,
            id,
            name,
            state,
            self.options.wall_clock,
        )))
    }

    fn first_rows(&self, id: AccountId, name: &str, validity_min: u32) -> (State, Batch) {
        // RFC 9051 2.3.1.1: higher than that of an earlier mailbox of the name. Two seconds' resolution, as 32 bits must last; an
        // account of this name that was removed has left its last one, for the clock may have been set back.
        let first_validity = (self.now() / 2).clamp(1, i64::from(u32::MAX / 2)) as u32;
        let first_validity = first_validity.max(validity_min);
        let inbox = ("INBOX".to_string(), SpecialUse::default());
        let mut batch = Batch::default();
        let mut state = State::new(AccountRow {
            next_modseq: 2,
            next_uid_validity: first_validity,
            next_mailbox: 1,
            next_erase: 1,
            used_bytes: 0,
            highest_deleted_modseq: 0,
        });
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
            state
                .mailboxes
                .insert(number, Mailbox::new(number, row, true));
        }
        batch.put(keys::account(id), encode(&state.row));
        batch.put(keys::account_name(name), encode(&id));
        batch.delete(keys::removed(name));
        batch.put(keys::NEXT_ACCOUNT.to_vec(), encode(&(id.0 + 1)));
        (state, batch)
    }

    /// Whether rows of an account of this name are there; makes none.
    pub async fn is_stored(&self, name: &str) -> Result<bool, StoreError> {
        let shard = self.shard_of(name)?;
        if shard.get(keys::account_name(name)).await?.is_some() {
            return Ok(true);
        }
        for kind in BY_NAME {
            let prefix = keys::of_account(kind, name);
            if !shard.scan(prefix.clone(), prefix, 1).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes an account: its name at once, so that nothing finds it; its rows and bodies in slices. Sessions see it is gone.
    /// A crash in between leaves a row that says so; the removal is then finished when the shard is next used.
    pub async fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let shard = self.shard_of(name)?;
        let slot = match self.slot(name).await {
            Ok(account) => {
                account.set_gone();
                self.take(name, Some(account))
            }
            Err(slot) => slot,
        };
        let turn = self.removals.take(1).await;
        let Some(bytes) = shard.get(keys::account_name(name)).await? else {
            drop(slot);
            let found = self.is_stored(name).await?;
            // All that it had under way comes before it.
            let permit = shard.permit(0, false, PERMIT_LIMIT).await?;
            shard.commit(permit, Batch::default()).await?;
            remove_by_name(&shard, name).await?;
            drop(turn);
            return Ok(self.finish_removal(name).await? || found);
        };
        let id: AccountId = decode(&bytes, || format!("number of account {name}"))?;
        let pending = slot.old.borrow().as_ref().map(|a| a.next_uid_validity());
        let next_validity = match pending {
            Some(next) => next,
            None => match shard.get(keys::account(id)).await? {
                Some(bytes) => decode::<AccountRow>(&bytes, || format!("account {name}"))
                    .map_or(1, |row| row.next_uid_validity),
                None => 1,
            },
        };
        let permit = shard.permit(256, false, PERMIT_LIMIT).await?;
        let mut batch = Batch::default();
        batch.delete(keys::account_name(name));
        batch.put(keys::removal(id), encode(&name));
        batch.put(keys::removed(name), encode(&next_validity));
        // All that the old one had under way comes before it; and what is gone commits nothing more.
        shard.commit(permit, batch).await?;
        slot.old.borrow_mut().take();
        drop(slot);
        remove_rows(&shard, id, name).await?;
        Ok(true)
    }

    /// Finishes removals of a name that a stop cut short; answers whether there were any. Whoever gets the name next writes rows that these would
    /// be taken for.
    pub async fn finish_removal(&self, name: &str) -> Result<bool, StoreError> {
        finish_removals(&self.shard_of(name)?, Some(name), &self.removals).await
    }

    /// Finishes removals that a stop cut short, once for each shard.
    fn resume_removals(&self, shard: &Rc<Shard>) {
        if !self.resumed.borrow_mut().insert(shard.id().0) {
            return;
        }
        let (shard, removals) = (shard.clone(), self.removals.clone());
        shards::rt::spawn(&ROOM, async move {
            if let Err(error) = finish_removals(&shard, None, &removals).await {
                tracing::warn!(shard = %shard.id(), %error, "rows of removed accounts stay until the next start");
            }
        });
    }

    /// Keeps the cache within its bytes: drops tables nobody uses, then accounts nobody uses.
    fn sweep(&self) {
        self.since_sweep.set(self.since_sweep.get() + 1);
        // In proportion to what it looks at.
        if self.since_sweep.get() < SWEEP_EVERY.max(self.open.borrow().len()) {
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
            // Whoever uses it (a session, a change under way, bodies being buried) holds it too, on this core. Erase rows that could
            // not be carried out are tried again when it is loaded.
            let keep = Rc::strong_count(account) > 1 || account.is_changing();
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
        Slot::Busy => 0,
        Slot::Open(account) => account.bytes(),
    }
}

/// The right to load or remove an account. Dropping it puts back what was there, unless that was taken out or replaced.
struct BusySlot<'a> {
    accounts: &'a Accounts,
    name: &'a str,
    old: RefCell<Option<Rc<Account>>>,
}

impl Drop for BusySlot<'_> {
    fn drop(&mut self) {
        let mut open = self.accounts.open.borrow_mut();
        if matches!(open.get(self.name), Some(Slot::Busy)) {
            match self.old.borrow_mut().take() {
                Some(account) => drop(open.insert(self.name.to_string(), Slot::Open(account))),
                None => drop(open.remove(self.name)),
            }
        }
        drop(open);
        self.accounts.freed.notify();
    }
}

/// Removes the rows of accounts whose removal was decided: of one name, or of all. Answers whether there were any.
async fn finish_removals(
    shard: &Rc<Shard>,
    name: Option<&str>,
    removals: &Rc<Turns>,
) -> Result<bool, StoreError> {
    let mut found = false;
    for (key, value) in scan_all(shard, keys::REMOVALS).await? {
        let id = key.last_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b));
        let of: String = decode(&value, || format!("removal of account {id}"))?;
        if name.is_some_and(|name| name != of) {
            continue;
        }
        found = true;
        let _turn = removals.take(1).await;
        // Another one may have done it, and somebody else have the name by now.
        if shard.get(key).await?.is_some() {
            remove_rows(shard, AccountId(id), &of).await?;
        }
    }
    Ok(found)
}

/// Removes all rows and bodies of an account that no name leads to, and at last the row that says so. May be repeated.
async fn remove_rows(shard: &Rc<Shard>, id: AccountId, name: &str) -> Result<(), StoreError> {
    remove_by_name(shard, name).await?;
    let prefix = keys::account_prefix(id);
    let (messages, erase) = (keys::kind_prefix(id, b'u'), keys::kind_prefix(id, b'e'));
    let mut from = prefix.clone();
    loop {
        let rows = shard.scan(prefix.clone(), from.clone(), 1_000).await?;
        let permit = shard.permit(64 << 10, false, PERMIT_LIMIT).await?;
        let mut batch = Batch::default();
        let last = rows.is_empty();
        match rows.last() {
            // Not from the beginning each time: removed rows take their time to pass until fjall has merged them away.
            Some((key, _)) => from = [key.as_slice(), &[0]].concat(),
            None => batch.delete(keys::removal(id)),
        }
        for (key, value) in rows {
            // The body of a row that can't be read stays, and is found by the check.
            if key.starts_with(&messages)
                && let Ok(row) = decode::<MessageRow>(&value, String::new)
            {
                batch.dead.push(BodyId(row.body));
            } else if key.starts_with(&erase)
                && let Ok(row) = decode::<EraseRow>(&value, String::new)
            {
                batch
                    .dead
                    .extend(row.bodies.iter().map(|(body, ..)| BodyId(*body)));
            }
            batch.delete(key);
        }
        shard.commit(permit, batch).await?;
        if last {
            return Ok(());
        }
    }
}

/// Removes the rows whose keys have the account's name.
async fn remove_by_name(shard: &Rc<Shard>, name: &str) -> Result<(), StoreError> {
    forget_logins(shard, name).await?;
    for kind in BY_NAME {
        remove_prefix(shard, keys::of_account(kind, name)).await?;
    }
    Ok(())
}

/// Removes rows that have no bodies, slice by slice. May be repeated.
pub async fn remove_prefix(shard: &Rc<Shard>, prefix: Vec<u8>) -> Result<(), StoreError> {
    let mut from = prefix.clone();
    loop {
        let rows = shard.scan(prefix.clone(), from, 1_000).await?;
        let Some((last, _)) = rows.last() else {
            return Ok(());
        };
        from = [last.as_slice(), &[0]].concat();
        let permit = shard.permit(64 << 10, false, PERMIT_LIMIT).await?;
        let mut batch = Batch::default();
        for (key, _) in rows {
            batch.delete(key);
        }
        shard.commit(permit, batch).await?;
    }
}

/// Rows whose keys have an account's name, beside its logins.
const BY_NAME: [&[u8]; 7] = [
    keys::LIVES,
    keys::SUPPRESSIONS,
    keys::RETIRED,
    keys::EVENTS,
    keys::WEBHOOKS,
    keys::SENDING,
    keys::TEMPLATES,
];
const PERMIT_LIMIT: Duration = Duration::from_secs(30);
/// Openings between two looks at the cache.
const SWEEP_EVERY: usize = 64;
/// Panics of the store's own tasks.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("store");
