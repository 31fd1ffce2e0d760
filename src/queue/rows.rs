//! Rows of queued messages, in the shard that keeps the message. All that is common to the recipients is one row, written once; a recipient
//! gets a row of its own when something has become of it. A message all of whose recipients are done has no rows.
//!
//! | key | row |
//! |---|---|
//! | `q` body | message |
//! | `q` body index | what became of a recipient; none: nothing yet |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shards::segments::BodyId;

use super::batch::BatchInfo;
use super::events::OwedEvent;
use super::from_id::FromIds;
use super::id::{QueueId, first_of};
use super::warm_up::WarmUpKey;
use crate::store::{StoreError, rows};

/// A message on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// Octets, with the fields we added in front.
    pub size: u64,
    /// Octets of these fields.
    pub prefix_length: u32,
    /// Who submitted it; empty: nobody, it is the server's own.
    pub account: String,
    /// Where notifications go; empty for the null path.
    pub reverse_path: String,
    /// With its angle brackets; empty if it has none.
    pub message_id: String,
    /// SMTPUTF8 is needed. RFC 6531.
    pub smtputf8: bool,
    /// Octets beyond ASCII are in it: 8BITMIME is needed. RFC 6152.
    pub eight_bit: bool,
    /// It has lines that DATA can't carry: BINARYMIME is needed. RFC 3030.
    pub binary: bool,
    /// When it was accepted, seconds since 1970.
    pub accepted: i64,
    /// Not before this. RFC 4865. 0: at once.
    pub not_before: i64,
    /// When to give up.
    pub expires: i64,
    /// Whether TLS is a must (RFC 8689, REQUIRETLS), or does not matter (TLS-Required: No).
    pub require_tls: Option<bool>,
    /// How much of the message notifications return. RFC 3461 4.3.
    pub ret: Option<Ret>,
    /// RFC 3461 4.4: the parameter as it came, which is how it goes on.
    pub envid: Option<String>,
    /// To whom, at least one.
    pub recipients: Vec<Recipient>,
    /// It is held for so many seconds, as HOLDFOR asked; none: until a time, or not at all. RFC 4865.
    pub held_for: Option<u32>,
    /// What the reverse-path says beside whose it is.
    pub unique_mail_from: Option<UniqueMailFrom>,
    /// What the submitter says of it for himself, by key.
    pub extra: BTreeMap<String, String>,
    /// Its body is a recipe, and each recipient's message is made from it when it is due.
    pub batch: Option<BatchInfo>,
}

/// What a reverse-path says beside whose it is, so that reports find what they are about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UniqueMailFrom {
    /// Each recipient's fromid stands behind the localpart and this separator, when it is sent. It is not in [`MessageRow::reverse_path`].
    FromId {
        /// The first separator of the domain, as it was when the message was accepted.
        separator: String,
    },
    /// The submitter has put an id of his own behind the separator: it is in [`MessageRow::reverse_path`], for all recipients.
    Own,
}

impl MessageRow {
    /// The reverse-path with which it goes to a recipient; empty for the null path.
    pub fn mail_from(&self, from_ids: &FromIds, id: Option<QueueId>) -> String {
        let unique = match (&self.unique_mail_from, id) {
            (Some(UniqueMailFrom::FromId { separator }), Some(id)) => {
                from_ids.path(&self.reverse_path, separator, id)
            }
            _ => None,
        };
        unique.unwrap_or_else(|| self.reverse_path.clone())
    }

    /// Whether each recipient has a reverse-path or a text of its own, and so needs a transaction of its own.
    pub fn goes_one_by_one(&self) -> bool {
        self.batch.is_some() || matches!(self.unique_mail_from, Some(UniqueMailFrom::FromId { .. }))
    }

    /// The Message-ID of what a recipient gets: of a batch each has its own, always the same. `id` is the recipient's number.
    pub fn message_id_of(&self, id: u64) -> String {
        match (&self.batch, self.message_id.strip_prefix('<')) {
            (Some(_), Some(rest)) => format!("<{id}.{rest}"),
            _ => self.message_id.clone(),
        }
    }
}

