//! What becomes of recipients, as events, for whoever subscribed to them in the account's shard. docs/QUEUE.md has the order, and what a kill
//! behind each step leaves.
//!
//! An event that a subscriber wants is owed from the commit that records the outcome on ([`RecipientRow::events`]), carried to the owner of the
//! account, committed there with all that its subscribers make of it, and then crossed out. It has a number ([`EventId`]), under which it is
//! taken once. What nobody wants is not owed: a delivery of an account that keeps nothing costs what it did before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use dsn::{Bounce, BounceClass, Hardness, Suppression};
use serde::{Deserialize, Serialize};
use shards::index::{IndexError, Row};
use shards::storage::{Batch, Shard};

use super::hooks::HooksTurn;
use super::rows::{Attempt, AttemptStage, MessageRow, RecipientRow, State};
use super::warm_up::WarmUpKey;
use super::{hooks, retired, returned, suppression};
use crate::settings::Settings;
use crate::store::{StoreError, readable, rows};

/// What became of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// It is in its mailbox, or the next hop has taken it and reports by itself.
    Delivered,
    /// The next hop has taken it, and does not know of reports.
    Relayed,
    /// An attempt failed; another one follows.
    Deferred,
    /// It was given up: refused for good, too late, or by hand.
    Failed,
    /// It was taken out by hand.
    Dropped,
    /// It was given up before it was tried, for its address is on the account's suppression list.
    Suppressed,
    /// By a report alone: it went to the members of a list or an alias.
    Expanded,
    /// By a report alone: the recipient, or their provider, calls it spam.
    Complaint,
    /// Something came to the address that it was sent from that is no report.
    Unrecognized,
}

impl EventKind {
    /// Whether nothing follows it.
    pub fn is_final(self) -> bool {
        self != EventKind::Deferred
    }

    fn is_success(self) -> bool {
        matches!(self, EventKind::Delivered | EventKind::Relayed)
    }

    /// What a change of a recipient's row means, as far as the row says.
    fn of_change(before: &RecipientRow, after: &RecipientRow) -> Option<EventKind> {
        match after.state {
            State::Waiting | State::Held => {
                (after.attempts > before.attempts).then_some(EventKind::Deferred)
            }
            state if state == before.state => None,
            State::Delivered => Some(EventKind::Delivered),
            State::Failed => Some(EventKind::Failed),
            State::Dropped => Some(EventKind::Dropped),
        }
    }
}

/// An event that has still to reach the account's shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedEvent {
    /// What.
    pub kind: EventKind,
    /// After how many attempts.
    pub attempt: u32,
    /// When, seconds since 1970.
    pub at: i64,
}

impl OwedEvent {
    /// Of a recipient as it is now.
    pub fn new(kind: EventKind, row: &RecipientRow, now: i64) -> OwedEvent {
        OwedEvent {
            kind,
            attempt: row.attempts,
            at: now,
        }
    }
}

/// The number of an event: a recipient's, how many attempts were made, and what came of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The recipient's number.
    pub id: u64,
    /// After how many attempts.
    pub attempt: u32,
    /// What.
    pub kind: EventKind,
}

impl EventId {
    fn key(self, account: &str) -> Vec<u8> {
        let mut key = rows::events_key(account);
        key.extend_from_slice(&self.id.to_be_bytes());
        key.extend_from_slice(&self.attempt.to_be_bytes());
        key.push(self.kind as u8);
        key
    }
}

