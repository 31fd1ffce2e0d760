//! Pages of hooks that wait and that are over; sent once more, given up by hand; and what goes with time.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use shards::rt;
use shards::storage::Shard;

use super::{
    Book, EndpointRow, HookResult, HookRow, HooksTurn, NoRoom, RetiredHook, account_key, count_key,
    drop_payload, due_of, hook_key, hook_of, key_of, line_key, line_prefix, made_at, note,
    number_key, payload_key, readable_hook, retired_key, retired_of, sharing_key, time, what,
};
use crate::queue::Most;
use crate::queue::events::{Interest, Writing};
use crate::store::{StoreError, readable, rows};

/// Which hooks: all that is said must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HookFilter {
    /// The number of one.
    pub id: Option<u64>,
    /// For this endpoint.
    pub endpoint: Option<u32>,
    /// About this event.
    pub event: Option<String>,
    /// About this recipient.
    pub recipient: Option<u64>,
    /// Of those that are over: whether the receiver has it.
    pub success: Option<bool>,
    /// Made before this, seconds since 1970.
    pub created_before: Option<i64>,
    /// Made then or later.
    pub created_after: Option<i64>,
}

impl HookFilter {
    fn fits(&self, hook: &HookRow) -> bool {
        self.id.is_none_or(|id| id == hook.id)
            && self.endpoint.is_none_or(|id| id == hook.endpoint)
            && self.event.as_ref().is_none_or(|event| *event == hook.event)
            && self.recipient.is_none_or(|id| id == hook.recipient)
            && self.created_before.is_none_or(|at| hook.created < at)
            && self.created_after.is_none_or(|at| hook.created >= at)
    }
}

/// A page of hooks that wait, and where to go on, if there are more.
pub type HookPage = (Vec<HookRow>, Option<Vec<u8>>);
/// The same of those that are over.
pub type RetiredPage = (Vec<RetiredHook>, Option<Vec<u8>>);

/// What fits of the hooks of an account that wait, after a key, up to the bounds of a page: endpoint by endpoint, by when they are due.
pub async fn pending(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    filter: &HookFilter,
    after: Option<Vec<u8>>,
    mut most: Most,
) -> Result<HookPage, StoreError> {
    let account = turn.account();
    let mut writing = Writing::new(shard, turn, 0);
    if let Some(id) = filter.id {
        let found = hook_of(&writing, id).await?;
        let found = found.into_iter().filter(|hook| filter.fits(hook));
        return Ok((found.collect(), None));
    }
    let book = Book::open(&mut writing).await?;
    most.entries = most.entries.clamp(1, PAGE_MAX);
    let mut fit = Vec::new();
    for endpoint in book.lines.iter() {
        let (id, line) = endpoint;
        if filter.endpoint.is_some_and(|wanted| wanted != *id) {
            continue;
        }
        let prefix = line_prefix(account, *id);
        let first = line.first_key(account, *id);
        let from = match &after {
            Some(after) if *after >= first => [after.as_slice(), &[0]].concat(),
            _ => first,
        };
        // Of an endpoint before the position.
        if !from.starts_with(&prefix) {
            continue;
        }
        for (key, _) in shard.scan(prefix, from, most.entries).await? {
            let hook = match due_of(&key) {
                Some((_, hook)) => readable_hook(&writing, hook).await?,
                None => None,
            };
            let hook = hook.filter(|hook| filter.fits(hook));
            most.take(hook.as_ref().map_or(0, HookRow::octets));
            fit.extend(hook);
            if most.is_used_up() {
                return Ok((fit, Some(key)));
            }
        }
    }
    Ok((fit, None))
}

/// What fits of the hooks of an account that are over, after a key, up to the bounds of a page: in the order in which they ended.
pub async fn retired(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    filter: &HookFilter,
    after: Option<Vec<u8>>,
    mut most: Most,
) -> Result<RetiredPage, StoreError> {
    let account = turn.account();
    let mut writing = Writing::new(shard, turn, 0);
    let fits = |retired: &RetiredHook| {
        filter.fits(&retired.hook) && filter.success.is_none_or(|s| s == retired.success)
    };
    if let Some(id) = filter.id {
        let found = retired_of(&writing, id).await?;
        return Ok((found.into_iter().filter(fits).collect(), None));
    }
    let book = Book::open(&mut writing).await?;
    let prefix = key_of(account, b'r');
    let first = [prefix.as_slice(), &time(book.row.retired_from)].concat();
    let from = match after {
        Some(after) => first.max([after.as_slice(), &[0]].concat()),
        None => first,
    };
    let bounds = (most.entries.clamp(1, PAGE_MAX), most.octets);
    let (found, is_cut) = shard.scan_within(prefix, from, bounds).await?;
    let (mut fit, mut last) = (Vec::new(), None);
    for (key, row) in found {
        let row: Option<RetiredHook> = readable(shard, &key, rows::decode(&row, what))?;
        last = Some(key);
        let row = row.filter(fits);
        most.take(row.as_ref().map_or(0, |row| row.hook.octets()));
        fit.extend(row);
        if most.is_used_up() {
            return Ok((fit, last));
        }
        rt::yield_if_needed().await;
    }
    Ok((fit, last.filter(|_| is_cut)))
}

