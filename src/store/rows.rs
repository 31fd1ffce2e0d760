//! Values of the rows, and their encoding: one octet of version, then postcard. A change of a struct is a new version and a reader
//! for the old one; an unknown version is an error that names the row.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// Number of an account within its shard; never used again after its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccountId(pub u64);

/// Number of a mailbox within its account; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MailboxId(pub u32);

/// RFC 7162: one counter for each account; 63 bits.
pub type ModSeq = u64;

/// RFC 6154 special-use attributes of a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialUse {
    /// `\Archive`
    pub archive: bool,
    /// `\Drafts`
    pub drafts: bool,
    /// `\Junk`
    pub junk: bool,
    /// `\Sent`
    pub sent: bool,
    /// `\Trash`
    pub trash: bool,
}

impl SpecialUse {
    /// These uses but those of `other`.
    #[must_use]
    pub fn without(self, other: SpecialUse) -> SpecialUse {
        SpecialUse {
            archive: self.archive && !other.archive,
            drafts: self.drafts && !other.drafts,
            junk: self.junk && !other.junk,
            sent: self.sent && !other.sent,
            trash: self.trash && !other.trash,
        }
    }
}

/// The account's counters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountRow {
    /// The next MODSEQ to give out.
    pub next_modseq: ModSeq,
    /// The next UIDVALIDITY: grows with each mailbox made.
    pub next_uid_validity: u32,
    /// The next mailbox number.
    pub next_mailbox: u32,
    /// The next number of an erase row.
    pub next_erase: u64,
    /// Octets of all messages, expunged ones included until they are buried.
    pub used_bytes: u64,
    /// The highest MODSEQ whose tombstones were dropped; earlier changes can't be told exactly.
    pub highest_deleted_modseq: ModSeq,
}

/// Numbers of one mailbox. All count what is there, `\Deleted` messages included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxCounts {
    /// Messages.
    pub messages: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// Octets of all messages.
    pub size: u64,
}

/// A mailbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MailboxRow {
    pub name: String,
    pub uid_validity: u32,
    pub uid_next: u32,
    /// MODSEQ of its latest change.
    pub modseq: ModSeq,
    /// MODSEQ of its making.
    pub create_seq: ModSeq,
    pub special_use: SpecialUse,
    pub counts: MailboxCounts,
    /// Keywords in the order their bits were given out. Only grows.
    pub keywords: Vec<String>,
    /// UIDs below it were told as `\Recent` to some session.
    pub recent_from: u32,
}

/// A message in a mailbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageRow {
    pub modseq: ModSeq,
    pub create_seq: ModSeq,
    /// Bits of [`super::system`].
    pub flags: u16,
    /// Bits by position in [`MailboxRow::keywords`].
    pub keywords: u64,
    /// Octets of prefix and content.
    pub size: u64,
    /// Octets of header fields added in front of the content that was received.
    pub prefix_length: u32,
    /// Internal date, seconds since 1970.
    pub received: i64,
    /// When it was saved to this mailbox, seconds since 1970 (RFC 8514).
    pub saved: i64,
    /// Number of its body.
    pub body: u64,
    /// Other messages may have the same body.
    pub shares_body: bool,
    pub thread: ThreadRow,
}

/// What threads need, without the message at hand. Hashes are of canonical forms; 0 is none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ThreadRow {
    pub message_id: u64,
    /// References, closest last; at most 20.
    pub references: Vec<u64>,
    pub base_subject: u64,
    pub is_response: bool,
    pub is_delivery_report: bool,
}

/// UIDs expunged with one MODSEQ.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TombstoneRow {
    pub uids: Vec<u32>,
}

/// Bodies that no message names any more, but a session might still read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EraseRow {
    /// (body, octets, whether others may share it)
    pub bodies: Vec<(u64, u64, bool)>,
}

/// Stored with each body, so that salvage can rebuild its rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BodyMeta {
    pub account: String,
    pub mailbox: String,
    pub uid_validity: u32,
    pub uid: u32,
    pub flags: u16,
    pub keywords: Vec<String>,
    pub received: i64,
    pub prefix_length: u32,
    /// Empty for messages that did not come by SMTP.
    pub reverse_path: String,
    pub recipient: String,
}

