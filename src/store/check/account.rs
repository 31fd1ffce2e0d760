//! The accounts of a shard: names, mailboxes, messages, and the rows that lead to messages.

use std::collections::{BTreeMap, HashSet};

use serde::de::DeserializeOwned;
use shards::index::{Index, IndexError, Row};
use shards::segments::BodyId;

use super::super::add::count;
use super::super::rows::{
    AccountId, AccountRow, EraseRow, MailboxCounts, MailboxId, MailboxRow, MessageRow,
    TombstoneRow, decode,
};
use super::super::{Delivered, keys};
use super::Seen;
use super::position::{Kind, Messages, Position, Stage, Step};

/// Names lead to accounts.
pub(super) fn names(
    index: &Index,
    from: Vec<u8>,
    position: &mut Position,
    report: &mut Seen,
) -> Result<Stage, IndexError> {
    let prefix = keys::account_name("");
    if from == prefix {
        let next = index.get_whole(keys::NEXT_ACCOUNT)?;
        position.next_account = next.and_then(|b| decode(&b, String::new).ok()).unwrap_or(1);
    }
    let rows = index.scan(&prefix, &from, SLICE)?;
    let next = after(&rows, SLICE);
    for (key, value) in rows {
        report.checked += 1;
        let name = String::from_utf8_lossy(&key[1..]).into_owned();
        let row = format!("number of account {name}");
        let Some(id) = read::<AccountId>(&value, &row, position, report) else {
            continue;
        };
        position.name(id);
        report.names.push(name.clone());
        if index.get_whole(&keys::account(id))?.is_none() && index.get_whole(&key)?.is_some() {
            position.tell(Kind::Name, || format!("the name {name} leads to account {}, which is not there; `ringmail salvage` makes it anew from the stored bodies", id.0), report);
        }
    }
    Ok(match next {
        Some(key) => Stage::Names(key),
        None => Stage::Account(Step::Start(AccountId(0))),
    })
}

pub(super) fn step(
    index: &Index,
    step: Step,
    position: &mut Position,
    report: &mut Seen,
) -> Result<Stage, IndexError> {
    let step = match step {
        Step::Start(from) => match next_account(index, from)? {
            None => return Ok(Stage::Damaged),
            Some(id) => start(index, id, position, report)?,
        },
        Step::Mailbox(account, from) => mailbox(index, account, from)?,
        Step::Messages(messages) => self::messages(index, messages, position, report)?,
        Step::Others(account, kind, from) => {
            others(index, (account, kind), from, position, report)?
        }
    };
    Ok(Stage::Account(step))
}

fn next_account(index: &Index, from: AccountId) -> Result<Option<AccountId>, IndexError> {
    let rows = index.scan(b"a", &keys::account_prefix(from), 1)?;
    Ok(rows
        .first()
        .and_then(|(key, _)| number(key, 1))
        .map(AccountId))
}

