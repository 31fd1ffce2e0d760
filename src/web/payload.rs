//! The body of a response: all of it at once, or piece by piece as the client takes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::stream::{Phase, Progress};

/// Pieces of a body.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>>>>;

/// What a response carries.
pub(super) struct Payload {
    /// Octets that are still to come.
    left: u64,
    octets: Bytes,
    /// What follows.
    pieces: Option<Pieces>,
    /// What counts the memory it takes.
    _counted: Option<Box<dyn std::any::Any>>,
}

impl Payload {
    /// Of so many octets in all, of which these are the first.
    pub(super) fn of_pieces(length: u64, pieces: Pieces) -> Payload {
        Payload {
            left: length,
            octets: Bytes::new(),
            pieces: Some(pieces),
            _counted: None,
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
            left: octets.len() as u64,
            octets,
            pieces: None,
            _counted: None,
        }
    }
}

/// A payload on its way.
pub(super) struct Sent {
    payload: Payload,
    finish: Finish,
}

impl Sent {
    pub(super) fn new(payload: Payload, finish: Finish) -> Sent {
        Sent { payload, finish }
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
        payload.left = payload.left.saturating_sub(piece.len() as u64);
        if payload.pieces.is_some() {
            // Each piece has the time that a response has.
            self.finish.0.enter(Phase::Response);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.payload.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.payload.left)
    }
}

/// Ends the phase of the response when the body is dropped, sent or not.
pub(super) struct Finish(pub(super) Progress);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}
