//! Keys of the rows in a shard. Numbers are big-endian, so that rows of one mailbox lie together in the order of their UIDs.
//!
//! | key | row |
//! |---|---|
//! | `N` | next account id |
//! | `M` | which mechanisms secrets are kept for, once those of others are gone |
//! | `k` fingerprint | key of a TLS client certificate |
//! | `K` kind | keys of the API (`api_keys.rs`) |
//! | `I` kind | requests of the API that were answered (`answered.rs`) |
//! | `l` name NUL hash | record of login attempts of an account; without a name: of names that nobody has |
//! | `P` domain | policy of MTA-STS of a domain that is not ours (`tls_policy/sts_rows.rs`) |
//! | `T` day domain | how TLS went with a domain on a day (`tls_policy/results.rs`) |
//! | `W` pool NUL member NUL site | how much an address of a pool may send to a site (`queue/warm_up.rs`) |
//! | `Y` name NUL template | template of messages (`templates.rs`) |
//! | `n` name | account id of a name |
//! | `v` name | of a removed account: the UIDVALIDITY its next namesake starts with |
//! | `R` id | account that is being removed: its name |
//! | `a` id `i` | account: counters, quota |
//! | `a` id `m` mailbox | mailbox |
//! | `a` id `s` name | subscription |
//! | `a` id `u` mailbox uid | message |
//! | `a` id `x` mailbox modseq | tombstone: UIDs expunged with that modseq |
//! | `a` id `e` number | bodies to bury once no session can see them |
//! | `a` id `r` body mailbox uid | a message that shares its body with others |
//! | `a` id `t` hash mailbox uid | Message-ID of a message, for threads |
//! | `a` id `d` transaction | a fan-out entry's delivery that has been made |
//! | `a` id `g` mailbox | a deleted mailbox whose messages are being removed: its name |
//! | `a` id `c` | credentials |
//! | `f` number | fan-out entry |
//! | `U` name NUL | mark of an account's life, which links to unsubscribe have (`queue/unsubscribe.rs`) |
//! | `S` name NUL address | address of an account's suppression list (`queue/suppression.rs`) |
//! | `H` name NUL kind | recipients of the queue that are over, kept for their account (`queue/retired.rs`) |
//! | `B` name NUL kind | batches of an account, and how far they are (`queue/batch.rs`) |
//! | `E` name NUL event | number of an event of the queue that was taken, until nobody repeats it (`queue/events.rs`) |
//! | `L` name NUL kind | how much an account has sent, and to whom (`queue/sending.rs`) |
//! | `w` name NUL kind | webhooks of an account: endpoints, what waits for them, what was sent (`queue/hooks/mod.rs`) |
//! | `h` | hold rules of the queue, the same in every shard (`queue/hold_rules.rs`) |
//! | `q` number (index) | queued message; what became of one of its recipients (`queue/rows.rs`) |

use super::rows::{AccountId, MailboxId};

/// The row that counts accounts.
pub const NEXT_ACCOUNT: &[u8] = b"N";

/// Keys of client certificates.
pub const CLIENT_KEYS: &[u8] = b"k";

pub fn client_key(fingerprint: &[u8; 32]) -> Vec<u8> {
    with(CLIENT_KEYS.to_vec(), &[fingerprint])
}

/// A request that was answered.
pub fn answered(account: &str, hash: &[u8; 32]) -> Vec<u8> {
    with(answered_of(account), &[hash])
}

/// All of an account.
pub fn answered_of(account: &str) -> Vec<u8> {
    of_account(b"Ik", account)
}

/// Requests that were answered.
pub const ANSWERED: &[u8] = b"I";

/// When those were answered that are kept.
pub const ANSWERED_TIMES: &[u8] = b"It";

/// That of one.
pub fn answered_at(at: i64, account: &str, hash: &[u8; 32]) -> Vec<u8> {
    with(answered_before(at), &[account.as_bytes(), b"\0", hash])
}

/// Behind those that were answered before a time.
pub fn answered_before(at: i64) -> Vec<u8> {
    let at = at.max(0) as u64;
    with(ANSWERED_TIMES.to_vec(), &[&at.to_be_bytes()])
}

/// The key of the request that a time is about.
pub fn answered_of_time(key: &[u8]) -> Vec<u8> {
    let behind = ANSWERED_TIMES.len() + 8;
    with(b"Ik".to_vec(), &[key.get(behind..).unwrap_or_default()])
}

/// Templates of messages.
pub const TEMPLATES: &[u8] = b"Y";

pub fn templates(account: &str) -> Vec<u8> {
    of_account(TEMPLATES, account)
}

pub fn template(account: &str, name: &str) -> Vec<u8> {
    with(templates(account), &[name.as_bytes()])
}

/// Keys of the API.
pub const API_KEYS: &[u8] = b"K";

pub fn api_key(id: &[u8; 8]) -> Vec<u8> {
    with(API_KEYS.to_vec(), &[b"i", id])
}

/// All that an account has.
pub fn own_api_keys(account: &str) -> Vec<u8> {
    with(API_KEYS.to_vec(), &[b"a", account.as_bytes(), b"\0"])
}

pub fn own_api_key(account: &str, id: &[u8; 8]) -> Vec<u8> {
    with(own_api_keys(account), &[id])
}

/// Records of login attempts.
pub const LOGINS: &[u8] = b"l";

/// Those of an account, or of nobody.
pub fn logins(account: &str) -> Vec<u8> {
    with(LOGINS.to_vec(), &[account.as_bytes(), b"\0"])
}

