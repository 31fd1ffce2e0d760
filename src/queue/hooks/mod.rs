//! Webhooks of accounts: who is to be told of what (endpoints), what is to be told (hooks), and what was. Rows in the account's shard, which
//! its owner alone writes, one change of an account after the other ([`HooksTurn`]). docs/WEBHOOKS.md, docs/STORAGE.md.
//!
//! | key, behind `w` account NUL | row |
//! |---|---|
//! | `a` | numbers given out, and how many rows of each kind there are: the first of the account's |
//! | `e` endpoint | an endpoint |
//! | `f` endpoint | how many hooks wait for it, how much they say, and no earlier one than when |
//! | `d` endpoint time hook | when a hook is due |
//! | `p` hook | a hook that waits: all but its payload |
//! | `b` hook | its payload, which stays while it is kept, or one is that has the same |
//! | `s` hook | which hook has its payload: it is long, and several endpoints are told the same |
//! | `c` hook | how many hooks are kept that have its payload, it itself included |
//! | `q` recipient endpoint | the hook that a newer event of the recipient makes needless |
//! | `n` hook | when a hook that is kept was over |
//! | `r` time hook | a hook that is over and kept |
//! | `i` body | a message that came, of which hooks have still to be made (`store/incoming.rs`) |
//!
//! Rows are erased from the front on, and an erased row is walked over by every scan that begins before it until fjall has merged it away: so
//! scans begin where `f` and `a` say that the first one lies.
//!
//! Not here: calls (`src/hooks`).

mod ask;
mod conduct;
mod endpoints;
mod history;
mod incoming;
mod known;
mod plan;
mod step;
mod target;
#[cfg(test)]
mod tests;

pub use ask::{HookAnswer, HookAsk};
pub use conduct::Conduct;
pub use endpoints::{
    Enabled, EndpointSpec, Told, endpoint, endpoints, lines, mail_paid, put, remove, rotate,
    set_enabled,
};
pub use history::{
    HookFilter, HookPage, PAGE_MAX, RETIRED_MAX, Redelivered, RetiredPage, cancel, each_account,
    payload, pending, prune, purge, redeliver, retired,
};
pub use incoming::{PAYLOAD_MAX, Untold, payload_of, tell_incoming, told_of_incoming};
pub use known::{Hooks, HooksTurn, Testing};
pub use plan::{OutgoingHook, hook_event, payload_octets};
pub(super) use plan::{reads, take, unsubscribed, wants};
pub use step::{Claimed, Follows, Outcome, Step, Terms, Wish, resume, steps};
pub use target::{Target, not_allowed};

use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use shards::index::{IndexError, Row};
use shards::storage::Shard;
use webapi::hook::{HookEvent, HookEvents, Secret};

use super::events::{Interest, Writing};
use crate::store::{StoreError, readable, rows};

/// Where an account has events sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// Its number, within the account.
    pub id: u32,
    /// `http` or `https`.
    pub url: String,
    /// The value of the header field Authorization.
    pub authorization: Option<String>,
    /// See [`EndpointRow::events`].
    pub event_bits: u16,
    /// The one that is valid now, then those that are for a while.
    pub secrets: Vec<SecretRow>,
    /// Calls at once; 1 keeps the order.
    pub concurrency: u8,
    /// When it was added, seconds since 1970.
    pub created: i64,
    /// It has failed since then, without any success.
    pub failing_since: Option<i64>,
    /// It is switched off: why.
    pub disabled: Option<String>,
    /// Its account has still to be told that it was switched off, after this hook.
    pub mail_owed: Option<u64>,
    /// It is gone, and its hooks are being erased.
    pub removed: bool,
}

/// Without its secrets.
impl std::fmt::Debug for EndpointRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointRow")
            .field("id", &self.id)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A secret of an endpoint.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRow {
    /// Its octets.
    pub octets: Vec<u8>,
    /// Until when it is valid; none: it is the current one.
    pub until: Option<i64>,
}

