//! The body of a batch: a recipe, from which the message of each recipient is made. What is common to all comes first, then where each
//! recipient's data lie, then these: so one recipient's are read alone, wherever the body is.
//!
//! | octets | what |
//! |---|---|
//! | 1 | version |
//! | 4 | octets of the common part |
//! | 4 | recipients |
//! | | the common part |
//! | 4 for each, and one more | where a recipient's data begin, behind these |
//! | | data: name and JSON |

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shards::rt::Turns;
use shards::segments::{BodyId, Location};
use shards::storage::Shard;
use webapi::template::{Defaults, Parts, Template};

use crate::store::{StoreError, rows};

/// What is common to the messages of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Common {
    /// Their author: name and address.
    pub from: (String, String),
    /// Where answers go, each with name and address.
    pub reply_to: Vec<(String, String)>,
    /// Their texts.
    pub parts: Parts,
    /// Variables of recipients who have none of their own, a JSON object; empty: none.
    pub defaults: String,
    /// Our Received field.
    pub received: String,
    /// Their Date, seconds since 1970.
    pub date: i64,
    /// What boundaries begin with.
    pub boundary: String,
    /// Where links to unsubscribe begin; empty: there are none.
    pub unsubscribe: String,
    /// The mark of the account's life, which these links have; none: there are none, or it was written before there were marks.
    pub life: Option<u64>,
}

/// Writes a recipe: the common part, then each recipient's name and JSON. None: it is too large.
pub fn encode<'r>(
    common: &Common,
    recipients: impl ExactSizeIterator<Item = (&'r str, &'r str)>,
) -> Option<Vec<u8>> {
    let head = common.encode();
    let count = recipients.len();
    let table = HEAD + head.len();
    let mut octets = Vec::with_capacity(table + count * 96);
    octets.push(VERSION);
    octets.extend_from_slice(&u32::try_from(head.len()).ok()?.to_be_bytes());
    octets.extend_from_slice(&u32::try_from(count).ok()?.to_be_bytes());
    octets.extend_from_slice(&head);
    octets.resize(table + (count + 1) * 4, 0);
    let begin = octets.len();
    for (at, (name, json)) in recipients.enumerate() {
        octets.extend_from_slice(&u32::try_from(name.len()).ok()?.to_be_bytes());
        octets.extend_from_slice(name.as_bytes());
        octets.extend_from_slice(json.as_bytes());
        let end = u32::try_from(octets.len() - begin).ok()?;
        let place = table + (at + 1) * 4;
        octets[place..place + 4].copy_from_slice(&end.to_be_bytes());
    }
    Some(octets)
}

/// A recipe that is in use.
pub struct Recipe {
    shard: Rc<Shard>,
    body: BodyId,
    location: Location,
    /// The octets in memory: all, or none.
    octets: Vec<u8>,
    /// What is common.
    pub common: Arc<Common>,
    /// Where a recipient's data begin, and where the last one's end.
    places: Vec<u32>,
    begin: u64,
    /// The template, once somebody has read it.
    pub template: OnceCell<(Arc<Template>, Arc<Defaults>)>,
    /// Of those who read it: the others wait for the first, of thousands that begin at once.
    pub reading: Rc<Turns>,
    /// So many of the next messages are too much for the core, for all we know.
    pub heavy: Cell<u8>,
}

impl Recipe {
    /// Reads what is common.
    pub(super) async fn read(shard: &Rc<Shard>, body: BodyId) -> Result<Recipe, StoreError> {
        let stored = shard.read_body(body, None).await?;
        let mut recipe = Recipe {
            shard: shard.clone(),
            body,
            location: stored.location(),
            octets: stored.bytes().to_vec(),
            common: Arc::new(Common::none()),
            places: Vec::new(),
            begin: 0,
            template: OnceCell::new(),
            reading: Rc::default(),
            heavy: Cell::new(0),
        };
        let damaged = || StoreError::Row(format!("the recipe of queue entry {}", body.0));
        let head = recipe.slice(0, HEAD).await?;
        let (Some(&VERSION), Some(lengths)) = (head.first(), head.get(1..HEAD)) else {
            return Err(damaged());
        };
        let number = |octets: &[u8]| {
            let octets = octets.try_into().map(u32::from_be_bytes);
            octets.map_or(0, |number| number as usize)
        };
        let (length, count) = (number(&lengths[..4]), number(&lengths[4..]));
        if length > COMMON_MAX || count > RECIPIENTS_MAX {
            return Err(damaged());
        }
        let common = recipe.slice(HEAD as u64, length).await?;
        recipe.common = Arc::new(Common::decode(&common, || damaged().to_string())?);
        let table = (HEAD + length) as u64;
        let places = recipe.slice(table, (count + 1) * 4).await?;
        recipe.places = places.chunks_exact(4).map(|p| number(p) as u32).collect();
        recipe.begin = table + places.len() as u64;
        match recipe.places.len() == count + 1 && recipe.places.is_sorted() {
            true => Ok(recipe),
            false => Err(damaged()),
        }
    }