/// The payload of a hook that waits or is kept.
pub async fn payload(
    shard: &Rc<Shard>,
    account: &str,
    id: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let (sharing, count) = (sharing_key(account, id), count_key(account, id));
    let own = account.to_string();
    let found = shard.read(move |index| {
        let holder = match index.get(&sharing)? {
            Some(row) => rows::decode(&row, what).unwrap_or(id),
            // It is gone, and others have what it was to say.
            None if index.get(&count)?.is_some() => return Ok(None),
            None => id,
        };
        index.get(&payload_key(&own, holder))
    });
    Ok(found.await?)
}

/// What came of a hook that was to be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivered {
    /// It is in line again, for this endpoint.
    For(u32),
    /// It is not kept, or its endpoint is gone.
    Missing,
    /// It stays as it was: too much waits.
    NoRoom(NoRoom),
}

/// Puts a hook that is over in line again, under its number, if it may wait beside the others.
pub async fn redeliver(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    interest: Interest,
    id: u64,
    now: i64,
) -> Result<Redelivered, StoreError> {
    let account = turn.account();
    let mut writing = Writing::new(shard, turn, now);
    let mut book = Book::open(&mut writing).await?;
    let Some(retired) = retired_of(&writing, id).await? else {
        return Ok(Redelivered::Missing);
    };
    let endpoint = retired.hook.endpoint;
    if book.endpoint(endpoint).is_none_or(|e| e.removed) {
        return Ok(Redelivered::Missing);
    }
    if let Some(why) = book.no_room(interest, endpoint, retired.hook.size.into()) {
        return Ok(Redelivered::NoRoom(why));
    }
    writing.delete(number_key(account, id));
    writing.delete(retired_key(account, retired.at, id));
    book.row.retired = book.row.retired.saturating_sub(1);
    let hook = HookRow {
        due: now,
        ..retired.hook
    };
    book.enter(&mut writing, &hook);
    book.close(&mut writing);
    writing.commit().await?;
    Ok(Redelivered::For(endpoint))
}

/// Gives hooks up that wait; answers how many there were.
pub async fn cancel(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    interest: Interest,
    hooks: &[u64],
    now: i64,
) -> Result<usize, StoreError> {
    let mut writing = Writing::new(shard, turn, now);
    let mut book = Book::open(&mut writing).await?;
    let mut canceled = 0;
    for id in hooks.iter().take(PAGE_MAX) {
        if let Some(mut hook) = hook_of(&writing, *id).await? {
            give_up(&mut hook, "canceled by hand", now);
            let kept = interest.keeps_webhooks_secs;
            book.retire(&mut writing, hook, kept, (false, None)).await?;
            canceled += 1;
        }
    }
    book.close(&mut writing);
    writing.commit().await?;
    Ok(canceled)
}

fn give_up(hook: &mut HookRow, why: &str, now: i64) {
    note(
        hook,
        HookResult {
            at: now,
            error: why.into(),
            ..HookResult::default()
        },
    );
}

/// Does something with each account of a shard that has rows. Where one can't be read that is told, and the next account is next.
pub async fn each_account(
    shard: &Rc<Shard>,
    mut deed: impl AsyncFnMut(&str) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut from = rows::WEBHOOKS.to_vec();
    loop {
        let first = shard.scan(rows::WEBHOOKS.to_vec(), from, 1).await?;
        let Some((key, _)) = first.into_iter().next() else {
            return Ok(());
        };
        let rest = key.strip_prefix(rows::WEBHOOKS).unwrap_or_default();
        let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
        match std::str::from_utf8(&rest[..end]) {
            Ok(account) => {
                readable(shard, &account_key(account), deed(account).await)?;
                from = behind(account);
            }
            // Not ours: it stays.
            Err(_) => from = [key.as_slice(), &[0]].concat(),
        }
    }
}