impl EndpointRow {
    /// What it is told.
    pub fn events(&self) -> HookEvents {
        HookEvents::from_bits(self.event_bits)
    }

    /// Whether new events are for it.
    fn is_told(&self, event: HookEvent) -> bool {
        !self.removed && self.disabled.is_none() && self.events().has(event)
    }

    /// Those that sign a call now.
    pub fn secrets(&self, now: i64) -> Vec<Secret> {
        let valid = self
            .secrets
            .iter()
            .filter(|secret| secret.until.is_none_or(|until| until > now));
        valid
            .filter_map(|secret| Secret::of(secret.octets.clone()).ok())
            .collect()
    }
}

/// What a receiver is to be told; its payload lies beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRow {
    /// Its number: of all hooks of the account, in the order in which they were made.
    pub id: u64,
    /// To whom.
    pub endpoint: u32,
    /// A word of [`HookEvent`].
    pub event: String,
    /// The number of the recipient it is about; 0: of none.
    pub recipient: u64,
    /// What made the recipient's MAIL FROM unique; may be empty.
    pub from_id: String,
    /// With its angle brackets; may be empty.
    pub message_id: String,
    /// Of the message.
    pub subject: String,
    /// Octets of its payload.
    pub size: u32,
    /// When it was made, seconds since 1970.
    pub created: i64,
    /// Attempts that were begun.
    pub attempts: u32,
    /// When the next one is made, if nothing is heard of one under way.
    pub due: i64,
    /// The first attempt and the latest.
    pub results: Vec<HookResult>,
}

/// What came of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookResult {
    /// When it began, seconds since 1970.
    pub at: i64,
    /// How long it took.
    pub took_ms: u32,
    /// Where it went.
    pub url: String,
    /// The receiver has it.
    pub success: bool,
    /// The status; 0: there was no answer.
    pub code: u16,
    /// Why it was no success, in words.
    pub error: String,
    /// The beginning of the answer.
    pub response: String,
}

/// A hook that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredHook {
    /// As it was.
    pub hook: HookRow,
    /// When it was over, seconds since 1970.
    pub at: i64,
    /// The receiver has it.
    pub success: bool,
    /// A newer event of the recipient made it needless.
    pub superseded_by: Option<u64>,
}

/// What is known of an account's hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct AccountRow {
    /// How often its endpoints were changed.
    version: u64,
    /// The number of the endpoint added last.
    last_endpoint: u32,
    /// The number of the hook made last.
    last_hook: u64,
    /// Hooks that wait.
    pending: u64,
    /// Hooks that are over and kept.
    retired: u64,
    /// None of these was over before this, seconds since 1970.
    retired_from: i64,
    /// Hooks that were not made for want of room.
    dropped: u64,
    /// Octets of the payloads of those that wait, each hook's by itself. None: some wait since before these were counted, until the next start.
    pending_octets: Option<u64>,
}

impl AccountRow {
    /// Reads it. The first version ended with what was dropped.
    fn decode(bytes: &[u8]) -> Result<AccountRow, StoreError> {
        match bytes.split_first() {
            Some((&ACCOUNT_FIRST, rest)) => {
                let whole = [&[ACCOUNT_VERSION], rest, &[0]].concat();
                rows::decode_version(ACCOUNT_VERSION, &whole, what)
            }
            _ => rows::decode_version(ACCOUNT_VERSION, bytes, what),
        }
    }
}

/// Why no more of an account's hooks may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// So many may wait in all; one of several endpoints may have no more than are left.
    Hooks(u64),
    /// The same of the octets that they say.
    Octets(u64),
}

/// In words for the account's owner.
impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoRoom::Hooks(most) => write!(
                f,
                "as many webhooks wait as may: {most} of the account, and for one of several endpoints no more than are left (pending_per_account_max)"
            ),
            NoRoom::Octets(most) => write!(
                f,
                "webhooks that wait say as much as they may: {most} octets of the account, and for one of several endpoints no more than are left (pending_per_account_max_bytes)"
            ),
        }
    }
}

