//! Recipients that are over, kept with their results for their account: rows in its shard, for as long as the account's settings say.
//!
//! | key, behind `H` account NUL | row |
//! |---|---|
//! | `a` | how many there are, and when the oldest ended: the first of the account's |
//! | `n` number | when the recipient with that number ended |
//! | `t` time number | what became of a recipient |
//! | `c`, `w` | see `returned` |
//!
//! So those of an account lie in the order in which they ended, which is that in which they go. Whoever reads them begins where the oldest lies:
//! rows that were erased are walked over until fjall has merged them away, and in front there is nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shards::index::Index;
use shards::rt;
use shards::storage::{Batch, Shard};

use super::events::{Event, EventKind, Interest, Question, Reads, Writing};
use super::hooks::Hooks;
use super::most::Most;
use super::returned::{self, ReturnedResult, clue_keys};
use super::rows::{Attempt, EarlierAttempt};
use super::select::{domain_of, has, same_domain};
use super::warm_up::WarmUpKey;
use crate::store::{StoreError, readable, rows};

/// What became of a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredRow {
    /// The recipient's number.
    pub id: u64,
    /// How it ended.
    pub result: EventKind,
    /// When, seconds since 1970.
    pub at: i64,
    /// With its angle brackets; empty if it has none.
    pub message_id: String,
    /// RFC 3461 4.4, as it came.
    pub envid: Option<String>,
    /// Empty for the null path.
    pub reverse_path: String,
    /// As the sender named it.
    pub recipient: String,
    /// RFC 3461 4.2, as it came.
    pub orcpt: Option<String>,
    /// How many recipients the message had.
    pub recipients: u32,
    /// When the message was accepted.
    pub accepted: i64,
    /// Octets of the message.
    pub size: u64,
    /// Attempts that were made.
    pub attempts: u32,
    /// Why, if it was not delivered: the last server's words, or ours.
    pub text: String,
    /// The bounce class, in the words of docs/bounces.md; empty for a success.
    pub class: String,
    /// The first attempt and the latest.
    pub history: Vec<Attempt>,
    /// From which address of a pool, to which site it was delivered, if the address counts what comes of it.
    pub warm_up: Option<WarmUpKey>,
    /// What came back about it: the first and the latest.
    pub returned: Vec<ReturnedResult>,
    /// What the submitter said of the message for himself, by key.
    pub extra: BTreeMap<String, String>,
    /// Of the message, if webhooks told it.
    pub subject: String,
    /// What made the recipient's MAIL FROM unique, if webhooks told it.
    pub from_id: String,
    /// Which of all that came back each of `returned` is, from 1 on: as many.
    pub returned_numbers: Vec<u32>,
}

impl RetiredRow {
    /// Of what became of a recipient in the end.
    pub fn of(event: &Event) -> RetiredRow {
        RetiredRow {
            id: event.id.id,
            result: event.id.kind,
            at: event.at.max(0),
            message_id: event.message_id.clone(),
            subject: event.subject.clone(),
            from_id: event.from_id.clone(),
            envid: event.envid.clone(),
            reverse_path: event.reverse_path.clone(),
            recipient: event.recipient.clone(),
            orcpt: event.orcpt.clone(),
            recipients: event.recipients,
            accepted: event.accepted,
            size: event.size,
            attempts: event.id.attempt,
            text: event.text.clone(),
            class: event.class.map_or_else(String::new, |c| c.to_string()),
            history: event.history.clone(),
            warm_up: event.warm_up.clone(),
            returned: Vec::new(),
            extra: event.extra.clone(),
            returned_numbers: Vec::new(),
        }
    }

    /// Adds what came back, in place of one if that is said.
    pub(super) fn add_returned(&mut self, result: ReturnedResult, replaced: Option<usize>) {
        let last = self.returned_numbers.last().copied().unwrap_or(0);
        if let Some(at) = replaced.filter(|at| *at < self.returned.len()) {
            self.returned.remove(at);
            self.returned_numbers.remove(at);
        }
        self.returned.push(result);
        self.returned_numbers.push(last.saturating_add(1));
    }
}

