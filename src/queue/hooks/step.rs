//! The way of a hook: taken for an attempt, and what came of it. docs/WEBHOOKS.md has the order, and what a kill behind each step leaves.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use shards::storage::Shard;
use webapi::hook::wait_after;

use super::{
    Book, EndpointRow, HookResult, HookRow, HooksTurn, LineRow, due_key, due_of, hook_key, hook_of,
    is_shared, key_of, line_prefix, note, readable_hook, recipient_key, retired_key, retired_of,
    sharing_key, what,
};
use crate::queue::events::Writing;
use crate::store::{StoreError, readable, rows};

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

/// What whoever calls an endpoint wishes of its rows.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Which.
    pub endpoint: u32,
    /// The hook whose attempt is over, and what came of it: to be recorded.
    pub finished: Option<(u64, Outcome)>,
    /// The next hook is to be taken for an attempt.
    pub claims: bool,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What is kept of it.
    pub result: HookResult,
    /// What it asks for.
    pub follows: Follows,
}

/// What follows from an attempt that was no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Another one, when it is due.
    Another,
    /// Another one, but not before so many seconds have passed: the receiver asks for that.
    NotBefore(u64),
    /// The receiver says that the endpoint is gone: it is switched off.
    Gone,
    /// None: there is nothing to be sent.
    Nothing,
}

/// A hook that is taken for an attempt: that it was is durable. What it says, whoever calls reads.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// With the attempt counted.
    pub hook: HookRow,
    /// To whom.
    pub endpoint: EndpointRow,
}

/// What came of a wish.
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

/// Records what came of attempts and takes the next hooks, all that is wished, in one commit: it is durable when it returns. Answers each wish in
/// its place. Hooks under way, by endpoint, are not taken again.
pub async fn steps(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    terms: &Terms,
    wishes: &[Wish],
    under_way: &HashMap<u32, HashSet<u64>>,
    (now, random): (i64, u64),
) -> Result<Vec<Step>, StoreError> {
    let mut writing = Writing::new(shard, turn, now);
    let mut book = Book::open(&mut writing).await?;
    let finished = wishes.iter().filter_map(|wish| wish.finished.as_ref());
    let hooks: Vec<u64> = finished.map(|(hook, _)| *hook).collect();
    load(&mut writing, &hooks).await?;
    for wish in wishes {
        if let Some(finished) = wish.finished.clone() {
            let endpoint = wish.endpoint;
            finish(&mut writing, &mut book, endpoint, terms, finished, random).await?;
        }
    }
    let mut fronts: BTreeMap<u32, Front> = BTreeMap::new();
    for wish in wishes {
        fronts.entry(wish.endpoint).or_default().wished += usize::from(wish.claims);
    }
    let none = HashSet::new();
    for (endpoint, front) in &mut fronts {
        let Some(row) = book.endpoint(*endpoint).filter(|row| !row.removed).cloned() else {
            continue;
        };
        if row.disabled.is_none() {
            let under_way = under_way.get(endpoint).unwrap_or(&none);
            let terms = (terms, random);
            claim(&mut writing, &mut book, *endpoint, terms, under_way, front).await?;
        }
        front.row = Some(row);
    }
    let pending = book.row.pending;
    book.close(&mut writing);
    writing.commit().await?;
    let answer = |wish: &Wish| {
        fronts
            .entry(wish.endpoint)
            .or_default()
            .answer(wish, pending)
    };
    Ok(wishes.iter().map(answer).collect())
}

/// The front of an endpoint's line.
#[derive(Default)]
struct Front {
    /// None: there is no such endpoint.
    row: Option<EndpointRow>,
    /// Hooks that are to be taken.
    wished: usize,
    /// Those that were, the first one first.
    claimed: VecDeque<HookRow>,
    /// When the first of the others is due; none: none waits.
    next_due: Option<i64>,
}

impl Front {
    fn answer(&mut self, wish: &Wish, pending: u64) -> Step {
        let Some(endpoint) = &self.row else {
            return Step {
                pending,
                ..Step::default()
            };
        };
        let hook = match wish.claims {
            true => self.claimed.pop_front(),
            false => None,
        };
        Step {
            claimed: hook.map(|hook| Claimed {
                hook,
                endpoint: endpoint.clone(),
            }),
            next_due: self.next_due,
            concurrency: endpoint.concurrency,
            is_failing: endpoint.failing_since.is_some(),
            owes_mail: endpoint.mail_owed.is_some(),
            pending,
        }
    }
}

