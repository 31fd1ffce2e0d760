//! What operators do to recipients: pure decisions on a row, and their way through a selection, page by page. Safe while sending: a message's
//! changes are made one after the other, each from what is there then, and what an attempt decides afterwards goes on from them.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use serde::{Deserialize, Serialize};
use shards::faults::point;
use shards::segments::BodyId;
use shards::storage::Shard;

use super::batch::{self, Cancelled};
use super::hold_rules::HoldRule;
use super::load::find_recipient;
use super::messages::{Message, Queue};
use super::most::Most;
use super::retry::{give_up, group};
use super::rows::{HeldBy, MessageRow, RecipientRow, State};
use super::select::{Filter, Page, Place, select};
use crate::store::StoreError;

/// Something done to recipients. What is over is past all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Deed {
    /// Nothing is tried until it is released.
    Hold {
        /// Why, for whoever asks; may be empty.
        why: String,
    },
    /// The same, by a rule that was added, of those that it holds.
    HoldBy {
        /// Which.
        rule: HoldRule,
    },
    /// What was held is tried again, at its time.
    Release {},
    /// What waits is tried now. What its sender asked to be sent later, if it is named by its number.
    Kick {},
    /// It is tried then, and not before.
    Schedule {
        /// Seconds since 1970.
        at: i64,
    },
    /// It is tried so much later than it would be.
    PutOff {
        /// Seconds; less than 0: sooner.
        by: i64,
    },
    /// It goes. No report is sent.
    Drop {},
    /// It is given up, and its sender is told.
    Fail {
        /// Why, for the sender too; may be empty.
        why: String,
    },
    /// It goes by a transport, whatever routes say.
    Transport {
        /// Which; empty: what routes say.
        name: String,
    },
    /// Whether TLS is a must.
    RequireTls {
        /// None: as its message says.
        require: Option<bool>,
    },
    /// How often it is tried, how long, and when. Of what is not there nothing is changed.
    Retries {
        /// Attempts, at most.
        attempts_max: Option<Said<u32>>,
        /// Until when, seconds since 1970.
        expires: Option<Said<i64>>,
        /// Seconds after each attempt.
        waits: Option<Said<Vec<u32>>>,
    },
}

/// Something that settings or the message say too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said<T> {
    /// As they say.
    Default,
    /// This.
    Own(T),
}

impl<T: Clone> Said<T> {
    fn put_into(said: &Option<Said<T>>, place: &mut Option<T>) {
        match said {
            None => (),
            Some(Said::Default) => *place = None,
            Some(Said::Own(own)) => *place = Some(own.clone()),
        }
    }
}

impl Deed {
    /// What becomes of a recipient; none: nothing.
    pub fn on(
        &self,
        message: &MessageRow,
        index: u32,
        row: &RecipientRow,
        now: i64,
    ) -> Option<RecipientRow> {
        if row.state.is_over() {
            return None;
        }
        let mut new = row.clone();
        match self {
            Deed::Hold { why } if row.state == State::Waiting => {
                new.state = State::Held;
                new.held_by = Some(HeldBy {
                    rule: None,
                    words: by_hand(why),
                });
            }
            Deed::HoldBy { rule } if row.state == State::Waiting => {
                let recipient = message.recipients.get(index as usize)?;
                if rule.holds(message, recipient) {
                    new.state = State::Held;
                    new.held_by = Some(rule.held_by());
                }
            }
            Deed::Release {} if row.state == State::Held => {
                new.state = State::Waiting;
                new.held_by = None;
            }
            Deed::Kick {} if row.state == State::Waiting => new.next = now,
            Deed::Schedule { at } => new.next = (*at).clamp(0, row.expires(message).max(0)),
            Deed::PutOff { by } => {
                let most = row.expires(message).max(0);
                new.next = row.next.saturating_add(*by).clamp(0, most);
            }
            Deed::Drop {} => new.state = State::Dropped,
            Deed::Fail { why } => {
                new.given_up = Some(by_hand(why));
                new = give_up(message, index, new);
            }
            Deed::Transport { name } => {
                new.transport = Some(name.clone()).filter(|name| !name.is_empty());
                // Who stands in line stands in another one now: its entry there is told by its time.
                if new != *row && row.state == State::Waiting {
                    new.next = row.next.max(now);
                }
            }
            Deed::RequireTls { require } => new.require_tls = *require,
            Deed::Retries {
                attempts_max,
                expires,
                waits,
            } => {
                let retries = &mut new.retries;
                Said::put_into(attempts_max, &mut retries.attempts_max);
                Said::put_into(expires, &mut retries.expires);
                Said::put_into(waits, &mut retries.waits);
                // What stands in line says when it is given up: another entry does from now on, which is told by its time.
                if retries.expires != row.retries.expires && row.state == State::Waiting {
                    new.next = row.next.max(now) + 1;
                }
            }
            _ => (),
        }
        (new != *row).then_some(new)
    }

