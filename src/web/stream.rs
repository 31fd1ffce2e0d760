//! Our socket as hyper wants it, and what its owner must know to limit it: since when the connection is in which phase.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_lite::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBufCursor, Write};
use shards::net::Connection;
use shards::rt::with_scratch;

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
pub(super) struct Progress(Rc<Cell<(Phase, Instant)>>);

impl Progress {
    pub(super) fn new() -> Progress {
        // The first request must come within the time for a head: a fresh connection is no idle one.
        Progress(Rc::new(Cell::new((Phase::Header, monotonic()))))
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.0.set((phase, monotonic()));
    }

    pub(super) fn phase(&self) -> (Phase, Instant) {
        self.0.get()
    }
}

/// The adapter.
pub(super) struct HttpStream {
    stream: Connection,
    progress: Progress,
}

impl HttpStream {
    pub(super) fn new(stream: Connection, progress: Progress) -> HttpStream {
        HttpStream { stream, progress }
    }
}

impl Read for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // Through the core's one buffer: hyper's own memory may not be initialised, and ours is.
        with_scratch(|scratch| {
            let room = buffer.remaining().min(scratch.len());
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut scratch[..room]))?;
            buffer.put_slice(&scratch[..read]);
            if read > 0 && self.progress.phase().0 == Phase::Idle {
                self.progress.enter(Phase::Header);
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
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
