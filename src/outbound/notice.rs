//! What a sender is told: reports, into the INBOX of who submitted the message, or to the reverse-path of mail from elsewhere. RFC 3461 6, RFC 3464.
//!
//! The order: what became of the recipients is durable, with what is owed; then the report is delivered, under a number that the account's
//! owner takes once; then what is owed is crossed out. A stop in between repeats the delivery, and the owner says that it has it. A report to
//! somebody elsewhere comes in line in the same batch that crosses it out. What can't be told now is told later (`dispatch`).

use std::rc::Rc;
use std::sync::Arc;

use dsn::Way;
use message::Header;
use shards::faults::point;
use shards::storage::{Batch, StorageError};
use smtp::{Address, Host};

use super::events;
use crate::calls::{Call, Deliver, Transaction};
use crate::directory::Resolution;
use crate::percore::PerCore;
use crate::queue::report::{self, Composed, Facts, Subject, Told, randomness, transaction_number};
use crate::queue::rows::{MessageRow, Notify, Owed, Recipient, RecipientRow};
use crate::queue::{self, Content, Message};
use crate::recipes::{self, NotMade, Signed};
use crate::settings::AccountName;
use crate::signing::{SigningError, signatures};
use crate::store::{INBOX, NewContent, NewMessage, StoreError, thread_row};

/// Tells the sender of a message what he has to hear of it.
pub(super) async fn tell(core: &Rc<PerCore>, message: &Rc<Message>) {
    events::carry(core, message);
    let tell = async |owed, recipients: &[(u32, RecipientRow)]| {
        tell_of(core, message, owed, recipients).await
    };
    core.queue.tell(message, tell).await;
}

/// Tells of recipients that share a report.
async fn tell_of(
    core: &Rc<PerCore>,
    message: &Rc<Message>,
    owed: Owed,
    recipients: &[(u32, RecipientRow)],
) -> Result<(), StoreError> {
    let told: Vec<Told> = recipients
        .iter()
        .map(|(index, row)| Told {
            index: *index,
            row: row.clone(),
            id: message.id(*index).to_string(),
        })
        .collect();
    if point("outbound.tell").is_err() {
        return Err(StoreError::Storage(StorageError::Busy));
    }
    let first = recipients.first().map_or(0, |(index, _)| *index);
    let (head, size) = match returned(core, message, first).await {
        Ok(head) => head,
        // Its sender hears of it all the same, without what can't be returned.
        Err(StoreError::Storage(
            error @ (StorageError::Damaged { .. } | StorageError::Gone(..)),
        )) => {
            tracing::error!(shard = %message.shard().id(), message = message.body.0, %error, "a report returns nothing of its message");
            (Arc::default(), message.row.size)
        }
        Err(error) => return Err(error),
    };
    let compose = |way| -> Result<Option<Composed>, StoreError> {
        let live = core.live();
        let subject = Subject {
            message: &message.row,
            notice: owed.notice,
            told: &told,
            content: &head,
            size,
        };
        let facts = Facts {
            hostname: live.settings.server.hostname(),
            now: core.wall_clock(),
            random: randomness()?,
            way,
        };
        Ok(report::compose(&subject, &facts))
    };
    let number = transaction_number(owed.notice, owed.group);
    let delivered = match whom(core, message) {
        // A mailbox of ours takes everything.
        Whom::Accounts(accounts) => match compose(Way::Utf8)? {
            Some(report) => deliver(core, message, report, number, accounts).await?,
            None => Vec::new(),
        },
        Whom::Elsewhere => {
            // RFC 6533 4: who sends with SMTPUTF8 can be told with it.
            let way = match message.row.smtputf8 {
                true => Way::Utf8,
                false => Way::SevenBit,
            };
            if let Some(report) = compose(way)? {
                return send(core, message, owed, recipients, report).await;
            }
            Vec::new()
        }
        Whom::Nobody => {
            tracing::info!(
                message = message.body.0,
                reverse_path = message.row.reverse_path,
                "nobody is here to be told what became of a message"
            );
            Vec::new()
        }
    };
    let _ = point("outbound.told");
    // If that fails it is delivered once more, and the owner says that it has it.
    let crossed_out = core
        .queue
        .change(message, |message| paid(message, owed, recipients));
    crossed_out.await?;
    for (account, transaction) in delivered {
        let call = Call::ForgetDelivered {
            account,
            transactions: vec![transaction],
        };
        let _ = core.call(core.owner_of(account.as_str()), call).await;
    }
    Ok(())
}