/// Behind all rows of an account: NUL ends its name.
fn behind(account: &str) -> Vec<u8> {
    let mut key = rows::webhooks_key(account);
    key.pop();
    key.push(1);
    key
}

/// Erases a slice of what was kept long enough, or is more than so many. Answers whether there may be more.
pub async fn prune(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    (end, most): (i64, u64),
    now: i64,
) -> Result<bool, StoreError> {
    let account = turn.account();
    let mut writing = Writing::new(shard, turn, now);
    let mut book = Book::open(&mut writing).await?;
    let excess = book.row.retired.saturating_sub(most);
    let prefix = key_of(account, b'r');
    let from = [prefix.as_slice(), &time(book.row.retired_from)].concat();
    let found = shard.scan(prefix, from, SLICE).await?;
    let is_all = found.len() < SLICE;
    let (mut erased, mut left) = (0, None);
    for (key, row) in found {
        let Some((at, id)) = due_of(&key) else {
            continue;
        };
        left = Some(at);
        if at >= end && erased >= excess {
            break;
        }
        // One that can't be read goes when its time has come, like the others.
        let row: Option<RetiredHook> = readable(shard, &key, rows::decode(&row, what))?;
        writing.delete(key);
        writing.delete(number_key(account, id));
        drop_payload(&mut writing, id, row.map(|row| row.hook.size)).await?;
        erased += 1;
    }
    book.row.retired_from = left.unwrap_or(book.row.retired_from);
    book.row.retired = book.row.retired.saturating_sub(erased);
    if is_all && erased == 0 && left.is_none() {
        book.row.retired = 0;
    }
    book.close(&mut writing);
    writing.commit().await?;
    Ok(!is_all && erased == SLICE as u64)
}

/// Ends a slice of what waits for an endpoint that is gone (nothing of it is kept), or that is off and has been waited for since before a time.
/// Answers whether there may be more.
pub async fn purge(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    endpoint: &EndpointRow,
    (before, interest): (i64, Interest),
    now: i64,
) -> Result<bool, StoreError> {
    let account = turn.account();
    let mut writing = Writing::new(shard, turn, now);
    let mut book = Book::open(&mut writing).await?;
    let kept = match endpoint.removed {
        true => 0,
        false => interest.keeps_webhooks_secs,
    };
    let line = book.lines.get(&endpoint.id).cloned().unwrap_or_default();
    let prefix = line_prefix(account, endpoint.id);
    let from = line.first_key(account, endpoint.id);
    let found = shard.scan(prefix, from, SLICE).await?;
    let is_all = found.len() < SLICE;
    let (mut ended, mut first_left, mut last) = (0, None, None);
    for (key, _) in &found {
        let Some((due, id)) = due_of(key) else {
            continue;
        };
        last = Some((due, id));
        let hook = hook_of(&writing, id).await;
        let hook = readable(shard, &hook_key(account, id), hook)?;
        let created = match &hook {
            Some(Some(hook)) => hook.created,
            // There is no such hook.
            Some(None) => {
                writing.delete(key.clone());
                continue;
            }
            None => made_at(id),
        };
        if !endpoint.removed && created >= before {
            first_left = first_left.or(Some((due, id)));
            continue;
        }
        match hook.flatten() {
            Some(mut hook) => {
                give_up(&mut hook, "its endpoint was switched off", now);
                book.retire(&mut writing, hook, kept, (false, None)).await?;
            }
            None => book.lose(&mut writing, endpoint.id, (due, id)).await?,
        }
        ended += 1;
    }
    // They lie in the order in which they are due, which is nearly that in which they were made: those that are left are looked at in an hour.
    if let Some(line) = book.lines.get_mut(&endpoint.id)
        && let Some(from) = first_left.or(last)
    {
        line.from = from;
    }
    if endpoint.removed && is_all {
        book.endpoints.retain(|e| e.id != endpoint.id);
        book.lines.remove(&endpoint.id);
        writing.delete(line_key(account, endpoint.id));
    }
    book.close(&mut writing);
    writing.commit().await?;
    Ok(!is_all && ended > 0 && first_left.is_none())
}

/// Hooks of an account that are kept, about.
pub const RETIRED_MAX: u64 = 1_000_000;
/// Hooks of a page.
pub const PAGE_MAX: usize = 500;
/// Rows that are ended in one commit.
const SLICE: usize = 200;
