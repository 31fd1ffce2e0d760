//! Carries events to the owners of accounts. docs/QUEUE.md.
//!
//! The order: what became of a recipient is durable, with the event that is owed; then the event is committed in the account's shard, under a
//! number that is taken once; then it is crossed out, and the message may go. One call of an account is under way at a time, with all that
//! has come together meanwhile. A stop in between repeats the call, and the owner says that it has it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use message::Header;
use shards::faults::point;
use shards::rt;
use shards::segments::BodyId;

use super::ROOM;
use crate::calls::{Answer, Call};
use crate::percore::PerCore;
use crate::queue::events::{EVENTS_MAX, Event, EventId, OwedEvent, Told};
use crate::queue::rows::UniqueMailFrom;
use crate::queue::{Message, Operation, QueueId, all};
use crate::recipes;
use crate::settings::AccountName;
use crate::store::StoreError;

/// Has the account of a message told what it has still to hear of it. Does not wait.
pub(super) fn carry(core: &Rc<PerCore>, message: &Rc<Message>) {
    if !message.owes_events() {
        return;
    }
    let key = (message.shard().id().0, message.body.0);
    let account = message.row.account.clone();
    let mut telling = core.queue.telling.borrow_mut();
    if let Some(line) = telling.get_mut(&account) {
        line.insert(key);
        return;
    }
    telling.insert(account.clone(), BTreeSet::from([key]));
    // A task may begin at once.
    drop(telling);
    let core = core.clone();
    rt::spawn(&ROOM, async move { tell(&core, &account).await });
}

/// Events of a message, each with whose it is: to be crossed out once they were told.
type Owing = (Rc<Message>, Vec<(u32, OwedEvent)>);

/// The events of some messages on their way.
#[derive(Default)]
struct Load {
    events: Vec<Event>,
    owed: Vec<Owing>,
    /// One could not be read now, and stands in line again.
    is_held_up: bool,
}