/// What is owed is crossed out.
fn paid(
    message: &Message,
    owed: Owed,
    recipients: &[(u32, RecipientRow)],
) -> Vec<(u32, RecipientRow)> {
    let paid = |(index, _): &(u32, RecipientRow)| {
        let mut row = message.recipient(*index);
        if row.owes == Some(owed) {
            row.owes = None;
        }
        (*index, row)
    };
    recipients.iter().map(paid).collect()
}

/// Delivers a report to accounts; answers under which number.
async fn deliver(
    core: &Rc<PerCore>,
    message: &Message,
    report: Composed,
    number: u32,
    accounts: Vec<(AccountName, String)>,
) -> Result<Vec<(AccountName, Transaction)>, StoreError> {
    let transaction = Transaction {
        shard: message.shard().id().0,
        entry: message.body.0,
        recipient: number,
    };
    let now = core.wall_clock();
    let prefix = message::compose::return_path_field("")
        + &message::compose::delivered_to_field(&message.row.reverse_path);
    let new = NewMessage {
        prefix: prefix.into_bytes(),
        thread: thread_row(Header::of_message(&report.octets)),
        content: NewContent {
            bytes: Arc::new(report.octets),
            external: None,
        },
        flags: 0,
        keywords: Vec::new(),
        received: now,
        saved: now,
        reverse_path: String::new(),
        recipient: message.row.reverse_path.clone(),
        // What it says was told as an event.
        is_incoming: false,
    };
    let mut delivered = Vec::new();
    for (account, mailbox) in accounts {
        let deliver = Deliver {
            account,
            mailbox,
            message: new.clone(),
            transaction: Some(transaction),
        };
        match core.deliver(deliver).await {
            Ok(_) => delivered.push((account, transaction)),
            Err(StoreError::AccountGone) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(delivered)
}

/// Has a report sent to a sender elsewhere: it comes in line in the batch that crosses out what is owed, so that it goes once.
async fn send(
    core: &Rc<PerCore>,
    message: &Rc<Message>,
    owed: Owed,
    recipients: &[(u32, RecipientRow)],
    report: Composed,
) -> Result<(), StoreError> {
    let (lifetime, bounds) = {
        let live = core.live();
        let queue = &live.settings.server.queue;
        let lifetime = queue.give_up_after_secs.duration().as_secs();
        (lifetime, queue.bounds())
    };
    core.queue.has_room("", (1, 0), bounds)?;
    let now = core.wall_clock();
    let mut row = MessageRow {
        size: 0,
        prefix_length: 0,
        account: String::new(),
        // RFC 3461 6: DSNs have the null reverse-path, and are not reported themselves.
        reverse_path: String::new(),
        message_id: report.message_id,
        smtputf8: report.is_internationalized,
        eight_bit: report.is_eight_bit,
        binary: false,
        accepted: now,
        not_before: 0,
        expires: now.saturating_add_unsigned(lifetime),
        // RFC 8689 5: protected as the message was.
        require_tls: message.row.require_tls.filter(|must| *must),
        ret: None,
        envid: None,
        recipients: vec![Recipient {
            notify: Some(Notify::default()),
            ..Recipient::new(message.row.reverse_path.clone())
        }],
        held_for: None,
        unique_mail_from: None,
        extra: Default::default(),
        batch: None,
    };
    let mut content = NewContent {
        bytes: Arc::new(report.octets),
        external: None,
    };
    let signed = signed(core, &content, &row).await?;
    let bytes = match signed.as_str() {
        "" => content.bytes.clone(),
        fields => Arc::new([fields.as_bytes(), &content.bytes].concat()),
    };
    content.bytes = bytes.clone();
    let shard = message.shard().clone();
    let mut planned = None;
    let change = |message: &Message| paid(message, owed, recipients);
    let add = |batch: &mut Batch| {
        let id = queue::next_id(&shard, row.recipients.len());
        queue::plan(batch, id, &mut row, Vec::new(), &content);
        planned = Some(core.queue.coming(&shard, batch, id, row.clone()));
    };
    let octets = 2 * (bytes.len() + 1024);
    core.queue.change_and(message, change, octets, add).await?;
    if let Some(message) = planned {
        let content = Content {
            bytes,
            external: None,
            files: None,
        };
        core.queue.accepted(message, content);
    }
    Ok(())
}

/// The DKIM-Signature fields of a report, if the domain of this host has a key: a report that nobody vouches for may end among the spam.
async fn signed(
    core: &Rc<PerCore>,
    content: &NewContent,
    row: &MessageRow,
) -> Result<String, StoreError> {
    let hostname = core.live().settings.server.hostname().to_string();
    let facts = ("", row.smtputf8, row.expires);
    match signatures(core, (report::AUTHOR, &hostname), (content, None), facts).await {
        Ok(fields) => Ok(fields),
        Err(SigningError::Pool(_)) => Err(StoreError::Storage(StorageError::Busy)),
        // It is worth more than its signature.
        Err(error) => {
            tracing::warn!(%error, "a report goes out without a DKIM signature");
            Ok(String::new())
        }
    }
}

/// Who hears of a message.
enum Whom {
    /// Accounts, and their mailboxes.
    Accounts(Vec<(AccountName, String)>),
    /// The reverse-path is somebody else's.
    Elsewhere,
    Nobody,
}

/// Who submitted it; the postmaster if he is no more. Of mail from elsewhere: whoever has the reverse-path.
fn whom(core: &PerCore, message: &Message) -> Whom {
    let live = core.live();
    let resolve = |localpart: &str, domain: &str| match live.directory.resolve(localpart, domain) {
        Resolution::Account(found) => {
            Whom::Accounts(vec![(found.account, found.mailbox.to_string())])
        }
        Resolution::Alias(alias) => {
            let members = alias.members.iter();
            let members = members.map(|m| (m.account, m.mailbox.as_str().to_string()));
            Whom::Accounts(members.collect())
        }
        Resolution::NotLocal => Whom::Elsewhere,
        Resolution::Unknown | Resolution::Disabled => Whom::Nobody,
    };
    if message.row.account.is_empty() {
        return match message.row.reverse_path.parse() {
            Ok(Address {
                localpart,
                host: Host::Domain(domain),
            }) => resolve(localpart.as_str(), domain.as_str()),
            Ok(_) => Whom::Elsewhere,
            Err(_) => Whom::Nobody,
        };
    }
    let submitter: Option<AccountName> = message.row.account.parse().ok();
    match submitter.filter(|name| live.settings.accounts.contains_key(name)) {
        Some(submitter) => Whom::Accounts(vec![(submitter, INBOX.to_string())]),
        None => match resolve("postmaster", "") {
            Whom::Elsewhere => Whom::Nobody,
            found => found,
        },
    }
}

/// What a report may return: the beginning of the message at least, and the octets that it has in all. Of a batch that is what the recipient was sent; if
/// that can't be made, which is what the report may be about, nothing.
async fn returned(
    core: &Rc<PerCore>,
    message: &Rc<Message>,
    index: u32,
) -> Result<(Arc<Vec<u8>>, u64), StoreError> {
    if message.row.batch.is_none() {
        return Ok((head(message).await?, message.row.size));
    }
    match recipes::make(core, message, index, Signed::No).await {
        Ok(content) => Ok((content.bytes.clone(), content.length())),
        Err(NotMade::Busy | NotMade::Crowded) => Err(StoreError::Storage(StorageError::Busy)),
        Err(NotMade::Later(_) | NotMade::Never(_)) => Ok((Arc::default(), 0)),
    }
}

/// A message's octets, or those of its beginning if the others are in a file.
pub(super) async fn head(message: &Message) -> Result<Arc<Vec<u8>>, StoreError> {
    let content = message.content().await?;
    let Some(external) = &content.external else {
        return Ok(content.bytes.clone());
    };
    let body = message.shard().read_body(message.body, None).await?;
    let most = external.length.min(dsn::limits::RETURNED_HEADER_MAX as u64) as usize;
    let location = body.location();
    let read = message
        .shard()
        .read_external(message.body, location, 0, most);
    Ok(Arc::new([body.bytes(), &read.await?].concat()))
}
