//! Addresses that an account sends nothing to: rows in its shard, and what every core knows of them.
//!
//! A row is about the base form of an address ([`base`]). It has the addresses that are suppressed, and those that failed and are not yet. Cores
//! that send have the hashes of both, loaded when they are needed first and told of every change; what is behind a hash says the owner. So
//! an account whose list is empty asks nobody.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use dsn::{Bounce, BounceClass, Suppression};
use serde::{Deserialize, Serialize};
use shards::rt::Turns;
use shards::storage::{Batch, Shard};

use super::events::{
    Consequences, Event, EventKind, Evidence, Interest, Question, Reads, Writing, bounce, status,
};
use super::hooks::{self, Hooks, HooksTurn};
use super::returned;
use super::rows::Attempt;
use super::unsubscribe::Link;
use crate::settings::names::canonical_domain;
use crate::store::{StoreError, readable, rows};

/// What is stored of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRow {
    /// As it was named first.
    pub address: String,
    /// Nothing is sent there.
    pub suppressed: Option<Suppressed>,
    /// Messages that failed one after the other, none of which was enough.
    pub failures: Vec<Failure>,
}

/// Why nothing is sent to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    /// In words.
    pub reason: String,
    /// Somebody added it.
    pub manual: bool,
    /// When, seconds since 1970.
    pub created: i64,
    /// Until then; none: until somebody removes it.
    pub expires: Option<i64>,
}

/// A message that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The recipient's number.
    pub id: u64,
    /// When, seconds since 1970.
    pub at: i64,
    /// The next hop had taken it, and a report said so later. That it takes more says nothing then.
    pub by_report: bool,
}

fn encode(row: &AddressRow) -> Vec<u8> {
    rows::encode_version(VERSION, row)
}

/// Reads a row. The first version knew no reports.
fn decode(bytes: &[u8]) -> Result<AddressRow, StoreError> {
    #[derive(Deserialize)]
    struct First {
        address: String,
        suppressed: Option<Suppressed>,
        failures: Vec<(u64, i64)>,
    }
    if bytes.first() == Some(&VERSION) {
        return rows::decode_version(VERSION, bytes, what);
    }
    let first: First = rows::decode(bytes, what)?;
    let failure = |(id, at)| Failure {
        id,
        at,
        by_report: false,
    };
    Ok(AddressRow {
        address: first.address,
        suppressed: first.suppressed,
        failures: first.failures.into_iter().map(failure).collect(),
    })
}

impl AddressRow {
    /// What is in force of it.
    pub fn in_force(&self, now: i64) -> Option<&Suppressed> {
        let suppressed = self.suppressed.as_ref()?;
        let is_over = suppressed.expires.is_some_and(|expires| expires <= now);
        (!is_over).then_some(suppressed)
    }

    /// Whether it says nothing any more.
    fn is_stale(&self, now: i64) -> bool {
        let latest = self.failures.iter().map(|f| f.at).max();
        self.in_force(now).is_none() && latest.is_none_or(|at| at < now - FAILURES_KEPT)
    }
}