/// A row as it was before attempts said to what the server answered.
#[derive(Deserialize)]
struct Second {
    id: u64,
    result: EventKind,
    at: i64,
    message_id: String,
    envid: Option<String>,
    reverse_path: String,
    recipient: String,
    orcpt: Option<String>,
    recipients: u32,
    accepted: i64,
    size: u64,
    attempts: u32,
    text: String,
    class: String,
    history: Vec<EarlierAttempt>,
    warm_up: Option<WarmUpKey>,
    returned: Vec<ReturnedResult>,
    extra: BTreeMap<String, String>,
    subject: String,
    from_id: String,
}

impl From<Second> for RetiredRow {
    fn from(row: Second) -> RetiredRow {
        RetiredRow {
            id: row.id,
            result: row.result,
            at: row.at,
            message_id: row.message_id,
            envid: row.envid,
            reverse_path: row.reverse_path,
            recipient: row.recipient,
            orcpt: row.orcpt,
            recipients: row.recipients,
            accepted: row.accepted,
            size: row.size,
            attempts: row.attempts,
            text: row.text,
            class: row.class,
            history: row.history.into_iter().map(Attempt::from).collect(),
            warm_up: row.warm_up,
            returned: row.returned,
            extra: row.extra,
            subject: row.subject,
            from_id: row.from_id,
            returned_numbers: Vec::new(),
        }
    }
}

/// Reads a row. The first version had neither subject nor fromid, the second not to what servers answered, the third no numbers of what came back.
fn decode_row(bytes: &[u8]) -> Result<RetiredRow, StoreError> {
    let second = |bytes: &[u8]| rows::decode_version(SECOND, bytes, what).map(Second::into);
    let mut row: RetiredRow = match bytes.split_first() {
        // Two texts without octets.
        Some((&FIRST, rest)) => second(&[&[SECOND], rest, &[0, 0]].concat()),
        Some((&SECOND, _)) => second(bytes),
        Some((&THIRD, rest)) => {
            rows::decode_version(VERSION, &[&[VERSION], rest, &[0]].concat(), what)
        }
        _ => rows::decode_version(VERSION, bytes, what),
    }?;
    if row.returned_numbers.len() != row.returned.len() {
        row.returned_numbers = (1u32..).take(row.returned.len()).collect();
    }
    Ok(row)
}

/// Whether a recipient is to be kept.
pub(super) fn wants(question: &Question<'_>) -> bool {
    question.kind.is_final() && question.interest.keeps_retired_secs > 0
}

/// Keeps it.
pub(super) async fn take(
    event: &Event,
    interest: Interest,
    writing: &mut Writing<'_>,
) -> Result<(), StoreError> {
    if !is_kept(event, interest) {
        return Ok(());
    }
    let mut row = RetiredRow::of(event);
    let account = writing.account;
    let number = number_key(account, row.id);
    let mut kept = match writing.get(&kept_key(account)).await? {
        Some(kept) => rows::decode(&kept, what)?,
        None => KeptRow::default(),
    };
    match by_number(writing, row.id).await? {
        // A recipient has one end: the last that is told.
        Some(before) => {
            writing.delete(row_key(account, before.at, before.id));
            for key in clue_keys(account, &before) {
                writing.delete(key);
            }
            row.returned = before.returned;
            row.returned_numbers = before.returned_numbers;
        }
        None => kept.count += 1,
    }
    kept.from = match kept.count {
        1 => row.at,
        _ => kept.from.min(row.at),
    };
    writing.put(kept_key(account), rows::encode(&kept));
    writing.put(number, rows::encode(&row.at));
    for key in clue_keys(account, &row) {
        writing.put(key, rows::encode(&()));
    }
    put(writing, &row);
    Ok(())
}