/// What subscribers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub id: EventId,
    /// When, seconds since 1970.
    pub at: i64,
    /// Whose message it is.
    pub account: String,
    /// With its angle brackets; empty if it has none.
    pub message_id: String,
    /// Of the message, if anybody wants to know it: whoever carries the event reads it.
    pub subject: String,
    /// What made the recipient's MAIL FROM unique; empty: it was not, or nobody wants to know it.
    pub from_id: String,
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
    /// Their numbers, as far as they are known.
    pub numbers: Range<u64>,
    /// When the message was accepted.
    pub accepted: i64,
    /// Octets of the message.
    pub size: u64,
    /// Who answered; empty: nobody.
    pub remote: String,
    /// The reply's code; 0: nobody answered.
    pub code: u16,
    /// RFC 3463.
    pub enhanced: Option<(u8, u16, u16)>,
    /// The words of the server, or ours.
    pub text: String,
    /// Of what is no success: why.
    pub class: Option<BounceClass>,
    /// Of the last one: the first attempt and the latest.
    pub history: Vec<Attempt>,
    /// What the submitter said of the message for himself, by key.
    pub extra: BTreeMap<String, String>,
    /// From which address of a pool, to which site it was delivered, if the address counts what comes of it.
    pub warm_up: Option<WarmUpKey>,
    /// It was told by a report that came back, of a recipient that was over: how sure it is which. It has a number like an event of ours, but
    /// may come more than once, with other words.
    pub by_report: Option<Evidence>,
}

/// How sure it is which recipient a report speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Only who has seen the message can have sent it.
    Proof,
    /// Other recipients can have guessed what it says.
    Claim,
    /// It speaks of somebody else, whom the message came to behind the recipient: a list's member.
    OfAnother,
}

impl Event {
    /// An event that is owed.
    pub fn of(
        message: &MessageRow,
        index: u32,
        id: u64,
        row: &RecipientRow,
        owed: OwedEvent,
    ) -> Event {
        // The latest attempts end with the last one; of those before the first kept one nothing is known any more.
        let back = row.attempts.saturating_sub(owed.attempt) as usize;
        let at = row.history.len().checked_sub(back + 1);
        let attempt = at.and_then(|at| row.history.get(at));
        let is_by_hand = row.given_up.is_some() && owed.kind == EventKind::Failed
            || owed.kind == EventKind::Dropped;
        let attempt = attempt.filter(|_| !is_by_hand);
        let recipient = message.recipients.get(index as usize);
        Event {
            id: EventId {
                id,
                attempt: owed.attempt,
                kind: owed.kind,
            },
            at: owed.at,
            account: message.account.clone(),
            message_id: message.message_id_of(id),
            subject: String::new(),
            from_id: String::new(),
            envid: message.envid.clone(),
            reverse_path: message.reverse_path.clone(),
            recipient: recipient.map_or_else(String::new, |r| r.address.clone()),
            orcpt: recipient.and_then(|r| r.orcpt.clone()),
            // In a batch each recipient has a message of its own.
            recipients: match message.batch {
                Some(_) => 1,
                None => u32::try_from(message.recipients.len()).unwrap_or(u32::MAX),
            },
            numbers: match message.batch {
                Some(_) => id..id + 1,
                None => {
                    let first = id - u64::from(index);
                    first..first + message.recipients.len() as u64
                }
            },
            accepted: message.accepted,
            size: message.size,
            remote: attempt.map_or_else(String::new, |a| a.remote.clone()),
            code: attempt.map_or(0, |a| a.code),
            enhanced: attempt.and_then(|a| a.enhanced),
            text: attempt.map_or_else(
                || row.given_up.clone().unwrap_or_default(),
                |a| a.text.clone(),
            ),
            class: (attempt.filter(|_| !owed.kind.is_success()))
                .map(|attempt| bounce(attempt).class),
            history: match owed.kind.is_final() {
                true => row.history.clone(),
                false => Vec::new(),
            },
            extra: message.extra.clone(),
            warm_up: row.warm_up.clone(),
            by_report: None,
        }
    }
}

/// A failed attempt, judged.
pub(super) fn bounce(attempt: &Attempt) -> Bounce {
    let status = attempt.enhanced.map(status);
    let judged = Bounce::of(smtp::Code::new(attempt.code), status, &attempt.text);
    if may_be_about_recipient(attempt) {
        return judged;
    }
    let class = match judged.class {
        BounceClass::InvalidMailbox
        | BounceClass::InvalidDomain
        | BounceClass::MailboxDisabled
        | BounceClass::MailboxFull => {
            // A code that speaks of the recipient where it answers RCPT does not elsewhere: 552 to MAIL is about the size.
            Bounce::of(None, status, &attempt.text).class
        }
        class => class,
    };
    Bounce {
        class,
        hardness: Hardness::Soft,
        suppression: Suppression::Never,
    }
}