/// Addresses of suppression lists.
pub const SUPPRESSIONS: &[u8] = b"S";

/// Recipients that are over.
pub const RETIRED: &[u8] = b"H";

/// Marks of accounts' lives.
pub const LIVES: &[u8] = b"U";

/// Webhooks of accounts.
pub const WEBHOOKS: &[u8] = b"w";
/// Batches.
pub const BATCHES: &[u8] = b"B";

/// How much accounts have sent.
pub const SENDING: &[u8] = b"L";

/// Numbers of events that were taken.
pub const EVENTS: &[u8] = b"E";

/// Rows of a kind that are an account's by its name.
pub fn of_account(kind: &[u8], account: &str) -> Vec<u8> {
    with(kind.to_vec(), &[account.as_bytes(), b"\0"])
}

/// Policies of MTA-STS.
pub const STS_POLICIES: &[u8] = b"P";

/// How TLS went.
pub const TLS_RESULTS: &[u8] = b"T";

/// How much addresses of pools may send.
pub const WARM_UPS: &[u8] = b"W";

/// Says for which mechanisms secrets are kept.
pub const MECHANISMS: &[u8] = b"M";

/// Rows that lead from a name to its account.
pub const ACCOUNT_NAMES: &[u8] = b"n";

pub fn account_name(name: &str) -> Vec<u8> {
    [b"n", name.as_bytes()].concat()
}

/// Rows of accounts.
pub const ACCOUNTS: &[u8] = b"a";

/// Accounts being removed.
pub const REMOVALS: &[u8] = b"R";

pub fn removal(account: AccountId) -> Vec<u8> {
    with(REMOVALS.to_vec(), &[&account.0.to_be_bytes()])
}

pub fn removed(name: &str) -> Vec<u8> {
    [b"v", name.as_bytes()].concat()
}

pub fn account_prefix(account: AccountId) -> Vec<u8> {
    let mut key = vec![b'a'];
    key.extend(account.0.to_be_bytes());
    key
}

/// All rows of one kind of an account.
pub fn kind_prefix(account: AccountId, kind: u8) -> Vec<u8> {
    let mut key = account_prefix(account);
    key.push(kind);
    key
}

pub fn account(account: AccountId) -> Vec<u8> {
    kind_prefix(account, b'i')
}

pub fn credentials(account: AccountId) -> Vec<u8> {
    kind_prefix(account, b'c')
}

pub fn mailbox(account: AccountId, mailbox: MailboxId) -> Vec<u8> {
    with(kind_prefix(account, b'm'), &[&mailbox.0.to_be_bytes()])
}

pub fn subscription(account: AccountId, name: &str) -> Vec<u8> {
    with(kind_prefix(account, b's'), &[name.as_bytes()])
}

pub fn messages(account: AccountId, mailbox: MailboxId) -> Vec<u8> {
    with(kind_prefix(account, b'u'), &[&mailbox.0.to_be_bytes()])
}

pub fn message(account: AccountId, mailbox: MailboxId, uid: u32) -> Vec<u8> {
    with(
        kind_prefix(account, b'u'),
        &[&mailbox.0.to_be_bytes(), &uid.to_be_bytes()],
    )
}

pub fn tombstone(account: AccountId, mailbox: MailboxId, modseq: u64) -> Vec<u8> {
    with(
        kind_prefix(account, b'x'),
        &[&mailbox.0.to_be_bytes(), &modseq.to_be_bytes()],
    )
}

pub fn tombstones(account: AccountId, mailbox: MailboxId) -> Vec<u8> {
    with(kind_prefix(account, b'x'), &[&mailbox.0.to_be_bytes()])
}

pub fn erase(account: AccountId, number: u64) -> Vec<u8> {
    with(kind_prefix(account, b'e'), &[&number.to_be_bytes()])
}

pub fn shared(account: AccountId, body: u64, mailbox: MailboxId, uid: u32) -> Vec<u8> {
    with(
        shared_prefix(account, body),
        &[&mailbox.0.to_be_bytes(), &uid.to_be_bytes()],
    )
}

pub fn shared_prefix(account: AccountId, body: u64) -> Vec<u8> {
    with(kind_prefix(account, b'r'), &[&body.to_be_bytes()])
}

pub fn thread(account: AccountId, hash: u64, mailbox: MailboxId, uid: u32) -> Vec<u8> {
    with(
        kind_prefix(account, b't'),
        &[
            &hash.to_be_bytes(),
            &mailbox.0.to_be_bytes(),
            &uid.to_be_bytes(),
        ],
    )
}

pub fn cleared(account: AccountId, mailbox: MailboxId) -> Vec<u8> {
    with(kind_prefix(account, b'g'), &[&mailbox.0.to_be_bytes()])
}

pub fn delivered(account: AccountId, transaction: &[u8]) -> Vec<u8> {
    with(kind_prefix(account, b'd'), &[transaction])
}

/// Fan-out entries.
pub const FAN_OUT: &[u8] = b"f";

pub fn fan_out(number: u64) -> Vec<u8> {
    with(FAN_OUT.to_vec(), &[&number.to_be_bytes()])
}

/// Hold rules of the queue.
pub const HOLD_RULES: &[u8] = b"h";

/// Queue entries.
pub const QUEUE: &[u8] = b"q";

pub fn queue(number: u64) -> Vec<u8> {
    with(QUEUE.to_vec(), &[&number.to_be_bytes()])
}

fn with(mut key: Vec<u8>, parts: &[&[u8]]) -> Vec<u8> {
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}
