//! Batches: messages whose recipients each get their own text, made when it is due (`recipe`); and how far a batch is.
//!
//! A batch is one message of the queue. Its row of progress is changed in the commits that change its recipients, so what it counts is what is in
//! their rows, whatever stops when; it stays for a time when these are gone.
//!
//! | key, behind `B` account NUL | row |
//! |---|---|
//! | `n` number | progress; the number is that of the first recipient |
//! | `t` time number | nothing: those of an account by the time they were accepted, the latest first |

use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shards::storage::{Batch, Shard};

use super::events::EventKind;
use super::id::{QueueId, first_of};
use super::rows::{MessageRow, RecipientRow, State, Stored};
use crate::store::{self, StoreError, readable, rows};

/// What makes a message a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchInfo {
    /// What its sender calls it; may be empty.
    pub name: String,
}

/// How far a batch is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRow {
    /// What its sender calls it; may be empty.
    pub name: String,
    /// When it was accepted, seconds since 1970.
    pub accepted: i64,
    /// Not before this; 0: at once.
    pub not_before: i64,
    /// Recipients.
    pub recipients: u32,
    /// The next hop has their message, or their mailbox.
    pub delivered: u32,
    /// Given up: refused for good, too late, or by hand.
    pub failed: u32,
    /// Given up before they were tried, for their address is on the account's suppression list.
    pub suppressed: u32,
    /// Taken out, with the batch or one by one.
    pub dropped: u32,
    /// When it was cancelled.
    pub cancelled: Option<i64>,
    /// When nothing of it was left in the queue.
    pub ended: Option<i64>,
}

impl BatchRow {
    /// Of one that nothing came of yet.
    pub fn new(message: &MessageRow) -> BatchRow {
        let info = message.batch.clone().unwrap_or_default();
        BatchRow {
            name: info.name,
            accepted: message.accepted,
            not_before: message.not_before,
            recipients: u32::try_from(message.recipients.len()).unwrap_or(u32::MAX),
            delivered: 0,
            failed: 0,
            suppressed: 0,
            dropped: 0,
            cancelled: None,
            ended: None,
        }
    }

    /// As its recipients' rows have it: its own was lost. They don't tell apart who was suppressed.
    fn of(stored: &Stored) -> BatchRow {
        let mut row = BatchRow::new(&stored.message);
        let fresh = RecipientRow::fresh(&stored.message);
        for (_, recipient) in &stored.changed {
            row.count(&fresh, recipient);
        }
        row
    }

    /// Recipients that still wait, held ones too, or are on their way.
    pub fn waiting(&self) -> u32 {
        let over = [self.delivered, self.failed, self.suppressed, self.dropped];
        self.recipients.saturating_sub(over.iter().sum())
    }

    /// Counts a change of a recipient. What was given up by hand may be delivered by an attempt that was under way.
    pub(super) fn count(&mut self, before: &RecipientRow, after: &RecipientRow) {
        if before.state == after.state {
            return;
        }
        let new = after.events.get(before.events.len()..).unwrap_or_default();
        let suppressed = new.iter().any(|owed| owed.kind == EventKind::Suppressed);
        if let Some(count) = self.counter(before.state, false) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.counter(after.state, suppressed) {
            *count += 1;
        }
    }

    fn counter(&mut self, state: State, suppressed: bool) -> Option<&mut u32> {
        match state {
            State::Waiting | State::Held => None,
            State::Delivered => Some(&mut self.delivered),
            State::Failed if suppressed => Some(&mut self.suppressed),
            State::Failed => Some(&mut self.failed),
            State::Dropped => Some(&mut self.dropped),
        }
    }
}

/// What came of the end of a batch by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cancelled {
    /// Recipients that were dropped and get nothing.
    pub dropped: u64,
    /// Those that are being sent to: they are dropped, too, unless they have their message in the end.
    pub under_way: u64,
}

/// The number of a batch: that of its first recipient.
pub fn number_of(message: &MessageRow, body: shards::segments::BodyId) -> u64 {
    first_of(body, message.recipients.len())
}

/// Adds the rows of a new batch to what is committed with it.
pub(super) fn begin(batch: &mut Batch, account: &str, number: u64, row: &BatchRow) {
    put(batch, account, number, row);
    batch.put(time_key(account, row.accepted, number), rows::encode(&()));
}

/// Adds its progress to what is committed.
pub(super) fn put(batch: &mut Batch, account: &str, number: u64, row: &BatchRow) {
    batch.put(number_key(account, number), rows::encode(row));
}