/// Whether what a server said can be about the recipient's address. RFC 5321 4.3.2 has 550, 552 and 553 as replies to MAIL, where no recipient was named
/// yet, and 550, 552 and 554 as what may be said to a message as a whole; RFC 3463 3.2 and 3.3: X.1.Y and X.2.Y are about addresses and mailboxes.
fn may_be_about_recipient(attempt: &Attempt) -> bool {
    match attempt.stage {
        // Of rows of before nothing better is known.
        None | Some(AttemptStage::Recipient) => true,
        Some(AttemptStage::Data) => matches!(attempt.enhanced, Some((_, 1 | 2, _))),
        Some(
            AttemptStage::Connect
            | AttemptStage::Hello
            | AttemptStage::Mail
            | AttemptStage::SharedData
            | AttemptStage::Line,
        ) => false,
    }
}

/// RFC 3463, as rows have it.
pub(super) fn status((class, subject, detail): (u8, u16, u16)) -> smtp::EnhancedStatus {
    smtp::EnhancedStatus {
        class,
        subject,
        detail,
    }
}

/// What an account's settings want of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Addresses that fail for good are put on its suppression list.
    pub suppresses: bool,
    /// How long recipients that are over are kept; 0: they are not.
    pub keeps_retired_secs: u64,
    /// How long webhooks that are over are kept; 0: they are not.
    pub keeps_webhooks_secs: u64,
    /// Webhooks that may wait.
    pub pending_webhooks_max: u64,
    /// Octets of what these may say.
    pub pending_webhook_octets_max: u64,
}

impl Interest {
    /// Of an account; none: there is no such account.
    pub fn of(settings: &Settings, account: &str) -> Option<Interest> {
        let own = settings.accounts.get(account)?;
        let (queue, webhooks) = (&settings.server.queue, &settings.server.webhooks);
        Some(Interest {
            suppresses: own.suppress_on_failure.unwrap_or(queue.suppress_on_failure),
            keeps_retired_secs: own
                .keep_retired_secs
                .unwrap_or(queue.keep_retired_secs)
                .duration()
                .as_secs(),
            keeps_webhooks_secs: own
                .keep_webhooks_secs
                .unwrap_or(webhooks.keep_webhooks_secs)
                .duration()
                .as_secs(),
            pending_webhooks_max: webhooks.pending_per_account_max,
            pending_webhook_octets_max: webhooks.pending_per_account_max_bytes.get(),
        })
    }
}

/// What is asked of subscribers on the core of the queue, for each outcome: it must not take long.
pub struct Question<'a> {
    /// What became of the recipient.
    pub kind: EventKind,
    /// Its row.
    pub row: &'a RecipientRow,
    /// What its account's settings want.
    pub interest: Interest,
    /// Whether something is stored of the address in the account's list, or that is not known.
    pub may_be_listed: bool,
    /// Whether an endpoint is told of it, or that is not known.
    pub may_be_hooked: bool,
}

/// Who is told of events, in the account's shard. The one place where another is added.
#[derive(Clone, Copy, Debug)]
pub enum Subscriber {
    /// Recipients that are over, kept for a time.
    Retired,
    /// The account's suppression list.
    Suppression,
    /// Addresses of pools that count complaints.
    WarmUp,
    /// Receivers of the account's webhooks.
    Webhooks,
}

impl Subscriber {
    /// In their order: those of webhooks tell what the event did to the suppression list.
    const ALL: [Subscriber; 4] = [
        Subscriber::Retired,
        Subscriber::Suppression,
        Subscriber::WarmUp,
        Subscriber::Webhooks,
    ];

    fn wants(self, question: &Question<'_>) -> bool {
        match self {
            Subscriber::Retired => retired::wants(question),
            Subscriber::Suppression => suppression::wants(question),
            // Complaints come back, and are never owed.
            Subscriber::WarmUp => false,
            Subscriber::Webhooks => hooks::wants(question),
        }
    }