/// The account's own row and its mailboxes.
fn start(
    index: &Index,
    id: AccountId,
    position: &mut Position,
    report: &mut Seen,
) -> Result<Step, IndexError> {
    let next = Step::Start(AccountId(id.0 + 1));
    if index.get_whole(&keys::removal(id))?.is_some() {
        return Ok(next);
    }
    if !position.is_named(id) {
        position.tell(Kind::Orphan, || format!("account {}: no name leads to its rows; `ringmail salvage` brings its mail back under its name", id.0), report);
        return Ok(next);
    }
    let Some(before) = index.get_whole(&keys::account(id))? else {
        return Ok(next);
    };
    let what = format!("account {}", id.0);
    let Some(row) = read::<AccountRow>(&before, &what, position, report) else {
        return Ok(next);
    };
    let prefix = keys::kind_prefix(id, b'm');
    let mut mailboxes = BTreeMap::new();
    for (key, value) in index.scan(&prefix, &prefix, ROWS_MAX)? {
        report.checked += 1;
        let number = MailboxId(number32(&key, prefix.len()));
        let what = format!("mailbox {} of account {}", number.0, id.0);
        if let Some(mailbox) = read::<MailboxRow>(&value, &what, position, report) {
            mailboxes.insert(number, mailbox);
        }
    }
    let prefix = keys::kind_prefix(id, b'e');
    let mut erasing = 0;
    for (key, value) in index.scan(&prefix, &prefix, ROWS_MAX)? {
        report.checked += 1;
        let what = format!(
            "erase row {} of account {}",
            number(&key, prefix.len()).unwrap_or(0),
            id.0
        );
        if let Some(erase) = read::<EraseRow>(&value, &what, position, report) {
            erasing += erase.bodies.iter().map(|(_, size, _)| size).sum::<u64>();
        }
    }
    // The account's row goes along with every change; if it is the same, so was all the rest.
    if index.get_whole(&keys::account(id))?.as_ref() == Some(&before) {
        let live: u64 = mailboxes.values().map(|m| m.counts.size).sum();
        if row.used_bytes != live + erasing {
            position.tell(Kind::Used, || format!("{what}: says {} octets are used, but its mailboxes have {live} and {erasing} wait to be erased; the quota is off by that, `ringmail salvage` counts anew", row.used_bytes), report);
        }
        for problem in mailbox_problems(&row, &mailboxes) {
            position.tell(
                Kind::Mailbox,
                || format!("{what}: {problem}; `ringmail salvage` makes its mailboxes anew"),
                report,
            );
        }
    }
    Ok(Step::Mailbox(id, MailboxId(0)))
}

fn mailbox_problems(row: &AccountRow, mailboxes: &BTreeMap<MailboxId, MailboxRow>) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut names, mut validities) = (HashSet::new(), HashSet::new());
    for mailbox in mailboxes.values() {
        if !names.insert(mailbox.name.as_str()) {
            problems.push(format!("two mailboxes are named {}", mailbox.name));
        }
    }
    for (id, mailbox) in mailboxes {
        let name = &mailbox.name;
        if let Some((parent, _)) = name.rsplit_once('/')
            && !names.contains(parent)
        {
            problems.push(format!("mailbox {name} has no parent"));
        }
        if !validities.insert(mailbox.uid_validity) || mailbox.uid_validity >= row.next_uid_validity
        {
            problems.push(format!(
                "UIDVALIDITY {} of mailbox {name} is not its own, or would be given out again",
                mailbox.uid_validity
            ));
        }
        if mailbox.create_seq == 0
            || mailbox.create_seq > mailbox.modseq
            || mailbox.modseq >= row.next_modseq
        {
            problems.push(format!(
                "mailbox {name} was made at MODSEQ {}, changed at {}, and {} comes next",
                mailbox.create_seq, mailbox.modseq, row.next_modseq
            ));
        }
        if id.0 >= row.next_mailbox {
            problems.push(format!(
                "the number {} of mailbox {name} would be given out again",
                id.0
            ));
        }
        if mailbox.uid_next == 0 || mailbox.recent_from > mailbox.uid_next {
            problems.push(format!(
                "mailbox {name} has UIDNEXT {}, recent from {}",
                mailbox.uid_next, mailbox.recent_from
            ));
        }
    }
    if !names.contains(super::super::INBOX) {
        problems.push("there is no INBOX".into());
    }
    problems
}

fn mailbox(index: &Index, account: AccountId, from: MailboxId) -> Result<Step, IndexError> {
    let prefix = keys::kind_prefix(account, b'm');
    let rows = index.scan(&prefix, &keys::mailbox(account, from), 1)?;
    let Some((key, row)) = rows.into_iter().next() else {
        return Ok(Step::Others(account, OTHERS[0], Vec::new()));
    };
    let mailbox = MailboxId(number32(&key, prefix.len()));
    Ok(Step::Messages(Messages {
        account,
        mailbox,
        row,
        from: keys::messages(account, mailbox),
        counts: MailboxCounts::default(),
        unreadable: false,
        tries: 0,
    }))
}

