//! Bounded calls between cores, and from plain threads to cores. A call travels to the core that owns what it is about; its
//! answer travels back. Order: calls from one core to another arrive in the order they were sent.
//!
//! Each core has one queue for calls and one for answers. A full call queue is an error for the caller ([`CallError::Full`]) after
//! it has waited to its deadline; answers always fit, because a core may only have as many calls out as its answer queue holds.
//! A lost answer (deadline passed) says nothing about whether the call was carried out: each call type documents why a repeat is safe.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;

use crate::routing::CoreId;
use crate::rt;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum CallError {
    /// The callee's queue, or the caller's own allowance of calls under way, stayed full until the deadline. The call was not sent.
    #[error("the core is too busy")]
    Full,
    /// No answer in time. The call may still be carried out.
    #[error("no answer in time")]
    TimedOut,
    /// The callee gave up on the call (its task panicked); it may have been carried out in part.
    #[error("the call was dropped")]
    Dropped,
}

/// A call on its way, with the place its answer goes to.
pub struct Incoming<C, A> {
    /// What is asked.
    pub call: C,
    /// Where the answer goes.
    pub responder: Responder<A>,
}

/// The way back of one call. Dropping it unanswered tells the caller [`CallError::Dropped`].
pub struct Responder<A>(Option<ReplyTo<A>>);

enum ReplyTo<A> {
    Core {
        post: Arc<dyn Answers<A>>,
        core: CoreId,
        ticket: u64,
    },
    Thread(crossbeam_channel::Sender<A>),
}

trait Answers<A>: Send + Sync {
    fn answer(&self, core: CoreId, ticket: u64, answer: Option<A>);
}

impl<A> Responder<A> {
    /// Sends the answer. Never waits.
    pub fn answer(mut self, answer: A) {
        match self.0.take() {
            Some(ReplyTo::Core { post, core, ticket }) => post.answer(core, ticket, Some(answer)),
            Some(ReplyTo::Thread(sender)) => {
                let _ = sender.try_send(answer);
            }
            None => (),
        }
    }
}

impl<A> Drop for Responder<A> {
    fn drop(&mut self) {
        if let Some(ReplyTo::Core { post, core, ticket }) = self.0.take() {
            post.answer(core, ticket, None);
        }
    }
}

struct Post<C, A> {
    boxes: Vec<CoreBox<C, A>>,
}

struct CoreBox<C, A> {
    calls: ArrayQueue<Incoming<C, A>>,
    answers: ArrayQueue<(u64, Option<A>)>,
    waker: AtomicWaker,
}

impl<C: Send, A: Send> Answers<A> for Post<C, A> {
    fn answer(&self, core: CoreId, ticket: u64, answer: Option<A>) {
        let to = &self.boxes[usize::from(core.0)];
        // Fits by construction: see `Lanes::call`. A late answer to an abandoned ticket still has its room until it is taken.
        let _ = to.answers.push((ticket, answer));
        to.waker.wake();
    }
}

/// All lanes of the engine; made once, cloned to each core and thread.
pub struct Network<C, A> {
    post: Arc<Post<C, A>>,
}

impl<C, A> Clone for Network<C, A> {
    fn clone(&self) -> Self {
        Network {
            post: self.post.clone(),
        }
    }
}

impl<C: Send + 'static, A: Send + 'static> Network<C, A> {
    /// Lanes between `cores` executors, each queue of `capacity` entries.
    pub fn new(cores: u16, capacity: usize) -> Self {
        let boxes = (0..cores)
            .map(|_| CoreBox {
                calls: ArrayQueue::new(capacity),
                answers: ArrayQueue::new(capacity),
                waker: AtomicWaker::new(),
            })
            .collect();
        Network {
            post: Arc::new(Post { boxes }),
        }
    }

    /// A call from a plain thread; blocks it until the answer or the deadline.
    pub fn call_blocking(&self, to: CoreId, call: C, limit: Duration) -> Result<A, CallError> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let target = &self.post.boxes[usize::from(to.0)];
        let mut incoming = Incoming {
            call,
            responder: Responder(Some(ReplyTo::Thread(sender))),
        };
        let deadline = Instant::now() + limit;
        // Cores among themselves wait for a place, too.
        while let Err(back) = target.calls.push(incoming) {
            if Instant::now() >= deadline {
                return Err(CallError::Full);
            }
            incoming = back;
            std::thread::sleep(PLACE_LOOK);
        }
        target.waker.wake();
        receiver.recv_deadline(deadline).map_err(|e| {
            if e.is_timeout() {
                CallError::TimedOut
            } else {
                CallError::Dropped
            }
        })
    }
}

