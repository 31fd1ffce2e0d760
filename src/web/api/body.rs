//! A request's body, whole in memory: within `limits.http.request_max_bytes`, and all of the core within
//! `limits.http.requests_memory_max_bytes`: who sends more then is put off.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use hyper::HeaderMap;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::percore::PerCore;
use crate::settings::AccountName;

/// Why there is none.
#[derive(Debug)]
pub(super) enum BodyFault {
    /// Larger than so many octets.
    TooLarge(usize),
    /// It did not come to its end.
    Broken(String),
    /// Others send much now.
    Busy(&'static str),
}

/// Reads it; its octets count as long as what comes with them lives.
pub(super) async fn read(
    core: &Rc<PerCore>,
    body: Incoming,
    account: AccountName,
) -> Result<(Bytes, Held), BodyFault> {
    let most = {
        let live = core.live();
        let http = &live.settings.server.limits.http;
        http.request_max_bytes.as_usize()
    };
    // Chunked: it shows as it comes.
    let length = body.size_hint().exact().unwrap_or(0);
    if length > most as u64 {
        return Err(BodyFault::TooLarge(most));
    }
    let mut held = Held::new(core, account);
    let octets = collect(body, most, &mut held).await?;
    Ok((octets, held))
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

/// Octets of bodies that a core holds, counted as they come (who only announces many takes nothing from others), and of responses that are
/// longer. An account has a quarter of them.
pub(super) struct Held {
    core: Rc<PerCore>,
    account: AccountName,
    octets: usize,
    most: usize,
}

impl Held {
    pub(super) fn new(core: &Rc<PerCore>, account: AccountName) -> Held {
        let most = {
            let live = core.live();
            let http = &live.settings.server.limits.http;
            http.requests_memory_max_bytes.max(http.request_max_bytes)
        };
        Held {
            core: core.clone(),
            account,
            octets: 0,
            most: most.as_usize(),
        }
    }

    pub(super) fn add(&mut self, octets: usize) -> Result<(), BodyFault> {
        let mut all = self.core.request_memory.borrow_mut();
        let together: usize = all.values().sum();
        let own = all.entry(self.account).or_default();
        if together + octets > self.most || *own + octets > self.most / 4 {
            return Err(BodyFault::Busy(
                "too much is under way at once; nothing was done, try again later",
            ));
        }
        *own += octets;
        self.octets += octets;
        Ok(())
    }
}

impl Held {
    /// Gives back what is beyond so many.
    pub(super) fn shrink_to(&mut self, octets: usize) {
        let given_back = self.octets.saturating_sub(octets);
        self.octets -= given_back;
        let mut all = self.core.request_memory.borrow_mut();
        if let Some(own) = all.get_mut(&self.account) {
            *own -= given_back;
            if *own == 0 {
                all.remove(&self.account);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

async fn collect(mut body: Incoming, most: usize, held: &mut Held) -> Result<Bytes, BodyFault> {
    let mut octets = Vec::new();
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(frame) = frame else {
            return Ok(octets.into());
        };
        let frame = frame.map_err(|e| BodyFault::Broken(format!("the body is broken off: {e}")))?;
        if let Ok(data) = frame.into_data() {
            if octets.len() + data.len() > most {
                return Err(BodyFault::TooLarge(most));
            }
            held.add(data.len())?;
            octets.extend_from_slice(&data);
        }
    }
}

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