/// What is known of the hooks that wait for an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRow {
    /// How many.
    pub count: u64,
    /// None is due before this, seconds since 1970; and of those that are due then none has a lower number.
    pub from: (i64, u64),
    /// Those of which a call is under way: after a stop they are due at once.
    pub under_way: Vec<u64>,
    /// The endpoint asks not to be called before then, seconds since 1970. It is read at a start; else `Conduct` has it.
    pub paused_until: Option<i64>,
    /// Octets of their payloads. None: some wait since before these were counted, until the next start.
    octets: Option<u64>,
}

impl LineRow {
    /// Reads it. The first version had no number beside the time, the second ended with what is under way.
    fn decode(bytes: &[u8]) -> Result<LineRow, StoreError> {
        #[derive(Deserialize)]
        struct First {
            count: u64,
            from: i64,
            under_way: Vec<u64>,
        }
        match bytes.split_first() {
            Some((&LINE_SECOND, rest)) => {
                let whole = [&[LINE_VERSION], rest, &[0, 0]].concat();
                return rows::decode_version(LINE_VERSION, &whole, what);
            }
            Some((&LINE_VERSION, _)) => return rows::decode_version(LINE_VERSION, bytes, what),
            _ => (),
        }
        let First {
            count,
            from,
            under_way,
        } = rows::decode(bytes, what)?;
        Ok(LineRow {
            count,
            from: (from, 0),
            under_way,
            paused_until: None,
            octets: None,
        })
    }

    /// In place of one that can't be read: whoever looks at the line finds out when its first hook is due.
    fn unknown() -> LineRow {
        LineRow {
            count: 1,
            ..LineRow::default()
        }
    }

    /// Octets of their payloads, as far as they are known.
    fn octets(&self) -> Option<u64> {
        match self.count {
            0 => Some(0),
            _ => self.octets,
        }
    }

    /// Where its first row lies. Erased rows of a busy line lie before it, and a scan would walk over them.
    fn first_key(&self, account: &str, endpoint: u32) -> Vec<u8> {
        due_key(account, endpoint, self.from.0, self.from.1)
    }

    /// The endpoint asks not to be called before then; a shorter pause does not end a longer one.
    fn pause(&mut self, until: i64) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// A hook is due then.
    fn comes(&mut self, due: i64, hook: u64) {
        self.from = self.from.min((due, hook));
    }
}

/// The small rows of an account while a change is made; those that are other in the end are written with it.
#[derive(Clone, Default)]
pub(super) struct Book {
    row: AccountRow,
    endpoints: Vec<EndpointRow>,
    lines: BTreeMap<u32, LineRow>,
    read: Option<Box<Book>>,
}

impl Book {
    /// Takes it out of what is being written, or reads it. Who writes has the turn of the account's hooks, so that nobody else changes it meanwhile.
    async fn open(writing: &mut Writing<'_>) -> Result<Book, StoreError> {
        if let Some(book) = writing.hooks.take() {
            return Ok(book);
        }
        let mut book = Book::look(writing.shard, writing.account).await?.0;
        book.read = Some(Box::new(book.clone()));
        Ok(book)
    }

