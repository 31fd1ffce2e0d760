//! Pages of lists. A cursor is where one ended, for us alone to read: a place in a list of an account, signed under a key that is derived from the fromid
//! key of the data directory. So who makes one up is told so, and none leads out of its list or its account. RFC 2104 (HMAC).
//! A page has a bound in octets too: it ends before `limit` where entries are long.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::Serialize;
use serde::de::DeserializeOwned;
use webapi::v1::{Fault, Problem};

use super::Asked;
use crate::queue::Most;

/// How much a page may have; there is memory for it.
pub(super) fn bounds(asked: &Asked, wanted: Option<u16>) -> Result<Most, Problem> {
    match wanted.map_or(LIMIT, usize::from) {
        entries @ 1..=LIMIT_MAX => {
            let octets = (entries * ENTRY).max(OCTETS);
            asked.reserve(octets * MADE_OF_PAGE)?;
            Ok(Most { entries, octets })
        }
        _ => Err(Fault::of_parameter("limit", format!("1 to {LIMIT_MAX}")).into()),
    }
}

/// Makes and reads the cursors of a list.
pub(super) struct Cursors<'a> {
    key: &'a hmac::Key,
    /// The list and the account.
    of: String,
}

impl<'a> Cursors<'a> {
    /// Of a list of the caller's account.
    pub(super) fn of(asked: &'a Asked, list: &str) -> Result<Cursors<'a>, Problem> {
        let account = asked.login()?.account;
        Ok(Cursors {
            key: asked.core.from_ids.pages(),
            of: format!("{list} {account}\0"),
        })
    }

    /// A place as clients hand it back.
    pub(super) fn written<T: Serialize>(&self, place: &T) -> String {
        let octets = postcard::to_stdvec(place).unwrap_or_default();
        let tag = hmac::sign(self.key, &self.signed(&octets));
        URL_SAFE_NO_PAD.encode([tag.as_ref(), &octets].concat())
    }

    /// The place a client handed back; none: the beginning.
    pub(super) fn place<T: DeserializeOwned>(
        &self,
        cursor: Option<&str>,
    ) -> Result<Option<T>, Problem> {
        let place = cursor.map(|cursor| self.read(cursor).ok_or_else(wrong_cursor));
        place.transpose()
    }

    /// None: it is not one of ours.
    pub(super) fn read<T: DeserializeOwned>(&self, cursor: &str) -> Option<T> {
        let octets = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (tag, octets) = octets.split_first_chunk::<TAG>()?;
        hmac::verify(self.key, &self.signed(octets), tag).ok()?;
        postcard::from_bytes(octets).ok()
    }

    fn signed(&self, octets: &[u8]) -> Vec<u8> {
        [self.of.as_bytes(), octets].concat()
    }
}

fn wrong_cursor() -> Problem {
    Fault::of_parameter("cursor", WRONG_CURSOR).into()
}

/// What is wrong with a cursor.
pub(super) const WRONG_CURSOR: &str = "it is not the next_cursor of a page of this list";
/// Octets of a signature: those of SHA-256.
const TAG: usize = 32;
/// Entries of a page that does not say how many it wants.
const LIMIT: usize = 100;
/// Octets of JSON of an entry that a page is sure to have room for as often as it was asked for. Measured are some 800.
pub(super) const ENTRY: usize = 2 << 10;
/// Octets of JSON that any page has room for: one entry with all that it may have is not much more.
const OCTETS: usize = 128 << 10;
/// So many octets of memory an octet of JSON comes to while a page is made: rows from another core, which are what is told then, and that as JSON.
const MADE_OF_PAGE: usize = 2;
/// Entries of a page.
const LIMIT_MAX: usize = 1000;