    /// What is wrong with its texts, which are shown, and mailed, and with its numbers.
    pub fn check(&self) -> Result<(), String> {
        let text = match self {
            Deed::Retries {
                attempts_max,
                expires,
                waits,
            } => return check_retries(attempts_max, expires, waits),
            Deed::Hold { why } | Deed::Fail { why } => why,
            Deed::Transport { name } => name,
            _ => return Ok(()),
        };
        match text {
            long if long.len() > TEXT_MAX => Err(format!("a text has at most {TEXT_MAX} octets")),
            odd if odd.chars().any(char::is_control) => {
                Err("a text has no control characters".into())
            }
            _ => Ok(()),
        }
    }

    /// Whether it says when the next attempt is to be.
    fn is_about_time(&self) -> bool {
        matches!(
            self,
            Deed::Kick {} | Deed::Schedule { .. } | Deed::PutOff { .. }
        )
    }
}

fn check_retries(
    attempts_max: &Option<Said<u32>>,
    expires: &Option<Said<i64>>,
    waits: &Option<Said<Vec<u32>>>,
) -> Result<(), String> {
    if attempts_max.is_none() && expires.is_none() && waits.is_none() {
        return Err("say what of the attempts is changed".into());
    }
    if matches!(attempts_max, Some(Said::Own(0))) {
        return Err("one attempt is the least".into());
    }
    if matches!(expires, Some(Said::Own(at)) if !(0..=TIME_MAX).contains(at)) {
        return Err("that time is out of bounds".into());
    }
    if let Some(Said::Own(waits)) = waits {
        let fits = |wait: &u32| (1..=WAIT_MAX).contains(wait);
        if waits.is_empty() || waits.len() > WAITS_MAX || !waits.iter().all(fits) {
            return Err(format!(
                "a schedule has 1 to {WAITS_MAX} waits, each from 1s to 60d"
            ));
        }
    }
    Ok(())
}

fn by_hand(why: &str) -> String {
    match why {
        "" => "by hand".into(),
        why => format!("by hand: {why}"),
    }
}

/// How far an operation came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Recipients that were looked at.
    pub looked_at: u64,
    /// Recipients that fit, changed or not.
    pub fit: u64,
    /// Recipients that were changed.
    pub changed: u64,
    /// Where to go on; none: the shard is done.
    pub next: Option<Place>,
}

