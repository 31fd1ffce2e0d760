//! What a sender is told: reports of failure and delay, into the account's INBOX. RFC 3461 6, RFC 3464.
//!
//! The order: what became of the recipients is durable, with what is owed; then the report is delivered, under a number that the account's
//! owner takes once; then what is owed is crossed out. A stop in between repeats the delivery, and the owner says that it has it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use dsn::Way;
use message::Header;
use shards::faults::point;

use crate::calls::{Call, Deliver, Transaction};
use crate::percore::PerCore;
use crate::queue::Message;
use crate::queue::report::{Facts, Subject, Told, compose, randomness, transaction_number};
use crate::queue::rows::{Owed, RecipientRow};
use crate::settings::AccountName;
use crate::store::{INBOX, NewContent, NewMessage, StoreError, thread_row};

/// Tells the sender of a message what he has to hear of it.
pub(super) async fn tell(core: &Rc<PerCore>, message: &Rc<Message>) {
    let _one = message.telling().await;
    let mut groups: BTreeMap<(u32, u32), Vec<(u32, RecipientRow)>> = BTreeMap::new();
    for (index, row) in message.owing() {
        if let Some(owed) = row.owes {
            let group = (transaction_number(owed.notice, 0), owed.group);
            groups.entry(group).or_default().push((index, row));
        }
    }
    for of_this in groups.into_values() {
        let Some(owed) = of_this[0].1.owes else {
            continue;
        };
        match deliver(core, message, owed, &of_this).await {
            Ok(transaction) => {
                let _ = point("outbound.told");
                let indexes: Vec<u32> = of_this.iter().map(|(index, _)| *index).collect();
                let crossed_out = core.queue.change(message, |message| {
                    let paid = |index| {
                        let mut row = message.recipient(index);
                        if row.owes == Some(owed) {
                            row.owes = None;
                        }
                        (index, row)
                    };
                    indexes.into_iter().map(paid).collect()
                });
                match (crossed_out.await, transaction) {
                    (Ok(()), Some((account, transaction))) => {
                        let call = Call::ForgetDelivered {
                            account,
                            transactions: vec![transaction],
                        };
                        let _ = core.call(core.owner_of(account.as_str()), call).await;
                    }
                    (Ok(()), None) => (),
                    (Err(error), _) => {
                        tracing::warn!(%error, "a report may come twice: it could not be crossed out");
                    }
                }
            }
            Err(error) => {
                tracing::error!(shard = %message.shard().id(), message = message.body.0, %error, "a sender could not be told what became of his message; it is tried again at the next start");
            }
        }
    }
}

/// Delivers a report; answers to whom and under which number, or none if there is nobody to tell.
async fn deliver(
    core: &Rc<PerCore>,
    message: &Rc<Message>,
    owed: Owed,
    recipients: &[(u32, RecipientRow)],
) -> Result<Option<(AccountName, Transaction)>, StoreError> {
    let Some(account) = account_of(core, message) else {
        tracing::info!(
            message = message.body.0,
            reverse_path = message.row.reverse_path,
            "nobody is here to be told what became of a message"
        );
        return Ok(None);
    };
    let content = head(message).await?;
    let told: Vec<Told> = recipients
        .iter()
        .map(|(index, row)| Told {
            index: *index,
            row: row.clone(),
            id: message.id(*index).to_string(),
        })
        .collect();
    let subject = Subject {
        message: &message.row,
        notice: owed.notice,
        told: &told,
        content: &content,
    };
    let live = core.live();
    let facts = Facts {
        hostname: live.settings.server.hostname(),
        now: core.wall_clock(),
        random: randomness()?,
        // A mailbox of ours takes everything.
        way: Way::Utf8,
    };
    let Some(report) = compose(&subject, &facts) else {
        return Ok(None);
    };
    let report = report.octets;
    let transaction = Transaction {
        shard: message.shard().id().0,
        entry: message.body.0,
        recipient: transaction_number(owed.notice, owed.group),
    };
    let now = core.wall_clock();
    let prefix = message::compose::return_path_field("")
        + &message::compose::delivered_to_field(&message.row.reverse_path);
    let deliver = Deliver {
        account,
        mailbox: INBOX.to_string(),
        message: NewMessage {
            prefix: prefix.into_bytes(),
            thread: thread_row(Header::of_message(&report)),
            content: NewContent {
                bytes: Arc::new(report),
                external: None,
            },
            flags: 0,
            keywords: Vec::new(),
            received: now,
            saved: now,
            reverse_path: String::new(),
            recipient: message.row.reverse_path.clone(),
        },
        transaction: Some(transaction),
    };
    match core.deliver(deliver).await {
        Ok(_) => Ok(Some((account, transaction))),
        Err(StoreError::AccountGone) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Who hears of it: who submitted it; without him the postmaster.
fn account_of(core: &PerCore, message: &Message) -> Option<AccountName> {
    let live = core.live();
    let submitter: Option<AccountName> = message.row.account.parse().ok();
    let submitter = submitter.filter(|name| live.settings.accounts.contains_key(name));
    submitter.or_else(|| match live.directory.resolve("postmaster", "") {
        crate::directory::Resolution::Account(found) => Some(found.account),
        _ => None,
    })
}

/// A message's octets, or those of its beginning if the others are in a file.
async fn head(message: &Message) -> Result<Arc<Vec<u8>>, StoreError> {
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