/// RFC 3461 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// A recipient, as the sender named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Its address.
    pub address: String,
    /// RFC 3461 4.1: of what the sender wants to hear. None: he did not say.
    pub notify: Option<Notify>,
    /// RFC 3461 4.2: type and address as the original sender named them, the parameter as it came (but in 7 bits), which is how it goes on.
    pub orcpt: Option<String>,
}

impl Recipient {
    /// One of whom nothing more is known.
    pub fn new(address: impl Into<String>) -> Recipient {
        Recipient {
            address: address.into(),
            notify: None,
            orcpt: None,
        }
    }

    /// The domain, in lower case; an address literal with its brackets.
    pub fn domain(&self) -> String {
        let domain = self.address.rsplit_once('@').map_or("", |(_, d)| d);
        domain.to_lowercase()
    }
}

/// RFC 3461 4.1. All false: NEVER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Of delivery.
    pub success: bool,
    /// Of failure.
    pub failure: bool,
    /// Of delay.
    pub delay: bool,
}

/// What became of a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientRow {
    /// Where it stands.
    pub state: State,
    /// Attempts that were made.
    pub attempts: u32,
    /// When it is due, seconds since 1970.
    pub next: i64,
    /// The sender was told of the delay.
    pub delay_told: bool,
    /// What the sender has still to be told.
    pub owes: Option<Owed>,
    /// The latest attempts, the last one last: at most [`HISTORY_MAX`].
    pub history: Vec<Attempt>,
    /// The transport it goes by, in place of the routes'.
    pub transport: Option<String>,
    /// What an operator said of TLS, in place of [`MessageRow::require_tls`].
    pub require_tls: Option<bool>,
    /// While it is held: by what.
    pub held_by: Option<HeldBy>,
    /// It was given up by hand, or while it was kept back: why, in words.
    pub given_up: Option<String>,
    /// Events that have still to reach the account's shard.
    pub events: Vec<OwedEvent>,
    /// What an operator said of its attempts.
    pub retries: Retries,
    /// From which address of a pool, to which site it was delivered, if the address counts what comes of it.
    pub warm_up: Option<WarmUpKey>,
    /// How it ended, whoever is told of that. None: it has not, or that was before this was noted.
    pub ended: Option<OwedEvent>,
    /// How many of the attempts are records of its standing in line: nobody was asked.
    pub waited: u32,
}

/// What an operator said of a recipient's attempts. What is not there the settings and the message say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// It is given up after so many.
    pub attempts_max: Option<u32>,
    /// When to give up, in place of [`MessageRow::expires`].
    pub expires: Option<i64>,
    /// Seconds after the first attempt, the second and so on; the last one repeats.
    pub waits: Option<Vec<u32>>,
}

/// What holds a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBy {
    /// The hold rule; none: an operator.
    pub rule: Option<u32>,
    /// In words, for whoever asks why it waits: the rule may be gone.
    pub words: String,
}

impl RecipientRow {
    /// Of one that nothing became of yet.
    pub fn fresh(message: &MessageRow) -> RecipientRow {
        RecipientRow {
            state: State::Waiting,
            attempts: 0,
            next: message.not_before.max(message.accepted),
            delay_told: false,
            owes: None,
            history: Vec::new(),
            transport: None,
            require_tls: None,
            held_by: None,
            given_up: None,
            events: Vec::new(),
            retries: Retries::default(),
            warm_up: None,
            ended: None,
            waited: 0,
        }
    }

    /// Attempts at which a server was asked, or a host looked for.
    pub fn tried(&self) -> u32 {
        self.attempts.saturating_sub(self.waited)
    }

    /// When it is given up.
    pub fn expires(&self, message: &MessageRow) -> i64 {
        self.retries.expires.unwrap_or(message.expires)
    }

    /// Whether TLS is a must for it, or does not matter. RFC 8689.
    pub fn requires_tls(&self, message: &MessageRow) -> Option<bool> {
        self.require_tls.or(message.require_tls)
    }

    /// Whether nothing has to follow any more.
    pub fn is_done(&self) -> bool {
        self.state.is_over() && !self.is_owing()
    }

    /// Whether its sender, or the account's shard, has still to be told something.
    pub fn is_owing(&self) -> bool {
        self.owes.is_some() || !self.events.is_empty()
    }

