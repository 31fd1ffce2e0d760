//! A change of a message's rows: one after the other, each durable before anybody hears of it; and what it does to the lines.

use std::rc::Rc;

use futures_channel::oneshot;
use shards::rt;
use shards::storage::{Batch, StorageError};

use super::{CHANGE_BYTES, Changed, Message, PATIENCE, Queue, due};
use crate::queue::ROOM;
use crate::queue::events::{EventKind, Question};
use crate::queue::hooks::hook_event;
use crate::queue::rows::{RecipientRow, State, encode_recipient, message_key, recipient_key};
use crate::queue::waiting::{New, clamp};
use crate::queue::{batch, events};
use crate::store::StoreError;

impl Queue {
    /// Adds to what a recipient's row owes what its change tells.
    pub(super) fn owe_events(&self, message: &Message, index: u32, row: &mut RecipientRow) {
        let account = message.row.account.as_str();
        let before = message.recipient(index);
        events::owe(&before, row, self.now(), |kind: EventKind, row| {
            let (Some(interest), Some(recipient)) = (
                self.interest(account),
                message.row.recipients.get(index as usize),
            ) else {
                return false;
            };
            events::is_wanted(&Question {
                kind,
                row,
                interest,
                may_be_listed: self.lists.may_have(account, &recipient.address),
                may_be_hooked: self.hooks.may_want(account, hook_event(kind, false)),
            })
        });
    }

    /// Changes recipients of a message, one change after the other; durable when it returns. The change is made from what is there then. The next one
    /// does not wait until this one is durable, which is so in their order: what came of a batch's ten thousand recipients shares syncs.
    pub async fn change(
        self: &Rc<Self>,
        message: &Rc<Message>,
        change: impl FnOnce(&Message) -> Vec<(u32, RecipientRow)>,
    ) -> Result<(), StoreError> {
        self.change_as(message, &[], change, 0, |_| ()).await
    }

    /// The same, and what else is to be durable with it: `add` puts it into the batch, about so many octets.
    pub async fn change_and(
        self: &Rc<Self>,
        message: &Rc<Message>,
        change: impl FnOnce(&Message) -> Vec<(u32, RecipientRow)>,
        octets: usize,
        add: impl FnOnce(&mut Batch),
    ) -> Result<(), StoreError> {
        self.change_as(message, &[], change, octets, add).await
    }

