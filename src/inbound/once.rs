//! A request of the API that names a key of its own (Idempotency-Key) is done once, however often it comes. The key and the account choose the
//! shard, so that a repeat comes to where the first one was; the note that it was answered is in the commit of its message.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use shards::rt::{Turn, Turns};
use shards::storage::{Batch, Shard};
use webapi::compose::Addressed;
use webapi::{ApiError, Code, SendResult};

use super::copies;
use super::submit::submissions;
use crate::calls::{AcceptedBatch, BatchError, Once, Submit, SubmitBatch, Submitted};
use crate::percore::PerCore;
use crate::queue::id::QueueId;
use crate::settings::AccountName;
use crate::store::{self, AnsweredRow, RequestHash, note_answered};

/// What notes, with a message's commit, that its request was answered.
pub struct Mark {
    /// Where both go.
    pub shard: Rc<Shard>,
    account: AccountName,
    once: Once,
    /// Whether each recipient has a MAIL FROM of its own.
    pub has_from_ids: bool,
}

impl Mark {
    /// Into the batch of its message.
    pub fn note(&self, batch: &mut Batch, message_id: &str, first: Option<QueueId>, now: i64) {
        let row = AnsweredRow {
            fingerprint: self.once.fingerprint,
            at: now,
            message_id: message_id.to_string(),
            first: first.map_or(0, QueueId::get),
            has_from_ids: self.has_from_ids,
        };
        note_answered(batch, self.account.as_str(), &self.once.hash, &row);
    }
}

/// The message of a request, unless it was made before.
pub(super) async fn submit_once(
    core: &Rc<PerCore>,
    submit: Submit,
    once: Once,
) -> Result<Submitted<SendResult>, ApiError> {
    // Another one with the same key is under way: what comes of it is waited for.
    let line = Line::of(once.hash)?;
    let _turn = line.turn().await;
    match before(core, submit.account, once).await? {
        Known::OtherRequest => Ok(Submitted::OtherRequest),
        Known::Answered(row) => answer(core, &submit, row).map(Submitted::Before),
        Known::Nothing(mark) => {
            let made = super::submit::make(core, submit, Some(mark)).await;
            made.map(Submitted::Now)
        }
    }
}

/// The batch of a request, unless it was accepted before.
pub(super) async fn submit_batch_once(
    core: &Rc<PerCore>,
    submit: SubmitBatch,
    once: Once,
) -> Result<Submitted<AcceptedBatch>, BatchError> {
    let line = Line::of(once.hash)?;
    let _turn = line.turn().await;
    match before(core, submit.account, once).await? {
        Known::OtherRequest => Ok(Submitted::OtherRequest),
        Known::Answered(row) => Ok(Submitted::Before(AcceptedBatch {
            id: row.first,
            recipients: u32::try_from(submit.request.recipients.len()).unwrap_or(u32::MAX),
        })),
        Known::Nothing(mark) => {
            let made = super::submit_batch::make(core, submit, Some(mark)).await;
            made.map(Submitted::Now)
        }
    }
}

/// What is known of a request's key.
enum Known {
    /// This was answered.
    Answered(AnsweredRow),
    /// It was another request's.
    OtherRequest,
    /// It is new, and will be known by this.
    Nothing(Mark),
}

/// The caller has the key's turn.
async fn before(core: &PerCore, account: AccountName, once: Once) -> Result<Known, ApiError> {
    let shard = core.shards.iter().find(|s| s.id().0 == once.shard);
    let shard = shard.ok_or_else(|| ours("another core has the shard"))?;
    let found = store::answered(shard, account.as_str(), &once.hash).await;
    let found = found.map_err(|e| {
        ours(format!(
            "{e}; nothing was sent now (whether by an earlier request with the key can't be told), try again later"
        ))
    })?;
    Ok(match found {
        Some(row) if row.fingerprint != once.fingerprint => Known::OtherRequest,
        Some(row) => Known::Answered(row),
        None => Known::Nothing(Mark {
            shard: shard.clone(),
            account,
            once,
            has_from_ids: false,
        }),
    })
}

/// As it was given: the request is the same, so its recipients are.
fn answer(core: &PerCore, submit: &Submit, row: AnsweredRow) -> Result<SendResult, ApiError> {
    let addressed = Addressed::of(&submit.request, &submit.login)?;
    let (numbers, _) = copies::number(addressed.recipients.iter().map(|(_, address)| address));
    Ok(SendResult {
        message_id: row.message_id,
        submissions: submissions(core, &addressed, (row.first, &numbers), row.has_from_ids),
    })
}

/// What makes the MAIL FROM of a recipient unique; empty: nothing does.
pub(super) fn from_id(core: &PerCore, number: u64, has_from_ids: bool) -> String {
    let id = QueueId::from_u64(number).filter(|_| has_from_ids);
    id.map_or_else(String::new, |id| core.from_ids.encode(id))
}

/// Those with one key, one after the other.
struct Line {
    hash: RequestHash,
    turns: Rc<Turns>,
}

impl Line {
    fn of(hash: RequestHash) -> Result<Line, ApiError> {
        let turns = UNDER_WAY.with_borrow_mut(|all| {
            if all.len() >= UNDER_WAY_MAX && !all.contains_key(&hash) {
                return None;
            }
            Some(all.entry(hash).or_default().clone())
        });
        let turns = turns.ok_or_else(|| ours("too much is under way; try again later"))?;
        Ok(Line { hash, turns })
    }

    async fn turn(&self) -> Turn {
        self.turns.take(1).await
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The map's and ours: nobody else waits, and our turn is over.
        if Rc::strong_count(&self.turns) == 2 {
            UNDER_WAY.with_borrow_mut(|all| all.remove(&self.hash));
        }
    }
}

fn ours(message: impl Into<String>) -> ApiError {
    ApiError::new(Code::Server, message)
}

thread_local! {
    /// Requests of this core that are under way.
    static UNDER_WAY: RefCell<HashMap<RequestHash, Rc<Turns>>> = RefCell::default();
}

/// Keys of requests under way on a core.
const UNDER_WAY_MAX: usize = 10_000;