    /// As it is now, for who changes nothing.
    async fn look(shard: &Rc<Shard>, account: &str) -> Result<Seen, StoreError> {
        let row = account_key(account);
        let (endpoints, lines) = (key_of(account, b'e'), key_of(account, b'f'));
        let found = shard.read(move |index| {
            let Some(row) = index.get(&row)? else {
                return Ok(None);
            };
            let endpoints = index.scan(&endpoints, &endpoints, ENDPOINT_ROWS_MAX)?;
            // One by one: they change with each call, and a scan walks over all that they have been since fjall merged them.
            let line = |(key, _): &Row| {
                let id = key.last_chunk::<4>().copied().unwrap_or_default();
                let row = index.get(&[lines.as_slice(), &id].concat())?;
                Ok((u32::from_be_bytes(id), row))
            };
            let lines = endpoints.iter().map(line);
            let lines = lines.collect::<Result<Vec<_>, IndexError>>()?;
            Ok(Some((row, endpoints, lines)))
        });
        let Some((row, endpoints, lines)) = found.await? else {
            return Ok(Seen(Book::default()));
        };
        let mut book = Book {
            row: AccountRow::decode(&row)?,
            ..Book::default()
        };
        for (key, row) in endpoints {
            let endpoint = readable(shard, &key, rows::decode(&row, what))?;
            book.endpoints.extend(endpoint);
        }
        for (endpoint, row) in lines {
            if let Some(row) = row {
                let key = line_key(account, endpoint);
                let line = readable(shard, &key, LineRow::decode(&row))?;
                book.lines
                    .insert(endpoint, line.unwrap_or_else(LineRow::unknown));
            }
        }
        Ok(Seen(book))
    }

    /// Gives it back to what is being written, with the rows that are other than they were.
    fn close(mut self, writing: &mut Writing<'_>) {
        let account = writing.account;
        let read = self.read.take().unwrap_or_default();
        if self.row != read.row {
            let row = rows::encode_version(ACCOUNT_VERSION, &self.row);
            writing.put(account_key(account), row);
        }
        for endpoint in &self.endpoints {
            if !read.endpoints.contains(endpoint) {
                writing.put(endpoint_key(account, endpoint.id), rows::encode(endpoint));
            }
        }
        for gone in read.endpoints.iter().map(|endpoint| endpoint.id) {
            if self.endpoint(gone).is_none() {
                writing.delete(endpoint_key(account, gone));
            }
        }
        for (id, line) in &self.lines {
            if read.lines.get(id) != Some(line) {
                writing.put(
                    line_key(account, *id),
                    rows::encode_version(LINE_VERSION, line),
                );
            }
        }
        for gone in read.lines.keys() {
            if !self.lines.contains_key(gone) {
                writing.delete(line_key(account, *gone));
            }
        }
        self.read = Some(Box::new(Book {
            read: None,
            ..self.clone()
        }));
        writing.hooks = Some(self);
    }

