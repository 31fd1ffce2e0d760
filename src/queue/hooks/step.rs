//! The way of a hook: taken for an attempt, and what came of it. docs/WEBHOOKS.md has the order, and what a kill behind each step leaves.

use std::collections::HashSet;
use std::rc::Rc;

use shards::storage::Shard;
use webapi::hook::wait_after;

use super::{
    Book, EndpointRow, HookResult, HookRow, HooksTurn, LineRow, due_of, hook_of, line_prefix, note,
    payload_key, retired_key, retired_of,
};
use crate::queue::events::Writing;
use crate::store::{StoreError, rows};

/// What attempts go by.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Seconds between the attempts.
    pub waits: Vec<u64>,
    /// How long one may take.
    pub timeout_secs: u64,
    /// How long hooks are kept that are over; 0: not at all.
    pub keeps_secs: u64,
    /// After how many seconds of failures an endpoint is switched off.
    pub disable_after_secs: u64,
}

/// A hook that is taken for an attempt: that it was is durable.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// With the attempt counted.
    pub hook: HookRow,
    /// What it says.
    pub payload: Vec<u8>,
    /// To whom.
    pub endpoint: EndpointRow,
}

/// What a step did.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The next one to be sent.
    pub claimed: Option<Claimed>,
    /// When the first of the others is due; none: none waits.
    pub next_due: Option<i64>,
    /// Calls at once.
    pub concurrency: u8,
    /// The endpoint fails, or is switched off.
    pub is_failing: bool,
    /// Its account has to be told that it was switched off.
    pub owes_mail: bool,
    /// Hooks of the account that wait.
    pub pending: u64,
}

/// Records what came of an attempt, if one is over, and takes the next hook, if that is wished: in one commit, which is durable when it returns.
/// Those under way are not taken again.
pub async fn step(
    shard: &Rc<Shard>,
    (turn, endpoint): (&HooksTurn, u32),
    terms: &Terms,
    finished: Option<(u64, HookResult)>,
    under_way: Option<&HashSet<u64>>,
    (now, random): (i64, u64),
) -> Result<Step, StoreError> {
    let mut writing = Writing::new(shard, turn, now);
    let mut book = Book::open(&mut writing).await?;
    if let Some((hook, result)) = finished {
        finish(
            &mut writing,
            &mut book,
            endpoint,
            terms,
            (hook, result),
            random,
        )
        .await?;
    }
    let mut step = Step::default();
    let row = book.endpoint(endpoint).cloned();
    if let Some(row) = row.filter(|row| !row.removed) {
        step.concurrency = row.concurrency;
        step.is_failing = row.failing_since.is_some();
        step.owes_mail = row.mail_owed.is_some();
        if row.disabled.is_none() {
            claim(
                &mut writing,
                &mut book,
                &row,
                terms,
                under_way,
                &mut step,
                random,
            )
            .await?;
        }
    }
    step.pending = book.row.pending;
    book.close(&mut writing);
    writing.commit().await?;
    Ok(step)
}

/// After a stop: hooks of an account whose calls were under way are due at once.
pub async fn resume(shard: &Rc<Shard>, turn: &HooksTurn, now: i64) -> Result<(), StoreError> {
    let mut writing = Writing::new(shard, turn, now);
    let mut book = Book::open(&mut writing).await?;
    let lines = book.lines.iter_mut();
    let under_way: Vec<u64> = lines
        .flat_map(|(_, line)| std::mem::take(&mut line.under_way))
        .collect();
    for id in under_way {
        if let Some(mut hook) = hook_of(&writing, id).await? {
            book.move_to(&mut writing, &mut hook, now);
        }
    }
    book.close(&mut writing);
    writing.commit().await.map(|_| ())
}