/// The form under which an address is listed: letters in lower case, the domain as A-labels, and no "+" and what follows it in the localpart. Dots
/// and hyphens stay: behind them are other people in most places.
pub fn base(address: &str) -> String {
    let (localpart, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let localpart = match localpart.find('+') {
        Some(at) if at > 0 && !localpart.starts_with('"') => &localpart[..at],
        _ => localpart,
    };
    let domain = canonical_domain(domain).map_or_else(|| domain.to_lowercase(), Into::into);
    format!("{}@{domain}", localpart.to_lowercase())
}

fn hash_of(base: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    base.hash(&mut hasher);
    hasher.finish()
}

fn what() -> String {
    "an address of a suppression list".into()
}

fn key(account: &str, base: &str) -> Vec<u8> {
    let mut key = rows::suppressions_key(account);
    key.extend_from_slice(base.as_bytes());
    key
}

/// What [`take`] will read.
pub(super) fn reads(event: &Event, interest: Interest, account: &str, reads: &mut Reads) {
    if interest.suppresses {
        reads.keys.push(key(account, &base(&event.recipient)));
    }
}

/// Whether the list has to hear of an outcome.
pub(super) fn wants(question: &Question<'_>) -> bool {
    let last = question.row.history.last();
    question.interest.suppresses
        && match question.kind {
            EventKind::Failed => {
                let refusal = last.filter(|_| question.row.given_up.is_none());
                refusal.is_some_and(|last| judged(last) != Suppression::Never)
            }
            EventKind::Delivered | EventKind::Relayed => question.may_be_listed,
            _ => false,
        }
}

/// What the last attempt at a recipient that failed says of its address: nothing, unless a server refused it for good.
fn judged(attempt: &Attempt) -> Suppression {
    match attempt.code >= 500 && !attempt.remote.is_empty() {
        true => bounce(attempt).suppression,
        false => Suppression::Never,
    }
}

/// What follows from an event.
pub(super) async fn take(
    event: &Event,
    interest: Interest,
    writing: &mut Writing<'_>,
) -> Result<(), StoreError> {
    if !interest.suppresses {
        return Ok(());
    }
    let base = base(&event.recipient);
    let key = key(writing.account, &base);
    let read = writing.get(&key).await?;
    let mut row = match read {
        Some(row) => decode(&row)?,
        None => AddressRow {
            address: event.recipient.clone(),
            ..AddressRow::default()
        },
    };
    match event.id.kind {
        EventKind::Delivered | EventKind::Relayed => {
            let before = row.failures.len();
            match (event.by_report, event.id.kind) {
                (None, _) => row.failures.retain(|failure| failure.by_report),
                (Some(Evidence::Proof), EventKind::Delivered) => row.failures.clear(),
                _ => {}
            }
            if row.failures.len() == before {
                return Ok(());
            }
            if row.suppressed.is_none() && row.failures.is_empty() {
                writing.delete(key);
                writing.listed(hash_of(&base), false);
                return Ok(());
            }
        }
        EventKind::Failed | EventKind::Complaint => {
            let judged = match (event.id.kind, event.by_report) {
                // Who complains wants no more. That it is the recipient was looked at (`returned`), but not that it is he who says so.
                (EventKind::Complaint, Some(Evidence::Proof)) => Suppression::AtOnce,
                (_, Some(Evidence::OfAnother)) => Suppression::Never,
                (EventKind::Complaint, _) => Suppression::AfterRepeats,
                (_, Some(_)) => judged_report(event),
                (_, None) => event.history.last().map_or(Suppression::Never, judged),
            };
            if row.in_force(writing.now).is_some() || judged == Suppression::Never {
                return Ok(());
            }
            // Several reports about one message are one failure, and so are several spellings of the address in it.
            let is_counted = |f: &Failure| event.numbers.contains(&f.id);
            if judged == Suppression::AfterRepeats && row.failures.iter().any(is_counted) {
                return Ok(());
            }
            row.failures.retain(|f| f.at >= event.at - FAILURES_KEPT);
            row.failures.push(Failure {
                id: event.id.id,
                at: event.at,
                by_report: event.by_report.is_some(),
            });
            let count = row.failures.len();
            if judged == Suppression::AtOnce || count >= FAILURES_MAX {
                row.suppressed = Some(automatic(event, reason(event, count)));
                row.failures.clear();
                writing.suppressing = Some(event.id);
            }
            writing.listed(hash_of(&base), true);
        }
        _ => return Ok(()),
    }
    writing.put(key, encode(&row));
    Ok(())
}

/// What a report of a failure says of the address: never so much that one is enough. The next hop had taken the message, which speaks against it, and the
/// report is a message that anybody can write who knows how the message was named; those who got it do.
fn judged_report(event: &Event) -> Suppression {
    let class = event.class.unwrap_or(BounceClass::Unknown);
    let code = smtp::Code::new(event.code);
    let judged = Bounce::new(class, code, event.enhanced.map(status));
    match judged.suppression {
        Suppression::AtOnce => Suppression::AfterRepeats,
        judged => judged,
    }
}

fn automatic(event: &Event, reason: String) -> Suppressed {
    Suppressed {
        reason,
        manual: false,
        created: event.at,
        expires: None,
    }
}

fn reason(event: &Event, count: usize) -> String {
    if event.id.kind == EventKind::Complaint {
        return match event.remote.as_str() {
            "" => "complaint".to_string(),
            remote => format!("complaint: reported by {remote}"),
        };
    }
    let class = event.class.map_or("failed", |class| class.as_str());
    let enhanced = event
        .enhanced
        .map_or_else(String::new, |(a, b, c)| format!(" {a}.{b}.{c}"));
    let times = match count {
        1 => String::new(),
        count => format!(", {count} messages one after the other"),
    };
    let mut reason = format!("{class}: {}{enhanced} {}", event.code, event.text);
    let end = (0..=reason.len().min(REASON_MAX)).rfind(|at| reason.is_char_boundary(*at));
    reason.truncate(end.unwrap_or(0));
    reason + &times
}

/// Why nothing is sent to an address; none: it is not suppressed.
pub async fn find(
    shard: &Rc<Shard>,
    account: &str,
    address: &str,
) -> Result<Option<AddressRow>, StoreError> {
    let row = shard.get(key(account, &base(address))).await?;
    row.map(|row| decode(&row)).transpose()
}

/// Adds or removes an address; none: removed, with the failures that were counted. Answers whether it was suppressed before (and without `replaces` nothing is
/// added then), and what every core has to know.
pub async fn change(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    address: &str,
    (to, replaces): (Option<Suppressed>, bool),
    now: i64,
) -> Result<(bool, Vec<(u64, bool)>), StoreError> {
    let base = base(address);
    let account = turn.account();
    let before = find(shard, account, address).await?;
    let was = before
        .as_ref()
        .is_some_and(|row| row.in_force(now).is_some());
    let mut writing = Writing::new(shard, turn, now);
    match to {
        Some(_) if was && !replaces => return Ok((was, Vec::new())),
        Some(suppressed) => {
            let row = AddressRow {
                address: address.to_string(),
                suppressed: Some(suppressed),
                failures: Vec::new(),
            };
            writing.put(key(account, &base), encode(&row));
            writing.listed(hash_of(&base), true);
        }
        None if before.is_none() => return Ok((was, Vec::new())),
        None => {
            writing.delete(key(account, &base));
            writing.listed(hash_of(&base), false);
        }
    }
    Ok((was, writing.commit().await?.listed))
}

/// What a reader's link to unsubscribe does: nothing is sent to the address any more, and endpoints of webhooks are told, once. Answers whether
/// it did so before, and what others have to hear.
pub async fn unsubscribe(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    interest: Interest,
    link: &Link,
    now: i64,
) -> Result<(bool, Consequences), StoreError> {
    let base = base(&link.address);
    let before = find(shard, &link.account, &link.address).await?;
    let before = before.and_then(|row| row.in_force(now).cloned());
    let is_known = |s: &Suppressed| s.expires.is_none() && s.reason.starts_with(UNSUBSCRIBED);
    if before.as_ref().is_some_and(is_known) {
        return Ok((true, Consequences::default()));
    }
    let row = AddressRow {
        address: link.address.clone(),
        suppressed: Some(Suppressed {
            reason: format!("{UNSUBSCRIBED}, by the link in {}", link.message_id),
            manual: false,
            created: now,
            expires: None,
        }),
        failures: Vec::new(),
    };
    let mut writing = Writing::new(shard, turn, now);
    let message = returned::of_message_id(&writing, &link.message_id, &link.address).await?;
    hooks::unsubscribed(&mut writing, interest, link, message.as_ref()).await?;
    writing.put(key(&link.account, &base), encode(&row));
    writing.listed(hash_of(&base), true);
    Ok((false, writing.commit().await?))
}

/// Rows of an account, or of all, after a key; at most so many. Each with its key and whose it is.
pub async fn page(
    shard: &Rc<Shard>,
    account: Option<&str>,
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, String, AddressRow)>, StoreError> {
    let prefix = account.map_or(rows::SUPPRESSIONS.to_vec(), rows::suppressions_key);
    let from = after.map_or(prefix.clone(), |after| [after.as_slice(), &[0]].concat());
    let found = shard.scan(prefix, from, limit).await?;
    let read = |(key, row): (Vec<u8>, Vec<u8>)| {
        let account = account_of(&key);
        let row = decode(&row)?;
        Ok((key, account, row))
    };
    found.into_iter().map(read).collect()
}

/// Whose a row is.
fn account_of(key: &[u8]) -> String {
    let rest = key.strip_prefix(rows::SUPPRESSIONS).unwrap_or_default();
    let name = rest.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The hashes of all addresses that something is stored of.
pub async fn hashes(shard: &Rc<Shard>, account: &str) -> Result<Vec<u64>, StoreError> {
    let prefix = rows::suppressions_key(account);
    let mut from = prefix.clone();
    let mut hashes = Vec::new();
    loop {
        let found = shard.scan(prefix.clone(), from, SLICE).await?;
        let Some((last, _)) = found.last() else {
            return Ok(hashes);
        };
        from = [last.as_slice(), &[0]].concat();
        let of = |(key, _): &(Vec<u8>, Vec<u8>)| {
            let base = String::from_utf8_lossy(&key[prefix.len()..]);
            hash_of(&base)
        };
        hashes.extend(found.iter().map(of));
    }
}

/// Removes what says nothing any more: suppressions that have expired, failures of long ago. Answers how many.
pub async fn prune(shard: &Rc<Shard>, hooks: &Hooks, now: i64) -> Result<u64, StoreError> {
    let (mut from, mut pruned) = (rows::SUPPRESSIONS.to_vec(), 0);
    loop {
        let found = shard.scan(rows::SUPPRESSIONS.to_vec(), from, SLICE).await?;
        let Some((last, _)) = found.last() else {
            return Ok(pruned);
        };
        from = [last.as_slice(), &[0]].concat();
        let mut stale: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (key, row) in found {
            let row = readable(shard, &key, decode(&row))?;
            if row.is_some_and(|row| row.is_stale(now)) {
                stale.entry(account_of(&key)).or_default().push(key);
            }
        }
        for (account, keys) in stale {
            let _turn = hooks.turn(&account).await;
            let mut batch = Batch::default();
            for key in keys {
                // Looked at again: it may have been renewed before the turn came.
                let row = shard.get(key.clone()).await?;
                let row = row.map(|row| decode(&row)).transpose();
                let row = readable(shard, &key, row)?.flatten();
                if row.is_some_and(|row| row.is_stale(now)) {
                    // Cores that have the hash ask in vain until they load the list anew.
                    batch.delete(key);
                    pruned += 1;
                }
            }
            if !batch.is_empty() {
                let patience = std::time::Duration::from_secs(30);
                let permit = shard.permit(SLICE * 64, false, patience).await?;
                shard.commit(permit, batch).await?;
            }
        }
    }
}

/// What a core knows of the lists of accounts whose mail it sends.
#[derive(Default)]
pub struct Lists {
    known: RefCell<HashMap<String, Known>>,
    loading: RefCell<HashMap<String, Rc<Loading>>>,
    /// Accounts whose lists could not be looked at when that was tried last.
    missing: RefCell<HashSet<String>>,
}

struct Known {
    hashes: HashSet<u64>,
    /// When it was loaded, seconds since 1970.
    loaded: i64,
}

/// A list that is being loaded, and what was heard of it meanwhile.
#[derive(Default)]
struct Loading {
    turns: Rc<Turns>,
    heard: RefCell<Vec<(u64, bool)>>,
}

impl Lists {
    /// Whether the list is known, and so young that a change of which nothing was heard is no matter.
    pub fn is_fresh(&self, account: &str, now: i64) -> bool {
        let known = self.known.borrow();
        let age = known.get(account).map(|known| now - known.loaded);
        age.is_some_and(|age| (0..LIFETIME).contains(&age))
    }

    /// Whether an account's list could be looked at now.
    pub fn looked_at(&self, account: &str, could: bool) {
        let mut missing = self.missing.borrow_mut();
        match could {
            true if missing.is_empty() => (),
            true => drop(missing.remove(account)),
            false => drop(missing.insert(account.to_string())),
        }
    }

    /// Why an account's mail does not go on, if it is for want of its list.
    pub fn reason(&self, account: &str) -> Option<String> {
        let missing = self.missing.borrow();
        missing.contains(account).then(|| {
            "its account's suppression list can't be looked at now; that is tried again each minute"
                .to_string()
        })
    }

    /// Loads a list if it is not fresh. An error if it can't be loaded and is not known at all.
    pub async fn load<E>(
        &self,
        account: &str,
        now: i64,
        load: impl Future<Output = Result<Vec<u64>, E>>,
    ) -> Result<(), E> {
        let loading = {
            let mut all = self.loading.borrow_mut();
            all.entry(account.to_string()).or_default().clone()
        };
        let turn = loading.turns.take(1).await;
        let result = match self.is_fresh(account, now) {
            true => Ok(()),
            false => {
                loading.heard.borrow_mut().clear();
                self.keep(account, now, &loading, load.await)
            }
        };
        drop(turn);
        // The map's and ours: nobody else waits.
        if Rc::strong_count(&loading) == 2 {
            self.loading.borrow_mut().remove(account);
        }
        result
    }

    fn keep<E>(
        &self,
        account: &str,
        now: i64,
        loading: &Loading,
        loaded: Result<Vec<u64>, E>,
    ) -> Result<(), E> {
        let mut known = self.known.borrow_mut();
        let hashes = match loaded {
            Ok(hashes) => hashes,
            Err(_) if known.contains_key(account) => return Ok(()),
            Err(error) => return Err(error),
        };
        let all: usize = known.values().map(|known| known.hashes.len() + 1).sum();
        if all + hashes.len() > HASHES_MAX {
            // They are loaded again by whoever needs them.
            known.clear();
        }
        let mut hashes: HashSet<u64> = hashes.into_iter().collect();
        for heard in loading.heard.borrow_mut().drain(..) {
            put(&mut hashes, heard);
        }
        let list = Known {
            hashes,
            loaded: now,
        };
        known.insert(account.to_string(), list);
        Ok(())
    }

    /// How many addresses a list has, if it is known.
    pub fn count(&self, account: &str) -> Option<usize> {
        let known = self.known.borrow();
        known.get(account).map(|known| known.hashes.len())
    }

    /// Something has changed.
    pub fn changed(&self, account: &str, changes: &[(u64, bool)]) {
        if let Some(known) = self.known.borrow_mut().get_mut(account) {
            changes
                .iter()
                .for_each(|change| put(&mut known.hashes, *change));
        }
        if let Some(loading) = self.loading.borrow().get(account) {
            loading.heard.borrow_mut().extend(changes);
        }
    }

    /// Whether something is stored of an address, or that is not known.
    pub fn may_have(&self, account: &str, address: &str) -> bool {
        let known = self.known.borrow();
        let Some(known) = known.get(account) else {
            return true;
        };
        !known.hashes.is_empty() && known.hashes.contains(&hash_of(&base(address)))
    }
}

fn put(hashes: &mut HashSet<u64>, (hash, is_listed): (u64, bool)) {
    match is_listed {
        true => hashes.insert(hash),
        false => hashes.remove(&hash),
    };
}

/// Of a row.
/// What reasons of readers who wanted no more begin with.
const UNSUBSCRIBED: &str = "unsubscribed";
const VERSION: u8 = 2;
/// Messages that must fail one after the other where one is not enough.
const FAILURES_MAX: usize = 3;
/// Seconds after which a failure is forgotten.
const FAILURES_KEPT: i64 = 60 * 86_400;
/// Octets of a server's words in a reason.
const REASON_MAX: usize = 300;
/// Seconds after which a core loads a list anew: it is told of changes, unless it gave no answer then.
pub const LIFETIME: i64 = 600;
/// Hashes that a core knows, of all accounts.
const HASHES_MAX: usize = 2_000_000;
/// Addresses an account may have in its list.
pub const ADDRESSES_MAX: usize = 200_000;
const SLICE: usize = 500;

#[cfg(test)]
mod tests {
    use super::super::rows::AttemptStage;
    use super::*;

    #[test]
    fn who_waits_for_a_list_says_so() {
        let lists = Lists::default();
        lists.looked_at("anna", true);
        assert_eq!(lists.reason("anna"), None);
        lists.looked_at("anna", false);
        assert!(lists.reason("anna").unwrap().contains("suppression list"));
        assert_eq!(lists.reason("ben"), None);
        lists.looked_at("anna", true);
        assert_eq!(lists.reason("anna"), None);
    }

    #[test]
    fn an_address_is_listed_under_its_base_form() {
        for (address, expected) in [
            ("Anna+news@Example.org", "anna@example.org"),
            ("anna-x@example.org", "anna-x@example.org"),
            ("a.n.na@example.org", "a.n.na@example.org"),
            ("+news@example.org", "+news@example.org"),
            ("\"a+b\"@example.org", "\"a+b\"@example.org"),
            ("JÖRG@Bücher.example", "jörg@xn--bcher-kva.example"),
        ] {
            assert_eq!(base(address), expected);
        }
    }

    fn attempt(code: u16, enhanced: Option<(u8, u16, u16)>, text: &str) -> Attempt {
        Attempt {
            at: 1,
            took_ms: 1,
            remote: "mx.example".into(),
            code,
            enhanced,
            text: text.into(),
            stage: None,
        }
    }

    #[test]
    fn only_what_a_server_says_of_the_address_counts() {
        for code in [521, 550, 551, 553, 556] {
            assert_eq!(judged(&attempt(code, None, "no")), Suppression::AtOnce);
        }
        for status in [(5, 1, 1), (5, 1, 2), (5, 1, 3), (5, 1, 6), (5, 2, 1)] {
            let refused = attempt(554, Some(status), "no");
            assert_eq!(judged(&refused), Suppression::AtOnce, "{status:?}");
        }
        assert_eq!(judged(&attempt(554, None, "no")), Suppression::AfterRepeats);
        let full = attempt(552, Some((5, 2, 2)), "mailbox full");
        assert_eq!(judged(&full), Suppression::AfterRepeats);
        // Not of the address, not for good, and not of a server.
        let spam = attempt(550, Some((5, 7, 1)), "message looks like spam");
        assert_eq!(judged(&spam), Suppression::Never);
        assert_eq!(judged(&attempt(450, None, "no")), Suppression::Never);
        let ours = Attempt {
            remote: String::new(),
            ..attempt(550, None, "no")
        };
        assert_eq!(judged(&ours), Suppression::Never);
    }

    #[test]
    fn what_is_said_to_something_else_than_the_recipient_is_not_about_the_address() {
        use AttemptStage::*;
        let at = |stage, code, enhanced| {
            let attempt = Attempt {
                stage: Some(stage),
                ..attempt(code, enhanced, "no")
            };
            (bounce(&attempt).class, judged(&attempt))
        };
        let (at_once, repeats, never) = (
            Suppression::AtOnce,
            Suppression::AfterRepeats,
            Suppression::Never,
        );
        let unknown = BounceClass::Unknown;
        for stage in [Connect, Hello, Mail, SharedData, Data] {
            for code in [521, 550, 551, 552, 553, 554, 556] {
                let (class, judged) = at(stage, code, None);
                assert_eq!((class, judged), (unknown, never), "{stage:?} {code}");
            }
        }
        let gone = Some((5, 1, 1));
        for stage in [Connect, Hello, Mail, SharedData] {
            assert_eq!(at(stage, 550, gone).1, never, "{stage:?}");
        }
        assert_eq!(at(Recipient, 550, None), (unknown, at_once));
        assert_eq!(at(Recipient, 554, None), (unknown, repeats));
        assert_eq!(at(Recipient, 553, None).1, at_once);
        // Servers that look for the mailbox when the message is there.
        assert_eq!(at(Data, 550, gone), (BounceClass::InvalidMailbox, at_once));
        let full = (BounceClass::MailboxFull, repeats);
        assert_eq!(at(Data, 552, Some((5, 2, 2))), full);
        assert_eq!(at(Data, 550, Some((5, 7, 1))).1, never);
        // That the sender is refused is X.1.Y too.
        assert_eq!(at(Data, 553, Some((5, 1, 8))).1, never);
    }

    #[test]
    fn rows_read_as_they_were_written_and_those_of_the_first_version_too() {
        let mut row = AddressRow {
            address: "a@one.example".into(),
            suppressed: None,
            failures: vec![Failure {
                id: 5,
                at: 7,
                by_report: true,
            }],
        };
        assert_eq!(decode(&encode(&row)).unwrap(), row);
        let first = rows::encode(&(&row.address, &row.suppressed, [(5u64, 7i64)].as_slice()));
        row.failures[0].by_report = false;
        assert_eq!(decode(&first).unwrap(), row);
        assert!(decode(&[9, 9]).is_err());
    }

    #[test]
    fn what_is_heard_while_a_list_is_loaded_is_not_lost() {
        let lists = Lists::default();
        let (one, two) = (hash_of("a@one.example"), hash_of("b@two.example"));
        assert!(lists.may_have("anna", "x@y.example"));
        let load = async {
            // Read before the change, told after it.
            lists.changed("anna", &[(one, false), (two, true)]);
            Ok::<_, ()>(vec![one])
        };
        futures_lite::future::block_on(lists.load("anna", 1_000, load)).unwrap();
        assert!(lists.is_fresh("anna", 1_000) && !lists.is_fresh("anna", 1_000 + LIFETIME));
        assert!(!lists.may_have("anna", "a@one.example"));
        assert!(lists.may_have("anna", "B+x@two.example"));
        lists.changed("anna", &[(two, false)]);
        assert!(!lists.may_have("anna", "b@two.example"));
        // What can't be loaded anew is known as it was; what never was is not.
        let fails = || async { Err::<Vec<u64>, _>(()) };
        let load = |account, now| futures_lite::future::block_on(lists.load(account, now, fails()));
        assert_eq!(load("anna", 2_000), Ok(()));
        assert_eq!(load("ben", 2_000), Err(()));
        assert!(lists.loading.borrow().is_empty());
    }
}
