//! What comes back about mail that went out: reports of other servers and complaints of readers. The shard of the account whose message it is
//! finds the recipient it speaks of among those that are over (`retired`), keeps there what came back, and tells the subscribers. Called by whoever
//! receives mail (`Call::Returned`). Not here: how a message that came in is read. What it says is untrusted.
//!
//! | key, behind `H` account NUL | row |
//! |---|---|
//! | `c` hash time number | a recipient that is over, by what a report may name and by its address; the latest first |
//! | `w` number digest index | what came back before the end of its recipient was told |
//!
//! RFC 3461 5.1 (ORCPT, ENVID), 3464 (reports), 5965 (complaints).

use std::rc::Rc;
use std::time::Duration;

use dsn::{Bounce, BounceClass};
use serde::{Deserialize, Serialize};
use shards::storage::{Batch, Shard};

use super::events::{
    Consequences, Event, EventId, EventKind, Evidence, Interest, Writing, status, tell,
};
use super::hooks::{Hooks, HooksTurn};
use super::retired::{self, RetiredRow};
use crate::settings::names::canonical_domain;
use crate::store::{StoreError, readable, rows};

/// What a message that came in says of one recipient of a message that went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// How it names its message, best first. The first that finds one counts.
    pub clues: Vec<Clue>,
    /// The recipient it speaks of, and the one the sender had named (RFC 3461 4.2), as addresses.
    pub recipients: Vec<String>,
    /// What it says.
    pub kind: ReturnedKind,
    /// The code of the server's reply; 0: it is not known.
    pub code: u16,
    /// RFC 3463.
    pub enhanced: Option<(u8, u16, u16)>,
    /// The words of the server.
    pub text: String,
    /// Of a failure or a delay: why.
    pub class: Option<BounceClass>,
    /// The host that reports; empty: it does not say.
    pub reporting_mta: String,
    /// SHA-256 of the message that came in, the first 16 octets.
    pub digest: [u8; 16],
    /// The position of the recipient in it. What has the same digest and position is taken once.
    pub index: u32,
    /// When it came, seconds since 1970.
    pub at: i64,
}

/// How what came back names the message it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clue {
    /// The number of the recipient, which only who has seen the message can know: it came to an address that holds it.
    Number(u64),
    /// The number of the message's first recipient: its returned header holds it.
    Message(u64),
    /// The address that it came to, as a whole: a reverse-path to which the client itself gave an id.
    OwnId(String),
    /// RFC 3461 4.4, decoded.
    Envid(String),
    /// With its angle brackets.
    MessageId(String),
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReturnedKind {
    /// It was not delivered.
    Failed,
    /// It is late.
    Delayed,
    /// It is in its mailbox.
    Delivered,
    /// A server has it that knows of no reports.
    Relayed,
    /// It went to the members of a list or an alias.
    Expanded,
    /// The recipient, or their provider, calls it spam. RFC 5965.
    Complaint,
    /// It came to the address of a message that went out, and is no report that can be read.
    Unrecognized,
}

/// What was found for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenReturned {
    /// The recipient with this number: it is kept there.
    Found {
        /// The recipient's number.
        id: u64,
    },
    /// The message is on its way out, or its end is not told yet: it is kept until then, for an hour.
    Waiting,
    /// No message that is kept.
    Nothing,
}

impl ReturnedKind {
    /// A word for programs.
    pub fn word(self) -> &'static str {
        match self {
            ReturnedKind::Failed => "failed",
            ReturnedKind::Delayed => "delayed",
            ReturnedKind::Delivered => "delivered",
            ReturnedKind::Relayed => "relayed",
            ReturnedKind::Expanded => "expanded",
            ReturnedKind::Complaint => "complaint",
            ReturnedKind::Unrecognized => "unrecognized",
        }
    }

    /// What subscribers are told.
    fn event(self) -> EventKind {
        match self {
            ReturnedKind::Failed => EventKind::Failed,
            ReturnedKind::Delayed => EventKind::Deferred,
            ReturnedKind::Delivered => EventKind::Delivered,
            ReturnedKind::Relayed => EventKind::Relayed,
            ReturnedKind::Expanded => EventKind::Expanded,
            ReturnedKind::Complaint => EventKind::Complaint,
            ReturnedKind::Unrecognized => EventKind::Unrecognized,
        }
    }
}

