//! What the workers of an account wish written: it gathers while a commit of the account is under way, and goes together in the next, so that an
//! account with many calls at once shares its syncs. Commits of different accounts share those of the shard (docs/STORAGE.md, groups).
//!
//! The order for each hook is that of docs/WEBHOOKS.md, whatever goes beside it: a call begins after the commit that took its hook has returned.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use futures_channel::oneshot;
use shards::faults::point;
use shards::rt;

use super::ROOM;
use super::dispatch::{Dispatch, random};
use crate::queue::hooks::{self, Follows, HooksTurn, Step, Wish};
use crate::store::StoreError;

/// Wishes of accounts with a clerk; each worker has one at most, and waits for it.
#[derive(Default)]
pub(super) struct Desks(RefCell<HashMap<String, Vec<Wished>>>);

struct Wished {
    wish: Wish,
    answer: oneshot::Sender<Result<Step, Unwritten>>,
}

/// Why a wish was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// There is no such account.
    Gone,
    /// That can't be done now.
    Now,
}

impl Dispatch {
    /// Has a wish written; durable when it returns.
    pub(super) async fn write(
        self: &Rc<Self>,
        account: &str,
        wish: Wish,
    ) -> Result<Step, Unwritten> {
        let (answer, answered) = oneshot::channel();
        let is_new = {
            let mut desks = self.desks.0.borrow_mut();
            let is_new = !desks.contains_key(account);
            let desk = desks.entry(account.to_string()).or_default();
            desk.push(Wished { wish, answer });
            is_new
        };
        if is_new {
            let clerk = Clerk {
                dispatch: self.clone(),
                account: account.to_string(),
            };
            rt::spawn(&ROOM, async move { clerk.run().await });
        }
        // Without an answer the clerk has panicked, which is told and counted.
        answered.await.unwrap_or(Err(Unwritten::Now))
    }
}

/// Writes what is wished of an account. When it is dropped, after a panic too, the next wish has another one.
struct Clerk {
    dispatch: Rc<Dispatch>,
    account: String,
}

impl Drop for Clerk {
    fn drop(&mut self) {
        self.dispatch.desks.0.borrow_mut().remove(&self.account);
    }
}

impl Clerk {
    async fn run(&self) {
        // What others wish in the same round comes along.
        rt::yield_now().await;
        while !self.is_empty() {
            let turn = self.dispatch.core.queue.hooks.turn(&self.account).await;
            let wished = self.take();
            let (mut wishes, answers): (Vec<Wish>, Vec<_>) =
                wished.into_iter().map(|w| (w.wish, w.answer)).unzip();
            self.heed_pauses(&mut wishes);
            let done = self.write(&turn, &wishes).await;
            drop(turn);
            for (answer, step) in answers.into_iter().zip(done) {
                // Whoever wished it waits for it.
                let _ = answer.send(step);
            }
        }
    }

    fn is_empty(&self) -> bool {
        let desks = self.dispatch.desks.0.borrow();
        desks.get(&self.account).is_none_or(Vec::is_empty)
    }

    fn take(&self) -> Vec<Wished> {
        let mut desks = self.dispatch.desks.0.borrow_mut();
        let desk = desks.get_mut(&self.account);
        desk.map_or_else(Vec::new, |desk| {
            let count = desk.len().min(WISHES_MAX);
            desk.drain(..count).collect()
        })
    }

    /// Nothing is taken for an endpoint that has asked for a pause, here or before.
    fn heed_pauses(&self, wishes: &mut [Wish]) {
        let now = self.dispatch.core.wall_clock();
        let conduct = &self.dispatch.core.queue.hooks.conduct;
        for wish in &*wishes {
            if let Some((_, outcome)) = &wish.finished
                && let Follows::NotBefore(secs) = outcome.follows
            {
                let until = now.saturating_add_unsigned(secs);
                conduct.pause(&self.account, wish.endpoint, until);
            }
        }
        for wish in wishes {
            let until = conduct.paused_until(&self.account, wish.endpoint, now);
            wish.claims &= until.is_none();
        }
    }

    async fn write(&self, turn: &HooksTurn, wishes: &[Wish]) -> Vec<Result<Step, Unwritten>> {
        let all = self.commit(turn, wishes).await;
        let is_of_one = matches!(all, Err(StoreError::Row(_))) && wishes.len() > 1;
        if !is_of_one {
            return match all {
                Ok(steps) => steps.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(self.unwritten(&error)); wishes.len()],
            };
        }
        // A row of one can't be read: the others have what they wish.
        let mut done = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let alone = self.commit(turn, std::slice::from_ref(wish)).await;
            done.push(match alone {
                Ok(mut steps) => steps.pop().ok_or(Unwritten::Now),
                Err(error) => Err(self.unwritten(&error)),
            });
        }
        done
    }

    fn unwritten(&self, error: &StoreError) -> Unwritten {
        if matches!(error, StoreError::AccountGone) {
            return Unwritten::Gone;
        }
        let account = &self.account;
        tracing::warn!(account, %error, "webhooks can't be sent now; that is tried again");
        Unwritten::Now
    }

    async fn commit(&self, turn: &HooksTurn, wishes: &[Wish]) -> Result<Vec<Step>, StoreError> {
        let (dispatch, account) = (&self.dispatch, self.account.as_str());
        let terms = dispatch.terms(account).ok_or(StoreError::AccountGone)?;
        let shard = dispatch.shard(account).ok_or(StoreError::AccountGone)?;
        let under_way = dispatch.under_way(account, wishes);
        let now = dispatch.core.wall_clock();
        let moment = (now, random());
        let mut steps = hooks::steps(&shard, turn, &terms, wishes, &under_way, moment).await?;
        if wishes.iter().any(|wish| wish.finished.is_some()) {
            let _ = point("hooks.recorded");
        }
        let mut owing = BTreeSet::new();
        for (wish, step) in wishes.iter().zip(&mut steps) {
            let key = (account.to_string(), wish.endpoint);
            let conduct = &dispatch.core.queue.hooks.conduct;
            if let Some(until) = conduct.paused_until(account, wish.endpoint, now) {
                step.next_due = step.next_due.map(|due| due.max(until));
            }
            dispatch.written(&key, step, now);
            if step.owes_mail && owing.insert(wish.endpoint) {
                dispatch.tell_owner(&key);
            }
        }
        Ok(steps)
    }
}

/// Wishes of one commit.
const WISHES_MAX: usize = 64;