    /// An endpoint is another, or is to be called all the same.
    fn end_pause(&mut self, id: u32) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.paused_until = None;
        }
    }

    fn endpoint(&self, id: u32) -> Option<&EndpointRow> {
        self.endpoints.iter().find(|endpoint| endpoint.id == id)
    }

    fn endpoint_mut(&mut self, id: u32) -> Option<&mut EndpointRow> {
        self.endpoints.iter_mut().find(|endpoint| endpoint.id == id)
    }

    /// The number of a new hook: greater than any of an earlier account of the name, or from before the shard was salvaged, and small enough for
    /// the numbers of JSON.
    fn next_hook(&mut self, now: i64) -> u64 {
        let floor = u64::try_from(now).unwrap_or(0) << NUMBER_BITS;
        self.row.last_hook = (self.row.last_hook + 1).max(floor);
        self.row.last_hook
    }

    /// Its endpoints have changed: a version greater than any before, of an earlier account of the name too.
    fn endpoints_changed(&mut self, now: i64) {
        let floor = u64::try_from(now).unwrap_or(0) << NUMBER_BITS;
        self.row.version = (self.row.version + 1).max(floor);
    }

    /// Puts a hook in line.
    fn enter(&mut self, writing: &mut Writing<'_>, hook: &HookRow) {
        let account = writing.account;
        writing.put(hook_key(account, hook.id), rows::encode(hook));
        let due = due_key(account, hook.endpoint, hook.due, hook.id);
        writing.put(due, rows::encode(&()));
        let size = u64::from(hook.size);
        let line = self.lines.entry(hook.endpoint).or_default();
        line.octets = line.octets().map(|octets| octets + size);
        match line.count {
            0 => line.from = (hook.due, hook.id),
            _ => line.comes(hook.due, hook.id),
        }
        line.count += 1;
        let before = match self.row.pending {
            0 => Some(0),
            _ => self.row.pending_octets,
        };
        self.row.pending_octets = before.map(|octets| octets + size);
        self.row.pending += 1;
    }

    /// Why no hook that says so many octets may wait beside the others; none: it may.
    fn no_room(&self, interest: Interest, endpoint: u32, octets: u64) -> Option<NoRoom> {
        let (hooks, most) = (
            interest.pending_webhooks_max,
            interest.pending_webhook_octets_max,
        );
        let waiting = match self.row.pending {
            0 => 0,
            _ => self.row.pending_octets.unwrap_or(0),
        };
        // Of several endpoints one may have a few, and then as much as is left after all, so that what is broken leaves room to the others.
        let are_several = self.endpoints.iter().filter(|e| !e.removed).count() > 1;
        let line = self.lines.get(&endpoint).filter(|_| are_several);
        let beyond = |own: u64, least: u64| if own < least { 0 } else { own };
        let own = line.map_or(0, |line| line.count);
        let own = beyond(own, ENDPOINT_LEAST);
        let own_octets = line.and_then(LineRow::octets).unwrap_or(0);
        let own_octets = beyond(own_octets, most / ENDPOINT_LEAST_PART);
        let is_full = |waiting: u64, own: u64, more: u64, most: u64| {
            waiting + more > most || own > 0 && waiting + own + more > most
        };
        if is_full(self.row.pending, own, 1, hooks) {
            return Some(NoRoom::Hooks(hooks));
        }
        is_full(waiting, own_octets, octets, most).then_some(NoRoom::Octets(most))
    }

    /// Gives a hook that stays in line another time.
    fn move_to(&mut self, writing: &mut Writing<'_>, hook: &mut HookRow, due: i64) {
        let account = writing.account;
        writing.delete(due_key(account, hook.endpoint, hook.due, hook.id));
        hook.due = due;
        let due = due_key(account, hook.endpoint, hook.due, hook.id);
        writing.put(due, rows::encode(&()));
        writing.put(hook_key(account, hook.id), rows::encode(hook));
        let line = self.lines.entry(hook.endpoint).or_default();
        line.comes(hook.due, hook.id);
    }

    /// Takes a hook out of the line, and keeps it if the account keeps them.
    async fn retire(
        &mut self,
        writing: &mut Writing<'_>,
        hook: HookRow,
        keeps_secs: u64,
        (success, superseded_by): (bool, Option<u64>),
    ) -> Result<(), StoreError> {
        let (account, now) = (writing.account, writing.now);
        writing.delete(hook_key(account, hook.id));
        writing.delete(due_key(account, hook.endpoint, hook.due, hook.id));
        if hook.recipient != 0 && superseded_by.is_none() {
            let key = recipient_key(account, hook.recipient, hook.endpoint);
            let latest = writing.get(&key).await?;
            let latest: Option<u64> = latest.map(|row| rows::decode(&row, what)).transpose()?;
            if latest == Some(hook.id) {
                writing.delete(key);
            }
        }
        self.leave(hook.endpoint, hook.size.into());
        if keeps_secs == 0 {
            return drop_payload(writing, hook.id, Some(hook.size)).await;
        }
        self.row.retired_from = match self.row.retired {
            0 => now,
            _ => self.row.retired_from.min(now),
        };
        self.row.retired += 1;
        writing.put(number_key(account, hook.id), rows::encode(&now));
        let retired = RetiredHook {
            at: now,
            success,
            superseded_by,
            hook,
        };
        let key = retired_key(account, now, retired.hook.id);
        writing.put(key, rows::encode(&retired));
        Ok(())
    }

    /// Takes a hook that can't be read out of its line; nothing is kept of it.
    async fn lose(
        &mut self,
        writing: &mut Writing<'_>,
        endpoint: u32,
        (due, id): (i64, u64),
    ) -> Result<(), StoreError> {
        let account = writing.account;
        let said = payload(writing.shard, account, id).await?;
        let said = said.map_or(0, |payload| payload.len() as u64);
        writing.delete(hook_key(account, id));
        writing.delete(due_key(account, endpoint, due, id));
        self.leave(endpoint, said);
        drop_payload(writing, id, None).await
    }

    /// A hook that says so many octets waits no more.
    fn leave(&mut self, endpoint: u32, octets: u64) {
        if let Some(line) = self.lines.get_mut(&endpoint) {
            line.octets = line.octets.map(|before| before.saturating_sub(octets));
            line.count = line.count.saturating_sub(1);
        }
        self.row.pending = self.row.pending.saturating_sub(1);
        let before = self.row.pending_octets;
        self.row.pending_octets = match self.row.pending {
            0 => Some(0),
            _ => before.map(|before| before.saturating_sub(octets)),
        };
    }

    /// What all cores have to know: of which events anybody is told, and the version of that.
    fn told(&self) -> (u64, HookEvents) {
        let open = self
            .endpoints
            .iter()
            .filter(|e| !e.removed && e.disabled.is_none());
        let events = open.fold(HookEvents::NONE, |all, e| all.and(e.events()));
        (self.row.version, events)
    }
}