/// Writes what is kept of a recipient.
pub(super) fn put(writing: &mut Writing<'_>, row: &RetiredRow) {
    writing.put(
        row_key(writing.account, row.at, row.id),
        rows::encode_version(VERSION, row),
    );
}

/// What is kept of the recipient with a number.
pub(super) async fn by_number(
    writing: &Writing<'_>,
    id: u64,
) -> Result<Option<RetiredRow>, StoreError> {
    match writing.get(&number_key(writing.account, id)).await? {
        Some(ended) => at(writing, rows::decode(&ended, what)?, id).await,
        None => Ok(None),
    }
}

fn is_kept(event: &Event, interest: Interest) -> bool {
    let is_end = event.id.kind.is_final() && event.by_report.is_none();
    is_end && interest.keeps_retired_secs > 0
}

/// What [`take`] will read, and what takes what came back before the end.
pub(super) fn reads(event: &Event, interest: Interest, account: &str, reads: &mut Reads) {
    if is_kept(event, interest) {
        let id = event.id.id;
        reads
            .keys
            .extend([kept_key(account), number_key(account, id)]);
        reads.prefixes.push(returned::waiting_of(account, id));
    }
}

/// What is kept of a recipient that ended then.
pub(super) async fn at(
    writing: &Writing<'_>,
    ended: i64,
    id: u64,
) -> Result<Option<RetiredRow>, StoreError> {
    let row = writing.get(&row_key(writing.account, ended, id)).await?;
    row.map(|row| decode_row(&row)).transpose()
}

/// What is kept of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KeptRow {
    /// Recipients.
    count: u64,
    /// None of them ended before this, seconds since 1970.
    from: i64,
}

fn what() -> String {
    "what became of a recipient".into()
}

/// The key of a row of an account, by its kind.
pub(super) fn key_of(account: &str, kind: u8) -> Vec<u8> {
    let mut key = rows::retired_key(account);
    key.push(kind);
    key
}

fn kept_key(account: &str) -> Vec<u8> {
    key_of(account, b'a')
}

fn number_key(account: &str, id: u64) -> Vec<u8> {
    [key_of(account, b'n').as_slice(), &id.to_be_bytes()].concat()
}

/// Of those that ended then or later.
fn time_key(account: &str, at: i64) -> Vec<u8> {
    let at = (at.max(0) as u64).to_be_bytes();
    [key_of(account, b't').as_slice(), &at].concat()
}

fn row_key(account: &str, at: i64, id: u64) -> Vec<u8> {
    [time_key(account, at).as_slice(), &id.to_be_bytes()].concat()
}

/// When a recipient ended and its number, from the key of its row.
fn time_and_number(account: &str, key: &[u8]) -> Option<(i64, u64)> {
    let rest = key.strip_prefix(key_of(account, b't').as_slice())?;
    let (at, id) = rest.split_first_chunk::<8>()?;
    let at = i64::try_from(u64::from_be_bytes(*at)).ok()?;
    Some((at, u64::from_be_bytes(id.try_into().ok()?)))
}

/// Behind all rows of an account: NUL ends its name.
fn behind(account: &str) -> Vec<u8> {
    let mut key = rows::retired_key(account);
    key.pop();
    key.push(1);
    key
}