fn messages(
    index: &Index,
    mut at: Messages,
    position: &mut Position,
    report: &mut Seen,
) -> Result<Step, IndexError> {
    let (account, mailbox) = (at.account, at.mailbox);
    let prefix = keys::messages(account, mailbox);
    let rows = index.scan(&prefix, &at.from, SLICE)?;
    // Read after the messages: it is at least as new as they are.
    let now = index.get_whole(&keys::mailbox(account, mailbox))?;
    let next_mailbox = Step::Mailbox(account, MailboxId(mailbox.0 + 1));
    let Some(now) = now.filter(|_| !position_is_over(&at)) else {
        return Ok(next_mailbox);
    };
    // One that can't be read was told of before.
    let Ok(row) = decode::<MailboxRow>(&now, String::new) else {
        return Ok(next_mailbox);
    };
    let next = after(&rows, SLICE);
    for (key, value) in rows {
        report.checked += 1;
        let uid = number32(&key, prefix.len());
        let what = format!(
            "message {uid} of mailbox {} of account {}",
            row.name, account.0
        );
        let Some(message) = read::<MessageRow>(&value, &what, position, report) else {
            at.unreadable = true;
            continue;
        };
        count(&mut at.counts, message.flags, message.size);
        let body = message.body;
        if let Some(damaged) = position.damaged.iter_mut().find(|d| d.body == body) {
            damaged.named = true;
            let problem = damaged.what.clone();
            let name = name_of(index, account)?;
            position.tell(Kind::Unreadable, || format!("message with UID {uid} of mailbox {} of account {name}: its body {body} is damaged, {problem}; restore the file from a backup with the server stopped, or, without one, delete and expunge the message with a mail client", row.name), report);
        }
        if let Some(problem) = message_problem(index, (account, mailbox, uid), &message, &row)?
            // It may have been changed or removed meanwhile.
            && index.get_whole(&key)?.as_ref() == Some(&value)
        {
            position.tell(Kind::Message, || format!("{what}: {problem}"), report);
        }
    }
    if let Some(from) = next {
        at.from = from;
        return Ok(Step::Messages(at));
    }
    if now != at.row {
        let (counts, from, tries) = (MailboxCounts::default(), prefix, at.tries + 1);
        return Ok(Step::Messages(Messages {
            row: now,
            counts,
            from,
            tries,
            ..at
        }));
    }
    if row.counts != at.counts && !at.unreadable {
        position.tell(Kind::Counts, || format!("mailbox {} of account {}: says {:?}, but it has {:?}; `ringmail salvage` counts anew", row.name, account.0, row.counts, at.counts), report);
    }
    Ok(next_mailbox)
}

/// The name that leads to an account, for texts.
fn name_of(index: &Index, account: AccountId) -> Result<String, IndexError> {
    let prefix = keys::account_name("");
    let mut from = prefix.clone();
    loop {
        let rows = index.scan(&prefix, &from, SLICE)?;
        let leads =
            |value: &[u8]| decode(value, String::new).is_ok_and(|id: AccountId| id == account);
        if let Some((key, _)) = rows.iter().find(|(_, value)| leads(value)) {
            return Ok(String::from_utf8_lossy(&key[prefix.len()..]).into_owned());
        }
        match after(&rows, SLICE) {
            Some(next) => from = next,
            None => return Ok(account.0.to_string()),
        }
    }
}

fn position_is_over(at: &Messages) -> bool {
    // One that changes all the time can't be counted; its messages have been looked at.
    at.tries > TRIES
}