    /// The same for whoever works on some of them: these are out of line, and stand in it again.
    pub(super) async fn change_as(
        self: &Rc<Self>,
        message: &Rc<Message>,
        worked_on: &[u32],
        change: impl FnOnce(&Message) -> Vec<(u32, RecipientRow)>,
        octets: usize,
        add: impl FnOnce(&mut Batch),
    ) -> Result<(), StoreError> {
        let turn = message.turn.take(1).await;
        if message.gone.get() {
            return Ok(());
        }
        let permit = CHANGE_BYTES + octets;
        let permit = message.shard.permit(permit, false, PATIENCE).await?;
        // Nothing between here and the batch may wait: what is computed is submitted.
        let progress_before = message.progress();
        let rows = change(message);
        let mut batch = Batch::default();
        let mut changed = Vec::new();
        for (index, mut row) in rows {
            let before = message.recipient(index);
            if let Some(progress) = &mut *message.batch.borrow_mut() {
                progress.count(&before, &row);
            }
            self.owe_events(message, index, &mut row);
            // Who does not stand in line yet will stand there as he is then.
            if index < message.stood.get() {
                changed.push(Changed {
                    index,
                    was_held: before.state == State::Held,
                    was_due: due(&message.row, &before),
                    is_held: row.state == State::Held,
                    due: due(&message.row, &row),
                    is_worked_on: worked_on.contains(&index),
                });
            }
            batch.put(recipient_key(message.body, index), encode_recipient(&row));
            message.written.borrow_mut().insert(index);
            message.put(index, row);
            if worked_on.contains(&index) {
                message.recorded.borrow_mut().insert(index);
            }
        }
        // What an attempt reads stays until it has ended.
        let done = message.is_over() && !self.is_sent_by_another(message, worked_on);
        if done {
            message.gone.set(true);
            batch = Batch::default();
            batch.delete(message_key(message.body));
            for index in message.written.borrow().iter() {
                batch.delete(recipient_key(message.body, *index));
            }
            batch.dead.push(message.body);
            if let Some(progress) = &mut *message.batch.borrow_mut() {
                progress.ended = Some(self.now());
            }
        }
        add(&mut batch);
        if let Some(progress) = message.progress()
            && Some(&progress) != progress_before.as_ref()
        {
            let number = batch::number_of(&message.row, message.body);
            batch::put(&mut batch, &message.row.account, number, &progress);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let (queue, kept) = (self.clone(), message.clone());
        let (sender, durable) = oneshot::channel();
        message.shard.submit(permit, batch, move |result| {
            if result.is_ok() {
                queue.is_durable(&kept, &changed, done);
            }
            let _ = sender.send(result);
        });
        // Who finds that it is gone may believe so.
        let _turn = done.then_some(turn);
        match durable.await {
            Ok(result) => result.map(|_| ()).map_err(StoreError::Storage),
            Err(_) => Err(StoreError::Storage(StorageError::Poisoned(
                message.shard.id(),
                "the commit thread has stopped".into(),
            ))),
        }
    }

    /// A change is durable. Called in the order of the changes.
    pub(super) fn is_durable(&self, message: &Rc<Message>, changed: &[Changed], done: bool) {
        self.count_own(message);
        for changed in changed {
            self.moved(message, changed);
        }
        if done {
            self.recipes
                .borrow_mut()
                .retain(|kept| !Rc::ptr_eq(kept, message));
            self.let_go(message);
        } else {
            self.let_go_if_tried(message);
        }
        self.changed.notify();
    }

    /// A recipient of a message that stands in line was changed: it stands where it should then.
    pub(super) fn moved(&self, message: &Message, changed: &Changed) {
        let Changed {
            index,
            was_due,
            due,
            ..
        } = *changed;
        let (is, was) = (usize::from(changed.is_held), usize::from(changed.was_held));
        self.held.set((self.held.get() + is).saturating_sub(was));
        if changed.is_worked_on {
            if let Some(due) = due {
                self.again(message, index, due);
            }
            return;
        }
        let key = (message.shard.id().0, message.body.0, index);
        // Whoever works on it puts it in line again. Where nothing is due any more, or at the same time, its entry is right or passed over.
        if due == was_due || was_due.is_none() || self.under_way.borrow().contains_key(&key) {
            return;
        }
        if let Some(due) = due {
            self.again(message, index, due);
        }
        let mut moved = self.moved.borrow_mut();
        moved.set(key, due.map(clamp));
        let is_to_be_swept = moved.is_to_be_swept(&self.waiting.borrow());
        drop(moved);
        if is_to_be_swept
            && !self.is_sweeping.get()
            && let Some(queue) = message.queue.upgrade()
        {
            sweep_later(queue);
        }
    }

    /// Takes entries that say nothing any more out of line, a slice at a time; false: that was the last one.
    fn sweep(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        self.moved.borrow_mut().sweep(&mut waiting)
    }

    pub(super) fn is_sent_by_another(&self, message: &Message, worked_on: &[u32]) -> bool {
        let (shard, body) = message.key();
        let (under_way, recorded) = (self.under_way.borrow(), message.recorded.borrow());
        let of_message = under_way.range((shard, body, 0)..=(shard, body, u32::MAX));
        let of_message = of_message.map(|((.., index), _)| index);
        let mut others = of_message.filter(|index| !worked_on.contains(index));
        others.any(|index| !recorded.contains(index))
    }

    /// Puts a recipient in line for then; answers in which one.
    pub(super) fn again(&self, message: &Message, index: u32, due: i64) -> Option<String> {
        let recipient = message.row.recipients.get(index as usize)?;
        let routes = self.routes.borrow().clone();
        let row = message.recipient(index);
        let line = routes.line(&message.row, recipient, &row);
        let new = New {
            line: &line,
            account: &message.row.account,
            shard: message.shard.id().0,
            body: message.body.0,
            index,
            due,
            expires: row.expires(&message.row),
            alone: message.row.goes_one_by_one(),
        };
        let key = (new.shard, new.body, index);
        self.moved.borrow_mut().again(key, clamp(due));
        self.waiting.borrow_mut().add(new, i64::MIN);
        Some(line)
    }

    /// A message that was tried is no longer kept for its first attempt.
    pub(super) fn let_go(&self, message: &Message) {
        let kept = self.fresh.borrow_mut().remove(&message.key());
        let counted = message.counted.replace(0);
        self.fresh_bytes.set(self.fresh_bytes.get() - counted);
        message.content.borrow_mut().take();
        drop(kept);
    }

    /// The same, unless others of its recipients have not been tried yet.
    pub(super) fn let_go_if_tried(&self, message: &Message) {
        let all_tried = message.changed.borrow().len() == message.row.recipients.len();
        if all_tried {
            self.let_go(message);
        }
    }
}

/// Has entries that say nothing any more taken out of line. Nobody waits for it: there may be a million.
fn sweep_later(queue: Rc<Queue>) {
    queue.is_sweeping.set(true);
    rt::spawn(&ROOM, async move {
        let _sweeping = Sweeping(&queue);
        rt::yield_now().await;
        while queue.sweep() {
            rt::yield_if_needed().await;
        }
        queue.changed.notify();
    });
}

/// Ends a sweep, after a panic too.
struct Sweeping<'a>(&'a Queue);

impl Drop for Sweeping<'_> {
    fn drop(&mut self) {
        self.0.is_sweeping.set(false);
    }
}