    /// Adds an attempt to the history, which keeps the first and the latest.
    pub fn record(&mut self, attempt: Attempt) {
        if self.history.len() >= HISTORY_MAX {
            self.history.remove(1);
        }
        self.history.push(attempt);
    }
}

/// Where a recipient stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is tried when it is due.
    Waiting,
    /// Nothing is tried until somebody releases it.
    Held,
    /// The next hop has taken it.
    Delivered,
    /// Given up: refused for good, too late, or by hand. What has to follow from it may still be under way.
    Failed,
    /// Taken out by hand; no report is sent.
    Dropped,
}

impl State {
    /// Whether nothing is tried any more.
    pub fn is_over(self) -> bool {
        !matches!(self, State::Waiting | State::Held)
    }

    /// For operators and programs.
    pub fn word(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Held => "held",
            State::Delivered => "delivered",
            State::Failed => "failed",
            State::Dropped => "dropped",
        }
    }
}

/// What a sender has still to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// What.
    pub notice: Notice,
    /// Told in one report with others that have the same number: decided once, when it became durable, so that a report that is repeated after
    /// a stop is about the same recipients. The position of the first of them.
    pub group: u32,
}

/// What a sender is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Notice {
    /// RFC 3464 2.3.3: delayed; it goes on being tried.
    Delayed,
    /// Failed.
    Failed,
    /// Relayed to a server that does not report by itself. RFC 3461 5.2.2.
    Relayed,
    /// In the recipient's mailbox. RFC 3461 5.2.3.
    Delivered,
    /// In the mailboxes of an alias's members. RFC 3461 5.2.7.3.
    Expanded,
}

/// An attempt and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began, seconds since 1970.
    pub at: i64,
    /// Milliseconds it took.
    pub took_ms: u32,
    /// The server that answered, by name and address; empty if none did.
    pub remote: String,
    /// Its reply code; 0 if none answered.
    pub code: u16,
    /// RFC 3463.
    pub enhanced: Option<(u8, u16, u16)>,
    /// Its words, or ours.
    pub text: String,
    /// To what it said so; none: it said nothing, or nobody noted it.
    pub stage: Option<AttemptStage>,
}

/// To what a server said what came of an attempt. Rows have these by their positions: another one comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptStage {
    /// To the connection.
    Connect,
    /// To EHLO, STARTTLS, AUTH.
    Hello,
    /// To MAIL.
    Mail,
    /// To RCPT.
    Recipient,
    /// To DATA or the message, which went to this recipient alone.
    Data,
    /// The same, of a message that went to several at once.
    SharedData,
    /// Nobody was asked: the recipient stood in line, and that is on record.
    Line,
}

impl AttemptStage {
    /// For operators and programs: the words of traffic shaping's rules, and `line`.
    pub fn word(self) -> &'static str {
        match self {
            AttemptStage::Connect => "connect",
            AttemptStage::Hello => "hello",
            AttemptStage::Mail => "mail",
            AttemptStage::Recipient => "recipient",
            AttemptStage::Data | AttemptStage::SharedData => "data",
            AttemptStage::Line => "line",
        }
    }
}

/// An attempt as rows had it that did not say to what the server answered.
#[derive(Deserialize)]
pub(super) struct EarlierAttempt {
    at: i64,
    took_ms: u32,
    remote: String,
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    text: String,
}

impl From<EarlierAttempt> for Attempt {
    fn from(earlier: EarlierAttempt) -> Attempt {
        Attempt {
            at: earlier.at,
            took_ms: earlier.took_ms,
            remote: earlier.remote,
            code: earlier.code,
            enhanced: earlier.enhanced,
            text: earlier.text,
            stage: None,
        }
    }
}

/// A message as it is stored, with its number.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The number of its body.
    pub body: BodyId,
    /// What is common to all.
    pub message: MessageRow,
    /// What became of some, in the order of their positions.
    pub changed: Vec<(u32, RecipientRow)>,
}

impl Stored {
    /// What became of a recipient.
    pub fn recipient(&self, index: u32) -> RecipientRow {
        match self.changed.binary_search_by_key(&index, |(i, _)| *i) {
            Ok(at) => self.changed[at].1.clone(),
            Err(_) => RecipientRow::fresh(&self.message),
        }
    }

