//! Our socket as hyper wants it, and what its owner must know to limit it: since when the connection is in which phase, and whether its client takes what it is
//! sent. What hyper can't be told is seen to here: no more small frames are read than h2 may keep (`frames`), and a status that hyper says by itself gets words
//! (`unread`).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBufCursor, Write};
use shards::net::Connection;
use shards::rt::{Event, sleep, with_scratch, yield_if_needed};

use super::connection::{LOOK, left_of};
use super::frames::{Frames, WAITING_MAX};
use crate::percore::monotonic;

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first octet of the next request.
    Idle,
    /// The rest of a request's head.
    Header,
    /// The end of the response.
    Response,
}

/// The phase and its beginning; shared by the stream, the service and the watch over both.
#[derive(Clone)]
pub(super) struct Progress(Rc<State>);

struct State {
    /// Between requests.
    between: Cell<(Phase, Instant)>,
    /// Requests under way, in the order in which they came: one at most in HTTP/1.
    asked: RefCell<Vec<Clock>>,
    /// Since when the peer has to take the next [`TAKEN_IN_TIME`] octets that wait to be written, and how many of them it took. None: none wait.
    waits: Cell<Option<(Instant, usize)>>,
    /// Requests whose bodies nobody reads yet.
    unread: Cell<usize>,
    /// There are none any more.
    is_read: Event,
    /// Turns that hyper had.
    turns: Cell<u64>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        // The first request must come within the time for a head: a fresh connection is no idle one.
        Progress(Rc::new(State {
            between: Cell::new((Phase::Header, monotonic())),
            asked: RefCell::default(),
            waits: Cell::default(),
            unread: Cell::default(),
            is_read: Event::new(),
            turns: Cell::default(),
        }))
    }

    /// A request is there.
    pub(super) fn begin(&self) -> Asked {
        let clock = Clock::new();
        self.0.asked.borrow_mut().push(clock.clone());
        Asked {
            progress: self.clone(),
            clock,
        }
    }

    /// Of all that are under way the one that waits longest counts.
    pub(super) fn phase(&self) -> (Phase, Instant) {
        let asked = self.0.asked.borrow();
        match asked.iter().map(|clock| clock.0.get()).min() {
            Some(since) => (Phase::Response, since),
            None => self.0.between.get(),
        }
    }

    /// What was written of what there is to write.
    fn written<T>(&self, done: &Poll<io::Result<T>>, octets: usize) {
        let waits = match (done, self.0.waits.get()) {
            (Poll::Pending, None) => Some((monotonic(), 0)),
            (Poll::Ready(_), Some((since, before))) if before + octets < TAKEN_IN_TIME => {
                Some((since, before + octets))
            }
            (Poll::Ready(_), _) => None,
            (Poll::Pending, waits) => waits,
        };
        self.0.waits.set(waits);
    }

    /// Ready once the peer has taken too little of what there is to write for so long.
    pub(super) async fn stuck(&self, limit: Duration) {
        loop {
            let since = self.0.waits.get().map(|(since, _)| since);
            if since.is_some_and(|since| left_of(limit, since).is_zero()) {
                return;
            }
            sleep(limit.min(LOOK)).await;
        }
    }

    /// hyper's side of a connection, whose turns are counted.
    pub(super) async fn served<T>(&self, mut connection: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|cx| {
            let turns = &self.0.turns;
            turns.set(turns.get() + 1);
            connection.as_mut().poll(cx)
        })
        .await
    }

    /// Waits until somebody reads each body, and has read what is there.
    async fn all_read(self) {
        let State {
            unread,
            is_read,
            turns,
            ..
        } = &*self.0;
        // Of what it has read hyper begins the requests before this turn of it is over, and not before it has nothing to read.
        let turn = turns.get();
        loop {
            // Whoever reads has his turn.
            sleep(TURN).await;
            if turns.get() == turn {
                continue;
            }
            if unread.get() == 0 {
                return;
            }
            is_read.wait(is_read.count()).await;
        }
    }

    /// The time of the request that came last.
    pub(super) fn newest(&self) -> Option<Clock> {
        self.0.asked.borrow().last().cloned()
    }
}

/// The time of a request under way: since when it is waited for.
#[derive(Clone)]
pub(super) struct Clock(Rc<Cell<Instant>>);

impl Clock {
    /// It begins now.
    pub(super) fn new() -> Clock {
        Clock(Rc::new(Cell::new(monotonic())))
    }

    /// It begins anew.
    pub(super) fn go_on(&self) {
        self.0.set(monotonic());
    }

    /// It begins anew in so long: until then another limit holds.
    pub(super) fn go_on_in(&self, time: Duration) {
        self.0.set(monotonic() + time);
    }

    /// So much is left of the limit.
    pub(super) fn leave(&self, time: Duration, limit: Duration) {
        let now = monotonic();
        // The machine was started a moment ago: it has longer.
        self.0.set((now + time).checked_sub(limit).unwrap_or(now));
    }

    /// Ready once it has taken longer than that.
    pub(super) async fn over(&self, limit: Duration) {
        loop {
            let left = left_of(limit, self.0.get());
            if left.is_zero() {
                return;
            }
            // Less may be left of it meanwhile.
            sleep(left.min(LOOK)).await;
        }
    }
}

/// A request under way, until it is dropped.
pub(super) struct Asked {
    progress: Progress,
    /// Its time.
    pub(super) clock: Clock,
}

impl Asked {
    /// What is still done for the same connection once this is over.
    pub(super) fn another(&self) -> Asked {
        self.progress.begin()
    }

