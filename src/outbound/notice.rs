//! What a sender is told: reports of failure and delay, into the account's INBOX. RFC 3461 6, RFC 3464.
//!
//! The order: what became of the recipients is durable, with what is owed; then the report is delivered, under a number that the account's
//! owner takes once; then what is owed is crossed out. A stop in between repeats the delivery, and the owner says that it has it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use dsn::{Action, Diagnostic, Report, Way};
use message::{Header, MessageDate};
use shards::faults::point;
use smtp::{Address, EnhancedStatus, Reply};

use crate::calls::{Call, Deliver, Transaction};
use crate::percore::PerCore;
use crate::queue::Message;
use crate::queue::rows::{Attempt, Notice, Owed, RecipientRow, Ret};
use crate::settings::AccountName;
use crate::store::{INBOX, NewContent, NewMessage, StoreError, thread_row};

/// Tells the sender of a message what he has to hear of it.
pub(super) async fn tell(core: &Rc<PerCore>, message: &Rc<Message>) {
    let _one = message.telling().await;
    let mut groups: BTreeMap<(u32, u32), Vec<(u32, RecipientRow)>> = BTreeMap::new();
    for (index, row) in message.owing() {
        if let Some(owed) = row.owes {
            let group = (number_of(owed.notice), owed.group);
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
    let content = message.content().await?;
    let Some(report) = compose(core, message, owed.notice, recipients, &content.bytes) else {
        return Ok(None);
    };
    let recipient = owed.group | number_of(owed.notice);
    let transaction = Transaction {
        shard: message.shard().id().0,
        entry: message.body.0,
        recipient,
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

fn compose(
    core: &PerCore,
    message: &Message,
    notice: Notice,
    recipients: &[(u32, RecipientRow)],
    content: &[u8],
) -> Option<Vec<u8>> {
    let row = &message.row;
    let live = core.live();
    let hostname = live.settings.server.hostname();
    let address = |text: &str| text.parse::<Address>().ok();
    let mut random = [0; 16];
    crate::login::random(&mut random).ok()?;
    let message_id = message::compose::message_id(random, hostname);
    // Another one for the boundary, which the original must not foresee.
    crate::login::random(&mut random).ok()?;
    let to = address(&row.reverse_path)?;
    let from = address(&format!("mailer-daemon@{hostname}"))?;
    let parts: Vec<Told> = recipients
        .iter()
        .filter_map(|(index, told)| {
            let recipient = row.recipients.get(*index as usize)?;
            Some(Told {
                address: address(&recipient.address)?,
                original: recipient.orcpt.as_deref().and_then(|o| o.parse().ok()),
                reply: told.history.last().and_then(reply),
                last: told.history.last(),
                given_up: told.given_up.as_ref().map(|why| format!("given up {why}")),
                id: message.id(*index).to_string(),
            })
        })
        .collect();
    let outcomes: Vec<dsn::Outcome<'_>> = parts
        .iter()
        .map(|p| p.outcome(notice, row.expires))
        .collect();
    let header_end = message::header::header_end(content);
    let envelope_id = row.envid.as_deref().and_then(|e| e.parse().ok());
    let body = match (row.binary, row.eight_bit) {
        (true, _) => dsn::BodyKind::Binary,
        (false, true) => dsn::BodyKind::EightBit,
        (false, false) => dsn::BodyKind::SevenBit,
    };
    let is_whole = row.size <= content.len() as u64;
    let report = Report {
        from: ("Mail Delivery System", &from),
        to: &to,
        date: MessageDate::utc(core.wall_clock()),
        message_id: &message_id,
        random,
        reporting_mta: hostname,
        received_from: None,
        arrival: Some(MessageDate::utc(row.accepted)),
        envelope_id: envelope_id.as_ref(),
        future_release: None,
        outcomes: &outcomes,
        original: dsn::Original {
            header: &content[..header_end],
            body_size: row.size.saturating_sub(header_end as u64),
            body,
            returned_size_max: RETURNED_MAX,
        },
        returning: match row.ret {
            // What lies in a file is not read for a report.
            _ if !is_whole || row.require_tls == Some(true) => Some(dsn::Return::Headers),
            Some(Ret::Full) => Some(dsn::Return::Full),
            Some(Ret::Headers) => Some(dsn::Return::Headers),
            None => None,
        },
        way: Way::Utf8,
    };
    let composed = report.compose().ok()?;
    let mut octets = composed.head;
    if composed.wanted == dsn::Wanted::Body {
        octets.extend_from_slice(&content[header_end..]);
    }
    octets.extend_from_slice(&composed.tail);
    Some(octets)
}

/// A recipient in a report.
struct Told<'a> {
    address: Address,
    original: Option<dsn::OriginalRecipient>,
    reply: Option<Reply>,
    last: Option<&'a Attempt>,
    /// Why, if that was by hand.
    given_up: Option<String>,
    id: String,
}

impl Told<'_> {
    fn outcome(&self, notice: Notice, expires: i64) -> dsn::Outcome<'_> {
        let action = match notice {
            Notice::Delayed => Action::Delayed,
            Notice::Failed => Action::Failed,
            Notice::Relayed => Action::Relayed,
        };
        let told = self.last.and_then(|a| a.enhanced);
        let was_refused = self.last.is_some_and(|a| a.code >= 500);
        // RFC 3463 3.1 and 3.5: what the server said, or undefined; late, or given up because it was too late.
        let (class, subject, detail) = match (notice, told) {
            (Notice::Delayed, Some((4, subject, detail))) => (4, subject, detail),
            (Notice::Delayed, _) => (4, 4, 7),
            (Notice::Failed, _) if self.given_up.is_some() => (5, 0, 0),
            (Notice::Failed, Some((5, subject, detail))) => (5, subject, detail),
            (Notice::Failed, _) if was_refused => (5, 0, 0),
            (Notice::Failed, _) => (5, 4, 7),
            (Notice::Relayed, Some((2, subject, detail))) => (2, subject, detail),
            (Notice::Relayed, _) => (2, 0, 0),
        };
        let status = EnhancedStatus::new(class, subject, detail);
        let words = self.last.map_or("", |a| &a.text);
        dsn::Outcome {
            recipient: &self.address,
            original: self.original.as_ref(),
            action,
            status,
            remote: self
                .last
                .filter(|a| !a.remote.is_empty())
                .map(|a| dsn::RemoteMta {
                    name: a.remote.split(' ').next().unwrap_or_default(),
                    address: None,
                }),
            diagnostic: match &self.reply {
                _ if self.given_up.is_some() => self.given_up.as_deref().map(Diagnostic::Own),
                Some(reply) => Some(Diagnostic::Reply(reply)),
                None if words.is_empty() => None,
                None => Some(Diagnostic::Own(words)),
            },
            last_attempt: self.last.map(|a| MessageDate::utc(a.at)),
            retry_until: (notice == Notice::Delayed).then(|| MessageDate::utc(expires)),
            log_id: Some(&self.id),
        }
    }
}

/// What a server replied, as a reply.
fn reply(attempt: &Attempt) -> Option<Reply> {
    Some(Reply {
        code: smtp::Code::new(attempt.code)?,
        enhanced: attempt
            .enhanced
            .map(|(class, subject, detail)| EnhancedStatus {
                class,
                subject,
                detail,
            }),
        text: attempt.text.clone().into(),
    })
}

/// Told apart from the numbers of deliveries and of each other, in the transaction.
fn number_of(notice: Notice) -> u32 {
    match notice {
        Notice::Failed => 1 << 31,
        Notice::Delayed => 1 << 30,
        Notice::Relayed => 3 << 30,
    }
}

/// Octets of a message's body that a report returns at most.
const RETURNED_MAX: u64 = 64 << 10;