impl Queue {
    /// Does something to the recipients on a page of a selection; durable when it returns.
    pub async fn operate(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        filter: &Rc<Filter>,
        deed: &Rc<Deed>,
        after: Option<Place>,
    ) -> Result<Done, StoreError> {
        self.resumed().await;
        let Page {
            found,
            looked_at,
            next,
        } = select(Some(self), shard, filter, after, Most::entries(PAGE)).await?;
        let fit = found.iter().map(|(_, indexes)| indexes.len() as u64).sum();
        let changed = Rc::new(Cell::new(0));
        let mut found = found.into_iter();
        loop {
            // Together: they share syncs.
            let some = found.by_ref().take(AT_ONCE).map(|(stored, indexes)| {
                let (queue, changed) = (self.clone(), changed.clone());
                let (shard, filter, deed) = (shard.id().0, filter.clone(), deed.clone());
                let body = stored.body;
                Box::pin(async move {
                    let operation = queue.operate_on((shard, body), &indexes, &filter, &deed);
                    let count = operation.await?;
                    changed.set(changed.get() + count);
                    Ok(())
                }) as Operation
            });
            let some: Vec<_> = some.collect();
            if some.is_empty() {
                break;
            }
            let result = all(some).await;
            result.map_err(|error| match changed.get() {
                0 => error,
                _ => error.in_part(),
            })?;
        }
        Ok(Done {
            looked_at,
            fit,
            changed: changed.get(),
            next,
        })
    }

    async fn operate_on(
        self: &Rc<Self>,
        (shard, body): (u16, BodyId),
        indexes: &[u32],
        filter: &Filter,
        deed: &Deed,
    ) -> Result<u64, StoreError> {
        let Some(message) = self.message(shard, body).await? else {
            return Ok(0);
        };
        let now = self.now();
        let mut count = 0;
        let mut owes = false;
        let mut kicked = Vec::new();
        let change = |message: &Message| {
            let on = |index: &u32| {
                let row = message.recipient(*index);
                let recipient = message.row.recipients.get(*index as usize)?;
                // It may be another by now.
                let is_later = *deed == Deed::Kick {} && message.row.not_before > now;
                let fits = filter.fits(&message.row, recipient, &row)
                    && (!is_later || !filter.ids.is_empty());
                let new = deed.on(&message.row, *index, &row, now).filter(|_| fits)?;
                if deed.is_about_time() && self.is_under_way(shard, body, *index) {
                    message.ask(*index, new.next);
                }
                Some((*index, new))
            };
            let mut rows: Vec<_> = indexes.iter().filter_map(on).collect();
            if let Deed::Fail { .. } = deed {
                group(&message.row, |index| message.recipient(index), &mut rows);
            }
            count = rows.len() as u64;
            owes = rows.iter().any(|(_, row)| row.state.is_over());
            if let Deed::Kick {} = deed {
                kicked.extend(rows.iter().map(|(index, _)| *index));
            }
            rows
        };
        self.change(&message, change).await?;
        let _ = point("queue.operated");
        if owes {
            self.owe(&message.row, (shard, body.0));
        }
        if !kicked.is_empty() {
            self.kick(&message, &kicked);
        }
        Ok(count)
    }
}

impl Queue {
    /// Drops all recipients of an account's batch that still wait; those under way end as they end. None: there is no such batch.
    pub async fn cancel(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        account: &str,
        number: u64,
    ) -> Result<Option<Cancelled>, StoreError> {
        self.resumed().await;
        if batch::find(shard, account, number).await?.is_none() {
            return Ok(None);
        }
        let Some((stored, _)) = find_recipient(shard, number).await? else {
            return Ok(Some(Cancelled::default()));
        };
        let is_it = stored.message.batch.is_some() && stored.message.account == account;
        let id = shard.id().0;
        let message = match is_it {
            true => self.message(id, stored.body).await?,
            false => None,
        };
        let Some(message) = message else {
            return Ok(Some(Cancelled::default()));
        };
        let mut cancelled = Cancelled::default();
        let result = self.drop_all(&message, &mut cancelled).await;
        // What was dropped before an error is durable, and told.
        self.owe(&stored.message, (id, stored.body.0));
        match result {
            Ok(()) => Ok(Some(cancelled)),
            Err(error) if cancelled == Cancelled::default() => Err(error),
            Err(error) => Err(error.in_part()),
        }
    }