    /// Only what these recipients need, in the order of their positions, goes on to whoever asked for them: of the others their number is left.
    pub fn keep(&mut self, indexes: &[u32]) {
        let is_kept = |index: u32| indexes.binary_search(&index).is_ok();
        self.changed.retain(|(index, _)| is_kept(*index));
        for (index, recipient) in (0..).zip(&mut self.message.recipients) {
            if !is_kept(index) {
                *recipient = Recipient::new(String::new());
            }
        }
    }

    /// The number of a recipient.
    pub fn id(&self, shard: u16, index: u32) -> Option<QueueId> {
        let first = first_of(self.body, self.message.recipients.len());
        QueueId::new(shard, first + u64::from(index))
    }
}

/// The key of a message.
pub fn message_key(body: BodyId) -> Vec<u8> {
    rows::queue_key(body.0)
}

/// The key of what became of a recipient.
pub fn recipient_key(body: BodyId, index: u32) -> Vec<u8> {
    let mut key = message_key(body);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// Which message and, of those rows, which recipient a key is about.
pub fn parse_key(key: &[u8]) -> Option<(BodyId, Option<u32>)> {
    let (body, rest) = key.get(1..)?.split_first_chunk::<8>()?;
    let body = BodyId(u64::from_be_bytes(*body));
    match rest {
        [] => Some((body, None)),
        rest => Some((body, Some(u32::from_be_bytes(rest.try_into().ok()?)))),
    }
}

/// The row of a message.
pub fn encode_message(message: &MessageRow) -> Vec<u8> {
    rows::encode_version(MESSAGE_VERSION, message)
}

/// Reads it. The first version knew neither notifications nor times, the second ended with the recipients, the third
/// with the time it is held for, the fourth knew no batches.
pub fn decode_message(
    bytes: &[u8],
    name: impl FnOnce() -> String,
) -> Result<MessageRow, StoreError> {
    #[derive(Deserialize)]
    struct First {
        _body: u64,
        size: u64,
        prefix_length: u32,
        account: String,
        reverse_path: String,
        recipients: Vec<String>,
        smtputf8: bool,
        accepted: i64,
    }
    if bytes.first() == Some(&MESSAGE_VERSION) {
        return rows::decode_version(MESSAGE_VERSION, bytes, name);
    }
    if let Some((version @ &(MESSAGE_SECOND | MESSAGE_THIRD | MESSAGE_FOURTH), rest)) =
        bytes.split_first()
    {
        // What came at the end since reads as nothing.
        let since = [NOTHING; 4];
        let since = match *version {
            MESSAGE_SECOND => &since[..],
            MESSAGE_THIRD => &since[..3],
            _ => &since[..1],
        };
        let whole = [&[MESSAGE_VERSION], rest, since].concat();
        return rows::decode_version(MESSAGE_VERSION, &whole, name);
    }
    let first: First = rows::decode(bytes, name)?;
    Ok(MessageRow {
        size: first.size,
        prefix_length: first.prefix_length,
        account: first.account,
        reverse_path: first.reverse_path,
        message_id: String::new(),
        smtputf8: first.smtputf8,
        // Not known; a server without 8BITMIME is told the truth then, or refuses.
        eight_bit: true,
        binary: false,
        accepted: first.accepted,
        not_before: 0,
        expires: first.accepted + FIRST_VERSION_LIFETIME,
        require_tls: None,
        ret: None,
        envid: None,
        recipients: first.recipients.into_iter().map(Recipient::new).collect(),
        held_for: None,
        unique_mail_from: None,
        extra: BTreeMap::new(),
        batch: None,
    })
}

/// The row of a recipient.
pub fn encode_recipient(row: &RecipientRow) -> Vec<u8> {
    rows::encode_version(RECIPIENT_VERSION, row)
}

/// Reads it. The first version ended with the history, the second knew no events, the third nothing of retries, the fourth not from
/// where it was delivered, the fifth not to what servers answered, the sixth not how it ended,
/// nor how often it stood in line.
pub fn decode_recipient(
    bytes: &[u8],
    name: impl FnOnce() -> String,
) -> Result<RecipientRow, StoreError> {
    #[derive(Deserialize)]
    struct First {
        state: State,
        attempts: u32,
        next: i64,
        delay_told: bool,
        owes: Option<Owed>,
        history: Vec<EarlierAttempt>,
    }
    #[derive(Deserialize)]
    struct Second {
        first: First,
        transport: Option<String>,
        require_tls: Option<bool>,
        held_by: Option<HeldBy>,
        given_up: Option<String>,
    }
    #[derive(Deserialize)]
    struct Third {
        second: Second,
        events: Vec<OwedEvent>,
    }
    #[derive(Deserialize)]
    struct Fourth {
        third: Third,
        retries: Retries,
    }
    #[derive(Deserialize)]
    struct Fifth {
        fourth: Fourth,
        warm_up: Option<WarmUpKey>,
    }
    let (mut events, mut retries, mut warm_up) = (Vec::new(), Retries::default(), None);
    let second = match bytes.first() {
        Some(&RECIPIENT_VERSION) => return rows::decode_version(RECIPIENT_VERSION, bytes, name),
        Some(&RECIPIENT_SIXTH) => {
            let rest = bytes.get(1..).unwrap_or_default();
            let whole = [&[RECIPIENT_VERSION], rest, &[NOTHING; 2]].concat();
            let row = rows::decode_version(RECIPIENT_VERSION, &whole, name)?;
            return Ok(with_end(row));
        }
        Some(&RECIPIENT_FIFTH) => {
            let fifth: Fifth = rows::decode_version(RECIPIENT_FIFTH, bytes, name)?;
            warm_up = fifth.warm_up;
            retries = fifth.fourth.retries;
            events = fifth.fourth.third.events;
            fifth.fourth.third.second
        }
        Some(&RECIPIENT_FOURTH) => {
            let fourth: Fourth = rows::decode_version(RECIPIENT_FOURTH, bytes, name)?;
            retries = fourth.retries;
            events = fourth.third.events;
            fourth.third.second
        }
        Some(&RECIPIENT_THIRD) => {
            let third: Third = rows::decode_version(RECIPIENT_THIRD, bytes, name)?;
            events = third.events;
            third.second
        }
        Some(&RECIPIENT_SECOND) => rows::decode_version(RECIPIENT_SECOND, bytes, name)?,
        _ => Second {
            first: rows::decode(bytes, name)?,
            transport: None,
            require_tls: None,
            held_by: None,
            given_up: None,
        },
    };
    let first = second.first;
    Ok(with_end(RecipientRow {
        state: first.state,
        attempts: first.attempts,
        next: first.next,
        delay_told: first.delay_told,
        owes: first.owes,
        history: first.history.into_iter().map(Attempt::from).collect(),
        transport: second.transport,
        require_tls: second.require_tls,
        held_by: second.held_by,
        given_up: second.given_up,
        events,
        retries,
        warm_up,
        ended: None,
        waited: 0,
    }))
}

/// A row that does not say how it ended may owe that to somebody; and how often it stood in line, as far as that is kept.
fn with_end(mut row: RecipientRow) -> RecipientRow {
    row.ended = row.events.iter().rfind(|e| e.kind.is_final()).copied();
    let in_line = |attempt: &&Attempt| attempt.stage == Some(AttemptStage::Line);
    row.waited = row.history.iter().filter(in_line).count() as u32;
    row
}

/// Attempts kept of a recipient.
pub const HISTORY_MAX: usize = 12;
const MESSAGE_VERSION: u8 = 5;
const MESSAGE_FOURTH: u8 = 4;
const MESSAGE_THIRD: u8 = 3;
const MESSAGE_SECOND: u8 = 2;
/// How a row says that there is none, of an option and of a map.
const NOTHING: u8 = 0;
const RECIPIENT_VERSION: u8 = 7;
const RECIPIENT_SIXTH: u8 = 6;
const RECIPIENT_FIFTH: u8 = 5;
const RECIPIENT_FOURTH: u8 = 4;
const RECIPIENT_THIRD: u8 = 3;
const RECIPIENT_SECOND: u8 = 2;
/// Seconds that messages of the first version live: nobody sent them before.
const FIRST_VERSION_LIFETIME: i64 = 30 * 86_400;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::queue::events::EventKind;

    pub(crate) fn message() -> MessageRow {
        MessageRow {
            size: 1000,
            prefix_length: 100,
            account: "anna".into(),
            reverse_path: "anna@example.org".into(),
            message_id: "<1@example.org>".into(),
            smtputf8: false,
            eight_bit: false,
            binary: false,
            accepted: 1_000,
            not_before: 0,
            expires: 1_000 + 5 * 86_400,
            require_tls: None,
            ret: None,
            envid: None,
            recipients: vec![
                Recipient::new("a@One.example"),
                Recipient::new("b@two.example"),
            ],
            held_for: Some(300),
            unique_mail_from: None,
            extra: BTreeMap::new(),
            batch: None,
        }
    }

    #[test]
    fn rows_read_as_they_were_written_and_those_of_earlier_versions_too() {
        let message = message();
        let with_more = MessageRow {
            unique_mail_from: Some(UniqueMailFrom::FromId {
                separator: "+".into(),
            }),
            extra: BTreeMap::from([("Order".into(), "17".into())]),
            batch: Some(BatchInfo {
                name: "spring".into(),
            }),
            ..message.clone()
        };
        let bytes = encode_message(&with_more);
        assert_eq!(decode_message(&bytes, String::new).unwrap(), with_more);
        let second = (
            (message.size, message.prefix_length, &message.account),
            (&message.reverse_path, &message.message_id, message.smtputf8),
            (message.eight_bit, message.binary, message.accepted),
            (message.not_before, message.expires, message.require_tls),
            (message.ret, &message.envid, &message.recipients),
        );
        let fourth = (&second, message.held_for, &with_more.unique_mail_from);
        let fourth = rows::encode_version(4, &(fourth, &with_more.extra));
        let expected = MessageRow {
            batch: None,
            ..with_more.clone()
        };
        assert_eq!(decode_message(&fourth, String::new).unwrap(), expected);
        let third = rows::encode_version(3, &(&second, message.held_for));
        assert_eq!(decode_message(&third, String::new).unwrap(), message);
        let second = rows::encode_version(2, &second);
        let expected = MessageRow {
            held_for: None,
            ..message
        };
        assert_eq!(decode_message(&second, String::new).unwrap(), expected);
        let first = (
            7u64,
            10u64,
            2u32,
            "anna",
            "anna@example.org",
            vec!["a@example.net"],
            true,
            1_000i64,
        );
        let read = decode_message(&rows::encode(&first), String::new).unwrap();
        assert_eq!(read.recipients, [Recipient::new("a@example.net")]);
        assert_eq!((read.size, read.smtputf8, read.accepted), (10, true, 1_000));
        assert!(read.expires > 1_000);
        assert!(decode_message(&[9, 9], || "x".into()).is_err());
    }

    fn ended(kind: EventKind) -> OwedEvent {
        OwedEvent {
            kind,
            attempt: 2,
            at: 7,
        }
    }

    #[test]
    fn recipients_read_as_they_were_written_and_those_of_the_first_version_too() {
        let attempt = Attempt {
            at: 5,
            took_ms: 7,
            remote: "mx.one.example".into(),
            code: 451,
            enhanced: Some((4, 7, 1)),
            text: "later".into(),
            stage: Some(AttemptStage::SharedData),
        };
        let row = RecipientRow {
            state: State::Held,
            attempts: 1,
            next: 1_300,
            delay_told: true,
            owes: Some(Owed {
                notice: Notice::Delayed,
                group: 1,
            }),
            history: vec![attempt],
            transport: Some("backup".into()),
            require_tls: Some(false),
            held_by: Some(HeldBy {
                rule: Some(3),
                words: "by hold rule 3".into(),
            }),
            given_up: Some("too old".into()),
            events: vec![OwedEvent {
                kind: EventKind::Deferred,
                attempt: 1,
                at: 6,
            }],
            retries: Retries {
                attempts_max: Some(7),
                expires: Some(9_000),
                waits: Some(vec![60, 300]),
            },
            warm_up: Some(WarmUpKey {
                pool: "bulk".into(),
                member: "one".into(),
                site: "mx.one.example".into(),
            }),
            ended: None,
            waited: 0,
        };
        let over = RecipientRow {
            events: vec![ended(EventKind::Failed), ended(EventKind::Relayed)],
            ended: Some(ended(EventKind::Relayed)),
            ..row.clone()
        };
        let bytes = encode_recipient(&over);
        assert_eq!(decode_recipient(&bytes, String::new).unwrap(), over);
        // How it ended is not in the sixth, but what is owed of it.
        let sixth = [
            &[6],
            &encode_recipient(&RecipientRow {
                ended: None,
                waited: 0,
                ..over.clone()
            })[1..],
        ];
        let mut sixth = sixth.concat();
        assert_eq!(sixth.pop(), Some(NOTHING));
        assert_eq!(decode_recipient(&sixth, String::new).unwrap(), over);
        let mut row = row;
        row.history[0].stage = None;
        let before = &row.history[0];
        let history = [(
            (before.at, before.took_ms, &before.remote),
            (before.code, before.enhanced, &before.text),
        )];
        let history = &history[..];
        let first = rows::encode(&(
            row.state,
            row.attempts,
            row.next,
            row.delay_told,
            row.owes,
            history,
        ));
        let fields = (
            (row.state, row.attempts, row.next, row.delay_told, row.owes),
            history,
            &row.transport,
            row.require_tls,
            &row.held_by,
            &row.given_up,
        );
        let second = rows::encode_version(2, &fields);
        let third = rows::encode_version(3, &(&fields, &row.events));
        let fourth = rows::encode_version(4, &(&fields, &row.events, &row.retries));
        let fifth = (&fields, &row.events, &row.retries, &row.warm_up);
        let fifth = rows::encode_version(5, &fifth);
        assert_eq!(decode_recipient(&fifth, String::new).unwrap(), row);
        let expected = RecipientRow {
            warm_up: None,
            ..row
        };
        assert_eq!(decode_recipient(&fourth, String::new).unwrap(), expected);
        let row = expected;
        let expected = RecipientRow {
            retries: Retries::default(),
            ..row
        };
        assert_eq!(decode_recipient(&third, String::new).unwrap(), expected);
        let expected = RecipientRow {
            events: Vec::new(),
            ..expected
        };
        assert_eq!(decode_recipient(&second, String::new).unwrap(), expected);
        let expected = RecipientRow {
            transport: None,
            require_tls: None,
            held_by: None,
            given_up: None,
            ..expected
        };
        assert_eq!(decode_recipient(&first, String::new).unwrap(), expected);
        assert!(decode_recipient(&[9, 9], || "x".into()).is_err());
    }

    #[test]
    fn keys_say_what_they_are_about() {
        let body = BodyId(0x0102_0304_0506_0708);
        assert_eq!(parse_key(&message_key(body)), Some((body, None)));
        assert_eq!(parse_key(&recipient_key(body, 5)), Some((body, Some(5))));
        assert!(recipient_key(body, 0) > message_key(body));
        assert!(recipient_key(body, u32::MAX) < message_key(BodyId(body.0 + 1)));
        assert_eq!(parse_key(b"q123"), None);
        assert_eq!(parse_key(b"q12345678x"), None);
    }

    #[test]
    fn a_history_keeps_the_first_attempt_and_the_latest() {
        let mut row = RecipientRow::fresh(&message());
        for at in 0..100 {
            row.record(Attempt {
                at,
                took_ms: 0,
                remote: String::new(),
                code: 0,
                enhanced: None,
                text: String::new(),
                stage: None,
            });
        }
        assert_eq!(row.history.len(), HISTORY_MAX);
        let times: Vec<i64> = row.history.iter().map(|a| a.at).collect();
        assert_eq!(times[0], 0);
        assert!(times[1..].iter().copied().eq(89..100));
    }

    #[test]
    fn a_recipients_domain_is_in_lower_case() {
        assert_eq!(message().recipients[0].domain(), "one.example");
        assert_eq!(Recipient::new("\"a@b\"@C.example").domain(), "c.example");
    }
}
