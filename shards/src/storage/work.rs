//! The way from the owner core to the commit thread: a bounded queue whose receiver sleeps when it is empty.
//!
//! A channel would do, but crossbeam's spins and yields before it sleeps, nearly once a message on a busy server with few cores, and
//! takes a lock to wake. Here the sender's part is a push and `unpark`: one atomic swap, and a system call only if the thread sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;

struct Shared<T> {
    queue: ArrayQueue<T>,
    /// The receiver is gone: nothing more is taken.
    closed: AtomicBool,
}

/// The sender's end; may be cloned.
pub(crate) struct WorkSender<T> {
    shared: Arc<Shared<T>>,
    receiver: Thread,
}

impl<T> Clone for WorkSender<T> {
    fn clone(&self) -> Self {
        WorkSender {
            shared: self.shared.clone(),
            receiver: self.receiver.clone(),
        }
    }
}

/// The receiver's end, for one thread.
pub(crate) struct WorkReceiver<T> {
    shared: Arc<Shared<T>>,
}

/// A queue for `capacity` entries; [`WorkQueue::sender`] once the receiving thread is known.
pub(crate) struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> WorkQueue<T> {
    pub fn new(capacity: usize) -> Self {
        WorkQueue {
            shared: Arc::new(Shared {
                queue: ArrayQueue::new(capacity),
                closed: AtomicBool::new(false),
            }),
        }
    }

    pub fn receiver(&self) -> WorkReceiver<T> {
        WorkReceiver {
            shared: self.shared.clone(),
        }
    }

    pub fn sender(&self, receiver: Thread) -> WorkSender<T> {
        WorkSender {
            shared: self.shared.clone(),
            receiver,
        }
    }
}

impl<T> WorkSender<T> {
    /// Hands over work without waking the receiver; it comes back if the queue is full or the receiver gone.
    pub fn push(&self, work: T) -> Result<(), T> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(work);
        }
        self.shared.queue.push(work)
    }

    /// Wakes the receiver if it sleeps.
    pub fn wake(&self) {
        self.receiver.unpark();
    }

    /// Hands over work and wakes the receiver.
    pub fn try_send(&self, work: T) -> Result<(), T> {
        self.push(work)?;
        self.wake();
        Ok(())
    }
}

impl<T> WorkReceiver<T> {
    /// What waits, now.
    pub fn try_recv(&self) -> Option<T> {
        self.shared.queue.pop()
    }

    /// Waits for work, at most `limit`.
    pub fn recv_timeout(&self, limit: Duration) -> Option<T> {
        let end = Instant::now() + limit;
        loop {
            if let Some(work) = self.shared.queue.pop() {
                return Some(work);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            // An unpark between the look and this call is remembered and ends it at once.
            std::thread::park_timeout(left);
        }
    }
}

impl<T> Drop for WorkReceiver<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_sent_arrives_in_order_and_a_gone_receiver_is_noticed() {
        let queue = WorkQueue::new(4);
        let receiver = queue.receiver();
        let thread = std::thread::spawn(move || {
            let mut got = Vec::new();
            while got.len() < 10_000 {
                got.extend(receiver.recv_timeout(Duration::from_secs(5)));
            }
            got
        });
        let sender = queue.sender(thread.thread().clone());
        for mut n in 0..10_000 {
            while let Err(back) = sender.try_send(n) {
                n = back;
                std::thread::yield_now();
            }
        }
        assert_eq!(thread.join().unwrap(), (0..10_000).collect::<Vec<i32>>());
        assert_eq!(sender.try_send(1), Err(1));
    }
}
