//! One message for several accounts (or for accounts and the queue): committed once as a fan-out entry, then delivered to each owner.
//!
//! The entry decides: when it is durable the door answers 250. Each delivery carries the transaction (shard, entry, recipient), under which the
//! owner adds it at most once. When all have answered, the entry goes and the owners forget the transactions. After a crash the
//! entries found at start are delivered again from the first recipient; owners that have the message say so.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shards::faults::point;
use shards::rt;
use shards::segments::BodyId;
use shards::storage::{Batch, External, NewBody, Shard, StorageError};

use super::once::Mark;
use super::spool::{BodyMemory, may_begin, until_last};
use crate::calls::{Answer, Call, Deliver, Room, Transaction};
use crate::percore::PerCore;
use crate::queue::from_id::token_field;
use crate::queue::rows::MessageRow;
use crate::queue::{self, Content, QueueId};
use crate::settings::AccountName;
pub use crate::store::rows::FanOutRecipient as Recipient;
use crate::store::rows::FanOutRow as Row;
use crate::store::{self, Delivered, NewContent, NewMessage, StoreError, ThreadRow, rows, system};

/// A message for its recipients.
pub struct FanOut {
    /// Accounts, without repeats.
    pub recipients: Vec<Recipient>,
    /// The accounts of each address that was named: an alias has several.
    pub targets: Vec<Vec<AccountName>>,
    /// Addresses elsewhere, for the queue; with the account that submits.
    pub remote: Option<MessageRow>,
    /// Header fields for all: Return-Path and Received. Queued copies get `queue_prefix`.
    pub prefix: Vec<u8>,
    /// Header fields of queued copies.
    pub queue_prefix: Vec<u8>,
    /// The message.
    pub content: NewContent,
    /// What it takes of memory.
    pub memory: BodyMemory,
    /// SMTP reverse-path.
    pub reverse_path: String,
    /// Internal date.
    pub received: i64,
    /// For threads.
    pub thread: ThreadRow,
    /// It was taken as a report about mail that went out: webhooks tell what it says, not that it came.
    pub is_report: bool,
    /// Of a request that is done once: says which shard, and is noted in the same commit.
    pub mark: Option<Mark>,
}

impl FanOut {
    /// Takes responsibility for the message: it is durable for all recipients when this returns. Answers the number of the first one in the
    /// queue.
    pub async fn accept(self, core: &Rc<PerCore>) -> Result<Option<QueueId>, StoreError> {
        let single = match (self.recipients.as_slice(), &self.remote) {
            ([recipient], None) => Some(recipient.clone()),
            _ => None,
        };
        match single {
            Some(recipient) => self.deliver_directly(core, recipient).await.map(|()| None),
            // Once the entry is committed the message is accepted, and no quota holds it back.
            None => {
                let wanted = self.wanted();
                let wanted = || wanted.iter().copied();
                let rooms = core.promise_room(wanted()).await;
                let accepted = match self.is_welcome(&rooms) {
                    true => self.commit_entry(core).await,
                    false => Err(StoreError::OverQuota),
                };
                if accepted.is_err() {
                    core.take_back(wanted());
                }
                accepted
            }
        }
    }

    /// Whether the message is to be taken, for all: not if none of them has room for it, nor if an address has none for anything. RCPT
    /// found some, but other messages may have taken it since.
    fn is_welcome(&self, rooms: &HashMap<AccountName, Room>) -> bool {
        let has = |account: &AccountName, least: Room| match rooms.get(account) {
            None | Some(Room::Enough) => true,
            Some(Room::Little) => least == Room::Little,
            Some(Room::None) => false,
        };
        let accounts = || self.targets.iter().flatten();
        let enough = self.remote.is_some()
            || self.recipients.is_empty()
            || accounts().any(|a| has(a, Room::Enough));
        let is_full = |target: &Vec<_>| target.iter().all(|a| !has(a, Room::Little));
        enough && !self.targets.iter().any(|t| !t.is_empty() && is_full(t))
    }

    /// The octets that each recipient gets. RCPT asked by the size the client declared, if it did.
    fn wanted(&self) -> Vec<(AccountName, u64)> {
        let common = self.prefix.len() as u64 + self.content.length();
        let wanted = self.recipients.iter().filter_map(|r| {
            let own = message::compose::delivered_to_field(&r.address).len() as u64;
            Some((r.account.parse().ok()?, own + common))
        });
        wanted.collect()
    }

