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
//!
//! One with files is of version 2: behind the recipients stand 1 octet that says which (bit 0: inline, bit 1: attached) and 8 with how many octets
//! follow behind the data: the end of each message, from the first file on, as it goes out.

use std::cell::{Cell, OnceCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shards::rt::Turns;
use shards::segments::{BodyId, Location};
use shards::storage::Shard;
use webapi::compose::FileKinds;
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

/// What ends each message of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// What it has.
    pub kinds: FileKinds,
    /// Octets of it.
    pub length: u64,
}

/// Writes a recipe: the common part, then each recipient's name and JSON. The files, if there are any, follow behind it. None: it is too large.
pub fn encode<'r>(
    common: &Common,
    files: Files,
    recipients: impl ExactSizeIterator<Item = (&'r str, &'r str)> + Clone,
) -> Option<Vec<u8>> {
    let head = common.encode();
    let count = recipients.len();
    // All of it at once: it may be most of the largest request.
    let data = recipients
        .clone()
        .map(|(name, json)| 4 + name.len() + json.len());
    let table = HEAD + FILES_HEAD + head.len() + (count + 1) * 4;
    let mut octets = Vec::with_capacity(table + data.sum::<usize>());
    octets.push(match files.kinds {
        FileKinds::NONE => VERSION,
        _ => VERSION_WITH_FILES,
    });
    octets.extend_from_slice(&u32::try_from(head.len()).ok()?.to_be_bytes());
    octets.extend_from_slice(&u32::try_from(count).ok()?.to_be_bytes());
    if files.kinds != FileKinds::NONE {
        octets.push(u8::from(files.kinds.inline) | u8::from(files.kinds.attached) << 1);
        octets.extend_from_slice(&files.length.to_be_bytes());
    }
    octets.extend_from_slice(&head);
    let table = octets.len();
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

/// Octets in the file of a message of the queue.
#[derive(Clone, Debug)]
pub struct InFile {
    /// Which.
    pub place: Range<u64>,
    /// Of its content.
    pub location: Location,
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
    /// What ends each message.
    pub files: Files,
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
            files: Files::default(),
            places: Vec::new(),
            begin: 0,
            template: OnceCell::new(),
            reading: Rc::default(),
            heavy: Cell::new(0),
        };
        let damaged = || StoreError::Row(format!("the recipe of queue entry {}", body.0));
        let head = recipe.slice(0, HEAD).await?;
        let (Some(&version), Some(lengths)) = (head.first(), head.get(1..HEAD)) else {
            return Err(damaged());
        };
        let mut begin = HEAD;
        match version {
            VERSION => (),
            VERSION_WITH_FILES => {
                let said = recipe.slice(HEAD as u64, FILES_HEAD).await?;
                let (kinds, length) = said.split_first().ok_or_else(damaged)?;
                recipe.files = Files {
                    kinds: FileKinds {
                        inline: kinds & 1 != 0,
                        attached: kinds & 2 != 0,
                    },
                    length: u64::from_be_bytes(length.try_into().map_err(|_| damaged())?),
                };
                begin += FILES_HEAD;
            }
            _ => return Err(damaged()),
        }
        let number = |octets: &[u8]| {
            let octets = octets.try_into().map(u32::from_be_bytes);
            octets.map_or(0, |number| number as usize)
        };
        let (length, count) = (number(&lengths[..4]), number(&lengths[4..]));
        if length > COMMON_MAX || count > RECIPIENTS_MAX {
            return Err(damaged());
        }
        let common = recipe.slice(begin as u64, length).await?;
        recipe.common = Arc::new(Common::decode(&common, || damaged().to_string())?);
        let table = (begin + length) as u64;
        let places = recipe.slice(table, (count + 1) * 4).await?;
        recipe.places = places.chunks_exact(4).map(|p| number(p) as u32).collect();
        recipe.begin = table + places.len() as u64;
        let are_places = recipe.places.len() == count + 1 && recipe.places.is_sorted();
        let all = match recipe.location.external_length {
            0 => recipe.octets.len() as u64,
            external => external,
        };
        match are_places && recipe.place_of_files().end <= all {
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

    /// Where the end of each message lies; empty: there are no files.
    fn place_of_files(&self) -> Range<u64> {
        let from = self.begin + u64::from(self.places.last().copied().unwrap_or(0));
        from..from.saturating_add(self.files.length)
    }

    /// The end of each message, if it is in memory with the rest.
    pub async fn files_in_memory(&self) -> Result<Vec<u8>, StoreError> {
        let place = self.place_of_files();
        match self.location.external_length {
            0 => {
                self.slice(place.start, (place.end - place.start) as usize)
                    .await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The end of each message, in the recipe's file.
    pub fn files_in_file(&self) -> Option<InFile> {
        let (place, location) = (self.place_of_files(), self.location);
        let is_some = location.external_length > 0 && !place.is_empty();
        is_some.then_some(InFile { place, location })
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
const VERSION_WITH_FILES: u8 = 2;
/// Octets before the common part.
const HEAD: usize = 9;
/// What more there is of them with files.
const FILES_HEAD: usize = 9;
/// Octets of the common part.
pub const COMMON_MAX: usize = 600 << 10;
/// Recipients of a batch, whatever the settings say: numbers of deliveries here have 14 bits for them.
pub const RECIPIENTS_MAX: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use shards::storage::Batch;

    use super::*;
    use crate::store::NewContent;
    use crate::store::tests::store;

    /// As version 1 has it, and as version 2 has it with files.
    fn written(files: Option<&[u8]>) -> Vec<u8> {
        let common = common().encode();
        let length = (common.len() as u32).to_be_bytes();
        let mut octets = vec![if files.is_some() { 2 } else { 1 }];
        octets.extend([&length[..], &[0, 0, 0, 2]].concat());
        if let Some(files) = files {
            octets.push(0b10);
            octets.extend((files.len() as u64).to_be_bytes());
        }
        octets.extend(common);
        octets.extend([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 15]);
        octets.extend(b"\0\0\0\x03Ann{}\0\0\0\0{}");
        octets.extend(files.unwrap_or_default());
        octets
    }

    fn common() -> Common {
        Common {
            defaults: "{}".into(),
            date: 7,
            ..Common::none()
        }
    }

    #[test]
    fn recipes_of_both_versions_are_written_and_read() {
        let kinds = FileKinds {
            attached: true,
            ..FileKinds::NONE
        };
        let recipients = || [("Ann", "{}"), ("", "{}")].into_iter();
        for (files, described) in [
            (None, Files::default()),
            (Some(&b"the end"[..]), Files { kinds, length: 7 }),
        ] {
            let expected = written(files);
            let end = files.unwrap_or_default();
            let mut octets = encode(&common(), described, recipients()).unwrap();
            octets.extend(end);
            assert_eq!(octets, expected);
            let (_directory, store) = store();
            store.run(move |context| async move {
                let shard = &context.shards[0];
                for (octets, is_whole) in [
                    (expected.clone(), true),
                    (expected[..expected.len() - 1].to_vec(), false),
                    ([&[3], &expected[1..]].concat(), false),
                ] {
                    let body = crate::queue::next_id(shard, 1);
                    let content = NewContent {
                        bytes: Arc::new(octets),
                        external: None,
                    };
                    let mut batch = Batch::default();
                    let mut row = crate::queue::tests::row(&["a@a.example"]);
                    crate::queue::plan(&mut batch, body, &mut row, Vec::new(), &content);
                    let permit = shard.permit(10_000, true, std::time::Duration::from_secs(10));
                    shard.commit(permit.await.unwrap(), batch).await.unwrap();
                    let read = Recipe::read(shard, body).await;
                    let last = async |recipe: &Recipe| recipe.of(1).await.is_ok();
                    if !is_whole {
                        // Without files it is the last recipient's data that lack.
                        assert!(read.is_err() || !last(&read.unwrap()).await);
                        continue;
                    }
                    let recipe = read.unwrap();
                    assert_eq!(*recipe.common, common());
                    assert_eq!(recipe.files, described);
                    assert_eq!(recipe.of(0).await.unwrap(), ("Ann".into(), "{}".into()));
                    assert_eq!(recipe.of(1).await.unwrap(), ("".into(), "{}".into()));
                    assert_eq!(recipe.files_in_memory().await.unwrap(), end);
                    assert!(recipe.files_in_file().is_none());
                }
            });
            store.close();
        }
    }

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
