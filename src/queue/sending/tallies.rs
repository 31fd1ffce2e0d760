//! The counts of a core's accounts, in memory as they will be on disk once all that was submitted is durable. Of an account one message after the other is
//! decided about, and none waits for the commit of the one before: they share syncs.
//!
//! | step | fault point after it |
//! |---|---|
//! | 1 what is new of the recipients is read, and it is decided | `sending.decided` |
//! | 2 the counts, and rows of its recipients, are durable | `sending.counted` |
//! | it was not accepted after all, and is to be given back | `sending.give_back` |
//! | that is durable | `sending.given_back` |

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use shards::faults::point;
use shards::index::Index;
use shards::rt::{self, Turns};
use shards::storage::{Batch, Permit, Shard, StorageError};

use super::{Counts, Refusal, SendingUse, Taken, Wanted, is_remembered};
use crate::queue::warm_up::day_of;
use crate::settings::{AccountName, Sending};
use crate::store::{StoreError, readable, rows};

/// The counts of accounts of this core that were asked about.
pub struct SendingTallies {
    all: RefCell<HashMap<AccountName, Rc<Tally>>>,
    /// Seconds since 1970.
    clock: fn() -> i64,
}

/// Those of an account.
#[derive(Default)]
struct Tally {
    /// Whoever reads and changes them, one after the other.
    turns: Rc<Turns>,
    /// As they will be. None: not read yet.
    counts: RefCell<Option<Counts>>,
    /// Recipients whose rows are on their way to the disk.
    coming: RefCell<HashSet<u64>>,
    /// Its account was removed.
    is_gone: Cell<bool>,
}

/// What is on disk of the recipients of a message.
#[derive(Default)]
struct Found {
    /// Nothing.
    unknown: Vec<u64>,
    /// That they were written to so long ago that they are new.
    forgotten: Vec<u64>,
    /// That they were written to on another day.
    earlier: Vec<u64>,
}

impl SendingTallies {
    /// Of a core.
    pub fn new(clock: fn() -> i64) -> SendingTallies {
        SendingTallies {
            all: RefCell::default(),
            clock,
        }
    }

    fn of(&self, account: AccountName) -> Rc<Tally> {
        let mut all = self.all.borrow_mut();
        if all.len() >= TALLIES_MAX && !all.contains_key(&account) {
            // Whoever is at it holds it, and so does what is on its way to the disk.
            all.retain(|_, tally| Rc::strong_count(tally) > 1);
        }
        all.entry(account).or_default().clone()
    }

    /// The account is gone, and its rows go: what began before is submitted, and what waited for its turn finds it gone.
    pub async fn end(&self, account: AccountName) {
        let tally = self.of(account);
        let _turn = tally.turns.take(1).await;
        tally.is_gone.set(true);
        self.all.borrow_mut().remove(&account);
    }

