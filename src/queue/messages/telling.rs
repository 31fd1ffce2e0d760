//! Whose sender has still to be told something, and whose turn that is.

use std::rc::Rc;

use shards::segments::BodyId;

use super::{Message, Queue};
use crate::queue::rows::{MessageRow, Owed, RecipientRow};
use crate::store::StoreError;

impl Queue {
    /// Has the sender of a message told what he has still to be told.
    pub(in crate::queue) fn owe(&self, message: &MessageRow, key: (u16, u64)) {
        self.owing.borrow_mut().add(told(message), key);
        self.owed.notify();
    }

    /// The sender of a message could not be told what he has still to be told: it waits for [`Queue::owe_again`], with all else that he is owed.
    pub fn owe_later(&self, message: &Message) {
        self.owing
            .borrow_mut()
            .rest(told(&message.row), message.key());
        self.owed.notify();
    }

    /// Has a message's sender told what he has still to be told, by one report after the other, each about these recipients. What could not be told waits for
    /// [`Queue::owe_again`], with all that follows: whatever is owed is looked at once until then, and not at each outcome.
    pub async fn tell(
        &self,
        message: &Message,
        tell: impl AsyncFn(Owed, &[(u32, RecipientRow)]) -> Result<(), StoreError>,
    ) {
        let _one = message.telling.take(1).await;
        let is_resting = {
            let owing = self.owing.borrow();
            owing.rests(told(&message.row), message.key())
        };
        if is_resting {
            return;
        }
        for (owed, recipients) in message.owing().into_values() {
            if let Err(error) = tell(owed, &recipients).await {
                tracing::warn!(shard = %message.shard.id(), message = message.body.0, %error, "a sender can't be told now what became of his message; it is tried again");
                // Whatever it was, the next report would meet it too.
                return self.owe_later(message);
            }
        }
    }

    /// Whether there are senders who could not be told something.
    pub fn owes_later(&self) -> bool {
        self.owing.borrow().is_any_resting()
    }

    /// Has them told once more.
    pub fn owe_again(&self) {
        self.owing.borrow_mut().again();
        self.owed.notify();
    }

    /// The next message whose sender has still to be told something: one of each account at a time, and so many at most of accounts of one shard
    /// (`shard_of` an account).
    pub fn take_owing(
        self: &Rc<Self>,
        most_of_shard: usize,
        shard_of: impl Fn(&str) -> u16,
    ) -> Option<Telling> {
        // What is to be told to somebody elsewhere goes into the queue of the message's shard.
        let shard_of = |told: &str, (own, _): (u16, u64)| match told.contains('@') {
            true => own,
            false => shard_of(told),
        };
        let (account, key) = self.owing.borrow_mut().take(most_of_shard, shard_of)?;
        let queue = self.clone();
        Some(Telling {
            queue,
            account,
            key,
        })
    }

    /// So many of what [`Queue::take_owing`] gave are not over.
    pub fn tellings(&self) -> usize {
        self.owing.borrow().told()
    }
}

/// Who is told what becomes of a message: who submitted it; of mail from elsewhere the reverse-path.
fn told(message: &MessageRow) -> &str {
    match message.account.as_str() {
        "" => &message.reverse_path,
        account => account,
    }
}

/// A message whose sender has still to be told something; once it is dropped, after a panic too, the next one of its account has its turn.
pub struct Telling {
    queue: Rc<Queue>,
    account: Rc<str>,
    key: (u16, u64),
}

impl Telling {
    /// The message; none: it is gone, or can't be read now and waits for [`Queue::owe_again`].
    pub async fn message(&self) -> Option<Rc<Message>> {
        let (shard, body) = self.key;
        match self.queue.message(shard, BodyId(body)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(shard, body, %error, "a queued message can't be read now; what its sender has to be told waits");
                self.queue.owing.borrow_mut().rest(&self.account, self.key);
                None
            }
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.queue.owing.borrow_mut().is_over(&self.account);
        self.queue.owed.notify();
    }
}
