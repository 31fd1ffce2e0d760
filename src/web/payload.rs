//! The body of a response: all of it at once, or piece by piece as the client takes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{Stream, stream};
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::access::Line;
use super::stream::Asked;

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
}

impl Sent {
    /// The request is under way until this is dropped, sent or not.
    pub(super) fn new(payload: Payload, asked: Asked) -> Sent {
        Sent { payload, asked }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let payload = &mut self.payload;
        let piece = match std::mem::take(&mut payload.octets) {
            octets if !octets.is_empty() => octets,
            _ => match &mut payload.pieces {
                None => return Poll::Ready(None),
                Some(pieces) => match ready!(pieces.as_mut().poll_next(cx)) {
                    Some(Ok(piece)) => piece,
                    other => return Poll::Ready(other.map(|error| error.map(Frame::data))),
                },
            },
        };
        payload.left = payload
            .left
            .map(|left| left.saturating_sub(piece.len() as u64));
        if let Some(line) = &mut payload.line {
            line.sent(piece.len());
        }
        if payload.pieces.is_some() {
            // Each piece has the time that a response has.
            self.asked.clock.go_on();
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