    async fn deliver_directly(
        self,
        core: &Rc<PerCore>,
        recipient: Recipient,
    ) -> Result<(), StoreError> {
        let account: AccountName = recipient
            .account
            .parse()
            .map_err(|_| StoreError::AccountGone)?;
        let _until_answered = self.memory;
        let mut message = message(
            core,
            &recipient,
            &self.prefix,
            self.content,
            self.reverse_path,
            self.received,
            self.thread,
        );
        message.is_incoming &= !self.is_report;
        core.deliver(Deliver {
            account,
            mailbox: recipient.mailbox,
            message,
            transaction: None,
        })
        .await
        .map(|_| ())
    }

    async fn commit_entry(mut self, core: &Rc<PerCore>) -> Result<Option<QueueId>, StoreError> {
        let wanted = self.remote.as_ref().map_or(0, |r| r.recipients.len());
        if PENDING.get() >= PENDING_MAX {
            return Err(StoreError::Storage(StorageError::Busy));
        }
        let shard = match &self.mark {
            Some(mark) => mark.shard.clone(),
            None => core
                .next_shard()
                .ok_or(StoreError::NotAllowed("this core has no shard"))?,
        };
        // A recipient that a rule holds has a row of its own.
        let bytes = (self.content.bytes.len() + 1024) * 2 + wanted * HELD_BYTES;
        let permit = shard.permit(bytes, true, Duration::from_secs(30)).await?;
        if let Some(row) = &self.remote {
            // Others may have come in line while this waited.
            let bounds = core.live().settings.server.queue.bounds();
            core.queue
                .has_room(&row.account, (wanted, self.content.length()), bounds)?;
        }
        let mut batch = Batch::default();
        let queued = self.remote.take().map(|mut row| {
            let id = queue::next_id(&shard, row.recipients.len());
            let first = QueueId::new(shard.id().0, queue::first_of(id, row.recipients.len()));
            let mut prefix = std::mem::take(&mut self.queue_prefix);
            if let Some(first) = first.filter(|_| !row.reverse_path.is_empty()) {
                // Above what is signed, like the trace of a server.
                prefix.splice(..0, token_field(&core.from_ids, first).into_bytes());
            }
            let content = Content {
                bytes: Arc::new([prefix.as_slice(), &self.content.bytes].concat()),
                external: None,
                files: None,
            };
            queue::plan(&mut batch, id, &mut row, prefix, &self.content);
            (core.queue.coming(&shard, &mut batch, id, row), content)
        });
        let entry = (!self.recipients.is_empty()).then(|| {
            let id = shard.next_body();
            let row = Row {
                body: id.0,
                recipients: self.recipients,
                prefix: self.prefix,
                reverse_path: self.reverse_path,
                received: self.received,
                thread: self.thread,
                is_report: self.is_report,
            };
            let encoded = row.encode();
            batch.bodies.push(NewBody {
                id,
                kind: rows::BODY_FAN_OUT,
                meta: if encoded.len() <= META_MAX {
                    encoded.clone()
                } else {
                    Vec::new()
                },
                parts: vec![self.content.bytes.clone()],
                external: self.content.external.clone(),
            });
            batch.put(rows::fan_out_key(id.0), encoded);
            (id, row)
        });
        if let (Some(mark), Some((message, _))) = (&self.mark, &queued) {
            let first = QueueId::new(shard.id().0, queue::first_of(message.body, wanted));
            mark.note(&mut batch, &message.row.message_id, first, self.received);
        }
        shard.commit(permit, batch).await?;
        let _ = point("fanout.committed");
        let mut first = None;
        if let Some((message, content)) = queued {
            first = QueueId::new(shard.id().0, queue::first_of(message.body, wanted));
            let external = placed(&shard, message.body, self.content.clone()).external;
            let content = Content {
                external,
                ..content
            };
            core.queue.accepted(message, content);
        }
        if let Some((id, row)) = entry {
            let content = placed(&shard, id, self.content);
            start(core, shard, id, row, Held::new(content, self.memory));
        }
        Ok(first)
    }
}