/// Reads what is needed of hooks whose attempts are over, all at once.
async fn load(writing: &mut Writing<'_>, hooks: &[u64]) -> Result<(), StoreError> {
    let account = writing.account;
    let keys = hooks.iter().map(|id| hook_key(account, *id));
    writing.load(keys.collect()).await?;
    let mut keys = Vec::new();
    for id in hooks {
        if let Some(hook) = hook_of(writing, *id).await? {
            if is_shared(hook.size as usize) {
                keys.push(sharing_key(account, hook.id));
            }
            keys.push(recipient_key(account, hook.recipient, hook.endpoint));
        }
    }
    writing.load(keys).await
}

/// After a stop: hooks of an account whose calls were under way are due at once.
pub async fn resume(shard: &Rc<Shard>, turn: &HooksTurn, now: i64) -> Result<(), StoreError> {
    let mut writing = Writing::new(shard, turn, now);
    let mut book = Book::open(&mut writing).await?;
    let of_account = (book.row.pending > 0).then_some(book.row.pending_octets);
    let mut counted = book.lines.values().map(LineRow::octets).chain(of_account);
    if counted.any(|octets| octets.is_none()) {
        // They were written before octets were counted, or the line can't be read.
        let all = count(shard, writing.account).await?;
        book.row.pending_octets = Some(all.values().map(|(_, octets)| octets).sum());
        for (endpoint, line) in &mut book.lines {
            let (hooks, octets) = all.get(endpoint).copied().unwrap_or_default();
            // Those that can't be read are not among these.
            line.count = line.count.max(hooks);
            line.octets = Some(octets);
        }
    }
    let lines = book.lines.iter_mut();
    let under_way: Vec<u64> = lines
        .flat_map(|(_, line)| std::mem::take(&mut line.under_way))
        .collect();
    for id in under_way {
        if let Some(mut hook) = readable_hook(&writing, id).await? {
            book.move_to(&mut writing, &mut hook, now);
        }
    }
    book.close(&mut writing);
    writing.commit().await.map(|_| ())
}

/// How many hooks of an account wait for each endpoint, and what they say, in octets.
async fn count(shard: &Rc<Shard>, account: &str) -> Result<BTreeMap<u32, (u64, u64)>, StoreError> {
    let prefix = key_of(account, b'p');
    let (mut from, mut all) = (prefix.clone(), BTreeMap::<u32, (u64, u64)>::new());
    loop {
        let found = shard.scan(prefix.clone(), from, SLICE).await?;
        let Some((last, _)) = found.last() else {
            return Ok(all);
        };
        from = [last.as_slice(), &[0]].concat();
        for (key, row) in found {
            let hook: Option<HookRow> = readable(shard, &key, rows::decode(&row, what))?;
            if let Some(hook) = hook {
                let (hooks, octets) = all.entry(hook.endpoint).or_default();
                *hooks += 1;
                *octets += u64::from(hook.size);
            }
        }
    }
}