async fn finish(
    writing: &mut Writing<'_>,
    book: &mut Book,
    endpoint: u32,
    terms: &Terms,
    (id, result): (u64, HookResult),
    random: u64,
) -> Result<(), StoreError> {
    let (success, at) = (result.success, result.at);
    if let Some(line) = book.lines.get_mut(&endpoint) {
        line.under_way.retain(|other| *other != id);
    }
    match hook_of(writing, id).await? {
        Some(mut hook) => {
            note(&mut hook, result);
            let wait = wait_after(hook.attempts, &terms.waits, random);
            match (success, wait) {
                (false, Some(wait)) => {
                    let due = writing.now.saturating_add_unsigned(wait);
                    book.move_to(writing, &mut hook, due);
                }
                _ => {
                    book.retire(writing, hook, terms.keeps_secs, (success, None))
                        .await?
                }
            }
        }
        // It was over before its attempt was: what came of it is noted, and nothing follows.
        None => {
            if let Some(mut retired) = retired_of(writing, id).await? {
                let why = match retired.superseded_by {
                    Some(_) => "(superseded)",
                    None => "(canceled)",
                };
                let error = format!("{} {why}", result.error).trim_start().to_string();
                note(&mut retired.hook, HookResult { error, ..result });
                retired.success |= success;
                let key = retired_key(writing.account, retired.at, id);
                writing.put(key, rows::encode(&retired));
            }
        }
    }
    let Some(row) = book.endpoint_mut(endpoint) else {
        return Ok(());
    };
    if success {
        row.failing_since = None;
        return Ok(());
    }
    let since = *row.failing_since.get_or_insert(at);
    let is_over = writing.now.saturating_sub(since) >= terms.disable_after_secs as i64;
    if is_over && row.disabled.is_none() && !row.removed {
        row.disabled = Some(format!(
            "it failed for {} without any success",
            length(writing.now.saturating_sub(since))
        ));
        row.mail_owed = Some(id);
        book.endpoints_changed(writing.now);
    }
    Ok(())
}

fn length(secs: i64) -> String {
    match secs {
        172_800.. => format!("{} days", secs / 86_400),
        7_200.. => format!("{} hours", secs / 3_600),
        120.. => format!("{} minutes", secs / 60),
        secs => format!("{secs} seconds"),
    }
}

/// Looks at the front of an endpoint's line, and takes the first that is due, unless nobody wishes one.
async fn claim(
    writing: &mut Writing<'_>,
    book: &mut Book,
    endpoint: &EndpointRow,
    terms: &Terms,
    under_way: Option<&HashSet<u64>>,
    step: &mut Step,
    random: u64,
) -> Result<(), StoreError> {
    let account = writing.account;
    let Some(line) = book.lines.get(&endpoint.id) else {
        return Ok(());
    };
    let prefix = line_prefix(account, endpoint.id);
    let from = [prefix.as_slice(), &super::time(line.from)].concat();
    let limit = under_way.map_or(0, HashSet::len) + 2;
    let found = writing.scan_from(&prefix, from, limit).await?;
    let mut first = None;
    let mut wished = under_way;
    for (key, _) in found {
        let Some((due, id)) = due_of(&key) else {
            continue;
        };
        first.get_or_insert(due);
        let is_next = due <= writing.now && wished.is_some_and(|others| !others.contains(&id));
        if !is_next {
            if under_way.is_none_or(|others| !others.contains(&id)) {
                step.next_due.get_or_insert(due);
            }
            continue;
        }
        let (hook, payload) = (
            hook_of(writing, id).await?,
            writing.get(&payload_key(account, id)).await?,
        );
        let Some(mut hook) = hook else {
            // A row of ours is gone that nobody erases alone: there is nothing to send.
            writing.delete(key);
            continue;
        };
        let Some(payload) = payload else {
            let end = (false, None);
            book.retire(writing, hook, terms.keeps_secs, end).await?;
            continue;
        };
        wished = None;
        hook.attempts += 1;
        let last = terms.waits.last().copied().unwrap_or(60);
        let wait = wait_after(hook.attempts, &terms.waits, random).unwrap_or(last);
        // If nothing is heard of the attempt, it has come to its end before the next one.
        let due = writing
            .now
            .saturating_add_unsigned(wait + terms.timeout_secs);
        book.move_to(writing, &mut hook, due);
        if let Some(line) = book.lines.get_mut(&endpoint.id) {
            line.under_way.push(hook.id);
        }
        step.claimed = Some(Claimed {
            hook,
            payload,
            endpoint: endpoint.clone(),
        });
    }
    // Nothing is due before the first that was found: what was taken of it has a later time now.
    let line = book.lines.entry(endpoint.id).or_default();
    match first {
        Some(first) => line.from = first,
        None => {
            *line = LineRow {
                from: writing.now,
                ..LineRow::default()
            }
        }
    }
    if step.next_due.is_none()
        && let Some(line) = book.lines.get(&endpoint.id)
        && line.count > 0
    {
        // Behind those that were looked at.
        step.next_due = step.claimed.as_ref().map(|claimed| claimed.hook.due);
    }
    Ok(())
}