/// Resumes the entries that a crash or stop left in a shard of this core.
pub async fn resume(core: Rc<PerCore>, shard: Rc<Shard>) -> Result<(), StoreError> {
    let mut from = rows::fan_out_key(0);
    loop {
        let found = shard.scan(b"f".to_vec(), from, RESUME_SLICE).await?;
        let Some((last, _)) = found.last() else {
            return Ok(());
        };
        from = [last.as_slice(), &[0]].concat();
        for (key, value) in found {
            let number = key
                .get(1..9)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u64::from_be_bytes);
            let name = || format!("fan-out entry {number} of {}", shard.id());
            let row = match Row::decode(&value, name) {
                Ok(row) => row,
                Err(error) => {
                    tracing::error!(shard = %shard.id(), %error, "a fan-out entry can't be read; it stays, the others go on");
                    continue;
                }
            };
            let id = BodyId(number);
            let content = match read_content(&shard, id).await {
                Ok(content) => content,
                Err(error) => {
                    tracing::error!(shard = %shard.id(), entry = number, %error, "a message for several accounts can't be read; it stays, see `ringmail check`");
                    continue;
                }
            };
            while PENDING.get() >= PENDING_MAX || may_begin(&core).is_err() {
                rt::sleep(Duration::from_millis(50)).await;
            }
            let memory = BodyMemory::new(&core, content.bytes.clone());
            start(&core, shard.clone(), id, row, Held::new(content, memory));
        }
    }
}