/// A book that can't be written.
struct Seen(Book);

impl Deref for Seen {
    type Target = Book;

    fn deref(&self) -> &Book {
        &self.0
    }
}

/// Adds what came of an attempt: the first and the latest stay.
fn note(hook: &mut HookRow, result: HookResult) {
    if hook.results.len() >= RESULTS_MAX {
        hook.results.remove(1);
    }
    hook.results.push(result);
}

/// When a hook was made, by its number: seconds since 1970, about.
fn made_at(id: u64) -> i64 {
    (id >> NUMBER_BITS) as i64
}

fn what() -> String {
    "a webhook".into()
}

/// Nothing is kept of a hook any more: its payload, of so many octets as far as that is known, goes, unless others have the same.
async fn drop_payload(
    writing: &mut Writing<'_>,
    id: u64,
    size: Option<u32>,
) -> Result<(), StoreError> {
    let account = writing.account;
    let sharing = sharing_key(account, id);
    let holder = match size.is_none_or(|size| is_shared(size as usize)) {
        true => writing.get(&sharing).await?,
        false => None,
    };
    let Some(holder) = holder else {
        writing.delete(payload_key(account, id));
        return Ok(());
    };
    let holder: u64 = rows::decode(&holder, what)?;
    writing.delete(sharing);
    let key = count_key(account, holder);
    let count = writing.get(&key).await?;
    let count: u32 = count.map_or(Ok(1), |row| rows::decode(&row, what))?;
    if count > 1 {
        writing.put(key, rows::encode(&(count - 1)));
    } else {
        writing.delete(key);
        writing.delete(payload_key(account, holder));
    }
    Ok(())
}

/// Whether a payload of so many octets is stored once for all hooks that have it.
fn is_shared(octets: usize) -> bool {
    octets >= SHARED_FROM
}

async fn hook_of(writing: &Writing<'_>, id: u64) -> Result<Option<HookRow>, StoreError> {
    let row = writing.get(&hook_key(writing.account, id)).await?;
    row.map(|row| rows::decode(&row, what)).transpose()
}

/// The same for whoever leaves out what can't be read.
async fn readable_hook(writing: &Writing<'_>, id: u64) -> Result<Option<HookRow>, StoreError> {
    let found = hook_of(writing, id).await;
    let key = hook_key(writing.account, id);
    Ok(readable(writing.shard, &key, found)?.flatten())
}