fn message_problem(
    index: &Index,
    (account, mailbox, uid): (AccountId, MailboxId, u32),
    message: &MessageRow,
    row: &MailboxRow,
) -> Result<Option<String>, IndexError> {
    if uid == 0 || uid >= row.uid_next {
        return Ok(Some(format!(
            "its UID is not below UIDNEXT {}; `ringmail salvage` numbers on",
            row.uid_next
        )));
    }
    if message.create_seq == 0 || message.create_seq > message.modseq || message.modseq > row.modseq
    {
        return Ok(Some(format!(
            "it came at MODSEQ {}, changed at {}, its mailbox at {}; clients may miss a change, `ringmail salvage` numbers anew",
            message.create_seq, message.modseq, row.modseq
        )));
    }
    if message
        .keywords
        .checked_shr(row.keywords.len() as u32)
        .unwrap_or(0)
        != 0
    {
        return Ok(Some(
            "it has a keyword its mailbox does not know; set its keywords anew".into(),
        ));
    }
    match index.location(BodyId(message.body))? {
        None => {
            return Ok(Some(format!(
                "its body {} is not there; restore the directory from a backup, or expunge it",
                message.body
            )));
        }
        Some(location) => {
            let stored = u64::from(location.body_length) + location.external_length;
            if stored != message.size || u64::from(message.prefix_length) > message.size {
                return Ok(Some(format!(
                    "it has {} octets ({} of them prefix), but its body {} has {stored}; clients can't read it whole",
                    message.size, message.prefix_length, message.body
                )));
            }
        }
    }
    if message.shares_body
        && index
            .get(&keys::shared(account, message.body, mailbox, uid))?
            .is_none()
    {
        return Ok(Some(format!(
            "it shares body {}, and no row says so: removing its copies would take the body; copy it and expunge this one, or run `ringmail salvage`",
            message.body
        )));
    }
    let hash = message.thread.message_id;
    if hash != 0
        && index
            .get(&keys::thread(account, hash, mailbox, uid))?
            .is_none()
    {
        return Ok(Some(
            "no row leads from its Message-ID to it; `ringmail salvage` makes them anew".into(),
        ));
    }
    Ok(None)
}

/// Rows that lead to messages, of one kind after the other.
fn others(
    index: &Index,
    (account, kind): (AccountId, u8),
    from: Vec<u8>,
    position: &mut Position,
    report: &mut Seen,
) -> Result<Step, IndexError> {
    let prefix = keys::kind_prefix(account, kind);
    let rows = if kind == b'u' {
        first_of_each_mailbox(index, &prefix, from)?
    } else {
        index.scan(&prefix, &from, SLICE)?
    };
    for (key, value) in &rows {
        report.checked += 1;
        let rest = &key[prefix.len()..];
        let problem = match kind {
            b'd' => {
                report.delivered.extend(Delivered::of(key.clone()));
                None
            }
            b'u' => mailbox_is_missing(index, account, rest)?,
            b'x' => tombstone_problem(index, account, rest, value)?,
            _ => link_problem(index, account, kind, rest)?,
        };
        if let Some(problem) = problem
            && index.get_whole(key)?.as_ref() == Some(value)
        {
            position.tell(
                Kind::Link,
                || {
                    format!(
                        "account {}: {problem}; `ringmail salvage` makes these rows anew",
                        account.0
                    )
                },
                report,
            );
        }
    }
    Ok(match after(&rows, SLICE) {
        Some(next) => Step::Others(account, kind, next),
        None => match OTHERS.iter().skip_while(|k| **k != kind).nth(1) {
            Some(kind) => Step::Others(account, *kind, Vec::new()),
            None => Step::Start(AccountId(account.0 + 1)),
        },
    })
}

/// The first message of each mailbox number that has messages.
fn first_of_each_mailbox(
    index: &Index,
    prefix: &[u8],
    mut from: Vec<u8>,
) -> Result<Vec<Row>, IndexError> {
    let mut rows = Vec::new();
    while rows.len() < SLICE {
        let Some((key, value)) = index.scan(prefix, &from, 1)?.into_iter().next() else {
            break;
        };
        let mailbox = number32(&key, prefix.len());
        rows.push((key, value));
        let Some(next) = mailbox.checked_add(1) else {
            break;
        };
        from = [prefix, &next.to_be_bytes()].concat();
    }
    Ok(rows)
}

