//! The rows of one account, from what its bodies say of themselves.

use std::collections::{BTreeMap, BTreeSet};

use shards::index::Row;
use shards::segments::{BodyId, Location};

use super::super::add::count;
use super::super::flags::{add_keywords, keyword_bits};
use super::super::keys;
use super::super::mailboxes::{INBOX, check_name, parents};
use super::super::rows::{
    AccountId, AccountRow, BodyMeta, MailboxCounts, MailboxId, MailboxRow, MessageRow, SpecialUse,
    TRANSACTION, ThreadRow, encode,
};
use super::Salvaged;
use super::old::OldAccount;

/// A body that says it is a message of the account.
pub(super) struct Found {
    /// Its place among all records: later ones are newer.
    pub order: u64,
    pub body: BodyId,
    pub location: Location,
    pub meta: BodyMeta,
    /// The fan-out entry that brought it goes on and must find that it did.
    pub delivered: Option<[u8; TRANSACTION]>,
}

#[derive(Default)]
pub(super) struct Rebuilt {
    pub rows: Vec<Row>,
    pub bodies: Vec<(BodyId, Location)>,
}

#[derive(Default)]
struct Draft {
    name: String,
    /// Order of the record that gave the name.
    named_by: u64,
    uid_next: u32,
    special_use: SpecialUse,
    keywords: Vec<String>,
    messages: BTreeMap<u32, Found>,
    /// Those that need another UID.
    more: Vec<Found>,
}

/// `groups`: at least as many as were ever committed; each raised a MODSEQ by less than 4,096.
pub(super) fn rebuild(
    id: AccountId,
    name: &str,
    found: Vec<Found>,
    old: Option<&OldAccount>,
    groups: u64,
    salvaged: &mut Salvaged,
) -> Rebuilt {
    let delivered = found.iter().filter_map(|f| f.delivered);
    let delivered: Vec<Row> = delivered
        .map(|transaction| (keys::delivered(id, &transaction), encode(&())))
        .collect();
    let mut drafts = by_validity(found, old);
    let validity_max = drafts.keys().next_back().copied().unwrap_or(0);
    let mut next_uid_validity = validity_max.saturating_add(VALIDITY_GAP).max(1);
    let old_row = old.and_then(|o| o.row.as_ref());
    next_uid_validity = next_uid_validity.max(old_row.map_or(1, |r| r.next_uid_validity));
    let mut mailboxes = by_name(&mut drafts);
    let names: BTreeSet<String> = mailboxes.keys().cloned().collect();
    let missing = names.iter().flat_map(|name| parents(name)).chain([INBOX]);
    for missing in missing.filter(|name| !names.contains(*name)) {
        mailboxes.entry(missing.to_string()).or_insert_with(|| {
            next_uid_validity += 1;
            let name = missing.to_string();
            (
                next_uid_validity - 1,
                Draft {
                    name,
                    uid_next: 1,
                    ..Draft::default()
                },
            )
        });
    }
    let modseq = groups
        .saturating_mul(MODSEQS_PER_GROUP)
        .max(old_row.map_or(2, |r| r.next_modseq));
    let mut rebuilt = Rebuilt {
        rows: delivered,
        ..Rebuilt::default()
    };
    let mut used_bytes = 0;
    let mut number = MailboxId(1);
    for (name, (uid_validity, draft)) in mailboxes {
        let row = mailbox(
            id,
            number,
            (name, uid_validity, modseq),
            draft,
            &mut rebuilt,
            salvaged,
        );
        used_bytes += row.counts.size;
        rebuilt
            .rows
            .push((keys::subscription(id, &row.name), encode(&())));
        rebuilt.rows.push((keys::mailbox(id, number), encode(&row)));
        number.0 += 1;
        salvaged.mailboxes += 1;
    }
    let row = AccountRow {
        next_modseq: modseq + 1,
        next_uid_validity,
        next_mailbox: number.0,
        next_erase: 1,
        used_bytes,
        highest_deleted_modseq: modseq,
    };
    rebuilt.rows.push((keys::account(id), encode(&row)));
    rebuilt.rows.push((keys::account_name(name), encode(&id)));
    for subscription in old.iter().flat_map(|o| &o.subscriptions) {
        let key = [keys::kind_prefix(id, b's'), subscription.clone()].concat();
        rebuilt.rows.push((key, encode(&())));
    }
    match old.and_then(|o| o.credentials.clone()) {
        Some(credentials) => rebuilt.rows.push((keys::credentials(id), credentials)),
        None => salvaged.without_password.push(name.to_string()),
    }
    salvaged.accounts += 1;
    rebuilt
}