/// A message for several accounts, accepted and not yet delivered to all of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FanOutRow {
    /// Its body; the entry's number.
    pub body: u64,
    /// Who gets it. The position is part of the transaction's number.
    pub recipients: Vec<FanOutRecipient>,
    /// Header fields all recipients get, after Delivered-To.
    pub prefix: Vec<u8>,
    pub reverse_path: String,
    pub received: i64,
    pub thread: ThreadRow,
    /// It was taken as a report about mail that went out. The row's version says so.
    #[serde(skip)]
    pub is_report: bool,
}

impl FanOutRow {
    /// As it is stored: of a report with a version of its own.
    pub fn encode(&self) -> Vec<u8> {
        let version = if self.is_report {
            FAN_OUT_REPORT
        } else {
            VERSION
        };
        encode_version(version, self)
    }

    /// Reads it; `name` says which one in the error.
    pub fn decode(bytes: &[u8], name: impl FnOnce() -> String) -> Result<FanOutRow, StoreError> {
        let is_report = bytes.first() == Some(&FAN_OUT_REPORT);
        let version = if is_report { FAN_OUT_REPORT } else { VERSION };
        let row = decode_version(version, bytes, name)?;
        Ok(FanOutRow { is_report, ..row })
    }
}

/// One account that gets a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FanOutRecipient {
    /// Who; empty once salvage found that it has the message.
    pub account: String,
    /// Into which mailbox.
    pub mailbox: String,
    /// The address it was sent to: Delivered-To.
    pub address: String,
}

/// The number of a fan-out transaction, as part of a key.
pub fn transaction(shard: u16, entry: u64, recipient: u32) -> [u8; TRANSACTION] {
    let mut bytes = [0; TRANSACTION];
    bytes[..2].copy_from_slice(&shard.to_be_bytes());
    bytes[2..10].copy_from_slice(&entry.to_be_bytes());
    bytes[10..].copy_from_slice(&recipient.to_be_bytes());
    bytes
}

/// Shard, entry and recipient of a transaction.
pub fn parts_of_transaction(bytes: &[u8; TRANSACTION]) -> (u16, u64, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = *bytes;
    (
        u16::from_be_bytes([a, b]),
        u64::from_be_bytes([c, d, e, f, g, h, i, j]),
        u32::from_be_bytes([k, l, m, n]),
    )
}

/// A body's description, with the number of the fan-out transaction that brought it behind the row.
pub fn encode_body_meta(meta: &BodyMeta, transaction: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = encode(meta);
    bytes.extend_from_slice(transaction.unwrap_or_default());
    bytes
}

/// The description and the transaction; none if the message came by itself.
pub fn decode_body_meta(bytes: &[u8]) -> Option<(BodyMeta, Option<[u8; TRANSACTION]>)> {
    let (meta, rest) = match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::take_from_bytes(rest).ok()?,
        _ => return None,
    };
    Some((meta, rest.try_into().ok()))
}

/// Encodes a row.
pub fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    encode_version(VERSION, row)
}

/// Encodes a row that has had other versions.
pub fn encode_version<T: Serialize>(version: u8, row: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    bytes.push(version);
    // Only a serializer of ours could fail here, and these have none.
    postcard::to_extend(row, bytes).unwrap_or_default()
}

/// Decodes a row; `name` says which one in the error.
pub fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    name: impl FnOnce() -> String,
) -> Result<T, StoreError> {
    decode_version(VERSION, bytes, name)
}

/// Decodes a row of this version.
pub fn decode_version<T: DeserializeOwned>(
    version: u8,
    bytes: &[u8],
    name: impl FnOnce() -> String,
) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((found, rest)) if *found == version => {
            postcard::from_bytes(rest).map_err(|_| StoreError::Row(name()))
        }
        _ => Err(StoreError::Row(name())),
    }
}

/// Key of the hold rules of the queue.
pub const HOLD_RULES: &[u8] = super::keys::HOLD_RULES;