/// How a message was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// By the address of its own that it was sent from.
    Fromid,
    /// By an id of the client's.
    OwnId,
    /// RFC 3461 4.4.
    Envid,
    /// By its Message-ID.
    MessageId,
    /// By the number in its header, which all who got it from its one recipient have seen too; that one is named.
    Token,
    /// By the number in its header, which others have seen: it had several recipients, or nobody is named.
    SharedToken,
    /// As `Fromid`, and somebody else is spoken of: a member of a list, or whoever the recipient's mail is led on to.
    FromidOther,
    /// As `Token`, and somebody else is spoken of.
    TokenOther,
}

impl FoundBy {
    /// A word for programs.
    pub fn word(self) -> &'static str {
        match self {
            FoundBy::Fromid => "fromid",
            FoundBy::OwnId => "own_id",
            FoundBy::Envid => "envid",
            FoundBy::MessageId => "message_id",
            FoundBy::Token => "token",
            FoundBy::SharedToken => "shared_token",
            FoundBy::FromidOther => "fromid_other",
            FoundBy::TokenOther => "token_other",
        }
    }

    /// What it says about the recipient. A fromid stands in the envelope alone, so the next hop knows it, and whoever forwards with the reverse-path as it
    /// is (RFC 5321 3.9.1) or reads the Return-Path (4.4). A list has a reverse-path of its own (3.9.2), and hands on the header, so its members know what
    /// stands there. The rest can be guessed, by other recipients for example.
    pub fn evidence(self) -> Evidence {
        match self {
            FoundBy::Fromid => Evidence::Proof,
            FoundBy::FromidOther | FoundBy::TokenOther => Evidence::OfAnother,
            FoundBy::Token
            | FoundBy::SharedToken
            | FoundBy::OwnId
            | FoundBy::Envid
            | FoundBy::MessageId => Evidence::Claim,
        }
    }
}

/// What came back, as it is kept with the recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnedResult {
    /// When, seconds since 1970.
    pub at: i64,
    /// What.
    pub kind: ReturnedKind,
    /// How its message was found.
    pub by: FoundBy,
    /// The reply's code; 0: it is not known.
    pub code: u16,
    /// RFC 3463.
    pub enhanced: Option<(u8, u16, u16)>,
    /// The words of the server, no more than so many.
    pub text: String,
    /// The bounce class, in the words of docs/bounces.md; empty: none.
    pub class: String,
    /// The host that reports; empty: it does not say.
    pub reporting_mta: String,
    /// As in [`Returned`].
    pub digest: [u8; 16],
    /// As in [`Returned`].
    pub index: u32,
}

impl ReturnedResult {
    fn of(returned: &Returned, by: FoundBy) -> ReturnedResult {
        let judged = || {
            let code = smtp::Code::new(returned.code);
            Bounce::of(code, returned.enhanced.map(status), &returned.text).class
        };
        let class = match returned.kind {
            ReturnedKind::Failed | ReturnedKind::Delayed => {
                Some(returned.class.unwrap_or_else(judged))
            }
            _ => None,
        };
        ReturnedResult {
            at: returned.at,
            kind: returned.kind,
            by,
            code: returned.code,
            enhanced: returned.enhanced,
            text: cut(&returned.text, TEXT_MAX),
            class: class.map_or_else(String::new, |c| c.to_string()),
            reporting_mta: cut(&returned.reporting_mta, MTA_MAX),
            digest: returned.digest,
            index: returned.index,
        }
    }

    fn is_same(&self, digest: [u8; 16], index: u32) -> bool {
        (self.digest, self.index) == (digest, index)
    }

    /// What subscribers are told.
    fn event(&self, row: &RetiredRow, account: &str) -> Event {
        Event {
            id: EventId {
                id: row.id,
                attempt: row.attempts,
                kind: self.kind.event(),
            },
            at: self.at,
            account: account.to_string(),
            message_id: row.message_id.clone(),
            subject: row.subject.clone(),
            from_id: row.from_id.clone(),
            envid: row.envid.clone(),
            reverse_path: row.reverse_path.clone(),
            recipient: row.recipient.clone(),
            orcpt: row.orcpt.clone(),
            recipients: row.recipients,
            numbers: row.id..row.id + 1,
            accepted: row.accepted,
            size: row.size,
            remote: self.reporting_mta.clone(),
            code: self.code,
            enhanced: self.enhanced,
            text: self.text.clone(),
            class: BounceClass::from_word(&self.class),
            history: Vec::new(),
            warm_up: row.warm_up.clone(),
            extra: row.extra.clone(),
            by_report: Some(self.by.evidence()),
        }
    }
}