    /// Adds what follows from an event to what is committed with it.
    async fn take(
        self,
        event: &Event,
        interest: Interest,
        writing: &mut Writing<'_>,
    ) -> Result<(), StoreError> {
        match self {
            Subscriber::Retired => retired::take(event, interest, writing).await,
            Subscriber::Suppression => suppression::take(event, interest, writing).await,
            Subscriber::WarmUp => {
                let key = event.warm_up.clone();
                // What others can have guessed says nothing of the readers.
                let is_proof = event.by_report == Some(Evidence::Proof);
                let key = key.filter(|_| event.id.kind == EventKind::Complaint && is_proof);
                writing.done.complaints.extend(key);
                Ok(())
            }
            Subscriber::Webhooks => hooks::take(event, interest, writing).await,
        }
    }
}

/// Adds what a change of a row tells to what it owes, if anybody wants it; an end is noted in any case. What the change says by itself (`row.events`) goes before what
/// can be seen.
pub(super) fn owe(
    before: &RecipientRow,
    row: &mut RecipientRow,
    now: i64,
    wanted: impl Fn(EventKind, &RecipientRow) -> bool,
) {
    let known = before.events.len().min(row.events.len());
    let mut new = row.events.split_off(known);
    if new.is_empty() {
        let seen = EventKind::of_change(before, row);
        new.extend(seen.map(|kind| OwedEvent::new(kind, row, now)));
    }
    for owed in new {
        if owed.kind.is_success() {
            // It was given up by hand during the attempt, and nobody has been told: that was too late.
            row.events.retain(|owed| !owed.kind.is_final());
        }
        if owed.kind.is_final() {
            row.ended = Some(owed);
        }
        if wanted(owed.kind, row) {
            row.events.push(owed);
        }
    }
}

/// Whether any subscriber wants an event.
pub(super) fn is_wanted(question: &Question<'_>) -> bool {
    Subscriber::ALL
        .iter()
        .any(|subscriber| subscriber.wants(question))
}

/// What is about to be committed together in an account's shard, and read as if it were.
///
/// Whoever writes has the turn of the account's hooks, for an event may make some.
pub struct Writing<'a> {
    /// The account's.
    pub shard: &'a Rc<Shard>,
    /// Whose.
    pub account: &'a str,
    /// Seconds since 1970.
    pub now: i64,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Rows as they are stored, read before they are asked for.
    loaded: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// The same of the first rows of prefixes.
    scanned: HashMap<Vec<u8>, Vec<Row>>,
    /// Of all that was put, about.
    octets: usize,
    done: Consequences,
    /// The small rows of the account's webhooks, once they were read.
    pub(super) hooks: Option<hooks::Book>,
    /// The event that put its address on the suppression list.
    pub(super) suppressing: Option<EventId>,
}

/// What will be read: rows, and the first rows of prefixes.
#[derive(Default)]
pub(super) struct Reads {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) prefixes: Vec<(Vec<u8>, usize)>,
}

/// What others have to hear of once it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// Every core: hashes that are in the suppression list now, or no longer.
    pub listed: Vec<(u64, bool)>,
    /// Owners of what addresses of pools may send: about a complaint each.
    pub complaints: Vec<WarmUpKey>,
    /// The flow of webhooks: endpoints that are to be told something.
    pub hooked: BTreeSet<u32>,
}

impl Consequences {
    fn add(&mut self, more: Consequences) {
        self.listed.extend(more.listed);
        self.complaints.extend(more.complaints);
        self.hooked.extend(more.hooked);
    }
}