    /// Counts a message, or says why it may not be sent. Durable when it is answered.
    pub async fn reserve(
        &self,
        shard: &Rc<Shard>,
        account: AccountName,
        (limits, wanted): (Sending, Wanted),
    ) -> Result<Result<Taken, Refusal>, StoreError> {
        let tally = self.of(account);
        let turn = tally.turns.take(1).await;
        tally.load(shard, account).await?;
        // What this refuses costs no look at the disk.
        let messages = wanted.messages;
        let begin = (self.clock)();
        let refused = tally.at(begin, |counts| counts.check(limits, messages, 0));
        if let Err(refusal) = refused {
            return Ok(Err(refusal));
        }
        let found = match limits.new_recipients_per_day {
            Some(_) => {
                let recipients = (wanted.recipients.as_slice(), day_of(begin));
                tally.look_up(shard, account, recipients).await?
            }
            None => Found::default(),
        };
        let Found {
            unknown,
            forgotten,
            earlier,
        } = found;
        let new = unknown.len() + forgotten.len();
        let octets = (new + earlier.len()) * ROW_OCTETS + COUNTS_OCTETS;
        let new = u32::try_from(new).unwrap_or(u32::MAX);
        let permit = shard.permit(octets, false, PATIENCE).await?;
        // From here to the submission nothing waits.
        let now = (self.clock)();
        let decided = tally.at(now, |counts| {
            counts.check(limits, messages, new)?;
            let has_room = counts.remember(unknown.len());
            Ok((counts.take(now, messages, new), has_room))
        });
        let (taken, has_room) = match decided {
            Ok(decided) => decided,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let _ = point("sending.decided");
        let mut written = [forgotten, earlier].concat();
        if has_room {
            written.extend(unknown);
        }
        let mut batch = Batch::default();
        let row = rows::encode(&day_of(now));
        for hash in &written {
            batch.put(key(account, *hash), row.clone());
        }
        let durable = tally.submit(shard, account, (permit, batch), written);
        drop(turn);
        durable.await?;
        let _ = point("sending.counted");
        Ok(Ok(taken))
    }

    /// A message that was counted was not accepted. Durable when it is answered.
    pub async fn give_back(
        &self,
        shard: &Rc<Shard>,
        account: AccountName,
        taken: Taken,
    ) -> Result<(), StoreError> {
        let tally = self.of(account);
        let turn = tally.turns.take(1).await;
        tally.load(shard, account).await?;
        let permit = shard.permit(COUNTS_OCTETS, false, PATIENCE).await?;
        let _ = point("sending.give_back");
        tally.at((self.clock)(), |counts| counts.give_back(taken));
        let durable = tally.submit(shard, account, (permit, Batch::default()), Vec::new());
        drop(turn);
        durable.await?;
        let _ = point("sending.given_back");
        Ok(())
    }

    /// How much of its limits an account has used.
    pub async fn show(
        &self,
        shard: &Rc<Shard>,
        account: AccountName,
        limits: Sending,
    ) -> Result<SendingUse, StoreError> {
        let tally = self.of(account);
        let _turn = tally.turns.take(1).await;
        tally.load(shard, account).await?;
        Ok(tally.at((self.clock)(), |counts| counts.show(limits)))
    }

    /// Erases what counts no more and who is not remembered any more.
    pub async fn prune(&self, shard: &Rc<Shard>) -> Result<(), StoreError> {
        let mut from = rows::SENDING.to_vec();
        loop {
            let found = shard.scan(rows::SENDING.to_vec(), from, 1).await?;
            let Some((first, _)) = found.first() else {
                return Ok(());
            };
            match account_of(first) {
                Some(account) => {
                    let counts = rows::sending_counts_key(account.as_str());
                    let pruned = self.prune_account(shard, account).await;
                    match readable(shard, &counts, pruned) {
                        // Its rows go by themselves.
                        Ok(_) | Err(StoreError::AccountGone) => (),
                        Err(error) => return Err(error),
                    }
                    // Behind all of this account's: a NUL ends its name there.
                    from = [rows::SENDING, account.as_str().as_bytes(), &[1]].concat();
                }
                None => from = [first.as_slice(), &[0]].concat(),
            }
        }
    }

    async fn prune_account(
        &self,
        shard: &Rc<Shard>,
        account: AccountName,
    ) -> Result<(), StoreError> {
        let tally = self.of(account);
        let prefix = rows::sending_recipients_key(account.as_str());
        let mut from = prefix.clone();
        loop {
            let _turn = tally.turns.take(1).await;
            tally.load(shard, account).await?;
            let octets = SLICE * ROW_OCTETS + COUNTS_OCTETS;
            let permit = shard.permit(octets, false, PATIENCE).await?;
            // From before the scan: a row that is written while it reads may be found as it was, and be durable before that is told. With the turn none
            // is added meanwhile.
            let coming = tally.coming.borrow().clone();
            let found = shard.scan(prefix.clone(), from, SLICE).await?;
            let (is_last, now) = (found.len() < SLICE, (self.clock)());
            let next = found
                .last()
                .map(|(last, _)| [last.as_slice(), &[0]].concat());
            from = next.unwrap_or_default();
            let (mut batch, mut gone) = (Batch::default(), 0);
            for (key, row) in found {
                let hash = key.last_chunk().map_or(0, |hash| u64::from_be_bytes(*hash));
                // One that can't be read stays: it is told of when it is needed.
                if !coming.contains(&hash)
                    && day(&row).is_ok_and(|day| !is_remembered(day, day_of(now)))
                {
                    batch.delete(key);
                    gone += 1;
                }
            }
            let is_empty = tally.at(now, |counts| {
                counts.remembered = counts.remembered.saturating_sub(gone);
                counts.is_empty()
            });
            if gone > 0 || is_last && is_empty {
                // With the turn: whoever reads meanwhile would find rows that are going.
                let durable = tally.submit(shard, account, (permit, batch), Vec::new());
                durable.await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

impl Tally {
    /// Whoever calls it has the turn.
    async fn load(&self, shard: &Shard, account: AccountName) -> Result<(), StoreError> {
        if self.is_gone.get() {
            return Err(StoreError::AccountGone);
        }
        if self.counts.borrow().is_none() {
            let row = shard
                .get(rows::sending_counts_key(account.as_str()))
                .await?;
            let name = || format!("what {account} has sent");
            let counts = row.map(|row| rows::decode(&row, name)).transpose()?;
            *self.counts.borrow_mut() = Some(counts.unwrap_or_default());
        }
        Ok(())
    }

    /// Something with the counts as they are at a time.
    fn at<T>(&self, now: i64, deed: impl FnOnce(&mut Counts) -> T) -> T {
        let mut counts = self.counts.borrow_mut();
        let counts = counts.get_or_insert_default();
        counts.advance(now);
        deed(counts)
    }

    /// Which recipients are new. Whoever calls it has the turn, so no row comes meanwhile, and what was on its way before is known.
    async fn look_up(
        &self,
        shard: &Shard,
        account: AccountName,
        (recipients, today): (&[u64], u32),
    ) -> Result<Found, StoreError> {
        let unsure: Vec<u64> = {
            let coming = self.coming.borrow();
            let unsure = recipients.iter().filter(|hash| !coming.contains(hash));
            unsure.copied().collect()
        };
        let mut found = Found::default();
        for slice in unsure.chunks(SLICE) {
            let keys: Vec<Vec<u8>> = slice.iter().map(|hash| key(account, *hash)).collect();
            let read = move |index: &Index| {
                let read = keys.iter().map(|key| index.get(key));
                read.collect::<Result<Vec<_>, _>>()
            };
            for (hash, row) in slice.iter().zip(shard.read(read).await?) {
                match row.map(|row| day(&row)).transpose()? {
                    None => found.unknown.push(*hash),
                    Some(day) if !is_remembered(day, today) => found.forgotten.push(*hash),
                    Some(day) if day != today => found.earlier.push(*hash),
                    Some(_) => (),
                }
            }
            rt::yield_if_needed().await;
        }
        Ok(found)
    }

    /// Hands the counts as they are now to the commit thread, with what goes with them; answers when that is durable. They are handed over when this
    /// returns, so that the turn can go.
    fn submit(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        account: AccountName,
        (permit, mut batch): (Permit, Batch),
        coming: Vec<u64>,
    ) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let counts = rows::sending_counts_key(account.as_str());
        match &*self.counts.borrow() {
            Some(now) if !now.is_empty() => batch.put(counts, rows::encode(now)),
            _ => batch.delete(counts),
        }
        self.coming.borrow_mut().extend(&coming);
        let (sender, receiver) = oneshot::channel();
        let tally = self.clone();
        shard.submit(permit, batch, move |result| {
            let mut all = tally.coming.borrow_mut();
            for hash in coming {
                all.remove(&hash);
            }
            let _ = sender.send(result);
        });
        let stopped = StorageError::Poisoned(shard.id(), "the commit thread has stopped".into());
        async move { Ok(receiver.await.unwrap_or(Err(stopped)).map(drop)?) }
    }
}

fn key(account: AccountName, hash: u64) -> Vec<u8> {
    let mut key = rows::sending_recipients_key(account.as_str());
    key.extend_from_slice(&hash.to_be_bytes());
    key
}

fn day(row: &[u8]) -> Result<u32, StoreError> {
    rows::decode(row, || "a recipient that was written to".into())
}

/// Whose a row is.
fn account_of(key: &[u8]) -> Option<AccountName> {
    let rest = key.strip_prefix(rows::SENDING)?;
    let name = rest.split(|octet| *octet == 0).next()?;
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// Accounts whose counts a core keeps in memory, about.
const TALLIES_MAX: usize = 10_000;
/// Rows of recipients that are read at a time.
const SLICE: usize = 500;
/// Octets of such a row in a batch, about.
const ROW_OCTETS: usize = 96;
/// Those of the counts.
const COUNTS_OCTETS: usize = 1_024;
const PATIENCE: Duration = Duration::from_secs(20);