fn cut(text: &str, most: usize) -> String {
    let end = (0..=text.len().min(most)).rfind(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].to_string()
}

/// One that waits for the end of its recipient.
#[derive(Debug, Serialize, Deserialize)]
struct WaitingRow {
    /// When it was taken, by our clock.
    since: i64,
    result: ReturnedResult,
    /// Whom it speaks of.
    named: Vec<String>,
}

impl WaitingRow {
    /// Reads a row. The first version did not say whom it speaks of.
    fn decode(bytes: &[u8]) -> Result<WaitingRow, StoreError> {
        #[derive(Deserialize)]
        struct First {
            since: i64,
            result: ReturnedResult,
        }
        if bytes.first() == Some(&WAITING_VERSION) {
            return rows::decode_version(WAITING_VERSION, bytes, what);
        }
        let First { since, result } = rows::decode(bytes, what)?;
        Ok(WaitingRow {
            since,
            result,
            named: Vec::new(),
        })
    }
}

/// Takes what came back, all in one commit: durable when it returns. Answers what was found, and what others have to hear.
pub async fn take(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    interest: Interest,
    returned: &[Returned],
    now: i64,
) -> Result<Taken, StoreError> {
    let mut writing = Writing::new(shard, turn, now);
    let mut found = Vec::with_capacity(returned.len());
    for one in returned.iter().take(RETURNED_MAX) {
        found.push(take_one(&mut writing, interest, one).await?);
    }
    Ok(Taken {
        done: writing.commit().await?,
        found,
    })
}

/// What was found for one, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What the caller hears.
    pub taken: TakenReturned,
    /// None: nothing was found.
    pub by: Option<FoundBy>,
    /// It was not taken before.
    pub is_new: bool,
}

/// What [`take`] answers.
pub struct Taken {
    /// In their order.
    pub found: Vec<Found>,
    /// What others have to hear.
    pub done: Consequences,
}

async fn take_one(
    writing: &mut Writing<'_>,
    interest: Interest,
    returned: &Returned,
) -> Result<Found, StoreError> {
    // Without the rows of recipients that are over there is nothing to find, nor to wait for.
    let clues = match interest.keeps_retired_secs {
        0 => [].iter(),
        _ => returned.clues.iter(),
    };
    for clue in clues.take(CLUES_MAX) {
        let (row, by) = match clue {
            Clue::Number(id) => match retired::by_number(writing, *id).await? {
                Some(row) => {
                    let by = by_number(&row, returned.kind, &names(returned));
                    (Some(row), by)
                }
                None => {
                    let is_kept = wait(writing, *id, returned).await?;
                    let taken = match is_kept {
                        Kept::No => TakenReturned::Nothing,
                        Kept::Now | Kept::Before => TakenReturned::Waiting,
                    };
                    return Ok(Found {
                        taken,
                        by: Some(FoundBy::Fromid),
                        is_new: is_kept != Kept::Before,
                    });
                }
            },
            Clue::Message(first) => of_message(writing, *first, returned).await?,
            Clue::OwnId(id) => (
                claimed(writing, OWN_ID, id, returned).await?,
                FoundBy::OwnId,
            ),
            Clue::Envid(id) => (claimed(writing, ENVID, id, returned).await?, FoundBy::Envid),
            Clue::MessageId(id) => {
                let row = claimed(writing, MESSAGE_ID, id, returned).await?;
                (row, FoundBy::MessageId)
            }
        };
        if let Some(row) = row {
            let id = row.id;
            let result = ReturnedResult::of(returned, by);
            let is_new = apply(writing, interest, row, result).await?;
            return Ok(Found {
                taken: TakenReturned::Found { id },
                by: Some(by),
                is_new,
            });
        }
    }
    Ok(Found {
        taken: TakenReturned::Nothing,
        by: None,
        is_new: true,
    })
}

