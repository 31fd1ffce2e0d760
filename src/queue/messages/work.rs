//! Recipients that somebody has taken out of line, and what is recorded of them.

use std::rc::Rc;
use std::time::Duration;

use shards::rt;

use super::{Message, Queue};
use crate::queue::phase::Phase;
use crate::queue::retry::kept_back;
use crate::queue::rows::RecipientRow;
use crate::store::StoreError;

/// Recipients of a message that are due, taken out of line. Whoever has them records what came of it; if that is dropped they stand in line
/// again a minute later.
pub struct Work {
    pub(super) queue: Rc<Queue>,
    /// The message.
    pub message: Rc<Message>,
    /// In which line they stood.
    pub line: Rc<str>,
    /// Which of its recipients.
    pub recipients: Vec<u32>,
    /// How far it is.
    pub phase: Phase,
    /// Seconds until those of whom nothing is recorded are tried again.
    pub later: i64,
}

impl Work {
    /// Takes out those who are held or may not go yet: they were taken since their time is over, or were held just now. Nothing is sent for them.
    pub fn take_held(&mut self) -> Option<Work> {
        let (message, now) = (self.message.clone(), (self.queue.clock)());
        self.take_out(|index| kept_back(&message.row, &message.recipient(index), now).is_some())
    }

    /// Takes out some.
    pub fn take_out(&mut self, is_out: impl Fn(u32) -> bool) -> Option<Work> {
        let (held, others) = self.recipients.iter().partition(|index| is_out(**index));
        self.recipients = others;
        let held = Work {
            queue: self.queue.clone(),
            message: self.message.clone(),
            line: self.line.clone(),
            recipients: held,
            phase: self.phase.clone(),
            later: LATER,
        };
        (!held.recipients.is_empty()).then_some(held)
    }

    /// Records what came of the recipients: those of `rows`; durable when it returns. Others stand in line again. It is tried until it is
    /// done, for what was sent must not be sent again; an error: the shard is out of service until the next start.
    pub async fn record(
        mut self,
        rows: impl Fn(&Message) -> Vec<(u32, RecipientRow)>,
    ) -> Result<(), StoreError> {
        let (queue, message) = (self.queue.clone(), self.message.clone());
        let mut recorded = Vec::new();
        loop {
            let change = |message: &Message| {
                let mut rows = rows(message);
                recorded = rows.iter().map(|(index, _)| *index).collect();
                for (index, row) in &mut rows {
                    let asked = message.asked.borrow_mut().remove(index);
                    if let Some(next) = asked.filter(|_| !row.state.is_over()) {
                        row.next = next;
                    }
                }
                rows
            };
            let result = queue.change_as(&message, &self.recipients, change, 0, |_| ());
            match result.await {
                Ok(()) => break,
                Err(StoreError::Storage(error)) if error.is_out_of_service() => {
                    self.recipients.clear();
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::warn!(shard = %message.shard.id(), message = message.body.0, %error, "what came of a queued message can't be recorded yet");
                    rt::sleep(PAUSE).await;
                }
            }
        }
        let (shard, body) = message.key();
        self.recipients.retain(|index| {
            let over = recorded.contains(index);
            if over {
                queue.under_way.borrow_mut().remove(&(shard, body, *index));
                message.recorded.borrow_mut().remove(index);
            }
            !over
        });
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let (shard, body) = self.message.key();
        let mut owes = false;
        for index in &self.recipients {
            // By hand, meanwhile: what is told of it waited for this attempt.
            owes |= self.message.recipient(*index).is_owing();
            self.queue
                .under_way
                .borrow_mut()
                .remove(&(shard, body, *index));
            self.message.asked.borrow_mut().remove(index);
            self.message.recorded.borrow_mut().remove(index);
            let due = (self.queue.clock)() + self.later;
            self.queue.again(&self.message, *index, due);
        }
        if owes {
            self.queue.owe(&self.message.row, (shard, body));
        }
        self.queue.let_go_if_tried(&self.message);
        self.queue.changed.notify();
    }
}

/// Between two tries to record something.
const PAUSE: Duration = Duration::from_secs(1);
/// Seconds until somebody who could not be tried is tried again.
pub(super) const LATER: i64 = 60;