    /// A recipient's name and JSON.
    pub async fn of(&self, index: u32) -> Result<(String, String), StoreError> {
        let damaged = || {
            let body = self.body.0;
            StoreError::Row(format!(
                "recipient {index} in the recipe of queue entry {body}"
            ))
        };
        let at = index as usize;
        let (Some(from), Some(to)) = (self.places.get(at), self.places.get(at + 1)) else {
            return Err(damaged());
        };
        let length = (to - from) as usize;
        let data = self.slice(self.begin + u64::from(*from), length).await?;
        let (name_length, rest) = data.split_first_chunk::<4>().ok_or_else(damaged)?;
        let name_length = u32::from_be_bytes(*name_length) as usize;
        let (name, json) = rest.split_at_checked(name_length).ok_or_else(damaged)?;
        match (str::from_utf8(name), str::from_utf8(json)) {
            (Ok(name), Ok(json)) => Ok((name.to_owned(), json.to_owned())),
            _ => Err(damaged()),
        }
    }

    async fn slice(&self, from: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        if self.location.external_length == 0 {
            let end = (from as usize).saturating_add(length);
            let slice = self.octets.get(from as usize..end);
            let short = || StoreError::Row(format!("the recipe of queue entry {}", self.body.0));
            return slice.map(<[u8]>::to_vec).ok_or_else(short);
        }
        let read = self
            .shard
            .read_external(self.body, self.location, from, length);
        Ok(read.await?)
    }
}

impl Common {
    fn none() -> Common {
        Common {
            from: Default::default(),
            reply_to: Vec::new(),
            parts: Parts::default(),
            defaults: String::new(),
            received: String::new(),
            date: 0,
            boundary: String::new(),
            unsubscribe: String::new(),
            life: None,
        }
    }

    fn encode(&self) -> Vec<u8> {
        rows::encode_version(COMMON_VERSION, self)
    }

    /// Reads it. The first version ended with where links begin.
    fn decode(bytes: &[u8], name: impl FnOnce() -> String) -> Result<Common, StoreError> {
        match bytes.split_first() {
            Some((&COMMON_FIRST, rest)) => {
                let whole = [&[COMMON_VERSION], rest, &[0]].concat();
                rows::decode_version(COMMON_VERSION, &whole, name)
            }
            _ => rows::decode_version(COMMON_VERSION, bytes, name),
        }
    }
}

const VERSION: u8 = 1;
const COMMON_VERSION: u8 = 2;
const COMMON_FIRST: u8 = 1;
/// Octets before the common part.
const HEAD: usize = 9;
/// Octets of the common part.
pub const COMMON_MAX: usize = 600 << 10;
/// Recipients of a batch, whatever the settings say: numbers of deliveries here have 14 bits for them.
pub const RECIPIENTS_MAX: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_reads_as_it_was_written_and_so_does_the_first_version() {
        let common = Common {
            unsubscribe: "https://mx.example.org".into(),
            life: Some(u64::MAX),
            ..Common::none()
        };
        assert_eq!(
            Common::decode(&common.encode(), String::new).unwrap(),
            common
        );
        let first = rows::encode(&(
            (&common.from, &common.reply_to, &common.parts),
            (&common.defaults, &common.received, common.date),
            (&common.boundary, &common.unsubscribe),
        ));
        let earlier = Common {
            life: None,
            ..common
        };
        assert_eq!(Common::decode(&first, String::new).unwrap(), earlier);
        assert!(Common::decode(&[9, 9], String::new).is_err());
    }
}
