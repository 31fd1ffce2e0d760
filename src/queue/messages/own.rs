//! Whose recipients are whose, and how much room there is for more.

use std::rc::Weak;

use shards::rt;
use shards::segments::BodyId;

use super::{Message, Queue};
use crate::queue::by_account::{Left, OfAccount};
use crate::settings::Bounds;
use crate::store::StoreError;

impl Queue {
    /// Recipients that wait, held ones too.
    pub fn count(&self) -> usize {
        let in_line = self.waiting.borrow().count();
        let stale = self.moved.borrow().stale();
        in_line.saturating_sub(stale) + self.under_way.borrow().len()
    }

    /// Recipients that are held.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// Whether so many recipients and octets more of an account (empty: the server's own) fit into the queue, beside those that come. Whoever asks before he
    /// waits for something asks again afterwards.
    pub fn has_room(
        &self,
        account: &str,
        (more, octets): (usize, u64),
        bounds: Bounds,
    ) -> Result<(), StoreError> {
        if self.count() + self.coming.all() + more > bounds.all {
            return Err(StoreError::Limit("the queue is full"));
        }
        let of_account = self.by_account.borrow();
        let own = of_account.recipients(account) + self.coming.of(account);
        // Who has nothing there may have a message of any size.
        let fits = match of_account.octets(account) {
            0 => true,
            own => own.saturating_add(octets) <= bounds.octets_of_account,
        };
        match account.is_empty() || own + more <= bounds.of_account && fits {
            true => Ok(()),
            false => Err(StoreError::QueueFull),
        }
    }

    /// Messages of an account in a shard from one on, at most so many; none: not all are known yet.
    pub(in crate::queue) fn of_account(
        &self,
        account: &str,
        shard: u16,
        from: BodyId,
        most: usize,
    ) -> Option<Vec<BodyId>> {
        let own = self.by_account.borrow();
        (self.resuming.get() == 0).then(|| own.messages(account, shard, from, most))
    }

    /// How many recipients of a message are left.
    pub(super) fn count_own(&self, message: &Message) {
        let left = match message.gone.get() {
            true => 0,
            false => (message.row.recipients.len() - message.done.get()) as u32,
        };
        let are_found = self.resuming.get() == 0;
        let mut own = self.by_account.borrow_mut();
        let left = Left::new(left, message.row.size);
        own.set(&message.row.account, message.key(), left, are_found);
    }

    /// What is an account's in a shard.
    pub async fn held_of_account(&self, shard: u16, account: &str) -> OfAccount {
        self.resumed().await;
        let waiting = self.by_account.borrow().recipients_in(account, shard);
        let is_in = |of: &u16| *of == shard;
        let told = {
            let telling = self.telling.borrow();
            let told = telling.get(account);
            told.map_or(0, |told| told.iter().filter(|(of, _)| is_in(of)).count())
        };
        let open: Vec<Weak<Message>> = {
            let open = self.open.borrow();
            let open = open.iter().filter(|((of, _), _)| is_in(of));
            open.map(|(_, message)| message.clone()).collect()
        };
        let mut in_hand = told as u64;
        for message in open {
            let message = message.upgrade();
            in_hand += u64::from(message.is_some_and(|m| m.row.account == account));
            rt::yield_if_needed().await;
        }
        OfAccount { waiting, in_hand }
    }
}