/// A mailbox keeps its UIDVALIDITY when it is renamed, so that is what tells mailboxes apart.
fn by_validity(found: Vec<Found>, old: Option<&OldAccount>) -> BTreeMap<u32, Draft> {
    let mut drafts: BTreeMap<u32, Draft> = BTreeMap::new();
    for found in found {
        let draft = drafts.entry(found.meta.uid_validity).or_default();
        if found.order >= draft.named_by && check_name(&found.meta.mailbox).is_ok() {
            draft.named_by = found.order;
            draft.name = found.meta.mailbox.clone();
        }
        // Copies and moves gave out UIDs that no body tells of.
        draft.uid_next = draft
            .uid_next
            .max(found.meta.uid.saturating_add(1 + UID_GAP));
        match draft.messages.get(&found.meta.uid) {
            // An unacknowledged one, whose UID was given out again.
            Some(other) if other.order > found.order => draft.more.push(found),
            _ => draft
                .more
                .extend(draft.messages.insert(found.meta.uid, found)),
        }
    }
    for row in old.iter().flat_map(|o| &o.mailboxes) {
        let draft = drafts.entry(row.uid_validity).or_default();
        // The old index knows of renames without later mail.
        draft.name = row.name.clone();
        draft.uid_next = draft.uid_next.max(row.uid_next);
        draft.special_use = row.special_use;
        draft.keywords = row.keywords.clone();
    }
    drafts
}

/// The newest mailbox of a name keeps its numbers; messages of older ones go into it.
fn by_name(drafts: &mut BTreeMap<u32, Draft>) -> BTreeMap<String, (u32, Draft)> {
    let mut mailboxes: BTreeMap<String, (u32, Draft)> = BTreeMap::new();
    while let Some((validity, mut draft)) = drafts.pop_last() {
        if draft.name.is_empty() {
            draft.name = "Salvaged".into();
        }
        match mailboxes.get_mut(&draft.name) {
            None => drop(mailboxes.insert(draft.name.clone(), (validity, draft))),
            Some((_, newer)) => {
                newer
                    .more
                    .extend(std::mem::take(&mut draft.messages).into_values());
                newer.more.append(&mut draft.more);
            }
        }
    }
    mailboxes
}

fn mailbox(
    id: AccountId,
    number: MailboxId,
    (name, uid_validity, modseq): (String, u32, u64),
    mut draft: Draft,
    rebuilt: &mut Rebuilt,
    salvaged: &mut Salvaged,
) -> MailboxRow {
    let mut uid_next = draft.uid_next.max(1);
    draft.more.sort_by_key(|found| found.order);
    for found in std::mem::take(&mut draft.more) {
        if uid_next == u32::MAX {
            salvaged.lost_total += 1;
            continue;
        }
        draft.messages.insert(uid_next, found);
        uid_next += 1;
        salvaged.renumbered += 1;
    }
    let mut row = MailboxRow {
        name,
        uid_validity,
        uid_next,
        modseq,
        create_seq: modseq,
        special_use: draft.special_use,
        counts: MailboxCounts::default(),
        keywords: draft.keywords,
        recent_from: uid_next,
    };
    for (
        uid,
        Found {
            body,
            location,
            meta,
            ..
        },
    ) in draft.messages
    {
        for keyword in &meta.keywords {
            // Beyond the limit they are left out.
            let _ = add_keywords(&mut row.keywords, &[keyword]);
        }
        let message = MessageRow {
            modseq,
            create_seq: modseq,
            flags: meta.flags,
            keywords: keyword_bits(&row.keywords, &meta.keywords),
            size: u64::from(location.body_length) + location.external_length,
            prefix_length: meta.prefix_length,
            received: meta.received,
            saved: meta.received,
            body: body.0,
            shares_body: false,
            thread: ThreadRow::default(),
        };
        count(&mut row.counts, message.flags, message.size);
        salvaged.messages += 1;
        salvaged.octets += message.size;
        rebuilt.bodies.push((body, location));
        rebuilt
            .rows
            .push((keys::message(id, number, uid), encode(&message)));
    }
    row
}

/// UIDs left free after the highest a body tells of.
const UID_GAP: u32 = 1_000_000;
/// UIDVALIDITYs left free: mailboxes without messages leave no trace.
const VALIDITY_GAP: u32 = 10_001;
/// More than one group of 256 batches can give out.
const MODSEQS_PER_GROUP: u64 = 4_096;
