//! What operators ask of the queue of this core.

use std::rc::Rc;

use shards::rt::Lines;
use shards::segments::BodyId;
use shards::storage::StorageError;

use super::MESSAGE_PIECE;
use crate::calls::ControlAnswer;
use crate::percore::PerCore;
use crate::queue::{self, Beside, Deed, Filter, Most, Pause, Place, Standing};
use crate::recipes::{self, NotMade, Signed};
use crate::store::StoreError;

impl PerCore {
    /// A page of a selection, each recipient with why it is where it is.
    pub(super) async fn queue_page(
        self: &Rc<Self>,
        shard: u16,
        filter: &Filter,
        after: Option<Place>,
        most: Most,
    ) -> Result<ControlAnswer, StoreError> {
        let own = self.own_shard(shard)?;
        // Of a message with very many recipients all rows are in memory meanwhile.
        let _turn = match filter.ids.is_empty() {
            true => Some(LOOKING.with(Rc::clone).take(&filter.account, AT_ONCE).await),
            false => None,
        };
        let page = queue::select(Some(&self.queue), own, filter, after, most).await?;
        let now = self.wall_clock();
        let found = page.found.into_iter().map(|(mut stored, indexes)| {
            stored.keep(&indexes);
            let standing = |index| {
                let row = stored.recipient(index);
                let pause = match own.cannot_record() {
                    Some(why) => Some(Pause::because(why)),
                    None if self.serving.get() => self.queue.pause(&stored, index, &row),
                    // A command that opened a stopped directory.
                    None => Some(Pause::because("the server is not running")),
                };
                let phase = self.queue.phase(shard, stored.body, index);
                let beside = Beside {
                    is_under_way: self.queue.is_under_way(shard, stored.body, index),
                    phase: phase.as_deref(),
                    pause: pause.as_ref(),
                };
                let standing = Standing {
                    why: queue::reason(&stored.message, &row, beside, now),
                    next: queue::next(&row, beside),
                    is_under_way: beside.is_under_way,
                };
                (index, standing)
            };
            let recipients = indexes.into_iter().map(standing).collect();
            (stored, recipients)
        });
        Ok(ControlAnswer::Queue(found.collect(), page.next))
    }

    /// Does something to a page of a selection.
    pub(super) async fn queue_change(
        self: &Rc<Self>,
        shard: u16,
        filter: Filter,
        deed: Deed,
        after: Option<Place>,
    ) -> Result<ControlAnswer, StoreError> {
        let shard = self.own_shard(shard)?;
        let (filter, deed) = (Rc::new(filter), Rc::new(deed));
        let done = self.queue.operate(shard, &filter, &deed, after).await?;
        Ok(ControlAnswer::QueueDone(done))
    }

    /// A piece of a queued message, named by the number of one of its recipients. Empty: its end.
    pub(super) async fn queue_octets(
        self: &Rc<Self>,
        shard: u16,
        number: u64,
        from: u64,
    ) -> Result<ControlAnswer, StoreError> {
        let shard = self.own_shard(shard)?;
        let Some((stored, index)) = queue::find_recipient(shard, number).await? else {
            return Ok(ControlAnswer::Octets(None));
        };
        if stored.message.batch.is_some() {
            let id = shard.id().0;
            return self.made_octets((id, stored.body), index, from).await;
        }
        let body = shard.read_body(stored.body, None).await?;
        let bytes = body.bytes();
        let octets = match from.checked_sub(bytes.len() as u64) {
            Some(from) if from < body.external_length() => {
                let length = (body.external_length() - from).min(MESSAGE_PIECE as u64) as usize;
                shard
                    .read_external(stored.body, body.location(), from, length)
                    .await?
            }
            Some(_) => Vec::new(),
            None => {
                let rest = &bytes[from as usize..];
                rest[..rest.len().min(MESSAGE_PIECE)].to_vec()
            }
        };
        Ok(ControlAnswer::Octets(Some(octets)))
    }

    /// A piece of what a recipient of a batch gets: each time the same octets, for it is not signed.
    async fn made_octets(
        self: &Rc<Self>,
        (shard, body): (u16, BodyId),
        index: u32,
        from: u64,
    ) -> Result<ControlAnswer, StoreError> {
        let Some(message) = self.queue.message(shard, body).await? else {
            return Ok(ControlAnswer::Octets(None));
        };
        let made = recipes::make(self, &message, index, Signed::No).await;
        let content = made.map_err(|why| match why {
            NotMade::Busy | NotMade::Crowded => StoreError::Storage(StorageError::Busy),
            NotMade::Later(words) | NotMade::Never(words) => {
                tracing::info!(
                    shard,
                    message = body.0,
                    index,
                    words,
                    "a message of a batch was asked for and can't be made"
                );
                StoreError::NotAllowed("the message can't be made; the log says why")
            }
        })?;
        let rest = content.bytes.get(from as usize..).unwrap_or_default();
        let mut octets = rest[..rest.len().min(MESSAGE_PIECE)].to_vec();
        if let (true, Some(files)) = (octets.is_empty(), &content.files) {
            let at = files.place.start + from - content.bytes.len() as u64;
            let most = files.place.end.saturating_sub(at).min(MESSAGE_PIECE as u64);
            let read = message
                .shard()
                .read_external(body, files.location, at, most as usize);
            octets = read.await?;
        }
        Ok(ControlAnswer::Octets(Some(octets)))
    }
}

thread_local! {
    /// Who looks at the queue of this core: accounts in turn, and operators.
    static LOOKING: Rc<Lines<Option<String>>> = Rc::default();
}

/// Pages that are looked for at once.
const AT_ONCE: usize = 4;
