//! Pages of lists. A cursor is where one ended, for us alone to read: whoever makes one up can see nothing with it that he could not ask for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use webapi::v1::{Fault, Problem};

/// How many entries a page has.
pub(super) fn limit(asked: Option<u16>) -> Result<usize, Problem> {
    match asked.map_or(LIMIT, usize::from) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(Fault::of_parameter("limit", format!("1 to {LIMIT_MAX}")).into()),
    }
}

/// A place as clients hand it back.
pub(super) fn written<T: Serialize>(place: &T) -> String {
    URL_SAFE_NO_PAD.encode(postcard::to_stdvec(place).unwrap_or_default())
}

/// The place a client handed back; none: the beginning.
pub(super) fn place<T: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let octets = URL_SAFE_NO_PAD.decode(cursor).ok();
    let place = octets.and_then(|octets| postcard::from_bytes(&octets).ok());
    match place {
        Some(place) => Ok(Some(place)),
        None => Err(wrong_cursor()),
    }
}

/// It is not one of ours.
pub(super) fn wrong_cursor() -> Problem {
    Fault::of_parameter("cursor", "it is not the next_cursor of a page").into()
}

/// Entries of a page that does not say how many it wants.
const LIMIT: usize = 100;
/// Entries of a page.
const LIMIT_MAX: usize = 1000;