    /// Its body is to be read.
    pub(super) fn unread(&self) -> Unread {
        let unread = &self.progress.0.unread;
        unread.set(unread.get() + 1);
        Unread(self.progress.clone())
    }
}

/// A body that nobody reads yet, until it is dropped.
pub(super) struct Unread(Progress);

impl Drop for Unread {
    fn drop(&mut self) {
        let State {
            unread, is_read, ..
        } = &*self.0.0;
        unread.set(unread.get() - 1);
        if unread.get() == 0 {
            is_read.notify();
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let State { between, asked, .. } = &*self.progress.0;
        let mut asked = asked.borrow_mut();
        asked.retain(|clock| !Rc::ptr_eq(&clock.0, &self.clock.0));
        if asked.is_empty() {
            between.set((Phase::Idle, monotonic()));
        }
    }
}

/// The adapter.
pub(super) struct HttpStream {
    stream: Connection,
    progress: Progress,
    /// The peer speaks HTTP/2: what it sends may be anything, and what we send are pieces.
    is_framed: bool,
    frames: Frames,
    /// What small frames cost that may not have been read yet.
    small: usize,
    /// Reads without a pause.
    reads: u8,
    pause: Option<Pin<Box<dyn Future<Output = ()>>>>,
    words: Option<Box<Words>>,
    /// hyper has nothing else to write.
    is_flushed: bool,
    /// What is written in place of what hyper wrote, and how much of it is.
    instead: Option<(Vec<u8>, usize)>,
}

/// What is to be said in place of what hyper says for itself; none: it is no such.
type Words = dyn Fn(&[u8]) -> Option<Vec<u8>>;

impl HttpStream {
    pub(super) fn new(stream: Connection, progress: Progress, is_framed: bool) -> HttpStream {
        HttpStream {
            stream,
            progress,
            is_framed,
            frames: Frames::default(),
            small: 0,
            reads: 0,
            pause: None,
            words: None,
            is_flushed: true,
            instead: None,
        }
    }

    /// Has `words` asked what is said of a head that hyper can't read.
    pub(super) fn words_for_unread(&mut self, words: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static) {
        self.words = Some(Box::new(words));
    }

    /// hyper writes so of itself: the first octets behind what it has flushed, when a head has begun and is no request yet. What a response has comes while
    /// that is under way, or, its last piece, before anything else is read.
    fn look_for_unread(&mut self, bytes: &[u8]) {
        let is_first = std::mem::replace(&mut self.is_flushed, false);
        if is_first
            && self.progress.phase().0 == Phase::Header
            && let Some(words) = &self.words
        {
            self.instead = words(bytes).map(|text| (text, 0));
        }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let octets = match &written {
            Poll::Ready(Ok(octets)) => *octets,
            _ => 0,
        };
        self.progress.written(&written, octets);
        written
    }

    /// hyper reads as long as there is something to read, and asks nobody: others have their turn here.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pause.is_none() && self.small >= WAITING_MAX {
            self.pause = Some(Box::pin(self.progress.clone().all_read()));
        } else if self.pause.is_none() && self.reads >= READS_MAX {
            self.pause = Some(Box::pin(yield_if_needed()));
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
            self.reads = 0;
            if self.small >= WAITING_MAX {
                self.small = 0;
            }
        }
        Poll::Ready(())
    }
}

impl Read for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(cx));
        // Through the core's one buffer: hyper's own memory may not be initialised, and ours is.
        with_scratch(|scratch| {
            let most = match self.is_framed {
                true => self.frames.room(),
                false => scratch.len(),
            };
            let room = buffer.remaining().min(scratch.len()).min(most);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut scratch[..room]))?;
            buffer.put_slice(&scratch[..read]);
            self.reads += 1;
            if self.is_framed {
                self.small += self.frames.take(&scratch[..read]);
            }
            // A frame need not be a request; who sends others alone is idle.
            if read > 0 && !self.is_framed && self.progress.phase().0 == Phase::Idle {
                let between = &self.progress.0.between;
                between.set((Phase::Header, monotonic()));
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl Write for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look_for_unread(bytes);
        let HttpStream {
            stream, instead, ..
        } = &mut *self;
        if let Some((text, written)) = instead {
            while *written < text.len() {
                let more = ready!(Pin::new(&mut *stream).poll_write(cx, &text[*written..]))?;
                if more == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                *written += more;
            }
            *instead = None;
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.is_framed
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // All of it is written then.
        self.progress.written(&flushed, TAKEN_IN_TIME);
        ready!(flushed)?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Octets that a client has to take in `limits.http.response_timeout_secs`.
pub(super) const TAKEN_IN_TIME: usize = 64 << 10;
/// For others to have their turn: what waits for a timer lets all go first that can.
const TURN: Duration = Duration::from_micros(20);
/// Of 64 KiB at most.
const READS_MAX: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_requests_the_one_that_waits_longest_counts() {
        let progress = Progress::new();
        assert_eq!(progress.phase().0, Phase::Header);
        let ago = |secs| monotonic() - Duration::from_secs(secs);
        let (first, second) = (progress.begin(), progress.begin());
        first.clock.0.set(ago(20));
        second.clock.0.set(ago(10));
        let of = |asked: &Asked| (Phase::Response, asked.clock.0.get());
        assert_eq!(progress.phase(), of(&first));
        assert!(Rc::ptr_eq(&progress.newest().unwrap().0, &second.clock.0));
        // The other's time goes on.
        first.clock.go_on_in(Duration::from_secs(60));
        assert_eq!(progress.phase(), of(&second));
        drop(second);
        assert_eq!(progress.phase(), of(&first));
        drop(first);
        assert_eq!(progress.phase().0, Phase::Idle);
    }
}