/// How far a batch of an account is.
pub async fn find(
    shard: &Rc<Shard>,
    account: &str,
    number: u64,
) -> Result<Option<BatchRow>, StoreError> {
    let row = shard.get(number_key(account, number)).await?;
    row.map(|row| rows::decode(&row, what)).transpose()
}

/// The same of one that is in the queue.
pub(super) async fn of_stored(
    shard: &Rc<Shard>,
    stored: &Stored,
) -> Result<Option<BatchRow>, StoreError> {
    if stored.message.batch.is_none() {
        return Ok(None);
    }
    let number = number_of(&stored.message, stored.body);
    let found = find(shard, &stored.message.account, number).await?;
    Ok(Some(found.unwrap_or_else(|| BatchRow::of(stored))))
}

/// The last batch of a page: when it was accepted, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchPlace {
    /// Seconds since 1970.
    pub accepted: i64,
    /// Its id.
    pub id: u64,
}

/// Batches of an account in a shard, each with its id, the latest first: those behind a place, at most so many.
pub async fn page(
    shard: &Rc<Shard>,
    account: &str,
    after: Option<BatchPlace>,
    limit: usize,
) -> Result<Vec<(u64, BatchRow)>, StoreError> {
    let (own, prefix) = (shard.id().0, key_of(account, b't'));
    let from = match after {
        None => prefix.clone(),
        Some(BatchPlace { accepted, id }) => {
            let place = QueueId::from_u64(id);
            let (of, number) = place.map_or((0, 0), |id| (id.shard(), id.number()));
            // Of those of one second the highest id comes first.
            match of.cmp(&own) {
                std::cmp::Ordering::Equal => {
                    [time_key(account, accepted, number).as_slice(), &[0]].concat()
                }
                std::cmp::Ordering::Greater => time_key(account, accepted, u64::MAX),
                std::cmp::Ordering::Less => time_key(account, accepted - 1, u64::MAX),
            }
        }
    };
    let account = account.to_owned();
    let found = shard.read(move |index| {
        let times = index.scan(&prefix, &from, limit)?;
        let numbers = times.iter().filter_map(|(key, _)| number_in(key));
        let rows = numbers.map(|n| Ok((n, index.get(&number_key(&account, n))?)));
        rows.collect::<Result<Vec<_>, _>>()
    });
    let mut page = Vec::new();
    for (number, row) in found.await? {
        if let (Some(id), Some(row)) = (QueueId::new(own, number), row) {
            page.push((id.get(), rows::decode(&row, what)?));
        }
    }
    Ok(page)
}

/// The first of several shards' pages of at most so many, in one; and where to go on.
pub fn merge(
    pages: Vec<Vec<(u64, BatchRow)>>,
    limit: usize,
) -> (Vec<(u64, BatchRow)>, Option<BatchPlace>) {
    let is_all = pages.iter().all(|page| page.len() < limit);
    let mut all: Vec<_> = pages.into_iter().flatten().collect();
    all.sort_by_key(|(id, row)| std::cmp::Reverse((row.accepted, *id)));
    let is_all = is_all && all.len() <= limit;
    all.truncate(limit);
    let last = all.last().map(|(id, row)| BatchPlace {
        accepted: row.accepted,
        id: *id,
    });
    (all, last.filter(|_| !is_all))
}

/// Erases rows of batches that ended long enough ago: `kept` says for how many seconds those of an account stay, and nothing of one that is gone.
pub async fn prune(
    shard: &Rc<Shard>,
    now: i64,
    kept: impl Fn(&str) -> Option<i64>,
) -> Result<u64, StoreError> {
    let (mut from, mut pruned) = (rows::BATCHES.to_vec(), 0);
    loop {
        let found = shard.scan(rows::BATCHES.to_vec(), from, SLICE).await?;
        let Some((last, _)) = found.last() else {
            return Ok(pruned);
        };
        from = [last.as_slice(), &[0]].concat();
        let mut batch = Batch::default();
        for (key, row) in &found {
            let Some((account, b'n', number)) = parts_of(key) else {
                continue;
            };
            let row = rows::decode::<BatchRow>(row, what);
            let Some(row) = readable(shard, key, row)? else {
                continue;
            };
            let end = kept(account).map_or(i64::MAX, |secs| now.saturating_sub(secs));
            if row.ended.is_some_and(|ended| ended < end) {
                batch.delete(key.clone());
                batch.delete(time_key(account, row.accepted, number));
                pruned += 1;
            }
        }
        if !batch.is_empty() {
            let permit = shard.permit(SLICE * 64, false, PATIENCE).await?;
            shard.commit(permit, batch).await?;
        }
    }
}