/// Removes rows that say a delivery was made and whose entry is gone: a stop came between its end and their forgetting. An entry goes
/// after all its deliveries were answered, so nobody asks for them any more.
pub async fn forget_left_over(core: &Rc<PerCore>, shard: &Rc<Shard>) -> Result<(), StoreError> {
    let mut from = Vec::new();
    loop {
        let (rows, next) = store::delivered(shard, from).await?;
        let mut by_shard: HashMap<u16, Vec<Delivered>> = HashMap::new();
        for row in rows {
            by_shard.entry(row.shard).or_default().push(row);
        }
        for (of, mut rows) in by_shard {
            let keys = rows.iter().flat_map(Delivered::entry_keys).collect();
            let call = Call::RowsExist { shard: of, keys };
            // One that does not answer, or is out of service: they stay.
            if let Ok(Answer::Exist(Ok(there))) = core.call(core.owner_of_shard(of), call).await {
                let mut there = there.chunks(store::ENTRY_KEYS);
                rows.retain(|_| there.next().is_some_and(|there| !there.contains(&true)));
                if !rows.is_empty() {
                    store::forget(shard, rows).await?;
                }
            }
        }
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

/// External content is read from the entry's own file from now on: the spool's name of it goes.
fn placed(shard: &Rc<Shard>, id: BodyId, mut content: NewContent) -> NewContent {
    if let Some(external) = &mut content.external {
        external.path = shard.external_path(id).into();
    }
    content
}

fn start(core: &Rc<PerCore>, shard: Rc<Shard>, id: BodyId, row: Row, held: Held) {
    let core = core.clone();
    rt::spawn(&ROOM, async move {
        let done = deliver_all(&core, &shard, id, row, held).await;
        if let Err(error) = done {
            tracing::warn!(shard = %shard.id(), entry = id.0, %error, "a fan-out entry stays for the next start");
        }
    });
}

async fn deliver_all(
    core: &Rc<PerCore>,
    shard: &Rc<Shard>,
    id: BodyId,
    row: Row,
    held: Held,
) -> Result<(), StoreError> {
    let recipients = (0u32..).zip(&row.recipients);
    let mut left: Vec<(Transaction, AccountName, &Recipient)> = recipients
        .filter_map(|(recipient, r)| {
            let transaction = Transaction {
                shard: shard.id().0,
                entry: id.0,
                recipient,
            };
            // Without a name: a salvage found that it has the message.
            Some((transaction, r.account.parse().ok()?, r))
        })
        .collect();
    let all: Vec<(AccountName, Transaction)> = left.iter().map(|(t, a, _)| (*a, *t)).collect();
    // One for all tries: its copies are counted.
    let external = held.content.external.clone();
    let mut held = Some(held);
    let mut pause = FIRST_PAUSE;
    loop {
        let content = match &held {
            Some(held) => held.content.clone(),
            None => NewContent {
                external: external.clone(),
                ..read_content(shard, id).await?
            },
        };
        // Round by round: a recipient whose shard is out of service holds up no other.
        let mut still = Vec::new();
        for (transaction, account, recipient) in left {
            if !deliver_once(core, &row, recipient, account, transaction, &content).await {
                still.push((transaction, account, recipient));
            }
            let _ = point("fanout.delivered");
        }
        left = still;
        if left.is_empty() {
            break;
        }
        rt::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        if pause == LONGEST_PAUSE {
            // It may take until the next start: what it holds is given back, and read again for each try.
            held = None;
        }
    }
    drop(held);
    // The entry's file goes with it. A delivery whose answer was lost may still wait to link it, also when a later one was answered.
    if let Some(external) = &external {
        until_last(external).await;
    }
    let permit = shard.permit(64, false, Duration::from_secs(30)).await?;
    let mut batch = Batch::default();
    batch.delete(rows::fan_out_key(id.0));
    batch.dead.push(id);
    shard.commit(permit, batch).await?;
    let _ = point("fanout.removed");
    forget(core, all).await;
    Ok(())
}

/// The owners forget the transactions of an entry that is gone.
async fn forget(core: &Rc<PerCore>, mut all: Vec<(AccountName, Transaction)>) {
    all.sort_by_key(|(account, _)| *account);
    for of_one in all.chunk_by(|(a, _), (b, _)| a == b) {
        let account = of_one[0].0;
        let transactions = of_one.iter().map(|(_, t)| *t).collect();
        let call = Call::ForgetDelivered {
            account,
            transactions,
        };
        let _ = core.call(core.owner_of(account.as_str()), call).await;
    }
}

/// Whether the owner has it now. An account that was removed meanwhile gets nothing, and that is the end of it.
async fn deliver_once(
    core: &Rc<PerCore>,
    row: &Row,
    recipient: &Recipient,
    account: AccountName,
    transaction: Transaction,
    content: &NewContent,
) -> bool {
    let mut message = message(
        core,
        recipient,
        &row.prefix,
        content.clone(),
        row.reverse_path.clone(),
        row.received,
        row.thread.clone(),
    );
    message.is_incoming &= !row.is_report;
    let deliver = Deliver {
        account,
        mailbox: recipient.mailbox.clone(),
        message,
        transaction: Some(transaction),
    };
    match core.deliver(deliver).await {
        Ok(_) => true,
        Err(StoreError::AccountGone) => {
            tracing::warn!(
                account = recipient.account,
                "the account was removed before a message for it was delivered"
            );
            true
        }
        Err(error) => {
            tracing::debug!(account = recipient.account, %error, "a delivery is tried again");
            false
        }
    }
}

/// The content as it was committed with the entry.
async fn read_content(shard: &Rc<Shard>, id: BodyId) -> Result<NewContent, StoreError> {
    let body = shard.read_body(id, None).await?;
    let external = (body.external_length() > 0).then(|| External {
        path: shard.external_path(id).into(),
        length: body.external_length(),
        id: body.location().external_id,
    });
    Ok(NewContent {
        bytes: Arc::new(body.bytes().to_vec()),
        external,
    })
}

/// An entry whose content is in memory: counted, in number and in the core's budget for octets.
struct Held {
    content: NewContent,
    /// Goes after the content.
    _memory: BodyMemory,
}

impl Held {
    fn new(content: NewContent, memory: BodyMemory) -> Held {
        PENDING.set(PENDING.get() + 1);
        Held {
            content,
            _memory: memory,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        PENDING.set(PENDING.get() - 1);
    }
}

fn message(
    core: &PerCore,
    recipient: &Recipient,
    common: &[u8],
    content: NewContent,
    reverse_path: String,
    received: i64,
    thread: ThreadRow,
) -> NewMessage {
    // A copy of what the account sent was delivered to nobody.
    let is_copy = recipient.address.is_empty();
    let mut prefix = match is_copy {
        true => Vec::new(),
        false => message::compose::delivered_to_field(&recipient.address).into_bytes(),
    };
    prefix.extend_from_slice(common);
    NewMessage {
        prefix,
        content,
        flags: if is_copy { system::SEEN } else { 0 },
        keywords: is_copy
            .then(|| "$NotJunk".to_string())
            .into_iter()
            .collect(),
        received,
        saved: core.wall_clock(),
        reverse_path,
        recipient: recipient.address.clone(),
        thread,
        is_incoming: !is_copy,
    }
}

thread_local! {
    /// Entries of this core being delivered.
    static PENDING: Cell<usize> = const { Cell::new(0) };
}

/// More entries than this on one core: new ones are answered with 451 until some are done.
const PENDING_MAX: usize = 2_000;
const RESUME_SLICE: usize = 200;
const META_MAX: usize = 60_000;
/// Octets of the row of a held recipient, about.
const HELD_BYTES: usize = 128;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Panics of fan-out tasks.
pub static ROOM: rt::Room = rt::Room::new("inbound");