/// One core's end of the lanes.
pub struct Lanes<C, A> {
    network: Network<C, A>,
    core: CoreId,
    waiting: RefCell<Waiting<A>>,
}

struct Waiting<A> {
    slots: Vec<Slot<A>>,
    free: Vec<u32>,
    /// Calls whose answer has not been taken from the queue yet; at most the queue's capacity.
    under_way: usize,
}

struct Slot<A> {
    generation: u32,
    state: SlotState<A>,
}

enum SlotState<A> {
    Free,
    Waiting(Option<Waker>),
    Answered(Option<A>),
}

impl<C: Send + 'static, A: Send + 'static> Lanes<C, A> {
    /// The end of `core`. Its [`Lanes::serve`] must run for calls to be answered.
    pub fn new(network: Network<C, A>, core: CoreId) -> Rc<Self> {
        let waiting = Waiting {
            slots: Vec::new(),
            free: Vec::new(),
            under_way: 0,
        };
        Rc::new(Lanes {
            network,
            core,
            waiting: RefCell::new(waiting),
        })
    }

    /// This core.
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// Calls the core `to` (which may be this one) and waits for its answer, at most `limit` in all.
    pub async fn call(&self, to: CoreId, call: C, limit: Duration) -> Result<A, CallError> {
        self.offer(to, call, limit)
            .await
            .map_err(|(error, _)| error)
    }

    /// Like [`Lanes::call`], but does not wake the callee if `is_seen_to`, asked once the call lies in its queue, promises that it is
    /// woken anyway and runs [`Lanes::look`] then. Waking a sleeping core for one call costs it some 15 us of CPU. Waits `limits.0` for
    /// a place in the queue and `limits.1` for the answer.
    pub async fn call_at_leisure(
        &self,
        to: CoreId,
        call: C,
        limits: (Duration, Duration),
        is_seen_to: impl Fn() -> bool,
    ) -> Result<A, CallError> {
        self.send_and_wait(to, call, limits, is_seen_to)
            .await
            .map_err(|(error, _)| error)
    }

    /// Has this core look whether calls lie in its queue that nobody woke it for.
    pub fn look(&self) {
        let mine = &self.network.post.boxes[usize::from(self.core.0)];
        if !mine.calls.is_empty() {
            mine.waker.wake();
        }
    }

    /// Like [`Lanes::call`], but a call that was not sent comes back to the caller.
    pub async fn offer(
        &self,
        to: CoreId,
        call: C,
        limit: Duration,
    ) -> Result<A, (CallError, Option<C>)> {
        self.send_and_wait(to, call, (limit, limit), || false).await
    }

    async fn send_and_wait(
        &self,
        to: CoreId,
        call: C,
        limits: (Duration, Duration),
        is_seen_to: impl Fn() -> bool,
    ) -> Result<A, (CallError, Option<C>)> {
        let ticket = match self.send(to, call, limits.0, is_seen_to).await {
            Ok(ticket) => ticket,
            Err(call) => return Err((CallError::Full, Some(call))),
        };
        let abandon = Abandon {
            lanes: self,
            ticket,
        };
        let answer = poll_fn(|cx| self.poll_answer(ticket, cx.waker()));
        let answer = rt::timeout(limits.1, answer).await;
        std::mem::forget(abandon);
        match answer {
            Ok(answer) => answer.ok_or((CallError::Dropped, None)),
            Err(rt::Elapsed) => {
                self.abandon(ticket);
                Err((CallError::TimedOut, None))
            }
        }
    }