    /// Page by page, so that no commit is long.
    async fn drop_all(
        self: &Rc<Self>,
        message: &Rc<Message>,
        cancelled: &mut Cancelled,
    ) -> Result<(), StoreError> {
        let shard = message.shard().id().0;
        let count = message.row.recipients.len() as u32;
        let mut from = 0;
        while from < count {
            let to = count.min(from + PAGE as u32);
            let change = |message: &Message| {
                let now = self.now();
                message.cancel(now);
                let drop = |index| {
                    let row = message.recipient(index);
                    let new = Deed::Drop {}.on(&message.row, index, &row, now);
                    // One that an earlier request has dropped may be on its way still.
                    let is_dropped = new.is_some() || row.state == State::Dropped;
                    if is_dropped && self.is_under_way(shard, message.body, index) {
                        cancelled.under_way += 1;
                    } else if new.is_some() {
                        cancelled.dropped += 1;
                    }
                    Some((index, new?))
                };
                (from..to).filter_map(drop).collect()
            };
            self.change(message, change).await?;
            point("batch.cancelled").map_err(|_| StoreError::Limit("a test says so"))?;
            from = to;
        }
        Ok(())
    }
}

/// The changes of one message, under way.
pub type Operation = Pin<Box<dyn Future<Output = Result<(), StoreError>>>>;

/// Waits for all of them; the first error is told once all are done.
pub async fn all(mut some: Vec<Operation>) -> Result<(), StoreError> {
    let mut failed = None;
    poll_fn(|cx| {
        some.retain_mut(|one| match one.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                failed = failed.take().or(result.err());
                false
            }
        });
        match some.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    failed.map_or(Ok(()), Err)
}

