//! The body of a response: all of it at once, or made piece by piece. Either goes out in small pieces, as the client takes it, and what is not taken in time is
//! cut off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::{Stream, stream};
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::access::Line;
use super::stream::{Asked, TAKEN_IN_TIME};

/// Pieces of a body.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>>>>;

/// What gives them.
pub(super) trait Source: 'static {
    /// What goes wrong on the way.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The next octets, some at least; None at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Self::Error>;

    /// All of them. What goes wrong with the first can still be told as an error; later the connection breaks off.
    async fn pieces(mut self) -> Result<Pieces, Self::Error>
    where
        Self: Sized,
    {
        let first = self.next().await?;
        let rest = stream::try_unfold((first, self), |(ready, mut source)| async move {
            let piece = match ready {
                Some(piece) => Some(piece),
                None => source.next().await.map_err(io::Error::other)?,
            };
            Ok(piece.map(|piece| (piece, (None, source))))
        });
        Ok(Box::pin(rest))
    }
}

/// What a response carries.
pub(super) struct Payload {
    /// Octets that are still to come, if it is known.
    left: Option<u64>,
    octets: Bytes,
    /// What follows.
    pieces: Option<Pieces>,
    /// What counts the memory it takes.
    _counted: Option<Box<dyn std::any::Any>>,
    /// Said once it is sent, or was not.
    line: Option<Line>,
}

impl Payload {
    pub(super) fn logged(&mut self, line: Line) {
        self.line = Some(line);
    }

    /// Of so many octets in all, if it is known.
    pub(super) fn of_pieces(length: Option<u64>, pieces: Pieces) -> Payload {
        Payload {
            left: length,
            octets: Bytes::new(),
            pieces: Some(pieces),
            _counted: None,
            line: None,
        }
    }

    /// The same; `counted` is dropped with it.
    pub(super) fn counted(mut self, counted: impl std::any::Any) -> Payload {
        self._counted = Some(Box::new(counted));
        self
    }
}

impl<T: Into<Bytes>> From<T> for Payload {
    fn from(octets: T) -> Payload {
        let octets = octets.into();
        Payload {
            left: Some(octets.len() as u64),
            octets,
            pieces: None,
            _counted: None,
            line: None,
        }
    }
}

/// A payload on its way.
pub(super) struct Sent {
    payload: Payload,
    asked: Asked,
    limits: Limits,
    /// Octets that the client took since its time began.
    taken: usize,
    /// The next piece is being made.
    is_made: bool,
}

/// How long it may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// For the client, to take the next [`TAKEN_IN_TIME`] octets.
    pub taken: Duration,
    /// For a request.
    pub request: Duration,
}

impl Sent {
    /// The request is under way until this is dropped, sent or not.
    pub(super) fn new(payload: Payload, asked: Asked, limits: Limits) -> Sent {
        let sent = Sent {
            payload,
            asked,
            limits,
            taken: 0,
            is_made: false,
        };
        sent.time_begins();
        sent
    }

    fn time_begins(&self) {
        let Limits { taken, request } = self.limits;
        self.asked.clock.leave(taken, request);
    }

    /// There are some octets, or None is the end.
    fn poll_octets(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<()>>> {
        if !self.payload.octets.is_empty() {
            return Poll::Ready(Some(Ok(())));
        }
        let Some(pieces) = &mut self.payload.pieces else {
            return Poll::Ready(None);
        };
        if !std::mem::replace(&mut self.is_made, true) {
            // Each has the time that a response has.
            self.asked.clock.go_on();
        }
        let piece = ready!(pieces.as_mut().poll_next(cx));
        self.is_made = false;
        self.taken = 0;
        self.time_begins();
        Poll::Ready(piece.map(|piece| piece.map(|octets| self.payload.octets = octets)))
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match ready!(self.poll_octets(cx)) {
            Some(Ok(())) => (),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
        let Sent { payload, taken, .. } = &mut *self;
        let mut length = payload.octets.len().min(PIECE);
        // h2 takes a piece for one octet of a client's window, and keeps the rest for as long as that likes. Of what is longer it gets the last
        // octet once it has been rid of all others: until then their time is counted, and the memory.
        if payload.left == Some(length as u64) && length > AT_ONCE_MAX {
            length -= 1;
        }
        let piece = payload.octets.split_to(length);
        payload.left = payload.left.map(|left| left.saturating_sub(length as u64));
        if let Some(line) = &mut payload.line {
            line.sent(length);
        }
        *taken += length;
        if *taken >= TAKEN_IN_TIME {
            *taken = 0;
            self.time_begins();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.payload.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.payload
            .left
            .map_or(SizeHint::new(), SizeHint::with_exact)
    }
}

/// Octets of a piece: of a frame, where nobody has said another size (RFC 9113 6.5.2).
const PIECE: usize = 16 << 10;
/// What is no longer than this goes out at once: as much is kept of it as of the head.
const AT_ONCE_MAX: usize = 1 << 10;