impl<'a> Writing<'a> {
    pub(super) fn new(shard: &'a Rc<Shard>, turn: &'a HooksTurn, now: i64) -> Writing<'a> {
        Writing {
            shard,
            account: turn.account(),
            now,
            changes: BTreeMap::new(),
            loaded: HashMap::new(),
            scanned: HashMap::new(),
            octets: 0,
            done: Consequences::default(),
            hooks: None,
            suppressing: None,
        }
    }

    pub(super) async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changes.get(key).or_else(|| self.loaded.get(key)) {
            Some(known) => Ok(known.clone()),
            None => Ok(self.shard.get(key.to_vec()).await?),
        }
    }

    /// Reads rows all at once that [`Writing::get`] will be asked for. Nobody else may change them meanwhile, so they are rows that have a turn.
    pub(super) async fn load(&mut self, keys: Vec<Vec<u8>>) -> Result<(), StoreError> {
        self.load_all(Reads {
            keys,
            ..Reads::default()
        })
        .await
    }

    /// The same with the first rows of prefixes, that [`Writing::scan`] will be asked for once.
    async fn load_all(&mut self, reads: Reads) -> Result<(), StoreError> {
        let Reads { keys, prefixes } = reads;
        if keys.is_empty() && prefixes.is_empty() {
            return Ok(());
        }
        let read = self.shard.read(move |index| {
            let row = |key: Vec<u8>| {
                let row = index.get(&key)?;
                Ok((key, row))
            };
            let rows = keys.into_iter().map(row);
            let rows = rows.collect::<Result<Vec<_>, IndexError>>()?;
            let scan = |(prefix, limit): (Vec<u8>, usize)| {
                let found = index.scan(&prefix, &prefix, limit)?;
                Ok((prefix, found))
            };
            let scans = prefixes.into_iter().map(scan);
            Ok((rows, scans.collect::<Result<Vec<_>, IndexError>>()?))
        });
        let (rows, scans) = read.await?;
        self.loaded.extend(rows);
        self.scanned.extend(scans);
        Ok(())
    }

    /// Commits what there is, and goes on with what was read, as it is now.
    async fn commit_and_go_on(&mut self) -> Result<Consequences, StoreError> {
        let next = Writing {
            changes: BTreeMap::new(),
            loaded: std::mem::take(&mut self.loaded),
            scanned: std::mem::take(&mut self.scanned),
            octets: 0,
            done: Consequences::default(),
            hooks: None,
            suppressing: None,
            ..*self
        };
        let full = std::mem::replace(self, next);
        for (key, change) in &full.changes {
            if let Some(row) = self.loaded.get_mut(key) {
                row.clone_from(change);
            }
        }
        // What was changed of these is read anew.
        let is_changed = |prefix: &Vec<u8>| {
            let mut from = full.changes.range(prefix.clone()..);
            from.next().is_some_and(|(key, _)| key.starts_with(prefix))
        };
        self.scanned.retain(|prefix, _| !is_changed(prefix));
        full.commit().await
    }

    /// The first rows of a prefix.
    pub(super) async fn scan(
        &self,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.scan_from(prefix, prefix.to_vec(), limit).await
    }

    /// The first rows of a prefix from a key on.
    pub(super) async fn scan_from(
        &self,
        prefix: &[u8],
        from: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let changes = self.changes.range(from.clone()..);
        let changes: Vec<_> = changes.take_while(|(k, _)| k.starts_with(prefix)).collect();
        let is_loaded = from == prefix && changes.is_empty();
        let loaded = is_loaded.then(|| self.scanned.get(prefix)).flatten();
        if let Some(rows) = loaded {
            return Ok(rows.iter().take(limit).cloned().collect());
        }
        // One for each that may be gone.
        let found = self
            .shard
            .scan(prefix.to_vec(), from, limit + changes.len());
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = found.await?.into_iter().collect();
        for (key, change) in changes {
            match change {
                Some(row) => rows.insert(key.clone(), row.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }

    pub(super) fn put(&mut self, key: Vec<u8>, row: Vec<u8>) {
        self.octets += key.len() + row.len();
        self.changes.insert(key, Some(row));
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }

    /// Every core has to know whether an address is in the list.
    pub(super) fn listed(&mut self, hash: u64, is_listed: bool) {
        self.done.listed.push((hash, is_listed));
    }

    /// Something is to be told to an endpoint.
    pub(super) fn hooked(&mut self, endpoint: u32) {
        self.done.hooked.insert(endpoint);
    }

    /// Durable when it returns.
    pub(super) async fn commit(self) -> Result<Consequences, StoreError> {
        if self.changes.is_empty() {
            return Ok(self.done);
        }
        let octets =
            |(key, row): (&Vec<u8>, &Option<Vec<u8>>)| key.len() + row.as_ref().map_or(0, Vec::len);
        let bytes = self.changes.iter().map(octets).sum();
        let permit = self.shard.permit(bytes, false, PATIENCE).await?;
        let mut batch = Batch::default();
        for (key, row) in self.changes {
            match row {
                Some(row) => batch.put(key, row),
                None => batch.delete(key),
            }
        }
        self.shard.commit(permit, batch).await?;
        Ok(self.done)
    }
}

/// Events on their way to the owner of their account.
#[derive(Debug)]
pub struct Told {
    /// At most [`EVENTS_MAX`].
    pub events: Vec<Event>,
    /// Numbers of events that were told before, and are crossed out: nobody repeats them.
    pub over: Vec<EventId>,
}

/// Takes events in an account's shard: each once, with all that its subscribers make of it in the same commit. There are as few commits as octets allow. Answers what others
/// have to hear, also if a later commit has failed.
pub async fn take(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    interest: Interest,
    told: &Told,
    now: i64,
) -> (Consequences, Result<(), StoreError>) {
    let mut done = Consequences::default();
    let taken = take_all(shard, turn, interest, (told, now), &mut done).await;
    (done, taken)
}

async fn take_all(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    interest: Interest,
    (told, now): (&Told, i64),
    done: &mut Consequences,
) -> Result<(), StoreError> {
    let account = turn.account();
    let mut writing = Writing::new(shard, turn, now);
    let mut reads = Reads::default();
    for event in &told.events {
        reads.keys.push(event.id.key(account));
        retired::reads(event, interest, account, &mut reads);
        suppression::reads(event, interest, account, &mut reads);
    }
    hooks::reads(&told.events, &mut writing, &mut reads).await?;
    writing.load_all(reads).await?;
    for event in &told.events {
        let key = event.id.key(account);
        // Taken before, or twice among these.
        if writing.get(&key).await?.is_some() {
            continue;
        }
        tell(event, interest, &mut writing).await?;
        if event.id.kind.is_final() && interest.keeps_retired_secs > 0 {
            returned::take_waiting(&mut writing, interest, event.id.id).await?;
        }
        writing.put(key, rows::encode(&now));
        if writing.octets >= COMMIT_OCTETS {
            done.add(writing.commit_and_go_on().await?);
        }
    }
    for id in &told.over {
        writing.delete(id.key(account));
    }
    done.add(writing.commit().await?);
    Ok(())
}

/// Tells all subscribers.
pub(super) async fn tell(
    event: &Event,
    interest: Interest,
    writing: &mut Writing<'_>,
) -> Result<(), StoreError> {
    for subscriber in Subscriber::ALL {
        subscriber.take(event, interest, writing).await?;
    }
    Ok(())
}

/// Forgets numbers of events that were taken so long ago that nobody repeats them: a stop came before they were forgotten. Answers how many.
pub async fn prune(shard: &Rc<Shard>, before: i64) -> Result<u64, StoreError> {
    let mut from = rows::EVENTS.to_vec();
    let mut pruned = 0;
    loop {
        let found = shard.scan(rows::EVENTS.to_vec(), from, SLICE).await?;
        let Some((last, _)) = found.last() else {
            return Ok(pruned);
        };
        from = [last.as_slice(), &[0]].concat();
        let mut batch = Batch::default();
        for (key, row) in found {
            let taken = rows::decode(&row, || "the number of an event".into());
            let taken: Option<i64> = readable(shard, &key, taken)?;
            if taken.is_some_and(|taken| taken < before) {
                batch.delete(key);
                pruned += 1;
            }
        }
        if !batch.is_empty() {
            let permit = shard.permit(SLICE * 64, false, PATIENCE).await?;
            shard.commit(permit, batch).await?;
        }
    }
}

/// Events in one call.
pub const EVENTS_MAX: usize = 500;
/// Octets of what is committed together, about: many events may each have a long payload.
const COMMIT_OCTETS: usize = 1 << 20;
/// Seconds for which the number of an event is remembered at most.
pub const REMEMBERED: i64 = 60 * 86_400;
const SLICE: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);
