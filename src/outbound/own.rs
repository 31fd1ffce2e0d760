//! Recipients of the queue whose mail is for accounts of ours: mail that was held, and mail whose sender wants to hear that it was delivered.
//!
//! Called before any other next hop is looked for. Who gets it is looked up when it is delivered, for it may have waited for weeks. An account's owner
//! takes each delivery once, so that one repeated after a stop adds nothing.
//! RFC 3461 5.2.3 and 5.2.7.3, RFC 4865 4.2. Not here: whether it may be sent to them (`smtp_server`).

use std::rc::Rc;

use message::Header;

use super::copy;
use crate::calls::{Deliver, Transaction};
use crate::directory::{Destination, Reason, Resolution};
use crate::percore::PerCore;
use crate::queue::recipe::RECIPIENTS_MAX;
use crate::queue::retry::Verdict;
use crate::queue::{Content, Message};
use crate::settings::AccountName;
use crate::store::{NewContent, NewMessage, StoreError, ThreadRow, thread_row};

/// What came of it: the reply that a server would have given.
pub(super) struct Came {
    pub code: u16,
    pub enhanced: (u8, u16, u16),
    pub text: String,
    pub verdict: Verdict,
    /// To be forgotten once this is recorded.
    pub delivered: Vec<(AccountName, Transaction)>,
}

/// A mailbox that gets it, and the address that leads there: Delivered-To.
struct Target {
    account: AccountName,
    mailbox: String,
    address: String,
}

/// Delivers to a recipient of ours. None: it is somebody else's.
pub(super) async fn deliver(
    core: &Rc<PerCore>,
    message: &Message,
    content: &Content,
    index: u32,
) -> Option<Came> {
    let recipient = message.row.recipients.get(index as usize)?;
    let targets = match targets(core, message, &recipient.address)? {
        Ok(targets) => targets,
        Err(refused) => return Some(refused),
    };
    // Asked again, for it may have waited long; by then a delivery is not held back by a quota. As at RCPT without SIZE: room for anything will do,
    // for one member of an alias. Who was full of this message alone when we stopped before we knew it, has it once there is room.
    let wanted = targets.iter().map(|target| (target.account, 1));
    if !core.any_has_room(wanted).await {
        return Some(Came::refused(452, (4, 2, 2), "the mailbox is full"));
    }
    let several = targets.len() > 1;
    let mut came = Came {
        code: 250,
        enhanced: (2, 1, 5),
        text: "delivered".into(),
        verdict: if several {
            Verdict::Expanded
        } else {
            Verdict::Delivered
        },
        delivered: Vec::new(),
    };
    // Threads are told from the header, wherever that lies.
    let thread = match content.external {
        None => thread_row(Header::of_message(&content.bytes)),
        Some(_) => match super::notice::head(message).await {
            Ok(head) => thread_row(Header::of_message(&head)),
            Err(error) => return Some(Came::refused(451, (4, 3, 0), error.to_string())),
        },
    };
    let copy = match copy::of(core, message, content).await {
        Ok(copy) => copy,
        Err(error) => return Some(Came::refused(451, (4, 3, 0), error.to_string())),
    };
    let mut gone = 0;
    for target in &targets {
        let transaction = Transaction {
            shard: message.shard().id().0,
            entry: message.body.0,
            recipient: match message.row.batch {
                Some(_) => number_in_batch(&target.mailbox, index),
                None => number_of(&target.mailbox),
            },
        };
        let new = new_message(core, message, &copy.content, target, thread.clone());
        let deliver = Deliver {
            account: target.account,
            mailbox: target.mailbox.clone(),
            message: new,
            transaction: Some(transaction),
        };
        match core.deliver(deliver).await {
            Ok(_) => came.delivered.push((target.account, transaction)),
            Err(StoreError::AccountGone) => gone += 1,
            // The others have it, and say so when it is tried again.
            Err(error) => {
                return Some(Came {
                    delivered: Vec::new(),
                    ..Came::refused(451, (4, 3, 0), error.to_string())
                });
            }
        }
    }
    if gone == targets.len() {
        return Some(Came::refused(550, (5, 1, 1), "the account is gone"));
    }
    Some(came)
}

