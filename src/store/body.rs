//! Reading a message's octets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use message::Structure;
use shards::ShardId;
use shards::segments::{BodyId, Location};
use shards::storage::{Body, Shard, StorageError};

use super::StoreError;
use super::rows::decode_body_meta;
use super::selected::Selected;
use super::table::Entry;

/// A message's octets, checked. Those in memory are all of it unless it is large.
pub struct MessageBody {
    body: Body,
    external: Vec<u8>,
}

impl MessageBody {
    /// All octets: prefix and content.
    pub fn octets(&self) -> &[u8] {
        if self.external.is_empty() {
            self.body.bytes()
        } else {
            &self.external
        }
    }

    /// The reverse-path and the recipient it came with; empty if it did not come by SMTP.
    pub fn envelope(&self) -> Option<(String, String)> {
        let (meta, _) = decode_body_meta(self.body.meta())?;
        Some((meta.reverse_path, meta.recipient))
    }
}

/// Structures of large messages, which take long to find: those used last, if they are small.
#[derive(Default)]
pub struct Structures(RefCell<VecDeque<(BodyKey, Rc<Structure>)>>);

/// Names a body among those of a core.
pub type BodyKey = (ShardId, BodyId);

impl Structures {
    /// The structure, if it is remembered.
    pub fn get(&self, key: BodyKey) -> Option<Rc<Structure>> {
        let mut all = self.0.borrow_mut();
        let at = all.iter().position(|(known, _)| *known == key)?;
        let found = all.remove(at)?;
        let structure = found.1.clone();
        all.push_front(found);
        Some(structure)
    }

    /// Remembers one, unless its weight is unusual.
    pub fn put(&self, key: BodyKey, structure: &Rc<Structure>, weight: usize) {
        let mut all = self.0.borrow_mut();
        if weight <= STRUCTURE_WEIGHT_MAX && all.iter().all(|(known, _)| *known != key) {
            all.push_front((key, structure.clone()));
            all.truncate(STRUCTURES_MAX);
        }
    }
}

impl Selected {
    /// Names the message's body, which never changes.
    pub fn body_key(&self, entry: &Entry) -> BodyKey {
        (self.account.shard().id(), entry.body)
    }

    /// The whole message. Large ones (over 1 MiB) are read into memory as a whole: see [`Selected::octets`] for parts.
    pub async fn body(&self, entry: &Entry) -> Result<MessageBody, StoreError> {
        let body = self.record(entry).await?;
        whole(self.account.shard(), entry.body, body).await
    }

    /// Some octets of the message, for a partial fetch; the range is cut at the message's end.
    pub async fn octets(&self, entry: &Entry, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let body = self.record(entry).await?;
        let end = range.end.min(entry.size);
        let start = range.start.min(end);
        let here = body.bytes().len() as u64;
        let mut octets = Vec::with_capacity((end - start) as usize);
        if start < here {
            octets.extend_from_slice(&body.bytes()[start as usize..end.min(here) as usize]);
        }
        if end > here {
            let from = start.max(here) - here;
            let length = (end - here - from) as usize;
            octets.extend(
                self.account
                    .shard()
                    .read_external(entry.body, body.location(), from, length)
                    .await?,
            );
        }
        Ok(octets)
    }

    async fn record(&self, entry: &Entry) -> Result<Body, StoreError> {
        let location = match entry.location {
            Some(location) => Some(location),
            None => self.find_location(entry).await?,
        };
        let body = match self.account.shard().read_body(entry.body, location).await {
            // Gone is right for a message that is gone; for a live one it is damage.
            Err(StorageError::Gone(..)) if self.is_expunged(entry.uid) => {
                return Err(StoreError::MessageGone);
            }
            other => other?,
        };
        if entry.location != Some(body.location()) {
            self.set_location(entry.uid, body.location());
        }
        Ok(body)
    }

    /// Looks up where the body lies, and the bodies after it: whoever fetches one message often fetches the next.
    async fn find_location(&self, entry: &Entry) -> Result<Option<Location>, StoreError> {
        let from = entry.body;
        let found: Vec<(BodyId, Location)> = self
            .account
            .shard()
            .read(move |index| index.locations(from, AHEAD))
            .await?;
        let mut by_body: std::collections::HashMap<BodyId, Location> = found.into_iter().collect();
        let mine = by_body.remove(&entry.body);
        let mut state = self.account.state.borrow_mut();
        if let Ok(table) = state.table(self.mailbox) {
            table.fill_locations(entry.uid, AHEAD, &by_body);
        }
        Ok(mine)
    }
}

/// With what lies in a file of its own.
pub(super) async fn whole(
    shard: &Rc<Shard>,
    id: BodyId,
    body: Body,
) -> Result<MessageBody, StoreError> {
    let mut external = Vec::new();
    let total = body.external_length();
    if total > 0 {
        external.reserve(body.bytes().len() + total as usize);
        external.extend_from_slice(body.bytes());
        let mut at = 0;
        while at < total {
            let now = (total - at).min(EXTERNAL_SLICE) as usize;
            let read = shard.read_external(id, body.location(), at, now);
            external.extend(read.await?);
            at += now as u64;
        }
    }
    Ok(MessageBody { body, external })
}

/// Locations read by one job of the pool.
const AHEAD: usize = 512;
/// Structures that a core remembers, and the memory each may take.
const STRUCTURES_MAX: usize = 64;
const STRUCTURE_WEIGHT_MAX: usize = 64 << 10;
const EXTERNAL_SLICE: u64 = 1 << 20;
