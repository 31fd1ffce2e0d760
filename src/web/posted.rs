//! The body of a request, read by whoever wants it. What nobody has read of it once the request is answered is read on and thrown away for a while, so
//! that the answer is not lost: octets that nobody read reset a connection that is closed, and with them goes what its client has not read yet
//! (RFC 9112 9.6). In HTTP/2 some clients (curl 7.88) take the reset of a stream on which they still send for an error, whatever was answered before.
//!
//! Bounded in octets and in time. Not here: what a body says, and how fast it has to come for that (`api/body`).

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;
use shards::rt;

use super::stream::{Asked, Unread};

/// The body.
pub(super) struct Posted(Rc<RefCell<Place>>);

/// What is left of it.
pub(super) struct Rest(Rc<RefCell<Place>>);

struct Place {
    /// None: it is over, or given up.
    body: Option<Incoming>,
    /// The client sends none before it is told to go on (RFC 9110 10.1.1), which is done by reading.
    is_asked_for: bool,
    /// None: somebody reads it.
    unread: Option<Unread>,
}

/// A request whose body may be read, and what will be left of it.
pub(super) fn posted(request: Request<Incoming>, asked: &Asked) -> (Request<Posted>, Rest) {
    let (head, body) = request.into_parts();
    let unread = (!body.is_end_stream()).then(|| asked.unread());
    let place = Rc::new(RefCell::new(Place {
        body: Some(body),
        is_asked_for: !head.headers.contains_key(EXPECT),
        unread,
    }));
    let rest = Rest(place.clone());
    (Request::from_parts(head, Posted(place)), rest)
}

impl Posted {
    /// What is left is not waited for.
    pub(super) fn give_up(&self) {
        self.0.borrow_mut().body = None;
    }
}

impl Body for Posted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut place = self.0.borrow_mut();
        place.is_asked_for = true;
        place.unread = None;
        let Some(body) = &mut place.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            place.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let place = self.0.borrow();
        place.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let place = self.0.borrow();
        let body = place.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Rest {
    /// Reads on; does not wait. A connection of HTTP/1 has something to do meanwhile, and is idle afterwards.
    pub(super) fn throw_away(self, busy: Option<Asked>) {
        let mut place = self.0.borrow_mut();
        place.unread = None;
        let body = place.body.take().filter(|_| place.is_asked_for);
        let Some(body) = body.filter(|body| !body.is_end_stream()) else {
            return;
        };
        rt::spawn(&super::ROOM, async move {
            let _ = rt::timeout(READ_ON_FOR, read_on(body)).await;
            drop(busy);
        });
    }
}

async fn read_on(mut body: Incoming) {
    let mut octets = 0;
    while octets < READ_ON_MAX {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        match rt::timeout(PAUSE_MAX, frame).await {
            Ok(Some(Ok(frame))) => octets += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
        rt::yield_if_needed().await;
    }
}

/// Octets that are thrown away: twice the largest request, unless the settings say otherwise.
const READ_ON_MAX: usize = 128 << 20;
/// For so long in all.
const READ_ON_FOR: Duration = Duration::from_secs(30);
/// And so long for the next of them.
const PAUSE_MAX: Duration = Duration::from_secs(5);