/// Tells the owner of an account until there is nothing to tell.
async fn tell(core: &Rc<PerCore>, account: &str) {
    let line = Line { core, account };
    let mut over: Vec<EventId> = Vec::new();
    let mut pause = FIRST_PAUSE;
    while !core.draining.get() {
        let load = line.take().await;
        if load.events.is_empty() && over.is_empty() && line.is_empty() {
            return;
        }
        let numbers: Vec<EventId> = load.events.iter().map(|event| event.id).collect();
        let told = Told {
            events: load.events,
            over: over.clone(),
        };
        let is_only_over = numbers.is_empty();
        let goes_on = match commit(core, account, told).await {
            Ok(()) => {
                let _ = point("outbound.event_taken");
                let (told, is_all) = line.cross_out(load.owed).await;
                over = told;
                let _ = point("outbound.event_over");
                is_all
            }
            // They are forgotten some day.
            Err(_) if is_only_over => {
                over.clear();
                true
            }
            Err(error) => {
                tracing::warn!(account, %error, "what became of an account's mail can't be told to its shard now; it is tried again");
                line.again(&load.owed);
                false
            }
        };
        if goes_on && !load.is_held_up {
            pause = FIRST_PAUSE;
            continue;
        }
        or(rt::sleep(pause), core.drained()).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Commits events in the account's shard. An account that is gone hears nothing.
async fn commit(core: &Rc<PerCore>, account: &str, told: Told) -> Result<(), StoreError> {
    let Ok(account) = account.parse::<AccountName>() else {
        return Ok(());
    };
    point("outbound.event_told").map_err(|_| StoreError::Limit("a test says so"))?;
    let owner = core.owner_of(account.as_str());
    let told = Box::new(told);
    match core.call(owner, Call::Events { account, told }).await {
        Ok(Answer::Done(Ok(()) | Err(StoreError::AccountGone))) => Ok(()),
        Ok(Answer::Done(Err(error))) => Err(error),
        _ => Err(StoreError::NotAllowed("its core gave no answer")),
    }
}

/// Messages of an account of which its shard has to hear. When it is dropped, after a panic too, the next message begins another one.
struct Line<'a> {
    core: &'a Rc<PerCore>,
    account: &'a str,
}

impl Line<'_> {
    fn is_empty(&self) -> bool {
        let telling = self.core.queue.telling.borrow();
        telling.get(self.account).is_none_or(BTreeSet::is_empty)
    }

    fn next(&self) -> Option<(u16, u64)> {
        let mut telling = self.core.queue.telling.borrow_mut();
        telling.get_mut(self.account)?.pop_first()
    }

    fn put(&self, key: (u16, u64)) {
        let mut telling = self.core.queue.telling.borrow_mut();
        if let Some(line) = telling.get_mut(self.account) {
            line.insert(key);
        }
    }

    /// The events of the next messages, as many as fit into a call.
    async fn take(&self) -> Load {
        let mut load = Load::default();
        while load.events.len() < EVENTS_MAX {
            let Some((shard, body)) = self.next() else {
                break;
            };
            let message = match self.core.queue.message(shard, BodyId(body)).await {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(StoreError::Storage(error)) if !error.is_out_of_service() => {
                    tracing::warn!(shard, body, %error, "a queued message can't be read now; what became of it is told to its account later");
                    self.put((shard, body));
                    load.is_held_up = true;
                    break;
                }
                Err(error) => {
                    tracing::warn!(shard, body, %error, "a queued message can't be read; what became of it is told to its account after the next start");
                    continue;
                }
            };
            let mut owed = Vec::new();
            let mut subject: Option<String> = None;
            // One more than fits says that there are more.
            let most = EVENTS_MAX - load.events.len() + 1;
            for (index, row, event) in message.events(most) {
                if load.events.len() == EVENTS_MAX {
                    self.put((shard, body));
                    break;
                }
                let id = message.id(index);
                let mut told = Event::of(&message.row, index, id, &row, event);
                let hooks = &self.core.queue.hooks;
                // What is kept of the recipient has it for reports that come later.
                if hooks.may_tell(self.account) {
                    if message.row.batch.is_some() {
                        // Each has its own.
                        subject = Some(recipes::subject(self.core, &message, index).await);
                    } else if subject.is_none() {
                        subject = Some(subject_of(&message).await);
                    }
                    told.subject = subject.clone().unwrap_or_default();
                    told.from_id = self.unique_id(&message, id);
                }
                load.events.push(told);
                owed.push((index, event));
            }
            load.owed.push((message, owed));
        }
        load
    }

    /// What makes the MAIL FROM of a recipient unique; empty: it is not.
    fn unique_id(&self, message: &Message, id: u64) -> String {
        let is_ours = matches!(
            message.row.unique_mail_from,
            Some(UniqueMailFrom::FromId { .. })
        );
        let id = QueueId::from_u64(id).filter(|_| is_ours);
        id.map_or_else(String::new, |id| self.core.from_ids.encode(id))
    }

    fn again(&self, owed: &[Owing]) {
        for (message, _) in owed {
            self.put((message.shard().id().0, message.body.0));
        }
    }

    /// Crosses out what the account's shard has; answers what nobody will repeat, and whether that is all. What could not be crossed out now stands in
    /// line again: it is told once more, and taken once. All at once: they share syncs.
    async fn cross_out(&self, owed: Vec<Owing>) -> (Vec<EventId>, bool) {
        let over = Rc::new(RefCell::new(Vec::new()));
        let failed = Rc::new(RefCell::new(Vec::new()));
        let each = owed.into_iter().map(|(message, owed)| {
            let (queue, over, failed) = (self.core.queue.clone(), over.clone(), failed.clone());
            Box::pin(async move {
                let mut by_index: BTreeMap<u32, Vec<OwedEvent>> = BTreeMap::new();
                for (index, event) in &owed {
                    by_index.entry(*index).or_default().push(*event);
                }
                let paid = queue.change(&message, |message| {
                    let paid = |(index, events): (u32, Vec<OwedEvent>)| {
                        let mut row = message.recipient(index);
                        row.events.retain(|owed| !events.contains(owed));
                        (index, row)
                    };
                    by_index.into_iter().map(paid).collect()
                });
                match paid.await {
                    Ok(()) => over.borrow_mut().extend(owed.iter().map(|(index, event)| EventId {
                        id: message.id(*index),
                        attempt: event.attempt,
                        kind: event.kind,
                    })),
                    Err(StoreError::Storage(error)) if !error.is_out_of_service() => {
                        tracing::warn!(shard = %message.shard().id(), message = message.body.0, %error, "an event that was told can't be crossed out now; it is tried again");
                        failed.borrow_mut().push((message.shard().id().0, message.body.0));
                    }
                    Err(error) => {
                        tracing::warn!(shard = %message.shard().id(), message = message.body.0, %error, "an event that was told could not be crossed out; it is told again after the next start, and taken once");
                    }
                }
                Ok(())
            }) as Operation
        });
        let _ = all(each.collect()).await;
        let failed = failed.take();
        failed.iter().for_each(|key| self.put(*key));
        (over.take(), failed.is_empty())
    }
}

/// The subject of a message; empty if it has none or can't be read now, which holds no event up.
async fn subject_of(message: &Message) -> String {
    let Ok(head) = super::notice::head(message).await else {
        return String::new();
    };
    let subject = Header::of_message(&head).first("subject");
    let subject = subject.map_or_else(String::new, |field| field.text());
    let end = subject.char_indices().nth(SUBJECT_MAX).map(|(at, _)| at);
    subject[..end.unwrap_or(subject.len())].to_string()
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.core.queue.telling.borrow_mut().remove(self.account);
    }
}

/// Between two tries, at first and in the end.
/// Characters of a subject that are told.
const SUBJECT_MAX: usize = 1000;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