/// Key of a queue entry.
pub fn queue_key(number: u64) -> Vec<u8> {
    super::keys::queue(number)
}

/// Keys of the policies of MTA-STS begin so; the domain follows.
pub const STS_POLICIES: &[u8] = super::keys::STS_POLICIES;

/// Keys of addresses of suppression lists begin so; the account and the address follow.
pub const SUPPRESSIONS: &[u8] = super::keys::SUPPRESSIONS;

/// The beginning of those of an account.
pub fn suppressions_key(account: &str) -> Vec<u8> {
    super::keys::of_account(SUPPRESSIONS, account)
}

/// Keys of recipients that are over begin so; the account and more follow.
pub const RETIRED: &[u8] = super::keys::RETIRED;

/// The beginning of those of an account.
pub fn retired_key(account: &str) -> Vec<u8> {
    super::keys::of_account(RETIRED, account)
}

/// Key of the mark of an account's life.
pub fn lives_key(account: &str) -> Vec<u8> {
    super::keys::of_account(super::keys::LIVES, account)
}

/// Keys of webhooks begin so; the account and more follow.
pub const WEBHOOKS: &[u8] = super::keys::WEBHOOKS;

/// The beginning of those of an account.
pub fn webhooks_key(account: &str) -> Vec<u8> {
    super::keys::of_account(WEBHOOKS, account)
}

/// Keys of batches begin so; the account and more follow.
pub const BATCHES: &[u8] = super::keys::BATCHES;

/// The beginning of those of an account.
pub fn batches_key(account: &str) -> Vec<u8> {
    super::keys::of_account(BATCHES, account)
}

/// Keys of what accounts have sent begin so; the account and more follow.
pub const SENDING: &[u8] = super::keys::SENDING;

/// That of an account's counts.
pub fn sending_counts_key(account: &str) -> Vec<u8> {
    let mut key = super::keys::of_account(SENDING, account);
    key.push(b'c');
    key
}

/// The beginning of those of its recipients.
pub fn sending_recipients_key(account: &str) -> Vec<u8> {
    let mut key = super::keys::of_account(SENDING, account);
    key.push(b'r');
    key
}

/// Keys of events that were taken begin so; the account and the event follow.
pub const EVENTS: &[u8] = super::keys::EVENTS;

/// The beginning of those of an account.
pub fn events_key(account: &str) -> Vec<u8> {
    super::keys::of_account(EVENTS, account)
}

/// Keys of the results of TLS begin so; the day and the domain follow.
pub const TLS_RESULTS: &[u8] = super::keys::TLS_RESULTS;

/// Keys of what addresses of pools may send begin so; pool, address and site follow.
pub const WARM_UPS: &[u8] = super::keys::WARM_UPS;

/// Key of a fan-out entry.
pub fn fan_out_key(number: u64) -> Vec<u8> {
    super::keys::fan_out(number)
}

/// Octets of a fan-out transaction's number: shard, entry, position of the recipient.
pub const TRANSACTION: usize = 14;
const VERSION: u8 = 1;
/// Version of a fan-out entry whose message is a report.
const FAN_OUT_REPORT: u8 = 2;
/// The kind of a message's body record.
pub const BODY_MESSAGE: u8 = 1;
/// The kind of a fan-out entry's body record.
pub const BODY_FAN_OUT: u8 = 2;
/// The kind of a queued message's body record.
pub const BODY_QUEUE: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_report_says_so_and_others_are_as_they_were() {
        let row = FanOutRow {
            body: 7,
            recipients: Vec::new(),
            prefix: b"Received: x\r\n".to_vec(),
            reverse_path: "a@a.example".into(),
            received: 5,
            thread: ThreadRow::default(),
            is_report: false,
        };
        assert_eq!(row.encode(), encode(&row));
        for is_report in [false, true] {
            let octets = FanOutRow {
                is_report,
                ..row.clone()
            }
            .encode();
            let read = FanOutRow::decode(&octets, String::new).unwrap();
            assert_eq!((read.body, read.is_report), (7, is_report));
        }
        assert!(FanOutRow::decode(&[3, 0], String::new).is_err());
    }
}