fn mailbox_is_missing(
    index: &Index,
    account: AccountId,
    rest: &[u8],
) -> Result<Option<String>, IndexError> {
    let mailbox = MailboxId(number32(rest, 0));
    let row = match index.get_whole(&keys::mailbox(account, mailbox))? {
        // Deleted, and its messages are on their way out.
        None => index.get_whole(&keys::cleared(account, mailbox))?,
        row => row,
    };
    Ok(row.is_none().then(|| {
        format!(
            "there are messages of mailbox {}, which is not there",
            mailbox.0
        )
    }))
}

fn tombstone_problem(
    index: &Index,
    account: AccountId,
    rest: &[u8],
    value: &[u8],
) -> Result<Option<String>, IndexError> {
    if let Some(problem) = mailbox_is_missing(index, account, rest)? {
        return Ok(Some(format!("tombstones: {problem}")));
    }
    let mailbox = MailboxId(number32(rest, 0));
    let modseq = number(rest, 4).unwrap_or(0);
    let tombstone = match decode::<TombstoneRow>(value, || {
        format!(
            "tombstone {modseq} of mailbox {} of account {}",
            mailbox.0, account.0
        )
    }) {
        Ok(row) => row,
        Err(error) => return Ok(Some(error.to_string())),
    };
    for uid in tombstone.uids {
        if index
            .get_whole(&keys::message(account, mailbox, uid))?
            .is_some()
        {
            return Ok(Some(format!(
                "message {uid} of mailbox {} was expunged at MODSEQ {modseq} and is there",
                mailbox.0
            )));
        }
    }
    Ok(None)
}

/// Rows of threads and shared bodies: kind, hash or body, mailbox, UID.
fn link_problem(
    index: &Index,
    account: AccountId,
    kind: u8,
    rest: &[u8],
) -> Result<Option<String>, IndexError> {
    let (what, mailbox, uid) = (
        number(rest, 0).unwrap_or(0),
        MailboxId(number32(rest, 8)),
        number32(rest, 12),
    );
    let message = index.get_whole(&keys::message(account, mailbox, uid))?;
    let message = message.and_then(|row| decode::<MessageRow>(&row, String::new).ok());
    Ok(match kind {
        b'r' if message
            .as_ref()
            .is_some_and(|m| m.body == what && m.shares_body) =>
        {
            None
        }
        b't' if message
            .as_ref()
            .is_some_and(|m| m.thread.message_id == what) =>
        {
            None
        }
        b'r' => Some(format!(
            "a row says that message {uid} of mailbox {} shares body {what}, and it does not: the body is never removed",
            mailbox.0
        )),
        _ => Some(format!(
            "a row leads from Message-ID {what:x} to message {uid} of mailbox {}, which has another or is gone",
            mailbox.0
        )),
    })
}

fn read<T: DeserializeOwned>(
    value: &[u8],
    what: &str,
    position: &mut Position,
    report: &mut Seen,
) -> Option<T> {
    match decode(value, || what.to_string()) {
        Ok(row) => Some(row),
        Err(error) => {
            position.tell(Kind::Row, || error.to_string(), report);
            None
        }
    }
}

/// The key to go on from, if there may be more.
pub(super) fn after(rows: &[Row], limit: usize) -> Option<Vec<u8>> {
    let last = rows.last().filter(|_| rows.len() == limit)?;
    Some([last.0.as_slice(), &[0]].concat())
}

pub(super) fn number(key: &[u8], at: usize) -> Option<u64> {
    let bytes = key.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn number32(key: &[u8], at: usize) -> u32 {
    let bytes = key.get(at..at + 4).and_then(|b| b.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}

/// Kinds that lead to messages, in the order they are looked at; at last deliveries, which lead to entries.
const OTHERS: [u8; 5] = [b'u', b'x', b'r', b't', b'd'];
/// Rows in one slice.
const SLICE: usize = 1_000;
/// Mailboxes, or erase rows, of one account.
const ROWS_MAX: usize = 20_000;
/// How often a mailbox that changes is counted anew.
const TRIES: u8 = 3;