/// Waits of a schedule of its own, and the longest in seconds.
const WAITS_MAX: usize = 20;
const WAIT_MAX: u32 = 60 * 86_400;
/// The latest time that entries in line can hold.
const TIME_MAX: i64 = u32::MAX as i64;
/// Octets of a reason or a name.
const TEXT_MAX: usize = 300;
/// Recipients that one page changes, at most.
const PAGE: usize = 500;
/// Messages that are changed at once: as many as share a sync.
const AT_ONCE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::rows::{Notice, Recipient, Retries};

    fn message() -> MessageRow {
        MessageRow {
            size: 1,
            prefix_length: 0,
            account: "anna".into(),
            reverse_path: "anna@example.org".into(),
            message_id: String::new(),
            smtputf8: false,
            eight_bit: false,
            binary: false,
            accepted: 1_000,
            not_before: 0,
            expires: 10_000,
            require_tls: Some(true),
            ret: None,
            envid: None,
            recipients: vec![Recipient::new("a@one.example")],
            held_for: None,
            unique_mail_from: None,
            extra: Default::default(),
            batch: None,
        }
    }

    #[test]
    fn what_is_said_of_attempts_is_within_bounds() {
        let check = |attempts_max, expires, waits| {
            let deed = Deed::Retries {
                attempts_max,
                expires,
                waits,
            };
            deed.check().is_ok()
        };
        assert!(!check(None, None, None));
        assert!(check(Some(Said::Own(1)), None, None) && !check(Some(Said::Own(0)), None, None));
        assert!(check(None, Some(Said::Default), None));
        for (at, fits) in [(0, true), (-1, false), (TIME_MAX, true), (i64::MAX, false)] {
            assert_eq!(check(None, Some(Said::Own(at)), None), fits, "{at}");
        }
        for (waits, fits) in [
            (vec![1, WAIT_MAX], true),
            (vec![], false),
            (vec![0], false),
            (vec![WAIT_MAX + 1], false),
            (vec![1; WAITS_MAX + 1], false),
        ] {
            assert_eq!(
                check(None, None, Some(Said::Own(waits.clone()))),
                fits,
                "{waits:?}"
            );
        }
    }

    #[test]
    fn deeds_change_what_they_say_and_nothing_else() {
        let message = message();
        let waiting = RecipientRow {
            next: 3_000,
            ..RecipientRow::fresh(&message)
        };
        let on = |deed: Deed, row: &RecipientRow| deed.on(&message, 0, row, 2_000);
        let held = on(
            Deed::Hold {
                why: "spam?".into(),
            },
            &waiting,
        )
        .unwrap();
        assert_eq!(held.held_by.as_ref().unwrap().words, "by hand: spam?");
        assert_eq!((held.state, held.next), (State::Held, 3_000));
        assert_eq!(
            on(
                Deed::Hold {
                    why: "again".into()
                },
                &held
            ),
            None
        );
        assert_eq!(on(Deed::Kick {}, &held), None);
        let rule = |account: &str| Deed::HoldBy {
            rule: HoldRule {
                id: 3,
                account: account.into(),
                ..HoldRule::default()
            },
        };
        let by_rule = on(rule("anna"), &waiting).unwrap();
        assert_eq!(by_rule.held_by.unwrap().rule, Some(3));
        assert_eq!(
            (on(rule("ben"), &waiting), on(rule("anna"), &held)),
            (None, None)
        );
        assert_eq!(on(Deed::Release {}, &held), Some(waiting.clone()));
        assert_eq!(on(Deed::Release {}, &waiting), None);
        assert_eq!(on(Deed::Kick {}, &waiting).unwrap().next, 2_000);
        for (deed, next) in [
            (Deed::Schedule { at: 5_000 }, 5_000),
            (Deed::Schedule { at: 50_000 }, 10_000),
            (Deed::PutOff { by: 60 }, 3_060),
            (Deed::PutOff { by: -5_000 }, 0),
            (Deed::PutOff { by: i64::MAX }, 10_000),
        ] {
            assert_eq!(on(deed.clone(), &waiting).unwrap().next, next, "{deed:?}");
            assert_eq!(on(deed, &held).unwrap().state, State::Held);
        }
        let dropped = on(Deed::Drop {}, &held).unwrap();
        assert!(dropped.is_done());
        let failed = on(Deed::Fail { why: String::new() }, &waiting).unwrap();
        assert_eq!(failed.owes.map(|owed| owed.notice), Some(Notice::Failed));
        assert_eq!(failed.given_up.as_deref(), Some("by hand"));
        let name = |name: &str| Deed::Transport { name: name.into() };
        let sent_by = on(name("backup"), &waiting).unwrap();
        assert_eq!(sent_by.transport.as_deref(), Some("backup"));
        assert_eq!(on(name(""), &sent_by), Some(waiting.clone()));
        assert_eq!(waiting.requires_tls(&message), Some(true));
        let require = |require| Deed::RequireTls { require };
        let open = on(require(Some(false)), &waiting).unwrap();
        assert_eq!(open.requires_tls(&message), Some(false));
        assert_eq!(on(require(None), &open), Some(waiting.clone()));
        let retries = on(
            Deed::Retries {
                attempts_max: Some(Said::Own(3)),
                expires: Some(Said::Own(4_000)),
                waits: None,
            },
            &waiting,
        );
        let retries = retries.unwrap();
        assert_eq!(retries.expires(&message), 4_000);
        // Another time: there is another entry of it in line.
        assert_eq!(retries.next, 3_001);
        let later = on(Deed::Schedule { at: 5_000 }, &retries).unwrap();
        assert_eq!(later.next, 4_000);
        let back = Deed::Retries {
            attempts_max: Some(Said::Default),
            expires: Some(Said::Default),
            waits: Some(Said::Default),
        };
        assert_eq!(on(back.clone(), &waiting), None);
        assert_eq!(on(back, &retries).unwrap().retries, Retries::default());
        // What is over is past all of them.
        for over in [dropped, failed] {
            let more = Deed::Retries {
                attempts_max: Some(Said::Own(3)),
                expires: None,
                waits: None,
            };
            for deed in [
                Deed::Kick {},
                Deed::Drop {},
                Deed::Release {},
                name("x"),
                more,
            ] {
                assert_eq!(on(deed, &over), None);
            }
        }
    }
}
