//! Tells senders what was owed to them at the start, what operators have decided since, and what they could not be told when it came. Some at once, and one
//! message of each account at a time (`queue::owing`), and of accounts of one shard half of them: a shard that is slow or full holds up its own. Called by `dispatch`. Not here: what is told (`notice`).

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use shards::{rt, shard_of};

use super::{ROOM, notice};
use crate::percore::{PerCore, monotonic};
use crate::queue::{Message, Queue};

/// As long as the core serves.
pub(super) async fn serve(core: &Rc<PerCore>) {
    or(core.prepared(), core.drained()).await;
    // Not for a command that opened a stopped directory, nor once the server stops.
    if core.draining.get() {
        return;
    }
    let teller = core.clone();
    let tell = move |message: Rc<Message>| {
        let core = teller.clone();
        async move { notice::tell(&core, &message).await }
    };
    let shard_of = |account: &str| shard_of(account.as_bytes(), core.shard_count).0;
    or(core.drained(), tell_all(&core.queue, shard_of, tell)).await;
}

async fn tell_all<F: Future<Output = ()> + 'static>(
    queue: &Rc<Queue>,
    shard_of: impl Fn(&str) -> u16,
    tell: impl Fn(Rc<Message>) -> F + Clone + 'static,
) {
    let (mut pause, mut again) = (AGAIN_FIRST, None);
    loop {
        let seen = queue.owed.count();
        if again.is_some_and(|at| at <= monotonic()) {
            again = None;
            queue.owe_again();
        }
        while queue.tellings() < TELLERS_MAX
            && let Some(telling) = queue.take_owing(OF_SHARD_MAX, &shard_of)
        {
            let tell = tell.clone();
            rt::spawn(&ROOM, async move {
                if let Some(message) = telling.message().await {
                    tell(message).await;
                }
            });
        }
        if queue.owes_later() {
            if again.is_none() {
                again = Some(monotonic() + pause);
                pause = (pause * 2).min(AGAIN_MAX);
            }
        } else if queue.tellings() == 0 {
            // Those that are at it may fail as they did.
            pause = AGAIN_FIRST;
        }
        let more = async {
            queue.owed.wait(seen).await;
        };
        match again {
            Some(at) => {
                let wait = at.saturating_duration_since(monotonic());
                let _ = rt::timeout(wait, more).await;
            }
            None => more.await,
        }
    }
}

/// Messages of a core of which somebody is told at once.
const TELLERS_MAX: usize = 8;
/// Of them, those to accounts of one shard.
const OF_SHARD_MAX: usize = TELLERS_MAX / 2;
/// Until a sender is told who could not be told something, at first and in the end.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use shards::rt::Event;

    use super::*;
    use crate::queue::tests::{failed, queue};
    use crate::store::tests::store;

    #[test]
    fn who_cannot_be_told_now_holds_up_nobody_else() {
        let (_directory, store) = store();
        store.run(|context| async move {
            let (queue, shard) = (queue(&context), context.shards[0].clone());
            let accounts = (0..20).map(|n| format!("account{n}"));
            let slow = (0..9).map(|n| format!("slow{n}"));
            for account in accounts.chain(slow) {
                for _ in 0..3 {
                    failed(&queue, &shard, &account).await;
                }
            }
            let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let told: Rc<RefCell<Vec<String>>> = Rc::default();
            let free = Rc::new(Event::new());
            let tell = {
                let (queue, told, most) = (queue.clone(), told.clone(), most.clone());
                let free = free.clone();
                move |message: Rc<Message>| {
                    let (queue, told, free) = (queue.clone(), told.clone(), free.clone());
                    let (now, most) = (now.clone(), most.clone());
                    async move {
                        told.borrow_mut().push(message.row.account.clone());
                        if message.row.account.starts_with("slow") {
                            free.wait(0).await;
                            return;
                        }
                        now.set(now.get() + 1);
                        most.set(now.get().max(most.get()));
                        let paid = |message: &Message| {
                            let mut row = message.recipient(0);
                            row.owes = None;
                            vec![(0, row)]
                        };
                        queue.change(&message, paid).await.unwrap();
                        now.set(now.get() - 1);
                    }
                }
            };
            // All but a shard that is slow for all of its accounts.
            let all = async {
                while queue.tellings() != OF_SHARD_MAX || told.borrow().len() != 60 + OF_SHARD_MAX {
                    queue.owed.wait(queue.owed.count()).await;
                }
            };
            let shard_of = |account: &str| match account.starts_with("slow") {
                true => 2,
                false => (account.len() % 2) as u16,
            };
            or(tell_all(&queue, shard_of, tell), all).await;
            let is_slow = |account: &&String| account.starts_with("slow");
            let slow = told.borrow().iter().filter(is_slow).count();
            assert_eq!((slow, most.get()), (OF_SHARD_MAX, TELLERS_MAX));
            free.notify();
            while queue.tellings() > 0 {
                queue.owed.wait(queue.owed.count()).await;
            }
        });
        store.close();
    }
}