/// Whom it speaks of, in their normal form.
fn names(returned: &Returned) -> Vec<String> {
    let named = returned.recipients.iter().take(RECIPIENTS_MAX);
    named.map(|address| normal(address)).collect()
}

/// How a recipient was found by its number. RFC 6590: complaints hide whom they speak of, so what they name is no matter.
fn by_number(row: &RetiredRow, kind: ReturnedKind, named: &[String]) -> FoundBy {
    let is_named = named.is_empty() || named.iter().any(|n| is_of(row, n));
    match is_named || kind == ReturnedKind::Complaint {
        true => FoundBy::Fromid,
        false => FoundBy::FromidOther,
    }
}

/// What is kept of the recipient of a message that is over.
pub(super) async fn of_message_id(
    writing: &Writing<'_>,
    message_id: &str,
    address: &str,
) -> Result<Option<RetiredRow>, StoreError> {
    let said = Returned {
        clues: Vec::new(),
        recipients: vec![address.to_string()],
        kind: ReturnedKind::Delivered,
        code: 0,
        enhanced: None,
        text: String::new(),
        class: None,
        reporting_mta: String::new(),
        digest: [0; 16],
        index: 0,
        at: 0,
    };
    claimed(writing, MESSAGE_ID, message_id, &said).await
}

/// The recipient that is spoken of, of the message whose first recipient has this number.
async fn of_message(
    writing: &Writing<'_>,
    first: u64,
    returned: &Returned,
) -> Result<(Option<RetiredRow>, FoundBy), StoreError> {
    let alone = retired::by_number(writing, first).await?;
    let count = alone.as_ref().map_or(0, |row| u64::from(row.recipients));
    let named = names(returned);
    if count <= 1 {
        // Lists, forwards and archives hand the field on: what somebody behind them says of himself is not said of the one it went to.
        let is_named = |row: &RetiredRow| named.iter().any(|n| is_of(row, n));
        let by = match alone.as_ref().is_some_and(is_named) {
            true => FoundBy::Token,
            false if named.is_empty() => FoundBy::SharedToken,
            false => FoundBy::TokenOther,
        };
        return Ok((alone, by));
    }
    if !named.is_empty() {
        for number in first..first.saturating_add(count.min(OF_MESSAGE_MAX)) {
            let row = retired::by_number(writing, number).await?;
            if let Some(row) = row.filter(|row| named.iter().any(|n| is_of(row, n))) {
                return Ok((Some(row), FoundBy::SharedToken));
            }
        }
    }
    Ok((None, FoundBy::SharedToken))
}