    async fn send(
        &self,
        to: CoreId,
        call: C,
        limit: Duration,
        is_seen_to: impl Fn() -> bool,
    ) -> Result<u64, C> {
        let target = &self.network.post.boxes[usize::from(to.0)];
        let mut call = call;
        let mut pause = FIRST_PAUSE;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(ticket) = self.take_ticket(target.answers.capacity()) {
                let post: Arc<dyn Answers<A>> = self.network.post.clone();
                let responder = Responder(Some(ReplyTo::Core {
                    post,
                    core: self.core,
                    ticket,
                }));
                match target.calls.push(Incoming { call, responder }) {
                    Ok(()) => {
                        // The call is in the queue before the question is asked, for every thread that sees the answer's reason go.
                        fence(Ordering::SeqCst);
                        if !is_seen_to() {
                            target.waker.wake();
                        }
                        return Ok(ticket);
                    }
                    Err(mut back) => {
                        back.responder.0 = None;
                        self.waiting.borrow_mut().under_way -= 1;
                        self.release(ticket);
                        call = back.call;
                    }
                }
            }
            if waited >= limit {
                return Err(call);
            }
            // Backs off instead of queueing: the caller holds its own socket back meanwhile.
            rt::sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn take_ticket(&self, capacity: usize) -> Option<u64> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.under_way >= capacity {
            return None;
        }
        waiting.under_way += 1;
        let index = waiting.free.pop().unwrap_or_else(|| {
            waiting.slots.push(Slot {
                generation: 0,
                state: SlotState::Free,
            });
            (waiting.slots.len() - 1) as u32
        });
        let slot = &mut waiting.slots[index as usize];
        slot.state = SlotState::Waiting(None);
        Some(u64::from(slot.generation) << 32 | u64::from(index))
    }

    fn poll_answer(&self, ticket: u64, waker: &Waker) -> Poll<Option<A>> {
        let mut waiting = self.waiting.borrow_mut();
        let slot = &mut waiting.slots[(ticket & 0xffff_ffff) as usize];
        match std::mem::replace(&mut slot.state, SlotState::Free) {
            SlotState::Answered(answer) => {
                drop(waiting);
                self.release(ticket);
                Poll::Ready(answer)
            }
            _ => {
                slot.state = SlotState::Waiting(Some(waker.clone()));
                Poll::Pending
            }
        }
    }

    fn release(&self, ticket: u64) {
        let mut waiting = self.waiting.borrow_mut();
        let index = (ticket & 0xffff_ffff) as u32;
        let slot = &mut waiting.slots[index as usize];
        slot.state = SlotState::Free;
        slot.generation = slot.generation.wrapping_add(1);
        waiting.free.push(index);
    }

    /// The caller gave up: frees the slot. The answer, when it comes, has an old generation and is dropped; `under_way` still counts it.
    fn abandon(&self, ticket: u64) {
        self.release(ticket);
    }

    /// Hands on answers to waiting callers and calls to `handle`, until the executor stops. `handle` must not wait: it spawns.
    pub fn serve(
        self: &Rc<Self>,
        handle: impl Fn(Incoming<C, A>) + 'static,
    ) -> impl Future<Output = ()> + 'static {
        let lanes = self.clone();
        async move {
            loop {
                let mut taken = 0;
                let mine = &lanes.network.post.boxes[usize::from(lanes.core.0)];
                while taken < BATCH {
                    let before = taken;
                    if let Some((ticket, answer)) = mine.answers.pop() {
                        lanes.deliver(ticket, answer);
                        taken += 1;
                    }
                    if let Some(incoming) = mine.calls.pop() {
                        handle(incoming);
                        taken += 1;
                    }
                    if taken == before {
                        break;
                    }
                }
                if taken >= BATCH {
                    rt::yield_now().await;
                } else {
                    poll_fn(|cx| {
                        mine.waker.register(cx.waker());
                        if mine.calls.is_empty() && mine.answers.is_empty() {
                            Poll::Pending
                        } else {
                            Poll::Ready(())
                        }
                    })
                    .await;
                }
            }
        }
    }

    fn deliver(&self, ticket: u64, answer: Option<A>) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.under_way = waiting.under_way.saturating_sub(1);
        let slot = &mut waiting.slots[(ticket & 0xffff_ffff) as usize];
        if u64::from(slot.generation) != ticket >> 32 {
            return;
        }
        if let SlotState::Waiting(waker) =
            std::mem::replace(&mut slot.state, SlotState::Answered(answer))
        {
            drop(waiting);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Frees the slot when the caller's future is dropped half way.
struct Abandon<'a, C: Send + 'static, A: Send + 'static> {
    lanes: &'a Lanes<C, A>,
    ticket: u64,
}

impl<C: Send + 'static, A: Send + 'static> Drop for Abandon<'_, C, A> {
    fn drop(&mut self) {
        self.lanes.abandon(self.ticket);
    }
}