async fn finish(
    writing: &mut Writing<'_>,
    book: &mut Book,
    endpoint: u32,
    terms: &Terms,
    (id, outcome): (u64, Outcome),
    random: u64,
) -> Result<(), StoreError> {
    let Outcome { result, follows } = outcome;
    let (success, at) = (result.success, result.at);
    if let Some(line) = book.lines.get_mut(&endpoint) {
        line.under_way.retain(|other| *other != id);
        if let Follows::NotBefore(secs) = follows {
            line.pause(writing.now.saturating_add_unsigned(secs));
        }
    }
    match hook_of(writing, id).await? {
        Some(mut hook) => {
            note(&mut hook, result);
            let wait = wait_after(hook.attempts, &terms.waits, spread(random, id));
            match wait.filter(|_| !success && follows != Follows::Nothing) {
                // A pause is the line's, and holds this one back too, until it ends.
                Some(wait) => {
                    let due = writing.now.saturating_add_unsigned(wait);
                    book.move_to(writing, &mut hook, due);
                }
                None => {
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
    // Where nothing could be sent nobody failed but us.
    let row = book.endpoint_mut(endpoint);
    let Some(row) = row.filter(|_| follows != Follows::Nothing) else {
        return Ok(());
    };
    if success {
        row.failing_since = None;
        return Ok(());
    }
    let since = *row.failing_since.get_or_insert(at);
    let failed_for = writing.now.saturating_sub(since);
    let why = match follows {
        Follows::Gone => Some("it answered that it is gone (410)".to_string()),
        _ if failed_for >= terms.disable_after_secs as i64 => Some(format!(
            "it failed for {} without any success",
            length(failed_for)
        )),
        _ => None,
    };
    if why.is_some() && row.disabled.is_none() && !row.removed {
        row.disabled = why;
        row.mail_owed = Some(id);
        book.endpoints_changed(writing.now);
    }
    Ok(())
}

/// Another number for each hook, so that those of one commit do not come back together.
fn spread(random: u64, hook: u64) -> u64 {
    random ^ hook.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn length(secs: i64) -> String {
    match secs {
        172_800.. => format!("{} days", secs / 86_400),
        7_200.. => format!("{} hours", secs / 3_600),
        120.. => format!("{} minutes", secs / 60),
        secs => format!("{secs} seconds"),
    }
}

/// Looks at the front of an endpoint's line, and takes as many of the first that are due as are wished.
async fn claim(
    writing: &mut Writing<'_>,
    book: &mut Book,
    endpoint: u32,
    (terms, random): (&Terms, u64),
    under_way: &HashSet<u64>,
    front: &mut Front,
) -> Result<(), StoreError> {
    let account = writing.account;
    let Some(line) = book.lines.get(&endpoint) else {
        return Ok(());
    };
    let prefix = line_prefix(account, endpoint);
    let from = line.first_key(account, endpoint);
    let limit = under_way.len() + front.wished + 1;
    let found = writing.scan_from(&prefix, from, limit).await?;
    let (mut first, mut next) = (None, Vec::new());
    for (key, _) in found {
        let Some((due, id)) = due_of(&key) else {
            continue;
        };
        first.get_or_insert((due, id));
        if under_way.contains(&id) {
            continue;
        }
        match due <= writing.now && next.len() < front.wished {
            true => next.push((key, id)),
            false => {
                front.next_due.get_or_insert(due);
            }
        }
    }
    let keys = next.iter().map(|(_, id)| hook_key(account, *id));
    writing.load(keys.collect()).await?;
    for (key, id) in next {
        let hook = hook_of(writing, id).await;
        let hook = readable(writing.shard, &hook_key(account, id), hook)?;
        let Some(Some(mut hook)) = hook else {
            writing.delete(key);
            // A row of ours is gone that nobody erases alone: there is nothing to send. One that can't be read lets the others go before it.
            if hook.is_none() {
                let later = writing.now.saturating_add_unsigned(UNREADABLE_SECS);
                let due = due_key(account, endpoint, later, id);
                writing.put(due, rows::encode(&()));
            }
            continue;
        };
        hook.attempts += 1;
        let last = terms.waits.last().copied().unwrap_or(60);
        let wait = wait_after(hook.attempts, &terms.waits, spread(random, id)).unwrap_or(last);
        // If nothing is heard of the attempt, it has come to its end before the next one.
        let due = writing
            .now
            .saturating_add_unsigned(wait + terms.timeout_secs);
        book.move_to(writing, &mut hook, due);
        if let Some(line) = book.lines.get_mut(&endpoint) {
            line.under_way.push(hook.id);
        }
        front.claimed.push_back(hook);
    }
    // Nothing is due before the first that was found: what was taken of it has a later time now.
    let line = book.lines.entry(endpoint).or_default();
    match first {
        Some(first) => line.from = first,
        None => {
            *line = LineRow {
                from: (writing.now, 0),
                paused_until: line.paused_until,
                ..LineRow::default()
            }
        }
    }
    if front.next_due.is_none() && line.count > 0 {
        // Behind those that were looked at.
        front.next_due = front.claimed.iter().map(|hook| hook.due).min();
    }
    Ok(())
}

/// Seconds for which a hook that can't be read lets the others go before it.
const UNREADABLE_SECS: u64 = 86_400;
/// Rows that are read at a time.
const SLICE: usize = 500;