impl Came {
    fn refused(code: u16, enhanced: (u8, u16, u16), text: impl Into<String>) -> Came {
        Came {
            code,
            enhanced,
            text: text.into(),
            verdict: match code {
                500.. => Verdict::Permanent,
                _ => Verdict::Temporary,
            },
            delivered: Vec::new(),
        }
    }
}

/// The accounts of an address, or why nobody gets it. None: it is no address of ours, as at the door (`smtp_server/recipients.rs`).
fn targets(core: &PerCore, message: &Message, address: &str) -> Option<Result<Vec<Target>, Came>> {
    let live = core.live();
    let (localpart, domain) = match address.parse::<smtp::Address>() {
        Ok(smtp::Address {
            localpart,
            host: smtp::Host::Domain(domain),
        }) => (localpart, domain),
        _ => return None,
    };
    let target = |found: &Destination<'_>| Target {
        account: found.account,
        mailbox: found.mailbox.to_string(),
        address: address.to_string(),
    };
    // RFC 5321 4.5.1: who wrote to postmaster alone, without a domain.
    let is_host = domain.as_str() == live.settings.server.hostname();
    let to_host = is_host && localpart.as_str().eq_ignore_ascii_case("postmaster");
    let domain = if to_host { "" } else { domain.as_str() };
    match live.directory.resolve(localpart.as_str(), domain) {
        Resolution::NotLocal => None,
        // What our own users send to nobody's address goes elsewhere.
        Resolution::Account(found)
            if found.reason == Reason::Everything && !message.row.account.is_empty() =>
        {
            None
        }
        Resolution::Account(found) => Some(Ok(vec![target(&found)])),
        Resolution::Alias(alias) => {
            let members = alias.members.iter().map(|m| Target {
                account: m.account,
                mailbox: m.mailbox.as_str().to_string(),
                address: m.address.to_string(),
            });
            Some(Ok(members.collect()))
        }
        Resolution::Unknown => Some(Err(Came::refused(550, (5, 1, 1), "no such user here"))),
        Resolution::Disabled => Some(Err(Came::refused(
            451,
            (4, 2, 1),
            "the domain is disabled here",
        ))),
    }
}

fn new_message(
    core: &PerCore,
    message: &Message,
    content: &NewContent,
    target: &Target,
    thread: ThreadRow,
) -> NewMessage {
    let now = core.wall_clock();
    let prefix = message::compose::delivered_to_field(&target.address)
        + &message::compose::return_path_field(&message.row.reverse_path);
    NewMessage {
        prefix: prefix.into_bytes(),
        thread,
        content: content.clone(),
        flags: 0,
        keywords: Vec::new(),
        received: now,
        saved: now,
        reverse_path: message.row.reverse_path.clone(),
        recipient: target.address.clone(),
        is_incoming: true,
    }
}

/// The number of a delivery among the transactions of a message: of each mailbox of an account one, so that who is named twice (as himself, as a
/// member) gets one copy. Told apart from other next hops' and from reports (`queue::report`) by its first bits.
fn number_of(mailbox: &str) -> u32 {
    // Two mailboxes of one account with the same number would be one in 2^29.
    0b011 << 29 | hash(mailbox) & ((1 << 29) - 1)
}

/// The same in a batch, where each recipient has a message of his own: who is named twice gets two. Of its 29 bits 14 are the recipient's; two mailboxes
/// of one account, to which one address leads, would have the same number once in 2^15.
fn number_in_batch(mailbox: &str, index: u32) -> u32 {
    const { assert!(RECIPIENTS_MAX <= 1 << 14) };
    let own = index & ((1 << 14) - 1);
    0b111 << 29 | own << 15 | hash(mailbox) & ((1 << 15) - 1)
}

/// FNV-1a.
fn hash(mailbox: &str) -> u32 {
    mailbox.bytes().fold(0x811C_9DC5_u32, |hash, octet| {
        (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)
    })
}
