//! Messages that came become hooks: one for each endpoint that is told of such, in the commit that erases the row which said that it is to be
//! told (`store/incoming.rs`). A kill before it leaves that row; one after it has nothing more to do.
//!
//! Not here: when, and with how much memory (`src/hooks/incoming.rs`).

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use shards::rt::Event;
use shards::storage::Shard;
use webapi::hook::{HookEvent, Incoming, IncomingMeta};
use webapi::{TakenApart, Time};

use super::plan::plan;
use super::{Book, HooksTurn, OutgoingHook, what};
use crate::queue::events::{Consequences, Interest, Writing};
use crate::store::{IncomingRow, StoreError, incoming_key, mailbox_name};

/// Accounts of a core with messages of which hooks have still to be made, in the order of their turns: each makes those of one message at a time.
/// Here are only the accounts, and where the rows of each begin.
#[derive(Default)]
pub struct Untold {
    lines: RefCell<Lines>,
    /// Notified when there is something in [`Untold::take`].
    pub waking: Event,
}

#[derive(Default)]
struct Lines {
    /// No message of the account before this number has to be told; not of those whose turn it is.
    from: HashMap<String, u64>,
    order: VecDeque<String>,
    under_way: HashSet<String>,
}

impl Untold {
    /// A message with this number came, or others behind it.
    pub fn came(&self, account: &str, number: u64) {
        let lines = &mut *self.lines.borrow_mut();
        if let Some(from) = lines.from.get_mut(account) {
            *from = number.min(*from);
            return;
        }
        lines.from.insert(account.to_string(), number);
        if !lines.under_way.contains(account) {
            lines.order.push_back(account.to_string());
            self.waking.notify();
        }
    }

    /// The account whose turn it is, and where to begin. It has no other until [`Untold::is_done`].
    pub fn take(&self) -> Option<(String, u64)> {
        let lines = &mut *self.lines.borrow_mut();
        let account = lines.order.pop_front()?;
        let from = lines.from.remove(&account).unwrap_or(0);
        lines.under_way.insert(account.clone());
        Some((account, from))
    }

    /// An account had its turn; `next`: there may be more from here on.
    pub fn is_done(&self, account: &str, next: Option<u64>) {
        let lines = &mut *self.lines.borrow_mut();
        lines.under_way.remove(account);
        let came = lines.from.get(account).copied();
        if let Some(from) = next.into_iter().chain(came).min() {
            lines.from.insert(account.to_string(), from);
            lines.order.push_back(account.to_string());
        }
        // A place is free, at least.
        self.waking.notify();
    }
}

/// What receivers are told of a message; `octets`: none if they are gone. Takes long for a long one.
pub fn payload_of(row: &IncomingRow, octets: Option<&[u8]>) -> Result<OutgoingHook, StoreError> {
    let meta = IncomingMeta {
        msg_id: i64::try_from(row.body).unwrap_or(i64::MAX),
        mail_from: row.reverse_path.clone(),
        // Nobody has looked at SPF, DKIM and DMARC yet.
        mail_from_validated: false,
        msg_from_validated: false,
        rcpt_to: row.recipient.clone(),
        dkim_verified_domains: Vec::new(),
        remote_ip: row.remote_ip.clone(),
        received: Time::of_unix(row.received),
        mailbox_name: mailbox_name(&row.mailbox),
        automated: false,
    };
    let taken = octets.map(TakenApart::new);
    let payload = Incoming::of(taken.as_ref(), meta);
    let short = |text: &str| text.chars().take(SHOWN_MAX).collect();
    Ok(OutgoingHook {
        event: HookEvent::Incoming,
        recipient: 0,
        from_id: String::new(),
        message_id: short(&payload.message_id),
        subject: short(&payload.subject),
        payload: payload
            .to_json_within(PAYLOAD_MAX)
            .map_err(|_| StoreError::Row(what()))?,
    })
}

/// Makes the hooks of a message, and forgets that it is to be told.
pub async fn tell_incoming(
    shard: &Rc<Shard>,
    turn: &HooksTurn,
    interest: Interest,
    (number, hook): (u64, Option<&OutgoingHook>),
    now: i64,
) -> Result<Consequences, StoreError> {
    let mut writing = Writing::new(shard, turn, now);
    if let Some(hook) = hook {
        plan(&mut writing, interest, hook).await?;
    }
    writing.delete(incoming_key(turn.account(), number));
    writing.commit().await
}

/// How many endpoints are told of messages that come.
pub async fn told_of_incoming(shard: &Rc<Shard>, account: &str) -> Result<usize, StoreError> {
    let book = Book::look(shard, account).await?;
    let endpoints = book.endpoints.iter();
    Ok(endpoints.filter(|e| e.is_told(HookEvent::Incoming)).count())
}

/// Octets of a payload: two texts of a MiB with what JSON adds to them.
pub const PAYLOAD_MAX: usize = 4 << 20;
/// Letters of the subject and the Message-ID that lists of hooks show.
const SHOWN_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_turns_and_none_has_two() {
        let untold = Untold::default();
        untold.came("anna", 7);
        untold.came("bob", 3);
        untold.came("anna", 9);
        assert_eq!(untold.take(), Some(("anna".into(), 7)));
        // What comes meanwhile waits for its next turn, which begins at the first of all.
        untold.came("anna", 5);
        assert_eq!(untold.take(), Some(("bob".into(), 3)));
        assert_eq!(untold.take(), None);
        untold.is_done("anna", Some(8));
        assert_eq!(untold.take(), Some(("anna".into(), 5)));
        untold.is_done("bob", None);
        untold.is_done("anna", None);
        assert_eq!(untold.take(), None);
        untold.came("bob", 4);
        assert_eq!(untold.take(), Some(("bob".into(), 4)));
    }

    #[test]
    fn a_payload_tells_how_a_message_came_even_if_it_is_gone() {
        let row = IncomingRow {
            body: 99,
            mailbox: "INBOX".into(),
            reverse_path: "a@a.example".into(),
            recipient: "b@b.example".into(),
            remote_ip: "192.0.2.1".into(),
            received: 1_785_571_200,
            size: 10,
        };
        let there = payload_of(&row, Some(b"Subject: Hi\r\n\r\nText\r\n")).unwrap();
        assert_eq!(there.subject, "Hi");
        let gone = payload_of(&row, None).unwrap();
        for (hook, text) in [(there, "Text\n"), (gone, "")] {
            let said: serde_json::Value = serde_json::from_str(&hook.payload).unwrap();
            assert_eq!(said["Text"], text);
            let meta = serde_json::json!({
                "MsgID": 99, "MailFrom": "a@a.example", "MailFromValidated": false, "MsgFromValidated": false,
                "RcptTo": "b@b.example", "DKIMVerifiedDomains": [], "RemoteIP": "192.0.2.1",
                "Received": "2026-08-01T08:00:00Z", "MailboxName": "Inbox", "Automated": false,
            });
            assert_eq!(said["Meta"], meta);
        }
    }
}