/// The recipient that a clue leads to which others may know too: it must be the one that is spoken of, of the message that ended last.
async fn claimed(
    writing: &Writing<'_>,
    kind: u8,
    text: &str,
    returned: &Returned,
) -> Result<Option<RetiredRow>, StoreError> {
    if returned.kind == ReturnedKind::Unrecognized {
        return Ok(None);
    }
    let is_complaint = returned.kind == ReturnedKind::Complaint;
    let named = names(returned);
    let fits = |row: &RetiredRow| {
        let is_named = named.is_empty() && is_complaint || named.iter().any(|n| is_of(row, n));
        // Who complains of a message to many may be anyone of them.
        is_named && (!is_complaint || row.recipients == 1)
    };
    // Those of messages to one recipient stand under the text alone, but for a client's ids: these are of many messages.
    let mut candidates = Vec::new();
    for recipient in named.iter().map(String::as_str).chain([""]) {
        let prefix = clue_prefix(writing.account, kind, text, recipient);
        let found = writing.scan(&prefix, CANDIDATES_MAX).await?;
        candidates.extend(found.into_iter().filter_map(|(key, _)| {
            let rest = key.strip_prefix(prefix.as_slice())?;
            let (at, id) = rest.split_first_chunk::<8>()?;
            let at = u64::MAX - u64::from_be_bytes(*at);
            Some((
                i64::try_from(at).ok()?,
                u64::from_be_bytes(id.try_into().ok()?),
            ))
        }));
    }
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    candidates.dedup();
    for (at, id) in candidates {
        if let Some(row) = retired::at(writing, at, id).await?
            && fits(&row)
        {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Whether a recipient is meant by an address in its normal form.
fn is_of(row: &RetiredRow, address: &str) -> bool {
    normal(&row.recipient) == address || orcpt(row).is_some_and(|orcpt| orcpt == address)
}

/// The address in ORCPT, in its normal form.
fn orcpt(row: &RetiredRow) -> Option<String> {
    let orcpt: smtp::OriginalRecipient = row.orcpt.as_deref()?.parse().ok()?;
    Some(normal(orcpt.address()))
}

/// An address as it is compared: in lower case, the domain as A-labels. Servers that report have changed the case of the localpart.
fn normal(address: &str) -> String {
    let address = address.trim().trim_start_matches('<').trim_end_matches('>');
    let (localpart, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let domain = canonical_domain(domain).map_or_else(|| domain.to_lowercase(), Into::into);
    format!("{}@{domain}", localpart.to_lowercase())
}

/// The keys under which a recipient that is over is found, but for its number. They depend on its row alone, and go with it.
pub(super) fn clue_keys(account: &str, row: &RetiredRow) -> Vec<Vec<u8>> {
    let envid: Option<smtp::EnvelopeId> = row.envid.as_deref().and_then(|e| e.parse().ok());
    let texts = [
        (MESSAGE_ID, Some(row.message_id.as_str())),
        (ENVID, envid.as_ref().map(smtp::EnvelopeId::as_str)),
        (
            OWN_ID,
            may_hold_id(&row.reverse_path).then_some(row.reverse_path.as_str()),
        ),
    ];
    let mut named = vec![normal(&row.recipient)];
    named.extend(orcpt(row).filter(|orcpt| *orcpt != named[0]));
    let alone = [String::new()];
    let mut keys = Vec::new();
    for (kind, text) in texts {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            continue;
        };
        let recipients = match row.recipients == 1 && kind != OWN_ID {
            true => &alone[..],
            false => &named[..],
        };
        for recipient in recipients {
            let mut key = clue_prefix(account, kind, text, recipient);
            // The latest is found first.
            key.extend_from_slice(&(u64::MAX - row.at.max(0) as u64).to_be_bytes());
            key.extend_from_slice(&row.id.to_be_bytes());
            keys.push(key);
        }
    }
    keys
}

fn clue_prefix(account: &str, kind: u8, text: &str, recipient: &str) -> Vec<u8> {
    let text = match kind {
        OWN_ID => normal(text),
        _ => text.to_string(),
    };
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    hash.update(&[kind]);
    hash.update(text.as_bytes());
    hash.update(&[0]);
    hash.update(recipient.as_bytes());
    let mut key = retired::key_of(account, b'c');
    key.extend_from_slice(&hash.finish().as_ref()[..8]);
    key
}

/// Whether a client may have put an id into its reverse-path: what separates it is a domain's setting, and neither a letter nor a digit.
fn may_hold_id(reverse_path: &str) -> bool {
    let localpart = reverse_path.rsplit_once('@').map_or("", |(l, _)| l);
    !localpart.chars().all(char::is_alphanumeric)
}

/// Keeps what came back with its recipient, and tells subscribers. Answers false if it was there before.
async fn apply(
    writing: &mut Writing<'_>,
    interest: Interest,
    mut row: RetiredRow,
    result: ReturnedResult,
) -> Result<bool, StoreError> {
    let is_known = |r: &ReturnedResult| r.is_same(result.digest, result.index);
    if row.returned.iter().any(is_known) {
        return Ok(false);
    }
    let mut event = result.event(&row, writing.account);
    // Who complains twice about a message has complained once, and nobody makes an address look bad by saying it again in other words.
    let is_complaint = |r: &ReturnedResult| r.kind == ReturnedKind::Complaint;
    let first = row.returned.iter().position(is_complaint);
    if first.is_some() {
        event.warm_up = None;
    }
    // The first complaint stays, so that this can be told.
    let oldest = if first == Some(1) { 2 } else { 1 };
    let is_full = row.returned.len() >= RESULTS_MAX;
    row.add_returned(result, is_full.then_some(oldest));
    retired::put(writing, &row);
    tell(&event, interest, writing).await?;
    Ok(true)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Now,
    Before,
    No,
}

/// Keeps what came back before the end of its recipient was told.
async fn wait(writing: &mut Writing<'_>, id: u64, returned: &Returned) -> Result<Kept, StoreError> {
    let prefix = waiting_prefix(writing.account, id);
    let mut key = prefix.clone();
    key.extend_from_slice(&returned.digest);
    key.extend_from_slice(&returned.index.to_be_bytes());
    if writing.get(&key).await?.is_some() {
        return Ok(Kept::Before);
    }
    if writing.scan(&prefix, WAITING_MAX).await?.len() >= WAITING_MAX {
        return Ok(Kept::No);
    }
    let row = WaitingRow {
        since: writing.now,
        result: ReturnedResult::of(returned, FoundBy::Fromid),
        named: names(returned)
            .into_iter()
            .map(|name| cut(&name, NAME_MAX))
            .collect(),
    };
    writing.put(key, rows::encode_version(WAITING_VERSION, &row));
    Ok(Kept::Now)
}

fn waiting_prefix(account: &str, id: u64) -> Vec<u8> {
    [retired::key_of(account, b'w').as_slice(), &id.to_be_bytes()].concat()
}

fn what() -> String {
    "what came back about a recipient".into()
}

/// What [`take_waiting`] scans: a prefix, and how many rows.
pub(super) fn waiting_of(account: &str, id: u64) -> (Vec<u8>, usize) {
    (waiting_prefix(account, id), WAITING_MAX)
}

/// Takes what came back before the end of a recipient was told: it is told now.
pub(super) async fn take_waiting(
    writing: &mut Writing<'_>,
    interest: Interest,
    id: u64,
) -> Result<(), StoreError> {
    let prefix = waiting_prefix(writing.account, id);
    for (key, row) in writing.scan(&prefix, WAITING_MAX).await? {
        writing.delete(key);
        let WaitingRow {
            mut result, named, ..
        } = WaitingRow::decode(&row)?;
        if let Some(row) = retired::by_number(writing, id).await? {
            result.by = by_number(&row, result.kind, &named);
            apply(writing, interest, row, result).await?;
        }
    }
    Ok(())
}

/// Erases what has waited for long: no recipient with that number ends any more, or nothing is kept of it. Answers how many.
pub(super) async fn prune(
    shard: &Rc<Shard>,
    hooks: &Hooks,
    account: &str,
    before: i64,
) -> Result<u64, StoreError> {
    let prefix = retired::key_of(account, b'w');
    let (mut from, mut pruned) = (prefix.clone(), 0);
    loop {
        let _turn = hooks.turn(account).await;
        let found = shard.scan(prefix.clone(), from, SLICE).await?;
        let Some((last, _)) = found.last() else {
            return Ok(pruned);
        };
        from = [last.as_slice(), &[0]].concat();
        let mut batch = Batch::default();
        for (key, row) in found {
            let waiting = readable(shard, &key, WaitingRow::decode(&row))?;
            if waiting.is_some_and(|waiting| waiting.since < before) {
                batch.delete(key);
                pruned += 1;
            }
        }
        if !batch.is_empty() {
            let permit = shard.permit(SLICE * 128, false, PATIENCE).await?;
            shard.commit(permit, batch).await?;
        }
    }
}

/// How many may come with one call: a report of more recipients takes several.
pub const RETURNED_MAX: usize = 100;
/// Seconds for which something waits for the end of its recipient, at least.
pub const WAITS: i64 = 3600;
/// Results that are kept of a recipient: the first and the latest.
pub const RESULTS_MAX: usize = 8;
/// What may wait for one recipient.
const WAITING_MAX: usize = 8;
/// What is looked at of what came back: clues, and addresses of the recipient.
const CLUES_MAX: usize = 8;
const RECIPIENTS_MAX: usize = 4;
/// Recipients that are looked at for a clue, the latest ones.
const CANDIDATES_MAX: usize = 8;
/// Recipients of a message that are looked at for the one that is spoken of.
const OF_MESSAGE_MAX: u64 = 100;
/// Octets of a server's words that are kept, and of its name.
const TEXT_MAX: usize = 500;
const MTA_MAX: usize = 255;
/// Octets of an address that is kept: RFC 5321 4.5.3.1.3, and a little more.
const NAME_MAX: usize = 320;
/// Of a row that waits.
const WAITING_VERSION: u8 = 2;
const SLICE: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);
/// What is indexed.
const OWN_ID: u8 = 1;
const ENVID: u8 = 2;
const MESSAGE_ID: u8 = 3;