/// Erases those of an account that goes: whoever gets its name is somebody else.
pub async fn forget(shard: &Rc<Shard>, account: &str) -> Result<(), StoreError> {
    store::remove_prefix(shard, rows::batches_key(account)).await
}

fn what() -> String {
    "the progress of a batch".into()
}

fn key_of(account: &str, kind: u8) -> Vec<u8> {
    let mut key = rows::batches_key(account);
    key.push(kind);
    key
}

fn number_key(account: &str, number: u64) -> Vec<u8> {
    [key_of(account, b'n').as_slice(), &number.to_be_bytes()].concat()
}

fn time_key(account: &str, accepted: i64, number: u64) -> Vec<u8> {
    let time = (!(accepted.max(0) as u64)).to_be_bytes();
    let number = (!number).to_be_bytes();
    [key_of(account, b't').as_slice(), &time, &number].concat()
}

fn number_in(time_key: &[u8]) -> Option<u64> {
    let number = time_key.last_chunk::<8>()?;
    Some(!u64::from_be_bytes(*number))
}

/// Whose, of which kind, and which.
fn parts_of(key: &[u8]) -> Option<(&str, u8, u64)> {
    let rest = key.strip_prefix(rows::BATCHES)?;
    let end = rest.iter().position(|octet| *octet == 0)?;
    let account = std::str::from_utf8(&rest[..end]).ok()?;
    let (kind, rest) = rest[end + 1..].split_first()?;
    let number = u64::from_be_bytes(*rest.last_chunk::<8>()?);
    Some((account, *kind, number))
}

/// Seconds for which a batch is remembered after its end, at least.
pub const REMEMBERED: i64 = 30 * 86_400;
const SLICE: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::events::OwedEvent;

    #[test]
    fn changes_are_counted_once_and_what_comes_too_late_counts_as_it_ended() {
        let message = crate::queue::rows::tests::message();
        let fresh = RecipientRow::fresh(&message);
        let with = |state| RecipientRow {
            state,
            ..fresh.clone()
        };
        let mut row = BatchRow::new(&message);
        assert_eq!((row.recipients, row.waiting()), (2, 2));
        row.count(&fresh, &with(State::Held));
        assert_eq!(row.waiting(), 2);
        row.count(&with(State::Held), &with(State::Failed));
        row.count(&with(State::Failed), &with(State::Failed));
        assert_eq!((row.failed, row.waiting()), (1, 1));
        row.count(&with(State::Failed), &with(State::Delivered));
        assert_eq!((row.failed, row.delivered, row.waiting()), (0, 1, 1));
        let mut suppressed = with(State::Failed);
        let event = OwedEvent::new(EventKind::Suppressed, &suppressed, 5);
        suppressed.events.push(event);
        row.count(&fresh, &suppressed);
        assert_eq!((row.failed, row.suppressed, row.waiting()), (0, 1, 0));
    }

    #[test]
    fn keys_have_the_latest_first() {
        let keys = [
            time_key("anna", 20, 1),
            time_key("anna", 10, 9),
            time_key("anna", 10, 8),
        ];
        assert!(keys.is_sorted());
        assert_eq!(number_in(&keys[1]), Some(9));
        assert_eq!(parts_of(&number_key("anna", 7)), Some(("anna", b'n', 7)));
        assert!(number_key("anna", u64::MAX) < keys[0]);
    }

    #[test]
    fn pages_of_shards_are_one() {
        let row = |accepted| BatchRow {
            accepted,
            ..BatchRow::new(&crate::queue::rows::tests::message())
        };
        let pages = vec![
            vec![(4, row(30)), (2, row(10))],
            vec![(9, row(30)), (8, row(20))],
        ];
        let (found, next) = merge(pages.clone(), 2);
        let ids = |found: &[(u64, BatchRow)]| found.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        assert_eq!(ids(&found), [9, 4]);
        assert_eq!(
            next,
            Some(BatchPlace {
                accepted: 30,
                id: 4
            })
        );
        let (found, next) = merge(pages, 5);
        assert_eq!((ids(&found), next), (vec![9, 4, 8, 2], None));
    }
}