const BATCH: usize = 256;
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Between two looks of a plain thread for a place in a lane.
const PLACE_LOOK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str) -> rt::ExecutorOptions {
        rt::ExecutorOptions {
            name: name.into(),
            cpu: None,
            ring_depth: 128,
            io_memory: 64 << 10,
            spin_before_park: Duration::ZERO,
        }
    }

    #[test]
    fn calls_are_answered_in_order_across_cores() {
        let network: Network<u64, u64> = Network::new(2, 64);
        let other = network.clone();
        let server = rt::run(&options("callee"), move || async move {
            let lanes = Lanes::new(other, CoreId(1));
            let served = Rc::new(std::cell::Cell::new(0u64));
            let count = served.clone();
            let serve = lanes.serve(move |incoming| {
                count.set(count.get() + 1);
                incoming.responder.answer(incoming.call + 1);
            });
            let _ = rt::timeout(
                Duration::from_secs(200),
                futures_lite::future::or(serve, async {
                    while served.get() < 1000 {
                        rt::sleep(Duration::from_millis(1)).await;
                    }
                    rt::sleep(Duration::from_millis(50)).await;
                }),
            )
            .await;
        })
        .unwrap();
        rt::block_on(async {
            let lanes = Lanes::new(network, CoreId(0));
            let serving = lanes.clone();
            rt::spawn(&ROOM, async move { serving.serve(|_| ()).await });
            let start = Instant::now();
            for n in 0..1000 {
                assert_eq!(
                    lanes.call(CoreId(1), n, Duration::from_secs(60)).await,
                    Ok(n + 1)
                );
            }
            // It would be 250 s for calls that are found at the next nudge alone.
            assert!(start.elapsed() < Duration::from_secs(125));
        })
        .unwrap();
        server.join().unwrap();
    }

    #[test]
    fn a_call_at_leisure_wakes_nobody_and_is_found_by_the_next_look() {
        rt::block_on(async {
            let network: Network<u8, u8> = Network::new(1, 8);
            let lanes = Lanes::new(network, CoreId(0));
            let serving = lanes.serve(|incoming| incoming.responder.answer(incoming.call + 1));
            rt::spawn(&ROOM, serving);
            rt::sleep(Duration::from_millis(1)).await;
            let limit = Duration::from_millis(20);
            let unseen = lanes
                .call_at_leisure(CoreId(0), 1, (limit, limit), || true)
                .await;
            assert_eq!(unseen, Err(CallError::TimedOut));
            let looking = lanes.clone();
            rt::spawn(&ROOM, async move {
                rt::sleep(Duration::from_millis(1)).await;
                looking.look();
            });
            let limit = Duration::from_secs(20);
            let seen = lanes
                .call_at_leisure(CoreId(0), 2, (limit, limit), || true)
                .await;
            assert_eq!(seen, Ok(3));
            let woken = lanes
                .call_at_leisure(CoreId(0), 3, (limit, limit), || false)
                .await;
            assert_eq!(woken, Ok(4));
        })
        .unwrap();
    }

    #[test]
    fn a_full_lane_is_an_error_after_the_deadline_and_leaks_nothing() {
        rt::block_on(async {
            let network: Network<(), ()> = Network::new(2, 2);
            let lanes = Lanes::new(network, CoreId(0));
            let limit = Duration::from_millis(20);
            assert_eq!(
                lanes.call(CoreId(1), (), limit).await,
                Err(CallError::TimedOut)
            );
            assert_eq!(
                lanes.call(CoreId(1), (), limit).await,
                Err(CallError::TimedOut)
            );
            assert_eq!(lanes.call(CoreId(1), (), limit).await, Err(CallError::Full));
            assert_eq!(lanes.waiting.borrow().slots.len(), 1);
        })
        .unwrap();
    }

    #[test]
    fn threads_wait_for_a_place_in_a_lane() {
        let network: Network<u8, u8> = Network::new(1, 1);
        let limit = Duration::from_secs(60);
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let network = network.clone();
                std::thread::spawn(move || network.call_blocking(CoreId(0), n, limit))
            })
            .collect();
        while !network.post.boxes[0].calls.is_full() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(
            network.call_blocking(CoreId(0), 9, Duration::ZERO),
            Err(CallError::Full)
        );
        rt::block_on(async {
            let lanes = Lanes::new(network, CoreId(0));
            let serve = lanes.serve(|incoming| incoming.responder.answer(incoming.call + 1));
            rt::spawn(&ROOM, serve);
            while !threads.iter().all(std::thread::JoinHandle::is_finished) {
                rt::sleep(Duration::from_millis(1)).await;
            }
        })
        .unwrap();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(answers.collect::<Vec<_>>(), [Ok(1), Ok(2), Ok(3), Ok(4)]);
    }

    static ROOM: rt::Room = rt::Room::new("lanes-test");
}