/// A hook that is over and kept.
async fn retired_of(writing: &Writing<'_>, id: u64) -> Result<Option<RetiredHook>, StoreError> {
    let Some(at) = writing.get(&number_key(writing.account, id)).await? else {
        return Ok(None);
    };
    let at: i64 = rows::decode(&at, what)?;
    let row = writing.get(&retired_key(writing.account, at, id)).await?;
    row.map(|row| rows::decode(&row, what)).transpose()
}

fn key_of(account: &str, kind: u8) -> Vec<u8> {
    let mut key = rows::webhooks_key(account);
    key.push(kind);
    key
}

fn with(account: &str, kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = key_of(account, kind);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

fn time(at: i64) -> [u8; 8] {
    (at.max(0) as u64).to_be_bytes()
}

fn account_key(account: &str) -> Vec<u8> {
    key_of(account, b'a')
}

fn endpoint_key(account: &str, id: u32) -> Vec<u8> {
    with(account, b'e', &[&id.to_be_bytes()])
}

fn line_key(account: &str, endpoint: u32) -> Vec<u8> {
    with(account, b'f', &[&endpoint.to_be_bytes()])
}

/// Of all that are due for an endpoint.
fn line_prefix(account: &str, endpoint: u32) -> Vec<u8> {
    with(account, b'd', &[&endpoint.to_be_bytes()])
}

fn due_key(account: &str, endpoint: u32, due: i64, hook: u64) -> Vec<u8> {
    let parts: [&[u8]; 3] = [&endpoint.to_be_bytes(), &time(due), &hook.to_be_bytes()];
    with(account, b'd', &parts)
}

/// When a row of a line is due, and which hook.
fn due_of(key: &[u8]) -> Option<(i64, u64)> {
    let tail = key.last_chunk::<16>()?;
    let (due, hook) = tail.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    Some((i64::try_from(number(due)?).ok()?, number(hook)?))
}

fn hook_key(account: &str, id: u64) -> Vec<u8> {
    with(account, b'p', &[&id.to_be_bytes()])
}

fn payload_key(account: &str, id: u64) -> Vec<u8> {
    with(account, b'b', &[&id.to_be_bytes()])
}

fn sharing_key(account: &str, id: u64) -> Vec<u8> {
    with(account, b's', &[&id.to_be_bytes()])
}

fn count_key(account: &str, id: u64) -> Vec<u8> {
    with(account, b'c', &[&id.to_be_bytes()])
}

fn recipient_key(account: &str, recipient: u64, endpoint: u32) -> Vec<u8> {
    let parts: [&[u8]; 2] = [&recipient.to_be_bytes(), &endpoint.to_be_bytes()];
    with(account, b'q', &parts)
}

fn number_key(account: &str, id: u64) -> Vec<u8> {
    with(account, b'n', &[&id.to_be_bytes()])
}

fn retired_key(account: &str, at: i64, id: u64) -> Vec<u8> {
    with(account, b'r', &[&time(at), &id.to_be_bytes()])
}

/// Endpoints of an account.
pub const ENDPOINTS_MAX: usize = 20;
/// Calls at once to an endpoint.
pub const CONCURRENCY_MAX: u8 = 32;
/// Their rows, with those that are being removed.
const ENDPOINT_ROWS_MAX: usize = 100;
/// Octets of a payload from which on it is stored once. Shorter ones take less than the rows that say so.
const SHARED_FROM: usize = 2 << 10;
const ACCOUNT_VERSION: u8 = 2;
const ACCOUNT_FIRST: u8 = 1;
/// Hooks that may wait for an endpoint though it has more than its share.
const ENDPOINT_LEAST: u64 = 100;
/// The same of the octets that may wait: a part of them.
const ENDPOINT_LEAST_PART: u64 = 1_000;
const LINE_VERSION: u8 = 3;
/// Without pauses and octets.
const LINE_SECOND: u8 = 2;
/// Results that are kept of a hook.
const RESULTS_MAX: usize = 24;
/// Bits of a hook's number below the second in which it was made: so 2^53, from where on numbers of JSON have gaps, is reached in the year 2242.
const NUMBER_BITS: u32 = 20;