/// Whose a row is.
fn account_of(key: &[u8]) -> Option<String> {
    let rest = key.strip_prefix(rows::RETIRED)?;
    let end = rest.iter().position(|b| *b == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

/// The first account from a key on that has rows.
async fn next_account(shard: &Rc<Shard>, mut from: Vec<u8>) -> Result<Option<String>, StoreError> {
    loop {
        let first = shard.scan(rows::RETIRED.to_vec(), from, 1).await?;
        let Some((key, _)) = first.into_iter().next() else {
            return Ok(None);
        };
        match account_of(&key) {
            Some(account) => return Ok(Some(account)),
            // Not ours: it stays.
            None => from = [key.as_slice(), &[0]].concat(),
        }
    }
}

async fn kept_of(shard: &Rc<Shard>, account: &str) -> Result<Option<KeptRow>, StoreError> {
    let row = shard.get(kept_key(account)).await?;
    row.map(|row| rows::decode(&row, what)).transpose()
}

/// Which of them: all that is said must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetiredFilter {
    /// Whose.
    pub account: Option<String>,
    /// A part of the reverse-path; `@` and a domain; `<>`: the null path.
    pub from: Option<String>,
    /// A part of the recipient's address; `@` and a domain.
    pub to: Option<String>,
    /// The recipient's domain.
    pub domain: Option<String>,
    /// How it ended.
    pub result: Option<EventKind>,
    /// Accepted before this, seconds since 1970.
    pub accepted_before: Option<i64>,
    /// Accepted then or later.
    pub accepted_after: Option<i64>,
}

impl RetiredFilter {
    fn fits(&self, row: &RetiredRow) -> bool {
        let is = |wanted: &Option<String>, fits: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(fits)
        };
        is(&self.from, &|text| has(&row.reverse_path, text))
            && is(&self.to, &|text| has(&row.recipient, text))
            && is(&self.domain, &|domain| {
                same_domain(domain, domain_of(&row.recipient))
            })
            && self.result.is_none_or(|result| result == row.result)
            && self
                .accepted_before
                .is_none_or(|limit| row.accepted < limit)
            && self
                .accepted_after
                .is_none_or(|limit| row.accepted >= limit)
    }
}

/// A page: what fits of the rows after a key, each with whose it is; and where to go on, if the shard has more.
pub type RetiredPage = (Vec<(String, RetiredRow)>, Option<Vec<u8>>);

/// Looks at the rows after a key: at so many, fewer where they are long, or few accounts have them.
pub async fn page(
    shard: &Rc<Shard>,
    filter: &RetiredFilter,
    mut after: Option<Vec<u8>>,
    mut most: Most,
) -> Result<RetiredPage, StoreError> {
    let mut account = match (&filter.account, &after) {
        (Some(account), _) => Some(account.clone()),
        (None, Some(after)) => account_of(after),
        (None, None) => next_account(shard, rows::RETIRED.to_vec()).await?,
    };
    let mut fit = Vec::new();
    for _ in 0..ACCOUNTS_OF_PAGE {
        let Some(of) = account else {
            return Ok((fit, None));
        };
        if let Some(kept) = kept_of(shard, &of).await? {
            let first = time_key(&of, kept.from);
            let from = match after.take() {
                Some(after) => first.max([after.as_slice(), &[0]].concat()),
                None => first,
            };
            let bounds = (most.entries.max(1), most.octets);
            let (found, is_cut) = shard.scan_within(key_of(&of, b't'), from, bounds).await?;
            let mut last = None;
            for (key, row) in found {
                let (octets, row) = (row.len(), decode_row(&row)?);
                last = Some(key);
                if filter.fits(&row) {
                    most.take(row.octets());
                    fit.push((of.clone(), row));
                } else {
                    most.take(octets);
                }
                if most.is_used_up() {
                    break;
                }
                rt::yield_if_needed().await;
            }
            if is_cut || most.is_used_up() {
                return Ok((fit, last));
            }
        }
        account = match filter.account {
            Some(_) => None,
            None => next_account(shard, behind(&of)).await?,
        };
    }
    Ok((fit, account.map(|account| kept_key(&account))))
}

/// What is kept of one.
pub async fn find(
    shard: &Rc<Shard>,
    account: &str,
    id: u64,
) -> Result<Option<RetiredRow>, StoreError> {
    let Some(ended) = shard.get(number_key(account, id)).await? else {
        return Ok(None);
    };
    let ended = rows::decode(&ended, what)?;
    let row = shard.get(row_key(account, ended, id)).await?;
    row.map(|row| decode_row(&row)).transpose()
}

