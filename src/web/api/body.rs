//! A request's body, whole in memory: within `limits.http.request_max_bytes`, and all of the core, with what is made of them, within
//! `limits.http.requests_memory_max_bytes`: who sends more then is put off, by the rule of `percore/request_memory`. Who sends slowly keeps it from
//! others: each piece has `limits.http.body_timeout_secs`.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::body::{Body, Bytes};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};

use shards::rt;

use crate::percore::{MADE_OF_BODY, MemoryBounds, PerCore, monotonic};
use crate::settings::AccountName;
use crate::web::connection::left_of;
use crate::web::posted::Posted;
use crate::web::stream::Clock;

/// Why there is none.
#[derive(Debug)]
pub(super) enum BodyFault {
    /// Larger than so many octets.
    TooLarge(usize),
    /// It did not come to its end.
    Broken(String),
    /// It came too slowly.
    TooSlow(String),
    /// Others send much now.
    Busy(&'static str),
}

/// Reads it; its octets count as long as what comes with them lives.
pub(super) async fn read(
    core: &Rc<PerCore>,
    body: Posted,
    (account, clock): (AccountName, &Clock),
) -> Result<(Bytes, Held), BodyFault> {
    let (most, limit) = {
        let live = core.live();
        let http = &live.settings.server.limits.http;
        (http.request_max_bytes.as_usize(), http.body_timeout_secs)
    };
    // Chunked: it shows as it comes.
    let length = body.size_hint().exact().unwrap_or(0);
    if length > most as u64 {
        return Err(BodyFault::TooLarge(most));
    }
    let mut held = Held::new(core, account);
    let bounds = (length as usize, most);
    let octets = collect(body, bounds, Pace::new(limit.duration(), clock), &mut held).await;
    // What comes of it has the time of a request.
    clock.go_on();
    Ok((octets?, held))
}

/// As the request has it; none: empty too.
pub(super) fn content_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value).filter(|text| !text.trim().is_empty())
}

/// Whether the body is compressed, or coded in another way: nobody here takes that back. RFC 9110 8.4, 12.5.3 (identity).
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = codings.flat_map(|value| value.as_bytes().split(|octet| *octet == b','));
    codings.any(|coding| {
        !matches!(
            coding.trim_ascii().to_ascii_lowercase().as_slice(),
            b"" | b"identity"
        )
    })
}

/// Memory of a core for bodies and what is made of them, counted as they come (who only announces many takes nothing from others), and for responses until
/// their clients have them.
pub(super) struct Held {
    core: Rc<PerCore>,
    account: AccountName,
    octets: usize,
    bounds: MemoryBounds,
}

impl Held {
    pub(super) fn new(core: &Rc<PerCore>, account: AccountName) -> Held {
        Held {
            core: core.clone(),
            account,
            octets: 0,
            bounds: MemoryBounds::new(&core.live().settings.server.limits.http),
        }
    }

    pub(super) fn add(&mut self, octets: usize) -> Result<(), BodyFault> {
        match self.resize(self.octets.saturating_add(octets)) {
            true => Ok(()),
            false => Err(BodyFault::Busy(
                "too much is under way at once; nothing was done, try again later",
            )),
        }
    }

    /// It is an answer of so many octets from now on. One of what was done can't be refused any more.
    pub(super) fn answer(&mut self, octets: usize, is_done: bool) -> Result<(), BodyFault> {
        if is_done {
            let mut memory = self.core.request_memory.borrow_mut();
            memory.resize_anyway(self.account, (self.octets, octets));
            self.octets = octets;
            return Ok(());
        }
        self.add(octets.saturating_sub(self.octets))?;
        self.shrink_to(octets);
        Ok(())
    }

    /// Gives back what is beyond so many.
    pub(super) fn shrink_to(&mut self, octets: usize) {
        self.resize(octets.min(self.octets));
    }

    fn resize(&mut self, octets: usize) -> bool {
        let mut memory = self.core.request_memory.borrow_mut();
        let fits = memory.resize(self.account, (self.octets, octets), self.bounds);
        if fits {
            self.octets = octets;
        }
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

async fn collect(
    mut body: Posted,
    (announced, most): (usize, usize),
    mut pace: Pace<'_>,
    held: &mut Held,
) -> Result<Bytes, BodyFault> {
    let mut octets = Vec::new();
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let Ok(frame) = rt::timeout(pace.left(), frame).await else {
            body.give_up();
            return Err(pace.too_slow());
        };
        let Some(frame) = frame else {
            return Ok(octets.into());
        };
        let frame = frame.map_err(|e| BodyFault::Broken(format!("the body is broken off: {e}")))?;
        if let Ok(data) = frame.into_data() {
            if octets.len() + data.len() > most {
                return Err(BodyFault::TooLarge(most));
            }
            held.add(data.len().saturating_mul(MADE_OF_BODY))?;
            pace.came(data.len(), monotonic());
            // Once it is no small one, at its whole length: growing it would have it twice. What is not filled takes no memory yet.
            if octets.len() + data.len() > octets.capacity() && octets.len() > SMALL_MAX {
                octets.reserve_exact(announced.saturating_sub(octets.len()));
            }
            octets.extend_from_slice(&data);
        }
    }
}

/// How fast a body comes: a piece within the limit. RFC 9110 15.5.9.
struct Pace<'a> {
    limit: Duration,
    /// The request's time, which does not pass meanwhile.
    clock: &'a Clock,
    /// The piece's beginning.
    since: Instant,
    /// What has come of it.
    octets: usize,
}

impl Pace<'_> {
    fn new(limit: Duration, clock: &Clock) -> Pace<'_> {
        clock.go_on_in(limit);
        Pace {
            limit,
            clock,
            since: monotonic(),
            octets: 0,
        }
    }

    fn left(&self) -> Duration {
        left_of(self.limit, self.since)
    }

    fn came(&mut self, octets: usize, now: Instant) {
        self.octets += octets;
        if self.octets >= PIECE {
            (self.since, self.octets) = (now, 0);
            self.clock.go_on_in(self.limit);
        }
    }

    fn too_slow(&self) -> BodyFault {
        let (secs, octets) = (self.limit.as_secs(), self.octets);
        BodyFault::TooSlow(format!(
            "of the body {octets} octets came in {secs} s; {PIECE} have to, or its end"
        ))
    }
}

/// Octets of a body that grows as it comes.
const SMALL_MAX: usize = 64 << 10;
/// Octets of a body that have to come in time.
const PIECE: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_no_coding() {
        let is = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            is_coded(&headers)
        };
        for plain in [&[][..], &[""], &["Identity"], &["identity, ,IDENTITY", ""]] {
            assert!(!is(plain), "{plain:?}");
        }
        for coded in [
            &["gzip"][..],
            &["identity, br"],
            &["identity", "x"],
            &["identity;q=1"],
        ] {
            assert!(is(coded), "{coded:?}");
        }
    }
}