/// Those of these recipients that are kept.
pub async fn among(
    shard: &Rc<Shard>,
    account: &str,
    ids: &[u64],
) -> Result<BTreeSet<u64>, StoreError> {
    let mut kept = BTreeSet::new();
    for slice in ids.chunks(SLICE) {
        let keys: Vec<Vec<u8>> = slice.iter().map(|id| number_key(account, *id)).collect();
        let read = move |index: &Index| {
            let read = keys.iter().map(|key| index.get(key));
            read.collect::<Result<Vec<_>, _>>()
        };
        let found = slice.iter().zip(shard.read(read).await?);
        kept.extend(found.filter_map(|(id, row)| row.map(|_| *id)));
    }
    Ok(kept)
}

/// Erases what was kept long enough: `kept` says for how many seconds an account's are, and nothing of one that is gone. No account has more than
/// `most` afterwards: its oldest go. Answers how many.
pub async fn prune(
    shard: &Rc<Shard>,
    hooks: &Hooks,
    (now, most): (i64, u64),
    kept: impl Fn(&str) -> u64,
) -> Result<u64, StoreError> {
    let mut from = rows::RETIRED.to_vec();
    let mut pruned = 0;
    while let Some(account) = next_account(shard, from).await? {
        let end = match kept(&account) {
            0 => i64::MAX,
            secs => now.saturating_sub(i64::try_from(secs).unwrap_or(i64::MAX)),
        };
        loop {
            // Others have their turns between two slices.
            let _turn = hooks.turn(&account).await;
            let erased = erase(shard, &account, end, most).await?;
            pruned += erased as u64;
            if erased < SLICE {
                break;
            }
        }
        pruned += returned::prune(shard, hooks, &account, now - returned::WAITS).await?;
        from = behind(&account);
    }
    Ok(pruned)
}

/// Erases a slice of an account's rows, from the oldest on: what ended before a time, and what is more than so many. Answers how many.
async fn erase(shard: &Rc<Shard>, account: &str, end: i64, most: u64) -> Result<usize, StoreError> {
    let kept = kept_of(shard, account).await;
    let kept = readable(shard, &kept_key(account), kept)?.flatten();
    let Some(mut kept) = kept else {
        return Ok(0);
    };
    let excess = kept.count.saturating_sub(most);
    let from = time_key(account, kept.from);
    let found = shard.scan(key_of(account, b't'), from, SLICE).await?;
    let (is_all, before) = (found.len() < SLICE, kept);
    let mut batch = Batch::default();
    let mut erased = 0;
    let mut left = None;
    for (key, row) in found {
        let Some((at, id)) = time_and_number(account, &key) else {
            continue;
        };
        kept.from = at;
        if at >= end && erased as u64 >= excess {
            left = Some(at);
            break;
        }
        batch.delete(key);
        batch.delete(number_key(account, id));
        match decode_row(&row) {
            Ok(row) => clue_keys(account, &row)
                .into_iter()
                .for_each(|key| batch.delete(key)),
            // It goes when its time has come, like the others. What leads to it finds nothing from then on.
            Err(error) => {
                tracing::warn!(shard = %shard.id(), account, id, %error, "a row that can't be read was erased");
            }
        }
        erased += 1;
    }
    kept.count = kept.count.saturating_sub(erased as u64);
    match is_all && left.is_none() {
        true => batch.delete(kept_key(account)),
        false if kept == before => return Ok(0),
        false => batch.put(kept_key(account), rows::encode(&kept)),
    }
    let permit = shard.permit(SLICE * 512, false, PATIENCE).await?;
    shard.commit(permit, batch).await?;
    Ok(erased)
}

/// Recipients of an account that are kept, about: more are there for an hour at most.
pub const RETIRED_MAX: u64 = 1_000_000;
const VERSION: u8 = 4;
const THIRD: u8 = 3;
const SECOND: u8 = 2;
const FIRST: u8 = 1;
/// Accounts that a page looks at.
const ACCOUNTS_OF_PAGE: usize = 100;
/// Rows that are erased in one commit.
const SLICE: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);
